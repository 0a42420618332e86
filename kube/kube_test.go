package kube

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"drover.dev/fleet"
	"drover.dev/sandbox/plane"
)

// The tests of this file ask a real API server. It runs once for all of them, without nodes of its own: nodes and pods are objects that the
// tests write, each under names of its own.
var shared struct {
	once  sync.Once
	plane *plane.Plane
	dir   string
	err   error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.plane != nil {
		shared.plane.Stop()
	}
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

var worlds atomic.Int64 // so that names differ when a test runs again

// world is the control plane as one test uses it.
type world struct {
	*testing.T
	cfg     *rest.Config
	client  *kubernetes.Clientset
	cluster *Cluster
	name    string // of this test's namespace and node
}

func newWorld(t *testing.T) *world {
	t.Helper()
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "drover-kube-*"); shared.err == nil {
			shared.plane, shared.err = plane.Start(context.Background(), plane.Options{Dir: shared.dir, Progress: os.Stderr})
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	w := &world{T: t, cfg: shared.plane.Config(), name: fmt.Sprintf("%s-%d", strings.ToLower(t.Name()), worlds.Add(1))}
	var err error
	w.client, err = kubernetes.NewForConfig(w.cfg)
	w.ok(err)
	w.cluster, err = Open(t.Context(), w.cfg)
	w.ok(err)
	_, err = w.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.name}}, metav1.CreateOptions{})
	w.ok(err)
	w.eventually("the namespace's service account", func() bool {
		_, err := w.client.CoreV1().ServiceAccounts(w.name).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	return w
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// eventually waits for a condition, but not for ever.
func (w *world) eventually(what string, met func() bool) {
	w.Helper()
	within, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	for !met() {
		if pause(within, 50*time.Millisecond) != nil {
			w.Fatalf("not seen in time: %s", what)
		}
	}
}

// node creates a ready node, without the taint that it is born with. It has a label: the server notes who writes what only of an object that began
// with something written.
func (w *world) node() *corev1.Node {
	w.Helper()
	nodes := w.client.CoreV1().Nodes()
	n, err := nodes.Create(w.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: w.name, Labels: map[string]string{corev1.LabelHostname: w.name}}}, metav1.CreateOptions{})
	w.ok(err)
	_, err = nodes.Patch(w.Context(), w.name, types.StrategicMergePatchType, []byte(`{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`), metav1.PatchOptions{}, "status")
	w.ok(err)
	w.eventually("the node without taints", func() bool {
		n, err = nodes.Get(w.Context(), w.name, metav1.GetOptions{})
		return err == nil && len(n.Spec.Taints) == 0
	})
	return n
}

// edit changes the node as somebody else would, whoever else writes it at the same moment.
func (w *world) edit(change func(n *corev1.Node)) *corev1.Node {
	w.Helper()
	var out *corev1.Node
	w.ok(retry.RetryOnConflict(retry.DefaultBackoff, func() (err error) {
		n := w.getNode()
		change(n)
		out, err = w.client.CoreV1().Nodes().Update(w.Context(), n, metav1.UpdateOptions{})
		return err
	}))
	return out
}

func (w *world) getNode() *corev1.Node {
	w.Helper()
	n, err := w.client.CoreV1().Nodes().Get(w.Context(), w.name, metav1.GetOptions{})
	w.ok(err)
	return n
}

// pod creates a running, ready pod on the test's node.
func (w *world) pod(name string) *corev1.Pod {
	w.Helper()
	p := aPod(w.name, name, w.name)
	p.UID, p.Spec.TerminationGracePeriodSeconds = "", new(int64(0))
	return w.create(p)
}

func (w *world) create(p *corev1.Pod) *corev1.Pod {
	w.Helper()
	pods := w.client.CoreV1().Pods(w.name)
	status := p.Status
	p, err := pods.Create(w.Context(), p, metav1.CreateOptions{})
	w.ok(err)
	p.Status = status
	p, err = pods.UpdateStatus(w.Context(), p, metav1.UpdateOptions{})
	w.ok(err)
	w.eventually("the pod in the informer", func() bool {
		seen, err := w.cluster.pods.Pods(w.name).Get(p.Name)
		return err == nil && seen.UID == p.UID && seen.Status.Phase == p.Status.Phase
	})
	return p
}

