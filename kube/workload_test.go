package kube

import (
	"reflect"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

func TestGitOps(t *testing.T) {
	for _, c := range []struct {
		what                string
		labels, annotations map[string]string
		want                string
	}{
		{"nothing", nil, nil, ""},
		{"a Helm chart", map[string]string{"app.kubernetes.io/instance": "web"}, nil, ""},
		{"Argo CD by annotation", nil, map[string]string{"argocd.argoproj.io/tracking-id": "web:apps/Deployment:shop/web"}, "Argo CD"},
		{"Argo CD by its own label", map[string]string{"argocd.argoproj.io/instance": "web"}, nil, "Argo CD"},
		{"Argo CD by the charts' label", map[string]string{"app.kubernetes.io/instance": "web"}, map[string]string{"argocd.argoproj.io/sync-wave": "1"}, "Argo CD"},
		{"a sync wave alone", nil, map[string]string{"argocd.argoproj.io/sync-wave": "1"}, ""},
		{"Flux's kustomize controller", map[string]string{"kustomize.toolkit.fluxcd.io/name": "apps"}, nil, "Flux"},
		{"Flux's helm controller", map[string]string{"helm.toolkit.fluxcd.io/name": "web"}, nil, "Flux"},
	} {
		if got := gitOps(&metav1.ObjectMeta{Labels: c.labels, Annotations: c.annotations}); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func TestSurgeMarkReadsBackExactly(t *testing.T) {
	for _, want := range []*fleet.SurgeMark{nil, {Run: "r-1", Pod: "0f1e-22", Replicas: 1}, {Run: "r-2", Pod: "x", Replicas: 3, Min: 2, Max: 9}} {
		have := map[string]string{}
		for key, value := range surgeLabels(want) {
			if text, ok := value.(string); ok {
				have[key] = text
			}
		}
		if got, err := surgeOf(have); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		for key := range have {
			whole := have[key]
			delete(have, key)
			if _, err := surgeOf(have); err == nil {
				t.Errorf("read without %s", key)
			}
			have[key] = whole
		}
	}
	if _, err := surgeOf(map[string]string{surgeReplicas: "many"}); err == nil || !strings.Contains(err.Error(), surgeReplicas) {
		t.Errorf("a number that is none: %v", err)
	}
}

func anAutoscaler(namespace, name, kind, of string, min *int32, max int32) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: kind, Name: of},
			MinReplicas: min, MaxReplicas: max},
	}
}

func TestObserveWorkloads(t *testing.T) {
	s := newStock(t)
	mark := map[string]string{surgeRun: "r-1", surgePod: "u", surgeReplicas: "2", surgeMin: "1", surgeMax: "2"}
	surge := &fleet.SurgeMark{Run: "r-1", Pod: "u", Replicas: 2, Min: 1, Max: 2}
	deployment := func(name string, labels map[string]string, strategy appsv1.DeploymentStrategyType) {
		s.put(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: labels},
			Spec: appsv1.DeploymentSpec{Replicas: new(int32(3)), Strategy: appsv1.DeploymentStrategy{Type: strategy}}})
	}
	deployment("alone", nil, appsv1.RecreateDeploymentStrategyType)
	deployment("marked", mark, appsv1.RollingUpdateDeploymentStrategyType)
	deployment("scaled", nil, "")
	s.put(anAutoscaler("shop", "h1", "Deployment", "scaled", nil, 5))
	deployment("scaled-marked", nil, "")
	marked := anAutoscaler("shop", "h2", "Deployment", "scaled-marked", new(int32(3)), 3)
	marked.Labels = mark
	s.put(marked)
	s.put(anAutoscaler("blog", "h3", "Deployment", "alone", nil, 5))
	s.put(&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db", Annotations: map[string]string{"argocd.argoproj.io/tracking-id": "x"}}})
	s.put(anAutoscaler("shop", "h4", "StatefulSet", "db", new(int32(2)), 5))
	owner := func(kind, name string) fleet.Owner { return fleet.Owner{Kind: kind, Namespace: "shop", Name: name} }
	want := []fleet.Workload{
		{Owner: owner("Deployment", "alone"), Replicas: 3, Recreate: true},
		{Owner: owner("Deployment", "marked"), Replicas: 3, Surge: surge},
		{Owner: owner("Deployment", "scaled"), Replicas: 3, Scaler: &fleet.Scaler{Name: "h1", Min: 1, Max: 5}},
		{Owner: owner("Deployment", "scaled-marked"), Replicas: 3, Scaler: &fleet.Scaler{Name: "h2", Min: 3, Max: 3}, Surge: surge},
		{Owner: owner("StatefulSet", "db"), Replicas: 1, Scaler: &fleet.Scaler{Name: "h4", Min: 2, Max: 5}, GitOps: "Argo CD"},
	}
	if got := s.observe().Workloads; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	deployment("half", map[string]string{surgeRun: "r-1"}, "")
	if err := s.Observe(t.Context(), &fleet.Snapshot{}); err == nil || !strings.Contains(err.Error(), "Deployment shop/half") {
		t.Errorf("half a mark: %v", err)
	}
}

