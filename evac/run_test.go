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

// settings prints everything of a world that a run may change, for nodes and instances that were there before.
func settings(s *fleet.Snapshot, old map[string]bool) string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, g := range s.Groups {
		say("group %s desired %d min %d max %d suspended %v mark %v", g.Name, g.Desired, g.Min, g.Max, g.Suspended, g.Mark)
		for _, in := range g.Instances {
			if old[in.ID] {
				say("instance %s %s %v", in.ID, in.Lifecycle, in.Targets)
			}
		}
	}
	for _, n := range s.Nodes {
		if !old[n.Instance] {
			n.Name = "new"
		}
		say("node %s taints %v kept %q %v out %q %v", n.Name, n.Taints, n.Kept, n.HeldDown, n.OutBy, n.Excluded)
	}
	for _, w := range s.Workloads {
		say("workload %s %d %v", w.Owner, w.Replicas, w.Surge)
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), "\n")
}

// play drives a plan until stop says so, or to its end; true means the end.
func play(t *testing.T, w *preview, p Plan, stop func(Step) bool) bool {
	t.Helper()
	for range 5000 {
		step := Next(p, w.s)
		if step.Diverged != "" {
			t.Fatal(step.Diverged)
		}
		w.out.Exceptions = step.Since(w.out.Exceptions)
		if step.Done {
			return true
		}
		if stop != nil && stop(step) {
			return false
		}
		progress := false
		for _, a := range step.Actions {
			progress = w.act(a) || progress
		}
		if !progress && !w.wait() {
			t.Fatalf("stuck: %v", step.Holds)
		}
	}
	t.Fatal("does not end")
	return false
}

func world(s fleet.Snapshot) *preview {
	w := &preview{s: s.Clone(), began: s.Now, out: Forecast{Moves: map[string]int{}}}
	w.estimate()
	return w
}

func oldOnes(s *fleet.Snapshot) map[string]bool {
	old := map[string]bool{}
	for _, in := range s.Groups[0].Instances {
		old[in.ID] = true
	}
	return old
}

// takeBack asks for the way back in the middle of a run, and goes it.
func takeBack(t *testing.T, w *preview) {
	t.Helper()
	r := Ongoing(&w.s, []string{"web"})
	if r == nil {
		return
	}
	if at := w.s.Rotation(r.Run); at != nil {
		at.Intent = fleet.Back
	}
	p, findings := Resume(&w.s, Ongoing(&w.s, []string{"web"}))
	if Blocked(findings) {
		t.Fatalf("blocked: %v", findings)
	}
	play(t, w, p, nil)
}

// Wherever a run is taken back, what it changed is as it was, to the byte.
func TestTakingBackRestoresExactly(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			s := web()
			s.Groups[0].Max = 6 + 1 + rng.IntN(6)
			surge := 1 + rng.IntN(s.Groups[0].Max-6)
			bake := time.Duration(seed%3) * 10 * time.Minute
			p := rotation(t, &s, Options{Run: "r-1", Criterion: "outdated", Surge: Surge{Count: surge}, Bake: bake})
			w := world(s)
			left := rng.IntN(120)
			done := play(t, w, p, func(step Step) bool { left--; return left < 0 })
			if done {
				return
			}
			closed := 6
			for _, in := range w.s.Groups[0].Instances {
				if !strings.HasPrefix(in.ID, "new-") && !in.Leaving() {
					closed--
				}
			}
			takeBack(t, w)
			// Taken back between a closing and the launch that would even it out, the zones stay uneven, and AZRebalance off: that is told.
			if g := &w.s.Groups[0]; Lopsided(g) && g.IsSuspended(fleet.AZRebalance) {
				if told := fmt.Sprint(w.out.Exceptions); !strings.Contains(told, "group web: AZRebalance stays suspended: the zones are uneven now ("+zones(g)+")") {
					t.Errorf("AZRebalance stays suspended, and of the exceptions none says so: %s", told)
				}
				g.Suspended = nil
			}
			if g := w.s.Groups[0]; len(g.Instances) != 6 {
				t.Errorf("%d instances", len(g.Instances))
			}
			old := oldOnes(&w.s)
			before := s.Clone()
			for id := range oldOnes(&s) {
				if w.s.Groups[0].Instance(id) == nil { // closed before: replaced for good
					before.Nodes = slices.DeleteFunc(before.Nodes, func(n fleet.Node) bool { return n.Instance == id })
					closed--
				}
			}
			if closed != 0 {
				t.Errorf("%d old nodes more are gone than when the way back began", -closed)
			}
			for _, in := range w.s.Groups[0].Instances {
				if strings.HasPrefix(in.ID, "new-") {
					before.Nodes = append(before.Nodes, fleet.Node{Name: "new", Instance: "new"})
					delete(old, in.ID)
				}
			}
			if got, want := settings(&w.s, old), settings(&before, old); got != want {
				t.Errorf("after the way back:\n%s\nbefore the run:\n%s", got, want)
			}
		})
	}
}

