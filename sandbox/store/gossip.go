package store

import (
	"time"
)

// message is a packet of the bus.
type message struct {
	kind  string // ping, pong, meet, fail, auth-req, auth-ack, mfstart, update
	from  *process
	id    string
	ip    string // announced; "" for the address that the packet comes from
	slave bool
	of    string // id of its master
	epoch int64
	conf  int64 // the epoch of its slots
	slots spans // its own, or its master's

	offset     int64
	noFailover bool
	paused     bool // a master that stands still
	force      bool // votes are asked for though the master is well
	rumors     []rumor
	about      string // fail, update
}

// rumor is what is told of another node.
type rumor struct {
	id, ip                              string
	port, busPort                       int
	slave, doubt, fail, noaddr, pinging bool
	ponged                              time.Time
}

// header fills in what each packet says of its sender.
func (b *bus) header(m message) message {
	of := b.me
	if b.me.slave && b.nodes[b.me.master] != nil {
		of = b.nodes[b.me.master]
	}
	m.from, m.id, m.ip, m.slave, m.of, m.epoch, m.noFailover = b.p, b.me.id, b.p.settings["cluster-announce-ip"], b.me.slave, b.me.master, b.epoch, b.me.noFailover
	if m.kind != "update" {
		m.conf, m.slots = of.epoch, of.slots
	}
	m.offset, m.paused = b.p.repl.offset, !b.me.slave && !b.manual.end.IsZero()
	return m
}

// send puts a packet on the link to a node.
func (b *bus) send(n *node, m message) {
	if n.link == nil {
		return
	}
	m = b.header(m)
	b.counts[m.kind+"_sent"]++
	to := n.link
	b.p.w.after(packet, func() { to.receive(m, nil) })
}

func (b *bus) broadcast(m message) {
	for _, n := range b.known() {
		if n != b.me && !n.handshake {
			b.send(n, m)
		}
	}
}

// ping asks for a pong, with rumors.
func (b *bus) ping(n *node, kind string) {
	if kind == "ping" {
		n.pinged = b.now()
	}
	b.send(n, message{kind: kind, rumors: b.rumors(n)})
}

// rumors are of a few nodes at random, and of all that it doubts.
func (b *bus) rumors(to *node) []rumor {
	var fit, doubted []*node
	for _, n := range b.known() {
		switch {
		case n == b.me || n == to || n.handshake || n.noaddr:
		case n.doubt:
			doubted = append(doubted, n)
		case n.link != nil || len(n.slots) > 0:
			fit = append(fit, n)
		}
	}
	b.p.w.chance.Shuffle(len(fit), func(i, j int) { fit[i], fit[j] = fit[j], fit[i] })
	fit = fit[:min(len(fit), max(3, len(b.nodes)/10))]
	var out []rumor
	for _, n := range append(fit, doubted...) {
		out = append(out, rumor{n.id, n.ip, n.port, n.busPort, n.slave, n.doubt, n.fail, n.noaddr, !n.pinged.IsZero(), n.ponged.Truncate(time.Second)}) // whole seconds, as on the wire
	}
	return out
}

// receive takes in a packet. Via is the node on whose link an answer comes back; nil for what others send by themselves.
func (p *process) receive(m message, via *node) {
	if p.ended {
		return
	}
	if !p.awake() {
		p.w.after(p.frozen.Sub(p.w.now), func() { p.receive(m, via) })
		return
	}
	if via != nil && via.link != m.from {
		return // the link has been broken since
	}
	p.bus.take(m, via)
	p.bus.react()
}

func (b *bus) take(m message, via *node) {
	b.counts[m.kind+"_received"]++
	sender := b.nodes[m.id]
	if sender != nil && sender.handshake {
		sender = nil
	}
	if sender != nil {
		b.learn(sender, m)
	}
	switch m.kind {
	case "ping", "meet":
		b.greet(m, sender)
		b.hear(m, sender, via)
	case "pong":
		b.hear(m, sender, via)
	default:
		if sender != nil {
			b.obey(m, sender)
		}
	}
}

// learn notes what any packet says of its sender.
func (b *bus) learn(sender *node, m message) {
	sender.data, sender.offset = b.now(), m.offset
	b.epoch = max(b.epoch, m.epoch)
	if m.kind != "update" {
		sender.epoch = max(sender.epoch, m.conf)
	}
	if b.me.slave && b.me.master == sender.id && m.paused && !b.manual.end.IsZero() && b.manual.offset < 0 {
		b.manual.offset = m.offset
	}
}

// greet answers a ping, and begins to know who introduces itself.
func (b *bus) greet(m message, sender *node) {
	if b.p.settings["cluster-announce-ip"] == "" && (m.kind == "meet" || b.me.ip == "") {
		b.me.ip = b.p.host
	}
	if sender == nil && m.kind == "meet" {
		b.shake(hostOf(m), m.from.port, m.from.port+busOffset, false)
		b.spread(m, nil)
	}
	from := m.from
	answer := b.header(message{kind: "pong"})
	if sender != nil {
		answer.rumors = b.rumors(sender)
	}
	b.counts["pong_sent"]++
	me := b.p
	b.p.w.after(packet, func() {
		if !from.ended {
			from.receive(answer, from.bus.linkTo(me))
		}
	})
}

