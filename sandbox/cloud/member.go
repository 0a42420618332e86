package cloud

import (
	"maps"
	"slices"
	"strings"
)

// LifecycleState is Auto Scaling's word for where an instance is in its group, or in its warm pool.
type LifecycleState string

const (
	LifecyclePending   LifecycleState = "Pending"
	PendingWait        LifecycleState = "Pending:Wait"
	PendingProceed     LifecycleState = "Pending:Proceed"
	InService          LifecycleState = "InService"
	EnteringStandby    LifecycleState = "EnteringStandby"
	OnStandby          LifecycleState = "Standby"
	Terminating        LifecycleState = "Terminating"
	TerminatingWait    LifecycleState = "Terminating:Wait"
	TerminatingProceed LifecycleState = "Terminating:Proceed"
	Retained           LifecycleState = "Terminating:Retained"

	WarmedPending             LifecycleState = "Warmed:Pending"
	WarmedPendingWait         LifecycleState = "Warmed:Pending:Wait"
	WarmedPendingProceed      LifecycleState = "Warmed:Pending:Proceed"
	WarmedPendingRetained     LifecycleState = "Warmed:Pending:Retained"
	WarmedStopped             LifecycleState = "Warmed:Stopped"
	WarmedRunning             LifecycleState = "Warmed:Running"
	WarmedHibernated          LifecycleState = "Warmed:Hibernated"
	WarmedTerminating         LifecycleState = "Warmed:Terminating"
	WarmedTerminatingWait     LifecycleState = "Warmed:Terminating:Wait"
	WarmedTerminatingProceed  LifecycleState = "Warmed:Terminating:Proceed"
	WarmedTerminatingRetained LifecycleState = "Warmed:Terminating:Retained"
)

// retained tells whether an abandoned hook keeps the instance from its end.
func (s LifecycleState) retained() bool { return strings.HasSuffix(string(s), ":Retained") }

// starting are the states of an instance on its way into service; desired capacity counts it.
var starting = []LifecycleState{LifecyclePending, PendingWait, PendingProceed}

// Member is an instance as its group sees it.
type Member struct {
	InstanceID    string
	Group         string
	Zone          string
	Type          string
	Spot          bool
	State         LifecycleState
	Unhealthy     bool
	Protected     bool // from scale-in
	Template      TemplateRef
	Configuration string // name of the launch configuration, if launched from one

	ill       string // what an unhealthy member failed, as the words of an activity's cause
	moving    string // id of the activity that brings it into service, to standby or to the warm pool
	ending    string // id of the activity that ends it
	stopping  bool   // draining and hooks are over, EC2 has been told to end it
	graceOver bool
	doomed    string  // why it is the next to go as soon as there is a replacement, as the words of an activity's cause
	way       passage // the last one it went through, or that it is in
	waits     []Wait  // the hooks that hold it there; a change makes a new list
	pooled    bool    // it comes out of the warm pool
	returning bool    // it goes back there, out of the load balancers first
}

// member finds an instance of the group, in service or in its warm pool.
func (g *Group) member(id string) *Member {
	for _, list := range [][]Member{g.Members, g.Pool} {
		if n := slices.IndexFunc(list, func(m Member) bool { return m.InstanceID == id }); n >= 0 {
			return &list[n]
		}
	}
	return nil
}

// counts tells whether the member is part of what desired capacity counts. Standby is outside of it, on the way there too.
func (m *Member) counts() bool { return m.State == InService || slices.Contains(starting, m.State) }

// Leaving tells whether the group is ending the member, or has kept it from its end.
func (m *Member) Leaving() bool {
	return strings.HasPrefix(string(m.State), string(Terminating)) || strings.HasPrefix(string(m.State), string(WarmedTerminating))
}

// aside tells whether the member is in standby or on the way there: nobody looks at its health, nobody replaces it.
func (m *Member) aside() bool { return m.State == EnteringStandby || m.State == OnStandby }

func (g *Group) count(states ...LifecycleState) int {
	n := 0
	for _, m := range g.Members {
		if slices.Contains(states, m.State) {
			n++
		}
	}
	return n
}

// ids lists the members to visit in a loop that may change the list.
func (g *Group) ids() []string { return idsOf(g.Members) }

// everyone lists the members and those of the warm pool.
func (g *Group) everyone() []string { return append(g.ids(), idsOf(g.Pool)...) }

func idsOf(members []Member) []string {
	var out []string
	for _, m := range members {
		out = append(out, m.InstanceID)
	}
	return out
}

func (w *world) listGroups() []*Group {
	var out []*Group
	for _, name := range slices.Sorted(maps.Keys(w.groups)) {
		out = append(out, w.groups[name])
	}
	return out
}

