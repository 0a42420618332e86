package store

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// The periods of a Sentinel, which its settings do not change.
const (
	pingPeriod     = time.Second
	infoPeriod     = 10 * time.Second
	infoHurry      = time.Second // of replicas while their master fails over, is down, or is not linked
	helloPeriod    = 2 * time.Second
	askPeriod      = time.Second
	reconfTimeout  = 10 * time.Second
	electionTime   = 10 * time.Second
	failoverDesync = time.Second
)

// watcher is a Sentinel.
type watcher struct {
	p       *process
	id      string
	epoch   int64
	period  time.Duration
	masters []*watched // by name
}

// watched is a master that a Sentinel watches.
type watched struct {
	w               *watcher
	name            string
	self            *instance
	quorum          int
	downAfter       time.Duration
	failoverTimeout time.Duration
	password        string
	configEpoch     int64
	replicas        map[string]*instance // by address
	peers           map[string]*instance // by id
	oDown           time.Time            // since when enough Sentinels take it for down; zero when they do not
	leader          string
	leaderEpoch     int64

	state     string // of a failover; "" when there is none
	stateAt   time.Time
	epoch     int64 // of the failover
	startedAt time.Time
	forced    bool
	promoted  *instance
}

// instance is a process as a Sentinel sees it.
type instance struct {
	kind  string // master, slave, sentinel
	addr  string
	runid string

	conn                                             *Conn
	tried, made                                      time.Time
	stuck                                            bool // what was said last is held by a pause, and so is all behind it
	pending                                          int
	unanswered, lastPing, lastOK, lastPong, lastPubl time.Time
	info                                             time.Time
	role                                             string
	roleAt                                           time.Time
	down                                             time.Time // since when it is subjectively down; zero when it is not

	prio       int
	announced  bool
	master     string // that it replicates
	linked     bool
	linkDown   time.Duration
	confChange time.Time
	offset     int64
	reconf     string // reconf_sent, reconf_inprog, reconf_done
	reconfAt   time.Time

	hello      time.Time
	saysDown   bool
	asked      time.Time
	voted      string
	votedEpoch int64
}

// again is a Sentinel that starts, with what the one before it has saved.
func (old *watcher) again(p *process) *watcher {
	w := &watcher{p: p, id: p.w.id(), period: time.Second / time.Duration(10+p.w.chance.IntN(10))}
	if old == nil {
		if p.c.Monitor != "" {
			w.monitor(cmp.Or(p.c.MasterName, "mymaster"), p.c.Monitor, cmp.Or(p.c.Quorum, 2))
		}
		return w
	}
	w.id, w.epoch = old.id, old.epoch
	for _, o := range old.masters {
		m := w.monitor(o.name, o.self.addr, o.quorum)
		m.downAfter, m.failoverTimeout, m.configEpoch = o.downAfter, o.failoverTimeout, o.configEpoch
		m.leaderEpoch = o.leaderEpoch
		for addr := range o.replicas {
			m.addReplica(addr)
		}
		for id, peer := range o.peers {
			m.peers[id] = w.instance("sentinel", peer.addr)
			m.peers[id].runid = id
		}
	}
	return w
}

func (w *watcher) monitor(name, addr string, quorum int) *watched {
	c := w.p.c
	m := &watched{
		w: w, name: name, self: w.instance("master", addr), quorum: quorum, downAfter: cmp.Or(c.DownAfter, 5*time.Second),
		failoverTimeout: cmp.Or(c.FailoverTimeout, 180*time.Second), password: cmp.Or(c.MasterAuth, c.Password),
		replicas: map[string]*instance{}, peers: map[string]*instance{},
	}
	w.masters = append(w.masters, m)
	slices.SortFunc(w.masters, func(a, b *watched) int { return cmp.Compare(a.name, b.name) })
	return m
}

func (w *watcher) instance(kind, addr string) *instance {
	now := w.p.w.now
	return &instance{
		kind: kind, addr: addr, prio: 100, announced: true, unanswered: now, lastOK: now, lastPong: now, role: kind, roleAt: now, confChange: now, hello: now,
		lastPubl: now,
	}
}

func (w *watcher) find(name string) *watched {
	for _, m := range w.masters {
		if m.name == name {
			return m
		}
	}
	return nil
}

// self is the address under which it makes itself known.
func (w *watcher) self() string { return join(cmp.Or(w.p.c.Announce, w.p.host), w.p.port) }

func (m *watched) addReplica(addr string) *instance {
	i := m.w.instance("slave", addr)
	m.replicas[addr] = i
	return i
}

