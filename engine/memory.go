package engine

import (
	"maps"
	"strings"
	"time"

	"drover.dev/fleet"
)

// waited is what was done with one hook that holds one instance.
type waited struct{ beat, answered time.Time }

// answerAgain is how long an answer that AWS took is believed, while the hook goes on holding the instance.
const answerAgain = 5 * time.Minute

// recall puts into the snapshot what this process has done with hooks, which AWS does not show.
func (w *Watch) recall(s *fleet.Snapshot) {
	for i := range s.Groups {
		for j := range s.Groups[i].Instances {
			in := &s.Groups[i].Instances[j]
			for hook, x := range w.waits[in.ID] {
				in.Waits = append(in.Waits, fleet.Wait{Hook: hook, Beat: x.beat, Answered: !x.answered.IsZero() && s.Now.Sub(x.answered) < answerAgain})
			}
			if in.Lifecycle == fleet.PendingWait && w.joining[in.ID].IsZero() {
				w.joining[in.ID] = s.Now
			}
			in.Joining = w.joining[in.ID]
		}
	}
}

// done remembers what an action means for later ones, and for the log of its case.
func (w *Watch) done(a fleet.Action) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.Now()
	if a.Verb == fleet.Heartbeat || a.Verb == fleet.Complete {
		w.hooked(a, now)
	}
	if w.Teller != nil && (a.Verb == fleet.Evict || a.Verb == fleet.Delete) {
		w.news.moved(a)
	}
	if a.Verb == fleet.Heartbeat {
		return // of no interest later
	}
	id := a.Instance
	if id == "" && w.seen != nil {
		if n := w.seen.Node(a.Node); n != nil {
			id = n.Instance
		}
	}
	if id == "" || a.Verb == fleet.File {
		return
	}
	what := a.String()
	if a.Why != "" {
		what += ": " + a.Why
	}
	if l := w.log[id]; len(l) < logged {
		w.log[id] = append(l, fleet.Entry{At: now, Source: "drover", What: what})
	}
}

// hooked remembers what was done with a hook.
func (w *Watch) hooked(a fleet.Action, now time.Time) {
	of := w.waits[a.Instance]
	if of == nil {
		of = map[string]waited{}
		w.waits[a.Instance] = of
	}
	x := of[a.Hook]
	if a.Verb == fleet.Heartbeat {
		x.beat = now
	} else {
		x.answered = now
	}
	of[a.Hook] = x
}

// logged is how many lines are kept of a case.
const logged = 100

// leave forgets what is over: the log of cases that are, and what was done with hooks that hold nobody any more.
func (w *Watch) leave(s *fleet.Snapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.log {
		if c := s.Case(id); c == nil || !c.Open() {
			delete(w.log, id)
		}
	}
	held := map[string]bool{}
	for i := range s.Groups {
		for _, in := range s.Groups[i].Instances {
			held[in.ID] = strings.HasSuffix(in.Lifecycle, "Wait") || strings.HasSuffix(in.Lifecycle, "Proceed")
		}
	}
	maps.DeleteFunc(w.waits, func(id string, _ map[string]waited) bool { return !held[id] })
	maps.DeleteFunc(w.joining, func(id string, _ time.Time) bool { return !held[id] })
}