func (w *world) memberOf(id string) (*Group, *Member) {
	for _, g := range w.groups { // no instance is in two of them
		if m := g.member(id); m != nil {
			return g, m
		}
	}
	return nil, nil
}

func (w *world) findMember(id string) (*Group, *Member, error) {
	g, m := w.memberOf(id)
	if m == nil {
		return nil, nil, invalid("Instance Id not found - No managed instance found for instance ID: %s", id)
	}
	return g, m, nil
}

// DescribeAutoScalingInstances returns the members with these ids, or all, warm pools included, by group and launch; an unknown id is no error.
func (c *Cloud) DescribeAutoScalingInstances(ids []string) ([]Member, error) {
	return read(c, "autoscaling:DescribeAutoScalingInstances", func(w *world) ([]Member, error) {
		var out []Member
		for _, g := range w.listGroups() {
			for _, m := range slices.Concat(g.Members, g.Pool) {
				if len(ids) == 0 || slices.Contains(ids, m.InstanceID) {
					out = append(out, m)
				}
			}
		}
		return out, nil
	})
}

// TerminateInstanceInAutoScalingGroup takes one instance out of its group, scale-in protection and a suspended Terminate process
// notwithstanding. Without decrement the group launches another in its place, unless the instance was in standby, where desired does
// not count it: a decrement then makes the group one smaller than it was. One that is retained goes without being held again.
func (c *Cloud) TerminateInstanceInAutoScalingGroup(id string, decrement bool) (out Activity, err error) {
	err = c.write("autoscaling:TerminateInstanceInAutoScalingGroup", func() error {
		g, m, err := c.w.findMember(id)
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(string(m.State), "Warmed:") && !m.State.retained():
			return invalid("The instance %s is in the warm pool of AutoScalingGroup %s and cannot be terminated by this operation.", id, g.Name)
		case m.Leaving() && !m.State.retained():
			return refuse("ScalingActivityInProgress", "Scaling activity %s is in progress and blocks this action", m.ending)
		case decrement && g.Desired <= g.Min:
			return invalid("Currently, desiredSize equals minSize (%d). Terminating instance without replacement will violate group's min size constraint. "+
				"Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.", g.Min)
		}
		cause := c.at("instance %s was taken out of service in response to a user request.", id)
		if decrement {
			cause = c.at("instance %s was taken out of service in response to a user request, shrinking the capacity from %d to %d.", id, g.Desired, g.Desired-1)
			g.Desired--
		} else if m.counts() {
			g.replace++
		}
		out = c.takeOut(g, id, cause)
		return nil
	})
	return out, err
}

// SetInstanceHealth marks a member healthy or not; an unhealthy one is replaced. With respectGrace an unhealthy mark is ignored
// while the group's grace period runs for it.
func (c *Cloud) SetInstanceHealth(id string, healthy, respectGrace bool) error {
	return c.write("autoscaling:SetInstanceHealth", func() error {
		g, m, err := c.w.findMember(id)
		if err != nil {
			return err
		}
		if !healthy && respectGrace && !m.graceOver && g.HealthCheckGrace > 0 {
			return nil
		}
		m.Unhealthy, m.ill = !healthy, "a user health-check"
		c.changed(g)
		return nil
	})
}

// SetInstanceProtection protects members from scale-in, or no longer.
func (c *Cloud) SetInstanceProtection(group string, ids []string, protected bool) error {
	return c.write("autoscaling:SetInstanceProtection", func() error {
		g, err := c.w.findGroup(group)
		if err != nil {
			return err
		}
		for _, id := range ids {
			m := g.member(id)
			if m == nil {
				return invalid("The instance %s is not part of Auto Scaling group %s.", id, group)
			}
			if m.State != InService && !m.aside() {
				return invalid("The instance %s is not in InService or EnteringStandby or Standby.", id)
			}
		}
		for _, id := range ids {
			g.member(id).Protected = protected
		}
		c.changed(g)
		return nil
	})
}

// memberRunning hears that a machine runs: one that is on its way into service, or into the warm pool, meets the hooks there.
func (c *Cloud) memberRunning(id string) {
	switch g, m := c.w.memberOf(id); {
	case m == nil:
	case m.State == LifecyclePending && m.pooled:
		c.pass(g, id, fromPool)
	case m.State == LifecyclePending:
		c.pass(g, id, intoService)
	case m.State == WarmedPending && !m.returning:
		c.pass(g, id, intoPool)
	}
}

