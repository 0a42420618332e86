package evac

import (
	"fmt"
	"slices"

	"drover.dev/fleet"
)

// company is pods by where they are and by the labels that some pod minds: required affinity between pods, and spread that forbids. A fleet in
// which nobody minds anybody has none.
type company struct {
	names  map[string]bool     // pod labels that some term looks at
	wide   bool                // some term looks at all pods of a namespace
	by     map[spot][]standing // pods that a term may mean
	repels map[spot][]standing // pods with anti-affinity, by what they repel
}

// spot is one value of a pod label in a namespace; with an empty name, all of the namespace; the zero spot is everything.
type spot struct{ namespace, name, value string }

type standing struct {
	pod  *fleet.Pod
	node string
}

func newCompany(s *fleet.Snapshot) *company {
	var c *company
	note := func(namespaces []string, match fleet.Term) {
		if c == nil {
			c = &company{names: map[string]bool{}}
		}
		if i := narrow(match); i < 0 || slices.Contains(namespaces, "*") {
			c.wide = true
		} else {
			c.names[match[i].Key] = true
		}
	}
	for i := range s.Pods {
		p := &s.Pods[i]
		for _, t := range p.Apart {
			note(t.Namespaces, t.Match)
		}
		for _, t := range p.Together {
			note(t.Namespaces, t.Match)
		}
		for _, t := range p.Spread {
			note(nil, t.Match)
		}
	}
	return c.blank()
}

// blank is a company of nobody that minds the same labels.
func (c *company) blank() *company {
	if c == nil {
		return nil
	}
	return &company{names: c.names, wide: c.wide, by: map[spot][]standing{}, repels: map[spot][]standing{}}
}

// narrow finds the requirement by which a term is looked up, or -1.
func narrow(match fleet.Term) int {
	return slices.IndexFunc(match, func(q fleet.Requirement) bool { return q.Operator == "In" })
}

// spots are where the pods of a term are to be found.
func spots(namespaces []string, match fleet.Term) []spot {
	if slices.Contains(namespaces, "*") {
		return []spot{{}}
	}
	var out []spot
	i := narrow(match)
	for _, ns := range namespaces {
		if i < 0 {
			out = append(out, spot{namespace: ns})
			continue
		}
		for _, v := range match[i].Values {
			out = append(out, spot{ns, match[i].Key, v})
		}
	}
	return out
}

// of lists the spots that a pod is at.
func (c *company) of(p *fleet.Pod) []spot {
	var out []spot
	if c.wide {
		out = append(out, spot{}, spot{namespace: p.Ref.Namespace})
	}
	for k := range c.names {
		if v, ok := p.Labels[k]; ok {
			out = append(out, spot{p.Ref.Namespace, k, v})
		}
	}
	return out
}

func (c *company) enter(p *fleet.Pod, node string) {
	if c == nil || node == "" {
		return
	}
	for _, at := range c.of(p) {
		c.by[at] = append(c.by[at], standing{p, node})
	}
	for _, t := range p.Apart {
		for _, at := range spots(t.Namespaces, t.Match) {
			c.repels[at] = append(c.repels[at], standing{p, node})
		}
	}
}

func (c *company) leave(p *fleet.Pod) {
	if c == nil {
		return
	}
	for _, at := range c.of(p) {
		c.by[at] = without(c.by[at], p)
	}
	for _, t := range p.Apart {
		for _, at := range spots(t.Namespaces, t.Match) {
			c.repels[at] = without(c.repels[at], p)
		}
	}
}

// without takes out the standing of a pod that came last.
func without(in []standing, p *fleet.Pod) []standing {
	for i := len(in) - 1; i >= 0; i-- {
		if in[i].pod == p {
			return slices.Delete(in, i, i+1)
		}
	}
	return in
}

// near is what the pods there are now mean for where one pod may go. Pods that are shutting down do not count any more: by the time it matters
// they are gone.
type near struct {
	apart    []walls
	together []walls
	spread   []skew
}

// walls are the domains of a node label in which certain pods are, with one of the pods.
type walls struct {
	topology string
	in       map[string]*fleet.Pod
}

// skew is a spread constraint with its pods counted.
type skew struct {
	fleet.Spread
	count   map[string]int // by domain that counts
	self    int            // 1 when the pod counts itself
	least   int
	leastIn string
}

// near is nil for a pod that nobody minds and that minds nobody.
func (r *room) near(p *fleet.Pod) *near {
	if r.news == nil {
		return nil
	}
	out := &near{}
	for _, t := range p.Apart {
		out.apart = append(out.apart, r.walls(t, p))
	}
	for _, at := range r.news.of(p) {
		r.see(at, repelling, p, func(q *fleet.Pod, n *fleet.Node) {
			for _, t := range q.Apart {
				if d := domain(n, t.Topology); d != "" && meant(t, p) {
					out.apart = append(out.apart, walls{t.Topology, map[string]*fleet.Pod{d: q}})
				}
			}
		})
	}
	for _, t := range p.Together {
		if w := r.walls(t, p); len(w.in) > 0 || !meant(t, p) {
			out.together = append(out.together, w) // the first of a kind that keeps to itself may be anywhere
		}
	}
	for _, t := range p.Spread {
		out.spread = append(out.spread, r.skew(t, p))
	}
	return out
}

