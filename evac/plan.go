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
	Record   fleet.RotationRecord // of a rotation: written before its first change. Zero for a drain
	Resumed  bool                 // an earlier process began this run
	Forecast Forecast

	Pods []fleet.PodRef // that a person has asked to move, whatever becomes of their nodes

	Policy *fleet.Policy // of departures that AWS gives notice of; nil for anything that a person asked for
}

// Back tells whether the plan takes its run back.
func (p *Plan) Back() bool { return p.Record.Intent == fleet.Back }

// GroupPlan is what a rotation changes on a group, and what it returns to.
type GroupPlan struct {
	Name      string
	Criterion string
	Desired   int // to return to
	Max       int
	Surge     int
	Wants     []fleet.Template
	Managed   bool   // an EKS managed node group: replaced as a whole by a copy
	Copy      string // the copy's name
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

// Options are the choices of the person who asks for a new run.
type Options struct {
	Run       string
	Requester string
	Criterion string
	Words     string // the criterion as typed
	Surge     Surge
	Force     bool          // evict pods that nobody will recreate
	Canary    time.Duration // replace one node first, then watch it this long
	Bake      time.Duration // keep old nodes in Standby this long
	Probes    []string      // health probes as typed
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

// Make plans departures, as a new run when groups are given. With a finding that blocks, the plan must not be carried out.
func Make(s *fleet.Snapshot, groups []string, departures []fleet.Departure, o Options) (Plan, []fleet.Finding) {
	p := Plan{Run: o.Run, At: s.Now, Force: o.Force}
	ix := newIndex(s)
	var findings []fleet.Finding
	for _, name := range groups {
		g := s.Group(name)
		findings = append(findings, notFree(s, g)...)
		if g.Trouble != "" {
			findings = append(findings, finding(groupTrouble, "group "+name, "%s", g.Trouble).next("mend it first"))
		}
		if why := strange(ix, g); why != "" {
			findings = append(findings, finding(otherCluster, "group "+name, "%s", why).next("check --context and --profile"))
		}
		gp, found := planGroup(g, departures, o)
		p.Groups = append(p.Groups, gp)
		findings = append(findings, found...)
	}
	p.Exits = orderExits(ix, departures)
	findings = append(findings, p.planPods(ix)...)
	findings = append(findings, otherRuns(ix, &p)...)
	findings = append(findings, tooFewZones(ix, &p)...)
	findings = append(findings, advisories(ix, &p)...)
	if len(groups) > 0 {
		p.Record = newRecord(s, &p, o)
		findings = append(findings, notNow(s)...)
	}
	if !Blocked(findings) {
		p.Forecast = Preview(p, *s)
		p.Record.Forecast = p.Forecast.Took
	}
	p.Record.Hash = p.Hash()
	return p, findings
}

// Blocked tells whether a plan with these findings must not be carried out.
func Blocked(findings []fleet.Finding) bool {
	return slices.ContainsFunc(findings, func(f fleet.Finding) bool { return f.Blocks })
}

// strange tells of a group none of whose machines is a node of this cluster. Their pods, if they have any, are not to be seen from here.
func strange(ix *index, g *fleet.Group) string {
	for i := range g.Instances {
		if ix.nodeOf[g.Instances[i].ID] != nil {
			return ""
		}
	}
	if counted(g) == 0 {
		return ""
	}
	return fmt.Sprintf("none of its %d instances is a node of this cluster; is it another cluster's group?", counted(g))
}

// notFree finds the run that a group is in the middle of.
func notFree(s *fleet.Snapshot, g *fleet.Group) []fleet.Finding {
	r := Ongoing(s, []string{g.Name})
	if r == nil {
		return nil
	}
	return []fleet.Finding{finding(runUnderWay, "group "+g.Name, "is in the middle of run %s", r.Run).next("finish that run with drover rotate %s, or take it back with drover abort %s", g.Name, g.Name)}
}

// notNow finds what keeps any run from beginning.
func notNow(s *fleet.Snapshot) []fleet.Finding {
	if s.Stopped != nil {
		return []fleet.Finding{finding(stopped, "cluster", "everything is %s", s.Stopped).next("drover resume --all, when they agree")}
	}
	if s.Unjournaled == "" {
		return nil
	}
	return []fleet.Finding{finding(noJournal, "cluster", "%s", s.Unjournaled).next("install them: drover install")}
}

func planGroup(g *fleet.Group, departures []fleet.Departure, o Options) (GroupPlan, []fleet.Finding) {
	exits := 0
	for _, d := range departures {
		if d.Group == g.Name {
			exits++
		}
	}
	gp := GroupPlan{Name: g.Name, Criterion: o.Criterion, Desired: g.Desired, Max: g.Max, Surge: o.Surge.Of(g, exits), Wants: g.Wants, Managed: g.Managed != nil}
	var findings []fleet.Finding
	if exits == 0 {
		return gp, nil
	}
	if gp.Managed {
		gp.Copy = copyName(g.Name, o.Run)
		return gp, managedFindings(g, exits, o)
	}
	for i := range g.Instances {
		if in := &g.Instances[i]; strings.Contains(in.Lifecycle, "Standby") {
			findings = append(findings, finding(standby, "instance "+in.ID, "is in Standby: group %s does not count it, and drover could not tell when it is wanted again", g.Name).next("put it back into service or end it first"))
		}
	}
	if need := g.Desired + gp.Surge; need > g.Max {
		findings = append(findings, finding(maxTooSmall, "group "+g.Name, "max %d is too small: desired %d + surge %d = %d", g.Max, g.Desired, gp.Surge, need).next("%s", surgeAdvice(g, need)))
	}
	return gp, findings
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
	var findings []fleet.Finding
	for _, e := range p.Exits {
		if e.Node == "" {
			p.Notes = append(p.Notes, fmt.Sprintf("instance %s never registered as a node: nothing to move, it is only closed", e.Instance))
			continue
		}
		for _, t := range ix.on(e.Node) {
			pod := t.Pod
			if why := pod.Stays(); why != "" {
				p.Stays = append(p.Stays, Stay{Pod: pod.Ref, Node: e.Node, Why: why})
				continue
			}
			p.Moves = append(p.Moves, Move{Pod: pod.Ref, Owner: pod.Owner, From: e.Node, Lane: laneOf(pod).String(), Why: ix.remark(pod)})
			findings = append(findings, podFindings(ix, pod, p.taint(), p.Force)...)
			findings = append(findings, storeFindings(ix, pod)...)
		}
	}
	return dedupe(findings)
}

// tooFewZones finds groups whose surge does not reach every zone that a volume needs a new node in. Where a group has one zone, every node is there.
func tooFewZones(ix *index, p *Plan) []fleet.Finding {
	need, exits := map[string]map[string]bool{}, map[string]int{}
	for _, e := range p.Exits {
		exits[e.Group]++
		for _, pod := range ix.on(e.Node) {
			if need[e.Group] == nil {
				need[e.Group] = map[string]bool{}
			}
			if pod.Stays() == "" && !pod.Finished && len(pod.VolumeZones) > 0 {
				need[e.Group][e.Zone] = true
			}
		}
	}
	var out []fleet.Finding
	for _, gp := range p.Groups {
		g := ix.s.Group(gp.Name)
		if n := len(need[gp.Name]); g == nil || gp.Managed || len(g.Zones) < 2 || n == 0 || gp.Surge >= min(len(g.Zones), exits[gp.Name]) {
			continue
		}
		out = append(out, finding(volumeZones, "group "+gp.Name, "surge %d, and pods have volumes in %s of its %d: AWS chooses where new nodes go, and may never choose a volume's zone", gp.Surge, plural(len(need[gp.Name]), "zone", "zones"), len(g.Zones)).
			next("use --surge %d", min(len(g.Zones), exits[gp.Name])))
	}
	return out
}

// remark is what is worth knowing about a pod's move; usually nothing.
func (ix *index) remark(p *fleet.Pod) string {
	if p.Finished {
		return "finished: removed with its node"
	}
	if st := ix.storeOf(p); st != nil {
		return fmt.Sprintf("mover %s: with store %s, one pod at a time", st.Mover, st.Name)
	}
	if p.Courted != nil {
		return "moved by " + p.Courted.Operator
	}
	if !ix.unmissable(p) {
		return ""
	}
	if why := ix.whyNoSurge(p); why != "" {
		return "single replica: not served while it moves, because " + why
	}
	return "its replacement comes first"
}

// podFindings says why a pod could never be moved.
func podFindings(ix *index, pod *fleet.Pod, taint fleet.Taint, force bool) []fleet.Finding {
	subject := "pod " + pod.Ref.String()
	switch {
	case pod.Finished, ix.temporary(pod):
		return nil
	case len(pod.Budgets) > 1:
		return []fleet.Finding{finding(twoBudgets, subject, "is covered by %d PodDisruptionBudgets (%s); the eviction API refuses such pods always", len(pod.Budgets), strings.Join(pod.Budgets, ", ")).
			next("leave one PodDisruptionBudget that selects it")}
	case pod.Owner.Kind == "" && !force:
		return []fleet.Finding{finding(noController, subject, "has no controller: evicted, it is gone for good").next("delete it yourself, give it a controller, or pass --force")}
	case pod.Tolerates(taint):
		return []fleet.Finding{finding(toleratesAll, subject, "tolerates every taint, so its replacement could come back to a node that is leaving, again and again").
			next("narrow the toleration of %s", pod.Owner)}
	}
	if len(pod.Budgets) == 1 {
		b := ix.budget[pod.Budgets[0]]
		if b == nil || !b.Never() {
			return nil
		}
		if why := ix.whyNoSurge(pod); why != "" {
			return []fleet.Finding{finding(budgetNever, "budget "+b.Name, "can never allow a disruption: it wants %d healthy of the %d pods it counts, and %s", b.Desired, b.Expected, why).
				next("lower minAvailable (or raise maxUnavailable), or run one replica more")}
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
		if run == fleet.NoticeRun {
			p.Notes = append(p.Notes, fmt.Sprintf("AWS gave notice of node %s before, and drover controller empties it", n.Name))
			continue
		}
		group := groupOfRun(ix.s, run)
		if group == "" {
			p.Notes = append(p.Notes, fmt.Sprintf("node %s was drained by hand before (%s): this run takes it over", n.Name, run))
			continue
		}
		out = append(out, finding(runUnderWay, "node "+n.Name, "is leaving with run %s of group %s", run, group).next("finish that run first: drover rotate %s", group))
	}
	return out
}

// groupOfRun names a group that a run is about; "" when it is no rotation, or over.
func groupOfRun(s *fleet.Snapshot, run string) string {
	if r := s.Rotation(run); r != nil && len(r.Groups) > 0 {
		return r.Groups[0].Name
	}
	for i := range s.Groups {
		if m := s.Groups[i].Mark; m != nil && m.Run == run {
			return s.Groups[i].Name
		}
	}
	return ""
}

// dedupe keeps the first of equal findings: one budget is found once, not once per pod.
func dedupe(in []fleet.Finding) []fleet.Finding {
	seen := map[fleet.Finding]bool{}
	return slices.DeleteFunc(in, func(f fleet.Finding) bool {
		was := seen[f]
		seen[f] = true
		return was
	})
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

// Bound is what a plan may touch, its groups and exits, in twelve hexadecimal digits. Unlike Hash it stays the same when pods come and go.
func (p *Plan) Bound() string {
	var lines []string
	for _, g := range p.Groups {
		lines = append(lines, fmt.Sprintf("group %s %s %v\n", g.Name, g.Criterion, g.Wants))
	}
	for _, e := range p.Exits {
		lines = append(lines, fmt.Sprintf("exit %s %s %s %v %v\n", e.Group, e.Instance, e.Node, e.Replace, e.Release))
	}
	for _, ref := range p.Pods {
		lines = append(lines, fmt.Sprintf("pod %s %s\n", ref, ref.UID))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(sum[:])[:12]
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
