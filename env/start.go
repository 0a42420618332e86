package env

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// Start plans to switch an environment on, or to go on with that.
func Start(s *fleet.Snapshot, name string, o Options) (Plan, []fleet.Finding) {
	p := Plan{Environment: name, On: true, By: o.By, Forced: o.Forced}
	e := s.Environment(name)
	if e == nil || len(e.Trouble) > 0 {
		return p, Check(s, name)
	}
	var findings []fleet.Finding
	if s.Stopped != nil {
		findings = append(findings, fleet.Found("stopped", "cluster", "everything is %s", s.Stopped).Then("drover resume --all, when they agree"))
	}
	if e.Record == nil {
		p.Nothing = "it is on: no sleep of it is on file"
		v := look(s, e)
		for i := range s.Parts {
			if m := s.Parts[i].Mark; m != nil && (m.Environment == name || v.mine(&s.Parts[i])) && !v.over(m.Environment, m.Run) {
				findings = append(findings, fleet.Found("env-stranger", s.Parts[i].ID(), "is marked as switched off by sleep %s of environment %s, which is not on file", m.Run, m.Environment).Then("drover env repair %s", m.Environment))
			}
		}
		return p, findings
	}
	p.Record, p.Resumed = *e.Record, !e.Record.Marks.Starting.IsZero()
	v := look(s, e)
	for i := range p.Record.Groups {
		p.Groups = append(p.Groups, v.group(&p.Record.Groups[i], p.Record.Exits))
	}
	for _, spec := range e.Record.Databases {
		named := slices.ContainsFunc(e.Spec.Databases, func(d fleet.DatabaseSpec) bool { return d.ID == spec.ID })
		if db := s.Database(spec.ID); named && (db == nil || db.Trouble != "") {
			findings = append(findings, fleet.Found("env-database", "database "+spec.ID, "%s", trouble(db)).Then("mend that; what needs it cannot start before it does"))
		}
	}
	p.Forecast = Preview(p, *s)
	return p, findings
}

// start takes the next steps on, in the reverse order.
func (t *turn) start() {
	if t.rec == nil {
		t.out.Phase, t.out.Done = Awake, true
		return
	}
	if t.out.Phase = Recording; t.rec.Marks.Starting.IsZero() {
		t.remember("the start begins", func(r *fleet.SleepRecord) { r.Marks.Starting, r.Marks.StartedBy = t.v.s.Now, t.p.By })
		return
	}
	t.out.Phase = StartingData
	data, nodes := t.startDatabases(), t.startGroups()
	if !data || !nodes || !t.marked(&t.rec.Marks.Served, "databases answer, nodes are Ready", func(m *fleet.SleepMarks) { m.Served = t.v.s.Now }) {
		return
	}
	if t.out.Phase = SwitchingOn; !t.tiersOn() {
		return
	}
	if t.out.Phase = Resuming; !t.allOn(func(r *fleet.PartRecord) bool { return r.Turn == fleet.Unsynced }) {
		return
	}
	if t.out.Phase = Verifying; !t.verified() || !t.unmarked() {
		return
	}
	t.conclude()
}

// startGroups has every group as large as it was, and returns whether its nodes are Ready.
func (t *turn) startGroups() bool {
	ready := true
	for i := range t.rec.Groups {
		r := &t.rec.Groups[i]
		g := t.v.s.Group(r.Name)
		switch {
		case g == nil && !t.declared(r.Name):
		case g == nil:
			t.hold("group "+r.Name, "is gone: nothing brings its nodes back; make it again, or take it out of the environment")
			ready = false
		case g.Trouble != "":
			t.hold("group "+r.Name, "%s", g.Trouble)
			ready = false
		case g.Mark != nil:
			t.hold("group "+r.Name, "is in the middle of run %s", g.Mark.Run)
			ready = false
		case g.Sleep != nil && (g.Sleep.Run != t.rec.Run || g.Sleep.Environment != t.p.Environment):
			t.hold("group "+r.Name, "is marked by sleep %s of environment %s", g.Sleep.Run, g.Sleep.Environment)
			ready = false
		default:
			ready = t.startGroup(r, g) && ready
		}
	}
	for _, a := range t.spare(nil) {
		t.out.Actions = append(t.out.Actions, a)
		ready = false
	}
	if t.surges() {
		step := evac.Next(evac.Ending(t.v.s, t.rec.Run, t.rec.At, nil, false), *t.v.s)
		t.out.Actions, t.out.Holds = append(t.out.Actions, step.Actions...), append(t.out.Holds, step.Holds...)
		ready = ready && step.Done
	}
	return ready
}

