package cloud

import (
	"cmp"
	"slices"
)

// The states that a pool keeps its instances in.
const (
	PoolStopped    = "Stopped"
	PoolRunning    = "Running"
	PoolHibernated = "Hibernated"
)

// WarmPool is instances that a group prepares before it needs them.
type WarmPool struct {
	Group       string
	Min         int
	MaxPrepared int    // in service and in the pool together; below 0: the group's maximum
	State       string // of those who wait: PoolStopped, PoolRunning or PoolHibernated
	Reuse       bool   // scale-in returns instances to the pool
	Status      string // empty, or PendingDelete
}

var restingStates = map[string]LifecycleState{PoolStopped: WarmedStopped, PoolRunning: WarmedRunning, PoolHibernated: WarmedHibernated}

// resting tells whether a member of a pool has nothing more to do there.
func (m *Member) resting() bool {
	return m.State == WarmedStopped || m.State == WarmedRunning || m.State == WarmedHibernated
}

// PutWarmPool makes or changes the warm pool of a group. Groups that buy spot instances can have none.
func (c *Cloud) PutWarmPool(p WarmPool) error {
	return c.write("autoscaling:PutWarmPool", func() error {
		g, err := c.w.findGroup(p.Group)
		if err != nil {
			return err
		}
		p.State, p.Status = cmp.Or(p.State, PoolStopped), ""
		switch {
		case p.Min < 0 || restingStates[p.State] == "":
			return invalid("The warm pool of AutoScalingGroup %s needs a min size of 0 or more, and Stopped, Running or Hibernated for a pool state.", g.Name)
		case g.Source.Mixed != nil || c.launchesSpot(g):
			return invalid("You can't add a warm pool to an Auto Scaling group that has a mixed instances policy or requests Spot Instances.")
		case g.Warm != nil && g.Warm.Status != "":
			return refuse("ScalingActivityInProgress", "The warm pool of AutoScalingGroup %s is being deleted", g.Name)
		}
		g.Warm = &p
		c.changed(g)
		return nil
	})
}

func (c *Cloud) launchesSpot(g *Group) bool {
	all, err := c.recipes(g.Source)
	return err == nil && slices.ContainsFunc(all, func(r recipe) bool { return r.data.Spot })
}

// DescribeWarmPool returns the warm pool of a group and who is in it; a group without one has the zero pool.
func (c *Cloud) DescribeWarmPool(group string) (pool WarmPool, members []Member, err error) {
	g, err := read(c, "autoscaling:DescribeWarmPool", func(w *world) (Group, error) {
		g, ok := w.groups[group]
		if !ok {
			return Group{}, invalid("AutoScalingGroup name not found - AutoScalingGroup %s not found", group)
		}
		return g.clone(), nil
	})
	if err != nil || g.Warm == nil {
		return WarmPool{}, nil, err
	}
	return *g.Warm, g.Pool, nil
}

// DeleteWarmPool ends the instances of a pool, and then the pool; with force hooks hold none of them.
func (c *Cloud) DeleteWarmPool(group string, force bool) error {
	return c.write("autoscaling:DeleteWarmPool", func() error {
		g, err := c.w.findGroup(group)
		switch {
		case err != nil:
			return err
		case g.Warm == nil:
			return invalid("No warm pool found for AutoScalingGroup %s", group)
		}
		g.Warm = new(*g.Warm)
		g.Warm.Status = "PendingDelete"
		cause := c.at("a user request deleted the warm pool of AutoScalingGroup %s.", g.Name)
		for _, id := range idsOf(g.Pool) {
			if force {
				c.dropWarm(g, id, cause)
			} else if !g.member(id).Leaving() {
				c.endWarm(g, id, cause)
			}
		}
		c.changed(g)
		return nil
	})
}

// poolSize is how many instances the pool of a group is to have.
func (g *Group) poolSize() int {
	if g.Warm == nil || g.Warm.Status != "" {
		return 0
	}
	prepared := g.Warm.MaxPrepared
	if prepared < 0 {
		prepared = g.Max
	}
	return max(0, g.Warm.Min, prepared-g.Desired)
}

// staying counts who is in the pool and is not being ended.
func (g *Group) staying() int {
	n := 0
	for _, m := range g.Pool {
		if !m.Leaving() && !m.State.retained() {
			n++
		}
	}
	return n
}

// tendPool does what the pool needs now, after the group itself has what it needs.
func (c *Cloud) tendPool(g *Group) {
	if g.Warm == nil {
		return
	}
	for _, id := range idsOf(g.Pool) {
		i, ok := c.w.instances[id]
		if m := g.member(id); !m.Leaving() && !m.State.retained() && (!ok || i.ended()) {
			c.endWarm(g, id, c.at("an instance was taken out of service in response to an EC2 health check indicating it has been terminated or stopped."))
		}
	}
	for n, size := g.staying(), g.poolSize(); n < size && !g.suspended(Launch); n++ {
		if !c.launchWarm(g) {
			break
		}
	}
	c.shrinkPool(g)
	if g.Warm.Status != "" && len(g.Pool) == 0 {
		g.Warm = nil
		c.changed(g)
	}
}

// shrinkPool ends those who are too many, of those who have come to rest.
func (c *Cloud) shrinkPool(g *Group) {
	if g.suspended(Terminate) {
		return
	}
	surplus := g.staying() - g.poolSize()
	for _, id := range idsOf(g.Pool) {
		if surplus > 0 && g.member(id).resting() {
			surplus--
			c.endWarm(g, id, c.at("an instance was taken out of service in response to a difference between desired and actual capacity of the warm pool."))
		}
	}
}
