package controller_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"drover.dev/deploy/controller"
)

// A component lists the files beside it, and turns on what the Deployment has off.
func TestComponents(t *testing.T) {
	for _, folder := range []string{controller.Guard, controller.Environments} {
		patch := patchOf(t, folder)
		d := one[appsv1.Deployment](t, controller.Base)
		on, off := patch.Spec.Template.Spec.Containers[0], d.Spec.Template.Spec.Containers[0]
		turned := on.Env[0]
		if patch.Name != d.Name || on.Name != off.Name || turned.Value != "true" || !slices.Contains(off.Env, corev1.EnvVar{Name: turned.Name, Value: "false"}) {
			t.Errorf("%s: %s turns %v on; the Deployment has %v", folder, patch.Name, on.Env, off.Env)
		}
		if !slices.ContainsFunc(off.Args, func(a string) bool { return strings.Contains(a, "--"+folder+"=$("+turned.Name+")") }) {
			t.Errorf("%s: no argument uses %s: %v", folder, turned.Name, off.Args)
		}
	}
}

// patchOf is what a component changes of the Deployment, and all that it changes.
func patchOf(t *testing.T, folder string) appsv1.Deployment {
	t.Helper()
	text, err := controller.Files.ReadFile(folder + "/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var k struct {
		APIVersion, Kind string
		Resources        []string
		Patches          []struct {
			Target map[string]string
			Patch  string
		}
	}
	if err := yaml.UnmarshalStrict(text, &k); err != nil {
		t.Fatal(err)
	}
	entries, err := controller.Files.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range entries {
		if e.Name() != "kustomization.yaml" {
			want = append(want, e.Name())
		}
	}
	if slices.Sort(k.Resources); !slices.Equal(k.Resources, want) || k.Kind != "Component" || len(k.Patches) != 1 {
		t.Fatalf("%s: %+v, has %v", folder, k, want)
	}
	var patch appsv1.Deployment
	if err := yaml.UnmarshalStrict([]byte(k.Patches[0].Patch), &patch); err != nil {
		t.Fatal(err)
	}
	return patch
}

// Who switches environments may ask databases, and nobody may come in for it.
func TestEnvironmentsReachDatabases(t *testing.T) {
	d := one[appsv1.Deployment](t, controller.Base)
	p := one[networkingv1.NetworkPolicy](t, controller.Environments)
	if p.Namespace != d.Namespace || !reflect.DeepEqual(p.Spec.PodSelector.MatchLabels, d.Spec.Selector.MatchLabels) || !slices.Equal(p.Spec.PolicyTypes, []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}) {
		t.Errorf("%s/%s is about %v of %v", p.Namespace, p.Name, p.Spec.PolicyTypes, p.Spec.PodSelector)
	}
	var ports []int
	for _, out := range p.Spec.Egress {
		for _, port := range out.Ports {
			ports = append(ports, port.Port.IntValue())
		}
	}
	if !slices.Equal(ports, []int{5432, 3306}) {
		t.Errorf("lets out to %v", ports)
	}
}
