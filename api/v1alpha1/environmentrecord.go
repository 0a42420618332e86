package v1alpha1

import (
	"fmt"
	"slices"
	"strconv"

	"drover.dev/fleet"
)

// FromSleepRecord is the object's form of a record; all its parts are original. Moments are kept to the second. The environment is that of the object
// that holds it.
func FromSleepRecord(r fleet.SleepRecord) SleepRecord {
	o := SleepOriginal{Run: r.Run, By: r.By, Why: r.Why, At: moment(r.At), Forced: slices.Clone(r.Forced), Hash: r.Hash}
	for _, p := range r.Parts {
		o.Parts = append(o.Parts, fromPart(p))
	}
	for _, g := range r.Groups {
		o.Groups = append(o.Groups, SleepGroup{
			Name: g.Name, Scaling: g.Scaling, Managed: g.Managed, Cluster: g.Cluster, Min: int64(g.Min), Max: int64(g.Max), Desired: int64(g.Desired),
			Suspended: slices.Clone(g.Suspended), Protected: slices.Clone(g.Protected), Keepers: slices.Clone(g.Keepers), Exits: int64(g.Exits),
		})
	}
	for _, d := range r.Databases {
		o.Databases = append(o.Databases, SleepDatabase{
			ID: d.ID, Class: d.Class, Status: d.Status, MinACU: unlessZero(d.MinACU), MaxACU: unlessZero(d.MaxACU), Lower: d.Lower, ToACU: unlessZero(d.ToACU),
		})
	}
	for _, d := range r.Exits {
		o.Exits = append(o.Exits, FromDeparture(d))
	}
	for _, rate := range r.Rates {
		o.Rates = append(o.Rates, fromRate(rate))
	}
	out := SleepRecord{Original: o, Exceptions: slices.Clone(r.Exceptions), Marks: SleepMarks{
		Archived: moment(r.Marks.Archived), SwitchedOff: moment(r.Marks.Off), Asleep: moment(r.Marks.Asleep), Starting: moment(r.Marks.Starting), StartedBy: r.Marks.StartedBy, Again: moment(r.Marks.Again), Served: moment(r.Marks.Served),
	}}
	for _, f := range r.Fights {
		out.Fights = append(out.Fights, Fight{Subject: f.Subject, By: f.By, Times: int64(f.Times), Last: moment(f.Last)})
	}
	return out
}

func unlessZero(n float64) string {
	if n == 0 {
		return ""
	}
	return decimal(n)
}

func fromPart(p fleet.PartRecord) PartRecord {
	out := PartRecord{
		Turn: string(p.Turn), APIVersion: p.APIVersion, Kind: p.Kind, Namespace: p.Namespace, Name: p.Name, UID: p.UID, Tier: int64(p.Tier), Ready: int64(p.Ready),
	}
	if !p.Absent {
		out.Value = &p.Value
	}
	return out
}

// Record is what the object holds of an environment.
func (r *SleepRecord) Record(environment string) (fleet.SleepRecord, error) {
	o := &r.Original
	out := fleet.SleepRecord{
		Environment: environment, Run: o.Run, By: o.By, Why: o.Why, At: instant(o.At), Forced: slices.Clone(o.Forced), Hash: o.Hash, Exceptions: slices.Clone(r.Exceptions),
		Marks: fleet.SleepMarks{
			Archived: instant(r.Marks.Archived), Off: instant(r.Marks.SwitchedOff), Asleep: instant(r.Marks.Asleep), Starting: instant(r.Marks.Starting), StartedBy: r.Marks.StartedBy, Again: instant(r.Marks.Again), Served: instant(r.Marks.Served),
		},
	}
	for _, p := range o.Parts {
		out.Parts = append(out.Parts, p.record())
	}
	for _, p := range r.Added {
		out.Parts = append(out.Parts, p.record())
	}
	for _, g := range o.Groups {
		out.Groups = append(out.Groups, fleet.SleepGroup{
			Name: g.Name, Scaling: g.Scaling, Managed: g.Managed, Cluster: g.Cluster, Min: int(g.Min), Max: int(g.Max), Desired: int(g.Desired),
			Suspended: slices.Clone(g.Suspended), Protected: slices.Clone(g.Protected), Keepers: slices.Clone(g.Keepers), Exits: int(g.Exits),
		})
	}
	for _, e := range o.Exits {
		out.Exits = append(out.Exits, e.Departure())
	}
	for _, f := range r.Fights {
		out.Fights = append(out.Fights, fleet.Fight{Subject: f.Subject, By: f.By, Times: int(f.Times), Last: instant(f.Last)})
	}
	return out, r.figures(&out)
}

