package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"
)

// shed is a machine that runs real processes in real time, on a fake API server.
type shed struct {
	*story
	t *testing.T
}

func newShed(t *testing.T, objects ...runtime.Object) *shed {
	t.Helper()
	s := &shed{story: &story{t: t, client: fake.NewClientset(objects...), start: time.Now()}, t: t}
	s.client.PrependReactor("delete", "pods", s.deleteGracefully)
	var err error
	if s.m, err = New(context.Background(), Options{Client: s.client, Dir: t.TempDir(), Ready: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.m.Close)
	if s.mach, err = s.m.Boot(Spec{Name: "n1", InstanceID: "i-1", Zone: "a", InstanceType: "m5.large", NodeIP: "127.57.1.1"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// aProcess is a pod that runs a shell script.
func aProcess(script string, change func(*corev1.PodSpec)) *corev1.Pod {
	return aPod(map[string]string{AnnotationProcess: "true", AnnotationPull: "0s", "note": "hi"}, func(spec *corev1.PodSpec) {
		spec.Containers[0].Command = []string{"sh", "-c", script}
		spec.RestartPolicy = corev1.RestartPolicyNever
		if change != nil {
			change(spec)
		}
	})
}

func (s *shed) create(p *corev1.Pod) {
	s.t.Helper()
	if _, err := s.client.CoreV1().Pods("default").Create(s.t.Context(), p, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for the pod to be as wanted.
func (s *shed) until(what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if p := s.pod(); ok(p) {
			return p
		}
	}
	s.t.Fatalf("waited 30s for %s: %s; log: %s", what, describe(s.pod()), s.log())
	return nil
}

func (s *shed) untilGone() {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := s.client.CoreV1().Pods("default").Get(s.t.Context(), "p", metav1.GetOptions{}); err != nil {
			return
		}
	}
	s.t.Fatal("waited 30s for the pod to be gone")
}

func (s *shed) log() string {
	b, err := os.ReadFile(s.m.LogFile("default", "p", "u1", "c"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	return string(b)
}

func (s *shed) untilLog(want string) {
	s.t.Helper()
	s.until("the log to say "+want, func(*corev1.Pod) bool { return strings.Contains(s.log(), want) })
}

func TestPreStopThenSIGTERM(t *testing.T) {
	s := newShed(t)
	s.create(aProcess(`trap 'cat /run/notes/note; echo term; exit 0' TERM; echo up; while :; do sleep 0.05; done`, func(spec *corev1.PodSpec) {
		spec.Volumes = []corev1.Volume{{Name: "notes", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "notes", MountPath: "/run/notes/"}}
		spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "sleep 0.2; echo prestop > /run/notes/note"}}}}
	}))
	s.untilLog("up")
	s.delete(metav1.DeleteOptions{})
	s.untilGone()
	if got := s.log(); got != "up\nprestop\nterm\n" {
		t.Errorf("the log says %q, want up, prestop, term", got)
	}
}

func TestSIGKILLAfterTheGrace(t *testing.T) {
	s := newShed(t)
	s.create(aProcess(`trap 'echo no' TERM; echo up; while :; do sleep 0.05; done`, func(spec *corev1.PodSpec) { spec.TerminationGracePeriodSeconds = ptr(int64(1)) }))
	s.untilLog("up")
	s.delete(metav1.DeleteOptions{})
	began := time.Now()
	s.untilGone()
	if took := time.Since(began); took < leastAfterTerm {
		t.Errorf("killed after %v, want %v of grace", took, leastAfterTerm)
	}
	s.mu.Lock()
	p := s.final
	s.mu.Unlock()
	if got := describe(p); got != "Failed c=Error(137)" || p.Status.ContainerStatuses[0].State.Terminated.Signal != int32(syscall.SIGKILL) {
		t.Errorf("the last status is %s, %+v", got, p.Status.ContainerStatuses[0].State.Terminated)
	}
	if got := s.log(); got != "up\nno\n" {
		t.Errorf("the log says %q; SIGTERM comes first", got)
	}
}

func TestEnvironmentAndVolumes(t *testing.T) {
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "conf", Namespace: "default"}, Data: map[string]string{"color": "blue", "file.txt": "from config\n"}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "pass", Namespace: "default"}, Data: map[string][]byte{"PASSWORD": []byte("xyzzy")}}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data-0", Namespace: "default"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv-7"}}
	s := newShed(t, config, secret, claim)
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	s.create(aProcess(`
		echo "$IP $HOST $NODE $NAME $NOTE $COLOR $PASSWORD $MISSING. $URL $LITERAL $0 $1"
		cat /etc/conf/renamed /etc/secret/PASSWORD; echo; cat /etc/pod/labels; echo
		echo data > /data/file; echo host > /host/file; echo sub > /data/deep/file
		cat $SANDBOX_MOUNT_MY_DATA/file; pwd`, func(spec *corev1.PodSpec) {
		local := corev1.LocalObjectReference{}
		named := func(n string) corev1.LocalObjectReference { local.Name = n; return local }
		c := &spec.Containers[0]
		c.Args = []string{"$(NAME)", "--dir=/data:/etc/conf/x,/database"}
		c.WorkingDir = "/data"
		c.Env = []corev1.EnvVar{
			{Name: "IP", ValueFrom: field("status.podIP")}, {Name: "HOST", ValueFrom: field("status.hostIP")},
			{Name: "NODE", ValueFrom: field("spec.nodeName")}, {Name: "NAME", ValueFrom: field("metadata.name")},
			{Name: "NOTE", ValueFrom: field("metadata.annotations['note']")},
			{Name: "COLOR", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("conf"), Key: "color"}}},
			{Name: "MISSING", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named("none"), Key: "k", Optional: ptr(true)}}},
			{Name: "URL", Value: "http://$(IP):80/"}, {Name: "LITERAL", Value: "$$(IP)-$(NOBODY)"},
		}
		c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("pass")}}}
		spec.Volumes = []corev1.Volume{
			{Name: "conf", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: named("conf"), Items: []corev1.KeyToPath{{Key: "file.txt", Path: "renamed"}}}}},
			{Name: "secret", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{LocalObjectReference: named("pass")}}}}}},
			{Name: "pod", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations"}}}}}},
			{Name: "my-data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-0"}}},
			{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/lib/x"}}},
		}
		c.VolumeMounts = []corev1.VolumeMount{
			{Name: "conf", MountPath: "/etc/conf"}, {Name: "secret", MountPath: "/etc/secret"}, {Name: "pod", MountPath: "/etc/pod"},
			{Name: "my-data", MountPath: "/data"}, {Name: "my-data", MountPath: "/data/deep", SubPath: "sub/folder"}, {Name: "host", MountPath: "/host"},
		}
	}))
	s.until("the end", func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
	})
	pv := filepath.Join(s.m.Dir, "persistent", "pv-7")
	conf := filepath.Join(s.m.podDir("default", "p", "u1"), "volumes", "conf")
	want := fmt.Sprintf(`127.57.1.2 127.57.1.1 n1 p hi blue xyzzy . http://127.57.1.2:80/ $(IP)-$(NOBODY) p --dir=%s:%s/x,/database
from config
xyzzy
note="hi"
sandbox.drover.dev/process="true"
sandbox.drover.dev/pull="0s"
data
%s
`, pv, conf, pv)
	if got := s.log(); got != want {
		t.Errorf("the log says\n%s\nwant\n%s", got, want)
	}
	for file, want := range map[string]string{
		filepath.Join(pv, "file"):                                        "data\n",
		filepath.Join(pv, "sub", "folder", "file"):                       "sub\n",
		filepath.Join(s.m.Dir, "hosts", "n1", "var", "lib", "x", "file"): "host\n",
	} {
		if b, err := os.ReadFile(file); string(b) != want {
			t.Errorf("%s: %q, %v; want %q", file, b, err, want)
		}
	}
	s.until("its volumes to be cleared away", func(*corev1.Pod) bool { // which follows the status
		left, _ := os.ReadDir(filepath.Join(s.m.podDir("default", "p", "u1"), "volumes"))
		return len(left) == 0
	})
}

