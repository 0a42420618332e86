package evac

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// sentinelKeeper moves pods of Redis with replicas, and of the Sentinels that watch it.
//
// A replica: another one first where writes would need it; evicted, back, in sync, its old address forgotten by every Sentinel.
// The master: fenced (it accepts writes only while its replicas follow, so that whatever happens to drover no write is acknowledged that would be
// lost), the role handed over in one action of the hand, clients given time to follow, and then like any replica; the role goes home only where
// something static expects it there.
// A Sentinel: while all the others agree and could have a failover authorized without it.
type sentinelKeeper struct{ *keeper }

// A fence's seconds tell what it is for: one that was set before the role went says that nothing was acknowledged since; one that was set on a second
// master does not.
const (
	fenceLag  = 2
	frozenLag = 1
	usualLag  = 10 // Redis' own
)

// feeding is how lately a replica was heard that somebody is at: a connection to nobody is kept for a minute.
const feeding = 5 * time.Second

// named is the master by the word of the Sentinels: of those with the highest epoch, when a majority of all agrees with them. unsure says why there is none.
func (k *sentinelKeeper) named() (address string, unsure string) {
	var top *fleet.Sentinel
	answering := 0
	for i := range k.st.Sentinels {
		w := &k.st.Sentinels[i]
		if w.Trouble != "" || w.Master == "" {
			continue
		}
		answering++
		if top == nil || w.Epoch > top.Epoch {
			top = w
		}
	}
	all := max(len(k.st.Sentinels), k.st.Spec.Watchers)
	if top == nil {
		return "", fmt.Sprintf("none of %s answers: %s", plural(all, "Sentinel", "Sentinels"), k.firstTrouble())
	}
	votes := 0
	for i := range k.st.Sentinels {
		if w := &k.st.Sentinels[i]; w.Trouble == "" && k.same(w.Master, top.Master) {
			votes++
		}
	}
	switch {
	case 2*votes <= all:
		return "", fmt.Sprintf("%d of %d Sentinels name %s as the master, which is no majority%s", votes, all, top.Master, k.others(top.Master))
	case votes < answering:
		return "", fmt.Sprintf("%d of %d Sentinels that answer name %s as the master%s", votes, answering, top.Master, k.others(top.Master))
	}
	return top.Master, ""
}

// same tells whether two addresses are one member's.
func (k *sentinelKeeper) same(a, b string) bool {
	return a == b || k.st.At(a) != nil && k.st.At(a) == k.st.At(b)
}

