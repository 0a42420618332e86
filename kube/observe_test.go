package kube

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	appslisters "k8s.io/client-go/listers/apps/v1"
	scalinglisters "k8s.io/client-go/listers/autoscaling/v2"
	corelisters "k8s.io/client-go/listers/core/v1"
	policylisters "k8s.io/client-go/listers/policy/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"

	"drover.dev/fleet"
)

// stock is a Cluster whose informers' stores the test fills itself.
type stock struct {
	*Cluster
	t      testing.TB
	stores map[reflect.Type]cache.Indexer
}

func newStock(t testing.TB) *stock {
	s := &stock{Cluster: &Cluster{bell: newBell()}, t: t, stores: map[reflect.Type]cache.Indexer{}}
	store := func(kind any) cache.Indexer {
		i := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
		s.stores[reflect.TypeOf(kind)] = i
		return i
	}
	s.nodes = corelisters.NewNodeLister(store(&corev1.Node{}))
	s.pods = corelisters.NewPodLister(store(&corev1.Pod{}))
	s.claims = corelisters.NewPersistentVolumeClaimLister(store(&corev1.PersistentVolumeClaim{}))
	s.volumes = corelisters.NewPersistentVolumeLister(store(&corev1.PersistentVolume{}))
	s.budgets = policylisters.NewPodDisruptionBudgetLister(store(&policyv1.PodDisruptionBudget{}))
	s.deployments = appslisters.NewDeploymentLister(store(&appsv1.Deployment{}))
	s.replicaSets = appslisters.NewReplicaSetLister(store(&appsv1.ReplicaSet{}))
	s.statefulSets = appslisters.NewStatefulSetLister(store(&appsv1.StatefulSet{}))
	s.namespaces = corelisters.NewNamespaceLister(store(&corev1.Namespace{}))
	s.attachments = storagelisters.NewVolumeAttachmentLister(store(&storagev1.VolumeAttachment{}))
	s.scalers = scalinglisters.NewHorizontalPodAutoscalerLister(store(&autoscalingv2.HorizontalPodAutoscaler{}))
	s.stops = corelisters.NewConfigMapLister(store(&corev1.ConfigMap{}))
	s.rotations = store(&unstructured.Unstructured{})
	s.cases = cache.NewStore(cache.MetaNamespaceKeyFunc)
	s.journal = &kind{name: "rotations", mayLack: true, listed: func() bool { return true }}
	s.services = corelisters.NewServiceLister(store(&corev1.Service{}))
	s.moves, s.policies = cache.NewStore(cache.MetaNamespaceKeyFunc), cache.NewStore(cache.MetaNamespaceKeyFunc)
	s.moveKind = &kind{name: "moves", mayLack: true, listed: func() bool { return true }}
	s.leases = map[string]cache.Store{leaseName: cache.NewStore(cache.MetaNamespaceKeyFunc), ControllerName: cache.NewStore(cache.MetaNamespaceKeyFunc)}
	return s
}

// put stores an object as an informer would, and tells of it.
func (s *stock) put(o metav1.Object) {
	store := s.stores[reflect.TypeOf(o)]
	old, _, _ := store.Get(o)
	if err := store.Add(o); err != nil {
		s.t.Fatal(err)
	}
	s.note(old, o)
}

func (s *stock) drop(o metav1.Object) {
	if err := s.stores[reflect.TypeOf(o)].Delete(o); err != nil {
		s.t.Fatal(err)
	}
	s.note(nil, o)
}

func (s *stock) observe() fleet.Snapshot {
	var out fleet.Snapshot
	if err := s.Observe(s.t.Context(), &out); err != nil {
		s.t.Fatal(err)
	}
	return out
}

func controlledBy(kind, name string) []metav1.OwnerReference {
	return []metav1.OwnerReference{{Kind: kind, Name: name, Controller: new(true)}}
}

func aPod(namespace, name, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name), Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{
			NodeName: node, Tolerations: []corev1.Toleration{{Key: "node.kubernetes.io/not-ready", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}},
			Containers: []corev1.Container{{Name: "web", Image: "web:1", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("128Mi")}}}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
}

func aBudget(namespace, name, app string) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}},
	}
}

// What is remembered between two looks must never be older than the informers: each step changes one thing that a pod depends on.
func TestObserveForgetsWhatChanged(t *testing.T) {
	s := newStock(t)
	pod := aPod("shop", "web-1", "n1")
	pod.OwnerReferences = controlledBy("ReplicaSet", "web-77")
	pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
	s.put(pod)
	check := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	seen := func() fleet.Pod { t.Helper(); return s.observe().Pods[0] }
	check("owner before its ReplicaSet is known", seen().Owner, fleet.Owner{Kind: "ReplicaSet", Namespace: "shop", Name: "web-77"})

	s.put(&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-77", OwnerReferences: controlledBy("Deployment", "web")}})
	check("owner", seen().Owner, fleet.Owner{Kind: "Deployment", Namespace: "shop", Name: "web"})

	s.put(aBudget("shop", "web", "web"))
	check("budgets", seen().Budgets, []string{"shop/web"})
	s.put(aBudget("shop", "web", "other"))
	check("budgets after the selector changed", seen().Budgets, []string(nil))
	s.put(aBudget("shop", "web", "web"))
	s.drop(aBudget("shop", "web", "web"))
	check("budgets after the budget went", seen().Budgets, []string(nil))

	s.put(&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data"}})
	check("zones of an unbound claim", seen().VolumeZones, []string(nil))
	s.put(&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}, Spec: corev1.PersistentVolumeSpec{NodeAffinity: &corev1.VolumeNodeAffinity{
		Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{"eu-west-1b"}}}}}}}}})
	s.put(&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv"}})
	check("zones", seen().VolumeZones, []string{"eu-west-1b"})

	leaving := pod.DeepCopy()
	leaving.DeletionTimestamp = new(metav1.NewTime(time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)))
	s.put(leaving)
	check("announced end", seen().Deleted, leaving.DeletionTimestamp.Time)
	s.drop(leaving)
	check("pods", len(s.observe().Pods), 0)
}

