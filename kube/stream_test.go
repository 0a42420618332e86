package kube

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"

	"drover.dev/fleet"
	"drover.dev/sandbox/machine"
)

// servePod is the argument with which this test's program is the process of a pod. It echoes on port 7000 until it hears "bye", and has hooks on 8080.
const servePod = "serve-a-pod"

func init() {
	if len(os.Args) == 3 && os.Args[1] == servePod {
		fmt.Fprintln(os.Stderr, serveEcho(os.Args[2]))
		os.Exit(1)
	}
}

func serveEcho(address string) error {
	l, err := net.Listen("tcp", net.JoinHostPort(address, "7000"))
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go echo(conn)
		}
	}()
	http.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	http.HandleFunc("/host", func(w http.ResponseWriter, r *http.Request) { http.Error(w, r.Host, http.StatusTeapot) })
	http.HandleFunc("/no", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "not yet"+strings.Repeat(".", 1<<20), http.StatusServiceUnavailable)
	})
	http.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	http.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	return http.ListenAndServe(net.JoinHostPort(address, "8080"), nil)
}

func echo(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil || line == "bye\n" {
			return
		}
		if _, err := io.WriteString(conn, line); err != nil {
			return
		}
	}
}

// reached is a process pod on a light machine, reached through a real API server.
type reached struct {
	*world
	machines *machine.Manager
	pod      fleet.PodRef
	host     string
	streams  *Streams
	spdy     *Streams // through a proxy that knows no websockets
}

func newReached(t *testing.T) *reached {
	r := &reached{world: newWorld(t)}
	var err error
	r.machines, err = machine.New(context.Background(), machine.Options{
		Client: r.client, Dir: t.TempDir(), Streams: shared.plane.MachineTLS, Ready: time.Millisecond,
	})
	r.ok(err)
	t.Cleanup(r.machines.Close)
	_, err = r.machines.Boot(machine.Spec{
		Name: r.name, InstanceID: "i-1", Zone: "a", InstanceType: "m5.large", NodeIP: fmt.Sprintf("127.58.%d.1", worlds.Load()),
	})
	r.ok(err)
	p, err := r.client.CoreV1().Pods(r.name).Create(t.Context(), r.echoPod(), metav1.CreateOptions{})
	r.ok(err)
	r.eventually("the pod to be ready", func() bool {
		p, err = r.client.CoreV1().Pods(r.name).Get(t.Context(), p.Name, metav1.GetOptions{})
		r.ok(err)
		return len(p.Status.ContainerStatuses) == 2 && p.Status.ContainerStatuses[0].Ready && p.Status.ContainerStatuses[1].Ready
	})
	r.pod, r.host = fleet.PodRef{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID)}, p.Status.PodIP
	r.streams, err = OpenStreams(r.cfg)
	r.ok(err)
	r.spdy, err = OpenStreams(withoutWebsockets(t, r.cfg))
	r.ok(err)
	return r
}

func (r *reached) echoPod() *corev1.Pod {
	self, err := os.Executable()
	r.ok(err)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "echo", Annotations: map[string]string{machine.AnnotationProcess: "true", machine.AnnotationPull: "0s"}},
		Spec: corev1.PodSpec{
			NodeName:                      r.name,
			TerminationGracePeriodSeconds: new(int64(0)),
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Volumes:                       []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
			Containers: []corev1.Container{{
				Name: "main", Image: "echo", Command: []string{self, servePod, "$(POD_IP)"},
				Env: []corev1.EnvVar{
					{Name: "COLOR", Value: "blue"},
					{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
				},
				VolumeMounts:   []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
				ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ok", Port: intstr.FromInt32(8080)}}},
			}, {
				Name: "side", Image: "echo", Command: []string{"sleep", "1000"}, Env: []corev1.EnvVar{{Name: "COLOR", Value: "red"}},
			}},
		},
	}
}

// withoutWebsockets is a client's configuration that leads through a proxy that refuses to pass websockets.
func withoutWebsockets(t *testing.T, cfg *rest.Config) *rest.Config {
	to, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	tls, err := rest.TLSConfigFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	through := &httputil.ReverseProxy{
		Transport: &http.Transport{TLSClientConfig: tls},
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to) },
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			http.Error(w, "no websockets here", http.StatusForbidden)
			return
		}
		through.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	return &rest.Config{Host: proxy.URL}
}

