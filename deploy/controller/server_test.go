package controller_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"drover.dev/deploy/controller"
	"drover.dev/kube"
	"drover.dev/sandbox/plane"
)

const account = "system:serviceaccount:drover-system:drover-controller"

// A real API server knows every field, lets the controller do all of its rights and no more, and lets the pods in: restricted where the
// namespace says so.
func TestServerTakesTheManifests(t *testing.T) {
	dir, err := os.MkdirTemp("", "drover-manifests-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p, err := plane.Start(t.Context(), plane.Options{Dir: dir, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	objects, err := dynamic.NewForConfig(p.Config())
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range append(folders, controller.Guard) {
		create(t, objects, folder)
	}
	client, err := kubernetes.NewForConfig(p.Config())
	if err != nil {
		t.Fatal(err)
	}
	within, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, r := range append(kube.ControllerRights(), guardRights(t)...) {
		for _, a := range asked(r) {
			for !may(t, client, a) { // the authorizer sees new roles a moment later
				select {
				case <-within.Done():
					t.Fatalf("the controller may not %s %s/%s %s in %q", a.Verb, a.Resource, a.Subresource, a.Name, a.Namespace)
				case <-time.After(50 * time.Millisecond):
				}
			}
		}
	}
	for _, a := range []authorizationv1.ResourceAttributes{
		{Verb: "get", Resource: "secrets", Namespace: "drover-system"}, {Verb: "create", Resource: "pods", Namespace: "kube-system"}, {Verb: "delete", Resource: "nodes"}, {Verb: "update", Resource: "configmaps", Namespace: "kube-system", Name: "coredns"},
		{Verb: "update", Group: "coordination.k8s.io", Resource: "leases", Namespace: "kube-system", Name: "kube-scheduler"},
		{Verb: "list", Resource: "secrets", Namespace: "drover-system"}, {Verb: "patch", Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Name: "theirs"},
	} {
		if may(t, client, a) {
			t.Errorf("the controller may %s %s %s", a.Verb, a.Resource, a.Name)
		}
	}
	d, all := one[appsv1.Deployment](t, "base"), one[appsv1.DaemonSet](t, "imds")
	for namespace, spec := range map[string]corev1.PodSpec{d.Namespace: d.Spec.Template.Spec, all.Namespace: all.Spec.Template.Spec} {
		if err := letIn(t, client, namespace, spec); err != nil {
			t.Errorf("pod in %s: %v", namespace, err)
		}
	}
	onHost := all.Spec.Template.Spec
	onHost.ServiceAccountName = d.Spec.Template.Spec.ServiceAccountName
	if err := letIn(t, client, d.Namespace, onHost); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "hostNetwork=true") {
		t.Errorf("a pod on the host network in %s: %v", d.Namespace, err)
	}
}

// guardRights are those of the guard's roles.
func guardRights(t *testing.T) []kube.Right {
	t.Helper()
	out := []kube.Right{{Rule: one[rbacv1.ClusterRole](t, controller.Guard).Rules[0]}}
	role := one[rbacv1.Role](t, controller.Guard)
	return append(out, kube.Right{Rule: role.Rules[0], Namespace: role.Namespace})
}

func create(t *testing.T, client dynamic.Interface, folder string) {
	t.Helper()
	all, err := controller.Objects(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		u := &unstructured.Unstructured{Object: o}
		resource, _ := meta.UnsafeGuessKindToResource(u.GroupVersionKind())
		to := dynamic.ResourceInterface(client.Resource(resource))
		if u.GetNamespace() != "" {
			to = client.Resource(resource).Namespace(u.GetNamespace())
		}
		if _, err := to.Create(t.Context(), u, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}); err != nil {
			t.Fatalf("%s: %s %s/%s: %v", folder, u.GetKind(), u.GetNamespace(), u.GetName(), err)
		}
	}
}

// asked is a right as single questions.
func asked(r kube.Right) []authorizationv1.ResourceAttributes {
	names := r.Rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	var out []authorizationv1.ResourceAttributes
	for _, verb := range r.Rule.Verbs {
		for _, thing := range r.Rule.Resources {
			resource, sub, _ := strings.Cut(thing, "/")
			for _, name := range names {
				out = append(out, authorizationv1.ResourceAttributes{
					Verb: verb, Group: r.Rule.APIGroups[0], Resource: resource, Subresource: sub, Name: name, Namespace: r.Namespace,
				})
			}
		}
	}
	return out
}

func may(t *testing.T, client kubernetes.Interface, a authorizationv1.ResourceAttributes) bool {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: account, ResourceAttributes: &a}}
	got, err := client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Status.Allowed
}

// letIn has the server try to make a pod.
func letIn(t *testing.T, client kubernetes.Interface, namespace string, spec corev1.PodSpec) error {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "try-"}, Spec: spec}
	_, err := client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
	return err
}
