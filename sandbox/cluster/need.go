package cluster

import (
	"slices"
	"time"

	"drover.dev/fleet"
)

// How long a kubelet waits before it starts a crashed container again: the first time, and at most.
const (
	firstBackOff = 10 * time.Second
	mostBackOff  = 5 * time.Minute
)

// Miss is a pod that ran without something it needs: it came too soon, or that went too soon.
type Miss struct {
	At       time.Time
	Pod      fleet.PodRef
	Workload fleet.Owner
	Need     string
	Served   bool // it was Ready, and what it needs went
}

// Answering says how to tell whether a database answers. f is called under the cluster's lock, and does not call back.
func (c *Cluster) Answering(f func(database string) bool) {
	_ = c.do(func() error { // it has no error to return
		c.answers = f
		return nil
	})
}

// Recheck has pods notice which databases answer by now.
func (c *Cluster) Recheck() {
	_ = c.do(func() error { return nil }) // to settle is all there is to do
}

// lacking names the first thing that a workload's pods need and do not have; "" when they have all.
func (c *Cluster) lacking(w *workload) string {
	for _, need := range w.spec.Needs {
		if !c.works(need) {
			return need
		}
	}
	return ""
}

// works tells whether something that pods need does: a workload that has a Ready pod, or a database that answers.
func (c *Cluster) works(need string) bool {
	if w := c.called(need); w != nil {
		return slices.ContainsFunc(w.pods, func(p *pod) bool { return p.Ready && !p.Terminating })
	}
	return c.answers != nil && c.answers(need)
}

// called finds a workload by what it prints as.
func (c *Cluster) called(name string) *workload {
	for _, w := range c.workloads {
		if w.Owner.String() == name {
			return w
		}
	}
	return nil
}

// forsake finds the Ready pods that have lost what they need, and tells whether any crashed of it. Without its database a pod crashes; that a workload was
// switched off under it is only noted, once.
func (c *Cluster) forsake() bool {
	crashed := false
	for _, w := range c.workloads {
		for _, need := range w.spec.Needs {
			other := c.called(need)
			switch {
			case other != nil && other.Replicas > 0, other == nil && c.works(need):
				continue
			}
			for _, p := range slices.Clone(w.pods) {
				if !p.Ready || p.Terminating || p.forsaken {
					continue
				}
				c.miss(p, need, true)
				if p.forsaken = other != nil; other == nil {
					crashed = true
					p.started = false
					c.setPodReady(p, false)
					c.crashLoop(p, firstBackOff)
				}
			}
		}
	}
	return crashed
}

func (c *Cluster) miss(p *pod, need string, served bool) {
	c.ledger.Missed = append(c.ledger.Missed, Miss{At: c.now, Pod: p.Ref, Workload: p.w.Owner, Need: need, Served: served})
}

// come makes a started pod Ready, if it has what it needs; otherwise it crashes, and is started again later and later.
func (c *Cluster) come(p *pod, wait time.Duration) {
	if need := c.lacking(p.w); need != "" {
		c.miss(p, need, false)
		c.crashLoop(p, wait)
		return
	}
	c.arrive(p)
}

func (c *Cluster) crashLoop(p *pod, wait time.Duration) {
	p.crashes++
	turn := p.crashes
	c.after(wait+p.w.spec.Start, func() {
		if !p.ended && !p.lost && !p.Terminating && !p.started && p.crashes == turn {
			c.come(p, min(2*wait, mostBackOff))
		}
	})
}

// Clients returns the Ready pods that need a database.
func (c *Cluster) Clients(database string) []fleet.Pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []fleet.Pod
	for _, p := range c.pods {
		if p.Ready && slices.Contains(p.w.spec.Needs, database) {
			out = append(out, p.Pod)
		}
	}
	return out
}
