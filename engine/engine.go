// Package engine is the only loop: observe, decide, act, note. It is the only place that waits or retries.
//
// Between two ticks it keeps nothing that matters: the approved plan, how long each hold has lasted, when a refused action may be tried
// again, and the actions whose effect the world does not show yet. Kill it after any action and start it again: the next one finds the same
// world and goes on.
package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"drover.dev/env"
	"drover.dev/evac"
	"drover.dev/fleet"
)

// Cloud is the hand on groups and instances. Groups returns those of the given names that exist, or all when none is given.
type Cloud interface {
	Groups(ctx context.Context, names []string) ([]fleet.Group, error)
	Act(ctx context.Context, a fleet.Action) error

	// Targets returns the state of every target that is registered by IP, and the target groups that hold them.
	Targets(ctx context.Context) (map[string][]fleet.Target, []fleet.TargetGroup, error)
}

// Cluster is the hand on nodes and pods. Observe fills the snapshot's Kubernetes half; Changed is readable after something in it changed;
// Confirm reads live, past every cache, whether what an action expects of the cluster still holds.
type Cluster interface {
	Observe(ctx context.Context, s *fleet.Snapshot) error
	Confirm(ctx context.Context, a fleet.Action) error
	Act(ctx context.Context, a fleet.Action) error
	Changed() <-chan struct{}

	// Publish writes how far a run is where people look. An error of it stops nothing.
	Publish(ctx context.Context, p fleet.Progress) error
}

// Prober is a health probe: what tells a run that those who use the workloads notice something.
type Prober interface {
	Name() string
	Ask(ctx context.Context) (healthy bool, why string)
}

// Engine drives one plan through one fleet.
type Engine struct {
	Cloud   Cloud
	Cluster Cluster
	Stores  Stores   // nil where no store is moved
	Groups  []string // names of the groups to observe; with none, no group is

	// AllGroups observes every group there is, when no names are given.
	AllGroups bool

	Note func(Note)
	Now  func() time.Time

	// CloudEvery is how often the cloud is asked while nothing happens: it sends no events that drover hears yet.
	CloudEvery time.Duration

	Probes []Prober

	// NoteUpTo is how seldom the same standing still, or the same refusal, is told at last; each time it takes twice as long. Zero: as often as ever.
	NoteUpTo time.Duration

	// Fence, if set, tells before every action whether this process may still act; its error ends that, as the end of the context does.
	Fence func(ctx context.Context) error

	// AtOnce is how many actions may be in flight; zero for the usual number. With 1 they come in the order in which they were decided.
	AtOnce int

	// Shuffle, if set, reorders the actions of a tick before they are carried out: nothing may depend on their order.
	Shuffle func([]fleet.Action)
}

// Note is something that happened, for the journal that people read.
type Note struct {
	At     time.Time
	Action *fleet.Action // done
	Err    error         // why it was not, when it was not; it will be tried again
	Hold   *fleet.Hold   // standing still for a while
	Again  time.Duration // with Err: when it is tried again
}

// ErrDiverged means that the world left the plan's frame: nothing more was done, and a new plan is needed.
var ErrDiverged = errors.New("the world left the plan")

const (
	actAtOnce = 16               // actions in flight
	actWithin = 8 * time.Second  // with the lease's renew deadline less than the lease: an action ends before another process may begin
	lag       = 30 * time.Second // how long an action's effect may stay invisible before it is asked for again
	settles   = time.Second      // how long what was done to a store may take to show there
	retryMin  = time.Second
	retryMax  = 30 * time.Second
	noteAfter = 4 * time.Second // a hold shorter than this is not worth a line
	noteAgain = 30 * time.Second

	publishEvery = 2 * time.Second
	probeEvery   = 10 * time.Second
	probeWithin  = 5 * time.Second
)

// Observe returns the fleet as it is now.
func (e *Engine) Observe(ctx context.Context) (fleet.Snapshot, error) {
	s := fleet.Snapshot{Now: e.Now()}
	groups, err := e.askCloud(ctx)
	if err != nil {
		return s, err
	}
	s.Groups = groups
	if err := e.Cluster.Observe(ctx, &s); err != nil {
		return s, fmt.Errorf("observe cluster: %w", err)
	}
	targets, err := e.askTargets(ctx)
	if err != nil {
		return s, err
	}
	place(targets, s.Pods)
	e.askStores(ctx, &s, everyStore(&s))
	return s, nil
}

