package kube

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

type said map[string]string

// notes are annotations of drover's.
func (s said) notes() map[string]string {
	out := map[string]string{"example.com/other": "x"}
	for key, value := range s {
		out[prefix+key] = value
	}
	return out
}

// aSet is a StatefulSet of one container with one port, whose pod template and whose own object say something.
func aSet(name string, replicas int, containerPort int32, template, object said) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("set " + name), Annotations: object.notes()},
		Spec: appsv1.StatefulSetSpec{
			Replicas: new(int32(replicas)), ServiceName: name,
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}, Annotations: template.notes()},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "redis:7", Ports: []corev1.ContainerPort{{ContainerPort: containerPort}}}}},
			},
		},
	}
}

// podOf is a pod of the StatefulSet as its controller makes it.
func podOf(set *appsv1.StatefulSet, ordinal int) *corev1.Pod {
	name := fmt.Sprintf("%s-%d", set.Name, ordinal)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: set.Namespace, Name: name, UID: types.UID(name), Annotations: set.Spec.Template.Annotations, OwnerReferences: controlledBy("StatefulSet", set.Name),
			Labels: map[string]string{"statefulset.kubernetes.io/pod-name": name},
		},
		Spec: *set.Spec.Template.Spec.DeepCopy(),
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: fmt.Sprintf("10.0.%d.%d", len(set.Name), ordinal),
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
	for key, value := range set.Spec.Template.Labels {
		p.Labels[key] = value
	}
	p.Spec.NodeName = fmt.Sprint("n", ordinal)
	return p
}

func (s *stock) run(sets ...*appsv1.StatefulSet) {
	for _, set := range sets {
		s.put(set)
		for i := range int(*set.Spec.Replicas) {
			s.put(podOf(set, i))
		}
	}
}

// keep stores an object of drover's own as an informer would.
func (s *stock) keep(o metav1.Object) {
	s.t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		s.t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: content}
	store := s.moves
	if u.GetKind() == "MoverPolicy" {
		store = s.policies
	}
	if err := store.Add(u); err != nil {
		s.t.Fatal(err)
	}
	s.note(nil, u)
}

func (s *stock) store(name string) *fleet.Store {
	s.t.Helper()
	snapshot := s.observe()
	st := snapshot.Store(name)
	if st == nil {
		s.t.Fatalf("no store %s in %v", name, snapshot.Stores)
	}
	return st
}

func names(st *fleet.Store) (members, sentinels []string) {
	for _, m := range st.Members {
		members = append(members, m.Pod.Name)
	}
	for _, w := range st.Sentinels {
		sentinels = append(sentinels, w.Pod.Name)
	}
	return members, sentinels
}

// The layout of the issue: two StatefulSets of Redis, one of Sentinels, that are one store by name.
func TestASentinelStore(t *testing.T) {
	s := newStock(t)
	redis := said{"mover": "sentinel", "store": "orders", "floor": "1", "linger": "8s", "tls": "true", "secret": "redis"}
	s.run(aSet("redis-a", 1, 6379, redis, nil), aSet("redis-b", 1, 6379, redis, nil), aSet("watch", 3, 26379, said{"mover": "sentinel", "store": "orders", "master": "main"}, nil))
	s.put(aPod("shop", "web", "n1"))
	st := s.store("shop/orders")
	want := fleet.StoreSpec{
		Master: "main", Port: 6379, SentinelPort: 26379, TLS: true, Secret: "redis", Failback: fleet.FailbackIfPinned, Floor: 1, Linger: 8 * time.Second,
		HookTimeout: 5 * time.Second, Replicas: 2, Watchers: 3,
	}
	if !reflect.DeepEqual(st.Spec, want) {
		t.Errorf("spec\n got %+v\nwant %+v", st.Spec, want)
	}
	if st.Mover != fleet.SentinelMover || !st.Confirmed || st.Trouble != "" || st.Move != nil {
		t.Errorf("got %+v", st)
	}
	if want := "annotation of the pod template of StatefulSet shop/redis-a, annotation of the pod template of StatefulSet shop/redis-b, annotation of the pod template of StatefulSet shop/watch"; st.Source != want {
		t.Errorf("source %q", st.Source)
	}
	members, sentinels := names(st)
	if !slices.Equal(members, []string{"redis-a-0", "redis-b-0"}) || !slices.Equal(sentinels, []string{"watch-0", "watch-1", "watch-2"}) {
		t.Errorf("members %v, sentinels %v", members, sentinels)
	}
	m, w := st.Members[0], st.Sentinels[1]
	if want := (fleet.Member{Pod: fleet.PodRef{Namespace: "shop", Name: "redis-a-0", UID: "redis-a-0"}, Node: "n0", Host: "10.0.7.0", Port: 6379, Known: []string{"10.0.7.0:6379"}, Ready: true}); !reflect.DeepEqual(m, want) {
		t.Errorf("member\n got %+v\nwant %+v", m, want)
	}
	if w.Host != "10.0.5.1" || w.Port != 26379 || !w.Ready || w.Node != "n1" {
		t.Errorf("sentinel %+v", w)
	}
}

