package wire

import (
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	as "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"drover.dev/sandbox/cloud"
)

// What a group may be launched from, as paths of CreateAutoScalingGroup and UpdateAutoScalingGroup.
const sourceFields = `LaunchConfigurationName LaunchTemplate
	MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification
	MixedInstancesPolicy.LaunchTemplate.Overrides.InstanceType
	MixedInstancesPolicy.LaunchTemplate.Overrides.LaunchTemplateSpecification
	MixedInstancesPolicy.LaunchTemplate.Overrides.InstanceRequirements.VCpuCount
	MixedInstancesPolicy.LaunchTemplate.Overrides.InstanceRequirements.MemoryMiB
	MixedInstancesPolicy.InstancesDistribution.OnDemandAllocationStrategy
	MixedInstancesPolicy.InstancesDistribution.OnDemandBaseCapacity
	MixedInstancesPolicy.InstancesDistribution.OnDemandPercentageAboveBaseCapacity
	MixedInstancesPolicy.InstancesDistribution.SpotAllocationStrategy`

const groupFields = `AutoScalingGroupName MinSize MaxSize DesiredCapacity AvailabilityZones VPCZoneIdentifier HealthCheckType
	HealthCheckGracePeriod DefaultCooldown TerminationPolicies NewInstancesProtectedFromScaleIn
	CapacityRebalance InstanceLifecyclePolicy.RetentionTriggers.TerminateHookAbandon ` + sourceFields

const paging = " MaxRecords NextToken"

// The actions are in tables, of the things they are about, so that each fits on a page.
var autoscalingActions = merge(groupActions, memberActions, sourceActions, hookActions, poolActions)

func merge(tables ...map[string]action) map[string]action {
	all := map[string]action{}
	for _, t := range tables {
		for name, a := range t {
			all[name] = a
		}
	}
	return all
}

