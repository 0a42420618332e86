package env

import (
	"fmt"
	"slices"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// endNodes has the nodes of the record go, each through the door, once nothing but a termination by id can take an instance of their groups.
func (t *turn) endNodes() bool {
	exits := t.exits()
	if ready := t.groupsReady(exits); !ready {
		return false
	}
	t.out.Actions = append(t.out.Actions, t.spare(exits)...)
	if len(exits) > 0 || t.surges() {
		t.out.Nodes = evac.Ending(t.v.s, t.rec.Run, t.rec.At, exits, t.forced("env-bare-pod"))
		step := evac.Next(t.out.Nodes, *t.v.s)
		for _, a := range step.Actions {
			a.Environment = t.p.Environment
			t.out.Actions = append(t.out.Actions, a)
		}
		t.out.Holds = append(t.out.Holds, step.Holds...)
		if step.Diverged != "" {
			t.hold("environment "+t.p.Environment, "%s", step.Diverged)
		}
		if !step.Done {
			return false
		}
	}
	return t.closed() && t.released() && len(t.out.Actions) == 0 && !t.waits
}

// surges tells whether a workload still has the one replica more that let its pod leave.
func (t *turn) surges() bool {
	return slices.ContainsFunc(t.v.s.Workloads, func(w fleet.Workload) bool { return w.Surge != nil && w.Surge.Run == t.rec.Run })
}

// exits are the nodes that are to go still: those of the record that carry none but the environment's pods, and what their groups have launched since.
func (t *turn) exits() []fleet.Departure {
	var out []fleet.Departure
	for i := range t.rec.Groups {
		r := &t.rec.Groups[i]
		g := t.v.s.Group(r.Name)
		if g == nil {
			continue
		}
		for j := range g.Instances {
			in := &g.Instances[j]
			if in.Leaving() || !in.Counted() || !t.concerned(r, in) {
				continue
			}
			d := t.leaves(g, in)
			if why := t.stays(in, d); why != "" {
				t.hold("node "+d.Name(), "%s", why)
				continue
			}
			out = append(out, d)
		}
	}
	return out
}

// concerned tells whether an instance is one that may have to go.
func (t *turn) concerned(r *fleet.SleepGroup, in *fleet.Instance) bool {
	if t.planned(in.ID) || t.ours(r, in) {
		return true
	}
	if in.Launched.IsZero() && !slices.Contains(r.Keepers, in.ID) {
		t.hold("instance "+in.ID, "stays: the cloud does not say when it was launched, so nobody can tell for whom")
	}
	return false
}

// leaves is an instance's departure. A Node object may be gone for a moment; pods may be bound to its name all the same.
func (t *turn) leaves(g *fleet.Group, in *fleet.Instance) fleet.Departure {
	d := t.v.departure(g, in)
	for _, known := range t.rec.Exits {
		if d.Node == "" && known.Instance == in.ID {
			d.Node = known.Node
		}
	}
	return d
}

// stays says why a node has to stay, for now or for good; "" when it may go.
func (t *turn) stays(in *fleet.Instance, d fleet.Departure) string {
	if n := t.v.s.Node(d.Node); n != nil && n.Mark() != nil && n.Mark().Value != t.rec.Run {
		return "leaves already with " + n.Mark().Value
	}
	if why := t.young(in, d.Node); why != "" && !t.planned(in.ID) {
		t.waits = t.waits || t.v.unplaced() == nil
		return "came while the environment sleeps, and stays for now: " + why
	}
	if guests := t.v.guests(d.Node); len(guests) > 0 {
		return fmt.Sprintf("stays: %s came to it", guests[0])
	}
	if on := t.leftOn(d.Node); on != nil {
		return fmt.Sprintf("stays: %s is left on", on.ID())
	}
	if bare := t.bare(d.Node); bare != nil {
		return fmt.Sprintf("stays: pod %s has no controller, and nothing would start it again; --force env-bare-pod lets it go", bare.Ref)
	}
	return ""
}

// ours tells whether an instance that came after the record was written is the environment's: where others have nodes a new one may be theirs, but for
// those that a start of this very sleep has brought.
func (t *turn) ours(r *fleet.SleepGroup, in *fleet.Instance) bool {
	if slices.Contains(r.Keepers, in.ID) || !in.Launched.After(t.rec.At) {
		return false
	}
	if len(r.Keepers) == 0 {
		return true
	}
	g := t.v.s.Group(r.Name)
	for _, id := range r.Keepers {
		if k := g.Instance(id); k == nil || k.Leaving() {
			return false // what has come may be in its place
		}
	}
	return in.Launched.Before(t.rec.Marks.Again)
}

// young says why a machine that came while the environment sleeps may be for somebody else; "" when it is for nobody.
func (t *turn) young(in *fleet.Instance, node string) string {
	if p := t.v.unplaced(); p != nil {
		return fmt.Sprintf("pod %s waits for a node", p.Ref)
	}
	n := t.v.s.Node(node)
	switch age := t.v.s.Now.Sub(in.Launched); {
	case in.Launched.Before(t.rec.Marks.Again):
		return ""
	case n == nil && age < booting:
		return fmt.Sprintf("it was launched %s ago and is no node yet", age.Round(time.Second))
	case n != nil && t.v.s.Now.Sub(n.Created) < settling:
		return fmt.Sprintf("its node is %s old, and pods may come to it", t.v.s.Now.Sub(n.Created).Round(time.Second))
	}
	return ""
}

// settling is how long a new node is left for pods to come to it.
const settling = 5 * time.Minute

// leftOn is a workload of the environment that is on and has a pod on a node; nil when none has.
func (t *turn) leftOn(node string) *fleet.Part {
	for _, p := range t.v.s.PodsOn(node) {
		if part := t.v.part[p.Owner]; part != nil && part.Turn == fleet.Scaled && !part.Off && !p.Finished && t.v.owns(p) {
			return part
		}
	}
	return nil
}

// bare is a pod of the environment on a node that nobody would start again; nil when there is none, or when a person lets it go.
func (t *turn) bare(node string) *fleet.Pod {
	if t.forced("env-bare-pod") {
		return nil
	}
	for _, p := range t.v.s.PodsOn(node) {
		if p.Owner.Kind == "" && !p.Finished && p.Stays() == "" {
			return p
		}
	}
	return nil
}

func (t *turn) planned(instance string) bool {
	return slices.ContainsFunc(t.rec.Exits, func(d fleet.Departure) bool { return d.Instance == instance })
}

// spare opens nodes again that were to go and stay.
func (t *turn) spare(exits []fleet.Departure) []fleet.Action {
	goes := map[string]bool{}
	for _, d := range exits {
		goes[d.Node] = true
	}
	backs := t.back(goes)
	out := evac.Spare(t.v.s, t.rec.Run, func(n *fleet.Node) bool {
		_, in := t.v.s.Instance(n.Instance)
		return !goes[n.Name] && in != nil && !in.Leaving()
	})
	for i := range out {
		out[i].Environment = t.p.Environment
	}
	return append(out, backs...)
}

// back registers nodes that stay with the load balancers that they were to leave.
func (t *turn) back(goes map[string]bool) []fleet.Action {
	var out []fleet.Action
	was := map[string][]string{}
	for _, d := range t.rec.Exits {
		was[d.Instance] = d.Targets
	}
	for i := range t.v.s.Groups {
		g := &t.v.s.Groups[i]
		for j := range g.Instances {
			in := &g.Instances[j]
			n := t.v.s.NodeOf(in.ID)
			if n == nil || in.Leaving() || goes[n.Name] {
				continue
			}
			ours := n.OutBy == t.rec.Run || n.Mark() != nil && n.Mark().Value == t.rec.Run
			for _, tg := range g.Targets {
				if !tg.Loose && !tg.IP && in.Target(tg.ARN) == fleet.TargetUnused && (ours || slices.Contains(was[in.ID], tg.ARN)) {
					out = append(out, fleet.Action{Verb: fleet.Register, Environment: t.p.Environment, Run: t.rec.Run, Instance: in.ID, Node: n.Name, Group: g.Name, Target: tg.ARN, Why: "it stays"})
				}
			}
		}
	}
	return out
}

// groupsReady marks every group that loses nodes, lowers its minimum, stops AZRebalance and protects who stays. All of it has to be visible before the
// first node goes.
func (t *turn) groupsReady(exits []fleet.Departure) bool {
	before := len(t.out.Actions)
	ready := true
	for i := range t.rec.Groups {
		r := &t.rec.Groups[i]
		g := t.v.s.Group(r.Name)
		switch {
		case g == nil:
			t.hold("group "+r.Name, "is gone")
			continue
		case g.Trouble != "":
			t.hold("group "+r.Name, "%s", g.Trouble)
			ready = false
			continue
		case g.Mark != nil:
			t.hold("group "+r.Name, "is in the middle of run %s", g.Mark.Run)
			ready = false
			continue
		}
		ready = t.groupReady(r, g, slices.ContainsFunc(exits, func(d fleet.Departure) bool { return d.Group == g.Name })) && ready
	}
	return ready && len(t.out.Actions) == before
}

func (t *turn) groupReady(r *fleet.SleepGroup, g *fleet.Group, leaves bool) bool {
	if g.Sleep == nil {
		suspends := !slices.Contains(r.Suspended, fleet.AZRebalance)
		bed := &fleet.GroupSleep{Environment: t.p.Environment, Run: t.rec.Run, Min: r.Min, Max: r.Max, Desired: r.Desired, Suspended: suspends}
		t.do(fleet.Action{Verb: fleet.MarkGroup, Group: g.Name, Bed: bed, Why: "how it was, first"})
		return false
	}
	if g.Sleep.Run != t.rec.Run || g.Sleep.Environment != t.p.Environment {
		t.hold("group "+g.Name, "is marked by sleep %s of environment %s", g.Sleep.Run, g.Sleep.Environment)
		return false
	}
	if floor := min(r.Min, r.Floor()); g.Min > floor {
		t.do(fleet.Action{Verb: fleet.Bound, Group: g.Name, From: g.Min, To: floor, Why: fmt.Sprintf("%d of its nodes go", r.Exits)})
	}
	if r.Exits == 0 && !leaves {
		return true
	}
	if !g.IsSuspended(fleet.AZRebalance) && (leaves || len(r.Keepers) > 0) {
		t.do(fleet.Action{Verb: fleet.Suspend, Group: g.Name, Process: fleet.AZRebalance, Why: "it would end instances that nobody emptied"})
	}
	var bare []string
	for i := range g.Instances {
		if in := &g.Instances[i]; in.Lifecycle == fleet.InService && !in.Protected && slices.Contains(r.Keepers, in.ID) {
			bare = append(bare, in.ID)
		}
	}
	if len(bare) > 0 {
		t.do(fleet.Action{Verb: fleet.Protect, Group: g.Name, Instances: bare, Why: "they carry pods of others"})
	}
	return true
}

// closed waits for the machines that were ended.
func (t *turn) closed() bool {
	all := true
	for i := range t.rec.Groups {
		g := t.v.s.Group(t.rec.Groups[i].Name)
		if g == nil {
			continue
		}
		for j := range g.Instances {
			if in := &g.Instances[j]; in.Leaving() && t.planned(in.ID) {
				t.hold("instance "+in.ID, "is %s", in.Lifecycle)
				all = false
			}
		}
	}
	return all
}

// released puts AZRebalance back where no node is left that it could end. Where others have nodes it stays off until the start, because it could take
// theirs to even out the zones.
func (t *turn) released() bool {
	all := true
	for i := range t.rec.Groups {
		g := t.v.s.Group(t.rec.Groups[i].Name)
		if g != nil && g.Sleep != nil && g.Sleep.Suspended && len(g.Instances) == 0 && g.IsSuspended(fleet.AZRebalance) {
			t.do(fleet.Action{Verb: fleet.Resume, Group: g.Name, Process: fleet.AZRebalance, Why: "the group is empty"})
			all = false
		}
	}
	return all
}