func TestObserveDisksAndAddresses(t *testing.T) {
	s := newStock(t)
	claim := func(name string, modes ...corev1.PersistentVolumeAccessMode) {
		s.put(&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.PersistentVolumeClaimSpec{AccessModes: modes}})
	}
	claim("own", corev1.ReadWriteOnce)
	claim("own-pod", corev1.ReadWriteOncePod)
	claim("shared", corev1.ReadWriteOnce, corev1.ReadWriteMany)
	claim("p-scratch", corev1.ReadWriteOnce)
	by := func(name string) corev1.VolumeSource {
		return corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}
	}
	for _, c := range []struct {
		what    string
		volumes map[string]corev1.VolumeSource
		own     bool
		local   string
	}{
		{"none", nil, false, ""},
		{"one node", map[string]corev1.VolumeSource{"data": by("own")}, true, ""},
		{"one pod", map[string]corev1.VolumeSource{"data": by("own-pod")}, true, ""},
		{"shared", map[string]corev1.VolumeSource{"data": by("shared")}, false, ""},
		{"unknown yet", map[string]corev1.VolumeSource{"data": by("later")}, false, ""},
		{"ephemeral", map[string]corev1.VolumeSource{"scratch": {Ephemeral: &corev1.EphemeralVolumeSource{}}}, true, ""},
		{"emptyDir", map[string]corev1.VolumeSource{"cache": {EmptyDir: &corev1.EmptyDirVolumeSource{}}}, false, "emptyDir cache"},
		{"hostPath", map[string]corev1.VolumeSource{"logs": {HostPath: &corev1.HostPathVolumeSource{Path: "/var/log"}}}, false, "hostPath /var/log"},
	} {
		p := aPod("shop", "p", "n1")
		p.Status.PodIP = "10.0.0.7"
		for name, source := range c.volumes {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
		}
		got := s.podOf(p)
		if got.OwnDisk != c.own || got.Local != c.local || got.IP != "10.0.0.7" || got.Labels["app"] != "web" {
			t.Errorf("%s: %+v", c.what, got)
		}
	}

	attachment := func(name, node string, pv *string, attached bool) {
		s.put(&storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: storagev1.VolumeAttachmentSpec{NodeName: node,
			Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: pv}}, Status: storagev1.VolumeAttachmentStatus{Attached: attached}})
	}
	s.put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	s.put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n2"}})
	attachment("a1", "n1", new("pv-b"), true)
	attachment("a2", "n1", new("pv-a"), true)
	attachment("a3", "n1", new("pv-c"), false)
	attachment("inline", "n2", nil, true)
	if nodes := s.observe().Nodes; !reflect.DeepEqual(nodes[0].Volumes, []string{"pv-a", "pv-b"}) || !reflect.DeepEqual(nodes[1].Volumes, []string{"inline"}) {
		t.Errorf("attached: %v, %v", nodes[0].Volumes, nodes[1].Volumes)
	}
}

