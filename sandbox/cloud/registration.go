package cloud

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// The texts Elastic Load Balancing gives with a target's state.
var targetTexts = map[string]string{
	"Elb.RegistrationInProgress":      "Target registration is in progress",
	"Target.DeregistrationInProgress": "Target deregistration is in progress",
	"Target.FailedHealthChecks":       "Health checks failed",
	"Target.NotRegistered":            "Target is not registered to the target group",
	"Target.InvalidState":             "Target is in the stopped or terminated state",
}

// RegisterTargets adds targets; one that is draining comes back, one that is there already stays as it is.
func (c *Cloud) RegisterTargets(arn string, ids []TargetID) error {
	return c.write("elasticloadbalancing:RegisterTargets", func() error {
		g, err := c.w.findTargetGroup(arn)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := c.checkTarget(g, id); err != nil {
				return err
			}
		}
		for _, id := range ids {
			c.register(g, id)
		}
		return nil
	})
}

func (c *Cloud) checkTarget(g *TargetGroup, id TargetID) error {
	if g.TargetType == "ip" {
		if _, err := netip.ParseAddr(id.ID); err != nil {
			return invalid("The IP address '%s' is not a valid IPv4 address", id.ID)
		}
		return nil
	}
	i, ok := c.w.instances[id.ID]
	switch {
	case !instanceID.MatchString(id.ID):
		return invalid("Instance ID '%s' is not valid", id.ID)
	case !ok:
		return refuse("InvalidTarget", "The following targets are not in the target group VPC '%s': '%s'", g.VPC, id.ID)
	case i.State != Running:
		return refuse("InvalidTarget", "The following targets are not in a running state and cannot be registered: '%s'", id.ID)
	}
	return nil
}

func (c *Cloud) register(g *TargetGroup, id TargetID) {
	id.Port = cmp.Or(id.Port, g.Port)
	t := g.targets[id]
	if t != nil && t.State != StateDraining {
		return
	}
	g.made++
	number := g.made
	t = &Target{ID: id.ID, Port: id.Port, number: number}
	g.targets[id] = t
	c.setTarget(g, t, StateInitial, "Elb.RegistrationInProgress", "", TargetRegistered)
	c.after(c.cfg.Timing.RegistrationDelay, func() {
		t.delayOver = true
		c.settle(g, t)
	})
}

// settle makes a new target healthy when its registration has had its time and its machine has booted.
func (c *Cloud) settle(g *TargetGroup, t *Target) {
	if g.ExternalHealth || !t.delayOver || t.State != StateInitial || !g.holds(t) {
		return
	}
	if g.TargetType == "instance" {
		if i, ok := c.w.instances[t.ID]; !ok || !i.Booted {
			return
		}
	}
	c.setTarget(g, t, StateHealthy, "", "", TargetHealth)
}

// holds tells whether t is still the target of that name: it may have been removed and registered anew.
func (g *TargetGroup) holds(t *Target) bool {
	now, ok := g.targets[targetKey{t.ID, t.Port}]
	return ok && now == t
}

func (c *Cloud) setTarget(g *TargetGroup, t *Target, state TargetState, reason, text string, kind EventKind) {
	t.State, t.Reason, t.Description, t.Since = state, reason, cmp.Or(text, targetTexts[reason]), c.now()
	c.emit(Event{Kind: kind, TargetGroup: g.ARN, Target: *t})
	c.targetChanged(g, t)
}

// DeregisterTargets lets targets drain; they are removed when the group's deregistration delay has passed. One without a port is the one under
// the group's own port, and no other.
func (c *Cloud) DeregisterTargets(arn string, ids []TargetID) error {
	return c.write("elasticloadbalancing:DeregisterTargets", func() error {
		g, err := c.w.findTargetGroup(arn)
		if err != nil {
			return err
		}
		for _, id := range ids {
			id.Port = cmp.Or(id.Port, g.Port)
			if t, ok := g.targets[id]; ok {
				c.deregister(g, t)
			}
		}
		return nil
	})
}

func (c *Cloud) deregister(g *TargetGroup, t *Target) {
	switch t.State {
	case StateDraining:
		return
	case StateUnused:
		c.remove(g, t)
		return
	}
	c.setTarget(g, t, StateDraining, "Target.DeregistrationInProgress", "", TargetDraining)
	seconds, _ := strconv.Atoi(g.Attributes[deregistrationDelay])
	c.after(time.Duration(seconds)*time.Second, func() {
		if g.holds(t) && t.State == StateDraining {
			c.remove(g, t)
		}
	})
}

func (c *Cloud) remove(g *TargetGroup, t *Target) {
	delete(g.targets, targetKey{t.ID, t.Port})
	t.State, t.Reason, t.Description, t.Since = StateUnused, "Target.NotRegistered", targetTexts["Target.NotRegistered"], c.now()
	c.emit(Event{Kind: TargetRemoved, TargetGroup: g.ARN, Target: *t})
	c.targetChanged(g, t)
}

