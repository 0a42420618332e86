package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"drover.dev/env"
	"drover.dev/evac"
	"drover.dev/fleet"
)

// Switchboard is the cluster's hand on environments: it adds what they need to know to a snapshot that Observe has filled.
type Switchboard interface {
	ObserveEnvironments(ctx context.Context, s *fleet.Snapshot) error
}

// Databases is the hand on databases. It returns one entry for each id; what cannot be read has Trouble.
type Databases interface {
	Databases(ctx context.Context, ids []string) ([]fleet.Database, error)
}

// Asker asks a database whether it answers, and who is connected. It never fails: the answer says what happened.
type Asker interface {
	Ask(ctx context.Context, db fleet.Database, spec fleet.DatabaseSpec) fleet.Answer
}

// Archive keeps second copies of records, outside of the cluster.
type Archive interface {
	Save(ctx context.Context, url string, r fleet.SleepRecord) error
	Load(ctx context.Context, url, environment string) ([]fleet.SleepRecord, error)
}

// Switcher switches environments: one that a person asks for, or all, as their schedules and wishes say.
type Switcher struct {
	*Engine
	Board     Switchboard
	Databases Databases
	Asker     Asker
	Archive   Archive
	Options   env.Options // of stops that a schedule asks for; By and Run are filled in

	// Alone holds the lease of people's runs while act changes the world; it fails when somebody else has it. Nil where nobody else acts.
	Alone func(ctx context.Context, act func(ctx context.Context) error) error

	// See, if set, is told how everything stands after every look.
	See func(EnvironmentView)

	// Kick, if set, tells that a database changed, before anybody would look.
	Kick <-chan struct{}

	run    *Run
	data   databases
	stores []string // that somebody waits for
	asked  bool     // a person has asked for something
}

// EnvironmentView is how one environment stands.
type EnvironmentView struct {
	At          time.Time
	Environment fleet.Environment
	Wanted      env.Wanted
	Step        env.Step // zero when nothing is asked of it
	Blocked     []fleet.Finding
}

// databases is what RDS and the databases said last. Nothing in it is needed to go on after a crash.
type databases struct {
	read    []fleet.Database
	at      time.Time
	answers map[string]fleet.Answer
}

const (
	rdsEvery     = 10 * time.Second // while something moves
	askDBEvery   = 5 * time.Second
	askDBWithin  = 6 * time.Second
	lookEvery    = 30 * time.Second // at environments that are as they should be
	switchEvery  = time.Second
	moveEvery    = 3 * time.Second // at those that only wait
	archiveTries = 30 * time.Second
)

// Observe returns the fleet as it is now, with all that is known of environments.
func (w *Switcher) Observe(ctx context.Context) (fleet.Snapshot, error) {
	s, err := w.Engine.Observe(ctx)
	if err != nil {
		return s, err
	}
	return s, w.observe(ctx, &s, true)
}

// observe adds what is known of environments to a snapshot.
func (w *Switcher) observe(ctx context.Context, s *fleet.Snapshot, everything bool) error {
	if err := w.Board.ObserveEnvironments(ctx, s); err != nil {
		return fmt.Errorf("observe environments: %w", err)
	}
	return w.askDatabases(ctx, s, everything)
}

// askDatabases fills in what RDS says of the databases that environments name, and what they answer themselves.
func (w *Switcher) askDatabases(ctx context.Context, s *fleet.Snapshot, everything bool) error {
	ids := env.DatabaseIDs(s)
	if w.Databases == nil || len(ids) == 0 {
		return nil
	}
	if w.data.at.IsZero() || s.Now.Sub(w.data.at) >= rdsEvery || len(w.data.read) != len(ids) {
		read, err := w.Databases.Databases(ctx, ids)
		if err != nil {
			return fmt.Errorf("observe databases: %w", err)
		}
		w.data.read, w.data.at = read, s.Now
	}
	s.Databases = slices.Clone(w.data.read)
	w.login(ctx, s, func(id string) bool { return everything || matters(s, id) })
	return nil
}

