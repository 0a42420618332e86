package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"drover.dev/admit"
	"drover.dev/deploy/controller"
	"drover.dev/fleet"
	"drover.dev/kube"
	"drover.dev/sandbox/plane"
)

// guarded is a real API server that asks a guard of this process, with the webhook's own manifest. Only the address is another: there is no Service network.
type guarded struct {
	*testing.T
	cfg     *rest.Config
	client  *kubernetes.Clientset
	cluster *kube.Cluster
	guard   *guardian

	mu       sync.Mutex
	verdicts []string
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	dir, err := os.MkdirTemp("", "drover-guard-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p, err := plane.Start(t.Context(), plane.Options{Dir: dir, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	w := &guarded{T: t, cfg: p.Config()}
	w.client, err = kubernetes.NewForConfig(w.cfg)
	w.ok(err)
	w.ok(kube.Install(t.Context(), w.cfg))
	w.cluster, err = kube.Open(t.Context(), w.cfg)
	w.ok(err)
	for _, name := range []string{guardNamespace, "shop"} {
		_, err = w.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		w.ok(err)
		w.eventually("the namespace's service account", func() bool {
			_, err := w.client.CoreV1().ServiceAccounts(name).Get(t.Context(), "default", metav1.GetOptions{})
			return err == nil
		})
	}
	return w
}

func (w *guarded) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *guarded) eventually(what string, met func() bool) {
	w.Helper()
	within, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	for !met() {
		if pause(within, 50*time.Millisecond); within.Err() != nil {
			w.Fatalf("not seen in time: %s", what)
		}
	}
}

// install creates the guard's Secret and webhook, called at that port.
func (w *guarded) install(port int) {
	w.Helper()
	all, err := controller.Objects(controller.Guard)
	w.ok(err)
	for _, o := range all {
		switch o["kind"] {
		case "Secret":
			var s corev1.Secret
			w.ok(runtime.DefaultUnstructuredConverter.FromUnstructured(o, &s))
			_, err = w.client.CoreV1().Secrets(s.Namespace).Create(w.Context(), &s, metav1.CreateOptions{})
		case "ValidatingWebhookConfiguration":
			var h admissionregv1.ValidatingWebhookConfiguration
			w.ok(runtime.DefaultUnstructuredConverter.FromUnstructured(o, &h))
			h.Webhooks[0].ClientConfig = admissionregv1.WebhookClientConfig{URL: new(fmt.Sprintf("https://localhost:%d%s", port, *h.Webhooks[0].ClientConfig.Service.Path))}
			_, err = w.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(w.Context(), &h, metav1.CreateOptions{})
		}
		w.ok(err)
	}
}

// start starts the guard; it leads when somebody renews the controller's lease.
func (w *guarded) start(ctx context.Context, listen string) {
	w.Helper()
	a := &app{out: io.Discard, err: io.Discard}
	r := &guarding{on: true, listen: listen, namespace: guardNamespace, bound: admit.Bound{Hold: 10 * time.Minute, OnTimeout: admit.Allow}}
	w.guard = a.newGuardian(r, w.cluster, func(verdict string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.verdicts = append(w.verdicts, verdict)
	})
	w.guard.keeper.Hosts = []string{"localhost"}
	w.ok(w.guard.start(ctx, listen, func(err error) { w.Error(err) }))
	go w.guard.keep(ctx)
}

func (w *guarded) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.verdicts) == 0 {
		return ""
	}
	return w.verdicts[len(w.verdicts)-1]
}

// pod creates a pod that says how it is moved, and waits until the guard's informers have it.
func (w *guarded) pod(name string, annotations map[string]string) *corev1.Pod {
	w.Helper()
	p, err := w.client.CoreV1().Pods("shop").Create(w.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations},
		Spec: corev1.PodSpec{NodeName: "n-1", TerminationGracePeriodSeconds: new(int64(0)),
			Containers: []corev1.Container{{Name: "redis", Image: "redis", Ports: []corev1.ContainerPort{{ContainerPort: 6379}}}}},
	}, metav1.CreateOptions{})
	w.ok(err)
	w.eventually("the pod in the informers", func() bool {
		var s fleet.Snapshot
		w.ok(w.cluster.Observe(w.Context(), &s))
		for _, seen := range s.Pods {
			if seen.Ref.UID == string(p.UID) {
				return true
			}
		}
		return false
	})
	pause(w.Context(), glanceFor) // what the guard saw before, it goes by no more
	return p
}

// evict asks as alice, as somebody who tries once, and returns the warnings.
func (w *guarded) evict(e *policyv1.Eviction, params ...string) (string, error) {
	w.Helper()
	heard := &warnings{}
	cfg := rest.CopyConfig(w.cfg)
	cfg.WarningHandler, cfg.Impersonate = heard, rest.ImpersonationConfig{UserName: "alice", Groups: []string{"system:masters"}}
	client, err := kubernetes.NewForConfig(cfg)
	w.ok(err)
	request := client.CoreV1().RESTClient().Post().Namespace("shop").Resource("pods").Name(e.Name).SubResource("eviction").Body(e).MaxRetries(0)
	for _, p := range params {
		request = request.Param("dryRun", p)
	}
	err = request.Do(w.Context()).Error()
	return strings.Join(heard.text, "\n"), err
}

func evictionOf(name string) *policyv1.Eviction {
	return &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}}
}

