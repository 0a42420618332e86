package evac

import (
	"slices"
	"testing"
	"time"

	"drover.dev/fleet"
)

func TestDangerOthersLaunchHooksAreOthers(t *testing.T) {
	s := deserted(web())
	s.Groups = append(s.Groups, fleet.Group{
		Name: "green-web", Cluster: "green", Hooks: []fleet.Hook{{Name: "drover-launch", Launching: true, Heartbeat: 5 * time.Minute}},
		Instances: []fleet.Instance{{ID: "i-green", Lifecycle: fleet.PendingWait, Launched: s.Now.Add(-16 * time.Minute)}},
	})
	s.Cluster, s.Groups[0].Cluster = "blue", "blue"
	if step := waves(&s, fleet.UsualPolicy); len(step.Actions) > 0 {
		t.Error("blue's controller:", step.Actions)
	}
}

func TestDangerANodeThatServesNobodyYetIsNotAbandoned(t *testing.T) {
	s := web()
	s.Groups[0].Hooks = []fleet.Hook{{Name: "drover-launch", Launching: true, Heartbeat: 5 * time.Minute}}
	s.Groups[0].Targets[0].Loose = true // externalTrafficPolicy Local: unhealthy until a pod of the service is on it, registered by a controller in the cluster
	in := &s.Groups[0].Instances[0]
	in.Lifecycle, in.Launched, in.Targets = fleet.PendingWait, s.Now.Add(-16*time.Minute), []fleet.Target{{Group: arn, State: "unhealthy"}}
	for _, a := range of(waves(&s, fleet.UsualPolicy), fleet.Complete) {
		if a.Result == fleet.Abandon {
			t.Error("its node is Ready:", a, a.Why)
		}
	}
}

func TestDangerEveryHookHasItsOwnHeartbeat(t *testing.T) {
	s := web()
	noticed(&s, 0, fleet.TerminateHook, 4*time.Hour)
	s.Groups[0].Hooks = []fleet.Hook{{Name: "drover-terminate", Heartbeat: time.Minute}, {Name: "drover-logs", Heartbeat: 10 * time.Minute}}
	waves(&s, fleet.UsualPolicy)
	beaten, last := map[string]int{}, map[string]time.Time{}
	for range 120 { // twenty minutes, a tick every ten seconds
		s.Now = s.Now.Add(10 * time.Second)
		for _, a := range of(waves(&s, fleet.UsualPolicy), fleet.Heartbeat) {
			beaten[a.Hook]++
			last[a.Hook] = s.Now
		}
		s.Groups[0].Instances[0].Waits = []fleet.Wait{{Hook: "drover-terminate", Beat: last["drover-terminate"]}, {Hook: "drover-logs", Beat: last["drover-logs"]}}
	}
	if beaten["drover-logs"] == 0 {
		t.Error("in twenty minutes:", beaten)
	}
}

func TestDangerAWaitThatWasHeardOfLateIsBeatenAtOnce(t *testing.T) {
	s := web()
	c := noticed(&s, 0, fleet.TerminateHook, time.Hour)
	c.Signals[0].At = s.Now.Add(-4 * time.Minute) // the hook waits for 5 minutes; nobody led for 4 of them
	waves(&s, fleet.UsualPolicy)
	s.Now = s.Now.Add(time.Second)
	if len(of(waves(&s, fleet.UsualPolicy), fleet.Heartbeat)) == 0 {
		t.Error("first heartbeat 100 s after it was heard, the wait is over after 60 s")
	}
}

func TestDangerADeregistrationThatFailedIsAskedForAgain(t *testing.T) {
	s := web()
	noticed(&s, 0, fleet.SpotInterruption, 2*time.Minute)
	for _, a := range Next(Notices(&s, fleet.UsualPolicy), s.Clone()).Actions {
		if a.Verb == fleet.Shut { // the load balancers' API was throttled
			Assume(&s, a)
		}
	}
	if got := of(waves(&s, fleet.UsualPolicy), fleet.Deregister); len(got) == 0 {
		t.Error("it is", s.Groups[0].Instances[0].Targets, "until it is dead")
	}
}

