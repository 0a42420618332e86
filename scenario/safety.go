package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// sentence is something that holds after every action of every run of every story. It returns what is wrong; "" when nothing is.
type sentence struct {
	Name, Says string
	of         scope
	action     func(d *deed) string                             // after each action
	passing    func(w *watch, v *view) string                   // whenever time has passed
	finally    func(w *watch, v *view, o outcome) string        // when a command has ended
	mail       func(w *watch, m fleet.Message) string           // before a message is deleted
	saying     func(w *watch, said []string, pod string) string // before a command to a store that changes something
}

// scope is what a sentence is about.
type scope int

const (
	runs       scope = iota // a rotation or a drain: what a person has approved
	notices                 // what a controller does because AWS takes a machine
	everything              // both
	holdings                // what is done to stores, by either
	sleeps                  // what is done because an environment is switched
)

// covers tells whether a sentence speaks of an action.
func (s scope) covers(a fleet.Action) bool {
	if a.Environment != "" || s == sleeps {
		return a.Environment != "" && s == sleeps
	}
	return s == everything || s == holdings || (s == notices) == (a.Run == fleet.NoticeRun)
}

// Safety is the list. A new danger starts as a new sentence.
var Safety = slices.Concat(doors, keeping, nights)

// doors are the sentences about nodes, groups and pods.
var doors = []sentence{
	{Name: "budget", Says: "No PodDisruptionBudget is broken by what drover does, except by a deletion that a deadline forces.", of: everything, action: breaks, finally: brokeByClosing},
	{Name: "bound", Says: "No node, instance or group outside the approved plan is touched.", action: outside},
	{Name: "subject", Says: "An action changes its own subject only.", of: everything, action: astray},
	{Name: "foreign", Says: "Taints, labels and annotations of others stay as they are.", of: everything, action: foreign},
	{Name: "once", Says: "Every pod moves at most once, and once more only when the run is taken back.", action: twice},
	{Name: "closed-first", Says: "No pod is evicted while an old node still takes pods.", action: stillOpen},
	{Name: "by-uid", Says: "Only a pod that is on a leaving node is evicted, by its UID.", of: everything, action: wrongPod},
	{Name: "empty", Says: "A machine leaves service only when no pod that has to move is on it.", action: notEmpty},
	{Name: "balancers", Says: "A machine leaves service only when it is out of every load balancer.", action: stillTarget},
	{Name: "volumes", Says: "A machine leaves service only when its volumes are detached.", action: stillAttached},
	{Name: "last-target", Says: "The last healthy target of a target group never goes.", action: lastTarget},
	{Name: "capacity", Says: "A group never has fewer working nodes than before, by drover's hand.", action: tooFew},
	{Name: "size", Says: "Desired capacity stays within the group's bounds and the approved surge.", action: tooMany},
	{Name: "by-id", Says: "AWS never chooses who goes: every instance is ended by drover, by its id, or by the story.", passing: chosen, action: func(d *deed) string { return chosen(d.watch, d.after) }},
	{Name: "recorded", Says: "Nothing is changed before the run's record is written.", action: unrecorded},
	{Name: "journaled", Says: "No group is changed before its prior values are written on it.", action: unjournaled},
	{Name: "explained", Says: "A workload has a replica more only together with the mark that says what it had.", action: unexplained},
	{Name: "singleton", Says: "A singleton that can have its replacement first is never without a Ready pod.", finally: dark},
	{Name: "lost", Says: "No pod runs on a machine that drover closes.", finally: lost},
	{Name: "already-so", Says: "Carrying out an action a second time changes nothing.", of: everything, action: repeated},
	{Name: "paused", Says: "A paused run does nothing.", of: everything, action: whilePaused},
	{Name: "probes", Says: "While a health probe is bad no pod is moved.", action: whileBad},
	{Name: "canary", Says: "Until the first node is replaced and watched, no other is emptied.", action: beforeCanary},
	{Name: "bake", Says: "Old machines that are kept for a way back are closed when that time is over, not before.", action: beforeBake},
	{Name: "ended", Says: "A run that is over does nothing more.", action: afterEnd},
	{Name: "zones", Says: "When AZRebalance is on again, it finds nothing to do.", action: rebalances},
	{Name: "restored", Says: "At the end every setting is as it was, to the byte.", finally: restored},
	{Name: "returned", Says: "A run that is taken back returns every old machine that is still there to service.", finally: returned},

	{Name: "noticed", Says: "Nothing is done to a node of which AWS gave no notice.", of: notices, action: unnoticed},
	{Name: "wave", Says: "All nodes whose departure is on file are shut before a pod of any moves.", of: notices, action: beforeWave},
	{Name: "past-budget", Says: "A pod is deleted past its budget only on a node with a deadline, at the last moment that leaves it its own time.", of: notices, action: tooSoon},
	{Name: "graceful", Says: "No pod dies with its machine that could have stopped in the time its notice left.", of: notices, finally: cutOff},
	{Name: "own-time", Says: "No pod gets less time to stop than it wants, unless its machine goes sooner.", of: notices, action: hurried},
	{Name: "held", Says: "A hook lets an instance go only when no pod that has to move is on it, or its time is over.", of: notices, action: letGo},
	{Name: "own-hooks", Says: "Only hooks that are drover's by name, or that told its queue themselves, are answered.", of: notices, action: strangeHook},
	{Name: "hook-limit", Says: "A hook holds an instance no longer than the policy says.", of: notices, passing: overheld},
	{Name: "run-out", Says: "No hook that is drover's to answer runs out while drover runs.", of: notices, passing: ranOut},
	{Name: "came", Says: "A new instance goes into service only as a Ready node.", of: notices, action: notReady},
	{Name: "off", Says: "A node is declared out of service only when its machine is off.", of: notices, action: stillOn},
	{Name: "retained", Says: "Of instances that AWS takes, drover ends only those that were kept for it, and only empty.", of: notices, action: endsOther},
	{Name: "into-hook", Says: "A node that leaves time is ended only where drover's hook holds it, and only when its replacement is wanted.", of: notices, action: unheld},
	{Name: "on-file", Says: "A message is deleted only when what it says is on file.", of: notices, mail: notFiled},
	{Name: "kept", Says: "What is not understood is set aside, and nothing else is.", of: notices, finally: notKept},
	{Name: "stays", Says: "A node that stays after all is exactly as it was.", of: notices, finally: changedNode},
}

