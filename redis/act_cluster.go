package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"drover.dev/fleet"
)

// Figures of a failover in a cluster.
const (
	takeIn   = 6 * time.Second // Redis gives up after 5
	takePoll = 25 * time.Millisecond
	busAbove = 10000 // the bus' port is the data's plus this, unless it was set
)

// meet makes two nodes known to each other. Two clusters that have nothing in common must never meet: they would become one.
func (d *deed) meet(ctx context.Context) error {
	pod, peer, err := d.pair(ctx)
	if err != nil {
		return err
	}
	for _, m := range []*heard{pod, peer} {
		if err := d.lodge(ctx, m); err != nil {
			return err
		}
	}
	if p, known := find(pod.View, peer.ID); known && p.Linked && !p.Meeting && !p.NoAddr && !p.Fail && peer.is(p.Address) {
		return nil
	}
	if strangers(pod, peer) {
		return refuse("pods %s and %s are of two clusters that know nothing of each other, and would make one of both", pod.Pod, peer.Pod)
	}
	args := []any{"CLUSTER", "MEET", peer.host, peer.port}
	if port, err := strconv.Atoi(peer.port); err == nil && peer.bus != "" && peer.bus != strconv.Itoa(port+busAbove) {
		args = append(args, peer.bus)
	}
	return d.command(ctx, pod.line, args...)
}

// lodge has a temporary node say an address of its own, and never stand for election.
func (d *deed) lodge(ctx context.Context, m *heard) error {
	var set []string
	if m.Temp && m.announces == "" {
		set = append(set, setClusterIP, m.host)
	}
	if m.Temp && !m.noFailover {
		set = append(set, setNoFailover, "yes")
	}
	if len(set) == 0 {
		return nil
	}
	return d.outcome(m.line, m.line.set(ctx, set...))
}

// strangers tells whether two nodes are of two clusters. A node that knows only itself and has no slots is of none.
func strangers(a, b *heard) bool {
	if alone(a) || alone(b) {
		return false
	}
	return !slices.ContainsFunc(a.View, func(p fleet.Peer) bool {
		_, common := find(b.View, p.ID)
		return common && !p.Meeting
	})
}

func alone(m *heard) bool {
	me, ok := self(m.View)
	settled := slices.DeleteFunc(slices.Clone(m.View), func(p fleet.Peer) bool { return p.Meeting })
	return ok && len(settled) == 1 && me.Slots == 0
}

// replicate makes a node without slots the replica of one with slots.
func (d *deed) replicate(ctx context.Context) error {
	pod, peer, err := d.pair(ctx)
	if err != nil {
		return err
	}
	me, _ := self(pod.View)
	owner, _ := self(peer.View)
	known, ok := find(pod.View, peer.ID)
	switch {
	case me.Of == peer.ID && peer.ID != "":
		return nil
	case me.Slots > 0:
		return refuse("pod %s owns %d slots, and can be nobody's replica", pod.Pod, me.Slots)
	case owner.Role != fleet.RoleMaster || owner.Slots == 0:
		return refuse("pod %s is no master with slots", peer.Pod)
	case !ok || known.Meeting:
		return refuse("pod %s does not know the node of pod %s (%s) yet", pod.Pod, peer.Pod, peer.ID)
	}
	return d.command(ctx, pod.line, "CLUSTER", "REPLICATE", peer.ID)
}

// failover has a replica take its master's slots.
func (d *deed) failover(ctx context.Context) error {
	if d.a.Effect != "" {
		return d.force(ctx)
	}
	all, err := d.members(ctx, none)
	if err != nil {
		return err
	}
	heir, old := pick(all, d.a.Pod), pick(all, d.a.Peer)
	if heir == nil || old == nil {
		return refuse("pods %s and %s are not both members of cluster %s any more", d.a.Pod, d.a.Peer, d.st.Name)
	}
	if taken(all, heir.ID, old.ID) {
		return nil
	}
	if err := mayTake(all, heir, old); err != nil {
		return err
	}
	if err := d.command(ctx, heir.line, "CLUSTER", "FAILOVER"); err != nil {
		return err
	}
	return d.await(ctx, all, heir, func(all []*heard) bool { return taken(all, heir.ID, old.ID) })
}

