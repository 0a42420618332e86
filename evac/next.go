package evac

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// Step is what to do now. With no actions and not Done, Holds say why nothing happens.
type Step struct {
	Actions    []fleet.Action
	Holds      []fleet.Hold
	Exceptions []string // what could not be put back as it was, and why; filled when the run is about to end
	Done       bool
	Diverged   string               // the world left the plan's frame: stop, with this sentence
	Standing   []fleet.ExitProgress // how far each departure is that AWS gave notice of
	Again      time.Time            // when time alone asks for something else; zero when nothing that is known now does

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
	if p.Policy != nil {
		return newTick(&p, &s).nextWave()
	}
	return newTick(&p, &s).turn()
}

func (v *tick) next() Step {
	p, s := v.plan, v.s
	v.look()
	if v.out.Diverged = v.frame(); v.out.Diverged != "" {
		return v.out
	}
	for _, gp := range p.Groups {
		if g := s.Group(gp.Name); g == nil || g.Mark == nil {
			v.out.forgotten = append(v.out.forgotten, gp.Name)
		}
	}
	if why := v.troubled(); why != "" {
		v.hold(v.subject(), "%s", why)
		return v.out
	}
	if why, since := v.stopped(); why != "" {
		v.out.Holds = []fleet.Hold{{Subject: v.subject(), Reason: why, Since: since}}
		v.unlock()
		return v.out
	}
	if v.prepare(); len(v.out.Actions) > 0 {
		return v.out
	}
	if p.Back() && !v.giveBack() {
		return v.out
	}
	v.capacity()
	v.unsurgeGone()
	if v.watchCanary(); v.unhealthy() != "" && !p.Back() {
		v.hold(v.subject(), "%s; nothing moves until it is good again", v.unhealthy())
		v.keepOn()
	} else if !v.moved {
		v.moved = v.move()
		v.reweigh()
	}
	v.release()
	if len(v.out.Actions) == 0 && len(v.exits) == 0 && v.engaged() == "" && v.baked() {
		v.finish()
	}
	return v.out
}

func newTick(p *Plan, s *fleet.Snapshot) *tick {
	v := &tick{plan: p, outline: outlineOf(p)}
	v.renew(newIndex(s))
	return v
}

// renew makes a tick ready for the next call of next. What it keeps is where the exits are, as long as no machine came or went, and which of them
// had no room, as long as who may move is not to be asked again.
func (v *tick) renew(ix *index) {
	v.s, v.ix, v.out, v.canary = ix.s, ix, Step{}, ""
	v.begun, v.emptied, v.surged = map[string]bool{}, map[string]bool{}, map[fleet.Owner]bool{}
	v.lefts, v.closing, v.resized = map[string]int{}, map[string]int{}, map[string]bool{}
	v.weights, v.targets = map[string]*weight{}, map[string]*receivers{}
	if !v.moved {
		v.noRoom = map[string]bool{}
	}
}

// subject names the run, or the node of a drain.
func (v *tick) subject() string {
	if len(v.plan.Groups) == 0 && len(v.plan.Exits) == 1 {
		return "node " + v.plan.Exits[0].Name()
	}
	return "run " + v.plan.Run
}

// tick is one call of Next.
type tick struct {
	plan    *Plan
	s       *fleet.Snapshot
	ix      *index
	isExit  map[string]bool     // instances of the plan's exits
	leaving map[string]bool     // their nodes
	exits   []exit              // exits not done yet
	parked  []exit              // exits in Standby, kept there until the run is sure
	canary  string              // instance that alone may go now; "" when all may
	emptied map[string]bool     // exits of managed groups that only wait for the rest of their group, by instance
	noRoom  map[string]bool     // exits that will not be empty soon, for want of room or because a slow lane is on them, by instance
	begun   map[string]bool     // exits that begin to leave service in this tick, by instance
	quiet   bool                // nobody reads the holds
	moved   bool                // whoever may move now has been told so
	found   []exit              // all exits of the plan, where they were when built was the index's
	stayers map[string][]stayer // by group, as far as asked for; see staying
	foundIn *index
	built   int
	surged  map[fleet.Owner]bool // workloads that get a replica more in this tick
	out     Step

	lefts   map[string]int        // exits by group; see left
	weights map[string]*weight    // by group; see weigh
	targets map[string]*receivers // by target group; see receivers
	resized map[string]bool       // groups of which this tick changes the desired capacity
	closing map[string]int        // nodes that this tick takes out of their group, by group
	outline
}

