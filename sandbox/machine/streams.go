package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/exec"
)

const (
	streamIdle     = 4 * time.Hour   // the kubelet's
	streamCreation = 5 * time.Second // the kubelet waits 30s; Close would, too
)

// serveStreams serves the API server's side of kubectl exec, port-forward and logs in the kubelet's manner until the machine dies, and notes in
// status where.
func (mach *Machine) serveStreams(status *corev1.NodeStatus) error {
	if mach.m.Streams == nil {
		return nil
	}
	address := mach.addresses.node.String()
	config, err := mach.m.Streams(net.ParseIP(address))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", net.JoinHostPort(address, "0"))
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: mach.streams(), TLSConfig: config, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(mach.m.Log.Handler(), slog.LevelDebug), // mostly of clients that were turned away
	}
	context.AfterFunc(mach.ctx, func() { server.Close() })
	mach.m.work.Go(func() {
		if err := server.ServeTLS(mortal{listener, mach.ctx}, "", ""); !errors.Is(err, http.ErrServerClosed) {
			mach.m.Log.Error("serve streams", "node", mach.spec.Name, "error", err)
		}
	})
	status.Addresses = append(status.Addresses, corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: address})
	status.DaemonEndpoints.KubeletEndpoint.Port = int32(listener.Addr().(*net.TCPAddr).Port)
	return nil
}

// mortal is a listener whose connections break when ctx ends, those included that an http.Server gave away.
type mortal struct {
	net.Listener
	ctx context.Context
}

type mortalConn struct {
	*net.TCPConn
	spare func() bool
}

// Accept is net.Listener's.
func (l mortal) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	return &mortalConn{tcp, context.AfterFunc(l.ctx, func() { reset(tcp) })}, nil
}

// Close is net.Conn's.
func (c *mortalConn) Close() error {
	c.spare()
	return c.TCPConn.Close()
}

// streams are the paths that the API server asks for.
func (mach *Machine) streams() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", mach.whileAlive(mach.serveExec))
	mux.HandleFunc("/portForward/{namespace}/{pod}", mach.whileAlive(mach.servePortForward))
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", mach.whileAlive(mach.serveLogs))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "a light machine serves exec, port-forward and logs only", http.StatusNotImplemented)
	})
	return mux
}

// whileAlive has Close wait for what is being served.
func (mach *Machine) whileAlive(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !mach.hold() {
			http.Error(w, errDead.Error(), http.StatusServiceUnavailable)
			return
		}
		defer mach.m.lives.Done()
		serve(w, r)
	}
}

// hold keeps Close from returning before lives.Done is called; false when the machine is dead.
func (mach *Machine) hold() bool {
	mach.mu.Lock()
	defer mach.mu.Unlock()
	if !mach.dead {
		mach.m.lives.Add(1)
	}
	return !mach.dead
}

// processPod finds the pod that a request names.
func (mach *Machine) processPod(r *http.Request) (*pod, error) {
	namespace, name := r.PathValue("namespace"), r.PathValue("pod")
	mach.mu.Lock()
	defer mach.mu.Unlock()
	for _, p := range mach.pods {
		switch {
		case p.namespace != namespace || p.name != name:
		case !p.script.process:
			return nil, fmt.Errorf(`pod %s is simulated and has no process: annotate it %s: "true" for a real one`, p, AnnotationProcess)
		default:
			return p, nil
		}
	}
	return nil, fmt.Errorf("pod %s/%s is not on machine %s", namespace, name, mach.spec.Name)
}

// container finds the container that a request names.
func (p *pod) container(name string) (*container, error) {
	i := slices.IndexFunc(p.containers, func(c *container) bool { return c.spec.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("pod %s has no container %q", p, name)
	}
	return p.containers[i], nil
}

// process is the container's, if it runs.
func (c *container) process() (*process, error) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	x, _ := c.task.(*process)
	if x == nil || over(x) {
		return nil, fmt.Errorf("container %s of pod %s does not run", c.spec.Name, c.p)
	}
	return x, nil
}

