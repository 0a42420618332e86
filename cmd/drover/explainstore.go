package main

import (
	"strings"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// owned says who moves the pod when its budgets alone do not decide: the mover of its store, or its operator; what comes next, and who asked for that.
func (x *explainer) owned(e *explanation, p *fleet.Pod) {
	if q := p.Asked; q != nil {
		e.say("%s asked for it to leave its node, %s. drover controller moves it.", q.By, x.ago(q.At))
	}
	st := x.StoreOf(p.Ref.UID)
	if st != nil && !st.Confirmed {
		e.say("It looks like %s of store %s (%s), and nothing is done by that: confirm it with the annotation drover.dev/mover: %s.", partOf(st, p.Ref.Name), st.Name, st.Source, st.Mover)
		return
	}
	mover, step, ok := evac.NextOf(x.Snapshot, p)
	if !ok {
		return
	}
	e.Mover = mover
	if st == nil {
		e.say("It is moved by its operator: %s.", p.Courted.Operator)
		e.say("If it had to leave now, the next step would be: %s.", step)
		return
	}
	e.Store = st.Name
	e.say("It is %s of store %s. Mover %s moves it; so says: %s.", partOf(st, p.Ref.Name), st.Name, mover, st.Source)
	if st.Trouble != "" {
		e.say("Nothing of that store moves: %s.", st.Trouble)
		return
	}
	if st.Move != nil {
		m := moveOf(x.Snapshot, st)
		e.say("Run %s has been moving pod %s of it for %s; step: %s.", m.Run, m.Pod, m.Lasts, m.Step)
		if m.GoOn != "" {
			e.say("Nobody acts for that run; it goes on with: %s.", m.GoOn)
		}
		if st.Move.Pod.Name != p.Ref.Name {
			e.say("If it had to leave now, it would wait for that.")
		}
		return
	}
	e.say("If it had to leave now, the next step would be: %s.", step)
}

// course says step by step how the pod of a store leaves, as a forecast has it.
func (e *explanation) course(pod fleet.PodRef, f *evac.Forecast) {
	var steps []string
	begun := false
	for _, ev := range f.Events {
		a := ev.Action
		mine := a.Pod.Name == pod.Name && a.Pod.Namespace == pod.Namespace
		switch {
		case a.Verb == fleet.Disengage && mine && begun:
			e.say("If all goes well: %s; and everything is as it was.", strings.Join(steps, "; "))
			return
		case a.Verb == fleet.Engage:
			begun = begun || mine
		case a.Verb == fleet.Steady: // of every member, before and after: nobody reads six of them
		case begun && (a.Store == e.Store || a.Verb == fleet.Evict && mine):
			steps = append(steps, a.String())
		}
	}
}

// partOf is what a pod is in its store.
func partOf(st *fleet.Store, pod string) string {
	m := st.Member(pod)
	switch {
	case st.Sentinel(pod) != nil:
		return "a Sentinel"
	case m == nil || m.Role == "":
		return "a member"
	case m.Temp:
		return "a temporary " + string(m.Role)
	case m.Role == fleet.RoleMaster && (st.Mover == fleet.SentinelMover || slotsOf(m) == 0):
		return "the master"
	}
	return "a " + string(m.Role)
}

// confirmed tells whether there is a store, and somebody has declared it.
func confirmed(st *fleet.Store) bool { return st != nil && st.Confirmed }
