package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// sleeping is an Environment as it was read live, with what of its status drover writes.
type sleeping struct {
	*unstructured.Unstructured
	record *v1alpha1.SleepRecord
	sleeps []v1alpha1.Sleep
}

// liveEnvironment reads an Environment; nil when there is none.
func (c *Cluster) liveEnvironment(ctx context.Context, name string) (*sleeping, error) {
	u, err := c.objects.Resource(v1alpha1.Environments).Get(ctx, name, metav1.GetOptions{})
	switch {
	case unserved(err):
		return nil, &fleet.Fatal{Err: errors.New(unslept)}
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, classify(fmt.Errorf("read environment %s: %w", name, err))
	}
	var status struct {
		Record *v1alpha1.SleepRecord `json:"record"`
		Sleeps []v1alpha1.Sleep      `json:"sleeps"`
	}
	raw, _, _ := unstructured.NestedMap(u.Object, "status")
	err = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(only(raw, "record", "sleeps"), &status, true)
	if err != nil {
		return nil, &fleet.Fatal{Err: fmt.Errorf("environment %s: status: unreadable: %w: written by another version of drover?", name, err)}
	}
	return &sleeping{u, status.Record, status.Sleeps}, nil
}

// unserved tells that the API server does not know the kind, rather than the object.
func unserved(err error) bool {
	return apierrors.IsNotFound(err) && strings.Contains(message(err), "could not find the requested resource")
}

// only is the map with these keys, as far as it has them.
func only(all map[string]any, keys ...string) map[string]any {
	out := map[string]any{}
	for _, key := range keys {
		if value, ok := all[key]; ok {
			out[key] = value
		}
	}
	return out
}

// remember writes the record of a sleep. What is there of it before is never changed. The Environment then stays until the record is over, even if
// somebody deletes it: it would take the record along. Without a record it is not kept: what holds it goes again when the record is refused.
func (c *Cluster) remember(ctx context.Context, a fleet.Action) error {
	if a.Sleep == nil || a.Sleep.Run != a.Run || a.Run == "" {
		return fmt.Errorf("remember sleep of environment %s: want a record of run %s", a.Environment, a.Run)
	}
	took := false
	err := again(func() error {
		e, err := c.liveEnvironment(ctx, a.Environment)
		if err != nil {
			return err
		}
		if err := mayRemember(e, a); err != nil {
			return err
		}
		want := told(v1alpha1.FromSleepRecord(*a.Sleep))
		if e.record != nil {
			want = want.After(e.record)
		}
		took = took || e.record == nil && !slices.Contains(e.GetFinalizers(), v1alpha1.RecordFinalizer)
		if err := c.setFinalizers(ctx, e, finalizersOf(e.Unstructured, true)); err != nil {
			return err
		}
		switch {
		case e.record == nil:
		case !equality.Semantic.DeepEqual(want.Original, e.record.Original):
			reason := fmt.Sprintf("environment %s: the record of sleep %s is there already, and says something else of how everything was (hash %s, not %s)",
				a.Environment, a.Run, e.record.Original.Hash, a.Sleep.Hash)
			return &fleet.Refused{Reason: reason, Wait: ownerWait, Held: true}
		case equality.Semantic.DeepEqual(want, *e.record):
			return nil
		}
		return c.setStatus(ctx, e, &want, e.sleeps)
	})
	if err != nil && took {
		c.unhold(ctx, a.Environment)
	}
	return err
}

// unhold takes the finalizer off an Environment that has no record, as far as that can be done now: when it is deleted, whoever shows it to people does it.
// A record that is written at the same moment keeps it: one of both writes is of an older version, and is refused.
func (c *Cluster) unhold(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unholdWithin)
	defer cancel()
	if e, err := c.liveEnvironment(ctx, name); err == nil && e != nil && e.record == nil {
		_ = c.setFinalizers(ctx, e, without(e.GetFinalizers(), v1alpha1.RecordFinalizer))
	}
}

// unholdWithin is short: whoever asked for the record waits for it.
const unholdWithin = 5 * time.Second

// finalizersOf are those that an Environment is to have. One that has a record is held; one that has none, and is being deleted, is not. The API server
// takes no new ones of an object that is being deleted.
func finalizersOf(u *unstructured.Unstructured, record bool) []string {
	deleted := u.GetDeletionTimestamp() != nil
	switch {
	case record && !deleted:
		return with(u.GetFinalizers(), v1alpha1.RecordFinalizer)
	case !record && deleted:
		return without(u.GetFinalizers(), v1alpha1.RecordFinalizer)
	}
	return u.GetFinalizers()
}

