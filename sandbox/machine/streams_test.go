package machine

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
)

// run has a pod of one container, its volumes empty, on the world's machine, and waits until it is ready.
func (w *world) run(name string, annotations map[string]string, c corev1.Container) {
	w.t.Helper()
	template := w.template(name, annotations, c)
	for _, m := range c.VolumeMounts {
		template.Spec.Volumes = append(template.Spec.Volumes, corev1.Volume{Name: m.Name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
	pods := w.client.CoreV1().Pods(w.ns)
	_, err := pods.Create(w.t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}, Spec: template.Spec}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.eventually("pod "+name+" to be ready", func() error {
		p, err := pods.Get(w.t.Context(), name, metav1.GetOptions{})
		if err == nil && !isReady(p) {
			err = fmt.Errorf("%+v", p.Status.ContainerStatuses)
		}
		return err
	})
}

func aShell(script string) corev1.Container {
	return corev1.Container{Command: []string{"sh", "-c", script}}
}

var realProcess = map[string]string{AnnotationProcess: "true", AnnotationPull: "0s"}

// exec is kubectl exec.
func (w *world) exec(ctx context.Context, pod string, o corev1.PodExecOptions, in string) (out, errs string, err error) {
	w.t.Helper()
	p, err := startPlane()
	if err != nil {
		w.t.Fatal(err)
	}
	o.Stdin, o.Stdout, o.Stderr = in != "", true, !o.TTY
	to := w.client.CoreV1().RESTClient().Get().Namespace(w.ns).Resource("pods").Name(pod).SubResource("exec").VersionedParams(&o, scheme.ParameterCodec).URL()
	executor, err := remotecommand.NewWebSocketExecutor(p.Config(), "GET", to.String())
	if err != nil {
		w.t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	std := remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr, Tty: o.TTY}
	if o.Stdin {
		std.Stdin = strings.NewReader(in)
	}
	err = executor.StreamWithContext(ctx, std)
	return stdout.String(), stderr.String(), err
}

func TestStreams(t *testing.T) {
	w := newWorld(t, Options{Speed: 5})
	mach := w.boot(1)
	c := aShell("printf 'one\\ntwo\\nthree\\n'; echo kept > /data/file; exec sleep 1000")
	c.Env = []corev1.EnvVar{{Name: "COLOR", Value: "blue"}}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	w.run("real", realProcess, c)
	w.run("unreal", nil, corev1.Container{})
	w.eventually("the pod's file", func() error {
		if out, errs, err := w.exec(t.Context(), "real", corev1.PodExecOptions{Command: []string{"cat", "/data/file"}}, ""); out != "kept\n" {
			return fmt.Errorf("out %q, err %q, %v", out, errs, err)
		}
		return nil
	})
	t.Run("exec: streams, environment and exit code", func(t *testing.T) {
		out, errs, err := w.exec(t.Context(), "real", corev1.PodExecOptions{Command: []string{"sh", "-c", "echo $COLOR; cat; echo no >&2; exit 7"}}, "input")
		var code exec.CodeExitError
		if !errors.As(err, &code) || code.Code != 7 || out != "blue\ninput" || errs != "no\n" {
			t.Errorf("out %q, err %q, %v; want blue, input, no, and exit code 7", out, errs, err)
		}
	})
	for what, c := range map[string]struct {
		pod  string
		o    corev1.PodExecOptions
		want string
	}{
		"an unknown program": {"real", corev1.PodExecOptions{Command: []string{"no-such-program"}}, `program "no-such-program" is in none of`},
		"a terminal":         {"real", corev1.PodExecOptions{Command: []string{"sh"}, TTY: true}, "leave out -t"},
		"a simulated pod":    {"unreal", corev1.PodExecOptions{Command: []string{"true"}}, "is simulated and has no process"},
	} {
		t.Run("exec refuses "+what, func(t *testing.T) {
			if _, _, err := w.exec(t.Context(), c.pod, c.o, ""); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	for _, c := range []struct {
		pod  string
		o    corev1.PodLogOptions
		want string
	}{
		{"real", corev1.PodLogOptions{}, "one\ntwo\nthree\n"},
		{"real", corev1.PodLogOptions{TailLines: ptr(int64(1)), LimitBytes: ptr(int64(3))}, "thr"},
		{"real", corev1.PodLogOptions{Previous: true}, "previous is not simulated: of logs there are tail and limit-bytes only\n"},
		{"unreal", corev1.PodLogOptions{}, "pod " + w.ns + "/unreal is simulated and has no process: annotate it sandbox.drover.dev/process: \"true\" for a real one\n"},
	} {
		t.Run("logs of "+c.pod, func(t *testing.T) {
			if got := w.logs(c.pod, c.o); got != c.want {
				t.Errorf("%+v: %q, want %q", c.o, got, c.want)
			}
		})
	}
	t.Run("nobody but the API server is let in", func(t *testing.T) { w.refusesStrangers(t, mach) })
}

// logs is kubectl logs, or why there are none.
func (w *world) logs(pod string, o corev1.PodLogOptions) string {
	w.t.Helper()
	r, err := w.client.CoreV1().Pods(w.ns).GetLogs(pod, &o).Stream(w.t.Context())
	if err != nil {
		return err.Error()
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		w.t.Error(err)
	}
	return string(b)
}

// Whoever could reach a machine's port could run commands on this host.
func (w *world) refusesStrangers(t *testing.T, mach *Machine) {
	node, err := w.client.CoreV1().Nodes().Get(t.Context(), mach.spec.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := startPlane()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := rest.TLSConfigFor(p.Config())
	if err != nil {
		t.Fatal(err)
	}
	nobody := admin.Clone()
	nobody.Certificates, nobody.GetClientCertificate = nil, nil
	address := net.JoinHostPort(DialAddress(mach.spec.NodeIP), strconv.Itoa(int(node.Status.DaemonEndpoints.KubeletEndpoint.Port)))
	for who, config := range map[string]*tls.Config{"an admin": admin, "nobody": nobody} {
		conn, err := tls.Dial("tcp", address, config)
		if err == nil { // in TLS 1.3 the client is done before it is judged
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, err = conn.Read(make([]byte, 1))
			conn.Close()
		}
		var refusal *net.OpError
		if !errors.As(err, &refusal) || refusal.Op != "remote error" {
			t.Errorf("%s is let in, or the machine does not answer: %v", who, err)
		}
	}
}

// The client hears of the end, though not that it was none: to the API server a kubelet's broken connection is a command that succeeded.
func TestKillEndsExec(t *testing.T) {
	w := newWorld(t, Options{})
	mach := w.boot(1)
	w.run("doomed", realProcess, aShell("exec sleep 1000"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _, _ = w.exec(ctx, "doomed", corev1.PodExecOptions{Command: []string{"sleep", "999"}}, "")
	}()
	w.eventually("the command to run", func() error {
		mach.mu.Lock()
		defer mach.mu.Unlock()
		if len(mach.processes) < 2 {
			return fmt.Errorf("%d processes", len(mach.processes))
		}
		return nil
	})
	w.m.Kill(mach.spec.Name)
	<-ended
	if ctx.Err() != nil {
		t.Error("the client of a command on a machine that was killed waits for ever")
	}
}

func TestExcerpt(t *testing.T) {
	for _, c := range []struct{ lines, limit, want string }{
		{"", "", "a\nb\nc"},
		{"2", "", "b\nc"},
		{"0", "", ""},
		{"9", "", "a\nb\nc"},
		{"", "3", "a\nb"},
		{"2", "99", "b\nc"},
	} {
		got, err := excerpt([]byte("a\nb\nc"), c.lines, c.limit)
		if string(got) != c.want || err != nil {
			t.Errorf("last %q lines, %q bytes: %q, %v; want %q", c.lines, c.limit, got, err, c.want)
		}
	}
	for _, c := range []struct{ lines, limit string }{{"x", ""}, {"", "-1"}} {
		if got, err := excerpt([]byte("a"), c.lines, c.limit); err == nil {
			t.Errorf("lines %q, limit %q: %q, want an error", c.lines, c.limit, got)
		}
	}
}
