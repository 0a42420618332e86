package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// nights are the sentences about environments that are switched off and on.
var nights = []sentence{
	{Name: "strangers", Says: "Switching an environment evicts, deletes and strands no pod of anybody else's, but for those that may be carried.", of: sleeps, action: strandsOther, passing: strandedOther},
	{Name: "own-things", Says: "Only what an environment names is switched, and what keeps that as a repository says.", of: sleeps, action: notIts},
	{Name: "own-subject", Says: "Switching one thing changes that thing only.", of: sleeps, action: strays},
	{Name: "own-nodes", Says: "A machine ends only by its id, within the exits on record, empty, and out of every load balancer.", of: sleeps, action: notItsExit, passing: choseItself},
	{Name: "on-record", Says: "Nothing is switched before how it was is on record, as it was.", of: sleeps, action: notOnRecord},
	{Name: "write-once", Says: "What is on record of how things were never changes.", of: sleeps, action: overwritten},
	{Name: "two-places", Says: "What is changed has its original in at least two of three places: the record, the object, the archive.", of: sleeps, action: oneCopy},
	{Name: "synced-first", Says: "Nothing that a GitOps object keeps is switched while that may put it back.", of: sleeps, action: unpaused},
	{Name: "front-first", Says: "Nothing is switched off under what needs it, and nothing on before what it needs works.", of: sleeps, action: tooEarly, finally: missed},
	{Name: "data-last", Says: "A database stops only when no pod of its environment runs, and nobody else uses it unless a person forced that.", of: sleeps, action: dataTooEarly},
	{Name: "keepers", Says: "No group is left with fewer nodes than stay in it, and AWS may take none of those meanwhile.", of: sleeps, action: shrunk},
	{Name: "fights", Says: "What somebody else switches back is switched off again only so often.", of: sleeps, action: fought},
	{Name: "protected", Says: "A protected environment is never switched off.", of: sleeps, action: switchedProtected},
	{Name: "asleep", Says: "Of an environment that is asleep nothing runs.", of: sleeps, finally: runsOn},
	{Name: "awake", Says: "After a start everything is as it was, and no mark is left.", of: sleeps, finally: notAwake},
	{Name: "refused", Says: "A stop that is refused changes nothing.", of: sleeps, finally: touched},
	{Name: "on-time", Says: "Three quarters of an hour after its schedule says so an environment is off, or on, while drover runs.", of: sleeps, passing: notOnTime},
	{Name: "once-a-night", Says: "A schedule brings one sleep for each time that it says off, and one start for each that it says on.", of: sleeps, finally: restless},
}

// original is how a part's value was.
type original struct {
	value  string
	absent bool
}

func (o original) String() string {
	if o.absent {
		return "nothing"
	}
	return o.value
}

// bedside is the witness of environments: what things were before, and what the story did to them.
type bedside struct {
	nap      nap
	did      int                                 // effects of this command
	settings []string                            // when it began
	parts    map[string]map[fleet.Owner]original // by environment: as they were when its record was first written
	groups   map[string]map[string]fleet.Group
	data     map[string]map[string]fleet.Database
	records  map[string]fleet.SleepRecord // by environment: as first written
	moved    map[string]bool              // subjects that the story changed since
	foreign  map[string]bool              // pods that no environment under way owns, by UID
	carried  map[string]bool              // and those of them that may be moved
	lost     int                          // of the ledger's losses that were looked at
	missed   int                          // of its misses, when this command began
	offs     map[string]int               // how often a part was switched off in one sleep
	made     map[string]bool              // groups made for an environment
	vigil    time.Time                    // since when a process minds schedules; zero when none does
	begun    map[string][]string          // the schedule's windows in which sleeps began, and starts were over, by environment
	ended    map[string][]string
}

func newBedside() *bedside {
	return &bedside{
		parts: map[string]map[fleet.Owner]original{}, groups: map[string]map[string]fleet.Group{}, data: map[string]map[string]fleet.Database{}, records: map[string]fleet.SleepRecord{},
		made: map[string]bool{}, moved: map[string]bool{}, foreign: map[string]bool{}, carried: map[string]bool{}, offs: map[string]int{}, begun: map[string][]string{}, ended: map[string][]string{},
	}
}

// begin begins a command.
func (b *bedside) begin(s *Stage, n nap) {
	s.watch.forget()
	v := s.watch.whole()
	b.nap, b.did, b.settings = n, 0, slices.Clone(v.settings)
	b.missed, b.lost = len(v.ledger.Missed), len(v.ledger.Lost)
	s.watch.counts = map[fleet.Verb]int{}
	b.sort(v)
}

// sort tells whose pods are there. It reads what environments declare for itself.
func (b *bedside) sort(v *view) {
	for i := range v.s.Pods {
		p := &v.s.Pods[i]
		b.foreign[p.Ref.UID] = p.Stays() == "" && !slices.ContainsFunc(v.s.Environments, func(e fleet.Environment) bool { return owns(&v.s, &e, p) })
		b.carried[p.Ref.UID] = p.Ref.Namespace == "kube-system"
	}
}

