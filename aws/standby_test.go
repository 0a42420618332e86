package aws_test

import (
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

func TestStandbyAndBack(t *testing.T) {
	r := newRegion(t)
	id := r.group().Instances[0].ID
	for range 2 {
		r.act(fleet.Action{Verb: fleet.Standby, Instance: id})
		r.clock.Advance(time.Minute)
	}
	g := r.group()
	if in := g.Instance(id); g.Desired != 2 || in.Lifecycle != fleet.OnStandby || in.Counted() || in.Target(r.arn) != fleet.TargetUnused {
		t.Errorf("desired %d, instance %+v", g.Desired, in)
	}
	for range 2 {
		r.act(fleet.Action{Verb: fleet.Unstandby, Instance: id})
		r.clock.Advance(2 * time.Second)
	}
	r.clock.Advance(time.Minute)
	g = r.group()
	if in := g.Instance(id); g.Desired != 3 || in.Lifecycle != fleet.InService || in.Target(r.arn) != fleet.TargetHealthy {
		t.Errorf("desired %d, instance %+v", g.Desired, in)
	}
}

// Desired does not count an instance in standby: closing it must not take another one off.
func TestTerminateInStandby(t *testing.T) {
	r := newRegion(t)
	id := r.group().Instances[0].ID
	r.act(fleet.Action{Verb: fleet.Standby, Instance: id})
	r.clock.Advance(time.Minute)
	for range 2 {
		r.act(fleet.Action{Verb: fleet.Terminate, Instance: id})
		r.clock.Advance(5 * time.Minute)
	}
	if g := r.group(); g.Desired != 2 || len(g.Instances) != 2 || g.Instance(id) != nil {
		t.Errorf("desired %d, instances %+v", g.Desired, g.Instances)
	}
}

func TestStandbyRefusals(t *testing.T) {
	r := newRegion(t)
	ids := r.group().Instances
	refused := func(a fleet.Action, want string) {
		t.Helper()
		a.Group = "web"
		refusal(t, r.hand.Act(ctx, a), want)
	}
	r.act(fleet.Action{Verb: fleet.Standby, Instance: ids[0].ID})
	refused(fleet.Action{Verb: fleet.Unstandby, Instance: ids[0].ID}, "the instance is EnteringStandby, expected Standby")
	r.clock.Advance(time.Minute)
	refused(fleet.Action{Verb: fleet.Standby, Instance: ids[1].ID}, "at its minimum of 2, so no instance may go to standby")
	r.act(fleet.Action{Verb: fleet.Resize, From: 2, To: 6})
	r.clock.Advance(5 * time.Minute)
	refused(fleet.Action{Verb: fleet.Unstandby, Instance: ids[0].ID}, "at its maximum of 6, so no instance may leave standby")
	refused(fleet.Action{Verb: fleet.Unstandby, Instance: "i-00000000000000000"}, "the instance is gone")
	r.act(fleet.Action{Verb: fleet.Terminate, Instance: ids[1].ID})
	refused(fleet.Action{Verb: fleet.Standby, Instance: ids[1].ID}, "the instance is Terminating, expected InService")
	m := fleet.GroupMark{Run: "r-2", At: time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC), Criterion: "outdated", Desired: 3, From: 3, Set: 3}
	r.act(fleet.Action{Verb: fleet.Journal, Mark: &m})
	refused(fleet.Action{Verb: fleet.Standby, Run: "r-1", Instance: ids[2].ID}, "the group now carries run r-2")
	refused(fleet.Action{Verb: fleet.Unstandby, Run: "r-1", Instance: ids[0].ID}, "the group now carries run r-2")
}

func TestRegister(t *testing.T) {
	r := newRegion(t)
	id := r.group().Instances[0].ID
	r.act(fleet.Action{Verb: fleet.Register, Instance: id, Target: r.arn}) // it is there: already so
	r.act(fleet.Action{Verb: fleet.Deregister, Instance: id, Target: r.arn})
	r.act(fleet.Action{Verb: fleet.Register, Instance: id, Target: r.arn}) // while it drains
	r.clock.Advance(time.Minute)
	if got := r.group().Instance(id).Target(r.arn); got != fleet.TargetHealthy {
		t.Errorf("target is %s", got)
	}
	r.act(fleet.Action{Verb: fleet.Deregister, Instance: id, Target: r.arn})
	r.clock.Advance(time.Minute)
	r.act(fleet.Action{Verb: fleet.Register, Instance: id, Target: r.arn})
	r.clock.Advance(time.Minute)
	if got := r.sim.Targets(r.arn); len(got) != 3 || got[0].Port != 30080 || got[1].Port != 30080 || got[2].Port != 30080 {
		t.Errorf("targets %+v", got)
	}
	gone := fleet.Action{Verb: fleet.Register, Instance: id, Target: r.arn + "x"}
	refusal(t, r.hand.Act(ctx, gone), "the target group is gone")
	_, err := r.sim.TerminateInstances([]string{id})
	r.ok(err)
	r.act(fleet.Action{Verb: fleet.Deregister, Instance: id, Target: r.arn})
	refusal(t, r.hand.Act(ctx, fleet.Action{Verb: fleet.Register, Instance: id, Target: r.arn}), "the load balancer does not take the instance: InvalidTarget")
}

// A controller in the cluster registers nodes under a node port, which need not be the target group's own.
func TestRegisterUnderThePortOfTheOthers(t *testing.T) {
	r := newRegion(t)
	arn := r.loose("ingress", 31000)
	id := r.group().Instances[0].ID
	r.act(fleet.Action{Verb: fleet.Deregister, Instance: id, Target: arn})
	if got := r.group().Instance(id).Target(arn); got != fleet.TargetDraining {
		t.Errorf("target is %s after it was taken out", got)
	}
	r.clock.Advance(10 * time.Minute)
	r.act(fleet.Action{Verb: fleet.Register, Instance: id, Target: arn})
	r.clock.Advance(time.Minute)
	for _, target := range r.sim.Targets(arn) {
		if target.Port != 31000 {
			t.Errorf("target %+v", target)
		}
	}
	if got := r.group().Instance(id).Target(arn); got != fleet.TargetHealthy {
		t.Errorf("target is %s", got)
	}
}

// loose makes a target group that is attached to nothing, with every instance of "web" in it under a port.
func (r *region) loose(name string, port int) string {
	r.Helper()
	tg, err := r.sim.CreateTargetGroup(cloud.TargetGroup{Name: name, TargetType: "instance", Protocol: "TCP", Port: 1})
	r.ok(err)
	for _, in := range r.group().Instances {
		r.ok(r.sim.RegisterTargets(tg.ARN, []cloud.TargetID{{ID: in.ID, Port: port}}))
	}
	r.clock.Advance(time.Minute)
	return tg.ARN
}
