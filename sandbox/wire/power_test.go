package wire

import (
	"strings"
	"testing"
	"time"

	as "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	ast "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2t "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// spot makes a group "s" of one spot instance and returns its id.
func (r *rig) spot() string {
	r.t.Helper()
	t := r.t
	ok[*ec2.CreateLaunchTemplateOutput](t)(r.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: new("spot"), LaunchTemplateData: &ec2t.RequestLaunchTemplateData{
			ImageId: new("ami-1"), InstanceType: ec2t.InstanceTypeM5Large, InstanceMarketOptions: &ec2t.LaunchTemplateInstanceMarketOptionsRequest{MarketType: ec2t.MarketTypeSpot},
		},
	}))
	ok[*as.CreateAutoScalingGroupOutput](t)(r.as.CreateAutoScalingGroup(ctx, &as.CreateAutoScalingGroupInput{
		AutoScalingGroupName: new("s"), MinSize: new(int32(0)), MaxSize: new(int32(2)), DesiredCapacity: new(int32(1)), AvailabilityZones: r.cloud.Zones(),
		LaunchTemplate: &ast.LaunchTemplateSpecification{LaunchTemplateName: new("spot")},
	}))
	r.settle()
	for _, i := range r.cloud.Instances() {
		if i.Spot {
			return i.ID
		}
	}
	t.Fatal("no spot instance")
	return ""
}

func TestSpotRequestsOverTheWire(t *testing.T) {
	r := newRig(t)
	r.fleet()
	id := r.spot()
	if err := r.cloud.InterruptSpot(id, "terminate"); err != nil {
		t.Fatal(err)
	}
	ask := &ec2.DescribeSpotInstanceRequestsInput{Filters: []ec2t.Filter{{Name: new("status-code"), Values: []string{"marked-for-termination"}}}}
	got := ok[*ec2.DescribeSpotInstanceRequestsOutput](t)(r.ec2.DescribeSpotInstanceRequests(ctx, ask))
	r.same("ec2", "DescribeSpotInstanceRequests", ask, got)
	if len(got.SpotInstanceRequests) != 1 || *got.SpotInstanceRequests[0].InstanceId != id {
		t.Fatalf("requests %+v", got.SpotInstanceRequests)
	}
	of := &ec2.DescribeInstancesInput{InstanceIds: []string{id}}
	is := ok[*ec2.DescribeInstancesOutput](t)(r.ec2.DescribeInstances(ctx, of))
	r.same("ec2", "DescribeInstances", of, is)
	byID := &ec2.DescribeSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{*is.Reservations[0].Instances[0].SpotInstanceRequestId}}
	if got := ok[*ec2.DescribeSpotInstanceRequestsOutput](t)(r.ec2.DescribeSpotInstanceRequests(ctx, byID)); len(got.SpotInstanceRequests) != 1 {
		t.Fatalf("requests %+v", got.SpotInstanceRequests)
	}
	_, err := r.ec2.DescribeSpotInstanceRequests(ctx, &ec2.DescribeSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{"sir-00000000"}})
	r.code(err, "InvalidSpotInstanceRequestID.NotFound", "sir-00000000")
}

func TestInstanceStatusOverTheWire(t *testing.T) {
	r := newRig(t)
	r.fleet()
	var ids []string
	for _, m := range r.members() {
		ids = append(ids, *m.InstanceId)
	}
	if _, err := r.cloud.ScheduleEvent("instance-stop", r.clock.Now().Add(time.Hour), "", ids[:2]...); err != nil {
		t.Fatal(err)
	}
	planned := &ec2.DescribeInstanceStatusInput{Filters: []ec2t.Filter{{Name: new("event.code"), Values: []string{"instance-stop", "instance-retirement"}}}}
	got := ok[*ec2.DescribeInstanceStatusOutput](t)(r.ec2.DescribeInstanceStatus(ctx, planned))
	r.same("ec2", "DescribeInstanceStatus", planned, got)
	if len(got.InstanceStatuses) != 2 || got.InstanceStatuses[0].Events[0].Code != ec2t.EventCodeInstanceStop {
		t.Fatalf("statuses %+v", got.InstanceStatuses)
	}
	_, err := r.ec2.DescribeInstanceStatus(ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: ids, MaxResults: new(int32(5))})
	r.code(err, "InvalidParameterCombination", "maxResults")

	ok[*as.SetDesiredCapacityOutput](t)(r.as.SetDesiredCapacity(ctx, &as.SetDesiredCapacityInput{AutoScalingGroupName: new("g"), DesiredCapacity: new(int32(8))}))
	r.settle()
	pages, n := ec2.NewDescribeInstanceStatusPaginator(r.ec2, &ec2.DescribeInstanceStatusInput{MaxResults: new(int32(5))}), 0
	for pages.HasMorePages() {
		n += len(ok[*ec2.DescribeInstanceStatusOutput](t)(pages.NextPage(ctx)).InstanceStatuses)
	}
	if n != 8 {
		t.Fatalf("%d statuses on all pages", n)
	}
}

