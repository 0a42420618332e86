package main

import (
	"fmt"
	"slices"
	"strings"

	"drover.dev/depart"
	"drover.dev/evac"
	"drover.dev/fleet"
)

// standing is a run as it stands: its record, the rest of its plan, and what it would do now.
type standing struct {
	record   *fleet.RotationRecord // nil for a drain
	plan     evac.Plan
	findings []fleet.Finding
	step     evac.Step
	progress fleet.Progress
}

// stand asks evac how a recorded run stands.
func stand(s *fleet.Snapshot, r *fleet.RotationRecord) *standing {
	st := &standing{record: r}
	st.plan, st.findings = evac.Resume(s, r)
	st.look(s)
	return st
}

// look asks again about the same plan in another snapshot.
func (st *standing) look(s *fleet.Snapshot) {
	st.step = evac.Next(st.plan, *s)
	slices.SortFunc(st.step.Holds, func(a, b fleet.Hold) int { return strings.Compare(a.Subject, b.Subject) })
	st.progress = evac.Track(st.plan, *s, st.step)
}

// standDrain asks evac how a person's drain of a node stands; nil when there is none.
func standDrain(s *fleet.Snapshot, n *fleet.Node) *standing {
	d, err := depart.Drain(s, n.Name, false)
	if err != nil || n.Mark() == nil {
		return nil
	}
	st := &standing{}
	st.plan, st.findings = evac.Make(s, nil, []fleet.Departure{d}, evac.Options{Run: n.Mark().Value})
	st.look(s)
	return st
}

// standNoticed asks evac how the departures stand that AWS gave notice of, as far as the usual policy tells; nil when there are none.
func standNoticed(s *fleet.Snapshot) *standing {
	st := &standing{plan: evac.Notices(s, fleet.UsualPolicy)}
	if len(st.plan.Exits) == 0 {
		return nil
	}
	st.step = evac.Next(st.plan, *s)
	st.progress = fleet.Progress{Run: st.plan.Run, Exits: st.step.Standing}
	return st
}

// exitOf finds the exit of a node or instance.
func (st *standing) exitOf(name string) *fleet.ExitProgress {
	for i := range st.progress.Exits {
		if d := st.progress.Exits[i].Departure; d.Node == name || d.Instance == name {
			return &st.progress.Exits[i]
		}
	}
	return nil
}

// noticed returns how the departure of this node or instance stands, if AWS gave notice of it.
func noticed(s *fleet.Snapshot, name string) (*standing, *fleet.ExitProgress) {
	if st := standNoticed(s); st != nil {
		if exit := st.exitOf(name); exit != nil {
			return st, exit
		}
	}
	return nil, nil
}

// underWay returns all runs under way, those that only marks on groups tell of included.
func underWay(s *fleet.Snapshot) []*fleet.RotationRecord {
	var out []*fleet.RotationRecord
	seen := map[string]bool{}
	add := func(r *fleet.RotationRecord) {
		if r != nil && !seen[r.Run] {
			seen[r.Run] = true
			out = append(out, r)
		}
	}
	for i := range s.Rotations {
		add(&s.Rotations[i])
	}
	for i := range s.Groups {
		add(evac.Ongoing(s, []string{s.Groups[i].Name}))
	}
	return out
}

// choose finds the run that a person means: by its id or one of its groups, or, without a word, the only one.
func choose(runs []*fleet.RotationRecord, name string) (*fleet.RotationRecord, error) {
	var have []string
	for _, r := range runs {
		if r.Run == name || r.Has(name) {
			return r, nil
		}
		have = append(have, r.Run+" ("+groupNames(r)+")")
	}
	switch {
	case name != "":
		return nil, fmt.Errorf("%s: no run of that id or on that group is under way; under way: %s", name, orNone(have))
	case len(runs) == 0:
		return nil, errNoRun
	case len(runs) > 1:
		return nil, usagef("which run? Name it or one of its groups; under way: %s", strings.Join(have, ", "))
	}
	return runs[0], nil
}

// errNoRun says that nothing is under way.
var errNoRun = fmt.Errorf("no run is under way")

// leavingBy returns the run that an exit of this node or instance belongs to, with how far the exit is.
func leavingBy(s *fleet.Snapshot, name string) (*standing, *fleet.ExitProgress) {
	for _, r := range underWay(s) {
		st := stand(s, r)
		if exit := st.exitOf(name); exit != nil {
			return st, exit
		}
	}
	return nil, nil
}
