package scenario

import (
	"context"
	"slices"
	"time"

	"drover.dev/engine"
	"drover.dev/fleet"
	memory "drover.dev/sandbox/fast"
)

// cloudHand is drover's hand on the stage's cloud, with the variation's trouble in between.
type cloudHand struct{ *Stage }

// clusterHand is the one on its cluster.
type clusterHand struct{ *Stage }

// docketHand, censusHand and queueHand are a controller's other hands. A process that was killed does nothing more with them.
type (
	docketHand struct{ *Stage }
	censusHand struct{ *Stage }
	queueHand  struct {
		*Stage
		*memory.Queue
	}
)

var (
	_ engine.Cloud   = cloudHand{}
	_ engine.Cluster = clusterHand{}
	_ engine.Docket  = docketHand{}
	_ engine.Census  = censusHand{}
	_ engine.Queue   = queueHand{}
)

func (h docketHand) File(ctx context.Context, instance string, change func(fleet.Case) (fleet.Case, bool)) error {
	return h.effect(ctx, false, func() (kill bool, err error) {
		err = h.w.Cluster.File(ctx, instance, func(have fleet.Case) (want fleet.Case, differs bool) {
			want, differs = change(have)
			begins := have.Marks.Rotation != want.Marks.Rotation // a run that the world does not show yet
			kill = differs && !(begins && h.killed("replace "+instance))
			return want, differs
		})
		return kill, err
	})
}

func (h censusHand) Machines(ctx context.Context, ids []string) (out []fleet.Machine, err error) {
	err = h.call(true, func() error {
		out, err = h.cloud.Machines(ctx, ids)
		return err
	})
	return out, err
}

// Receive counts as a call only when there may be something to receive: an empty queue is asked too often to be worth a failure each time.
func (h queueHand) Receive(ctx context.Context) (out []fleet.Message, err error) {
	if ctx.Err() != nil || len(h.queued(h.mail.url)) == 0 {
		return nil, ctx.Err()
	}
	err = h.call(true, func() error {
		out, err = h.Queue.Receive(ctx)
		return err
	})
	return out, err
}

func (h queueHand) Delete(ctx context.Context, ms []fleet.Message) error {
	return h.effect(ctx, true, func() (bool, error) {
		for _, m := range ms {
			h.watch.deletes(m)
		}
		return true, h.Queue.Delete(ctx, ms)
	})
}

func (h queueHand) Release(ctx context.Context, m fleet.Message, after time.Duration) error {
	return h.effect(ctx, true, func() (bool, error) { return true, h.Queue.Release(ctx, m, after) })
}

func (h queueHand) SetAside(ctx context.Context, m fleet.Message, why string) error {
	return h.effect(ctx, true, func() (bool, error) { return true, h.Queue.SetAside(ctx, m, why) })
}

// effect carries out what is no action of the mind's: it may be the call that fails or whose reply is lost, and the process may be killed after it. When
// nothing came of it, nobody can tell whether the process was killed before or after.
func (s *Stage) effect(ctx context.Context, aws bool, do func() (kill bool, err error)) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	n, kill := s.calls.n, false
	s.calls.acts = append(s.calls.acts, n)
	err := s.call(aws, func() (err error) {
		kill, err = do()
		return err
	})
	s.watch.forget()
	s.whatIsTrue()
	if !kill {
		return err
	}
	return s.spoil(n, err)
}

// spoil is what the variation does after an effect.
func (s *Stage) spoil(n int, err error) error {
	if err == nil && s.crash != nil {
		s.diary.note(s.w.Now(), "! the process is killed")
		s.crash()
	}
	if err == nil && s.variation.Kind == Lose && s.variation.N == n {
		s.diary.note(s.w.Now(), "! the reply is lost")
		return errLost
	}
	return err
}

// call makes one call, to AWS or to the cluster, unless it is the one that is to fail or nobody answers there.
func (s *Stage) call(aws bool, do func() error) error {
	n := s.calls.n
	s.calls.n++
	if until := s.down[aws]; s.w.Now().Before(until) {
		return errDown
	}
	if s.variation.Kind == Fail && s.variation.N == n {
		s.diary.note(s.w.Now(), "! a call fails")
		return errFailed
	}
	return do()
}

func (h cloudHand) Groups(ctx context.Context, names []string) (out []fleet.Group, err error) {
	err = h.call(true, func() error {
		if old := h.lag.seen(); old != nil {
			for _, g := range old.groups {
				if len(names) == 0 || slices.Contains(names, g.Name) {
					out = append(out, g)
				}
			}
			out = fleet.Snapshot{Groups: out}.Clone().Groups
			return nil
		}
		out, err = h.cloud.Groups(ctx, names)
		return err
	})
	return out, err
}

