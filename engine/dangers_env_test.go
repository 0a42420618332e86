package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"
	_ "time/tzdata"

	"drover.dev/engine"
	"drover.dev/fleet"
)

type envWorld struct {
	s     fleet.Snapshot
	acted []fleet.Action
}

func (w *envWorld) Groups(context.Context, []string) ([]fleet.Group, error) { return w.s.Groups, nil }
func (w *envWorld) Targets(context.Context) (map[string][]fleet.Target, []fleet.TargetGroup, error) {
	return nil, nil, nil
}
func (w *envWorld) Act(_ context.Context, a fleet.Action) error {
	w.acted = append(w.acted, a)
	return nil
}
func (w *envWorld) Observe(context.Context, *fleet.Snapshot) error { return nil }
func (w *envWorld) Confirm(context.Context, fleet.Action) error    { return nil }
func (w *envWorld) Changed() <-chan struct{}                       { return nil }
func (w *envWorld) Publish(context.Context, fleet.Progress) error  { return nil }
func (w *envWorld) ObserveEnvironments(_ context.Context, s *fleet.Snapshot) error {
	c := w.s.Clone()
	s.Environments, s.Parts = c.Environments, c.Parts
	return nil
}

// rounds looks for ten minutes, and returns what people were told.
func rounds(t *testing.T, w *envWorld) string {
	t.Helper()
	now, told := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), ""
	sw := &engine.Switcher{Engine: &engine.Engine{Cloud: w, Cluster: w, Now: func() time.Time { return now }, Note: func(n engine.Note) {
		if n.Hold != nil {
			told += n.Hold.Subject + ": " + n.Hold.Reason + "\n"
		}
		if n.Err != nil {
			told += n.Err.Error() + "\n"
		}
	}}, Board: w}
	sw.See = func(v engine.EnvironmentView) {
		if len(v.Blocked)+len(v.Step.Holds) > 0 {
			told += fmt.Sprintln(v.Blocked, v.Step.Holds)
		}
	}
	for range 20 {
		if _, err := sw.Round(context.Background()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(30 * time.Second)
	}
	return told
}

func asleepWorld() *envWorld {
	o := fleet.Owner{Kind: "Deployment", Namespace: "staging", Name: "api"}
	return &envWorld{s: fleet.Snapshot{
		Parts: []fleet.Part{{Turn: fleet.Scaled, APIVersion: "apps/v1", Owner: o, UID: "u", Value: "0", Off: true, Mark: &fleet.PartMark{Environment: "staging", Run: "r", UID: "u", Value: "1"}}},
		Environments: []fleet.Environment{{Name: "staging", Source: "Environment staging", Spec: fleet.EnvironmentSpec{
			Workloads: []fleet.Selection{{Namespaces: []string{"staging"}}},
			Schedule:  &fleet.Schedule{Zone: "UTC", On: []fleet.Window{{Days: []time.Weekday{1, 2, 3, 4, 5}, From: "08:00", To: "19:00"}}},
		}}},
	}}
}

func TestDangerScheduledStartWithoutARecordIsSilent(t *testing.T) {
	w := asleepWorld() // somebody deleted the Environment while it slept, and GitOps made it again
	if told := rounds(t, w); told == "" && len(w.acted) == 0 {
		t.Error("the schedule wants it on, all its workloads are marked as switched off, and nobody does or says anything")
	}
}

func TestDangerHalfWayWithATroubleIsSilent(t *testing.T) {
	w := asleepWorld()
	e := &w.s.Environments[0]
	e.Trouble = []string{"spec.policy.fights: -1"}
	e.Record = &fleet.SleepRecord{Environment: "staging", Run: "r", Marks: fleet.SleepMarks{Starting: time.Date(2026, 11, 20, 11, 0, 0, 0, time.UTC)},
		Parts: []fleet.PartRecord{{Turn: fleet.Scaled, APIVersion: "apps/v1", Owner: w.s.Parts[0].Owner, UID: "u", Ready: 1, Value: "1"}}}
	if told := rounds(t, w); told == "" && len(w.acted) == 0 {
		t.Error("it is half way on, its spec cannot be understood any more, and nothing is held (rule 6)")
	}
}

func TestDangerOffAlreadyHidesWhatBlocks(t *testing.T) {
	w := asleepWorld()
	e := &w.s.Environments[0]
	w.s.Parts = nil // nothing in the cluster is on; its group cannot be read, and may have nodes
	e.Spec.Schedule.On[0].Days = []time.Weekday{0}
	e.Spec.Groups = []string{"unread"}
	w.s.Groups = []fleet.Group{{Name: "unread", Trouble: "AccessDenied"}}
	if told := rounds(t, w); told == "" {
		t.Error("it should be off, its group cannot be read, and that is taken for off already: nothing is said")
	}
}

func TestDangerOnlyTheFirstReasonIsEverTold(t *testing.T) {
	w := asleepWorld()
	e := &w.s.Environments[0]
	p := &w.s.Parts[0]
	p.Mark, p.Off, p.Value = nil, false, "1"
	e.Spec.Schedule.On[0].Days = []time.Weekday{0}
	e.Spec.Groups = []string{"gone-one", "gone-two"}
	now, told := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), ""
	sw := &engine.Switcher{Engine: &engine.Engine{Cloud: w, Cluster: w, Now: func() time.Time { return now }, Note: func(n engine.Note) {
		if n.Hold != nil {
			told += n.Hold.Reason + "\n"
		}
	}}, Board: w}
	for range 40 {
		if _, err := sw.Round(context.Background()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(30 * time.Second)
	}
	if !contains(told, "group gone-one") || !contains(told, "group gone-two") {
		t.Errorf("two things block, and one is told, the other never: %s", told)
	}
}

func contains(s, part string) bool {
	for i := 0; i+len(part) <= len(s); i++ {
		if s[i:i+len(part)] == part {
			return true
		}
	}
	return false
}
