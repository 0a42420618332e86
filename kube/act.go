package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/fleet"
)

// Act carries out one action on a node, a pod, a workload or drover's own record. "Already so" is success.
func (c *Cluster) Act(ctx context.Context, a fleet.Action) error {
	switch a.Verb {
	case fleet.Evict:
		return c.evict(ctx, a)
	case fleet.Delete:
		return c.delete(ctx, a)
	case fleet.Taint_:
		return c.patchNode(ctx, a.Node, plainly(func(n *corev1.Node) change {
			return uncordon(n, a.Run, setTaint(n, a.Run, corev1.TaintEffect(a.Effect)))
		}))
	case fleet.Untaint:
		if err := c.uncourt(ctx, a.Node, a.Run); err != nil { // first: without the taint nobody would look here again
			return err
		}
		return c.patchNode(ctx, a.Node, func(n *corev1.Node) (change, error) { return untaint(n, a.Run) })
	case fleet.Keep:
		return c.patchNode(ctx, a.Node, plainly(func(n *corev1.Node) change { return keep(n, a.Run) }))
	case fleet.Unkeep:
		return c.patchNode(ctx, a.Node, plainly(func(n *corev1.Node) change { return unkeep(n, a.Run) }))
	case fleet.Exclude:
		return c.patchNode(ctx, a.Node, plainly(func(n *corev1.Node) change { return exclude(n, a.Run) }))
	case fleet.Include:
		return c.patchNode(ctx, a.Node, plainly(include))
	case fleet.Shut:
		return c.patchNode(ctx, a.Node, plainly(func(n *corev1.Node) change { return shut(n, a.Run) }))
	case fleet.OutOfService:
		return c.outOfService(ctx, a)
	case fleet.Record:
		return c.record(ctx, *a.Rotation)
	case fleet.Surge:
		return c.surge(ctx, a)
	case fleet.Unsurge:
		return c.unsurge(ctx, a)
	case fleet.Engage:
		return c.engage(ctx, a)
	case fleet.Disengage:
		return c.disengage(ctx, a)
	case fleet.Lend:
		return c.lend(ctx, a)
	case fleet.Unlend:
		return c.unlend(ctx, a)
	case fleet.Court:
		return c.court(ctx, a)
	case fleet.Call:
		return c.call(ctx, a)
	case fleet.Remember:
		return c.remember(ctx, a)
	case fleet.Conclude:
		return c.conclude(ctx, a)
	case fleet.TurnOff:
		return c.turnOff(ctx, a)
	case fleet.TurnOn:
		return c.turnOn(ctx, a)
	case fleet.Unmark:
		return c.unmark(ctx, a)
	case fleet.Place:
		return c.place(ctx, a)
	case fleet.MakeBudget:
		return c.makeBudget(ctx, a)
	}
	return fmt.Errorf("kube does not know how to %s", a.Verb)
}

// lostAfter is how long after its announced end a pod may stay Terminating before a silent node counts as dead. The announced end already
// includes the pod's grace; this covers the clocks.
const lostAfter = 30 * time.Second

// Confirm reads live whether the action's Expect holds; Off is what the action itself reads, in one with its patch.
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

// plainly is a decision that refuses nothing.
func plainly(decide func(*corev1.Node) change) func(*corev1.Node) (change, error) {
	return func(n *corev1.Node) (change, error) { return decide(n), nil }
}

// patchNode patches the node only if it is as it was when it was decided on: other owners' taints and labels are never overwritten. It goes by what
// the informer shows, and asks the API server only when that has no such node or turned out to be old; a refusal is said of the live node only. What
// was "already so" a moment ago is success: if others undid it since, whoever decides sees that, too. A node that is gone needs nothing any more.
func (c *Cluster) patchNode(ctx context.Context, name string, decide func(*corev1.Node) (change, error)) error {
	if n := c.knownNode(name); n != nil {
		if patch, err := decide(n); err == nil {
			if err := c.sendPatch(ctx, n, patch); !apierrors.IsConflict(err) {
				return err
			}
		}
	}
	return c.patchLiveNode(ctx, name, decide)
}

// patchLiveNode is patchNode of the node as the API server has it.
func (c *Cluster) patchLiveNode(ctx context.Context, name string, decide func(*corev1.Node) (change, error)) error {
	return again(func() error {
		n, err := c.liveNode(ctx, name)
		if err != nil || n == nil {
			return err
		}
		patch, err := decide(n)
		if err != nil {
			return err
		}
		return c.sendPatch(ctx, n, patch)
	})
}

// knownNode is the node as far as it is known without asking; nil when it is not.
func (c *Cluster) knownNode(name string) *corev1.Node {
	if c.nodes == nil {
		return nil
	}
	shown, err := c.nodes.Get(name)
	if n, ok := c.wrote.nodes.Get(name, shown, err == nil); ok {
		return n
	}
	return nil
}

// liveNode reads the node; nil when there is none.
func (c *Cluster) liveNode(ctx context.Context, name string) (*corev1.Node, error) {
	n, err := c.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, classify(err)
	}
	return n, nil
}

