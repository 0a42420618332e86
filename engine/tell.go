package engine

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// tellEvery is how long the next word about a case waits after the last one of any: telling must never take the API server's time from acting.
const tellEvery = 200 * time.Millisecond

// news is what people have not been told yet, the newest word about each case.
type news struct {
	mu    sync.Mutex
	of    map[string]word // by instance
	said  map[string]said
	moves []fleet.Action
	more  chan struct{} // holds one token while there is something
}

// said is what was told of a case last, and when.
type said struct {
	p  fleet.ExitProgress
	at time.Time
}

type word struct {
	c  fleet.Case
	p  fleet.ExitProgress
	at time.Time
}

// see shows what a tick found to those who count, and keeps it for the teller.
func (w *Watch) see(s *fleet.Snapshot, step evac.Step) {
	if w.See != nil {
		w.See(View{At: s.Now, Took: w.Now().Sub(s.Now), Cases: s.Cases, Exits: step.Standing, Holds: step.Holds})
	}
	if w.Teller == nil {
		return
	}
	w.news.forget(s)
	for _, p := range step.Standing {
		if !w.news.due(p, s.Now) {
			continue
		}
		if c := s.Case(p.Departure.Instance); c != nil {
			w.news.put(word{c.Clone(), p, s.Now})
		}
	}
}

// due tells whether a case is to be told of again.
func (n *news) due(p fleet.ExitProgress, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	last, ok := n.said[p.Departure.Instance]
	return !ok || last.outdated(p, now)
}

func (n *news) put(x word) {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := x.c.Instance
	if last, ok := n.said[id]; ok && !last.outdated(x.p, x.at) {
		return
	}
	if n.of == nil {
		n.of, n.said = map[string]word{}, map[string]said{}
	}
	n.of[id] = x
	n.ring()
}

// forget drops what was said of cases that are over.
func (n *news) forget(s *fleet.Snapshot) {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.said, func(id string, _ said) bool { c := s.Case(id); return c == nil || !c.Open() })
}

// movesKept is how many moves wait to be told at most: of a wave of hundreds of nodes the cases tell.
const movesKept = 200

// moved keeps a pod's move for the teller.
func (n *news) moved(a fleet.Action) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.moves) < movesKept {
		n.moves = append(n.moves, a)
		n.ring()
	}
}

func (n *news) ring() {
	select {
	case n.more <- struct{}{}:
	default:
	}
}

// figuresEvery is how often the figures of a case are told while its phase stays the same.
const figuresEvery = 10 * time.Second

// outdated tells whether a word says something new: another phase at once, other figures now and then. Sentences may count seconds.
func (s said) outdated(b fleet.ExitProgress, now time.Time) bool {
	a := s.p
	if a.Phase != b.Phase {
		return true
	}
	return now.Sub(s.at) >= figuresEvery && (a.Pods != b.Pods || (a.Waiting == "") != (b.Waiting == ""))
}

// take returns the news about the case that has waited longest for its phase to be told, by instance.
func (n *news) take() (word, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ids := make([]string, 0, len(n.of))
	for id := range n.of {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return word{}, false
	}
	x := n.of[slices.Min(ids)]
	delete(n.of, x.c.Instance)
	n.said[x.c.Instance] = said{x.p, x.at}
	return x, true
}

// next is what to tell next: cases before moves; nil when there is nothing. A word about a case that failed is kept for later.
func (n *news) next() func(context.Context, Teller) error {
	if x, ok := n.take(); ok {
		return func(ctx context.Context, t Teller) error {
			err := t.PublishCase(ctx, x.c, x.p.Phase, x.p.Waiting, x.p.Pods)
			if err != nil {
				n.keep(x)
			}
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.moves) == 0 {
		return nil
	}
	a := n.moves[0]
	n.moves = n.moves[1:]
	return func(ctx context.Context, t Teller) error { return t.PublishMove(ctx, a) }
}

// keep has a word told again, unless there is a newer one.
func (n *news) keep(x word) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.said, x.c.Instance)
	if _, newer := n.of[x.c.Instance]; !newer {
		n.of[x.c.Instance] = x
	}
}

// tellLater is how long telling rests after it failed.
const tellLater = 5 * time.Second

// tellAll tells the news, one after the other, until the context ends.
func (w *Watch) tellAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.news.more:
		}
		for tell := w.news.next(); tell != nil; tell = w.news.next() {
			within, cancel := context.WithTimeout(ctx, actWithin)
			rest := tellEvery
			if err := tell(within, w.Teller); err != nil && ctx.Err() == nil {
				rest = tellLater
				w.Note(Note{At: w.Now(), Err: err, Again: rest})
			}
			cancel()
			select {
			case <-ctx.Done():
				return
			case <-time.After(rest):
			}
		}
	}
}
