package evac

import (
	"fmt"
	"slices"
	"strings"

	"drover.dev/fleet"
)

// Step is what to do now. With no actions and not Done, Holds say why nothing happens.
type Step struct {
	Actions    []fleet.Action
	Holds      []fleet.Hold
	Exceptions []string // what could not be put back as it was, and why; filled when the run is about to end
	Done       bool
	Diverged   string // the world left the plan's frame: stop, with this sentence

	forgotten []string // groups of the plan without a journal
}

// Since brings what is known of a run's exceptions up to date with a step. What concerns a group whose journal is gone stays as it was known:
// the step cannot see it any more.
func (s Step) Since(known []string) []string {
	out := slices.Clone(s.Exceptions)
	for _, k := range known {
		if slices.ContainsFunc(s.forgotten, func(g string) bool { return strings.HasPrefix(k, "group "+g+":") }) {
			out = append(out, k)
		}
	}
	return out
}

// Next says what the plan asks for in the world of the snapshot. It is a pure function: everything it knows, it reads there.
//
// The order holds across all groups of the plan: first every group's prior values are journaled, then every old node is tainted, and only
// then the first pod moves. So a pod that moves has no old node left to land on, and moves once.
func Next(p Plan, s fleet.Snapshot) Step {
	v := &tick{plan: &p, s: &s, ix: newIndex(&s), leaving: map[string]bool{}, isExit: map[string]bool{}, begun: map[string]bool{}, noRoom: map[string]bool{}, moving: map[string]bool{}, surged: map[fleet.Owner]bool{}}
	if v.out.Diverged = v.frame(); v.out.Diverged != "" {
		return v.out
	}
	v.look()
	for _, gp := range p.Groups {
		if s.Group(gp.Name).Mark == nil {
			v.out.forgotten = append(v.out.forgotten, gp.Name)
		}
	}
	if v.prepare(); len(v.out.Actions) > 0 {
		return v.out
	}
	v.capacity()
	v.move()
	v.release()
	if len(v.out.Actions) == 0 && len(v.exits) == 0 {
		v.finish()
	}
	return v.out
}

// tick is one call of Next.
type tick struct {
	plan    *Plan
	s       *fleet.Snapshot
	ix      *index
	isExit  map[string]bool      // instances of the plan's exits
	leaving map[string]bool      // their nodes
	exits   []exit               // exits not done yet
	noRoom  map[string]bool      // exits whose pods fit nowhere now, by instance
	begun   map[string]bool      // exits that begin to leave service in this tick, by instance
	moving  map[string]bool      // pods that the plan moves, by UID
	surged  map[fleet.Owner]bool // workloads that get a replica more in this tick
	out     Step
}

// exit is an Exit with what the snapshot shows of it.
type exit struct {
	Exit
	node  *fleet.Node // nil when it never registered
	group *fleet.Group
	in    *fleet.Instance
	pods  []*fleet.Pod // those that have to move and have not left, terminating ones included
	moved bool         // some planned pod has left already
}

func (v *tick) do(a fleet.Action) {
	a.Run = v.plan.Run
	v.out.Actions = append(v.out.Actions, a)
}

func (v *tick) hold(subject, format string, args ...any) {
	v.out.Holds = append(v.out.Holds, fleet.Hold{Subject: subject, Reason: fmt.Sprintf(format, args...)})
}

// frame checks that the world is still the one the plan was made for.
func (v *tick) frame() string {
	for i := range v.plan.Groups {
		gp := &v.plan.Groups[i]
		g := v.s.Group(gp.Name)
		switch {
		case g == nil:
			return fmt.Sprintf("group %s no longer exists: somebody deleted it while it was being rotated", gp.Name)
		case g.Mark != nil && g.Mark.Run != v.plan.Run:
			return fmt.Sprintf("group %s now carries the mark of run %s, this is run %s", g.Name, g.Mark.Run, v.plan.Run)
		case !sameTemplates(g.Wants, gp.Wants):
			return fmt.Sprintf("group %s now launches %s, the plan was made for %s: plan again", g.Name, printTemplates(g.Wants), printTemplates(gp.Wants))
		}
	}
	return ""
}

