package redis

import (
	"context"
	"fmt"
	"slices"

	"drover.dev/fleet"
)

// watch is what all Sentinels of a store say.
type watch []*watcher

// watchers reads all Sentinels; silent ones are left out where that is allowed.
func (d *deed) watchers(ctx context.Context, silent bool) (watch, error) {
	all := make(watch, len(d.st.Sentinels))
	d.h.each(len(all), func(i int) {
		w := d.h.watch(ctx, d.st, d.st.Sentinels[i], d.sentinel)
		w.isStill(d.st.Sentinels[i])
		all[i] = &w
	})
	if silent {
		return slices.DeleteFunc(all, func(w *watcher) bool { return w.Trouble != "" }), nil
	}
	if len(all) == 0 || len(all) < d.st.Spec.Watchers {
		return nil, refuse("store %s has %d Sentinels, needs %d: one is away, and it must not miss what changes", d.st.Name, len(all), max(1, d.st.Spec.Watchers))
	}
	for _, w := range all {
		if w.Trouble != "" {
			return nil, refuse("every Sentinel of store %s has to answer: %s", d.st.Name, w.Trouble)
		}
	}
	return all, nil
}

// introduce tells members what the Sentinels call them.
func (ws watch) introduce(members ...*heard) {
	for _, w := range ws {
		w.introduce(members...)
	}
}

// agree refuses unless all Sentinels take m for the master, in peace.
func (ws watch) agree(m *heard) error {
	for _, w := range ws {
		switch {
		case w.Failover:
			return refuse("Sentinel %s has a failover in progress", w.Pod)
		case !m.is(w.Master):
			return refuse("Sentinel %s takes %s for the master, and not pod %s (%s)", w.Pod, w.Master, m.Pod, m.address())
		case w.Down:
			return refuse("Sentinel %s takes the master in pod %s for down", w.Pod, m.Pod)
		case w.NoQuorum != "":
			return refuse("Sentinel %s could not have a failover authorized: %s", w.Pod, w.NoQuorum)
		}
	}
	return nil
}

// naming counts the Sentinels that take m for the master, and returns what they call it.
func (ws watch) naming(m *heard) (n int, address string) {
	for _, w := range ws {
		if m.is(w.Master) {
			n, address = n+1, w.Master
		}
	}
	return n, address
}

// majority refuses unless most of all Sentinels of the store name m. It returns what they call it.
func (d *deed) majority(ctx context.Context, m *heard) (string, error) {
	ws, err := d.watchers(ctx, true)
	if err != nil {
		return "", err
	}
	ws.introduce(m)
	all := max(len(d.st.Sentinels), d.st.Spec.Watchers)
	for _, w := range ws {
		all = max(all, 1+len(w.Peers)) // some may be of no pod that is known
	}
	n, address := ws.naming(m)
	if 2*n <= all {
		return "", refuse("%d of %d Sentinels of store %s take pod %s (%s) for the master, needs %d", n, all, d.st.Name, m.Pod, m.address(), all/2+1)
	}
	return address, nil
}

// follows tells whether a replicates b, which is a master: two may replicate each other for a while.
func follows(a, b *heard) bool {
	return b.Role == fleet.RoleMaster && a.Role == fleet.RoleReplica && (b.is(a.Master) || a.Link && b.feeds(a))
}

// demote makes the old master, which has not noticed yet, a replica of the new one.
func (d *deed) demote(ctx context.Context) error {
	old, heir, err := d.pair(ctx)
	if err != nil {
		return err
	}
	if follows(old, heir) {
		return nil
	}
	if old.Role != fleet.RoleMaster {
		return refuse("pod %s replicates %s, and is no master that would have to be demoted", old.Pod, old.Master)
	}
	if heir.Role != fleet.RoleMaster {
		return refuse("pod %s is to be the master, but replicates %s", heir.Pod, heir.Master)
	}
	named, err := d.majority(ctx, heir)
	if err != nil {
		return err
	}
	p := &pause{d: d, to: old.line}
	if err := p.during(ctx, d.mayDemote); err != nil {
		return err
	}
	return p.retire(ctx, named)
}

// mayDemote is asked while writes are paused: has the old master acknowledged what the new one has not?
func (d *deed) mayDemote(ctx context.Context) error {
	old, heir, err := d.pair(ctx)
	if err != nil {
		return err
	}
	fenced := old.Fence.Lag > 0 && old.good < old.Fence.Replicas
	if fenced || !old.Ahead(&heir.Member) {
		return nil
	}
	return refuse("pods %s and %s of store %s are two masters, and each may have writes that the other lacks (offset %d and %d, %s has %d of %d replicas that its min-replicas-to-write wants): "+
		"save the data of %s, then decide which to keep", old.Pod, heir.Pod, d.st.Name, old.Offset, heir.Offset, old.Pod, old.good, old.Fence.Replicas, old.Pod)
}

