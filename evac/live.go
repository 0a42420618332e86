package evac

import (
	"slices"

	"drover.dev/fleet"
)

// These are the ways in which Preview's world looks things up and changes. With an index it is asked, and told; without one every question is
// answered from the snapshot alone.

func (w *preview) index() *index {
	if w.ix == nil {
		return newIndex(&w.s)
	}
	if w.stale {
		w.ix.machines()
		w.stale = false
	}
	w.ix.refresh()
	return w.ix
}

func (w *preview) nodeOf(instance string) *fleet.Node {
	if w.ix == nil {
		return w.s.NodeOf(instance)
	}
	return w.index().nodeOf[instance]
}

func (w *preview) node(name string) *fleet.Node {
	if w.ix == nil {
		return w.s.Node(name)
	}
	return w.index().node[name]
}

// on lists the pods of a node; nodes and instances that came or went do not matter to it.
func (w *preview) on(node string) []tenant {
	if w.ix == nil {
		return newIndex(&w.s).on(node)
	}
	return w.ix.on(node)
}

func (w *preview) pod(uid string) *fleet.Pod {
	if w.ix != nil {
		return w.ix.pod(uid)
	}
	if i := slices.IndexFunc(w.s.Pods, func(p fleet.Pod) bool { return p.Ref.UID == uid }); i >= 0 {
		return &w.s.Pods[i]
	}
	return nil
}

// assume is Assume, told to the index.
func (w *preview) assume(a fleet.Action) bool {
	if a.Verb.Store() || a.Verb == fleet.Lend || a.Verb == fleet.Unlend || a.Verb == fleet.Call {
		return w.imagine(a)
	}
	if w.ix == nil {
		return Assume(&w.s, a)
	}
	changed := false
	switch a.Verb {
	case fleet.Evict:
		w.end(a.Pod.UID, &changed)
	case fleet.Surge, fleet.Unsurge:
		changed = assumeSurge(w.ix.declared[a.Workload], a, func() (ended bool) {
			w.end(a.Pod.UID, &ended)
			return ended
		})
		if o := w.ix.workloads[a.Workload]; o != nil {
			for _, p := range o.pods {
				w.ix.changed(p)
			}
		}
		w.ix.countGiven()
	case fleet.Taint_, fleet.Untaint:
		changed = Assume(&w.s, a)
		w.reshaped(a.Node)
	default:
		changed = Assume(&w.s, a)
	}
	return changed
}

// end begins the end of a pod.
func (w *preview) end(uid string, changed *bool) {
	if p := w.pod(uid); p != nil {
		w.edit(p, func() { *changed = startEviction(p, func(name string) *fleet.Budget { return w.ix.budget[name] }) })
	}
}

// reshaped says that a node's taints have changed.
func (w *preview) reshaped(node string) {
	if w.ix != nil {
		at := w.ix.seat(node)
		at.shape, at.resident = "", nil // Ready may have changed with them
	}
}

// edit changes a pod's readiness or begins its end.
func (w *preview) edit(p *fleet.Pod, change func()) {
	before := serving(p)
	change()
	if w.ix != nil {
		w.tally(p, before, serving(p))
		w.ix.changed(p)
	}
}

// tally brings the budgets of one pod up to date.
func (w *preview) tally(p *fleet.Pod, before, after bool) {
	for _, name := range p.Budgets {
		b := w.ix.budget[name]
		switch {
		case b == nil:
			continue
		case after && !before:
			b.Healthy++
			w.ix.healthy[name]++
		case before && !after:
			b.Healthy--
			w.ix.healthy[name]--
		}
		b.Allowed = max(0, b.Healthy-b.Desired)
	}
}

// bind gives a pending pod its node.
func (w *preview) bind(p *fleet.Pod, node string) {
	if w.ix == nil {
		p.Node = node
		return
	}
	p.Node = node
	w.ix.settle(p)
}

// insert adds a pod.
func (w *preview) insert(p fleet.Pod) {
	if w.ix == nil {
		w.s.Pods = append(w.s.Pods, p)
		return
	}
	var at *fleet.Pod
	switch n := len(w.empty); {
	case n > 0:
		at, w.empty = w.empty[n-1], w.empty[:n-1]
		*at = p
	case len(w.s.Pods) < cap(w.s.Pods):
		w.s.Pods = append(w.s.Pods, p)
		at = &w.s.Pods[len(w.s.Pods)-1]
	default: // the pods move in memory
		w.s.Pods = append(w.s.Pods, p)
		w.ix, w.stale, w.empty = newIndex(&w.s), false, nil
		return
	}
	w.ix.add(at)
	w.tally(at, false, serving(at))
}

// drop takes a pod out. With an index its place stays, as a finished pod of nobody, until another pod takes it.
func (w *preview) drop(uid string) {
	if p := w.pod(uid); p != nil && len(w.s.Stores) > 0 {
		w.left(p.Ref)
	}
	if w.ix == nil {
		w.s.Pods = slices.DeleteFunc(w.s.Pods, func(p fleet.Pod) bool { return p.Ref.UID == uid })
		return
	}
	p := w.pod(uid)
	if p == nil {
		return
	}
	w.tally(p, serving(p), false)
	w.ix.remove(p)
	*p = fleet.Pod{Finished: true}
	w.empty = append(w.empty, p)
}

// keepIndex builds the index that is told of every change, with places for the pods that will come before others have gone.
func (w *preview) keepIndex() {
	more := len(w.s.Pods)/4 + 32
	for _, gp := range w.plan.Groups {
		more += 32 * gp.Surge // for the DaemonSets' pods on new nodes
	}
	w.s.Pods = append(make([]fleet.Pod, 0, len(w.s.Pods)+more), w.s.Pods...)
	w.ix = newIndex(&w.s)
}

// addNode adds a node.
func (w *preview) addNode(n fleet.Node) {
	moves := len(w.s.Nodes) == cap(w.s.Nodes)
	w.s.Nodes = append(w.s.Nodes, n)
	if w.ix == nil || w.stale || moves {
		w.stale = true
		return
	}
	w.ix.addNode(&w.s.Nodes[len(w.s.Nodes)-1])
}

// addInstance adds an instance to a group.
func (w *preview) addInstance(g *fleet.Group, in fleet.Instance) {
	moves := len(g.Instances) == cap(g.Instances)
	g.Instances = append(g.Instances, in)
	if w.ix == nil || w.stale || moves {
		w.stale = true
		return
	}
	w.ix.addInstance(g, &g.Instances[len(g.Instances)-1])
}
