package store

import (
	"maps"
	"slices"
	"time"
)

// The times of the cluster's bus that no setting changes.
const (
	manualTime    = 5 * time.Second // for a failover that was asked for
	banTime       = time.Minute     // during which gossip does not bring a forgotten node back
	writableDelay = 2 * time.Second // after a master's start
	migrateDelay  = 5 * time.Second // a master without replicas to the migration of one
	minHandshake  = time.Second
	busOffset     = 10000
)

// bus is a node of a cluster: what it knows of the others, and what it does about it.
type bus struct {
	p       *process
	me      *node
	nodes   map[string]*node // by id; itself among them
	sorted  []*node          // the same, by id; good while nobody came or went
	epoch   int64
	voted   int64 // the last epoch that it has voted in
	fine    bool  // cluster_state
	began   time.Time
	minor   time.Time // when it was last cut off from most masters
	banned  map[string]time.Time
	ticks   int
	counts  map[string]int // messages by kind and direction
	manual  manual
	contest contest
}

// manual is a failover that was asked for.
type manual struct {
	end    time.Time // zero when there is none
	to     *node     // at the master: who takes over
	offset int64     // at the replica: where the master stands still; -1 while it does not know
	free   bool      // at the replica: nothing more is awaited
}

// contest is a replica's attempt to be elected. A won one is not over before a lost one would be: whoever took over and became a replica again within four
// node timeouts (each at least a second) says OK to CLUSTER FAILOVER, and nothing comes of it.
type contest struct {
	at    time.Time // when it asks for votes
	asked bool
	epoch int64
	votes int
}

// node is one of a cluster as another sees it.
type node struct {
	id                           string
	ip                           string
	port, busPort                int
	slave                        bool
	master                       string // id
	handshake, noaddr, meet      bool
	noFailover, doubt, fail      bool
	failAt, madeAt               time.Time
	epoch                        int64
	slots                        spans
	moving                       map[int]string // slot to what CLUSTER NODES says of it
	link                         *process
	linkAt                       time.Time
	pinged, ponged, data, voteAt time.Time
	offset                       int64
	orphan                       time.Time
	wasSlave                     bool
	reports                      map[string]time.Time // who takes it for failed, and when that was last said
}

func (n *node) addr() string { return join(n.ip, n.port) }

// again is a node that starts, with what nodes.conf has of the one before it.
func (old *bus) again(p *process) *bus {
	b := &bus{p: p, nodes: map[string]*node{}, banned: map[string]time.Time{}, counts: map[string]int{}, began: p.w.now, manual: manual{offset: -1}}
	if old == nil {
		b.me = &node{id: p.w.id(), madeAt: p.w.now, reports: map[string]time.Time{}}
	} else {
		b.epoch, b.voted = old.epoch, old.voted
		for id, o := range old.nodes {
			if o.handshake {
				continue
			}
			b.nodes[id] = &node{
				id: id, ip: o.ip, port: o.port, busPort: o.busPort, slave: o.slave, master: o.master, noaddr: o.noaddr, noFailover: o.noFailover,
				doubt: false, fail: o.fail, failAt: p.w.now, epoch: o.epoch, slots: o.slots, moving: maps.Clone(o.moving), madeAt: p.w.now, reports: map[string]time.Time{},
			}
		}
		b.me = b.nodes[old.me.id]
		b.me.fail = false
	}
	b.me.port, b.me.busPort = p.port, p.port+busOffset
	b.nodes[b.me.id] = b.me
	b.announce()
	if b.me.slave && b.nodes[b.me.master] != nil {
		p.repl.master = b.nodes[b.me.master].addr()
	}
	return b
}

// announce takes over what CONFIG says of itself.
func (b *bus) announce() {
	if ip := b.p.settings["cluster-announce-ip"]; ip != "" {
		b.me.ip = ip
	}
	b.me.noFailover = b.p.yes("cluster-replica-no-failover")
}

func (b *bus) now() time.Time { return b.p.w.now }

func (b *bus) timeout() time.Duration {
	return time.Duration(b.p.number("cluster-node-timeout")) * time.Millisecond
}

