package aws_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

func TestLooseTargetGroups(t *testing.T) {
	r := newRegion(t)
	_, err := r.sim.CreateTargetGroup(cloud.TargetGroup{Name: "nobody"})
	r.ok(err)
	arn := r.loose("ingress", 31000)
	g := r.group()
	if len(g.Targets) != 2 || g.Targets[0].ARN != r.arn || g.Targets[0].Loose || g.Targets[1].ARN != arn || !g.Targets[1].Loose || g.Targets[1].IP {
		t.Fatalf("target groups %+v", g.Targets)
	}
	if tg := g.Targets[1]; tg.Name != "ingress" || tg.Delay != 300*time.Second || tg.Warmup != 30*time.Second {
		t.Errorf("target group %+v", tg)
	}
	for _, in := range g.Instances {
		if in.Target(arn) != fleet.TargetHealthy || in.Target(r.arn) != fleet.TargetHealthy {
			t.Errorf("instance %+v", in)
		}
	}
	r.ok(r.sim.DeleteTargetGroup(arn))
	if g := r.group(); len(g.Targets) != 1 {
		t.Errorf("target groups %+v", g.Targets)
	}
}

// Between listing target groups and asking for their targets, somebody may delete one.
func TestTargetGroupsDeletedMeanwhile(t *testing.T) {
	r := newRegion(t)
	r.ok(r.sim.DetachLoadBalancerTargetGroups("web", []string{r.arn}))
	r.sim.FailNext("DescribeTargetHealth", &cloud.Error{Code: "TargetGroupNotFound", Message: "One or more target groups not found", Status: 400})
	if g := r.group(); g.Trouble != "" || len(g.Targets) != 0 {
		t.Errorf("trouble %q, target groups %+v", g.Trouble, g.Targets)
	}
	r.loose("ingress", 31000)
	r.sim.FailNext("DescribeTargetHealth", &cloud.Error{Code: "InternalFailure", Message: "broken", Status: 400})
	if _, err := r.hand.Groups(ctx, []string{"web"}); err == nil || !strings.Contains(err.Error(), "describe targets of arn:") {
		t.Errorf("got %v", err)
	}
}

func TestTargetsByIP(t *testing.T) {
	r := newRegion(t)
	r.hand = r.connect(5)
	byIP, groups, err := r.hand.Targets(ctx)
	r.ok(err)
	if len(byIP) != 0 || len(groups) != 0 {
		t.Errorf("instances are no pods: %v, %v", byIP, groups)
	}
	var arns []string
	for n := range 20 { // more than are asked about at once
		tg, err := r.sim.CreateTargetGroup(cloud.TargetGroup{Name: fmt.Sprintf("pods%02d", n), TargetType: "ip", Port: 8080})
		r.ok(err)
		r.ok(r.sim.RegisterTargets(tg.ARN, []cloud.TargetID{{ID: "10.0.0.7"}, {ID: fmt.Sprintf("10.0.1.%d", n), Port: 9090}}))
		arns = append(arns, tg.ARN)
	}
	r.clock.Advance(time.Minute)
	r.ok(r.sim.DeregisterTargets(arns[3], []cloud.TargetID{{ID: "10.0.0.7"}}))
	byIP, groups, err = r.hand.Targets(ctx)
	r.ok(err)
	if len(groups) != 20 || !groups[0].IP || groups[0].Name != "pods00" || groups[0].Delay != 300*time.Second {
		t.Errorf("target groups %+v", groups)
	}
	shared := byIP["10.0.0.7"]
	if len(shared) != 20 || len(byIP) != 21 {
		t.Fatalf("targets %v", byIP)
	}
	for i, target := range shared {
		want := fleet.TargetHealthy
		if i == 3 {
			want = fleet.TargetDraining
		}
		if target.Group != arns[i] || target.State != want {
			t.Errorf("target %d: %+v, want %s", i, target, want)
		}
	}
	r.clock.Advance(10 * time.Second)
	r.sim.FailNext("DescribeTargetHealth", &cloud.Error{Code: "TargetGroupNotFound", Message: "One or more target groups not found", Status: 400})
	if _, groups, err = r.hand.Targets(ctx); err != nil || len(groups) != 19 {
		t.Errorf("%d target groups, %v", len(groups), err)
	}
}

// asked counts the calls of DescribeTargetHealth that something takes.
func (r *region) asked(something func()) int {
	before := r.calls("DescribeTargetHealth")
	something()
	return r.calls("DescribeTargetHealth") - before
}

