package redis

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"drover.dev/fleet"
)

// ring is a cluster of three masters, c-0 to c-2, with a replica each, c-3 to c-5.
type ring struct {
	nodes map[string]*server
	st    fleet.Store
}

func startNode(t *testing.T) *server {
	return start(t, newIP(), 6379, clusterArgs...)
}

var clusterArgs = []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--appendonly", "no"}

func (r *ring) add(s *server, name string) {
	r.nodes[name] = s
	r.st.Members = append(r.st.Members, s.member(name))
}

// wait observes until it is as wished.
func (r *ring) wait(t *testing.T, h *Hand, what string, is func(fleet.Store) bool) fleet.Store {
	t.Helper()
	var st fleet.Store
	settled := false
	defer func() {
		if !settled {
			t.Logf("as it is: %+v", st)
		}
	}()
	eventually(t, 20*time.Second, what, func() bool { st = observed(h, r.st); return is(st) })
	settled = true
	return st
}

// sees tells whether every member's view has pod in a role, with so many slots, and under an address that is its own.
func sees(st fleet.Store, pod string, role fleet.Role, slots int) bool {
	id := st.Member(pod).ID
	for _, m := range st.Members {
		p, ok := find(m.View, id)
		if m.Trouble != "" || !m.StateOK || !ok || p.Role != role || p.Slots != slots || p.Meeting || p.Fail || p.Doubt || !p.Linked {
			return false
		}
		if role == fleet.RoleReplica && !st.Member(pod).Link {
			return false
		}
	}
	return true
}

// newRing builds the cluster by the hand's own verbs.
func newRing(t *testing.T, h *Hand) *ring {
	r := &ring{nodes: map[string]*server{}, st: fleet.Store{Name: "shop/cache", Mover: fleet.ClusterMover}}
	for i := range 6 {
		r.add(startNode(t), fmt.Sprintf("c-%d", i))
	}
	for i := 1; i < 6; i++ {
		mustAct(t, h, r.st, fleet.Action{Verb: fleet.Meet, Pod: ref("c-0"), Peer: ref(fmt.Sprintf("c-%d", i))})
	}
	r.wait(t, h, "all know all", func(st fleet.Store) bool {
		for _, m := range st.Members {
			if len(m.View) != 6 || slices.ContainsFunc(m.View, func(p fleet.Peer) bool { return p.Meeting || !p.Linked }) {
				return false
			}
		}
		return true
	})
	for i, slots := range []string{"0 5460", "5461 10922", "10923 16383"} {
		r.nodes[fmt.Sprintf("c-%d", i)].do("CLUSTER ADDSLOTSRANGE " + slots)
	}
	for i := range 3 {
		mustAct(t, h, r.st, fleet.Action{Verb: fleet.Replicate, Pod: ref(fmt.Sprintf("c-%d", i+3)), Peer: ref(fmt.Sprintf("c-%d", i))})
	}
	r.wait(t, h, "all see three shards", func(st fleet.Store) bool {
		return sees(st, "c-0", fleet.RoleMaster, 5461) && sees(st, "c-3", fleet.RoleReplica, 0) && sees(st, "c-4", fleet.RoleReplica, 0) && sees(st, "c-5", fleet.RoleReplica, 0)
	})
	return r
}

func TestCluster(t *testing.T) {
	h := newHand(t, nil)
	r := newRing(t, h)
	for _, s := range []struct {
		name string
		step func(*testing.T, *ring, *Hand)
	}{
		{"observe", observeRing},
		{"refusals", refuseInCluster},
		{"failover under load", failoverUnderLoad},
		{"temporary node", temporaryNode},
		{"probe", probeRing},
		{"force", forceFailover},
		{"all move at once", allMove}, // ends its servers: the last
	} {
		if !t.Run(s.name, func(t *testing.T) { s.step(t, r, h) }) {
			t.FailNow()
		}
	}
}

