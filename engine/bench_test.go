package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// still is a world in which nothing happens any more.
type still struct{ s fleet.Snapshot }

func (w *still) Groups(context.Context, []string) ([]fleet.Group, error) { return w.s.Groups, nil }
func (w *still) Targets(context.Context) (map[string][]fleet.Target, []fleet.TargetGroup, error) {
	return nil, nil, nil
}
func (w *still) Act(context.Context, fleet.Action) error       { return nil }
func (w *still) Confirm(context.Context, fleet.Action) error   { return nil }
func (w *still) Changed() <-chan struct{}                      { return nil }
func (w *still) Publish(context.Context, fleet.Progress) error { return nil }
func (w *still) Observe(_ context.Context, s *fleet.Snapshot) error {
	s.Nodes, s.Pods, s.Budgets, s.Workloads, s.Rotations = w.s.Nodes, w.s.Pods, w.s.Budgets, w.s.Workloads, w.s.Rotations
	return nil
}

// BenchmarkTick1000 is one tick of a run in a fleet of 1,000 nodes and 30,000 pods in which every lane waits: observe, decide, say why.
func BenchmarkTick1000(b *testing.B) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	w := &still{fleet.Snapshot{Now: now}}
	g := fleet.Group{Name: "big", Desired: 1000, Max: 1100, Zones: []string{"a", "b", "c"}, Wants: []fleet.Template{{ID: "lt", Version: "2"}}}
	var departures []fleet.Departure
	for i := range 1000 {
		id, name := fmt.Sprintf("i-%d", i), fmt.Sprintf("node-%d", i)
		g.Instances = append(g.Instances, fleet.Instance{ID: id, Zone: g.Zones[i%3], Lifecycle: fleet.InService, Launched: now.Add(-time.Hour), Template: fleet.Template{ID: "lt", Version: "1"}})
		w.s.Nodes = append(w.s.Nodes, fleet.Node{Name: name, Instance: id, Zone: g.Zones[i%3], Ready: true, Room: fleet.Resources{CPU: 16000, Memory: 64 << 30, Pods: 110}})
		departures = append(departures, fleet.Departure{Node: name, Instance: id, Group: "big", Cause: fleet.Rotation, Why: "old", Replace: true, Release: true})
	}
	for i := range 30_000 {
		app := i % 3000
		o := fleet.Owner{Kind: "Deployment", Namespace: "default", Name: fmt.Sprintf("app-%d", app)}
		if i < 3000 {
			w.s.Workloads = append(w.s.Workloads, fleet.Workload{Owner: o, Replicas: 10})
			w.s.Budgets = append(w.s.Budgets, fleet.Budget{Name: "default/" + o.Name, Healthy: 10, Expected: 10, Desired: 9})
		}
		w.s.Pods = append(w.s.Pods, fleet.Pod{
			Ref: fleet.PodRef{Namespace: "default", Name: fmt.Sprintf("%s-%d", o.Name, i), UID: fmt.Sprint(i)}, Node: fmt.Sprintf("node-%d", i%1000), Owner: o, Ready: true,
			Requests: fleet.Resources{CPU: 100, Memory: 1 << 28, Pods: 1}, Budgets: []string{"default/" + o.Name}, Created: now.Add(-time.Hour), Grace: 30 * time.Second,
		})
	}
	w.s.Groups = []fleet.Group{g}
	r := fleet.RotationRecord{Run: "r-1", At: now, Groups: []fleet.GroupRecord{{Name: "big", Desired: 1000, Surge: 100, Wants: g.Wants}}, Exits: departures, Marks: fleet.Marks{Moving: now}}
	w.s.Rotations = []fleet.RotationRecord{r}
	w.s.Groups[0].Mark = &fleet.GroupMark{Run: "r-1", At: now, Desired: 1000, From: 1000, Set: 1100, Left: 1000, Surge: 100, Suspended: []string{fleet.AZRebalance}}
	w.s.Groups[0].Suspended, w.s.Groups[0].Desired = []string{fleet.AZRebalance}, 1100
	for i := range w.s.Nodes {
		w.s.Nodes[i].Taints = []fleet.Taint{{Key: fleet.TaintKey, Value: "r-1", Effect: fleet.NoSchedule}}
	}
	p := evac.Plan{Run: "r-1", At: now, Record: r, Groups: []evac.GroupPlan{{Name: "big", Desired: 1000, Max: 1100, Surge: 100, Wants: g.Wants}}}
	for _, d := range departures {
		p.Exits = append(p.Exits, evac.Exit{Departure: d})
	}
	for i := range w.s.Pods {
		p.Moves = append(p.Moves, evac.Move{Pod: w.s.Pods[i].Ref, Owner: w.s.Pods[i].Owner, From: w.s.Pods[i].Node})
	}
	e := &Engine{Cloud: w, Cluster: w, Groups: []string{"big"}, Now: func() time.Time { return now }, CloudEvery: time.Hour, Note: func(Note) {}}
	run := e.Begin(p)
	b.ReportAllocs()
	for b.Loop() {
		if _, done, err := run.Tick(context.Background()); err != nil || done {
			b.Fatal(err, done)
		}
	}
}
