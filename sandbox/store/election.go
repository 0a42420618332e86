package store

import (
	"slices"
	"strconv"
	"time"
)

// obey takes in a packet that asks for something.
func (b *bus) obey(m message, sender *node) {
	switch m.kind {
	case "fail":
		if n := b.nodes[m.about]; n != nil && n != b.me && !n.fail {
			n.fail, n.failAt, n.doubt = true, b.now(), false
		}
	case "auth-req":
		b.vote(m, sender)
	case "auth-ack":
		if !sender.slave && len(sender.slots) > 0 && m.epoch >= b.contest.epoch {
			b.contest.votes++
		}
	case "mfstart":
		b.standStill(sender)
	case "update":
		n := b.nodes[m.about]
		if n == nil || m.conf <= n.epoch && n.slots.String() == m.slots.String() {
			return
		}
		b.lead(n)
		n.epoch = max(n.epoch, m.conf)
		b.claim(n, m.conf, m.slots)
	}
}

// vote gives its vote for a replica whose master has failed, or that its master agreed with.
func (b *bus) vote(m message, sender *node) {
	master := b.nodes[sender.master]
	if b.me.slave || len(b.me.slots) == 0 || m.epoch < b.epoch || b.voted == b.epoch || !sender.slave || master == nil || !master.fail && !m.force {
		return
	}
	if b.now().Sub(master.voteAt) < 2*b.timeout() {
		return
	}
	for _, n := range b.nodes {
		if n.epoch > m.conf && len(n.slots.and(m.slots)) > 0 {
			return
		}
	}
	master.voteAt, b.voted = b.now(), b.epoch
	b.send(sender, message{kind: "auth-ack"})
}

// standStill holds writes for a replica that wants to take over. Of one that it does not know as its replica it takes no notice.
func (b *bus) standStill(sender *node) {
	if !sender.slave || sender.master != b.me.id {
		return
	}
	b.endManual()
	b.manual = manual{end: b.now().Add(manualTime), to: sender, offset: -1}
	b.p.repl.hold(b.now().Add(2*manualTime), false)
	b.ping(sender, "ping") // it says where the stream stands still
}

func (b *bus) handover() bool { return !b.manual.end.IsZero() && b.manual.to != nil }

// endManual ends a failover that was asked for, and lets writes go on.
func (b *bus) endManual() {
	if b.manual.to != nil {
		b.p.repl.pause = time.Time{}
	}
	b.manual = manual{offset: -1}
}

// goOn notices that it has all that its master had.
func (b *bus) goOn() {
	if mf := &b.manual; !mf.end.IsZero() && !mf.free && mf.offset >= 0 && mf.offset == b.p.repl.offset {
		mf.free = true
	}
}

// stand is a replica's way to its election: wait for a moment, longer when others have more; ask; count.
func (b *bus) stand() {
	master, forced := b.nodes[b.me.master], !b.manual.end.IsZero() && b.manual.free
	if master == nil || !master.fail && !forced || len(master.slots) == 0 || b.me.noFailover && !forced || b.stale() && !forced {
		return
	}
	now, patience := b.now(), max(2*b.timeout(), 2*time.Second)
	c := &b.contest
	switch {
	case c.at.IsZero() || now.Sub(c.at) > 2*patience:
		*c = contest{at: now}
		if !forced {
			c.at = now.Add(500*time.Millisecond + b.p.w.random(500*time.Millisecond) + time.Duration(b.rank())*time.Second)
			b.tellSiblings()
			return
		}
	case forced && !c.asked && c.at.After(now):
		c.at = now
	}
	if now.Before(c.at) || now.Sub(c.at) > patience {
		return
	}
	if !c.asked {
		b.epoch++
		c.asked, c.epoch = true, b.epoch
		b.broadcast(message{kind: "auth-req", force: forced})
		return
	}
	if c.votes >= b.size()/2+1 {
		b.me.epoch = max(b.me.epoch, c.epoch)
		b.takeOver()
	}
}

// stale tells whether it has been without its master for too long to stand.
func (b *bus) stale() bool {
	r := b.p.repl
	if r.link == linkUp {
		return false
	}
	if r.down.IsZero() {
		return true
	}
	age := b.now().Sub(r.down)
	if age > b.timeout() {
		age -= b.timeout()
	}
	limit := time.Duration(b.p.number("repl-ping-replica-period"))*time.Second + b.timeout()*time.Duration(b.p.number("cluster-replica-validity-factor"))
	return b.p.number("cluster-replica-validity-factor") > 0 && age > limit
}

// rank is how many of the same master's replicas have more than it has.
func (b *bus) rank() int {
	n := 0
	for _, o := range b.replicas(b.me.master) {
		if o != b.me && !o.noFailover && o.offset > b.p.repl.offset {
			n++
		}
	}
	return n
}

func (b *bus) tellSiblings() {
	for _, o := range b.replicas(b.me.master) {
		if o != b.me {
			b.send(o, message{kind: "pong"})
		}
	}
}

// takeOver makes it the master of its master's slots.
func (b *bus) takeOver() {
	old := b.nodes[b.me.master]
	b.lead(b.me)
	b.p.repl.lead()
	b.me.slots, old.slots = old.slots, nil
	b.contest.votes = 0 // the attempt itself stays on its mind, as with Redis: see contest
	shard := ""
	if len(b.me.slots) > 0 {
		shard = strconv.Itoa(b.me.slots[0].from)
	}
	b.p.w.note("node %s takes %s from %s", b.p.addr(), b.me.slots, old.addr())
	b.p.w.promoted(b.p.c.Store, shard)
	b.updateState()
	b.broadcast(message{kind: "pong"})
	b.endManual()
}

// migrate gives a master without replicas one of those of a master with several: that with the smallest id.
func (b *bus) migrate() {
	if !b.p.yes("cluster-allow-replica-migration") || !b.fine {
		b.noteOrphans()
		return
	}
	orphan, most := b.noteOrphans()
	mine := b.healthy(b.me.master)
	if orphan == nil || len(mine) < 2 || len(mine) != most || len(mine) <= b.p.number("cluster-migration-barrier") {
		return
	}
	var first *node
	for _, n := range b.known() {
		if !n.slave && len(b.healthy(n.id)) == most {
			for _, o := range b.healthy(n.id) {
				if first == nil || o.id < first.id {
					first = o
				}
			}
		}
	}
	if first == b.me && b.now().Sub(orphan.orphan) > migrateDelay {
		b.p.w.note("node %s migrates to orphaned %s", b.p.addr(), orphan.addr())
		b.follow(orphan)
	}
}

// noteOrphans finds a master that had replicas and has none that is well, and how many the one with the most has.
func (b *bus) noteOrphans() (orphan *node, most int) {
	for _, n := range b.known() {
		if n.slave || n.fail {
			continue
		}
		well := len(b.healthy(n.id))
		most = max(most, well)
		if well > 0 || len(n.slots) == 0 || !n.wasSlave && len(b.replicas(n.id)) == 0 {
			n.orphan = time.Time{}
			continue
		}
		if n.orphan.IsZero() {
			n.orphan = b.now()
		}
		if orphan == nil {
			orphan = n
		}
	}
	return orphan, most
}

func (b *bus) healthy(master string) []*node {
	return slices.DeleteFunc(b.replicas(master), func(n *node) bool { return n.fail })
}
