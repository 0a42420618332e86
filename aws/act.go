package aws

import (
	"context"
	"fmt"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"drover.dev/fleet"
)

const groupResource = "auto-scaling-group" // the resource type of tags on groups

// Act carries out one action on a group, an instance or a target. "Already so" is success. An error says the cause only, not the action.
func (c *Cloud) Act(ctx context.Context, a fleet.Action) error {
	return explain(c.act(ctx, a))
}

func (c *Cloud) act(ctx context.Context, a fleet.Action) error {
	switch a.Verb {
	case fleet.Journal:
		_, err := c.scaling.CreateOrUpdateTags(ctx, &autoscaling.CreateOrUpdateTagsInput{Tags: []astypes.Tag{{
			ResourceId: &a.Group, ResourceType: sdk.String(groupResource), Key: sdk.String(markTag),
			Value: sdk.String(a.Mark.String()), PropagateAtLaunch: sdk.Bool(false),
		}}})
		return err
	case fleet.Forget:
		_, err := c.scaling.DeleteTags(ctx, &autoscaling.DeleteTagsInput{Tags: []astypes.Tag{{
			ResourceId: &a.Group, ResourceType: sdk.String(groupResource), Key: sdk.String(markTag),
		}}})
		return err
	case fleet.Suspend:
		_, err := c.scaling.SuspendProcesses(ctx, &autoscaling.SuspendProcessesInput{AutoScalingGroupName: &a.Group, ScalingProcesses: []string{a.Process}})
		return err
	case fleet.Resume:
		_, err := c.scaling.ResumeProcesses(ctx, &autoscaling.ResumeProcessesInput{AutoScalingGroupName: &a.Group, ScalingProcesses: []string{a.Process}})
		return err
	case fleet.Resize:
		return c.resize(ctx, a)
	case fleet.Deregister:
		_, err := c.elb.DeregisterTargets(ctx, &elb.DeregisterTargetsInput{TargetGroupArn: &a.Target, Targets: []elbtypes.TargetDescription{{Id: &a.Instance}}})
		if codeIs(err, "InvalidTarget") {
			return nil // not registered: already so
		}
		return err
	case fleet.Terminate:
		return c.terminate(ctx, a)
	}
	return fmt.Errorf("aws does not know how to %s", a.Verb)
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
	g, err := c.raw(ctx, a.Group)
	if err != nil {
		return err
	}
	if g == nil {
		return &fleet.Refused{Reason: "the group is gone"}
	}
	if err := carries(g, a.Run); err != nil {
		return err
	}
	switch now := int(sdk.ToInt32(g.DesiredCapacity)); now {
	case a.To:
		return nil
	case a.From:
	default:
		return &fleet.Refused{Reason: fmt.Sprintf("desired is %d by now, expected %d", now, a.From)}
	}
	_, err = c.scaling.SetDesiredCapacity(ctx, &autoscaling.SetDesiredCapacityInput{AutoScalingGroupName: &a.Group, DesiredCapacity: sdk.Int32(int32(a.To)), HonorCooldown: sdk.Bool(false)})
	return err
}

// terminate closes exactly this instance and takes it off the desired capacity. Asking twice must not decrement twice, so an instance that
// is already leaving, or gone, is left alone.
func (c *Cloud) terminate(ctx context.Context, a fleet.Action) error {
	out, err := c.scaling.DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{a.Instance}})
	if err != nil {
		return err
	}
	if len(out.AutoScalingInstances) == 0 {
		return nil
	}
	in := out.AutoScalingInstances[0]
	if group := sdk.ToString(in.AutoScalingGroupName); group != a.Group {
		return &fleet.Refused{Reason: fmt.Sprintf("it belongs to group %s by now, expected %s", group, a.Group)}
	}
	if strings.HasPrefix(sdk.ToString(in.LifecycleState), "Terminat") {
		return nil
	}
	g, err := c.raw(ctx, a.Group)
	if err != nil {
		return err
	}
	if g != nil {
		if err := carries(g, a.Run); err != nil {
			return err
		}
	}
	_, err = c.scaling.TerminateInstanceInAutoScalingGroup(ctx, &autoscaling.TerminateInstanceInAutoScalingGroupInput{InstanceId: &a.Instance, ShouldDecrementDesiredCapacity: sdk.Bool(true)})
	if g != nil && codeIs(err, "ValidationError") && strings.Contains(err.Error(), "equals minSize") {
		return &fleet.Refused{Reason: fmt.Sprintf("the group's desired capacity is at its minimum of %d, so no instance may go without a replacement; raise desired or lower the minimum", sdk.ToInt32(g.MinSize))}
	}
	return err
}
