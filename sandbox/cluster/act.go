package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"drover.dev/fleet"
)

// How long a refused action need not be asked for again, as package kube says of the real API server.
const (
	budgetWait = 2 * time.Second
	ownerWait  = 10 * time.Second
	brokenWait = 30 * time.Second
)

// Act carries out one action. "Already so" is success, and a node that is gone needs nothing any more.
func (c *Cluster) Act(_ context.Context, a fleet.Action) error {
	return c.do(func() error {
		switch a.Verb {
		case fleet.Evict:
			return c.evict(a.Pod, a.Grace)
		case fleet.Delete:
			c.delete(a.Pod, a.Grace)
			return nil
		case fleet.OutOfService:
			return c.giveUp(a)
		case fleet.Taint_, fleet.Untaint, fleet.Keep, fleet.Unkeep, fleet.Exclude, fleet.Include, fleet.Shut:
			if n := c.node[a.Node]; n != nil {
				n.act(a)
				c.nodeChanged()
			}
			return nil
		case fleet.Record:
			return c.record(*a.Rotation)
		case fleet.Engage:
			return c.engage(a)
		case fleet.Disengage:
			return c.disengage(a)
		case fleet.Lend:
			return c.lend(a)
		case fleet.Unlend:
			return c.unlend(a)
		case fleet.Call:
			return c.call(a)
		case fleet.Remember:
			return c.remember(a)
		case fleet.Conclude:
			return c.conclude(a)
		case fleet.TurnOff:
			return c.turnOff(a)
		case fleet.TurnOn:
			return c.turnOn(a)
		case fleet.Unmark:
			return c.unmark(a)
		case fleet.Place:
			return c.place(a.Placement)
		case fleet.MakeBudget:
			return c.makeBudget(a.NewBudget)
		case fleet.Surge:
			return c.surge(a)
		case fleet.Unsurge:
			return c.unsurge(a)
		}
		return fmt.Errorf("the sandbox's cluster does not know how to %s", a.Verb)
	})
}

// act changes what drover may change on a node. What others set is left to them.
func (n *node) act(a fleet.Action) {
	switch a.Verb {
	case fleet.Taint_:
		n.taint(fleet.Taint{Key: fleet.TaintKey, Value: a.Run, Effect: a.Effect})
	case fleet.Shut:
		if m := n.Mark(); m == nil || m.Effect != fleet.NoSchedule {
			n.taint(fleet.Taint{Key: fleet.TaintKey, Value: a.Run, Effect: fleet.NoSchedule})
		}
		n.exclude(a.Run)
	case fleet.Untaint:
		n.untaint(fleet.TaintKey)
	case fleet.Keep:
		if !n.HeldDown {
			n.HeldDown, n.Kept = true, a.Run
		}
	case fleet.Unkeep:
		if n.Kept == a.Run {
			n.HeldDown, n.Kept = false, ""
		}
	case fleet.Exclude:
		n.exclude(a.Run)
	case fleet.Include:
		if n.OutBy != "" {
			n.Excluded, n.OutBy = false, ""
			n.label(excludeLabel, "")
		}
	}
}

// exclude labels a node out of external load balancers for a run, unless somebody did so before.
func (n *node) exclude(run string) {
	if !n.Excluded {
		n.Excluded, n.OutBy = true, run
		n.label(excludeLabel, "true")
	}
}

// evict is the eviction API. A pod that is gone, or reborn under its name, needs no eviction any more.
func (c *Cluster) evict(ref fleet.PodRef, grace time.Duration) error {
	p := c.find(ref)
	if p == nil {
		return nil
	}
	if p.w.spec.Held != "" {
		return &fleet.Refused{Reason: fmt.Sprintf("held by its owner: admission webhook %s.%s says: %s", p.w.Owner.Name, p.w.Owner.Namespace, p.w.spec.Held), Wait: ownerWait, Held: true}
	}
	if p.Terminating {
		return nil
	}
	if err := p.charge(); err != nil {
		return err
	}
	c.because("pod " + p.Ref.String() + " was evicted")
	within := p.graceOf(grace)
	c.ledger.Evictions = append(c.ledger.Evictions, Eviction{At: c.now, Pod: p.Ref, Identity: p.identity(), Node: p.Node, Grace: within})
	c.removeWithin(p, within)
	return nil
}

// charge asks the pod's budget, where it has a say, and takes one disruption from it.
func (p *pod) charge() error {
	if p.Finished || !p.running || len(p.w.budgets) == 0 {
		return nil
	}
	if len(p.w.budgets) > 1 {
		return &fleet.Refused{Reason: "the API server refuses: more than one PodDisruptionBudget covers the pod; leave one of them", Wait: brokenWait, Held: true}
	}
	b := p.w.budgets[0]
	if !p.Ready && (b.spec.AlwaysAllow || b.Desired > 0 && b.Healthy >= b.Desired) {
		return nil
	}
	if b.Allowed <= 0 {
		name := b.Name[strings.Index(b.Name, "/")+1:]
		return &fleet.Refused{
			Reason: fmt.Sprintf("the budget does not allow it now: The disruption budget %s needs %d healthy pods and has %d currently", name, b.Desired, b.Healthy),
			Wait:   budgetWait,
		}
	}
	b.Allowed--
	return nil
}

// lostAfter is how long after its announced end a pod on a silent node may stay before it counts as gone.
const lostAfter = 30 * time.Second

// Confirm says whether what the action expects of the cluster holds now.
func (c *Cluster) Confirm(_ context.Context, a fleet.Action) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.node[a.Node]
	if !a.Expect.Empty || n == nil {
		return nil
	}
	now := c.clock.Now()
	for _, p := range n.pods {
		if p.Stays() != "" || p.Terminating && !n.Ready && now.Sub(p.Deleted) >= lostAfter {
			continue
		}
		return &fleet.Refused{Reason: fmt.Sprintf("node %s is not empty after all: pod %s is on it", a.Node, p.Ref)}
	}
	return nil
}
