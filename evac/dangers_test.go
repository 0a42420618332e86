package evac

// Dangers that a review found, each a world in which the door once did something it must not.

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/depart"
	"drover.dev/fleet"
)

func verbs(s Step) string {
	var out []string
	for _, a := range s.Actions {
		out = append(out, a.String())
	}
	return strings.Join(out, "; ")
}

// Never-budget workload with pods on several exits: one unsurge and one eviction at once.
func TestDangerNeverBudgetBroken(t *testing.T) {
	s := web()
	s.Budgets[0].Desired, s.Budgets[0].Allowed = 6, 0
	p := rotation(t, &s, Options{Surge: Surge{Count: 6}})
	w := world(s)
	for range 5000 {
		for i := range w.s.Budgets { // the disruption controller counts what the workload wants
			if b := &w.s.Budgets[i]; b.Name == "default/http" {
				b.Expected = w.s.Workload(fleet.Owner{Kind: "Deployment", Namespace: "default", Name: "http"}).Replicas
			}
		}
		step := Next(p, w.s)
		if step.Done {
			return
		}
		progress := false
		took := []string{}
		for _, a := range step.Actions {
			progress = w.act(a) || progress
			if a.Verb == fleet.Evict || a.Verb == fleet.Unsurge {
				took = append(took, a.String())
			}
			ready := 0
			for _, q := range w.s.Pods {
				if q.Owner.Name == "http" && q.Ready && !q.Terminating {
					ready++
				}
			}
			if ready < 6 {
				t.Fatalf("%d Ready pods of http, its budget wants 6, after %v", ready, took)
			}
		}
		if !progress && !w.wait() {
			t.Fatalf("stuck: %v", step.Holds)
		}
	}
}

// Drain --terminate of the only node of a managed group.
func TestDangerDrainManaged(t *testing.T) {
	for _, n := range []int{1, 2} {
		s := empty(web())
		g := &s.Groups[0]
		g.Managed = &fleet.Managed{Cluster: "c", Status: active, Version: "1", Latest: "1"}
		g.Instances, g.Min, g.Desired = g.Instances[:n], 0, n
		g.Targets = nil
		d, err := depart.Drain(&s, "node-0", true)
		if err != nil {
			continue // refused is right
		}
		p, f := Make(&s, nil, []fleet.Departure{d}, Options{Run: "r-d"})
		if Blocked(f) {
			continue
		}
		t.Logf("n=%d forecast stuck: %v", n, p.Forecast.Stuck)
		w := world(s)
		for range 50 {
			step := Next(p, w.s)
			if step.Done {
				break
			}
			pr := false
			for _, a := range step.Actions {
				if a.Verb == fleet.DeleteGroup {
					t.Errorf("n=%d: drain --terminate of one node does: %s", n, a)
				}
				pr = w.act(a) || pr
			}
			if !pr && !w.wait() {
				t.Errorf("n=%d: stuck: %v", n, step.Holds)
				break
			}
		}
	}
}

// Canary with a managed group.
func TestDangerCanaryManaged(t *testing.T) {
	s := web()
	s.Groups[0].Managed = &fleet.Managed{Cluster: "c", Status: active, Version: "1.33 / a", Latest: "1.33 / b"}
	p, f := try(t, &s, Options{Run: "r-20261121-200000-abc", Criterion: "outdated", Canary: 5 * time.Minute})
	if !Blocked(f) && len(p.Forecast.Stuck) > 0 {
		t.Errorf("no finding, and stuck for ever: %v", p.Forecast.Stuck)
	}
}

// Managed group, only some nodes chosen.
func TestDangerManagedPartial(t *testing.T) {
	s := web()
	s.Groups[0].Managed = &fleet.Managed{Cluster: "c", Status: active, Version: "1.33 / b", Latest: "1.33 / b"}
	d, err := depart.Rotate(&s, []string{"web"}, depart.Criterion{Kind: depart.Selector, Match: func(n *fleet.Node) bool { return n.Zone == "a" }, Words: "zone=a"})
	if err != nil {
		t.Fatal(err)
	}
	p, f := Make(&s, []string{"web"}, d, Options{Run: "r-20261121-200000-abc", Criterion: "selector"})
	if !Blocked(f) && len(p.Forecast.Stuck) > 0 {
		t.Errorf("no finding, and stuck: %v", p.Forecast.Stuck)
	}
}

