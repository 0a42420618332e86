package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"drover.dev/deploy/controller"
)

const someImage = "registry.example.com/drover:1.0"

// offline has no cluster and no AWS to ask.
func offline(t *testing.T) {
	t.Setenv("KUBECONFIG", "/nonexistent")
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
}

func TestInstallUsage(t *testing.T) {
	offline(t)
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"--controller", 64, "--image: which image of drover?"},
		{"--imds", 64, "--image: which image of drover?"},
		{"--image " + someImage, 64, "--image: for --controller and --imds only"},
		{"--queue q", 64, "are for --controller only"},
		{"--imds --image " + someImage + " --cluster-name prod", 64, "are for --controller only"},
		{"--guard", 64, "--guard: for --controller only"},
		{"--controller --image " + someImage + " --role-arn prod", 64, `--role-arn "prod": want arn:aws:iam::ACCOUNT:role/NAME`},
		{"--controller --image " + someImage + " --print", 1, "no region; set AWS_REGION or pass --region"},
		{"--print --yes", 64, "if any flags in the group [print yes]"},
	} {
		var out, errs bytes.Buffer
		code := run(append([]string{"install"}, strings.Fields(tc.args)...), strings.NewReader(""), &out, &errs)
		if code != tc.code || !strings.Contains(errs.String(), tc.says) || out.Len() > 0 {
			t.Errorf("drover install %s: exit code %d, want %d with %q:\n%s%s", tc.args, code, tc.code, tc.says, out.String(), errs.String())
		}
	}
}

// What is printed is everything, filled in, without a cluster to ask.
func TestInstallPrints(t *testing.T) {
	offline(t)
	const role = "arn:aws:iam::123456789012:role/drover"
	var out, errs bytes.Buffer
	args := "install --print --controller --imds --region eu-west-1 --cluster-name prod --queue drover-prod --role-arn " + role + " --image " + someImage
	if code := run(strings.Fields(args), strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatal(code, errs.String())
	}
	kinds := map[string]int{}
	for document := range strings.SplitSeq(strings.TrimPrefix(out.String(), "---\n"), "\n---\n") {
		var u unstructured.Unstructured
		if err := yaml.UnmarshalStrict([]byte(document), &u.Object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		kinds[u.GetKind()]++
		switch want := u.GetAnnotations()[roleAnnotation]; u.GetKind() {
		case "ServiceAccount":
			if (want == role) != (u.GetName() == "drover-controller") {
				t.Errorf("%s may take role %q", nameOf(&u), want)
			}
		case "Deployment":
			var d appsv1.Deployment
			typed(t, &u, &d)
			c := d.Spec.Template.Spec.Containers[0]
			env := map[string]string{}
			for _, v := range c.Env {
				env[v.Name] = v.Value
			}
			if want := map[string]string{"AWS_REGION": "eu-west-1", "DROVER_CLUSTER": "prod", "DROVER_QUEUE": "drover-prod", "DROVER_GUARD": "false", "DROVER_ENVIRONMENTS": "false", "NODE_NAME": ""}; !reflect.DeepEqual(env, want) {
				t.Errorf("environment %v", env)
			}
		}
	}
	want := map[string]int{"CustomResourceDefinition": 5, "Namespace": 2, "ServiceAccount": 2, "ClusterRole": 2, "ClusterRoleBinding": 2, "Role": 2, "RoleBinding": 2,
		"NetworkPolicy": 2, "PodDisruptionBudget": 1, "Deployment": 1, "DaemonSet": 1}
	if !reflect.DeepEqual(kinds, want) {
		t.Errorf("printed %v", kinds)
	}
	if n := strings.Count(out.String(), "image: "+someImage+"\n"); n != 2 || strings.Contains(out.String(), controller.Image) {
		t.Errorf("the image is there %d times, and the placeholder: %v", n, strings.Contains(out.String(), controller.Image))
	}
}

// With the guard there is what it needs besides, and the Deployment has it on.
func TestInstallPrintsTheGuard(t *testing.T) {
	offline(t)
	var out, errs bytes.Buffer
	if code := run(strings.Fields("install --print --controller --guard --region eu-west-1 --image "+someImage), strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatal(code, errs.String())
	}
	for _, part := range []string{"name: DROVER_GUARD\n          value: \"true\"\n", "kind: ValidatingWebhookConfiguration\n", "kind: Secret\n", "kind: Service\n"} {
		if strings.Count(out.String(), part) != 1 {
			t.Errorf("%q is there %d times", part, strings.Count(out.String(), part))
		}
	}
}

func TestInstallPrintsTheRightsToSwitchEnvironments(t *testing.T) {
	offline(t)
	var out, errs bytes.Buffer
	if code := run(strings.Fields("install --print --controller --environments --region eu-west-1 --image "+someImage), strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatal(code, errs.String())
	}
	if strings.Count(out.String(), "name: DROVER_ENVIRONMENTS\n          value: \"true\"\n") != 1 || strings.Count(out.String(), "  name: drover-environments\n") < 3 {
		t.Error("the controller does not switch environments, or may not")
	}
}

func typed(t *testing.T, u *unstructured.Unstructured, into any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, into, true); err != nil {
		t.Fatal(err)
	}
}

