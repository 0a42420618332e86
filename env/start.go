package env

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

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
		for i := range s.Parts {
			if m := s.Parts[i].Mark; m != nil && m.Environment == name {
				findings = append(findings, fleet.Found("env-stranger", s.Parts[i].ID(), "is marked as switched off by sleep %s, which is not on file", m.Run).Then("drover env repair %s", name))
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
		if db := s.Database(spec.ID); db == nil || db.Trouble != "" {
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
	if !data || !nodes {
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
		case g == nil:
			t.hold("group "+r.Name, "is gone: nothing brings its nodes back; make it again, or take it out of the environment")
			ready = false
		case g.Trouble != "":
			t.hold("group "+r.Name, "%s", g.Trouble)
			ready = false
		case g.Sleep == nil: // the stop never came to it, or it is as it was already
			ready = t.nodesReady(r, g) && ready
		default:
			ready = t.startGroup(r, g) && ready
		}
	}
	for _, a := range t.spare(nil) {
		t.out.Actions = append(t.out.Actions, a)
		ready = false
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
	if !t.nodesReady(r, g) {
		return false
	}
	return t.unguarded(r, g)
}

// size is how large a group is to be: as it was, unless somebody has lowered its maximum meanwhile.
func (t *turn) size(r *fleet.SleepGroup, g *fleet.Group) int {
	want := min(r.Desired, g.Max)
	if want < r.Desired {
		t.hold("group "+g.Name, "had %d nodes, and its maximum is %d now", r.Desired, g.Max)
	}
	return want
}

// nodesReady waits until every instance that a group counts is a node in service.
func (t *turn) nodesReady(r *fleet.SleepGroup, g *fleet.Group) bool {
	ready, why := 0, ""
	for i := range g.Instances {
		in := &g.Instances[i]
		if !in.Counted() {
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
	want := min(r.Desired, g.Max, g.Desired)
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
	if g.Sleep.Suspended && g.IsSuspended(fleet.AZRebalance) {
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
		in := func(r *fleet.PartRecord) bool { return r.Tier == tier && r.Turn != fleet.Unsynced }
		if on := t.allOn(in); !on || !t.work(in) || !t.storesWork(in) {
			return false
		}
	}
	return true
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
	if p == nil || p.UID != r.UID || !p.Off {
		return true
	}
	part := *r
	if m := p.Mark; m != nil && m.Run == t.rec.Run && m.UID == r.UID {
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
		if !chosen(r) || r.Turn != fleet.Scaled || p == nil || p.UID != r.UID || p.Off {
			continue
		}
		if why := t.lacks(r, p); why != "" {
			t.hold(r.ID(), "%s", why)
			all = all && t.overdue()
		}
	}
	return all
}

func (t *turn) overdue() bool {
	within := t.v.e.Spec.Policy.Within
	if within == 0 {
		within = usualWithin
	}
	return t.v.s.Now.Sub(t.rec.Marks.Starting) > within
}

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
		if svc.Endpoints == 0 && slices.ContainsFunc(t.v.pods(&p.Owner), func(pod *fleet.Pod) bool { return leadsTo(svc, pod) }) {
			return "service " + svc.Namespace + "/" + svc.Name + " has no endpoint yet"
		}
	}
	return ""
}

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
		if p := t.v.part[r.Owner]; p != nil && p.UID == r.UID && p.Mark != nil && p.Mark.Run == t.rec.Run {
			part := *r
			t.do(fleet.Action{Verb: fleet.Unmark, Part: &part, Why: "it is on"})
		}
	}
	for i := range t.rec.Groups {
		if g := t.v.s.Group(t.rec.Groups[i].Name); g != nil && g.Sleep != nil && g.Sleep.Run == t.rec.Run {
			t.do(fleet.Action{Verb: fleet.UnmarkGroup, Group: g.Name, Why: "it is as it was"})
		}
	}
	for _, d := range t.rec.Databases {
		if db := t.v.s.Database(d.ID); db != nil && strings.Contains(db.Mark, t.rec.Run) {
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
			out = append(out, r.ID()+": was made anew meanwhile, and is left as it is")
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