func TestDangerARetainedInstanceIsEndedOnce(t *testing.T) {
	s := deserted(web())
	noticed(&s, 0, fleet.TerminateHook, time.Hour)
	s.Groups[0].Instances[0].Lifecycle = fleet.Retained
	waves(&s, fleet.UsualPolicy)
	first := of(waves(&s, fleet.UsualPolicy), fleet.Terminate)
	if again := of(waves(&s, fleet.UsualPolicy), fleet.Terminate); len(first) == 1 && len(again) > 0 {
		t.Error("asked for at every tick, and with actions Tick does not wait:", again)
	}
}

func TestDangerARetainedInstanceGoesInSpiteOfPodsThatRide(t *testing.T) {
	s := deserted(web())
	noticed(&s, 0, fleet.TerminateHook, time.Hour)
	s.Groups[0].Instances[0].Lifecycle = fleet.Retained
	waves(&s, fleet.UsualPolicy)
	s.Now = s.Now.Add(time.Minute)
	s.Pods = append(s.Pods, fleet.Pod{
		Ref: fleet.PodRef{Namespace: "default", Name: "x", UID: "x"}, Node: "node-0", Ready: true, Created: s.Now, Owner: fleet.Owner{Kind: "Deployment", Name: "x"},
		Tolerations: []fleet.Toleration{{Exists: true}},
	})
	got := of(waves(&s, fleet.UsualPolicy), fleet.Terminate)
	if len(got) != 1 || got[0].Expect.Empty {
		t.Error("the hand refuses that for ever:", got)
	}
}

func TestDangerAPodThatCameBeforeItsNodeWasShutMoves(t *testing.T) {
	s := deserted(web())
	c := noticed(&s, 0, fleet.ScheduledChange, 20*time.Minute)
	c.Opened = s.Now.Add(-14 * 24 * time.Hour) // AWS says it two weeks early; the node is shut half an hour before
	s.Workloads = append(s.Workloads, fleet.Workload{Owner: fleet.Owner{Kind: "Deployment", Namespace: "default", Name: "x"}, Replicas: 3})
	for i, node := range []string{"node-0", "node-1", "node-2"} {
		s.Pods = append(s.Pods, fleet.Pod{
			Ref: fleet.PodRef{Namespace: "default", Name: "x", UID: "x" + node}, Node: node, Ready: true, Created: s.Now.Add(time.Duration(-i-24) * time.Hour), Grace: 30 * time.Second,
			Owner: fleet.Owner{Kind: "Deployment", Namespace: "default", Name: "x"}, Tolerations: []fleet.Toleration{{Exists: true}},
		})
	}
	waves(&s, fleet.UsualPolicy)
	step := waves(&s, fleet.UsualPolicy)
	s.Now = c.Deadline.Add(-10 * time.Second)
	last := waves(&s, fleet.UsualPolicy)
	if len(of(step, fleet.Evict))+len(of(last, fleet.Delete)) == 0 {
		t.Error("neither evicted nor ever told to stop:", step.Holds, last.Holds)
	}
}

func TestDangerLaunchHooksAreHeldWhileEverythingIsStopped(t *testing.T) {
	s := deserted(web())
	s.Groups[0].Hooks = []fleet.Hook{{Name: "drover-launch", Launching: true, Heartbeat: 5 * time.Minute}}
	in := &s.Groups[0].Instances[0]
	in.Lifecycle, in.Launched = fleet.PendingWait, s.Now.Add(-3*time.Minute)
	s.Nodes[0].Ready = false
	s.Stopped = &fleet.Pause{By: "somebody", At: s.Now}
	if got := of(waves(&s, fleet.UsualPolicy), fleet.Heartbeat); len(got) != 1 {
		t.Error("it is abandoned by default, and launched again, for as long as the stop lasts:", got)
	}
}

func TestDangerARunTakenBackLeavesNoNoticesTaint(t *testing.T) {
	s := web()
	s.Nodes[0].Taints = []fleet.Taint{{Key: fleet.TaintKey, Value: fleet.NoticeRun, Effect: fleet.NoSchedule}} // a recommendation's
	r := newRecord(&s, &Plan{Run: "r-1", Exits: []Exit{{Departure: fleet.Departure{Node: "node-0", Instance: "i-0"}}}}, Options{})
	s.Nodes[0].Taints[0].Value = "r-1" // the run's own, by now
	plan := Plan{Run: "r-1", Record: r}
	plan.Record.Intent = fleet.Back
	v := newTick(&plan, &s)
	v.restoreNode(&s.Nodes[0], r.Exits[0].Drained)
	for _, a := range v.out.Actions {
		if a.Verb == fleet.Taint_ {
			t.Error("no case is open any more, so nobody takes that off:", a, "of run", a.Run)
		}
	}
}