var groupActions = map[string]action{
	"CreateAutoScalingGroup": on(groupFields+" Tags TargetGroupARNs LifecycleHookSpecificationList", createGroup),
	"UpdateAutoScalingGroup": on(groupFields, updateGroup),
	"DeleteAutoScalingGroup": on("AutoScalingGroupName ForceDelete",
		func(c *cloud.Cloud, in *as.DeleteAutoScalingGroupInput) (*as.DeleteAutoScalingGroupOutput, error) {
			return &as.DeleteAutoScalingGroupOutput{}, c.DeleteAutoScalingGroup(aws.ToString(in.AutoScalingGroupName), aws.ToBool(in.ForceDelete))
		}),
	"DescribeAutoScalingGroups": on("AutoScalingGroupNames Filters"+paging,
		func(c *cloud.Cloud, in *as.DescribeAutoScalingGroupsInput) (*as.DescribeAutoScalingGroupsOutput, error) {
			all, err := c.DescribeAutoScalingGroups(in.AutoScalingGroupNames, asFilters(in.Filters))
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(g cloud.Group) string { return g.Name }, in.NextToken, in.MaxRecords, 50, 100)
			return &as.DescribeAutoScalingGroupsOutput{AutoScalingGroups: orEmpty(list(shown, showGroup)), NextToken: next}, err
		}),
	"DescribeScalingActivities": on("AutoScalingGroupName ActivityIds"+paging,
		func(c *cloud.Cloud, in *as.DescribeScalingActivitiesInput) (*as.DescribeScalingActivitiesOutput, error) {
			all, err := c.DescribeScalingActivities(aws.ToString(in.AutoScalingGroupName), in.ActivityIds)
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(a cloud.Activity) string { return a.ID }, in.NextToken, in.MaxRecords, 100, 100)
			return &as.DescribeScalingActivitiesOutput{Activities: orEmpty(list(shown, showActivity)), NextToken: next}, err
		}),
	"SetDesiredCapacity": on("AutoScalingGroupName DesiredCapacity HonorCooldown",
		func(c *cloud.Cloud, in *as.SetDesiredCapacityInput) (*as.SetDesiredCapacityOutput, error) {
			if in.DesiredCapacity == nil {
				return nil, missing("DesiredCapacity")
			}
			return &as.SetDesiredCapacityOutput{}, c.SetDesiredCapacity(aws.ToString(in.AutoScalingGroupName), int(*in.DesiredCapacity), aws.ToBool(in.HonorCooldown))
		}),
	"SuspendProcesses": on("AutoScalingGroupName ScalingProcesses",
		func(c *cloud.Cloud, in *as.SuspendProcessesInput) (*as.SuspendProcessesOutput, error) {
			return &as.SuspendProcessesOutput{}, c.SuspendProcesses(aws.ToString(in.AutoScalingGroupName), in.ScalingProcesses)
		}),
	"ResumeProcesses": on("AutoScalingGroupName ScalingProcesses",
		func(c *cloud.Cloud, in *as.ResumeProcessesInput) (*as.ResumeProcessesOutput, error) {
			return &as.ResumeProcessesOutput{}, c.ResumeProcesses(aws.ToString(in.AutoScalingGroupName), in.ScalingProcesses)
		}),
	"CreateOrUpdateTags": on("Tags",
		func(c *cloud.Cloud, in *as.CreateOrUpdateTagsInput) (*as.CreateOrUpdateTagsOutput, error) {
			return &as.CreateOrUpdateTagsOutput{}, c.CreateOrUpdateTags(list(in.Tags, readGroupTag))
		}),
	"DeleteTags": on("Tags",
		func(c *cloud.Cloud, in *as.DeleteTagsInput) (*as.DeleteTagsOutput, error) {
			return &as.DeleteTagsOutput{}, c.DeleteGroupTags(list(in.Tags, readGroupTag))
		}),
	"DescribeTags": on("Filters"+paging,
		func(c *cloud.Cloud, in *as.DescribeTagsInput) (*as.DescribeTagsOutput, error) {
			all, err := c.DescribeGroupTags(asFilters(in.Filters))
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(t cloud.GroupTag) string { return t.Group + " " + t.Key }, in.NextToken, in.MaxRecords, 50, 100)
			return &as.DescribeTagsOutput{Tags: orEmpty(list(shown, showGroupTag)), NextToken: next}, err
		}),
	"AttachLoadBalancerTargetGroups": on("AutoScalingGroupName TargetGroupARNs",
		func(c *cloud.Cloud, in *as.AttachLoadBalancerTargetGroupsInput) (*as.AttachLoadBalancerTargetGroupsOutput, error) {
			return &as.AttachLoadBalancerTargetGroupsOutput{}, c.AttachLoadBalancerTargetGroups(aws.ToString(in.AutoScalingGroupName), in.TargetGroupARNs)
		}),
	"DetachLoadBalancerTargetGroups": on("AutoScalingGroupName TargetGroupARNs",
		func(c *cloud.Cloud, in *as.DetachLoadBalancerTargetGroupsInput) (*as.DetachLoadBalancerTargetGroupsOutput, error) {
			return &as.DetachLoadBalancerTargetGroupsOutput{}, c.DetachLoadBalancerTargetGroups(aws.ToString(in.AutoScalingGroupName), in.TargetGroupARNs)
		}),
	"DescribeLoadBalancerTargetGroups": on("AutoScalingGroupName"+paging,
		func(c *cloud.Cloud, in *as.DescribeLoadBalancerTargetGroupsInput) (*as.DescribeLoadBalancerTargetGroupsOutput, error) {
			all, err := c.DescribeLoadBalancerTargetGroups(aws.ToString(in.AutoScalingGroupName))
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(t cloud.AttachedTargetGroup) string { return t.ARN }, in.NextToken, in.MaxRecords, 100, 100)
			return &as.DescribeLoadBalancerTargetGroupsOutput{NextToken: next,
				LoadBalancerTargetGroups: list(shown, func(t cloud.AttachedTargetGroup) types.LoadBalancerTargetGroupState {
					return types.LoadBalancerTargetGroupState{LoadBalancerTargetGroupARN: &t.ARN, State: &t.State}
				})}, err
		}),
}

