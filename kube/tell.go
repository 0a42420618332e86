package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// Node conditions of KEP-5683, Node Lifecycle Conditions (alpha in Kubernetes 1.37, merged as kubernetes/enhancements#6161 and
// kubernetes/kubernetes#139993). Status True says that the state is there; whoever set it clears it with False or by removing it. The KEP leaves
// reasons to the writer, as stable words in CamelCase; any authorized controller may write. Of the other two GracefulNodeShutdownInProgress is the
// kubelet's, and MaintenanceInProgress does not fit: a node that drover empties goes, and nobody works on it. The constants are not in the
// k8s.io/api that drover is built with.
const (
	maintenancePlanned corev1.NodeConditionType = "MaintenancePlanned"
	drainInProgress    corev1.NodeConditionType = "DrainInProgress"
	drained            corev1.NodeConditionType = "Drained"
)

// Reasons of drover's conditions. They all begin with ourReason: a condition with another reason is somebody else's, and is left alone.
const (
	ourReason      = "Drover"
	reasonNotice   = ourReason + "Notice"
	reasonDraining = ourReason + "Draining"
	reasonDrained  = ourReason + "DrainCompleted"
	reasonOver     = ourReason + "NoticeOver"
)

// lifecycle is which condition is True in each phase of a case; the others are False.
var lifecycle = map[fleet.ExitPhase]struct {
	condition corev1.NodeConditionType
	reason    string
}{
	fleet.ExitWaiting:  {maintenancePlanned, reasonNotice},
	fleet.ExitEmptying: {drainInProgress, reasonDraining},
	fleet.ExitLeaving:  {drained, reasonDrained},
	fleet.ExitStandby:  {drained, reasonDrained},
	fleet.ExitGone:     {drained, reasonDrained},
	fleet.ExitReturned: {"", reasonOver},
}

// PublishCase shows how far a case is: in the node's conditions, as an Event on the node when the phase is another one, and in the status of its
// Departure. It goes by what is known without asking; each of the three is one request at most, and none when nothing changed. An error tells that
// something is out of date still, and calling again makes up for it. It needs Open.
func (c *Cluster) PublishCase(ctx context.Context, k fleet.Case, phase fleet.ExitPhase, waiting string, pods int) error {
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	u := c.knownCase(k.Instance)
	if u == nil {
		return nil // not on file any more
	}
	d, err := caseObject(u)
	if err != nil {
		return err
	}
	e := fleet.ExitProgress{Departure: k.Departure, Phase: phase, Pods: pods, Waiting: waiting}
	troubles := []error{c.publishConditions(ctx, e)}
	if d.Status.Phase != string(phase) {
		troubles = append(troubles, c.tellCase(ctx, d, k, e))
	}
	if err := errors.Join(troubles...); err != nil {
		return err // the status is written last: until then the phase counts as untold
	}
	return c.publishStatus(ctx, d, e)
}

// publishStatus brings the object's status up to date. It is not conditional: nobody else writes these fields.
func (c *Cluster) publishStatus(ctx context.Context, d *v1alpha1.Departure, e fleet.ExitProgress) error {
	want := *d.Status.DeepCopy()
	showExit(&want, e)
	if equality.Semantic.DeepEqual(want, d.Status) {
		return nil
	}
	body, err := json.Marshal(map[string]any{"status": map[string]any{"phase": want.Phase, "pods": want.Pods, "waiting": want.Waiting, "conditions": want.Conditions}})
	if err != nil {
		return fmt.Errorf("status of departure %s: %w", d.Name, err)
	}
	u, err := c.objects.Resource(v1alpha1.Departures).Patch(ctx, d.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: "drover"}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return classify(fmt.Errorf("publish departure of %s: %w", d.Name, err))
	}
	c.wrote.cases.Put(u)
	return nil
}

// tellCase writes an Event on the node. Its name says what it tells, so that a phase is told once, whoever repeats it.
func (c *Cluster) tellCase(ctx context.Context, d *v1alpha1.Departure, k fleet.Case, e fleet.ExitProgress) error {
	if k.Node == "" {
		return nil
	}
	about, err := c.nodeReference(ctx, k.Node)
	if err != nil {
		return err
	}
	name := strings.ToLower(fmt.Sprintf("%s.%d.%s", d.Name, d.Spec.Round, e.Phase))
	return classify(c.createEvent(ctx, metav1.ObjectMeta{Name: name}, about, "Departure"+string(e.Phase), story(k, e)))
}

// PublishMove writes an Event on a pod that was told to leave its node: where the people who run it look.
func (c *Cluster) PublishMove(ctx context.Context, a fleet.Action) error {
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	reason, how := "DroverEvicted", "evicted"
	if a.Verb == fleet.Delete {
		reason, how = "DroverDeleted", fmt.Sprintf("deleted past its budget, with %s to stop,", a.Grace)
	}
	about := corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: a.Pod.Namespace, Name: a.Pod.Name, UID: types.UID(a.Pod.UID)}
	meta := metav1.ObjectMeta{Namespace: a.Pod.Namespace, Name: strings.ToLower(fmt.Sprintf("%s.%s.drover", a.Pod.UID, a.Verb))}
	return classify(c.createEvent(ctx, meta, about, reason, fmt.Sprintf("%s from node %s: %s", how, a.Node, a.Why)))
}

// story is a case in a sentence.
func story(k fleet.Case, e fleet.ExitProgress) string {
	out := k.Instance + ": " + k.Why
	if !k.Deadline.IsZero() {
		out += "; until " + k.Deadline.UTC().Format(time.RFC3339)
	}
	if e.Waiting != "" {
		out += "; " + e.Waiting
	}
	return out
}

// publishConditions brings the node's conditions up to date in one patch, which merges them by type: the kubelet's stay as they are.
func (c *Cluster) publishConditions(ctx context.Context, e fleet.ExitProgress) error {
	n := c.knownNode(e.Departure.Node)
	if n == nil {
		return nil
	}
	want := conditionsFor(n, e)
	if len(want) == 0 {
		return nil
	}
	body, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": want}})
	if err != nil {
		return fmt.Errorf("conditions of node %s: %w", n.Name, err)
	}
	now, err := c.client.CoreV1().Nodes().Patch(ctx, n.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{FieldManager: "drover"}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return classify(fmt.Errorf("conditions of node %s: %w", n.Name, err))
	}
	c.wrote.nodes.Put(now)
	return nil
}

// conditionsFor are the conditions that have to change. None is written False that was never there, and none that is somebody else's.
func conditionsFor(n *corev1.Node, e fleet.ExitProgress) []corev1.NodeCondition {
	have := map[corev1.NodeConditionType]corev1.NodeCondition{}
	for _, cond := range n.Status.Conditions {
		have[cond.Type] = cond
	}
	state, now := lifecycle[e.Phase], metav1.Now()
	var out []corev1.NodeCondition
	for _, kind := range []corev1.NodeConditionType{maintenancePlanned, drainInProgress, drained} {
		status := corev1.ConditionFalse
		if kind == state.condition {
			status = corev1.ConditionTrue
		}
		old, there := have[kind]
		theirs := there && !strings.HasPrefix(old.Reason, ourReason)
		if !there && status == corev1.ConditionFalse || there && old.Status == status || theirs && (status == corev1.ConditionFalse || old.Status == corev1.ConditionTrue) {
			continue
		}
		out = append(out, corev1.NodeCondition{Type: kind, Status: status, Reason: state.reason, Message: e.Departure.Why, LastHeartbeatTime: now, LastTransitionTime: now})
	}
	return out
}
