package fast

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// Labels by which a node says where it comes from.
const (
	GroupLabel = "sandbox.drover.dev/group"
	ImageLabel = "sandbox.drover.dev/image"
	typeLabel  = "node.kubernetes.io/instance-type"
)

// sync tells the cluster what happened to machines since the last time. It runs after everything that may change the cloud, so that both are of
// one moment.
func (w *World) sync() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for events := w.feed.Take(); len(events) > 0; events = w.feed.Take() {
		for _, e := range events {
			w.happened(e)
		}
	}
}

func (w *World) happened(e cloud.Event) {
	switch e.Kind {
	case cloud.InstanceBooted:
		image := w.images[e.Instance.ImageID]
		if !image.Silent {
			w.Clock.AfterFunc(w.joins, func() { w.join(e.Instance, image) })
		}
	case cloud.InstanceStopping:
		w.Cluster.KillNode(e.Instance.PrivateDNS)
	case cloud.InstanceStopped:
		w.Cluster.StopMachine(e.Instance.PrivateDNS)
	case cloud.InstanceTerminated:
		if w.lingers == 0 {
			w.Cluster.RemoveNode(e.Instance.PrivateDNS)
			return
		}
		w.Clock.AfterFunc(w.lingers, func() { w.Cluster.RemoveNode(e.Instance.PrivateDNS) })
	case cloud.NodeCordon, cloud.NodeUncordon:
		w.Cluster.Cordon(e.Instance.PrivateDNS, e.Kind == cloud.NodeCordon)
	case cloud.DatabaseChanged:
		w.databaseChanged(e.Database)
	case cloud.NodeDrain:
		w.drain(e.Instance)
	case cloud.NodeChanged:
		for _, k := range slices.Sorted(maps.Keys(e.Instance.Labels)) {
			w.Cluster.Label(e.Instance.PrivateDNS, k, e.Instance.Labels[k])
		}
		for _, t := range e.Instance.Taints {
			w.Cluster.Taint(e.Instance.PrivateDNS, fleet.Taint(t))
		}
	}
}

// drainAgain is how long EKS leaves a node alone before it asks again for the eviction of what is left.
const drainAgain = 5 * time.Second

// drain plays EKS's own drain of a node: no new pods, then evictions until nothing is left.
func (w *World) drain(in cloud.Instance) {
	w.Cluster.Cordon(in.PrivateDNS, true)
	left := false
	for _, p := range w.Cluster.Pods(fleet.Owner{}) {
		if p.Node != in.PrivateDNS || p.Stays() != "" {
			continue
		}
		left = true
		_ = w.Cluster.Act(context.Background(), fleet.Action{Verb: fleet.Evict, Pod: p.Ref}) // a refusal is asked for again
	}
	if left {
		w.Clock.AfterFunc(drainAgain, func() { w.drain(in) })
		return
	}
	w.Cloud.ReportNodeDrained(in.ID)
}

// join registers the node of an instance whose kubelet came up, for the first time or again.
func (w *World) join(in cloud.Instance, image Image) {
	if now, ok := w.Cloud.Instance(in.ID); !ok || now.Gone() {
		return
	}
	n := w.nodeOf(in)
	maps.Copy(n.Labels, image.Labels)
	if err := w.Cluster.AddNode(n); err != nil { // it registered before: the machine was off for a while
		w.Cluster.BootMachine(n.Name)
	}
	if !image.Unready {
		w.Clock.AfterFunc(w.readies, func() { w.Cluster.SetReady(n.Name, true) })
	}
}

// nodeOf is what the node of an instance looks like.
func (w *World) nodeOf(in cloud.Instance) fleet.Node {
	n := fleet.Node{
		Name: in.PrivateDNS, Instance: in.ID, Provider: "aws:///" + in.Zone + "/" + in.ID, Zone: in.Zone, Room: w.rooms[in.Type],
		Labels: map[string]string{typeLabel: in.Type, ImageLabel: in.ImageID},
	}
	if in.Group != "" {
		n.Labels[GroupLabel] = in.Group
	}
	maps.Copy(n.Labels, in.Labels)
	for _, t := range in.Taints {
		n.Taints = append(n.Taints, fleet.Taint(t))
	}
	for k, v := range in.Tags {
		if key, ok := strings.CutPrefix(k, labelTag); ok {
			n.Labels[key] = v
		}
		if key, ok := strings.CutPrefix(k, taintTag); ok {
			value, effect, _ := strings.Cut(v, ":")
			n.Taints = append(n.Taints, fleet.Taint{Key: key, Value: value, Effect: effect})
		}
	}
	return n
}
