package aws_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/aws"
	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// watched is a region whose hand tells notices, with drover's hook on "web".
func watched(t *testing.T, change func(*cloud.Hook)) *region {
	r := newRegion(t)
	r.hand.Notices = true
	h := cloud.Hook{Name: "drover-terminate", Group: "web", Transition: cloud.HookTerminating, Heartbeat: time.Minute, DefaultResult: cloud.ResultContinue}
	if change != nil {
		change(&h)
	}
	r.ok(r.sim.PutLifecycleHook(h))
	return r
}

// taken has Auto Scaling take an instance out, and replace it.
func (r *region) taken() string {
	r.Helper()
	id := r.group().Instances[0].ID
	_, err := r.sim.TerminateInstanceInAutoScalingGroup(id, false)
	r.ok(err)
	r.clock.Advance(20 * time.Second) // until it is out of its load balancer
	if got := r.lifecycle(id); got != fleet.TerminatingWait {
		r.Fatalf("instance is %q", got)
	}
	return id
}

func (r *region) lifecycle(id string) string {
	r.Helper()
	if in := r.group().Instance(id); in != nil {
		return in.Lifecycle
	}
	return "gone"
}

func TestAHookIsHeldAndCompleted(t *testing.T) {
	r := watched(t, nil)
	id := r.taken()
	if h := r.group().Hook("drover-terminate"); h == nil || h.Launching || h.Heartbeat != time.Minute || h.Abandon {
		t.Errorf("hook %+v", h)
	}
	for range 3 {
		r.clock.Advance(50 * time.Second)
		r.act(fleet.Action{Verb: fleet.Heartbeat, Hook: "drover-terminate", Instance: id})
		r.act(fleet.Action{Verb: fleet.Terminate, Instance: id}) // it is leaving: already so
	}
	if g := r.group(); r.lifecycle(id) != fleet.TerminatingWait || g.Desired != 3 {
		t.Errorf("instance %s, desired %d", r.lifecycle(id), g.Desired)
	}
	for range 2 {
		r.act(fleet.Action{Verb: fleet.Complete, Hook: "drover-terminate", Instance: id, Result: fleet.Continue})
	}
	r.act(fleet.Action{Verb: fleet.Heartbeat, Hook: "drover-terminate", Instance: id})
	r.clock.Advance(5 * time.Minute)
	if got := r.lifecycle(id); got != "gone" {
		t.Errorf("instance is %s", got)
	}
}

func TestACompletionIsTriedUntilItCounts(t *testing.T) {
	r := watched(t, nil)
	id := r.taken()
	complete := fleet.Action{Verb: fleet.Complete, Group: "web", Hook: "drover-terminate", Instance: id, Result: fleet.Continue}
	r.sim.Throttle("CompleteLifecycleAction", 2)
	for range 2 {
		refusal(t, r.hand.Act(ctx, complete), "AWS is busy: Throttling")
	}
	r.sim.FailNext("CompleteLifecycleAction", &cloud.Error{Code: "ResourceContention", Message: "another change is under way", Status: 500})
	refusal(t, r.hand.Act(ctx, complete), "AWS is busy: ResourceContention: another change is under way")
	if got := r.lifecycle(id); got != fleet.TerminatingWait {
		t.Errorf("instance is %s", got)
	}
	r.sim.LoseReply("CompleteLifecycleAction")
	if err := r.hand.Act(ctx, complete); err == nil {
		t.Error("the answer was lost, and nobody noticed")
	}
	r.ok(r.hand.Act(ctx, complete))
	if got := r.lifecycle(id); got != "Terminating:Proceed" {
		t.Errorf("instance is %s", got)
	}
}

// Nothing holds an instance beyond the wall, and beating on is no error.
func TestHeartbeatsAfterTheWall(t *testing.T) {
	r := watched(t, func(h *cloud.Hook) { h.Heartbeat = 30 * time.Second })
	id := r.taken()
	for range 200 { // the wall is at 100 times 30 seconds
		r.act(fleet.Action{Verb: fleet.Heartbeat, Hook: "drover-terminate", Instance: id})
		r.clock.Advance(20 * time.Second)
	}
	if got := r.lifecycle(id); got != "gone" {
		t.Errorf("instance is %s", got)
	}
}

