package wire

import (
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	as "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"drover.dev/sandbox/cloud"
)

var sourceActions = map[string]action{
	"CreateLaunchConfiguration": on("LaunchConfigurationName ImageId InstanceType KeyName UserData SecurityGroups IamInstanceProfile SpotPrice",
		func(c *cloud.Cloud, in *as.CreateLaunchConfigurationInput) (*as.CreateLaunchConfigurationOutput, error) {
			return &as.CreateLaunchConfigurationOutput{}, c.CreateLaunchConfiguration(aws.ToString(in.LaunchConfigurationName), cloud.TemplateData{
				ImageID: aws.ToString(in.ImageId), InstanceType: aws.ToString(in.InstanceType), KeyName: aws.ToString(in.KeyName),
				UserData: aws.ToString(in.UserData), SecurityGroups: in.SecurityGroups, InstanceProfile: aws.ToString(in.IamInstanceProfile), Spot: in.SpotPrice != nil,
			})
		}),
	"DescribeLaunchConfigurations": on("LaunchConfigurationNames"+paging,
		func(c *cloud.Cloud, in *as.DescribeLaunchConfigurationsInput) (*as.DescribeLaunchConfigurationsOutput, error) {
			all, err := c.DescribeLaunchConfigurations(in.LaunchConfigurationNames)
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(l cloud.LaunchConfiguration) string { return l.Name }, in.NextToken, in.MaxRecords, 50, 100)
			return &as.DescribeLaunchConfigurationsOutput{NextToken: next, LaunchConfigurations: orEmpty(list(shown, showConfiguration))}, err
		}),
	"DeleteLaunchConfiguration": on("LaunchConfigurationName",
		func(c *cloud.Cloud, in *as.DeleteLaunchConfigurationInput) (*as.DeleteLaunchConfigurationOutput, error) {
			return &as.DeleteLaunchConfigurationOutput{}, c.DeleteLaunchConfiguration(aws.ToString(in.LaunchConfigurationName))
		}),
}

func showConfiguration(l cloud.LaunchConfiguration) types.LaunchConfiguration {
	return types.LaunchConfiguration{
		LaunchConfigurationName: &l.Name, LaunchConfigurationARN: &l.ARN, CreatedTime: &l.Created, ImageId: &l.Data.ImageID, InstanceType: &l.Data.InstanceType,
		KeyName: &l.Data.KeyName, UserData: &l.Data.UserData, SecurityGroups: orEmpty(l.Data.SecurityGroups), IamInstanceProfile: optional(l.Data.InstanceProfile),
	}
}

func readSource(t *types.LaunchTemplateSpecification, configuration *string, mixed *types.MixedInstancesPolicy) (cloud.Source, error) {
	s := cloud.Source{Template: readSpec(t), Configuration: aws.ToString(configuration)}
	if mixed == nil {
		return s, nil
	}
	m := cloud.Mixed{}
	if d := mixed.InstancesDistribution; d != nil {
		m.OnDemandBase = int(aws.ToInt32(d.OnDemandBaseCapacity))
		if d.OnDemandPercentageAboveBaseCapacity != nil {
			onDemand := int(*d.OnDemandPercentageAboveBaseCapacity)
			if onDemand < 0 || onDemand > 100 {
				return s, &cloud.Error{Code: "ValidationError", Message: "OnDemandPercentageAboveBaseCapacity must be between 0 and 100", Status: 400}
			}
			m.SpotPercent = 100 - onDemand
		}
		m.OnDemandPick, m.SpotPick = aws.ToString(d.OnDemandAllocationStrategy), aws.ToString(d.SpotAllocationStrategy)
	}
	if mixed.LaunchTemplate != nil {
		m.Template = readSpec(mixed.LaunchTemplate.LaunchTemplateSpecification)
		m.Overrides = list(mixed.LaunchTemplate.Overrides, readOverride)
	}
	s.Mixed = &m
	return s, nil
}

func readOverride(o types.LaunchTemplateOverrides) cloud.Override {
	out := cloud.Override{InstanceType: aws.ToString(o.InstanceType), Template: readSpec(o.LaunchTemplateSpecification)}
	if r := o.InstanceRequirements; r != nil {
		if r.VCpuCount != nil {
			out.Needs.MinCPU, out.Needs.MaxCPU = int(aws.ToInt32(r.VCpuCount.Min)), int(aws.ToInt32(r.VCpuCount.Max))
		}
		if r.MemoryMiB != nil {
			out.Needs.MinMiB, out.Needs.MaxMiB = int(aws.ToInt32(r.MemoryMiB.Min)), int(aws.ToInt32(r.MemoryMiB.Max))
		}
	}
	return out
}

func showMixed(m cloud.Mixed) *types.MixedInstancesPolicy {
	return &types.MixedInstancesPolicy{
		InstancesDistribution: &types.InstancesDistribution{
			OnDemandBaseCapacity: i32(m.OnDemandBase), OnDemandPercentageAboveBaseCapacity: i32(100 - m.SpotPercent),
			OnDemandAllocationStrategy: new(or(m.OnDemandPick, "prioritized")), SpotAllocationStrategy: new(or(m.SpotPick, "lowest-price")),
		},
		LaunchTemplate: &types.LaunchTemplate{
			LaunchTemplateSpecification: showSpec(m.Template),
			Overrides:                   list(m.Overrides, showOverride),
		},
	}
}

func showOverride(o cloud.Override) types.LaunchTemplateOverrides {
	out := types.LaunchTemplateOverrides{InstanceType: optional(o.InstanceType)}
	if o.Template != (cloud.TemplateSpec{}) {
		out.LaunchTemplateSpecification = showSpec(o.Template)
	}
	if o.Needs != (cloud.Needs{}) {
		out.InstanceRequirements = &types.InstanceRequirements{
			VCpuCount: &types.VCpuCountRequest{Min: i32(o.Needs.MinCPU), Max: bound(o.Needs.MaxCPU)},
			MemoryMiB: &types.MemoryMiBRequest{Min: i32(o.Needs.MinMiB), Max: bound(o.Needs.MaxMiB)},
		}
	}
	return out
}

func readSpec(t *types.LaunchTemplateSpecification) cloud.TemplateSpec {
	if t == nil {
		return cloud.TemplateSpec{}
	}
	return cloud.TemplateSpec{ID: aws.ToString(t.LaunchTemplateId), Name: aws.ToString(t.LaunchTemplateName), Version: aws.ToString(t.Version)}
}

func showSpec(t cloud.TemplateSpec) *types.LaunchTemplateSpecification {
	return &types.LaunchTemplateSpecification{LaunchTemplateId: optional(t.ID), LaunchTemplateName: optional(t.Name), Version: optional(t.Version)}
}

func showRef(t cloud.TemplateRef) *types.LaunchTemplateSpecification {
	if t.ID == "" {
		return nil
	}
	return &types.LaunchTemplateSpecification{LaunchTemplateId: &t.ID, LaunchTemplateName: &t.Name, Version: new(strconv.Itoa(t.Version))}
}
