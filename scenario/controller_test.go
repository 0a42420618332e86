package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"drover.dev/api/v1alpha1"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/witness"
)

// noticeQueue is what drover setup calls the queue of a cluster named sandbox.
const noticeQueue = "drover-sandbox"

// controlled is drover controller, as a process.
type controlled struct {
	s       *story
	cmd     *exec.Cmd
	address string
	ended   chan struct{}

	mu   sync.Mutex
	said []string
}

// pipe sets up what brings notices about groups, and takes the hooks away again in the end, so that the groups can be deleted at once.
func (s *story) pipe(groups ...string) {
	s.Helper()
	s.want(s.drover(append([]string{"setup", "--cluster-name", "sandbox", "--yes"}, groups...)...), 0)
	s.Cleanup(func() {
		for _, g := range groups {
			s.Cloud.DeleteLifecycleHook(g, "drover-terminate")
		}
	})
}

// control starts a controller. It has to be stopped.
func (s *story) control(args ...string) *controlled {
	s.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.ok(err)
	c := &controlled{s: s, address: l.Addr().String(), ended: make(chan struct{})}
	s.ok(l.Close())
	cmd, lines := s.start(append([]string{"controller", "--cluster-name", "sandbox", "--queue", noticeQueue, "--listen", c.address}, args...)...)
	c.cmd = cmd
	go func() {
		defer close(c.ended)
		for lines.Scan() {
			c.mu.Lock()
			c.said = append(c.said, lines.Text())
			c.mu.Unlock()
		}
	}()
	return c
}

// lead starts a controller and waits until it leads.
func (s *story) lead(args ...string) *controlled {
	s.Helper()
	c := s.control(args...)
	s.until("a controller leads", func() string { return c.missing("  leads") })
	return c
}

// stop ends the controller as Kubernetes would, so that its lease is free at once.
func (c *controlled) stop() {
	if c.cmd.Process.Signal(syscall.SIGTERM) == nil {
		defer func() {
			if code := c.cmd.ProcessState.ExitCode(); code != 0 {
				c.s.Errorf("the controller (pid %d) ended with exit code %d", c.cmd.Process.Pid, code)
			}
		}()
	}
	<-c.ended
	if text := c.log(); strings.Contains(text, "panic:") || c.s.Failed() {
		c.s.Errorf("the controller (pid %d) said:\n%s", c.cmd.Process.Pid, text)
	}
}

func (c *controlled) log() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.said, "\n")
}

// says counts the lines that hold all of the words.
func (c *controlled) says(words ...string) (n int) {
	for _, line := range strings.Split(c.log(), "\n") {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			n++
		}
	}
	return n
}

func (c *controlled) missing(words ...string) string {
	if c.says(words...) > 0 {
		return ""
	}
	return fmt.Sprintf("the controller has not said %q:\n%s", words, c.log())
}

