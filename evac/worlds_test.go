package evac

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/depart"
	"drover.dev/fleet"
)

// empty removes all pods that move, so that every old node is empty from the start.
func empty(s fleet.Snapshot) fleet.Snapshot {
	s.Pods = slices.DeleteFunc(s.Pods, func(p fleet.Pod) bool { return p.Owner.Kind != "DaemonSet" })
	s.Workloads, s.Budgets = nil, nil
	return s
}

func TestEmptyNodesGoOnlyAsOthersArrive(t *testing.T) {
	for n := range 6 {
		w := drive(t, empty(web()), Options{Surge: Surge{Count: n + 1}}, false, nil)
		if g := w.s.Groups[0]; len(g.Instances) != 6 {
			t.Errorf("surge %d: %d instances", n+1, len(g.Instances))
		}
	}
}

// stand drives a rotation in a world where something never happens, checks that nothing was closed or deregistered, and returns the holds.
func stand(t *testing.T, s fleet.Snapshot, never func(w *preview)) []fleet.Hold {
	t.Helper()
	p := rotation(t, &s, Options{})
	w := &preview{s: s.Clone(), began: s.Now, out: Forecast{Moves: map[string]int{}}}
	w.estimate()
	guard := watch(&s, p)
	for range 1000 {
		never(w)
		step := Next(p, w.s)
		progress := false
		for _, a := range step.Actions {
			guard.check(t, &w.s, a)
			if progress = w.act(a) || progress; a.Verb == fleet.Terminate || a.Verb == fleet.Deregister {
				t.Fatalf("%s, although the replacements are of no use", a)
			}
			guard.after(t, &w.s, a)
		}
		if !progress && !w.wait() {
			return step.Holds
		}
	}
	t.Fatal("does not come to a stand")
	return nil
}

func TestInstancesThatNeverBoot(t *testing.T) {
	holds := stand(t, empty(web()), func(w *preview) { w.boot["web"] = 1000 * time.Hour; w.later = nil })
	if !strings.Contains(fmt.Sprint(holds), "without it 5 nodes of group web would work, it needs 6") {
		t.Error(holds)
	}
}

func TestNewTargetsThatStayInitial(t *testing.T) {
	stand(t, empty(web()), func(w *preview) {
		for i := range w.s.Groups[0].Instances {
			if in := &w.s.Groups[0].Instances[i]; strings.HasPrefix(in.ID, "new-") && len(in.Targets) > 0 {
				in.Targets[0].State = fleet.TargetInitial
			}
		}
	})
}

// The last healthy target stays, however many nodes are empty at once.
func TestNewTargetsThatAreUnhealthy(t *testing.T) {
	s := empty(web())
	p := rotation(t, &s, Options{})
	w := &preview{s: s.Clone(), began: s.Now, out: Forecast{Moves: map[string]int{}}}
	w.estimate()
	guard := watch(&s, p)
	for range 1000 {
		for i := range w.s.Groups[0].Instances {
			if in := &w.s.Groups[0].Instances[i]; strings.HasPrefix(in.ID, "new-") && len(in.Targets) > 0 {
				in.Targets[0].State = "unhealthy"
			}
		}
		step := Next(p, w.s)
		progress := false
		for _, a := range step.Actions {
			guard.check(t, &w.s, a)
			progress = w.act(a) || progress
			guard.after(t, &w.s, a)
		}
		if !progress && !w.wait() {
			return
		}
	}
	t.Fatal("does not come to a stand")
}

// A kind that drover does not know, an Argo Rollout say, is paced by the pods it has.
func TestUnknownOwners(t *testing.T) {
	s := web()
	for i := range s.Pods {
		if s.Pods[i].Owner.Name == "worker" {
			s.Pods[i].Owner.Kind = "Rollout"
		}
	}
	p := rotation(t, &s, Options{})
	w := &preview{s: s.Clone(), began: s.Now, out: Forecast{Moves: map[string]int{}}}
	w.estimate()
	for range 2000 {
		step := Next(p, w.s)
		if step.Done {
			return
		}
		progress := false
		for _, a := range step.Actions {
			progress = w.act(a) || progress
			ready := 0
			for _, p := range w.s.Pods {
				if p.Owner.Kind == "Rollout" && p.Ready && !p.Terminating {
					ready++
				}
			}
			if ready < 11 {
				t.Fatalf("after %s: %d of 12 ready", a, ready)
			}
		}
		if !progress && !w.wait() {
			t.Fatalf("stuck: %v", step.Holds)
		}
	}
}

// A node whose kubelet is gone confirms nothing; closing it is what fences it.
func TestDeadNodeLeaves(t *testing.T) {
	s := web()
	s.Nodes[0].Ready = false
	for i := range s.Pods {
		if p := &s.Pods[i]; p.Node == "node-0" && p.Stays() == "" {
			p.Ready, p.Terminating, p.Deleted = false, true, start.Add(-time.Minute)
		}
	}
	p := rotation(t, &s, Options{})
	var closing []string
	for range 12 { // record, journal, suspend, taint, raise, exclude, deregister
		for _, a := range Next(p, s).Actions {
			Assume(&s, a)
			if a.Verb == fleet.Deregister || a.Verb == fleet.Terminate {
				closing = append(closing, a.Instance)
			}
		}
	}
	if fmt.Sprint(closing) != "[i-0]" {
		t.Errorf("closing %v, want the dead one alone", closing)
	}
}

