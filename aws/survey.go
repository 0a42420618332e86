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
	seen  map[string]bool            // instances of asked groups for which there was a survey
}

// pods is what the target groups of pods last said.
type pods struct {
	at   time.Time
	told health
}

// instanceHealth asks the target groups that matter to these groups: those attached to them, and those that hold their instances. From time to
// time, and when an instance is new, it asks all of them.
func (c *Cloud) instanceHealth(ctx context.Context, groups []fleet.Group, attached []string) (health, error) {
	now := c.now()
	c.mu.Lock()
	asked, due := c.surveyed.relevant(groups), now.Sub(c.surveyed.at) >= surveyEvery || c.surveyed.lacks(groups)
	c.mu.Unlock()
	if due {
		var err error
		if asked, err = c.targetGroups(ctx, elbtypes.TargetTypeEnumInstance); err != nil {
			return nil, err
		}
	}
	asked = slices.Concat(asked, attached)
	slices.Sort(asked)
	told, err := c.healthOf(ctx, slices.Compact(asked))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if due {
		c.surveyed.at, c.surveyed.holds = now, map[string]map[string]bool{}
		c.surveyed.see(groups)
	}
	c.surveyed.add(told)
	return told, nil
}

// relevant lists the target groups that held an instance of these groups.
func (s *survey) relevant(groups []fleet.Group) []string {
	var out []string
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
		return slices.ContainsFunc(g.Instances, func(in fleet.Instance) bool { return !s.seen[in.ID] })
	})
}

func (s *survey) see(groups []fleet.Group) {
	for _, g := range groups {
		for _, in := range g.Instances {
			s.seen[in.ID] = true
		}
	}
}

// add notes which targets are where. None is taken off before the next survey: where old instances were, new ones come.
func (s *survey) add(told health) {
	for arn, targets := range told {
		if s.holds[arn] == nil {
			s.holds[arn] = map[string]bool{}
		}
		for _, d := range targets {
			s.holds[arn][targetID(d)] = true
		}
	}
}

// podHealth is what all target groups of pods say, or said a moment ago.
func (c *Cloud) podHealth(ctx context.Context) (health, error) {
	now := c.now()
	c.mu.Lock()
	last := c.pods
	c.mu.Unlock()
	if last.told != nil && now.Sub(last.at) < podsEvery {
		return maps.Clone(last.told), nil
	}
	arns, err := c.targetGroups(ctx, elbtypes.TargetTypeEnumIp)
	if err != nil {
		return nil, err
	}
	told, err := c.healthOf(ctx, arns)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods = pods{now, told}
	return maps.Clone(told), nil
}