// pick is the member in a pod, nil when it is another pod by now.
func pick(all []*heard, ref fleet.PodRef) *heard {
	i := slices.IndexFunc(all, func(m *heard) bool { return m.Pod.Name == ref.Name && (ref.UID == "" || m.Pod.UID == ref.UID) })
	if i < 0 {
		return nil
	}
	return all[i]
}

// taken tells whether every view has the heir with slots, and the old owner as its replica.
func taken(all []*heard, heir, old string) bool {
	for _, m := range all {
		h, _ := find(m.View, heir)
		o, _ := find(m.View, old)
		if h.Role != fleet.RoleMaster || h.Slots == 0 || o.Role != fleet.RoleReplica || o.Of != heir {
			return false
		}
	}
	return len(all) > 0
}

// mayTake refuses unless everybody knows the heir as a replica that is well: a master that has not heard of it yet ignores its wish, and says nothing.
func mayTake(all []*heard, heir, old *heard) error {
	for _, m := range all {
		if err := m.mayTake(heir, old); err != nil {
			return err
		}
	}
	if !heir.Link || heir.Syncing {
		return refuse("pod %s is not in sync with its master", heir.Pod)
	}
	return nil
}

func (r *heard) mayTake(heir, old *heard) error {
	h, _ := find(r.View, heir.ID)
	o, _ := find(r.View, old.ID)
	switch {
	case r.Loading:
		return refuse("pod %s is still loading its data", r.Pod)
	case !r.StateOK:
		return refuse("the cluster is not well, says pod %s (cluster_state)", r.Pod)
	case o.Role != fleet.RoleMaster || o.Slots == 0:
		return refuse("pod %s is no master with slots, says pod %s", old.Pod, r.Pod)
	case h.Role != fleet.RoleReplica || h.Of != old.ID:
		return refuse("pod %s is not known as a replica of pod %s to pod %s", heir.Pod, old.Pod, r.Pod)
	}
	for _, p := range r.View {
		shard := p.ID == old.ID || p.Of == old.ID
		switch {
		case p.Moving > 0:
			return refuse("%d slots are on their way from or to %s, says pod %s", p.Moving, p.Address, r.Pod)
		case shard && (p.Fail || p.Doubt):
			return refuse("node %s of the same shard (%s) does not answer, says pod %s", p.ID, p.Address, r.Pod)
		}
	}
	return nil
}

// force takes slots without their owner's consent, as a person has decided. Writes that the owner has acknowledged since are lost.
func (d *deed) force(ctx context.Context) error {
	if d.a.Effect != fleet.Force && d.a.Effect != fleet.Takeover {
		return refuse("%q is no way to fail over: %s or %s", d.a.Effect, fleet.Force, fleet.Takeover)
	}
	all, err := d.members(ctx, func(*heard) bool { return true })
	if err != nil {
		return err
	}
	heir := pick(all, d.a.Pod)
	if heir == nil {
		return refuse("pod %s does not answer, or is none of the members of store %s any more", d.a.Pod, d.st.Name)
	}
	owns := func(all []*heard) bool {
		return !slices.ContainsFunc(all, func(m *heard) bool {
			p, _ := find(m.View, heir.ID)
			return p.Role != fleet.RoleMaster || p.Slots == 0
		})
	}
	if owns(all) {
		return nil
	}
	if me, _ := self(heir.View); me.Role != fleet.RoleReplica {
		return refuse("pod %s is no replica, so there is nothing that it could take", heir.Pod)
	}
	if err := d.command(ctx, heir.line, "CLUSTER", "FAILOVER", d.a.Effect); err != nil {
		return err
	}
	return d.await(ctx, all, heir, owns)
}

