package wire

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"drover.dev/sandbox/cloud"
)

// ClientToken is accepted and has no effect: the sandbox loses no request it has answered.
const dataFields = ` ClientToken VersionDescription LaunchTemplateData.ImageId LaunchTemplateData.InstanceType LaunchTemplateData.KeyName
	LaunchTemplateData.UserData LaunchTemplateData.SecurityGroupIds LaunchTemplateData.IamInstanceProfile LaunchTemplateData.TagSpecifications
	LaunchTemplateData.InstanceMarketOptions.MarketType`

var templateActions = map[string]action{
	"CreateLaunchTemplate": on("LaunchTemplateName TagSpecifications"+dataFields,
		func(c *cloud.Cloud, in *ec2.CreateLaunchTemplateInput) (*ec2.CreateLaunchTemplateOutput, error) {
			data, err := readData(in.LaunchTemplateData)
			if err != nil {
				return nil, err
			}
			tags := map[string]string{}
			for _, s := range in.TagSpecifications {
				if s.ResourceType != types.ResourceTypeLaunchTemplate {
					return nil, &cloud.Error{Code: "InvalidParameterValue", Message: "'" + string(s.ResourceType) + "' is not a valid taggable resource type for this operation.", Status: 400}
				}
				maps.Copy(tags, readTags(s.Tags))
			}
			t, err := c.CreateLaunchTemplate(aws.ToString(in.LaunchTemplateName), aws.ToString(in.VersionDescription), data, tags)
			if err != nil {
				return nil, err
			}
			return &ec2.CreateLaunchTemplateOutput{LaunchTemplate: showTemplate(t)}, nil
		}),
	"CreateLaunchTemplateVersion": on("LaunchTemplateId LaunchTemplateName SourceVersion"+dataFields,
		func(c *cloud.Cloud, in *ec2.CreateLaunchTemplateVersionInput) (*ec2.CreateLaunchTemplateVersionOutput, error) {
			data, err := readData(in.LaunchTemplateData)
			if err != nil {
				return nil, err
			}
			ref, v, err := c.CreateLaunchTemplateVersion(aws.ToString(in.LaunchTemplateId), aws.ToString(in.LaunchTemplateName),
				aws.ToString(in.SourceVersion), aws.ToString(in.VersionDescription), data)
			return &ec2.CreateLaunchTemplateVersionOutput{LaunchTemplateVersion: new(showVersion(ref.ID, ref.Name, "", false, v))}, err
		}),
	"ModifyLaunchTemplate": on("LaunchTemplateId LaunchTemplateName DefaultVersion ClientToken",
		func(c *cloud.Cloud, in *ec2.ModifyLaunchTemplateInput) (*ec2.ModifyLaunchTemplateOutput, error) {
			t, err := c.ModifyLaunchTemplate(aws.ToString(in.LaunchTemplateId), aws.ToString(in.LaunchTemplateName), aws.ToString(in.DefaultVersion))
			if err != nil {
				return nil, err
			}
			return &ec2.ModifyLaunchTemplateOutput{LaunchTemplate: showTemplate(t)}, nil
		}),
	"DeleteLaunchTemplate": on("LaunchTemplateId LaunchTemplateName",
		func(c *cloud.Cloud, in *ec2.DeleteLaunchTemplateInput) (*ec2.DeleteLaunchTemplateOutput, error) {
			t, err := c.DeleteLaunchTemplate(aws.ToString(in.LaunchTemplateId), aws.ToString(in.LaunchTemplateName))
			if err != nil {
				return nil, err
			}
			return &ec2.DeleteLaunchTemplateOutput{LaunchTemplate: showTemplate(t)}, nil
		}),
	"DescribeLaunchTemplates": on("LaunchTemplateIds LaunchTemplateNames Filters"+ec2Paging,
		func(c *cloud.Cloud, in *ec2.DescribeLaunchTemplatesInput) (*ec2.DescribeLaunchTemplatesOutput, error) {
			all, err := c.DescribeLaunchTemplates(in.LaunchTemplateIds, in.LaunchTemplateNames, ec2Filters(in.Filters))
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(t cloud.Template) string { return t.ID }, in.NextToken, in.MaxResults, 200, 200)
			return &ec2.DescribeLaunchTemplatesOutput{NextToken: next, LaunchTemplates: orEmpty(list(shown, func(t cloud.Template) types.LaunchTemplate { return *showTemplate(t) }))}, err
		}),
	"DescribeLaunchTemplateVersions": on("LaunchTemplateId LaunchTemplateName Versions"+ec2Paging,
		func(c *cloud.Cloud, in *ec2.DescribeLaunchTemplateVersionsInput) (*ec2.DescribeLaunchTemplateVersionsOutput, error) {
			t, err := c.DescribeLaunchTemplateVersions(aws.ToString(in.LaunchTemplateId), aws.ToString(in.LaunchTemplateName), in.Versions)
			if err != nil {
				return nil, err
			}
			shown, next, err := page(t.Versions, func(v cloud.TemplateVersion) string { return strconv.Itoa(v.Number) }, in.NextToken, in.MaxResults, 200, 200)
			return &ec2.DescribeLaunchTemplateVersionsOutput{NextToken: next, LaunchTemplateVersions: list(shown, func(v cloud.TemplateVersion) types.LaunchTemplateVersion {
				return showVersion(t.ID, t.Name, t.CreatedBy, v.Number == t.Default, v)
			})}, err
		}),
}

