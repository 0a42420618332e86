package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// What to do about a cluster that drover was not installed in, or an older one was.
const (
	unfiled  = "the cluster does not know Departure objects; install them with drover install"
	outdated = "the cluster's Departure objects are of an older drover; bring them up to date with drover install"
)

// fileTries is how File goes on when others write about the same instance at the same moment: several messages about it come at once, and each
// round one of their writers gets through.
var fileTries = wait.Backoff{Steps: 10, Duration: 5 * time.Millisecond, Factor: 1.5, Jitter: 1}

// File changes what is on file about an instance, as engine.Docket says. It goes by what the informer shows and what this process wrote since, and
// reads live only when the write shows that somebody else was first. "No different" may so be said of a copy that is a moment old; the sweep hears again
// of what that hid.
//
// The first filing, a new signal, an end and a new opening are one write each. Signals and deadlines are in the object's spec, marks and log in its
// status, which the API server writes one at a time; so that a new opening need not clear the marks, they carry the round that they are of, and the
// spec begins another. A change of both is two writes, the spec first: what was heard is never lost, and a mark that is missing is set again.
func (c *Cluster) File(ctx context.Context, instance string, change func(fleet.Case) (fleet.Case, bool)) error {
	live := c.cases == nil // nothing is watched
	return insist(fileTries, func() error {
		have, err := c.onFile(ctx, instance, live)
		if err != nil {
			return err
		}
		live = true
		return c.file(ctx, instance, have, change)
	})
}

// onFile is the object about an instance; nil when there is none.
func (c *Cluster) onFile(ctx context.Context, instance string, live bool) (*v1alpha1.Departure, error) {
	u := c.knownCase(instance)
	if live {
		var err error
		u, err = c.objects.Resource(v1alpha1.Departures).Get(ctx, instance, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil, nil // or the kind is unknown: creating it tells
		case err != nil:
			return nil, classify(err)
		}
	}
	if u == nil {
		return nil, nil
	}
	return caseObject(u)
}

// knownCase is the object about an instance as far as it is known without asking; nil when it is not.
func (c *Cluster) knownCase(instance string) *unstructured.Unstructured {
	if c.cases == nil {
		return nil
	}
	o, there, _ := c.cases.GetByKey(instance)
	shown, _ := o.(*unstructured.Unstructured)
	if u, ok := c.wrote.cases.Get(instance, shown, there); ok {
		return u
	}
	return nil
}

// caseObject reads the object of a case.
func caseObject(u *unstructured.Unstructured) (*v1alpha1.Departure, error) {
	d, err := departureOf(u)
	if err != nil {
		return nil, err
	}
	if d.Spec.Opened.IsZero() {
		return nil, fmt.Errorf("departure %s: unreadable: it does not say when it was opened; if nothing else made it, delete it", d.Name)
	}
	return d, nil
}

// file writes what change wants. That somebody else was first shows as a conflict.
func (c *Cluster) file(ctx context.Context, instance string, have *v1alpha1.Departure, change func(fleet.Case) (fleet.Case, bool)) error {
	was := fleet.Case{Departure: fleet.Departure{Instance: instance}}
	if have != nil {
		var err error
		if was, err = have.Case(); err != nil {
			return err
		}
	}
	next, differs := change(was)
	if !differs {
		return nil
	}
	if next.Instance != instance || next.Opened.IsZero() {
		return fmt.Errorf("departure %s: is to be about instance %q, opened %v", instance, next.Instance, next.Opened)
	}
	want, err := v1alpha1.FromCase(next)
	if err != nil {
		return err
	}
	if have == nil {
		have, err = c.createCase(ctx, want)
	} else {
		have, err = c.patchSpec(ctx, have, want)
	}
	if err != nil {
		return err
	}
	return c.patchStatus(ctx, have, want)
}