func observeRing(t *testing.T, r *ring, h *Hand) {
	st := observed(h, r.st)
	if st.Trouble != "" {
		t.Error(st.Trouble)
	}
	m, s := st.Member("c-0"), st.Member("c-3")
	if m.Trouble != "" || m.Role != fleet.RoleMaster || len(m.ID) != 40 || !m.StateOK || !m.Migration || len(m.View) != 6 || len(m.Replicas) != 1 {
		t.Errorf("master: %+v", m)
	}
	if s.Role != fleet.RoleReplica || !s.Link || st.At(s.Master) != m {
		t.Errorf("replica: %+v", s)
	}
	for _, p := range m.View {
		if at := st.At(p.Address); at == nil || at.ID != p.ID {
			t.Errorf("%s of the view is not known", p.Address)
		}
	}
}

func refuseInCluster(t *testing.T, r *ring, h *Hand) {
	st := observed(h, r.st)
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Replicate, Pod: ref("c-0"), Peer: ref("c-1")}, "owns 5461 slots")
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Replicate, Pod: ref("c-3"), Peer: ref("c-4")}, "is no master with slots")
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Leave, Pod: ref("c-0")}, "cannot leave with them")
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Disown, ID: st.Member("c-3").ID}, "it is pod shop/c-3")
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Failover, Pod: ref("c-4"), Peer: ref("c-0")}, "is not known as a replica of pod shop/c-0")
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Failover, Pod: ref("c-3"), Peer: ref("c-4")}, "is no master with slots")
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Failover, Pod: ref("c-3"), Peer: ref("c-0"), Effect: "PLEASE"}, "is no way to fail over")
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Failover, Pod: ref("c-3"), Peer: ref("c-9")}, "not both members")
	mustAct(t, h, st, fleet.Action{Verb: fleet.Replicate, Pod: ref("c-3"), Peer: ref("c-0")}) // already so
	mustAct(t, h, st, fleet.Action{Verb: fleet.Meet, Pod: ref("c-3"), Peer: ref("c-4")})      // already so

	silent := st.Clone()
	silent.Members[5].Port = 1
	mustRefuse(t, h, silent, fleet.Action{Verb: fleet.Failover, Pod: ref("c-3"), Peer: ref("c-0")}, "every member of store shop/cache has to answer: Redis in pod shop/c-5")
	mustRefuse(t, h, silent, fleet.Action{Verb: fleet.Disown, ID: "0123"}, "every member of store shop/cache has to answer")

	r.nodes["c-0"].do("CLUSTER SETSLOT 7 MIGRATING " + st.Member("c-1").ID)
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Failover, Pod: ref("c-3"), Peer: ref("c-0")}, "1 slots are on their way")
	r.nodes["c-0"].do("CLUSTER SETSLOT 7 STABLE")

	other := &ring{nodes: map[string]*server{}, st: r.st.Clone()}
	other.add(startNode(t), "x-0")
	other.nodes["x-0"].do("CLUSTER ADDSLOTSRANGE 0 16383")
	mustRefuse(t, h, other.st, fleet.Action{Verb: fleet.Meet, Pod: ref("c-0"), Peer: ref("x-0")}, "would make one of both")

	for _, to := range []int{0, 0, 1} {
		mustAct(t, h, st, fleet.Action{Verb: fleet.Steady, Pod: ref("c-1"), To: to})
		if got := r.nodes["c-1"].setting(setMigration); got != []string{"no", "yes"}[to] {
			t.Errorf("replica migration is %s after steady %d", got, to)
		}
	}
}

// load writes to all shards until it is ended.
type load struct {
	client *goredis.ClusterClient
	stop   context.CancelFunc
	done   chan struct{}
	acked  []string
	failed []error
}

