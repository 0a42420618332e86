package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/depart"
	"drover.dev/engine"
	"drover.dev/evac"
	"drover.dev/fleet"
)

// outcome is how a command that drives a plan ended.
type outcome struct {
	kind  ending
	words []string
}

type ending string

const (
	over     ending = "over"
	nothing  ending = "nothing to do"
	blocked  ending = "blocked"
	diverged ending = "stopped"
	still    ending = "stands still"
	reached  ending = "under way"
	killed   ending = "killed"
)

// cloudEvery is how often drover asks AWS while nothing happens.
const cloudEvery = 2 * time.Second

// longest is how long a run may take in a story that does not say how long it is watched.
const longest = 8 * time.Hour

// patience is how long a run is watched that the story does not bound. Stores are looked at twice a second.
func (s *Stage) patience() time.Duration {
	if len(s.stores.layout) > 0 {
		return time.Hour
	}
	return longest
}

// journey is one command that drives a plan: how its process begins, and when it is left.
type journey struct {
	groups []string
	plan   func(*fleet.Snapshot) (evac.Plan, outcome)
	until  func() bool
	limit  time.Duration
	asked  bool   // the story says how long, so the end of that time is no failure
	or     string // another ending that is as good
}

func (s *Stage) engine(groups []string) *engine.Engine {
	e := &engine.Engine{Cloud: cloudHand{s}, Cluster: clusterHand{s}, Groups: groups, Note: func(engine.Note) {}, Now: s.w.Now, CloudEvery: cloudEvery, AtOnce: 1, Stores: s.storeHand()}
	for _, p := range s.probes {
		e.Probes = append(e.Probes, p)
	}
	if s.variation.Kind == Shuffle {
		e.Shuffle = func(a []fleet.Action) { s.dice.Shuffle(len(a), func(i, j int) { a[i], a[j] = a[j], a[i] }) }
	}
	return e
}

// travel drives a journey to its end, in as many processes as that takes, and fails unless it ends as the story wants it.
func (s *Stage) travel(j journey, err error) error {
	if err != nil {
		return err
	}
	j.limit = cmp.Or(j.limit, s.patience())
	s.begin()
	end := s.w.Now().Add(j.limit)
	for s.outcome.kind = killed; s.outcome.kind == killed; {
		s.outcome = s.process(j, end)
	}
	s.crash = nil
	s.watch.end(s.outcome)
	s.outcome.words = s.says(s.outcome.words)
	err = errors.Join(s.close(), s.watch.broken())
	switch {
	case err != nil:
		return err
	case strings.HasPrefix(string(s.outcome.kind), j.or) && j.or != "":
		return nil
	case s.outcome.kind == over, s.outcome.kind == reached, s.outcome.kind == still && j.asked:
		return nil
	}
	return s.outcome.err()
}

func (o outcome) err() error { return errors.New(o.String()) }

func (o outcome) String() string {
	if len(o.words) == 0 {
		return string(o.kind)
	}
	return string(o.kind) + ": " + strings.Join(o.words, "; ")
}

// spins bounds the ticks without time passing: a loop that decides the same for ever is a defect, and a test must not hang on it.
const spins = 2000

// process is one process of drover: it observes, plans or takes a run up, and ticks.
func (s *Stage) process(j journey, end time.Time) outcome {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.live(cancel)
	e := s.engine(j.groups)
	world, err := e.Observe(ctx)
	for tries := 0; err != nil; tries++ {
		if tries == 10 {
			return outcome{diverged, []string{err.Error()}}
		}
		s.play(time.Second) // a person, or a controller, starts it again
		world, err = e.Observe(ctx)
	}
	p, o := j.plan(&world)
	if o.kind != "" {
		return o
	}
	for _, g := range p.Groups {
		if g.Copy != "" && !slices.Contains(e.Groups, g.Copy) {
			e.Groups = append(slices.Clone(e.Groups), g.Copy)
		}
	}
	s.run = p.Run
	s.w.Cluster.Attend(p.Run)
	s.watch.plan(p)
	return s.tick(ctx, e.Begin(p), p, j, end)
}

// live begins a process's life.
func (s *Stage) live(cancel context.CancelFunc) {
	s.dead, s.end = false, cancel
	if s.crash = nil; s.variation.Kind == Restart {
		s.crash = cancel
	}
	s.cloud = s.w.CloudHand()
	s.lag.begin()
}

func (s *Stage) tick(ctx context.Context, run *engine.Run, p evac.Plan, j journey, end time.Time) outcome {
	last, spun := s.w.Now(), 0
	for {
		wait, done, err := run.Tick(ctx)
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
		case j.until != nil && j.until():
			return outcome{kind: reached}
		case ctx.Err() != nil:
			return outcome{kind: killed}
		case err != nil:
			return outcome{diverged, []string{s.names.in(err.Error())}}
		case done:
			return outcome{kind: over, words: s.says(run.Ledger().Exceptions)}
		case !now.Before(end):
			return outcome{still, s.holds(p)}
		case wait > 0:
			s.pass(min(wait, end.Sub(now)))
		}
	}
}

