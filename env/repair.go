package env

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"drover.dev/fleet"
)

// Repaired is a record made again from its copies, and where each part of it comes from.
type Repaired struct {
	Record  fleet.SleepRecord
	Sources []string // for people, the best first
	Differs bool     // from what is on file now
}

// Repair makes the record of a sleep again: from what is on file, from copies outside of the cluster, and from the marks on every object. Any one of
// them is enough for what it knows; where they disagree about how something was, the mark on the object wins, because it was written with the change.
// What none of them knows is found out of what else there is (an autoscaler's minimum), and said.
func Repair(s *fleet.Snapshot, name string, copies []fleet.SleepRecord) (Repaired, []fleet.Finding) {
	e := s.Environment(name)
	if e == nil {
		return Repaired{}, []fleet.Finding{fleet.Found("env-spec", "environment "+name, "is not there; %s", known(s)).Then("make it again first: drover env apply -f FILE")}
	}
	v := look(s, e)
	run := v.lastRun(copies)
	if run == "" {
		return Repaired{}, nil
	}
	r := &repair{v: v, run: run}
	r.base(copies)
	r.marks()
	if e.Record == nil && !r.copied {
		r.guesses()
	}
	sortRecords(r.out.Record.Parts)
	r.out.Differs = e.Record == nil || !same(e.Record, &r.out.Record) || !slices.EqualFunc(e.Record.Parts, r.out.Record.Parts, func(a, b fleet.PartRecord) bool { return a == b })
	return r.out, r.findings
}

type repair struct {
	v        *view
	run      string
	out      Repaired
	copied   bool // a whole copy was found
	findings []fleet.Finding
}

// lastRun is the sleep that something of the environment is in: the one on file, else the one that most marks name, else the newest copy of one that is not
// over. "" when it is in none.
func (v *view) lastRun(copies []fleet.SleepRecord) string {
	if v.e.Record != nil {
		return v.e.Record.Run
	}
	count := map[string]int{}
	for i := range v.s.Parts {
		if m := v.s.Parts[i].Mark; m != nil && m.Environment == v.e.Name {
			count[m.Run]++
		}
	}
	for i := range v.s.Groups {
		if m := v.s.Groups[i].Sleep; m != nil && m.Environment == v.e.Name {
			count[m.Run]++
		}
	}
	for i := range v.s.Databases {
		if m := fleet.ParseDatabaseMark(v.s.Databases[i].Mark); m.Environment == v.e.Name {
			count[m.Run]++
		}
	}
	best := ""
	for run, n := range count {
		if v.over(v.e.Name, run) {
			continue // a rollback brought an old mark back
		}
		if best == "" || n > count[best] || n == count[best] && run > best {
			best = run
		}
	}
	if best != "" {
		return best
	}
	var newest *fleet.SleepRecord
	for i := range copies {
		c := &copies[i]
		over := slices.ContainsFunc(v.e.Sleeps, func(s fleet.Sleep) bool { return s.Run == c.Run })
		if c.Environment == v.e.Name && !over && v.shows(c) && (newest == nil || c.At.After(newest.At)) {
			newest = c
		}
	}
	if newest == nil {
		return ""
	}
	return newest.Run
}

// shows tells whether anything that a record says was on is off: a copy of a sleep that is long over says nothing about now.
func (v *view) shows(c *fleet.SleepRecord) bool {
	return slices.ContainsFunc(c.Parts, func(r fleet.PartRecord) bool {
		p := v.part[r.Owner]
		return p != nil && p.UID == r.UID && p.Off
	})
}

// base takes the record from the best copy of it that there is.
func (r *repair) base(copies []fleet.SleepRecord) {
	e := r.v.e
	if e.Record != nil {
		r.out.Record = e.Record.Clone()
		r.out.Sources = append(r.out.Sources, "on file in "+e.Source)
	}
	for i := range copies {
		c := &copies[i]
		if c.Run != r.run || c.Environment != e.Name {
			continue
		}
		if r.out.Record.Run == "" {
			r.out.Record, r.copied = c.Clone(), true
			r.out.Sources = append(r.out.Sources, "the copy outside of the cluster")
			continue
		}
		for _, part := range c.Parts {
			r.part(part, "the copy outside of the cluster")
		}
	}
	if r.out.Record.Run == "" {
		r.out.Record = fleet.SleepRecord{Environment: e.Name, Run: r.run, By: "drover env repair", At: r.v.s.Now}
	}
}

// part adds what a source says of a part that nothing better is known of.
func (r *repair) part(p fleet.PartRecord, source string) {
	if r.out.Record.Part(p.Owner) != nil {
		return
	}
	r.out.Record.Parts = append(r.out.Record.Parts, p)
	r.source(source)
}

func (r *repair) source(name string) {
	if !slices.Contains(r.out.Sources, name) {
		r.out.Sources = append(r.out.Sources, name)
	}
}

