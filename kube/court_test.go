package kube

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/fleet"
)

func strimziPod(p *corev1.Pod) {
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "core.strimzi.io/v1beta2", Kind: "StrimziPodSet", Name: "k", UID: "u", Controller: new(true)}}
	p.Labels = map[string]string{"strimzi.io/cluster": "k", "strimzi.io/kind": "Kafka"}
}

// goingNode is n1, which a run empties.
func goingNode() *corev1.Node {
	taint := corev1.Taint{Key: fleet.TaintKey, Value: "r-1", Effect: corev1.TaintEffectNoSchedule}
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{taint}}}
}

// How far each operator is, by what its pods and their nodes show.
func TestCourted(t *testing.T) {
	labelled := func(pairs ...string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Labels = map[string]string{}
			for i := 0; i < len(pairs); i += 2 {
				p.Labels[pairs[i]] = pairs[i+1]
			}
		}
	}
	annotated := func(pairs ...string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Annotations = map[string]string{}
			for i := 0; i < len(pairs); i += 2 {
				p.Annotations[pairs[i]] = pairs[i+1]
			}
		}
	}
	both := func(a, b func(*corev1.Pod)) func(*corev1.Pod) { return func(p *corev1.Pod) { a(p); b(p) } }
	primary := labelled("cnpg.io/cluster", "pg", "cnpg.io/instanceRole", "primary")
	const (
		drain      = "drain.planetscale.com/"
		cnpg       = "CloudNativePG to promote another instance; that takes a ready one on a node that is schedulable"
		zalando    = "Zalando postgres-operator to switch over to another pod; it begins when the node becomes unschedulable, and gives up after a while: if it did, uncordon the node and cordon it again"
		strimzi    = "Strimzi to replace the pod itself; its Cluster Operator looks every two minutes, and waits until all partitions are in sync"
		vitess     = "Vitess operator to finish draining the tablet; it finishes one tablet of a shard at a time, and none while the shard is not healthy"
		cordonSays = "make node n1 unschedulable"
	)
	for _, tc := range []struct {
		what     string
		pod      func(*corev1.Pod)
		cordoned bool
		want     *fleet.Courted
	}{
		{"nobody's", func(*corev1.Pod) {}, false, nil},
		{"CNPG's primary", primary, false, &fleet.Courted{Operator: "CloudNativePG", Leads: true, Signal: cordonSays, Awaits: cnpg}},
		{"CNPG's primary, told", primary, true, &fleet.Courted{Operator: "CloudNativePG", Leads: true, Awaits: cnpg}},
		{"CNPG's replica", labelled("cnpg.io/cluster", "pg", "cnpg.io/instanceRole", "replica"), false, &fleet.Courted{Operator: "CloudNativePG", Go: true}},
		{"CNPG's primary, of an older version", func(p *corev1.Pod) {
			p.Labels = map[string]string{"cnpg.io/cluster": "pg", "role": "primary"}
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "postgresql.cnpg.io/v1", Kind: "Cluster", Name: "pg", Controller: new(true)}}
		}, false, &fleet.Courted{Operator: "CloudNativePG", Leads: true, Signal: cordonSays, Awaits: cnpg}},
		{"CNPG's pooler", labelled("cnpg.io/cluster", "pg", "cnpg.io/poolerName", "pool"), false, nil},
		{"Zalando's master", labelled("application", "spilo", "spilo-role", "master"), false, &fleet.Courted{Operator: "Zalando postgres-operator", Leads: true, Signal: cordonSays, Awaits: zalando}},
		{"Zalando's replica", labelled("application", "spilo", "spilo-role", "replica"), true, &fleet.Courted{Operator: "Zalando postgres-operator", Go: true}},
		{"Strimzi's broker", strimziPod, false, &fleet.Courted{Operator: "Strimzi", Leads: true, Signal: "annotate the pod strimzi.io/manual-rolling-update=true", Awaits: strimzi}},
		{"Strimzi's broker, told", both(strimziPod, annotated("strimzi.io/manual-rolling-update", "true")), false,
			&fleet.Courted{Operator: "Strimzi", Leads: true, Awaits: strimzi}},
		{"Strimzi's entity operator", labelled("strimzi.io/cluster", "k"), false, nil},
		{"Vitess' tablet", annotated(drain+"supported", "yes"), false, &fleet.Courted{Operator: "Vitess operator", Leads: true, Signal: "annotate the pod drain.planetscale.com/started=drover replaces its node", Awaits: vitess}},
		{"Vitess' tablet, told by another", annotated(drain+"supported", "yes", drain+"started", "by hand"), false,
			&fleet.Courted{Operator: "Vitess operator", Leads: true, Awaits: vitess}},
		{"Vitess' tablet, drained", annotated(drain+"supported", "yes", drain+"started", "", drain+"acknowledged", "", drain+"finished", ""), false, &fleet.Courted{Operator: "Vitess operator", Go: true}},
		{"declared", annotated(courtSignal, "example.com/move=now", courtDone, "example.com/moved"), false, &fleet.Courted{Operator: "its operator", Leads: true, Signal: "annotate the pod example.com/move=now", Awaits: "its operator to say example.com/moved on the pod"}},
		{"declared, told", annotated(courtSignal, "example.com/move=now", courtDone, "example.com/moved", "example.com/move", "now"), false,
			&fleet.Courted{Operator: "its operator", Leads: true, Awaits: "its operator to say example.com/moved on the pod"}},
		{"declared, done by a label", both(annotated(courtDone, "role=idle"), labelled("role", "idle")), false, &fleet.Courted{Operator: "its operator", Go: true}},
		{"declared, another label", both(annotated(courtDone, "role=idle"), labelled("role", "busy")), false, &fleet.Courted{Operator: "its operator", Leads: true, Awaits: "its operator to say role=idle on the pod"}},
		{"declared wrongly", annotated(courtSignal, "example.com/move"), false,
			&fleet.Courted{Operator: "its operator", Leads: true, Awaits: `annotation drover.dev/court-annotation of pod shop/db-0 to be right: it is "example.com/move", want key=value`}},
		{"of a store", both(primary, annotated(prefix+"mover", "leader-last", prefix+"leader", "a=b")), false, nil},
		{"of no mover", both(primary, annotated(prefix+"mover", "none")), false, nil},
		{"going", both(primary, func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }), false, &fleet.Courted{Operator: "CloudNativePG", Leads: true, Awaits: "the pod to shut down"}},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s := newStock(t)
			n := goingNode()
			n.Spec.Unschedulable = tc.cordoned
			s.put(n)
			p := aPod("shop", "db-0", "n1")
			tc.pod(p)
			s.put(p)
			got := s.observe().Pods[0].Courted
			if (got == nil) != (tc.want == nil) || got != nil && *got != *tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// The node is looked at anew each time, though the pod stays as it is.
