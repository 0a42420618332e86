package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drover.dev/fleet"
)

func TestDangerAPastEventOfOneNodeStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.group.Instances[0].Scheduled = []fleet.Scheduled{{ID: "e-1", Effect: "maintain", NotBefore: time.Now().Add(-11 * time.Minute), Words: "maintenance"}}
		w, err := o.take(t, "spot i-00000001")
		if err != nil {
			t.Fatal(err)
		}
		idle := 0
		for range 100 {
			wait, err := w.Tick(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if wait > 0 {
				idle++
			}
			time.Sleep(max(wait, time.Millisecond)) // what a tick takes
		}
		if o.s.Nodes[1].Mark() == nil || idle == 0 {
			t.Errorf("after 100 ticks: node-1 shut: %t, ticks that waited: %d", o.s.Nodes[1].Mark() != nil, idle)
		}
	})
}

// counting counts how often groups are asked for.
type counting struct {
	*office
	asked int
}

func (c *counting) Groups(ctx context.Context, names []string) ([]fleet.Group, error) {
	c.asked++
	return c.office.Groups(ctx, names)
}

func TestDangerAWSIsNotAskedWithoutPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.cases["i-00000000"] = fleet.Case{
			Departure: fleet.Departure{Node: "node-0", Instance: "i-00000000", Group: "web", Replace: true}, Opened: time.Now(),
			Signals: []fleet.Signal{{Notice: fleet.Notice{Kind: fleet.Rebalance, ID: "rebalance", At: time.Now(), Instance: "i-00000000"}, Heard: time.Now()}},
		}
		time.Sleep(time.Hour)
		c := o.controller()
		n := &counting{office: o}
		c.Cloud, c.Policy.Rebalance = n, fleet.AdviceIgnore // asked for anew, with another policy
		w := c.Begin()
		from := time.Now()
		for range 200 {
			wait, err := w.Tick(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := w.sleep(t.Context(), wait); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(from); n.asked > 10+2*int(took/c.CloudEvery) {
			t.Errorf("AWS was asked %d times in %s; %d notices heard", n.asked, took, len(o.heard))
		}
	})
}

type deaf struct{ *office }

func (deaf) Machines(context.Context, []string) ([]fleet.Machine, error) {
	return nil, errors.New("RequestLimitExceeded")
}

func TestDangerOneStrangeInstanceHoldsUpNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		c := o.controller()
		c.Census = deaf{o}
		w := c.Begin()
		if _, err := w.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		o.queue = []fleet.Message{{ID: "m0", Body: "spot i-0000green", Times: 1}, {ID: "m1", Body: "spot i-00000000", Times: 1}, {ID: "m2", Body: "garbage", Times: 1}}
		_, err := w.Take(t.Context())
		if len(o.cases) != 1 || len(o.aside) != 1 {
			t.Error("on file:", len(o.cases), "set aside:", len(o.aside), err)
		}
	})
}

func TestDangerNothingStandsStillWhenEC2IsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.s.Nodes[0].Ready = false // so EC2 is to be asked about it
		c := o.controller()
		c.Census = deaf{o}
		now := time.Now()
		for i, id := range []string{"i-00000000", "i-00000001"} {
			o.cases[id] = fleet.Case{Departure: fleet.Departure{Node: o.s.Nodes[i].Name, Instance: id, Group: "web", Deadline: now.Add(2 * time.Minute)}, Opened: now,
				Signals: []fleet.Signal{{Notice: fleet.Notice{Kind: fleet.SpotInterruption, ID: "spot", At: now, Instance: id, Deadline: now.Add(2 * time.Minute)}, Heard: now}}}
		}
		w := c.Begin()
		for time.Since(now) < 2*time.Minute {
			wait, err := w.Tick(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(max(wait, time.Second))
		}
		if o.s.Nodes[1].Mark() == nil {
			t.Error("two minutes of a spot notice are over, and node-1 takes pods")
		}
	})
}

type bounded struct {
	*office
	without int
}

func (b *bounded) File(ctx context.Context, instance string, change func(fleet.Case) (fleet.Case, bool)) error {
	if _, ok := ctx.Deadline(); !ok {
		b.without++
	}
	return b.office.File(ctx, instance, change)
}

func TestDangerASweepThatHangsHoldsUpNoHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.group.Instances[0].Lifecycle = fleet.TerminatingWait
		c := o.controller()
		b := &bounded{office: o}
		c.Docket = b
		if _, err := c.Begin().Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b.without > 0 {
			t.Error("filed inside of Tick without a limit of time:", b.without)
		}
	})
}

func TestDangerWhatWasToldIsNotToldAgain(t *testing.T) {
	n := news{more: make(chan struct{}, 1)}
	told := 0
	for range 10 { // ticks, while the Node object of a dead machine is still there
		n.put(word{c: fleet.Case{Departure: fleet.Departure{Instance: "i"}}, p: fleet.ExitProgress{Phase: fleet.ExitGone}})
		if _, ok := n.take(); ok {
			told++
		}
	}
	if told > 1 {
		t.Error("the same word written", told, "times")
	}
}

// A node that cannot be replaced first holds up the others of its group.
func TestDangerANodeThatCannotBeReplacedHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.group.Hooks = nil // with one, Auto Scaling replaces it
		o.group.Max, o.group.Zones = 5, []string{"a"}
		now := time.Now()
		for i, id := range []string{"i-00000000", "i-00000001"} {
			at := now.Add(time.Duration(i+1) * 100 * time.Hour)
			o.cases[id] = fleet.Case{Departure: fleet.Departure{Node: o.s.Nodes[i].Name, Instance: id, Group: "web", Deadline: at, Replace: true, Cause: fleet.Noticed}, Opened: now,
				Signals: []fleet.Signal{{Notice: fleet.Notice{Kind: fleet.ScheduledChange, ID: "scheduled/arn", At: now, Instance: id, Deadline: at}, Heard: now}}}
		}
		o.s.Pods = append(o.s.Pods, fleet.Pod{Ref: fleet.PodRef{Namespace: "d", Name: "bare", UID: "bare"}, Node: o.s.Nodes[0].Name, Ready: true})
		w := o.controller().Begin()
		for range 100 {
			wait, err := w.Tick(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(max(wait, time.Second))
		}
		if o.cases["i-00000001"].Marks.Rotation == "" {
			var why []string
			for _, h := range w.holds {
				why = append(why, h.String())
			}
			t.Error("its turn has not come in minutes:", strings.Join(why, "; "))
		}
	})
}
