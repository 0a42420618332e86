package balancer_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"drover.dev/sandbox/balancer"
	"drover.dev/sandbox/cloud"
)

// awsView shows the balancer the simulated AWS.
type awsView struct{ *cloud.Cloud }

func (v awsView) TargetGroups() []balancer.TargetGroup {
	var out []balancer.TargetGroup
	for _, g := range v.Cloud.TargetGroups() {
		h := g.HealthCheck
		out = append(out, balancer.TargetGroup{
			ARN: g.ARN, Name: g.Name, Protocol: g.Protocol, Instances: g.TargetType == "instance",
			Check: balancer.Check{
				Protocol: h.Protocol, Port: h.Port, Path: h.Path, Matcher: h.Matcher, Interval: h.Interval, Timeout: h.Timeout,
				Healthy: h.HealthyThreshold, Unhealthy: h.UnhealthyThreshold,
			},
		})
	}
	return out
}

func (v awsView) Targets(arn string) []balancer.Target {
	var out []balancer.Target
	for _, t := range v.Cloud.Targets(arn) {
		out = append(out, balancer.Target{ID: t.ID, Port: t.Port, State: balancer.State(t.State)})
	}
	return out
}

func (v awsView) Address(instance string) (string, bool) {
	i, ok := v.Instance(instance)
	return i.PrivateIP, ok && !i.Gone()
}

// stage is a cloud with one target group behind a balancer.
type stage struct {
	t     *testing.T
	cloud *cloud.Cloud
	lb    *balancer.Balancer
	arn   string
}

// newStage makes one whose health checks come every few milliseconds.
func newStage(t *testing.T, protocol string) *stage {
	t.Helper()
	c := cloud.New(cloud.Config{})
	t.Cleanup(c.Close)
	g, err := c.CreateTargetGroup(cloud.TargetGroup{
		Name: "web", TargetType: "ip", Protocol: protocol,
		HealthCheck: cloud.HealthCheck{Path: "/healthz", Interval: 5 * time.Second, HealthyThreshold: 2, UnhealthyThreshold: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetExternalHealth(g.ARN, true); err != nil {
		t.Fatal(err)
	}
	lb, err := balancer.New(balancer.Options{Cloud: awsView{c}, Speed: 500})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lb.Close)
	return &stage{t: t, cloud: c, lb: lb, arn: g.ARN}
}

func (s *stage) address() string {
	s.t.Helper()
	a, err := s.lb.Listener(s.arn)
	if err != nil {
		s.t.Fatal(err)
	}
	return a.String()
}

func targetOf(address string) cloud.TargetID {
	host, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return cloud.TargetID{ID: host, Port: n}
}

func (s *stage) register(address string) {
	s.t.Helper()
	if err := s.cloud.RegisterTargets(s.arn, []cloud.TargetID{targetOf(address)}); err != nil {
		s.t.Fatal(err)
	}
	s.lb.Refresh()
}

func (s *stage) deregister(address string) {
	s.t.Helper()
	if err := s.cloud.DeregisterTargets(s.arn, []cloud.TargetID{targetOf(address)}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) state(address string) cloud.TargetState {
	for _, t := range s.cloud.Targets(s.arn) {
		if (cloud.TargetID{ID: t.ID, Port: t.Port}) == targetOf(address) {
			return t.State
		}
	}
	return "gone"
}

func (s *stage) await(address string, want cloud.TargetState) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%s to be %s", address, want), func() bool { return s.state(address) == want })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited 30s for %s", what)
}

// backend is a server that counts.
type backend struct {
	*httptest.Server
	served atomic.Int64
	sick   atomic.Bool
	hold   chan struct{} // requests to /slow wait for it
}

func newBackend(t *testing.T, work time.Duration) *backend {
	b := &backend{hold: make(chan struct{})}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
			if b.sick.Load() {
				w.WriteHeader(http.StatusInternalServerError)
			}
		case "/slow":
			select {
			case <-b.hold:
			case <-r.Context().Done():
			}
		default:
			b.served.Add(1)
			time.Sleep(work)
			fmt.Fprintln(w, "hello")
		}
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *backend) address() string { return b.Listener.Addr().String() }