var memberActions = map[string]action{
	"DescribeAutoScalingInstances": on("InstanceIds"+paging,
		func(c *cloud.Cloud, in *as.DescribeAutoScalingInstancesInput) (*as.DescribeAutoScalingInstancesOutput, error) {
			all, err := c.DescribeAutoScalingInstances(in.InstanceIds)
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(m cloud.Member) string { return m.InstanceID }, in.NextToken, in.MaxRecords, 50, 50)
			return &as.DescribeAutoScalingInstancesOutput{AutoScalingInstances: orEmpty(list(shown, showInstanceDetails)), NextToken: next}, err
		}),
	"TerminateInstanceInAutoScalingGroup": on("InstanceId ShouldDecrementDesiredCapacity",
		func(c *cloud.Cloud, in *as.TerminateInstanceInAutoScalingGroupInput) (*as.TerminateInstanceInAutoScalingGroupOutput, error) {
			if in.ShouldDecrementDesiredCapacity == nil {
				return nil, missing("ShouldDecrementDesiredCapacity")
			}
			a, err := c.TerminateInstanceInAutoScalingGroup(aws.ToString(in.InstanceId), *in.ShouldDecrementDesiredCapacity)
			return &as.TerminateInstanceInAutoScalingGroupOutput{Activity: new(showActivity(a))}, err
		}),
	"EnterStandby": on("AutoScalingGroupName InstanceIds ShouldDecrementDesiredCapacity",
		func(c *cloud.Cloud, in *as.EnterStandbyInput) (*as.EnterStandbyOutput, error) {
			if in.ShouldDecrementDesiredCapacity == nil {
				return nil, missing("ShouldDecrementDesiredCapacity")
			}
			all, err := c.EnterStandby(aws.ToString(in.AutoScalingGroupName), in.InstanceIds, *in.ShouldDecrementDesiredCapacity)
			return &as.EnterStandbyOutput{Activities: orEmpty(list(all, showActivity))}, err
		}),
	"ExitStandby": on("AutoScalingGroupName InstanceIds",
		func(c *cloud.Cloud, in *as.ExitStandbyInput) (*as.ExitStandbyOutput, error) {
			all, err := c.ExitStandby(aws.ToString(in.AutoScalingGroupName), in.InstanceIds)
			return &as.ExitStandbyOutput{Activities: orEmpty(list(all, showActivity))}, err
		}),
	"SetInstanceHealth": on("InstanceId HealthStatus ShouldRespectGracePeriod",
		func(c *cloud.Cloud, in *as.SetInstanceHealthInput) (*as.SetInstanceHealthOutput, error) {
			status := aws.ToString(in.HealthStatus)
			if status != "Healthy" && status != "Unhealthy" {
				return nil, &cloud.Error{Code: "ValidationError", Message: "Valid instance health states are: [Healthy, Unhealthy].", Status: 400}
			}
			respect := in.ShouldRespectGracePeriod == nil || *in.ShouldRespectGracePeriod
			return &as.SetInstanceHealthOutput{}, c.SetInstanceHealth(aws.ToString(in.InstanceId), status == "Healthy", respect)
		}),
	"SetInstanceProtection": on("AutoScalingGroupName InstanceIds ProtectedFromScaleIn",
		func(c *cloud.Cloud, in *as.SetInstanceProtectionInput) (*as.SetInstanceProtectionOutput, error) {
			if in.ProtectedFromScaleIn == nil {
				return nil, missing("ProtectedFromScaleIn")
			}
			return &as.SetInstanceProtectionOutput{}, c.SetInstanceProtection(aws.ToString(in.AutoScalingGroupName), in.InstanceIds, *in.ProtectedFromScaleIn)
		}),
}