// held has the finalizer where it belongs. Whoever replaces the object, as kubectl replace does, takes it off; and who was ended between it and the record
// has left it behind.
func (c *Cluster) held(ctx context.Context, e *sleeping) error {
	return c.setFinalizers(ctx, e, finalizersOf(e.Unstructured, hasRecord(e.Unstructured)))
}

// hasRecord tells whether the object has a record, be it readable or not.
func hasRecord(u *unstructured.Unstructured) bool {
	status, _ := u.Object["status"].(map[string]any)
	return status["record"] != nil
}

// mayRemember refuses when the record has no place.
func mayRemember(e *sleeping, a fleet.Action) error {
	switch {
	case e == nil:
		reason := fmt.Sprintf("environment %s is not in the cluster, which is to hold the record of its sleep: apply it", a.Environment)
		return &fleet.Refused{Reason: reason, Wait: ownerWait, Held: true}
	case e.record != nil && e.record.Original.Run != a.Run:
		reason := fmt.Sprintf("environment %s holds the record of sleep %s, which is not over", a.Environment, e.record.Original.Run)
		return &fleet.Refused{Reason: reason, Wait: ownerWait, Held: true}
	case e.record == nil && e.over(a.Run):
		return &fleet.Fatal{Err: fmt.Errorf("sleep %s of environment %s is over; begin another", a.Run, a.Environment)}
	case e.GetDeletionTimestamp() != nil && e.record == nil:
		return &fleet.Refused{Reason: fmt.Sprintf("environment %s is being deleted", a.Environment), Wait: ownerWait, Held: true}
	}
	return nil
}

// over tells whether a sleep is over.
func (e *sleeping) over(run string) bool {
	return slices.ContainsFunc(e.sleeps, func(s v1alpha1.Sleep) bool { return s.Run == run })
}

func with(list []string, one string) []string {
	if slices.Contains(list, one) {
		return list
	}
	return append(slices.Clone(list), one)
}

func without(list []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == one })
}

// setFinalizers says what holds the object, if that is as it was read.
func (c *Cluster) setFinalizers(ctx context.Context, e *sleeping, finalizers []string) error {
	if slices.Equal(finalizers, e.GetFinalizers()) {
		return nil
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": finalizers, "resourceVersion": e.GetResourceVersion(), "uid": e.GetUID()}})
	if err != nil {
		return fmt.Errorf("patch of environment %s: %w", e.GetName(), err)
	}
	u, err := c.objects.Resource(v1alpha1.Environments).Patch(ctx, e.GetName(), types.MergePatchType, body, metav1.PatchOptions{FieldManager: manager})
	switch {
	case apierrors.IsNotFound(err):
		return nil // whoever goes on finds it gone
	case err != nil:
		return changed(err)
	}
	e.Unstructured = u
	c.wroteEnvironment(u)
	return nil
}

// setStatus writes the record and as many of the sleeps as have room, and leaves the rest of the status as it was read.
func (c *Cluster) setStatus(ctx context.Context, e *sleeping, record *v1alpha1.SleepRecord, sleeps []v1alpha1.Sleep) error {
	u := e.DeepCopy()
	unstructured.RemoveNestedField(u.Object, "status", "record")
	if record != nil {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(record)
		if err == nil {
			err = unstructured.SetNestedMap(u.Object, content, "status", "record")
		}
		if err != nil {
			return fmt.Errorf("environment %s: status.record: %w", e.GetName(), err)
		}
	}
	var list []any
	sleeps = recent(sleeps)
	for i := range sleeps {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&sleeps[i])
		if err != nil {
			return fmt.Errorf("environment %s: status.sleeps: %w", e.GetName(), err)
		}
		list = append(list, content)
	}
	if err := unstructured.SetNestedSlice(u.Object, list, "status", "sleeps"); err != nil {
		return fmt.Errorf("environment %s: status.sleeps: %w", e.GetName(), err)
	}
	how := metav1.UpdateOptions{FieldManager: manager, FieldValidation: metav1.FieldValidationStrict}
	out, err := c.objects.Resource(v1alpha1.Environments).UpdateStatus(ctx, u, how)
	switch {
	case apierrors.IsNotFound(err):
		return apierrors.NewConflict(v1alpha1.Environments.GroupResource(), e.GetName(), err)
	case err != nil:
		return changed(err)
	}
	e.Unstructured = out
	c.wroteEnvironment(out)
	return nil
}

