package aws

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"drover.dev/fleet"
	"drover.dev/pipeline"
)

const (
	// pipelineAtOnce bounds the calls of one reading: EventBridge's and Auto Scaling's rates are the account's, not drover's.
	pipelineAtOnce = 4
	// rulesPrefix begins the names of all of drover's rules, of whatever cluster.
	rulesPrefix = "drover-"
	// handlerTag is the tag by which aws-node-termination-handler takes a group for its own.
	handlerTag = "aws-node-termination-handler/managed"
)

// Pipeline reads what there is of a cluster's pipeline.
func (c *Cloud) Pipeline(ctx context.Context, w pipeline.Wanted) (pipeline.Found, error) {
	f := pipeline.Found{}
	parts := map[string]func(context.Context) error{
		"queue":  func(ctx context.Context) (err error) { f.Queue, err = c.queue(ctx, w.QueueName()); return err },
		"dead":   func(ctx context.Context) (err error) { f.Dead, err = c.queue(ctx, w.DeadName()); return err },
		"rules":  func(ctx context.Context) (err error) { f.Rules, err = c.rules(ctx, w.RuleNames()); return err },
		"groups": func(ctx context.Context) (err error) { f.Groups, err = c.scalingHooks(ctx, w); return err },
	}
	err := someAtATime(ctx, len(parts), []string{"queue", "dead", "rules", "groups"}, func(ctx context.Context, part string) error { return parts[part](ctx) })
	return f, err
}

// queueURL finds a queue; "" when there is none of that name.
func (c *Cloud) queueURL(ctx context.Context, name string) (string, error) {
	out, err := c.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if queueGone(err) {
		return "", nil
	}
	if err != nil {
		return "", doing("look for queue "+name, err)
	}
	return sdk.ToString(out.QueueUrl), nil
}

func (c *Cloud) queue(ctx context.Context, name string) (*pipeline.Queue, error) {
	url, err := c.queueURL(ctx, name)
	if err != nil || url == "" {
		return nil, err
	}
	out, err := c.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll}})
	if queueGone(err) {
		return nil, nil // deleted a moment ago
	}
	if err != nil {
		return nil, doing("read queue "+name, err)
	}
	tags, err := c.sqs.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: &url})
	if err != nil {
		return nil, doing("read the tags of queue "+name, err)
	}
	q, err := parseQueue(name, out.Attributes)
	if err != nil {
		return nil, fmt.Errorf("queue %s: %w", name, err)
	}
	q.Owner = tags.Tags[pipeline.OwnerTag]
	return q, nil
}

// redrive is a queue's RedrivePolicy. AWS takes the count as a number and as a string.
type redrive struct {
	Dead  string      `json:"deadLetterTargetArn"`
	Count json.Number `json:"maxReceiveCount"`
}

func parseQueue(name string, attributes map[string]string) (*pipeline.Queue, error) {
	q := &pipeline.Queue{
		Name: name, Policy: attributes["Policy"], Key: attributes["KmsMasterKeyId"], Encrypted: attributes["SqsManagedSseEnabled"] == "true",
	}
	numbers := map[string]int{}
	for _, a := range []string{"MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds", "ApproximateNumberOfMessages"} {
		n, err := strconv.Atoi(cmp.Or(attributes[a], "0"))
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", a, err)
		}
		numbers[a] = n
	}
	q.Retention, q.Wait = time.Duration(numbers["MessageRetentionPeriod"])*time.Second, time.Duration(numbers["ReceiveMessageWaitTimeSeconds"])*time.Second
	q.Messages = numbers["ApproximateNumberOfMessages"]
	text := attributes["RedrivePolicy"]
	if text == "" {
		return q, nil
	}
	var r redrive
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, fmt.Errorf("attribute RedrivePolicy: %w", err)
	}
	n, err := strconv.Atoi(r.Count.String())
	if err != nil {
		return nil, fmt.Errorf("attribute RedrivePolicy: maxReceiveCount: %w", err)
	}
	q.Dead, q.Receives = r.Dead, n
	return q, nil
}

