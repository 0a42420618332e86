package wire

import (
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"drover.dev/sandbox/cloud"
)

const defaultBus = "default"

var eventsActions = map[string]action{
	"PutRule": on("Name Description EventBusName EventPattern State Tags",
		func(c *cloud.Cloud, in *eventbridge.PutRuleInput) (*eventbridge.PutRuleOutput, error) {
			if err := checkBus(in.EventBusName); err != nil {
				return nil, err
			}
			arn, err := c.PutRule(cloud.Rule{
				Name: aws.ToString(in.Name), Pattern: aws.ToString(in.EventPattern), Description: aws.ToString(in.Description), State: string(in.State),
			}, readRuleTags(in.Tags))
			return &eventbridge.PutRuleOutput{RuleArn: &arn}, err
		}),
	"DescribeRule": on("Name EventBusName",
		func(c *cloud.Cloud, in *eventbridge.DescribeRuleInput) (*eventbridge.DescribeRuleOutput, error) {
			if err := checkBus(in.EventBusName); err != nil {
				return nil, err
			}
			r, err := c.DescribeRule(aws.ToString(in.Name))
			return &eventbridge.DescribeRuleOutput{
				Arn: &r.ARN, Name: &r.Name, EventPattern: &r.Pattern, Description: optional(r.Description), State: types.RuleState(r.State), EventBusName: new(defaultBus), CreatedBy: new(c.Account()),
			}, err
		}),
	"ListRules": on("NamePrefix EventBusName Limit NextToken",
		func(c *cloud.Cloud, in *eventbridge.ListRulesInput) (*eventbridge.ListRulesOutput, error) {
			if err := checkBus(in.EventBusName); err != nil {
				return nil, err
			}
			all, err := c.ListRules(aws.ToString(in.NamePrefix))
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(r cloud.Rule) string { return r.Name }, in.NextToken, in.Limit, 100, 100)
			return &eventbridge.ListRulesOutput{Rules: orEmpty(list(shown, showRule)), NextToken: next}, err
		}),
	"DeleteRule": on("Name EventBusName Force",
		func(c *cloud.Cloud, in *eventbridge.DeleteRuleInput) (*eventbridge.DeleteRuleOutput, error) {
			if err := checkBus(in.EventBusName); err != nil {
				return nil, err
			}
			return &eventbridge.DeleteRuleOutput{}, c.DeleteRule(aws.ToString(in.Name))
		}),
	"EnableRule": on("Name EventBusName",
		func(c *cloud.Cloud, in *eventbridge.EnableRuleInput) (*eventbridge.EnableRuleOutput, error) {
			if err := checkBus(in.EventBusName); err != nil {
				return nil, err
			}
			return &eventbridge.EnableRuleOutput{}, c.EnableRule(aws.ToString(in.Name))
		}),
	"DisableRule": on("Name EventBusName",
		func(c *cloud.Cloud, in *eventbridge.DisableRuleInput) (*eventbridge.DisableRuleOutput, error) {
			if err := checkBus(in.EventBusName); err != nil {
				return nil, err
			}
			return &eventbridge.DisableRuleOutput{}, c.DisableRule(aws.ToString(in.Name))
		}),
	"PutTargets": on("Rule EventBusName Targets.Id Targets.Arn Targets.DeadLetterConfig.Arn",
		func(c *cloud.Cloud, in *eventbridge.PutTargetsInput) (*eventbridge.PutTargetsOutput, error) {
			if err := checkBus(in.EventBusName); err != nil {
				return nil, err
			}
			err := c.PutTargets(aws.ToString(in.Rule), list(in.Targets, readRuleTarget))
			return &eventbridge.PutTargetsOutput{FailedEntries: []types.PutTargetsResultEntry{}}, err
		}),
	"ListTargetsByRule": on("Rule EventBusName Limit NextToken",
		func(c *cloud.Cloud, in *eventbridge.ListTargetsByRuleInput) (*eventbridge.ListTargetsByRuleOutput, error) {
			if err := checkBus(in.EventBusName); err != nil {
				return nil, err
			}
			all, err := c.ListTargetsByRule(aws.ToString(in.Rule))
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(t cloud.RuleTarget) string { return t.ID }, in.NextToken, in.Limit, 100, 100)
			return &eventbridge.ListTargetsByRuleOutput{Targets: orEmpty(list(shown, showRuleTarget)), NextToken: next}, err
		}),
	"RemoveTargets": on("Rule EventBusName Ids Force",
		func(c *cloud.Cloud, in *eventbridge.RemoveTargetsInput) (*eventbridge.RemoveTargetsOutput, error) {
			if err := checkBus(in.EventBusName); err != nil {
				return nil, err
			}
			return &eventbridge.RemoveTargetsOutput{FailedEntries: []types.RemoveTargetsResultEntry{}}, c.RemoveTargets(aws.ToString(in.Rule), in.Ids)
		}),
	"ListRuleNamesByTarget": on("TargetArn EventBusName Limit NextToken",
		func(c *cloud.Cloud, in *eventbridge.ListRuleNamesByTargetInput) (*eventbridge.ListRuleNamesByTargetOutput, error) {
			if err := checkBus(in.EventBusName); err != nil {
				return nil, err
			}
			all, err := c.ListRuleNamesByTarget(aws.ToString(in.TargetArn))
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(name string) string { return name }, in.NextToken, in.Limit, 100, 100)
			return &eventbridge.ListRuleNamesByTargetOutput{RuleNames: orEmpty(shown), NextToken: next}, err
		}),
	"PutEvents": on("Entries.Source Entries.DetailType Entries.Detail Entries.Resources Entries.Time Entries.EventBusName", putEvents),
	"TagResource": on("ResourceARN Tags",
		func(c *cloud.Cloud, in *eventbridge.TagResourceInput) (*eventbridge.TagResourceOutput, error) {
			return &eventbridge.TagResourceOutput{}, c.TagResource(aws.ToString(in.ResourceARN), readRuleTags(in.Tags))
		}),
	"UntagResource": on("ResourceARN TagKeys",
		func(c *cloud.Cloud, in *eventbridge.UntagResourceInput) (*eventbridge.UntagResourceOutput, error) {
			return &eventbridge.UntagResourceOutput{}, c.UntagResource(aws.ToString(in.ResourceARN), in.TagKeys)
		}),
	"ListTagsForResource": on("ResourceARN",
		func(c *cloud.Cloud, in *eventbridge.ListTagsForResourceInput) (*eventbridge.ListTagsForResourceOutput, error) {
			tags, err := c.ListTagsForResource(aws.ToString(in.ResourceARN))
			return &eventbridge.ListTagsForResourceOutput{Tags: orEmpty(list(sortedKeys(tags), func(k string) types.Tag { return types.Tag{Key: &k, Value: new(tags[k])} }))}, err
		}),
}

