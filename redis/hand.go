// Package redis is the hand on Redis, with Sentinels or as a cluster: it fills in what members say of themselves and of each other, and carries out the
// verbs of stores.
//
// Make one Hand and keep it: it holds connections open between observations. Observe never fails; who does not answer has a Trouble that says what to do.
// Act reads again what an action relies on, just before it, and refuses when it does not hold.
//
// It follows no redirection, retries nothing, and asks nobody but the pods it was given. It never forces a failover, unless an action says so, and never
// discards data that only one member has. Passwords are in no error.
package redis

import (
	"context"
	"sync"
	"time"

	"drover.dev/fleet"
)

// Hand implements the engine's Stores.
type Hand struct {
	Connect Connect
	Secrets func(ctx context.Context, namespace, name string) (map[string][]byte, error)
	Now     func() time.Time                           // the real clock by default
	Sleep   func(context.Context, time.Duration) error // the same

	// Parallel is how many are asked at a time, 16 by default. By 1 they are asked in order, on the caller's goroutine.
	Parallel int

	lines   lines
	mu      sync.Mutex
	secrets map[string]secret // by namespace/name
}

// askWithin bounds the reading of one member: a black hole must not hold up what the others say.
const askWithin = 2 * time.Second

// parallel is the default of Hand.Parallel.
const parallel = 16

// Close closes all connections.
func (h *Hand) Close() {
	h.lines.take(func(*line) bool { return true })
}

func (h *Hand) now() time.Time {
	if h.Now == nil {
		return time.Now()
	}
	return h.Now()
}

func (h *Hand) sleep(ctx context.Context, d time.Duration) error {
	if h.Sleep != nil {
		return h.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// each calls do for 0 to n-1, several at a time, and returns when all are done.
func (h *Hand) each(n int, do func(i int)) {
	at := h.Parallel
	if at == 0 {
		at = parallel
	}
	if at == 1 {
		for i := range n {
			do(i)
		}
		return
	}
	var all sync.WaitGroup
	room := make(chan struct{}, at)
	for i := range n {
		room <- struct{}{}
		all.Go(func() { do(i); <-room })
	}
	all.Wait()
}

// Observe fills in what the members of a store, as the cluster's hand made it, say of themselves and of each other.
func (h *Hand) Observe(ctx context.Context, st *fleet.Store) {
	if st.Mover != fleet.SentinelMover && st.Mover != fleet.ClusterMover {
		return
	}
	h.sweep(st)
	data, watch := h.logins(ctx, st)
	members, watchers := make([]*heard, len(st.Members)), make([]*watcher, len(st.Sentinels))
	h.each(len(st.Members)+len(st.Sentinels), func(i int) {
		if i < len(st.Members) {
			m := h.hear(ctx, st, st.Members[i], data)
			members[i] = &m
			return
		}
		i -= len(st.Members)
		w := h.watch(ctx, st, st.Sentinels[i], watch)
		watchers[i] = &w
	})
	introduce(members, watchers)
	for i, m := range members {
		st.Members[i] = m.Member
	}
	for i, w := range watchers {
		st.Sentinels[i] = w.Sentinel
	}
	st.Read = h.now()
	if st.Trouble == "" && st.Mover == fleet.SentinelMover {
		st.Trouble = storeTrouble(st, watchers)
	}
}

// sweep closes connections to pods that are gone.
func (h *Hand) sweep(st *fleet.Store) {
	uids := map[[2]string]string{}
	for _, m := range st.Members {
		uids[[2]string{m.Pod.Namespace, m.Pod.Name}] = m.Pod.UID
	}
	for _, w := range st.Sentinels {
		uids[[2]string{w.Pod.Namespace, w.Pod.Name}] = w.Pod.UID
	}
	h.lines.sweep(h.now(), uids)
}

// speak has read ask on the kept connection to an endpoint. One that has gone stale meanwhile shows at its first use; then a new one is tried, which
// is safe as reading changes nothing.
func (h *Hand) speak(ctx context.Context, ep Endpoint, l login, read func(*line) error) error {
	if l.err != nil {
		return &loginError{l.err}
	}
	to := h.to(ep, l.print)
	kept := to.isOpen()
	err := read(to)
	if kept && broke(err) && ctx.Err() == nil {
		return read(to)
	}
	return err
}

// loginError is that there is no way to get in.
type loginError struct{ err error }

func (e *loginError) Error() string { return e.err.Error() }
func (e *loginError) Unwrap() error { return e.err }
