package aws

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"

	"drover.dev/fleet"
)

// observePool adds the members of a group's warm pool that a hook holds, which Auto Scaling does not list among the group's own: on their way back into the
// pool they may have pods. The others serve nobody.
func (c *Cloud) observePool(ctx context.Context, f *found, g *fleet.Group) error {
	if f.raw.WarmPoolConfiguration == nil {
		return nil
	}
	_, err := c.aside(ctx, "the warm pool of group "+g.Name, "autoscaling:DescribeWarmPool", func(ctx context.Context) error {
		var held []fleet.Instance
		pages := autoscaling.NewDescribeWarmPoolPaginator(c.scaling, &autoscaling.DescribeWarmPoolInput{AutoScalingGroupName: f.raw.AutoScalingGroupName})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return doing("describe warm pool of "+sdk.ToString(f.raw.AutoScalingGroupName), err)
			}
			for i := range page.Instances {
				if in := c.instance(&page.Instances[i]); in.Lifecycle == fleet.WarmedWait {
					held = append(held, in)
				}
			}
		}
		g.Instances = append(g.Instances, held...)
		fleet.SortInstances(g.Instances)
		return nil
	})
	return err
}
