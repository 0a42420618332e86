package cloud

import (
	"fmt"
	"slices"
)

// RebalanceZones has Auto Scaling move one instance of a group to another zone now, as it does when it finds a group uneven: another one is
// launched where there are fewest, and when that serves, the instance goes, past its hooks, for the causes that AWS records. Without an instance
// AWS chooses, from the zone with most. A group that is uneven afterwards moves one back by itself.
func (c *Cloud) RebalanceZones(group, instance string) error {
	return c.happen(func() error {
		g, err := c.w.findGroup(group)
		if err != nil {
			return err
		}
		for _, process := range []string{AZRebalance, Launch, Terminate} {
			if g.suspended(process) {
				return fmt.Errorf("rebalance zones of %s: %s is suspended", group, process)
			}
		}
		m, err := c.toMove(g, instance)
		if err != nil {
			return fmt.Errorf("rebalance zones of %s: %w", group, err)
		}
		id, away := m.InstanceID, m.Zone
		zones := slices.DeleteFunc(g.emptiestFirst(), func(z string) bool { return z == away })
		if len(zones) == 0 || g.spare() <= 0 {
			return fmt.Errorf("rebalance zones of %s: there is no other zone, or no room for one more instance", group)
		}
		m.doomed = c.balancing(zones[:1])
		if !c.launchMember(g, zones, m.doomed) {
			g.member(id).doomed = ""
			return fmt.Errorf("rebalance zones of %s: nothing could be launched in %v", group, zones)
		}
		c.wake(g)
		return nil
	})
}

// toMove finds who leaves its zone.
func (c *Cloud) toMove(g *Group, instance string) (*Member, error) {
	if instance != "" {
		m := g.member(instance)
		if m == nil || m.State != InService || m.Protected {
			return nil, fmt.Errorf("%s is not in service there, or is protected", instance)
		}
		return m, nil
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
	zone := g.crowdedZone(count, movable)
	var from []string
	for _, m := range g.Members {
		if m.State == InService && !m.Protected && m.Zone == zone {
			from = append(from, m.InstanceID)
		}
	}
	if len(from) == 0 {
		return nil, fmt.Errorf("no instance may move")
	}
	return g.member(pick(c.dice, from)), nil
}