const onObjects = "marks on objects"

// marks takes over what the marks say.
func (r *repair) marks() {
	v := r.v
	parts := v.parts(true)
	tier := v.tiers(parts)
	for i := range v.s.Parts {
		p := &v.s.Parts[i]
		if p.Mark == nil || p.Mark.Run != r.run || p.Mark.Environment != v.e.Name {
			continue
		}
		if p.Mark.UID != p.UID {
			r.findings = append(r.findings, fleet.Found("env-stranger", p.ID(), "carries the mark of another object, as a copy of it would").Then("take annotation drover.dev/environment off it"))
			continue
		}
		r.source(onObjects)
		if known := r.out.Record.Part(p.Owner); known != nil {
			if r.v.e.Record == nil { // what is on file in the cluster never changes; a start goes by the marks anyway
				known.Value, known.Absent, known.UID = p.Mark.Value, p.Mark.Absent, p.UID
			}
			continue
		}
		ready, _ := strconv.Atoi(p.Mark.Value) // how many of them worked nobody knows any more
		r.out.Record.Parts = append(r.out.Record.Parts, fleet.PartRecord{Turn: p.Turn, APIVersion: p.APIVersion, Owner: p.Owner, UID: p.UID, Tier: tier[p], Ready: ready, Value: p.Mark.Value, Absent: p.Mark.Absent})
	}
	for i := range v.s.Groups {
		g := &v.s.Groups[i]
		if g.Sleep == nil || g.Sleep.Run != r.run || slices.ContainsFunc(r.out.Record.Groups, func(k fleet.SleepGroup) bool { return k.Name == g.Name }) {
			continue
		}
		r.source(onObjects)
		r.out.Record.Groups = append(r.out.Record.Groups, groupFromMark(g))
	}
	for _, db := range v.s.Databases {
		if fleet.ParseDatabaseMark(db.Mark).Run != r.run || slices.ContainsFunc(r.out.Record.Databases, func(k fleet.SleepDatabase) bool { return k.ID == db.ID }) {
			continue
		}
		r.source(onObjects)
		r.out.Record.Databases = append(r.out.Record.Databases, databaseFromMark(v.e, &db))
	}
}

func groupFromMark(g *fleet.Group) fleet.SleepGroup {
	out := fleet.SleepGroup{Name: g.Name, Scaling: g.Scaling(), Managed: g.Managed != nil, Min: g.Sleep.Min, Max: g.Sleep.Max, Desired: g.Sleep.Desired, Exits: g.Sleep.Desired}
	if g.Managed != nil {
		out.Cluster = g.Managed.Cluster
	}
	if !g.Sleep.Suspended {
		out.Suspended = []string{fleet.AZRebalance}
	}
	for i := range g.Instances { // whoever is there still was kept
		out.Keepers = append(out.Keepers, g.Instances[i].ID)
		if g.Instances[i].Protected { // whether it was before nobody knows: it stays so
			out.Protected = append(out.Protected, g.Instances[i].ID)
		}
		out.Exits = max(0, out.Exits-1)
	}
	return out
}

func databaseFromMark(e *fleet.Environment, db *fleet.Database) fleet.SleepDatabase {
	mark := fleet.ParseDatabaseMark(db.Mark) // only one that was available is marked
	out := fleet.SleepDatabase{ID: db.ID, Class: db.Class, Status: fleet.DatabaseAvailable, MinACU: mark.ACU, MaxACU: db.MaxACU}
	for _, d := range e.Spec.Databases {
		if d.ID == db.ID && d.Lower != nil && mark.ACU > 0 {
			out.Lower, out.ToACU = true, *d.Lower
		}
	}
	return out
}

// guesses takes over what is off and nobody knows of: from its autoscaler where it has one, otherwise a person has to say.
func (r *repair) guesses() {
	for _, p := range r.v.parts(false) {
		if !p.Off || p.Turn != fleet.Scaled || r.out.Record.Part(p.Owner) != nil {
			continue
		}
		w := r.v.s.Workload(p.Owner)
		if w == nil || w.Scaler == nil || w.Scaler.Min == 0 {
			r.findings = append(r.findings, fleet.Found("env-stranger", p.ID(), "is off, and nothing says how many replicas it had").Then("if it was on: kubectl scale it yourself after the start"))
			continue
		}
		rec := recordOf(p, 1)
		rec.Value, rec.Ready = fmt.Sprint(w.Scaler.Min), w.Scaler.Min
		r.part(rec, fmt.Sprintf("the minimum of autoscaler %s/%s", p.Namespace, w.Scaler.Name))
	}
	if r.out.Record.Marks.Off.IsZero() && r.v.e.Record == nil {
		r.out.Record.Marks = fleet.SleepMarks{Off: r.v.s.Now, Archived: time.Time{}}
	}
}
