package wire

import (
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"drover.dev/sandbox/cloud"
)

var ec2Actions = merge(instanceActions, powerActions, templateActions, typeActions)

const ec2Paging = " MaxResults NextToken"

// unbounded is the page of Describe calls that name no size: EC2 then shows everything it has.
const unbounded = 1 << 30

var instanceActions = map[string]action{
	"DescribeInstances": on("InstanceIds Filters"+ec2Paging,
		func(c *cloud.Cloud, in *ec2.DescribeInstancesInput) (*ec2.DescribeInstancesOutput, error) {
			all, err := c.DescribeInstances(in.InstanceIds, ec2Filters(in.Filters))
			if err != nil {
				return nil, err
			}
			shown, next, err := ec2Page(all, func(i cloud.Instance) string { return i.ID }, in.NextToken, in.MaxResults)
			return &ec2.DescribeInstancesOutput{NextToken: next, Reservations: orEmpty(list(shown, func(i cloud.Instance) types.Reservation {
				return types.Reservation{ReservationId: &i.Reservation, OwnerId: new(c.Account()), Instances: []types.Instance{showInstance(i)}}
			}))}, err
		}),
	"TerminateInstances": on("InstanceIds",
		func(c *cloud.Cloud, in *ec2.TerminateInstancesInput) (*ec2.TerminateInstancesOutput, error) {
			changes, err := c.TerminateInstances(in.InstanceIds)
			return &ec2.TerminateInstancesOutput{TerminatingInstances: list(changes, showChange)}, err
		}),
	"CreateTags": on("Resources Tags",
		func(c *cloud.Cloud, in *ec2.CreateTagsInput) (*ec2.CreateTagsOutput, error) {
			return &ec2.CreateTagsOutput{}, c.CreateTags(in.Resources, readTags(in.Tags))
		}),
	"DeleteTags": on("Resources Tags",
		func(c *cloud.Cloud, in *ec2.DeleteTagsInput) (*ec2.DeleteTagsOutput, error) {
			tags := map[string]*string{}
			for _, t := range in.Tags {
				tags[aws.ToString(t.Key)] = t.Value
			}
			return &ec2.DeleteTagsOutput{}, c.DeleteTags(in.Resources, tags)
		}),
	"DescribeTags": on("Filters"+ec2Paging,
		func(c *cloud.Cloud, in *ec2.DescribeTagsInput) (*ec2.DescribeTagsOutput, error) {
			all, err := c.DescribeTags(ec2Filters(in.Filters))
			if err != nil {
				return nil, err
			}
			shown, next, err := ec2Page(all, func(t cloud.Tag) string { return t.Resource + " " + t.Key }, in.NextToken, in.MaxResults)
			return &ec2.DescribeTagsOutput{NextToken: next, Tags: orEmpty(list(shown, func(t cloud.Tag) types.TagDescription {
				return types.TagDescription{ResourceId: &t.Resource, ResourceType: types.ResourceType(t.ResourceType), Key: &t.Key, Value: &t.Value}
			}))}, err
		}),
	"DescribeSubnets": on("SubnetIds Filters"+ec2Paging,
		func(c *cloud.Cloud, in *ec2.DescribeSubnetsInput) (*ec2.DescribeSubnetsOutput, error) {
			all, err := c.DescribeSubnets(in.SubnetIds, ec2Filters(in.Filters))
			if err != nil {
				return nil, err
			}
			shown, next, err := ec2Page(all, func(s cloud.Subnet) string { return s.ID }, in.NextToken, in.MaxResults)
			return &ec2.DescribeSubnetsOutput{NextToken: next, Subnets: orEmpty(list(shown, func(s cloud.Subnet) types.Subnet {
				return types.Subnet{SubnetId: &s.ID, VpcId: &s.VPC, AvailabilityZone: &s.Zone, CidrBlock: &s.CIDR, State: types.SubnetStateAvailable, AvailableIpAddressCount: i32(s.Free), OwnerId: new(c.Account())}
			}))}, err
		}),
	"DescribeAvailabilityZones": on("ZoneNames",
		func(c *cloud.Cloud, in *ec2.DescribeAvailabilityZonesInput) (*ec2.DescribeAvailabilityZonesOutput, error) {
			zones, err := c.DescribeAvailabilityZones(in.ZoneNames)
			return &ec2.DescribeAvailabilityZonesOutput{AvailabilityZones: list(zones, func(z string) types.AvailabilityZone {
				return types.AvailabilityZone{
					ZoneName: &z, RegionName: new(c.Region()), State: types.AvailabilityZoneStateAvailable, ZoneType: new("availability-zone"),
					OptInStatus: types.AvailabilityZoneOptInStatusOptInNotRequired, GroupName: new(c.Region()),
				}
			})}, err
		}),
}

// ec2Page is page with EC2's own limits: from 5 to 1000 items.
func ec2Page[T any](all []T, key func(T) string, token *string, length *int32) ([]T, *string, error) {
	if length != nil && (*length < 5 || *length > 1000) {
		return nil, nil, &cloud.Error{Code: "InvalidParameterValue", Status: 400,
			Message: "Value ( " + strconv.Itoa(int(*length)) + " ) for parameter maxResults is invalid. Expecting a value between 5 and 1000."}
	}
	return page(all, key, token, length, unbounded, unbounded)
}

func ec2Filters(in []types.Filter) []cloud.Filter {
	return list(in, func(f types.Filter) cloud.Filter { return cloud.Filter{Name: aws.ToString(f.Name), Values: f.Values} })
}

func readTags(in []types.Tag) map[string]string {
	out := map[string]string{}
	for _, t := range in {
		out[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return out
}

func showState(s cloud.InstanceState) *types.InstanceState {
	return &types.InstanceState{Code: i32(s.Code()), Name: types.InstanceStateName(s)}
}

func showInstance(i cloud.Instance) types.Instance {
	out := types.Instance{
		InstanceId: &i.ID, ImageId: &i.ImageID, InstanceType: types.InstanceType(i.Type), LaunchTime: &i.LaunchTime, State: showState(i.State),
		Placement: &types.Placement{AvailabilityZone: &i.Zone, Tenancy: types.TenancyDefault}, Architecture: types.ArchitectureValuesX8664,
		KeyName: optional(i.KeyName), StateTransitionReason: &i.Transition, Tags: showTags(i.Tags),
		SpotInstanceRequestId: optional(i.SpotRequest), CapacityReservationId: optional(i.CapacityReservation),
	}
	if i.Spot {
		out.InstanceLifecycle = types.InstanceLifecycleTypeSpot
	}
	if i.ReasonCode != "" {
		out.StateReason = &types.StateReason{Code: &i.ReasonCode, Message: &i.ReasonMessage}
	}
	if i.State == cloud.Terminated { // AWS takes the network away at once
		out.PrivateDnsName = new("")
		return out
	}
	out.PrivateDnsName, out.PrivateIpAddress, out.SubnetId, out.VpcId = &i.PrivateDNS, &i.PrivateIP, &i.Subnet, &i.VPC
	return out
}
