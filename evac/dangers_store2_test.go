package evac

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

var layouts = map[string]func(s *fleet.Snapshot){
	"seed": func(s *fleet.Snapshot) { seed(s) },
	"free": func(s *fleet.Snapshot) {
		st := seed(s)
		for i := range st.Members {
			st.Members[i].Pinned = false
		}
	},
	"fenced": func(s *fleet.Snapshot) {
		st := seed(s)
		for i := range st.Members {
			st.Members[i].Fence = fleet.Fence{Replicas: 1, Lag: 10}
		}
	},
	"floor": func(s *fleet.Snapshot) { seed(s).Spec.Floor = 1 },
	"three": func(s *fleet.Snapshot) { three(s) },
	"three-prio": func(s *fleet.Snapshot) {
		st := three(s)
		st.Member("redis-other-0").Priority = 50
		for i := range st.Sentinels {
			lists(st, &st.Sentinels[i])
		}
	},
	"three-zero": func(s *fleet.Snapshot) {
		st := three(s)
		st.Member("redis-other-0").Priority = 0
		for i := range st.Sentinels {
			lists(st, &st.Sentinels[i])
		}
	},
	"alone": func(s *fleet.Snapshot) {
		st := seed(s)
		st.Members, st.Spec.Replicas = st.Members[:1], 1
		st.Members[0].Replicas = nil
		for i := range st.Sentinels {
			lists(st, &st.Sentinels[i])
		}
	},
	"shared nodes": func(s *fleet.Snapshot) {
		st := seed(s)
		for i := range st.Sentinels {
			st.Sentinels[i].Node = fmt.Sprint("node-", i)
			podNamed(s, st.Sentinels[i].Pod.Name).Node = fmt.Sprint("node-", i)
		}
	},
	"one node": func(s *fleet.Snapshot) {
		st := seed(s)
		for i := range st.Sentinels {
			st.Sentinels[i].Node = "node-0"
			podNamed(s, st.Sentinels[i].Pod.Name).Node = "node-0"
		}
		for i := range st.Members {
			st.Members[i].Node = "node-0"
			podNamed(s, st.Members[i].Pod.Name).Node = "node-0"
		}
	},
	"ring1": func(s *fleet.Snapshot) { ring(s, 1) },
	"ring0": func(s *fleet.Snapshot) { ring(s, 0) },
	"ring2": func(s *fleet.Snapshot) {
		st := ring(s, 1)
		for i, ref := range pods(s, "ring-c", "node-1", "node-2", "node-0") {
			of := fmt.Sprintf("ring-a-%d", i)
			id := "id-" + ref.Name
			m := fleet.Member{Pod: ref, Node: podNamed(s, ref.Name).Node, Known: []string{ref.Name + ":6379"}, Ready: true, Role: fleet.RoleReplica, Master: of + ":6379", Link: true, ID: id, StateOK: true, Migration: true, Keys: 5}
			m.View = []fleet.Peer{{ID: id, Address: m.Known[0], Self: true, Role: fleet.RoleReplica, Of: "id-" + of}}
			st.Members = append(st.Members, m)
		}
		st.Spec.Replicas = 9
		acquaint(st)
	},
	"ring-always": func(s *fleet.Snapshot) { ring(s, 1).Spec.Failback = fleet.FailbackAlways },
	"ring-floor":  func(s *fleet.Snapshot) { ring(s, 1).Spec.Floor = 1 },
	"ring one node": func(s *fleet.Snapshot) {
		st := ring(s, 1)
		for i := range st.Members {
			n := fmt.Sprint("node-", i%3)
			st.Members[i].Node = n
			podNamed(s, st.Members[i].Pod.Name).Node = n
		}
	},
	"both": func(s *fleet.Snapshot) { seed(s); ring(s, 1) },
	"script": func(s *fleet.Snapshot) {
		st := seed(s)
		st.Mover, st.Sentinels, st.Spec.Watchers = fleet.ScriptMover, nil, 0
		st.Spec.Hooks = map[string]string{fleet.HookPre: "http://:1/", fleet.HookReady: "http://:1/", fleet.HookPost: "http://:1/"}
	},
}

// rest compares every setting of the stores, whoever has which role.
func atRestNow(s *fleet.Snapshot) string {
	var out []string
	for i := range s.Stores {
		st := &s.Stores[i]
		if st.Move != nil {
			out = append(out, fmt.Sprintf("%s: move of %s", st.Name, st.Move.Pod.Name))
		}
		n := 0
		for j := range st.Members {
			m := &st.Members[j]
			n++
			if m.Temp {
				out = append(out, m.Pod.Name+" is left")
			}
			out = append(out, fmt.Sprintf("%s %v %d %v", m.Pod.Name, m.Fence, m.Priority, m.Migration))
			for _, p := range m.View {
				if newClusterKeeper(&keeper{st: st}).owner[p.ID] == nil {
					out = append(out, m.Pod.Name+" knows "+p.ID)
				}
			}
		}
		for j := range st.Sentinels {
			w := &st.Sentinels[j]
			if why := (&sentinelKeeper{&keeper{st: st}}).staleEntry(w); why != "" {
				out = append(out, w.Pod.Name+" lists "+why)
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func TestDangerLayoutsForecast(t *testing.T) {
	for name, lay := range layouts {
		t.Run(name, func(t *testing.T) {
			s := web()
			lay(&s)
			want := atRestNow(&s)
			p, findings := try(t, &s, Options{})
			if Blocked(findings) {
				t.Fatal(findings)
			}
			if len(p.Forecast.Stuck) > 0 {
				t.Errorf("stuck: %v", p.Forecast.Stuck)
			}
			n := map[fleet.Verb]int{}
			for _, e := range p.Forecast.Events {
				if e.Action.Store != "" {
					n[e.Action.Verb]++
				}
			}
			w := world(s)
			playOn(t, w, p, nil)
			if got := atRestNow(&w.s); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			t.Log(p.Forecast.Took, n)
		})
	}
}

// Wherever a run is taken back, its stores are as they were.
func TestDangerLayoutsBack(t *testing.T) {
	for name, lay := range layouts {
		t.Run(name, func(t *testing.T) {
			for n := 0; n < 4000; n += 61 { // every 61st tick; all of them pass, in minutes
				s := web()
				lay(&s)
				want := atRestNow(&s)
				p := rotation(t, &s, Options{})
				w := world(s)
				left := n
				ended := playOn(t, w, p, func(step Step) bool { left--; return left < 0 })
				if ended {
					return
				}
				moving := ""
				for i := range w.s.Stores {
					if m := w.s.Stores[i].Move; m != nil {
						moving = m.Pod.Name
					}
				}
				ok := t.Run(fmt.Sprint(n), func(t *testing.T) { backOn(t, w) })
				if got := atRestNow(&w.s); got != want || !ok {
					t.Fatalf("taken back after %d steps, while %q moved: got\n%s\nwant\n%s", n, moving, got, want)
				}
			}
		})
	}
}

// playOn is play that looks again when a step says so.
func playOn(t *testing.T, w *preview, p Plan, stop func(Step) bool) bool {
	t.Helper()
	idle := 0
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
		w.schedule()
		if progress {
			idle = 0
			continue
		}
		if !step.Again.IsZero() && idle < 400 {
			idle++
			w.after(max(step.Again.Sub(w.s.Now), time.Millisecond), func() {})
		}
		if !w.wait() {
			t.Fatalf("stuck: %v", step.Holds)
		}
	}
	t.Fatal("does not end")
	return false
}

func backOn(t *testing.T, w *preview) {
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
	playOn(t, w, p, nil)
}
