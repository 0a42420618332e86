package wire

import "reflect"

// RDS calls the members of a list what they are, where other services of the query protocol say "member": structures by their type, texts by names
// of their own. These are the exceptions to the former, and the latter, among the fields of the simulated actions.
var (
	rdsStructures = map[string]string{"DBParameterGroupStatus": "DBParameterGroup"}
	rdsTexts      = map[string]string{
		"AvailabilityZones": "AvailabilityZone", "EventCategories": "EventCategory", "ReadReplicaDBInstanceIdentifiers": "ReadReplicaDBInstanceIdentifier",
		"Values": "Value", "VpcSecurityGroupIds": "VpcSecurityGroupId",
	}
)

// memberName is what a member of a list is called: by the dialect, and in RDS's by the field and the type of its members.
func memberName(d dialect, field string, member reflect.Type) string {
	switch {
	case d == ec2q:
		return "item"
	case d == rdsq && member.Kind() == reflect.Struct:
		return or(rdsStructures[member.Name()], member.Name())
	case d == rdsq:
		return or(rdsTexts[field], "member")
	}
	return "member"
}
