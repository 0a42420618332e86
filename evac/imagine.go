package evac

import (
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// Times of stores in the optimistic world, as Redis 7 takes them for a small set of data.
const (
	syncTime   = 6 * time.Second // of which 5 s are Redis' own delay before a diskless copy
	gossipTime = 2 * time.Second
	maxIdle    = 60 // looks at stores in a row that change nothing: more is standing still
)

// lostMember is a pod of a store that is away.
type lostMember struct {
	store    string
	member   *fleet.Member
	sentinel *fleet.Sentinel
}

// imagine lets a store do what it is told, and reports whether that changed anything.
func (w *preview) imagine(a fleet.Action) bool {
	st := w.s.Store(a.Store)
	if st == nil {
		return false
	}
	if w.ix != nil {
		w.ix.stores = nil
	}
	me, peer := st.Member(a.Pod.Name), st.Member(a.Peer.Name)
	switch a.Verb {
	case fleet.Lend:
		return w.lendPod(st, a)
	case fleet.Unlend:
		w.drop(a.Pod.UID)
		return true
	case fleet.Disown:
		changed := false
		for i := range st.Members {
			m := &st.Members[i]
			before := len(m.View)
			m.View = slices.DeleteFunc(m.View, func(p fleet.Peer) bool { return p.ID == a.ID })
			changed = changed || len(m.View) < before
		}
		return changed
	case fleet.Reset:
		if s := st.Sentinel(a.Pod.Name); s != nil {
			lists(st, s)
		}
		return true
	case fleet.Call:
		st.Move.Hooked = append(st.Move.Hooked, a.Hook)
		return true
	}
	if me == nil {
		return false
	}
	switch a.Verb {
	case fleet.Fence_:
		me.Fence = a.Fence
	case fleet.Steady:
		me.Migration = a.To == 1
	case fleet.Prefer:
		me.Priority = a.To
		for i := range st.Sentinels {
			lists(st, &st.Sentinels[i])
		}
	case fleet.Leave:
		me.ID, me.Role = me.ID+"-left", fleet.RoleMaster
		me.View = []fleet.Peer{{ID: me.ID, Self: true, Role: fleet.RoleMaster}}
	case fleet.Switch, fleet.Failover:
		if peer == nil {
			return false
		}
		if a.Verb == fleet.Failover {
			me, peer = peer, me
		}
		exchange(st, me, peer)
	case fleet.Meet:
		if w.meeting == a.Store {
			return false
		}
		w.meeting = a.Store
		w.after(gossipTime, func() {
			w.meeting = ""
			acquaint(w.s.Store(a.Store))
		})
	case fleet.Demote, fleet.Attach, fleet.Replicate:
		if peer == nil {
			return false
		}
		if a.Effect == fleet.Unelected {
			me.Priority = 0
		}
		w.follow(st, me, peer)
	}
	return true
}

// exchange has the master and one of its replicas change roles.
func exchange(st *fleet.Store, from, to *fleet.Member) {
	from.Role, from.Master, from.Link, from.Replicas = fleet.RoleReplica, to.Known[0], true, nil
	to.Role, to.Master, to.Link = fleet.RoleMaster, "", false
	for i := range st.Members {
		m := &st.Members[i]
		if m.Role == fleet.RoleReplica && m != from && st.At(m.Master) == from {
			m.Master = to.Known[0]
		}
		for j := range m.View {
			switch p := &m.View[j]; {
			case p.ID == to.ID:
				p.Role, p.Of = fleet.RoleMaster, ""
				if q := sees(m, from.ID); q != nil {
					p.Slots, q.Slots = q.Slots, 0
				}
			case p.ID == from.ID, p.Of == from.ID && from.ID != "":
				p.Role, p.Of = fleet.RoleReplica, to.ID
			}
		}
	}
	replicas(st)
	for i := range st.Sentinels {
		st.Sentinels[i].Master = to.Known[0]
		st.Sentinels[i].Replicas = slices.DeleteFunc(st.Sentinels[i].Replicas, func(l fleet.Listed) bool { return st.At(l.Address) == to })
		hear(st, &st.Sentinels[i])
	}
}

// replicas has every master list those that follow it.
func replicas(st *fleet.Store) {
	for i := range st.Members {
		st.Members[i].Replicas = nil
	}
	for i := range st.Members {
		if m := &st.Members[i]; m.Role == fleet.RoleReplica && m.Link {
			if to := st.At(m.Master); to != nil {
				to.Replicas = append(to.Replicas, fleet.Replica{Address: m.Known[0], Online: true})
			}
		}
	}
}

// follow makes a member a replica, in sync after a while.
func (w *preview) follow(st *fleet.Store, m, to *fleet.Member) {
	m.Role, m.Master, m.Link = fleet.RoleReplica, to.Known[0], false
	for i := range st.Members {
		if p := sees(&st.Members[i], m.ID); p != nil {
			p.Role, p.Of = fleet.RoleReplica, to.ID
		}
	}
	name, pod := st.Name, m.Pod.Name
	w.after(syncTime, func() {
		st := w.s.Store(name)
		if m := st.Member(pod); m != nil && m.Role == fleet.RoleReplica {
			m.Link = true
			replicas(st)
			for i := range st.Sentinels {
				hear(st, &st.Sentinels[i])
			}
		}
	})
}

// hear adds to a Sentinel's lists whom it does not know.
func hear(st *fleet.Store, s *fleet.Sentinel) {
	k := sentinelKeeper{&keeper{st: st, pod: func(string) *fleet.Pod { return nil }}}
	for i := range st.Members {
		m := &st.Members[i]
		if m.Role == fleet.RoleReplica && !slices.ContainsFunc(s.Replicas, func(l fleet.Listed) bool { return st.At(l.Address) == m }) {
			s.Replicas = append(s.Replicas, fleet.Listed{Address: m.Known[0], Prio: m.Priority})
		}
	}
	for i := range st.Sentinels {
		if o := &st.Sentinels[i]; o != s && k.blindTo(s, o) {
			s.Peers = append(s.Peers, fleet.Listed{Address: o.Known[0], ID: o.ID})
		}
	}
}

// lists makes a Sentinel's lists what is there.
func lists(st *fleet.Store, s *fleet.Sentinel) {
	s.Replicas, s.Peers = nil, nil
	hear(st, s)
}

// acquaint has everybody of a cluster know everybody.
func acquaint(st *fleet.Store) {
	if st == nil {
		return
	}
	for i := range st.Members {
		m := &st.Members[i]
		for j := range st.Members {
			o := &st.Members[j]
			self := selfOf(o)
			if o == m || o.ID == "" || self == nil || len(o.Known) == 0 || m.Trouble != "" || sees(m, o.ID) != nil {
				continue
			}
			p := *self
			p.Self, p.Address, p.Linked = false, o.Known[0], true
			m.View = append(m.View, p)
		}
	}
}

// lendPod adds the temporary pod.
func (w *preview) lendPod(st *fleet.Store, a fleet.Action) bool {
	like := w.pod(a.Pod.UID)
	if like == nil || st.Member(a.Peer.Name) != nil {
		return false
	}
	c := *like
	c.Ref = fleet.PodRef{Namespace: a.Peer.Namespace, Name: a.Peer.Name, UID: w.fresh("lent-%d", func(uid string) bool { return w.pod(uid) != nil })}
	c.Owner, c.Node, c.Ready, c.Budgets, c.Created, c.VolumeZones, c.OwnDisk = fleet.Owner{}, "", false, nil, w.s.Now, nil, false
	c.Labels, c.Apart, c.Together, c.Spread = nil, nil, nil, nil
	w.begin[c.Owner] = defaultStart
	m := fleet.Member{Pod: c.Ref, Temp: true, Trouble: "it starts", Role: fleet.RoleMaster, Priority: 100}
	if st.Mover == fleet.ClusterMover {
		m.ID = c.Ref.UID
		m.View = []fleet.Peer{{ID: m.ID, Self: true, Role: fleet.RoleMaster}}
		m.StateOK = true
	}
	st.Members = append(st.Members, m)
	slices.SortFunc(st.Members, func(a, b fleet.Member) int { return compareRefs(a.Pod, b.Pod) })
	w.insert(c)
	return true
}

func (w *preview) lost(ref fleet.PodRef, l lostMember) {
	if w.awayPods == nil {
		w.awayPods = map[string]lostMember{}
	}
	w.awayPods[ref.String()] = l
}

// left takes a pod that is gone out of its store.
func (w *preview) left(ref fleet.PodRef) {
	for i := range w.s.Stores {
		st := &w.s.Stores[i]
		if j := slices.IndexFunc(st.Members, func(m fleet.Member) bool { return m.Pod.UID == ref.UID }); j >= 0 {
			m := st.Members[j]
			if st.Members = slices.Delete(st.Members, j, j+1); !m.Temp {
				w.lost(ref, lostMember{store: st.Name, member: &m})
			}
			replicas(st)
		} else if j := slices.IndexFunc(st.Sentinels, func(s fleet.Sentinel) bool { return s.Pod.UID == ref.UID }); j >= 0 {
			s := st.Sentinels[j]
			st.Sentinels = slices.Delete(st.Sentinels, j, j+1)
			w.lost(ref, lostMember{store: st.Name, sentinel: &s})
		} else {
			continue
		}
		if w.ix != nil {
			w.ix.stores = nil
		}
		return
	}
}

// returned puts a pod that runs again back into its store, under a new address.
func (w *preview) returned(p *fleet.Pod) {
	if w.begun(p) {
		return
	}
	l, ok := w.awayPods[p.Ref.String()]
	st := w.s.Store(l.store)
	if !ok || st == nil {
		return
	}
	delete(w.awayPods, p.Ref.String())
	if w.ix != nil {
		w.ix.stores = nil
	}
	w.serial++
	address := fmt.Sprintf("new-%d:6379", w.serial)
	if l.sentinel != nil {
		s := *l.sentinel
		s.Pod, s.Node, s.Known, s.Ready, s.ID = p.Ref, p.Node, []string{address}, true, address
		st.Sentinels = append(st.Sentinels, s)
		slices.SortFunc(st.Sentinels, func(a, b fleet.Sentinel) int { return compareRefs(a.Pod, b.Pod) })
		lists(st, st.Sentinel(p.Ref.Name))
		for i := range st.Sentinels {
			hear(st, &st.Sentinels[i])
		}
		return
	}
	m := *l.member
	m.Pod, m.Node, m.Known, m.Ready, m.Replicas = p.Ref, p.Node, []string{address}, true, nil
	st.Members = append(st.Members, m)
	slices.SortFunc(st.Members, func(a, b fleet.Member) int { return compareRefs(a.Pod, b.Pod) })
	for i := range st.Members {
		if q := sees(&st.Members[i], m.ID); q != nil {
			q.Address = address
		}
	}
	me := st.Member(p.Ref.Name)
	if to := w.masterOf(st, me); to != nil {
		w.follow(st, me, to)
	}
}

// begun lets a temporary pod answer, and tells whether it is one: drover introduces it.
func (w *preview) begun(p *fleet.Pod) bool {
	for i := range w.s.Stores {
		m := w.s.Stores[i].Member(p.Ref.Name)
		if m == nil || m.Pod.UID != p.Ref.UID || !m.Temp {
			continue
		}
		w.serial++
		m.Trouble, m.Node, m.Ready, m.Known = "", p.Node, true, []string{fmt.Sprintf("new-%d:6379", w.serial)}
		return true
	}
	return false
}

// masterOf is whom a member that comes back replicates.
func (w *preview) masterOf(st *fleet.Store, me *fleet.Member) *fleet.Member {
	if st.Mover == fleet.ClusterMover {
		return newClusterKeeper(&keeper{st: st}).holder(me)
	}
	if len(st.Sentinels) == 0 {
		return nil
	}
	return st.At(st.Sentinels[0].Master)
}

func compareRefs(a, b fleet.PodRef) int {
	switch {
	case a.Name < b.Name:
		return -1
	case a.Name > b.Name:
		return 1
	}
	return 0
}
