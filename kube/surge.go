package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"

	"drover.dev/fleet"
)

// The mark of a surge is labels, not annotations: a Deployment's controller copies annotations to its ReplicaSets, and a later kubectl rollout
// undo would bring a mark back from there that its run took away long ago.
const (
	surgeRun      = "drover.dev/surge-run"
	surgePod      = "drover.dev/surge-pod"
	surgeReplicas = "drover.dev/surge-replicas"
	surgeMin      = "drover.dev/surge-min"
	surgeMax      = "drover.dev/surge-max"
)

// surgeLabels are the mark as a patch of labels; those of no mark remove it.
func surgeLabels(m *fleet.SurgeMark) map[string]any {
	if m == nil {
		return map[string]any{surgeRun: nil, surgePod: nil, surgeReplicas: nil, surgeMin: nil, surgeMax: nil}
	}
	return map[string]any{surgeRun: m.Run, surgePod: m.Pod, surgeReplicas: strconv.Itoa(m.Replicas), surgeMin: strconv.Itoa(m.Min), surgeMax: strconv.Itoa(m.Max)}
}

// surgeOf reads the mark; nil when there is none. Half a mark is an error: it guards somebody's prior values.
func surgeOf(have map[string]string) (*fleet.SurgeMark, error) {
	m := fleet.SurgeMark{Run: have[surgeRun], Pod: have[surgePod]}
	seen := 0
	for key, into := range map[string]*int{surgeReplicas: &m.Replicas, surgeMin: &m.Min, surgeMax: &m.Max} {
		text, ok := have[key]
		if !ok {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("label %s=%q: %w", key, text, err)
		}
		*into, seen = n, seen+1
	}
	switch {
	case m.Run == "" && m.Pod == "" && seen == 0:
		return nil, nil
	case m.Run == "" || m.Pod == "" || seen != 3:
		return nil, fmt.Errorf("labels drover.dev/surge-*: some of the five are missing; put the replicas right by hand, then remove the others")
	}
	return &m, nil
}

const (
	deletionCost = corev1.PodDeletionCost
	cheapest     = "-2147483648"              // the least that the API takes
	costBefore   = "drover.dev/deletion-cost" // the run that set deletionCost, and what it was before: "r-1 absent", "r-1 was 5"
)

// scaled is a workload as surge reads it, with its autoscaler, if it has one.
type scaled struct {
	owner    fleet.Owner
	meta     metav1.ObjectMeta
	replicas int
	selector labels.Selector
	mark     *fleet.SurgeMark
	scaler   *autoscalingv2.HorizontalPodAutoscaler
}

// readScaled reads the workload and its autoscaler live; nil when there is no such workload.
func (c *Cluster) readScaled(ctx context.Context, o fleet.Owner) (*scaled, error) {
	w := &scaled{owner: o, replicas: 1}
	var replicas *int32
	var selector *metav1.LabelSelector
	var err error
	switch o.Kind {
	case "Deployment":
		d, e := c.client.AppsV1().Deployments(o.Namespace).Get(ctx, o.Name, metav1.GetOptions{})
		w.meta, replicas, selector, err = d.ObjectMeta, d.Spec.Replicas, d.Spec.Selector, e
	case "ReplicaSet":
		d, e := c.client.AppsV1().ReplicaSets(o.Namespace).Get(ctx, o.Name, metav1.GetOptions{})
		w.meta, replicas, selector, err = d.ObjectMeta, d.Spec.Replicas, d.Spec.Selector, e
	default:
		reason := fmt.Sprintf("%s: drover gives a replica more to Deployments and ReplicaSets only: others do not heed a pod's deletion cost", o)
		return nil, &fleet.Refused{Reason: reason, Wait: brokenWait}
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, classify(fmt.Errorf("read %s: %w", o, err))
	}
	if replicas != nil {
		w.replicas = int(*replicas)
	}
	if w.selector, err = metav1.LabelSelectorAsSelector(selector); err != nil {
		return nil, fmt.Errorf("%s: selector: %w", o, err)
	}
	if w.scaler, err = c.scalerOf(ctx, o); err != nil {
		return nil, err
	}
	known, err := workloadOf(o, &w.meta, w.scaler)
	w.mark = known.Surge
	return w, err
}

// scalerOf reads live which autoscaler sets the workload's replicas; nil when none does.
func (c *Cluster) scalerOf(ctx context.Context, o fleet.Owner) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	list, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(o.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, classify(fmt.Errorf("list autoscalers of namespace %s: %w", o.Namespace, err))
	}
	for i := range list.Items {
		if targetOf(&list.Items[i]) == o {
			return &list.Items[i], nil
		}
	}
	return nil, nil
}

// patchScaled sets the workload's labels and replicas with one patch, if it is as it was read.
func (c *Cluster) patchScaled(ctx context.Context, w *scaled, labels map[string]any, replicas int) error {
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": w.meta.ResourceVersion, "labels": labels}, "spec": map[string]any{"replicas": replicas}})
	if err != nil {
		return fmt.Errorf("patch of %s: %w", w.owner, err)
	}
	apps, how := c.client.AppsV1(), metav1.PatchOptions{FieldManager: "drover"}
	if w.owner.Kind == "Deployment" {
		_, err = apps.Deployments(w.owner.Namespace).Patch(ctx, w.owner.Name, types.MergePatchType, body, how)
	} else {
		_, err = apps.ReplicaSets(w.owner.Namespace).Patch(ctx, w.owner.Name, types.MergePatchType, body, how)
	}
	return changed(err)
}