// Where the group retains it, an instance whose hook was abandoned is ended by its id, and desired stays as it is.
func TestARetainedInstance(t *testing.T) {
	r := watched(t, nil)
	yes := true
	r.ok(r.sim.UpdateAutoScalingGroup("web", cloud.GroupUpdate{Retain: &yes}))
	id := r.taken()
	r.act(fleet.Action{Verb: fleet.Complete, Hook: "drover-terminate", Instance: id, Result: fleet.Abandon})
	r.clock.Advance(5 * time.Minute)
	g := r.group()
	if in := g.Instance(id); !g.Retains || in == nil || in.Lifecycle != fleet.Retained || in.Counted() || g.Desired != 3 || len(g.Instances) != 4 {
		t.Fatalf("retains %v, desired %d, instances %+v", g.Retains, g.Desired, g.Instances)
	}
	r.act(fleet.Action{Verb: fleet.Terminate, Instance: id})
	r.clock.Advance(5 * time.Minute)
	if g := r.group(); g.Desired != 3 || len(g.Instances) != 3 || g.Instance(id) != nil {
		t.Errorf("desired %d, instances %+v", g.Desired, g.Instances)
	}
	no := false
	r.ok(r.sim.UpdateAutoScalingGroup("web", cloud.GroupUpdate{Retain: &no}))
	if r.group().Retains {
		t.Error("still retains")
	}
}

func TestLaunchHookHoldsANewInstance(t *testing.T) {
	r := watched(t, func(h *cloud.Hook) { h.Name, h.Transition = "drover-launch", cloud.HookLaunching })
	r.act(fleet.Action{Verb: fleet.Resize, From: 3, To: 4})
	r.clock.Advance(30 * time.Second)
	g := r.group()
	i := slices.IndexFunc(g.Instances, func(in fleet.Instance) bool { return in.Lifecycle == fleet.PendingWait })
	if h := g.Hook("drover-launch"); i < 0 || h == nil || !h.Launching {
		t.Fatalf("hook %+v, instances %+v", h, g.Instances)
	}
	id := g.Instances[i].ID
	r.act(fleet.Action{Verb: fleet.Complete, Hook: "drover-launch", Instance: id, Result: fleet.Continue})
	r.clock.Advance(time.Minute)
	if got := r.lifecycle(id); got != fleet.InService {
		t.Errorf("instance is %s", got)
	}
}

func TestSpotReclaimAndItsEnd(t *testing.T) {
	r := watched(t, nil)
	lt, err := r.sim.CreateLaunchTemplate("spot", "", cloud.TemplateData{ImageID: "ami-0a000000000000001", InstanceType: "m5.large", Spot: true}, nil)
	r.ok(err)
	r.ok(r.sim.CreateAutoScalingGroup(cloud.Group{Name: "spot", Max: 4, Desired: 2, Zones: r.sim.Zones(), Source: cloud.Source{Template: cloud.TemplateSpec{ID: lt.ID, Version: "1"}}}))
	r.clock.Advance(5 * time.Minute)
	seen := func() *fleet.Group { return r.named("spot") }
	id := seen().Instances[0].ID
	r.clock.Advance(30 * time.Second)
	warned := r.clock.Now()
	r.ok(r.sim.InterruptSpot(id, "terminate"))
	for _, in := range seen().Instances {
		if want := in.ID == id; !in.Spot || in.Reclaimed.IsZero() == want || want && !in.Reclaimed.Equal(warned) {
			t.Errorf("instance %+v, warned at %s", in, warned)
		}
	}
	for _, in := range r.group().Instances {
		if in.Spot || !in.Reclaimed.IsZero() {
			t.Errorf("instance on demand: %+v", in)
		}
	}
	r.ok(r.sim.SuspendProcesses("spot", []string{"HealthCheck", "ReplaceUnhealthy"})) // so that the group still lists it
	r.clock.Advance(3 * time.Minute)
	r.hand = r.connect(1)
	r.hand.Notices = true
	// Such a process learns only when the machine was gone, which takes a while from when EC2 shuts it down.
	if in := seen().Instance(id); in == nil || in.Reclaimed.Before(warned) || in.Reclaimed.After(warned.Add(time.Minute)) {
		t.Errorf("a process that starts later sees it as %+v, warned at %s", in, warned)
	}
}

