package machine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"drover.dev/sandbox/plane"
)

// These tests run against one real control plane, started by the first that needs it.
var (
	startPlane = sync.OnceValues(func() (*plane.Plane, error) {
		dir, err := os.MkdirTemp("", "machine-test-")
		if err != nil {
			return nil, err
		}
		planeDir = dir
		return plane.Start(context.Background(), plane.Options{Dir: dir, Progress: os.Stderr})
	})
	planeDir string
	nets     atomic.Int32 // each world has machines of its own, so each needs addresses of its own
)

func TestMain(m *testing.M) {
	if runWorkload() { // see workload_test.go
		return
	}
	code := m.Run()
	if planeDir != "" {
		if p, err := startPlane(); err == nil {
			p.Stop()
		}
		os.RemoveAll(planeDir)
	}
	os.Exit(code)
}

// world is a manager and a namespace on the shared control plane.
type world struct {
	t      *testing.T
	m      *Manager
	client kubernetes.Interface
	ns     string
	net    int32
	calls  *calls
}

// calls counts the API calls of a manager by verb and kind.
type calls struct {
	next  http.RoundTripper
	mu    sync.Mutex
	count map[string]int
}

func (c *calls) RoundTrip(r *http.Request) (*http.Response, error) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	kind := "other"
	for _, k := range []string{"pods", "nodes", "leases"} {
		for _, p := range parts {
			if p == k {
				kind = k
			}
		}
	}
	c.mu.Lock()
	c.count[r.Method+" "+kind]++
	c.mu.Unlock()
	return c.next.RoundTrip(r)
}

func (c *calls) of(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count[what]
}

