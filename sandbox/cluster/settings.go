package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"drover.dev/fleet"
)

// Settings is everything that drover may change and has to put back, a line each, sorted: two equal texts are two equal clusters. Nodes are
// named, pods by the place they fill, because a pod that moved has another name.
func (c *Cluster) Settings() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, n := range c.nodes {
		for _, t := range n.Taints {
			say("node %s taint %s=%s:%s", n.Name, t.Key, t.Value, t.Effect)
		}
		for k, v := range n.Labels {
			say("node %s label %s=%s", n.Name, k, v)
		}
		if n.HeldDown {
			say("node %s scale-down-disabled kept=%s", n.Name, cmp.Or(n.Kept, "-"))
		}
		if n.Excluded {
			say("node %s excluded by=%s", n.Name, cmp.Or(n.OutBy, "-"))
		}
		if n.Cordoned {
			say("node %s cordoned", n.Name)
		}
	}
	for _, w := range c.workloads {
		say("%s replicas=%d", w.Owner, w.Replicas)
		if w.suspended {
			say("%s suspended", w.Owner)
		}
		if w.revision > 0 {
			say("%s template %d", w.Owner, w.revision)
		}
		if w.Scaler != nil {
			say("%s autoscaler %s min=%d max=%d", w.Owner, w.Scaler.Name, w.Scaler.Min, w.Scaler.Max)
		}
		if m := w.surging; m != nil {
			say("%s surge run=%s pod=%s replicas=%d min=%d max=%d", w.Owner, m.Run, m.Pod, m.Replicas, m.Min, m.Max)
		}
		for _, p := range w.pods {
			if p.cost != "" && !p.Terminating {
				say("pod %s deletion-cost=%s", p.identity(), p.cost)
			}
			if p.prior != nil && !p.Terminating {
				say("pod %s prior deletion-cost=%s", p.identity(), cmp.Or(p.prior.cost, "-"))
			}
		}
	}
	for _, x := range c.allThings() {
		if p := x.part(); p.Turn != fleet.Scaled && x.named().Kind != "Job" {
			say("%s %s=%s", x.named(), p.Turn, worth(p.Value, p.Absent))
		}
		if m := x.base().mark; m != nil {
			say("%s mark %s", x.named(), m)
		}
	}
	for name, e := range c.environments {
		if e.Record != nil {
			say("environment %s record %s", name, e.Record.Run)
		}
	}
	for name, m := range c.moves {
		say("store %s move of %s by %s", name, m.Pod.Name, m.Run)
	}
	slices.Sort(out)
	return strings.Join(out, "\n") + "\n"
}
