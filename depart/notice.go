package depart

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// Whose says who has to do with a notice.
type Whose string

// The answers.
const (
	Ours    Whose = "ours"
	Others  Whose = "another cluster's"
	Nobodys Whose = "no cluster's"
	Unknown Whose = "unknown" // EC2 has to be asked about the instance
)

// WhoseIs tells whose instance or group a notice is about. What EC2 said of the instance is read from the snapshot's Machines.
func WhoseIs(s *fleet.Snapshot, n fleet.Notice) Whose {
	if c := s.Case(n.Instance); s.NodeOf(n.Instance) != nil || c != nil && c.Open() {
		return Ours
	}
	g, _ := s.Instance(n.Instance)
	if g == nil {
		g = scaling(s, n.Group)
	}
	switch {
	case g == nil:
	case s.Owns(g):
		return Ours
	case g.Cluster != "":
		return Others
	}
	for _, m := range s.Machines {
		switch {
		case m.ID != n.Instance:
		case m.Cluster == "":
			return Nobodys
		case m.Cluster != s.Cluster:
			return Others
		case m.State == fleet.MachineGone || m.State == fleet.MachineUnknown:
			return Nobodys // ours once: neither a node nor a group is left of it
		default:
			return Ours
		}
	}
	return Unknown
}

// scaling finds the group over an Auto Scaling group; nil when there is none.
func scaling(s *fleet.Snapshot, name string) *fleet.Group {
	if name == "" {
		return nil
	}
	for i := range s.Groups {
		if s.Groups[i].Scaling() == name {
			return &s.Groups[i]
		}
	}
	return nil
}

// Moot tells why nobody goes because of a notice, or not by drover's doing; "" when somebody may.
func Moot(s *fleet.Snapshot, n fleet.Notice, p fleet.Policy) string {
	g := scaling(s, n.Group)
	switch {
	case n.Over:
		return ""
	case n.Kind == fleet.TerminateHook && !n.OwnHook() && g != nil && g.Managed != nil && n.Hook != "":
		return "EKS empties it itself"
	case n.Kind == fleet.TerminateHook && !n.OwnHook() && n.Hook != "" && len(g.Ours(nil, false)) > 0:
		return "a hook of somebody else's; drover's own tells too"
	case n.Kind == fleet.TestNotice:
		return "a test of Auto Scaling's"
	case n.Kind == fleet.LaunchHook:
		return "an instance comes: the group itself shows it"
	case n.Kind == fleet.Rebalance && p.Rebalance == fleet.AdviceIgnore:
		return "recommendations are ignored here"
	case n.Instance == "":
		return "it names no instance"
	}
	return ""
}

// Hear adds a notice to what is on file about its instance, and tells whether that says anything new. A notice that was heard before, however it
// came, changes nothing; one that takes another back ends it; a new one opens a case that was over.
func Hear(s *fleet.Snapshot, have fleet.Case, n fleet.Notice, p fleet.Policy) (fleet.Case, bool) {
	have = have.Clone()
	n.Deadline = n.Deadline.Truncate(time.Second) // as objects keep it: otherwise it would never be the same again
	i := slices.IndexFunc(have.Signals, func(k fleet.Signal) bool { return k.ID == n.ID })
	switch {
	case n.Over:
		if i < 0 || !have.Signals[i].Ended.IsZero() {
			return have, false
		}
		have.Signals[i].Ended = s.Now
	case i >= 0 && have.Signals[i].Ended.IsZero() && have.Open():
		if !updates(&have.Signals[i], n) {
			return have, false
		}
	case i >= 0 && !n.At.After(cmp.Or(have.Signals[i].Ended, have.Marks.Ended)), !have.Open() && !n.At.After(have.Marks.Ended):
		return have, false // from before the end: delivered again, or late
	default:
		if i >= 0 {
			have.Signals = slices.Delete(have.Signals, i, i+1)
		}
		open(s, &have, n)
		n.Deadline = deadline(s, n, p)
		have.Signals = append(prune(have.Signals), fleet.Signal{Notice: n, Heard: s.Now})
	}
	sum(&have)
	return have, true
}

// updates brings a signal that holds up to date with a later word of it.
func updates(k *fleet.Signal, n fleet.Notice) bool {
	if n.Kind == fleet.TerminateHook || !n.At.After(k.At) || n.Deadline.Equal(k.Deadline) && n.Effect == k.Effect {
		return false
	}
	k.Deadline, k.Effect, k.Why, k.At = n.Deadline, n.Effect, n.Why, n.At
	return true
}

