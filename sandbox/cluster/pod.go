package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// pod is a pod with what its snapshot does not show. The slices of its fleet.Pod are replaced, never changed: snapshots share them.
type pod struct {
	fleet.Pod
	w        *workload
	slot     int // the ordinal of a StatefulSet's pod; of others, which of the workload's places it fills
	serial   int
	node     *node
	pin      *node // the only node it may run on
	volume   *volume
	running  bool   // its containers were started
	alive    bool   // the process in it runs, when it is a store's
	started  bool   // they were Ready once
	broken   bool   // somebody made it fail its readiness probe
	lost     bool   // its machine went off under it
	ended    bool   // it is gone
	over     bool   // its containers have ended; somebody keeps the object, or nobody can say so
	cost     string // pod-deletion-cost; "" when it has none
	prior    *prior // what the cost was before drover's; nil while it is not drover's
	tried    int    // Cluster.room when it last found no node
	target   string // its state in its workload's target group; "" when it is not registered
	forsaken bool   // a workload that it needs was switched off under it, which is noted
	revision int    // of its workload's template
	crashes  int    // for want of what it needs
	turn     int    // counts registrations and withdrawals, to tell one from an earlier one
}

// prior is a deletion cost that drover noted before it set its own.
type prior struct{ cost string }

// create makes one more pod of a workload and puts it into the scheduler's queue.
func (c *Cluster) create(w *workload, slot int) *pod {
	s := &w.spec
	p := &pod{w: w, slot: slot, serial: c.nextSerial(), cost: s.Cost, tried: -1, revision: w.revision}
	p.Pod = fleet.Pod{
		Ref:   fleet.PodRef{Namespace: w.Owner.Namespace, Name: w.podName(slot, p.serial), UID: fmt.Sprintf("00000000-0000-4000-8000-%012x", p.serial)},
		Owner: w.Owner, Created: c.now, Unready: c.now, Budgets: w.names, Grace: s.Grace, PreStop: s.PreStop, Requests: s.Requests, Selector: s.Selector,
		Affinity: s.Affinity, Tolerations: s.Tolerations, Labels: s.Labels, Apart: s.Apart, Together: s.Together, Spread: s.Spread, OwnDisk: s.OwnDisk, Local: s.Local,
	}
	if s.OwnDisk {
		p.volume = c.volumeOf(w, slot)
		p.VolumeZones = p.volume.zones()
	}
	i, _ := slices.BinarySearchFunc(c.pods, p, byName)
	c.pods = slices.Insert(c.pods, i, p)
	c.pod[p.Ref.UID] = p
	w.pods = append(w.pods, p)
	c.pending = append(c.pending, p)
	c.retry = true
	c.podChanged(p)
	return p
}

func byName(a, b *pod) int {
	return cmp.Or(cmp.Compare(a.Ref.Namespace, b.Ref.Namespace), cmp.Compare(a.Ref.Name, b.Ref.Name), cmp.Compare(a.serial, b.serial))
}

func (w *workload) podName(slot, serial int) string {
	switch w.Owner.Kind {
	case "Pod":
		return w.Owner.Name
	case "StatefulSet":
		return fmt.Sprintf("%s-%d", w.Owner.Name, slot)
	}
	return w.Owner.Name + "-" + suffix(serial)
}

// bind gives a pod its node.
func (c *Cluster) bind(p *pod, n *node) {
	p.node, p.Node, p.Unplaced = n, n.Name, ""
	p.IP = fmt.Sprintf("10.%d.%d.%d", p.serial>>16&0xff, p.serial>>8&0xff, p.serial&0xff)
	n.pods = append(n.pods, p)
	n.free = n.free.Sub(p.Requests)
	if p.volume != nil {
		c.mount(p)
		return
	}
	c.run(p)
}

// run starts a pod's containers.
func (c *Cluster) run(p *pod) {
	p.running = true
	if len(p.w.spec.BadOn) > 0 && p.node.has(p.w.spec.BadOn) {
		return // it crashes on that machine, again and again
	}
	c.launch(p)
	c.after(p.w.spec.Start, func() {
		if p.ended || p.lost || p.Terminating {
			return
		}
		c.come(p, firstBackOff)
	})
}

// arrive makes a pod Ready whose containers have started.
func (c *Cluster) arrive(p *pod) {
	p.started = true
	c.setPodReady(p, p.node.Ready && !p.broken)
	if p.w.Owner.Kind == "Job" {
		c.after(p.w.spec.Runs, func() { c.finish(p) })
	}
}

// setPodReady makes a pod Ready, or not.
func (c *Cluster) setPodReady(p *pod, ready bool) {
	if p.Ready == ready || p.Finished || p.ended {
		return
	}
	p.Ready = ready
	if ready {
		p.ReadySince, p.Unready = c.now, time.Time{}
		c.enlist(p)
	} else {
		p.ReadySince, p.Unready = time.Time{}, c.now
		c.because(fmt.Sprintf("pod %s is not Ready", p.Ref))
		c.delist(p)
	}
	c.podChanged(p)
}

