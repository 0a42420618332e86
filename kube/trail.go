package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// nodeLeases is the namespace of the kubelets' heartbeats.
const nodeLeases = "kube-node-lease"

// Bounds of what Trail reads: a large cluster holds events by the hundred thousand.
const (
	trailPage   = 1000
	trailEvents = 50_000
)

// errEnough ends a listing.
var errEnough = errors.New("enough")

// Sources of what Trail tells.
const (
	sayEvent     = "kubernetes event"
	sayManaged   = "managed fields of the node"
	sayNode      = "node"
	sayLease     = "node lease"
	sayDeparture = "departure"
)

// Trail tells what the cluster knows of a node, or of the instance under it, in the order of time: Events about it and its pods, who wrote its
// taints, labels and cordon, its conditions, and drover's Departures. Either name will do, and the node may be gone. It reads live and changes nothing.
// What cannot be read is an error beside the entries that could.
func (c *Cluster) Trail(ctx context.Context, node, instance string) ([]fleet.Entry, error) {
	departures, err := c.departuresOf(ctx, node, instance)
	troubles := []error{err}
	var out []fleet.Entry
	for _, d := range departures {
		node = cmp.Or(node, d.Spec.Node)
		out = append(out, departureTrail(d)...)
	}
	add := func(more []fleet.Entry, err error) {
		out, troubles = append(out, more...), append(troubles, err)
	}
	if node != "" {
		add(c.nodeTrail(ctx, node))
		add(c.leaseTrail(ctx, node))
		add(c.eventTrail(ctx, node))
	}
	fleet.SortEntries(out)
	return distinct(out), errors.Join(troubles...)
}

// distinct leaves out what is told twice: a log holds copies of Events.
func distinct(es []fleet.Entry) []fleet.Entry {
	seen := map[fleet.Entry]bool{}
	return slices.DeleteFunc(es, func(e fleet.Entry) bool {
		e.At = e.At.UTC().Truncate(time.Second)
		before := seen[e]
		seen[e] = true
		return before
	})
}

// Departed is the newest departure that is kept of a node, by its name or its instance's id; false when none is.
func (c *Cluster) Departed(ctx context.Context, name string) (fleet.Departure, bool, error) {
	list, err := c.departuresOf(ctx, name, name)
	if len(list) == 0 {
		return fleet.Departure{}, false, err
	}
	newest := slices.MaxFunc(list, func(a, b *v1alpha1.Departure) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return newest.Spec.Exit.Departure(), true, nil
}

// departuresOf reads the Departures of a node or an instance. One that cannot be read is an error beside the others.
func (c *Cluster) departuresOf(ctx context.Context, node, instance string) ([]*v1alpha1.Departure, error) {
	list, err := c.objects.Resource(v1alpha1.Departures).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil // drover was not installed
	}
	if err != nil {
		return nil, classify(fmt.Errorf("list departures: %w", err))
	}
	var out []*v1alpha1.Departure
	var troubles []error
	for i := range list.Items {
		u := &list.Items[i]
		is := func(field, name string) bool {
			has, _, err := unstructured.NestedString(u.Object, "spec", field)
			return err == nil && name != "" && has == name
		}
		if !is("node", node) && !is("instance", instance) {
			continue
		}
		d, err := departureOf(u)
		if err != nil {
			troubles = append(troubles, err)
			continue
		}
		out = append(out, d)
	}
	return out, errors.Join(troubles...)
}

