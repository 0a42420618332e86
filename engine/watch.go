package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"drover.dev/depart"
	"drover.dev/evac"
	"drover.dev/fleet"
)

// actionsAtATime is how many actions one tick of a controller carries out at most: a node that is noticed meanwhile does not wait for all pods of
// those before it.
const actionsAtATime = 256

// receivers of the queue at once, where nobody says.
const receivers = 4

// Watch is a controller at work. Nothing in it is needed to go on after a crash.
type Watch struct {
	*Controller
	run  *Run                    // of the departures that AWS gave notice of
	runs map[string]*replacement // that the controller began, by run

	work sync.WaitGroup // replacements that go on by themselves

	mu    sync.Mutex
	seen  *fleet.Snapshot // as last observed; not changed any more
	first chan struct{}   // closed when there is one

	poked   chan struct{}                // holds one token when the cloud should be asked again at once
	waits   map[string]map[string]waited // what was done with hooks, by instance and hook
	joining map[string]time.Time         // when a launch hook was first seen to hold an instance
	late    error                        // why EC2 was not asked when it should have been
	asked   []fleet.Machine
	askAt   time.Time
	log     map[string][]fleet.Entry // by instance, of open cases
	holds   []fleet.Hold
	doubted time.Time // when the cluster's name was last doubted
	news    news
}

// Begin returns a controller that has done nothing yet.
func (c *Controller) Begin() *Watch {
	return &Watch{
		Controller: c, run: c.Engine.Begin(evac.Plan{Run: fleet.NoticeRun}), runs: map[string]*replacement{}, first: make(chan struct{}), poked: make(chan struct{}, 1), news: news{more: make(chan struct{}, 1)},
		waits: map[string]map[string]waited{}, joining: map[string]time.Time{}, log: map[string][]fleet.Entry{},
	}
}

// Run takes notices in and empties nodes until the context ends, or until another process should do that (ErrSelf).
func (c *Controller) Run(ctx context.Context) error {
	w := c.Begin()
	within, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer w.work.Wait()
	defer w.run.flights.end()
	defer wg.Wait()
	defer stop()
	if c.Queue != nil {
		n := c.Receivers
		if n <= 0 {
			n = receivers
		}
		for range n {
			wg.Go(func() { w.receive(within) })
		}
	}
	if c.Teller != nil {
		wg.Go(func() { w.tellAll(within) })
	}
	for {
		wait, err := w.Tick(within)
		if err != nil {
			return err
		}
		if err := w.sleep(within, wait); err != nil {
			return err
		}
	}
}

