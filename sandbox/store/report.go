package store

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Report is what became of the writes to a store.
type Report struct {
	Acked  int
	Lost   int // acknowledged, and not with any master that has the authority now
	Failed int // given up on by their clients
	Gap    time.Duration
	Errors map[string]int // seen by clients, those that a retry made good among them

	// Failovers are changes of a master, by shard: "" for Sentinel's, the first slot for a cluster's.
	Failovers map[string]int
}

// Report tells what became of the writes to a store so far.
func (w *World) Report(store string) Report {
	w.enter()
	defer w.mu.Unlock()
	r := Report{Errors: map[string]int{}, Failovers: maps.Clone(w.roles[store]), Lost: w.lost(store)}
	for _, x := range w.writers {
		if x.c.Store != store {
			continue
		}
		r.Acked, r.Failed, r.Gap = r.Acked+len(x.acked), r.Failed+x.failed, max(r.Gap, x.gap)
		if !x.stopped {
			r.Gap = max(r.Gap, w.now.Sub(x.last))
		}
		for what, n := range x.errors {
			r.Errors[what] += n
		}
	}
	return r
}

// Lost is how many acknowledged writes no master has that has the authority now, over all stores.
func (w *World) Lost() int {
	w.enter()
	defer w.mu.Unlock()
	n := 0
	done := map[string]bool{}
	for _, x := range w.writers {
		if !done[x.c.Store] {
			done[x.c.Store] = true
			n += w.lost(x.c.Store)
		}
	}
	return n
}

func (w *World) lost(store string) int {
	have := make([]bool, w.ids+1)
	for _, p := range w.masters(store) {
		for _, e := range p.repl.set.log {
			have[e.id] = true
		}
	}
	n := 0
	for _, x := range w.writers {
		for _, e := range x.acked {
			if x.c.Store == store && !have[e.id] {
				n++
			}
		}
	}
	return n
}

// Masters are the addresses of the processes that have the authority: the one that Sentinels name with the highest epoch, or the owners of
// slots with the highest epochs.
func (w *World) Masters(store string) []string {
	w.enter()
	defer w.mu.Unlock()
	var out []string
	for _, p := range w.masters(store) {
		out = append(out, p.addr())
	}
	return out
}

func (w *World) masters(store string) []*process {
	var out []*process
	votes := map[string]int{}
	epochs := map[string]int64{}
	for _, p := range w.order {
		switch {
		case p.c.Store != store:
		case p.bus != nil && w.owns(p):
			out = append(out, p)
		case p.watch != nil:
			for _, m := range p.watch.masters {
				votes[m.self.addr]++
				epochs[m.self.addr] = max(epochs[m.self.addr], m.configEpoch)
			}
		}
	}
	if len(votes) == 0 {
		return out
	}
	best := slices.MaxFunc(slices.Sorted(maps.Keys(votes)), func(a, b string) int {
		return cmp.Or(cmp.Compare(epochs[a], epochs[b]), cmp.Compare(votes[a], votes[b]))
	})
	if p := w.procs[w.real(best)]; p != nil && p.repl != nil {
		out = append(out, p)
	}
	return out
}

// promoted counts a failover.
func (w *World) promoted(store, shard string) {
	if w.roles[store] == nil {
		w.roles[store] = map[string]int{}
	}
	w.roles[store][shard]++
}
