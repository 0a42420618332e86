package wire

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	as "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"drover.dev/sandbox/cloud"
)

// openEnded is the prepared capacity of a pool that goes by the group's maximum.
const openEnded = -1

var poolActions = map[string]action{
	"PutWarmPool": on("AutoScalingGroupName MinSize MaxGroupPreparedCapacity PoolState InstanceReusePolicy.ReuseOnScaleIn",
		func(c *cloud.Cloud, in *as.PutWarmPoolInput) (*as.PutWarmPoolOutput, error) {
			p := cloud.WarmPool{Group: aws.ToString(in.AutoScalingGroupName), Min: int(aws.ToInt32(in.MinSize)), MaxPrepared: openEnded, State: string(in.PoolState)}
			if in.MaxGroupPreparedCapacity != nil {
				p.MaxPrepared = int(*in.MaxGroupPreparedCapacity)
			}
			if in.InstanceReusePolicy != nil {
				p.Reuse = aws.ToBool(in.InstanceReusePolicy.ReuseOnScaleIn)
			}
			return &as.PutWarmPoolOutput{}, c.PutWarmPool(p)
		}),
	"DescribeWarmPool": on("AutoScalingGroupName"+paging,
		func(c *cloud.Cloud, in *as.DescribeWarmPoolInput) (*as.DescribeWarmPoolOutput, error) {
			p, members, err := c.DescribeWarmPool(aws.ToString(in.AutoScalingGroupName))
			if err != nil || p.Group == "" {
				return &as.DescribeWarmPoolOutput{Instances: []types.Instance{}}, err
			}
			shown, next, err := page(members, func(m cloud.Member) string { return m.InstanceID }, in.NextToken, in.MaxRecords, 50, 100)
			return &as.DescribeWarmPoolOutput{WarmPoolConfiguration: showPool(&p), Instances: orEmpty(list(shown, showMember)), NextToken: next}, err
		}),
	"DeleteWarmPool": on("AutoScalingGroupName ForceDelete",
		func(c *cloud.Cloud, in *as.DeleteWarmPoolInput) (*as.DeleteWarmPoolOutput, error) {
			return &as.DeleteWarmPoolOutput{}, c.DeleteWarmPool(aws.ToString(in.AutoScalingGroupName), aws.ToBool(in.ForceDelete))
		}),
}

func showPool(p *cloud.WarmPool) *types.WarmPoolConfiguration {
	if p == nil {
		return nil
	}
	out := &types.WarmPoolConfiguration{MinSize: i32(p.Min), PoolState: types.WarmPoolState(p.State), Status: types.WarmPoolStatus(p.Status)}
	if p.MaxPrepared >= 0 {
		out.MaxGroupPreparedCapacity = i32(p.MaxPrepared)
	}
	if p.Reuse {
		out.InstanceReusePolicy = &types.InstanceReusePolicy{ReuseOnScaleIn: &p.Reuse}
	}
	return out
}
