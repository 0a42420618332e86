package fast

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// Act carries out one action on a group, an instance, a target or a database. "Already so" is success. An error says the cause only, not the action.
func (h *CloudHand) Act(_ context.Context, a fleet.Action) error {
	err := explain(h.act(a))
	h.w.sync()
	return err
}

func (h *CloudHand) act(a fleet.Action) error {
	switch a.Verb {
	case fleet.CreateGroup:
		return h.createGroup(a)
	case fleet.DeleteGroup:
		return h.deleteGroup(a)
	case fleet.MakeGroup:
		return h.makeGroup(a.NewGroup)
	case fleet.Deregister:
		return h.deregister(a)
	case fleet.Register:
		return h.register(a)
	case fleet.MarkDatabase, fleet.UnmarkDatabase, fleet.StopDatabase, fleet.StartDatabase, fleet.SetCapacity:
		return h.switchDatabase(a)
	}
	scaling, err := h.scalingName(a.Group)
	if err != nil {
		return err
	}
	a.Group = scaling
	switch a.Verb {
	case fleet.Journal, fleet.Forget, fleet.Suspend, fleet.Resume:
		return h.annotate(a)
	case fleet.Resize:
		return h.resize(a)
	case fleet.Terminate:
		return h.terminate(a)
	case fleet.Replace:
		return h.replace(a)
	case fleet.Standby:
		return h.standby(a)
	case fleet.Unstandby:
		return h.unstandby(a)
	case fleet.Heartbeat, fleet.Complete:
		return h.answer(a)
	case fleet.MarkGroup:
		return h.markGroup(a)
	case fleet.UnmarkGroup:
		return h.unmarkGroup(a)
	case fleet.Bound:
		return h.bound(a)
	case fleet.Protect, fleet.Unprotect:
		return h.protect(a)
	}
	return fmt.Errorf("the sandbox's cloud does not know how to %s", a.Verb)
}

// annotate carries out what changes neither sizes nor instances of a group: its mark and its processes, which belong to the run that marked it.
func (h *CloudHand) annotate(a fleet.Action) error {
	g, err := h.raw(a.Group)
	if err != nil {
		return err
	}
	if g == nil && a.Verb == fleet.Forget {
		return nil // gone with its mark
	}
	if g != nil {
		if err := untaken(g, a); err != nil {
			return err
		}
	}
	aws := h.w.Cloud
	switch a.Verb {
	case fleet.Journal:
		return aws.CreateOrUpdateTags([]cloud.GroupTag{{Group: a.Group, Key: markTag, Value: a.Mark.String()}})
	case fleet.Forget:
		return aws.DeleteGroupTags([]cloud.GroupTag{{Group: a.Group, Key: markTag}})
	case fleet.Suspend:
		return aws.SuspendProcesses(a.Group, []string{a.Process})
	default:
		return aws.ResumeProcesses(a.Group, []string{a.Process})
	}
}

// raw reads one group as it is now; nil when it is gone.
func (h *CloudHand) raw(name string) (*cloud.Group, error) {
	groups, err := h.w.Cloud.DescribeAutoScalingGroups([]string{name}, nil)
	if err != nil || len(groups) == 0 {
		return nil, err
	}
	return &groups[0], nil
}

// carries refuses when the group's mark names another run by now. A group without a mark is nobody's.
func carries(raw *cloud.Group, run string) error {
	m, err := mark(raw)
	switch {
	case err != nil:
		return err
	case run != "" && m != nil && m.Run != run:
		return &fleet.Refused{Reason: fmt.Sprintf("the group now carries run %s, expected %s", m.Run, run)}
	}
	return nil
}

// resize sets desired, unless somebody changed it since the decision.
func (h *CloudHand) resize(a fleet.Action) error {
	g, err := h.mine(a)
	switch {
	case err != nil:
		return err
	case g.Desired == a.To:
		return nil
	case g.Desired != a.From:
		return &fleet.Refused{Reason: fmt.Sprintf("desired is %d by now, expected %d", g.Desired, a.From)}
	case a.To < g.Min:
		return &fleet.Refused{Reason: fmt.Sprintf("the group's minimum is %d, so desired cannot be %d; lower the minimum first", g.Min, a.To)}
	case a.To > g.Max:
		return &fleet.Refused{Reason: fmt.Sprintf("the group's maximum is %d, so desired cannot be %d; raise the maximum first", g.Max, a.To)}
	case tagOf(*g, nodegroupTag) != "":
		return h.sizeNodegroup(g, cloud.NodegroupChange{Desired: &a.To})
	}
	return h.w.Cloud.SetDesiredCapacity(a.Group, a.To, false)
}

// member reads an instance of the group as it is now, with the group; nil when it belongs to none. It refuses when the instance moved to another
// group, or the group to another run.
func (h *CloudHand) member(a fleet.Action) (*fleet.Instance, *cloud.Group, error) {
	found, err := h.w.Cloud.DescribeAutoScalingInstances([]string{a.Instance})
	if err != nil || len(found) == 0 {
		return nil, nil, err
	}
	in := &fleet.Instance{ID: a.Instance, Lifecycle: string(found[0].State)}
	if group := found[0].Group; group != a.Group {
		return nil, nil, &fleet.Refused{Reason: fmt.Sprintf("it belongs to group %s by now, expected %s", group, a.Group)}
	}
	g, err := h.raw(a.Group)
	if err != nil || g == nil {
		return in, nil, err
	}
	return in, g, untaken(g, a)
}

