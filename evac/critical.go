package evac

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// load is what a lane still has to move: as many pods as may be missing at a time, one such turn after another.
type load struct {
	lane
	pods     int        // that have to leave yet and are not on their way
	sample   *fleet.Pod // one of them
	width    int        // how many of them may move at once, when nothing else is missing; zero when not known yet
	each     time.Duration
	critical bool
	ahead    []leaver // of a critical lane
}

func (ix *index) load(l lane) *load {
	x := ix.loads[l]
	if x == nil {
		x = &load{lane: l}
		ix.loads[l] = x
	}
	return x
}

// takes is how long the lane takes at least.
func (x *load) takes() time.Duration {
	return time.Duration((x.pods+x.width-1)/x.width) * x.each
}

func (x *load) String() string {
	if x.kind == laneBudget {
		return fmt.Sprintf("%s: budget %d of %d, %s", x.name, x.width, x.pods, x.takes())
	}
	return fmt.Sprintf("%s: %d of %d at a time, %s", x.lane, x.width, x.pods, x.takes())
}

// width is how many pods of a lane may be missing when all are well.
func (ix *index) width(l lane, p *fleet.Pod) int {
	switch l.kind {
	case laneBudget:
		if b := ix.budget[l.name]; b != nil {
			return max(1, b.Expected-b.Desired)
		}
	case laneWorkload:
		if w := ix.workloads[p.Owner]; w != nil {
			return max(1, w.replicas/share)
		}
	}
	return 1
}

// loads counts what every lane still has to move over all of these exits.
func (v *tick) loads(exits []*exit) []*load {
	for _, x := range v.ix.loads {
		x.pods, x.critical, x.ahead = 0, false, x.ahead[:0]
	}
	var out []*load
	for _, e := range exits {
		r := e.has
		for i, x := range r.loads {
			if x == nil {
				continue
			}
			if x.pods == 0 {
				x.sample = r.pods[i]
				out = append(out, x)
			}
			x.pods++
		}
	}
	for _, x := range out {
		if x.width == 0 {
			x.width, x.each = v.ix.width(x.lane, x.sample), v.ix.each(x.sample)
		}
	}
	return out
}

// critical are the lanes that decide when the run is over: those that take at least this share of the time that it still takes. Their pods need
// not wait for their node's turn. All others have slack.
const criticalShare = 2.0 / 3

// critical returns the lanes whose pods may go ahead of their nodes, those that take longest first.
func (v *tick) critical(loads []*load) []*load {
	var rest time.Duration
	for _, x := range loads {
		rest = max(rest, x.takes())
	}
	for i := range v.plan.Groups {
		if g := v.s.Group(v.plan.Groups[i].Name); g != nil && g.Mark != nil {
			rest = max(rest, turns(v.left(g.Name), g.Mark.Surge, v.ix.turn(g)))
		}
	}
	var out []*load
	for _, x := range loads {
		if x.critical = float64(x.takes()) >= criticalShare*float64(rest); x.critical {
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(a, b *load) int { return cmp.Compare(b.takes(), a.takes()) })
	return out
}

// turn is how long it takes at least from one launch to the next in its place: a boot with its registration at the load balancers, and an old
// node's deregistration.
func (ix *index) turn(g *fleet.Group) time.Duration {
	var warm time.Duration
	for _, tg := range g.Targets {
		if slices.ContainsFunc(g.Instances, func(in fleet.Instance) bool { return in.Target(tg.ARN) != fleet.TargetUnused }) {
			warm = max(warm, tg.Warmup)
		}
	}
	return ix.boot(g) + warm + drains(g)
}

// turns is how long n nodes take, a surge at a time.
func turns(n, surge int, each time.Duration) time.Duration {
	surge = max(1, surge)
	return time.Duration((n+surge-1)/surge) * each
}