// wroteEnvironment remembers what was written until the informer shows it.
func (c *Cluster) wroteEnvironment(u *unstructured.Unstructured) {
	if u.GetDeletionTimestamp() == nil || len(u.GetFinalizers()) > 0 {
		c.wrote.environments.Put(u)
	}
	c.bell.Ring()
}

// conclude takes the record off, and puts the sleep among those that are over. The finalizer goes first: an Environment that somebody wanted deleted
// goes with its record then, and none is left that could never go.
func (c *Cluster) conclude(ctx context.Context, a fleet.Action) error {
	if a.Ended == nil || a.Ended.Run != a.Run || a.Run == "" {
		return fmt.Errorf("conclude sleep of environment %s: want the end of run %s", a.Environment, a.Run)
	}
	return again(func() error {
		e, err := c.liveEnvironment(ctx, a.Environment)
		switch {
		case err != nil || e == nil:
			return err
		case e.record != nil && e.record.Original.Run != a.Run:
			reason := fmt.Sprintf("environment %s holds the record of sleep %s, not of %s", a.Environment, e.record.Original.Run, a.Run)
			return &fleet.Refused{Reason: reason, Wait: ownerWait, Held: true}
		}
		if err := c.setFinalizers(ctx, e, without(e.GetFinalizers(), v1alpha1.RecordFinalizer)); err != nil || e.gone() {
			return err
		}
		if e.record == nil && e.over(a.Run) {
			return nil
		}
		return c.setStatus(ctx, e, nil, append(slices.Clone(e.sleeps), v1alpha1.FromSleep(*a.Ended)))
	})
}

// gone tells whether the last write was the end of an object that somebody had deleted.
func (e *sleeping) gone() bool { return e.GetDeletionTimestamp() != nil && len(e.GetFinalizers()) == 0 }

// Wish says what a person wants of an environment over its schedule; nil takes that back.
func (c *Cluster) Wish(ctx context.Context, environment string, w *fleet.Wish) error {
	var text any
	if w != nil {
		text = v1alpha1.FormatWish(*w)
	}
	body, err := json.Marshal(annotate(map[string]any{v1alpha1.WishKey: text}))
	if err != nil {
		return fmt.Errorf("wish of environment %s: %w", environment, err)
	}
	u, err := c.objects.Resource(v1alpha1.Environments).Patch(ctx, environment, types.MergePatchType, body, metav1.PatchOptions{FieldManager: manager})
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("environment %s: there is none in this cluster; kubectl get environments lists them", environment)
	case err != nil:
		return classify(fmt.Errorf("wish of environment %s: %w", environment, err))
	}
	c.wroteEnvironment(u)
	_ = c.held(ctx, &sleeping{Unstructured: u}) // the wish is there; whoever writes next tries this again
	return nil
}

// ApplyEnvironments applies the Environments of a YAML file, all of them or, if one cannot be understood, none. With dry nothing is written. It returns
// their names. Fields that others apply, such as a GitOps controller, are left to them: that is an error which names them.
func (c *Cluster) ApplyEnvironments(ctx context.Context, data []byte, source string, dry bool) ([]string, error) {
	manifests, errs := v1alpha1.ParseManifests(data, source)
	for _, m := range manifests {
		for _, why := range m.Environment.Trouble {
			if !strings.HasPrefix(why, "spec.schedule.holidays.configMap: ") { // the cluster can read it
				errs = append(errs, fmt.Errorf("%s: environment %s: %s", source, m.Environment.Name, why))
			}
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	how := metav1.PatchOptions{FieldManager: manager, FieldValidation: metav1.FieldValidationStrict}
	if dry {
		how.DryRun = []string{metav1.DryRunAll}
	}
	var names []string
	for _, m := range manifests {
		if err := c.apply(ctx, m.Content, how); err != nil {
			return names, err
		}
		names = append(names, m.Environment.Name)
	}
	return names, nil
}

func (c *Cluster) apply(ctx context.Context, content *unstructured.Unstructured, how metav1.PatchOptions) error {
	name := content.GetName()
	metadata := map[string]any{"name": name}
	for key, values := range map[string]map[string]string{"labels": content.GetLabels(), "annotations": content.GetAnnotations()} {
		delete(values, "kubectl.kubernetes.io/last-applied-configuration")
		if len(values) > 0 {
			metadata[key] = values
		}
	}
	body, err := json.Marshal(map[string]any{"apiVersion": content.GetAPIVersion(), "kind": content.GetKind(), "metadata": metadata, "spec": content.Object["spec"]})
	if err != nil {
		return fmt.Errorf("apply environment %s: %w", name, err)
	}
	u, err := c.objects.Resource(v1alpha1.Environments).Patch(ctx, name, types.ApplyPatchType, body, how)
	switch {
	case apierrors.IsNotFound(err):
		return &fleet.Fatal{Err: errors.New(unslept)}
	case err != nil:
		return classify(fmt.Errorf("apply environment %s: %w", name, err))
	}
	if len(how.DryRun) == 0 {
		c.wroteEnvironment(u)
	}
	return nil
}

// EnvironmentShown is how an environment is, for people.
type EnvironmentShown struct {
	State   string // on, stopping, asleep, starting, ...
	Since   time.Time
	Next    string
	Saved   string
	Asleep  bool // everything is off
	Ready   bool // everything is on, and works
	Waiting []string
}

// PublishEnvironment shows people how an environment is, and sees to it that one with a record is held. One that is gone needs nothing shown.
func (c *Cluster) PublishEnvironment(ctx context.Context, name string, v EnvironmentShown) error {
	if u := c.knownEnvironment(name); u != nil && v.patch(u) == nil && slices.Equal(finalizersOf(u, hasRecord(u)), u.GetFinalizers()) {
		return nil
	}
	return again(func() error {
		u, err := c.objects.Resource(v1alpha1.Environments).Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return classify(fmt.Errorf("read environment %s: %w", name, err))
		}
		e := &sleeping{Unstructured: u}
		if err := c.held(ctx, e); err != nil || e.gone() {
			return err
		}
		u = e.Unstructured
		patch := v.patch(u)
		if patch == nil {
			return nil
		}
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": u.GetResourceVersion()}, "status": patch})
		if err != nil {
			return fmt.Errorf("patch of environment %s: %w", name, err)
		}
		out, err := c.objects.Resource(v1alpha1.Environments).Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: manager}, "status")
		if err != nil {
			return changed(err)
		}
		c.wroteEnvironment(out)
		return nil
	})
}

