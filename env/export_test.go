package env

import "drover.dev/fleet"

// After is the optimistic world when a plan is done.
func After(p Plan, s fleet.Snapshot) *fleet.Snapshot { return AfterActions(p, s, previewMost) }

// AfterActions is that world after so many actions, when what they began is over.
func AfterActions(p Plan, s fleet.Snapshot, n int) *fleet.Snapshot {
	w := imagine(p, s, n)
	for len(w.later) > 0 {
		w.next()
	}
	return &w.s
}
