package evac

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// lanes are the loads of all lanes. What they count is kept from tick to tick: see loads.
type lanes struct {
	by      map[lane]*load
	all     []*load
	counted []*resident // whose pods are counted
}

// load is what a lane still has to move: as many pods as may be missing at a time, one such turn after another.
type load struct {
	lane
	pods     int        // that have to leave yet and are not on their way
	owners   []part     // whose they are
	sample   *fleet.Pod // of the first of the owners
	width    int        // how many of them may move at once, when nothing else is missing; zero when not known yet
	each     time.Duration
	critical bool
	ahead    []leaver // of a critical lane
}

// stake is what a pod has in a lane; nothing when it is leaving already, or serves nobody.
type stake struct {
	x  *load
	of *workload
}

// part is how many of a lane's pods are one workload's. Nearly every lane has one workload alone.
type part struct {
	of   *workload
	pods int
}

// of finds the load of a pod's lane; nil when nobody has asked for it yet.
func (l *lanes) of(w *workload, p *fleet.Pod) *load {
	name := laneOf(p)
	if w.load == nil || w.load.lane != name {
		w.load = l.by[name]
	}
	return w.load
}

// load is the load of a pod's lane.
func (l *lanes) load(w *workload, p *fleet.Pod) *load {
	x := l.of(w, p)
	if x == nil {
		x = &load{lane: laneOf(p)}
		l.by[x.lane], l.all, w.load = x, append(l.all, x), x
	}
	return x
}

// count adds the pods of a resident to their lanes, or takes them away.
func (r *resident) count(sign int) {
	r.counted = sign > 0
	for _, s := range r.loads {
		if s.x != nil {
			s.x.count(s.of, sign)
		}
	}
}

func (x *load) count(w *workload, sign int) {
	x.pods += sign
	i := slices.IndexFunc(x.owners, func(p part) bool { return p.of == w })
	switch {
	case i < 0:
		x.owners, x.width = append(x.owners, part{w, sign}), 0
	case x.owners[i].pods+sign == 0:
		x.owners, x.width = slices.Delete(x.owners, i, i+1), 0
	default:
		x.owners[i].pods += sign
	}
}

// measure finds out how wide and how slow a lane is.
func (ix *index) measure(x *load) {
	first := slices.MinFunc(x.owners, func(a, b part) int { return byOwner(a.of, b.of) })
	x.sample = first.of.sample
	x.width, x.each = ix.width(x.lane, x.sample), first.of.each(x.sample)
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
	l := &v.ix.lanes
	for _, r := range l.counted {
		r.here = false
	}
	before := l.counted
	l.counted = make([]*resident, 0, len(exits))
	for _, e := range exits {
		if e.has.here = true; !e.has.counted {
			e.has.count(1)
		}
		l.counted = append(l.counted, e.has)
	}
	for _, r := range before {
		if !r.here {
			r.count(-1)
		}
	}
	var out []*load
	for _, x := range l.all {
		if x.critical, x.ahead = false, x.ahead[:0]; x.pods == 0 {
			continue
		}
		if x.width == 0 {
			v.ix.measure(x)
		}
		out = append(out, x)
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
	slices.SortFunc(out, func(a, b *load) int {
		if c := cmp.Compare(b.takes(), a.takes()); c != 0 {
			return c
		}
		return a.lane.compare(b.lane)
	})
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
