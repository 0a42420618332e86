package evac

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// Notices plans the departures on file. Unlike a person's plan it is no approved bound: whoever runs the controller has approved what AWS decides,
// so it is made anew from each snapshot.
func Notices(s *fleet.Snapshot, p fleet.Policy) Plan {
	plan := Plan{Run: fleet.NoticeRun, At: s.Now, Policy: &p}
	for i := range s.Cases {
		if c := &s.Cases[i]; c.Open() {
			plan.Exits = append(plan.Exits, Exit{Departure: c.Departure})
		}
	}
	return plan
}

const (
	margin     = 5 * time.Second  // between the last moment of a pod and that of its machine
	together   = 10 * time.Second // how long after its notice a node that cannot be shut holds up the others' pods
	unplaced   = 3 * time.Minute  // how long a pod waits for room before it goes without, so that an autoscaler sees it
	surgeNeeds = 3 * time.Minute  // what a replacement that comes first takes, at least
	forgotten  = 15 * time.Minute // how long the Node object of a machine that is gone keeps its case open
)

// stage is where a case stands.
type stage int

const (
	idle      stage = iota // nothing to do yet
	resting                // closed to new pods, nothing else
	leaving                // its pods move, and then its hook is answered
	returning              // nothing holds any more: it is as before
	gone                   // its machine is
)

// goer is a case with what the snapshot shows of it.
type goer struct {
	exit
	c     *fleet.Case
	stage stage
	shut  bool
}

// nextWave is Next for departures that AWS gave notice of. All of them are shut before the first pod of any moves, the ones with the nearest deadline
// come first, and no deadline passes with a pod that was not told to stop.
func (v *tick) nextWave() Step {
	w := &wave{tick: v, policy: *v.plan.Policy}
	w.find()
	w.beat()
	w.admit(false)
	if why, since := v.stopped(); why != "" {
		v.out.Holds = append(v.out.Holds, fleet.Hold{Subject: v.subject(), Reason: why, Since: since})
		v.unlock()
		return w.told()
	}
	w.admit(true)
	for i := range w.goers {
		switch g := &w.goers[i]; g.stage {
		case idle, resting:
			w.replace(g)
		case returning:
			w.giveBack(g)
		case gone:
			w.bury(g)
		}
	}
	w.forcedOnly = !w.shutAll()
	w.move()
	v.unsurgeGone()
	for i := range w.goers {
		if g := &w.goers[i]; g.stage == leaving {
			w.release(g)
		}
	}
	return w.told()
}

// told is the step, with how far each case is.
func (w *wave) told() Step {
	why := make(map[string]string, len(w.out.Holds))
	for _, h := range w.out.Holds {
		why[h.Subject] = h.Reason
	}
	for i := range w.goers {
		g := &w.goers[i]
		p := fleet.ExitProgress{Departure: g.c.Departure, Phase: g.phase(), Pods: len(g.pods), Waiting: why["node "+g.Name()]}
		for j := 0; j < len(g.pods) && p.Waiting == ""; j++ {
			for _, subject := range []string{"pod " + g.pods[j].Ref.String(), laneOf(g.pods[j]).String()} {
				if reason := why[subject]; reason != "" && p.Waiting == "" {
					p.Waiting = subject + " " + reason
				}
			}
		}
		w.out.Standing = append(w.out.Standing, p)
	}
	return w.out
}

// phase is where a case stands, in the words that runs use.
func (g *goer) phase() fleet.ExitPhase {
	switch {
	case g.stage == gone:
		return fleet.ExitGone
	case g.stage == returning:
		return fleet.ExitReturned
	case g.stage != leaving || !g.shut && g.node != nil:
		return fleet.ExitWaiting
	case len(g.pods) > 0:
		return fleet.ExitEmptying
	}
	return fleet.ExitLeaving
}

type wave struct {
	*tick
	policy fleet.Policy
	goers  []goer

	rushes map[lane]*rush
	kept   []kept // pods of stores that have to leave

	forcedOnly bool // a node that was noticed a moment ago still takes pods: none moves that need not
}

// find finds where each case stands, the nearest deadline first.
func (w *wave) find() {
	w.leaving = map[string]bool{}
	for i := range w.s.Cases {
		c := &w.s.Cases[i]
		if !c.Open() {
			continue
		}
		at := w.ix.instance[c.Instance]
		g := goer{c: c, exit: exit{Exit: &Exit{Departure: c.Departure}, node: w.ix.nodeOf[c.Instance], group: at.group, in: at.in}}
		if g.node != nil {
			g.Node = g.node.Name
			g.seat = w.ix.seat(g.node.Name)
			g.has = w.ix.resident(g.node, g.seat)
			g.pods = g.has.pods
		}
		g.stage = w.stageOf(&g)
		if g.node != nil && (g.stage == leaving || g.stage == resting) {
			w.leaving[g.node.Name] = true
		}
		w.goers = append(w.goers, g)
	}
	slices.SortStableFunc(w.goers, func(a, b goer) int {
		return cmp.Or(fleet.CompareDeadlines(a.c.Deadline, b.c.Deadline), a.c.Opened.Compare(b.c.Opened), strings.Compare(a.c.Instance, b.c.Instance))
	})
}

