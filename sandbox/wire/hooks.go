package wire

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	as "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"drover.dev/sandbox/cloud"
)

var hookActions = map[string]action{
	"PutLifecycleHook": on("AutoScalingGroupName LifecycleHookName DefaultResult HeartbeatTimeout LifecycleTransition NotificationMetadata NotificationTargetARN RoleARN",
		func(c *cloud.Cloud, in *as.PutLifecycleHookInput) (*as.PutLifecycleHookOutput, error) {
			return &as.PutLifecycleHookOutput{}, c.PutLifecycleHook(cloud.Hook{
				Name: aws.ToString(in.LifecycleHookName), Group: aws.ToString(in.AutoScalingGroupName), Transition: aws.ToString(in.LifecycleTransition),
				Heartbeat: heartbeat(in.HeartbeatTimeout), DefaultResult: aws.ToString(in.DefaultResult), Target: hookTarget(in.NotificationTargetARN),
				Role: aws.ToString(in.RoleARN), Metadata: aws.ToString(in.NotificationMetadata),
			})
		}),
	"DescribeLifecycleHooks": on("AutoScalingGroupName LifecycleHookNames",
		func(c *cloud.Cloud, in *as.DescribeLifecycleHooksInput) (*as.DescribeLifecycleHooksOutput, error) {
			all, err := c.DescribeLifecycleHooks(aws.ToString(in.AutoScalingGroupName), in.LifecycleHookNames)
			return &as.DescribeLifecycleHooksOutput{LifecycleHooks: orEmpty(list(all, showHook))}, err
		}),
	"DeleteLifecycleHook": on("AutoScalingGroupName LifecycleHookName",
		func(c *cloud.Cloud, in *as.DeleteLifecycleHookInput) (*as.DeleteLifecycleHookOutput, error) {
			return &as.DeleteLifecycleHookOutput{}, c.DeleteLifecycleHook(aws.ToString(in.AutoScalingGroupName), aws.ToString(in.LifecycleHookName))
		}),
	"CompleteLifecycleAction": on("AutoScalingGroupName LifecycleHookName InstanceId LifecycleActionToken LifecycleActionResult",
		func(c *cloud.Cloud, in *as.CompleteLifecycleActionInput) (*as.CompleteLifecycleActionOutput, error) {
			return &as.CompleteLifecycleActionOutput{}, c.CompleteLifecycleAction(aws.ToString(in.AutoScalingGroupName), aws.ToString(in.LifecycleHookName),
				aws.ToString(in.InstanceId), aws.ToString(in.LifecycleActionToken), aws.ToString(in.LifecycleActionResult))
		}),
	"RecordLifecycleActionHeartbeat": on("AutoScalingGroupName LifecycleHookName InstanceId LifecycleActionToken",
		func(c *cloud.Cloud, in *as.RecordLifecycleActionHeartbeatInput) (*as.RecordLifecycleActionHeartbeatOutput, error) {
			return &as.RecordLifecycleActionHeartbeatOutput{}, c.RecordLifecycleActionHeartbeat(aws.ToString(in.AutoScalingGroupName), aws.ToString(in.LifecycleHookName),
				aws.ToString(in.InstanceId), aws.ToString(in.LifecycleActionToken))
		}),
}

// heartbeat tells a zero that was sent, which is refused, from none.
func heartbeat(n *int32) time.Duration {
	if n != nil && *n == 0 {
		return -time.Second
	}
	return seconds(n)
}

// hookTarget tells an empty one, which takes the hook's target away, from none.
func hookTarget(arn *string) string {
	if arn != nil && *arn == "" {
		return cloud.NoTarget
	}
	return aws.ToString(arn)
}

func showHook(h cloud.Hook) types.LifecycleHook {
	return types.LifecycleHook{
		LifecycleHookName: &h.Name, AutoScalingGroupName: &h.Group, LifecycleTransition: &h.Transition, DefaultResult: &h.DefaultResult,
		HeartbeatTimeout: i32(int(h.Heartbeat / time.Second)), GlobalTimeout: i32(int(h.Global() / time.Second)),
		NotificationTargetARN: optional(h.Target), RoleARN: optional(h.Role), NotificationMetadata: optional(h.Metadata),
	}
}

// readHookOf reads a hook that a group is made with.
func readHookOf(s types.LifecycleHookSpecification) cloud.Hook {
	return cloud.Hook{
		Name: aws.ToString(s.LifecycleHookName), Transition: aws.ToString(s.LifecycleTransition), Heartbeat: heartbeat(s.HeartbeatTimeout),
		DefaultResult: aws.ToString(s.DefaultResult), Target: hookTarget(s.NotificationTargetARN), Role: aws.ToString(s.RoleARN), Metadata: aws.ToString(s.NotificationMetadata),
	}
}

// readRetention tells whether a policy keeps instances whose terminate hook is abandoned.
func readRetention(p *types.InstanceLifecyclePolicy) bool {
	return p != nil && p.RetentionTriggers != nil && p.RetentionTriggers.TerminateHookAbandon == types.RetentionActionRetain
}

func showRetention(retain bool) *types.InstanceLifecyclePolicy {
	if !retain {
		return nil
	}
	return &types.InstanceLifecyclePolicy{RetentionTriggers: &types.RetentionTriggers{TerminateHookAbandon: types.RetentionActionRetain}}
}
