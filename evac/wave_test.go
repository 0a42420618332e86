package evac

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

// noticed files a case about node n of the group web, opened a moment ago.
func noticed(s *fleet.Snapshot, n int, kind fleet.NoticeKind, deadline time.Duration) *fleet.Case {
	c := fleet.Case{Departure: fleet.Departure{Node: s.Nodes[n].Name, Instance: s.Nodes[n].Instance, Group: "web", Cause: fleet.Noticed, Why: string(kind)}, Opened: s.Now}
	k := fleet.Signal{Notice: fleet.Notice{Kind: kind, ID: string(kind), At: s.Now, Instance: c.Instance}, Heard: s.Now}
	if deadline != 0 {
		k.Deadline = s.Now.Add(deadline)
		c.Deadline = k.Deadline
	}
	if kind == fleet.TerminateHook {
		k.Hook, k.ID = "drover-terminate", "terminate-hook/drover-terminate"
		s.Groups[0].Hooks = []fleet.Hook{{Name: k.Hook, Heartbeat: 5 * time.Minute}}
		s.Groups[0].Instances[n].Lifecycle = fleet.TerminatingWait
	}
	c.Signals = []fleet.Signal{k}
	s.Cases = append(s.Cases, c)
	return &s.Cases[len(s.Cases)-1]
}

// waves asks Next what is to be done about the cases of a snapshot, and carries it out in the snapshot as far as that can be assumed.
func waves(s *fleet.Snapshot, p fleet.Policy) Step {
	step := Next(Notices(s, p), s.Clone())
	for _, a := range step.Actions {
		Assume(s, a)
	}
	return step
}

// of lists the actions of a kind.
func of(step Step, verb fleet.Verb) []fleet.Action {
	return slices.DeleteFunc(slices.Clone(step.Actions), func(a fleet.Action) bool { return a.Verb != verb })
}

func kinds(step Step) string {
	n := map[fleet.Verb]int{}
	for _, a := range step.Actions {
		n[a.Verb]++
	}
	return strings.TrimPrefix(fmt.Sprint(n), "map")
}

func TestTheWholeWaveIsShutBeforeTheFirstPodMoves(t *testing.T) {
	s := web()
	for n := range 3 {
		noticed(&s, n, fleet.SpotInterruption, 2*time.Minute)
	}
	if got := kinds(waves(&s, fleet.UsualPolicy)); got != "[deregister:3 shut:3]" {
		t.Fatal(got)
	}
	if step := waves(&s, fleet.UsualPolicy); len(of(step, fleet.Evict)) == 0 {
		t.Error(kinds(step), step.Holds)
	}
	s = web()
	noticed(&s, 0, fleet.SpotInterruption, 2*time.Minute)
	waves(&s, fleet.UsualPolicy)
	noticed(&s, 1, fleet.SpotInterruption, 2*time.Minute)
	if step := Next(Notices(&s, fleet.UsualPolicy), s.Clone()); len(of(step, fleet.Evict)) > 0 {
		t.Error("moves pods while node 1 takes them")
	}
	s.Now = s.Now.Add(together)
	if step := Next(Notices(&s, fleet.UsualPolicy), s.Clone()); len(of(step, fleet.Evict)) == 0 {
		t.Error("a node that cannot be shut holds up all others")
	}
}

func TestADeadlineIsHonouredPodByPod(t *testing.T) {
	s := web()
	noticed(&s, 0, fleet.SpotInterruption, 2*time.Minute)
	s.Budgets[0].Desired, s.Budgets[0].Allowed = 6, 0 // http never allows anything, and a StatefulSet's pod cannot come twice
	s.Pods[0].Owner.Kind = "StatefulSet"
	waves(&s, fleet.UsualPolicy)
	step := waves(&s, fleet.UsualPolicy)
	if got := of(step, fleet.Delete); len(got) > 0 {
		t.Fatal("too early:", got)
	}
	if want := start.Add(2*time.Minute - margin - 30*time.Second); !step.Again.Equal(want) {
		t.Errorf("looks again at %s, want %s", step.Again, want)
	}
	s.Now = step.Again
	got := of(waves(&s, fleet.UsualPolicy), fleet.Delete)
	if len(got) == 0 || got[0].Pod.UID != "uid-http-0" || got[0].Grace != 30*time.Second {
		t.Error(got)
	}
}