func (s *stage) load(rate float64) *balancer.Load {
	s.t.Helper()
	l, err := balancer.StartLoad(s.t.Context(), balancer.LoadOptions{URL: "http://" + s.address() + "/", Rate: rate})
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

// sends waits until the load has had n more answers.
func sends(t *testing.T, l *balancer.Load, n int) balancer.Report {
	t.Helper()
	before := l.Snapshot()
	eventually(t, fmt.Sprintf("%d more answers", n), func() bool {
		r := l.Snapshot()
		return r.OK+r.Failed >= before.OK+before.Failed+n
	})
	return l.Snapshot().Since(before)
}

func get(url string) (int, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	_, err = io.ReadAll(r.Body)
	return r.StatusCode, err
}

func TestDrainingTargetLosesNothing(t *testing.T) {
	s := newStage(t, "HTTP")
	a, b := newBackend(t, 20*time.Millisecond), newBackend(t, 20*time.Millisecond)
	for _, x := range []*backend{a, b} {
		s.register(x.address())
		s.await(x.address(), cloud.StateHealthy)
	}
	l := s.load(200)
	eventually(t, "both to serve", func() bool { return a.served.Load() > 10 && b.served.Load() > 10 })

	s.deregister(a.address())
	s.await(a.address(), "gone") // early: the delay is five minutes
	last := a.served.Load()
	a.Close()
	sends(t, l, 50)
	r := l.Stop()
	t.Log(r)
	if r.Failed != 0 || r.OK != r.Sent {
		t.Errorf("draining lost requests: %s", r)
	}
	if now := a.served.Load(); now != last {
		t.Errorf("the drained target got %d more requests", now-last)
	}
}

func TestKilledTargetLosesRequestsUntilChecksNotice(t *testing.T) {
	s := newStage(t, "HTTP")
	a, b := newBackend(t, 20*time.Millisecond), newBackend(t, 20*time.Millisecond)
	for _, x := range []*backend{a, b} {
		s.register(x.address())
		s.await(x.address(), cloud.StateHealthy)
	}
	l := s.load(200)
	eventually(t, "requests in flight on the victim", func() bool { return a.served.Load() > 10 })
	a.Config.Close() // the listener and every connection, answered or not
	s.await(a.address(), cloud.StateUnhealthy)
	sends(t, l, 20) // what was chosen before
	if after := sends(t, l, 50); after.Failed != 0 {
		t.Errorf("the dead target is unhealthy and requests are still lost: %s", after)
	}
	r := l.Stop()
	t.Log(r)
	if r.Failures["status 502"] == 0 || len(r.First) == 0 || r.First[0].Cause != "status 502" {
		t.Errorf("a target was killed under load and the report has no 502: %s", r)
	}
	if r.Sent != r.OK+r.Failed {
		t.Errorf("sent %d, ok %d, failed %d do not add up", r.Sent, r.OK, r.Failed)
	}
}

func TestAllUnhealthyFailsOpen(t *testing.T) {
	s := newStage(t, "HTTP")
	a := newBackend(t, 0)
	url := "http://" + s.address() + "/"
	if code, err := get(url); code != http.StatusServiceUnavailable {
		t.Errorf("without a target: %d, %v; want 503", code, err)
	}
	a.sick.Store(true)
	s.register(a.address())
	s.await(a.address(), cloud.StateUnhealthy)
	if got := s.cloud.Targets(s.arn)[0].Description; got != "Health checks failed with these codes: [500]" {
		t.Errorf("the target's description is %q", got)
	}
	if code, err := get(url); code != http.StatusOK {
		t.Errorf("with unhealthy targets only: %d, %v; want 200", code, err)
	}
	b := newBackend(t, 0)
	s.register(b.address())
	s.await(b.address(), cloud.StateHealthy)
	before := a.served.Load()
	for range 10 {
		if code, err := get(url); code != http.StatusOK {
			t.Errorf("%d, %v", code, err)
		}
	}
	if n := a.served.Load() - before; n != 0 {
		t.Errorf("the unhealthy target got %d requests beside a healthy one", n)
	}
	a.sick.Store(false)
	s.await(a.address(), cloud.StateHealthy)
}

func TestDeregistrationDelayCutsWhatIsStillInFlight(t *testing.T) {
	s := newStage(t, "HTTP")
	a := newBackend(t, 0)
	s.register(a.address())
	s.await(a.address(), cloud.StateHealthy)
	for attempt, c := range []struct {
		delay  string
		finish bool
		want   int
	}{{"300", true, http.StatusOK}, {"1", false, http.StatusBadGateway}} {
		if _, err := s.cloud.ModifyTargetGroupAttributes(s.arn, map[string]string{"deregistration_delay.timeout_seconds": c.delay}); err != nil {
			t.Fatal(err)
		}
		if attempt > 0 {
			s.register(a.address())
			s.await(a.address(), cloud.StateHealthy)
		}
		type answer struct {
			code int
			err  error
		}
		got := make(chan answer, 1)
		go func() {
			code, err := get("http://" + s.address() + "/slow")
			got <- answer{code, err}
		}()
		eventually(t, "the request to be in flight", func() bool { return s.lb.InFlight(s.arn) == 1 })
		s.deregister(a.address())
		if state := s.state(a.address()); state != cloud.StateDraining {
			t.Fatalf("state %s with a request in flight, want draining", state)
		}
		if c.finish {
			a.hold <- struct{}{}
		}
		if g := <-got; g.code != c.want {
			t.Errorf("delay %s s, finished %v: %d, %v; want %d", c.delay, c.finish, g.code, g.err, c.want)
		}
		s.await(a.address(), "gone")
	}
}

func TestTCPConnectionOutlivesDraining(t *testing.T) {
	s := newStage(t, "TCP")
	echo, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	address := echo.Addr().String()
	s.register(address)
	s.await(address, cloud.StateHealthy)
	c, err := net.Dial("tcp", s.address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say := func() error {
		if _, err := c.Write([]byte("ping")); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 4))
		return err
	}
	if err := say(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.cloud.ModifyTargetGroupAttributes(s.arn, map[string]string{"deregistration_delay.timeout_seconds": "1"}); err != nil {
		t.Fatal(err)
	}
	s.deregister(address)
	if err := say(); err != nil {
		t.Errorf("the connection broke when its target began to drain: %v", err)
	}
	late, err := net.Dial("tcp", s.address())
	if err == nil {
		if _, err := late.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "reset") {
			t.Errorf("a new connection without a target: %v, want a reset", err)
		}
		late.Close()
	}
	s.await(address, "gone")
	if _, err := io.ReadAll(c); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("the connection after the deregistration delay: %v, want a reset", err)
	}
}

func TestListenerSaysWhyThereIsNone(t *testing.T) {
	s := newStage(t, "UDP")
	if _, err := s.lb.Listener(s.arn); err == nil || !strings.Contains(err.Error(), "UDP is not simulated") {
		t.Errorf("a UDP group's listener: %v", err)
	}
	if _, err := s.lb.Listener("arn:none"); err == nil {
		t.Error("a listener of no group")
	}
}

func TestServeLeavesWithoutLosingAnybody(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	address := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- balancer.Serve(ctx, "127.0.0.1:0", balancer.ServeOptions{
			Name: "web-1", Work: 300 * time.Millisecond, Linger: 300 * time.Millisecond,
			Started: func(a net.Addr) { address <- a },
		})
	}()
	url := "http://" + (<-address).String()
	if code, err := get(url + "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d, %v", code, err)
	}
	leave()
	eventually(t, "/healthz to say no", func() bool { code, _ := get(url + "/healthz"); return code == http.StatusServiceUnavailable })
	// A newcomer during the linger is served, even though its answer comes after the linger's end.
	if code, err := get(url + "/"); code != http.StatusOK {
		t.Errorf("a request during the linger: %d, %v", code, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := get(url); err == nil {
		t.Error("it still answers after the end")
	}
}
