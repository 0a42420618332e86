package evac

import (
	"fmt"

	"drover.dev/fleet"
)

// The surge mover is for pods that cannot be missed: the only one of its workload, or one of a budget that never allows anything. The
// replacement comes first, as one replica more; when all are Ready that replica is taken back, and the old pod, made the cheapest to delete,
// is the one that goes. No eviction is asked for, and the workload never has fewer Ready pods than it wants.

// surges tells whether a pod leaves by the surge mover.
func (v *tick) surges(p *fleet.Pod, w *workload) bool {
	if w == nil {
		return false
	}
	if m := w.surge(); m != nil && m.Pod == p.Ref.UID {
		return true
	}
	return !p.Finished && v.ix.onlyOne(p, w) && v.ix.whyNoSurge(p) == ""
}

// unmissable tells whether nobody else serves while the pod moves, or nobody may be missing.
func (ix *index) unmissable(p *fleet.Pod) bool { return ix.onlyOne(p, ix.workloads[p.Owner]) }

// onlyOne is unmissable for whoever knows the pod's workload.
func (ix *index) onlyOne(p *fleet.Pod, w *workload) bool {
	if len(p.Budgets) > 1 || p.Owner.Kind == "" || p.Owner.Kind == "Job" || ix.stuck(p) {
		return false
	}
	if len(p.Budgets) == 1 && ix.never(ix.budget[p.Budgets[0]]) {
		return true
	}
	return w != nil && (w.replicas == 1 || w.surge() != nil && w.surge().Replicas == 1)
}

// surge is what runs have noted of a replica more; nil when none was given.
func (w *workload) surge() *fleet.SurgeMark {
	if w.declared == nil {
		return nil
	}
	return w.declared.Surge
}

// stuck tells whether a pod has not been Ready for so long that it is of no use to anybody.
func (ix *index) stuck(p *fleet.Pod) bool {
	return !p.Ready && ix.s.Now.Sub(p.Created) > patience && ix.s.Now.Sub(p.Unready) > patience
}

// never tells whether a budget never allows a disruption. The replicas that runs have given do not count: they are there only for a while.
func (ix *index) never(b *fleet.Budget) bool {
	if b == nil || b.Expected == 0 {
		return false
	}
	return b.Desired >= b.Expected-ix.given[b.Name]
}

// whyNoSurge says why a workload cannot have its replacement first; "" when it can.
func (ix *index) whyNoSurge(p *fleet.Pod) string {
	w := ix.workloads[p.Owner]
	switch {
	case p.Owner.Kind == "StatefulSet":
		return "a StatefulSet pod keeps its name, so its replacement cannot come first"
	case w == nil || w.declared == nil || p.Owner.Kind != "Deployment" && p.Owner.Kind != "ReplicaSet":
		return "drover cannot scale a " + p.Owner.Kind
	case w.declared.Recreate:
		return "its strategy Recreate forbids two pods at once"
	case p.OwnDisk:
		return "its volume can be used by one node at a time"
	}
	return ""
}

// surge takes the next step for a pod that leaves by the surge mover.
func (v *tick) surge(e *exit, p *fleet.Pod) []fleet.Action {
	w := v.ix.workloads[p.Owner].declared
	m := w.Surge
	switch {
	case m == nil && v.surged[p.Owner]:
		v.hold("pod "+p.Ref.String(), "stays on %s: another pod of %s moves first", e.Name(), p.Owner)
		return nil
	case m == nil:
		v.surged[p.Owner] = true
		return []fleet.Action{{Verb: fleet.Surge, Node: e.node.Name, Workload: p.Owner, Pod: p.Ref, From: w.Replicas, To: w.Replicas + 1, Why: v.whySurge(p)}}
	case m.Run != v.plan.Run:
		v.hold("pod "+p.Ref.String(), "stays on %s: run %s has given %s a replica more", e.Name(), m.Run, p.Owner)
		return nil
	case m.Pod != p.Ref.UID:
		v.hold("pod "+p.Ref.String(), "stays on %s: another pod of %s moves first", e.Name(), p.Owner)
		return nil
	case w.Replicas == m.Replicas:
		return v.fought(e, p, w)
	case w.Replicas != m.Replicas+1:
		return []fleet.Action{unsurge(w, p.Ref, false, fmt.Sprintf("somebody has scaled it to %d meanwhile", w.Replicas))}
	case v.ix.stuck(p):
		return []fleet.Action{unsurge(w, p.Ref, false, "the pod has not been Ready for long: nobody misses it")}
	}
	if why := v.notReplaced(p, m); why != "" {
		v.hold("pod "+p.Ref.String(), "stays on %s until its replacement serves: %s", e.Name(), why)
		return nil
	}
	return []fleet.Action{unsurge(w, p.Ref, true, "its replacement is Ready")}
}

