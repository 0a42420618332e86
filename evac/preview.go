package evac

import (
	"container/heap"
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// Forecast is what a plan is expected to do, found by running it in an optimistic world.
type Forecast struct {
	Took   time.Duration
	Moves  map[string]int // moves per workload
	Events []Event        // every action, with its moment
	Stuck  []fleet.Hold   // why it would not finish, when it would not
	Bound  time.Duration  // no plan could be faster
	// Exceptions is what the run could not put back.
	Exceptions []string
	Peak       int // most instances at once over the plan's groups, those being closed left out
}

// Event is an action at a moment after the start.
type Event struct {
	After  time.Duration
	Action fleet.Action
}

// Estimates used where the fleet itself shows no better figure.
const (
	defaultBoot  = 90 * time.Second // launch to Ready
	defaultStart = 15 * time.Second // pod bound to Ready
	defaultStop  = 2 * time.Second  // SIGTERM to gone, beyond the preStop sleep
	closeTime    = 5 * time.Second  // terminate called to instance out of its group
	believable   = 15 * time.Minute // longer than this, an observed start was an outage, not a start
	maxTicks     = 200_000
)

// Preview folds Next over a copy of the snapshot in which everything goes well: instances boot, pods start, requests drain, each in the time
// that the fleet has shown so far.
func Preview(p Plan, s fleet.Snapshot) Forecast {
	w := &preview{s: s.Clone(), began: s.Now, out: Forecast{Moves: map[string]int{}}}
	w.estimate()
	w.underWay()
	for ticks := 0; ticks < maxTicks; ticks++ {
		step := Next(p, w.s)
		w.out.Peak = max(w.out.Peak, w.instances(&p))
		if step.Diverged != "" {
			w.out.Stuck = []fleet.Hold{{Subject: "plan", Reason: step.Diverged}}
			return w.out
		}
		w.out.Exceptions = step.Since(w.out.Exceptions)
		if step.Done {
			break
		}
		progress := false
		for _, a := range step.Actions {
			progress = w.act(a) || progress
		}
		if !progress && !w.wait() {
			w.out.Stuck = step.Holds
			break
		}
	}
	w.out.Took = w.s.Now.Sub(w.began)
	return w.out
}

// preview is the optimistic world: a snapshot, and what will happen to it.
type preview struct {
	s      fleet.Snapshot
	began  time.Time
	later  events
	seq    int
	boot   map[string]time.Duration      // by group
	begin  map[fleet.Owner]time.Duration // pod start by workload
	serial int
	tie    func() bool // breaks ties between zones; nil takes the first
	out    Forecast
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func (w *preview) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.later, event{at: w.s.Now.Add(d), seq: w.seq, do: do})
}

// wait moves the clock to the next event and lets everything of that moment happen.
func (w *preview) wait() bool {
	if len(w.later) == 0 {
		return false
	}
	w.s.Now = w.later[0].at
	for len(w.later) > 0 && !w.later[0].at.After(w.s.Now) {
		heap.Pop(&w.later).(event).do()
	}
	w.schedule()
	w.count()
	return true
}

// underWay plans the consequences of what had begun before the snapshot was taken: a run that was killed, or anybody's doing.
func (w *preview) underWay() {
	for i := range w.s.Groups {
		g := &w.s.Groups[i]
		here := 0
		for _, in := range slices.Clone(g.Instances) {
			switch n := w.s.NodeOf(in.ID); {
			case in.Leaving():
				w.after(closeTime, func() { w.remove(fleet.Action{Group: g.Name, Instance: in.ID}) })
				continue
			case n == nil:
				w.after(w.boot[g.Name], func() { w.arrive(g.Name, in.ID) })
			case !n.Ready || n.Starting():
				w.after(w.boot[g.Name]/2, func() { w.ready(in.ID) })
			}
			here++
			w.targetsUnderWay(g, &in)
		}
		for range g.Desired - here {
			w.launch(g.Name)
		}
	}
	for i := range w.s.Pods {
		p := w.s.Pods[i]
		switch {
		case p.Terminating:
			w.leave(p)
		case p.Node != "" && !p.Ready && !p.Finished:
			w.start(p)
		}
	}
	w.schedule()
}

// targetsUnderWay lets registrations and deregistrations come to their end.
func (w *preview) targetsUnderWay(g *fleet.Group, in *fleet.Instance) {
	for _, tg := range g.Targets {
		switch in.Target(tg.ARN) {
		case fleet.TargetInitial:
			w.after(tg.Warmup, func() { w.target(g.Name, in.ID, tg.ARN, fleet.TargetHealthy) })
		case fleet.TargetDraining:
			w.after(tg.Delay, func() { w.target(g.Name, in.ID, tg.ARN, fleet.TargetUnused) })
		}
	}
}

