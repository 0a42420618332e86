package cloud

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Rule is a rule of the default event bus.
type Rule struct {
	Name, ARN, Pattern, Description string
	State                           string // RuleEnabled, which an empty one is taken for, or RuleDisabled
}

const (
	RuleEnabled  = "ENABLED"
	RuleDisabled = "DISABLED"
)

// RuleTarget is a queue that a rule sends to; DeadLetter is the ARN of the one for what cannot be delivered, if any.
type RuleTarget struct{ ID, ARN, DeadLetter string }

type rule struct {
	Rule
	tags    map[string]string
	targets []RuleTarget // by id
	match   matcher
}

// maxTargets is AWS's quota of targets of one rule.
const maxTargets = 5

var (
	ruleName = regexp.MustCompile(`^[.\-_A-Za-z0-9]{1,64}$`)
	queueARN = regexp.MustCompile(`^arn:aws[a-z-]*:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,80}$`)
)

func invalidEvent(format string, args ...any) error {
	return refuse("ValidationException", format, args...)
}

func (c *Cloud) rule(name string) (*rule, error) {
	if r, ok := c.post.rules[name]; ok {
		return r, nil
	}
	return nil, refuse("ResourceNotFoundException", "Rule %s does not exist on EventBus default.", name)
}

func (c *Cloud) onRule(action, name string, f func(*rule) error) error {
	return c.write(action, func() error {
		r, err := c.rule(name)
		if err != nil {
			return err
		}
		return f(r)
	})
}

// PutRule makes a rule or replaces all of one but its targets and tags.
func (c *Cloud) PutRule(r Rule, tags map[string]string) (arn string, err error) {
	err = c.write("events:PutRule", func() error {
		r.State = cmp.Or(r.State, RuleEnabled)
		switch {
		case !ruleName.MatchString(r.Name):
			return invalidEvent(`1 validation error detected: Value '%s' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_A-Za-z0-9]+`, r.Name)
		case r.State != RuleEnabled && r.State != RuleDisabled:
			return NotSimulated("State "+r.State, "PutRule")
		case r.Pattern == "":
			return invalidEvent("Parameter(s) EventPattern or ScheduleExpression must be specified.")
		}
		match, err := readPattern(r.Pattern)
		if err != nil {
			return err
		}
		r.ARN = c.arn("events", "rule/"+r.Name)
		arn = r.ARN
		if old, ok := c.post.rules[r.Name]; ok {
			old.Rule, old.match = r, match
			return nil
		}
		c.post.rules[r.Name] = &rule{Rule: r, tags: maps.Clone(tags), match: match}
		return nil
	})
	return arn, err
}

// DescribeRule returns one rule.
func (c *Cloud) DescribeRule(name string) (out Rule, err error) {
	err = c.onRule("events:DescribeRule", name, func(r *rule) error {
		out = r.Rule
		return nil
	})
	return out, err
}

// ListRules returns the rules whose name begins with prefix, by name.
func (c *Cloud) ListRules(prefix string) (out []Rule, err error) {
	err = c.write("events:ListRules", func() error {
		for _, name := range slices.Sorted(maps.Keys(c.post.rules)) {
			if strings.HasPrefix(name, prefix) {
				out = append(out, c.post.rules[name].Rule)
			}
		}
		return nil
	})
	return out, err
}

// DeleteRule removes a rule that has no targets. One that is not there is a success.
func (c *Cloud) DeleteRule(name string) error {
	return c.write("events:DeleteRule", func() error {
		if r, ok := c.post.rules[name]; ok && len(r.targets) > 0 {
			return invalidEvent("Rule can't be deleted since it has targets.")
		}
		delete(c.post.rules, name)
		return nil
	})
}

// EnableRule lets a rule match again.
func (c *Cloud) EnableRule(name string) error {
	return c.onRule("events:EnableRule", name, func(r *rule) error {
		r.State = RuleEnabled
		return nil
	})
}