// known are the nodes in a fixed order.
// known lists the nodes by id. The list is not to be changed.
func (b *bus) known() []*node {
	if len(b.sorted) == len(b.nodes) && !slices.ContainsFunc(b.sorted, func(n *node) bool { return b.nodes[n.id] != n }) {
		return b.sorted
	}
	b.sorted = nil
	for _, id := range slices.Sorted(maps.Keys(b.nodes)) {
		b.sorted = append(b.sorted, b.nodes[id])
	}
	return b.sorted
}

func (b *bus) owner(slot int) *node {
	for _, n := range b.nodes {
		if n.slots.has(slot) {
			return n
		}
	}
	return nil
}

// size is how many masters have slots.
func (b *bus) size() int {
	n := 0
	for _, o := range b.nodes {
		if !o.slave && len(o.slots) > 0 {
			n++
		}
	}
	return n
}

func (b *bus) replicas(id string) []*node {
	var out []*node
	for _, n := range b.known() {
		if n.slave && n.master == id {
			out = append(out, n)
		}
	}
	return out
}

// tick is one turn of its timer.
func (b *bus) tick() {
	b.ticks++
	if len(b.nodes) > 1 {
		b.me.ponged = b.now().Truncate(time.Second) // as it shows itself
	}
	for _, n := range b.known() {
		b.keepLink(n)
	}
	if b.ticks%10 == 0 {
		b.pingOne()
	}
	for _, n := range b.known() {
		b.watch(n)
	}
	if b.me.slave && b.p.repl.master == "" && b.nodes[b.me.master] != nil && !b.nodes[b.me.master].noaddr {
		b.p.repl.follow(b.nodes[b.me.master].addr())
	}
	if !b.manual.end.IsZero() && b.now().After(b.manual.end) {
		b.p.w.note("node %s -manual-failover timed out", b.p.addr())
		b.endManual()
	}
	b.react()
	if b.me.slave {
		b.migrate()
	}
}

// react is what follows from whatever has become known.
func (b *bus) react() {
	if b.me.slave {
		b.goOn()
		b.stand()
	}
	b.updateState()
}

func (b *bus) keepLink(n *node) {
	if n == b.me || n.noaddr {
		return
	}
	if n.handshake && b.now().Sub(n.madeAt) > max(b.timeout(), minHandshake) {
		delete(b.nodes, n.id)
		return
	}
	if n.link != nil && n.link.ended {
		n.link = nil
	}
	if n.link != nil {
		return
	}
	p := b.p.w.procs[n.addr()]
	if p == nil || p.bus == nil {
		if n.pinged.IsZero() {
			n.pinged = b.now()
		}
		return
	}
	n.link, n.linkAt = p, b.now()
	before := n.pinged
	if n.meet {
		n.meet = false
		b.ping(n, "meet")
	} else {
		b.ping(n, "ping")
	}
	if !before.IsZero() {
		n.pinged = before
	}
}

// pingOne pings, of a few at random, the one that it has heard least of.
func (b *bus) pingOne() {
	all := b.known()
	var least *node
	for range 5 {
		n := all[b.p.w.chance.IntN(len(all))]
		if n.link == nil || !n.pinged.IsZero() || n == b.me || n.handshake {
			continue
		}
		if least == nil || n.ponged.Before(least.ponged) {
			least = n
		}
	}
	if least != nil {
		b.ping(least, "ping")
	}
}

// watch looks after one node: breaks a silent link, pings it when it is due, and doubts it after the node's timeout.
func (b *bus) watch(n *node) {
	if n == b.me || n.noaddr || n.handshake {
		return
	}
	now, half := b.now(), b.timeout()/2
	if n.link != nil && now.Sub(n.linkAt) > b.timeout() && !n.pinged.IsZero() && now.Sub(n.pinged) > half && now.Sub(n.data) > half {
		n.link = nil
	}
	handed := !b.manual.end.IsZero() && !b.me.slave && b.manual.to == n
	if n.link != nil && (n.pinged.IsZero() && now.Sub(n.ponged) > half || handed) {
		b.ping(n, "ping")
		return
	}
	if n.pinged.IsZero() || min(now.Sub(n.pinged), now.Sub(n.data)) <= b.timeout() || n.doubt || n.fail {
		return
	}
	n.doubt = true
	b.p.w.note("node %s doubts %s", b.p.addr(), n.addr())
}

