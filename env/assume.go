package env

import (
	"slices"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// Assume writes into the snapshot what an action did and the world may not show yet. It returns false when the snapshot shows it by itself, or never
// will.
func Assume(s *fleet.Snapshot, a fleet.Action) bool {
	switch a.Verb {
	case fleet.Remember, fleet.Archive, fleet.Conclude:
		return assumeRecord(s.Environment(a.Environment), a)
	case fleet.TurnOff, fleet.TurnOn, fleet.Unmark:
		return assumePart(s.Part(a.Part.Owner), a)
	case fleet.MarkGroup, fleet.UnmarkGroup, fleet.Bound, fleet.Protect, fleet.Unprotect:
		return assumeGroup(s.Group(a.Group), a)
	case fleet.MarkDatabase, fleet.UnmarkDatabase, fleet.StopDatabase, fleet.StartDatabase, fleet.SetCapacity:
		return assumeDatabase(s.Database(a.Database), a)
	}
	return evac.Assume(s, a)
}

func assumeRecord(e *fleet.Environment, a fleet.Action) bool {
	if e == nil {
		return false
	}
	switch a.Verb {
	case fleet.Archive:
		changed := e.Copied != a.Sleep.Copy()
		e.Copied = a.Sleep.Copy()
		return changed
	case fleet.Conclude:
		changed := e.Record != nil && e.Record.Run == a.Run
		if changed {
			e.Record = nil
			e.Sleeps = append(e.Sleeps, *a.Ended)
		}
		return changed
	}
	if e.Record != nil && same(e.Record, a.Sleep) {
		return false
	}
	r := a.Sleep.Clone()
	e.Record = &r
	return true
}

// same tells whether two records of one run are as far.
func same(a, b *fleet.SleepRecord) bool {
	return a.Run == b.Run && a.Marks == b.Marks && len(a.Parts) == len(b.Parts) && slices.Equal(a.Fights, b.Fights) && slices.Equal(a.Exceptions, b.Exceptions)
}

func assumePart(p *fleet.Part, a fleet.Action) bool {
	if p == nil || p.UID != a.Part.UID {
		return false
	}
	mark := &fleet.PartMark{Environment: a.Environment, Run: a.Run, UID: a.Part.UID, Value: a.Part.Value, Absent: a.Part.Absent}
	switch {
	case a.Verb == fleet.Unmark:
		changed := p.Mark != nil
		p.Mark = nil
		return changed
	case a.Verb == fleet.TurnOff && (!p.Off || p.Mark == nil || p.Mark.UID != p.UID):
		if p.Mark == nil || p.Mark.UID != p.UID {
			p.Mark = mark
		}
		p.Off, p.Value, p.Absent, p.By = true, offValue(p.Turn), false, "drover"
	case a.Verb == fleet.TurnOn && p.Off:
		p.Off, p.Value, p.Absent, p.By = false, a.Part.Value, a.Part.Absent, "drover"
	default:
		return false
	}
	return true
}

func offValue(t fleet.Turn) string {
	if t == fleet.Scaled || t == fleet.Held {
		return "0"
	}
	return "true"
}

func assumeGroup(g *fleet.Group, a fleet.Action) bool {
	if g == nil {
		return false
	}
	switch a.Verb {
	case fleet.MarkGroup:
		changed := g.Sleep == nil
		bed := *a.Bed
		g.Sleep = &bed
		return changed
	case fleet.UnmarkGroup:
		changed := g.Sleep != nil
		g.Sleep = nil
		return changed
	case fleet.Bound:
		changed := g.Min != a.To
		g.Min = a.To
		return changed
	}
	changed := false
	for i := range g.Instances {
		if in := &g.Instances[i]; slices.Contains(a.Instances, in.ID) && in.Protected != (a.Verb == fleet.Protect) {
			in.Protected, changed = a.Verb == fleet.Protect, true
		}
	}
	return changed
}

func assumeDatabase(db *fleet.Database, a fleet.Action) bool {
	if db == nil {
		return false
	}
	set := func(to *string, value string) bool {
		changed := *to != value
		*to = value
		return changed
	}
	switch a.Verb {
	case fleet.MarkDatabase:
		return set(&db.Mark, fleet.DatabaseMark{Environment: a.Environment, Run: a.Run, ACU: a.ACU}.String())
	case fleet.UnmarkDatabase:
		return set(&db.Mark, "")
	case fleet.StopDatabase:
		return db.Status == fleet.DatabaseAvailable && set(&db.Status, fleet.DatabaseStopping)
	case fleet.StartDatabase:
		return db.Status == fleet.DatabaseStopped && set(&db.Status, fleet.DatabaseStarting)
	}
	changed := db.MinACU != a.ACU
	db.MinACU = a.ACU
	return changed
}
