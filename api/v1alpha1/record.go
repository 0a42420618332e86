package v1alpha1

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
)

// intents are the object's words for fleet's.
var intents = map[fleet.Intent]Intent{fleet.Forward: Forward, fleet.Back: Back}

// FromRecord is the object that holds a record. Moments are kept to the second, as Kubernetes keeps its own.
func FromRecord(r fleet.RotationRecord) (*Rotation, error) {
	intent, err := FromIntent(r.Intent)
	if err != nil {
		return nil, fmt.Errorf("rotation %s: %w", r.Run, err)
	}
	return &Rotation{
		TypeMeta:   metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: "Rotation"},
		ObjectMeta: metav1.ObjectMeta{Name: r.Run},
		Spec:       RotationSpec{Plan: planOf(r), Intent: intent, Paused: FromPause(r.Paused)},
		Status:     RotationStatus{Marks: marksOf(r.Marks), Ledger: Ledger{Moved: int64(r.Moved), Exceptions: slices.Clone(r.Exceptions)}},
	}, nil
}

// FromIntent is the object's word for an intent.
func FromIntent(i fleet.Intent) (Intent, error) {
	out, ok := intents[i]
	if !ok {
		return "", fmt.Errorf("intent %q: unknown", i)
	}
	return out, nil
}

func planOf(r fleet.RotationRecord) Plan {
	p := Plan{
		Requester: r.Requester, At: moment(r.At), Criterion: r.Criterion, Words: r.Words, Force: r.Force, Canary: durationOf(r.Canary),
		Bake: durationOf(r.Bake), Probes: slices.Clone(r.Probes), Hash: r.Hash, Moves: int64(r.Moves), Forecast: durationOf(r.Forecast),
	}
	for _, g := range r.Groups {
		p.Groups = append(p.Groups, groupOf(g))
	}
	for _, d := range r.Exits {
		p.Exits = append(p.Exits, FromDeparture(d))
	}
	return p
}

func groupOf(g fleet.GroupRecord) Group {
	out := Group{
		Name: g.Name, Desired: int64(g.Desired), Min: int64(g.Min), Max: int64(g.Max), Surge: int64(g.Surge), Suspended: slices.Clone(g.Suspended), Managed: g.Managed,
	}
	for _, t := range g.Wants {
		out.Wants = append(out.Wants, Template{ID: t.ID, Name: t.Name, Version: t.Version, Configuration: t.Configuration, Types: slices.Clone(t.Types)})
	}
	return out
}

// FromDeparture is the object's form of a departure.
func FromDeparture(d fleet.Departure) Exit {
	return Exit{
		Node: d.Node, Instance: d.Instance, Group: d.Group, Cause: string(d.Cause), Why: d.Why, Replace: d.Replace, Release: d.Release, Drained: d.Drained,
		Targets: slices.Clone(d.Targets), Deadline: moment(d.Deadline),
	}
}

// FromPause is the object's form of a pause; nil for nil.
func FromPause(p *fleet.Pause) *Pause {
	if p == nil {
		return nil
	}
	return &Pause{By: p.By, Why: p.Why, At: moment(p.At)}
}

func marksOf(m fleet.Marks) Marks {
	return Marks{
		Moving: moment(m.Moving), First: m.First, Canary: moment(m.Canary), Baking: moment(m.Baking), Undoing: moment(m.Undoing), Ended: moment(m.Ended),
	}
}

// Record is what the object holds.
func (r *Rotation) Record() (fleet.RotationRecord, error) {
	p := r.Spec.Plan
	out := fleet.RotationRecord{
		Run: r.Name, Requester: p.Requester, At: instant(p.At), Criterion: p.Criterion, Words: p.Words, Force: p.Force, Canary: length(p.Canary),
		Bake: length(p.Bake), Probes: slices.Clone(p.Probes), Hash: p.Hash, Moves: int(p.Moves), Forecast: length(p.Forecast),
		Paused: r.Spec.Paused.pause(), Marks: r.Status.Marks.record(),
		Moved: int(r.Status.Ledger.Moved), Exceptions: slices.Clone(r.Status.Ledger.Exceptions),
	}
	for _, g := range p.Groups {
		out.Groups = append(out.Groups, g.record())
	}
	for _, e := range p.Exits {
		out.Exits = append(out.Exits, e.Departure())
	}
	for theirs, ours := range intents {
		if ours == r.Spec.Intent {
			out.Intent = theirs
			return out, nil
		}
	}
	return out, fmt.Errorf("rotation %s: intent %q: unknown: written by another version of drover?", r.Name, r.Spec.Intent)
}

func (g Group) record() fleet.GroupRecord {
	out := fleet.GroupRecord{
		Name: g.Name, Desired: int(g.Desired), Min: int(g.Min), Max: int(g.Max), Surge: int(g.Surge), Suspended: slices.Clone(g.Suspended), Managed: g.Managed,
	}
	for _, t := range g.Wants {
		out.Wants = append(out.Wants, fleet.Template{ID: t.ID, Name: t.Name, Version: t.Version, Configuration: t.Configuration, Types: slices.Clone(t.Types)})
	}
	return out
}

// Departure is what the exit says.
func (e Exit) Departure() fleet.Departure {
	return fleet.Departure{
		Node: e.Node, Instance: e.Instance, Group: e.Group, Cause: fleet.Cause(e.Cause), Why: e.Why, Replace: e.Replace, Release: e.Release, Drained: e.Drained,
		Targets: slices.Clone(e.Targets), Deadline: instant(e.Deadline),
	}
}

func (p *Pause) pause() *fleet.Pause {
	if p == nil {
		return nil
	}
	return &fleet.Pause{By: p.By, Why: p.Why, At: instant(p.At)}
}

func (m Marks) record() fleet.Marks {
	return fleet.Marks{
		Moving: instant(m.Moving), First: m.First, Canary: instant(m.Canary), Baking: instant(m.Baking), Undoing: instant(m.Undoing), Ended: instant(m.Ended),
	}
}

// With returns the marks with those of n that are not set yet: what is set stays.
func (m Marks) With(n Marks) Marks {
	for _, pair := range []struct{ ours, theirs *metav1.Time }{
		{&m.Moving, &n.Moving}, {&m.Canary, &n.Canary}, {&m.Baking, &n.Baking}, {&m.Undoing, &n.Undoing}, {&m.Ended, &n.Ended},
	} {
		if pair.ours.IsZero() {
			*pair.ours = *pair.theirs
		}
	}
	if m.First == "" {
		m.First = n.First
	}
	return m
}

func moment(t time.Time) metav1.Time {
	if t.IsZero() {
		return metav1.Time{}
	}
	return metav1.NewTime(t.UTC().Truncate(time.Second))
}

func instant(t metav1.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

// durationOf is nil for none, so that it is not written.
func durationOf(d time.Duration) *metav1.Duration {
	if d == 0 {
		return nil
	}
	return &metav1.Duration{Duration: d}
}

func length(d *metav1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.Duration
}