// What the manifests call is a command of drover's with these flags, and the environment that is filled in is the one that they use.
func TestManifestsCallDrover(t *testing.T) {
	for _, folder := range []string{controller.Base, controller.Metadata} {
		objects, err := controller.Objects(folder)
		if err != nil {
			t.Fatal(err)
		}
		called := false
		for _, o := range objects {
			u := unstructured.Unstructured{Object: o}
			var template corev1.PodTemplateSpec
			raw, found, _ := unstructured.NestedMap(o, "spec", "template")
			if !found {
				continue
			}
			called = true
			typed(t, &unstructured.Unstructured{Object: raw}, &template)
			c := template.Spec.Containers[0]
			for i := range c.Args { // as the kubelet does
				for _, v := range c.Env {
					c.Args[i] = strings.ReplaceAll(c.Args[i], "$("+v.Name+")", v.Value)
				}
			}
			command, flags, err := testRoot().Find(c.Args)
			if err != nil || command.Name() != c.Args[0] {
				t.Fatalf("%s: %v: %v", nameOf(&u), c.Args, err)
			}
			if err := command.ParseFlags(flags); err != nil {
				t.Errorf("%s: %v", nameOf(&u), err)
			}
			for _, a := range c.Args {
				if strings.Contains(a, "$(") {
					t.Errorf("%s: %s is not in the environment", nameOf(&u), a)
				}
			}
		}
		if !called {
			t.Errorf("%s calls nothing", folder)
		}
	}
}

