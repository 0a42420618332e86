package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// ring is three shards: masters a1, b1, c1, replicas a2, b2, c2, each with a volume.
type ring struct {
	*lab
	addr map[string]string
	last int // of the addresses given
}

const temp = "t"

func newRing(t *testing.T, seed uint64, names ...string) *ring {
	t.Helper()
	r := &ring{lab: newLab(t, Options{Seed: seed}), addr: map[string]string{}}
	masters, replicas := []string{}, map[string]string{}
	for _, n := range names {
		r.begin(n, Config{})
		if strings.HasSuffix(n, "1") {
			masters = append(masters, r.addr[n])
		}
	}
	for _, n := range names {
		if !strings.HasSuffix(n, "1") {
			replicas[r.addr[n]] = r.addr[n[:1]+"1"]
		}
	}
	if err := r.Join(masters, replicas); err != nil {
		t.Fatal(err)
	}
	r.settle("a settled cluster", func() bool { return r.settled(names...) })
	return r
}

func sixNodes(t *testing.T, seed uint64) *ring {
	t.Helper()
	return newRing(t, seed, "a1", "a2", "b1", "b2", "c1", "c2")
}

// begin starts a node at an address that nobody had.
func (r *ring) begin(name string, c Config) {
	r.t.Helper()
	r.last++
	c.Addr, c.Store, c.Cluster = fmt.Sprintf("10.2.0.%d:6379", r.last), "c", true
	c.Announce, _ = split(c.Addr)
	if c.Volume == "" && name != temp {
		c.Volume = name
	}
	r.start(c)
	r.addr[name] = c.Addr
}

func (r *ring) kill(name string, graceful bool) {
	r.t.Helper()
	if err := r.Stop(r.addr[name], graceful); err != nil {
		r.t.Fatal(err)
	}
}

func (r *ring) id(name string) string { return r.must(r.addr[name], "CLUSTER MYID").(string) }

// view is a node's line in what another sees: its words.
func (r *ring) view(by, id string) []string {
	text, _ := r.ask(r.addr[by], "CLUSTER NODES").(string)
	for line := range strings.Lines(text) {
		if w := strings.Fields(line); w[0] == id {
			return w
		}
	}
	return nil
}

func (r *ring) settled(names ...string) bool {
	for _, n := range names {
		text, _ := r.ask(r.addr[n], "CLUSTER INFO").(string)
		if !strings.HasPrefix(text, "cluster_state:ok") {
			return false
		}
		if w := r.view(n, r.id(n)); strings.Contains(w[2], "slave") && !r.linked(r.addr[n]) {
			return false
		}
	}
	return true
}

// owns tells whether all of some see a node as a master with slots.
func (r *ring) owns(name string, seen ...string) bool {
	id := r.id(name)
	for _, by := range seen {
		if w := r.view(by, id); w == nil || !strings.Contains(w[2], "master") || len(w) < 9 {
			return false
		}
	}
	return true
}

// replicates tells whether all of some see a node as a replica of another.
func (r *ring) replicates(name, of string, seen ...string) bool {
	id, master := r.id(name), r.id(of)
	for _, by := range seen {
		if w := r.view(by, id); w == nil || !strings.Contains(w[2], "slave") || w[3] != master {
			return false
		}
	}
	return true
}

var six = []string{"a1", "a2", "b1", "b2", "c1", "c2"}

func TestManualFailoverIsNearlyFree(t *testing.T) {
	for seed := range uint64(4) {
		r := sixNodes(t, seed)
		r.Write(Client{Store: "c", Rate: 200})
		r.pass(3 * time.Second)
		r.must(r.addr["a2"], "CLUSTER FAILOVER")
		swap := r.until(6*time.Second, "swap", func() bool { return r.owns("a2", "a2") })
		within(t, "the swap", swap, 0, 150*time.Millisecond)
		all := r.until(6*time.Second, "agreement", func() bool { return r.owns("a2", six...) })
		within(t, "agreement", swap+all, 0, 300*time.Millisecond)
		within(t, "word of the other role", r.until(6*time.Second, "word of the other role", func() bool { return r.replicates("a1", "a2", six...) }), 0, 4*time.Second)
		r.pass(10 * time.Second)
		got := r.Report("c")
		if got.Lost != 0 || got.Failed != 0 || got.Gap > 200*time.Millisecond || got.Failovers["0"] != 1 || got.Acked < 2000 {
			t.Errorf("seed %d: %+v", seed, got)
		}
		if !r.linked(r.addr["a1"]) || r.field(r.addr["a2"], "sync_partial_ok") != "1" {
			t.Error("the old master did not go on from where it was")
		}
	}
}