// askTargets asks for the targets that are pods, unless no group is observed.
func (e *Engine) askTargets(ctx context.Context) (map[string][]fleet.Target, error) {
	if len(e.Groups) == 0 && !e.AllGroups {
		return nil, nil
	}
	targets, _, err := e.Cloud.Targets(ctx)
	if err != nil {
		return nil, fmt.Errorf("observe targets by IP: %w", err)
	}
	return targets, nil
}

// place puts the targets that are registered by IP on their pods.
func place(targets map[string][]fleet.Target, pods []fleet.Pod) {
	if len(targets) == 0 {
		return
	}
	for i := range pods {
		if p := &pods[i]; p.IP != "" && !p.Finished {
			p.Targets = targets[p.IP]
		}
	}
}

func (e *Engine) askCloud(ctx context.Context) ([]fleet.Group, error) {
	if len(e.Groups) == 0 && !e.AllGroups {
		return nil, nil
	}
	groups, err := e.Cloud.Groups(ctx, e.Groups)
	if err != nil {
		return nil, fmt.Errorf("observe groups: %w", err)
	}
	return groups, nil
}

// Ledger is what a run came to.
type Ledger struct {
	Nodes      int // that were to go
	Pods       int // that were to move
	Moved      int // moves done; as many as pods when each moved once
	Exceptions []string
	Forecast   time.Duration
	Bound      time.Duration // no plan could be faster
	Took       time.Duration // from the run's begin, by whichever process
}

// Run carries the plan out. It ends when the plan is done, when the world leaves the plan's frame (ErrDiverged), on a fleet.Fatal error, or
// with the context.
func (e *Engine) Run(ctx context.Context, p evac.Plan) (Ledger, error) {
	r := e.Begin(p)
	defer r.flights.end()
	for {
		wait, done, err := r.Tick(ctx)
		if err != nil {
			return r.Ledger(), err
		}
		if done {
			return r.Ledger(), nil
		}
		if err := r.sleep(ctx, wait); err != nil {
			return r.Ledger(), err
		}
	}
}

// Begin returns a run of the plan that has done nothing yet.
func (e *Engine) Begin(p evac.Plan) *Run {
	return &Run{
		Engine: e, plan: p, backoff: map[string]*backoff{}, holds: map[string]*standing{}, moved: p.Record.Moved, exceptions: p.Record.Exceptions,
		probes: make([]fleet.Probe, len(e.Probes)), flights: flights{woken: make(chan struct{}, 1)},
	}
}

// Ledger says what the run has come to so far.
func (r *Run) Ledger() Ledger {
	l := Ledger{Nodes: len(r.plan.Exits), Pods: len(r.plan.Moves), Moved: r.moved, Exceptions: r.exceptions, Forecast: r.plan.Forecast.Took, Bound: r.plan.Forecast.Bound, Took: r.Now().Sub(r.plan.At)}
	if rec := r.plan.Record; rec.Run != "" && !r.plan.Back() {
		l.Nodes, l.Pods = len(rec.Exits), rec.Moves
	}
	return l
}

// Run is one plan being carried out. Nothing in it is needed to go on after a crash.
type Run struct {
	*Engine
	plan       evac.Plan
	assumed    []assumption
	backoff    map[string]*backoff
	holds      map[string]*standing // by subject
	groups     []fleet.Group
	targets    map[string][]fleet.Target
	stores     stores
	flights    flights
	asked      map[string]int    // flights of each store that had ended when it was asked
	member     map[string]string // store by pod, of those that were asked
	probes     []fleet.Probe
	ready      fleet.Probe // the probe that every run has
	probedAt   time.Time
	published  string // what was published last, without its sentences
	said       string // with them
	saidAt     time.Time
	publishAt  time.Time
	moved      int
	cloudAt    time.Time // when groups were observed; zero to ask again at once
	exceptions []string
	trouble    int // observations that went wrong in a row
}

