package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

func TestPlanTable(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*fleet.Snapshot)
		o      evac.Options
		stuck  string
	}{
		{name: "good", change: func(*fleet.Snapshot) {}, o: evac.Options{Canary: 10 * time.Minute, Bake: time.Hour, Probes: []string{"https://shop.example.com/healthz"}}},
		{name: "blocked", change: func(s *fleet.Snapshot) { s.Groups[0].Max = 4; s.Pods[0].Owner, s.Pods[0].Budgets = fleet.Owner{}, nil }},
		{name: "stuck", change: func(*fleet.Snapshot) {}, stuck: "budget shop/api: 4 healthy, needs 4, allows 0; 6 pods wait"},
		{name: "warned", change: func(s *fleet.Snapshot) { s.Pods[1].Local = "emptyDir cache"; s.Pods[1].Grace = 20 * time.Minute }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := shop()
			tc.change(&s)
			p, findings := planned(t, &s, tc.o)
			d := describe(&p, findings, "cluster shop, account 000000000000, eu-west-1")
			d.Hash, d.Forecast = "0123456789ab", forecastDoc{Seconds: 120, Bound: 96, Path: "budget shop/api: 6 pods, 2 at a time", Surge: 0.1, Peak: 6, After: []string{"group web: AZRebalance stays suspended, as it was"}}
			if tc.stuck != "" {
				d.Forecast = forecastDoc{Stuck: []string{tc.stuck}}
			}
			var b strings.Builder
			planTable(&b, &d)
			golden(t, "testdata/plan-"+tc.name+".txt", b.String())
		})
	}
}

func TestRefusalsAreToldOncePerWorkload(t *testing.T) {
	s := shop()
	p, _ := planned(t, &s, evac.Options{})
	refused := map[fleet.PodRef]string{}
	for _, m := range p.Moves[:3] {
		refused[m.Pod] = "held by its owner: admission webhook guard says: no"
	}
	refused[p.Moves[3].Pod] = "the budget does not allow it now: needs 4 healthy"
	got := refusals(&p, refused)
	if len(got) != 1 || got[0].Blocks || !strings.HasSuffix(got[0].Subject, "and 2 more of Deployment shop/api") {
		t.Errorf("got %+v", got)
	}
}

func TestPodsThatAreNotEvictedAreNotTried(t *testing.T) {
	s := shop()
	s.Pods[0].Finished = true
	s.Pods[1].Terminating = true
	s.Pods[2].Budgets = []string{"shop/api", "shop/other"}
	p, _ := planned(t, &s, evac.Options{})
	if got := tried(&s, &p); len(got) != 3 || slices.ContainsFunc(got, func(r fleet.PodRef) bool { return r.Name < "api-3" }) {
		t.Errorf("tries %v, want the last 3 of 6", got)
	}
	s.Budgets[0].Desired = 6 // never
	if got := tried(&s, &p); len(got) != 0 {
		t.Errorf("tries %v under a budget that never allows any", got)
	}
}

func TestFewOfAlikePodsAreTried(t *testing.T) {
	s := shop()
	p, _ := planned(t, &s, evac.Options{Force: true})
	if got := tried(&s, &p); len(got) != alikeTries {
		t.Errorf("tries %d of six alike, want %d", len(got), alikeTries)
	}
	s.Pods[0].Budgets = nil // another kind
	if got := tried(&s, &p); len(got) != alikeTries+1 {
		t.Errorf("tries %d, want %d", len(got), alikeTries+1)
	}
	for i := range s.Pods {
		s.Pods[i].Owner, s.Pods[i].Budgets = fleet.Owner{}, nil // nobody's: none is like another
	}
	if got := tried(&s, &p); len(got) != 6 {
		t.Errorf("tries %d, want all 6", len(got))
	}
}

func TestTriesThatAreCutShortAreTold(t *testing.T) {
	if got := untried(6, 6); got != nil {
		t.Errorf("all were tried, and yet %v", got)
	}
	got := untried(300, 412)
	if len(got) != 1 || got[0].Blocks || !strings.Contains(got[0].Reason, "300 of 412 pods were tried") || fleet.RuleOf(got[0].Code).Blocks != "no" {
		t.Errorf("got %+v", got)
	}
}