// What a pod says goes before what its workload's object says, and that before policies; the first counts alone.
func TestWhoSaysIt(t *testing.T) {
	policy := func(name string, spec v1alpha1.MoverPolicySpec) *v1alpha1.MoverPolicy {
		return &v1alpha1.MoverPolicy{TypeMeta: metav1.TypeMeta{APIVersion: "drover.dev/v1alpha1", Kind: "MoverPolicy"}, ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	}
	labelled := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "cache"}}
	team := &metav1.LabelSelector{MatchLabels: map[string]string{"team": "one"}}
	for _, tc := range []struct {
		what             string
		template, object said
		policies         []*v1alpha1.MoverPolicy
		source, trouble  string
		floor            int
	}{
		{"the template", said{"mover": "rediscluster", "floor": "1"}, said{"mover": "rediscluster", "floor": "2", "linger": "1s"}, nil,
			"annotation of the pod template of StatefulSet shop/cache", "", 1},
		{"the object", nil, said{"mover": "rediscluster", "floor": "2"}, []*v1alpha1.MoverPolicy{policy("all", v1alpha1.MoverPolicySpec{Mover: "rediscluster", Floor: 3})},
			"annotation of StatefulSet shop/cache", "", 2},
		{"a policy", nil, nil, []*v1alpha1.MoverPolicy{policy("all", v1alpha1.MoverPolicySpec{Mover: "rediscluster", Floor: 3})}, "policy all", "", 3},
		{"the policy with more labels", nil, nil, []*v1alpha1.MoverPolicy{
			policy("all", v1alpha1.MoverPolicySpec{Mover: "script"}), policy("caches", v1alpha1.MoverPolicySpec{Mover: "rediscluster", PodSelector: labelled, Floor: 4})}, "policy caches", "", 4},
		{"the policy that names the namespace", nil, nil, []*v1alpha1.MoverPolicy{
			policy("caches", v1alpha1.MoverPolicySpec{Mover: "script", PodSelector: labelled, NamespaceSelector: team}),
			policy("shop", v1alpha1.MoverPolicySpec{Mover: "rediscluster", Namespaces: []string{"shop"}, Floor: 5})}, "policy shop", "", 5},
		{"the policy by the namespace's labels", nil, nil, []*v1alpha1.MoverPolicy{
			policy("caches", v1alpha1.MoverPolicySpec{Mover: "script", PodSelector: labelled}),
			policy("team", v1alpha1.MoverPolicySpec{Mover: "rediscluster", NamespaceSelector: team, Floor: 6})}, "policy team", "", 6},
		{"a policy for others", nil, said{"mover": "rediscluster"}, []*v1alpha1.MoverPolicy{policy("other", v1alpha1.MoverPolicySpec{Mover: "script", Namespaces: []string{"other"}})},
			"annotation of StatefulSet shop/cache", "", 0},
		{"a tie", nil, nil, []*v1alpha1.MoverPolicy{policy("one", v1alpha1.MoverPolicySpec{Mover: "rediscluster"}), policy("two", v1alpha1.MoverPolicySpec{Mover: "script"})},
			"policy one", "pod shop/cache-0 is selected by policies one or two, none more specific than the others", 0},
		{"two stores", said{"mover": "rediscluster", "store": "one"}, said{"store": "cache"}, nil, "annotation of the pod template of StatefulSet shop/cache",
			`is of two stores: annotation drover.dev/store of the pod template of StatefulSet shop/cache is "one", annotation drover.dev/store of StatefulSet shop/cache is "cache"`, 0},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s := newStock(t)
			s.put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"team": "one"}}})
			for _, p := range tc.policies {
				s.keep(p)
			}
			s.run(aSet("cache", 1, 6379, tc.template, tc.object))
			name := "shop/cache"
			if tc.what == "two stores" {
				name = "shop/one"
			}
			st := s.store(name)
			if st.Source != tc.source || st.Spec.Floor != tc.floor || !strings.Contains(st.Trouble, tc.trouble) || tc.trouble == "" && st.Trouble != "" {
				t.Errorf("source %q, floor %d, trouble %q", st.Source, st.Spec.Floor, st.Trouble)
			}
		})
	}
}