// open begins a case, or begins it again, and writes down how its node is before anything is changed.
func open(s *fleet.Snapshot, c *fleet.Case, n fleet.Notice) {
	if !c.Opened.IsZero() && c.Open() {
		return
	}
	for i := range c.Signals { // what was over with the case does not hold again
		if c.Signals[i].Ended.IsZero() {
			c.Signals[i].Ended = c.Marks.Ended
		}
	}
	c.Opened, c.Marks = s.Now, fleet.CaseMarks{}
	c.Departure = fleet.Departure{Instance: n.Instance, Cause: fleet.Noticed, Node: c.Node, Group: c.Group} // of a machine that is gone both are known from before
	if node := s.NodeOf(n.Instance); node != nil {
		c.Node, c.Drained = node.Name, drainer(s, node)
	}
	g, in := s.Instance(n.Instance)
	if g == nil {
		g = scaling(s, n.Group)
	}
	if g != nil {
		c.Group = g.Name
	}
	if in != nil {
		for _, t := range in.Targets {
			c.Targets = append(c.Targets, t.Group)
		}
	}
}

// drainer is whose drain has shut a node before; "" when nobody's. What a rotation marked, it takes off itself.
func drainer(s *fleet.Snapshot, n *fleet.Node) string {
	m := n.Mark()
	if m == nil || m.Effect != fleet.NoSchedule || m.Value == fleet.NoticeRun || s.Rotation(m.Value) != nil {
		return ""
	}
	if slices.ContainsFunc(s.Groups, func(g fleet.Group) bool { return g.Mark != nil && g.Mark.Run == m.Value }) {
		return ""
	}
	return m.Value
}

// signals kept on file, those that are over included.
const signalsKept = 32

func prune(in []fleet.Signal) []fleet.Signal {
	for len(in) >= signalsKept {
		i := slices.IndexFunc(in, func(k fleet.Signal) bool { return !k.Ended.IsZero() })
		if i < 0 {
			return in
		}
		in = slices.Delete(in, i, i+1)
	}
	return in
}

// before is how long before the end of what AWS allows a hook to hold an instance the answer has to be given.
const before = time.Minute