// standing is a hold's history.
type standing struct {
	since, tell time.Time
	every       time.Duration
}

type assumption struct {
	action fleet.Action
	until  time.Time
}

type backoff struct {
	tries int
	held  bool
	until time.Time
	why   string
	tell  time.Time // when it is told again
	every time.Duration
}

// Tick observes, decides and acts once. wait is how long nothing but an event can change the outcome.
func (r *Run) Tick(ctx context.Context) (wait time.Duration, done bool, err error) {
	if err := r.flights.settle(); err != nil {
		return 0, false, err
	}
	s, err := r.observe(ctx)
	if err != nil {
		return r.stumble(ctx, err)
	}
	r.trouble = 0
	r.assume(&s)
	r.refused(&s)
	r.ask(ctx, r.plan, &s)
	r.probe(ctx, &s)
	step := evac.Next(r.plan, s)
	r.publish(ctx, s, step)
	if step.Diverged != "" {
		return 0, false, fmt.Errorf("%w: %s", ErrDiverged, step.Diverged)
	}
	r.exceptions = step.Since(r.exceptions)
	if step.Done {
		return 0, true, nil
	}
	due, wait := r.due(step.Actions, s.Now)
	r.note(step.Holds, s.Now)
	if len(due) == 0 {
		return min(wait, until(step.Again, s.Now, r.CloudEvery)), false, nil
	}
	return 0, false, r.act(ctx, due)
}

// until is how long it is to a moment; usually, when there is none.
func until(at, now time.Time, usually time.Duration) time.Duration {
	if at.IsZero() {
		return usually
	}
	return min(usually, max(0, at.Sub(now)))
}

// observe asks the cloud again only when something was done there or its last word is old.
func (r *Run) observe(ctx context.Context) (fleet.Snapshot, error) {
	now := r.Now()
	if r.cloudAt.IsZero() || now.Sub(r.cloudAt) >= r.CloudEvery {
		groups, err := r.askCloud(ctx)
		if err != nil {
			return fleet.Snapshot{}, err
		}
		targets, err := r.askTargets(ctx)
		if err != nil {
			return fleet.Snapshot{}, err
		}
		r.groups, r.targets, r.cloudAt = groups, targets, now
	}
	s := fleet.Snapshot{Now: now, Groups: r.groups}
	if err := r.Cluster.Observe(ctx, &s); err != nil {
		return s, fmt.Errorf("observe cluster: %w", err)
	}
	place(r.targets, s.Pods)
	s = s.Clone()
	return s, nil
}

// probe puts into the snapshot what the health probes say: readiness at every tick, the others when it is time.
func (r *Run) probe(ctx context.Context, s *fleet.Snapshot) {
	healthy, why := evac.Readiness(r.plan, *s)
	r.ready = judge(r.ready, "readiness", healthy, why, s.Now)
	if len(r.Probes) > 0 && (r.probedAt.IsZero() || s.Now.Sub(r.probedAt) >= probeEvery) {
		r.probedAt = s.Now
		within, cancel := context.WithTimeout(ctx, probeWithin)
		defer cancel()
		var wg sync.WaitGroup
		for i, p := range r.Probes {
			wg.Go(func() {
				healthy, why := p.Ask(within)
				r.probes[i] = judge(r.probes[i], p.Name(), healthy, why, s.Now)
			})
		}
		wg.Wait()
	}
	s.Probes = append(append(s.Probes, r.ready), r.probes...)
}

// judge adds one answer to what is known of a probe.
func judge(known fleet.Probe, name string, healthy bool, why string, now time.Time) fleet.Probe {
	next := fleet.Probe{Name: name, Healthy: healthy, Why: why, Changed: known.Changed, Falls: known.Falls}
	if known.Name == "" || known.Healthy != healthy {
		next.Changed = now
		if !healthy {
			next.Falls++
		}
	}
	return next
}

