package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// define has the cluster know a kind of somebody else's, without a schema.
func (w *world) define(kind string, resource schema.GroupVersionResource) {
	w.Helper()
	text := fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"%[2]s.%[3]s"},"spec":{
		"group":%[3]q,"scope":"Namespaced","names":{"kind":%[1]q,"plural":%[2]q,"listKind":"%[1]sList"},
		"versions":[{"name":%[4]q,"served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`,
		kind, resource.Resource, resource.Group, resource.Version)
	w.ok(install(w.Context(), w.cluster.objects, []byte(text)))
}

// undefine has it know the kind no more.
func (w *world) undefine(resource schema.GroupVersionResource) {
	name := resource.GroupResource().String()
	for ctx := context.Background(); ; {
		if err := w.cluster.objects.Resource(definitions).Delete(ctx, name, metav1.DeleteOptions{}); apierrors.IsNotFound(err) || pause(ctx, 100*1000*1000) != nil {
			return
		}
	}
}

// defineAll has the cluster know every kind that drover can switch.
func (w *world) defineAll() {
	w.Helper()
	for _, s := range switchables {
		if s.loose {
			w.define(s.kind, s.resource)
		}
	}
	w.define("ApplicationSet", applicationSets)
}

// object makes an object in the test's namespace, from what differs.
func (w *world) object(kind, name, more string) *unstructured.Unstructured {
	w.Helper()
	s := switchableOf(kind)
	content := map[string]any{}
	w.ok(json.Unmarshal([]byte(more), &content))
	u := &unstructured.Unstructured{Object: content}
	u.SetAPIVersion(s.apiVersion())
	u.SetKind(kind)
	u.SetNamespace(w.name)
	u.SetName(name)
	out, err := w.cluster.objects.Resource(s.resource).Namespace(w.name).Create(w.Context(), u, metav1.CreateOptions{FieldManager: "somebody"})
	w.ok(err)
	return out
}

func (w *world) live(u *unstructured.Unstructured) *unstructured.Unstructured {
	w.Helper()
	out, err := w.cluster.objects.Resource(switchableOf(u.GetKind()).resource).Namespace(w.name).Get(w.Context(), u.GetName(), metav1.GetOptions{})
	w.ok(err)
	return out
}

// does changes an object as somebody else would.
func (w *world) does(u *unstructured.Unstructured, patch string) {
	w.Helper()
	objects := w.cluster.objects.Resource(switchableOf(u.GetKind()).resource).Namespace(w.name)
	_, err := objects.Patch(w.Context(), u.GetName(), types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "somebody"})
	w.ok(err)
}

// recorded is the object as a record has it.
func recorded(t testing.TB, u *unstructured.Unstructured) *fleet.PartRecord {
	t.Helper()
	s := switchableOf(u.GetKind())
	value, absent, err := s.value(u.Object)
	if err != nil {
		t.Fatal(err)
	}
	return &fleet.PartRecord{
		Turn: s.turn, APIVersion: s.apiVersion(), Owner: fleet.Owner{Kind: s.kind, Namespace: u.GetNamespace(), Name: u.GetName()}, UID: string(u.GetUID()), Value: value, Absent: absent,
	}
}

func (w *world) turn(verb fleet.Verb, r *fleet.PartRecord) error {
	return w.cluster.Act(w.Context(), fleet.Action{Verb: verb, Environment: "staging", Run: "r-1", Part: r})
}

const podTemplate = `{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"web:1"}]}}`