func createGroup(c *cloud.Cloud, in *as.CreateAutoScalingGroupInput) (*as.CreateAutoScalingGroupOutput, error) {
	if in.MinSize == nil || in.MaxSize == nil {
		return nil, missing("MinSize and MaxSize")
	}
	source, err := readSource(in.LaunchTemplate, in.LaunchConfigurationName, in.MixedInstancesPolicy)
	if err != nil {
		return nil, err
	}
	g := cloud.Group{
		Name: aws.ToString(in.AutoScalingGroupName), Min: int(*in.MinSize), Max: int(*in.MaxSize), Desired: -1,
		Zones: in.AvailabilityZones, Subnets: readSubnets(in.VPCZoneIdentifier), Source: source,
		HealthCheckType: aws.ToString(in.HealthCheckType), HealthCheckGrace: seconds(in.HealthCheckGracePeriod), Cooldown: seconds(in.DefaultCooldown),
		TerminationPolicies: in.TerminationPolicies, ProtectNew: aws.ToBool(in.NewInstancesProtectedFromScaleIn),
		TargetGroups: in.TargetGroupARNs, Tags: list(in.Tags, readGroupTag),
		Hooks: list(in.LifecycleHookSpecificationList, readHookOf), Retain: readRetention(in.InstanceLifecyclePolicy), CapacityRebalance: aws.ToBool(in.CapacityRebalance),
	}
	if in.DesiredCapacity != nil {
		g.Desired = int(*in.DesiredCapacity)
	}
	return &as.CreateAutoScalingGroupOutput{}, c.CreateAutoScalingGroup(g)
}

func updateGroup(c *cloud.Cloud, in *as.UpdateAutoScalingGroupInput) (*as.UpdateAutoScalingGroupOutput, error) {
	u := cloud.GroupUpdate{
		Min: integer(in.MinSize), Max: integer(in.MaxSize), Desired: integer(in.DesiredCapacity),
		Zones: in.AvailabilityZones, Subnets: readSubnets(in.VPCZoneIdentifier), HealthCheckType: in.HealthCheckType,
		TerminationPolicies: in.TerminationPolicies, ProtectNew: in.NewInstancesProtectedFromScaleIn,
		CapacityRebalance: in.CapacityRebalance,
	}
	if in.InstanceLifecyclePolicy != nil {
		u.Retain = new(readRetention(in.InstanceLifecyclePolicy))
	}
	if in.HealthCheckGracePeriod != nil {
		u.HealthCheckGrace = new(seconds(in.HealthCheckGracePeriod))
	}
	if in.DefaultCooldown != nil {
		u.Cooldown = new(seconds(in.DefaultCooldown))
	}
	if in.LaunchTemplate != nil || in.LaunchConfigurationName != nil || in.MixedInstancesPolicy != nil {
		source, err := readSource(in.LaunchTemplate, in.LaunchConfigurationName, in.MixedInstancesPolicy)
		if err != nil {
			return nil, err
		}
		u.Source = &source
	}
	return &as.UpdateAutoScalingGroupOutput{}, c.UpdateAutoScalingGroup(aws.ToString(in.AutoScalingGroupName), u)
}

