package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	forward "k8s.io/client-go/tools/portforward"
	spdytransport "k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/transport/websocket"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"drover.dev/fleet"
)

// Streams lead into pods through the API server: to their ports (Forward) and to commands in their containers (Exec). They need those of
// StoreRights: "get" for websockets, "create" for SPDY, and for websockets since Kubernetes 1.35. They go by websocket, or SPDY where the API server or a proxy before it does not let that pass.
type Streams struct {
	cfg    *rest.Config
	client kubernetes.Interface
}

// OpenStreams makes no request yet.
func OpenStreams(cfg *rest.Config) (*Streams, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = "drover"
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("kubernetes client: %w", err)
	}
	return &Streams{cfg: cfg, client: client}, nil
}

// Forward reaches pods by their names alone, through the API server and the pod's kubelet. Whether anybody listens at the port shows only at the
// first Read.
func (s *Streams) Forward() Reach {
	return func(ctx context.Context, pod fleet.PodRef, _ string, port int) (net.Conn, error) {
		conn, err := s.forward(ctx, pod, port)
		if err != nil {
			return nil, classify(fmt.Errorf("port-forward to port %d of pod %s: %w", port, pod, err))
		}
		return conn, nil
	}
}

// forward opens a connection. Some of its steps do not heed ctx but end by themselves; when ctx ends first, what they still open is closed.
func (s *Streams) forward(ctx context.Context, pod fleet.PodRef, port int) (*forwarded, error) {
	type opened struct {
		conn *forwarded
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		conn, err := s.openForward(ctx, pod, port)
		done <- opened{conn, err}
	}()
	select {
	case o := <-done:
		return o.conn, o.err
	case <-ctx.Done():
	}
	go func() {
		if late := <-done; late.err == nil {
			late.conn.Close()
		}
	}()
	return nil, context.Cause(ctx)
}

func (s *Streams) openForward(ctx context.Context, pod fleet.PodRef, port int) (*forwarded, error) {
	tunnel, err := s.tunnel(ctx, pod)
	if err != nil {
		return nil, err
	}
	conn, err := newForwarded(tunnel, pod, port)
	if err != nil {
		tunnel.Close()
	}
	return conn, err
}

// tunnel connects to the pod's kubelet.
func (s *Streams) tunnel(ctx context.Context, pod fleet.PodRef) (httpstream.Connection, error) {
	to := s.podURL(pod, "portforward")
	conn, err := s.websocketTunnel(ctx, to)
	if !wantsSPDY(err) {
		return conn, err
	}
	conn, other := s.spdyTunnel(ctx, to)
	if other != nil {
		return nil, plainest(err, other)
	}
	return conn, nil
}

func (s *Streams) podURL(pod fleet.PodRef, subresource string) *url.URL {
	return s.client.CoreV1().RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource(subresource).URL()
}

// pingEvery is also how long it takes to notice that the API server lost the kubelet: it says so only when it is sent something.
const pingEvery = 3 * time.Second

func (s *Streams) websocketTunnel(ctx context.Context, to *url.URL) (httpstream.Connection, error) {
	transport, holder, err := websocket.RoundTripperFor(s.cfg)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return nil, err
	}
	conn, err := websocket.Negotiate(transport, holder, r, portforward.WebsocketsSPDYTunnelingPortForwardV1)
	if err != nil {
		return nil, err
	}
	return spdy.NewClientConnectionWithPings(forward.NewTunnelingConnection("drover", conn), pingEvery)
}

func (s *Streams) spdyTunnel(ctx context.Context, to *url.URL) (httpstream.Connection, error) {
	transport, upgrader, err := spdytransport.RoundTripperFor(s.cfg)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), nil)
	if err != nil {
		return nil, err
	}
	conn, _, err := spdytransport.NegotiateStreaming(upgrader, &http.Client{Transport: transport}, r, portforward.PortForwardV1Name)
	return conn, err
}

// wantsSPDY tells whether a websocket did not come about for reasons that SPDY may not have.
func wantsSPDY(err error) bool {
	return err != nil && (httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err))
}

