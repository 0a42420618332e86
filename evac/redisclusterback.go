package evac

import (
	"fmt"
	"slices"

	"drover.dev/fleet"
)

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
