package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

// stage is a store of puppets on a virtual clock: a master a, its replicas b and c, and Sentinels s, t, u. It shows what a real Redis shows only by luck.
type stage struct {
	now    time.Time
	behind map[string]int64 // bytes that a replica lacks
	named  map[string]string
	says   map[string]func() (any, error) // by "pod COMMAND": instead of what would be said
	sent   []string                       // what changes something, in order
	spent  time.Duration                  // that each command takes
}

type puppet struct {
	*stage
	pod string
}

func newStage() (*stage, *Hand, fleet.Store) {
	s := &stage{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), behind: map[string]int64{}, named: map[string]string{"s": "a", "t": "a", "u": "a"}, says: map[string]func() (any, error){}}
	h := &Hand{
		Connect:  func(_ context.Context, ep Endpoint) (Conn, error) { return puppet{s, ep.Pod.Name}, nil },
		Now:      func() time.Time { return s.now },
		Sleep:    func(_ context.Context, d time.Duration) error { s.now = s.now.Add(d); return nil },
		Parallel: 1,
	}
	st := fleet.Store{Name: "shop/orders", Mover: fleet.SentinelMover}
	for _, name := range []string{"a", "b", "c"} {
		st.Members = append(st.Members, fleet.Member{Pod: ref(name), Host: name, Port: 6379, Known: []string{name + ":6379"}})
	}
	for _, name := range []string{"s", "t", "u"} {
		st.Sentinels = append(st.Sentinels, fleet.Sentinel{Pod: ref(name), Host: name, Port: 26379})
	}
	return s, h, st
}

func (puppet) Close() error { return nil }

func (p puppet) Do(_ context.Context, args ...any) (any, error) {
	p.now = p.now.Add(p.spent)
	words := strings.TrimSpace(fmt.Sprintln(args...))
	if isChange(words) {
		p.sent = append(p.sent, p.pod+" "+words)
	}
	for said, reply := range p.says {
		if strings.HasPrefix(p.pod+" "+words, said) {
			return reply()
		}
	}
	return p.reply(words)
}

func isChange(words string) bool {
	for _, c := range []string{"CONFIG SET", "CLIENT PAUSE", "CLIENT UNPAUSE", "CLIENT KILL", "REPLICAOF", "SENTINEL FAILOVER", "SENTINEL RESET"} {
		if strings.HasPrefix(words, c) {
			return true
		}
	}
	return false
}

func (p puppet) reply(words string) (any, error) {
	switch {
	case words == "INFO server":
		return "redis_mode:sentinel\r\n", nil
	case strings.HasPrefix(words, "INFO"):
		return p.info(), nil
	case strings.HasPrefix(words, "CONFIG GET"):
		return []any{setFence, "2", setLag, "2", setPriority, "100", setReplicaIP, "", setReplicaPort, "0"}, nil
	case words == "CLIENT INFO":
		return "id=1 laddr=" + p.pod + ":6379", nil
	case words == "SENTINEL MYID":
		return "id-" + p.pod, nil
	case words == "SENTINEL MASTERS":
		return []any{[]any{"name", "orders", "ip", p.named[p.pod], "port", "6379", "flags", "master", "config-epoch", "1", "quorum", "2"}}, nil
	case words == "SENTINEL REPLICAS orders":
		return []any{listing("b", "10"), listing("c", "100")}, nil
	case words == "SENTINEL SENTINELS orders":
		return []any{}, nil
	case words == "SENTINEL GET-MASTER-ADDR-BY-NAME orders":
		return []any{p.named[p.pod], "6379"}, nil
	}
	return "OK", nil
}

func listing(pod, prio string) []any {
	return []any{"ip", pod, "port", "6379", "flags", "slave", "slave-priority", prio}
}

func (p puppet) info() string {
	const offset = 2 << 20
	if p.pod == "a" {
		return fmt.Sprintf("redis_mode:standalone\r\nrole:master\r\nmaster_replid:h\r\nmaster_repl_offset:%d\r\nslave0:ip=b,port=6379,state=online,offset=1,lag=0\r\nslave1:ip=c,port=6379,state=online,offset=1,lag=1\r\n", offset)
	}
	return fmt.Sprintf("redis_mode:standalone\r\nrole:slave\r\nmaster_host:a\r\nmaster_port:6379\r\nmaster_link_status:up\r\nmaster_replid:h\r\nslave_repl_offset:%d\r\n", offset-p.behind[p.pod])
}

