package pipeline

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Names of drover's statements in the queue's policy. Others' statements stay.
const (
	eventsStatement = "DroverEvents"
	topicsStatement = "DroverTopics"
)

// statement is one of a policy's, as drover writes it.
type statement struct {
	Sid       string                         `json:"Sid"`
	Effect    string                         `json:"Effect"`
	Principal map[string]string              `json:"Principal,omitempty"`
	Action    []string                       `json:"Action"`
	Resource  []string                       `json:"Resource"`
	Condition map[string]map[string][]string `json:"Condition,omitempty"`
}

// statements let in what fills the queue, and only from this account: EventBridge by drover's own rules, SNS from topics of this account and region.
// A hook that is told to notify the queue itself does so in a role of the account, which needs no word here.
func (w Wanted) statements() []statement {
	var rules []string
	for _, name := range w.RuleNames() {
		rules = append(rules, w.ruleARN(name))
	}
	let := func(sid, service, operator, key string, values ...string) statement {
		return statement{
			Sid: sid, Effect: "Allow", Principal: map[string]string{"Service": service}, Action: []string{"sqs:SendMessage"},
			Resource: []string{w.QueueARN(w.QueueName())}, Condition: map[string]map[string][]string{operator: {key: values}},
		}
	}
	topics := let(topicsStatement, "sns.amazonaws.com", "ArnLike", "aws:SourceArn", w.arn("sns", "*"))
	topics.Condition["StringEquals"] = map[string][]string{"aws:SourceAccount": {w.Account}}
	return []statement{let(eventsStatement, "events.amazonaws.com", "ArnEquals", "aws:SourceArn", rules...), topics}
}

// document is a policy of which drover reads no more than it must: others' statements go back as they came.
type document struct {
	Version   string            `json:"Version"`
	ID        string            `json:"Id,omitempty"`
	Statement []json.RawMessage `json:"Statement"`
}

func parsePolicy(text string) (document, error) {
	d := document{Version: "2012-10-17"}
	if text == "" {
		return d, nil
	}
	var raw struct {
		Version, ID string
		Statement   json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return d, fmt.Errorf("policy: %w", err)
	}
	d.ID = raw.ID
	if raw.Version != "" {
		d.Version = raw.Version
	}
	if len(raw.Statement) > 0 && raw.Statement[0] == '{' { // a policy may have one statement without a list
		d.Statement = []json.RawMessage{raw.Statement}
		return d, nil
	}
	if len(raw.Statement) == 0 {
		return d, nil
	}
	if err := json.Unmarshal(raw.Statement, &d.Statement); err != nil {
		return d, fmt.Errorf("policy: statements: %w", err)
	}
	return d, nil
}

// with puts drover's statements into the policy, each once, and leaves the others.
func (d document) with(ours []statement) document {
	d = d.without(ours)
	for _, s := range ours {
		d.Statement = append(d.Statement, text(s))
	}
	return d
}

func (d document) without(ours []statement) document {
	d.Statement = slices.DeleteFunc(slices.Clone(d.Statement), func(raw json.RawMessage) bool {
		return slices.ContainsFunc(ours, func(s statement) bool { return s.Sid == sidOf(raw) })
	})
	return d
}

// lacks names drover's statements that the policy has not, or has otherwise.
func (d document) lacks(ours []statement) []string {
	var out []string
	for _, s := range ours {
		if !slices.ContainsFunc(d.Statement, func(raw json.RawMessage) bool { return alike(string(raw), string(text(s))) }) {
			out = append(out, s.Sid)
		}
	}
	return out
}

func sidOf(raw json.RawMessage) string {
	var s struct{ Sid string }
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s.Sid
}

func (d document) String() string { return string(text(d)) }

func text(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("policy: " + err.Error()) // what was read as JSON, and strings, always marshal
	}
	return b
}

// Scope is what a right is limited to.
type Scope string

// The scopes.
const (
	OnAll     Scope = "all"
	OnGroups  Scope = "groups"
	OnTargets Scope = "targets"
	OnQueue   Scope = "queue"
	OnDead    Scope = "dead-letters"
	OnCluster Scope = "cluster"
)

// Rights is the IAM policy that grants these actions, least privilege: what changes anything is limited to the cluster's own groups and queues. Its
// groups are those with the tag of condition, those of tomorrow included, and by name those that lack it today. A scope that it does not know is
// an error: it would be granted on nothing, or on everything.
func (w Wanted) Rights(f Found, actions map[Scope][]string, conditionKey, conditionValue string) (string, error) {
	known := map[Scope]bool{}
	d := struct {
		Version   string
		Statement []statement
	}{Version: "2012-10-17"}
	add := func(sid string, on Scope, resources ...string) {
		known[on] = true
		if granted := slices.Sorted(slices.Values(actions[on])); len(granted) > 0 && len(resources) > 0 {
			d.Statement = append(d.Statement, statement{Sid: sid, Effect: "Allow", Action: granted, Resource: resources})
		}
	}
	add("DroverObserve", OnAll, "*")
	add("DroverOwnGroups", OnGroups, w.groupARN("*"))
	if n := len(d.Statement); n > 0 && d.Statement[n-1].Sid == "DroverOwnGroups" {
		d.Statement[n-1].Condition = map[string]map[string][]string{"StringEquals": {conditionKey: {conditionValue}}}
	}
	add("DroverOtherGroups", OnGroups, w.untagged(f)...)
	add("DroverTargets", OnTargets, w.arn("elasticloadbalancing", "targetgroup/*"))
	add("DroverQueue", OnQueue, w.QueueARN(w.QueueName()))
	add("DroverDeadLetters", OnDead, w.QueueARN(w.DeadName()))
	add("DroverCluster", OnCluster, w.arn("eks", "cluster/"+w.Cluster), w.arn("eks", "nodegroup/"+w.Cluster+"/*/*"))
	for on := range actions {
		if !known[on] {
			return "", fmt.Errorf("IAM policy: no resource is known for actions on %q: %v", on, actions[on])
		}
	}
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return "", fmt.Errorf("IAM policy: %w", err)
	}
	return string(b) + "\n", nil
}

func (w Wanted) groupARN(name string) string {
	return w.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/"+name)
}

func (w Wanted) untagged(f Found) []string {
	var out []string
	for _, g := range w.Groups {
		if !f.Groups[g.Scaling].Owned {
			out = append(out, w.groupARN(g.Scaling))
		}
	}
	return out
}
