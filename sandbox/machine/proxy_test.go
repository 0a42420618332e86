package machine

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const nodePort = 30080

var webService = types.NamespacedName{Namespace: "default", Name: "web"}

// street is a proxy without a manager: two nodes, one service, and endpoints that are local servers.
type street struct {
	t  *testing.T
	ps *proxies
}

func newStreet(t *testing.T, change func(*corev1.ServiceSpec)) *street {
	s := &street{t: t, ps: &proxies{}}
	s.ps.init(slog.New(slog.DiscardHandler))
	t.Cleanup(s.ps.close)
	for name, ip := range map[string]string{"n1": "127.58.2.1", "n2": "127.58.3.1"} {
		if err := s.ps.start(name, ip); err != nil {
			t.Fatal(err)
		}
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Name: "http", Port: 80, NodePort: nodePort}}},
	}
	if change != nil {
		change(&service.Spec)
	}
	s.ps.serviceSeen(service)
	return s
}

// endpoint is a pod at an address, as an EndpointSlice has it.
type endpoint struct {
	address, node               string
	ready, serving, terminating bool
}

// endpoints replaces the service's slices: one for each endpoint, since the test's servers have ports of their own.
func (s *street) endpoints(all ...endpoint) {
	have := map[string]bool{}
	for _, e := range all {
		host, port, _ := net.SplitHostPort(e.address)
		n, _ := strconv.Atoi(port)
		name := "web-" + port
		have[name] = true
		s.ps.sliceSeen(&discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: ptr("http"), Port: ptr(int32(n))}},
			Endpoints: []discoveryv1.Endpoint{{
				Addresses: []string{host}, NodeName: &e.node,
				Conditions: discoveryv1.EndpointConditions{Ready: &e.ready, Serving: &e.serving, Terminating: &e.terminating},
			}},
		})
	}
	s.ps.mu.Lock()
	var gone []*discoveryv1.EndpointSlice
	for _, slice := range s.ps.slices[webService] {
		if !have[slice.Name] {
			gone = append(gone, slice)
		}
	}
	s.ps.mu.Unlock()
	for _, slice := range gone {
		s.ps.sliceGone(slice)
	}
}

func up(address, node string) endpoint { return endpoint{address, node, true, true, false} }

func leaving(address, node string) endpoint { return endpoint{address, node, false, true, true} }

// server answers with its name.
func (s *street) server(name string) string {
	s.t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name) })}
	go server.Serve(l)
	s.t.Cleanup(func() { server.Close() })
	return l.Addr().String()
}

// ask returns who answers at a node, and "refused" if there is no listener.
func (s *street) ask(node string) string {
	s.t.Helper()
	body, err := get(fmt.Sprintf("http://%s:%d/", map[string]string{"n1": "127.58.2.1", "n2": "127.58.3.1"}[node], nodePort))
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "refused"
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return body
}

func TestProxyChoosesReadyThenLeaving(t *testing.T) {
	s := newStreet(t, nil)
	if got := s.ask("n1"); got != "refused" {
		t.Errorf("without endpoints: %s", got)
	}
	a, b := s.server("a"), s.server("b")
	s.endpoints(leaving(a, "n1"), up(b, "n2"))
	for range 20 {
		if got := s.ask("n1"); got != "b" {
			t.Fatalf("%s answered although it leaves and b is ready", got)
		}
	}
	s.endpoints(leaving(a, "n1"))
	if got := s.ask("n2"); got != "a" {
		t.Errorf("only a is left, and it serves still: %s", got)
	}
	s.endpoints(endpoint{a, "n1", false, false, true})
	if got := s.ask("n2"); got != "refused" {
		t.Errorf("a serves no more: %s", got)
	}
}

func TestProxyKeepsLocalTrafficLocal(t *testing.T) {
	const health = 30081
	s := newStreet(t, func(spec *corev1.ServiceSpec) {
		spec.Type, spec.ExternalTrafficPolicy, spec.HealthCheckNodePort = corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal, health
	})
	s.endpoints(up(s.server("a"), "n1"))
	if got := s.ask("n1"); got != "a" {
		t.Errorf("on the pod's node: %s", got)
	}
	if got := s.ask("n2"); got != "refused" {
		t.Errorf("on the other node: %s", got)
	}
	for ip, want := range map[string]int{"127.58.2.1": http.StatusOK, "127.58.3.1": http.StatusServiceUnavailable} {
		r, err := http.Get(fmt.Sprintf("http://%s:%d/healthz", ip, health))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != want {
			t.Errorf("health of %s: %d, want %d", ip, r.StatusCode, want)
		}
	}
}

