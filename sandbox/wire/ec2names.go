package wire

import (
	"reflect"
	"strings"
)

// EC2 gives its parameters and elements names of their own. The rules are: a request says a field's name, an answer says it with
// a small first letter. These are the exceptions among the fields of the simulated actions, by field or by Type.Field; for lists
// in requests most are the singular.
var (
	ec2Requests = map[string]string{
		"BlockDeviceMappings":    "BlockDeviceMapping",
		"Filters":                "Filter",
		"InstanceIds":            "InstanceId",
		"InstanceTypes":          "InstanceType",
		"LaunchTemplateIds":      "LaunchTemplateId",
		"LaunchTemplateNames":    "LaunchTemplateName",
		"LicenseSpecifications":  "LicenseSpecification",
		"NetworkInterfaces":      "NetworkInterface",
		"Resources":              "ResourceId",
		"SecurityGroupIds":       "SecurityGroupId",
		"SpotInstanceRequestIds": "SpotInstanceRequestId",
		"SecurityGroups":         "SecurityGroup",
		"SubnetIds":              "SubnetId",
		"TagSpecifications":      "TagSpecification",
		"Tags":                   "Tag",
		"Values":                 "Value",
		"Versions":               "LaunchTemplateVersion",
		"ZoneIds":                "ZoneId",
		"ZoneNames":              "ZoneName",
		"ModifyLaunchTemplateInput.DefaultVersion": "SetDefaultVersion",
	}
	ec2Answers = map[string]string{
		"AvailabilityZones":       "availabilityZoneInfo",
		"InstanceTypeOfferings":   "instanceTypeOfferingSet",
		"InstanceTypes":           "instanceTypeSet",
		"Events":                  "eventsSet",
		"InstanceStatuses":        "instanceStatusSet",
		"Instances":               "instancesSet",
		"LaunchTemplateVersions":  "launchTemplateVersionSet",
		"PublicDnsName":           "dnsName",
		"PublicIpAddress":         "ipAddress",
		"Reservations":            "reservationSet",
		"SecurityGroupIds":        "securityGroupIdSet",
		"SpotInstanceRequests":    "spotInstanceRequestSet",
		"StartingInstances":       "instancesSet",
		"StateTransitionReason":   "reason",
		"StoppingInstances":       "instancesSet",
		"Subnets":                 "subnetSet",
		"TagSpecifications":       "tagSpecificationSet",
		"Tags":                    "tagSet",
		"TerminatingInstances":    "instancesSet",
		"AvailabilityZone.State":  "zoneState",
		"Instance.State":          "instanceState",
		"Instance.SecurityGroups": "groupSet",
		"ResponseLaunchTemplateData.SecurityGroups": "securityGroupSet",
	}
)

func ec2RequestName(t reflect.Type, field string) string {
	return ec2Name(ec2Requests, t, field, field)
}

func ec2ResponseName(t reflect.Type, field string) string {
	return ec2Name(ec2Answers, t, field, strings.ToLower(field[:1])+field[1:])
}

func ec2Name(exceptions map[string]string, t reflect.Type, field, rule string) string {
	if name, ok := exceptions[t.Name()+"."+field]; ok {
		return name
	}
	if name, ok := exceptions[field]; ok {
		return name
	}
	return rule
}
