package main

import (
	"testing"

	"drover.dev/fleet"
)

func TestWrittenTolerationsKeepTheirSeconds(t *testing.T) {
	got := tolerationOf(fleet.Toleration{Key: "node.kubernetes.io/not-ready", Effect: fleet.NoExecute, Exists: true, Seconds: "30"})
	if got["tolerationSeconds"] != int64(30) || got["operator"] != "Exists" {
		t.Errorf("%v", got)
	}
}
