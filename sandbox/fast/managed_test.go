package fast

import (
	"errors"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cluster"
)

func TestManagedGroupsAreCopiedAndDeleted(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddNodegroup(NodegroupSpec{Name: "web", Size: 2, Min: 1, Labels: map[string]string{"pool": "web"}}))
	l.must(l.Deploy(deployment("api", 4), cluster.BudgetSpec{MaxUnavailable: "1"}))
	l.settle()
	g := l.group("web")
	l.equal("status", g.Managed.Status, "ACTIVE")
	l.equal("up to date", g.Managed.Latest, g.Managed.Version)
	l.equal("label", l.observe().Nodes[0].Labels["pool"], "web")
	l.Cloud.PublishRelease("1.33", "1.33.4-20261101")
	g = l.group("web")
	l.equal("outdated", g.Outdated(&g.Instances[0]) != "", true)

	create := fleet.Action{Verb: fleet.CreateGroup, Group: "web", Copy: "web-2", To: 2, Run: "r"}
	l.must(l.act(create))
	l.must(l.act(create))
	other := create
	other.Run = "q"
	l.refused(l.act(other), "exists already and is not of run q")
	l.settle()
	made := l.group("web-2")
	l.equal("made", made.Managed.Status, "ACTIVE")
	l.equal("copy", []any{made.Managed.CopyOf, made.Managed.Run, made.Managed.Version, made.Desired, made.Min}, []any{"web", "r", g.Managed.Latest, 2, 1})

	s := l.observe()
	for _, in := range g.Instances {
		l.must(l.act(fleet.Action{Verb: fleet.Taint_, Node: s.NodeOf(in.ID).Name, Run: "r", Effect: fleet.NoSchedule}))
	}
	for _, in := range g.Instances {
		l.await("empty", func() bool { return l.evictAll(s.NodeOf(in.ID).Name) })
	}
	known := ids(g)
	remove := fleet.Action{Verb: fleet.DeleteGroup, Group: "web", Run: "r"}
	l.refused(l.act(remove), "is in the group by now, which the decision did not know")
	remove.Instances = known[1:]
	l.refused(l.act(remove), "instance "+known[0]+" is in the group by now, which the decision did not know")
	remove.Instances = known
	l.must(l.act(remove))
	l.must(l.act(remove))
	l.await("the group is gone", func() bool { return len(l.observe().Groups) == 1 })
	l.must(l.act(remove))
	l.settle()
	l.equal("breaches", len(l.Cluster.Ledger().Breaches), 0)
	l.equal("lost", len(l.Cluster.Ledger().Lost), 0)
	l.refused(l.act(create), "the node group to copy is gone")
}

// EKS drains by itself, respecting budgets, but gives that no time: what has not moved by then is lost.
func TestDeletingAFullNodegroupLosesPods(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddNodegroup(NodegroupSpec{Name: "web", Size: 2}))
	s := deployment("api", 4)
	s.Stop = 20 * time.Second
	l.must(l.Deploy(s, cluster.BudgetSpec{MaxUnavailable: "1"}))
	l.settle()
	l.must(l.act(fleet.Action{Verb: fleet.DeleteGroup, Group: "web", Instances: ids(l.group("web"))}))
	l.Advance(10 * time.Minute)
	l.equal("lost", len(l.Cluster.Ledger().Lost) > 0, true)
	l.equal("breaches", len(l.Cluster.Ledger().Breaches) > 0, true)
}

func ids(g *fleet.Group) []string {
	var out []string
	for _, in := range g.Instances {
		out = append(out, in.ID)
	}
	return out
}

func TestACopyThatEKSCannotMake(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddNodegroup(NodegroupSpec{Name: "web", Size: 2}))
	l.settle()
	l.Cloud.FailNodegroup("Ec2SubnetNotFound", "no such subnet")
	create := fleet.Action{Verb: fleet.CreateGroup, Group: "web", Copy: "web-2", To: 2, Run: "r"}
	l.must(l.act(create))
	look := func() []fleet.Group {
		groups, err := l.hand.Groups(t.Context(), []string{"web-2"})
		l.must(err)
		return groups
	}
	m := look()[0].Managed
	l.equal("at first", []any{m.Status, m.Trouble, m.CopyOf, m.Run, look()[0].Desired}, []any{"CREATING", "", "web", "r", 2})
	remove := fleet.Action{Verb: fleet.DeleteGroup, Group: "web-2", Run: "r"}
	l.refused(l.act(remove), "AWS is busy: ResourceInUseException")
	l.Advance(time.Minute)
	m = look()[0].Managed
	l.equal("then", []any{m.Status, m.Trouble, len(look()[0].Instances)}, []any{"CREATE_FAILED", "Ec2SubnetNotFound: no such subnet", 0})
	l.refused(l.act(create), "EKS could not make node group web-2: Ec2SubnetNotFound: no such subnet")
	for range 2 {
		l.must(l.act(remove))
	}
	l.equal("gone", len(look()), 0)
	l.equal("the original", len(l.group("web").Instances), 2)
}

func TestGroupIsMadeForAnEnvironment(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddNodegroup(NodegroupSpec{Name: "shared", Size: 1, Labels: map[string]string{"team": "shop"}}))
	l.must(l.AddGroup(GroupSpec{Name: "own", Size: 1}))
	l.settle()
	want := fleet.NewGroup{Name: "stg", From: "shared", Environment: "staging", Max: 2, Labels: map[string]string{"env": "stg"}, Taints: []fleet.Taint{{Key: "env", Value: "stg", Effect: fleet.NoSchedule}}}
	made := fleet.Action{Verb: fleet.MakeGroup, Group: want.Name, NewGroup: &want}
	l.must(l.act(made))
	l.must(l.act(made)) // already so
	l.Advance(10 * time.Minute)
	g := l.group("stg")
	l.equal("empty", []int{g.Min, g.Max, g.Desired, len(g.Instances)}, []int{0, 2, 0, 0})
	l.must(l.act(fleet.Action{Verb: fleet.Resize, Group: "stg", From: 0, To: 1}))
	l.settle()
	seen := l.observe()
	n := seen.NodeOf(l.group("stg").Instances[0].ID)
	l.equal("its node", []any{n.Labels["env"], n.Labels["team"], n.Taints}, []any{"stg", "shop", want.Taints})

	other := want
	other.Environment = "qa"
	l.refused(l.act(fleet.Action{Verb: fleet.MakeGroup, NewGroup: &other}), "was not made for environment qa")
	other = want
	other.From = "own"
	var fatal *fleet.Fatal
	if err := l.act(fleet.Action{Verb: fleet.MakeGroup, NewGroup: &other}); !errors.As(err, &fatal) {
		t.Fatalf("a self-managed pattern: got %v, want that no retry mends it", err)
	}
}
