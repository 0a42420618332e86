package store

import (
	"maps"
	"slices"
	"strings"
)

// Look is how a process stands, for those who watch the model: no packet is sent for it.
type Look struct {
	Addr     string
	Store    string
	Kind     Kind
	Frozen   bool
	Settings map[string]string // of CONFIG

	// Of redis-server.
	Master string // that it replicates; "" for a master
	Linked bool   // to it, and the stream flows
	ID     string // of the cluster's node; of a Sentinel, its own
	Slots  int
	Nodes  []string // of the cluster, as it sees them: id, address, role and slots

	// Of a Sentinel.
	Names    string            // address of the master that it names
	Replicas []string          // their addresses, as it lists them
	Peers    map[string]string // the other Sentinels: address by id
}

// Look returns all processes, by address.
func (w *World) Look() []Look {
	w.enter()
	defer w.mu.Unlock()
	var out []Look
	for _, p := range w.order {
		l := Look{Addr: p.addr(), Store: p.c.Store, Kind: p.c.Kind, Frozen: !p.awake(), Settings: maps.Clone(p.settings)}
		switch {
		case p.watch != nil:
			p.watch.look(&l)
		case p.bus != nil:
			p.bus.look(&l)
			fallthrough
		default:
			l.Master, l.Linked = p.repl.master, p.repl.link == linkUp
		}
		out = append(out, l)
	}
	return out
}

func (w *watcher) look(l *Look) {
	l.ID, l.Peers = w.id, map[string]string{}
	for _, m := range w.masters {
		l.Names = m.self.addr
		l.Replicas = append(l.Replicas, slices.Sorted(maps.Keys(m.replicas))...)
		for id, o := range m.peers {
			l.Peers[id] = o.addr
		}
	}
}

func (b *bus) look(l *Look) {
	l.ID, l.Slots = b.me.id, b.me.slots.count()
	for _, n := range b.known() {
		role := "master"
		if n.slave {
			role = "replica of " + n.master
		}
		l.Nodes = append(l.Nodes, strings.Join([]string{n.id, n.addr(), role, n.slots.String()}, " "))
	}
	slices.Sort(l.Nodes)
}

// Failovers counts how often a role of a store changed hands, over all shards.
func (w *World) Failovers(store string) int {
	w.enter()
	defer w.mu.Unlock()
	n := 0
	for _, of := range w.roles[store] {
		n += of
	}
	return n
}

// Resolve is an address with its host's name looked up.
func (w *World) Resolve(addr string) string {
	w.enter()
	defer w.mu.Unlock()
	return w.real(addr)
}
