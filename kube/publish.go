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

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// One call writes at most publishWrites departures and takes at most publishWithin: evictions have the same client, and go first. What is left
// over is written by the next calls; the last one, when every exit is over, writes all.
const (
	publishWrites = 20
	publishWithin = 4 * time.Second
)

// tookStep is how much longer a run must have taken before that alone is worth writing.
const tookStep = time.Minute

// posted is what Publish knows of the departures it wrote, so that it asks for them only once.
type posted struct {
	run        string
	departures map[string]*v1alpha1.Departure // by object name
}

// Publish shows how far a run is: in its Rotation's status, in a Departure for each exit, and as an Event on the node whenever a departure comes
// into another phase. Only what changed is written. It does what it can: an error tells that something is out of date still, and calling again
// makes up for it. In a cluster without drover's kinds it does nothing. It is for one caller at a time.
func (c *Cluster) Publish(ctx context.Context, p fleet.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	rotation, err := c.publishRotation(ctx, p)
	if err != nil {
		return classify(fmt.Errorf("publish rotation %s: %w", p.Run, err))
	}
	if err := c.recall(ctx, p.Run); apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return classify(fmt.Errorf("list departures of run %s: %w", p.Run, err))
	}
	return c.publishDepartures(ctx, p, rotation)
}

// publishRotation brings the run's status up to date and returns the object; nil for a drain, which has none.
func (c *Cluster) publishRotation(ctx context.Context, p fleet.Progress) (*v1alpha1.Rotation, error) {
	r, err := c.rotation(ctx, p.Run)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	want := *r.Status.DeepCopy()
	showProgress(&want, r, p)
	if equality.Semantic.DeepEqual(want, r.Status) {
		return r, nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&want)
	if err != nil {
		return nil, err
	}
	delete(content, "marks") // record's to write
	for _, list := range []string{"phase", "exits", "waiting", "ledger"} {
		if _, there := content[list]; !there {
			content[list] = nil // a merge patch keeps what it does not name
		}
	}
	err = c.patchRotation(ctx, r, map[string]any{"status": content}, "status")
	if apierrors.IsConflict(err) {
		return r, nil // a mark came in between; the next call sees it
	}
	return r, err
}

// showProgress writes progress into a status.
func showProgress(s *v1alpha1.RotationStatus, r *v1alpha1.Rotation, p fleet.Progress) {
	s.Exits = nil
	for _, e := range p.Exits {
		s.Exits = append(s.Exits, v1alpha1.ExitStatus{Name: e.Departure.Name(), Phase: string(e.Phase)})
	}
	s.Phase, s.Waiting = p.Phase, slices.Clone(p.Waiting)
	s.Summary = v1alpha1.Summary{Groups: groupNames(r), Exits: fmt.Sprintf("%d/%d", over(p), len(p.Exits)), Pods: fmt.Sprintf("%d/%d", p.Moved, p.Pods)}
	took := s.Ledger.Took
	if took == nil || (p.Took-took.Duration).Abs() >= tookStep || !r.Status.Marks.Ended.IsZero() {
		took = &metav1.Duration{Duration: p.Took.Truncate(time.Second)}
	}
	s.Ledger = v1alpha1.Ledger{
		Moved: int64(p.Moved), Pods: int64(p.Pods), Exceptions: slices.Clone(p.Exceptions), Forecast: &metav1.Duration{Duration: p.Forecast}, Took: took,
	}
	showConditions(s, r, p.Waiting)
}

// showConditions says in Kubernetes' own form how the run is.
func showConditions(s *v1alpha1.RotationStatus, r *v1alpha1.Rotation, waiting []string) {
	state := func(kind string, is bool, reason, message string) {
		status := metav1.ConditionFalse
		if is {
			status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: r.Generation})
	}
	ended, paused := !r.Status.Marks.Ended.IsZero(), r.Spec.Paused
	exits := s.Summary.Exits + " exits are over"
	switch {
	case ended:
		state(v1alpha1.Progressing, false, "Ended", "the run is over")
	case paused != nil:
		state(v1alpha1.Progressing, false, "Paused", "a person has stopped the run")
	case len(waiting) > 0:
		state(v1alpha1.Progressing, true, "Waiting", waiting[0])
	default:
		state(v1alpha1.Progressing, true, "Moving", exits)
	}
	if ended {
		state(v1alpha1.Complete, true, "Ended", exits)
	} else {
		state(v1alpha1.Complete, false, "UnderWay", exits)
	}
	if exceptions := s.Ledger.Exceptions; len(exceptions) > 0 {
		state(v1alpha1.Degraded, true, "Exceptions", fmt.Sprintf("%d, the first: %s", len(exceptions), exceptions[0])) // all are in the ledger
	} else {
		state(v1alpha1.Degraded, false, "AsPlanned", "")
	}
	if paused != nil {
		state(v1alpha1.Paused, true, "ByAPerson", (&fleet.Pause{By: paused.By, Why: paused.Why}).String())
	} else {
		state(v1alpha1.Paused, false, "NotPaused", "")
	}
}

