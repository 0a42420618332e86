package kube

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// switching is a stock that shows environments, too.
type switching struct {
	*stock
	in *informed
}

func newSwitches(t testing.TB) *switching {
	s := &switching{newStock(t), &informed{others: map[string]shelf{}}}
	index := func(example any) cache.Indexer {
		i := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
		s.stores[reflect.TypeOf(example)] = i
		return i
	}
	loose := func() shelf {
		return shelf{&kind{mayLack: true, listed: func() bool { return true }}, cache.NewStore(cache.MetaNamespaceKeyFunc)}
	}
	in := s.in
	in.cronJobs, in.jobs, in.slices, in.ingresses = index(&batchv1.CronJob{}), index(&batchv1.Job{}), index(&discoveryv1.EndpointSlice{}), index(&networkingv1.Ingress{})
	in.validating, in.mutating = index(&admissionv1.ValidatingWebhookConfiguration{}), index(&admissionv1.MutatingWebhookConfiguration{})
	in.environments, in.apiServices, in.definitions, in.routes, in.sets = loose(), loose(), loose(), loose(), loose()
	for _, w := range switchables {
		if w.loose {
			in.others[w.kind] = loose()
		}
	}
	s.stores[reflect.TypeOf(&corev1.Service{})] = cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	s.services = corelisters.NewServiceLister(s.stores[reflect.TypeOf(&corev1.Service{})])
	s.switches.informed = in
	return s
}

// show stores an object of no typed kind.
func (s *switching) show(shelf shelf, text string) *unstructured.Unstructured {
	s.t.Helper()
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON([]byte(text)); err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	if u.GetUID() == "" {
		u.SetUID(types.UID(u.GetKind() + "/" + u.GetNamespace() + "/" + u.GetName()))
	}
	if err := shelf.store.Add(u); err != nil {
		s.t.Fatal(err)
	}
	return u
}

func (s *switching) look() *fleet.Snapshot {
	s.t.Helper()
	out := s.observe()
	if err := s.ObserveEnvironments(s.t.Context(), &out); err != nil {
		s.t.Fatal(err)
	}
	return &out
}

func (s *switching) part(kind, name string) fleet.Part {
	s.t.Helper()
	p := s.look().Part(fleet.Owner{Kind: kind, Namespace: "shop", Name: name})
	if p == nil {
		s.t.Fatalf("no %s %s", kind, name)
	}
	return *p
}

func anApp(name string, replicas int32, images ...string) *appsv1.Deployment {
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("u-" + name), Labels: map[string]string{"env": "stg"}},
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}}}},
	}
	for i, image := range images {
		d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, corev1.Container{Name: fmt.Sprint("c", i), Image: image})
	}
	return d
}

