package evac

import (
	"cmp"
	"slices"
	"time"

	"drover.dev/fleet"
)

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