// ok tells whether the action was carried out.
func (d *deed) ok() bool { return d.err == nil }

// rotating tells whether the plan is a run of its own, not a drain.
func (w *watch) rotating() bool { return w.p.Record.Run != "" }

// leaves tells whether the action takes a machine out of service.
func (d *deed) leaves() bool {
	return d.ok() && (d.a.Verb == fleet.Terminate || d.a.Verb == fleet.Standby)
}

// breaks finds a budget that an action broke. A dead machine that nobody knows of yet is the story's doing.
func breaks(d *deed) string {
	for _, b := range d.after.ledger.Breaches[len(d.before.ledger.Breaches):] {
		if b.Satisfied && d.a.Verb != fleet.Delete && !d.unheard(d.before) {
			return b.String()
		}
	}
	return ""
}

// unheard tells whether a machine that the story ended still counts as a Ready node.
func (w *watch) unheard(v *view) bool {
	return slices.ContainsFunc(v.s.Nodes, func(n fleet.Node) bool { return n.Ready && w.blamed[n.Name] })
}

// brokeByClosing finds a budget that was broken when a machine that drover closed went off.
func brokeByClosing(w *watch, v *view, _ outcome) string {
	for _, b := range v.ledger.Breaches {
		for in := range w.mine {
			if name := w.stage.node(in); b.Satisfied && strings.Contains(b.Cause, "machine of node "+name+" ") {
				return b.String()
			}
		}
	}
	return ""
}

