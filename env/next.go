package env

import (
	"fmt"
	"slices"
	"time"

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

	waits  bool          // for a machine to show whom it is for
	fights []fleet.Fight // as they are to be on file; nil when nobody fights
}

// Next says what the plan asks for in the world of the snapshot. It is a pure function: everything it knows, it reads there.
//
// What is off, is off because the world shows it, and so is what is on. The record says only what to switch and what to go back to.
func Next(p Plan, s fleet.Snapshot) Step {
	e := s.Environment(p.Environment)
	t := &turn{p: &p}
	if e == nil && p.On && !marksOf(&s, p.Environment) {
		t.out.Phase, t.out.Done = Awake, true // it was to be deleted, and waited for that
		return t.out
	}
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
	if t.fights != nil {
		decided := t.out.Actions
		t.out.Actions = nil
		t.remember("somebody switches back what was switched", func(r *fleet.SleepRecord) { r.Fights = t.fights })
		t.out.Actions = append(t.out.Actions, decided...) // counted first: better once too often than not at all
	}
	t.lateness()
	return t.out
}

// marksOf tells whether anything is marked as switched off by an environment.
func marksOf(s *fleet.Snapshot, environment string) bool {
	return slices.ContainsFunc(s.Parts, func(p fleet.Part) bool { return p.Mark != nil && p.Mark.Environment == environment }) ||
		slices.ContainsFunc(s.Groups, func(g fleet.Group) bool { return g.Sleep != nil && g.Sleep.Environment == environment })
}

// lateness says that a stop or a start takes longer than its owner gives it.
func (t *turn) lateness() {
	since := time.Time{}
	switch {
	case t.rec == nil || t.out.Done:
		return
	case t.p.On:
		since = t.rec.Marks.Starting
	case t.rec.Marks.Asleep.IsZero():
		since = t.rec.At
		if t.rec.Marks.Again.After(since) {
			since = t.rec.Marks.Again
		}
	}
	if took := t.v.s.Now.Sub(since); !since.IsZero() && took > t.within() {
		t.hold("environment "+t.p.Environment+" is late", "%s for %s, longer than the %s that its policy gives", t.out.Phase, took.Round(time.Minute), t.within())
	}
}

func (t *turn) within() time.Duration {
	if w := t.v.e.Spec.Policy.Within; w > 0 {
		return w
	}
	return usualWithin
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

// forced tells whether a person overrides a finding: then, or now.
func (t *turn) forced(code string) bool {
	return slices.Contains(t.rec.Forced, code) || slices.Contains(t.p.Forced, code)
}

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
	t.joined()
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
			r.Marks = fleet.SleepMarks{Archived: r.Marks.Archived, Again: t.v.s.Now}
			r.Fights = nil
		})
		return false
	}
	if t.p.At.After(t.rec.At) && slices.ContainsFunc(t.rec.Fights, func(f fleet.Fight) bool { return f.Last.Before(t.p.At) }) {
		t.remember("somebody asks for it again: what was given up is tried again", func(r *fleet.SleepRecord) { r.Fights = nil })
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
	case t.v.e.Copied != t.rec.Copy():
		t.do(fleet.Action{Verb: fleet.Archive, Sleep: t.rec, Target: t.v.e.Spec.Archive, Why: "a second copy, outside of the cluster"})
	default:
		t.remember("the second copy is there", func(r *fleet.SleepRecord) { r.Marks.Archived = t.v.s.Now })
	}
	return false
}
