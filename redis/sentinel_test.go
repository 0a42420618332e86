package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"drover.dev/fleet"
)

// group is one master, two replicas and three Sentinels.
type group struct {
	data      map[string]*server
	sentinels []*server
	st        fleet.Store
}

func newGroup(t *testing.T) *group {
	g := &group{data: map[string]*server{}, st: fleet.Store{Name: "shop/orders", Mover: fleet.SentinelMover, Spec: fleet.StoreSpec{Watchers: 3}}}
	for i := range 3 {
		name, ip := fmt.Sprintf("r-%d", i), newIP()
		var args []string
		if i > 0 {
			args = []string{"--replicaof", g.data["r-0"].ip, "6379"}
		}
		g.data[name] = start(t, ip, 6379, args...)
		g.st.Members = append(g.st.Members, g.data[name].member(name))
	}
	eventually(t, 20*time.Second, "both replicas in sync", func() bool {
		return g.data["r-1"].info()["master_link_status"] == "up" && g.data["r-2"].info()["master_link_status"] == "up"
	})
	for i := range 3 {
		s := startSentinel(t, newIP(), g.data["r-0"].ip, 6379, "")
		s.do("SENTINEL DEBUG INFO-PERIOD 500")
		s.do("SENTINEL DEBUG PUBLISH-PERIOD 300")
		g.sentinels = append(g.sentinels, s)
		g.st.Sentinels = append(g.st.Sentinels, s.sentinel(fmt.Sprintf("s-%d", i)))
	}
	return g
}

// settle waits until all Sentinels agree on a master and have found all there is.
func (g *group) settle(t *testing.T, h *Hand, master string) fleet.Store {
	t.Helper()
	var st fleet.Store
	settled := false
	defer func() {
		if !settled {
			t.Logf("as it is: %+v", st)
		}
	}()
	eventually(t, 25*time.Second, "Sentinels agree on "+master, func() bool {
		st = observed(h, g.st)
		for _, w := range st.Sentinels {
			if w.Trouble != "" || w.NoQuorum != "" || w.Down || w.Failover || len(w.Peers) != 2 || st.At(w.Master) == nil || st.At(w.Master).Pod.Name != master {
				return false
			}
			up := 0
			for _, r := range w.Replicas {
				if !r.Down && r.Prio > 0 {
					up++
				}
			}
			if up != 2 || len(w.Replicas) != 2 {
				return false
			}
		}
		for _, m := range st.Members {
			if m.Pod.Name != master && !m.Link {
				return false
			}
		}
		return true
	})
	settled = true
	return st
}

// ready waits until the Sentinels have heard of the priorities that prefer heir.
func (g *group) ready(t *testing.T, h *Hand, master, heir string) fleet.Store {
	t.Helper()
	var st fleet.Store
	eventually(t, 10*time.Second, "Sentinels hear that "+heir+" is preferred", func() bool {
		st = g.settle(t, h, master)
		for _, w := range st.Sentinels {
			for _, r := range w.Replicas {
				if (st.At(r.Address).Pod.Name == heir) != (r.Prio == 10) {
					return false
				}
			}
		}
		return true
	})
	return st
}

func TestSentinelGroup(t *testing.T) {
	g := newGroup(t)
	h := newHand(t, nil)
	st := g.settle(t, h, "r-0")
	steps := []struct {
		name string
		step func(*testing.T, *group, *Hand, fleet.Store)
	}{
		{"observe", observeGroup},
		{"settings", changeSettings},
		{"switch is refused", refuseSwitch},
		{"switch under load", switchUnderLoad},
		{"half switched", demoteAfterCrash},
		{"two masters with data", refuseDemote},
		{"attach", attachRebuilt},
		{"reset", resetSentinel},
		{"probe", probeGroup},
	}
	for _, s := range steps {
		if !t.Run(s.name, func(t *testing.T) { s.step(t, g, h, st) }) {
			t.FailNow()
		}
	}
}

