package depart

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// settling is how long a signal may be ahead of what AWS shows when it is asked.
const settling = time.Minute

// overdue is how long after its deadline an instance that is still in service counts as spared.
const overdue = 10 * time.Minute

// waitsAtMost is how long a hook whose instance cannot be seen any more is believed to wait.
const waitsAtMost = 10 * time.Minute

// Sweep compares what AWS shows with what is on file, and returns the notices that are missing: signals that were lost or never sent, and
// signals that no longer hold. AWS's own state is the truth; messages only make it known sooner.
func Sweep(s *fleet.Snapshot, p fleet.Policy) []fleet.Notice {
	w := sweep{s: s, p: p}
	for i := range s.Groups {
		g := &s.Groups[i]
		if !s.Owns(g) {
			continue
		}
		for j := range g.Instances {
			w.member(g, &g.Instances[j])
		}
	}
	for i := range s.Cases {
		if s.Cases[i].Open() {
			w.file(&s.Cases[i])
		}
	}
	return w.out
}

type sweep struct {
	s   *fleet.Snapshot
	p   fleet.Policy
	out []fleet.Notice
}

// member finds the signals about an instance that are not on file.
func (w *sweep) member(g *fleet.Group, in *fleet.Instance) {
	back := in.Lifecycle == fleet.WarmedWait && w.s.NodeOf(in.ID) != nil // a new one has no node yet
	if in.Lifecycle == fleet.TerminatingWait || back {
		for _, h := range g.Ours(w.s.Case(in.ID), false) {
			w.missing(in.ID, fleet.Notice{
				Kind: fleet.TerminateHook, ID: "terminate-hook/" + h, Group: g.Scaling(), Hook: h, Effect: "terminate",
				Why: fmt.Sprintf("Auto Scaling ends it (hook %s waits)", h),
			})
		}
	}
	if !in.Reclaimed.IsZero() && w.s.Now.Sub(in.Reclaimed) < overdue {
		w.missing(in.ID, fleet.Notice{
			Kind: fleet.SpotInterruption, ID: "spot", Effect: "terminate", Deadline: in.Reclaimed.Add(2 * time.Minute), Why: "EC2 takes the spot instance back",
		})
	}
	if in.Lifecycle == fleet.Retained && len(g.Ours(nil, false)) > 0 {
		w.missing(in.ID, fleet.Notice{Kind: fleet.TerminateHook, ID: "terminate-hook/", Group: g.Scaling(), Effect: "terminate", Why: "its group retains it after its hook was abandoned"})
	}
	for _, e := range in.Scheduled {
		if past(e.NotBefore, w.s.Now) {
			continue // EC2 may list it for long afterwards
		}
		w.missing(in.ID, fleet.Notice{Kind: fleet.ScheduledChange, ID: "scheduled/" + e.ID, Effect: e.Effect, Deadline: e.NotBefore, Why: fmt.Sprintf("EC2 plans to %s it at %s: %s", e.Effect, e.NotBefore.UTC().Format(time.RFC3339), e.Words)})
	}
}

// missing asks for a signal that does not hold on file.
func (w *sweep) missing(instance string, n fleet.Notice) {
	n.Deadline = n.Deadline.Truncate(time.Second)
	c := w.s.Case(instance)
	if c != nil && c.Open() && n.Kind == fleet.ScheduledChange && slices.ContainsFunc(c.Signals, func(k fleet.Signal) bool {
		return k.Kind == n.Kind && k.Ended.IsZero() && k.Deadline.Equal(n.Deadline) // Health's word for the same, under another id
	}) {
		return
	}
	if c != nil && c.Open() {
		if i := slices.IndexFunc(c.Signals, func(k fleet.Signal) bool { return k.ID == n.ID }); i >= 0 {
			k := &c.Signals[i]
			if k.Ended.IsZero() && (n.Kind != fleet.ScheduledChange || k.Deadline.Equal(n.Deadline)) {
				return
			}
		}
	}
	if c != nil && !c.Open() && w.s.Now.Sub(c.Marks.Ended) < settling {
		return // what AWS shows may be older than the end
	}
	n.Source, n.At, n.Instance = fleet.FromSweep, w.s.Now, instance
	w.out = append(w.out, n)
}

// file takes back what no longer holds.
func (w *sweep) file(c *fleet.Case) {
	for i := range c.Signals {
		k := &c.Signals[i]
		if !k.Ended.IsZero() {
			continue
		}
		if why := w.stale(c, k); why != "" {
			n := k.Notice
			n.Source, n.At, n.Over, n.Why = fleet.FromSweep, w.s.Now, true, why
			w.out = append(w.out, n)
		}
	}
}

// stale says why a signal no longer holds; "" while it does.
func (w *sweep) stale(c *fleet.Case, k *fleet.Signal) string {
	g, in := w.s.Instance(c.Instance)
	heard := w.s.Now.Sub(k.Heard)
	n := w.s.NodeOf(c.Instance)
	ready := n != nil && n.Ready
	serves := in != nil && in.Lifecycle == fleet.InService || in == nil && ready && w.lives(c.Instance)
	switch k.Kind {
	case fleet.Rebalance:
		if w.p.Rebalance == fleet.AdviceIgnore {
			return "recommendations are ignored here"
		}
		if heard >= w.p.RebalanceFor && serves && !replacing(w.s, c) {
			return fmt.Sprintf("nothing came of the recommendation in %s", w.p.RebalanceFor)
		}
	case fleet.TerminateHook:
		if k.Destination == "WarmPool" && in == nil && heard < waitsAtMost {
			return "" // the pool's members may not be listed: it is held until it is answered
		}
		if in == nil && heard >= settling && w.lives(c.Instance) {
			return "its group let it go, to the warm pool or for good, and it was not ended"
		}
		if in != nil && !in.Leaving() && in.Lifecycle != fleet.WarmedWait && g.Trouble == "" && heard >= settling {
			return "its group has it " + in.Lifecycle + " again"
		}
	case fleet.ScheduledChange:
		if k.Source == fleet.FromSweep && in != nil && !g.Blind && heard >= settling && !slices.ContainsFunc(in.Scheduled, func(e fleet.Scheduled) bool { return "scheduled/"+e.ID == k.ID }) {
			return "EC2 no longer announces it"
		}
		if serves && past(k.Deadline, w.s.Now) {
			return "its time has passed and the instance is in service"
		}
	case fleet.StateChange:
		if serves && ready && heard >= settling {
			return "its node is Ready and in service"
		}
	default:
		if serves && past(k.Deadline, w.s.Now) {
			return "its time has passed and the instance is in service"
		}
	}
	return ""
}

// lives tells whether EC2 says that a machine is there, and not on its way out.
func (w *sweep) lives(id string) bool {
	return slices.ContainsFunc(w.s.Machines, func(m fleet.Machine) bool {
		return m.ID == id && (m.State == "running" || strings.HasPrefix(m.State, "stop"))
	})
}

func past(deadline, now time.Time) bool { return !deadline.IsZero() && now.Sub(deadline) > overdue }

// Asked lists the instances on file that EC2 has to be asked about, and the ones a message named, because the snapshot does not tell whether they
// still run.
func Asked(s *fleet.Snapshot, more ...string) []string {
	out := slices.Clone(more)
	for i := range s.Cases {
		c := &s.Cases[i]
		if !c.Open() {
			continue
		}
		_, in := s.Instance(c.Instance)
		if n := s.NodeOf(c.Instance); in == nil || n == nil || !n.Ready {
			out = append(out, c.Instance)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(id string) bool { return !strings.HasPrefix(id, "i-") })
}
