package evac

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"drover.dev/fleet"
)

// plainly is Preview without an index that is kept: every question is answered from the snapshot alone. It checks after every action that no
// budget is broken.
func plainly(t *testing.T, p Plan, s fleet.Snapshot) Forecast {
	t.Helper()
	w := &preview{s: s.Clone(), began: s.Now, out: Forecast{Moves: map[string]int{}}}
	w.estimate()
	w.underWay()
	for range 20_000 {
		step := Next(p, w.s)
		if step.Done {
			return w.out
		}
		progress := false
		for _, a := range step.Actions {
			progress = w.act(a) || progress
			for _, b := range w.s.Budgets {
				if b.Healthy < b.Desired {
					t.Fatalf("after %s: budget %s is broken: %d healthy, needs %d", a, b.Name, b.Healthy, b.Desired)
				}
			}
		}
		if !progress && !w.wait() {
			t.Fatalf("comes to a stand: %v", step.Holds)
		}
	}
	t.Fatal("does not end")
	return Forecast{}
}

// Any fleet, any surge: the run ends, breaks no budget, and moves every pod exactly once. And Preview, which keeps its index from tick to tick,
// tells of the same actions at the same moments as the plain way does.
func TestAnyFleetAnySurge(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			nodes := 3 + rng.IntN(10)
			w := town{nodes: nodes, groups: 1 + rng.IntN(2), workloads: 2 + rng.IntN(10), pods: nodes * (1 + rng.IntN(8)), zones: 1 + rng.IntN(3), odd: true,
				boot: time.Duration(20+rng.IntN(200)) * time.Second, drain: time.Duration(rng.IntN(90)) * time.Second}
			s := w.build(seed)
			p := w.plan(&s, Surge{Count: 1 + rng.IntN(nodes)})
			if len(p.Forecast.Stuck) > 0 {
				t.Fatalf("%+v comes to a stand: %v", w, p.Forecast.Stuck)
			}
			if p.Forecast.Took < p.Forecast.Bound {
				t.Errorf("took %s, but %s says no less than %s", p.Forecast.Took, p.Forecast.Path, p.Forecast.Bound)
			}
			left := map[string]bool{}
			for _, m := range p.Moves {
				left[m.Pod.UID] = true
			}
			for _, e := range p.Forecast.Events {
				if a := e.Action; a.Verb == fleet.Evict || a.Verb == fleet.Unsurge {
					if !left[a.Pod.UID] {
						t.Errorf("%s: it had moved before, or had no need to", a)
					}
					delete(left, a.Pod.UID)
				}
			}
			if len(left) > 0 {
				t.Errorf("%d pods never moved: %v", len(left), left)
			}
			same(t, p.Forecast.Events, plainly(t, p, s).Events)
		})
	}
}

func same(t *testing.T, got, want []Event) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = fmt.Sprint(got[i].After, " ", got[i].Action, ", ", got[i].Action.Why)
		}
		if i < len(want) {
			w = fmt.Sprint(want[i].After, " ", want[i].Action, ", ", want[i].Action.Why)
		}
		if g != w {
			t.Fatalf("action %d: with an index\n%s\nwithout\n%s", i, g, w)
		}
	}
}
