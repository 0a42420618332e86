package plane

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// What a first user does: start, use, stop, go on, stop. The scheduler has no
// node to offer, so the pods stay pending.
func TestPlaneKeepsItsStateAndLeavesNothingRunning(t *testing.T) {
	dir := t.TempDir()
	p := startPlane(t, dir)
	client := clientOf(t, p)
	create(t, client, "shop", deployment("web", 3, corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web:1"}}}))
	eventually(t, "three pending pods of a ReplicaSet, seen by the scheduler", func() error {
		return unschedulable(client, "shop", 3)
	})
	pids := pidsOf(p)
	if len(pids) != 4 {
		t.Fatalf("the plane runs %d processes, want 4", len(pids))
	}
	stop(t, p)
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("process %d after Stop: %v, want %v", pid, err, syscall.ESRCH)
		}
	}

	p = startPlane(t, dir)
	if err := unschedulable(clientOf(t, p), "shop", 3); err != nil {
		t.Errorf("after another start: %v", err)
	}
	stop(t, p)
	if left := processesNaming(t, dir); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
}

func TestPlaneSaysWhichProcessDied(t *testing.T) {
	p := startPlane(t, t.TempDir())
	defer p.Stop()
	if err := p.children[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("etcd was killed 30s ago and the plane is not done")
	}
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "etcd ended by itself: signal: killed") {
		t.Errorf("Err = %v, want it to name etcd and the signal", err)
	}
}

func TestTwoPlanesDoNotShareAFolder(t *testing.T) {
	dir := t.TempDir()
	p := startPlane(t, dir)
	defer p.Stop()
	if second, err := Start(t.Context(), Options{Dir: dir}); err == nil {
		second.Stop()
		t.Error("a second plane started over the data of a running one")
	} else if !strings.Contains(err.Error(), "in use by another control plane") {
		t.Errorf("second start: %v", err)
	}
}

// dyingParent, set in the environment, makes this test binary start a plane in the
// folder it names, with a kubelet where that works, and wait to be killed.
const dyingParent = "DROVER_TEST_DYING_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(dyingParent); dir != "" {
		p, err := Start(context.Background(), Options{Dir: dir})
		if err == nil && KubeletSupported() == nil {
			_, err = p.StartKubelet(context.Background(), KubeletOptions{Name: "lost"})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.WriteFile(filepath.Join(dir, "up"), nil, 0o600)
		select {}
	}
	os.Exit(m.Run())
}

func TestPlaneDiesWithAKilledParent(t *testing.T) {
	findPlane(t)
	dir := t.TempDir()
	log, self := filepath.Join(dir, "parent.log"), selfCommand(t)
	self.Env = append(os.Environ(), dyingParent+"="+dir)
	parent, err := startChild("parent", log, self)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a plane", func() error {
		select {
		case <-parent.gone:
			t.Fatal(parent.obituary())
		default:
		}
		_, err := os.Stat(filepath.Join(dir, "up"))
		return err
	})
	if n := len(processesNaming(t, dir)); n < 4 {
		t.Fatalf("%d processes name %s, want the plane's 4", n, dir)
	}
	parent.kill()
	eventually(t, "end of all processes", func() error {
		if left := processesNaming(t, dir); len(left) > 0 {
			return fmt.Errorf("still running: %q", left)
		}
		return nil
	})
	if KubeletSupported() != nil {
		return
	}
	// The next machine in the same place finds what the lost one could not remove.
	p := startPlane(t, dir)
	k, err := p.StartKubelet(t.Context(), KubeletOptions{Name: "lost"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready node", func() error { return nodeReady(clientOf(t, p), "lost") })
	stop(t, p)
	checkGone(t, k)
}

func TestFindSaysWhatIsMissing(t *testing.T) {
	t.Setenv(binaryVariable, filepath.Join(t.TempDir(), "absent"))
	if _, err := Find(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "$"+binaryVariable) {
		t.Errorf("Find = %v, want an error that names the variable", err)
	}
	if _, err := Build(t.Context(), t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "source not found") {
		t.Errorf("Build of an empty folder = %v", err)
	}
	source, err := filepath.Abs("../../controlplane")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := Build(t.Context(), source, nil); err == nil || !strings.Contains(err.Error(), "Go is needed") {
		t.Errorf("Build without Go = %v", err)
	}
}

// --- what the tests share

func findPlane(t *testing.T) string {
	t.Helper()
	binary, err := Find(t.Context(), testLog{t})
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func startPlane(t *testing.T, dir string) *Plane {
	t.Helper()
	binary := findPlane(t)
	start := time.Now()
	p, err := Start(t.Context(), Options{Dir: dir, Binary: binary, Progress: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	t.Logf("ready after %s", time.Since(start).Round(time.Millisecond))
	return p
}

func stop(t *testing.T, p *Plane) {
	t.Helper()
	start := time.Now()
	p.Stop()
	if err := p.Err(); err != nil {
		t.Errorf("after Stop: %v", err)
	}
	t.Logf("stopped after %s", time.Since(start).Round(time.Millisecond))
}

func clientOf(t *testing.T, p *Plane) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(p.Config())
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func create(t *testing.T, client *kubernetes.Clientset, namespace string, d *appsv1.Deployment) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AppsV1().Deployments(namespace).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func deployment(name string, replicas int32, spec corev1.PodSpec) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
		},
	}
}

func unschedulable(client *kubernetes.Clientset, namespace string, want int) error {
	pods, err := client.CoreV1().Pods(namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	got := 0
	for _, pod := range pods.Items {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonUnschedulable && pod.OwnerReferences[0].Kind == "ReplicaSet" {
				got++
			}
		}
	}
	if got != want {
		return fmt.Errorf("%d of %d pods are unschedulable pods of a ReplicaSet, want %d", got, len(pods.Items), want)
	}
	return nil
}

// eventually waits for the world: these processes have no clock of ours.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s after a minute: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func pidsOf(p *Plane) (pids []int) {
	for _, c := range p.children {
		pids = append(pids, c.cmd.Process.Pid)
	}
	return pids
}

// processesNaming lists the processes, but this one, whose arguments contain text.
func processesNaming(t *testing.T, text string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(files) == 0 {
		t.Fatalf("read /proc: %d processes, %v", len(files), err)
	}
	for _, file := range files {
		args, err := os.ReadFile(file)
		own := file == "/proc/"+strconv.Itoa(os.Getpid())+"/cmdline"
		if err == nil && !own && bytes.Contains(args, []byte(text)) {
			found = append(found, string(bytes.ReplaceAll(args, []byte{0}, []byte{' '})))
		}
	}
	return found
}

type testLog struct{ t *testing.T }

func (l testLog) Write(line []byte) (int, error) {
	l.t.Log(strings.TrimRight(string(line), "\n"))
	return len(line), nil
}

// selfCommand runs this test binary once more.
func selfCommand(t *testing.T) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(self)
}