// condemn takes a node for failed when most masters say so.
func (b *bus) condemn(n *node) {
	if !n.doubt || n.fail {
		return
	}
	votes := 0
	for id, at := range n.reports {
		if b.now().Sub(at) > 2*b.timeout() {
			delete(n.reports, id)
		} else {
			votes++
		}
	}
	if !b.me.slave {
		votes++
	}
	if votes < b.size()/2+1 {
		return
	}
	n.doubt, n.fail, n.failAt = false, true, b.now()
	b.p.w.note("node %s +fail %s", b.p.addr(), n.addr())
	b.broadcast(message{kind: "fail", about: n.id})
}

// absolve is about a failed node that answers again.
func (b *bus) absolve(n *node) {
	if !n.fail {
		return
	}
	if n.slave || len(n.slots) == 0 || b.now().Sub(n.failAt) > 2*b.timeout() {
		n.fail = false
	}
}

// updateState decides cluster_state.
func (b *bus) updateState() {
	if !b.me.slave && !b.fine && b.now().Sub(b.began) < writableDelay {
		return
	}
	covered, size, reached := 0, 0, 0
	for _, n := range b.nodes {
		if !n.fail {
			covered += n.slots.count()
		}
		if !n.slave && len(n.slots) > 0 {
			size++
			if !n.fail && !n.doubt {
				reached++
			}
		}
	}
	fine := covered == slotCount || !b.p.yes("cluster-require-full-coverage")
	if reached < size/2+1 {
		fine, b.minor = false, b.now()
	}
	if fine && !b.fine && !b.me.slave && b.now().Sub(b.minor) < min(max(b.timeout(), 500*time.Millisecond), 5*time.Second) {
		return
	}
	if fine != b.fine {
		b.p.w.note("node %s cluster_state ok: %v", b.p.addr(), fine)
	}
	b.fine = fine
}

// forget drops a node from the books.
func (b *bus) forget(n *node) {
	b.cut(n)
	delete(b.nodes, n.id)
	for _, o := range b.nodes {
		delete(o.reports, n.id)
		if o.master == n.id {
			o.master = ""
		}
	}
}

// cut ends the connections with a node in both directions. The node makes another one soon.
func (b *bus) cut(n *node) {
	for _, p := range b.p.w.order {
		if p.bus == nil || p.bus == b || p.bus.me.id != n.id {
			continue
		}
		if back := p.bus.nodes[b.me.id]; back != nil && back.link == b.p {
			back.link = nil
		}
	}
}

// follow makes it a replica of a node.
func (b *bus) follow(n *node) {
	b.me.slave, b.me.master, b.me.moving = true, n.id, nil
	if b.p.repl.master != n.addr() {
		b.p.repl.follow(n.addr())
	}
	b.endManual()
}

// lead makes a node a master in the books.
func (b *bus) lead(n *node) {
	if n.slave {
		n.slave, n.master, n.wasSlave = false, "", true
	}
}

// claim takes over that a node has slots, where its epoch is above that of who had them.
func (b *bus) claim(by *node, epoch int64, slots spans) {
	if by == b.me {
		return
	}
	mine := b.me
	if b.me.slave {
		mine = b.nodes[b.me.master]
	}
	free, moved := slots, false
	for _, n := range b.known() {
		has := n.slots.and(slots)
		if n == by || len(has) == 0 {
			continue
		}
		free = free.minus(has)
		if n.epoch < epoch {
			n.slots = n.slots.minus(has)
			by.slots = by.slots.plus(has)
			moved = moved || n == mine
		}
	}
	by.slots = by.slots.plus(free)
	if moved && mine != nil && len(mine.slots) == 0 {
		b.p.w.note("node %s follows %s", b.p.addr(), by.addr())
		b.follow(by)
	}
}

func (w *World) owns(p *process) bool {
	me := p.bus.me
	if me.slave || len(me.slots) == 0 {
		return false
	}
	for _, q := range w.procs {
		if q.bus == nil || q == p || q.c.Store != p.c.Store || q.bus.me.slave {
			continue
		}
		if o := q.bus.me; o.epoch > me.epoch && len(o.slots.and(me.slots)) > 0 {
			return false
		}
	}
	return true
}