// outside finds an action on something that the plan does not name. On the way back the run's own new instances are part of it.
func outside(d *deed) string {
	a := d.a
	if a.Run != d.p.Run {
		return fmt.Sprintf("%s is an action of run %q", a, a.Run)
	}
	if a.Group != "" && d.rotating() && !d.p.Record.Has(a.Group) && !strings.HasSuffix(a.Group, strings.TrimPrefix(a.Run, "r-")) {
		return fmt.Sprintf("%s is about group %s, which is not of the plan", a, a.Group)
	}
	switch a.Verb {
	case fleet.Keep, fleet.Unkeep, fleet.Untaint, fleet.Include:
		if n := d.before.s.Node(a.Node); n != nil && !d.leavesPlan(n.Instance) && !d.inPlan(n.Instance) {
			return fmt.Sprintf("%s: the node is of no group of the plan", a)
		}
	case fleet.Taint_, fleet.Exclude, fleet.Evict:
		if slices.ContainsFunc(d.p.Pods, func(r fleet.PodRef) bool { return r.UID == a.Pod.UID }) {
			return ""
		}
		if n := d.before.s.Node(a.Node); n != nil && !d.leavesPlan(n.Instance) {
			return fmt.Sprintf("%s: the plan does not let that node go", a)
		}
	case fleet.Terminate, fleet.Standby, fleet.Deregister:
		if !d.leavesPlan(a.Instance) {
			return fmt.Sprintf("%s: the plan does not let that instance go", a)
		}
	}
	return ""
}

// leavesPlan tells whether the plan lets an instance go.
func (d *deed) leavesPlan(instance string) bool {
	if _, exit := d.exits[instance]; exit {
		return true
	}
	_, in := d.before.s.Instance(instance)
	return d.p.Back() && in != nil && !in.Launched.Before(d.p.At)
}

// inPlan tells whether an instance belongs to a group of the plan.
func (d *deed) inPlan(instance string) bool {
	g, _ := d.before.s.Instance(instance)
	return g != nil && d.p.Record.Has(g.Name)
}

// astray finds a changed setting that is not of the action's subject.
func astray(d *deed) string {
	var may []string
	switch a := d.a; a.Verb {
	case fleet.Journal, fleet.Forget, fleet.Suspend, fleet.Resume, fleet.Resize:
		may = []string{"group " + a.Group + " "}
	case fleet.Terminate, fleet.Replace, fleet.Standby, fleet.Unstandby:
		may = []string{"group " + a.Group + " ", "target group "}
	case fleet.Deregister, fleet.Register:
		may = []string{"target group "}
	case fleet.Evict, fleet.Delete:
		may = []string{"pod "}
	case fleet.Heartbeat:
	case fleet.Complete:
		may = []string{"group " + d.scalingOf(a.Group) + " "}
	case fleet.Surge, fleet.Unsurge:
		may = []string{a.Workload.String() + " ", "pod " + a.Workload.String() + " "}
	case fleet.Record:
	case fleet.Lend:
		return ""
	case fleet.Engage, fleet.Disengage, fleet.Unlend, fleet.Call:
		may = []string{"store " + a.Store + " "}
	case fleet.CreateGroup, fleet.DeleteGroup:
		return ""
	default:
		may = []string{"node " + a.Node + " "}
	}
	if a := d.a; a.Verb.Store() {
		may = []string{"store " + a.Store + " pod " + a.Pod.Name + " ", "store " + a.Store + " pod " + a.Peer.Name + " "}
	}
	gone, came := d.changes()
	for _, line := range append(gone, came...) {
		mine := slices.ContainsFunc(may, func(prefix string) bool { return strings.HasPrefix(line, prefix) })
		if !mine || strings.HasPrefix(line, "target group ") && !strings.Contains(line, " target "+d.a.Instance+":") {
			return fmt.Sprintf("%s changed %q", d.a, line)
		}
	}
	return ""
}

