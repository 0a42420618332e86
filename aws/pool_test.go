package aws_test

import (
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

func TestAnInstanceOnItsWayBackIntoTheWarmPoolIsSeen(t *testing.T) {
	r := watched(t, nil)
	r.ok(r.sim.PutWarmPool(cloud.WarmPool{Group: "web", Min: 1, MaxPrepared: -1, State: "Stopped", Reuse: true}))
	r.clock.Advance(5 * time.Minute)
	before := len(r.group().Instances)
	if before != 3 {
		t.Fatalf("%d instances: those that rest in the pool serve nobody", before)
	}
	r.ok(r.sim.SetDesiredCapacity("web", 2, false))
	r.clock.Advance(30 * time.Second)
	var held []string
	for _, in := range r.group().Instances {
		if in.Lifecycle == fleet.WarmedWait {
			held = append(held, in.ID)
		}
	}
	if len(held) != 1 {
		t.Fatalf("held on its way into the pool: %v of %+v", held, r.group().Instances)
	}
	r.act(fleet.Action{Verb: fleet.Complete, Hook: "drover-terminate", Instance: held[0], Result: fleet.Continue})
	r.clock.Advance(time.Minute)
	if got := r.lifecycle(held[0]); got != "gone" {
		t.Errorf("instance is %s", got)
	}
}
