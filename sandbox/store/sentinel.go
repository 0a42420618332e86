package store

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

type containerCommand struct {
	arity int
	run   func(c *Conn, args []string) any
}

const noMaster = Reply("ERR No such master with that name")

// named makes a command of one on a master that is given by its name.
func named(do func(m *watched, args []string) any) func(c *Conn, args []string) any {
	return func(c *Conn, args []string) any {
		m := c.p.watch.find(args[2])
		if m == nil {
			return noMaster
		}
		return do(m, args)
	}
}

var sentinelCommands = map[string]containerCommand{
	"MYID":      {2, func(c *Conn, _ []string) any { return c.p.watch.id }},
	"MASTERS":   {2, sentinelMasters},
	"MASTER":    {3, named(func(m *watched, _ []string) any { return m.show(m.self) })},
	"REPLICAS":  {3, named(func(m *watched, _ []string) any { return m.showReplicas() })},
	"SLAVES":    {3, named(func(m *watched, _ []string) any { return m.showReplicas() })},
	"SENTINELS": {3, named(func(m *watched, _ []string) any { return m.showAll(m.peers) })},
	"CKQUORUM":  {3, named(func(m *watched, _ []string) any { return m.ckquorum() })},
	"FAILOVER":  {3, named(func(m *watched, _ []string) any { return m.failover() })},
	"REMOVE":    {3, named(func(m *watched, _ []string) any { return m.remove() })},
	"SET":       {-5, named(func(m *watched, a []string) any { return m.set(a[3:]) })},
	"RESET":     {3, sentinelReset},
	"MONITOR":   {6, sentinelMonitor},

	"GET-MASTER-ADDR-BY-NAME": {3, masterAddr},
}

func sentinelMasters(c *Conn, _ []string) any {
	out := []any{}
	for _, m := range c.p.watch.masters {
		out = append(out, m.show(m.self))
	}
	return out
}

func masterAddr(c *Conn, a []string) any {
	m := c.p.watch.find(a[2])
	if m == nil {
		return nil
	}
	host, port := split(m.current())
	return []any{host, strconv.Itoa(port)}
}

func sentinelReset(c *Conn, a []string) any {
	n := int64(0)
	for _, m := range c.p.watch.masters {
		if hit, err := path.Match(a[2], m.name); err == nil && hit {
			m.reset(true)
			n++
		}
	}
	return n
}

func sentinelMonitor(c *Conn, a []string) any {
	quorum, err := strconv.Atoi(a[5])
	if err != nil {
		return Reply("ERR Invalid quorum")
	}
	port, err := strconv.Atoi(a[4])
	switch {
	case err != nil:
		return Reply("ERR Invalid port")
	case port < 1 || port > 65535:
		return Reply("ERR Invalid port number")
	case quorum <= 0:
		return Reply("ERR Quorum must be 1 or greater.")
	case c.p.watch.find(a[2]) != nil:
		return Reply("ERR Duplicate master name.")
	}
	m := c.p.watch.monitor(a[2], join(a[3], port), quorum)
	m.password, m.downAfter = "", 30*time.Second // as it is without settings
	return ok
}

func (m *watched) remove() any {
	m.reset(true)
	m.w.masters = slices.DeleteFunc(m.w.masters, func(o *watched) bool { return o == m })
	return ok
}

func (m *watched) set(pairs []string) any {
	if len(pairs)%2 != 0 {
		return Reply(fmt.Sprintf("ERR Unknown option or number of arguments for SENTINEL SET '%s'", pairs[len(pairs)-1]))
	}
	for i := 0; i < len(pairs); i += 2 {
		name, value := strings.ToLower(pairs[i]), pairs[i+1]
		n, err := strconv.Atoi(value)
		bad := Reply(fmt.Sprintf("ERR Invalid argument '%s' for SENTINEL SET '%s'", value, pairs[i]))
		switch name {
		case "quorum":
			if err != nil || n <= 0 {
				return bad
			}
			m.quorum = n
		case "down-after-milliseconds":
			if err != nil || n <= 0 {
				return bad
			}
			m.downAfter = time.Duration(n) * time.Millisecond
		case "failover-timeout":
			if err != nil || n <= 0 {
				return bad
			}
			m.failoverTimeout = time.Duration(n) * time.Millisecond
		case "parallel-syncs", "auth-user":
		case "auth-pass":
			m.password = value
		default:
			return Reply(fmt.Sprintf("ERR Unknown option or number of arguments for SENTINEL SET '%s'", pairs[i]))
		}
	}
	return ok
}

func (m *watched) failover() any {
	if m.state != "" {
		return Reply("INPROG Failover already in progress")
	}
	if m.choose() == nil {
		return Reply("NOGOODSLAVE No suitable replica to promote")
	}
	m.start()
	m.forced = true
	return ok
}