func TestObserveParts(t *testing.T) {
	s := newSwitches(t)
	web := anApp("web", 2, "registry:5000/shop/web:1")
	wrote := func(manager, fields string, second int64) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Time: new(metav1.Unix(second, 0)), FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)}}
	}
	web.ManagedFields = []metav1.ManagedFieldsEntry{
		wrote("helm", `{"f:spec":{"f:replicas":{},"f:template":{}}}`, 1), wrote("kubectl", `{"f:spec":{"f:replicas":{}}}`, 9), wrote("other", `{"f:metadata":{"f:labels":{"f:replicas":{}}}}`, 20),
	}
	mark := fleet.PartMark{Environment: "staging", Run: "r-1", UID: "u-web", Value: "4"}
	web.Annotations = map[string]string{v1alpha1.MarkKey: mark.String()}
	web.Spec.Template.Spec.NodeSelector = map[string]string{"env": "stg"}
	web.Spec.Template.Spec.Tolerations = []corev1.Toleration{{Key: "env", Value: "stg", Effect: "NoSchedule"}}
	web.Status = appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 2}
	s.put(web)
	s.put(&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", UID: "rs", OwnerReferences: controlledBy("Deployment", "web")}})
	for i, change := range []func(*corev1.Pod){func(*corev1.Pod) {}, func(p *corev1.Pod) { p.Status.Conditions = nil }, func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }, func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }} {
		p := aPod("shop", fmt.Sprint("web-", i), "n1")
		p.OwnerReferences = controlledBy("ReplicaSet", "web-1")
		change(p)
		s.put(p)
	}
	want := fleet.Part{
		Turn: fleet.Scaled, APIVersion: "apps/v1", Owner: fleet.Owner{Kind: "Deployment", Namespace: "shop", Name: "web"}, UID: "u-web", Labels: web.Labels, Value: "2", By: "kubectl", Mark: &mark,
		Ready: 1, Pods: 3, Rolled: true, Selector: map[string]string{"env": "stg"}, Tolerations: []fleet.Toleration{{Key: "env", Value: "stg", Effect: "NoSchedule"}},
	}
	if got := s.part("Deployment", "web"); !reflect.DeepEqual(got, want) {
		t.Errorf(" got %+v\nwant %+v", got, want)
	}
	later := web.DeepCopy()
	later.Spec.Replicas, later.Status.UpdatedReplicas = new(int32(0)), 1
	s.put(later)
	if got := s.part("Deployment", "web"); got.Value != "0" || !got.Off || got.Rolled {
		t.Errorf("seen as it was before: %+v", got)
	}
	if n := len(s.look().Parts); n != 1 {
		t.Errorf("%d parts: a Deployment's ReplicaSet is none", n)
	}

	s.put(&batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "tidy", UID: "u-tidy"}})
	if got := s.part("CronJob", "tidy"); !got.Absent || got.Off || got.Turn != fleet.Suspended || got.Mark != nil {
		t.Errorf("%+v", got)
	}
	s.show(s.in.others["ScaledObject"], `{"kind":"ScaledObject","metadata":{"namespace":"shop","name":"web","annotations":{"autoscaling.keda.sh/paused-replicas":"0"}},"spec":{"scaleTargetRef":{"name":"web"}}}`)
	if got := s.part("ScaledObject", "web"); got.Turn != fleet.Held || !got.Off || got.Value != "0" || got.Scales != (fleet.Owner{Kind: "Deployment", Namespace: "shop", Name: "web"}) {
		t.Errorf("%+v", got)
	}
	s.show(s.in.others["ScaledJob"], `{"kind":"ScaledJob","metadata":{"namespace":"shop","name":"import","labels":{"a":"b"},"annotations":{"autoscaling.keda.sh/paused":"true"}},"spec":{"jobTargetRef":{}}}`)
	if got := s.part("ScaledJob", "import"); got.Turn != fleet.Suspended || !got.Off || got.Value != "true" || got.Labels["a"] != "b" || got.Scales.Kind != "" {
		t.Errorf("%+v", got)
	}
	s.show(s.in.others["Rollout"], `{"kind":"Rollout","metadata":{"namespace":"shop","name":"api","generation":2},"spec":{"replicas":1,"template":{"metadata":{"labels":{"app":"api"}},"spec":{"nodeSelector":{"a":"b"},"containers":[{"name":"a","image":"pgbouncer:1"}]}}},"status":{"observedGeneration":"2","replicas":1,"updatedReplicas":1,"readyReplicas":1}}`)
	if got := s.part("Rollout", "api"); got.Value != "1" || !got.Rolled || !got.Pooler || got.Selector["a"] != "b" {
		t.Errorf("%+v", got)
	}
	set := aSet("bare", 1, 80, nil, nil)
	set.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType
	s.put(set)
	if got := s.part("StatefulSet", "bare"); !got.OnDelete || got.Rolled {
		t.Errorf("%+v", got)
	}
	kinds := []string{}
	for _, p := range s.look().Parts {
		kinds = append(kinds, p.Kind)
	}
	if !slices.Equal(kinds, []string{"CronJob", "Deployment", "Rollout", "ScaledJob", "ScaledObject", "StatefulSet"}) {
		t.Errorf("order %v", kinds)
	}
	s.in.others["Rollout"].kind.err = apierrors.NewNotFound(switchableOf("Rollout").resource.GroupResource(), "")
	if s.look().Part(fleet.Owner{Kind: "Rollout", Namespace: "shop", Name: "api"}) != nil {
		t.Error("a kind that the cluster does not know any more is still seen")
	}
}