// outline is a plan's moves by node.
type outline map[string]*sheet

// sheet is the moves from one node; nil for none.
type sheet struct {
	moves []Move
	uids  map[string]bool // nil until somebody asks
}

func (s *sheet) count() int {
	if s == nil {
		return 0
	}
	return len(s.moves)
}

// has tells whether a pod is among the moves.
func (s *sheet) has(p *fleet.Pod) bool {
	if s == nil {
		return false
	}
	if s.uids == nil {
		s.uids = make(map[string]bool, len(s.moves))
		for _, m := range s.moves {
			s.uids[m.Pod.UID] = true
		}
	}
	return s.uids[p.Ref.UID]
}

func outlineOf(p *Plan) outline {
	o := make(outline, len(p.Exits))
	for i, j := 0, 0; i < len(p.Moves); i = j {
		from := p.Moves[i].From
		for j < len(p.Moves) && p.Moves[j].From == from {
			j++
		}
		if s := o[from]; s != nil {
			s.moves = append(s.moves, p.Moves[i:j]...)
			continue
		}
		o[from] = &sheet{moves: p.Moves[i:j:j]}
	}
	return o
}

// exit is an Exit with what the snapshot shows of it.
type exit struct {
	*Exit
	node    *fleet.Node // nil when it never registered
	group   *fleet.Group
	in      *fleet.Instance
	seat    *seat        // nil without a node
	planned *sheet       // what was to move
	pods    []*fleet.Pod // those that have to move and have not left, terminating ones included
	has     *resident    // the same, with what they need; nil without a node
	held    bool         // somebody who may do so for long keeps a pod on it
	left    float64      // share of its planned pods that has not left
}

func (v *tick) do(a fleet.Action) {
	a.Run = v.plan.Run
	switch a.Verb {
	case fleet.Resize, fleet.Journal:
		v.resized[a.Group] = true
	case fleet.Terminate, fleet.Standby:
		v.closing[a.Group]++
	}
	v.out.Actions = append(v.out.Actions, a)
}

func (v *tick) hold(subject, format string, args ...any) {
	if !v.quiet {
		v.out.Holds = append(v.out.Holds, fleet.Hold{Subject: subject, Reason: fmt.Sprintf(format, args...)})
	}
}

// frame checks that the world is still the one the plan was made for, and that what the run does leads where it should.
func (v *tick) frame() string {
	for i := range v.plan.Groups {
		gp := &v.plan.Groups[i]
		g := v.s.Group(gp.Name)
		switch {
		case g == nil && (gp.Managed || v.plan.Back()):
			continue // deleted at its end, or nothing left to put back
		case g == nil:
			return fmt.Sprintf("group %s no longer exists: somebody deleted it while it was being rotated", gp.Name)
		case g.Mark != nil && g.Mark.Run != v.plan.Run:
			return fmt.Sprintf("group %s now carries the mark of run %s, this is run %s", g.Name, g.Mark.Run, v.plan.Run)
		case v.record() == nil && strange(v.ix, g) != "" && v.touches(g): // in the run's own cluster its record tells that it is the right one
			return "group " + g.Name + ": " + strange(v.ix, g)
		case v.plan.Back():
		case !sameTemplates(g.Wants, gp.Wants):
			return fmt.Sprintf("group %s now launches %s, the plan was made for %s; take it back with drover abort %s, then plan anew", g.Name, printTemplates(g.Wants), printTemplates(gp.Wants), g.Name)
		default:
			if why := v.circles(g); why != "" {
				return why
			}
		}
	}
	if r := v.record(); r != nil && r.Intent == fleet.Back && !v.plan.Back() {
		return "a person asked to take run " + r.Run + " back"
	}
	return v.twice()
}