// attributesOf are a queue's attributes as SQS takes them.
func attributesOf(q pipeline.Queue) map[string]string {
	out := map[string]string{
		"MessageRetentionPeriod":        strconv.Itoa(int(q.Retention / time.Second)),
		"ReceiveMessageWaitTimeSeconds": strconv.Itoa(int(q.Wait / time.Second)),
		"SqsManagedSseEnabled":          strconv.FormatBool(q.Encrypted),
	}
	if q.Key != "" {
		delete(out, "SqsManagedSseEnabled")
		out["KmsMasterKeyId"] = q.Key
	}
	if q.Dead != "" {
		out["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, q.Dead, q.Receives)
	}
	if q.Policy != "" {
		out["Policy"] = q.Policy
	}
	return out
}

// changed leaves of the attributes those that are to be set; what there is to be no more is set to nothing.
func changed(was, is map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range is {
		if was[k] != v {
			out[k] = v
		}
	}
	for k := range was {
		if _, kept := is[k]; !kept {
			out[k] = ""
		}
	}
	return out
}

// rules reads those of drover's rules that exist, by name.
func (c *Cloud) rules(ctx context.Context, names []string) (map[string]pipeline.Rule, error) {
	out := map[string]pipeline.Rule{}
	arns := map[string]string{}
	in := &eventbridge.ListRulesInput{NamePrefix: sdk.String(rulesPrefix)}
	for {
		page, err := c.events.ListRules(ctx, in)
		if err != nil {
			return nil, doing("list EventBridge rules", err)
		}
		for _, r := range page.Rules {
			if name := sdk.ToString(r.Name); slices.Contains(names, name) {
				arns[name] = sdk.ToString(r.Arn)
				out[name] = pipeline.Rule{Name: name, Pattern: sdk.ToString(r.EventPattern), Off: r.State == eventtypes.RuleStateDisabled}
			}
		}
		if in.NextToken = page.NextToken; in.NextToken == nil {
			break
		}
	}
	var mu sync.Mutex
	there := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return arns[name] == "" })
	err := someAtATime(ctx, pipelineAtOnce, there, func(ctx context.Context, name string) error {
		owner, targets, err := c.ruleDetails(ctx, name, arns[name])
		mu.Lock()
		defer mu.Unlock()
		r := out[name]
		r.Owner, r.Targets = owner, targets
		out[name] = r
		return err
	})
	return out, err
}

func (c *Cloud) ruleDetails(ctx context.Context, name, arn string) (owner string, targets []pipeline.Target, err error) {
	tags, err := c.events.ListTagsForResource(ctx, &eventbridge.ListTagsForResourceInput{ResourceARN: &arn})
	if err != nil {
		return "", nil, doing("read the tags of rule "+name, err)
	}
	for _, t := range tags.Tags {
		if sdk.ToString(t.Key) == pipeline.OwnerTag {
			owner = sdk.ToString(t.Value)
		}
	}
	told, err := c.events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &name}) // a rule has five targets at most: one page
	if err != nil {
		return "", nil, doing("read the targets of rule "+name, err)
	}
	for _, t := range told.Targets {
		targets = append(targets, pipeline.Target{ID: sdk.ToString(t.Id), ARN: sdk.ToString(t.Arn)})
	}
	return owner, targets, nil
}

// scalingHooks reads the groups and their hooks. A group that is gone is left out.
func (c *Cloud) scalingHooks(ctx context.Context, w pipeline.Wanted) (map[string]pipeline.Scaling, error) {
	out := map[string]pipeline.Scaling{}
	var names []string
	for _, g := range slices.Concat(w.Groups, w.Others) {
		names = append(names, g.Scaling)
	}
	if len(names) == 0 {
		return out, nil // without a name AWS would list all groups
	}
	raw, err := c.describeGroups(ctx, names)
	if err != nil {
		return nil, err
	}
	names = nil
	for i := range raw {
		name := sdk.ToString(raw[i].AutoScalingGroupName)
		names, out[name] = append(names, name), scalingOf(&raw[i], w.Cluster)
	}
	var mu sync.Mutex
	err = someAtATime(ctx, pipelineAtOnce, names, func(ctx context.Context, name string) error {
		hooks, err := c.describeHooks(ctx, name)
		if err != nil {
			return doing("describe the lifecycle hooks of group "+name, err)
		}
		mu.Lock()
		defer mu.Unlock()
		s := out[name]
		s.Hooks = hooks
		out[name] = s
		return nil
	})
	return out, err
}

