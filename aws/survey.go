package aws

import (
	"context"
	"maps"
	"slices"
	"time"

	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"drover.dev/fleet"
)

// How long an answer of Elastic Load Balancing stands. It refills about ten DescribeTargetHealth calls a second for the whole account, shared
// with the controllers that register targets, and a region may have hundreds of target groups: asking all of them in every tick would starve
// others.
const (
	// surveyEvery is how often all target groups are asked which instances they hold. Those that hold instances of the asked groups are asked
	// in every tick, so only a target group that nothing of those groups was in goes unnoticed, for so long at most.
	surveyEvery = time.Minute
	// podsEvery is how old the word of target groups of pods may be. It may find a pod healthy a little late, or its target draining.
	podsEvery = 10 * time.Second
)

// survey is which targets every target group of instances held when all were asked, and what those asked since held besides.
type survey struct {
	at    time.Time
	holds map[string]map[string]bool // target ids, by ARN
	seen  map[string]time.Time       // instances of asked groups for which there was a survey, and when they last were in one
	told  health                     // by ARN, as last answered
	owed  map[string]bool            // ARNs that did not answer when they were asked
}

// pods is what the target groups of pods last said.
type pods struct {
	at   time.Time
	told health
}

// instanceHealth asks the target groups that matter to these groups: those attached to them, and those that hold their instances. From time to
// time, and when an instance is new, it asks all of them. Those that are silent have what they said last.
func (c *Cloud) instanceHealth(ctx context.Context, groups []fleet.Group, attached []string) (told health, silent []string, err error) {
	now := c.now()
	c.mu.Lock()
	asked, due := c.surveyed.relevant(groups), now.Sub(c.surveyed.at) >= surveyEvery || c.surveyed.lacks(groups)
	c.mu.Unlock()
	if due {
		all, listed, err := c.listTargetGroups(ctx)
		if err != nil {
			return nil, nil, err
		}
		if due = listed; listed {
			asked = all
		}
	}
	asked = slices.Concat(asked, attached)
	slices.Sort(asked)
	asked = slices.Compact(asked)
	silent = asked
	_, err = c.aside(ctx, "whether instances are out of their load balancers", "elasticloadbalancing:DescribeTargetHealth", func(ctx context.Context) (err error) {
		told, silent, err = c.healthOf(ctx, asked)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if due {
		c.surveyed.begin(now, asked, groups)
	}
	return c.surveyed.take(asked, told, silent, due), silent, nil
}

func (c *Cloud) listTargetGroups(ctx context.Context) (arns []string, listed bool, err error) {
	listed, err = c.aside(ctx, "which target groups there are", "elasticloadbalancing:DescribeTargetGroups", func(ctx context.Context) (err error) {
		arns, err = c.targetGroups(ctx, elbtypes.TargetTypeEnumInstance)
		return err
	})
	return arns, listed, err
}

// begin makes room for a new survey of what is asked now.
func (s *survey) begin(now time.Time, asked []string, groups []fleet.Group) {
	s.at = now
	among := map[string]bool{}
	for _, arn := range asked {
		among[arn] = true
	}
	maps.DeleteFunc(s.holds, func(arn string, _ map[string]bool) bool { return !among[arn] })
	maps.DeleteFunc(s.told, func(arn string, _ []elbtypes.TargetHealthDescription) bool { return !among[arn] })
	maps.DeleteFunc(s.owed, func(arn string, _ bool) bool { return !among[arn] })
	for _, g := range groups {
		for _, in := range g.Instances {
			s.seen[in.ID] = now
		}
	}
}

// take notes what was told, and puts what was said last in the place of silence. Unless the survey is anew, no target is taken off: where old instances
// were, new ones come.
func (s *survey) take(asked []string, told health, silent []string, anew bool) health {
	for _, arn := range silent {
		s.owed[arn] = true
	}
	out := health{}
	for _, arn := range asked {
		targets, there := told[arn]
		switch {
		case slices.Contains(silent, arn):
			targets, there = s.told[arn]
		case !there:
			delete(s.owed, arn)
			delete(s.told, arn)
			delete(s.holds, arn)
		default:
			delete(s.owed, arn)
			s.told[arn] = targets
			s.hold(arn, targets, anew)
		}
		if there {
			out[arn] = targets
		}
	}
	return out
}

func (s *survey) hold(arn string, targets []elbtypes.TargetHealthDescription, anew bool) {
	if anew || s.holds[arn] == nil {
		s.holds[arn] = map[string]bool{}
	}
	for _, d := range targets {
		s.holds[arn][targetID(d)] = true
	}
}

// relevant lists the target groups that held an instance of these groups, and those that have not said.
func (s *survey) relevant(groups []fleet.Group) []string {
	out := slices.Collect(maps.Keys(s.owed))
	for arn, ids := range s.holds {
		if slices.ContainsFunc(groups, func(g fleet.Group) bool {
			return slices.ContainsFunc(g.Instances, func(in fleet.Instance) bool { return ids[in.ID] })
		}) {
			out = append(out, arn)
		}
	}
	return out
}

// lacks tells whether these groups have an instance that no survey was made for.
func (s *survey) lacks(groups []fleet.Group) bool {
	return slices.ContainsFunc(groups, func(g fleet.Group) bool {
		return slices.ContainsFunc(g.Instances, func(in fleet.Instance) bool { return s.seen[in.ID].IsZero() })
	})
}

// podHealth is what all target groups of pods say, or said a moment ago. Those that are silent have what they said last.
func (c *Cloud) podHealth(ctx context.Context) (health, error) {
	now := c.now()
	c.mu.Lock()
	last := c.pods
	c.mu.Unlock()
	if last.told != nil && now.Sub(last.at) < podsEvery {
		return maps.Clone(last.told), nil
	}
	told := maps.Clone(last.told)
	answered, err := c.aside(ctx, "which pods are targets", "elasticloadbalancing:DescribeTargetGroups and elasticloadbalancing:DescribeTargetHealth", func(ctx context.Context) error {
		arns, err := c.targetGroups(ctx, elbtypes.TargetTypeEnumIp)
		if err != nil {
			return err
		}
		var silent []string
		told, silent, err = c.healthOf(ctx, arns)
		for _, arn := range silent {
			if targets, ok := last.told[arn]; ok {
				told[arn] = targets
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if answered {
		last.at = now
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods = pods{last.at, told}
	return maps.Clone(told), nil
}
