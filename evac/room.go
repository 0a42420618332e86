package evac

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"drover.dev/fleet"
)

// room is the free space on the nodes that may receive pods, with the space promised to pods on their way already taken off. What it models:
// requests, pod slots, taints, nodeSelector, required node affinity, volume zones, required affinity between pods, spread that forbids. It does
// not model preferences; a pod that the scheduler refuses all the same says so in its own hold.
type room struct {
	ix      *index
	classes []*class
	nodes   int
	total   fleet.Resources // CPU, Memory and Pods of all slots
	taken   []taken
	news    *company            // the pods placed here; nil when no pod minds where others are
	moved   map[*fleet.Pod]bool // those of them that were elsewhere before
	gone    string              // a node taken to be gone already
	quiet   bool                // nobody reads why a pod has no room
}

// class is nodes that no pod's taints, labels or zone can tell apart, those with the most free CPU first.
type class struct {
	like  *fleet.Node // any of them
	slots []*slot
}

type slot struct {
	node  *fleet.Node
	free  fleet.Resources
	order int // in the snapshot
}

// taken is one placement, to be undone.
type taken struct {
	c   *class
	s   *slot
	pod *fleet.Pod
}

// newRoom looks at every Ready node outside leaving, and takes off what is promised to pods on their way.
func newRoom(ix *index, leaving map[string]bool) *room {
	r := unpromised(ix, func(n *fleet.Node) bool { return leaving[n.Name] })
	r.promise(ix)
	return r
}

// unpromised is the space that the scheduler sees.
func unpromised(ix *index, leaving func(*fleet.Node) bool) *room {
	r := &room{ix: ix, news: ix.company.blank(), moved: map[*fleet.Pod]bool{}}
	byShape := map[string]*class{}
	slots := make([]slot, 0, len(ix.s.Nodes))
	for i := range ix.s.Nodes {
		n := &ix.s.Nodes[i]
		if !n.Ready || n.Cordoned || leaving(n) {
			continue
		}
		at := ix.beside[i]
		shape := at.shapeOf(n, ix.asked)
		c := byShape[shape]
		if c == nil {
			c = &class{like: n}
			byShape[shape] = c
			r.classes = append(r.classes, c)
		}
		slots = append(slots, slot{node: n, free: n.Room.Sub(at.used), order: i})
		s := &slots[len(slots)-1]
		c.slots = append(c.slots, s)
		r.nodes++
		r.sum(s.free, 1)
	}
	for _, c := range r.classes {
		slices.SortFunc(c.slots, roomier)
	}
	return r
}

// roomier orders slots as the scheduler's default scoring would tend to: the most free CPU first.
func roomier(a, b *slot) int {
	if a.free.CPU != b.free.CPU {
		return cmp.Compare(b.free.CPU, a.free.CPU)
	}
	return a.order - b.order
}

func (r *room) sum(free fleet.Resources, sign int64) {
	r.total.CPU += sign * max(0, free.CPU)
	r.total.Memory += sign * max(0, free.Memory)
	r.total.Pods += sign * max(0, free.Pods)
}

// shapeOf is what taints, labels that some pod asks for, and zone say of a node: nodes of one shape take the same pods.
func (at *seat) shapeOf(n *fleet.Node, asked []string) string {
	if at.shape != "" {
		return at.shape
	}
	var b strings.Builder
	b.WriteString("zone " + n.Zone)
	for _, t := range n.Taints {
		if t.Effect != fleet.PreferNoSchedule {
			b.WriteString("|" + t.Key + "=" + t.Value + ":" + t.Effect)
		}
	}
	for _, k := range asked {
		if v, ok := n.Labels[k]; ok {
			b.WriteString("|" + k + "=" + v)
		}
	}
	at.shape = b.String()
	return at.shape
}

// asks notes the node labels that a pod asks for.
func asks(p *fleet.Pod, into map[string]bool) {
	for k := range p.Selector {
		into[k] = true
	}
	for _, t := range p.Affinity {
		for _, q := range t {
			into[q.Key] = true
		}
	}
}

// promise reserves space for pods that exist without a node, and for those their controllers are about to create.
func (r *room) promise(ix *index) {
	for _, p := range ix.waiting() {
		r.place(p)
	}
	for _, w := range ix.wanting() {
		for n := w.alive; n < w.replicas; n++ {
			r.place(w.sample)
		}
	}
}

// place takes the pod's space on the node with the most free CPU that fits it; when none fits it returns why not.
func (r *room) place(p *fleet.Pod) (node, why string) {
	near := r.near(p)
	c, best := r.best(p, near)
	if best == nil {
		return "", r.explain(p, near)
	}
	r.take(taken{c, best, p})
	return best.node.Name, ""
}

