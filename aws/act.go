package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"drover.dev/fleet"
)

const groupResource = "auto-scaling-group" // the resource type of tags on groups

// Act carries out one action on a group, an instance, a target or a database. "Already so" is success. An error says the cause only, not the action.
func (c *Cloud) Act(ctx context.Context, a fleet.Action) error {
	err := explain(c.act(ctx, a))
	if c.Notices {
		return endure(err)
	}
	return err
}

func (c *Cloud) act(ctx context.Context, a fleet.Action) error {
	switch a.Verb {
	case fleet.CreateGroup, fleet.DeleteGroup, fleet.MakeGroup:
		c.mu.Lock()
		clear(c.managed) // what EKS said before is no answer any more
		c.mu.Unlock()
		return c.changeGroups(ctx, a)
	case fleet.Deregister:
		return c.deregister(ctx, a)
	case fleet.Register:
		return c.register(ctx, a)
	case fleet.Heartbeat, fleet.Complete:
		return c.answerHook(ctx, a)
	case fleet.MarkDatabase, fleet.UnmarkDatabase, fleet.StopDatabase, fleet.StartDatabase, fleet.SetCapacity:
		return c.switchDatabase(ctx, a)
	}
	scaling, err := c.scalingName(ctx, a.Group)
	if err != nil {
		return err
	}
	a.Group = scaling
	switch a.Verb {
	case fleet.Journal, fleet.Forget, fleet.Suspend, fleet.Resume:
		return c.annotate(ctx, a)
	case fleet.Resize:
		return c.resize(ctx, a)
	case fleet.Terminate:
		return c.terminate(ctx, a)
	case fleet.Replace:
		return c.replace(ctx, a)
	case fleet.Standby:
		return c.standby(ctx, a)
	case fleet.Unstandby:
		return c.unstandby(ctx, a)
	case fleet.MarkGroup:
		return c.markGroup(ctx, a)
	case fleet.UnmarkGroup:
		return c.unmarkGroup(ctx, a)
	case fleet.Bound:
		return c.bound(ctx, a)
	case fleet.Protect, fleet.Unprotect:
		return c.protect(ctx, a)
	}
	return fmt.Errorf("aws does not know how to %s", a.Verb)
}

func (c *Cloud) changeGroups(ctx context.Context, a fleet.Action) error {
	switch a.Verb {
	case fleet.CreateGroup:
		return c.createGroup(ctx, a)
	case fleet.MakeGroup:
		return c.makeGroup(ctx, a.NewGroup)
	}
	return c.deleteGroup(ctx, a)
}

// annotate carries out what changes neither sizes nor instances of a group: its mark and its processes, which belong to the run that marked it.
func (c *Cloud) annotate(ctx context.Context, a fleet.Action) error {
	g, err := c.raw(ctx, a.Group)
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
	tag := astypes.Tag{ResourceId: &a.Group, ResourceType: sdk.String(groupResource), Key: sdk.String(markTag)}
	switch a.Verb {
	case fleet.Journal:
		tag.Value, tag.PropagateAtLaunch = sdk.String(a.Mark.String()), sdk.Bool(false)
		_, err = c.scaling.CreateOrUpdateTags(ctx, &autoscaling.CreateOrUpdateTagsInput{Tags: []astypes.Tag{tag}})
	case fleet.Forget:
		_, err = c.scaling.DeleteTags(ctx, &autoscaling.DeleteTagsInput{Tags: []astypes.Tag{tag}})
	case fleet.Suspend:
		_, err = c.scaling.SuspendProcesses(ctx, &autoscaling.SuspendProcessesInput{AutoScalingGroupName: &a.Group, ScalingProcesses: []string{a.Process}})
	case fleet.Resume:
		_, err = c.scaling.ResumeProcesses(ctx, &autoscaling.ResumeProcessesInput{AutoScalingGroupName: &a.Group, ScalingProcesses: []string{a.Process}})
	}
	return err
}

