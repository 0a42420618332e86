package aws

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"drover.dev/fleet"
)

// healthAtOnce bounds how many target groups are asked about at the same time; the SDK's retries bear it when that is too many.
const healthAtOnce = 8

// settingsEvery is how old a target group's settings may be: somebody may change its deregistration delay.
const settingsEvery = 10 * time.Minute

// health is what target groups say of their targets, by ARN. A target group that is gone is not in it.
type health map[string][]elbtypes.TargetHealthDescription

// settings are those of a target group. One that is gone has none.
type settings struct {
	at, seen time.Time
	group    fleet.TargetGroup
	gone     bool
}

// observeTargets fills the state of every instance in every target group that knows it: those attached to its group, and those where somebody
// else registers it, which is what controllers in the cluster do. attached are the groups' ARNs, in the order of groups. A target group that
// holds one of the instances is as fresh as the call; see surveyEvery for one into which the first of them was only just registered.
func (c *Cloud) observeTargets(ctx context.Context, groups []fleet.Group, attached [][]string) error {
	if !slices.ContainsFunc(groups, func(g fleet.Group) bool { return len(g.Instances) > 0 }) && len(slices.Concat(attached...)) == 0 {
		return nil // nobody could be registered anywhere
	}
	told, silent, err := c.instanceHealth(ctx, groups, slices.Concat(attached...))
	if err != nil {
		return err
	}
	var places [][]string
	for i := range groups {
		places = append(places, placesOf(&groups[i], attached[i], told, silent))
	}
	if err := c.learnSettings(ctx, slices.Concat(places...)); err != nil {
		return err
	}
	for i := range groups {
		for _, arn := range places[i] {
			c.placeTarget(&groups[i], arn, told, !slices.Contains(attached[i], arn))
		}
	}
	return nil
}

// placesOf lists the target groups that concern a group. One that did not answer may still be there.
func placesOf(g *fleet.Group, attached []string, told health, silent []string) []string {
	var out []string
	for _, arn := range attached {
		if _, ok := told[arn]; !ok && !slices.Contains(silent, arn) {
			trouble(g, fmt.Sprintf("target group %s, which is attached to it, does not exist any more", arn))
			continue
		}
		out = append(out, arn)
	}
	for _, arn := range slices.Sorted(maps.Keys(told)) {
		if !slices.Contains(attached, arn) && slices.ContainsFunc(told[arn], func(d elbtypes.TargetHealthDescription) bool { return g.Instance(targetID(d)) != nil }) {
			out = append(out, arn)
		}
	}
	return out
}

func (c *Cloud) placeTarget(g *fleet.Group, arn string, told health, loose bool) {
	tg, ok := c.targetGroup(arn)
	if !ok {
		return
	}
	tg.Loose = loose
	g.Targets = append(g.Targets, tg)
	for _, d := range told[arn] {
		if in := g.Instance(targetID(d)); in != nil {
			in.Targets = addTarget(in.Targets, arn, targetState(d))
		}
	}
}

// Targets returns the state of every target that is an IP address, which is how pods are targets, by that address, and the target groups
// they are in. It may be as old as podsEvery.
func (c *Cloud) Targets(ctx context.Context) (map[string][]fleet.Target, []fleet.TargetGroup, error) {
	told, err := c.podHealth(ctx)
	if err != nil {
		return nil, nil, err
	}
	arns := slices.Sorted(maps.Keys(told))
	if err := c.learnSettings(ctx, arns); err != nil {
		return nil, nil, err
	}
	byIP := map[string][]fleet.Target{}
	var groups []fleet.TargetGroup
	for _, arn := range arns {
		tg, ok := c.targetGroup(arn)
		if !ok {
			continue
		}
		groups = append(groups, tg)
		for _, d := range told[arn] {
			if state := targetState(d); state != fleet.TargetUnused {
				byIP[targetID(d)] = addTarget(byIP[targetID(d)], arn, state)
			}
		}
	}
	return byIP, groups, nil
}

func targetID(d elbtypes.TargetHealthDescription) string {
	if d.Target == nil {
		return ""
	}
	return sdk.ToString(d.Target.Id)
}

func targetState(d elbtypes.TargetHealthDescription) string {
	if d.TargetHealth == nil {
		return fleet.TargetUnused
	}
	return string(d.TargetHealth.State)
}

// addTarget notes a state. A target registered under several ports is as far as the port that is least healthy.
func addTarget(to []fleet.Target, arn, state string) []fleet.Target {
	if state == fleet.TargetUnused {
		return to
	}
	for i := range to {
		if to[i].Group == arn {
			if to[i].State == fleet.TargetHealthy {
				to[i].State = state
			}
			return to
		}
	}
	return append(to, fleet.Target{Group: arn, State: state})
}

