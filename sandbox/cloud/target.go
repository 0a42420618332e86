package cloud

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TargetGroup is a load balancer's list of targets. The sandbox has no listeners: every target group counts as in use.
type TargetGroup struct {
	ARN, Name      string
	TargetType     string // instance or ip
	Protocol       string
	Port           int
	VPC            string
	HealthCheck    HealthCheck
	Attributes     map[string]string
	ExternalHealth bool // health comes from ReportTargetHealth only
	targets        map[targetKey]*Target
	made           int // numbers registrations, to tell a target from an earlier one of the same name
}

// HealthCheck is what a real load balancer would be told; the sandbox itself never probes.
type HealthCheck struct {
	Protocol, Port, Path, Matcher        string
	Interval, Timeout                    time.Duration
	HealthyThreshold, UnhealthyThreshold int
}

// TargetState is Elastic Load Balancing's word for how a target fares.
type TargetState string

const (
	StateInitial   TargetState = "initial"
	StateHealthy   TargetState = "healthy"
	StateUnhealthy TargetState = "unhealthy"
	StateDraining  TargetState = "draining"
	StateUnused    TargetState = "unused"
)

// Target is one registered target, or in the answer to DescribeTargetHealth one that was asked for and is not registered.
type Target struct {
	ID          string // instance id or IP address
	Port        int
	State       TargetState
	Reason      string // code, as Target.FailedHealthChecks; empty when healthy
	Description string
	Since       time.Time // of the state
	number      int
	delayOver   bool
}

// TargetID names a target; port 0 means the group's own port.
type TargetID struct {
	ID   string
	Port int
}

type targetKey = TargetID

func (g *TargetGroup) clone() TargetGroup {
	n := *g
	n.Attributes = maps.Clone(g.Attributes)
	n.targets = cloneMap(g.targets, func(t *Target) Target { return *t })
	return n
}

const deregistrationDelay = "deregistration_delay.timeout_seconds"

