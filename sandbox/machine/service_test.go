package machine

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// talkers is a service with a real listener behind it, at the address of a pod of a light machine.
func talkers(t *testing.T) (s *shed, service *Service, far net.Listener) {
	s = newShed(t)
	s.create(aProcess("exec sleep 1000", nil))
	p := s.until("an address", func(p *corev1.Pod) bool { return p.Status.PodIP != "" })
	far, err := net.Listen("tcp4", net.JoinHostPort(DialAddress(p.Status.PodIP), "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	s.m.proxies.serviceSeen(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	})
	s.m.proxies.sliceSeen(&discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "web-1", Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Port: ptr(int32(far.Addr().(*net.TCPAddr).Port))}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{p.Status.PodIP}, Conditions: discoveryv1.EndpointConditions{Ready: ptr(true)}}},
	})
	return s, s.m.Service("default", "web"), far
}

// connect returns both ends of a new connection.
func connect(t *testing.T, service *Service, far net.Listener) (near *Line, end net.Conn) {
	t.Helper()
	near, err := service.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	if end, err = far.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, end
}

func TestLineCarriesAndEnds(t *testing.T) {
	_, service, far := talkers(t)
	near, end := connect(t, service, far)
	if near.Pod != "p" {
		t.Errorf("the pod is %q, want p", near.Pod)
	}
	if _, err := end.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	end.Close()
	got, err := io.ReadAll(near)
	if string(got) != "hello" || err != nil {
		t.Errorf("read %q, %v; want hello and a plain end", got, err)
	}
}

func TestLineGoesSilentWithTheMachine(t *testing.T) {
	s, service, far := talkers(t)
	near, end := connect(t, service, far)
	s.m.Kill("n1")
	end.(*net.TCPConn).SetLinger(0)
	end.Close() // what this kernel says for the dead must not be heard
	if !near.Cut() {
		t.Error("the line is not cut")
	}
	if err := near.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := near.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d, %v; want silence until the deadline", n, err)
	}
	for range 3 {
		if n, err := near.Write([]byte("anybody?")); n != 8 || err != nil {
			t.Errorf("write %d, %v; want it swallowed", n, err)
		}
	}
	reading := make(chan error)
	if err := near.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	go func() { _, err := near.Read(make([]byte, 1)); reading <- err }()
	near.Close()
	if err := <-reading; err == nil {
		t.Error("a read of a closed line returned no error")
	}
}

func TestDialToADeadMachineWaits(t *testing.T) {
	s, service, _ := talkers(t)
	s.m.Kill("n1")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := service.Dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial: %v; want no answer until the context ends", err)
	}
}

func TestDialWithoutEndpoints(t *testing.T) {
	s := newShed(t)
	if _, err := s.m.Service("default", "web").Dial(t.Context()); err == nil {
		t.Error("a service that does not exist was dialled")
	}
}
