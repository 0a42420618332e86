package evac

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"drover.dev/fleet"
)

// room is the free space on the nodes that may receive pods, with the space promised to pods on their way already taken off. What it models:
// requests, pod slots, taints, nodeSelector, required node affinity, volume zones. It does not model affinity between pods or spread
// constraints: there the scheduler may refuse what room thought would fit, and the pod's own hold then says so.
type room struct {
	nodes []*fleet.Node
	free  map[string]fleet.Resources
}

// newRoom looks at every Ready node outside leaving, and takes off what is promised to pods on their way.
func newRoom(ix *index, leaving map[string]bool) *room {
	r := unpromised(ix, leaving)
	r.promise(ix)
	return r
}

// unpromised is the space that the scheduler sees.
func unpromised(ix *index, leaving map[string]bool) *room {
	r := &room{free: map[string]fleet.Resources{}}
	for i := range ix.s.Nodes {
		n := &ix.s.Nodes[i]
		if !n.Ready || n.Cordoned || leaving[n.Name] {
			continue
		}
		free := n.Room
		for _, p := range ix.pods[n.Name] {
			if !p.Finished {
				free = free.Sub(p.Requests)
			}
		}
		r.nodes = append(r.nodes, n)
		r.free[n.Name] = free
	}
	return r
}

// promise reserves space for pods that exist without a node, and for those their controllers are about to create.
func (r *room) promise(ix *index) {
	for i := range ix.s.Pods {
		if p := &ix.s.Pods[i]; p.Node == "" && !p.Finished && !p.Terminating {
			r.place(p)
		}
	}
	for _, o := range ix.owners() {
		w := ix.workloads[o]
		for n := w.alive; n < w.replicas && w.sample.Stays() == ""; n++ {
			r.place(w.sample)
		}
	}
}

// place takes the pod's space on the node with the most free CPU that fits it, as the scheduler's default scoring would tend to; when none
// fits it returns why not.
func (r *room) place(p *fleet.Pod) (node, why string) {
	var best *fleet.Node
	reasons := map[string]int{}
	for _, n := range r.nodes {
		if no := r.refuses(n, p); no != "" {
			reasons[no]++
			continue
		}
		if best == nil || r.free[n.Name].CPU > r.free[best.Name].CPU {
			best = n
		}
	}
	if best == nil {
		return "", r.explain(reasons)
	}
	r.free[best.Name] = r.free[best.Name].Sub(p.Requests)
	return best.Name, ""
}

func (r *room) explain(reasons map[string]int) string {
	if len(r.nodes) == 0 {
		return "no other node is Ready"
	}
	var keys []string
	for k := range reasons {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(reasons[b]-reasons[a], cmp.Compare(a, b)) })
	return fmt.Sprintf("no room on %d other nodes: on %d %s", len(r.nodes), reasons[keys[0]], keys[0])
}

// clone lets a caller try placements and drop them.
func (r *room) clone() *room {
	c := &room{nodes: r.nodes, free: make(map[string]fleet.Resources, len(r.free))}
	for k, v := range r.free {
		c.free[k] = v
	}
	return c
}

func (r *room) refuses(n *fleet.Node, p *fleet.Pod) string {
	for _, t := range n.Taints {
		if t.Effect != fleet.PreferNoSchedule && !p.Tolerates(t) {
			return "taint " + t.Key + " keeps it off"
		}
	}
	for k, v := range p.Selector {
		if n.Labels[k] != v {
			return fmt.Sprintf("label %s=%s is missing", k, v)
		}
	}
	if len(p.Affinity) > 0 && !slices.ContainsFunc(p.Affinity, func(t fleet.Term) bool { return matches(t, n.Labels) }) {
		return "its node affinity does not match"
	}
	if len(p.VolumeZones) > 0 && !slices.Contains(p.VolumeZones, n.Zone) {
		return fmt.Sprintf("zone %s cannot attach its volume (%v)", n.Zone, p.VolumeZones)
	}
	if lacks := r.free[n.Name].Lacks(p.Requests); lacks != "" {
		return "free is " + lacks
	}
	return ""
}

func matches(t fleet.Term, labels map[string]string) bool {
	for _, q := range t {
		have, ok := labels[q.Key]
		switch q.Operator {
		case "In":
			ok = ok && slices.Contains(q.Values, have)
		case "NotIn":
			ok = !ok || !slices.Contains(q.Values, have)
		case "DoesNotExist":
			ok = !ok
		case "Gt", "Lt":
			a, e1 := strconv.Atoi(have)
			b, e2 := strconv.Atoi(append(slices.Clone(q.Values), "")[0])
			ok = e1 == nil && e2 == nil && (q.Operator == "Gt" && a > b || q.Operator == "Lt" && a < b)
		}
		if !ok {
			return false
		}
	}
	return true
}
