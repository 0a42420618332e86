package pipeline

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Names of drover's statements in the queue's policy. Others' statements stay.
const (
	eventsStatement = "DroverEvents"
	topicsStatement = "DroverTopics"
)

// statement is one of a policy's, as drover writes it.
type statement struct {
	Sid       string            `json:"Sid"`
	Effect    string            `json:"Effect"`
	Principal map[string]string `json:"Principal,omitempty"`
	Action    []string          `json:"Action"`
	Resource  []string          `json:"Resource"`
	Condition condition         `json:"Condition,omitempty"`
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
			Resource: []string{w.QueueARN(w.QueueName())}, Condition: condition{operator: {key: values}},
		}
	}
	return []statement{
		let(eventsStatement, "events.amazonaws.com", "ArnEquals", "aws:SourceArn", rules...),
		let(topicsStatement, "sns.amazonaws.com", "ArnLike", "aws:SourceArn", w.arn("sns", "*")), // the ARN names the account
	}
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
	OnPublic  Scope = "public" // parameters that AWS publishes

	OnDatabases Scope = "databases" // of environments
	OnMarked    Scope = "marked"    // those of them that an environment has marked
	OnBucket    Scope = "bucket"    // of records
	OnObjects   Scope = "objects"   // in it
	OnRole      Scope = "role"      // of nodes
)

const (
	// namesAtMost is how many groups a policy names one by one.
	namesAtMost = 20
	// policyAtMost is what IAM takes for a managed policy, in characters that are no white space.
	policyAtMost = 6144
)

// Environments are what rights to switch environments are limited to. Where one of them is empty, no right on that can be granted.
type Environments struct {
	Databases []string // as fleet.DatabaseID prints them
	MarkKey   string   // the condition's key for the tag by which an environment marks a database
	Marks     []string // and its values, with an asterisk where anything may follow
	Archives  []string // BUCKET or BUCKET/PREFIX
	NodeRoles []string // ARNs of the roles that new nodes may get
}

// grants is a policy being made.
type grants struct {
	actions    map[Scope][]string
	known      map[Scope]bool
	statements []statement
}

// condition is a statement's.
type condition map[string]map[string][]string

// add grants the actions on a scope, if there are any, on these resources.
func (g *grants) add(sid string, on Scope, when condition, resources ...string) {
	if len(resources) == 0 {
		return
	}
	g.known[on] = true
	if granted := slices.Compact(slices.Sorted(slices.Values(g.actions[on]))); len(granted) > 0 {
		g.statements = append(g.statements, statement{Sid: sid, Effect: "Allow", Action: granted, Resource: resources, Condition: when})
	}
}

// environments grants what switching them takes.
func (g *grants) environments(w *Wanted) {
	e := &w.Environments
	var databases, buckets, objects []string
	for _, id := range e.Databases {
		if name, ok := strings.CutPrefix(id, "cluster "); ok {
			databases = append(databases, w.arn("rds", "cluster:"+name))
		} else {
			databases = append(databases, w.arn("rds", "db:"+strings.TrimPrefix(id, "instance ")))
		}
	}
	for _, a := range e.Archives {
		bucket, prefix, _ := strings.Cut(a, "/")
		buckets = append(buckets, fmt.Sprintf("arn:%s:s3:::%s", partition(w.Region), bucket))
		objects = append(objects, fmt.Sprintf("arn:%s:s3:::%s", partition(w.Region), path.Join(bucket, prefix, "*")))
	}
	g.add("DroverDatabases", OnDatabases, nil, databases...)
	if len(e.Marks) > 0 {
		g.add("DroverMarkedDatabases", OnMarked, condition{"StringLike": {e.MarkKey: e.Marks}}, databases...)
	}
	g.add("DroverArchive", OnBucket, nil, slices.Compact(slices.Sorted(slices.Values(buckets)))...)
	g.add("DroverRecords", OnObjects, nil, objects...)
	g.add("DroverNodeRole", OnRole, condition{"StringEquals": {"iam:PassedToService": {"eks.amazonaws.com"}}}, e.NodeRoles...)
}

