package main

import (
	"strings"
	"testing"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// told prints explanations one after the other.
func told(t *testing.T, x *explainer, about ...func() (*explanation, error)) string {
	t.Helper()
	var b strings.Builder
	for _, f := range about {
		e, err := f()
		if err != nil {
			b.WriteString("error: " + err.Error() + "\n")
			continue
		}
		e.print(&b)
	}
	return b.String()
}

func TestExplainAtRest(t *testing.T) {
	s := shop()
	x := &explainer{Snapshot: &s}
	golden(t, "testdata/explain-rest.txt", told(t, x,
		func() (*explanation, error) { return x.node(s.Nodes[0].Name) },
		func() (*explanation, error) { return x.pod("shop/api-0") },
		func() (*explanation, error) { return x.pod("api-1") },
		func() (*explanation, error) { return x.departure(s.Nodes[0].Name) },
		func() (*explanation, error) { return x.node("nope") },
		func() (*explanation, error) { return x.pod("nope") },
	))
}

func TestExplainUnderWay(t *testing.T) {
	s := during(t, evac.Options{}, 7)
	s.Pods = append(s.Pods, fleet.Pod{Ref: fleet.PodRef{Namespace: "shop", Name: "api-9"}, Owner: api, Created: s.Now.Add(-9 * time.Second), Unplaced: "0/6 nodes are available: 3 Insufficient cpu."})
	x := &explainer{Snapshot: &s, records: s.Rotations}
	golden(t, "testdata/explain-under-way.txt", told(t, x,
		func() (*explanation, error) { return x.node(s.Nodes[0].Name) },
		func() (*explanation, error) { return x.pod("shop/api-2") },
		func() (*explanation, error) { return x.pod("shop/api-5") },
		func() (*explanation, error) { return x.pod("shop/api-9") },
		func() (*explanation, error) { return x.departure(s.Rotations[0].Run + "." + s.Nodes[2].Name) },
	))
}

func TestExplainSingleReplica(t *testing.T) {
	s := shop()
	s.Pods, s.Workloads, s.Budgets = s.Pods[:1], []fleet.Workload{{Owner: api, Replicas: 1}}, []fleet.Budget{{Name: "shop/api", Healthy: 1, Desired: 1, Expected: 1}}
	x := &explainer{Snapshot: &s}
	surge := told(t, x, func() (*explanation, error) { return x.pod("api-0") })
	s.Workloads[0].Recreate = true
	golden(t, "testdata/explain-single.txt", surge+told(t, x, func() (*explanation, error) { return x.pod("api-0") }))
}

func TestExplainThePast(t *testing.T) {
	s := during(t, evac.Options{}, 7)
	over := s.Rotations[0]
	over.Marks.Ended = noon.Add(3 * time.Minute)
	back := over
	back.Run, back.Intent, back.Exits = "r-20261121-130000-def", fleet.Back, []fleet.Departure{{Node: "ip-10-0-9-9", Instance: "i-9", Group: "web", Why: "runs something old"}}
	empty := fleet.Snapshot{Now: noon.Add(time.Hour)}
	x := &explainer{Snapshot: &empty, records: []fleet.RotationRecord{over, back}}
	golden(t, "testdata/explain-past.txt", told(t, x,
		func() (*explanation, error) { return x.node(over.Exits[0].Node) },
		func() (*explanation, error) { return x.departure(over.Exits[1].Instance) },
		func() (*explanation, error) { return x.departure("ip-10-0-9-9") },
	))
}

func TestPodNameMustBeClear(t *testing.T) {
	s := shop()
	s.Pods[1].Ref.Name, s.Pods[1].Ref.Namespace = "api-0", "other"
	x := &explainer{Snapshot: &s}
	if _, err := x.pod("api-0"); err == nil || !strings.Contains(err.Error(), "there are several: shop/api-0, other/api-0") {
		t.Errorf("got %v", err)
	}
	if _, err := x.pod("other/api-0"); err != nil {
		t.Error(err)
	}
}
