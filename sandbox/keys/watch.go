package keys

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Watch counts failovers. It asks and asks again rather than listen: every failover has an epoch of its own that stays to be seen, while an event
// is lost with the Sentinel that is just being moved.
type Watch struct {
	stores []Store
	dial   Dial
	cancel context.CancelFunc
	work   sync.WaitGroup
	last   sync.Once

	mu     sync.Mutex
	shards map[string]*shard // by store, and for a cluster by slots
	tell   func(Failover)
}

// Failover is a change of who is a shard's master.
type Failover struct {
	Shard    string
	From, To string // host:port
}

// shard is who has been its master.
type shard struct {
	first  int64          // the epoch that it was met with
	owners map[int64]Node // by epoch
	count  int
}

// askEvery is short beside the time between two failovers of one shard.
const askEvery = 200 * time.Millisecond

// StartWatch watches stores until Stop. It tells of each failover as it is seen.
func StartWatch(stores []Store, dial Dial, tell func(Failover)) *Watch {
	w := &Watch{stores: stores, dial: dial, shards: map[string]*shard{}, tell: tell}
	var life context.Context
	life, w.cancel = context.WithCancel(context.Background())
	for _, s := range stores {
		w.work.Go(func() {
			for pause(life, askEvery) {
				w.look(life, s)
			}
		})
	}
	return w
}

// look asks once, and tells of what is new.
func (w *Watch) look(ctx context.Context, s Store) {
	for _, f := range w.learn(s, s.Look(ctx, w.dial)) {
		w.tell(f)
	}
}

// Stop looks a last time, ends the watching, and returns how many failovers each shard had.
func (w *Watch) Stop() map[string]int {
	w.cancel()
	w.work.Wait()
	w.last.Do(func() { // the look that was under way was cut off, and the one before it may be old
		for _, s := range w.stores {
			w.look(context.Background(), s)
		}
	})
	return w.Failovers()
}

// Failovers is how many each shard has had until now.
func (w *Watch) Failovers() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]int{}
	for name, s := range w.shards {
		out[name] = s.count
	}
	return out
}

// learn takes views in and returns the failovers that are new.
func (w *Watch) learn(s Store, views []View) []Failover {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Failover
	for _, v := range views {
		for i, n := range v.Nodes {
			if s.Master != "" && i > 0 || s.Master == "" && len(n.Slots) == 0 {
				continue
			}
			if n.Is("failover_in_progress") {
				continue // the Sentinel that leads it says the new epoch for a moment with the old address
			}
			name := s.Name
			if s.Master == "" {
				name = fmt.Sprintf("%s %s", s.Name, strings.Join(n.Slots, " "))
			} else {
				n.ID = n.Address // a Sentinel hears the id of a new master only later
			}
			if f, ok := w.seen(name, n); ok {
				out = append(out, f)
			}
		}
	}
	return out
}

// seen notes the owner of a shard in an epoch. A Sentinel that begins anew has epoch zero and knows nothing: that is no failover.
func (w *Watch) seen(name string, n Node) (Failover, bool) {
	s := w.shards[name]
	if s == nil {
		w.shards[name] = &shard{first: n.Epoch, owners: map[int64]Node{n.Epoch: n}}
		return Failover{}, false
	}
	if _, known := s.owners[n.Epoch]; known || n.Epoch < s.first {
		return Failover{}, false
	}
	before := s.owners[slices.Max(slices.Collect(maps.Keys(s.owners)))]
	s.owners[n.Epoch] = n
	if before.Epoch > n.Epoch || before.ID == n.ID {
		return Failover{}, false
	}
	s.count++
	return Failover{Shard: name, From: before.Address, To: n.Address}, true
}