func (w *wave) stageOf(g *goer) stage {
	held := slices.ContainsFunc(g.c.Signals, func(k fleet.Signal) bool { return k.Ended.IsZero() })
	switch {
	case w.dead(g):
		return gone
	case !held:
		return returning
	case g.c.Pressing(w.s.Now) || g.in != nil && g.in.Leaving():
		return leaving
	case g.c.Marks.Rotation != "" && g.node != nil && g.node.Mark() == nil:
		return resting // until its run has it, which is now
	case g.c.Marks.Rotation != "" && w.s.Rotation(g.c.Marks.Rotation) != nil:
		return idle
	case g.c.Holds(fleet.Rebalance) != nil && w.policy.Rebalance != fleet.AdviceIgnore:
		return resting
	}
	return idle
}

// dead tells whether EC2 says that the machine is gone. What it has not been asked about is taken to run.
func (w *wave) dead(g *goer) bool {
	for _, m := range w.s.Machines {
		if m.ID == g.c.Instance {
			return m.State == fleet.MachineGone || m.State == fleet.MachineUnknown
		}
	}
	return false
}

// shutAll shuts the whole wave, and tells whether pods may move: not while a node that was noticed a moment ago still takes pods.
func (w *wave) shutAll() bool {
	all := true
	for i := range w.goers {
		g := &w.goers[i]
		if g.node == nil || g.stage != leaving && g.stage != resting {
			continue
		}
		m := g.node.Mark()
		g.shut = m != nil && (g.stage == resting || m.Effect == fleet.NoSchedule && g.node.Excluded)
		if g.stage == leaving {
			w.deregister(g)
		}
		switch {
		case g.shut:
			continue
		case g.stage == resting: // softly: EC2 may recommend to leave all nodes of a group at once
			w.taint(g.node, fleet.PreferNoSchedule, g.c.Why)
		default:
			w.do(fleet.Action{Verb: fleet.Shut, Node: g.node.Name, Instance: g.c.Instance, Why: g.c.Why})
		}
		if w.s.Now.Sub(g.c.Since()) < together {
			all = false
		}
	}
	return all
}

// deregister takes an instance out of the target groups that Auto Scaling put it in. One that Auto Scaling itself ends, it takes out itself.
func (w *wave) deregister(g *goer) {
	if g.in == nil || g.in.Lifecycle != fleet.InService {
		return
	}
	for _, arn := range attached(g.group) {
		if state := g.in.Target(arn); state != fleet.TargetUnused && state != fleet.TargetDraining {
			w.do(fleet.Action{Verb: fleet.Deregister, Instance: g.c.Instance, Node: g.Name(), Group: g.group.Name, Target: arn, Why: g.c.Why})
		}
	}
}

// giveBack makes a node whose notices were all taken back what it was before.
func (w *wave) giveBack(g *goer) {
	before := len(w.out.Actions)
	if g.node != nil {
		w.restoreNode(g.node, g.c.Drained)
	}
	if g.in != nil && g.in.Lifecycle == fleet.InService {
		for _, arn := range attached(g.group) {
			if state := g.in.Target(arn); (slices.Contains(g.c.Targets, arn) || g.c.Group == "") && (state == fleet.TargetUnused || state == fleet.TargetDraining) {
				w.do(fleet.Action{Verb: fleet.Register, Group: g.group.Name, Instance: g.c.Instance, Node: g.Name(), Target: arn, Why: "it stays after all"})
			}
		}
	}
	if len(w.out.Actions) == before {
		w.end(g, "stays: no notice about it holds any more")
	}
}

// bury ends a case whose machine is gone. Kubernetes waits for a silent node; that it will never speak again, only the cloud knows.
func (w *wave) bury(g *goer) {
	n := g.node
	switch {
	case g.in != nil && g.c.Waits(g.in) && len(unanswered(g.group, g.in, g.c)) > 0:
		w.complete(g, fleet.Continue, "its machine is gone already", false)
	case n == nil && g.in != nil && !g.in.Leaving():
		w.hold("node "+g.Name(), "its machine is gone, and group %s has not noticed yet", g.Group)
	case n == nil:
		w.end(g, "gone")
	case n.Ready:
		w.hold("node "+n.Name, "its machine is gone, and Kubernetes has not noticed yet")
	case !slices.ContainsFunc(n.Taints, func(t fleet.Taint) bool { return t.Key == outOfService }):
		w.do(fleet.Action{Verb: fleet.OutOfService, Node: n.Name, Instance: g.c.Instance, Expect: fleet.Expect{Off: true}, Why: "EC2 says that its machine is gone"})
	case w.s.Now.Sub(n.Changed) > forgotten:
		w.end(g, "gone; its Node object is still there")
	default:
		w.hold("node "+n.Name, "its machine is gone; waits for its Node object to be deleted")
	}
}

// outOfService is Kubernetes' taint for a node that is off for good.
const outOfService = "node.kubernetes.io/out-of-service"

func (w *wave) end(g *goer, how string) {
	c := g.c.Clone()
	c.Marks.Ended, c.Marks.End, c.Log = w.s.Now, how, nil
	w.do(fleet.Action{Verb: fleet.File, Instance: c.Instance, Node: c.Node, Case: &c, Why: how})
}
