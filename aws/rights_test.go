package aws_test

import (
	"cmp"
	"slices"
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
	p.grants(aws.NoticeActions)
}

// grants compares lists of rights with what was done.
func (r *region) grants(lists ...[]aws.Right) {
	r.Helper()
	listed := map[string]bool{}
	for _, list := range lists {
		for _, right := range list {
			if right.For == "" || right.On == "" {
				r.Errorf("%+v says too little", right)
			}
			listed[right.Action] = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	made := map[string]bool{}
	for call := range r.made {
		made[strings.TrimSuffix(call, "Batch")] = true // IAM knows batches by what they do
	}
	delete(made, "sts:GetCallerIdentity") // needs no right
	for call := range made {
		if !listed[call] {
			r.Errorf("%s is not listed", call)
		}
	}
	for action := range listed {
		if !made[action] {
			r.Errorf("%s is listed and never done", action)
		}
	}
}

// Within one list a right is there once.
func TestRightsAreListedOnce(t *testing.T) {
	for _, list := range [][]aws.Right{aws.NoticeActions, aws.SwitchActions, aws.DatabaseActions, aws.ArchiveActions, aws.IsolateActions} {
		seen := map[string]bool{}
		for _, right := range list {
			if seen[right.Action] {
				t.Errorf("%s is listed twice", right.Action)
			}
			seen[right.Action] = true
		}
	}
}

// Who rotates needs nothing of what only environments have.
func TestOnlyEnvironmentsNeedDatabasesAndBuckets(t *testing.T) {
	for _, list := range [][]aws.Right{aws.NoticeActions, aws.SwitchActions} {
		for _, right := range list {
			if service, _, _ := strings.Cut(right.Action, ":"); service == "rds" || service == "s3" || service == "iam" {
				t.Errorf("%s is for everybody", right.Action)
			}
		}
	}
}

func TestSwitchActionsAreAll(t *testing.T) {
	r := newRegion(t)
	r.nodegroup("prod", "api", nil)
	g := r.group()
	_, err := r.hand.Groups(ctx, nil)
	r.ok(err)
	for _, a := range []fleet.Action{
		{Verb: fleet.MarkGroup, Bed: bed()}, {Verb: fleet.Suspend, Process: fleet.AZRebalance}, {Verb: fleet.Bound, From: 2, To: 0}, {Verb: fleet.Protect, Instances: ids(g)[:1]},
		{Verb: fleet.Deregister, Instance: ids(g)[1], Target: r.arn}, {Verb: fleet.Terminate, Instance: ids(g)[1]}, {Verb: fleet.Resize, From: 2, To: 3},
		{Verb: fleet.Bound, From: 0, To: 2}, {Verb: fleet.Unprotect, Instances: ids(g)[:1]}, {Verb: fleet.Resume, Process: fleet.AZRebalance}, {Verb: fleet.UnmarkGroup},
		{Verb: fleet.Bound, Group: "api", From: 2, To: 0},
	} {
		a.Group = cmp.Or(a.Group, "web")
		r.ok(r.env(a))
		r.clock.Advance(time.Minute)
	}
	r.grants(aws.SwitchActions)
}

func TestDatabaseActionsAreAll(t *testing.T) {
	r := newRegion(t)
	r.instance("stg", nil)
	r.dbcluster("shop", func(k *cloud.DBCluster) { k.MinACU, k.MaxACU = 2, 8 })
	for _, id := range []string{"instance stg", "cluster shop"} {
		for _, verb := range []fleet.Verb{fleet.MarkDatabase, fleet.SetCapacity, fleet.StopDatabase, fleet.StartDatabase, fleet.UnmarkDatabase} {
			if verb != fleet.SetCapacity || id == "cluster shop" {
				r.ok(r.db(verb, id))
				r.clock.Advance(time.Hour)
			}
		}
	}
	r.grants(aws.DatabaseActions)
	if key, value := aws.MarkedCondition("staging"); key != "aws:ResourceTag/drover:environment" || value != "staging *" {
		t.Errorf("%s %s: what carries another environment's mark is not this one's to switch", key, value)
	}
}

func TestIsolateActionsAreAll(t *testing.T) {
	r := newRegion(t)
	r.nodegroup("prod", "api", nil)
	r.ok(r.makes(staging("api")))
	asked := map[string]bool{"eks:TagResource": true, "iam:PassRole": true, "ec2:RunInstances": true} // by EKS, of who calls CreateNodegroup
	r.grants(slices.DeleteFunc(slices.Clone(aws.IsolateActions), func(right aws.Right) bool { return asked[right.Action] }))
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