// A mark that cannot be read is trouble of the environment that has the part, and of no other; one of a sleep that is over is none.
func TestObserveMarks(t *testing.T) {
	s := newSwitches(t)
	for name, namespace := range map[string]string{"staging": "shop", "other": "else"} {
		s.show(s.in.environments, fmt.Sprintf(`{"kind":"Environment","metadata":{"name":%q},"spec":{"workloads":[{"namespaces":[%q]}]},"status":{"sleeps":[{"run":"r-0"}]}}`, name, namespace))
	}
	d := anApp("web", 2, "web:1")
	d.Annotations = map[string]string{v1alpha1.MarkKey: "v9 what"}
	s.put(d)
	seen := s.look()
	if got := seen.Environment("staging").Trouble; len(got) != 1 || !strings.HasPrefix(got[0], "Deployment shop/web: annotation drover.dev/environment: mark") {
		t.Errorf("%q", got)
	}
	if got := seen.Environment("other").Trouble; len(got) > 0 || seen.Part(fleet.Owner{Kind: "Deployment", Namespace: "shop", Name: "web"}) == nil {
		t.Errorf("%q", got)
	}
	for run, shown := range map[string]bool{"r-0": false, "r-1": true} {
		d = d.DeepCopy()
		d.Annotations = map[string]string{v1alpha1.MarkKey: fleet.PartMark{Environment: "staging", Run: run, UID: "u-web", Value: "4"}.String()}
		s.put(d)
		if got := s.part("Deployment", "web").Mark; (got != nil) != shown {
			t.Errorf("%s: %v", run, got)
		}
	}
}

func TestObserveData(t *testing.T) {
	claim := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "disk"}}
	empty := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	for _, tc := range []struct {
		what    string
		image   string
		volume  *corev1.VolumeSource
		local   bool
		claims  bool
		scratch string
	}{
		{"plain", "web:1", nil, false, false, ""},
		{"plain with a scratch folder", "web:1", &empty, false, false, ""},
		{"a database's own folder", "postgres:16", &empty, false, false, "emptyDir data"},
		{"a database without a volume", "docker.io/bitnami/redis@sha256:ab", nil, false, false, "file system of container c0"},
		{"memory", "redis:7", &corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}, false, false, "file system of container c0"},
		{"an exporter", "redis-exporter:1", nil, false, false, ""},
		{"a claim", "postgres:16", &claim, false, true, ""},
		{"a disk of a node", "postgres:16", &claim, true, true, "volume disk, which is the disk of a node"},
		{"a folder of a node", "mysql:8", &corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/mnt"}}, false, false, "hostPath /mnt"},
	} {
		s := newSwitches(t)
		d := anApp("web", 1, tc.image)
		if tc.volume != nil {
			d.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: *tc.volume}}
		}
		s.put(d)
		s.put(&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "disk"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv"}})
		pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}}
		if tc.local {
			pv.Spec.Local = &corev1.LocalVolumeSource{Path: "/mnt"}
		}
		s.put(pv)
		if got := s.part("Deployment", "web"); got.Claims != tc.claims || got.Scratch != tc.scratch {
			t.Errorf("%s: claims %v, scratch %q", tc.what, got.Claims, got.Scratch)
		}
	}
	s := newSwitches(t)
	set := aSet("db", 1, 80, nil, nil)
	set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}}
	s.put(set)
	if got := s.part("StatefulSet", "db"); !got.Claims || got.Scratch != "" {
		t.Errorf("%+v", got)
	}
	set = set.DeepCopy()
	set.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenScaled: appsv1.DeletePersistentVolumeClaimRetentionPolicyType}
	s.put(set)
	if got := s.part("StatefulSet", "db"); got.Scratch != "its volumes: persistentVolumeClaimRetentionPolicy.whenScaled is Delete" {
		t.Errorf("%+v", got)
	}
	for image, want := range map[string]bool{"pgbouncer/pgbouncer:1": true, "edoburu/pgbouncer@sha256:1": true, "pgbouncer-exporter": false, "web": false, "ghcr.io/x/pgcat:1": true} {
		if got := pools(&anApp("x", 1, image).Spec.Template); got != want {
			t.Errorf("%s: %v", image, got)
		}
	}
}

