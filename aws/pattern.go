package aws

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"drover.dev/fleet"
)

// Pattern is what a group of one environment takes over from the group that it shares with others.
type Pattern struct {
	Group, Cluster string
	Managed        bool
	Role           string
	Subnets, Types []string
	Image          string // AMI type
	Template       string // launch template and version
	Capacity       string // ON_DEMAND, SPOT, CAPACITY_BLOCK
	Disk           int    // GiB; 0 where the launch template says it
	Labels, Tags   map[string]string
	Taints         []fleet.Taint
}

func (p Pattern) String() string {
	var out []string
	for _, f := range []struct{ name, value string }{
		{"template", p.Template}, {"types", strings.Join(p.Types, " ")}, {"image", p.Image}, {"capacity", p.Capacity}, {"disk", gib(p.Disk)},
		{"subnets", strings.Join(p.Subnets, " ")}, {"role", p.Role}, {"labels", printMap(p.Labels)}, {"taints", printTaints(p.Taints)}, {"tags", printMap(p.Tags)},
	} {
		if f.value != "" {
			out = append(out, f.name+" "+f.value)
		}
	}
	return strings.Join(out, ", ")
}

func gib(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n) + " GiB"
}

func printMap(m map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, " ")
}

func printTaints(taints []fleet.Taint) string {
	var out []string
	for _, t := range taints {
		out = append(out, t.Key+"="+t.Value+":"+t.Effect)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// DescribeForCopy says what a group of one environment would take over from a group. Load balancers' target groups are not in it.
func (c *Cloud) DescribeForCopy(ctx context.Context, group string) (Pattern, error) {
	what := "describe group " + group
	f, n, err := c.original(ctx, group)
	switch {
	case err != nil:
		return Pattern{}, doing(what, err)
	case n == nil:
		return c.selfManaged(f), nil
	}
	in := like(n, f.nodegroup)
	p := Pattern{
		Group: f.name, Cluster: f.cluster, Managed: true, Role: sdk.ToString(in.NodeRole), Subnets: in.Subnets, Types: in.InstanceTypes, Image: string(n.AmiType),
		Capacity: string(in.CapacityType), Disk: int(sdk.ToInt32(in.DiskSize)), Labels: in.Labels, Tags: in.Tags, Taints: readTaints(in.Taints),
	}
	if n.LaunchTemplate != nil {
		p.Template = cmp.Or(sdk.ToString(n.LaunchTemplate.Name), sdk.ToString(n.LaunchTemplate.Id)) + ":" + templateVersion(n)
	}
	return p, nil
}

// selfManaged is the pattern of an Auto Scaling group that nobody manages.
func (c *Cloud) selfManaged(f *found) Pattern {
	p := Pattern{Group: f.name, Cluster: f.owner(), Tags: ownTags(groupTags(&f.raw))}
	delete(p.Tags, markTag)
	delete(p.Tags, environmentTag)
	for _, id := range strings.Split(sdk.ToString(f.raw.VPCZoneIdentifier), ",") {
		if id = strings.TrimSpace(id); id != "" {
			p.Subnets = append(p.Subnets, id)
		}
	}
	var from []string
	for _, w := range wants(&f.raw) {
		from, p.Types = append(from, strings.TrimPrefix(w.String(), "launch template ")), append(p.Types, w.Types...)
	}
	p.Template = strings.Join(slices.Compact(from), " ")
	return p
}