// foreign finds a setting of a node that is not drover's to change.
func foreign(d *deed) string {
	if d.a.Verb == fleet.DeleteGroup {
		return "" // EKS cordons what it dissolves
	}
	gone, came := d.changes()
	for _, line := range append(gone, came...) {
		if !strings.HasPrefix(line, "node ") {
			continue
		}
		ours := strings.Contains(line, fleet.TaintKey) || strings.Contains(line, " scale-down-disabled kept="+d.a.Run) ||
			d.a.Verb == fleet.OutOfService && strings.Contains(line, " taint node.kubernetes.io/out-of-service=") ||
			strings.Contains(line, " excluded by="+d.a.Run) || strings.Contains(line, " label node.kubernetes.io/exclude-from-external-load-balancers=")
		if !ours {
			return fmt.Sprintf("%s changed %q", d.a, line)
		}
	}
	return ""
}

// twice finds a pod that was moved in this run already. A pod that the story put back onto an old node is the story's doing.
func twice(d *deed) string {
	if d.reopened || len(d.after.ledger.Evictions) == len(d.before.ledger.Evictions) {
		return ""
	}
	e := d.after.ledger.Evictions[len(d.after.ledger.Evictions)-1]
	owner := strings.TrimPrefix(e.Identity[strings.LastIndex(e.Identity, "/")+1:], "/")
	if name, _, _ := strings.Cut(owner, " "); d.excused[name] {
		return ""
	}
	if d.moved[e.Identity] > 0 {
		return fmt.Sprintf("%s: %s was moved before", d.a, e.Identity)
	}
	return ""
}

// stillOpen finds an old node that takes pods while one is moved.
func stillOpen(d *deed) string {
	if d.a.Verb != fleet.Evict && d.a.Verb != fleet.Surge || d.reopened || !d.ok() {
		return ""
	}
	for i := range d.before.s.Nodes {
		n := &d.before.s.Nodes[i]
		if d.p.Back() || !d.old[n.Name] || !n.Ready || n.Cordoned {
			continue
		}
		if m := n.Mark(); m == nil || m.Effect != fleet.NoSchedule {
			return fmt.Sprintf("%s, and node %s takes pods", d.a, n.Name)
		}
	}
	return ""
}

// wrongPod finds an eviction of another pod than the one that the action names.
func wrongPod(d *deed) string {
	for _, e := range d.after.ledger.Evictions[len(d.before.ledger.Evictions):] {
		if d.a.Verb != fleet.Evict || e.Pod.UID != d.a.Pod.UID || e.Node != d.a.Node || d.a.Pod.UID == "" {
			return fmt.Sprintf("%s evicted %s (%s) from %s", d.a, e.Pod, e.Pod.UID, e.Node)
		}
	}
	for _, e := range d.after.ledger.Deletions[len(d.before.ledger.Deletions):] {
		if d.a.Verb != fleet.Delete || e.Pod.UID != d.a.Pod.UID || e.Node != d.a.Node || d.a.Pod.UID == "" {
			return fmt.Sprintf("%s deleted %s (%s) from %s", d.a, e.Pod, e.Pod.UID, e.Node)
		}
	}
	return ""
}

// notEmpty finds a pod on a machine that leaves service. One whose node is dead and whose time is over is gone, whatever the API says.
func notEmpty(d *deed) string {
	if !d.leaves() {
		return ""
	}
	n := d.before.s.NodeOf(d.a.Instance)
	if n == nil {
		return ""
	}
	for _, p := range d.before.s.PodsOn(n.Name) {
		if p.Stays() == "" && !p.Finished && (n.Ready || !p.Terminating) {
			return fmt.Sprintf("%s, and pod %s is on it", d.a, p.Ref)
		}
	}
	return ""
}

