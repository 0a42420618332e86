package evac

import (
	"container/heap"
	"fmt"
	"maps"
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
	// Exceptions is what the run could not put back.
	Exceptions []string
	Peak       int           // most instances at once over the plan's groups, those being closed left out
	Bound      time.Duration // no order of moves and closings could be faster, with these budgets and this surge
	Path       string        // what makes it so: the lane that takes longest, or the group that has the most turns
	SurgeHours float64       // instance-hours beyond what the groups have without the run
}

// Event is an action at a moment after the start.
type Event struct {
	After  time.Duration
	Action fleet.Action
}

const maxTicks = 200_000

// Preview folds Next over a copy of the snapshot in which everything goes well: instances boot, pods start, requests drain, each in the time
// that the fleet has shown so far.
func Preview(p Plan, s fleet.Snapshot) Forecast {
	s = unstopped(s)
	w := &preview{s: s, began: s.Now, plan: &p, grid: grid(len(p.Moves)), out: Forecast{Moves: map[string]int{}}}
	w.out.Events = make([]Event, 0, len(p.Moves)+8*len(p.Exits))
	w.keepIndex()
	w.estimate()
	w.out.Bound, w.out.Path = bound(&p, w.ix)
	w.count()
	w.underWay()
	w.run()
	w.out.Took = w.s.Now.Sub(w.began)
	return w.out
}

// unstopped is a copy of the snapshot in which nobody has stopped anything: a forecast is about the run, not about when it may go on.
func unstopped(s fleet.Snapshot) fleet.Snapshot {
	s = s.Clone()
	s.Stopped, s.Probes = nil, nil
	for i := range s.Rotations {
		s.Rotations[i].Paused = nil
	}
	return s
}

// run ticks until the plan is done, or stands still for good.
func (w *preview) run() {
	v, idle := &tick{plan: w.plan, outline: outlineOf(w.plan), quiet: true}, 0
	for range maxTicks {
		asked := !v.moved
		v.renew(w.index())
		step := v.turn()
		w.out.Peak = max(w.out.Peak, w.instances(w.plan))
		if step.Diverged != "" {
			w.out.Stuck = []fleet.Hold{{Subject: "plan", Reason: step.Diverged}}
			return
		}
		w.out.Exceptions = step.Since(w.out.Exceptions)
		if step.Done {
			return
		}
		progress, others := w.actAll(step.Actions)
		if idle++; progress {
			idle = 0
		} else if !step.Again.IsZero() && idle < maxIdle {
			w.after(max(step.Again.Sub(w.s.Now), time.Millisecond), func() {})
		}
		if slices.ContainsFunc(step.Actions, func(a fleet.Action) bool { return a.Store != "" }) {
			v.moved = false
		}
		if progress && (others || w.grid == 0) { // else there is nothing more to do at this moment
			v.moved = v.moved && w.grid > 0 // if there is, it is for nodes on their way out
			continue
		}
		v.moved = false
		if !w.wait() && !progress && asked {
			w.out.Stuck = Next(*w.plan, w.s).Holds
			return
		}
	}
}

// turn is Next for whatever kind of plan it is that a person approves.
func (v *tick) turn() Step {
	if len(v.plan.Pods) > 0 {
		return v.nextPods()
	}
	return v.next()
}

func (w *preview) actAll(actions []fleet.Action) (progress, others bool) {
	for _, a := range actions {
		progress = w.act(a) || progress
		others = others || !lasting(a.Verb)
	}
	w.schedule()
	return progress, others
}

// lasting tells whether nothing more can be done at the moment of an action because of it: what it begins takes time.
func lasting(verb fleet.Verb) bool {
	return verb == fleet.Evict || verb == fleet.Deregister || verb == fleet.Keep
}

// grid is to how many seconds moments are rounded up, so that a large fleet has not as many ticks as pods.
func grid(moves int) time.Duration {
	return time.Duration(moves/3000) * time.Second
}

// preview is the optimistic world: a snapshot, and what will happen to it.
type preview struct {
	s      fleet.Snapshot
	began  time.Time
	plan   *Plan
	later  events
	seq    int
	boot   map[string]time.Duration      // by group
	begin  map[fleet.Owner]time.Duration // pod start by workload
	serial int
	tie    func() bool   // breaks ties between zones; nil takes the first
	grid   time.Duration // moments are multiples of it; zero for as they come
	out    Forecast

	// ix is told of every change; nil to build it anew for every question, which is slow and cannot be wrong.
	ix       *index
	stale    bool                  // nodes or instances came or went
	awayPods map[string]lostMember // of stores, by namespace/name
	meeting  string                // store whose nodes are getting to know each other
	empty    []*fleet.Pod          // places in s.Pods that pods have left, when there is an index: its pointers into s.Pods must stay true
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
	at := w.s.Now.Add(d)
	if w.grid > 0 {
		if over := at.Sub(w.began) % w.grid; over > 0 {
			at = at.Add(w.grid - over)
		}
	}
	heap.Push(&w.later, event{at: at, seq: w.seq, do: do})
}

