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
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
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
	bare                     *ekstypes.Nodegroup // a node group without an Auto Scaling group: EKS has not made it yet, could not, or has ended it
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
	return name == scaling || f.nodegroup != "" && (name == f.nodegroup || name == f.full())
}

// full is a managed node group's name that no other one of the region has.
func (f *found) full() string { return f.cluster + "/" + f.nodegroup }

// owner is the cluster that the group is tagged with.
func (f *found) owner() string { return cmp.Or(clusterOf(groupTags(&f.raw)), f.cluster) }

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
	c.meet(out)
	if len(names) == 0 {
		return out, nil
	}
	bare, err := c.bareNodegroups(ctx, out, names)
	if err != nil {
		return nil, err
	}
	out = append(out, bare...)
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
		groups, err := c.filterGroups(ctx, "tag:"+nodegroupTag, some)
		if err != nil {
			return nil, err
		}
		out = append(out, groups...)
	}
	return out, nil
}

func (c *Cloud) filterGroups(ctx context.Context, filter string, values []string) ([]astypes.AutoScalingGroup, error) {
	var out []astypes.AutoScalingGroup
	pages := autoscaling.NewDescribeAutoScalingGroupsPaginator(c.scaling, &autoscaling.DescribeAutoScalingGroupsInput{
		Filters: []astypes.Filter{{Name: &filter, Values: values}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, doing("look for node groups", err)
		}
		out = append(out, page.AutoScalingGroups...)
	}
	return out, nil
}

// meet remembers the clusters of node groups.
func (c *Cloud) meet(groups []found) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range groups {
		if f.cluster != "" {
			c.clusters[f.cluster] = true
		}
	}
}

// bareNodegroups asks EKS itself for the names that no Auto Scaling group answers to, in the clusters whose node groups are known. Without the
// right to ask there are none.
func (c *Cloud) bareNodegroups(ctx context.Context, groups []found, names []string) ([]found, error) {
	missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(groups, func(f found) bool { return f.answers(name) })
	})
	if len(missing) == 0 {
		return nil, nil
	}
	clusters, err := c.knownClusters(ctx)
	if err != nil {
		return nil, err
	}
	var out []found
	for _, name := range missing {
		for _, cluster := range clusters {
			own := strings.TrimPrefix(name, cluster+"/")
			n, err := c.describeNodegroup(ctx, cluster, own)
			switch {
			case err != nil && !isDenied(err) && !codeIs(err, "InvalidParameterException"): // a name of Auto Scaling's need not be one that EKS takes
				return nil, doing("describe node group "+own+" of cluster "+cluster, err)
			case n != nil:
				out = append(out, found{cluster: cluster, nodegroup: own, name: name, bare: n})
			}
		}
	}
	return out, nil
}

// knownClusters lists the clusters of all node groups met so far; if there are none, it looks for some.
func (c *Cloud) knownClusters(ctx context.Context) ([]string, error) {
	c.mu.Lock()
	known := slices.Sorted(maps.Keys(c.clusters))
	c.mu.Unlock()
	if len(known) > 0 {
		return known, nil
	}
	raw, err := c.filterGroups(ctx, "tag-key", []string{clusterTag})
	if err != nil {
		return nil, err
	}
	met := map[string]bool{}
	for i := range raw {
		met[tagOf(&raw[i], clusterTag)] = true
	}
	c.meet(nameGroups(raw, nil))
	return slices.Sorted(maps.Keys(met)), nil
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
			key, f.name = f.full(), f.nodegroup
		}
		if !seen[key] {
			seen[key] = true
			count[f.name]++
			out = append(out, f)
		}
	}
	for i := range out {
		f := &out[i]
		if full := f.full(); f.nodegroup != "" && (count[f.nodegroup] > 1 || slices.Contains(asked, full)) {
			f.name = full
		}
	}
	slices.SortFunc(out, func(a, b found) int { return cmp.Compare(a.name, b.name) })
	return out
}

// scalingName is the name that Auto Scaling has for a group; the given one when nobody has it.
func (c *Cloud) scalingName(ctx context.Context, group string) (string, error) {
	c.mu.Lock()
	s, ok := c.scalings[group]
	c.mu.Unlock()
	if ok {
		return s.name, nil
	}
	groups, err := c.find(ctx, []string{group})
	if err != nil {
		return "", err
	}
	for _, f := range groups {
		return cmp.Or(sdk.ToString(f.raw.AutoScalingGroupName), group), nil
	}
	return group, nil
}