func TestMissingThingsAreWaitedFor(t *testing.T) {
	s := newShed(t)
	s.create(aProcess("echo $COLOR", func(spec *corev1.PodSpec) {
		spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "conf"}}}}
	}))
	s.until("the reason", func(p *corev1.Pod) bool {
		return strings.Contains(describe(p), "c=CreateContainerConfigError") && strings.Contains(p.Status.ContainerStatuses[0].State.Waiting.Message, "ConfigMap conf")
	})
	_, err := s.client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "conf"}, Data: map[string]string{"COLOR": "red"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.untilLog("red")
}

func TestProbesDecide(t *testing.T) {
	s := newShed(t)
	probe := func(file string, failures int32) *corev1.Probe {
		return &corev1.Probe{PeriodSeconds: 1, FailureThreshold: failures, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"test", "-e", "/v/" + file}}}}
	}
	s.create(aProcess(`echo run; exec sleep 1000`, func(spec *corev1.PodSpec) {
		spec.RestartPolicy = corev1.RestartPolicyAlways
		spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		c := &spec.Containers[0]
		c.VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
		c.StartupProbe, c.ReadinessProbe, c.LivenessProbe = probe("started", 100), probe("ready", 1), probe("alive", 1)
	}))
	file := func(name string) string {
		return filepath.Join(s.m.podDir("default", "p", "u1"), "volumes", "v", name)
	}
	touch := func(name string) {
		t.Helper()
		if err := os.WriteFile(file(name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.until("a run", func(p *corev1.Pod) bool { return describe(p) == "Running c=running" })
	if started := s.pod().Status.ContainerStatuses[0].Started; started == nil || *started {
		t.Error("started before its startup probe said so")
	}
	touch("alive")
	touch("ready")
	touch("started")
	s.until("ready", func(p *corev1.Pod) bool { return describe(p) == "Running Ready c=ready" })
	os.Remove(file("ready"))
	s.until("not ready", func(p *corev1.Pod) bool { return describe(p) == "Running c=running" })
	os.Remove(file("alive"))
	p := s.until("a restart", func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount == 1 })
	if last := p.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode != 143 {
		t.Errorf("the run before ended %+v, want SIGTERM", last)
	}
}

func TestNetworkProbes(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, probe := range map[string]corev1.ProbeHandler{
		"tcp":  {TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)}},
		"http": {HTTPGet: &corev1.HTTPGetAction{Path: "healthz", Port: intstr.FromString("web"), HTTPHeaders: []corev1.HTTPHeader{{Name: "Host", Value: "me"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShed(t)
			s.create(aProcess("", func(spec *corev1.PodSpec) {
				c := &spec.Containers[0]
				c.Command = []string{self, "http", "$(IP):8080", "me"}
				c.Env = []corev1.EnvVar{{Name: "IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}}}
				c.Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}
				c.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: probe}
			}))
			s.until("ready", func(p *corev1.Pod) bool { return describe(p) == "Running Ready c=ready" })
		})
	}
}

// running tells whether a process exists and is no corpse.
func running(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func (s *shed) pids(n int) []int {
	s.t.Helper()
	var pids []int
	s.until("pids in the log", func(*corev1.Pod) bool {
		pids = nil
		for _, word := range strings.Fields(s.log()) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
		return len(pids) == n
	})
	return pids
}

func (s *shed) allEnd(pids []int) {
	s.t.Helper()
	for _, pid := range pids {
		for end := time.Now().Add(10 * time.Second); running(pid); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				s.t.Fatalf("process %d still runs", pid)
			}
		}
	}
}