// ready ends the start-up of a node that had registered already.
func (w *preview) ready(instance string) {
	if n := w.s.NodeOf(instance); n != nil {
		n.Ready = true
		n.Taints = slices.DeleteFunc(n.Taints, fleet.Taint.StartUp)
	}
}

// estimate reads from the fleet how long a boot and a pod's start take here: medians of what was seen.
func (w *preview) estimate() {
	w.boot = map[string]time.Duration{}
	for i := range w.s.Groups {
		g := &w.s.Groups[i]
		var seen []time.Duration
		for _, in := range g.Instances {
			if n := w.s.NodeOf(in.ID); n != nil && n.Ready && !in.Launched.IsZero() {
				seen = append(seen, n.Changed.Sub(in.Launched))
			}
		}
		w.boot[g.Name] = median(seen, defaultBoot)
	}
	starts := map[fleet.Owner][]time.Duration{}
	for i := range w.s.Pods {
		if p := &w.s.Pods[i]; p.Ready {
			starts[p.Owner] = append(starts[p.Owner], p.ReadySince.Sub(p.Created))
		}
	}
	w.begin = map[fleet.Owner]time.Duration{}
	for o, seen := range starts {
		w.begin[o] = median(seen, defaultStart)
	}
}

func median(seen []time.Duration, otherwise time.Duration) time.Duration {
	seen = slices.DeleteFunc(seen, func(d time.Duration) bool { return d <= 0 || d > believable })
	if len(seen) == 0 {
		return otherwise
	}
	slices.Sort(seen)
	return seen[len(seen)/2]
}

// act applies an action at once and plans its consequences.
func (w *preview) act(a fleet.Action) bool {
	if !Assume(&w.s, a) {
		return false
	}
	w.out.Events = append(w.out.Events, Event{After: w.s.Now.Sub(w.began), Action: a})
	switch a.Verb {
	case fleet.Resize:
		for range a.To - a.From {
			w.launch(a.Group)
		}
	case fleet.Evict:
		w.evict(a)
	case fleet.Record:
		w.remember(a.Rotation)
	case fleet.Standby:
		w.after(closeTime, func() { w.lifecycle(a, fleet.OnStandby) })
	case fleet.Unstandby:
		w.after(closeTime, func() { w.lifecycle(a, fleet.InService) })
	case fleet.Register:
		w.register(a.Group, a.Instance, a.Target)
	case fleet.CreateGroup:
		for range a.To {
			w.launch(a.Copy)
		}
		w.after(w.boot[a.Group], func() { w.s.Group(a.Copy).Managed.Status = active })
	case fleet.DeleteGroup:
		w.after(closeTime, func() { w.dissolve(a.Group) })
	case fleet.Surge:
		w.surge(a)
	case fleet.Unsurge:
		w.unsurge(a)
	case fleet.Deregister:
		w.deregister(a)
	case fleet.Terminate:
		w.after(closeTime, func() { w.remove(a) })
	}
	return true
}

// launch adds an instance in the zone with the fewest, as the group's zone balance does.
func (w *preview) launch(group string) {
	g := w.s.Group(group)
	count := map[string]int{}
	for i := range g.Instances {
		if !g.Instances[i].Leaving() {
			count[g.Instances[i].Zone]++
		}
	}
	zone := ""
	for _, z := range g.Zones {
		if zone == "" || count[z] < count[zone] || count[z] == count[zone] && w.tie != nil && w.tie() {
			zone = z
		}
	}
	w.serial++
	in := fleet.Instance{ID: fmt.Sprintf("new-%d", w.serial), Zone: zone, Lifecycle: fleet.Pending, Launched: w.s.Now}
	if len(g.Wants) > 0 {
		in.Template = g.Wants[0]
	}
	g.Instances = append(g.Instances, in)
	w.after(w.boot[group], func() { w.arrive(group, in.ID) })
}

