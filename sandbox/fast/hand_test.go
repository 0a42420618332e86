package fast

import (
	"errors"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

func TestWhatTheHandSeesOfAGroup(t *testing.T) {
	l := newLab(t, Options{})
	arn, err := l.AddTargetGroup("web", false)
	l.must(err)
	other, err := l.AddTargetGroup("loose", false)
	l.must(err)
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 2, Min: 1, Max: 5, Targets: []string{arn}}))
	l.settle()
	g := l.group("web")
	l.must(l.Cloud.RegisterTargets(other, []cloud.TargetID{{ID: g.Instances[0].ID, Port: 8080}}))
	l.Advance(time.Minute)
	g = l.group("web")
	l.equal("sizes", []int{g.Min, g.Max, g.Desired}, []int{1, 5, 2})
	l.equal("targets", []bool{len(g.Targets) == 2, g.Targets[0].Loose == (g.Targets[0].ARN == other), g.Targets[1].Loose == (g.Targets[1].ARN == other)}, []bool{true, true, true})
	l.equal("delay", g.Targets[0].Delay, 300*time.Second)
	in := g.Instances[0]
	l.equal("states", []string{in.Lifecycle, in.Target(arn), in.Target(other)}, []string{"InService", "healthy", "healthy"})
	l.equal("launched", in.Launched.IsZero(), false)
	name, err := l.hand.GroupOf(t.Context(), in.ID)
	l.must(err)
	l.equal("group of", name, "web")

	l.must(l.act(fleet.Action{Verb: fleet.Deregister, Instance: in.ID, Target: other}))
	l.equal("draining", l.group("web").Instance(in.ID).Target(other), fleet.TargetDraining)
	l.must(l.act(fleet.Action{Verb: fleet.Register, Instance: in.ID, Target: other}))
	l.Advance(time.Minute)
	l.equal("back", l.group("web").Instance(in.ID).Target(other), fleet.TargetHealthy)
	for _, target := range l.Cloud.Targets(other) {
		l.equal("under the port it had", target.Port, 8080)
	}
	l.refused(l.act(fleet.Action{Verb: fleet.Register, Instance: in.ID, Target: "arn:none"}), "the target group is gone")
}

func TestMarksAndProcesses(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 2, Max: 5}))
	l.settle()
	before := l.Settings()
	m := &fleet.GroupMark{Run: "r", At: l.Now(), Criterion: "outdated", Desired: 2, From: 2, Set: 3, Left: 2, Surge: 1, Suspended: []string{fleet.AZRebalance}}
	for range 2 {
		l.must(l.act(fleet.Action{Verb: fleet.Journal, Group: "web", Mark: m}))
		l.must(l.act(fleet.Action{Verb: fleet.Suspend, Group: "web", Process: fleet.AZRebalance}))
		l.must(l.act(fleet.Action{Verb: fleet.Resize, Group: "web", From: 2, To: 3, Run: "r"}))
	}
	g := l.group("web")
	l.equal("mark", g.Mark.Equal(*m), true)
	l.equal("suspended", g.Suspended, []string{fleet.AZRebalance})
	l.equal("desired", g.Desired, 3)
	theirs := *m
	theirs.Run = "other"
	for _, a := range []fleet.Action{
		{Verb: fleet.Resize, From: 3, To: 4}, {Verb: fleet.Journal, Mark: &theirs}, {Verb: fleet.Forget}, {Verb: fleet.Suspend, Process: "Launch"},
		{Verb: fleet.Resume, Process: fleet.AZRebalance},
	} {
		a.Group, a.Run = "web", "other"
		l.refused(l.act(a), "the group now carries run r, expected other")
	}
	l.equal("left alone", []any{l.group("web").Mark.Run, l.group("web").Suspended}, []any{"r", []string{fleet.AZRebalance}})
	l.refused(l.act(fleet.Action{Verb: fleet.Resize, Group: "web", From: 5, To: 4, Run: "r"}), "desired is 3 by now, expected 5")
	l.refused(l.act(fleet.Action{Verb: fleet.Resize, Group: "none", From: 5, To: 4}), "the group is gone")
	l.refused(l.act(fleet.Action{Verb: fleet.Terminate, Group: "other", Instance: g.Instances[0].ID}), "it belongs to group web by now, expected other")
	l.settle()
	var fresh string
	for _, in := range l.group("web").Instances {
		if !strings.Contains(before, in.ID) {
			fresh = in.ID
		}
	}
	l.must(l.act(fleet.Action{Verb: fleet.Terminate, Group: "web", Instance: fresh, Run: "r"}))
	l.must(l.act(fleet.Action{Verb: fleet.Resume, Group: "web", Process: fleet.AZRebalance}))
	for range 2 {
		l.must(l.act(fleet.Action{Verb: fleet.Forget, Group: "web", Run: "r"}))
	}
	l.must(l.act(fleet.Action{Verb: fleet.Forget, Group: "none", Run: "r"}))
	l.Advance(time.Hour)
	l.equal("settings", l.Settings(), before)
}

