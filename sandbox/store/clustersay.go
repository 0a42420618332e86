package store

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

var clusterCommands = map[string]containerCommand{
	"NODES":         {2, func(c *Conn, _ []string) any { return c.p.bus.show(c.p.bus.known()) }},
	"INFO":          {2, func(c *Conn, _ []string) any { return c.p.bus.info() }},
	"MYID":          {2, func(c *Conn, _ []string) any { return c.p.bus.me.id }},
	"KEYSLOT":       {3, func(_ *Conn, a []string) any { return int64(slotOf(a[2])) }},
	"SLOTS":         {2, func(c *Conn, _ []string) any { return c.p.bus.slots() }},
	"REPLICAS":      {3, clusterReplicas},
	"MEET":          {-4, clusterMeet},
	"FORGET":        {3, clusterForget},
	"REPLICATE":     {3, clusterReplicate},
	"FAILOVER":      {-2, clusterFailover},
	"RESET":         {-2, clusterReset},
	"ADDSLOTSRANGE": {-4, clusterAddSlots},
	"SETSLOT":       {-4, clusterSetSlot},

	"SET-CONFIG-EPOCH": {3, clusterSetEpoch},
}

func clusterReplicas(c *Conn, a []string) any {
	b := c.p.bus
	n := b.nodes[a[2]]
	switch {
	case n == nil:
		return unknownNode(a[2])
	case n.slave:
		return Reply("ERR The specified node is not a master")
	}
	out := []any{}
	for _, o := range b.replicas(n.id) {
		out = append(out, strings.TrimSuffix(b.show([]*node{o}), "\n"))
	}
	return out
}

func unknownNode(id string) Reply { return Reply("ERR Unknown node " + id) }

func clusterMeet(c *Conn, a []string) any {
	port, err := strconv.Atoi(a[3])
	if err != nil {
		return Reply("ERR Invalid TCP base port specified: " + a[3])
	}
	busPort := port + busOffset
	if len(a) > 4 {
		if busPort, err = strconv.Atoi(a[4]); err != nil {
			return Reply("ERR Invalid TCP bus port specified: " + a[4])
		}
	}
	if net.ParseIP(a[2]) == nil || port <= 0 || port > 65535 || busPort <= 0 || busPort > 65535 {
		return Reply(fmt.Sprintf("ERR Invalid node address specified: %s:%s", a[2], a[3]))
	}
	c.p.bus.shake(a[2], port, busPort, true)
	return ok
}

func clusterForget(c *Conn, a []string) any {
	b := c.p.bus
	n := b.nodes[a[2]]
	switch {
	case n == nil:
		return unknownNode(a[2])
	case n == b.me:
		return Reply("ERR I tried hard but I can't forget myself...")
	case b.me.slave && b.me.master == n.id:
		return Reply("ERR Can't forget my master!")
	}
	b.banned[n.id] = b.now().Add(banTime)
	b.forget(n)
	b.updateState()
	return ok
}

func clusterReplicate(c *Conn, a []string) any {
	b := c.p.bus
	n := b.nodes[a[2]]
	switch {
	case n == nil || n.handshake:
		return unknownNode(a[2])
	case n == b.me:
		return Reply("ERR Can't replicate myself")
	case n.slave:
		return Reply("ERR I can only replicate a master, not a replica.")
	case !b.me.slave && (len(b.me.slots) > 0 || c.p.repl.set.size() > 0):
		return Reply("ERR To set a master the node must be empty and without assigned slots.")
	}
	b.follow(n)
	b.updateState()
	return ok
}

func clusterFailover(c *Conn, a []string) any {
	b := c.p.bus
	how := ""
	if len(a) > 2 {
		how = strings.ToUpper(a[2])
	}
	master := b.nodes[b.me.master]
	switch {
	case len(a) > 3 || !slices.Contains([]string{"", "FORCE", "TAKEOVER"}, how):
		return Reply("ERR syntax error")
	case !b.me.slave:
		return Reply("ERR You should send CLUSTER FAILOVER to a replica")
	case master == nil:
		return Reply("ERR I'm a replica but my master is unknown to me")
	case how == "" && (master.fail || master.link == nil || master.link.ended):
		return Reply("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE")
	}
	b.endManual()
	b.manual.end = b.now().Add(manualTime)
	switch how {
	case "TAKEOVER":
		b.epoch++
		b.me.epoch = b.epoch
		b.takeOver()
	case "FORCE":
		b.manual.free = true
		b.react()
	default:
		b.send(master, message{kind: "mfstart"})
	}
	return ok
}