// ask reads a page of the controller.
func (c *controlled) ask(path string) string {
	c.s.Helper()
	resp, err := http.Get("http://" + c.address + path)
	c.s.ok(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	c.s.ok(err)
	if resp.StatusCode != http.StatusOK {
		c.s.Fatalf("%s: %s: %s", path, resp.Status, b)
	}
	return string(b)
}

// idOf is the instance of a node.
func (s *story) idOf(node string) string {
	s.Helper()
	n, err := s.Client().CoreV1().Nodes().Get(s.ctx, node, metav1.GetOptions{})
	s.ok(err)
	return filepath.Base(n.Spec.ProviderID)
}

// departure is what is on file about an instance.
func (s *story) departure(id string) (d v1alpha1.Departure, there bool) {
	s.Helper()
	raw, err := s.Client().CoreV1().RESTClient().Get().AbsPath("/apis/drover.dev/v1alpha1/departures/" + id).DoRaw(s.ctx)
	if apierrors.IsNotFound(err) {
		return d, false
	}
	s.ok(err)
	s.ok(json.Unmarshal(raw, &d))
	return d, true
}

// remains says what is left to do until an instance is gone, its node with it, and its departure over.
func (s *story) remains(id, node string) string {
	s.Helper()
	if _, err := s.Client().CoreV1().Nodes().Get(s.ctx, node, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return fmt.Sprintf("node %s is there (%v)", node, err)
	}
	if in, ok := s.Cloud.Instance(id); ok && !in.Gone() {
		return "instance " + id + " runs"
	}
	if d, ok := s.departure(id); !ok || d.Status.Marks.Ended.IsZero() {
		return fmt.Sprintf("the departure of %s is not over: phase %q, waiting %q", id, d.Status.Phase, d.Status.Waiting)
	}
	return ""
}

// queued is how many messages a queue holds, in flight or not.
func (s *story) queued(queue string) (url string, held []cloud.Message) {
	s.Helper()
	url, err := s.Cloud.GetQueueUrl(queue)
	s.ok(err)
	held, err = s.Cloud.Queued(url)
	s.ok(err)
	return url, held
}

func (s *story) do(deed string, args ...string) string {
	s.Helper()
	said, err := s.Do(deed, args)
	s.ok(err)
	return said
}

// moving lists the pods on a node that have to leave it.
func (s *story) moving(node string) (names []string) {
	s.Helper()
	list, err := s.Client().CoreV1().Pods("default").List(s.ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	s.ok(err)
	for _, p := range list.Items {
		names = append(names, p.Name)
	}
	return names
}

func (s *story) watched(nodes []string) *witness.Witness {
	s.Helper()
	w, err := witness.Start(s.ctx, s.Client(), nodes)
	s.ok(err)
	return w
}

func (s *story) unbroken(w *witness.Witness) {
	s.Helper()
	for _, b := range w.Report().Breaks {
		s.Error(b)
	}
}

// heedful makes a Deployment of real processes, one a node, that write down their SIGTERM in a folder.
func (s *story) heedful(name string, replicas, least int, pool string) (folder string) {
	s.Helper()
	folder = s.TempDir()
	app, n, grace, min := map[string]string{"app": name}, int32(replicas), int64(10), intstr.FromInt(least)
	_, err := s.Client().AppsV1().Deployments("default").Create(s.ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: appsv1.DeploymentSpec{Replicas: &n, Selector: &metav1.LabelSelector{MatchLabels: app}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: app, Annotations: map[string]string{"sandbox.drover.dev/process": "true"}},
			Spec: corev1.PodSpec{
				NodeSelector: map[string]string{"pool": pool}, TerminationGracePeriodSeconds: &grace,
				TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
					MaxSkew: 1, TopologyKey: "kubernetes.io/hostname", WhenUnsatisfiable: corev1.ScheduleAnyway, LabelSelector: &metav1.LabelSelector{MatchLabels: app},
				}},
				Containers: []corev1.Container{{
					Name: "main", Image: "example.com/" + name, Command: []string{"sh", "-c", `trap 'echo TERM > ` + folder + `/$POD_NAME; exit 0' TERM; while :; do sleep 0.2; done`},
					Env: []corev1.EnvVar{{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}},
				}},
			},
		}},
	}, metav1.CreateOptions{})
	s.ok(err)
	s.Cleanup(func() { s.remove(name) })
	_, err = s.Client().PolicyV1().PodDisruptionBudgets("default").Create(s.ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &min, Selector: &metav1.LabelSelector{MatchLabels: app}},
	}, metav1.CreateOptions{})
	s.ok(err)
	s.until(name+" is ready", func() string { return s.unready(name, replicas, least) })
	return folder
}

// remove deletes a Deployment of process pods with its budget, and waits until its pods are gone.
func (s *story) remove(name string) {
	ctx, away := context.Background(), metav1.DeletePropagationForeground
	s.Client().AppsV1().Deployments("default").Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &away})
	s.Client().PolicyV1().PodDisruptionBudgets("default").Delete(ctx, name, metav1.DeleteOptions{})
	wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		list, err := s.Client().CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
		return err == nil && len(list.Items) == 0, nil
	})
}

