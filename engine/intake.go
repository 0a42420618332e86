package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"drover.dev/depart"
	"drover.dev/fleet"
)

// How long a message is left to others: it comes again, and each time later, so that it is in nobody's way.
const (
	releaseMin = 5 * time.Second
	releaseMax = 10 * time.Minute
)

// Take receives one batch of messages and stores what they say. A message is deleted when what it says is on file, and not before; one that is not
// understood is set aside. It returns how many messages there were.
func (w *Watch) Take(ctx context.Context) (int, error) {
	ms, err := w.Queue.Receive(ctx)
	if err != nil {
		return 0, fmt.Errorf("receive messages: %w", err)
	}
	return len(ms), w.store(ctx, ms)
}

// store files a batch of messages. What goes wrong with one is no matter of the others.
func (w *Watch) store(ctx context.Context, ms []fleet.Message) error {
	batch := make([]letter, len(ms))
	for i, m := range ms {
		batch[i] = letter{Message: m}
		batch[i].notices, batch[i].bad = w.Parse(m.Body)
	}
	s, err := w.read(ctx, batch)
	if s == nil {
		return err
	}
	var done []fleet.Message
	troubles := []error{err} // EC2 did not answer: what it would have told waits, everything else is filed
	for i := range batch {
		if err := w.spell(ctx, s, &batch[i]); err != nil {
			troubles = append(troubles, fmt.Errorf("message %s: %w", batch[i].ID, err))
			continue
		}
		finished, err := w.file(ctx, s, &batch[i])
		if err != nil {
			troubles = append(troubles, fmt.Errorf("message %s: %w", batch[i].ID, err))
		}
		if finished {
			done = append(done, batch[i].Message)
		}
	}
	if len(done) > 0 {
		if err := w.Queue.Delete(ctx, done); err != nil {
			troubles = append(troubles, fmt.Errorf("delete messages: %w", err))
		}
	}
	return errors.Join(troubles...)
}

// letter is a message with what it says.
type letter struct {
	fleet.Message
	notices []fleet.Notice
	bad     error
}

// read returns the fleet as last seen, with what EC2 says of the instances that it does not show.
func (w *Watch) read(ctx context.Context, batch []letter) (*fleet.Snapshot, error) {
	s, err := w.lastSeen(ctx)
	if err != nil {
		return nil, err
	}
	var ask []string
	for _, l := range batch {
		for _, n := range l.notices {
			if n.Instance != "" && depart.WhoseIs(s, n) == depart.Unknown {
				ask = append(ask, n.Instance)
			}
		}
	}
	if len(ask) == 0 || w.Census == nil {
		return s, nil
	}
	found, err := w.census(ctx, slices.Compact(slices.Sorted(slices.Values(ask))))
	if err != nil {
		return s, err
	}
	with := *s
	with.Machines = append(slices.Clone(s.Machines), found...)
	return &with, nil
}

// spell puts the instances in for a notice that names a reservation of capacity only.
func (w *Watch) spell(ctx context.Context, s *fleet.Snapshot, l *letter) error {
	var out []fleet.Notice
	for _, n := range l.notices {
		if n.Kind != fleet.CapacityBlock || n.Instance != "" || w.Census == nil {
			out = append(out, n)
			continue
		}
		found, err := w.Census.Machines(ctx, instances(s))
		if err != nil {
			return fmt.Errorf("ask EC2 which instances run in %s: %w", n.Origin, err)
		}
		for _, m := range found {
			if m.Reservation == n.Origin && n.Origin != "" {
				one := n
				one.Instance = m.ID
				out = append(out, one)
			}
		}
	}
	l.notices = out
	return nil
}

