package cluster

import (
	"fmt"

	"drover.dev/fleet"
)

// cheapest makes a pod the first to go when its workload is scaled down.
const cheapest = "-2147483648"

// surge gives a workload one replica more, with the pod made the cheapest to delete before. With an autoscaler its least number goes up too, or
// it would take the replica back. The mark with the prior values is written together with the change it explains.
func (c *Cluster) surge(a fleet.Action) error {
	w := c.workload[a.Workload]
	if err := maySurge(w, a); err != nil {
		return err
	}
	p := c.find(a.Pod)
	if p == nil || p.Terminating {
		return &fleet.Refused{Reason: fmt.Sprintf("pod %s is gone, or going", a.Pod)}
	}
	if p.prior == nil {
		p.prior = &prior{p.cost}
	}
	p.cost = cheapest
	if w.surging == nil { // what was before is what the first try found
		w.surging = &fleet.SurgeMark{Run: a.Run, Pod: a.Pod.UID, Replicas: a.From}
		if w.Scaler != nil {
			w.surging.Min, w.surging.Max = w.Scaler.Min, w.Scaler.Max
		}
	}
	if w.Scaler != nil {
		c.setBounds(w, max(w.Scaler.Min, a.To), max(w.Scaler.Max, a.To))
	}
	c.scale(w, a.To)
	return nil
}

// maySurge refuses when the workload is not as the action was decided on.
func maySurge(w *workload, a fleet.Action) error {
	switch {
	case a.Workload.Kind != "Deployment" && a.Workload.Kind != "ReplicaSet":
		return &fleet.Refused{Reason: fmt.Sprintf("%s: drover gives a replica more to Deployments and ReplicaSets only: others do not heed a pod's deletion cost", a.Workload), Wait: brokenWait}
	case w == nil:
		return &fleet.Refused{Reason: fmt.Sprintf("%s is gone", a.Workload)}
	case w.surging != nil && w.surging.Run != a.Run:
		return &fleet.Refused{Reason: fmt.Sprintf("run %s has given %s a replica more", w.surging.Run, a.Workload), Wait: ownerWait}
	case w.surging != nil && w.surging.Pod != a.Pod.UID:
		return &fleet.Refused{Reason: fmt.Sprintf("%s has a replica more for another pod already", a.Workload), Wait: budgetWait}
	case w.Replicas != a.From && w.Replicas != a.To, w.surging == nil && w.Replicas == a.To:
		return &fleet.Refused{Reason: fmt.Sprintf("%s has %d replicas by now, not %d", a.Workload, w.Replicas, a.From)}
	}
	return nil
}

// unsurge takes the replica back; what somebody else has set meanwhile, replicas or bounds, is theirs and stays. When the replacement need not be
// Ready the pod is the one that stays: it gets its deletion cost back before anything shrinks.
func (c *Cluster) unsurge(a fleet.Action) error {
	w := c.workload[a.Workload]
	if w == nil || w.surging == nil {
		return nil
	}
	if w.surging.Run != a.Run {
		return &fleet.Refused{Reason: fmt.Sprintf("run %s has given %s a replica more", w.surging.Run, a.Workload), Wait: ownerWait}
	}
	p := c.find(a.Pod)
	if a.Expect.Ready {
		if err := w.replaced(p, a); err != nil {
			return err
		}
	} else if p != nil && !p.Terminating && p.prior != nil {
		p.cost, p.prior = p.prior.cost, nil
	}
	m := w.surging
	w.surging = nil
	if w.Scaler != nil && m.Max > 0 {
		c.lower(w, m)
	}
	if w.Replicas == m.Replicas+1 {
		c.scale(w, a.To)
	}
	return nil
}

// lower gives the autoscaler its bounds back, those that are still as the surge set them.
func (c *Cluster) lower(w *workload, m *fleet.SurgeMark) {
	least, most := w.Scaler.Min, w.Scaler.Max
	if least == max(m.Min, m.Replicas+1) {
		least = m.Min
	}
	if most == max(m.Max, m.Replicas+1) {
		most = m.Max
	}
	c.setBounds(w, least, most)
}

// replaced refuses unless as many pods are Ready as the workload wants besides the one that goes.
func (w *workload) replaced(leaving *pod, a fleet.Action) error {
	need, others := max(a.To, 1), 0
	for _, p := range w.live() {
		if p.Ready && p != leaving {
			others++
		}
	}
	switch {
	case others >= need:
		return nil
	case leaving != nil && !leaving.Terminating:
		return &fleet.Refused{Reason: fmt.Sprintf("%s has %d Ready pods besides %s, and needs %d before it goes", w.Owner, others, a.Pod, need), Wait: budgetWait}
	}
	return &fleet.Refused{Reason: fmt.Sprintf("%s has %d Ready pods, and needs %d", w.Owner, others, need), Wait: budgetWait}
}
