package store

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// command is one that a process understands.
type command struct {
	arity   int // words, itself among them; negative: at least
	where   int // kinds of processes that know it
	write   bool
	loading bool // also while a dataset is loaded
	open    bool // also without a password
	run     func(c *Conn, args []string) any
}

const (
	inData = 1 << iota
	inSentinel
	everywhere = inData | inSentinel
)

// ok is how Redis says that it has done it, or will try to.
const ok = "OK"

var commands, subcommands map[string]command

func init() {
	commands = map[string]command{
		"PING":      {-1, everywhere, false, false, false, ping},
		"AUTH":      {-2, everywhere, false, true, true, auth},
		"INFO":      {-1, everywhere, false, true, false, func(c *Conn, a []string) any { return c.p.info(a[1:]) }},
		"ROLE":      {1, everywhere, false, true, false, func(c *Conn, _ []string) any { return c.p.role() }},
		"REPLICAOF": {3, inData, false, false, false, replicaOf},
		"SLAVEOF":   {3, inData, false, false, false, replicaOf},
		"DBSIZE":    {1, inData, false, false, false, func(c *Conn, _ []string) any { return int64(c.p.repl.set.size()) }},
		"GET":       {2, inData, false, false, false, get},
		"SET":       {3, inData, true, false, false, func(c *Conn, a []string) any { return c.put(a) }},
		"APPEND":    {3, inData, true, false, false, appendTo},
		"WAIT":      {3, inData, false, false, false, wait},
		"SAVE":      {1, inData, false, false, false, save},
		"READONLY":  {1, inData, false, true, false, func(c *Conn, _ []string) any { c.reads = true; return ok }},
		"READWRITE": {1, inData, false, true, false, func(c *Conn, _ []string) any { c.reads = false; return ok }},
	}
	subcommands = map[string]command{
		"CONFIG|GET":     {-3, inData, false, true, false, configGet},
		"CONFIG|SET":     {-4, inData, false, true, false, configSet},
		"CLIENT|ID":      {2, everywhere, false, true, false, func(c *Conn, _ []string) any { return int64(c.id) }},
		"CLIENT|INFO":    {2, everywhere, false, true, false, func(c *Conn, _ []string) any { return c.line() }},
		"CLIENT|LIST":    {-2, everywhere, false, true, false, clientList},
		"CLIENT|SETNAME": {3, everywhere, false, true, false, func(c *Conn, a []string) any { c.name = a[2]; return ok }},
		"CLIENT|GETNAME": {2, everywhere, false, true, false, func(c *Conn, _ []string) any { return nilIfEmpty(c.name) }},
		"CLIENT|PAUSE":   {-3, inData, false, true, false, clientPause},
		"CLIENT|UNPAUSE": {2, inData, false, true, false, clientUnpause},
		"CLIENT|KILL":    {-3, everywhere, false, true, false, clientKill},
	}
	for name, sc := range sentinelCommands {
		subcommands["SENTINEL|"+name] = command{sc.arity, inSentinel, false, true, false, sc.run}
	}
	for name, cc := range clusterCommands {
		subcommands["CLUSTER|"+name] = command{cc.arity, inData, false, true, false, cc.run}
	}
}

var containers = []string{"CONFIG", "CLIENT", "SENTINEL", "CLUSTER"}

// say carries a command out, in the order of checks that Redis has.
func (c *Conn) say(words []string) any {
	if c.closed {
		return gone{}
	}
	answer := c.dispatch(words)
	if r, bad := answer.(Reply); bad {
		code, _, _ := strings.Cut(string(r), " ")
		c.p.errors[code]++
	}
	return answer
}

func (c *Conn) dispatch(words []string) any {
	c.last = c.w.now
	cmd, refusal := c.p.lookup(words)
	if refusal != "" {
		return refusal
	}
	c.cmd = strings.ToLower(words[0])
	if slices.Contains(containers, strings.ToUpper(words[0])) {
		c.cmd += "|" + strings.ToLower(words[1])
	}
	if !c.authed && !cmd.open {
		return Reply("NOAUTH Authentication required.")
	}
	if c.p.repl != nil {
		if refusal := c.p.refuses(c, cmd, words); refusal != nil {
			if refusal != held {
				c.p.tally(c.cmd).rejected++
			}
			return refusal
		}
	}
	answer := cmd.run(c, words)
	c.p.carried(c.cmd, answer)
	return answer
}

