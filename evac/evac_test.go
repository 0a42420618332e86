package evac

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/depart"
	"drover.dev/fleet"
)

var start = time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)

const (
	gib = 1 << 30
	arn = "arn:web"
)

// web is a group of 6 outdated nodes in 3 zones, with an HTTP service under a budget, a workload without one, a singleton, a StatefulSet
// and a DaemonSet.
func web() fleet.Snapshot {
	s := fleet.Snapshot{Now: start}
	g := fleet.Group{
		Name: "web", Min: 6, Max: 12, Desired: 6, Zones: []string{"a", "b", "c"},
		Wants:   []fleet.Template{{ID: "lt-1", Name: "web", Version: "2"}},
		Targets: []fleet.TargetGroup{{ARN: arn, Name: "web", Delay: 20 * time.Second, Warmup: 10 * time.Second}},
	}
	for i := range 6 {
		zone := g.Zones[i%3]
		in := fleet.Instance{
			ID: fmt.Sprintf("i-%d", i), Zone: zone, Type: "m5.large", Lifecycle: fleet.InService, Launched: start.Add(-time.Hour),
			Template: fleet.Template{ID: "lt-1", Name: "web", Version: "1"}, Targets: []fleet.Target{{Group: arn, State: fleet.TargetHealthy}},
		}
		g.Instances = append(g.Instances, in)
		s.Nodes = append(s.Nodes, fleet.Node{
			Name: fmt.Sprintf("node-%d", i), Instance: in.ID, Zone: zone, Ready: true, Changed: start.Add(-time.Hour + 40*time.Second),
			Room: fleet.Resources{CPU: 2000, Memory: 8 * gib, Pods: 29}, Labels: map[string]string{"zone": zone},
		})
	}
	s.Groups = []fleet.Group{g}
	add := func(kind, name string, replicas int, cpu int64, budget *fleet.Budget) {
		o := fleet.Owner{Kind: kind, Namespace: "default", Name: name}
		if kind != "DaemonSet" {
			s.Workloads = append(s.Workloads, fleet.Workload{Owner: o, Replicas: replicas})
		}
		for i := range replicas {
			p := fleet.Pod{
				Ref: fleet.PodRef{Namespace: "default", Name: fmt.Sprintf("%s-%d", name, i), UID: fmt.Sprintf("uid-%s-%d", name, i)}, Owner: o,
				Node: fmt.Sprintf("node-%d", i%6), Ready: true, Created: start.Add(-time.Hour), ReadySince: start.Add(-time.Hour + 5*time.Second),
				Grace: 30 * time.Second, PreStop: 3 * time.Second, Requests: fleet.Resources{CPU: cpu, Memory: gib / 8, Pods: 1},
			}
			if budget != nil {
				p.Budgets = []string{budget.Name}
			}
			s.Pods = append(s.Pods, p)
		}
		if budget != nil {
			budget.Healthy, budget.Expected, budget.Allowed = replicas, replicas, replicas-budget.Desired
			s.Budgets = append(s.Budgets, *budget)
		}
	}
	add("Deployment", "http", 6, 300, &fleet.Budget{Name: "default/http", Desired: 5})
	add("Deployment", "worker", 12, 150, nil)
	add("Deployment", "single", 1, 100, nil)
	add("StatefulSet", "store", 3, 200, &fleet.Budget{Name: "default/store", Desired: 2})
	add("DaemonSet", "agent", 6, 50, nil)
	return s
}

func rotation(t *testing.T, s *fleet.Snapshot, o Options) Plan {
	t.Helper()
	p, findings := try(t, s, o)
	if Blocked(findings) {
		t.Fatalf("blocked: %v", findings)
	}
	return p
}

func try(t *testing.T, s *fleet.Snapshot, o Options) (Plan, []fleet.Finding) {
	t.Helper()
	if o.Run == "" {
		o.Run, o.Criterion = "r-1", string(depart.Outdated)
	}
	d, err := depart.Rotate(s, []string{"web"}, depart.Criterion{Kind: depart.Kind(o.Criterion)})
	if err != nil {
		t.Fatal(err)
	}
	return Make(s, []string{"web"}, d, o)
}