func TestCourtedFollowsTheNode(t *testing.T) {
	s := newStock(t)
	p := aPod("shop", "db-0", "n1")
	p.Labels = map[string]string{"cnpg.io/cluster": "pg", "cnpg.io/instanceRole": "primary"}
	s.put(p)
	for _, cordoned := range []bool{false, true, false} {
		n := goingNode()
		n.Spec.Unschedulable = cordoned
		s.put(n)
		if got := s.observe().Pods[0].Courted; (got.Signal == "") != cordoned {
			t.Errorf("cordoned %v: %+v", cordoned, got)
		}
	}
}

// A node that stays is not cordoned for a pod that is only asked for, or moved by hand: nobody would uncordon it. It is said who has to.
func TestCourtedOnANodeThatStays(t *testing.T) {
	s := newStock(t)
	s.put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	for name, pairs := range map[string]map[string]string{
		"pg-1":  {"cnpg.io/cluster": "pg", "cnpg.io/instanceRole": "primary"},
		"spilo": {"application": "spilo", "spilo-role": "master"},
	} {
		p := aPod("shop", name, "n1")
		p.Labels = pairs
		s.put(p)
	}
	kafka := aPod("shop", "kafka-0", "n1")
	strimziPod(kafka)
	s.put(kafka)
	for _, p := range s.observe().Pods {
		c := p.Courted
		switch {
		case c.Go || c.Awaits == "":
			t.Errorf("%s: %+v", p.Ref, c)
		case p.Ref.Name == "kafka-0": // its annotation goes with it
			if c.Signal == "" {
				t.Errorf("%s: %+v", p.Ref, c)
			}
		case c.Signal != "" || c.Awaits != c.Operator+", which moves it from a node that is unschedulable only: kubectl cordon n1, and uncordon it when the pod has left":
			t.Errorf("%s: %+v", p.Ref, c)
		}
	}
}

// courted is a pod of an operator on the test's node, as observed.
func (w *world) courted(name string, change func(*corev1.Pod)) *corev1.Pod {
	w.Helper()
	p := aPod(w.name, name, w.name)
	p.UID, p.Spec.TerminationGracePeriodSeconds = "", new(int64(0))
	change(p)
	p = w.create(p)
	w.observe()
	return p
}