func TestAGraceThatDoesNotFitIsCut(t *testing.T) {
	s := web()
	noticed(&s, 0, fleet.SpotInterruption, 2*time.Minute)
	s.Pods[0].Grace = time.Hour
	waves(&s, fleet.UsualPolicy)
	got := of(waves(&s, fleet.UsualPolicy), fleet.Delete)
	if len(got) != 1 || got[0].Grace != 115*time.Second {
		t.Error(got)
	}
}

func TestBudgetsHoldWhileThereIsTime(t *testing.T) {
	s := web()
	for n := range 4 {
		noticed(&s, n, fleet.TerminateHook, time.Hour)
	}
	waves(&s, fleet.UsualPolicy)
	http := 0
	for _, a := range of(waves(&s, fleet.UsualPolicy), fleet.Evict) {
		if strings.Contains(a.Pod.UID, "http") {
			http++
		}
	}
	if http != 1 {
		t.Errorf("%d pods of a budget that allows 1", http)
	}
}

func TestTheNearestDeadlineGoesFirst(t *testing.T) {
	s := web()
	noticed(&s, 0, fleet.TerminateHook, time.Hour)
	noticed(&s, 1, fleet.SpotInterruption, 2*time.Minute)
	waves(&s, fleet.UsualPolicy)
	for _, a := range of(waves(&s, fleet.UsualPolicy), fleet.Evict) {
		if strings.Contains(a.Pod.UID, "http") && a.Node != "node-1" {
			t.Error(a, "takes the budget that node-1 needs")
		}
	}
}

// deserted takes all pods off the nodes.
func deserted(s fleet.Snapshot) fleet.Snapshot {
	s = empty(s)
	s.Groups[0].Targets = nil
	for i := range s.Groups[0].Instances {
		s.Groups[0].Instances[i].Targets = nil
	}
	return s
}

func TestHooksAreAnsweredWhenTheNodeIsEmpty(t *testing.T) {
	s := web()
	noticed(&s, 0, fleet.TerminateHook, time.Hour)
	waves(&s, fleet.UsualPolicy)
	if got := of(waves(&s, fleet.UsualPolicy), fleet.Complete); len(got) > 0 {
		t.Fatal("with pods on it:", got)
	}
	s.Pods = slices.DeleteFunc(s.Pods, func(p fleet.Pod) bool { return p.Node == "node-0" && p.Owner.Kind != "DaemonSet" })
	s.Groups[0].Instances[0].Targets[0].State = fleet.TargetDraining
	if got := of(waves(&s, fleet.UsualPolicy), fleet.Complete); len(got) > 0 {
		t.Fatal("while its last requests run:", got)
	}
	s.Groups[0].Instances[0].Targets = nil
	got := of(waves(&s, fleet.UsualPolicy), fleet.Complete)
	if len(got) != 1 || got[0].Hook != "drover-terminate" || got[0].Result != fleet.Continue || !got[0].Expect.Empty {
		t.Error(got)
	}
	if again := of(waves(&s, fleet.UsualPolicy), fleet.Complete); len(again) > 0 {
		t.Error("answered already:", again)
	}
}

func TestWhenTimeIsUpTheHookIsAnswered(t *testing.T) {
	for _, retain := range []bool{false, true} {
		s := web()
		policy := fleet.UsualPolicy
		policy.Retain, s.Groups[0].Retains = retain, retain
		c := noticed(&s, 0, fleet.TerminateHook, time.Hour)
		waves(&s, policy)
		s.Now = c.Deadline
		step := waves(&s, policy)
		if killed := len(of(step, fleet.Delete)); (killed == 0) != retain {
			t.Errorf("retain %t: %d pods deleted past their budgets", retain, killed)
		}
		if got := of(step, fleet.Complete); (len(got) == 0) == retain {
			t.Errorf("retain %t: at its deadline, with pods that were told a moment ago: %v", retain, got)
		}
		s.Now = c.Deadline.Add(time.Minute)
		if got := append(of(step, fleet.Complete), of(waves(&s, policy), fleet.Complete)...); len(got) != 1 || got[0].Expect.Empty ||
			got[0].Result != map[bool]string{false: fleet.Continue, true: fleet.Abandon}[retain] {
			t.Errorf("retain %t: %v", retain, got)
		}
	}
	s := deserted(web())
	noticed(&s, 0, fleet.TerminateHook, time.Hour)
	s.Groups[0].Instances[0].Lifecycle = fleet.Retained
	waves(&s, fleet.UsualPolicy)
	if got := kinds(waves(&s, fleet.UsualPolicy)); got != "[terminate:1]" {
		t.Error(got)
	}
}

