package env

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// What holds where the owner of an environment has said nothing.
const (
	usualFights = 3
	usualWithin = time.Hour
)

// turn is one call of Next.
type turn struct {
	p   *Plan
	v   *view
	rec *fleet.SleepRecord
	out Step

	waits  bool          // for a machine to show whom it is for
	fights []fleet.Fight // as they are to be on file; nil when nobody fights
}

// Next says what the plan asks for in the world of the snapshot. It is a pure function: everything it knows, it reads there.
//
// What is off, is off because the world shows it, and so is what is on. The record says only what to switch and what to go back to.
func Next(p Plan, s fleet.Snapshot) Step {
	e := s.Environment(p.Environment)
	t := &turn{p: &p}
	if e == nil && p.On && !marksOf(&s, p.Environment) {
		t.out.Phase, t.out.Done = Awake, true // it was to be deleted, and waited for that
		return t.out
	}
	if e == nil {
		t.hold("environment "+p.Environment, "is gone, with what was on file about it; drover env repair %s makes it again from its copies", p.Environment)
		return t.out
	}
	t.v, t.rec = look(&s, e), e.Record
	if s.Stopped != nil {
		t.hold("environment "+e.Name, "everything is %s", s.Stopped)
		return t.out
	}
	if p.On {
		t.start()
	} else {
		t.stop()
	}
	if t.fights != nil {
		decided := t.out.Actions
		t.out.Actions = nil
		t.remember("somebody switches back what was switched", func(r *fleet.SleepRecord) { r.Fights = t.fights })
		t.out.Actions = append(t.out.Actions, decided...) // counted first: better once too often than not at all
	}
	t.lateness()
	return t.out
}

// marksOf tells whether anything is marked as switched off by an environment.
func marksOf(s *fleet.Snapshot, environment string) bool {
	return slices.ContainsFunc(s.Parts, func(p fleet.Part) bool { return p.Mark != nil && p.Mark.Environment == environment }) ||
		slices.ContainsFunc(s.Groups, func(g fleet.Group) bool { return g.Sleep != nil && g.Sleep.Environment == environment })
}

// lateness says that a stop or a start takes longer than its owner gives it.
func (t *turn) lateness() {
	since := time.Time{}
	switch {
	case t.rec == nil || t.out.Done:
		return
	case t.p.On:
		since = t.rec.Marks.Starting
	case t.rec.Marks.Asleep.IsZero():
		since = t.rec.At
		if t.rec.Marks.Again.After(since) {
			since = t.rec.Marks.Again
		}
	}
	if took := t.v.s.Now.Sub(since); !since.IsZero() && took > t.within() {
		t.hold("environment "+t.p.Environment+" is late", "%s for %s, longer than the %s that its policy gives", t.out.Phase, took.Round(time.Minute), t.within())
	}
}

func (t *turn) within() time.Duration {
	if w := t.v.e.Spec.Policy.Within; w > 0 {
		return w
	}
	return usualWithin
}

func (t *turn) do(a fleet.Action) {
	a.Environment = t.p.Environment
	if a.Run == "" && t.rec != nil {
		a.Run = t.rec.Run
	}
	t.out.Actions = append(t.out.Actions, a)
}

func (t *turn) hold(subject, format string, args ...any) {
	t.out.Holds = append(t.out.Holds, fleet.Hold{Subject: subject, Reason: fmt.Sprintf(format, args...)})
}

// forced tells whether a person overrides a finding: then, or now.
func (t *turn) forced(code string) bool {
	return slices.Contains(t.rec.Forced, code) || slices.Contains(t.p.Forced, code)
}

// remember writes the record anew with a change.
func (t *turn) remember(why string, change func(*fleet.SleepRecord)) {
	r := t.rec.Clone()
	change(&r)
	t.do(fleet.Action{Verb: fleet.Remember, Sleep: &r, Why: why})
}

