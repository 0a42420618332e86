package evac

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// Pods of stores do not leave by their lanes alone: what they hold decides whether they may, and what has to be done before and after. A keeper
// takes the next step for one store. It moves one pod at a time, and until that pod's successor has all the data and everything is as it was, no
// other pod of the store leaves. What is to be done it derives from what the store's members say; the only thing written down is which pod is
// moved and how everything was set before (fleet.StoreMove).
type keeper struct {
	run   string
	now   time.Time
	st    *fleet.Store
	goals []goal
	away  func(node string) bool // a node that leaves, or that takes no pods: no place to go to
	pod   func(uid string) *fleet.Pod
	avoid []string

	// unplaced is why the scheduler finds no node for a pod of the store; "" when it does, or has not said.
	unplaced func(name string) string

	// patient tells whether more room is coming: what a better order would spare is then not done yet.
	patient bool

	every time.Duration // between two looks at the store while something is awaited of it

	acts  []fleet.Action
	holds []fleet.Hold
	freed *goal     // may be evicted now
	again time.Time // when time alone changes the outcome
}

// soft is the rank of a pod that had better wait for others.
const soft = 3

// goal is a pod that has to leave.
type goal struct {
	p     *fleet.Pod
	node  string
	why   string
	until time.Time   // when its machine goes whatever anybody does; zero when it waits
	roomy func() bool // tells whether there is room for it elsewhere, and takes it
	both  func() bool // tells whether there is room for it and for a temporary pod like it; nil when nobody counts
}

// Times of a store's moves.
const (
	usualLinger = 5 * time.Second        // clients are told where to go meanwhile
	storeEvery  = 500 * time.Millisecond // between two looks at a store that something is awaited of
	seldomly    = 5 * time.Second        // the same in a forecast
	hasty       = 3 * time.Minute        // with less time than this, a role is handed over and nothing else is made better first
	banned      = 75 * time.Second       // what a cluster is told to forget it keeps out for a minute; then it may come back
	forgetful   = 15 * time.Second       // how long a node of a cluster may take to tell the others its new address by itself
)

func (g *goal) hurried(now time.Time) bool { return !g.until.IsZero() && g.until.Sub(now) < hasty }

// next takes the store's next step.
func (k *keeper) next() {
	st, m := k.st, k.st.Move
	switch {
	case m == nil && len(k.goals) == 0:
	case !st.Confirmed && m == nil:
		k.holdAll("only probing says that it is of store %s", st.Name)
	case !st.Confirmed:
		k.wait("nobody declares it any more (%s): declare it again until the move is over", st.Source)
	case st.Trouble != "":
		k.holdAll("%s", st.Trouble)
	case st.Read.IsZero() && speaks(st):
		k.holdAll("store %s is being asked", st.Name)
	case m == nil:
		k.begin()
	case m.Run != k.run && !m.Idle:
		if st.Mover == fleet.ClusterMover && newClusterKeeper(k).handOverFirst() {
			return // with their masters' consent, which nobody's move minds
		}
		k.holdAll("run %s moves pod %s of store %s", m.Run, m.Pod, st.Name)
	case m.Run != k.run:
		k.engage(m, "nobody carries run "+m.Run+" on", func(m *fleet.StoreMove) { m.Run = k.run })
	default:
		k.carry()
	}
}

// speaks tells whether a store's members are asked what they hold.
func speaks(st *fleet.Store) bool {
	return st.Mover == fleet.SentinelMover || st.Mover == fleet.ClusterMover
}

func (k *keeper) carry() {
	switch k.st.Mover {
	case fleet.SentinelMover:
		(&sentinelKeeper{k}).carry()
	case fleet.ClusterMover:
		newClusterKeeper(k).carry()
	default:
		(&scriptKeeper{k}).carry()
	}
	if m := k.st.Move; m != nil {
		for i := range k.goals {
			if g := &k.goals[i]; g.p.Ref.UID != m.Pod.UID && !k.told(g.p) {
				k.hold(g.p.Ref, "stays on %s: pod %s of store %s moves first", g.node, m.Pod.Name, k.st.Name)
			}
		}
	}
}

