package archive

import (
	"time"

	"drover.dev/fleet"
)

// fromRecord makes the one document that says what a record says: no list is empty rather than not there, and times are UTC.
func fromRecord(r fleet.SleepRecord) document {
	return document{
		APIVersion: apiVersion, Kind: kind,
		Environment: r.Environment, Run: r.Run, By: r.By, Why: r.Why, At: moment(r.At), Forced: each(r.Forced, same),
		Parts: each(r.Parts, fromPart), Groups: each(r.Groups, fromGroup), Databases: each(r.Databases, fromDatabase), Exits: each(r.Exits, fromExit),
		Rates: each(r.Rates, func(r fleet.Rate) rate { return rate(r) }), Hash: r.Hash,
		Marks: fromMarks(r.Marks), Fights: each(r.Fights, fromFight), Exceptions: each(r.Exceptions, same),
	}
}

func (d *document) record() fleet.SleepRecord {
	return fleet.SleepRecord{
		Environment: d.Environment, Run: d.Run, By: d.By, Why: d.Why, At: when(d.At), Forced: each(d.Forced, same),
		Parts: each(d.Parts, part.record), Groups: each(d.Groups, group.record), Databases: each(d.Databases, database.record), Exits: each(d.Exits, exit.record),
		Rates: each(d.Rates, func(r rate) fleet.Rate { return fleet.Rate(r) }), Hash: d.Hash,
		Marks: d.Marks.record(), Fights: each(d.Fights, fight.record), Exceptions: each(d.Exceptions, same),
	}
}

func fromPart(p fleet.PartRecord) part {
	return part{string(p.Turn), p.APIVersion, p.Kind, p.Namespace, p.Name, p.UID, p.Tier, p.Ready, p.Value, p.Absent}
}

func (p part) record() fleet.PartRecord {
	return fleet.PartRecord{
		Turn: fleet.Turn(p.Turn), APIVersion: p.APIVersion, Owner: fleet.Owner{Kind: p.Kind, Namespace: p.Namespace, Name: p.Name},
		UID: p.UID, Tier: p.Tier, Ready: p.Ready, Value: p.Value, Absent: p.Absent,
	}
}

func fromGroup(g fleet.SleepGroup) group {
	return group{g.Name, g.Scaling, g.Managed, g.Cluster, g.Min, g.Max, g.Desired, each(g.Suspended, same), each(g.Protected, same), each(g.Keepers, same), g.Exits}
}

func (g group) record() fleet.SleepGroup {
	return fleet.SleepGroup{
		Name: g.Name, Scaling: g.Scaling, Managed: g.Managed, Cluster: g.Cluster, Min: g.Min, Max: g.Max, Desired: g.Desired,
		Suspended: each(g.Suspended, same), Protected: each(g.Protected, same), Keepers: each(g.Keepers, same), Exits: g.Exits,
	}
}

func fromDatabase(d fleet.SleepDatabase) database {
	return database{d.ID, d.Class, d.Status, d.MinACU, d.MaxACU, d.Lower, d.ToACU}
}

func (d database) record() fleet.SleepDatabase {
	return fleet.SleepDatabase{ID: d.ID, Class: d.Class, Status: d.Status, MinACU: d.MinACU, MaxACU: d.MaxACU, Lower: d.Lower, ToACU: d.ToACU}
}

func fromExit(d fleet.Departure) exit {
	return exit{d.Node, d.Instance, d.Group, string(d.Cause), d.Why, d.Replace, d.Release, d.Drained, each(d.Targets, same), moment(d.Deadline)}
}

func (e exit) record() fleet.Departure {
	return fleet.Departure{
		Node: e.Node, Instance: e.Instance, Group: e.Group, Cause: fleet.Cause(e.Cause), Why: e.Why,
		Replace: e.Replace, Release: e.Release, Drained: e.Drained, Targets: each(e.Targets, same), Deadline: when(e.Deadline),
	}
}

// fromMarks is nil when nothing has happened yet.
func fromMarks(m fleet.SleepMarks) *marks {
	out := marks{moment(m.Archived), moment(m.Off), moment(m.Asleep), moment(m.Starting), m.StartedBy, moment(m.Again), moment(m.Served)}
	if out == (marks{}) {
		return nil
	}
	return &out
}

func (m *marks) record() fleet.SleepMarks {
	if m == nil {
		return fleet.SleepMarks{}
	}
	return fleet.SleepMarks{Archived: when(m.Archived), Off: when(m.Off), Asleep: when(m.Asleep), Starting: when(m.Starting), StartedBy: m.StartedBy, Again: when(m.Again), Served: when(m.Served)}
}

func fromFight(f fleet.Fight) fight { return fight{f.Subject, f.By, f.Times, moment(f.Last)} }

func (f fight) record() fleet.Fight {
	return fleet.Fight{Subject: f.Subject, By: f.By, Times: f.Times, Last: when(f.Last)}
}

// moment is a time as it is written: nil for none, to the nanosecond, without a clock of this process.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.Round(0).UTC()
	return &t
}

func when(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

func same(s string) string { return s }

// each returns nil for an empty list: two records with as little in them are the same.
func each[A, B any](in []A, to func(A) B) []B {
	var out []B
	for _, a := range in {
		out = append(out, to(a))
	}
	return out
}
