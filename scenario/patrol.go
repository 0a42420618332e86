package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"drover.dev/engine"
	"drover.dev/fleet"
	"drover.dev/notice"
	"drover.dev/sandbox/cloud"
	memory "drover.dev/sandbox/fast"
)

// patrol is one controller command: who watches, by which policy, and until when.
type patrol struct {
	journey
	policy  fleet.Policy
	foreign engine.Rule
	many    int // controllers at once
}

// post is one controller at work. It does not take messages before it has seen the world once.
type post struct {
	*engine.Watch
	stumbled bool
}

// watchEvery is how often a controller asks AWS while nothing happens; messages tell it sooner.
const watchEvery = 10 * time.Second

// controller is drover controller: the engine for as long as something is left to do.
func (s *Stage) controller(args []string) (string, error) {
	w := parse(args, "retain", "two", "quarantine")
	p := patrol{policy: fleet.UsualPolicy, foreign: engine.Release, many: 1 + on(w.flag("two"))}
	p.policy.DrainFor = w.duration("drain", p.policy.DrainFor)
	p.policy.Retain = w.flag("retain")
	p.policy.Rebalance = fleet.Advice(w.text("rebalance", string(p.policy.Rebalance)))
	p.policy.RebalanceFor = w.duration("rebalance-for", p.policy.RebalanceFor)
	p.policy.RebalancePerHour = w.number("per-hour", p.policy.RebalancePerHour)
	p.policy.Join = w.duration("join", p.policy.Join)
	if w.flag("quarantine") {
		p.foreign, s.mail.quarantine = engine.Quarantine, true
	}
	if err := s.leave(w, &p.journey); err != nil {
		return "", err
	}
	if p.limit == 0 {
		p.limit = s.patience()
	}
	return "", s.serve(p)
}

// serve has controllers watch, in as many processes as that takes.
func (s *Stage) serve(p patrol) error {
	s.begin()
	s.stirred = s.w.Now()
	end := s.w.Now().Add(p.limit)
	for s.outcome.kind = killed; s.outcome.kind == killed; {
		s.watch.patrol(p.policy)
		s.outcome = s.shift(p, end)
	}
	s.crash = nil
	s.watch.end(s.outcome)
	s.outcome.words = s.says(s.outcome.words)
	if err := errors.Join(s.close(), s.watch.broken()); err != nil {
		return err
	}
	if s.outcome.kind == over || s.outcome.kind == reached || s.outcome.kind == still && p.asked {
		return nil
	}
	return s.outcome.err()
}

// shift is one process of each controller.
func (s *Stage) shift(p patrol, end time.Time) outcome {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.live(cancel)
	s.w.Cluster.Attend(fleet.NoticeRun, engine.Requester)
	var posts []*post
	for range p.many {
		posts = append(posts, s.post(p))
	}
	last, spun := s.w.Now(), 0
	for {
		wait := watchEvery
		for _, c := range posts {
			again, err := c.turn(ctx, s)
			wait = min(wait, again)
			if err != nil && ctx.Err() == nil {
				return outcome{diverged, []string{s.names.in(err.Error())}}
			}
		}
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
		case p.until != nil && p.until():
			return outcome{kind: reached}
		case ctx.Err() != nil:
			return outcome{kind: killed}
		case !now.Before(end):
			return outcome{kind: still}
		case wait > 0 && p.until == nil && !p.asked && s.atRest():
			return outcome{over, s.regrets()}
		case wait > 0:
			s.doze(min(wait, end.Sub(now)))
		}
	}
}

// regrets are the exceptions that the runs of controllers have told of.
func (s *Stage) regrets() []string {
	var out []string
	for _, r := range s.w.Cluster.Records() {
		if r.Requester == engine.Requester {
			out = append(out, r.Exceptions...)
		}
	}
	return s.says(out)
}

// post makes a controller.
func (s *Stage) post(p patrol) *post {
	out := &post{}
	e := s.engine(nil)
	e.AllGroups, e.CloudEvery = true, watchEvery
	e.Note = func(n engine.Note) { out.stumbled = out.stumbled || n.Action == nil && n.Err != nil }
	c := &engine.Controller{
		Engine: e, Docket: docketHand{s}, Census: censusHand{s}, Policy: p.policy, Parse: notice.Parse, ClusterName: memory.ClusterName, Foreign: p.foreign,
	}
	if s.mail.url != "" {
		c.Queue = queueHand{s, s.w.Queue(s.mail.url, s.mail.dead)}
	}
	out.Watch = c.Begin()
	return out
}

// turn has a controller look, decide and act once, then take in what has come.
func (c *post) turn(ctx context.Context, s *Stage) (time.Duration, error) {
	c.stumbled = false
	wait, err := c.Tick(ctx)
	if u := s.watch.duty; !c.stumbled && u.since.IsZero() {
		u.since = s.w.Now()
	}
	if err != nil || c.Queue == nil || c.stumbled || ctx.Err() != nil {
		return wait, err
	}
	for {
		n, err := c.Take(ctx)
		if err != nil {
			s.diary.note(s.w.Now(), "! "+s.names.in(err.Error()))
		}
		if n > 0 {
			wait = 0
		}
		if n == 0 || err != nil || ctx.Err() != nil {
			return wait, nil
		}
	}
}

// doze lets time pass until the cluster changes or a message comes. One that is there stays hidden for a while, so it is asked for again now and then.
func (s *Stage) doze(wait time.Duration) {
	begin := s.w.Now()
	end := begin.Add(wait)
	mail := s.letters()
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
		if s.letters() != mail {
			return
		}
	}
}

// queued is everything that a queue holds, hidden or not.
func (s *Stage) queued(url string) []cloud.Message {
	all, err := s.w.Cloud.Queued(url)
	if err != nil {
		s.watch.complain("story", err.Error())
	}
	return all
}

// letters counts what the queue holds.
func (s *Stage) letters() int {
	if s.mail.url == "" {
		return 0
	}
	return len(s.queued(s.mail.url))
}

// quiet is how long nothing may have happened before a story is over: the sweep has looked by then.
const quiet = 45 * time.Second

// atRest tells whether nothing is left to do: no event to come, nothing on file or in the queue, and AWS takes nothing any more.
func (s *Stage) atRest() bool {
	if slices.ContainsFunc(s.coming, func(h happening) bool { return !h.over }) || s.letters() > 0 || s.w.Now().Sub(s.stirred) < quiet {
		return false
	}
	v := s.watch.now()
	if len(v.waits) > 0 || len(s.w.Cluster.Moves()) > 0 || len(v.s.Rotations) > 0 || slices.ContainsFunc(v.cases, func(c fleet.Case) bool { return c.Open() }) || !s.w.Settled() {
		return false
	}
	return !slices.ContainsFunc(s.w.Cloud.Instances(), func(in cloud.Instance) bool { return in.Interruption != nil && !in.Gone() })
}