// arrive makes an instance a Ready node that looks like one of its group's in the same zone, or in any.
func (w *preview) arrive(group, id string) {
	g := w.s.Group(group)
	in := g.Instance(id)
	if in == nil || in.Leaving() {
		return
	}
	in.Lifecycle = fleet.InService
	node := fleet.Node{Name: id, Instance: id, Zone: in.Zone, Created: w.s.Now, Changed: w.s.Now, Ready: true}
	like := g // a copied group has no node of its own yet
	if g.Managed != nil && w.s.Group(g.Managed.CopyOf) != nil {
		like = w.s.Group(g.Managed.CopyOf)
	}
	for i := range like.Instances {
		other := w.s.NodeOf(like.Instances[i].ID)
		if other != nil && (node.Room.Pods == 0 || like.Instances[i].Zone == in.Zone) {
			node.Labels, node.Room = other.Labels, other.Room
			node.Taints = slices.DeleteFunc(slices.Clone(other.Taints), func(t fleet.Taint) bool { return t.Key == fleet.TaintKey || t.StartUp() })
			in.Type = like.Instances[i].Type
		}
	}
	for i := range w.s.Pods { // every node of the group carries the same DaemonSet pods
		p := w.s.Pods[i]
		if n := w.s.Node(p.Node); p.Owner.Kind == "DaemonSet" && n != nil && like.Instance(n.Instance) != nil && !w.has(id, p.Owner) {
			p.Node, p.Ref.UID = id, fmt.Sprintf("%s-%s", p.Ref.UID, id)
			w.s.Pods = append(w.s.Pods, p)
		}
	}
	w.s.Nodes = append(w.s.Nodes, node)
	for _, tg := range g.Targets {
		w.register(group, id, tg.ARN)
	}
}

func (w *preview) has(node string, o fleet.Owner) bool {
	return slices.ContainsFunc(w.s.Pods, func(p fleet.Pod) bool { return p.Node == node && p.Owner == o })
}

func (w *preview) target(group, instance, arn, state string) {
	in := w.s.Group(group).Instance(instance)
	if in == nil {
		return
	}
	in.Targets = slices.DeleteFunc(in.Targets, func(t fleet.Target) bool { return t.Group == arn })
	if state != fleet.TargetUnused {
		in.Targets = append(in.Targets, fleet.Target{Group: arn, State: state})
	}
}

func (w *preview) evict(a fleet.Action) {
	i := slices.IndexFunc(w.s.Pods, func(p fleet.Pod) bool { return p.Ref.UID == a.Pod.UID })
	p := w.s.Pods[i]
	w.count()
	if recreated(&p) && !late(&p) {
		w.create(p)
	}
	w.leave(p)
	if !p.Finished {
		w.out.Moves[p.Owner.String()]++
	}
}

// remember lets the clock reach the moments that a record's marks are about.
func (w *preview) remember(r *fleet.RotationRecord) {
	for _, wait := range []time.Duration{r.Canary, r.Bake, noLaunch} {
		if wait > 0 {
			w.after(wait, func() {})
		}
	}
}

// lifecycle ends a change of an instance's state. Back in service it is registered with its load balancers again.
func (w *preview) lifecycle(a fleet.Action, state string) {
	g := w.s.Group(a.Group)
	in := g.Instance(a.Instance)
	if in == nil {
		return
	}
	in.Lifecycle, in.Targets = state, nil
	if state != fleet.InService {
		return
	}
	for _, tg := range g.Targets {
		w.register(a.Group, a.Instance, tg.ARN)
	}
}

// register makes an instance a target that becomes healthy.
func (w *preview) register(group, instance, arn string) {
	warmup := time.Duration(0)
	for _, tg := range w.s.Group(group).Targets {
		if tg.ARN == arn {
			warmup = tg.Warmup
		}
	}
	w.target(group, instance, arn, fleet.TargetInitial)
	w.after(warmup, func() { w.target(group, instance, arn, fleet.TargetHealthy) })
}

// dissolve ends a managed node group with its nodes.
func (w *preview) dissolve(group string) {
	for _, in := range slices.Clone(w.s.Group(group).Instances) {
		w.remove(fleet.Action{Group: group, Instance: in.ID, Node: nameOf(w.s.NodeOf(in.ID), &in)})
	}
	w.s.Groups = slices.DeleteFunc(w.s.Groups, func(g fleet.Group) bool { return g.Name == group })
}

// surge adds the one pod more.
func (w *preview) surge(a fleet.Action) {
	i := slices.IndexFunc(w.s.Pods, func(p fleet.Pod) bool { return p.Ref.UID == a.Pod.UID })
	if i >= 0 {
		w.create(w.s.Pods[i])
	}
}

// unsurge lets the old pod go.
func (w *preview) unsurge(a fleet.Action) {
	i := slices.IndexFunc(w.s.Pods, func(p fleet.Pod) bool { return p.Ref.UID == a.Pod.UID })
	if i < 0 || w.s.Pods[i].Terminating {
		return
	}
	p := &w.s.Pods[i]
	p.Terminating = true
	w.out.Moves[p.Owner.String()]++
	gone := *p
	w.after(min(gone.PreStop+defaultStop, max(gone.Grace, time.Second)), func() {
		w.s.Pods = slices.DeleteFunc(w.s.Pods, func(q fleet.Pod) bool { return q.Ref.UID == gone.Ref.UID })
	})
}

