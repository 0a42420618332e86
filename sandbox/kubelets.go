package sandbox

import (
	"context"
	"fmt"
	"path/filepath"

	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/machine"
	"drover.dev/sandbox/plane"
)

// startKubelet runs the real kubelet for an instance. Its node's address is one of the pods' network, which pods can reach; the instance's
// private IP is where its node ports answer.
func (w *World) startKubelet(ctx context.Context, in cloud.Instance, spec machine.Spec) (*plane.Kubelet, error) {
	room, err := spec.Capacity()
	if err != nil {
		return nil, fmt.Errorf("capacity: %w", err)
	}
	return w.Plane.StartKubelet(ctx, plane.KubeletOptions{
		Name: spec.Name, ProviderID: fmt.Sprintf("aws:///%s/%s", in.Zone, in.ID), Dir: filepath.Join(w.Dir, "kubelets", in.ID), Labels: spec.NodeLabels(), Taints: spec.Taints,
		CPU: int(room.Cpu().Value()), Memory: room.Memory().String(), Pods: int(room.Pods().Value()), Path: w.Program,
	})
}