// lookup finds a command and checks how many words it has.
func (p *process) lookup(words []string) (command, Reply) {
	kind := inData
	if p.watch != nil {
		kind = inSentinel
	}
	name := strings.ToUpper(words[0])
	cmd, known := commands[name]
	full := strings.ToLower(name)
	if i := slices.Index(containers, name); i >= 0 {
		known = true
		cmd = command{arity: -2, where: []int{inData, everywhere, inSentinel, inData}[i]}
		if len(words) > 1 && cmd.where&kind != 0 {
			var sub bool
			cmd, sub = subcommands[name+"|"+strings.ToUpper(words[1])]
			if !sub || cmd.where&kind == 0 {
				return cmd, Reply(fmt.Sprintf("ERR unknown subcommand '%.128s'. Try %s HELP.", words[1], name))
			}
			full += "|" + strings.ToLower(words[1])
		}
	}
	if !known || cmd.where&kind == 0 {
		var args strings.Builder
		for _, a := range words[1:] {
			fmt.Fprintf(&args, "'%s' ", a)
		}
		return cmd, Reply(fmt.Sprintf("ERR unknown command '%.128s', with args beginning with: %s", words[0], args.String()))
	}
	if cmd.arity > 0 && len(words) != cmd.arity || len(words) < -cmd.arity || cmd.run == nil {
		return cmd, Reply("ERR wrong number of arguments for '" + full + "' command")
	}
	return cmd, ""
}

// refuses is why a redis-server does not carry a command out as it is now; nil when it does.
func (p *process) refuses(c *Conn, cmd command, words []string) any {
	if p.bus == nil && strings.EqualFold(words[0], "CLUSTER") {
		return Reply("ERR This instance has cluster support disabled")
	}
	if p.bus != nil && len(words) > 1 && slices.Contains([]string{"GET", "SET", "APPEND"}, strings.ToUpper(words[0])) {
		if r := p.bus.redirect(slotOf(words[1]), cmd.write, c.reads); r != "" {
			return r
		}
	}
	switch {
	case cmd.write && p.repl.fenced():
		return Reply("NOREPLICAS Not enough good replicas to write.")
	case cmd.write && p.repl.master != "":
		return Reply("READONLY You can't write against a read only replica.")
	case p.busy() && !cmd.loading:
		return Reply("LOADING Redis is loading the dataset in memory")
	case p.repl.held() && (cmd.write || p.repl.total && !strings.EqualFold(words[0], "CLIENT")):
		return held
	}
	return nil
}

func ping(_ *Conn, a []string) any {
	if len(a) > 1 {
		return a[1]
	}
	return "PONG"
}

func auth(c *Conn, a []string) any {
	user, password := "default", a[1]
	if len(a) > 2 {
		user, password = a[1], a[2]
	}
	switch {
	case c.p.c.Password == "" && len(a) == 2:
		return Reply("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
	case user == "default" && (c.p.c.Password == "" || password == c.p.c.Password):
		c.authed = true
		return ok
	}
	return Reply("WRONGPASS invalid username-password pair or user is disabled.")
}

func replicaOf(c *Conn, a []string) any {
	if c.p.bus != nil {
		return Reply("ERR REPLICAOF not allowed in cluster mode.")
	}
	r := c.p.repl
	if strings.EqualFold(a[1], "no") && strings.EqualFold(a[2], "one") {
		r.lead()
		return ok
	}
	port, err := strconv.Atoi(a[2])
	if err != nil || port < 0 || port > 65535 {
		return Reply("ERR Invalid master port")
	}
	addr := join(a[1], port)
	if r.master == addr {
		return "OK Already connected to specified master"
	}
	r.follow(addr)
	return ok
}

func get(c *Conn, a []string) any {
	if v, found := c.p.repl.set.get(a[1]); found {
		return v
	}
	return nil
}

// put is a write of a client.
func (c *Conn) put(a []string) any {
	c.w.ids++
	c.p.repl.write(&entry{id: c.w.ids, key: a[1], value: a[2], more: strings.EqualFold(a[0], "APPEND")}, a...)
	c.wrote = c.p.repl.offset
	return ok
}

func appendTo(c *Conn, a []string) any {
	c.put(a)
	v, _ := c.p.repl.set.get(a[1])
	return int64(len(v))
}

func wait(c *Conn, a []string) any {
	need, err := strconv.Atoi(a[1])
	ms, err2 := strconv.Atoi(a[2])
	if err != nil || err2 != nil {
		return Reply("ERR value is not an integer or out of range")
	}
	if c.p.repl.master != "" {
		return Reply("ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.")
	}
	reached := func() int {
		n := 0
		for _, f := range c.p.repl.feeds {
			if f.online && f.to.repl.offset >= c.wrote {
				n++
			}
		}
		return n
	}
	return waiting{time.Duration(ms) * time.Millisecond, func() bool { return reached() >= need }, func() any { return int64(reached()) }}
}

func save(c *Conn, _ []string) any {
	if c.p.c.Volume != "" {
		c.p.repl.save()
	}
	return ok
}

func nilIfEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}
