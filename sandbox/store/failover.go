package store

import (
	"cmp"
	"slices"
	"time"
)

// The states of a failover, by the names that SENTINEL MASTERS has for them.
const (
	waitStart     = "wait_start"
	selectSlave   = "select_slave"
	sendNoOne     = "send_slaveof_noone"
	waitPromotion = "wait_promotion"
	reconfSlaves  = "reconf_slaves"
	updateConfig  = "update_config"
)

func (m *watched) enterState(s string) { m.state, m.stateAt = s, m.now() }

// judge decides whether the master is down for enough Sentinels, and takes a failover one step on.
func (m *watched) judge() {
	m.checkTogether()
	if m.due() {
		m.start()
		m.ask(true)
	}
	m.advance()
	m.ask(false)
	if m.state == updateConfig {
		to := m.promoted.addr
		m.event("+switch-master to "+to+" from", m.self)
		m.turnTo(to)
	}
}

func (m *watched) checkTogether() {
	votes := 0
	if !m.self.down.IsZero() {
		votes = 1
		for _, i := range m.peers {
			if i.saysDown {
				votes++
			}
		}
	}
	switch {
	case votes == 0 || votes < m.quorum:
		m.oDown = time.Time{}
	case m.oDown.IsZero():
		m.oDown = m.now()
		m.event("+odown", m.self)
	}
}

// due tells whether a failover is to begin.
func (m *watched) due() bool {
	return !m.oDown.IsZero() && m.state == "" && (m.startedAt.IsZero() || m.now().Sub(m.startedAt) >= 2*m.failoverTimeout)
}

func (m *watched) start() {
	m.w.epoch++
	m.epoch = m.w.epoch
	m.startedAt = m.now().Add(m.w.p.w.random(failoverDesync))
	m.enterState(waitStart)
	m.event("+try-failover", m.self)
}

// ask asks the others whether the master is down for them too, and for their votes.
func (m *watched) ask(now bool) {
	for _, i := range ordered(m.peers) {
		since := m.now().Sub(i.asked)
		if since > 5*askPeriod {
			i.saysDown, i.voted = false, ""
		}
		if m.self.down.IsZero() || !i.linkedUp() || !now && since < askPeriod {
			continue
		}
		p := m.answers(i)
		if p == nil {
			i.pending++
			continue
		}
		i.asked = m.now()
		i.saysDown = p.watch.takesDown(m.self.addr)
		if m.state != "" {
			i.voted, i.votedEpoch = p.watch.vote(m.self.addr, m.w.epoch, m.w.id)
		}
	}
}

func (w *watcher) watching(addr string) *watched {
	for _, m := range w.masters {
		if m.self.addr == addr {
			return m
		}
	}
	return nil
}

func (w *watcher) takesDown(addr string) bool {
	m := w.watching(addr)
	return m != nil && !m.self.down.IsZero()
}

// vote gives its vote of an epoch to who asks first, and says to whom it went.
func (w *watcher) vote(addr string, epoch int64, id string) (string, int64) {
	m := w.watching(addr)
	if m == nil {
		return "", 0
	}
	w.epoch = max(w.epoch, epoch)
	if m.leaderEpoch < epoch && w.epoch <= epoch {
		m.leader, m.leaderEpoch = id, w.epoch
		if id != w.id {
			m.startedAt = m.now().Add(w.p.w.random(failoverDesync))
		}
	}
	return m.leader, m.leaderEpoch
}

// elected is who leads the failover of an epoch, when enough of all that are known have voted so. Ghosts count among those known.
func (m *watched) elected(epoch int64) string {
	votes := map[string]int{}
	for _, i := range m.peers {
		if i.voted != "" && i.votedEpoch == m.w.epoch {
			votes[i.voted]++
		}
	}
	best := func() (string, int) {
		who, n := "", 0
		for id, v := range votes {
			if v > n || v == n && id < who {
				who, n = id, v
			}
		}
		return who, n
	}
	first, _ := best()
	if mine, e := m.w.vote(m.self.addr, epoch, cmp.Or(first, m.w.id)); e == epoch && mine != "" {
		votes[mine]++
	}
	who, n := best()
	if n < (len(m.peers)+1)/2+1 || n < m.quorum {
		return ""
	}
	return who
}

