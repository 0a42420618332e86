package evac

import (
	"fmt"
	"regexp"
	"strings"

	"drover.dev/fleet"
)

// A managed node group is rotated as a whole: EKS would choose the order of its own roll, at random, and end nodes a fixed time after it
// drained them. So the run has EKS make a copy of the group on the version that it is to run, empties the old nodes as it empties any, and
// has EKS delete the old group when nothing is on it any more.

// ofRun is the end of a group's name that an earlier run gave it.
var ofRun = regexp.MustCompile(`-\d{8}-\d{6}-[0-9a-f]{3}$`)

// copyName names a group's copy after the run that makes it. EKS allows 63 characters.
func copyName(group, run string) string {
	suffix := "-" + strings.TrimPrefix(run, "r-")
	base := ofRun.ReplaceAllString(group, "")
	return base[:min(len(base), 63-len(suffix))] + suffix
}

// copyOf is a managed node group that EKS is about to make as a copy of another.
func copyOf(g *fleet.Group, a fleet.Action) fleet.Group {
	return fleet.Group{
		Name: a.Copy, Min: g.Min, Max: max(g.Max, a.To), Desired: a.To, Zones: g.Zones, Wants: g.Wants, Targets: g.Targets,
		Managed: &fleet.Managed{Cluster: g.Managed.Cluster, Status: creating, Version: g.Managed.Latest, Latest: g.Managed.Latest, CopyOf: g.Name, Run: a.Run},
	}
}

// States of a managed node group, in EKS's words.
const (
	active   = "ACTIVE"
	creating = "CREATING"
	deleting = "DELETING"
)

func managedFindings(g *fleet.Group, exits int, o Options) []fleet.Finding {
	var out []fleet.Finding
	here := 0
	for i := range g.Instances {
		if !g.Instances[i].Leaving() {
			here++
		}
	}
	if exits < here {
		out = append(out, finding(managedPart, "managed node group "+g.Name, "is replaced as a whole, and %d of its %d nodes are chosen", exits, here).next("choose all of them (--all), or leave the group out"))
	}
	if m := g.Managed; m.Status != active || m.Trouble != "" {
		why := "is " + m.Status
		if m.Trouble != "" {
			why += ": " + m.Trouble
		}
		out = append(out, finding(managedBusy, "managed node group "+g.Name, "%s", why).next("let EKS finish, or mend what it names, then plan again"))
	}
	if o.Bake > 0 {
		out = append(out, finding(managedBake, "managed node group "+g.Name, "has no Standby to keep old nodes in").next("leave out --bake for it"))
	}
	return out
}

// duplicate has EKS make the copy of a managed group, and waits for it.
func (v *tick) duplicate(gp *GroupPlan) {
	g := v.s.Group(gp.Name)
	if g == nil || v.left(g.Name) == 0 || g.Managed != nil && g.Managed.Status == deleting {
		return
	}
	c := v.s.Group(gp.Copy)
	if c == nil {
		v.do(fleet.Action{Verb: fleet.CreateGroup, Group: g.Name, Copy: gp.Copy, To: g.Desired, Why: fmt.Sprintf("%d nodes to replace, as a whole", v.left(g.Name))})
		return
	}
	if why := v.copyLacks(c); why != "" {
		v.hold("managed node group "+c.Name, "%s", why)
	}
}

// copyLacks says what a copy still lacks before it can take over.
func (v *tick) copyLacks(c *fleet.Group) string {
	switch {
	case c.Managed == nil:
		return "is no managed node group"
	case c.Managed.Trouble != "":
		return "EKS reports: " + c.Managed.Trouble
	case c.Managed.Status != active:
		return "EKS says it is " + c.Managed.Status
	}
	ready := 0
	for i := range c.Instances {
		if n := v.ix.nodeOf[c.Instances[i].ID]; n != nil && n.Ready && !n.Starting() {
			ready++
		}
	}
	if ready < c.Desired {
		return fmt.Sprintf("%d of its %d nodes are Ready", ready, c.Desired)
	}
	return ""
}

