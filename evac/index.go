package evac

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// index is a snapshot made ready for questions. It is built once per tick; its pointers are into the snapshot. Preview, whose ticks follow each
// other by the thousand, keeps one index and tells it of every change instead (add, settle, remove, changed, machines); the answers are the same.
type index struct {
	s         *fleet.Snapshot
	node      map[string]*fleet.Node
	nodeOf    map[string]*fleet.Node // by instance
	instance  map[string]place
	built     int                   // how often these were found
	seats     map[string]*seat      // by node name
	beside    []*seat               // the same, in the snapshot's order of nodes
	byUID     map[string]*fleet.Pod // nil until somebody asks; see pod
	budget    map[string]*fleet.Budget
	healthy   map[string]int            // pods of a budget that are Ready and stay, by our own count: the API server's may be a moment old
	workloads map[fleet.Owner]*workload // those that have pods

	declared map[fleet.Owner]*fleet.Workload
	pending  map[*fleet.Pod]bool     // pods without a node that want one
	short    map[*workload]bool      // workloads that want more pods than they have
	unready  map[*workload]time.Time // workloads with a pod that is not Ready, and until when time alone changes nothing of them
	company  *company                // nil when no pod minds where others are
	asked    []string                // node labels that some pod asks for

	outdated []*workload // see recountLater

	stores map[string]*fleet.Store // by namespace/name of their pods; nil until somebody asks; see storeOf

	lanes lanes
	boots map[string]time.Duration // by group; see boot
	given map[string]int           // replicas that runs have given for a while, by budget
}

// seat is what the index knows of one node's pods. It stays as it is when nodes come and go.
type seat struct {
	tenants  []tenant
	sorted   bool            // the tenants are in order of name; nobody looks at those of most nodes
	used     fleet.Resources // what they ask for
	shape    string          // see shapeOf; "" when not known yet
	resident *resident       // see resident; nil when not known yet
}

// tenant is a pod on a node, with its workload: nil when it has none, or is finished.
type tenant struct {
	*fleet.Pod
	of *workload
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
	pods     []*fleet.Pod  // in no order, finished ones left out
	start    time.Duration // see index.start; zero when not known yet
	load     *load         // of the lane that was asked for last
	outdated bool          // its pods have changed since they were counted
}

