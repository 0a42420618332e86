package evac

import (
	"fmt"
	"time"

	"drover.dev/fleet"
)

// recovery is how long health probes must be good again before the pace doubles.
const recovery = 2 * time.Minute

// pace is by how much the lanes are narrowed: every time a health probe turned bad halves it, every quiet while since then doubles it again.
func (v *tick) pace() int {
	halvings := 0
	for _, p := range v.s.Probes {
		halvings = max(halvings, p.Falls-int(v.s.Now.Sub(p.Changed)/recovery))
	}
	return 1 << min(max(halvings, 0), 10)
}

// paced narrows what a lane allows; one pod at a time is always possible.
func (v *tick) paced(o opening) opening {
	div := v.pace()
	if v.plan.Back() {
		div = 1 // the way back is what mends it
	}
	if div == 1 || o.free <= 0 {
		return o
	}
	o.free = max(0, max(1, (o.free+o.away)/div)-o.away)
	o.why += fmt.Sprintf("; at 1/%d of the pace since a health probe was bad", div)
	return o
}

// unhealthy says which health probe stops the run now; "" when none does.
func (v *tick) unhealthy() string {
	for _, p := range v.s.Probes {
		if !p.Healthy {
			return fmt.Sprintf("health probe %s is bad: %s", p.Name, p.Why)
		}
	}
	return ""
}

// stopped says who has stopped the run; "" when nobody has.
func (v *tick) stopped() (string, time.Time) {
	if p := v.s.Stopped; p != nil {
		return "everything is " + p.String() + "; drover resume --all", p.At
	}
	if r := v.record(); r != nil && r.Paused != nil {
		return r.Paused.String() + "; drover resume " + r.Run, r.Paused.At
	}
	return "", time.Time{}
}

func (v *tick) record() *fleet.RotationRecord { return v.s.Rotation(v.plan.Run) }

// What readiness calls bad: pods that came since the run began and take this long to be Ready, of so many workloads, and of so large a part of
// those that the run moves. One broken workload is its own lane's matter; many at once have a cause in common, such as the new nodes.
const (
	slow        = 2 * time.Minute
	slowAtLeast = 3
	slowPart    = 10 // one in so many
)

// Readiness is the health probe that every run has: whether what it moves becomes Ready again.
func Readiness(p Plan, s fleet.Snapshot) (healthy bool, why string) {
	moved, bad := map[fleet.Owner]bool{}, map[fleet.Owner]bool{}
	for _, m := range p.Moves {
		moved[m.Owner] = true
	}
	example := ""
	for i := range s.Pods {
		pod := &s.Pods[i]
		if !moved[pod.Owner] || pod.Ready || pod.Finished || pod.Terminating || !pod.Created.After(p.At) || s.Now.Sub(pod.Created) < slow {
			continue
		}
		if !bad[pod.Owner] && example == "" {
			example = pod.Ref.String()
		}
		bad[pod.Owner] = true
	}
	limit := max(slowAtLeast, len(moved)/slowPart)
	return len(bad) < limit, fmt.Sprintf("pods of %d of %d workloads are not Ready %s after they were created, pod %s for one", len(bad), len(moved), slow, example)
}
