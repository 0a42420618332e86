package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"drover.dev/fleet"
)

// Act carries out one action on a node or a pod. "Already so" is success.
func (c *Cluster) Act(ctx context.Context, a fleet.Action) error {
	switch a.Verb {
	case fleet.Evict:
		return c.evict(ctx, a)
	case fleet.Taint_:
		return c.patchNode(ctx, a.Node, func(n *corev1.Node) change { return setTaint(n, a.Run, corev1.TaintEffect(a.Effect)) })
	case fleet.Untaint:
		return c.patchNode(ctx, a.Node, func(n *corev1.Node) change { return setTaint(n, "", "") })
	case fleet.Keep:
		return c.patchNode(ctx, a.Node, func(n *corev1.Node) change { return keep(n, a.Run) })
	case fleet.Unkeep:
		return c.patchNode(ctx, a.Node, func(n *corev1.Node) change { return unkeep(n, a.Run) })
	case fleet.Exclude:
		return c.patchNode(ctx, a.Node, func(n *corev1.Node) change { return label(n, excludeLabel, "true") })
	case fleet.Include:
		return c.patchNode(ctx, a.Node, func(n *corev1.Node) change { return label(n, excludeLabel, nil) })
	}
	return fmt.Errorf("kube does not know how to %s", a.Verb)
}

// Confirm reads live whether the action's Expect holds.
func (c *Cluster) Confirm(ctx context.Context, a fleet.Action) error {
	if !a.Expect.Empty {
		return nil
	}
	list, err := c.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", a.Node).String()})
	if err != nil {
		return fmt.Errorf("list pods of node %s: %w", a.Node, err)
	}
	for i := range list.Items {
		if p := c.podOf(&list.Items[i], nil); p.Stays() == "" {
			return &fleet.Refused{Reason: fmt.Sprintf("node %s is not empty after all: pod %s is on it", a.Node, p.Ref)}
		}
	}
	return nil
}

// change is a merge patch of a node; nil means "already so".
type change map[string]any

// patchNode reads the node, and patches it only if it has not changed since: other owners' taints and labels are never overwritten.
// A node that is gone needs nothing any more.
func (c *Cluster) patchNode(ctx context.Context, name string, decide func(*corev1.Node) change) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		n, err := c.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return classify(err)
		}
		patch := decide(n)
		if patch == nil {
			return nil
		}
		meta, _ := patch["metadata"].(map[string]any)
		if meta == nil {
			meta = map[string]any{}
		}
		meta["resourceVersion"] = n.ResourceVersion
		patch["metadata"] = meta
		body, err := json.Marshal(patch)
		if err != nil {
			return fmt.Errorf("patch of node %s: %w", name, err)
		}
		_, err = c.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: "drover"})
		if apierrors.IsConflict(err) {
			return err
		}
		return classify(err)
	})
}

// setTaint sets drover's taint to an effect, or removes it with an effect of "". A merge patch replaces the whole list, so it must carry
// every other taint as it was read; the resource version guards that nobody changed them meanwhile.
func setTaint(n *corev1.Node, value string, effect corev1.TaintEffect) change {
	want := corev1.Taint{Key: fleet.TaintKey, Value: value, Effect: effect}
	taints := make([]corev1.Taint, 0, len(n.Spec.Taints)+1)
	same := false
	for _, t := range n.Spec.Taints {
		if t.Key != fleet.TaintKey {
			taints = append(taints, t)
			continue
		}
		same = t.Value == value && t.Effect == effect
	}
	if same || effect == "" && len(taints) == len(n.Spec.Taints) {
		return nil
	}
	if effect != "" {
		taints = append(taints, want)
	}
	return change{"spec": map[string]any{"taints": taints}}
}

func keep(n *corev1.Node, run string) change {
	if _, theirs := n.Annotations[scaleDownDisabled]; theirs {
		return nil
	}
	return annotate(map[string]any{scaleDownDisabled: "true", keptBy: run})
}

func unkeep(n *corev1.Node, run string) change {
	if n.Annotations[keptBy] != run {
		return nil
	}
	return annotate(map[string]any{scaleDownDisabled: nil, keptBy: nil})
}

func annotate(values map[string]any) change {
	return change{"metadata": map[string]any{"annotations": values}}
}

func label(n *corev1.Node, key string, value any) change {
	old, there := n.Labels[key]
	if value == nil && !there || there && old == value {
		return nil
	}
	return change{"metadata": map[string]any{"labels": map[string]any{key: value}}}
}

// evict asks the eviction API to remove exactly this pod. The UID keeps a reborn pod of the same name safe; no retries below this call keep
// the waiting where it can be seen.
func (c *Cluster) evict(ctx context.Context, a fleet.Action) error {
	uid := types.UID(a.Pod.UID)
	body := &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: a.Pod.Namespace, Name: a.Pod.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}},
	}
	err := c.client.CoreV1().RESTClient().Post().Namespace(a.Pod.Namespace).Resource("pods").Name(a.Pod.Name).
		SubResource("eviction").Body(body).MaxRetries(0).Do(ctx).Error()
	if hook, ok := deniedBy(err); ok {
		return &fleet.Refused{Reason: fmt.Sprintf("held by its owner: webhook %s says: %v", hook, err), Wait: 10 * time.Second}
	}
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return nil // conflict: this UID is gone, another pod has its name
	case apierrors.IsTooManyRequests(err):
		return &fleet.Refused{Reason: "the budget does not allow it now: " + causes(err), Wait: 2 * time.Second}
	case apierrors.IsInternalError(err):
		return &fleet.Refused{Reason: "the API server refuses (500, more than one PodDisruptionBudget?): " + causes(err), Wait: 30 * time.Second}
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return &fleet.Refused{Reason: "its namespace is being deleted: " + causes(err), Wait: 5 * time.Second}
	}
	return classify(err)
}

func causes(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		return err.Error()
	}
	var out []string
	for _, cause := range status.Status().Details.Causes {
		out = append(out, cause.Message)
	}
	return strings.Join(out, "; ")
}

// classify tells what no retry will mend from the rest.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsUnauthorized(err):
		return &fleet.Fatal{Err: fmt.Errorf("%w; log in again", err)}
	case apierrors.IsForbidden(err):
		return &fleet.Fatal{Err: fmt.Errorf("%w; grant drover that right", err)}
	}
	return err
}