// The plan says what the server would do and changes nothing; carried out, there is nothing left to do; of a new image only the Deployment learns.
func TestInstallPlansAndApplies(t *testing.T) {
	api := &manifestAPI{objects: map[string]map[string]any{}}
	p, objects := serving(t, api)
	steps := stepsOf(t, p, objects)
	if api.writes != 0 || !reflect.DeepEqual(whats(steps), map[string]int{stepCreate: len(objects)}) {
		t.Errorf("%d writes, plan %v", api.writes, whats(steps))
	}
	if err := p.carryOut(t.Context(), steps); err != nil || api.writes != len(objects) {
		t.Fatalf("%d writes of %d: %v", api.writes, len(objects), err)
	}
	steps = stepsOf(t, p, objects)
	if err := p.carryOut(t.Context(), steps); err != nil || api.writes != len(objects) || !reflect.DeepEqual(whats(steps), map[string]int{stepNone: len(objects)}) {
		t.Errorf("again: %d writes, plan %v, %v", api.writes, whats(steps), err)
	}
	newer, err := filled(controller.Base, "registry.example.com/drover:2.0", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stepsOf(t, p, newer) {
		if (s.what == stepChange) != (s.object.GetKind() == "Deployment") {
			t.Errorf("%s %s: %s", s.object.GetKind(), nameOf(s.object), s.what)
		}
	}
	var table bytes.Buffer
	installTable(&table, "cluster prod", nil, nil, steps)
	if !strings.Contains(table.String(), "drover-system/drover-controller  Deployment") {
		t.Error(table.String())
	}
}

// An object that the server refuses ends it, and the error says how far it came.
func TestInstallIsRefused(t *testing.T) {
	api := &manifestAPI{objects: map[string]map[string]any{}, refuses: "/apis/rbac.authorization.k8s.io/v1/clusterroles/drover-controller"}
	p, objects := serving(t, api)
	err := p.carryOut(t.Context(), stepsOf(t, p, objects))
	if err == nil || !strings.Contains(err.Error(), "apply ClusterRole drover-controller: ") || !strings.Contains(err.Error(), fmt.Sprintf("; 2 of %d manifests are applied", len(objects))) {
		t.Error(err)
	}
}

func serving(t *testing.T, api *manifestAPI) (applier, []*unstructured.Unstructured) {
	t.Helper()
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	p, err := newApplier(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := filled(controller.Base, someImage, "", map[string]string{"AWS_REGION": "eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	return p, objects
}

func stepsOf(t *testing.T, p applier, objects []*unstructured.Unstructured) []step {
	t.Helper()
	steps, err := p.plan(t.Context(), objects)
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func whats(steps []step) map[string]int {
	out := map[string]int{}
	for _, s := range steps {
		out[s.what]++
	}
	return out
}

// manifestAPI is an API server for the kinds of the manifests, under the paths that Kubernetes has for them. Like Kubernetes it adds fields of its own, and
// knows no other content type for applying.
type manifestAPI struct {
	mu      sync.Mutex
	objects map[string]map[string]any // by path
	writes  int
	refuses string
}

var manifestPaths = []string{
	"/api/v1/namespaces/{name}", "/api/v1/namespaces/{ns}/serviceaccounts/{name}", "/apis/apps/v1/namespaces/{ns}/deployments/{name}",
	"/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets/{name}", "/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies/{name}",
	"/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}",
	"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles/{name}", "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings/{name}",
}

func (m *manifestAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mux := http.NewServeMux()
	for _, path := range manifestPaths {
		mux.HandleFunc("GET "+path, m.get)
		mux.HandleFunc("PATCH "+path, m.apply)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	mux.ServeHTTP(w, r)
}

func (m *manifestAPI) get(w http.ResponseWriter, r *http.Request) {
	if o := m.objects[r.URL.Path]; o != nil {
		reply(w, http.StatusOK, o)
		return
	}
	reply(w, http.StatusNotFound, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})
}

func (m *manifestAPI) apply(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	body, err := io.ReadAll(r.Body)
	var o map[string]any
	switch {
	case err != nil, r.Header.Get("Content-Type") != "application/apply-patch+yaml", q.Get("fieldManager") != "drover", q.Get("force") != "true", yaml.Unmarshal(body, &o) != nil:
		reply(w, http.StatusUnsupportedMediaType, map[string]any{})
		return
	case r.URL.Path == m.refuses:
		reply(w, http.StatusForbidden, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "message": "no", "code": 403})
		return
	}
	meta := o["metadata"].(map[string]any)
	meta["uid"] = "u-" + r.URL.Path
	meta["resourceVersion"] = fmt.Sprint(m.writes + 1) // also of a dry run
	o["status"] = map[string]any{"observedGeneration": m.writes}
	meta["managedFields"] = []any{map[string]any{"manager": "drover", "time": fmt.Sprint(m.writes)}}
	if q.Get("dryRun") == "" {
		m.writes++
		m.objects[r.URL.Path] = o
	}
	reply(w, http.StatusOK, o)
}

func reply(w http.ResponseWriter, code int, o map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(o); err != nil {
		panic(err) // of the test's own making
	}
}