var manifests = []struct {
	what, kind, spec string
	back             string // what somebody does who switches it on again; "" for nothing
}{
	{"three replicas", "Deployment", `{"metadata":{"annotations":{"theirs":"stays"}},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"web"}},"template":` + podTemplate + `}}`, `{"spec":{"replicas":2}}`},
	{"off before", "Deployment", `{"spec":{"replicas":0,"selector":{"matchLabels":{"app":"web"}},"template":` + podTemplate + `}}`, ""},
	{"two", "StatefulSet", `{"spec":{"replicas":2,"serviceName":"x","selector":{"matchLabels":{"app":"web"}},"template":` + podTemplate + `}}`, `{"spec":{"replicas":5}}`},
	{"bare", "ReplicaSet", `{"spec":{"replicas":1,"selector":{"matchLabels":{"app":"web"}},"template":` + podTemplate + `}}`, `{"spec":{"replicas":1}}`},
	{"every hour", "CronJob", `{"spec":{"schedule":"0 * * * *","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"a","image":"a"}]}}}}}}`, `{"spec":{"suspend":false}}`},
	{"suspended before", "CronJob", `{"spec":{"suspend":true,"schedule":"0 * * * *","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"a","image":"a"}]}}}}}}`, ""},
	{"four", "Rollout", `{"spec":{"replicas":4}}`, `{"spec":{"replicas":4}}`},
	{"without a number", "Rollout", `{"spec":{"strategy":{}}}`, `{"spec":{"replicas":null}}`},
	{"free", "ScaledObject", `{"metadata":{"annotations":{"theirs":"stays"}},"spec":{"scaleTargetRef":{"name":"web"}}}`, `{"metadata":{"annotations":{"autoscaling.keda.sh/paused-replicas":null}}}`},
	{"free", "ScaledJob", `{"metadata":{"annotations":{"theirs":"stays"}},"spec":{"jobTargetRef":{}}}`, `{"metadata":{"annotations":{"autoscaling.keda.sh/paused":null}}}`},
	{"let go by a word", "ScaledJob", `{"metadata":{"annotations":{"autoscaling.keda.sh/paused":"false"}},"spec":{}}`, `{"metadata":{"annotations":{"autoscaling.keda.sh/paused":"false"}}}`},
	{"held at five", "ScaledObject", `{"metadata":{"annotations":{"autoscaling.keda.sh/paused-replicas":"5"}},"spec":{}}`, `{"metadata":{"annotations":{"autoscaling.keda.sh/paused-replicas":"7"}}}`},
	{"synced", "Application", `{"spec":{"project":"x"}}`, `{"metadata":{"annotations":{"argocd.argoproj.io/skip-reconcile":"false"}}}`},
	{"skipped before", "Application", `{"metadata":{"annotations":{"argocd.argoproj.io/skip-reconcile":"true"}},"spec":{}}`, ""},
	{"said not to be", "Application", `{"metadata":{"annotations":{"argocd.argoproj.io/skip-reconcile":"false"}},"spec":{}}`, `{"metadata":{"annotations":{"argocd.argoproj.io/skip-reconcile":null}}}`},
	{"synced", "Kustomization", `{"spec":{"path":"./x"}}`, `{"spec":{"suspend":null}}`},
	{"said not to be", "Kustomization", `{"spec":{"suspend":false}}`, `{"spec":{"suspend":false}}`},
	{"synced", "HelmRelease", `{"spec":{"chart":{}}}`, `{"spec":{"suspend":false}}`},
	{"suspended before", "HelmRelease", `{"spec":{"suspend":true}}`, ""},
}

// Every kind goes off, is switched back by somebody, goes off again, and comes back exactly as it was. Everything is done twice.
func TestSwitching(t *testing.T) {
	w := newSwitching(t)
	w.defineAll()
	for i, m := range manifests {
		t.Run(m.kind+" "+m.what, func(t *testing.T) {
			before := w.object(m.kind, fmt.Sprint("a-", i), m.spec)
			r := recorded(t, before)
			off := func(what string) {
				t.Helper()
				for range 2 {
					w.ok(w.turn(fleet.TurnOff, r))
				}
				now := w.live(before)
				s := switchableOf(m.kind)
				p, err := partOf(s, now, "", true)
				w.ok(err)
				want := fleet.PartMark{Environment: "staging", Run: "r-1", UID: r.UID, Value: r.Value, Absent: r.Absent}
				if value, absent, _ := s.value(now.Object); !s.isOff(value, absent) || p.Mark == nil || *p.Mark != want {
					t.Fatalf("%s: %s, mark %v, want %v", what, s.says(value, absent), p.Mark, want)
				}
				if by := writerOf(now, s.field); m.back != "" && by != manager {
					t.Errorf("%s: by %q", what, by)
				}
			}
			off("off")
			w.does(before, fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, v1alpha1.MarkKey))
			off("its annotations replaced")
			if m.back != "" {
				w.does(before, m.back)
				off("switched back")
			}
			for range 2 {
				w.ok(w.turn(fleet.TurnOn, r))
			}
			if now := w.live(before); now.GetAnnotations()[v1alpha1.MarkKey] == "" {
				t.Error("the mark went before all is verified")
			}
			for range 2 {
				w.ok(w.turn(fleet.Unmark, r))
			}
			after := w.live(before)
			spec := func(u *unstructured.Unstructured) any { return u.Object["spec"] }
			if !reflect.DeepEqual(spec(after), spec(before)) || fmt.Sprint(after.GetAnnotations()) != fmt.Sprint(before.GetAnnotations()) && (after.GetAnnotations()["deployment.kubernetes.io/revision"] == "" || after.GetAnnotations()[v1alpha1.MarkKey] != "") {
				t.Errorf("not as it was:\n got %v %v\nwant %v %v", after.GetAnnotations(), spec(after), before.GetAnnotations(), spec(before))
			}
		})
	}
}