func clusterReset(c *Conn, a []string) any {
	b := c.p.bus
	hard := len(a) > 2 && strings.EqualFold(a[2], "HARD")
	switch {
	case len(a) > 3, len(a) == 3 && !hard && !strings.EqualFold(a[2], "SOFT"):
		return Reply("ERR syntax error")
	case !b.me.slave && c.p.repl.set.size() > 0:
		return Reply("ERR CLUSTER RESET can't be called with master nodes containing keys")
	}
	if b.me.slave {
		b.lead(b.me)
		c.p.repl.lead()
		c.p.repl.set = &dataset{keyBytes: c.p.repl.set.keyBytes}
	}
	b.endManual()
	for _, n := range b.known() {
		b.cut(n)
	}
	b.nodes, b.banned, b.contest = map[string]*node{}, map[string]time.Time{}, contest{}
	b.me.slots, b.me.moving = nil, nil
	if hard {
		b.epoch, b.me.epoch, b.voted = 0, 0, 0
		b.me.id = c.w.id()
	}
	b.nodes[b.me.id] = b.me
	b.fine = false
	return ok
}

func clusterAddSlots(c *Conn, a []string) any {
	if len(a)%2 != 0 {
		return Reply("ERR wrong number of arguments for '" + strings.ToLower(a[1]) + "' command")
	}
	b, add := c.p.bus, spans(nil)
	for i := 2; i < len(a); i += 2 {
		from, err := strconv.Atoi(a[i])
		to, err2 := strconv.Atoi(a[i+1])
		switch {
		case err != nil || err2 != nil || from < 0 || to >= slotCount:
			return Reply("ERR Invalid or out of range slot")
		case from > to:
			return Reply(fmt.Sprintf("ERR start slot number %d is greater than end slot number %d", from, to))
		}
		add = add.plus(spans{{from, to}})
	}
	for _, n := range b.nodes {
		if taken := n.slots.and(add); len(taken) > 0 {
			return Reply(fmt.Sprintf("ERR Slot %d is already busy", taken[0].from))
		}
	}
	b.me.slots = b.me.slots.plus(add)
	b.updateState()
	return ok
}

func clusterSetEpoch(c *Conn, a []string) any {
	b := c.p.bus
	epoch, err := strconv.ParseInt(a[2], 10, 64)
	switch {
	case err != nil:
		return Reply("ERR value is not an integer or out of range")
	case epoch < 0:
		return Reply(fmt.Sprintf("ERR Invalid config epoch specified: %d", epoch))
	case len(b.nodes) > 1:
		return Reply("ERR The user can assign a config epoch only when the node does not know any other node.")
	case b.me.epoch != 0:
		return Reply("ERR Node config epoch is already non-zero")
	}
	b.me.epoch, b.epoch = epoch, max(b.epoch, epoch)
	return ok
}

// clusterSetSlot knows MIGRATING, IMPORTING and STABLE: that slots are about to move is seen, and nothing moves.
func clusterSetSlot(c *Conn, a []string) any {
	b := c.p.bus
	slot, err := strconv.Atoi(a[2])
	if err != nil || slot < 0 || slot >= slotCount {
		return Reply("ERR Invalid or out of range slot")
	}
	if b.me.moving == nil {
		b.me.moving = map[int]string{}
	}
	how := strings.ToUpper(a[3])
	switch {
	case b.me.slave:
		return Reply("ERR Please use SETSLOT only with masters.")
	case how == "STABLE" && len(a) == 4:
		delete(b.me.moving, slot)
		return ok
	case len(a) != 5 || how != "MIGRATING" && how != "IMPORTING":
		return Reply("ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP")
	case b.nodes[a[4]] == nil:
		return Reply("ERR I don't know about node " + a[4])
	case how == "MIGRATING" && !b.me.slots.has(slot):
		return Reply(fmt.Sprintf("ERR I'm not the owner of hash slot %d", slot))
	case how == "IMPORTING" && b.me.slots.has(slot):
		return Reply(fmt.Sprintf("ERR I'm already the owner of hash slot %d", slot))
	case how == "MIGRATING":
		b.me.moving[slot] = fmt.Sprintf("[%d->-%s]", slot, a[4])
	default:
		b.me.moving[slot] = fmt.Sprintf("[%d-<-%s]", slot, a[4])
	}
	return ok
}