func TestPodsAreReached(t *testing.T) {
	r := newReached(t)
	direct, err := Direct("10.0.0.0/8=127.0.0.0/8")
	r.ok(err)
	for how, reach := range map[string]Reach{"direct": direct, "by websocket": r.streams.Forward(), "by SPDY": r.spdy.Forward()} {
		t.Run(how, func(t *testing.T) { r.reach(t, reach) })
	}
	for how, s := range map[string]*Streams{"by websocket": r.streams, "by SPDY": r.spdy} {
		t.Run("exec "+how, func(t *testing.T) { r.exec(t, s) })
		t.Run("what is not there, "+how, func(t *testing.T) { r.missing(t, s) })
	}
	t.Run("hooks", r.hooks)
	t.Run("rights", r.rights)
	t.Run("a port-forward to a machine that dies, and a hook in it", r.cut)
}

// reach holds for every way.
func (r *reached) reach(t *testing.T, reach Reach) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := reach(ctx, r.pod, r.host, 7000)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel() // a connection outlives it

	_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read past a deadline: %d, %v", n, err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	sent := append(bytes.Repeat([]byte("x"), 1<<20), '\n')
	go func() { _, _ = conn.Write(sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("of 1 MiB came back something else: %v", err)
	}
	if _, err := io.WriteString(conn, "bye\n"); err != nil {
		t.Error(err)
	}
	if n, err := conn.Read(got); n != 0 || err != io.EOF {
		t.Errorf("after the pod closed the connection: %d, %v; want EOF", n, err)
	}

	again, err := reach(t.Context(), r.pod, r.host, 7000)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if _, err := again.Read(got); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	if _, err := again.Write(got); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}

	if err := knock(t.Context(), reach, r.pod, r.host, 7001); err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "7001") {
		t.Errorf("a port where nobody listens: %v", err)
	}
	ended, enough := context.WithCancelCause(t.Context())
	enough(errors.New("enough"))
	if err := knock(ended, reach, r.pod, r.host, 7000); err == nil {
		t.Error("a connection was made after the end of its context")
	}
}

// knock tells why a port cannot be read from.
func knock(ctx context.Context, reach Reach, pod fleet.PodRef, host string, port int) error {
	conn, err := reach(ctx, pod, host, port)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, err = conn.Read(make([]byte, 1))
	return err
}

func (r *reached) exec(t *testing.T, s *Streams) {
	for _, c := range []struct {
		container, script string
		output            string
		exit              int
	}{
		{"main", "echo $COLOR", "blue\n", 0},
		{"side", "echo $COLOR", "red\n", 0},
		{"main", "echo out; exit 3", "out\n", 3},
		{"main", "echo err >&2; exit 1", "err\n", 1},
		{"main", "printf 0123456789012345678901234567890123456789", "(8 bytes before this were cut)\n89012345678901234567890123456789", 0},
		{"main", "kill -9 $$", "", 137},
	} {
		output, exit, err := s.Exec(t.Context(), r.pod, c.container, []string{"sh", "-c", c.script}, 32)
		if output != c.output || exit != c.exit || err != nil {
			t.Errorf("%s in %s: %q, %d, %v; want %q, %d", c.script, c.container, output, exit, err, c.output, c.exit)
		}
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errors.New("too long"))
	defer cancel()
	output, exit, err := s.Exec(ctx, r.pod, "main", []string{"sh", "-c", "echo begun; exec sleep 999"}, 32)
	if err == nil || !strings.Contains(err.Error(), "too long") || exit != -1 || output != "begun\n" {
		t.Errorf("a command that takes too long: %q, %d, %v", output, exit, err)
	}
}

func (r *reached) missing(t *testing.T, s *Streams) {
	nobody := fleet.PodRef{Namespace: r.name, Name: "nobody"}
	for what, ask := range map[string]func() error{
		`pods "nobody" not found`: func() error { return knock(t.Context(), s.Forward(), nobody, "", 7000) },
		`exec in pod ` + r.name + `/nobody: `: func() error {
			_, _, err := s.Exec(t.Context(), nobody, "main", []string{"true"}, 9)
			return err
		},
		`container none is not valid for pod echo`: func() error { // its name, whoever runs it
			_, _, err := s.Exec(t.Context(), r.pod, "none", []string{"true"}, 9)
			return err
		},
		`program "none" is in none of`: func() error {
			_, _, err := s.Exec(t.Context(), r.pod, "main", []string{"none"}, 9)
			return err
		},
	} {
		if err := ask(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want %q", err, what)
		}
	}
}

