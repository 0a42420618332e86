package evac

import (
	"fmt"
	"slices"
	"strings"

	"drover.dev/fleet"
)

// release lets emptied machines go: out of the load balancers first, and only when no request can reach them any more, closed by their own
// ids. The choice of the victim is never left to AWS.
func (v *tick) release() {
	for i := range v.exits {
		e := &v.exits[i]
		if !e.Release || e.group == nil || len(e.pods) > 0 || !v.mayGo(e) {
			continue
		}
		if v.unhealthy() != "" && !v.plan.Back() && !v.outOfService(e) {
			continue // what is bad may be the new targets; the run's hold says it
		}
		if why := v.notYet(e); why != "" {
			v.hold("node "+e.Name(), "is empty, and stays: %s", why)
			continue
		}
		v.exit(e)
	}
	v.dissolve()
}

// outOfService tells whether an exit has begun to leave its load balancers: it is no node to count on any more.
func (v *tick) outOfService(e *exit) bool {
	if v.begun[e.Instance] || e.node != nil && e.node.OutBy == v.plan.Run {
		return true
	}
	return slices.ContainsFunc(e.in.Targets, func(t fleet.Target) bool { return t.State == fleet.TargetDraining })
}

// cutOff tells whether an exit gets no new requests from any load balancer of its group.
func (v *tick) cutOff(e *exit) bool {
	if e.node == nil || e.node.OutBy != v.plan.Run {
		return false
	}
	return !slices.ContainsFunc(e.in.Targets, func(t fleet.Target) bool { return t.State != fleet.TargetDraining })
}

// works tells whether an exit's machine is a Ready node in service.
func works(e *exit) bool { return e.node != nil && e.node.Ready && e.in.Lifecycle == fleet.InService }

// notYet says why an empty node has to stay: its group would have fewer working nodes than before the run, or its zone fewer than others.
// Counting nodes that work, and not what desired says, keeps a group alive whose new instances never come.
func (v *tick) notYet(e *exit) string {
	if e.group.Managed != nil {
		return v.managedStays(e)
	}
	if v.plan.Group(e.Group) == nil || e.group.Mark == nil {
		return "" // a drain: the person who asked knows that the group shrinks
	}
	w := v.weigh(e.group)
	if e.group.Desired-v.closing[e.Group] <= w.back {
		return fmt.Sprintf("desired is not above %d yet", w.back)
	}
	if !works(e) {
		return "" // it is of no use to anybody
	}
	if v.cutOff(e) {
		return "" // it serves nobody any more; gone, it makes room for one that does
	}
	n := w.working
	if v.inService(e) {
		n--
	}
	if n < w.need {
		return fmt.Sprintf("without it %s of group %s would work, it needs %d", plural(n, "node", "nodes"), e.Group, w.need)
	}
	if v.outOfService(e) || len(e.group.Zones) == 0 || v.canary != "" { // a canary goes alone; the zones are for the others to even out
		return ""
	}
	why, known := w.first[e.Zone]
	if !known {
		why = v.zoneFirst(e)
		w.first[e.Zone] = why
	}
	return why
}

func (v *tick) inService(e *exit) bool { return e.in != nil && works(e) && !v.outOfService(e) }

// zoneFirst keeps the zones even, so that volumes find their zone and AZRebalance finds nothing to do when it is on again. It returns which exit
// should go before one of this zone; "" when this one may go.
func (v *tick) zoneFirst(e *exit) string {
	b := v.balance(e.group)
	if b.mayLose(e.Zone) {
		return ""
	}
	for i := range v.exits {
		if x := &v.exits[i]; x.Group == e.Group && x.in != nil && !v.outOfService(x) && !v.noRoom[x.Instance] && !x.held && b.mayLose(x.Zone) {
			return fmt.Sprintf("node %s of zone %s goes first, so that the zones stay even", x.Name(), x.Zone)
		}
	}
	if b.moving() || v.capacityComing() {
		return "another node of zone " + e.Zone + " less now could leave the zones uneven; waits for those on their way"
	}
	return "" // nobody else can: uneven zones are better than standing still
}