func TestForceLosesWrites(t *testing.T) {
	for _, how := range []string{"FORCE", "TAKEOVER"} {
		lost := 0
		for seed := range uint64(6) {
			r := sixNodes(t, seed)
			for range 4 {
				r.Write(Client{Store: "c", Rate: 1000})
			}
			r.pass(3 * time.Second)
			r.must(r.addr["a2"], "CLUSTER FAILOVER "+how)
			r.until(6*time.Second, "swap", func() bool { return r.owns("a2", six...) })
			r.pass(2 * time.Second)
			lost += r.Report("c").Lost
		}
		if lost == 0 {
			t.Errorf("%s lost nothing in six runs", how)
		}
	}
}

// enter makes the temporary node a replica of a1, and waits until it is in sync.
func (r *ring) enter() {
	r.t.Helper()
	r.begin(temp, Config{Settings: map[string]string{"cluster-replica-no-failover": "yes", "repl-diskless-sync-delay": "0"}})
	host, port := split(r.addr["a1"])
	r.must(r.addr[temp], fmt.Sprintf("CLUSTER MEET %s %d", host, port))
	r.until(20*time.Second, "known everywhere", func() bool {
		return !slices.ContainsFunc(six, func(n string) bool { return r.view(n, r.id(temp)) == nil || r.view(temp, r.id(n)) == nil })
	})
	r.must(r.addr[temp], "CLUSTER REPLICATE "+r.id("a1"))
}

// TestSameNodeAgainSoon: who has taken over cannot do so again before four node timeouts have passed, though Redis says OK.
func TestSameNodeAgainSoon(t *testing.T) {
	r := sixNodes(t, 12)
	swap := func(to string) bool {
		if got := r.must(r.addr[to], "CLUSTER FAILOVER"); got != "OK" {
			t.Error(got)
		}
		r.pass(6 * time.Second)
		return r.owns(to, to)
	}
	if !swap("a2") || !swap("a1") {
		t.Fatal("there and back")
	}
	if swap("a2") {
		t.Error("12 s after it took over, a node did it again")
	}
	r.pass(3 * time.Second)
	if !swap("a2") {
		t.Error("21 s after it took over, a node could not do it again")
	}
}

func TestOkOfAFailoverMeansNothing(t *testing.T) {
	r := sixNodes(t, 2)
	r.must(r.addr["a1"], "CONFIG SET repl-diskless-sync-delay 0")
	r.enter()
	if got := r.must(r.addr[temp], "CLUSTER FAILOVER"); got != "OK" {
		t.Error(got)
	}
	r.pass(6 * time.Second)
	if r.owns(temp, temp) {
		t.Fatal("a master gave way to a replica that it had not heard of")
	}
	r.until(10*time.Second, "seen as a replica", func() bool { return r.replicates(temp, "a1", six...) })
	r.must(r.addr[temp], "CLUSTER FAILOVER")
	r.until(time.Second, "swap", func() bool { return r.owns(temp, six...) })
}

func TestGossipOfAReplicaTakesAWhile(t *testing.T) {
	for seed := range uint64(5) {
		r := sixNodes(t, seed)
		r.must(r.addr["a1"], "CONFIG SET repl-diskless-sync-delay 0")
		r.enter()
		d := r.until(10*time.Second, "seen as a replica", func() bool { return r.replicates(temp, "a1", six...) })
		within(t, "gossip", d, 300*time.Millisecond, 4*time.Second)
	}
}

// TestThereAndBack is a whole move by a temporary node: nothing is lost, and nothing of it stays.
func TestThereAndBack(t *testing.T) {
	r := sixNodes(t, 3)
	for _, n := range six {
		r.must(r.addr[n], "CONFIG SET cluster-allow-replica-migration no")
	}
	r.Write(Client{Store: "c", Rate: 200})
	r.enter()
	r.until(20*time.Second, "seen as a replica", func() bool { return r.replicates(temp, "a1", six...) && r.linked(r.addr[temp]) })
	r.must(r.addr[temp], "CLUSTER FAILOVER")
	r.until(4*time.Second, "swap", func() bool { return r.owns(temp, six...) && r.replicates("a1", temp, six...) })
	r.pass(5 * time.Second)
	id := r.id("a1")
	r.kill("a1", true)
	r.pass(2 * time.Second)
	r.begin("a1", Config{})
	if r.id("a1") != id {
		t.Fatal("nodes.conf did not keep the id")
	}
	d := r.until(10*time.Second, "the new address", func() bool {
		return !slices.ContainsFunc(six, func(n string) bool {
			w := r.view(n, id)
			return w == nil || !strings.HasPrefix(w[1], r.addr["a1"])
		})
	})
	within(t, "the new address", d, 10*time.Millisecond, 1500*time.Millisecond)
	r.until(20*time.Second, "sync", func() bool { return r.linked(r.addr["a1"]) && r.replicates("a1", temp, six...) })
	r.must(r.addr["a1"], "CLUSTER FAILOVER")
	r.until(6*time.Second, "swap", func() bool { return r.owns("a1", six...) && r.replicates(temp, "a1", six...) })
	gone := r.id(temp)
	r.must(r.addr[temp], "CLUSTER RESET HARD")
	for _, n := range six {
		r.must(r.addr[n], "CLUSTER FORGET "+gone)
	}
	r.kill(temp, true)
	r.pass(90 * time.Second)
	for _, n := range six {
		if text := r.must(r.addr[n], "CLUSTER NODES").(string); strings.Count(text, "\n") != 6 || strings.Contains(text, "fail") {
			t.Errorf("%s sees\n%s", n, text)
		}
	}
	if got := r.Report("c"); got.Lost != 0 || got.Failed != 0 || got.Failovers["0"] != 2 {
		t.Errorf("%+v", got)
	}
}

