package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

// on is an action from a to b.
func on(h *Hand, st fleet.Store, verb fleet.Verb) error {
	return h.Act(context.Background(), st, fleet.Action{Verb: verb, Store: st.Name, Pod: ref("a"), Peer: ref("b")})
}

// promoted has the Sentinels name b, which leads since offset bytes, while a still says that it leads, of a history.
func (s *stage) promoted(history string, offset int) {
	s.all("b")
	s.leads("b", "n", "h", 2<<20)
	s.leads("a", history, "", offset)
}

// leads has a pod say that it is a master.
func (s *stage) leads(pod, history, before string, offset int) {
	s.says[pod+" INFO"] = func() (any, error) { return leading(pod, history, before, offset), nil }
}

func leading(pod, history, before string, offset int) string {
	text := fmt.Sprintf("redis_mode:standalone\r\nrun_id:run-%s\r\nrole:master\r\nmaster_replid:%s\r\nmaster_repl_offset:%d\r\n", pod, history, offset)
	if before != "" {
		text += fmt.Sprintf("master_replid2:%s\r\nsecond_repl_offset:%d\r\n", before, offset+1)
	}
	return text
}

func (s *stage) has(sent string) bool { return slices.Contains(s.sent, sent) }

// A failover that is on its way already must not have writes flow again to the old master.
func TestFailoverInProgressGoesForward(t *testing.T) {
	s, h, st := newStage()
	s.says[orders] = func() (any, error) { s.all("b"); return nil, Reply("INPROG Failover already in progress") }
	if err := on(h, st, fleet.Switch); err != nil {
		t.Error(err)
	}
	if want := []string{pauses, pauses, orders, "a REPLICAOF b 6379", kills, ends}; !slices.Equal(s.sent, want) {
		t.Errorf("sent %q", s.sent)
	}
}

// An order that never left has begun nothing, so writes need not wait.
func TestOrderThatWasNeverSent(t *testing.T) {
	for _, cause := range []error{&dialError{errors.New("refused")}, &tlsError{errors.New("bad certificate")}} {
		s, h, st := newStage()
		s.says[orders] = func() (any, error) { return nil, cause }
		begun := s.now
		err := on(h, st, fleet.Switch)
		if !errors.Is(err, cause) || s.now.Sub(begun) > time.Second || !slices.Equal(s.sent, []string{pauses, pauses, orders, ends}) {
			t.Errorf("%v after %s, sent %q", err, s.now.Sub(begun), s.sent)
		}
	}
}

// timed notes how long an order may take.
type timed struct {
	puppet
	within *[]time.Duration
}

func (c timed) Do(ctx context.Context, args ...any) (any, error) {
	if strings.HasPrefix(fmt.Sprintln(args...), "SENTINEL FAILOVER") {
		until, ok := ctx.Deadline()
		if !ok {
			until = time.Now().Add(time.Hour)
		}
		*c.within = append(*c.within, time.Until(until))
	}
	return c.puppet.Do(ctx, args...)
}

// The order may not take longer than writes are held.
func TestOrderWithinThePause(t *testing.T) {
	s, h, st := newStage()
	var within []time.Duration
	h.Connect = func(_ context.Context, ep Endpoint) (Conn, error) { return timed{puppet{s, ep.Pod.Name}, &within}, nil }
	s.says[orders] = func() (any, error) { s.all("b"); return "OK", nil }
	if err := on(h, st, fleet.Switch); err != nil {
		t.Error(err)
	}
	if len(within) != 1 || within[0] > pauseFor-pauseAgain {
		t.Errorf("the order may take %v, writes are held for %s", within, pauseFor)
	}
}

// The Sentinels chose a replica that lacks what was acknowledged: the old master must not drop it.
func TestAnotherWasChosenThatLacksWrites(t *testing.T) {
	s, h, st := newStage()
	s.behind["c"] = 9999
	s.says[orders] = func() (any, error) {
		s.all("c")
		s.leads("c", "n", "h", 2<<20-9999)
		return "OK", nil
	}
	err := on(h, st, fleet.Switch)
	if err == nil || !strings.Contains(err.Error(), "half switched: the Sentinels of store shop/orders chose pod shop/c, which lacks what pod shop/a has") {
		t.Error(err)
	}
	if s.has("a REPLICAOF c 6379") || s.has(ends) {
		t.Errorf("sent %q", s.sent)
	}
}

