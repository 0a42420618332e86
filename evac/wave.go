package evac

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// Notices plans the departures on file. Unlike a person's plan it is no approved bound: whoever runs the controller has approved what AWS decides,
// so it is made anew from each snapshot.
func Notices(s *fleet.Snapshot, p fleet.Policy) Plan {
	plan := Plan{Run: fleet.NoticeRun, At: s.Now, Policy: &p}
	for i := range s.Cases {
		if c := &s.Cases[i]; c.Open() {
			plan.Exits = append(plan.Exits, Exit{Departure: c.Departure})
		}
	}
	return plan
}

const (
	margin     = 5 * time.Second  // between the last moment of a pod and that of its machine
	together   = 10 * time.Second // how long after its notice a node that cannot be shut holds up the others' pods
	unplaced   = 3 * time.Minute  // how long a pod waits for room before it goes without, so that an autoscaler sees it
	surgeNeeds = 3 * time.Minute  // what a replacement that comes first takes, at least
	forgotten  = 15 * time.Minute // how long the Node object of a machine that is gone keeps its case open
)

// stage is where a case stands.
type stage int

const (
	idle      stage = iota // nothing to do yet
	resting                // closed to new pods, nothing else
	leaving                // its pods move, and then its hook is answered
	returning              // nothing holds any more: it is as before
	gone                   // its machine is
)

// goer is a case with what the snapshot shows of it.
type goer struct {
	exit
	c     *fleet.Case
	stage stage
	shut  bool
}

// nextWave is Next for departures that AWS gave notice of. All of them are shut before the first pod of any moves, the ones with the nearest deadline
// come first, and no deadline passes with a pod that was not told to stop.
func (v *tick) nextWave() Step {
	w := &wave{tick: v, policy: *v.plan.Policy}
	w.find()
	w.beat()
	w.admit(false)
	if why, since := v.stopped(); why != "" {
		v.out.Holds = append(v.out.Holds, fleet.Hold{Subject: v.subject(), Reason: why, Since: since})
		return w.told()
	}
	w.admit(true)
	for i := range w.goers {
		switch g := &w.goers[i]; g.stage {
		case idle, resting:
			w.replace(g)
		case returning:
			w.giveBack(g)
		case gone:
			w.bury(g)
		}
	}
	w.forcedOnly = !w.shutAll()
	w.move()
	v.unsurgeGone()
	for i := range w.goers {
		if g := &w.goers[i]; g.stage == leaving {
			w.release(g)
		}
	}
	return w.told()
}

// told is the step, with how far each case is.
func (w *wave) told() Step {
	why := make(map[string]string, len(w.out.Holds))
	for _, h := range w.out.Holds {
		why[h.Subject] = h.Reason
	}
	for i := range w.goers {
		g := &w.goers[i]
		p := fleet.ExitProgress{Departure: g.c.Departure, Phase: g.phase(), Pods: len(g.pods), Waiting: why["node "+g.Name()]}
		for j := 0; j < len(g.pods) && p.Waiting == ""; j++ {
			for _, subject := range []string{"pod " + g.pods[j].Ref.String(), laneOf(g.pods[j]).String()} {
				if reason := why[subject]; reason != "" && p.Waiting == "" {
					p.Waiting = subject + " " + reason
				}
			}
		}
		w.out.Standing = append(w.out.Standing, p)
	}
	return w.out
}

// phase is where a case stands, in the words that runs use.
func (g *goer) phase() fleet.ExitPhase {
	switch {
	case g.stage == gone:
		return fleet.ExitGone
	case g.stage == returning:
		return fleet.ExitReturned
	case g.stage != leaving || !g.shut && g.node != nil:
		return fleet.ExitWaiting
	case len(g.pods) > 0:
		return fleet.ExitEmptying
	}
	return fleet.ExitLeaving
}

type wave struct {
	*tick
	policy fleet.Policy
	goers  []goer

	rushes map[lane]*rush

	forcedOnly bool // a node that was noticed a moment ago still takes pods: none moves that need not
}

