package evac

import (
	"fmt"

	"drover.dev/fleet"
)

// MakePods plans the move of single pods that a person asks for. Their nodes stay as they are.
func MakePods(s *fleet.Snapshot, pods []fleet.PodRef, o Options) (Plan, []fleet.Finding) {
	p := Plan{Run: o.Run, At: s.Now, Force: o.Force, Pods: pods}
	ix := newIndex(s)
	var findings []fleet.Finding
	for _, ref := range pods {
		pod := ix.pod(ref.UID)
		if pod == nil {
			findings = append(findings, finding(noSuchPod, "pod "+ref.String(), "is not there any more").next("look which pod has taken its place"))
			continue
		}
		p.Moves = append(p.Moves, Move{Pod: pod.Ref, Owner: pod.Owner, From: pod.Node, Lane: laneOf(pod).String(), Why: ix.remark(pod)})
		if why := pod.Stays(); why != "" {
			findings = append(findings, finding(noSuchPod, "pod "+ref.String(), "%s", why).next("move pods that a workload can run elsewhere"))
			continue
		}
		for _, f := range append(podFindings(ix, pod, p.taint(), o.Force), storeFindings(ix, pod)...) {
			if f.Code != toleratesAll.Code { // it only moves once
				findings = append(findings, f)
			}
		}
	}
	findings = append(findings, notNow(s)...)
	return p, dedupe(findings)
}

// nextPods is Next for a plan of single pods.
func (v *tick) nextPods() Step {
	v.leaving = map[string]bool{}
	if why, since := v.stopped(); why != "" {
		v.out.Holds = append(v.out.Holds, fleet.Hold{Subject: "run " + v.plan.Run, Reason: why, Since: since})
		v.unlock()
		return v.out
	}
	var pods []*fleet.Pod
	for _, ref := range v.plan.Pods {
		if p := v.ix.pod(ref.UID); p != nil && p.Node != "" {
			pods = append(pods, p)
			v.leaving[p.Node] = true
		}
	}
	v.unsurgeGone()
	lanes := map[lane]*gate{}
	var all []kept
	for _, p := range pods {
		if k, mine := v.movePod(p, lanes); mine {
			all = append(all, k)
		}
	}
	for _, release := range v.keep(all, true) {
		release()
	}
	for _, o := range lanes {
		if o.waiting > 0 {
			v.hold(o.lane, "%s; %s", o.why, plural(o.waiting, "pod waits", "pods wait"))
		}
	}
	v.out.Done = len(pods) == 0 && len(v.out.Actions) == 0 && v.engaged() == "" && !v.surging()
	return v.out
}

// movePod takes the next step for one pod; one of a store is its keeper's.
func (v *tick) movePod(p *fleet.Pod, lanes map[lane]*gate) (kept, bool) {
	const why = "a person asked for it"
	e := exit{Exit: &Exit{Departure: fleet.Departure{Node: p.Node}}, node: v.ix.node[p.Node]}
	release := func() {
		if v.pass(p, lanes) {
			v.do(fleet.Action{Verb: fleet.Evict, Pod: p.Ref, Node: p.Node, Why: why})
		}
	}
	w := v.ix.workloads[p.Owner]
	switch {
	case v.ix.storeOf(p) != nil:
		return kept{goal{p: p, node: p.Node, why: why}, release}, true
	case p.Terminating:
		v.hold("pod "+p.Ref.String(), "is shutting down on %s, has %s for it", p.Node, p.Grace)
	case p.Refused != "":
		v.hold("pod "+p.Ref.String(), "stays on %s: %s", p.Node, p.Refused)
	case !v.courted(p, p.Node, why):
	case v.surges(p, w) && e.node != nil:
		for _, a := range v.surge(&e, p) {
			v.do(a)
		}
	default:
		release()
	}
	return kept{}, false
}

// pass tells whether a pod's lane allows it to go now, and counts it.
func (v *tick) pass(p *fleet.Pod, lanes map[lane]*gate) bool {
	return through(lanes, p, func(l lane) opening { return v.ix.opening(l, p) })
}

// through tells whether a pod's lane allows it to go now, and counts it. open is asked once a lane.
func through(lanes map[lane]*gate, p *fleet.Pod, open func(lane) opening) bool {
	l := laneOf(p)
	o := lanes[l]
	if o == nil {
		o = &gate{opening: open(l), lane: l.String()}
		lanes[l] = o
	}
	switch {
	case !p.Ready && o.spare:
	case o.free > 0:
		o.free--
	default:
		o.waiting++
		return false
	}
	return true
}

// surging tells whether the run has given a workload a replica more.
func (v *tick) surging() bool {
	for i := range v.s.Workloads {
		if m := v.s.Workloads[i].Surge; m != nil && m.Run == v.plan.Run {
			return true
		}
	}
	return false
}

// Promote says what it takes for a pod to have its store's role now, by a person's word, with what speaks against it. effect is "", fleet.Force or
// fleet.Takeover.
func Promote(s *fleet.Snapshot, pod fleet.PodRef, effect string) (fleet.Action, error) {
	st := s.StoreOf(pod.UID)
	if st == nil || !st.Confirmed {
		return fleet.Action{}, fmt.Errorf("promote %s: it is no pod of a store that drover knows; annotate its workload (drover.dev/mover)", pod)
	}
	me := st.Member(pod.Name)
	switch {
	case st.Mover != fleet.ClusterMover:
		return fleet.Action{}, fmt.Errorf("promote %s: store %s is moved by %s; only a Redis Cluster lets a person choose who has the slots", pod, st.Name, st.Mover)
	case me == nil || me.Trouble != "":
		return fleet.Action{}, fmt.Errorf("promote %s: it does not answer", pod)
	case me.Role != fleet.RoleReplica:
		return fleet.Action{}, fmt.Errorf("promote %s: it is no replica", pod)
	}
	a := fleet.Action{Verb: fleet.Failover, Store: st.Name, Pod: me.Pod, Node: me.Node, Effect: effect, Why: "a person decided"}
	if self := selfOf(me); self != nil {
		if from := newClusterKeeper(&keeper{st: st}).owner[self.Of]; from != nil {
			a.Peer = from.Pod
		}
	}
	if effect == "" && a.Peer.Name == "" {
		return fleet.Action{}, fmt.Errorf("promote %s: its master does not answer, so nothing less than --force or --takeover helps; both lose what only the master had", pod)
	}
	return a, nil
}
