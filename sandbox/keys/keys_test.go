package keys

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// start runs a redis-server on an address of its own, HOST in its arguments, until the test ends. It returns host:port.
func start(t *testing.T, port string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	host := freeHost(t, port)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "HOST", host)
	}
	cmd := exec.CommandContext(t.Context(), "redis-server", append(args, "--port", port, "--bind", host, "--bind-source-addr", host, "--protected-mode", "no", "--dir", dir)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; apt-get install redis-server", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
	})
	address := net.JoinHostPort(host, port)
	eventually(t, "redis-server at "+address, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return address
}

// freeHost is an address of the network that is left to tests of single packages.
func freeHost(t *testing.T, port string) string {
	t.Helper()
	for n := 1; n < 255; n++ {
		host := fmt.Sprintf("127.20.66.%d", n)
		if l, err := net.Listen("tcp", net.JoinHostPort(host, port)); err == nil {
			l.Close()
			return host
		}
	}
	t.Fatalf("no address below 127.20.66.0 has port %s free", port)
	return ""
}

func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !met() {
		if !pause(ctx, 20*time.Millisecond) {
			t.Fatalf("not seen in time: %s", what)
		}
	}
}

// Both libraries write to and read from both kinds of store; what is taken away behind their backs is missed by the readers, and counted as lost.
func TestCrew(t *testing.T) {
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	member := start(t, "6379", "--cluster-enabled", "yes", "--cluster-announce-ip", "HOST")
	master := start(t, "6379")
	host, _, _ := strings.Cut(master, ":")
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "sentinel monitor mymaster %s 6379 1\n", host), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := start(t, "26379", conf, "--sentinel")
	owner := plain(member, dial)
	defer owner.Close()
	if err := owner.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	stores := []Store{
		{Name: "session", Master: "mymaster", Seed: sentinel, Members: func() []string { return []string{sentinel} }},
		{Name: "cache", Seed: member, Members: func() []string { return []string{member} }},
	}
	eventually(t, "the cluster", func() bool {
		info, err := owner.ClusterInfo(t.Context()).Result()
		return err == nil && strings.Contains(info, "cluster_state:ok")
	})
	if got := Covered(stores[1].Look(t.Context(), dial)); got != 16384 {
		t.Errorf("%d slots are covered", got)
	}
	crew, err := Start(t.Context(), Options{Stores: stores, Dial: dial, Writers: 2, Pace: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer crew.Stop()
	written := func(r Report, n int) bool {
		return len(r.Lines) == 4 && !slices.ContainsFunc(r.Lines, func(l Line) bool { return l.Written < n || l.Read == 0 })
	}
	eventually(t, "everybody's writes and reads", func() bool { return written(crew.Report(), 200) })
	before := crew.Report()
	stolen := plain(master, dial)
	defer stolen.Close()
	if err := stolen.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a read that misses", func() bool { return crew.Report().Of("session").Missing > 0 })
	after := crew.Stop()
	lost := crew.Lost(t.Context())
	if least := before.Of("session").Written; lost["session"].Writes < least || lost["session"].Gone != lost["session"].Writes || lost["session"].Trouble != nil {
		t.Errorf("session: %+v, want %d or more", lost["session"], least)
	}
	if lost["cache"] != (Loss{}) {
		t.Errorf("cache: %+v", lost["cache"])
	}
	for _, l := range after.Lines {
		if l.Failed+l.ReadFailed > 0 || l.Store == "cache" && l.Missing > 0 {
			t.Errorf("%+v", l)
		}
	}
}
