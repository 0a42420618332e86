package main

import (
	"context"
	"time"

	"drover.dev/engine"
	"drover.dev/fleet"
)

// meteredCluster shows the meter which stores there are whenever the cluster is looked at.
type meteredCluster struct {
	engine.Cluster
	meter *meter
}

func (c *meteredCluster) Observe(ctx context.Context, s *fleet.Snapshot) error {
	err := c.Cluster.Observe(ctx, s)
	if err == nil {
		c.meter.stores(s.Stores)
	}
	return err
}

// meteredStores has the meter count how long changes of roles take.
type meteredStores struct {
	engine.Stores
	meter *meter
}

func (h *meteredStores) Act(ctx context.Context, st fleet.Store, a fleet.Action) error {
	began := time.Now()
	err := h.Stores.Act(ctx, st, a)
	if err == nil && (a.Verb == fleet.Switch || a.Verb == fleet.Failover) {
		h.meter.set.Switched(time.Since(began))
	}
	return err
}

// stores notes which stores are in the middle of a move, and who moves them.
func (m *meter) stores(all []fleet.Store) {
	m.mu.Lock()
	defer m.mu.Unlock()
	moving := map[string]int{}
	for i := range all {
		st := &all[i]
		m.movers[st.Name] = st.Mover
		if st.Move != nil {
			moving[st.Name] = 1
		}
	}
	if m.leads {
		m.set.Moving(moving)
	}
}

// move counts what becomes of the moves of stores.
func (m *meter) move(n engine.Note) {
	a := n.Action
	m.mu.Lock()
	mover := string(m.movers[a.Store])
	m.mu.Unlock()
	switch {
	case n.Err != nil && a.Verb == fleet.Engage:
		m.set.StoreMove(a.Store, mover, outcomeOf(n.Err))
	case n.Err != nil:
	case a.Verb == fleet.Disengage:
		m.set.StoreMove(a.Store, mover, "done")
		if a.Move != nil {
			m.set.StoreMoved(n.At.Sub(a.Move.Since))
		}
	}
}
