package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/machine"
)

// follow gives every instance its machine, and takes it away as EC2 does: at once, without a word to anybody.
func (w *World) follow(ctx context.Context, events <-chan cloud.Event) {
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			w.happened(ctx, e)
		}
	}
}

func (w *World) happened(ctx context.Context, e cloud.Event) {
	switch e.Kind {
	case cloud.InstanceBooted:
		// A kubelet takes a second or two to come up: others must not wait for it.
		w.work.Go(func() {
			if err := w.boot(ctx, e.Instance); err != nil && ctx.Err() == nil {
				w.log.Error("boot", "instance", e.Instance.ID, "err", err)
			}
		})
	case cloud.InstanceStopping:
		w.kill(e.Instance)
	case cloud.NodeCordon, cloud.NodeUncordon, cloud.NodeDrain, cloud.NodeChanged:
		w.work.Go(func() {
			if err := w.forEKS(ctx, e); err != nil && ctx.Err() == nil {
				w.log.Error(string(e.Kind), "instance", e.Instance.ID, "err", err)
			}
		})
	case cloud.InstanceTerminated:
		w.kill(e.Instance) // for one that was shut down while its kubelet was still starting
		w.work.Go(func() { w.removeNode(ctx, e.Instance.PrivateDNS) })
	}
}

// shape is what the node of an instance looks like.
func (w *World) shape(in cloud.Instance) machine.Spec {
	spec := machine.Spec{
		Name: in.PrivateDNS, InstanceID: in.ID, Zone: in.Zone, Region: w.Cloud.Region(), InstanceType: in.Type, Group: in.Group, NodeIP: in.PrivateIP,
		Labels: map[string]string{},
	}
	if in.Group != "" {
		// Auto Scaling's name of a node group is longer than a label's value may be.
		spec.Labels[GroupLabel] = cmp.Or(in.Tags["eks:nodegroup-name"], in.Group)
	}
	maps.Copy(spec.Labels, in.Labels)
	for _, t := range in.Taints {
		spec.Taints = append(spec.Taints, corev1.Taint{Key: t.Key, Value: t.Value, Effect: corev1.TaintEffect(t.Effect)})
	}
	for k, v := range in.Tags {
		if key, ok := strings.CutPrefix(k, LabelTag); ok {
			spec.Labels[key] = v
		}
	}
	return spec
}

func (w *World) boot(ctx context.Context, in cloud.Instance) error {
	spec := w.shape(in)
	if cmp.Or(Machines(in.Tags[MachineTag]), w.Machines) != Kubelet {
		if _, err := w.Nodes.Boot(spec); err != nil {
			return fmt.Errorf("light machine: %w", err)
		}
		return nil
	}
	k, err := w.startKubelet(ctx, in, spec)
	if err != nil {
		return fmt.Errorf("kubelet: %w", err)
	}
	w.mu.Lock()
	w.kubelets[in.ID] = k
	w.mu.Unlock()
	if now, ok := w.Cloud.Instance(in.ID); !ok || now.Gone() {
		w.kill(in)
		return nil
	}
	if err := w.Nodes.ProxyFor(spec.Name, spec.NodeIP); err != nil {
		return fmt.Errorf("service proxy of %s: %w", spec.Name, err)
	}
	return nil
}

func (w *World) kill(in cloud.Instance) {
	w.Nodes.Kill(in.PrivateDNS)
	w.Nodes.StopProxy(in.PrivateDNS)
	w.mu.Lock()
	k := w.kubelets[in.ID]
	delete(w.kubelets, in.ID)
	w.mu.Unlock()
	if k == nil {
		return
	}
	if err := k.Kill(); err != nil {
		w.log.Error("kill kubelet", "instance", in.ID, "err", err)
	}
}

// removeNode deletes the Node object of a terminated instance, as the cloud controller manager of EKS does. Its pods are then the control
// plane's to collect.
func (w *World) removeNode(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := w.client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		w.log.Error("delete node", "node", name, "err", err)
	}
}
