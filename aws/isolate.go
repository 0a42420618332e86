package aws

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"drover.dev/fleet"
)

// original finds the group that another one is to be made from; without the node group when it is self-managed.
func (c *Cloud) original(ctx context.Context, group string) (*found, *ekstypes.Nodegroup, error) {
	groups, err := c.find(ctx, []string{group})
	if err != nil {
		return nil, nil, err
	}
	if len(groups) == 0 {
		return nil, nil, &fleet.Refused{Reason: "there is no group " + group, Wait: helpAgain}
	}
	f := &groups[0]
	if f.nodegroup == "" {
		return f, nil, nil
	}
	n, err := c.nodegroupUnder(ctx, f)
	if err == nil && n == nil {
		err = &fleet.Refused{Reason: "EKS does not know the node group any more", Wait: helpAgain}
	}
	return f, n, err
}

// makeGroup makes a node group for one environment like the one that it shares with others: no node yet, with labels and taints of its own. One that is there
// and is as wanted is left as it is.
func (c *Cloud) makeGroup(ctx context.Context, want *fleet.NewGroup) error {
	f, n, err := c.original(ctx, want.From)
	switch {
	case err != nil:
		return err
	case n == nil:
		return &fleet.Fatal{Err: byHand(c.selfManaged(f), want)}
	case want.Max < 1:
		return &fleet.Fatal{Err: fmt.Errorf("EKS takes no node group whose maximum is %d: say at least 1", want.Max)}
	}
	in, err := isolated(n, strings.TrimPrefix(want.Name, f.cluster+"/"), want)
	if err != nil {
		return err
	}
	old, err := c.describeNodegroup(ctx, f.cluster, *in.NodegroupName)
	if err != nil {
		return err
	}
	if old != nil {
		return isAsWanted(old, in)
	}
	_, err = c.eks.CreateNodegroup(ctx, in)
	return err
}

// byHand says what to do about a group whose nodes get labels and taints from user data, which drover does not rewrite: without them, pods of others would
// come onto the nodes.
func byHand(p Pattern, want *fleet.NewGroup) error {
	var labels []string
	for _, k := range slices.Sorted(maps.Keys(want.Labels)) {
		labels = append(labels, k+"="+want.Labels[k])
	}
	return fmt.Errorf("%s is no managed node group: its nodes get labels and taints from the user data of %s, which drover does not rewrite. Make a launch template whose kubelet "+
		"is started with --node-labels=%s --register-with-taints=%s, make Auto Scaling group %s from it with minimum 0, maximum %d, subnets %s and tags %s, and without target groups; "+
		"then name %s in the environment", p.Group, cmp.Or(p.Template, "its launch template"), strings.Join(labels, ","), strings.ReplaceAll(printTaints(want.Taints), " ", ","), want.Name,
		want.Max, strings.Join(p.Subnets, ","), printMap(p.Tags), want.Name)
}

// isolated is the request for a group of one environment. It keeps the labels and taints of the shared one, which its pods may ask for and tolerate.
func isolated(n *ekstypes.Nodegroup, name string, want *fleet.NewGroup) (*eks.CreateNodegroupInput, error) {
	in := like(n, name)
	in.Labels = maps.Clone(in.Labels)
	if in.Labels == nil {
		in.Labels = map[string]string{}
	}
	maps.Copy(in.Labels, want.Labels)
	in.Taints = slices.Clone(in.Taints)
	for _, t := range want.Taints {
		taint, err := writeTaint(t)
		if err != nil {
			return nil, err
		}
		in.Taints = slices.DeleteFunc(in.Taints, func(o ekstypes.Taint) bool { return sdk.ToString(o.Key) == t.Key && o.Effect == taint.Effect })
		in.Taints = append(in.Taints, taint)
	}
	in.Tags[environmentTag] = want.Environment
	in.ScalingConfig = &ekstypes.NodegroupScalingConfig{MinSize: sdk.Int32(0), DesiredSize: sdk.Int32(0), MaxSize: sdk.Int32(int32(want.Max))}
	if t := n.LaunchTemplate; t != nil {
		in.LaunchTemplate = &ekstypes.LaunchTemplateSpecification{Id: t.Id, Version: t.Version}
	}
	return in, nil
}

