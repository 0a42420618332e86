package evac

import (
	"cmp"
	"fmt"
	"strings"

	"drover.dev/fleet"
)

// lane is the unit of pace: pods that share one are moved no faster than its budget allows, over all departing nodes and groups at once.
type lane struct {
	kind  laneKind
	name  string
	owner fleet.Owner // of a workload's lane
}

type laneKind string

const (
	laneBudget   laneKind = "budget"
	laneWorkload laneKind = "workload"
	lanePod      laneKind = "pod" // nobody else is affected when it moves
)

func (l lane) String() string {
	if l.kind == laneWorkload {
		return l.owner.String()
	}
	return string(l.kind) + " " + l.name
}

func (l lane) compare(m lane) int {
	return cmp.Or(strings.Compare(l.name, m.name), compareOwners(l.owner, m.owner), strings.Compare(string(l.kind), string(m.kind)))
}

func laneOf(p *fleet.Pod) lane {
	switch {
	case p.Finished:
		return lane{kind: lanePod, name: p.Ref.String()}
	case len(p.Budgets) > 0:
		return lane{kind: laneBudget, name: p.Budgets[0]}
	case p.Owner.Kind == "" || p.Owner.Kind == "Job":
		return lane{kind: lanePod, name: p.Ref.String()}
	}
	return lane{kind: laneWorkload, owner: p.Owner}
}

// share is how much of a workload without a PodDisruptionBudget may be on the move at once: one in ten, at least one. Its owner asked for
// no protection, but a rotation should not be the day when that is felt.
const share = 10

// opening is what a lane allows now, and the figures behind it.
type opening struct {
	free int
	why  string
	away int // pods of the lane that are missing now
	// spare: a pod that is not ready may go although free is 0. It serves nobody, and the lane has what it needs without it.
	spare bool
}

func (ix *index) opening(l lane, p *fleet.Pod) opening {
	o := ix.rawOpening(l, p)
	if w := ix.workloads[p.Owner]; w != nil && w.warming > 0 && l.kind != lanePod {
		o.free -= w.warming
		o.why += fmt.Sprintf("; %s at the load balancer yet", plural(w.warming, "new pod is not healthy", "new pods are not healthy"))
	}
	return o
}

func (ix *index) rawOpening(l lane, p *fleet.Pod) opening {
	switch l.kind {
	case laneBudget:
		b := ix.budget[l.name]
		if b == nil {
			return opening{free: 1}
		}
		return opening{min(b.Allowed, max(0, ix.healthy[b.Name]-b.Desired)), fmt.Sprintf("%d healthy, needs %d, allows %d", b.Healthy, b.Desired, b.Allowed), max(0, b.Expected-b.Healthy), b.Healthy >= b.Desired && b.Desired > 0}
	case laneWorkload:
		w := ix.workloads[p.Owner]
		may := max(1, w.replicas/share)
		why := fmt.Sprintf("%d of %d ready, %d may be missing (no PodDisruptionBudget)", w.ready, w.replicas, may)
		if w.stuck > 0 {
			why += fmt.Sprintf("; %d not ready for over %s do not count", w.stuck, patience)
		}
		away := max(0, w.replicas-w.ready-w.stuck)
		return opening{may - away, why, away, true}
	}
	return opening{free: 1}
}