// owns tells whether a pod is an environment's.
func owns(s *fleet.Snapshot, e *fleet.Environment, p *fleet.Pod) bool {
	labels := p.Labels
	for i := range s.Parts {
		if s.Parts[i].Owner == p.Owner {
			labels = s.Parts[i].Labels
		}
	}
	o := p.Owner
	if o.Kind == "" {
		o = fleet.Owner{Kind: "Pod", Namespace: p.Ref.Namespace, Name: p.Ref.Name}
	}
	return e.Spec.Has(o, labels)
}

// mine tells whether a part is an environment's: named by it, scaling what is, or keeping what is.
func mine(s *fleet.Snapshot, e *fleet.Environment, p *fleet.Part) bool {
	switch p.Turn {
	case fleet.Held:
		target := s.Part(p.Scales)
		return target != nil && e.Spec.Has(target.Owner, target.Labels)
	case fleet.Unsynced:
		return slices.ContainsFunc(s.Parts, func(o fleet.Part) bool {
			return o.Turn != fleet.Unsynced && slices.Contains(o.Apps, p.Owner) && mine(s, e, &o)
		})
	}
	return e.Spec.Has(p.Owner, p.Labels)
}

// saw takes in an action, after it was judged.
func (b *bedside) saw(d *deed) {
	if d.a.Environment == "" || d.err != nil {
		return
	}
	b.did++
	name := d.a.Environment
	switch d.a.Verb {
	case fleet.Remember:
		b.wrote(d)
	case fleet.MakeGroup:
		b.made[d.a.NewGroup.Name] = true
	case fleet.TurnOff:
		if d.effect() {
			b.offs[d.a.Run+" "+d.a.Part.ID()]++
		}
	case fleet.Conclude:
		if d.effect() {
			b.ended[name] = append(b.ended[name], d.window())
		}
		delete(b.records, name)
	}
	b.sort(d.after)
}

// window is since when the schedule of an action's environment says what it says: that tells one night from another, however late somebody comes to it.
func (d *deed) window() string {
	at, e := d.after.at, d.before.s.Environment(d.a.Environment)
	if e == nil || e.Spec.Schedule == nil {
		return at.String()
	}
	const step = 5 * time.Minute
	on := opens(e.Spec.Schedule, at)
	for range 14 * 24 * 12 {
		if opens(e.Spec.Schedule, at.Add(-step)) != on {
			break
		}
		at = at.Add(-step)
	}
	return at.Truncate(step).Format("2006-01-02 15:04")
}

// wrote takes over what was true when a record was written first, and of what was added to it.
func (b *bedside) wrote(d *deed) {
	name := d.a.Environment
	first, known := b.records[name]
	if !known || first.Run != d.a.Run {
		b.records[name] = d.a.Sleep.Clone()
		b.parts[name], b.groups[name], b.data[name] = map[fleet.Owner]original{}, map[string]fleet.Group{}, map[string]fleet.Database{}
		b.begun[name] = append(b.begun[name], d.window())
		b.moved = map[string]bool{}
		for _, g := range d.before.s.Groups {
			b.groups[name][g.Name] = g
		}
		for _, db := range d.before.s.Databases {
			b.data[name][db.ID] = db
		}
	}
	for _, r := range d.a.Sleep.Parts {
		if p := d.before.s.Part(r.Owner); p != nil {
			if _, there := b.parts[name][r.Owner]; !there {
				b.parts[name][r.Owner] = original{p.Value, p.Absent}
			}
		}
	}
	first = b.records[name]
	first.Parts = d.a.Sleep.Clone().Parts
	b.records[name] = first
}

// story takes over what an event of the story has changed: that need not be as it was.
func (b *bedside) story(before, after *view) {
	gone, came := diff(before.settings, after.settings)
	for _, line := range append(gone, came...) {
		f := strings.Fields(line)
		switch {
		case f[0] == "group" && len(f) > 1:
			b.moved["group "+f[1]] = true
		case f[0] == "database" && len(f) > 2:
			b.moved["database "+f[1]+" "+f[2]] = true
		case len(f) > 1:
			b.moved[f[0]+" "+f[1]] = true
		}
	}
	b.sort(after)
}

// strandsOther finds a pod of somebody else's that an action removes, or whose machine it ends.
func strandsOther(d *deed) string {
	b := d.stage.beds.watched
	removed := append(slices.Clone(d.after.ledger.Evictions[len(d.before.ledger.Evictions):]), d.after.ledger.Deletions[len(d.before.ledger.Deletions):]...)
	for _, e := range removed {
		if b.foreign[e.Pod.UID] && !b.carried[e.Pod.UID] {
			return fmt.Sprintf("%s removed pod %s, which is somebody else's", d.a, e.Pod)
		}
	}
	n := d.before.s.NodeOf(d.a.Instance)
	if d.a.Verb != fleet.Terminate || n == nil || !d.ok() {
		return ""
	}
	for _, p := range d.before.s.PodsOn(n.Name) {
		if b.foreign[p.Ref.UID] && !p.Finished && p.Stays() == "" {
			return fmt.Sprintf("%s, with pod %s on it, which is somebody else's", d.a, p.Ref)
		}
	}
	return ""
}