func readSubnets(identifier *string) []string {
	var out []string
	for _, s := range strings.Split(aws.ToString(identifier), ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func readGroupTag(t types.Tag) cloud.GroupTag {
	return cloud.GroupTag{Group: aws.ToString(t.ResourceId), Key: aws.ToString(t.Key), Value: aws.ToString(t.Value), Propagate: aws.ToBool(t.PropagateAtLaunch)}
}

func showGroupTag(t cloud.GroupTag) types.TagDescription {
	return types.TagDescription{ResourceId: &t.Group, ResourceType: new("auto-scaling-group"), Key: &t.Key, Value: &t.Value, PropagateAtLaunch: &t.Propagate}
}

func asFilters(in []types.Filter) []cloud.Filter {
	return list(in, func(f types.Filter) cloud.Filter { return cloud.Filter{Name: aws.ToString(f.Name), Values: f.Values} })
}

func showGroup(g cloud.Group) types.AutoScalingGroup {
	out := types.AutoScalingGroup{
		AutoScalingGroupName: &g.Name, AutoScalingGroupARN: &g.ARN, CreatedTime: &g.Created, Status: optional(g.Status),
		MinSize: i32(g.Min), MaxSize: i32(g.Max), DesiredCapacity: i32(g.Desired), DefaultCooldown: i32(int(g.Cooldown / time.Second)),
		AvailabilityZones: g.Zones, VPCZoneIdentifier: optional(strings.Join(g.Subnets, ",")),
		HealthCheckType: &g.HealthCheckType, HealthCheckGracePeriod: i32(int(g.HealthCheckGrace / time.Second)),
		TerminationPolicies: g.TerminationPolicies, NewInstancesProtectedFromScaleIn: &g.ProtectNew, CapacityRebalance: &g.CapacityRebalance,
		InstanceLifecyclePolicy: showRetention(g.Retain), WarmPoolConfiguration: showPool(g.Warm),
		TargetGroupARNs: orEmpty(g.TargetGroups), LoadBalancerNames: []string{}, Tags: orEmpty(list(g.Tags, showGroupTag)), Instances: orEmpty(list(g.Members, showMember)),
		SuspendedProcesses: orEmpty(list(g.Suspended, func(s cloud.SuspendedProcess) types.SuspendedProcess {
			return types.SuspendedProcess{ProcessName: &s.Name, SuspensionReason: &s.Reason}
		})),
	}
	if g.Warm != nil {
		out.WarmPoolSize = i32(len(g.Pool))
	}
	switch {
	case g.Source.Mixed != nil:
		out.MixedInstancesPolicy = showMixed(*g.Source.Mixed)
	case g.Source.Configuration != "":
		out.LaunchConfigurationName = &g.Source.Configuration
	default:
		out.LaunchTemplate = showSpec(g.Source.Template)
	}
	return out
}

func showMember(m cloud.Member) types.Instance {
	return types.Instance{
		InstanceId: &m.InstanceID, AvailabilityZone: &m.Zone, InstanceType: &m.Type, LifecycleState: types.LifecycleState(m.State),
		HealthStatus: health(m), ProtectedFromScaleIn: &m.Protected, LaunchTemplate: showRef(m.Template), LaunchConfigurationName: optional(m.Configuration),
	}
}

func showInstanceDetails(m cloud.Member) types.AutoScalingInstanceDetails {
	return types.AutoScalingInstanceDetails{
		AutoScalingGroupName: &m.Group, InstanceId: &m.InstanceID, AvailabilityZone: &m.Zone, InstanceType: &m.Type, LifecycleState: new(string(m.State)),
		// AWS itself says HEALTHY here and Healthy in DescribeAutoScalingGroups.
		HealthStatus: new(strings.ToUpper(*health(m))), ProtectedFromScaleIn: &m.Protected, LaunchTemplate: showRef(m.Template), LaunchConfigurationName: optional(m.Configuration),
	}
}

func health(m cloud.Member) *string {
	if m.Unhealthy {
		return new("Unhealthy")
	}
	return new("Healthy")
}

func showActivity(a cloud.Activity) types.Activity {
	out := types.Activity{
		ActivityId: &a.ID, AutoScalingGroupName: &a.Group, AutoScalingGroupARN: &a.GroupARN, Description: &a.Description, Cause: &a.Cause,
		StartTime: &a.StartTime, StatusCode: types.ScalingActivityStatusCode(a.Status), StatusMessage: optional(a.StatusMessage), Progress: i32(a.Progress),
		Details: new("{\"Availability Zone\":" + strconv.Quote(a.Zone) + "}"),
	}
	if !a.EndTime.IsZero() {
		out.EndTime = &a.EndTime
	}
	return out
}
