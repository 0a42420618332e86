package aws

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
)

// Tags by which EKS marks the Auto Scaling group under a node group.
const (
	clusterTag   = "eks:cluster-name"
	nodegroupTag = "eks:nodegroup-name"
)

// found is an Auto Scaling group with the name that drover gives it: a managed node group goes by its own name, or as CLUSTER/NAME where
// another group of the region has that name as well.
type found struct {
	raw                      astypes.AutoScalingGroup
	cluster, nodegroup, name string
}

func tagOf(raw *astypes.AutoScalingGroup, key string) string {
	for _, t := range raw.Tags {
		if sdk.ToString(t.Key) == key {
			return sdk.ToString(t.Value)
		}
	}
	return ""
}

// answers tells whether the group may be meant by a name.
func (f *found) answers(name string) bool {
	scaling := sdk.ToString(f.raw.AutoScalingGroupName)
	return name == scaling || f.nodegroup != "" && (name == f.nodegroup || name == f.cluster+"/"+f.nodegroup)
}

// find returns the groups of these names (of Auto Scaling, or of node groups), or all. A name that nobody has is no error; one that node
// groups of several clusters have is.
func (c *Cloud) find(ctx context.Context, names []string) ([]found, error) {
	raw, err := c.describeGroups(ctx, names)
	if err != nil {
		return nil, err
	}
	if len(names) > 0 {
		more, err := c.describeNodegroups(ctx, suspects(raw, names))
		if err != nil {
			return nil, err
		}
		raw = append(raw, more...)
	}
	out := nameGroups(raw, names)
	if len(names) == 0 {
		return out, nil
	}
	for _, name := range names {
		same := slices.DeleteFunc(slices.Clone(out), func(f found) bool { return f.nodegroup != name || sdk.ToString(f.raw.AutoScalingGroupName) == name })
		if len(same) > 1 {
			return nil, fmt.Errorf("node group %s exists in clusters %s and %s: call it %s/%s", name, same[0].cluster, same[1].cluster, same[0].cluster, name)
		}
	}
	return slices.DeleteFunc(out, func(f found) bool { return !slices.ContainsFunc(names, f.answers) }), nil
}

// suspects lists the names of node groups to look for: those that no Auto Scaling group has, and those whose groups were asked for by the
// name of Auto Scaling, of which there may be namesakes.
func suspects(raw []astypes.AutoScalingGroup, names []string) []string {
	known, out := map[string]bool{}, map[string]bool{}
	for i := range raw {
		known[sdk.ToString(raw[i].AutoScalingGroupName)] = true
		if n := tagOf(&raw[i], nodegroupTag); n != "" {
			out[n] = true
		}
	}
	for _, name := range names {
		if !known[name] {
			out[name[strings.LastIndex(name, "/")+1:]] = true
		}
	}
	return slices.Sorted(maps.Keys(out))
}

func (c *Cloud) describeNodegroups(ctx context.Context, names []string) ([]astypes.AutoScalingGroup, error) {
	var out []astypes.AutoScalingGroup
	for some := range slices.Chunk(names, namesAtOnce) {
		pages := autoscaling.NewDescribeAutoScalingGroupsPaginator(c.scaling, &autoscaling.DescribeAutoScalingGroupsInput{
			Filters: []astypes.Filter{{Name: sdk.String("tag:" + nodegroupTag), Values: some}},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, doing("look for node groups", err)
			}
			out = append(out, page.AutoScalingGroups...)
		}
	}
	return out, nil
}

// nameGroups gives each group its name, each group once. Of two Auto Scaling groups under one node group, the one that is not being deleted
// counts: the other is what a node group of the same name left behind.
func nameGroups(raw []astypes.AutoScalingGroup, asked []string) []found {
	var out []found
	seen, count := map[string]bool{}, map[string]int{}
	slices.SortStableFunc(raw, func(a, b astypes.AutoScalingGroup) int {
		return cmp.Compare(sdk.ToString(a.Status), sdk.ToString(b.Status))
	})
	for i := range raw {
		f := found{raw: raw[i], cluster: tagOf(&raw[i], clusterTag), nodegroup: tagOf(&raw[i], nodegroupTag), name: sdk.ToString(raw[i].AutoScalingGroupName)}
		key := "scaling " + f.name
		if f.nodegroup != "" {
			key, f.name = f.cluster+"/"+f.nodegroup, f.nodegroup
		}
		if !seen[key] {
			seen[key] = true
			count[f.name]++
			out = append(out, f)
		}
	}
	for i := range out {
		f := &out[i]
		if full := f.cluster + "/" + f.nodegroup; f.nodegroup != "" && (count[f.nodegroup] > 1 || slices.Contains(asked, full)) {
			f.name = full
		}
	}
	slices.SortFunc(out, func(a, b found) int { return cmp.Compare(a.name, b.name) })
	return out
}

// scalingName is the name that Auto Scaling has for a group; the given one when nobody has it.
func (c *Cloud) scalingName(ctx context.Context, group string) (string, error) {
	c.mu.Lock()
	name, ok := c.scalings[group]
	c.mu.Unlock()
	if ok {
		return name, nil
	}
	groups, err := c.find(ctx, []string{group})
	if err != nil {
		return "", err
	}
	for _, f := range groups {
		return sdk.ToString(f.raw.AutoScalingGroupName), nil
	}
	return group, nil
}