// strandedOther finds a pod of somebody else's that ran on a machine which went off, and not by the story's hand.
func strandedOther(w *watch, v *view) string {
	b := w.stage.beds.watched
	all := w.stage.w.Cluster.Ledger().Lost
	fresh := all[min(b.lost, len(all)):]
	b.lost = len(all)
	for _, l := range fresh {
		if b.foreign[l.Pod.UID] && !l.Stays && !w.blamed[l.Node] {
			return fmt.Sprintf("pod %s, which is somebody else's, ran on node %s when its machine went off", l.Pod, l.Node)
		}
	}
	b.sort(v)
	return ""
}

// notIts finds an action on something that the environment does not name.
func notIts(d *deed) string {
	e := d.before.s.Environment(d.a.Environment)
	if e == nil || !d.ok() || !d.effect() {
		return ""
	}
	switch a := d.a; a.Verb {
	case fleet.TurnOff, fleet.TurnOn:
		p := d.before.s.Part(a.Part.Owner)
		if p != nil && !mine(&d.before.s, e, p) {
			return fmt.Sprintf("%s, which is not of environment %s", a, e.Name)
		}
	case fleet.MarkGroup, fleet.UnmarkGroup, fleet.Bound, fleet.Protect, fleet.Unprotect, fleet.Suspend, fleet.Resume, fleet.Resize, fleet.Terminate:
		if !slices.Contains(e.Spec.Groups, a.Group) && !d.stage.beds.watched.made[a.Group] {
			return fmt.Sprintf("%s: group %s is not of environment %s", a, a.Group, e.Name)
		}
	case fleet.MarkDatabase, fleet.UnmarkDatabase, fleet.StopDatabase, fleet.StartDatabase, fleet.SetCapacity:
		if !slices.ContainsFunc(e.Spec.Databases, func(s fleet.DatabaseSpec) bool { return s.ID == a.Database }) {
			return fmt.Sprintf("%s, which is not of environment %s", a, e.Name)
		}
	}
	return ""
}

// strays finds a changed setting that is not of the action's subject.
func strays(d *deed) string {
	var may []string
	switch a := d.a; a.Verb {
	case fleet.MakeGroup, fleet.MakeBudget:
		return "" // what it makes is new
	case fleet.Place:
		may = []string{a.Placement.Owner.String() + " ", "pod " + a.Placement.Owner.String() + " "}
	case fleet.Remember, fleet.Conclude:
		may = []string{"environment " + a.Environment + " "}
	case fleet.TurnOff, fleet.TurnOn, fleet.Unmark:
		may = []string{a.Part.ID() + " ", "pod " + a.Part.ID() + " "}
	case fleet.MarkGroup, fleet.UnmarkGroup, fleet.Bound, fleet.Protect, fleet.Unprotect, fleet.Suspend, fleet.Resume, fleet.Resize:
		may = []string{"group " + a.Group + " ", "group " + d.scalingOf(a.Group) + " "}
	case fleet.MarkDatabase, fleet.UnmarkDatabase, fleet.StopDatabase, fleet.StartDatabase, fleet.SetCapacity:
		may = []string{"database " + a.Database + " "}
		if db := d.before.s.Database(a.Database); db != nil {
			for _, m := range db.Members {
				may = append(may, "database "+fleet.DatabaseID(false, m)+" ")
			}
		}
	case fleet.Terminate:
		may = []string{"group " + d.scalingOf(a.Group) + " ", "target group "}
		if g := d.before.s.Group(a.Group); g != nil && g.Managed != nil {
			may = append(may, "node "+d.stage.node(a.Instance)+" ") // EKS closes what leaves, by itself
		}
	default:
		return astray(d)
	}
	gone, came := d.changes()
	for _, line := range append(gone, came...) {
		if !slices.ContainsFunc(may, func(prefix string) bool { return strings.HasPrefix(line, prefix) }) {
			return fmt.Sprintf("%s changed %q", d.a, line)
		}
	}
	return ""
}

