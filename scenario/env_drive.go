package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/engine"
	"drover.dev/env"
	"drover.dev/fleet"
)

// nap is one command that switches an environment off or on: who asks, and when it is left.
type nap struct {
	journey
	name    string
	on      bool
	options env.Options
}

// switcher is drover's process as far as environments go.
func (s *Stage) switcher() *engine.Switcher {
	e := s.engine(nil)
	e.AllGroups = true
	return &engine.Switcher{Engine: e, Board: boardHand{s}, Databases: databaseHand{s}, Asker: askHand{s}, Archive: archiveHand{s}}
}

// switchOver is drover env stop and drover env start.
func (s *Stage) switchOver(args []string, on bool) (string, error) {
	w := parse(args)
	n := nap{name: w.name(), on: on, options: env.Options{By: w.text("by", "ann"), Forced: w.list("force")}}
	if err := s.leave(w, &n.journey); err != nil {
		return "", err
	}
	s.runs++
	n.options.Run = fmt.Sprintf("%s-%03d", n.name, s.runs)
	n.limit = cmp.Or(n.limit, s.patience())
	s.begin()
	s.bed().watched.begin(s, n)
	end := s.w.Now().Add(n.limit)
	for s.outcome.kind = killed; s.outcome.kind == killed; {
		s.outcome = s.nod(&n, end)
	}
	return "", s.ended(n.journey)
}

// ended holds the list against the world in which a command about environments has ended, and fails unless it ended as the story wants it.
func (s *Stage) ended(j journey) error {
	s.crash = nil
	s.watch.endSleep(s.outcome)
	s.outcome.words = s.says(s.outcome.words)
	switch err := errors.Join(s.close(), s.watch.broken()); {
	case err != nil:
		return err
	case j.or != "" && strings.HasPrefix(string(s.outcome.kind), j.or):
		return nil
	case s.outcome.kind == over, s.outcome.kind == reached, s.outcome.kind == still && j.asked:
		return nil
	}
	return s.outcome.err()
}

// nod is one process: it observes, plans, and ticks.
func (s *Stage) nod(n *nap, end time.Time) outcome {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.live(cancel)
	w := s.switcher()
	world, err := w.Observe(ctx)
	for tries := 0; err != nil; tries++ {
		if tries == 10 {
			return outcome{diverged, []string{err.Error()}}
		}
		s.play(time.Second) // a person starts it again
		world, err = w.Observe(ctx)
	}
	p, findings := n.plan(&world)
	if o := stops(findings); o.kind != "" {
		return o
	}
	if p.Nothing != "" && s.bed().watched.did > 0 {
		return outcome{over, s.regretsOf(n.name)} // it was killed after its last action
	}
	if p.Nothing != "" {
		return outcome{nothing, []string{p.Nothing}}
	}
	last, spun := s.w.Now(), 0
	for {
		wait, done, err := w.Tick(ctx, p)
		now := s.w.Now()
		switch spun++; {
		case !now.Equal(last):
			last, spun = now, 0
		case spun > spins:
			return outcome{diverged, []string{fmt.Sprintf("%d ticks at %s without time passing", spun, now.Format(time.TimeOnly))}}
		}
		switch {
		case s.watch.broken() != nil:
			return outcome{diverged, []string{"not safe"}}
		case n.until != nil && n.until():
			return outcome{kind: reached}
		case ctx.Err() != nil:
			return outcome{kind: killed}
		case err != nil:
			return outcome{diverged, []string{s.names.in(err.Error())}}
		case done:
			return outcome{kind: over, words: s.regretsOf(n.name)}
		case !now.Before(end):
			return outcome{still, s.sleepHolds(p)}
		case wait > 0:
			s.pass(min(wait, end.Sub(now)))
		}
	}
}

func (n *nap) plan(world *fleet.Snapshot) (env.Plan, []fleet.Finding) {
	if n.on {
		return env.Start(world, n.name, n.options)
	}
	return env.Stop(world, n.name, n.options)
}

