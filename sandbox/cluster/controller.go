package cluster

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"drover.dev/fleet"
)

// tendReplicas is the ReplicaSet controller, of a Deployment's only ReplicaSet: a pod that is on its way out is replaced at once.
func (c *Cluster) tendReplicas(w *workload) {
	if stale := w.stale(); len(stale) > 0 && w.Replicas > 0 {
		c.roll(w, stale)
		return
	}
	live := w.live()
	for n := len(live); n < w.Replicas; n++ {
		c.create(w, w.freeSlot())
	}
	if extra := len(live) - w.Replicas; extra > 0 {
		slices.SortFunc(live, w.firstToGo())
		for _, p := range live[:extra] {
			c.remove(p)
		}
	}
}

// live lists the pods that count as replicas.
func (w *workload) live() []*pod {
	var out []*pod
	for _, p := range w.pods {
		if !p.Terminating && !p.Finished {
			out = append(out, p)
		}
	}
	return out
}

// freeSlot is the lowest number that no live pod has. It makes a pod the successor of exactly one that left.
func (w *workload) freeSlot() int {
	taken := make([]bool, len(w.pods)+1)
	for _, p := range w.pods {
		if !p.Terminating && p.slot < len(taken) {
			taken[p.slot] = true
		}
	}
	return slices.Index(taken, false)
}

// firstToGo orders pods as the ReplicaSet controller does for scaling down: without a node, not Running, not Ready, cheaper to delete, sharing
// their node with more of their kind, Ready for a shorter time, newer.
func (w *workload) firstToGo() func(a, b *pod) int {
	together := map[*node]int{}
	for _, p := range w.pods {
		if !p.Terminating && p.node != nil {
			together[p.node]++
		}
	}
	return func(a, b *pod) int {
		return cmp.Or(
			order(a.node != nil, b.node != nil), order(a.running, b.running), order(a.Ready, b.Ready), cmp.Compare(a.deletionCost(), b.deletionCost()),
			cmp.Compare(together[b.node], together[a.node]), b.ReadySince.Compare(a.ReadySince), cmp.Compare(b.serial, a.serial),
		)
	}
}

// order puts false before true.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// deletionCost reads the pod's annotation; like the controller, it takes an unreadable one for none.
func (p *pod) deletionCost() int {
	n, err := strconv.Atoi(p.cost)
	if err != nil || n > math.MaxInt32 || n < math.MinInt32 {
		return 0
	}
	return n
}

// tendOrdinals is the StatefulSet controller: an ordinal comes back only after its last pod is gone, and unless it is Parallel, one step is
// taken at a time, from the lowest ordinal up and from the highest down.
func (c *Cluster) tendOrdinals(w *workload) {
	at := make([]*pod, w.Replicas)
	var extra []*pod
	for _, p := range w.pods {
		if p.slot < w.Replicas {
			at[p.slot] = p
		} else {
			extra = append(extra, p)
		}
	}
	for i, p := range at {
		switch {
		case p == nil:
			c.create(w, i)
			if !w.spec.Parallel {
				return
			}
		case p.Finished:
			c.remove(p)
		case !w.spec.Parallel && (!p.Ready || p.Terminating):
			return
		}
	}
	if stale := w.stale(); len(stale) > 0 && !w.spec.OnDelete && len(extra) == 0 {
		slices.SortFunc(stale, func(a, b *pod) int { return b.slot - a.slot })
		c.remove(stale[0])
		return
	}
	slices.SortFunc(extra, func(a, b *pod) int { return b.slot - a.slot })
	for _, p := range extra {
		c.remove(p)
		if !w.spec.Parallel {
			return
		}
	}
}

// daemonTolerations are what the DaemonSet controller adds to its pods.
var daemonTolerations = []fleet.Toleration{
	{Key: notReadyTaint, Exists: true}, {Key: unreachableTaint, Exists: true}, {Key: unschedulable, Exists: true},
	{Key: "node.kubernetes.io/disk-pressure", Exists: true}, {Key: "node.kubernetes.io/memory-pressure", Exists: true}, {Key: "node.kubernetes.io/pid-pressure", Exists: true},
}

// tendNodes is the DaemonSet controller. A NoSchedule taint keeps it from making a pod, and leaves one that is there alone.
func (c *Cluster) tendNodes(w *workload) {
	here := map[*node]bool{}
	for _, p := range w.pods {
		if !p.Terminating && !p.Finished {
			here[p.pin] = true
		}
	}
	for _, n := range c.nodes {
		if !here[n] && w.welcome(n) {
			p := c.create(w, w.freeSlot())
			p.pin = n
		}
	}
	for _, p := range w.live() {
		if p.pin.gone {
			c.remove(p)
		}
	}
}

// welcome tells whether a DaemonSet wants a pod on a node.
func (w *workload) welcome(n *node) bool {
	for _, t := range n.Taints {
		if t.Effect != fleet.PreferNoSchedule && !covered(w.spec.Tolerations, t) {
			return false
		}
	}
	return w.spec.selects(n)
}

// tendJob is the Job controller: a pod that did not come to its end is started again.
func (c *Cluster) tendJob(w *workload) {
	for have := w.done + len(w.live()); have < w.Replicas && !w.suspended; have++ {
		c.create(w, w.freeSlot())
	}
}

// bare makes a pod that nobody owns.
func (c *Cluster) bare(w *workload) error {
	p := c.create(w, 0)
	p.Owner, p.Mirror = fleet.Owner{}, w.spec.Mirror
	if w.spec.Node == "" {
		return nil
	}
	n := c.node[w.spec.Node]
	if lacks := n.free.Lacks(p.Requests); lacks != "" && !p.Mirror {
		return fmt.Errorf("node %s has no room for it: %s", n.Name, lacks)
	}
	c.pending = drop(c.pending, p)
	c.bind(p, n)
	return nil
}
