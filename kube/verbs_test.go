package kube

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/fleet"
)

// seesNode waits until the cluster's informer shows the node as it is.
func (w *world) seesNode() {
	w.Helper()
	now := w.getNode()
	w.eventually("the node in the informer", func() bool {
		n, err := w.cluster.nodes.Get(w.name)
		return err == nil && n.ResourceVersion == now.ResourceVersion
	})
}

func taintsOf(n *corev1.Node) map[string]string {
	out := map[string]string{}
	for _, t := range n.Spec.Taints {
		out[t.Key+":"+string(t.Effect)] = t.Value
	}
	return out
}

// A node is shut in one request, and opened again in two, without a look.
func TestShut(t *testing.T) {
	w := newWorld(t)
	asked := w.counted()
	before := w.node()
	w.seesNode()
	patch := "PATCH nodes/" + w.name
	w.act(fleet.Action{Verb: fleet.Shut, Run: "n-1"})
	w.made(asked, "shut", patch)
	seen := nodeOf(w.getNode())
	if m := seen.Mark(); m == nil || m.Value != "n-1" || m.Effect != fleet.NoSchedule || !seen.Excluded || seen.OutBy != "n-1" {
		t.Errorf("shut: %+v", seen)
	}
	w.act(fleet.Action{Verb: fleet.Shut, Run: "n-1"})
	w.act(fleet.Action{Verb: fleet.Shut, Run: "n-2"})
	w.made(asked, "already so, by what was written if not by the informer")
	w.act(fleet.Action{Verb: fleet.Untaint, Run: "n-1"})
	w.act(fleet.Action{Verb: fleet.Include, Run: "n-1"})
	w.made(asked, "opened", patch, patch)
	if now := w.getNode(); len(now.Spec.Taints) != 0 || len(now.Labels) != len(before.Labels) || len(now.Annotations) != len(before.Annotations) {
		t.Errorf("opened: taints %v, labels %v, annotations %v", now.Spec.Taints, now.Labels, now.Annotations)
	}
}

// What is there already stays, and is not written again.
func TestShutLeavesWhatIsThere(t *testing.T) {
	w := newWorld(t)
	w.node()
	for _, c := range []struct {
		what   string
		taint  corev1.Taint
		labels map[string]string
		taints map[string]string
		outBy  string
	}{
		{"another run's taint", corev1.Taint{Key: fleet.TaintKey, Value: "r-1", Effect: corev1.TaintEffectNoSchedule}, nil,
			map[string]string{fleet.TaintKey + ":NoSchedule": "r-1"}, "n-1"},
		{"a soft taint", corev1.Taint{Key: fleet.TaintKey, Value: "r-1", Effect: corev1.TaintEffectPreferNoSchedule}, nil,
			map[string]string{fleet.TaintKey + ":NoSchedule": "n-1"}, "n-1"},
		{"somebody's label, and their taint", corev1.Taint{Key: "theirs", Value: "x", Effect: corev1.TaintEffectNoSchedule}, map[string]string{excludeLabel: "because"},
			map[string]string{fleet.TaintKey + ":NoSchedule": "n-1", "theirs:NoSchedule": "x"}, ""},
	} {
		w.edit(func(n *corev1.Node) {
			n.Spec.Taints, n.Labels, n.Annotations = []corev1.Taint{c.taint}, c.labels, nil
		})
		w.seesNode()
		w.act(fleet.Action{Verb: fleet.Shut, Run: "n-1"})
		now := w.getNode()
		seen := nodeOf(now)
		if got := taintsOf(now); len(got) != len(c.taints) || !seen.Excluded || seen.OutBy != c.outBy {
			t.Errorf("%s: taints %v, excluded by %q", c.what, got, seen.OutBy)
		}
		for key, value := range c.taints {
			if got := taintsOf(now)[key]; got != value {
				t.Errorf("%s: taint %s=%q, want %q", c.what, key, got, value)
			}
		}
	}
}

// A patch that goes by an old copy takes nothing from others: the API server is asked after it refused.
func TestAnOldCopyIsNotWritten(t *testing.T) {
	w := newWorld(t)
	asked := w.counted()
	w.node()
	w.seesNode()
	old, err := w.cluster.nodes.Get(w.name)
	w.ok(err)
	w.edit(func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: "theirs", Effect: corev1.TaintEffectNoSchedule}}
	})
	behind := newStock(t)
	behind.client = w.cluster.client
	behind.put(old)
	get, patch := "GET nodes/"+w.name, "PATCH nodes/"+w.name
	w.ok(behind.Act(t.Context(), fleet.Action{Verb: fleet.Shut, Run: "n-1", Node: w.name}))
	w.made(asked, "an old copy", patch, get, patch)
	if got := taintsOf(w.getNode()); len(got) != 2 {
		t.Errorf("taints %v", got)
	}

	// A refusal is never said of an old copy.
	theirs := w.edit(func(n *corev1.Node) { n.Spec.Taints[1].Value = "n-2" })
	behind = newStock(t)
	behind.client = w.cluster.client
	behind.put(theirs)
	w.edit(func(n *corev1.Node) { n.Spec.Taints[1].Value = "n-1" })
	w.ok(behind.Act(t.Context(), fleet.Action{Verb: fleet.Untaint, Run: "n-1", Node: w.name}))
	w.made(asked, "what looked like another's", get, patch)

	gone := newStock(t)
	gone.client = w.cluster.client
	gone.put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "gone-" + w.name, ResourceVersion: "1"}})
	w.ok(gone.Act(t.Context(), fleet.Action{Verb: fleet.Shut, Run: "n-1", Node: "gone-" + w.name}))
	w.made(asked, "a node that is gone", "PATCH nodes/gone-"+w.name)
}