func (t *turn) startGroup(r *fleet.SleepGroup, g *fleet.Group) bool {
	want := t.size(r, g)
	if g.Desired < want {
		t.do(fleet.Action{Verb: fleet.Resize, Group: g.Name, From: g.Desired, To: want, Why: fmt.Sprintf("it had %d", r.Desired)})
		return false
	}
	if low := min(r.Min, want); g.Min < low {
		t.do(fleet.Action{Verb: fleet.Bound, Group: g.Name, From: g.Min, To: low, Why: "as it was"})
		return false
	}
	if !t.nodesReady(r, g) || want < r.Desired && t.v.s.Now.Sub(t.rec.Marks.Starting) <= t.within() {
		return false
	}
	return t.unguarded(r, g)
}

// size is how large a group is to be: as it was, unless somebody has lowered its maximum meanwhile.
func (t *turn) size(r *fleet.SleepGroup, g *fleet.Group) int {
	others := 0
	for i := range g.Instances {
		in := &g.Instances[i]
		before := !in.Launched.IsZero() && !in.Launched.After(t.rec.Marks.Starting) // later ones are this start's own, whoever comes to them
		if d := t.v.departure(g, in); in.Counted() && before && (slices.Contains(r.Keepers, in.ID) || len(t.v.guests(d.Node)) > 0) {
			others++
		}
	}
	gone := 0
	for _, d := range t.rec.Exits {
		if d.Group == r.Name && g.Instance(d.Instance) == nil {
			gone++
		}
	}
	wanted := max(r.Desired, others+gone) // others may have taken nodes of it meanwhile
	want := min(wanted, g.Max)
	if want < wanted {
		t.hold("group "+g.Name, "is to have %d nodes, and its maximum is %d now: raise it", wanted, g.Max)
	}
	return want
}

// nodesReady waits until every instance that a group counts is a node in service.
func (t *turn) nodesReady(r *fleet.SleepGroup, g *fleet.Group) bool {
	ready, others, why := 0, 0, ""
	for i := range g.Instances {
		in := &g.Instances[i]
		if !in.Counted() {
			continue
		}
		if slices.Contains(r.Keepers, in.ID) {
			others++ // somebody else's to look after
			continue
		}
		switch n := t.v.s.NodeOf(in.ID); {
		case in.Lifecycle != fleet.InService:
			why = "instance " + in.ID + " is " + in.Lifecycle
		case n == nil:
			why = "instance " + in.ID + " is no node yet"
		case !n.Ready:
			why = "node " + n.Name + " is not Ready yet"
		case n.Starting():
			why = "node " + n.Name + " still carries a start-up taint"
		default:
			ready++
		}
	}
	want := min(r.Desired, g.Max, g.Desired) - others
	if ready >= want {
		return true
	}
	if why == "" {
		why = "AWS has not launched the others yet"
	}
	t.hold("group "+g.Name, "%d of %d nodes are Ready: %s", ready, want, why)
	return false
}

// unguarded takes back what kept a group's other nodes safe.
func (t *turn) unguarded(r *fleet.SleepGroup, g *fleet.Group) bool {
	var guarded []string
	for i := range g.Instances {
		if in := &g.Instances[i]; in.Protected && slices.Contains(r.Keepers, in.ID) && !slices.Contains(r.Protected, in.ID) {
			guarded = append(guarded, in.ID)
		}
	}
	if evac.Lopsided(g) && g.IsSuspended(fleet.AZRebalance) {
		return true // it would even the zones out by ending nodes that nobody emptied: left, and said at the end
	}
	if !slices.Contains(r.Suspended, fleet.AZRebalance) && g.IsSuspended(fleet.AZRebalance) {
		t.do(fleet.Action{Verb: fleet.Resume, Group: g.Name, Process: fleet.AZRebalance, Why: "it was on before"})
		return false
	}
	if len(guarded) > 0 {
		t.do(fleet.Action{Verb: fleet.Unprotect, Group: g.Name, Instances: guarded, Why: "as it was"})
		return false
	}
	return true
}

// tiersOn switches tier by tier on, the last first, and waits for each to work.
func (t *turn) tiersOn() bool {
	for tier := t.lastTier(); tier >= 0; tier-- {
		in := func(r *fleet.PartRecord) bool { return t.onTier(r) == tier && r.Turn != fleet.Unsynced }
		held := func(r *fleet.PartRecord) bool { return in(r) && r.Turn == fleet.Held }
		if !t.allOn(held) { // what scales a workload would keep it at nothing
			return false
		}
		if on := t.allOn(in); !on || !t.work(in) || !t.storesWork(in) {
			return false
		}
	}
	return true
}