func TestForgetMissingOnOneBringsItBack(t *testing.T) {
	r := sixNodes(t, 4)
	r.enter()
	r.until(20*time.Second, "seen as a replica", func() bool { return r.replicates(temp, "a1", six...) })
	id := r.id(temp)
	for _, n := range six[:5] {
		r.must(r.addr[n], "CLUSTER FORGET "+id)
	}
	r.pass(55 * time.Second)
	for _, n := range six[:5] {
		if r.view(n, id) != nil {
			t.Errorf("%s knows it again within the ban", n)
		}
	}
	r.until(10*time.Second, "back everywhere", func() bool {
		return !slices.ContainsFunc(six, func(n string) bool { return r.view(n, id) == nil })
	})
}

func TestMasterOfAShardDies(t *testing.T) {
	r := sixNodes(t, 5)
	r.Write(Client{Store: "c", Rate: 200})
	r.pass(3 * time.Second)
	r.kill("a1", false)
	d := r.until(time.Minute, "election", func() bool { return r.owns("a2", "a2", "b1", "c1") })
	within(t, "the election", d, 5*time.Second, 12*time.Second)
	r.pass(5 * time.Second)
	r.begin("a1", Config{})
	r.until(20*time.Second, "rejoin", func() bool { return r.replicates("a1", "a2", six...) && r.settled(six...) })
	if got := r.Report("c"); got.Lost > 2 || got.Failed == 0 {
		t.Errorf("%+v", got)
	}
}

// TestWholeShardLost: without a copy that may take over, its slots are nobody's, and the cluster is down until a person decides.
func TestWholeShardLost(t *testing.T) {
	r := newRing(t, 6, "a1", "a2", "b1", "b2", "c1", "c2")
	for _, n := range six {
		r.must(r.addr[n], "CONFIG SET cluster-allow-replica-migration no")
	}
	w := r.Write(Client{Store: "c", Rate: 200})
	r.pass(3 * time.Second)
	r.kill("a2", true)
	r.pass(5 * time.Second)
	r.kill("a1", false)
	r.pass(2 * time.Second)
	r.begin("a2", Config{})
	r.pass(40 * time.Second)
	if got, _ := r.ask(r.addr["b1"], "CLUSTER INFO").(string); !strings.HasPrefix(got, "cluster_state:fail") {
		t.Error(got)
	}
	if r.owns("a2", "a2") {
		t.Error("a replica that had lost its master before it started stood for election")
	}
	if got := fmt.Sprint(r.ask(r.addr["a2"], "CLUSTER FAILOVER")); !strings.HasPrefix(got, "ERR Master is down or failed") {
		t.Error(got)
	}
	r.must(r.addr["a2"], "CLUSTER FAILOVER TAKEOVER")
	r.until(20*time.Second, "an ok cluster", func() bool { return r.settled("a2", "b1", "b2", "c1", "c2") })
	w.Stop()
	if got := r.Report("c"); got.Lost == 0 {
		t.Errorf("%+v", got)
	}
}

// TestOrphanTakesAReplica of another shard, when that is allowed.
func TestOrphanTakesAReplica(t *testing.T) {
	for _, allowed := range []string{"yes", "no"} {
		r := newRing(t, 7, "a1", "a2", "a3", "b1", "b2", "c1", "c2")
		for _, n := range []string{"a2", "a3"} {
			r.must(r.addr[n], "CONFIG SET cluster-allow-replica-migration "+allowed)
		}
		r.kill("b2", true)
		r.pass(25 * time.Second)
		moved := r.replicates("a2", "b1", "a2") || r.replicates("a3", "b1", "a3")
		if moved != (allowed == "yes") {
			t.Errorf("%s: moved %v\n%s", allowed, moved, strings.Join(r.Log(), "\n"))
		}
	}
}

