package env

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// recordGroups puts down how every group is, chooses the nodes that go, and names the pods that others stay for.
func (v *view) recordGroups(p *Plan, o *Options) []fleet.Finding {
	var findings []fleet.Finding
	for _, name := range v.e.Spec.Groups {
		g := v.s.Group(name)
		if why := notReady(v.s, g); why != "" {
			findings = append(findings, fleet.Found("env-group", "group "+name, "%s", why).Then("mend that first"))
			continue
		}
		plan := v.chooseExits(g)
		findings = append(findings, v.guestFindings(g, &plan, o)...)
		p.Groups = append(p.Groups, plan)
		p.Record.Exits = append(p.Record.Exits, plan.Exits...)
		p.Record.Groups = append(p.Record.Groups, sleepGroup(g, &plan))
	}
	findings = append(findings, v.carry(p, o)...)
	findings = append(findings, v.unserved(p)...)
	return append(findings, v.daemons(p, o)...)
}

// unserved finds load balancers whose every target goes.
func (v *view) unserved(p *Plan) []fleet.Finding {
	goes, left, arns := map[string]bool{}, map[string]bool{}, map[string]string{}
	for _, d := range p.Record.Exits {
		goes[d.Instance] = true
	}
	for i := range v.s.Groups {
		g := &v.s.Groups[i]
		for _, tg := range g.Targets {
			for _, in := range g.Instances {
				switch {
				case in.Target(tg.ARN) == fleet.TargetUnused:
				case goes[in.ID]:
					arns[tg.ARN] = tg.Name
				default:
					left[tg.ARN] = true
				}
			}
		}
	}
	var out []fleet.Finding
	for arn, name := range arns {
		if !left[arn] {
			out = append(out, fleet.Found("env-targets", "target group "+name, "loses every target that is an instance: it serves nobody until the start").Then("nothing, if it serves only this environment"))
		}
	}
	slices.SortFunc(out, func(a, b fleet.Finding) int { return strings.Compare(a.Subject, b.Subject) })
	return out
}

// daemons finds DaemonSets of others all of whose pods are on nodes that go: nothing of them is left then.
func (v *view) daemons(p *Plan, o *Options) []fleet.Finding {
	goes := map[string]bool{}
	for _, d := range p.Record.Exits {
		goes[d.Node] = true
	}
	stays, seen := map[fleet.Owner]bool{}, map[fleet.Owner]string{}
	for i := range v.s.Pods {
		pod := &v.s.Pods[i]
		if pod.Owner.Kind != "DaemonSet" || pod.Finished || v.owns(pod) || v.carried(pod.Ref.Namespace) {
			continue
		}
		if goes[pod.Node] {
			seen[pod.Owner] = pod.Node
		} else {
			stays[pod.Owner] = true
		}
	}
	var out []fleet.Finding
	for owner, node := range seen {
		if !stays[owner] {
			out = append(out, fleet.Found("env-guests", owner.String(), "is somebody else's, and has pods nowhere but on nodes that go, %s for one", node).
				Then("add it to the environment, name its namespace in spec.policy.carry, or --force env-guests").Block(!o.forced("env-guests")))
		}
	}
	slices.SortFunc(out, func(a, b fleet.Finding) int { return strings.Compare(a.Subject, b.Subject) })
	return out
}

// notReady says why a group cannot be changed now.
func notReady(s *fleet.Snapshot, g *fleet.Group) string {
	switch {
	case g == nil:
		return "AWS lists no group of that name"
	case g.Trouble != "":
		return g.Trouble
	case g.Cluster != "" && s.Cluster != "" && g.Cluster != s.Cluster, !s.Owns(g) && len(g.Instances) > 0:
		return "is not this cluster's"
	case g.Managed != nil && (g.Managed.Status != "ACTIVE" || g.Managed.Trouble != ""):
		return fmt.Sprintf("EKS says it is %s %s", g.Managed.Status, g.Managed.Trouble)
	}
	if slices.Contains(g.Suspended, "Launch") {
		return "its process Launch is suspended: what is ended would never come back"
	}
	if r := evac.Ongoing(s, []string{g.Name}); r != nil {
		return "is in the middle of run " + r.Run
	}
	return ""
}

