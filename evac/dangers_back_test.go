package evac

// Dangers of the way back.

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/depart"
	"drover.dev/fleet"
)

// Abort while AWS has launched nothing yet.
func TestDangerAbortWhileLaunchSlow(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{Surge: Surge{Count: 3}})
	w := world(s)
	// drive forward until the resize, but launch nothing
	for range 50 {
		step := Next(p, w.s)
		hit := false
		for _, a := range step.Actions {
			if a.Verb == fleet.Resize {
				Assume(&w.s, a)
				hit = true
				break
			}
			w.act(a)
		}
		if hit {
			break
		}
	}
	if g := w.s.Groups[0]; g.Desired != 9 || len(g.Instances) != 6 {
		t.Fatalf("setup: %d %d", g.Desired, len(g.Instances))
	}
	w.s.Rotations[0].Intent = fleet.Back
	b, _ := Resume(&w.s, &w.s.Rotations[0])
	for range 100 {
		step := Next(b, w.s)
		if step.Done {
			t.Errorf("way back is Done after %s with desired %d, mark %v", w.s.Now.Sub(start), w.s.Groups[0].Desired, w.s.Groups[0].Mark)
			return
		}
		for _, a := range step.Actions {
			Assume(&w.s, a)
		}
		if len(step.Actions) == 0 {
			w.s.Now = w.s.Now.Add(10 * time.Second)
		}
		if w.s.Groups[0].Desired == 6 {
			return
		}
	}
	t.Errorf("never lowered")
}

// Abort with a group that the run never touched: cluster-autoscaler's nodes there are closed.
func TestDangerAbortClosesForeignNodes(t *testing.T) {
	s := web()
	api := s.Groups[0]
	api.Name, api.Instances, api.Targets = "api", nil, nil
	api.Min, api.Desired = 2, 2
	for i := range 2 {
		in := fleet.Instance{ID: fmt.Sprintf("i-api-%d", i), Zone: api.Zones[i], Type: "m5.large", Lifecycle: fleet.InService, Launched: start.Add(-time.Hour), Template: api.Wants[0]}
		api.Instances = append(api.Instances, in)
		s.Nodes = append(s.Nodes, fleet.Node{Name: "api-" + in.ID, Instance: in.ID, Zone: in.Zone, Ready: true, Room: s.Nodes[0].Room})
	}
	s.Groups = append(s.Groups, api)
	d, err := depart.Rotate(&s, []string{"api", "web"}, depart.Criterion{Kind: depart.Outdated})
	if err != nil {
		t.Fatal(err)
	}
	p, f := Make(&s, []string{"api", "web"}, d, Options{Run: "r-1", Criterion: "outdated"})
	if Blocked(f) {
		t.Fatal(f)
	}
	w := world(s)
	left := 4
	play(t, w, p, func(Step) bool { left--; return left < 0 })
	// cluster-autoscaler adds two nodes to api
	g := w.s.Group("api")
	if g.Mark != nil {
		t.Fatal("marked")
	}
	g.Desired = 4
	for i := range 2 {
		in := fleet.Instance{ID: fmt.Sprintf("i-ca-%d", i), Zone: g.Zones[i], Type: "m5.large", Lifecycle: fleet.InService, Launched: w.s.Now.Add(time.Second), Template: g.Wants[0]}
		g.Instances = append(g.Instances, in)
		w.s.Nodes = append(w.s.Nodes, fleet.Node{Name: "ca-" + in.ID, Instance: in.ID, Zone: in.Zone, Ready: true, Room: s.Nodes[0].Room})
	}
	w.s.Rotations[0].Intent = fleet.Back
	b, _ := Resume(&w.s, &w.s.Rotations[0])
	for _, e := range b.Exits {
		if e.Group == "api" {
			t.Errorf("the way back gives up %s of group api, which the run never changed", e.Instance)
		}
	}
	play(t, w, b, func(s Step) bool {
		for _, a := range s.Actions {
			if a.Verb == fleet.Terminate && a.Group == "api" {
				t.Errorf("%s", a)
			}
		}
		return false
	})
}