// find finds where each case stands, the nearest deadline first.
func (w *wave) find() {
	w.leaving = map[string]bool{}
	for i := range w.s.Cases {
		c := &w.s.Cases[i]
		if !c.Open() {
			continue
		}
		at := w.ix.instance[c.Instance]
		g := goer{c: c, exit: exit{Exit: &Exit{Departure: c.Departure}, node: w.ix.nodeOf[c.Instance], group: at.group, in: at.in}}
		if g.node != nil {
			g.Node = g.node.Name
			g.seat = w.ix.seat(g.node.Name)
			g.has = w.ix.resident(g.node, g.seat)
			g.pods = g.has.pods
		}
		g.stage = w.stageOf(&g)
		if g.node != nil && (g.stage == leaving || g.stage == resting) {
			w.leaving[g.node.Name] = true
		}
		w.goers = append(w.goers, g)
	}
	slices.SortStableFunc(w.goers, func(a, b goer) int {
		return cmp.Or(cmp.Compare(b2i(a.c.Deadline.IsZero()), b2i(b.c.Deadline.IsZero())), a.c.Deadline.Compare(b.c.Deadline), a.c.Opened.Compare(b.c.Opened), strings.Compare(a.c.Instance, b.c.Instance))
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (w *wave) stageOf(g *goer) stage {
	held := slices.ContainsFunc(g.c.Signals, func(k fleet.Signal) bool { return k.Ended.IsZero() })
	switch {
	case w.dead(g):
		return gone
	case !held:
		return returning
	case g.c.Pressing(w.s.Now) || g.in != nil && g.in.Leaving():
		return leaving
	case g.c.Marks.Rotation != "" && g.node != nil && g.node.Mark() == nil:
		return resting // until its run has it, which is now
	case g.c.Marks.Rotation != "" && w.s.Rotation(g.c.Marks.Rotation) != nil:
		return idle
	case g.c.Holds(fleet.Rebalance) != nil && w.policy.Rebalance != fleet.AdviceIgnore:
		return resting
	}
	return idle
}

// dead tells whether EC2 says that the machine is gone. What it has not been asked about is taken to run.
func (w *wave) dead(g *goer) bool {
	for _, m := range w.s.Machines {
		if m.ID == g.c.Instance {
			return m.State == fleet.MachineGone || m.State == fleet.MachineUnknown
		}
	}
	return false
}

// beat has hooks hold their instances longer: all that are waiting, whether or not their turn has come.
func (w *wave) beat() {
	for i := range w.goers {
		g := &w.goers[i]
		if g.in == nil || !g.c.Waits(g.in) || g.stage == gone {
			continue
		}
		for _, name := range unanswered(g.group, g.in, g.c) {
			w.heartbeat(g.group, g.in, g.Name(), name, g.c.Waiting(name))
		}
	}
}

// heartbeat renews a wait when a third of the hook's time is over. After a restart nobody knows when the last one was: then at once, unless the wait
// itself is known to be that young.
func (w *wave) heartbeat(g *fleet.Group, in *fleet.Instance, node, name string, since time.Time) {
	every := 20 * time.Minute // a third of what a hook has that nobody configured
	if h := g.Hook(name); h != nil && h.Heartbeat > 0 {
		every = h.Heartbeat / 3
	}
	last := in.Wait(name).Beat
	if last.Before(since) {
		last = since
	}
	if w.s.Now.Sub(last) >= every {
		w.do(fleet.Action{Verb: fleet.Heartbeat, Group: g.Name, Instance: in.ID, Node: node, Hook: name, Why: "its hook is to wait longer"})
	}
}

// admit answers launch hooks: an instance goes into service when its node is Ready. Until then, or when it may not answer, it has them wait.
func (w *wave) admit(mayAnswer bool) {
	for i := range w.s.Groups {
		g := &w.s.Groups[i]
		hooks := g.Ours(nil, true)
		if len(hooks) == 0 || !w.s.Owns(g) {
			continue
		}
		for j := range g.Instances {
			in := &g.Instances[j]
			c := w.s.Case(in.ID)
			pooled := in.Lifecycle == fleet.WarmedWait && (c == nil || !c.Open() || !c.Waits(in))
			if in.Lifecycle != fleet.PendingWait && !pooled {
				continue
			}
			n := w.ix.nodeOf[in.ID]
			result, why := w.joined(g, in, n, pooled)
			for _, h := range hooks {
				switch {
				case !mayAnswer && result == "":
					w.hold("instance "+in.ID, "is held by hook %s: %s", h, why)
					fallthrough
				case !mayAnswer:
					w.heartbeat(g, in, nameOf(n, in), h, time.Time{})
				case result != "" && !in.Wait(h).Answered:
					w.do(fleet.Action{Verb: fleet.Complete, Group: g.Name, Instance: in.ID, Node: nameOf(n, in), Hook: h, Result: result, Why: why})
				}
			}
		}
	}
}

// joined says how the launch hooks of an instance are to be answered, "" while they are not, and why. How long it has been waiting is counted from when
// this process first saw it: when it was launched says nothing of one that comes from a warm pool.
func (w *wave) joined(g *fleet.Group, in *fleet.Instance, n *fleet.Node, pooled bool) (result, why string) {
	took := time.Duration(0)
	if !in.Joining.IsZero() {
		took = w.s.Now.Sub(in.Joining)
	}
	late := w.policy.Join > 0 && took > w.policy.Join
	lacks, registers := notJoined(n), registering(g, in)
	switch {
	case pooled:
		return fleet.Continue, "it goes to the warm pool, where it serves nobody"
	case lacks == "" && (registers == "" || late):
		return fleet.Continue, "its node is Ready"
	case lacks != "" && late:
		return fleet.Abandon, fmt.Sprintf("%s, %s after it was launched", lacks, took.Round(time.Second))
	case lacks != "":
		return "", lacks
	}
	return "", registers
}

// registering says in which target group a new instance is on its way to be healthy. Auto Scaling registers it in the group's own only after its launch
// hooks; those that a controller in the cluster fills may know it already, and one of them may call a node without pods unhealthy.
func registering(g *fleet.Group, in *fleet.Instance) string {
	for _, tg := range g.Targets {
		if in.Target(tg.ARN) == fleet.TargetInitial {
			return "it is " + fleet.TargetInitial + " in target group " + tg.Name
		}
	}
	return ""
}

// notJoined says what the node of a new instance lacks.
func notJoined(n *fleet.Node) string {
	switch {
	case n == nil:
		return "it has not registered as a node yet"
	case !n.Ready:
		return "its node is not Ready yet"
	case n.Starting():
		return "its node still carries a start-up taint"
	}
	return ""
}

// shutAll shuts the whole wave, and tells whether pods may move: not while a node that was noticed a moment ago still takes pods.
func (w *wave) shutAll() bool {
	all := true
	for i := range w.goers {
		g := &w.goers[i]
		if g.node == nil || g.stage != leaving && g.stage != resting {
			continue
		}
		m := g.node.Mark()
		g.shut = m != nil && (g.stage == resting || m.Effect == fleet.NoSchedule && g.node.Excluded)
		if g.stage == leaving {
			w.deregister(g)
		}
		switch {
		case g.shut:
			continue
		case g.stage == resting: // softly: EC2 may recommend to leave all nodes of a group at once
			w.taint(g.node, fleet.PreferNoSchedule, g.c.Why)
		default:
			w.do(fleet.Action{Verb: fleet.Shut, Node: g.node.Name, Instance: g.c.Instance, Why: g.c.Why})
		}
		if w.s.Now.Sub(g.c.Since()) < together {
			all = false
		}
	}
	return all
}

// deregister takes an instance out of the target groups that Auto Scaling put it in. One that Auto Scaling itself ends, it takes out itself.
func (w *wave) deregister(g *goer) {
	if g.in == nil || g.in.Lifecycle != fleet.InService {
		return
	}
	for _, arn := range attached(g.group) {
		if state := g.in.Target(arn); state != fleet.TargetUnused && state != fleet.TargetDraining {
			w.do(fleet.Action{Verb: fleet.Deregister, Instance: g.c.Instance, Node: g.Name(), Group: g.group.Name, Target: arn, Why: g.c.Why})
		}
	}
}

// move lets the pods of shut nodes go: by their lanes while there is time, past everything at the last moment at which they still have theirs.
func (w *wave) move() {
	r := newRoom(w.ix, w.leaving)
	w.count()
	lanes := map[lane]*gate{}
	for i := range w.goers {
		g := &w.goers[i]
		if g.stage != leaving || !g.shut {
			continue
		}
		for j, p := range g.pods {
			w.pod(g, p, g.has.loads[j].of, r, lanes)
		}
	}
	for _, l := range slices.SortedFunc(maps.Keys(lanes), lane.compare) {
		if o := lanes[l]; o.waiting > 0 {
			w.hold(o.lane, "%s; %s", o.why, plural(o.waiting, "pod waits", "pods wait"))
		}
	}
}

// pod takes the next step for one pod.
func (w *wave) pod(g *goer, p *fleet.Pod, of *workload, r *room, lanes map[lane]*gate) {
	name := "pod " + p.Ref.String()
	switch grace, forced := w.grace(g, p); {
	case p.Terminating:
		w.hold(name, "is shutting down on %s, has %s for it", g.Name(), p.Grace)
	case forced && !p.Finished:
		w.do(fleet.Action{Verb: fleet.Delete, Pod: p.Ref, Node: g.node.Name, Grace: grace, Why: w.whyForced(g, p, grace)})
	case w.rides(g, p):
		w.hold(name, "came to %s after it was shut, and tolerates that: it goes with its node", g.Name())
	case w.forcedOnly:
	case p.Finished:
		w.do(fleet.Action{Verb: fleet.Evict, Pod: p.Ref, Node: g.node.Name, Why: "finished: removed with its node"})
	case p.Refused != "":
		w.hold(name, "stays on %s: %s", g.Name(), p.Refused)
	case p.Owner.Kind == "":
		w.hold(name, "on %s has no controller: nobody recreates it, so it stays as long as it can", g.Name())
	case w.surges(p, of) && w.timeFor(g, p):
		for _, a := range w.surge(&g.exit, p) {
			w.do(a)
		}
	default:
		w.evict(g, p, r, lanes)
	}
}

// evict lets a pod go as its lane and the room elsewhere allow.
func (w *wave) evict(g *goer, p *fleet.Pod, r *room, lanes map[lane]*gate) {
	if why := w.awaits(g); why != "" {
		w.hold("node "+g.Name(), "waits for its replacement: %s", why)
		return
	}
	if _, no := r.place(p); no != "" && w.waitsForRoom(g) {
		w.hold("pod "+p.Ref.String(), "on %s waits for room: %s", g.Name(), no)
		return
	}
	l := laneOf(p)
	o := lanes[l]
	if o == nil {
		o = &gate{opening: w.hurried(l, p), lane: l.String()}
		lanes[l] = o
	}
	switch {
	case !p.Ready && o.spare:
	case o.free > 0:
		o.free--
	default:
		o.waiting++
		return
	}
	w.do(fleet.Action{Verb: fleet.Evict, Pod: p.Ref, Node: g.node.Name, Why: g.c.Why})
}

// replace has the group launch another node in the place of one that leaves time for it. The hook holds the old one until its pods have found room there:
// nothing of the group's settings has to change, and Auto Scaling launches in the zone that loses one.
func (w *wave) replace(g *goer) {
	m := g.c.Marks
	if m.Rotation != "" || m.Replaced.IsZero() || w.s.Now.Sub(m.Replaced) > replaceFor || g.in == nil || g.in.Lifecycle != fleet.InService {
		return
	}
	for _, h := range g.group.Ours(nil, false) {
		w.do(fleet.Action{Verb: fleet.Replace, Group: g.group.Name, Instance: g.c.Instance, Node: g.Name(), Hook: h, Why: g.c.Why})
		return
	}
}

// replaceFor is how long a replacement that was decided may be asked for; then it is decided anew.
const replaceFor = 5 * time.Minute

// awaits says what new node of its group a node that is replaced first waits for before its pods move; "" when for none. Whoever else has AWS end a node
// that works, its pods leave as soon as there is room for them anywhere.
func (w *wave) awaits(g *goer) string {
	if g.c.Marks.Replaced.IsZero() || g.group == nil || g.in == nil || !g.in.Leaving() || w.s.Now.Sub(g.c.Since()) > 3*unplaced || w.short(g) {
		return ""
	}
	if missing := g.group.Desired - counted(g.group); missing > 0 {
		return fmt.Sprintf("group %s launches %s first", g.group.Name, plural(missing, "node", "nodes"))
	}
	for i := range g.group.Instances {
		in := &g.group.Instances[i]
		if !in.Counted() || in.Launched.Before(g.c.Opened.Add(-3*unplaced)) {
			continue
		}
		if why := notArrived(g.group, in, w.ix.nodeOf[in.ID]); why != "" {
			return "new instance " + in.ID + " " + why
		}
	}
	return ""
}

// short tells whether a case has no time to wait for a new node.
func (w *wave) short(g *goer) bool {
	return !g.c.Deadline.IsZero() && g.c.Deadline.Sub(w.s.Now) < 6*unplaced
}

// rush is the pods of a lane that have to leave before a deadline.
type rush struct {
	pods int
	left time.Duration // to the nearest deadline
}

// count counts the pods of each workload without a budget that have to leave before a deadline.
func (w *wave) count() {
	w.rushes = map[lane]*rush{}
	for i := range w.goers {
		g := &w.goers[i]
		if g.stage != leaving || g.c.Deadline.IsZero() || w.keeps(g) {
			continue
		}
		left := max(g.c.Deadline.Sub(w.s.Now)-margin, time.Second)
		for _, p := range g.pods {
			l := laneOf(p)
			if l.kind != laneWorkload || p.Terminating {
				continue
			}
			x := w.rushes[l]
			if x == nil {
				x = &rush{left: left}
				w.rushes[l] = x
			}
			x.pods++
			x.left = min(x.left, left)
		}
	}
}

// hurried is what a lane allows. That few pods of a workload without a budget move at once is drover's courtesy: where it would not let all of them leave
// in half of the time that there is, as many move as that takes.
func (w *wave) hurried(l lane, p *fleet.Pod) opening {
	o := w.ix.opening(l, p)
	x := w.rushes[l]
	if x == nil {
		return o
	}
	turns := max(1, int(x.left/2/max(w.ix.each(p), time.Second)))
	if need := (x.pods + o.away + turns - 1) / turns; need-o.away > o.free {
		o.free = need - o.away
		o.why = fmt.Sprintf("%s; %d at a time, so that %s leave in %s", o.why, need, plural(x.pods, "pod", "pods"), x.left.Round(time.Second))
	}
	return o
}

// grace is how long a pod may take to stop, and whether now is the last moment to tell it: its own time, or what is left of it, still fits.
func (w *wave) grace(g *goer, p *fleet.Pod) (grace time.Duration, forced bool) {
	if g.c.Deadline.IsZero() || w.keeps(g) {
		return 0, false
	}
	left := g.c.Deadline.Sub(w.s.Now) - margin
	if w.hard(g, left) < left {
		left = w.hard(g, left)
	}
	if p.Grace < left {
		if last := w.s.Now.Add(left - p.Grace); w.out.Again.IsZero() || last.Before(w.out.Again) {
			w.out.Again = last
		}
		return 0, false
	}
	return max(time.Second, min(p.Grace, w.hard(g, p.Grace))).Truncate(time.Second), true
}

// hard is how long a pod has until its machine goes whatever anybody does: only that cuts its own time short, not the policy's patience.
func (w *wave) hard(g *goer, otherwise time.Duration) time.Duration {
	end := g.c.End(g.group, g.in)
	if end.IsZero() {
		return otherwise
	}
	return end.Sub(w.s.Now) - margin
}

func (w *wave) whyForced(g *goer, p *fleet.Pod, grace time.Duration) string {
	left := max(0, g.c.Deadline.Sub(w.s.Now).Truncate(time.Second))
	if grace < p.Grace {
		return fmt.Sprintf("%s; its machine goes in %s, it wants %s to stop", g.c.Why, left, p.Grace)
	}
	return fmt.Sprintf("%s; its machine goes in %s, the last moment for a pod that may take %s to stop", g.c.Why, left, p.Grace)
}

// keeps tells whether a deadline that is only the policy's does not end the node: its group retains what is abandoned, and it empties in peace.
func (w *wave) keeps(g *goer) bool {
	return w.policy.Retain && g.group != nil && g.group.Retains && g.c.Holds(fleet.SpotInterruption, fleet.ScheduledChange, fleet.CapacityBlock, fleet.CapacityReservation) == nil
}

// rides tells whether a pod came after its node was shut because it tolerates that: moved, it would only come back.
func (w *wave) rides(g *goer, p *fleet.Pod) bool {
	t := fleet.Taint{Key: fleet.TaintKey, Value: fleet.NoticeRun, Effect: fleet.NoSchedule}
	return p.Tolerates(t) && p.Created.After(g.c.Since()) && !p.Finished
}

// timeFor tells whether a pod's replacement may come first.
func (w *wave) timeFor(g *goer, p *fleet.Pod) bool {
	return g.c.Deadline.IsZero() || w.keeps(g) || g.c.Deadline.Sub(w.s.Now) > p.Grace+surgeNeeds
}

// waitsForRoom tells whether a pod that fits nowhere stays a while: until new capacity is there, or long enough that only a pod without a node will
// bring any.
func (w *wave) waitsForRoom(g *goer) bool {
	if w.s.Now.Sub(g.c.Since()) < unplaced {
		return true
	}
	return w.s.Now.Sub(g.c.Since()) < 3*unplaced && g.group != nil && slices.ContainsFunc(g.group.Instances, func(in fleet.Instance) bool {
		return in.Counted() && notArrived(g.group, &in, w.ix.nodeOf[in.ID]) != ""
	})
}

// release answers the hooks of a node that has nothing left to move, or no time.
func (w *wave) release(g *goer) {
	left := w.staying(g)
	late := w.late(g, left)
	switch {
	case (len(left) > 0 || g.node != nil && !g.shut) && !late:
		return
	case g.in == nil:
		return // no group's, or no longer: it goes as whoever ends it says
	case !late:
		if why := w.attachedYet(g); why != "" {
			w.hold("node "+g.Name(), "is empty; %s", why)
			return
		}
	}
	switch {
	case g.c.Waits(g.in):
		w.answer(g, len(left))
	case g.in.Lifecycle == fleet.Retained:
		if len(left) == 0 {
			w.do(fleet.Action{Verb: fleet.Terminate, Group: g.group.Name, Instance: g.c.Instance, Node: g.Node, Expect: fleet.Expect{Empty: g.node != nil && len(g.pods) == 0}, Why: "it was retained until it was empty"})
		}
	case g.in.Lifecycle == fleet.InService:
		if len(left) == 0 {
			w.hold("node "+g.Name(), "is empty; %s", g.c.Why)
		}
	}
}

// late tells whether a hook is to be answered whatever is still on its node: the machine goes anyway, or the pods have had the policy's time and then
// their own.
func (w *wave) late(g *goer, left []*fleet.Pod) bool {
	if end := g.c.End(g.group, g.in); !end.IsZero() && !w.s.Now.Before(end.Add(-margin/2)) {
		return true
	}
	if g.c.Deadline.IsZero() {
		return false
	}
	last := g.c.Deadline
	if !w.keeps(g) {
		for _, p := range left {
			told := p.Grace + margin
			if !p.Terminating {
				told += untold // nobody led, or its deletion is refused
			}
			if at := g.c.Deadline.Add(told); at.After(last) {
				last = at
			}
		}
	}
	return !w.s.Now.Before(last)
}

// untold is how much longer than its deadline a node waits for a pod that was not told to stop yet.
const untold = 10 * time.Minute

// staying are the pods that keep a node from being empty. A pod whose time to stop is long over runs no more, whatever holds its object.
func (w *wave) staying(g *goer) []*fleet.Pod {
	return slices.DeleteFunc(slices.Clone(g.pods), func(p *fleet.Pod) bool {
		over := p.Terminating && !p.Deleted.IsZero() && w.s.Now.Sub(p.Deleted) > confirmation
		return over || w.rides(g, p)
	})
}

// answer completes the hooks that drover answers for.
func (w *wave) answer(g *goer, left int) {
	if len(g.group.Ours(g.c, false)) == 0 {
		w.hold("node "+g.Name(), "is empty; the hook that holds it is not drover's to answer")
	}
	result, why := fleet.Continue, "no pod is left that has to move"
	if left > 0 {
		why = plural(left, "pod is", "pods are") + " still there, and its time is over"
		if w.keeps(g) {
			result = fleet.Abandon
		}
	}
	w.complete(g, result, why, g.node != nil && len(g.pods) == 0)
}

// unanswered are drover's hooks that may hold an instance still. Others' may hold it longer than they do.
func unanswered(group *fleet.Group, in *fleet.Instance, c *fleet.Case) []string {
	return slices.DeleteFunc(group.Ours(c, false), func(h string) bool { return in.Wait(h).Answered })
}

func (w *wave) complete(g *goer, result, why string, empty bool) {
	for _, h := range unanswered(g.group, g.in, g.c) {
		w.do(fleet.Action{Verb: fleet.Complete, Group: g.group.Name, Instance: g.c.Instance, Node: g.Node, Hook: h, Result: result, Expect: fleet.Expect{Empty: empty}, Why: why})
	}
}

// attachedYet says what besides pods is still on its way off a node.
func (w *wave) attachedYet(g *goer) string {
	for _, tg := range g.group.Targets {
		if g.in.Target(tg.ARN) == fleet.TargetDraining {
			return fmt.Sprintf("target group %s lets its last requests finish (up to %s)", tg.Name, tg.Delay)
		}
	}
	return stillAttached(g.node)
}

// giveBack makes a node whose notices were all taken back what it was before.
func (w *wave) giveBack(g *goer) {
	before := len(w.out.Actions)
	if g.node != nil {
		w.restoreNode(g.node, g.c.Drained)
	}
	if g.in != nil && g.in.Lifecycle == fleet.InService {
		for _, arn := range attached(g.group) {
			if state := g.in.Target(arn); (slices.Contains(g.c.Targets, arn) || g.c.Group == "") && (state == fleet.TargetUnused || state == fleet.TargetDraining) {
				w.do(fleet.Action{Verb: fleet.Register, Group: g.group.Name, Instance: g.c.Instance, Node: g.Name(), Target: arn, Why: "it stays after all"})
			}
		}
	}
	if len(w.out.Actions) == before {
		w.end(g, "stays: no notice about it holds any more")
	}
}

// bury ends a case whose machine is gone. Kubernetes waits for a silent node; that it will never speak again, only the cloud knows.
func (w *wave) bury(g *goer) {
	n := g.node
	switch {
	case g.in != nil && g.c.Waits(g.in) && len(unanswered(g.group, g.in, g.c)) > 0:
		w.complete(g, fleet.Continue, "its machine is gone already", false)
	case n == nil && g.in != nil && !g.in.Leaving():
		w.hold("node "+g.Name(), "its machine is gone, and group %s has not noticed yet", g.Group)
	case n == nil:
		w.end(g, "gone")
	case n.Ready:
		w.hold("node "+n.Name, "its machine is gone, and Kubernetes has not noticed yet")
	case !slices.ContainsFunc(n.Taints, func(t fleet.Taint) bool { return t.Key == outOfService }):
		w.do(fleet.Action{Verb: fleet.OutOfService, Node: n.Name, Instance: g.c.Instance, Expect: fleet.Expect{Off: true}, Why: "EC2 says that its machine is gone"})
	case w.s.Now.Sub(n.Changed) > forgotten:
		w.end(g, "gone; its Node object is still there")
	default:
		w.hold("node "+n.Name, "its machine is gone; waits for its Node object to be deleted")
	}
}

// outOfService is Kubernetes' taint for a node that is off for good.
const outOfService = "node.kubernetes.io/out-of-service"

func (w *wave) end(g *goer, how string) {
	c := g.c.Clone()
	c.Marks.Ended, c.Marks.End, c.Log = w.s.Now, how, nil
	w.do(fleet.Action{Verb: fleet.File, Instance: c.Instance, Node: c.Node, Case: &c, Why: how})
}