func (c *Cluster) createCase(ctx context.Context, want *v1alpha1.Departure) (*v1alpha1.Departure, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(want)
	if err != nil {
		return nil, fmt.Errorf("departure %s: %w", want.Name, err)
	}
	delete(content, "status")
	how := metav1.CreateOptions{FieldManager: "drover", FieldValidation: metav1.FieldValidationStrict}
	u, err := c.objects.Resource(v1alpha1.Departures).Create(ctx, &unstructured.Unstructured{Object: content}, how)
	switch {
	case apierrors.IsNotFound(err):
		return nil, &fleet.Fatal{Err: errors.New(unfiled)}
	case apierrors.IsAlreadyExists(err):
		return nil, apierrors.NewConflict(v1alpha1.Departures.GroupResource(), want.Name, err)
	}
	return c.kept(u, err)
}

// patchSpec brings the object's spec up to date. Marks that are taken back begin another round.
func (c *Cluster) patchSpec(ctx context.Context, have, want *v1alpha1.Departure) (*v1alpha1.Departure, error) {
	want.Spec.Round = have.Spec.Round
	if have.Status.Marks.Round == have.Spec.Round && !want.Status.Marks.Continues(have.Status.Marks) {
		want.Spec.Round++
	}
	if equality.Semantic.DeepEqual(want.Spec, have.Spec) {
		return have, nil
	}
	spec, err := mergePatch(&have.Spec, &want.Spec)
	if err != nil {
		return nil, fmt.Errorf("departure %s: %w", want.Name, err)
	}
	return c.patchCase(ctx, have, map[string]any{"metadata": map[string]any{"labels": want.Labels}, "spec": spec})
}

// patchStatus brings marks and log up to date.
func (c *Cluster) patchStatus(ctx context.Context, have, want *v1alpha1.Departure) error {
	want.Status.Marks.Round = have.Spec.Round
	is, err := have.Case()
	if err != nil {
		return err
	}
	shall, err := want.Case()
	if err != nil {
		return err
	}
	status := map[string]any{}
	if is.Marks != shall.Marks {
		if status["marks"], err = mergePatch(&have.Status.Marks, &want.Status.Marks); err != nil {
			return fmt.Errorf("departure %s: marks: %w", want.Name, err)
		}
	}
	if !slices.Equal(is.Log, shall.Log) {
		status["log"] = want.Status.Log
	}
	if len(status) == 0 {
		return nil
	}
	status["pods"] = have.Status.Pods // required
	_, err = c.patchCase(ctx, have, map[string]any{"metadata": map[string]any{}, "status": status}, "status")
	return err
}

// mergePatch makes one object of the other: what is to go is named, because a merge patch keeps what it does not name.
func mergePatch(from, to any) (map[string]any, error) {
	old, err := runtime.DefaultUnstructuredConverter.ToUnstructured(from)
	if err != nil {
		return nil, err
	}
	patch, err := runtime.DefaultUnstructuredConverter.ToUnstructured(to)
	if err != nil {
		return nil, err
	}
	for name := range old {
		if _, stays := patch[name]; !stays {
			patch[name] = nil
		}
	}
	return patch, nil
}

// patchCase changes the object, or the subresource of it, if it is as it was read.
func (c *Cluster) patchCase(ctx context.Context, have *v1alpha1.Departure, patch map[string]any, subresource ...string) (*v1alpha1.Departure, error) {
	patch["metadata"].(map[string]any)["resourceVersion"] = have.ResourceVersion
	body, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("patch of departure %s: %w", have.Name, err)
	}
	how := metav1.PatchOptions{FieldManager: "drover", FieldValidation: metav1.FieldValidationStrict}
	u, err := c.objects.Resource(v1alpha1.Departures).Patch(ctx, have.Name, types.MergePatchType, body, how, subresource...)
	if apierrors.IsNotFound(err) {
		return nil, apierrors.NewConflict(v1alpha1.Departures.GroupResource(), have.Name, err) // somebody deleted it
	}
	return c.kept(u, err)
}

