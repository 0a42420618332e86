package wire

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	quotatypes "github.com/aws/aws-sdk-go-v2/service/servicequotas/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"drover.dev/sandbox/cloud"
)

var typeActions = map[string]action{
	"DescribeInstanceTypes": on("InstanceTypes Filters"+ec2Paging,
		func(c *cloud.Cloud, in *ec2.DescribeInstanceTypesInput) (*ec2.DescribeInstanceTypesOutput, error) {
			all, err := c.DescribeInstanceTypes(list(in.InstanceTypes, func(t ec2types.InstanceType) string { return string(t) }), ec2Filters(in.Filters))
			if err != nil {
				return nil, err
			}
			shown, next, err := ec2Page(all, func(t cloud.InstanceType) string { return t.Name }, in.NextToken, in.MaxResults)
			return &ec2.DescribeInstanceTypesOutput{NextToken: next, InstanceTypes: orEmpty(list(shown, showType))}, err
		}),
	"DescribeInstanceTypeOfferings": on("LocationType Filters"+ec2Paging,
		func(c *cloud.Cloud, in *ec2.DescribeInstanceTypeOfferingsInput) (*ec2.DescribeInstanceTypeOfferingsOutput, error) {
			if in.LocationType != ec2types.LocationTypeAvailabilityZone {
				return nil, cloud.NotSimulated("LocationType "+or(string(in.LocationType), "region"), "DescribeInstanceTypeOfferings")
			}
			all, err := c.DescribeInstanceTypeOfferings(ec2Filters(in.Filters))
			if err != nil {
				return nil, err
			}
			shown, next, err := ec2Page(all, func(o cloud.Offering) string { return o.Type + " " + o.Zone }, in.NextToken, in.MaxResults)
			return &ec2.DescribeInstanceTypeOfferingsOutput{NextToken: next, InstanceTypeOfferings: orEmpty(list(shown, func(o cloud.Offering) ec2types.InstanceTypeOffering {
				return ec2types.InstanceTypeOffering{InstanceType: ec2types.InstanceType(o.Type), Location: &o.Zone, LocationType: ec2types.LocationTypeAvailabilityZone}
			}))}, err
		}),
}

func showType(t cloud.InstanceType) ec2types.InstanceTypeInfo {
	return ec2types.InstanceTypeInfo{
		InstanceType: ec2types.InstanceType(t.Name), VCpuInfo: &ec2types.VCpuInfo{DefaultVCpus: i32(t.CPUs)},
		MemoryInfo: &ec2types.MemoryInfo{SizeInMiB: new(int64(t.MiB))}, NetworkInfo: &ec2types.NetworkInfo{Ipv4AddressesPerInterface: i32(t.AddressesEach)},
	}
}

var quotaActions = map[string]action{
	"GetServiceQuota": on("ServiceCode QuotaCode",
		func(c *cloud.Cloud, in *servicequotas.GetServiceQuotaInput) (*servicequotas.GetServiceQuotaOutput, error) {
			value, err := c.GetServiceQuota(aws.ToString(in.ServiceCode), aws.ToString(in.QuotaCode))
			return &servicequotas.GetServiceQuotaOutput{Quota: &quotatypes.ServiceQuota{
				ServiceCode: in.ServiceCode, QuotaCode: in.QuotaCode, QuotaName: new("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
				Value: new(float64(value)), Unit: new("None"), Adjustable: true,
			}}, err
		}),
}

var ssmActions = map[string]action{
	"GetParameter": on("Name",
		func(c *cloud.Cloud, in *ssm.GetParameterInput) (*ssm.GetParameterOutput, error) {
			version, ok := releaseParameter(aws.ToString(in.Name))
			if !ok {
				return nil, cloud.NotSimulated("parameter "+aws.ToString(in.Name), "GetParameter")
			}
			release, err := c.LatestRelease(version)
			return &ssm.GetParameterOutput{Parameter: &ssmtypes.Parameter{Name: in.Name, Type: ssmtypes.ParameterTypeString, Value: &release, Version: 1}}, err
		}),
}
