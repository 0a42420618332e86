package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	run  *Run            // of the departures that AWS gave notice of
	runs map[string]*Run // replacements that the controller began, by run

	mu    sync.Mutex
	seen  *fleet.Snapshot // as last observed; not changed any more
	first chan struct{}   // closed when there is one

	poked   chan struct{} // holds one token when the cloud should be asked again at once
	beats   map[string]time.Time
	answers map[string]map[string]time.Time // by instance and hook
	asked   []fleet.Machine
	askAt   time.Time
	log     map[string][]fleet.Entry // by instance, of open cases
	holds   []fleet.Hold
	news    news
}

// Begin returns a controller that has done nothing yet.
func (c *Controller) Begin() *Watch {
	return &Watch{
		Controller: c, run: c.Engine.Begin(evac.Plan{Run: fleet.NoticeRun}), runs: map[string]*Run{}, first: make(chan struct{}), poked: make(chan struct{}, 1), news: news{more: make(chan struct{}, 1)},
		beats: map[string]time.Time{}, answers: map[string]map[string]time.Time{}, log: map[string][]fleet.Entry{},
	}
}

// Run takes notices in and empties nodes until the context ends, or until another process should do that (ErrSelf).
func (c *Controller) Run(ctx context.Context) error {
	w := c.Begin()
	within, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
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
		_, err := w.Take(ctx)
		if err == nil {
			tries = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
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
	s, err := w.look(ctx)
	if err != nil {
		wait, _, err := w.run.stumble(ctx, err)
		return wait, err
	}
	if swept, err := w.sweep(ctx, &s); err != nil || swept {
		return 0, err
	}
	wait, begun, err := w.replace(ctx, &s)
	if err != nil || begun {
		return 0, err
	}
	plan := evac.Notices(&s, w.Policy)
	step := evac.Next(plan, s)
	w.leave(&s)
	w.see(&s, step)
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
	if err := w.ask(ctx, &s); err != nil {
		return s, err
	}
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

// answerAgain is how long an answer that AWS took is believed, while the hook goes on holding the instance.
const answerAgain = 5 * time.Minute

// recall puts into the snapshot what this process has done with hooks, which AWS does not show.
func (w *Watch) recall(s *fleet.Snapshot) {
	for i := range s.Groups {
		for j := range s.Groups[i].Instances {
			in := &s.Groups[i].Instances[j]
			if b := w.beats[in.ID]; b.After(in.Beat) {
				in.Beat = b
			}
			for hook, at := range w.answers[in.ID] {
				if s.Now.Sub(at) < answerAgain {
					in.Answered = append(in.Answered, hook)
				}
			}
			slices.Sort(in.Answered)
		}
	}
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
func (w *Watch) ask(ctx context.Context, s *fleet.Snapshot) error {
	ids := depart.Asked(s)
	if w.Census == nil || len(ids) == 0 {
		return nil
	}
	known := !slices.ContainsFunc(ids, func(id string) bool {
		return !slices.ContainsFunc(w.asked, func(m fleet.Machine) bool { return m.ID == id })
	})
	if !known || s.Now.Sub(w.askAt) >= w.CloudEvery {
		found, err := w.census(ctx, ids)
		if err != nil {
			return err
		}
		w.asked, w.askAt = found, s.Now
	}
	s.Machines = w.asked
	return nil
}

// sweep files what AWS shows and no message told, and tells whether anything was new.
func (w *Watch) sweep(ctx context.Context, s *fleet.Snapshot) (swept bool, err error) {
	if s.Stopped != nil {
		return false, nil
	}
	for _, n := range depart.Sweep(s, w.Policy) {
		fate, err := w.notice(ctx, s, n)
		h := Heard{At: s.Now, Notice: n, Fate: fate}
		if err != nil {
			h.Why = err.Error()
			w.Note(Note{At: s.Now, Err: err})
		}
		w.hear(h)
		swept = swept || fate == Stored
	}
	return swept, ctx.Err()
}

// Criterion is what a replacement that a controller began prints where a person's rotation says how it chose its nodes.
const Criterion = "notice"

// Requester is who asked for it.
const Requester = "drover controller"

// replace begins runs for departures that leave time for a replacement first, and drives those that it began.
func (w *Watch) replace(ctx context.Context, s *fleet.Snapshot) (wait time.Duration, begun bool, err error) {
	wait = w.CloudEvery
	w.takeUp(s)
	departures, holds := depart.Timely(s, w.Policy)
	w.holds = holds
	for _, d := range departures {
		runs := len(w.runs)
		if err := w.begin(ctx, s, d); err != nil {
			return 0, false, err
		}
		begun = begun || len(w.runs) > runs
	}
	if begun {
		return 0, true, nil // no pod may move to its node any more
	}
	for id, r := range w.runs {
		again, done, err := r.Tick(ctx)
		switch {
		case ctx.Err() != nil:
			return 0, false, ctx.Err()
		case done:
			w.over(id, r, s.Now)
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

// over says of a run that is over what could not be put back.
func (w *Watch) over(id string, r *Run, now time.Time) {
	delete(w.runs, id)
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
		if rec.Requester != Requester || w.runs[rec.Run] != nil || w.pausing("run "+rec.Run, s.Now) {
			continue
		}
		plan, _ := evac.Resume(s, rec)
		w.runs[rec.Run] = w.forGroup(rec.Groups[0].Name).Begin(plan)
	}
}

func (w *Watch) pausing(key string, now time.Time) bool {
	b := w.run.backoff[key]
	return b != nil && now.Before(b.until)
}

// begin begins the run that replaces one node. What stands in the way is said, and tried again later.
func (w *Watch) begin(ctx context.Context, s *fleet.Snapshot, d fleet.Departure) error {
	c := s.Case(d.Instance)
	key := "replace " + d.Instance
	if w.pausing(key, s.Now) {
		w.holds = append(w.holds, fleet.Hold{Subject: "node " + d.Name(), Reason: w.run.backoff[key].why})
		return nil
	}
	run := "notice-" + d.Instance
	plan, findings := evac.Make(s, []string{d.Group}, []fleet.Departure{d}, evac.Options{Run: run, Requester: Requester, Criterion: Criterion, Words: d.Why, Surge: evac.Surge{Count: 1}})
	if i := slices.IndexFunc(findings, func(f fleet.Finding) bool { return f.Blocks }); i >= 0 {
		w.run.backoff[key] = &backoff{until: s.Now.Add(stopAfter), why: "cannot be replaced first: " + findings[i].String()}
		return nil
	}
	if len(plan.Forecast.Stuck) > 0 {
		w.run.backoff[key] = &backoff{until: s.Now.Add(stopAfter), why: "cannot be replaced first: the forecast comes to a stand"}
		return nil
	}
	mark := c.Clone()
	mark.Marks.Rotation, mark.Marks.Replaced = run, s.Now
	a := fleet.Action{Verb: fleet.File, Run: fleet.NoticeRun, Instance: d.Instance, Node: d.Node, Case: &mark, Why: "its replacement comes first"}
	if err := w.act(ctx, []fleet.Action{a}, s.Now); err != nil {
		return err
	}
	w.runs[run] = w.forGroup(d.Group).Begin(plan)
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
			err = &fleet.Refused{Reason: err.Error(), Wait: stopAfter}
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
	if a.Verb == fleet.Heartbeat {
		w.beats[a.Instance] = now
		return
	}
	if a.Verb == fleet.Complete {
		if w.answers[a.Instance] == nil {
			w.answers[a.Instance] = map[string]time.Time{}
		}
		w.answers[a.Instance][a.Hook] = now
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
	for id := range w.beats {
		if _, in := s.Instance(id); in == nil {
			delete(w.beats, id)
		}
	}
	for id := range w.answers {
		if _, in := s.Instance(id); in == nil || !strings.HasSuffix(in.Lifecycle, "Wait") && !strings.HasSuffix(in.Lifecycle, "Proceed") {
			delete(w.answers, id)
		}
	}
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
	if w.Controller.handed || w.Self == "" || n == nil {
		return nil
	}
	if c := s.Case(n.Instance); c == nil || !c.Open() || !c.Pressing(s.Now) {
		return nil
	}
	w.Controller.handed = true
	return ErrSelf
}
