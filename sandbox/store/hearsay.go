package store

import (
	"fmt"
	"time"
)

// heard takes in what an instance says in INFO, and reacts to it.
func (m *watched) heard(i *instance, p *process) {
	r, now := p.repl, m.now()
	i.info, i.runid, i.linkDown = now, p.runID, 0
	role := "master"
	if r.master != "" {
		role = "slave"
		m.heardReplica(i, p)
	}
	if i.kind == "master" {
		for _, f := range r.feeds {
			host, port := f.to.announced()
			if addr := join(host, port); m.replicas[addr] == nil {
				m.event("+slave", m.addReplica(addr))
			}
		}
	}
	if role != i.role {
		i.role, i.roleAt = role, now
		if role == "slave" {
			i.confChange = now
		}
	}
	if i.kind != "slave" {
		return
	}
	if role == "master" {
		m.heardMasterWhereReplica(i)
		return
	}
	m.heardReplicaWhereReplica(i)
}

func (m *watched) heardReplica(i *instance, p *process) {
	r := p.repl
	if i.master != r.master {
		i.master, i.confChange = r.master, m.now()
	}
	i.prio, i.announced, i.offset, i.linked = p.number("replica-priority"), p.yes("replica-announced"), r.offset, r.link == linkUp
	if !i.linked && !r.down.IsZero() {
		i.linkDown = max(m.now().Sub(r.down).Truncate(time.Second), 0)
	}
}

// heardMasterWhereReplica is about an instance that says master and is not to be one: it was just promoted, or it is put right after a while.
func (m *watched) heardMasterWhereReplica(i *instance) {
	if i == m.promoted && m.state == waitPromotion {
		m.configEpoch = m.epoch
		m.enterState(reconfSlaves)
		m.event("+promoted-slave", i)
		m.w.p.w.promoted(m.w.p.c.Store, "")
		m.shout()
		return
	}
	const settle = 4 * helloPeriod
	if i != m.promoted && m.looksSane() && m.upFor(i, settle) && m.now().Sub(i.roleAt) > settle {
		if m.order(i, m.self.addr) {
			m.event("+convert-to-slave", i)
		}
	}
}

func (m *watched) heardReplicaWhereReplica(i *instance) {
	if i.master != m.self.addr && m.state == "" && m.looksSane() && m.upFor(i, m.failoverTimeout) && m.now().Sub(i.confChange) > m.failoverTimeout {
		if m.order(i, m.self.addr) {
			m.event("+fix-slave-config", i)
		}
	}
	if m.promoted == nil {
		return
	}
	if i.reconf == "reconf_sent" && i.master == m.promoted.addr {
		i.reconf = "reconf_inprog"
	}
	if i.reconf == "reconf_inprog" && i.linked {
		i.reconf = "reconf_done"
	}
}

// order tells an instance whom to replicate, or with "" to lead, and ends the connections of its clients so that they look again.
func (m *watched) order(i *instance, master string) bool {
	p := m.answers(i)
	if p == nil || p.repl == nil || !m.trusted(p) {
		return false
	}
	if master == "" {
		p.repl.lead()
	} else if p.repl.master != master {
		p.repl.follow(master)
	}
	p.carried("slaveof", ok)
	for _, c := range append([]*Conn(nil), p.clients...) {
		c.close()
	}
	return true
}

// hello is what Sentinels tell each other.
type hello struct {
	from, id    string
	epoch       int64
	name        string
	master      string
	configEpoch int64
}

func (h hello) text() string {
	ip, port := split(h.from)
	mip, mport := split(h.master)
	return fmt.Sprintf("%s,%d,%s,%d,%s,%s,%d,%d", ip, port, h.id, h.epoch, h.name, mip, mport, h.configEpoch)
}

