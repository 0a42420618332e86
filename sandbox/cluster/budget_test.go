package cluster

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

var app = fleet.Term{{Key: "app", Operator: "In", Values: []string{"api"}}}

// TestHowBudgetsCount holds the figures that the disruption controller would show for a workload of n replicas with some of them Ready.
func TestHowBudgetsCount(t *testing.T) {
	for _, c := range []struct {
		least, most     string
		replicas, ready int
		want            fleet.Budget
	}{
		{"2", "", 3, 3, fleet.Budget{Allowed: 1, Healthy: 3, Desired: 2, Expected: 3}},
		{"2", "", 3, 1, fleet.Budget{Allowed: 0, Healthy: 1, Desired: 2, Expected: 3}},
		{"50%", "", 3, 3, fleet.Budget{Allowed: 1, Healthy: 3, Desired: 2, Expected: 3}},
		{"100%", "", 3, 3, fleet.Budget{Allowed: 0, Healthy: 3, Desired: 3, Expected: 3}},
		{"0", "", 1, 1, fleet.Budget{Allowed: 1, Healthy: 1, Desired: 0, Expected: 1}},
		{"", "1", 5, 5, fleet.Budget{Allowed: 1, Healthy: 5, Desired: 4, Expected: 5}},
		{"", "1", 5, 3, fleet.Budget{Allowed: 0, Healthy: 3, Desired: 4, Expected: 5}},
		{"", "30%", 5, 5, fleet.Budget{Allowed: 2, Healthy: 5, Desired: 3, Expected: 5}},
		{"", "0", 2, 2, fleet.Budget{Allowed: 0, Healthy: 2, Desired: 2, Expected: 2}},
		{"", "9", 2, 2, fleet.Budget{Allowed: 2, Healthy: 2, Desired: 0, Expected: 2}},
	} {
		l := newLab(t, Options{})
		l.nodes(3)
		l.must(l.Protect(BudgetSpec{Name: "web/api", Match: app, MinAvailable: c.least, MaxUnavailable: c.most}))
		o := l.apply(deployment("api", c.replicas))
		l.rest()
		for _, p := range l.Pods(o)[c.ready:] {
			l.must(l.SetPodReady(p.Ref, false))
		}
		c.want.Name = "web/api"
		l.equal(fmt.Sprintf("minAvailable %q maxUnavailable %q", c.least, c.most), l.budget("web/api"), c.want)
	}
}

func TestBudgetsThatCannotBe(t *testing.T) {
	l := newLab(t, Options{})
	for _, s := range []BudgetSpec{{Name: "web/x"}, {Name: "web/x", MinAvailable: "1", MaxUnavailable: "1"}, {Name: "x", MinAvailable: "1"}, {Name: "web/x", MinAvailable: "some"}, {Name: "web/x", MinAvailable: "101%"}} {
		if err := l.Protect(s); err == nil {
			t.Errorf("%+v was taken", s)
		}
	}
}

func TestEviction(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(3)
	l.must(l.Protect(BudgetSpec{Name: "web/api", Match: app, MaxUnavailable: "1"}))
	o := l.apply(deployment("api", 3))
	l.rest()
	pods := l.Pods(o)
	l.must(l.evictPod(pods[0]))
	l.equal("charged at once", l.budget("web/api").Allowed, 0)
	l.refused(l.evictPod(pods[1]), "The disruption budget api needs 2 healthy pods and has 2 currently")
	l.must(l.evictPod(pods[0])) // it is on its way out already
	l.equal("once", len(l.Ledger().Evictions), 1)
	l.rest()
	l.must(l.evictPod(pods[0])) // gone
	l.must(l.Protect(BudgetSpec{Name: "web/all", MinAvailable: "1"}))
	l.equal("budgets", l.Pods(o)[0].Budgets, []string{"web/all", "web/api"})
	l.refused(l.evictPod(pods[1]), "more than one PodDisruptionBudget covers the pod")
	l.Unprotect("web/all")
	l.must(l.Hold(o, "a failover is under way"))
	l.refused(l.evictPod(pods[1]), "held by its owner: admission webhook api.web says: a failover is under way")
	l.must(l.Hold(o, ""))
	l.must(l.evictPod(pods[1]))
	l.equal("breaches", len(l.Ledger().Breaches), 0)
}

func TestRebornPodsAreLeftAlone(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(1)
	s := deployment("db", 1)
	s.Owner.Kind = "StatefulSet"
	o := l.apply(s)
	l.rest()
	old := l.Pods(o)[0]
	l.must(l.evictPod(old))
	l.rest()
	l.must(l.evictPod(old))
	l.equal("the new one", ready(l.Pods(o))[0].Ref.Name, "db-0")
	l.equal("evictions", len(l.Ledger().Evictions), 1)
}

