package controller_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"drover.dev/deploy/controller"
	"drover.dev/fleet"
	"drover.dev/metrics"
)

var folders = []string{controller.Base, controller.Metadata}

type serviceAccount = corev1.ServiceAccount

// decoded reads a folder's objects as the API server would that knows no field besides its own.
func decoded(t *testing.T, folder string) []runtime.Object {
	t.Helper()
	all, err := controller.Objects(folder)
	if err != nil {
		t.Fatal(err)
	}
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var out []runtime.Object
	for _, o := range all {
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		typed, _, err := strict.Decode(text, nil, nil)
		if err != nil {
			t.Fatalf("%s: %s %v: %v", folder, o["kind"], o["metadata"], err)
		}
		out = append(out, typed)
	}
	return out
}

// objects are those of one kind.
func objects[T any](t *testing.T, folder string) []*T {
	t.Helper()
	var out []*T
	for _, o := range decoded(t, folder) {
		if one, ok := o.(any).(*T); ok {
			out = append(out, one)
		}
	}
	return out
}

// one is the object of a kind that a folder has once.
func one[T any](t *testing.T, folder string) *T {
	t.Helper()
	all := objects[T](t, folder)
	if len(all) != 1 {
		t.Fatalf("%s: %d of %T", folder, len(all), *new(T))
	}
	return all[0]
}

// Every field is one that Kubernetes knows, every key is there once, and every object is labelled as drover's, so that all of them can be found.
func TestManifestsAreExact(t *testing.T) {
	for _, folder := range folders {
		names := map[string]bool{}
		for _, o := range decoded(t, folder) {
			meta := o.(metav1.Object)
			name := fmt.Sprintf("%T %s/%s", o, meta.GetNamespace(), meta.GetName())
			if names[name] {
				t.Errorf("%s: %s twice", folder, name)
			}
			names[name] = true
			if meta.GetLabels()["app.kubernetes.io/part-of"] != "drover" {
				t.Errorf("%s: %s is not labelled as part of drover", folder, name)
			}
		}
		files, err := fs.Glob(controller.Files, folder+"/*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := controller.Files.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for i, document := range strings.Split(string(text), "\n---\n") {
				if err := yaml.UnmarshalStrict([]byte(document), &map[string]any{}); err != nil {
					t.Errorf("%s, document %d: %v", f, i, err)
				}
			}
		}
	}
}

// A kustomization.yaml lists the files beside it, the namespace first.
func TestKustomizationsListEverything(t *testing.T) {
	for _, folder := range folders {
		text, err := os.ReadFile(filepath.Join(folder, "kustomization.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var k struct {
			APIVersion, Kind string
			Resources        []string
		}
		if err := yaml.UnmarshalStrict(text, &k); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, e := range entries {
			if e.Name() != "kustomization.yaml" {
				want = append(want, e.Name())
			}
		}
		if k.Resources[0] != "namespace.yaml" || k.Kind != "Kustomization" {
			t.Errorf("%s: %+v", folder, k)
		}
		if slices.Sort(k.Resources); !slices.Equal(k.Resources, want) {
			t.Errorf("%s: lists %v, has %v", folder, k.Resources, want)
		}
	}
}

// What selects the pods selects them: the Deployment itself, its budget, its spread and its network policy.
func TestSelectorsSelect(t *testing.T) {
	d := one[appsv1.Deployment](t, "base")
	budget := one[policyv1.PodDisruptionBudget](t, "base")
	selectors := []*metav1.LabelSelector{d.Spec.Selector, budget.Spec.Selector}
	spread := map[string]corev1.UnsatisfiableConstraintAction{}
	for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
		selectors = append(selectors, c.LabelSelector)
		spread[c.TopologyKey] = c.WhenUnsatisfiable
		if *c.NodeTaintsPolicy != corev1.NodeInclusionPolicyHonor {
			t.Errorf("a node that goes counts for the spread over %s", c.TopologyKey)
		}
	}
	denies := false
	for _, p := range objects[networkingv1.NetworkPolicy](t, "base") {
		if p.Namespace != d.Namespace || len(p.Spec.PolicyTypes) != 2 {
			t.Errorf("policy %s/%s is about %v", p.Namespace, p.Name, p.Spec.PolicyTypes)
		}
		if reflect.DeepEqual(p.Spec.PodSelector, metav1.LabelSelector{}) {
			denies = denies || len(p.Spec.Ingress)+len(p.Spec.Egress) == 0
		} else {
			selectors = append(selectors, &p.Spec.PodSelector)
		}
	}
	for _, s := range selectors {
		chosen, err := metav1.LabelSelectorAsSelector(s)
		if err != nil || chosen.Empty() || !chosen.Matches(labels(d.Spec.Template.Labels)) {
			t.Errorf("selector %v does not select the pods (%v)", s, err)
		}
	}
	want := map[string]corev1.UnsatisfiableConstraintAction{"topology.kubernetes.io/zone": corev1.ScheduleAnyway, "kubernetes.io/hostname": corev1.DoNotSchedule}
	if !reflect.DeepEqual(spread, want) || *d.Spec.Replicas != 2 || budget.Spec.MaxUnavailable.IntValue() != 1 || !denies || budget.Namespace != d.Namespace {
		t.Errorf("spread %v, replicas %d, budget %v, denies by default %v", spread, *d.Spec.Replicas, budget.Spec.MaxUnavailable, denies)
	}
}