// With a bake, old nodes wait in Standby; rolled back, every one of them serves again and none of the new ones is left.
func TestRollbackWhileBaking(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{Run: "r-1", Criterion: "outdated", Bake: 30 * time.Minute})
	w := world(s)
	play(t, w, p, func(step Step) bool {
		return strings.Contains(fmt.Sprint(step.Holds), "kept in Standby for 30m0s more")
	})
	if n := len(w.s.Groups[0].Instances); n != 12 {
		t.Fatalf("%d instances while baking, want 6 old and 6 new", n)
	}
	takeBack(t, w)
	for _, in := range w.s.Groups[0].Instances {
		if strings.HasPrefix(in.ID, "new-") || in.Target(arn) != fleet.TargetHealthy {
			t.Errorf("instance %s is %s, target %s", in.ID, in.Lifecycle, in.Target(arn))
		}
	}
	if old := oldOnes(&s); settings(&w.s, old) != settings(&s, old) {
		t.Errorf("not as before:\n%s\nwant:\n%s", settings(&w.s, old), settings(&s, old))
	}
}

func TestBakeEnds(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{Run: "r-1", Criterion: "outdated", Bake: 30 * time.Minute})
	w := world(s)
	play(t, w, p, nil)
	done(t, w)
	if took := w.s.Now.Sub(w.began); took < 30*time.Minute {
		t.Errorf("took %s, less than the bake", took)
	}
}

// The canary goes alone; the rest only after the watch.
func TestCanaryGoesFirst(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{Run: "r-1", Criterion: "outdated", Canary: 5 * time.Minute})
	w := world(s)
	var passed time.Time
	first := ""
	play(t, w, p, func(step Step) bool {
		if r := w.s.Rotation("r-1"); r != nil && !r.Marks.Canary.IsZero() {
			passed = r.Marks.Canary.Add(5 * time.Minute)
		}
		for _, a := range step.Actions {
			early := passed.IsZero() || w.s.Now.Before(passed)
			if a.Verb == fleet.Evict && first == "" {
				first = a.Node
			}
			if early && a.Verb == fleet.Evict && a.Node != first || early && a.Verb == fleet.Resize && a.To > 7 {
				t.Fatalf("%s at %s: the canary has not passed", a, w.s.Now.Sub(w.began))
			}
		}
		return false
	})
	if passed.IsZero() {
		t.Error("no canary was noted")
	}
	done(t, w)
}

func TestPausesAndProbes(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{})
	w := world(s)
	play(t, w, p, func(step Step) bool {
		return slices.ContainsFunc(step.Actions, func(a fleet.Action) bool { return a.Verb == fleet.Evict })
	})
	for name, tc := range map[string]struct {
		change func(*fleet.Snapshot)
		want   string
	}{
		"run": {func(s *fleet.Snapshot) { s.Rotations[0].Paused = &fleet.Pause{By: "eve", Why: "incident 7"} }, "run r-1: paused by eve: incident 7; drover resume r-1"},
		"all": {func(s *fleet.Snapshot) { s.Stopped = &fleet.Pause{By: "eve"} }, "run r-1: everything is paused by eve; drover resume --all"},
		"probe": {func(s *fleet.Snapshot) {
			s.Probes = []fleet.Probe{{Name: "http://web", Why: "503", Falls: 1, Changed: s.Now}}
		}, "run r-1: health probe http://web is bad: 503; nothing moves until it is good again"},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.s.Clone()
			tc.change(&c)
			step := Next(p, c)
			if !strings.Contains(fmt.Sprint(step.Holds), tc.want) {
				t.Errorf("holds %v, want %s", step.Holds, tc.want)
			}
			for _, a := range step.Actions {
				if a.Verb == fleet.Evict || a.Verb == fleet.Surge || name != "probe" {
					t.Errorf("%s while stopped", a)
				}
			}
		})
	}
}