func meant(t fleet.PodTerm, p *fleet.Pod) bool {
	return t.Match.Holds(p.Labels) && (slices.Contains(t.Namespaces, p.Ref.Namespace) || slices.Contains(t.Namespaces, "*"))
}

func repelling(c *company, at spot) []standing  { return c.repels[at] }
func standingAt(c *company, at spot) []standing { return c.by[at] }

// see visits the pods at a spot, those placed in this room where they are to be.
func (r *room) see(at spot, which func(*company, spot) []standing, but *fleet.Pod, visit func(*fleet.Pod, *fleet.Node)) {
	for _, s := range which(r.ix.company, at) {
		if n := r.ix.node[s.node]; n != nil && s.pod != but && !s.pod.Terminating && !r.moved[s.pod] && s.node != r.gone {
			visit(s.pod, n)
		}
	}
	for _, s := range which(r.news, at) {
		visit(s.pod, r.ix.node[s.node])
	}
}

func (r *room) walls(t fleet.PodTerm, p *fleet.Pod) walls {
	w := walls{t.Topology, map[string]*fleet.Pod{}}
	for _, at := range spots(t.Namespaces, t.Match) {
		r.see(at, standingAt, p, func(q *fleet.Pod, n *fleet.Node) {
			if d := domain(n, t.Topology); d != "" && t.Match.Holds(q.Labels) {
				w.in[d] = q
			}
		})
	}
	return w
}

// skew counts as the scheduler does: by default a tainted node is a domain like any other, so that old nodes, as they empty, become the one with
// the fewest.
func (r *room) skew(t fleet.Spread, p *fleet.Pod) skew {
	s := skew{Spread: t, count: map[string]int{}}
	for i := range r.ix.s.Nodes {
		n := &r.ix.s.Nodes[i]
		if n.Name == r.gone || unasked(n, p) != "" || t.HonorTaints && tainted(n, p) {
			continue
		}
		if d := domain(n, t.Topology); d != "" {
			s.count[d] += 0
		}
	}
	for _, at := range spots([]string{p.Ref.Namespace}, t.Match) {
		r.see(at, standingAt, p, func(q *fleet.Pod, n *fleet.Node) {
			d := domain(n, t.Topology)
			if _, counts := s.count[d]; counts && t.Match.Holds(q.Labels) {
				s.count[d]++
			}
		})
	}
	for d, n := range s.count {
		if s.leastIn == "" || n < s.least || n == s.least && d < s.leastIn {
			s.least, s.leastIn = n, d
		}
	}
	if len(s.count) < t.MinDomains {
		s.least, s.leastIn = 0, fmt.Sprintf("one of %d domains that are not there", t.MinDomains-len(s.count))
	}
	if t.Match.Holds(p.Labels) {
		s.self = 1
	}
	return s
}

func tainted(n *fleet.Node, p *fleet.Pod) bool {
	return slices.ContainsFunc(n.Taints, func(t fleet.Taint) bool { return t.Effect != fleet.PreferNoSchedule && !p.Tolerates(t) })
}

// domain is a node's value of a topology label; "" when it has none.
func domain(n *fleet.Node, topology string) string {
	if v := n.Labels[topology]; v != "" {
		return v
	}
	switch topology {
	case hostname:
		return n.Name
	case zoneLabel:
		return n.Zone
	}
	return ""
}

// Node labels that every node has.
const (
	hostname  = "kubernetes.io/hostname"
	zoneLabel = "topology.kubernetes.io/zone"
)

// bars says why the pods that are there keep one off a node.
func (c *near) bars(n *fleet.Node) refusal {
	if c == nil {
		return refusal{}
	}
	for _, w := range c.apart {
		if q := w.in[domain(n, w.topology)]; q != nil {
			return refusal{"apart " + w.topology, fmt.Sprintf("anti-affinity over %s: %s is in %s", w.topology, q.Ref, domain(n, w.topology))}
		}
	}
	for _, w := range c.together {
		if w.in[domain(n, w.topology)] == nil {
			return refusal{"together " + w.topology, fmt.Sprintf("affinity over %s: no pod that it has to be with is in %s", w.topology, domain(n, w.topology))}
		}
	}
	for _, s := range c.spread {
		d := domain(n, s.Topology)
		if have, counts := s.count[d]; !counts || have+s.self-s.least > s.MaxSkew {
			return refusal{"spread " + s.Topology, fmt.Sprintf("spread over %s: %d in %s, %d in %s, may differ by %d", s.Topology, have, d, s.least, s.leastIn, s.MaxSkew)}
		}
	}
	return refusal{}
}

// minds tells whether where other pods are may keep the pod off a node.
func (n *near) minds() bool { return n != nil && len(n.apart)+len(n.together)+len(n.spread) > 0 }
