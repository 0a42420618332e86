package env

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// What holds where the owner of an environment has said nothing.
const (
	usualFights = 3
	usualWithin = time.Hour
)

// turn is one call of Next.
type turn struct {
	p   *Plan
	v   *view
	rec *fleet.SleepRecord
	out Step
}

// Next says what the plan asks for in the world of the snapshot. It is a pure function: everything it knows, it reads there.
//
// What is off, is off because the world shows it, and so is what is on. The record says only what to switch and what to go back to.
func Next(p Plan, s fleet.Snapshot) Step {
	e := s.Environment(p.Environment)
	t := &turn{p: &p}
	if e == nil {
		t.hold("environment "+p.Environment, "is gone, with what was on file about it; drover env repair %s makes it again from its copies", p.Environment)
		return t.out
	}
	t.v, t.rec = look(&s, e), e.Record
	if s.Stopped != nil {
		t.hold("environment "+e.Name, "everything is %s", s.Stopped)
		return t.out
	}
	if p.On {
		t.start()
	} else {
		t.stop()
	}
	return t.out
}

func (t *turn) do(a fleet.Action) {
	a.Environment = t.p.Environment
	if a.Run == "" && t.rec != nil {
		a.Run = t.rec.Run
	}
	t.out.Actions = append(t.out.Actions, a)
}

func (t *turn) hold(subject, format string, args ...any) {
	t.out.Holds = append(t.out.Holds, fleet.Hold{Subject: subject, Reason: fmt.Sprintf(format, args...)})
}

func (t *turn) forced(code string) bool { return slices.Contains(t.rec.Forced, code) }

// remember writes the record anew with a change.
func (t *turn) remember(why string, change func(*fleet.SleepRecord)) {
	r := t.rec.Clone()
	change(&r)
	t.do(fleet.Action{Verb: fleet.Remember, Sleep: &r, Why: why})
}

// stop takes the next steps off. Each begins when the world shows that the one before is over.
func (t *turn) stop() {
	if t.out.Phase = Recording; !t.recorded() {
		return
	}
	if t.out.Phase = Pausing; !t.allOff(func(r *fleet.PartRecord) bool { return r.Turn == fleet.Unsynced }) {
		return
	}
	if t.out.Phase = SwitchingOff; !t.tiersOff() || !t.marked(&t.rec.Marks.Off, "every workload is off", func(m *fleet.SleepMarks) { m.Off = t.v.s.Now }) {
		return
	}
	if t.out.Phase = EndingNodes; !t.endNodes() {
		return
	}
	if t.out.Phase = StoppingData; !t.stopDatabases() || !t.marked(&t.rec.Marks.Asleep, "everything is off", func(m *fleet.SleepMarks) { m.Asleep = t.v.s.Now }) {
		return
	}
	t.out.Phase, t.out.Done = Asleep, true
}

// marked writes a moment down once.
func (t *turn) marked(at *time.Time, why string, set func(*fleet.SleepMarks)) bool {
	if !at.IsZero() {
		return true
	}
	t.remember(why, func(r *fleet.SleepRecord) { set(&r.Marks) })
	return false
}

// recorded has everything on file that the stop will change, twice: before the first change, and before each that comes to it.
func (t *turn) recorded() bool {
	if t.rec == nil {
		r := t.p.Record
		t.out.Actions = append(t.out.Actions, fleet.Action{Verb: fleet.Remember, Environment: t.p.Environment, Run: r.Run, Sleep: &r, Why: "how everything is, first"})
		return false
	}
	m := &t.rec.Marks
	if !m.Starting.IsZero() {
		t.remember("a start of it was under way: it goes back to sleep", func(r *fleet.SleepRecord) {
			r.Marks.Starting, r.Marks.StartedBy, r.Marks.Off, r.Marks.Asleep, r.Marks.Again = time.Time{}, "", time.Time{}, time.Time{}, t.v.s.Now
			r.Fights = nil
		})
		return false
	}
	if late := t.late(); len(late) > 0 {
		t.remember("what came since is put down too", func(r *fleet.SleepRecord) {
			r.Parts = append(r.Parts, late...)
			r.Marks.Archived = time.Time{}
		})
		return false
	}
	switch {
	case t.v.e.Spec.Archive == "" || !m.Archived.IsZero():
		return true
	case t.v.e.Copied != t.rec.Run:
		t.do(fleet.Action{Verb: fleet.Archive, Sleep: t.rec, Target: t.v.e.Spec.Archive, Why: "a second copy, outside of the cluster"})
	default:
		t.remember("the second copy is there", func(r *fleet.SleepRecord) { r.Marks.Archived = t.v.s.Now })
	}
	return false
}

