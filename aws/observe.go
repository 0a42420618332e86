package aws

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"drover.dev/fleet"
)

// AWS's limits on what one call may name.
const (
	namesAtOnce     = 50
	templatesAtOnce = 200
	instancesAtOnce = 200
)

// Groups returns the named groups that exist, or all of them when no name is given. A managed node group goes by its own name and answers to
// that of its Auto Scaling group, too; by its own name it is found even without such a group. A group that cannot be read in full has its Trouble.
// With Notices only the list of groups itself is needed: what other services do not say is a gap, and what they said last stands.
func (c *Cloud) Groups(ctx context.Context, names []string) ([]fleet.Group, error) {
	all, err := c.find(ctx, names)
	if err != nil {
		return nil, err
	}
	defer c.forget()
	var own []found
	var out []fleet.Group
	for i := range all {
		if c.foreign(&all[i]) {
			out = append(out, c.stranger(&all[i]))
			continue
		}
		own = append(own, all[i])
	}
	groups, err := c.observe(ctx, own)
	if err != nil {
		return nil, err
	}
	out = append(out, groups...)
	slices.SortFunc(out, func(a, b fleet.Group) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// foreign tells whether a group is tagged with another cluster than the one that this is done for.
func (c *Cloud) foreign(f *found) bool {
	owner := f.owner()
	return c.Notices && c.Cluster != "" && owner != "" && owner != c.Cluster
}

// stranger is another cluster's group: what Auto Scaling says of it.
func (c *Cloud) stranger(f *found) fleet.Group {
	g := c.group(f)
	if f.nodegroup != "" {
		m := managedAs(f)
		g.Managed = &m
	}
	return g
}

// observe asks about groups all that there is to know.
func (c *Cloud) observe(ctx context.Context, groups []found) ([]fleet.Group, error) {
	if err := c.learnBirths(ctx, groups); err != nil {
		return nil, err
	}
	if c.Notices {
		if err := c.learnManaged(ctx, groups); err != nil {
			return nil, err
		}
	}
	var out []fleet.Group
	var attached [][]string
	known := newAdvice()
	for i := range groups {
		f := &groups[i]
		g := c.group(f)
		switch {
		case f.nodegroup == "":
		case c.Notices && f.bare == nil:
			g.Managed = c.lastManaged(f)
		default:
			c.manage(ctx, &g, f, known)
		}
		out, attached = append(out, g), append(attached, f.raw.TargetGroupARNs)
	}
	if err := c.observeTargets(ctx, out, attached); err != nil {
		return nil, err
	}
	if err := c.resolve(ctx, out); err != nil {
		return nil, err
	}
	if !c.Notices {
		return out, nil
	}
	for i := range groups {
		if err := c.observePool(ctx, &groups[i], &out[i]); err != nil {
			return nil, err
		}
	}
	return out, c.observeNotices(ctx, out)
}

func (c *Cloud) describeGroups(ctx context.Context, names []string) ([]astypes.AutoScalingGroup, error) {
	chunks := [][]string{nil} // no name: all groups
	if len(names) > 0 {
		chunks = slices.Collect(slices.Chunk(names, namesAtOnce))
	}
	var out []astypes.AutoScalingGroup
	for _, some := range chunks {
		pages := autoscaling.NewDescribeAutoScalingGroupsPaginator(c.scaling, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: some})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, doing("describe Auto Scaling groups", err)
			}
			out = append(out, page.AutoScalingGroups...)
		}
	}
	return out, nil
}

// GroupOf returns the name of the group that an instance belongs to; "" when it belongs to none.
func (c *Cloud) GroupOf(ctx context.Context, instance string) (string, error) {
	out, err := c.scaling.DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{instance}})
	if err != nil {
		return "", doing("ask which group "+instance+" belongs to", err)
	}
	for _, in := range out.AutoScalingInstances {
		groups, err := c.find(ctx, []string{sdk.ToString(in.AutoScalingGroupName)})
		if err != nil || len(groups) == 0 {
			return sdk.ToString(in.AutoScalingGroupName), err
		}
		return groups[0].name, nil
	}
	return "", nil
}