func (k *keeper) told(p *fleet.Pod) bool {
	return slices.ContainsFunc(k.holds, func(h fleet.Hold) bool { return h.Subject == "pod "+p.Ref.String() })
}

// begin chooses whose turn it is, when the store is in order, and writes that down before anything is changed.
func (k *keeper) begin() {
	why, rank := "", func(*goal) (int, string) { return 0, "" }
	switch k.st.Mover {
	case fleet.SentinelMover:
		s := &sentinelKeeper{k}
		why, rank = s.unsound(), s.rank
	case fleet.ClusterMover:
		c := newClusterKeeper(k)
		if c.handOverFirst() {
			return
		}
		why, rank = c.unsound(), c.rank
	default:
		s := &scriptKeeper{k}
		why, rank = s.unsound(), s.rank
	}
	if why != "" && !k.hurry() {
		k.holdAll("store %s: %s", k.st.Name, why)
		return
	}
	g := k.choose(rank)
	if g == nil {
		return
	}
	m := fleet.StoreMove{Run: k.run, Pod: g.p.Ref, Node: g.node, Why: g.why, Since: k.now}
	if old := k.st.Move; old != nil {
		m.Ghosts = slices.Clone(old.Ghosts)
	}
	if me := k.st.Member(g.p.Ref.Name); me != nil {
		m.ID, m.Home = me.ID, k.leads(me)
	}
	for i := range k.st.Members {
		x := &k.st.Members[i]
		if x.Trouble != "" {
			continue
		}
		m.Prior = append(m.Prior, settingOf(x))
	}
	k.do(fleet.Action{Verb: fleet.Engage, Pod: g.p.Ref, Node: g.node, Move: &m, Why: g.why})
}

// leads tells whether a member has the role that others replicate.
func (k *keeper) leads(m *fleet.Member) bool {
	return m.Role == fleet.RoleMaster && (k.st.Mover != fleet.ClusterMover || slotsOf(m) > 0)
}

// hurry tells whether a machine under a pod of the store goes so soon that what is not in order has to be lived with.
func (k *keeper) hurry() bool {
	return slices.ContainsFunc(k.goals, func(g goal) bool { return g.hurried(k.now) })
}

// choose returns whose turn it is: the nearest deadline, then the lowest rank; the others hear why they wait.
func (k *keeper) choose(rank func(*goal) (int, string)) *goal {
	type ranked struct {
		*goal
		rank int
	}
	var able []ranked
	for i := range k.goals {
		g := &k.goals[i]
		n, why := rank(g)
		if why != "" {
			k.hold(g.p.Ref, "stays on %s: %s", g.node, why)
			continue
		}
		able = append(able, ranked{g, n})
	}
	slices.SortStableFunc(able, func(a, b ranked) int {
		return cmp.Or(order(a.rank >= 0, b.rank >= 0), fleet.CompareDeadlines(a.until, b.until), cmp.Compare(a.rank, b.rank), cmp.Compare(a.p.Ref.Name, b.p.Ref.Name))
	})
	for i, r := range able {
		if r.rank == soft && k.patient {
			k.hold(r.p.Ref, "stays on %s: its replica moves first, as soon as there is room for it", r.node)
			continue
		}
		if r.roomy != nil && !r.roomy() {
			k.hold(r.p.Ref, "stays on %s: no room elsewhere", r.node)
			continue
		}
		for _, later := range able[i+1:] {
			k.hold(later.p.Ref, "stays on %s: pod %s of store %s moves first", later.node, r.p.Ref.Name, k.st.Name)
		}
		return r.goal
	}
	return nil
}

// subject returns the pod that is moved while it still has to leave; nil when it has left, or need not any more.
func (k *keeper) subject() *goal {
	for i := range k.goals {
		if k.goals[i].p.Ref.UID == k.st.Move.Pod.UID {
			return &k.goals[i]
		}
	}
	return nil
}

// free lets the subject be evicted.
func (k *keeper) free(g *goal) {
	k.freed = g
}

// going tells whether a pod is shutting down, by the cluster's word, which may be newer than the store's.
func (k *keeper) going(m *fleet.Member) bool { return k.ends(m.Pod, m.Leaving) }