// departureTrail is what one Departure says.
func departureTrail(d *v1alpha1.Departure) []fleet.Entry {
	var out []fleet.Entry
	say := func(at time.Time, format string, args ...any) {
		if !at.IsZero() {
			out = append(out, fleet.Entry{At: at.UTC(), Source: sayDeparture + " " + d.Name, What: fmt.Sprintf(format, args...)})
		}
	}
	say(d.CreationTimestamp.Time, "is to go (%s): %s", d.Spec.Cause, d.Spec.Why)
	for _, s := range d.Spec.Signals {
		until := ""
		if !s.Deadline.IsZero() {
			until = ", until " + s.Deadline.UTC().Format(time.RFC3339)
		}
		say(s.At.Time, "%s was sent: %s%s", s.Kind, s.Why, until)
		say(s.Heard.Time, "%s was heard through %s", s.Kind, s.Source)
		say(s.Ended.Time, "%s ended", s.Kind)
	}
	by := "its group"
	if run := d.Status.Marks.Rotation; run != "" {
		by = "run " + run
	}
	say(d.Status.Marks.Replaced.Time, "%s replaces it first", by)
	say(d.Status.Marks.Ended.Time, "over: %s", d.Status.Marks.End)
	for _, cond := range d.Status.Conditions {
		if cond.Status == metav1.ConditionTrue {
			say(cond.LastTransitionTime.Time, "%s: %s", cond.Type, cond.Reason)
		}
	}
	for _, e := range d.Status.Log {
		out = append(out, fleet.Entry{At: e.At.UTC(), Source: e.Source, What: e.What})
	}
	return out
}

// nodeTrail is what the node itself tells, while it is there.
func (c *Cluster) nodeTrail(ctx context.Context, name string) ([]fleet.Entry, error) {
	n, err := c.liveNode(ctx, name)
	if err != nil || n == nil {
		return nil, err
	}
	out := []fleet.Entry{{At: n.CreationTimestamp.UTC(), Source: sayNode, What: "registered"}}
	for _, cond := range n.Status.Conditions {
		if cond.LastTransitionTime.IsZero() {
			continue
		}
		what := fmt.Sprintf("%s is %s since then: %s: %s", cond.Type, cond.Status, cond.Reason, cond.Message)
		out = append(out, fleet.Entry{At: cond.LastTransitionTime.UTC(), Source: sayNode, What: what})
	}
	for _, t := range n.Spec.Taints {
		if t.TimeAdded != nil {
			out = append(out, fleet.Entry{At: t.TimeAdded.UTC(), Source: sayNode, What: "taint " + t.ToString() + " was added"})
		}
	}
	for _, m := range n.ManagedFields {
		fields, err := heldFields(m)
		if err != nil {
			return out, fmt.Errorf("node %s: fields of manager %s: %w", name, m.Manager, err)
		}
		if len(fields) > 0 && m.Time != nil {
			what := fmt.Sprintf("%s last wrote; it holds %s", m.Manager, strings.Join(fields, ", "))
			out = append(out, fleet.Entry{At: m.Time.UTC(), Source: sayManaged, What: what})
		}
	}
	if n.DeletionTimestamp != nil {
		out = append(out, fleet.Entry{At: n.DeletionTimestamp.UTC(), Source: sayNode, What: "is being deleted"})
	}
	return out, nil
}

// heldFields names what a manager holds of a node's cordon, taints and labels.
func heldFields(m metav1.ManagedFieldsEntry) ([]string, error) {
	if m.FieldsV1 == nil || m.Subresource != "" {
		return nil, nil
	}
	var held struct {
		Spec struct {
			Unschedulable json.RawMessage `json:"f:unschedulable"`
			Taints        json.RawMessage `json:"f:taints"`
		} `json:"f:spec"`
		Metadata struct {
			Labels map[string]json.RawMessage `json:"f:labels"`
		} `json:"f:metadata"`
	}
	if err := json.Unmarshal(m.FieldsV1.GetRawBytes(), &held); err != nil {
		return nil, err
	}
	var out []string
	if held.Spec.Unschedulable != nil {
		out = append(out, "its cordon")
	}
	if held.Spec.Taints != nil {
		out = append(out, "its taints")
	}
	for _, label := range slices.Sorted(maps.Keys(held.Metadata.Labels)) {
		if name, ok := strings.CutPrefix(label, "f:"); ok && m.Manager != "kubelet" { // its own are those that every node has
			out = append(out, "label "+name)
		}
	}
	return out, nil
}

