package engine

import (
	"context"
	"sync"

	"drover.dev/fleet"
)

// flights are actions on stores that go on beside the ticks: one takes seconds when a store does not do as it is told, and no node that goes meanwhile
// waits for that. One a store at a time.
type flights struct {
	mu     sync.Mutex
	busy   map[string]bool // by store
	ended  map[string]int  // flights by store
	landed []landing
	woken  chan struct{} // holds one token when something has landed
	wg     sync.WaitGroup
}

type landing struct {
	action  fleet.Action
	err     error
	outcome func(fleet.Action, error) error
}

// count is how many flights of a store have ended; -1 while one is under way.
func (f *flights) count(store string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy[store] {
		return -1
	}
	return f.ended[store]
}

// begin carries the actions of one store out, one after the other, beside the ticks.
func (f *flights) begin(ctx context.Context, store string, actions []fleet.Action, hand func(context.Context, fleet.Action) error, outcome func(fleet.Action, error) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy == nil {
		f.busy, f.ended = map[string]bool{}, map[string]int{}
	}
	f.busy[store] = true
	f.wg.Go(func() {
		for _, a := range actions {
			f.land(landing{a, hand(ctx, a), outcome})
		}
		f.mu.Lock()
		delete(f.busy, store)
		f.ended[store]++
		f.mu.Unlock()
		f.wake()
	})
}

func (f *flights) land(l landing) {
	f.mu.Lock()
	f.landed = append(f.landed, l)
	f.mu.Unlock()
	f.wake()
}

func (f *flights) wake() {
	select {
	case f.woken <- struct{}{}:
	default:
	}
}

// settle judges what has landed since the last time. Only a Fatal error is returned.
func (f *flights) settle() error {
	f.mu.Lock()
	landed := f.landed
	f.landed = nil
	f.mu.Unlock()
	for _, l := range landed {
		if err := l.outcome(l.action, l.err); err != nil {
			return err
		}
	}
	return nil
}

// end waits for what is under way, and tells of it: the run is over, and nothing comes of an error any more.
func (f *flights) end() {
	f.wg.Wait()
	_ = f.settle()
}

// launch begins what concerns stores beside the tick, and returns the rest.
func (r *Run) launch(ctx context.Context, actions []fleet.Action, hand func(context.Context, fleet.Action) error, outcome func(fleet.Action, error) error) []fleet.Action {
	var rest []fleet.Action
	by := map[string][]fleet.Action{}
	var order []string
	for _, a := range actions {
		if !a.Verb.Store() {
			rest = append(rest, a)
			continue
		}
		if by[a.Store] == nil {
			order = append(order, a.Store)
		}
		by[a.Store] = append(by[a.Store], a)
	}
	for _, store := range order {
		r.flights.begin(ctx, store, by[store], hand, outcome)
	}
	return rest
}