// The one whom they chose has all, or cannot be asked.
func TestAnotherWasChosen(t *testing.T) {
	for _, c := range []struct {
		name, refused string
		c             func() (any, error)
	}{
		{"it has all", "", func() (any, error) { return leading("c", "n", "h", 2<<20), nil }},
		{"it does not answer", "whether that has all data cannot be read", fails},
		{"the answer takes longer than the pause", "the pause of writes lapsed", nil},
	} {
		s, h, st := newStage()
		s.says[orders] = func() (any, error) {
			s.all("c")
			s.says["c INFO"] = c.c
			if c.c == nil {
				s.says["c INFO"] = func() (any, error) { s.now = s.now.Add(pauseFor); return leading("c", "n", "h", 2<<20), nil }
			}
			return "OK", nil
		}
		err := on(h, st, fleet.Switch)
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) || s.has("a REPLICAOF c 6379") != (err == nil) || s.has(ends) != (err == nil) {
			t.Errorf("%s: %v, sent %q", c.name, err, s.sent)
		}
	}
}

// To order a failover when every Sentinel would choose another, or might, is a lottery.
func TestNoLottery(t *testing.T) {
	for _, prio := range []string{"10", "100"} {
		s, h, st := newStage()
		for _, w := range []string{"s", "t", "u"} {
			s.says[w+" SENTINEL REPLICAS"] = func() (any, error) { return []any{listing("b", "100"), listing("c", prio)}, nil }
		}
		if err := on(h, st, fleet.Switch); err == nil || !strings.Contains(err.Error(), "no Sentinel would choose pod shop/b") || len(s.sent) > 0 {
			t.Errorf("%v, sent %q", err, s.sent)
		}
	}
}

// Writes were held no more when the second look of a demotion was over.
func TestDemoteAfterThePauseLapsed(t *testing.T) {
	s, h, st := newStage()
	s.promoted("h", 2<<20)
	looks := 0
	s.says["b INFO"] = func() (any, error) {
		if looks++; looks == 2 {
			s.now = s.now.Add(3 * time.Second)
		}
		return leading("b", "n", "h", 2<<20), nil
	}
	s.says["a CONFIG GET"] = func() (any, error) { return []any{setFence, "0", setLag, "10"}, nil }
	if err := on(h, st, fleet.Demote); err == nil || !strings.Contains(err.Error(), "the pause of writes lapsed") {
		t.Error(err)
	}
	if s.has("a REPLICAOF b 6379") || !s.has(ends) {
		t.Errorf("sent %q", s.sent)
	}
}

// A pinned Service sends clients to an empty master that was rebuilt: what they write between the look and the attachment must not be dropped.
func TestAttachHoldsWrites(t *testing.T) {
	s, h, st := newStage()
	s.promoted("x", 0)
	if err := on(h, st, fleet.Attach); err != nil {
		t.Error(err)
	}
	if want := []string{pauses, pauses, "a REPLICAOF b 6379", kills, ends}; !slices.Equal(s.sent, want) {
		t.Errorf("sent %q", s.sent)
	}
}

func TestAttachLooksAgain(t *testing.T) {
	s, h, st := newStage()
	s.promoted("x", 0)
	looks := 0
	s.says["a INFO"] = func() (any, error) {
		if looks++; looks == 1 {
			return leading("a", "x", "", 0), nil
		}
		return leading("a", "x", "", 0) + "db0:keys=1,expires=0\r\ncmdstat_info:calls=2\r\ncmdstat_set:calls=1\r\n", nil
	}
	err := on(h, st, fleet.Attach)
	if err == nil || !strings.Contains(err.Error(), "pod shop/a has 1 keys, and was written to since it started, for all that is known (it has carried out SET)") {
		t.Error(err)
	}
	if !slices.Equal(s.sent, []string{pauses, ends}) {
		t.Errorf("sent %q", s.sent)
	}
}

// What was decided was decided about one process: its successor, or a stranger at its address, is not told.
func TestAnotherProcessAnswers(t *testing.T) {
	for _, c := range []struct {
		name    string
		verb    fleet.Verb
		observe func(*fleet.Store)
		refused string
	}{
		{"attach", fleet.Attach, func(st *fleet.Store) { st.Members[0].RunID = "before" }, "Redis in pod shop/a was started again, or is another one"},
		{"fence", fleet.Fence_, func(st *fleet.Store) { st.Members[0].RunID = "before" }, "Redis in pod shop/a was started again, or is another one"},
		{"the master", fleet.Demote, func(st *fleet.Store) { st.Members[1].RunID = "before" }, "Redis in pod shop/b was started again, or is another one"},
		{"two Sentinels", fleet.Attach, func(st *fleet.Store) { st.Sentinels[0].ID, st.Sentinels[1].ID = "before", "before" }, "1 of 3 Sentinels"},
		{"the same", fleet.Attach, func(st *fleet.Store) { st.Members[0].RunID, st.Sentinels[0].ID = "run-a", "id-s" }, ""},
	} {
		s, h, st := newStage()
		s.promoted("x", 0)
		c.observe(&st)
		err := on(h, st, c.verb)
		if (err == nil) != (c.refused == "") || err != nil && (!strings.Contains(err.Error(), c.refused) || len(s.sent) > 0) {
			t.Errorf("%s: %v, sent %q", c.name, err, s.sent)
		}
	}
}