// budget creates a budget over all of the test's pods and waits until it is counted.
func (w *world) budget(name string, min int) {
	w.Helper()
	budgets := w.client.PolicyV1().PodDisruptionBudgets(w.name)
	b := aBudget(w.name, name, "web")
	b.Spec.MinAvailable = new(intstr.FromInt32(int32(min)))
	b, err := budgets.Create(w.Context(), b, metav1.CreateOptions{})
	w.ok(err)
	w.eventually("the budget's count", func() bool {
		b, err = budgets.Get(w.Context(), name, metav1.GetOptions{})
		return err == nil && b.Status.ObservedGeneration == b.Generation && b.Status.CurrentHealthy > 0
	})
}

func evictionOf(p *corev1.Pod) fleet.Action {
	return fleet.Action{Verb: fleet.Evict, Run: "r-1", Node: p.Spec.NodeName, Pod: fleet.PodRef{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID)}}
}

func (w *world) there(p *corev1.Pod) bool {
	w.Helper()
	now, err := w.client.CoreV1().Pods(p.Namespace).Get(w.Context(), p.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false
	}
	w.ok(err)
	return now.UID == p.UID && now.DeletionTimestamp == nil
}

func (w *world) act(a fleet.Action) {
	w.Helper()
	a.Node = w.name
	w.ok(w.cluster.Act(w.Context(), a))
}

// refused checks that err is a refusal with all the words, and how long it says to wait.
func (w *world) refused(err error, wait time.Duration, words ...string) {
	w.Helper()
	var refused *fleet.Refused
	if !errors.As(err, &refused) {
		w.Fatalf("got %T %v, want a refusal with %q", err, err, words)
	}
	for _, s := range words {
		if !strings.Contains(refused.Reason, s) {
			w.Errorf("reason %q lacks %q", refused.Reason, s)
		}
	}
	if refused.Wait != wait {
		w.Errorf("%q: wait %s, want %s", refused.Reason, refused.Wait, wait)
	}
}

func TestEvict(t *testing.T) {
	w := newWorld(t)
	w.node()
	p := w.pod("web-0")
	for range 2 { // twice: already so is success
		w.ok(w.cluster.Act(w.Context(), evictionOf(p)))
		if w.there(p) {
			t.Fatal("the pod is still there")
		}
	}
}

func TestEvictLeavesARebornPodAlone(t *testing.T) {
	w := newWorld(t)
	w.node()
	old := w.pod("web-0")
	w.ok(w.cluster.Act(t.Context(), evictionOf(old)))
	reborn := w.pod("web-0")
	w.ok(w.cluster.Act(t.Context(), evictionOf(old)))
	// The informer may not know of the new pod yet; then it is the API server that has to see it.
	blind := newStock(t)
	blind.client = w.client
	w.ok(blind.Act(t.Context(), evictionOf(old)))
	if !w.there(reborn) {
		t.Error("the reborn pod was evicted")
	}
}

func TestBudgetHoldsAnEviction(t *testing.T) {
	w := newWorld(t)
	w.node()
	p := w.pod("web-0")
	w.budget("web", 1)
	w.refused(w.cluster.Act(w.Context(), evictionOf(p)), budgetWait, "The disruption budget web needs 1 healthy pods and has 1 currently")
	if !w.there(p) {
		t.Error("evicted all the same")
	}
}

func TestTwoBudgetsHoldAnEviction(t *testing.T) {
	w := newWorld(t)
	w.node()
	p := w.pod("web-0")
	w.budget("web", 0)
	w.budget("again", 0)
	w.refused(w.cluster.Act(w.Context(), evictionOf(p)), brokenWait, "more than one PodDisruptionBudget")
}