func TestStandbyAndBack(t *testing.T) {
	l := newLab(t, Options{})
	arn, err := l.AddTargetGroup("web", false)
	l.must(err)
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 2, Min: 1, Targets: []string{arn}}))
	l.settle()
	l.Advance(time.Hour)
	before := l.Settings()
	in := l.group("web").Instances
	a := fleet.Action{Verb: fleet.Standby, Group: "web", Instance: in[0].ID}
	l.must(l.act(a))
	l.must(l.act(a))
	l.equal("on its way", l.group("web").Instance(in[0].ID).Lifecycle, "EnteringStandby")
	b := fleet.Action{Verb: fleet.Unstandby, Group: "web", Instance: in[0].ID}
	l.refused(l.act(b), "the instance is EnteringStandby, expected Standby")
	l.Advance(10 * time.Minute)
	l.must(l.act(a))
	g := l.group("web")
	l.equal("state", g.Instance(in[0].ID).Lifecycle, fleet.OnStandby)
	l.equal("desired", g.Desired, 1)
	l.equal("its node is still there", len(l.observe().Nodes), 2)
	l.refused(l.act(fleet.Action{Verb: fleet.Standby, Group: "web", Instance: in[1].ID}), "at its minimum of 1")
	l.must(l.act(b))
	l.must(l.act(b))
	l.Advance(10 * time.Minute)
	l.must(l.act(b))
	l.equal("settings", l.Settings(), before)
	l.equal("target", l.group("web").Instance(in[0].ID).Target(arn), fleet.TargetHealthy)
	l.refused(l.act(fleet.Action{Verb: fleet.Standby, Group: "web", Instance: "i-none"}), "the instance is gone")
}

func TestFailuresOfAWS(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 1}))
	l.settle()
	l.Cloud.Throttle("SetDesiredCapacity", 1)
	l.refused(l.act(fleet.Action{Verb: fleet.Resize, Group: "web", From: 1, To: 2}), "AWS is busy: Throttling")
	l.Cloud.LoseReply("SetDesiredCapacity")
	a := fleet.Action{Verb: fleet.Resize, Group: "web", From: 1, To: 2}
	if err := l.act(a); err == nil {
		t.Fatal("the reply was lost")
	}
	l.must(l.act(a))
	l.equal("desired", l.group("web").Desired, 2)
	l.Cloud.ExpireCredentials(true)
	_, err := l.hand.Groups(t.Context(), []string{"web"})
	var fatal *fleet.Fatal
	if !errors.As(err, &fatal) {
		t.Fatalf("got %v, want what no retry mends", err)
	}
	l.Cloud.ExpireCredentials(false)
	if err := l.act(fleet.Action{Verb: fleet.Evict}); err != nil {
		t.Fatal(err)
	}
	if err := l.hand.Act(t.Context(), fleet.Action{Verb: fleet.Evict}); err == nil {
		t.Fatal("the cloud evicted a pod")
	}
}

func TestUnreadableGroups(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 1}))
	l.must(l.Cloud.CreateOrUpdateTags([]cloud.GroupTag{{Group: "web", Key: "drover.dev/rotation", Value: "v9"}}))
	l.equal("listed with its trouble", strings.Contains(l.group("web").Trouble, "put the group back by hand"), true)
	groups, err := l.hand.Groups(t.Context(), []string{"web"})
	l.must(err)
	l.equal("named, too", []any{len(groups), strings.Contains(groups[0].Trouble, "put the group back by hand"), groups[0].Desired}, []any{1, true, 1})
}

func TestTargetsByIP(t *testing.T) {
	l := newLab(t, Options{})
	arn, err := l.AddTargetGroup("pods", true)
	l.must(err)
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 2}))
	s := deployment("api", 2)
	s.Target = arn
	l.must(l.Deploy(s))
	l.settle()
	l.Advance(time.Minute)
	byIP, groups, err := l.hand.Targets(t.Context())
	l.must(err)
	l.equal("group", []any{groups[0].ARN, groups[0].IP}, []any{arn, true})
	for _, p := range l.Cluster.Pods(s.Owner) {
		l.equal("state", byIP[p.IP], []fleet.Target{{Group: arn, State: fleet.TargetHealthy}})
	}
}