func (r *ring) write(prefix string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	w := &load{stop: cancel, done: make(chan struct{}), client: goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs: []string{address(r.nodes["c-1"].ip, "6379"), address(r.nodes["c-2"].ip, "6379")}, Protocol: 2,
	})}
	go func() {
		defer close(w.done)
		for i := 0; ctx.Err() == nil; i++ {
			key := fmt.Sprintf("%s-%d", prefix, i)
			if err := w.client.Set(context.Background(), key, i, 0).Err(); err != nil {
				w.failed = append(w.failed, err)
				continue
			}
			w.acked = append(w.acked, key)
		}
	}()
	return w
}

func (w *load) end(t *testing.T) {
	t.Helper()
	w.stop()
	<-w.done
	lost := 0
	for _, key := range w.acked {
		if n, err := w.client.Exists(context.Background(), key).Result(); err != nil || n != 1 {
			lost++
		}
	}
	if lost > 0 || len(w.failed) > 0 || len(w.acked) < 100 {
		t.Errorf("%d of %d acknowledged writes lost, failed: %v", lost, len(w.acked), w.failed)
	}
	if err := w.client.Close(); err != nil {
		t.Error(err)
	}
}

func failoverUnderLoad(t *testing.T, r *ring, h *Hand) {
	st := observed(h, r.st)
	w := r.write("fail")
	eventually(t, 5*time.Second, "writes flow", func() bool { return r.nodes["c-0"].info().keys() > 50 })
	there := fleet.Action{Verb: fleet.Failover, Pod: ref("c-3"), Peer: ref("c-0")}
	for range 2 {
		mustAct(t, h, st, there)
	}
	before := r.nodes["c-3"].info().keys()
	eventually(t, 5*time.Second, "writes flow on", func() bool { return r.nodes["c-3"].info().keys() > before+50 })
	w.end(t)
	st = observed(h, r.st)
	if !sees(st, "c-3", fleet.RoleMaster, 5461) || st.Member("c-0").Role != fleet.RoleReplica {
		t.Error("the hand was content, but the roles have not changed")
	}
}

// temporaryNode is a node that is lent: it joins, takes the slots, gives them back, leaves, and is forgotten.
func temporaryNode(t *testing.T, r *ring, h *Hand) {
	temp := startNode(t)
	r.add(temp, "temp")
	r.st.Member("temp").Temp = true
	mustSoon(t, h, r.st, fleet.Action{Verb: fleet.Meet, Pod: ref("temp"), Peer: ref("c-3")})
	if temp.setting(setClusterIP) != temp.ip || temp.setting(setNoFailover) != "yes" {
		t.Error("the temporary node announces no address of its own, or would stand for election")
	}
	mustRefuse(t, h, r.st, fleet.Action{Verb: fleet.Failover, Pod: ref("temp"), Peer: ref("c-3")}, "not known as a replica")
	r.wait(t, h, "all know the temporary node", func(st fleet.Store) bool { return sees(st, "temp", fleet.RoleMaster, 0) && st.Member("c-0").Link })
	mustSoon(t, h, r.st, fleet.Action{Verb: fleet.Replicate, Pod: ref("temp"), Peer: ref("c-3")})
	r.wait(t, h, "all know it as a replica", allFollow("temp", "c-3"))
	mustSoon(t, h, r.st, fleet.Action{Verb: fleet.Failover, Pod: ref("temp"), Peer: ref("c-3")})
	mustRefuse(t, h, r.st, fleet.Action{Verb: fleet.Leave, Pod: ref("temp")}, "owns 5461 slots")
	st := r.wait(t, h, "c-3 follows the temporary node", func(st fleet.Store) bool {
		return sees(st, "c-3", fleet.RoleReplica, 0) && sees(st, "c-0", fleet.RoleReplica, 0)
	})
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Disown, ID: st.Member("temp").ID}, "owns 5461 slots")
	mustSoon(t, h, st, fleet.Action{Verb: fleet.Failover, Pod: ref("c-3"), Peer: ref("temp")})
	id := st.Member("temp").ID
	st = r.wait(t, h, "all know it as a replica again", func(st fleet.Store) bool {
		return allFollow("temp", "c-3")(st) && allFollow("c-0", "c-3")(st)
	})
	for range 2 {
		mustSoon(t, h, st, fleet.Action{Verb: fleet.Leave, Pod: ref("temp")})
	}
	temp.stop()
	for range 2 {
		mustSoon(t, h, st, fleet.Action{Verb: fleet.Disown, ID: id})
	}
	r.st.Members = r.st.Members[:6]
	st = observed(h, r.st)
	for _, m := range st.Members {
		if _, known := find(m.View, id); known || len(m.View) != 6 {
			t.Errorf("pod %s still knows the temporary node", m.Pod)
		}
	}
}