func TestObserveEntries(t *testing.T) {
	s := newSwitches(t)
	for _, name := range []string{"front", "balanced", "routed", "back"} {
		s.put(anApp(name, 1, "web:1"))
		v := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": name}}}
		if name == "balanced" {
			v.Spec.Type = corev1.ServiceTypeLoadBalancer
		}
		s.put(v)
	}
	backend := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "front"}}
	s.put(&networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "i"}, Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{}, {IngressRuleValue: networkingv1.IngressRuleValue{
		HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{Backend: backend}}}}}}}})
	s.show(s.in.routes, `{"kind":"HTTPRoute","metadata":{"namespace":"gateways","name":"r"},"spec":{"rules":[{"backendRefs":[{"name":"routed","namespace":"shop"},{"name":"back","kind":"Bucket","namespace":"shop"}]}]}}`)
	ready := func(uid string, is bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{Addresses: []string{uid}, TargetRef: &corev1.ObjectReference{UID: types.UID(uid)}, Conditions: discoveryv1.EndpointConditions{Ready: &is}}
	}
	for i, list := range [][]discoveryv1.Endpoint{{ready("a", true), ready("b", false)}, {ready("a", true), {Addresses: []string{"::1"}}}} { // two families
		s.put(&discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint("front-", i), Labels: map[string]string{discoveryv1.LabelServiceName: "front"}}, Endpoints: list})
	}
	for name, want := range map[string]bool{"front": true, "balanced": true, "routed": true, "back": false} {
		if got := s.part("Deployment", name).Entry; got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	all := s.look().Services
	if len(all) != 4 || all[0].Name != "back" || !reflect.DeepEqual(all[2], fleet.Service{Namespace: "shop", Name: "front", Selector: map[string]string{"app": "front"}, Endpoints: 2}) {
		t.Errorf("%+v", all)
	}
}

// Pods of Jobs are their CronJob's; a Job that runs is in use.
func TestObserveJobs(t *testing.T) {
	s := newSwitches(t)
	s.put(&batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "tidy", UID: "c", Labels: map[string]string{"env": "stg"}}})
	s.put(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "tidy-1", OwnerReferences: controlledBy("CronJob", "tidy")}, Status: batchv1.JobStatus{Active: 1, StartTime: new(metav1.Unix(0, 0))}})
	s.put(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "import", Labels: map[string]string{"a": "b"}}, Status: batchv1.JobStatus{Active: 2}})
	s.put(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "done"}, Status: batchv1.JobStatus{Succeeded: 1}})
	for _, job := range []string{"tidy-1", "import", "gone"} {
		p := aPod("shop", job+"-x", "n1")
		p.OwnerReferences = controlledBy("Job", job)
		s.put(p)
	}
	seen := s.look()
	owners := map[string]string{}
	for _, p := range seen.Pods {
		owners[p.Ref.Name] = p.Owner.String()
	}
	if want := map[string]string{"tidy-1-x": "CronJob shop/tidy", "import-x": "Job shop/import", "gone-x": "Job shop/gone"}; !reflect.DeepEqual(owners, want) {
		t.Errorf("%v", owners)
	}
	want := []fleet.Busy{
		{Code: "env-jobs", Subject: "Job shop/import", Reason: "2 pods are running", Owner: fleet.Owner{Kind: "Job", Namespace: "shop", Name: "import"}, Labels: map[string]string{"a": "b"}},
		{Code: "env-jobs", Subject: "Job shop/tidy-1", Reason: "1 pod is running since 1970-01-01T00:00:00Z", Owner: fleet.Owner{Kind: "CronJob", Namespace: "shop", Name: "tidy"}, Labels: map[string]string{"env": "stg"}},
	}
	if !reflect.DeepEqual(seen.Busy, want) {
		t.Errorf(" got %+v\nwant %+v", seen.Busy, want)
	}
}