func observeGroup(t *testing.T, g *group, _ *Hand, st fleet.Store) {
	if st.Trouble != "" || st.Read.IsZero() {
		t.Errorf("trouble %q, read %v", st.Trouble, st.Read)
	}
	m, r := st.Member("r-0"), st.Member("r-1")
	if m.Trouble != "" || m.Role != fleet.RoleMaster || len(m.Replicas) != 2 || m.RunID == "" || m.Priority != 100 || m.Offset == 0 || m.Fence != (fleet.Fence{Lag: 10}) {
		t.Errorf("master: %+v", m)
	}
	if r.Trouble != "" || r.Role != fleet.RoleReplica || !r.Link || r.Loading || st.At(r.Master) != m {
		t.Errorf("replica: %+v", r)
	}
	for _, replica := range m.Replicas {
		if !replica.Online || st.At(replica.Address) == nil {
			t.Errorf("replica %+v of the master is not known", replica)
		}
	}
	if real := address(g.data["r-0"].ip, "6379"); st.At(real) != m || st.At(address(apiIP(g.data["r-0"].ip), "6379")) != m {
		t.Errorf("master is known as %v, and not as %s and by the pod's address", m.Known, real)
	}
	w := st.Sentinels[0]
	if w.ID == "" || w.Quorum != 2 || w.Peers[0].ID == "" || w.Replicas[0].ID == "" || w.Replicas[0].Prio != 100 || len(w.Known) != 2 {
		t.Errorf("sentinel: %+v", w)
	}
}

func changeSettings(t *testing.T, g *group, h *Hand, st fleet.Store) {
	fence := fleet.Action{Verb: fleet.Fence_, Pod: ref("r-0"), Fence: fleet.Fence{Replicas: 2, Lag: 2}}
	for range 2 {
		mustAct(t, h, st, fence)
	}
	if g.data["r-0"].setting(setFence) != "2" || g.data["r-0"].setting(setLag) != "2" {
		t.Error("the fence is not set")
	}
	fence.Fence = fleet.Fence{Lag: 10}
	mustAct(t, h, st, fence)
	if g.data["r-0"].setting(setFence) != "0" || g.data["r-0"].setting(setLag) != "10" {
		t.Error("the fence is not taken back")
	}
	mustAct(t, h, st, fleet.Action{Verb: fleet.Prefer, Pod: ref("r-1"), To: 10})
	if g.data["r-1"].setting(setPriority) != "10" {
		t.Error("the priority is not set")
	}
	fence.Pod.UID = "another"
	mustRefuse(t, h, st, fence, "is another one by now")
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Prefer, Pod: ref("r-9"), To: 10}, "none of the members")
	if err := act(h, st, fleet.Action{Verb: fleet.Evict, Pod: ref("r-0")}); err == nil {
		t.Error("evicting is no verb of this hand")
	}
}

func refuseSwitch(t *testing.T, g *group, h *Hand, st fleet.Store) {
	to := fleet.Action{Verb: fleet.Switch, Pod: ref("r-0"), Peer: ref("r-1")}
	mustRefuse(t, h, st, to, "is not fenced")
	mustAct(t, h, st, fleet.Action{Verb: fleet.Fence_, Pod: ref("r-0"), Fence: fleet.Fence{Replicas: 1, Lag: 2}})
	mustRefuse(t, h, st, to, "needs 2, the number of its replicas")
	mustAct(t, h, st, fleet.Action{Verb: fleet.Fence_, Pod: ref("r-0"), Fence: fleet.Fence{Replicas: 2, Lag: 2}})

	fewer := st.Clone()
	fewer.Sentinels = fewer.Sentinels[:2]
	mustRefuse(t, h, fewer, to, "has 2 Sentinels, needs 3")
	silent := st.Clone()
	silent.Sentinels[2].Port = 1
	mustRefuse(t, h, silent, to, "every Sentinel of store shop/orders has to answer: Sentinel in pod shop/s-2")
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Switch, Pod: ref("r-1"), Peer: ref("r-2")}, "and not pod shop/r-1")

	// The heir's process hangs: nothing may have happened to the master but a pause that is over.
	_ = g.data["r-1"].cmd.Process.Signal(syscall.SIGSTOP)
	mustRefuse(t, h, st, to, "did not answer within 2s")
	_ = g.data["r-1"].cmd.Process.Signal(syscall.SIGCONT)
	g.data["r-1"].do("REPLICAOF NO ONE")
	mustRefuse(t, h, st, to, "is no replica of pod shop/r-0")
	g.data["r-1"].do("REPLICAOF " + g.data["r-0"].ip + " 6379")
	eventually(t, 10*time.Second, "r-1 follows again", func() bool { return g.data["r-1"].info()["master_link_status"] == "up" })
	eventually(t, 5*time.Second, "the master takes writes", func() bool { _, err := g.data["r-0"].try("SET still writable"); return err == nil })
}

