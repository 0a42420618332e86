package cloud

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// The transitions that a hook can hold, and the answers to it.
const (
	HookLaunching   = "autoscaling:EC2_INSTANCE_LAUNCHING"
	HookTerminating = "autoscaling:EC2_INSTANCE_TERMINATING"
	ResultContinue  = "CONTINUE"
	ResultAbandon   = "ABANDON"
)

// NoTarget, as the Target of a hook that is put, takes the target away that it had.
const NoTarget = "none"

// AWS's limits.
const (
	hooksPerGroup    = 50
	usualHeartbeat   = time.Hour
	longestWait      = 48 * time.Hour
	heartbeatsToWait = 100 // as many heartbeats make the longest wait, if that is shorter
)

// Hook is a lifecycle hook: it holds every instance of its group that goes through its transition.
type Hook struct {
	Name, Group, Transition string
	Heartbeat               time.Duration
	DefaultResult           string // when nobody answers in time
	Target, Role            string // a queue or a topic that is told, and the role that allows it
	Metadata                string
}

// Global is the longest that the hook can hold an instance, heartbeats included.
func (h Hook) Global() time.Duration { return min(longestWait, heartbeatsToWait*h.Heartbeat) }

func (g *Group) hook(name string) *Hook {
	n := slices.IndexFunc(g.Hooks, func(h Hook) bool { return h.Name == name })
	if n < 0 {
		return nil
	}
	return &g.Hooks[n]
}

// PutLifecycleHook makes or changes a hook. Of one that is there already, what is zero stays as it is. Instances that wait go on under the
// terms they began with. A target gets a test notification every time.
func (c *Cloud) PutLifecycleHook(h Hook) error {
	return c.write("autoscaling:PutLifecycleHook", func() error {
		g, err := c.w.findGroup(h.Group)
		if err != nil {
			return err
		}
		old := g.hook(h.Name)
		if old == nil && len(g.Hooks) >= hooksPerGroup {
			return refuse("LimitExceeded", "AutoScalingGroup %s already has the maximum of %d lifecycle hooks", g.Name, hooksPerGroup)
		}
		if old != nil {
			h = h.over(*old)
		}
		if h, err = c.completeHook(h); err != nil {
			return err
		}
		c.putHook(g, h)
		c.announceTest(g, h)
		c.changed(g)
		return nil
	})
}

// completeHook fills in AWS's defaults and refuses what cannot be, or cannot tell its target.
func (c *Cloud) completeHook(h Hook) (Hook, error) {
	h, err := h.complete()
	if err == nil && !c.reaches(h.Target) {
		err = invalid("Unable to publish test message to notification target %s using IAM role %s. Please check your target and role configuration and try to put "+
			"lifecycle hook again.", h.Target, h.Role)
	}
	return h, err
}

// reaches tells whether there is such a queue or topic; no target needs none.
func (c *Cloud) reaches(target string) bool {
	_, topic := c.post.topics[target]
	return target == "" || topic || c.queueOf(target) != nil
}

// completeHooks completes the hooks that a group is made with.
func (c *Cloud) completeHooks(g *Group) ([]Hook, error) {
	var out []Hook
	for _, h := range g.Hooks {
		h.Group = g.Name
		h, err := c.completeHook(h)
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b Hook) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// putHook keeps a group's hooks sorted by name. The list is made anew: older copies of the world hold the old one.
func (c *Cloud) putHook(g *Group, h Hook) {
	hooks := slices.DeleteFunc(slices.Clone(g.Hooks), func(o Hook) bool { return o.Name == h.Name })
	g.Hooks = append(hooks, h)
	slices.SortFunc(g.Hooks, func(a, b Hook) int { return strings.Compare(a.Name, b.Name) })
}

// over fills what h leaves open from the hook as it was.
func (h Hook) over(old Hook) Hook {
	h.Transition = cmp.Or(h.Transition, old.Transition)
	h.Heartbeat = cmp.Or(h.Heartbeat, old.Heartbeat)
	h.DefaultResult = cmp.Or(h.DefaultResult, old.DefaultResult)
	h.Target = cmp.Or(h.Target, old.Target)
	h.Role = cmp.Or(h.Role, old.Role)
	h.Metadata = cmp.Or(h.Metadata, old.Metadata)
	return h
}

// complete fills in AWS's defaults and refuses what no hook may be.
func (h Hook) complete() (Hook, error) {
	if h.Target == NoTarget {
		h.Target, h.Role = "", ""
	}
	h.Heartbeat = cmp.Or(h.Heartbeat, usualHeartbeat)
	h.DefaultResult = cmp.Or(h.DefaultResult, ResultAbandon)
	switch {
	case h.Name == "" || len(h.Name) > 255:
		return h, invalid("1 validation error detected: Value at 'lifecycleHookName' failed to satisfy constraint: Member must have length between 1 and 255")
	case h.Transition == "":
		return h, invalid("You must specify a LifecycleTransition when creating a lifecycle hook.")
	case h.Transition != HookLaunching && h.Transition != HookTerminating:
		return h, invalid("Lifecycle transition %s is not supported. Valid values are %s and %s.", h.Transition, HookLaunching, HookTerminating)
	case h.Heartbeat < 30*time.Second || h.Heartbeat > 7200*time.Second:
		return h, invalid("Heartbeat timeout must be between 30 and 7200 seconds")
	case !isResult(h.DefaultResult):
		return h, invalid("Lifecycle action result must be either %s or %s", ResultContinue, ResultAbandon)
	case h.Target != "" && !strings.HasPrefix(h.Target, "arn:aws:sqs:") && !strings.HasPrefix(h.Target, "arn:aws:sns:"):
		return h, invalid("Notification target %s must be the ARN of an Amazon SQS queue or an Amazon SNS topic", h.Target)
	case h.Target != "" && h.Role == "":
		return h, invalid("You must specify a RoleARN with the NotificationTargetARN of a queue or a topic.")
	}
	return h, nil
}

func isResult(s string) bool { return s == ResultContinue || s == ResultAbandon }

// DescribeLifecycleHooks returns a group's hooks of these names, or all, by name.
func (c *Cloud) DescribeLifecycleHooks(group string, names []string) ([]Hook, error) {
	return read(c, "autoscaling:DescribeLifecycleHooks", func(w *world) ([]Hook, error) {
		g, ok := w.groups[group]
		if !ok {
			return nil, invalid("AutoScalingGroup name not found - AutoScalingGroup %s not found", group)
		}
		return slices.DeleteFunc(slices.Clone(g.Hooks), func(h Hook) bool { return len(names) > 0 && !slices.Contains(names, h.Name) }), nil
	})
}

// DeleteLifecycleHook removes a hook. Whoever waits for it gets an answer first: ABANDON when it launches, CONTINUE when it ends.
func (c *Cloud) DeleteLifecycleHook(group, name string) error {
	return c.write("autoscaling:DeleteLifecycleHook", func() error {
		g, err := c.w.findGroup(group)
		if err != nil {
			return err
		}
		h := g.hook(name)
		if h == nil {
			return invalid("Lifecycle hook not found - Lifecycle hook %s not found for AutoScalingGroup %s", name, group)
		}
		result := ResultContinue
		if h.Transition == HookLaunching {
			result = ResultAbandon
		}
		g.Hooks = slices.DeleteFunc(slices.Clone(g.Hooks), func(o Hook) bool { return o.Name == name })
		for _, id := range g.everyone() {
			if w := g.member(id).waitFor(name, ""); w != nil {
				c.answer(g, id, w.Token, result, "Lifecycle hook deleted")
			}
		}
		c.changed(g)
		return nil
	})
}