func scalingOf(raw *astypes.AutoScalingGroup, cluster string) pipeline.Scaling {
	s := pipeline.Scaling{
		Owned: tagOf(raw, ownerTag+cluster) == "owned", Retains: retains(raw), Rebalances: sdk.ToBool(raw.CapacityRebalance), Spot: launchesSpot(raw),
	}
	s.Handled = slices.ContainsFunc(raw.Tags, func(t astypes.TagDescription) bool { return sdk.ToString(t.Key) == handlerTag })
	for _, in := range raw.Instances {
		switch in.LifecycleState {
		case astypes.LifecycleStateTerminatingWait:
			s.Waiting = append(s.Waiting, sdk.ToString(in.InstanceId))
		case astypes.LifecycleStatePendingWait:
			s.Coming = append(s.Coming, sdk.ToString(in.InstanceId))
		}
	}
	slices.Sort(s.Waiting)
	slices.Sort(s.Coming)
	return s
}

// launchesSpot tells whether a mixed instances policy has the group launch spot instances. A launch template that asks for them shows in its instances.
func launchesSpot(raw *astypes.AutoScalingGroup) bool {
	p := raw.MixedInstancesPolicy
	if p == nil || p.InstancesDistribution == nil || p.InstancesDistribution.OnDemandPercentageAboveBaseCapacity == nil {
		return false
	}
	return *p.InstancesDistribution.OnDemandPercentageAboveBaseCapacity < 100
}

// Lay carries out one change of a pipeline. "Already so" is success.
func (c *Cloud) Lay(ctx context.Context, ch pipeline.Change) error {
	return doing(fmt.Sprintf("%s %s", ch.Verb, ch.Subject()), c.lay(ctx, ch))
}

func (c *Cloud) lay(ctx context.Context, ch pipeline.Change) error {
	switch ch.Verb {
	case pipeline.CreateQueue:
		return c.createQueue(ctx, ch.Queue)
	case pipeline.RepairQueue:
		return c.repairQueue(ctx, ch)
	case pipeline.DeleteQueue:
		return c.deleteQueue(ctx, ch.Queue)
	case pipeline.CreateRule:
		return c.createRule(ctx, ch.Rule)
	case pipeline.RepairRule:
		return c.putRule(ctx, ch.Rule)
	case pipeline.AimRule:
		return c.aimRule(ctx, ch.Rule)
	case pipeline.UnaimRule:
		return c.unaimRule(ctx, ch.Rule)
	case pipeline.DeleteRule:
		return c.deleteRule(ctx, ch.Rule)
	case pipeline.CreateHook, pipeline.RepairHook:
		return c.putHook(ctx, ch)
	case pipeline.DeleteHook:
		return c.deleteHook(ctx, ch)
	}
	return fmt.Errorf("aws does not know how to %s", ch.Verb)
}

// unless takes an error of these codes for none.
func unless(err error, codes ...string) error {
	if codeIs(err, codes...) {
		return nil
	}
	return err
}

// How long to wait where SQS does not take a queue yet.
const (
	deletedAgain = time.Minute     // SQS's own limit: a name is free again a minute after its queue was deleted
	deadAgain    = 2 * time.Second // a dead-letter queue made a moment ago is not known everywhere
)

func (c *Cloud) createQueue(ctx context.Context, q pipeline.Queue) error {
	_, err := c.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &q.Name, Attributes: attributesOf(q), Tags: map[string]string{pipeline.OwnerTag: q.Owner}})
	var recently *sqstypes.QueueDeletedRecently
	switch {
	case errors.As(err, &recently):
		return &fleet.Refused{Reason: "a queue of that name was deleted a moment ago, and AWS makes no other within a minute", Wait: deletedAgain}
	case err != nil && strings.Contains(err.Error(), "Dead letter target does not exist"):
		return &fleet.Refused{Reason: "AWS does not know its dead-letter queue yet", Wait: deadAgain}
	}
	return err
}

func (c *Cloud) repairQueue(ctx context.Context, ch pipeline.Change) error {
	url, err := c.ours(ctx, ch.Queue)
	if err != nil {
		return err
	}
	if url == "" {
		return errors.New("it is gone")
	}
	var was map[string]string
	if ch.Was != nil {
		was = attributesOf(*ch.Was)
	}
	_, err = c.sqs.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: changed(was, attributesOf(ch.Queue))})
	return err
}

func (c *Cloud) deleteQueue(ctx context.Context, q pipeline.Queue) error {
	url, err := c.ours(ctx, q)
	if err != nil || url == "" {
		return err
	}
	if _, err = c.sqs.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &url}); queueGone(err) {
		return nil
	}
	return err
}

// ours finds a queue, and reads again that it is drover's; "" when there is none.
func (c *Cloud) ours(ctx context.Context, q pipeline.Queue) (url string, err error) {
	url, err = c.queueURL(ctx, q.Name)
	if err != nil || url == "" {
		return "", err
	}
	tags, err := c.sqs.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: &url})
	if queueGone(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if owner := tags.Tags[pipeline.OwnerTag]; owner != q.Owner {
		return "", fmt.Errorf("its tag %s is %q by now, expected %q", pipeline.OwnerTag, owner, q.Owner)
	}
	return url, nil
}

