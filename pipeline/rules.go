package pipeline

import (
	"encoding/json"
	"reflect"
)

// Kinds of rules, as their names end.
const (
	kindLifecycle = "lifecycle"
	kindCanary    = "canary"
)

// What drover check puts on the bus.
const (
	CanarySource = "drover.check"
	CanaryType   = "Drover Canary"
)

// pattern is an event pattern of EventBridge.
type pattern struct {
	Source []string            `json:"source"`
	Type   []string            `json:"detail-type"`
	Detail map[string][]string `json:"detail,omitempty"`
}

func (p pattern) String() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic("event pattern: " + err.Error()) // strings always marshal
	}
	return string(b)
}

// kinds are the rules, one for each kind of event, so that one of them can be looked at, or be off, alone. Two of EC2's have two spellings each, the
// documentation's own.
func (w Wanted) kinds() []kind {
	ec2 := func(types ...string) pattern { return pattern{Source: []string{"aws.ec2"}, Type: types} }
	state := ec2("EC2 Instance State-change Notification")
	state.Detail = map[string][]string{"state": {"stopping", "stopped", "shutting-down", "terminated"}} // the others are about instances that come
	return []kind{
		{kindLifecycle, "a hook holds an instance", pattern{Source: []string{"aws.autoscaling"}, Type: []string{"EC2 Instance-terminate Lifecycle Action", "EC2 Instance-launch Lifecycle Action"}}},
		{"spot", "a spot instance is taken back", ec2("EC2 Spot Instance Interruption Warning")},
		{"rebalance", "a spot instance may be taken back soon", ec2("EC2 Instance Rebalance Recommendation")},
		{"state-change", "an instance stops or is gone", state},
		{"health", "EC2 will stop, reboot or retire an instance", pattern{Source: []string{"aws.health"}, Type: []string{"AWS Health Event"},
			Detail: map[string][]string{"service": {"EC2"}, "eventTypeCategory": {"scheduledChange"}}}},
		{"capacity-reservation", "reserved capacity is taken back", ec2("EC2 Capacity Reservation Instance Interruption Warning", "EC2 Interruptible Capacity Reservation Instance Interruption Warning")},
		{"capacity-block", "a capacity block ends", ec2("Capacity Block Expiration Warning", "Capacity Block Reservation Expiration Warning")},
		{"database", "RDS starts a database that was stopped for seven days", pattern{Source: []string{"aws.rds"}, Type: []string{"RDS DB Instance Event", "RDS DB Cluster Event"},
			Detail: map[string][]string{"EventID": {"RDS-EVENT-0153", "RDS-EVENT-0154"}}}},
		{kindCanary, "drover check asks whether messages come through", pattern{Source: []string{CanarySource}, Type: []string{CanaryType}, Detail: map[string][]string{"cluster": {w.Cluster}}}},
	}
}

type kind struct {
	name    string
	means   string
	pattern pattern
}

// rules are the rules as they are to be.
func (w Wanted) rules() []Rule {
	var out []Rule
	for _, k := range w.kinds() {
		out = append(out, Rule{
			Name: w.ruleName(k.name), Owner: w.Cluster, Pattern: k.pattern.String(),
			Targets: []Target{{targetID, w.QueueARN(w.QueueName())}},
		})
	}
	return out
}

// RuleNames lists the names of the rules.
func (w Wanted) RuleNames() []string {
	var out []string
	for _, r := range w.rules() {
		out = append(out, r.Name)
	}
	return out
}

// CanaryRule is the name of the rule that test messages come by.
func (w Wanted) CanaryRule() string { return w.ruleName(kindCanary) }

// alike tells whether two texts of JSON say the same.
func alike(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return a == b
	}
	return reflect.DeepEqual(x, y)
}