// Rights is the IAM policy that grants these actions, least privilege: what changes anything is limited to the cluster's own groups and queues, and to
// what Environments name. Its groups are those with the tag of condition, those of tomorrow included, and by name those that lack it today; where they are
// many, by what their names begin with. A scope that it does not know is an error: it would be granted on nothing, or on everything. So is a policy longer than IAM takes.
func (w Wanted) Rights(f Found, actions map[Scope][]string, conditionKey, conditionValue string) (string, error) {
	g := grants{actions: actions, known: map[Scope]bool{}}
	g.add("DroverObserve", OnAll, nil, "*")
	g.add("DroverOwnGroups", OnGroups, condition{"StringEquals": {conditionKey: {conditionValue}}}, w.groupARN("*"))
	others := w.untagged(f)
	var resources []string
	for _, name := range shorten(others) {
		resources = append(resources, w.groupARN(name))
	}
	g.add("DroverOtherGroups", OnGroups, nil, resources...)
	g.add("DroverTargets", OnTargets, nil, w.arn("elasticloadbalancing", "targetgroup/*"))
	g.add("DroverQueue", OnQueue, nil, w.QueueARN(w.QueueName()))
	g.add("DroverDeadLetters", OnDead, nil, w.QueueARN(w.DeadName()))
	g.add("DroverCluster", OnCluster, nil, w.arn("eks", "cluster/"+w.Cluster), w.arn("eks", "nodegroup/"+w.Cluster+"/*/*"))
	g.add("DroverPublicParameters", OnPublic, nil, fmt.Sprintf("arn:%s:ssm:%s::parameter/aws/service/*", partition(w.Region), w.Region))
	g.environments(&w)
	for on := range actions {
		if !g.known[on] {
			return "", fmt.Errorf("IAM policy: no resource is known for actions on %q: %v", on, actions[on])
		}
	}
	d := struct {
		Version   string
		Statement []statement
	}{"2012-10-17", g.statements}
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return "", fmt.Errorf("IAM policy: %w", err)
	}
	if size := len(text(d)); size > policyAtMost {
		_, tag, _ := strings.Cut(conditionKey, "/")
		return "", fmt.Errorf("IAM policy: it has %d characters and IAM takes %d, because it names %d groups without the tag: tag them %s=%s", size, policyAtMost, len(others), tag, conditionValue)
	}
	return string(b) + "\n", nil
}

func (w Wanted) groupARN(name string) string {
	return w.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/"+name)
}

// untagged names the groups that lack the tag.
func (w Wanted) untagged(f Found) []string {
	var out []string
	for _, g := range w.Groups {
		if !f.Groups[g.Scaling].Owned {
			out = append(out, g.Scaling)
		}
	}
	return out
}

// shorten replaces names that begin alike by that beginning and an asterisk until they are few, the longest beginnings first. A beginning ends with a
// whole word, so that it covers as little else as may be.
func shorten(names []string) []string {
	if len(names) <= namesAtMost {
		return names
	}
	out := slices.Sorted(slices.Values(names))
	for len(out) > namesAtMost {
		longest := ""
		for i := 1; i < len(out); i++ {
			if b := beginning(out[i-1], out[i]); len(b) > len(longest) {
				longest = b
			}
		}
		if longest == "" {
			return out
		}
		out = slices.DeleteFunc(out, func(name string) bool { return strings.HasPrefix(name, longest) })
		out = append(out, longest+"*")
		slices.Sort(out)
	}
	return out
}

// beginning is what two names have in common, up to the end of a word.
func beginning(a, b string) string {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] && a[n] != '*' {
		n++
	}
	return a[:strings.LastIndexAny(a[:n], "-_./")+1]
}
