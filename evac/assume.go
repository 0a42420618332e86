package evac

import (
	"slices"
	"strings"

	"drover.dev/fleet"
)

// Assume writes the immediate effect of an action into a snapshot, as if the world had shown it already, and reports whether that changed
// anything. The engine uses it while the world's own word lags behind an action; Preview uses it for every action.
func Assume(s *fleet.Snapshot, a fleet.Action) bool {
	if a.Verb.Cloud() {
		return assumeCloud(s, a)
	}
	switch a.Verb {
	case fleet.Evict, fleet.Delete:
		return assumeEvict(s, a)
	case fleet.File:
		return assumeFile(s, a)
	case fleet.Surge, fleet.Unsurge:
		return assumeSurge(s.Workload(a.Workload), a, func() bool { return assumeEvict(s, a) })
	case fleet.Record:
		return assumeRecord(s, a)
	case fleet.Engage, fleet.Disengage:
		return assumeMove(s.Store(a.Store), a)
	}
	if a.Verb.Store() {
		return false // a store is asked again, and shows it by itself
	}
	n := s.Node(a.Node)
	if n == nil {
		return false
	}
	switch a.Verb {
	case fleet.Taint_:
		want := fleet.Taint{Key: fleet.TaintKey, Value: a.Run, Effect: a.Effect}
		if t := n.Mark(); t != nil {
			changed := *t != want
			*t = want
			return changed
		}
		n.Taints = append(n.Taints, want)
		return true
	case fleet.Shut:
		return assumeShut(n, a)
	case fleet.OutOfService:
		if !slices.ContainsFunc(n.Taints, func(t fleet.Taint) bool { return t.Key == outOfService }) {
			n.Taints = append(n.Taints, fleet.Taint{Key: outOfService, Value: "nodeshutdown", Effect: fleet.NoExecute})
			return true
		}
	case fleet.Untaint:
		for i, t := range n.Taints {
			if t.Key == fleet.TaintKey {
				n.Taints = append(n.Taints[:i:i], n.Taints[i+1:]...)
				return true
			}
		}
	case fleet.Keep:
		if !n.HeldDown {
			n.HeldDown, n.Kept = true, a.Run
			return true
		}
	case fleet.Unkeep:
		if n.Kept == a.Run {
			n.HeldDown, n.Kept = false, ""
			return true
		}
	case fleet.Exclude:
		if !n.Excluded {
			n.Excluded, n.OutBy = true, a.Run
			return true
		}
	case fleet.Include:
		if n.OutBy == a.Run {
			n.Excluded, n.OutBy = false, ""
			return true
		}
	}
	return false
}

func assumeShut(n *fleet.Node, a fleet.Action) bool {
	changed := false
	if m := n.Mark(); m == nil || m.Effect != fleet.NoSchedule {
		n.Taints = slices.DeleteFunc(n.Taints, func(t fleet.Taint) bool { return t.Key == fleet.TaintKey })
		n.Taints = append(n.Taints, fleet.Taint{Key: fleet.TaintKey, Value: a.Run, Effect: fleet.NoSchedule})
		changed = true
	}
	if !n.Excluded {
		n.Excluded, n.OutBy, changed = true, a.Run, true
	}
	return changed
}

func assumeFile(s *fleet.Snapshot, a fleet.Action) bool {
	c := s.Case(a.Instance)
	if c == nil || !c.Open() || !c.Opened.Equal(a.Case.Opened) || c.Marks == a.Case.Marks {
		return false
	}
	c.Marks = a.Case.Marks
	return true
}

func assumeEvict(s *fleet.Snapshot, a fleet.Action) bool {
	for i := range s.Pods {
		if p := &s.Pods[i]; p.Ref.UID == a.Pod.UID {
			return startEviction(p, s.Budget)
		}
	}
	return false
}

func startEviction(p *fleet.Pod, budget func(name string) *fleet.Budget) bool {
	if p.Terminating {
		return false
	}
	p.Terminating = true
	for _, name := range p.Budgets {
		if b := budget(name); b != nil && p.Ready {
			b.Allowed = max(0, b.Allowed-1)
		}
	}
	return true
}

// assumeSurge changes what the workload wants. Which pods come and go, its controller says: end is for the one that goes at its end.
func assumeSurge(w *fleet.Workload, a fleet.Action, end func() bool) bool {
	if w == nil {
		return false
	}
	if a.Verb == fleet.Unsurge {
		given := w.Surge != nil
		if given {
			w.Replicas, w.Surge = a.To, nil
		}
		return a.Expect.Ready && end() || given // the pod goes, and counts against its budget: its controller may take a moment
	}
	if w.Surge != nil && w.Replicas == a.To {
		return false
	}
	w.Replicas, w.Surge = a.To, &fleet.SurgeMark{Run: a.Run, Pod: a.Pod.UID, Replicas: a.To - 1}
	return true
}

