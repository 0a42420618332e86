package cloud

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestVirtualClockRunsInOrder(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := NewVirtualClock(start)
	var got []string
	say := func(what string) func() {
		return func() { got = append(got, fmt.Sprintf("%s+%v", what, c.Now().Sub(start))) }
	}
	c.AfterFunc(2*time.Second, say("c"))
	c.AfterFunc(time.Second, func() {
		say("a")()
		c.AfterFunc(0, say("a'"))
		c.AfterFunc(time.Hour, say("never"))
	})
	c.AfterFunc(time.Second, say("b"))
	c.AfterFunc(time.Second, say("stopped"))()
	if at, ok := c.Next(); !ok || at != start.Add(time.Second) {
		t.Fatalf("next is %v", at)
	}
	c.Advance(3 * time.Second)
	if want := "[a+1s b+1s a'+1s c+2s]"; fmt.Sprint(got) != want {
		t.Fatalf("got %v, want %s", got, want)
	}
	if c.Now() != start.Add(3*time.Second) {
		t.Fatalf("now is %v", c.Now())
	}
}

// TestRealClock boots machines in real time, a million times faster, while everybody asks at once.
func TestRealClock(t *testing.T) {
	c := New(Config{Clock: RealClock(1e6), Timing: Timing{ConsistencyLag: time.Second}})
	defer c.Close()
	events, cancel := c.Subscribe()
	defer cancel()
	if _, err := c.CreateLaunchTemplate("nodes", "", TemplateData{ImageID: "ami-1", InstanceType: "m5.large"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateAutoScalingGroup(Group{Name: "g", Max: 9, Desired: 9, Source: Source{Template: TemplateSpec{Name: "nodes"}}, Zones: c.Zones()}); err != nil {
		t.Fatal(err)
	}
	var askers sync.WaitGroup
	for range 4 {
		askers.Go(func() {
			for range 100 {
				c.DescribeAutoScalingGroups(nil, nil)
				c.Instances()
			}
		})
	}
	seq, booted := 0, 0
	for e := range events {
		if e.Seq <= seq {
			t.Fatalf("event %d after %d", e.Seq, seq)
		}
		seq = e.Seq
		if e.Kind == InstanceBooted {
			booted++
		}
		if booted == 9 {
			break
		}
	}
	askers.Wait()
}