// A process that started again and loads does not say all of itself: that it loads is the reason.
func TestAnotherProcessLoads(t *testing.T) {
	s, h, st := newStage()
	st.Members[0].RunID = "before"
	s.says["a INFO"] = func() (any, error) { return nil, Reply("LOADING Redis is loading the dataset in memory") }
	if err := on(h, st, fleet.Prefer); err == nil || !strings.Contains(err.Error(), "still loading") {
		t.Error(err)
	}
}

// A replica that is listed but lags does not count for the fence now, and may count later.
func TestFenceCountsAllReplicas(t *testing.T) {
	s, h, st := newStage()
	s.says["a CONFIG GET"] = func() (any, error) { return []any{setFence, "1", setLag, "2", setPriority, "100"}, nil }
	s.says["a INFO"] = func() (any, error) {
		return leading("a", "h", "", 2<<20) + "slave0:ip=b,port=6379,state=online,offset=1,lag=0\r\nslave1:ip=c,port=6379,state=wait_bgsave,offset=1,lag=9\r\n", nil
	}
	if err := on(h, st, fleet.Switch); err == nil || !strings.Contains(err.Error(), "is 1 within 2 s, needs 2, the number of its replicas") || len(s.sent) > 0 {
		t.Errorf("%v, sent %q", err, s.sent)
	}
}

// Two that replicate each other are no end of a switch.
func TestTwoReplicateEachOther(t *testing.T) {
	for _, verb := range []fleet.Verb{fleet.Switch, fleet.Demote, fleet.Attach} {
		s, h, st := newStage()
		s.all("b")
		s.says["a INFO"] = func() (any, error) {
			return "redis_mode:standalone\r\nrole:slave\r\nmaster_host:b\r\nmaster_port:6379\r\n", nil
		}
		if err := on(h, st, verb); err == nil {
			t.Errorf("%s says that it is done", verb)
		}
	}
}

// A server may quote what it was told.
func TestPasswordIsNotQuoted(t *testing.T) {
	const secret = "hunter2hunter2"
	s, h, st := newStage()
	st.Spec.Secret = "x"
	h.Secrets = func(context.Context, string, string) (map[string][]byte, error) {
		return map[string][]byte{keyPassword: []byte(secret)}, nil
	}
	s.says["b INFO"] = func() (any, error) { return nil, Reply("ERR unexpected argument '" + secret + "' here") }
	s.says["s SENTINEL CKQUORUM"] = s.says["b INFO"]
	s.says["a CONFIG SET"] = s.says["b INFO"]
	seen := observed(h, st)
	err := on(h, st, fleet.Prefer)
	if err == nil {
		t.Fatal("what the server refuses is no success")
	}
	for _, text := range []string{seen.Member("b").Trouble, seen.Sentinels[0].NoQuorum, err.Error()} {
		if !strings.Contains(text, "unexpected argument '…' here") {
			t.Error(text)
		}
	}
}

// The old master was not demoted: its clients must go on waiting rather than write.
func TestRetirementFails(t *testing.T) {
	for _, verb := range []fleet.Verb{fleet.Switch, fleet.Demote, fleet.Attach} {
		s, h, st := newStage()
		s.says[orders] = func() (any, error) { s.all("b"); return "OK", nil }
		if verb != fleet.Switch {
			s.promoted("h", 2<<20)
		}
		s.says["a REPLICAOF"] = fails
		if err := on(h, st, verb); err == nil || !s.has("a REPLICAOF b 6379") || s.has(ends) {
			t.Errorf("%s: %v, sent %q", verb, err, s.sent)
		}
	}
}

// Sentinels may be of no pod that is known; they have a voice all the same.
func TestMajorityCountsPeers(t *testing.T) {
	s, h, st := newStage()
	st.Sentinels = st.Sentinels[:2]
	s.promoted("x", 0)
	for _, w := range []string{"s", "t"} {
		s.says[w+" SENTINEL SENTINELS"] = func() (any, error) {
			return []any{listing("t", "0"), listing("u", "0"), listing("v", "0"), listing("w", "0")}, nil
		}
	}
	if err := on(h, st, fleet.Attach); err == nil || !strings.Contains(err.Error(), "2 of 5 Sentinels") {
		t.Error(err)
	}
}

