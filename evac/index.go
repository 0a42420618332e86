package evac

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"drover.dev/fleet"
)

// index is a snapshot made ready for questions. It is built once per tick; its pointers are into the snapshot. Preview, whose ticks follow each
// other by the thousand, keeps one index and tells it of every change instead (add, remove, changed, machines); the answers are the same.
type index struct {
	s         *fleet.Snapshot
	node      map[string]*fleet.Node
	nodeOf    map[string]*fleet.Node // by instance
	instance  map[string]place
	pods      map[string][]*fleet.Pod // by node, in order of name
	byUID     map[string]*fleet.Pod
	budget    map[string]*fleet.Budget
	healthy   map[string]int            // pods of a budget that are Ready and stay, by our own count: the API server's may be a moment old
	workloads map[fleet.Owner]*workload // those that have pods

	declared map[fleet.Owner]*fleet.Workload
	used     map[string]fleet.Resources // by node: what the pods on it ask for
	pending  map[*fleet.Pod]bool        // pods without a node that want one
	short    map[*workload]bool         // workloads that want more pods than they have
	unready  map[*workload]bool         // workloads with a pod that is not Ready: time alone changes what counts of them
	company  *company                   // nil when no pod minds where others are
	asked    []string                   // node labels that some pod asks for

	shapes    map[string]string    // by node; see shape
	residents map[string]*resident // by node; see resident
	loads     map[lane]*load
	boots     map[string]time.Duration // by group; see boot
	given     map[string]int           // replicas that runs have given for a while, by budget
}

// place is where an instance stands.
type place struct {
	group *fleet.Group
	in    *fleet.Instance
}

// workload is an owner with its pods counted.
type workload struct {
	owner    fleet.Owner
	replicas int
	ready    int             // Ready and staying
	alive    int             // not on their way out
	stuck    int             // of these, not Ready for longer than patience: waiting for them would be for ever
	warming  int             // Ready, but not healthy yet in a load balancer that sends requests to others of them
	declared *fleet.Workload // nil when nobody says what it wants
	sample   *fleet.Pod
	pods     []*fleet.Pod // in no order, finished ones left out
	start    time.Duration
}

func newIndex(s *fleet.Snapshot) *index {
	ix := &index{
		s: s, pods: make(map[string][]*fleet.Pod, len(s.Nodes)), byUID: make(map[string]*fleet.Pod, len(s.Pods)),
		budget: make(map[string]*fleet.Budget, len(s.Budgets)), workloads: make(map[fleet.Owner]*workload, len(s.Workloads)),
		declared: make(map[fleet.Owner]*fleet.Workload, len(s.Workloads)), used: make(map[string]fleet.Resources, len(s.Nodes)), pending: map[*fleet.Pod]bool{},
		short: map[*workload]bool{}, unready: map[*workload]bool{}, company: newCompany(s), shapes: map[string]string{}, residents: map[string]*resident{},
		loads: map[lane]*load{}, healthy: make(map[string]int, len(s.Budgets)),
	}
	ix.machines()
	for i := range s.Budgets {
		ix.budget[s.Budgets[i].Name] = &s.Budgets[i]
	}
	for i := range s.Workloads {
		ix.declared[s.Workloads[i].Owner] = &s.Workloads[i]
	}
	asked := map[string]bool{}
	for i := range s.Pods {
		ix.enter(&s.Pods[i])
		asks(&s.Pods[i], asked)
		if serving(&s.Pods[i]) {
			for _, b := range s.Pods[i].Budgets {
				ix.healthy[b]++
			}
		}
	}
	ix.asked = slices.Sorted(maps.Keys(asked))
	for _, w := range ix.workloads {
		ix.recount(w)
	}
	for _, pods := range ix.pods {
		slices.SortFunc(pods, byName)
	}
	ix.countGiven()
	return ix
}

// countGiven counts the replicas that runs have given, anew when some were given or taken back.
func (ix *index) countGiven() {
	ix.given = map[string]int{}
	for i := range ix.s.Workloads {
		w := &ix.s.Workloads[i]
		if at := ix.workloads[w.Owner]; w.Surge != nil && at != nil {
			for _, b := range at.sample.Budgets {
				ix.given[b]++
			}
		}
	}
}