func TestEvictInATerminatingNamespace(t *testing.T) {
	w := newWorld(t)
	w.node()
	p := aPod(w.name, "web-0", w.name)
	p.UID, p.Finalizers = "", []string{"keep.it/here"}
	p = w.create(p)
	w.ok(w.client.CoreV1().Namespaces().Delete(t.Context(), w.name, metav1.DeleteOptions{}))
	// The API server's own caches learn of it a moment later; until then it takes evictions, and this pod stays because of its finalizer.
	var err error
	w.eventually("a refusal", func() bool {
		err = w.cluster.Act(t.Context(), evictionOf(p))
		return err != nil
	})
	w.refused(err, ownerWait, "namespace "+w.name+" is being terminated")
	_, err = w.client.CoreV1().Pods(w.name).Patch(t.Context(), p.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	w.ok(err)
}

// deny installs a ValidatingAdmissionPolicy that says no to one operation on one thing of the test's name.
func (w *world) deny(resource string, op admissionregv1.OperationType, expression string, reason metav1.StatusReason) {
	w.Helper()
	policies := w.client.AdmissionregistrationV1()
	_, err := policies.ValidatingAdmissionPolicies().Create(w.Context(), &admissionregv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: w.name},
		Spec: admissionregv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: new(admissionregv1.Fail),
			MatchConstraints: &admissionregv1.MatchResources{ResourceRules: []admissionregv1.NamedRuleWithOperations{{RuleWithOperations: admissionregv1.RuleWithOperations{
				Operations: []admissionregv1.OperationType{op}, Rule: admissionregv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{resource}}}}}},
			Validations: []admissionregv1.Validation{{Expression: expression, Message: "the night shift is over at six", Reason: &reason}},
		},
	}, metav1.CreateOptions{})
	w.ok(err)
	_, err = policies.ValidatingAdmissionPolicyBindings().Create(w.Context(), &admissionregv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.name},
		Spec:       admissionregv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: w.name, ValidationActions: []admissionregv1.ValidationAction{admissionregv1.Deny}},
	}, metav1.CreateOptions{})
	w.ok(err)
	w.Cleanup(func() {
		policies.ValidatingAdmissionPolicies().Delete(context.Background(), w.name, metav1.DeleteOptions{})
		policies.ValidatingAdmissionPolicyBindings().Delete(context.Background(), w.name, metav1.DeleteOptions{})
	})
}

// rehearse evicts for show, to learn without harm whether admission is set up.
func (w *world) rehearse(p *corev1.Pod) error {
	return w.client.CoreV1().Pods(p.Namespace).EvictV1(w.Context(), &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}, DeleteOptions: &metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}})
}

func TestPolicyHoldsAnEviction(t *testing.T) {
	w := newWorld(t)
	w.node()
	p := w.pod("web-0")
	// Forbidden, as the authorizer would say it: who says no matters, not the code.
	w.deny("pods/eviction", admissionregv1.Create, fmt.Sprintf("request.namespace != %q", w.name), metav1.StatusReasonForbidden)
	w.eventually("the policy", func() bool { return w.rehearse(p) != nil })
	w.refused(w.cluster.Act(t.Context(), evictionOf(p)), ownerWait, "held by its owner: ValidatingAdmissionPolicy "+w.name+" says: the night shift is over at six")
	if !w.there(p) {
		t.Error("evicted all the same")
	}
}

func TestPolicyHoldsANode(t *testing.T) {
	w := newWorld(t)
	w.node()
	w.deny("nodes", admissionregv1.Update, fmt.Sprintf("object.metadata.name != %q", w.name), metav1.StatusReasonInvalid)
	var err error
	w.eventually("a refusal", func() bool {
		if err = w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Keep, Run: "r-1", Node: w.name}); err != nil {
			return true
		}
		err = w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Unkeep, Run: "r-1", Node: w.name})
		return err != nil
	})
	w.refused(err, ownerWait, "held by its owner: ValidatingAdmissionPolicy "+w.name+" says: the night shift is over at six")
}

