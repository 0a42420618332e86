package kube

import (
	"testing"

	"drover.dev/fleet"
)

// A rollout undo brings a mark back, however old; one of a sleep that may not be over stays in sight.
func TestOldMarksAreHidden(t *testing.T) {
	const first, second, third = "stg-20261101t190000", "stg-20261120t190000", "stg-20261121t190000"
	for what, tc := range map[string]struct {
		run    string
		off    bool
		record string
		hidden bool
	}{
		"of a sleep that is over":           {run: second, hidden: true},
		"of one that is over, and off":      {run: second, off: true, hidden: true},
		"of one that is kept no more":       {run: first, hidden: true},
		"of one that is kept no more, off":  {run: first, off: true},
		"of one that is kept no more, late": {run: first, record: third},
		"of the one under way":              {run: third, record: third},
		"of a later one":                    {run: third},
		"of a run that tells no time":       {run: "r-1"},
	} {
		e := fleet.Environment{Name: "stg", Sleeps: []fleet.Sleep{{Run: second}}}
		if tc.record != "" {
			e.Record = &fleet.SleepRecord{Run: tc.record}
		}
		s := &fleet.Snapshot{Environments: []fleet.Environment{e}, Parts: []fleet.Part{{Off: tc.off, Mark: &fleet.PartMark{Environment: "stg", Run: tc.run}}}}
		if hideOld(s); (s.Parts[0].Mark == nil) != tc.hidden {
			t.Errorf("%s: hidden %t", what, s.Parts[0].Mark == nil)
		}
	}
}