// instances lists the instances of this cluster.
func instances(s *fleet.Snapshot) []string {
	var out []string
	for i := range s.Groups {
		if g := &s.Groups[i]; s.Owns(g) {
			for _, in := range g.Instances {
				out = append(out, in.ID)
			}
		}
	}
	for i := range s.Nodes {
		if id := s.Nodes[i].Instance; id != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// census asks EC2; an instance that it does not know is gone.
func (w *Watch) census(ctx context.Context, ids []string) ([]fleet.Machine, error) {
	found, err := w.Census.Machines(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("ask EC2 about %d instances: %w", len(ids), err)
	}
	for _, id := range ids {
		if !slices.ContainsFunc(found, func(m fleet.Machine) bool { return m.ID == id }) {
			found = append(found, fleet.Machine{ID: id, State: fleet.MachineUnknown})
		}
	}
	return found, nil
}

// file stores what one message says, and tells whether the message is done with.
func (w *Watch) file(ctx context.Context, s *fleet.Snapshot, l *letter) (done bool, err error) {
	if l.bad != nil {
		w.hear(Heard{At: s.Now, Fate: Poison, Why: l.bad.Error(), Took: took(s.Now, l.Sent)})
		return false, w.Queue.SetAside(ctx, l.Message, l.bad.Error())
	}
	foreign := 0
	for _, n := range l.notices {
		fate, err := w.notice(ctx, s, n)
		h := Heard{At: w.Now(), Notice: n, Fate: fate, Took: took(w.Now(), cmp.Or(n.At, l.Sent))}
		if err != nil {
			h.Why = err.Error()
			w.hear(h)
			return false, err
		}
		w.hear(h)
		if fate == Foreign {
			foreign++
		}
	}
	if foreign == 0 || w.Foreign == Drop {
		return true, nil
	}
	if w.Foreign == Quarantine && foreign == len(l.notices) {
		return false, w.Queue.SetAside(ctx, l.Message, "about an instance of another cluster")
	}
	return false, w.Queue.Release(ctx, l.Message, min(releaseMin<<min(max(l.Times-1, 0), 10), releaseMax))
}

func took(now, sent time.Time) time.Duration {
	if sent.IsZero() {
		return 0
	}
	return max(0, now.Sub(sent))
}

// notice stores one notice, whoever brings it.
func (w *Watch) notice(ctx context.Context, s *fleet.Snapshot, n fleet.Notice) (Fate, error) {
	if n.Kind == fleet.CanaryNotice {
		if w.Canary == nil {
			return Canaried, nil
		}
		return Canaried, w.Canary(ctx, n)
	}
	if n.Kind == fleet.DatabaseNotice {
		if w.Database != nil {
			w.Database()
		}
		return Ignored, nil
	}
	if depart.Moot(s, n, w.Policy) != "" {
		if n.Kind == fleet.LaunchHook {
			w.poke()
		}
		return Ignored, nil
	}
	switch depart.WhoseIs(s, n) {
	case depart.Others:
		return Foreign, nil
	case depart.Nobodys:
		return Ignored, nil
	case depart.Unknown:
		if w.Census == nil {
			return Ignored, nil
		}
		return Unhandled, fmt.Errorf("whose instance %s is, EC2 has not said yet", n.Instance)
	}
	if err := w.fenced(ctx); err != nil {
		return Unhandled, err
	}
	fate := Known
	now := *s
	now.Now = w.Now()
	ctx, cancel := context.WithTimeout(ctx, actWithin)
	defer cancel()
	err := w.Docket.File(ctx, n.Instance, func(have fleet.Case) (fleet.Case, bool) {
		want, differs := depart.Hear(&now, have, n, w.Policy)
		if fate = Known; differs {
			fate = Stored
		}
		return want, differs
	})
	if fate == Stored && (n.Kind == fleet.TerminateHook || n.Kind == fleet.LaunchHook) && n.Source != fleet.FromSweep {
		w.poke() // what AWS shows of it decides what is next
	}
	if err != nil {
		return Unhandled, fmt.Errorf("file notice %s about %s: %w", n.Kind, n.Instance, err)
	}
	return fate, nil
}

func (w *Watch) hear(h Heard) {
	if w.Hear != nil {
		w.Hear(h)
	}
}
