package wire

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"drover.dev/sandbox/cloud"
)

var elbActions = map[string]action{
	"CreateTargetGroup": on(`Name TargetType Protocol Port VpcId HealthCheckEnabled HealthCheckProtocol HealthCheckPort HealthCheckPath Matcher.HttpCode
		HealthCheckIntervalSeconds HealthCheckTimeoutSeconds HealthyThresholdCount UnhealthyThresholdCount`,
		func(c *cloud.Cloud, in *elb.CreateTargetGroupInput) (*elb.CreateTargetGroupOutput, error) {
			if in.HealthCheckEnabled != nil && !*in.HealthCheckEnabled {
				return nil, cloud.NotSimulated("HealthCheckEnabled=false", "CreateTargetGroup")
			}
			spec := cloud.TargetGroup{
				Name: aws.ToString(in.Name), TargetType: string(in.TargetType), Protocol: string(in.Protocol), Port: int(aws.ToInt32(in.Port)), VPC: aws.ToString(in.VpcId),
				HealthCheck: cloud.HealthCheck{
					Protocol: string(in.HealthCheckProtocol), Port: aws.ToString(in.HealthCheckPort), Path: aws.ToString(in.HealthCheckPath),
					Interval: seconds(in.HealthCheckIntervalSeconds), Timeout: seconds(in.HealthCheckTimeoutSeconds),
					HealthyThreshold: int(aws.ToInt32(in.HealthyThresholdCount)), UnhealthyThreshold: int(aws.ToInt32(in.UnhealthyThresholdCount)),
				},
			}
			if in.Matcher != nil {
				spec.HealthCheck.Matcher = aws.ToString(in.Matcher.HttpCode)
			}
			g, err := c.CreateTargetGroup(spec)
			return &elb.CreateTargetGroupOutput{TargetGroups: []types.TargetGroup{showTargetGroup(g)}}, err
		}),
	"DeleteTargetGroup": on("TargetGroupArn",
		func(c *cloud.Cloud, in *elb.DeleteTargetGroupInput) (*elb.DeleteTargetGroupOutput, error) {
			return &elb.DeleteTargetGroupOutput{}, c.DeleteTargetGroup(aws.ToString(in.TargetGroupArn))
		}),
	"DescribeTargetGroups": on("TargetGroupArns Names PageSize Marker",
		func(c *cloud.Cloud, in *elb.DescribeTargetGroupsInput) (*elb.DescribeTargetGroupsOutput, error) {
			all, err := c.DescribeTargetGroups(in.TargetGroupArns, in.Names)
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(g cloud.TargetGroup) string { return g.ARN }, in.Marker, in.PageSize, 400, 400)
			return &elb.DescribeTargetGroupsOutput{TargetGroups: orEmpty(list(shown, showTargetGroup)), NextMarker: next}, err
		}),
	"ModifyTargetGroupAttributes": on("TargetGroupArn Attributes",
		func(c *cloud.Cloud, in *elb.ModifyTargetGroupAttributesInput) (*elb.ModifyTargetGroupAttributesOutput, error) {
			attributes := map[string]string{}
			for _, a := range in.Attributes {
				attributes[aws.ToString(a.Key)] = aws.ToString(a.Value)
			}
			all, err := c.ModifyTargetGroupAttributes(aws.ToString(in.TargetGroupArn), attributes)
			return &elb.ModifyTargetGroupAttributesOutput{Attributes: showAttributes(all)}, err
		}),
	"DescribeTargetGroupAttributes": on("TargetGroupArn",
		func(c *cloud.Cloud, in *elb.DescribeTargetGroupAttributesInput) (*elb.DescribeTargetGroupAttributesOutput, error) {
			all, err := c.DescribeTargetGroupAttributes(aws.ToString(in.TargetGroupArn))
			return &elb.DescribeTargetGroupAttributesOutput{Attributes: showAttributes(all)}, err
		}),
	"RegisterTargets": on("TargetGroupArn Targets.Id Targets.Port",
		func(c *cloud.Cloud, in *elb.RegisterTargetsInput) (*elb.RegisterTargetsOutput, error) {
			return &elb.RegisterTargetsOutput{}, c.RegisterTargets(aws.ToString(in.TargetGroupArn), list(in.Targets, readTarget))
		}),
	"DeregisterTargets": on("TargetGroupArn Targets.Id Targets.Port",
		func(c *cloud.Cloud, in *elb.DeregisterTargetsInput) (*elb.DeregisterTargetsOutput, error) {
			return &elb.DeregisterTargetsOutput{}, c.DeregisterTargets(aws.ToString(in.TargetGroupArn), list(in.Targets, readTarget))
		}),
	"DescribeTargetHealth": on("TargetGroupArn Targets.Id Targets.Port",
		func(c *cloud.Cloud, in *elb.DescribeTargetHealthInput) (*elb.DescribeTargetHealthOutput, error) {
			all, err := c.DescribeTargetHealth(aws.ToString(in.TargetGroupArn), list(in.Targets, readTarget))
			return &elb.DescribeTargetHealthOutput{TargetHealthDescriptions: orEmpty(list(all, showTarget))}, err
		}),
}

func readTarget(t types.TargetDescription) cloud.TargetID {
	return cloud.TargetID{ID: aws.ToString(t.Id), Port: int(aws.ToInt32(t.Port))}
}

func showTarget(t cloud.Target) types.TargetHealthDescription {
	return types.TargetHealthDescription{
		Target: &types.TargetDescription{Id: &t.ID, Port: i32(t.Port)}, HealthCheckPort: new(strconv.Itoa(t.Port)),
		TargetHealth: &types.TargetHealth{State: types.TargetHealthStateEnum(t.State), Reason: types.TargetHealthReasonEnum(t.Reason), Description: optional(t.Description)},
	}
}

func showTargetGroup(g cloud.TargetGroup) types.TargetGroup {
	h := g.HealthCheck
	out := types.TargetGroup{
		TargetGroupArn: &g.ARN, TargetGroupName: &g.Name, TargetType: types.TargetTypeEnum(g.TargetType), Protocol: types.ProtocolEnum(g.Protocol), Port: i32(g.Port), VpcId: &g.VPC,
		HealthCheckEnabled: new(true), HealthCheckProtocol: types.ProtocolEnum(h.Protocol), HealthCheckPort: &h.Port, HealthCheckPath: optional(h.Path),
		HealthCheckIntervalSeconds: i32(int(h.Interval / time.Second)), HealthCheckTimeoutSeconds: i32(int(h.Timeout / time.Second)),
		HealthyThresholdCount: i32(h.HealthyThreshold), UnhealthyThresholdCount: i32(h.UnhealthyThreshold), LoadBalancerArns: []string{},
	}
	if h.Matcher != "" {
		out.Matcher = &types.Matcher{HttpCode: &h.Matcher}
	}
	return out
}

func showAttributes(all map[string]string) []types.TargetGroupAttribute {
	return list(slices.Sorted(maps.Keys(all)), func(k string) types.TargetGroupAttribute {
		return types.TargetGroupAttribute{Key: &k, Value: new(all[k])}
	})
}