func readData(in *types.RequestLaunchTemplateData) (cloud.TemplateData, error) {
	if in == nil {
		return cloud.TemplateData{}, &cloud.Error{Code: "MissingParameter", Message: "The request must contain the parameter LaunchTemplateData", Status: 400}
	}
	data := cloud.TemplateData{
		ImageID: aws.ToString(in.ImageId), InstanceType: string(in.InstanceType), KeyName: aws.ToString(in.KeyName), UserData: aws.ToString(in.UserData),
		SecurityGroups: in.SecurityGroupIds,
	}
	if p := in.IamInstanceProfile; p != nil {
		data.InstanceProfile = or(aws.ToString(p.Arn), aws.ToString(p.Name))
	}
	if m := in.InstanceMarketOptions; m != nil {
		data.Spot = m.MarketType == types.MarketTypeSpot
	}
	for _, s := range in.TagSpecifications {
		switch s.ResourceType {
		case types.ResourceTypeInstance:
			data.Tags = readTags(s.Tags)
		case types.ResourceTypeVolume, types.ResourceTypeNetworkInterface: // the sandbox has no such things that could be seen
		default:
			return data, cloud.NotSimulated("TagSpecifications.ResourceType "+string(s.ResourceType), "launch templates")
		}
	}
	return data, nil
}

func showTemplate(t cloud.Template) *types.LaunchTemplate {
	return &types.LaunchTemplate{
		LaunchTemplateId: &t.ID, LaunchTemplateName: &t.Name, CreateTime: &t.Created, CreatedBy: &t.CreatedBy,
		DefaultVersionNumber: new(int64(t.Default)), LatestVersionNumber: new(int64(t.Latest())), Tags: showTags(t.Tags),
	}
}

func showVersion(id, name, by string, isDefault bool, v cloud.TemplateVersion) types.LaunchTemplateVersion {
	d := v.Data
	data := &types.ResponseLaunchTemplateData{
		ImageId: optional(d.ImageID), InstanceType: types.InstanceType(d.InstanceType), KeyName: optional(d.KeyName), UserData: optional(d.UserData), SecurityGroupIds: d.SecurityGroups,
	}
	switch {
	case strings.HasPrefix(d.InstanceProfile, "arn:"):
		data.IamInstanceProfile = &types.LaunchTemplateIamInstanceProfileSpecification{Arn: &d.InstanceProfile}
	case d.InstanceProfile != "":
		data.IamInstanceProfile = &types.LaunchTemplateIamInstanceProfileSpecification{Name: &d.InstanceProfile}
	}
	if d.Spot {
		data.InstanceMarketOptions = &types.LaunchTemplateInstanceMarketOptions{MarketType: types.MarketTypeSpot}
	}
	if d.Tags != nil {
		data.TagSpecifications = []types.LaunchTemplateTagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: showTags(d.Tags)}}
	}
	return types.LaunchTemplateVersion{
		LaunchTemplateId: &id, LaunchTemplateName: &name, VersionNumber: new(int64(v.Number)), VersionDescription: optional(v.Description),
		CreateTime: &v.Created, CreatedBy: optional(by), DefaultVersion: &isDefault, LaunchTemplateData: data,
	}
}

func showTags(tags map[string]string) []types.Tag {
	out := []types.Tag{}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, types.Tag{Key: &k, Value: new(tags[k])})
	}
	return out
}