// serve brings an instance into service that is new, comes out of the warm pool, or is back from standby.
func (c *Cloud) serve(id string) {
	g, m := c.w.memberOf(id)
	if m == nil || !slices.Contains(starting, m.State) {
		return
	}
	m.State, m.pooled = InService, false
	c.progress(g, m.moving, Successful, 100)
	if !g.suspended(AddToLoadBalancer) {
		for _, arn := range g.TargetGroups {
			c.register(c.w.targets[arn], TargetID{ID: id})
		}
	}
	c.after(g.HealthCheckGrace, func() {
		if g, m := c.w.memberOf(id); m != nil {
			m.graceOver = true
			c.wake(g)
		}
	})
	c.changed(g)
}

// memberBooted hears that a machine is ready, which only node groups wait for.
func (c *Cloud) memberBooted(id string) {
	if g, _ := c.w.memberOf(id); g != nil && c.w.nodegroupOf(g.Name) != nil {
		c.wake(g)
	}
}

// takeOut begins the end of a member: out of the load balancers first, then past the terminate hooks, then off.
func (c *Cloud) takeOut(g *Group, id, cause string) Activity {
	m := g.member(id)
	if slices.Contains(starting, m.State) || m.State == EnteringStandby {
		c.progress(g, m.moving, Cancelled, 100)
	}
	retained := m.State.retained()
	a := c.record(g, Activity{
		Instance: id, Zone: m.Zone, Description: "Terminating EC2 instance: " + id, Cause: cause, Status: InProgress,
	})
	m.State, m.ending = Terminating, a.ID
	m.dropWaits(everyWait)
	c.changed(g)
	if retained {
		c.switchOff(g, id)
		return a
	}
	c.leaveTargets(g, id)
	if c.targetsOf(id, g.TargetGroups) > 0 {
		c.progress(g, a.ID, WaitingForELBDraining, 50)
		a.Status, a.Progress = WaitingForELBDraining, 50
		return a
	}
	c.passOut(g, id)
	return a
}

// passOut sends a member that has left the load balancers past the terminate hooks. A group that is being deleted has none.
func (c *Cloud) passOut(g *Group, id string) {
	m := g.member(id)
	switch {
	case m == nil || m.State != Terminating || m.stopping:
	case g.Status != "":
		c.switchOff(g, id)
	default:
		c.pass(g, id, outOfService)
	}
}

// leaveTargets takes a member out of the load balancers that are its group's.
func (c *Cloud) leaveTargets(g *Group, id string) {
	c.eachTarget(id, func(tg *TargetGroup, t *Target) {
		if slices.Contains(g.TargetGroups, tg.ARN) {
			c.deregister(tg, t)
		}
	})
}

// switchOff ends the machine of a member whose draining and whose hooks are over.
func (c *Cloud) switchOff(g *Group, id string) {
	m := g.member(id)
	if m == nil || m.stopping {
		return
	}
	m.stopping = true
	c.progress(g, m.ending, InProgress, 60)
	i, ok := c.w.instances[id]
	if !ok || i.State == Terminated {
		c.dropMember(g, id)
		return
	}
	c.end(i, byUser)
}

// dropMember ends the termination of a member, and of a group being deleted when it was the last.
func (c *Cloud) dropMember(g *Group, id string) {
	c.progress(g, g.member(id).ending, Successful, 100)
	is := func(m Member) bool { return m.InstanceID == id }
	g.Members, g.Pool = slices.DeleteFunc(g.Members, is), slices.DeleteFunc(g.Pool, is)
	c.changed(g)
	if g.Status != "" {
		c.tend(g)
	}
}

// memberStopping hears that a machine goes off, by whoever's wish.
func (c *Cloud) memberStopping(i *Instance) {
	if g, _ := c.w.memberOf(i.ID); g != nil {
		c.wake(g)
	}
}

// memberStopped hears that a machine is off.
func (c *Cloud) memberStopped(i *Instance) {
	switch g, m := c.w.memberOf(i.ID); {
	case m == nil:
	case m.State.retained():
		m.ending = "" // that activity came to nothing before
		c.dropMember(g, i.ID)
	case m.stopping:
		c.dropMember(g, i.ID)
	default:
		c.wake(g)
	}
}

// targetChanged hears that a target is not what it was: the end of its draining lets a machine go off, its bad health may
// condemn one.
func (c *Cloud) targetChanged(tg *TargetGroup, t *Target) {
	g, m := c.w.memberOf(t.ID)
	if m == nil {
		return
	}
	switch {
	case m.State == Terminating && m.ending != "" && c.targetsOf(t.ID, g.TargetGroups) == 0:
		c.passOut(g, t.ID)
	case m.State == WarmedPending && m.returning:
		c.passBack(g, t.ID)
	case m.State == EnteringStandby:
		c.standBy(t.ID)
	case t.State == StateUnhealthy:
		c.wake(g)
	}
}