// assumeMove writes or removes a store's move.
func assumeMove(st *fleet.Store, a fleet.Action) bool {
	switch {
	case st == nil:
		return false
	case a.Verb == fleet.Disengage:
		changed := st.Move != nil && st.Move.Pod == a.Pod
		if changed {
			st.Move = nil
		}
		return changed
	case st.Move != nil && st.Move.Run == a.Move.Run && st.Move.Pod == a.Move.Pod && further(st.Move, a.Move):
		return false
	}
	st.Move = a.Move.Clone()
	return true
}

// further tells whether a move on file says all that another says of the same pod.
func further(on, than *fleet.StoreMove) bool {
	return on.Switches >= than.Switches && len(on.Ghosts) >= len(than.Ghosts) && len(on.Hooked) >= len(than.Hooked) && len(on.Prior) >= len(than.Prior)
}

func assumeRecord(s *fleet.Snapshot, a fleet.Action) bool {
	ended := !a.Rotation.Marks.Ended.IsZero()
	r := s.Rotation(a.Rotation.Run)
	switch {
	case r == nil && ended:
		return false
	case r == nil:
		s.Rotations = append(s.Rotations, *a.Rotation)
		return true
	case ended:
		s.Rotations = slices.DeleteFunc(s.Rotations, func(r fleet.RotationRecord) bool { return r.Run == a.Rotation.Run })
		return true
	case r.Marks.String() == a.Rotation.Marks.String():
		return false
	}
	r.Marks = a.Rotation.Marks
	return true
}

func assumeCloud(s *fleet.Snapshot, a fleet.Action) bool {
	g := s.Group(a.Group)
	if g == nil {
		return false
	}
	switch a.Verb {
	case fleet.Complete:
		if in := g.Instance(a.Instance); in != nil && strings.HasSuffix(in.Lifecycle, ":Wait") {
			in.Lifecycle = strings.TrimSuffix(in.Lifecycle, "Wait") + "Proceed"
			return true
		}
	case fleet.Journal:
		changed := g.Mark == nil || !g.Mark.Equal(*a.Mark)
		m := *a.Mark
		g.Mark = &m
		return changed
	case fleet.Forget:
		changed := g.Mark != nil
		g.Mark = nil
		return changed
	case fleet.Suspend:
		if g.IsSuspended(a.Process) {
			return false
		}
		g.Suspended = append(g.Suspended, a.Process)
		return true
	case fleet.Resume:
		for i, p := range g.Suspended {
			if p == a.Process {
				g.Suspended = append(g.Suspended[:i:i], g.Suspended[i+1:]...)
				return true
			}
		}
	case fleet.Resize:
		if g.Desired != a.From {
			return false
		}
		g.Desired = a.To
		return true
	case fleet.Deregister:
		in := g.Instance(a.Instance)
		if in == nil {
			return false
		}
		for i := range in.Targets {
			if t := &in.Targets[i]; t.Group == a.Target && t.State != fleet.TargetDraining {
				t.State = fleet.TargetDraining
				return true
			}
		}
	case fleet.Register:
		in := g.Instance(a.Instance)
		if in == nil || in.Target(a.Target) != fleet.TargetUnused && in.Target(a.Target) != fleet.TargetDraining {
			return false
		}
		in.Targets = slices.DeleteFunc(in.Targets, func(t fleet.Target) bool { return t.Group == a.Target })
		in.Targets = append(in.Targets, fleet.Target{Group: a.Target, State: fleet.TargetInitial})
		return true
	case fleet.Standby:
		if in := g.Instance(a.Instance); in != nil && in.Counted() {
			in.Lifecycle = "EnteringStandby"
			if g.Desired > counted(g) {
				g.Desired--
			}
			return true
		}
	case fleet.Unstandby:
		if in := g.Instance(a.Instance); in != nil && in.Lifecycle == fleet.OnStandby {
			in.Lifecycle = fleet.Pending
			if g.Desired < counted(g) {
				g.Desired++
			}
			return true
		}
	case fleet.CreateGroup:
		if s.Group(a.Copy) != nil {
			return false
		}
		s.Groups = append(s.Groups, copyOf(g, a))
		return true
	case fleet.DeleteGroup:
		if g.Managed != nil && g.Managed.Status != "DELETING" {
			g.Managed.Status = "DELETING"
			return true
		}
	case fleet.Replace:
		if in := g.Instance(a.Instance); in != nil && !in.Leaving() {
			in.Lifecycle = "Terminating"
			return true
		}
	case fleet.Terminate:
		if in := g.Instance(a.Instance); in != nil && (in.Lifecycle == fleet.OnStandby || in.Lifecycle == fleet.Retained) {
			in.Lifecycle = "Terminating" // outside of desired already
			return true
		}
		if in := g.Instance(a.Instance); in != nil && !in.Leaving() {
			in.Lifecycle = "Terminating"
			if g.Desired > counted(g) { // unless the world shows the decrement already, and only the instance late
				g.Desired--
			}
			return true
		}
	}
	return false
}
