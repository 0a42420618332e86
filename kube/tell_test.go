package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/fleet"
)

// lifecycleOf prints the node's conditions of KEP-5683.
func (w *world) lifecycleOf() string {
	w.Helper()
	var out []string
	for _, cond := range w.getNode().Status.Conditions {
		if slices.Contains([]corev1.NodeConditionType{maintenancePlanned, drainInProgress, drained}, cond.Type) {
			out = append(out, fmt.Sprintf("%s=%s(%s)", cond.Type, cond.Status, cond.Reason))
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// A change of phase is three requests, a figure one, and no change none.
func TestPublishCase(t *testing.T) {
	w := newJournaled(t)
	asked := w.counted()
	w.node()
	w.seesNode()
	w.file(w.hear(w.signal("spot-1", time.Date(2026, 11, 21, 20, 2, 0, 0, time.UTC))))
	k := *w.open()
	asked.take()
	node, event, status := "PATCH nodes/"+w.name+"/status", "POST namespaces/default/events", "PATCH v1alpha1/departures/"+k.Instance+"/status"
	for _, step := range []struct {
		phase   fleet.ExitPhase
		waiting string
		pods    int
		is      string
		asked   []string
	}{
		{fleet.ExitWaiting, "", 3, "MaintenancePlanned=True(DroverNotice)", []string{node, event, status}},
		{fleet.ExitWaiting, "", 3, "MaintenancePlanned=True(DroverNotice)", nil},
		{fleet.ExitEmptying, "", 3, "DrainInProgress=True(DroverDraining) MaintenancePlanned=False(DroverDraining)", []string{node, event, status}},
		{fleet.ExitEmptying, "api has 2 ready, needs 2", 2, "DrainInProgress=True(DroverDraining) MaintenancePlanned=False(DroverDraining)", []string{status}},
		{fleet.ExitEmptying, "api has 2 ready, needs 2", 2, "DrainInProgress=True(DroverDraining) MaintenancePlanned=False(DroverDraining)", nil},
		{fleet.ExitLeaving, "", 0, "DrainInProgress=False(DroverDrainCompleted) Drained=True(DroverDrainCompleted) MaintenancePlanned=False(DroverDraining)", []string{node, event, status}},
		{fleet.ExitReturned, "", 0, "DrainInProgress=False(DroverDrainCompleted) Drained=False(DroverNoticeOver) MaintenancePlanned=False(DroverDraining)", []string{node, event, status}},
	} {
		w.ok(w.cluster.PublishCase(t.Context(), k, step.phase, step.waiting, step.pods))
		w.made(asked, string(step.phase)+" "+step.waiting, step.asked...)
		if got := w.lifecycleOf(); got != step.is {
			t.Errorf("%s: %s, want %s", step.phase, got, step.is)
		}
		u := w.cluster.knownCase(k.Instance)
		d, err := caseObject(u)
		w.ok(err)
		if d.Status.Phase != string(step.phase) || d.Status.Waiting != step.waiting || int(d.Status.Pods) != step.pods {
			t.Errorf("%s: status %+v", step.phase, d.Status)
		}
	}
	ready := slices.IndexFunc(w.getNode().Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	if ready < 0 {
		t.Errorf("the kubelet's conditions: %+v", w.getNode().Status.Conditions)
	}

	// What is told does not stand in the way of what is filed, nor the other way round.
	w.file(marked(fleet.CaseMarks{Rotation: "r-1"}))
	w.made(asked, "a mark after telling", "PATCH v1alpha1/departures/"+k.Instance+"/status")
	if got := w.open(); got.Marks.Rotation != "r-1" || len(got.Signals) != 1 {
		t.Errorf("on file: %+v", got)
	}
	w.ok(w.cluster.PublishCase(t.Context(), k, fleet.ExitWaiting, "", 0)) // told before: neither the phase nor its event is new
	if got := asked.take(); len(got) != 3 {
		t.Errorf("the first phase again: %q", got)
	}
	if got := w.open(); got.Marks.Rotation != "r-1" {
		t.Errorf("on file: %+v", got)
	}

	events, err := w.client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: fields.Set{"involvedObject.name": w.name, "source": "drover"}.String()})
	w.ok(err)
	var told []string
	for _, e := range events.Items {
		told = append(told, e.Reason)
		if e.InvolvedObject.UID != w.getNode().UID || !strings.HasPrefix(e.Message, k.Instance+": EC2 takes it back; until 2026-11-21T20:02:00Z") {
			t.Errorf("event %+v", e)
		}
	}
	slices.Sort(told)
	if got := strings.Join(told, " "); got != "DepartureEmptying DepartureLeaving DepartureReturned DepartureWaiting" {
		t.Errorf("told: %s", got)
	}
	unknown := k
	unknown.Instance = "i-unknown"
	w.ok(w.cluster.PublishCase(t.Context(), unknown, fleet.ExitGone, "", 0))
	w.made(asked, "what is not on file")
}

// Somebody else's conditions are theirs, and a node that is gone needs none.
func TestOthersConditionsStay(t *testing.T) {
	w := newJournaled(t)
	asked := w.counted()
	w.node()
	theirs := `{"status":{"conditions":[{"type":"DrainInProgress","status":"True","reason":"AdminRequested"},{"type":"MaintenancePlanned","status":"True","reason":"MaintenanceWindow"}]}}`
	_, err := w.client.CoreV1().Nodes().Patch(t.Context(), w.name, types.StrategicMergePatchType, []byte(theirs), metav1.PatchOptions{}, "status")
	w.ok(err)
	w.seesNode()
	w.file(w.hear(w.signal("spot-1", time.Time{})))
	k := *w.open()
	for _, phase := range []fleet.ExitPhase{fleet.ExitEmptying, fleet.ExitReturned} {
		w.ok(w.cluster.PublishCase(t.Context(), k, phase, "", 0))
		if got := w.lifecycleOf(); got != "DrainInProgress=True(AdminRequested) MaintenancePlanned=True(MaintenanceWindow)" {
			t.Errorf("%s: %s", phase, got)
		}
	}
	w.ok(w.client.CoreV1().Nodes().Delete(t.Context(), w.name, metav1.DeleteOptions{}))
	w.eventually("no node in the informer", func() bool { return w.cluster.knownNode(w.name) == nil })
	asked.take()
	w.ok(w.cluster.PublishCase(t.Context(), k, fleet.ExitGone, "", 0))
	w.made(asked, "a node that is gone", "POST namespaces/default/events", "PATCH v1alpha1/departures/"+k.Instance+"/status")
}

// The canaries that came through are seen from another process, the newest ten.
func TestCanaries(t *testing.T) {
	w := newWorld(t)
	other, err := Dial(t.Context(), w.cfg)
	w.ok(err)
	maps := w.client.CoreV1().ConfigMaps(canaryNamespace)
	t.Cleanup(func() { maps.Delete(context.Background(), canaryName, metav1.DeleteOptions{}) })
	none, err := other.ReadCanaries(t.Context())
	w.ok(err)
	if len(none) != 0 {
		t.Errorf("before any: %v", none)
	}
	at := time.Date(2026, 11, 21, 20, 0, 0, 123e6, time.UTC)
	for i := range keepCanaries + 3 {
		w.ok(w.cluster.WriteCanary(t.Context(), fmt.Sprint("c-", i), at.Add(time.Duration(i)*time.Second)))
	}
	w.ok(w.cluster.WriteCanary(t.Context(), "c-12", at)) // delivered again, late
	got, err := other.ReadCanaries(t.Context())
	w.ok(err)
	if _, old := got["c-2"]; len(got) != keepCanaries || old || !got["c-12"].Equal(at.Add(12*time.Second)) {
		t.Errorf("seen: %v", got)
	}
	_, err = maps.Patch(t.Context(), canaryName, types.MergePatchType, []byte(`{"data":{"c-12":"soon"}}`), metav1.PatchOptions{})
	w.ok(err)
	for what, err := range map[string]error{"read": func() error { _, err := other.ReadCanaries(t.Context()); return err }(), "write": w.cluster.WriteCanary(t.Context(), "c-99", at)} {
		if err == nil || !strings.Contains(err.Error(), "configmap kube-system/drover-check: c-12:") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A node's story is told while it is there and after it is gone, by either name.
func TestTrail(t *testing.T) {
	w := newJournaled(t)
	w.node()
	w.file(w.hear(w.signal("spot-1", time.Date(2026, 11, 21, 20, 2, 0, 0, time.UTC))))
	w.act(fleet.Action{Verb: fleet.Shut, Run: "n-1"})
	_, err := w.client.CoreV1().Nodes().Patch(t.Context(), w.name, types.MergePatchType, []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{FieldManager: "kubectl-cordon"})
	w.ok(err)
	w.ok(w.cluster.PublishCase(t.Context(), *w.open(), fleet.ExitEmptying, "", 1))
	at := metav1.NewTime(time.Date(2026, 11, 21, 20, 1, 0, 0, time.UTC))
	event := func(name, about string, change func(*corev1.Event)) {
		t.Helper()
		e := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.name}, Reason: "Killing", Message: "Stopping container web", LastTimestamp: at, Count: 1,
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: w.name, Name: about, UID: types.UID(about)}, Source: corev1.EventSource{Component: "kubelet"}}
		change(e)
		_, err := w.client.CoreV1().Events(w.name).Create(t.Context(), e, metav1.CreateOptions{})
		w.ok(err)
	}
	event("e-1", "web-1", func(e *corev1.Event) { e.Source.Host, e.Count = w.name, 3 })
	event("e-2", "web-1", func(e *corev1.Event) { e.Reason, e.Message, e.Source.Component = "Evicted", "by drover", "somebody" })
	event("e-3", "web-2", func(e *corev1.Event) {
		e.Reason, e.Message, e.Source.Component = "Scheduled", "Successfully assigned "+w.name+"/web-2 to "+w.name, "default-scheduler"
	})
	event("e-4", "elsewhere", func(e *corev1.Event) { e.Source.Host = w.name + "0" })
	heard := metav1.NewMicroTime(at.Add(time.Minute))
	w.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: nodeLeases}}, metav1.CreateOptions{}) // of the server, sooner or later
	_, err = w.client.CoordinationV1().Leases(nodeLeases).Create(t.Context(), nodeLease(w.name, heard), metav1.CreateOptions{})
	w.ok(err)
	run := fleet.Progress{Run: "r-" + w.name, Exits: []fleet.ExitProgress{{Departure: fleet.Departure{Node: w.name, Instance: w.instance(), Cause: fleet.Rotation, Why: "runs web:1"}, Phase: fleet.ExitWaiting}}}
	w.ok(w.cluster.Publish(t.Context(), run))
	log := []fleet.Entry{{At: at.Add(time.Second), Source: "auto scaling", What: "terminated by the group"},
		{At: at.Time, Source: sayEvent + " of somebody", What: "pod " + w.name + "/web-1: Evicted: by drover"}} // a copy of the Event
	w.file(func(have fleet.Case) (fleet.Case, bool) {
		have.Log, have.Marks = log, fleet.CaseMarks{Ended: at.Add(2 * time.Second), End: "gone"}
		return have, true
	})
	c, err := Dial(t.Context(), w.cfg) // as a command does
	w.ok(err)
	tells := func(what, node, instance string, want ...string) {
		t.Helper()
		got, err := c.Trail(t.Context(), node, instance)
		w.ok(err)
		if !slices.IsSortedFunc(got, func(a, b fleet.Entry) int { return a.At.Compare(b.At) }) {
			t.Errorf("%s: not in order", what)
		}
		var lines []string
		for _, e := range got {
			lines = append(lines, e.At.Format("15:04:05 ")+e.Source+" | "+e.What)
		}
		story := strings.Join(lines, "\n")
		for _, words := range want {
			if n := strings.Count(story, words); n != 1 {
				t.Errorf("%s: tells %d times %q:\n%s", what, n, words, story)
			}
		}
		if strings.Contains(story, "elsewhere") {
			t.Errorf("%s: another node's pod:\n%s", what, story)
		}
	}
	lasting := []string{
		"20:00:00 departure " + w.instance() + " | spot was sent: EC2 takes it back, until 2026-11-21T20:02:00Z",
		"20:00:01 departure " + w.instance() + " | spot was heard through eventbridge",
		"20:01:00 kubernetes event of kubelet | pod " + w.name + "/web-1: Killing: Stopping container web (3 times)",
		"20:01:00 kubernetes event of somebody | pod " + w.name + "/web-1: Evicted: by drover",
		"pod " + w.name + "/web-2: Scheduled:",
		"20:01:01 auto scaling | terminated by the group",
		"20:01:02 departure " + w.instance() + " | over: gone",
		"kubernetes event of drover | node " + w.name + ": DepartureEmptying",
		"departure r-" + w.name + "." + w.name + " | is to go (rotation): runs web:1",
	}
	there := append([]string{
		"managed fields of the node | drover last wrote; it holds ", // its taints, until the cordon brings another
		"label " + excludeLabel,
		"managed fields of the node | kubectl-cordon last wrote; it holds its cordon",
		"node | DrainInProgress is True since then: DroverDraining",
		"20:02:00 node lease | last heartbeat of the kubelet",
	}, lasting...)
	tells("by the node", w.name, "", there...)
	tells("by the instance", "", w.instance(), there...)
	w.ok(w.client.CoreV1().Nodes().Delete(t.Context(), w.name, metav1.DeleteOptions{}))
	tells("gone, by the node", w.name, "", lasting...)
	tells("gone, by the instance", "", w.instance(), lasting...)
	tells("both", w.name, w.instance(), lasting...)
	for _, name := range []string{w.name, w.instance()} {
		if got, ok, err := c.Departed(t.Context(), name); err != nil || !ok || got.Node != w.name || got.Instance != w.instance() {
			t.Errorf("departed %s: %+v, %v, %v", name, got, ok, err)
		}
	}
	if got, ok, err := c.Departed(t.Context(), "i-never"); err != nil || ok {
		t.Errorf("departed: %+v, %v", got, err)
	}
	if got, err := c.Trail(t.Context(), "", "i-never"); err != nil || len(got) != 0 {
		t.Errorf("of nobody: %v, %v", got, err)
	}
	cfg := w.grant("reader-"+w.name, HistoryRights[2:3])
	w.eventually("what can be read, and an error for what cannot", func() bool {
		c, err := Dial(t.Context(), cfg)
		if err != nil {
			return false
		}
		got, err := c.Trail(t.Context(), w.name, "")
		return len(got) > 3 && err != nil && strings.Contains(err.Error(), `cannot list resource "events"`) && strings.Contains(err.Error(), `cannot get resource "nodes"`)
	})
}

func nodeLease(node string, heard metav1.MicroTime) *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: node}, Spec: coordinationv1.LeaseSpec{RenewTime: &heard}}
}

func TestAMoveIsToldOnItsPod(t *testing.T) {
	w := newWorld(t)
	a := fleet.Action{Verb: fleet.Delete, Node: w.name, Pod: fleet.PodRef{Namespace: w.name, Name: "api-0", UID: "0-1-2"}, Grace: 20 * time.Second, Why: "EC2 takes the spot instance back"}
	for range 2 { // the second time it is there already
		if err := w.cluster.PublishMove(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	events, err := w.client.CoreV1().Events(w.name).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.uid=0-1-2"})
	if err != nil || len(events.Items) != 1 {
		t.Fatal(err, events)
	}
	want := "deleted past its budget, with 20s to stop, from node " + w.name + ": EC2 takes the spot instance back"
	if e := events.Items[0]; e.Reason != "DroverDeleted" || e.Message != want {
		t.Errorf("%s: %s", e.Reason, e.Message)
	}
}