// notItsExit finds a machine that ends and is not on record for that, or not empty, or still in a load balancer.
func notItsExit(d *deed) string {
	if d.a.Verb != fleet.Terminate || !d.ok() || !d.effect() {
		return ""
	}
	e := d.before.s.Environment(d.a.Environment)
	if e == nil || e.Record == nil {
		return fmt.Sprintf("%s without a record", d.a)
	}
	_, in := d.before.s.Instance(d.a.Instance)
	planned := slices.ContainsFunc(e.Record.Exits, func(x fleet.Departure) bool { return x.Instance == d.a.Instance })
	i := slices.IndexFunc(e.Record.Groups, func(g fleet.SleepGroup) bool { return g.Name == d.a.Group })
	launchedSince := in != nil && in.Launched.After(e.Record.At) && i >= 0 && len(e.Record.Groups[i].Keepers) == 0
	if !planned && !launchedSince {
		return fmt.Sprintf("%s, which is not of the exits on record", d.a)
	}
	for _, rule := range []func(*deed) string{notEmpty, stillTarget, stillAttached} {
		if why := rule(d); why != "" {
			return why
		}
	}
	return ""
}

// choseItself finds an instance of an environment's group that left without anybody having named it.
func choseItself(w *watch, v *view) string {
	for i := range v.s.Groups {
		g := &v.s.Groups[i]
		if g.Sleep == nil || w.resized[g.Name] {
			continue
		}
		for _, in := range g.Instances {
			was, known := w.last[in.ID]
			if known && in.Leaving() && !strings.HasPrefix(was, "Terminat") && !w.mine[in.ID] && !w.blamed[in.ID] {
				return fmt.Sprintf("instance %s of group %s was ended by AWS's own choice", in.ID, g.Name)
			}
		}
	}
	return ""
}

// notOnRecord finds a change of something that is not on record, or is there as it was not.
func notOnRecord(d *deed) string {
	if !d.ok() || !d.effect() {
		return ""
	}
	e := d.before.s.Environment(d.a.Environment)
	switch a := d.a; a.Verb {
	case fleet.Remember:
		return d.untrue()
	case fleet.TurnOff:
		if e == nil || e.Record == nil || e.Record.Part(a.Part.Owner) == nil {
			return fmt.Sprintf("%s, which is not on record", a)
		}
	case fleet.Bound, fleet.Protect, fleet.Suspend, fleet.Terminate:
		g := d.before.s.Group(a.Group)
		if e == nil || e.Record == nil || !slices.ContainsFunc(e.Record.Groups, func(r fleet.SleepGroup) bool { return r.Name == a.Group }) {
			return fmt.Sprintf("%s, and the group is not on record", a)
		}
		if g != nil && g.Sleep == nil {
			return fmt.Sprintf("%s, and the group has no mark", a)
		}
	case fleet.StopDatabase:
		if e == nil || e.Record == nil || !slices.ContainsFunc(e.Record.Databases, func(r fleet.SleepDatabase) bool { return r.ID == a.Database }) {
			return fmt.Sprintf("%s, which is not on record", a)
		}
	}
	return ""
}

// untrue finds something in a record, or in what is added to it, that is not as the world is. What is old by the variation's own doing is let pass where
// the story has changed it meanwhile, and what is repaired is not looked at: the world is off by then.
func (d *deed) untrue() string {
	b := d.stage.beds.watched
	if old, known := b.records[d.a.Environment]; known && old.Run == d.a.Run && len(old.Parts) >= len(d.a.Sleep.Parts) {
		return ""
	}
	for i, r := range d.a.Sleep.Parts {
		if old, known := b.records[d.a.Environment]; known && old.Run == d.a.Run && i < len(old.Parts) {
			continue
		}
		p := d.before.s.Part(r.Owner)
		if p == nil || b.moved[r.ID()] || p.Mark != nil {
			continue
		}
		if p.Value != r.Value || p.Absent != r.Absent || p.UID != r.UID {
			return fmt.Sprintf("%s says that %s was %q, and it is %q", d.a, r.ID(), r.Value, p.Value)
		}
	}
	return ""
}

// overwritten finds an original on record that is another than it was.
func overwritten(d *deed) string {
	b := d.stage.beds.watched
	first, known := b.records[d.a.Environment]
	e := d.after.s.Environment(d.a.Environment)
	if !known || e == nil || e.Record == nil || e.Record.Run != first.Run || !d.ok() {
		return ""
	}
	if len(e.Record.Parts) < len(first.Parts) {
		return fmt.Sprintf("%s left %d of %d parts on record", d.a, len(e.Record.Parts), len(first.Parts))
	}
	for i, r := range first.Parts {
		if now := e.Record.Part(r.Owner); now == nil || now.Turn != r.Turn || now.UID != r.UID || now.Value != r.Value || now.Absent != r.Absent {
			return fmt.Sprintf("%s changed what is on record of %s (%d)", d.a, r.ID(), i)
		}
	}
	for o, was := range b.parts[d.a.Environment] {
		if r := e.Record.Part(o); r != nil && !b.moved[o.String()] && (r.Value != was.value || r.Absent != was.absent) {
			return fmt.Sprintf("%s: the record says that %s was %q, and it was %s", d.a, o, r.Value, was)
		}
	}
	return ""
}

