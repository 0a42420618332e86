package plane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
)

// webServer as argv[0] makes this test binary the program in the pods: an HTTP
// server that writes to /data what happens to it.
const webServer = "drover-test-web"

func init() {
	if filepath.Base(os.Args[0]) != webServer {
		return
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	server := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if other := r.URL.Query().Get("ask"); other != "" {
			text, err := get(other, "")
			fmt.Fprint(w, text, err)
			return
		}
		name, _ := os.Hostname()
		fmt.Fprintf(w, "%s pid %d", name, os.Getpid())
	})}
	go server.ListenAndServe()
	fmt.Println("serving")
	<-stop.Done()
	server.Shutdown(context.Background())
	name, _ := os.Hostname()
	os.WriteFile("/data/"+name+".term", []byte("SIGTERM after "+fileText("/data/"+name+".prestop")), 0o644)
	os.Exit(0)
}

func fileText(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

func TestKubeletRunsPodsAndDiesWhole(t *testing.T) {
	if !kubeletsHere(t) {
		return
	}
	p := startPlane(t, t.TempDir())
	client := clientOf(t, p)
	bin, data := t.TempDir(), t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, webServer)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	k, err := p.StartKubelet(t.Context(), KubeletOptions{
		Name:       "ip-10-0-1-17",
		ProviderID: "aws:///eu-central-1a/i-0123456789abcdef0",
		Labels:     map[string]string{"topology.kubernetes.io/zone": "eu-central-1a"},
		Path:       bin,
		PullTime:   100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the kubelet's log:\n%s", lastLines(fileText(filepath.Join(k.opt.Dir, "kubelet.log")), 60))
		}
	})
	eventually(t, "ready node", func() error { return nodeReady(client, k.Name()) })
	t.Logf("node ready after %s", time.Since(begin).Round(time.Millisecond))
	checkNode(t, client, k)

	begin = time.Now()
	d := deployment("web", 2, webPod(data))
	d.Spec.Template.Annotations = map[string]string{"sandbox.drover.dev/process": "true"}
	create(t, client, "shop", d)
	var pods []corev1.Pod
	eventually(t, "two ready pods", func() (err error) {
		pods, err = readyPods(client, "shop", 2)
		return err
	})
	t.Logf("pods ready after %s", time.Since(begin).Round(time.Millisecond))
	for _, pod := range pods {
		want := pod.Name + " pid 1"
		if got, err := get(pod.Status.PodIP, ""); err != nil || got != want {
			t.Errorf("pod %s at %s answers %q, %v, want %q", pod.Name, pod.Status.PodIP, got, err, want)
		}
	}
	if got, err := get(pods[0].Status.PodIP, pods[1].Status.PodIP); err != nil || got != pods[1].Name+" pid 1<nil>" {
		t.Errorf("pod %s asks pod %s: %q, %v", pods[0].Name, pods[1].Name, got, err)
	}
	checkLog(t, client, &pods[0])
	checkGracefulEnd(t, client, &pods[0], data)
	eventually(t, "its replacement", func() error {
		_, err := readyPods(client, "shop", 2)
		return err
	})

	if n := len(processesNaming(t, webServer)); n != 2 {
		t.Errorf("%d web servers run before Kill, want 2", n)
	}
	begin = time.Now()
	if err := k.Kill(); err != nil {
		t.Errorf("Kill: %v", err)
	}
	t.Logf("machine gone after %s", time.Since(begin).Round(time.Millisecond))
	checkGone(t, k)
}

// A pod that asks for nothing in particular is simulated, probes and init
// containers included.
func TestKubeletSimulatesOtherPods(t *testing.T) {
	if !kubeletsHere(t) {
		return
	}
	p := startPlane(t, t.TempDir())
	client := clientOf(t, p)
	k, err := p.StartKubelet(t.Context(), KubeletOptions{Name: "ip-10-0-1-18", PullTime: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	nonRoot := true
	spec := corev1.PodSpec{
		SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &nonRoot},
		InitContainers:  []corev1.Container{{Name: "migrate", Image: "migrate:1"}},
		Containers: []corev1.Container{{
			Name: "api", Image: "api:1",
			Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			ReadinessProbe: httpProbe(intstr.FromString("http")),
			LivenessProbe:  &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"no-such-program"}}}},
		}},
	}
	d := deployment("api", 3, spec)
	d.Spec.Template.Annotations = map[string]string{"sandbox.drover.dev/stop": "1500ms"}
	create(t, client, "shop", d)
	var pods []corev1.Pod
	eventually(t, "three ready pods", func() (err error) {
		pods, err = readyPods(client, "shop", 3)
		return err
	})
	begin := time.Now()
	deletePod(t, client, &pods[0])
	if took := time.Since(begin); took < 1500*time.Millisecond || took > 10*time.Second {
		t.Errorf("the pod was gone after %s, want a little more than 1.5s", took)
	}
	stop(t, p)
	if err := k.Err(); err != nil {
		t.Errorf("the kubelet after Stop of its plane: %v", err)
	}
	checkGone(t, k)
}

// --- what the tests share

// kubeletsHere fails the test where nobody would read why it did nothing.
func kubeletsHere(t *testing.T) bool {
	t.Helper()
	err := KubeletSupported()
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	if err != nil {
		t.Logf("NOTHING TESTED: %v", err)
	}
	return err == nil
}