func TestObserveKeepers(t *testing.T) {
	const here = `"destination":{"server":"https://kubernetes.default.svc"}`
	app := func(name, more, status string) string {
		return fmt.Sprintf(`{"kind":"Application","metadata":{"namespace":"argocd","name":%q%s,"status":{"resources":[%s]}}`, name, more, status)
	}
	keeps := `{"group":"apps","kind":"Deployment","namespace":"shop","name":"web"}`
	argo := func(name string) fleet.Owner {
		return fleet.Owner{Kind: "Application", Namespace: "argocd", Name: name}
	}
	for _, tc := range []struct {
		what        string
		labels      map[string]string
		tracking    string
		apps        []string // manifests
		sets        []string
		flux        []string // Kustomizations
		want        []fleet.Owner
		of          fleet.Owner // whose reverts
		reverts, at string      // why, and a line of the patch
	}{
		{what: "nobody"},
		{what: "listed", apps: []string{app("web", `},"spec":{`+here+`}`, keeps)}, want: []fleet.Owner{argo("web")}},
		{what: "listed by one of another cluster", apps: []string{app("web", `},"spec":{"destination":{"server":"https://other"}}`, keeps)}},
		{what: "of another group", apps: []string{app("web", `},"spec":{`+here+`}`, strings.Replace(keeps, "apps", "x.io", 1))}},
		{what: "tracked, not listed yet", tracking: "web:apps/Deployment:shop/web", apps: []string{app("web", `},"spec":{`+here+`}`, "")}, want: []fleet.Owner{argo("web")}},
		{what: "tracked by one out of sight", tracking: "web:apps/Deployment:shop/web", want: []fleet.Owner{{Kind: "Application", Name: "web"}}},
		{what: "tracked by one of a namespace", tracking: "team_web:apps/Deployment:shop/web", want: []fleet.Owner{{Kind: "Application", Namespace: "team", Name: "web"}}},
		{what: "copied with its tracking", tracking: "web:apps/Deployment:shop/other"},
		{what: "a chain", apps: []string{app("web", `},"spec":{`+here+`}`, keeps), app("root", `},"spec":{`+here+`,"syncPolicy":{"automated":{"selfHeal":true}}}`, `{"group":"argoproj.io","kind":"Application","namespace":"argocd","name":"web"}`)},
			want: []fleet.Owner{argo("web"), argo("root")}, of: argo("web"), reverts: "Application argocd/root keeps it as its repository says (automated, selfHeal)", at: "    - /metadata/annotations/argocd.argoproj.io~1skip-reconcile"},
		{what: "a chain that overlooks it", apps: []string{app("web", `},"spec":{`+here+`}`, keeps), app("root", `},"spec":{`+here+`,"ignoreDifferences":[{"group":"argoproj.io","kind":"Application","jsonPointers":["/metadata/annotations/argocd.argoproj.io~1skip-reconcile"]}],"syncPolicy":{"syncOptions":["RespectIgnoreDifferences=true"],"automated":{"selfHeal":true}}}`, `{"group":"argoproj.io","kind":"Application","namespace":"argocd","name":"web"}`)},
			want: []fleet.Owner{argo("web"), argo("root")}, of: argo("web")},
		{what: "a chain without selfHeal", apps: []string{app("web", `},"spec":{`+here+`}`, keeps), app("root", `},"spec":{`+here+`,"syncPolicy":{"automated":{}}}`, `{"group":"argoproj.io","kind":"Application","namespace":"argocd","name":"web"}`)},
			want: []fleet.Owner{argo("web"), argo("root")}, of: argo("web")},
		{what: "round and round", apps: []string{app("web", `},"spec":{`+here+`}`, keeps+`,{"group":"argoproj.io","kind":"Application","namespace":"argocd","name":"web"},{"group":"argoproj.io","kind":"Application","namespace":"argocd","name":"b"}`), app("b", `},"spec":{`+here+`}`, `{"group":"argoproj.io","kind":"Application","namespace":"argocd","name":"web"}`)},
			want: []fleet.Owner{argo("web"), argo("b")}},
		{what: "generated", apps: []string{app("web", `,"ownerReferences":[{"kind":"ApplicationSet","name":"all","controller":true}]},"spec":{`+here+`}`, keeps)}, sets: []string{`{"kind":"ApplicationSet","metadata":{"namespace":"argocd","name":"all"},"spec":{}}`},
			want: []fleet.Owner{argo("web")}, of: argo("web"), reverts: "ApplicationSet argocd/all generated it, and sets its annotations anew", at: "    - argocd.argoproj.io/skip-reconcile"},
		{what: "generated by one out of sight", apps: []string{app("web", `,"ownerReferences":[{"kind":"ApplicationSet","name":"all","controller":true}]},"spec":{`+here+`}`, keeps)},
			want: []fleet.Owner{argo("web")}, of: argo("web"), reverts: "ApplicationSet argocd/all generated it, and cannot be seen", at: "preservedFields"},
		{what: "generated, and preserved", apps: []string{app("web", `,"ownerReferences":[{"kind":"ApplicationSet","name":"all","controller":true}]},"spec":{`+here+`}`, keeps)}, sets: []string{`{"kind":"ApplicationSet","metadata":{"namespace":"argocd","name":"all"},"spec":{"preservedFields":{"annotations":["argocd.argoproj.io/skip-reconcile"]}}}`},
			want: []fleet.Owner{argo("web")}, of: argo("web")},
		{what: "generated once", apps: []string{app("web", `,"ownerReferences":[{"kind":"ApplicationSet","name":"all","controller":true}]},"spec":{`+here+`}`, keeps)}, sets: []string{`{"kind":"ApplicationSet","metadata":{"namespace":"argocd","name":"all"},"spec":{"syncPolicy":{"applicationsSync":"create-only"}}}`},
			want: []fleet.Owner{argo("web")}, of: argo("web")},
		{what: "Flux", labels: map[string]string{fluxKustom + "name": "apps", fluxKustom + "namespace": "flux", fluxHelm + "name": "web", fluxHelm + "namespace": "shop"},
			flux: []string{`{"kind":"Kustomization","metadata":{"namespace":"flux","name":"apps","labels":{"kustomize.toolkit.fluxcd.io/name":"root","kustomize.toolkit.fluxcd.io/namespace":"flux"},"managedFields":[{"manager":"kustomize-controller","operation":"Apply","fieldsV1":{"f:spec":{"f:suspend":{}}}}]},"spec":{"suspend":false}}`},
			want: []fleet.Owner{{Kind: "HelmRelease", Namespace: "shop", Name: "web"}, {Kind: "Kustomization", Namespace: "flux", Name: "apps"}, {Kind: "Kustomization", Namespace: "flux", Name: "root"}},
			of:   fleet.Owner{Kind: "Kustomization", Namespace: "flux", Name: "apps"}, reverts: "kustomize-controller applies it with a spec.suspend of its own", at: "  path: /spec/suspend"},
		{what: "Flux that leaves it", labels: map[string]string{fluxKustom + "name": "apps", fluxKustom + "namespace": "flux"},
			flux: []string{`{"kind":"Kustomization","metadata":{"namespace":"flux","name":"apps","managedFields":[{"manager":"kustomize-controller","operation":"Apply","fieldsV1":{"f:spec":{"f:path":{}}}},{"manager":"flux","operation":"Update","fieldsV1":{"f:spec":{"f:suspend":{}}}}]},"spec":{}}`},
			want: []fleet.Owner{{Kind: "Kustomization", Namespace: "flux", Name: "apps"}}, of: fleet.Owner{Kind: "Kustomization", Namespace: "flux", Name: "apps"}},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s := newSwitches(t)
			d := anApp("web", 1, "web:1")
			d.Labels = tc.labels
			if tc.tracking != "" {
				d.Annotations = map[string]string{argoTracking: tc.tracking}
			}
			s.put(d)
			for shelf, texts := range map[*shelf][]string{new(s.in.others["Application"]): tc.apps, &s.in.sets: tc.sets, new(s.in.others["Kustomization"]): tc.flux} {
				for _, text := range texts {
					s.show(*shelf, text)
				}
			}
			if got := s.part("Deployment", "web").Apps; !slices.Equal(got, tc.want) {
				t.Errorf("kept by %v, want %v", got, tc.want)
			}
			if tc.of.Name == "" {
				return
			}
			got := s.look().Part(tc.of)
			if got == nil || got.Reverts != tc.reverts || !strings.Contains(got.Patch, tc.at) || (got.Patch == "") != (tc.reverts == "") {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestObserveBackends(t *testing.T) {
	s := newSwitches(t)
	s.put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"env": "stg"}}})
	s.put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "prod"}})
	hook := func(name string, policy admissionv1.FailurePolicyType, seconds int32, spaces *metav1.LabelSelector, group, resource string, operation admissionv1.OperationType) admissionv1.ValidatingWebhook {
		return admissionv1.ValidatingWebhook{
			Name: name, FailurePolicy: &policy, TimeoutSeconds: &seconds, NamespaceSelector: spaces, ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "shop", Name: "guard"}},
			Rules: []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{operation}, Rule: admissionv1.Rule{APIGroups: []string{group}, Resources: []string{resource}}}},
		}
	}
	labelled := func(value string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"env": value}}
	}
	outside := hook("z", admissionv1.Fail, 10, nil, "", "pods", admissionv1.Create)
	outside.ClientConfig.Service = nil
	s.put(&admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "guard"}, Webhooks: []admissionv1.ValidatingWebhook{
		hook("a", admissionv1.Fail, 10, nil, "", "pods", admissionv1.Create), hook("b", admissionv1.Ignore, 10, nil, "*", "*", admissionv1.OperationAll), hook("c", admissionv1.Fail, 10, nil, "", "pods", admissionv1.Delete),
		hook("d", admissionv1.Fail, 10, labelled("stg"), "", "*", admissionv1.Update), hook("e", admissionv1.Fail, 10, labelled("none"), "", "pods", admissionv1.Create), hook("f", admissionv1.Ignore, 30, nil, "", "pods/*", admissionv1.Create),
		hook("g", admissionv1.Fail, 10, nil, "x.io", "things", admissionv1.Create), outside,
	}})
	w := admissionv1.MutatingWebhook{Name: "a", ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "shop", Name: "inject"}},
		Rules: []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Create}, Rule: admissionv1.Rule{APIGroups: []string{"apps"}, Resources: []string{"deployments"}}}}}
	s.put(&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "inject"}, Webhooks: []admissionv1.MutatingWebhook{w}})
	s.show(s.in.apiServices, `{"kind":"APIService","metadata":{"name":"v1beta1.metrics.k8s.io"},"spec":{"service":{"namespace":"shop","name":"metrics"}}}`)
	s.show(s.in.apiServices, `{"kind":"APIService","metadata":{"name":"v1.apps"},"spec":{}}`)
	for name, versions := range map[string]string{"a.x.io": `{"name":"v1"},{"name":"v2"}`, "b.x.io": `{"name":"v1"}`} {
		s.show(s.in.definitions, fmt.Sprintf(`{"kind":"CustomResourceDefinition","metadata":{"name":%q},"spec":{"versions":[%s],"conversion":{"webhook":{"clientConfig":{"service":{"namespace":"shop","name":"convert"}}}}}}`, name, versions))
	}
	got := map[string]string{}
	for _, b := range s.look().Backends {
		got[b.Kind+" "+b.Name+" "+b.Namespace+"/"+b.Service] = b.Blocks
	}
	validating := func(name string) string { return "ValidatingWebhookConfiguration guard/" + name + " shop/guard" }
	want := map[string]string{
		validating("a"): "writes of pods (failurePolicy Fail)", validating("b"): "writes of leases, each for 10 s (failurePolicy Ignore)", validating("c"): "",
		validating("d"): "writes of pods, nodes, persistentvolumeclaims in namespaces shop (failurePolicy Fail)", validating("e"): "", validating("f"): "writes of pods, each for 30 s (failurePolicy Ignore)", validating("g"): "",
		"MutatingWebhookConfiguration inject/a shop/inject": "writes of deployments (failurePolicy Fail)",
		"APIService v1beta1.metrics.k8s.io shop/metrics":    "requests for v1beta1.metrics.k8s.io, and the deletion of namespaces",
		"CustomResourceDefinition a.x.io shop/convert":      "reading and writing a.x.io in another version than the one they are stored in",
	}
	if !reflect.DeepEqual(got, want) {
		for key := range want {
			if got[key] != want[key] {
				t.Errorf("%s:\n got %q\nwant %q", key, got[key], want[key])
			}
		}
		t.Errorf("%d backends, want %d", len(got), len(want))
	}
}

// Of a definition nothing is kept that nobody reads.
func TestDefinitionsWithoutSchemas(t *testing.T) {
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(`{"kind":"X","metadata":{"name":"a","managedFields":[{"manager":"x"}]},"spec":{"versions":[{"name":"v1","schema":{"a":"b"}}],"conversion":{"strategy":"None"}}}`), &u.Object); err != nil {
		t.Fatal(err)
	}
	out, err := withoutSchemas(u)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(out)
	if want := `{"kind":"X","metadata":{"name":"a"},"spec":{"conversion":{"strategy":"None"},"versions":[{"name":"v1"}]}}`; string(body) != want {
		t.Errorf("%s", body)
	}
}