// pass lets time pass until the cluster has changed: what wakes drover early.
func (s *Stage) pass(wait time.Duration) {
	end := s.w.Now().Add(wait)
	for {
		select {
		case <-s.w.Cluster.Changed():
			return
		default:
		}
		at, ok := s.w.Clock.Next()
		if !ok || at.After(end) {
			s.w.Clock.Advance(end.Sub(s.w.Now()))
			s.stepped()
			return
		}
		s.step()
	}
}

// holds are the sentences that a run stands still on, in the world as it is.
func (s *Stage) holds(p evac.Plan) []string {
	var out []string
	world := s.watch.now().s.Clone()
	s.askStores(&world)
	for _, h := range evac.Next(p, world).Holds {
		out = append(out, h.String())
	}
	return s.says(out)
}

// says names nodes and instances as the story does.
func (s *Stage) says(sentences []string) []string {
	var out []string
	for _, text := range sentences {
		out = append(out, s.names.in(text))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// wishes reads what plan and rotate have in common.
func (s *Stage) wishes(w *words) (depart.Criterion, evac.Options) {
	c := depart.Criterion{Kind: depart.Outdated}
	if w.flag("all") {
		c.Kind = depart.All
	}
	if age := w.duration("older-than", 0); age > 0 {
		c.Kind, c.Before = depart.OlderThan, s.w.Now().Add(-age)
	}
	o := evac.Options{
		Requester: "ops", Criterion: string(c.Kind), Words: c.String(), Force: w.flag("force"), Canary: w.duration("canary", 0), Bake: w.duration("bake", 0),
	}
	for _, p := range s.probes {
		o.Probes = append(o.Probes, p.name)
	}
	digits, percent := strings.CutSuffix(w.text("surge", "0"), "%")
	w.set["surge"] = digits
	if n := w.number("surge", 0); percent {
		o.Surge.Percent = n
	} else {
		o.Surge.Count = n
	}
	return c, o
}

// propose makes a plan for a new run.
func propose(groups []string, c depart.Criterion, o evac.Options, world *fleet.Snapshot) (evac.Plan, []fleet.Finding, error) {
	departures, err := depart.Rotate(world, groups, c)
	if err != nil {
		return evac.Plan{}, nil, err
	}
	p, findings := evac.Make(world, groups, departures, o)
	return p, findings, nil
}

func (s *Stage) plan(args []string) (string, error) {
	w := parse(args, "all", "force")
	c, o := s.wishes(w)
	if err := w.done(); err != nil {
		return "", err
	}
	o.Run = "r-plan"
	e := s.engine(w.names)
	e.Cloud, e.Cluster = s.truth, s.w.Cluster // it looks once, and nothing of it is repeated
	world, err := e.Observe(context.Background())
	if err != nil {
		return "", err
	}
	p, findings, err := propose(w.names, c, o, &world)
	if err != nil {
		return "", err
	}
	var out []string
	for _, f := range findings {
		word := "warns"
		if f.Blocks {
			word = "blocks"
		}
		out = append(out, fmt.Sprintf("%s %s: %s", word, f.Code, s.names.in(f.String())))
	}
	out = append(out, fmt.Sprintf("%d nodes, %d pods move, surge %s", len(p.Exits), len(p.Moves), surges(p)))
	if evac.Blocked(findings) {
		return strings.Join(out, "\n") + "\n", nil
	}
	for _, stuck := range p.Forecast.Stuck {
		out = append(out, "stuck: "+s.names.in(fmt.Sprint(stuck)))
	}
	return strings.Join(append(out, "forecast: "+p.Forecast.Took.Round(time.Second).String()), "\n") + "\n", nil
}

func surges(p evac.Plan) string {
	var out []string
	for _, g := range p.Groups {
		out = append(out, fmt.Sprint(g.Surge))
	}
	return strings.Join(out, "+")
}

// leave reads when a journey is left.
func (s *Stage) leave(w *words, j *journey) error {
	j.limit = w.duration("for", 0)
	j.asked, j.or = j.limit > 0, w.text("or", "")
	until := w.text("until", "")
	if until == "" {
		return w.done()
	}
	var err error
	j.until, err = s.condition(until)
	return errors.Join(err, w.done())
}

// rotate is drover rotate: a new run, or what is left of the one under way.
func (s *Stage) rotate(args []string) (string, error) {
	w := parse(args, "all", "force", "heedless")
	heedless := w.flag("heedless") // of a forecast that ends badly
	c, o := s.wishes(w)
	s.runs++
	o.Run = fmt.Sprintf("r-20261121-200000-%03x", s.runs)
	j := journey{groups: w.names}
	run := o.Run
	j.plan = func(world *fleet.Snapshot) (evac.Plan, outcome) {
		if r := evac.Ongoing(world, j.groups); r != nil {
			run = r.Run
			p, findings := evac.Resume(world, r)
			return p, stops(findings)
		}
		if r := s.watch.recordOf(run); r != nil && !r.Marks.Ended.IsZero() {
			return evac.Plan{}, outcome{over, r.Exceptions} // it was killed after its last action
		}
		p, findings, err := propose(j.groups, c, o, world)
		switch {
		case errors.Is(err, depart.ErrNothing):
			return p, outcome{nothing, []string{err.Error()}}
		case err != nil:
			return p, outcome{blocked, []string{err.Error()}}
		}
		o := stops(findings)
		for _, h := range p.Forecast.Stuck {
			if heedless {
				break
			}
			o.kind, o.words = blocked, append(o.words, "forecast: "+h.String())
		}
		return p, o
	}
	err := s.leave(w, &j)
	return "", s.travel(j, err)
}

// stops is the outcome of a plan that must not be carried out.
func stops(findings []fleet.Finding) outcome {
	if !evac.Blocked(findings) {
		return outcome{}
	}
	o := outcome{kind: blocked}
	for _, f := range findings {
		if f.Blocks {
			o.words = append(o.words, f.Code+": "+f.String())
		}
	}
	return o
}

// drain is drover drain: one node, without a record.
func (s *Stage) drain(args []string) (string, error) {
	w := parse(args, "terminate", "force")
	in, err := s.member(w.name())
	s.runs++
	o := evac.Options{Run: fmt.Sprintf("r-20261121-200000-%03x", s.runs), Force: w.flag("force")}
	release := w.flag("terminate")
	j := journey{groups: []string{in.Group}}
	j.plan = func(world *fleet.Snapshot) (evac.Plan, outcome) {
		if _, i := world.Instance(in.ID); release && (i == nil || i.Leaving()) {
			return evac.Plan{}, outcome{kind: over}
		}
		d, err := depart.Drain(world, in.PrivateDNS, release)
		if err != nil {
			return evac.Plan{}, outcome{blocked, []string{s.names.in(err.Error())}}
		}
		p, findings := evac.Make(world, nil, []fleet.Departure{d}, o)
		return p, stops(findings)
	}
	err = errors.Join(err, s.leave(w, &j))
	return "", s.travel(j, err)
}

// movePods is drover move: single pods, whose nodes stay.
func (s *Stage) movePods(args []string) (string, error) {
	w := parse(args, "force")
	s.runs++
	o := evac.Options{Run: fmt.Sprintf("r-20261121-200000-%03x", s.runs), Force: w.flag("force")}
	var pods []fleet.PodRef
	for _, p := range s.w.Cluster.Pods(fleet.Owner{}) {
		if slices.Contains(w.names, p.Ref.Name) {
			pods = append(pods, p.Ref)
		}
	}
	var err error
	if len(pods) != len(w.names) || len(pods) == 0 {
		err = fmt.Errorf("%d of the pods %v are there", len(pods), w.names)
	}
	j := journey{plan: func(world *fleet.Snapshot) (evac.Plan, outcome) {
		left := slices.DeleteFunc(slices.Clone(pods), func(r fleet.PodRef) bool {
			return !slices.ContainsFunc(world.Pods, func(p fleet.Pod) bool { return p.Ref.UID == r.UID && !p.Terminating })
		})
		for i := range world.Stores {
			if m := world.Stores[i].Move; m != nil && m.Run == o.Run {
				return evac.Plan{Run: o.Run, At: m.Since, Pods: append(left, m.Pod)}, outcome{}
			}
		}
		if len(left) == 0 {
			return evac.Plan{}, outcome{kind: over} // it was killed after its last action
		}
		p, findings := evac.MakePods(world, left, o)
		return p, stops(findings)
	}}
	return "", s.travel(j, errors.Join(err, s.leave(w, &j)))
}

// exceptions are what the latest run's record tells of.
func (s *Stage) exceptions() []string {
	if r := s.watch.recordOf(s.run); r != nil {
		return r.Exceptions
	}
	return nil
}

// abort is drover abort, and drover rollback: the run is taken back.
func (s *Stage) abort(args []string) (string, error) {
	w := parse(args)
	j := journey{groups: w.names}
	intended := false
	j.plan = func(world *fleet.Snapshot) (evac.Plan, outcome) {
		r := evac.Ongoing(world, j.groups)
		switch {
		case r == nil && intended:
			return evac.Plan{}, outcome{over, s.exceptions()}
		case r == nil:
			return evac.Plan{}, outcome{nothing, []string{"no run is under way"}}
		}
		if world.Rotation(r.Run) != nil {
			if err := s.w.Cluster.Intend(r.Run, fleet.Back); err != nil {
				return evac.Plan{}, outcome{blocked, []string{err.Error()}}
			}
		}
		intended, r.Intent = true, fleet.Back
		p, findings := evac.Resume(world, r)
		return p, stops(findings)
	}
	err := s.leave(w, &j)
	if r := s.watch.recordOf(s.run); r != nil && err == nil {
		for _, g := range r.Groups {
			if !slices.Contains(j.groups, g.Name) {
				j.groups = append(j.groups, g.Name)
			}
		}
	}
	return "", s.travel(j, err)
}
