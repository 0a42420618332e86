package evac

import (
	"fmt"

	"drover.dev/fleet"
)

// lane is the unit of pace: pods that share one are moved no faster than its budget allows, over all departing nodes and groups at once.
type lane struct {
	kind laneKind
	name string
}

type laneKind string

const (
	laneBudget   laneKind = "budget"
	laneWorkload laneKind = "workload"
	lanePod      laneKind = "pod" // nobody else is affected when it moves
)

func (l lane) String() string {
	if l.kind == laneWorkload {
		return l.name
	}
	return string(l.kind) + " " + l.name
}

func laneOf(p *fleet.Pod) lane {
	switch {
	case p.Finished:
		return lane{lanePod, p.Ref.String()}
	case len(p.Budgets) > 0:
		return lane{laneBudget, p.Budgets[0]}
	case p.Owner.Kind == "" || p.Owner.Kind == "Job":
		return lane{lanePod, p.Ref.String()}
	}
	return lane{laneWorkload, p.Owner.String()}
}

// share is how much of a workload without a PodDisruptionBudget may be on the move at once: one in ten, at least one. Its owner asked for
// no protection, but a rotation should not be the day when that is felt.
const share = 10

// openings returns how many more pods of a lane may go now, and the figures behind it.
func openings(s *fleet.Snapshot, l lane, p *fleet.Pod) (int, string) {
	switch l.kind {
	case laneBudget:
		b := s.Budget(l.name)
		if b == nil {
			return 1, ""
		}
		return b.Allowed, fmt.Sprintf("%d healthy, needs %d, allows %d", b.Healthy, b.Desired, b.Allowed)
	case laneWorkload:
		w := workload(s, p.Owner)
		if w == nil {
			return 1, ""
		}
		ready := 0
		for i := range s.Pods {
			if q := &s.Pods[i]; q.Owner == p.Owner && q.Ready && !q.Terminating {
				ready++
			}
		}
		may := max(1, w.Replicas/share)
		return may - max(0, w.Replicas-ready), fmt.Sprintf("%d of %d ready, %d may be missing (no PodDisruptionBudget)", ready, w.Replicas, may)
	}
	return 1, ""
}

func workload(s *fleet.Snapshot, o fleet.Owner) *fleet.Workload {
	for i := range s.Workloads {
		if s.Workloads[i].Owner == o {
			return &s.Workloads[i]
		}
	}
	return nil
}
