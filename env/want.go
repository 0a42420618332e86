package env

import (
	"fmt"
	"time"

	"drover.dev/fleet"
	"drover.dev/schedule"
)

// Wanted is whether an environment should be on now.
type Wanted struct {
	On     bool
	Known  bool   // somebody says so; otherwise it stays as it is
	Why    string // in words
	By     string // who asked: a person, or "schedule"
	Forced []string
	Next   time.Time // when that changes by itself; zero when it does not
	NextOn bool
}

// Want says what should be true of an environment now. It asks nothing but the moment: whoever was away meanwhile does what is due. A wish that cannot be
// read counts as none, and is named.
func Want(e *fleet.Environment, now time.Time) Wanted {
	out := wanted(e, now)
	if e.Wish == nil && e.WishTrouble != "" {
		out.Why += "; a wish is there, and counts as none: " + e.WishTrouble
	}
	return out
}

func wanted(e *fleet.Environment, now time.Time) Wanted {
	if len(e.Trouble) > 0 {
		return Wanted{On: on(e), Why: "what is declared of it cannot be understood: " + e.Trouble[0]}
	}
	if e.Spec.Protected {
		return Wanted{On: true, Known: true, Why: "it is protected", By: "protection"}
	}
	var s *schedule.Schedule
	if e.Spec.Schedule != nil {
		parsed, errs := schedule.Parse(*e.Spec.Schedule)
		if len(errs) > 0 {
			return Wanted{On: on(e), Why: "its schedule cannot be understood: " + errs[0].Error()}
		}
		s = parsed
	}
	if w := e.Wish; w != nil {
		if until, holds := holds(w, s, now); holds {
			out := Wanted{On: w.On, Known: true, Why: wishWords(w, until), By: w.By, Forced: w.Forced, Next: until}
			if !until.IsZero() {
				out.NextOn = after(s, until, !w.On)
			}
			return out
		}
	}
	if s == nil {
		return unscheduled(e)
	}
	on, why := s.At(now)
	out := Wanted{On: on, Known: true, Why: why, By: "schedule"}
	if at, nextOn, _, ok := s.Next(now); ok {
		out.Next, out.NextOn = at, nextOn
	}
	return out
}

// unscheduled is what holds without a schedule: a wish that had an end has left the opposite behind.
func unscheduled(e *fleet.Environment) Wanted {
	w := e.Wish
	if w == nil {
		return Wanted{On: on(e), Why: "it has no schedule, and nobody has asked"}
	}
	return Wanted{On: !w.On, Known: true, Why: fmt.Sprintf("%s wanted it %s until %s", w.By, word(w.On), w.Until.Format(moment)), By: w.By}
}

func word(on bool) string { return map[bool]string{true: "on", false: "off"}[on] }

const moment = "Mon 2006-01-02 15:04 MST"

// on is what an environment is on its way to, when nobody says.
func on(e *fleet.Environment) bool { return e.Record == nil || !e.Record.Marks.Starting.IsZero() }

// after is what the schedule says at a moment; without one, otherwise.
func after(s *schedule.Schedule, at time.Time, otherwise bool) bool {
	if s == nil {
		return otherwise
	}
	on, _ := s.At(at)
	return on
}

// holds tells whether a wish is good still, and until when. One without an end is served when the schedule comes to say the same after it has said
// something else: who stops an environment at noon finds it on the next morning.
func holds(w *fleet.Wish, s *schedule.Schedule, now time.Time) (time.Time, bool) {
	if !w.Until.IsZero() {
		return w.Until, now.Before(w.Until)
	}
	if s == nil || w.At.IsZero() {
		return time.Time{}, true // nobody says since when it holds: until somebody wishes something else
	}
	until := agrees(s, w)
	return until, until.IsZero() || now.Before(until)
}

// agrees is when the schedule next turns to what a wish says; zero when it never does.
func agrees(s *schedule.Schedule, w *fleet.Wish) time.Time {
	at := w.At
	if on, _ := s.At(at); on == w.On { // it says so already: the wish only takes an earlier one back
		next, _, _, _ := s.Next(at)
		return next
	}
	for range 2 { // one change may be away from it, the one after is to it
		next, on, _, ok := s.Next(at)
		if !ok {
			return time.Time{}
		}
		if on == w.On {
			return next
		}
		at = next
	}
	return time.Time{}
}

func wishWords(w *fleet.Wish, until time.Time) string {
	out := w.By + " wants it " + word(w.On)
	if !until.IsZero() {
		out += " until " + until.Format(moment)
	}
	if w.Why != "" {
		out += ": " + w.Why
	}
	return out
}
