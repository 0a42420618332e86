package aws_test

import (
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// nodegroup makes a node group of a cluster, on 1.33 unless the cluster is there already.
func (r *region) nodegroup(cluster, name string, change func(*cloud.Nodegroup)) cloud.Nodegroup {
	r.Helper()
	r.hand = r.connect(5) // as TestManyGroups says, of long answers
	if _, err := r.sim.DescribeCluster(cluster); err != nil {
		r.sim.AddCluster(cluster, "1.33")
	}
	n := cloud.Nodegroup{
		Cluster: cluster, Name: name, Role: "arn:aws:iam::123456789012:role/node", Min: 2, Max: 4, Desired: 3, InstanceTypes: []string{"m5.large", "m6i.large"}, DiskSize: 50,
		Labels: map[string]string{"pool": "api"}, Taints: []cloud.NodeTaint{{Key: "dedicated", Value: "api", Effect: "NoSchedule"}}, Tags: map[string]string{"team": "blue"},
		Pace: cloud.Pace{MaxUnavailable: 2},
	}
	for _, s := range r.sim.Subnets() {
		n.Subnets = append(n.Subnets, s.ID)
	}
	if change != nil {
		change(&n)
	}
	n, err := r.sim.CreateNodegroup(n, "")
	r.ok(err)
	r.clock.Advance(5 * time.Minute)
	return n
}

func (r *region) named(name string) *fleet.Group {
	r.Helper()
	groups, err := r.hand.Groups(ctx, []string{name})
	r.ok(err)
	if len(groups) != 1 {
		r.Fatalf("%d groups answer to %s", len(groups), name)
	}
	return &groups[0]
}

func TestManagedGroup(t *testing.T) {
	r := newRegion(t)
	made := r.nodegroup("prod", "api", nil)
	for _, name := range []string{"api", made.Scaling, "prod/api"} {
		g := r.named(name)
		if name != "prod/api" && g.Name != "api" || name == "prod/api" && g.Name != name {
			t.Errorf("%s is called %s", name, g.Name)
		}
		want := fleet.Managed{Cluster: "prod", Scaling: made.Scaling, Status: "ACTIVE", Version: "1.33 / 1.33.0-20260101", Latest: "1.33 / 1.33.0-20260101"}
		if g.Managed == nil || *g.Managed != want || len(g.Instances) != 3 || g.Desired != 3 {
			t.Errorf("%s: %+v, managed %+v", name, g, g.Managed)
		}
	}
	if got, err := r.hand.GroupOf(ctx, r.named("api").Instances[0].ID); err != nil || got != "api" {
		t.Errorf("group of an instance: %q, %v", got, err)
	}
	all, err := r.hand.Groups(ctx, nil)
	r.ok(err)
	if len(all) != 2 || all[0].Name != "api" || all[1].Name != "web" || all[1].Managed != nil {
		t.Errorf("all: %+v", all)
	}
	groups, err := r.hand.Groups(ctx, []string{"nobody", "prod/nobody", "elsewhere/nobody"})
	if err != nil || len(groups) != 0 {
		t.Errorf("nobody: %v, %v", groups, err)
	}
}

func TestNewestVersion(t *testing.T) {
	r := newRegion(t)
	r.nodegroup("prod", "api", nil)
	r.sim.PublishRelease("1.33", "1.33.5-20261101")
	if got := r.named("api").Managed.Latest; got != "1.33 / 1.33.5-20261101" {
		t.Errorf("a new release: %s", got)
	}
	r.ok(r.sim.SetClusterVersion("prod", "1.34"))
	if m := r.named("api").Managed; m.Latest != "1.34 / 1.34.0-20260101" || m.Version != "1.33 / 1.33.0-20260101" {
		t.Errorf("a new cluster: %+v", m)
	}
	denied := &cloud.Error{Code: "AccessDeniedException", Message: "not authorized", Status: 400}
	r.sim.FailNext("ssm:GetParameter", denied)
	if m := r.named("api").Managed; m.Latest != "1.34" || m.Trouble != "" {
		t.Errorf("without the right to read the release: %+v", m)
	}
	r.ok(r.sim.SetClusterVersion("prod", "1.33"))
	r.sim.FailNext("ssm:GetParameter", denied)
	if m := r.named("api").Managed; m.Latest != m.Version {
		t.Errorf("without the right to read the release: %+v", m)
	}
}

func TestNewestTemplate(t *testing.T) {
	r := newRegion(t)
	_, err := r.sim.CreateLaunchTemplate("nodes", "", cloud.TemplateData{ImageID: "ami-0a000000000000001", InstanceType: "m5.large"}, nil)
	r.ok(err)
	r.nodegroup("prod", "custom", func(n *cloud.Nodegroup) { n.Template, n.InstanceTypes = cloud.TemplateSpec{Name: "nodes"}, nil })
	version := func(want string) {
		t.Helper()
		if m := r.named("custom").Managed; m.Version != "1.33 / nodes:1" || m.Latest != want {
			t.Errorf("got %+v, want latest %s", m, want)
		}
	}
	version("1.33 / nodes:1")
	for range 2 {
		_, _, err := r.sim.CreateLaunchTemplateVersion("", "nodes", "1", "", cloud.TemplateData{ImageID: "ami-0a000000000000002"})
		r.ok(err)
	}
	version("1.33 / nodes:3") // nobody moved the default: the newest counts
	_, err = r.sim.ModifyLaunchTemplate("", "nodes", "2")
	r.ok(err)
	version("1.33 / nodes:2")
	r.ok(r.sim.SetClusterVersion("prod", "1.34"))
	version("1.33 / nodes:2") // what is in a custom image, nobody can tell
	_, err = r.sim.DeleteLaunchTemplate("", "nodes")
	r.ok(err)
	if got := r.named("custom").Trouble; !strings.Contains(got, "launch template nodes, from which it launches, does not exist any more") {
		t.Errorf("got %q", got)
	}
}

func TestNamesakes(t *testing.T) {
	r := newRegion(t)
	blue := r.nodegroup("blue", "api", nil)
	r.nodegroup("green", "api", nil)
	r.nodegroup("blue", "web", nil)
	all, err := r.hand.Groups(ctx, nil)
	r.ok(err)
	var names []string
	for _, g := range all {
		names = append(names, g.Name)
	}
	if got := strings.Join(names, " "); got != "blue/api blue/web green/api web" {
		t.Errorf("names %s", got)
	}
	_, err = r.hand.Groups(ctx, []string{"api"})
	if err == nil || err.Error() != "node group api exists in clusters blue and green: call it blue/api" {
		t.Errorf("got %v", err)
	}
	if g := r.named(blue.Scaling); g.Name != "blue/api" {
		t.Errorf("by its Auto Scaling group it is called %s", g.Name)
	}
	for name, cluster := range map[string]string{"green/api": "green", "blue/web": "blue"} {
		if g := r.named(name); g.Name != name || g.Managed == nil || g.Managed.Cluster != cluster {
			t.Errorf("%s: %s, %+v", name, g.Name, g.Managed)
		}
	}
	if g := r.named("web"); g.Managed != nil {
		t.Errorf("the Auto Scaling group of that name comes first: %+v", g.Managed)
	}
}

// Verbs on a managed group name it as drover does; Auto Scaling knows it by another name.
func TestActingOnAManagedGroup(t *testing.T) {
	r := newRegion(t)
	r.nodegroup("prod", "api", nil)
	do := func(a fleet.Action) {
		t.Helper()
		a.Group = "api"
		r.ok(r.hand.Act(ctx, a))
	}
	m := fleet.GroupMark{Run: "r-1", At: time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC), Criterion: "outdated", Desired: 3, From: 3, Set: 3}
	do(fleet.Action{Verb: fleet.Journal, Mark: &m})
	do(fleet.Action{Verb: fleet.Suspend, Process: fleet.AZRebalance})
	do(fleet.Action{Verb: fleet.Resize, From: 3, To: 4})
	r.clock.Advance(5 * time.Minute)
	g := r.named("api")
	if g.Mark == nil || g.Mark.Run != "r-1" || !g.IsSuspended(fleet.AZRebalance) || len(g.Instances) != 4 {
		t.Fatalf("group %+v", g)
	}
	do(fleet.Action{Verb: fleet.Terminate, Instance: g.Instances[0].ID})
	r.clock.Advance(5 * time.Minute)
	if g := r.named("api"); len(g.Instances) != 3 || g.Desired != 3 {
		t.Errorf("group %+v", g)
	}
}