// regretsOf are the exceptions that the latest sleep of an environment tells of.
func (s *Stage) regretsOf(name string) []string {
	e, _ := s.w.Cluster.Environment(name)
	if n := len(e.Sleeps); n > 0 && e.Record == nil {
		return slices.Clone(e.Sleeps[n-1].Exceptions)
	}
	return nil
}

// sleepHolds are the sentences that a plan stands still on, in the world as it is.
func (s *Stage) sleepHolds(p env.Plan) []string {
	world := s.watch.now().s.Clone()
	s.answerDatabases(&world)
	var out []string
	for _, h := range env.Next(p, world).Holds {
		out = append(out, h.String())
	}
	return s.says(out)
}

// answerDatabases fills in what databases say now.
func (s *Stage) answerDatabases(world *fleet.Snapshot) {
	for i := range world.Databases {
		db := &world.Databases[i]
		if db.Status == fleet.DatabaseAvailable {
			a := s.truth.Ask(context.Background(), *db, fleet.DatabaseSpec{ID: db.ID, Secret: "staging/login"})
			db.Answer = &a
		}
	}
}

// envPlan is drover env plan.
func (s *Stage) envPlan(args []string) (string, error) {
	w := parse(args)
	o := env.Options{Run: "s-plan", By: "ann", Forced: w.list("force")}
	name := w.name()
	if err := w.done(); err != nil {
		return "", err
	}
	s.watch.forget()
	world := s.watch.now().s.Clone()
	s.answerDatabases(&world)
	p, findings := env.Stop(&world, name, o)
	var out []string
	for _, f := range findings {
		word := "warns"
		if f.Blocks {
			word = "blocks"
		}
		out = append(out, fmt.Sprintf("%s %s: %s", word, f.Code, s.names.in(f.String())))
	}
	if p.Nothing != "" {
		out = append(out, "nothing to do: "+p.Nothing)
	}
	r := &p.Record
	out = append(out, fmt.Sprintf("%d parts, %d nodes, %d databases", len(r.Parts), len(r.Exits), len(r.Databases)))
	for _, part := range r.Parts {
		out = append(out, fmt.Sprintf("tier %d: %s %s", part.Tier, part.ID(), part.Turn))
	}
	for _, h := range p.Forecast.Stuck {
		out = append(out, "stuck: "+s.names.in(h.String()))
	}
	return strings.Join(out, "\n") + "\n", nil
}

// envWatch is drover controller, as far as it minds schedules and wishes.
func (s *Stage) envWatch(args []string) (string, error) {
	w := parse(args)
	every := w.duration("every", 30*time.Second)
	j := journey{}
	if err := s.leave(w, &j); err != nil {
		return "", err
	}
	j.limit = cmp.Or(j.limit, 24*time.Hour)
	s.begin()
	s.bed().watched.begin(s, nap{})
	end := s.w.Now().Add(j.limit)
	for s.outcome.kind = killed; s.outcome.kind == killed; {
		s.outcome = s.vigil(j, every, end)
	}
	s.bed().watched.vigil = time.Time{}
	j.asked = true
	return "", s.ended(j)
}

// vigil is one process that looks at all environments again and again.
func (s *Stage) vigil(j journey, every time.Duration, end time.Time) outcome {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.live(cancel)
	s.bed().watched.vigil = cmp.Or(s.bed().watched.vigil, s.w.Now())
	w := s.switcher()
	last, spun := s.w.Now(), 0
	for {
		wait, err := w.Round(ctx)
		now := s.w.Now()
		switch spun++; {
		case !now.Equal(last):
			last, spun = now, 0
		case spun > spins:
			return outcome{diverged, []string{fmt.Sprintf("%d rounds at %s without time passing", spun, now.Format(time.TimeOnly))}}
		}
		var fatal *fleet.Fatal
		switch {
		case s.watch.broken() != nil:
			return outcome{diverged, []string{"not safe"}}
		case j.until != nil && j.until():
			return outcome{kind: reached}
		case ctx.Err() != nil:
			return outcome{kind: killed}
		case errors.As(err, &fatal):
			return outcome{diverged, []string{s.names.in(err.Error())}}
		case !now.Before(end):
			return outcome{kind: reached}
		}
		if wait >= resting {
			wait = max(wait, every)
		}
		s.play(min(max(wait, time.Second), end.Sub(now)))
	}
}