func TestInstancesWithoutANodeAreLetGoAtOnce(t *testing.T) {
	s := deserted(web())
	noticed(&s, 0, fleet.TerminateHook, time.Hour).Node = ""
	s.Nodes = s.Nodes[1:]
	if got := kinds(waves(&s, fleet.UsualPolicy)); got != "[complete:1]" {
		t.Error(got)
	}
}

func TestHooksAreHeldForAllThatWait(t *testing.T) {
	s := web()
	for n := range 3 {
		noticed(&s, n, fleet.TerminateHook, time.Hour)
	}
	waves(&s, fleet.UsualPolicy)
	if got := of(waves(&s, fleet.UsualPolicy), fleet.Heartbeat); len(got) > 0 {
		t.Error("the wait is young:", got)
	}
	s.Now = s.Now.Add(100 * time.Second)
	if got := of(waves(&s, fleet.UsualPolicy), fleet.Heartbeat); len(got) != 3 {
		t.Error(got)
	}
	s.Groups[0].Instances[0].Waits = []fleet.Wait{{Hook: "drover-terminate", Beat: s.Now}}
	if got := of(waves(&s, fleet.UsualPolicy), fleet.Heartbeat); len(got) != 2 {
		t.Error(got)
	}
}

func TestWhatIsTakenBackIsPutBack(t *testing.T) {
	s := web()
	c := noticed(&s, 0, fleet.ScheduledChange, 10*time.Minute)
	c.Targets = []string{arn}
	waves(&s, fleet.UsualPolicy)
	if n := s.Nodes[0]; n.Mark() == nil || !n.Excluded {
		t.Fatal(n)
	}
	c.Signals[0].Ended = s.Now
	if got := kinds(waves(&s, fleet.UsualPolicy)); got != "[include:1 register:1 untaint:1]" {
		t.Fatal(got)
	}
	if got := of(waves(&s, fleet.UsualPolicy), fleet.File); len(got) != 1 || got[0].Case.Open() {
		t.Error(got)
	}
	if n := s.Nodes[0]; n.Mark() != nil || n.Excluded || n.OutBy != "" {
		t.Error(n)
	}
}

func TestANodeThatAPersonHasDrainedStaysDrained(t *testing.T) {
	s := web()
	s.Nodes[0].Taints = []fleet.Taint{{Key: fleet.TaintKey, Value: "drain-1", Effect: fleet.NoSchedule}}
	c := noticed(&s, 0, fleet.SpotInterruption, 2*time.Minute)
	c.Drained = "drain-1"
	waves(&s, fleet.UsualPolicy)
	c.Signals[0].Ended = s.Now
	waves(&s, fleet.UsualPolicy)
	if m := s.Nodes[0].Mark(); m == nil || m.Value != "drain-1" {
		t.Error(m)
	}
}

func TestTheDeadAreBuried(t *testing.T) {
	s := web()
	noticed(&s, 0, fleet.SpotInterruption, 2*time.Minute)
	s.Machines = []fleet.Machine{{ID: "i-0", State: fleet.MachineGone}}
	if got := kinds(waves(&s, fleet.UsualPolicy)); got != "[]" {
		t.Fatal("its node is Ready:", got)
	}
	s.Nodes[0].Ready, s.Nodes[0].Changed = false, s.Now
	if got := kinds(waves(&s, fleet.UsualPolicy)); got != "[out of service:1]" {
		t.Fatal(got)
	}
	if got := kinds(waves(&s, fleet.UsualPolicy)); got != "[]" {
		t.Fatal(got)
	}
	s.Nodes = s.Nodes[1:]
	if got := kinds(waves(&s, fleet.UsualPolicy)); got != "[]" {
		t.Error("its group has not noticed:", got)
	}
	s.Groups[0].Instances = s.Groups[0].Instances[1:]
	if got := of(waves(&s, fleet.UsualPolicy), fleet.File); len(got) != 1 || got[0].Case.Marks.End != "gone" {
		t.Error(got)
	}
}