// sendPatch changes the node if it is still n; a conflict is the caller's to try again.
func (c *Cluster) sendPatch(ctx context.Context, n *corev1.Node, patch change) error {
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
		return fmt.Errorf("patch of node %s: %w", n.Name, err)
	}
	now, err := c.client.CoreV1().Nodes().Patch(ctx, n.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: "drover"})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return changed(err)
	}
	c.wrote.nodes.Put(now)
	return nil
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
func untaint(n *corev1.Node, run string) (change, error) {
	for _, t := range n.Spec.Taints {
		if t.Key == fleet.TaintKey && (t.Value != run || run == "") {
			return nil, &fleet.Refused{Reason: fmt.Sprintf("node %s carries the taint of %q, not of run %q", n.Name, t.Value, run), Wait: ownerWait}
		}
	}
	return uncordon(n, "", setTaint(n, "", "")), nil
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
		return uncordon(n, "", nil)
	}
	return uncordon(n, "", change{"metadata": map[string]any{"labels": map[string]any{excludeLabel: nil}, "annotations": map[string]any{excludedBy: nil}}})
}

// shut closes the node to pods and to load balancers at once. A taint that closes it already stays, whoever's run set it; so does the label.
func shut(n *corev1.Node, run string) change {
	patch := change{}
	if !slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == fleet.TaintKey && t.Effect == corev1.TaintEffectNoSchedule }) {
		maps.Copy(patch, setTaint(n, run, corev1.TaintEffectNoSchedule))
	}
	maps.Copy(patch, exclude(n, run))
	if len(patch) == 0 {
		return nil
	}
	return patch
}

// outOfService tells Kubernetes that the machine is off for good: it gives up the pods and detaches the volumes at once. On a machine that still
// runs that would let two pods write to one volume, so with Expect.Off the node is read live, and the patch takes only if it is still the same.
func (c *Cluster) outOfService(ctx context.Context, a fleet.Action) error {
	off := corev1.Taint{Key: corev1.TaintNodeOutOfService, Value: "nodeshutdown", Effect: corev1.TaintEffectNoExecute}
	return c.patchLiveNode(ctx, a.Node, func(n *corev1.Node) (change, error) {
		switch {
		case slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == off.Key && t.Effect == off.Effect }):
			return nil, nil
		case a.Expect.Off && nodeOf(n).Ready:
			return nil, &fleet.Refused{Reason: fmt.Sprintf("node %s is Ready: its machine is not off", a.Node), Wait: ownerWait}
		}
		return change{"spec": map[string]any{"taints": append(slices.Clone(n.Spec.Taints), off)}}, nil
	})
}

// evict asks the eviction API to remove exactly this pod. The UID keeps a reborn pod of the same name safe; no retries below this call keep
// the waiting where it can be seen.
func (c *Cluster) evict(ctx context.Context, a fleet.Action) error {
	if c.knownReborn(a.Pod) {
		return nil // the API server would see it too, but only after it has charged the budget, or tried for 10 s
	}
	if err := c.letGo(ctx, a.Pod); err != nil {
		return err
	}
	return c.askEviction(ctx, a.Pod, a.Run, metav1.DeleteOptions{GracePeriodSeconds: seconds(a.Grace)})
}

// RunAnnotation on an Eviction object says which run of drover evicts, so that drover's own guard does not hold it.
const RunAnnotation = prefix + "run"

// askEviction posts the eviction of exactly this pod; success when it is gone.
func (c *Cluster) askEviction(ctx context.Context, pod fleet.PodRef, run string, how metav1.DeleteOptions) error {
	how.Preconditions = onlyUID(pod)
	body := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}, DeleteOptions: &how}
	if run != "" {
		body.Annotations = map[string]string{RunAnnotation: run}
	}
	err := c.client.CoreV1().RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).
		SubResource("eviction").Body(body).MaxRetries(0).Do(ctx).Error()
	return c.left(ctx, pod, err)
}

// delete removes exactly this pod, past its budget.
func (c *Cluster) delete(ctx context.Context, a fleet.Action) error {
	if c.knownReborn(a.Pod) {
		return nil
	}
	how := &metav1.DeleteOptions{Preconditions: onlyUID(a.Pod), GracePeriodSeconds: seconds(a.Grace)}
	err := c.client.CoreV1().RESTClient().Delete().Namespace(a.Pod.Namespace).Resource("pods").Name(a.Pod.Name).Body(how).MaxRetries(0).Do(ctx).Error()
	return c.left(ctx, a.Pod, err)
}

// seconds is a grace as the API takes it; nil leaves the pod its own. Zero would be no grace but an order to forget a pod that may still run.
func seconds(grace time.Duration) *int64 {
	if grace <= 0 {
		return nil
	}
	return new(max(1, int64(grace/time.Second)))
}

func onlyUID(pod fleet.PodRef) *metav1.Preconditions {
	return &metav1.Preconditions{UID: new(types.UID(pod.UID))}
}

// knownReborn tells whether another pod has the name by now, as far as is known without asking.
func (c *Cluster) knownReborn(ref fleet.PodRef) bool {
	p, err := c.pods.Pods(ref.Namespace).Get(ref.Name)
	return err == nil && string(p.UID) != ref.UID
}

// left tells what the answer to a pod's eviction or deletion means.
func (c *Cluster) left(ctx context.Context, pod fleet.PodRef, err error) error {
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