// hook installs a validating webhook for evictions in the test's namespace.
func (w *world) hook(url string, ca []byte) {
	w.Helper()
	hooks := w.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := hooks.Create(w.Context(), &admissionregv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: w.name},
		Webhooks: []admissionregv1.ValidatingWebhook{{
			Name: "owner.example.org", ClientConfig: admissionregv1.WebhookClientConfig{URL: &url, CABundle: ca},
			Rules: []admissionregv1.RuleWithOperations{{Operations: []admissionregv1.OperationType{admissionregv1.Create},
				Rule: admissionregv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods/eviction"}}}},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.name}},
			SideEffects:       new(admissionregv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"}, FailurePolicy: new(admissionregv1.Fail),
		}},
	}, metav1.CreateOptions{})
	w.ok(err)
	w.Cleanup(func() { hooks.Delete(context.Background(), w.name, metav1.DeleteOptions{}) })
}

func TestWebhookHoldsAnEviction(t *testing.T) {
	w := newWorld(t)
	w.node()
	p := w.pod("web-0")
	server := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(in.Body).Decode(&review); err != nil {
			t.Error(err)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{Code: http.StatusUnauthorized, Reason: metav1.StatusReasonUnauthorized, Message: "a backup is running"}}
		json.NewEncoder(out).Encode(review)
	}))
	t.Cleanup(server.Close)
	w.hook(server.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	w.eventually("the webhook", func() bool { return w.rehearse(p) != nil })
	w.refused(w.cluster.Act(t.Context(), evictionOf(p)), ownerWait, "held by its owner: admission webhook owner.example.org says: a backup is running")
}

func TestWebhookThatDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	w.node()
	p := w.pod("web-0")
	w.hook("https://127.0.0.1:1/", nil)
	w.eventually("the webhook", func() bool { return w.rehearse(p) != nil })
	err := w.cluster.Act(t.Context(), evictionOf(p))
	w.refused(err, ownerWait, "does not answer", `"owner.example.org"`)
	if strings.Contains(err.Error(), "PodDisruptionBudget") {
		t.Errorf("blames a budget: %v", err)
	}
}

func TestTaintTouchesNothingElse(t *testing.T) {
	w := newWorld(t)
	w.node()
	since := metav1.NewTime(time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC))
	n := w.edit(func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: "z", Value: "1", Effect: corev1.TaintEffectPreferNoSchedule}, {Key: "a", Effect: corev1.TaintEffectNoExecute, TimeAdded: &since}}
		n.Labels = map[string]string{"team": "web"}
	})
	for _, effect := range []string{fleet.PreferNoSchedule, fleet.NoSchedule, fleet.NoSchedule} {
		w.act(fleet.Action{Verb: fleet.Taint_, Run: "r-1", Effect: effect})
		got := w.getNode()
		want := append(n.DeepCopy().Spec.Taints, corev1.Taint{Key: fleet.TaintKey, Value: "r-1", Effect: corev1.TaintEffect(effect)})
		if !reflect.DeepEqual(got.Spec.Taints, want) || !reflect.DeepEqual(got.Labels, n.Labels) {
			t.Errorf("%s: taints %v, want %v; labels %v", effect, got.Spec.Taints, want, got.Labels)
		}
	}
	for _, run := range []string{"", "r-2"} {
		w.refused(w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Untaint, Node: w.name, Run: run}), ownerWait, `carries the taint of "r-1"`)
	}
	for range 2 {
		w.act(fleet.Action{Verb: fleet.Untaint, Run: "r-1"})
		if got := w.getNode(); !reflect.DeepEqual(got.Spec, n.Spec) || !reflect.DeepEqual(got.Labels, n.Labels) {
			t.Errorf("not as before: %v", got.Spec)
		}
	}
}

func TestConcurrentTaintIsNotLost(t *testing.T) {
	w := newWorld(t)
	w.node()
	tries := 0
	w.ok(w.cluster.patchNode(t.Context(), w.name, plainly(func(n *corev1.Node) change {
		if tries++; tries == 1 { // somebody else, between our read and our write
			w.edit(func(n *corev1.Node) {
				n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "theirs", Effect: corev1.TaintEffectNoSchedule})
			})
		}
		return setTaint(n, "r-1", corev1.TaintEffectNoSchedule)
	})))
	got := w.getNode().Spec.Taints
	if tries < 2 || len(got) != 2 || got[0].Key != "theirs" || got[1].Key != fleet.TaintKey {
		t.Errorf("after %d tries: %v", tries, got)
	}
}