// A singleton that is broken before the run.
func TestDangerBrokenSingleton(t *testing.T) {
	s := web()
	for i := range s.Pods {
		if p := &s.Pods[i]; p.Owner.Name == "single" {
			p.Ready, p.Unready = false, start.Add(-50*time.Minute)
		}
	}
	p, f := try(t, &s, Options{})
	if Blocked(f) {
		t.Fatal(f)
	}
	w := world(s)
	for range 5000 {
		// crash loop: no pod of it is ever Ready
		for i := range w.s.Pods {
			if q := &w.s.Pods[i]; q.Owner.Name == "single" {
				q.Ready = false
			}
		}
		step := Next(p, w.s)
		if step.Done {
			return
		}
		pr := false
		for _, a := range step.Actions {
			pr = w.act(a) || pr
		}
		if !pr && !w.wait() {
			if w.s.Now.Sub(start) < 6*time.Hour {
				w.s.Now = w.s.Now.Add(10 * time.Minute)
				continue
			}
			t.Fatalf("stands still: %v", step.Holds)
		}
	}
}

// The replacement of a singleton whose old pod is not Ready is Ready, and the old one stays for ever.
func TestDangerOldNotReady(t *testing.T) {
	s := web()
	for i := range s.Pods {
		if p := &s.Pods[i]; p.Owner.Name == "single" {
			p.Ready, p.Unready = false, start.Add(-time.Minute)
		}
	}
	p, _ := try(t, &s, Options{})
	if len(p.Forecast.Stuck) > 0 {
		t.Errorf("forecast stuck: %v", p.Forecast.Stuck)
	}
}

// A person scales down while the mark is there.
func TestDangerScaledDownDuringSurge(t *testing.T) {
	s := web()
	s.Budgets[0].Desired, s.Budgets[0].Allowed = 6, 0
	p := rotation(t, &s, Options{})
	w := world(s)
	play(t, w, p, func(step Step) bool {
		return w.s.Workload(fleet.Owner{Kind: "Deployment", Namespace: "default", Name: "http"}).Surge != nil
	})
	w.s.Workload(fleet.Owner{Kind: "Deployment", Namespace: "default", Name: "http"}).Replicas = 3
	for _, a := range Next(p, w.s).Actions {
		if a.Verb == fleet.Surge && a.Workload.Name == "http" {
			t.Errorf("a person scaled http from 7 to 3 during the surge; drover: %d -> %d (%s)", a.From, a.To, a.Why)
		}
	}
}
func TestDangerScaledUpDuringSurge(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{})
	w := world(s)
	o := fleet.Owner{Kind: "Deployment", Namespace: "default", Name: "single"}
	play(t, w, p, func(step Step) bool { return w.s.Workload(o).Surge != nil })
	w.wait()
	wl := w.s.Workload(o)
	wl.Replicas = 8
	for i := range 8 {
		q := w.s.Pods[slices.IndexFunc(w.s.Pods, func(p fleet.Pod) bool { return p.Owner == o })]
		q.Ref.UID, q.Node, q.Ready = fmt.Sprint("x", i), "new-1", true
		w.s.Pods = append(w.s.Pods, q)
	}
	for _, a := range Next(p, w.s).Actions {
		if a.Verb == fleet.Unsurge && a.From != a.To {
			t.Errorf("a person scaled single from 2 to 8 during the surge; drover: unsurge %d -> %d", a.From, a.To)
		}
	}
}

// The surged pod's node is ended by AWS; the run ends with the mark and the replica more still there.
func TestDangerSurgeLeftBehind(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{Surge: Surge{Count: 6}})
	w := world(s)
	o := fleet.Owner{Kind: "Deployment", Namespace: "default", Name: "single"}
	play(t, w, p, func(step Step) bool { return w.s.Workload(o).Surge != nil })
	// all the old nodes are ended by AWS (spot) and replaced; their pods stay listed until the garbage collector comes
	g := &w.s.Groups[0]
	for i := range g.Instances {
		if !strings.HasPrefix(g.Instances[i].ID, "new-") {
			g.Instances[i].Lifecycle = "Terminating"
		}
	}
	g.Desired = 6
	g.Mark.Set, g.Mark.From = 6, 6
	g.Instances = slices.DeleteFunc(g.Instances, func(in fleet.Instance) bool { return in.Leaving() })
	w.later = nil
	for i := range w.s.Pods {
		w.s.Pods[i].Ready = true
	}
	for range 200 {
		step := Next(p, w.s)
		if step.Done {
			if w.s.Workload(o).Surge != nil {
				t.Errorf("done, and %s keeps %d replicas and the mark %+v", o, w.s.Workload(o).Replicas, w.s.Workload(o).Surge)
			}
			return
		}
		for _, a := range step.Actions {
			Assume(&w.s, a)
		}
		if len(step.Actions) == 0 {
			t.Fatal(step.Holds)
		}
	}
}

