package cluster

import (
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// outOfServiceTaint is what a person, or drover, says of a node whose machine is off for good. collectAfter is how long the garbage collector may
// take to believe it.
const (
	outOfServiceTaint = "node.kubernetes.io/out-of-service"
	shutdownTaint     = "node.cloudprovider.kubernetes.io/shutdown"
	collectAfter      = 20 * time.Second
)

// leastGrace keeps a deletion from removing a pod's object at once, while its containers run.
const leastGrace = time.Second

// graceOf is how long a pod gets when it is asked to stop within so long; zero leaves it its own.
func (p *pod) graceOf(asked time.Duration) time.Duration {
	if asked == 0 {
		return p.Grace
	}
	return max(asked, leastGrace)
}

// delete deletes a pod by its UID, whatever its budget and its webhooks say.
func (c *Cluster) delete(ref fleet.PodRef, grace time.Duration) {
	p := c.pod[ref.UID]
	if p == nil || p.Terminating {
		return
	}
	c.because("pod " + p.Ref.String() + " was deleted past its budget")
	within := p.graceOf(max(grace, leastGrace))
	c.ledger.Deletions = append(c.ledger.Deletions, Eviction{At: c.now, Pod: p.Ref, Identity: p.identity(), Node: p.Node, Grace: within})
	c.removeWithin(p, within)
}

// shutDown hears that a pod's containers have ended, by themselves or by force. A kubelet that does not report says so only when it does again.
func (c *Cluster) shutDown(p *pod, needs, grace time.Duration) {
	if p.lost || p.ended || p.over {
		return
	}
	p.over = true
	c.halt(p, needs <= grace)
	if needs > grace {
		c.ledger.Killed = append(c.ledger.Killed, Kill{At: c.now, Pod: p.Ref, Identity: p.identity(), Node: p.Node, Needs: needs, Grace: grace})
	}
	c.report(p)
}

// report has the kubelet say that a pod has ended, and whoever has a finalizer on it let it go.
func (c *Cluster) report(p *pod) {
	if p.over && p.node.Ready && !p.w.spec.Stuck {
		c.gone(p)
	}
}

// LetGo takes the finalizer off a workload's pods.
func (c *Cluster) LetGo(o fleet.Owner) error {
	return c.onWorkload("let go the pods of", o, func(w *workload) {
		w.spec.Stuck = false
		for _, p := range slices.Clone(w.pods) {
			c.report(p)
		}
	})
}

// giveUp declares that a node's machine is off for good. It refuses while the node reports: its pods would be removed while they run.
func (c *Cluster) giveUp(a fleet.Action) error {
	n := c.node[a.Node]
	switch {
	case n == nil:
		return nil
	case a.Expect.Off && n.Ready:
		return &fleet.Refused{Reason: fmt.Sprintf("node %s is Ready", a.Node)}
	case n.tainted(outOfServiceTaint) >= 0:
		return nil
	}
	n.taint(fleet.Taint{Key: outOfServiceTaint, Value: "nodeshutdown", Effect: fleet.NoExecute})
	for _, p := range slices.Clone(n.pods) {
		if !p.Mirror && !p.Tolerates(fleet.Taint{Key: outOfServiceTaint, Value: "nodeshutdown", Effect: fleet.NoExecute}) {
			c.remove(p)
		}
	}
	c.after(collectAfter, func() { c.collect(n) })
	c.nodeChanged()
	return nil
}

// collect removes the pods that are on their way out of a node that is out of service and does not report, and frees its volumes. Those that run
// after all run on unseen.
func (c *Cluster) collect(n *node) {
	if n.gone || n.Ready || n.tainted(outOfServiceTaint) < 0 {
		return
	}
	c.because("node " + n.Name + " is out of service")
	for _, p := range slices.Clone(n.pods) {
		if p.Terminating {
			if !p.over {
				c.lose(p)
			}
			c.gone(p)
		}
	}
}

// StopMachine switches a node's machine off, as EC2 does when it stops an instance that it keeps: as KillNode, and the cloud controller manager says
// so with a taint.
func (c *Cluster) StopMachine(name string) {
	c.KillNode(name)
	c.onNode(name, func(n *node) { n.taint(fleet.Taint{Key: shutdownTaint, Effect: fleet.NoSchedule}) })
}

// BootMachine switches a machine on again, after a stop or a reboot. What its kubelet still finds to run is started anew; the node becomes Ready by
// SetReady.
func (c *Cluster) BootMachine(name string) {
	c.onNode(name, func(n *node) {
		if !n.dead {
			return
		}
		n.dead = false
		n.untaint(shutdownTaint)
		for _, p := range slices.Clone(n.pods) {
			c.restart(p)
		}
	})
}

// restart begins a pod anew on a machine that was off.
func (c *Cluster) restart(p *pod) {
	if !p.lost || p.Finished {
		return
	}
	p.lost, p.started = false, false
	if p.Terminating {
		p.over = true
		return // the kubelet reports its end when it reports at all
	}
	c.setPodReady(p, false)
	if p.running {
		c.run(p)
	}
}
