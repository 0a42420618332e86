package keys

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	at := time.Unix(1000, 0)
	l := newLine(Store{Name: "s"}, "lib", 2)
	if _, n := l.any(rand.New(rand.NewPCG(1, 1))); n != 0 {
		t.Errorf("number %d was never written", n)
	}
	w := l.writers[0]
	for i, ms := range []int{0, 20, 720, 740} {
		w.acknowledged(at.Add(time.Duration(ms)*time.Millisecond), int64(i+1))
	}
	l.failed(errors.New("READONLY You can't write against a read only replica."))
	l.read(true, nil)
	l.read(false, nil)
	l.read(false, io.EOF)
	got := report([]*line{l}, at.Add(time.Second)).Lines[0]
	if got.Written != 4 || got.Failed != 1 || got.Gap != 700*time.Millisecond || got.Read != 3 || got.ReadFailed != 1 || got.Missing != 1 {
		t.Errorf("%+v", got)
	}
	if got := report([]*line{l}, at.Add(3*time.Second)).Lines[0].Gap; got != 2260*time.Millisecond {
		t.Errorf("a gap that is not over: %v", got)
	}
	if got.Failures() != "1 READONLY, 1 connection lost" {
		t.Errorf("%s", got.Failures())
	}
	sum := Report{Lines: []Line{got, got, {Store: "other", Written: 9}}}.Of("s")
	if sum.Written != 8 || sum.Missing != 2 || sum.Gap != got.Gap || sum.Errors["READONLY"] != 2 {
		t.Errorf("%+v", sum)
	}
}

func TestKind(t *testing.T) {
	for want, err := range map[string]error{
		"CLUSTERDOWN":           errors.New("CLUSTERDOWN The cluster is down"),
		"connection refused":    fmt.Errorf("dial: %w", syscall.ECONNREFUSED),
		"connection lost":       io.EOF,
		"timeout":               &net.OpError{Op: "read", Err: timeout{}},
		"odd at ADDRESS: thing": errors.New("odd at 127.0.0.1:6379: thing\nsecond line"),
	} {
		if got := kind(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

type timeout struct{}

func (timeout) Error() string   { return "too late" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return false }
