package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// unjournaled is what to do about a cluster that drover was not installed in.
const unjournaled = "the cluster does not know Rotation objects; install them with drover install"

// The cluster-wide stop: a ConfigMap, so that kubectl create configmap is enough in an emergency.
const (
	stopNamespace = "kube-system"
	stopName      = "drover-stop"
)

// observeJournal fills the runs that are not over, and the cluster-wide stop.
func (c *Cluster) observeJournal(s *fleet.Snapshot) error {
	stops, err := c.stops.ConfigMaps(stopNamespace).List(labels.Everything())
	if err != nil {
		return fmt.Errorf("configmaps: %w", err)
	}
	for _, m := range stops {
		if s.Stopped, err = stopOf(m); err != nil {
			return err
		}
	}
	if c.journal.unknown() || !c.journal.listed() {
		s.Unjournaled = unjournaled
		return nil
	}
	for _, o := range c.rotations.List() {
		u, ok := o.(*unstructured.Unstructured)
		if !ok || ended(u) {
			continue
		}
		r, err := recordOf(u)
		if err != nil {
			return err
		}
		s.Rotations = append(s.Rotations, r)
	}
	slices.SortFunc(s.Rotations, func(a, b fleet.RotationRecord) int { return cmp.Compare(a.Run, b.Run) })
	return nil
}

// ended tells whether the run is over, without reading the rest: what an old version wrote and nobody can read any more must not stop new runs.
func ended(u *unstructured.Unstructured) bool {
	at, _, err := unstructured.NestedString(u.Object, "status", "marks", "ended")
	return err == nil && at != ""
}

func recordOf(u *unstructured.Unstructured) (fleet.RotationRecord, error) {
	r, err := rotationOf(u)
	if err != nil {
		return fleet.RotationRecord{}, err
	}
	return r.Record()
}

// rotationOf reads the object, all of it: a field that this version does not know is an error, because it may be one that matters.
func rotationOf(u *unstructured.Unstructured) (*v1alpha1.Rotation, error) {
	var r v1alpha1.Rotation
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, &r, true); err != nil {
		return nil, fmt.Errorf("rotation %s: unreadable: %w: written by another version of drover?", u.GetName(), err)
	}
	return &r, nil
}

// rotation reads a run's object live.
func (c *Cluster) rotation(ctx context.Context, run string) (*v1alpha1.Rotation, error) {
	u, err := c.objects.Resource(v1alpha1.Rotations).Get(ctx, run, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return rotationOf(u)
}

// patchRotation changes a run's object, or the subresource of it, if it is as it was read.
func (c *Cluster) patchRotation(ctx context.Context, r *v1alpha1.Rotation, patch map[string]any, subresource ...string) error {
	patch["metadata"] = map[string]any{"resourceVersion": r.ResourceVersion}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("patch of rotation %s: %w", r.Name, err)
	}
	u, err := c.objects.Resource(v1alpha1.Rotations).Patch(ctx, r.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: "drover"}, subresource...)
	if err != nil {
		return changed(err)
	}
	r.ResourceVersion = u.GetResourceVersion()
	return nil
}

// record writes the run's record. Of an object that is there already it only sets what is not set yet: marks, and the way back. Whether the run
// is paused is for people to say, through Pause; a record that was decided on a moment ago must not undo their word. A run that is over does not
// begin again.
func (c *Cluster) record(ctx context.Context, want fleet.RotationRecord) error {
	object, err := v1alpha1.FromRecord(want)
	if err != nil {
		return err
	}
	if err := c.write(ctx, want, object); err != nil || want.Marks.Ended.IsZero() {
		return err
	}
	return c.forgetOld(ctx)
}

// keepEnded is how many runs that are over stay in the cluster, for those who ask later what happened. Their Departures go with them.
const keepEnded = 100