func TestPowerOverTheWire(t *testing.T) {
	r := newRig(t)
	r.fleet()
	ok[*as.SuspendProcessesOutput](t)(r.as.SuspendProcesses(ctx, &as.SuspendProcessesInput{AutoScalingGroupName: new("g")}))
	one := []string{*r.members()[0].InstanceId}
	ok[*ec2.RebootInstancesOutput](t)(r.ec2.RebootInstances(ctx, &ec2.RebootInstancesInput{InstanceIds: one}))
	stopped := ok[*ec2.StopInstancesOutput](t)(r.ec2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: one}))
	if c := stopped.StoppingInstances[0]; c.CurrentState.Name != ec2t.InstanceStateNameStopping || *c.CurrentState.Code != 64 {
		t.Fatalf("change %+v", c)
	}
	r.settle()
	started := ok[*ec2.StartInstancesOutput](t)(r.ec2.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: one}))
	if c := started.StartingInstances[0]; c.PreviousState.Name != ec2t.InstanceStateNameStopped || c.CurrentState.Name != ec2t.InstanceStateNamePending {
		t.Fatalf("change %+v", c)
	}
	_, err := r.ec2.RebootInstances(ctx, &ec2.RebootInstancesInput{InstanceIds: one})
	r.code(err, "IncorrectInstanceState", one[0])
}

func TestAWSCommandLineWorksHooksAndEvents(t *testing.T) {
	r := newRig(t)
	r.fleet()
	id := *r.members()[0].InstanceId
	if _, err := r.cloud.ScheduleEvent("system-reboot", r.clock.Now().Add(time.Hour), "", id); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{
		{"put-lifecycle-hook", "--auto-scaling-group-name", "g", "--lifecycle-hook-name", "drain", "--lifecycle-transition", "autoscaling:EC2_INSTANCE_TERMINATING", "--heartbeat-timeout", "300"},
		{"terminate-instance-in-auto-scaling-group", "--instance-id", id, "--no-should-decrement-desired-capacity"},
	} {
		if out, errs, err := r.awsCLI(append([]string{"autoscaling"}, c...)...); err != nil {
			t.Fatalf("%v: %s%s", c, out, errs)
		}
	}
	r.clock.Advance(5 * time.Minute)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"autoscaling", "describe-auto-scaling-instances", "--instance-ids", id, "--query", "AutoScalingInstances[].LifecycleState"}, "Terminating:Wait"},
		{[]string{"autoscaling", "describe-lifecycle-hooks", "--auto-scaling-group-name", "g", "--query", "LifecycleHooks[].GlobalTimeout"}, "30000"},
		{[]string{"autoscaling", "complete-lifecycle-action", "--auto-scaling-group-name", "g", "--lifecycle-hook-name", "drain", "--instance-id", id, "--lifecycle-action-result", "CONTINUE"}, ""},
		{[]string{"autoscaling", "describe-auto-scaling-instances", "--instance-ids", id, "--query", "AutoScalingInstances[].LifecycleState"}, "Terminating:Proceed"},
		{[]string{"ec2", "describe-instance-status", "--filters", "Name=event.code,Values=system-reboot", "--query", "InstanceStatuses[].Events[].Code"}, "system-reboot"},
	} {
		out, errs, err := r.awsCLI(c.args...)
		if err != nil || !strings.Contains(out, c.want) {
			t.Fatalf("%v: %s%s, want %s", c.args, out, errs, c.want)
		}
	}
}
