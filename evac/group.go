package evac

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// capacity raises desired by the surge, again after every node that left, and waits for what it asked for.
func (v *tick) capacity() {
	for i := range v.plan.Groups {
		gp := &v.plan.Groups[i]
		g := v.s.Group(gp.Name)
		switch {
		case gp.Managed && !v.plan.Back():
			v.duplicate(gp)
		case g == nil || g.Mark == nil:
		case v.plan.Back():
			v.lower(g)
		default:
			v.resize(g)
			v.welcome(g)
		}
	}
}

// backTo is the desired capacity that a group returns to.
func (v *tick) backTo(g *fleet.Group) int {
	if v.plan.Back() {
		return max(g.Mark.Desired, g.Min)
	}
	return reckon(g, v.left(g.Name))
}

// wanted is the desired capacity that the rest of the run needs: surge above the number to return to, but never more than there are exits
// left, and never below what it is. Desired is not lowered here, because AWS would choose who goes; each termination takes its share back.
func (v *tick) wanted(g *fleet.Group) int {
	left := v.left(g.Name)
	back := reckon(g, left)
	return max(g.Desired, min(back+v.limit(g), back+left, g.Max))
}

// resize raises desired to what is wanted, journaled first. Somebody else's change of desired is journaled too, as soon as it is seen: the next
// closing would blur it.
func (v *tick) resize(g *fleet.Group) {
	left, want, m := v.left(g.Name), v.wanted(g), *g.Mark
	back := reckon(g, left)
	if need := min(back+v.limit(g), back+left); need > g.Max {
		v.hold("group "+g.Name, "wants desired %d, but max is now %d", need, g.Max)
	}
	if left == 0 || want == g.Desired && back == m.Desired {
		return
	}
	next := m
	next.Desired, next.From, next.Set, next.Left = back, g.Desired, want, left
	if !next.Equal(m) {
		v.do(fleet.Action{Verb: fleet.Journal, Group: g.Name, Mark: &next, Why: fmt.Sprintf("desired is to be %d now, %d in the end", want, back)})
		return
	}
	if want == g.Desired {
		return
	}
	v.do(fleet.Action{Verb: fleet.Resize, Group: g.Name, From: g.Desired, To: want, Why: fmt.Sprintf("%d to replace, %d at a time", left, m.Surge)})
}

// reckon returns the desired capacity to go back to. Desired moves by our own hand (to Set, then one less per node closed) and by others': a
// person, a schedule, cluster-autoscaler.
//
// Between Set less the nodes gone since and Set itself, everything is explained: some of those nodes may have been ended by others, without
// a decrement. Above Set, somebody wants so many more. Below what the group began with, somebody typed that number. Between the two somebody
// took back what the run had added, which says nothing about the number to return to.
func reckon(g *fleet.Group, left int) int {
	m := g.Mark
	back := m.Desired
	switch {
	case g.Desired > m.Set:
		back += g.Desired - m.Set
	case g.Desired < m.Desired && g.Desired != m.From && g.Desired < m.Set-max(0, m.Left-left):
		back = g.Desired
	}
	return max(back, g.Min)
}

// welcome keeps cluster-autoscaler off the nodes that pods are about to move to, which look idle at first, and says which are awaited.
func (v *tick) welcome(g *fleet.Group) {
	arrived, coming := 0, 0
	for _, at := range v.staying(g) {
		in, n := at.in, at.node
		if !in.Counted() {
			continue
		}
		if n != nil && !n.HeldDown && v.left(g.Name) > 0 {
			v.do(fleet.Action{Verb: fleet.Keep, Node: n.Name, Why: "is to receive pods: cluster-autoscaler must not take it for idle"})
		}
		why := notArrived(g, in, n)
		if why == "" {
			arrived++
			continue
		}
		coming++
		v.out.Holds = append(v.out.Holds, fleet.Hold{Subject: "new instance " + in.ID, Reason: why, Since: in.Launched})
	}
	if missing := g.Desired - counted(g); missing > 0 && v.left(g.Name) > 0 {
		v.hold("group "+g.Name, "%d more to be launched by AWS (%d there, desired %d)", missing, counted(g), g.Desired)
	}
	if v.quiet {
		return
	}
	if why := v.parity(g); why != "" {
		v.hold("group "+g.Name, "%s", why)
	}
	if coming > 0 {
		v.hold("group "+g.Name, "%d of %d nodes to receive pods are ready", arrived, arrived+coming)
	}
}

