package scenario

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"drover.dev/engine"
	"drover.dev/fleet"
	"drover.dev/redis"
	"drover.dev/sandbox/store"
)

// storeHand is drover's real hand on stores, as one process has it, on the stage's model of Redis: every command is a call of its own, which may fail
// or whose reply may be lost, and after each that changes something the process may be killed.
type storeHand struct {
	*Stage
	hand *redis.Hand
	one  sync.Mutex // stores are asked side by side, and one goroutine may move the clock
	key  string     // of the action that is carried out
}

var _ engine.Stores = (*storeHand)(nil)

// How long a look at a store, or an action on one, may take: as the engine's own bounds, on the story's clock.
const (
	askWithin = 3 * time.Second
	actWithin = 8 * time.Second
)

func (s *Stage) storeHand() *storeHand {
	h := &storeHand{Stage: s}
	h.hand = &redis.Hand{Connect: h.connect, Now: s.w.Now, Sleep: s.sleep, Parallel: 1, Secrets: s.secret}
	return h
}

// secret is the password of every store that has one.
func (s *Stage) secret(context.Context, string, string) (map[string][]byte, error) {
	for _, l := range s.stores.layout {
		if l.password != "" {
			return map[string][]byte{"password": []byte(l.password)}, nil
		}
	}
	return nil, fmt.Errorf("the story has no secret")
}

func (h *storeHand) Observe(ctx context.Context, st *fleet.Store) {
	h.one.Lock()
	defer h.one.Unlock()
	h.bound = h.w.Now().Add(askWithin)
	h.hand.Observe(ctx, st)
}

func (h *storeHand) Act(ctx context.Context, st fleet.Store, a fleet.Action) error {
	h.one.Lock()
	defer h.one.Unlock()
	do := func() error {
		h.bound = h.w.Now().Add(actWithin)
		return h.hand.Act(ctx, st, a)
	}
	h.key = fmt.Sprintf("%s %s %s", a.Verb, a.Pod.Name, a.Peer.Name)
	before := h.watch.whole()
	err := do()
	h.watch.forget()
	if h.dead {
		h.diary.note(h.w.Now(), "! the process is killed in the middle of "+string(a.Verb))
		return err
	}
	h.watch.acted(a, before, err)
	if err == nil && h.variation.Kind == Twice {
		before, again := h.watch.whole(), do()
		h.watch.forget()
		h.watch.again(a, before, again)
	}
	h.lag.sample()
	h.whatIsTrue()
	if err == nil && h.crash != nil && !h.killed(a.Key()) {
		h.diary.note(h.w.Now(), "! the process is killed")
		h.crash()
	}
	return err
}

// connect connects to the process in a pod.
func (h *storeHand) connect(ctx context.Context, ep redis.Endpoint) (redis.Conn, error) {
	if h.dead {
		return nil, context.Canceled
	}
	c, err := h.login(ctx, ep)
	if err != nil {
		return nil, err
	}
	return &wire{storeHand: h, conn: c, pod: ep.Pod.Name}, nil
}

// login connects to a process, with the password where there is one.
func (s *Stage) login(ctx context.Context, ep redis.Endpoint) (*store.Conn, error) {
	c, err := s.stores.world.Connect(ctx, net.JoinHostPort(ep.Host, strconv.Itoa(ep.Port)))
	if err != nil || ep.Password == "" {
		return c, err
	}
	if _, err := c.Do(ctx, "AUTH", ep.Password); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// askStores fills in what the stores of a snapshot say, as a witness hears it.
func (s *Stage) askStores(world *fleet.Snapshot) {
	witness := &redis.Hand{Now: s.w.Now, Sleep: s.sleep, Parallel: 1, Secrets: s.secret, Connect: func(ctx context.Context, ep redis.Endpoint) (redis.Conn, error) {
		return s.login(ctx, ep)
	}}
	defer witness.Close()
	for i := range world.Stores {
		s.dead, s.bound = false, s.w.Now().Add(askWithin)
		witness.Observe(context.Background(), &world.Stores[i])
		world.Stores[i].Read = s.w.Now()
	}
}

// wire is a connection with the variation's trouble on it.
type wire struct {
	*storeHand
	conn *store.Conn
	pod  string
}

func (c *wire) Close() error { return c.conn.Close() }

func (c *wire) Do(ctx context.Context, args ...any) (any, error) {
	if c.dead {
		return nil, context.Canceled
	}
	said := spoken(args)
	n, effect := c.calls.n, changes(said)
	c.calls.n++
	if effect {
		c.calls.acts = append(c.calls.acts, n)
	}
	if c.variation.Kind == Fail && c.variation.N == n {
		c.diary.note(c.w.Now(), "! a command fails")
		return nil, errFailed
	}
	if effect {
		c.watch.says(said, c.pod)
	}
	out, err := c.conn.Do(ctx, args...)
	if !effect || err != nil {
		return out, err
	}
	command := c.calls.commands
	c.calls.commands++
	c.watch.forget()
	c.whatIsTrue()
	if c.variation.Kind == Crash && c.variation.N == command || c.crash != nil && !c.killed(fmt.Sprint(c.key, said, c.pod)) {
		c.dead = true
		c.end()
		return nil, context.Canceled
	}
	if c.variation.Kind == Lose && c.variation.N == n {
		c.diary.note(c.w.Now(), "! the reply is lost")
		return nil, errLost
	}
	return out, nil
}

// spoken is a command's words.
func spoken(args []any) []string {
	var out []string
	for _, a := range args {
		out = append(out, fmt.Sprint(a))
	}
	return out
}

// effects are the commands that change something, by their first words.
var effects = []string{
	"CONFIG SET", "CLIENT PAUSE", "CLIENT UNPAUSE", "CLIENT KILL", "REPLICAOF", "SENTINEL FAILOVER", "SENTINEL RESET",
	"CLUSTER MEET", "CLUSTER REPLICATE", "CLUSTER FAILOVER", "CLUSTER RESET", "CLUSTER FORGET",
}

// changes tells whether a command changes something.
func changes(said []string) bool {
	words := strings.ToUpper(strings.Join(said, " ")) + " "
	return slices.ContainsFunc(effects, func(e string) bool { return strings.HasPrefix(words, e+" ") })
}

// sleep lets time pass in the middle of a look or of an action.
func (s *Stage) sleep(_ context.Context, d time.Duration) error {
	switch {
	case s.dead:
		return context.Canceled
	case !s.w.Now().Before(s.bound):
		return context.DeadlineExceeded
	}
	end := s.w.Now().Add(d)
	for at, ok := s.w.Clock.Next(); ok && !at.After(end); at, ok = s.w.Clock.Next() {
		s.step()
	}
	s.w.Clock.Advance(end.Sub(s.w.Now()))
	s.watch.forget()
	return nil
}