// touches tells whether a machine that the plan names is still in a group. When none is, one that comes may well be no node yet.
func (v *tick) touches(g *fleet.Group) bool {
	return slices.ContainsFunc(v.plan.Exits, func(e Exit) bool { return g.Instance(e.Instance) != nil })
}

// troubled tells of a group that could not be read in full: what cannot be seen is not acted on. The way back does what it can.
func (v *tick) troubled() string {
	for _, gp := range v.plan.Groups {
		g := v.s.Group(gp.Name)
		switch {
		case g == nil || g.Trouble == "" || gp.Managed:
		case v.plan.Back() && g.Mark == nil && v.record() != nil && v.record().Marks.Undoing.IsZero(): // later, it is off because it was put back
			return fmt.Sprintf("group %s: %s; what the run changed on it may be hidden by that", g.Name, g.Trouble)
		case !v.plan.Back():
			return fmt.Sprintf("group %s: %s; nothing is changed until that is mended, or drover abort %s", g.Name, g.Trouble, g.Name)
		}
	}
	return ""
}

// circles tells of a replacement that is itself outdated: the run would never end.
func (v *tick) circles(g *fleet.Group) string {
	if g.Mark == nil || g.Managed != nil {
		return ""
	}
	for _, at := range v.staying(g) {
		in := at.in
		if in.Launched.IsZero() || in.Launched.Before(g.Mark.At) || in.Lifecycle != fleet.InService {
			continue
		}
		if why := g.Outdated(in); why != "" {
			return fmt.Sprintf("new instance %s of group %s is outdated itself (it %s): the run would go in circles", in.ID, g.Name, why)
		}
	}
	return ""
}

// twice tells of a pod that came to a node after it was closed to pods: it moved once, and would move again.
func (v *tick) twice() string {
	r := v.record()
	if r == nil || r.Marks.Moving.IsZero() || v.plan.Back() {
		return ""
	}
	closed := r.Marks.Moving.Add(scheduling)
	for i := range v.exits {
		if h := v.exits[i].has; h == nil || !h.newest.After(closed) {
			continue
		}
		for _, p := range v.exits[i].pods {
			if p.Created.After(closed) && !v.exits[i].planned.has(p) && !p.Finished && p.Owner.Kind != "" && !p.Tolerates(v.plan.taint()) {
				return fmt.Sprintf("pod %s came to node %s after the node was closed to pods: it would move twice; who placed it there?", p.Ref, v.exits[i].Name())
			}
		}
	}
	return ""
}

// scheduling is how long after a taint the scheduler may still bind a pod by what it knew before.
const scheduling = 15 * time.Second

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
	if v.foundIn != v.ix || v.built != v.ix.built || v.plan.Back() {
		v.locate()
	}
	v.exits, v.parked = v.exits[:0], v.parked[:0]
	for _, x := range v.found {
		if x.node != nil {
			x.has = v.ix.resident(x.node, x.seat)
			x.pods = x.has.pods
			x.held = slices.ContainsFunc(x.pods, func(p *fleet.Pod) bool { return p.Held })
			x.left = float64(len(x.pods)) / float64(max(len(x.pods), x.planned.count(), 1))
		}
		switch {
		case x.done():
		case x.in != nil && x.in.Parked() && v.plan.Record.Bake > 0:
			v.parked = append(v.parked, x)
		default:
			v.exits = append(v.exits, x)
			v.lefts[x.Group]++
		}
	}
}