// writer writes as a service would, through the Sentinels, and notes what was acknowledged.
type writer struct {
	client *goredis.Client
	stop   context.CancelFunc
	done   sync.WaitGroup
	acked  []string
	failed []error
	gap    time.Duration
}

func (g *group) write(prefix string) *writer {
	var at []string
	for _, s := range g.sentinels {
		at = append(at, address(s.ip, fmt.Sprint(s.port)))
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &writer{stop: cancel, client: goredis.NewFailoverClient(&goredis.FailoverOptions{
		MasterName: "orders", SentinelAddrs: at, Protocol: 2, ReadTimeout: 5 * time.Second,
		MaxRetries: 10, MaxRetryBackoff: 100 * time.Millisecond,
	})}
	w.done.Go(func() {
		last := time.Now()
		for i := 0; ctx.Err() == nil; i++ {
			key := fmt.Sprintf("%s-%d", prefix, i)
			if err := w.client.Set(context.Background(), key, i, 0).Err(); err != nil {
				w.failed = append(w.failed, err)
				continue
			}
			w.acked, w.gap, last = append(w.acked, key), max(w.gap, time.Since(last)), time.Now()
		}
	})
	return w
}

// end stops the writer, and fails unless a server has all that was acknowledged.
func (w *writer) end(t *testing.T, on *server) {
	t.Helper()
	w.stop()
	w.done.Wait()
	_ = w.client.Close()
	lost := 0
	for _, key := range w.acked {
		if on.do("EXISTS "+key) != int64(1) {
			lost++
		}
	}
	if lost > 0 || len(w.failed) > 0 || len(w.acked) == 0 {
		t.Errorf("%d of %d acknowledged writes lost, %d failed (%v)", lost, len(w.acked), len(w.failed), errors.Join(w.failed...))
	}
	t.Logf("%d writes, longest gap %s", len(w.acked), w.gap)
}

func switchUnderLoad(t *testing.T, g *group, h *Hand, _ fleet.Store) {
	st := g.ready(t, h, "r-0", "r-1")
	w := g.write("switch")
	eventually(t, 5*time.Second, "writes flow", func() bool { return g.data["r-0"].info().keys() > 100 })
	to := fleet.Action{Verb: fleet.Switch, Pod: ref("r-0"), Peer: ref("r-1")}
	mustAct(t, h, st, to)
	before := g.data["r-1"].info().keys()
	eventually(t, 5*time.Second, "writes flow on", func() bool { return g.data["r-1"].info().keys() > before+100 })
	w.end(t, g.data["r-1"])
	mustAct(t, h, st, fleet.Action{Verb: fleet.Fence_, Pod: ref("r-0"), Fence: fleet.Fence{Lag: 10}})
	mustAct(t, h, st, fleet.Action{Verb: fleet.Prefer, Pod: ref("r-1"), To: 100})
	st = g.settle(t, h, "r-1")
	mustAct(t, h, st, to) // already so
	if r := st.Member("r-0"); r.Role != fleet.RoleReplica {
		t.Errorf("the old master is %s", r.Role)
	}
}

// demoteAfterCrash is drover dying right after it ordered the failover: the old master is still writable but for the fence.
func demoteAfterCrash(t *testing.T, g *group, h *Hand, _ fleet.Store) {
	mustAct(t, h, g.st, fleet.Action{Verb: fleet.Prefer, Pod: ref("r-2"), To: 10})
	st := g.ready(t, h, "r-1", "r-2")
	demote := fleet.Action{Verb: fleet.Demote, Pod: ref("r-1"), Peer: ref("r-2")}
	mustRefuse(t, h, st, demote, "is to be the master, but replicates")
	mustAct(t, h, st, fleet.Action{Verb: fleet.Fence_, Pod: ref("r-1"), Fence: fleet.Fence{Replicas: 2, Lag: 2}})
	g.sentinels[0].do("SENTINEL FAILOVER orders")
	eventually(t, 6*time.Second, "r-2 is promoted", func() bool { return g.data["r-2"].info().role() == fleet.RoleMaster })
	if _, err := g.data["r-1"].try("SET lost yes"); err == nil {
		t.Error("the fence let a write through")
	}
	eventually(t, 6*time.Second, "most Sentinels name r-2", func() bool {
		n := 0
		for _, w := range observed(h, g.st).Sentinels {
			if st.At(w.Master) != nil && st.At(w.Master).Pod.Name == "r-2" {
				n++
			}
		}
		return n >= 2
	})
	for range 2 {
		mustAct(t, h, st, demote)
	}
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Demote, Pod: ref("r-1"), Peer: ref("r-0")}, "is no master that would have to be demoted")
	mustAct(t, h, st, fleet.Action{Verb: fleet.Fence_, Pod: ref("r-1"), Fence: fleet.Fence{Lag: 10}})
	mustAct(t, h, st, fleet.Action{Verb: fleet.Prefer, Pod: ref("r-2"), To: 100})
	g.settle(t, h, "r-2")
}

