package redis

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover.dev/fleet"
)

func TestInfo(t *testing.T) {
	in := parseInfo("# Server\r\nredis_mode:standalone\r\nrole:master\r\nmaster_repl_offset:4711\r\nloading:0\r\nrdb_last_bgsave_status:ok\r\naof_last_write_status:err\r\n" +
		"slave0:ip=10.0.0.2,port=6379,state=online,offset=4711,lag=1\r\nslave1:ip=fd00::2,port=6380,state=wait_bgsave,offset=0,lag=7\r\n" +
		"# Keyspace\r\ndb0:keys=3,expires=0,avg_ttl=0\r\ndb12:keys=4,expires=1,avg_ttl=9\r\ndbx:keys=9\r\n")
	want := []fleet.Replica{
		{Address: "10.0.0.2:6379", Online: true, Offset: 4711, Lag: time.Second},
		{Address: "[fd00::2]:6380", Lag: 7 * time.Second},
	}
	if d := cmp.Diff(want, in.replicas()); d != "" {
		t.Error(d)
	}
	if in.role() != fleet.RoleMaster || in.offset() != 4711 || in.keys() != 7 || in.master() != "" {
		t.Errorf("role %q, offset %d, keys %d, master %q", in.role(), in.offset(), in.keys(), in.master())
	}
	if e := in.saveError(); !strings.Contains(e, "aof_last_write_status:err") {
		t.Errorf("save error %q", e)
	}
	if good(in.replicas(), 2) != 1 || good(in.replicas(), 0) != 0 {
		t.Error("a replica that is not online, or is late, counts")
	}
}

func TestInfoOfReplica(t *testing.T) {
	in := parseInfo("role:slave\nmaster_host:redis-0.redis\nmaster_port:6379\nslave_repl_offset:-1\nmaster_repl_offset:9\n")
	if in.role() != fleet.RoleReplica || in.master() != "redis-0.redis:6379" || in.offset() != 0 {
		t.Errorf("role %q, master %q, offset %d", in.role(), in.master(), in.offset())
	}
}

func TestNodes(t *testing.T) {
	const text = `a1 127.0.0.1:6379@16379 myself,master - 0 0 3 connected 0-99 200 [93-<-b2] [77->-b2]
b2 10.0.0.2:6380@16380,redis-1.redis slave,nofailover a1 0 1426238317239 4 connected
c3 :0@0 master,fail?,noaddr - 1426238317239 0 0 disconnected
d4 fd00::7:6379@16379 handshake - 0 0 0 disconnected
e5 :6379@16379 slave,fail a1 0 0 1 disconnected
`
	nodes, err := parseNodes(text)
	if err != nil {
		t.Fatal(err)
	}
	want := []fleet.Peer{
		{ID: "a1", Address: "127.0.0.1:6379", Self: true, Role: fleet.RoleMaster, Linked: true, Epoch: 3, Slots: 101, Moving: 2},
		{ID: "b2", Address: "10.0.0.2:6380", Role: fleet.RoleReplica, Of: "a1", Linked: true, Epoch: 4},
		{ID: "c3", Role: fleet.RoleMaster, Doubt: true, NoAddr: true},
		{ID: "d4", Address: "[fd00::7]:6379", Meeting: true},
		{ID: "e5", Role: fleet.RoleReplica, Of: "a1", Fail: true, Epoch: 1},
	}
	if d := cmp.Diff(want, peers(nodes)); d != "" {
		t.Error(d)
	}
	if nodes[1].bus != "16380" || nodes[4].port != "6379" {
		t.Errorf("ports: %+v", nodes)
	}
}

func TestNodesThatCannotBeRead(t *testing.T) {
	for _, line := range []string{
		"a1 127.0.0.1:6379@16379 master - 0 0 3",
		"a1 127.0.0.1@16379 master - 0 0 3 connected",
		"a1 127.0.0.1:6379@16379 master - 0 0 x connected",
		"a1 127.0.0.1:6379@16379 master - 0 0 3 connected 5-",
		"a1 127.0.0.1:6379@16379 master - 0 0 3 connected 9-5",
		"a1 127.0.0.1:6379@16379 master - 0 0 3 connected 16384",
	} {
		if nodes, err := parseNodes(line); err == nil {
			t.Errorf("%s: read as %+v", line, nodes)
		}
	}
}

