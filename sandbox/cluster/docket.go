package cluster

import (
	"cmp"
	"context"
	"slices"
	"time"

	"drover.dev/fleet"
)

// shownFor is how long a case that is over is still observed: what was done lately counts for what may be done now.
const shownFor = time.Hour

// File changes what is on file about an instance. The state machine is one, so nobody writes in between, and change is called once; it must not call the cluster.
func (c *Cluster) File(_ context.Context, instance string, change func(have fleet.Case) (fleet.Case, bool)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	have := fleet.Case{Departure: fleet.Departure{Instance: instance}}
	i, found := slices.BinarySearchFunc(c.cases, instance, func(x fleet.Case, id string) int { return cmp.Compare(x.Instance, id) })
	if found {
		have = c.cases[i].Clone()
	}
	want, differs := change(have)
	if !differs {
		return nil
	}
	if found {
		c.cases[i] = want.Clone()
	} else {
		c.cases = slices.Insert(c.cases, i, want.Clone())
	}
	c.now = c.clock.Now()
	c.settle()
	return nil
}

// Cases returns everything on file, by instance, what is over included.
func (c *Cluster) Cases() []fleet.Case {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]fleet.Case, 0, len(c.cases))
	for _, x := range c.cases {
		out = append(out, x.Clone())
	}
	return out
}
