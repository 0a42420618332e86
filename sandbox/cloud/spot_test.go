package cloud

import (
	"strings"
	"testing"
	"time"
)

// spots makes group g of n spot instances.
func (l *lab) spots(n int, change func(*Group)) {
	l.t.Helper()
	_, err := l.CreateLaunchTemplate("spot", "", TemplateData{ImageID: "ami-1", InstanceType: "m5.large", Spot: true}, nil)
	l.must(err)
	l.group(0, 9, n, func(g *Group) {
		g.Source = Source{Template: TemplateSpec{Name: "spot"}}
		if change != nil {
			change(g)
		}
	})
}

func (l *lab) request(id string) SpotRequest {
	l.t.Helper()
	i, _ := l.Instance(id)
	got, err := l.DescribeSpotInstanceRequests([]string{i.SpotRequest}, nil)
	l.must(err)
	return got[0]
}

func TestSpotInterruption(t *testing.T) {
	l := newLab(t, Config{})
	e := l.listen()
	l.spots(2, nil)
	l.hook("drain", HookTerminating, ResultContinue)
	id := l.serving()[0].InstanceID
	l.equal("request", l.request(id).Code, "fulfilled")
	l.must(l.InterruptSpot(id, "terminate"))
	l.must(l.InterruptSpot(id, "stop")) // it is being taken already
	l.clock.Advance(time.Second)
	events := e.heard("EC2 Spot Instance Interruption Warning")
	if len(events) != 1 {
		t.Fatalf("%d warnings", len(events))
	}
	l.equal("detail", events[0]["detail"], map[string]any{"instance-id": id, "instance-action": "terminate"})
	l.equal("resources", events[0]["resources"], []any{"arn:aws:ec2:eu-west-1a:instance/" + id})
	l.equal("request", l.request(id).Code, "marked-for-termination")
	marked, err := l.DescribeSpotInstanceRequests(nil, []Filter{{"status-code", []string{"marked-for-*"}}})
	l.must(err)
	l.equal("marked", len(marked), 1)

	l.clock.Advance(118 * time.Second)
	l.equal("nobody replaces it before", l.state(id), InService)
	l.clock.Advance(time.Second)
	i, _ := l.Instance(id)
	l.equal("machine", i.State, ShuttingDown)
	l.equal("reason", i.ReasonCode, "Server.SpotInstanceTermination")
	l.clock.Advance(40 * time.Second)
	l.equal("request", l.request(id).State+" "+l.request(id).Code, "closed instance-terminated-no-capacity")
	l.equal("its group finds out by itself", strings.Contains(l.activities()[1].Cause, "an EC2 health check indicating"), true)
	l.settle()
	l.equal("replaced", len(l.serving()), 2)
	l.equal("gone", l.state(id), "gone")
}

func TestSpotDeadlineBeatsTheHook(t *testing.T) {
	l := newLab(t, Config{})
	l.spots(1, nil)
	l.must(l.PutLifecycleHook(Hook{Name: "drain", Group: "g", Transition: HookTerminating, Heartbeat: time.Hour}))
	id := l.retireOne()
	l.must(l.InterruptSpot(id, "terminate"))
	l.clock.Advance(2 * time.Minute)
	i, _ := l.Instance(id)
	l.equal("machine", i.State, ShuttingDown)
	l.equal("held all the same", l.state(id), TerminatingWait)
	l.must(l.CompleteLifecycleAction("g", "drain", id, "", ResultContinue))
	l.settle()
	l.equal("gone", l.state(id), "gone")
}

func TestSpotStopAndRefusals(t *testing.T) {
	l := newLab(t, Config{})
	l.spots(1, nil)
	id := l.serving()[0].InstanceID
	l.must(l.SuspendProcesses("g", []string{ReplaceUnhealthy}))
	l.must(l.InterruptSpot(id, "hibernate"))
	l.clock.Advance(time.Minute)
	i, _ := l.Instance(id)
	l.equal("hibernated at once", i.State, Stopped)
	l.equal("request", l.request(id).State+" "+l.request(id).Code, "disabled instance-stopped-no-capacity")
	for _, err := range []error{l.InterruptSpot(id, "terminate"), l.InterruptSpot("i-1", "terminate"), l.RecommendRebalance("i-1")} {
		if err == nil {
			t.Fatal("a machine that is off was interrupted")
		}
	}
	if l.InterruptSpot(id, "tickle") == nil {
		t.Fatal("no such action")
	}
}

func TestCapacityRebalanceReplacesFirst(t *testing.T) {
	l := newLab(t, Config{})
	e := l.listen()
	l.spots(3, func(g *Group) { g.CapacityRebalance, g.Max = true, 3 })
	id := l.serving()[0].InstanceID
	l.hook("drain", HookTerminating, ResultContinue)
	l.must(l.RecommendRebalance(id))
	for range 30 {
		l.clock.Advance(time.Second)
		if n := len(l.serving()); n < 3 {
			t.Fatalf("%d serve", n)
		}
	}
	l.equal("warned", len(e.heard("EC2 Instance Rebalance Recommendation", id)), 1)
	l.equal("it goes past its hook", l.state(id), TerminatingWait)
	l.equal("cause", strings.Contains(l.activities()[0].Cause, "rebalance recommendation"), true)
	l.settle()
	l.equal("gone", l.state(id), "gone")
	l.equal("serving", len(l.serving()), 3)
}

func TestRecommendationWithoutCapacityRebalanceChangesNothing(t *testing.T) {
	l := newLab(t, Config{})
	l.spots(3, nil)
	before := l.activities()
	l.must(l.RecommendRebalance(l.serving()[0].InstanceID))
	l.settle()
	l.equal("activities", len(l.activities()), len(before))
}
