package wire

import (
	"testing"

	as "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	ast "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbt "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

func TestStandbyOverTheWire(t *testing.T) {
	r := newRig(t)
	r.fleet()
	id := *r.members()[0].InstanceId
	in := ok[*as.EnterStandbyOutput](t)(r.as.EnterStandby(ctx, &as.EnterStandbyInput{
		AutoScalingGroupName: new("g"), InstanceIds: []string{id}, ShouldDecrementDesiredCapacity: new(true),
	}))
	if len(in.Activities) != 1 || *in.Activities[0].Description != "Moving EC2 instance to Standby: "+id {
		t.Fatalf("activities %+v", in.Activities)
	}
	r.settle()
	if got := r.members()[0].LifecycleState; got != ast.LifecycleStateStandby {
		t.Fatalf("state %s", got)
	}
	out := ok[*as.ExitStandbyOutput](t)(r.as.ExitStandby(ctx, &as.ExitStandbyInput{AutoScalingGroupName: new("g"), InstanceIds: []string{id}}))
	if len(out.Activities) != 1 || out.Activities[0].StatusCode != ast.ScalingActivityStatusCodePreInService {
		t.Fatalf("activities %+v", out.Activities)
	}
	r.settle()
	if got := r.members()[0].LifecycleState; got != ast.LifecycleStateInService {
		t.Fatalf("state %s", got)
	}
	_, err := r.as.EnterStandby(ctx, &as.EnterStandbyInput{AutoScalingGroupName: new("g"), InstanceIds: []string{"i-00000000000000000"}, ShouldDecrementDesiredCapacity: new(true)})
	r.code(err, "ValidationError", "is not part of")
}

func TestTargetsByIPOverTheWire(t *testing.T) {
	r := newRig(t)
	tg := ok[*elb.CreateTargetGroupOutput](t)(r.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{Name: new("pods"), TargetType: elbt.TargetTypeEnumIp, Port: new(int32(8080))})).TargetGroups[0]
	if tg.TargetType != elbt.TargetTypeEnumIp {
		t.Fatalf("made %+v", tg)
	}
	pod := []elbt.TargetDescription{{Id: new("10.0.1.7"), Port: new(int32(9090))}}
	state := func() elbt.TargetHealthStateEnum {
		out := ok[*elb.DescribeTargetHealthOutput](t)(r.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: tg.TargetGroupArn, Targets: pod}))
		return out.TargetHealthDescriptions[0].TargetHealth.State
	}
	ok[*elb.RegisterTargetsOutput](t)(r.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: tg.TargetGroupArn, Targets: pod}))
	r.settle()
	if got := state(); got != elbt.TargetHealthStateEnumHealthy {
		t.Errorf("state %s", got)
	}
	ok[*elb.DeregisterTargetsOutput](t)(r.elb.DeregisterTargets(ctx, &elb.DeregisterTargetsInput{TargetGroupArn: tg.TargetGroupArn, Targets: pod}))
	if got := state(); got != elbt.TargetHealthStateEnumDraining {
		t.Errorf("state %s", got)
	}
	r.settle()
	if got := state(); got != elbt.TargetHealthStateEnumUnused {
		t.Errorf("state %s", got)
	}
}
