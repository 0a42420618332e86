package cloud

import (
	"slices"
	"strings"
)

// wake has the group look at itself after the reaction time; several reasons within that time are one look.
func (c *Cloud) wake(g *Group) {
	if g.awake {
		return
	}
	g.awake = true
	c.after(c.cfg.Timing.ReactionTime, func() {
		g.awake = false
		if c.w.groups[g.Name] == g { // not deleted, not another of the same name
			c.tend(g)
			c.tendNodegroup(g.Name)
		}
	})
}

// tend does what the group needs now. It is safe at any time: doing it twice does nothing twice.
func (c *Cloud) tend(g *Group) {
	if g.Status != "" {
		c.dismantle(g)
		return
	}
	c.checkHealth(g)
	c.replaceUnhealthy(g)
	serving := g.count(InService)
	have := serving + g.count(starting...)
	if serving <= g.Desired {
		g.refused = false
	}
	switch {
	case have < g.Desired:
		c.scaleOut(g, have)
	case serving > g.Desired:
		// Only what serves counts: a surplus that still starts replaces nobody yet.
		c.scaleIn(g, serving)
	case have == g.Desired:
		g.why, g.replace = "", 0
		g.spareAll()
		if !c.replaceAtRisk(g) {
			c.rebalance(g)
		}
	}
	c.tendPool(g)
}

// dismantle ends whatever a group that is being deleted still has, its lifecycle actions with it.
func (c *Cloud) dismantle(g *Group) {
	cause := c.at("a user request force deleted AutoScalingGroup %s changing the desired capacity to 0.", g.Name)
	for _, id := range g.ids() {
		switch m := g.member(id); {
		case m == nil || m.State == Terminating:
		case m.Leaving():
			m.dropWaits(everyWait)
			c.switchOff(g, id)
		default:
			c.takeOut(g, id, cause)
		}
	}
	for _, id := range idsOf(g.Pool) {
		c.dropWarm(g, id, cause)
	}
	if len(g.everyone()) == 0 && c.w.groups[g.Name] == g {
		delete(c.w.groups, g.Name)
		delete(c.w.activities, g.Name)
		c.emit(Event{Kind: GroupChanged, Group: g.Name})
		c.tendNodegroup(g.Name)
	}
}

// checkHealth marks members whose machine is off, or whom a load balancer finds unhealthy if the group listens to it.
func (c *Cloud) checkHealth(g *Group) {
	if g.suspended(CheckHealth) {
		return
	}
	for n := range g.Members {
		m := &g.Members[n]
		if !m.counts() || m.Unhealthy {
			continue
		}
		if i, ok := c.w.instances[m.InstanceID]; !ok || i.Gone() {
			m.Unhealthy, m.ill = true, "an EC2 health check indicating it has been terminated or stopped"
			continue
		}
		if !m.graceOver || !strings.Contains(g.HealthCheckType, "ELB") {
			continue
		}
		c.eachTarget(m.InstanceID, func(tg *TargetGroup, t *Target) {
			if t.State == StateUnhealthy && slices.Contains(g.TargetGroups, tg.ARN) {
				m.Unhealthy, m.ill = true, "an ELB system health check failure"
			}
		})
	}
}

// replaceUnhealthy takes unhealthy members out; the lack of capacity then brings others. A suspended Terminate holds it back, a
// suspended Launch does not.
func (c *Cloud) replaceUnhealthy(g *Group) {
	if g.suspended(ReplaceUnhealthy) || g.suspended(Terminate) {
		return
	}
	for _, id := range g.ids() {
		if m := g.member(id); m != nil && m.Unhealthy && m.counts() {
			g.replace++
			c.takeOut(g, id, c.at("an instance was taken out of service in response to %s.", m.ill))
		}
	}
}

func (c *Cloud) scaleOut(g *Group, have int) {
	if g.suspended(Launch) {
		return
	}
	change := c.at("an instance was started in response to a difference between desired and actual capacity, increasing the capacity from %d to %d.", have, g.Desired)
	for n := have; n < g.Desired; n++ {
		cause := because(g.why, change)
		if g.replace > 0 {
			cause = c.at("an instance was launched in response to an unhealthy instance needing to be replaced.")
		}
		if !c.takeFromPool(g, cause) && !c.launchMember(g, g.emptiestFirst(), cause) {
			return
		}
		g.replace = max(0, g.replace-1)
	}
}

