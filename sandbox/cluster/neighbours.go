package cluster

import (
	"slices"

	"drover.dev/fleet"
)

// domain is a part of the cluster: the nodes on which a label has one value.
type domain struct{ key, value string }

// neighbours is what other pods mean for a pod that seeks a node.
type neighbours struct {
	apart  map[domain]bool // where pods are that it must not be near
	shunts map[domain]bool // where pods are that must not be near it
	near   []nearness
	spread []spreading
}

// nearness is one term of required affinity: the domains that will do.
type nearness struct {
	key   string
	in    map[string]bool
	first bool // nobody matches but the pod itself: any domain will do
}

// spreading is one spread constraint, with its pods counted.
type spreading struct {
	fleet.Spread
	count map[string]int // by domain
	least int
	self  int // 1 when the pod counts itself
}

// neighbours looks at the other pods once, for all nodes. It goes by workloads: the pods of one all have the same labels.
func (c *Cluster) neighbours(p *pod) neighbours {
	var out neighbours
	if len(p.Apart) > 0 {
		out.apart = map[domain]bool{}
	}
	for _, t := range p.Apart {
		c.eachMeant(t, func(o *pod) { note(out.apart, t.Topology, o.node) })
	}
	for _, w := range c.workloads {
		for _, t := range w.spec.Apart {
			if !means(t, p.w) {
				continue
			}
			if out.shunts == nil {
				out.shunts = map[domain]bool{}
			}
			for _, o := range w.pods {
				note(out.shunts, t.Topology, o.placed())
			}
		}
	}
	for _, t := range p.Together {
		n := nearness{key: t.Topology, in: map[string]bool{}, first: means(t, p.w)}
		c.eachMeant(t, func(o *pod) {
			n.first = false
			if v, ok := o.node.Labels[t.Topology]; ok {
				n.in[v] = true
			}
		})
		out.near = append(out.near, n)
	}
	for _, s := range p.Spread {
		out.spread = append(out.spread, c.spreading(s, p))
	}
	return out
}

// placed is the pod's node while it takes room there.
func (p *pod) placed() *node {
	if p.Finished {
		return nil
	}
	return p.node
}

func note(in map[domain]bool, key string, n *node) {
	if n == nil {
		return
	}
	if v, ok := n.Labels[key]; ok {
		in[domain{key, v}] = true
	}
}

// eachMeant visits the placed pods that a term speaks of. One that is shutting down is still there.
func (c *Cluster) eachMeant(t fleet.PodTerm, f func(*pod)) {
	for _, w := range c.workloads {
		if !means(t, w) {
			continue
		}
		for _, o := range w.pods {
			if o.placed() != nil {
				f(o)
			}
		}
	}
}

// spreading counts the pods of a constraint in the domains that count: those of nodes that the pod's own selector allows, tainted ones too
// unless the constraint honors taints. Pods on their way out do not count.
func (c *Cluster) spreading(s fleet.Spread, p *pod) spreading {
	out := spreading{Spread: s, count: map[string]int{}}
	counts := map[*node]bool{}
	for _, n := range c.nodes {
		v, ok := n.Labels[s.Topology]
		if !ok || !p.w.spec.selects(n) || s.HonorTaints && shut(n, p) {
			continue
		}
		counts[n] = true
		out.count[v] += 0
	}
	for _, w := range c.workloads {
		if w.Owner.Namespace != p.Ref.Namespace || !matches(s.Match, w.spec.Labels) {
			continue
		}
		for _, o := range w.pods {
			if n := o.placed(); n != nil && counts[n] && !o.Terminating {
				out.count[n.Labels[s.Topology]]++
			}
		}
		if w == p.w {
			out.self = 1
		}
	}
	first := true
	for _, n := range out.count {
		if first || n < out.least {
			out.least, first = n, false
		}
	}
	if len(out.count) < s.MinDomains {
		out.least = 0
	}
	return out
}

// shut tells whether a node's taints keep the pod off.
func shut(n *node, p *pod) bool {
	return slices.ContainsFunc(n.Taints, func(t fleet.Taint) bool { return t.Effect != fleet.PreferNoSchedule && !p.Tolerates(t) })
}

// refuse says in the scheduler's words why a node will not do; "" when it will.
func (o neighbours) refuse(n *node) string {
	for _, s := range o.spread {
		v, ok := n.Labels[s.Topology]
		if !ok {
			return "node(s) didn't match pod topology spread constraints (missing required label)"
		}
		if s.count[v]+s.self-s.least > max(s.MaxSkew, 1) {
			return "node(s) didn't match pod topology spread constraints"
		}
	}
	for d := range o.shunts {
		if v, ok := n.Labels[d.key]; ok && v == d.value {
			return "node(s) didn't satisfy existing pods anti-affinity rules"
		}
	}
	for d := range o.apart {
		if v, ok := n.Labels[d.key]; ok && v == d.value {
			return "node(s) didn't match pod anti-affinity rules"
		}
	}
	for _, t := range o.near {
		if v, ok := n.Labels[t.key]; !ok || !t.first && !t.in[v] {
			return "node(s) didn't match pod affinity rules"
		}
	}
	return ""
}