func groupNames(r *v1alpha1.Rotation) string {
	var out []string
	for _, g := range r.Spec.Plan.Groups {
		out = append(out, g.Name)
	}
	return strings.Join(out, ",")
}

// recall reads which departures of the run there are, once.
func (c *Cluster) recall(ctx context.Context, run string) error {
	if c.posted.run == run && c.posted.departures != nil {
		return nil
	}
	list, err := c.objects.Resource(v1alpha1.Departures).List(ctx, metav1.ListOptions{LabelSelector: labels.Set{v1alpha1.RunLabel: run}.String()})
	if err != nil {
		return err
	}
	c.posted.run, c.posted.departures = run, map[string]*v1alpha1.Departure{}
	for i := range list.Items {
		d, err := departureOf(&list.Items[i])
		if err != nil {
			return err
		}
		c.posted.departures[d.Name] = d
	}
	return nil
}

func departureOf(u *unstructured.Unstructured) (*v1alpha1.Departure, error) {
	var d v1alpha1.Departure
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &d); err != nil {
		return nil, fmt.Errorf("departure %s: unreadable: %w", u.GetName(), err)
	}
	return &d, nil
}

func (c *Cluster) publishDepartures(ctx context.Context, p fleet.Progress, owner *v1alpha1.Rotation) error {
	most := publishWrites
	if over(p) == len(p.Exits) {
		most = len(p.Exits)
	}
	exits := slices.Clone(p.Exits)
	slices.SortStableFunc(exits, func(a, b fleet.ExitProgress) int { return cmp.Compare(c.urgency(p.Run, a), c.urgency(p.Run, b)) })
	var troubles []error
	for i, e := range exits {
		if most == 0 || ctx.Err() != nil {
			troubles = append(troubles, fmt.Errorf("%d departures are looked at next time", len(p.Exits)-i))
			break
		}
		wrote, err := c.publishDeparture(ctx, p.Run, e, owner)
		if wrote {
			most--
		}
		if err != nil {
			troubles = append(troubles, classify(fmt.Errorf("publish departure of %s: %w", e.Departure.Name(), err)))
		}
	}
	return errors.Join(troubles...)
}

// urgency puts those in another phase before those of which only figures changed: figures may change so often that the rest never had its turn.
func (c *Cluster) urgency(run string, e fleet.ExitProgress) int {
	if d := c.posted.departures[nameOf(run, e)]; d != nil && d.Status.Phase == string(e.Phase) {
		return 1
	}
	return 0
}

// nameOf is the name of the exit's object.
func nameOf(run string, e fleet.ExitProgress) string {
	return strings.ToLower(run + "." + e.Departure.Name())
}

// over counts the exits that are.
func over(p fleet.Progress) int {
	n := 0
	for _, e := range p.Exits {
		if e.Phase.Over() {
			n++
		}
	}
	return n
}

// publishDeparture makes the exit's object if there is none, and brings its status up to date. It tells whether anything was written.
func (c *Cluster) publishDeparture(ctx context.Context, run string, e fleet.ExitProgress, owner *v1alpha1.Rotation) (bool, error) {
	name := nameOf(run, e)
	d := c.posted.departures[name]
	if d == nil {
		made, err := c.createDeparture(ctx, name, run, e, owner)
		if err != nil {
			return true, err
		}
		d = made
		c.posted.departures[name] = d
	}
	before := d.Status.Phase
	want := *d.Status.DeepCopy()
	showExit(&want, e)
	if equality.Semantic.DeepEqual(want, d.Status) {
		return false, nil
	}
	body, err := json.Marshal(map[string]any{"status": map[string]any{"phase": want.Phase, "pods": want.Pods, "waiting": want.Waiting, "conditions": want.Conditions}})
	if err != nil {
		return false, err
	}
	_, err = c.objects.Resource(v1alpha1.Departures).Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: "drover"}, "status")
	if apierrors.IsNotFound(err) {
		delete(c.posted.departures, name) // somebody deleted it: the next call makes it anew
	}
	if err != nil {
		return true, err
	}
	d.Status = want
	if before == want.Phase {
		return true, nil
	}
	return true, c.tell(ctx, run, e)
}