// copyComing tells whether a managed group's copy is not whole yet.
func (v *tick) copyComing(gp *GroupPlan) bool {
	if v.plan.Back() || v.left(gp.Name) == 0 {
		return false
	}
	c := v.s.Group(gp.Copy)
	return c == nil || v.copyLacks(c) != ""
}

// managedStays says why an empty node of a managed group stays in service.
func (v *tick) managedStays(e *exit) string {
	if v.plan.Back() {
		return "" // giveBack has made sure that the old ones serve
	}
	gp := v.plan.Group(e.Group)
	if gp == nil {
		return ""
	}
	c := v.s.Group(gp.Copy)
	if c == nil {
		return "its group's copy is not there yet"
	}
	return v.copyLacks(c)
}

// dissolve deletes a managed group of which every node is empty and out of every load balancer.
func (v *tick) dissolve() {
	left := map[string]int{}
	for i := range v.exits {
		e := &v.exits[i]
		if e.group == nil || e.group.Managed == nil || !e.Release {
			continue
		}
		if !v.emptied[e.Instance] {
			left[e.Group]++
		} else if _, ok := left[e.Group]; !ok {
			left[e.Group] = 0
		}
	}
	for _, gp := range v.plan.Groups {
		name := gp.Name
		if v.plan.Back() {
			name = gp.Copy
		}
		g := v.s.Group(name)
		if !gp.Managed || g == nil || g.Managed == nil {
			continue
		}
		n, ok := left[g.Name]
		ok = ok || v.plan.Back() && v.s.Group(gp.Name) != nil
		switch {
		case !ok:
		case g.Managed.Status == "":
			v.hold("managed node group "+g.Name, "EKS does not say how it is: %s", g.Trouble)
		case g.Managed.Status == creating:
			v.hold("managed node group "+g.Name, "EKS is still making it")
		case g.Managed.Status == deleting:
			v.hold("managed node group "+g.Name, "EKS is deleting it")
		case n > 0:
			v.hold("managed node group "+g.Name, "%s still to empty before EKS deletes it", plural(n, "node", "nodes"))
		case v.strangers(g) == "":
			v.do(v.deletion(g))
		default:
			v.hold("managed node group "+g.Name, "%s", v.strangers(g))
		}
	}
}

// deletion names what the group holds, so that the hands can see whether that is still so.
func (v *tick) deletion(g *fleet.Group) fleet.Action {
	a := fleet.Action{Verb: fleet.DeleteGroup, Group: g.Name, Expect: fleet.Expect{Empty: true}, Why: "every node of it is empty and out of every load balancer"}
	for i := range g.Instances {
		a.Instances = append(a.Instances, g.Instances[i].ID)
		if n := v.ix.nodeOf[g.Instances[i].ID]; n != nil {
			a.Nodes = append(a.Nodes, n.Name)
		}
	}
	return a
}

// strangers names an instance of the group that is no exit: somebody, or cluster-autoscaler, added it meanwhile.
func (v *tick) strangers(g *fleet.Group) string {
	for i := range g.Instances {
		if in := &g.Instances[i]; !v.isExit[in.ID] && !in.Leaving() {
			return fmt.Sprintf("instance %s came to it after the plan was made, so it is not deleted; drain that node, or lower the group's size", in.ID)
		}
	}
	return ""
}

// copyExits are the nodes that go when a managed group's replacement is taken back: all of the copy, as long as the old group is there.
func (ix *index) copyExits(gp *GroupPlan, run string) []Exit {
	g, c := ix.s.Group(gp.Name), ix.s.Group(gp.Copy)
	if g == nil || c == nil || g.Managed != nil && g.Managed.Status == deleting {
		return nil
	}
	var out []Exit
	for i := range c.Instances {
		if !c.Instances[i].Leaving() {
			out = append(out, ix.undoExit(c, &c.Instances[i], run))
		}
	}
	return out
}