// raw reads one group as it is now; nil when it is gone.
func (c *Cloud) raw(ctx context.Context, name string) (*astypes.AutoScalingGroup, error) {
	out, err := c.scaling.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{name}})
	if err != nil || len(out.AutoScalingGroups) == 0 {
		return nil, err
	}
	return &out.AutoScalingGroups[0], nil
}

// carries refuses when the group's mark names another run by now. A group without a mark is nobody's.
func carries(raw *astypes.AutoScalingGroup, run string) error {
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
func (c *Cloud) resize(ctx context.Context, a fleet.Action) error {
	g, err := c.mine(ctx, a)
	if err != nil {
		return err
	}
	now, least, most := int(sdk.ToInt32(g.DesiredCapacity)), int(sdk.ToInt32(g.MinSize)), int(sdk.ToInt32(g.MaxSize))
	switch {
	case now == a.To:
		return nil
	case now != a.From:
		return &fleet.Refused{Reason: fmt.Sprintf("desired is %d by now, expected %d", now, a.From)}
	case a.To < least:
		return &fleet.Refused{Reason: fmt.Sprintf("the group's minimum is %d, so desired cannot be %d; lower the minimum first", least, a.To)}
	case a.To > most:
		return &fleet.Refused{Reason: fmt.Sprintf("the group's maximum is %d, so desired cannot be %d; raise the maximum first", most, a.To)}
	case tagOf(g, nodegroupTag) != "":
		return c.sizeNodegroup(ctx, g, &ekstypes.NodegroupScalingConfig{DesiredSize: sdk.Int32(int32(a.To))})
	}
	_, err = c.scaling.SetDesiredCapacity(ctx, &autoscaling.SetDesiredCapacityInput{AutoScalingGroupName: &a.Group, DesiredCapacity: sdk.Int32(int32(a.To)), HonorCooldown: sdk.Bool(false)})
	return err
}

// member reads an instance of the group as it is now, with the group; nil when it belongs to none. It refuses when the instance moved to another
// group, or the group to another run.
func (c *Cloud) member(ctx context.Context, a fleet.Action) (*fleet.Instance, *astypes.AutoScalingGroup, error) {
	out, err := c.scaling.DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{a.Instance}})
	if err != nil || len(out.AutoScalingInstances) == 0 {
		return nil, nil, err
	}
	raw := &out.AutoScalingInstances[0]
	in := &fleet.Instance{ID: a.Instance, Lifecycle: sdk.ToString(raw.LifecycleState)}
	if group := sdk.ToString(raw.AutoScalingGroupName); group != a.Group {
		return nil, nil, &fleet.Refused{Reason: fmt.Sprintf("it belongs to group %s by now, expected %s", group, a.Group)}
	}
	g, err := c.raw(ctx, a.Group)
	if err != nil || g == nil {
		return in, nil, err
	}
	return in, g, untaken(g, a)
}

// replace ends an instance that a hook will hold. Without the hook it would be ended as it is, so that is read anew.
func (c *Cloud) replace(ctx context.Context, a fleet.Action) error {
	hooks, err := c.describeHooks(ctx, a.Group)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(hooks, func(h fleet.Hook) bool { return h.Name == a.Hook && !h.Launching }) {
		return &fleet.Refused{Reason: fmt.Sprintf("the group has no terminate hook %s any more, so its pods could not leave first; drover setup makes it again", a.Hook)}
	}
	return c.terminate(ctx, a)
}

