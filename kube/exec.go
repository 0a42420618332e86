package kube

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"

	"drover.dev/fleet"
)

// Exec runs a command in a container of a pod and returns what it wrote, stdout and stderr together, and its exit code. Of output beyond limit
// bytes the end is kept, after a line that says how much is missing. err tells that the command could not be run, or not to its end; output is
// then what had come. When ctx ends before the command, that may go on in the pod. When the API server loses the kubelet meanwhile, it calls that a
// success: who has to know lets the command say that it is done. container may be "" when the pod has but one.
func (s *Streams) Exec(ctx context.Context, pod fleet.PodRef, container string, command []string, limit int) (output string, exitCode int, err error) {
	out := &lastOutput{limit: limit}
	done := make(chan error, 1)
	go func() { done <- s.exec(ctx, pod, container, command, out) }()
	select {
	case err = <-done:
	case <-ctx.Done(): // not every step of exec heeds it
	}
	var code exec.CodeExitError
	switch {
	case errors.As(err, &code):
		return out.String(), code.Code, nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err == nil:
		return out.String(), 0, nil
	}
	return out.String(), -1, classify(fmt.Errorf("exec in pod %s: %w", pod, err))
}

func (s *Streams) exec(ctx context.Context, pod fleet.PodRef, container string, command []string, out io.Writer) error {
	to := s.podURL(pod, "exec")
	options := &corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}
	query, err := scheme.ParameterCodec.EncodeParameters(options, corev1.SchemeGroupVersion)
	if err != nil {
		return err
	}
	to.RawQuery = query.Encode()
	streams := remotecommand.StreamOptions{Stdout: out, Stderr: out}
	byWebsocket, err := remotecommand.NewWebSocketExecutor(s.cfg, http.MethodGet, to.String())
	if err != nil {
		return err
	}
	err = byWebsocket.StreamWithContext(ctx, streams)
	if !wantsSPDY(err) {
		return err
	}
	bySPDY, other := remotecommand.NewSPDYExecutor(s.cfg, http.MethodPost, to)
	if other != nil {
		return other
	}
	if other := bySPDY.StreamWithContext(ctx, streams); other != nil {
		return plainest(err, other)
	}
	return nil
}

// lastOutput keeps the end of what is written to it, by several at once.
type lastOutput struct {
	limit int

	mu   sync.Mutex
	kept []byte
	cut  int
}

func (o *lastOutput) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept = append(o.kept, b...)
	if more := len(o.kept) - o.limit; more > 0 {
		o.cut += more
		o.kept = append(o.kept[:0], o.kept[more:]...)
	}
	return len(b), nil
}

func (o *lastOutput) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := strings.ToValidUTF8(string(o.kept), "")
	if o.cut == 0 {
		return kept
	}
	return fmt.Sprintf("(%d bytes before this were cut)\n%s", o.cut, kept)
}

// Hook is a call that the owner of a store wrote: HTTP to the pod, or a command in it.
type Hook struct {
	text      string
	url       *url.URL // nil for a command
	port      int
	container string // "" for the pod's first
	command   string
}

// String is the hook as it was written.
func (h Hook) String() string { return h.text }

const hookForms = "http://:PORT/PATH, https://:PORT/PATH, exec: COMMAND or exec(CONTAINER): COMMAND"

var errHookForm = errors.New("want " + hookForms)

var execForm = regexp.MustCompile(`(?s)^exec(\(([^)]*)\))?:(.*)$`)

// ParseHook reads a hook in one of the hookForms. The command is sh's. A host is only the name that the pod is asked by: the call goes to the pod.
func ParseHook(text string) (Hook, error) {
	h, err := parseHook(strings.TrimSpace(text))
	if err != nil {
		return Hook{}, fmt.Errorf("hook %q: %w", text, err)
	}
	return h, nil
}

