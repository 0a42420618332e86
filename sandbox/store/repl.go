package store

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

const noReplid = "0000000000000000000000000000000000000000"

// backlogSize is the repl-backlog-size of the manual.
const backlogSize = 1 << 20

// Of a full copy: how long a fork and the reconnection around it take, and how many bytes a second are sent and loaded.
const (
	copyStart = 300 * time.Millisecond
	copyRate  = 40 << 20
	loadRate  = 200 << 20
)

// link is how far a replica is with its master.
type link string

const (
	linkNone    link = ""
	linkConnect link = "connect"   // not reached, or not taken
	linkSync    link = "sync"      // a full copy is on its way
	linkUp      link = "connected" // the stream flows
)

// repl is what a redis-server has and how it shares it.
type repl struct {
	p       *process
	set     *dataset
	replid  string
	replid2 string
	offset  int64
	second  int64 // as second_repl_offset
	first   int64 // of the backlog; 0 when there is none
	known   bool  // its position means something to a master that it asks to go on from there
	master  string
	link    link
	down    time.Time // since when it is not
	loading time.Time // until then
	source  *feed     // from its master
	feeds   []*feed   // to its replicas
	pause   time.Time // writes are held until then
	total   bool      // and everything else is
	chosen  bool      // the stream says which database it is about
	ticks   int
	changes int // since the last save
	saves   int
	fulls   int // full copies given, and such that went on from where they were
	parts   int
}

// feed is the connection between a master and one of its replicas.
type feed struct {
	from, to *process
	online   bool
	since    time.Time // for a full copy
	acked    int64
	heard    time.Time
	flying   bool // a part of the stream is on its way
}

// newRepl reads what a volume has.
func newRepl(p *process, vol *volume) *repl {
	r := &repl{p: p, replid: p.w.id(), replid2: noReplid, second: -1, master: p.c.ReplicaOf}
	r.set = &dataset{keys: p.c.Keys, keyBytes: cmp.Or(p.c.KeyBytes, 100)}
	if vol.set != nil {
		r.set = vol.set.prefix(len(vol.set.log))
	}
	if vol.replid != "" && !p.c.AOF {
		if r.master != "" || p.c.Cluster && vol.bus != nil && vol.bus.me.master != "" {
			r.replid, r.offset, r.known, r.first = vol.replid, vol.offset, true, vol.offset+1
		} else {
			r.replid2, r.second, r.offset, r.first = vol.replid, vol.offset+1, vol.offset, vol.offset+1
		}
	}
	vol.replid = ""
	if vol.set != nil {
		r.loading = p.w.now.Add((time.Duration(r.set.bytes()) * time.Second / loadRate).Truncate(time.Millisecond))
	}
	if p.c.AOF {
		vol.set = r.set
		r.changes = len(r.set.log) // loading a log counts as writing
	}
	return r
}

// begin is the first attempt to reach the master.
func (r *repl) begin() {
	if r.master != "" {
		r.link = linkConnect
		r.p.w.after(packet, r.connect)
	}
}

// save writes the dataset and the position in the stream to the volume.
func (r *repl) save() {
	vol := r.p.w.volume(r.p.c.Volume)
	vol.set = r.set.prefix(len(r.set.log))
	if !r.p.c.AOF {
		vol.replid, vol.offset = r.replid, r.offset
	}
	r.changes, r.saves = 0, r.saves+1
}

// unlink ends the connection to the master.
func (r *repl) unlink() {
	if r.link == linkUp {
		r.down = r.p.w.now
	}
	if r.link != linkNone {
		r.link = linkConnect
	}
	if f := r.source; f != nil {
		r.source = nil
		f.from.repl.drop(f)
	}
}

// dismiss ends the connections to the replicas.
func (r *repl) dismiss() {
	for _, f := range r.feeds {
		f.to.repl.source = nil
		f.to.repl.unlink()
	}
	r.feeds = nil
}

