package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"drover.dev/sandbox/cloud"
)

// The cluster as EKS knows it: managed node groups are made in it.
const (
	EKSCluster = "sandbox"
	eksVersion = "1.36"
)

// forEKS does in the cluster's API what EKS does there with the nodes of a managed node group.
func (w *World) forEKS(ctx context.Context, e cloud.Event) error {
	name := e.Instance.PrivateDNS
	switch e.Kind {
	case cloud.NodeCordon:
		return w.patchNode(ctx, name, map[string]any{"spec": map[string]any{"unschedulable": true}, "metadata": map[string]any{"labels": map[string]any{corev1.LabelNodeExcludeBalancers: "true"}}})
	case cloud.NodeUncordon:
		return w.patchNode(ctx, name, map[string]any{"spec": map[string]any{"unschedulable": nil}, "metadata": map[string]any{"labels": map[string]any{corev1.LabelNodeExcludeBalancers: nil}}})
	case cloud.NodeChanged:
		return w.patchNode(ctx, name, map[string]any{"metadata": map[string]any{"labels": e.Instance.Labels}})
	}
	if err := w.drainNode(ctx, name); err != nil {
		return err
	}
	w.Cloud.ReportNodeDrained(e.Instance.ID)
	return nil
}

func (w *World) patchNode(ctx context.Context, name string, patch map[string]any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("patch of node %s: %w", name, err)
	}
	_, err = w.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		return nil // it has not registered yet, or is gone
	}
	return err
}

// eksPatience is how long EKS tries to empty a node.
const eksPatience = 15 * time.Minute

// drainNode evicts a node's pods as EKS does: all at once, again and again where a budget says no. The node takes no new ones meanwhile.
func (w *World) drainNode(ctx context.Context, name string) error {
	if err := w.patchNode(ctx, name, map[string]any{"spec": map[string]any{"unschedulable": true}}); err != nil {
		return fmt.Errorf("drain node %s: %w", name, err)
	}
	err := wait.PollUntilContextTimeout(ctx, 2*time.Second, eksPatience, true, func(ctx context.Context) (bool, error) {
		pods, err := w.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", name).String()})
		if err != nil {
			return false, err
		}
		left := 0
		for _, p := range pods.Items {
			owner := metav1.GetControllerOf(&p)
			if owner != nil && owner.Kind == "DaemonSet" || p.Annotations[corev1.MirrorPodAnnotationKey] != "" {
				continue
			}
			left++
			err := w.client.PolicyV1().Evictions(p.Namespace).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}})
			if err != nil && !apierrors.IsTooManyRequests(err) && !apierrors.IsNotFound(err) {
				return false, fmt.Errorf("evict pod %s/%s: %w", p.Namespace, p.Name, err)
			}
		}
		return left == 0, nil
	})
	if err != nil {
		return fmt.Errorf("drain node %s: %w", name, err)
	}
	return nil
}