func TestWhatIsNotSwitched(t *testing.T) {
	w := newSwitching(t)
	d := w.object("Deployment", "web", manifests[0].spec)
	r := recorded(t, d)
	mark := func(m fleet.PartMark) string {
		return fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.MarkKey, m.String())
	}
	id := "Deployment " + w.name + "/web"
	for _, tc := range []struct {
		what  string
		patch string // what somebody did before
		part  func(*fleet.PartRecord)
		verbs []fleet.Verb
		says  string
	}{
		{"another object", "", func(r *fleet.PartRecord) { r.UID = "u-0" }, []fleet.Verb{fleet.TurnOff}, id + " is another object than the one that was recorded (UID " + r.UID + ", not u-0)"},
		{"another environment's", mark(fleet.PartMark{Environment: "prod", Run: "r-9", UID: r.UID, Value: "3"}), nil, []fleet.Verb{fleet.TurnOff, fleet.TurnOn}, id + " is switched off by sleep r-9 of environment prod"},
		{"another run's", mark(fleet.PartMark{Environment: "staging", Run: "r-0", UID: r.UID, Value: "7"}), func(r *fleet.PartRecord) { r.Value = "4" }, []fleet.Verb{fleet.TurnOff}, id + " has a mark of sleep r-0 of this environment, which says 7 replicas before"},
		{"another value", "", func(r *fleet.PartRecord) { r.Value = "4" }, []fleet.Verb{fleet.TurnOff}, id + " has 3 replicas by now; the record has 4 replicas"},
		{"absent before", "", func(r *fleet.PartRecord) { r.Value, r.Absent = "", true }, []fleet.Verb{fleet.TurnOff}, "the record has no replicas"},
	} {
		if tc.patch != "" {
			w.does(d, tc.patch)
		}
		before := w.live(d)
		part := *r
		if tc.part != nil {
			tc.part(&part)
		}
		for _, v := range tc.verbs {
			w.held(w.turn(v, &part), tc.says)
		}
		w.ok(w.turn(fleet.Unmark, &part)) // it has no mark of this run
		if now := w.live(d); !reflect.DeepEqual(now.Object["spec"], before.Object["spec"]) || now.GetAnnotations()[v1alpha1.MarkKey] != before.GetAnnotations()[v1alpha1.MarkKey] {
			t.Errorf("%s: changed: %v", tc.what, now.Object)
		}
		w.does(d, fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, v1alpha1.MarkKey))
	}

	w.does(d, fmt.Sprintf(`{"metadata":{"annotations":{%q:"v2 something"}}}`, v1alpha1.MarkKey))
	for _, v := range []fleet.Verb{fleet.TurnOff, fleet.TurnOn, fleet.Unmark} {
		w.refused(w.turn(v, r), brokenWait, id+": annotation drover.dev/environment: mark", "v2 something")
	}
	// A copy's mark, brought along by whoever made the copy, says nothing of this object.
	w.does(d, mark(fleet.PartMark{Environment: "prod", Run: "r-9", UID: "u-0", Value: "9"}))
	w.ok(w.turn(fleet.TurnOff, r))
	w.refused(w.turn(fleet.Unmark, r), ownerWait, id+" is off: its mark says how it was")
	w.ok(w.turn(fleet.TurnOn, r))
	// kubectl rollout undo brings back the mark of an earlier sleep: where the object is on, as recorded, it says nothing any more.
	w.does(d, mark(fleet.PartMark{Environment: "staging", Run: "r-0", UID: r.UID, Value: "7"}))
	w.ok(w.turn(fleet.TurnOff, r))
	want := fleet.PartMark{Environment: "staging", Run: "r-1", UID: r.UID, Value: "3"}
	if got := w.live(d).GetAnnotations()[v1alpha1.MarkKey]; got != want.String() {
		t.Errorf("got %s", got)
	}

	var fatal *fleet.Fatal
	if err := w.turn(fleet.TurnOff, &fleet.PartRecord{Owner: fleet.Owner{Kind: "DaemonSet", Namespace: w.name, Name: "x"}}); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "does not know how to switch a DaemonSet") {
		t.Errorf("got %v", err)
	}
	gone := *r
	gone.Name = "gone"
	w.ok(w.turn(fleet.TurnOff, &gone))
	w.ok(w.turn(fleet.Unmark, &gone))
	w.ok(w.turn(fleet.TurnOn, &gone))
	w.ok(w.turn(fleet.TurnOn, r))
	w.ok(w.turn(fleet.Unmark, r))
	w.does(d, `{"spec":{"replicas":0}}`)
	reborn := *r
	reborn.UID = "u-0"
	w.ok(w.turn(fleet.TurnOn, &reborn))
	if got, _, _ := unstructured.NestedInt64(w.live(d).Object, "spec", "replicas"); got != 0 {
		t.Errorf("another object was switched on: %d replicas", got)
	}
}