// The way back moves a singleton off a new node: surge and unsurge for ever.
func TestDangerBackSurgeLoop(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{Surge: Surge{Count: 6}, Bake: time.Hour})
	w := world(s)
	play(t, w, p, func(step Step) bool {
		return strings.Contains(fmt.Sprint(step.Holds), "kept in Standby for 1h0m0s more")
	})
	w.s.Rotations[0].Intent = fleet.Back
	b, _ := Resume(&w.s, &w.s.Rotations[0])
	n := map[fleet.Verb]int{}
	for range 3000 {
		step := Next(b, w.s)
		if step.Done {
			return
		}
		progress := false
		for _, a := range step.Actions {
			if a.Verb == fleet.Surge || a.Verb == fleet.Unsurge {
				n[a.Verb]++
				if a.Verb == fleet.Unsurge && !a.Expect.Ready && n[a.Verb] > 5 {
					t.Fatalf("surged %d times, unsurged %d times: %s (%s)", n[fleet.Surge], n[fleet.Unsurge], a, a.Why)
				}
			}
			if a.Verb == fleet.Unsurge && !a.Expect.Ready {
				// what kube does: deletion cost goes back first, so the controller takes back the newest, not Ready pod
				Assume(&w.s, a)
				newest := -1
				for i := range w.s.Pods {
					if q := &w.s.Pods[i]; q.Owner == a.Workload && !q.Ready && q.Ref.UID != a.Pod.UID {
						newest = i
					}
				}
				if newest >= 0 {
					w.s.Pods = slices.Delete(w.s.Pods, newest, newest+1)
				}
				progress = true
				continue
			}
			progress = w.act(a) || progress
		}
		if !progress && !w.wait() {
			t.Fatalf("stuck: %v", step.Holds)
		}
	}
	t.Fatalf("does not end: %v", n)
}

// Abort right after CreateGroup: the copy is not visible, or has no instances yet.
func TestDangerCopyOrphaned(t *testing.T) {
	for _, name := range []string{"not listed yet", "no instances yet"} {
		s := web()
		s.Groups[0].Managed = &fleet.Managed{Cluster: "c", Status: active, Version: "1.33 / a", Latest: "1.33 / b"}
		p := rotation(t, &s, Options{Run: "r-20261121-200000-abc", Criterion: "outdated"})
		w := world(s)
		var create fleet.Action
		play(t, w, p, func(step Step) bool {
			for _, a := range step.Actions {
				if a.Verb == fleet.CreateGroup {
					create = a
					return true
				}
			}
			return false
		})
		create.Run = p.Run
		if name == "no instances yet" {
			Assume(&w.s, create)
			w.after(time.Minute, func() { w.s.Group(create.Copy).Managed.Status = active })
		} else {
			w.after(time.Minute, func() { w.act(create) })
		}
		w.s.Rotations[0].Intent = fleet.Back
		b, _ := Resume(&w.s, &w.s.Rotations[0])
		deleted := false
		play(t, w, b, func(step Step) bool {
			for _, a := range step.Actions {
				deleted = deleted || a.Verb == fleet.DeleteGroup && a.Group == create.Copy
			}
			return false
		})
		if !deleted {
			t.Errorf("%s: the way back is done, the copy was not deleted", name)
		}
	}
}

// An old instance that never registered as a node blocks the way back.
func TestDangerBackWithUnregistered(t *testing.T) {
	s := web()
	s.Nodes = slices.DeleteFunc(s.Nodes, func(n fleet.Node) bool { return n.Name == "node-5" })
	s.Pods = slices.DeleteFunc(s.Pods, func(p fleet.Pod) bool { return p.Node == "node-5" })
	for i := range s.Workloads {
		n := 0
		for _, p := range s.Pods {
			if p.Owner == s.Workloads[i].Owner {
				n++
			}
		}
		s.Workloads[i].Replicas = n
	}
	s.Budgets[0].Healthy, s.Budgets[0].Expected, s.Budgets[0].Desired = 5, 5, 4
	p := rotation(t, &s, Options{})
	w := world(s)
	play(t, w, p, func(step Step) bool { return strings.Contains(verbs(step), "resize") })
	w.s.Rotations[0].Intent = fleet.Back
	b, _ := Resume(&w.s, &w.s.Rotations[0])
	for range 200 {
		step := Next(b, w.s)
		if step.Done {
			return
		}
		pr := false
		for _, a := range step.Actions {
			pr = w.act(a) || pr
		}
		if !pr && !w.wait() {
			t.Fatalf("way back stuck: %v", step.Holds)
		}
	}
}

