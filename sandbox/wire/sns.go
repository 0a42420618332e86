package wire

import (
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"drover.dev/sandbox/cloud"
)

var snsActions = map[string]action{
	"CreateTopic": on("Name Attributes Tags",
		func(c *cloud.Cloud, in *sns.CreateTopicInput) (*sns.CreateTopicOutput, error) {
			tags := map[string]string{}
			for _, t := range in.Tags {
				tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
			arn, err := c.CreateTopic(aws.ToString(in.Name), in.Attributes, tags)
			return &sns.CreateTopicOutput{TopicArn: &arn}, err
		}),
	"DeleteTopic": on("TopicArn",
		func(c *cloud.Cloud, in *sns.DeleteTopicInput) (*sns.DeleteTopicOutput, error) {
			return &sns.DeleteTopicOutput{}, c.DeleteTopic(aws.ToString(in.TopicArn))
		}),
	"ListTopics": on("NextToken",
		func(c *cloud.Cloud, in *sns.ListTopicsInput) (*sns.ListTopicsOutput, error) {
			all, err := c.ListTopics()
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(arn string) string { return arn }, in.NextToken, nil, 100, 100)
			return &sns.ListTopicsOutput{NextToken: next, Topics: orEmpty(list(shown, func(arn string) types.Topic { return types.Topic{TopicArn: &arn} }))}, err
		}),
	"GetTopicAttributes": on("TopicArn",
		func(c *cloud.Cloud, in *sns.GetTopicAttributesInput) (*sns.GetTopicAttributesOutput, error) {
			all, err := c.GetTopicAttributes(aws.ToString(in.TopicArn))
			return &sns.GetTopicAttributesOutput{Attributes: all}, err
		}),
	"SetTopicAttributes": on("TopicArn AttributeName AttributeValue",
		func(c *cloud.Cloud, in *sns.SetTopicAttributesInput) (*sns.SetTopicAttributesOutput, error) {
			return &sns.SetTopicAttributesOutput{}, c.SetTopicAttributes(aws.ToString(in.TopicArn), aws.ToString(in.AttributeName), aws.ToString(in.AttributeValue))
		}),
	"Subscribe": on("TopicArn Protocol Endpoint Attributes ReturnSubscriptionArn",
		func(c *cloud.Cloud, in *sns.SubscribeInput) (*sns.SubscribeOutput, error) {
			arn, err := c.SubscribeTopic(aws.ToString(in.TopicArn), aws.ToString(in.Protocol), aws.ToString(in.Endpoint), in.Attributes)
			return &sns.SubscribeOutput{SubscriptionArn: &arn}, err
		}),
	"Unsubscribe": on("SubscriptionArn",
		func(c *cloud.Cloud, in *sns.UnsubscribeInput) (*sns.UnsubscribeOutput, error) {
			return &sns.UnsubscribeOutput{}, c.Unsubscribe(aws.ToString(in.SubscriptionArn))
		}),
	"ListSubscriptionsByTopic": on("TopicArn NextToken",
		func(c *cloud.Cloud, in *sns.ListSubscriptionsByTopicInput) (*sns.ListSubscriptionsByTopicOutput, error) {
			all, err := c.ListSubscriptionsByTopic(aws.ToString(in.TopicArn))
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(s cloud.Subscription) string { return s.ARN }, in.NextToken, nil, 100, 100)
			return &sns.ListSubscriptionsByTopicOutput{NextToken: next, Subscriptions: orEmpty(list(shown, func(s cloud.Subscription) types.Subscription {
				return types.Subscription{SubscriptionArn: &s.ARN, TopicArn: &s.Topic, Endpoint: &s.Endpoint, Protocol: new("sqs"), Owner: new(c.Account())}
			}))}, err
		}),
	"Publish": on("TopicArn Subject Message",
		func(c *cloud.Cloud, in *sns.PublishInput) (*sns.PublishOutput, error) {
			id, err := c.Publish(aws.ToString(in.TopicArn), aws.ToString(in.Subject), aws.ToString(in.Message))
			return &sns.PublishOutput{MessageId: &id}, err
		}),
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