func (mach *Machine) serveExec(w http.ResponseWriter, r *http.Request) {
	x, options, err := mach.execOf(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, executor{x}, "", "", "", r.Form["command"], options, streamIdle, streamCreation, remotecommand.SupportedStreamingProtocols)
}

func (mach *Machine) execOf(r *http.Request) (*process, *remotecommand.Options, error) {
	p, err := mach.processPod(r)
	if err != nil {
		return nil, nil, err
	}
	c, err := p.container(r.PathValue("container"))
	if err != nil {
		return nil, nil, err
	}
	x, err := c.process()
	if err != nil {
		return nil, nil, err
	}
	options, err := remotecommand.NewOptions(r)
	switch {
	case err != nil:
		return nil, nil, err
	case options.TTY:
		return nil, nil, errors.New("a terminal is not simulated: leave out -t")
	case len(r.Form["command"]) == 0:
		return nil, nil, errors.New("no command given")
	}
	return x, options, nil
}

// executor runs commands beside a container's process.
type executor struct{ x *process }

// ExecInContainer is remotecommand.Executor's. It does not hear of a client that leaves; writing to it fails.
func (e executor) ExecInContainer(ctx context.Context, _, _, _ string, argv []string, in io.Reader, out, errs io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	std := stdio{in: in}
	if out != nil { // a nil one in an io.Writer would not be nil
		std.out = out
	}
	if errs != nil {
		std.err = errs
	}
	end, err := e.x.beside(ctx, argv, std)
	if err != nil {
		return err
	}
	if end.code != 0 {
		return exec.CodeExitError{Err: fmt.Errorf("exit code %d", end.code), Code: int(end.code)}
	}
	return nil
}

func (mach *Machine) servePortForward(w http.ResponseWriter, r *http.Request) {
	p, err := mach.processPod(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, forwarder{p}, p.String(), string(p.uid), options, streamIdle, streamCreation, portforward.SupportedProtocols)
}

// forwarder connects to a pod's ports.
type forwarder struct{ p *pod }

// PortForward is portforward.PortForwarder's.
func (f forwarder) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	mach := f.p.mach
	if !mach.hold() {
		return errDead
	}
	defer mach.m.lives.Done()
	f.p.mu.Lock()
	ip := f.p.ip
	f.p.mu.Unlock()
	if ip == "" {
		return errors.New("the pod has no address yet")
	}
	ctx, cancel := context.WithTimeout(mach.ctx, dialTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp4", net.JoinHostPort(DialAddress(ip), strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	defer conn.Close()
	tcp := conn.(*net.TCPConn)
	defer context.AfterFunc(mach.ctx, func() { reset(tcp) })()
	go func() { // until the client closes the stream, or leaves
		if _, err := io.Copy(tcp, stream); err == nil {
			_ = tcp.CloseWrite()
		}
	}()
	_, err = io.Copy(stream, tcp)
	return err
}

// unreadable are the parameters of logs that are not simulated.
var unreadable = []string{"follow", "previous", "sinceSeconds", "sinceTime", "timestamps"}

func (mach *Machine) serveLogs(w http.ResponseWriter, r *http.Request) {
	p, err := mach.processPod(r)
	if err == nil {
		_, err = p.container(r.PathValue("container"))
	}
	for _, key := range unreadable {
		if err == nil && r.FormValue(key) != "" {
			err = fmt.Errorf("%s is not simulated: of logs there are tail and limit-bytes only", key)
		}
	}
	var log []byte
	if err == nil {
		log, err = os.ReadFile(mach.m.LogFile(p.namespace, p.name, p.uid, r.PathValue("container")))
	}
	if err == nil {
		log, err = excerpt(log, r.FormValue("tailLines"), r.FormValue("limitBytes"))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(log)
}

// excerpt is the last lines of a log, and of these the first bytes; "" is all.
func excerpt(log []byte, lines, limit string) ([]byte, error) {
	if lines != "" {
		n, err := strconv.Atoi(lines)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("tailLines %q: want a number", lines)
		}
		all := slices.Collect(bytes.Lines(log))
		log = bytes.Join(all[max(0, len(all)-n):], nil)
	}
	if limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("limitBytes %q: want a number", limit)
		}
		log = log[:min(n, len(log))]
	}
	return log, nil
}
