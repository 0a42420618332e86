package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"drover.dev/fleet"
)

func storesText(t *testing.T, s *fleet.Snapshot, name string) string {
	t.Helper()
	d, err := storesOf(s, name)
	if err != nil {
		t.Fatal(err)
	}
	d.Place = "cluster shop"
	var b strings.Builder
	d.print(&b)
	return b.String()
}

func TestStoresAtRest(t *testing.T) {
	s := shop()
	addOrders(&s)
	addCache(&s)
	golden(t, "testdata/stores-rest.txt", storesText(t, &s, ""))
}

// In the middle of a move, half of it is as nobody would leave it: that is told in full.
func TestStoresUnderWay(t *testing.T) {
	s := shop()
	st := addOrders(&s)
	begun(&s, st, "orders-master-0", "r-20261121-115750-00a")
	st.Members[0].Fence = fleet.Fence{Replicas: 1, Lag: 2}
	st.Members = append(st.Members, fleet.Member{Pod: fleet.PodRef{Namespace: "shop", Name: "orders-master-0-drover", UID: "uid-t"}, Node: s.Nodes[2].Name, Temp: true, Role: fleet.RoleReplica, Master: "m:6379", Syncing: true})
	st.Sentinels[2].Trouble = "Sentinel in pod shop/orders-sentinel-2 (10.0.3.2:26379) does not answer: connection refused"
	golden(t, "testdata/stores-under-way.txt", storesText(t, &s, "orders"))
}

func TestStoresThatCannotBeUnderstood(t *testing.T) {
	s := shop()
	orders, cache := addOrders(&s), addCache(&s)
	orders = &s.Stores[0]
	orders.Mover, orders.Trouble = "", `annotation drover.dev/mover of StatefulSet shop/orders-master is "sentinell": want sentinel, rediscluster, script, leader-last or none`
	cache.Members = cache.Members[:5]
	cache.Members[0] = fleet.Member{Pod: cache.Members[0].Pod, Node: cache.Members[0].Node, Trouble: "Redis in pod shop/cache-a-0 (10.0.5.0:6379) wants a password: name a Secret with key password (and username) by the annotation drover.dev/secret"}
	golden(t, "testdata/stores-trouble.txt", storesText(t, &s, ""))
}

// A cron goes by the exit code.
func TestStoresWorthMending(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(s *fleet.Snapshot, st *fleet.Store)
		want  bool
	}{
		"well":            {func(*fleet.Snapshot, *fleet.Store) {}, false},
		"in trouble":      {func(_ *fleet.Snapshot, st *fleet.Store) { st.Trouble = "is wrong" }, true},
		"a member":        {func(_ *fleet.Snapshot, st *fleet.Store) { st.Members[1].Trouble = "does not answer" }, true},
		"nobody's":        {func(_ *fleet.Snapshot, st *fleet.Store) { st.Trouble, st.Confirmed = "is wrong", false }, false},
		"nobody goes on":  {func(s *fleet.Snapshot, st *fleet.Store) { begun(s, st, "orders-master-0", "r-1") }, true},
		"somebody moves":  {func(s *fleet.Snapshot, st *fleet.Store) { begun(s, st, "orders-master-0", "r-1").Idle = false }, false},
		"another of them": {func(s *fleet.Snapshot, _ *fleet.Store) { s.Stores[0].Trouble = "is wrong" }, true},
	} {
		s := shop()
		addCache(&s)
		c.spoil(&s, addOrders(&s))
		d, err := storesOf(&s, "")
		if err != nil || d.troubled() != c.want {
			t.Errorf("%s: %v, %v", name, d.troubled(), err)
		}
	}
}

func TestStoresDocument(t *testing.T) {
	s := shop()
	addOrders(&s)
	d, err := storesOf(&s, "shop/orders")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := (&app{out: &out, output: "json"}).print(d, nil); err != nil {
		t.Fatal(err)
	}
	var back storesDocument
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Kind != "Stores" || len(back.Stores) != 1 {
		t.Fatalf("%v:\n%s", err, out.String())
	}
	replica := back.Stores[0].Members[1]
	if replica.Master != "orders-master-0" || replica.Behind == nil || *replica.Behind != 11 || replica.Zone != "eu-west-1b" || back.Stores[0].Sentinels[0].Names != "orders-master-0" {
		t.Errorf("got %+v", back.Stores[0])
	}
}

func TestStoreNameMustBeClear(t *testing.T) {
	s := fleet.Snapshot{Stores: []fleet.Store{{Name: "shop/orders"}, {Name: "blue/orders"}}}
	if _, err := storesOf(&s, "orders"); err == nil || !strings.Contains(err.Error(), "there are several: shop/orders, blue/orders") {
		t.Errorf("got %v", err)
	}
	if _, err := storesOf(&s, "order"); err == nil || !strings.Contains(err.Error(), "there are: shop/orders, blue/orders") {
		t.Errorf("got %v", err)
	}
	if d, err := storesOf(&s, "blue/orders"); err != nil || d.Stores[0].Name != "blue/orders" {
		t.Errorf("got %+v, %v", d, err)
	}
}

func TestNoStores(t *testing.T) {
	s := shop()
	if text := storesText(t, &s, ""); !strings.Contains(text, "Nobody declares a store") {
		t.Error(text)
	}
}

// What another store waits for is no step of this one; what holds the pod up besides its store is.
func TestStepOfAMove(t *testing.T) {
	s := shop()
	addOrders(&s)
	addCache(&s)
	orders, cache := &s.Stores[0], &s.Stores[1]
	orders.Sentinels[1].Trouble = "does not answer"
	begun(&s, orders, "orders-replica-0", "r-1")
	begun(&s, cache, "cache-b-0", "r-1")
	cache.Move.Pod.UID = "uid-before"
	for i := range cache.Members {
		cache.Members[i].Migration = false
	}
	if got := stepNow(&s, cache); strings.Contains(got, "orders") {
		t.Errorf("got %q", got)
	}
	cache.Move.Pod.UID = "uid-cache-b-0"
	if got, want := stepNow(&s, cache), "evict pod shop/cache-b-0 from "+s.Nodes[1].Name; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for i := range s.Pods {
		if s.Pods[i].Ref.Name == "cache-b-0" {
			s.Pods[i].Budgets = []string{"shop/cache"}
		}
	}
	s.Budgets = append(s.Budgets, fleet.Budget{Name: "shop/cache", Healthy: 5, Desired: 5, Expected: 6})
	if got := stepNow(&s, cache); !strings.HasPrefix(got, "budget shop/cache: 5 healthy") {
		t.Errorf("got %q", got)
	}
	s.Stopped = &fleet.Pause{By: "grace@example", Why: "incident", At: s.Now}
	if got := stepNow(&s, cache); !strings.Contains(got, "incident") {
		t.Errorf("got %q", got)
	}
}