// copies counts the places that know how a part was, in a world.
func (w *watch) copies(v *view, name string, o fleet.Owner, was original) int {
	n := 0
	e := v.s.Environment(name)
	if e != nil && e.Record != nil {
		if r := e.Record.Part(o); r != nil && r.Value == was.value && r.Absent == was.absent {
			n++
		}
	}
	scaled := v.s.Workload(o) // an autoscaler moves it between the record and its end: what the mark says is as true
	if p := v.s.Part(o); p != nil && p.Mark != nil && p.Mark.Environment == name && (p.Mark.Value == was.value && p.Mark.Absent == was.absent || scaled != nil && scaled.Scaler != nil) {
		n++
	}
	if slices.ContainsFunc(v.archived[name], func(r fleet.SleepRecord) bool {
		p := r.Part(o)
		return p != nil && p.Value == was.value && p.Absent == was.absent
	}) {
		n++
	}
	return n
}

// groupCopies counts the places that know how a group was.
func (w *watch) groupCopies(v *view, name string, was *fleet.Group) int {
	n := 0
	knows := func(r *fleet.SleepRecord) bool {
		return slices.ContainsFunc(r.Groups, func(g fleet.SleepGroup) bool {
			return g.Name == was.Name && g.Min == was.Min && g.Desired == was.Desired
		})
	}
	if e := v.s.Environment(name); e != nil && e.Record != nil && knows(e.Record) {
		n++
	}
	if g := v.s.Group(was.Name); g != nil && g.Sleep != nil && g.Sleep.Min == was.Min && g.Sleep.Desired == was.Desired {
		n++
	}
	if slices.ContainsFunc(v.archived[name], func(r fleet.SleepRecord) bool { return knows(&r) }) {
		n++
	}
	return n
}

// oneCopy finds something that is changed, and is known in fewer than two places by the action's doing.
func oneCopy(d *deed) string {
	b, name := d.stage.beds.watched, d.a.Environment
	for _, o := range slices.SortedFunc(maps.Keys(b.parts[name]), func(a, c fleet.Owner) int { return strings.Compare(a.String(), c.String()) }) {
		was, p := b.parts[name][o], d.after.s.Part(o)
		if p == nil || b.moved[o.String()] || p.Value == was.value && p.Absent == was.absent || !p.Off {
			continue
		}
		before, changed := d.copies(d.before, name, o, was), d.before.s.Part(o)
		if changed != nil && changed.Value == was.value && changed.Absent == was.absent && d.a.Verb == fleet.TurnOff {
			before = 2 // it is changed now
		}
		if after := d.copies(d.after, name, o, was); after < min(2, before) {
			return fmt.Sprintf("%s: how %s was (%s) is known in %d places", d.a, o, was, after)
		}
	}
	for _, g := range d.after.s.Groups {
		was, known := b.groups[name][g.Name]
		if !known || b.moved["group "+g.Name] || g.Min == was.Min && g.Desired == was.Desired || !named(d, name, g.Name) {
			continue
		}
		before := d.groupCopies(d.before, name, &was)
		if now := d.before.s.Group(g.Name); now != nil && now.Min == was.Min && now.Desired == was.Desired {
			before = 2
		}
		if after := d.groupCopies(d.after, name, &was); after < min(2, before) {
			return fmt.Sprintf("%s: how group %s was is known in %d places", d.a, g.Name, after)
		}
	}
	return ""
}

func named(d *deed, environment, group string) bool {
	e := d.after.s.Environment(environment)
	return e != nil && slices.Contains(e.Spec.Groups, group)
}

// unpaused finds something switched off that a GitOps object keeps which is not paused, and a GitOps object that works again before what it keeps does.
func unpaused(d *deed) string {
	if !d.ok() || !d.effect() || d.a.Part == nil {
		return ""
	}
	p := d.before.s.Part(d.a.Part.Owner)
	if p == nil {
		return ""
	}
	switch d.a.Verb {
	case fleet.TurnOff:
		for _, o := range p.Apps[:min(1, len(p.Apps))] {
			if app := d.before.s.Part(o); p.Turn != fleet.Unsynced && app != nil && !app.Off && !d.stage.beds.watched.moved[o.String()] && !d.late(d.stage.stirred) {
				return fmt.Sprintf("%s, which %s keeps and may put back", d.a, o)
			}
		}
	case fleet.TurnOn:
		e := d.before.s.Environment(d.a.Environment)
		if p.Turn != fleet.Unsynced || e == nil || e.Record == nil {
			return ""
		}
		for _, o := range d.before.s.Parts {
			r := e.Record.Part(o.Owner)
			if r != nil && o.Off && o.UID == r.UID && slices.Contains(o.Apps, p.Owner) {
				return fmt.Sprintf("%s while %s is off", d.a, o.ID())
			}
		}
	}
	return ""
}

