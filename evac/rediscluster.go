package evac

import (
	"cmp"
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

// strangers are nodes that members know and no pod is.
func (k *clusterKeeper) strangers() []fleet.Peer {
	var out []fleet.Peer
	for _, m := range k.answering("") {
		for _, p := range m.View {
			if k.owner[p.ID] == nil && p.Slots == 0 && !slices.ContainsFunc(out, func(o fleet.Peer) bool { return o.ID == p.ID }) {
				out = append(out, p)
			}
		}
	}
	return out
}

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

// settle sees to it that everything is as before once the pod has left, or need not any more.
func (k *clusterKeeper) settle() {
	m := k.st.Move
	if why := k.rebuild(); why != "" {
		k.wait("%s", why)
		return
	}
	if slices.ContainsFunc(k.acts, func(a fleet.Action) bool { return a.Verb != fleet.Failover }) {
		return
	}
	me := k.st.Member(m.Pod.Name)
	if from := k.holder(me); from != nil && (from.Temp || k.st.Spec.Failback == fleet.FailbackAlways && m.Home) {
		if why := k.discord(""); why != "" {
			k.wait("%s", why)
			return
		}
		k.failover(me, from, "the slots go home")
		return
	}
	if t := k.temp(); t != nil {
		k.dismiss(t)
		return
	}
	if !k.forget() {
		return
	}
	if !k.restore() {
		return
	}
	if why := k.discord(""); why != "" {
		k.wait("%s", why)
		return
	}
	k.rest()
}

// holder is the master that a member is a replica of; nil when it is none.
func (k *clusterKeeper) holder(me *fleet.Member) *fleet.Member {
	p := selfOf(me)
	if p == nil {
		return nil
	}
	return k.owner[p.Of]
}

// rebuilt says what is missing until a pod is a member in sync again, without asking for anything.
func (k *clusterKeeper) rebuilt(m *fleet.StoreMove) string {
	me := k.st.Member(m.Pod.Name)
	switch {
	case me == nil:
		return k.absent(m.Pod.Name) + k.uncovered()
	case k.going(me):
		return k.absent(m.Pod.Name)
	case me.Trouble != "":
		return fmt.Sprintf("it runs on %s and does not answer yet: %s%s", me.Node, me.Trouble, k.uncovered())
	}
	return ""
}

// uncovered says what a person has to know when a shard is without a master.
func (k *clusterKeeper) uncovered() string {
	for _, m := range k.answering("") {
		for i := range m.View {
			p := &m.View[i]
			if p.Slots == 0 || !p.Fail && k.owner[p.ID] != nil {
				continue
			}
			for _, r := range k.answering("") {
				if me := selfOf(r); me != nil && me.Of == p.ID {
					return fmt.Sprintf("; %s of failed node %s are not served, and replica %s (offset %d) was not elected: a person may have it take them, which loses what only the other had (drover promote %s --takeover)",
						plural(p.Slots, "slot", "slots"), short(p.ID), r.Pod.Name, r.Offset, r.Pod)
				}
			}
			return fmt.Sprintf("; %s of node %s are not served until it is back: no other pod has a copy", plural(p.Slots, "slot", "slots"), short(p.ID))
		}
	}
	return ""
}

// rebuild has the pod become a member in sync again, and says what it waits for; with actions instead, or neither when it is one.
func (k *clusterKeeper) rebuild() string {
	m := k.st.Move
	if why := k.rebuilt(m); why != "" {
		return why
	}
	me := k.st.Member(m.Pod.Name)
	friend := k.friend(me)
	if friend == nil {
		return "no other pod of the cluster answers"
	}
	if me.ID != m.ID && m.ID != "" && !ghost(m, m.ID) {
		k.engage(m, fmt.Sprintf("pod %s has lost its nodes.conf: it is a new node of the cluster", me.Pod.Name), func(c *fleet.StoreMove) {
			c.Ghosts = append(c.Ghosts, fleet.Ghost{ID: m.ID, At: k.now})
		})
		return ""
	}
	if why := k.known(me, friend); why != "" || len(k.acts) > 0 {
		return why
	}
	if p := selfOf(me); p == nil || p.Role == fleet.RoleMaster && p.Slots == 0 {
		to := k.shard(me)
		if to == nil {
			return "nobody knows which master it was a replica of; make it one (CLUSTER REPLICATE)"
		}
		k.do(fleet.Action{Verb: fleet.Replicate, Pod: me.Pod, Node: me.Node, Peer: to.Pod, Why: "it came back without a role"})
		return ""
	}
	if slotsOf(me) > 0 {
		return ""
	}
	from := k.holder(me)
	switch {
	case from == nil:
		return "its master is not there" + k.uncovered()
	case !synced(me):
		return "it gets its data from " + from.Pod.Name
	case k.unseen(me, from) != "":
		return fmt.Sprintf("%s is to see it as a replica of %s", k.unseen(me, from), from.Pod.Name)
	case !me.Ready:
		return fmt.Sprintf("it runs on %s and is not ready yet", me.Node)
	}
	return ""
}

// friend is a member that introduces another to the rest: a master with slots.
func (k *clusterKeeper) friend(me *fleet.Member) *fleet.Member {
	for i := range k.st.Members {
		if m := &k.st.Members[i]; m != me && m.Trouble == "" && slotsOf(m) > 0 && !k.going(m) {
			return m
		}
	}
	return nil
}

// known has every member know where a pod that came back is now. Gossip does that within seconds, as long as the pod finds somebody where it remembers them.
func (k *clusterKeeper) known(me, friend *fleet.Member) string {
	for i := range k.st.Members {
		o := &k.st.Members[i]
		if o == me || o.Trouble != "" || k.going(o) || outside(o) {
			continue
		}
		p, q := sees(o, me.ID), sees(me, o.ID)
		if p != nil && q != nil && !p.Meeting && !q.Meeting && !p.NoAddr && slices.Contains(me.Known, p.Address) {
			continue
		}
		if pod := k.pod(me.Pod.UID); pod != nil && k.now.Sub(pod.Created) > forgetful || me.ID != k.st.Move.ID {
			if !meeting(me, friend) && (p == nil || q == nil || !p.Meeting) {
				k.do(fleet.Action{Verb: fleet.Meet, Pod: me.Pod, Node: me.Node, Peer: friend.Pod, Why: "they do not find each other by themselves"})
				k.soon(k.now.Add(k.every))
				return ""
			}
		}
		return fmt.Sprintf("%s is to hear where %s is now", o.Pod.Name, me.Pod.Name)
	}
	return ""
}

// shard is the master of the shard that a pod was of: the temporary one, or whose replica the others take its old node for.
func (k *clusterKeeper) shard(me *fleet.Member) *fleet.Member {
	if t := k.temp(); t != nil && slotsOf(t) > 0 {
		return t
	}
	for _, o := range k.answering(me.Pod.Name) {
		if p := sees(o, k.st.Move.ID); p != nil && k.owner[p.Of] != nil {
			return k.owner[p.Of]
		}
	}
	return k.lonely()
}

// lonely is the one master that has fewer replicas than all others; nil when there is not one.
func (k *clusterKeeper) lonely() *fleet.Member {
	count := map[*fleet.Member]int{}
	var masters []*fleet.Member
	for i := range k.st.Members {
		m := &k.st.Members[i]
		if slotsOf(m) > 0 {
			masters = append(masters, m)
		} else if h := k.holder(m); h != nil {
			count[h]++
		}
	}
	slices.SortStableFunc(masters, func(a, b *fleet.Member) int { return count[a] - count[b] })
	if len(masters) == 0 || len(masters) > 1 && count[masters[0]] == count[masters[1]] {
		return nil
	}
	return masters[0]
}

func ghost(m *fleet.StoreMove, id string) bool {
	return slices.ContainsFunc(m.Ghosts, func(g fleet.Ghost) bool { return g.ID == id })
}

// written is when a node was written down to be forgotten.
func written(m *fleet.StoreMove, id string) time.Time {
	for _, g := range m.Ghosts {
		if g.ID == id {
			return g.At
		}
	}
	return time.Time{}
}

// dismiss has the temporary pod leave the cluster, be forgotten, and deleted. Its node is written down first: after it has left, it is another.
func (k *clusterKeeper) dismiss(t *fleet.Member) {
	m := k.st.Move
	known := slices.ContainsFunc(k.answering(""), func(o *fleet.Member) bool { return sees(o, t.ID) != nil })
	switch {
	case t.Trouble != "" || k.going(t):
	case slotsOf(t) > 0:
		k.wait("temporary pod %s owns slots still", t.Pod.Name)
		return
	case known && !ghost(m, t.ID):
		k.engage(m, "the temporary node is to be forgotten", func(c *fleet.StoreMove) { c.Ghosts = append(c.Ghosts, fleet.Ghost{ID: t.ID, At: k.now}) })
		return
	case len(t.View) > 1 || t.Role == fleet.RoleReplica:
		if end := written(m, t.ID).Add(cmp.Or(k.st.Spec.Linger, usualLinger)); k.now.Before(end) { // once it has left, it tells nobody where the slots are
			k.until(end, "clients of temporary pod %s follow the slots", t.Pod.Name)
			return
		}
		k.do(fleet.Action{Verb: fleet.Leave, Pod: t.Pod, Node: t.Node, Why: "it is not needed any more"})
		return
	}
	if k.forget() {
		k.removeTemp(t)
	}
}

// forget has every member forget the nodes that no pod is, and tells whether all have.
func (k *clusterKeeper) forget() bool {
	done, m := true, k.st.Move
	for _, p := range k.strangers() {
		switch {
		case p.Meeting:
			continue // a handshake with nobody, which ends by itself
		case ghost(m, p.ID):
		case slices.ContainsFunc(m.Prior, func(s fleet.Setting) bool { return s.ID == p.ID }):
			k.wait("node %s (%s) was a pod's when the move began, and that pod is away", short(p.ID), p.Address)
			return false
		case !p.Fail && !p.NoAddr:
			k.wait("node %s (%s) is no pod's: somebody who is to join, or to be forgotten by hand", short(p.ID), p.Address)
			return false
		case len(k.answering("")) < k.st.Spec.Replicas:
			k.wait("node %s (%s) is no pod's, and not every pod of the store answers", short(p.ID), p.Address)
			return false
		default: // a temporary pod that died
			k.engage(m, "a node that no pod is any more is to be forgotten", func(c *fleet.StoreMove) { c.Ghosts = append(c.Ghosts, fleet.Ghost{ID: p.ID, At: k.now}) })
			return false
		}
		k.do(fleet.Action{Verb: fleet.Disown, ID: p.ID, Why: "no pod is that node any more"})
		done = false
	}
	return done
}

// restore puts every setting back, and tells whether all are.
func (k *clusterKeeper) restore() bool {
	done := true
	for i := range k.st.Members {
		m := &k.st.Members[i]
		before, ok := k.st.Move.Before(m.Pod.Name)
		if ok && m.Trouble != "" {
			k.wait("how pod %s was set is put back when it answers: %s", m.Pod.Name, m.Trouble)
			done = false
		} else if ok && m.Migration != before.Migration {
			k.do(fleet.Action{Verb: fleet.Steady, Pod: m.Pod, Node: m.Node, To: map[bool]int{true: 1}[before.Migration], Why: "as it was before"})
			done = false
		}
	}
	return done
}

// rest ends the move when what was forgotten cannot come back any more. Another pod of the store need not wait for that.
func (k *clusterKeeper) rest() {
	m := k.st.Move
	for _, g := range m.Ghosts {
		if end := g.At.Add(banned); k.now.Before(end) {
			if len(k.goals) > 0 {
				k.begin()
				return
			}
			k.until(end, "looks again until %s after a node was forgotten, when it could come back", banned)
			return
		}
	}
	k.end()
}
