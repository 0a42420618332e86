package env

import (
	"slices"

	"drover.dev/fleet"
)

// foreign tells whether somebody else has switched a part back on that this sleep had switched off.
func (t *turn) foreign(p *fleet.Part) bool {
	if p.By != "" {
		return p.By != "drover"
	}
	return !t.rec.Marks.Off.IsZero()
}

// fight notes that somebody switched something back, and returns whether it may be switched off once more now.
func (t *turn) fight(r *fleet.PartRecord, p *fleet.Part) bool {
	most := t.v.e.Spec.Policy.Fights
	if most == 0 {
		most = usualFights
	}
	who := p.By
	if who == "" {
		who = "somebody"
	}
	known := t.rec.Fights
	if t.fights != nil {
		known = t.fights
	}
	i := slices.IndexFunc(known, func(f fleet.Fight) bool { return f.Subject == r.ID() })
	if i >= 0 && known[i].Times >= most {
		t.hold(r.ID(), "was switched back %s %d times, last by %s%s; drover leaves it so now: stop that, then drover env %s %s", word(!p.Off), known[i].Times+1, who, keptBy(p), verb(t.p.On), t.p.Environment)
		return false
	}
	known = slices.Clone(known)
	if i < 0 {
		known, i = append(known, fleet.Fight{Subject: r.ID()}), len(known)
	}
	known[i].Times, known[i].By, known[i].Last = known[i].Times+1, who, t.v.s.Now
	t.fights = known
	return true
}

func verb(on bool) string {
	if on {
		return "start"
	}
	return "stop"
}

func keptBy(p *fleet.Part) string {
	if len(p.Apps) == 0 {
		return ""
	}
	return ", kept by " + p.Apps[0].String()
}
