package notice

import (
	"fmt"

	"drover.dev/fleet"
)

// Transitions of a lifecycle hook, in AWS's words.
const (
	terminating = "autoscaling:EC2_INSTANCE_TERMINATING"
	launching   = "autoscaling:EC2_INSTANCE_LAUNCHING"
)

// warmPool is where an instance comes from or goes to that neither serves nor dies.
const warmPool = "WarmPool"

func terminateHook(r *reader, n fleet.Notice, detail value) []fleet.Notice {
	if t := r.need(detail, "LifecycleTransition"); r.err == nil && t != terminating {
		r.wrong(detail.get("LifecycleTransition"), "is %s in an event of a termination", quote(t))
	}
	return r.terminates(n, detail)
}

func launchHook(r *reader, n fleet.Notice, detail value) []fleet.Notice {
	if t := r.need(detail, "LifecycleTransition"); r.err == nil && t != launching {
		r.wrong(detail.get("LifecycleTransition"), "is %s in an event of a launch", quote(t))
	}
	return r.launches(n, detail)
}

// direct reads what a hook tells its own queue or topic: without an envelope, everything in one object. A topic with raw delivery leaves no trace.
func (r *reader) direct(v value) []fleet.Notice {
	n := fleet.Notice{Source: fleet.FromHook, At: r.moment(v, "Time"), Account: r.optional(v, "AccountId")}
	if event := r.optional(v, "Event"); event != "" {
		return r.test(n, v, event)
	}
	switch t := r.need(v, "LifecycleTransition"); t {
	case terminating:
		return r.terminates(n, v)
	case launching:
		return r.launches(n, v)
	default:
		r.unsupported(v.get("LifecycleTransition"), "%s is no transition that drover knows", quote(t))
		return nil
	}
}

// test reads what Auto Scaling sends when a hook is made: the way from it to here is open.
func (r *reader) test(n fleet.Notice, v value, event string) []fleet.Notice {
	if event != "autoscaling:TEST_NOTIFICATION" {
		r.unsupported(v.get("Event"), "%s is no notification of a lifecycle hook", quote(event))
		return nil
	}
	n.Kind, n.ID, n.Group = fleet.TestNotice, ID(fleet.TestNotice, ""), r.need(v, "AutoScalingGroupName")
	n.Why = fmt.Sprintf("a hook of group %s was made or changed at %s: Auto Scaling tried whether it is heard", n.Group, clock(n.At))
	return []fleet.Notice{n}
}

func (r *reader) terminates(n fleet.Notice, v value) []fleet.Notice {
	n = r.hook(n, v, fleet.TerminateHook)
	switch {
	case n.Destination == warmPool:
		n.Why = fmt.Sprintf("Auto Scaling takes %s back into the warm pool of group %s, and waits for hook %s", n.Instance, n.Group, n.Hook)
	case n.Origin == warmPool:
		n.Effect = "terminate"
		n.Why = fmt.Sprintf("Auto Scaling ends %s of the warm pool of group %s, and waits for hook %s", n.Instance, n.Group, n.Hook)
	default:
		n.Effect = "terminate"
		n.Why = fmt.Sprintf("Auto Scaling ends %s of group %s, and waits for hook %s", n.Instance, n.Group, n.Hook)
	}
	return []fleet.Notice{n}
}

func (r *reader) launches(n fleet.Notice, v value) []fleet.Notice {
	n = r.hook(n, v, fleet.LaunchHook)
	n.Why = fmt.Sprintf("Auto Scaling holds %s, which is new in group %s, and waits for hook %s", n.Instance, n.Group, n.Hook)
	if n.Destination == warmPool {
		n.Why = fmt.Sprintf("Auto Scaling holds %s, which is new in the warm pool of group %s, and waits for hook %s", n.Instance, n.Group, n.Hook)
	}
	return []fleet.Notice{n}
}

// hook reads what every notification of a hook says, whichever way it comes. It has no deadline: the hook waits, and heartbeats make it wait longer.
func (r *reader) hook(n fleet.Notice, v value, kind fleet.NoticeKind) fleet.Notice {
	n.Instance, n.Group, n.Hook = r.instance(v, "EC2InstanceId"), r.need(v, "AutoScalingGroupName"), r.need(v, "LifecycleHookName")
	n.Token, n.Origin, n.Destination = r.optional(v, "LifecycleActionToken"), r.optional(v, "Origin"), r.optional(v, "Destination")
	n.Kind, n.ID = kind, ID(kind, n.Hook)
	return n
}
