package main

import (
	"errors"
	"io"
	"os"
	"testing"

	"k8s.io/klog/v2"
)

// What client-go logs reaches nobody, by whichever way it logs.
func TestSilence(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = write
	silence()
	klog.ErrorS(errors.New("cause"), "Error retrieving lease lock")
	klog.FromContext(t.Context()).Error(errors.New("cause"), "Error retrieving lease lock")
	klog.Errorf("lost %s", "it")
	klog.Flush()
	os.Stderr = stderr
	write.Close()
	if said, _ := io.ReadAll(read); len(said) > 0 {
		t.Errorf("it says %s", said)
	}
}