// safety is the list of sentences that must hold after every action.
type safety struct {
	allowed  map[string]bool // nodes and instances of the plan
	evicted  map[string]bool // pods by UID
	old      map[string]bool // nodes that were there before
	baseline int
}

func watch(s *fleet.Snapshot, p Plan) *safety {
	w := &safety{allowed: map[string]bool{}, evicted: map[string]bool{}, old: map[string]bool{}, baseline: s.Groups[0].Desired}
	for _, e := range p.Exits {
		w.allowed[e.Node], w.allowed[e.Instance] = true, true
	}
	for _, n := range s.Nodes {
		w.old[n.Name] = true
	}
	return w
}

func (w *safety) check(t *testing.T, s *fleet.Snapshot, a fleet.Action) {
	t.Helper()
	switch a.Verb {
	case fleet.Evict:
		if !w.allowed[a.Node] {
			t.Fatalf("%s: that node is not in the plan", a)
		}
		if strings.HasPrefix(a.Pod.UID, "pod-") {
			t.Fatalf("%s: that pod has moved before", a)
		}
		for _, n := range s.Nodes {
			if w.allowed[n.Name] && (n.Mark() == nil || n.Mark().Effect != fleet.NoSchedule) {
				t.Fatalf("%s: while node %s still takes pods", a, n.Name)
			}
		}
		w.evicted[a.Pod.UID] = true
	case fleet.Terminate:
		if !w.allowed[a.Instance] {
			t.Fatalf("%s: not in the plan", a)
		}
		if left := newIndex(s).movable(s.Node(a.Node)); len(left) > 0 {
			t.Fatalf("%s: pods are still on it: %v", a, left[0].Ref)
		}
		if n := s.Node(a.Node); n != nil && (n.Mark() == nil || n.Mark().Effect != fleet.NoSchedule) {
			t.Fatalf("%s: it still takes pods", a)
		}
		if state := s.Groups[0].Instance(a.Instance).Target(arn); state != fleet.TargetUnused {
			t.Fatalf("%s: it is still %s at the load balancer", a, state)
		}
	case fleet.Taint_:
		if !w.allowed[a.Node] {
			t.Fatalf("%s: not in the plan", a)
		}
	}
}

func (w *safety) after(t *testing.T, s *fleet.Snapshot, a fleet.Action) {
	t.Helper()
	for _, b := range s.Budgets {
		if b.Healthy < b.Desired {
			t.Fatalf("after %s: budget %s is broken: %d healthy, needs %d", a, b.Name, b.Healthy, b.Desired)
		}
	}
	if g := s.Groups[0]; g.Desired < w.baseline || g.Desired > g.Max {
		t.Fatalf("after %s: desired is %d, outside %d..%d", a, g.Desired, w.baseline, g.Max)
	}
	healthy, working := 0, 0
	for i := range s.Groups[0].Instances {
		in := &s.Groups[0].Instances[i]
		if n := s.NodeOf(in.ID); in.Lifecycle == fleet.InService && n != nil && n.Ready {
			working++
		}
		if in.Target(arn) == fleet.TargetHealthy {
			healthy++
		}
	}
	if healthy == 0 {
		t.Fatalf("after %s: no healthy target left", a)
	}
	if working < w.baseline {
		t.Fatalf("after %s: %d nodes work, before the run it was %d", a, working, w.baseline)
	}
}