func unsurge(w *fleet.Workload, pod fleet.PodRef, ready bool, why string) fleet.Action {
	to := w.Surge.Replicas
	if w.Replicas != to+1 {
		to = w.Replicas // somebody else's number now
	}
	return fleet.Action{Verb: fleet.Unsurge, Workload: w.Owner, Pod: pod, From: w.Replicas, To: to, Expect: fleet.Expect{Ready: ready}, Why: why}
}

func (v *tick) whySurge(p *fleet.Pod) string {
	if len(p.Budgets) == 1 && v.ix.never(v.ix.budget[p.Budgets[0]]) {
		return "budget " + p.Budgets[0] + " never allows a disruption: its replacement comes first"
	}
	return "single replica: its replacement comes first"
}

// fought is for a workload whose one replica more was taken back by somebody else.
func (v *tick) fought(e *exit, p *fleet.Pod, w *fleet.Workload) []fleet.Action {
	who := w.GitOps
	if who == "" {
		who = "somebody"
	}
	v.hold("pod "+p.Ref.String(), "stays on %s: %s has set %s back to %d replicas; let it ignore spec.replicas until the run is over, then drover raises it again", e.Name(), who, p.Owner, w.Replicas)
	return []fleet.Action{{Verb: fleet.Surge, Node: e.node.Name, Workload: p.Owner, Pod: p.Ref, From: w.Replicas, To: w.Surge.Replicas + 1, Why: who + " set it back"}}
}

// notReplaced says what is missing before the pod may go.
func (v *tick) notReplaced(p *fleet.Pod, m *fleet.SurgeMark) string {
	w := v.ix.workloads[p.Owner]
	others := w.ready
	if p.Ready && !p.Terminating {
		others--
	}
	if others < m.Replicas {
		return fmt.Sprintf("%d of %d pods of %s are Ready besides it", others, m.Replicas, p.Owner)
	}
	if w.warming > 0 {
		return plural(w.warming, "pod is", "pods are") + " not healthy at the load balancer yet"
	}
	return ""
}

// unsurgeGone takes back what was given for pods that are gone, or whose node stays after all.
func (v *tick) unsurgeGone() {
	for i := range v.s.Workloads {
		w := &v.s.Workloads[i]
		if w.Surge == nil || w.Surge.Run != v.plan.Run {
			continue
		}
		p := v.ix.pod(w.Surge.Pod)
		switch {
		case p == nil:
			v.do(unsurge(w, fleet.PodRef{Namespace: w.Owner.Namespace, UID: w.Surge.Pod}, false, "the pod that it was for is gone"))
		case p.Terminating:
			v.do(unsurge(w, p.Ref, false, "the pod that it was for is going"))
		case !v.leaving[p.Node]:
			v.do(unsurge(w, p.Ref, false, "the pod that it was for stays"))
		}
	}
}

// unsurgeAll takes back whatever the run still has given, at its end.
func (v *tick) unsurgeAll() {
	for i := range v.s.Workloads {
		if w := &v.s.Workloads[i]; w.Surge != nil && w.Surge.Run == v.plan.Run {
			v.do(unsurge(w, fleet.PodRef{Namespace: w.Owner.Namespace, UID: w.Surge.Pod}, false, "the run is over"))
		}
	}
}