// What comes back goes by what its autoscaler allows by now.
func TestTurnOnWithinItsAutoscaler(t *testing.T) {
	w := newSwitching(t)
	scalers := w.client.AutoscalingV2().HorizontalPodAutoscalers(w.name)
	for i, tc := range []struct {
		before   string
		min, max int32
		want     int64
	}{{"3", 1, 10, 3}, {"3", 1, 2, 2}, {"3", 5, 10, 5}} {
		name := fmt.Sprint("web-", i)
		d := w.object("Deployment", name, strings.Replace(manifests[0].spec, `"replicas":3`, `"replicas":`+tc.before, 1))
		_, err := scalers.Create(t.Context(), anAutoscaler(w.name, name, "Deployment", name, new(tc.min), tc.max), metav1.CreateOptions{})
		w.ok(err)
		r := recorded(t, d)
		w.ok(w.turn(fleet.TurnOff, r))
		w.ok(w.turn(fleet.TurnOn, r))
		if got, _, _ := unstructured.NestedInt64(w.live(d).Object, "spec", "replicas"); got != tc.want {
			t.Errorf("%+v: %d replicas", tc, got)
		}
	}
}

// What others do at the same moment is read before it is decided on again, and nothing of it is lost.
func TestSwitchingWhileOthersWrite(t *testing.T) {
	r := &fleet.PartRecord{Turn: fleet.Scaled, Owner: fleet.Owner{Kind: "Deployment", Namespace: "shop", Name: "web"}, UID: "u-1", Value: "3"}
	act := func(theirs func(clienttesting.ObjectTracker), verb fleet.Verb, conflicts int) (*unstructured.Unstructured, error) {
		t.Helper()
		u := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"namespace": "shop", "name": "web", "uid": "u-1"}, "spec": map[string]any{"replicas": int64(3)},
		}}
		world := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme(), u)
		world.PrependReactor("patch", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
			if conflicts--; conflicts < 0 {
				return false, nil, nil
			}
			if theirs != nil {
				theirs(world.Tracker())
			}
			return true, nil, apierrors.NewConflict(switchableOf("Deployment").resource.GroupResource(), "web", errors.New("the object has been modified"))
		})
		c := &Cluster{objects: world, bell: newBell()}
		err := c.Act(t.Context(), fleet.Action{Verb: verb, Environment: "staging", Run: "r-1", Part: r})
		now, _ := world.Resource(switchableOf("Deployment").resource).Namespace("shop").Get(t.Context(), "web", metav1.GetOptions{})
		return now, err
	}
	replicas := func(u *unstructured.Unstructured) int64 {
		n, _, _ := unstructured.NestedInt64(u.Object, "spec", "replicas")
		return n
	}
	deployments := switchableOf("Deployment").resource
	scale := func(change func(*unstructured.Unstructured)) func(clienttesting.ObjectTracker) {
		return func(objects clienttesting.ObjectTracker) {
			o, err := objects.Get(deployments, "shop", "web")
			if err != nil {
				t.Fatal(err)
			}
			u := o.(*unstructured.Unstructured).DeepCopy()
			change(u)
			if err := objects.Update(deployments, u, "shop"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if u, err := act(nil, fleet.TurnOff, 3); err != nil || replicas(u) != 0 || !strings.HasSuffix(u.GetAnnotations()[v1alpha1.MarkKey], "value=3") {
		t.Errorf("after three conflicts: %v, %v", err, u)
	}
	var refused *fleet.Refused
	u, err := act(nil, fleet.TurnOff, 9)
	if !errors.As(err, &refused) || refused.Wait != busyWait || replicas(u) != 3 {
		t.Errorf("nothing but conflicts: %v", err)
	}
	u, err = act(scale(func(u *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(u.Object, int64(5), "spec", "replicas")
	}), fleet.TurnOff, 1)
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "has 5 replicas by now; the record has 3 replicas") || replicas(u) != 5 || u.GetAnnotations()[v1alpha1.MarkKey] != "" {
		t.Errorf("scaled at the same moment: %v, %v", err, u)
	}
	u, err = act(scale(func(u *unstructured.Unstructured) { u.SetUID("u-2") }), fleet.TurnOff, 1)
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "another object") || replicas(u) != 3 {
		t.Errorf("made anew at the same moment: %v, %v", err, u)
	}
	if _, err = act(func(objects clienttesting.ObjectTracker) { _ = objects.Delete(deployments, "shop", "web") }, fleet.TurnOff, 1); err != nil {
		t.Errorf("deleted at the same moment: %v", err)
	}
}

