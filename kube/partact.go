package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// livePart is a part as it was read live.
type livePart struct {
	*unstructured.Unstructured
	*switchable
	id     string
	now    string // the value
	absent bool
	mark   *fleet.PartMark // nil when there is none of this very object
}

// another is the error for an object that has a part's name, and is not the one that was recorded. It is none of ours.
type another struct{ *fleet.Refused }

func (e *another) Unwrap() error { return e.Refused }

// readPart reads exactly the part that was recorded; nil when it is gone.
func (c *Cluster) readPart(ctx context.Context, a fleet.Action) (*livePart, error) {
	r := a.Part
	if r == nil || a.Environment == "" || a.Run == "" {
		return nil, fmt.Errorf("%s: want a part, an environment and a run", a.Verb)
	}
	w := switchableOf(r.Kind)
	if w == nil {
		return nil, &fleet.Fatal{Err: fmt.Errorf("%s: drover does not know how to switch a %s", r.ID(), r.Kind)}
	}
	u, err := c.objects.Resource(w.resource).Namespace(r.Namespace).Get(ctx, r.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, classify(fmt.Errorf("read %s: %w", r.ID(), err))
	case string(u.GetUID()) != r.UID:
		reason := fmt.Sprintf("%s is another object than the one that was recorded (UID %s, not %s): it is left as it is", r.ID(), u.GetUID(), r.UID)
		return nil, &another{&fleet.Refused{Reason: reason, Wait: ownerWait, Held: true}}
	}
	p := &livePart{Unstructured: u, switchable: w, id: r.ID()}
	if p.now, p.absent, err = w.value(u.Object); err == nil {
		p.mark, err = partMarkOf(u)
	}
	if err != nil {
		return nil, &fleet.Refused{Reason: fmt.Sprintf("%s: %v", r.ID(), err), Wait: brokenWait, Held: true}
	}
	if p.mark != nil && p.mark.UID != r.UID {
		p.mark = nil // copied from another object, together with what it was on
	}
	return p, nil
}

// patchPart changes the part's value, unless it is nil, and its mark with one patch, if the part is as it was read.
func (c *Cluster) patchPart(ctx context.Context, p *livePart, value *fleet.PartRecord, mark change) error {
	metadata := map[string]any{"resourceVersion": p.GetResourceVersion(), "uid": p.GetUID()}
	annotations := map[string]any{}
	for key, v := range mark {
		annotations[key] = v
	}
	patch := map[string]any{"metadata": metadata}
	if value != nil {
		raw, err := p.raw(value.Value, value.Absent)
		if err != nil {
			return &fleet.Fatal{Err: fmt.Errorf("%s: value %q: %w", p.id, value.Value, err)}
		}
		if p.field[0] == "metadata" {
			annotations[p.field[2]] = raw
		} else {
			patch[p.field[0]] = map[string]any{p.field[1]: raw}
		}
	}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("patch of %s: %w", p.id, err)
	}
	_, err = c.objects.Resource(p.resource).Namespace(p.GetNamespace()).Patch(ctx, p.GetName(), types.MergePatchType, body, metav1.PatchOptions{FieldManager: manager})
	if apierrors.IsNotFound(err) {
		return apierrors.NewConflict(p.resource.GroupResource(), p.GetName(), err) // read it again, and find it gone
	}
	return changed(err)
}

// turnOff switches the part off and marks it with how it was, in one patch. A mark of the same run stays as it is: it is older than any record that was
// read since. One that is gone is off.
func (c *Cluster) turnOff(ctx context.Context, a fleet.Action) error {
	return again(func() error {
		p, err := c.readPart(ctx, a)
		if err != nil || p == nil {
			return err
		}
		marked, err := p.mayTurnOff(a)
		if err != nil {
			return err
		}
		off := &fleet.PartRecord{Value: p.off}
		if p.isOff(p.now, p.absent) {
			off = nil
		}
		switch {
		case marked && off == nil:
			return nil
		case marked:
			return c.patchPart(ctx, p, off, nil)
		}
		mark := fleet.PartMark{Environment: a.Environment, Run: a.Run, UID: a.Part.UID, Value: a.Part.Value, Absent: a.Part.Absent}
		return c.patchPart(ctx, p, off, change{v1alpha1.MarkKey: mark.String()})
	})
}

