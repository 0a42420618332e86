package evac

import (
	"fmt"
	"slices"

	"drover.dev/fleet"
)

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
	case me != master && me.Role == fleet.RoleReplica && k.st.At(me.Master) != nil && k.st.At(me.Master) != master:
		k.wait("it follows %s, and the master is %s: the Sentinels put that right, or a person (REPLICAOF)", me.Master, master.Pod.Name)
	case me != master && !synced(me) && !me.Link && !me.Syncing && !me.Loading && k.now.Sub(k.st.Move.Since) > patience:
		k.wait("its link to %s is down: does it have the master's password (masterauth), and is that the right address?", me.Master)
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
