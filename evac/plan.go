// Package evac is the one door: every way a node goes away passes through it. It decides which pods move, in what order, under whose
// budget, and when the machine may go.
//
// Make turns departures into a Plan, or says what stands in the way. Next looks at a snapshot and says what to do now: it keeps no state,
// so whoever calls it after a crash goes on from what the world shows. Preview folds Next over an optimistic copy of the world, which is
// how a plan can tell beforehand what it will do and how long that takes.
//
// The package never acts, waits, or reads a clock.
package evac

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// Plan is what would happen: an approved bound. Next never touches a node, an instance or a group outside it.
type Plan struct {
	Run      string
	At       time.Time // when the run began
	Groups   []GroupPlan
	Exits    []Exit
	Moves    []Move
	Stays    []Stay
	Notes    []string
	Force    bool
	Forecast Forecast
}

// GroupPlan is what a rotation changes on a group, and what it returns to.
type GroupPlan struct {
	Name      string
	Criterion string
	Desired   int // to return to
	Max       int
	Surge     int
	Wants     []fleet.Template
	Resumed   bool // an earlier process began this run
}

// Exit is all that one departure needs.
type Exit struct {
	fleet.Departure
	Zone string
}

// Move is one pod that has to leave its node.
type Move struct {
	Pod   fleet.PodRef
	Owner fleet.Owner
	From  string
	Lane  string
	Why   string // worth knowing about this move; usually empty
}

// Stay is a pod that is left on its node.
type Stay struct {
	Pod       fleet.PodRef
	Node, Why string
}

// Options are the choices of the person who asks for a plan.
type Options struct {
	Run       string // id of a new run; ignored where a group's mark already carries one
	Criterion string
	Surge     Surge
	Force     bool // evict pods that nobody will recreate
}

// Surge is how many nodes above desired may exist at once: a number, a percentage of desired, or by default one per zone.
type Surge struct{ Count, Percent int }

// Of returns the surge in nodes for a group: at least one.
func (s Surge) Of(g *fleet.Group, exits int) int {
	n := len(g.Zones)
	switch {
	case s.Count > 0:
		n = s.Count
	case s.Percent > 0:
		n = (g.Desired*s.Percent + 99) / 100
	}
	return max(1, min(n, exits))
}

// Make plans the departures. groups are those to rotate: a group whose exits are all done may still have to be restored. Problems are
// reasons not to start; with any of them the plan must not be carried out.
func Make(s *fleet.Snapshot, groups []string, departures []fleet.Departure, o Options) (Plan, []fleet.Finding) {
	p := Plan{Run: o.Run, At: s.Now, Force: o.Force}
	ix := newIndex(s)
	var problems []fleet.Finding
	for _, name := range groups {
		m := s.Group(name).Mark
		if m == nil {
			continue
		}
		if p.Run != o.Run && p.Run != m.Run {
			problems = append(problems, fleet.Finding{Subject: "group " + name, Reason: fmt.Sprintf("is in the middle of run %s, another group of this command in run %s", m.Run, p.Run), Next: "finish them one by one: drover rotate " + name})
		}
		p.Run, p.At = m.Run, m.At
		if o.Surge != (Surge{}) && o.Surge.Of(s.Group(name), len(departures)) != m.Surge {
			p.Notes = append(p.Notes, fmt.Sprintf("group %s: surge stays %d, as this run was approved; --surge counts for new runs", name, m.Surge))
		}
	}
	for _, name := range groups {
		g, pr := planGroup(s.Group(name), departures, o)
		p.Groups = append(p.Groups, g)
		problems = append(problems, pr...)
	}
	p.Exits = orderExits(ix, departures)
	problems = append(problems, p.planPods(ix)...)
	problems = append(problems, otherRuns(ix, &p)...)
	if len(problems) == 0 {
		p.Forecast = Preview(p, *s)
	}
	return p, problems
}