// plainest is what to say when both failed: the API server's own answer, which is whole only by websocket, if it refused SPDY as well.
func plainest(websocket, spdy error) error {
	var failure *httpstream.UpgradeFailureError
	if errors.As(websocket, &failure) && message(failure.Cause) != "" && strings.Contains(spdy.Error(), "unable to upgrade connection") {
		return failure.Cause
	}
	return spdy
}

// lingering is how long Close waits for what was written before.
const lingering = time.Second

// forwarded is a connection to a port of a pod. Its user has one end of a pipe, so that deadlines work as those of a socket: a stream has none,
// and one of the tunnel would break it.
type forwarded struct {
	net.Conn
	tunnel  httpstream.Connection
	to      podPort
	drained chan struct{} // closed when nothing more is sent to the pod

	mu     sync.Mutex
	closed bool  // by the user
	broken error // why the pod's side ended, unless it just did
}

// podPort is the address of a forwarded connection.
type podPort struct {
	pod  fleet.PodRef
	port int
}

func (podPort) Network() string  { return "portforward" }
func (p podPort) String() string { return fmt.Sprintf("%s:%d", p.pod, p.port) }

func newForwarded(tunnel httpstream.Connection, pod fleet.PodRef, port int) (*forwarded, error) {
	header := http.Header{}
	header.Set(corev1.PortHeader, strconv.Itoa(port))
	header.Set(corev1.PortForwardRequestIDHeader, "0")
	header.Set(corev1.StreamType, corev1.StreamTypeError)
	failures, err := tunnel.CreateStream(header)
	if err != nil {
		return nil, fmt.Errorf("open its error stream: %w", err)
	}
	if err := failures.Close(); err != nil { // our direction
		return nil, fmt.Errorf("open its error stream: %w", err)
	}
	header.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := tunnel.CreateStream(header)
	if err != nil {
		return nil, fmt.Errorf("open its data stream: %w", err)
	}
	user, inner := net.Pipe()
	f := &forwarded{Conn: user, tunnel: tunnel, to: podPort{pod, port}, drained: make(chan struct{})}
	go f.send(data, inner)
	go f.receive(data, failures, inner)
	return f, nil
}

// send carries what the user writes, until the user closes the connection or the tunnel is.
func (f *forwarded) send(data httpstream.Stream, inner net.Conn) {
	defer close(f.drained)
	if _, err := io.Copy(data, inner); err == nil {
		_ = data.Close() // else the tunnel is gone, which receive tells of
	}
}

// failureLimit bounds what is read of a kubelet's error.
const failureLimit = 2 << 10

// receive carries what the pod sends, until its end, and notes why that came.
func (f *forwarded) receive(data, failures httpstream.Stream, inner net.Conn) {
	told := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(failures, failureLimit))
		told <- strings.TrimSpace(string(text))
	}()
	_, _ = io.Copy(inner, data) // an error is that of a pipe that the user closed
	if text := <-told; text != "" {
		f.fail(errors.New(text))
	} else if torn(f.tunnel) {
		f.fail(errors.New("the connection through the API server broke"))
	}
	_ = inner.Close()
	_ = f.tunnel.Close()
}

// torn tells whether the whole tunnel is closed, which it is before its streams are.
func torn(tunnel httpstream.Connection) bool {
	select {
	case <-tunnel.CloseChan():
		return true
	default:
		return false
	}
}

func (f *forwarded) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = fmt.Errorf("port-forward to port %d of pod %s: %w", f.to.port, f.to.pod, err)
}

// cause replaces what a pipe says of its end by why it ended.
func (f *forwarded) cause(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return net.ErrClosed
	case f.broken != nil:
		return f.broken
	}
	return err
}

// Read is net.Conn's.
func (f *forwarded) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	return n, f.cause(err)
}

// Write is net.Conn's.
func (f *forwarded) Write(b []byte) (int, error) {
	n, err := f.Conn.Write(b)
	return n, f.cause(err)
}

// Close sends what was written before, if that goes at once, and closes the tunnel.
func (f *forwarded) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	_ = f.Conn.Close() // a pipe's never fails
	linger := time.NewTimer(lingering)
	defer linger.Stop()
	select {
	case <-f.drained:
	case <-linger.C:
	}
	_ = f.tunnel.Close() // nobody can do anything about it
	return nil
}

// RemoteAddr is the pod's port.
func (f *forwarded) RemoteAddr() net.Addr { return f.to }