// matters tells whether somebody waits for what a database answers: a start, or a stop that has not come to it.
func matters(s *fleet.Snapshot, id string) bool {
	for i := range s.Environments {
		e := &s.Environments[i]
		named := slices.ContainsFunc(e.Spec.Databases, func(d fleet.DatabaseSpec) bool { return d.ID == id }) ||
			e.Record != nil && slices.ContainsFunc(e.Record.Databases, func(d fleet.SleepDatabase) bool { return d.ID == id })
		switch wanted := env.Want(e, s.Now); {
		case !named:
		case e.Record == nil && wanted.Known && !wanted.On, e.Record != nil && wanted.On:
			return true
		case e.Record != nil: // asleep, one that is only lowered is left alone
			lowered := slices.ContainsFunc(e.Record.Databases, func(d fleet.SleepDatabase) bool { return d.ID == id && d.Lower })
			return e.Record.Marks.Asleep.IsZero() || !lowered
		}
	}
	return false
}

// login asks every database that is available and whose answer matters, if its last one is old. A connection keeps one that may pause awake.
func (w *Switcher) login(ctx context.Context, s *fleet.Snapshot, matters func(id string) bool) {
	if w.Asker == nil {
		return
	}
	answers := map[string]fleet.Answer{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	within, cancel := context.WithTimeout(ctx, askDBWithin)
	defer cancel()
	for i := range s.Databases {
		db := &s.Databases[i]
		if db.Status != fleet.DatabaseAvailable || db.Trouble != "" || !matters(db.ID) {
			continue
		}
		if last, ok := w.data.answers[db.ID]; ok && s.Now.Sub(last.At) < askDBEvery {
			answers[db.ID] = last
			continue
		}
		spec := specOf(s, db.ID)
		wg.Go(func() {
			a := w.Asker.Ask(within, *db, spec)
			a.At = s.Now
			mu.Lock()
			defer mu.Unlock()
			answers[db.ID] = a
		})
	}
	wg.Wait()
	w.data.answers = answers
	for i := range s.Databases {
		if a, ok := answers[s.Databases[i].ID]; ok {
			s.Databases[i].Answer = &a
		}
	}
}

func specOf(s *fleet.Snapshot, id string) fleet.DatabaseSpec {
	for i := range s.Environments {
		for _, d := range s.Environments[i].Spec.Databases {
			if d.ID == id {
				return d
			}
		}
	}
	return fleet.DatabaseSpec{ID: id}
}

// Run carries a plan out, and returns when it is done, or with the context.
func (w *Switcher) Run(ctx context.Context, p env.Plan) error {
	return w.through(ctx, func(ctx context.Context) (time.Duration, bool, error) { return w.Tick(ctx, p) })
}

// Isolate separates an environment from its neighbours.
func (w *Switcher) Isolate(ctx context.Context, i env.Isolation) error {
	return w.through(ctx, func(ctx context.Context) (time.Duration, bool, error) {
		return w.tick(ctx, i.Environment, func(s fleet.Snapshot) env.Step { return env.NextIsolation(i, s) })
	})
}

// through ticks until it is done.
func (w *Switcher) through(ctx context.Context, tick func(context.Context) (time.Duration, bool, error)) error {
	w.begin()
	defer w.run.flights.end()
	w.asked = true
	for {
		wait, done, err := tick(ctx)
		if done || err != nil {
			return err
		}
		if err := w.run.sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func (w *Switcher) begin() {
	if w.run == nil {
		w.run = w.Engine.Begin(evac.Plan{})
	}
}

// Tick observes, decides and acts once for one plan.
func (w *Switcher) Tick(ctx context.Context, p env.Plan) (wait time.Duration, done bool, err error) {
	return w.tick(ctx, p.Environment, func(s fleet.Snapshot) env.Step { return env.Next(p, s) })
}

func (w *Switcher) tick(ctx context.Context, name string, next func(fleet.Snapshot) env.Step) (wait time.Duration, done bool, err error) {
	w.begin()
	s, err := w.now(ctx)
	if err != nil {
		return w.run.stumble(ctx, err)
	}
	w.run.trouble = 0
	step := next(s)
	w.see(&s, name, env.Wanted{}, step, nil)
	w.run.plan, w.stores = step.Nodes, step.Stores
	if step.Done {
		return 0, true, nil
	}
	due, wait := w.run.due(step.Actions, s.Now)
	w.run.note(step.Holds, s.Now)
	if len(due) == 0 {
		return min(wait, switchEvery), false, nil
	}
	return 0, false, w.act(ctx, due)
}

// now is the fleet as this process knows it: observed, with what it has done and the world does not show yet.
func (w *Switcher) now(ctx context.Context) (fleet.Snapshot, error) {
	s, err := w.run.observe(ctx)
	if err != nil {
		return s, err
	}
	if err := w.observe(ctx, &s, w.asked); err != nil {
		return s, err
	}
	w.run.assume(&s)
	w.run.refused(&s)
	w.run.ask(ctx, w.run.plan, &s, w.stores...)
	return s, nil
}

func (w *Switcher) act(ctx context.Context, due []fleet.Action) error {
	return w.run.actEach(ctx, due, w.hand, func(a fleet.Action, err error) error {
		if a.Database != "" {
			w.data.at = time.Time{}
		}
		return w.run.outcome(a, err)
	})
}

// hand carries one action out.
func (w *Switcher) hand(ctx context.Context, a fleet.Action) error {
	if a.Verb != fleet.Archive {
		return w.run.hand(ctx, a)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := w.fenced(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), archiveTries)
	defer cancel()
	return w.Archive.Save(ctx, a.Target, *a.Sleep)
}

func (w *Switcher) see(s *fleet.Snapshot, name string, wanted env.Wanted, step env.Step, blocked []fleet.Finding) {
	if e := s.Environment(name); w.See != nil && e != nil {
		w.See(EnvironmentView{At: s.Now, Environment: *e, Wanted: wanted, Step: step, Blocked: blocked})
	}
}

// Watch switches all environments as they should be, until the context ends.
func (w *Switcher) Watch(ctx context.Context) error {
	w.begin()
	defer w.run.flights.end()
	for {
		wait, err := w.Round(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			w.Note(Note{At: w.Now(), Err: err, Again: wait})
		}
		if err := w.rest(ctx, wait); err != nil {
			return err
		}
	}
}

// rest waits for the time to pass, or for word of a database.
func (w *Switcher) rest(ctx context.Context, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.Kick:
		w.data.at = time.Time{}
	case <-t.C:
	}
	return nil
}

// Round looks at all environments once, and when one is not as it should be holds the lease until all are, or wait.
func (w *Switcher) Round(ctx context.Context) (wait time.Duration, err error) {
	w.begin()
	s, err := w.now(ctx)
	if err != nil {
		var fatal *fleet.Fatal
		if errors.As(err, &fatal) {
			return lookEvery, err
		}
		return switchEvery * 5, err
	}
	actions, moving := w.decide(&s)
	due, wait := w.run.due(actions, s.Now)
	switch {
	case len(due) == 0 && moving:
		return min(wait, moveEvery), nil
	case len(due) == 0:
		return lookEvery, nil
	}
	if w.Alone == nil {
		return w.drive(ctx)
	}
	err = w.Alone(ctx, func(ctx context.Context) error {
		defer w.run.flights.end() // before the lease is somebody else's
		wait, err = w.drive(ctx)
		return err
	})
	return max(wait, switchEvery), err
}

// drive acts until nothing is left to do but to wait, and for how long.
func (w *Switcher) drive(ctx context.Context) (time.Duration, error) {
	for {
		s, err := w.now(ctx)
		if err != nil {
			return switchEvery * 5, err
		}
		actions, moving := w.decide(&s)
		due, wait := w.run.due(actions, s.Now)
		switch {
		case len(due) > 0:
			if err := w.act(ctx, due); err != nil {
				return switchEvery, err
			}
		case moving:
			return min(wait, moveEvery), ctx.Err()
		default:
			return lookEvery, ctx.Err()
		}
	}
}

// decide says what is to be done now for all environments, and whether one of them is on its way.
func (w *Switcher) decide(s *fleet.Snapshot) (actions []fleet.Action, moving bool) {
	var holds []fleet.Hold
	var nodes evac.Plan
	var stores []string
	for i := range s.Environments {
		e := &s.Environments[i]
		wanted := env.Want(e, s.Now)
		p, blocked := w.plan(s, e, wanted)
		if len(blocked) > 0 {
			for _, f := range blocked {
				holds = append(holds, fleet.Hold{Subject: "environment " + e.Name + " " + f.Code + " " + f.Subject, Reason: fmt.Sprintf("should be %s (%s), and cannot be: %s", map[bool]string{true: "on", false: "off"}[wanted.On], wanted.Why, f)})
			}
			w.see(s, e.Name, wanted, env.Step{}, blocked)
			continue
		}
		if p == nil {
			w.see(s, e.Name, wanted, env.Step{}, nil)
			continue
		}
		step := env.Next(*p, *s)
		w.see(s, e.Name, wanted, step, nil)
		actions = append(actions, step.Actions...)
		for _, a := range step.Actions {
			env.Assume(s, a) // the next environment reckons with it
		}
		holds = append(holds, step.Holds...)
		stores = append(stores, step.Stores...)
		nodes.Exits, nodes.Moves = append(nodes.Exits, step.Nodes.Exits...), append(nodes.Moves, step.Nodes.Moves...)
		moving = moving || !step.Done
	}
	w.run.plan, w.stores = nodes, stores
	w.run.note(holds, s.Now)
	return actions, moving
}

// plan is what has to be done about an environment; nil for nothing. What stands in the way is told instead.
func (w *Switcher) plan(s *fleet.Snapshot, e *fleet.Environment, wanted env.Wanted) (*env.Plan, []fleet.Finding) {
	if len(e.Trouble) > 0 && e.Record != nil {
		return nil, []fleet.Finding{fleet.Found("env-spec", e.Source, "%s", e.Trouble[0]).Then("mend it: until then the environment stays as it is")}
	}
	if len(e.Trouble) > 0 {
		return nil, nil
	}
	if e.Record == nil && (wanted.On || !wanted.Known) {
		return nil, env.Orphans(s, e)
	}
	if !wanted.Known {
		return nil, nil // nobody says what is to become of it: whoever began it goes on
	}
	p := env.Plan{Environment: e.Name, On: wanted.On, By: wanted.By, Forced: wanted.Forced}
	if e.Record != nil && e.Wish != nil && e.Wish.At.Before(e.Record.Marks.Asleep) {
		p.Forced = nil // said of that stop, and not of what has come since
	}
	if e.Wish != nil {
		p.At = e.Wish.At
	}
	if wanted.On || e.Record != nil {
		return &p, nil
	}
	o := w.Options
	o.By, o.Why, o.Forced, o.Run = wanted.By, wanted.Why, wanted.Forced, RunName(e.Name, s.Now)
	p, findings := env.Stop(s, e.Name, o)
	findings = slices.DeleteFunc(findings, func(f fleet.Finding) bool { return !f.Blocks })
	if p.Nothing != "" && len(findings) == 0 {
		return nil, nil
	}
	return &p, findings
}

// RunName names a sleep of an environment that begins now.
func RunName(environment string, now time.Time) string {
	return strings.ToLower(fmt.Sprintf("%s-%s", environment, now.UTC().Format("20060102t150405")))
}