func TestPlace(t *testing.T) {
	w := newSwitching(t)
	w.defineAll()
	own := `{"metadata":{"labels":{"app":"web"}},"spec":{"nodeSelector":{"disk":"ssd"},"tolerations":[{"key":"theirs","operator":"Exists"}],"containers":[{"name":"web","image":"web:1"}]}}`
	for kind, spec := range map[string]string{
		"Deployment": `{"spec":{"selector":{"matchLabels":{"app":"web"}},"template":` + own + `}}`, "Rollout": `{"spec":{"template":` + own + `}}`,
		"StatefulSet": `{"spec":{"serviceName":"x","selector":{"matchLabels":{"app":"web"}},"template":` + own + `}}`,
	} {
		u := w.object(kind, "web", spec)
		at := fleet.Placement{Owner: fleet.Owner{Kind: kind, Namespace: w.name, Name: "web"}, UID: string(u.GetUID()), Labels: map[string]string{"env": "stg"}, Toleration: fleet.Toleration{Key: "env", Value: "stg", Effect: "NoSchedule"}}
		place := func(at fleet.Placement) error {
			return w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Place, Run: "r-1", Placement: &at})
		}
		other := at
		other.UID = "u-0"
		w.held(place(other), kind+" "+w.name+"/web is another object than the one that was planned for")
		other = at
		other.Labels = map[string]string{"disk": "hdd"}
		w.refused(place(other), brokenWait, "asks for nodes with disk=ssd already, not hdd")
		var first int64
		for i := range 2 {
			w.ok(place(at))
			now := w.live(u)
			template := templateOf(now)
			want := []fleet.Toleration{{Key: "theirs", Exists: true}, at.Toleration}
			if got := tolerationsOf(template.Spec.Tolerations); !reflect.DeepEqual(template.Spec.NodeSelector, map[string]string{"disk": "ssd", "env": "stg"}) || !reflect.DeepEqual(got, want) || template.Spec.Containers[0].Image != "web:1" {
				t.Errorf("%s: %+v", kind, template.Spec)
			}
			if i == 0 {
				first = now.GetGeneration()
			} else if now.GetGeneration() != first {
				t.Errorf("%s: placed again", kind)
			}
		}
		at.Name = "gone"
		w.ok(place(at))
	}
	var fatal *fleet.Fatal
	if err := w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Place, Placement: &fleet.Placement{Owner: fleet.Owner{Kind: "CronJob", Name: "x"}}}); !errors.As(err, &fatal) {
		t.Errorf("got %v", err)
	}
	for range 2 {
		w.ok(w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.MakeBudget, NewBudget: &fleet.NewBudget{Namespace: w.name, Name: "web", Match: map[string]string{"app": "web"}, MaxUnavailable: 1}}))
	}
	b, err := w.client.PolicyV1().PodDisruptionBudgets(w.name).Get(t.Context(), "web", metav1.GetOptions{})
	w.ok(err)
	if b.Spec.MaxUnavailable.IntValue() != 1 || b.Spec.Selector.MatchLabels["app"] != "web" {
		t.Errorf("%+v", b.Spec)
	}
	if err := w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.MakeBudget, NewBudget: &fleet.NewBudget{Namespace: w.name, Name: "all"}}); err == nil {
		t.Error("a budget of all pods")
	}
}
