package evac

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"drover.dev/fleet"
)

// move lets the pods of shut nodes go: by their lanes while there is time, past everything at the last moment at which they still have theirs.
func (w *wave) move() {
	r := newRoom(w.ix, w.leaving)
	w.count()
	lanes := map[lane]*gate{}
	w.kept = nil
	handled := map[string]bool{}
	for i := range w.goers {
		g := &w.goers[i]
		if g.stage != leaving || !g.shut {
			continue
		}
		if g.node != nil {
			handled[g.node.Name] = true
		}
		for j, p := range g.pods {
			w.pod(g, p, g.has.loads[j].of, r, lanes)
		}
	}
	w.ask(r, lanes, handled)
	for _, release := range w.keep(w.kept, !w.forcedOnly) {
		release()
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
	case w.ix.storeOf(p) != nil:
		k := kept{goal{p: p, node: g.node.Name, why: g.c.Why}, func() { w.evict(g, p, r, lanes) }}
		if !w.keeps(g) {
			k.until = g.c.Deadline
		}
		w.kept = append(w.kept, k)
	case !w.courted(p, g.node.Name, g.c.Why):
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
	if w.pass(p, lanes) {
		w.do(fleet.Action{Verb: fleet.Evict, Pod: p.Ref, Node: g.node.Name, Why: g.c.Why})
	}
}

// pass tells whether a pod's lane allows it to go now, and counts it.
func (w *wave) pass(p *fleet.Pod, lanes map[lane]*gate) bool {
	return through(lanes, p, func(l lane) opening { return w.hurried(l, p) })
}

// ask lets the pods go that somebody has asked for, whatever becomes of their nodes: those that a keeper or an operator moves. Whoever asks for any other
// pod can evict it.
func (w *wave) ask(r *room, lanes map[lane]*gate, handled map[string]bool) {
	for i := range w.s.Pods {
		p := &w.s.Pods[i]
		if !w.plan.asks(p) || handled[p.Node] || p.Node == "" {
			continue
		}
		why := "asked for by " + p.Asked.By
		release := func() {
			if _, no := r.place(p); no != "" && w.s.Now.Sub(p.Asked.At) < unplaced {
				w.hold("pod "+p.Ref.String(), "on %s waits for room: %s", p.Node, no)
				return
			}
			if w.pass(p, lanes) {
				w.do(fleet.Action{Verb: fleet.Evict, Pod: p.Ref, Node: p.Node, Why: why})
			}
		}
		switch {
		case p.Refused != "":
			w.hold("pod "+p.Ref.String(), "stays on %s: %s", p.Node, p.Refused)
		case w.ix.storeOf(p) != nil:
			w.kept = append(w.kept, kept{goal{p: p, node: p.Node, why: why}, release})
		case p.Courted != nil && w.courted(p, p.Node, why):
			release()
		}
	}
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