// drive folds Next over the optimistic world one action at a time, with the plan made anew before each when remake is set, as a process that
// is killed after every action would.
func drive(t *testing.T, s fleet.Snapshot, o Options, remake bool, rng *rand.Rand) *preview {
	t.Helper()
	p := rotation(t, &s, o)
	w := &preview{s: s.Clone(), began: s.Now, out: Forecast{Moves: map[string]int{}}}
	w.estimate()
	if rng != nil {
		w.tie = func() bool { return rng.IntN(2) == 0 }
	}
	guard := watch(&s, p)
	for range 5000 {
		if remake {
			r := Ongoing(&w.s, []string{"web"})
			switch {
			case r == nil && len(w.out.Events) > 0:
				return w
			case r != nil:
				p, _ = Resume(&w.s, r)
			}
		}
		step := Next(p, w.s)
		if step.Diverged != "" {
			t.Fatal(step.Diverged)
		}
		if step.Done {
			return w
		}
		w.out.Exceptions = step.Since(w.out.Exceptions)
		actions := step.Actions
		if rng != nil {
			rng.Shuffle(len(actions), func(i, j int) { actions[i], actions[j] = actions[j], actions[i] })
		}
		progress := false
		for _, a := range actions {
			guard.check(t, &w.s, a)
			if w.act(a) {
				progress = true
				guard.after(t, &w.s, a)
				if remake || rng != nil && rng.IntN(3) == 0 {
					break // killed, or the rest of the step comes late
				}
			}
		}
		if !progress && !w.wait() {
			t.Fatalf("stuck: %v", step.Holds)
		}
	}
	t.Fatal("does not end")
	return nil
}

// done checks what must be true of the world at the end.
func done(t *testing.T, w *preview) {
	t.Helper()
	g := w.s.Groups[0]
	if g.Desired != 6 || len(g.Instances) != 6 {
		t.Errorf("desired %d with %d instances, want 6 and 6", g.Desired, len(g.Instances))
	}
	for _, in := range g.Instances {
		if !strings.HasPrefix(in.ID, "new-") {
			t.Errorf("old instance %s is still there", in.ID)
		}
	}
	if g.Mark != nil || len(g.Suspended) > 0 {
		t.Errorf("not restored: mark %v, suspended %v, zones %s", g.Mark, g.Suspended, zones(&g))
	}
	for _, n := range w.s.Nodes {
		if n.Kept != "" || n.HeldDown {
			t.Errorf("node %s is still kept from cluster-autoscaler", n.Name)
		}
	}
	if got, want := fmt.Sprint(w.out.Moves), "map[Deployment default/http:6 Deployment default/single:1 Deployment default/worker:12 StatefulSet default/store:3]"; got != want {
		t.Errorf("moves %s, want %s", got, want)
	}
}

func TestRotationMovesEveryPodOnce(t *testing.T) {
	for _, surge := range []Surge{{}, {Count: 1}, {Count: 2}, {Count: 6}, {Percent: 10}} {
		t.Run(fmt.Sprintf("surge %+v", surge), func(t *testing.T) {
			w := drive(t, web(), Options{Surge: surge}, false, nil)
			done(t, w)
			if len(w.s.Groups[0].Suspended) > 0 {
				t.Errorf("the zones are uneven: %s", zones(&w.s.Groups[0]))
			}
		})
	}
}

func TestRotationGoesOnAfterEveryAction(t *testing.T) {
	done(t, drive(t, web(), Options{}, true, nil))
	done(t, drive(t, web(), Options{Surge: Surge{Count: 1}}, true, nil))
}

func TestRotationInAnyOrder(t *testing.T) {
	uneven := 0
	for seed := range uint64(80) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			surge := Surge{Count: 1 + rng.IntN(6)}
			w := drive(t, web(), Options{Surge: surge}, seed%2 == 0, rng)
			// Some orders of closings and ties leave no even way out when surge is no multiple of the zones. Then AZRebalance must stay off.
			if g := &w.s.Groups[0]; surge.Count%3 != 0 && Lopsided(g) && g.IsSuspended(fleet.AZRebalance) {
				if uneven++; !strings.Contains(fmt.Sprint(w.out.Exceptions), "group web: AZRebalance stays suspended: the zones are uneven now") {
					t.Errorf("nobody was told: %v", w.out.Exceptions)
				}
				g.Suspended = nil
			}
			done(t, w)
		})
	}
	if uneven > 8 {
		t.Errorf("%d of 80 runs ended with uneven zones", uneven)
	}
}

