package wire

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"drover.dev/sandbox/cloud"
)

// What happens to machines: on and off, what is scheduled for them, what became of requests for spot instances.
var powerActions = map[string]action{
	"StopInstances": on("InstanceIds Force",
		func(c *cloud.Cloud, in *ec2.StopInstancesInput) (*ec2.StopInstancesOutput, error) {
			changes, err := c.StopInstances(in.InstanceIds)
			return &ec2.StopInstancesOutput{StoppingInstances: list(changes, showChange)}, err
		}),
	"StartInstances": on("InstanceIds",
		func(c *cloud.Cloud, in *ec2.StartInstancesInput) (*ec2.StartInstancesOutput, error) {
			changes, err := c.StartInstances(in.InstanceIds)
			return &ec2.StartInstancesOutput{StartingInstances: list(changes, showChange)}, err
		}),
	"RebootInstances": on("InstanceIds",
		func(c *cloud.Cloud, in *ec2.RebootInstancesInput) (*ec2.RebootInstancesOutput, error) {
			return &ec2.RebootInstancesOutput{}, c.RebootInstances(in.InstanceIds)
		}),
	"DescribeInstanceStatus": on("InstanceIds IncludeAllInstances Filters"+ec2Paging,
		func(c *cloud.Cloud, in *ec2.DescribeInstanceStatusInput) (*ec2.DescribeInstanceStatusOutput, error) {
			if len(in.InstanceIds) > 0 && in.MaxResults != nil {
				return nil, &cloud.Error{Code: "InvalidParameterCombination", Message: "The parameter instancesSet cannot be used with the parameter maxResults", Status: 400}
			}
			all, err := c.DescribeInstanceStatus(in.InstanceIds, aws.ToBool(in.IncludeAllInstances), ec2Filters(in.Filters))
			if err != nil {
				return nil, err
			}
			shown, next, err := ec2Page(all, func(s cloud.InstanceStatus) string { return s.Instance.ID }, in.NextToken, in.MaxResults)
			return &ec2.DescribeInstanceStatusOutput{NextToken: next, InstanceStatuses: orEmpty(list(shown, showStatus))}, err
		}),
	"DescribeSpotInstanceRequests": on("SpotInstanceRequestIds Filters"+ec2Paging,
		func(c *cloud.Cloud, in *ec2.DescribeSpotInstanceRequestsInput) (*ec2.DescribeSpotInstanceRequestsOutput, error) {
			all, err := c.DescribeSpotInstanceRequests(in.SpotInstanceRequestIds, ec2Filters(in.Filters))
			if err != nil {
				return nil, err
			}
			shown, next, err := ec2Page(all, func(r cloud.SpotRequest) string { return r.ID }, in.NextToken, in.MaxResults)
			return &ec2.DescribeSpotInstanceRequestsOutput{NextToken: next, SpotInstanceRequests: orEmpty(list(shown, showSpot))}, err
		}),
}

func showChange(s cloud.StateChange) types.InstanceStateChange {
	return types.InstanceStateChange{InstanceId: &s.ID, PreviousState: showState(s.Before), CurrentState: showState(s.After)}
}

func showStatus(s cloud.InstanceStatus) types.InstanceStatus {
	status := types.SummaryStatusNotApplicable
	switch {
	case s.Instance.State == cloud.Running && s.Instance.Booted:
		status = types.SummaryStatusOk
	case !s.Instance.Gone():
		status = types.SummaryStatusInitializing
	}
	return types.InstanceStatus{
		InstanceId: &s.Instance.ID, AvailabilityZone: &s.Instance.Zone, InstanceState: showState(s.Instance.State),
		InstanceStatus: &types.InstanceStatusSummary{Status: status}, SystemStatus: &types.InstanceStatusSummary{Status: status},
		Events: list(s.Events, func(e cloud.ScheduledEvent) types.InstanceStatusEvent {
			return types.InstanceStatusEvent{
				InstanceEventId: &e.ID, Code: types.EventCode(e.Code), Description: &e.Words, NotBefore: &e.NotBefore, NotAfter: &e.NotAfter,
			}
		}),
	}
}

func showSpot(r cloud.SpotRequest) types.SpotInstanceRequest {
	return types.SpotInstanceRequest{
		SpotInstanceRequestId: &r.ID, InstanceId: &r.Instance, State: types.SpotInstanceState(r.State), Type: types.SpotInstanceTypeOneTime,
		CreateTime: &r.Created, LaunchedAvailabilityZone: &r.Zone, ProductDescription: types.RIProductDescriptionLinuxUnix,
		Status: &types.SpotInstanceStatus{Code: &r.Code, Message: &r.Message, UpdateTime: &r.Updated},
	}
}
