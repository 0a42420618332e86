package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"drover.dev/fleet"
)

// server is a real Redis of this test, on a loopback address of its own.
type server struct {
	t       *testing.T
	ip      string
	port    int
	cmd     *exec.Cmd
	log     string
	tls     bool
	conn    Conn
	stopped chan struct{}
}

// taken counts addresses; the process id keeps test runs beside each other apart.
var addressesTaken atomic.Int64

func newIP() string {
	n := addressesTaken.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 100+os.Getpid()%100, 1+os.Getpid()/100%200, n)
}

// start runs a Redis until the test ends, and waits until it answers.
func start(t *testing.T, ip string, port int, args ...string) *server {
	t.Helper()
	return startIn(t, t.TempDir(), ip, port, args...)
}

// startIn runs one on the data that a folder has.
func startIn(t *testing.T, dir, ip string, port int, args ...string) *server {
	t.Helper()
	s := &server{t: t, ip: ip, port: port, log: filepath.Join(dir, "log")}
	all := append([]string{
		"--bind", ip, "--bind-source-addr", ip, "--port", fmt.Sprint(port), "--dir", dir, "--logfile", s.log, "--save", "", "--protected-mode", "no", "--repl-diskless-sync-delay", "0",
	}, args...)
	s.run(exec.Command("redis-server", all...))
	return s
}

// startSentinel runs a Sentinel.
func startSentinel(t *testing.T, ip, master string, masterPort int, more string) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{t: t, ip: ip, port: 26379, log: filepath.Join(dir, "log")}
	conf := fmt.Sprintf("bind %s\nbind-source-addr %s\nport %d\ndir %s\nlogfile %s\nprotected-mode no\nsentinel monitor orders %s %d 2\nsentinel down-after-milliseconds orders 3000\nsentinel failover-timeout orders 10000\n%s\n",
		ip, ip, s.port, dir, s.log, master, masterPort, more)
	file := filepath.Join(dir, "sentinel.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(exec.Command("redis-server", file, "--sentinel"))
	return s
}

func (s *server) run(cmd *exec.Cmd) {
	s.t.Helper()
	s.cmd, s.stopped = cmd, make(chan struct{})
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("redis-server (7.0 or later) is needed by this test: %v", err)
	}
	go func() { _ = cmd.Wait(); close(s.stopped) }()
	s.t.Cleanup(s.stop)
	eventually(s.t, 10*time.Second, "redis-server on "+s.ip+" listens", func() bool {
		c, err := net.Dial("tcp", address(s.ip, fmt.Sprint(s.port)))
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

func (s *server) stop() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
	_ = s.cmd.Process.Kill()
	<-s.stopped
}

// do sends a command as a person would, with spaces between the words.
func (s *server) do(command string) any {
	s.t.Helper()
	v, err := s.try(command)
	if err != nil {
		s.t.Fatalf("%s: %s: %v", s.ip, command, err)
	}
	return v
}

func (s *server) try(command string) (any, error) {
	if s.conn == nil {
		conn, err := Dialing(nil)(context.Background(), Endpoint{Host: s.ip, Port: s.port})
		if err != nil {
			return nil, err
		}
		s.conn = conn
	}
	var args []any
	for _, w := range strings.Fields(command) {
		args = append(args, w)
	}
	v, err := s.conn.Do(context.Background(), args...)
	if _, answered := said(err); err != nil && !answered { // whoever demotes sends all clients away, this one too
		return s.conn.Do(context.Background(), args...)
	}
	return v, err
}

func (s *server) info() info {
	s.t.Helper()
	text, _ := s.do("INFO").(string)
	return parseInfo(text)
}

func (s *server) setting(name string) string {
	s.t.Helper()
	list, _ := s.do("CONFIG GET " + name).([]any)
	return flat(list)[name]
}

// eventually waits for what the world does in its own time.
func eventually(t *testing.T, within time.Duration, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(within); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%s: not within %s", what, within)
		}
	}
}

func ref(name string) fleet.PodRef {
	return fleet.PodRef{Namespace: "shop", Name: name, UID: "uid-" + name}
}

// member is a server as the cluster's hand knows it: by the address that the API shows.
func (s *server) member(name string) fleet.Member {
	return fleet.Member{Pod: ref(name), Node: "n-" + name, Host: apiIP(s.ip), Port: s.port, Known: []string{address(apiIP(s.ip), fmt.Sprint(s.port))}, Ready: true}
}

func (s *server) sentinel(name string) fleet.Sentinel {
	return fleet.Sentinel{Pod: ref(name), Node: "n-" + name, Host: apiIP(s.ip), Port: s.port, Known: []string{address(apiIP(s.ip), fmt.Sprint(s.port))}, Ready: true}
}

// apiIP is the address that the API shows for a pod, as in the sandbox; dialPod is the way back.
func apiIP(ip string) string { return "10" + strings.TrimPrefix(ip, "127") }

func dialPod(ctx context.Context, _ fleet.PodRef, host string, port int) (net.Conn, error) {
	if rest, ok := strings.CutPrefix(host, "10."); ok {
		host = "127." + rest
	}
	return straight(ctx, fleet.PodRef{}, host, port)
}

func newHand(t *testing.T, secrets map[string]map[string]string) *Hand {
	h := &Hand{Connect: Dialing(dialPod), Secrets: func(_ context.Context, ns, name string) (map[string][]byte, error) {
		s, ok := secrets[ns+"/"+name]
		if !ok {
			return nil, errors.New("not found")
		}
		data := map[string][]byte{}
		for k, v := range s {
			data[k] = []byte(v)
		}
		return data, nil
	}}
	t.Cleanup(h.Close)
	return h
}

// act carries an action out on a store as it is now.
func act(h *Hand, st fleet.Store, a fleet.Action) error {
	a.Store = st.Name
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	return h.Act(ctx, st, a)
}

func mustAct(t *testing.T, h *Hand, st fleet.Store, a fleet.Action) {
	t.Helper()
	if err := act(h, st, a); err != nil {
		t.Fatalf("%s: %v", a, err)
	}
}

// mustSoon acts as the engine does: it asks again while an action is refused, for a gossip of seven nodes takes its time on a busy machine.
func mustSoon(t *testing.T, h *Hand, st fleet.Store, a fleet.Action) {
	t.Helper()
	var err error
	for range 5 {
		if err = act(h, st, a); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", a, err)
}

// mustRefuse fails unless an action is refused, with words that say why.
func mustRefuse(t *testing.T, h *Hand, st fleet.Store, a fleet.Action, words string) {
	t.Helper()
	err := act(h, st, a)
	var refused *fleet.Refused
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, words) {
		t.Errorf("%s: %v; want a refusal that says %q", a, err, words)
	}
}

// observed is a store as it is now.
func observed(h *Hand, st fleet.Store) fleet.Store {
	c := st.Clone()
	h.Observe(context.Background(), &c)
	return c
}