// Every time a probe turned bad halves the pace of each lane; quiet time doubles it again. One at a time is always possible.
func TestPaceHalves(t *testing.T) {
	s := web()
	for _, tc := range []struct {
		falls int
		quiet time.Duration
		free  int
	}{{0, 0, 8}, {1, 0, 4}, {2, 0, 2}, {4, 0, 1}, {2, 2 * time.Minute, 4}, {2, 5 * time.Minute, 8}} {
		s.Probes = []fleet.Probe{{Healthy: true, Falls: tc.falls, Changed: s.Now.Add(-tc.quiet)}}
		v := &tick{s: &s, plan: &Plan{}}
		if got := v.paced(opening{free: 8}); got.free != tc.free {
			t.Errorf("%d falls, quiet for %s: %d free, want %d", tc.falls, tc.quiet, got.free, tc.free)
		}
	}
}

func TestGuards(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{})
	w := world(s)
	play(t, w, p, func(step Step) bool {
		return slices.ContainsFunc(step.Actions, func(a fleet.Action) bool { return a.Verb == fleet.Evict })
	})
	for name, tc := range map[string]struct {
		change func(*fleet.Snapshot)
		want   string
	}{
		"the replacement is outdated": {func(s *fleet.Snapshot) {
			for i := range s.Groups[0].Instances {
				if in := &s.Groups[0].Instances[i]; strings.HasPrefix(in.ID, "new-") {
					in.Template.Version = "1"
				}
			}
		}, "is outdated itself (it runs launch template web:1"},
		"a pod comes to a closed node": {func(s *fleet.Snapshot) {
			p := s.Pods[0]
			p.Ref.UID, p.Created = "late", s.Now.Add(time.Minute)
			s.Pods = append(s.Pods, p)
		}, "came to node node-0 after the node was closed to pods: it would move twice"},
		"somebody takes it back": {func(s *fleet.Snapshot) { s.Rotations[0].Intent = fleet.Back }, "a person asked to take run r-1 back"},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.s.Clone()
			tc.change(&c)
			if step := Next(p, c); !strings.Contains(step.Diverged, tc.want) || len(step.Actions) > 0 {
				t.Errorf("diverged %q with %d actions, want %q", step.Diverged, len(step.Actions), tc.want)
			}
		})
	}
}

// A record that somebody deleted is made again from the marks, and the run can still be taken back.
func TestLostRecord(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{})
	w := world(s)
	play(t, w, p, func(step Step) bool {
		return slices.ContainsFunc(step.Actions, func(a fleet.Action) bool { return a.Verb == fleet.Evict })
	})
	w.s.Rotations = nil
	if r := Ongoing(&w.s, []string{"web"}); r == nil || r.Intent != fleet.Back || len(r.Exits) != 6 {
		t.Fatalf("found %+v", r)
	}
	takeBack(t, w)
	if old := oldOnes(&s); settings(&w.s, old) != settings(&s, old) {
		t.Errorf("not as before:\n%s", settings(&w.s, old))
	}
}

// A singleton and a workload whose budget never allows anything get their replacement first: they are never short of a Ready pod.
func TestNeverShort(t *testing.T) {
	s := web()
	s.Budgets[0].Desired, s.Budgets[0].Allowed = 6, 0
	p := rotation(t, &s, Options{})
	w := world(s)
	least := map[string]int{"http": 6, "single": 1}
	for range 5000 {
		step := Next(p, w.s)
		if step.Done {
			done(t, w)
			return
		}
		progress := false
		for _, a := range step.Actions {
			progress = w.act(a) || progress
			ready := map[string]int{}
			for _, p := range w.s.Pods {
				if p.Ready && !p.Terminating {
					ready[p.Owner.Name]++
				}
			}
			for name, n := range least {
				if ready[name] < n {
					t.Fatalf("after %s: %d of %d Ready pods of %s", a, ready[name], n, name)
				}
			}
		}
		if !progress && !w.wait() {
			t.Fatalf("stuck: %v", step.Holds)
		}
	}
}