// counted counts the instances that the group's desired capacity counts.
func counted(g *fleet.Group) int {
	n := 0
	for i := range g.Instances {
		if g.Instances[i].Counted() {
			n++
		}
	}
	return n
}

// notArrived says what a new instance still lacks before it counts as capacity: in service, a Ready node without start-up taints, and
// no registration under way at a load balancer. An unhealthy target does count: with externalTrafficPolicy Local a node is healthy only once
// it has pods.
func notArrived(g *fleet.Group, in *fleet.Instance, n *fleet.Node) string {
	switch {
	case in.Lifecycle != fleet.InService:
		return "in zone " + in.Zone + " is " + in.Lifecycle
	case n == nil:
		return "in zone " + in.Zone + " is booting, not registered as a node yet"
	case !n.Ready:
		return "node " + n.Name + " is not Ready yet"
	case n.Starting():
		return "node " + n.Name + " still carries a start-up taint"
	}
	for _, tg := range g.Targets {
		if state := in.Target(tg.ARN); state == fleet.TargetInitial || state == fleet.TargetUnused && inUse(g, tg.ARN, in.Zone) {
			return fmt.Sprintf("node %s is %s in target group %s", n.Name, state, tg.Name)
		}
	}
	return ""
}

// inUse tells whether any instance of the group is a target there in that zone: an idle target group, or one whose load balancer does not
// serve the zone, is nothing to wait for.
func inUse(g *fleet.Group, arn, zone string) bool {
	return slices.ContainsFunc(g.Instances, func(in fleet.Instance) bool { return in.Zone == zone && in.Target(arn) != fleet.TargetUnused })
}

// lame tells whether an instance that stays was of no use before the run began already: the run cannot be asked to have more working nodes
// than there were.
func (s stayer) lame(g *fleet.Group) bool {
	if g.Mark == nil || !s.in.Counted() || s.in.Launched.IsZero() || !s.in.Launched.Before(g.Mark.At) {
		return false
	}
	return s.node == nil || !s.node.Ready && s.node.Changed.Before(g.Mark.At)
}

// finish puts back what the run changed, and waits for the last pods. The journal goes last: while it is there, somebody can go on.
func (v *tick) finish() {
	if !v.closed() || v.plan.Back() && v.stillLaunching() {
		return
	}
	groups := v.journaled()
	for _, g := range groups {
		v.restore(g)
	}
	if len(v.plan.Groups) > 0 {
		v.restoreNodes()
	}
	v.unsurgeAll()
	if len(v.out.Actions) > 0 || !v.settled() {
		return
	}
	for _, g := range groups {
		v.do(fleet.Action{Verb: fleet.Forget, Group: g.Name, Why: "everything is as it was"})
	}
	if len(v.out.Actions) > 0 {
		return
	}
	if r := v.record(); r != nil {
		v.mark("the run is over", func(m *fleet.Marks) { m.Ended = v.s.Now })
		return
	}
	v.out.Done = true
}

// journaled are the plan's groups that carry its mark still.
func (v *tick) journaled() []*fleet.Group {
	var out []*fleet.Group
	for i := range v.plan.Groups {
		if g := v.s.Group(v.plan.Groups[i].Name); g != nil && g.Mark != nil {
			out = append(out, g)
		}
	}
	return out
}

// closed waits until the run's own instances are gone from their groups.
func (v *tick) closed() bool {
	all := true
	for i := range v.plan.Groups {
		g := v.s.Group(v.plan.Groups[i].Name)
		if g == nil {
			continue
		}
		for j := range g.Instances {
			in := &g.Instances[j]
			n := v.ix.nodeOf[in.ID]
			ours := v.isExit[in.ID] || n == nil || n.Mark() != nil && n.Mark().Value == v.plan.Run
			if in.Leaving() && ours {
				v.hold("instance "+in.ID, "is %s", in.Lifecycle)
				all = false
			}
		}
	}
	return all
}