// A target group deleted during the run.
func TestDangerBackTargetGroupGone(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{Bake: time.Hour})
	w := world(s)
	play(t, w, p, func(step Step) bool {
		return strings.Contains(fmt.Sprint(step.Holds), "kept in Standby for 1h0m0s more")
	})
	for i := range w.s.Groups[0].Instances {
		w.s.Groups[0].Instances[i].Targets = nil
	}
	w.s.Groups[0].Targets = nil
	w.s.Rotations[0].Intent = fleet.Back
	b, _ := Resume(&w.s, &w.s.Rotations[0])
	n := 0
	for range 500 {
		step := Next(b, w.s)
		if step.Done {
			return
		}
		pr := false
		for _, a := range step.Actions {
			if a.Verb == fleet.Register {
				n++ // the hand refuses: the target group is gone
				continue
			}
			pr = w.act(a) || pr
		}
		if n > 100 {
			t.Fatalf("asked %d times to register in a target group that is gone", n)
		}
		if !pr && !w.wait() {
			t.Fatalf("stuck: %s, holds %v", verbs(step), step.Holds)
		}
	}
}

// Health is bad because of the new nodes: the way back stands still.
func TestDangerBackUnhealthy(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{})
	w := world(s)
	n := 0
	play(t, w, p, func(step Step) bool {
		for _, a := range step.Actions {
			if a.Verb == fleet.Terminate {
				n++
			}
		}
		return n >= 1
	})
	w.s.Rotations[0].Intent = fleet.Back
	b, _ := Resume(&w.s, &w.s.Rotations[0])
	for range 500 {
		// pods on new nodes never become Ready
		for i := range w.s.Pods {
			if q := &w.s.Pods[i]; strings.HasPrefix(q.Node, "new-") && q.Owner.Kind != "DaemonSet" {
				q.Ready = false
			}
		}
		c := w.s.Clone()
		ok, why := Readiness(b, c)
		c.Probes = []fleet.Probe{{Name: "readiness", Healthy: ok, Why: why, Changed: c.Now}}
		step := Next(b, c)
		if step.Done {
			return
		}
		pr := false
		for _, a := range step.Actions {
			pr = w.act(a) || pr
		}
		if !pr && !w.wait() {
			if w.s.Now.Sub(start) < time.Hour {
				w.s.Now = w.s.Now.Add(time.Minute)
				continue
			}
			// Pods that are not Ready cannot be evicted under an exhausted budget; that is said, and the probe is not what stops it.
			if strings.Contains(fmt.Sprint(step.Holds), "health probe") {
				t.Fatalf("way back stands still: %v", step.Holds)
			}
			return
		}
	}
}

// Desired raised by others just before abort is forgotten.
func TestDangerAbortForgetsOthersDesired(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{Surge: Surge{Count: 2}})
	w := world(s)
	play(t, w, p, func(step Step) bool { return w.s.Groups[0].Desired == 8 })
	// the process is gone; cluster-autoscaler wants two more
	w.s.Groups[0].Desired = 10
	w.launch("web")
	w.launch("web")
	for w.wait() {
	}
	for i := range w.s.Groups[0].Instances {
		_ = i
	}
	fwd, _ := Resume(&w.s, w.s.Rotation("r-1"))
	v := newTick(&fwd, &w.s)
	v.look()
	want := reckon(&w.s.Groups[0], v.left("web"))
	w.s.Rotations[0].Intent = fleet.Back
	b, _ := Resume(&w.s, w.s.Rotation("r-1"))
	play(t, w, b, nil)
	if got := w.s.Groups[0].Desired; got != want {
		t.Errorf("taken back to desired %d; forward the run would have ended at %d, because somebody wants 2 more", got, want)
	}
}

// A node drained by hand before the run takes pods again after abort.
func TestDangerDrainedBefore(t *testing.T) {
	s := web()
	s.Nodes[0].Taints = []fleet.Taint{{Key: fleet.TaintKey, Value: "r-drain", Effect: fleet.NoSchedule}}
	p := rotation(t, &s, Options{})
	w := world(s)
	left := 6
	play(t, w, p, func(Step) bool { left--; return left < 0 })
	takeBack(t, w)
	if w.s.Node("node-0").Mark() == nil {
		t.Errorf("node-0 was drained by hand before the run; taken back, it takes pods again")
	}
}

// Lost record of a managed run.
func TestDangerLostManaged(t *testing.T) {
	s := web()
	s.Groups[0].Managed = &fleet.Managed{Cluster: "c", Status: active, Version: "1.33 / a", Latest: "1.33 / b"}
	p := rotation(t, &s, Options{Run: "r-20261121-200000-abc", Criterion: "outdated"})
	w := world(s)
	play(t, w, p, func(step Step) bool { return strings.Contains(verbs(step), "evict") })
	w.s.Rotations = nil
	if r := Ongoing(&w.s, []string{"web"}); r == nil {
		p2, f := try(t, &w.s, Options{Run: "r-20261121-210000-def", Criterion: "outdated"})
		t.Errorf("not found; a new run is blocked: %v, makes another copy %s", Blocked(f), p2.Groups[0].Copy)
	}
}