// In a pod's command $$ is an escaped $, for the kubelet too.
const family = `sh -c 'trap "" TERM; echo $$$$; while :; do sleep 0.05; done' & echo $$$$; wait`

func TestKillEndsTheWholeGroupAtOnce(t *testing.T) {
	s := newShed(t)
	s.create(aProcess(family, nil))
	pids := s.pids(2)
	s.until("its status", func(p *corev1.Pod) bool { return strings.HasPrefix(describe(p), "Running") })
	s.m.Kill("n1")
	s.allEnd(pids)
	if got := describe(s.pod()); !strings.HasPrefix(got, "Running") {
		t.Errorf("a silent death was told: %s", got)
	}
}

func TestWhatAContainerLeavesBehindEndsWithIt(t *testing.T) {
	s := newShed(t)
	s.create(aProcess(`sh -c 'trap "" TERM; echo $$$$; while :; do sleep 0.05; done' & while ! grep -q . /dev/null; do sleep 0.2; exit 4; done`, nil))
	pids := s.pids(1)
	s.until("the end", func(p *corev1.Pod) bool { return describe(p) == "Failed c=Error(4)" })
	s.allEnd(pids)
}

// A sandbox that is killed takes its processes along.
func TestProcessesDieWithTheSandbox(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(self, "sandbox", dir)
	cmd.Stderr = os.Stderr
	goruntime.LockOSThread() // for the death signal, should this test panic
	defer goruntime.UnlockOSThread()
	cmd.SysProcAttr = ownGroup()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	s := &shed{t: t, story: &story{t: t, m: &Manager{Options: Options{Dir: dir}}}}
	pid := 0
	for end := time.Now().Add(30 * time.Second); pid == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited 30s for the sandbox's process")
		}
		pid, _ = strconv.Atoi(strings.TrimSpace(s.log()))
	}
	if !running(pid) {
		t.Fatalf("process %d does not run", pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.allEnd([]int{pid})
}

func TestRunAsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	s := newShed(t)
	// The test's folder is for root alone, which no real sandbox's is.
	for dir := s.m.Dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.create(aProcess(`id -u; id -g; echo mine > /v/file; stat -c %u:%g /v/file`, func(spec *corev1.PodSpec) {
		spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: ptr(int64(65534)), RunAsGroup: ptr(int64(65534)), FSGroup: ptr(int64(1234))}
		spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	}))
	s.until("the end", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	if got := s.log(); !strings.HasPrefix(got, "65534\n65534\n65534:") {
		t.Errorf("the log says %q", got)
	}
}