// stillTarget finds a load balancer that knows a machine which leaves service.
func stillTarget(d *deed) string {
	if !d.leaves() {
		return ""
	}
	_, in := d.before.s.Instance(d.a.Instance)
	n := d.before.s.NodeOf(d.a.Instance)
	if in == nil || n == nil && !d.p.Back() {
		return ""
	}
	for _, t := range in.Targets {
		if in.Lifecycle == fleet.InService {
			return fmt.Sprintf("%s, which is %s in target group %s", d.a, t.State, t.Group)
		}
	}
	return ""
}

// stillAttached finds a volume on a machine that leaves service. A dead machine detaches nothing.
func stillAttached(d *deed) string {
	n := d.before.s.NodeOf(d.a.Instance)
	if !d.leaves() || n == nil || !n.Ready || len(n.Volumes) == 0 {
		return ""
	}
	return fmt.Sprintf("%s, with volumes %v", d.a, n.Volumes)
}

// lastTarget finds a target group whose last healthy target an action took away.
func lastTarget(d *deed) string {
	before, after := healthy(d.before), healthy(d.after)
	for arn, n := range before {
		if n > 0 && after[arn] == 0 {
			return fmt.Sprintf("%s left target group %s without a healthy target", d.a, arn)
		}
	}
	return ""
}

// healthy counts the healthy targets of every target group.
func healthy(v *view) map[string]int {
	out := map[string]int{}
	for _, g := range v.s.Groups {
		for _, in := range g.Instances {
			for _, t := range in.Targets {
				if t.State == fleet.TargetHealthy {
					out[t.Group]++
				}
			}
		}
	}
	return out
}

// tooFew finds a group that an action left with fewer working nodes than it had. A person who drains and closes a node wants that.
func tooFew(d *deed) string {
	g := d.after.s.Group(d.a.Group)
	if !d.leaves() || g == nil || !d.rotating() || d.resized[d.a.Group] || g.Managed != nil {
		return ""
	}
	if _, in := d.before.s.Instance(d.a.Instance); in == nil || !works(&d.before.s, in) {
		return ""
	}
	if at, ok := d.cut[d.a.Node]; ok && at.Before(d.fell) {
		return "" // it serves nobody since before somebody else ended another; gone, it makes room for one that does
	}
	if n := working(&d.after.s, g); n < d.floor[g.Name] && !d.late(d.fell) {
		return fmt.Sprintf("%s left group %s with %d working nodes, it had %d", d.a, g.Name, n, d.floor[g.Name])
	}
	return ""
}

// tooMany finds a desired capacity that nobody approved.
func tooMany(d *deed) string {
	g := d.after.s.Group(d.a.Group)
	if d.a.Verb != fleet.Resize || g == nil || !d.ok() || !d.effect() {
		return ""
	}
	switch {
	case g.Desired < g.Min || g.Desired > g.Max:
		return fmt.Sprintf("%s: min %d, max %d", d.a, g.Min, g.Max)
	case g.Mark == nil || g.Desired > g.Mark.Desired+g.Mark.Surge:
		return fmt.Sprintf("%s: more than the surge that was approved", d.a)
	}
	return ""
}

// chosen finds an instance that left without anybody having named it.
func chosen(w *watch, v *view) string {
	for i := range v.s.Groups {
		g := &v.s.Groups[i]
		if w.resized[g.Name] || !w.p.Record.Has(g.Name) {
			continue
		}
		for _, in := range g.Instances {
			was, known := w.last[in.ID]
			if known && in.Leaving() && !strings.HasPrefix(was, "Terminat") && !w.mine[in.ID] && !w.blamed[in.ID] && !w.acting(in.ID) {
				return fmt.Sprintf("instance %s of group %s was ended by AWS's own choice", in.ID, g.Name)
			}
		}
	}
	return ""
}

// acting tells whether an instance is of a managed group that EKS dissolves.
func (w *watch) acting(instance string) bool {
	g, _ := w.now().s.Instance(instance)
	return g != nil && g.Managed != nil
}

