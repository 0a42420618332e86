package wire

import (
	"testing"
	"time"

	as "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	ast "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"drover.dev/sandbox/cloud"
)

// states prints the states of the members of g, by id.
func (r *rig) states() map[string]ast.LifecycleState {
	out := map[string]ast.LifecycleState{}
	for _, m := range r.members() {
		out[*m.InstanceId] = m.LifecycleState
	}
	return out
}

func TestHooksOverTheWire(t *testing.T) {
	r := newRig(t)
	r.fleet()
	if _, err := r.cloud.CreateQueue("q", nil, nil); err != nil {
		t.Fatal(err)
	}
	put := &as.PutLifecycleHookInput{
		AutoScalingGroupName: new("g"), LifecycleHookName: new("drain"), LifecycleTransition: new(cloud.HookTerminating), HeartbeatTimeout: new(int32(60)),
		DefaultResult: new("CONTINUE"), NotificationTargetARN: new("arn:aws:sqs:eu-west-1:123456789012:q"), RoleARN: new("arn:aws:iam::123456789012:role/r"), NotificationMetadata: new("<m>"),
	}
	ok[*as.PutLifecycleHookOutput](t)(r.as.PutLifecycleHook(ctx, put))
	ask := &as.DescribeLifecycleHooksInput{AutoScalingGroupName: new("g")}
	hooks := ok[*as.DescribeLifecycleHooksOutput](t)(r.as.DescribeLifecycleHooks(ctx, ask))
	r.same("autoscaling", "DescribeLifecycleHooks", ask, hooks)
	if h := hooks.LifecycleHooks[0]; *h.GlobalTimeout != 6000 || *h.NotificationMetadata != "<m>" {
		t.Fatalf("hook %+v", h)
	}
	put.NotificationTargetARN, put.HeartbeatTimeout = new(""), nil
	ok[*as.PutLifecycleHookOutput](t)(r.as.PutLifecycleHook(ctx, put))
	if h := ok[*as.DescribeLifecycleHooksOutput](t)(r.as.DescribeLifecycleHooks(ctx, ask)).LifecycleHooks[0]; h.NotificationTargetARN != nil || *h.HeartbeatTimeout != 60 {
		t.Fatalf("hook %+v", h)
	}
	put.HeartbeatTimeout = new(int32(0))
	_, err := r.as.PutLifecycleHook(ctx, put)
	r.code(err, "ValidationError", "between 30 and 7200")

	id := *r.members()[0].InstanceId
	ok[*as.TerminateInstanceInAutoScalingGroupOutput](t)(r.as.TerminateInstanceInAutoScalingGroup(ctx, &as.TerminateInstanceInAutoScalingGroupInput{InstanceId: &id, ShouldDecrementDesiredCapacity: new(true)}))
	r.clock.Advance(5 * time.Minute)
	if got := r.states()[id]; got != ast.LifecycleStateTerminatingWait {
		t.Fatalf("state %s", got)
	}
	ok[*as.RecordLifecycleActionHeartbeatOutput](t)(r.as.RecordLifecycleActionHeartbeat(ctx, &as.RecordLifecycleActionHeartbeatInput{AutoScalingGroupName: new("g"), LifecycleHookName: new("drain"), InstanceId: &id}))
	complete := &as.CompleteLifecycleActionInput{AutoScalingGroupName: new("g"), LifecycleHookName: new("drain"), InstanceId: &id, LifecycleActionResult: new("CONTINUE")}
	r.cloud.Throttle("CompleteLifecycleAction", 1) // the SDK tries again
	ok[*as.CompleteLifecycleActionOutput](t)(r.as.CompleteLifecycleAction(ctx, complete))
	if got := r.states()[id]; got != ast.LifecycleStateTerminatingProceed {
		t.Fatalf("state %s", got)
	}
	_, err = r.as.CompleteLifecycleAction(ctx, complete)
	r.code(err, "ValidationError", "No active Lifecycle Action found with instance ID "+id)
	ok[*as.DeleteLifecycleHookOutput](t)(r.as.DeleteLifecycleHook(ctx, &as.DeleteLifecycleHookInput{AutoScalingGroupName: new("g"), LifecycleHookName: new("drain")}))
}