func (k *keeper) ends(ref fleet.PodRef, leaving bool) bool {
	p := k.pod(ref.UID)
	return leaving || p != nil && p.Terminating
}

// absent says where a pod is that left and is not back.
func (k *keeper) absent(name string) string {
	m := k.st.Move
	if p := k.pod(m.Pod.UID); p != nil && p.Terminating {
		return fmt.Sprintf("pod %s is shutting down on %s", name, p.Node)
	}
	if why := k.unplaced(name); why != "" {
		return fmt.Sprintf("waits for a node for pod %s: %s", name, why)
	}
	return fmt.Sprintf("waits for pod %s to run again elsewhere", name)
}

// do asks for an action. How a member was set is written down before it is set otherwise, also when it was not known as the move began.
func (k *keeper) do(a fleet.Action) {
	a.Store, a.Run = k.st.Name, k.run
	if m := k.st.Member(a.Pod.Name); m != nil && !m.Temp && (a.Verb == fleet.Fence_ || a.Verb == fleet.Prefer || a.Verb == fleet.Steady) {
		if _, known := k.st.Move.Before(a.Pod.Name); !known {
			k.learn(m)
			return
		}
	}
	k.acts = append(k.acts, a)
}

func (k *keeper) hold(ref fleet.PodRef, format string, args ...any) {
	k.holds = append(k.holds, fleet.Hold{Subject: "pod " + ref.String(), Reason: fmt.Sprintf(format, args...)})
}

// wait says what the move waits for; the store is looked at again soon.
func (k *keeper) wait(format string, args ...any) {
	k.holds = append(k.holds, fleet.Hold{Subject: "store " + k.st.Name, Reason: fmt.Sprintf("moves pod %s: %s", k.st.Move.Pod.Name, fmt.Sprintf(format, args...)), Since: time.Time{}})
	k.soon(k.now.Add(k.every))
}

// until says what the move waits for when nothing but time ends that.
func (k *keeper) until(end time.Time, format string, args ...any) {
	k.holds = append(k.holds, fleet.Hold{Subject: "store " + k.st.Name, Reason: fmt.Sprintf("moves pod %s: %s", k.st.Move.Pod.Name, fmt.Sprintf(format, args...))})
	k.soon(end)
}

func (k *keeper) holdAll(format string, args ...any) {
	for i := range k.goals {
		k.hold(k.goals[i].p.Ref, "stays on %s: %s", k.goals[i].node, fmt.Sprintf(format, args...))
	}
	if m := k.st.Move; m != nil {
		k.wait(format, args...)
	}
	k.soon(k.now.Add(k.every))
}

func (k *keeper) soon(at time.Time) {
	if k.again.IsZero() || at.Before(k.again) {
		k.again = at
	}
}

// learn writes down how a member is set.
func (k *keeper) learn(m *fleet.Member) {
	for i := range k.acts {
		if k.acts[i].Verb == fleet.Engage {
			return // one at a time
		}
	}
	k.engage(k.st.Move, "how pod "+m.Pod.Name+" is set, first", func(c *fleet.StoreMove) { c.Prior = append(c.Prior, settingOf(m)) })
}

func settingOf(m *fleet.Member) fleet.Setting {
	return fleet.Setting{Pod: m.Pod.Name, ID: m.ID, Fence: m.Fence, Priority: m.Priority, Migration: m.Migration}
}

// engage writes the move anew.
func (k *keeper) engage(m *fleet.StoreMove, why string, change func(*fleet.StoreMove)) {
	c := m.Clone()
	change(c)
	k.do(fleet.Action{Verb: fleet.Engage, Pod: c.Pod, Node: c.Node, Move: c, Why: why})
}

// temp is the temporary member; nil when there is none.
func (k *keeper) temp() *fleet.Member {
	for i := range k.st.Members {
		if k.st.Members[i].Temp {
			return &k.st.Members[i]
		}
	}
	return nil
}

// lend asks for the temporary pod. Its name is the move's, so that the same move never has two.
func (k *keeper) lend(why string) {
	m := k.st.Move
	if k.temp() != nil {
		return
	}
	if g := k.subject(); k.patient && g != nil && g.both != nil && !g.both() {
		k.wait("there is no room yet for a temporary pod besides its own next place")
		return
	}
	k.do(fleet.Action{Verb: fleet.Lend, Pod: m.Pod, Node: m.Node, Peer: fleet.PodRef{Namespace: m.Pod.Namespace, Name: tempName(m.Pod.Name)}, Avoid: k.avoid, Why: why})
}