func TestANewInstanceServesWhenItsNodeIsReady(t *testing.T) {
	s := deserted(web())
	s.Groups[0].Hooks = []fleet.Hook{{Name: "drover-launch", Launching: true, Heartbeat: 5 * time.Minute}}
	in := &s.Groups[0].Instances[0]
	in.Lifecycle, in.Launched = fleet.PendingWait, s.Now
	s.Nodes[0].Ready = false
	in.Joining = s.Now
	if step := waves(&s, fleet.UsualPolicy); kinds(step) != "[heartbeat:1]" || !strings.Contains(fmt.Sprint(step.Holds), "its node is not Ready yet") {
		t.Error("nobody knows how long it waits already:", kinds(step), step.Holds)
	}
	in.Waits = []fleet.Wait{{Hook: "drover-launch", Beat: s.Now}}
	for after, want := range map[time.Duration]string{time.Minute: "[]", 2 * time.Minute: "[heartbeat:1]"} {
		later := s.Clone()
		later.Now = s.Now.Add(after)
		if got := kinds(waves(&later, fleet.UsualPolicy)); got != want {
			t.Error(after, got)
		}
	}
	late := s.Clone()
	late.Now = s.Now.Add(fleet.UsualPolicy.Join + time.Second)
	if got := of(waves(&late, fleet.UsualPolicy), fleet.Complete); len(got) != 1 || got[0].Result != fleet.Abandon {
		t.Error(got)
	}
	s.Nodes[0].Ready = true
	if got := of(waves(&s, fleet.UsualPolicy), fleet.Complete); len(got) != 1 || got[0].Result != fleet.Continue {
		t.Error(got)
	}
}

func TestAPodThatNobodyRecreatesStaysAsLongAsItCan(t *testing.T) {
	s := deserted(web())
	s.Pods = append(s.Pods, fleet.Pod{Ref: fleet.PodRef{Namespace: "default", Name: "bare", UID: "bare"}, Node: "node-0", Ready: true, Grace: 30 * time.Second})
	c := noticed(&s, 0, fleet.TerminateHook, time.Hour)
	waves(&s, fleet.UsualPolicy)
	if step := waves(&s, fleet.UsualPolicy); kinds(step) != "[]" {
		t.Error(kinds(step))
	}
	s.Now = c.Deadline.Add(-30*time.Second - margin)
	if got := of(waves(&s, fleet.UsualPolicy), fleet.Delete); len(got) != 1 || got[0].Grace != 30*time.Second {
		t.Error(got)
	}
}

func TestARecommendationOnlyClosesTheNode(t *testing.T) {
	s := web()
	noticed(&s, 0, fleet.Rebalance, 0)
	if got := kinds(waves(&s, fleet.UsualPolicy)); got != "[taint:1]" {
		t.Fatal(got)
	}
	if got := kinds(waves(&s, fleet.UsualPolicy)); got != "[]" {
		t.Error("moves pods for a recommendation:", got)
	}
	if s.Nodes[0].Excluded {
		t.Error("it serves still")
	}
}

func TestAPodThatComesBackInSpiteOfEverythingIsLeft(t *testing.T) {
	s := deserted(web())
	noticed(&s, 0, fleet.TerminateHook, time.Hour)
	waves(&s, fleet.UsualPolicy)
	s.Now = s.Now.Add(time.Minute)
	s.Pods = append(s.Pods, fleet.Pod{
		Ref: fleet.PodRef{Namespace: "default", Name: "x", UID: "x"}, Node: "node-0", Ready: true, Created: s.Now, Owner: fleet.Owner{Kind: "Deployment", Name: "x"},
		Tolerations: []fleet.Toleration{{Exists: true}},
	})
	if got := kinds(waves(&s, fleet.UsualPolicy)); got != "[complete:1]" {
		t.Error(got)
	}
}

func TestADeadMachineThatAHookHoldsIsLetGo(t *testing.T) {
	s := web()
	noticed(&s, 0, fleet.TerminateHook, time.Hour)
	s.Machines = []fleet.Machine{{ID: "i-0", State: fleet.MachineGone}}
	if got := of(waves(&s, fleet.UsualPolicy), fleet.Complete); len(got) != 1 || got[0].Expect.Empty {
		t.Error(got)
	}
}

func TestAPodWhoseObjectIsHeldDoesNotHoldTheNode(t *testing.T) {
	s := deserted(web())
	s.Pods = append(s.Pods, fleet.Pod{Ref: fleet.PodRef{Name: "stuck", UID: "stuck"}, Node: "node-0", Owner: fleet.Owner{Kind: "Job", Name: "j"}, Terminating: true, Deleted: s.Now})
	noticed(&s, 0, fleet.TerminateHook, time.Hour)
	waves(&s, fleet.UsualPolicy)
	if got := of(waves(&s, fleet.UsualPolicy), fleet.Complete); len(got) != 0 {
		t.Error("it may run still:", got)
	}
	s.Now = s.Now.Add(confirmation + time.Second)
	if got := of(waves(&s, fleet.UsualPolicy), fleet.Complete); len(got) != 1 || got[0].Expect.Empty {
		t.Error(got)
	}
}