// locate finds the machine of each exit.
func (v *tick) locate() {
	chosen := v.chosen()
	v.foundIn, v.built = v.ix, v.ix.built
	if v.found = v.found[:0]; v.isExit == nil {
		v.found, v.isExit, v.leaving = make([]exit, 0, len(chosen)), make(map[string]bool, len(chosen)), make(map[string]bool, len(chosen))
	}
	clear(v.isExit)
	clear(v.leaving)
	v.stayers = map[string][]stayer{}
	for i := range chosen {
		e := &chosen[i]
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
			x.seat, x.planned = v.ix.seat(x.node.Name), v.outline[x.node.Name]
		}
		v.found = append(v.found, x)
	}
}

// stayer is an instance of a group that is no exit, with its node: nil when it has none.
type stayer struct {
	in   *fleet.Instance
	node *fleet.Node
}

// staying are the instances of a group that are no exits.
func (v *tick) staying(g *fleet.Group) []stayer {
	out, known := v.stayers[g.Name]
	if known {
		return out
	}
	for i := range g.Instances {
		if in := &g.Instances[i]; !v.isExit[in.ID] {
			out = append(out, stayer{in, v.ix.nodeOf[in.ID]})
		}
	}
	v.stayers[g.Name] = out
	return out
}

// chosen are the plan's exits. On the way back it is the surplus of now: an instance that was being launched when the plan was made is part of
// it by the time it is there.
func (v *tick) chosen() []Exit {
	if v.plan.Back() {
		return surplus(v.ix, v.plan)
	}
	return v.plan.Exits
}

// done tells whether nothing is left to do for an exit.
func (x *exit) done() bool {
	if x.Release {
		return x.in == nil || x.in.Leaving()
	}
	return x.node == nil || x.node.Mark() != nil && x.node.Mark().Effect == fleet.NoSchedule && len(x.pods) == 0
}

// left counts the exits of a group that its desired capacity still counts.
func (v *tick) left(group string) int { return v.lefts[group] }

// prepare records, journals, suspends and marks. Nothing else happens before all of it is visible.
func (v *tick) prepare() {
	if v.recording(); len(v.out.Actions) > 0 {
		return
	}
	for i := range v.plan.Groups {
		gp := &v.plan.Groups[i]
		g := v.s.Group(gp.Name)
		if g == nil || gp.Managed || v.plan.Back() {
			continue
		}
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
	if len(v.out.Actions) > 0 || v.plan.Back() {
		return
	}
	for i := range v.exits {
		v.markExit(&v.exits[i])
	}
}

// recording writes the run's record before anything else, again if somebody deleted it, and the moment at which the way back began.
func (v *tick) recording() {
	if len(v.plan.Groups) == 0 {
		return
	}
	r := v.record()
	switch {
	case r == nil && (len(v.exits) > 0 || v.marked()):
		v.mark("the plan and what was before, first", func(*fleet.Marks) {})
	case r != nil && v.plan.Back() && r.Marks.Undoing.IsZero():
		if v.settleDesired(); len(v.out.Actions) > 0 {
			return
		}
		v.mark("the way back begins", func(m *fleet.Marks) { m.Undoing = v.s.Now })
	}
}

// beginMoving writes down that every old node is closed to pods by now, before the first one moves.
func (v *tick) beginMoving() bool {
	r := v.record()
	if r == nil || !r.Marks.Moving.IsZero() || v.plan.Back() {
		return false
	}
	v.mark("every old node is closed to pods", func(m *fleet.Marks) { m.Moving = v.s.Now })
	return true
}

// marked tells whether a group of the plan carries the run's mark.
func (v *tick) marked() bool {
	return slices.ContainsFunc(v.plan.Groups, func(gp GroupPlan) bool {
		g := v.s.Group(gp.Name)
		return g != nil && g.Mark != nil
	})
}

// mark writes a moment into the run's record.
func (v *tick) mark(why string, set func(*fleet.Marks)) {
	r := v.plan.Record
	if now := v.record(); now != nil {
		r = *now
	}
	set(&r.Marks)
	v.do(fleet.Action{Verb: fleet.Record, Rotation: &r, Why: why})
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