// fails is a connection that breaks.
func fails() (any, error) { return nil, io.ErrUnexpectedEOF }

// all has every Sentinel name pod.
func (s *stage) all(pod string) {
	for w := range s.named {
		s.named[w] = pod
	}
}

const (
	pauses = "a CLIENT PAUSE 2500 WRITE"
	ends   = "a CLIENT UNPAUSE"
	orders = "s SENTINEL FAILOVER orders"
	kills  = "a CLIENT KILL TYPE normal SKIPME yes"
)

func TestSwitchOnStage(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*stage)
		refused string // "" for success
		sent    []string
	}{
		{"all is well", func(s *stage) {
			s.says[orders] = func() (any, error) { s.all("b"); return "OK", nil }
		}, "", []string{pauses, pauses, orders, "a REPLICAOF b 6379", kills, ends}},
		{"the order's answer is lost", func(s *stage) {
			s.says[orders] = func() (any, error) { s.all("b"); return fails() }
		}, "", []string{pauses, pauses, orders, "a REPLICAOF b 6379", kills, ends}},
		{"Sentinels chose another", func(s *stage) {
			s.says[orders] = func() (any, error) { s.all("c"); return "OK", nil }
		}, "", []string{pauses, pauses, orders, pauses, pauses, "a REPLICAOF c 6379", kills, ends}},
		{"the Sentinel refuses", func(s *stage) {
			s.says[orders] = func() (any, error) { return nil, Reply("NOGOODSLAVE No suitable replica to promote") }
		}, "NOGOODSLAVE", []string{pauses, pauses, orders, ends}},
		{"the heir never catches up", func(s *stage) { s.behind["b"] = 9 }, "still 9 bytes behind pod shop/a after 500ms", []string{pauses, ends}},
		{"the heir is far behind", func(s *stage) { s.behind["b"] = closeBy + 1 }, "is 1048577 bytes behind", nil},
		{"the heir hangs up while writes are paused", func(s *stage) {
			s.says["b INFO replication"] = fails
		}, "unexpected EOF", []string{pauses, ends}},
		{"the heir has become somebody else's", func(s *stage) {
			s.says["b INFO replication"] = func() (any, error) { return "role:slave\r\nmaster_replid:x\r\nslave_repl_offset:9999999\r\n", nil }
		}, "is no replica of pod shop/a any more", []string{pauses, ends}},
		{"the pause lapses before the order", func(s *stage) {
			s.says["b INFO replication"] = func() (any, error) { s.now = s.now.Add(3 * time.Second); return puppet{s, "b"}.info(), nil }
		}, "the pause of writes lapsed", []string{pauses, pauses, ends}},
		{"pausing is denied", func(s *stage) {
			s.says[pauses] = func() (any, error) { return nil, Reply("NOPERM this user has no permissions") }
		}, "add +client|pause to its ACL", []string{pauses, ends}},
		{"the failover never comes about", func(s *stage) {}, "half switched: the Sentinels of store shop/orders name a:6379, a:6379, a:6379",
			[]string{pauses, pauses, orders, pauses, pauses, pauses, pauses, pauses}},
		{"one Sentinel is lost on the way", func(s *stage) {
			s.says[orders] = func() (any, error) {
				s.all("b")
				s.says["u SENTINEL GET-MASTER-ADDR-BY-NAME"] = fails
				return "OK", nil
			}
		}, "half switched: the Sentinels of store shop/orders name b:6379, b:6379, nobody and not all pod shop/b; pod shop/a stays fenced",
			[]string{pauses, pauses, orders, pauses, pauses, pauses, pauses, pauses}},
		{"no Sentinel would choose the heir", func(s *stage) {
			for _, w := range []string{"s", "t", "u"} {
				s.says[w+" SENTINEL REPLICAS"] = func() (any, error) { return []any{listing("b", "0"), listing("c", "100")}, nil }
			}
		}, "no Sentinel lists pod shop/b", nil},
		{"a failover is in progress", func(s *stage) {
			s.says["t SENTINEL MASTERS"] = func() (any, error) {
				return []any{[]any{"name", "orders", "ip", "a", "port", "6379", "flags", "master,failover_in_progress"}}, nil
			}
		}, "Sentinel shop/t has a failover in progress", nil},
		{"no quorum", func(s *stage) {
			s.says["t SENTINEL CKQUORUM"] = func() (any, error) { return nil, Reply("NOQUORUM 1 usable Sentinels") }
		}, "Sentinel shop/t could not have a failover authorized: NOQUORUM 1 usable Sentinels", nil},
		{"a Sentinel names another", func(s *stage) { s.named["u"] = "c" }, "Sentinel shop/u takes c:6379 for the master", nil},
		{"a Sentinel takes the master for down", func(s *stage) {
			s.says["u SENTINEL MASTERS"] = func() (any, error) {
				return []any{[]any{"name", "orders", "ip", "a", "port", "6379", "flags", "master,s_down"}}, nil
			}
		}, "for down", nil},
		{"the heir is loading", func(s *stage) {
			s.says["b INFO"] = func() (any, error) { return nil, Reply("LOADING Redis is loading the dataset in memory") }
		}, "is still loading its data", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, h, st := newStage()
			c.prepare(s)
			err := h.Act(context.Background(), st, fleet.Action{Verb: fleet.Switch, Store: st.Name, Pod: ref("a"), Peer: ref("b")})
			if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%v; want %q", err, c.refused)
			}
			if !slices.Equal(s.sent, c.sent) {
				t.Errorf("sent\n%s\nwant\n%s", strings.Join(s.sent, "\n"), strings.Join(c.sent, "\n"))
			}
		})
	}
}