// advance takes a failover one step on.
func (m *watched) advance() {
	late := m.now().Sub(m.stateAt) > m.failoverTimeout
	switch m.state {
	case waitStart:
		if m.elected(m.epoch) == m.w.id || m.forced {
			m.enterState(selectSlave)
		} else if m.now().Sub(m.startedAt) > min(electionTime, m.failoverTimeout) {
			m.abort("not-elected")
		}
	case selectSlave:
		m.promoted = m.choose()
		if m.promoted == nil {
			m.abort("no-good-slave")
			return
		}
		m.event("+selected-slave", m.promoted)
		m.enterState(sendNoOne)
	case sendNoOne:
		switch {
		case m.order(m.promoted, ""):
			m.enterState(waitPromotion)
		case late:
			m.abort("slave-timeout")
		}
	case waitPromotion:
		if late {
			m.abort("slave-timeout")
		}
	case reconfSlaves:
		m.reconfigure()
	}
}

func (m *watched) abort(why string) {
	m.event("-failover-abort-"+why, m.self)
	m.state, m.promoted, m.forced = "", nil, false
	m.stateAt = m.now()
}

// choose picks the replica to promote: by priority, then by position, then by run id.
func (m *watched) choose() *instance {
	now := m.now()
	fresh, unlinked := 3*infoPeriod, 10*m.downAfter
	if !m.self.down.IsZero() {
		fresh, unlinked = 5*pingPeriod, unlinked+now.Sub(m.self.down)
	}
	var fit []*instance
	for _, i := range ordered(m.replicas) {
		if i.down.IsZero() && i.linkedUp() && now.Sub(i.lastOK) <= 5*pingPeriod && i.prio > 0 && now.Sub(i.info) <= fresh && i.linkDown <= unlinked {
			fit = append(fit, i)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return slices.MinFunc(fit, func(a, b *instance) int {
		return cmp.Or(cmp.Compare(a.prio, b.prio), cmp.Compare(b.offset, a.offset), cmp.Compare(a.runid, b.runid))
	})
}

// reconfigure tells the other replicas, one at a time, whom to replicate, and ends the failover when all that can have done so.
func (m *watched) reconfigure() {
	under, left := 0, 0
	for _, i := range m.replicas {
		if i.reconf == "reconf_sent" || i.reconf == "reconf_inprog" {
			under++
		}
		if i != m.promoted && i.reconf != "reconf_done" && i.down.IsZero() {
			left++
		}
	}
	for _, i := range ordered(m.replicas) {
		if i == m.promoted || i.reconf == "reconf_done" {
			continue
		}
		if i.reconf == "reconf_sent" && m.now().Sub(i.reconfAt) > reconfTimeout {
			i.reconf = ""
			under--
		}
		if i.reconf == "" && under < 1 && m.order(i, m.promoted.addr) {
			i.reconf, i.reconfAt = "reconf_sent", m.now()
			under++
		}
	}
	if left > 0 && m.now().Sub(m.stateAt) <= m.failoverTimeout {
		return
	}
	for _, i := range ordered(m.replicas) {
		if left > 0 && i != m.promoted && i.reconf == "" {
			m.order(i, m.promoted.addr)
		}
	}
	m.event("+failover-end", m.self)
	m.enterState(updateConfig)
}

// usable is how many Sentinels it could count on now, itself among them.
func (m *watched) usable() int {
	n := 1
	for _, i := range m.peers {
		if i.down.IsZero() {
			n++
		}
	}
	return n
}
