package evac

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// StoresOf names the stores whose members have to be asked what they hold before Next can decide about the plan.
func StoresOf(p Plan, s *fleet.Snapshot) []string {
	leaves := map[string]bool{}
	for _, e := range p.Exits {
		if leaves[e.Node] = e.Node != ""; e.Instance != "" {
			if n := s.NodeOf(e.Instance); n != nil {
				leaves[n.Name] = true
			}
		}
	}
	if p.Policy != nil {
		for i := range s.Cases {
			if n := s.NodeOf(s.Cases[i].Instance); n != nil && s.Cases[i].Open() {
				leaves[n.Name] = true
			}
		}
	}
	asked := map[string]bool{}
	for i := range s.Pods {
		q := &s.Pods[i]
		if leaves[q.Node] || p.asks(q) {
			asked[q.Ref.UID] = true
		}
	}
	var out []string
	for i := range s.Stores {
		st := &s.Stores[i]
		if st.Confirmed && speaks(st) && (st.Move != nil && (st.Move.Run == p.Run || p.Policy != nil && st.Move.Idle) || holdsAny(st, asked)) {
			out = append(out, st.Name)
		}
	}
	return out
}

// asks tells whether a pod has to leave whatever becomes of its node.
func (p *Plan) asks(q *fleet.Pod) bool {
	if q.Terminating {
		return false
	}
	return p.Policy != nil && q.Asked != nil || slices.ContainsFunc(p.Pods, func(r fleet.PodRef) bool { return r.UID == q.Ref.UID })
}

func holdsAny(st *fleet.Store, uids map[string]bool) bool {
	return slices.ContainsFunc(st.Members, func(m fleet.Member) bool { return uids[m.Pod.UID] }) ||
		slices.ContainsFunc(st.Sentinels, func(w fleet.Sentinel) bool { return uids[w.Pod.UID] })
}

// storeOf is the store that a pod is one of, as long as somebody answers for that; nil otherwise.
func (ix *index) storeOf(p *fleet.Pod) *fleet.Store {
	if ix.stores == nil {
		ix.stores = map[string]*fleet.Store{}
		for i := range ix.s.Stores {
			st := &ix.s.Stores[i]
			if !st.Confirmed {
				continue
			}
			for j := range st.Members {
				ix.stores[st.Members[j].Pod.String()] = st
			}
			for j := range st.Sentinels {
				ix.stores[st.Sentinels[j].Pod.String()] = st
			}
		}
	}
	if len(ix.stores) == 0 || p.Finished {
		return nil
	}
	return ix.stores[p.Ref.String()]
}

// temporary tells whether a pod was made by drover for a move: its keeper speaks for it.
func (ix *index) temporary(p *fleet.Pod) bool {
	st := ix.storeOf(p)
	if st == nil {
		return false
	}
	m := st.Member(p.Ref.Name)
	return m != nil && m.Temp
}

// kept is a pod of a store that is to leave, and how to let it go.
type kept struct {
	goal
	release func()
}

// keep has every store take its next step: those with pods that have to leave, when they may begin, and those in the middle of a move of this run. It
// returns how to let go those pods that may be evicted now.
func (v *tick) keep(all []kept, mayBegin bool) (release []func()) {
	if len(v.s.Stores) == 0 {
		return nil
	}
	by := map[*fleet.Store][]kept{}
	for _, g := range all {
		if st := v.ix.storeOf(g.p); st != nil {
			by[st] = append(by[st], g)
		}
	}
	for i := range v.s.Stores {
		st := &v.s.Stores[i]
		if !v.concerns(st, len(by[st]) > 0, mayBegin) {
			continue
		}
		by[st] = v.withSubject(st, by[st])
		k := v.keeperOf(st, by[st])
		k.next()
		for _, a := range k.acts {
			v.do(a)
		}
		if !v.quiet {
			v.out.Holds = append(v.out.Holds, k.holds...)
		}
		v.comeBack(k.again)
		if k.freed == nil || !mayBegin {
			continue
		}
		for _, g := range by[st] {
			switch {
			case g.p != k.freed.p:
			case g.release == nil:
				v.hold("pod "+g.p.Ref.String(), "stays on %s, though its store lets it go: %s", g.node, cmp.Or(g.p.Refused, "its turn has not come"))
			default:
				release = append(release, g.release)
			}
		}
	}
	return release
}