// replace ends an instance that a hook will hold, and refuses without the hook.
func (h *CloudHand) replace(a fleet.Action) error {
	hooks, err := h.hooks(a.Group)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(hooks, func(k fleet.Hook) bool { return k.Name == a.Hook && !k.Launching }) {
		return &fleet.Refused{Reason: fmt.Sprintf("the group has no terminate hook %s any more, so its pods could not leave first; drover setup makes it again", a.Hook)}
	}
	return h.terminate(a)
}

// terminate closes exactly this instance and takes it off the desired capacity, which does not count one in standby or one that was retained. Asking
// twice must not decrement twice, so an instance that is already leaving, or gone, is left alone.
func (h *CloudHand) terminate(a fleet.Action) error {
	in, g, err := h.member(a)
	retained := in != nil && in.Lifecycle == fleet.Retained
	if in != nil && in.Leaving() && !retained {
		return nil
	}
	if err != nil || in == nil {
		return err
	}
	_, err = h.w.Cloud.TerminateInstanceInAutoScalingGroup(a.Instance, !in.Parked() && !retained && a.Verb != fleet.Replace)
	if g != nil && codeIs(err, "ValidationError") && strings.Contains(err.Error(), "equals minSize") {
		return &fleet.Refused{Reason: fmt.Sprintf("the group's desired capacity is at its minimum of %d, so no instance may go without a replacement; raise desired or lower the minimum", g.Min)}
	}
	return err
}

// standby takes an instance out of service, and off the desired capacity, but keeps it running.
func (h *CloudHand) standby(a fleet.Action) error {
	in, g, err := h.member(a)
	switch {
	case err != nil:
		return err
	case in == nil || g == nil:
		return &fleet.Refused{Reason: "the instance is gone"}
	case in.Parked():
		return nil
	case in.Lifecycle != fleet.InService:
		return &fleet.Refused{Reason: fmt.Sprintf("the instance is %s, expected %s", in.Lifecycle, fleet.InService)}
	case g.Desired <= g.Min:
		return &fleet.Refused{Reason: fmt.Sprintf("the group's desired capacity is at its minimum of %d, so no instance may go to standby; raise desired or lower the minimum", g.Min)}
	}
	_, err = h.w.Cloud.EnterStandby(a.Group, []string{a.Instance}, true)
	return err
}

// unstandby puts an instance back into service, and onto the desired capacity.
func (h *CloudHand) unstandby(a fleet.Action) error {
	in, g, err := h.member(a)
	switch {
	case err != nil:
		return err
	case in == nil || g == nil:
		return &fleet.Refused{Reason: "the instance is gone"}
	case in.Counted():
		return nil
	case in.Lifecycle != fleet.OnStandby:
		return &fleet.Refused{Reason: fmt.Sprintf("the instance is %s, expected %s", in.Lifecycle, fleet.OnStandby)}
	case g.Desired >= g.Max:
		return &fleet.Refused{Reason: fmt.Sprintf("the group's desired capacity is at its maximum of %d, so no instance may leave standby; lower desired or raise the maximum", g.Max)}
	}
	_, err = h.w.Cloud.ExitStandby(a.Group, []string{a.Instance})
	return err
}

// deregister takes an instance out of a target group, under every port under which it is there. One that is not there is so already.
func (h *CloudHand) deregister(a fleet.Action) error {
	targets, err := h.w.Cloud.DescribeTargetHealth(a.Target, nil)
	if err != nil && !codeIs(err, "TargetGroupNotFound") {
		return err
	}
	var ids []cloud.TargetID
	for _, t := range targets {
		if t.ID == a.Instance && t.State != cloud.StateDraining {
			ids = append(ids, cloud.TargetID{ID: t.ID, Port: t.Port})
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return h.w.Cloud.DeregisterTargets(a.Target, ids)
}

// register puts an instance back into a target group, under the port where it drains or where the other targets are, else the target group's own.
func (h *CloudHand) register(a fleet.Action) error {
	targets, err := h.w.Cloud.DescribeTargetHealth(a.Target, nil)
	if codeIs(err, "TargetGroupNotFound") {
		return &fleet.Refused{Reason: "the target group is gone"}
	}
	if err != nil {
		return err
	}
	id := cloud.TargetID{ID: a.Instance}
	ports := map[int]bool{}
	for _, t := range targets {
		switch {
		case t.ID != a.Instance || t.State == cloud.StateUnused:
		case t.State == cloud.StateDraining:
			id.Port = t.Port
		default:
			return nil
		}
		ports[t.Port] = true
	}
	if id.Port == 0 && len(ports) == 1 {
		id.Port = targets[0].Port
	}
	err = h.w.Cloud.RegisterTargets(a.Target, []cloud.TargetID{id})
	if codeIs(err, "InvalidTarget") {
		return &fleet.Refused{Reason: "the load balancer does not take the instance: " + explain(err).Error()}
	}
	return err
}