func newIndex(s *fleet.Snapshot) *index {
	ix := &index{
		s: s, seats: make(map[string]*seat, len(s.Nodes)), budget: make(map[string]*fleet.Budget, len(s.Budgets)), workloads: make(map[fleet.Owner]*workload, len(s.Workloads)),
		declared: make(map[fleet.Owner]*fleet.Workload, len(s.Workloads)), pending: map[*fleet.Pod]bool{}, short: map[*workload]bool{}, unready: map[*workload]time.Time{},
		company: newCompany(s), lanes: lanes{by: map[lane]*load{}}, healthy: make(map[string]int, len(s.Budgets)),
	}
	ix.machines()
	for i := range s.Budgets {
		ix.budget[s.Budgets[i].Name] = &s.Budgets[i]
	}
	for i := range s.Workloads {
		ix.declared[s.Workloads[i].Owner] = &s.Workloads[i]
	}
	asked := map[string]bool{}
	var last *workload // pods of one workload often stand together
	for i := range s.Pods {
		last = ix.enter(&s.Pods[i], last)
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
	ix.countGiven()
	return ix
}

// countGiven counts the replicas that runs have given, anew when some were given or taken back.
func (ix *index) countGiven() {
	ix.refresh()
	ix.given = map[string]int{}
	for i := range ix.s.Workloads {
		w := &ix.s.Workloads[i]
		if w.Surge == nil {
			continue
		}
		if at := ix.workloads[w.Owner]; at != nil {
			for _, b := range at.sample.Budgets {
				ix.given[b]++
			}
		}
	}
}

func byName(a, b *fleet.Pod) int {
	if c := strings.Compare(a.Ref.Namespace, b.Ref.Namespace); c != 0 {
		return c
	}
	if c := strings.Compare(a.Ref.Name, b.Ref.Name); c != 0 {
		return c
	}
	return strings.Compare(a.Ref.UID, b.Ref.UID)
}

func (ix *index) seat(node string) *seat {
	at := ix.seats[node]
	if at == nil {
		at = &seat{tenants: make([]tenant, 0, len(ix.s.Pods)/max(1, len(ix.s.Nodes))+8)}
		ix.seats[node] = at
	}
	return at
}

// on lists the tenants of a node in order of name.
func (ix *index) on(node string) []tenant {
	at := ix.seats[node]
	if at == nil {
		return nil
	}
	if !at.sorted {
		slices.SortFunc(at.tenants, func(a, b tenant) int { return byName(a.Pod, b.Pod) })
		at.sorted = true
	}
	return at.tenants
}

// pod finds a pod by UID; nil when there is none.
func (ix *index) pod(uid string) *fleet.Pod {
	if ix.byUID == nil {
		ix.byUID = make(map[string]*fleet.Pod, len(ix.s.Pods))
		for i := range ix.s.Pods {
			ix.byUID[ix.s.Pods[i].Ref.UID] = &ix.s.Pods[i]
		}
	}
	return ix.byUID[uid]
}

// machines finds nodes and instances, anew when some came or went.
func (ix *index) machines() {
	if ix.node == nil {
		ix.node, ix.nodeOf = make(map[string]*fleet.Node, len(ix.s.Nodes)), make(map[string]*fleet.Node, len(ix.s.Nodes))
		ix.instance, ix.boots = make(map[string]place, len(ix.s.Nodes)), map[string]time.Duration{}
	}
	ix.built++
	ix.beside = ix.beside[:0]
	clear(ix.node)
	clear(ix.nodeOf)
	clear(ix.instance)
	for i := range ix.s.Nodes {
		ix.addNode(&ix.s.Nodes[i])
	}
	for i := range ix.s.Groups {
		g := &ix.s.Groups[i]
		for j := range g.Instances {
			ix.addInstance(g, &g.Instances[j])
		}
	}
}

// addNode tells the index of a new node; the others are where they were.
func (ix *index) addNode(n *fleet.Node) {
	ix.built++
	ix.node[n.Name] = n
	ix.beside = append(ix.beside, ix.seat(n.Name))
	if n.Instance != "" {
		ix.nodeOf[n.Instance] = n
	}
	clear(ix.boots)
}

// addInstance tells the index of a new instance; the others are where they were.
func (ix *index) addInstance(g *fleet.Group, in *fleet.Instance) {
	ix.built++
	ix.instance[in.ID] = place{g, in}
}

// enter sorts a pod to its node and its owner. An owner that no Workload speaks for (an Argo Rollout, an operator's own kind) is taken to want the
// pods it has. It returns the pod's workload; guess is one that it may be.
func (ix *index) enter(p *fleet.Pod, guess *workload) *workload {
	w := ix.employ(p, guess)
	if p.Node == "" {
		if !p.Finished && !p.Terminating {
			ix.pending[p] = true
		}
		return w
	}
	at := ix.seat(p.Node)
	at.tenants, at.sorted, at.resident = append(at.tenants, tenant{p, w}), false, nil
	if !p.Finished {
		at.used = at.used.Add(p.Requests)
		ix.company.enter(p, p.Node)
	}
	return w
}

// employ sorts a pod to its workload.
func (ix *index) employ(p *fleet.Pod, guess *workload) *workload {
	if p.Finished || p.Owner.Kind == "" {
		return nil
	}
	w := guess
	if w == nil || w.owner != p.Owner {
		w = ix.workloads[p.Owner]
	}
	if w == nil {
		w = &workload{owner: p.Owner, declared: ix.declared[p.Owner]}
		if w.declared != nil {
			w.pods = make([]*fleet.Pod, 0, max(0, min(w.declared.Replicas, 100))+1)
		}
		ix.workloads[p.Owner] = w
	}
	w.pods = append(w.pods, p)
	return w
}

// add tells the index of a new pod.
func (ix *index) add(p *fleet.Pod) {
	if ix.byUID != nil {
		ix.byUID[p.Ref.UID] = p
	}
	if w := ix.enter(p, nil); w != nil {
		w.known(p)
		ix.recountLater(w)
	}
}

// settle tells the index that a pending pod has got its node.
func (ix *index) settle(p *fleet.Pod) {
	delete(ix.pending, p)
	at := ix.seat(p.Node)
	at.tenants, at.sorted, at.resident = append(at.tenants, tenant{p, ix.workloads[p.Owner]}), false, nil
	at.used = at.used.Add(p.Requests)
	ix.company.enter(p, p.Node)
}

// remove tells the index that a pod is about to go.
func (ix *index) remove(p *fleet.Pod) {
	delete(ix.byUID, p.Ref.UID)
	delete(ix.pending, p)
	if p.Node != "" {
		at := ix.seat(p.Node)
		at.tenants, at.resident = slices.DeleteFunc(at.tenants, func(t tenant) bool { return t.Pod == p }), nil
		if !p.Finished {
			at.used = at.used.Sub(p.Requests)
		}
	}
	if p.Finished {
		return
	}
	ix.company.leave(p)
	w := ix.workloads[p.Owner]
	if w == nil {
		return
	}
	if w.pods = slices.DeleteFunc(w.pods, func(q *fleet.Pod) bool { return q == p }); len(w.pods) > 0 {
		w.known(p)
		ix.recountLater(w)
		return
	}
	delete(ix.workloads, p.Owner)
	delete(ix.short, w)
	delete(ix.unready, w)
}

// changed tells the index that a pod became Ready or is on its way out.
func (ix *index) changed(p *fleet.Pod) {
	if at := ix.seats[p.Node]; at != nil {
		at.resident = nil
	}
	if p.Terminating {
		delete(ix.pending, p)
	}
	if w := ix.workloads[p.Owner]; w != nil {
		w.known(p)
		ix.recountLater(w)
	}
}

// known says that how long a pod took to start is known now, or not any more.
func (w *workload) known(p *fleet.Pod) {
	if p.Ready {
		w.start = 0
	}
}

// later tells the index that time has passed.
func (ix *index) later() {
	for w, until := range ix.unready {
		if ix.s.Now.After(until) {
			ix.recount(w)
		}
	}
}

// recountLater has a workload recounted before somebody asks: at one moment several of its pods may change.
func (ix *index) recountLater(w *workload) {
	if !w.outdated {
		w.outdated, ix.outdated = true, append(ix.outdated, w)
	}
}

// refresh makes everything that the index was told of count.
func (ix *index) refresh() {
	for _, w := range ix.outdated {
		if w.outdated = false; len(w.pods) > 0 {
			ix.recount(w)
		}
	}
	ix.outdated = ix.outdated[:0]
}

func (ix *index) recount(w *workload) {
	w.replicas, w.ready, w.alive, w.stuck, w.warming, w.sample = len(w.pods), 0, 0, 0, 0, w.pods[0]
	if w.declared != nil {
		w.replicas = w.declared.Replicas
	}
	targets := false
	until := ix.s.Now.Add(patience) // no pod created from now on counts as stuck before
	for _, p := range w.pods {
		if p.Ref.UID > w.sample.Ref.UID {
			w.sample = p
		}
		targets = targets || len(p.Targets) > 0
		if p.Terminating {
			continue
		}
		w.alive++
		switch {
		case p.Ready:
			w.ready++
		case ix.stuck(p):
			w.stuck++
		default:
			until = earlier(until, later(p.Created, p.Unready).Add(patience))
		}
	}
	if targets {
		w.warming = warming(w.pods)
	}
	if x := ix.lanes.of(w, w.sample); x != nil {
		x.width = 0
	}
	if w.alive < w.replicas && w.sample.Stays() == "" {
		ix.short[w] = true
	} else {
		delete(ix.short, w)
	}
	if w.ready < w.alive {
		ix.unready[w] = until
	} else {
		delete(ix.unready, w)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// warming counts the Ready pods that are not healthy yet in a load balancer that sends requests to others of them.
func warming(pods []*fleet.Pod) int {
	n, served := 0, servedBy(pods)
	for _, p := range pods {
		if serving(p) && !isServed(p, served) {
			n++
		}
	}
	return n
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
	loads    []stake      // each pod's
	homeless []*fleet.Pod // those that need room elsewhere; others have their replacement's already, or get none
	need     fleet.Resources
	newest   time.Time // when the last of them was created
	counted  bool      // in its lanes
	here     bool      // and to stay counted
}

func (ix *index) resident(n *fleet.Node, at *seat) *resident {
	if at.resident != nil {
		return at.resident
	}
	r := &resident{pods: make([]*fleet.Pod, 0, len(at.tenants)), loads: make([]stake, 0, len(at.tenants)), homeless: make([]*fleet.Pod, 0, len(at.tenants))}
	for _, t := range ix.on(n.Name) {
		p, w := t.Pod, t.of
		lost := !n.Ready && p.Terminating && !p.Deleted.IsZero() && ix.s.Now.Sub(p.Deleted) > confirmation
		if p.Stays() != "" || lost {
			continue
		}
		r.pods = append(r.pods, p)
		if p.Created.After(r.newest) {
			r.newest = p.Created
		}
		if p.Terminating || w == nil {
			r.loads = append(r.loads, stake{})
			continue
		}
		r.loads = append(r.loads, stake{ix.lanes.load(w, p), w})
		if m := w.surge(); m == nil || m.Pod != p.Ref.UID {
			r.homeless = append(r.homeless, p)
			r.need = r.need.Add(p.Requests)
		}
	}
	slices.SortStableFunc(r.homeless, func(a, b *fleet.Pod) int { return cmp.Compare(b.Requests.CPU, a.Requests.CPU) })
	if n.Ready { // on any other, time alone changes what is lost
		at.resident = r
	}
	return r
}

// movable returns the pods of a node that have to leave it, those already on their way out included.
func (ix *index) movable(n *fleet.Node) []*fleet.Pod {
	if n == nil {
		return nil
	}
	return ix.resident(n, ix.seat(n.Name)).pods
}

// wanting lists the workloads that want more pods than they have, in a stable order.
func (ix *index) wanting() []*workload {
	return slices.SortedFunc(maps.Keys(ix.short), byOwner)
}

func byOwner(a, b *workload) int { return compareOwners(a.owner, b.owner) }

func compareOwners(a, b fleet.Owner) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name), strings.Compare(a.Kind, b.Kind))
}

// waiting lists the pods without a node, the oldest first, as the scheduler's queue does.
func (ix *index) waiting() []*fleet.Pod {
	return slices.SortedFunc(maps.Keys(ix.pending), func(a, b *fleet.Pod) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Ref.UID, b.Ref.UID))
	})
}