// forgetOld deletes the oldest records of runs that are over, above the number that is kept.
func (c *Cluster) forgetOld(ctx context.Context) error {
	list, err := c.objects.Resource(v1alpha1.Rotations).List(ctx, metav1.ListOptions{})
	if err != nil {
		return classify(fmt.Errorf("list rotations: %w", err))
	}
	over := slices.DeleteFunc(list.Items, func(u unstructured.Unstructured) bool { return !ended(&u) })
	slices.SortFunc(over, func(a, b unstructured.Unstructured) int {
		return cmp.Or(b.GetCreationTimestamp().Compare(a.GetCreationTimestamp().Time), cmp.Compare(b.GetName(), a.GetName()))
	})
	for i := keepEnded; i < len(over); i++ {
		err := c.objects.Resource(v1alpha1.Rotations).Delete(ctx, over[i].GetName(), metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return classify(fmt.Errorf("delete rotation %s, which is long over: %w", over[i].GetName(), err))
		}
	}
	return nil
}

// write makes the object, or brings it up to date.
func (c *Cluster) write(ctx context.Context, want fleet.RotationRecord, object *v1alpha1.Rotation) error {
	return again(func() error {
		live, err := c.rotation(ctx, want.Run)
		if apierrors.IsNotFound(err) {
			live, err = c.createRotation(ctx, object)
		}
		if err != nil {
			return changed(err)
		}
		if !live.Status.Marks.Ended.IsZero() && want.Marks.Ended.IsZero() {
			return &fleet.Fatal{Err: fmt.Errorf("run %s is over; look at drover status and start anew", want.Run)}
		}
		if !equality.Semantic.DeepEqual(live.Spec.Plan, object.Spec.Plan) {
			reason := fmt.Sprintf("rotation %s is there already, with another approved plan (hash %s, not %s)", want.Run, live.Spec.Plan.Hash, want.Hash)
			return &fleet.Refused{Reason: reason, Wait: ownerWait}
		}
		if object.Spec.Intent == v1alpha1.Back && live.Spec.Intent != v1alpha1.Back {
			if err := c.patchRotation(ctx, live, map[string]any{"spec": map[string]any{"intent": v1alpha1.Back}}); err != nil {
				return err
			}
		}
		marks := live.Status.Marks.With(object.Status.Marks)
		if equality.Semantic.DeepEqual(marks, live.Status.Marks) {
			return nil
		}
		return c.patchRotation(ctx, live, map[string]any{"status": map[string]any{"marks": marks}}, "status")
	})
}

// createRotation makes the object. That another process was first shows as a conflict, to be read again.
func (c *Cluster) createRotation(ctx context.Context, r *v1alpha1.Rotation) (*v1alpha1.Rotation, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(r)
	if err != nil {
		return nil, fmt.Errorf("rotation %s: %w", r.Name, err)
	}
	u, err := c.objects.Resource(v1alpha1.Rotations).Create(ctx, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{FieldManager: "drover"})
	switch {
	case apierrors.IsNotFound(err):
		return nil, &fleet.Fatal{Err: errors.New(unjournaled)}
	case apierrors.IsAlreadyExists(err):
		return nil, apierrors.NewConflict(v1alpha1.Rotations.GroupResource(), r.Name, err)
	case err != nil:
		return nil, err
	}
	return rotationOf(u)
}

// Records reads all runs that the cluster holds, also those that are over, the oldest first. Those that are over and that this version cannot
// read are left out and counted.
func (c *Cluster) Records(ctx context.Context) (out []fleet.RotationRecord, unreadable int, err error) {
	list, err := c.objects.Resource(v1alpha1.Rotations).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, 0, errors.New(unjournaled)
	}
	if err != nil {
		return nil, 0, classify(fmt.Errorf("list rotations: %w", err))
	}
	for i := range list.Items {
		r, err := recordOf(&list.Items[i])
		switch {
		case err == nil:
			out = append(out, r)
		case ended(&list.Items[i]):
			unreadable++
		default:
			return nil, 0, err
		}
	}
	slices.SortFunc(out, func(a, b fleet.RotationRecord) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Run, b.Run)) })
	return out, unreadable, nil
}

// Intend says what a run is for from now on. A run that goes back does not turn round again.
func (c *Cluster) Intend(ctx context.Context, run string, intent fleet.Intent) error {
	word, err := v1alpha1.FromIntent(intent)
	if err != nil {
		return fmt.Errorf("rotation %s: %w", run, err)
	}
	return c.direct(ctx, run, func(r *v1alpha1.Rotation) (map[string]any, error) {
		switch {
		case r.Spec.Intent == word:
			return nil, nil
		case word == v1alpha1.Forward:
			return nil, fmt.Errorf("rotation %s: is on its way back, and does not turn round again; begin another run when it is over", run)
		}
		return map[string]any{"intent": word}, nil
	})
}