func TestForecastAgreesWithTheRun(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{})
	if len(p.Forecast.Stuck) > 0 {
		t.Fatalf("stuck: %v", p.Forecast.Stuck)
	}
	w := drive(t, web(), Options{}, false, nil)
	if took := w.s.Now.Sub(w.began); took != p.Forecast.Took {
		t.Errorf("run took %s, forecast %s", took, p.Forecast.Took)
	}
	if p.Forecast.Took < time.Minute || p.Forecast.Took > 10*time.Minute {
		t.Errorf("forecast of %s is not of this world", p.Forecast.Took)
	}
	if p.Forecast.Peak != 9 {
		t.Errorf("peak of %d instances, want 9", p.Forecast.Peak)
	}
}

func TestFindingsThatBlock(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*fleet.Snapshot)
		want   string
	}{
		{"max too small", func(s *fleet.Snapshot) { s.Groups[0].Max = 7 }, "group web: max 7 is too small: desired 6 + surge 3 = 9; use --surge 1, or raise the group's max to 9"},
		{"max without room", func(s *fleet.Snapshot) { s.Groups[0].Max = 6 }, "group web: max 6 is too small: desired 6 + surge 3 = 9; raise the group's max to 9"},
		{"budget never allows", func(s *fleet.Snapshot) { s.Budgets[1].Desired = 3 }, "budget default/store: can never allow a disruption: it wants 3 healthy of the 3 pods it counts, and a StatefulSet pod keeps its name, so its replacement cannot come first; lower minAvailable (or raise maxUnavailable), or run one replica more"},
		{"two budgets", func(s *fleet.Snapshot) { s.Pods[0].Budgets = append(s.Pods[0].Budgets, "default/all") }, "pod default/http-0: is covered by 2 PodDisruptionBudgets (default/http, default/all); the eviction API refuses such pods always; leave one PodDisruptionBudget that selects it"},
		{"nobody's pod", func(s *fleet.Snapshot) { s.Pods[0].Owner = fleet.Owner{} }, "pod default/http-0: has no controller: evicted, it is gone for good; delete it yourself, give it a controller, or pass --force"},
		{"tolerates everything", func(s *fleet.Snapshot) { s.Pods[0].Tolerations = []fleet.Toleration{{Exists: true}} }, "pod default/http-0: tolerates every taint, so its replacement could come back to a node that is leaving, again and again; narrow the toleration of Deployment default/http"},
		{"another run's node", func(s *fleet.Snapshot) {
			s.Nodes[0].Taints = []fleet.Taint{{Key: fleet.TaintKey, Value: "r-0", Effect: fleet.NoSchedule}}
			s.Groups = append(s.Groups, fleet.Group{Name: "api", Mark: &fleet.GroupMark{Run: "r-0"}})
		}, "node node-0: is leaving with run r-0 of group api; finish that run first: drover rotate api"},
		{"standby", func(s *fleet.Snapshot) { s.Groups[0].Instances[5].Lifecycle = "Standby" }, "instance i-5: is in Standby: group web does not count it, and drover could not tell when it is wanted again; put it back into service or end it first"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := web()
			tc.change(&s)
			_, problems := try(t, &s, Options{})
			problems = slices.DeleteFunc(problems, func(f fleet.Finding) bool { return !f.Blocks })
			if len(problems) != 1 || problems[0].String() != tc.want {
				t.Errorf("got %v\nwant %s", problems, tc.want)
			}
		})
	}
}