func TestObserveJournal(t *testing.T) {
	s := newStock(t)
	rotation := func(name string, spec, status map[string]any) {
		o := map[string]any{"apiVersion": "drover.dev/v1alpha1", "kind": "Rotation", "metadata": map[string]any{"name": name}, "spec": spec}
		if status != nil {
			o["status"] = status
		}
		s.put(&unstructured.Unstructured{Object: o})
	}
	plan := func() map[string]any {
		return map[string]any{"plan": map[string]any{"at": "2026-11-21T20:00:00Z", "hash": "h"}}
	}
	rotation("r-2", plan(), nil)
	rotation("r-1", plan(), map[string]any{"marks": map[string]any{"moving": "2026-11-21T20:05:00Z"}})
	rotation("r-0", plan(), map[string]any{"marks": map[string]any{"ended": "2026-11-21T20:09:00Z"}})
	at := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	want := []fleet.RotationRecord{{Run: "r-1", At: at, Hash: "h", Marks: fleet.Marks{Moving: at.Add(5 * time.Minute)}}, {Run: "r-2", At: at, Hash: "h"}}
	if got := s.observe(); !reflect.DeepEqual(got.Rotations, want) || got.Unjournaled != "" || got.Stopped != nil {
		t.Errorf("got %+v, %q, %v", got.Rotations, got.Unjournaled, got.Stopped)
	}

	// Of an old run nobody needs to read more than that it is over.
	odd := plan()
	odd["surprise"] = "x"
	rotation("r-0", odd, map[string]any{"marks": map[string]any{"ended": "2026-11-21T20:09:00Z"}})
	s.observe()
	rotation("r-2", odd, nil)
	if err := s.Observe(t.Context(), &fleet.Snapshot{}); err == nil || !strings.Contains(err.Error(), "rotation r-2: unreadable") || !strings.Contains(err.Error(), "surprise") {
		t.Errorf("an unreadable object: %v", err)
	}
	rotation("r-2", plan(), nil)

	s.put(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: stopNamespace, Name: stopName, CreationTimestamp: metav1.NewTime(at)}})
	if got := s.observe().Stopped; !reflect.DeepEqual(got, &fleet.Pause{By: "somebody", At: at}) {
		t.Errorf("a stop without words: %+v", got)
	}
	s.put(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: stopNamespace, Name: stopName}, Data: map[string]string{"at": "yesterday"}})
	if err := s.Observe(t.Context(), &fleet.Snapshot{}); err == nil || !strings.Contains(err.Error(), "configmap kube-system/drover-stop: at") {
		t.Errorf("an unreadable stop: %v", err)
	}
}

// Of runs that are over and that nobody can read any more it is only told how many there are; one under way is an error.
func TestUnreadableRecords(t *testing.T) {
	rotation := func(name string, spec map[string]any, marks map[string]any) runtime.Object {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "drover.dev/v1alpha1", "kind": "Rotation", "metadata": map[string]any{"name": name}, "spec": spec, "status": map[string]any{"marks": marks}}}
	}
	readable, odd := map[string]any{"plan": map[string]any{"at": "2026-11-21T20:00:00Z", "hash": "h"}}, map[string]any{"surprise": "x"}
	over := map[string]any{"ended": "2026-11-21T20:09:00Z"}
	read := func(objects ...runtime.Object) ([]fleet.RotationRecord, int, error) {
		kinds := map[schema.GroupVersionResource]string{v1alpha1.Rotations: "RotationList"}
		c := &Cluster{objects: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, objects...)}
		return c.Records(t.Context())
	}
	got, unreadable, err := read(rotation("r-0", odd, over), rotation("r-1", readable, over), rotation("r-2", readable, map[string]any{}))
	if err != nil || unreadable != 1 || len(got) != 2 || got[0].Run != "r-1" {
		t.Errorf("got %+v, %d unreadable, %v", got, unreadable, err)
	}
	if _, _, err := read(rotation("r-3", odd, map[string]any{})); err == nil || !strings.Contains(err.Error(), "rotation r-3: unreadable") {
		t.Errorf("one under way: %v", err)
	}
}