// targetGroups lists the region's target groups of a type, by ARN.
func (c *Cloud) targetGroups(ctx context.Context, kind elbtypes.TargetTypeEnum) ([]string, error) {
	var out []string
	pages := elb.NewDescribeTargetGroupsPaginator(c.elb, &elb.DescribeTargetGroupsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, doing("list target groups", err)
		}
		for _, tg := range page.TargetGroups {
			if tg.TargetType == kind {
				out = append(out, sdk.ToString(tg.TargetGroupArn))
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// healthOf asks target groups about their targets, some at a time, and tells also which did not answer. The first error ends it; with Notices only one after
// which asking on is no use.
func (c *Cloud) healthOf(ctx context.Context, arns []string) (told health, silent []string, err error) {
	var mu sync.Mutex
	told = health{}
	answered := map[string]bool{}
	var trouble error
	err = someAtATime(ctx, healthAtOnce, arns, func(ctx context.Context, arn string) error {
		targets, there, err := c.describeHealth(ctx, arn)
		if err != nil && (!c.Notices || stops(err)) {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if there {
			told[arn] = targets
		}
		answered[arn] = err == nil
		trouble = cmp.Or(trouble, err)
		return nil
	})
	for _, arn := range arns {
		if !answered[arn] {
			silent = append(silent, arn)
		}
	}
	return told, silent, cmp.Or(err, trouble)
}

// someAtATime asks about each name, so many at the same time. The first error ends it.
func someAtATime(ctx context.Context, atOnce int, names []string, ask func(context.Context, string) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var work sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for _, name := range names {
		free <- struct{}{}
		work.Go(func() {
			defer func() { <-free }()
			if err := ask(ctx, name); err != nil {
				stop(err)
			}
		})
	}
	work.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// describeHealth tells also whether the target group is still there.
func (c *Cloud) describeHealth(ctx context.Context, arn string) (targets []elbtypes.TargetHealthDescription, there bool, err error) {
	out, err := c.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: &arn})
	switch {
	case codeIs(err, "TargetGroupNotFound"):
		return nil, false, nil
	case err != nil:
		return nil, false, doing("describe targets of "+arn, err)
	}
	return out.TargetHealthDescriptions, true, nil
}

// learnSettings reads the settings of target groups that it does not know, or not since a while.
func (c *Cloud) learnSettings(ctx context.Context, arns []string) error {
	asked := c.unsettled(arns)
	_, err := c.aside(ctx, "the settings of target groups", "elasticloadbalancing:DescribeTargetGroups and elasticloadbalancing:DescribeTargetGroupAttributes", func(ctx context.Context) error {
		return someAtATime(ctx, healthAtOnce, asked, func(ctx context.Context, arn string) error {
			tg, err := c.describeTarget(ctx, arn)
			gone := codeIs(err, "TargetGroupNotFound") // deleted since its targets were described
			if err != nil && !gone {
				return doing("describe target group "+arn, err)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.targets[arn] = settings{c.now(), c.now(), tg, gone}
			return nil
		})
	})
	return err
}

// unsettled lists the target groups whose settings are to be read.
func (c *Cloud) unsettled(arns []string) []string {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	arns = slices.Compact(slices.Sorted(slices.Values(arns)))
	for _, arn := range arns {
		if s, ok := c.targets[arn]; ok {
			s.seen = now
			c.targets[arn] = s
		}
	}
	return due(arns, now, settingsEvery, func(arn string) time.Time {
		if s := c.targets[arn]; !s.gone {
			return s.at
		}
		return time.Time{}
	})
}

// targetGroup is what is known of a target group; of one whose settings could not be read AWS's usual ones. It is false of one that is gone.
func (c *Cloud) targetGroup(arn string) (fleet.TargetGroup, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.targets[arn]
	if !ok {
		return fleet.TargetGroup{ARN: arn, Name: arn, Delay: delayOf(nil)}, true
	}
	return s.group, !s.gone
}

func (c *Cloud) describeTarget(ctx context.Context, arn string) (fleet.TargetGroup, error) {
	tg := fleet.TargetGroup{ARN: arn, Name: arn}
	out, err := c.elb.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{TargetGroupArns: []string{arn}})
	if err != nil {
		return tg, err
	}
	for _, raw := range out.TargetGroups {
		tg.Name = cmp.Or(sdk.ToString(raw.TargetGroupName), arn)
		tg.Warmup = time.Duration(sdk.ToInt32(raw.HealthCheckIntervalSeconds)) * time.Second
		tg.IP = raw.TargetType == elbtypes.TargetTypeEnumIp
	}
	attrs, err := c.elb.DescribeTargetGroupAttributes(ctx, &elb.DescribeTargetGroupAttributesInput{TargetGroupArn: &arn})
	if err != nil {
		return tg, err
	}
	tg.Delay = delayOf(attrs.Attributes)
	return tg, nil
}

func delayOf(attrs []elbtypes.TargetGroupAttribute) time.Duration {
	for _, a := range attrs {
		if sdk.ToString(a.Key) == "deregistration_delay.timeout_seconds" {
			if n, err := strconv.Atoi(sdk.ToString(a.Value)); err == nil {
				return time.Duration(n) * time.Second
			}
		}
	}
	return 300 * time.Second // AWS's default
}

// register puts an instance back into a target group, under the port where the other targets are: a target group keeps no memory of those
// that left. Where the others do not agree, or there are none, it is the target group's own port.
func (c *Cloud) register(ctx context.Context, a fleet.Action) error {
	out, there, err := c.describeHealth(ctx, a.Target)
	if err != nil {
		return err
	}
	if !there {
		return &fleet.Refused{Reason: "the target group is gone"}
	}
	target := elbtypes.TargetDescription{Id: &a.Instance}
	ports := map[int32]bool{}
	for _, d := range out {
		switch state := targetState(d); {
		case d.Target == nil || targetID(d) != a.Instance:
		case state == fleet.TargetDraining:
			target.Port = d.Target.Port
		case state != fleet.TargetUnused:
			return nil
		}
		if d.Target != nil {
			ports[sdk.ToInt32(d.Target.Port)] = true
		}
	}
	if target.Port == nil && len(ports) == 1 {
		for port := range ports {
			target.Port = &port
		}
	}
	_, err = c.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: &a.Target, Targets: []elbtypes.TargetDescription{target}})
	if codeIs(err, "InvalidTarget") {
		return &fleet.Refused{Reason: "the load balancer does not take the instance: " + explain(err).Error()}
	}
	return err
}