// tick is one turn of its timer.
func (w *watcher) tick() {
	for _, m := range slices.Clone(w.masters) {
		m.handle(m.self)
		for _, i := range ordered(m.replicas) {
			m.handle(i)
		}
		for _, i := range ordered(m.peers) {
			m.handle(i)
		}
		m.judge()
	}
}

func ordered(all map[string]*instance) []*instance {
	var out []*instance
	for _, k := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[k])
	}
	return out
}

func (m *watched) now() time.Time { return m.w.p.w.now }

// handle does what is due with one instance.
func (m *watched) handle(i *instance) {
	m.reconnect(i)
	if i.linkedUp() {
		m.talk(i)
	}
	m.checkDown(i)
}

func (i *instance) linkedUp() bool {
	if i.conn != nil && i.conn.closed {
		i.unlink()
	}
	return i.conn != nil
}

func (i *instance) unlink() {
	if i.conn != nil && !i.conn.closed {
		i.conn.close()
	}
	i.conn, i.pending, i.stuck = nil, 0, false
}

func (m *watched) reconnect(i *instance) {
	_, port := split(i.addr)
	if i.linkedUp() || port == 0 || m.now().Sub(i.tried) < pingPeriod {
		return
	}
	i.tried = m.now()
	if p := m.w.p.w.at(i.addr); p != nil && (p.watch != nil) == (i.kind == "sentinel") {
		i.conn, i.made = p.accept(), m.now()
		i.conn.name = "sentinel-" + m.w.id[:8] + "-cmd"
	}
}

// answers returns the process behind a link if it would answer a command now.
func (m *watched) answers(i *instance) *process {
	if !i.linkedUp() || !i.conn.p.awake() {
		return nil
	}
	p := i.conn.p
	if i.stuck && p.repl.held() {
		return nil
	}
	i.stuck = false
	return p
}

// trusted tells whether its password is right there.
func (m *watched) trusted(p *process) bool {
	return p.repl == nil || p.c.Password == "" || p.c.Password == m.password
}

// talk sends what is due: INFO, PING, hello.
func (m *watched) talk(i *instance) {
	now := m.now()
	every := infoPeriod
	if i.kind == "slave" && (!m.oDown.IsZero() || m.state != "" || i.linkDown != 0) {
		every = infoHurry
	}
	if i.kind != "sentinel" && (i.info.IsZero() || now.Sub(i.info) > every) {
		if p := m.answers(i); p != nil && m.trusted(p) {
			m.heard(i, p)
		} else {
			i.pending++
		}
	}
	ping := min(m.downAfter, pingPeriod)
	if i.linkedUp() && now.Sub(i.lastPong) > ping && now.Sub(i.lastPing) > ping/2 {
		m.ping(i)
	}
	if i.linkedUp() && now.Sub(i.lastPubl) > helloPeriod {
		i.lastPubl = now
		m.sayHello(i)
	}
}

func (m *watched) ping(i *instance) {
	now := m.now()
	i.lastPing = now
	if i.unanswered.IsZero() {
		i.unanswered = now
	}
	p := m.answers(i)
	if p == nil {
		i.pending++
		return
	}
	i.pending, i.lastPong = 0, now
	if m.trusted(p) {
		i.lastOK, i.unanswered = now, time.Time{}
	}
}

// checkDown decides whether an instance is subjectively down.
func (m *watched) checkDown(i *instance) {
	now := m.now()
	var silent time.Duration
	switch {
	case !i.unanswered.IsZero():
		silent = now.Sub(i.unanswered)
	case !i.linkedUp():
		silent = now.Sub(i.lastOK)
	}
	if i.linkedUp() && now.Sub(i.made) > 15*time.Second && !i.unanswered.IsZero() && now.Sub(i.unanswered) > m.downAfter/2 && now.Sub(i.lastPong) > m.downAfter/2 {
		i.unlink()
	}
	demoted := i.kind == "master" && i.role == "slave" && now.Sub(i.roleAt) > m.downAfter+2*infoPeriod
	switch {
	case silent <= m.downAfter && !demoted:
		i.down = time.Time{}
	case i.down.IsZero():
		i.down = now
		m.event("+sdown", i)
	}
}

func (m *watched) event(what string, i *instance) {
	m.w.p.w.note("sentinel %s %s %s %s", m.w.self(), what, i.kind, i.addr)
}

// looksSane tells whether the master itself gives no reason for doubt.
func (m *watched) looksSane() bool {
	return m.self.role == "master" && m.self.down.IsZero() && m.oDown.IsZero() && m.now().Sub(m.self.info) < 2*infoPeriod
}

// upFor tells whether an instance has not just gone down.
func (m *watched) upFor(i *instance, d time.Duration) bool {
	return i.down.IsZero() || m.now().Sub(i.down) > d
}
