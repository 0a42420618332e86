package main

import (
	"fmt"
	"testing"
	"time"

	"drover.dev/depart"
	"drover.dev/evac"
	"drover.dev/fleet"
)

var (
	noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	api  = fleet.Owner{Kind: "Deployment", Namespace: "shop", Name: "api"}
)

// shop is a group of three outdated nodes with six pods under one budget.
func shop() fleet.Snapshot {
	s := fleet.Snapshot{Now: noon}
	g := fleet.Group{Name: "web", Min: 1, Max: 6, Desired: 3, Zones: []string{"eu-west-1a", "eu-west-1b", "eu-west-1c"}, Wants: []fleet.Template{{ID: "lt-1", Name: "web", Version: "2"}}}
	for i, zone := range g.Zones {
		id := fmt.Sprintf("i-%017d", i+1)
		g.Instances = append(g.Instances, fleet.Instance{ID: id, Zone: zone, Type: "m5.large", Lifecycle: fleet.InService, Template: fleet.Template{ID: "lt-1", Name: "web", Version: "1"}, Launched: noon.Add(-72 * time.Hour)})
		s.Nodes = append(s.Nodes, fleet.Node{
			Name: fmt.Sprintf("ip-10-0-0-%d.eu-west-1.compute.internal", i+1), Instance: id, Zone: zone, Created: noon.Add(-72 * time.Hour), Ready: true, Changed: noon.Add(-71 * time.Hour),
			Room: fleet.Resources{CPU: 2000, Memory: 8 << 30, Pods: 29}, Labels: map[string]string{"pool": "web"},
		})
	}
	s.Groups = []fleet.Group{g}
	for i := range 6 {
		s.Pods = append(s.Pods, pod(fmt.Sprintf("api-%d", i), s.Nodes[i%3].Name))
	}
	s.Workloads = []fleet.Workload{{Owner: api, Replicas: 6}}
	s.Budgets = []fleet.Budget{{Name: "shop/api", Allowed: 2, Healthy: 6, Desired: 4, Expected: 6}}
	return s
}

func pod(name, node string) fleet.Pod {
	return fleet.Pod{
		Ref: fleet.PodRef{Namespace: "shop", Name: name, UID: "uid-" + name}, Node: node, Owner: api, Budgets: []string{"shop/api"}, Ready: true, Created: noon.Add(-48 * time.Hour),
		ReadySince: noon.Add(-48*time.Hour + 10*time.Second), Grace: 30 * time.Second, Requests: fleet.Resources{CPU: 200, Memory: 256 << 20, Pods: 1},
	}
}

// planned is the plan of a rotation of the shop.
func planned(t *testing.T, s *fleet.Snapshot, o evac.Options) (evac.Plan, []fleet.Finding) {
	t.Helper()
	departures, err := depart.Rotate(s, []string{"web"}, depart.Criterion{Kind: depart.Outdated})
	if err != nil {
		t.Fatal(err)
	}
	o.Run, o.Requester, o.Criterion = "r-20261121-120000-abc", "ada@example", "outdated"
	return evac.Make(s, []string{"web"}, departures, o)
}

// during is the shop after so many rounds of actions, each at once visible, with new nodes that come and pods that follow.
func during(t *testing.T, o evac.Options, rounds int) fleet.Snapshot {
	t.Helper()
	s := shop()
	p, findings := planned(t, &s, o)
	if evac.Blocked(findings) {
		t.Fatal(findings)
	}
	for range rounds {
		s.Now = s.Now.Add(5 * time.Second)
		step := evac.Next(p, s)
		if step.Diverged != "" {
			t.Fatal(step.Diverged)
		}
		for _, a := range step.Actions {
			evac.Assume(&s, a)
		}
		if g := s.Group("web"); len(g.Instances) < g.Desired {
			launch(&s, g)
		}
	}
	return s
}

// launch adds an instance of the group that is a Ready node at once.
func launch(s *fleet.Snapshot, g *fleet.Group) {
	n := len(g.Instances) + 1
	like := s.Nodes[n%3]
	id := fmt.Sprintf("i-%017d", n)
	g.Instances = append(g.Instances, fleet.Instance{ID: id, Zone: like.Zone, Type: "m5.large", Lifecycle: fleet.InService, Template: g.Wants[0], Launched: s.Now})
	s.Nodes = append(s.Nodes, fleet.Node{
		Name: fmt.Sprintf("ip-10-0-0-%d.eu-west-1.compute.internal", n), Instance: id, Zone: like.Zone, Created: s.Now, Ready: true, Changed: s.Now, Room: like.Room, Labels: like.Labels,
	})
}
