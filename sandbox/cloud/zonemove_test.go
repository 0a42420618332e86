package cloud

import (
	"strings"
	"testing"
	"time"
)

func TestRebalanceZonesLaunchesBeforeItEnds(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 4, 4, nil)
	l.hook("drain", HookTerminating, ResultContinue)
	l.equal("before", l.zones(), "a2 b1 c1")
	id := l.serving()[0].InstanceID
	l.must(l.RebalanceZones("g", id))
	for range 40 {
		if n := len(l.serving()); n < 4 {
			t.Fatalf("%d serve", n)
		}
		l.clock.Advance(time.Second)
	}
	l.equal("held", l.state(id), TerminatingWait)
	as := l.activities()
	for _, words := range []string{
		"instances were launched to balance instances in zones eu-west-1b with other zones resulting in more than desired number of instances in the group.",
		"an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from 5 to 4.",
		"instance " + id + " was selected for termination.",
	} {
		if !strings.Contains(as[0].Cause, words) {
			t.Fatalf("cause %q lacks %q", as[0].Cause, words)
		}
	}
	l.settle()
	l.equal("after", l.zones(), "a1 b2 c1")
}

func TestRebalanceZonesOfAnEvenGroupComesToRest(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 6, nil)
	l.must(l.RebalanceZones("g", ""))
	for range 3 {
		l.settle()
	}
	l.equal("even again", l.zones(), "a2 b2 c2")
	l.equal("activities", len(l.activities()), 6+4)
}

func TestRebalanceZonesIsRefused(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 3, nil)
	l.must(l.SuspendProcesses("g", []string{AZRebalance}))
	if err := l.RebalanceZones("g", ""); err == nil || !strings.Contains(err.Error(), "AZRebalance is suspended") {
		t.Fatalf("got %v", err)
	}
	l.must(l.ResumeProcesses("g", nil))
	l.must(l.SetInstanceProtection("g", []string{l.serving()[0].InstanceID}, true))
	for _, id := range []string{l.serving()[0].InstanceID, "i-1"} {
		if l.RebalanceZones("g", id) == nil {
			t.Fatalf("%s was moved", id)
		}
	}
	for _, z := range l.Zones() {
		l.SetDrought(z, "", true)
	}
	if l.RebalanceZones("g", l.serving()[1].InstanceID) == nil {
		t.Fatal("moved though nothing could be launched")
	}
	l.settle()
	l.equal("nobody went", len(l.serving()), 3)
}