func TestCreateGroup(t *testing.T) {
	r := newRegion(t)
	r.nodegroup("prod", "api", nil)
	r.ok(r.sim.SetClusterVersion("prod", "1.34"))
	a := fleet.Action{Verb: fleet.CreateGroup, Run: "r-1", Group: "api", Copy: "api-r-1", To: 5}
	for range 2 {
		r.ok(r.hand.Act(ctx, a))
	}
	if got := r.named("api-r-1").Managed.Status; got != "CREATING" {
		t.Errorf("at first it is %s", got)
	}
	r.clock.Advance(5 * time.Minute)
	g := r.named("api-r-1")
	if m := g.Managed; m.Status != "ACTIVE" || m.CopyOf != "api" || m.Run != "r-1" || m.Version != "1.34 / 1.34.0-20260101" || m.Version != m.Latest || len(g.Instances) != 5 {
		t.Errorf("copy %+v with %d instances", m, len(g.Instances))
	}
	n, err := r.sim.DescribeNodegroup("prod", "api-r-1")
	r.ok(err)
	if n.Min != 2 || n.Max != 5 || n.DiskSize != 50 || n.Labels["pool"] != "api" || len(n.Taints) != 1 || n.Taints[0].Effect != "NoSchedule" || n.Tags["team"] != "blue" ||
		n.Pace.MaxUnavailable != 2 || len(n.InstanceTypes) != 2 || len(n.Subnets) != 3 || n.Role == "" || n.CapacityType != "ON_DEMAND" {
		t.Errorf("copy %+v", n)
	}
	a.Run = "r-2"
	refusal(t, r.hand.Act(ctx, a), "a node group api-r-1 exists already and is not of run r-2")
	a.Group = "nobody"
	refusal(t, r.hand.Act(ctx, a), "the node group to copy is gone")
	a.Group = "web"
	if err := r.hand.Act(ctx, a); err == nil || err.Error() != "web is not a managed node group" {
		t.Errorf("got %v", err)
	}
	// The copy of a copy carries its own run only.
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.CreateGroup, Run: "r-3", Group: "api-r-1", Copy: "api-r-3", To: 1}))
	if m := r.named("api-r-3").Managed; m.CopyOf != "api-r-1" || m.Run != "r-3" {
		t.Errorf("copy of a copy: %+v", m)
	}
}