// patchScaler sets the autoscaler's labels and bounds with one patch, if it is as it was read.
func (c *Cluster) patchScaler(ctx context.Context, h *autoscalingv2.HorizontalPodAutoscaler, labels map[string]any, min, max int) error {
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": h.ResourceVersion, "labels": labels}, "spec": map[string]any{"minReplicas": min, "maxReplicas": max}})
	if err != nil {
		return fmt.Errorf("patch of autoscaler %s/%s: %w", h.Namespace, h.Name, err)
	}
	_, err = c.client.AutoscalingV2().HorizontalPodAutoscalers(h.Namespace).Patch(ctx, h.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: "drover"})
	return changed(err)
}

// changed classifies an error, but leaves a conflict to the retry around it.
func changed(err error) error {
	if apierrors.IsConflict(err) {
		return err
	}
	return classify(err)
}

// again repeats f, which reads and then writes, as long as somebody else wrote in between.
func again(f func() error) error { return insist(retry.DefaultBackoff, f) }

// insist is again with pauses of one's own. It is not client-go's RetryOnConflict, which takes an f that was out of time for one that succeeded.
func insist(pauses wait.Backoff, f func() error) error {
	for {
		err := f()
		if !apierrors.IsConflict(err) {
			return err
		}
		if pauses.Steps <= 1 {
			return &fleet.Refused{Reason: "others change it at the same moment: " + message(err), Wait: busyWait}
		}
		time.Sleep(pauses.Step())
	}
}

// surge gives the workload one replica more, with the pod made the cheapest to delete before. With an autoscaler its least number goes up
// first, or it would take the replica back; the workload's own number follows at once, so that nobody waits for it. When the first of these is
// refused the pod's deletion cost is put back at once: no mark tells of it.
func (c *Cluster) surge(ctx context.Context, a fleet.Action) error {
	cheap, marked := false, false
	err := again(func() error {
		w, err := c.readScaled(ctx, a.Workload)
		if err != nil {
			return err
		}
		if err := w.maySurge(a); err != nil {
			return err
		}
		mark := fleet.SurgeMark{Run: a.Run, Pod: a.Pod.UID, Replicas: a.From}
		if w.scaler != nil {
			mark.Min, mark.Max = minOf(w.scaler), int(w.scaler.Spec.MaxReplicas)
		}
		if w.mark != nil {
			mark, marked = *w.mark, true // what was before is what the first try found
		}
		if err := c.cheapen(ctx, a); err != nil {
			return err
		}
		cheap = true
		if h := w.scaler; h != nil && (minOf(h) < a.To || h.Labels[surgeRun] == "") {
			if err := c.patchScaler(ctx, h, surgeLabels(&mark), max(minOf(h), a.To), max(int(h.Spec.MaxReplicas), a.To)); err != nil {
				return err
			}
			marked = true
		}
		if w.replicas == a.To && w.meta.Labels[surgeRun] != "" {
			return nil
		}
		return c.patchScaled(ctx, w, surgeLabels(&mark), a.To)
	})
	if cheap && !marked && definite(err) {
		return errors.Join(err, again(func() error { return c.uncheapen(ctx, a) }))
	}
	return err
}

// definite tells an error after which nothing was written from one, such as a timeout, that leaves it open.
func definite(err error) bool {
	var refused *fleet.Refused
	var fatal *fleet.Fatal
	return errors.As(err, &refused) || errors.As(err, &fatal)
}

// maySurge refuses when the workload is not as the action was decided on.
func (w *scaled) maySurge(a fleet.Action) error {
	switch {
	case w == nil:
		return &fleet.Refused{Reason: fmt.Sprintf("%s is gone", a.Workload)}
	case w.mark != nil && w.mark.Run != a.Run:
		return &fleet.Refused{Reason: fmt.Sprintf("run %s has given %s a replica more", w.mark.Run, a.Workload), Wait: ownerWait}
	case w.mark != nil && w.mark.Pod != a.Pod.UID:
		return &fleet.Refused{Reason: fmt.Sprintf("%s has a replica more for another pod already", a.Workload), Wait: budgetWait}
	case w.replicas != a.From && w.replicas != a.To, w.mark == nil && w.replicas == a.To:
		return &fleet.Refused{Reason: fmt.Sprintf("%s has %d replicas by now, not %d", a.Workload, w.replicas, a.From)}
	}
	return nil
}