// A snapshot belongs to whoever asked for it.
func TestSnapshotsShareNoTaints(t *testing.T) {
	s := newStock(t)
	s.put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "a"}}}})
	one := s.observe()
	one.Nodes[0].Taints[0].Key = "changed"
	if got := s.observe().Nodes[0].Taints[0].Key; got != "a" {
		t.Errorf("taint %q", got)
	}
}

func TestConfirm(t *testing.T) {
	overdue, due := metav1.NewTime(time.Now().Add(-lostAfter-time.Minute)), metav1.NewTime(time.Now())
	daemon := aPod("shop", "agent", "n1")
	daemon.OwnerReferences = controlledBy("DaemonSet", "agent")
	terminating := func(at metav1.Time) *corev1.Pod {
		p := aPod("shop", "web-1", "n1")
		p.DeletionTimestamp, p.Finalizers = &at, []string{"keep.it/here"}
		return p
	}
	node := func(ready corev1.ConditionStatus) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}}}
	}
	for _, c := range []struct {
		what    string
		objects []runtime.Object
		empty   bool
	}{
		{"a DaemonSet's pod only", []runtime.Object{node(corev1.ConditionTrue), daemon}, true},
		{"a pod", []runtime.Object{node(corev1.ConditionTrue), daemon, aPod("shop", "web-1", "n1")}, false},
		{"a pod on a silent node", []runtime.Object{node(corev1.ConditionUnknown), aPod("shop", "web-1", "n1")}, false},
		{"a pod that ends in time on a silent node", []runtime.Object{node(corev1.ConditionUnknown), terminating(due)}, false},
		{"an overdue pod on a healthy node", []runtime.Object{node(corev1.ConditionTrue), terminating(overdue)}, false},
		{"an overdue pod on a silent node", []runtime.Object{node(corev1.ConditionUnknown), terminating(overdue)}, true},
		{"an overdue pod on a node that is gone", []runtime.Object{terminating(overdue)}, true},
	} {
		s := newStock(t)
		s.client = fake.NewClientset(c.objects...)
		err := s.Confirm(t.Context(), fleet.Action{Verb: fleet.Terminate, Node: "n1", Expect: fleet.Expect{Empty: true}})
		if (err == nil) != c.empty {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// BenchmarkObserve is one look at a large cluster in which ten pods changed since the last.
func BenchmarkObserve(b *testing.B) {
	s := newStock(b)
	const nodes, perNode = 1000, 30
	for n := range nodes {
		s.put(&corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("n%04d", n), Labels: map[string]string{corev1.LabelTopologyZone: "eu-west-1a"}},
			Spec:       corev1.NodeSpec{ProviderID: fmt.Sprintf("aws:///eu-west-1a/i-%017d", n)},
			Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("16Gi"),
				corev1.ResourcePods: resource.MustParse("58")}},
		})
	}
	var pods []*corev1.Pod
	for app := range 300 {
		namespace := fmt.Sprintf("team-%02d", app%30)
		name := fmt.Sprintf("app-%03d", app)
		s.put(aBudget(namespace, name, name))
		s.put(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
		s.put(anAutoscaler(namespace, name, "Deployment", name, nil, 200))
		s.put(&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name + "-77", OwnerReferences: controlledBy("Deployment", name)}})
		for i := range nodes * perNode / 300 {
			p := aPod(namespace, fmt.Sprintf("%s-77-%05d", name, i), fmt.Sprintf("n%04d", (app*97+i)%nodes))
			p.Labels["app"], p.OwnerReferences = name, controlledBy("ReplicaSet", name+"-77")
			p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
				{TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}}}}}
			pods = append(pods, p)
			s.put(p)
		}
	}
	run := func(name string, between func(round int)) {
		b.Run(name, func(b *testing.B) {
			s.observe()
			b.ReportAllocs()
			round := 0
			for b.Loop() {
				between(round)
				round++
				if got := len(s.observe().Pods); got != nodes*perNode {
					b.Fatal(got)
				}
			}
		})
	}
	run("ten pods changed", func(round int) {
		for i := range 10 {
			s.put(pods[(round*10+i)%len(pods)].DeepCopy())
		}
	})
	run("a budget came", func(round int) { s.put(aBudget("team-00", fmt.Sprintf("new-%d", round%10), "none")); s.links.Add(1) })
	run("nothing remembered", func(int) { s.seen.pods, s.seen.order, s.seen.nodes = nil, nil, nil })
}