func (c *Cloud) group(f *found) fleet.Group {
	raw := &f.raw
	g := fleet.Group{
		Name: f.name, Zones: slices.Clone(raw.AvailabilityZones), Wants: wants(raw),
		Min: int(sdk.ToInt32(raw.MinSize)), Max: int(sdk.ToInt32(raw.MaxSize)), Desired: int(sdk.ToInt32(raw.DesiredCapacity)),
		Cluster: f.owner(), Retains: retains(raw),
	}
	slices.Sort(g.Zones)
	for _, p := range raw.SuspendedProcesses {
		g.Suspended = append(g.Suspended, sdk.ToString(p.ProcessName))
	}
	var err error
	if g.Mark, err = mark(raw); err != nil {
		trouble(&g, err.Error())
	}
	if g.Sleep, err = sleepMark(raw); err != nil {
		trouble(&g, err.Error())
	}
	for i := range raw.Instances {
		g.Instances = append(g.Instances, c.instance(&raw.Instances[i]))
	}
	fleet.SortInstances(g.Instances)
	if f.bare != nil {
		return g
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scalings[g.Name] = scaling{sdk.ToString(raw.AutoScalingGroupName), c.now()}
	return g
}

// trouble notes what keeps a group from being read in full. The first reason is told.
func trouble(g *fleet.Group, why string) { g.Trouble = cmp.Or(g.Trouble, why) }

// mark reads drover's journal off a group; nil when there is none.
func mark(raw *astypes.AutoScalingGroup) (*fleet.GroupMark, error) {
	for _, t := range raw.Tags {
		if sdk.ToString(t.Key) != markTag {
			continue
		}
		m, err := fleet.ParseGroupMark(sdk.ToString(t.Value))
		if err != nil {
			return nil, fmt.Errorf("tag %s: %w; read it, put the group back by hand, then delete the tag", markTag, err)
		}
		return m, nil
	}
	return nil, nil
}

func (c *Cloud) instance(raw *astypes.Instance) fleet.Instance {
	in := fleet.Instance{
		ID: sdk.ToString(raw.InstanceId), Zone: sdk.ToString(raw.AvailabilityZone), Type: sdk.ToString(raw.InstanceType),
		Lifecycle: string(raw.LifecycleState), Protected: sdk.ToBool(raw.ProtectedFromScaleIn),
		Template: fleet.Template{Configuration: sdk.ToString(raw.LaunchConfigurationName)},
	}
	if lt := raw.LaunchTemplate; lt != nil {
		in.Template = template(lt)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	in.Launched, in.Spot = c.met[in.ID].at, c.met[in.ID].spot
	return in
}

// template reads a launch template specification. Its version may still be $Latest or $Default; resolve makes it a number.
func template(lt *astypes.LaunchTemplateSpecification) fleet.Template {
	return fleet.Template{ID: sdk.ToString(lt.LaunchTemplateId), Name: sdk.ToString(lt.LaunchTemplateName), Version: cmp.Or(sdk.ToString(lt.Version), "$Default")}
}

// wants lists what the group launches from. Under a mixed instances policy each override with a template of its own adds one, limited to
// its type; the policy's own template speaks for the overrides without, and alone when there are no overrides.
func wants(raw *astypes.AutoScalingGroup) []fleet.Template {
	switch {
	case raw.LaunchConfigurationName != nil:
		return []fleet.Template{{Configuration: *raw.LaunchConfigurationName}}
	case raw.LaunchTemplate != nil:
		return []fleet.Template{template(raw.LaunchTemplate)}
	case raw.MixedInstancesPolicy == nil || raw.MixedInstancesPolicy.LaunchTemplate == nil || raw.MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification == nil:
		return nil
	}
	base := template(raw.MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification)
	overrides := raw.MixedInstancesPolicy.LaunchTemplate.Overrides
	if len(overrides) == 0 {
		return []fleet.Template{base}
	}
	var out []fleet.Template
	for _, o := range overrides {
		t := base
		if o.LaunchTemplateSpecification != nil {
			t = template(o.LaunchTemplateSpecification)
		}
		if o.InstanceType != nil {
			t.Types = []string{*o.InstanceType}
		}
		out = append(out, t)
	}
	return out
}

// resolve turns $Latest and $Default into version numbers and fills in names, so that templates can be compared.
func (c *Cloud) resolve(ctx context.Context, groups []fleet.Group) error {
	open := map[string]bool{}
	for _, g := range groups {
		for _, w := range g.Wants {
			if w.ID != "" && (symbolic(w.Version) || w.Name == "") {
				open[w.ID] = true
			}
		}
	}
	found, why, err := c.learnTemplates(ctx, slices.Sorted(maps.Keys(open)))
	if err != nil {
		return err
	}
	for i := range groups {
		for j := range groups[i].Wants {
			w := &groups[i].Wants[j]
			v, ok := found[w.ID]
			if open[w.ID] && !ok {
				trouble(&groups[i], fmt.Sprintf("%s, from which it launches, %s", w, why))
			}
			v.fill(w)
		}
	}
	return nil
}

// learnTemplates describes launch templates, or says what it knows since EC2 last answered, and why it knows no more.
func (c *Cloud) learnTemplates(ctx context.Context, ids []string) (found map[string]versions, why string, err error) {
	found = map[string]versions{}
	answered, err := c.aside(ctx, "the versions of launch templates", "ec2:DescribeLaunchTemplates", func(ctx context.Context) error {
		for some := range slices.Chunk(ids, templatesAtOnce) {
			if err := c.describeTemplates(ctx, some, found); err != nil {
				return err
			}
		}
		return nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if answered {
		c.templates = maps.Clone(found)
		return found, "does not exist any more", nil
	}
	last := maps.Clone(c.templates)
	if last == nil {
		last = map[string]versions{}
	}
	maps.Copy(last, found)
	return last, "could not be described", err
}

// describeTemplates adds what it finds. AWS answers nothing at all when one of the ids is unknown; halving what was asked leaves those out.
func (c *Cloud) describeTemplates(ctx context.Context, ids []string, found map[string]versions) error {
	pages := ec2.NewDescribeLaunchTemplatesPaginator(c.ec2, &ec2.DescribeLaunchTemplatesInput{LaunchTemplateIds: ids})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		switch {
		case codeIs(err, "InvalidLaunchTemplateId.NotFound") && len(ids) == 1:
			return nil
		case codeIs(err, "InvalidLaunchTemplateId.NotFound"):
			half := len(ids) / 2
			if err := c.describeTemplates(ctx, ids[:half], found); err != nil {
				return err
			}
			return c.describeTemplates(ctx, ids[half:], found)
		case err != nil:
			return doing(fmt.Sprintf("resolve launch templates %v", ids), err)
		}
		for _, lt := range page.LaunchTemplates {
			found[sdk.ToString(lt.LaunchTemplateId)] = versions{sdk.ToString(lt.LaunchTemplateName), sdk.ToInt64(lt.LatestVersionNumber), sdk.ToInt64(lt.DefaultVersionNumber)}
		}
	}
	return nil
}

func symbolic(version string) bool { return version == "$Latest" || version == "$Default" }

type versions struct {
	name            string
	latest, current int64
}

func (v versions) fill(t *fleet.Template) {
	if v.latest == 0 {
		return // not asked for, or not found
	}
	t.Name = cmp.Or(v.name, t.Name)
	switch t.Version {
	case "$Latest":
		t.Version = strconv.FormatInt(v.latest, 10)
	case "$Default":
		t.Version = strconv.FormatInt(v.current, 10)
	}
}

// learnBirths asks EC2 for instances not seen before: Auto Scaling does not say when it launched them, nor whether on spot.
func (c *Cloud) learnBirths(ctx context.Context, groups []found) error {
	now, unknown := c.now(), []string(nil)
	c.mu.Lock()
	for _, g := range groups {
		for _, in := range g.raw.Instances {
			id := sdk.ToString(in.InstanceId)
			b, ok := c.met[id]
			if !ok {
				unknown = append(unknown, id)
				continue
			}
			b.seen = now
			c.met[id] = b
		}
	}
	c.mu.Unlock()
	_, err := c.aside(ctx, "when instances were launched, and which are spot", "ec2:DescribeInstances", func(ctx context.Context) error {
		return c.describeInstances(ctx, unknown, func(in *ec2types.Instance) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.met[sdk.ToString(in.InstanceId)] = birth{sdk.ToTime(in.LaunchTime), in.InstanceLifecycle == ec2types.InstanceLifecycleTypeSpot, now}
		})
	})
	return err
}

// describeInstances asks by filter: an instance that EC2 does not know, or not yet, is left out of the answer, where by id it would spoil all of it.
func (c *Cloud) describeInstances(ctx context.Context, ids []string, each func(*ec2types.Instance)) error {
	for some := range slices.Chunk(ids, instancesAtOnce) {
		pages := ec2.NewDescribeInstancesPaginator(c.ec2, &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{{Name: sdk.String("instance-id"), Values: some}}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return doing("describe instances", err)
			}
			for _, r := range page.Reservations {
				for i := range r.Instances {
					each(&r.Instances[i])
				}
			}
		}
	}
	return nil
}