// A Sentinel that would take another replica is not the one to order.
func TestSwitchOrdersTheRightSentinel(t *testing.T) {
	s, h, st := newStage()
	s.says["s SENTINEL REPLICAS"] = func() (any, error) { return []any{listing("b", "100"), listing("c", "100")}, nil }
	s.says["t SENTINEL FAILOVER"] = func() (any, error) { s.all("b"); return "OK", nil }
	if err := h.Act(context.Background(), st, fleet.Action{Verb: fleet.Switch, Store: st.Name, Pod: ref("a"), Peer: ref("b")}); err != nil {
		t.Error(err)
	}
	if !slices.Contains(s.sent, "t SENTINEL FAILOVER orders") {
		t.Errorf("sent %q", s.sent)
	}
}

// The time for an action ends while writes are paused: they have to flow again all the same.
func TestSwitchCutShort(t *testing.T) {
	s, h, st := newStage()
	s.behind["b"] = 9
	ctx, cancel := context.WithCancel(context.Background())
	h.Sleep = func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() }
	err := h.Act(ctx, st, fleet.Action{Verb: fleet.Switch, Store: st.Name, Pod: ref("a"), Peer: ref("b")})
	if !errors.Is(err, context.Canceled) || !slices.Equal(s.sent, []string{pauses, ends}) {
		t.Errorf("%v, sent %q", err, s.sent)
	}
}

func TestLoadingIsNoTrouble(t *testing.T) {
	for _, command := range []string{"a INFO", "a CONFIG GET", "a CLIENT INFO"} {
		s, h, st := newStage()
		s.says[command] = func() (any, error) { return nil, Reply("LOADING Redis is loading the dataset in memory") }
		if m := observed(h, st).Members[0]; !m.Loading || m.Trouble != "" {
			t.Errorf("%s: loading %t, trouble %q", command, m.Loading, m.Trouble)
		}
	}
}