func TestGroupIsMadeWithHooksAndPolicies(t *testing.T) {
	r := newRig(t)
	r.fleet()
	ok[*as.CreateAutoScalingGroupOutput](t)(r.as.CreateAutoScalingGroup(ctx, &as.CreateAutoScalingGroupInput{
		AutoScalingGroupName: new("h"), MinSize: new(int32(0)), MaxSize: new(int32(4)), DesiredCapacity: new(int32(1)), AvailabilityZones: r.cloud.Zones(),
		LaunchTemplate: &ast.LaunchTemplateSpecification{LaunchTemplateName: new("nodes")}, CapacityRebalance: new(true),
		InstanceLifecyclePolicy:        &ast.InstanceLifecyclePolicy{RetentionTriggers: &ast.RetentionTriggers{TerminateHookAbandon: ast.RetentionActionRetain}},
		LifecycleHookSpecificationList: []ast.LifecycleHookSpecification{{LifecycleHookName: new("ready"), LifecycleTransition: new(cloud.HookLaunching), HeartbeatTimeout: new(int32(900))}},
	}))
	r.clock.Advance(time.Minute)
	ask := &as.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{"h"}}
	got := ok[*as.DescribeAutoScalingGroupsOutput](t)(r.as.DescribeAutoScalingGroups(ctx, ask))
	r.same("autoscaling", "DescribeAutoScalingGroups", ask, got)
	g := got.AutoScalingGroups[0]
	if !*g.CapacityRebalance || g.InstanceLifecyclePolicy.RetentionTriggers.TerminateHookAbandon != "retain" || g.Instances[0].LifecycleState != ast.LifecycleStatePendingWait {
		t.Fatalf("group %+v", g)
	}
	ok[*as.UpdateAutoScalingGroupOutput](t)(r.as.UpdateAutoScalingGroup(ctx, &as.UpdateAutoScalingGroupInput{
		AutoScalingGroupName: new("h"), CapacityRebalance: new(false),
		InstanceLifecyclePolicy: &ast.InstanceLifecyclePolicy{RetentionTriggers: &ast.RetentionTriggers{TerminateHookAbandon: ast.RetentionActionTerminate}},
	}))
	g = ok[*as.DescribeAutoScalingGroupsOutput](t)(r.as.DescribeAutoScalingGroups(ctx, ask)).AutoScalingGroups[0]
	if *g.CapacityRebalance || g.InstanceLifecyclePolicy != nil {
		t.Fatalf("group %+v", g)
	}
}

func TestWarmPoolOverTheWire(t *testing.T) {
	r := newRig(t)
	r.fleet()
	ok[*as.PutWarmPoolOutput](t)(r.as.PutWarmPool(ctx, &as.PutWarmPoolInput{
		AutoScalingGroupName: new("g"), MinSize: new(int32(1)), MaxGroupPreparedCapacity: new(int32(5)), PoolState: ast.WarmPoolStateStopped,
		InstanceReusePolicy: &ast.InstanceReusePolicy{ReuseOnScaleIn: new(true)},
	}))
	r.settle()
	ask := &as.DescribeWarmPoolInput{AutoScalingGroupName: new("g")}
	got := ok[*as.DescribeWarmPoolOutput](t)(r.as.DescribeWarmPool(ctx, ask))
	r.same("autoscaling", "DescribeWarmPool", ask, got)
	if len(got.Instances) != 2 || got.Instances[0].LifecycleState != ast.LifecycleStateWarmedStopped || *got.WarmPoolConfiguration.MaxGroupPreparedCapacity != 5 {
		t.Fatalf("pool %+v", got)
	}
	groups := &as.DescribeAutoScalingGroupsInput{}
	shown := ok[*as.DescribeAutoScalingGroupsOutput](t)(r.as.DescribeAutoScalingGroups(ctx, groups))
	r.same("autoscaling", "DescribeAutoScalingGroups", groups, shown)
	if g := shown.AutoScalingGroups[0]; *g.WarmPoolSize != 2 || len(g.Instances) != 3 {
		t.Fatalf("group %+v", g)
	}
	ok[*as.DeleteWarmPoolOutput](t)(r.as.DeleteWarmPool(ctx, &as.DeleteWarmPoolInput{AutoScalingGroupName: new("g"), ForceDelete: new(true)}))
	r.settle()
	if got := ok[*as.DescribeWarmPoolOutput](t)(r.as.DescribeWarmPool(ctx, ask)); got.WarmPoolConfiguration != nil || len(got.Instances) != 0 {
		t.Fatalf("pool %+v", got)
	}
}