// knownEnvironment is the object as far as it is known without asking; nil when it is not.
func (c *Cluster) knownEnvironment(name string) *unstructured.Unstructured {
	c.switches.Lock()
	defer c.switches.Unlock()
	if c.switches.informed == nil {
		return nil
	}
	o, _, _ := c.switches.environments.store.GetByKey(name)
	shown, there := o.(*unstructured.Unstructured)
	u, _ := c.wrote.environments.Get(name, shown, there)
	return u
}

// patch is what has to change of the status for it to show this; nil when it does.
func (v *EnvironmentShown) patch(u *unstructured.Unstructured) change {
	var now v1alpha1.EnvironmentStatus
	status, _, _ := unstructured.NestedMap(u.Object, "status")
	_ = runtime.DefaultUnstructuredConverter.FromUnstructured(only(status, "conditions", "summary"), &now) // what cannot be read is shown anew
	next := v.status(now, u.GetGeneration())
	if equality.Semantic.DeepEqual(now, next) {
		return nil
	}
	s := next.Summary
	summary := map[string]any{"state": s.State, "since": nil, "next": s.Next, "saved": s.Saved, "waiting": s.Waiting} // a merge patch keeps what it does not name
	if !s.Since.IsZero() {
		summary["since"] = s.Since
	}
	return change{"conditions": next.Conditions, "summary": summary}
}

// status is what is shown, after what was.
func (v *EnvironmentShown) status(was v1alpha1.EnvironmentStatus, generation int64) v1alpha1.EnvironmentStatus {
	next := *was.DeepCopy()
	next.Summary = v1alpha1.EnvironmentSummary{State: v.State, Next: v.Next, Saved: v.Saved, Waiting: few(v.Waiting, shownLines)}
	if !v.Since.IsZero() {
		next.Summary.Since = metav1.NewTime(v.Since.UTC().Truncate(time.Second))
	}
	for kind, holds := range map[string]bool{v1alpha1.Asleep: v.Asleep, v1alpha1.Ready: v.Ready} {
		one := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: v.reason(), Message: short(strings.Join(next.Summary.Waiting, "; "), shownBytes), ObservedGeneration: generation}
		if holds {
			one.Status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&next.Conditions, one)
	}
	slices.SortFunc(next.Conditions, func(a, b metav1.Condition) int { return strings.Compare(a.Type, b.Type) })
	return next
}

// reason is the state as a condition's reason has to be written.
func (v *EnvironmentShown) reason() string {
	out := strings.Join(strings.FieldsFunc(v.State, func(r rune) bool { return r < 'A' || r > 'z' || r > 'Z' && r < 'a' }), "_")
	if out == "" {
		return "Unknown"
	}
	return strings.ToUpper(out[:1]) + out[1:]
}