func TestWriters(t *testing.T) {
	for _, c := range []struct{ stats, want string }{
		{"cmdstat_info:calls=3,usec=1\r\ncmdstat_config|get:calls=1\r\ncmdstat_client|setname:calls=1\r\ncmdstat_acl|dryrun:calls=8\r\ncmdstat_publish:calls=9\r\ncmdstat_get:calls=7", ""},
		{"cmdstat_set:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0", ""},
		{"cmdstat_set:calls=1,usec=9\r\ncmdstat_getdel:calls=1\r\ncmdstat_json.set:calls=1", "getdel json.set set"},
		{"cmdstat_config|resetstat:calls=1", "config|resetstat"},
		{"cmdstat_slaveof:calls=1", "slaveof"},
		{"cmdstat_config:calls=1\r\ncmdstat_client:calls=1\r\ncmdstat_acl:calls=1\r\ncmdstat_command:calls=1\r\ncmdstat_script:calls=1", "script"}, // as before 7.0
		{"cmdstat_script|load:calls=1", "script|load"},
	} {
		if got := strings.Join(parseInfo(c.stats).writers(), " "); got != c.want {
			t.Errorf("%q: %q; want %q", c.stats, got, c.want)
		}
	}
}

// A Redis that loads its log counts that as changes, though nobody has written.
func TestTouchedWithLog(t *testing.T) {
	volume := t.TempDir()
	args := []string{"--appendonly", "yes", "--dir", volume}
	before := start(t, newIP(), 6379, args...)
	before.do("MSET a 1 b 2 c 3")
	before.stop()
	back := start(t, newIP(), 6379, args...)
	h := newHand(t, nil)
	touched := func() string {
		t.Helper()
		st := fleet.Store{Name: "shop/orders", Mover: fleet.SentinelMover, Members: []fleet.Member{back.member("m")}}
		m := h.hear(context.Background(), &st, st.Members[0], login{})
		by, err := m.touched(context.Background())
		if err != nil || m.Trouble != "" {
			t.Fatal(err, m.Trouble)
		}
		return by
	}
	eventually(t, 10*time.Second, "the log is loaded", func() bool { return back.info()["loading"] == "0" })
	if n := back.do("DBSIZE"); n != int64(3) || back.info().number("rdb_changes_since_last_save") == 0 {
		t.Fatalf("%v keys were loaded, or it counts otherwise than was measured", n)
	}
	back.do("SAVE")
	if by := touched(); by != "" {
		t.Error(by)
	}
	back.do("CONFIG SET min-replicas-to-write 1")
	if _, err := back.try("SET d 4"); err == nil {
		t.Fatal("the fence let a write through")
	}
	if by := touched(); by != "" {
		t.Errorf("a write that was refused: %s", by)
	}
	back.do("CONFIG SET min-replicas-to-write 0")
	back.do("DEL a")
	if by := touched(); by != "it has carried out DEL" {
		t.Error(by)
	}
	back.do("CONFIG RESETSTAT")
	if by := touched(); by != "it has carried out CONFIG|RESETSTAT" {
		t.Error(by)
	}
}

// odd is a connection that cannot be compared.
type odd struct {
	puppet
	_ []string
}

func TestConnectionsAreNotCompared(t *testing.T) {
	s, h, st := newStage()
	h.Connect = func(_ context.Context, ep Endpoint) (Conn, error) { return odd{puppet: puppet{s, ep.Pod.Name}}, nil }
	if st = observed(h, st); st.Members[0].Trouble != "" {
		t.Error(st.Members[0].Trouble)
	}
}

// The pause could not be renewed while the Sentinels agreed: what the old master took meanwhile must not be dropped.
func TestPauseLapsesOnTheWay(t *testing.T) {
	for _, c := range []struct {
		name, refused string
		took          int
	}{
		{"nothing was written", "", 0},
		{"something was", "chose pod shop/b, which lacks what pod shop/a has", 44},
	} {
		s, h, st := newStage()
		s.says[orders] = func() (any, error) {
			s.says["a CLIENT PAUSE"] = func() (any, error) {
				s.says["a CLIENT PAUSE"] = func() (any, error) { return "OK", nil }
				s.now = s.now.Add(pauseFor)
				s.promoted("h", 2<<20+c.took)
				return fails()
			}
			s.now = s.now.Add(pauseAgain)
			return "OK", nil
		}
		err := on(h, st, fleet.Switch)
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) || s.has("a REPLICAOF b 6379") != (err == nil) || s.has(ends) != (err == nil) {
			t.Errorf("%s: %v, sent %q", c.name, err, s.sent)
		}
	}
}

// A switch that began late would be cut off between the order and the agreement.
func TestTooLittleTimeToSwitch(t *testing.T) {
	s, h, st := newStage()
	ctx, cancel := context.WithTimeout(context.Background(), switchIn)
	defer cancel()
	err := h.Act(ctx, st, fleet.Action{Verb: fleet.Switch, Store: st.Name, Pod: ref("a"), Peer: ref("b")})
	if err == nil || !strings.Contains(err.Error(), "too little time is left to switch") || !slices.Equal(s.sent, []string{pauses, ends}) {
		t.Errorf("%v, sent %q", err, s.sent)
	}
}