func TestAWorkloadWithoutABudgetIsInTime(t *testing.T) {
	for deadline, want := range map[time.Duration]int{time.Hour: 1, 30 * time.Second: 6} {
		s := deserted(web())
		o := fleet.Owner{Kind: "Deployment", Namespace: "default", Name: "many"}
		s.Workloads = []fleet.Workload{{Owner: o, Replicas: 12}}
		for i := range 12 {
			s.Pods = append(s.Pods, fleet.Pod{
				Ref: fleet.PodRef{Namespace: "default", Name: fmt.Sprint("many-", i), UID: fmt.Sprint("many-", i)}, Owner: o, Node: fmt.Sprint("node-", i/6), Ready: true,
				Created: s.Now.Add(-time.Hour), ReadySince: s.Now.Add(-time.Hour + 5*time.Second), Grace: 5 * time.Second, Requests: fleet.Resources{CPU: 10, Pods: 1},
			})
		}
		for n := range 2 {
			noticed(&s, n, fleet.SpotInterruption, deadline)
		}
		waves(&s, fleet.UsualPolicy)
		if got := len(of(waves(&s, fleet.UsualPolicy), fleet.Evict)); got < want || want == 1 && got > 1 {
			t.Errorf("%s: %d pods at once, want %d", deadline, got, want)
		}
	}
}

func TestARecommendationIsReplacedThroughTheHook(t *testing.T) {
	s := web()
	c := noticed(&s, 0, fleet.Rebalance, 0)
	s.Groups[0].Hooks = []fleet.Hook{{Name: "drover-terminate", Heartbeat: 5 * time.Minute}}
	waves(&s, fleet.UsualPolicy)
	if got := kinds(waves(&s, fleet.UsualPolicy)); got != "[]" {
		t.Fatal("nobody has decided that yet:", got)
	}
	c.Marks.Replaced = s.Now
	got := of(waves(&s, fleet.UsualPolicy), fleet.Replace)
	if len(got) != 1 || got[0].Hook != "drover-terminate" {
		t.Fatal(got)
	}
	if again := of(waves(&s, fleet.UsualPolicy), fleet.Replace); len(again) > 0 {
		t.Error(again)
	}
	// Auto Scaling holds it, and launches another.
	s.Groups[0].Instances[0].Lifecycle = fleet.TerminatingWait
	hook := fleet.Signal{Notice: fleet.Notice{Kind: fleet.TerminateHook, ID: "terminate-hook/drover-terminate", Hook: "drover-terminate", At: s.Now}, Heard: s.Now}
	c.Signals, c.Deadline = append(c.Signals, hook), s.Now.Add(time.Hour)
	waves(&s, fleet.UsualPolicy)
	step := waves(&s, fleet.UsualPolicy)
	if len(of(step, fleet.Evict)) > 0 || !strings.Contains(fmt.Sprint(step.Holds), "node node-0: waits for its replacement: group web launches 1 node first") {
		t.Error(step.Actions, step.Holds)
	}
	in := s.Groups[0].Instances[1]
	in.ID, in.Launched = "i-new", s.Now
	s.Groups[0].Instances = append(s.Groups[0].Instances, in)
	if step := waves(&s, fleet.UsualPolicy); len(of(step, fleet.Evict)) > 0 {
		t.Error("its node is not there yet")
	}
	n := s.Nodes[1]
	n.Name, n.Instance, n.Changed = "new", "i-new", s.Now
	s.Nodes = append(s.Nodes, n)
	if step := waves(&s, fleet.UsualPolicy); len(of(step, fleet.Evict)) == 0 {
		t.Error(step.Holds)
	}
}

func TestWhoHasNoTimeWaitsForNoReplacement(t *testing.T) {
	s := web()
	noticed(&s, 0, fleet.TerminateHook, 10*time.Minute)
	waves(&s, fleet.UsualPolicy)
	if step := waves(&s, fleet.UsualPolicy); len(of(step, fleet.Evict)) == 0 {
		t.Error(step.Holds)
	}
}
