package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"drover.dev/engine"
	"drover.dev/fleet"
	"drover.dev/metrics"
)

// seenStores is a cluster that shows stores, and nothing else.
type seenStores struct {
	engine.Cluster
	stores []fleet.Store
}

func (c *seenStores) Observe(_ context.Context, s *fleet.Snapshot) error {
	s.Stores = c.stores
	return nil
}

// done is a hand on stores that succeeds, or says no.
type handOnStores struct {
	engine.Stores
	err error
}

func (h *handOnStores) Act(context.Context, fleet.Store, fleet.Action) error { return h.err }

func TestMeterMovesOfStores(t *testing.T) {
	m := newMeter(metrics.New("x"))
	m.lead(true)
	world := &seenStores{stores: []fleet.Store{{Name: "shop/orders", Mover: fleet.SentinelMover, Move: &fleet.StoreMove{}}, {Name: "shop/cache", Mover: fleet.ClusterMover}}}
	cluster := &meteredCluster{world, m}
	look := func() {
		if err := cluster.Observe(t.Context(), &fleet.Snapshot{}); err != nil {
			t.Fatal(err)
		}
	}
	look()
	want := func(series string) {
		t.Helper()
		name, _, _ := strings.Cut(series, " ")
		if got := line1(scrape(m), name); got != series {
			t.Errorf("got %s, want %s", got, series)
		}
	}
	want(`drover_store_move_active{store="shop/orders"} 1`)
	engage := fleet.Action{Verb: fleet.Engage, Store: "shop/cache"}
	m.note(engine.Note{Action: &engage})
	m.note(engine.Note{Action: &engage, Err: &fleet.Refused{Reason: "run r-2 moves another pod of it"}})
	end := fleet.Action{Verb: fleet.Disengage, Store: "shop/orders", Move: &fleet.StoreMove{Since: noon}}
	m.note(engine.Note{At: noon.Add(90 * time.Second), Action: &end})
	want(`drover_store_moves_total{mover="rediscluster",result="refused",store="shop/cache"} 1`)
	want(`drover_store_moves_total{mover="sentinel",result="done",store="shop/orders"} 1`)
	want("drover_store_move_seconds_sum 90")
	world.stores[0].Move = nil
	look()
	want(`drover_store_move_active{store="shop/orders"} 0`)
	world.stores[0].Move = &fleet.StoreMove{}
	look()
	m.lead(false)
	want(`drover_store_move_active{store="shop/orders"} 0`)
	look() // whoever leads no more counts no more
	want(`drover_store_move_active{store="shop/orders"} 0`)
}

// Only changes of roles that came about are measured.
func TestMeterSwitches(t *testing.T) {
	m := newMeter(metrics.New("x"))
	hand := &handOnStores{}
	metered := &meteredStores{hand, m}
	act := func(verb fleet.Verb) error {
		return metered.Act(t.Context(), fleet.Store{}, fleet.Action{Verb: verb})
	}
	for _, verb := range []fleet.Verb{fleet.Switch, fleet.Failover, fleet.Fence_} {
		if err := act(verb); err != nil {
			t.Fatal(err)
		}
	}
	hand.err = &fleet.Refused{Reason: "not now"}
	if act(fleet.Switch) == nil {
		t.Error("the refusal got lost")
	}
	if got := line1(scrape(m), "drover_store_switch_seconds_count"); got != "drover_store_switch_seconds_count 2" {
		t.Error(got)
	}
}