func byName(a, b *fleet.Pod) int {
	return cmp.Or(cmp.Compare(a.Ref.Namespace, b.Ref.Namespace), cmp.Compare(a.Ref.Name, b.Ref.Name), cmp.Compare(a.Ref.UID, b.Ref.UID))
}

// machines finds nodes and instances, anew when some came or went.
func (ix *index) machines() {
	ix.node, ix.nodeOf = make(map[string]*fleet.Node, len(ix.s.Nodes)), make(map[string]*fleet.Node, len(ix.s.Nodes))
	ix.instance, ix.boots = make(map[string]place, len(ix.s.Nodes)), map[string]time.Duration{}
	for i := range ix.s.Nodes {
		n := &ix.s.Nodes[i]
		ix.node[n.Name] = n
		if n.Instance != "" {
			ix.nodeOf[n.Instance] = n
		}
	}
	for i := range ix.s.Groups {
		g := &ix.s.Groups[i]
		for j := range g.Instances {
			ix.instance[g.Instances[j].ID] = place{g, &g.Instances[j]}
		}
	}
}

// enter sorts a pod to its node and its owner. An owner that no Workload speaks for (an Argo Rollout, an operator's own kind) is taken to want the
// pods it has.
func (ix *index) enter(p *fleet.Pod) *workload {
	ix.byUID[p.Ref.UID] = p
	if p.Node != "" {
		ix.pods[p.Node] = append(ix.pods[p.Node], p)
	} else if !p.Finished && !p.Terminating {
		ix.pending[p] = true
	}
	if p.Finished {
		return nil
	}
	if p.Node != "" {
		ix.used[p.Node] = ix.used[p.Node].Add(p.Requests)
	}
	ix.company.enter(p, p.Node)
	if p.Owner.Kind == "" {
		return nil
	}
	w := ix.workloads[p.Owner]
	if w == nil {
		w = &workload{owner: p.Owner, declared: ix.declared[p.Owner]}
		ix.workloads[p.Owner] = w
	}
	w.pods = append(w.pods, p)
	return w
}

// add tells the index of a new pod.
func (ix *index) add(p *fleet.Pod) {
	w := ix.enter(p)
	delete(ix.residents, p.Node)
	slices.SortFunc(ix.pods[p.Node], byName)
	if w != nil {
		ix.recount(w)
	}
}

// remove tells the index that a pod is about to go.
func (ix *index) remove(p *fleet.Pod) {
	delete(ix.byUID, p.Ref.UID)
	delete(ix.pending, p)
	if p.Node != "" {
		delete(ix.residents, p.Node)
		ix.pods[p.Node] = slices.DeleteFunc(ix.pods[p.Node], func(q *fleet.Pod) bool { return q == p })
	}
	if p.Finished {
		return
	}
	if p.Node != "" {
		ix.used[p.Node] = ix.used[p.Node].Sub(p.Requests)
	}
	ix.company.leave(p)
	w := ix.workloads[p.Owner]
	if w == nil {
		return
	}
	if w.pods = slices.DeleteFunc(w.pods, func(q *fleet.Pod) bool { return q == p }); len(w.pods) > 0 {
		ix.recount(w)
		return
	}
	delete(ix.workloads, p.Owner)
	delete(ix.short, w)
	delete(ix.unready, w)
}

// changed tells the index that a pod became Ready or is on its way out.
func (ix *index) changed(p *fleet.Pod) {
	delete(ix.residents, p.Node)
	if p.Terminating {
		delete(ix.pending, p)
	}
	if w := ix.workloads[p.Owner]; w != nil {
		ix.recount(w)
	}
}

// later tells the index that time has passed.
func (ix *index) later() {
	for w := range ix.unready {
		ix.recount(w)
	}
}