func sameTemplates(a, b []fleet.Template) bool { return printTemplates(a) == printTemplates(b) }

func printTemplates(ts []fleet.Template) string {
	var out []string
	for _, t := range ts {
		word := t.String()
		if len(t.Types) > 0 {
			word += " for " + strings.Join(t.Types, ",")
		}
		out = append(out, word)
	}
	return strings.Join(out, " and ")
}

// look finds where each exit stands.
func (v *tick) look() {
	planned := map[string]int{}
	for _, m := range v.plan.Moves {
		planned[m.From]++
		v.moving[m.Pod.UID] = true
	}
	for _, e := range v.plan.Exits {
		at := v.ix.instance[e.Instance]
		x := exit{Exit: e, node: v.ix.node[e.Node], group: at.group, in: at.in}
		if x.node != nil && e.Instance != "" && x.node.Instance != e.Instance {
			x.node = nil // a new node has the old one's name: names come from addresses, and those come again
		}
		if x.node == nil {
			x.node = v.ix.nodeOf[e.Instance]
		}
		if e.Instance != "" {
			v.isExit[e.Instance] = true
		}
		if x.node != nil {
			v.leaving[x.node.Name] = true
			x.pods = v.ix.movable(x.node)
			x.moved = len(x.pods) < planned[x.node.Name]
		}
		if !x.done() {
			v.exits = append(v.exits, x)
		}
	}
}

// done tells whether nothing is left to do for an exit.
func (x *exit) done() bool {
	if x.Release {
		return x.in == nil || x.in.Leaving()
	}
	return x.node == nil || x.node.Mark() != nil && x.node.Mark().Effect == fleet.NoSchedule && len(x.pods) == 0
}

// left counts the exits of a group that its desired capacity still counts.
func (v *tick) left(group string) int {
	n := 0
	for i := range v.exits {
		if v.exits[i].Group == group {
			n++
		}
	}
	return n
}

// prepare journals, suspends and marks. Nothing else happens before all of it is visible.
func (v *tick) prepare() {
	for i := range v.plan.Groups {
		gp := &v.plan.Groups[i]
		g := v.s.Group(gp.Name)
		left := v.left(g.Name)
		if g.Mark == nil {
			if left > 0 {
				v.do(fleet.Action{Verb: fleet.Journal, Group: g.Name, Mark: v.firstMark(g, gp, left), Why: "prior values first"})
			}
			continue
		}
		for _, process := range g.Mark.Suspended {
			if left > 0 && !g.IsSuspended(process) {
				v.do(fleet.Action{Verb: fleet.Suspend, Group: g.Name, Process: process, Why: "it would end instances that nobody emptied"})
			}
		}
	}
	if len(v.out.Actions) > 0 {
		return
	}
	for i := range v.exits {
		v.markExit(&v.exits[i])
	}
}

// markExit puts the run's taint on a node: soft at first where a replacement is to come, and never softer than it is, as when a person has
// drained the node before.
func (v *tick) markExit(e *exit) {
	if e.node == nil {
		return
	}
	effect, why := fleet.NoSchedule, e.Why
	if e.Replace {
		effect, why = fleet.PreferNoSchedule, "is leaving; soft until there is room elsewhere"
	}
	m := e.node.Mark()
	if m != nil && m.Effect == fleet.NoSchedule {
		effect = fleet.NoSchedule
	}
	if m == nil || m.Value != v.plan.Run || m.Effect != effect {
		v.taint(e.node, effect, why)
	}
}

func (v *tick) firstMark(g *fleet.Group, gp *GroupPlan, left int) *fleet.GroupMark {
	m := &fleet.GroupMark{Run: v.plan.Run, At: v.plan.At, Criterion: gp.Criterion, Desired: g.Desired, From: g.Desired, Set: g.Desired, Left: left, Surge: gp.Surge}
	if !g.IsSuspended(fleet.AZRebalance) {
		m.Suspended = []string{fleet.AZRebalance}
	}
	return m
}

func (v *tick) taint(n *fleet.Node, effect, why string) {
	v.do(fleet.Action{Verb: fleet.Taint_, Node: n.Name, Effect: effect, Why: why})
}
