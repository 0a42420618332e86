package store

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"strconv"
	"time"
)

// Kind is what a process is.
type Kind int

// The kinds.
const (
	Data     Kind = iota // redis-server
	Sentinel             // redis-server --sentinel
)

// Config says which process to start.
type Config struct {
	Addr    string // host:port that it is bound to
	Kind    Kind
	Cluster bool
	Store   string // of which it is one: what clients and reports speak of
	Volume  string // by name; "" when nothing survives it
	AOF     bool   // every write is on the volume at once, but not the position in the stream; otherwise both are saved by a graceful end only

	ReplicaOf  string // host:port; "" for a master. Whatever it was told later does not survive it
	Priority   int    // replica-priority; 0 means 100, and a negative one 0
	Announce   string // host under which others shall know it
	Keys       int    // of a dataset that nothing was saved of
	KeyBytes   int    // default 100
	Password   string
	MasterAuth string            // default Password
	Settings   map[string]string // of CONFIG

	MasterName      string        // Sentinel: default mymaster
	Monitor         string        // host:port
	Quorum          int           // default 2
	DownAfter       time.Duration // default 5 s
	FailoverTimeout time.Duration // default 180 s

	NodeTimeout time.Duration // Cluster: default 5 s
}

type process struct {
	w          *World
	c          Config
	host       string
	port       int
	runID      string
	started    time.Time
	ended      bool
	frozen     time.Time // until then
	settings   map[string]string
	clients    []*Conn
	lastClient int
	errors     map[string]int
	tallies    map[string]*tally // of commands

	repl  *repl    // of redis-server
	bus   *bus     // of a cluster's node
	watch *watcher // of a Sentinel
}

// defaults are the settings that CONFIG knows, of which most have no effect here.
var defaults = map[string]string{
	"min-replicas-to-write": "0", "min-replicas-max-lag": "10", "replica-priority": "100", "replica-announced": "yes", "replica-announce-ip": "", "replica-announce-port": "0",
	"repl-diskless-sync-delay": "5", "repl-ping-replica-period": "10", "repl-timeout": "60", "replica-serve-stale-data": "yes", "replica-read-only": "yes",
	"cluster-enabled": "no", "cluster-node-timeout": "15000", "cluster-announce-ip": "", "cluster-announce-port": "0", "cluster-announce-bus-port": "0",
	"cluster-announce-hostname": "", "cluster-replica-no-failover": "no", "cluster-allow-replica-migration": "yes", "cluster-migration-barrier": "1",
	"cluster-require-full-coverage": "yes", "cluster-replica-validity-factor": "10", "cluster-config-file": "nodes.conf",
	"appendonly": "no", "requirepass": "", "masterauth": "", "bind": "", "port": "6379", "maxmemory": "0",
}

// process makes one that does not run yet.
func (w *World) process(c Config, host string, port int) (*process, error) {
	p := &process{w: w, c: c, host: host, port: port, runID: w.id(), started: w.now, settings: maps.Clone(defaults), errors: map[string]int{}, tallies: map[string]*tally{}}
	s := p.settings
	s["bind"], s["port"], s["requirepass"], s["masterauth"] = host, strconv.Itoa(port), c.Password, cmp.Or(c.MasterAuth, c.Password)
	s["replica-priority"] = strconv.Itoa(max(cmp.Or(c.Priority, 100), 0))
	s["replica-announce-ip"] = c.Announce
	if c.AOF {
		s["appendonly"] = "yes"
	}
	if c.Cluster {
		s["cluster-enabled"], s["cluster-announce-ip"] = "yes", c.Announce
		s["cluster-node-timeout"] = strconv.FormatInt(cmp.Or(c.NodeTimeout, 5*time.Second).Milliseconds(), 10)
	}
	for k, v := range c.Settings {
		if _, known := s[k]; !known {
			return nil, fmt.Errorf("unknown setting %s", k)
		}
		s[k] = v
	}
	vol := w.volume(c.Volume)
	if c.Kind == Sentinel {
		p.watch = vol.watch.again(p)
		return p, nil
	}
	p.repl = newRepl(p, vol)
	if c.Cluster {
		p.bus = vol.bus.again(p)
		vol.bus = p.bus
	}
	return p, nil
}

// volume returns what was saved under a name; of no name, nothing ever is.
func (w *World) volume(name string) *volume {
	if name == "" {
		return &volume{}
	}
	if w.volumes[name] == nil {
		w.volumes[name] = &volume{}
	}
	return w.volumes[name]
}

// run sets its periodic work going.
func (p *process) run() {
	switch {
	case p.watch != nil:
		p.w.volume(p.c.Volume).watch = p.watch
		p.every(p.watch.period, p.watch.tick)
	case p.bus != nil:
		p.every(100*time.Millisecond, p.bus.tick)
		fallthrough
	default:
		p.repl.begin()
		p.every(time.Second, p.repl.tick)
	}
}

// every calls do in a period, beginning somewhere in the first, while the process lives; one that is frozen misses its turns.
func (p *process) every(period time.Duration, do func()) {
	var turn func()
	turn = func() {
		if p.ended {
			return
		}
		if p.awake() {
			do()
		}
		p.w.after(period, turn)
	}
	p.w.after(p.w.random(period), turn)
}

func (p *process) awake() bool { return !p.ended && !p.w.now.Before(p.frozen) }

func (p *process) addr() string { return p.c.Addr }

// end is the end of the process: what it would save is saved, and connections break, if anything is left that could break them.
func (p *process) end(graceful bool) {
	p.ended = true
	if p.repl != nil && graceful && p.c.Volume != "" {
		p.repl.save()
	}
	if p.w.o.BlackHole && !graceful {
		return
	}
	if p.repl != nil {
		p.repl.unlink()
		p.repl.dismiss()
	}
	for _, c := range p.clients {
		c.closed = true
	}
	p.clients = nil
}

// number is a setting that is one; CONFIG SET has checked it.
func (p *process) number(name string) int {
	n, _ := strconv.Atoi(p.settings[name])
	return n
}

func (p *process) yes(name string) bool { return p.settings[name] == "yes" }

// announced is the address under which a replica is known to its master.
func (p *process) announced() (string, int) {
	return cmp.Or(p.settings["replica-announce-ip"], p.host), cmp.Or(p.number("replica-announce-port"), p.port)
}

func join(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// split undoes join; what is no address has port 0.
func split(addr string) (string, int) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, 0
	}
	n, _ := strconv.Atoi(port)
	return host, n
}