// allFollow says that every member has heard of it: gossip takes its time, and a hand asks each of them.
func allFollow(replica, master string) func(fleet.Store) bool {
	return func(st fleet.Store) bool {
		for _, m := range st.Members {
			if p, _ := find(m.View, st.Member(replica).ID); p.Of != st.Member(master).ID {
				return false
			}
		}
		return sees(st, replica, fleet.RoleReplica, 0)
	}
}

func probeRing(t *testing.T, r *ring, h *Hand) {
	f, err := h.Probe(context.Background(), Endpoint{Host: r.nodes["c-0"].ip, Port: 6379})
	if err != nil || f.Kind != ClusterNode || f.Mover != fleet.ClusterMover || len(f.Peers) != 5 || f.Role != fleet.RoleReplica {
		t.Errorf("%+v, %v", f, err)
	}
}

// forceFailover is what a person decides when a master hangs.
func forceFailover(t *testing.T, r *ring, h *Hand) {
	st := observed(h, r.st)
	_ = r.nodes["c-1"].cmd.Process.Signal(syscall.SIGSTOP)
	take := fleet.Action{Verb: fleet.Failover, Pod: ref("c-4"), Peer: ref("c-1"), Effect: fleet.Takeover}
	mustAct(t, h, st, take)
	mustAct(t, h, st, take)
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Failover, Pod: ref("c-1"), Peer: ref("c-4"), Effect: fleet.Takeover}, "does not answer")
	if view, _ := r.nodes["c-4"].do("CLUSTER NODES").(string); !strings.Contains(view, "myself,master") {
		t.Errorf("c-4 has not taken over:\n%s", view)
	}
	_ = r.nodes["c-1"].cmd.Process.Signal(syscall.SIGCONT)
}

// allMove is what a sleep does to a cluster: all nodes stop, and come back on their data with addresses that nobody knows.
func allMove(t *testing.T, r *ring, h *Hand) {
	for _, m := range r.st.Members { // all of them first: one that is left would be found by the others
		s := r.nodes[m.Pod.Name]
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		<-s.stopped
	}
	for i := range r.st.Members {
		m := &r.st.Members[i]
		name := m.Pod.Name
		r.nodes[name] = startIn(t, filepath.Dir(r.nodes[name].log), newIP(), 6379, clusterArgs...)
		*m = r.nodes[name].member(name)
	}
	st := observed(h, r.st)
	if known, _ := find(st.Member("c-0").View, st.Member("c-1").ID); known.Linked && slices.Contains(st.Member("c-1").Known, known.Address) {
		t.Fatal("they find each other by themselves: nothing to show")
	}
	for _, m := range r.st.Members[1:] {
		mustSoon(t, h, st, fleet.Action{Verb: fleet.Meet, Pod: r.st.Members[0].Pod, Peer: m.Pod})
	}
	r.wait(t, h, "one cluster again, with all its slots", func(st fleet.Store) bool {
		slots := 0
		for _, m := range st.Members {
			p, _ := find(st.Members[0].View, m.ID)
			slots += p.Slots
			if m.Trouble != "" || !m.StateOK || !p.Linked {
				return false
			}
		}
		return slots == 16384
	})
}
