package cloud

import "slices"

// AttachLoadBalancerTargetGroups makes a group register its instances, those it has included, with target groups.
func (c *Cloud) AttachLoadBalancerTargetGroups(name string, arns []string) error {
	return c.write("autoscaling:AttachLoadBalancerTargetGroups", func() error {
		g, err := c.w.findGroup(name)
		if err != nil {
			return err
		}
		for _, arn := range arns {
			if err := c.checkAttachable(arn); err != nil {
				return err
			}
		}
		for _, arn := range arns {
			if slices.Contains(g.TargetGroups, arn) {
				continue
			}
			g.TargetGroups = append(g.TargetGroups, arn)
			for _, m := range g.Members {
				if m.State == InService {
					c.register(c.w.targets[arn], TargetID{ID: m.InstanceID})
				}
			}
		}
		c.changed(g)
		return nil
	})
}

func (c *Cloud) checkAttachable(arn string) error {
	tg, ok := c.w.targets[arn]
	if !ok {
		return invalid("Provided Target Groups may not be valid. Please ensure they exist and try again.")
	}
	if tg.TargetType != "instance" {
		return invalid("Provided Target Groups must be of target type instance: %s is of type %s.", arn, tg.TargetType)
	}
	return nil
}

// DetachLoadBalancerTargetGroups takes the group's instances out of target groups and registers no more.
func (c *Cloud) DetachLoadBalancerTargetGroups(name string, arns []string) error {
	return c.write("autoscaling:DetachLoadBalancerTargetGroups", func() error {
		g, err := c.w.findGroup(name)
		if err != nil {
			return err
		}
		for _, arn := range arns {
			if !slices.Contains(g.TargetGroups, arn) {
				return invalid("Trying to remove Target Groups that are not part of the group")
			}
		}
		g.TargetGroups = slices.DeleteFunc(g.TargetGroups, func(arn string) bool { return slices.Contains(arns, arn) })
		for _, m := range g.Members {
			c.eachTarget(m.InstanceID, func(tg *TargetGroup, t *Target) {
				if slices.Contains(arns, tg.ARN) {
					c.deregister(tg, t)
				}
			})
		}
		c.changed(g)
		return nil
	})
}

// AttachedTargetGroup is a target group as its Auto Scaling group sees it.
type AttachedTargetGroup struct{ ARN, State string }

// DescribeLoadBalancerTargetGroups returns the target groups attached to a group: Adding until one of its instances is healthy
// there, then InService.
func (c *Cloud) DescribeLoadBalancerTargetGroups(name string) ([]AttachedTargetGroup, error) {
	return read(c, "autoscaling:DescribeLoadBalancerTargetGroups", func(w *world) ([]AttachedTargetGroup, error) {
		g, ok := w.groups[name]
		if !ok {
			return nil, invalid("AutoScalingGroup name not found - AutoScalingGroup %s not found", name)
		}
		var out []AttachedTargetGroup
		for _, arn := range g.TargetGroups {
			state := "Adding"
			for _, t := range w.targets[arn].list() {
				if t.State == StateHealthy && g.member(t.ID) != nil {
					state = "InService"
				}
			}
			out = append(out, AttachedTargetGroup{arn, state})
		}
		return out, nil
	})
}