func (w *guarded) now(name string) *corev1.Pod {
	w.Helper()
	p, err := w.client.CoreV1().Pods("shop").Get(w.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.ok(err)
	return p
}

// held checks an answer to be that of the guard.
func (w *guarded) held(what string, err error, says ...string) {
	w.Helper()
	if !apierrors.IsTooManyRequests(err) {
		w.Errorf("%s: %v", what, err)
		return
	}
	for _, part := range append(says, `admission webhook "guard.drover.dev" denied the request: drover moves this pod: rediscluster, store shop/orders: `) {
		if !strings.Contains(err.Error(), part) {
			w.Errorf("%s: lacks %q: %v", what, part, err)
		}
	}
}

// What a real API server makes of the guard: everything that whoever evicts would see.
func TestGuardOnARealServer(t *testing.T) {
	w := newGuarded(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.ok(err)
	address := l.Addr().String()
	w.install(l.Addr().(*net.TCPAddr).Port)
	status, err := askGuard(t.Context(), w.cfg)
	if err != nil || !status.On || status.Answers || !strings.Contains(status.Why, "no CA is trusted yet") {
		t.Errorf("before the first start: %+v %v", status, err)
	}
	w.ok(l.Close())
	ctx, stop := context.WithCancel(t.Context())
	w.start(ctx, address)
	w.eventually("the guard", func() bool {
		status, err = askGuard(t.Context(), w.cfg)
		w.ok(err)
		return status.Answers
	})
	if status.Since.After(time.Now()) || status.Until.Before(time.Now().AddDate(1, 0, 0)) || w.last() != string(admit.Own) {
		t.Errorf("%+v, %s", status, w.last())
	}

	store := func(more ...string) map[string]string {
		out := map[string]string{"drover.dev/mover": "rediscluster", "drover.dev/store": "orders"}
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	const at, by = "drover.dev/asked-at", "drover.dev/asked-by"

	p := w.pod("orders-0", store())
	began := time.Now().Truncate(time.Second)
	warned, err := w.evict(evictionOf(p.Name))
	w.held("the first time", err, "no drover controller leads", "by alice (kubectl or the like); try again; at ")
	if seconds, _ := apierrors.SuggestsClientDelay(err); warned != "" || seconds != 0 {
		t.Errorf("warned %q, to wait %d s, which client-go would do in silence", warned, seconds)
	}
	asked := w.now(p.Name).Annotations
	if when, err := time.Parse(time.RFC3339, asked[at]); err != nil || when.Before(began) || asked[by] != "alice (kubectl or the like)" {
		t.Errorf("noted: %v", asked)
	}
	pause(t.Context(), glanceFor)
	_, err = w.evict(evictionOf(p.Name))
	w.held("again", err, "asked for at "+asked[at]+" by alice")
	if again := w.now(p.Name).Annotations; again[at] != asked[at] {
		t.Errorf("noted again: %v", again)
	}

	other := evictionOf(p.Name)
	other.DeleteOptions = &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: new(types.UID("another"))}}
	if _, err := w.evict(other); !apierrors.IsConflict(err) || strings.Contains(err.Error(), "drover") || w.last() != string(admit.Passed) {
		t.Errorf("another UID: %v, %s", err, w.last())
	}

	tried := w.pod("orders-1", store())
	inBody := evictionOf(tried.Name)
	inBody.DeleteOptions = &metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}
	_, err = w.evict(inBody)
	w.held("a dry run of the object", err, "dry run: nothing was noted")
	_, err = w.evict(evictionOf(tried.Name), metav1.DryRunAll)
	w.held("a dry run of the request", err, "dry run: nothing was noted")
	if noted := w.now(tried.Name).Annotations; noted[at] != "" {
		t.Errorf("a dry run was noted: %v", noted)
	}

	own := w.pod("orders-2", store())
	w.ok(w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Evict, Run: "r-1", Pod: fleet.PodRef{Namespace: "shop", Name: own.Name, UID: string(own.UID)}}))
	if w.now(own.Name) != nil || w.last() != string(admit.Own) {
		t.Errorf("drover's own eviction: %s", w.last())
	}

	late := w.pod("orders-3", store(at, time.Now().Add(-11*time.Minute).UTC().Format(time.RFC3339), by, "bob"))
	warned, err = w.evict(evictionOf(late.Name))
	if err != nil || w.now(late.Name) != nil || !strings.Contains(warned, "drover lets this pod be evicted though its mover has not moved it within 10m") || w.last() != string(admit.TimedOut) {
		t.Errorf("after the bound: %q, %v, %s", warned, err, w.last())
	}

	garbled := w.pod("orders-4", store(at, "yesterday", by, "bob"))
	_, err = w.evict(evictionOf(garbled.Name))
	w.held("asked for at no moment", err)
	if noted := w.now(garbled.Name).Annotations; noted[by] != "alice (kubectl or the like)" || noted[at] == "yesterday" {
		t.Errorf("left as it was: %v", noted)
	}

	plain := w.pod("web-0", nil)
	if warned, err := w.evict(evictionOf(plain.Name)); err != nil || warned != "" || w.now(plain.Name) != nil || w.last() != string(admit.Passed) {
		t.Errorf("a pod of no store: %q, %v, %s", warned, err, w.last())
	}

	stop()
	w.guard.close()
	if _, err := w.evict(evictionOf(p.Name)); err != nil || w.now(p.Name) != nil {
		t.Errorf("without a guard: %v", err)
	}
	status, err = askGuard(t.Context(), w.cfg)
	if err != nil || !status.On || status.Answers || !strings.Contains(status.Why, "did not reach it") {
		t.Errorf("at the end: %+v %v", status, err)
	}
}
