package cloud

// standbyAtOnce is how many instances one call of EnterStandby or ExitStandby may name.
const standbyAtOnce = 19

// EnterStandby takes instances out of service and out of the group's load balancers but keeps them running; all of them or, when one
// id is wrong, none. With decrement desired falls by as many; without it the group launches others in their place.
func (c *Cloud) EnterStandby(group string, ids []string, decrement bool) (out []Activity, err error) {
	err = c.write("autoscaling:EnterStandby", func() error {
		g, err := c.standbyGroup(group, ids, InService)
		if err != nil {
			return err
		}
		if decrement && g.Desired-len(ids) < g.Min {
			return g.sizes("place into standby", len(ids))
		}
		for _, id := range ids {
			cause := c.at("instance %s was moved to standby in response to a user request.", id)
			if decrement {
				cause = c.at("instance %s was moved to standby in response to a user request, shrinking the capacity from %d to %d.", id, g.Desired, g.Desired-1)
				g.Desired--
			}
			out = append(out, c.setAside(g, id, cause))
		}
		return nil
	})
	return out, err
}

// ExitStandby puts instances back into service. Desired rises by as many, for which there must be room under the maximum.
func (c *Cloud) ExitStandby(group string, ids []string) (out []Activity, err error) {
	err = c.write("autoscaling:ExitStandby", func() error {
		g, err := c.standbyGroup(group, ids, OnStandby)
		if err != nil {
			return err
		}
		if g.Desired+len(ids) > g.Max {
			return g.sizes("move out of standby", len(ids))
		}
		for _, id := range ids {
			cause := c.at("instance %s was moved out of standby in response to a user request, increasing the capacity from %d to %d.", id, g.Desired, g.Desired+1)
			g.Desired++
			out = append(out, c.bringBack(g, id, cause))
		}
		return nil
	})
	return out, err
}

// standbyGroup finds the group of a call and checks that every instance is in the state that the call starts from.
func (c *Cloud) standbyGroup(group string, ids []string, from LifecycleState) (*Group, error) {
	g, err := c.w.findGroup(group)
	if err != nil {
		return nil, err
	}
	if len(ids) > standbyAtOnce {
		return nil, invalid("1 validation error detected: Value at 'instanceIds' failed to satisfy constraint: Member must have length less than or equal to %d", standbyAtOnce)
	}
	seen := map[string]bool{}
	for _, id := range ids {
		switch m := g.member(id); {
		case m == nil:
			return nil, invalid("The instance %s is not part of Auto Scaling group %s.", id, group)
		case m.State != from || seen[id]:
			return nil, invalid("The instance %s is not in %s.", id, from)
		}
		seen[id] = true
	}
	return g, nil
}

func (g *Group) sizes(what string, n int) error {
	return invalid("AutoScalingGroup %s has min-size=%d, max-size=%d, and desired-size=%d. To %s %d instance(s), please update the AutoScalingGroup sizes appropriately.",
		g.Name, g.Min, g.Max, g.Desired, what, n)
}

// setAside begins the way into standby: what serves there drains first.
func (c *Cloud) setAside(g *Group, id, cause string) Activity {
	m := g.member(id)
	a := c.record(g, Activity{Instance: id, Zone: m.Zone, Description: "Moving EC2 instance to Standby: " + id, Cause: cause, Status: InProgress, Progress: 50})
	m.State, m.moving = EnteringStandby, a.ID
	c.changed(g)
	c.leaveTargets(g, id)
	c.after(c.cfg.Timing.ReactionTime, func() { c.standBy(id) })
	return a
}

// standBy ends the way into standby, when nothing of the instance is left in the group's load balancers.
func (c *Cloud) standBy(id string) {
	g, m := c.w.memberOf(id)
	if m == nil || m.State != EnteringStandby || c.targetsOf(id, g.TargetGroups) > 0 {
		return
	}
	m.State = OnStandby
	c.progress(g, m.moving, Successful, 100)
	c.changed(g)
}

// bringBack begins the way out of standby.
func (c *Cloud) bringBack(g *Group, id, cause string) Activity {
	m := g.member(id)
	a := c.record(g, Activity{Instance: id, Zone: m.Zone, Description: "Moving EC2 instance out of Standby: " + id, Cause: cause, Status: PreInService, Progress: 30})
	m.State, m.moving, m.graceOver = LifecyclePending, a.ID, false
	c.changed(g)
	c.after(c.cfg.Timing.ReactionTime, func() { c.serve(id) })
	return a
}