func TestScheduledEventsComeAndGo(t *testing.T) {
	r := watched(t, nil)
	id, at := r.group().Instances[0].ID, r.clock.Now().Add(14*24*time.Hour)
	event, err := r.sim.ScheduleEvent("instance-retirement", at, "degraded hardware", id)
	r.ok(err)
	r.clock.Advance(30 * time.Second)
	for _, in := range r.group().Instances {
		if want := in.ID == id; len(in.Scheduled) == 1 != want || want && (in.Scheduled[0].Effect != "retire" || !in.Scheduled[0].NotBefore.Equal(at) || in.Scheduled[0].ID == "") {
			t.Errorf("instance %s: %+v", in.ID, in.Scheduled)
		}
	}
	r.ok(r.sim.CancelEvent(event))
	r.clock.Advance(30 * time.Second)
	if got := r.group().Instance(id).Scheduled; len(got) != 0 {
		t.Errorf("cancelled, and yet %+v", got)
	}
}

func TestTheClusterOfAGroupAndItsMachines(t *testing.T) {
	r := newRegion(t)
	if got := r.group().Cluster; got != "" {
		t.Errorf("cluster %q without a tag", got)
	}
	r.ok(r.sim.CreateOrUpdateTags([]cloud.GroupTag{{Group: "web", Key: "kubernetes.io/cluster/blue", Value: "owned", Propagate: true}}))
	r.act(fleet.Action{Verb: fleet.Resize, From: 3, To: 4})
	r.clock.Advance(5 * time.Minute)
	g := r.group()
	if g.Cluster != "blue" {
		t.Errorf("cluster %q", g.Cluster)
	}
	machines, err := r.hand.Machines(ctx, ids(g))
	r.ok(err)
	if n := slices.IndexFunc(machines, func(m fleet.Machine) bool { return m.Cluster == "blue" }); n < 0 || len(machines) != 4 {
		t.Errorf("machines %+v", machines)
	}
	r.nodegroup("prod", "api", nil)
	if got := r.named("api").Cluster; got != "prod" {
		t.Errorf("cluster %q of a managed group", got)
	}
}

// An instance that its managed group retains may still be emptied: the group is not deleted under it unless the decision knew of it.
func TestARetainedInstanceKeepsItsGroup(t *testing.T) {
	r := newRegion(t)
	scaling := r.nodegroup("prod", "api", nil).Scaling
	yes := true
	r.ok(r.sim.UpdateAutoScalingGroup(scaling, cloud.GroupUpdate{Retain: &yes}))
	r.ok(r.sim.PutLifecycleHook(cloud.Hook{Name: "drover-terminate", Group: scaling, Transition: cloud.HookTerminating, Heartbeat: time.Hour}))
	known := ids(r.named("api"))
	_, err := r.sim.TerminateInstanceInAutoScalingGroup(known[0], true)
	r.ok(err)
	r.clock.Advance(20 * time.Minute) // EKS's own hook
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.Complete, Group: "api", Hook: "drover-terminate", Instance: known[0], Result: fleet.Abandon}))
	r.clock.Advance(5 * time.Minute)
	if in := r.named("api").Instance(known[0]); in == nil || in.Lifecycle != fleet.Retained {
		t.Fatalf("instance %+v", in)
	}
	refusal(t, r.hand.Act(ctx, fleet.Action{Verb: fleet.DeleteGroup, Group: "api", Instances: known[1:]}), "instance "+known[0]+" is in the group by now")
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.DeleteGroup, Group: "api", Instances: known}))
}

