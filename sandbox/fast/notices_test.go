package fast

import (
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

func TestWhatTheHandSeesOfNotices(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 2, Max: 5, Spot: true, Cluster: ClusterName, Retain: true}))
	l.must(l.Cloud.PutLifecycleHook(cloud.Hook{Group: "web", Name: "drover-terminate", Transition: cloud.HookTerminating, Heartbeat: 5 * time.Minute, DefaultResult: cloud.ResultAbandon}))
	l.settle()
	g := l.group("web")
	l.equal("hooks", g.Hooks, []fleet.Hook{{Name: "drover-terminate", Heartbeat: 5 * time.Minute, Abandon: true}})
	l.equal("group", []any{g.Cluster, g.Retains, g.Instances[0].Spot, g.Instances[0].Reclaimed.IsZero()}, []any{ClusterName, true, true, true})
	id, other := g.Instances[0].ID, g.Instances[1].ID
	told := l.Now()
	l.must(l.Cloud.InterruptSpot(id, "terminate"))
	_, err := l.Cloud.ScheduleEvent("instance-retirement", told.Add(time.Hour), "old disk", other)
	l.must(err)
	in := l.group("web").Instance(id)
	l.equal("reclaimed", in.Reclaimed.Sub(told), time.Duration(0))
	events := l.group("web").Instance(other).Scheduled
	if len(events) != 1 || events[0].Effect != "retire" || !events[0].NotBefore.Equal(told.Add(time.Hour)) {
		t.Fatalf("scheduled: %+v", events)
	}
	_, err = l.Cloud.TerminateInstanceInAutoScalingGroup(other, true)
	l.must(err)
	l.Advance(5 * time.Second)
	l.equal("state", l.group("web").Instance(other).Lifecycle, fleet.TerminatingWait)
	found, err := l.hand.Machines(t.Context(), []string{other, "i-0123456789abcdef0"})
	l.must(err)
	if len(found) != 1 || found[0].ID != other || found[0].Cluster != ClusterName || found[0].State != "running" {
		t.Fatalf("machines: %+v", found)
	}
}

// A hook is answered by the instance's id. One that waits no longer is as good as answered.
func TestHooksAreAnswered(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 2, Max: 5, Retain: true}))
	l.must(l.Cloud.PutLifecycleHook(cloud.Hook{Group: "web", Name: "drover-terminate", Transition: cloud.HookTerminating, Heartbeat: time.Minute}))
	l.settle()
	id := l.group("web").Instances[0].ID
	beat := fleet.Action{Verb: fleet.Heartbeat, Group: "web", Instance: id, Hook: "drover-terminate"}
	l.must(l.act(beat)) // nothing waits
	_, err := l.Cloud.TerminateInstanceInAutoScalingGroup(id, true)
	l.must(err)
	for range 3 {
		l.Advance(40 * time.Second)
		l.must(l.act(beat))
	}
	in := l.group("web").Instance(id)
	l.equal("held past its timeout", in.Lifecycle, fleet.TerminatingWait)
	answer := beat
	answer.Verb, answer.Result = fleet.Complete, fleet.Abandon
	l.must(l.act(answer))
	l.must(l.act(answer))
	l.Advance(time.Minute)
	l.equal("kept", l.group("web").Instance(id).Lifecycle, fleet.Retained)
	desired := l.group("web").Desired
	end := fleet.Action{Verb: fleet.Terminate, Group: "web", Instance: id}
	l.must(l.act(end))
	l.must(l.act(end))
	l.equal("desired", l.group("web").Desired, desired)
	l.Advance(10 * time.Minute)
	l.settle()
	l.equal("ended", l.group("web").Instance(id) == nil, true)
}

// An instance that is stopped takes its node along without removing it; one that reboots comes back as it was.
func TestStoppedAndRebootedMachines(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 1, Max: 5}))
	l.must(l.Deploy(deployment("api", 1)))
	l.settle()
	in := l.group("web").Instances[0]
	node := l.observe().Nodes[0].Name
	pod := l.Cluster.Pods(fleet.Owner{})[0].Ref
	l.must(l.Cloud.RebootInstances([]string{in.ID}))
	l.Advance(10 * time.Minute)
	l.settle()
	n, _ := l.Cluster.Node(node)
	l.equal("Ready", n.Ready, true)
	l.equal("pod", l.Cluster.Pods(fleet.Owner{})[0].Ref, pod)
}

// Machines of another cluster are no nodes here, and a group of theirs does not keep the world from being at rest.
func TestAnotherClustersGroup(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 1, Max: 5}))
	l.must(l.AddGroup(GroupSpec{Name: "west", Size: 2, Max: 5, Cluster: "west"}))
	l.settle()
	l.equal("nodes", len(l.observe().Nodes), 1)
	found, err := l.hand.Machines(t.Context(), []string{l.group("west").Instances[0].ID})
	l.must(err)
	l.equal("whose", found[0].Cluster, "west")
}

func TestNodesMayOutliveTheirMachines(t *testing.T) {
	l := newLab(t, Options{Lingers: time.Hour})
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 1, Max: 5}))
	l.settle()
	_, err := l.Cloud.TerminateInstances([]string{l.group("web").Instances[0].ID})
	l.must(err)
	l.Advance(20 * time.Minute)
	l.equal("nodes", len(l.observe().Nodes), 2)
	l.Advance(time.Hour)
	l.equal("nodes", len(l.observe().Nodes), 1)
}
