package evac

import (
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

func storeActs(step Step) string {
	var out []string
	for _, a := range step.Actions {
		if a.Store != "" || a.Verb == fleet.Evict && strings.HasPrefix(a.Pod.Name, "redis") {
			out = append(out, string(a.Verb)+" "+a.Pod.Name)
		}
	}
	return strings.Join(out, "; ")
}

// shutWave is a wave in which node 0 is shut already, with a move of its master in the middle.
func shutWave(t *testing.T, deadline time.Duration) (*fleet.Snapshot, *fleet.Store) {
	t.Helper()
	s := web()
	st := seed(&s)
	noticed(&s, 0, fleet.SpotInterruption, deadline)
	waves(&s, fleet.UsualPolicy)
	st = s.Store(st.Name)
	m := moved(st, master)
	m.Run, m.Switched = fleet.NoticeRun, s.Now.Add(-time.Minute)
	over(st)
	return &s, st
}

// 1: in a wave a pod of a store that is shutting down is no goal any more: the keeper takes it for home.
func TestDangerWaveTerminatingIsNotHome(t *testing.T) {
	s, st := shutWave(t, 30*time.Minute)
	podNamed(s, master).Terminating = true
	st.Member(master).Leaving = true
	got := storeActs(Next(Notices(s, fleet.UsualPolicy), s.Clone()))
	if got != "" {
		t.Errorf("pinned: pod is shutting down, and: %s", got)
	}
	for i := range st.Members {
		st.Members[i].Pinned = false
	}
	if got := storeActs(Next(Notices(s, fleet.UsualPolicy), s.Clone())); got != "" {
		t.Errorf("not pinned: pod is shutting down, and: %s", got)
	}
}

// 2: an eviction that was refused a moment ago makes the keeper take the pod for home, too.
func TestDangerRefusedEvictionIsNotHome(t *testing.T) {
	s, _ := shutWave(t, 30*time.Minute)
	podNamed(s, master).Refused = "its budget allows no disruption"
	if got := storeActs(Next(Notices(s, fleet.UsualPolicy), s.Clone())); got != "" {
		t.Errorf("wave: %s", got)
	}
	s2 := web()
	seed(&s2)
	p := rotation(t, &s2, Options{})
	w := world(s2)
	play(t, w, p, func(step Step) bool {
		return len(of(step, fleet.Evict)) > 0 && storeActs(step) != "" && strings.Contains(storeActs(step), "evict redis-master-0")
	})
	if st := w.s.Store("shop/orders"); st.Move == nil || st.Move.Pod.Name != master {
		t.Fatal("the test has to stop before the master's eviction")
	}
	podNamed(&w.s, master).Refused = "its budget allows no disruption"
	if got := storeActs(Next(p, w.s)); got != "" {
		t.Errorf("run: %s", got)
	}
}

// 3: a second notice, whose node is not shut yet, stops new evictions, and the keeper takes the pod of the first for home.
func TestDangerForcedOnlyIsNotHome(t *testing.T) {
	s, _ := shutWave(t, 30*time.Minute)
	noticed(s, 3, fleet.SpotInterruption, 30*time.Minute)
	if got := storeActs(Next(Notices(s, fleet.UsualPolicy), s.Clone())); got != "" {
		t.Errorf("a second node was noticed: %s", got)
	}
}

// 4: a pod that is deleted at the last moment is no goal either: the move ends while it is deleted.
func TestDangerForcedDeleteIsNotHome(t *testing.T) {
	s, st := shutWave(t, 12*time.Second)
	for i := range st.Members {
		st.Members[i].Pinned = false
	}
	step := Next(Notices(s, fleet.UsualPolicy), s.Clone())
	if len(of(step, fleet.Delete)) == 0 {
		t.Fatal("the test wants a forced deletion")
	}
	if got := storeActs(step); got != "" {
		t.Error(got)
	}
}

// 5: two masters of a cluster on nodes that both go soon hand the slots to and fro.
func TestDangerHandOverPingPong(t *testing.T) {
	s := web()
	st := ring(&s, 1)
	leaving := []string{"ring-a-0", "ring-b-0"}
	if got := steps(&s, 2*time.Minute, leaving...); strings.HasPrefix(got, "failover ring-b-0>ring-a-0") {
		exchange(st, st.Member("ring-a-0"), st.Member("ring-b-0"))
		if got := steps(&s, 2*time.Minute, leaving...); strings.HasPrefix(got, "failover ring-a-0>ring-b-0") {
			t.Error("slots go to and fro: ", got)
		}
	}
}

// three is the seed with another replica, on node 5.
func three(s *fleet.Snapshot) *fleet.Store {
	st := seed(s)
	ref := pods(s, "redis-other", "node-5")[0]
	st.Members = append(st.Members, fleet.Member{Pod: ref, Node: "node-5", Known: []string{"o:6379"}, Ready: true, Role: fleet.RoleReplica, Master: "m:6379", Link: true, Priority: 100, Keys: 9, Offset: 100})
	st.Members[0].Replicas = append(st.Members[0].Replicas, fleet.Replica{Address: "o:6379", Online: true, Offset: 100})
	st.Spec.Replicas = 3
	for i := range st.Sentinels {
		lists(st, &st.Sentinels[i])
	}
	return st
}

// acts are what the keeper of the only store does.
func acts(s *fleet.Snapshot, left time.Duration, leaving ...string) ([]fleet.Action, []fleet.Hold) {
	v := &tick{ix: newIndex(s), s: s, plan: &Plan{Run: "r-1"}, leaving: map[string]bool{}}
	var goals []kept
	for _, name := range leaving {
		p := podNamed(s, name)
		g := goal{p: p, node: p.Node, why: "leaves"}
		if left > 0 {
			g.until = s.Now.Add(left)
		}
		goals = append(goals, kept{goal: g})
		v.leaving[p.Node] = true
	}
	k := v.keeperOf(&s.Stores[0], goals)
	k.next()
	return k.acts, k.holds
}

// 6: with two replicas and writes, whose offset is read later looks further on: the choice changes at each look, and the priorities with it.
func TestDangerCandidateFlips(t *testing.T) {
	s := web()
	st := three(&s)
	moved(st, master)
	prefers, switches := 0, 0
	for i := range 40 {
		a, b := st.Member(replica), st.Member("redis-other-0")
		a.Offset, b.Offset = int64(1000*i+100*(i%2)), int64(1000*i+50)
		did, _ := acts(&s, 0, master)
		for _, x := range did {
			switch x.Verb {
			case fleet.Prefer:
				prefers++
				st.Member(x.Pod.Name).Priority = x.To
				for i := range st.Sentinels {
					lists(st, &st.Sentinels[i]) // heard at once, which takes up to 10 s
				}
			case fleet.Fence_:
				st.Member(x.Pod.Name).Fence = x.Fence
			case fleet.Switch:
				switches++
			}
		}
	}
	if prefers > 3 || switches == 0 {
		t.Errorf("in 40 looks priorities were set %d times, and the role was to go %d times", prefers, switches)
	}
}

// 7: the role is on a machine that goes in two minutes, another replica is well, and the keeper waits for a pod that has no node.
func TestDangerHurriedRoleWaitsForSubject(t *testing.T) {
	s := web()
	st := three(&s)
	moved(st, master)
	over(st)
	st.Member("redis-other-0").Master = "r:6379"
	st.Members = st.Members[1:] // the first pod is pending
	replicas(st)
	if got := steps(&s, 2*time.Minute, replica); !strings.HasPrefix(got, "fence "+replica) {
		t.Error(got)
	}
}

// 8: a cluster's master on a machine that goes in two minutes keeps its slots because another run moves another pod.
func TestDangerHurriedWhileAnotherRun(t *testing.T) {
	s := web()
	st := ring(&s, 1)
	moved(st, "ring-b-2").Run = "r-2"
	if got := steps(&s, 2*time.Minute, "ring-a-0"); !strings.HasPrefix(got, "failover ring-b-0>ring-a-0") {
		t.Error(got)
	}
}

// 9: who did not answer when a hurried move began has no prior setting: its fence is never taken back.
func TestDangerPriorOfTheSilent(t *testing.T) {
	s := web()
	st := seed(&s)
	m := moved(st, master)
	m.Prior = m.Prior[1:] // the master did not answer then
	if got := steps(&s, 0, master); strings.HasPrefix(got, "fence") {
		t.Error("nobody knows how it was set: ", got)
	}
}

// 10: the move ends while a member that it changed does not answer; its setting is never put back.
func TestDangerRestoreForgetsTheSilent(t *testing.T) {
	s := web()
	st := ring(&s, 1)
	moved(st, "ring-a-0")
	for i := range st.Members {
		st.Members[i].Migration = true // restored
	}
	x := st.Member("ring-a-2")
	x.Trouble, x.Role, x.View, x.ID, x.Link, x.Migration = "no answer within 2s", "", nil, "", false, false
	if got := steps(&s, 0); strings.HasPrefix(got, "disengage") {
		t.Error("cluster: ", got)
	}
	s = web()
	st = three(&s)
	moved(st, "redis-other-0")
	y := st.Member(replica) // its priority was changed
	y.Trouble, y.Role, y.Link = "no answer within 2s", "", false
	st.Move.Prior[1].Priority = 77
	if got := steps(&s, 0); strings.HasPrefix(got, "disengage") {
		t.Error("sentinel: ", got)
	}
}

// 11: Sentinels list a replica that the master feeds and that is no pod: RESET makes nobody forget it, and is done for ever.
func TestDangerResetForEver(t *testing.T) {
	s := web()
	st := seed(&s)
	moved(st, master)
	for i := range st.Sentinels {
		st.Sentinels[i].Replicas = append(st.Sentinels[i].Replicas, fleet.Listed{Address: "elsewhere:6379"})
	}
	st.Members[0].Replicas = append(st.Members[0].Replicas, fleet.Replica{Address: "elsewhere:6379", Online: true})
	if got := steps(&s, 0); strings.HasPrefix(got, "reset") {
		t.Error(got)
	}
}

// 12: Sentinels of a Deployment come back under other names; the move waits for the old one for ever.
func TestDangerDeploymentsSentinel(t *testing.T) {
	s := web()
	st := seed(&s)
	moved(st, "sentinel-0")
	podNamed(&s, "sentinel-0").Ref = fleet.PodRef{Namespace: "shop", Name: "sentinel-xyz", UID: "uid-new"}
	st.Sentinels[0].Pod = fleet.PodRef{Namespace: "shop", Name: "sentinel-xyz", UID: "uid-new"}
	if got := steps(&s, 0); !strings.HasPrefix(got, "disengage") {
		t.Error(got)
	}
}

// 13: the same for any other mover.
func TestDangerDeploymentsScript(t *testing.T) {
	s := web()
	st := seed(&s)
	st.Mover, st.Sentinels = fleet.ScriptMover, nil
	moved(st, master)
	podNamed(&s, master).Ref = fleet.PodRef{Namespace: "shop", Name: "redis-xyz", UID: "uid-new"}
	st.Members[0].Pod = fleet.PodRef{Namespace: "shop", Name: "redis-xyz", UID: "uid-new"}
	if got := steps(&s, 0); !strings.HasPrefix(got, "disengage") {
		t.Error(got)
	}
}

// 14: of two Sentinels none can go, and that is found out only after the store is claimed: nothing else of it moves any more.
func TestDangerTwoSentinels(t *testing.T) {
	s := web()
	st := seed(&s)
	st.Sentinels, st.Spec.Watchers = st.Sentinels[:2], 2
	for i := range st.Sentinels {
		lists(st, &st.Sentinels[i])
	}
	if got := steps(&s, 0, "sentinel-0", replica); got != "engage "+replica {
		t.Error(got)
	}
}

// 15: the only replica has priority 0: nobody says so.
func TestDangerPriorityZeroIsSaid(t *testing.T) {
	s := web()
	st := seed(&s)
	st.Member(replica).Priority = 0
	moved(st, master)
	if got := steps(&s, 0, master); !strings.Contains(got, "priority") {
		t.Error(got)
	}
	st.Move = nil
	if got := steps(&s, 0, master); !strings.Contains(got, "priority") {
		t.Error("before it begins: ", got)
	}
}

// 16: a temporary pod that had the role and took writes after the Sentinels chose another is attached: its writes are gone without a person's word.
func TestDangerTempWithWritesIsAttached(t *testing.T) {
	s := web()
	st := seed(&s)
	st.Members, st.Spec.Replicas = st.Members[:1], 1
	moved(st, master)
	st.Members[0].History, st.Members[0].History2, st.Members[0].Offset2 = "new", "old", 101
	st.Members = append(st.Members, fleet.Member{Pod: fleet.PodRef{Namespace: "shop", Name: master + "-drover", UID: "uid-temp"}, Node: "node-5", Known: []string{"t:6379"}, Temp: true, Ready: true,
		Role: fleet.RoleMaster, Priority: 100, Keys: 12, Offset: 4000, History: "old"})
	if got := steps(&s, 0); strings.HasPrefix(got, "attach") {
		t.Error(got)
	}
}

// 17: a store that is only probed any more, in the middle of a move: the run neither ends nor says why.
func TestDangerUnconfirmedMidMove(t *testing.T) {
	s, st := shutWave(t, 30*time.Minute)
	st.Move.Run = "r-9"
	st.Confirmed = false
	plan := Plan{Run: "r-9", At: s.Now, Pods: []fleet.PodRef{{UID: "gone"}}}
	step := Next(plan, s.Clone())
	if !step.Done && len(step.Holds) == 0 && len(step.Actions) == 0 {
		t.Error("stands still without a word")
	}
}

// 18: a pod that was away when a hurried move began is no stranger to be forgotten.
func TestDangerForgetsAPodThatIsAway(t *testing.T) {
	s := web()
	st := ring(&s, 1)
	x := *st.Member("ring-b-2")
	st.Members = st.Members[:5]
	moved(st, "ring-a-0") // ring-b-2 was not there: no prior
	for i := range st.Members {
		sees(&st.Members[i], x.ID).Fail = true
	}
	if got := steps(&s, 0); strings.HasPrefix(got, "engage") || strings.HasPrefix(got, "disown") {
		t.Error(got)
	}
}

// 19: the role goes home to a pod whose machine goes in two minutes.
func TestDangerHomeIsLeaving(t *testing.T) {
	s := web()
	st := seed(&s)
	moved(st, master)
	over(st)
	reborn(&s, master)
	for i := range st.Sentinels {
		lists(st, &st.Sentinels[i])
	}
	replicas(st)
	if got := steps(&s, 2*time.Minute, master); strings.HasPrefix(got, "fence") || strings.HasPrefix(got, "switch") {
		t.Error(got)
	}
}

// 21: a move that the world shows further on is not set back by what was assumed.
func TestDangerAssumeSetsBack(t *testing.T) {
	s := web()
	st := seed(&s)
	m := moved(st, master)
	a := fleet.Action{Verb: fleet.Engage, Store: st.Name, Run: "r-1", Pod: m.Pod, Move: m.Clone()}
	st.Move.Hooked = []string{fleet.HookPre}
	Assume(&s, a)
	if len(st.Move.Hooked) == 0 {
		t.Error("the hook is called again")
	}
}

// 22: ghosts are compared with a clock's inner parts.
func TestDangerGhostsTime(t *testing.T) {
	now := time.Now()
	a := &fleet.StoreMove{Run: "r", Ghosts: []fleet.Ghost{{ID: "x", At: now}}}
	b := &fleet.StoreMove{Run: "r", Ghosts: []fleet.Ghost{{ID: "x", At: now.Round(0).UTC()}}}
	if !further(a, b) {
		t.Error("the world shows it, and it is assumed for 30 s more")
	}
}

// 23: a paused run leaves a fence on a master that has lost its replica: every write is refused until somebody resumes it.
func TestDangerPauseLeavesFence(t *testing.T) {
	s := web()
	seed(&s)
	p := rotation(t, &s, Options{})
	w := world(s)
	play(t, w, p, func(step Step) bool { return strings.Contains(storeActs(step), "switch redis-master-0") })
	st := w.s.Store("shop/orders")
	if st.Member(master).Fence.Replicas != 1 {
		t.Fatal("not fenced")
	}
	st.Member(replica).Link, st.Member(master).Replicas = false, nil
	if got := storeActs(Next(p, w.s)); got != "fence redis-master-0" {
		t.Error("not paused: ", got)
	}
	w.s.Stopped = &fleet.Pause{By: "eve"}
	if got := storeActs(Next(p, w.s)); got != "fence redis-master-0" {
		t.Errorf("paused: %q", got)
	}
}