func newWorld(t *testing.T, o Options) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a control plane")
	}
	t.Parallel()
	p, err := startPlane()
	if err != nil {
		t.Fatal(err)
	}
	count := &calls{count: map[string]int{}}
	net := nets.Add(1)
	config := p.Config()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { count.next = next; return count })
	if o.Client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, calls: count, ns: fmt.Sprintf("t%d", net), net: net}
	if w.client, err = kubernetes.NewForConfig(p.Config()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("the default service account", func() error {
		_, err := w.client.CoreV1().ServiceAccounts(w.ns).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	o.Dir, o.Streams = t.TempDir(), p.MachineTLS
	log := &logWriter{t: t}
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	if w.m, err = New(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		w.m.Close()
		log.stop()
		for _, mach := range w.m.Machines() {
			if err := w.client.CoreV1().Nodes().Delete(ctx, mach.spec.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				t.Error(err)
			}
		}
		if err := w.client.CoreV1().Namespaces().Delete(ctx, w.ns, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return w
}

// logWriter is t.Log that keeps quiet once the test is over.
type logWriter struct {
	mu   sync.Mutex
	t    *testing.T
	done bool
}

func (l *logWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.done {
		l.t.Log(string(bytes.TrimSpace(b)))
	}
	return len(b), nil
}

func (l *logWriter) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
}

// boot starts machine i of this world; its pods only come from this world, by a taint.
func (w *world) boot(i int) *Machine {
	w.t.Helper()
	mach, err := w.m.Boot(Spec{
		Name: fmt.Sprintf("%s-n%d", w.ns, i), InstanceID: fmt.Sprintf("i-%s%d", w.ns, i), Zone: "eu-west-1a", Region: "eu-west-1",
		InstanceType: "m5.large", NodeIP: fmt.Sprintf("127.%d.%d.1", 39+w.net, i),
		Labels: map[string]string{"world": w.ns},
		Taints: []corev1.Taint{{Key: "world", Value: w.ns, Effect: corev1.TaintEffectNoSchedule}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return mach
}

// template is a pod for this world's machines.
func (w *world) template(app string, annotations map[string]string, c corev1.Container) corev1.PodTemplateSpec {
	c.Name = "main"
	if c.Image == "" {
		c.Image = app
	}
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}, Annotations: annotations},
		Spec: corev1.PodSpec{
			NodeSelector:                  map[string]string{"world": w.ns},
			Tolerations:                   []corev1.Toleration{{Key: "world", Operator: corev1.TolerationOpExists}},
			TerminationGracePeriodSeconds: ptr(int64(30)),
			Containers:                    []corev1.Container{c},
		},
	}
}

func ptr[T any](v T) *T { return &v }

func (w *world) deploy(app string, replicas int32, template corev1.PodTemplateSpec) {
	w.t.Helper()
	_, err := w.client.AppsV1().Deployments(w.ns).Create(w.t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Template: template,
			Selector: &metav1.LabelSelector{MatchLabels: template.Labels},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pods() []corev1.Pod {
	w.t.Helper()
	list, err := w.client.CoreV1().Pods(w.ns).List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

func isReady(p *corev1.Pod) bool {
	c := condition(p, corev1.PodReady)
	return c != nil && c.Status == corev1.ConditionTrue
}

func (w *world) ready(n int) []corev1.Pod {
	w.t.Helper()
	var out []corev1.Pod
	w.eventually(fmt.Sprintf("%d ready pods", n), func() error {
		out = nil
		all := w.pods()
		for _, p := range all {
			if isReady(&p) && p.DeletionTimestamp == nil {
				out = append(out, p)
			}
		}
		if len(out) != n {
			why := ""
			if len(all) > 0 {
				why = fmt.Sprintf("; the first is %s: %+v %+v", all[0].Status.Phase, all[0].Status.Conditions, all[0].Status.ContainerStatuses)
			}
			return fmt.Errorf("%d of %d are%s", len(out), len(all), why)
		}
		return nil
	})
	return out
}

// eventually asks often and waits long: it is quick when all is well, and never fails for want of a little patience.
func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	var err error
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(25 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	w.t.Fatalf("waited 3m for %s: %v", what, err)
}

func TestNodeBecomesReadyAndKeepsWhatOthersPutOnIt(t *testing.T) {
	w := newWorld(t, Options{})
	mach := w.boot(1)
	nodes := w.client.CoreV1().Nodes()
	name := mach.spec.Name
	_, err := nodes.Patch(t.Context(), name, "application/merge-patch+json", []byte(`{"metadata":{"labels":{"team":"blue"},"annotations":{"note":"mine"}}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var node *corev1.Node
	w.eventually("a ready node without start-up taints", func() error {
		if node, err = nodes.Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue && len(node.Spec.Taints) == 1 {
				return nil
			}
		}
		return fmt.Errorf("taints %v, conditions %v", node.Spec.Taints, node.Status.Conditions)
	})
	if node.Labels["team"] != "blue" || node.Annotations["note"] != "mine" || node.Spec.Taints[0].Key != "world" {
		t.Errorf("labels %v, annotations %v, taints %v: somebody else's are missing", node.Labels, node.Annotations, node.Spec.Taints)
	}
	if got, want := node.Spec.ProviderID, "aws:///eu-west-1a/"+mach.spec.InstanceID; got != want {
		t.Errorf("providerID %s, want %s", got, want)
	}
	if got := node.Status.Allocatable.Cpu().MilliValue(); got != 1930 {
		t.Errorf("an m5.large has %dm allocatable, want EKS's 1930m", got)
	}
	lease, err := w.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil || lease.Spec.RenewTime == nil || time.Since(lease.Spec.RenewTime.Time) > leaseSeconds*time.Second {
		t.Errorf("lease %+v, %v: want one renewed lately", lease, err)
	}
	if got, err := w.m.Boot(mach.spec); err == nil {
		t.Errorf("a second machine %s booted beside the first", got.spec.Name)
	}
	if err := w.m.Remove(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes.Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the node after Remove: %v, want not found", err)
	}
}

func TestDeploymentPodsLiveAndRollOver(t *testing.T) {
	w := newWorld(t, Options{Speed: 5})
	w.boot(1)
	w.deploy("web", 3, w.template("web", nil, corev1.Container{}))
	for _, p := range w.ready(3) {
		if !strings.HasPrefix(p.Status.PodIP, "10.4") || p.Status.Phase != corev1.PodRunning || p.Status.StartTime == nil {
			t.Errorf("pod %s: phase %s, address %s, start %v", p.Name, p.Status.Phase, p.Status.PodIP, p.Status.StartTime)
		}
	}
	old := w.pods()[0]
	if err := w.client.CoreV1().Pods(w.ns).Delete(t.Context(), old.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("the deleted pod to be gone", func() error {
		_, err := w.client.CoreV1().Pods(w.ns).Get(t.Context(), old.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("get: %v", err)
	})
	w.ready(3)
}

func TestJobSucceeds(t *testing.T) {
	w := newWorld(t, Options{Speed: 10})
	w.boot(1)
	template := w.template("once", nil, corev1.Container{})
	template.Spec.RestartPolicy = corev1.RestartPolicyNever
	if _, err := w.client.BatchV1().Jobs(w.ns).Create(t.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "once"}, Spec: batchv1.JobSpec{Template: template},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("the job to complete", func() error {
		j, err := w.client.BatchV1().Jobs(w.ns).Get(t.Context(), "once", metav1.GetOptions{})
		if err != nil || j.Status.Succeeded != 1 || j.Status.CompletionTime == nil {
			return fmt.Errorf("%+v, %v", j.Status, err)
		}
		return nil
	})
}

// A dead machine's pods look as they did until somebody else says otherwise; with the node gone, the garbage collector does.
func TestKillIsSilentAndRemoveLetsTheGarbageCollectorFinish(t *testing.T) {
	w := newWorld(t, Options{Speed: 5})
	w.boot(1)
	w.deploy("web", 2, w.template("web", nil, corev1.Container{}))
	before := w.ready(2)
	mach := w.boot(2)
	w.m.Kill(before[0].Spec.NodeName)
	for _, p := range before {
		now, err := w.client.CoreV1().Pods(w.ns).Get(t.Context(), p.Name, metav1.GetOptions{})
		if err != nil || !isReady(now) || now.ResourceVersion != p.ResourceVersion {
			t.Errorf("pod %s changed by a silent death: %v, %v", p.Name, now.Status.Phase, err)
		}
	}
	if err := w.client.CoreV1().Pods(w.ns).Delete(t.Context(), before[0].Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	removed := time.Now()
	if err := w.m.Remove(t.Context(), before[0].Spec.NodeName); err != nil {
		t.Fatal(err)
	}
	w.eventually("the dead machine's pods to be collected and replaced", func() error {
		for _, p := range w.pods() {
			if p.Spec.NodeName != mach.spec.Name {
				return fmt.Errorf("%s is on %q: %s", p.Name, p.Spec.NodeName, p.Status.Phase)
			}
		}
		return nil
	})
	t.Logf("the garbage collector took %v", time.Since(removed).Round(time.Second))
	w.ready(2)
}

func TestManyMachinesAndPodsTakeFewCalls(t *testing.T) {
	const machines, pods = 20, 200
	w := newWorld(t, Options{})
	start := time.Now()
	var booting sync.WaitGroup
	for i := range machines {
		booting.Go(func() { w.boot(i) })
	}
	booting.Wait()
	w.deploy("web", pods, w.template("web", nil, corev1.Container{}))
	w.ready(pods)
	t.Logf("%d machines and %d pods ready after %v; calls: %v", machines, pods, time.Since(start).Round(10*time.Millisecond), w.calls.count)
	// Created, running, ready: three statuses each, and one for when the control plane wrote over one.
	if n := w.calls.of("PATCH pods"); n > 4*pods {
		t.Errorf("%d status writes for %d pods, want at most %d", n, pods, 4*pods)
	}
	if n := w.calls.of("PATCH nodes") + w.calls.of("GET nodes"); n > 6*machines {
		t.Errorf("%d node calls for %d machines, want at most %d", n, machines, 6*machines)
	}
}

func get(url string) (string, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

// The whole way: a Deployment's real processes behind a node port, on every machine, until a machine is killed.
func TestNodePortReachesProcessPods(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, Options{Path: []string{filepath.Dir(self)}})
	w.boot(1)
	w.boot(2)
	template := w.template("web", map[string]string{AnnotationProcess: "true", AnnotationPull: "0s"}, corev1.Container{
		Command: []string{filepath.Base(self), "http"},
		Args:    []string{"$(POD_IP):8080", "$(POD_NAME)"},
		Env: []corev1.EnvVar{
			{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
			{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
		},
		Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("http")}}},
	})
	template.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: &metav1.LabelSelector{MatchLabels: template.Labels}}}
	w.eventually("both nodes to be ready", func() error {
		for _, mach := range w.m.Machines() {
			n, err := w.client.CoreV1().Nodes().Get(t.Context(), mach.spec.Name, metav1.GetOptions{})
			if err != nil || len(n.Spec.Taints) != 1 {
				return fmt.Errorf("%v %v", n.Spec.Taints, err)
			}
		}
		return nil
	})
	w.deploy("web", 2, template)
	service, err := w.client.CoreV1().Services(w.ns).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: template.Labels, Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pods := w.ready(2)
	if pods[0].Spec.NodeName == pods[1].Spec.NodeName {
		t.Fatalf("both pods are on %s", pods[0].Spec.NodeName)
	}
	port := service.Spec.Ports[0].NodePort
	url := func(mach *Machine) string { return fmt.Sprintf("http://%s:%d/", mach.spec.NodeIP, port) }
	for _, mach := range w.m.Machines() {
		w.eventually("both pods to answer at "+url(mach), func() error {
			seen := map[string]bool{}
			for range 20 {
				name, err := get(url(mach))
				if err != nil {
					return err
				}
				seen[name] = true
			}
			if !seen[pods[0].Name] || !seen[pods[1].Name] {
				return fmt.Errorf("only %v answered", seen)
			}
			return nil
		})
	}
	direct := net.JoinHostPort(DialAddress(pods[0].Status.PodIP), "8080")
	if name, err := get("http://" + direct); name != pods[0].Name {
		t.Errorf("%s says %q, %v; want %s", direct, name, err, pods[0].Name)
	}

	// A connection that is open through a machine's node port when the machine dies is reset.
	dead, alive := w.m.machine(pods[0].Spec.NodeName), w.m.machine(pods[1].Spec.NodeName)
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url(dead), "http://"), "/"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
	w.m.Kill(dead.spec.Name)
	if _, err := io.ReadAll(conn); err == nil {
		t.Error("the connection through the dead machine ended politely, want a reset")
	}
	if _, err := get(url(dead)); err == nil {
		t.Error("the dead machine still answers")
	}
	if _, err := net.Dial("tcp", direct); err == nil {
		t.Error("the dead machine's pod still listens")
	}
	w.eventually("the other machine's pod to answer", func() error {
		name, err := get(url(alive))
		if name != pods[1].Name {
			return fmt.Errorf("%q, %v", name, err)
		}
		return nil
	})
}