func TestKeepAndExcludeArePutBackExactly(t *testing.T) {
	w := newWorld(t)
	before := w.node()
	same := func(what string, want *corev1.Node) {
		t.Helper()
		if got := w.getNode(); !reflect.DeepEqual(got.Labels, want.Labels) || !reflect.DeepEqual(got.Annotations, want.Annotations) {
			t.Errorf("%s: labels %v, annotations %v; want %v, %v", what, got.Labels, got.Annotations, want.Labels, want.Annotations)
		}
	}
	do := func(run string, verbs ...fleet.Verb) {
		t.Helper()
		for _, v := range verbs {
			w.act(fleet.Action{Verb: v, Run: run})
			w.act(fleet.Action{Verb: v, Run: run}) // already so is success
		}
	}
	do("r-1", fleet.Keep, fleet.Exclude)
	seen := nodeOf(w.getNode())
	if !seen.HeldDown || seen.Kept != "r-1" || !seen.Excluded || seen.OutBy != "r-1" {
		t.Errorf("seen as %+v", seen)
	}
	do("r-2", fleet.Unkeep)
	if !nodeOf(w.getNode()).HeldDown {
		t.Error("another run's request was taken back")
	}
	do("r-1", fleet.Unkeep, fleet.Include)
	same("put back", before)

	theirs := w.edit(func(n *corev1.Node) {
		n.Labels = map[string]string{excludeLabel: "because"}
		n.Annotations = map[string]string{scaleDownDisabled: "because"}
	})
	do("r-1", fleet.Keep, fleet.Exclude, fleet.Unkeep, fleet.Include)
	same("somebody else's", theirs)
}

func TestGoneNodeNeedsNothing(t *testing.T) {
	w := newWorld(t)
	for _, v := range []fleet.Verb{fleet.Untaint, fleet.Keep, fleet.Unkeep, fleet.Exclude, fleet.Include} {
		w.act(fleet.Action{Verb: v, Run: "r-1"})
	}
}

// allow gives a user rights, and returns their configuration.
func (w *world) allow(user string, rules ...rbacv1.PolicyRule) *rest.Config {
	w.Helper()
	roles := w.client.RbacV1()
	_, err := roles.ClusterRoles().Create(w.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: rules}, metav1.CreateOptions{})
	w.ok(err)
	_, err = roles.ClusterRoleBindings().Create(w.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: user},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user}}, metav1.CreateOptions{})
	w.ok(err)
	cfg := rest.CopyConfig(w.cfg)
	cfg.Impersonate.UserName = user
	return cfg
}

var readAll = rbacv1.PolicyRule{APIGroups: []string{"", "apps", "policy", "coordination.k8s.io", "autoscaling", "storage.k8s.io", "drover.dev"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}}

func TestMissingRightIsFatalAndNamed(t *testing.T) {
	w := newWorld(t)
	w.node()
	p := w.pod("web-0")
	name := "reader-" + w.name
	reader := w.allow(name, readAll)
	var weak *Cluster
	w.eventually("the rights", func() bool {
		var err error
		weak, err = Open(t.Context(), reader)
		return err == nil
	})
	fatal := func(err error, words ...string) {
		t.Helper()
		var fatal *fleet.Fatal
		if !errors.As(err, &fatal) {
			t.Errorf("got %T %v", err, err)
			return
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q lacks %q", err, word)
			}
		}
	}
	fatal(weak.Act(t.Context(), evictionOf(p)), `User "`+name+`" cannot create resource "pods/eviction"`, "grant drover that right")
	fatal(weak.Act(t.Context(), fleet.Action{Verb: fleet.Keep, Run: "r-1", Node: w.name}), `cannot patch resource "nodes"`)
	fatal(weak.Alone(t.Context(), "reader", func(string, time.Duration) {}, func(context.Context) error { t.Error("acted"); return nil }), `resource "leases"`)

	nobody := rest.CopyConfig(w.cfg)
	nobody.Impersonate.UserName = "nobody"
	began := time.Now()
	_, err := Open(t.Context(), nobody)
	fatal(err, "list ", `User "nobody" cannot`)
	if took := time.Since(began); took > firstSync/4 {
		t.Errorf("told after %s", took)
	}
	fatal((&Cluster{client: kubernetes.NewForConfigOrDie(nobody)}).Confirm(t.Context(), fleet.Action{Node: w.name, Expect: fleet.Expect{Empty: true}}), `cannot list resource "pods"`)
}