// publish tells those who look how far the run is, when that has changed, and not more often than they can read.
func (r *Run) publish(ctx context.Context, s fleet.Snapshot, step evac.Step) {
	over := step.Done || step.Diverged != ""
	if !over && s.Now.Sub(r.publishAt) < publishEvery || len(r.plan.Groups) == 0 {
		return
	}
	r.publishAt = s.Now
	p := evac.Track(r.plan, s, step)
	p.Moved, p.Exceptions = r.moved, step.Since(r.exceptions)
	took := p.Took
	p.Took = 0
	now, words := fmt.Sprint(facts(p)), fmt.Sprint(p)
	if now == r.published && (words == r.said || s.Now.Sub(r.saidAt) < noteAgain) {
		return
	}
	p.Took = took
	within, cancel := context.WithTimeout(ctx, actWithin)
	defer cancel()
	if err := r.Cluster.Publish(within, p); err == nil {
		r.published, r.said, r.saidAt = now, words, s.Now
	}
}

// facts is a progress without its sentences, which may count seconds.
func facts(p fleet.Progress) fleet.Progress {
	p.Waiting = nil
	p.Exits = slices.Clone(p.Exits)
	for i := range p.Exits {
		p.Exits[i].Waiting = ""
	}
	return p
}

// stumble waits out trouble in observing; a Fatal error ends the run.
func (r *Run) stumble(ctx context.Context, err error) (time.Duration, bool, error) {
	var fatal *fleet.Fatal
	if errors.As(err, &fatal) || ctx.Err() != nil {
		return 0, false, err
	}
	wait := delay(r.trouble)
	r.trouble++
	r.Note(Note{At: r.Now(), Err: err, Again: wait})
	return wait, false, nil
}

func delay(tries int) time.Duration { return min(retryMin<<min(tries, 10), retryMax) }

// assume writes into the snapshot what was done and is not visible yet. What the world shows by itself is forgotten.
func (r *Run) assume(s *fleet.Snapshot) {
	var still []assumption
	for _, a := range r.assumed {
		if env.Assume(s, a.action) && s.Now.Before(a.until) {
			still = append(still, a)
		}
	}
	r.assumed = still
}

// refused tells the mind whose evictions were refused a moment ago, so that they take nobody else's turn.
func (r *Run) refused(s *fleet.Snapshot) {
	if len(r.backoff) == 0 {
		return
	}
	for i := range s.Pods {
		p := &s.Pods[i]
		b := r.backoff[fleet.Action{Verb: fleet.Evict, Pod: p.Ref}.Key()]
		if b == nil {
			continue
		}
		if p.Held = b.held; s.Now.Before(b.until) {
			p.Refused = b.why
		}
	}
}

// due drops the actions that were refused a moment ago, and returns when the first of them may be tried again.
func (r *Run) due(actions []fleet.Action, now time.Time) (due []fleet.Action, wait time.Duration) {
	wait = r.CloudEvery
	for _, b := range r.backoff {
		if now.Before(b.until) {
			wait = min(wait, b.until.Sub(now))
		}
	}
	for _, a := range actions {
		if b := r.backoff[a.Key()]; b != nil && now.Before(b.until) || r.unsure(a) {
			continue
		}
		due = append(due, a)
	}
	return due, wait
}

// note tells about holds that have lasted a while, and again when one has lasted long. Most waits are over before anybody could read of
// them.
func (r *Run) note(holds []fleet.Hold, now time.Time) {
	still := map[string]*standing{}
	for _, h := range holds {
		st := r.holds[h.Subject]
		if st == nil {
			st = &standing{since: now, tell: now.Add(noteAfter)}
		}
		if !now.Before(st.tell) {
			h.Since = st.since
			r.Note(Note{At: now, Hold: &h})
			st.every = r.seldom(st.every)
			st.tell = now.Add(st.every)
		}
		still[h.Subject] = st
	}
	r.holds = still
}

// act carries the actions out, a bounded number at once, and waits for all of them: nothing is left running that could still change the
// world. Only a Fatal error is returned.
func (r *Run) act(ctx context.Context, actions []fleet.Action) error {
	return r.actEach(ctx, actions, r.hand, r.outcome)
}

