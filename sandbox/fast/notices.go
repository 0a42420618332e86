package fast

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// ClusterName is the world's own cluster.
const ClusterName = "main"

// ownerTag begins the tag by which things belong to a cluster.
const ownerTag = "kubernetes.io/cluster/"

// clusterOf is the cluster that tags name; "" when they name none.
func clusterOf(tags map[string]string) string {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if name, ok := strings.CutPrefix(key, ownerTag); ok {
			return name
		}
	}
	return ""
}

func groupTags(g *cloud.Group) map[string]string {
	out := map[string]string{}
	for _, t := range g.Tags {
		out[t.Key] = t.Value
	}
	return out
}

// answer has a hook hold its instance longer, or let it go. A hook that does not hold it (any more) is as good as answered.
func (h *CloudHand) answer(a fleet.Action) error {
	var err error
	if a.Verb == fleet.Complete {
		err = h.w.Cloud.CompleteLifecycleAction(a.Group, a.Hook, a.Instance, "", a.Result)
	} else {
		err = h.w.Cloud.RecordLifecycleActionHeartbeat(a.Group, a.Hook, a.Instance, "")
	}
	if codeIs(err, "ValidationError") && strings.Contains(err.Error(), "No active Lifecycle Action found") {
		return nil
	}
	return err
}

// hooks reads a group's hooks.
func (h *CloudHand) hooks(group string) ([]fleet.Hook, error) {
	found, err := h.w.Cloud.DescribeLifecycleHooks(group, nil)
	if err != nil {
		return nil, doing("describe lifecycle hooks", err)
	}
	var out []fleet.Hook
	for _, f := range found {
		out = append(out, fleet.Hook{
			Name: f.Name, Launching: f.Transition == cloud.HookLaunching, Heartbeat: f.Heartbeat, Abandon: f.DefaultResult != fleet.Continue, Target: f.Target, Metadata: f.Metadata,
		})
	}
	return out, nil
}

// news is what EC2 says that it will do to instances, by instance.
type news struct {
	reclaimed map[string]time.Time
	scheduled map[string][]fleet.Scheduled
}

// reclaims are the states of a spot request whose instance is being taken back, and whether it has been already.
var reclaims = map[string]bool{"marked-for-termination": false, "marked-for-stop": false, "instance-terminated-no-capacity": true, "instance-terminated-by-price": true}

// spotNotice is how long before its end EC2 says that it takes an instance back.
const spotNotice = 2 * time.Minute

// effects says what scheduled events do, by EC2's codes.
var effects = map[string]string{
	"instance-reboot": "reboot", "system-reboot": "reboot", "system-maintenance": "maintain", "instance-retirement": "retire", "instance-stop": "stop",
}

// news asks EC2, one question each for all instances.
func (h *CloudHand) news() (news, error) {
	out := news{map[string]time.Time{}, map[string][]fleet.Scheduled{}}
	requests, err := h.w.Cloud.DescribeSpotInstanceRequests(nil, nil)
	if err != nil {
		return out, doing("ask which spot instances EC2 takes back", err)
	}
	for _, r := range requests {
		if over, known := reclaims[r.Code]; known && over {
			out.reclaimed[r.Instance] = r.Updated.Add(-spotNotice)
		} else if known {
			out.reclaimed[r.Instance] = r.Updated
		}
	}
	statuses, err := h.w.Cloud.DescribeInstanceStatus(nil, true, nil)
	if err != nil {
		return out, doing("ask what EC2 has scheduled for instances", err)
	}
	for _, s := range statuses {
		for _, e := range s.Events {
			if strings.HasPrefix(e.Words, "[Completed]") || strings.HasPrefix(e.Words, "[Canceled]") {
				continue
			}
			out.scheduled[e.Instance] = append(out.scheduled[e.Instance], fleet.Scheduled{ID: e.ID, Effect: cmp.Or(effects[e.Code], e.Code), NotBefore: e.NotBefore, Words: e.Words})
		}
	}
	return out, nil
}

// place fills in what is about to happen to a group's instances.
func (n news) place(g *fleet.Group) {
	for i := range g.Instances {
		in := &g.Instances[i]
		in.Reclaimed, in.Scheduled = n.reclaimed[in.ID], slices.Clone(n.scheduled[in.ID])
	}
}

// Machines says what EC2 knows of instances. One that it does not know is left out.
func (h *CloudHand) Machines(_ context.Context, ids []string) ([]fleet.Machine, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := h.w.Cloud.DescribeInstances(nil, []cloud.Filter{{Name: "instance-id", Values: ids}})
	if err != nil {
		return nil, doing("describe instances", err)
	}
	out := make([]fleet.Machine, 0, len(found))
	for _, in := range found {
		out = append(out, fleet.Machine{ID: in.ID, State: string(in.State), Cluster: clusterOf(in.Tags), Launched: in.LaunchTime, Reservation: in.CapacityReservation})
	}
	return out, nil
}