// DisableRule stops a rule from matching; what it has matched is still delivered.
func (c *Cloud) DisableRule(name string) error {
	return c.onRule("events:DisableRule", name, func(r *rule) error {
		r.State = RuleDisabled
		return nil
	})
}

// PutTargets adds targets to a rule, or replaces those of the same id.
func (c *Cloud) PutTargets(name string, targets []RuleTarget) error {
	return c.onRule("events:PutTargets", name, func(r *rule) error {
		all := slices.Clone(r.targets)
		for _, t := range targets {
			switch {
			case !ruleName.MatchString(t.ID):
				return invalidEvent("1 validation error detected: Value '%s' at 'targets.1.member.id' failed to satisfy constraint", t.ID)
			case !queueARN.MatchString(t.ARN):
				return NotSimulated("the target "+t.ARN, "PutTargets")
			case t.DeadLetter != "" && !queueARN.MatchString(t.DeadLetter):
				return invalidEvent("Parameter %s is not valid. Reason: Provided Arn is not in correct format.", t.DeadLetter)
			}
			all = append(slices.DeleteFunc(all, func(old RuleTarget) bool { return old.ID == t.ID }), t)
		}
		if len(all) > maxTargets {
			return refuse("LimitExceededException", "The requested resource exceeds the maximum number allowed.")
		}
		slices.SortFunc(all, func(a, b RuleTarget) int { return strings.Compare(a.ID, b.ID) })
		r.targets = all
		return nil
	})
}

// ListTargetsByRule returns a rule's targets, by id.
func (c *Cloud) ListTargetsByRule(name string) (out []RuleTarget, err error) {
	err = c.onRule("events:ListTargetsByRule", name, func(r *rule) error {
		out = slices.Clone(r.targets)
		return nil
	})
	return out, err
}

// RemoveTargets takes targets from a rule; those that it does not have are no error.
func (c *Cloud) RemoveTargets(name string, ids []string) error {
	return c.onRule("events:RemoveTargets", name, func(r *rule) error {
		r.targets = slices.DeleteFunc(slices.Clone(r.targets), func(t RuleTarget) bool { return slices.Contains(ids, t.ID) })
		return nil
	})
}

// ListRuleNamesByTarget returns the names of the rules that send to a target.
func (c *Cloud) ListRuleNamesByTarget(arn string) (out []string, err error) {
	err = c.write("events:ListRuleNamesByTarget", func() error {
		for _, name := range slices.Sorted(maps.Keys(c.post.rules)) {
			if slices.ContainsFunc(c.post.rules[name].targets, func(t RuleTarget) bool { return t.ARN == arn }) {
				out = append(out, name)
			}
		}
		return nil
	})
	return out, err
}

func (c *Cloud) onTagged(action, arn string, f func(tags map[string]string)) error {
	return c.write(action, func() error {
		_, name, _ := strings.Cut(arn, ":rule/")
		r, ok := c.post.rules[name]
		if !ok || r.ARN != arn {
			return refuse("ResourceNotFoundException", "Rule %s does not exist on EventBus default.", name)
		}
		if r.tags == nil {
			r.tags = map[string]string{}
		}
		f(r.tags)
		return nil
	})
}

// TagResource sets tags on a rule.
func (c *Cloud) TagResource(arn string, tags map[string]string) error {
	return c.onTagged("events:TagResource", arn, func(all map[string]string) { maps.Copy(all, tags) })
}

// UntagResource removes tags of a rule by key.
func (c *Cloud) UntagResource(arn string, keys []string) error {
	return c.onTagged("events:UntagResource", arn, func(all map[string]string) {
		maps.DeleteFunc(all, func(k, _ string) bool { return slices.Contains(keys, k) })
	})
}

// ListTagsForResource returns a rule's tags.
func (c *Cloud) ListTagsForResource(arn string) (tags map[string]string, err error) {
	err = c.onTagged("events:ListTagsForResource", arn, func(all map[string]string) { tags = maps.Clone(all) })
	return tags, err
}
