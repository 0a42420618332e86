package evac

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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

// The index that is told of every change knows what one made anew would: at any moment of a run.
func TestKeptIndexKnowsTheSame(t *testing.T) {
	for seed := range uint64(12) {
		w := town{nodes: 10, groups: 2, workloads: 12, pods: 90, zones: 3, boot: 90 * time.Second, drain: 30 * time.Second, odd: true}
		s := w.build(seed)
		p := w.plan(&s, Surge{Count: 2})
		for part := range time.Duration(8) {
			kept := &preview{s: s.Clone(), began: s.Now, plan: &p, out: Forecast{Moves: map[string]int{}}}
			kept.keepIndex()
			kept.estimate()
			kept.count()
			for o := range kept.begin {
				kept.begin[o] = 7 * time.Minute // slower than ever seen, and than patience
			}
			knows(&p, kept.index()) // so that all there is to keep is kept
			kept.until(p.Forecast.Took * part / 8)
			if got, want := knows(&p, kept.index()), knows(&p, newIndex(&kept.s)); got != want {
				t.Fatalf("seed %d, after %d/8: kept\n%s\nanew\n%s", seed, part, got, want)
			}
		}
	}
}

// knows prints what an index knows of nodes, workloads and lanes.
func knows(p *Plan, ix *index) string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for i := range ix.s.Nodes {
		n := &ix.s.Nodes[i]
		r := ix.resident(n, ix.seat(n.Name))
		names := ""
		for _, pod := range r.pods {
			names += " " + pod.Ref.Name
		}
		say("node %s is at %p, of %p, uses %v, shape %q, needs %v for %d, has%s", n.Name, ix.node[n.Name], ix.instance[n.Instance].in, ix.beside[i].used, ix.beside[i].shapeOf(n, ix.asked), r.need, len(r.homeless), names)
	}
	for _, w := range ix.workloads {
		say("%s wants %d: %d ready, %d alive, %d stuck, %d warming, starts in %s; short %v", w.owner, w.replicas, w.ready, w.alive, w.stuck, w.warming, w.begins(), ix.short[w])
	}
	v := &tick{plan: p, outline: outlineOf(p)}
	v.renew(ix)
	v.look()
	var all []*exit
	for i := range v.exits {
		if len(v.exits[i].pods) > 0 {
			all = append(all, &v.exits[i])
		}
	}
	for _, x := range v.loads(all) {
		say("%s, each %s, for one %s", x, x.each, x.sample.Ref)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// Where moments are rounded up, whoever may move is told once a moment: the run still ends, moves every pod once, and is no faster than it can be.
func TestCoarseMoments(t *testing.T) {
	for seed := range uint64(20) {
		w := town{nodes: 9, groups: 1 + int(seed%2), workloads: 10, pods: 70, zones: 1 + int(seed%3), boot: 90 * time.Second, drain: 30 * time.Second, odd: true}
		s := w.build(seed)
		p := w.plan(&s, Surge{Count: 3})
		coarse := &preview{s: s.Clone(), began: s.Now, plan: &p, grid: 10 * time.Second, out: Forecast{Moves: map[string]int{}}}
		coarse.keepIndex()
		coarse.estimate()
		coarse.count()
		coarse.underWay()
		coarse.run()
		if len(coarse.out.Stuck) > 0 {
			t.Fatalf("seed %d: comes to a stand: %v", seed, coarse.out.Stuck)
		}
		moved := map[string]int{}
		for _, e := range coarse.out.Events {
			if e.Action.Verb == fleet.Evict || e.Action.Verb == fleet.Unsurge {
				moved[e.Action.Pod.UID]++
			}
		}
		for _, m := range p.Moves {
			if moved[m.Pod.UID] != 1 {
				t.Errorf("seed %d: pod %s moved %d times", seed, m.Pod, moved[m.Pod.UID])
			}
		}
		if took := coarse.s.Now.Sub(coarse.began); took < p.Forecast.Bound || took > p.Forecast.Took*3/2 {
			t.Errorf("seed %d: took %s, finely %s, at least %s", seed, took, p.Forecast.Took, p.Forecast.Bound)
		}
	}
}

// What a tick has weighed of a group is corrected when an exit begins to leave; weighed anew it is the same.
func TestWeightsAreKept(t *testing.T) {
	for seed := range uint64(10) {
		w := town{nodes: 12, groups: 2, workloads: 8, pods: 50, zones: 3, boot: 90 * time.Second, drain: 30 * time.Second}
		s := w.build(seed)
		p := w.plan(&s, Surge{Count: 3})
		at := &preview{s: s.Clone(), began: s.Now, plan: &p, out: Forecast{Moves: map[string]int{}}}
		at.keepIndex()
		at.estimate()
		at.count()
		at.until(p.Forecast.Took / 2)
		v := newTick(&p, &at.s)
		v.look()
		for i := range v.exits {
			e := &v.exits[i]
			if v.noRoom[e.Instance] = i%2 == 1; v.noRoom[e.Instance] {
				v.reweigh()
			}
			weighed(v, e.group)
			v.begin(e)
			got := weighed(v, e.group)
			v.weights = map[string]*weight{}
			if want := weighed(v, e.group); got != want {
				t.Fatalf("seed %d, %s leaves: kept %s, anew %s", seed, e.Name(), got, want)
			}
		}
	}
}

func weighed(v *tick, g *fleet.Group) string {
	b, w := v.balance(g), v.weigh(g)
	out := fmt.Sprint(w.back, w.need, w.working, b.zones)
	for _, z := range g.Zones {
		out += fmt.Sprint(" ", b.mayLose(z))
	}
	return out
}