// tooEarly finds a workload that is switched on before its databases answer and its nodes are Ready.
func tooEarly(d *deed) string {
	e := d.before.s.Environment(d.a.Environment)
	if d.a.Verb != fleet.TurnOn || d.a.Part.Turn == fleet.Unsynced || e == nil || e.Record == nil || !d.ok() || !d.effect() {
		return ""
	}
	b := d.stage.beds.watched
	for _, r := range e.Record.Databases {
		if r.Status == fleet.DatabaseAvailable && !d.stage.w.Answers(r.ID) && !b.moved["database "+r.ID] {
			return fmt.Sprintf("%s, and database %s does not answer", d.a, r.ID)
		}
	}
	for _, r := range e.Record.Groups {
		g := d.before.s.Group(r.Name)
		if g != nil && working(&d.before.s, g) < min(r.Desired, g.Max) && !b.moved["group "+r.Name] && !d.lostOne(g) {
			return fmt.Sprintf("%s, and group %s has %d of %d nodes", d.a, r.Name, working(&d.before.s, g), r.Desired)
		}
	}
	return ""
}

// lostOne tells whether the story ended a machine of a group.
func (w *watch) lostOne(g *fleet.Group) bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(w.blamed)), func(name string) bool { return strings.HasPrefix(w.stage.names[name], g.Name+"/") })
}

// missed finds pods that ran without what they need in the time of a command.
func missed(w *watch, v *view, _ outcome) string {
	b := w.stage.beds.watched
	for _, m := range v.ledger.Missed[min(b.missed, len(v.ledger.Missed)):] {
		if b.moved["database "+m.Need] || b.moved[m.Need] || b.moved[m.Workload.String()] || w.stage.beds.excused[m.Need] {
			continue
		}
		if m.Served {
			return fmt.Sprintf("pod %s of %s ran when %s went", m.Pod, m.Workload, m.Need)
		}
		return fmt.Sprintf("pod %s of %s came before %s", m.Pod, m.Workload, m.Need)
	}
	return ""
}

// dataTooEarly finds a database that stops while somebody uses it.
func dataTooEarly(d *deed) string {
	e := d.before.s.Environment(d.a.Environment)
	if d.a.Verb != fleet.StopDatabase || e == nil || e.Record == nil || !d.ok() || !d.effect() {
		return ""
	}
	for i := range d.before.s.Pods {
		p := &d.before.s.Pods[i]
		if !p.Finished && p.Stays() == "" && p.Node != "" && owns(&d.before.s, e, p) && !d.forcedJob(e, p) && d.recorded(e, p) {
			return fmt.Sprintf("%s while pod %s runs", d.a, p.Ref)
		}
	}
	if clients := d.stage.w.Cluster.Clients(d.a.Database); len(clients) > 0 && !slices.Contains(e.Record.Forced, "env-sessions") {
		return fmt.Sprintf("%s while pod %s uses it", d.a, clients[0].Ref)
	}
	return ""
}

// recorded tells whether what keeps a pod is on record as it is there now: what came anew meanwhile is left as it is.
func (d *deed) recorded(e *fleet.Environment, p *fleet.Pod) bool {
	r, now := e.Record.Part(p.Owner), d.before.s.Part(p.Owner)
	return r != nil && now != nil && now.UID == r.UID && !d.stage.beds.watched.moved[p.Owner.String()]
}

func (d *deed) forcedJob(e *fleet.Environment, p *fleet.Pod) bool {
	return (p.Owner.Kind == "Job" || p.Owner.Kind == "CronJob") && slices.Contains(e.Record.Forced, "env-jobs")
}

// shrunk finds a group with fewer nodes wanted than stay, or one from which AWS may still take one of those when another ends.
func shrunk(d *deed) string {
	e := d.before.s.Environment(d.a.Environment)
	if e == nil || e.Record == nil || d.a.Group == "" || !d.ok() {
		return ""
	}
	i := slices.IndexFunc(e.Record.Groups, func(g fleet.SleepGroup) bool { return g.Name == d.a.Group })
	g := d.after.s.Group(d.a.Group)
	if i < 0 || g == nil || d.resized[g.Name] {
		return ""
	}
	keepers := 0
	for _, id := range e.Record.Groups[i].Keepers {
		if in := g.Instance(id); in != nil && in.Counted() {
			keepers++
			if d.a.Verb == fleet.Terminate && !in.Protected {
				return fmt.Sprintf("%s, and instance %s, which stays, is not protected", d.a, id)
			}
		}
	}
	switch {
	case g.Desired < keepers:
		return fmt.Sprintf("%s: desired is %d, and %d nodes stay", d.a, g.Desired, keepers)
	case d.a.Verb == fleet.Terminate && !g.IsSuspended(fleet.AZRebalance):
		return fmt.Sprintf("%s, and AZRebalance is on", d.a)
	}
	return ""
}