// Canary, restarted when the first node is out of service: another node is chosen.
func TestDangerCanaryRestart(t *testing.T) {
	s := web()
	s.Groups[0].Zones = []string{"a", "b", "c"}
	// a seventh node that is current gives room, so that the canary empties before the launch is seen
	n := s.Nodes[0]
	n.Name, n.Instance, n.Zone, n.Labels = "node-6", "i-6", "c", map[string]string{"zone": "c"}
	n.Room = fleet.Resources{CPU: 64000, Memory: 256 * gib, Pods: 200}
	s.Nodes = append(s.Nodes, n)
	in := s.Groups[0].Instances[2]
	in.ID, in.Template.Version, in.Targets = "i-6", "2", slices.Clone(in.Targets)
	s.Groups[0].Instances = append(s.Groups[0].Instances, in)
	s.Groups[0].Desired, s.Groups[0].Min = 7, 7
	p := rotation(t, &s, Options{Canary: 5 * time.Minute})
	first := ""
	w := world(s)
	i := 0
	w.tie = func() bool { i++; return true } // last of equals
	play(t, w, p, func(step Step) bool {
		for _, a := range step.Actions {
			if a.Verb == fleet.Evict && first == "" {
				first = a.Node
			}
			if a.Verb == fleet.Deregister {
				return true
			}
		}
		return false
	})
	t.Logf("first %s; zones %s", first, zones(&w.s.Groups[0]))
	q, _ := Resume(&w.s, w.s.Rotation("r-1"))
	for range 1000 {
		step := Next(q, w.s)
		if step.Done {
			return
		}
		pr := false
		for _, a := range step.Actions {
			if a.Verb == fleet.Evict && a.Node != first && w.s.Rotation("r-1").Marks.Canary.IsZero() {
				t.Errorf("a second node (%s) is emptied while %s is the canary", a.Node, first)
				return
			}
			pr = w.act(a) || pr
		}
		if !pr && !w.wait() {
			t.Fatalf("stuck: %v", step.Holds)
		}
	}
}

// The canary passes although what moved is not Ready.
func TestDangerCanaryPassesBroken(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{Canary: 5 * time.Minute})
	w := world(s)
	for range 3000 {
		for i := range w.s.Pods {
			if q := &w.s.Pods[i]; strings.HasPrefix(q.Node, "new-") && q.Owner.Kind != "DaemonSet" {
				q.Ready = false
			}
		}
		w.count()
		step := Next(p, w.s)
		if r := w.s.Rotation("r-1"); r != nil && !r.Marks.Canary.IsZero() {
			t.Errorf("after %s the canary is noted as fine, although no pod is Ready on the new node", w.s.Now.Sub(start))
			return
		}
		pr := false
		for _, a := range step.Actions {
			pr = w.act(a) || pr
		}
		if !pr && !w.wait() {
			if w.s.Now.Sub(start) > 2*time.Hour {
				return
			}
			w.s.Now = w.s.Now.Add(time.Minute)
		}
	}
}

// Drover panics on a managed group without Wants.
func TestDangerExplainPanics(t *testing.T) {
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("panic: %v", r)
		}
	}()
	s := web()
	s.Groups[0].Wants = nil
	s.Groups[0].Managed = &fleet.Managed{Cluster: "c", Status: active, Version: "1", Latest: "1"}
	_, _ = depart.Rotate(&s, []string{"web"}, depart.Criterion{Kind: depart.Outdated})
}

// Machines go on being closed while a probe is bad.
func TestDangerClosesWhileUnhealthy(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{})
	w := world(s)
	play(t, w, p, func(step Step) bool { return strings.Contains(verbs(step), "exclude") })
	for range 100 {
		c := w.s.Clone()
		c.Probes = []fleet.Probe{{Name: "http", Why: "503", Changed: c.Now, Falls: 1}}
		step := Next(p, c)
		pr := false
		for _, a := range step.Actions {
			if a.Verb == fleet.Deregister || a.Verb == fleet.Terminate {
				t.Errorf("%s while the health probe is bad", a)
				return
			}
			pr = w.act(a) || pr
		}
		if !pr && !w.wait() {
			return
		}
	}
}