func (r *repl) drop(f *feed) {
	for i, g := range r.feeds {
		if g == f {
			r.feeds = append(r.feeds[:i:i], r.feeds[i+1:]...)
			return
		}
	}
}

// follow makes it a replica of the process at an address.
func (r *repl) follow(addr string) {
	was := r.master
	r.unlink()
	r.dismiss()
	r.master, r.link, r.down = addr, linkConnect, time.Time{}
	if was == "" && r.first > 0 {
		r.known = true // it may go on from its own position
	}
	r.p.w.after(packet, r.connect)
}

// lead makes it a master.
func (r *repl) lead() {
	if r.master == "" {
		return
	}
	r.unlink()
	r.dismiss()
	r.master, r.link, r.known, r.chosen = "", linkNone, false, false
	r.replid2, r.second, r.replid = r.replid, r.offset+1, r.p.w.id()
}

// connect asks the master for the stream.
func (r *repl) connect() {
	if r.link != linkConnect || r.source != nil || !r.p.awake() {
		return
	}
	m := r.p.w.at(r.master)
	if m == nil || m == r.p || m.repl == nil || m.busy() {
		return
	}
	if m.c.Password != "" && r.p.settings["masterauth"] != m.c.Password {
		return
	}
	if m.repl.master != "" && m.repl.link != linkUp {
		return // -NOMASTERLINK
	}
	f := &feed{from: m, to: r.p, acked: r.offset, heard: r.p.w.now, since: r.p.w.now}
	r.source = f
	m.repl.feeds = append(m.repl.feeds, f)
	m.repl.chosen = false
	if m.repl.continues(r) {
		m.repl.parts++
		r.p.w.after(packet, func() { r.resume(f) })
		return
	}
	if m.repl.first == 0 {
		m.repl.first = m.repl.offset + 1
	}
	m.repl.fulls++
	r.link = linkSync
}

// continues tells whether a replica may have the stream from where it is.
func (r *repl) continues(to *repl) bool {
	if !to.known || r.first == 0 {
		return false
	}
	same := to.replid == r.replid || to.replid == r.replid2 && to.offset+1 <= r.second
	return same && to.offset+1 >= r.first && to.offset <= r.offset
}

// resume goes on with the stream, without a copy.
func (r *repl) resume(f *feed) {
	if r.source != f {
		return
	}
	m := f.from.repl
	if r.replid != m.replid {
		r.replid2, r.second, r.replid = r.replid, r.offset+1, m.replid
		r.dismiss()
	}
	if r.first == 0 {
		r.first = r.offset + 1
	}
	r.up(f)
}

func (r *repl) up(f *feed) {
	r.link, r.known, r.down = linkUp, true, time.Time{}
	f.online, f.acked, f.heard = true, r.offset, r.p.w.now
	f.send()
}

// copied is the end of a full copy.
func (r *repl) copied(f *feed) {
	if r.source != f || r.link != linkSync {
		return
	}
	m := f.from.repl
	r.dismiss()
	r.set = m.set.prefix(len(m.set.log))
	if r.p.c.AOF {
		r.p.w.volume(r.p.c.Volume).set = r.set
	}
	r.replid, r.replid2, r.second, r.offset, r.first = m.replid, noReplid, -1, m.offset, m.offset+1
	r.changes = 0
	r.up(f)
}

// write adds to the stream as many bytes as its words take, and to the dataset if it is a write to one.
func (r *repl) write(e *entry, args ...string) {
	if e != nil {
		r.set.add(*e)
		r.changes++
	}
	if r.first == 0 {
		return
	}
	if e != nil && !r.chosen {
		r.chosen = true
		r.offset += wire("SELECT", "0")
	}
	r.offset += wire(args...)
	r.first = max(r.first, r.offset-backlogSize+1)
	for _, f := range r.feeds {
		f.send()
	}
}

// wire is how long a command is when it is sent.
func wire(args ...string) int64 {
	n := 1 + digits(len(args)) + 2
	for _, a := range args {
		n += 1 + digits(len(a)) + 2 + len(a) + 2
	}
	return int64(n)
}