func TestFrame(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{})
	for name, tc := range map[string]struct {
		change func(*fleet.Snapshot)
		want   string
	}{
		"deleted":        {func(s *fleet.Snapshot) { s.Groups = nil }, "group web no longer exists"},
		"other run":      {func(s *fleet.Snapshot) { s.Groups[0].Mark = &fleet.GroupMark{Run: "r-9"} }, "group web now carries the mark of run r-9"},
		"other template": {func(s *fleet.Snapshot) { s.Groups[0].Wants = []fleet.Template{{ID: "lt-1", Name: "web", Version: "3"}} }, "group web now launches launch template web:3, the plan was made for launch template web:2"},
	} {
		t.Run(name, func(t *testing.T) {
			w := s.Clone()
			tc.change(&w)
			if step := Next(p, w); !strings.HasPrefix(step.Diverged, tc.want) || len(step.Actions) > 0 {
				t.Errorf("diverged %q with %d actions, want %q and none", step.Diverged, len(step.Actions), tc.want)
			}
		})
	}
}

func TestReckon(t *testing.T) {
	for _, tc := range []struct {
		name                           string
		desired, left, back            int
		markDesired, from, set, marked int
	}{
		{"as set", 9, 6, 6, 6, 6, 9, 6},
		{"two closed", 7, 4, 6, 6, 6, 9, 6},
		{"journaled, not raised", 6, 6, 6, 6, 6, 9, 6},
		{"journaled, not raised, one closed meanwhile", 6, 3, 6, 6, 7, 9, 4},
		{"somebody raised by two", 11, 6, 8, 6, 6, 9, 6},
		{"somebody took back a part of the surge", 7, 6, 6, 6, 6, 9, 6},
		{"somebody typed four", 4, 6, 4, 6, 6, 9, 6},
		{"journaled after others took two away", 5, 4, 6, 6, 5, 7, 4},
		{"somebody closed a new node at the minimum", 5, 1, 5, 6, 6, 7, 1},
		{"an exit was ended by others", 9, 5, 6, 6, 6, 9, 6},
	} {
		g := fleet.Group{Desired: tc.desired, Mark: &fleet.GroupMark{Desired: tc.markDesired, From: tc.from, Set: tc.set, Left: tc.marked}}
		if got := reckon(&g, tc.left); got != tc.back {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.back)
		}
	}
}

// Somebody raises desired by two in the middle of a run: the run ends two higher, and both wishes are met.
func TestDesiredOfOthers(t *testing.T) {
	for _, other := range []struct{ change, want int }{{2, 8}, {-1, 6}} {
		s := web()
		s.Groups[0].Min = 3
		p := rotation(t, &s, Options{})
		w := &preview{s: s.Clone(), began: s.Now, out: Forecast{Moves: map[string]int{}}}
		w.estimate()
		evicted := 0
		for ticks := 0; ; ticks++ {
			step := Next(p, w.s)
			if step.Done {
				break
			}
			progress := false
			for _, a := range step.Actions {
				progress = w.act(a) || progress
				if a.Verb != fleet.Evict {
					continue
				}
				if evicted++; evicted == 1 {
					w.s.Groups[0].Desired += other.change
					for range other.change {
						w.launch("web")
					}
				}
			}
			if !progress && !w.wait() || ticks > 2000 {
				t.Fatalf("stuck: %v", step.Holds)
			}
		}
		if got := w.s.Groups[0].Desired; got != other.want {
			t.Errorf("changed by %d: desired is %d in the end, want %d", other.change, got, other.want)
		}
	}
}

func TestDrainEmptiesAndStays(t *testing.T) {
	s := web()
	d, err := depart.Drain(&s, "node-1", false)
	if err != nil {
		t.Fatal(err)
	}
	p, problems := Make(&s, nil, []fleet.Departure{d}, Options{Run: "r-2"})
	if Blocked(problems) {
		t.Fatal(problems)
	}
	if len(p.Forecast.Stuck) > 0 {
		t.Fatalf("stuck: %v", p.Forecast.Stuck)
	}
	var verbs []string
	for _, e := range p.Forecast.Events {
		verbs = append(verbs, string(e.Action.Verb))
		if e.Action.Node != "node-1" {
			t.Errorf("%s: touches another node", e.Action)
		}
	}
	slices.Sort(verbs)
	if got, want := fmt.Sprint(verbs), "[evict evict evict evict taint]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
