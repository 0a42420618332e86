package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// asked is a world that can be asked: the model, or real processes.
type asked interface {
	say(addr string, words ...string) any
	until(limit time.Duration, what string, so func() bool) time.Duration
	launch(c Config)
	halt(addr string, graceful bool)
}

// modelled is the model as one.
type modelled struct{ *lab }

func (m modelled) say(addr string, words ...string) any { return m.ask(addr, strings.Join(words, " ")) }
func (m modelled) launch(c Config)                      { m.start(c) }
func (m modelled) halt(addr string, graceful bool) {
	if err := m.Stop(addr, graceful); err != nil {
		m.t.Fatal(err)
	}
}

// genuine is processes of redis-server on loopback addresses.
type genuine struct {
	t     *testing.T
	dir   string
	procs map[string]*exec.Cmd
	conns map[string]*wired
}

type wired struct {
	net.Conn
	in *bufio.Reader
}

func newGenuine(t *testing.T) *genuine {
	t.Parallel()
	if testing.Short() {
		t.Skip("real processes take their time")
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is needed by this test: ", err)
	}
	if out, err := exec.Command("redis-server", "--version").Output(); err != nil || !strings.Contains(string(out), "v="+version) {
		t.Skipf("redis-server is another one than that modelled: %s %v", out, err)
	}
	g := &genuine{t: t, dir: t.TempDir(), procs: map[string]*exec.Cmd{}, conns: map[string]*wired{}}
	t.Cleanup(func() {
		for addr := range g.procs {
			g.halt(addr, false)
		}
	})
	return g
}

func (g *genuine) launch(c Config) {
	g.t.Helper()
	host, port := split(c.Addr)
	dir := filepath.Join(g.dir, strings.ReplaceAll(c.Addr, ":", "-"))
	if c.Volume != "" {
		dir = filepath.Join(g.dir, c.Volume)
	}
	lines := []string{"bind " + host, fmt.Sprint("port ", port), "dir " + dir, "save \"\"", "protected-mode no"}
	args := []string{filepath.Join(dir, "c.conf")}
	switch {
	case c.Kind == Sentinel:
		mhost, mport := split(c.Monitor)
		args = append(args, "--sentinel")
		lines = append(lines[:3], "sentinel announce-ip "+host, fmt.Sprintf("sentinel monitor mymaster %s %d 2", mhost, mport), "sentinel down-after-milliseconds mymaster 5000")
	case c.Cluster:
		lines = append(lines, "cluster-enabled yes", "cluster-announce-ip "+c.Announce, "cluster-node-timeout 5000")
	default:
		lines = append(lines, "replica-announce-ip "+host)
		if c.ReplicaOf != "" {
			lines = append(lines, "replicaof "+strings.ReplaceAll(c.ReplicaOf, ":", " "))
		}
	}
	if c.AOF {
		lines = append(lines, "appendonly yes")
	}
	for _, k := range slices.Sorted(maps.Keys(c.Settings)) {
		lines = append(lines, k+" "+c.Settings[k])
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(args[0], []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		g.t.Fatal(err)
	}
	cmd := exec.Command("redis-server", args...)
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.procs[c.Addr] = cmd
	g.until(10*time.Second, "an answer of "+c.Addr, func() bool { return g.say(c.Addr, "PING") == "PONG" })
}

func (g *genuine) halt(addr string, graceful bool) {
	cmd := g.procs[addr]
	delete(g.procs, addr)
	delete(g.conns, addr)
	stop := os.Kill
	if graceful {
		stop = os.Interrupt
	}
	if err := cmd.Process.Signal(stop); err != nil {
		g.t.Error(err)
	}
	_ = cmd.Wait() // it ends as it was told to
}

func (g *genuine) until(limit time.Duration, what string, so func() bool) time.Duration {
	g.t.Helper()
	begin := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		if time.Since(begin) > limit {
			g.t.Fatalf("real processes: %s: not within %v", what, limit)
		}
		<-tick.C
	}
	return time.Since(begin)
}

// say says it again on a new connection when the one before was ended, as by a Sentinel.
func (g *genuine) say(addr string, words ...string) any {
	kept := g.conns[addr] != nil
	answer := g.once(addr, words)
	if err, broken := answer.(error); broken && kept && errors.Is(err, io.EOF) {
		return g.once(addr, words)
	}
	return answer
}