func (h cloudHand) Targets(ctx context.Context) (states map[string][]fleet.Target, groups []fleet.TargetGroup, err error) {
	err = h.call(true, func() error {
		states, groups, err = h.cloud.Targets(ctx)
		return err
	})
	return states, groups, err
}

func (h cloudHand) Act(ctx context.Context, a fleet.Action) error {
	return h.act(true, a, func() error { return h.cloud.Act(ctx, a) })
}

func (h clusterHand) Observe(ctx context.Context, s *fleet.Snapshot) error {
	if old := h.lag.frozen; old != nil && h.w.Now().Before(h.down[false]) {
		*s = old.shown(s, old.cluster.Cases) // its watches are broken, and what they brought is still there
		return nil
	}
	return h.call(false, func() error {
		if old := h.lag.seen(); old != nil {
			*s = old.shown(s, h.watch.now().s.Cases) // what was filed is observed at once
			return nil
		}
		return h.w.Cluster.Observe(ctx, s)
	})
}

// Confirm reads live, past every cache: nothing of it is stale.
func (h clusterHand) Confirm(ctx context.Context, a fleet.Action) error {
	return h.call(false, func() error { return h.w.Cluster.Confirm(ctx, a) })
}

func (h clusterHand) Act(ctx context.Context, a fleet.Action) error {
	return h.act(false, a, func() error { return h.w.Cluster.Act(ctx, a) })
}

func (h clusterHand) Changed() <-chan struct{} { return h.w.Cluster.Changed() }

func (h clusterHand) Publish(ctx context.Context, p fleet.Progress) error {
	return h.w.Cluster.Publish(ctx, p)
}

// act carries out an action, with a look before and after it.
func (s *Stage) act(aws bool, a fleet.Action, do func() error) error {
	n := s.calls.n
	s.calls.acts = append(s.calls.acts, n)
	before := s.watch.whole()
	err := s.call(aws, do)
	s.watch.forget()
	s.watch.acted(a, before, err)
	if err == nil && s.variation.Kind == Twice {
		before, again := s.watch.whole(), do()
		s.watch.forget()
		s.watch.again(a, before, again)
	}
	s.lag.sample()
	s.whatIsTrue()
	if (a.Verb == fleet.Heartbeat || a.Verb == fleet.Complete) && s.killed(a.Key()) {
		return err
	}
	return s.spoil(n, err)
}

// killed tells whether the process was killed after this before. The world shows nothing of it to the next process, which does it again or waits until it
// would have shown: killed for it each time, no process would come any further.
func (s *Stage) killed(key string) bool {
	again := s.kills[key]
	s.kills[key] = s.variation.Kind == Restart
	return again
}

// lag shows drover the world as it was some seconds ago, but never as it was before its process began: that one lists everything anew.
type lag struct {
	stage  *Stage
	past   []moment
	frozen *moment // what a process that ran then still shows while the API server is down
}

// moment is how the world was.
type moment struct {
	at      time.Time
	groups  []fleet.Group
	cluster fleet.Snapshot
}

// shown is the moment's cluster, in the rest of a snapshot.
func (m *moment) shown(s *fleet.Snapshot, cases []fleet.Case) fleet.Snapshot {
	c := m.cluster.Clone()
	c.Now, c.Groups, c.Machines = s.Now, s.Groups, s.Machines
	c.Cases = fleet.Snapshot{Cases: cases}.Clone().Cases
	return c
}

// freeze keeps what a process has seen of the cluster.
func (l *lag) freeze() {
	v := l.stage.watch.now()
	l.frozen = &moment{at: v.at, groups: v.s.Groups, cluster: v.s}
}

// begin forgets the past: a process begins.
func (l *lag) begin() {
	l.past, l.frozen = nil, nil
	l.sample()
}

// sample keeps what the world shows now.
func (l *lag) sample() {
	if l.stage.variation.Kind != Stale {
		return
	}
	v := l.stage.watch.now()
	m := moment{at: v.at, groups: v.s.Groups, cluster: v.s}
	if n := len(l.past); n > 0 && l.past[n-1].at.Equal(m.at) {
		l.past[n-1] = m
		return
	}
	l.past = append(l.past, m)
	if i := l.last(); i > 0 {
		l.past = l.past[i:]
	}
}

// last is the newest moment that may be seen by now.
func (l *lag) last() int {
	limit := l.stage.w.Now().Add(-time.Duration(l.stage.variation.N) * time.Second)
	best := 0
	for i := range l.past {
		if !l.past[i].at.After(limit) {
			best = i
		}
	}
	return best
}

// seen is what drover sees; nil when it sees the world as it is.
func (l *lag) seen() *moment {
	if l.stage.variation.Kind != Stale || len(l.past) == 0 {
		return nil
	}
	return &l.past[l.last()]
}
