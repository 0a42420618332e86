package kube

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/fleet"
)

// singleton is a Deployment of one replica whose pods the real scheduler and controllers make; the test stands in for the kubelet.
type singleton struct {
	*world
	owner  fleet.Owner
	old    *corev1.Pod
	scaled bool
}

// surgeStory makes the singleton, Ready on the test's node; scaled: with an autoscaler of one to one.
func (w *world) surgeStory(scaled bool) *singleton {
	w.Helper()
	_, err := w.client.CoreV1().Nodes().Patch(w.Context(), w.name, types.MergePatchType,
		[]byte(`{"status":{"allocatable":{"cpu":"4","memory":"8Gi","pods":"30"}}}`), metav1.PatchOptions{}, "status")
	w.ok(err)
	app := map[string]string{"app": "single"}
	_, err = w.client.AppsV1().Deployments(w.name).Create(w.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "single", Annotations: map[string]string{"theirs": "stays"}},
		Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: app}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: app}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web:1"}}}}},
	}, metav1.CreateOptions{})
	w.ok(err)
	if scaled {
		_, err = w.client.AutoscalingV2().HorizontalPodAutoscalers(w.name).Create(w.Context(), anAutoscaler(w.name, "single", "Deployment", "single", new(int32(1)), 1), metav1.CreateOptions{})
		w.ok(err)
	}
	s := &singleton{world: w, owner: fleet.Owner{Kind: "Deployment", Namespace: w.name, Name: "single"}, scaled: scaled}
	s.serve()
	s.old = &s.pods()[0]
	return s
}

func (s *singleton) pods() []corev1.Pod {
	s.Helper()
	list, err := s.client.CoreV1().Pods(s.name).List(s.Context(), metav1.ListOptions{LabelSelector: "app=single"})
	s.ok(err)
	return list.Items
}

// serve makes as many pods Ready as the Deployment wants, once they are there.
func (s *singleton) serve() {
	s.Helper()
	s.eventually("all pods", func() bool { return len(s.pods()) == int(*s.deployment().Spec.Replicas) })
	for _, p := range s.pods() {
		s.eventually("pod "+p.Name+" on its node", func() bool {
			now, err := s.client.CoreV1().Pods(s.name).Get(s.Context(), p.Name, metav1.GetOptions{})
			return err == nil && now.Spec.NodeName != ""
		})
		_, err := s.client.CoreV1().Pods(s.name).Patch(s.Context(), p.Name, types.StrategicMergePatchType,
			[]byte(`{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}`), metav1.PatchOptions{}, "status")
		s.ok(err)
	}
}

func (s *singleton) deployment() *appsv1.Deployment {
	s.Helper()
	d, err := s.client.AppsV1().Deployments(s.name).Get(s.Context(), "single", metav1.GetOptions{})
	s.ok(err)
	return d
}

func (s *singleton) scaler() *autoscalingv2.HorizontalPodAutoscaler {
	s.Helper()
	h, err := s.client.AutoscalingV2().HorizontalPodAutoscalers(s.name).Get(s.Context(), "single", metav1.GetOptions{})
	s.ok(err)
	return h
}

func (s *singleton) action(verb fleet.Verb, from, to int) fleet.Action {
	return fleet.Action{Verb: verb, Run: "r-1", Workload: s.owner, Pod: evictionOf(s.old).Pod, From: from, To: to}
}

func (s *singleton) unsurge(ready bool) fleet.Action {
	a := s.action(fleet.Unsurge, 2, 1)
	a.Expect.Ready = ready
	return a
}

func (s *singleton) surge() {
	s.Helper()
	for range 2 { // twice: already so is success
		s.ok(s.cluster.Act(s.Context(), s.action(fleet.Surge, 1, 2)))
	}
}