// The lease's story is told in order: there is one lease.
func TestLease(t *testing.T) {
	w := newWorld(t)
	none := func(holder string, _ time.Duration) { t.Errorf("waits for %s", holder) }
	acting := func(want string) {
		t.Helper()
		got, err := w.cluster.Acting(t.Context())
		w.ok(err)
		if got != want {
			t.Errorf("acting: %q, want %q", got, want)
		}
	}
	held := func() string {
		t.Helper()
		l, err := w.cluster.lease(t.Context(), leaseName)
		w.ok(err)
		return holder(l)
	}
	busy := func(err error, want string) {
		t.Helper()
		var busy *Busy
		if !errors.As(err, &busy) || busy.Holder != want {
			t.Errorf("got %v, want Busy with %s", err, want)
		}
	}
	unwanted := func(context.Context) error { t.Error("two act at once"); return nil }
	acting("")

	// A second run looks, and sees the first renew.
	w.ok(w.cluster.Alone(t.Context(), "one", none, func(ctx context.Context) error {
		acting("one")
		looked := ""
		busy(w.cluster.Alone(t.Context(), "two", func(holder string, _ time.Duration) { looked = holder }, unwanted), "one")
		if looked != "one" {
			t.Errorf("looked at %q", looked)
		}
		return ctx.Err()
	}))
	if h := held(); h != "" {
		t.Errorf("after act returned the lease is held by %q", h)
	}

	// Of several that begin at once, one acts and the others are told.
	var wg sync.WaitGroup
	results, done := make(chan error, 3), make(chan struct{})
	for i := range 3 {
		wg.Go(func() {
			err := w.cluster.Alone(t.Context(), fmt.Sprint("rival ", i), func(string, time.Duration) {}, func(context.Context) error { <-done; return nil })
			results <- err
		})
	}
	for range 2 {
		var b *Busy
		if err := <-results; !errors.As(err, &b) || !strings.HasPrefix(b.Holder, "rival ") {
			t.Errorf("a rival got %v", err)
		}
	}
	close(done)
	wg.Wait()
	w.ok(<-results)

	// A run that somebody dispossessed stops, and does not release what is not its own.
	err := w.cluster.Alone(t.Context(), "slow", none, func(ctx context.Context) error {
		w.dispossess(leaseName, "thief")
		<-ctx.Done()
		return ctx.Err()
	})
	if err == nil || !strings.Contains(err.Error(), "lost") || held() != "thief" {
		t.Errorf("got %v, and the lease is held by %q", err, held())
	}

	// The thief never renews: dead. Two wait for its lease; one takes it over about when it is over, and not another leaseDuration later.
	acting("")
	began := time.Now()
	release := make(chan struct{})
	for _, name := range []string{"heir", "late heir"} {
		wg.Go(func() {
			results <- w.cluster.Alone(t.Context(), name, func(string, time.Duration) {}, func(context.Context) error {
				if took := time.Since(began); took < leaseDuration || took > leaseDuration+5*time.Second {
					t.Errorf("took over after %s", took)
				}
				<-release
				return nil
			})
		})
	}
	var b *Busy
	if err := <-results; !errors.As(err, &b) {
		t.Errorf("the second heir got %v", err)
	}
	close(release)
	wg.Wait()
	w.ok(<-results)
	if h := held(); h != "" {
		t.Errorf("in the end the lease is held by %q", h)
	}
}