func tempName(pod string) string { return pod + "-drover" }

// lingers notes when the role was handed over, and tells whether that is long enough ago for clients to have followed.
func (k *keeper) lingers(g *goal) bool {
	m := k.st.Move
	if m.Switched.IsZero() && !m.Home {
		return true
	}
	if m.Switched.IsZero() {
		k.engage(m, "its role was handed over", func(m *fleet.StoreMove) { m.Switched, m.Switches = k.now, m.Switches+1 })
		return false
	}
	linger := cmp.Or(k.st.Spec.Linger, usualLinger)
	if end := m.Switched.Add(linger); k.now.Before(end) && !g.hurried(k.now) {
		k.until(end, "its clients follow the role, until %s after it was handed over", linger)
		return false
	}
	return true
}

// unsettled says why a pod is not to be told to stop now, though nothing of its data stands against it.
func unsettled(m *fleet.Member) string {
	switch {
	case m.Loading:
		return "it is loading its data"
	case m.Saving:
		return "it is saving, and would not hear SIGTERM"
	}
	return ""
}

// end ends the move.
func (k *keeper) end() {
	m := k.st.Move
	k.do(fleet.Action{Verb: fleet.Disengage, Pod: m.Pod, Node: m.Node, Move: m, Why: "everything is as it was"})
}

// goalOf is the goal of a member's pod; nil when it need not leave.
func (k *keeper) goalOf(m *fleet.Member) *goal {
	for i := range k.goals {
		if k.goals[i].p.Ref.UID == m.Pod.UID {
			return &k.goals[i]
		}
	}
	return nil
}

// left tells whether nobody empties a member's node now, though it takes nothing more: its turn comes later.
func (k *keeper) left(m *fleet.Member) bool {
	return k.goalOf(m) == nil
}

// whole tells whether a pod may go as far as the others are concerned: no other is away, and in haste at least whoever has the role is not going.
func (k *keeper) whole(g *goal, me, leads *fleet.Member) bool {
	if leads != nil && leads != me && k.going(leads) {
		k.wait("%s, which has the role, is shutting down", leads.Pod.Name)
		return false
	}
	if g.hurried(k.now) {
		return true
	}
	n := 0
	for i := range k.st.Members {
		m := &k.st.Members[i]
		if !m.Temp {
			n++
		}
		if m != me && !m.Temp && (m.Trouble != "" || k.going(m)) {
			k.wait("pod %s is not there for it to go: %s", m.Pod.Name, cmp.Or(m.Trouble, "it is shutting down"))
			return false
		}
		if m != me && !m.Temp && m.Role == fleet.RoleReplica && !synced(m) {
			k.wait("replica %s is not in sync yet", m.Pod.Name)
			return false
		}
	}
	if n < k.st.Spec.Replicas {
		k.wait("%d of %s with data run", n, plural(k.st.Spec.Replicas, "pod", "pods"))
		return false
	}
	return true
}

// outlives tells whether a member's machine stays, or at least goes later than that of a pod that has to leave.
func (k *keeper) outlives(m *fleet.Member, g *goal) bool {
	if !k.away(m.Node) {
		return true
	}
	o := k.goalOf(m)
	return o != nil && !g.until.IsZero() && (o.until.IsZero() || o.until.After(g.until))
}

// synced tells whether a member has all the data of its master, as far as it can tell itself.
func synced(m *fleet.Member) bool {
	return m.Trouble == "" && m.Role == fleet.RoleReplica && m.Link && !m.Syncing && !m.Loading
}

// removeTemp deletes the temporary pod.
func (k *keeper) removeTemp(t *fleet.Member) {
	if !k.going(t) {
		k.do(fleet.Action{Verb: fleet.Unlend, Pod: t.Pod, Node: t.Node, Why: "it is not needed any more"})
		return
	}
	k.wait("temporary pod %s is shutting down", t.Pod.Name)
}
