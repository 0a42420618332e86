package cluster

import (
	"context"
	"slices"

	"drover.dev/fleet"
)

// Observe fills the snapshot's Kubernetes half. What it hands out is never changed afterwards.
func (c *Cluster) Observe(_ context.Context, s *fleet.Snapshot) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Nodes = slices.Grow(s.Nodes, len(c.nodes))
	for _, n := range c.nodes {
		out := n.Node
		out.Taints, out.Volumes = slices.Clone(out.Taints), slices.Clone(out.Volumes)
		s.Nodes = append(s.Nodes, out)
	}
	s.Pods = slices.Grow(s.Pods, len(c.pods))
	for _, p := range c.pods {
		s.Pods = append(s.Pods, p.Pod)
	}
	for _, b := range c.budgets {
		s.Budgets = append(s.Budgets, b.Budget)
	}
	s.Workloads = slices.Grow(s.Workloads, len(c.shown))
	for _, w := range c.shown {
		s.Workloads = append(s.Workloads, w.seen())
	}
	for _, r := range c.records {
		if r.Marks.Ended.IsZero() {
			s.Rotations = append(s.Rotations, cloneRecord(r))
		}
	}
	for _, x := range c.cases {
		if x.Open() || s.Now.Sub(x.Marks.Ended) < shownFor {
			s.Cases = append(s.Cases, x.Clone())
		}
	}
	s.Stores = append(s.Stores, c.stores()...)
	s.Stopped, s.Unjournaled = clonePause(c.stopped), c.without
	return nil
}

// shown tells whether drover sees the replicas of such a workload.
func shown(kind string) bool {
	return kind == "Deployment" || kind == "ReplicaSet" || kind == "StatefulSet"
}

func (w *workload) seen() fleet.Workload {
	out := w.Workload
	if w.Scaler != nil {
		s := *w.Scaler
		out.Scaler = &s
	}
	out.Surge = w.surgeMark()
	return out
}

// Node returns a node as it is now.
func (c *Cluster) Node(name string) (fleet.Node, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.node[name]
	if n == nil {
		return fleet.Node{}, false
	}
	out := n.Node
	out.Taints, out.Volumes = slices.Clone(out.Taints), slices.Clone(out.Volumes)
	return out, true
}

// Pods returns the pods of a workload as they are now, in order of making; all pods by name for the zero Owner.
func (c *Cluster) Pods(o fleet.Owner) []fleet.Pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.pods
	if o != (fleet.Owner{}) {
		from = nil
		if w := c.workload[o]; w != nil {
			from = w.pods
		}
	}
	out := make([]fleet.Pod, 0, len(from))
	for _, p := range from {
		out = append(out, p.Pod)
	}
	return out
}

// Targets returns the state of every pod that is a load balancer's target, by its IP.
func (c *Cluster) Targets() map[string][]fleet.Target {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string][]fleet.Target{}
	for _, w := range c.workloads {
		if w.spec.Target == "" {
			continue
		}
		for _, p := range w.pods {
			if len(p.Targets) > 0 {
				out[p.IP] = slices.Clone(p.Targets)
			}
		}
	}
	return out
}

// Workload returns a workload as it is now.
func (c *Cluster) Workload(o fleet.Owner) (fleet.Workload, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.workload[o]
	if w == nil {
		return fleet.Workload{}, false
	}
	return w.seen(), true
}

// Budget returns a budget as it is now.
func (c *Cluster) Budget(name string) (fleet.Budget, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.budgets {
		if b.Name == name {
			return b.Budget, true
		}
	}
	return fleet.Budget{}, false
}
