package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"drover.dev/fleet"
)

// place has new pods of a workload run on nodes with some labels, and tolerate their taint. One that is gone needs no place.
func (c *Cluster) place(ctx context.Context, a fleet.Action) error {
	at := a.Placement
	if at == nil {
		return fmt.Errorf("place: want a placement")
	}
	w := switchableOf(at.Kind)
	if w == nil || w.turn != fleet.Scaled {
		return &fleet.Fatal{Err: fmt.Errorf("%s: drover does not know the pod template of a %s", at.Owner, at.Kind)}
	}
	objects := c.objects.Resource(w.resource).Namespace(at.Namespace)
	return again(func() error {
		u, err := objects.Get(ctx, at.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return classify(fmt.Errorf("read %s: %w", at.Owner, err))
		case string(u.GetUID()) != at.UID:
			return &fleet.Refused{Reason: fmt.Sprintf("%s is another object than the one that was planned for (UID %s, not %s)", at.Owner, u.GetUID(), at.UID), Wait: ownerWait, Held: true}
		}
		spec, err := placed(u, at)
		if err != nil || spec == nil {
			return err
		}
		body, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"resourceVersion": u.GetResourceVersion(), "uid": u.GetUID()}, "spec": map[string]any{"template": map[string]any{"spec": spec}},
		})
		if err != nil {
			return fmt.Errorf("patch of %s: %w", at.Owner, err)
		}
		_, err = objects.Patch(ctx, at.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: manager})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return changed(err)
	})
}

// placed is what has to change of the pods' spec; nil when they are placed. A label that it asks for with another value is its owner's to change.
func placed(u *unstructured.Unstructured, at *fleet.Placement) (change, error) {
	refuse := func(format string, args ...any) error {
		return &fleet.Refused{Reason: at.Owner.String() + " " + fmt.Sprintf(format, args...), Wait: brokenWait, Held: true}
	}
	template := templateOf(u)
	if template == nil {
		return nil, refuse("has no pod template of its own that can be read")
	}
	out := change{}
	add := map[string]string{}
	for key, want := range at.Labels {
		have, asks := template.Spec.NodeSelector[key]
		switch {
		case asks && have != want:
			return nil, refuse("asks for nodes with %s=%s already, not %s", key, have, want)
		case !asks:
			add[key] = want
		}
	}
	if len(add) > 0 {
		out["nodeSelector"] = add
	}
	if !slices.Contains(tolerationsOf(template.Spec.Tolerations), at.Toleration) {
		one := corev1.Toleration{Key: at.Toleration.Key, Value: at.Toleration.Value, Effect: corev1.TaintEffect(at.Toleration.Effect), Operator: corev1.TolerationOpEqual}
		if at.Toleration.Exists {
			one.Operator = corev1.TolerationOpExists
		}
		out["tolerations"] = append(slices.Clone(template.Spec.Tolerations), one) // a merge patch replaces the list
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

func tolerationsOf(list []corev1.Toleration) []fleet.Toleration {
	var out []fleet.Toleration
	for _, t := range list {
		one := fleet.Toleration{Key: t.Key, Value: t.Value, Effect: string(t.Effect), Exists: t.Operator == corev1.TolerationOpExists}
		if t.TolerationSeconds != nil {
			one.Seconds = strconv.FormatInt(*t.TolerationSeconds, 10)
		}
		out = append(out, one)
	}
	return out
}

// makeBudget makes a PodDisruptionBudget. One of that name stays as it is.
func (c *Cluster) makeBudget(ctx context.Context, a fleet.Action) error {
	b := a.NewBudget
	if b == nil || len(b.Match) == 0 {
		return fmt.Errorf("make budget: want one that says whose pods it is of")
	}
	object := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: b.Name, Labels: map[string]string{"app.kubernetes.io/managed-by": manager}},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: b.Match}, MaxUnavailable: new(intstr.FromInt32(int32(b.MaxUnavailable)))},
	}
	_, err := c.client.PolicyV1().PodDisruptionBudgets(b.Namespace).Create(ctx, object, metav1.CreateOptions{FieldManager: manager})
	if err == nil || apierrors.IsAlreadyExists(err) {
		return nil
	}
	return classify(fmt.Errorf("create budget %s/%s: %w", b.Namespace, b.Name, err))
}