// Somebody takes the capacity back, and somebody ends an instance in the console: the processes on both get their SIGTERM, within their budget,
// before the machines go, and afterwards anybody can read what happened. A test message comes through meanwhile.
func TestControllerScaleInAndTerminate(t *testing.T) {
	s := tell(t)
	s.group("noticed", 4, 6)
	heard := s.heedful("heedful", 4, 3, "noticed")
	s.deploy("movers", 6, 4, "noticed")
	s.pipe("noticed")
	c := s.lead()
	defer c.stop()
	s.want(s.drover("check", "noticed", "--cluster-name", "sandbox"), 0, "A test message came through in ", "received by controller")
	if got := c.ask("/healthz"); got != "ok\n" {
		t.Errorf("/healthz says %q", got)
	}

	nodes := s.nodeNames("noticed")
	ids, on := map[string]string{}, map[string][]string{}
	for _, n := range nodes {
		ids[n] = s.idOf(n)
		on[n] = s.moving(n)
	}
	w := s.watched(nodes)
	console := nodes[0]
	s.do("terminate", console)
	s.do("scale", "noticed", "2")
	var gone []string
	s.until("two nodes are gone", func() string {
		gone = nil
		for _, n := range nodes {
			if s.remains(ids[n], n) == "" {
				gone = append(gone, n)
			}
		}
		if len(gone) < 2 {
			return fmt.Sprintf("gone: %v; %s", gone, s.remains(ids[console], console))
		}
		return ""
	})
	if len(gone) != 2 || !slices.Contains(gone, console) {
		t.Errorf("gone: %v, want %s and one more", gone, console)
	}
	s.unbroken(w)
	told := 0
	for _, n := range gone {
		for _, pod := range on[n] {
			if _, err := os.Stat(filepath.Join(heard, pod)); err == nil {
				told++
			} else if strings.HasPrefix(pod, "heedful-") {
				t.Errorf("process of pod %s got no SIGTERM: %v", pod, err)
			}
		}
	}
	if told == 0 {
		t.Errorf("no process was on %v: %v", gone, on)
	}
	if waits := s.Cloud.LifecycleWaits(); len(waits) > 0 {
		t.Errorf("hooks still wait: %+v", waits)
	}
	if c.says("  done ", "complete hook drover-terminate of "+ids[console], "CONTINUE") != 1 {
		t.Errorf("the hook of %s was not completed once:\n%s", ids[console], c.log())
	}
	s.until("the queue is empty", func() string {
		if _, held := s.queued(noticeQueue); len(held) > 0 {
			return fmt.Sprintf("%d messages, the first: %s", len(held), held[0].Body)
		}
		return ""
	})
	if got := c.ask("/metrics"); !strings.Contains(got, `drover_hook_completions_total{result="done"} 2`) || !strings.Contains(got, "drover_pods_killed_total 0") {
		t.Errorf("the metrics do not tell of 2 hooks completed and no pod killed:\n%s", got)
	}
	s.want(s.drover("history", "node", console), 0, ids[console], "it is not in the cluster any more",
		"terminate-hook was heard through eventbridge", "shut node "+console, "evict pod default/heedful-", "complete hook drover-terminate", "CONTINUE",
		"auto scaling", "taken out of service in response to a user request", "kubernetes event of drover", "over: gone")
}

