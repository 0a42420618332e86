package evac

import (
	"time"

	"drover.dev/fleet"
)

// Ending plans departures that nothing replaces, of groups that somebody else has made ready for it: their minimum is low enough, and nothing but a
// termination by id takes their instances. It makes no forecast. Departures whose machine is gone are left out.
func Ending(s *fleet.Snapshot, run string, at time.Time, departures []fleet.Departure, force bool) Plan {
	p := Plan{Run: run, At: at, Force: force, Resumed: true}
	ix := newIndex(s)
	var there []fleet.Departure
	for _, d := range departures {
		if found := ix.instance[d.Instance]; found.in != nil && !found.in.Leaving() {
			there = append(there, d)
		}
	}
	p.Exits = orderExits(ix, there)
	p.planPods(ix)
	return p
}

// Spare returns what takes a run's marks off the nodes that it was to end and does not.
func Spare(s *fleet.Snapshot, run string, stays func(*fleet.Node) bool) []fleet.Action {
	v := newTick(&Plan{Run: run}, s)
	for i := range s.Nodes {
		if n := &s.Nodes[i]; stays(n) {
			v.restoreNode(n, "")
		}
	}
	return v.out.Actions
}