func (r *reached) hooks(t *testing.T) {
	direct, err := Direct("10.0.0.0/8=127.0.0.0/8")
	r.ok(err)
	for _, c := range []struct{ hook, want string }{
		{"http://:8080/ok", ""},
		{"http://orders.shop:8080/ok", ""},
		{"http://orders.shop:8080/host", "418 I'm a teapot: orders.shop:8080"},
		{"http://:8080/no", "/no: 503 Service Unavailable: not yet..."},
		{"http://:8080/moved", `/moved: 302 Found: a redirect to "/ok", which is not followed`},
		{"http://:8080/hang", "/hang: no answer within 2s"},
		{"http://:8081/", "connection refused"},
		{"exec: test $COLOR = blue", ""},
		{"exec(side): test $COLOR = red", ""},
		{"exec: echo why >&2; exit 4", "container main: exit code 4: why"},
		{"exec(side): exit 1", "container side: exit code 1"},
		{"exec: echo begun; sleep 999", "no answer within 2s: begun"},
	} {
		hook, err := ParseHook(c.hook)
		if err != nil {
			t.Fatal(err)
		}
		for how, reach := range map[string]Reach{"direct": direct, "forward": r.streams.Forward()} {
			err := r.streams.CallHook(t.Context(), reach, r.pod, hook, 2*time.Second)
			switch {
			case c.want == "" && err == nil:
			case c.want == "" || err == nil:
				t.Errorf("%s, %s: %v, want %q", hook, how, err, c.want)
			case !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "in pod "+r.pod.String()):
				t.Errorf("%s, %s: %v, want %q", hook, how, err, c.want)
			case len(err.Error()) > hookOutput+300:
				t.Errorf("%s, %s: an error of %d bytes", hook, how, len(err.Error()))
			}
		}
	}
	hook, err := ParseHook("exec: true")
	r.ok(err)
	another := r.pod
	another.UID = "another"
	var refused *fleet.Refused
	if err := r.streams.CallHook(t.Context(), direct, another, hook, time.Minute); !errors.As(err, &refused) {
		t.Errorf("a hook for a pod that was reborn: %v", err)
	}
}

func (r *reached) rights(t *testing.T) {
	cfg := rest.CopyConfig(r.cfg)
	cfg.Impersonate.UserName = r.name
	s, err := OpenStreams(cfg)
	r.ok(err)
	var fatal *fleet.Fatal
	if err := knock(t.Context(), s.Forward(), r.pod, "", 7001); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "pods/portforward") {
		t.Errorf("port-forward without the right: %v", err)
	}
	if _, _, err := s.Exec(t.Context(), r.pod, "main", []string{"true"}, 9); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "pods/exec") {
		t.Errorf("exec without the right: %v", err)
	}
	_, err = r.client.RbacV1().Roles(r.name).Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "create"}, Rules: []rbacv1.PolicyRule{rule("", []string{"create"}, "pods/portforward", "pods/exec")},
	}, metav1.CreateOptions{})
	r.ok(err)
	_, err = r.client.RbacV1().RoleBindings(r.name).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "create"}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "create"},
		Subjects: []rbacv1.Subject{{Kind: "User", Name: r.name}},
	}, metav1.CreateOptions{})
	r.ok(err)
	r.eventually("create to do, by SPDY", func() bool {
		output, exit, err := s.Exec(t.Context(), r.pod, "main", []string{"echo", "hi"}, 9)
		return output == "hi\n" && exit == 0 && err == nil
	})
}

// cut is the last: it takes the machine.
func (r *reached) cut(t *testing.T) {
	conn, err := r.streams.Forward()(t.Context(), r.pod, "", 7000)
	r.ok(err)
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len("hello\n"))); err != nil {
		t.Fatal(err)
	}
	hook, err := ParseHook("exec: echo begun > /data/begun; sleep 999")
	r.ok(err)
	called := make(chan error, 1)
	go func() { called <- r.streams.CallHook(t.Context(), nil, r.pod, hook, time.Minute) }()
	r.eventually("the hook to run", func() bool {
		output, _, err := r.streams.Exec(t.Context(), r.pod, "main", []string{"cat", "/data/begun"}, 99)
		return err == nil && output == "begun\n"
	})
	r.machines.Kill(r.name)
	if err := <-called; err == nil || strings.Contains(err.Error(), "no answer within") {
		t.Errorf("a hook that was cut off: %v", err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if n, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection that was cut off: %d, %v", n, err)
	}
}