func digits(n int) int {
	d := 1
	for ; n > 9; n /= 10 {
		d++
	}
	return d
}

// send lets the replica have, a moment later, what its master has now.
func (f *feed) send() {
	m := f.from.repl
	if !f.online || f.flying || f.to.repl.offset == m.offset {
		return
	}
	f.flying = true
	offset, writes := m.offset, len(m.set.log)
	f.from.w.after(f.from.w.o.Lag, func() { f.arrive(offset, writes) })
}

func (f *feed) arrive(offset int64, writes int) {
	f.flying = false
	r := f.to.repl
	if r.source != f || !f.online {
		return
	}
	if !f.to.awake() {
		f.flying = true
		f.to.w.after(f.to.frozen.Sub(f.to.w.now), func() { f.arrive(offset, writes) })
		return
	}
	r.changes += writes - len(r.set.log)
	r.p.tally("set").calls += writes - len(r.set.log)
	r.set.extend(f.from.repl.set, writes)
	r.offset = offset
	r.first = max(r.first, r.offset-backlogSize+1)
	for _, g := range r.feeds {
		g.send()
	}
	f.send()
}

// tick is what happens each second.
func (r *repl) tick() {
	r.ticks++
	now := r.p.w.now
	if r.link == linkConnect {
		r.connect()
	}
	if f := r.source; f != nil && f.online && f.from.awake() {
		f.acked, f.heard = r.offset, now
	}
	patience := time.Duration(r.p.number("repl-timeout")) * time.Second
	if f := r.source; f != nil && !f.from.awake() && now.Sub(f.heard) > patience {
		r.unlink()
	}
	for _, f := range slices.Clone(r.feeds) {
		switch {
		case f.online && now.Sub(f.heard) > patience:
			f.to.repl.unlink() // it will notice when it can
		case !f.online && !f.since.IsZero():
			r.give(f)
		}
	}
	if every := r.p.number("repl-ping-replica-period"); r.master == "" && len(r.feeds) > 0 && r.ticks%max(every, 1) == 0 && !r.handing() {
		r.write(nil, "PING")
	}
}

// give begins a full copy once the replica has waited as long as others might still come to share it.
func (r *repl) give(f *feed) {
	now, to := r.p.w.now, f.to.repl
	if to.link != linkSync || now.Sub(f.since) < time.Duration(r.p.number("repl-diskless-sync-delay"))*time.Second {
		return
	}
	f.since = time.Time{}
	takes := copyStart + time.Duration(r.set.bytes())*time.Second/copyRate
	r.p.w.after(takes, func() {
		if to.source == f && f.to.awake() {
			to.copied(f)
		} else if to.source == f {
			to.unlink()
		}
	})
}

// handing tells whether it stands still for a replica of a cluster that takes its place.
func (r *repl) handing() bool { return r.p.bus != nil && r.p.bus.handover() && r.held() }

// held tells whether writes have to wait.
func (r *repl) held() bool { return r.p.w.now.Before(r.pause) }

// good is how many replicas were heard recently enough.
func (r *repl) good() int {
	n := 0
	for _, f := range r.feeds {
		if f.online && int(r.p.w.now.Sub(f.heard)/time.Second) <= r.p.number("min-replicas-max-lag") {
			n++
		}
	}
	return n
}

// fenced tells whether it has fewer good replicas than it needs for a write.
func (r *repl) fenced() bool {
	need := r.p.number("min-replicas-to-write")
	return r.master == "" && need > 0 && r.p.number("min-replicas-max-lag") > 0 && r.good() < need
}

// busy tells whether it still loads its dataset.
func (p *process) busy() bool { return p.repl != nil && p.w.now.Before(p.repl.loading) }

// publish is a write to the stream, and none to the dataset.
func (r *repl) publish(channel, text string) {
	if r.master == "" {
		r.write(nil, "PUBLISH", channel, strings.TrimSpace(text))
	}
}
