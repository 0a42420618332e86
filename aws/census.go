package aws

import (
	"context"
	"maps"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"drover.dev/fleet"
)

// Machines says what EC2 knows of instances, in as few calls as there are hundreds of them. One that it does not know is left out.
func (c *Cloud) Machines(ctx context.Context, ids []string) ([]fleet.Machine, error) {
	asked := slices.Sorted(slices.Values(ids))
	var out []fleet.Machine
	err := c.describeInstances(ctx, slices.Compact(asked), func(in *ec2types.Instance) {
		m := fleet.Machine{ID: sdk.ToString(in.InstanceId), Cluster: clusterOf(instanceTags(in)), Launched: sdk.ToTime(in.LaunchTime), Reservation: sdk.ToString(in.CapacityReservationId)}
		if in.State != nil {
			m.State = string(in.State.Name)
		}
		out = append(out, m)
	})
	if err != nil {
		return nil, endure(err)
	}
	return out, nil
}

// ownerTag begins the tag by which things belong to a cluster; its value says whether to that one alone.
const ownerTag = "kubernetes.io/cluster/"

// clusterOf is the cluster that tags name: EKS's own tags, which name one, before those of which there may be several. What a cluster owns is
// more its own than what it shares.
func clusterOf(tags map[string]string) string {
	for _, key := range []string{"aws:" + clusterTag, clusterTag} {
		if tags[key] != "" {
			return tags[key]
		}
	}
	shared := ""
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		name, ok := strings.CutPrefix(key, ownerTag)
		switch {
		case !ok || name == "":
		case tags[key] == "owned":
			return name
		case shared == "":
			shared = name
		}
	}
	return shared
}

func instanceTags(in *ec2types.Instance) map[string]string {
	out := map[string]string{}
	for _, t := range in.Tags {
		out[sdk.ToString(t.Key)] = sdk.ToString(t.Value)
	}
	return out
}

func groupTags(raw *astypes.AutoScalingGroup) map[string]string {
	out := map[string]string{}
	for _, t := range raw.Tags {
		out[sdk.ToString(t.Key)] = sdk.ToString(t.Value)
	}
	return out
}

// retains tells whether the group keeps an instance whose hook was abandoned.
func retains(raw *astypes.AutoScalingGroup) bool {
	p := raw.InstanceLifecyclePolicy
	return p != nil && p.RetentionTriggers != nil && p.RetentionTriggers.TerminateHookAbandon == astypes.RetentionActionRetain
}