func TestDangerAnInstanceThatEntersTheWarmPoolIsLetIn(t *testing.T) {
	s := deserted(web())
	s.Groups[0].Hooks = []fleet.Hook{{Name: "drover-launch", Launching: true, Heartbeat: 5 * time.Minute}}
	s.Groups[0].Instances[0].Lifecycle = "Warmed:Pending:Wait"
	if got := of(waves(&s, fleet.UsualPolicy), fleet.Complete); len(got) == 0 {
		t.Error("its hook runs out, is abandoned by default, and the pool never fills")
	}
}

func TestDangerAnInstanceOfARunningWarmPoolHasTimeToJoin(t *testing.T) {
	s := deserted(web())
	s.Groups[0].Hooks = []fleet.Hook{{Name: "drover-launch", Launching: true, Heartbeat: 5 * time.Minute}}
	in := &s.Groups[0].Instances[0]
	in.Lifecycle, in.Launched = fleet.PendingWait, s.Now.Add(-26*time.Hour) // in the pool since yesterday, asked into service a moment ago
	s.Nodes[0].Ready = false
	for _, a := range of(waves(&s, fleet.UsualPolicy), fleet.Complete) {
		if a.Result == fleet.Abandon {
			t.Error("at its first tick:", a.Why)
		}
	}
}

func TestDangerOthersHooksHeardThroughEventBridgeAreOthers(t *testing.T) {
	s := deserted(web())
	noticed(&s, 0, fleet.TerminateHook, time.Hour)
	s.Groups[0].Hooks = append(s.Groups[0].Hooks, fleet.Hook{Name: "upload-logs", Heartbeat: time.Hour, Target: "arn:aws:sns:eu-west-1:1:somebody-elses"})
	s.Cases[0].Signals = append(s.Cases[0].Signals, fleet.Signal{Heard: s.Now, Notice: fleet.Notice{
		Kind: fleet.TerminateHook, ID: "terminate-hook/upload-logs", Hook: "upload-logs", Source: fleet.FromEventBridge, At: s.Now, Instance: "i-0"}})
	waves(&s, fleet.UsualPolicy)
	got := of(waves(&s, fleet.UsualPolicy), fleet.Complete)
	if slices.ContainsFunc(got, func(a fleet.Action) bool { return a.Hook == "upload-logs" }) {
		t.Error("an EventBridge rule tells of every group's every hook; this one's owner is cut short:", got)
	}
}

func TestDangerTheLastMomentWaitsForNobody(t *testing.T) {
	s := web()
	c := noticed(&s, 0, fleet.SpotInterruption, 2*time.Minute)
	waves(&s, fleet.UsualPolicy)
	s.Pods[0].Owner.Kind, s.Budgets[0].Desired, s.Budgets[0].Allowed = "StatefulSet", 6, 0
	s.Now = c.Deadline.Add(-margin - 30*time.Second)
	noticed(&s, 1, fleet.SpotInterruption, 2*time.Minute) // and the patch of its node fails for a while
	if got := of(Next(Notices(&s, fleet.UsualPolicy), s.Clone()), fleet.Delete); len(got) == 0 {
		t.Error("pods of node-0 are told to stop up to 10 s after the last moment, the margin is 5 s")
	}
}

func TestDangerAHookIsAnsweredWhileAnotherNodeCannotBeShut(t *testing.T) {
	s := deserted(web())
	c := noticed(&s, 0, fleet.TerminateHook, time.Hour)
	waves(&s, fleet.UsualPolicy)
	s.Now = c.Deadline
	noticed(&s, 1, fleet.SpotInterruption, 2*time.Minute)
	if got := of(Next(Notices(&s, fleet.UsualPolicy), s.Clone()), fleet.Complete); len(got) == 0 {
		t.Error("empty and overdue, not answered")
	}
}