// fought finds a part that was switched off more often than its environment's policy says.
func fought(d *deed) string {
	e := d.before.s.Environment(d.a.Environment)
	if d.a.Verb != fleet.TurnOff || e == nil || !d.ok() || !d.effect() || d.before.s.Part(d.a.Part.Owner).Mark == nil {
		return ""
	}
	most := e.Spec.Policy.Fights
	if most == 0 {
		most = 3
	}
	if d.stage.variation.Kind == Fail {
		most++ // the one that could not be put on file
	}
	if n := d.stage.beds.watched.offs[d.a.Run+" "+d.a.Part.ID()]; n > most {
		return fmt.Sprintf("%s for the %d. time, and %d fights are allowed", d.a, n+1, most)
	}
	return ""
}

// switchedProtected finds something of a protected environment that is switched off.
func switchedProtected(d *deed) string {
	e := d.before.s.Environment(d.a.Environment)
	off := slices.Contains([]fleet.Verb{fleet.TurnOff, fleet.StopDatabase, fleet.Terminate}, d.a.Verb)
	if e == nil || !e.Spec.Protected || !off || !d.ok() {
		return ""
	}
	return fmt.Sprintf("%s, and environment %s is protected", d.a, e.Name)
}

// runsOn finds something that runs of an environment that is asleep.
func runsOn(w *watch, v *view, o outcome) string {
	if o.kind != over || w.stage.beds.watched.nap.on || w.stage.beds.watched.nap.name == "" {
		return ""
	}
	e := v.s.Environment(w.stage.beds.watched.nap.name)
	if e == nil || e.Record == nil || e.Record.Marks.Asleep.IsZero() {
		return "the stop is over, and the record does not say asleep"
	}
	for i := range v.s.Parts {
		if p := &v.s.Parts[i]; mine(&v.s, e, p) && !p.Off && p.Turn != fleet.Unsynced && !w.stage.beds.watched.moved[p.ID()] {
			return fmt.Sprintf("environment %s is asleep, and %s is at %s", e.Name, p.ID(), worth(p))
		}
	}
	for i := range v.s.Pods {
		p := &v.s.Pods[i]
		if !p.Finished && p.Stays() == "" && owns(&v.s, e, p) && !w.stage.beds.watched.moved[p.Owner.String()] && !slices.Contains(e.Record.Forced, "env-jobs") {
			return fmt.Sprintf("environment %s is asleep, and pod %s is there", e.Name, p.Ref)
		}
	}
	for _, r := range e.Record.Databases {
		if db := v.s.Database(r.ID); db != nil && !r.Lower && db.Status != fleet.DatabaseStopped {
			return fmt.Sprintf("environment %s is asleep, and database %s is %s", e.Name, r.ID, db.Status)
		} else if db != nil && r.Lower && db.MinACU != r.ToACU {
			return fmt.Sprintf("environment %s is asleep, and database %s has %g units at least", e.Name, r.ID, db.MinACU)
		}
	}
	for _, x := range e.Record.Exits {
		if _, in := v.s.Instance(x.Instance); in != nil && !in.Leaving() && len(guestsOn(w, v, x.Instance)) == 0 {
			return fmt.Sprintf("environment %s is asleep, and instance %s is %s", e.Name, x.Instance, in.Lifecycle)
		}
	}
	return ""
}

// guestsOn are the pods of others on an instance's node.
func guestsOn(w *watch, v *view, instance string) []string {
	var out []string
	if n := v.s.NodeOf(instance); n != nil {
		for _, p := range v.s.PodsOn(n.Name) {
			if w.stage.beds.watched.foreign[p.Ref.UID] && !p.Finished {
				out = append(out, p.Ref.String())
			}
		}
	}
	return out
}

// notAwake finds what is not as it was after a start.
func notAwake(w *watch, v *view, o outcome) string {
	b := w.stage.beds.watched
	if o.kind != over || !b.nap.on {
		return ""
	}
	name := b.nap.name
	for owner, was := range b.parts[name] {
		p := v.s.Part(owner)
		scaled := v.s.Workload(owner)
		if p == nil || b.moved[owner.String()] || scaled != nil && scaled.Scaler != nil && !p.Off {
			continue // an autoscaler says how many
		}
		if p.Value != was.value || p.Absent != was.absent {
			return fmt.Sprintf("%s is at %s, and was at %s", owner, worth(p), was)
		}
	}
	for i := range v.s.Parts {
		if m := v.s.Parts[i].Mark; m != nil && m.Environment == name {
			return fmt.Sprintf("%s still carries a mark", v.s.Parts[i].ID())
		}
	}
	if why := b.groupsAsWere(v, name); why != "" {
		return why
	}
	return b.dataAsWas(v, name)
}