// sayHello speaks to a Sentinel itself, or to all who listen at a data process.
func (m *watched) sayHello(i *instance) {
	h := hello{m.w.self(), m.w.id, m.w.epoch, m.name, m.current(), m.configEpoch}
	p := m.answers(i)
	switch {
	case p == nil:
		i.pending++
	case p.watch != nil:
		p.w.after(packet, func() { p.watch.hears(h) })
	case !m.trusted(p):
	case p.repl.held():
		i.stuck = true
		i.pending++
	default:
		p.repl.publish("__sentinel__:hello", h.text())
		for _, o := range p.w.order {
			if o.watch != nil && o.watch.listens(p) {
				p.w.after(packet, func() { o.watch.hears(h) })
			}
		}
	}
}

// listens tells whether it is subscribed at a data process.
func (w *watcher) listens(p *process) bool {
	for _, m := range w.masters {
		if m.self.linkedUp() && m.self.conn.p == p && m.trusted(p) {
			return true
		}
		for _, i := range m.replicas {
			if i.linkedUp() && i.conn.p == p && m.trusted(p) {
				return true
			}
		}
	}
	return false
}

// current is the address of the master as it makes it known: of the new one once that is one.
func (m *watched) current() string {
	if m.promoted != nil && (m.state == reconfSlaves || m.state == updateConfig) {
		return m.promoted.addr
	}
	return m.self.addr
}

// shout makes a hello due at once.
func (m *watched) shout() {
	for _, all := range []map[string]*instance{m.replicas, m.peers, {"": m.self}} {
		for _, i := range all {
			i.lastPubl = i.lastPubl.Add(-helloPeriod - time.Millisecond)
		}
	}
}

// hears takes in another Sentinel's hello.
func (w *watcher) hears(h hello) {
	m := w.find(h.name)
	if m == nil || h.id == w.id || !w.p.awake() {
		return
	}
	peer := m.peers[h.id]
	if peer == nil || peer.addr != h.from {
		peer = m.meet(h)
	}
	w.epoch = max(w.epoch, h.epoch)
	if m.configEpoch < h.configEpoch {
		m.configEpoch = h.configEpoch
		if m.self.addr != h.master {
			m.event("+switch-master to "+h.master+" from", m.self)
			m.turnTo(h.master)
		}
	}
	peer.hello = m.now()
}

// meet adds a Sentinel that it has not known under this id and address. One that was there before under this address stays, without an address: a ghost.
func (m *watched) meet(h hello) *instance {
	if m.peers[h.id] == nil {
		for _, o := range m.peers {
			if o.addr == h.from {
				host, _ := split(o.addr)
				o.unlink()
				o.addr = join(host, 0)
			}
		}
	} else {
		m.peers[h.id].unlink()
	}
	peer := m.w.instance("sentinel", h.from)
	peer.runid = h.id
	m.peers[h.id] = peer
	m.event("+sentinel", peer)
	return peer
}

// turnTo makes another address the master's. The one before becomes a replica in the books.
func (m *watched) turnTo(addr string) {
	known := []string{m.self.addr}
	for _, i := range ordered(m.replicas) {
		known = append(known, i.addr)
	}
	m.reset(false)
	m.self.addr = addr
	for _, a := range known {
		if a != addr {
			m.addReplica(a)
		}
	}
}

// reset forgets all that was learned, if asked for the other Sentinels too.
func (m *watched) reset(peers bool) {
	for _, i := range m.replicas {
		i.unlink()
	}
	m.replicas = map[string]*instance{}
	if peers {
		for _, i := range m.peers {
			i.unlink()
		}
		m.peers = map[string]*instance{}
	}
	s, now := m.self, m.now()
	s.unlink()
	s.down, m.oDown, m.leader, m.state, m.stateAt, m.startedAt, m.promoted, m.forced = time.Time{}, time.Time{}, "", "", time.Time{}, time.Time{}, nil, false
	s.runid, s.unanswered, s.lastPing, s.lastOK, s.lastPong, s.roleAt, s.role = "", now, time.Time{}, now, now, now, "master"
}