// unrecorded finds an action of a run that has no record. A run whose record somebody deleted is known by its marks.
func unrecorded(d *deed) string {
	if !d.rotating() || d.a.Verb == fleet.Record || !d.effect() {
		return ""
	}
	if r := d.record(); r == nil {
		return fmt.Sprintf("%s, and run %s has no record", d.a, d.a.Run)
	}
	return ""
}

// unjournaled finds a change of a group that carries no mark.
func unjournaled(d *deed) string {
	switch d.a.Verb {
	case fleet.Suspend, fleet.Resume, fleet.Resize, fleet.Terminate, fleet.Standby, fleet.Unstandby:
	default:
		return ""
	}
	g := d.before.s.Group(d.a.Group)
	if g == nil || g.Managed != nil || !d.rotating() || !d.effect() {
		return ""
	}
	if g.Mark == nil || g.Mark.Run != d.a.Run {
		return fmt.Sprintf("%s, and group %s carries no mark of the run", d.a, g.Name)
	}
	return ""
}

// unexplained finds a workload that got a replica without a mark, or lost the mark before the replica.
func unexplained(d *deed) string {
	if d.a.Verb != fleet.Surge && d.a.Verb != fleet.Unsurge || !d.effect() {
		return ""
	}
	before, after := d.before.s.Workload(d.a.Workload), d.after.s.Workload(d.a.Workload)
	switch {
	case before == nil || after == nil:
		return ""
	case after.Replicas > before.Replicas && (after.Surge == nil || after.Surge.Run != d.a.Run):
		return fmt.Sprintf("%s: there is no mark on it", d.a)
	case before.Surge != nil && after.Surge == nil && after.Replicas > before.Surge.Replicas && after.Scaler == nil:
		return fmt.Sprintf("%s: the mark is gone, %d replicas stay", d.a, after.Replicas)
	}
	return ""
}

// dark finds a time in which a singleton that could have been surged did not serve, by drover's doing.
func dark(w *watch, v *view, _ outcome) string {
	for _, o := range v.ledger.Outages {
		was := w.began.s.Workload(o.Workload)
		ours := strings.Contains(o.Cause, "was evicted") || strings.Contains(o.Cause, "was scaled from")
		for in := range w.mine {
			ours = ours || strings.Contains(o.Cause, "machine of node "+w.stage.node(in)+" ")
		}
		surgeable := was != nil && was.Replicas == 1 && !was.Recreate && was.Owner.Kind == "Deployment" && !w.stage.specs[o.Workload.Name].OwnDisk
		if surgeable && ours && !o.From.Before(w.began.at) {
			return fmt.Sprintf("%s did not serve from %s: %s", o.Workload, o.From.UTC().Format("15:04:05"), o.Cause)
		}
	}
	return ""
}

// lost finds a pod that ran on a machine when drover closed it.
func lost(w *watch, v *view, _ outcome) string {
	for _, l := range v.ledger.Lost {
		for in := range w.mine {
			if l.Node == w.stage.node(in) && !l.Stays && !w.blamed[in] && !w.blamed[l.Node] {
				return fmt.Sprintf("pod %s ran on node %s when it was closed", l.Pod, l.Node)
			}
		}
	}
	return ""
}

// repeated finds an effect that can be had once and was had again. (The second carrying out itself is checked by the harness.)
func repeated(d *deed) string {
	switch d.a.Verb {
	case fleet.Terminate, fleet.Replace, fleet.Evict, fleet.Delete, fleet.CreateGroup, fleet.DeleteGroup:
	default:
		return ""
	}
	if !d.ok() || !d.effect() {
		return ""
	}
	key := d.a.Key()
	if d.done[key] {
		return d.a.String() + " had its effect before"
	}
	d.done[key] = true
	return ""
}