// A region may have hundreds of target groups, and the account few calls.
func TestTargetGroupsOfOthersAreAskedSeldom(t *testing.T) {
	r := newRegion(t)
	for n := range 30 {
		_, err := r.sim.CreateTargetGroup(cloud.TargetGroup{Name: fmt.Sprintf("others%02d", n), TargetType: "instance", Port: 80})
		r.ok(err)
	}
	arn := r.loose("ingress", 31000)
	look := func() { r.group() }
	if n := r.asked(look); n != 32 {
		t.Errorf("a survey asked %d", n)
	}
	id := r.group().Instances[0].ID
	for range 3 {
		r.act(fleet.Action{Verb: fleet.Deregister, Instance: id, Target: arn})
		if n := r.asked(look); n != 2 {
			t.Errorf("between surveys %d were asked, want the attached one and the one that holds instances", n)
		}
		if got := r.group().Instance(id).Target(arn); got != fleet.TargetDraining {
			t.Errorf("the target is %s: what holds our instances is to be fresh", got)
		}
		r.clock.Advance(time.Second)
	}
	r.act(fleet.Action{Verb: fleet.Resize, From: 3, To: 4})
	r.clock.Advance(15 * time.Second)
	if n := r.asked(look); len(r.group().Instances) != 4 || n != 32 {
		t.Errorf("%d were asked for a new instance", n)
	}
	if n := r.asked(look); n != 2 {
		t.Errorf("%d were asked once it was known", n)
	}
	r.clock.Advance(time.Minute)
	if n := r.asked(look); n != 32 {
		t.Errorf("%d were asked after a minute", n)
	}
}

// Old instances leave a target group while new ones come: it stays fresh all along.
func TestATargetGroupIsFreshForThoseThatComeLater(t *testing.T) {
	r := newRegion(t)
	arn := r.loose("ingress", 31000)
	old := r.group().Instances
	r.act(fleet.Action{Verb: fleet.Resize, From: 3, To: 4})
	r.clock.Advance(15 * time.Second)
	r.group()
	var fresh string
	for _, in := range r.group().Instances {
		if !slices.ContainsFunc(old, func(o fleet.Instance) bool { return o.ID == in.ID }) {
			fresh = in.ID
		}
	}
	r.ok(r.sim.RegisterTargets(arn, []cloud.TargetID{{ID: fresh, Port: 31000}}))
	if got := r.group().Instance(fresh).Target(arn); got != fleet.TargetInitial {
		t.Errorf("target is %s, want %s", got, fleet.TargetInitial)
	}
	r.ok(r.sim.UpdateAutoScalingGroup("web", cloud.GroupUpdate{Min: new(0)}))
	for _, in := range old {
		r.act(fleet.Action{Verb: fleet.Terminate, Instance: in.ID})
	}
	r.clock.Advance(50 * time.Second)
	r.ok(r.sim.DeregisterTargets(arn, []cloud.TargetID{{ID: fresh, Port: 31000}}))
	if g := r.group(); len(g.Instances) != 1 || g.Instance(fresh).Target(arn) != fleet.TargetDraining {
		t.Errorf("instances %+v, want one that drains", g.Instances)
	}
}

func TestTargetGroupsOfPodsAreAskedNowAndThen(t *testing.T) {
	r := newRegion(t)
	tg, err := r.sim.CreateTargetGroup(cloud.TargetGroup{Name: "pods", TargetType: "ip", Port: 8080})
	r.ok(err)
	state := func() (out string) {
		byIP, groups, err := r.hand.Targets(ctx)
		r.ok(err)
		if len(groups) != 1 || groups[0].ARN != tg.ARN {
			t.Errorf("target groups %+v", groups)
		}
		for _, target := range byIP["10.0.0.7"] {
			out = target.State
		}
		return out
	}
	if n := r.asked(func() { state() }); n != 1 {
		t.Errorf("%d were asked", n)
	}
	r.ok(r.sim.RegisterTargets(tg.ARN, []cloud.TargetID{{ID: "10.0.0.7"}}))
	r.clock.Advance(9 * time.Second)
	if n := r.asked(func() { state() }); n != 0 {
		t.Errorf("%d were asked after nine seconds", n)
	}
	r.clock.Advance(2 * time.Second)
	if got := state(); got != fleet.TargetHealthy {
		t.Errorf("target is %q after eleven", got)
	}
}