// refuseDemote is an unfenced old master that went on acknowledging writes after its heir was promoted, while the heir has more of its own.
func refuseDemote(t *testing.T, g *group, h *Hand, _ fleet.Store) {
	mustAct(t, h, g.st, fleet.Action{Verb: fleet.Prefer, Pod: ref("r-1"), To: 10})
	st := g.ready(t, h, "r-2", "r-1")
	g.sentinels[1].do("SENTINEL FAILOVER orders")
	eventually(t, 6*time.Second, "r-1 is promoted", func() bool { return g.data["r-1"].info().role() == fleet.RoleMaster })
	g.data["r-2"].do("SET only here")
	for i := range 50 {
		g.data["r-1"].do(fmt.Sprintf("SET more-%d there", i))
	}
	demote := fleet.Action{Verb: fleet.Demote, Pod: ref("r-2"), Peer: ref("r-1")}
	eventually(t, 6*time.Second, "the hand sees two masters with data", func() bool {
		err := act(h, st, demote)
		return err != nil && strings.Contains(err.Error(), "two masters")
	})
	g.data["r-2"].do("SET goes on") // the pause is over
	mustAct(t, h, st, fleet.Action{Verb: fleet.Prefer, Pod: ref("r-1"), To: 100})
	g.data["r-2"].do("REPLICAOF " + g.data["r-1"].ip + " 6379") // what a person decides
	g.settle(t, h, "r-1")
}

func attachRebuilt(t *testing.T, g *group, h *Hand, _ fleet.Store) {
	attachOnOwnVolume(t, g, h)
	fresh := start(t, newIP(), 6379)
	st := observed(h, g.st)
	st.Members = append(st.Members, fresh.member("r-3"))
	to := fleet.Action{Verb: fleet.Attach, Pod: ref("r-3"), Peer: ref("r-1"), Effect: fleet.Unelected}
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Attach, Pod: ref("r-3"), Peer: ref("r-0")}, "is no master")
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Attach, Pod: ref("r-1"), Peer: ref("r-3")}, "may be the master of somebody")
	fresh.do("SET a 1")
	mustRefuse(t, h, st, to, "was written to since it started")
	fresh.do("FLUSHALL")
	fresh.do("CONFIG SET replica-announced no") // or the Sentinels would list it for ever
	for range 2 {
		mustAct(t, h, st, to)
	}
	eventually(t, 10*time.Second, "the new one follows", func() bool { return fresh.info()["master_link_status"] == "up" })
	if fresh.setting(setPriority) != "0" || fresh.info().keys() == 0 {
		t.Error("the temporary replica could be elected, or has no data")
	}
	g.settle(t, h, "r-1") // fails when the Sentinels list a third replica
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Attach, Pod: ref("r-3"), Peer: ref("r-0")}, "is no master that would have to be attached")
	fresh.do("REPLICAOF NO ONE")
	lent := st.Clone()
	lent.Members[3].Temp = true
	mustRefuse(t, h, lent, to, "was written to since it started") // lent or not, nobody knows what it has
	fresh.do("FLUSHALL")
	lonely := lent.Clone()
	lonely.Sentinels[0].Port, lonely.Sentinels[1].Port = 1, 1
	mustRefuse(t, h, lonely, to, "1 of 3 Sentinels of store shop/orders take pod shop/r-1")
	mustAct(t, h, lent, to)
}