// putRule makes a rule, or makes it as it is to be. AWS takes the tags when it makes one and ignores them afterwards.
func (c *Cloud) putRule(ctx context.Context, r pipeline.Rule) error {
	_, err := c.events.PutRule(ctx, &eventbridge.PutRuleInput{
		Name: &r.Name, EventPattern: &r.Pattern, State: eventtypes.RuleStateEnabled, Description: sdk.String("Notices for drover, cluster " + r.Owner),
		Tags: []eventtypes.Tag{{Key: sdk.String(pipeline.OwnerTag), Value: &r.Owner}},
	})
	return err
}

// createRule makes a rule with its target. Should it be cut off between, the rule is found without one, and is aimed.
func (c *Cloud) createRule(ctx context.Context, r pipeline.Rule) error {
	if err := c.putRule(ctx, r); err != nil {
		return err
	}
	return c.aimRule(ctx, r)
}

// deleteRule takes away the target first: AWS deletes no rule that has one, so that one of somebody else's keeps it.
func (c *Cloud) deleteRule(ctx context.Context, r pipeline.Rule) error {
	if err := c.unaimRule(ctx, r); err != nil {
		return err
	}
	_, err := c.events.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: &r.Name})
	return unless(err, "ResourceNotFoundException")
}

func (c *Cloud) aimRule(ctx context.Context, r pipeline.Rule) error {
	t := r.Targets[0]
	out, err := c.events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &r.Name, Targets: []eventtypes.Target{{Id: &t.ID, Arn: &t.ARN}}})
	if err != nil {
		return err
	}
	for _, f := range out.FailedEntries {
		return fmt.Errorf("%s: %s", sdk.ToString(f.ErrorCode), sdk.ToString(f.ErrorMessage))
	}
	return nil
}

func (c *Cloud) unaimRule(ctx context.Context, r pipeline.Rule) error {
	out, err := c.events.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: &r.Name, Ids: []string{r.Targets[0].ID}})
	if err != nil {
		return unless(err, "ResourceNotFoundException")
	}
	for _, f := range out.FailedEntries {
		if code := sdk.ToString(f.ErrorCode); code != "ResourceNotFoundException" {
			return fmt.Errorf("%s: %s", code, sdk.ToString(f.ErrorMessage))
		}
	}
	return nil
}

// putHook makes a hook, or makes it as it is to be. What it notifies besides EventBridge stays.
func (c *Cloud) putHook(ctx context.Context, ch pipeline.Change) error {
	h := ch.Hook
	in := &autoscaling.PutLifecycleHookInput{
		AutoScalingGroupName: &ch.Group.Scaling, LifecycleHookName: &h.Name, HeartbeatTimeout: sdk.Int32(int32(h.Heartbeat / time.Second)),
		DefaultResult: sdk.String(fleet.Continue), LifecycleTransition: sdk.String("autoscaling:EC2_INSTANCE_TERMINATING"),
	}
	if h.Metadata != "" {
		in.NotificationMetadata = &h.Metadata
	}
	if h.Abandon {
		in.DefaultResult = sdk.String(fleet.Abandon)
	}
	if h.Launching {
		in.LifecycleTransition = sdk.String("autoscaling:EC2_INSTANCE_LAUNCHING")
	}
	_, err := c.scaling.PutLifecycleHook(ctx, in)
	return err
}

// deleteHook takes a hook away. One that is not there, and a group that is gone, have AWS complain of validation; what is there tells.
func (c *Cloud) deleteHook(ctx context.Context, ch pipeline.Change) error {
	_, err := c.scaling.DeleteLifecycleHook(ctx, &autoscaling.DeleteLifecycleHookInput{AutoScalingGroupName: &ch.Group.Scaling, LifecycleHookName: &ch.Hook.Name})
	if !codeIs(err, "ValidationError") {
		return err
	}
	g, look := c.raw(ctx, ch.Group.Scaling)
	if look != nil {
		return look
	}
	if g == nil {
		return nil
	}
	hooks, look := c.describeHooks(ctx, ch.Group.Scaling)
	if look != nil {
		return look
	}
	if slices.ContainsFunc(hooks, func(h fleet.Hook) bool { return h.Name == ch.Hook.Name }) {
		return err
	}
	return nil
}