func (m *watched) ckquorum() any {
	usable, known := m.usable(), len(m.peers)+1
	var why []string
	if usable < m.quorum {
		why = append(why, "Not enough available Sentinels to reach the specified quorum for this master")
	}
	if usable < known/2+1 {
		why = append(why, "Not enough available Sentinels to reach the majority and authorize a failover")
	}
	if why != nil {
		return Reply(fmt.Sprintf("NOQUORUM %d usable Sentinels. %s", usable, strings.Join(why, ". ")))
	}
	return fmt.Sprintf("OK %d usable Sentinels. Quorum and failover authorization can be reached", usable)
}

// showReplicas leaves out those that do not want to be announced.
func (m *watched) showReplicas() any {
	shown := map[string]*instance{}
	for addr, i := range m.replicas {
		if i.announced {
			shown[addr] = i
		}
	}
	return m.showAll(shown)
}

func (m *watched) showAll(all map[string]*instance) any {
	out := []any{}
	for _, i := range ordered(all) {
		out = append(out, m.show(i))
	}
	return out
}

// show is an instance as the flat list that Sentinel answers with.
func (m *watched) show(i *instance) any {
	now := m.now()
	out := []any{}
	say := func(name, value string) { out = append(out, name, value) }
	ms := func(t time.Time) string {
		if t.IsZero() {
			return "0"
		}
		return strconv.FormatInt(now.Sub(t).Milliseconds(), 10)
	}
	host, port := split(i.addr)
	name := map[string]string{"master": m.name, "slave": i.addr, "sentinel": i.runid}[i.kind]
	say("name", name)
	say("ip", host)
	say("port", strconv.Itoa(port))
	say("runid", i.runid)
	say("flags", strings.Join(m.flags(i), ","))
	say("link-pending-commands", strconv.Itoa(i.pending))
	say("link-refcount", "1")
	if i.kind == "master" && m.state != "" {
		say("failover-state", m.state)
	}
	say("last-ping-sent", ms(i.unanswered))
	say("last-ok-ping-reply", ms(i.lastOK))
	say("last-ping-reply", ms(i.lastPong))
	if !i.down.IsZero() {
		say("s-down-time", ms(i.down))
	}
	if i.kind == "master" && !m.oDown.IsZero() {
		say("o-down-time", ms(m.oDown))
	}
	say("down-after-milliseconds", strconv.FormatInt(m.downAfter.Milliseconds(), 10))
	if i.kind == "sentinel" {
		voted := "?"
		if i.voted != "" {
			voted = i.voted
		}
		say("last-hello-message", ms(i.hello))
		say("voted-leader", voted)
		say("voted-leader-epoch", strconv.FormatInt(i.votedEpoch, 10))
		return out
	}
	say("info-refresh", ms(i.info))
	say("role-reported", i.role)
	say("role-reported-time", ms(i.roleAt))
	if i.kind == "master" {
		say("config-epoch", strconv.FormatInt(m.configEpoch, 10))
		say("num-slaves", strconv.Itoa(len(m.replicas)))
		say("num-other-sentinels", strconv.Itoa(len(m.peers)))
		say("quorum", strconv.Itoa(m.quorum))
		say("failover-timeout", strconv.FormatInt(m.failoverTimeout.Milliseconds(), 10))
		say("parallel-syncs", "1")
		return out
	}
	status, mhost, mport := "err", "?", 0
	if i.linked {
		status = "ok"
	}
	if i.master != "" {
		mhost, mport = split(i.master)
	}
	say("master-link-down-time", strconv.FormatInt(i.linkDown.Milliseconds(), 10))
	say("master-link-status", status)
	say("master-host", mhost)
	say("master-port", strconv.Itoa(mport))
	say("slave-priority", strconv.Itoa(i.prio))
	say("slave-repl-offset", strconv.FormatInt(i.offset, 10))
	say("replica-announced", bit(i.announced))
	return out
}

func (m *watched) flags(i *instance) []string {
	var out []string
	add := func(name string, so bool) {
		if so {
			out = append(out, name)
		}
	}
	add("s_down", !i.down.IsZero())
	add("o_down", i.kind == "master" && !m.oDown.IsZero())
	add(i.kind, true)
	add("disconnected", !i.linkedUp())
	add("master_down", i.saysDown)
	add("failover_in_progress", i.kind == "master" && m.state != "")
	add("promoted", i == m.promoted)
	add(i.reconf, i.reconf != "")
	add("force_failover", i.kind == "master" && m.forced)
	return out
}

// info is the section Sentinel of INFO.
func (w *watcher) info() [][2]string {
	out := [][2]string{
		{"sentinel_masters", strconv.Itoa(len(w.masters))}, {"sentinel_tilt", "0"}, {"sentinel_tilt_since_seconds", "-1"}, {"sentinel_running_scripts", "0"},
		{"sentinel_scripts_queue_length", "0"}, {"sentinel_simulate_failure_flags", "0"},
	}
	for n, m := range w.masters {
		status := "ok"
		switch {
		case !m.oDown.IsZero():
			status = "odown"
		case !m.self.down.IsZero():
			status = "sdown"
		}
		out = append(out, [2]string{fmt.Sprintf("master%d", n),
			fmt.Sprintf("name=%s,status=%s,address=%s,slaves=%d,sentinels=%d", m.name, status, m.self.addr, len(m.replicas), len(m.peers)+1)})
	}
	return out
}
