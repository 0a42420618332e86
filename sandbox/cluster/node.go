package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"drover.dev/fleet"
)

// Taint keys and labels that Kubernetes itself sets or reads.
const (
	notReadyTaint    = "node.kubernetes.io/not-ready"
	unreachableTaint = "node.kubernetes.io/unreachable"
	unschedulable    = "node.kubernetes.io/unschedulable"
	hostLabel        = "kubernetes.io/hostname"
	zoneLabel        = "topology.kubernetes.io/zone"
	excludeLabel     = "node.kubernetes.io/exclude-from-external-load-balancers"
)

// node is a node with its pods. The maps and slices of its fleet.Node are replaced, never changed: snapshots share them.
type node struct {
	fleet.Node
	pods []*pod // bound to it, in order of binding
	free fleet.Resources
	dead bool // the machine is off; nobody has told the API server
	gone bool
}

// AddNode registers a node. It is Ready at once if n says so; otherwise it carries Kubernetes' not-ready taint until SetReady.
func (c *Cluster) AddNode(n fleet.Node) error {
	return c.do(func() error {
		if n.Name == "" || c.node[n.Name] != nil {
			return fmt.Errorf("add node %q: it has no name, or the name is taken", n.Name)
		}
		n.Labels = maps.Clone(n.Labels)
		if n.Labels == nil {
			n.Labels = map[string]string{}
		}
		n.Labels[hostLabel] = cmp.Or(n.Labels[hostLabel], n.Name)
		if n.Zone = cmp.Or(n.Zone, n.Labels[zoneLabel]); n.Zone != "" {
			n.Labels[zoneLabel] = n.Zone
		}
		_, n.Excluded = n.Labels[excludeLabel]
		n.Taints, n.Volumes = slices.Clone(n.Taints), nil
		n.Created, n.Changed = c.now, c.now
		if n.Room.Pods == 0 {
			n.Room.Pods = 110 // the kubelet's own default
		}
		x := &node{Node: n, free: n.Room}
		if !n.Ready {
			x.taint(fleet.Taint{Key: notReadyTaint, Effect: fleet.NoSchedule})
		}
		c.node[n.Name] = x
		i, _ := slices.BinarySearchFunc(c.nodes, n.Name, func(x *node, name string) int { return cmp.Compare(x.Name, name) })
		c.nodes = slices.Insert(c.nodes, i, x)
		c.nodeChanged()
		return nil
	})
}

// nodeChanged tells scheduler and DaemonSets that a node is not what it was.
//
// The scheduler looks at the end of the moment, not at each of the many nodes that change in it.
func (c *Cluster) nodeChanged() {
	if !c.looks {
		c.looks = true
		c.after(0, func() {
			c.looks = false
			c.freed()
		})
	}
	for _, w := range c.workloads {
		if w.Owner.Kind == "DaemonSet" {
			c.wake(w)
		}
	}
}

// onNode makes a change to a node; a node that is gone needs none.
func (c *Cluster) onNode(name string, f func(n *node)) {
	_ = c.do(func() error { // it has no error to return
		if n := c.node[name]; n != nil {
			f(n)
			c.nodeChanged()
		}
		return nil
	})
}

// KillNode switches a node's machine off, as EC2 does: at once, and without a word to anybody. What ran there is lost; the API server finds out
// after Timing.Silence.
func (c *Cluster) KillNode(name string) {
	c.onNode(name, func(n *node) {
		if n.dead {
			return
		}
		c.because("the machine of node " + name + " went off")
		n.dead = true
		for _, p := range n.pods {
			c.lose(p)
		}
		c.after(c.timing.Silence, func() {
			if n.dead {
				c.silent(n)
			}
		})
	})
}

// RemoveNode deletes the node object, as the cloud controller manager does for a terminated instance. Its pods go with it, without shutdown.
func (c *Cluster) RemoveNode(name string) {
	c.onNode(name, func(n *node) {
		c.because("node " + name + " was removed")
		n.dead, n.gone = true, true
		delete(c.node, name)
		c.nodes = drop(c.nodes, n)
		for _, p := range slices.Clone(n.pods) {
			c.lose(p)
			c.gone(p)
		}
	})
}

// silent marks a node whose machine says nothing any more.
func (c *Cluster) silent(n *node) {
	if n.gone || !n.Ready {
		return
	}
	c.setReady(n, false)
	c.after(c.timing.Unreachable, func() {
		if n.gone || n.Ready {
			return
		}
		c.because("node " + n.Name + " is unreachable")
		for _, p := range slices.Clone(n.pods) {
			if p.Stays() == "" {
				c.remove(p)
			}
		}
	})
}

// SetReady says whether a node's kubelet reports. A silent one loses its pods' readiness, and after Timing.Unreachable the pods.
func (c *Cluster) SetReady(name string, ready bool) {
	c.onNode(name, func(n *node) {
		switch {
		case n.Ready == ready || ready && n.dead:
		case ready:
			c.setReady(n, true)
		default:
			c.because("node " + name + " is not Ready")
			c.silent(n)
		}
	})
}

func (c *Cluster) setReady(n *node, ready bool) {
	n.Ready, n.Changed = ready, c.now
	if ready {
		n.untaint(notReadyTaint)
		n.untaint(unreachableTaint)
	} else {
		n.taint(fleet.Taint{Key: unreachableTaint, Effect: fleet.NoSchedule})
	}
	for _, p := range slices.Clone(n.pods) {
		c.setPodReady(p, ready && p.started && !p.broken && !p.over)
		c.report(p)
	}
	c.nodeChanged()
}

// Cordon marks a node unschedulable, or takes the mark back, as kubectl does.
func (c *Cluster) Cordon(name string, on bool) {
	c.onNode(name, func(n *node) {
		n.Cordoned = on
		if on {
			n.taint(fleet.Taint{Key: unschedulable, Effect: fleet.NoSchedule})
		} else {
			n.untaint(unschedulable)
		}
	})
}

// Taint puts a taint on a node, in place of one of the same key.
func (c *Cluster) Taint(name string, t fleet.Taint) { c.onNode(name, func(n *node) { n.taint(t) }) }

// Untaint takes the taint of that key off a node.
func (c *Cluster) Untaint(name, key string) { c.onNode(name, func(n *node) { n.untaint(key) }) }

// Label sets a node's label; an empty value removes it.
func (c *Cluster) Label(name, key, value string) {
	c.onNode(name, func(n *node) {
		n.label(key, value)
		n.Zone = n.Labels[zoneLabel]
		_, n.Excluded = n.Labels[excludeLabel]
	})
}

func (n *node) taint(t fleet.Taint) {
	if i := n.tainted(t.Key); i >= 0 {
		n.Taints = slices.Clone(n.Taints)
		n.Taints[i] = t
		return
	}
	n.Taints = append(slices.Clip(n.Taints), t)
}

func (n *node) untaint(key string) {
	n.Taints = slices.DeleteFunc(slices.Clone(n.Taints), func(t fleet.Taint) bool { return t.Key == key })
}

func (n *node) tainted(key string) int {
	return slices.IndexFunc(n.Taints, func(t fleet.Taint) bool { return t.Key == key })
}

func (n *node) label(key, value string) {
	n.Labels = maps.Clone(n.Labels)
	if value == "" {
		delete(n.Labels, key)
		return
	}
	n.Labels[key] = value
}

// has tells whether the node has all of these labels.
func (n *node) has(labels map[string]string) bool {
	for k, v := range labels {
		if n.Labels[k] != v {
			return false
		}
	}
	return true
}