// DescribeTargetHealth returns all targets of a group, or those asked for, registered or not.
func (c *Cloud) DescribeTargetHealth(arn string, ids []TargetID) ([]Target, error) {
	return read(c, "elasticloadbalancing:DescribeTargetHealth", func(w *world) ([]Target, error) {
		g, err := w.findTargetGroup(arn)
		if err != nil {
			return nil, err
		}
		if len(ids) == 0 {
			return g.list(), nil
		}
		var out []Target
		for _, id := range ids {
			id.Port = cmp.Or(id.Port, g.Port)
			if t, ok := g.targets[id]; ok {
				out = append(out, *t)
				continue
			}
			out = append(out, Target{ID: id.ID, Port: id.Port, State: StateUnused, Reason: "Target.NotRegistered", Description: targetTexts["Target.NotRegistered"]})
		}
		return out, nil
	})
}

// SetExternalHealth hands the health of a group's targets to a real load balancer: new targets stay initial until
// ReportTargetHealth speaks. Switched off again, they become healthy by themselves.
func (c *Cloud) SetExternalHealth(arn string, on bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, err := c.w.findTargetGroup(arn)
	if err != nil {
		return err
	}
	g.ExternalHealth = on
	for _, t := range g.list() {
		c.settle(g, g.targets[targetKey{t.ID, t.Port}])
	}
	c.commit()
	return nil
}

// ReportTargetHealth says how a target fares; reason is the description AWS would show for an unhealthy one. A report on a target
// that is not registered, or draining or unused, changes nothing: load balancers probe a moment longer than they should.
func (c *Cloud) ReportTargetHealth(arn, id string, port int, healthy bool, reason string) error {
	return c.report(arn, TargetID{id, port}, func(g *TargetGroup, t *Target) {
		switch {
		case t.State == StateDraining || t.State == StateUnused:
		case healthy && t.State != StateHealthy:
			c.setTarget(g, t, StateHealthy, "", "", TargetHealth)
		case !healthy && t.State != StateUnhealthy:
			c.setTarget(g, t, StateUnhealthy, "Target.FailedHealthChecks", reason, TargetHealth)
		}
	})
}

// ReportTargetDrained says that a draining target has no connections left, which ends its draining early.
func (c *Cloud) ReportTargetDrained(arn, id string, port int) error {
	return c.report(arn, TargetID{id, port}, func(g *TargetGroup, t *Target) {
		if t.State == StateDraining {
			c.remove(g, t)
		}
	})
}

func (c *Cloud) report(arn string, id TargetID, f func(*TargetGroup, *Target)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, err := c.w.findTargetGroup(arn)
	if err != nil {
		return err
	}
	id.Port = cmp.Or(id.Port, g.Port)
	if t, ok := g.targets[id]; ok {
		f(g, t)
		c.commit()
	}
	return nil
}

// eachTarget visits the targets that are this instance, in all groups of type instance; groups by ARN, which is by name.
func (c *Cloud) eachTarget(instance string, f func(*TargetGroup, *Target)) {
	for _, arn := range slices.Sorted(maps.Keys(c.w.targets)) {
		g := c.w.targets[arn]
		if g.TargetType != "instance" {
			continue
		}
		for _, t := range g.list() {
			// What f did to an earlier target may have removed this one.
			if t, ok := g.targets[targetKey{t.ID, t.Port}]; ok && t.ID == instance {
				f(g, t)
			}
		}
	}
}

func (c *Cloud) targetBooted(instance string) {
	c.eachTarget(instance, c.settle)
}

// targetGone marks the targets of a machine that was switched off: no health check will ever find them again, and nothing is
// left to drain.
func (c *Cloud) targetGone(instance string) {
	c.eachTarget(instance, func(g *TargetGroup, t *Target) {
		if t.State == StateDraining {
			c.remove(g, t)
			return
		}
		c.setTarget(g, t, StateUnused, "Target.InvalidState", "", TargetHealth)
	})
}

// targetReturned has the targets of a stopped machine that starts again wait for it.
func (c *Cloud) targetReturned(instance string) {
	c.eachTarget(instance, func(g *TargetGroup, t *Target) {
		if t.State == StateUnused {
			c.setTarget(g, t, StateInitial, "Elb.RegistrationInProgress", "", TargetHealth)
		}
	})
}

func (c *Cloud) targetForgotten(instance string) {
	c.eachTarget(instance, c.remove)
}

// targetsOf counts the targets an instance still has in these groups.
func (c *Cloud) targetsOf(instance string, arns []string) int {
	n := 0
	c.eachTarget(instance, func(g *TargetGroup, _ *Target) {
		if slices.Contains(arns, g.ARN) {
			n++
		}
	})
	return n
}