func planGroup(g *fleet.Group, departures []fleet.Departure, o Options) (GroupPlan, []fleet.Finding) {
	exits := 0
	for _, d := range departures {
		if d.Group == g.Name {
			exits++
		}
	}
	gp := GroupPlan{Name: g.Name, Criterion: o.Criterion, Desired: g.Desired, Max: g.Max, Surge: o.Surge.Of(g, exits), Wants: g.Wants}
	if m := g.Mark; m != nil {
		gp.Resumed, gp.Desired, gp.Surge = true, m.Desired, m.Surge
		return gp, nil // as it was approved: another surge now would be another plan
	}
	var problems []fleet.Finding
	for i := range g.Instances {
		if in := &g.Instances[i]; exits > 0 && strings.Contains(in.Lifecycle, "Standby") {
			problems = append(problems, fleet.Finding{Subject: "instance " + in.ID, Reason: "is in Standby: group " + g.Name + " does not count it, and drover could not tell when it is wanted again", Next: "put it back into service or end it first"})
		}
	}
	if need := g.Desired + gp.Surge; exits > 0 && need > g.Max {
		problems = append(problems, fleet.Finding{
			Subject: "group " + g.Name,
			Reason:  fmt.Sprintf("max %d is too small: desired %d + surge %d = %d", g.Max, g.Desired, gp.Surge, need),
			Next:    surgeAdvice(g, need),
		})
	}
	return gp, problems
}

func surgeAdvice(g *fleet.Group, need int) string {
	raise := fmt.Sprintf("raise the group's max to %d", need)
	if room := g.Max - g.Desired; room > 0 {
		return fmt.Sprintf("use --surge %d, or %s", room, raise)
	}
	return raise
}

// orderExits interleaves zones, and within a zone puts the nodes with the fewest pods first: each wave then frees capacity where the
// group's own zone balance puts the new nodes, and the first node to finish finishes soon.
func orderExits(ix *index, departures []fleet.Departure) []Exit {
	byZone := map[string][]Exit{}
	for _, d := range departures {
		e := Exit{Departure: d}
		if at := ix.instance[d.Instance]; at.in != nil {
			e.Zone = at.in.Zone
		} else if n := ix.node[d.Node]; n != nil {
			e.Zone = n.Zone
		}
		byZone[e.Zone] = append(byZone[e.Zone], e)
	}
	zones := make([]string, 0, len(byZone))
	for z, exits := range byZone {
		zones = append(zones, z)
		slices.SortStableFunc(exits, func(a, b Exit) int {
			return cmp.Or(cmp.Compare(len(ix.movable(ix.node[a.Node])), len(ix.movable(ix.node[b.Node]))), cmp.Compare(a.Instance, b.Instance))
		})
	}
	slices.Sort(zones)
	var out []Exit
	for round := 0; len(out) < len(departures); round++ {
		for _, z := range zones {
			if round < len(byZone[z]) {
				out = append(out, byZone[z][round])
			}
		}
	}
	return out
}

// taint is the run's hard taint.
func (p *Plan) taint() fleet.Taint {
	return fleet.Taint{Key: fleet.TaintKey, Value: p.Run, Effect: fleet.NoSchedule}
}

// planPods lists what moves and what stays, and finds the pods that never could.
func (p *Plan) planPods(ix *index) []fleet.Finding {
	var problems []fleet.Finding
	for _, e := range p.Exits {
		if e.Node == "" {
			p.Notes = append(p.Notes, fmt.Sprintf("instance %s never registered as a node: nothing to move, it is only closed", e.Instance))
			continue
		}
		for _, pod := range ix.pods[e.Node] {
			if why := pod.Stays(); why != "" {
				p.Stays = append(p.Stays, Stay{Pod: pod.Ref, Node: e.Node, Why: why})
				continue
			}
			move := Move{Pod: pod.Ref, Owner: pod.Owner, From: e.Node, Lane: laneOf(pod).String()}
			switch {
			case pod.Finished:
				move.Why = "finished: removed with its node"
			case ix.single(pod):
				move.Why = "single replica: its replacement comes first"
			}
			problems = append(problems, podProblems(ix, pod, p.taint(), p.Force)...)
			p.Moves = append(p.Moves, move)
		}
	}
	return dedupe(problems)
}

