package cloud

import "slices"

// launchWarm launches one instance into the pool, in the zone that has fewest of group and pool together and capacity.
func (c *Cloud) launchWarm(g *Group) bool {
	count := map[string]int{}
	for _, m := range slices.Concat(g.Members, g.Pool) {
		count[m.Zone]++
	}
	zones := slices.Clone(g.Zones)
	slices.SortStableFunc(zones, func(a, b string) int { return count[a] - count[b] })
	for _, zone := range zones {
		if r, err := c.recipe(g, zone); err == nil {
			i := c.launchAs(g, r, zone)
			a := c.record(g, Activity{
				Instance: i.ID, Zone: zone, Description: "Launching a new EC2 instance into warm pool: " + i.ID, Status: InProgress, Progress: 30,
				Cause: c.at("an instance was started in response to a difference between desired and actual capacity of the warm pool."),
			})
			m := g.newMember(i, r)
			m.State, m.moving = WarmedPending, a.ID
			g.Pool = append(slices.Clip(g.Pool), m)
			c.emit(Event{Kind: GroupChanged, Group: g.Name})
			return true
		}
	}
	c.after(c.cfg.Timing.RetryTime, func() { c.wake(g) })
	return false
}

// rest ends the way into the pool: a pool of stopped instances stops its machine first.
func (c *Cloud) rest(g *Group, id string) {
	m := g.member(id)
	m.returning = false
	if g.Warm == nil || g.Warm.Status != "" {
		c.endWarm(g, id, c.at("a user request deleted the warm pool of AutoScalingGroup %s.", g.Name))
		return
	}
	i, ok := c.w.instances[id]
	if g.Warm.State == PoolRunning || !ok || i.Gone() {
		c.comeToRest(g, id)
		return
	}
	m.State = WarmedPendingProceed
	c.halt(i, byUser)
}

// memberRested hears that a machine is stopped.
func (c *Cloud) memberRested(id string) {
	if g, m := c.w.memberOf(id); m != nil && m.State == WarmedPendingProceed {
		c.comeToRest(g, id)
	}
}

func (c *Cloud) comeToRest(g *Group, id string) {
	m := g.member(id)
	m.State = WarmedRunning
	if i, ok := c.w.instances[id]; ok && i.State == Stopped && g.Warm != nil {
		m.State = restingStates[g.Warm.State]
	}
	c.progress(g, m.moving, Successful, 100)
	c.changed(g)
}

// takeFromPool brings a resting instance of the pool on its way into service, from the zone that needs one most. It tells whether there was one.
func (c *Cloud) takeFromPool(g *Group, cause string) bool {
	for _, zone := range g.emptiestFirst() {
		n := slices.IndexFunc(g.Pool, func(m Member) bool { return m.Zone == zone && m.resting() })
		if n < 0 {
			continue
		}
		m := g.Pool[n]
		i, ok := c.w.instances[m.InstanceID]
		if !ok || i.ended() || i.State == Stopped && c.dry(zone, i.Type) {
			continue
		}
		a := c.record(g, Activity{
			Instance: i.ID, Zone: zone, Description: "Launching a new EC2 instance from warm pool: " + i.ID, Cause: cause, Status: PreInService, Progress: 30,
		})
		m.State, m.moving, m.pooled, m.graceOver = LifecyclePending, a.ID, true, false
		g.Pool = slices.Delete(slices.Clone(g.Pool), n, n+1)
		g.Members = append(slices.Clip(g.Members), m)
		c.emit(Event{Kind: GroupChanged, Group: g.Name})
		if i.State == Stopped {
			c.powerOn(i)
		} else {
			c.after(c.cfg.Timing.ReactionTime, func() { c.memberRunning(i.ID) })
		}
		return true
	}
	return false
}

// retire takes a member out that is too many: back into the pool, if that takes such and has room, else off.
func (c *Cloud) retire(g *Group, id, cause string) {
	if g.Warm == nil || !g.Warm.Reuse || g.staying() >= g.poolSize() {
		c.takeOut(g, id, cause)
		return
	}
	m := *g.member(id)
	a := c.record(g, Activity{Instance: id, Zone: m.Zone, Description: "Returning EC2 instance to warm pool: " + id, Cause: cause, Status: InProgress, Progress: 30})
	m.State, m.moving, m.returning, m.doomed = WarmedPending, a.ID, true, ""
	g.Members = slices.DeleteFunc(slices.Clone(g.Members), func(o Member) bool { return o.InstanceID == id })
	g.Pool = append(slices.Clip(g.Pool), m)
	c.changed(g)
	c.leaveTargets(g, id)
	c.passBack(g, id)
}

// passBack sends an instance that has left the load balancers past the hooks on its way back into the pool.
func (c *Cloud) passBack(g *Group, id string) {
	if m := g.member(id); m != nil && m.State == WarmedPending && m.returning && c.targetsOf(id, g.TargetGroups) == 0 {
		m.returning = false
		c.pass(g, id, backToPool)
	}
}

// endWarm ends an instance of the pool, past the terminate hooks.
func (c *Cloud) endWarm(g *Group, id, cause string) {
	c.beginEnd(g, id, cause)
	c.pass(g, id, outOfPool)
}

// dropWarm ends an instance of the pool whatever hooks there are.
func (c *Cloud) dropWarm(g *Group, id, cause string) {
	if !g.member(id).Leaving() {
		c.beginEnd(g, id, cause)
	}
	g.member(id).dropWaits(everyWait)
	c.switchOff(g, id)
}

func (c *Cloud) beginEnd(g *Group, id, cause string) {
	m := g.member(id)
	if !m.resting() {
		c.progress(g, m.moving, Cancelled, 100)
	}
	a := c.record(g, Activity{Instance: id, Zone: m.Zone, Description: "Terminating EC2 instance: " + id, Cause: cause, Status: InProgress})
	m.State, m.ending, m.returning = WarmedTerminating, a.ID, false
	m.dropWaits(everyWait)
	c.changed(g)
}