// late are parts that came after the record was written and are on.
func (t *turn) late() []fleet.PartRecord {
	last := 0
	for _, r := range t.rec.Parts {
		last = max(last, r.Tier)
	}
	var out []fleet.PartRecord
	for _, p := range t.v.parts(t.forced("env-jobs")) {
		if r := t.rec.Part(p.Owner); r == nil && !p.Off && p.Mark == nil {
			rec := recordOf(p, min(last, 1))
			rec.Ready, _ = strconv.Atoi(p.Value) // what it needs may be off, so that none is Ready tells nothing
			out = append(out, rec)
		}
	}
	sortRecords(out)
	return out
}

// allOff switches the chosen parts off, and returns whether they are.
func (t *turn) allOff(chosen func(*fleet.PartRecord) bool) bool {
	off := true
	for i := range t.rec.Parts {
		if r := &t.rec.Parts[i]; chosen(r) && !t.off(r) {
			off = false
		}
	}
	return off
}

// tiersOff switches tier by tier off, and waits for the pods of each to be gone.
func (t *turn) tiersOff() bool {
	for tier := 0; tier <= t.lastTier(); tier++ {
		in := func(r *fleet.PartRecord) bool { return r.Tier == tier && r.Turn != fleet.Unsynced }
		if off := t.allOff(in); !off || !t.gone(in) {
			return false
		}
	}
	return t.jobsOver()
}

func (t *turn) lastTier() int {
	last := 0
	for _, r := range t.rec.Parts {
		last = max(last, r.Tier)
	}
	return last
}

// off switches one part off. Who switches it back is fought a few times, and then named.
func (t *turn) off(r *fleet.PartRecord) bool {
	p := t.v.part[r.Owner]
	switch {
	case p == nil:
		return true // deleted meanwhile
	case p.UID != r.UID:
		t.hold(r.ID(), "was made anew since the stop began: how it was is not on file; it is left as it is")
		return true
	case p.Off && p.Mark != nil && p.Mark.Run == t.rec.Run:
		return true
	case p.Off:
		return true // somebody else's doing; what was before is in the record
	case p.Mark != nil && p.Mark.Run != t.rec.Run:
		t.hold(r.ID(), "is marked by sleep %s of environment %s", p.Mark.Run, p.Mark.Environment)
		return false
	}
	if p.Mark != nil && t.foreign(p) && !t.fight(r, p) {
		return false
	}
	part := *r
	part.Value, part.Absent = p.Value, p.Absent // an autoscaler may have moved it since it was recorded; the mark keeps what was last
	t.do(fleet.Action{Verb: fleet.TurnOff, Part: &part, Why: t.because()})
	return false
}

func (t *turn) because() string {
	if t.rec.Why != "" {
		return t.rec.Why
	}
	return "environment " + t.p.Environment + " is switched off"
}

// foreign tells whether somebody else has switched a part back on that this sleep had switched off.
func (t *turn) foreign(p *fleet.Part) bool {
	if p.By != "" {
		return p.By != "drover"
	}
	return !t.rec.Marks.Off.IsZero()
}

// fight notes that somebody switched something back, and returns whether it may be switched off once more now.
func (t *turn) fight(r *fleet.PartRecord, p *fleet.Part) bool {
	most := t.v.e.Spec.Policy.Fights
	if most == 0 {
		most = usualFights
	}
	who := p.By
	if who == "" {
		who = "somebody"
	}
	i := slices.IndexFunc(t.rec.Fights, func(f fleet.Fight) bool { return f.Subject == r.ID() })
	if i >= 0 && t.rec.Fights[i].Times >= most {
		t.hold(r.ID(), "was switched back on %d times, last by %s%s; drover leaves it on now: stop that, then drover env stop %s", t.rec.Fights[i].Times+1, who, keptBy(p), t.p.Environment)
		return false
	}
	t.remember(fmt.Sprintf("%s switched %s back on", who, r.ID()), func(rec *fleet.SleepRecord) {
		if i < 0 {
			rec.Fights, i = append(rec.Fights, fleet.Fight{Subject: r.ID()}), len(rec.Fights)
		}
		rec.Fights[i].Times, rec.Fights[i].By, rec.Fights[i].Last = rec.Fights[i].Times+1, who, t.v.s.Now
	})
	return true
}