// Worlds that are odd, and ordinary: each has to come to its end.
func TestOddWorlds(t *testing.T) {
	for name, change := range map[string]func(*fleet.Snapshot){
		"nodes with a taint of their own": func(s *fleet.Snapshot) {
			for i := range s.Nodes {
				s.Nodes[i].Taints = []fleet.Taint{{Key: "dedicated", Value: "web", Effect: fleet.NoSchedule}}
			}
			for i := range s.Pods {
				s.Pods[i].Tolerations = []fleet.Toleration{{Key: "dedicated", Exists: true}}
			}
		},
		"a node that stays was broken before": func(s *fleet.Snapshot) {
			s.Groups[0].Instances[5].Template.Version = "2"
			s.Nodes[5].Ready = false
			s.Pods = slices.DeleteFunc(s.Pods, func(p fleet.Pod) bool { return p.Node == "node-5" && p.Owner.Kind != "DaemonSet" })
			for i := range s.Workloads {
				if s.Workloads[i].Owner.Name != "single" && s.Workloads[i].Owner.Name != "store" {
					s.Workloads[i].Replicas -= s.Workloads[i].Replicas / 6
				}
			}
			s.Budgets[0].Desired, s.Budgets[0].Healthy = 4, 5
		},
		"a zone that the load balancer does not serve": func(s *fleet.Snapshot) {
			for i := range s.Groups[0].Instances {
				if in := &s.Groups[0].Instances[i]; in.Zone == "c" {
					in.Targets = nil
				}
			}
		},
		"an idle target group": func(s *fleet.Snapshot) {
			for i := range s.Groups[0].Instances {
				s.Groups[0].Instances[i].Targets = nil
			}
		},
		"no zones": func(s *fleet.Snapshot) {
			s.Groups[0].Zones = nil
			for i := range s.Groups[0].Instances {
				s.Groups[0].Instances[i].Zone = ""
			}
		},
		"a replica that is never ready": func(s *fleet.Snapshot) {
			for i := range s.Pods {
				if s.Pods[i].Ref.Name == "worker-0" {
					s.Pods[i].Ready, s.Pods[i].Unready = false, start.Add(-30*time.Minute)
				}
			}
		},
		"one node": func(s *fleet.Snapshot) {
			s.Groups[0].Instances, s.Nodes = s.Groups[0].Instances[:1], s.Nodes[:1]
			s.Groups[0].Desired, s.Groups[0].Min = 1, 1
			*s = empty(*s)
			s.Pods = s.Pods[:1]
		},
	} {
		t.Run(name, func(t *testing.T) {
			for surge := range 4 {
				s := web()
				change(&s)
				p := rotation(t, &s, Options{Surge: Surge{Count: surge}})
				if len(p.Forecast.Stuck) > 0 {
					t.Errorf("surge %d comes to a stand: %v", surge, p.Forecast.Stuck)
				}
			}
		})
	}
}

// A pod that is not ready serves nobody: it may leave although its budget allows nothing because of it.
func TestUnreadyPodUnderAnExhaustedBudget(t *testing.T) {
	s := web()
	s.Pods[0].Ready = false
	s.Budgets[0].Healthy, s.Budgets[0].Allowed = 5, 0
	p := rotation(t, &s, Options{})
	if len(p.Forecast.Stuck) > 0 {
		t.Fatalf("stuck: %v", p.Forecast.Stuck)
	}
	ix := newIndex(&s)
	if o := ix.opening(laneOf(&s.Pods[0]), &s.Pods[0]); !o.spare || o.free > 0 {
		t.Errorf("%+v", o)
	}
}

// Who comes to an old node after the plan was made is not evicted unasked.
func TestLatecomersAreChecked(t *testing.T) {
	s := web()
	d, err := depart.Drain(&s, "node-1", false)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := Make(&s, nil, []fleet.Departure{d}, Options{Run: "r-1"})
	s.Pods = append(s.Pods, fleet.Pod{Ref: fleet.PodRef{Namespace: "default", Name: "debug", UID: "uid-debug"}, Node: "node-1", Ready: true})
	for range 3 {
		step := Next(p, s)
		for _, a := range step.Actions {
			if a.Pod.Name == "debug" {
				t.Fatalf("%s: nobody would bring it back", a)
			}
			Assume(&s, a)
		}
		if len(step.Actions) > 0 && step.Actions[0].Verb == fleet.Evict && !strings.Contains(fmt.Sprint(step.Holds), "default/debug: stays on node-1: has no controller") {
			t.Errorf("holds: %v", step.Holds)
		}
	}
}

// A refused pod does not take its lane's turn from others.
func TestRefusedPodsLetOthersGo(t *testing.T) {
	s := web()
	for i := range s.Nodes[:5] {
		s.Nodes[i].Taints = []fleet.Taint{{Key: fleet.TaintKey, Value: "r-1", Effect: fleet.NoSchedule}}
	}
	s.Pods[0].Refused = "held by its owner"
	var d []fleet.Departure
	for i := range 5 {
		d = append(d, fleet.Departure{Node: s.Nodes[i].Name, Instance: s.Nodes[i].Instance, Cause: fleet.Drain})
	}
	p, _ := Make(&s, nil, d, Options{Run: "r-1"})
	step := Next(p, s)
	evicted := ""
	for _, a := range step.Actions {
		if strings.HasPrefix(a.Pod.Name, "http-") {
			evicted += a.Pod.Name
		}
	}
	if evicted == "" || strings.Contains(evicted, "http-0") {
		t.Errorf("evicted %q of the lane, holds %v", evicted, step.Holds)
	}
}