// receive takes batch after batch. Trouble is told, and waited out.
func (w *Watch) receive(ctx context.Context) {
	for tries := 0; ctx.Err() == nil; {
		ms, err := w.Queue.Receive(ctx)
		if err == nil {
			tries = 0
			if err := w.store(ctx, ms); err != nil && ctx.Err() == nil { // what could not be filed comes again by itself, and holds up no other message
				w.Note(Note{At: w.Now(), Err: err, Again: w.CloudEvery})
			}
			continue
		}
		if ctx.Err() != nil {
			return
		}
		err = fmt.Errorf("receive messages: %w", err)
		wait := delay(tries)
		tries++
		w.Note(Note{At: w.Now(), Err: err, Again: wait})
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// sleep waits for an event in the cluster, for a message that says that the cloud has changed, or for the time to pass.
func (w *Watch) sleep(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.Engine.Cluster.Changed():
	case <-w.run.flights.woken:
	case <-w.poked:
		w.run.cloudAt = time.Time{}
	case <-t.C:
	}
	return nil
}

// poke has the cloud asked again at once.
func (w *Watch) poke() {
	select {
	case w.poked <- struct{}{}:
	default:
	}
}

// Tick observes, sweeps, decides and acts once. wait is how long nothing but an event can change the outcome.
func (w *Watch) Tick(ctx context.Context) (wait time.Duration, err error) {
	if w.Alive != nil {
		w.Alive()
	}
	if err := w.run.flights.settle(); err != nil {
		return 0, err
	}
	s, err := w.look(ctx)
	if err == nil && w.sweep(ctx, &s) {
		s, err = w.look(ctx) // once: whatever is on file by now, the nodes have waited long enough
	}
	if err != nil {
		wait, _, err := w.run.stumble(ctx, err)
		return wait, err
	}
	wait, begun, err := w.replace(ctx, &s)
	if err != nil || begun {
		return 0, err
	}
	plan := evac.Notices(&s, w.Policy)
	w.run.ask(ctx, plan, &s)
	step := evac.Next(plan, s)
	w.leave(&s)
	w.see(&s, step)
	if err := w.fenced(ctx); err != nil {
		return 0, err
	}
	due, again := w.run.due(step.Actions, s.Now)
	w.run.note(append(step.Holds, w.holds...), s.Now)
	w.tidy(&s)
	if len(due) == 0 {
		if err := w.handOver(&s); err != nil {
			return 0, err
		}
		return min(wait, again, until(step.Again, s.Now, w.CloudEvery)), nil
	}
	return 0, w.act(ctx, due[:min(len(due), actionsAtATime)], s.Now)
}

// look observes the fleet, with what was done and does not show yet.
func (w *Watch) look(ctx context.Context) (fleet.Snapshot, error) {
	s, err := w.run.observe(ctx)
	if err != nil {
		return s, err
	}
	s.Cluster = cmp.Or(w.ClusterName, s.ClusterByTags())
	w.doubt(&s)
	w.ask(ctx, &s)
	w.run.trouble = 0
	w.recall(&s)
	w.run.assume(&s)
	w.run.refused(&s)
	seen := s.Clone()
	w.mu.Lock()
	if w.seen == nil {
		close(w.first)
	}
	w.seen = &seen
	w.mu.Unlock()
	return s, nil
}

// doubt says that the cluster's name may be wrong: by another name than its tags say, drover would take no group for its own.
func (w *Watch) doubt(s *fleet.Snapshot) {
	tagged := s.ClusterByTags()
	if tagged == "" || tagged == s.Cluster || s.Now.Sub(w.doubted) < stopAfter {
		return
	}
	w.doubted = s.Now
	w.Note(Note{At: s.Now, Err: fmt.Errorf("groups with nodes of this cluster are tagged as cluster %s, and drover was told that it is %s: is --cluster-name right?", tagged, s.Cluster), Again: stopAfter})
}

// lastSeen returns the fleet as it was observed last, and waits for the first time.
func (w *Watch) lastSeen(ctx context.Context) (*fleet.Snapshot, error) {
	select {
	case <-w.first:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen, nil
}

// ask puts into the snapshot what EC2 says of instances on file that do not show whether they run.
// While it does not answer, its last word stands: what it was not asked about is taken to run.
func (w *Watch) ask(ctx context.Context, s *fleet.Snapshot) {
	ids := depart.Asked(s)
	if w.Census == nil || len(ids) == 0 {
		return
	}
	known := !slices.ContainsFunc(ids, func(id string) bool {
		return !slices.ContainsFunc(w.asked, func(m fleet.Machine) bool { return m.ID == id })
	})
	if since := s.Now.Sub(w.askAt); since >= w.CloudEvery || !known && w.late == nil {
		found, err := w.census(ctx, ids)
		if w.askAt, w.late = s.Now, err; err == nil {
			w.asked = found
		} else {
			w.Note(Note{At: s.Now, Err: err, Again: w.CloudEvery})
		}
	}
	s.Machines = w.asked
}

// sweep files what AWS shows and no message told, and tells whether anything was new.
//
// It takes no longer than an action: hooks have to be held meanwhile.
func (w *Watch) sweep(ctx context.Context, s *fleet.Snapshot) (swept bool) {
	ctx, cancel := context.WithTimeout(ctx, actWithin)
	defer cancel()
	found := depart.Sweep(s, w.Policy)
	heard := make([]Heard, len(found))
	w.run.each(len(found), func(i int) {
		fate, err := w.notice(ctx, s, found[i])
		if heard[i] = (Heard{At: s.Now, Notice: found[i], Fate: fate}); err != nil {
			heard[i].Why = err.Error()
		}
	})
	for _, h := range heard {
		if h.Why != "" {
			w.Note(Note{At: s.Now, Err: errors.New(h.Why), Again: w.CloudEvery})
		}
		w.hear(h)
		swept = swept || h.Fate == Stored
	}
	return swept
}

// act carries actions out. An error that would end a person's run ends nothing here: the other nodes go all the same.
func (w *Watch) act(ctx context.Context, actions []fleet.Action, now time.Time) error {
	return w.run.actEach(ctx, actions, w.hand, func(a fleet.Action, err error) error {
		var fatal *fleet.Fatal
		if errors.As(err, &fatal) {
			err = &fleet.Refused{Reason: err.Error(), Wait: stopAfter, Denied: true}
		}
		if err == nil {
			w.done(a)
		}
		return w.run.outcome(a, err)
	})
}

// hand carries one action out; what is written on file goes through the docket.
func (w *Watch) hand(ctx context.Context, a fleet.Action) error {
	if a.Verb != fleet.File {
		return w.run.hand(ctx, a)
	}
	if err := w.fenced(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actWithin)
	defer cancel()
	want := *a.Case
	if !want.Marks.Ended.IsZero() {
		w.mu.Lock()
		want.Log = slices.Clone(w.log[a.Instance])
		w.mu.Unlock()
	}
	return w.Docket.File(ctx, a.Instance, func(have fleet.Case) (fleet.Case, bool) { return depart.Join(have, want) })
}

// tidy forgets refusals that are long over.
func (w *Watch) tidy(s *fleet.Snapshot) {
	for key, b := range w.run.backoff {
		if s.Now.Sub(b.until) > 10*time.Minute {
			delete(w.run.backoff, key)
		}
	}
}

// handOver ends the leadership of a process whose own node is shut: what is left to do, another begins in time.
func (w *Watch) handOver(s *fleet.Snapshot) error {
	n := s.Node(w.Self)
	if w.Self == "" || n == nil {
		return nil
	}
	if c := s.Case(n.Instance); c == nil || !c.Open() || !c.Pressing(s.Now) {
		w.Controller.handed = false
		return nil
	}
	if w.Controller.handed {
		return nil // and nobody took the lead
	}
	w.Controller.handed = true
	return ErrSelf
}
