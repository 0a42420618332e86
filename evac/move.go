package evac

import (
	"cmp"
	"fmt"
	"slices"

	"drover.dev/fleet"
)

// move lets pods go, lane by lane, as far as there is room for them elsewhere. Room is given out in this order:
//
//  1. In each group and zone, one node gets room for everything still on it. So some node always finishes, frees its place, and is replaced:
//     without that, single pods of many nodes would fill the new nodes, no old one would ever be empty, and a small surge would wait for ever.
//  2. Lanes that decide when the run is over send pods from whatever node they are on, and keep room for their next turn.
//  3. What is left opens more nodes, each as a whole, those with the least left on them first.
//
// It returns false when something has to be visible before anybody is told.
func (v *tick) move() bool {
	queues := v.queues()
	if len(queues) == 0 {
		v.keepOn()
		return true
	}
	r := newRoom(v.ix, v.leaving)
	r.quiet = v.quiet
	d := &door{r: r, open: map[*exit]bool{}, unfit: map[*exit]string{}, last: map[*fleet.Pod]string{}, ahead: map[*fleet.Pod]string{}}
	all := inTurn(queues)
	v.evictAll(d, v.reserve(d, queues))
	v.goAhead(d, all)
	v.evictAll(d, v.openMore(d, all))
	shut := slices.DeleteFunc(all, func(e *exit) bool { return d.open[e] })
	if len(d.open)+len(d.ahead) == 0 && !v.roomComing() {
		// Nothing fits whole and nothing more is coming: some progress is better than none, and the holds name the pods without room.
		v.evictions(shut[0], d)
		shut = shut[1:]
	}
	for _, e := range shut {
		v.noRoom[e.Instance] = true
	}
	v.holdShut(shut, d.unfit)
	before := len(v.out.Actions)
	v.keepStores(d)
	if len(d.going)+len(d.surges)+len(v.out.Actions)-before == 0 {
		return true
	}
	keeping := slices.Clone(v.out.Actions[before:])
	v.out.Actions = v.out.Actions[:before]
	if v.harden() || v.beginMoving() {
		return false
	}
	v.out.Actions = append(v.out.Actions, keeping...)
	for _, a := range d.surges { // the surge mover has its own pace: one pod of a workload at a time, and none is missing
		v.do(a)
	}
	v.openLanes(d)
	return true
}

// door is who may go in this tick.
type door struct {
	r      *room
	open   map[*exit]bool        // those with room for everything on them
	unfit  map[*exit]string      // why the others have none
	last   map[*fleet.Pod]string // pods that only fit when their node is gone, and why: they go last from it
	ahead  map[*fleet.Pod]string // pods that go although their node's turn has not come, and why
	going  []leaver              // as far as their lanes allow, the first first
	surges []fleet.Action
}

// leaver is a pod that may leave its node now.
type leaver struct {
	e *exit
	p *fleet.Pod
	x *load // its lane's; nil when it serves nobody
}

// queues are the exits with pods, by group and zone, in each those first of which most has left already, then those with the fewest pods. Zones that
// can lose a node without ending uneven come first, then those with the most nodes: there the new ones are.
func (v *tick) queues() [][]*exit {
	var out [][]*exit
	at := map[groupZone]int{}
	for i := range v.exits {
		e := &v.exits[i]
		if len(e.pods) == 0 || !v.mayGo(e) {
			continue
		}
		n, ok := at[zoneOf(e)]
		if !ok {
			n = len(out)
			at[zoneOf(e)], out = n, append(out, nil)
		}
		out[n] = append(out[n], e)
	}
	for _, q := range out {
		slices.SortStableFunc(q, func(a, b *exit) int {
			return cmp.Or(order(a.held, b.held), cmp.Compare(a.left, b.left), cmp.Compare(len(a.pods), len(b.pods)))
		})
	}
	crowd, even := v.crowd(), v.mayLose(at)
	slices.SortStableFunc(out, func(a, b []*exit) int {
		x, y := zoneOf(a[0]), zoneOf(b[0])
		return cmp.Or(cmp.Compare(even[y], even[x]), cmp.Compare(crowd[y], crowd[x]))
	})
	return out
}