// podProblems says why a pod could never be moved.
func podProblems(ix *index, pod *fleet.Pod, taint fleet.Taint, force bool) []fleet.Finding {
	subject := "pod " + pod.Ref.String()
	switch {
	case pod.Finished:
		return nil
	case len(pod.Budgets) > 1:
		return []fleet.Finding{{
			Subject: subject, Reason: "is covered by " + fmt.Sprint(len(pod.Budgets)) + " PodDisruptionBudgets (" + strings.Join(pod.Budgets, ", ") + "); the eviction API refuses such pods always",
			Next: "leave one PodDisruptionBudget that selects it",
		}}
	case pod.Owner.Kind == "" && !force:
		return []fleet.Finding{{
			Subject: subject, Reason: "has no controller: evicted, it is gone for good",
			Next: "delete it yourself, give it a controller, or pass --force",
		}}
	case pod.Tolerates(taint):
		return []fleet.Finding{{
			Subject: subject, Reason: "tolerates every taint, so its replacement could come back to a node that is leaving, again and again",
			Next: "narrow the toleration of " + pod.Owner.String(),
		}}
	}
	if len(pod.Budgets) == 1 {
		if b := ix.budget[pod.Budgets[0]]; b != nil && b.Never() {
			return []fleet.Finding{{
				Subject: "budget " + b.Name,
				Reason:  fmt.Sprintf("can never allow a disruption: it wants %d healthy of the %d pods it counts", b.Desired, b.Expected),
				Next:    "lower minAvailable (or raise maxUnavailable), or run one replica more",
			}}
		}
	}
	return nil
}

// otherRuns finds nodes that a run of some other group is taking away: two runs must not share a node. A node that a person has drained is
// taken over.
func otherRuns(ix *index, p *Plan) []fleet.Finding {
	var out []fleet.Finding
	for _, e := range p.Exits {
		n := ix.node[e.Node]
		if n == nil || n.Mark() == nil || n.Mark().Value == p.Run {
			continue
		}
		run := n.Mark().Value
		i := slices.IndexFunc(ix.s.Groups, func(g fleet.Group) bool { return g.Mark != nil && g.Mark.Run == run })
		if i < 0 {
			p.Notes = append(p.Notes, fmt.Sprintf("node %s was drained by hand before (%s): this run takes it over", n.Name, run))
			continue
		}
		out = append(out, fleet.Finding{
			Subject: "node " + n.Name, Reason: "is leaving with run " + run + " of group " + ix.s.Groups[i].Name,
			Next: "finish that run first: drover rotate " + ix.s.Groups[i].Name,
		})
	}
	return out
}

func dedupe(in []fleet.Finding) []fleet.Finding {
	var out []fleet.Finding
	for _, p := range in {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// Group returns the plan for a group, or nil.
func (p *Plan) Group(name string) *GroupPlan {
	for i := range p.Groups {
		if p.Groups[i].Name == name {
			return &p.Groups[i]
		}
	}
	return nil
}

// Hash is the plan's content in twelve hexadecimal digits: two plans with one hash touch the same nodes, move the same pods and change the
// same groups.
func (p *Plan) Hash() string {
	h := sha256.New()
	for _, g := range p.Groups {
		fmt.Fprintf(h, "group %s %s %d %d %v\n", g.Name, g.Criterion, g.Desired, g.Surge, g.Wants)
	}
	for _, e := range p.Exits {
		fmt.Fprintf(h, "exit %s %s %v %v\n", e.Instance, e.Node, e.Replace, e.Release)
	}
	for _, m := range p.Moves {
		fmt.Fprintf(h, "move %s %s %s\n", m.Pod.UID, m.From, m.Lane)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}