// whilePaused finds an action in a time in which a person had stopped the run.
func whilePaused(d *deed) string {
	why := ""
	if p := d.before.s.Stopped; p != nil && d.knows(p) {
		why = "everything is " + p.String()
	}
	if r := d.before.s.Rotation(d.p.Run); r != nil && r.Paused != nil && d.knows(r.Paused) {
		why = r.Paused.String()
	}
	if why == "" || !d.effect() {
		return ""
	}
	return fmt.Sprintf("%s, and the run is %s", d.a, why)
}

// knows tells whether drover had a chance to read of a pause: of one of this very moment it had not.
func (d *deed) knows(p *fleet.Pause) bool { return d.before.at.After(p.At) && !d.late(p.At) }

// late tells whether stale reads cannot have shown yet what happened at a moment. What passes between two looks at the cloud is no fresher.
func (d *deed) late(at time.Time) bool {
	by := cloudEvery
	if d.stage.variation.Kind == Stale {
		by += time.Duration(d.stage.variation.N) * time.Second
	}
	return !at.IsZero() && d.before.at.Sub(at) <= by
}

// whileBad finds a pod that was moved while a health probe had answered badly.
func whileBad(d *deed) string {
	if d.a.Verb != fleet.Evict && d.a.Verb != fleet.Surge || !d.ok() {
		return ""
	}
	for _, p := range d.stage.probes {
		if !p.said && !d.p.Back() {
			return fmt.Sprintf("%s, and health probe %s is bad", d.a, p.name)
		}
	}
	return ""
}

// beforeCanary finds a second node that is emptied before the first has been watched.
func beforeCanary(d *deed) string {
	r := d.before.s.Rotation(d.p.Run)
	if d.a.Verb != fleet.Evict && d.a.Verb != fleet.Surge || r == nil || r.Canary == 0 || d.p.Back() || !d.ok() {
		return ""
	}
	if at := r.Marks.Canary; !at.IsZero() && !d.before.at.Before(at.Add(r.Canary)) {
		return ""
	}
	for _, e := range d.after.ledger.Evictions {
		if e.Node != d.a.Node && d.old[e.Node] && !e.At.Before(d.p.At) {
			return fmt.Sprintf("%s, while %s is the canary", d.a, e.Node)
		}
	}
	return ""
}

// beforeBake finds an old machine that is closed while it should be kept.
func beforeBake(d *deed) string {
	r := d.before.s.Rotation(d.p.Run)
	_, exit := d.exits[d.a.Instance]
	if d.a.Verb != fleet.Terminate || r == nil || r.Bake == 0 || !exit || d.p.Back() || !d.effect() {
		return ""
	}
	if _, in := d.before.s.Instance(d.a.Instance); in == nil || !in.Parked() && !works(&d.before.s, in) {
		return "" // there was nothing to keep
	}
	if r.Marks.Baking.IsZero() || d.before.at.Before(r.Marks.Baking.Add(r.Bake)) {
		return fmt.Sprintf("%s, which was to be kept for %s", d.a, r.Bake)
	}
	return ""
}

// afterEnd finds an action of a run that is over.
func afterEnd(d *deed) string {
	r := d.record()
	if d.a.Verb == fleet.Record || r == nil || r.Marks.Ended.IsZero() || !d.effect() {
		return ""
	}
	return fmt.Sprintf("%s, and run %s is over", d.a, d.p.Run)
}

// rebalances finds a group whose AZRebalance is switched on although it would end an instance.
func rebalances(d *deed) string {
	if d.a.Verb != fleet.Resume || d.a.Process != fleet.AZRebalance || !d.effect() {
		return ""
	}
	g := d.after.s.Group(d.a.Group)
	if g == nil || !lopsided(&fleet.Snapshot{Groups: []fleet.Group{*g}}) {
		return ""
	}
	return fmt.Sprintf("%s, and its zones are uneven", d.a)
}