// A pod whose mover is none leaves as pods of no store do.
func TestNoMover(t *testing.T) {
	s := newStock(t)
	s.run(aSet("cache", 1, 6379, nil, said{"mover": "none"}))
	s.keep(&v1alpha1.MoverPolicy{TypeMeta: metav1.TypeMeta{Kind: "MoverPolicy"}, ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: v1alpha1.MoverPolicySpec{Mover: "rediscluster"}})
	if snapshot := s.observe(); len(snapshot.Stores) != 0 {
		t.Errorf("stores %+v", snapshot.Stores)
	}
}

// Whatever is wrong is said with its place, and what is wanted there.
func TestStoreTrouble(t *testing.T) {
	watch := func(more ...string) *appsv1.StatefulSet {
		says := said{"mover": "sentinel", "store": "cache"}
		for i := 0; i+1 < len(more); i += 2 {
			says[more[i]] = more[i+1]
		}
		return aSet("watch", 1, 26379, says, nil)
	}
	both := aSet("cache", 1, 6379, said{"mover": "sentinel"}, nil)
	both.Spec.Template.Spec.Containers = append(both.Spec.Template.Spec.Containers, corev1.Container{Name: "watch", Ports: []corev1.ContainerPort{{ContainerPort: 7000, Name: "sentinel"}}})
	of := "of the pod template of StatefulSet shop/cache"
	for _, tc := range []struct {
		what string
		sets []*appsv1.StatefulSet
		want string
	}{
		{"floor", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "rediscluster", "floor": "two"}, nil)}, `annotation drover.dev/floor ` + of + ` is "two": want a whole number, 0 or more`},
		{"port", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "rediscluster", "port": "70000"}, nil)}, `is "70000": want a port, 1 to 65535`},
		{"tls", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "rediscluster", "tls": "yes"}, nil)}, `is "yes": want true or false`},
		{"linger", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "rediscluster", "linger": "-1s"}, nil)}, `is "-1s": want a duration such as 5s, 0s or more`},
		{"failback", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "rediscluster", "failback": "maybe"}, nil)}, `is "maybe": want never, ifPinned or always`},
		{"mover", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "sentinels"}, nil)}, `drover.dev/mover ` + of + ` is "sentinels": want sentinel, rediscluster, script, leader-last or none`},
		{"no mover", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"floor": "1"}, nil)}, "annotation " + of + " does not say drover.dev/mover: want sentinel,"},
		{"a slip", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "rediscluster", "flor": "1"}, nil)}, "annotation drover.dev/flor " + of + " is unknown: is drover.dev/floor meant?"},
		{"another slip", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"movr": "sentinel"}, nil)}, "is drover.dev/mover meant?"},
		{"a style", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "script", "ready": "exec: true", "hookTimeout": "1s"}, nil)}, "is drover.dev/hook-timeout meant?"},
		{"leader", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "leader-last", "leader": "role"}, nil)}, `is "role": want label=value`},
		{"no leader", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "leader-last"}, nil)}, "the mover leader-last has to know the leader: say drover.dev/leader: label=value"},
		{"hook", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "script", "ready": "ftp://:80/"}, nil)}, `is "ftp://:80/": want http://:PORT/PATH, https://:PORT/PATH, exec: COMMAND or exec(CONTAINER): COMMAND`},
		{"hook's port", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "script", "ready": "http://:70000/"}, nil)}, `exec(CONTAINER): COMMAND (port "70000": want 1 to 65535)`},
		{"hook-timeout", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "script", "ready": "exec: true", "hook-timeout": "30s"}, nil)}, `is "30s": want a duration such as 5s, more than 0s and at most 7s`},
		{"no hook", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "script"}, nil)}, "the mover script has no hook"},
		{"not heeded", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "rediscluster", "pre-move": "exec: true"}, nil)}, "drover.dev/pre-move " + of + " says nothing to the mover rediscluster"},
		{"role", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "sentinel", "role": "master"}, nil), watch()}, `is "master": want data or sentinel`},
		{"role of another", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "rediscluster", "role": "sentinel"}, nil)}, `is "sentinel", which is for the mover sentinel`},
		{"both roles", []*appsv1.StatefulSet{both, watch()}, "pod shop/cache-0 has the ports of a Redis and of a Sentinel"},
		{"no Sentinel", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "sentinel"}, nil)}, "it has no Sentinel: annotate their StatefulSet"},
		{"two movers", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "rediscluster"}, nil), watch()}, `is "rediscluster", annotation drover.dev/mover of the pod template of StatefulSet shop/watch is "sentinel": a store has one mover`},
		{"disagreement", []*appsv1.StatefulSet{aSet("cache", 1, 6379, said{"mover": "sentinel", "floor": "1"}, nil), watch("floor", "2")}, `is "1", annotation drover.dev/floor of the pod template of StatefulSet shop/watch is "2": they are of one store, and have to agree`},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s := newStock(t)
			s.run(tc.sets...)
			if st := s.store("shop/cache"); !strings.Contains(st.Trouble, tc.want) {
				t.Errorf("trouble %q lacks %q", st.Trouble, tc.want)
			}
		})
	}
}

