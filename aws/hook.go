package aws

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"drover.dev/fleet"
)

const (
	// answerWithin bounds an answer to a hook, the SDK's retries included: one that hangs must not hold up those of other instances.
	answerWithin = 10 * time.Second
	// busyFor is when to answer again while Auto Scaling is busy: another change of the group is over in moments, and the SDK has backed off already.
	busyFor = 2 * time.Second
)

// answerHook has a hook hold its instance longer, or let it go. A hook that does not hold it (any more) is as good as answered.
func (c *Cloud) answerHook(ctx context.Context, a fleet.Action) error {
	ctx, stop := context.WithTimeoutCause(ctx, answerWithin, errors.New("AWS gave no answer within "+answerWithin.String()))
	defer stop()
	err := c.tellHook(ctx, a)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err = endure(explain(err))
	var busy *fleet.Refused
	if errors.As(err, &busy) {
		return &fleet.Refused{Reason: err.Error(), Wait: cmp.Or(busy.Wait, busyFor), Denied: busy.Denied}
	}
	return err
}

func (c *Cloud) tellHook(ctx context.Context, a fleet.Action) error {
	group, err := c.scalingName(ctx, a.Group)
	if err != nil {
		return err
	}
	if a.Verb == fleet.Complete {
		_, err = c.scaling.CompleteLifecycleAction(ctx, &autoscaling.CompleteLifecycleActionInput{
			AutoScalingGroupName: &group, LifecycleHookName: &a.Hook, InstanceId: &a.Instance, LifecycleActionResult: &a.Result,
		})
	} else {
		_, err = c.scaling.RecordLifecycleActionHeartbeat(ctx, &autoscaling.RecordLifecycleActionHeartbeatInput{
			AutoScalingGroupName: &group, LifecycleHookName: &a.Hook, InstanceId: &a.Instance,
		})
	}
	if codeIs(err, "ValidationError") && strings.Contains(err.Error(), "No active Lifecycle Action found") {
		return nil
	}
	return err
}

// describeHooks reads the hooks of an Auto Scaling group, in the order of their names.
func (c *Cloud) describeHooks(ctx context.Context, scaling string) ([]fleet.Hook, error) {
	out, err := c.scaling.DescribeLifecycleHooks(ctx, &autoscaling.DescribeLifecycleHooksInput{AutoScalingGroupName: &scaling})
	if err != nil {
		return nil, err
	}
	var hooks []fleet.Hook
	for i := range out.LifecycleHooks {
		hooks = append(hooks, hook(&out.LifecycleHooks[i]))
	}
	slices.SortFunc(hooks, func(a, b fleet.Hook) int { return cmp.Compare(a.Name, b.Name) })
	return hooks, nil
}

func hook(raw *astypes.LifecycleHook) fleet.Hook {
	return fleet.Hook{
		Name: sdk.ToString(raw.LifecycleHookName), Launching: sdk.ToString(raw.LifecycleTransition) == "autoscaling:EC2_INSTANCE_LAUNCHING",
		Heartbeat: time.Duration(sdk.ToInt32(raw.HeartbeatTimeout)) * time.Second, Abandon: sdk.ToString(raw.DefaultResult) != fleet.Continue,
		Target: sdk.ToString(raw.NotificationTargetARN), Metadata: sdk.ToString(raw.NotificationMetadata),
	}
}