// restored compares all settings with those of the beginning. Nodes and machines that are new or gone have no counterpart; what drover set on
// them has to be gone all the same. What could not be put back has to be told.
func restored(w *watch, v *view, o outcome) string {
	if o.kind != over || !w.rotating() || w.duty != nil {
		return ""
	}
	for _, line := range v.settings {
		drovers := strings.Contains(line, fleet.TaintKey) || strings.Contains(line, "drover.dev/rotation") || strings.Contains(line, "="+w.p.Run)
		if drovers && !strings.Contains(line, "member") {
			return "it left " + line
		}
	}
	return w.differs(v, o)
}

// differs compares what lasts with what was.
func (w *watch) differs(v *view, o outcome) string {
	gone, came := diff(w.lasting(w.settings, v), w.lasting(v.settings, v))
	told := strings.Join(o.words, " ")
	for _, line := range append(gone, came...) {
		switch {
		case strings.Contains(line, "suspended AZRebalance") && strings.Contains(told, "AZRebalance stays suspended"):
		case strings.Contains(line, " desired=") && strings.Contains(told, "desired stays"):
		default:
			return fmt.Sprintf("before the run: %q; after it: %q", gone, came)
		}
	}
	return ""
}

// lasting are the settings that can be compared over a run.
func (w *watch) lasting(settings []string, v *view) []string {
	var out []string
	for _, line := range settings {
		f := strings.Fields(line)
		switch {
		case f[0] == "group" && !(mentions(w.began.settings, "group "+f[1]+" ") && mentions(v.settings, "group "+f[1]+" ")):
			// A managed group and its copy have different Auto Scaling groups.
		case f[0] == "node" && w.duty != nil && w.dead(v, f[1]):
		case f[0] == "node" && (w.began.s.Node(f[1]) == nil || v.s.Node(f[1]) == nil):
		case f[0] == "group" && len(f) > 2 && (f[2] == "member" || f[2] == "protects" && !w.both(f[3], v) || w.resized[f[1]] && strings.HasPrefix(f[2], "min=")):
		case f[0] == "Pod", strings.HasPrefix(f[len(f)-1], "replicas=") && w.scaled(f[0]+" "+f[1]):
			// A bare pod that was forced off is gone for good, and an autoscaler's replicas are its own.
		case f[0] == "target" && !w.both(f[len(f)-1], v):
		case f[0] == "pod" && strings.Contains(line, " #"):
			// The successor of a pod has another place in its workload.
			out = append(out, strings.Join(slices.DeleteFunc(f, func(s string) bool { return strings.HasPrefix(s, "#") }), " "))
		default:
			out = append(out, line)
		}
	}
	return out
}

func mentions(settings []string, prefix string) bool {
	return slices.ContainsFunc(settings, func(line string) bool { return strings.HasPrefix(line, prefix) })
}

// scaled tells whether an autoscaler sets a workload's replicas.
func (w *watch) scaled(owner string) bool {
	return slices.ContainsFunc(w.began.s.Workloads, func(x fleet.Workload) bool { return x.Owner.String() == owner && x.Scaler != nil })
}

// both tells whether a target's instance is there before and after.
func (w *watch) both(target string, v *view) bool {
	id, _, _ := strings.Cut(target, ":")
	_, before := w.began.s.Instance(id)
	_, after := v.s.Instance(id)
	return before != nil && after != nil
}

// returned finds an old machine that a run taken back has left out of service.
func returned(w *watch, v *view, o outcome) string {
	if o.kind != over || !w.p.Back() {
		return ""
	}
	for id := range w.exits {
		_, in := v.s.Instance(id)
		_, was := w.began.s.Instance(id)
		if in == nil || was == nil || was.Lifecycle != fleet.InService || w.blamed[id] {
			continue
		}
		if in.Lifecycle != fleet.InService || len(in.Targets) < len(was.Targets) {
			return fmt.Sprintf("instance %s is %s in %d of %d target groups", id, in.Lifecycle, len(in.Targets), len(was.Targets))
		}
	}
	return ""
}
