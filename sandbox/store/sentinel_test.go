package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	master  = "10.1.0.1:6379"
	replica = "10.1.0.2:6379"
)

var sentinels = []string{"10.1.1.1:26379", "10.1.1.2:26379", "10.1.1.3:26379"}

// watchedPair is the layout of the seed: a master, a replica, three Sentinels, all settled.
func watchedPair(t *testing.T, seed uint64) *lab {
	t.Helper()
	l := newLab(t, Options{Seed: seed})
	l.start(Config{Addr: master, Store: "s", Keys: 300000})
	l.start(Config{Addr: replica, Store: "s", ReplicaOf: master, Keys: 300000})
	for _, s := range sentinels {
		l.start(Config{Addr: s, Kind: Sentinel, Store: "s", Monitor: master})
	}
	l.settle("a settled pair", func() bool { return l.linked(replica) && l.agreed(master, 1, 2) })
	return l
}

// agreed tells whether all Sentinels name a master, and know that many replicas and peers that are well.
func (l *lab) agreed(addr string, replicas, peers int) bool {
	for _, s := range sentinels {
		m, isList := l.ask(s, "SENTINEL MASTER mymaster").([]any)
		if !isList {
			continue
		}
		f := pairs(m)
		if f["ip"]+":"+f["port"] != addr || f["num-slaves"] != fmt.Sprint(replicas) || f["num-other-sentinels"] != fmt.Sprint(peers) || strings.Contains(f["flags"], "disconnected") {
			return false
		}
		for _, r := range l.ask(s, "SENTINEL REPLICAS mymaster").([]any) {
			if pairs(r)["flags"] != "slave" {
				return false
			}
		}
	}
	return true
}

func (l *lab) allName(addr string) bool {
	for _, s := range sentinels {
		if a, isList := l.ask(s, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster").([]any); isList && fmt.Sprint(a[0], ":", a[1]) != addr {
			return false
		}
	}
	return true
}

// within fails unless a duration is in a window.
func within(t *testing.T, what string, d, from, to time.Duration) {
	t.Helper()
	if d < from || d > to {
		t.Errorf("%s took %v, measured were %v to %v", what, d, from, to)
	}
}

func TestFullCopyTakesTheDelayAndTheSize(t *testing.T) {
	l := newLab(t, Options{})
	l.start(Config{Addr: master, Keys: 300000})
	l.start(Config{Addr: replica, ReplicaOf: master})
	d := l.until(time.Minute, "sync", func() bool { return l.linked(replica) })
	within(t, "a full copy", d, 5*time.Second, 8*time.Second)
	if got := l.must(replica, "DBSIZE"); got != int64(300000) {
		t.Errorf("the replica has %v keys", got)
	}
}

func TestPlainFailoverLosesWrites(t *testing.T) {
	l := watchedPair(t, 1)
	l.Write(Client{Store: "s", Rate: 100})
	l.Write(Client{Store: "s", Rate: 100, Kind: Sticky})
	l.pass(5 * time.Second)
	begin := l.clock
	l.must(sentinels[0], "SENTINEL FAILOVER mymaster")
	agreed := l.until(10*time.Second, "agreement", func() bool { return l.allName(replica) })
	within(t, "agreement", agreed, 100*time.Millisecond, 3*time.Second)
	if got := l.field(master, "role"); got != "master" {
		t.Fatalf("the old master says %q already", got)
	}
	l.until(time.Minute, "demotion", func() bool { return l.field(master, "role") == "slave" })
	within(t, "demotion", l.since(begin), 9*time.Second, 13*time.Second)
	l.pass(20 * time.Second)
	r := l.Report("s")
	sticky := 0
	for _, x := range l.writers {
		t.Logf("%v acked %d failed %d gap %v %v", x.c.Kind, len(x.acked), x.failed, x.gap, x.errors)
	}
	if r.Lost < 800 || r.Failovers[""] != 1 {
		t.Errorf("report %+v, sticky %d", r, sticky)
	}
	if r.Gap > 500*time.Millisecond || r.Failed > 0 {
		t.Errorf("clients noticed: %+v", r)
	}
}