func TestStoreNames(t *testing.T) {
	s := newStock(t)
	s.run(aSet("plain", 1, 6379, said{"mover": "rediscluster"}, nil), aSet("named", 1, 6379, said{"mover": "rediscluster", "store": "mine"}, nil))
	chart := aSet("chart", 1, 6379, said{"mover": "rediscluster"}, nil)
	chart.Spec.Template.Labels[instanceLabel] = "release"
	label := aSet("label", 1, 6379, nil, nil)
	label.Spec.Template.Labels["shard"] = "seven"
	s.run(chart, label, aSet("odd", 1, 6379, said{"mover": "rediscluster", "store": "No Name"}, nil))
	s.keep(&v1alpha1.MoverPolicy{TypeMeta: metav1.TypeMeta{Kind: "MoverPolicy"}, ObjectMeta: metav1.ObjectMeta{Name: "shards"}, Spec: v1alpha1.MoverPolicySpec{Mover: "rediscluster", StoreLabel: "shard"}})
	var got []string
	for _, st := range s.observe().Stores {
		got = append(got, st.Name)
		if (st.Name == "shop/No Name") != strings.Contains(st.Trouble, `drover.dev/store of the pod template of StatefulSet shop/odd is "No Name": want small letters`) {
			t.Errorf("%s: trouble %q", st.Name, st.Trouble)
		}
	}
	if want := []string{"shop/No Name", "shop/mine", "shop/plain", "shop/release", "shop/seven"}; !slices.Equal(got, want) {
		t.Errorf("stores %v, want %v", got, want)
	}
}

