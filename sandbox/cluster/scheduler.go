package cluster

import (
	"fmt"
	"slices"
	"strings"

	"drover.dev/fleet"
)

// schedule gives every pending pod a node, oldest first. Pods of one workload are alike: where one found nothing, the next is not tried until
// something has changed. A pod that was placed may be what another wants to be near.
func (c *Cluster) schedule() {
	waiting := c.pending
	c.pending = nil
	var still []*pod
	placed, near := false, false
	for _, p := range waiting {
		n, words := c.choose(p)
		if n == nil {
			p.Unplaced = words
			still = append(still, p)
			near = near || len(p.Together) > 0
			continue
		}
		c.bind(p, n)
		c.podChanged(p)
		placed = true
	}
	c.pending = append(still, c.pending...)
	if placed && near {
		c.freed()
	}
}

// choose returns the best node for a pod, or the scheduler's words when there is none.
func (c *Cluster) choose(p *pod) (*node, string) {
	alike := p.volume == nil && p.pin == nil
	switch {
	case p.tried == c.room:
		return nil, p.Unplaced
	case alike && p.w.tried == c.room:
		p.tried = c.room
		return nil, p.w.words
	}
	others := c.neighbours(p)
	no := map[string]int{}
	var fit []*node
	for _, n := range c.nodes {
		if why := c.refuses(n, p, others); len(why) > 0 {
			for _, reason := range why {
				no[reason]++
			}
			continue
		}
		fit = append(fit, n)
	}
	if len(fit) > 0 {
		return c.best(fit, p), ""
	}
	words := c.explain(no)
	p.tried = c.room
	if alike {
		p.w.tried, p.w.words = c.room, words
	}
	return nil, words
}

// explain says in the scheduler's words why no node will do.
func (c *Cluster) explain(no map[string]int) string {
	if len(c.nodes) == 0 {
		return "no nodes available to schedule pods"
	}
	var parts []string
	for reason, n := range no {
		parts = append(parts, fmt.Sprintf("%d %s", n, reason))
	}
	slices.Sort(parts)
	return fmt.Sprintf("0/%d nodes are available: %s.", len(c.nodes), strings.Join(parts, ", "))
}

// refuses returns why a node will not do: the words of the first filter that says no.
func (c *Cluster) refuses(n *node, p *pod, others neighbours) []string {
	if p.pin != nil && p.pin != n {
		return []string{"node(s) didn't match Pod's node affinity/selector"}
	}
	for _, t := range n.Taints {
		switch {
		case t.Effect == fleet.PreferNoSchedule || p.Tolerates(t):
		case t.Key == unschedulable:
			return []string{"node(s) were unschedulable"}
		default:
			return []string{fmt.Sprintf("node(s) had untolerated taint {%s: %s}", t.Key, t.Value)}
		}
	}
	if !p.w.spec.selects(n) {
		return []string{"node(s) didn't match Pod's node affinity/selector"}
	}
	if why := lacks(n.free, p.Requests); len(why) > 0 {
		return why
	}
	if p.volume != nil && p.volume.zone != "" && p.volume.zone != n.Zone {
		return []string{"node(s) had volume node affinity conflict"}
	}
	if why := others.refuse(n); why != "" {
		return []string{why}
	}
	return nil
}

// lacks names the resources that a node has too little of.
func lacks(free, want fleet.Resources) []string {
	var out []string
	if want.Pods > free.Pods {
		out = append(out, "Too many pods")
	}
	if want.CPU > 0 && want.CPU > free.CPU {
		out = append(out, "Insufficient cpu")
	}
	if want.Memory > 0 && want.Memory > free.Memory {
		out = append(out, "Insufficient memory")
	}
	for name, n := range want.Other {
		if n > 0 && n > free.Other[name] {
			out = append(out, "Insufficient "+name)
		}
	}
	return out
}

// The weights of the default scheduler's scores; each score is 0 to 100.
const (
	resourceWeight = 1
	taintWeight    = 3
	spreadWeight   = 2
)

// best returns the node with the highest score; the dice decide between equals, as the scheduler's do.
func (c *Cluster) best(fit []*node, p *pod) *node {
	soft, alike := make([]int, len(fit)), make([]int, len(fit))
	for i, n := range fit {
		soft[i] = untolerated(n, p)
	}
	for _, o := range p.w.pods {
		if o.node != nil && !o.Terminating {
			if i := slices.Index(fit, o.node); i >= 0 {
				alike[i]++
			}
		}
	}
	var best []*node
	highest, softest, crowd := -1, slices.Max(soft), slices.Max(alike)
	for i, n := range fit {
		score := resourceWeight*c.fill(n, p) + taintWeight*inverse(soft[i], softest)
		if !c.pack {
			score += spreadWeight * inverse(alike[i], crowd)
		}
		if score > highest {
			best, highest = nil, score
		}
		if score == highest {
			best = append(best, n)
		}
	}
	return best[c.dice.IntN(len(best))]
}

// inverse is 100 for none and 0 for the most.
func inverse(n, most int) int {
	if most == 0 {
		return 100
	}
	return 100 - 100*n/most
}

// untolerated counts the taints that make a node a poor choice.
func untolerated(n *node, p *pod) int {
	count := 0
	for _, t := range n.Taints {
		if t.Effect == fleet.PreferNoSchedule && !p.Tolerates(t) {
			count++
		}
	}
	return count
}

// fill scores how empty a node would be with the pod on it; for the packing scheduler, how full.
func (c *Cluster) fill(n *node, p *pod) int {
	left := (percent(n.free.CPU-p.Requests.CPU, n.Room.CPU) + percent(n.free.Memory-p.Requests.Memory, n.Room.Memory)) / 2
	if c.pack {
		return 100 - left
	}
	return left
}

func percent(part, whole int64) int {
	if whole <= 0 {
		return 0
	}
	return int(max(part, 0) * 100 / whole)
}
