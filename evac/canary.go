package evac

import (
	"slices"
	"time"

	"drover.dev/fleet"
)

// watchCanary lets one node go first, and the rest only when it has been replaced and watched for as long as was asked. Until then, canary names
// the one instance that may go.
func (v *tick) watchCanary() {
	r := v.record()
	if v.plan.Record.Canary == 0 || v.plan.Back() || r == nil || len(v.exits) == 0 {
		return
	}
	if !r.Marks.Canary.IsZero() {
		if left := r.Marks.Canary.Add(v.plan.Record.Canary).Sub(v.s.Now); left > 0 {
			v.hold(v.subject(), "the first node is replaced; watching it for %s more before the others go", left.Round(time.Second))
			v.canary = none
		}
		return
	}
	if !v.replacedOne() {
		first := v.firstToGo()
		v.canary = first.Instance
		v.hold(v.subject(), "canary: node %s goes first, alone", first.Name())
		return
	}
	v.canary = none
	if why := v.disparity(); why != "" {
		v.hold(v.subject(), "canary: %s; the others wait", why)
		return
	}
	if v.settled() {
		v.mark("the first node is replaced, and all that moved is Ready", func(m *fleet.Marks) { m.Canary = v.s.Now })
	}
}

// disparity names in what the new nodes differ from the old ones where they should not.
func (v *tick) disparity() string {
	for _, g := range v.journaled() {
		if why := v.parity(g); why != "" {
			return why
		}
	}
	return ""
}

// firstToGo chooses the canary among the first exit's group: the one that has begun to empty, else one of the zone that has most nodes, which is
// where the replacement was launched.
func (v *tick) firstToGo() *exit {
	best := &v.exits[0]
	if best.group == nil {
		return best
	}
	count := byZone(best.group)
	for i := range v.exits {
		x := &v.exits[i]
		switch {
		case x.Group != best.Group || best.moved:
		case x.moved || count[x.Zone] > count[best.Zone]:
			best = x
		}
	}
	return best
}

// none is a canary that no exit is.
const none = "-"

// mayGo tells whether an exit's turn has come.
func (v *tick) mayGo(e *exit) bool { return v.canary == "" || v.canary == e.Instance }

// limit is how many nodes of a group may go at once while a canary is out: of its own group one, of others none.
func (v *tick) limit(g *fleet.Group) int {
	if v.plan.Record.Canary == 0 || v.plan.Back() || v.record() == nil || v.canaryPassed() {
		return g.Mark.Surge
	}
	if !v.replacedOne() && len(v.exits) > 0 && v.exits[0].Group == g.Name {
		return 1
	}
	return 0
}

// replacedOne tells whether any of the run's exits is done.
func (v *tick) replacedOne() bool {
	return slices.ContainsFunc(v.plan.Record.Exits, func(d fleet.Departure) bool {
		in := v.ix.instance[d.Instance].in
		return in == nil || in.Leaving() || in.Parked()
	})
}

// canaryPassed tells whether the first node has been watched for long enough.
func (v *tick) canaryPassed() bool {
	m := v.record().Marks.Canary
	return !m.IsZero() && !v.s.Now.Before(m.Add(v.plan.Record.Canary))
}

// baked tells whether the old nodes in Standby have been kept for as long as was asked; then they are closed.
func (v *tick) baked() bool {
	if len(v.parked) == 0 {
		return true
	}
	r := v.record()
	if r == nil {
		return false
	}
	if r.Marks.Baking.IsZero() {
		if v.settled() {
			v.mark("every old node is in Standby", func(m *fleet.Marks) { m.Baking = v.s.Now })
		}
		return false
	}
	if left := r.Marks.Baking.Add(v.plan.Record.Bake).Sub(v.s.Now); left > 0 {
		v.hold(v.subject(), "done but for %s kept in Standby for %s more; drover rollback %s returns to them", plural(len(v.parked), "old node", "old nodes"), left.Round(time.Second), v.plan.Groups[0].Name)
		return false
	}
	for i := range v.parked {
		e := &v.parked[i]
		if e.in.Lifecycle != fleet.OnStandby {
			v.hold("node "+e.Name(), "is %s", e.in.Lifecycle)
			continue
		}
		v.do(fleet.Action{Verb: fleet.Terminate, Group: e.Group, Instance: e.Instance, Node: e.Name(), Expect: fleet.Expect{Empty: e.node != nil}, Why: "kept long enough"})
	}
	return false
}
