// Package keys writes to Redis and reads from it, as applications do, and knows afterwards what became of every write.
//
// Each store is used through two client libraries, go-redis and rueidis, both with the settings that they have when nobody changes any. A writer
// adds one number after the other to sets of its own, and remembers those that were acknowledged; a reader looks for numbers that were. A failed
// write is not tried again here: what the library does not hide is what the application sees.
//
// Use: Start, ask for a Report at any time, Stop; then Lost reads every set back from the masters. Watch counts failovers meanwhile, by asking
// Sentinels and members themselves, and Look tells what they say of each other at one moment.
//
// Addresses are dialed through Options.Dial, which may know names. It does not simulate silence: what a killed process leaves behind refuses
// connections at once, where the address of a lost node would not answer at all.
package keys

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9/logging"
)

// Dial connects to host:port, where host may be a name.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// Store is one set of data, behind Sentinels or as a cluster.
type Store struct {
	Name    string
	Master  string          // what its Sentinels call the master; "" for a cluster
	Seed    string          // host:port with which clients begin: a Sentinel, or a member of the cluster
	Members func() []string // host:port of those who can be asked now: the Sentinels, or the cluster's members
}

// Options of a Crew. All are required.
type Options struct {
	Stores  []Store
	Dial    Dial
	Writers int           // of each library, for each store
	Pace    time.Duration // between the beginnings of a writer's writes, and of a reader's reads; there are half as many readers
}

// Crew is writers and readers at work.
type Crew struct {
	Options
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	lines []*line
}

// Start connects and sets to work. The context bounds the start only.
func Start(ctx context.Context, o Options) (*Crew, error) {
	logging.Disable() // go-redis would tell the terminal what is counted here
	c := &Crew{Options: o}
	var life context.Context
	life, c.cancel = context.WithCancel(context.Background())
	for _, s := range o.Stores {
		for _, library := range libraries {
			client, err := library.connect(ctx, s, o.Dial)
			if err != nil {
				c.Stop()
				return nil, fmt.Errorf("keys: %s to store %s: %w", library.name, s.Name, err)
			}
			c.man(life, newLine(s, library.name, o.Writers), client)
		}
	}
	return c, nil
}

// man sets the writers and readers of one line to work.
func (c *Crew) man(life context.Context, l *line, client client) {
	c.mu.Lock()
	c.lines = append(c.lines, l)
	c.mu.Unlock()
	var hands sync.WaitGroup
	for n := range c.Writers {
		hands.Go(func() { c.write(life, client, l, n) })
	}
	for n := range (c.Writers + 1) / 2 {
		hands.Go(func() { c.read(life, client, l, n) })
	}
	c.work.Go(func() {
		<-life.Done()
		client.close() // frees those who wait for an answer
		hands.Wait()
	})
}

// Stop ends the work and returns what became of it.
func (c *Crew) Stop() Report {
	r := c.Report() // before: what is ended here fails
	c.cancel()
	c.work.Wait()
	return r
}

// Report is what happened until now.
func (c *Crew) Report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return report(c.lines, time.Now())
}

func (c *Crew) note(f func(now time.Time)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(time.Now())
}

// write adds numbers until the context ends.
func (c *Crew) write(ctx context.Context, client client, l *line, writer int) {
	w := l.writers[writer]
	for n := int64(1); ; n++ {
		next := time.Now().Add(c.Pace)
		err := client.add(ctx, l.key(writer, n), n)
		if ctx.Err() != nil {
			if err == nil {
				c.note(func(now time.Time) { w.acknowledged(now, n) })
			}
			return
		}
		c.note(func(now time.Time) {
			if err != nil {
				l.failed(err)
			} else {
				w.acknowledged(now, n)
			}
		})
		if !pause(ctx, time.Until(next)) {
			return
		}
	}
}

// read looks for acknowledged numbers until the context ends.
func (c *Crew) read(ctx context.Context, client client, l *line, reader int) {
	dice := rand.New(rand.NewPCG(2, uint64(reader)))
	for {
		next := time.Now().Add(c.Pace)
		var writer int
		var n int64
		c.note(func(time.Time) { writer, n = l.any(dice) })
		if n > 0 {
			found, err := client.has(ctx, l.key(writer, n), n)
			if ctx.Err() != nil {
				return
			}
			c.note(func(time.Time) { l.read(found, err) })
		}
		if !pause(ctx, time.Until(next)) {
			return
		}
	}
}

// pause waits for d; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
