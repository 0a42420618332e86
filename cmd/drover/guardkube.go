package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"drover.dev/admit"
)

// What the manifests of the guard are named.
const (
	guardNamespace = "drover-system"
	guardName      = "drover-guard" // its Service, its Secret, and its webhook's configuration
	guardWebhook   = "guard.drover.dev"
)

// guardHosts are the names that the API server calls the guard by.
func guardHosts(namespace string) []string { return []string{guardName + "." + namespace + ".svc"} }

// guardSecret is the Secret that the guard's keys are in.
type guardSecret struct {
	client    kubernetes.Interface
	namespace string
}

func (s guardSecret) String() string { return "Secret " + s.namespace + "/" + guardName }

func (s guardSecret) Read(ctx context.Context) (map[string][]byte, string, error) {
	secret, err := s.client.CoreV1().Secrets(s.namespace).Get(ctx, guardName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, "", fmt.Errorf("%s: there is none; drover install --controller --guard makes it", s)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", s, err)
	}
	return secret.Data, secret.ResourceVersion, nil
}

func (s guardSecret) Write(ctx context.Context, data map[string][]byte, version string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": version}, "data": data})
	if err != nil {
		return fmt.Errorf("patch of %s: %w", s, err)
	}
	if _, err := s.client.CoreV1().Secrets(s.namespace).Patch(ctx, guardName, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: guardName}); err != nil {
		return fmt.Errorf("write %s: %w", s, err)
	}
	return nil
}

// guardTrust is the configuration of the guard's webhook.
type guardTrust struct{ client kubernetes.Interface }

func (t guardTrust) Bundle(ctx context.Context) ([]byte, error) {
	have, err := t.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, guardName, metav1.GetOptions{})
	if err != nil {
		return nil, notInstalled("read", err)
	}
	i := slices.IndexFunc(have.Webhooks, func(w admissionregv1.ValidatingWebhook) bool { return w.Name == guardWebhook })
	if i < 0 {
		return nil, fmt.Errorf("webhook configuration %s: it has no webhook %s; drover install --controller --guard mends it", guardName, guardWebhook)
	}
	return have.Webhooks[i].ClientConfig.CABundle, nil
}

func (t guardTrust) SetBundle(ctx context.Context, bundle []byte) error {
	if _, err := t.Bundle(ctx); err != nil { // a patch would add a webhook that is not there
		return err
	}
	patch, err := json.Marshal(map[string]any{"webhooks": []any{map[string]any{"name": guardWebhook, "clientConfig": map[string]any{"caBundle": bundle}}}})
	if err != nil {
		return fmt.Errorf("patch of webhook configuration %s: %w", guardName, err)
	}
	hooks := t.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if _, err := hooks.Patch(ctx, guardName, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: guardName}); err != nil {
		return notInstalled("patch", err)
	}
	return nil
}

func notInstalled(doing string, err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("webhook configuration %s: there is none; drover install --controller --guard makes it", guardName)
	}
	return fmt.Errorf("%s webhook configuration %s: %w", doing, guardName, err)
}

// guardStatus is what drover check says of the guard.
type guardStatus struct {
	On      bool      `json:"on"`
	Answers bool      `json:"answers"`
	Why     string    `json:"why,omitempty"` // it does not answer, or what it is trusted by is not known
	Since   time.Time `json:"caSince,omitzero"`
	Until   time.Time `json:"caUntil,omitzero"`
}

// askGuard asks whether the guard is on, and whether it answers: by a dry-run eviction of a pod that does not exist, which goes all the way to it.
func askGuard(ctx context.Context, cfg *rest.Config) (guardStatus, error) {
	heard := &warnings{}
	cfg = rest.CopyConfig(cfg)
	cfg.WarningHandler = heard
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return guardStatus{}, fmt.Errorf("kubernetes client: %w", err)
	}
	hook, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, guardName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return guardStatus{}, nil
	}
	if err != nil {
		return guardStatus{}, notInstalled("read", err)
	}
	status := guardStatus{On: true}
	bundle, err := guardTrust{client}.Bundle(ctx)
	if err == nil {
		err = status.trusted(bundle)
	}
	if err != nil {
		status.Why = fmt.Sprintf("webhook configuration %s: %v", hook.Name, err)
		return status, nil
	}
	status.Answers, status.Why = probeGuard(ctx, client, heard)
	return status, nil
}

// trusted fills in since when, and until when, the newest CA is valid.
func (s *guardStatus) trusted(bundle []byte) error {
	if len(bundle) == 0 {
		return fmt.Errorf("no CA is trusted yet; the controller that leads with --guard fills it in")
	}
	cas, err := admit.ParseBundle(bundle)
	if err != nil {
		return fmt.Errorf("caBundle: %w", err)
	}
	s.Since, s.Until = cas[0].NotBefore, cas[0].NotAfter
	return nil
}

func probeGuard(ctx context.Context, client kubernetes.Interface, heard *warnings) (answers bool, why string) {
	probe := &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "drover-guard-probe", Annotations: map[string]string{admit.RunKey: admit.Probe}},
		DeleteOptions: &metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}},
	}
	err := client.CoreV1().RESTClient().Post().Namespace(probe.Namespace).Resource("pods").Name(probe.Name).SubResource("eviction").
		Param("dryRun", metav1.DryRunAll).Body(probe).MaxRetries(0).Do(ctx).Error()
	switch {
	case heard.have(admit.Here):
		return true, ""
	case err != nil && !apierrors.IsNotFound(err):
		return false, err.Error()
	}
	return false, "the API server did not reach it, or does not trust it; see the logs of drover-controller, and whether its port 9443 can be reached from the control plane"
}

// warnings are those that the API server passed on.
type warnings struct {
	mu   sync.Mutex
	text []string
}

func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text)
}

func (w *warnings) have(part string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.text, func(t string) bool { return strings.Contains(t, part) })
}

// String is the line that people read.
func (s guardStatus) String() string {
	valid := ""
	if !s.Since.IsZero() {
		valid = fmt.Sprintf("; its CA is valid from %s to %s", s.Since.UTC().Format(time.DateOnly), s.Until.UTC().Format(time.DateOnly))
	}
	switch {
	case !s.On:
		return "The eviction guard is off."
	case s.Answers:
		return "The eviction guard is on, and answers" + valid + "."
	}
	return "The eviction guard is on, and does not answer: evictions go past it. " + s.Why + valid + "."
}
