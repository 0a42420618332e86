package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"drover.dev/fleet"
)

// BudgetSpec is a PodDisruptionBudget. Exactly one of its bounds is set: a number, or a percentage with its sign.
type BudgetSpec struct {
	Name                         string     // namespace/name
	Match                        fleet.Term // on labels of pods in its namespace; empty matches all of them
	MinAvailable, MaxUnavailable string
	AlwaysAllow                  bool // unhealthyPodEvictionPolicy: AlwaysAllow; otherwise IfHealthyBudget
}

// budget is a budget with the workloads whose pods it covers.
type budget struct {
	fleet.Budget
	spec      BudgetSpec
	namespace string
	bound     bound
	covers    []*workload
	due       bool // its pods are to be counted
	served    int  // pods that truly served at the last count, for the ledger
	wanted    int  // what it wanted then
	counted   bool
}

// bound is a number or a percentage.
type bound struct {
	n       int
	percent bool
}

func parseBound(s string) (bound, error) {
	digits, percent := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || percent && n > 100 {
		return bound{}, fmt.Errorf("%q is neither a number nor a percentage", s)
	}
	return bound{n, percent}, nil
}

// of is the bound as a number of pods: a percentage is rounded up, for both kinds of bounds.
func (b bound) of(expected int) int {
	if !b.percent {
		return b.n
	}
	return (b.n*expected + 99) / 100
}

// Protect makes a budget, or replaces the one of that name.
func (c *Cluster) Protect(s BudgetSpec) error {
	return c.do(func() error { return c.protect(s) })
}

func (c *Cluster) protect(s BudgetSpec) error {
	namespace, _, ok := strings.Cut(s.Name, "/")
	if !ok || (s.MinAvailable == "") == (s.MaxUnavailable == "") {
		return fmt.Errorf("budget %q: it needs namespace/name and exactly one of its bounds", s.Name)
	}
	limit, err := parseBound(cmp.Or(s.MinAvailable, s.MaxUnavailable))
	if err != nil {
		return fmt.Errorf("budget %s: %w", s.Name, err)
	}
	c.unprotect(s.Name)
	b := &budget{Budget: fleet.Budget{Name: s.Name}, spec: s, namespace: namespace, bound: limit}
	i, _ := slices.BinarySearchFunc(c.budgets, s.Name, func(b *budget, name string) int { return cmp.Compare(b.Name, name) })
	c.budgets = slices.Insert(c.budgets, i, b)
	for _, w := range c.workloads {
		c.cover(w)
	}
	c.recountBudget(b)
	return nil
}

// Unprotect removes a budget.
func (c *Cluster) Unprotect(name string) {
	_ = c.do(func() error { // removing what is not there is no error
		c.unprotect(name)
		for _, w := range c.workloads {
			c.cover(w)
		}
		return nil
	})
}

func (c *Cluster) unprotect(name string) {
	c.budgets = slices.DeleteFunc(c.budgets, func(b *budget) bool { return b.Name == name })
}

// cover finds the budgets of a workload's pods.
func (c *Cluster) cover(w *workload) {
	w.budgets, w.names = nil, nil
	for _, b := range c.budgets {
		if b.namespace == w.Owner.Namespace && matches(b.spec.Match, w.spec.Labels) {
			w.budgets, w.names = append(w.budgets, b), append(w.names, b.Name)
			if !slices.Contains(b.covers, w) {
				b.covers = append(b.covers, w)
			}
		}
	}
	for _, p := range w.pods {
		p.Budgets = w.names
	}
	c.recountAll(w)
}

// recountAll has everything counted anew that counts a workload's pods.
func (c *Cluster) recountAll(w *workload) {
	for _, b := range w.budgets {
		c.recountBudget(b)
	}
	if !w.counted {
		w.counted = true
		c.count = append(c.count, w)
	}
}

func (c *Cluster) recountBudget(b *budget) {
	if !b.due {
		b.due = true
		c.recount = append(c.recount, b)
	}
}

// countBudgets is the disruption controller, and after it the ledger.
func (c *Cluster) countBudgets() {
	for _, b := range c.recount {
		b.due = false
		b.tally()
		c.witness(b)
	}
	c.recount = nil
	for _, w := range c.count {
		w.counted = false
		c.witnessOutage(w)
	}
	c.count = nil
}

// tally counts a budget's pods as the disruption controller does. Where it cannot tell how many there should be, it allows nothing.
func (b *budget) tally() {
	b.Healthy, b.Allowed = 0, 0
	pods, scale, known := 0, 0, true
	for _, w := range b.covers {
		for _, p := range w.pods {
			pods++
			if p.Ready && !p.Terminating {
				b.Healthy++
			}
		}
		if len(w.pods) == 0 {
			continue // the controller finds workloads through their pods
		}
		switch w.Owner.Kind {
		case "Job", "DaemonSet":
			known = false // they cannot be scaled, so nothing says how many there should be
		case "Pod":
		default:
			scale += w.Replicas
		}
	}
	switch {
	case b.spec.MaxUnavailable != "":
		b.Expected = scale
		b.Desired = max(scale-b.bound.of(scale), 0)
	case b.bound.percent:
		b.Expected = scale
		b.Desired = b.bound.of(scale)
	default:
		b.Expected, known = pods, true
		b.Desired = b.bound.n
	}
	if known && b.Expected > 0 {
		b.Allowed = max(b.Healthy-b.Desired, 0)
	}
}