// stop takes the next steps off. Each begins when the world shows that the one before is over.
func (t *turn) stop() {
	if t.out.Phase = Recording; !t.recorded() {
		return
	}
	if t.out.Phase = Pausing; !t.allOff(func(r *fleet.PartRecord) bool { return r.Turn == fleet.Unsynced }) {
		return
	}
	if t.out.Phase = SwitchingOff; !t.tiersOff() || !t.marked(&t.rec.Marks.Off, "every workload is off", func(m *fleet.SleepMarks) { m.Off = t.v.s.Now }) {
		return
	}
	if t.out.Phase = EndingNodes; !t.endNodes() {
		return
	}
	if t.out.Phase = StoppingData; !t.stopDatabases() || !t.marked(&t.rec.Marks.Asleep, "everything is off", func(m *fleet.SleepMarks) { m.Asleep = t.v.s.Now }) {
		return
	}
	t.out.Phase, t.out.Done = Asleep, true
	t.joined()
}

// joined names what came to the environment's declaration since it sleeps.
func (t *turn) joined() {
	for _, name := range t.v.e.Spec.Groups {
		if !slices.ContainsFunc(t.rec.Groups, func(g fleet.SleepGroup) bool { return g.Name == name }) {
			t.hold("group "+name, "is the environment's since it sleeps, and runs: it is switched at its next stop")
		}
	}
	for _, d := range t.v.e.Spec.Databases {
		if !slices.ContainsFunc(t.rec.Databases, func(k fleet.SleepDatabase) bool { return k.ID == d.ID }) {
			t.hold("database "+d.ID, "is the environment's since it sleeps: it is switched at its next stop")
		}
	}
}

// marked writes a moment down once.
func (t *turn) marked(at *time.Time, why string, set func(*fleet.SleepMarks)) bool {
	if !at.IsZero() {
		return true
	}
	t.remember(why, func(r *fleet.SleepRecord) { set(&r.Marks) })
	return false
}

// recorded has everything on file that the stop will change, twice: before the first change, and before each that comes to it.
func (t *turn) recorded() bool {
	if t.rec == nil {
		r := t.p.Record
		t.out.Actions = append(t.out.Actions, fleet.Action{Verb: fleet.Remember, Environment: t.p.Environment, Run: r.Run, Sleep: &r, Why: "how everything is, first"})
		return false
	}
	m := &t.rec.Marks
	if !m.Starting.IsZero() {
		t.remember("a start of it was under way: it goes back to sleep", func(r *fleet.SleepRecord) {
			r.Marks = fleet.SleepMarks{Archived: r.Marks.Archived, Again: t.v.s.Now}
			r.Fights = nil
		})
		return false
	}
	if t.p.At.After(t.rec.At) && slices.ContainsFunc(t.rec.Fights, func(f fleet.Fight) bool { return f.Last.Before(t.p.At) }) {
		t.remember("somebody asks for it again: what was given up is tried again", func(r *fleet.SleepRecord) { r.Fights = nil })
		return false
	}
	if late := t.late(); len(late) > 0 {
		t.remember("what came since is put down too", func(r *fleet.SleepRecord) {
			r.Parts = append(r.Parts, late...)
			r.Marks.Archived = time.Time{}
		})
		return false
	}
	switch {
	case t.v.e.Spec.Archive == "" || !m.Archived.IsZero():
		return true
	case t.v.e.Copied != t.rec.Copy():
		t.do(fleet.Action{Verb: fleet.Archive, Sleep: t.rec, Target: t.v.e.Spec.Archive, Why: "a second copy, outside of the cluster"})
	default:
		t.remember("the second copy is there", func(r *fleet.SleepRecord) { r.Marks.Archived = t.v.s.Now })
	}
	return false
}

// late are parts that came after the record was written and are on.
func (t *turn) late() []fleet.PartRecord {
	last := 0
	for _, r := range t.rec.Parts {
		last = max(last, r.Tier)
	}
	var out []fleet.PartRecord
	var came []*fleet.Part
	for _, p := range t.v.parts(t.forced("env-jobs")) {
		if r := t.rec.Part(p.Owner); r == nil && !p.Off && (p.Mark == nil || p.Mark.UID != p.UID) {
			if why := t.v.hesitates(p); why != "" {
				t.hold(p.ID(), "came while the environment sleeps, and is left on: %s", why)
				continue
			}
			came = append(came, p)
			rec := recordOf(p, min(last, 1))
			rec.Ready, _ = strconv.Atoi(p.Value) // what it needs may be off, so that none is Ready tells nothing
			out = append(out, rec)
		}
	}
	for _, app := range t.v.apps(came) {
		if t.rec.Part(app.Owner) == nil && !app.Off && app.Mark == nil {
			out = append(out, recordOf(app, 0))
		}
	}
	sortRecords(out)
	return out
}