// figures reads what the object keeps as decimals.
func (r *SleepRecord) figures(out *fleet.SleepRecord) error {
	for i, d := range r.Original.Databases {
		one := fleet.SleepDatabase{ID: d.ID, Class: d.Class, Status: d.Status, Lower: d.Lower}
		for _, f := range []struct {
			field, text string
			to          *float64
		}{{"minACU", d.MinACU, &one.MinACU}, {"maxACU", d.MaxACU, &one.MaxACU}, {"toACU", d.ToACU, &one.ToACU}} {
			if f.text == "" {
				continue
			}
			var err error
			if *f.to, err = strconv.ParseFloat(f.text, 64); err != nil {
				return fmt.Errorf("status.record.original.databases[%d].%s: %q: want capacity units", i, f.field, f.text)
			}
		}
		out.Databases = append(out.Databases, one)
	}
	var bad troubles
	for i := range r.Original.Rates {
		out.Rates = append(out.Rates, r.Original.Rates[i].rate(fmt.Sprintf("status.record.original.rates[%d]", i), &bad))
	}
	if len(bad) > 0 {
		return fmt.Errorf("%s", bad[0])
	}
	return nil
}

func (p *PartRecord) record() fleet.PartRecord {
	out := fleet.PartRecord{
		Turn: fleet.Turn(p.Turn), APIVersion: p.APIVersion, Owner: fleet.Owner{Kind: p.Kind, Namespace: p.Namespace, Name: p.Name}, UID: p.UID, Tier: int(p.Tier),
		Ready: int(p.Ready), Absent: p.Value == nil,
	}
	if p.Value != nil {
		out.Value = *p.Value
	}
	return out
}

// After is the record as it is to be written over old, of the same run: parts that old does not have were added since.
func (r SleepRecord) After(old *SleepRecord) SleepRecord {
	original, added := map[fleet.Owner]bool{}, map[fleet.Owner]bool{}
	for i := range old.Original.Parts {
		original[old.Original.Parts[i].record().Owner] = true
	}
	for i := range old.Added {
		added[old.Added[i].record().Owner] = true
	}
	parts := r.Original.Parts
	r.Original.Parts, r.Added = nil, slices.Clone(old.Added)
	for _, p := range parts {
		switch owner := p.record().Owner; {
		case original[owner]:
			r.Original.Parts = append(r.Original.Parts, p)
		case !added[owner]:
			r.Added = append(r.Added, AddedPart{p})
		}
	}
	return r
}

// FromSleep is the object's form of a sleep that is over.
func FromSleep(s fleet.Sleep) Sleep {
	return Sleep{
		Run: s.Run, By: s.By, StartedBy: s.StartedBy, At: moment(s.At), Asleep: moment(s.Asleep), Starting: moment(s.Starting), Awake: moment(s.Awake), Saved: s.Saved,
		Exceptions: slices.Clone(s.Exceptions),
	}
}

// Sleep is what the object holds.
func (s *Sleep) Sleep() fleet.Sleep {
	return fleet.Sleep{
		Run: s.Run, By: s.By, StartedBy: s.StartedBy, At: instant(s.At), Asleep: instant(s.Asleep), Starting: instant(s.Starting), Awake: instant(s.Awake), Saved: s.Saved,
		Exceptions: slices.Clone(s.Exceptions),
	}
}