var targetGroupName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?$`)

// CreateTargetGroup makes a target group. Only the Name is needed; ARN and Attributes are the cloud's to give.
func (c *Cloud) CreateTargetGroup(spec TargetGroup) (out TargetGroup, err error) {
	err = c.write("elasticloadbalancing:CreateTargetGroup", func() error {
		g := spec
		if !targetGroupName.MatchString(g.Name) {
			return invalid("Target group name '%s' must be 1 to 32 letters, digits or hyphens", g.Name)
		}
		g.TargetType = cmp.Or(g.TargetType, "instance")
		if g.TargetType != "instance" && g.TargetType != "ip" {
			return NotSimulated("TargetType "+g.TargetType, "CreateTargetGroup")
		}
		g.Protocol = cmp.Or(g.Protocol, "HTTP")
		g.Port = cmp.Or(g.Port, 80)
		g.VPC = cmp.Or(g.VPC, c.vpc())
		if g.VPC != c.vpc() {
			return refuse("InvalidConfigurationRequest", "The VPC ID '%s' is not found", g.VPC)
		}
		g.HealthCheck = g.HealthCheck.withDefaults(g.Protocol)
		for _, other := range c.w.targets {
			if other.Name == g.Name {
				return refuse("DuplicateTargetGroupName", "A target group with the same name '%s' exists, but with different settings", g.Name)
			}
		}
		g.ARN = c.arn("elasticloadbalancing", fmt.Sprintf("targetgroup/%s/%016x", g.Name, c.ids.Uint64()))
		g.Attributes = map[string]string{deregistrationDelay: strconv.Itoa(int(c.cfg.Timing.DeregistrationDelay / time.Second))}
		g.targets = map[targetKey]*Target{}
		c.w.targets[g.ARN] = &g
		out = g.clone()
		return nil
	})
	return out, err
}

func (h HealthCheck) withDefaults(protocol string) HealthCheck {
	h.Port = cmp.Or(h.Port, "traffic-port")
	h.Interval = cmp.Or(h.Interval, 30*time.Second)
	h.HealthyThreshold = cmp.Or(h.HealthyThreshold, 5)
	h.UnhealthyThreshold = cmp.Or(h.UnhealthyThreshold, 2)
	if protocol == "HTTP" || protocol == "HTTPS" {
		h.Protocol = cmp.Or(h.Protocol, protocol)
		h.Path = cmp.Or(h.Path, "/")
		h.Matcher = cmp.Or(h.Matcher, "200")
		h.Timeout = cmp.Or(h.Timeout, 5*time.Second)
		return h
	}
	h.Protocol = cmp.Or(h.Protocol, "TCP")
	h.Timeout = cmp.Or(h.Timeout, 10*time.Second)
	return h
}

func (w *world) findTargetGroup(arn string) (*TargetGroup, error) {
	if g, ok := w.targets[arn]; ok {
		return g, nil
	}
	return nil, refuse("TargetGroupNotFound", "Target groups '%s' not found", arn)
}

// DescribeTargetGroups returns the target groups with one of the ARNs or names (any, if there are none), by name.
func (c *Cloud) DescribeTargetGroups(arns, names []string) ([]TargetGroup, error) {
	return read(c, "elasticloadbalancing:DescribeTargetGroups", func(w *world) ([]TargetGroup, error) {
		for _, arn := range arns {
			if _, err := w.findTargetGroup(arn); err != nil {
				return nil, refuse("TargetGroupNotFound", "One or more target groups not found")
			}
		}
		all := w.listTargetGroups()
		for _, name := range names {
			if !slices.ContainsFunc(all, func(g TargetGroup) bool { return g.Name == name }) {
				return nil, refuse("TargetGroupNotFound", "One or more target groups not found")
			}
		}
		return slices.DeleteFunc(all, func(g TargetGroup) bool {
			return len(arns)+len(names) > 0 && !slices.Contains(arns, g.ARN) && !slices.Contains(names, g.Name)
		}), nil
	})
}

func (w *world) listTargetGroups() []TargetGroup {
	var out []TargetGroup
	for _, g := range w.targets {
		out = append(out, g.clone())
	}
	slices.SortFunc(out, func(a, b TargetGroup) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// DeleteTargetGroup removes a target group no Auto Scaling group is attached to.
func (c *Cloud) DeleteTargetGroup(arn string) error {
	return c.write("elasticloadbalancing:DeleteTargetGroup", func() error {
		for _, g := range c.w.groups {
			if slices.Contains(g.TargetGroups, arn) {
				return refuse("ResourceInUse", "Target group '%s' is currently in use by an Auto Scaling group", arn)
			}
		}
		delete(c.w.targets, arn) // AWS, too, is content if there is none
		return nil
	})
}

// ModifyTargetGroupAttributes sets attributes; the only one that has an effect is deregistration_delay.timeout_seconds, and
// others are refused rather than kept without one.
func (c *Cloud) ModifyTargetGroupAttributes(arn string, set map[string]string) (out map[string]string, err error) {
	err = c.write("elasticloadbalancing:ModifyTargetGroupAttributes", func() error {
		g, err := c.w.findTargetGroup(arn)
		if err != nil {
			return err
		}
		for k, v := range set {
			if k != deregistrationDelay {
				return NotSimulated("attribute "+k, "ModifyTargetGroupAttributes")
			}
			if n, err := strconv.Atoi(v); err != nil || n < 0 || n > 3600 {
				return refuse("InvalidConfigurationRequest", "The value of '%s' must be between 0 and 3600 inclusive", k)
			}
		}
		maps.Copy(g.Attributes, set)
		out = maps.Clone(g.Attributes)
		return nil
	})
	return out, err
}

// DescribeTargetGroupAttributes returns all attributes.
func (c *Cloud) DescribeTargetGroupAttributes(arn string) (map[string]string, error) {
	return read(c, "elasticloadbalancing:DescribeTargetGroupAttributes", func(w *world) (map[string]string, error) {
		g, err := w.findTargetGroup(arn)
		if err != nil {
			return nil, err
		}
		return maps.Clone(g.Attributes), nil
	})
}

// TargetGroups returns all target groups as they truly are, by name.
func (c *Cloud) TargetGroups() []TargetGroup {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.w.listTargetGroups()
}

// Targets returns the targets of a group as they truly are, by id and port; none if there is no such group.
func (c *Cloud) Targets(arn string) []Target {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.w.targets[arn]
	if !ok {
		return nil
	}
	return g.list()
}

func (g *TargetGroup) list() []Target {
	var out []Target
	for _, t := range g.targets {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Target) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Port, b.Port)) })
	return out
}
