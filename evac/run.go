package evac

import (
	"cmp"
	"slices"
	"time"

	"drover.dev/fleet"
)

// newRecord is what a new run writes before its first change.
func newRecord(s *fleet.Snapshot, p *Plan, o Options) fleet.RotationRecord {
	r := fleet.RotationRecord{
		Run: p.Run, Requester: o.Requester, At: p.At, Criterion: o.Criterion, Words: o.Words, Force: o.Force, Canary: o.Canary, Bake: o.Bake,
		Probes: o.Probes, Moves: len(p.Moves),
	}
	for _, gp := range p.Groups {
		g := s.Group(gp.Name)
		r.Groups = append(r.Groups, fleet.GroupRecord{
			Name: g.Name, Desired: g.Desired, Min: g.Min, Max: g.Max, Surge: gp.Surge, Suspended: slices.Clone(g.Suspended), Wants: slices.Clone(g.Wants), Managed: gp.Managed,
		})
	}
	for _, e := range p.Exits {
		if _, in := s.Instance(e.Instance); in != nil {
			for _, t := range in.Targets {
				e.Targets = append(e.Targets, t.Group)
			}
		}
		if n := s.Node(e.Node); n != nil && n.Mark() != nil && n.Mark().Value != fleet.NoticeRun {
			e.Drained = n.Mark().Value
		}
		r.Exits = append(r.Exits, e.Departure)
	}
	return r
}

// Ongoing returns the record of the run that some of the groups are in the middle of. A group may carry the mark of a run whose record
// somebody deleted: the record is then made again from what the world shows, to take the run back. Nil means that no run is under way.
func Ongoing(s *fleet.Snapshot, groups []string) *fleet.RotationRecord {
	for i := range s.Rotations {
		if slices.ContainsFunc(groups, s.Rotations[i].Has) {
			return &s.Rotations[i]
		}
	}
	for _, name := range groups {
		if g := s.Group(name); g != nil && g.Mark != nil {
			return lost(s, g.Mark)
		}
	}
	for i := range s.Groups {
		m := s.Groups[i].Managed
		if m != nil && m.Run != "" && slices.Contains(groups, m.CopyOf) && leavesWith(s, m.CopyOf, m.Run) {
			return lost(s, &fleet.GroupMark{Run: m.Run, At: launched(&s.Groups[i], s.Now)})
		}
	}
	return nil
}

// leavesWith tells whether nodes of a group carry a run's taint: a group made anew under an old name has none.
func leavesWith(s *fleet.Snapshot, group, run string) bool {
	g := s.Group(group)
	return g != nil && slices.ContainsFunc(g.Instances, func(in fleet.Instance) bool {
		n := s.NodeOf(in.ID)
		return n != nil && n.Mark() != nil && n.Mark().Value == run
	})
}

// launched is when the first of a group's instances was.
func launched(g *fleet.Group, otherwise time.Time) time.Time {
	for i := range g.Instances {
		if at := g.Instances[i].Launched; !at.IsZero() && at.Before(otherwise) {
			otherwise = at
		}
	}
	return otherwise
}

// lost makes the record of a run again from its marks on groups and nodes. All that is left to do with such a run is to take it back.
func lost(s *fleet.Snapshot, m *fleet.GroupMark) *fleet.RotationRecord {
	r := &fleet.RotationRecord{Run: m.Run, At: m.At, Criterion: m.Criterion, Intent: fleet.Back}
	for i := range s.Groups {
		g := &s.Groups[i]
		switch {
		case g.Mark != nil && g.Mark.Run == m.Run:
			r.Groups = append(r.Groups, fleet.GroupRecord{Name: g.Name, Desired: g.Mark.Desired, Min: g.Min, Max: g.Max, Surge: g.Mark.Surge, Wants: g.Wants})
		case copied(s, g.Name, m.Run):
			r.Groups = append(r.Groups, fleet.GroupRecord{Name: g.Name, Desired: g.Desired, Min: g.Min, Max: g.Max, Managed: true})
		default:
			continue
		}
		for j := range g.Instances {
			in := &g.Instances[j]
			n := s.NodeOf(in.ID)
			if n != nil && n.Mark() != nil && n.Mark().Value == m.Run && in.Launched.Before(m.At) {
				r.Exits = append(r.Exits, fleet.Departure{Node: n.Name, Instance: in.ID, Group: g.Name, Cause: fleet.Rotation, Why: "marked by run " + m.Run, Replace: true, Release: true, Targets: attached(g)})
			}
		}
	}
	return r
}

// copied tells whether a run made a copy of a managed group.
func copied(s *fleet.Snapshot, group, run string) bool {
	return slices.ContainsFunc(s.Groups, func(g fleet.Group) bool { return g.Managed != nil && g.Managed.CopyOf == group && g.Managed.Run == run })
}

