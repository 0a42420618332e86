package evac

import (
	"fmt"

	"drover.dev/fleet"
)

// exit lets an emptied machine go: out of the load balancers first, and only when no request can reach it any more, closed by its own id.
// The choice of the victim is never left to AWS.
func (v *tick) exit(e *exit) {
	if !e.Release || len(e.pods) > 0 || e.group == nil {
		return
	}
	gp := v.plan.Group(e.Group)
	if gp != nil && e.group.Desired-v.closing[e.Group] <= reckon(e.group, v.left(e.Group)) {
		// The surge has not been raised again yet: one node less now would be one less than there were before the run.
		v.hold("node "+e.Name(), "is empty; it is closed once desired is above %d again", reckon(e.group, v.left(e.Group)))
		return
	}
	if e.node != nil && !e.node.Excluded {
		v.do(fleet.Action{Verb: fleet.Exclude, Node: e.node.Name, Why: "empty: out of the load balancers before it goes"})
	}
	if v.barrier(e) {
		return
	}
	if v.closing == nil {
		v.closing = map[string]int{}
	}
	v.closing[e.Group]++
	a := fleet.Action{Verb: fleet.Terminate, Instance: e.Instance, Group: e.Group, Why: "empty and out of every load balancer"}
	if e.node != nil {
		a.Node, a.Expect.Empty = e.node.Name, true
	}
	v.do(a)
}

// barrier deregisters the instance and reports whether some target group may still send it requests.
func (v *tick) barrier(e *exit) bool {
	waiting := false
	for _, tg := range e.group.Targets {
		switch state := e.in.Target(tg.ARN); state {
		case fleet.TargetUnused:
		case fleet.TargetDraining:
			v.hold("node "+e.Name(), "is empty; target group %s lets its last requests finish (up to %s)", tg.Name, tg.Delay)
			waiting = true
		default:
			waiting = true
			if why := v.needed(e, tg.ARN); why != "" {
				v.hold("node "+e.Name(), "is empty; stays in target group %s: %s", tg.Name, why)
				continue
			}
			v.do(fleet.Action{Verb: fleet.Deregister, Instance: e.Instance, Node: e.Name(), Group: e.Group, Target: tg.ARN, Why: fmt.Sprintf("is %s there, no pod left", state)})
		}
	}
	return waiting
}

// needed says why an exit may not leave a target group yet: the receiving side of the barrier. New targets under registration come first,
// and the last healthy target never goes.
func (v *tick) needed(e *exit, arn string) string {
	healthy := 0
	for i := range e.group.Instances {
		in := &e.group.Instances[i]
		if in.ID == e.Instance || in.Leaving() {
			continue
		}
		switch in.Target(arn) {
		case fleet.TargetHealthy:
			healthy++
		case fleet.TargetInitial:
			return "new target " + in.ID + " is not healthy yet"
		}
	}
	if healthy == 0 && e.in.Target(arn) == fleet.TargetHealthy {
		return "no other target is healthy"
	}
	return ""
}
