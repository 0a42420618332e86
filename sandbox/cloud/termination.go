package cloud

import (
	"slices"
	"time"
)

// policy narrows candidates down to those it would end first; it returns at least one of them.
type policy func(c *Cloud, g *Group, from []Member) []Member

var policies = map[string]policy{
	"Default":                   defaultPolicy,
	"AllocationStrategy":        misallocated,
	"OldestInstance":            func(c *Cloud, _ *Group, from []Member) []Member { return least(from, c.launchTime) },
	"NewestInstance":            func(c *Cloud, _ *Group, from []Member) []Member { return most(from, c.launchTime) },
	"OldestLaunchConfiguration": oldestSource,
	"OldestLaunchTemplate":      oldestSource,
	"ClosestToNextInstanceHour": func(c *Cloud, _ *Group, from []Member) []Member { return least(from, c.hourLeft) },
}

// victim chooses who goes at scale-in, nil if everybody is protected. The zone comes before any policy: AWS keeps zones balanced
// first. Somebody whose replacement has come goes before all others. What the policies leave open is decided by dice.
func (c *Cloud) victim(g *Group) *Member {
	count, movable := map[string]int{}, map[string]int{}
	var from []Member
	for _, m := range g.Members {
		if m.State != InService {
			continue
		}
		count[m.Zone]++
		if !m.Protected {
			movable[m.Zone]++
			from = append(from, m)
		}
	}
	if n := slices.IndexFunc(g.Members, func(m Member) bool { return m.doomed != "" && m.State == InService }); n >= 0 {
		return &g.Members[n]
	}
	if len(from) == 0 {
		return nil
	}
	zone := g.crowdedZone(count, movable)
	foreign := !slices.Contains(g.Zones, zone)
	from = slices.DeleteFunc(from, func(m Member) bool {
		if foreign {
			return m.Zone != zone
		}
		return count[m.Zone] < count[zone] // equally crowded zones are all in the choice
	})
	for _, name := range g.TerminationPolicies {
		from = policies[name](c, g, from)
	}
	chosen := pick(c.dice, from)
	return &chosen
}

func defaultPolicy(c *Cloud, g *Group, from []Member) []Member {
	from = misallocated(c, g, from)
	from = oldestSource(c, g, from)
	return least(from, c.hourLeft)
}

// misallocated prefers the purchase option of which a mixed group would have too many.
func misallocated(_ *Cloud, g *Group, from []Member) []Member {
	if g.Source.Mixed == nil {
		return from
	}
	onDemand, all := 0, 0
	for _, m := range g.Members {
		if m.State == InService {
			all++
			if !m.Spot {
				onDemand++
			}
		}
	}
	tooMany := onDemand > g.onDemandOf(all-1)
	preferred := slices.DeleteFunc(slices.Clone(from), func(m Member) bool { return m.Spot == tooMany })
	if len(preferred) == 0 {
		return from
	}
	return preferred
}

// oldestSource prefers members launched from a launch configuration, then those from a template that is not the group's, then
// those from older versions. It serves for groups with launch configurations too: the oldest of them goes first.
func oldestSource(c *Cloud, g *Group, from []Member) []Member {
	current := map[string]bool{}
	if all, err := c.recipes(g.Source); err == nil {
		for _, r := range all {
			current[r.template.ID] = true
		}
	}
	const never = 1 << 62 // above every serial number
	return least(from, func(m Member) int64 {
		if lc, ok := c.w.configs[m.Configuration]; ok {
			return int64(lc.seq) - never
		} else if m.Configuration != "" {
			return -never // deleted
		}
		age := int64(0)
		if t, ok := c.w.templates[m.Template.ID]; ok {
			if v, ok := t.version(m.Template.Version); ok {
				age = int64(v.seq)
			}
		}
		if current[m.Template.ID] {
			return age
		}
		return age - never/2
	})
}

func (c *Cloud) launchTime(m Member) int64 {
	if i, ok := c.w.instances[m.InstanceID]; ok {
		return i.LaunchTime.Unix()
	}
	return 0
}

// hourLeft is the time until the next hour since launch is full.
func (c *Cloud) hourLeft(m Member) int64 {
	i, ok := c.w.instances[m.InstanceID]
	if !ok {
		return 0
	}
	return int64(time.Hour - c.now().Sub(i.LaunchTime)%time.Hour)
}

func least(from []Member, key func(Member) int64) []Member {
	var out []Member
	for _, m := range from {
		switch {
		case len(out) == 0 || key(m) < key(out[0]):
			out = []Member{m}
		case key(m) == key(out[0]):
			out = append(out, m)
		}
	}
	return out
}

func most(from []Member, key func(Member) int64) []Member {
	return least(from, func(m Member) int64 { return -key(m) })
}
