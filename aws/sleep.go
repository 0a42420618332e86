package aws

import (
	"context"
	"fmt"
	"slices"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"drover.dev/fleet"
)

const (
	// protectedAtOnce is how many instances AWS protects in one call.
	protectedAtOnce = 50
	// updateAgain is when to ask EKS again while it changes a node group: a change of sizes takes it less than a minute.
	updateAgain = 15 * time.Second
)

// sleepMark reads an environment's mark off a group; nil when there is none.
func sleepMark(raw *astypes.AutoScalingGroup) (*fleet.GroupSleep, error) {
	value := tagOf(raw, environmentTag)
	if value == "" {
		return nil, nil
	}
	m, err := fleet.ParseGroupSleep(value)
	if err != nil {
		return nil, fmt.Errorf("tag %s: %w; read it, put the group back by hand, then delete the tag", environmentTag, err)
	}
	return m, nil
}

// rests refuses what an environment wants of a group that another one has marked, or another sleep of the same one. Others' actions it lets pass.
func rests(raw *astypes.AutoScalingGroup, a fleet.Action) error {
	if a.Environment == "" {
		return nil
	}
	m, err := sleepMark(raw)
	switch {
	case err != nil:
		return err
	case m == nil || m.Environment == a.Environment && (a.Run == "" || m.Run == a.Run):
		return nil
	}
	return &fleet.Refused{Reason: fmt.Sprintf("the group carries sleep %s of environment %s, expected %s of %s", m.Run, m.Environment, a.Run, a.Environment), Wait: helpAgain}
}

// mine reads a group as it is now. It refuses when it is gone, or another run's or environment's by now.
func (c *Cloud) mine(ctx context.Context, a fleet.Action) (*astypes.AutoScalingGroup, error) {
	g, err := c.raw(ctx, a.Group)
	switch {
	case err != nil:
		return nil, err
	case g == nil:
		return nil, &fleet.Refused{Reason: "the group is gone"}
	}
	return g, untaken(g, a)
}

// untaken refuses when a group is another run's, or another environment's, by now.
func untaken(g *astypes.AutoScalingGroup, a fleet.Action) error {
	if err := carries(g, a.Run); err != nil {
		return err
	}
	return rests(g, a)
}

// markGroup writes an environment's mark on a group. What it says of the group is the only copy there: it is written once.
func (c *Cloud) markGroup(ctx context.Context, a fleet.Action) error {
	g, err := c.mine(ctx, a)
	if err != nil {
		return err
	}
	switch m, err := sleepMark(g); {
	case err != nil:
		return err
	case m != nil && *m == *a.Bed:
		return nil
	case m != nil:
		return &fleet.Refused{Reason: fmt.Sprintf("the group has a mark already, which says %s, and is to say %s: what it was before is written once", m, a.Bed), Wait: helpAgain}
	}
	tag := sleepTag(a)
	tag.Value, tag.PropagateAtLaunch = sdk.String(a.Bed.String()), sdk.Bool(false)
	_, err = c.scaling.CreateOrUpdateTags(ctx, &autoscaling.CreateOrUpdateTagsInput{Tags: []astypes.Tag{tag}})
	return err
}

func (c *Cloud) unmarkGroup(ctx context.Context, a fleet.Action) error {
	g, err := c.raw(ctx, a.Group)
	if err != nil || g == nil { // gone with its mark
		return err
	}
	if err := rests(g, a); err != nil {
		return err
	}
	if m, err := sleepMark(g); m == nil {
		return err
	}
	_, err = c.scaling.DeleteTags(ctx, &autoscaling.DeleteTagsInput{Tags: []astypes.Tag{sleepTag(a)}})
	return err
}

func sleepTag(a fleet.Action) astypes.Tag {
	return astypes.Tag{ResourceId: &a.Group, ResourceType: sdk.String(groupResource), Key: sdk.String(environmentTag)}
}

