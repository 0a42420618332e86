package aws_test

import (
	"fmt"
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
	r.sim.FailNext("DescribeTargetHealth", &cloud.Error{Code: "TargetGroupNotFound", Message: "One or more target groups not found", Status: 400})
	if _, groups, err = r.hand.Targets(ctx); err != nil || len(groups) != 19 {
		t.Errorf("%d target groups, %v", len(groups), err)
	}
}