func (w *world) livePod(p *corev1.Pod) *corev1.Pod {
	w.Helper()
	now, err := w.client.CoreV1().Pods(p.Namespace).Get(w.Context(), p.Name, metav1.GetOptions{})
	w.ok(err)
	return now
}

// A leader's node becomes unschedulable, and is given back as it was.
func TestCourtByTheNode(t *testing.T) {
	w := newWorld(t)
	w.node()
	p := w.courted("pg-1", func(p *corev1.Pod) {
		p.Labels = map[string]string{"cnpg.io/cluster": "pg", "cnpg.io/instanceRole": "primary"}
	})
	court := fleet.Action{Verb: fleet.Court, Run: "r-1", Pod: refOf(p)}
	w.refused(w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Court, Run: "r-1", Node: w.name, Pod: refOf(p)}), ownerWait, "node "+w.name+" does not leave, so drover does not make it unschedulable")
	w.act(fleet.Action{Verb: fleet.Taint_, Run: "r-1", Effect: fleet.NoSchedule})
	for range 2 {
		w.act(court)
		if n := w.getNode(); !n.Spec.Unschedulable || n.Annotations[cordonedBy] != "r-1" {
			t.Fatalf("told: %+v, %v", n.Spec, n.Annotations)
		}
	}
	w.act(fleet.Action{Verb: fleet.Taint_, Run: "r-1", Effect: fleet.NoSchedule})
	if !w.getNode().Spec.Unschedulable {
		t.Error("its own taint took the word back")
	}
	w.refused(w.cluster.Act(t.Context(), evictionOf(p)), budgetWait, "pod "+w.name+"/pg-1 is moved by CloudNativePG, and waits for")
	back := func(what string, a fleet.Action) {
		t.Helper()
		w.act(a)
		if n := w.getNode(); n.Spec.Unschedulable || n.Annotations[cordonedBy] != "" {
			t.Errorf("%s: %+v, %v", what, n.Spec, n.Annotations)
		}
	}
	back("untainted", fleet.Action{Verb: fleet.Untaint, Run: "r-1"})
	w.act(fleet.Action{Verb: fleet.Taint_, Run: "r-1", Effect: fleet.NoSchedule})
	w.act(court)
	back("included", fleet.Action{Verb: fleet.Include, Run: "r-1"})
	w.act(court)
	back("tainted by another", fleet.Action{Verb: fleet.Taint_, Run: "d-1", Effect: fleet.NoSchedule})

	w.edit(func(n *corev1.Node) { n.Spec.Unschedulable = true })
	w.act(court)
	w.act(fleet.Action{Verb: fleet.Untaint, Run: "d-1"})
	if n := w.getNode(); !n.Spec.Unschedulable || n.Annotations[cordonedBy] != "" {
		t.Errorf("somebody else's cordon: %+v, %v", n.Spec, n.Annotations)
	}
	w.edit(func(n *corev1.Node) { n.Spec.Unschedulable = false })
	_, err := w.client.CoreV1().Pods(w.name).Patch(t.Context(), p.Name, types.MergePatchType, []byte(`{"metadata":{"labels":{"cnpg.io/instanceRole":"replica"}}}`), metav1.PatchOptions{})
	w.ok(err)
	w.act(court)
	if w.getNode().Spec.Unschedulable {
		t.Error("unschedulable for a pod that does not lead")
	}
	w.ok(w.cluster.Act(t.Context(), evictionOf(p)))
	if w.there(p) {
		t.Error("the pod is still there")
	}
}