// order puts those that are held last.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// mayLose marks with 1 the zones that can lose a node now without the zones ending uneven: what is emptied elsewhere would only wait.
func (v *tick) mayLose(queued map[groupZone]int) map[groupZone]int {
	out := map[groupZone]int{}
	for i := range v.plan.Groups {
		g := v.s.Group(v.plan.Groups[i].Name)
		if g == nil || g.Mark == nil || len(g.Zones) == 0 || v.plan.Back() {
			continue
		}
		b := v.balance(g)
		for _, z := range g.Zones {
			if _, ok := queued[groupZone{g.Name, z}]; ok && b.mayLose(z) {
				out[groupZone{g.Name, z}] = 1
			}
		}
	}
	return out
}

type groupZone struct{ group, zone string }

func zoneOf(e *exit) groupZone { return groupZone{e.Group, e.Zone} }

// crowd counts the nodes of each zone, those that are empty already left out.
func (v *tick) crowd() map[groupZone]int {
	out := map[groupZone]int{}
	for i := range v.plan.Groups {
		if g := v.s.Group(v.plan.Groups[i].Name); g != nil {
			for z, n := range byZone(g) {
				out[groupZone{g.Name, z}] += n
			}
		}
	}
	for i := range v.exits {
		if e := &v.exits[i]; len(e.pods) == 0 {
			out[zoneOf(e)]--
		}
	}
	return out
}

// inTurn takes one exit after another from the queues in turn, so that no zone falls behind.
func inTurn(queues [][]*exit) []*exit {
	var out []*exit
	for round, more := 0, true; more; round++ {
		more = false
		for _, q := range queues {
			if round < len(q) {
				out, more = append(out, q[round]), true
			}
		}
	}
	return out
}

// reserve opens the first exit of each queue that fits whole.
func (v *tick) reserve(d *door, queues [][]*exit) []*exit {
	var out []*exit
	for _, q := range queues {
		if i := slices.IndexFunc(q, func(e *exit) bool { return v.openWhole(d, e) }); i >= 0 {
			out = append(out, q[i])
		}
	}
	return out
}

// attempts is how many nodes of one zone are tried in vain before the rest of it is taken to have no room either.
const attempts = 12

// openMore opens whatever else fits whole.
func (v *tick) openMore(d *door, all []*exit) []*exit {
	var out []*exit
	vain := map[groupZone]int{}
	for _, e := range all {
		switch z := zoneOf(e); {
		case d.open[e]:
		case vain[z] >= attempts:
			d.unfit[e] = "nor have the nodes before it any"
		case v.openWhole(d, e):
			out = append(out, e)
		default:
			vain[z]++
		}
	}
	return out
}

// evictAll lets everything on these exits go.
func (v *tick) evictAll(d *door, exits []*exit) {
	for _, e := range exits {
		v.evictions(e, d)
	}
}

// openWhole takes room for everything on a node that still needs some, or none of it.
func (v *tick) openWhole(d *door, e *exit) bool {
	before := len(d.r.taken)
	last, why := v.placeAll(d.r, e)
	if why != "" {
		d.r.undo(before)
		d.unfit[e] = why
		return false
	}
	delete(d.unfit, e)
	d.open[e] = true
	for p, why := range last {
		d.last[p] = why
	}
	return true
}