// exit takes the next step out for an empty node.
func (v *tick) exit(e *exit) {
	if n := e.node; n != nil && n.Mark() != nil && n.Mark().Effect != fleet.NoSchedule {
		v.taint(n, fleet.NoSchedule, "empty: takes nothing more")
		return
	}
	v.begin(e)
	if e.node != nil && !e.node.Excluded {
		v.do(fleet.Action{Verb: fleet.Exclude, Node: e.node.Name, Why: "empty: out of the load balancers before it goes"})
		return // visible first: other load balancers follow the label
	}
	if v.barrier(e) || v.resized[e.Group] {
		return // closing changes desired capacity too: it waits for the next tick
	}
	if why := stillAttached(e.node); why != "" {
		v.hold("node "+e.Name(), "is empty; %s", why)
		return
	}
	if e.group.Managed != nil && e.Cause != fleet.Sleeping {
		v.emptied[e.Instance] = true
		return
	}
	a := fleet.Action{Verb: fleet.Terminate, Instance: e.Instance, Group: e.Group, Why: "empty and out of every load balancer"}
	if v.plan.Record.Bake > 0 && !v.plan.Back() && e.in.Lifecycle == fleet.InService {
		a.Verb, a.Why = fleet.Standby, fmt.Sprintf("empty and out of every load balancer; kept for %s after the last one", v.plan.Record.Bake)
	}
	if e.node != nil {
		a.Node, a.Expect.Empty = e.node.Name, true
	} else if e.Node != "" && e.Cause == fleet.Sleeping {
		a.Node, a.Expect.Empty = e.Node, true // its object is gone for a moment; whoever is bound to it is not
	}
	v.do(a)
}

// stillAttached says which volumes an empty node still has; their pods wait for them elsewhere, and closing the machine under them is a forced
// detachment. A node that is dead detaches nothing: there closing is what frees them.
func stillAttached(n *fleet.Node) string {
	if n == nil || !n.Ready || len(n.Volumes) == 0 {
		return ""
	}
	return plural(len(n.Volumes), "volume is", "volumes are") + " still attached: " + strings.Join(n.Volumes, ", ")
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
			v.receivers(tg.ARN).drop(e.in, state)
		}
	}
	return waiting
}

// needed says why an exit may not leave a target group yet: the receiving side of the barrier. New targets under registration come first,
// and the last healthy target never goes.
func (v *tick) needed(e *exit, arn string) string {
	if e.Cause == fleet.Sleeping && v.allGo(arn) {
		return "" // nobody is served any more
	}
	r := v.receivers(arn)
	for _, id := range r.initial {
		if id != e.Instance {
			return "new target " + id + " is not healthy yet"
		}
	}
	if r.healthy == 1 && e.in.Target(arn) == fleet.TargetHealthy {
		return "no other target is healthy"
	}
	return ""
}

// allGo tells whether every instance that a target group knows leaves with the plan.
func (v *tick) allGo(arn string) bool {
	for i := range v.s.Groups {
		for j := range v.s.Groups[i].Instances {
			if in := &v.s.Groups[i].Instances[j]; in.Target(arn) != fleet.TargetUnused && !v.isExit[in.ID] && !in.Leaving() {
				return false
			}
		}
	}
	return true
}

// receivers are the targets of a target group that get requests, or soon will; those that this tick takes out are left out.
type receivers struct {
	healthy int
	initial []string
}

func (v *tick) receivers(arn string) *receivers {
	if r := v.targets[arn]; r != nil {
		return r
	}
	r := &receivers{}
	for i := range v.s.Groups { // several groups may share a target group
		for j := range v.s.Groups[i].Instances {
			in := &v.s.Groups[i].Instances[j]
			switch state := in.Target(arn); {
			case state == fleet.TargetHealthy && !in.Leaving():
				r.healthy++
			case state == fleet.TargetInitial && !in.Leaving():
				r.initial = append(r.initial, in.ID)
			}
		}
	}
	v.targets[arn] = r
	return r
}

func (r *receivers) drop(in *fleet.Instance, state string) {
	if state == fleet.TargetHealthy {
		r.healthy--
	}
	r.initial = slices.DeleteFunc(r.initial, func(id string) bool { return id == in.ID })
}
