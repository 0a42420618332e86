package main

import (
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// set adds the pods of a StatefulSet to the shop, the first on node at, the others on the next ones.
func set(s *fleet.Snapshot, name string, count, at int) []fleet.PodRef {
	o := fleet.Owner{Kind: "StatefulSet", Namespace: "shop", Name: name}
	s.Workloads = append(s.Workloads, fleet.Workload{Owner: o, Replicas: count})
	var out []fleet.PodRef
	for i := range count {
		p := pod(fmt.Sprintf("%s-%d", name, i), s.Nodes[(at+i)%3].Name)
		p.Owner, p.Budgets, p.IP = o, nil, fmt.Sprintf("10.0.%d.%d", len(s.Workloads), i)
		s.Pods = append(s.Pods, p)
		out = append(out, p.Ref)
	}
	return out
}

// addOrders gives the shop a Redis with a replica and three Sentinels, pinned as the roles of a chart's two StatefulSets are.
func addOrders(s *fleet.Snapshot) *fleet.Store {
	st := fleet.Store{
		Name: "shop/orders", Mover: fleet.SentinelMover, Source: "annotation of StatefulSet shop/orders-master", Confirmed: true, Read: s.Now,
		Spec: fleet.StoreSpec{Port: 6379, SentinelPort: 26379, Failback: fleet.FailbackIfPinned, Linger: 5 * time.Second, Replicas: 2, Watchers: 3},
	}
	master, replica := set(s, "orders-master", 1, 0)[0], set(s, "orders-replica", 1, 1)[0]
	st.Members = []fleet.Member{
		{Pod: master, Node: s.Nodes[0].Name, Known: []string{"m:6379"}, Pinned: true, Ready: true, RunID: "run-m", Role: fleet.RoleMaster, Priority: 100, Keys: 9, Offset: 4711,
			Replicas: []fleet.Replica{{Address: "r:6379", Online: true, Offset: 4711}}},
		{Pod: replica, Node: s.Nodes[1].Name, Known: []string{"r:6379"}, Pinned: true, Ready: true, RunID: "run-r", Role: fleet.RoleReplica, Master: "m:6379", Link: true, Priority: 100, Keys: 9, Offset: 4700},
	}
	for i, ref := range set(s, "orders-sentinel", 3, 0) {
		st.Sentinels = append(st.Sentinels, fleet.Sentinel{
			Pod: ref, Node: s.Nodes[i].Name, Known: []string{fmt.Sprintf("s%d:26379", i)}, Ready: true, ID: fmt.Sprintf("id-%d", i), Master: "m:6379", Quorum: 2,
			Replicas: []fleet.Listed{{Address: "r:6379", ID: "run-r", Prio: 100}},
		})
	}
	for i := range st.Sentinels {
		for j := range st.Sentinels {
			if i != j {
				st.Sentinels[i].Peers = append(st.Sentinels[i].Peers, fleet.Listed{Address: st.Sentinels[j].Known[0], ID: st.Sentinels[j].ID})
			}
		}
	}
	s.Stores = append(s.Stores, st)
	return &s.Stores[len(s.Stores)-1]
}

// addCache gives the shop a Redis Cluster of three masters with a replica each.
func addCache(s *fleet.Snapshot) *fleet.Store {
	st := fleet.Store{
		Name: "shop/cache", Mover: fleet.ClusterMover, Source: "policy caches", Confirmed: true, Read: s.Now,
		Spec: fleet.StoreSpec{Port: 6379, Failback: fleet.FailbackIfPinned, Linger: 5 * time.Second, Replicas: 6},
	}
	var all []fleet.Peer
	for i, ref := range slices.Concat(set(s, "cache-a", 3, 0), set(s, "cache-b", 3, 1)) {
		p := fleet.Peer{ID: fmt.Sprintf("%040d", i), Address: ref.Name + ":6379", Role: fleet.RoleMaster, Linked: true, Epoch: int64(i + 1), Slots: 5461}
		m := fleet.Member{Pod: ref, Node: s.Nodes[(i%3+i/3)%3].Name, Known: []string{p.Address}, Ready: true, RunID: "run-" + ref.Name, Role: fleet.RoleMaster, ID: p.ID, StateOK: true, Migration: true, Keys: 5, Offset: 100}
		if i >= 3 {
			p.Role, p.Of, p.Slots = fleet.RoleReplica, all[i-3].ID, 0
			m.Role, m.Master, m.Link = fleet.RoleReplica, all[i-3].Address, true
		}
		all, st.Members = append(all, p), append(st.Members, m)
	}
	for i := range st.Members {
		st.Members[i].View = slices.Clone(all)
		st.Members[i].View[i].Self = true
	}
	s.Stores = append(s.Stores, st)
	return &s.Stores[len(s.Stores)-1]
}

// begun notes a move of a pod of a store that a process began a while ago.
func begun(s *fleet.Snapshot, st *fleet.Store, pod, run string) *fleet.StoreMove {
	me := st.Member(pod)
	m := &fleet.StoreMove{Run: run, Pod: me.Pod, Node: me.Node, Why: "a person asked for it", Since: s.Now.Add(-130 * time.Second), ID: me.ID, Home: me.Role == fleet.RoleMaster, Idle: true}
	for i := range st.Members {
		x := &st.Members[i]
		m.Prior = append(m.Prior, fleet.Setting{Pod: x.Pod.Name, ID: x.ID, Fence: x.Fence, Priority: x.Priority, Migration: x.Migration})
	}
	st.Move = m
	return m
}