// safely hands the master's role over in the way that loses nothing.
func (l *lab) safely(from, to string) {
	l.t.Helper()
	l.must(from, "CONFIG SET min-replicas-to-write 1 min-replicas-max-lag 2")
	l.must(from, "CLIENT PAUSE 2500 WRITE")
	l.until(500*time.Millisecond, "equal offsets", func() bool { return l.field(from, "master_repl_offset") == l.field(to, "slave_repl_offset") })
	l.must(sentinels[1], "SENTINEL FAILOVER mymaster")
	l.until(2400*time.Millisecond, "agreement", func() bool { return l.allName(to) })
	host, port := split(to)
	l.must(from, fmt.Sprintf("REPLICAOF %s %d", host, port))
	l.must(from, "CLIENT KILL TYPE normal")
	l.must(from, "CLIENT UNPAUSE")
	l.must(from, "CONFIG SET min-replicas-to-write 0")
}

func TestFenceAndPauseLoseNothing(t *testing.T) {
	for seed := range uint64(5) {
		l := watchedPair(t, seed)
		l.Write(Client{Store: "s", Rate: 100})
		l.Write(Client{Store: "s", Rate: 100, Kind: Sticky})
		l.pass(5 * time.Second)
		l.safely(master, replica)
		within(t, "the old master's link", l.until(time.Minute, "link", func() bool { return l.linked(master) }), 0, time.Second)
		if got := l.field(replica, "sync_partial_ok"); got != "1" {
			t.Errorf("seed %d: %s partial resyncs", seed, got)
		}
		l.pass(20 * time.Second)
		r := l.Report("s")
		if r.Lost != 0 || r.Failed != 0 || r.Acked < 4000 {
			t.Errorf("seed %d: %+v", seed, r)
		}
		within(t, "the longest gap", r.Gap, 300*time.Millisecond, 2500*time.Millisecond)
	}
}

// TestFenceOutlivesThePause: whoever switches dies after SENTINEL FAILOVER. The pause lapses, nobody demotes; the fence holds.
func TestFenceOutlivesThePause(t *testing.T) {
	for _, fence := range []bool{true, false} {
		l := watchedPair(t, 3)
		l.Write(Client{Store: "s", Rate: 100})
		l.Write(Client{Store: "s", Rate: 100, Kind: Sticky})
		l.pass(5 * time.Second)
		if fence {
			l.must(master, "CONFIG SET min-replicas-to-write 1 min-replicas-max-lag 2")
		}
		l.must(master, "CLIENT PAUSE 2500 WRITE")
		l.pass(100 * time.Millisecond)
		l.must(sentinels[0], "SENTINEL FAILOVER mymaster")
		l.pass(30 * time.Second)
		if r := l.Report("s"); fence != (r.Lost == 0) {
			t.Errorf("fence %v: %+v", fence, r)
		}
	}
}

func TestMasterDies(t *testing.T) {
	for _, hole := range []bool{false, true} {
		l := watchedPair(t, 4)
		l.o.BlackHole = hole
		l.Write(Client{Store: "s", Rate: 50})
		l.pass(5 * time.Second)
		if err := l.Stop(master, false); err != nil {
			t.Fatal(err)
		}
		if l.pass(time.Second); l.linked(replica) != hole {
			t.Errorf("black hole %v: the replica's link is up: %v", hole, !hole)
		}
		d := l.until(30*time.Second, "failover", func() bool { return l.allName(replica) })
		within(t, "failover", d, 4*time.Second, 8*time.Second)
		l.pass(10 * time.Second)
		if r := l.Report("s"); r.Gap < 5*time.Second || r.Gap > 12*time.Second || r.Failed == 0 {
			t.Errorf("black hole %v: %+v", hole, r)
		}
	}
}

// TestGhostsCountAsVoters: Sentinels that come back without their state leave entries behind, and these outvote the living.
func TestGhostsCountAsVoters(t *testing.T) {
	for _, reset := range []bool{false, true} {
		l := watchedPair(t, 5)
		living := slices.Clone(sentinels)
		for i, old := range living {
			if err := l.Stop(old, true); err != nil {
				t.Fatal(err)
			}
			l.pass(2 * time.Second)
			living[i] = strings.Replace(old, "10.1.1.", "10.1.2.", 1)
			l.start(Config{Addr: living[i], Kind: Sentinel, Store: "s", Monitor: master})
			l.pass(5 * time.Second)
		}
		peers := pairs(l.must(living[0], "SENTINEL MASTER mymaster"))["num-other-sentinels"]
		if peers != "4" {
			t.Errorf("%s peers at the first, of which two are ghosts", peers)
		}
		if reset {
			for _, s := range living {
				l.must(s, "SENTINEL RESET mymaster")
				l.pass(13 * time.Second)
			}
		}
		if err := l.Stop(living[2], false); err != nil {
			t.Fatal(err)
		}
		if err := l.Stop(master, false); err != nil {
			t.Fatal(err)
		}
		l.pass(40 * time.Second)
		a := l.must(living[0], "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster").([]any)
		if failed := fmt.Sprint(a[0], ":", a[1]) == replica; failed != reset {
			t.Errorf("reset %v: failed over %v\n%s", reset, failed, strings.Join(l.Log(), "\n"))
		}
	}
}

