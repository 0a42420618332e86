package cloud

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Group is a copy of what Auto Scaling knows of one group.
type Group struct {
	Name, ARN           string
	Min, Max, Desired   int
	Source              Source
	Zones               []string
	Subnets             []string // as given; the zones follow from them
	HealthCheckType     string   // EC2, ELB, or both with a comma
	HealthCheckGrace    time.Duration
	Cooldown            time.Duration
	TerminationPolicies []string
	Suspended           []SuspendedProcess
	ProtectNew          bool // new instances are protected from scale-in
	TargetGroups        []string
	Tags                []GroupTag
	Created             time.Time
	Status              string // empty, or "Delete in progress"
	Members             []Member
	Hooks               []Hook    // by name
	Retain              bool      // an instance whose terminate hook was abandoned stays, until it is ended by id
	CapacityRebalance   bool      // a spot instance at risk gets its replacement before it goes
	Warm                *WarmPool // nil without one
	Pool                []Member  // who is in the warm pool

	awake   bool // a look at the group is due
	why     string
	replace int  // launches owed to members that were taken out as unhealthy or by request
	refused bool // the activity that says all are protected has been recorded
	cooling int  // scaling activities whose cooldown still runs
}

// Source says what a group launches: exactly one of its fields is set.
type Source struct {
	Template      TemplateSpec
	Configuration string
	Mixed         *Mixed
}

// Mixed is a mixed instances policy.
type Mixed struct {
	Template     TemplateSpec
	Overrides    []Override
	OnDemandBase int
	SpotPercent  int    // above the base; 100 minus what AWS calls OnDemandPercentageAboveBaseCapacity
	OnDemandPick string // allocation strategies are kept and shown; the first override with capacity is taken
	SpotPick     string
}

// Override is one kind of instance a mixed group may launch.
type Override struct {
	InstanceType string // empty: taken from Needs
	Needs        Needs
	Template     TemplateSpec // zero: the policy's own
}

// Needs describes an instance type by attributes; zero bounds are open.
type Needs struct{ MinCPU, MaxCPU, MinMiB, MaxMiB int }

// GroupTag is a tag of a group; with Propagate, instances get it when they are launched.
type GroupTag struct {
	Group, Key, Value string
	Propagate         bool
}

func (g *Group) clone() Group {
	n := *g
	n.Source = g.Source.clone()
	n.Zones = slices.Clone(g.Zones)
	n.Subnets = slices.Clone(g.Subnets)
	n.TerminationPolicies = slices.Clone(g.TerminationPolicies)
	n.Suspended = slices.Clone(g.Suspended)
	n.TargetGroups = slices.Clone(g.TargetGroups)
	n.Tags = slices.Clone(g.Tags)
	n.Members = slices.Clone(g.Members)
	n.Hooks = slices.Clone(g.Hooks)
	n.Pool = slices.Clone(g.Pool)
	if g.Warm != nil {
		n.Warm = new(*g.Warm)
	}
	return n
}

func (s Source) clone() Source {
	if s.Mixed != nil {
		m := *s.Mixed
		m.Overrides = slices.Clone(m.Overrides)
		s.Mixed = &m
	}
	return s
}

// GroupUpdate says what to change of a group; nil leaves a thing as it is.
type GroupUpdate struct {
	Min, Max, Desired   *int
	Source              *Source
	Zones, Subnets      []string
	HealthCheckType     *string
	HealthCheckGrace    *time.Duration
	Cooldown            *time.Duration
	TerminationPolicies []string
	ProtectNew          *bool
	Retain              *bool
	CapacityRebalance   *bool
}

const defaultCooldown = 300 * time.Second // AWS's own