// placeAll finds room for all pods of a node that still need some, and returns those that fit only when the node itself is gone, with the
// reason; or why it does not fit.
func (v *tick) placeAll(r *room, e *exit) (last map[*fleet.Pod]string, why string) {
	need := e.has.need
	if need.CPU > r.total.CPU || need.Memory > r.total.Memory || need.Pods > r.total.Pods {
		if r.quiet {
			return nil, "no room"
		}
		return nil, fmt.Sprintf("its pods need %s, %s %s", printRoom(need), plural(r.nodes, "node that takes pods has", "nodes that take pods have"), printRoom(r.total))
	}
	var minding []*fleet.Pod
	for _, p := range e.has.homeless {
		switch {
		case r.fit(p):
		case !r.near(p).minds():
			_, no := r.place(p)
			return nil, fmt.Sprintf("%s: %s", p.Ref, no)
		default:
			minding = append(minding, p)
		}
	}
	return v.placeLast(r, e, minding)
}

// placeLast is for pods that other pods keep off: once those have moved too, they may fit; or at least when their node is gone, where a node that
// is empty and still there is what spread counts as the place with the fewest. Those go last, and all that share a lane at once: the replacement
// of the first is not Ready before the node is gone.
func (v *tick) placeLast(r *room, e *exit, pods []*fleet.Pod) (last map[*fleet.Pod]string, why string) {
	defer func() { r.gone = "" }()
	atOnce := map[lane]int{}
	for _, p := range pods {
		_, no := r.place(p)
		if no == "" {
			continue
		}
		why := fmt.Sprintf("%s: %s", p.Ref, no)
		if r.gone = e.node.Name; !e.Release || !r.fit(p) {
			return nil, why
		}
		l := laneOf(p)
		if atOnce[l]++; atOnce[l] > v.ix.width(l, p) {
			return nil, why
		}
		if last == nil {
			last = map[*fleet.Pod]string{}
		}
		last[p], r.gone = no, ""
	}
	return last, ""
}

func printRoom(r fleet.Resources) string {
	return fmt.Sprintf("cpu %dm, memory %dMi and %d pod slots", r.CPU, r.Memory>>20, r.Pods)
}

// goAhead lets pods of critical lanes go although their node's turn has not come, where their lane allows more than the nodes in turn use. The
// lane's next turn keeps its room too, so that it never waits for any.
func (v *tick) goAhead(d *door, all []*exit) {
	critical := v.critical(v.loads(all))
	if len(critical) == 0 {
		return
	}
	v.listAhead(d, all)
	used := map[*load]int{}
	for _, g := range d.going {
		used[g.x]++
	}
	for _, x := range critical {
		if len(x.ahead) == 0 {
			continue
		}
		free := v.paced(v.ix.opening(x.lane, x.sample)).free - used[x]
		why := x.String() + " decides when the run is over"
		for i, g := range x.ahead[:min(max(0, free)+x.width, len(x.ahead))] {
			if _, no := d.r.place(g.p); no != "" {
				v.hold("pod "+g.p.Ref.String(), "would go ahead of node %s, because %s: %s", g.e.Name(), why, no)
				break
			}
			if i >= free {
				continue
			}
			d.ahead[g.p] = "ahead of its node: " + why
			d.going = append(d.going, g)
		}
	}
}

// listAhead finds the pods of critical lanes on nodes whose turn has not come.
func (v *tick) listAhead(d *door, all []*exit) {
	for _, e := range all {
		r := e.has
		for i, s := range r.loads {
			x := s.x
			if x == nil || !x.critical {
				continue
			}
			if e.group != nil && x.takes() > v.ix.turn(e.group) {
				v.noRoom[e.Instance] = true // nobody is to wait for a node that will be empty late
			}
			if !d.open[e] && v.ix.storeOf(r.pods[i]) == nil && r.pods[i].Courted == nil && v.mayNot(e, r.pods[i]) == "" && !v.surges(r.pods[i], s.of) {
				x.ahead = append(x.ahead, leaver{e, r.pods[i], x})
			}
		}
	}
}

