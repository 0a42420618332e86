package aws_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// staging is the group that environment staging is to have for itself.
func staging(from string) fleet.NewGroup {
	return fleet.NewGroup{
		From: from, Name: "staging", Environment: "staging", Max: 3, Labels: map[string]string{"env": "staging"}, Taints: []fleet.Taint{{Key: "env", Value: "staging", Effect: "NoSchedule"}},
	}
}

func (r *region) makes(want fleet.NewGroup) error {
	return r.hand.Act(ctx, fleet.Action{Verb: fleet.MakeGroup, Run: "i-1", Group: want.Name, Environment: want.Environment, NewGroup: &want})
}

func TestIsolate(t *testing.T) {
	r := newRegion(t)
	r.nodegroup("prod", "api", nil)
	p, err := r.hand.DescribeForCopy(ctx, "api")
	r.ok(err)
	subnets := r.sim.Subnets()
	want := "types m5.large m6i.large, image AL2023_x86_64_STANDARD, capacity ON_DEMAND, disk 50 GiB, subnets " + subnets[0].ID + " " + subnets[1].ID + " " + subnets[2].ID +
		", role arn:aws:iam::123456789012:role/node, labels pool=api, taints dedicated=api:NoSchedule, tags team=blue"
	if p.String() != want || p.Cluster != "prod" || !p.Managed || p.Group != "api" {
		t.Errorf("got  %s\nwant %s\n%+v", p, want, p)
	}
	for range 2 {
		r.ok(r.makes(staging("api")))
	}
	r.clock.Advance(5 * time.Minute)
	r.ok(r.makes(staging("api")))
	n, err := r.sim.DescribeNodegroup("prod", "staging")
	r.ok(err)
	if n.Min != 0 || n.Desired != 0 || n.Max != 3 || n.Status != "ACTIVE" || n.DiskSize != 50 || len(n.InstanceTypes) != 2 || len(n.Subnets) != 3 || n.Role == "" ||
		!maps.Equal(n.Labels, map[string]string{"pool": "api", "env": "staging"}) || !maps.Equal(n.Tags, map[string]string{"team": "blue", "drover:environment": "staging"}) ||
		len(n.Taints) != 2 || n.Taints[1] != (cloud.NodeTaint{Key: "env", Value: "staging", Effect: "NoSchedule"}) {
		t.Errorf("made %+v", n)
	}
	if g := r.named("staging"); g.Sleep != nil || g.Trouble != "" || len(g.Instances) != 0 || g.Managed.CopyOf != "" {
		t.Errorf("observed as %+v", g)
	}
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.Resize, Group: "staging", From: 0, To: 2})) // it may have grown since
	r.clock.Advance(5 * time.Minute)
	r.ok(r.makes(staging("api")))
	other := staging("api")
	other.Environment, other.Max, other.Labels = "qa", 4, map[string]string{"env": "qa"}
	refusal(t, r.makes(other), `a node group staging exists already, with `+
		`tag drover:environment "staging", not "qa"; labels "env=staging pool=api", not "env=qa pool=api"; maximum "3", not "4"`)
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.CreateGroup, Run: "r-1", Group: "staging", Copy: "staging-r-1", To: 1}))
	if n, err = r.sim.DescribeNodegroup("prod", "staging-r-1"); err != nil || n.Tags["drover:environment"] != "staging" || n.Labels["env"] != "staging" {
		t.Errorf("a rotation makes %+v of it, %v", n, err)
	}
	shared := staging("api")
	shared.Name = "api"
	refusal(t, r.makes(shared), `with tag drover:environment "", not "staging"`)
}

