package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// view is a run as watch shows it, before any drawing.
type view struct {
	run, groups, who, place string
	phase                   string
	note                    string // who paused it
	took, forecast, left    time.Duration
	bake                    time.Duration // how long old nodes stay in Standby yet
	moved, pods             int
	gone, exits             int
	old, fresh              []row
	moving                  []string // stores that are in the middle of a move of this run
	waiting                 []string
}

// row is a node with its pods.
type row struct {
	name, zone, state string
	pods              []podState
	busy              int // the smaller, the more happens there; rows that do not fit are those where least happens
}

// podState is what a pod is drawn as.
type podState int

// The states of pods, in the order in which a node's pods are drawn.
const (
	podReady podState = iota
	podStarting
	podGoing
	podToMove
)

func viewOf(s *fleet.Snapshot, st *standing) *view {
	r := st.record
	v := &view{
		run: r.Run, groups: groupNames(r), who: orSomebody(r.Requester), phase: st.progress.Phase, took: s.Now.Sub(r.At),
		moved: movedOf(st), pods: st.progress.Pods, waiting: st.progress.Waiting,
	}
	if r.Intent != fleet.Back {
		v.forecast = r.Forecast
	}
	switch {
	case s.Stopped != nil:
		v.note = "everything is " + s.Stopped.String()
	case r.Paused != nil:
		v.note = r.Paused.String()
	case !r.Marks.Baking.IsZero() && r.Intent != fleet.Back:
		v.bake = max(r.Marks.Baking.Add(r.Bake).Sub(s.Now), 0)
	}
	v.moving, v.waiting = storesMoving(s, r.Run, v.waiting)
	ix := podsByNode(s)
	phases := map[string]fleet.ExitPhase{}
	for _, e := range st.progress.Exits {
		phases[e.Departure.Instance] = e.Phase
		if e.Departure.Cause == fleet.Undo {
			continue // a new node that goes again is drawn with the new ones
		}
		v.exits++
		if replaced(st, e.Phase) {
			v.gone++
		}
		v.old = append(v.old, oldRow(s, ix, st, &e))
	}
	for _, name := range groupsOf(&st.plan) {
		if g := s.Group(name); g != nil {
			v.fresh = append(v.fresh, freshRows(s, ix, st, g, phases)...)
		}
	}
	for _, rows := range [][]row{v.old, v.fresh} {
		slices.SortStableFunc(rows, func(a, b row) int { return cmp.Or(a.busy-b.busy, cmp.Compare(a.name, b.name)) })
	}
	return v
}

// storesMoving says of each store in the middle of a move of a run whom it moves and which step comes; waits that say the same are left out.
func storesMoving(s *fleet.Snapshot, run string, waiting []string) (moving, others []string) {
	for _, m := range movesOf(s) {
		if m.Run == run {
			subject := "store " + m.Store + ": "
			moving = append(moving, fmt.Sprintf("%smoves pod %s for %s: %s", subject, m.Pod, m.Lasts, m.Step))
			waiting = slices.DeleteFunc(slices.Clone(waiting), func(w string) bool { return strings.HasPrefix(w, subject) })
		}
	}
	return moving, waiting
}

// replaced tells whether an exit is as the run wants it: in Standby, too, unless the run is being taken back.
func replaced(st *standing, phase fleet.ExitPhase) bool {
	return phase.Over() || phase == fleet.ExitStandby && st.record.Intent != fleet.Back
}

func podsByNode(s *fleet.Snapshot) map[string][]*fleet.Pod {
	out := map[string][]*fleet.Pod{}
	for i := range s.Pods {
		if p := &s.Pods[i]; p.Node != "" && p.Stays() == "" && !p.Finished {
			out[p.Node] = append(out[p.Node], p)
		}
	}
	return out
}

var phaseBusy = map[fleet.ExitPhase]int{
	fleet.ExitEmptying: 0, fleet.ExitLeaving: 1, fleet.ExitWaiting: 2, fleet.ExitStandby: 3, fleet.ExitReturned: 4, fleet.ExitGone: 5,
}

func oldRow(s *fleet.Snapshot, pods map[string][]*fleet.Pod, st *standing, e *fleet.ExitProgress) row {
	_, in := s.Instance(e.Departure.Instance)
	r := row{name: e.Departure.Name(), state: string(e.Phase), busy: phaseBusy[e.Phase]}
	if in != nil {
		r.zone = in.Zone
	}
	if n := s.NodeOf(e.Departure.Instance); n != nil {
		r.pods = statesOf(pods[n.Name], marked(n, st))
	}
	return r
}

func marked(n *fleet.Node, st *standing) bool {
	return n.Mark() != nil && n.Mark().Value == st.plan.Run
}

// freshRows are the nodes that came with the run.
func freshRows(s *fleet.Snapshot, pods map[string][]*fleet.Pod, st *standing, g *fleet.Group, phases map[string]fleet.ExitPhase) []row {
	var out []row
	for i := range g.Instances {
		in := &g.Instances[i]
		isOld := slices.ContainsFunc(st.record.Exits, func(d fleet.Departure) bool { return d.Instance == in.ID })
		if isOld || in.Launched.Before(st.record.At) {
			continue
		}
		r := row{name: in.ID, zone: in.Zone}
		n := s.NodeOf(in.ID)
		r.state, r.busy = arrival(in, n)
		if phase, ok := phases[in.ID]; ok {
			r.state, r.busy = string(phase), phaseBusy[phase]
		}
		if n != nil {
			r.name, r.pods = n.Name, statesOf(pods[n.Name], marked(n, st))
		}
		out = append(out, r)
	}
	return out
}

// arrival says how far a new node is.
func arrival(in *fleet.Instance, n *fleet.Node) (state string, busy int) {
	switch {
	case in.Leaving():
		return "Closing", 5
	case n == nil && in.Lifecycle != fleet.InService:
		return "Launching", 1
	case n == nil:
		return "Booting", 1
	case !n.Ready || n.Starting():
		return "Joining", 0
	}
	return "Ready", 2
}

func statesOf(pods []*fleet.Pod, leaving bool) []podState {
	var out []podState
	for _, p := range pods {
		switch {
		case p.Terminating:
			out = append(out, podGoing)
		case leaving:
			out = append(out, podToMove)
		case p.Ready:
			out = append(out, podReady)
		default:
			out = append(out, podStarting)
		}
	}
	slices.Sort(out)
	return out
}

// clock prints a duration as a clock would: 1:02:03 or 2:03.
func clock(d time.Duration) string {
	d = d.Round(time.Second)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	if h > 0 {
		return fmt.Sprintf("%d:%02d:%02d", h, m, s)
	}
	return fmt.Sprintf("%d:%02d", m, s)
}