func FuzzNodes(f *testing.F) {
	f.Add("a1 127.0.0.1:6379@16379 myself,master - 0 0 3 connected 0-99 [93-<-b2]\n")
	f.Add("b2 :0@0,host slave,nofailover a1 0 1 4 connected\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		nodes, err := parseNodes(text)
		if err != nil {
			return
		}
		for _, n := range nodes {
			if n.ID == "" || n.Slots < 0 || n.Slots > 16384*len(text) {
				t.Errorf("%q: %+v", text, n)
			}
			words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,\n\t\r\v\f\u0085\u00a0", r) })
			if n.Fail && !contains(words, "fail") {
				t.Errorf("%q: nobody says fail", text)
			}
		}
	})
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

func FuzzInfo(f *testing.F) {
	f.Add("role:master\r\nslave0:ip=::1,port=1,state=online,offset=1,lag=0\r\ndb0:keys=1\r\n")
	f.Add("role:slave\nmaster_host:\nmaster_port:x\nslave1:ip=")
	f.Fuzz(func(t *testing.T, text string) {
		in := parseInfo(text)
		if len(in.replicas()) > strings.Count(text, "slave") {
			t.Errorf("%q: replicas out of nothing: %v", text, in.replicas())
		}
		if in.role() == fleet.RoleMaster && in.master() != "" {
			t.Errorf("%q: a master that replicates %s", text, in.master())
		}
		if in.role() == fleet.RoleReplica && in.offset() < 0 {
			t.Errorf("%q: offset %d", text, in.offset())
		}
		_, _ = in.keys(), in.saveError()
	})
}

func TestBoundTo(t *testing.T) {
	for _, c := range []struct{ client, host, want string }{
		{"id=3 addr=10.1.1.1:5555 laddr=10.0.0.7:6379 fd=8", "10.0.0.7", "10.0.0.7:6379"},
		{"laddr=127.20.3.5:6379", "10.20.3.5", "127.20.3.5:6379"},
		{"laddr=fd00::7:6379", "fd00::7", "[fd00::7]:6379"},
		{"laddr=127.0.0.1:6379", "10.20.3.5", ""}, // a port-forward: 127.0.0.1 is another machine to the other members
		{"laddr=::1:6379", "10.20.3.5", ""},
		{"laddr=127.0.0.1:6379", "127.0.0.1", "127.0.0.1:6379"},
		{"id=3 addr=10.1.1.1:5555", "10.0.0.7", ""},
		{"laddr=10.0.0.7", "10.0.0.7", ""},
	} {
		have := ""
		if ip, port, ok := boundTo(c.client, c.host); ok {
			have = address(ip, port)
		}
		if have != c.want {
			t.Errorf("%s on %s: %q, want %q", c.client, c.host, have, c.want)
		}
	}
}

func TestLiteral(t *testing.T) {
	for name, want := range map[string]string{"orders": "orders", "*": `\*`, "a[b]?": `a\[b\]\?`} {
		if have := literal(name); have != want {
			t.Errorf("%s: %s, want %s", name, have, want)
		}
	}
}

func TestFlagsAreWords(t *testing.T) {
	for flags, want := range map[string]bool{"master": false, "slave,s_down": true, "master,o_down,failover_in_progress": true, "sentinel,disconnected": true, "master,not_s_down": false} {
		if down(strings.Split(flags, ",")) != want {
			t.Errorf("%s: down is %t", flags, !want)
		}
	}
}

func TestCut(t *testing.T) {
	if have := cut("ERR\r\n\x1b[31mno\tway"); have != "ERR [31mno way" {
		t.Errorf("%q", have)
	}
	if have := cut(strings.Repeat("é", 500)); len([]rune(have)) != longest || !strings.HasSuffix(have, "…") {
		t.Errorf("%d runes", len([]rune(have)))
	}
}