// kept reads the answer to a write, and remembers it until the informer shows it.
func (c *Cluster) kept(u *unstructured.Unstructured, err error) (*v1alpha1.Departure, error) {
	if apierrors.IsBadRequest(err) && strings.Contains(message(err), "unknown field") {
		return nil, &fleet.Fatal{Err: fmt.Errorf("%s (%w)", outdated, err)}
	}
	if err != nil {
		return nil, changed(err)
	}
	if c.cases != nil {
		c.wrote.cases.Put(u)
	}
	c.bell.Ring()
	return caseObject(u)
}

// seenCase is what an object was read as. An informer never changes an object, so the pointer tells whether that is still good.
type seenCase struct {
	raw  *unstructured.Unstructured
	what fleet.Case
	err  error
}

// observeCases fills the cases that are not over. One that cannot be read is left out and told by Unreadable: it must not stop the others.
func (c *Cluster) observeCases(s *fleet.Snapshot) {
	known := map[string]seenCase{}
	for name, raw := range c.knownCases() {
		one := c.seen.cases[name]
		if one.raw != raw {
			one = seenCase{raw: raw}
			one.what, one.err = caseOf(raw)
		}
		known[name] = one
		if one.err == nil && (one.what.Open() || s.Now.Sub(one.what.Marks.Ended) < time.Hour) {
			s.Cases = append(s.Cases, one.what.Clone())
		}
	}
	c.seen.cases = known
	slices.SortFunc(s.Cases, func(a, b fleet.Case) int { return cmp.Compare(a.Instance, b.Instance) })
}

func caseOf(u *unstructured.Unstructured) (fleet.Case, error) {
	d, err := caseObject(u)
	if err != nil {
		return fleet.Case{}, err
	}
	return d.Case()
}

// knownCases are all cases as far as they are known without asking, by instance.
func (c *Cluster) knownCases() map[string]*unstructured.Unstructured {
	out := map[string]*unstructured.Unstructured{}
	for _, o := range c.cases.List() {
		if u, ok := o.(*unstructured.Unstructured); ok {
			out[u.GetName()] = u
		}
	}
	c.wrote.cases.Over(out)
	return out
}

// Unreadable tells which cases the last Observe had to leave out, and why.
func (c *Cluster) Unreadable() []error {
	c.seen.Lock()
	defer c.seen.Unlock()
	var out []error
	for _, one := range c.seen.cases {
		if one.err != nil {
			out = append(out, one.err)
		}
	}
	slices.SortFunc(out, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return out
}

// KeepCases is how many cases that are over stay in the cluster, for those who ask later what became of a node.
const KeepCases = 500

// pruneAtOnce bounds one sweep.
const pruneAtOnce = 100

// PruneCases deletes the oldest cases that are over, above keep. It asks for nothing: it goes by what Observe saw, and does nothing until a tenth too
// many are there, so that most calls cost no request. One that was opened again meanwhile stays.
func (c *Cluster) PruneCases(ctx context.Context, keep int) error {
	for _, one := range c.tooMany(keep) {
		u := one.raw
		how := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: new(u.GetUID()), ResourceVersion: new(u.GetResourceVersion())}}
		err := c.objects.Resource(v1alpha1.Departures).Delete(ctx, u.GetName(), how)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return classify(fmt.Errorf("delete departure %s, which is long over: %w", u.GetName(), err))
		}
	}
	return nil
}

// tooMany are the oldest cases that are over, as many as one sweep deletes.
func (c *Cluster) tooMany(keep int) []seenCase {
	c.seen.Lock()
	defer c.seen.Unlock()
	var over []seenCase
	for _, one := range c.seen.cases {
		if one.err == nil && !one.what.Open() {
			over = append(over, one)
		}
	}
	if len(over) <= keep+keep/10 {
		return nil
	}
	slices.SortFunc(over, func(a, b seenCase) int {
		return cmp.Or(a.what.Marks.Ended.Compare(b.what.Marks.Ended), cmp.Compare(a.what.Instance, b.what.Instance))
	})
	return over[:min(len(over)-keep, pruneAtOnce)]
}