// attached are the target groups that Auto Scaling registers every instance of a group in.
func attached(g *fleet.Group) []string {
	var out []string
	for _, tg := range g.Targets {
		if !tg.Loose && !tg.IP {
			out = append(out, tg.ARN)
		}
	}
	return out
}

// Resume plans what is left of a recorded run: forward with the approved exits, or back.
func Resume(s *fleet.Snapshot, r *fleet.RotationRecord) (Plan, []fleet.Finding) {
	p := Plan{Run: r.Run, At: r.At, Force: r.Force, Record: *r, Resumed: true}
	ix := newIndex(s)
	for _, rec := range r.Groups {
		gp := GroupPlan{Name: rec.Name, Criterion: r.Criterion, Desired: rec.Desired, Surge: rec.Surge, Wants: rec.Wants, Managed: rec.Managed}
		if rec.Managed {
			gp.Copy = copyName(rec.Name, r.Run)
		}
		if g := s.Group(rec.Name); g != nil {
			gp.Max = g.Max
			if g.Mark != nil {
				gp.Desired = g.Mark.Desired
			}
		}
		p.Groups = append(p.Groups, gp)
	}
	p.Exits = remaining(ix, &p)
	findings := p.planPods(ix)
	for i := range findings { // what is in the middle of a move may well be so for a moment, and is waited for
		findings[i].Blocks = findings[i].Blocks && findings[i].Code != storeUnsound.Code
	}
	p.Forecast = Preview(p, *s)
	return p, findings
}

// remaining are the exits of a recorded run that are still there.
func remaining(ix *index, p *Plan) []Exit {
	if p.Back() {
		return surplus(ix, p)
	}
	var out []Exit
	for _, d := range p.Record.Exits {
		e := Exit{Departure: d}
		if at := ix.instance[d.Instance]; at.in != nil && !at.in.Leaving() {
			e.Zone = at.in.Zone
			out = append(out, e)
		}
	}
	return out
}

// surplus are the nodes that go when a run is taken back: of those that it launched, as many as are too many once the old ones are back. The
// ones chosen before come first, then those that serve least, from the zones that have most.
func surplus(ix *index, p *Plan) []Exit {
	old := map[string]bool{}
	for _, d := range p.Record.Exits {
		old[d.Instance] = true
	}
	var out []Exit
	for _, gp := range p.Groups {
		g := ix.s.Group(gp.Name)
		if gp.Managed {
			out = append(out, ix.copyExits(&gp, p.Run)...)
			continue
		}
		if g == nil || g.Mark == nil {
			continue // gone, or not changed
		}
		until := ix.launchedUntil(p)
		count := map[string]int{}
		here := 0
		var own []*fleet.Instance
		for i := range g.Instances {
			in := &g.Instances[i]
			if !in.Counted() && !(old[in.ID] && in.Parked()) {
				continue
			}
			here++
			count[in.Zone]++
			if !old[in.ID] && in.Counted() && !in.Launched.Before(p.At) && !in.Launched.After(until) {
				own = append(own, in)
			}
		}
		for n := here - max(g.Mark.Desired, g.Min); n > 0 && len(own) > 0; n-- {
			i := ix.leastMissed(own, count, p.Run)
			in := own[i]
			own = slices.Delete(own, i, i+1)
			count[in.Zone]--
			out = append(out, ix.undoExit(g, in, p.Run))
		}
	}
	return out
}

// launchedUntil is until when what a group launches is the run's doing: later ones are somebody else's wish.
func (ix *index) launchedUntil(p *Plan) time.Time {
	r := ix.s.Rotation(p.Run)
	if r == nil || r.Marks.Undoing.IsZero() {
		return ix.s.Now
	}
	return r.Marks.Undoing.Add(noLaunch)
}

func (ix *index) undoExit(g *fleet.Group, in *fleet.Instance, run string) Exit {
	e := Exit{Departure: fleet.Departure{Instance: in.ID, Group: g.Name, Cause: fleet.Undo, Why: "new with run " + run + ", which is taken back", Release: true}, Zone: in.Zone}
	if node := ix.nodeOf[in.ID]; node != nil {
		e.Node = node.Name
	}
	return e
}

// leastMissed chooses the next instance that a run taken back gives up.
func (ix *index) leastMissed(own []*fleet.Instance, count map[string]int, run string) int {
	key := func(in *fleet.Instance) (chosen, crowd, pods int) {
		n := ix.nodeOf[in.ID]
		if n != nil && n.Mark() != nil && n.Mark().Value == run {
			chosen = 1
		}
		return chosen, count[in.Zone], len(ix.movable(n))
	}
	best := 0
	for i := 1; i < len(own); i++ {
		c1, z1, p1 := key(own[best])
		c2, z2, p2 := key(own[i])
		if cmp.Or(c2-c1, z2-z1, p1-p2, cmp.Compare(own[best].ID, own[i].ID)) > 0 {
			best = i
		}
	}
	return best
}
