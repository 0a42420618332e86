package balancer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// Options of a Balancer. Only Cloud has no default.
type Options struct {
	Cloud Cloud
	// Listen chooses where a group listens; the default is 127.0.0.1 and any free port.
	Listen func(TargetGroup) string
	// Dial connects to a target at the address the cloud knows; the default is a plain dialer.
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Speed   float64       // divides the interval of health checks; 0 means 1
	Timeout time.Duration // until a target has begun to answer, in real time; 0 means ELB's 60s
	Log     *slog.Logger
}

// Balancer is one load balancer for all target groups of a cloud.
type Balancer struct {
	Options
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	looking sync.Mutex // one look at a time
	mu      sync.Mutex
	fronts  map[string]*front
	refused map[string]error // groups without a listener, by ARN
}

// lookEvery bounds how long a new group has to wait for its listener, and a target that left for its connections to be cut. The
// choice of a target does not wait: it asks the cloud for every request.
const lookEvery = 100 * time.Millisecond

// New starts a balancer; the groups that exist have their listeners when it returns. Close ends it.
func New(o Options) (*Balancer, error) {
	if o.Cloud == nil {
		return nil, errors.New("balancer: Options.Cloud is missing")
	}
	if o.Listen == nil {
		o.Listen = func(TargetGroup) string { return "127.0.0.1:0" }
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Balancer{Options: o, fronts: map[string]*front{}, refused: map[string]error{}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.Refresh()
	b.work.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				b.Refresh()
			case <-b.ctx.Done():
				return
			}
		}
	})
	return b, nil
}

// Refresh looks at the cloud now instead of a moment later: listeners for new groups, checks for new targets, an end for those
// that are gone.
func (b *Balancer) Refresh() {
	b.looking.Lock()
	defer b.looking.Unlock()
	groups := b.Cloud.TargetGroups()
	b.mu.Lock()
	var ended []*front
	for arn, f := range b.fronts {
		if !slices.ContainsFunc(groups, func(g TargetGroup) bool { return g.ARN == arn }) {
			delete(b.fronts, arn)
			ended = append(ended, f)
		}
	}
	b.mu.Unlock()
	for _, f := range ended {
		f.close()
	}
	for _, g := range groups {
		if b.ctx.Err() != nil {
			return
		}
		if f := b.front(g); f != nil {
			f.look(g)
		}
	}
}

// front returns the group's front, opening it when the group is new.
func (b *Balancer) front(g TargetGroup) *front {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.fronts[g.ARN]; f != nil {
		return f
	}
	f, err := openFront(b, g)
	if err != nil {
		if b.refused[g.ARN] == nil {
			b.Log.Error("no listener", "group", g.Name, "error", err)
		}
		b.refused[g.ARN] = err
		return nil
	}
	delete(b.refused, g.ARN)
	b.fronts[g.ARN] = f
	return f
}

// Listener returns where a group's traffic goes in.
func (b *Balancer) Listener(arn string) (net.Addr, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.fronts[arn]; f != nil {
		return f.listener.Addr(), nil
	}
	if err := b.refused[arn]; err != nil {
		return nil, fmt.Errorf("listener of %s: %w", arn, err)
	}
	return nil, fmt.Errorf("listener of %s: there is no such target group", arn)
}

// InFlight counts the requests and connections that a group's targets are busy with.
func (b *Balancer) InFlight(arn string) int {
	b.mu.Lock()
	f := b.fronts[arn]
	b.mu.Unlock()
	if f == nil {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, flights := range f.flying {
		n += len(flights)
	}
	return n
}

// Close stops all listeners and checks and breaks what is in flight.
func (b *Balancer) Close() {
	b.cancel()
	b.work.Wait()
	b.mu.Lock()
	fronts := b.fronts
	b.fronts = map[string]*front{}
	b.mu.Unlock()
	for _, f := range fronts {
		f.close()
	}
}