// attachOnOwnVolume is a pod that comes back with the data that it had saved: nobody has written to it since.
func attachOnOwnVolume(t *testing.T, g *group, h *Hand) {
	volume := t.TempDir()
	before := start(t, newIP(), 6379, "--dir", volume)
	before.do("SET old data")
	before.do("SAVE")
	before.stop()
	back := start(t, newIP(), 6379, "--dir", volume)
	st := observed(h, g.st)
	back.do("CONFIG SET replica-announced no") // or the Sentinels would list it for ever
	st.Members = append(st.Members, back.member("r-4"))
	to := fleet.Action{Verb: fleet.Attach, Pod: ref("r-4"), Peer: ref("r-1"), Effect: fleet.Unelected}
	if back.info().keys() != 1 {
		t.Fatal("it has not loaded its data")
	}
	back.do("SET new write")
	mustRefuse(t, h, st, to, "has 2 keys, and was written to since it started")
	back.do("SAVE")
	mustRefuse(t, h, st, to, "was written to since it started")
	back.stop()
	again := start(t, newIP(), 6379, "--dir", volume, "--replica-announced", "no")
	st.Members[3] = again.member("r-4")
	mustAct(t, h, st, to)
	eventually(t, 10*time.Second, "it has the master's data", func() bool { return again.info()["master_link_status"] == "up" })
	if again.do("EXISTS old") != int64(0) {
		t.Error("it still has its own data")
	}
}

func resetSentinel(t *testing.T, g *group, h *Hand, _ fleet.Store) {
	st := g.settle(t, h, "r-1")
	reset := fleet.Action{Verb: fleet.Reset, Pod: ref("s-0")}
	silent := st.Clone()
	silent.Sentinels[2].Port = 1
	mustRefuse(t, h, silent, reset, "every Sentinel of store shop/orders has to answer")
	mustRefuse(t, h, st, fleet.Action{Verb: fleet.Reset, Pod: ref("s-9")}, "none of the Sentinels")
	strange := st.Clone()
	strange.Members = []fleet.Member{*st.Member("r-0")}
	mustRefuse(t, h, strange, reset, "no member of it is that")

	_ = g.data["r-2"].cmd.Process.Kill()
	eventually(t, 15*time.Second, "Sentinels take r-2 for down", func() bool {
		for _, w := range observed(h, g.st).Sentinels {
			n := 0
			for _, r := range w.Replicas {
				if r.Down {
					n++
				}
			}
			if n != 1 {
				return false
			}
		}
		return true
	})
	mustAct(t, h, st, reset)
	eventually(t, 15*time.Second, "s-0 has forgotten r-2, and knows the others again", func() bool {
		w := observed(h, g.st).Sentinels[0]
		return len(w.Replicas) == 1 && !w.Replicas[0].Down && len(w.Peers) == 2 && w.NoQuorum == ""
	})
	g.sentinels[1].do("SENTINEL SET orders quorum 9")
	mustRefuse(t, h, st, reset, "Sentinel shop/s-1 could not have a failover authorized")
	g.sentinels[1].do("SENTINEL SET orders quorum 2")
}

func probeGroup(t *testing.T, g *group, h *Hand, _ fleet.Store) {
	s := g.sentinels[0]
	f, err := h.Probe(context.Background(), Endpoint{Host: s.ip, Port: s.port})
	if err != nil || f.Kind != Watcher || f.Mover != fleet.SentinelMover || len(f.Sentinels) != 2 || len(f.Peers) != 2 || f.Masters[0] != "orders" || !strings.HasPrefix(f.Version, "7.") {
		t.Errorf("sentinel: %+v, %v", f, err)
	}
	f, err = h.Probe(context.Background(), Endpoint{Host: g.data["r-0"].ip, Port: 6379})
	if err != nil || f.Kind != Plain || f.Role != fleet.RoleReplica || len(f.Peers) != 1 || f.Peers[0] != address(g.data["r-1"].ip, "6379") {
		t.Errorf("replica: %+v, %v", f, err)
	}
}