// onTier is when a part is switched on: what scales a workload right before that, everything else in the reverse order of the stop.
func (t *turn) onTier(r *fleet.PartRecord) int {
	if p := t.v.part[r.Owner]; r.Turn == fleet.Held && p != nil {
		if target := t.rec.Part(p.Scales); target != nil {
			return target.Tier
		}
	}
	return r.Tier
}

func (t *turn) allOn(chosen func(*fleet.PartRecord) bool) bool {
	on := true
	for i := range t.rec.Parts {
		if r := &t.rec.Parts[i]; chosen(r) && !t.on(r) {
			on = false
		}
	}
	return on
}

// on switches one part on, to what it was.
func (t *turn) on(r *fleet.PartRecord) bool {
	p := t.v.part[r.Owner]
	switch {
	case p == nil || !p.Off || p.UID != r.UID && p.Mark != nil && p.Mark.Run != t.rec.Run:
		return true
	case p.By != "" && p.By != "drover" && p.Mark != nil && !t.fight(r, p):
		return t.overdue(p)
	}
	part := *r
	part.UID = p.UID // made anew meanwhile, as from a backup: what it was counts still
	if m := p.Mark; m != nil && m.Run == t.rec.Run && m.UID == p.UID && (m.Absent || m.Value != offValue(r.Turn)) {
		part.Value, part.Absent = m.Value, m.Absent
	}
	t.do(fleet.Action{Verb: fleet.TurnOn, Part: &part, Why: "environment " + t.p.Environment + " is switched on"})
	return false
}

// work waits for what was switched on to work as far as it did before: its pods Ready, and what leads to them knows them. What does not work in all the
// time that its owner gives is named, and left.
func (t *turn) work(chosen func(*fleet.PartRecord) bool) bool {
	all := true
	for i := range t.rec.Parts {
		r := &t.rec.Parts[i]
		p := t.v.part[r.Owner]
		if !chosen(r) || r.Turn != fleet.Scaled || p == nil || p.Off {
			continue
		}
		if why := t.lacks(r, p); why != "" {
			t.hold(r.ID(), "%s", why)
			all = all && t.overdue(p)
		}
	}
	return all
}

// overdue tells whether a workload has had all the time that the owner of the environment gives, and its pods a while of their own.
func (t *turn) overdue(p *fleet.Part) bool {
	if t.rec.Marks.Served.IsZero() || t.v.s.Now.Sub(t.rec.Marks.Served) <= t.within() {
		return false
	}
	if t.v.s.Now.Sub(t.rec.Marks.Served) > 2*t.within() {
		return true // whatever its pods say: they may be made again and again
	}
	return !slices.ContainsFunc(t.v.pods(&p.Owner), func(pod *fleet.Pod) bool { return t.v.s.Now.Sub(pod.Created) < podWithin })
}

// podWithin is how long a pod may take to be Ready however late it is.
const podWithin = 10 * time.Minute

// lacks says what a workload that is on still lacks; "" for nothing.
func (t *turn) lacks(r *fleet.PartRecord, p *fleet.Part) string {
	want := r.Ready
	if now, err := strconv.Atoi(p.Value); err == nil {
		want = min(want, now)
	}
	if p.Ready < want {
		return fmt.Sprintf("%d of %d pods are Ready%s", p.Ready, want, t.unplaced(p.Owner))
	}
	if want == 0 {
		return ""
	}
	for i := range t.v.s.Services {
		svc := &t.v.s.Services[i]
		if svc.Endpoints == 0 && slices.ContainsFunc(t.v.pods(&p.Owner), func(pod *fleet.Pod) bool { return leadsTo(svc, pod) && t.v.s.Now.Sub(pod.ReadySince) < endpointWithin }) {
			return "service " + svc.Namespace + "/" + svc.Name + " has no endpoint yet"
		}
	}
	return ""
}

// endpointWithin is how long a Service may take to know a Ready pod. One that still does not has none for another reason, and had none before.
const endpointWithin = time.Minute

func (t *turn) unplaced(o fleet.Owner) string {
	for _, pod := range t.v.pods(&o) {
		if pod.Unplaced != "" {
			return fmt.Sprintf("; %s: %s", pod.Ref, pod.Unplaced)
		}
	}
	return ""
}