// attach makes a master that nobody named, such as a rebuilt pod, a replica.
func (d *deed) attach(ctx context.Context) error {
	pod, master, err := d.pair(ctx)
	if err != nil {
		return err
	}
	if follows(pod, master) {
		return nil
	}
	if err := d.mayAttach(ctx, pod, master); err != nil {
		return err
	}
	name := master.address()
	if d.st.Mover == fleet.SentinelMover {
		if name, err = d.majority(ctx, master); err != nil {
			return err
		}
	}
	if d.a.Effect == fleet.Unelected { // but announced: what it does not show, a Sentinel keeps all the same, and nobody could tell that it is stale
		if err := d.outcome(pod.line, pod.line.set(ctx, setPriority, "0")); err != nil {
			return err
		}
	}
	p := &pause{d: d, to: pod.line}
	if err := p.during(ctx, d.mayStillAttach); err != nil {
		return err
	}
	return p.retire(ctx, name)
}

// mayStillAttach is asked while writes are paused: a Service that is pinned to the pod sends clients there all the time.
func (d *deed) mayStillAttach(ctx context.Context) error {
	pod, master, err := d.pair(ctx)
	if err != nil {
		return err
	}
	return d.mayAttach(ctx, pod, master)
}

// mayAttach refuses where data would be lost that only pod has.
func (d *deed) mayAttach(ctx context.Context, pod, master *heard) error {
	switch {
	case pod.Role != fleet.RoleMaster:
		return refuse("pod %s replicates %s, and is no master that would have to be attached", pod.Pod, pod.Master)
	case master.Role != fleet.RoleMaster:
		return refuse("pod %s is no master: it replicates %s", master.Pod, master.Master)
	case len(pod.Replicas) > 0:
		return refuse("pod %s has %d replicas, and may be the master of somebody", pod.Pod, len(pod.Replicas))
	case pod.Keys == 0:
		return nil
	}
	by, err := pod.touched(ctx)
	if err != nil {
		return d.outcome(pod.line, err)
	}
	if by != "" {
		return refuse("pod %s has %d keys, and was written to since it started, for all that is known (%s): save its data, then decide what to keep", pod.Pod, pod.Keys, by)
	}
	return nil
}

// reset has one Sentinel forget what it has heard. It is blind until it has heard anew, so the others have to see.
func (d *deed) reset(ctx context.Context) error {
	ws, err := d.watchers(ctx, false)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(ws, func(w *watcher) bool { return w.Pod.Name == d.a.Pod.Name })
	if i < 0 || d.a.Pod.UID != "" && ws[i].Pod.UID != d.a.Pod.UID {
		return refuse("pod %s is none of the Sentinels of store %s any more", d.a.Pod, d.st.Name)
	}
	if err := d.masterIsUp(ctx, ws); err != nil {
		return err
	}
	lone := !slices.ContainsFunc(d.st.Members, func(m fleet.Member) bool { return m.Role == fleet.RoleReplica && m.Trouble == "" })
	for j, w := range ws {
		alive := lone || slices.ContainsFunc(w.Replicas, func(r fleet.Listed) bool { return !r.Down })
		if j != i && w.NoQuorum != "" {
			return refuse("Sentinel %s could not have a failover authorized: %s", w.Pod, w.NoQuorum)
		}
		if j != i && !alive {
			return refuse("Sentinel %s knows no replica that is up, so Sentinel %s must not forget those that it knows", w.Pod, d.a.Pod)
		}
	}
	return d.command(ctx, ws[i].line, "SENTINEL", "RESET", literal(ws[i].name))
}

// literal is a name as a pattern that matches nothing else.
func literal(name string) string {
	var p []rune
	for _, r := range name {
		if slices.Contains([]rune(`*?[]^\`), r) {
			p = append(p, '\\')
		}
		p = append(p, r)
	}
	return string(p)
}

// masterIsUp refuses unless the one that all Sentinels name answers, and they know it.
func (d *deed) masterIsUp(ctx context.Context, ws watch) error {
	for _, w := range ws {
		if w.Failover || w.Down || w.Master != ws[0].Master {
			return refuse("the Sentinels of store %s have to agree on a master that is up: %s says %s", d.st.Name, w.Pod, w.sees())
		}
	}
	all, err := d.members(ctx, func(m *heard) bool { return !m.is(ws[0].Master) })
	if err != nil {
		return err
	}
	ws.introduce(all...)
	for _, m := range all {
		if m.is(ws[0].Master) && m.Role == fleet.RoleMaster {
			return nil
		}
	}
	return refuse("the Sentinels of store %s take %s for the master, and no member of it is that", d.st.Name, ws[0].Master)
}

// sees is a Sentinel's opinion of the master, for people.
func (w *watcher) sees() string {
	switch {
	case w.Failover:
		return fmt.Sprintf("%s, with a failover in progress", w.Master)
	case w.Down:
		return fmt.Sprintf("%s, which it takes for down", w.Master)
	}
	return w.Master
}