func showExit(s *v1alpha1.DepartureStatus, e fleet.ExitProgress) {
	s.Phase, s.Pods, s.Waiting = string(e.Phase), int64(e.Pods), e.Waiting
	progressing, complete := metav1.ConditionTrue, metav1.ConditionFalse
	if e.Phase.Over() {
		progressing, complete = metav1.ConditionFalse, metav1.ConditionTrue
	}
	for kind, status := range map[string]metav1.ConditionStatus{v1alpha1.Progressing: progressing, v1alpha1.Complete: complete} {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{Type: kind, Status: status, Reason: string(e.Phase), Message: e.Waiting})
	}
	slices.SortFunc(s.Conditions, func(a, b metav1.Condition) int { return strings.Compare(a.Type, b.Type) })
}

func (c *Cluster) createDeparture(ctx context.Context, name, run string, e fleet.ExitProgress, owner *v1alpha1.Rotation) (*v1alpha1.Departure, error) {
	d := &v1alpha1.Departure{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Departure"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.RunLabel: run}},
		Spec:       v1alpha1.DepartureSpec{Exit: v1alpha1.FromDeparture(e.Departure)},
	}
	if owner != nil {
		d.OwnerReferences = []metav1.OwnerReference{
			{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Rotation", Name: owner.Name, UID: owner.UID, Controller: new(true)},
		}
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(d)
	if err != nil {
		return nil, err
	}
	delete(content, "status")
	u, err := c.objects.Resource(v1alpha1.Departures).Create(ctx, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{FieldManager: "drover"})
	if apierrors.IsAlreadyExists(err) {
		u, err = c.objects.Resource(v1alpha1.Departures).Get(ctx, name, metav1.GetOptions{})
	}
	if err != nil {
		return nil, err
	}
	return departureOf(u)
}

// tell writes an Event on the node: its departure is in another phase.
func (c *Cluster) tell(ctx context.Context, run string, e fleet.ExitProgress) error {
	node := e.Departure.Node
	if node == "" {
		return nil
	}
	about, err := c.nodeReference(ctx, node)
	if err != nil {
		return err
	}
	message := fmt.Sprintf("%s: %s", run, e.Departure.Why)
	if e.Waiting != "" {
		message += "; " + e.Waiting
	}
	return c.createEvent(ctx, metav1.ObjectMeta{GenerateName: node + "."}, about, "Departure"+string(e.Phase), message)
}

// nodeReference is the node as an Event names it.
func (c *Cluster) nodeReference(ctx context.Context, name string) (corev1.ObjectReference, error) {
	about := corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: name}
	n := c.knownNode(name)
	if n == nil && c.nodes == nil { // nothing is watched
		var err error
		if n, err = c.liveNode(ctx, name); err != nil {
			return about, fmt.Errorf("read node %s: %w", name, err)
		}
	}
	if n != nil {
		about.UID = n.UID
	}
	return about, nil
}

// createEvent writes an Event; one of that name that is there already will do.
func (c *Cluster) createEvent(ctx context.Context, meta metav1.ObjectMeta, about corev1.ObjectReference, reason, message string) error {
	meta.Namespace = cmp.Or(about.Namespace, metav1.NamespaceDefault)
	now := metav1.Now()
	_, err := c.client.CoreV1().Events(meta.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta: meta, InvolvedObject: about, Type: corev1.EventTypeNormal, Reason: reason, Message: message,
		Source: corev1.EventSource{Component: "drover"}, FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}, metav1.CreateOptions{FieldManager: "drover"})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("event on %s %s: %w", strings.ToLower(about.Kind), about.Name, err)
	}
	return nil
}