// linkTo is the node whose link leads to a process; nil when there is none.
func (b *bus) linkTo(p *process) *node {
	var best *node
	for _, n := range b.known() {
		if n.link == p && (best == nil || n.handshake && !best.handshake) {
			best = n
		}
	}
	return best
}

func hostOf(m message) string {
	if m.ip != "" {
		return m.ip
	}
	return m.from.host
}

// shake begins to know a node by its address. One that is being met already is left alone.
func (b *bus) shake(ip string, port, busPort int, meet bool) {
	for _, n := range b.nodes {
		if n.handshake && n.ip == ip && n.port == port {
			return
		}
	}
	n := &node{id: b.p.w.id(), ip: ip, port: port, busPort: busPort, handshake: true, meet: meet, madeAt: b.now(), reports: map[string]time.Time{}}
	b.nodes[n.id] = n
}

// hear takes in a ping or pong.
func (b *bus) hear(m message, sender, via *node) {
	if via != nil {
		switch {
		case via.handshake && sender != nil:
			b.moveTo(sender, m)
			delete(b.nodes, via.id)
			return
		case via.handshake:
			delete(b.nodes, via.id)
			via.id, via.handshake, via.slave = m.id, false, m.slave
			b.nodes[via.id] = via
			sender = via
			b.learn(sender, m)
		case via.id != m.id:
			via.noaddr, via.ip, via.port, via.busPort, via.link = true, "", 0, 0, nil
			return
		}
	}
	if sender == nil || sender == b.me {
		return
	}
	sender.noFailover = m.noFailover
	if m.kind == "ping" {
		b.moveTo(sender, m)
	}
	if via != nil && m.kind == "pong" {
		via.ponged, via.pinged, via.doubt = b.now(), time.Time{}, false
		b.absolve(via)
	}
	b.role(m, sender)
	b.spread(m, sender)
}

// moveTo follows a node to a new address.
func (b *bus) moveTo(n *node, m message) {
	ip, port := hostOf(m), m.from.port
	if n.ip == ip && n.port == port {
		return
	}
	n.ip, n.port, n.busPort, n.link, n.noaddr = ip, port, port+busOffset, nil, false
	if b.me.slave && b.me.master == n.id {
		b.p.repl.follow(n.addr())
	}
}

// role takes over whether the sender is a master, and of what slots.
func (b *bus) role(m message, sender *node) {
	if m.slave {
		if !sender.slave {
			sender.slave, sender.slots, sender.moving = true, nil, nil
		}
		sender.master = m.of
	} else {
		b.lead(sender)
	}
	of := sender
	if sender.slave {
		of = b.nodes[sender.master]
	}
	if of == nil || of.slots.String() == m.slots.String() {
		b.collide(m, sender)
		return
	}
	if !sender.slave {
		b.claim(sender, m.conf, m.slots)
	}
	for _, n := range b.known() {
		if n != sender && n != of && n.epoch > m.conf && len(n.slots.and(m.slots)) > 0 {
			b.send(sender, message{kind: "update", about: n.id, conf: n.epoch, slots: n.slots})
			break
		}
	}
	b.collide(m, sender)
}

// collide makes two masters' epochs differ.
func (b *bus) collide(m message, sender *node) {
	if sender.slave || b.me.slave || m.conf != b.me.epoch || sender.id <= b.me.id {
		return
	}
	b.epoch++
	b.me.epoch = b.epoch
}

// spread takes in rumors.
func (b *bus) spread(m message, sender *node) {
	for _, r := range m.rumors {
		n := b.nodes[r.id]
		if n == nil {
			if sender != nil && !r.noaddr && !b.isBanned(r.id) {
				b.nodes[r.id] = &node{id: r.id, ip: r.ip, port: r.port, busPort: r.busPort, slave: r.slave, madeAt: b.now(), reports: map[string]time.Time{}}
			}
			continue
		}
		if sender != nil && !sender.slave && n != b.me {
			if r.doubt || r.fail {
				n.reports[sender.id] = b.now()
				b.condemn(n)
			} else {
				delete(n.reports, sender.id)
			}
		}
		if !r.doubt && !r.fail && n.pinged.IsZero() && len(n.reports) == 0 && r.ponged.After(n.ponged) && !r.ponged.After(b.now().Add(500*time.Millisecond)) {
			n.ponged = r.ponged
		}
		if (n.doubt || n.fail) && !r.noaddr && !r.doubt && !r.fail && (n.ip != r.ip || n.port != r.port) {
			n.ip, n.port, n.busPort, n.link, n.noaddr = r.ip, r.port, r.busPort, nil, false
		}
	}
}

func (b *bus) isBanned(id string) bool {
	until, banned := b.banned[id]
	return banned && b.now().Before(until)
}