// mayTurnOff tells whether the mark is there already, and refuses when the part is not as it was decided on. That it is off without a mark is as it
// should be: somebody replaced the object, and its annotations with it.
func (p *livePart) mayTurnOff(a fleet.Action) (marked bool, err error) {
	refuse := func(format string, args ...any) error {
		return &fleet.Refused{Reason: p.id + " " + fmt.Sprintf(format, args...), Wait: ownerWait, Held: true}
	}
	off, same := p.isOff(p.now, p.absent), p.now == a.Part.Value && p.absent == a.Part.Absent
	switch m := p.mark; {
	case m != nil && m.Environment != a.Environment:
		return false, refuse("is switched off by sleep %s of environment %s", m.Run, m.Environment)
	case m != nil && m.Run == a.Run:
		return true, nil
	case m != nil && (off || !same): // where it is on as recorded, the mark is what a rollout undo brought back
		return false, refuse("has a mark of sleep %s of this environment, which says %s before", m.Run, p.says(m.Value, m.Absent))
	case !off && !same:
		return false, refuse("has %s by now; the record has %s", p.says(p.now, p.absent), p.says(a.Part.Value, a.Part.Absent))
	}
	return false, nil
}

// turnOn puts the part back to what it was, if it is off. Its mark stays until all is verified. For one that is gone there is nothing to do; another object
// under its name is left as somebody has made it.
func (c *Cluster) turnOn(ctx context.Context, a fleet.Action) error {
	return again(func() error {
		p, err := c.readPart(ctx, a)
		switch reborn := (*another)(nil); {
		case errors.As(err, &reborn):
			return nil
		case err != nil || p == nil:
			return err
		case p.mark != nil && p.mark.Environment != a.Environment:
			reason := fmt.Sprintf("%s is switched off by sleep %s of environment %s", p.id, p.mark.Run, p.mark.Environment)
			return &fleet.Refused{Reason: reason, Wait: ownerWait, Held: true}
		case !p.isOff(p.now, p.absent), p.isOff(a.Part.Value, a.Part.Absent):
			return nil
		}
		want := *a.Part
		if p.turn == fleet.Scaled && !want.Absent {
			if want.Value, err = c.bounded(ctx, a.Part); err != nil {
				return err
			}
		}
		return c.patchPart(ctx, p, &want, nil)
	})
}

// bounded is the number of replicas that was, within what the workload's autoscaler allows by now.
func (c *Cluster) bounded(ctx context.Context, r *fleet.PartRecord) (string, error) {
	h, err := c.scalerOf(ctx, r.Owner)
	if err != nil || h == nil {
		return r.Value, err
	}
	n, err := strconv.Atoi(r.Value)
	if err != nil {
		return "", &fleet.Fatal{Err: fmt.Errorf("%s: %q replicas: %w", r.ID(), r.Value, err)}
	}
	return strconv.Itoa(max(minOf(h), min(n, int(h.Spec.MaxReplicas)))), nil
}

// unmark takes the run's mark off the part. Another run's stays: it is somebody's original. One on another object went with the part.
func (c *Cluster) unmark(ctx context.Context, a fleet.Action) error {
	return again(func() error {
		p, err := c.readPart(ctx, a)
		if reborn := (*another)(nil); errors.As(err, &reborn) {
			return nil
		}
		if err != nil || p == nil || p.mark == nil || p.mark.Environment != a.Environment || p.mark.Run != a.Run {
			return err
		}
		if p.isOff(p.now, p.absent) && !p.isOff(a.Part.Value, a.Part.Absent) {
			return &fleet.Refused{Reason: p.id + " is off: its mark says how it was", Wait: ownerWait}
		}
		return c.patchPart(ctx, p, nil, change{v1alpha1.MarkKey: nil})
	})
}