func TestDangerBackUnhealthyAgain(t *testing.T) {
	for _, probe := range []bool{false, true} {
		s := web()
		s.Budgets = nil
		s.Pods = slices.DeleteFunc(s.Pods, func(p fleet.Pod) bool { return p.Owner.Name == "single" })
		for i := range s.Pods {
			s.Pods[i].Budgets = nil
		}
		p := rotation(t, &s, Options{Surge: Surge{Count: 6}})
		w := world(s)
		n := 0
		play(t, w, p, func(step Step) bool {
			for _, a := range step.Actions {
				if a.Verb == fleet.Evict {
					n++
				}
			}
			return n >= 18
		})
		for w.wait() && w.s.Now.Sub(start) < 10*time.Minute {
		}
		w.s.Now = w.s.Now.Add(3 * time.Minute)
		w.s.Rotations[0].Intent = fleet.Back
		b, _ := Resume(&w.s, &w.s.Rotations[0])
		ended := false
		var last Step
		for range 3000 {
			for i := range w.s.Pods {
				if q := &w.s.Pods[i]; strings.HasPrefix(q.Node, "new-") && q.Owner.Kind != "DaemonSet" {
					q.Ready = false // what is wrong with the new nodes
				}
			}
			c := w.s.Clone()
			if probe {
				ok, why := Readiness(b, c)
				c.Probes = []fleet.Probe{{Name: "readiness", Healthy: ok, Why: why, Changed: c.Now}}
			}
			last = Next(b, c)
			if last.Done {
				ended = true
				break
			}
			pr := false
			for _, a := range last.Actions {
				if a.Verb == fleet.Surge {
					continue
				}
				pr = w.act(a) || pr
			}
			if !pr && !w.wait() {
				w.s.Now = w.s.Now.Add(time.Minute)
			}
			if w.s.Now.Sub(start) > 12*time.Hour {
				break
			}
		}
		t.Logf("probe %v: ended %v after %s: %.400v", probe, ended, w.s.Now.Sub(start), last.Holds)
	}
}

// way back while EKS deletes the old group
func TestDangerBackWhileDeleting(t *testing.T) {
	s := web()
	s.Groups[0].Managed = &fleet.Managed{Cluster: "c", Status: active, Version: "1.33 / a", Latest: "1.33 / b"}
	p := rotation(t, &s, Options{Run: "r-20261121-200000-abc", Criterion: "outdated"})
	w := world(s)
	play(t, w, p, func(step Step) bool { g := w.s.Group("web"); return g != nil && g.Managed.Status == deleting })
	w.s.Rotations[0].Intent = fleet.Back
	b, _ := Resume(&w.s, &w.s.Rotations[0])
	for range 5 {
		step := Next(b, w.s)
		for _, a := range step.Actions {
			if a.Verb == fleet.Untaint || a.Verb == fleet.Register || a.Verb == fleet.Include {
				t.Errorf("%s: EKS is ending that machine", a)
				return
			}
			Assume(&w.s, a)
		}
	}
}

// A group that cannot be read in full is not acted on; the way back goes on.
func TestDangerGroupInTrouble(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{})
	w := world(s)
	play(t, w, p, func(step Step) bool { return strings.Contains(verbs(step), "evict pod") })
	w.s.Groups[0].Trouble = "target group x does not exist any more"
	if step := Next(p, w.s); len(step.Actions) > 0 || !strings.Contains(fmt.Sprint(step.Holds), "target group x does not exist any more; nothing is changed until that is mended, or drover abort web") {
		t.Errorf("actions %s, holds %v", verbs(step), step.Holds)
	}
	takeBack(t, w)
	if g := w.s.Groups[0]; g.Desired != 6 || g.Mark != nil {
		t.Errorf("desired %d, mark %v", g.Desired, g.Mark)
	}
}

// A managed group was rotated, and somebody made one of the old name anew: the copy's tags are no run under way.
func TestDangerRecreatedOriginal(t *testing.T) {
	s := web()
	s.Groups[0].Managed = &fleet.Managed{Cluster: "c", Status: active, Version: "b", Latest: "b"}
	c := s.Groups[0]
	c.Name, c.Instances, c.Managed = "web-20261121-200000-abc", nil, &fleet.Managed{Cluster: "c", Status: active, Version: "b", Latest: "b", CopyOf: "web", Run: "r-20261121-200000-abc"}
	s.Groups = append(s.Groups, c)
	if r := Ongoing(&s, []string{"web"}); r != nil {
		t.Errorf("found %+v", r)
	}
}