func (c *Cloud) scaleIn(g *Group, serving int) {
	if g.suspended(Terminate) {
		return
	}
	change := c.at("an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from %d to %d.", serving, g.Desired)
	for n := serving; n > g.Desired; n-- {
		m := c.victim(g)
		if m == nil {
			if !g.refused {
				c.record(g, Activity{
					Description: "Could not scale to desired capacity because all remaining instances are protected from scale-in.",
					Cause:       because(g.why, change), Status: Cancelled,
				})
			}
			g.refused = true
			return
		}
		c.retire(g, m.InstanceID, because(m.doomed, g.why, change, c.at("instance %s was selected for termination.", m.InstanceID)))
	}
}

// rebalance launches in zones that have too few instances, at most a tenth over the maximum or one; the surplus then makes
// scaleIn take out as many in the crowded zones. It waits for earlier launches, and leaves alone what scaleIn could not take out.
func (c *Cloud) rebalance(g *Group) {
	if g.suspended(AZRebalance) || g.suspended(Launch) || g.count(starting...) > 0 {
		return
	}
	count, movable := map[string]int{}, map[string]int{}
	for _, m := range g.Members {
		if m.State == InService {
			count[m.Zone]++
			if !m.Protected {
				movable[m.Zone]++
			}
		}
	}
	room := g.spare()
	var into []string
	for ; room > 0; room-- {
		from, to := g.crowdedZone(count, movable), c.lackingZone(g, count)
		if from == "" || to == "" || slices.Contains(g.Zones, from) && count[from]-count[to] <= 1 {
			break
		}
		count[from]--
		movable[from]--
		count[to]++
		into = append(into, to)
	}
	if len(into) == 0 {
		return
	}
	zones := slices.Compact(slices.Sorted(slices.Values(into)))
	g.why = c.balancing(zones)
	for _, zone := range into {
		if !c.launchMember(g, []string{zone}, g.why) {
			return
		}
	}
}

// spareAll takes back who was the next to go: the replacement did not come.
func (g *Group) spareAll() {
	for n := range g.Members {
		g.Members[n].doomed = ""
	}
}

// balancing is the cause of what a rebalance does, in AWS's words.
func (c *Cloud) balancing(zones []string) string {
	return c.at("instances were launched to balance instances in zones %s with other zones resulting in more than desired number of instances in the group.",
		strings.Join(zones, " "))
}

// spare is how many more instances a rebalance may launch: it may go over the maximum by a tenth, or one.
func (g *Group) spare() int {
	return g.Max + max(1, g.Max/10) - g.count(InService) - g.count(starting...)
}

// crowdedZone returns the zone with most instances of those where one may go; a zone that is no longer the group's comes first.
func (g *Group) crowdedZone(count, movable map[string]int) string {
	best := ""
	for _, zone := range zonesOf(count) {
		if movable[zone] == 0 {
			continue
		}
		if !slices.Contains(g.Zones, zone) {
			return zone
		}
		if best == "" || count[zone] > count[best] {
			best = zone
		}
	}
	return best
}

// lackingZone returns the group's zone with fewest instances of those where a launch would work.
func (c *Cloud) lackingZone(g *Group, count map[string]int) string {
	best := ""
	for _, zone := range g.Zones {
		if _, err := c.recipe(g, zone); err == nil && (best == "" || count[zone] < count[best]) {
			best = zone
		}
	}
	return best
}

func zonesOf(count map[string]int) []string {
	var out []string
	for zone := range count {
		out = append(out, zone)
	}
	slices.Sort(out)
	return out
}

// emptiestFirst lists the group's zones, those with fewest instances first, equal ones as the group names them.
func (g *Group) emptiestFirst() []string {
	count := map[string]int{}
	for _, m := range g.Members {
		if m.counts() {
			count[m.Zone]++
		}
	}
	zones := slices.Clone(g.Zones)
	slices.SortStableFunc(zones, func(a, b string) int { return count[a] - count[b] })
	return zones
}
