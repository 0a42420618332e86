package wire

import (
	"testing"

	as "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekst "github.com/aws/aws-sdk-go-v2/service/eks/types"
)

// A managed group is taken to nothing, its nodes by name: each step is refused until the one before it has been made.
func TestManagedGroupGoesToZeroOverTheWire(t *testing.T) {
	r := newRig(t)
	client, n := r.nodegroup() // 3 nodes, minimum 1
	group := n.Resources.AutoScalingGroups[0].Name
	config := func(least, desired *int32) error {
		_, err := client.UpdateNodegroupConfig(ctx, &eks.UpdateNodegroupConfigInput{
			ClusterName: new("prod"), NodegroupName: new("web"), ScalingConfig: &ekst.NodegroupScalingConfig{MinSize: least, DesiredSize: desired},
		})
		r.settle()
		return err
	}
	r.code(config(nil, new(int32(0))), "InvalidParameterException", "can't be less than minimum size 1")
	ok[*as.SuspendProcessesOutput](t)(r.as.SuspendProcesses(ctx, &as.SuspendProcessesInput{AutoScalingGroupName: group, ScalingProcesses: []string{"AZRebalance"}}))
	members := func() []string {
		var ids []string
		shown := ok[*as.DescribeAutoScalingGroupsOutput](t)(r.as.DescribeAutoScalingGroups(ctx, &as.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{*group}}))
		for _, i := range shown.AutoScalingGroups[0].Instances {
			ids = append(ids, *i.InstanceId)
		}
		return ids
	}
	all := members()
	ok[*as.SetInstanceProtectionOutput](t)(r.as.SetInstanceProtection(ctx, &as.SetInstanceProtectionInput{AutoScalingGroupName: group, InstanceIds: all[1:], ProtectedFromScaleIn: new(true)}))
	end := func(id string) error {
		_, err := r.as.TerminateInstanceInAutoScalingGroup(ctx, &as.TerminateInstanceInAutoScalingGroupInput{InstanceId: &id, ShouldDecrementDesiredCapacity: new(true)})
		r.settle()
		return err
	}
	for _, id := range all[:2] {
		if err := end(id); err != nil {
			t.Fatal(err)
		}
	}
	r.code(end(all[2]), "ValidationError", "Currently, desiredSize equals minSize (1).")
	if err := config(new(int32(0)), nil); err != nil {
		t.Fatal(err)
	}
	if err := end(all[2]); err != nil {
		t.Fatal(err)
	}
	shown := ok[*eks.DescribeNodegroupOutput](t)(client.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: new("prod"), NodegroupName: new("web")})).Nodegroup
	if s := shown.ScalingConfig; *s.MinSize != 0 || *s.DesiredSize != 0 || shown.Status != ekst.NodegroupStatusActive || len(members()) != 0 {
		t.Fatalf("node group %+v, members %q", s, members())
	}
}