// restoreNodes takes the run's marks off every node that stays, whichever group it is in by now.
func (v *tick) restoreNodes() {
	drained := map[string]string{}
	for _, d := range v.plan.Record.Exits {
		drained[d.Node] = d.Drained
	}
	for i := range v.s.Nodes {
		n := &v.s.Nodes[i]
		at := v.ix.instance[n.Instance]
		if at.in == nil || !at.in.Leaving() && (at.group.Managed == nil || at.group.Managed.Status != deleting) {
			v.restoreNode(n, drained[n.Name])
		}
	}
}

// restore puts one group back.
func (v *tick) restore(g *fleet.Group) {
	for _, process := range g.Mark.Suspended {
		switch {
		case !g.IsSuspended(process):
		case process == fleet.AZRebalance && Lopsided(g):
			v.out.Exceptions = append(v.out.Exceptions, fmt.Sprintf("group %s: AZRebalance stays suspended: the zones are uneven now (%s), and resumed it would end an instance without draining it; even them out, then aws autoscaling resume-processes --auto-scaling-group-name %s --scaling-processes AZRebalance", g.Name, zones(g), g.Name))
		default:
			v.do(fleet.Action{Verb: fleet.Resume, Group: g.Name, Process: process, Why: "it was on before"})
		}
	}
	if back := v.backTo(g); g.Desired > back {
		v.out.Exceptions = append(v.out.Exceptions, fmt.Sprintf("group %s: desired stays %d, before the run it was %d: AWS replaced a node that somebody else ended meanwhile; close one with drover drain --terminate NODE", g.Name, g.Desired, back))
	}
}

// restoreNode takes off what the run put on a node that stays, a former exit among them: one that a later plan no longer wants gone.
// drained is whose drain had tainted it before the run; that taint is put back.
func (v *tick) restoreNode(n *fleet.Node, drained string) {
	if n.Kept == v.plan.Run {
		v.do(fleet.Action{Verb: fleet.Unkeep, Node: n.Name, Why: "the run is over"})
	}
	switch m := n.Mark(); {
	case m == nil || m.Value != v.plan.Run:
	case drained != "" && drained != v.plan.Run:
		v.out.Actions = append(v.out.Actions, fleet.Action{Verb: fleet.Taint_, Run: drained, Node: n.Name, Effect: fleet.NoSchedule, Why: "it was drained before the run"})
	default:
		v.do(fleet.Action{Verb: fleet.Untaint, Node: n.Name, Why: "it stays after all"})
	}
	if n.OutBy == v.plan.Run {
		v.do(fleet.Action{Verb: fleet.Include, Node: n.Name, Why: "it stays after all"})
	}
}

func zones(g *fleet.Group) string {
	count := byZone(g)
	var out []string
	for _, z := range g.Zones {
		out = append(out, fmt.Sprintf("%s %d", z, count[z]))
	}
	return strings.Join(out, ", ")
}

// patience is how long after its creation a moved pod may hold up the end of a run. A pod that is not ready by then would not be ready
// without the move either; it is named and left.
const patience = 5 * time.Minute

// movedOwners are the workloads of which the plan moves pods that have to be Ready again.
func (v *tick) movedOwners() map[fleet.Owner]bool {
	moved := map[fleet.Owner]bool{}
	for _, m := range v.plan.Moves {
		moved[m.Owner] = m.Owner.Kind != "" && m.Owner.Kind != "Job"
	}
	return moved
}

// settled waits until the pods that moved are Ready.
func (v *tick) settled() bool {
	moved := v.movedOwners()
	waiting := 0
	for i := range v.s.Pods {
		p := &v.s.Pods[i]
		if !moved[p.Owner] || p.Ready || p.Finished || p.Terminating {
			continue
		}
		if v.s.Now.Sub(p.Created) > patience {
			v.out.Exceptions = append(v.out.Exceptions, fmt.Sprintf("pod %s: not ready %s after it was created %s", p.Ref, patience, p.Unplaced))
			continue
		}
		waiting++
		v.hold("pod "+p.Ref.String(), "moved, not ready yet %s", p.Unplaced)
	}
	return waiting == 0
}
