package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"drover.dev/fleet"
)

// bareBoard is a cluster without environments.
type bareBoard struct{}

func (bareBoard) ObserveEnvironments(context.Context, *fleet.Snapshot) error { return nil }

// What is in flight on a store when a run of environments ends is waited for: somebody else has the lease then.
func TestSwitcherEndsItsFlights(t *testing.T) {
	ended, stop := context.WithCancel(t.Context())
	stop()
	for name, run := range map[string]func(w *Switcher) error{
		"run": func(w *Switcher) error {
			return w.through(ended, func(context.Context) (time.Duration, bool, error) { return 0, true, nil })
		},
		"watch": func(w *Switcher) error { return w.Watch(ended) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := newWorld()
				w := &Switcher{Engine: &Engine{Cloud: cluster, Cluster: cluster, Note: func(Note) {}, Now: time.Now, CloudEvery: time.Second}, Board: bareBoard{}}
				w.begin()
				landed := false
				hand := func(context.Context, fleet.Action) error { time.Sleep(5 * time.Second); return nil } // as long as a failover
				w.run.flights.begin(t.Context(), "s", []fleet.Action{{Verb: fleet.Switch, Store: "s"}}, hand, func(fleet.Action, error) error { landed = true; return nil })
				run(w)
				if !landed {
					t.Error("it has ended, and a failover of its is under way still")
				}
				synctest.Wait()
				time.Sleep(10 * time.Second) // of the bubble's time: nothing is left behind
			})
		})
	}
}