// hesitates says why a part that came while the environment sleeps is not switched off without anybody being asked.
func (v *view) hesitates(p *fleet.Part) string {
	for i := range v.s.Environments {
		if o := &v.s.Environments[i]; o.Name != v.e.Name && o.Spec.Has(p.Owner, p.Labels) {
			return "it belongs to environment " + o.Name + " too"
		}
	}
	if p.Scratch != "" && p.Kind == "StatefulSet" {
		return "it keeps its data in " + p.Scratch + ", which is lost with its pods"
	}
	return ""
}

// allOff switches the chosen parts off, and returns whether they are.
func (t *turn) allOff(chosen func(*fleet.PartRecord) bool) bool {
	off := true
	for i := range t.rec.Parts {
		if r := &t.rec.Parts[i]; chosen(r) && !t.off(r) {
			off = false
		}
	}
	return off
}

// tiersOff switches tier by tier off, and waits for the pods of each to be gone.
func (t *turn) tiersOff() bool {
	for tier := 0; tier <= t.lastTier(); tier++ {
		in := func(r *fleet.PartRecord) bool { return r.Tier == tier && r.Turn != fleet.Unsynced }
		scaled := slices.ContainsFunc(t.rec.Parts, func(r fleet.PartRecord) bool { return r.Tier == tier && r.Turn == fleet.Scaled })
		if scaled && !t.jobsOver() {
			return false // what a Job needs stays until it is over
		}
		if off := t.allOff(in); !off || !t.gone(in) {
			return false
		}
	}
	return t.jobsOver()
}

func (t *turn) lastTier() int {
	last := 0
	for _, r := range t.rec.Parts {
		last = max(last, r.Tier)
	}
	return last
}

// off switches one part off. Who switches it back is fought a few times, and then named.
func (t *turn) off(r *fleet.PartRecord) bool {
	p := t.v.part[r.Owner]
	switch {
	case p == nil:
		return true // deleted meanwhile
	case p.Off && p.Mark != nil && p.Mark.Run == t.rec.Run:
		return true
	case p.Off && p.Mark != nil && p.Mark.UID == p.UID:
		t.hold(r.ID(), "is off, and marked by sleep %s of environment %s", p.Mark.Run, p.Mark.Environment)
		return true
	case p.Off: // somebody else's doing, as KEDA's; what was before is in the record, and belongs on the object too
		part := *r
		part.UID = p.UID
		t.do(fleet.Action{Verb: fleet.TurnOff, Part: &part, Why: "it is off already; how it was is put on it"})
		return false
	case p.Mark != nil && p.Mark.UID == p.UID && p.Mark.Run != t.rec.Run:
		t.hold(r.ID(), "is marked by sleep %s of environment %s", p.Mark.Run, p.Mark.Environment)
		return false
	}
	if p.Mark != nil && t.foreign(p) && !t.fight(r, p) {
		return r.Turn == fleet.Unsynced || !t.rec.Marks.Asleep.IsZero() // left on; everything behind it is looked after still
	}
	part := *r
	part.UID, part.Value, part.Absent = p.UID, p.Value, p.Absent // it may have been made anew, and an autoscaler may have moved it since it was recorded; the mark keeps what was last
	t.do(fleet.Action{Verb: fleet.TurnOff, Part: &part, Why: t.because()})
	return false
}

func (t *turn) because() string {
	if t.rec.Why != "" {
		return t.rec.Why
	}
	return "environment " + t.p.Environment + " is switched off"
}

// foreign tells whether somebody else has switched a part back on that this sleep had switched off.
func (t *turn) foreign(p *fleet.Part) bool {
	if p.By != "" {
		return p.By != "drover"
	}
	return !t.rec.Marks.Off.IsZero()
}