// TestUnhealthyPods: what does not serve may go when the budget is healthy anyway, or when the policy says so.
func TestUnhealthyPods(t *testing.T) {
	for _, c := range []struct {
		unready int
		always  bool
		ok      bool
	}{{1, false, true}, {2, false, false}, {2, true, true}} {
		l := newLab(t, Options{})
		l.nodes(3)
		l.must(l.Protect(BudgetSpec{Name: "web/api", Match: app, MinAvailable: "2", AlwaysAllow: c.always}))
		o := l.apply(deployment("api", 3))
		l.rest()
		pods := l.Pods(o)
		for _, p := range pods[:c.unready] {
			l.must(l.SetPodReady(p.Ref, false))
		}
		if err := l.evictPod(pods[0]); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestPendingPodsNeedNoBudget(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.Protect(BudgetSpec{Name: "web/api", Match: app, MaxUnavailable: "0"}))
	o := l.apply(deployment("api", 1))
	l.must(l.evictPod(l.Pods(o)[0]))
	l.equal("evictions", len(l.Ledger().Evictions), 1)
}

// recountBudgets is the dumb twin of tally for Deployments: it looks at the snapshot alone.
func recountBudgets(s *fleet.Snapshot, specs map[string]BudgetSpec) map[string]fleet.Budget {
	out := map[string]fleet.Budget{}
	for name, spec := range specs {
		b := fleet.Budget{Name: name}
		owners := map[fleet.Owner]bool{}
		pods, scale := 0, 0
		for i := range s.Pods {
			p := &s.Pods[i]
			if len(p.Budgets) != 1 || p.Budgets[0] != name {
				continue
			}
			pods++
			owners[p.Owner] = true
			if p.Ready && !p.Terminating {
				b.Healthy++
			}
		}
		for _, w := range s.Workloads {
			if owners[w.Owner] {
				scale += w.Replicas
			}
		}
		n := 0
		percent := strings.HasSuffix(spec.MinAvailable+spec.MaxUnavailable, "%")
		fmt.Sscanf(spec.MinAvailable+spec.MaxUnavailable, "%d", &n)
		b.Expected = scale
		if percent {
			up := 0
			for up*100 < n*b.Expected {
				up++
			}
			n = up
		}
		switch {
		case spec.MaxUnavailable != "":
			b.Desired = max(b.Expected-n, 0)
		case percent:
			b.Desired = n
		default:
			b.Expected, b.Desired = pods, n
		}
		if b.Expected > 0 && b.Healthy > b.Desired {
			b.Allowed = b.Healthy - b.Desired
		}
		out[name] = b
	}
	return out
}

// TestBudgetsHoldWhateverHappens evicts, kills, scales and waits at random. The figures must be the twin's at every moment, the API must allow
// exactly what they say, and no eviction may break a budget.
func TestBudgetsHoldWhateverHappens(t *testing.T) {
	bounds := []BudgetSpec{{MinAvailable: "2"}, {MinAvailable: "60%"}, {MaxUnavailable: "1"}, {MaxUnavailable: "25%"}, {MinAvailable: "100%"}}
	for seed := range uint64(80) {
		dice := rand.New(rand.NewPCG(seed, 11))
		l := newLab(t, Options{Seed: int64(seed)})
		l.nodes(4)
		specs := map[string]BudgetSpec{}
		for i, b := range bounds {
			name := fmt.Sprint("w", i)
			b.Name, b.Match = "web/"+name, fleet.Term{{Key: "app", Operator: "In", Values: []string{name}}}
			specs[b.Name] = b
			l.must(l.Protect(b))
			s := small(name, 1+dice.IntN(5))
			s.Start, s.Stop = time.Duration(1+dice.IntN(20))*time.Second, time.Duration(1+dice.IntN(5))*time.Second
			l.apply(s)
		}
		for range 120 {
			var s fleet.Snapshot
			l.must(l.Observe(t.Context(), &s))
			want := recountBudgets(&s, specs)
			for _, b := range s.Budgets {
				if b != want[b.Name] {
					t.Fatalf("seed %d: %+v, want %+v", seed, b, want[b.Name])
				}
			}
			switch dice.IntN(5) {
			case 0:
				w := s.Workloads[dice.IntN(len(s.Workloads))]
				l.must(l.Scale(w.Owner, dice.IntN(6)))
			case 1:
				l.wait(time.Duration(dice.IntN(10)) * time.Second)
			case 2:
				if len(s.Pods) > 0 {
					l.must(l.SetPodReady(s.Pods[dice.IntN(len(s.Pods))].Ref, dice.IntN(2) == 0))
				}
			default:
				if len(s.Pods) > 0 {
					p := s.Pods[dice.IntN(len(s.Pods))]
					b := want[p.Budgets[0]]
					free := p.Terminating || p.Node == "" || b.Allowed > 0 || !p.Ready && b.Desired > 0 && b.Healthy >= b.Desired
					if err := l.evictPod(p); (err == nil) != free {
						t.Fatalf("seed %d: %+v of %+v: %v", seed, p.Ref, b, err)
					}
				}
			}
		}
		for _, b := range l.Ledger().Breaches {
			if strings.Contains(b.Cause, "evicted") {
				t.Fatalf("seed %d: %s", seed, b)
			}
		}
	}
}