// CreateAutoScalingGroup makes a group from spec; what is AWS's to say in it (ARN, Created, Status, Members) is ignored. A
// Desired below 0 means the minimum.
func (c *Cloud) CreateAutoScalingGroup(spec Group) error {
	return c.write("autoscaling:CreateAutoScalingGroup", func() error {
		g := spec.clone()
		if g.Name == "" {
			return invalid("AutoScalingGroup name is required")
		}
		if c.w.groups[g.Name] != nil {
			return refuse("AlreadyExists", "AutoScalingGroup by this name already exists - A group with the name %s already exists", g.Name)
		}
		if g.Desired < 0 {
			g.Desired = g.Min
		}
		zones, err := c.placement(g.Zones, g.Subnets)
		if err != nil {
			return err
		}
		for n := range g.Tags {
			g.Tags[n].Group = g.Name
		}
		g.Zones = zones
		g.HealthCheckType = cmp.Or(g.HealthCheckType, "EC2")
		g.Cooldown = cmp.Or(g.Cooldown, defaultCooldown)
		if len(g.TerminationPolicies) == 0 {
			g.TerminationPolicies = []string{"Default"}
		}
		g.ARN = c.arn("autoscaling", "autoScalingGroup:"+c.uuid()+":autoScalingGroupName/"+g.Name)
		g.Created, g.Status, g.Members, g.Suspended, g.Warm, g.Pool = c.now(), "", nil, nil, nil, nil
		if g.Hooks, err = c.completeHooks(&g); err != nil {
			return err
		}
		if err := c.checkGroup(&g); err != nil {
			return err
		}
		if g.Source, err = c.adoptSource(g.Source); err != nil {
			return err
		}
		for _, t := range g.Tags {
			if err := checkGroupTag(t); err != nil {
				return err
			}
		}
		g.why = c.at("a user request created an AutoScalingGroup changing the desired capacity from 0 to %d.", g.Desired)
		c.w.groups[g.Name] = &g
		for _, h := range g.Hooks {
			c.announceTest(&g, h)
		}
		c.changed(&g)
		return nil
	})
}

// checkGroup refuses what no group may be; it runs on a copy before anything is changed.
func (c *Cloud) checkGroup(g *Group) error {
	switch {
	case g.Min < 0 || g.Max < 0:
		return invalid("Min and max size must be 0 or more")
	case g.Min > g.Max:
		return invalid("Max bound, %d, must be greater than or equal to min bound, %d", g.Max, g.Min)
	case g.Desired < g.Min || g.Desired > g.Max:
		return invalid("Desired capacity:%d must be between the specified min size:%d and max size:%d", g.Desired, g.Min, g.Max)
	}
	for _, t := range strings.Split(g.HealthCheckType, ",") {
		if t != "EC2" && t != "ELB" {
			return invalid("Unsupported health check type %s. The drover sandbox knows EC2 and ELB.", t)
		}
	}
	for _, p := range g.TerminationPolicies {
		if _, ok := policies[p]; !ok {
			return invalid("Unknown or unsupported termination policy '%s'", p)
		}
	}
	for _, arn := range g.TargetGroups {
		if err := c.checkAttachable(arn); err != nil {
			return err
		}
	}
	return nil
}