// terminate closes exactly this instance and takes it off the desired capacity, which counts neither one in standby nor one that is retained.
// Asking twice must not decrement twice, so an instance that is already leaving, or gone, is left alone: a hook that holds it is Complete's to
// answer. One that is retained leaves only when it is told to, and changes nothing in its group, whichever run has that.
func (c *Cloud) terminate(ctx context.Context, a fleet.Action) error {
	in, g, err := c.member(ctx, a)
	switch {
	case in == nil:
		return err
	case in.Lifecycle == fleet.Retained:
	case in.Leaving() || strings.HasPrefix(in.Lifecycle, "Warmed:Terminat"):
		return nil
	case err != nil:
		return err
	case strings.HasPrefix(in.Lifecycle, "Warmed:"):
		return &fleet.Refused{Reason: fmt.Sprintf("the instance is %s: Auto Scaling ends none of its warm pool by id; make the pool smaller", in.Lifecycle)}
	}
	counted := !in.Parked() && in.Lifecycle != fleet.Retained
	if a.Verb == fleet.Replace {
		counted = false // its place is filled again
	}
	_, err = c.scaling.TerminateInstanceInAutoScalingGroup(ctx, &autoscaling.TerminateInstanceInAutoScalingGroupInput{InstanceId: &a.Instance, ShouldDecrementDesiredCapacity: &counted})
	if g != nil && codeIs(err, "ValidationError") && strings.Contains(err.Error(), "equals minSize") {
		return &fleet.Refused{Reason: fmt.Sprintf("the group's desired capacity is at its minimum of %d, so no instance may go without a replacement; raise desired or lower the minimum", sdk.ToInt32(g.MinSize))}
	}
	return err
}

// standby takes an instance out of service, and off the desired capacity, but keeps it running.
func (c *Cloud) standby(ctx context.Context, a fleet.Action) error {
	in, g, err := c.member(ctx, a)
	if err != nil {
		return err
	}
	if in == nil || g == nil {
		return &fleet.Refused{Reason: "the instance is gone"}
	}
	switch {
	case in.Parked():
		return nil
	case in.Lifecycle != fleet.InService:
		return &fleet.Refused{Reason: fmt.Sprintf("the instance is %s, expected %s", in.Lifecycle, fleet.InService)}
	}
	if desired, least := sdk.ToInt32(g.DesiredCapacity), sdk.ToInt32(g.MinSize); desired <= least {
		return &fleet.Refused{Reason: fmt.Sprintf("the group's desired capacity is at its minimum of %d, so no instance may go to standby; raise desired or lower the minimum", least)}
	}
	_, err = c.scaling.EnterStandby(ctx, &autoscaling.EnterStandbyInput{AutoScalingGroupName: &a.Group, InstanceIds: []string{a.Instance}, ShouldDecrementDesiredCapacity: sdk.Bool(true)})
	return err
}

// unstandby puts an instance back into service, and onto the desired capacity.
func (c *Cloud) unstandby(ctx context.Context, a fleet.Action) error {
	in, g, err := c.member(ctx, a)
	if err != nil {
		return err
	}
	if in == nil || g == nil {
		return &fleet.Refused{Reason: "the instance is gone"}
	}
	switch {
	case in.Counted():
		return nil
	case in.Lifecycle != fleet.OnStandby:
		return &fleet.Refused{Reason: fmt.Sprintf("the instance is %s, expected %s", in.Lifecycle, fleet.OnStandby)}
	}
	if desired, most := sdk.ToInt32(g.DesiredCapacity), sdk.ToInt32(g.MaxSize); desired >= most {
		return &fleet.Refused{Reason: fmt.Sprintf("the group's desired capacity is at its maximum of %d, so no instance may leave standby; lower desired or raise the maximum", most)}
	}
	_, err = c.scaling.ExitStandby(ctx, &autoscaling.ExitStandbyInput{AutoScalingGroupName: &a.Group, InstanceIds: []string{a.Instance}})
	return err
}

// deregister takes an instance out of a target group. AWS takes a target without a port for the one under the group's own port, so every port
// is named under which the instance is there.
func (c *Cloud) deregister(ctx context.Context, a fleet.Action) error {
	told, _, err := c.describeHealth(ctx, a.Target)
	if err != nil {
		return err
	}
	var targets []elbtypes.TargetDescription
	for _, d := range told {
		if targetID(d) == a.Instance && targetState(d) != fleet.TargetDraining {
			targets = append(targets, elbtypes.TargetDescription{Id: d.Target.Id, Port: d.Target.Port})
		}
	}
	if len(targets) == 0 {
		return nil
	}
	_, err = c.elb.DeregisterTargets(ctx, &elb.DeregisterTargetsInput{TargetGroupArn: &a.Target, Targets: targets})
	if codeIs(err, "InvalidTarget", "TargetGroupNotFound") {
		return nil // not registered: already so
	}
	return err
}