func (g *genuine) once(addr string, words []string) any {
	c := g.conns[addr]
	if c == nil {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return err
		}
		c = &wired{conn, bufio.NewReader(conn)}
		g.conns[addr] = c
	}
	fmt.Fprintf(c, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(c, "$%d\r\n%s\r\n", len(w), w)
	}
	answer, err := c.read()
	if err != nil {
		delete(g.conns, addr)
		return err
	}
	return answer
}

// read reads one answer of RESP2.
func (c *wired) read() (any, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	rest := strings.TrimSuffix(line[1:], "\r\n")
	n, _ := strconv.Atoi(rest)
	switch line[0] {
	case '+':
		return rest, nil
	case '-':
		return Reply(rest), nil
	case ':':
		return int64(n), nil
	case '$':
		if n < 0 {
			return nil, nil
		}
		text := make([]byte, n+2)
		_, err := io.ReadFull(c.in, text)
		return string(text[:n]), err
	case '*':
		if n < 0 {
			return nil, nil
		}
		list := []any{}
		for range n {
			e, err := c.read()
			if err != nil {
				return nil, err
			}
			list = append(list, e)
		}
		return list, nil
	}
	return nil, errors.New("no answer of RESP2: " + line)
}

var (
	ids      = regexp.MustCompile(`\b[0-9a-f]{40}\b`)
	instants = regexp.MustCompile(`\b[0-9]{13}\b`)
)

// figures are values that may differ from run to run.
var figures = []string{"runid", "last-ping-sent", "last-ok-ping-reply", "last-ping-reply", "info-refresh", "role-reported-time", "last-hello-message", "slave-repl-offset",
	"s-down-time", "o-down-time", "link-pending-commands", "voted-leader", "voted-leader-epoch", "name"}

// shape is an answer without what may differ from run to run.
func shape(answer any) string {
	switch a := answer.(type) {
	case nil:
		return "nil"
	case error:
		return "error " + ids.ReplaceAllString(a.Error(), "ID")
	case int64:
		return "int"
	case string:
		return shapeText(a)
	case []any:
		if len(a) > 1 && a[0] == "name" {
			return shapePairs(a)
		}
		var parts []string
		for _, e := range a {
			parts = append(parts, shape(e))
		}
		if len(a) > 0 && strings.HasPrefix(parts[0], "{") {
			slices.Sort(parts)
		}
		return "[" + strings.Join(parts, " ") + "]"
	}
	return fmt.Sprintf("%T", answer)
}

func shapePairs(a []any) string {
	var b strings.Builder
	for i := 0; i+1 < len(a); i += 2 {
		value := a[i+1]
		if slices.Contains(figures, fmt.Sprint(a[i])) {
			value = "*"
		}
		fmt.Fprintf(&b, " %v=%v", a[i], value)
	}
	return "{" + b.String() + "}"
}

var inner = regexp.MustCompile(`([a-z_]+)=[^,]*`)

// shapeText keeps the names of fields, the whole of short answers, and of CLUSTER NODES all but ids and times.
func shapeText(text string) string {
	switch {
	case strings.Contains(text, "@1"): // CLUSTER NODES
		var lines []string
		for line := range strings.Lines(text) {
			lines = append(lines, instants.ReplaceAllString(ids.ReplaceAllString(line, "ID"), "T"))
		}
		slices.Sort(lines)
		return strings.Join(lines, "")
	case strings.Contains(text, "\r\n"):
		var out []string
		for line := range strings.SplitSeq(text, "\r\n") {
			name, value, _ := strings.Cut(line, ":")
			if strings.HasPrefix(name, "cluster_stats_messages_") || strings.HasPrefix(name, "errorstat_") {
				continue // one for each kind that there has been
			}
			if strings.Contains(value, "=") {
				name += " " + inner.ReplaceAllString(value, "$1")
			}
			out = append(out, name)
		}
		return strings.Join(out, "\n")
	case strings.HasPrefix(text, "id="):
		return inner.ReplaceAllString(strings.ReplaceAll(text, " ", ","), "$1")
	case strings.Trim(text, "0123456789") == "":
		return "digits"
	}
	return ids.ReplaceAllString(text, "ID")
}

// play asks each question of the lines "host:port words", and tells what was answered.
func play(w asked, lines ...string) []string {
	var out []string
	for _, line := range lines {
		words := strings.Fields(line)
		out = append(out, ids.ReplaceAllString(line, "ID")+"\n"+shape(w.say(words[0], words[1:]...)))
	}
	return out
}

// compare fails where two plays differ.
func compare(t *testing.T, model, real []string) {
	t.Helper()
	for i := range real {
		if model[i] != real[i] {
			t.Errorf("model:\n%s\nRedis:\n%s\n", model[i], real[i])
		}
	}
}
