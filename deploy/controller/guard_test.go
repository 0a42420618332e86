package controller_test

import (
	"reflect"
	"slices"
	"testing"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/admit"
	"drover.dev/deploy/controller"
)

// The webhook is about evictions alone, holds nobody when the guard is away, and never looks at kube-system or at drover itself.
func TestGuardsWebhook(t *testing.T) {
	hooks := one[admissionregv1.ValidatingWebhookConfiguration](t, controller.Guard).Webhooks
	if len(hooks) != 1 {
		t.Fatalf("%d webhooks", len(hooks))
	}
	h := hooks[0]
	if *h.FailurePolicy != admissionregv1.Ignore || *h.MatchPolicy != admissionregv1.Equivalent || *h.SideEffects != admissionregv1.SideEffectClassNoneOnDryRun || *h.TimeoutSeconds != 5 {
		t.Errorf("%+v", h)
	}
	want := []admissionregv1.RuleWithOperations{{
		Operations: []admissionregv1.OperationType{admissionregv1.Create},
		Rule:       admissionregv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods/eviction"}, Scope: new(admissionregv1.NamespacedScope)},
	}}
	if !reflect.DeepEqual(h.Rules, want) || !slices.Equal(h.AdmissionReviewVersions, []string{"v1"}) || h.ObjectSelector != nil {
		t.Errorf("rules %+v, versions %v", h.Rules, h.AdmissionReviewVersions)
	}
	selector, err := metav1.LabelSelectorAsSelector(h.NamespaceSelector)
	if err != nil {
		t.Fatal(err)
	}
	for namespace, asked := range map[string]bool{"shop": true, "default": true, "kube-system": false, one[corev1.Namespace](t, controller.Base).Name: false} {
		if selector.Matches(labels{corev1.LabelMetadataName: namespace}) != asked {
			t.Errorf("evictions in %s: asked %v", namespace, !asked)
		}
	}
}

// From the webhook to the container: the Service that is called, the pods that it selects, the port that is let in, the path that is served, the Secret that
// may be written.
func TestGuardIsReached(t *testing.T) {
	hook := one[admissionregv1.ValidatingWebhookConfiguration](t, controller.Guard)
	called := hook.Webhooks[0].ClientConfig.Service
	service := one[corev1.Service](t, controller.Guard)
	if called.Name != service.Name || called.Namespace != service.Namespace || *called.Port != service.Spec.Ports[0].Port || *called.Path != admit.Path {
		t.Errorf("calls %+v, service %s/%s %v", called, service.Namespace, service.Name, service.Spec.Ports)
	}
	d := one[appsv1.Deployment](t, controller.Base)
	policy := one[networkingv1.NetworkPolicy](t, controller.Guard)
	for _, selector := range []map[string]string{service.Spec.Selector, policy.Spec.PodSelector.MatchLabels} {
		if !reflect.DeepEqual(selector, d.Spec.Selector.MatchLabels) {
			t.Errorf("selects %v, the pods are %v", selector, d.Spec.Selector.MatchLabels)
		}
	}
	ports := d.Spec.Template.Spec.Containers[0].Ports
	i := slices.IndexFunc(ports, func(p corev1.ContainerPort) bool { return p.Name == service.Spec.Ports[0].TargetPort.String() })
	if i < 0 || policy.Spec.Ingress[0].Ports[0].Port.IntValue() != int(ports[i].ContainerPort) || len(policy.Spec.Ingress[0].From) > 0 || policy.Namespace != d.Namespace {
		t.Errorf("ports %v, let in %v", ports, policy.Spec.Ingress)
	}
	secret := one[corev1.Secret](t, controller.Guard)
	if len(secret.Data)+len(secret.StringData) > 0 || secret.Namespace != d.Namespace {
		t.Errorf("secret %s/%s has %d entries", secret.Namespace, secret.Name, len(secret.Data)+len(secret.StringData))
	}
	for name, rules := range map[string][]rbacv1.PolicyRule{secret.Name: one[rbacv1.Role](t, controller.Guard).Rules, hook.Name: one[rbacv1.ClusterRole](t, controller.Guard).Rules} {
		if len(rules) != 1 || !slices.Equal(rules[0].ResourceNames, []string{name}) || !slices.Equal(rules[0].Verbs, []string{"get", "patch"}) {
			t.Errorf("rights on %s: %v", name, rules)
		}
	}
}