// redirect is why a command on a key is not for it; "" when it is.
func (b *bus) redirect(slot int, write, reads bool) Reply {
	owner := b.owner(slot)
	switch {
	case owner == nil:
		return "CLUSTERDOWN Hash slot not served"
	case !b.fine:
		return "CLUSTERDOWN The cluster is down"
	case owner == b.me, b.me.slave && reads && !write && b.me.master == owner.id:
		return ""
	}
	return Reply(fmt.Sprintf("MOVED %d %s", slot, owner.addr()))
}

// show is nodes as CLUSTER NODES has them.
func (b *bus) show(nodes []*node) string {
	var out strings.Builder
	for _, n := range nodes {
		epoch, link := n.epoch, "disconnected"
		if of := b.nodes[n.master]; n.slave && of != nil {
			epoch = of.epoch
		}
		if n == b.me || n.link != nil && !n.link.ended {
			link = "connected"
		}
		fmt.Fprintf(&out, "%s %s:%d@%d %s %s %d %d %d %s", n.id, n.ip, n.port, n.busPort, strings.Join(b.flags(n), ","), cmp.Or(n.master, "-"), millis(n.pinged), millis(n.ponged), epoch, link)
		if len(n.slots) > 0 {
			out.WriteString(" " + n.slots.String())
		}
		if n == b.me {
			for _, slot := range slices.Sorted(maps.Keys(n.moving)) {
				out.WriteString(" " + n.moving[slot])
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func (b *bus) flags(n *node) []string {
	var out []string
	add := func(name string, so bool) {
		if so {
			out = append(out, name)
		}
	}
	add("myself", n == b.me)
	add("master", !n.slave && !n.handshake)
	add("slave", n.slave && !n.handshake)
	add("fail?", n.doubt)
	add("fail", n.fail)
	add("handshake", n.handshake)
	add("noaddr", n.noaddr)
	add("nofailover", n.noFailover)
	return out
}

// info is CLUSTER INFO.
func (b *bus) info() string {
	assigned, well, doubted, failed := 0, 0, 0, 0
	for _, n := range b.nodes {
		slots := n.slots.count()
		assigned += slots
		switch {
		case n.fail:
			failed += slots
		case n.doubt:
			doubted += slots
		default:
			well += slots
		}
	}
	mine, state := b.me.epoch, "fail"
	if of := b.nodes[b.me.master]; b.me.slave && of != nil {
		mine = of.epoch
	}
	if b.fine {
		state = "ok"
	}
	var out strings.Builder
	say := func(name string, value any) { fmt.Fprintf(&out, "%s:%v\r\n", name, value) }
	say("cluster_state", state)
	say("cluster_slots_assigned", assigned)
	say("cluster_slots_ok", well)
	say("cluster_slots_pfail", doubted)
	say("cluster_slots_fail", failed)
	say("cluster_known_nodes", len(b.nodes))
	say("cluster_size", b.size())
	say("cluster_current_epoch", b.epoch)
	say("cluster_my_epoch", mine)
	for _, direction := range []string{"sent", "received"} {
		total := 0
		for _, kind := range []string{"ping", "pong", "meet", "fail", "auth-req", "auth-ack", "update", "mfstart"} {
			if n := b.counts[kind+"_"+direction]; n > 0 {
				say("cluster_stats_messages_"+kind+"_"+direction, n)
				total += n
			}
		}
		say("cluster_stats_messages_"+direction, total)
	}
	say("total_cluster_links_buffer_limit_exceeded", 0)
	return out.String()
}

// slots is CLUSTER SLOTS.
func (b *bus) slots() any {
	show := func(n *node) any { return []any{n.ip, int64(n.port), n.id, []any{}} }
	rows := []any{}
	for _, n := range b.known() {
		for _, r := range n.slots {
			row := []any{int64(r.from), int64(r.to), show(n)}
			for _, o := range b.replicas(n.id) {
				if b.available(o) {
					row = append(row, show(o))
				}
			}
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(x, y any) int { return cmp.Compare(x.([]any)[0].(int64), y.([]any)[0].(int64)) })
	return rows
}

// available tells whether a replica is known to have anything.
func (b *bus) available(n *node) bool {
	if n == b.me {
		return b.p.repl.offset > 0
	}
	return !n.fail && n.offset > 0
}
