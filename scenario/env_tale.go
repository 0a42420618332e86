package scenario

import (
	"fmt"
	"slices"
	"strings"

	"drover.dev/fleet"
)

// sleepWords are an action's kind and its subject, for those that switch environments.
func (d *deed) sleepWords() (what, subject string, ok bool) {
	in, verb := d.stage.names.in, string(d.a.Verb)
	switch a := d.a; a.Verb {
	case fleet.Remember:
		return verb, d.remembered(), true
	case fleet.Conclude, fleet.Archive:
		return verb, a.Environment, true
	case fleet.TurnOff, fleet.TurnOn, fleet.Unmark:
		return verb, a.Part.ID(), true
	case fleet.Place:
		return verb, a.Placement.Owner.String(), true
	case fleet.MakeBudget:
		return verb, a.NewBudget.Namespace + "/" + a.NewBudget.Name, true
	case fleet.MakeGroup:
		return verb, a.NewGroup.Name, true
	case fleet.MarkGroup, fleet.UnmarkGroup:
		return verb, a.Group, true
	case fleet.Bound:
		return verb, fmt.Sprintf("%s %d to %d", a.Group, a.From, a.To), true
	case fleet.Protect, fleet.Unprotect:
		return verb, in(strings.Join(a.Instances, " ")), true
	case fleet.MarkDatabase, fleet.UnmarkDatabase, fleet.StopDatabase, fleet.StartDatabase:
		return verb, a.Database, true
	case fleet.SetCapacity:
		return verb, fmt.Sprintf("%s to %g", a.Database, a.ACU), true
	}
	return "", "", false
}

// remembered is what a write of the record says that was not there.
func (d *deed) remembered() string {
	var have fleet.SleepRecord
	if e := d.before.s.Environment(d.a.Environment); e != nil && e.Record != nil {
		have = *e.Record
	} else {
		return "plan"
	}
	m, h, want := d.a.Sleep.Marks, have.Marks, d.a.Sleep
	var out []string
	for _, part := range []struct {
		is   bool
		what string
	}{
		{len(want.Parts) > len(have.Parts), fmt.Sprintf("%d parts more", len(want.Parts)-len(have.Parts))}, {h.Archived.IsZero() && !m.Archived.IsZero(), "archived"},
		{h.Off.IsZero() && !m.Off.IsZero(), "off"}, {h.Asleep.IsZero() && !m.Asleep.IsZero(), "asleep"}, {h.Starting.IsZero() && !m.Starting.IsZero(), "starting"},
		{!h.Starting.IsZero() && m.Starting.IsZero(), "back to sleep"}, {len(want.Fights) > 0 && !slices.Equal(want.Fights, have.Fights), "fight"},
	} {
		if part.is {
			out = append(out, part.what)
		}
	}
	return strings.Join(out, "+")
}

// tellSleeps says how every environment stands. Nothing in it depends on the moment at which something happened.
func (s *Stage) tellSleeps([]string) (string, error) {
	s.watch.forget()
	v := s.watch.whole()
	told := s.outcome
	out := []string{"run " + told.String()}
	for i := range v.s.Environments {
		out = append(out, s.tellSleep(v, &v.s.Environments[i])...)
	}
	return strings.Join(append(out, s.bed().watched.others(s.watch, v)...), "\n") + "\n", nil
}

func (s *Stage) tellSleep(v *view, e *fleet.Environment) []string {
	state := "on"
	switch r := e.Record; {
	case r == nil:
	case !r.Marks.Starting.IsZero():
		state = "starting"
	case r.Marks.Asleep.IsZero():
		state = "stopping"
	default:
		state = "asleep"
	}
	out := []string{fmt.Sprintf("%s: %s, %d sleeps over", e.Name, state, len(e.Sleeps))}
	for _, p := range v.s.Parts {
		if mine(&v.s, e, &p) && p.Kind != "Job" { // a CronJob makes one at its time, whatever else happens then
			out = append(out, "  "+tellPart(&p))
		}
	}
	for _, name := range e.Spec.Groups {
		if g := v.s.Group(name); g != nil {
			out = append(out, fmt.Sprintf("  group %s: min %d, desired %d, %d nodes work%s", name, g.Min, g.Desired, working(&v.s, g), also(g.Sleep != nil, ", marked")))
		}
	}
	for _, spec := range e.Spec.Databases {
		if db := v.s.Database(spec.ID); db != nil {
			line := fmt.Sprintf("  database %s: %s%s", db.ID, db.Status, also(db.Mark != "", ", marked"))
			if db.MaxACU > 0 {
				line += fmt.Sprintf(", from %g units", db.MinACU)
			}
			out = append(out, line)
		}
	}
	return out
}

func also(on bool, words string) string {
	if on {
		return words
	}
	return ""
}

func tellPart(p *fleet.Part) string {
	line := fmt.Sprintf("%s: %s %s", p.ID(), p.Turn, worth(p))
	if p.Turn == fleet.Scaled {
		line += fmt.Sprintf(", %d ready", p.Ready)
	}
	return line + also(p.Mark != nil, ", marked")
}

func worth(p *fleet.Part) string {
	if p.Absent {
		return "nothing"
	}
	return p.Value
}