// Redis before 7.0 takes one setting in each CONFIG, and before 6.2 does not tell what it is bound to.
func TestOlderRedis(t *testing.T) {
	s, h, st := newStage()
	s.says["a CLIENT INFO"] = func() (any, error) {
		return nil, Reply("ERR Unknown subcommand or wrong number of arguments for 'INFO'. Try CLIENT HELP.")
	}
	s.says["a CONFIG GET min-replicas-to-write min"] = func() (any, error) {
		return nil, Reply("ERR Unknown subcommand or wrong number of arguments for 'GET'. Try CONFIG HELP.")
	}
	s.says["a CONFIG SET min-replicas-to-write 1 min"] = func() (any, error) {
		return nil, Reply("ERR Unknown subcommand or wrong number of arguments for 'SET'. Try CONFIG HELP.")
	}
	m := observed(h, st).Members[0]
	if m.Trouble != "" || m.Fence != (fleet.Fence{Replicas: 2, Lag: 2}) || m.Priority != 100 || len(m.Known) != 1 {
		t.Errorf("%+v", m)
	}
	if err := h.Act(context.Background(), st, fleet.Action{Verb: fleet.Fence_, Store: st.Name, Pod: ref("a"), Fence: fleet.Fence{Replicas: 1, Lag: 3}}); err != nil {
		t.Error(err)
	}
	want := []string{"a CONFIG SET min-replicas-to-write 1 min-replicas-max-lag 3", "a CONFIG SET min-replicas-to-write 1", "a CONFIG SET min-replicas-max-lag 3"}
	if !slices.Equal(s.sent, want) {
		t.Errorf("sent %q", s.sent)
	}
}

func TestUnknownKind(t *testing.T) {
	s, h, st := newStage()
	s.says["a INFO"] = func() (any, error) { return "redis_mode:proxy\r\n", nil }
	if m := observed(h, st).Members[0]; !strings.Contains(m.Trouble, "of a kind that drover does not know (redis_mode:proxy)") {
		t.Errorf("%+v", m)
	}
}

// A pod without an address is not asked.
func TestNoAddressYet(t *testing.T) {
	_, h, st := newStage()
	st.Members[0].Host, st.Sentinels[0].Host = "", ""
	st = observed(h, st)
	for _, trouble := range []string{st.Members[0].Trouble, st.Sentinels[0].Trouble} {
		if !strings.Contains(trouble, "has no address yet") {
			t.Error(trouble)
		}
	}
}

// A Service's name that stands in configurations is learned from those who use it.
func TestNamesOfOthers(t *testing.T) {
	s, h, st := newStage()
	const text = "redis_mode:standalone\r\nrole:slave\r\nmaster_host:redis.shop\r\nmaster_port:6379\r\nmaster_link_status:up\r\nmaster_replid:h\r\nslave_repl_offset:2097152\r\n"
	s.says["b INFO"] = func() (any, error) { return text, nil }
	s.says["a INFO"] = func() (any, error) { return puppet{s, "a"}.info() + "run_id:r-a\r\n", nil }
	for _, w := range []string{"s", "t", "u"} {
		s.named[w] = "master.shop"
		s.says[w+" SENTINEL MASTERS"] = func() (any, error) {
			return []any{[]any{"name", "orders", "ip", s.named[w], "port", "6379", "flags", "master", "runid", "r-a"}}, nil
		}
	}
	seen := observed(h, st)
	a := seen.Member("a")
	if seen.At("redis.shop:6379") != a || seen.At(seen.Sentinels[0].Master) != a || seen.At("b:6379") != seen.Member("b") {
		t.Errorf("a is known as %v, b as %v", a.Known, seen.Member("b").Known)
	}
	s.says[orders] = func() (any, error) { s.all("b"); return "OK", nil }
	if err := h.Act(context.Background(), st, fleet.Action{Verb: fleet.Switch, Store: st.Name, Pod: ref("a"), Peer: ref("b")}); err != nil {
		t.Error(err)
	}
}

// A process that has started again is not taken for the one that a Sentinel remembers.
func TestNamesOfPredecessors(t *testing.T) {
	s, h, st := newStage()
	s.says["a INFO"] = func() (any, error) { return puppet{s, "a"}.info() + "run_id:new\r\n", nil }
	for _, w := range []string{"s", "t", "u"} {
		s.says[w+" SENTINEL MASTERS"] = func() (any, error) {
			return []any{[]any{"name", "orders", "ip", "gone", "port", "6379", "flags", "master", "runid", "old"}}, nil
		}
	}
	if seen := observed(h, st); seen.At("gone:6379") != nil {
		t.Errorf("%v", seen.At("gone:6379"))
	}
}
