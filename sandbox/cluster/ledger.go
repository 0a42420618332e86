package cluster

import (
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// Ledger is what a witness saw who counts by himself and knows the truth: a pod on a machine that is off does not serve, whatever the API
// server still believes.
type Ledger struct {
	Breaches  []Breach
	Evictions []Eviction
	Deletions []Eviction // past every budget, by drover
	Killed    []Kill
	Lost      []Loss
	Outages   []Outage
	Cuts      []Cut
	Missed    []Miss
}

// Breach is a fall of a budget's serving pods that left fewer than it wants.
type Breach struct {
	At        time.Time
	Budget    string
	Serving   int
	Desired   int
	Satisfied bool // it had enough just before
	Cause     string
}

func (b Breach) String() string {
	return fmt.Sprintf("%s: budget %s has %d serving pods, it wants %d: %s", b.At.UTC().Format(time.TimeOnly), b.Budget, b.Serving, b.Desired, b.Cause)
}

// Eviction is a pod that the eviction API removed.
type Eviction struct {
	At       time.Time
	Pod      fleet.PodRef
	Identity string // what stays when the pod is replaced: a StatefulSet's pod, a place in a workload
	Node     string
	Grace    time.Duration // that it was given to stop
}

// Kill is a pod whose time to stop was over before it had stopped.
type Kill struct {
	At           time.Time
	Pod          fleet.PodRef
	Identity     string
	Node         string
	Needs, Grace time.Duration
}

// Loss is a pod that ran on a machine that went off under it.
type Loss struct {
	At       time.Time
	Pod      fleet.PodRef
	Identity string
	Node     string
	Ending   bool // it was shutting down
	Stays    bool // nothing would have moved it: a DaemonSet's, a static one
	Grace    time.Duration
	Created  time.Time
}

// Outage is a time in which no pod of a workload served, after one had.
type Outage struct {
	Workload fleet.Owner
	From, To time.Time // To is zero while it lasts
	Cause    string
}

// Cut is a pod that ended while a load balancer still sent it new requests.
type Cut struct {
	At     time.Time
	Pod    fleet.PodRef
	Target string
}

// Ledger returns a copy of what was seen so far.
func (c *Cluster) Ledger() Ledger {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.ledger
	l.Breaches, l.Evictions, l.Lost = slices.Clone(l.Breaches), slices.Clone(l.Evictions), slices.Clone(l.Lost)
	l.Deletions, l.Killed = slices.Clone(l.Deletions), slices.Clone(l.Killed)
	l.Outages, l.Cuts, l.Missed = slices.Clone(l.Outages), slices.Clone(l.Cuts), slices.Clone(l.Missed)
	return l
}

// Again lists the identities that were evicted more than once, in order of the second time.
func (l Ledger) Again() []string {
	times := map[string]int{}
	var out []string
	for _, e := range l.Evictions {
		times[e.Identity]++
		if times[e.Identity] == 2 {
			out = append(out, e.Identity)
		}
	}
	return out
}

// witness notes a budget's breach. It counts for itself, and only a fall counts: a budget that wants more than before is nobody's breach.
func (c *Cluster) witness(b *budget) {
	serving := 0
	for _, w := range b.covers {
		for _, p := range w.pods {
			if p.serves() {
				serving++
			}
		}
	}
	if b.counted && serving < b.served && serving < b.Desired {
		c.ledger.Breaches = append(c.ledger.Breaches, Breach{
			At: c.now, Budget: b.Name, Serving: serving, Desired: b.Desired, Satisfied: b.served >= b.wanted, Cause: sentence(c.causes),
		})
	}
	b.served, b.wanted, b.counted = serving, b.Desired, true
}

// witnessOutage notes the begin and the end of a time in which a workload does not serve.
func (c *Cluster) witnessOutage(w *workload) {
	serving := 0
	for _, p := range w.pods {
		if p.serves() {
			serving++
		}
	}
	before := w.serving
	w.serving = serving
	switch {
	case serving > 0 && w.dark > 0:
		c.ledger.Outages[w.dark-1].To = c.now
		w.dark = 0
	case serving == 0 && before > 0 && w.Replicas > 0 && w.Owner.Kind != "Job":
		c.ledger.Outages = append(c.ledger.Outages, Outage{Workload: w.Owner, From: c.now, Cause: sentence(c.causes)})
		w.dark = len(c.ledger.Outages)
	}
}
