package env_test

import (
	"fmt"
	"testing"

	"drover.dev/env"
	"drover.dev/fleet"
)

// Whichever copy is lost, at whatever moment: the others are enough.
func TestDangerOneCopyIsEnough(t *testing.T) {
	shared := func(s *fleet.Snapshot) {
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "stg-1")
	}
	lose := map[string]func(*fleet.Snapshot){
		"record": func(s *fleet.Snapshot) { s.Environments[0].Record = nil },
		"marks on parts": func(s *fleet.Snapshot) {
			for i := range s.Parts {
				s.Parts[i].Mark = nil
			}
		},
		"tags on groups": func(s *fleet.Snapshot) {
			for i := range s.Groups {
				s.Groups[i].Sleep = nil
			}
		},
		"tag on database": func(s *fleet.Snapshot) { s.Databases[0].Mark = "" },
		"record and group tags": func(s *fleet.Snapshot) {
			s.Environments[0].Record = nil
			for i := range s.Groups {
				s.Groups[i].Sleep = nil
			}
		},
	}
	bad := map[string]int{}
	for kind, changes := range map[string][]func(*fleet.Snapshot){"own": nil, "shared": {shared}, "gitops": {gitops("")}} {
		for what, gone := range lose {
			for _, archived := range []bool{false, true} {
				if what == "record and group tags" && !archived {
					continue
				}
				for n := 4; n < 60; n++ {
					s := staging(changes...)
					p, _ := stop(s)
					events := len(p.Forecast.Events)
					var copies []fleet.SleepRecord
					if n < events {
						s = env.AfterActions(p, *s, n)
					} else {
						s = env.After(p, *s)
						up, _ := env.Start(s, "staging", env.Options{})
						if n-events >= len(up.Forecast.Events) {
							break
						}
						s = env.AfterActions(up, *s, n-events)
					}
					if s.Environments[0].Record == nil {
						break
					}
					if archived {
						copies = []fleet.SleepRecord{p.Record}
					}
					gone(s)
					made, _ := env.Repair(s, "staging", copies)
					if made.Record.Run != "" {
						rec := made.Record.Clone()
						s.Environments[0].Record = &rec
					}
					up, _ := env.Start(s, "staging", env.Options{})
					s = env.After(up, *s)
					if got, want := tellState(s), tellState(staging(changes...)); got != want {
						key := fmt.Sprint(kind, " ", what, " archived ", archived)
						if bad[key]++; bad[key] == 1 {
							t.Errorf("%s lost after %d actions (of %d), archived %v, %s: stuck %v\n%s\nwant\n%s", what, n, events, archived, kind, up.Forecast.Stuck, got, want)
						}
					}
				}
			}
		}
	}
	t.Log(bad)
}
