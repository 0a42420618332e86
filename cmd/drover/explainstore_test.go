package main

import (
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

func TestExplainPodsOfStores(t *testing.T) {
	s := shop()
	addOrders(&s)
	addCache(&s)
	x := &explainer{Snapshot: &s}
	about := func(pod string) func() (*explanation, error) {
		return func() (*explanation, error) { return x.pod(pod) }
	}
	rest := told(t, x, about("orders-master-0"), about("orders-sentinel-2"), about("cache-b-0"))
	golden(t, "testdata/explain-stores.txt", rest)

	begun(&s, &s.Stores[0], "orders-replica-0", "r-20261121-115750-00a")
	s.Stores[1].Confirmed, s.Stores[1].Source = false, "probing"
	for i := range s.Pods {
		switch p := &s.Pods[i]; p.Ref.Name {
		case "orders-master-0":
			p.Asked = &fleet.Asked{At: s.Now.Add(-time.Minute), By: "kubectl drain by alice (eviction refused by drover's guard)"}
		case "api-0":
			p.Courted = &fleet.Courted{Operator: "CloudNativePG", Leads: true, Awaits: "CloudNativePG to promote another instance"}
		}
	}
	golden(t, "testdata/explain-stores-under-way.txt", told(t, x, about("orders-master-0"), about("orders-replica-0"), about("cache-b-0"), about("api-0")))
}

func TestExplainAPodOfAStoreInTrouble(t *testing.T) {
	s := shop()
	st := addOrders(&s)
	st.Trouble = "annotation drover.dev/linger of StatefulSet shop/orders-master is \"soon\": want a duration such as 5s, 0s or more"
	x := &explainer{Snapshot: &s}
	golden(t, "testdata/explain-stores-trouble.txt", told(t, x, func() (*explanation, error) { return x.pod("orders-master-0") }))
}

// Who declares a Redis needs no account of AWS for it.
func TestExplainAPodWithoutAWS(t *testing.T) {
	s := shop()
	addOrders(&s)
	s.Groups = nil
	x := &explainer{Snapshot: &s, blind: true}
	e, err := x.pod("orders-master-0")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Mover sentinel moves it", "No run has marked its node to leave.", "If all goes well: "} {
		if !strings.Contains(strings.Join(e.Sentences, "\n"), want) {
			t.Errorf("does not say %q: %q", want, e.Sentences)
		}
	}
	n := s.Node(e.Node)
	n.Taints = append(n.Taints, fleet.Taint{Key: fleet.TaintKey, Value: "r-1"})
	e, err = x.pod("orders-master-0")
	if err != nil || e.Leaving != "r-1" || !strings.Contains(e.Sentences[len(e.Sentences)-1], "is leaving with run r-1; how far that is takes AWS to tell") {
		t.Errorf("%+v, %v", e, err)
	}
}