// actEach is act with another hand, and another judge of what came of each action.
func (r *Run) actEach(ctx context.Context, actions []fleet.Action, hand func(context.Context, fleet.Action) error, outcome func(fleet.Action, error) error) error {
	if r.Shuffle != nil {
		r.Shuffle(actions)
	}
	if r.AtOnce != 1 { // with 1, each has ended before the next begins
		actions = r.launch(ctx, actions, hand, outcome)
	}
	errs := make([]error, len(actions))
	r.each(len(actions), func(i int) { errs[i] = hand(ctx, actions[i]) })
	for i, a := range actions {
		if err := outcome(a, errs[i]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// each does n things, as many at once as actions may be in flight, and waits for all.
func (r *Run) each(n int, do func(i int)) {
	atOnce := actAtOnce
	if r.AtOnce > 0 {
		atOnce = r.AtOnce
	}
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(i)
		})
	}
	wg.Wait()
}

// hand carries one action out. Once begun it is not cut off by the end of the run, which would leave its outcome unknown, but it is bounded.
func (r *Run) hand(ctx context.Context, a fleet.Action) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := r.fenced(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actWithin)
	defer cancel()
	if a.Verb.Store() {
		return r.actOnStore(ctx, a)
	}
	if !a.Verb.Cloud() {
		return r.Cluster.Act(ctx, a)
	}
	if err := r.confirm(ctx, a); err != nil {
		return err
	}
	return r.Cloud.Act(ctx, a)
}

func (e *Engine) fenced(ctx context.Context) error {
	if e.Fence == nil {
		return nil
	}
	return e.Fence(ctx)
}

// confirm has the cluster look, live, whether what an action in the cloud expects of it still holds.
func (r *Run) confirm(ctx context.Context, a fleet.Action) error {
	if a.Expect == (fleet.Expect{}) {
		return nil
	}
	if a.Verb != fleet.DeleteGroup {
		return r.Cluster.Confirm(ctx, a)
	}
	for _, n := range a.Nodes {
		one := a
		one.Node = n
		if err := r.Cluster.Confirm(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

func (r *Run) outcome(a fleet.Action, err error) error {
	now := r.Now()
	if a.Verb.Cloud() && a.Verb != fleet.Heartbeat {
		r.cloudAt = time.Time{}
	}
	if a.Store != "" {
		r.stores.forget(a.Store)
	}
	if err == nil {
		delete(r.backoff, a.Key())
		if a.Store != "" {
			r.backoff[a.Key()] = &backoff{until: now.Add(settles)}
		}
		r.assumed = append(r.assumed, assumption{a, now.Add(lag)})
		if a.Verb == fleet.Evict || a.Verb == fleet.Unsurge && a.Expect.Ready {
			r.moved++
		}
		r.Note(Note{At: now, Action: &a})
		return nil
	}
	var fatal *fleet.Fatal
	if errors.As(err, &fatal) {
		return fmt.Errorf("%s: %w", a, err)
	}
	if errors.Is(err, context.Canceled) {
		return nil // the run is ending; whether it happened is for the next observation to say
	}
	b := r.backoff[a.Key()]
	if b == nil {
		b = &backoff{}
		r.backoff[a.Key()] = b
	}
	wait := delay(b.tries)
	var refused *fleet.Refused
	b.held = errors.As(err, &refused) && refused.Held
	if refused != nil && refused.Wait > 0 {
		wait = refused.Wait
	}
	b.tries++
	b.until = now.Add(wait)
	if b.why != err.Error() || !now.Before(b.tell) {
		if b.why != err.Error() {
			b.every = 0
		}
		b.every = r.seldom(b.every)
		b.why, b.tell = err.Error(), now.Add(b.every)
		r.Note(Note{At: now, Action: &a, Err: err, Again: wait})
	}
	return nil
}

// seldom is how long the same is not told again.
func (r *Run) seldom(last time.Duration) time.Duration {
	if last == 0 || r.NoteUpTo == 0 {
		return noteAgain
	}
	return min(2*last, max(r.NoteUpTo, noteAgain))
}

// sleep waits for an event in the cluster, or for the time to pass.
func (r *Run) sleep(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.Cluster.Changed():
	case <-r.flights.woken:
	case <-t.C:
	}
	return nil
}
