package aws_test

import (
	"strings"
	"testing"
	"time"

	"drover.dev/aws"
	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// What a policy for the controller grants is all that it does, and no more than that.
func TestNoticeActionsAreAll(t *testing.T) {
	p := newPost(t)
	p.workForALife()
	listed := map[string]bool{}
	for _, right := range aws.NoticeActions {
		if listed[right.Action] || right.For == "" || right.On == "" {
			t.Errorf("%+v is listed twice, or says too little", right)
		}
		listed[right.Action] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	made := map[string]bool{"eks:DescribeCluster": true, "eks:DescribeNodegroup": true} // EKS's calls have no name on the wire
	for call := range p.made {
		made[strings.TrimSuffix(call, "Batch")] = true // IAM knows batches by what they do
	}
	delete(made, "sts:GetCallerIdentity") // needs no right
	for call := range made {
		if !listed[call] {
			t.Errorf("%s is not in NoticeActions", call)
		}
	}
	for action := range listed {
		if !made[action] {
			t.Errorf("%s is in NoticeActions and never done", action)
		}
	}
}

// workForALife does everything once that the controller does.
func (p *post) workForALife() {
	p.Helper()
	p.nodegroup("prod", "api", nil)
	lt, err := p.sim.CreateLaunchTemplate("spot", "", cloud.TemplateData{ImageID: "ami-0a000000000000001", InstanceType: "m5.large", Spot: true}, nil)
	p.ok(err)
	p.ok(p.sim.CreateAutoScalingGroup(cloud.Group{Name: "spot", Max: 4, Desired: 2, Zones: p.sim.Zones(), Source: cloud.Source{Template: cloud.TemplateSpec{ID: lt.ID, Version: "$Latest"}}}))
	p.ok(p.sim.PutWarmPool(cloud.WarmPool{Group: "web", Min: 1, MaxPrepared: -1, State: "Stopped", Reuse: true}))
	p.clock.Advance(5 * time.Minute)
	p.hand = p.connect(5)
	p.hand.Notices = true
	_, _, err = p.hand.Account(ctx)
	p.ok(err)
	_, err = p.hand.Groups(ctx, nil)
	p.ok(err)
	id := p.group().Instances[0].ID
	_, err = p.hand.Machines(ctx, []string{id})
	p.ok(err)
	_, err = p.hand.Trail(ctx, "web", id)
	p.ok(err)
	m := fleet.GroupMark{Run: "r-1", At: p.clock.Now(), Criterion: "outdated", Desired: 3, From: 3, Set: 3}
	for _, a := range []fleet.Action{
		{Verb: fleet.Journal, Mark: &m}, {Verb: fleet.Suspend, Process: fleet.AZRebalance}, {Verb: fleet.Resume, Process: fleet.AZRebalance},
		{Verb: fleet.Forget}, {Verb: fleet.Resize, From: 3, To: 4}, {Verb: fleet.Deregister, Instance: id, Target: p.arn}, {Verb: fleet.Register, Instance: id, Target: p.arn},
		{Verb: fleet.Standby, Instance: id}, {Verb: fleet.Unstandby, Instance: id}, {Verb: fleet.Terminate, Instance: id},
		{Verb: fleet.Heartbeat, Hook: "drover-terminate", Instance: id}, {Verb: fleet.Complete, Hook: "drover-terminate", Instance: id, Result: fleet.Continue},
	} {
		p.act(a)
		p.clock.Advance(time.Minute)
	}
	p.send("one", "two", "three")
	ms := p.receive(3)
	p.ok(p.queue.Delete(ctx, ms[:1]))
	p.ok(p.queue.Release(ctx, ms[1], time.Hour))
	p.ok(p.queue.SetAside(ctx, ms[2], "not JSON"))
	_, err = p.queue.Depth(ctx)
	p.ok(err)
}