// bound sets the minimum, unless somebody changed it since the decision. A desired capacity below it follows, as AWS has it.
func (c *Cloud) bound(ctx context.Context, a fleet.Action) error {
	g, err := c.mine(ctx, a)
	if err != nil {
		return err
	}
	least, most := int(sdk.ToInt32(g.MinSize)), int(sdk.ToInt32(g.MaxSize))
	switch {
	case least == a.To:
		return nil
	case least != a.From:
		return &fleet.Refused{Reason: fmt.Sprintf("the minimum is %d by now, expected %d", least, a.From)}
	case a.To > most:
		return &fleet.Refused{Reason: fmt.Sprintf("the maximum is %d, below the minimum of %d that is to be: raise the maximum", most, a.To), Wait: helpAgain}
	}
	if tagOf(g, nodegroupTag) == "" {
		_, err = c.scaling.UpdateAutoScalingGroup(ctx, &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: &a.Group, MinSize: sdk.Int32(int32(a.To))})
		return err
	}
	sizes := ekstypes.NodegroupScalingConfig{MinSize: sdk.Int32(int32(a.To))}
	if sdk.ToInt32(g.DesiredCapacity) < int32(a.To) {
		sizes.DesiredSize = sizes.MinSize
	}
	return c.sizeNodegroup(ctx, g, &sizes)
}

// sizeNodegroup sets sizes of a managed node group through EKS, which would put back what others change under it.
func (c *Cloud) sizeNodegroup(ctx context.Context, g *astypes.AutoScalingGroup, sizes *ekstypes.NodegroupScalingConfig) error {
	cluster, name := tagOf(g, clusterTag), tagOf(g, nodegroupTag)
	n, err := c.describeNodegroup(ctx, cluster, name)
	switch {
	case err != nil:
		return err
	case n == nil:
		return &fleet.Refused{Reason: "EKS does not know node group " + name + " any more", Wait: helpAgain}
	case n.Status != ekstypes.NodegroupStatusActive && n.Status != ekstypes.NodegroupStatusDegraded:
		return &fleet.Refused{Reason: fmt.Sprintf("EKS says that the node group is %s, and changes no sizes meanwhile", n.Status), Wait: updateAgain}
	}
	_, err = c.eks.UpdateNodegroupConfig(ctx, &eks.UpdateNodegroupConfigInput{ClusterName: &cluster, NodegroupName: &name, ScalingConfig: sizes})
	if codeIs(err, "ResourceInUseException", "InvalidRequestException") {
		return &fleet.Refused{Reason: "EKS changes no sizes now: " + said(err), Wait: updateAgain}
	}
	return err
}

// protect has scale-in spare instances, or no longer. Those that are gone or going need nothing; those that come are waited for when the others are done.
func (c *Cloud) protect(ctx context.Context, a fleet.Action) error {
	g, err := c.mine(ctx, a)
	if err != nil {
		return err
	}
	on := a.Verb == fleet.Protect
	var ids, coming []string
	for i := range g.Instances {
		raw := &g.Instances[i]
		in := fleet.Instance{ID: sdk.ToString(raw.InstanceId), Lifecycle: string(raw.LifecycleState)}
		switch {
		case !slices.Contains(a.Instances, in.ID), in.Leaving(), sdk.ToBool(raw.ProtectedFromScaleIn) == on:
		case in.Lifecycle == fleet.InService || in.Parked():
			ids = append(ids, in.ID)
		default:
			coming = append(coming, in.ID)
		}
	}
	for some := range slices.Chunk(ids, protectedAtOnce) {
		if _, err := c.scaling.SetInstanceProtection(ctx, &autoscaling.SetInstanceProtectionInput{AutoScalingGroupName: &a.Group, InstanceIds: some, ProtectedFromScaleIn: &on}); err != nil {
			return err
		}
	}
	if len(coming) > 0 {
		return &fleet.Refused{Reason: fmt.Sprintf("%v are not in service yet, and AWS protects none before", coming), Wait: updateAgain}
	}
	return nil
}