// Endpoints come and go under load; no request may be lost, since whoever is asked for serves.
func TestProxyLosesNothingWhileEndpointsChange(t *testing.T) {
	s := newStreet(t, nil)
	a, b := s.server("a"), s.server("b")
	s.endpoints(up(a, "n1"))
	var lost, asked atomic.Int32
	stop := make(chan struct{})
	var askers sync.WaitGroup
	for range 4 {
		askers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := get(fmt.Sprintf("http://127.58.2.1:%d/", nodePort)); err != nil {
					lost.Add(1)
					t.Log(err)
				}
				asked.Add(1)
			}
		})
	}
	for round := 0; asked.Load() < 1000; round++ {
		s.endpoints([][]endpoint{{up(a, "n1"), up(b, "n2")}, {leaving(a, "n1"), up(b, "n2")}, {up(b, "n2")}, {leaving(b, "n2")}, {up(a, "n1"), leaving(b, "n2")}, {up(a, "n1")}}[round%6]...)
		time.Sleep(time.Millisecond)
	}
	close(stop)
	askers.Wait()
	if lost.Load() > 0 {
		t.Errorf("%d of %d requests were lost", lost.Load(), asked.Load())
	}
}

func TestProxyPassesHalfAConnectionOn(t *testing.T) {
	s := newStreet(t, nil)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // says nothing before it has heard everything
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(c)
			fmt.Fprintf(c, "heard %s", b)
			c.Close()
		}
	}()
	s.endpoints(up(l.Addr().String(), "n1"))
	c, err := net.Dial("tcp", fmt.Sprintf("127.58.3.1:%d", nodePort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "all")
	c.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(c); string(b) != "heard all" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestStoppedProxyResetsEverything(t *testing.T) {
	s := newStreet(t, nil)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s.endpoints(up(l.Addr().String(), "n1"))
	var clients, servers []net.Conn
	for _, ip := range []string{"127.58.2.1", "127.58.3.1"} {
		c, err := net.Dial("tcp", net.JoinHostPort(ip, strconv.Itoa(nodePort)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, ip)
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		if _, err := io.ReadFull(server, make([]byte, len(ip))); err != nil {
			t.Fatal(err)
		}
		clients, servers = append(clients, c), append(servers, server)
	}
	s.endpoints() // the port closes; what goes through it goes on
	fmt.Fprint(servers[0], "x")
	if _, err := io.ReadFull(clients[0], make([]byte, 1)); err != nil {
		t.Errorf("the connection broke with its port: %v", err)
	}
	s.ps.stop("n1")
	for _, c := range []net.Conn{clients[0], servers[0]} {
		if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "reset") {
			t.Errorf("through the dead node: %v, want a reset", err)
		}
	}
	fmt.Fprint(servers[1], "y")
	if _, err := io.ReadFull(clients[1], make([]byte, 1)); err != nil {
		t.Errorf("through the other node: %v", err)
	}
}

func TestProxyFollowsTheService(t *testing.T) {
	s := newStreet(t, nil)
	s.endpoints(up(s.server("a"), "n1"))
	moved := s.ps.services[webService].DeepCopy()
	moved.Spec.Ports[0].NodePort = nodePort + 1
	s.ps.serviceSeen(moved)
	if got := s.ask("n1"); got != "refused" {
		t.Errorf("the old port: %s", got)
	}
	if body, err := get(fmt.Sprintf("http://127.58.2.1:%d/", nodePort+1)); body != "a" {
		t.Errorf("the new port: %q, %v", body, err)
	}
	s.ps.serviceGone(moved)
	if _, err := get(fmt.Sprintf("http://127.58.2.1:%d/", nodePort+1)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the service is gone: %v", err)
	}
}