// resting is the least time that a controller waits which has nothing to do.
const resting = 30 * time.Second

// envRepair is drover env repair: the record again, from its second copy, and without one from what is marked.
func (s *Stage) envRepair(args []string) (string, error) {
	w := parse(args)
	name, from := w.name(), w.text("from", "archive")
	if err := w.done(); err != nil {
		return "", err
	}
	s.live(func() {})
	err := s.repair(name, from)
	for range 2 { // a person tries again
		if !errors.Is(err, errFailed) && !errors.Is(err, errLost) {
			break
		}
		err = s.repair(name, from)
	}
	return "", err
}

func (s *Stage) repair(name, from string) error {
	ctx := context.Background()
	var kept []fleet.SleepRecord
	if from == "archive" {
		var err error
		if kept, err = s.w.Archive().Load(ctx, archiveURL, name); err != nil {
			return err
		}
	}
	world := s.watch.now().s.Clone()
	r, findings := env.Repair(&world, name, kept)
	if o := stops(findings); o.kind != "" {
		return o.err()
	}
	if r.Record.Run == "" {
		return fmt.Errorf("nothing says that environment %s sleeps", name)
	}
	h := clusterHand{s}
	return h.Act(ctx, fleet.Action{Verb: fleet.Remember, Environment: name, Run: r.Record.Run, Sleep: &r.Record, Why: "repair"})
}

// envIsolate is drover isolate, applied: planned anew by every process, like the command.
func (s *Stage) envIsolate(args []string) (string, error) {
	w := parse(args)
	name := w.name()
	j := journey{limit: w.duration("for", 2*time.Hour)}
	if err := w.done(); err != nil {
		return "", err
	}
	s.begin()
	s.bed().watched.begin(s, nap{})
	end := s.w.Now().Add(j.limit)
	for s.outcome.kind = killed; s.outcome.kind == killed; {
		s.outcome = s.separate(name, end)
	}
	return "", s.ended(j)
}

// separate is one process that isolates an environment.
func (s *Stage) separate(name string, end time.Time) outcome {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.live(cancel)
	w := s.switcher()
	var i *env.Isolation
	for {
		world, err := w.Observe(ctx)
		if err == nil && i == nil {
			plan, findings := env.Isolate(&world, name, env.IsolateOptions{Run: "i-" + name, Apply: true})
			if o := stops(findings); o.kind != "" {
				return o
			}
			i = &plan
		}
		var step env.Step
		if err == nil {
			step = env.NextIsolation(*i, world)
		}
		for _, a := range step.Actions {
			if err := s.hand(ctx, a); err != nil && ctx.Err() == nil {
				s.diary.note(s.w.Now(), "! "+s.names.in(err.Error()))
			}
		}
		switch {
		case s.watch.broken() != nil:
			return outcome{diverged, []string{"not safe"}}
		case ctx.Err() != nil:
			return outcome{kind: killed}
		case step.Done:
			return outcome{kind: over}
		case !s.w.Now().Before(end):
			var holds []string
			for _, h := range step.Holds {
				holds = append(holds, h.String())
			}
			return outcome{still, s.says(holds)}
		}
		s.play(time.Second)
	}
}

// hand has the hand that an action is for carry it out.
func (s *Stage) hand(ctx context.Context, a fleet.Action) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if a.Verb.Cloud() {
		return cloudHand{s}.Act(ctx, a)
	}
	return clusterHand{s}.Act(ctx, a)
}