// fit is place for callers that do not ask why not.
func (r *room) fit(p *fleet.Pod) bool {
	c, best := r.best(p, r.near(p))
	if best != nil {
		r.take(taken{c, best, p})
	}
	return best != nil
}

func (r *room) best(p *fleet.Pod, near *near) (*class, *slot) {
	var in *class
	var best *slot
	for _, c := range r.classes {
		if bars(c.like, p) != "" {
			continue
		}
		for _, s := range c.slots {
			if p.Requests.CPU > 0 && s.free.CPU < p.Requests.CPU || best != nil && roomier(best, s) < 0 {
				break // nor do those after it
			}
			if covers(s.free, p.Requests) && near.bars(s.node).kind == "" {
				in, best = c, s
				break
			}
		}
	}
	return in, best
}

func covers(free, need fleet.Resources) bool {
	if need.CPU > max(0, free.CPU) || need.Memory > max(0, free.Memory) || need.Pods > max(0, free.Pods) {
		return false
	}
	for k, v := range need.Other {
		if v > 0 && v > free.Other[k] {
			return false
		}
	}
	return true
}

func (r *room) take(t taken) {
	r.taken = append(r.taken, t)
	r.set(t, t.s.free.Sub(t.pod.Requests))
	if r.news != nil {
		r.news.enter(t.pod, t.s.node.Name)
		r.moved[t.pod] = true
	}
}

// undo gives back what was taken since there were n placements.
func (r *room) undo(n int) {
	for len(r.taken) > n {
		t := r.taken[len(r.taken)-1]
		r.taken = r.taken[:len(r.taken)-1]
		r.set(t, t.s.free.Add(t.pod.Requests))
		r.news.leave(t.pod)
		delete(r.moved, t.pod)
	}
}

// set changes what is free in a slot, and keeps its class in order.
func (r *room) set(t taken, free fleet.Resources) {
	slots := t.c.slots
	from, _ := slices.BinarySearchFunc(slots, t.s, roomier)
	r.sum(t.s.free, -1)
	t.s.free = free
	r.sum(free, 1)
	for ; from+1 < len(slots) && roomier(slots[from+1], t.s) < 0; from++ {
		slots[from] = slots[from+1]
	}
	for ; from > 0 && roomier(t.s, slots[from-1]) < 0; from-- {
		slots[from] = slots[from-1]
	}
	slots[from] = t.s
}

// refusal is why a node does not take a pod; nodes that refuse for one kind of reason are counted together.
type refusal struct{ kind, why string }

func (r *room) explain(p *fleet.Pod, near *near) string {
	switch {
	case r.nodes == 0:
		return "no other node is Ready"
	case r.quiet:
		return "no room"
	}
	count := map[string]int{}
	first := map[string]string{}
	for _, c := range r.classes {
		if why := bars(c.like, p); why != "" {
			count[why] += len(c.slots)
			first[why] = why
			continue
		}
		for _, s := range c.slots {
			no := near.bars(s.node)
			if lacks := s.free.Lacks(p.Requests); lacks != "" {
				no = refusal{"free", "free is " + lacks}
			}
			if count[no.kind]++; first[no.kind] == "" {
				first[no.kind] = no.why
			}
		}
	}
	most := ""
	for k, n := range count {
		if most == "" || n > count[most] || n == count[most] && k < most {
			most = k
		}
	}
	return fmt.Sprintf("no room on %d other nodes: on %d %s", r.nodes, count[most], first[most])
}

// bars says why the pod could not be on the node even if it were empty.
func bars(n *fleet.Node, p *fleet.Pod) string {
	for _, t := range n.Taints {
		if t.Effect != fleet.PreferNoSchedule && !p.Tolerates(t) {
			return "taint " + t.Key + " keeps it off"
		}
	}
	if why := unasked(n, p); why != "" {
		return why
	}
	if len(p.VolumeZones) > 0 && !slices.Contains(p.VolumeZones, n.Zone) {
		return fmt.Sprintf("zone %s cannot attach its volume (%v)", n.Zone, p.VolumeZones)
	}
	return ""
}

// unasked says why a node is not one of those that the pod asks for by label.
func unasked(n *fleet.Node, p *fleet.Pod) string {
	for k, v := range p.Selector {
		if n.Labels[k] != v {
			return fmt.Sprintf("label %s=%s is missing", k, v)
		}
	}
	if len(p.Affinity) > 0 && !slices.ContainsFunc(p.Affinity, func(t fleet.Term) bool { return t.Holds(n.Labels) }) {
		return "its node affinity does not match"
	}
	return ""
}