func TestCreateGroupWithTemplate(t *testing.T) {
	r := newRegion(t)
	_, err := r.sim.CreateLaunchTemplate("nodes", "", cloud.TemplateData{ImageID: "ami-0a000000000000001", InstanceType: "m5.large"}, nil)
	r.ok(err)
	r.nodegroup("prod", "custom", func(n *cloud.Nodegroup) {
		n.Template, n.InstanceTypes, n.DiskSize = cloud.TemplateSpec{Name: "nodes"}, nil, 0
	})
	_, _, err = r.sim.CreateLaunchTemplateVersion("", "nodes", "1", "", cloud.TemplateData{ImageID: "ami-0a000000000000002"})
	r.ok(err)
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.CreateGroup, Run: "r-1", Group: "custom", Copy: "custom-r-1", To: 3}))
	r.clock.Advance(5 * time.Minute)
	if m := r.named("custom-r-1").Managed; m.Version != "1.33 / nodes:2" || m.Version != m.Latest {
		t.Errorf("copy %+v", m)
	}
}

func TestDeleteGroup(t *testing.T) {
	r := newRegion(t)
	r.nodegroup("prod", "api", nil)
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.CreateGroup, Run: "r-1", Group: "api", Copy: "api-r-1", To: 3}))
	refusal(t, r.hand.Act(ctx, fleet.Action{Verb: fleet.DeleteGroup, Run: "r-2", Group: "api-r-1"}), "run r-1 is making this node group")
	refusal(t, r.hand.Act(ctx, fleet.Action{Verb: fleet.DeleteGroup, Run: "r-1", Group: "api-r-1"}), "AWS is busy: ResourceInUseException")
	known := ids(r.named("api"))
	m := fleet.GroupMark{Run: "r-1", At: time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC), Criterion: "outdated", Desired: 3, From: 3, Set: 3}
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.Journal, Group: "api", Mark: &m}))
	refusal(t, r.hand.Act(ctx, fleet.Action{Verb: fleet.DeleteGroup, Run: "r-2", Group: "api"}), "the group now carries run r-1")
	for _, few := range [][]string{nil, known[1:]} {
		refusal(t, r.hand.Act(ctx, fleet.Action{Verb: fleet.DeleteGroup, Run: "r-1", Group: "api", Instances: few}), "instance "+known[0]+" is in the group by now, which the decision did not know")
	}
	for range 3 {
		r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.DeleteGroup, Run: "r-1", Group: "api", Instances: known}))
		r.clock.Advance(15 * time.Second)
	}
	r.clock.Advance(5 * time.Minute)
	if groups, err := r.hand.Groups(ctx, []string{"api"}); err != nil || len(groups) != 0 {
		t.Errorf("still there: %v, %v", groups, err)
	}
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.DeleteGroup, Run: "r-1", Group: "api"})) // long gone: already so
	if g := r.named("api-r-1"); g.Managed.Status != "ACTIVE" {
		t.Errorf("the copy: %+v", g.Managed)
	}
}