// What AWS gives two minutes for is empty by then; what it said and nobody heard is found by asking; what nobody understands is set aside and in
// nobody's way.
func TestControllerSpotLostAndPoison(t *testing.T) {
	s := tell(t)
	s.group("fragile", 4, 6)
	s.deploy("carried", 6, 5, "fragile")
	s.pipe("fragile")
	c := s.lead()
	defer c.stop()
	nodes := s.nodeNames("fragile")
	w := s.watched(nodes)

	began := time.Now()
	s.do("spot", nodes[0])
	s.until("the spot node is empty", func() string {
		if left := s.moving(nodes[0]); len(left) > 0 {
			return fmt.Sprint(left)
		}
		return c.missing("  done ", "shut node "+nodes[0])
	})
	took := time.Since(began)
	if took > time.Minute {
		t.Errorf("empty after %s; EC2 gives 120 s, and the pods needed some 10", took)
	}
	t.Logf("spot node empty after %s", took.Round(100*time.Millisecond))

	url, _ := s.queued(noticeQueue)
	for _, body := range []string{"no JSON at all", `{"version":"0","source":"aws.autoscaling","detail-type":"EC2 Instance-terminate Lifecycle Action","detail":null}`} {
		_, err := s.Cloud.SendMessage(url, cloud.Outgoing{Body: body})
		s.ok(err)
	}
	s.until("both are set aside", func() string {
		_, dead := s.queued(noticeQueue + "-dead")
		_, alive := s.queued(noticeQueue)
		if len(dead) != 2 || len(alive) > 0 {
			return fmt.Sprintf("%d set aside, %d left in the queue", len(dead), len(alive))
		}
		return ""
	})
	if got := c.ask("/metrics"); !strings.Contains(got, "drover_poison_messages_total 2") {
		t.Errorf("the metrics do not count 2:\n%s", got)
	}

	s.do("lose", noticeQueue, "1")
	id := s.idOf(nodes[1])
	began = time.Now()
	s.do("terminate", nodes[1])
	s.until("the lost message is made up for", func() string { return c.missing("  done ", "shut node "+nodes[1]) })
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("found after %s", took)
	}
	if d, _ := s.departure(id); len(d.Spec.Signals) == 0 || d.Spec.Signals[0].Source != "sweep" {
		t.Errorf("not found by the sweep: %+v", d.Spec.Signals)
	}
	s.until("its node is gone", func() string { return s.remains(id, nodes[1]) })
	s.unbroken(w)
}

// Killed after its first eviction, a controller is followed by the one that stands by; one that is held up past its lease does nothing more when
// it goes on.
func TestControllerFollowed(t *testing.T) {
	s := tell(t)
	s.group("handed", 3, 6)
	s.deploy("baton", 8, 7, "handed")
	s.pipe("handed")
	first := s.lead()
	defer first.stop()
	second := s.control()
	defer second.stop()
	s.until("the other stands by", func() string { return second.missing("waits to lead") })
	nodes := s.nodeNames("handed")
	w := s.watched(nodes)

	id := s.idOf(nodes[0])
	s.do("terminate", nodes[0])
	s.until("a pod is evicted", func() string { return first.missing("  done ", "evict pod") })
	s.ok(first.cmd.Process.Kill())
	if second.says("  leads")+second.says("  done ") > 0 {
		t.Errorf("two acted at once:\n%s\n\n%s", first.log(), second.log())
	}
	s.until("the second finishes", func() string { return s.remains(id, nodes[0]) })
	if first.says("complete hook") > 0 || second.says("  done ", "complete hook drover-terminate of "+id) != 1 {
		t.Errorf("the hook was not completed by the second:\n%s\n\n%s", first.log(), second.log())
	}

	s.unbroken(w)
}

// A leader that is held up past its lease does nothing more when it goes on: another leads by then.
func TestControllerHeldUp(t *testing.T) {
	s := tell(t)
	s.group("frozen", 3, 6)
	s.deploy("torch", 8, 7, "frozen")
	s.pipe("frozen")
	first := s.lead()
	defer first.stop()
	second := s.control()
	defer second.stop()
	s.until("the other stands by", func() string { return second.missing("waits to lead") })
	nodes := s.nodeNames("frozen")
	w := s.watched(nodes)

	s.ok(first.cmd.Process.Signal(syscall.SIGSTOP))
	resume := sync.OnceFunc(func() { first.cmd.Process.Signal(syscall.SIGCONT) })
	defer resume()
	id := s.idOf(nodes[0])
	s.do("terminate", nodes[0])
	s.until("the second evicts", func() string { return second.missing("  done ", "evict pod") })
	resume()
	s.until("the second finishes", func() string { return s.remains(id, nodes[0]) })
	if n := first.says("  done "); n > 0 {
		t.Errorf("the first acted %d times after its lease was another's:\n%s", n, first.log())
	}
	s.unbroken(w)
}

