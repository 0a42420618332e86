package cluster

import "drover.dev/fleet"

// enlist registers a pod by IP in its workload's target group, a while after it became Ready.
func (c *Cluster) enlist(p *pod) {
	if p.w.spec.Target == "" || p.Terminating {
		return
	}
	p.turn++
	turn := p.turn
	c.after(c.timing.Register, func() {
		if p.turn != turn {
			return
		}
		p.setTarget(fleet.TargetInitial)
		c.after(c.timing.Healthy, func() {
			if p.turn == turn {
				p.setTarget(fleet.TargetHealthy)
			}
		})
	})
}

// delist takes a pod out of its target group: the controller notices that it is on its way out, then its last requests drain.
func (c *Cluster) delist(p *pod) {
	p.turn++
	if p.target == "" {
		return
	}
	turn := p.turn
	c.after(c.timing.Deregister, func() {
		if p.turn != turn || p.ended {
			return
		}
		p.setTarget(fleet.TargetDraining)
		c.after(c.timing.Drain, func() {
			if p.turn == turn {
				p.setTarget("")
			}
		})
	})
}

// cut ends a pod's target with the pod. One that still got new requests loses them, and the ledger notes it.
func (c *Cluster) cut(p *pod) {
	p.turn++
	if p.target == fleet.TargetHealthy {
		c.ledger.Cuts = append(c.ledger.Cuts, Cut{At: c.now, Pod: p.Ref, Target: p.w.spec.Target})
	}
	p.setTarget("")
}

func (p *pod) setTarget(state string) {
	p.target = state
	if p.Targets = nil; state != "" {
		p.Targets = []fleet.Target{{Group: p.w.spec.Target, State: state}}
	}
}