// withSubject completes the pods of a store that have to leave by the one that is being moved: whatever keeps it from being evicted at this moment, it has
// not come to stay.
func (v *tick) withSubject(st *fleet.Store, goals []kept) []kept {
	if st.Move == nil {
		return goals
	}
	p := v.ix.pod(st.Move.Pod.UID)
	if p == nil || slices.ContainsFunc(goals, func(g kept) bool { return g.p == p }) || !p.Terminating && !v.leaving[p.Node] && !v.plan.asks(p) {
		return goals
	}
	g := kept{goal: goal{p: p, node: p.Node, why: st.Move.Why}}
	if n := v.ix.node[p.Node]; n != nil {
		if c := v.s.Case(n.Instance); c != nil && c.Open() {
			g.until = c.Deadline
		}
	}
	return append(goals, g)
}

// unlock has no master refuse its writes while everything is stopped.
func (v *tick) unlock() {
	for i := range v.s.Stores {
		st := &v.s.Stores[i]
		if st.Move == nil || st.Move.Run != v.plan.Run || st.Mover != fleet.SentinelMover || st.Read.IsZero() {
			continue
		}
		k := v.keeperOf(st, nil)
		s := &sentinelKeeper{k}
		if address, unsure := s.named(); unsure == "" && st.At(address) != nil {
			s.locked(st.At(address))
		}
		for _, a := range k.acts {
			v.do(a)
		}
	}
}

// concerns tells whether a store is this run's business: it moves a pod of it, or wants to. What nobody carries on, the controller does.
func (v *tick) concerns(st *fleet.Store, wanted, mayBegin bool) bool {
	switch m := st.Move; {
	case m == nil:
		return wanted && mayBegin && st.Confirmed
	case m.Run == v.plan.Run:
		return true
	case !st.Confirmed:
		return false
	default:
		return wanted || v.plan.Policy != nil && m.Idle
	}
}

func (v *tick) keeperOf(st *fleet.Store, goals []kept) *keeper {
	k := &keeper{run: v.plan.Run, now: v.s.Now, st: st, pod: v.ix.pod, every: storeEvery, away: v.noPlace}
	k.patient = len(v.plan.Groups) > 0 && v.ix != nil && v.capacityComing()
	if v.quiet {
		k.every = seldomly
	}
	namespace, _, _ := strings.Cut(st.Name, "/")
	k.unplaced = func(name string) string {
		for p := range v.ix.pending {
			if p.Ref.Name == name && p.Ref.Namespace == namespace {
				return p.Unplaced
			}
		}
		return ""
	}
	for _, g := range goals {
		k.goals = append(k.goals, g.goal)
	}
	for i := range v.s.Nodes {
		if n := &v.s.Nodes[i]; v.noPlace(n.Name) {
			k.avoid = append(k.avoid, n.Name)
		}
	}
	return k
}

// noPlace tells whether a node is none to move anything to.
func (v *tick) noPlace(node string) bool {
	n := v.ix.node[node]
	return n == nil || v.leaving[node] || !TakesPods(n)
}

// TakesPods tells whether nobody is taking a node away, and it works.
func TakesPods(n *fleet.Node) bool {
	return n.Mark() == nil && !n.Cordoned && n.Ready && !slices.ContainsFunc(n.Taints, func(t fleet.Taint) bool { return slices.Contains(goingTaints, t.Key) })
}

// goingTaints are what others put on a node that they take away.
var goingTaints = []string{"karpenter.sh/disrupted", "ToBeDeletedByClusterAutoscaler", "node.kubernetes.io/out-of-service"}

// comeBack has the engine look again at a moment when nothing else does.
func (v *tick) comeBack(at time.Time) {
	if !at.IsZero() && (v.out.Again.IsZero() || at.Before(v.out.Again)) {
		v.out.Again = at
	}
}

// engaged names a store that a move of this run is in the middle of; "" when none is.
func (v *tick) engaged() string {
	for i := range v.s.Stores {
		if st := &v.s.Stores[i]; st.Move != nil && st.Move.Run == v.plan.Run {
			return st.Name
		}
	}
	return ""
}

// keepers collects the pods of stores on all exits. There is room for one when there is for its whole node, or for it alone.
func (v *tick) keepers(d *door) []kept {
	var out []kept
	for i := range v.exits {
		e := &v.exits[i]
		if !v.mayGo(e) {
			continue
		}
		for j, p := range e.pods {
			if v.ix.storeOf(p) == nil {
				continue
			}
			if why := v.mayNot(e, p); why != "" && !p.Terminating {
				if !d.open[e] { // otherwise it was said
					v.hold("pod "+p.Ref.String(), "stays on %s: %s", e.Name(), why)
				}
				continue
			}
			x := e.has.loads[j].x
			out = append(out, kept{goal{p: p, node: e.node.Name, why: e.Why, roomy: func() bool { return d.has(e, p) }, both: func() bool { return d.hasBoth(e, p) }}, func() { d.going = append(d.going, leaver{e, p, x}) }})
		}
	}
	return out
}

