package evac

import (
	"cmp"
	"fmt"
	"slices"

	"drover.dev/fleet"
)

// move lets pods go, lane by lane, as far as there is room for them elsewhere.
//
// Room is given out by whole nodes: an exit is open when everything still on it fits into what the exits before it leave over. Moving
// single pods off many nodes at once would fill the new nodes without ever emptying an old one, and a small surge would then wait for ever.
func (v *tick) move() {
	exits := v.byProgress()
	r := newRoom(v.ix, v.leaving)
	var open, shut []*exit
	unfit := map[*exit]string{}
	for _, e := range exits {
		if why := v.placeAll(r, e.pods); why != "" {
			unfit[e], v.noRoom[e.Instance] = why, true
			shut = append(shut, e)
			continue
		}
		open = append(open, e)
	}
	if len(open) == 0 && len(shut) > 0 && !v.capacityComing() {
		// Nothing fits whole and nothing more is coming: some progress is better than none, and the holds name the pods without room.
		open, shut = shut[:1], shut[1:]
	}
	var going []fleet.Action
	for _, e := range open {
		going = append(going, v.evictions(e, unfit[e] != "")...)
	}
	v.holdShut(shut, unfit)
	if len(going) == 0 {
		return
	}
	if v.harden() || v.beginMoving() {
		return
	}
	for _, a := range v.openLanes(going) {
		v.do(a)
	}
}

// holdShut says why nodes wait. While new capacity is on its way one sentence is enough for all of them.
func (v *tick) holdShut(shut []*exit, unfit map[*exit]string) {
	if len(shut) > 1 && v.capacityComing() {
		v.hold(fmt.Sprintf("%d nodes", len(shut)), "wait for room on new nodes, the first of them %s", shut[0].Name())
		return
	}
	for _, e := range shut {
		v.hold("node "+e.Name(), "waits for room: %s", unfit[e])
	}
}

// byProgress sorts nodes that have begun to empty first, then by the plan's order.
func (v *tick) byProgress() []*exit {
	var out []*exit
	for i := range v.exits {
		if len(v.exits[i].pods) > 0 && v.mayGo(&v.exits[i]) {
			out = append(out, &v.exits[i])
		}
	}
	slices.SortStableFunc(out, func(a, b *exit) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}

func rank(e *exit) int {
	if e.moved {
		return 0
	}
	return 1
}

// placeAll takes room for all pods of a node that still need some, or none of it. It returns the first pod that does not fit.
func (v *tick) placeAll(r *room, pods []*fleet.Pod) (why string) {
	try := r.clone()
	for _, p := range pods {
		if p.Terminating || p.Finished || p.Owner.Kind == "" || v.surging(p) {
			continue // its replacement already has its promise, or there will be none
		}
		if _, no := try.place(p); no != "" {
			return fmt.Sprintf("%s: %s", p.Ref, no)
		}
	}
	r.free = try.free
	return ""
}

// capacityComing tells whether a group of the plan has instances that are not there yet.
func (v *tick) capacityComing() bool {
	for i := range v.plan.Groups {
		g := v.s.Group(v.plan.Groups[i].Name)
		if v.plan.Groups[i].Managed {
			if v.copyComing(&v.plan.Groups[i]) {
				return true
			}
			continue
		}
		if v.plan.Back() || g.Mark == nil && v.left(g.Name) == 0 {
			continue // done with
		}
		if g.Mark == nil || v.wanted(g) > counted(g) {
			return true
		}
		for j := range g.Instances {
			in := &g.Instances[j]
			if !v.isExit[in.ID] && in.Counted() && !v.lame(g, in) && notArrived(g, in, v.ix.nodeOf[in.ID]) != "" {
				return true
			}
		}
	}
	return false
}

// evictions returns the evictions that would empty an exit; with partial, only those of pods that fit one by one.
func (v *tick) evictions(e *exit, partial bool) []fleet.Action {
	var r *room
	if partial {
		r = newRoom(v.ix, v.leaving)
	}
	var out []fleet.Action
	for _, p := range e.pods {
		if p.Terminating {
			v.hold("pod "+p.Ref.String(), "is shutting down on %s, has %s for it", e.Name(), p.Grace)
			continue
		}
		if why := v.mayNot(p); why != "" {
			v.hold("pod "+p.Ref.String(), "stays on %s: %s", e.Name(), why)
			continue
		}
		if partial && !p.Finished {
			if _, no := r.place(p); no != "" {
				v.hold("pod "+p.Ref.String(), "on %s: %s", e.Name(), no)
				continue
			}
		}
		if v.surges(p) {
			out = append(out, v.surge(e, p)...)
			continue
		}
		out = append(out, fleet.Action{Verb: fleet.Evict, Pod: p.Ref, Node: e.node.Name, Why: e.Why})
	}
	return out
}

// mayNot says why a pod is not to be evicted at all now: it came after the plan was made and would have been a problem then, or its eviction
// was refused a moment ago.
func (v *tick) mayNot(p *fleet.Pod) string {
	if p.Refused != "" {
		return p.Refused
	}
	if p.Finished || v.moving[p.Ref.UID] {
		return ""
	}
	if found := podFindings(v.ix, p, v.plan.taint(), v.plan.Force); len(found) > 0 {
		return found[0].Reason + "; " + found[0].Next
	}
	return ""
}

// harden turns drover's soft taints into hard ones, on all old nodes, before the first pod moves: a pod must not move to a node that is
// about to leave too. It reports whether anything was still soft.
func (v *tick) harden() bool {
	soft := false
	for i := range v.exits {
		n := v.exits[i].node
		if n == nil {
			continue
		}
		if t := n.Mark(); t != nil && t.Effect != fleet.NoSchedule {
			v.taint(n, fleet.NoSchedule, "there is room elsewhere now")
			soft = true
		}
	}
	return soft
}

// openLanes keeps the evictions that their lanes allow now.
func (v *tick) openLanes(going []fleet.Action) []fleet.Action {
	state := map[lane]*opening{}
	waiting := map[lane]int{}
	var order []lane
	var out []fleet.Action
	for _, a := range going {
		if a.Verb != fleet.Evict {
			out = append(out, a) // the surge mover has its own pace: one pod of a workload at a time, and none is missing
			continue
		}
		p := v.ix.byUID[a.Pod.UID]
		l := laneOf(p)
		o := state[l]
		if o == nil {
			fresh := v.paced(v.ix.opening(l, p))
			o, state[l], order = &fresh, &fresh, append(order, l)
		}
		switch {
		case !p.Ready && o.spare:
		case o.free > 0:
			o.free--
		default:
			waiting[l]++
			continue
		}
		if o.why != "" {
			a.Why = l.String() + ": " + o.why
		}
		out = append(out, a)
	}
	for _, l := range order {
		if n := waiting[l]; n > 0 {
			v.hold(l.String(), "%s; %s", state[l].why, plural(n, "pod waits", "pods wait"))
		}
	}
	return out
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