func TestTrailTellsTheCause(t *testing.T) {
	r := watched(t, nil)
	id := r.taken()
	got, err := r.hand.Trail(ctx, "web", id)
	r.ok(err)
	if len(got) < 3 || !strings.HasPrefix(got[0].What, "Launching a new EC2 instance: "+id+": ") || !strings.HasPrefix(got[len(got)-1].What, "Terminating EC2 instance: "+id+": ") {
		t.Errorf("trail %+v", got)
	}
	for i, e := range got {
		if e.Source != "auto scaling" || e.At.IsZero() || i > 0 && e.At.Before(got[i-1].At) {
			t.Errorf("entry %d %+v", i, e)
		}
	}
}

// The whole way of a message: Auto Scaling tells the queue, which a receiver reads.
func TestAHookTellsTheQueue(t *testing.T) {
	r := newRegion(t)
	url, err := r.sim.CreateQueue("notices", map[string]string{"Policy": `{"Statement":[{"Effect":"Allow","Principal":{"Service":"autoscaling.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*"}]}`}, nil)
	r.ok(err)
	said, err := r.sim.GetQueueAttributes(url, []string{"QueueArn"})
	r.ok(err)
	r.ok(r.sim.PutLifecycleHook(cloud.Hook{Name: "drover-terminate", Group: "web", Transition: cloud.HookTerminating, Target: said["QueueArn"], Role: "arn:aws:iam::123456789012:role/hooks"}))
	q, err := aws.OpenQueue(ctx, r.config(1), "notices")
	r.ok(err)
	q.SetClock(r.clock.Now)
	r.hand.Notices = true
	id := r.taken()
	if got := r.group().Hook("drover-terminate"); got == nil || got.Target != said["QueueArn"] || !got.Abandon || got.Heartbeat != time.Hour {
		t.Errorf("hook %+v", got)
	}
	var bodies []string
	for range 2 { // the test notification, and the instance's
		ms, err := q.Receive(ctx)
		r.ok(err)
		r.ok(q.Delete(ctx, ms))
		for _, m := range ms {
			bodies = append(bodies, m.Body)
		}
		if len(bodies) > 1 {
			break
		}
	}
	all := strings.Join(bodies, "\n")
	if len(bodies) != 2 || !strings.Contains(all, "autoscaling:TEST_NOTIFICATION") || !strings.Contains(all, id) {
		t.Errorf("received %s", all)
	}
}

// A sweep of a region whose rights or credentials fail half way tells which.
func TestFaultsOfTheSweepInTheWorld(t *testing.T) {
	r := watched(t, nil)
	r.sim.FailNext("DescribeLifecycleHooks", &cloud.Error{Code: "AccessDenied", Message: "not you", Status: 403})
	if g := r.group(); len(g.Hooks) != 0 || len(r.hand.Gaps()) != 1 {
		t.Errorf("hooks %v, gaps %q", g.Hooks, r.hand.Gaps())
	}
	r.clock.Advance(time.Minute)
	if g := r.group(); len(g.Hooks) != 1 || len(r.hand.Gaps()) != 0 {
		t.Errorf("hooks %v, gaps %q", g.Hooks, r.hand.Gaps())
	}
	r.sim.ExpireCredentials(true)
	_, err := r.hand.Groups(ctx, []string{"web"})
	var fatal *fleet.Fatal
	if !errors.As(err, &fatal) {
		t.Errorf("got %v", err)
	}
}

func TestAnInstanceIsReplacedThroughItsHook(t *testing.T) {
	r := watched(t, nil)
	id := r.group().Instances[0].ID
	refusal(t, r.hand.Act(ctx, fleet.Action{Verb: fleet.Replace, Group: "web", Hook: "drover-nothing", Instance: id}), "no terminate hook drover-nothing any more")
	if got := r.lifecycle(id); got != fleet.InService {
		t.Fatalf("without a hook to hold it, instance is %s", got)
	}
	for range 2 {
		r.act(fleet.Action{Verb: fleet.Replace, Hook: "drover-terminate", Instance: id})
	}
	r.clock.Advance(40 * time.Second)
	g := r.group()
	if got := r.lifecycle(id); got != fleet.TerminatingWait || g.Desired != 3 || len(g.Instances) != 4 {
		t.Errorf("instance %s, desired %d, %d instances", got, g.Desired, len(g.Instances))
	}
}
