package redis

import (
	"slices"

	"drover.dev/fleet"
)

// introduce adds to what members are known under the names that others use for them: where a host name of a Service is in somebody's configuration, the
// member itself does not know of it. A run id is of one process, which has not moved since.
func introduce(members []*heard, watchers []*watcher) {
	for _, w := range watchers {
		w.introduce(members...)
	}
	for _, r := range members {
		if r.Role != fleet.RoleReplica || !r.Link || slices.ContainsFunc(members, func(m *heard) bool { return m.is(r.Master) }) {
			continue
		}
		for _, m := range members {
			if m.feeds(r) {
				m.Known = known(m.Known, r.Master)
			}
		}
	}
}

// introduce adds what a Sentinel calls the members.
func (w *watcher) introduce(members ...*heard) {
	for _, m := range members {
		if m.RunID == "" {
			continue
		}
		if m.RunID == w.runID {
			m.Known = known(m.Known, w.Master)
		}
		for _, r := range w.Replicas {
			if r.ID == m.RunID {
				m.Known = known(m.Known, r.Address)
			}
		}
	}
}

// feeds tells whether a master has r among its replicas, and they share a history.
func (r *heard) feeds(replica *heard) bool {
	return r.Role == fleet.RoleMaster && r.History != "" && r.History == replica.History &&
		slices.ContainsFunc(r.Replicas, func(l fleet.Replica) bool { return replica.is(l.Address) })
}