func keptBy(p *fleet.Part) string {
	if len(p.Apps) == 0 {
		return ""
	}
	return ", kept by " + p.Apps[0].String()
}

// gone waits for the pods of parts that are switched off.
func (t *turn) gone(chosen func(*fleet.PartRecord) bool) bool {
	all := true
	for i := range t.rec.Parts {
		r := &t.rec.Parts[i]
		if !chosen(r) || r.Turn != fleet.Scaled {
			continue
		}
		if p := t.v.part[r.Owner]; p != nil && p.UID != r.UID {
			continue
		}
		if left := t.v.pods(&r.Owner); len(left) > 0 {
			t.hold(r.ID(), "%d of its pods are still there, %s for one", len(left), left[0].Ref)
			all = false
		}
	}
	return all
}

// jobsOver waits for Jobs of the environment that run still, unless a person said not to.
func (t *turn) jobsOver() bool {
	if t.forced("env-jobs") {
		return true
	}
	over := true
	for i := range t.v.s.Busy {
		if b := &t.v.s.Busy[i]; b.Code == "env-jobs" && t.v.e.Spec.Has(b.Owner, b.Labels) {
			t.hold(b.Subject, "%s; its node waits for it", b.Reason)
			over = false
		}
	}
	return over
}

// endNodes has the nodes of the record go, each through the door, once nothing but a termination by id can take an instance of their groups.
func (t *turn) endNodes() bool {
	exits := t.exits()
	if ready := t.groupsReady(exits); !ready {
		return false
	}
	t.out.Actions = append(t.out.Actions, t.spare(exits)...)
	if len(exits) > 0 {
		t.out.Nodes = evac.Ending(t.v.s, t.rec.Run, t.rec.At, exits, t.forced("env-bare-pod") || t.forced("env-jobs"))
		step := evac.Next(t.out.Nodes, *t.v.s)
		for _, a := range step.Actions {
			a.Environment = t.p.Environment
			t.out.Actions = append(t.out.Actions, a)
		}
		t.out.Holds = append(t.out.Holds, step.Holds...)
		if step.Diverged != "" {
			t.hold("environment "+t.p.Environment, "%s", step.Diverged)
		}
		if !step.Done {
			return false
		}
	}
	return t.closed() && t.released() && len(t.out.Actions) == 0
}

// exits are the nodes that are to go still: those of the record that carry none but the environment's pods, and what their groups have launched since.
func (t *turn) exits() []fleet.Departure {
	var out []fleet.Departure
	for i := range t.rec.Groups {
		r := &t.rec.Groups[i]
		g := t.v.s.Group(r.Name)
		if g == nil {
			continue
		}
		for j := range g.Instances {
			in := &g.Instances[j]
			if in.Leaving() || !in.Counted() {
				continue
			}
			d := t.v.departure(g, in)
			if !t.planned(in.ID) && !t.ours(r, in) {
				continue
			}
			if guests := t.v.guests(d.Node); len(guests) > 0 {
				t.hold("node "+d.Name(), "stays: %s came to it", guests[0])
				continue
			}
			out = append(out, d)
		}
	}
	return out
}

// ours tells whether an instance that came after the record was written is the environment's: where others have nodes a new one may be theirs, but for
// those that a start of this very sleep has brought.
func (t *turn) ours(r *fleet.SleepGroup, in *fleet.Instance) bool {
	if slices.Contains(r.Keepers, in.ID) || !in.Launched.After(t.rec.At) {
		return false
	}
	return len(r.Keepers) == 0 || in.Launched.Before(t.rec.Marks.Again)
}

func (t *turn) planned(instance string) bool {
	return slices.ContainsFunc(t.rec.Exits, func(d fleet.Departure) bool { return d.Instance == instance })
}