// Where AWS leaves time, the replacement comes first; what it takes back leaves a node exactly as it was.
func TestControllerReplacesFirst(t *testing.T) {
	s := tell(t)
	s.group("early", 3, 6)
	s.deploy("settled", 4, 3, "early")
	s.pipe("early")
	c := s.lead()
	defer c.stop()
	nodes := s.nodeNames("early")
	w := s.watched(nodes)

	get := func(name string) string {
		n, err := s.Client().CoreV1().Nodes().Get(s.ctx, name, metav1.GetOptions{})
		s.ok(err)
		return fmt.Sprint(n.Spec.Taints, n.Spec.Unschedulable, n.Labels, n.Annotations)
	}
	before, targets := get(nodes[2]), s.settings("early")
	said := s.do("schedule", nodes[2], "20m")
	s.until("the node is shut", func() string { return c.missing("  done ", "shut node "+nodes[2]) })
	s.do("cancel", said[strings.LastIndex(said, " ")+1:])
	s.until("the node is given back", func() string { return c.missing("  done ", "file departure of "+s.idOf(nodes[2]), "stays") })
	if after := get(nodes[2]); after != before {
		t.Errorf("not given back as it was:\n%s\n%s", before, after)
	}
	s.until("its group is as it was", func() string {
		if now := s.settings("early"); now != targets {
			return now
		}
		return ""
	})

	working := s.working("early")
	ids := []string{s.idOf(nodes[0]), s.idOf(nodes[1])}
	_, err := s.Cloud.ScheduleEvent("instance-retirement", time.Now().Add(3*time.Hour), "with a fraction of a second, which no message carries", ids[0])
	s.ok(err)
	s.do("recommend", nodes[1])
	least := working
	s.until("both nodes are replaced", func() string {
		least = min(least, s.working("early"))
		for i, id := range ids {
			if left := s.remains(id, nodes[i]); left != "" {
				return left
			}
		}
		if g := s.asg("early"); g.Desired != 3 || len(g.Members) != 3 || len(g.Suspended) != 0 {
			return fmt.Sprintf("desired %d, %d members, suspended %v", g.Desired, len(g.Members), g.Suspended)
		}
		return ""
	})
	for _, id := range ids {
		if d, _ := s.departure(id); d.Generation > 20 {
			t.Errorf("the departure of %s was changed %d times: it is heard anew for ever", id, d.Generation)
		}
	}
	s.idOf(nodes[2]) // there still: the replacements left the zones even, and AZRebalance nothing to do
	if least < working {
		t.Errorf("%d nodes worked at one moment, %d before", least, working)
	}
	s.unbroken(w)
}

// working counts a group's Ready nodes in service.
func (s *story) working(group string) int { return (&realStage{story: s}).working(group) }

// What it costs to empty one node: every call to the API server is counted on its way.
func TestControllerCalls(t *testing.T) {
	s := tell(t)
	const pods = 8
	s.group("counted", 1, 3)
	s.deploy("sum", pods, 0, "counted")
	node := s.nodeNames("counted")[0]
	id := s.idOf(node)
	s.ok(s.Cloud.SetDesiredCapacity("counted", 2, false))
	s.until("there is a second node", func() string { return s.notReady("counted", 2, s.asg("counted").TargetGroups[0]) })
	s.pipe("counted")
	kubeconfig, counted := s.counting()
	c := s.lead("--kubeconfig", kubeconfig, "--environments=false") // whose watches begin some time after its start
	defer c.stop()
	counted() // what it asks at the start
	before := awsCalls(c.ask("/metrics"))
	s.do("terminate", node)
	s.until("the node is gone", func() string { return s.remains(id, node) })
	calls := counted()
	for call, n := range awsCalls(c.ask("/metrics")) {
		if n -= before[call]; n > 0 {
			calls["AWS "+call] = n
		}
	}
	if n := calls["AWS CompleteLifecycleAction"]; n != 1 || calls["AWS DeregisterTargets"] > 1 {
		t.Errorf("%d calls complete the hook, %d leave the target group; want 1 each, or none where Auto Scaling was first", n, calls["AWS DeregisterTargets"])
	}
	total, told := 0, 0
	for _, call := range slices.Sorted(maps.Keys(calls)) {
		n := calls[call]
		switch {
		case strings.Contains(call, "/leases/"), strings.HasPrefix(call, "AWS "): // every few seconds, whatever happens
		case strings.Contains(call, "/events") || strings.Contains(call, "/status"):
			told += n // what people are told, and what is filed
		default:
			total += n
		}
		t.Logf("%3d %s", n, call)
	}
	t.Logf("%d calls to empty a node of %d pods, and %d to tell of it", total, pods, told)
	if total > pods+8 { // shut, file, file that it is over, a look at what is left; and what is written again because somebody else was first
		t.Errorf("%d calls to act on %d pods", total, pods)
	}
	if told > 3*pods+6 {
		t.Errorf("%d calls to tell of %d pods", told, pods)
	}
}