func TestDangerOldNotReadyAgain(t *testing.T) {
	s := web()
	broken := func(w *preview) {
		for i := range w.s.Pods {
			if q := &w.s.Pods[i]; q.Ref.UID == "uid-single-0" {
				q.Ready, q.Unready = false, start.Add(-time.Minute)
			}
		}
	}
	p, _ := try(t, &s, Options{})
	w := world(s)
	for range 5000 {
		broken(w)
		step := Next(p, w.s)
		if step.Done {
			return
		}
		pr := false
		for _, a := range step.Actions {
			pr = w.act(a) || pr
		}
		if !pr && !w.wait() {
			if w.s.Now.Sub(start) < 6*time.Hour {
				w.s.Now = w.s.Now.Add(10 * time.Minute)
				continue
			}
			t.Fatalf("stands still, the replacement is Ready: %v", step.Holds)
		}
	}
}

func TestDangerCanaryRestartAgain(t *testing.T) {
	for bits := range 8 {
		s := web()
		n := s.Nodes[0]
		n.Name, n.Instance, n.Zone, n.Labels = "node-6", "i-6", "c", map[string]string{"zone": "c"}
		n.Room = fleet.Resources{CPU: 64000, Memory: 256 * gib, Pods: 200}
		s.Nodes = append(s.Nodes, n)
		in := s.Groups[0].Instances[2]
		in.ID, in.Template.Version, in.Targets = "i-6", "2", slices.Clone(in.Targets)
		in.Zone = "c"
		s.Groups[0].Instances = append(s.Groups[0].Instances, in)
		s.Groups[0].Desired, s.Groups[0].Min = 7, 7
		p := rotation(t, &s, Options{Canary: 5 * time.Minute})
		w := world(s)
		// AWS is slow to launch: it launches when the canary is empty
		first, launched := "", false
		for range 400 {
			step := Next(p, w.s)
			stop := false
			pr := false
			for _, a := range step.Actions {
				if a.Verb == fleet.Evict && first == "" {
					first = a.Node
				}
				if a.Verb == fleet.Resize {
					Assume(&w.s, a)
					pr = true
					continue
				}
				if a.Verb == fleet.Deregister {
					stop = true
				}
				pr = w.act(a) || pr
			}
			if stop {
				break
			}
			if !pr && !w.wait() {
				if launched {
					break
				}
				launched = true
				w.tie = func() bool { bits, _ = bits/2, 0; return bits%2 == 1 }
				w.launch("web")
			}
		}
		q, _ := Resume(&w.s, w.s.Rotation("r-1"))
		for range 1000 {
			step := Next(q, w.s)
			if step.Done {
				break
			}
			pr := false
			for _, a := range step.Actions {
				if a.Verb == fleet.Evict && a.Node != first && w.s.Rotation("r-1").Marks.Canary.IsZero() {
					t.Errorf("zones %s: a second node (%s) is emptied while %s is the canary", zones(&w.s.Groups[0]), a.Node, first)
					pr = false
				}
				pr = w.act(a) || pr
			}
			if !pr && !w.wait() {
				t.Errorf("first %s, zones %s: stuck: %v", first, zones(&w.s.Groups[0]), step.Holds)
				break
			}
		}
	}
}

// an exit whose node registers after Moving
func TestDangerLate(t *testing.T) {
	s := web()
	gone := s.Nodes[5]
	s.Nodes = s.Nodes[:5]
	s.Pods = slices.DeleteFunc(s.Pods, func(p fleet.Pod) bool { return p.Node == "node-5" })
	s.Groups[0].Instances[5].Lifecycle = fleet.Pending
	s.Groups[0].Instances[5].Launched = start.Add(-20 * time.Second)
	s.Budgets[0].Healthy, s.Budgets[0].Expected, s.Budgets[0].Desired = 5, 5, 4
	p := rotation(t, &s, Options{})
	w := world(s)
	play(t, w, p, func(step Step) bool { return strings.Contains(verbs(step), "evict") })
	w.s.Now = w.s.Now.Add(time.Minute)
	gone.Created, gone.Changed = w.s.Now, w.s.Now
	w.s.Nodes = append(w.s.Nodes, gone)
	q := w.s.Pods[0]
	q.Ref.UID, q.Ref.Name, q.Node, q.Created, q.Terminating = "late", "late", "node-5", w.s.Now, false
	w.s.Pods = append(w.s.Pods, q)
	if step := Next(p, w.s); step.Diverged != "" {
		t.Errorf("%s", step.Diverged)
	}
}