// holdShut says why nodes wait. While new capacity is on its way one sentence is enough for all of them.
func (v *tick) holdShut(shut []*exit, unfit map[*exit]string) {
	if len(shut) > 1 && v.roomComing() {
		v.hold(fmt.Sprintf("%d nodes", len(shut)), "wait for room on new nodes, the first of them %s: %s", shut[0].Name(), unfit[shut[0]])
		return
	}
	for _, e := range shut {
		v.hold("node "+e.Name(), "waits for room: %s", unfit[e])
	}
}

// roomComing tells whether waiting may bring room: new instances, or the place of a node that is empty.
func (v *tick) roomComing() bool {
	return v.capacityComing() || slices.ContainsFunc(v.exits, func(e exit) bool {
		return e.Release && len(e.pods) == 0 && v.plan.Group(e.Group) != nil && !v.plan.Back()
	})
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
		for _, at := range v.staying(g) {
			if at.in.Counted() && !at.lame(g) && notArrived(g, at.in, at.node) != "" {
				return true
			}
		}
	}
	return false
}

// evictions lets the pods of an exit go; when it is not open, only those that fit one by one.
func (v *tick) evictions(e *exit, d *door) {
	others := slices.ContainsFunc(e.pods, func(p *fleet.Pod) bool { return !p.Terminating && d.last[p] == "" })
	for i, p := range e.pods {
		if p.Terminating {
			v.hold("pod "+p.Ref.String(), "is shutting down on %s, has %s for it", e.Name(), p.Grace)
			continue
		}
		if why := v.mayNot(e, p); why != "" {
			v.hold("pod "+p.Ref.String(), "stays on %s: %s", e.Name(), why)
			continue
		}
		if why := d.last[p]; why != "" && others {
			v.hold("pod "+p.Ref.String(), "goes last from %s, it fits elsewhere when that node is gone: %s", e.Name(), why)
			continue
		}
		if v.ix.storeOf(p) != nil {
			continue // its keeper says when
		}
		if !v.courted(p, e.node.Name, e.Why) {
			continue
		}
		if !d.open[e] && !p.Finished {
			if _, no := d.r.place(p); no != "" {
				v.hold("pod "+p.Ref.String(), "on %s: %s", e.Name(), no)
				continue
			}
		}
		if v.surges(p, e.has.loads[i].of) {
			d.surges = append(d.surges, v.surge(e, p)...)
			continue
		}
		d.going = append(d.going, leaver{e, p, e.has.loads[i].x})
	}
}

// mayNot says why a pod is not to be evicted at all now: it came after the plan was made and would have been a problem then, or its eviction
// was refused a moment ago.
func (v *tick) mayNot(e *exit, p *fleet.Pod) string {
	if p.Refused != "" {
		return p.Refused
	}
	if p.Finished || e.planned.has(p) {
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

// openLanes evicts those whose lanes allow it now.
func (v *tick) openLanes(d *door) {
	state := make(map[*load]*gate, len(d.going))
	var order []*gate
	for _, g := range d.going {
		a := fleet.Action{Verb: fleet.Evict, Pod: g.p.Ref, Node: g.e.node.Name, Why: g.e.Why}
		if g.x == nil {
			v.do(a)
			continue
		}
		o := state[g.x]
		if o == nil {
			o = &gate{opening: v.paced(v.ix.opening(g.x.lane, g.p)), lane: g.x.lane.String()}
			if o.why != "" {
				o.reason = o.lane + ": " + o.why
			}
			state[g.x], order = o, append(order, o)
		}
		switch {
		case !g.p.Ready && o.spare:
		case o.free > 0:
			o.free--
		default:
			o.waiting++
			continue
		}
		if o.reason != "" {
			a.Why = o.reason
		}
		if why := d.ahead[g.p]; why != "" {
			a.Why += "; " + why
		}
		v.do(a)
	}
	for _, o := range order {
		if o.waiting > 0 {
			v.hold(o.lane, "%s; %s", o.why, plural(o.waiting, "pod waits", "pods wait"))
		}
	}
}

// gate is a lane's opening in one tick.
type gate struct {
	opening
	lane    string
	reason  string
	waiting int // pods that it does not let through
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