func (ix *index) recount(w *workload) {
	w.replicas, w.ready, w.alive, w.stuck, w.warming, w.sample, w.start = len(w.pods), 0, 0, 0, 0, w.pods[0], 0
	if w.declared != nil {
		w.replicas = w.declared.Replicas
	}
	served := servedBy(w.pods)
	for _, p := range w.pods {
		if p.Ref.UID > w.sample.Ref.UID {
			w.sample = p
		}
		if p.Terminating {
			continue
		}
		w.alive++
		switch {
		case p.Ready:
			w.ready++
		case ix.s.Now.Sub(p.Created) > patience && ix.s.Now.Sub(p.Unready) > patience:
			w.stuck++
		}
		if p.Ready && served > 0 && !isServed(p, served) {
			w.warming++
		}
	}
	if x := ix.loads[laneOf(w.sample)]; x != nil {
		x.width = 0
	}
	set(ix.short, w, w.alive < w.replicas && w.sample.Stays() == "")
	set(ix.unready, w, w.ready < w.alive)
}

func set(m map[*workload]bool, w *workload, is bool) {
	if is {
		m[w] = true
	} else {
		delete(m, w)
	}
}

// servedBy counts the target groups with targets by IP that know any of a workload's pods.
func servedBy(pods []*fleet.Pod) int {
	var known []string
	for _, p := range pods {
		for _, t := range p.Targets {
			if !slices.Contains(known, t.Group) {
				known = append(known, t.Group)
			}
		}
	}
	return len(known)
}

// isServed tells whether a pod has left the beginning behind in all of its workload's target groups. An unhealthy target counts as served:
// waiting for it would be for ever.
func isServed(p *fleet.Pod, groups int) bool {
	for _, t := range p.Targets {
		if t.State == fleet.TargetInitial {
			return false
		}
	}
	return len(p.Targets) >= groups
}

// confirmation is how long after the end of its grace a pod on a dead node may still be listed before it counts as gone: nobody is left to
// confirm its end, and closing the machine is what makes sure of it.
const confirmation = 30 * time.Second

// resident is what has to leave a node.
type resident struct {
	pods     []*fleet.Pod
	loads    []*load      // of each pod's lane; nil where it is leaving already or serves nobody
	homeless []*fleet.Pod // those that need room elsewhere; others have their replacement's already, or get none
	need     fleet.Resources
	newest   time.Time // when the last of them was created
}

func (ix *index) resident(n *fleet.Node) *resident {
	if r := ix.residents[n.Name]; r != nil {
		return r
	}
	r := &resident{}
	for _, p := range ix.pods[n.Name] {
		lost := !n.Ready && p.Terminating && !p.Deleted.IsZero() && ix.s.Now.Sub(p.Deleted) > confirmation
		if p.Stays() != "" || lost {
			continue
		}
		r.pods = append(r.pods, p)
		if p.Created.After(r.newest) {
			r.newest = p.Created
		}
		if p.Terminating || p.Finished || p.Owner.Kind == "" {
			r.loads = append(r.loads, nil)
			continue
		}
		r.loads = append(r.loads, ix.load(laneOf(p)))
		if w := ix.declared[p.Owner]; w == nil || w.Surge == nil || w.Surge.Pod != p.Ref.UID {
			r.homeless = append(r.homeless, p)
			r.need = r.need.Add(p.Requests)
		}
	}
	if n.Ready { // on any other, time alone changes what is lost
		ix.residents[n.Name] = r
	}
	return r
}

// movable returns the pods of a node that have to leave it, those already on their way out included.
func (ix *index) movable(n *fleet.Node) []*fleet.Pod {
	if n == nil {
		return nil
	}
	return ix.resident(n).pods
}

// wanting lists the workloads that want more pods than they have, in a stable order.
func (ix *index) wanting() []*workload {
	return slices.SortedFunc(maps.Keys(ix.short), func(a, b *workload) int {
		return cmp.Or(cmp.Compare(a.owner.Namespace, b.owner.Namespace), cmp.Compare(a.owner.Name, b.owner.Name), cmp.Compare(a.owner.Kind, b.owner.Kind))
	})
}

// waiting lists the pods without a node, the oldest first, as the scheduler's queue does.
func (ix *index) waiting() []*fleet.Pod {
	return slices.SortedFunc(maps.Keys(ix.pending), func(a, b *fleet.Pod) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Ref.UID, b.Ref.UID))
	})
}