// detached instance
func TestDangerDetached(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{})
	w := world(s)
	left := 8
	play(t, w, p, func(Step) bool { left--; return left < 0 })
	g := &w.s.Groups[0]
	g.Instances = slices.DeleteFunc(g.Instances, func(in fleet.Instance) bool { return in.ID == "i-5" })
	g.Desired--
	play(t, w, p, nil)
	if n := w.s.Node("node-5"); n != nil && n.Mark() != nil {
		t.Errorf("run over; node-5, which somebody detached from its group, keeps %v", n.Mark())
	}
}

// the canary's watch passes with a bad probe
func TestDangerCanaryProbe(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{Canary: 5 * time.Minute})
	w := world(s)
	play(t, w, p, func(step Step) bool { return len(w.s.Rotations) > 0 && !w.s.Rotations[0].Marks.Canary.IsZero() })
	at := w.s.Rotations[0].Marks.Canary
	c := w.s.Clone()
	c.Now = at.Add(5*time.Minute + time.Second)
	// bad from minute 1 to minute 5: good for one second now
	c.Probes = []fleet.Probe{{Name: "http", Healthy: true, Falls: 1, Changed: c.Now.Add(-time.Second)}}
	for range 20 {
		step := Next(p, c)
		for _, a := range step.Actions {
			if a.Verb == fleet.Resize || a.Verb == fleet.Evict {
				t.Errorf("%s: the probe was bad for 4 of the 5 minutes of the watch, and is good for 1 s", a)
				return
			}
			Assume(&c, a)
		}
	}
}

// a new node that was on its way out is no surplus any more
func TestDangerNotSurplusAnyMore(t *testing.T) {
	s := empty(web())
	p := rotation(t, &s, Options{Surge: Surge{Count: 1}})
	w := world(s)
	play(t, w, p, func(step Step) bool {
		return w.s.NodeOf("new-1") != nil && len(w.s.Groups[0].Instances) == 7 && w.s.Groups[0].Instance("new-1").Target(arn) == fleet.TargetHealthy
	})
	w.s.Rotations[0].Intent = fleet.Back
	b, _ := Resume(&w.s, &w.s.Rotations[0])
	play(t, w, b, func(step Step) bool { return w.s.Groups[0].Instance("new-1").Target(arn) == fleet.TargetDraining })
	// an old machine dies at this moment, and somebody takes desired down by one with it
	g := &w.s.Groups[0]
	for i := range g.Instances {
		if g.Instances[i].ID == "i-0" {
			g.Instances[i].Lifecycle = "Terminating"
		}
	}
	id := "i-0"
	w.after(closeTime, func() { w.remove(fleet.Action{Group: "web", Instance: id, Node: "node-0"}) })
	g.Desired--
	play(t, w, b, nil)
	in := w.s.Groups[0].Instance("new-1")
	if in != nil && in.Target(arn) == fleet.TargetUnused {
		t.Errorf("done; new-1 stays, in service, in no target group")
	}
	fmt.Println(in)
}

// The AWS profile is one cluster's, the kubeconfig's context another's: no machine of the group is seen as a node, and none is touched.
func TestDangerOtherCluster(t *testing.T) {
	s := web()
	p := rotation(t, &s, Options{})
	elsewhere := s.Clone()
	elsewhere.Nodes, elsewhere.Pods, elsewhere.Budgets, elsewhere.Workloads = nil, nil, nil, nil
	_, findings := try(t, &elsewhere, Options{})
	if !Blocked(findings) || !strings.Contains(fmt.Sprint(findings), "group web: none of its 6 instances is a node of this cluster") {
		t.Errorf("findings %v", findings)
	}
	w := world(s)
	play(t, w, p, func(step Step) bool { return strings.Contains(verbs(step), "evict pod") })
	w.s.Nodes, w.s.Pods, w.s.Rotations = nil, nil, nil
	back, _ := Resume(&w.s, Ongoing(&w.s, []string{"web"}))
	for _, q := range []Plan{p, back} {
		if step := Next(q, w.s); len(step.Actions) > 0 || !strings.Contains(step.Diverged, "is a node of this cluster") {
			t.Errorf("actions %s, diverged %q", verbs(step), step.Diverged)
		}
	}
}
