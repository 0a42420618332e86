package fleet

import (
	"slices"
	"strings"
	"time"
)

// Case is one instance that is going: everything heard about it, as one departure under the earliest deadline. A Departure object holds it, so
// that no process has to remember anything, and the message that told of it need not be kept.
type Case struct {
	Departure           // of the signals that still hold
	Opened    time.Time // when the first of them was heard
	Signals   []Signal
	Marks     CaseMarks
	Log       []Entry // what happened, as far as it was written down; filled at the end
}

// Signal is a notice on file.
type Signal struct {
	Notice
	Heard time.Time
	Ended time.Time // when it was taken back or ran out; zero while it holds
}

// CaseMarks are moments of a case that the world does not show. Each is written once, until a new signal opens the case again.
type CaseMarks struct {
	Rotation string    // run that replaces the node before it goes; "" when its group does, while a hook holds it
	Replaced time.Time // when that began
	Ended    time.Time
	End      string // how, in words: gone, back in service, ...
}

// Open tells whether the case is not over.
func (c *Case) Open() bool { return c.Marks.Ended.IsZero() }

// NoticeRun is the run that all departures of which AWS gave notice belong to: the value of drover's taint on their nodes.
const NoticeRun = "notices"

// pressing is how long before its date a node that was not replaced is emptied all the same.
const pressing = 30 * time.Minute

// presses are the signals that leave no time for a replacement.
var presses = []NoticeKind{TerminateHook, SpotInterruption, StateChange, CapacityBlock, CapacityReservation}

// Since is when the case began to press; its opening, when it does not yet.
func (c *Case) Since() time.Time {
	var at time.Time
	for i := range c.Signals {
		k := &c.Signals[i]
		if k.Ended.IsZero() && slices.Contains(presses, k.Kind) && (at.IsZero() || k.Heard.Before(at)) {
			at = k.Heard
		}
	}
	if at.IsZero() && !c.Deadline.IsZero() {
		at = c.Deadline.Add(-pressing)
	}
	if at.Before(c.Opened) {
		return c.Opened
	}
	return at
}

// Pressing tells whether the case can no longer wait for a replacement: AWS has begun, or is about to.
func (c *Case) Pressing(now time.Time) bool {
	if c.Holds(presses...) != nil {
		return true
	}
	return !c.Deadline.IsZero() && c.Deadline.Sub(now) < pressing
}

// own tells whether a signal is about a terminate hook that drover answers.
func (k *Signal) own() bool { return k.Kind == TerminateHook && k.Hook != "" && k.OwnHook() }

// OwnHook tells whether the notice is of a hook that drover answers: by its name, or because the hook itself told drover.
func (n *Notice) OwnHook() bool {
	return strings.HasPrefix(n.Hook, HookPrefix) || n.Source == FromHook || n.Source == FromSNS
}

// told tells whether a hook itself told drover that it holds the instance.
func (c *Case) told(hook string) bool {
	return c != nil && slices.ContainsFunc(c.Signals, func(k Signal) bool { return k.Hook == hook && k.own() && k.Ended.IsZero() })
}

// CompareDeadlines orders the nearer deadline first, and none last.
func CompareDeadlines(a, b time.Time) int {
	switch {
	case a.IsZero() && b.IsZero():
		return 0
	case a.IsZero():
		return 1
	case b.IsZero():
		return -1
	}
	return a.Compare(b)
}

// Waiting is since when a hook is known to hold the instance; zero when only the sweep told of it, which says nothing of how long.
func (c *Case) Waiting(hook string) time.Time {
	for i := range c.Signals {
		if k := &c.Signals[i]; k.Kind == TerminateHook && k.Hook == hook && k.Ended.IsZero() && k.Source != FromSweep {
			return k.At
		}
	}
	return time.Time{}
}

// End is when the machine goes whatever anybody does: the dates that AWS gave, and the longest that hooks can hold it. Zero when nothing says.
func (c *Case) End(g *Group, in *Instance) time.Time {
	var end time.Time
	for i := range c.Signals {
		k := &c.Signals[i]
		at := k.Deadline
		if k.Kind == TerminateHook {
			at = k.wall(g, in)
		}
		if k.Ended.IsZero() && !at.IsZero() && (end.IsZero() || at.Before(end)) {
			end = at
		}
	}
	return end
}

// wall is until when a hook can hold the instance; zero when that is not known, or over.
func (k *Signal) wall(g *Group, in *Instance) time.Time {
	if g == nil || in == nil || in.Lifecycle == Retained {
		return time.Time{}
	}
	h := g.Hook(k.Hook)
	switch {
	case h == nil || h.Heartbeat <= 0:
		return time.Time{}
	case k.OwnHook():
		return k.At.Add(h.Held())
	}
	return k.At.Add(h.Heartbeat) // nobody may have somebody else's hook wait longer
}

// Waits tells whether a terminate hook holds the instance: before it is ended, or before it goes back to the warm pool.
func (c *Case) Waits(in *Instance) bool {
	return in.Lifecycle == TerminatingWait || in.Lifecycle == WarmedWait && c.Holds(TerminateHook) != nil
}

// Holds tells whether a signal of some kind holds, and returns the first.
func (c *Case) Holds(kinds ...NoticeKind) *Signal {
	for i := range c.Signals {
		if s := &c.Signals[i]; s.Ended.IsZero() && slices.Contains(kinds, s.Kind) {
			return s
		}
	}
	return nil
}

// Clone copies the case deep enough that changing the copy leaves the original alone.
func (c Case) Clone() Case {
	c.Targets = slices.Clone(c.Targets)
	c.Signals = slices.Clone(c.Signals)
	c.Log = slices.Clone(c.Log)
	return c
}

// Entry is one line of what happened to a node, and who says so.
type Entry struct {
	At     time.Time
	Source string // drover, kubernetes event, auto scaling, managed fields of a node, ...
	What   string
}

// SortEntries orders by time; of one moment, as they were.
func SortEntries(es []Entry) {
	slices.SortStableFunc(es, func(a, b Entry) int { return a.At.Compare(b.At) })
}
