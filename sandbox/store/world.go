package store

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Options say which world to make. Only Now is needed.
type Options struct {
	Now func() time.Time

	// Sleep lets time pass where a call has to wait: for a frozen process, a packet that nobody answers, a write held by CLIENT PAUSE. It is called without
	// the world's lock. When it is nil such a call fails at once, as if it had timed out.
	Sleep func(ctx context.Context, d time.Duration) error

	Seed      uint64
	BlackHole bool          // packets to an address without a process vanish, as in a VPC, and a killed one says no goodbye; otherwise both are noticed at once
	Timeout   time.Duration // after which a client gives up waiting for an answer; default 5 s
	Lag       time.Duration // of replication; default 1 ms
}

// World is processes that speak to each other, on one clock.
type World struct {
	o Options

	mu      sync.Mutex
	now     time.Time
	queue   events
	seq     int
	ids     int
	chance  *rand.Rand
	procs   map[string]*process // by host:port
	order   []*process          // the same, by address
	names   map[string]string   // hosts by name
	volumes map[string]*volume
	writers []*Writer
	roles   map[string]map[string]int // failovers by store and shard
	diary   []string
}

// volume is what survives a process.
type volume struct {
	set    *dataset
	replid string // "" when the position in the stream was not saved
	offset int64
	bus    *bus
	watch  *watcher
}

// packet is how long one takes.
const packet = 300 * time.Microsecond

// New makes an empty world.
func New(o Options) *World {
	o.Timeout, o.Lag = cmp.Or(o.Timeout, 5*time.Second), cmp.Or(o.Lag, time.Millisecond)
	return &World{
		o: o, now: o.Now(), chance: rand.New(rand.NewPCG(o.Seed, 7)), procs: map[string]*process{}, names: map[string]string{}, volumes: map[string]*volume{}, roles: map[string]map[string]int{},
	}
}

// Start starts a process.
func (w *World) Start(c Config) error {
	w.enter()
	defer w.mu.Unlock()
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("start a store's process at %q: %w", c.Addr, err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("start a store's process at %q: %w", c.Addr, err)
	}
	if w.procs[c.Addr] != nil {
		return fmt.Errorf("start a store's process at %s: the address is in use", c.Addr)
	}
	p, err := w.process(c, host, n)
	if err != nil {
		return fmt.Errorf("start a store's process at %s: %w", c.Addr, err)
	}
	w.procs[c.Addr] = p
	w.sort()
	p.run()
	return nil
}

// Stop ends a process: gracefully, so that it saves what it would save on SIGTERM, or at once.
func (w *World) Stop(addr string, graceful bool) error {
	w.enter()
	defer w.mu.Unlock()
	p := w.procs[addr]
	if p == nil {
		return fmt.Errorf("stop a store's process: none at %s", addr)
	}
	p.end(graceful)
	delete(w.procs, addr)
	w.sort()
	return nil
}

// Freeze stops a process for a while without ending it: its connections stay, and nothing is answered.
func (w *World) Freeze(addr string, d time.Duration) error {
	w.enter()
	defer w.mu.Unlock()
	p := w.procs[addr]
	if p == nil {
		return fmt.Errorf("freeze a store's process: none at %s", addr)
	}
	p.frozen = w.now.Add(d)
	return nil
}

// DropVolume forgets what was saved under a volume's name.
func (w *World) DropVolume(name string) {
	w.enter()
	defer w.mu.Unlock()
	delete(w.volumes, name)
}

// Log tells what has happened of note, a line each.
func (w *World) Log() []string {
	w.enter()
	defer w.mu.Unlock()
	return slices.Clone(w.diary)
}

func (w *World) note(format string, args ...any) {
	w.diary = append(w.diary, w.now.Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// at returns the process that answers at an address right now, or nil.
func (w *World) at(addr string) *process {
	if p := w.procs[w.real(addr)]; p != nil && p.awake() {
		return p
	}
	return nil
}

// SetName makes a host known under a name, too.
func (w *World) SetName(name, host string) {
	w.enter()
	defer w.mu.Unlock()
	w.names[name] = host
}

// real is an address with its host's name looked up.
func (w *World) real(addr string) string {
	host, port := split(addr)
	if to := w.names[host]; to != "" {
		return join(to, port)
	}
	return addr
}

// sort keeps the processes in the order of their addresses.
func (w *World) sort() {
	w.order = nil
	for _, addr := range slices.Sorted(maps.Keys(w.procs)) {
		w.order = append(w.order, w.procs[addr])
	}
}

// id makes 40 hexadecimal digits that no other has.
func (w *World) id() string {
	w.ids++
	sum := sha1.Sum(fmt.Appendf(nil, "%d %d", w.o.Seed, w.ids))
	return hex.EncodeToString(sum[:])
}

// random is a time between 0 and d.
func (w *World) random(d time.Duration) time.Duration {
	return time.Duration(w.chance.Int64N(int64(d)))
}

// event is something that falls due.
type event struct {
	at  time.Time
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = event{}
	*e = old[:len(old)-1]
	return last
}

// after lets do happen when d has passed. Whatever do captured may have changed or gone by then.
func (w *World) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now.Add(max(d, 0)), w.seq, do})
}

// enter takes the lock and catches up with the clock.
func (w *World) enter() {
	w.mu.Lock()
	w.catchUp()
}

func (w *World) catchUp() {
	now := w.o.Now()
	for len(w.queue) > 0 && !w.queue[0].at.After(now) {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	if now.After(w.now) {
		w.now = now
	}
}

// errTimeout is what a caller sees of a packet that nobody answers.
var errTimeout = errors.New("i/o timeout")

// await gives time to the others until done says so, at most until the client gives up. It is called with the lock, and has it again when it returns.
func (w *World) await(ctx context.Context, limit time.Duration, done func() bool) error {
	end := w.now.Add(limit)
	for !done() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if w.o.Sleep == nil || !w.now.Before(end) {
			return errTimeout
		}
		w.mu.Unlock()
		err := w.o.Sleep(ctx, 5*time.Millisecond)
		w.enter()
		if err != nil {
			return err
		}
	}
	return nil
}
