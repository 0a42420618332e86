package scenario

import (
	"context"
	"slices"
	"time"

	"drover.dev/engine"
	"drover.dev/fleet"
)

// cloudHand is drover's hand on the stage's cloud, with the variation's trouble in between.
type cloudHand struct{ *Stage }

// clusterHand is the one on its cluster.
type clusterHand struct{ *Stage }

var (
	_ engine.Cloud   = cloudHand{}
	_ engine.Cluster = clusterHand{}
)

// call makes one call, unless it is the one that is to fail.
func (s *Stage) call(do func() error) error {
	n := s.calls.n
	s.calls.n++
	if s.variation.Kind == Fail && s.variation.N == n {
		s.diary.note(s.w.Now(), "! a call fails")
		return errFailed
	}
	return do()
}

func (h cloudHand) Groups(ctx context.Context, names []string) (out []fleet.Group, err error) {
	err = h.call(func() error {
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
	err = h.call(func() error {
		states, groups, err = h.cloud.Targets(ctx)
		return err
	})
	return states, groups, err
}

func (h cloudHand) Act(ctx context.Context, a fleet.Action) error {
	return h.act(a, func() error { return h.cloud.Act(ctx, a) })
}

func (h clusterHand) Observe(ctx context.Context, s *fleet.Snapshot) error {
	return h.call(func() error {
		if old := h.lag.seen(); old != nil {
			c := old.cluster.Clone()
			c.Now, c.Groups = s.Now, s.Groups
			*s = c
			return nil
		}
		return h.w.Cluster.Observe(ctx, s)
	})
}

// Confirm reads live, past every cache: nothing of it is stale.
func (h clusterHand) Confirm(ctx context.Context, a fleet.Action) error {
	return h.call(func() error { return h.w.Cluster.Confirm(ctx, a) })
}

func (h clusterHand) Act(ctx context.Context, a fleet.Action) error {
	return h.act(a, func() error { return h.w.Cluster.Act(ctx, a) })
}

func (h clusterHand) Changed() <-chan struct{} { return h.w.Cluster.Changed() }

func (h clusterHand) Publish(ctx context.Context, p fleet.Progress) error {
	return h.w.Cluster.Publish(ctx, p)
}

// act carries out an action, with a look before and after it.
func (s *Stage) act(a fleet.Action, do func() error) error {
	n := s.calls.n
	s.calls.acts = append(s.calls.acts, n)
	before := s.watch.whole()
	err := s.call(do)
	s.watch.forget()
	s.watch.acted(a, before, err)
	if err == nil && s.variation.Kind == Twice {
		before, again := s.watch.whole(), do()
		s.watch.forget()
		s.watch.again(a, before, again)
	}
	s.lag.sample()
	s.whatIsTrue()
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

// lag shows drover the world as it was some seconds ago, but never as it was before its process began: that one lists everything anew.
type lag struct {
	stage *Stage
	past  []moment
}

// moment is how the world was.
type moment struct {
	at      time.Time
	groups  []fleet.Group
	cluster fleet.Snapshot
}

// begin forgets the past: a process begins.
func (l *lag) begin() {
	l.past = nil
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