// taintEffects are EKS's words for what taints do, by Kubernetes' own.
var taintEffects = map[string]ekstypes.TaintEffect{
	"NoSchedule": ekstypes.TaintEffectNoSchedule, "NoExecute": ekstypes.TaintEffectNoExecute, "PreferNoSchedule": ekstypes.TaintEffectPreferNoSchedule,
}

func writeTaint(t fleet.Taint) (ekstypes.Taint, error) {
	effect, ok := taintEffects[t.Effect]
	if !ok {
		return ekstypes.Taint{}, &fleet.Fatal{Err: fmt.Errorf("taint %s=%s:%s: Kubernetes knows no such effect", t.Key, t.Value, t.Effect)}
	}
	return ekstypes.Taint{Key: &t.Key, Value: &t.Value, Effect: effect}, nil
}

func readTaints(taints []ekstypes.Taint) []fleet.Taint {
	var out []fleet.Taint
	for _, t := range taints {
		taint := fleet.Taint{Key: sdk.ToString(t.Key), Value: sdk.ToString(t.Value), Effect: string(t.Effect)}
		for ours, theirs := range taintEffects {
			if theirs == t.Effect {
				taint.Effect = ours
			}
		}
		out = append(out, taint)
	}
	return out
}

// isAsWanted refuses a node group of that name that is another's, or is not what would be made now.
func isAsWanted(old *ekstypes.Nodegroup, in *eks.CreateNodegroupInput) error {
	name := sdk.ToString(in.NodegroupName)
	switch old.Status {
	case ekstypes.NodegroupStatusDeleting:
		return &fleet.Refused{Reason: fmt.Sprintf("a node group %s is there still, and EKS is deleting it", name), Wait: updateAgain}
	case ekstypes.NodegroupStatusCreateFailed:
		return &fleet.Refused{Reason: fmt.Sprintf("EKS could not make node group %s: %s; delete it when that is mended", name, cmp.Or(issues(old), "it does not say why")), Wait: helpAgain}
	}
	var differs []string
	for _, f := range []struct{ what, is, want string }{
		{"tag " + environmentTag, old.Tags[environmentTag], in.Tags[environmentTag]},
		{"labels", printMap(old.Labels), printMap(in.Labels)},
		{"taints", printTaints(readTaints(old.Taints)), printTaints(readTaints(in.Taints))},
		{"maximum", printMax(old.ScalingConfig), printMax(in.ScalingConfig)},
		{"subnets", printSet(old.Subnets), printSet(in.Subnets)},
		{"role", sdk.ToString(old.NodeRole), sdk.ToString(in.NodeRole)},
		{"types", printSet(old.InstanceTypes), printSet(in.InstanceTypes)},
		{"capacity", string(old.CapacityType), string(in.CapacityType)},
		{"launch template", templateID(old.LaunchTemplate), templateID(in.LaunchTemplate)},
	} {
		if f.is != f.want {
			differs = append(differs, fmt.Sprintf("%s %q, not %q", f.what, f.is, f.want))
		}
	}
	if len(differs) > 0 {
		return &fleet.Refused{Reason: fmt.Sprintf("a node group %s exists already, with %s", name, strings.Join(differs, "; ")), Wait: helpAgain}
	}
	return nil
}

func printSet(s []string) string { return strings.Join(slices.Sorted(slices.Values(s)), " ") }

func printMax(s *ekstypes.NodegroupScalingConfig) string {
	if s == nil {
		return ""
	}
	return strconv.Itoa(int(sdk.ToInt32(s.MaxSize)))
}

func templateID(t *ekstypes.LaunchTemplateSpecification) string {
	if t == nil {
		return ""
	}
	return sdk.ToString(t.Id)
}
