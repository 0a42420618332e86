package evac

import (
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// giveBack returns the old nodes to service, before the new ones that are too many may go, and reports whether all of them serve again. A node
// whose machine is closed already stays replaced.
func (v *tick) giveBack() bool {
	all, waits := true, false
	for _, d := range v.plan.Record.Exits {
		at := v.ix.instance[d.Instance]
		if at.in == nil || at.in.Leaving() || at.group.Managed != nil && at.group.Managed.Status == deleting {
			continue
		}
		switch done, blocked := v.giveBackOne(at, d); {
		case done:
		case blocked:
			waits = true
		default:
			all = false
		}
	}
	if !all || len(v.out.Actions) > 0 {
		return false
	}
	for i := range v.exits {
		v.markExit(&v.exits[i])
	}
	return len(v.out.Actions) == 0 && (!waits || len(v.exits) > 0)
}

// giveBackOne takes the next step for one old node. It is blocked when the group's maximum has no room for it before another node has gone.
func (v *tick) giveBackOne(at place, d fleet.Departure) (done, blocked bool) {
	in, n := at.in, v.ix.nodeOf[at.in.ID]
	if in.Lifecycle == fleet.OnStandby {
		if at.group.Desired+v.asked(fleet.Unstandby, at.group.Name) >= at.group.Max {
			v.hold("instance "+in.ID, "stays in Standby: group %s is at its maximum of %d", at.group.Name, at.group.Max)
			return false, true
		}
		v.do(fleet.Action{Verb: fleet.Unstandby, Group: at.group.Name, Instance: in.ID, Node: nameOf(n, in), Why: "the run is taken back"})
		return false, false
	}
	before := len(v.out.Actions)
	if n != nil {
		v.restoreNode(n, d.Drained)
	}
	if len(v.out.Actions) > before {
		return false, false
	}
	return v.serves(at.group, in, n, d), false
}

// serves tells whether an old node is as it was, a target of the target groups it was in among others, and says what is missing.
func (v *tick) serves(g *fleet.Group, in *fleet.Instance, n *fleet.Node, d fleet.Departure) bool {
	before := len(v.out.Actions)
	for _, arn := range attached(g) {
		if state := in.Target(arn); slices.Contains(d.Targets, arn) && in.Lifecycle == fleet.InService && (state == fleet.TargetUnused || state == fleet.TargetDraining) {
			v.do(fleet.Action{Verb: fleet.Register, Group: g.Name, Instance: in.ID, Node: nameOf(n, in), Target: arn, Why: "the run is taken back"})
		}
	}
	if len(v.out.Actions) > before {
		return false
	}
	if d.Node == "" || n == nil && in.Launched.Before(v.plan.At) || n != nil && !n.Ready && n.Changed.Before(v.plan.At) {
		return true // it was of no use before either, or has no node any more
	}
	if why := notArrived(g, in, n); why != "" {
		v.hold("instance "+in.ID, "is not back yet: %s", why)
		return false
	}
	return true
}

func nameOf(n *fleet.Node, in *fleet.Instance) string {
	if n == nil {
		return in.ID
	}
	return n.Name
}

// asked counts this tick's actions of a kind on a group.
func (v *tick) asked(verb fleet.Verb, group string) int {
	n := 0
	for _, a := range v.out.Actions {
		if a.Verb == verb && a.Group == group {
			n++
		}
	}
	return n
}

// noLaunch is how long after the way back began a desired capacity that AWS does not follow counts as given up: nothing is being launched that
// lowering it could end.
const noLaunch = 2 * time.Minute

// lower takes back desired capacity that AWS never launched anything for. Sooner, AWS would choose who goes.
func (v *tick) lower(g *fleet.Group) {
	missing := g.Desired - counted(g)
	r := v.record()
	if missing <= 0 || g.Desired <= v.backTo(g) || r == nil {
		return
	}
	for i := range g.Instances {
		if g.Instances[i].Lifecycle != fleet.InService && !g.Instances[i].Parked() {
			missing = 0 // still moving
		}
	}
	if missing == 0 || v.s.Now.Sub(r.Marks.Undoing) < noLaunch {
		v.hold("group "+g.Name, "AWS is still launching: %d there, desired %d", counted(g), g.Desired)
		return
	}
	to := max(counted(g), v.backTo(g)) // whatever comes after all is the surplus of a later tick
	v.do(fleet.Action{Verb: fleet.Resize, Group: g.Name, From: g.Desired, To: to, Why: "AWS launched nothing for the rest"})
}

// stillLaunching tells whether a group may get more than it is to have, or a copy of a managed group may appear: what comes then has to go too.
func (v *tick) stillLaunching() bool {
	r := v.record()
	for _, gp := range v.plan.Groups {
		g := v.s.Group(gp.Name)
		switch {
		case gp.Managed && v.s.Group(gp.Copy) != nil:
			if g != nil && g.Managed != nil && g.Managed.Status != deleting {
				return true // dissolve says what it waits for
			}
		case gp.Managed:
			if r != nil && v.s.Now.Sub(r.Marks.Undoing) < noLaunch {
				v.hold("managed node group "+gp.Copy, "looking whether EKS was making it when the way back began")
				return true
			}
		case g != nil && g.Mark != nil && g.Desired > v.backTo(g) && counted(g) < g.Desired:
			return true // lower says what it waits for
		}
	}
	return false
}

// settleDesired writes down, before the way back begins, what somebody else has made of the desired capacity meanwhile.
func (v *tick) settleDesired() {
	for _, g := range v.journaled() {
		left := 0
		for _, d := range v.plan.Record.Exits {
			if in := g.Instance(d.Instance); in != nil && in.Counted() {
				left++
			}
		}
		if back := reckon(g, left); back != g.Mark.Desired {
			next := *g.Mark
			next.Desired, next.From, next.Set, next.Left = back, g.Desired, g.Desired, left
			v.do(fleet.Action{Verb: fleet.Journal, Group: g.Name, Mark: &next, Why: fmt.Sprintf("somebody wants desired to be %d in the end", back)})
		}
	}
}