// checkBus refuses every bus but the default one, which may be named or not, or by its ARN.
func checkBus(name *string) error {
	if n := aws.ToString(name); n != "" && n != defaultBus && !strings.HasSuffix(n, ":event-bus/"+defaultBus) {
		return &cloud.Error{Code: "ResourceNotFoundException", Message: "Event bus " + n + " does not exist.", Status: 400}
	}
	return nil
}

func putEvents(c *cloud.Cloud, in *eventbridge.PutEventsInput) (*eventbridge.PutEventsOutput, error) {
	for _, e := range in.Entries {
		if err := checkBus(e.EventBusName); err != nil {
			return nil, err
		}
	}
	ids, failed, err := c.PutEvents(list(in.Entries, func(e types.PutEventsRequestEntry) cloud.EventEntry {
		return cloud.EventEntry{
			Source: aws.ToString(e.Source), DetailType: aws.ToString(e.DetailType), Detail: aws.ToString(e.Detail), Resources: e.Resources, Time: aws.ToTime(e.Time),
		}
	}))
	out := &eventbridge.PutEventsOutput{Entries: []types.PutEventsResultEntry{}}
	for i, id := range ids {
		var known *cloud.Error
		if errors.As(failed[i], &known) {
			out.FailedEntryCount++
			out.Entries = append(out.Entries, types.PutEventsResultEntry{ErrorCode: &known.Code, ErrorMessage: &known.Message})
			continue
		}
		out.Entries = append(out.Entries, types.PutEventsResultEntry{EventId: &id})
	}
	return out, err
}

func readRuleTags(all []types.Tag) map[string]string {
	tags := map[string]string{}
	for _, t := range all {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return tags
}

func readRuleTarget(t types.Target) cloud.RuleTarget {
	out := cloud.RuleTarget{ID: aws.ToString(t.Id), ARN: aws.ToString(t.Arn)}
	if t.DeadLetterConfig != nil {
		out.DeadLetter = aws.ToString(t.DeadLetterConfig.Arn)
	}
	return out
}

func showRuleTarget(t cloud.RuleTarget) types.Target {
	out := types.Target{Id: &t.ID, Arn: &t.ARN}
	if t.DeadLetter != "" {
		out.DeadLetterConfig = &types.DeadLetterConfig{Arn: &t.DeadLetter}
	}
	return out
}

func showRule(r cloud.Rule) types.Rule {
	return types.Rule{Arn: &r.ARN, Name: &r.Name, EventPattern: &r.Pattern, Description: optional(r.Description), State: types.RuleState(r.State), EventBusName: new(defaultBus)}
}
