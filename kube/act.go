package kube

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
	"k8s.io/client-go/util/retry"

	"drover.dev/fleet"
)

// Act carries out one action on a node, a pod, a workload or drover's own record. "Already so" is success.
func (c *Cluster) Act(ctx context.Context, a fleet.Action) error {
	switch a.Verb {
	case fleet.Evict:
		return c.evict(ctx, a)
	case fleet.Taint_:
		return c.patchNode(ctx, a.Node, func(n *corev1.Node) change { return setTaint(n, a.Run, corev1.TaintEffect(a.Effect)) })
	case fleet.Untaint:
		return c.untaint(ctx, a)
	case fleet.Keep:
		return c.patchNode(ctx, a.Node, func(n *corev1.Node) change { return keep(n, a.Run) })
	case fleet.Unkeep:
		return c.patchNode(ctx, a.Node, func(n *corev1.Node) change { return unkeep(n, a.Run) })
	case fleet.Exclude:
		return c.patchNode(ctx, a.Node, func(n *corev1.Node) change { return exclude(n, a.Run) })
	case fleet.Include:
		return c.patchNode(ctx, a.Node, include)
	case fleet.Record:
		return c.record(ctx, *a.Rotation)
	case fleet.Surge:
		return c.surge(ctx, a)
	case fleet.Unsurge:
		return c.unsurge(ctx, a)
	}
	return fmt.Errorf("kube does not know how to %s", a.Verb)
}

// lostAfter is how long after its announced end a pod may stay Terminating before a silent node counts as dead. The announced end already
// includes the pod's grace; this covers the clocks.
const lostAfter = 30 * time.Second

// Confirm reads live whether the action's Expect holds.
func (c *Cluster) Confirm(ctx context.Context, a fleet.Action) error {
	if !a.Expect.Empty {
		return nil
	}
	list, err := c.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", a.Node).String()})
	if err != nil {
		return classify(fmt.Errorf("list pods of node %s: %w", a.Node, err))
	}
	for i := range list.Items {
		p := c.podOf(&list.Items[i])
		if p.Stays() != "" {
			continue
		}
		lost, err := c.lost(ctx, &p)
		if err != nil {
			return err
		}
		if !lost {
			return &fleet.Refused{Reason: fmt.Sprintf("node %s is not empty after all: pod %s is on it", a.Node, p.Ref)}
		}
	}
	return nil
}

// lost tells whether the pod's end will never be confirmed: it is overdue, and its node says nothing any more. Closing the machine is then
// what makes sure that nothing of it runs.
func (c *Cluster) lost(ctx context.Context, p *fleet.Pod) (bool, error) {
	if p.Deleted.IsZero() || time.Since(p.Deleted) < lostAfter {
		return false, nil
	}
	n, err := c.client.CoreV1().Nodes().Get(ctx, p.Node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, classify(fmt.Errorf("read node %s: %w", p.Node, err))
	}
	return !nodeOf(n).Ready, nil
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
	same, ours := false, 0
	for _, t := range n.Spec.Taints {
		if t.Key != fleet.TaintKey {
			taints = append(taints, t)
			continue
		}
		ours++ // one key may be there under several effects
		same = t.Value == value && t.Effect == effect
	}
	if ours == 1 && same || ours == 0 && effect == "" {
		return nil
	}
	if effect != "" {
		taints = append(taints, want)
	}
	return change{"spec": map[string]any{"taints": taints}}
}

// untaint takes the run's taint off, and refuses when the taint is another's: a node that somebody else empties must not take pods.
func (c *Cluster) untaint(ctx context.Context, a fleet.Action) error {
	var refused error
	err := c.patchNode(ctx, a.Node, func(n *corev1.Node) change {
		refused = nil
		for _, t := range n.Spec.Taints {
			if t.Key == fleet.TaintKey && (t.Value != a.Run || a.Run == "") {
				refused = &fleet.Refused{Reason: fmt.Sprintf("node %s carries the taint of %q, not of run %q", a.Node, t.Value, a.Run), Wait: ownerWait}
				return nil
			}
		}
		return setTaint(n, "", "")
	})
	if err != nil {
		return err
	}
	return refused
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

// exclude labels the node, unless somebody else did before.
func exclude(n *corev1.Node, run string) change {
	if _, theirs := n.Labels[excludeLabel]; theirs {
		return nil
	}
	return change{"metadata": map[string]any{"labels": map[string]any{excludeLabel: "true"}, "annotations": map[string]any{excludedBy: run}}}
}

// include takes the label off again if a run of drover set it, whichever: what an abandoned run left is for the next to clean up.
func include(n *corev1.Node) change {
	if _, ours := n.Annotations[excludedBy]; !ours {
		return nil
	}
	return change{"metadata": map[string]any{"labels": map[string]any{excludeLabel: nil}, "annotations": map[string]any{excludedBy: nil}}}
}

// evict asks the eviction API to remove exactly this pod. The UID keeps a reborn pod of the same name safe; no retries below this call keep
// the waiting where it can be seen.
func (c *Cluster) evict(ctx context.Context, a fleet.Action) error {
	if p, err := c.pods.Pods(a.Pod.Namespace).Get(a.Pod.Name); err == nil && string(p.UID) != a.Pod.UID {
		return nil // reborn. The API server would see it too, but only after it has charged the budget, or tried for 10 s
	}
	return c.askEviction(ctx, a.Pod)
}

// askEviction posts the eviction of exactly this pod; success when it is gone.
func (c *Cluster) askEviction(ctx context.Context, pod fleet.PodRef, dryRun ...string) error {
	uid := types.UID(pod.UID)
	body := &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}, DryRun: dryRun},
	}
	err := c.client.CoreV1().RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).
		SubResource("eviction").Body(body).MaxRetries(0).Do(ctx).Error()
	holder, _ := heldBy(err)
	switch {
	case apierrors.IsNotFound(err) && holder == "":
		return nil
	case apierrors.IsConflict(err) && holder == "":
		return c.reborn(ctx, pod)
	}
	return classify(err)
}

// reborn reads what a conflict means: success when another pod has the name by now. It may also be the budget, changed by many at once.
func (c *Cluster) reborn(ctx context.Context, ref fleet.PodRef) error {
	p, err := c.client.CoreV1().Pods(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && string(p.UID) != ref.UID:
		return nil
	case err != nil:
		return classify(err)
	}
	return &fleet.Refused{Reason: "the pod or its budget changed at the same moment", Wait: budgetWait}
}