func TestRewrite(t *testing.T) {
	ms := mounts{{"/data", "/real/d"}, {"/data/wal", "/real/w"}, {"/d", "/real/x"}}.sorted()
	for in, want := range map[string]string{
		"/data": "/real/d", "/data/": "/real/d/", "/data/wal/1": "/real/w/1", "/database": "/database", "/data-2": "/data-2",
		"--dir=/data/x": "--dir=/real/d/x", "a:/data:/d": "a:/real/d:/real/x", "cat '/data/a' \"/d\"": "cat '/real/d/a' \"/real/x\"",
		"http://host/data": "http://host/data", "x/data": "x/data", "$HOME/data": "$HOME/data", "": "", "echo hi>/d/f;ls /d": "echo hi>/real/x/f;ls /real/x",
	} {
		if got := ms.rewrite(in); got != want {
			t.Errorf("rewrite(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestExpand(t *testing.T) {
	vars := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "1", "B": "$(A)"}[name]
		return v, ok
	}
	for in, want := range map[string]string{
		"$(A)": "1", "x$(A)y": "x1y", "$$(A)": "$(A)", "$$$(A)": "$1", "$(C)": "$(C)", "$(B)": "$(A)", "$A": "$A", "$": "$", "$(": "$(", "$(A": "$(A", "$$": "$",
	} {
		if got := expand(in, vars); got != want {
			t.Errorf("expand(%q) = %q, want %q", in, got, want)
		}
	}
}