// chooseExits splits a group's nodes into those that carry none but the environment's pods, and the others.
func (v *view) chooseExits(g *fleet.Group) Group {
	out := Group{Name: g.Name}
	for i := range g.Instances {
		in := &g.Instances[i]
		if !in.Counted() {
			continue
		}
		d := v.departure(g, in)
		if d.Node == "" && (in.Launched.IsZero() || v.s.Now.Sub(in.Launched) < booting) {
			out.Keepers = append(out.Keepers, Keeper{Instance: in.ID, Why: "it is no node yet, so nobody can tell for whom it comes"})
			continue
		}
		if guests := v.guests(d.Node); len(guests) > 0 {
			out.Keepers = append(out.Keepers, Keeper{Node: d.Node, Instance: in.ID, Guests: guests})
			continue
		}
		if n := v.s.Node(d.Node); n != nil && n.Mark() != nil {
			out.Keepers = append(out.Keepers, Keeper{Node: d.Node, Instance: in.ID, Why: "it leaves already with " + n.Mark().Value})
			continue
		}
		out.Exits = append(out.Exits, d)
	}
	return out
}

// booting is how long an instance may take to become a node.
const booting = 15 * time.Minute

func (v *view) departure(g *fleet.Group, in *fleet.Instance) fleet.Departure {
	d := fleet.Departure{Instance: in.ID, Group: g.Name, Cause: fleet.Sleeping, Why: "environment " + v.e.Name + " is switched off", Release: true}
	if n := v.s.NodeOf(in.ID); n != nil {
		d.Node = n.Name
	}
	for _, target := range in.Targets {
		d.Targets = append(d.Targets, target.Group)
	}
	return d
}

// guestFindings names the pods of others on a group. They keep their nodes, or the whole environment from being stopped, as its policy says.
func (v *view) guestFindings(g *fleet.Group, plan *Group, o *Options) []fleet.Finding {
	var out []fleet.Finding
	for _, k := range plan.Keepers {
		if len(k.Guests) == 0 {
			continue
		}
		var names []string
		for _, guest := range k.Guests {
			names = append(names, guest.String())
		}
		out = append(out, fleet.Found("env-guests", fmt.Sprintf("node %s of group %s", k.Node, g.Name), "carries %s: it stays", list(names)).
			Then("separate them: drover isolate %s", v.e.Name).Block(v.e.Spec.Policy.Shared == fleet.SharedRefuse && !o.forced("env-guests")))
	}
	return out
}

func sleepGroup(g *fleet.Group, plan *Group) fleet.SleepGroup {
	out := fleet.SleepGroup{Name: g.Name, Scaling: g.Scaling(), Managed: g.Managed != nil, Min: g.Min, Max: g.Max, Desired: g.Desired, Suspended: slices.Clone(g.Suspended), Exits: len(plan.Exits)}
	if g.Managed != nil {
		out.Cluster = g.Managed.Cluster
	}
	for i := range g.Instances {
		if g.Instances[i].Protected {
			out.Protected = append(out.Protected, g.Instances[i].ID)
		}
	}
	for _, k := range plan.Keepers {
		out.Keepers = append(out.Keepers, k.Instance)
	}
	return out
}