// leaseTrail tells when the node was last heard of.
func (c *Cluster) leaseTrail(ctx context.Context, node string) ([]fleet.Entry, error) {
	l, err := c.client.CoordinationV1().Leases(nodeLeases).Get(ctx, node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, classify(fmt.Errorf("read lease %s/%s: %w", nodeLeases, node, err))
	}
	if l.Spec.RenewTime == nil {
		return nil, nil
	}
	return []fleet.Entry{{At: l.Spec.RenewTime.UTC(), Source: sayLease, What: "last heartbeat of the kubelet"}}, nil
}

// eventTrail tells the Events about the node, and those about the pods that they show on it. Kubernetes keeps Events for an hour, unless told otherwise.
func (c *Cluster) eventTrail(ctx context.Context, node string) ([]fleet.Entry, error) {
	about, err := c.events(ctx, fields.Set{"involvedObject.kind": "Node", "involvedObject.name": node})
	if err != nil {
		return nil, err
	}
	pods, err := c.events(ctx, fields.Set{"involvedObject.kind": "Pod"})
	there := map[corev1.ObjectReference]bool{}
	for i := range pods {
		if onNode(&pods[i], node) {
			there[podOfEvent(&pods[i])] = true
		}
	}
	for i := range pods {
		if there[podOfEvent(&pods[i])] {
			about = append(about, pods[i])
		}
	}
	var out []fleet.Entry
	for i := range about {
		out = append(out, entryOf(&about[i]))
	}
	return out, err
}

// events lists Events, page by page, up to a number. What it has when it comes to an error counts.
func (c *Cluster) events(ctx context.Context, which fields.Set) ([]corev1.Event, error) {
	var out []corev1.Event
	p := pager.New(pager.SimplePageFunc(func(o metav1.ListOptions) (runtime.Object, error) {
		return c.client.CoreV1().Events(metav1.NamespaceAll).List(ctx, o)
	}))
	p.PageSize = trailPage
	err := p.EachListItem(ctx, metav1.ListOptions{FieldSelector: which.String()}, func(o runtime.Object) error {
		if len(out) == trailEvents {
			return errEnough
		}
		out = append(out, *o.(*corev1.Event))
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return out, fmt.Errorf("events with %s: there are more than %d; the rest was not read", which, trailEvents)
	case err != nil:
		return out, classify(fmt.Errorf("list events with %s: %w", which, err))
	}
	return out, nil
}

// onNode tells whether an Event about a pod says that it was on the node: its kubelet wrote it, or the scheduler put it there.
func onNode(e *corev1.Event, node string) bool {
	return e.Source.Host == node || e.ReportingInstance == node || e.Reason == "Scheduled" && strings.HasSuffix(e.Message, " to "+node)
}

// podOfEvent is the one pod that an Event is about.
func podOfEvent(e *corev1.Event) corev1.ObjectReference {
	return corev1.ObjectReference{Namespace: e.InvolvedObject.Namespace, Name: e.InvolvedObject.Name, UID: e.InvolvedObject.UID}
}

func entryOf(e *corev1.Event) fleet.Entry {
	at := e.LastTimestamp.Time
	if e.Series != nil {
		at = e.Series.LastObservedTime.Time
	}
	if at.IsZero() {
		at = e.EventTime.Time
	}
	if at.IsZero() {
		at = e.CreationTimestamp.Time
	}
	subject := strings.ToLower(e.InvolvedObject.Kind) + " " + e.InvolvedObject.Name
	if e.InvolvedObject.Kind == "Pod" {
		subject = "pod " + e.InvolvedObject.Namespace + "/" + e.InvolvedObject.Name
	}
	what := fmt.Sprintf("%s: %s: %s", subject, e.Reason, e.Message)
	if e.Count > 1 {
		what += fmt.Sprintf(" (%d times)", e.Count)
	}
	by := cmp.Or(e.Source.Component, e.ReportingController, "unknown")
	return fleet.Entry{At: at.UTC(), Source: sayEvent + " of " + by, What: what}
}