// recreated tells whether a controller makes a new pod in the place of one that goes.
func recreated(p *fleet.Pod) bool { return !p.Finished && p.Owner.Kind != "" && p.Stays() == "" }

// late tells whether it does so only when the old one is gone, because it keeps the name.
func late(p *fleet.Pod) bool { return p.Owner.Kind == "StatefulSet" }

// leave lets a terminating pod go after its shutdown.
func (w *preview) leave(p fleet.Pod) {
	stop := p.PreStop + defaultStop
	if p.Grace > 0 {
		stop = min(stop, p.Grace)
	}
	w.after(stop, func() {
		w.s.Pods = slices.DeleteFunc(w.s.Pods, func(q fleet.Pod) bool { return q.Ref.UID == p.Ref.UID })
		if recreated(&p) && late(&p) {
			w.create(p)
		}
	})
}

// create adds the replacement that a controller makes; schedule finds it a node.
func (w *preview) create(old fleet.Pod) {
	w.serial++
	old.Ref.UID = fmt.Sprintf("pod-%d", w.serial)
	if old.Owner.Kind != "StatefulSet" {
		old.Ref.Name = fmt.Sprintf("%s-new-%d", old.Owner.Name, w.serial)
	}
	old.Node, old.Ready, old.Terminating, old.Created = "", false, false, w.s.Now
	w.s.Pods = append(w.s.Pods, old)
	w.schedule()
}

// schedule binds pending pods to nodes that drover has not marked.
func (w *preview) schedule() {
	var r *room
	for i := range w.s.Pods {
		p := &w.s.Pods[i]
		if p.Node != "" || p.Finished {
			continue
		}
		if r == nil {
			r = bare(newIndex(&w.s))
		}
		node, why := r.place(p)
		if p.Unplaced = why; node == "" {
			continue
		}
		p.Node = node
		w.start(*p)
	}
}

// start lets a pod that has a node become Ready.
func (w *preview) start(p fleet.Pod) {
	took := w.begin[p.Owner]
	if took == 0 {
		took = defaultStart
	}
	w.after(took, func() {
		for i := range w.s.Pods {
			if q := &w.s.Pods[i]; q.Ref.UID == p.Ref.UID {
				q.Ready, q.ReadySince = true, w.s.Now
			}
		}
	})
}

// bare is the room that the scheduler sees: nothing promised.
func bare(ix *index) *room {
	leaving := map[string]bool{}
	for i := range ix.s.Nodes {
		if ix.s.Nodes[i].Mark() != nil {
			leaving[ix.s.Nodes[i].Name] = true
		}
	}
	return unpromised(ix, leaving)
}

// count brings the budgets' figures up to date, as the disruption controller would.
func (w *preview) count() {
	healthy := map[string]int{}
	for i := range w.s.Pods {
		if p := &w.s.Pods[i]; p.Ready && !p.Terminating {
			for _, b := range p.Budgets {
				healthy[b]++
			}
		}
	}
	for i := range w.s.Budgets {
		b := &w.s.Budgets[i]
		b.Healthy = healthy[b.Name]
		b.Allowed = max(0, b.Healthy-b.Desired)
	}
}

func (w *preview) deregister(a fleet.Action) {
	delay := time.Duration(0)
	for _, tg := range w.s.Group(a.Group).Targets {
		if tg.ARN == a.Target {
			delay = tg.Delay
		}
	}
	w.after(delay, func() { w.target(a.Group, a.Instance, a.Target, fleet.TargetUnused) })
}

func (w *preview) remove(a fleet.Action) {
	g := w.s.Group(a.Group)
	g.Instances = slices.DeleteFunc(g.Instances, func(in fleet.Instance) bool { return in.ID == a.Instance })
	w.s.Nodes = slices.DeleteFunc(w.s.Nodes, func(n fleet.Node) bool { return n.Instance == a.Instance })
	w.s.Pods = slices.DeleteFunc(w.s.Pods, func(p fleet.Pod) bool { return p.Node == a.Node && a.Node != "" })
}

func (w *preview) instances(p *Plan) int {
	n := 0
	for i := range w.s.Groups {
		if p.Group(w.s.Groups[i].Name) == nil {
			continue
		}
		for j := range w.s.Groups[i].Instances {
			if !w.s.Groups[i].Instances[j].Leaving() {
				n++
			}
		}
	}
	return n
}
