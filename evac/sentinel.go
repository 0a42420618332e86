package evac

import (
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