type labels map[string]string

func (l labels) Has(k string) bool              { _, ok := l[k]; return ok }
func (l labels) Get(k string) string            { return l[k] }
func (l labels) Lookup(k string) (string, bool) { v, ok := l[k]; return v, ok }

// The controller never runs on a node that it empties; what asks the metadata runs on every node to its end.
func TestTolerations(t *testing.T) {
	d, all := one[appsv1.Deployment](t, "base").Spec.Template.Spec, one[appsv1.DaemonSet](t, "imds").Spec.Template.Spec
	for _, c := range d.Tolerations {
		if c.Key == "" || c.Key == fleet.TaintKey || c.Key == corev1.TaintNodeUnschedulable || c.Effect == corev1.TaintEffectNoExecute && c.TolerationSeconds == nil {
			t.Errorf("the controller tolerates %v", c)
		}
	}
	if want := []corev1.Toleration{{Operator: corev1.TolerationOpExists}}; !reflect.DeepEqual(all.Tolerations, want) {
		t.Errorf("the DaemonSet tolerates %v", all.Tolerations)
	}
	for _, key := range []string{d.PriorityClassName, all.PriorityClassName} {
		if !strings.HasPrefix(key, "system-") {
			t.Errorf("priority class %q", key)
		}
	}
}

// Both are what the restricted Pod Security level wants, but for the host network of the DaemonSet; neither asks for a certain user.
func TestPodsAreRestricted(t *testing.T) {
	for folder, p := range map[string]corev1.PodSpec{"base": one[appsv1.Deployment](t, "base").Spec.Template.Spec, "imds": one[appsv1.DaemonSet](t, "imds").Spec.Template.Spec} {
		pod, c := p.SecurityContext, p.Containers[0]
		own := c.SecurityContext
		want := corev1.SecurityContext{
			AllowPrivilegeEscalation: new(bool), ReadOnlyRootFilesystem: own.ReadOnlyRootFilesystem, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
		if !reflect.DeepEqual(*own, want) || !*own.ReadOnlyRootFilesystem {
			t.Errorf("%s: container's security context %v", folder, own)
		}
		if !*pod.RunAsNonRoot || pod.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || pod.RunAsUser != nil || pod.RunAsGroup != nil || pod.FSGroup != nil {
			t.Errorf("%s: pod's security context %v", folder, pod)
		}
		if p.HostPID || p.HostIPC || p.HostNetwork != (folder == "imds") || len(p.Volumes) > 0 || len(p.Containers) != 1 || c.Image != controller.Image {
			t.Errorf("%s: pod %v", folder, p)
		}
		if c.Resources.Limits.Cpu().Sign() != 0 || c.Resources.Limits.Memory().Sign() <= 0 || c.Resources.Requests.Cpu().Sign() <= 0 {
			t.Errorf("%s: resources %v", folder, c.Resources)
		}
		level := one[corev1.Namespace](t, folder).Labels["pod-security.kubernetes.io/enforce"]
		if want := map[string]string{"base": "restricted", "imds": "privileged"}[folder]; level != want {
			t.Errorf("%s: namespace enforces %q", folder, level)
		}
	}
}

// The probes ask for what is served, where it is served.
func TestProbesAreAnswered(t *testing.T) {
	c := one[appsv1.Deployment](t, "base").Spec.Template.Spec.Containers[0]
	if !slices.Contains(c.Args, fmt.Sprintf("--listen=:%d", c.Ports[0].ContainerPort)) {
		t.Errorf("args %v, ports %v", c.Args, c.Ports)
	}
	served := metrics.Answers(metrics.New("test"), nil, nil)
	for name, p := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		w := httptest.NewRecorder()
		served.ServeHTTP(w, httptest.NewRequest(http.MethodGet, p.HTTPGet.Path, nil))
		if w.Code != http.StatusOK || p.HTTPGet.Port.String() != c.Ports[0].Name {
			t.Errorf("%s probe of %s: %d", name, p.HTTPGet.Path, w.Code)
		}
	}
	reachesPods := false
	for _, p := range objects[networkingv1.NetworkPolicy](t, "base") {
		for _, out := range p.Spec.Egress {
			anywhere := slices.ContainsFunc(out.To, func(to networkingv1.NetworkPolicyPeer) bool {
				return to.NamespaceSelector != nil && reflect.DeepEqual(*to.NamespaceSelector, metav1.LabelSelector{}) && to.PodSelector == nil && to.IPBlock == nil
			})
			reachesPods = reachesPods || anywhere && len(out.Ports) == 1 && out.Ports[0].Port == nil && *out.Ports[0].Protocol == corev1.ProtocolTCP
		}
		for _, in := range p.Spec.Ingress {
			if in.Ports[0].Port.IntValue() != int(c.Ports[0].ContainerPort) {
				t.Errorf("policy %s lets %v in", p.Name, in.Ports[0].Port)
			}
		}
	}
	if !reachesPods {
		t.Error("the controller may not speak to stores: their pods listen at any port of any namespace")
	}
}