// awsCalls reads from the metrics how often an action of AWS was called.
func awsCalls(metrics string) map[string]int {
	out := map[string]int{}
	for _, m := range regexp.MustCompile(`drover_aws_calls_total\{action="(\w+)",code="OK"\} (\d+)`).FindAllStringSubmatch(metrics, -1) {
		out[m[1]], _ = strconv.Atoi(m[2])
	}
	return out
}

// counting is a way to the API server on which calls are counted by kind. What it returns says how many there were since it was last called.
func (s *story) counting() (kubeconfig string, counted func() map[string]int) {
	s.Helper()
	way, err := rest.TransportFor(s.Plane.Config())
	s.ok(err)
	host, err := url.Parse(s.Plane.Config().Host)
	s.ok(err)
	proxy := httputil.NewSingleHostReverseProxy(host)
	proxy.Transport, proxy.FlushInterval = way, -1
	var mu sync.Mutex
	calls := map[string]int{}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		calls[kindOf(r)]++
		mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	s.Cleanup(front.CloseClientConnections)
	kubeconfig = filepath.Join(s.TempDir(), "kubeconfig")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: x, user: x}}]\nclusters: [{name: x, cluster: {server: '" + front.URL + "'}}]\nusers: [{name: x, user: {}}]\n"
	s.ok(os.WriteFile(kubeconfig, []byte(text), 0o600))
	return kubeconfig, func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		was := calls
		calls = map[string]int{}
		return was
	}
}

// kindOf is a call without the names in it.
func kindOf(r *http.Request) string {
	parts := strings.Split(r.URL.Path, "/")
	for i := range parts {
		if i > 0 && slices.Contains([]string{"pods", "nodes", "departures", "deployments", "configmaps", "events"}, parts[i-1]) {
			parts[i] = "*"
		}
	}
	if r.URL.Query().Get("watch") != "" {
		return "WATCH " + strings.Join(parts, "/")
	}
	return r.Method + " " + strings.Join(parts, "/")
}

// Thirty machines at once: every node is closed before the first pod can move to another one that goes.
func TestControllerBurst(t *testing.T) {
	s := tell(t)
	const machines = 30
	s.group("swarm", machines, machines+1)
	s.deploy("bees", machines, 0, "swarm")
	s.pipe("swarm")
	c := s.lead()
	defer c.stop()
	nodes := s.nodeNames("swarm")
	began := time.Now()
	for _, n := range nodes {
		_, err := s.Cloud.TerminateInstanceInAutoScalingGroup(s.idOf(n), false)
		s.ok(err)
	}
	asked := time.Since(began)
	var last time.Duration
	s.until("every node is closed", func() string {
		open := 0
		for _, n := range s.nodes("swarm") {
			if slices.Contains(nodes, n.Name) && s.mark(&n) == nil {
				open++
			}
		}
		if last = time.Since(began); open > 0 {
			return fmt.Sprintf("%d are open", open)
		}
		return ""
	})
	t.Logf("%d machines ended in %s, the last node closed after %s", machines, asked.Round(10*time.Millisecond), last.Round(10*time.Millisecond))
	if last-asked > 10*time.Second {
		t.Errorf("the last node was closed %s after the last notice", last-asked)
	}
	s.until("no hook waits", func() string {
		if n := len(s.Cloud.LifecycleWaits()); n > 0 {
			return fmt.Sprintf("%d wait", n)
		}
		return ""
	})
	t.Logf("all emptied and completed after %s", time.Since(began).Round(100*time.Millisecond))
}
