package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"drover.dev/engine"
	"drover.dev/evac"
	"drover.dev/fleet"
)

// still is a world that changes only when the test changes it, and that nobody may act on.
type still struct {
	s     fleet.Snapshot
	asked int // of the cloud
	err   error
}

func (w *still) Groups(context.Context, []string) ([]fleet.Group, error) {
	w.asked++
	return w.s.Groups, w.err
}
func (w *still) Targets(context.Context) (map[string][]fleet.Target, []fleet.TargetGroup, error) {
	return nil, nil, nil
}
func (w *still) Observe(_ context.Context, s *fleet.Snapshot) error {
	groups, now := s.Groups, s.Now
	*s = w.s.Clone()
	s.Groups, s.Now = groups, now
	return nil
}
func (w *still) Act(context.Context, fleet.Action) error       { return errors.New("watch acts") }
func (w *still) Confirm(context.Context, fleet.Action) error   { return errors.New("watch acts") }
func (w *still) Publish(context.Context, fleet.Progress) error { return errors.New("watch publishes") }
func (w *still) Changed() <-chan struct{}                      { return nil }

func watching(t *testing.T) (*still, *watcher) {
	t.Helper()
	world := &still{s: during(t, evac.Options{}, 8)}
	w := &watcher{site: &site{place: "cluster shop"}, run: world.s.Rotations[0].Run, st: stand(&world.s, &world.s.Rotations[0]), foreseen: world.s.Now, recorded: true}
	w.engine = &engine.Engine{Cloud: world, Cluster: world, Groups: []string{"web"}, Now: func() time.Time { return world.s.Now }}
	return world, w
}

func TestWatchSeesARunTurnRound(t *testing.T) {
	world, w := watching(t)
	v, err := w.look(t.Context())
	if err != nil || v.phase != "Moving" || v.place != "cluster shop" {
		t.Fatalf("%+v, %v", v, err)
	}
	world.s.Rotations[0].Intent = fleet.Back
	if v, err = w.look(t.Context()); err != nil || v.phase != "Undoing" || !w.st.plan.Back() {
		t.Errorf("%+v, %v", v, err)
	}
}

// The cloud may still show a group's mark when the run's record says that it is over.
func TestWatchEndsWithTheRecord(t *testing.T) {
	world, w := watching(t)
	world.s.Rotations = nil
	if v, err := w.look(t.Context()); v != nil || err != nil || !w.over {
		t.Errorf("goes on: %+v, %v", v, err)
	}
}

// A run whose record somebody deleted is watched by its marks.
func TestWatchGoesOnWithoutARecord(t *testing.T) {
	world, w := watching(t)
	world.s.Rotations, w.recorded = nil, false
	if v, err := w.look(t.Context()); err != nil || v == nil || v.phase != "Undoing" {
		t.Errorf("%+v, %v", v, err)
	}
	world.s.Groups[0].Mark = nil
	if v, err := w.look(t.Context()); v != nil || err != nil || !w.over {
		t.Errorf("goes on: %+v, %v", v, err)
	}
}

func TestCloudIsNotAskedAtEveryPicture(t *testing.T) {
	world := &still{s: shop()}
	now := noon
	r := &remembered{Cloud: world, now: func() time.Time { return now }}
	for range 10 {
		if g, err := r.Groups(t.Context(), nil); err != nil || len(g) != 1 {
			t.Fatal(g, err)
		}
		now = now.Add(500 * time.Millisecond)
	}
	if world.asked != 3 {
		t.Errorf("asked %d times in 5 s, want 3", world.asked)
	}
	world.err = errors.New("throttled")
	now = now.Add(time.Minute)
	if _, err := r.Groups(t.Context(), nil); err == nil {
		t.Error("an old answer hides that there is none now")
	}
}
