package env

import (
	"slices"
	"strconv"

	"drover.dev/fleet"
)

// joined names what came to the environment's declaration since it sleeps.
func (t *turn) joined() {
	for _, name := range t.v.e.Spec.Groups {
		if !slices.ContainsFunc(t.rec.Groups, func(g fleet.SleepGroup) bool { return g.Name == name }) {
			t.hold("group "+name, "is the environment's since it sleeps, and runs: it is switched at its next stop")
		}
	}
	for _, d := range t.v.e.Spec.Databases {
		if !slices.ContainsFunc(t.rec.Databases, func(k fleet.SleepDatabase) bool { return k.ID == d.ID }) {
			t.hold("database "+d.ID, "is the environment's since it sleeps: it is switched at its next stop")
		}
	}
}

// late are parts that came after the record was written and are on.
func (t *turn) late() []fleet.PartRecord {
	last := 0
	for _, r := range t.rec.Parts {
		last = max(last, r.Tier)
	}
	var out []fleet.PartRecord
	var came []*fleet.Part
	for _, p := range t.v.parts(t.forced("env-jobs")) {
		if r := t.rec.Part(p.Owner); r == nil && !p.Off && (p.Mark == nil || p.Mark.UID != p.UID) {
			if why := t.v.hesitates(p); why != "" {
				t.hold(p.ID(), "came while the environment sleeps, and is left on: %s", why)
				continue
			}
			came = append(came, p)
			rec := recordOf(p, min(last, 1))
			rec.Ready, _ = strconv.Atoi(p.Value) // what it needs may be off, so that none is Ready tells nothing
			out = append(out, rec)
		}
	}
	for _, app := range t.v.apps(came) {
		if t.rec.Part(app.Owner) == nil && !app.Off && app.Mark == nil {
			out = append(out, recordOf(app, 0))
		}
	}
	sortRecords(out)
	return out
}

// hesitates says why a part that came while the environment sleeps is not switched off without anybody being asked.
func (v *view) hesitates(p *fleet.Part) string {
	for i := range v.s.Environments {
		if o := &v.s.Environments[i]; o.Name != v.e.Name && o.Spec.Has(p.Owner, p.Labels) {
			return "it belongs to environment " + o.Name + " too"
		}
	}
	if p.Scratch != "" && p.Kind == "StatefulSet" {
		return "it keeps its data in " + p.Scratch + ", which is lost with its pods"
	}
	return ""
}

// allOff switches the chosen parts off, and returns whether they are.
func (t *turn) allOff(chosen func(*fleet.PartRecord) bool) bool {
	off := true
	for i := range t.rec.Parts {
		if r := &t.rec.Parts[i]; chosen(r) && !t.off(r) {
			off = false
		}
	}
	return off
}

// tiersOff switches tier by tier off, and waits for the pods of each to be gone.
func (t *turn) tiersOff() bool {
	for tier := 0; tier <= t.lastTier(); tier++ {
		in := func(r *fleet.PartRecord) bool { return r.Tier == tier && r.Turn != fleet.Unsynced }
		scaled := slices.ContainsFunc(t.rec.Parts, func(r fleet.PartRecord) bool { return r.Tier == tier && r.Turn == fleet.Scaled })
		if scaled && !t.jobsOver() {
			return false // what a Job needs stays until it is over
		}
		if off := t.allOff(in); !off || !t.gone(in) {
			return false
		}
	}
	return t.jobsOver()
}

func (t *turn) lastTier() int {
	last := 0
	for _, r := range t.rec.Parts {
		last = max(last, r.Tier)
	}
	return last
}

// off switches one part off. Who switches it back is fought a few times, and then named.
func (t *turn) off(r *fleet.PartRecord) bool {
	p := t.v.part[r.Owner]
	switch {
	case p == nil:
		return true // deleted meanwhile
	case p.Off && p.Mark != nil && p.Mark.Run == t.rec.Run:
		return true
	case p.Off && p.Mark != nil && p.Mark.UID == p.UID:
		t.hold(r.ID(), "is off, and marked by sleep %s of environment %s", p.Mark.Run, p.Mark.Environment)
		return true
	case p.Off: // somebody else's doing, as KEDA's; what was before is in the record, and belongs on the object too
		part := *r
		part.UID = p.UID
		t.do(fleet.Action{Verb: fleet.TurnOff, Part: &part, Why: "it is off already; how it was is put on it"})
		return false
	case p.Mark != nil && p.Mark.UID == p.UID && p.Mark.Run != t.rec.Run:
		t.hold(r.ID(), "is marked by sleep %s of environment %s", p.Mark.Run, p.Mark.Environment)
		return false
	}
	if p.Mark != nil && t.foreign(p) && !t.fight(r, p) {
		return r.Turn == fleet.Unsynced || !t.rec.Marks.Asleep.IsZero() // left on; everything behind it is looked after still
	}
	part := *r
	part.UID, part.Value, part.Absent = p.UID, p.Value, p.Absent // it may have been made anew, and an autoscaler may have moved it since it was recorded; the mark keeps what was last
	t.do(fleet.Action{Verb: fleet.TurnOff, Part: &part, Why: t.because()})
	return false
}

func (t *turn) because() string {
	if t.rec.Why != "" {
		return t.rec.Why
	}
	return "environment " + t.p.Environment + " is switched off"
}

// gone waits for the pods of parts that are switched off.
func (t *turn) gone(chosen func(*fleet.PartRecord) bool) bool {
	all := true
	for i := range t.rec.Parts {
		r := &t.rec.Parts[i]
		if !chosen(r) || r.Turn != fleet.Scaled {
			continue
		}
		if p := t.v.part[r.Owner]; p != nil && !p.Off {
			continue // left on
		}
		if left := t.v.pods(&r.Owner); len(left) > 0 {
			t.hold(r.ID(), "%d of its pods are still there, %s for one", len(left), left[0].Ref)
			all = false
		}
	}
	return all
}

// jobsOver waits for Jobs of the environment that run still, unless a person said not to.
func (t *turn) jobsOver() bool {
	if t.forced("env-jobs") {
		return true
	}
	over := true
	for i := range t.v.s.Busy {
		if b := &t.v.s.Busy[i]; b.Code == "env-jobs" && t.v.e.Spec.Has(b.Owner, b.Labels) {
			t.hold(b.Subject, "%s; its node waits for it", b.Reason)
			over = false
		}
	}
	return over
}