func (k *sentinelKeeper) others(master string) string {
	var out []string
	for i := range k.st.Sentinels {
		if w := &k.st.Sentinels[i]; w.Trouble == "" && !k.same(w.Master, master) {
			out = append(out, fmt.Sprintf("%s names %s", w.Pod.Name, w.Master))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return "; " + strings.Join(out, ", ")
}

func (k *sentinelKeeper) firstTrouble() string {
	for i := range k.st.Sentinels {
		if t := k.st.Sentinels[i].Trouble; t != "" {
			return t
		}
	}
	return "they name no master"
}

// unsound says why nothing of the store may begin to move: the invariants of a store at rest.
func (k *sentinelKeeper) unsound() string {
	address, unsure := k.named()
	if unsure != "" {
		return unsure
	}
	master := k.st.At(address)
	if master == nil {
		return fmt.Sprintf("its Sentinels name %s as the master, and no pod has that address", address)
	}
	if why := k.watched(""); why != "" {
		return why
	}
	for i := range k.st.Members {
		m := &k.st.Members[i]
		switch {
		case m.Trouble != "":
			return fmt.Sprintf("pod %s: %s", m.Pod.Name, m.Trouble)
		case k.going(m):
			return fmt.Sprintf("pod %s is shutting down", m.Pod.Name)
		case m.Temp:
			return fmt.Sprintf("pod %s is left from an earlier move; delete it when nothing replicates it", m.Pod.Name)
		case m != master && m.Role == fleet.RoleMaster:
			return fmt.Sprintf("pods %s and %s both say that they are the master; the Sentinels name %s: compare their data, then make the other one a replica (REPLICAOF)", master.Pod.Name, m.Pod.Name, master.Pod.Name)
		case m != master && !synced(m):
			return fmt.Sprintf("replica %s is not in sync with %s", m.Pod.Name, master.Pod.Name)
		case m != master && k.st.At(m.Master) != master:
			return fmt.Sprintf("replica %s follows %s, and the master is %s", m.Pod.Name, m.Master, master.Pod.Name)
		}
	}
	switch {
	case master.Role != fleet.RoleMaster:
		return fmt.Sprintf("its Sentinels name %s as the master, which says that it is a replica of %s", master.Pod.Name, master.Master)
	case k.st.Spec.Replicas > len(k.st.Members):
		return fmt.Sprintf("%d of %s with data run", len(k.st.Members), plural(k.st.Spec.Replicas, "pod", "pods"))
	case master.SaveErr != "":
		return fmt.Sprintf("pod %s: %s", master.Pod.Name, master.SaveErr)
	}
	return ""
}

// watched says what is wrong with the Sentinels, the one of that name left out.
func (k *sentinelKeeper) watched(but string) string {
	running := 0
	for i := range k.st.Sentinels {
		w := &k.st.Sentinels[i]
		if w.Pod.Name == but {
			continue
		}
		running++
		switch {
		case w.Trouble != "":
			return fmt.Sprintf("Sentinel %s: %s", w.Pod.Name, w.Trouble)
		case k.ends(w.Pod, w.Leaving):
			return fmt.Sprintf("Sentinel %s is shutting down", w.Pod.Name)
		case w.Failover:
			return fmt.Sprintf("Sentinel %s says that a failover is in progress", w.Pod.Name)
		case w.Down:
			return fmt.Sprintf("Sentinel %s takes the master %s for down", w.Pod.Name, w.Master)
		case w.NoQuorum != "":
			return fmt.Sprintf("Sentinel %s could have no failover authorized: %s", w.Pod.Name, w.NoQuorum)
		}
	}
	want := k.st.Spec.Watchers
	if but != "" {
		want--
	}
	if running < want {
		return fmt.Sprintf("%d of %d Sentinels run", running, want)
	}
	return ""
}

// rank orders who goes first: Sentinels, then replicas, then the master, which needs a replica on a node that stays.
func (k *sentinelKeeper) rank(g *goal) (int, string) {
	m := k.st.Member(g.p.Ref.Name)
	switch {
	case m == nil && k.st.Sentinel(g.p.Ref.Name) != nil:
		if all := max(len(k.st.Sentinels), k.st.Spec.Watchers); 2*(all-1) <= all && !g.hurried(k.now) {
			return 0, fmt.Sprintf("without it %d of %d Sentinels would be left, which is no majority: run three or more", all-1, all)
		}
		return 0, ""
	case m == nil:
		return 0, "it was not asked yet"
	case m.Role == fleet.RoleMaster && g.hurried(k.now) && k.candidate(m) != nil:
		return -1, "" // the role first, within seconds
	case m.Role == fleet.RoleMaster:
		if !g.hurried(k.now) && k.candidate(m) == nil && slices.ContainsFunc(k.st.Members, func(o fleet.Member) bool { return o.Pod != m.Pod && !o.Temp }) {
			if m := k.unelectable(); m != nil {
				return 0, fmt.Sprintf("it is the master, and replica %s has replica-priority 0, so that it is never chosen; set it to 100 (CONFIG SET replica-priority) for the time", m.Pod.Name)
			}
			if k.best(m, func(*fleet.Member) bool { return true }) == nil {
				return 0, "it is the master, and no replica that could take its role is in sync"
			}
			return soft, "" // the role would go to a pod that has to leave, too
		}
		return 2, ""
	}
	return 1, ""
}

// unelectable is a replica in sync on a node that stays which nobody would choose.
func (k *sentinelKeeper) unelectable() *fleet.Member {
	for i := range k.st.Members {
		if m := &k.st.Members[i]; synced(m) && !m.Temp && m.Priority == 0 && !k.away(m.Node) {
			return m
		}
	}
	return nil
}

func (k *sentinelKeeper) carry() {
	if k.mend() {
		return
	}
	address, _ := k.named()
	master := k.st.At(address)
	if k.locked(master) || k.handOverFirst(master) {
		return
	}
	if g := k.subject(); g != nil {
		if w := k.st.Sentinel(g.p.Ref.Name); w != nil {
			k.moveSentinel(g)
			return
		}
		me := k.st.Member(g.p.Ref.Name)
		switch {
		case me == nil:
			k.wait("it was not asked yet")
		case g.p.Terminating:
			k.wait("%s", k.absent(g.p.Ref.Name))
		case me == master:
			k.handOver(g, me)
		default:
			k.moveReplica(g, me, master)
		}
		return
	}
	k.settle(master)
}

// mend brings the store back to one master that the Sentinels name; nothing else happens before. It reports whether something is still to be done or awaited.
func (k *sentinelKeeper) mend() bool {
	address, unsure := k.named()
	if unsure != "" {
		k.wait("%s", unsure)
		return true
	}
	for i := range k.st.Sentinels {
		if w := &k.st.Sentinels[i]; w.Trouble == "" && w.Failover {
			k.wait("Sentinel %s says that a failover is in progress", w.Pod.Name)
			return true
		}
	}
	master := k.st.At(address)
	switch {
	case master == nil:
		k.wait("its Sentinels name %s as the master, and no pod has that address; they elect another when it has been down for long enough%s", address, k.lastCopy())
		return true
	case master.Trouble != "":
		k.wait("the master %s does not answer: %s%s", master.Pod.Name, master.Trouble, k.lastCopy())
		return true
	case master.Role != fleet.RoleMaster:
		k.wait("its Sentinels name %s as the master, which still says that it is a replica", master.Pod.Name)
		return true
	}
	for i := range k.st.Members {
		if m := &k.st.Members[i]; m != master && m.Trouble == "" && m.Role == fleet.RoleMaster && k.unseat(m, master) {
			return true
		}
	}
	return false
}

// handOverFirst hands the role over when its machine goes soon and a replica stands by elsewhere, whoever is being moved.
func (k *sentinelKeeper) handOverFirst(master *fleet.Member) bool {
	for i := range k.goals {
		g := &k.goals[i]
		if g.p.Ref.UID != master.Pod.UID || !g.hurried(k.now) || g.p.Terminating {
			continue
		}
		if to := k.candidate(master); to != nil {
			k.switchTo(master, to)
			return true
		}
	}
	return false
}

// calm tells whether every Sentinel answers, takes a member for the master and makes no other one, and no other says that it is: while a role is on its
// way, the fence is what keeps the old master from acknowledging anything.
func (k *sentinelKeeper) calm(master *fleet.Member) bool {
	return k.silent() == nil && !slices.ContainsFunc(k.st.Sentinels, func(w fleet.Sentinel) bool { return k.st.At(w.Master) != master }) &&
		!slices.ContainsFunc(k.st.Members, func(m fleet.Member) bool { return m.Pod != master.Pod && m.Trouble == "" && m.Role == fleet.RoleMaster })
}

// locked takes a fence off a master that has fewer replicas than it asks for: it refuses every write. It reports whether it did.
func (k *sentinelKeeper) locked(master *fleet.Member) bool {
	before := k.prior(master).Fence
	if master.Fence == before || good(master) >= master.Fence.Replicas || !k.calm(master) {
		return false
	}
	if g := k.goalOf(master); g != nil && g.hurried(k.now) && !g.p.Terminating && k.candidate(master) != nil {
		return false // it hands its role over in this moment
	}
	k.do(fleet.Action{Verb: fleet.Fence_, Pod: master.Pod, Node: master.Node, Fence: before, Why: "it has too few replicas for its fence, and refuses writes"})
	return true
}

// lastCopy says what a person must know when nobody could be elected.
func (k *sentinelKeeper) lastCopy() string {
	for i := range k.st.Members {
		switch m := &k.st.Members[i]; {
		case m.Trouble != "" || m.Role != fleet.RoleReplica:
		case m.Priority > 0:
			return ""
		default:
			return fmt.Sprintf("; only %s has a copy, and no Sentinel may elect it (replica-priority 0): a person has to decide whether to wait, or to make it the master (REPLICAOF NO ONE there, then SENTINEL REMOVE and MONITOR)", m.Pod)
		}
	}
	return "; no other pod has a copy: a person has to decide whether to wait for it, or to make an empty one the master (REPLICAOF NO ONE there, then SENTINEL REMOVE and MONITOR)"
}

// unseat makes a second master a replica of the one that is named: when it is empty, or nothing was acknowledged there that the other does not have.
// It reports whether anything else has to wait.
func (k *sentinelKeeper) unseat(m, master *fleet.Member) bool {
	a := fleet.Action{Verb: fleet.Attach, Pod: m.Pod, Node: m.Node, Peer: master.Pod, Why: "it came up as a master that nobody named"}
	switch {
	case k.going(m):
		return false // Redis says goodbye, and kubelet takes it
	case m.Temp && m.Keys == 0 && len(m.Replicas) == 0:
		if a.Why = "the temporary pod becomes a replica"; len(k.rest(master)) > 0 {
			a.Effect = fleet.Unelected
		}
	case len(m.Replicas) == 0 && m.Keys == 0:
	case !m.Ahead(master), k.fencedBefore(m) && m.History == master.History2:
		if w := k.silent(); w != nil {
			k.wait("pods %s and %s both say that they are the master, and Sentinel %s does not say what it is doing: %s", master.Pod.Name, m.Pod.Name, w.Pod.Name, cmp.Or(w.Trouble, "a failover"))
			return true
		}
		a.Verb, a.Why = fleet.Demote, "the role was handed over, and it has not heard"
	default:
		k.wait("pods %s and %s both took writes as the master, and the Sentinels name %s: a person has to compare their data, save what only %s has, then make it a replica (REPLICAOF)", master.Pod.Name, m.Pod.Name, master.Pod.Name, m.Pod.Name)
		if m.Fence.Replicas < 1 {
			k.do(fleet.Action{Verb: fleet.Fence_, Pod: m.Pod, Node: m.Node, Fence: fleet.Fence{Replicas: 1, Lag: frozenLag}, Why: "it takes no more writes until a person has decided"})
		}
		return true
	}
	k.do(a)
	return true
}

// silent is a Sentinel that may be doing what nobody knows; nil when there is none.
func (k *sentinelKeeper) silent() *fleet.Sentinel {
	for i := range k.st.Sentinels {
		if w := &k.st.Sentinels[i]; w.Trouble != "" || w.Failover {
			return w
		}
	}
	return nil
}

// fencedBefore tells whether drover had fenced a master before its role went: nothing was acknowledged there since.
func (k *sentinelKeeper) fencedBefore(m *fleet.Member) bool {
	before, known := k.st.Move.Before(m.Pod.Name)
	return known && m.Fence != before.Fence && m.Fence.Lag == fenceLag && m.Fence.Replicas > good(m)
}

// rest are the replicas that stay in their own pods.
func (k *sentinelKeeper) rest(master *fleet.Member) []*fleet.Member {
	var out []*fleet.Member
	for i := range k.st.Members {
		if m := &k.st.Members[i]; m != master && !m.Temp {
			out = append(out, m)
		}
	}
	return out
}

// good counts the replicas that a master hears from.
func good(m *fleet.Member) int {
	n := 0
	for _, r := range m.Replicas {
		if heardOf(r) {
			n++
		}
	}
	return n
}

// candidate is the replica that takes the role: in sync, on a node that stays, or at least on one that nobody empties now; nil when there is none.
func (k *sentinelKeeper) candidate(master *fleet.Member) *fleet.Member {
	if m := k.best(master, func(m *fleet.Member) bool { return !k.away(m.Node) }); m != nil {
		return m
	}
	return k.best(master, k.left)
}

// follows tells whether a replica is the master's, by both their words.
func (k *sentinelKeeper) follows(m, master *fleet.Member) bool {
	if k.st.At(m.Master) != master || good(master) == 0 {
		return false
	}
	for _, r := range master.Replicas {
		if k.st.At(r.Address) == m {
			return heardOf(r)
		}
	}
	return true // under an address that nobody knows
}

func heardOf(r fleet.Replica) bool { return r.Online && r.Lag <= fenceLag*time.Second }

func (k *sentinelKeeper) best(master *fleet.Member, fits func(*fleet.Member) bool) *fleet.Member {
	var best *fleet.Member
	for i := range k.st.Members {
		m := &k.st.Members[i]
		if m == master || !synced(m) || k.going(m) || !fits(m) || m.Priority == 0 || !k.follows(m, master) {
			continue
		}
		if best == nil || best.Temp && !m.Temp || best.Temp == m.Temp && m.Priority < best.Priority { // not by offset: they are read one after the other
			best = m
		}
	}
	return best
}

// handOver hands the role of master over, so that the pod can move as a replica.
func (k *sentinelKeeper) handOver(g *goal, me *fleet.Member) {
	to := k.candidate(me)
	if to == nil {
		to = k.best(me, func(m *fleet.Member) bool { return !g.hurried(k.now) && !k.patient || k.outlives(m, g) })
	}
	switch m := k.st.Move; {
	case to == nil:
		k.findCandidate(g, me)
	case !m.Home && m.Switched.IsZero():
		k.engage(m, "it got the role meanwhile, and hands it over", func(m *fleet.StoreMove) { m.Switched, m.Switches = k.now, m.Switches+1 })
	default:
		k.switchTo(me, to)
	}
}

// switchTo takes the next step of handing the role from one member to another.
func (k *sentinelKeeper) switchTo(from, to *fleet.Member) {
	if why := k.watched(""); why != "" {
		k.unfence(from, why)
		return
	}
	if why := k.preferred(from, to); why != "" {
		k.wait("%s", why)
		return
	}
	need := fleet.Fence{Replicas: max(1, len(from.Replicas), k.prior(from).Fence.Replicas), Lag: fenceLag}
	if g := k.goalOf(from); good(from) < need.Replicas && !(g != nil && g.hurried(k.now)) { // a fence would refuse every write; in haste that is better than losing some
		k.unfence(from, fmt.Sprintf("%s hears from %d of %s in time", from.Pod.Name, good(from), plural(need.Replicas, "replica", "replicas")))
		return
	}
	if from.Fence != need {
		k.do(fleet.Action{Verb: fleet.Fence_, Pod: from.Pod, Node: from.Node, Fence: need, Why: "whatever happens from here, no write is acknowledged that only it has"})
		return
	}
	k.do(fleet.Action{Verb: fleet.Switch, Pod: from.Pod, Node: from.Node, Peer: to.Pod, Why: "the pod with the role has to leave, or the role goes home"})
}

// preferred has the Sentinels choose the right replica, where they have a choice. It returns what is awaited for that.
func (k *sentinelKeeper) preferred(from, to *fleet.Member) string {
	for i := range k.st.Members {
		m := &k.st.Members[i]
		if m == from || m == to || m.Trouble != "" || m.Priority == 0 || m.Priority > to.Priority {
			continue
		}
		if to.Priority != 1 {
			k.do(fleet.Action{Verb: fleet.Prefer, Pod: to.Pod, Node: to.Node, To: 1, Why: "the Sentinels are to choose it"})
			return "the Sentinels are to prefer " + to.Pod.Name
		}
		k.do(fleet.Action{Verb: fleet.Prefer, Pod: m.Pod, Node: m.Node, To: 100, Why: "the Sentinels are to choose " + to.Pod.Name})
		return "the Sentinels are to prefer " + to.Pod.Name
	}
	if to.Priority == k.prior(to).Priority {
		return ""
	}
	for i := range k.st.Sentinels {
		w := &k.st.Sentinels[i]
		for _, l := range w.Replicas {
			if k.st.At(l.Address) == to && l.Prio != to.Priority {
				return fmt.Sprintf("Sentinel %s has to hear that %s is preferred", w.Pod.Name, to.Pod.Name)
			}
		}
	}
	return ""
}

// prior is how a member was set before the move.
func (k *sentinelKeeper) prior(m *fleet.Member) fleet.Setting {
	if s, ok := k.st.Move.Before(m.Pod.Name); ok {
		return s
	}
	if m.Temp {
		return fleet.Setting{Fence: fleet.Fence{Lag: usualLag}, Priority: m.Priority}
	}
	return settingOf(m)
}

// unfence takes the fence off a master whose role cannot be handed over now: without its replicas it would refuse every write.
func (k *sentinelKeeper) unfence(m *fleet.Member, why string) {
	k.wait("%s", why)
	if before := k.prior(m).Fence; m.Fence != before && k.calm(m) {
		k.do(fleet.Action{Verb: fleet.Fence_, Pod: m.Pod, Node: m.Node, Fence: before, Why: "its role is not handed over now: " + why})
	}
}

// findCandidate waits for a replica to hand the role to, or has one made where there is none.
func (k *sentinelKeeper) findCandidate(g *goal, me *fleet.Member) {
	others := k.rest(me)
	switch t := k.temp(); {
	case k.unelectable() != nil:
		k.unfence(me, fmt.Sprintf("replica %s has replica-priority 0, so that it is never chosen; set it to 100 (CONFIG SET replica-priority) for the time", k.unelectable().Pod.Name))
	case len(others) > 0:
		k.unfence(me, fmt.Sprintf("replica %s is to be in sync, on a node that stays", others[0].Pod.Name))
	case k.st.Spec.Replicas > 1:
		k.unfence(me, "its replica is to run again")
	case t == nil:
		k.unfence(me, "it has no replica")
		k.lend("the master has no replica that could take its role")
	case t.Trouble != "":
		k.unfence(me, fmt.Sprintf("temporary pod %s: %s", t.Pod.Name, t.Trouble))
	default:
		k.unfence(me, fmt.Sprintf("temporary pod %s is to be in sync", t.Pod.Name))
	}
}

// moveReplica lets a replica go, when the master keeps enough of them.
func (k *sentinelKeeper) moveReplica(g *goal, me, master *fleet.Member) {
	if me.Trouble == "" {
		if before := k.prior(me).Fence; me.Fence != before {
			k.do(fleet.Action{Verb: fleet.Fence_, Pod: me.Pod, Node: me.Node, Fence: before, Why: "it is a replica now"})
			return
		}
		if k.st.Move.Home && !synced(me) && !g.hurried(k.now) {
			k.wait("it becomes a replica of %s", master.Pod.Name)
			return
		}
	}
	if !k.lingers(g) {
		return
	}
	if why := unsettled(me); why != "" && !g.hurried(k.now) {
		k.wait("%s", why)
		return
	}
	if !k.copies(g, me, master) || !k.whole(g, me, master) {
		return
	}
	k.free(g)
}

// copies tells whether the master keeps the replicas that it needs when one goes; a temporary one is made where it does not.
func (k *sentinelKeeper) copies(g *goal, me, master *fleet.Member) bool {
	need := max(master.Fence.Replicas, k.prior(master).Fence.Replicas, k.st.Spec.Floor)
	have := 0
	for i := range k.st.Members {
		if m := &k.st.Members[i]; m != me && m != master && synced(m) && !k.going(m) {
			have++
		}
	}
	if have >= need || g.hurried(k.now) {
		return true
	}
	t := k.temp()
	switch {
	case t == nil:
		k.lend(fmt.Sprintf("without %s the master would have %s, and needs %d", me.Pod.Name, plural(have, "replica", "replicas"), need))
	case t.Trouble != "":
		k.wait("temporary pod %s: %s", t.Pod.Name, t.Trouble)
	default:
		k.wait("temporary pod %s is to be in sync", t.Pod.Name)
	}
	return false
}

// moveSentinel lets a Sentinel go while the others can do without it.
func (k *sentinelKeeper) moveSentinel(g *goal) {
	if g.p.Terminating {
		k.wait("%s", k.absent(g.p.Ref.Name))
		return
	}
	if why := k.watched(g.p.Ref.Name); why != "" && !g.hurried(k.now) {
		k.wait("%s", why)
		return
	}
	k.free(g)
}

// settle sees to it that everything is as before once the pod has left, or need not any more.
func (k *sentinelKeeper) settle(master *fleet.Member) {
	m := k.st.Move
	if !k.back(master) {
		return
	}
	if t := k.temp(); t != nil && t != master { // before the Sentinels forget who is gone: then they forget it too
		k.removeTemp(t)
		return
	}
	if !k.refresh(master) {
		return
	}
	me := k.st.Member(m.Pod.Name)
	if me != nil && me != master && k.goesHome(me, master) {
		k.switchTo(master, me)
		return
	}
	if !k.restore() {
		return
	}
	if why := k.unsound(); why != "" && !k.hurry() {
		k.wait("%s", why)
		return
	}
	k.end()
}

// back tells whether the pod runs again, with all the data.
func (k *sentinelKeeper) back(master *fleet.Member) bool {
	name := k.st.Move.Pod.Name
	if k.renamed() {
		return true
	}
	if w := k.st.Sentinel(name); w != nil {
		if k.ends(w.Pod, w.Leaving) {
			k.wait("%s", k.absent(name))
			return false
		}
		if w.Trouble != "" || !w.Ready {
			k.wait("Sentinel %s is back and not ready yet%s", name, colon(w.Trouble))
			return false
		}
		return true
	}
	switch me := k.st.Member(name); {
	case me == nil || k.going(me):
		k.wait("%s", k.absent(name))
	case me.Trouble != "":
		k.wait("it runs on %s and does not answer yet: %s", me.Node, me.Trouble)
	case me != master && me.Role == fleet.RoleReplica && k.st.At(me.Master) != master:
		k.wait("it follows %s, and the master is %s: the Sentinels put that right, or a person (REPLICAOF)", me.Master, master.Pod.Name)
	case me != master && !synced(me):
		k.wait("it gets its data from %s", master.Pod.Name)
	case !me.Ready:
		k.wait("it runs on %s and is not ready yet", me.Node)
	default:
		return true
	}
	return false
}

// renamed tells whether a Sentinel that was moved has a successor of another name, as a Deployment's pods have.
func (k *sentinelKeeper) renamed() bool {
	m := k.st.Move
	_, data := m.Before(m.Pod.Name)
	return !data && k.st.Member(m.Pod.Name) == nil && k.st.Sentinel(m.Pod.Name) == nil && k.pod(m.Pod.UID) == nil && k.st.Spec.Watchers > 0 &&
		len(k.st.Sentinels) >= k.st.Spec.Watchers && !slices.ContainsFunc(k.st.Sentinels, func(w fleet.Sentinel) bool { return !w.Ready || w.Trouble != "" })
}

func colon(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// goesHome tells whether the role goes back to the pod that had it: always from a temporary one.
func (k *sentinelKeeper) goesHome(me, master *fleet.Member) bool {
	if master.Temp {
		return true
	}
	if !k.st.Move.Home || k.away(me.Node) {
		return false
	}
	switch k.st.Spec.Failback {
	case fleet.FailbackNever:
		return false
	case fleet.FailbackAlways:
		return true
	}
	return me.Pinned && master.Pinned
}

// refresh has every Sentinel know exactly those that are there: one after the other forgets what it has heard, while the others watch. A stale address is
// dangerous: whatever Redis answers there next is made a replica, and loses its data.
func (k *sentinelKeeper) refresh(master *fleet.Member) bool {
	stale := -1
	for i := range k.st.Sentinels {
		w := &k.st.Sentinels[i]
		if w.Trouble != "" {
			k.wait("Sentinel %s: %s", w.Pod.Name, w.Trouble)
			return false
		}
		if why := k.blind(w, master); why != "" {
			k.wait("Sentinel %s has yet to hear of %s", w.Pod.Name, why)
			return false
		}
		if stale < 0 && k.staleEntry(w) != "" {
			stale = i
		}
	}
	if stale < 0 {
		return true
	}
	w := &k.st.Sentinels[stale]
	why := k.watched(w.Pod.Name)
	seen := slices.ContainsFunc(k.st.Members, func(m fleet.Member) bool { return synced(&m) })
	for i := range k.st.Sentinels {
		if o := &k.st.Sentinels[i]; seen && why == "" && o != w && len(o.Replicas) > 0 && !slices.ContainsFunc(o.Replicas, func(l fleet.Listed) bool { return !l.Down && k.st.At(l.Address) != nil }) {
			why = fmt.Sprintf("Sentinel %s has to see a replica that is up", o.Pod.Name)
		}
	}
	if why != "" {
		k.wait("before Sentinel %s may forget %s: %s", w.Pod.Name, k.staleEntry(w), why)
		return false
	}
	k.do(fleet.Action{Verb: fleet.Reset, Pod: w.Pod, Node: w.Node, Why: "it still lists " + k.staleEntry(w) + ", where nobody of this store is any more"})
	return false
}

// blind names whom a Sentinel does not know; "" when it knows all.
func (k *sentinelKeeper) blind(w *fleet.Sentinel, master *fleet.Member) string {
	for i := range k.st.Members {
		m := &k.st.Members[i]
		if m == master || k.going(m) {
			continue
		}
		if !slices.ContainsFunc(w.Replicas, func(l fleet.Listed) bool { return k.st.At(l.Address) == m }) {
			return "replica " + m.Pod.Name
		}
	}
	for i := range k.st.Sentinels {
		if o := &k.st.Sentinels[i]; o != w && o.Trouble == "" && k.blindTo(w, o) {
			return "Sentinel " + o.Pod.Name
		}
	}
	return ""
}

// blindTo tells whether a Sentinel does not know another.
func (k *sentinelKeeper) blindTo(w, o *fleet.Sentinel) bool {
	return !slices.ContainsFunc(w.Peers, func(l fleet.Listed) bool {
		return slices.Contains(o.Known, l.Address) && (l.ID == "" || o.ID == "" || l.ID == o.ID)
	})
}

// staleEntry is an address that a Sentinel lists and nobody has; "" when there is none.
func (k *sentinelKeeper) staleEntry(w *fleet.Sentinel) string {
	for _, l := range w.Replicas {
		if k.st.At(l.Address) == nil && !k.fed(l.Address) {
			return "replica " + l.Address
		}
	}
	for _, l := range w.Peers {
		i := slices.IndexFunc(k.st.Sentinels, func(o fleet.Sentinel) bool { return slices.Contains(o.Known, l.Address) })
		if i < 0 || l.ID != "" && k.st.Sentinels[i].ID != "" && l.ID != k.st.Sentinels[i].ID {
			return "Sentinel " + l.Address
		}
	}
	return ""
}

// fed tells whether the master feeds a replica at an address: then somebody is there, if nobody of this store.
func (k *sentinelKeeper) fed(address string) bool {
	for i := range k.st.Members {
		if slices.ContainsFunc(k.st.Members[i].Replicas, func(r fleet.Replica) bool { return r.Online && r.Address == address && r.Lag < feeding }) {
			return true
		}
	}
	return false
}

// restore puts every setting back, and tells whether all are.
func (k *sentinelKeeper) restore() bool {
	done := true
	for i := range k.st.Members {
		m := &k.st.Members[i]
		before, ok := k.st.Move.Before(m.Pod.Name)
		if !ok {
			continue
		}
		if m.Trouble != "" {
			k.wait("how pod %s was set is put back when it answers: %s", m.Pod.Name, m.Trouble)
			done = false
			continue
		}
		if m.Fence != before.Fence {
			k.do(fleet.Action{Verb: fleet.Fence_, Pod: m.Pod, Node: m.Node, Fence: before.Fence, Why: "as it was before"})
			done = false
		}
		if m.Priority != before.Priority {
			k.do(fleet.Action{Verb: fleet.Prefer, Pod: m.Pod, Node: m.Node, To: before.Priority, Why: "as it was before"})
			done = false
		}
	}
	return done
}