func TestCandidateFreezes(t *testing.T) {
	r := sixNodes(t, 8)
	r.Write(Client{Store: "c", Rate: 100, Keys: 1}) // its one key decides which shard is meant
	r.pass(2 * time.Second)
	var from, to string
	for _, s := range []string{"a", "b", "c"} {
		if r.field(r.addr[s+"1"], "db0") != "" {
			from, to = s+"1", s+"2"
		}
	}
	r.must(r.addr[to], "CLUSTER FAILOVER")
	if err := r.Freeze(r.addr[to], 4*time.Second); err != nil {
		t.Fatal(err)
	}
	r.pass(12 * time.Second)
	if got := r.Report("c"); got.Lost != 0 || got.Gap < 2900*time.Millisecond || got.Gap > 6*time.Second {
		t.Errorf("%+v, %s", got, from)
	}
}

func TestAllAddressesNewAtOnce(t *testing.T) {
	r := sixNodes(t, 9)
	for _, n := range six {
		r.kill(n, true)
	}
	for _, n := range six {
		r.begin(n, Config{})
	}
	r.pass(time.Minute)
	if r.settled(six...) {
		t.Fatal("a cluster whose nodes know only addresses that are gone healed by itself")
	}
	for _, n := range six[1:] {
		host, port := split(r.addr[n])
		r.must(r.addr["a1"], fmt.Sprintf("CLUSTER MEET %s %d", host, port))
	}
	d := r.until(time.Minute, "healing", func() bool { return r.settled(six...) })
	within(t, "healing", d, 500*time.Millisecond, 30*time.Second)
}

// TestWithoutAnnouncedAddress a node that has moved lists itself where it was.
func TestWithoutAnnouncedAddress(t *testing.T) {
	r := sixNodes(t, 10)
	r.must(r.addr["a2"], "CONFIG SET cluster-announce-ip 10.2.0.2")
	before := r.addr["a2"]
	r.kill("a2", true)
	r.start(Config{Addr: "10.2.0.99:6379", Store: "c", Cluster: true, Volume: "a2"})
	r.addr["a2"] = "10.2.0.99:6379"
	r.pass(5 * time.Second)
	id := r.id("a2")
	if w := r.view("a2", id); !strings.HasPrefix(w[1], before+"@") {
		t.Errorf("it sees itself at %s", w[1])
	}
	if w := r.view("b1", id); !strings.HasPrefix(w[1], "10.2.0.99:6379@") {
		t.Errorf("the others see it at %s", w[1])
	}
}

func TestRefusals(t *testing.T) {
	r := sixNodes(t, 11)
	for _, c := range []struct{ at, say, want string }{
		{"a2", "CLUSTER FORGET " + r.id("a1"), "ERR Can't forget my master!"},
		{"a2", "CLUSTER FORGET " + r.id("a2"), "ERR I tried hard but I can't forget myself..."},
		{"a2", "CLUSTER FORGET 123", "ERR Unknown node 123"},
		{"a2", "CLUSTER REPLICATE " + r.id("b2"), "ERR I can only replicate a master, not a replica."},
		{"a2", "CLUSTER REPLICATE " + r.id("a2"), "ERR Can't replicate myself"},
		{"a1", "CLUSTER REPLICATE " + r.id("b1"), "ERR To set a master the node must be empty and without assigned slots."},
		{"a1", "CLUSTER FAILOVER", "ERR You should send CLUSTER FAILOVER to a replica"},
		{"a1", "REPLICAOF NO ONE", "ERR REPLICAOF not allowed in cluster mode."},
		{"a1", "CLUSTER MEET x 1", "ERR Invalid node address specified: x:1"},
		{"a1", "CLUSTER RESET FOO", "ERR syntax error"},
		{"b1", "SET foo bar", "MOVED 12182 " + r.addr["c1"]},
	} {
		if got := fmt.Sprint(r.ask(r.addr[c.at], c.say)); got != c.want {
			t.Errorf("%s at %s: %s, want %s", c.say, c.at, got, c.want)
		}
	}
}

func TestSlots(t *testing.T) {
	if a, b := slotOf("foo"), slotOf("x{foo}y"); a != 12182 || b != a {
		t.Errorf("slots of foo: %d, %d", a, b)
	}
	all := spans{{0, 99}}
	rest := all.minus(spans{{10, 19}, {50, 50}})
	if rest.String() != "0-9 20-49 51-99" || rest.count() != 89 || rest.plus(spans{{10, 19}}).String() != "0-49 51-99" {
		t.Error(rest, rest.plus(spans{{10, 19}}))
	}
}