// An action that was out of time is not taken for done.
func TestOutOfTimeIsNotDone(t *testing.T) {
	w := newWorld(t)
	w.node()
	w.seesNode()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, v := range []fleet.Verb{fleet.Shut, fleet.Keep, fleet.OutOfService} {
		if err := w.cluster.Act(over, fleet.Action{Verb: v, Run: "n-1", Node: w.name}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", v, err)
		}
	}
}

// gracedPod is a pod that stays while it ends, so that its end can be read.
func (w *world) gracedPod(name string) *corev1.Pod {
	w.Helper()
	p := aPod(w.name, name, w.name)
	p.UID, p.Finalizers, p.Spec.TerminationGracePeriodSeconds = "", []string{"keep.it/here"}, new(int64(300))
	p = w.create(p)
	w.Cleanup(func() {
		w.client.CoreV1().Pods(w.name).Patch(context.Background(), name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	})
	return p
}

func TestGrace(t *testing.T) {
	w := newWorld(t)
	asked := w.counted()
	w.node()
	for name, c := range map[string]struct {
		verb  fleet.Verb
		grace time.Duration
		want  int64
	}{
		"evict-own":    {fleet.Evict, 0, 300},
		"evict-short":  {fleet.Evict, 25*time.Second + 900*time.Millisecond, 25},
		"delete-own":   {fleet.Delete, 0, 300},
		"delete-short": {fleet.Delete, 40 * time.Second, 40},
		"delete-last":  {fleet.Delete, 200 * time.Millisecond, 1}, // never 0: that forgets a pod that still runs
	} {
		a := evictionOf(w.gracedPod(name))
		a.Verb, a.Grace = c.verb, c.grace
		asked.take()
		w.ok(w.cluster.Act(t.Context(), a))
		if got := asked.take(); len(got) != 1 {
			t.Errorf("%s: asked %q", name, got)
		}
		now, err := w.client.CoreV1().Pods(w.name).Get(t.Context(), name, metav1.GetOptions{})
		w.ok(err)
		if now.DeletionGracePeriodSeconds == nil || *now.DeletionGracePeriodSeconds != c.want {
			t.Errorf("%s: has %v s to stop, want %d", name, now.DeletionGracePeriodSeconds, c.want)
		}
	}
}

// Deleting goes past the budget, and only ever takes the pod that was meant.
func TestDelete(t *testing.T) {
	w := newWorld(t)
	w.node()
	p := w.pod("web-0")
	w.budget("web", 1)
	a := evictionOf(p)
	w.refused(w.cluster.Act(t.Context(), a), budgetWait, "The disruption budget web needs 1 healthy pods")
	a.Verb, a.Grace = fleet.Delete, time.Second
	for range 2 {
		w.ok(w.cluster.Act(t.Context(), a))
		w.eventually("the pod gone", func() bool { return !w.there(p) })
	}
	_, err := w.client.CoreV1().Pods(w.name).Patch(t.Context(), p.Name, types.MergePatchType, []byte(`{}`), metav1.PatchOptions{})
	if err == nil { // nobody runs the pod here: it ends when somebody says so
		w.ok(w.client.CoreV1().Pods(w.name).Delete(t.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
	} else if !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	reborn := w.pod("web-0")
	w.ok(w.cluster.Act(t.Context(), a))
	blind := newStock(t)
	blind.client = w.client
	w.ok(blind.Act(t.Context(), a))
	if !w.there(reborn) {
		t.Error("the reborn pod was deleted")
	}
}

// Only a node that is not Ready is given up.
func TestOutOfService(t *testing.T) {
	w := newWorld(t)
	asked := w.counted()
	w.node()
	w.seesNode()
	off := fleet.Action{Verb: fleet.OutOfService, Run: "n-1", Node: w.name, Expect: fleet.Expect{Off: true}}
	w.refused(w.cluster.Act(t.Context(), off), ownerWait, "node "+w.name+" is Ready: its machine is not off")
	w.made(asked, "a node that runs", "GET nodes/"+w.name)
	_, err := w.client.CoreV1().Nodes().Patch(t.Context(), w.name, types.StrategicMergePatchType, []byte(`{"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}`), metav1.PatchOptions{}, "status")
	w.ok(err)
	w.ok(w.cluster.Confirm(t.Context(), off))
	for range 2 {
		w.ok(w.cluster.Act(t.Context(), off))
	}
	if got := asked.take(); len(got) < 3 || got[len(got)-1] != "GET nodes/"+w.name {
		t.Errorf("asked %q", got)
	}
	if got, ok := taintsOf(w.getNode())["node.kubernetes.io/out-of-service:NoExecute"]; !ok || got != "nodeshutdown" {
		t.Errorf("taints %v", w.getNode().Spec.Taints)
	}
	w.ok(w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.OutOfService, Node: "gone-" + w.name}))
}
