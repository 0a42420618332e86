package env_test

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"drover.dev/env"
	"drover.dev/fleet"
)

// Switched to and fro, each left half done, and at last on: everything is as it was.
func TestDangerToAndFro(t *testing.T) {
	shared := func(s *fleet.Snapshot) {
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "stg-1")
	}
	three := func(s *fleet.Snapshot) {
		group(s, "two", 1, "two-1", "two-2", "two-3")
		s.Environments[0].Spec.Groups = []string{"stg", "two"}
	}
	low := 0.5
	lower := func(s *fleet.Snapshot) {
		s.Environments[0].Spec.Databases[0].Lower = &low
		s.Databases[0].MinACU, s.Databases[0].MaxACU = 4, 16
	}
	suspended := func(s *fleet.Snapshot) { s.Group("stg").Suspended = []string{"AZRebalance"} }
	protected := func(s *fleet.Snapshot) { s.Group("stg").Instances[0].Protected = true; shared(s) }
	data := func(s *fleet.Snapshot) {
		o := fleet.Owner{Kind: "StatefulSet", Namespace: "staging", Name: "db"}
		s.Parts = append(s.Parts, fleet.Part{Turn: fleet.Scaled, APIVersion: "apps/v1", Owner: o, UID: "uid-db", Value: "1", Ready: 1, Pods: 1, Claims: true})
		pod(s, o, "db-0", "stg-2")
		fleet.SortParts(s.Parts)
	}
	full := func(s *fleet.Snapshot) string {
		var b strings.Builder
		b.WriteString(tellState(s))
		for _, g := range s.Groups {
			for _, in := range g.Instances {
				if in.Protected {
					fmt.Fprintln(&b, "protected", in.ID)
				}
			}
		}
		for _, d := range s.Databases {
			fmt.Fprintln(&b, d.ID, d.MinACU)
		}
		return b.String()
	}
	bad := 0
	for name, changes := range map[string][]func(*fleet.Snapshot){"own": nil, "shared": {shared}, "three": {three, shared}, "gitops": {gitops("")}, "lower": {lower}, "suspended": {suspended, shared}, "protected": {protected}, "data": {data}} {
		for seed := range int64(60) {
			r := rand.New(rand.NewSource(seed))
			before := staging(changes...)
			s := staging(changes...)
			story := ""
			for range 1 + r.Intn(5) {
				n := r.Intn(45)
				if r.Intn(2) == 0 {
					p, found := stop(s)
					if b := blocking(found); b != "" {
						t.Fatalf("%s %d after %s: %s", name, seed, story, b)
					}
					s = env.AfterActions(p, *s, n)
					story += fmt.Sprint(" stop ", n)
				} else {
					p, _ := env.Start(s, "staging", env.Options{})
					s = env.AfterActions(p, *s, n)
					story += fmt.Sprint(" start ", n)
				}
			}
			p, found := env.Start(s, "staging", env.Options{})
			if len(p.Forecast.Stuck) > 0 || blocking(found) != "" {
				t.Errorf("%s %d%s: stuck: %v %s", name, seed, story, p.Forecast.Stuck, blocking(found))
				bad++
			}
			s = env.After(p, *s)
			got, want := full(s), full(before)
			if got != want {
				t.Errorf("%s %d%s:\n%s\nwant\n%s", name, seed, story, got, want)
				bad++
			}
			if e := s.Environments[0]; e.Record != nil {
				t.Errorf("%s %d%s: still on file", name, seed, story)
			}
			if bad > 4 {
				return
			}
		}
	}
}
