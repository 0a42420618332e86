package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// Stores is the hand on what the pods of stores hold.
type Stores interface {
	// Observe fills in what the members of a store say of themselves and of each other. Whoever does not answer has Trouble, and so has a store that
	// cannot be read at all; other than that it does not fail.
	Observe(ctx context.Context, st *fleet.Store)

	// Act carries one action out on a store as it was observed a moment ago. What the action relies on is read again first, and when it does not hold
	// any more the action is refused. "Already so" is success.
	Act(ctx context.Context, st fleet.Store, a fleet.Action) error
}

const (
	storesAtOnce = 16
	askWithin    = 3 * time.Second
	fresh        = 200 * time.Millisecond // how long a store's answers are good while nothing is done to it
)

// stores is what stores answered last. Nothing in it is needed to go on after a crash.
type stores struct {
	mu    sync.Mutex
	known map[string]fleet.Store // by name
}

// forget has a store asked again.
func (k *stores) forget(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if st, ok := k.known[name]; ok {
		st.Read = time.Time{}
		k.known[name] = st
	}
}

// last is a store as it was asked last.
func (k *stores) last(name string) (fleet.Store, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	st, ok := k.known[name]
	return st, ok
}

// unsure tells whether an action was decided on what a store said while something was done to it, or before: it may not hold any more.
func (r *Run) unsure(a fleet.Action) bool {
	store := a.Store
	if store == "" && (a.Verb == fleet.Evict || a.Verb == fleet.Delete) {
		store = r.member[a.Pod.UID]
	}
	if store == "" || a.Verb == fleet.Delete { // its machine goes whatever the store says
		return false
	}
	now := r.flights.count(store)
	asked, known := r.asked[store]
	return now < 0 || known && asked != now
}

// ask fills in what the stores say that a plan depends on, and others. What was answered a moment ago, by the same pods, is good still.
func (r *Run) ask(ctx context.Context, p evac.Plan, s *fleet.Snapshot, others ...string) {
	var due []string
	r.asked, r.member = map[string]int{}, map[string]string{}
	names := append(evac.StoresOf(p, s), others...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		st := s.Store(name)
		if st == nil {
			continue // gone since it was named
		}
		r.asked[name] = r.flights.count(name)
		for i := range st.Members {
			r.member[st.Members[i].Pod.UID] = name
		}
		for i := range st.Sentinels {
			r.member[st.Sentinels[i].Pod.UID] = name
		}
		old, ok := r.stores.last(name)
		if !ok || old.Read.IsZero() || s.Now.Sub(old.Read) >= fresh || !samePods(&old, st) {
			due = append(due, name)
			continue
		}
		c := old.Clone()
		c.Move, c.Spec = st.Move, st.Spec
		*st = c
	}
	r.askStores(ctx, s, due)
	r.stores.mu.Lock()
	defer r.stores.mu.Unlock()
	if r.stores.known == nil {
		r.stores.known = map[string]fleet.Store{}
	}
	for _, name := range due {
		r.stores.known[name] = s.Store(name).Clone()
	}
}

// samePods tells whether two sights of a store show the same pods in the same state.
func samePods(a, b *fleet.Store) bool {
	return slices.EqualFunc(a.Members, b.Members, func(x, y fleet.Member) bool { return x.Pod == y.Pod && x.Ready == y.Ready && x.Leaving == y.Leaving }) &&
		slices.EqualFunc(a.Sentinels, b.Sentinels, func(x, y fleet.Sentinel) bool { return x.Pod == y.Pod && x.Ready == y.Ready && x.Leaving == y.Leaving })
}

// everyStore names all stores whose members can be asked.
func everyStore(s *fleet.Snapshot) []string {
	var out []string
	for i := range s.Stores {
		if st := &s.Stores[i]; st.Confirmed && st.Trouble == "" && (st.Mover == fleet.SentinelMover || st.Mover == fleet.ClusterMover) {
			out = append(out, st.Name)
		}
	}
	return out
}

// askStores asks stores, a bounded number at once.
func (e *Engine) askStores(ctx context.Context, s *fleet.Snapshot, names []string) {
	if e.Stores == nil || len(names) == 0 {
		return
	}
	slots := make(chan struct{}, storesAtOnce)
	var wg sync.WaitGroup
	for _, name := range names {
		st := s.Store(name)
		if st == nil || st.Trouble != "" {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, askWithin) // each its own: where many are silent, the last is not to pay for the first
			defer cancel()
			e.Stores.Observe(ctx, st)
			st.Read = e.Now()
		})
	}
	wg.Wait()
}

// actOnStore has the hand on stores carry an action out, on the store as it was asked last.
func (r *Run) actOnStore(ctx context.Context, a fleet.Action) error {
	st, ok := r.stores.last(a.Store)
	if r.Stores == nil || !ok {
		return fmt.Errorf("store %s is not known", a.Store)
	}
	return r.Stores.Act(ctx, st, a)
}
