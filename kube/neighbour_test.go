package kube

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
)

func in(key string, values ...string) fleet.Requirement {
	return fleet.Requirement{Key: key, Operator: "In", Values: values}
}

func TestNeighbours(t *testing.T) {
	s := newStock(t)
	namespace := func(name, team string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": team}}}
	}
	s.put(namespace("shop", "web"))
	s.put(namespace("blog", "web"))
	s.put(namespace("bank", "pay"))
	web, team := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, &metav1.LabelSelector{MatchLabels: map[string]string{"team": "web"}}
	for _, c := range []struct {
		what string
		term corev1.PodAffinityTerm
		want fleet.PodTerm
	}{
		{"its own namespace", corev1.PodAffinityTerm{LabelSelector: web, TopologyKey: "host"}, fleet.PodTerm{Namespaces: []string{"shop"}, Match: fleet.Term{in("app", "web")}, Topology: "host"}},
		{"listed namespaces", corev1.PodAffinityTerm{LabelSelector: web, Namespaces: []string{"bank"}}, fleet.PodTerm{Namespaces: []string{"bank"}, Match: fleet.Term{in("app", "web")}}},
		{"chosen namespaces", corev1.PodAffinityTerm{LabelSelector: web, NamespaceSelector: team}, fleet.PodTerm{Namespaces: []string{"blog", "shop"}, Match: fleet.Term{in("app", "web")}}},
		{"both", corev1.PodAffinityTerm{LabelSelector: web, Namespaces: []string{"bank", "shop"}, NamespaceSelector: team}, fleet.PodTerm{Namespaces: []string{"bank", "blog", "shop"}, Match: fleet.Term{in("app", "web")}}},
		{"all namespaces", corev1.PodAffinityTerm{LabelSelector: web, NamespaceSelector: &metav1.LabelSelector{}}, fleet.PodTerm{Namespaces: []string{"*"}, Match: fleet.Term{in("app", "web")}}},
		{"no namespace", corev1.PodAffinityTerm{LabelSelector: web, NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "none"}}}, fleet.PodTerm{Namespaces: []string{nowhere}, Match: fleet.Term{in("app", "web")}}},
		{"every pod", corev1.PodAffinityTerm{LabelSelector: &metav1.LabelSelector{}}, fleet.PodTerm{Namespaces: []string{"shop"}, Match: fleet.Term{}}},
		{"no pod", corev1.PodAffinityTerm{}, fleet.PodTerm{Namespaces: []string{"shop"}, Match: nothing}},
	} {
		p := aPod("shop", "web-1", "n1")
		terms := []corev1.PodAffinityTerm{c.term}
		p.Spec.Affinity = &corev1.Affinity{
			PodAffinity:     &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms},
			PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms},
		}
		got := s.podOf(p)
		if want := []fleet.PodTerm{c.want}; !reflect.DeepEqual(got.Together, want) || !reflect.DeepEqual(got.Apart, want) {
			t.Errorf("%s: together %+v, apart %+v, want %+v", c.what, got.Together, got.Apart, want)
		}
	}
}

// What a namespace's labels say is remembered with the pod, and forgotten when they change.
func TestNeighboursFollowNamespaces(t *testing.T) {
	s := newStock(t)
	p := aPod("shop", "web-1", "n1")
	p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
		{LabelSelector: &metav1.LabelSelector{}, NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "web"}}}}}}
	s.put(p)
	at := func() []string { t.Helper(); return s.observe().Pods[0].Apart[0].Namespaces }
	if got := at(); !reflect.DeepEqual(got, []string{nowhere}) {
		t.Errorf("before: %v", got)
	}
	s.put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "blog", Labels: map[string]string{"team": "web"}}})
	if got := at(); !reflect.DeepEqual(got, []string{"blog"}) {
		t.Errorf("after: %v", got)
	}
}

func TestSpread(t *testing.T) {
	p := aPod("shop", "web-1", "n1")
	p.Labels = map[string]string{"app": "web", "pod-template-hash": "77"}
	p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{
		{TopologyKey: "zone", MaxSkew: 1, WhenUnsatisfiable: corev1.ScheduleAnyway},
		{TopologyKey: "zone", MaxSkew: 2, MinDomains: new(int32(3)), WhenUnsatisfiable: corev1.DoNotSchedule, NodeTaintsPolicy: new(corev1.NodeInclusionPolicyHonor),
			LabelSelector:  &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}, MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: metav1.LabelSelectorOpDoesNotExist}}},
			MatchLabelKeys: []string{"pod-template-hash", "app", "absent"}},
		{TopologyKey: "host", MaxSkew: 1, WhenUnsatisfiable: corev1.DoNotSchedule},
	}
	want := []fleet.Spread{
		{Topology: "zone", MaxSkew: 2, MinDomains: 3, HonorTaints: true, Match: fleet.Term{in("app", "web"), {Key: "tier", Operator: "DoesNotExist"}, in("pod-template-hash", "77")}},
		{Topology: "host", MaxSkew: 1, MinDomains: 1, Match: nothing},
	}
	if got := spreadOf(p); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if len(nothing) != 1 {
		t.Errorf("nothing has grown: %v", nothing)
	}
}
