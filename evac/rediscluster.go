package evac

import (
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// clusterKeeper moves pods of a Redis Cluster.
//
// A master hands its slots to a replica that stays, if every member of the cluster sees it as one. Without such a replica a temporary pod becomes
// one, takes the slots, and gives them back when the pod has been rebuilt on its own volume and is in sync; then it leaves, and every member forgets
// it, for good: what the others have not forgotten comes back by gossip. Slots are only ever handed over with their master's consent, which loses
// nothing. To take them without it is a person's decision (drover promote).
type clusterKeeper struct {
	*keeper
	owner map[string]*fleet.Member // by the id of a node: the live member that has it
}

func newClusterKeeper(k *keeper) *clusterKeeper {
	c := &clusterKeeper{keeper: k, owner: map[string]*fleet.Member{}}
	for i := range k.st.Members {
		if m := &k.st.Members[i]; m.ID != "" {
			c.owner[m.ID] = m
		}
	}
	return c
}

// slotsOf counts the slots that a member says it owns.
func slotsOf(m *fleet.Member) int {
	if me := selfOf(m); me != nil {
		return me.Slots
	}
	return 0
}

// selfOf is a member's entry of itself; nil when it said nothing.
func selfOf(m *fleet.Member) *fleet.Peer {
	i := slices.IndexFunc(m.View, func(p fleet.Peer) bool { return p.Self })
	if i < 0 {
		return nil
	}
	return &m.View[i]
}

// sees is how one member sees a node; nil when it does not know it.
func sees(m *fleet.Member, id string) *fleet.Peer {
	i := slices.IndexFunc(m.View, func(p fleet.Peer) bool { return p.ID == id })
	if i < 0 || id == "" {
		return nil
	}
	return &m.View[i]
}

// answering are the members that speak, the one of that name and the temporary one left out.
func (k *clusterKeeper) answering(but string) []*fleet.Member {
	var out []*fleet.Member
	for i := range k.st.Members {
		if m := &k.st.Members[i]; m.Trouble == "" && m.Pod.Name != but && !m.Temp {
			out = append(out, m)
		}
	}
	return out
}

// unsound says why nothing of the store may begin to move: the invariants of a cluster at rest.
func (k *clusterKeeper) unsound() string {
	for i := range k.st.Members {
		m := &k.st.Members[i]
		switch {
		case m.Trouble != "":
			return fmt.Sprintf("pod %s: %s", m.Pod.Name, m.Trouble)
		case k.going(m):
			return fmt.Sprintf("pod %s is shutting down", m.Pod.Name)
		case m.Temp && k.st.Move == nil:
			return fmt.Sprintf("pod %s is left from an earlier move; have the cluster forget it (CLUSTER FORGET %s, on every node), then delete it", m.Pod.Name, m.ID)
		case m.Role == fleet.RoleReplica && !synced(m):
			return fmt.Sprintf("replica %s is not in sync", m.Pod.Name)
		case m.SaveErr != "":
			return fmt.Sprintf("pod %s: %s", m.Pod.Name, m.SaveErr)
		}
	}
	if n := len(k.answering("")); n < k.st.Spec.Replicas {
		return fmt.Sprintf("%d of %s with data run", n, plural(k.st.Spec.Replicas, "pod", "pods"))
	}
	return k.discord("")
}

// discord says what the members do not agree on, or are in the middle of; the pod of that name is left out.
func (k *clusterKeeper) discord(but string) string {
	for _, m := range k.answering(but) {
		if !m.StateOK {
			return fmt.Sprintf("pod %s says that the cluster does not serve all slots", m.Pod.Name)
		}
		for i := range m.View {
			p := &m.View[i]
			at := k.owner[p.ID]
			switch {
			case p.Moving > 0:
				return fmt.Sprintf("pod %s says that %s on the move: a resharding is in progress, or was left half way (redis-cli --cluster fix)", m.Pod.Name, plural(p.Moving, "slot is", "slots are"))
			case at == nil && p.Slots > 0:
				return fmt.Sprintf("pod %s says that node %s (%s) owns %s, and no pod answers as that", m.Pod.Name, short(p.ID), p.Address, plural(p.Slots, "slot", "slots"))
			case at == nil || at.Pod.Name == but:
			case p.Fail || p.Doubt:
				return fmt.Sprintf("pod %s takes pod %s for failed", m.Pod.Name, at.Pod.Name)
			case p.Slots != slotsOf(at):
				return fmt.Sprintf("pods %s and %s do not agree on how many slots %s owns: %d or %d", m.Pod.Name, at.Pod.Name, at.Pod.Name, p.Slots, slotsOf(at))
			}
		}
	}
	return ""
}

func short(id string) string { return id[:min(8, len(id))] }

// rank orders who goes first: replicas, then masters, so that the replicas are on nodes that stay by then.
func (k *clusterKeeper) rank(g *goal) (int, string) {
	m := k.st.Member(g.p.Ref.Name)
	switch {
	case m == nil:
		return 0, "it was not asked yet"
	case m.Temp:
		return 0, "it is temporary, and leaves with the move that it is for"
	case slotsOf(m) > 0 && !g.hurried(k.now) && k.replicaLeaves(m):
		return soft, "" // by then it has moved, and no temporary pod is needed
	case slotsOf(m) > 0:
		return 1, ""
	}
	return 0, ""
}

// replicaLeaves tells whether all replicas of a master have to leave too.
func (k *clusterKeeper) replicaLeaves(master *fleet.Member) bool {
	leaves := false
	for i := range k.st.Members {
		m := &k.st.Members[i]
		if m.Temp || !k.replicates(m, master) {
			continue
		}
		if k.goalOf(m) == nil && synced(m) {
			return false
		}
		leaves = leaves || k.goalOf(m) != nil
	}
	return leaves
}

// handOverFirst hands the slots of every master over that has little time, all at once; rebuilding comes later. It reports whether it did.
func (k *clusterKeeper) handOverFirst() bool {
	acted := false
	for i := range k.goals {
		g := &k.goals[i]
		m := k.st.Member(g.p.Ref.Name)
		if m == nil || !g.hurried(k.now) || slotsOf(m) == 0 || g.p.Terminating {
			continue
		}
		if to := k.replica(m, g); to != nil {
			k.failover(to, m, g.why)
			acted = true
		}
	}
	return acted
}

func (k *clusterKeeper) failover(to, from *fleet.Member, why string) {
	k.do(fleet.Action{Verb: fleet.Failover, Pod: to.Pod, Node: to.Node, Peer: from.Pod, Why: why})
}

// replica is the replica that takes a master's slots: in sync, seen as its replica by everybody, on a node that stays (any node, in haste). A
// temporary one only when there is no other.
func (k *clusterKeeper) replica(master *fleet.Member, g *goal) *fleet.Member {
	var best *fleet.Member
	for i := range k.st.Members {
		m := &k.st.Members[i]
		if !synced(m) || !k.replicates(m, master) || k.unseen(m, master) != "" || k.going(m) {
			continue
		}
		stays := !k.away(m.Node)
		if !stays && !k.left(m) && !(g.hurried(k.now) && k.outlives(m, g)) {
			continue
		}
		if best == nil || stays && k.away(best.Node) || stays == !k.away(best.Node) && best.Temp && !m.Temp {
			best = m
		}
	}
	return best
}

// replicates tells whether a member says that it is a replica of another.
func (k *clusterKeeper) replicates(m, master *fleet.Member) bool {
	me := selfOf(m)
	return me != nil && master.ID != "" && me.Of == master.ID
}

// unseen names a member that does not see one as a replica of another yet; "" when all do.
func (k *clusterKeeper) unseen(m, master *fleet.Member) string {
	for i := range k.st.Members {
		o := &k.st.Members[i]
		if o.Trouble != "" || k.going(o) || outside(o) {
			continue
		}
		if p := sees(o, m.ID); p == nil || p.Of != master.ID || p.Meeting || p.Fail {
			return o.Pod.Name
		}
	}
	return ""
}

// outside tells whether a temporary pod is no node of the cluster: not yet, or not any more.
func outside(m *fleet.Member) bool { return m.Temp && len(m.View) <= 1 }

func (k *clusterKeeper) carry() {
	m := k.st.Move
	g := k.subject()
	if k.handOverFirst() && g != nil && slices.ContainsFunc(k.acts, func(a fleet.Action) bool { return a.Verb == fleet.Failover && a.Peer.UID == g.p.Ref.UID }) {
		return
	}
	if !(g != nil && g.hurried(k.now)) && k.steady() {
		return
	}
	if g == nil {
		k.settle()
		return
	}
	me := k.st.Member(m.Pod.Name)
	switch {
	case me == nil:
		k.wait("it was not asked yet")
	case g.p.Terminating:
		k.wait("%s", k.absent(m.Pod.Name))
	case me.Trouble != "":
		k.wait("pod %s: %s", me.Pod.Name, me.Trouble)
	case slotsOf(me) > 0:
		k.handOver(g, me)
	default:
		k.let(g, me)
	}
}

// steady keeps replicas from moving to other masters by themselves while one is away. It reports whether something is still to be said.
func (k *clusterKeeper) steady() bool {
	acted := false
	for i := range k.st.Members {
		if m := &k.st.Members[i]; m.Trouble == "" && m.Migration && !k.over() && !k.going(m) {
			k.do(fleet.Action{Verb: fleet.Steady, Pod: m.Pod, Node: m.Node, Why: "a master without a replica would get another master's"})
			acted = true
		}
	}
	return acted
}

// over tells whether nothing but settings is left to be put back: then they are not set again.
func (k *clusterKeeper) over() bool {
	m := k.st.Move
	return k.subject() == nil && k.temp() == nil && k.rebuilt(m) == ""
}

// handOver hands the slots over, to a temporary pod where nobody else can have them.
func (k *clusterKeeper) handOver(g *goal, me *fleet.Member) {
	if why := k.discord(""); why != "" && !g.hurried(k.now) {
		k.wait("%s", why)
		return
	}
	if to := k.replica(me, g); to != nil {
		if m := k.st.Move; !m.Switched.IsZero() { // it had handed them over before, and was elected again
			k.engage(m, "it hands its role over again", func(m *fleet.StoreMove) { m.Switched, m.Home = time.Time{}, true })
			return
		}
		k.failover(to, me, g.why)
		return
	}
	for i := range k.st.Members {
		m := &k.st.Members[i]
		if !m.Temp && k.replicates(m, me) && !k.away(m.Node) && !k.going(m) {
			why := k.unseen(m, me)
			if why != "" {
				why = ", and be seen so by " + why
			}
			k.wait("replica %s is to be in sync%s", m.Pod.Name, why)
			return
		}
	}
	k.tempFor(me, "no replica of the master is on a node that stays")
}

// tempFor takes the next step towards a temporary replica of a master, and tells whether it is one.
func (k *clusterKeeper) tempFor(master *fleet.Member, why string) bool {
	t := k.temp()
	switch {
	case t == nil:
		k.lend(why)
	case t.Trouble != "":
		k.wait("temporary pod %s: %s", t.Pod.Name, t.Trouble)
	case sees(master, t.ID) == nil || sees(t, master.ID) == nil:
		if meeting(t, master) {
			k.wait("temporary pod %s and %s get to know each other", t.Pod.Name, master.Pod.Name)
			return false
		}
		k.do(fleet.Action{Verb: fleet.Meet, Pod: t.Pod, Node: t.Node, Peer: master.Pod, Why: why})
	case !k.replicates(t, master):
		if who := k.stranger(t); who != "" {
			k.wait("%s and temporary pod %s are to know each other", who, t.Pod.Name)
			return false
		}
		k.do(fleet.Action{Verb: fleet.Replicate, Pod: t.Pod, Node: t.Node, Peer: master.Pod, Why: why})
	case !synced(t):
		k.wait("temporary pod %s gets the data of %s", t.Pod.Name, master.Pod.Name)
	case k.unseen(t, master) != "":
		k.wait("%s is to see temporary pod %s as a replica of %s", k.unseen(t, master), t.Pod.Name, master.Pod.Name)
	default:
		return true
	}
	return false
}

// meeting tells whether two nodes are introducing themselves: until that is over, a node has no id that the other knows.
func meeting(a, b *fleet.Member) bool {
	return slices.ContainsFunc(a.View, func(p fleet.Peer) bool { return p.Meeting && slices.Contains(b.Known, p.Address) }) ||
		slices.ContainsFunc(b.View, func(p fleet.Peer) bool { return p.Meeting && slices.Contains(a.Known, p.Address) })
}

// stranger names a member that does not know another yet, or is not known by it.
func (k *clusterKeeper) stranger(m *fleet.Member) string {
	for i := range k.st.Members {
		o := &k.st.Members[i]
		if o == m || o.Trouble != "" || k.going(o) {
			continue
		}
		if a, b := sees(o, m.ID), sees(m, o.ID); a == nil || b == nil || a.Meeting || b.Meeting {
			return o.Pod.Name
		}
	}
	return ""
}

// let lets a pod without slots go, when the shard keeps the copies that it needs.
func (k *clusterKeeper) let(g *goal, me *fleet.Member) {
	if why := k.discord(""); why != "" && !g.hurried(k.now) {
		k.wait("%s", why)
		return
	}
	var master *fleet.Member
	if p := selfOf(me); p != nil {
		master = k.owner[p.Of]
	}
	if k.st.Move.Home && !g.hurried(k.now) && !synced(me) {
		k.wait("it becomes a replica")
		return
	}
	if !k.lingers(g) {
		return
	}
	if why := unsettled(me); why != "" && !g.hurried(k.now) {
		k.wait("%s", why)
		return
	}
	if !k.whole(g, me, master) {
		return
	}
	if master != nil && !g.hurried(k.now) {
		have := 0
		for i := range k.st.Members {
			if m := &k.st.Members[i]; m != me && k.replicates(m, master) && synced(m) && !k.going(m) {
				have++
			}
		}
		if have < k.st.Spec.Floor && !k.tempFor(master, fmt.Sprintf("without %s the master %s would have %s, and %d are declared as the least (floor)", me.Pod.Name, master.Pod.Name, plural(have, "replica", "replicas"), k.st.Spec.Floor)) {
			return
		}
	}
	k.free(g)
}