// An annotation is taken back from a pod that stays, and what was there before comes back.
func TestCourtByAnnotation(t *testing.T) {
	w := newWorld(t)
	w.node()
	const drain = "drain.planetscale.com/"
	tablet := w.courted("tablet", func(p *corev1.Pod) { p.Annotations = map[string]string{drain + "supported": "yes"} })
	odd := w.courted("odd", func(p *corev1.Pod) {
		p.Annotations = map[string]string{courtSignal: "example.com/move=now", courtDone: "done", "example.com/move": "later"}
	})
	w.act(fleet.Action{Verb: fleet.Taint_, Run: "r-1", Effect: fleet.NoSchedule})
	for range 2 {
		w.act(fleet.Action{Verb: fleet.Court, Run: "r-1", Pod: refOf(tablet)})
		w.act(fleet.Action{Verb: fleet.Court, Run: "r-1", Pod: refOf(odd)})
	}
	if got := w.livePod(odd).Annotations; got["example.com/move"] != "now" || got[courtMark] != `r-1 example.com/move="now" "later"` {
		t.Errorf("told: %v", got)
	}
	// It may be drained, and needed again a moment later: the pod is asked just before.
	mark := func(patch string) {
		_, err := w.client.CoreV1().Pods(w.name).Patch(t.Context(), tablet.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		w.ok(err)
	}
	w.refused(w.cluster.Act(t.Context(), evictionOf(tablet)), budgetWait, "is moved by Vitess operator, and waits for Vitess operator to finish draining")
	mark(`{"metadata":{"annotations":{"drain.planetscale.com/finished":"x"}}}`)
	w.eventually("drained", func() bool {
		for _, p := range w.observe().Pods {
			if p.Ref == refOf(tablet) {
				return p.Courted.Go
			}
		}
		return false
	})
	mark(`{"metadata":{"annotations":{"drain.planetscale.com/finished":null}}}`)
	w.refused(w.cluster.Act(t.Context(), evictionOf(tablet)), budgetWait, "is moved by Vitess operator")
	w.eventually("the marks in the informer", func() bool {
		for _, p := range []*corev1.Pod{tablet, odd} {
			if seen, err := w.cluster.pods.Pods(w.name).Get(p.Name); err != nil || seen.Annotations[courtMark] == "" {
				return false
			}
		}
		return true
	})
	w.act(fleet.Action{Verb: fleet.Untaint, Run: "r-1"})
	if got := w.livePod(tablet).Annotations; got[drain+"started"] != "" || got[courtMark] != "" || got[drain+"supported"] != "yes" {
		t.Errorf("taken back: %v", got)
	}
	if got := w.livePod(odd).Annotations; got["example.com/move"] != "later" || got[courtMark] != "" {
		t.Errorf("taken back: %v", got)
	}
	plain := w.pod("plain")
	w.refused(w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Court, Run: "r-1", Node: w.name, Pod: refOf(plain)}), ownerWait, "is of no operator that drover knows")
}

// Only drover's own word is taken back: what somebody has said since stays.
func TestRetractKeepsOthersWord(t *testing.T) {
	const key = "example.com/move"
	for _, tc := range []struct {
		what, note, now string
		want            map[string]any
	}{
		{"ours", courtNote{run: "r-1", key: key, wrote: "now"}.String(), "now", map[string]any{courtMark: nil, key: nil}},
		{"ours, over another's", courtNote{"r-1", key, "now", `of "ann"=b`, true}.String(), "now", map[string]any{courtMark: nil, key: `of "ann"=b`}},
		{"ours, over an empty one", courtNote{"r-1", key, "now", "", true}.String(), "now", map[string]any{courtMark: nil, key: ""}},
		{"changed since", courtNote{run: "r-1", key: key, wrote: "now"}.String(), "later", map[string]any{courtMark: nil}},
		{"taken away since", courtNote{"r-1", key, "now", "before", true}.String(), "", map[string]any{courtMark: nil}},
		{"a note without what was written", "r-1 " + key, "set by somebody since", map[string]any{courtMark: nil}},
		{"a note that cannot be read", "r-1 " + key + `="now`, "now", map[string]any{courtMark: nil}},
		{"another run's", courtNote{run: "r-10", key: key, wrote: "now"}.String(), "now", nil},
	} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{courtMark: tc.note}}}
		if tc.now != "" {
			p.Annotations[key] = tc.now
		}
		if got := retracted(p, "r-1"); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.what, got, tc.want)
		}
	}
}

// The guard knows drover's own evictions by their annotation.
func TestEvictionsSayTheirRun(t *testing.T) {
	w := newWorld(t)
	w.node()
	p := w.pod("web-0")
	runs := make(chan string, 100)
	server := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		var review admissionv1.AdmissionReview
		var eviction policyv1.Eviction
		if err := json.NewDecoder(in.Body).Decode(&review); err != nil {
			t.Error(err)
			return
		}
		if err := json.Unmarshal(review.Request.Object.Raw, &eviction); err != nil {
			t.Error(err)
		}
		run := eviction.Annotations[RunAnnotation]
		if eviction.DeleteOptions == nil || len(eviction.DeleteOptions.DryRun) == 0 {
			runs <- run
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: run != "", Result: &metav1.Status{Message: "by whom?"}}
		json.NewEncoder(out).Encode(review)
	}))
	t.Cleanup(server.Close)
	w.hook(server.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	w.eventually("the webhook", func() bool { err := w.rehearse(p); return err != nil && strings.Contains(err.Error(), "by whom?") })
	w.ok(w.cluster.Act(t.Context(), evictionOf(p)))
	if got := <-runs; got != "r-1" {
		t.Errorf("run %q", got)
	}
}
