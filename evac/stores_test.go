package evac

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

// pods adds the pods of a StatefulSet, one on each of the nodes.
func pods(s *fleet.Snapshot, name string, nodes ...string) []fleet.PodRef {
	o := fleet.Owner{Kind: "StatefulSet", Namespace: "shop", Name: name}
	s.Workloads = append(s.Workloads, fleet.Workload{Owner: o, Replicas: len(nodes)})
	var out []fleet.PodRef
	for i, node := range nodes {
		ref := fleet.PodRef{Namespace: "shop", Name: fmt.Sprintf("%s-%d", name, i), UID: fmt.Sprintf("uid-%s-%d", name, i)}
		s.Pods = append(s.Pods, fleet.Pod{
			Ref: ref, Owner: o, Node: node, Ready: true, Created: start.Add(-time.Hour), ReadySince: start.Add(-time.Hour), Grace: 10 * time.Second,
			Requests: fleet.Resources{CPU: 100, Memory: gib / 8, Pods: 1},
		})
		out = append(out, ref)
	}
	return out
}

// seed is the store as the write-up describes it: a master and a replica in StatefulSets of their own, three Sentinels.
func seed(s *fleet.Snapshot) *fleet.Store {
	st := fleet.Store{
		Name: "shop/orders", Mover: fleet.SentinelMover, Confirmed: true, Read: s.Now,
		Spec: fleet.StoreSpec{Port: 6379, SentinelPort: 26379, Failback: fleet.FailbackIfPinned, Linger: 5 * time.Second, Replicas: 2, Watchers: 3},
	}
	master, replica := pods(s, "redis-master", "node-0")[0], pods(s, "redis-replica", "node-1")[0]
	st.Members = []fleet.Member{
		{Pod: master, Node: "node-0", Known: []string{"m:6379"}, Pinned: true, Ready: true, RunID: "run-m", Role: fleet.RoleMaster, Priority: 100, Keys: 9, Offset: 100,
			Replicas: []fleet.Replica{{Address: "r:6379", Online: true, Offset: 100}}},
		{Pod: replica, Node: "node-1", Known: []string{"r:6379"}, Pinned: true, Ready: true, RunID: "run-r", Role: fleet.RoleReplica, Master: "m:6379", Link: true, Priority: 100, Keys: 9, Offset: 100},
	}
	for i, ref := range pods(s, "sentinel", "node-2", "node-3", "node-4") {
		st.Sentinels = append(st.Sentinels, fleet.Sentinel{
			Pod: ref, Node: fmt.Sprintf("node-%d", i+2), Known: []string{fmt.Sprintf("s%d:26379", i)}, Ready: true, ID: fmt.Sprintf("id-%d", i), Master: "m:6379", Quorum: 2,
		})
	}
	for i := range st.Sentinels {
		lists(&st, &st.Sentinels[i])
	}
	s.Stores = append(s.Stores, st)
	return &s.Stores[len(s.Stores)-1]
}

// ring is a Redis Cluster of three masters and as many replicas each as said, in two StatefulSets.
func ring(s *fleet.Snapshot, replicas int) *fleet.Store {
	st := fleet.Store{
		Name: "shop/cache", Mover: fleet.ClusterMover, Confirmed: true, Read: s.Now,
		Spec: fleet.StoreSpec{Port: 6379, Failback: fleet.FailbackIfPinned, Linger: 5 * time.Second, Replicas: 3 + 3*replicas},
	}
	add := func(ref fleet.PodRef, node string, of string) {
		id := "id-" + ref.Name
		m := fleet.Member{Pod: ref, Node: node, Known: []string{ref.Name + ":6379"}, Ready: true, Role: fleet.RoleMaster, ID: id, StateOK: true, Migration: true, Keys: 5}
		self := fleet.Peer{ID: id, Address: m.Known[0], Self: true, Role: fleet.RoleMaster, Slots: 5461}
		if of != "" {
			m.Role, m.Master, m.Link = fleet.RoleReplica, of+":6379", true
			self.Role, self.Of, self.Slots = fleet.RoleReplica, "id-"+of, 0
		}
		m.View = []fleet.Peer{self}
		st.Members = append(st.Members, m)
	}
	for i, ref := range pods(s, "ring-a", "node-0", "node-1", "node-2") {
		add(ref, fmt.Sprintf("node-%d", i), "")
	}
	if replicas > 0 {
		for i, ref := range pods(s, "ring-b", "node-3", "node-4", "node-5") {
			add(ref, fmt.Sprintf("node-%d", i+3), fmt.Sprintf("ring-a-%d", i))
		}
	}
	acquaint(&st)
	s.Stores = append(s.Stores, st)
	return &s.Stores[len(s.Stores)-1]
}

// told are a forecast's actions on a store, one a line.
func told(t *testing.T, s *fleet.Snapshot) string {
	t.Helper()
	p := rotation(t, s, Options{})
	if len(p.Forecast.Stuck) > 0 {
		t.Fatalf("stands still: %v", p.Forecast.Stuck)
	}
	var out []string
	for _, e := range p.Forecast.Events {
		if a := e.Action; a.Store != "" && a.Verb != fleet.Steady || a.Verb == fleet.Evict && s.StoreOf(a.Pod.UID) != nil {
			line, _, _ := strings.Cut(a.String(), " from node")
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// want compares with a golden file; UPDATE=1 writes it.
func want(t *testing.T, got string) {
	t.Helper()
	path := filepath.Join("testdata", "stores", t.Name()+".txt")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got+"\n" != string(golden) {
		t.Errorf("got\n%s\nwant\n%s", got, golden)
	}
}

func TestSentinelPinned(t *testing.T) {
	s := web()
	seed(&s)
	want(t, told(t, &s))
}

// Without anything that pins the role, it stays where it went: one failover, not two.
func TestSentinelFree(t *testing.T) {
	s := web()
	st := seed(&s)
	for i := range st.Members {
		st.Members[i].Pinned = false
	}
	want(t, told(t, &s))
}

// Where writes need a replica, the only one leaves when there is another.
func TestSentinelNeedsReplica(t *testing.T) {
	s := web()
	st := seed(&s)
	for i := range st.Members {
		st.Members[i].Fence = fleet.Fence{Replicas: 1, Lag: 10}
	}
	want(t, told(t, &s))
}

func TestRingWithReplicas(t *testing.T) {
	s := web()
	ring(&s, 1)
	want(t, told(t, &s))
}

func TestRingWithoutReplicas(t *testing.T) {
	s := web()
	ring(&s, 0)
	want(t, told(t, &s))
}

func TestRingFloor(t *testing.T) {
	s := web()
	ring(&s, 1).Spec.Floor = 1
	want(t, told(t, &s))
}

// Both at once: each store one pod at a time, and neither waits for the other.
func TestTwoStores(t *testing.T) {
	s := web()
	seed(&s)
	ring(&s, 1)
	want(t, told(t, &s))
}