// fight notes that somebody switched something back, and returns whether it may be switched off once more now.
func (t *turn) fight(r *fleet.PartRecord, p *fleet.Part) bool {
	most := t.v.e.Spec.Policy.Fights
	if most == 0 {
		most = usualFights
	}
	who := p.By
	if who == "" {
		who = "somebody"
	}
	known := t.rec.Fights
	if t.fights != nil {
		known = t.fights
	}
	i := slices.IndexFunc(known, func(f fleet.Fight) bool { return f.Subject == r.ID() })
	if i >= 0 && known[i].Times >= most {
		t.hold(r.ID(), "was switched back %s %d times, last by %s%s; drover leaves it so now: stop that, then drover env %s %s", word(!p.Off), known[i].Times+1, who, keptBy(p), verb(t.p.On), t.p.Environment)
		return false
	}
	known = slices.Clone(known)
	if i < 0 {
		known, i = append(known, fleet.Fight{Subject: r.ID()}), len(known)
	}
	known[i].Times, known[i].By, known[i].Last = known[i].Times+1, who, t.v.s.Now
	t.fights = known
	return true
}

func verb(on bool) string {
	if on {
		return "start"
	}
	return "stop"
}

func keptBy(p *fleet.Part) string {
	if len(p.Apps) == 0 {
		return ""
	}
	return ", kept by " + p.Apps[0].String()
}

// gone waits for the pods of parts that are switched off.
func (t *turn) gone(chosen func(*fleet.PartRecord) bool) bool {
	all := true
	for i := range t.rec.Parts {
		r := &t.rec.Parts[i]
		if !chosen(r) || r.Turn != fleet.Scaled {
			continue
		}
		if p := t.v.part[r.Owner]; p != nil && !p.Off {
			continue // left on
		}
		if left := t.v.pods(&r.Owner); len(left) > 0 {
			t.hold(r.ID(), "%d of its pods are still there, %s for one", len(left), left[0].Ref)
			all = false
		}
	}
	return all
}

// jobsOver waits for Jobs of the environment that run still, unless a person said not to.
func (t *turn) jobsOver() bool {
	if t.forced("env-jobs") {
		return true
	}
	over := true
	for i := range t.v.s.Busy {
		if b := &t.v.s.Busy[i]; b.Code == "env-jobs" && t.v.e.Spec.Has(b.Owner, b.Labels) {
			t.hold(b.Subject, "%s; its node waits for it", b.Reason)
			over = false
		}
	}
	return over
}

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
			if in.Leaving() || !in.Counted() {
				continue
			}
			d := t.v.departure(g, in)
			for _, known := range t.rec.Exits {
				if d.Node == "" && known.Instance == in.ID {
					d.Node = known.Node // its object is gone for a moment; pods may be bound to it
				}
			}
			if !t.planned(in.ID) && !t.ours(r, in) {
				if in.Launched.IsZero() && !slices.Contains(r.Keepers, in.ID) {
					t.hold("instance "+in.ID, "stays: the cloud does not say when it was launched, so nobody can tell for whom")
				}
				continue
			}
			if n := t.v.s.Node(d.Node); n != nil && n.Mark() != nil && n.Mark().Value != t.rec.Run {
				t.hold("node "+d.Name(), "leaves already with %s", n.Mark().Value)
				continue
			}
			if why := t.young(in, d.Node); why != "" && !t.planned(in.ID) {
				t.hold("instance "+in.ID, "came while the environment sleeps, and stays for now: %s", why)
				t.waits = t.waits || t.v.unplaced() == nil
				continue
			}
			if guests := t.v.guests(d.Node); len(guests) > 0 {
				t.hold("node "+d.Name(), "stays: %s came to it", guests[0])
				continue
			}
			if on := t.leftOn(d.Node); on != nil {
				t.hold("node "+d.Name(), "stays: %s is left on", on.ID())
				continue
			}
			if bare := t.bare(d.Node); bare != nil {
				t.hold("node "+d.Name(), "stays: pod %s has no controller, and nothing would start it again; --force env-bare-pod lets it go", bare.Ref)
				continue
			}
			out = append(out, d)
		}
	}
	return out
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
