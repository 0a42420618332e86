package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
		if !step.Again.IsZero() {
			again = min(again, max(0, step.Again.Sub(s.Now)))
		}
		return min(wait, again, w.CloudEvery), nil
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

// waited is what was done with one hook that holds one instance.
type waited struct{ beat, answered time.Time }

// answerAgain is how long an answer that AWS took is believed, while the hook goes on holding the instance.
const answerAgain = 5 * time.Minute

// recall puts into the snapshot what this process has done with hooks, which AWS does not show.
func (w *Watch) recall(s *fleet.Snapshot) {
	for i := range s.Groups {
		for j := range s.Groups[i].Instances {
			in := &s.Groups[i].Instances[j]
			for hook, x := range w.waits[in.ID] {
				in.Waits = append(in.Waits, fleet.Wait{Hook: hook, Beat: x.beat, Answered: !x.answered.IsZero() && s.Now.Sub(x.answered) < answerAgain})
			}
			if in.Lifecycle == fleet.PendingWait && w.joining[in.ID].IsZero() {
				w.joining[in.ID] = s.Now
			}
			in.Joining = w.joining[in.ID]
		}
	}
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

// Criterion is what a replacement that a controller began prints where a person's rotation says how it chose its nodes.
const Criterion = "notice"

// Requester is who asked for it.
const Requester = "drover controller"

// replace begins runs for departures that leave time for a replacement first, and drives those that it began.
func (w *Watch) replace(ctx context.Context, s *fleet.Snapshot) (wait time.Duration, begun bool, err error) {
	wait = w.CloudEvery
	w.takeUp(s)
	departures, holds := depart.Timely(s, w.Policy, w.stuck(s))
	w.holds = holds
	if len(departures) > 0 && len(w.runs) == 0 { // one in a tick: planning takes time that others may not have
		begun, err := w.begin(ctx, s, departures[0])
		if err != nil || begun {
			return 0, begun, err // no pod may move to its node any more
		}
		wait = 0
	}
	for id, r := range w.runs {
		again, done, err := w.drive(ctx, r)
		switch {
		case ctx.Err() != nil:
			return 0, false, ctx.Err()
		case done && err == nil:
			w.over(id, r.Run, s.Now)
		case err != nil: // the record stays, for a person to look at and take back
			w.Note(Note{At: s.Now, Err: fmt.Errorf("run %s: %w", id, err), Again: stopAfter})
			delete(w.runs, id)
			w.run.backoff["run "+id] = &backoff{until: s.Now.Add(stopAfter), why: err.Error()}
		default:
			wait = min(wait, again)
		}
	}
	return wait, false, nil
}

// replacement is a run that replaces one node.
type replacement struct {
	*Run
	ended chan error // of the process's own goroutine for it; nil while there is none
}

// drive takes a replacement's next step. Where people may act too, it goes on by itself, under their lease.
func (w *Watch) drive(ctx context.Context, r *replacement) (wait time.Duration, done bool, err error) {
	switch {
	case w.Alone == nil:
		return r.Tick(ctx)
	case r.ended == nil:
		r.ended = make(chan error, 1)
		w.work.Go(func() { r.ended <- w.Alone(ctx, r.toTheEnd) })
	}
	select {
	case err := <-r.ended:
		return 0, true, err
	default:
		return w.CloudEvery, false, nil
	}
}

// toTheEnd ticks until the run is over. It does not listen for changes: those are the controller's, whose nodes have less time.
func (r *replacement) toTheEnd(ctx context.Context) error {
	for {
		wait, done, err := r.Tick(ctx)
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(wait, publishEvery)):
		}
	}
}

// over says of a run that is over what could not be put back.
func (w *Watch) over(id string, r *Run, now time.Time) {
	delete(w.runs, id)
	w.run.backoff["run "+id] = &backoff{until: now.Add(stopAfter), why: "it is over"} // what is observed may be older than that
	for _, e := range r.Ledger().Exceptions {
		w.Note(Note{At: now, Err: fmt.Errorf("run %s is over: %s", id, e)})
	}
}

// stopAfter is how long a run that could not go on is left alone.
const stopAfter = time.Minute

// takeUp goes on with runs of an earlier process.
func (w *Watch) takeUp(s *fleet.Snapshot) {
	for i := range s.Rotations {
		rec := &s.Rotations[i]
		if rec.Requester != Requester || len(rec.Groups) == 0 || w.runs[rec.Run] != nil || w.pausing("run "+rec.Run, s.Now) {
			continue
		}
		plan, _ := evac.Resume(s, rec)
		w.runs[rec.Run] = &replacement{Run: w.forGroup(rec.Groups[0].Name).Begin(plan)}
	}
}

func (w *Watch) pausing(key string, now time.Time) bool {
	b := w.run.backoff[key]
	return b != nil && now.Before(b.until)
}

// stuck are the instances that could not be replaced a while ago, and why.
func (w *Watch) stuck(s *fleet.Snapshot) map[string]string {
	out := map[string]string{}
	for i := range s.Cases {
		if key := replacing + s.Cases[i].Instance; w.pausing(key, s.Now) {
			out[s.Cases[i].Instance] = w.run.backoff[key].why
		}
	}
	return out
}

