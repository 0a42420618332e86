package evac

import (
	"cmp"
	"fmt"
	"slices"

	"drover.dev/fleet"
)

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