func parseHook(text string) (Hook, error) {
	h := Hook{text: text}
	if m := execForm.FindStringSubmatch(text); m != nil {
		h.container, h.command = m[2], strings.TrimSpace(m[3])
		if why := validation.IsDNS1123Label(h.container); m[1] != "" && len(why) > 0 {
			return h, fmt.Errorf("container %q in the parentheses: %s", h.container, why[0])
		}
		if h.command == "" {
			return h, errors.New("no command after the colon")
		}
		return h, nil
	}
	scheme, _, ok := strings.Cut(text, "://")
	if !ok || scheme != "http" && scheme != "https" {
		return h, errHookForm
	}
	u, err := url.Parse(text)
	var inside *url.Error
	switch {
	case errors.As(err, &inside):
		return h, inside.Err // the rest of it quotes the text once more
	case err != nil:
		return h, err
	case u.User != nil:
		return h, errors.New("credentials before the @ would be visible to all who may read the pod; use exec")
	}
	h.url, h.port = u, map[string]int{"http": 80, "https": 443}[scheme]
	if p := u.Port(); p != "" {
		if h.port, err = strconv.Atoi(p); err != nil || h.port < 1 || h.port > 65535 {
			return h, fmt.Errorf("port %q: want 1 to 65535", p)
		}
	}
	return h, nil
}

// hookOutput bounds what is quoted of a hook's answer.
const hookOutput = 2 << 10

// CallHook calls a hook once, in exactly this pod, and returns nil when it succeeded: a status of 2xx, an exit code of 0. Like the kubelet's probes
// it follows no redirect and checks no certificate.
func (s *Streams) CallHook(ctx context.Context, reach Reach, ref fleet.PodRef, hook Hook, within time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("no answer within %s", within))
	defer cancel()
	pod, err := s.exactPod(ctx, ref)
	if err == nil {
		err = s.callHook(ctx, reach, pod, ref, hook)
	}
	if err == nil {
		return nil
	}
	return ofStore(fmt.Errorf("call hook %q in pod %s: %w", hook, ref, err), ref.Namespace)
}

func (s *Streams) callHook(ctx context.Context, reach Reach, pod *corev1.Pod, ref fleet.PodRef, hook Hook) error {
	if hook.url != nil {
		return hook.get(ctx, reach, pod, ref)
	}
	container := hook.container
	if container == "" {
		container = pod.Spec.Containers[0].Name
	}
	return s.runHook(ctx, ref, container, hook.command)
}

// hookScript has a command's output end with a line that the command ended: when the connection between API server and kubelet breaks, that looks
// like success.
const (
	hookScript = `sh -c "$1" 2>&1; code=$?; echo; echo "drover: exit code $code"; exit "$code"`
	hookEnd    = "\ndrover: exit code "
)

func (s *Streams) runHook(ctx context.Context, pod fleet.PodRef, container, command string) error {
	output, code, err := s.Exec(ctx, pod, container, []string{"sh", "-c", hookScript, "sh", command}, hookOutput)
	said, ended := strings.CutSuffix(output, hookEnd+strconv.Itoa(code)+"\n")
	switch {
	case err != nil:
	case code != 0:
		err = fmt.Errorf("container %s: exit code %d", container, code)
	case !ended:
		err = fmt.Errorf("container %s: the connection ended before the command did", container)
	}
	return quoting(err, said)
}

// exactPod reads the pod live, and refuses when another has its name by now.
func (s *Streams) exactPod(ctx context.Context, ref fleet.PodRef) (*corev1.Pod, error) {
	pod, err := s.client.CoreV1().Pods(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case apierrors.IsNotFound(err):
		return nil, &fleet.Refused{Reason: "the pod is gone"}
	case err != nil:
		return nil, classify(err)
	case string(pod.UID) != ref.UID:
		return nil, &fleet.Refused{Reason: "the pod is gone, and another has its name"}
	case pod.Status.PodIP == "":
		return nil, &fleet.Refused{Reason: "the pod has no address yet"}
	}
	return pod, nil
}

// get makes the call by HTTP.
func (h Hook) get(ctx context.Context, reach Reach, pod *corev1.Pod, ref fleet.PodRef) error {
	to := *h.url
	if to.Hostname() == "" {
		to.Host = net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(h.port))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "drover")
	client := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return reach(ctx, ref, pod.Status.PodIP, h.port)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(r)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("GET %s: %w", &to, context.Cause(ctx))
	}
	if err != nil {
		return err // names the method and the URL
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 200 && answer.StatusCode < 300 {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(answer.Body, hookOutput)) // only for the message
	err = fmt.Errorf("GET %s: %s", &to, answer.Status)
	if to := answer.Header.Get("Location"); to != "" {
		err = fmt.Errorf("%w: a redirect to %q, which is not followed", err, to)
	}
	return quoting(err, strings.ToValidUTF8(string(body), ""))
}

// quoting adds what was said to an error.
func quoting(err error, said string) error {
	if said = strings.TrimSpace(said); err == nil || said == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, said)
}