// UpdateAutoScalingGroup changes a group. A desired capacity not given follows the bounds, as in AWS.
func (c *Cloud) UpdateAutoScalingGroup(name string, u GroupUpdate) error {
	return c.write("autoscaling:UpdateAutoScalingGroup", func() error {
		g, err := c.w.findGroup(name)
		if err != nil {
			return err
		}
		n := g.clone()
		set(&n.Min, u.Min)
		set(&n.Max, u.Max)
		set(&n.HealthCheckType, u.HealthCheckType)
		set(&n.HealthCheckGrace, u.HealthCheckGrace)
		set(&n.Cooldown, u.Cooldown)
		set(&n.ProtectNew, u.ProtectNew)
		set(&n.Retain, u.Retain)
		set(&n.CapacityRebalance, u.CapacityRebalance)
		if u.Desired != nil {
			n.Desired = *u.Desired
		} else if n.Min <= n.Max {
			n.Desired = min(max(n.Desired, n.Min), n.Max)
		}
		if u.Source != nil {
			if n.Source, err = c.adoptSource(*u.Source); err != nil {
				return err
			}
		}
		if u.TerminationPolicies != nil {
			n.TerminationPolicies = slices.Clone(u.TerminationPolicies)
		}
		if u.Zones != nil || u.Subnets != nil {
			if n.Zones, err = c.placement(u.Zones, u.Subnets); err != nil {
				return err
			}
			n.Subnets = slices.Clone(u.Subnets)
		}
		if err := c.checkGroup(&n); err != nil {
			return err
		}
		if n.Desired != g.Desired {
			n.why = c.at("a user request update of AutoScalingGroup constraints to min: %d, max: %d, desired: %d changing the desired capacity from %d to %d.",
				n.Min, n.Max, n.Desired, g.Desired, n.Desired)
		}
		*g = n
		c.changed(g)
		return nil
	})
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// DeleteAutoScalingGroup removes a group; with force it first ends all its instances, hooks notwithstanding, without it the group must have none.
func (c *Cloud) DeleteAutoScalingGroup(name string, force bool) error {
	return c.write("autoscaling:DeleteAutoScalingGroup", func() error {
		g, err := c.w.findGroup(name)
		if err != nil {
			return err
		}
		if len(g.everyone()) > 0 && !force {
			return refuse("ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.")
		}
		g.Status, g.Min, g.Desired = "Delete in progress", 0, 0
		c.changed(g)
		c.tend(g)
		return nil
	})
}

// DescribeAutoScalingGroups returns the groups of these names (all, if there are none; an unknown name is no error) that pass all
// filters, by name.
func (c *Cloud) DescribeAutoScalingGroups(names []string, filters []Filter) ([]Group, error) {
	return read(c, "autoscaling:DescribeAutoScalingGroups", func(w *world) ([]Group, error) {
		if err := checkFilters("DescribeAutoScalingGroups", filters, "tag-key", "tag-value", "tag:"); err != nil {
			return nil, err
		}
		var out []Group
		for _, name := range slices.Sorted(maps.Keys(w.groups)) {
			g := w.groups[name]
			if (len(names) == 0 || slices.Contains(names, name)) && matchAll(filters, g.filterValue) {
				out = append(out, g.clone())
			}
		}
		return out, nil
	})
}

func (g *Group) filterValue(name string) []string {
	var out []string
	for _, t := range g.Tags {
		switch {
		case name == "tag-key":
			out = append(out, t.Key)
		case name == "tag-value", name == "tag:"+t.Key:
			out = append(out, t.Value)
		}
	}
	return out
}

// SetDesiredCapacity sets how many instances a group shall have. With honorCooldown it is refused while the cooldown of an
// earlier scaling activity runs.
func (c *Cloud) SetDesiredCapacity(name string, desired int, honorCooldown bool) error {
	return c.write("autoscaling:SetDesiredCapacity", func() error {
		g, err := c.w.findGroup(name)
		switch {
		case err != nil:
			return err
		case desired > g.Max:
			return invalid("New SetDesiredCapacity value %d is above max value %d for the AutoScalingGroup.", desired, g.Max)
		case desired < g.Min:
			return invalid("New SetDesiredCapacity value %d is below min value %d for the AutoScalingGroup.", desired, g.Min)
		case honorCooldown && g.cooling > 0:
			return refuse("ScalingActivityInProgress", "Scaling activity of AutoScalingGroup %s is in its cooldown of %d seconds", g.Name, int(g.Cooldown/time.Second))
		case desired == g.Desired:
			return nil
		}
		g.why = c.at("a user request explicitly set group desired capacity changing the desired capacity from %d to %d.", g.Desired, desired)
		g.Desired = desired
		c.changed(g)
		return nil
	})
}

func (w *world) findGroup(name string) (*Group, error) {
	if g, ok := w.groups[name]; ok && g.Status == "" {
		return g, nil
	} else if ok {
		return nil, refuse("ScalingActivityInProgress", "AutoScalingGroup %s is being deleted", name)
	}
	return nil, invalid("AutoScalingGroup name not found - AutoScalingGroup %s not found", name)
}

// changed tells the world that a group is not what it was, and has the group look at itself.
func (c *Cloud) changed(g *Group) {
	c.emit(Event{Kind: GroupChanged, Group: g.Name})
	c.wake(g)
}
