package evac

import (
	"strings"

	"drover.dev/fleet"
)

// Track says how far a plan is, for those who look. Nothing is decided by it.
func Track(p Plan, s fleet.Snapshot, step Step) fleet.Progress {
	v := newTick(&p, &s)
	v.look()
	out := fleet.Progress{Run: p.Run, Pods: len(p.Moves), Forecast: p.Forecast.Took, Took: s.Now.Sub(p.At), Phase: v.phase(step)}
	if len(p.Record.Groups) > 0 {
		out.Pods = p.Record.Moves
	}
	for _, h := range step.Holds {
		out.Waiting = append(out.Waiting, h.String())
	}
	listed := map[string]bool{}
	for _, d := range p.Record.Exits {
		listed[d.Instance] = true
		out.Exits = append(out.Exits, v.track(d, step))
	}
	for _, e := range v.chosen() {
		if !listed[e.Instance] || e.Instance == "" {
			out.Exits = append(out.Exits, v.track(e.Departure, step))
		}
	}
	return out
}

// phase is the run in one word.
func (v *tick) phase(step Step) string {
	r := v.record()
	why, _ := v.stopped()
	switch {
	case step.Done, r != nil && !r.Marks.Ended.IsZero():
		return "Complete"
	case step.Diverged != "":
		return "Diverged"
	case why != "":
		return "Paused"
	case v.plan.Back():
		return "Undoing"
	case r != nil && !r.Marks.Baking.IsZero():
		return "Baking"
	case v.unhealthy() != "":
		return "Unhealthy"
	case r != nil && v.plan.Record.Canary > 0 && !v.canaryPassed():
		return "Canary"
	case len(v.exits) == 0:
		return "Finishing"
	case r == nil || r.Marks.Moving.IsZero():
		return "Preparing"
	}
	return "Moving"
}

func (v *tick) track(d fleet.Departure, step Step) fleet.ExitProgress {
	out := fleet.ExitProgress{Departure: d}
	at := v.ix.instance[d.Instance]
	n := v.ix.node[d.Node]
	if n != nil && d.Instance != "" && n.Instance != d.Instance {
		n = nil
	}
	pods := v.ix.movable(n)
	out.Pods = len(pods)
	switch {
	case d.Instance != "" && d.Release && (at.in == nil || at.in.Leaving()), d.Instance == "" && n == nil:
		out.Phase = fleet.ExitGone
	case v.plan.Back() && d.Cause != fleet.Undo && !at.in.Parked() && (n == nil || n.Mark() == nil):
		out.Phase = fleet.ExitReturned
	case at.in != nil && at.in.Parked():
		out.Phase = fleet.ExitStandby
	case len(pods) == 0 && !d.Release && n != nil && n.Mark() != nil:
		out.Phase = fleet.ExitGone
	case len(pods) == 0:
		out.Phase = fleet.ExitLeaving
	case len(pods) < v.outline[d.Node].count() || begun(pods):
		out.Phase = fleet.ExitEmptying
	default:
		out.Phase = fleet.ExitWaiting
	}
	out.Waiting = waitingOn(d, pods, step)
	return out
}

func begun(pods []*fleet.Pod) bool {
	for _, p := range pods {
		if p.Terminating {
			return true
		}
	}
	return false
}

// waitingOn finds the hold that is about a node, else about a pod on it, else about everything.
func waitingOn(d fleet.Departure, pods []*fleet.Pod, step Step) string {
	about := func(subject string) string {
		for _, h := range step.Holds {
			if h.Subject == subject {
				return h.Reason
			}
		}
		return ""
	}
	if why := about("node " + d.Name()); why != "" {
		return why
	}
	for _, p := range pods {
		if why := about("pod " + p.Ref.String()); why != "" {
			return "pod " + p.Ref.String() + " " + why
		}
		if why := about(laneOf(p).String()); why != "" {
			return laneOf(p).String() + ": " + why
		}
	}
	for _, h := range step.Holds {
		if strings.HasSuffix(h.Subject, " nodes") || strings.HasPrefix(h.Subject, "run ") {
			return h.Subject + ": " + h.Reason
		}
	}
	return ""
}