// Pause stops a run, or lets it go on when p is nil. Who paused it first stays named.
func (c *Cluster) Pause(ctx context.Context, run string, p *fleet.Pause) error {
	return c.direct(ctx, run, func(r *v1alpha1.Rotation) (map[string]any, error) {
		if (r.Spec.Paused != nil) == (p != nil) {
			return nil, nil
		}
		return map[string]any{"paused": v1alpha1.FromPause(p)}, nil
	})
}

// direct changes what a person may change of a run's spec; nothing when decide returns nil.
func (c *Cluster) direct(ctx context.Context, run string, decide func(*v1alpha1.Rotation) (map[string]any, error)) error {
	return again(func() error {
		r, err := c.rotation(ctx, run)
		switch {
		case apierrors.IsNotFound(err):
			return fmt.Errorf("rotation %s: there is no such run in this cluster; kubectl get rotations lists them", run)
		case err != nil:
			return classify(fmt.Errorf("read rotation %s: %w", run, err))
		case !r.Status.Marks.Ended.IsZero():
			return fmt.Errorf("rotation %s: it is over since %s", run, r.Status.Marks.Ended.UTC().Format(time.RFC3339))
		}
		spec, err := decide(r)
		if err != nil || spec == nil {
			return err
		}
		return c.patchRotation(ctx, r, map[string]any{"spec": spec})
	})
}

// StopAll stops every run in the cluster, also those that begin later, and returns the stop that stands: one that is there already stays as it is.
func (c *Cluster) StopAll(ctx context.Context, p fleet.Pause) (fleet.Pause, error) {
	data := map[string]string{"by": p.By, "why": p.Why}
	if !p.At.IsZero() {
		data["at"] = p.At.UTC().Format(time.RFC3339)
	}
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: stopNamespace, Name: stopName}, Data: data}
	_, err := c.client.CoreV1().ConfigMaps(stopNamespace).Create(ctx, m, metav1.CreateOptions{FieldManager: "drover"})
	switch {
	case err == nil:
		return p, nil
	case apierrors.IsAlreadyExists(err):
		return c.standing(ctx)
	}
	return p, classify(fmt.Errorf("create configmap %s/%s: %w", stopNamespace, stopName, err))
}

// standing reads the stop that is there. It lists, as the informers do: that right is there.
func (c *Cluster) standing(ctx context.Context) (fleet.Pause, error) {
	only := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", stopName).String()}
	list, err := c.client.CoreV1().ConfigMaps(stopNamespace).List(ctx, only)
	if err != nil {
		return fleet.Pause{}, classify(fmt.Errorf("read configmap %s/%s: %w", stopNamespace, stopName, err))
	}
	if len(list.Items) == 0 {
		return fleet.Pause{}, fmt.Errorf("configmap %s/%s: somebody lifted the stop at the same moment; nothing is stopped", stopNamespace, stopName)
	}
	p, err := stopOf(&list.Items[0])
	if err != nil {
		return fleet.Pause{}, err
	}
	return *p, nil
}

// ResumeAll lifts the cluster-wide stop. A run that is paused by itself stays so.
func (c *Cluster) ResumeAll(ctx context.Context) error {
	err := c.client.CoreV1().ConfigMaps(stopNamespace).Delete(ctx, stopName, metav1.DeleteOptions{})
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return classify(fmt.Errorf("delete configmap %s/%s: %w", stopNamespace, stopName, err))
}

// stopOf reads the stop. One that was made in a hurry, by kubectl, need not say anything.
func stopOf(m *corev1.ConfigMap) (*fleet.Pause, error) {
	p := &fleet.Pause{By: m.Data["by"], Why: m.Data["why"], At: m.CreationTimestamp.UTC()}
	if p.By == "" {
		p.By = "somebody"
	}
	if at := m.Data["at"]; at != "" {
		var err error
		if p.At, err = time.Parse(time.RFC3339, at); err != nil {
			return nil, fmt.Errorf("configmap %s/%s: at: %w", m.Namespace, m.Name, err)
		}
	}
	return p, nil
}