// SetPodReady makes a pod's readiness probe succeed or fail.
func (c *Cluster) SetPodReady(ref fleet.PodRef, ready bool) error {
	return c.do(func() error {
		p := c.find(ref)
		if p == nil {
			return fmt.Errorf("set readiness of pod %s: there is none", ref)
		}
		p.broken = !ready
		c.setPodReady(p, ready && p.started && p.node.Ready && !p.lost)
		return nil
	})
}

// find returns the pod of that name, and of that UID if there is one; nil when it is gone.
func (c *Cluster) find(ref fleet.PodRef) *pod {
	if ref.UID != "" {
		return c.pod[ref.UID]
	}
	for _, p := range c.pods {
		if p.Ref.Namespace == ref.Namespace && p.Ref.Name == ref.Name {
			return p
		}
	}
	return nil
}

// finish ends a Job's pod.
func (c *Cluster) finish(p *pod) {
	if p.ended || p.lost || p.Terminating {
		return
	}
	c.delist(p)
	p.Finished, p.Ready = true, false
	p.w.done++
	p.node.free = p.node.free.Add(p.Requests)
	c.unmount(p)
	c.freed()
	c.podChanged(p)
}

// DeletePod deletes a pod, as kubectl does: no budget is asked.
func (c *Cluster) DeletePod(ref fleet.PodRef) {
	_ = c.do(func() error { // deleting what is gone is no error
		if p := c.find(ref); p != nil {
			c.because("pod " + ref.String() + " was deleted")
			c.remove(p)
		}
		return nil
	})
}

// remove begins a pod's end. One that runs gets its preStop and its shutdown, both bounded by its grace; nobody confirms the end of one whose
// machine is off.
func (c *Cluster) remove(p *pod) { c.removeWithin(p, p.Grace) }

// removeWithin bounds the shutdown by another grace than the pod's own. One that is on its way out keeps the time it was given.
func (c *Cluster) removeWithin(p *pod, grace time.Duration) {
	if p.Terminating || p.ended {
		return
	}
	p.Terminating, p.Deleted = true, c.now.Add(grace)
	c.podChanged(p)
	c.freed() // it counts for no spread any more
	switch {
	case p.lost:
	case !p.running || p.Finished:
		c.gone(p)
	default:
		c.delist(p)
		needs := p.PreStop + p.w.spec.Stop
		c.after(min(p.PreStop, grace), func() { c.halt(p, p.PreStop < grace) }) // SIGTERM
		c.after(min(needs, grace), func() { c.shutDown(p, needs, grace) })
	}
}

// lose ends a pod whose machine went off under it. The API server does not know yet.
func (c *Cluster) lose(p *pod) {
	if p.lost || p.Finished || p.ended {
		return
	}
	p.lost = true
	c.halt(p, false)
	if p.running && !p.Mirror && !p.over {
		c.ledger.Lost = append(c.ledger.Lost, Loss{At: c.now, Pod: p.Ref, Identity: p.identity(), Node: p.Node, Ending: p.Terminating, Stays: p.Stays() != "", Grace: p.Grace, Created: p.Created})
	}
	c.podChanged(p)
}

// gone removes the pod object.
func (c *Cluster) gone(p *pod) {
	if p.ended {
		return
	}
	c.cut(p)
	c.halt(p, false)
	p.ended = true
	if i, found := slices.BinarySearchFunc(c.pods, p, byName); found {
		c.pods = slices.Delete(c.pods, i, i+1)
	}
	delete(c.pod, p.Ref.UID)
	p.w.pods = drop(p.w.pods, p)
	if p.node == nil {
		c.pending = drop(c.pending, p)
	} else {
		p.node.pods = drop(p.node.pods, p)
		if !p.Finished {
			p.node.free = p.node.free.Add(p.Requests)
		}
	}
	if p.w.Owner.Kind == "Pod" {
		delete(c.workload, p.w.Owner)
		c.workloads = drop(c.workloads, p.w)
	}
	c.unmount(p)
	c.freed()
	c.podChanged(p)
}

// podChanged tells those who count a pod.
func (c *Cluster) podChanged(p *pod) {
	c.wake(p.w)
	c.recountAll(p.w)
}

// serves tells whether the pod does its work, whatever the API server believes.
func (p *pod) serves() bool { return p.Ready && !p.Terminating && !p.lost }

// identity names what stays when a pod is replaced by another: the StatefulSet's pod, the place in a workload.
func (p *pod) identity() string {
	switch {
	case p.Owner.Kind == "" || p.Owner.Kind == "StatefulSet":
		return p.Ref.String()
	case p.pin != nil:
		return fmt.Sprintf("%s on %s", p.Owner, p.pin.Name)
	}
	return fmt.Sprintf("%s #%d", p.Owner, p.slot)
}

// sentence joins causes.
func sentence(parts []string) string { return strings.Join(parts, "; ") }