// carry looks which pods of nobody's have to be moved off the exits. A node whose pods fit nowhere else stays.
func (v *view) carry(p *Plan, o *Options) []fleet.Finding {
	var findings []fleet.Finding
	for tries := 0; len(p.Record.Exits) > 0; tries++ {
		empty := v.withoutOwn()
		plan, found := evac.Make(empty, nil, p.Record.Exits, evac.Options{Run: p.Record.Run, Force: o.forced("env-bare-pod")})
		stuck, why := worst(empty, &plan, found)
		if stuck == "" {
			p.Carried = nil
			for _, m := range plan.Moves {
				p.Carried = append(p.Carried, m.Pod)
			}
			return findings
		}
		findings = append(findings, fleet.Found("env-no-room", "node "+stuck, "%s: it stays", why).Then("make room for that pod on other nodes, if it should go"))
		p.keep(stuck, why)
		for _, m := range plan.Moves { // many: those that carry anything stay, rather than be tried one after the other
			if tries > 4 && slices.ContainsFunc(p.Record.Exits, func(d fleet.Departure) bool { return d.Node == m.From }) {
				findings = append(findings, fleet.Found("env-no-room", "node "+m.From, "pod %s may fit nowhere else: it stays", m.Pod).Then("make room for that pod on other nodes, if it should go"))
				p.keep(m.From, "pod "+m.Pod.String()+" may fit nowhere else")
			}
		}
	}
	return findings
}

// withoutOwn is the fleet when the environment's pods are gone.
func (v *view) withoutOwn() *fleet.Snapshot {
	c := v.s.Clone()
	held := map[string]bool{} // nodes with volumes of pods that are not the environment's
	for i := range c.Pods {
		if p := &c.Pods[i]; !v.owns(p) && (p.OwnDisk || len(p.VolumeZones) > 0) {
			held[p.Node] = true
		}
	}
	for i := range c.Nodes {
		if n := &c.Nodes[i]; !held[n.Name] {
			n.Volumes = nil // they leave with the pods
		}
	}
	c.Pods = slices.DeleteFunc(c.Pods, func(p fleet.Pod) bool { return v.owns(&p) && p.Stays() == "" })
	return &c
}

// worst is the node to keep when not all of them can be emptied, and why; "" when all can.
func worst(s *fleet.Snapshot, p *evac.Plan, findings []fleet.Finding) (node, why string) {
	for _, f := range findings {
		if !f.Blocks {
			continue
		}
		for _, m := range p.Moves {
			if f.Subject == "pod "+m.Pod.String() || f.Subject == "node "+m.From {
				return m.From, f.Subject + " " + f.Reason
			}
		}
		return p.Exits[0].Name(), f.Subject + " " + f.Reason
	}
	if len(p.Forecast.Stuck) == 0 {
		return "", ""
	}
	most := -1
	for i := range p.Exits {
		if n := len(s.PodsOn(p.Exits[i].Node)); n > most && slices.ContainsFunc(p.Moves, func(m evac.Move) bool { return m.From == p.Exits[i].Node }) {
			most, node = n, p.Exits[i].Node
		}
	}
	if node == "" {
		node = p.Exits[0].Name()
	}
	return node, p.Forecast.Stuck[0].String()
}

// keep takes a node out of the exits.
func (p *Plan) keep(node, why string) {
	for i := range p.Groups {
		g := &p.Groups[i]
		for j, d := range g.Exits {
			if d.Name() != node {
				continue
			}
			g.Keepers = append(g.Keepers, Keeper{Node: d.Node, Instance: d.Instance, Why: why})
			g.Exits = slices.Delete(g.Exits, j, j+1)
			p.Record.Groups[i].Exits--
			p.Record.Groups[i].Keepers = append(p.Record.Groups[i].Keepers, d.Instance)
			break
		}
	}
	p.Record.Exits = slices.DeleteFunc(p.Record.Exits, func(d fleet.Departure) bool { return d.Name() == node })
}

// group is what becomes of a group whose sleep is on file.
func (v *view) group(r *fleet.SleepGroup, exits []fleet.Departure) Group {
	out := Group{Name: r.Name}
	for _, d := range exits {
		if d.Group == r.Name {
			out.Exits = append(out.Exits, d)
		}
	}
	for _, id := range r.Keepers {
		k := Keeper{Instance: id}
		if n := v.s.NodeOf(id); n != nil {
			k.Node, k.Guests = n.Name, v.guests(n.Name)
		}
		out.Keepers = append(out.Keepers, k)
	}
	return out
}
