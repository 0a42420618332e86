package sandbox

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func endpoints(name, service string, ready map[string]bool) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}}}
	for address, is := range ready {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &is}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "pod-" + address},
		})
	}
	return s
}

// A name has the addresses of ready pods, in the form that processes bind, and only as long as they are ready.
func TestNames(t *testing.T) {
	n := &Names{file: filepath.Join(t.TempDir(), "names"), slices: map[string]*discoveryv1.EndpointSlice{}}
	says := func(want string) {
		t.Helper()
		got, err := os.ReadFile(n.file)
		if err != nil || string(got) != want {
			t.Errorf("%v\n%s, want\n%s", err, got, want)
		}
	}
	n.learn(endpoints("a", "db", map[string]bool{"10.20.1.2": true}), true)
	n.learn(endpoints("b", "db", map[string]bool{"10.20.1.3": false}), true)
	says("127.20.1.2 db\n127.20.1.2 pod-10.20.1.2.db\n")
	n.learn(endpoints("b", "db", map[string]bool{"10.20.1.3": true}), true)
	says("127.20.1.2 db\n127.20.1.3 db\n127.20.1.2 pod-10.20.1.2.db\n127.20.1.3 pod-10.20.1.3.db\n")
	n.learn(endpoints("a", "db", nil), false)
	says("127.20.1.3 db\n127.20.1.3 pod-10.20.1.3.db\n")
}

func TestNamesDial(t *testing.T) {
	l, err := net.Listen("tcp4", "127.20.65.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n := &Names{file: filepath.Join(t.TempDir(), "names"), slices: map[string]*discoveryv1.EndpointSlice{}}
	if _, err := n.Dial(t.Context(), "db:"+port); err == nil || err.Error() != "dial db:"+port+": no such host: no pod of db is ready" {
		t.Errorf("%v", err)
	}
	n.learn(endpoints("a", "db", map[string]bool{"10.20.65.1": true}), true)
	for _, address := range []string{"db:" + port, l.Addr().String()} {
		conn, err := n.Dial(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
}