func TestResetIsBlindForAWhile(t *testing.T) {
	l := watchedPair(t, 6)
	l.must(sentinels[0], "SENTINEL RESET mymaster")
	if got := l.must(sentinels[0], "SENTINEL REPLICAS mymaster"); len(got.([]any)) != 0 {
		t.Errorf("replicas after RESET: %v", got)
	}
	if got := fmt.Sprint(l.ask(sentinels[0], "SENTINEL FAILOVER mymaster")); got != "NOGOODSLAVE No suitable replica to promote" {
		t.Error(got)
	}
	if got := fmt.Sprint(l.ask(sentinels[0], "SENTINEL CKQUORUM mymaster")); !strings.HasPrefix(got, "NOQUORUM 1 usable Sentinels. Not enough") {
		t.Error(got)
	}
	d := l.until(20*time.Second, "sight", func() bool { return l.agreed(master, 1, 2) })
	within(t, "blindness", d, 200*time.Millisecond, 11*time.Second)
}

// TestStaleEntryIsDangerous: whoever answers at the address of a replica that is gone is made one.
func TestStaleEntryIsDangerous(t *testing.T) {
	l := watchedPair(t, 7)
	if err := l.Stop(replica, true); err != nil {
		t.Fatal(err)
	}
	l.pass(30 * time.Second)
	if r := pairs(l.must(sentinels[0], "SENTINEL REPLICAS mymaster").([]any)[0]); r["flags"] != "s_down,slave,disconnected" {
		t.Errorf("flags %q", r["flags"])
	}
	l.start(Config{Addr: replica, Store: "other", Keys: 7777})
	d := l.until(time.Minute, "conversion", func() bool { return l.field(replica, "role") == "slave" })
	within(t, "conversion", d, 8*time.Second, 13*time.Second)
	l.until(time.Minute, "copy", func() bool { return l.linked(replica) })
	if got := l.must(replica, "DBSIZE"); got != int64(300000) {
		t.Errorf("the stranger has %v keys", got)
	}
}

// TestHiddenReplica: a temporary one that is not announced and has no priority is neither listed nor promoted.
func TestHiddenReplica(t *testing.T) {
	const temp = "10.1.0.9:6379"
	l := watchedPair(t, 8)
	l.start(Config{Addr: temp, Store: "s", Priority: -1, Settings: map[string]string{"replica-announced": "no"}})
	l.must(temp, "REPLICAOF 10.1.0.1 6379")
	l.pass(40 * time.Second)
	for _, s := range sentinels {
		if got := names(l.must(s, "SENTINEL REPLICAS mymaster")); len(got) != 1 || got[0] != "10.1.0.2" {
			t.Errorf("%s lists %v", s, got)
		}
	}
	if got := l.field(master, "connected_slaves"); got != "2" {
		t.Errorf("%s replicas", got)
	}
}

// TestSameNameMeansSameEntry: an announced name leads to the new address, and nothing goes stale.
func TestSameNameMeansSameEntry(t *testing.T) {
	l := newLab(t, Options{Seed: 9})
	l.SetName("orders-0", "10.1.0.1")
	l.SetName("orders-1", "10.1.0.2")
	l.start(Config{Addr: master, Store: "s", Announce: "orders-0"})
	l.start(Config{Addr: replica, Store: "s", Announce: "orders-1", ReplicaOf: "orders-0:6379"})
	for _, s := range sentinels {
		l.start(Config{Addr: s, Kind: Sentinel, Store: "s", Monitor: "orders-0:6379"})
	}
	l.settle("a settled pair", func() bool { return l.linked(replica) && l.agreed("orders-0:6379", 1, 2) })
	if err := l.Stop(replica, true); err != nil {
		t.Fatal(err)
	}
	l.pass(8 * time.Second)
	l.SetName("orders-1", "10.1.0.5")
	l.start(Config{Addr: "10.1.0.5:6379", Store: "s", Announce: "orders-1", ReplicaOf: "orders-0:6379"})
	l.until(20*time.Second, "one clean entry", func() bool { return l.agreed("orders-0:6379", 1, 2) })
}