// has tells whether there is room for a pod elsewhere, and takes it.
func (d *door) has(e *exit, p *fleet.Pod) bool {
	if d.open[e] {
		return true
	}
	_, no := d.r.place(p)
	return no == ""
}

// hasBoth tells whether there is room for a pod elsewhere and for another one like it, which minds nobody and has no volume; and takes it.
func (d *door) hasBoth(e *exit, p *fleet.Pod) bool {
	if !d.has(e, p) {
		return false
	}
	like := *p
	like.Labels, like.Apart, like.Together, like.Spread, like.VolumeZones, like.OwnDisk = nil, nil, nil, nil, nil, false
	_, no := d.r.place(&like)
	return no == ""
}

// keepStores has the stores take their steps, and those pods join the others that may go.
func (v *tick) keepStores(d *door) {
	if len(v.s.Stores) == 0 {
		return
	}
	for _, release := range v.keep(v.keepers(d), true) {
		release()
	}
}

// keepOn goes on with the moves in progress while nothing new may begin: half a move is worse than none.
func (v *tick) keepOn() {
	if v.engaged() == "" {
		return
	}
	r := newRoom(v.ix, v.leaving)
	r.quiet = v.quiet
	v.keep(v.keepers(&door{r: r}), false)
}

// courted takes the next step for a pod that another operator moves, and tells whether it may be evicted now.
func (v *tick) courted(p *fleet.Pod, node, why string) bool {
	c := p.Courted
	if c == nil || c.Go || p.Finished {
		return true
	}
	if c.Signal != "" {
		v.do(fleet.Action{Verb: fleet.Court, Pod: p.Ref, Node: node, Why: c.Operator})
	}
	v.hold("pod "+p.Ref.String(), "stays on %s: waits for %s", node, cmp.Or(c.Awaits, c.Operator))
	return false
}

// storeFindings says why the pods of a store could not be moved, by what its members say now.
func storeFindings(ix *index, p *fleet.Pod) []fleet.Finding {
	st := ix.storeOf(p)
	switch {
	case st == nil:
		return nil
	case st.Trouble != "":
		return []fleet.Finding{finding(storeTrouble, "store "+st.Name, "%s", st.Trouble).next("mend that first, or move its pods yourself and take the annotation away (%s)", st.Source)}
	case st.Read.IsZero() || st.Move != nil:
		return nil
	}
	k := (&tick{ix: ix, s: ix.s, plan: &Plan{}}).keeperOf(st, nil)
	why := ""
	switch st.Mover {
	case fleet.SentinelMover:
		why = (&sentinelKeeper{k}).unsound()
	case fleet.ClusterMover:
		why = newClusterKeeper(k).unsound()
	}
	if why == "" {
		return nil
	}
	return []fleet.Finding{finding(storeUnsound, "store "+st.Name, "%s", why).next("mend that first: drover would wait for it and move none of its pods")}
}

// NextOf says what the mover of a pod would do next were the pod to leave now, for people: its mover, and its next step or what it waits for. ok is
// false for a pod of no store.
func NextOf(s *fleet.Snapshot, pod *fleet.Pod) (mover, step string, ok bool) {
	ix := newIndex(s)
	if c := pod.Courted; c != nil {
		switch {
		case c.Signal != "":
			return "operator", fmt.Sprintf("tell %s: %s", c.Operator, c.Signal), true
		case c.Go:
			return "operator", "evict it", true
		}
		return "operator", "wait for " + c.Awaits, true
	}
	st := s.StoreOf(pod.Ref.UID)
	if st == nil {
		return "", "", false
	}
	v := &tick{ix: ix, s: s, plan: &Plan{Run: "explain"}, leaving: map[string]bool{pod.Node: true}}
	k := v.keeperOf(st, []kept{{goal: goal{p: pod, node: pod.Node, why: "asked"}}})
	if st.Move != nil {
		k.run = st.Move.Run
	}
	k.next()
	switch {
	case !st.Confirmed:
		return string(st.Mover), "nothing: only probing says so; confirm it with the annotation drover.dev/mover: " + string(st.Mover), true
	case len(k.acts) > 0:
		return string(st.Mover), k.acts[0].String() + ": " + k.acts[0].Why, true
	case k.freed != nil:
		return string(st.Mover), "evict it", true
	case len(k.holds) > 0:
		return string(st.Mover), k.holds[0].String(), true
	}
	return string(st.Mover), "nothing", true
}
