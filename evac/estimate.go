package evac

import (
	"slices"
	"time"

	"drover.dev/fleet"
)

// Estimates used where the fleet itself shows no better figure.
const (
	defaultBoot  = 90 * time.Second // launch to Ready
	defaultStart = 15 * time.Second // pod bound to Ready
	defaultStop  = 2 * time.Second  // SIGTERM to gone, beyond the preStop sleep
	closeTime    = 5 * time.Second  // terminate called to instance out of its group
	detachTime   = 10 * time.Second // pod gone to its volume off the node
	believable   = 15 * time.Minute // longer than this, an observed start was an outage, not a start
)

// boot is how long an instance of a group takes from launch to a Ready node: the median of what the fleet shows.
func (ix *index) boot(g *fleet.Group) time.Duration {
	if d, ok := ix.boots[g.Name]; ok {
		return d
	}
	var seen []time.Duration
	for i := range g.Instances {
		in := &g.Instances[i]
		if n := ix.nodeOf[in.ID]; n != nil && n.Ready && !in.Launched.IsZero() {
			seen = append(seen, n.Changed.Sub(in.Launched))
		}
	}
	ix.boots[g.Name] = median(seen, defaultBoot)
	return ix.boots[g.Name]
}

// start is how long a pod of a workload takes until it is Ready: the median of what the fleet shows.
func (ix *index) start(o fleet.Owner) time.Duration {
	if w := ix.workloads[o]; w != nil {
		return w.begins()
	}
	return defaultStart
}

// begins is start for whoever knows the workload.
func (w *workload) begins() time.Duration {
	if w.start == 0 {
		var seen []time.Duration
		for _, p := range w.pods {
			if p.Ready {
				seen = append(seen, p.ReadySince.Sub(p.Created))
			}
		}
		w.start = median(seen, defaultStart)
	}
	return w.start
}

// each is for how long one move occupies its lane: until the replacement is Ready. A StatefulSet pod keeps its name, so there the old one has
// to be gone first.
func (ix *index) each(p *fleet.Pod) time.Duration {
	if w := ix.workloads[p.Owner]; w != nil {
		return w.each(p)
	}
	return occupies(p, defaultStart)
}

func (w *workload) each(p *fleet.Pod) time.Duration { return occupies(p, w.begins()) }

func occupies(p *fleet.Pod, start time.Duration) time.Duration {
	if late(p) {
		return stop(p) + start
	}
	return start
}

// stop is how long a pod takes from its eviction until it is gone.
func stop(p *fleet.Pod) time.Duration {
	d := p.PreStop + defaultStop
	if p.Grace > 0 {
		d = min(d, p.Grace)
	}
	return d
}

func median(seen []time.Duration, otherwise time.Duration) time.Duration {
	seen = slices.DeleteFunc(seen, func(d time.Duration) bool { return d <= 0 || d > believable })
	if len(seen) == 0 {
		return otherwise
	}
	slices.Sort(seen)
	return seen[len(seen)/2]
}
