package evac

import (
	"fmt"
	"time"

	"drover.dev/fleet"
)

// unelectable is a replica in sync on a node that stays which nobody would choose.
func (k *sentinelKeeper) unelectable() *fleet.Member {
	for i := range k.st.Members {
		if m := &k.st.Members[i]; synced(m) && !m.Temp && m.Priority == 0 && !k.away(m.Node) {
			return m
		}
	}
	return nil
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
