package env

import (
	"fmt"
	"slices"

	"drover.dev/fleet"
)

// storesWork waits for the data that pods of switched parts hold together. Pods come back with new addresses: the nodes of a Redis Cluster then know
// each other's old ones only, and are introduced to each other again.
func (t *turn) storesWork(chosen func(*fleet.PartRecord) bool) bool {
	all := true
	for i := range t.v.s.Stores {
		st := &t.v.s.Stores[i]
		if !st.Confirmed || st.Mover != fleet.ClusterMover && st.Mover != fleet.SentinelMover || !t.switched(st, chosen) {
			continue
		}
		t.out.Stores = append(t.out.Stores, st.Name)
		if why := t.storeLacks(st); why != "" {
			t.hold("store "+st.Name, "%s", why)
			all = all && t.v.s.Now.Sub(t.rec.Marks.Served) > t.within() // it may have been so before
		}
	}
	return all
}

// switched tells whether a store's data is in pods of chosen parts.
func (t *turn) switched(st *fleet.Store, chosen func(*fleet.PartRecord) bool) bool {
	return slices.ContainsFunc(st.Members, func(m fleet.Member) bool {
		r := t.rec.Part(t.v.ownerOf(m.Pod))
		return r != nil && chosen(r)
	})
}

// storeLacks says what a store lacks before those that need it can work.
func (t *turn) storeLacks(st *fleet.Store) string {
	switch {
	case st.Trouble != "":
		return st.Trouble
	case st.Read.IsZero():
		return "its members have not been asked yet"
	case st.Spec.Replicas > len(st.Members):
		return fmt.Sprintf("%d of its %d members are there", len(st.Members), st.Spec.Replicas)
	}
	for _, m := range st.Members {
		switch {
		case m.Trouble != "":
			return fmt.Sprintf("pod %s: %s", m.Pod, m.Trouble)
		case m.Loading:
			return fmt.Sprintf("pod %s reads its data", m.Pod)
		}
	}
	if st.Mover == fleet.ClusterMover {
		return t.clusterLacks(st)
	}
	masters := 0
	for _, m := range st.Members {
		switch {
		case m.Role == fleet.RoleMaster:
			masters++
		case !m.Link:
			return fmt.Sprintf("replica %s has no link to its master %s", m.Pod, m.Master)
		}
	}
	if masters != 1 {
		return fmt.Sprintf("%d of its %d members take themselves for the master", masters, len(st.Members))
	}
	return ""
}

// clusterLacks introduces members to the first one that does not know where they are.
func (t *turn) clusterLacks(st *fleet.Store) string {
	if len(st.Members) == 0 {
		return ""
	}
	first := &st.Members[0]
	apart := 0
	for i := 1; i < len(st.Members); i++ {
		if m := &st.Members[i]; !knows(first, m) {
			apart++
			t.do(fleet.Action{Verb: fleet.Meet, Store: st.Name, Pod: first.Pod, Peer: m.Pod, Why: "it knows that one's old address only"})
		}
	}
	if apart > 0 {
		return fmt.Sprintf("%s does not know the addresses of %d of its %d members", first.Pod, apart, len(st.Members))
	}
	for _, m := range st.Members {
		if !m.StateOK {
			return fmt.Sprintf("pod %s says that the cluster is not in order", m.Pod)
		}
	}
	return ""
}

// knows tells whether a cluster node is linked with another under an address that is that one's.
func knows(m, other *fleet.Member) bool {
	return slices.ContainsFunc(m.View, func(p fleet.Peer) bool {
		return p.ID == other.ID && p.Linked && !p.Meeting && !p.NoAddr && !p.Fail && slices.Contains(other.Known, p.Address)
	})
}
