package evac

import (
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// bound is the time below which no order of moves and closings gets with the plan's budgets and surge, and what makes it so. Two things take
// their time whatever is done first:
//
//   - a lane: no pod moves before the first new node is there, then turn after turn of its budget; while the last replacement starts, the last
//     node leaves the load balancers;
//   - a group: a surge of nodes at a time, each launched only when an old one is closed, which happens only when a new one serves; and before the
//     first is closed, it is emptied.
func bound(p *Plan, ix *index) (time.Duration, string) {
	var most time.Duration
	path := ""
	longer := func(d time.Duration, format string, args ...any) {
		if d > most {
			most, path = d, fmt.Sprintf(format, args...)
		}
	}
	firstBoot, lastDrain := p.ends(ix)
	for _, x := range p.loads(ix) {
		longer(firstBoot+x.takes()-x.each+max(x.each, stop(x.sample)+lastDrain), "%s", x)
	}
	for _, gp := range p.Groups {
		g := ix.s.Group(gp.Name)
		n, fastest := p.emptying(ix, gp.Name)
		if g == nil || gp.Managed || n == 0 {
			continue
		}
		each := ix.turn(g)
		longer(turns(n, gp.Surge, each)+fastest, "group %s: %d nodes, %d at a time, %s each", g.Name, n, gp.Surge, each)
	}
	return most, path
}

// ends are the shortest wait for a new node and the shortest way of an old one out of its load balancers. Where pods have room elsewhere from the
// start, both may be zero.
func (p *Plan) ends(ix *index) (boot, drain time.Duration) {
	for i, gp := range p.Groups {
		g := ix.s.Group(gp.Name)
		if g == nil || p.Back() {
			return 0, 0
		}
		b, d := ix.boot(g), drains(g)
		if i == 0 {
			boot, drain = b, d
		}
		boot, drain = min(boot, b), min(drain, d)
	}
	leaving := map[string]bool{}
	for _, e := range p.Exits {
		leaving[e.Node] = true
	}
	if unpromised(ix, func(n *fleet.Node) bool { return leaving[n.Name] }).nodes > 0 {
		boot = 0
	}
	return boot, drain
}

// drains is how long a node of the group takes to leave its load balancers.
func drains(g *fleet.Group) time.Duration {
	var d time.Duration
	for _, tg := range g.Targets {
		if slices.ContainsFunc(g.Instances, func(in fleet.Instance) bool { return in.Target(tg.ARN) != fleet.TargetUnused }) {
			d = max(d, tg.Delay)
		}
	}
	return d
}

// loads are the lanes of the plan. Where one budget covers several workloads, its fastest move stands for all.
func (p *Plan) loads(ix *index) []*load {
	by := map[lane]*load{}
	var out []*load
	for _, m := range p.Moves {
		pod := ix.pod(m.Pod.UID)
		if pod == nil || pod.Finished || pod.Owner.Kind == "" {
			continue
		}
		l := laneOf(pod)
		x := by[l]
		if x == nil {
			x = &load{lane: l, sample: pod, width: ix.width(l, pod), each: ix.each(pod)}
			by[l], out = x, append(out, x)
		}
		x.pods++
		x.each = min(x.each, ix.each(pod))
	}
	return out
}

// emptying counts a group's exits, and says how fast the first of them can be empty.
func (p *Plan) emptying(ix *index, group string) (exits int, fastest time.Duration) {
	for _, e := range p.Exits {
		if e.Group != group {
			continue
		}
		var takes time.Duration
		for _, pod := range ix.movable(ix.node[e.Node]) {
			takes = max(takes, stop(pod))
		}
		if exits == 0 || takes < fastest {
			fastest = takes
		}
		exits++
	}
	return exits, fastest
}