// One leads, the next waits, and takes over as soon as the first is done, or when it has been silent for long enough.
func TestLead(t *testing.T) {
	w := newWorld(t)
	const name = "drover-lead-test"
	held := func() string {
		t.Helper()
		l, err := w.client.CoordinationV1().Leases(leaseNamespace).Get(t.Context(), name, metav1.GetOptions{})
		w.ok(err)
		return holder(l)
	}
	leads, done, results := make(chan string), make(chan error), make(chan error, 2)
	lead := func(ctx context.Context, identity string) {
		results <- w.cluster.Lead(ctx, identity, name, func(ctx context.Context) error {
			leads <- identity
			select {
			case err := <-done:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}
	within := func(most time.Duration, want string) {
		t.Helper()
		select {
		case got := <-leads:
			if got != want {
				t.Fatalf("%s leads, not %s", got, want)
			}
		case <-time.After(most):
			t.Fatalf("%s does not lead after %s", want, most)
		}
	}
	go lead(t.Context(), "one")
	within(2*renewEvery, "one")
	go lead(t.Context(), "two")
	// Runs go on beside it: theirs is another lease.
	w.ok(w.cluster.Alone(t.Context(), "a run", func(string, time.Duration) {}, func(context.Context) error { return nil }))
	if h := held(); h != "one" {
		t.Errorf("held by %q", h)
	}
	mine := errors.New("my node goes")
	done <- mine
	if err := <-results; err != mine {
		t.Errorf("one got %v", err)
	}
	within(3*renewEvery, "two")

	// Who waits may be told to stop, and never led.
	ctx, cancel := context.WithCancel(t.Context())
	go lead(ctx, "three")
	cancel()
	if err := <-results; !errors.Is(err, context.Canceled) || held() != "two" {
		t.Errorf("three got %v, held by %q", err, held())
	}

	// A leader that somebody dispossessed stops, and leaves the lease to them; they never renew, and are waited out.
	w.dispossess(name, "thief")
	began := time.Now()
	if err := <-results; err == nil || !strings.Contains(err.Error(), "lease kube-system/"+name+": lost") || held() != "thief" {
		t.Errorf("two got %v, held by %q", err, held())
	}
	go lead(t.Context(), "four")
	within(leaseDuration+3*renewEvery+renewDeadline, "four")
	if took := time.Since(began); took < leaseDuration-renewEvery {
		t.Errorf("taken over after %s", took)
	}
	done <- nil
	w.ok(<-results)
	if h := held(); h != "" {
		t.Errorf("in the end held by %q", h)
	}
}

// dispossess writes another holder into the lease, as a run does that took this one for dead.
func (w *world) dispossess(name, by string) {
	w.Helper()
	leases := w.client.CoordinationV1().Leases(leaseNamespace)
	w.eventually("the lease taken", func() bool {
		l, err := leases.Get(w.Context(), name, metav1.GetOptions{})
		w.ok(err)
		l.Spec = coordinationv1.LeaseSpec{HolderIdentity: &by, LeaseDurationSeconds: new(int32(leaseDuration / time.Second)), RenewTime: new(metav1.NowMicro()), AcquireTime: new(metav1.NowMicro())}
		_, err = leases.Update(w.Context(), l, metav1.UpdateOptions{})
		return err == nil
	})
}

func TestFence(t *testing.T) {
	within := func(at *time.Time) error {
		l := &lock{}
		l.renewed.Store(at)
		return Fence(context.WithValue(t.Context(), fence{}, l))
	}
	now := time.Now()
	old, asleep := now.Add(-renewEvery-renewDeadline-time.Second), now.Round(0).Add(-time.Hour)
	for name, tc := range map[string]struct {
		at   *time.Time
		acts bool
	}{"renewed a moment ago": {&now, true}, "not renewed in time": {&old, false}, "the machine slept": {&asleep, false}, "never held": {nil, false}} {
		if err := within(tc.at); (err == nil) != tc.acts || err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Fence(t.Context()); err != nil {
		t.Error("under no lease at all:", err)
	}
}
