package balancer

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"time"
)

// front is a target group's listener and all that goes through it.
type front struct {
	b         *Balancer
	instances bool // as in the group, which never changes its type
	listener  net.Listener
	server    *http.Server
	ctx       context.Context
	cancel    context.CancelFunc
	work      sync.WaitGroup

	mu      sync.Mutex
	group   TargetGroup
	turn    int // round robin
	picking int // choices under way: see begin
	flying  map[name]map[*flight]bool
	checks  map[name]*check
}

// flight is one request or connection on its way to a target.
type flight struct {
	to  Target
	cut context.CancelCauseFunc
}

// Why a flight did not land.
var (
	errNoTarget = errors.New("no target can take a request")
	errCut      = errors.New("the target's deregistration delay is over")
)

func openFront(b *Balancer, g TargetGroup) (*front, error) {
	if g.Protocol != "HTTP" && g.Protocol != "TCP" {
		return nil, fmt.Errorf("protocol %s is not simulated, only HTTP and TCP", g.Protocol)
	}
	listener, err := net.Listen("tcp4", b.Listen(g))
	if err != nil {
		return nil, err
	}
	f := &front{b: b, instances: g.Instances, listener: listener, group: g, flying: map[name]map[*flight]bool{}, checks: map[name]*check{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	if g.Protocol == "TCP" {
		f.work.Go(f.serveTCP)
		return f, nil
	}
	f.server = &http.Server{
		Handler:           f.proxy(),
		ReadHeaderTimeout: b.Timeout,
		ErrorLog:          log.New(nothing{}, "", 0), // aborted answers; the load generator counts them
		BaseContext:       func(net.Listener) context.Context { return f.ctx },
	}
	f.work.Go(func() { _ = f.server.Serve(listener) }) // until close
	return f, nil
}

type nothing struct{}

func (nothing) Write(b []byte) (int, error) { return len(b), nil }

func (f *front) close() {
	f.cancel()
	f.listener.Close()
	if f.server != nil {
		f.server.Close()
	}
	f.mu.Lock()
	for _, c := range f.checks {
		c.stop()
	}
	f.mu.Unlock()
	f.work.Wait()
}

// look compares what the front does with what the cloud says: checks for who is there, an end to the flights of who is not, and word of
// who has drained.
func (f *front) look(g TargetGroup) {
	targets := f.b.Cloud.Targets(g.ARN)
	known := map[name]bool{}
	var drained []Target
	f.mu.Lock()
	f.group = g
	for _, t := range targets {
		n := t.name()
		known[n] = true
		switch t.State {
		case Draining:
			f.unwatch(n)
			// A choice that began before the state was read may still fall on this target.
			if len(f.flying[n]) == 0 && f.picking == 0 {
				drained = append(drained, t)
			}
		case Unused:
			f.unwatch(n)
		default:
			f.watch(t)
		}
	}
	for n := range f.checks {
		if !known[n] {
			f.unwatch(n)
		}
	}
	var late []*flight
	for n, flights := range f.flying {
		if !known[n] {
			for fl := range flights {
				late = append(late, fl)
			}
		}
	}
	f.mu.Unlock()
	for _, fl := range late {
		fl.cut(errCut)
	}
	for _, t := range drained {
		if err := f.b.Cloud.ReportTargetDrained(g.ARN, t.ID, t.Port); err != nil {
			f.b.Log.Warn("report drained", "group", g.Name, "target", t.ID, "error", err)
		}
	}
}

// begin chooses a target and notes the flight. The cloud is asked outside the lock, so the choice is announced first: look does not
// take a target for drained while one is under way.
func (f *front) begin(cut context.CancelCauseFunc) (*flight, error) {
	f.mu.Lock()
	f.picking++
	arn := f.group.ARN
	f.mu.Unlock()
	targets := eligible(f.b.Cloud.Targets(arn))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.picking--
	if len(targets) == 0 {
		return nil, errNoTarget
	}
	f.turn++
	fl := &flight{to: targets[f.turn%len(targets)], cut: cut}
	n := fl.to.name()
	if f.flying[n] == nil {
		f.flying[n] = map[*flight]bool{}
	}
	f.flying[n][fl] = true
	return fl, nil
}

func (f *front) land(fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := fl.to.name()
	delete(f.flying[n], fl)
	if len(f.flying[n]) == 0 {
		delete(f.flying, n)
	}
}

// eligible are the healthy targets, or else the unhealthy ones: ELB fails open. A target that is new, draining or unused gets nothing
// in either case.
func eligible(all []Target) []Target {
	var healthy, unhealthy []Target
	for _, t := range all {
		switch t.State {
		case Healthy:
			healthy = append(healthy, t)
		case Unhealthy:
			unhealthy = append(unhealthy, t)
		}
	}
	if len(healthy) > 0 {
		return healthy
	}
	return unhealthy
}

// connect dials a target at the given port, 0 meaning its own.
func (f *front) connect(ctx context.Context, t Target, port int) (net.Conn, error) {
	host := t.ID
	if f.instances {
		var ok bool
		if host, ok = f.b.Cloud.Address(t.ID); !ok {
			return nil, fmt.Errorf("instance %s has no address", t.ID)
		}
	}
	if port == 0 {
		port = t.Port
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return f.b.Dial(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
}

const connectTimeout = 10 * time.Second // ELB's

type flightKey struct{}

// proxy forwards each request over a connection of its own. A transport that kept connections would retry on one that the target has
// closed, and so hide losses.
func (f *front) proxy() http.Handler {
	transport := &http.Transport{
		DisableKeepAlives:     true,
		DisableCompression:    true,
		ResponseHeaderTimeout: f.b.Timeout,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return f.connect(ctx, ctx.Value(flightKey{}).(*flight).to, 0)
		},
	}
	forward := &httputil.ReverseProxy{
		Transport: transport,
		ErrorLog:  log.New(nothing{}, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", r.In.Host
			if r.Out.URL.Host == "" { // HTTP/1.0
				r.Out.URL.Host = "target"
			}
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			w.WriteHeader(statusOf(r, err))
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cut := context.WithCancelCause(r.Context())
		defer cut(nil)
		fl, err := f.begin(cut)
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		defer f.land(fl)
		forward.ServeHTTP(w, r.WithContext(context.WithValue(ctx, flightKey{}, fl)))
	})
}

// statusOf is what ELB answers when the target did not.
func statusOf(r *http.Request, err error) int {
	var slow interface{ Timeout() bool }
	switch {
	case errors.Is(context.Cause(r.Context()), errCut):
		return http.StatusBadGateway
	case errors.As(err, &slow) && slow.Timeout():
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}
