package cluster

import (
	"fmt"
	"maps"
	"slices"

	"drover.dev/fleet"
)

// place has new pods of a workload run on nodes with some labels, and tolerate their taint. A label that it asks for with another value is its owner's to
// change.
func (c *Cluster) place(at *fleet.Placement) error {
	w := c.workload[at.Owner]
	switch {
	case w == nil:
		return nil
	case !scales(at.Kind):
		return &fleet.Fatal{Err: fmt.Errorf("%s: drover does not know the pod template of a %s", at.Owner, at.Kind)}
	case w.uid != at.UID:
		return &fleet.Refused{Reason: fmt.Sprintf("%s is another object than the one that was planned for (UID %s, not %s)", at.Owner, w.uid, at.UID), Wait: ownerWait, Held: true}
	}
	selector := maps.Clone(w.spec.Selector)
	if selector == nil {
		selector = map[string]string{}
	}
	for k, want := range at.Labels {
		if have, asks := selector[k]; asks && have != want {
			return &fleet.Refused{Reason: fmt.Sprintf("%s asks for nodes with %s=%s already, not %s", at.Owner, k, have, want), Wait: brokenWait, Held: true}
		}
		selector[k] = want
	}
	tolerated := slices.Contains(w.spec.Tolerations, at.Toleration)
	if maps.Equal(selector, w.spec.Selector) && tolerated {
		return nil
	}
	w.spec.Selector = selector
	if !tolerated {
		w.spec.Tolerations = append(slices.Clip(w.spec.Tolerations), at.Toleration)
	}
	w.revision++
	c.wake(w)
	return nil
}

// stale are the live pods of an older template.
func (w *workload) stale() []*pod {
	var out []*pod
	for _, p := range w.live() {
		if p.revision != w.revision {
			out = append(out, p)
		}
	}
	return out
}

// rolled tells whether every pod is of the newest template, and as many are Ready as are wanted.
func (w *workload) rolled() bool {
	ready := 0
	for _, p := range w.pods {
		switch {
		case p.Finished:
		case p.revision != w.revision || p.Terminating:
			return false
		case p.Ready:
			ready++
		}
	}
	return ready >= w.Replicas
}

// roll is the Deployment controller between two templates: one pod more than wanted, and no Ready one fewer; with Recreate, the old ones go first.
func (c *Cluster) roll(w *workload, stale []*pod) {
	live, ready := w.live(), 0
	if w.spec.Recreate {
		for _, p := range stale {
			c.remove(p)
		}
		return
	}
	for _, p := range live {
		if p.Ready {
			ready++
		}
	}
	for _, p := range stale {
		if len(live) <= w.Replicas {
			break
		}
		if p.Ready && ready <= w.Replicas {
			continue // it is needed until a new one is Ready
		}
		if p.Ready {
			ready--
		}
		live = drop(live, p)
		c.remove(p)
	}
	for n := len(live); n <= w.Replicas && len(w.stale()) > 0; n++ {
		c.create(w, w.freeSlot())
	}
}

// makeBudget makes a budget. One of that name stays as it is.
func (c *Cluster) makeBudget(b *fleet.NewBudget) error {
	name := b.Namespace + "/" + b.Name
	if slices.ContainsFunc(c.budgets, func(have *budget) bool { return have.Name == name }) {
		return nil
	}
	var match fleet.Term
	for _, k := range slices.Sorted(maps.Keys(b.Match)) {
		match = append(match, fleet.Requirement{Key: k, Operator: "In", Values: []string{b.Match[k]}})
	}
	return c.protect(BudgetSpec{Name: name, Match: match, MaxUnavailable: fmt.Sprint(b.MaxUnavailable)})
}
