package container

import (
	"context"
	"net/netip"
	"os"
	"regexp"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestAddressesRestBeforeTheyAreUsedAgain(t *testing.T) {
	cidr := netip.MustParsePrefix("10.210.3.0/24")
	n := &Network{record: networkRecord{PodCIDR: cidr}, used: map[netip.Addr]bool{}, last: cidr.Addr().Next()}
	seen := map[netip.Addr]bool{}
	for range 253 {
		a, err := n.allocate()
		if err != nil || seen[a] || !cidr.Contains(a) {
			t.Fatalf("address %s, %v after %d others", a, err, len(seen))
		}
		seen[a] = true
		delete(n.used, a) // given back at once, and still not the next
	}
	for _, reserved := range []string{"10.210.3.0", "10.210.3.1", "10.210.3.255"} {
		if seen[netip.MustParseAddr(reserved)] {
			t.Errorf("%s was given to a pod", reserved)
		}
	}
	for range 253 {
		if _, err := n.allocate(); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := n.allocate(); err == nil {
		t.Errorf("a full network gave %s", a)
	}
}

func TestInterfaceNamesFit(t *testing.T) {
	if name := interfaceName(netip.MustParseAddr("10.210.254.254")); name != "dr254.254" || len(name) > 15 {
		t.Errorf("interface %q", name)
	}
}

func TestLogLines(t *testing.T) {
	log := newLogFile(t.TempDir(), "0.log")
	if err := log.open(); err != nil {
		t.Fatal(err)
	}
	out := log.stream("stdout")
	for _, text := range []string{"one\ntwo", " more\n"} {
		if n, err := out.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
	}
	log.close()
	got, err := os.ReadFile(log.path)
	stamp := regexp.MustCompile(`(?m)^\S+Z `)
	if text := stamp.ReplaceAllString(string(got), ""); err != nil || text != "stdout F one\nstdout P two\nstdout F  more\n" {
		t.Errorf("log:\n%s%v", text, err)
	}
}

func TestSimulatedContainersEnd(t *testing.T) {
	for _, c := range []struct {
		name, takes string
		graces      []time.Duration // one stop after the other; all but the last are given up
		code        int
	}{
		{"in time", "20ms", []time.Duration{time.Minute}, 0},
		{"too late", "1m", []time.Duration{20 * time.Millisecond}, 137},
		{"with a shorter grace than first said", "1m", []time.Duration{time.Minute, 20 * time.Millisecond}, 137},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := &sandbox{hostNet: true, config: &runtimeapi.PodSandboxConfig{Annotations: map[string]string{StopAnnotation: c.takes}}}
			sim := newSimulation(pod, &runtimeapi.ContainerConfig{})
			ends := make(chan exit, 1)
			if err := sim.start(func(e exit) { ends <- e }); err != nil {
				t.Fatal(err)
			}
			for i, grace := range c.graces {
				ctx, cancel := context.WithCancel(t.Context())
				if i < len(c.graces)-1 {
					cancel()
				}
				sim.stop(ctx, grace)
				cancel()
			}
			if e := <-ends; e.code != c.code {
				t.Errorf("exit code %d, want %d", e.code, c.code)
			}
		})
	}
}

func TestAnUnreadableAnnotationIsAnError(t *testing.T) {
	pod := &sandbox{hostNet: true, config: &runtimeapi.PodSandboxConfig{Annotations: map[string]string{StopAnnotation: "soon"}}}
	if err := newSimulation(pod, &runtimeapi.ContainerConfig{}).start(nil); err == nil {
		t.Error("a container that stops \"soon\" has started")
	}
}

func TestCommandOf(t *testing.T) {
	for _, c := range []struct {
		command, args []string
		want          int
	}{
		{[]string{"redis-server"}, []string{"--port", "1"}, 3},
		{nil, []string{"redis-server", "--port"}, 2},
		{nil, []string{"--port", "1"}, 0}, // for an entry point that we do not have
		{nil, nil, 0},
	} {
		if got := commandOf(&runtimeapi.ContainerConfig{Command: c.command, Args: c.args}); len(got) != c.want {
			t.Errorf("command %q, args %q: %q", c.command, c.args, got)
		}
	}
}