// A managed node group is replaced as a whole, by a copy.
func TestManagedGroup(t *testing.T) {
	s := web()
	g := &s.Groups[0]
	g.Managed = &fleet.Managed{Cluster: "c", Status: active, Version: "1.33 / a", Latest: "1.33 / b"}
	p := rotation(t, &s, Options{Run: "r-20261121-200000-abc", Criterion: "outdated"})
	w := world(s)
	play(t, w, p, func(step Step) bool {
		for _, a := range step.Actions {
			switch a.Verb {
			case fleet.Terminate, fleet.Resize, fleet.Journal, fleet.Suspend:
				t.Fatalf("%s: that group is EKS's", a)
			case fleet.DeleteGroup:
				for _, q := range w.s.Pods {
					if n := w.s.Node(q.Node); q.Owner.Kind != "DaemonSet" && n != nil && s.NodeOf(n.Instance) != nil {
						t.Fatalf("%s: pod %s is still on it", a, q.Ref)
					}
				}
			}
		}
		return false
	})
	if len(w.s.Groups) != 1 || w.s.Groups[0].Name != "web-20261121-200000-abc" || len(w.s.Groups[0].Instances) != 6 {
		t.Errorf("groups %+v", w.s.Groups)
	}
}

func TestManagedGroupTakenBack(t *testing.T) {
	s := web()
	s.Groups[0].Managed = &fleet.Managed{Cluster: "c", Status: active, Version: "1.33 / a", Latest: "1.33 / b"}
	p := rotation(t, &s, Options{Run: "r-20261121-200000-abc", Criterion: "outdated"})
	for stop := range 60 {
		w := world(s)
		left := stop
		if play(t, w, p, func(Step) bool { left--; return left < 0 }) {
			return
		}
		if g := w.s.Group("web"); g == nil || g.Managed.Status == deleting {
			return
		}
		takeBack(t, w)
		if old := oldOnes(&s); settings(&w.s, old) != settings(&s, old) {
			t.Fatalf("stopped after %d steps, not as before:\n%s\nwant:\n%s", stop, settings(&w.s, old), settings(&s, old))
		}
	}
}

// Many workloads that do not become Ready have a cause in common; one has its own.
func TestReadiness(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{})
	late := func(owners ...string) fleet.Snapshot {
		c := s.Clone()
		c.Now = s.Now.Add(5 * time.Minute)
		for _, name := range owners {
			for i := range c.Pods {
				if q := &c.Pods[i]; q.Owner.Name == name {
					q.Ready, q.Created = false, s.Now.Add(time.Minute)
					break
				}
			}
		}
		return c
	}
	if ok, why := Readiness(p, late("http")); !ok {
		t.Error("one workload: ", why)
	}
	if ok, why := Readiness(p, late("http", "worker", "store")); ok || !strings.HasPrefix(why, "pods of 3 of 4 workloads are not Ready 2m0s after") {
		t.Errorf("three workloads: %v %s", ok, why)
	}
}

// With one node a zone, the canary goes although the zones are uneven meanwhile.
func TestCanaryOfOneNodeAZone(t *testing.T) {
	s := empty(web())
	s.Groups[0].Instances, s.Nodes = s.Groups[0].Instances[:3], s.Nodes[:3]
	s.Groups[0].Desired, s.Groups[0].Min = 3, 3
	for surge := range 4 {
		p := rotation(t, &s, Options{Run: "r-1", Criterion: "outdated", Canary: time.Minute, Surge: Surge{Count: surge}})
		if len(p.Forecast.Stuck) > 0 {
			t.Errorf("surge %d: %v", surge, p.Forecast.Stuck)
		}
	}
}
