package store

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Join makes a cluster of processes that were started empty, as an administrator would have it: the slots evenly over the masters, and replicas by their masters'
// addresses. All know each other at once; the replicas take their first copy as usual.
func (w *World) Join(masters []string, replicas map[string]string) error {
	w.enter()
	defer w.mu.Unlock()
	var all []*bus
	for _, addr := range slices.Concat(masters, slices.Sorted(maps.Keys(replicas))) {
		p := w.procs[addr]
		if p == nil || p.bus == nil {
			return fmt.Errorf("join a cluster of %v: %s is no node", masters, addr)
		}
		if p.bus.me.ip == "" {
			p.bus.me.ip = p.host
		}
		all = append(all, p.bus)
	}
	for i, addr := range masters {
		b := w.procs[addr].bus
		b.me.epoch = int64(i + 1)
		b.me.slots = spans{{i * slotCount / len(masters), (i+1)*slotCount/len(masters) - 1}}
	}
	for addr, master := range replicas {
		m := w.procs[master]
		if m == nil || m.bus == nil {
			return fmt.Errorf("join a cluster of %v: %s is no node", masters, master)
		}
		w.procs[addr].bus.me.slave, w.procs[addr].bus.me.master = true, m.bus.me.id
	}
	for _, b := range all {
		b.epoch = int64(len(masters))
		for _, o := range all {
			if o != b {
				n := o.me
				b.nodes[n.id] = &node{
					id: n.id, ip: n.ip, port: n.port, busPort: n.busPort, slave: n.slave, master: n.master, epoch: n.epoch, slots: n.slots,
					noFailover: n.noFailover, madeAt: w.now, ponged: w.now, data: w.now, reports: map[string]time.Time{},
				}
			}
		}
	}
	for _, addr := range slices.Sorted(maps.Keys(replicas)) {
		w.procs[addr].repl.follow(replicas[addr])
	}
	return nil
}