// A Service pins by the labels of templates: those that change with the role tell nothing, nor do the Services that name a StatefulSet's pods.
func TestPinned(t *testing.T) {
	says := said{"mover": "rediscluster", "store": "cache"}
	service := func(name string, selector map[string]string) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.ServiceSpec{Selector: selector}}
	}
	for _, tc := range []struct {
		what     string
		services []*corev1.Service
		want     []string
	}{
		{"none", nil, nil},
		{"for the master", []*corev1.Service{service("main", map[string]string{"app": "a"})}, []string{"a-0"}},
		{"for each", []*corev1.Service{service("main", map[string]string{"app": "a"}), service("copy", map[string]string{"app": "b"})}, []string{"a-0", "b-0"}},
		{"for all", []*corev1.Service{service("all", map[string]string{"tier": "data"})}, nil},
		{"governing", []*corev1.Service{service("a", map[string]string{"app": "a"})}, nil},
		{"for one pod", []*corev1.Service{service("one", map[string]string{"statefulset.kubernetes.io/pod-name": "a-0"})}, nil},
		{"by role", []*corev1.Service{service("main", map[string]string{"role": "master"})}, nil},
		{"for nobody", []*corev1.Service{service("others", map[string]string{"app": "web"}), service("bare", nil)}, nil},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s := newStock(t)
			a, b := aSet("a", 1, 6379, says, nil), aSet("b", 1, 6379, says, nil)
			a.Spec.Template.Labels["tier"], b.Spec.Template.Labels["tier"] = "data", "data"
			s.run(a, b)
			led := podOf(a, 0)
			led.Labels["role"] = "master"
			s.put(led)
			for _, svc := range tc.services {
				s.put(svc)
			}
			var got []string
			for _, m := range s.store("shop/cache").Members {
				if m.Pinned {
					got = append(got, m.Pod.Name)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("pinned %v, want %v", got, tc.want)
			}
		})
	}
}

// Pods that are away are wanted all the same; finished ones are no members, temporary ones are.
func TestMembersComeAndGo(t *testing.T) {
	s := newStock(t)
	says := said{"mover": "rediscluster", "store": "cache"}
	a, b := aSet("a", 2, 6379, says, nil), aSet("b", 1, 6379, says, nil)
	s.run(a)
	s.put(b) // none of its pods is there
	over := podOf(a, 1)
	over.Status.Phase = corev1.PodFailed
	s.put(over)
	going := podOf(a, 0)
	going.DeletionTimestamp = new(metav1.Now())
	s.put(going)
	lent := aPod("shop", "a-0-drover", "n9")
	lent.Labels = map[string]string{storeLabel: "cache", temporaryLabel: "m-1"}
	lent.OwnerReferences = []metav1.OwnerReference{{APIVersion: "drover.dev/v1alpha1", Kind: "Move", Name: "cache", UID: "m-1"}}
	s.put(lent)
	copied := aPod("shop", "copy", "n9") // somebody copied the labels
	copied.Labels = lent.Labels
	s.put(copied)
	copied = lent.DeepCopy() // or all of it, and the move is another one by now
	copied.Name, copied.UID, copied.OwnerReferences[0].UID = "copy-2", "copy-2", "m-2"
	s.put(copied)
	st := s.store("shop/cache")
	if members, _ := names(st); !slices.Equal(members, []string{"a-0", "a-0-drover"}) || st.Spec.Replicas != 3 {
		t.Fatalf("members %v of %d", members, st.Spec.Replicas)
	}
	defer func() { // what is left when nobody declares the store any more
		s.drop(a)
		s.drop(b)
		s.drop(going)
		if st := s.store("shop/cache"); st.Mover != "" || !strings.Contains(st.Trouble, "only drover's temporary pod is left of it") {
			t.Errorf("left: %+v", st)
		}
	}()
	if st.Members[0].Temp || !st.Members[0].Leaving || !st.Members[1].Temp || st.Mover != fleet.ClusterMover || st.Trouble != "" {
		t.Errorf("got %+v", st)
	}
}