// wait moves the clock to the next event and lets everything of that moment happen.
func (w *preview) wait() bool {
	if len(w.later) == 0 {
		return false
	}
	w.spend(w.later[0].at.Sub(w.s.Now))
	w.s.Now = w.later[0].at
	for len(w.later) > 0 && !w.later[0].at.After(w.s.Now) {
		heap.Pop(&w.later).(event).do()
	}
	if w.ix != nil {
		w.ix.later()
	}
	w.schedule()
	if w.ix == nil {
		w.count()
	}
	return true
}

// spend counts what the surge costs while time passes.
func (w *preview) spend(d time.Duration) {
	if w.plan == nil {
		return
	}
	over := w.instances(w.plan)
	for i := range w.plan.Groups {
		over -= w.plan.Groups[i].Desired
	}
	w.out.SurgeHours += max(0, float64(over)) * d.Hours()
}

// underWay plans the consequences of what had begun before the snapshot was taken: a run that was killed, or anybody's doing.
func (w *preview) underWay() {
	for i := range w.s.Groups {
		g := &w.s.Groups[i]
		here := 0
		for _, in := range slices.Clone(g.Instances) {
			switch n := w.nodeOf(in.ID); {
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
			w.start(&p)
		}
	}
	for i := range w.s.Rotations {
		w.remember(&w.s.Rotations[i])
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
	if n := w.nodeOf(instance); n != nil {
		n.Ready = true
		n.Taints = slices.DeleteFunc(n.Taints, fleet.Taint.StartUp)
		w.reshaped(n.Name)
	}
}

// estimate reads from the fleet how long a boot and a pod's start take here.
func (w *preview) estimate() {
	ix := w.index()
	w.boot = map[string]time.Duration{}
	for i := range w.s.Groups {
		w.boot[w.s.Groups[i].Name] = ix.boot(&w.s.Groups[i])
	}
	w.begin = map[fleet.Owner]time.Duration{}
	for o := range ix.workloads {
		w.begin[o] = ix.start(o)
	}
}

// act applies an action at once and plans its consequences.
func (w *preview) act(a fleet.Action) bool {
	if !w.assume(a) {
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
		w.stale = true
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
	id := w.fresh("new-%d", func(id string) bool { _, in := w.s.Instance(id); return in != nil })
	in := fleet.Instance{ID: id, Zone: zone, Lifecycle: fleet.Pending, Launched: w.s.Now}
	if len(g.Wants) > 0 {
		in.Template = g.Wants[0]
	}
	w.addInstance(g, in)
	w.after(w.boot[group], func() { w.arrive(group, in.ID) })
}

// fresh is a name that nobody has yet.
func (w *preview) fresh(format string, taken func(string) bool) string {
	for {
		w.serial++
		if name := fmt.Sprintf(format, w.serial); !taken(name) {
			return name
		}
	}
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
	var model *fleet.Node
	for i := range like.Instances {
		other := w.nodeOf(like.Instances[i].ID)
		if other != nil && (model == nil || like.Instances[i].Zone == in.Zone) {
			model, in.Type = other, like.Instances[i].Type
		}
	}
	if model != nil {
		node.Room, node.Labels = model.Room, relabel(model.Labels, &node)
		node.Taints = slices.DeleteFunc(slices.Clone(model.Taints), func(t fleet.Taint) bool { return t.Key == fleet.TaintKey || t.StartUp() })
		w.copyDaemons(model.Name, id)
	}
	w.addNode(node)
	for _, tg := range g.Targets {
		w.register(group, id, tg.ARN)
	}
}

// relabel copies a node's labels for another.
func relabel(labels map[string]string, n *fleet.Node) map[string]string {
	labels = maps.Clone(labels)
	if labels[hostname] != "" {
		labels[hostname] = n.Name
	}
	if labels[zoneLabel] != "" {
		labels[zoneLabel] = n.Zone
	}
	return labels
}

// copyDaemons gives a node the DaemonSet pods of another.
func (w *preview) copyDaemons(from, to string) {
	var copies []fleet.Pod
	for _, t := range w.on(from) {
		if t.Owner.Kind == "DaemonSet" && !t.Terminating {
			c := *t.Pod
			c.Node, c.Ref.UID = to, fmt.Sprintf("%s-%s", t.Owner, to)
			copies = append(copies, c)
		}
	}
	for _, c := range copies {
		w.insert(c)
	}
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
	p := *w.pod(a.Pod.UID)
	if w.ix == nil {
		w.count()
	}
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
		w.remove(fleet.Action{Group: group, Instance: in.ID, Node: nameOf(w.nodeOf(in.ID), &in)})
	}
	w.s.Groups = slices.DeleteFunc(w.s.Groups, func(g fleet.Group) bool { return g.Name == group })
	w.stale = true
}

// surge adds the one pod more.
func (w *preview) surge(a fleet.Action) {
	if p := w.pod(a.Pod.UID); p != nil {
		w.create(*p)
	}
}

// unsurge lets a pod go: the old one, or the newest where the replica more is only taken back.
func (w *preview) unsurge(a fleet.Action) {
	if a.From == a.To {
		return // only the mark
	}
	p := w.pod(a.Pod.UID)
	if !a.Expect.Ready {
		p = w.newest(a.Workload, a.Pod.UID)
	}
	if p == nil {
		return
	}
	w.edit(p, func() { p.Terminating = true })
	if a.Expect.Ready {
		w.out.Moves[p.Owner.String()]++
	}
	gone := p.Ref.UID
	w.after(min(p.PreStop+defaultStop, max(p.Grace, time.Second)), func() { w.drop(gone) })
}

// newest finds the pod that a scale-down takes when none was made cheaper: one that is not Ready, else the newest. A pod that has to go anyway is
// left out.
func (w *preview) newest(o fleet.Owner, except string) *fleet.Pod {
	var best *fleet.Pod
	for i := range w.s.Pods {
		p := &w.s.Pods[i]
		if p.Owner != o || p.Terminating || p.Finished || p.Ref.UID == except {
			continue
		}
		if best == nil || best.Ready && !p.Ready || best.Ready == p.Ready && p.Created.After(best.Created) {
			best = p
		}
	}
	return best
}

// recreated tells whether a controller makes a new pod in the place of one that goes.
func recreated(p *fleet.Pod) bool { return !p.Finished && p.Owner.Kind != "" && p.Stays() == "" }

// late tells whether it does so only when the old one is gone, because it keeps the name.
func late(p *fleet.Pod) bool { return p.Owner.Kind == "StatefulSet" }

// leave lets a terminating pod go after its shutdown.
func (w *preview) leave(p fleet.Pod) {
	if p.OwnDisk {
		w.after(stop(&p)+detachTime, func() { w.detach(p.Node) })
	}
	if uid := p.Ref.UID; !late(&p) || !recreated(&p) {
		w.after(stop(&p), func() { w.drop(uid) })
		return
	}
	w.recreate(p)
}

// detach takes its volumes off a node that no pod needs them on any more.
func (w *preview) detach(node string) {
	n := w.node(node)
	if n == nil || len(n.Volumes) == 0 {
		return
	}
	for _, t := range w.on(node) {
		if t.OwnDisk && !t.Finished {
			return
		}
	}
	n.Volumes = nil
}

// recreate puts a new pod in the place of one when that is gone.
func (w *preview) recreate(p fleet.Pod) {
	w.after(stop(&p), func() {
		w.drop(p.Ref.UID)
		w.create(p)
	})
}

// create adds the replacement that a controller makes; schedule finds it a node.
func (w *preview) create(old fleet.Pod) {
	old.Ref.UID = w.fresh("pod-%06d", func(uid string) bool { return w.pod(uid) != nil })
	if old.Owner.Kind != "StatefulSet" {
		old.Ref.Name = fmt.Sprintf("%s-new-%d", old.Owner.Name, w.serial)
	}
	old.Node, old.Ready, old.Terminating, old.Created = "", false, false, w.s.Now
	w.insert(old)
	if w.ix == nil || w.ix.company != nil {
		w.schedule() // at once: where pods mind each other, it matters which of them are shutting down already
	}
}

// schedule binds pending pods to nodes that drover has not marked.
func (w *preview) schedule() {
	ix := w.index()
	if len(ix.pending) == 0 {
		return
	}
	r := bare(ix)
	for _, p := range ix.waiting() {
		node, why := r.place(p)
		if p.Unplaced = why; node != "" {
			w.bind(p, node)
			w.start(p)
		}
	}
}

// start lets a pod that has a node become Ready.
func (w *preview) start(p *fleet.Pod) {
	took := w.begin[p.Owner]
	if took == 0 {
		took = defaultStart
	}
	uid := p.Ref.UID
	w.after(took, func() {
		if q := w.pod(uid); q != nil {
			w.edit(q, func() { q.Ready, q.ReadySince = true, w.s.Now })
			w.returned(q)
		}
	})
}

// bare is the room that the scheduler sees: nothing promised.
func bare(ix *index) *room {
	return unpromised(ix, func(n *fleet.Node) bool { return n.Mark() != nil })
}

// count brings the budgets' figures up to date, as the disruption controller would.
func (w *preview) count() {
	healthy := map[string]int{}
	for i := range w.s.Pods {
		if p := &w.s.Pods[i]; serving(p) {
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

func serving(p *fleet.Pod) bool { return p.Ready && !p.Terminating }

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
	var gone []string
	for _, t := range w.on(a.Node) {
		gone = append(gone, t.Ref.UID)
	}
	for _, uid := range gone {
		w.drop(uid)
	}
	g := w.s.Group(a.Group)
	g.Instances = slices.DeleteFunc(g.Instances, func(in fleet.Instance) bool { return in.ID == a.Instance })
	w.s.Nodes = slices.DeleteFunc(w.s.Nodes, func(n fleet.Node) bool { return n.Instance == a.Instance })
	w.stale = true
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