// await looks until all views are as they should be. OK from Redis means only that it has heard.
func (d *deed) await(ctx context.Context, all []*heard, heir *heard, done func([]*heard) bool) error {
	until := d.h.now().Add(takeIn)
	for {
		if seen := d.look(ctx, all); len(seen) > 0 && (len(seen) == len(all) || d.a.Effect != "") && done(seen) {
			return nil
		}
		if err := d.h.sleep(ctx, takePoll); err != nil || !d.h.now().Before(until) {
			return refuse("pod %s has not got the slots in every member's view within %s; there is nothing to undo", heir.Pod, takeIn)
		}
	}
}

// look reads the views again, of those that answer.
func (d *deed) look(ctx context.Context, all []*heard) []*heard {
	seen := make([]*heard, len(all))
	d.h.each(len(all), func(i int) {
		ctx, cancel := context.WithTimeout(ctx, askNamed)
		defer cancel()
		m := *all[i]
		if err := m.readView(ctx); err == nil {
			seen[i] = &m
		}
	})
	return slices.DeleteFunc(seen, func(m *heard) bool { return m == nil })
}

// leave takes a node that holds nothing out of the cluster: it forgets everybody, and becomes somebody new.
func (d *deed) leave(ctx context.Context) error {
	all, err := d.members(ctx, func(*heard) bool { return true })
	if err != nil {
		return err
	}
	pod := pick(all, d.a.Pod)
	if pod == nil {
		return refuse("pod %s does not answer, or is none of the members of store %s any more", d.a.Pod, d.st.Name)
	}
	if alone(pod) {
		return nil
	}
	for _, m := range all {
		me, _ := find(m.View, pod.ID)
		if me.Slots > 0 {
			return refuse("pod %s owns %d slots, says pod %s, and cannot leave with them", pod.Pod, me.Slots, m.Pod)
		}
		if of := dependent(m.View, pod.ID); of != "" {
			return refuse("pod %s is the master of %s, says pod %s", pod.Pod, of, m.Pod)
		}
	}
	return d.command(ctx, pod.line, "CLUSTER", "RESET", "HARD")
}

// dependent is somebody who replicates a node, "" when nobody does.
func dependent(view []fleet.Peer, id string) string {
	i := slices.IndexFunc(view, func(p fleet.Peer) bool { return p.Of == id && id != "" })
	if i < 0 {
		return ""
	}
	return fmt.Sprintf("%s (%s)", view[i].ID, view[i].Address)
}

// disown has every member forget a node. One that is left out would tell the others again, so all have to answer, but for the node itself.
func (d *deed) disown(ctx context.Context) error {
	all, err := d.members(ctx, d.isDisowned)
	if err != nil {
		return err
	}
	for _, m := range all {
		if err := mayDisown(m, d.a.ID); err != nil {
			return err
		}
	}
	errs := make([]error, len(all))
	d.h.each(len(all), func(i int) {
		if _, known := find(all[i].View, d.a.ID); known && all[i].ID != d.a.ID {
			errs[i] = d.forget(ctx, all[i])
		}
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// isDisowned tells whether a member that does not answer is the temporary one that is to be forgotten.
func (d *deed) isDisowned(m *heard) bool {
	return m.Temp && slices.ContainsFunc(d.st.Members, func(o fleet.Member) bool {
		p, ok := find(o.View, d.a.ID)
		return ok && m.is(p.Address)
	})
}

func mayDisown(m *heard, id string) error {
	p, _ := find(m.View, id)
	switch {
	case m.Loading:
		return refuse("pod %s is still loading its data, and has to forget node %s too", m.Pod, id)
	case m.ID == id && !m.Temp:
		return refuse("node %s lives: it is pod %s", id, m.Pod)
	case p.Slots > 0:
		return refuse("node %s owns %d slots, says pod %s", id, p.Slots, m.Pod)
	}
	if of := dependent(m.View, id); of != "" {
		return refuse("node %s is the master of %s, says pod %s", id, of, m.Pod)
	}
	return nil
}

func (d *deed) forget(ctx context.Context, m *heard) error {
	_, err := m.line.do(ctx, "CLUSTER", "FORGET", d.a.ID)
	if says(err, "ERR Unknown node") {
		return nil
	}
	return d.outcome(m.line, err)
}