func webPod(data string) corev1.PodSpec {
	grace := int64(15)
	return corev1.PodSpec{
		TerminationGracePeriodSeconds: &grace,
		Containers: []corev1.Container{{
			Name: "web", Image: "web:1", Command: []string{webServer},
			ReadinessProbe: httpProbe(intstr.FromInt32(8080)),
			Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{
				Command: []string{"sh", "-c", "echo prestop of $(cat /proc/1/comm) > /data/$(hostname).prestop"},
			}}},
			VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "scratch", MountPath: "/srv/scratch/deep"}},
		}},
		Volumes: []corev1.Volume{
			{Name: "data", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: data}}},
			{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
		},
	}
}

func httpProbe(port intstr.IntOrString) *corev1.Probe {
	return &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: port}}}
}

func nodeReady(client *kubernetes.Clientset, name string) error {
	node, err := client.CoreV1().Nodes().Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("node %s is not ready: %+v", name, node.Status.Conditions)
}

func checkNode(t *testing.T, client *kubernetes.Clientset, k *Kubelet) {
	t.Helper()
	node, err := client.CoreV1().Nodes().Get(t.Context(), k.Name(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{node.Spec.ProviderID, node.Labels["topology.kubernetes.io/zone"], node.Status.Addresses[0].Address,
		node.Status.Allocatable.Cpu().String(), node.Status.Allocatable.Memory().String(), node.Status.Allocatable.Pods().String()}
	want := []string{k.opt.ProviderID, "eu-central-1a", k.NodeIP().String(), "2", "4Gi", "17"}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the node says %q, want %q", got, want)
	}
}

func readyPods(client *kubernetes.Clientset, namespace string, want int) ([]corev1.Pod, error) {
	list, err := client.CoreV1().Pods(namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var ready []corev1.Pod
	for _, pod := range list.Items {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil {
				ready = append(ready, pod)
			}
		}
	}
	if len(ready) != want {
		return nil, fmt.Errorf("%d of %d pods are ready, want %d", len(ready), len(list.Items), want)
	}
	return ready, nil
}

// get asks a pod for its name, or for what it hears from another.
func get(podIP, other string) (string, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}} // no proxy
	response, err := client.Get("http://" + net.JoinHostPort(podIP, "8080") + "/?ask=" + other)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// checkLog goes the way of kubectl logs: through the API server to the kubelet.
func checkLog(t *testing.T, client *kubernetes.Clientset, pod *corev1.Pod) {
	t.Helper()
	text, err := client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil || string(text) != "serving\n" {
		t.Errorf("log of %s: %q, %v", pod.Name, text, err)
	}
}

// checkGracefulEnd deletes a pod and reads from its files, and from the last
// status of its container, how it ended.
func checkGracefulEnd(t *testing.T, client *kubernetes.Clientset, pod *corev1.Pod, data string) {
	t.Helper()
	watch, err := client.CoreV1().Pods(pod.Namespace).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + pod.Name})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	begin := time.Now()
	deletePod(t, client, pod)
	t.Logf("pod gone after %s", time.Since(begin).Round(time.Millisecond))
	code := errors.New("no status says how the container ended")
	for event := range watch.ResultChan() {
		last, ok := event.Object.(*corev1.Pod)
		if ok && len(last.Status.ContainerStatuses) > 0 && last.Status.ContainerStatuses[0].State.Terminated != nil {
			end := last.Status.ContainerStatuses[0].State.Terminated
			code = nil
			if end.ExitCode != 0 || end.Reason != "Completed" {
				code = fmt.Errorf("the container ended with %d, %s", end.ExitCode, end.Reason)
			}
		}
		if event.Type == "DELETED" {
			break
		}
	}
	if code != nil {
		t.Error(code)
	}
	want := "SIGTERM after prestop of " + webServer
	if got := fileText(filepath.Join(data, pod.Name+".term")); got != want {
		t.Errorf("the program noted %q, want %q", got, want)
	}
}

func deletePod(t *testing.T, client *kubernetes.Clientset, pod *corev1.Pod) {
	t.Helper()
	if err := client.CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "end of "+pod.Name, func() error {
		_, err := client.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err == nil {
			return errors.New("it is still there")
		}
		return nil
	})
}

// checkGone looks for anything that a machine may have left on this host.
func checkGone(t *testing.T, k *Kubelet) {
	t.Helper()
	for _, name := range []string{webServer, k.opt.Dir} {
		if left := processesNaming(t, name); len(left) > 0 {
			t.Errorf("processes left: %q", left)
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	ours := fmt.Sprintf("dr%d.", k.PodCIDR().Addr().As4()[2])
	for _, i := range interfaces {
		if strings.HasPrefix(i.Name, ours) {
			t.Errorf("interface left: %s", i.Name)
		}
		addresses, _ := i.Addrs()
		for _, a := range addresses {
			if strings.HasPrefix(a.String(), k.NodeIP().String()+"/") {
				t.Errorf("address left: %s on %s", a, i.Name)
			}
		}
	}
	names, _ := filepath.Glob("/run/netns/" + ours + "*")
	if len(names) > 0 {
		t.Errorf("network namespaces left: %q", names)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), k.opt.Dir) {
		t.Errorf("mounts left below %s, %v", k.opt.Dir, err)
	}
}
