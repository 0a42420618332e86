package engine

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// shelf is a world with one cluster of Redis: a master on node-0, another elsewhere, and a temporary pod that nobody knows yet.
type shelf struct {
	*world
	mu   sync.Mutex
	met  time.Time
	did  map[fleet.Verb]int
	move *fleet.StoreMove
}

func peers(self string, temp bool) []fleet.Peer {
	out := []fleet.Peer{{ID: "a", Address: "a:1", Role: fleet.RoleMaster, Slots: 8192, Linked: true}, {ID: "b", Address: "b:1", Role: fleet.RoleMaster, Slots: 8192, Linked: true}}
	if temp {
		out = append(out, fleet.Peer{ID: "t", Address: "t:1", Role: fleet.RoleMaster, Linked: true})
	}
	for i := range out {
		out[i].Self = out[i].ID == self
	}
	return out
}

func (w *shelf) Observe(ctx context.Context, s *fleet.Snapshot) error {
	if err := w.world.Observe(ctx, s); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	ref := func(n string) fleet.PodRef { return fleet.PodRef{Namespace: "shop", Name: n, UID: "uid-" + n} }
	o := fleet.Owner{Kind: "StatefulSet", Namespace: "shop", Name: "a"}
	s.Pods = append(s.Pods, fleet.Pod{Ref: ref("a"), Node: "node-0", Owner: o, Ready: true}, fleet.Pod{Ref: ref("b"), Node: "node-1", Owner: o, Ready: true}, fleet.Pod{Ref: ref("a-drover"), Node: "node-1", Ready: true})
	s.Stores = []fleet.Store{{Name: "shop/cache", Mover: fleet.ClusterMover, Confirmed: true, Spec: fleet.StoreSpec{Replicas: 2}, Move: w.move, Members: []fleet.Member{
		{Pod: ref("a"), Node: "node-0", Known: []string{"a:1"}, Ready: true}, {Pod: ref("b"), Node: "node-1", Known: []string{"b:1"}, Ready: true}, {Pod: ref("a-drover"), Node: "node-1", Known: []string{"t:1"}, Ready: true, Temp: true},
	}}}
	return nil
}

func (w *shelf) Act(ctx context.Context, a fleet.Action) error { return nil }

type shelfHand struct{ *shelf }

func (h shelfHand) Observe(_ context.Context, st *fleet.Store) {
	h.mu.Lock()
	defer h.mu.Unlock()
	time.Sleep(5 * time.Millisecond)
	known := !h.met.IsZero() && time.Since(h.met) > 2*time.Second
	for i := range st.Members {
		m := &st.Members[i]
		m.ID = map[string]string{"a": "a", "b": "b", "a-drover": "t"}[m.Pod.Name]
		m.Role, m.StateOK = fleet.RoleMaster, true
		if m.View = peers(m.ID, known); m.Temp && !known {
			m.View = []fleet.Peer{{ID: "t", Address: "t:1", Self: true, Role: fleet.RoleMaster}}
		}
	}
}

func (h shelfHand) Act(_ context.Context, _ fleet.Store, a fleet.Action) error {
	time.Sleep(5 * time.Millisecond)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.did[a.Verb]++
	if a.Verb == fleet.Meet && h.met.IsZero() {
		h.met = time.Now()
	}
	return nil
}

// What has begun and does not show yet is not asked for again at every look.
func TestDangerMeetsAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &shelf{world: newWorld(), did: map[fleet.Verb]int{}}
		w.move = &fleet.StoreMove{Run: "r-1", Pod: fleet.PodRef{Namespace: "shop", Name: "a", UID: "uid-a"}, Node: "node-0", Home: true, ID: "a"}
		e := &Engine{Cloud: w, Cluster: w, Stores: shelfHand{w}, Note: func(n Note) {}, Now: time.Now, CloudEvery: 2 * time.Second}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		e.Run(ctx, evac.Plan{Run: "r-1", Pods: []fleet.PodRef{w.move.Pod}})
		if n := w.did[fleet.Meet]; n > 10 {
			t.Errorf("CLUSTER MEET was said %d times in 2 s (and as many lines in the journal)", n)
		}
		if n := w.did[fleet.Replicate]; n > 10 {
			t.Errorf("CLUSTER REPLICATE was said %d times in 2 s", n)
		}
	})
}

type slowHand struct {
	mu     sync.Mutex
	failed map[string]bool
}

// Observe is as slow as a store with a silent member is.
func (h *slowHand) Observe(ctx context.Context, st *fleet.Store) {
	t := time.NewTimer(2 * time.Second)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		h.mu.Lock()
		defer h.mu.Unlock()
		h.failed[st.Name] = true
	}
}

func (h *slowHand) Act(context.Context, fleet.Store, fleet.Action) error { return nil }

// A zone is gone, and every store has a silent member: those that come late in the alphabet are never asked.
func TestDangerStoresAreStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &slowHand{failed: map[string]bool{}}
		e := &Engine{Stores: h, Now: time.Now}
		var s fleet.Snapshot
		var names []string
		for i := range 50 {
			st := fleet.Store{Name: string(rune('A' + i)), Mover: fleet.ClusterMover, Confirmed: true}
			s.Stores, names = append(s.Stores, st), append(names, st.Name)
		}
		e.askStores(t.Context(), &s, names)
		read := 0
		for i := range s.Stores {
			if h.failed[s.Stores[i].Name] && !s.Stores[i].Read.IsZero() {
				read++
			}
		}
		if read > 0 {
			t.Errorf("%d of 50 stores count as read, and nobody had time to ask them", read)
		}
	})
}

// deadHand takes as long as an action may.
type deadHand struct{ slowHand }

func (h *deadHand) Act(ctx context.Context, _ fleet.Store, _ fleet.Action) error {
	<-ctx.Done()
	return ctx.Err()
}

// A failover that takes its 8 s holds up the next tick, and with it what has a last moment of its own.
func TestDangerAStoresActionHoldsUpTheTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		e := &Engine{Cloud: w, Cluster: w, Stores: &deadHand{}, Note: func(Note) {}, Now: time.Now, CloudEvery: 2 * time.Second}
		r := e.Begin(evac.Plan{})
		r.stores.known = map[string]fleet.Store{"s": {Name: "s"}}
		began := time.Now()
		r.act(t.Context(), []fleet.Action{{Verb: fleet.Switch, Store: "s"}, {Verb: fleet.Evict, Pod: fleet.PodRef{UID: "uid-0"}}})
		defer r.flights.wg.Wait()
		if took := time.Since(began); took > 5*time.Second { // evac's margin
			t.Errorf("the next decision comes after %s; a pod whose last moment was meanwhile is told that late", took)
		}
	})
}
