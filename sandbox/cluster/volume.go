package cluster

import (
	"fmt"
	"slices"
)

// volume is a persistent volume that one node at a time may use.
type volume struct {
	name    string
	zone    string // "" until its first pod has a node
	node    *node  // to which it is attached, or on its way to or from
	ready   bool   // attached
	leaving bool   // being detached
	users   []*pod // bound pods that want it, in order of binding
	turn    int    // counts attachments, to tell one from an earlier one
}

func (v *volume) zones() []string {
	if v.zone == "" {
		return nil
	}
	return []string{v.zone}
}

// volumeOf finds or makes the volume of a workload's pod.
func (c *Cluster) volumeOf(w *workload, slot int) *volume {
	name := fmt.Sprintf("pv-%s-%s", w.Owner.Namespace, w.Owner.Name)
	if w.Owner.Kind == "StatefulSet" {
		name = fmt.Sprintf("%s-%d", name, slot)
	}
	v := c.volumes[name]
	if v == nil {
		v = &volume{name: name}
		c.volumes[name] = v
	}
	return v
}

// mount has a pod that was just bound wait for its volume.
func (c *Cluster) mount(p *pod) {
	v := p.volume
	if v.zone == "" {
		v.zone = p.node.Zone
		for _, o := range p.w.pods {
			if o.volume == v {
				o.VolumeZones = v.zones()
			}
		}
	}
	v.users = append(v.users, p)
	c.move(v)
}

// unmount takes a pod off its volume.
func (c *Cluster) unmount(p *pod) {
	if p.volume != nil {
		p.volume.users = drop(p.volume.users, p)
		c.move(p.volume)
	}
}

// move brings a volume to the pods that wait for it: away from a node where nobody uses it any more, then to the node of the first that waits.
func (c *Cluster) move(v *volume) {
	switch {
	case v.leaving:
	case v.node == nil:
		c.attach(v)
	case !v.usedOn(v.node):
		c.detach(v)
	case v.ready:
		for _, p := range v.users {
			if p.node == v.node && !p.running && !p.Terminating && !p.lost {
				c.run(p)
			}
		}
	}
}

func (v *volume) usedOn(n *node) bool {
	return slices.ContainsFunc(v.users, func(p *pod) bool { return p.node == n })
}

func (c *Cluster) attach(v *volume) {
	i := slices.IndexFunc(v.users, func(p *pod) bool { return !p.Terminating && !p.lost })
	if i < 0 {
		return
	}
	n := v.users[i].node
	v.node = n
	v.turn++
	turn := v.turn
	n.Volumes = append(slices.Clip(n.Volumes), v.name)
	c.after(c.timing.Attach, func() {
		if v.turn == turn && v.node != nil && !v.leaving {
			v.ready = true
			c.move(v)
		}
	})
}

// detach takes a volume off its node; off a machine that is dead only after a long while, because nobody there
// confirms that it let go, unless somebody has declared it out of service.
func (c *Cluster) detach(v *volume) {
	v.leaving = true
	wait := c.timing.Detach
	if v.node.dead && v.node.tainted(outOfServiceTaint) < 0 {
		wait = c.timing.ForceDetach
	}
	c.after(wait, func() {
		v.node.Volumes = drop(slices.Clone(v.node.Volumes), v.name)
		v.node, v.ready, v.leaving = nil, false, false
		c.move(v)
	})
}

// VolumesOn names the volumes that are attached to a node.
func (c *Cluster) VolumesOn(name string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.node[name]; n != nil {
		return slices.Clone(n.Volumes)
	}
	return nil
}