// replacing begins the key under which it is kept why an instance cannot be replaced for now.
const replacing = "replace "

// begin begins the run that replaces one node. What stands in the way is said, and tried again later.
func (w *Watch) begin(ctx context.Context, s *fleet.Snapshot, d fleet.Departure) (begun bool, err error) {
	c := s.Case(d.Instance)
	key := replacing + d.Instance
	mark := c.Clone()
	mark.Marks.Replaced = s.Now
	if len(s.Group(d.Group).Ours(nil, false)) > 0 { // the group replaces it, and drover's hook holds it meanwhile
		return true, w.mark(ctx, s, key, mark)
	}
	run := fmt.Sprintf("notice-%s-%s", d.Instance, s.Now.UTC().Format("0102t1504"))
	plan, findings := evac.Make(s, []string{d.Group}, []fleet.Departure{d}, evac.Options{Run: run, Requester: Requester, Criterion: Criterion, Words: d.Why, Surge: evac.Surge{Count: 1}})
	if i := slices.IndexFunc(findings, func(f fleet.Finding) bool { return f.Blocks }); i >= 0 {
		w.run.backoff[key] = &backoff{until: s.Now.Add(stopAfter), why: "cannot be replaced first: " + findings[i].String()}
		return false, nil
	}
	if len(plan.Forecast.Stuck) > 0 {
		w.run.backoff[key] = &backoff{until: s.Now.Add(stopAfter), why: "cannot be replaced first: " + plan.Forecast.Stuck[0].String()}
		return false, nil
	}
	mark.Marks.Rotation = run
	if err := w.mark(ctx, s, key, mark); err != nil || w.run.backoff[key] != nil {
		return false, err
	}
	w.runs[run] = &replacement{Run: w.forGroup(d.Group).Begin(plan)}
	return true, nil
}

// mark writes down that a node is replaced, before anything is done about it.
func (w *Watch) mark(ctx context.Context, s *fleet.Snapshot, key string, c fleet.Case) error {
	delete(w.run.backoff, key)
	a := fleet.Action{Verb: fleet.File, Run: fleet.NoticeRun, Instance: c.Instance, Node: c.Node, Case: &c, Why: "its replacement comes first"}
	if err := w.act(ctx, []fleet.Action{a}, s.Now); err != nil {
		return err
	}
	if b := w.run.backoff[a.Key()]; b != nil {
		w.run.backoff[key] = &backoff{until: b.until, why: "its replacement could not be written down: " + b.why}
	}
	return nil
}

// forGroup is the engine for a run about one group.
func (w *Watch) forGroup(name string) *Engine {
	e := *w.Engine
	e.Groups, e.AllGroups = []string{name}, false
	return &e
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

// done remembers what an action means for later ones, and for the log of its case.
func (w *Watch) done(a fleet.Action) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.Now()
	if a.Verb == fleet.Heartbeat || a.Verb == fleet.Complete {
		w.hooked(a, now)
	}
	if w.Teller != nil && (a.Verb == fleet.Evict || a.Verb == fleet.Delete) {
		w.news.moved(a)
	}
	if a.Verb == fleet.Heartbeat {
		return // of no interest later
	}
	id := a.Instance
	if id == "" && w.seen != nil {
		if n := w.seen.Node(a.Node); n != nil {
			id = n.Instance
		}
	}
	if id == "" || a.Verb == fleet.File {
		return
	}
	what := a.String()
	if a.Why != "" {
		what += ": " + a.Why
	}
	if l := w.log[id]; len(l) < logged {
		w.log[id] = append(l, fleet.Entry{At: now, Source: "drover", What: what})
	}
}

// hooked remembers what was done with a hook.
func (w *Watch) hooked(a fleet.Action, now time.Time) {
	of := w.waits[a.Instance]
	if of == nil {
		of = map[string]waited{}
		w.waits[a.Instance] = of
	}
	x := of[a.Hook]
	if a.Verb == fleet.Heartbeat {
		x.beat = now
	} else {
		x.answered = now
	}
	of[a.Hook] = x
}

// logged is how many lines are kept of a case.
const logged = 100

// leave notes that something begins to leave when its node does; nothing is remembered about instances that are no longer on file.
func (w *Watch) leave(s *fleet.Snapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.log {
		if c := s.Case(id); c == nil || !c.Open() {
			delete(w.log, id)
		}
	}
	held := map[string]bool{}
	for i := range s.Groups {
		for _, in := range s.Groups[i].Instances {
			held[in.ID] = strings.HasSuffix(in.Lifecycle, "Wait") || strings.HasSuffix(in.Lifecycle, "Proceed")
		}
	}
	maps.DeleteFunc(w.waits, func(id string, _ map[string]waited) bool { return !held[id] })
	maps.DeleteFunc(w.joining, func(id string, _ time.Time) bool { return !held[id] })
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