// A template of the user's own is taken over with the version that the shared group runs: moving pods is no time for another one.
func TestIsolateWithTemplate(t *testing.T) {
	r := newRegion(t)
	_, err := r.sim.CreateLaunchTemplate("nodes", "", cloud.TemplateData{ImageID: "ami-0a000000000000001", InstanceType: "m5.large"}, nil)
	r.ok(err)
	r.nodegroup("prod", "custom", func(n *cloud.Nodegroup) {
		n.Template, n.InstanceTypes, n.DiskSize, n.CapacityType = cloud.TemplateSpec{Name: "nodes"}, nil, 0, "SPOT"
	})
	_, _, err = r.sim.CreateLaunchTemplateVersion("", "nodes", "1", "", cloud.TemplateData{ImageID: "ami-0a000000000000002"})
	r.ok(err)
	p, err := r.hand.DescribeForCopy(ctx, "prod/custom")
	r.ok(err)
	if got := p.String(); !strings.HasPrefix(got, "template nodes:1, image CUSTOM, capacity SPOT, subnets ") {
		t.Error(got)
	}
	want := staging("custom")
	want.Taints = append(want.Taints, fleet.Taint{Key: "dedicated", Value: "staging", Effect: "NoSchedule"})
	for range 2 {
		r.ok(r.makes(want))
		r.clock.Advance(5 * time.Minute)
	}
	n, err := r.sim.DescribeNodegroup("prod", "staging")
	r.ok(err)
	if n.Template.Version != "1" || n.CapacityType != "SPOT" || len(n.Taints) != 2 || n.Taints[1].Value != "staging" {
		t.Errorf("made %+v: of two taints of one key and effect, the environment's counts", n)
	}
}

func TestWhatCannotBeIsolated(t *testing.T) {
	r := newRegion(t)
	r.nodegroup("prod", "api", nil)
	fatal := func(want string, err error) {
		t.Helper()
		var f *fleet.Fatal
		if !errors.As(err, &f) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	fatal("web is no managed node group: its nodes get labels and taints from the user data of web:$Latest, which drover does not "+
		"rewrite. Make a launch template whose kubelet is started with --node-labels=env=staging --register-with-taints=env=staging:NoSchedule, make Auto Scaling group staging from it "+
		"with minimum 0, maximum 3, subnets ", r.makes(staging("web")))
	r.ok(r.env(fleet.Action{Verb: fleet.MarkGroup, Group: "web", Bed: bed()}))
	p, err := r.hand.DescribeForCopy(ctx, "web")
	r.ok(err)
	if got := p.String(); p.Managed || !strings.HasPrefix(got, "template web:$Latest") || strings.Contains(got, "drover") {
		t.Errorf("%+v: %s", p, got)
	}
	wrong := staging("api")
	wrong.Max = 0
	fatal("whose maximum is 0: say at least 1", r.makes(wrong))
	wrong = staging("api")
	wrong.Taints[0].Effect = "NoWay"
	fatal("taint env=staging:NoWay: Kubernetes knows no such effect", r.makes(wrong))
	refusal(t, r.makes(staging("nobody")), "there is no group nobody")
	wrong = staging("api")
	wrong.Name = "no name"
	if err := r.makes(wrong); err == nil || !strings.Contains(err.Error(), "InvalidParameterException: The node group name 'no name'") {
		t.Errorf("got %v", err)
	}
	r.sim.FailNext("eks:CreateNodegroup", &cloud.Error{Code: "AccessDeniedException", Message: "not authorized to perform: eks:CreateNodegroup", Status: 403})
	fatal("not authorized to perform: eks:CreateNodegroup; grant drover that permission", r.makes(staging("api")))
	r.sim.FailNodegroup("Ec2SubnetNotFound", "no such subnet")
	r.ok(r.makes(staging("api")))
	r.clock.Advance(time.Minute)
	refusal(t, r.makes(staging("api")), "EKS could not make node group staging: Ec2SubnetNotFound: no such subnet; delete it when that is mended")
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.DeleteGroup, Group: "staging"}))
	r.ok(r.makes(staging("api")))
	r.clock.Advance(5 * time.Minute)
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.DeleteGroup, Group: "staging"}))
}
