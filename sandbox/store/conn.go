package store

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// Reply is an error that a process answers with.
type Reply string

func (r Reply) Error() string { return string(r) }

// RedisError marks it as an answer: the connection is good.
func (r Reply) RedisError() {}

// Conn is a client's connection.
type Conn struct {
	w      *World
	p      *process
	id     int
	made   time.Time
	last   time.Time
	cmd    string
	name   string
	port   int // of the client
	authed bool
	reads  bool // READONLY was said
	closed bool
	wrote  int64 // position of its last write
}

// Connect connects to the process at an address.
func (w *World) Connect(ctx context.Context, addr string) (*Conn, error) {
	w.enter()
	defer w.mu.Unlock()
	for {
		p, err := w.dial(addr)
		if err == nil && p.awake() {
			return p.accept(), nil
		}
		if err != nil && !w.o.BlackHole {
			return nil, fmt.Errorf("dial tcp %s: %w", addr, err)
		}
		if err := w.await(ctx, w.o.Timeout, func() bool { return w.at(addr) != nil }); err != nil {
			return nil, fmt.Errorf("dial tcp %s: %w", addr, err)
		}
	}
}

var errRefused = &net.OpError{Op: "connect", Err: fmt.Errorf("connection refused")}

func (w *World) dial(addr string) (*process, error) {
	if p := w.procs[w.real(addr)]; p != nil {
		return p, nil
	}
	return nil, errRefused
}

func (p *process) accept() *Conn {
	p.lastClient++
	c := &Conn{w: p.w, p: p, id: p.lastClient + 2, made: p.w.now, last: p.w.now, port: 40000 + p.lastClient%20000, authed: p.c.Password == ""}
	p.clients = append(p.clients, c)
	return c
}

// Do says a command, of strings and integers, and returns the answer: string, int64, []any or nil; a Reply for an error. Any other error means that the
// connection is broken.
func (c *Conn) Do(ctx context.Context, args ...any) (any, error) {
	words := make([]string, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case string:
			words[i] = a
		case []byte:
			words[i] = string(a)
		case int, int64, uint64:
			words[i] = fmt.Sprint(a)
		default:
			return nil, fmt.Errorf("say %v to a store: the word %v is a %T", args, a, a)
		}
	}
	c.w.enter()
	defer c.w.mu.Unlock()
	if err := c.w.await(ctx, c.w.o.Timeout, func() bool { return c.closed || c.p.awake() }); err != nil {
		return nil, c.broken(words, err)
	}
	answer := c.say(words)
	for answer == held {
		if err := c.w.await(ctx, c.w.o.Timeout, func() bool { return c.closed || c.p.awake() && !c.p.repl.held() }); err != nil {
			c.close()
			return nil, c.broken(words, err)
		}
		answer = c.say(words)
	}
	if until, ok := answer.(waiting); ok {
		limit := c.w.o.Timeout
		if until.limit > 0 {
			limit = until.limit
		}
		_ = c.w.await(ctx, limit, func() bool { return c.closed || until.done() })
		answer = until.answer()
	}
	switch a := answer.(type) {
	case Reply:
		return nil, a
	case gone:
		return nil, c.broken(words, io.EOF)
	}
	return answer, nil
}

func (c *Conn) broken(words []string, err error) error {
	return fmt.Errorf("say %s to %s: %w", words[0], c.p.addr(), err)
}

// Close ends the connection.
func (c *Conn) Close() error {
	c.w.enter()
	defer c.w.mu.Unlock()
	c.close()
	return nil
}

func (c *Conn) close() {
	c.closed = true
	for i, o := range c.p.clients {
		if o == c {
			c.p.clients = append(c.p.clients[:i:i], c.p.clients[i+1:]...)
			return
		}
	}
}

// line is how CLIENT LIST shows it.
func (c *Conn) line() string {
	now := c.w.now
	seconds := func(t time.Time) string { return strconv.Itoa(int(now.Sub(t) / time.Second)) }
	return "id=" + strconv.Itoa(c.id) + " addr=127.0.0.1:" + strconv.Itoa(c.port) + " laddr=" + c.p.addr() + " fd=" + strconv.Itoa(c.id+6) + " name=" + c.name +
		" age=" + seconds(c.made) + " idle=" + seconds(c.last) +
		" flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf=26 qbuf-free=20448 argv-mem=10 multi-mem=0 rbs=16384 rbp=16384 obl=0 oll=0 omem=0 tot-mem=37658 events=r cmd=" +
		c.cmd + " user=default redir=-1 resp=2\n"
}

// Answers that are none yet.
type (
	hold    struct{}
	gone    struct{} // the connection ended before
	waiting struct {
		limit  time.Duration
		done   func() bool
		answer func() any
	}
)

var held = hold{} // until the pause is over