// deadline is until when a notice leaves time: what it says itself, and for a hook as long as the policy and AWS's limit allow.
func deadline(s *fleet.Snapshot, n fleet.Notice, p fleet.Policy) time.Time {
	if n.Kind != fleet.TerminateHook {
		return n.Deadline
	}
	until := s.Now.Add(p.DrainFor) // not from when it was sent: nobody may have led for a while
	if g := scaling(s, n.Group); g != nil {
		for _, h := range g.Hooks {
			switch {
			case h.Launching || h.Name != n.Hook && n.Hook != "" || h.Heartbeat <= 0:
			case n.OwnHook() || n.Hook == "":
				until = earlier(until, n.At.Add(h.Held()-before))
			default: // nobody may have somebody else's hook wait longer
				until = earlier(until, n.At.Add(h.Heartbeat-before/2))
			}
		}
	}
	return until.Truncate(time.Second)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// sum derives the departure from the signals that hold: the nearest deadline, and every reason, the most pressing first.
func sum(c *fleet.Case) {
	var held []fleet.Signal
	for _, k := range c.Signals {
		if k.Ended.IsZero() {
			held = append(held, k)
		}
	}
	slices.SortStableFunc(held, func(a, b fleet.Signal) int { return fleet.CompareDeadlines(a.Deadline, b.Deadline) })
	c.Deadline, c.Replace = time.Time{}, len(held) > 0
	var why []string
	for _, k := range held {
		if !k.Deadline.IsZero() && (c.Deadline.IsZero() || k.Deadline.Before(c.Deadline)) {
			c.Deadline = k.Deadline
		}
		if k.Kind != fleet.Rebalance && k.Kind != fleet.ScheduledChange {
			c.Replace = false
		}
		why = append(why, k.Why)
	}
	if len(held) > 0 { // otherwise the last reason stays readable
		c.Why = strings.Join(slices.Compact(why), "; ")
	}
}

// Join adds what a decision wants written into what is on file: marks are only ever set, once.
func Join(have, want fleet.Case) (fleet.Case, bool) {
	if have.Opened.IsZero() || !have.Open() || !have.Opened.Equal(want.Opened) {
		return have, false // another case by now
	}
	have = have.Clone()
	m, w := &have.Marks, want.Marks
	changed := false
	if w.Replaced.After(m.Replaced) {
		m.Rotation, m.Replaced, changed = w.Rotation, w.Replaced, true
	}
	if !w.Ended.IsZero() && !heardSince(have, want) {
		m.Ended, m.End, changed = w.Ended, w.End, true
		have.Log = append(have.Log, want.Log...)
	}
	return have, changed
}

// heardSince tells whether a signal holds that the decision to end did not know.
func heardSince(have, want fleet.Case) bool {
	return slices.ContainsFunc(have.Signals, func(k fleet.Signal) bool {
		return k.Ended.IsZero() && !slices.ContainsFunc(want.Signals, func(o fleet.Signal) bool { return o.ID == k.ID && o.Heard.Equal(k.Heard) })
	})
}

// Timely returns the departures that leave time for a replacement first, and whose turn it is: nodes that EC2 recommends to leave, no more in an
// hour than the policy allows, and nodes with a date, the nearest first. Those in stuck, by instance, cannot be replaced for now, and hold up nobody. The
// second result says why the others wait.
func Timely(s *fleet.Snapshot, p fleet.Policy, stuck map[string]string) ([]fleet.Departure, []fleet.Hold) {
	var out []fleet.Departure
	var holds []fleet.Hold
	wait := func(c *fleet.Case, format string, args ...any) {
		holds = append(holds, fleet.Hold{Subject: "node " + c.Name(), Reason: fmt.Sprintf(format, args...)})
	}
	begun := underway(s)
	for _, c := range replaceable(s) {
		g, in := s.Instance(c.Instance)
		switch {
		case g == nil || in.Lifecycle != fleet.InService:
		case stuck[c.Instance] != "":
			wait(c, "%s", stuck[c.Instance])
		case c.Holds(fleet.ScheduledChange) == nil && p.Rebalance != fleet.AdviceReplace:
		case g.Managed != nil:
			wait(c, "group %s is managed by EKS, which replaces its nodes itself", g.Name)
		case len(s.Rotations) > 0 || g.Mark != nil:
			wait(c, "is replaced when the run under way is over")
		case begun[g.Name]:
			wait(c, "is replaced after another node of group %s", g.Name)
		case c.Holds(fleet.ScheduledChange) == nil && recent(s, c) >= p.RebalancePerHour:
			wait(c, "%d nodes of group %s were replaced for recommendations within an hour; no more are", recent(s, c), g.Name)
		default:
			begun[g.Name] = true
			d := c.Departure
			d.Deadline = time.Time{}
			d.Replace, d.Release = true, true
			out = append(out, d)
		}
	}
	return out, holds
}

// underway are the groups of which a node is being replaced: one at a time.
func underway(s *fleet.Snapshot) map[string]bool {
	out := map[string]bool{}
	for i := range s.Cases {
		c := &s.Cases[i]
		_, in := s.Instance(c.Instance)
		if c.Open() && (replacing(s, c) || !c.Marks.Replaced.IsZero() && in != nil && in.Leaving()) {
			out[c.Group] = true
		}
	}
	return out
}

// replaceable are the open cases without a run of their own that leave time, the nearest deadline first.
func replaceable(s *fleet.Snapshot) []*fleet.Case {
	var out []*fleet.Case
	for i := range s.Cases {
		if c := &s.Cases[i]; c.Open() && c.Replace && !replacing(s, c) && !c.Pressing(s.Now) {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b *fleet.Case) int {
		return cmp.Or(fleet.CompareDeadlines(a.Deadline, b.Deadline), a.Opened.Compare(b.Opened))
	})
	return out
}

// again is how long after a replacement began whose run is nowhere it may begin once more: its record is not written at the same moment.
const again = 10 * time.Minute

// replacing tells whether a run replaces the node of a case, or is about to.
func replacing(s *fleet.Snapshot, c *fleet.Case) bool {
	return !c.Marks.Replaced.IsZero() && (c.Marks.Rotation != "" && s.Rotation(c.Marks.Rotation) != nil || s.Now.Sub(c.Marks.Replaced) < again)
}

// recent counts the replacements of other nodes of a case's group for recommendations that began within an hour.
func recent(s *fleet.Snapshot, of *fleet.Case) int {
	n := 0
	for i := range s.Cases {
		c := &s.Cases[i]
		if c.Group == of.Group && c.Instance != of.Instance && slices.ContainsFunc(c.Signals, func(k fleet.Signal) bool { return k.Kind == fleet.Rebalance }) && !c.Marks.Replaced.IsZero() && s.Now.Sub(c.Marks.Replaced) < time.Hour {
			n++
		}
	}
	return n
}
