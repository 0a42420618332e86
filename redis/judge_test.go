package redis

import (
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

// seen is a member with a view.
func seen(pod, id string, view ...fleet.Peer) *heard {
	for i := range view {
		view[i].Self = view[i].ID == id
	}
	return &heard{Member: fleet.Member{Pod: ref(pod), ID: id, StateOK: true, Link: true, View: view}}
}

func master(id string, slots int) fleet.Peer {
	return fleet.Peer{ID: id, Role: fleet.RoleMaster, Slots: slots}
}

func replica(id, of string) fleet.Peer { return fleet.Peer{ID: id, Role: fleet.RoleReplica, Of: of} }

func TestMayDisown(t *testing.T) {
	lent := seen("lent", "x", master("x", 0))
	lent.Temp = true
	loading := seen("a", "a", master("a", 9))
	loading.Loading = true
	for _, c := range []struct {
		name, refused string
		m             *heard
	}{
		{"a ghost", "", seen("a", "a", master("a", 9), replica("x", "a"))},
		{"unknown", "", seen("a", "a", master("a", 9))},
		{"the temporary one that left", "", lent},
		{"it lives", "it is pod shop/a", seen("a", "x", master("x", 0))},
		{"it owns slots", "owns 3 slots, says pod shop/a", seen("a", "a", master("a", 9), master("x", 3))},
		{"it has a replica", "is the master of b", seen("a", "a", master("a", 9), master("x", 0), replica("b", "x"))},
		{"who loads would not forget", "still loading", loading},
	} {
		if err := mayDisown(c.m, "x"); (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %v; want %q", c.name, err, c.refused)
		}
	}
}

func TestMayTake(t *testing.T) {
	view := func(change ...func([]fleet.Peer)) []fleet.Peer {
		v := []fleet.Peer{master("o", 9), replica("h", "o"), replica("r", "o"), master("z", 9)}
		for _, c := range change {
			c(v)
		}
		return v
	}
	old, heir := seen("o", "o", view()...), seen("h", "h", view()...)
	late := seen("h", "h", view()...)
	late.Syncing = true
	ill := seen("z", "z", view()...)
	ill.StateOK = false
	for _, c := range []struct {
		name, refused string
		heir, other   *heard
	}{
		{"all is well", "", heir, seen("z", "z", view()...)},
		{"somebody has not heard of it", "not known as a replica of pod shop/o to pod shop/z", heir, seen("z", "z", view(func(v []fleet.Peer) { v[1] = master("h", 0) })...)},
		{"somebody takes another for the owner", "pod shop/o is no master with slots, says pod shop/z", heir, seen("z", "z", view(func(v []fleet.Peer) { v[0] = replica("o", "z") })...)},
		{"slots are on their way elsewhere", "2 slots are on their way", heir, seen("z", "z", view(func(v []fleet.Peer) { v[3].Moving = 2 })...)},
		{"another replica of the shard failed", "node r of the same shard", heir, seen("z", "z", view(func(v []fleet.Peer) { v[2].Fail = true })...)},
		{"another shard's node failed", "", heir, seen("o", "o", view(func(v []fleet.Peer) { v[3].Fail = true })...)},
		{"the cluster is ill", "cluster_state", heir, ill},
		{"the heir still receives a copy", "not in sync", late, seen("z", "z", view()...)},
	} {
		if err := mayTake([]*heard{old, c.heir, c.other}, c.heir, old); (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %v; want %q", c.name, err, c.refused)
		}
	}
}

func TestStrangers(t *testing.T) {
	one, two := seen("a", "a", master("a", 9), master("b", 9)), seen("c", "c", master("c", 9), master("d", 9))
	moved := seen("b", "b", master("a", 9), master("b", 9))
	fresh, shy := seen("e", "e", master("e", 0)), seen("e", "e", master("e", 0), fleet.Peer{ID: "q", Meeting: true})
	single := seen("f", "f", master("f", 16384))
	for _, c := range []struct {
		name string
		a, b *heard
		want bool
	}{
		{"two clusters", one, two, true},
		{"a cluster and one that has all slots", one, single, true},
		{"of one cluster", one, moved, false},
		{"a fresh one", fresh, one, false},
		{"one that is being introduced", one, shy, false},
	} {
		if strangers(c.a, c.b) != c.want || strangers(c.b, c.a) != c.want {
			t.Errorf("%s: strangers is %t", c.name, !c.want)
		}
	}
}

// What a real Redis says of its histories is what tells whether it is ahead.
func TestHistories(t *testing.T) {
	const zeros = "0000000000000000000000000000000000000000"
	told := func(text string) *heard {
		r := &heard{}
		r.take(parseInfo("role:master\n" + text))
		return r
	}
	heir := told("master_replid:new\nmaster_replid2:old\nsecond_repl_offset:1001\nmaster_repl_offset:2000\n")
	for _, c := range []struct {
		name, info string
		ahead      bool
	}{
		{"stopped where the heir took over", "master_replid:old\nmaster_repl_offset:1000\nmaster_replid2:" + zeros + "\nsecond_repl_offset:-1", false},
		{"went on", "master_replid:old\nmaster_repl_offset:1050\nmaster_replid2:" + zeros + "\nsecond_repl_offset:-1", true},
		{"another history", "master_replid:other\nmaster_repl_offset:5\nmaster_replid2:" + zeros + "\nsecond_repl_offset:-1", true},
	} {
		if old := told(c.info); old.Ahead(&heir.Member) != c.ahead || old.History2 != "" || old.Offset2 != 0 {
			t.Errorf("%s: ahead is %t, %+v", c.name, !c.ahead, old)
		}
	}
}

// The hand acts over TLS, as a user with no more rights than it needs.
func TestActOverTLSAsUser(t *testing.T) {
	ca := newAuthority(t)
	s := ca.startTLS(t, "redis.shop", time.Now().Add(time.Hour), "--tls-auth-clients", "no", "--user", "default", "off",
		"--user", "drover", "on", ">"+password, "+info", "+config|get", "+config|set", "+client|info", "+client|pause", "+client|unpause", "+client|kill", "+replicaof")
	h := newHand(t, map[string]map[string]string{"shop/tls": {"username": "drover", "password": password, "ca.crt": ca.pem}})
	st := fleet.Store{Name: "shop/s", Mover: fleet.SentinelMover, Members: []fleet.Member{s.member("m")}, Spec: fleet.StoreSpec{TLS: true, Secret: "tls", ServerName: "redis.shop"}}
	mustAct(t, h, st, fleet.Action{Verb: fleet.Prefer, Pod: ref("m"), To: 7})
	if m := observed(h, st).Members[0]; m.Trouble != "" || m.Priority != 7 {
		t.Errorf("trouble %q, priority %d", m.Trouble, m.Priority)
	}
}