// What is remembered between two looks must never be older than the informers: each step changes one thing that stores depend on.
func TestStoresForgetWhatChanged(t *testing.T) {
	s := newStock(t)
	set := aSet("cache", 1, 6379, nil, nil)
	s.run(set)
	stores := func() string {
		var out []string
		for _, st := range s.observe().Stores {
			out = append(out, fmt.Sprintf("%s %s %d", st.Name, st.Mover, st.Spec.Floor))
		}
		return strings.Join(out, ", ")
	}
	check := func(what, want string) {
		t.Helper()
		if got := stores(); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	check("nothing said", "")
	policy := func(floor int32) *v1alpha1.MoverPolicy {
		return &v1alpha1.MoverPolicy{TypeMeta: metav1.TypeMeta{Kind: "MoverPolicy"}, ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1alpha1.MoverPolicySpec{Mover: "rediscluster", Floor: floor}}
	}
	s.keep(policy(1))
	check("a policy", "shop/cache rediscluster 1")
	s.keep(policy(2))
	check("the policy changed", "shop/cache rediscluster 2")
	next := set.DeepCopy()
	next.Annotations[prefix+"mover"], next.Annotations[prefix+"floor"] = "rediscluster", "3"
	s.put(next)
	check("the object said so", "shop/cache rediscluster 3")
	next = next.DeepCopy()
	next.Annotations[prefix+"floor"] = "4"
	s.put(next)
	check("the object said otherwise", "shop/cache rediscluster 4")
	p := podOf(set, 0)
	p.Annotations = said{"mover": "rediscluster", "store": "mine", "floor": "5"}.notes()
	s.put(p)
	check("the pod said so", "shop/mine rediscluster 5")
	s.drop(p)
	check("the pod is gone", "")
}

func aMove(store, run, pod string) *v1alpha1.Move {
	m, err := v1alpha1.FromMove("shop", store, fleet.StoreMove{Run: run, Pod: fleet.PodRef{Namespace: "shop", Name: pod, UID: "u"}, Temp: "t"})
	if err != nil {
		panic(err)
	}
	return m
}

func TestMovesOnFile(t *testing.T) {
	s := newStock(t)
	s.run(aSet("cache", 1, 6379, said{"mover": "rediscluster"}, nil))
	s.keep(aMove("cache", "r-1", "cache-0"))
	s.keep(aMove("lost", "r-2", "lost-0"))
	odd := aMove("odd", "r-3", "odd-0")
	s.keep(odd)
	o, _, _ := s.moves.GetByKey("shop/odd")
	o.(*unstructured.Unstructured).Object["spec"].(map[string]any)["later"] = "thing"
	if st := s.store("shop/cache"); st.Move == nil || st.Move.Run != "r-1" || st.Move.Temp != "t" || st.Move.Pod.Name != "cache-0" || st.Trouble != "" {
		t.Errorf("got %+v, %+v", st, st.Move)
	}
	if st := s.store("shop/lost"); st.Move == nil || !strings.Contains(st.Trouble, "run r-2 began to move pod shop/lost-0 of it, and now no pod says that it is of this store") {
		t.Errorf("got %+v", st)
	}
	if st := s.store("shop/odd"); st.Move != nil || !strings.Contains(st.Trouble, "move shop/odd: unreadable: ") {
		t.Errorf("got %+v", st)
	}
}

// Without drover's kinds stores are found all the same, and say why they cannot be moved.
func TestStoresWithoutDroversKinds(t *testing.T) {
	s := newStock(t)
	s.run(aSet("cache", 1, 6379, said{"mover": "rediscluster"}, nil))
	s.moveKind.heard(apierrors.NewNotFound(v1alpha1.Moves.GroupResource(), ""))
	if st := s.store("shop/cache"); st.Trouble != unmovable {
		t.Errorf("trouble %q", st.Trouble)
	}
}

// Nobody acts for a run whose lease is free, or was not renewed for its duration by this process's own clock, however the clock of its holder stands.
func TestIdle(t *testing.T) {
	s := newStock(t)
	s.run(aSet("cache", 1, 6379, said{"mover": "rediscluster"}, nil))
	s.keep(aMove("cache", "r-1", "cache-0"))
	began := time.Now()
	held := func(version, by string) {
		l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: leaseNamespace, Name: leaseName, ResourceVersion: version}}
		l.Spec.HolderIdentity = &by
		l.Spec.RenewTime = &metav1.MicroTime{Time: began.Add(-time.Hour)}
		if err := s.leases[leaseName].Add(l); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, after time.Duration, want bool) {
		t.Helper()
		out := fleet.Snapshot{Now: began.Add(after)}
		if err := s.Observe(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		if got := out.Stores[0].Move.Idle; got != want {
			t.Errorf("%s: idle %v", what, got)
		}
	}
	check("no lease", 0, true)
	held("5", "one")
	check("held", time.Second, false)
	check("held for as long", leaseDuration, false)
	held("6", "one")
	check("renewed", 2*leaseDuration, false)
	check("not renewed", 3*leaseDuration, true)
	held("7", "")
	check("given back", 3*leaseDuration, true)
	held("8", "two")
	check("held again", 4*leaseDuration, false)
	s.keep(aMove("cache", fleet.NoticeRun, "cache-0"))
	check("the controller's", 4*leaseDuration, true)
}

