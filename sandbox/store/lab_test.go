package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// What the hand on stores speaks to.
var _ interface {
	Do(ctx context.Context, args ...any) (any, error)
	Close() error
} = (*Conn)(nil)

// lab is a world whose clock only the test moves.
type lab struct {
	*World
	t     *testing.T
	clock time.Time
	conns map[string]*Conn
}

func newLab(t *testing.T, o Options) *lab {
	l := &lab{t: t, clock: time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC), conns: map[string]*Conn{}}
	o.Now = func() time.Time { return l.clock }
	o.Sleep = func(_ context.Context, d time.Duration) error { l.clock = l.clock.Add(d); return nil }
	l.World = New(o)
	return l
}

func (l *lab) pass(d time.Duration) { l.clock = l.clock.Add(d) }

func (l *lab) since(t time.Time) time.Duration { return l.clock.Sub(t) }

// settle is until in long strides, for what is no matter of the test.
func (l *lab) settle(what string, so func() bool) {
	l.t.Helper()
	for range 200 {
		l.pass(200 * time.Millisecond)
		if so() {
			return
		}
	}
	l.t.Fatalf("%s: not within 40 s\n%s", what, strings.Join(l.Log(), "\n"))
}

// until lets time pass until something is so, and tells how long that took.
func (l *lab) until(limit time.Duration, what string, so func() bool) time.Duration {
	l.t.Helper()
	begin := l.clock
	for !so() {
		if l.since(begin) > limit {
			l.t.Fatalf("%s: not within %v\n%s", what, limit, strings.Join(l.Log(), "\n"))
		}
		l.pass(10 * time.Millisecond)
	}
	return l.since(begin)
}

func (l *lab) start(c Config) {
	l.t.Helper()
	if err := l.Start(c); err != nil {
		l.t.Fatal(err)
	}
}

// ask says a command and returns the answer, or the error in its place.
func (l *lab) ask(addr, words string) any {
	l.t.Helper()
	c := l.conns[addr]
	if c == nil || c.closed {
		var err error
		if c, err = l.Connect(context.Background(), addr); err != nil {
			return err
		}
		l.conns[addr] = c
	}
	var args []any
	for _, w := range strings.Fields(words) {
		args = append(args, w)
	}
	answer, err := c.Do(context.Background(), args...)
	if err != nil {
		return err
	}
	return answer
}

func (l *lab) must(addr, words string) any {
	l.t.Helper()
	answer := l.ask(addr, words)
	if err, bad := answer.(error); bad {
		l.t.Fatalf("%s at %s: %v", words, addr, err)
	}
	return answer
}

// field is one of INFO's.
func (l *lab) field(addr, name string) string {
	l.t.Helper()
	text, _ := l.ask(addr, "INFO").(string)
	for line := range strings.SplitSeq(text, "\r\n") {
		if v, found := strings.CutPrefix(line, name+":"); found {
			return v
		}
	}
	return ""
}

// pairs reads a flat list.
func pairs(list any) map[string]string {
	out := map[string]string{}
	flat, _ := list.([]any)
	for i := 0; i+1 < len(flat); i += 2 {
		out[fmt.Sprint(flat[i])] = fmt.Sprint(flat[i+1])
	}
	return out
}

// names are the addresses that a Sentinel lists.
func names(list any) []string {
	var out []string
	all, _ := list.([]any)
	for _, e := range all {
		out = append(out, pairs(e)["ip"])
	}
	return out
}

func (l *lab) linked(addr string) bool {
	l.t.Helper()
	role, _ := l.ask(addr, "ROLE").([]any)
	return len(role) == 5 && role[3] == "connected"
}
