package aws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"drover.dev/fleet"
)

// Tags by which drover marks a node group that a run made.
const (
	runTag  = "drover.dev/run"
	copyTag = "drover.dev/copy-of"
)

// nodegroup finds the managed node group of a name; nil when there is none.
func (c *Cloud) nodegroup(ctx context.Context, name string) (*found, *ekstypes.Nodegroup, error) {
	groups, err := c.find(ctx, []string{name})
	if err != nil || len(groups) == 0 {
		return nil, nil, err
	}
	f := &groups[0]
	if f.nodegroup == "" {
		return nil, nil, fmt.Errorf("%s is not a managed node group", name)
	}
	n, err := c.nodegroupUnder(ctx, f)
	return f, n, err
}

// nodegroupUnder is what EKS says of a group that was found; nil when it has forgotten it.
func (c *Cloud) nodegroupUnder(ctx context.Context, f *found) (*ekstypes.Nodegroup, error) {
	if f.bare != nil {
		return f.bare, nil
	}
	return c.describeNodegroup(ctx, f.cluster, f.nodegroup)
}

func (c *Cloud) describeNodegroup(ctx context.Context, cluster, name string) (*ekstypes.Nodegroup, error) {
	out, err := c.eks.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &cluster, NodegroupName: &name})
	if codeIs(err, "ResourceNotFoundException") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if out.Nodegroup == nil {
		return nil, errors.New("AWS answers without the node group")
	}
	return out.Nodegroup, nil
}

// createGroup makes the copy that a run moves to. One that this run made already is left as it is, unless EKS could not make it.
func (c *Cloud) createGroup(ctx context.Context, a fleet.Action) error {
	f, n, err := c.nodegroup(ctx, a.Group)
	if err != nil {
		return err
	}
	if n == nil {
		return &fleet.Refused{Reason: "the node group to copy is gone"}
	}
	name := strings.TrimPrefix(a.Copy, f.cluster+"/")
	old, err := c.describeNodegroup(ctx, f.cluster, name)
	switch {
	case err != nil:
		return err
	case old == nil:
	case old.Tags[runTag] != a.Run || a.Run == "":
		return &fleet.Refused{Reason: fmt.Sprintf("a node group %s exists already and is not of run %s", name, a.Run)}
	case old.Status == ekstypes.NodegroupStatusCreateFailed:
		return &fleet.Refused{Reason: fmt.Sprintf("EKS could not make node group %s: %s", name, cmp.Or(issues(old), "it does not say why"))}
	default:
		return nil
	}
	in := copyOf(n, name, a)
	if n.LaunchTemplate != nil {
		version, err := c.nextTemplate(ctx, n, newAdvice())
		if err != nil {
			return err
		}
		in.LaunchTemplate = &ekstypes.LaunchTemplateSpecification{Id: n.LaunchTemplate.Id, Version: &version}
	}
	_, err = c.eks.CreateNodegroup(ctx, in)
	return err
}

// copyOf is a node group like n for a run to move to, with the sizes that the rest of the run needs.
func copyOf(n *ekstypes.Nodegroup, name string, a fleet.Action) *eks.CreateNodegroupInput {
	in := like(n, name)
	in.ClientRequestToken = sdk.String("drover-" + a.Run + "-" + name)
	in.Tags[runTag], in.Tags[copyTag] = a.Run, a.Group
	desired := int32(a.To)
	in.ScalingConfig = &ekstypes.NodegroupScalingConfig{DesiredSize: &desired, MinSize: sdk.Int32(desired), MaxSize: sdk.Int32(max(1, desired))}
	if s := n.ScalingConfig; s != nil {
		in.ScalingConfig.MinSize = sdk.Int32(min(sdk.ToInt32(s.MinSize), desired))
		in.ScalingConfig.MaxSize = sdk.Int32(max(sdk.ToInt32(s.MaxSize), desired))
	}
	return in
}

// like is a node group like n, but for its sizes and its launch template's version, on EKS's newest version and release, which is what a request without them
// means. What a launch template says must not be said again, and EKS does not take CUSTOM as an AMI type although it shows it.
func like(n *ekstypes.Nodegroup, name string) *eks.CreateNodegroupInput {
	in := &eks.CreateNodegroupInput{
		ClusterName: n.ClusterName, NodegroupName: &name, NodeRole: n.NodeRole, Subnets: n.Subnets, InstanceTypes: n.InstanceTypes, CapacityType: n.CapacityType,
		Labels: n.Labels, Taints: n.Taints, UpdateConfig: n.UpdateConfig, NodeRepairConfig: n.NodeRepairConfig, WarmPoolConfig: n.WarmPoolConfig,
		Tags: ownTags(n.Tags),
	}
	if n.AmiType != ekstypes.AMITypesCustom {
		in.AmiType = n.AmiType
	}
	if n.LaunchTemplate == nil {
		in.DiskSize, in.RemoteAccess = n.DiskSize, n.RemoteAccess
	}
	return in
}

// ownTags leaves out what AWS or a run of drover wrote.
func ownTags(tags map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range tags {
		if !strings.HasPrefix(k, "aws:") && !strings.HasPrefix(k, "eks:") && k != runTag && k != copyTag {
			out[k] = v
		}
	}
	return out
}

// deleteGroup deletes a node group, with all instances it has: none may be there that the decision did not know. Whether pods are left on them
// is not for this hand to know.
func (c *Cloud) deleteGroup(ctx context.Context, a fleet.Action) error {
	f, n, err := c.nodegroup(ctx, a.Group)
	switch {
	case err != nil:
		return err
	case n == nil || n.Status == ekstypes.NodegroupStatusDeleting:
		return nil
	case n.Tags[runTag] != "" && a.Run != "" && n.Tags[runTag] != a.Run && n.Status == ekstypes.NodegroupStatusCreating:
		return &fleet.Refused{Reason: fmt.Sprintf("run %s is making this node group", n.Tags[runTag])}
	}
	if err := carries(&f.raw, a.Run); err != nil {
		return err
	}
	for i := range f.raw.Instances {
		if in := c.instance(&f.raw.Instances[i]); (!in.Leaving() || in.Lifecycle == fleet.Retained) && !slices.Contains(a.Instances, in.ID) {
			return &fleet.Refused{Reason: fmt.Sprintf("instance %s is in the group by now, which the decision did not know", in.ID)}
		}
	}
	_, err = c.eks.DeleteNodegroup(ctx, &eks.DeleteNodegroupInput{ClusterName: &f.cluster, NodegroupName: &f.nodegroup})
	if codeIs(err, "ResourceNotFoundException") {
		return nil
	}
	return err
}