// Tens of thousands of pods of no store cost a look at each, and no more.
func BenchmarkObserveStores(b *testing.B) {
	s := newStock(b)
	for i := range 300 {
		set := aSet(fmt.Sprint("web", i), 100, 80, nil, nil)
		s.run(set)
	}
	for i := range 20 {
		s.run(aSet(fmt.Sprint("cache", i), 6, 6379, said{"mover": "rediscluster"}, nil))
	}
	s.observe()
	for b.Loop() {
		s.observe()
	}
}

func TestLent(t *testing.T) {
	set := aSet("cache", 3, 6379, said{"mover": "rediscluster"}, nil)
	spec := &set.Spec.Template.Spec
	spec.Hostname, spec.Subdomain, spec.NodeName, spec.ServiceAccountName = "h", "s", "n1", "redis"
	spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/gate"}}
	spec.Tolerations = []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}}
	spec.Volumes = []corev1.Volume{{Name: "conf"}, {Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "x"}}}}
	spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1, WhenUnsatisfiable: corev1.DoNotSchedule}}
	apart := corev1.PodAffinityTerm{TopologyKey: corev1.LabelHostname}
	zone := corev1.NodeSelectorRequirement{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{"a"}}
	spec.Affinity = &corev1.Affinity{
		PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{apart}},
		NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{zone}}, {}}}},
	}
	claim := corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}}
	claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("3Gi")}
	set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{claim}
	before := set.DeepCopy()
	move := aMove("orders", "r-1", "cache-0")
	move.UID = "m-1"
	p := lent(set, move, "cache-0-drover", []string{"n1", "n2"})
	if !reflect.DeepEqual(set, before) {
		t.Error("the StatefulSet itself was changed")
	}
	if want := map[string]string{storeLabel: "orders", temporaryLabel: "m-1"}; !reflect.DeepEqual(p.Labels, want) {
		t.Errorf("labels %v", p.Labels)
	}
	if !temporary(p) || metav1.GetControllerOf(p) != nil || p.Namespace != "shop" || p.Name != "cache-0-drover" || p.Annotations[prefix+"mover"] != "rediscluster" {
		t.Errorf("metadata %+v", p.ObjectMeta)
	}
	if p.Spec.Hostname+p.Spec.Subdomain+p.Spec.NodeName != "" || p.Spec.ReadinessGates != nil || p.Spec.ServiceAccountName != "redis" || len(p.Spec.Tolerations) != 1 {
		t.Errorf("spec %+v", p.Spec)
	}
	if len(p.Spec.Volumes) != 2 || p.Spec.Volumes[0].Name != "conf" || p.Spec.Volumes[1].Name != "data" || p.Spec.Volumes[1].EmptyDir == nil || p.Spec.Volumes[1].EmptyDir.SizeLimit.String() != "3Gi" {
		t.Errorf("volumes %+v", p.Spec.Volumes)
	}
	if a := p.Spec.Affinity.PodAntiAffinity; len(a.RequiredDuringSchedulingIgnoredDuringExecution) != 0 || len(a.PreferredDuringSchedulingIgnoredDuringExecution) != 1 {
		t.Errorf("anti-affinity %+v", a)
	}
	if p.Spec.TopologySpreadConstraints[0].WhenUnsatisfiable != corev1.ScheduleAnyway {
		t.Error("the spread still forbids")
	}
	not := corev1.NodeSelectorRequirement{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpNotIn, Values: []string{"n1", "n2"}}
	want := []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{zone, not}}, {}}
	if got := p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms; !reflect.DeepEqual(got, want) {
		t.Errorf("node affinity %+v", got)
	}
	bare := elsewhere(nil, []string{"n1"})
	if got := bare.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms; len(got) != 1 || len(got[0].MatchExpressions) != 1 {
		t.Errorf("affinity of none: %+v", got)
	}
	if elsewhere(nil, nil) != nil {
		t.Error("an affinity for nothing")
	}
}