// spare opens nodes again that were to go and stay.
func (t *turn) spare(exits []fleet.Departure) []fleet.Action {
	goes := map[string]bool{}
	for _, d := range exits {
		goes[d.Node] = true
	}
	out := evac.Spare(t.v.s, t.rec.Run, func(n *fleet.Node) bool {
		_, in := t.v.s.Instance(n.Instance)
		return !goes[n.Name] && in != nil && !in.Leaving()
	})
	for i := range out {
		out[i].Environment = t.p.Environment
	}
	return out
}

// groupsReady marks every group that loses nodes, lowers its minimum, stops AZRebalance and protects who stays. All of it has to be visible before the
// first node goes.
func (t *turn) groupsReady(exits []fleet.Departure) bool {
	before := len(t.out.Actions)
	ready := true
	for i := range t.rec.Groups {
		r := &t.rec.Groups[i]
		g := t.v.s.Group(r.Name)
		switch {
		case g == nil:
			t.hold("group "+r.Name, "is gone")
			continue
		case g.Trouble != "":
			t.hold("group "+r.Name, "%s", g.Trouble)
			ready = false
			continue
		case g.Mark != nil:
			t.hold("group "+r.Name, "is in the middle of run %s", g.Mark.Run)
			ready = false
			continue
		}
		t.groupReady(r, g, slices.ContainsFunc(exits, func(d fleet.Departure) bool { return d.Group == g.Name }))
	}
	return ready && len(t.out.Actions) == before
}

func (t *turn) groupReady(r *fleet.SleepGroup, g *fleet.Group, leaves bool) {
	if g.Sleep == nil {
		suspends := !slices.Contains(r.Suspended, fleet.AZRebalance)
		bed := &fleet.GroupSleep{Environment: t.p.Environment, Run: t.rec.Run, Min: r.Min, Max: r.Max, Desired: r.Desired, Suspended: suspends}
		t.do(fleet.Action{Verb: fleet.MarkGroup, Group: g.Name, Bed: bed, Why: "how it was, first"})
		return
	}
	if g.Sleep.Run != t.rec.Run {
		t.hold("group "+g.Name, "is marked by sleep %s of environment %s", g.Sleep.Run, g.Sleep.Environment)
		return
	}
	if floor := min(r.Min, r.Floor()); g.Min > floor {
		t.do(fleet.Action{Verb: fleet.Bound, Group: g.Name, From: g.Min, To: floor, Why: fmt.Sprintf("%d of its nodes go", r.Exits)})
	}
	if !g.IsSuspended(fleet.AZRebalance) && (leaves || len(r.Keepers) > 0) {
		t.do(fleet.Action{Verb: fleet.Suspend, Group: g.Name, Process: fleet.AZRebalance, Why: "it would end instances that nobody emptied"})
	}
	var bare []string
	for i := range g.Instances {
		if in := &g.Instances[i]; in.Lifecycle == fleet.InService && !in.Protected && slices.Contains(r.Keepers, in.ID) {
			bare = append(bare, in.ID)
		}
	}
	if len(bare) > 0 {
		t.do(fleet.Action{Verb: fleet.Protect, Group: g.Name, Instances: bare, Why: "they carry pods of others"})
	}
}

// closed waits for the machines that were ended.
func (t *turn) closed() bool {
	all := true
	for i := range t.rec.Groups {
		g := t.v.s.Group(t.rec.Groups[i].Name)
		if g == nil {
			continue
		}
		for j := range g.Instances {
			if in := &g.Instances[j]; in.Leaving() && t.planned(in.ID) {
				t.hold("instance "+in.ID, "is %s", in.Lifecycle)
				all = false
			}
		}
	}
	return all
}

// released puts AZRebalance back where no node is left that it could end. Where others have nodes it stays off until the start, because it could take
// theirs to even out the zones.
func (t *turn) released() bool {
	all := true
	for i := range t.rec.Groups {
		g := t.v.s.Group(t.rec.Groups[i].Name)
		if g != nil && g.Sleep != nil && g.Sleep.Suspended && len(g.Instances) == 0 && g.IsSuspended(fleet.AZRebalance) {
			t.do(fleet.Action{Verb: fleet.Resume, Group: g.Name, Process: fleet.AZRebalance, Why: "the group is empty"})
			all = false
		}
	}
	return all
}
