package store

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ClientKind is how a client finds the master.
type ClientKind int

// The kinds of clients.
const (
	Aware  ClientKind = iota // told by a Sentinel when the master changes; in a cluster, by MOVED
	Sticky                   // keeps its connection, and asks a Sentinel after an error only
)

// Client says which one writes.
type Client struct {
	Name    string // default w1, w2, ...
	Store   string
	Kind    ClientKind
	Rate    int // writes a second, one after the other; default 20
	Retries int // of an operation; 0 means 3 and a negative number none
	Keys    int // to which it writes in turn; default 64
}

// Writer is a client that writes until it is stopped.
type Writer struct {
	w       *World
	c       Client
	conns   map[string]*Conn
	at      string // of the master as it has learned it
	watch   *process
	stopped bool
	n       int
	began   time.Time // of the operation
	tried   int
	waits   time.Time // since when the answer is awaited
	holds   bool      // the server has it, and holds it
	acked   []entry
	failed  int
	last    time.Time
	gap     time.Duration
	errors  map[string]int
	moved   map[int]string // slots, as it has learned them
}

// Of a client: how long it waits for an answer, and before its first retry.
const (
	readTimeout = 3 * time.Second
	backoff     = 8 * time.Millisecond
)

// Write lets a client write.
func (w *World) Write(c Client) *Writer {
	w.enter()
	defer w.mu.Unlock()
	c.Name, c.Rate = cmp.Or(c.Name, fmt.Sprintf("w%d", len(w.writers)+1)), cmp.Or(c.Rate, 20)
	c.Retries, c.Keys = max(cmp.Or(c.Retries, 3), 0), cmp.Or(c.Keys, 64)
	x := &Writer{w: w, c: c, conns: map[string]*Conn{}, last: w.now, errors: map[string]int{}, moved: map[int]string{}}
	w.writers = append(w.writers, x)
	w.after(w.random(time.Second/time.Duration(c.Rate)), x.begin)
	return x
}

// Stop lets it end. What it has been told stays on record.
func (x *Writer) Stop() {
	x.w.enter()
	defer x.w.mu.Unlock()
	x.gap = max(x.gap, x.w.now.Sub(x.last))
	x.stopped = true
}

func (x *Writer) begin() {
	x.n++
	x.began, x.tried = x.w.now, 0
	x.attempt()
}

func (x *Writer) key() string { return x.c.Name + ":" + strconv.Itoa(x.n%x.c.Keys) }

// attempt sends the write once.
func (x *Writer) attempt() {
	if x.stopped {
		return
	}
	conn := x.connect()
	if conn == nil {
		x.error("refused", true)
		return
	}
	x.waits, x.holds = x.w.now, false
	x.send(conn)
}

// send says it. A server that holds it has it once, and looks at it again when the pause is over.
func (x *Writer) send(conn *Conn) {
	if x.c.Kind == Aware && conn.p.bus == nil && conn != x.conns[x.target()] {
		conn.close() // +switch-master
	}
	switch {
	case x.stopped:
		return
	case conn.closed:
		x.error("closed", true)
		return
	case x.w.now.Sub(x.waits) > readTimeout:
		conn.close()
		x.error("timeout", true)
		return
	case !conn.p.awake(), x.holds && conn.p.repl.held():
		x.w.after(5*time.Millisecond, func() { x.send(conn) })
		return
	}
	answer := conn.say([]string{"SET", x.key(), strconv.Itoa(x.n)})
	x.holds = answer == held
	switch a := answer.(type) {
	case hold:
		x.w.after(5*time.Millisecond, func() { x.send(conn) })
	case Reply:
		x.refused(a)
	case string:
		x.done(conn)
	default:
		x.error("closed", true)
	}
}

func (x *Writer) done(conn *Conn) {
	now := x.w.now
	log := conn.p.repl.set.log
	x.acked = append(x.acked, log[len(log)-1])
	x.gap, x.last = max(x.gap, now.Sub(x.last)), now
	x.next()
}

func (x *Writer) next() {
	x.w.after(x.began.Add(time.Second/time.Duration(x.c.Rate)).Sub(x.w.now), x.begin)
}

// refused goes where it was sent, or tries again if that may help.
func (x *Writer) refused(r Reply) {
	code, rest, _ := strings.Cut(string(r), " ")
	if code == "MOVED" {
		if slot, addr, found := strings.Cut(rest, " "); found {
			n, _ := strconv.Atoi(slot)
			x.moved[n] = addr
		}
	}
	x.error(code, slices.Contains([]string{"MOVED", "READONLY", "LOADING", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN"}, code))
}

// error counts, and tries again a little later, each time after longer.
func (x *Writer) error(what string, again bool) {
	x.errors[what]++
	if what != "MOVED" {
		x.forget()
	}
	if !again || x.tried >= x.c.Retries {
		x.failed++
		x.next()
		return
	}
	x.tried++
	x.w.after(min(backoff+x.w.random(backoff<<x.tried), 512*time.Millisecond), x.attempt)
}

// forget drops what it believed about where to write.
func (x *Writer) forget() {
	x.at = ""
	delete(x.moved, slotOf(x.key()))
}

// connect returns the connection for the next write, or nil.
func (x *Writer) connect() *Conn {
	addr := x.target()
	if c := x.conns[addr]; c != nil && !c.closed {
		return c
	}
	p := x.w.at(addr)
	if p == nil || p.repl == nil {
		x.forget()
		return nil
	}
	c := p.accept()
	c.authed = true // its password is the store's
	x.conns[addr] = c
	return c
}

// target is where it believes that the write belongs.
func (x *Writer) target() string {
	if node := x.anyNode(); node != nil {
		return x.targetInCluster(node)
	}
	if x.watch == nil || !x.watch.awake() {
		x.watch = x.anySentinel()
	}
	if x.watch == nil || len(x.watch.watch.masters) == 0 {
		return x.at
	}
	m := x.watch.watch.masters[0]
	switch {
	case x.at == "":
		x.at = m.current()
	case x.c.Kind == Aware && m.self.addr != x.at && m.state == "":
		x.at = m.self.addr // +switch-master
	}
	return x.at
}

func (x *Writer) anySentinel() *process {
	for _, p := range x.w.order {
		if p.c.Store == x.c.Store && p.watch != nil && p.awake() {
			return p
		}
	}
	return nil
}

func (x *Writer) anyNode() *process {
	for _, p := range x.w.order {
		if p.c.Store == x.c.Store && p.bus != nil && p.awake() {
			return p
		}
	}
	return nil
}

// targetInCluster asks a node for what it does not know yet.
func (x *Writer) targetInCluster(node *process) string {
	slot := slotOf(x.key())
	if x.moved[slot] == "" {
		for _, p := range x.w.order { // nodes differ while they learn; the first that serves the slot at all decides
			if p.c.Store != x.c.Store || p.bus == nil || !p.awake() {
				continue
			}
			if o := p.bus.owner(slot); o != nil && x.w.at(o.addr()) != nil {
				x.moved[slot] = o.addr()
				break
			}
		}
	}
	return cmp.Or(x.moved[slot], node.addr())
}