// verified looks at everything once more before what is on file about it goes.
func (t *turn) verified() bool {
	every := func(*fleet.PartRecord) bool { return true }
	return t.startDatabases() && t.work(every) && t.storesWork(every)
}

// unmarked takes every mark off. The record goes last: while it is there, somebody can go on.
func (t *turn) unmarked() bool {
	before := len(t.out.Actions)
	for i := range t.rec.Parts {
		r := &t.rec.Parts[i]
		if p := t.v.part[r.Owner]; p != nil && p.Mark != nil && p.Mark.Run == t.rec.Run && !p.Off {
			part := *r
			part.UID = p.UID
			t.do(fleet.Action{Verb: fleet.Unmark, Part: &part, Why: "it is on"})
		}
	}
	for i := range t.rec.Groups {
		if g := t.v.s.Group(t.rec.Groups[i].Name); g != nil && g.Sleep != nil && g.Sleep.Run == t.rec.Run {
			t.do(fleet.Action{Verb: fleet.UnmarkGroup, Group: g.Name, Why: "it is as it was"})
		}
	}
	for _, d := range t.rec.Databases {
		if db := t.v.s.Database(d.ID); db != nil && db.Mark != "" && t.marks(db) {
			t.do(fleet.Action{Verb: fleet.UnmarkDatabase, Database: d.ID, Why: "it is as it was"})
		}
	}
	return len(t.out.Actions) == before
}

// conclude puts the sleep into the history.
func (t *turn) conclude() {
	r := t.rec
	ended := fleet.Sleep{
		Run: r.Run, By: r.By, StartedBy: r.Marks.StartedBy, At: r.At, Asleep: r.Marks.Asleep, Starting: r.Marks.Starting, Awake: t.v.s.Now,
		Saved: Saved(r, t.v.s.Now).String(), Exceptions: append(slices.Clone(r.Exceptions), t.exceptions()...),
	}
	t.do(fleet.Action{Verb: fleet.Conclude, Ended: &ended, Why: "it works again"})
}

// exceptions are what is not as it was, and why.
func (t *turn) exceptions() []string {
	var out []string
	for i := range t.rec.Parts {
		r := &t.rec.Parts[i]
		p := t.v.part[r.Owner]
		switch {
		case p == nil:
			out = append(out, r.ID()+": was deleted meanwhile")
		case p.UID != r.UID:
			out = append(out, r.ID()+": was made anew meanwhile")
		case p.Off:
			out = append(out, r.ID()+": is off still")
		case (p.Value != r.Value || p.Absent != r.Absent) && !t.scaled(r.Owner):
			out = append(out, fmt.Sprintf("%s: %s is %s, it was %s", r.ID(), r.Turn, said(p.Value, p.Absent), said(r.Value, r.Absent)))
		case r.Turn == fleet.Scaled && t.lacks(r, p) != "":
			out = append(out, r.ID()+": "+t.lacks(r, p))
		}
	}
	for _, r := range t.rec.Groups {
		if g := t.v.s.Group(r.Name); g != nil && (g.Desired != r.Desired || g.Min != r.Min) {
			out = append(out, fmt.Sprintf("group %s: desired %d and minimum %d, they were %d and %d", r.Name, g.Desired, g.Min, r.Desired, r.Min))
		}
	}
	for _, r := range t.rec.Groups {
		g := t.v.s.Group(r.Name)
		switch {
		case g == nil:
			out = append(out, "group "+r.Name+": is gone")
		case g.IsSuspended(fleet.AZRebalance) && !slices.Contains(r.Suspended, fleet.AZRebalance):
			out = append(out, fmt.Sprintf("group %s: AZRebalance stays suspended, and its other nodes protected: the zones are uneven now, and it would end one that nobody emptied; even them out, then aws autoscaling resume-processes --auto-scaling-group-name %s --scaling-processes AZRebalance", r.Name, r.Scaling))
		}
	}
	for _, r := range t.rec.Databases {
		switch db := t.v.s.Database(r.ID); {
		case db == nil || db.Trouble != "":
			out = append(out, "database "+r.ID+": "+trouble(db))
		case db.Answer != nil && !db.Answer.Works && r.Status != fleet.DatabaseStopped:
			out = append(out, "database "+r.ID+": is available, and did not answer: "+db.Answer.Why)
		}
	}
	return out
}

// scaled tells whether an autoscaler moves a workload: that it is not as it was means nothing.
func (t *turn) scaled(o fleet.Owner) bool {
	w := t.v.s.Workload(o)
	return w != nil && w.Scaler != nil
}

func said(value string, absent bool) string {
	if absent {
		return "absent"
	}
	return value
}
