package evac

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// index is a snapshot made ready for questions. It is built once per tick; its pointers are into the snapshot.
type index struct {
	s         *fleet.Snapshot
	node      map[string]*fleet.Node
	nodeOf    map[string]*fleet.Node // by instance
	instance  map[string]place
	pods      map[string][]*fleet.Pod // by node, in order of name
	byUID     map[string]*fleet.Pod
	budget    map[string]*fleet.Budget
	workloads map[fleet.Owner]*workload
}

// place is where an instance stands.
type place struct {
	group *fleet.Group
	in    *fleet.Instance
}

// workload is an owner with its pods counted.
type workload struct {
	replicas int
	ready    int             // Ready and staying
	alive    int             // not on their way out
	stuck    int             // of these, not Ready for longer than patience: waiting for them would be for ever
	warming  int             // Ready, but not healthy yet in a load balancer that sends requests to others of them
	declared *fleet.Workload // nil when nobody says what it wants
	sample   *fleet.Pod
}

func newIndex(s *fleet.Snapshot) *index {
	ix := &index{
		s: s, node: make(map[string]*fleet.Node, len(s.Nodes)), nodeOf: make(map[string]*fleet.Node, len(s.Nodes)), instance: map[string]place{},
		pods: map[string][]*fleet.Pod{}, byUID: make(map[string]*fleet.Pod, len(s.Pods)), budget: make(map[string]*fleet.Budget, len(s.Budgets)),
		workloads: map[fleet.Owner]*workload{},
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		ix.node[n.Name] = n
		if n.Instance != "" {
			ix.nodeOf[n.Instance] = n
		}
	}
	for i := range s.Groups {
		g := &s.Groups[i]
		for j := range g.Instances {
			ix.instance[g.Instances[j].ID] = place{g, &g.Instances[j]}
		}
	}
	for i := range s.Budgets {
		ix.budget[s.Budgets[i].Name] = &s.Budgets[i]
	}
	ix.countPods()
	for _, pods := range ix.pods {
		slices.SortFunc(pods, func(a, b *fleet.Pod) int {
			return cmp.Or(cmp.Compare(a.Ref.Namespace, b.Ref.Namespace), cmp.Compare(a.Ref.Name, b.Ref.Name))
		})
	}
	return ix
}

// countPods sorts pods to their nodes and owners. An owner that no Workload speaks for (an Argo Rollout, an operator's own kind) is taken to
// want the pods it has.
func (ix *index) countPods() {
	all := map[fleet.Owner]int{}
	for i := range ix.s.Pods {
		p := &ix.s.Pods[i]
		ix.byUID[p.Ref.UID] = p
		if p.Node != "" {
			ix.pods[p.Node] = append(ix.pods[p.Node], p)
		}
		if p.Owner.Kind == "" || p.Finished {
			continue
		}
		w := ix.workloads[p.Owner]
		if w == nil {
			w = &workload{}
			ix.workloads[p.Owner] = w
		}
		all[p.Owner]++
		w.sample = p
		if !p.Terminating {
			w.alive++
			switch {
			case p.Ready:
				w.ready++
			case ix.s.Now.Sub(p.Created) > patience && ix.s.Now.Sub(p.Unready) > patience:
				w.stuck++
			}
		}
	}
	for o, n := range all {
		ix.workloads[o].replicas = n
	}
	for i := range ix.s.Workloads {
		declared := &ix.s.Workloads[i]
		if w := ix.workloads[declared.Owner]; w != nil {
			w.replicas, w.declared = declared.Replicas, declared
		}
	}
	ix.countWarming()
}

// countWarming counts the pods that are Ready and that a load balancer with targets by IP does not send requests to yet, although it does to
// others of their workload.
func (ix *index) countWarming() {
	known := map[fleet.Owner]map[string]bool{} // target groups of a workload
	for i := range ix.s.Pods {
		p := &ix.s.Pods[i]
		for _, t := range p.Targets {
			if known[p.Owner] == nil {
				known[p.Owner] = map[string]bool{}
			}
			known[p.Owner][t.Group] = true
		}
	}
	if len(known) == 0 {
		return
	}
	for i := range ix.s.Pods {
		p := &ix.s.Pods[i]
		if w := ix.workloads[p.Owner]; w != nil && p.Ready && !p.Terminating && !served(p, known[p.Owner]) {
			w.warming++
		}
	}
}

// served tells whether a pod has left the beginning behind in all of these target groups. An unhealthy target counts as served: waiting for it
// would be for ever.
func served(p *fleet.Pod, groups map[string]bool) bool {
	seen := 0
	for _, t := range p.Targets {
		if t.State == fleet.TargetInitial {
			return false
		}
		seen++
	}
	return seen >= len(groups)
}

// confirmation is how long after the end of its grace a pod on a dead node may still be listed before it counts as gone: nobody is left to
// confirm its end, and closing the machine is what makes sure of it.
const confirmation = 30 * time.Second

// movable returns the pods of a node that have to leave it, those already on their way out included.
func (ix *index) movable(n *fleet.Node) []*fleet.Pod {
	if n == nil {
		return nil
	}
	var out []*fleet.Pod
	for _, p := range ix.pods[n.Name] {
		lost := !n.Ready && p.Terminating && !p.Deleted.IsZero() && ix.s.Now.Sub(p.Deleted) > confirmation
		if p.Stays() == "" && !lost {
			out = append(out, p)
		}
	}
	return out
}

// single tells whether a pod is the only one of its workload.
func (ix *index) single(p *fleet.Pod) bool {
	w := ix.workloads[p.Owner]
	return w != nil && w.replicas == 1 && len(p.Budgets) == 0 && !strings.HasSuffix(p.Owner.Kind, "Job")
}

// owners lists the owners in a stable order.
func (ix *index) owners() []fleet.Owner {
	out := make([]fleet.Owner, 0, len(ix.workloads))
	for o := range ix.workloads {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b fleet.Owner) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}