func (b *bedside) groupsAsWere(v *view, name string) string {
	e := v.s.Environment(name)
	for i := range v.s.Groups {
		g := &v.s.Groups[i]
		was, known := b.groups[name][g.Name]
		if e == nil || !known || !slices.Contains(e.Spec.Groups, g.Name) {
			continue
		}
		if g.Sleep != nil {
			return fmt.Sprintf("group %s still carries a mark", g.Name)
		}
		if b.moved["group "+g.Name] {
			continue
		}
		if g.Min != was.Min || g.Max != was.Max || g.Desired != was.Desired || !slices.Equal(g.Suspended, was.Suspended) {
			return fmt.Sprintf("group %s: min %d max %d desired %d suspended %v, and was %d %d %d %v", g.Name, g.Min, g.Max, g.Desired, g.Suspended, was.Min, was.Max, was.Desired, was.Suspended)
		}
		for _, in := range was.Instances {
			if now := g.Instance(in.ID); now != nil && now.Protected != in.Protected {
				return fmt.Sprintf("instance %s: protected %v, and was %v", in.ID, now.Protected, in.Protected)
			}
		}
		for _, in := range g.Instances {
			n := v.s.NodeOf(in.ID)
			if n != nil && n.Mark() != nil {
				return fmt.Sprintf("node %s still carries drover's taint", n.Name)
			}
		}
	}
	return ""
}

func (b *bedside) dataAsWas(v *view, name string) string {
	for id, was := range b.data[name] {
		db := v.s.Database(id)
		switch {
		case db == nil:
		case db.Mark != "" && strings.HasPrefix(db.Mark, name+" "):
			return fmt.Sprintf("database %s still carries a mark", id)
		case b.moved["database "+id]:
		case db.Status != was.Status || db.MinACU != was.MinACU || db.MaxACU != was.MaxACU:
			return fmt.Sprintf("database %s is %s with %g units, and was %s with %g", id, db.Status, db.MinACU, was.Status, was.MinACU)
		}
	}
	return ""
}

// touched finds what a command changed that was refused.
func touched(w *watch, v *view, o outcome) string {
	if o.kind != blocked || w.stage.beds.watched.did == 0 {
		return ""
	}
	return fmt.Sprintf("it was refused after %d actions", w.stage.beds.watched.did)
}

// restless finds a window of a schedule in which an environment was switched more than once, unless somebody wished so.
func restless(w *watch, v *view, _ outcome) string {
	b := w.stage.beds.watched
	for i := range v.s.Environments {
		e := &v.s.Environments[i]
		if e.Spec.Schedule == nil || w.stage.beds.wished[e.Name] {
			continue
		}
		for what, windows := range map[string][]string{"sleeps": b.begun[e.Name], "starts": b.ended[e.Name]} {
			for i := 1; i < len(windows); i++ {
				if windows[i] == windows[i-1] {
					return fmt.Sprintf("environment %s had two %s in the time from %s", e.Name, what, windows[i])
				}
			}
		}
	}
	return ""
}

// punctual is how late an environment may be asleep, or awake.
const punctual = 45 * time.Minute

// notOnTime finds an environment that is not as its schedule has said for a while.
func notOnTime(w *watch, v *view) string {
	b := w.stage.beds.watched
	if b.vigil.IsZero() || v.at.Sub(b.vigil) < punctual {
		return ""
	}
	for i := range v.s.Environments {
		e := &v.s.Environments[i]
		if e.Spec.Schedule == nil || w.stage.beds.wished[e.Name] {
			continue
		}
		on := opens(e.Spec.Schedule, v.at)
		if opens(e.Spec.Schedule, v.at.Add(-punctual)) != on {
			continue
		}
		if on && e.Record != nil {
			return fmt.Sprintf("environment %s should be on since %s at least, and its sleep %s is not over", e.Name, punctual, e.Record.Run)
		}
		if !on && (e.Record == nil || e.Record.Marks.Asleep.IsZero()) {
			return fmt.Sprintf("environment %s should be off since %s at least, and is not asleep", e.Name, punctual)
		}
	}
	return ""
}

// opens reads a schedule by the wall clock: windows within a day, and days off.
func opens(s *fleet.Schedule, at time.Time) bool {
	zone, err := time.LoadLocation(s.Zone)
	if err != nil {
		return false
	}
	at = at.In(zone)
	if slices.Contains(s.Holidays, at.Format("2006-01-02")) {
		return false
	}
	clock := at.Format("15:04")
	return slices.ContainsFunc(s.On, func(w fleet.Window) bool {
		return slices.Contains(w.Days, at.Weekday()) && w.From <= clock && clock < w.To
	})
}

// endSleep holds the list against a world in which a command about environments has ended.
func (w *watch) endSleep(o outcome) {
	w.forget()
	v := w.whole()
	w.check(func(s sentence) string {
		if s.finally == nil || s.of != sleeps {
			return ""
		}
		return s.finally(w, v, o)
	})
}

// others says what befell those who have nothing to do with environments.
func (b *bedside) others(w *watch, v *view) []string {
	var out []string
	for _, e := range v.ledger.Evictions {
		if b.foreign[e.Pod.UID] {
			out = append(out, "moved: "+e.Identity)
		}
	}
	for _, l := range v.ledger.Lost {
		if b.foreign[l.Pod.UID] && !l.Stays {
			out = append(out, "lost with its machine: "+l.Identity)
		}
	}
	if len(out) == 0 {
		return []string{"others: nothing happened to them"}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
