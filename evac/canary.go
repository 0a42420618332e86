package evac

import (
	"time"

	"drover.dev/fleet"
)

// watchCanary lets one node go first, and the rest only when it has been replaced and watched for as long as was asked. Until then, canary names
// the one instance that may go. Which one that is, is written down before it begins.
func (v *tick) watchCanary() {
	r := v.record()
	if v.plan.Record.Canary == 0 || v.plan.Back() || r == nil || len(v.exits) == 0 || v.canaryPassed() {
		return
	}
	v.canary = none
	switch {
	case !r.Marks.Canary.IsZero():
		v.hold(v.subject(), "the first node is replaced; watching it for %s more before the others go", v.watchedUntil().Sub(v.s.Now).Round(time.Second))
	case r.Marks.First == "" && v.capacityComing():
		v.hold(v.subject(), "canary: one node goes first, alone, as soon as its replacement is there")
	case r.Marks.First == "":
		first := v.firstToGo()
		v.mark("node "+first.Name()+" goes first, alone", func(m *fleet.Marks) { m.First = first.Instance })
	case !v.replacedFirst(r.Marks.First):
		v.canary = r.Marks.First
		v.hold(v.subject(), "canary: node %s goes first, alone", nameOf(v.ix.nodeOf[r.Marks.First], v.ix.instance[r.Marks.First].in))
	default:
		v.judgeCanary()
	}
}

// judgeCanary writes down that the first node is replaced, once everything that moved is Ready and the new node is what the old ones were.
func (v *tick) judgeCanary() {
	if why := v.disparity(); why != "" {
		v.hold(v.subject(), "canary: %s; the others wait", why)
		return
	}
	moved := v.movedOwners()
	for i := range v.s.Pods {
		if p := &v.s.Pods[i]; moved[p.Owner] && !p.Ready && !p.Finished && !p.Terminating && p.Created.After(v.plan.At) {
			v.hold("pod "+p.Ref.String(), "moved with the canary, not ready yet; the others wait %s", p.Unplaced)
			return
		}
	}
	v.mark("the first node is replaced, and all that moved is Ready", func(m *fleet.Marks) { m.Canary = v.s.Now })
}

// firstToGo chooses the canary: of the first exit's group, one of the zone that has most nodes, which is where the replacement was launched.
func (v *tick) firstToGo() *exit {
	best := &v.exits[0]
	if best.group == nil {
		return best
	}
	count := byZone(best.group)
	for i := range v.exits {
		if x := &v.exits[i]; x.Group == best.Group && count[x.Zone] > count[best.Zone] {
			best = x
		}
	}
	return best
}

// replacedFirst tells whether the canary is done. A node of a managed group leaves with the whole group: there it is enough that nothing needs
// it any more.
func (v *tick) replacedFirst(instance string) bool {
	at := v.ix.instance[instance]
	if at.in == nil || at.in.Leaving() || at.in.Parked() {
		return true
	}
	n := v.ix.nodeOf[instance]
	return at.group.Managed != nil && n != nil && n.OutBy == v.plan.Run && len(v.ix.movable(n)) == 0 && len(at.in.Targets) == 0
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

// none is a canary that no exit is.
const none = "-"

// mayGo tells whether an exit's turn has come.
func (v *tick) mayGo(e *exit) bool { return v.canary == "" || v.canary == e.Instance }

// limit is how many nodes of a group may go at once while a canary is out: of its own group one, of others none.
func (v *tick) limit(g *fleet.Group) int {
	r := v.record()
	if v.plan.Record.Canary == 0 || v.plan.Back() || r == nil || v.canaryPassed() {
		return g.Mark.Surge
	}
	first := r.Marks.First
	switch {
	case first == "" && len(v.exits) > 0 && v.exits[0].Group == g.Name:
		return 1
	case first != "" && g.Instance(first) != nil && !v.replacedFirst(first):
		return 1
	}
	return 0
}

// watchedUntil is when the watch of the canary ends: a health probe that turned good again in the middle of it begins it anew.
func (v *tick) watchedUntil() time.Time {
	from := v.record().Marks.Canary
	for _, p := range v.s.Probes {
		if p.Falls > 0 && p.Changed.After(from) {
			from = p.Changed
		}
	}
	return from.Add(v.plan.Record.Canary)
}

// canaryPassed tells whether the first node has been watched for long enough.
func (v *tick) canaryPassed() bool {
	return !v.record().Marks.Canary.IsZero() && !v.s.Now.Before(v.watchedUntil())
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