// cheapen makes the pod the first to be deleted when its workload shrinks, and writes down beside it what was there before. What an earlier
// run wrote down stays what was before.
func (c *Cluster) cheapen(ctx context.Context, a fleet.Action) error {
	p, err := c.livePod(ctx, a.Pod)
	if err != nil {
		return err
	}
	if p == nil || p.DeletionTimestamp != nil {
		return &fleet.Refused{Reason: fmt.Sprintf("pod %s is gone, or going", a.Pod)}
	}
	cost, costly := p.Annotations[deletionCost]
	run, before, noted := strings.Cut(p.Annotations[costBefore], " ")
	if noted && run == a.Run && cost == cheapest {
		return nil
	}
	switch {
	case noted:
	case costly:
		before = "was " + cost
	default:
		before = "absent"
	}
	return c.patchPod(ctx, p, map[string]any{deletionCost: cheapest, costBefore: a.Run + " " + before})
}

// uncheapen puts the pod's deletion cost back, if the run set it and the pod stays.
func (c *Cluster) uncheapen(ctx context.Context, a fleet.Action) error {
	p, err := c.livePod(ctx, a.Pod)
	if err != nil || p == nil || p.DeletionTimestamp != nil {
		return err
	}
	before, ours := strings.CutPrefix(p.Annotations[costBefore], a.Run+" ")
	if !ours {
		return nil
	}
	values := map[string]any{costBefore: nil, deletionCost: nil}
	if cost, was := strings.CutPrefix(before, "was "); was {
		values[deletionCost] = cost
	}
	return c.patchPod(ctx, p, values)
}

// livePod reads exactly this pod; nil when it is gone, whether or not another has its name.
func (c *Cluster) livePod(ctx context.Context, ref fleet.PodRef) (*corev1.Pod, error) {
	if ref.Name == "" {
		return nil, nil // it was gone when the action was decided on
	}
	p, err := c.client.CoreV1().Pods(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, classify(fmt.Errorf("read pod %s: %w", ref, err))
	case string(p.UID) != ref.UID:
		return nil, nil
	}
	return p, nil
}

func (c *Cluster) patchPod(ctx context.Context, p *corev1.Pod, annotations map[string]any) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": p.ResourceVersion, "annotations": annotations}})
	if err != nil {
		return fmt.Errorf("patch of pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	_, err = c.client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: "drover"})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return changed(err)
}

// unsurge takes the replica back. The autoscaler's bounds come first, or it would give the replica again; what somebody else has set meanwhile,
// replicas or bounds, is theirs and stays. When the replacement need not be Ready the pod is the one that stays: it gets its deletion cost back
// before anything shrinks.
func (c *Cluster) unsurge(ctx context.Context, a fleet.Action) error {
	return again(func() error {
		w, err := c.readScaled(ctx, a.Workload)
		if err != nil || w == nil {
			return err
		}
		if w.mark == nil {
			return nil
		}
		if w.mark.Run != a.Run {
			return &fleet.Refused{Reason: fmt.Sprintf("run %s has given %s a replica more", w.mark.Run, a.Workload), Wait: ownerWait}
		}
		if a.Expect.Ready {
			err = c.replaced(ctx, w, a)
		} else {
			err = c.uncheapen(ctx, a)
		}
		if err != nil {
			return err
		}
		if err := c.lower(ctx, w); err != nil {
			return err
		}
		replicas := w.replicas
		if replicas == w.mark.Replicas+1 {
			replicas = a.To
		}
		return c.patchScaled(ctx, w, surgeLabels(nil), replicas)
	})
}

// lower gives the autoscaler its bounds back, those that are still as the surge set them.
func (c *Cluster) lower(ctx context.Context, w *scaled) error {
	if w.scaler == nil || w.scaler.Labels[surgeRun] == "" {
		return nil
	}
	m, least, most := w.mark, minOf(w.scaler), int(w.scaler.Spec.MaxReplicas)
	if least == max(m.Min, m.Replicas+1) {
		least = m.Min
	}
	if most == max(m.Max, m.Replicas+1) {
		most = m.Max
	}
	return c.patchScaler(ctx, w.scaler, surgeLabels(nil), least, most)
}

// replaced refuses unless, live, as many pods are Ready as the workload wants besides the one that goes.
func (c *Cluster) replaced(ctx context.Context, w *scaled, a fleet.Action) error {
	list, err := c.client.CoreV1().Pods(w.owner.Namespace).List(ctx, metav1.ListOptions{LabelSelector: w.selector.String()})
	if err != nil {
		return classify(fmt.Errorf("list pods of %s: %w", w.owner, err))
	}
	others, still := 0, false
	for i := range list.Items {
		p := &list.Items[i]
		if p.DeletionTimestamp != nil || c.ownerOf(p) != w.owner {
			continue
		}
		switch {
		case string(p.UID) == a.Pod.UID:
			still = true
		case ready(p):
			others++
		}
	}
	if others >= max(a.To, 1) {
		return nil
	}
	if still {
		return &fleet.Refused{Reason: fmt.Sprintf("%s has %d Ready pods besides %s, and needs %d before it goes", w.owner, others, a.Pod, max(a.To, 1)), Wait: budgetWait}
	}
	return &fleet.Refused{Reason: fmt.Sprintf("%s has %d Ready pods, and needs %d", w.owner, others, max(a.To, 1)), Wait: budgetWait}
}

func ready(p *corev1.Pod) bool {
	for _, cond := range p.Status.Conditions {
		if cond.Type == corev1.PodReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}
