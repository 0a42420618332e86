package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drover.dev/depart"
	"drover.dev/evac"
	"drover.dev/fleet"
)

// world is a small cluster with memory, time and failures: two nodes, and a Deployment of four pods on the first.
type world struct {
	mu      sync.Mutex
	s       fleet.Snapshot
	stale   time.Duration // how old what Observe shows is
	history []fleet.Snapshot
	acts    map[string]int
	fail    func(a fleet.Action, nth int) error
	blind   int // observations that go wrong
	changed chan struct{}

	published []fleet.Progress
}

func newWorld() *world {
	w := &world{acts: map[string]int{}, changed: make(chan struct{}, 1)}
	o := fleet.Owner{Kind: "Deployment", Namespace: "default", Name: "api"}
	for i := range 2 {
		w.s.Nodes = append(w.s.Nodes, fleet.Node{Name: fmt.Sprintf("node-%d", i), Ready: true, Room: fleet.Resources{CPU: 4000, Memory: 1 << 34, Pods: 20}})
	}
	for i := range 4 {
		w.s.Pods = append(w.s.Pods, fleet.Pod{
			Ref: fleet.PodRef{Namespace: "default", Name: fmt.Sprintf("api-%d", i), UID: fmt.Sprintf("uid-%d", i)}, Node: "node-0", Owner: o, Ready: true,
			Requests: fleet.Resources{CPU: 100, Pods: 1}, Budgets: []string{"default/api"}, Grace: 30 * time.Second,
		})
	}
	w.s.Workloads = []fleet.Workload{{Owner: o, Replicas: 4}}
	w.s.Budgets = []fleet.Budget{{Name: "default/api", Allowed: 2, Healthy: 4, Desired: 2, Expected: 4}}
	return w
}

func (w *world) Groups(context.Context, []string) ([]fleet.Group, error) { return nil, nil }
func (w *world) Targets(context.Context) (map[string][]fleet.Target, []fleet.TargetGroup, error) {
	return nil, nil, nil
}
func (w *world) Publish(_ context.Context, p fleet.Progress) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.published = append(w.published, p)
	return nil
}
func (w *world) Changed() <-chan struct{}                    { return w.changed }
func (w *world) Confirm(context.Context, fleet.Action) error { return nil }

func (w *world) Observe(_ context.Context, s *fleet.Snapshot) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.blind > 0 {
		w.blind--
		return errors.New("connection refused")
	}
	seen := w.s.Clone()
	seen.Now = s.Now
	w.history = append(w.history, seen)
	for i := len(w.history) - 1; i >= 0; i-- {
		if s.Now.Sub(w.history[i].Now) >= w.stale || i == 0 {
			seen = w.history[i].Clone()
			break
		}
	}
	s.Nodes, s.Pods, s.Budgets, s.Workloads = seen.Nodes, seen.Pods, seen.Budgets, seen.Workloads
	return nil
}

func (w *world) Act(_ context.Context, a fleet.Action) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := a.Key()
	w.acts[key]++
	if w.fail != nil {
		if err := w.fail(a, w.acts[key]); err != nil {
			return err
		}
	}
	evac.Assume(&w.s, a)
	if a.Verb == fleet.Evict {
		time.AfterFunc(2*time.Second, func() { w.replace(a.Pod.UID) })
	}
	return nil
}

// replace lets an evicted pod go and its replacement be ready on the other node.
func (w *world) replace(uid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.s.Pods {
		if p := &w.s.Pods[i]; p.Ref.UID == uid {
			p.Ref.UID, p.Ref.Name, p.Node, p.Terminating = uid+"-new", p.Ref.Name+"-new", "node-1", false
			w.s.Budgets[0].Allowed++
		}
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// drain runs the drain of node-0 and returns what was noted.
func (w *world) drain(t *testing.T, ctx context.Context) ([]Note, error) {
	t.Helper()
	s := w.s.Clone()
	s.Now = time.Now()
	d, err := depart.Drain(&s, "node-0", false)
	if err != nil {
		t.Fatal(err)
	}
	p, problems := evac.Make(&s, nil, []fleet.Departure{d}, evac.Options{Run: "r-1"})
	if evac.Blocked(problems) {
		t.Fatal(problems)
	}
	var notes []Note
	e := &Engine{Cloud: w, Cluster: w, Note: func(n Note) { notes = append(notes, n) }, Now: time.Now, CloudEvery: 2 * time.Second}
	_, err = e.Run(ctx, p)
	return notes, err
}

func (w *world) empty(t *testing.T) {
	t.Helper()
	for _, p := range w.s.Pods {
		if p.Node == "node-0" {
			t.Errorf("pod %s is still there", p.Ref)
		}
	}
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		if _, err := w.drain(t, t.Context()); err != nil {
			t.Fatal(err)
		}
		w.empty(t)
	})
}

func TestStaleReadsAskForNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.stale = 5 * time.Second
		if _, err := w.drain(t, t.Context()); err != nil {
			t.Fatal(err)
		}
		w.empty(t)
		for key, n := range w.acts {
			if n > 1 {
				t.Errorf("%s was asked for %d times", key, n)
			}
		}
	})
}

func TestRefusalsAreTriedAgainAndNotedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fail = func(a fleet.Action, nth int) error {
			if a.Verb == fleet.Evict && a.Pod.UID == "uid-0" && nth < 5 {
				return &fleet.Refused{Reason: "the budget says no", Wait: 3 * time.Second}
			}
			return nil
		}
		notes, err := w.drain(t, t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.empty(t)
		refusals := 0
		for _, n := range notes {
			if n.Err != nil {
				refusals++
			}
		}
		if refusals != 1 || w.acts["evict uid-0"] != 5 {
			t.Errorf("noted %d times, tried %d times; want 1 and 5", refusals, w.acts["evict uid-0"])
		}
	})
}

func TestLostRepliesDoNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fail = func(a fleet.Action, nth int) error {
			if nth > 1 {
				return nil
			}
			evac.Assume(&w.s, a) // done, and the reply is lost
			if a.Verb == fleet.Evict {
				time.AfterFunc(2*time.Second, func() { w.replace(a.Pod.UID) })
			}
			return errors.New("unexpected EOF")
		}
		if _, err := w.drain(t, t.Context()); err != nil {
			t.Fatal(err)
		}
		w.empty(t)
	})
}

func TestFatalEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fail = func(a fleet.Action, _ int) error { return &fleet.Fatal{Err: errors.New("credentials expired")} }
		_, err := w.drain(t, t.Context())
		var fatal *fleet.Fatal
		if !errors.As(err, &fatal) || len(w.acts) != 1 {
			t.Errorf("%v after %d actions", err, len(w.acts))
		}
	})
}

func TestTroubleInObservingIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.blind = 4
		began := time.Now()
		notes, err := w.drain(t, t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.empty(t)
		if waited := time.Since(began); waited < 15*time.Second {
			t.Errorf("asked again too fast: four failures were over in %s", waited)
		}
		if len(notes) == 0 || notes[0].Err == nil {
			t.Error("nobody was told")
		}
	})
}

func TestHoldsAreToldWhenTheyLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.s.Budgets[0].Allowed = 0
		time.AfterFunc(time.Minute, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.s.Budgets[0].Allowed = 2
		})
		notes, err := w.drain(t, t.Context())
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		for _, n := range notes {
			if n.Hold != nil && n.Hold.Subject == "budget default/api" {
				told++
			}
		}
		if told < 2 || told > 3 {
			t.Errorf("a minute's hold was told %d times, want 2 or 3", told)
		}
	})
}

func TestTheEndOfTheContextEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.s.Budgets[0].Allowed = 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := w.drain(t, ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// flaky is a health probe that says what it is told to.
type flaky struct{ bad bool }

func (f *flaky) Name() string { return "flaky" }
func (f *flaky) Ask(context.Context) (bool, string) {
	if f.bad {
		return false, "503"
	}
	return true, "200"
}

// A bad health probe stops all moves, says so, and the run goes on when it is good again.
func TestProbesStopTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		f := &flaky{bad: true}
		time.AfterFunc(40*time.Second, func() { f.bad = false })
		s := w.s.Clone()
		s.Now = time.Now()
		d, err := depart.Drain(&s, "node-0", false)
		if err != nil {
			t.Fatal(err)
		}
		p, _ := evac.Make(&s, nil, []fleet.Departure{d}, evac.Options{Run: "r-1"})
		began, said := time.Now(), false
		var first time.Duration
		e := &Engine{Cloud: w, Cluster: w, Now: time.Now, CloudEvery: 2 * time.Second, Probes: []Prober{f}, Note: func(n Note) {
			if n.Action != nil && n.Action.Verb == fleet.Evict && n.Err == nil && first == 0 {
				first = time.Since(began)
			}
			said = said || n.Hold != nil && n.Hold.String() == "node node-0: health probe flaky is bad: 503; nothing moves until it is good again"
		}}
		l, err := e.Run(t.Context(), p)
		if err != nil || !said || first < 40*time.Second || l.Moved != 4 {
			t.Errorf("%v; said so: %v; first eviction after %s; %d moved", err, said, first, l.Moved)
		}
	})
}