func ids(g *fleet.Group) []string {
	var out []string
	for _, in := range g.Instances {
		out = append(out, in.ID)
	}
	return out
}

// EKS makes the Auto Scaling group some time after the node group, or never.
func TestACopyWithoutAnAutoScalingGroup(t *testing.T) {
	r := newRegion(t)
	r.nodegroup("prod", "api", nil)
	r.sim.FailNodegroup("Ec2SubnetNotFound", "no such subnet")
	create := fleet.Action{Verb: fleet.CreateGroup, Run: "r-1", Group: "api", Copy: "api-r-1", To: 3}
	for range 2 {
		r.ok(r.hand.Act(ctx, create))
	}
	for _, name := range []string{"api-r-1", "prod/api-r-1"} {
		r.hand = r.connect(5) // one that knows no cluster yet
		if g := r.named(name); g.Name != name || g.Managed.Status != "CREATING" || g.Managed.Trouble != "" || g.Managed.CopyOf != "api" || g.Managed.Run != "r-1" ||
			len(g.Instances) != 0 || g.Desired != 3 || g.Trouble != "" {
			t.Errorf("%+v, managed %+v", g, g.Managed)
		}
	}
	remove := fleet.Action{Verb: fleet.DeleteGroup, Run: "r-1", Group: "api-r-1"}
	refusal(t, r.hand.Act(ctx, remove), "AWS is busy: ResourceInUseException")
	r.clock.Advance(time.Minute)
	if m := r.named("api-r-1").Managed; m.Status != "CREATE_FAILED" || m.Trouble != "Ec2SubnetNotFound: no such subnet" {
		t.Errorf("managed %+v", m)
	}
	refusal(t, r.hand.Act(ctx, create), "EKS could not make node group api-r-1: Ec2SubnetNotFound: no such subnet")
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.Forget, Run: "r-1", Group: "api-r-1"})) // there is nothing to carry a mark
	r.sim.FailNext("eks:DescribeNodegroup", &cloud.Error{Code: "AccessDeniedException", Message: "not authorized", Status: 403})
	if groups, err := r.hand.Groups(ctx, []string{"api-r-1"}); err != nil || len(groups) != 0 {
		t.Errorf("without the right to ask: %v, %v", groups, err)
	}
	r.sim.FailNext("eks:DescribeNodegroup", &cloud.Error{Code: "ServerException", Message: "broken", Status: 400})
	if _, err := r.hand.Groups(ctx, []string{"api-r-1"}); err == nil || !strings.Contains(err.Error(), "describe node group api-r-1 of cluster prod: ServerException") {
		t.Errorf("got %v", err)
	}
	for range 2 {
		r.ok(r.hand.Act(ctx, remove))
	}
	if groups, err := r.hand.Groups(ctx, []string{"api-r-1"}); err != nil || len(groups) != 0 {
		t.Errorf("still there: %v, %v", groups, err)
	}
	if g := r.named("api"); len(g.Instances) != 3 {
		t.Errorf("the original: %+v", g)
	}
}

func TestEKSsOwnTrouble(t *testing.T) {
	r := newRegion(t)
	r.nodegroup("prod", "api", nil)
	r.ok(r.sim.SetNodegroupIssue("prod", "api", "AccessDenied", "Nodes fail to join"))
	if m := r.named("api").Managed; m.Status != "DEGRADED" || m.Trouble != "AccessDenied: Nodes fail to join" {
		t.Errorf("managed %+v", m)
	}
	r.sim.FailNext("eks:DescribeNodegroup", &cloud.Error{Code: "AccessDeniedException", Message: "not authorized to perform: eks:DescribeNodegroup", Status: 403})
	all, err := r.hand.Groups(ctx, nil)
	r.ok(err)
	if len(all) != 2 || !strings.Contains(all[0].Trouble, "not authorized to perform: eks:DescribeNodegroup; grant drover that permission") || all[1].Trouble != "" {
		t.Errorf("all: %+v", all)
	}
}