// is describes the workload in one line: replicas, bounds, marks, and what the old pod says.
func (s *singleton) is() string {
	s.Helper()
	d := s.deployment()
	out := fmt.Sprintf("replicas=%d", *d.Spec.Replicas)
	if s.scaled {
		h := s.scaler()
		out += fmt.Sprintf(" bounds=%d-%d", *h.Spec.MinReplicas, h.Spec.MaxReplicas)
		if h.Labels[surgeRun] != "" {
			out += " scaler-mark"
		}
	}
	if m, err := surgeOf(d.Labels); err != nil {
		s.Error(err)
	} else if m != nil {
		out += fmt.Sprintf(" mark=%s/%d", m.Run, m.Replicas)
	}
	for _, p := range s.pods() {
		if p.UID == s.old.UID && p.DeletionTimestamp == nil {
			out += fmt.Sprintf(" old[cost=%s before=%s]", p.Annotations[deletionCost], p.Annotations[costBefore])
		}
	}
	return out
}

func (s *singleton) want(what, want string) {
	s.Helper()
	if got := s.is(); got != want {
		s.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func (s *singleton) oldGoes() {
	s.Helper()
	s.eventually("the old pod going", func() bool { return !s.there(s.old) })
	for _, p := range s.pods() {
		if p.UID != s.old.UID && p.DeletionTimestamp != nil {
			s.Errorf("pod %s goes as well", p.Name)
		}
	}
}

func TestSurge(t *testing.T) { newWorld(t).surges(false) }

func TestSurgeWithAnAutoscaler(t *testing.T) { newWorld(t).surges(true) }

// surges tells how a singleton moves: its replacement comes, serves, and the old pod goes.
func (w *world) surges(scaled bool) {
	w.node()
	s := w.surgeStory(scaled)
	before, bounds := "replicas=1", ""
	if scaled {
		before, bounds = "replicas=1 bounds=1-1", " bounds=2-2 scaler-mark"
	}
	s.want("before", before+" old[cost= before=]")
	s.surge()
	s.want("surged", "replicas=2"+bounds+" mark=r-1/1 old[cost=-2147483648 before=r-1 absent]")
	w.eventually("the mark", func() bool {
		seen := w.observe()
		work := seen.Workload(s.owner)
		return work != nil && work.Surge != nil && work.Surge.Pod == string(s.old.UID) && work.Surge.Replicas == 1
	})
	w.refused(w.cluster.Act(w.Context(), s.unsurge(true)), budgetWait, "0 Ready pods besides", "needs 1")
	other := s.unsurge(false)
	other.Run = "r-2"
	w.refused(w.cluster.Act(w.Context(), other), ownerWait, "run r-1 has given")
	other.Verb, other.From, other.To = fleet.Surge, 2, 3
	w.refused(w.cluster.Act(w.Context(), other), ownerWait, "run r-1 has given")
	s.serve()
	for range 2 {
		w.ok(w.cluster.Act(w.Context(), s.unsurge(true)))
	}
	s.oldGoes()
	s.want("taken back", before)
	if d := s.deployment(); len(d.Labels) != 0 || d.Annotations["theirs"] != "stays" {
		w.Errorf("labels %v, annotations %v", d.Labels, d.Annotations)
	}
	sets, err := w.client.AppsV1().ReplicaSets(w.name).List(w.Context(), metav1.ListOptions{})
	w.ok(err)
	for _, rs := range sets.Items {
		if text := fmt.Sprint(rs.Annotations, rs.Labels); strings.Contains(text, "drover.dev/") {
			w.Errorf("a ReplicaSet keeps what a rollback would bring back: %s", text)
		}
	}
}

// On the way back the old pod stays: what it costs to delete is as it was, and the newer one goes.
func TestUnsurgeOnTheWayBack(t *testing.T) {
	w := newWorld(t)
	w.node()
	s := w.surgeStory(true)
	_, err := w.client.CoreV1().Pods(w.name).Patch(t.Context(), s.old.Name, types.MergePatchType, []byte(`{"metadata":{"annotations":{"`+deletionCost+`":"5"}}}`), metav1.PatchOptions{})
	w.ok(err)
	s.surge()
	s.want("surged", "replicas=2 bounds=2-2 scaler-mark mark=r-1/1 old[cost=-2147483648 before=r-1 was 5]")
	for range 2 {
		w.ok(w.cluster.Act(t.Context(), s.unsurge(false)))
	}
	s.want("back", "replicas=1 bounds=1-1 old[cost=5 before=]")
	w.eventually("the newer pod gone", func() bool {
		for _, p := range s.pods() {
			if p.UID != s.old.UID && p.DeletionTimestamp == nil {
				return false
			}
		}
		return true
	})
	if !w.there(s.old) {
		t.Error("the old pod goes")
	}
}

// What somebody else sets meanwhile is theirs and stays.
func TestUnsurgeLeavesWhatOthersSet(t *testing.T) {
	w := newWorld(t)
	w.node()
	s := w.surgeStory(true)
	s.surge()
	_, err := w.client.AutoscalingV2().HorizontalPodAutoscalers(w.name).Patch(t.Context(), "single", types.MergePatchType, []byte(`{"spec":{"minReplicas":3,"maxReplicas":7}}`), metav1.PatchOptions{})
	w.ok(err)
	_, err = w.client.AppsV1().Deployments(w.name).Patch(t.Context(), "single", types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{})
	w.ok(err)
	s.serve()
	w.ok(w.cluster.Act(t.Context(), s.unsurge(true)))
	s.want("theirs", "replicas=3 bounds=3-7 old[cost=-2147483648 before=r-1 absent]")
}

func TestSurgeRefuses(t *testing.T) {
	w := newWorld(t)
	w.node()
	s := w.surgeStory(false)
	w.refused(w.cluster.Act(t.Context(), s.action(fleet.Surge, 3, 4)), 0, "has 1 replicas by now, not 3")
	w.refused(w.cluster.Act(t.Context(), s.action(fleet.Surge, 0, 1)), 0, "has 1 replicas by now, not 0")
	gone := s.action(fleet.Surge, 1, 2)
	gone.Pod.UID = "another"
	w.refused(w.cluster.Act(t.Context(), gone), 0, "is gone, or going")
	absent := s.action(fleet.Surge, 1, 2)
	absent.Workload.Name = "absent"
	w.refused(w.cluster.Act(t.Context(), absent), 0, "is gone")
	absent.Verb = fleet.Unsurge
	w.ok(w.cluster.Act(t.Context(), absent))
	absent.Workload.Kind = "StatefulSet"
	w.refused(w.cluster.Act(t.Context(), absent), brokenWait, "Deployments and ReplicaSets only")
	s.want("untouched", "replicas=1 old[cost= before=]")
}

// What was changed on the pod does not stay when the replica is not given: no mark would tell of it.
func TestSurgeThatIsRefusedLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.node()
	s := w.surgeStory(false)
	var less []Right
	for _, r := range Rights {
		if !slices.Contains(r.Rule.Resources, "deployments") || !slices.Contains(r.Rule.Verbs, "patch") {
			less = append(less, r)
		}
	}
	cfg := w.grant("less-"+w.name, less)
	w.eventually("the rights", func() (ok bool) {
		c, err := Open(t.Context(), cfg)
		if err == nil {
			w.cluster = c
		}
		return err == nil
	})
	var fatal *fleet.Fatal
	if err := w.cluster.Act(t.Context(), s.action(fleet.Surge, 1, 2)); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "deployments") {
		t.Errorf("got %v", err)
	}
	s.want("untouched", "replicas=1 old[cost= before=]")
}

// A process that died between two of a surge's writes is followed by one that completes it.
func TestSurgeGoesOnWhereItStopped(t *testing.T) {
	w := newWorld(t)
	w.node()
	s := w.surgeStory(true)
	w.ok(w.cluster.patchScaler(t.Context(), s.scaler(), nil, 1, 2)) // two at most, or the real autoscaler would take the replica back as well
	a := s.action(fleet.Surge, 1, 2)
	w.ok(w.cluster.cheapen(t.Context(), a))
	mark := fleet.SurgeMark{Run: "r-1", Pod: a.Pod.UID, Replicas: 1, Min: 1, Max: 2}
	w.ok(w.cluster.patchScaler(t.Context(), s.scaler(), surgeLabels(&mark), 2, 2))
	s.surge()
	s.want("surged", "replicas=2 bounds=2-2 scaler-mark mark=r-1/1 old[cost=-2147483648 before=r-1 absent]")

	// And of taking it back: the bounds were first.
	w.ok(w.cluster.patchScaler(t.Context(), s.scaler(), surgeLabels(nil), 1, 2))
	s.serve()
	w.ok(w.cluster.Act(t.Context(), s.unsurge(true)))
	s.oldGoes()
	s.want("taken back", "replicas=1 bounds=1-2")
}
