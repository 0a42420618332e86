package main

import (
	"slices"
	"strings"
	"testing"

	"drover.dev/depart"
	"drover.dev/evac"
	"drover.dev/fleet"
)

// What a rotation does to stores is read off its forecast.
func TestPlanTellsOfStores(t *testing.T) {
	s := shop()
	addOrders(&s)
	addCache(&s)
	p, findings := planned(t, &s, evac.Options{})
	d := describe(&p, findings, "cluster shop")
	var lines []string
	for i := range d.Stores {
		lines = append(lines, d.Stores[i].String())
	}
	golden(t, "testdata/plan-stores.txt", strings.Join(lines, "\n")+"\n")
	var b strings.Builder
	planTable(&b, &d)
	if !strings.Contains(b.String(), "\n  "+lines[0]+"\n") || strings.Contains(b.String(), "Note: pod shop/orders-master-0") /* the store's line says it */ || d.Steps != nil {
		t.Error(b.String())
	}
	for i := range d.Stores {
		failovers := slices.DeleteFunc(slices.Clone(p.Forecast.Events), func(e evac.Event) bool {
			return e.Action.Store != d.Stores[i].Store || e.Action.Verb != fleet.Switch && e.Action.Verb != fleet.Failover
		})
		if len(failovers) != len(d.Stores[i].Handovers) || len(failovers) == 0 {
			t.Errorf("%s: %d in the forecast, %d told", d.Stores[i].Store, len(failovers), len(d.Stores[i].Handovers))
		}
	}
}

// Without a replica to hand the slots to, the plan says that there will be a temporary pod.
func TestPlanTellsOfTemporaryPods(t *testing.T) {
	s := shop()
	st := addOrders(&s)
	s.Pods = slices.DeleteFunc(s.Pods, func(p fleet.Pod) bool { return p.Ref.Name == "orders-replica-0" })
	st.Members, st.Spec.Replicas = st.Members[:1], 1
	st.Members[0].Replicas = nil
	for i := range st.Sentinels {
		st.Sentinels[i].Replicas = nil
	}
	d, err := depart.Drain(&s, s.Nodes[0].Name, false)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := evac.Make(&s, nil, []fleet.Departure{d}, evac.Options{Run: "r-1"})
	all := storePlans(p.Forecast.Events)
	if len(all) != 1 || !strings.Contains(all[0].String(), "1 temporary pod (orders-master-0-drover)") {
		t.Errorf("got %v; stuck %v", all, p.Forecast.Stuck)
	}
}

func TestNoStoresNoLines(t *testing.T) {
	s := shop()
	p, findings := planned(t, &s, evac.Options{})
	if d := describe(&p, findings, "x"); d.Stores != nil {
		t.Errorf("got %v", d.Stores)
	}
}
