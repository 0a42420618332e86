package wire

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebt "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snst "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"drover.dev/sandbox/cloud"
)

const inboxARN = "arn:aws:sqs:eu-west-1:123456789012:inbox"

// open lets every service send to the inbox.
func (r *rig) open(client *sqs.Client, url string) {
	r.t.Helper()
	ok[*sqs.SetQueueAttributesOutput](r.t)(client.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{
		QueueUrl: &url, Attributes: map[string]string{"Policy": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"` + inboxARN + `"}}`},
	}))
}

func (r *rig) bodies(url string) []string {
	r.t.Helper()
	got, err := r.cloud.Queued(url)
	if err != nil {
		r.t.Fatal(err)
	}
	return list(got, func(m cloud.Message) string { return m.Body })
}

func TestEventsWithTheSDK(t *testing.T) {
	r := newRig(t)
	queue, url := r.queue()
	r.open(queue, url)
	client := eventbridge.NewFromConfig(r.cfg)
	made := ok[*eventbridge.PutRuleOutput](t)(client.PutRule(ctx, &eventbridge.PutRuleInput{
		Name: new("canary"), EventPattern: new(`{"source":["drover"]}`), Description: new("probe"), Tags: []ebt.Tag{{Key: new("team"), Value: new("a")}},
	}))
	ok[*eventbridge.PutTargetsOutput](t)(client.PutTargets(ctx, &eventbridge.PutTargetsInput{
		Rule: new("canary"), EventBusName: new("default"), Targets: []ebt.Target{{Id: new("inbox"), Arn: new(inboxARN), DeadLetterConfig: &ebt.DeadLetterConfig{Arn: new(inboxARN)}}},
	}))
	put := ok[*eventbridge.PutEventsOutput](t)(client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []ebt.PutEventsRequestEntry{
		{Source: new("drover"), DetailType: new("Canary"), Detail: new(`{"group":"g"}`), Time: new(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)), Resources: []string{"arn:x"}},
		{Source: new("aws.ec2"), DetailType: new("Canary"), Detail: new(`{}`)},
	}}))
	if put.FailedEntryCount != 1 || put.Entries[0].EventId == nil || *put.Entries[1].ErrorCode != "NotAuthorizedForSourceException" {
		t.Fatalf("put %+v", put)
	}
	r.clock.Advance(time.Second)
	var e struct {
		ID, Time string
		Detail   struct{ Group string }
	}
	got := r.bodies(url)
	if len(got) != 1 {
		t.Fatalf("received %q", got)
	}
	if err := json.Unmarshal([]byte(got[0]), &e); err != nil || e.ID != *put.Entries[0].EventId || e.Time != "2026-02-01T00:00:00Z" || e.Detail.Group != "g" {
		t.Fatalf("received %s, %v", got[0], err)
	}

	described := ok[*eventbridge.DescribeRuleOutput](t)(client.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: new("canary")}))
	r.same("events", "DescribeRule", &eventbridge.DescribeRuleInput{Name: new("canary")}, described)
	rules := ok[*eventbridge.ListRulesOutput](t)(client.ListRules(ctx, &eventbridge.ListRulesInput{NamePrefix: new("can")}))
	r.same("events", "ListRules", &eventbridge.ListRulesInput{NamePrefix: new("can")}, rules)
	targets := ok[*eventbridge.ListTargetsByRuleOutput](t)(client.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: new("canary")}))
	r.same("events", "ListTargetsByRule", &eventbridge.ListTargetsByRuleInput{Rule: new("canary")}, targets)
	names := ok[*eventbridge.ListRuleNamesByTargetOutput](t)(client.ListRuleNamesByTarget(ctx, &eventbridge.ListRuleNamesByTargetInput{TargetArn: new(inboxARN)}))
	tags := ok[*eventbridge.ListTagsForResourceOutput](t)(client.ListTagsForResource(ctx, &eventbridge.ListTagsForResourceInput{ResourceARN: made.RuleArn}))
	if *described.EventPattern != `{"source":["drover"]}` || len(rules.Rules) != 1 || *targets.Targets[0].DeadLetterConfig.Arn != inboxARN || names.RuleNames[0] != "canary" || *tags.Tags[0].Value != "a" {
		t.Fatalf("rule %+v, %+v, %+v, %v, %+v", described, rules, targets, names.RuleNames, tags)
	}

	ok[*eventbridge.DisableRuleOutput](t)(client.DisableRule(ctx, &eventbridge.DisableRuleInput{Name: new("canary")}))
	if d := ok[*eventbridge.DescribeRuleOutput](t)(client.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: new("canary")})); d.State != ebt.RuleStateDisabled {
		t.Fatalf("state %s", d.State)
	}
	ok[*eventbridge.EnableRuleOutput](t)(client.EnableRule(ctx, &eventbridge.EnableRuleInput{Name: new("canary")}))
	ok[*eventbridge.TagResourceOutput](t)(client.TagResource(ctx, &eventbridge.TagResourceInput{ResourceARN: made.RuleArn, Tags: []ebt.Tag{{Key: new("k"), Value: new("v")}}}))
	ok[*eventbridge.UntagResourceOutput](t)(client.UntagResource(ctx, &eventbridge.UntagResourceInput{ResourceARN: made.RuleArn, TagKeys: []string{"team"}}))
	if left, err := r.cloud.ListTagsForResource(*made.RuleArn); err != nil || len(left) != 1 || left["k"] != "v" {
		t.Fatalf("tags %v, %v", left, err)
	}
	ok[*eventbridge.RemoveTargetsOutput](t)(client.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: new("canary"), Ids: []string{"inbox"}}))
	ok[*eventbridge.DeleteRuleOutput](t)(client.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: new("canary")}))
	_, err := client.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: new("canary")})
	var gone *ebt.ResourceNotFoundException
	if !errors.As(err, &gone) {
		t.Fatalf("got %v", err)
	}
}

func TestEventsThatAreNotSimulated(t *testing.T) {
	r := newRig(t)
	client := eventbridge.NewFromConfig(r.cfg)
	pattern := new(`{"source":["x"]}`)
	ok[*eventbridge.PutRuleOutput](t)(client.PutRule(ctx, &eventbridge.PutRuleInput{Name: new("r"), EventPattern: pattern}))
	for _, c := range []struct {
		target ebt.Target
		field  string
	}{{ebt.Target{Input: new("{}")}, "Targets.Input"}, {ebt.Target{InputPath: new("$.detail")}, "Targets.InputPath"}, {ebt.Target{InputTransformer: &ebt.InputTransformer{InputTemplate: new("x")}}, "Targets.InputTransformer"}} {
		c.target.Id, c.target.Arn = new("t"), new(inboxARN)
		_, err := client.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: new("r"), Targets: []ebt.Target{c.target}})
		r.code(err, "NotSimulated", c.field)
	}
	_, err := client.PutRule(ctx, &eventbridge.PutRuleInput{Name: new("r"), ScheduleExpression: new("rate(1 hour)")})
	r.code(err, "NotSimulated", "ScheduleExpression of PutRule")
	_, err = client.PutRule(ctx, &eventbridge.PutRuleInput{Name: new("r"), EventPattern: pattern, EventBusName: new("own")})
	r.code(err, "ResourceNotFoundException", "Event bus own does not exist.")
	_, err = client.PutRule(ctx, &eventbridge.PutRuleInput{Name: new("r"), EventPattern: new("{}")})
	r.code(err, "InvalidEventPatternException", "Empty objects")
}

func TestTopicWithTheSDK(t *testing.T) {
	r := newRig(t)
	queue, url := r.queue()
	r.open(queue, url)
	client := sns.NewFromConfig(r.cfg)
	made := ok[*sns.CreateTopicOutput](t)(client.CreateTopic(ctx, &sns.CreateTopicInput{
		Name: new("news"), Attributes: map[string]string{"DisplayName": "a & b", "Policy": "{}"}, Tags: []snst.Tag{{Key: new("team"), Value: new("a")}},
	}))
	subscribed := ok[*sns.SubscribeOutput](t)(client.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: made.TopicArn, Protocol: new("sqs"), Endpoint: new(inboxARN), Attributes: map[string]string{"RawMessageDelivery": "true"}, ReturnSubscriptionArn: true,
	}))
	ok[*sns.PublishOutput](t)(client.Publish(ctx, &sns.PublishInput{TopicArn: made.TopicArn, Message: new(`{"raw":true}`)}))
	if got := r.bodies(url); len(got) != 1 || got[0] != `{"raw":true}` {
		t.Fatalf("received %q", got)
	}
	ok[*sns.SetTopicAttributesOutput](t)(client.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: made.TopicArn, AttributeName: new("Policy"), AttributeValue: new(`{"a":1}`)}))
	attributes := ok[*sns.GetTopicAttributesOutput](t)(client.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: made.TopicArn}))
	r.same("sns", "GetTopicAttributes", &sns.GetTopicAttributesInput{TopicArn: made.TopicArn}, attributes)
	subscriptions := ok[*sns.ListSubscriptionsByTopicOutput](t)(client.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: made.TopicArn}))
	r.same("sns", "ListSubscriptionsByTopic", &sns.ListSubscriptionsByTopicInput{TopicArn: made.TopicArn}, subscriptions)
	topics := ok[*sns.ListTopicsOutput](t)(client.ListTopics(ctx, &sns.ListTopicsInput{}))
	if attributes.Attributes["Policy"] != `{"a":1}` || attributes.Attributes["DisplayName"] != "a & b" || *subscriptions.Subscriptions[0].Endpoint != inboxARN || *topics.Topics[0].TopicArn != *made.TopicArn {
		t.Fatalf("attributes %v, subscriptions %+v, topics %+v", attributes.Attributes, subscriptions, topics)
	}
	_, err := client.Subscribe(ctx, &sns.SubscribeInput{TopicArn: made.TopicArn, Protocol: new("email"), Endpoint: new("a@b")})
	r.code(err, "NotSimulated", "protocol email")
	ok[*sns.UnsubscribeOutput](t)(client.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: subscribed.SubscriptionArn}))
	ok[*sns.DeleteTopicOutput](t)(client.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: made.TopicArn}))
	_, err = client.Publish(ctx, &sns.PublishInput{TopicArn: made.TopicArn, Message: new("x")})
	var gone *snst.NotFoundException
	if !errors.As(err, &gone) {
		t.Fatalf("got %v", err)
	}
}

func TestEventsAndTopicsWithTheAWSCommandLine(t *testing.T) {
	r := newRig(t)
	queue, url := r.queue()
	r.open(queue, url)
	r.awsJSON(nil, "events", "put-rule", "--name", "r", "--event-pattern", `{"source":["own"]}`)
	r.awsJSON(nil, "events", "put-targets", "--rule", "r", "--targets", "Id=inbox,Arn="+inboxARN)
	r.awsJSON(nil, "events", "put-events", "--entries", `[{"Source":"own","DetailType":"T","Detail":"{}"}]`)
	r.clock.Advance(time.Second)
	var topic struct{ TopicArn string }
	r.awsJSON(&topic, "sns", "create-topic", "--name", "news")
	r.awsJSON(nil, "sns", "subscribe", "--topic-arn", topic.TopicArn, "--protocol", "sqs", "--notification-endpoint", inboxARN, "--attributes", "RawMessageDelivery=true")
	r.awsJSON(nil, "sns", "publish", "--topic-arn", topic.TopicArn, "--message", "hello")
	if got := r.bodies(url); len(got) != 2 || !strings.Contains(got[0], `"detail-type":"T"`) || got[1] != "hello" {
		t.Fatalf("received %q", got)
	}
}