func TestFenceRefusesWrites(t *testing.T) {
	l := newLab(t, Options{})
	l.start(Config{Addr: master})
	l.must(master, "CONFIG SET min-replicas-to-write 1 min-replicas-max-lag 2")
	if got := fmt.Sprint(l.ask(master, "SET a b")); got != "NOREPLICAS Not enough good replicas to write." {
		t.Error(got)
	}
	l.start(Config{Addr: replica, ReplicaOf: master})
	l.until(time.Minute, "link", func() bool { return l.linked(replica) })
	if got := fmt.Sprint(l.ask(replica, "SET a b")); got != "READONLY You can't write against a read only replica." {
		t.Error(got)
	}
	l.must(master, "SET a b")
	if got := l.must(master, "WAIT 1 1000"); got != int64(1) {
		t.Errorf("WAIT: %v", got)
	}
	if got := l.must(replica, "GET a"); got != "b" {
		t.Errorf("GET: %v", got)
	}
	if err := l.Freeze(replica, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	l.pass(5 * time.Second)
	if got := fmt.Sprint(l.ask(master, "SET a c")); !strings.HasPrefix(got, "NOREPLICAS") {
		t.Errorf("with a replica that has been silent for 5 s: %s", got)
	}
}

func TestPauseHoldsWritesAndLapses(t *testing.T) {
	l := newLab(t, Options{})
	l.start(Config{Addr: master})
	l.must(master, "CLIENT PAUSE 700 WRITE")
	if l.must(master, "PING"); l.since(l.World.now) != 0 {
		t.Error("a read waited")
	}
	begin := l.clock
	l.must(master, "SET a b")
	within(t, "the write", l.since(begin), 700*time.Millisecond, 800*time.Millisecond)
}

// TestFenceWithoutPause loses at most what is on its way at the moment of the promotion, but clients see errors, and the old master's stream has gone on alone.
func TestFenceWithoutPause(t *testing.T) {
	l := watchedPair(t, 12)
	l.Write(Client{Store: "s", Rate: 100})
	l.Write(Client{Store: "s", Rate: 100, Kind: Sticky})
	l.pass(5 * time.Second)
	l.must(master, "CONFIG SET min-replicas-to-write 1 min-replicas-max-lag 2")
	l.must(sentinels[0], "SENTINEL FAILOVER mymaster")
	l.settle("demotion", func() bool { return l.field(master, "role") == "slave" })
	l.settle("link", func() bool { return l.linked(master) })
	if r := l.Report("s"); r.Lost > 2 || r.Failed == 0 || r.Errors["NOREPLICAS"] == 0 {
		t.Errorf("%+v", r)
	}
	if full, part := l.field(replica, "sync_full"), l.field(replica, "sync_partial_ok"); full != "1" || part != "0" {
		t.Errorf("%s full copies, %s partial", full, part)
	}
}

// TestRebuiltMaster comes up empty and writable, and its replica follows it into emptiness.
func TestRebuiltMaster(t *testing.T) {
	l := watchedPair(t, 13)
	if err := l.Stop(master, true); err != nil {
		t.Fatal(err)
	}
	l.pass(time.Second)
	l.start(Config{Addr: master, Store: "s"})
	l.must(master, "SET a b")
	l.settle("link", func() bool { return l.linked(replica) })
	if got := l.must(replica, "DBSIZE"); got != int64(1) {
		t.Errorf("the replica has %v keys", got)
	}
}

func TestPasswords(t *testing.T) {
	l := newLab(t, Options{Seed: 14})
	l.start(Config{Addr: master, Password: "secret"})
	l.start(Config{Addr: replica, ReplicaOf: master, Password: "secret", MasterAuth: "wrong"})
	l.start(Config{Addr: sentinels[0], Kind: Sentinel, Monitor: master, MasterAuth: "wrong"})
	if got := fmt.Sprint(l.ask(master, "SET a b")); got != "NOAUTH Authentication required." {
		t.Error(got)
	}
	if got := fmt.Sprint(l.ask(master, "AUTH nonsense")); got != "WRONGPASS invalid username-password pair or user is disabled." {
		t.Error(got)
	}
	l.must(master, "AUTH default secret")
	l.must(master, "SET a b")
	l.pass(20 * time.Second)
	l.must(replica, "AUTH secret")
	if l.linked(replica) {
		t.Error("a replica with the wrong password has a link")
	}
	if got := pairs(l.must(sentinels[0], "SENTINEL MASTER mymaster"))["flags"]; !strings.HasPrefix(got, "s_down,") {
		t.Errorf("a Sentinel with the wrong password sees %s", got)
	}
	l.must(replica, "CONFIG SET masterauth secret")
	l.must(sentinels[0], "SENTINEL SET mymaster auth-pass secret")
	l.settle("link", func() bool { return l.linked(replica) })
	if got := pairs(l.must(sentinels[0], "SENTINEL MASTER mymaster"))["flags"]; got != "master" {
		t.Errorf("a Sentinel with the right password sees %s", got)
	}
}

func TestNobodyAnswers(t *testing.T) {
	for _, hole := range []bool{false, true} {
		l := newLab(t, Options{BlackHole: hole, Timeout: 3 * time.Second})
		begin := l.clock
		_, err := l.Connect(t.Context(), master)
		if err == nil || strings.Contains(err.Error(), "timeout") != hole || (l.since(begin) >= 3*time.Second) != hole {
			t.Errorf("black hole %v: %v after %v", hole, err, l.since(begin))
		}
		l.start(Config{Addr: master})
		l.must(master, "PING")
		if err := l.Freeze(master, time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(l.ask(master, "PING")); !strings.Contains(got, "timeout") {
			t.Errorf("a frozen process: %s", got)
		}
		if err := l.Stop(master, false); err != nil {
			t.Fatal(err)
		}
		if _, err := l.conns[master].Do(t.Context(), "PING"); err == nil {
			t.Error("a connection outlived its process")
		}
	}
}

// TestSameSeedSameLife: two worlds that are treated alike are alike, and how time is cut does not matter.
func TestSameSeedSameLife(t *testing.T) {
	life := func(cut time.Duration) string {
		l := watchedPair(t, 15)
		l.Write(Client{Store: "s"})
		l.must(sentinels[0], "SENTINEL FAILOVER mymaster")
		for d := time.Duration(0); d < time.Minute; d += cut {
			l.pass(cut)
			l.Masters("s")
		}
		if err := l.Stop(replica, false); err != nil {
			t.Fatal(err)
		}
		l.pass(time.Minute)
		return fmt.Sprintf("%s\n%+v", strings.Join(l.Log(), "\n"), l.Report("s"))
	}
	if a, b := life(time.Minute), life(20*time.Millisecond); a != b {
		t.Errorf("once\n%s\nand again\n%s", a, b)
	}
}

// TestVolumes: what a kill and a graceful end leave.
func TestVolumes(t *testing.T) {
	for _, c := range []struct {
		aof, graceful, kept, partial bool
	}{{true, false, true, false}, {true, true, true, false}, {false, false, false, false}, {false, true, true, true}} {
		l := newLab(t, Options{Seed: 1})
		l.start(Config{Addr: master})
		l.start(Config{Addr: replica, ReplicaOf: master, Volume: "v", AOF: c.aof})
		l.must(master, "SET a b")
		l.until(time.Minute, "link", func() bool { return l.linked(replica) })
		if err := l.Stop(replica, c.graceful); err != nil {
			t.Fatal(err)
		}
		l.must(master, "SET c d")
		l.start(Config{Addr: "10.1.0.7:6379", Volume: "v", AOF: c.aof, ReplicaOf: master})
		if got := l.must("10.1.0.7:6379", "GET a"); (got == "b") != c.kept {
			t.Errorf("%+v: %v at once", c, got)
		}
		d := l.until(time.Minute, "link", func() bool { return l.linked("10.1.0.7:6379") })
		if (d < time.Second) != c.partial {
			t.Errorf("%+v: in sync after %v", c, d)
		}
		if got := l.must("10.1.0.7:6379", "GET c"); got != "d" {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestSilentReplicaIsDropped after repl-timeout, and finds its way back by itself.
func TestSilentReplicaIsDropped(t *testing.T) {
	l := newLab(t, Options{})
	l.start(Config{Addr: master})
	l.start(Config{Addr: replica, ReplicaOf: master})
	l.settle("link", func() bool { return l.linked(replica) })
	if err := l.Freeze(replica, 90*time.Second); err != nil {
		t.Fatal(err)
	}
	l.pass(30 * time.Second)
	if got := l.field(master, "connected_slaves"); got != "1" {
		t.Errorf("%s replicas after 30 s", got)
	}
	l.pass(35 * time.Second)
	if got := l.field(master, "connected_slaves"); got != "0" {
		t.Errorf("%s replicas after 65 s", got)
	}
	l.must(master, "SET a b")
	l.pass(30 * time.Second)
	l.settle("link", func() bool { return l.linked(replica) })
	if got := l.must(replica, "GET a"); got != "b" {
		t.Error(got)
	}
}
