package keys

import (
	"slices"
	"strings"
	"testing"
)

const (
	nodeA = "aaaa 127.21.1.1:6379@16379 myself,master - 0 0 3 connected 0-8191"
	nodeB = "bbbb 127.21.1.2:6379@16379,name master,nofailover - 0 1700000000000 2 connected 8192-16382 16383 [7->-aaaa]"
	nodeC = "cccc 127.21.1.3:6379@16379 slave aaaa 0 1700000000000 3 connected"
)

func view(t *testing.T, from string, lines ...string) View {
	t.Helper()
	v := View{From: from}
	for _, l := range lines {
		n, err := clusterNode(l)
		if err != nil {
			t.Fatal(err)
		}
		v.Nodes = append(v.Nodes, n)
	}
	return v
}

func TestClusterNode(t *testing.T) {
	v := view(t, "", nodeA, nodeB, nodeC)
	a, b, c := v.Nodes[0], v.Nodes[1], v.Nodes[2]
	if a.ID != "aaaa" || a.Address != "127.21.1.1:6379" || a.Epoch != 3 || a.Is("myself") || !a.Is("master") || a.Master != "" || !slices.Equal(a.Slots, []string{"0-8191"}) {
		t.Errorf("%+v", a)
	}
	if b.Is("fail") || !b.Is("nofailover") || b.Address != "127.21.1.2:6379" || len(b.Slots) != 3 {
		t.Errorf("%+v", b)
	}
	if c.Master != "aaaa" || len(c.Slots) != 0 {
		t.Errorf("%+v", c)
	}
	for _, bad := range []string{"", "aaaa 127.21.1.1:6379@16379 master", strings.Replace(nodeA, " 3 ", " x ", 1)} {
		if _, err := clusterNode(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestCovered(t *testing.T) {
	whole := view(t, "x", nodeA, nodeB, nodeC)
	for _, c := range []struct {
		name  string
		views []View
		want  int
	}{
		{"whole", []View{whole}, 16384},
		{"nobody says anything", nil, 0},
		{"one member sees less", []View{whole, view(t, "y", nodeB)}, 8192},
		{"an owner has failed", []View{view(t, "x", strings.Replace(nodeA, "master", "master,fail", 1), nodeB)}, 8192},
	} {
		if got := Covered(c.views); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestSame(t *testing.T) {
	one, two := view(t, "x", nodeA, nodeB, nodeC), view(t, "y", strings.Replace(nodeA, "myself,", "", 1), nodeB, nodeC)
	if same, why := Same([]View{one, two}); !same {
		t.Errorf("differ: %s", why)
	}
	for name, other := range map[string]View{
		"an address":    view(t, "y", nodeA, strings.Replace(nodeB, "1.2:", "1.9:", 1), nodeC),
		"a role":        view(t, "y", nodeA, nodeB, strings.Replace(nodeC, "aaaa", "bbbb", 1)),
		"slots":         view(t, "y", strings.Replace(nodeA, "8191", "8190", 1), nodeB, nodeC),
		"one missing":   view(t, "y", nodeA, nodeB),
		"a doubt":       view(t, "y", nodeA, nodeB, strings.Replace(nodeC, "slave", "slave,fail?", 1)),
		"no answer":     {From: "y", Err: errTest},
		"nothing known": {From: "y"},
	} {
		if same, why := Same([]View{one, other}); same || !strings.Contains(why, "y") {
			t.Errorf("%s: the same, or without who differs: %q", name, why)
		}
	}
	if same, _ := Same(nil); same {
		t.Error("nobody agrees with nobody")
	}
}

func TestSentinelNode(t *testing.T) {
	n := sentinelNode([]string{"name", "mymaster", "ip", "127.21.1.1", "port", "6379", "runid", "r1", "flags", "master,s_down", "config-epoch", "4"})
	if n.ID != "r1" || n.Address != "127.21.1.1:6379" || n.Epoch != 4 || !n.Is("s_down") || n.Master != "" {
		t.Errorf("%+v", n)
	}
	if n := sentinelNode([]string{"ip", "127.21.1.2", "port", "6379", "flags", "slave", "master-host", "127.21.1.1", "master-port", "6379"}); n.Master != "127.21.1.1:6379" {
		t.Errorf("%+v", n)
	}
}

func TestStaleAndMasters(t *testing.T) {
	says := func(addresses ...string) View {
		v := View{}
		for _, a := range addresses {
			v.Nodes = append(v.Nodes, Node{Address: a})
		}
		return v
	}
	views := []View{says("m1", "gone"), says("m1", "r"), says("m2"), {Err: errTest}}
	if got := Stale(views, []string{"m1", "m2", "r"}); len(got) != 1 || !strings.HasPrefix(got[0], "gone ") {
		t.Errorf("stale: %v", got)
	}
	if got := Masters(Store{Master: "mymaster"}, views); !slices.Equal(got, []string{"m1"}) {
		t.Errorf("the majority names m1, not %v", got)
	}
	if got := Masters(Store{Master: "mymaster"}, []View{{Err: errTest}}); got != nil {
		t.Errorf("nobody names %v", got)
	}
	// Who took the slots over has the higher epoch; who has not heard of it yet names the old owner.
	taken := strings.NewReplacer("aaaa 127.21.1.1", "cccc 127.21.1.3", " 3 ", " 9 ").Replace(nodeA)
	if got := Masters(Store{}, []View{view(t, "x", taken), view(t, "y", nodeA)}); !slices.Equal(got, []string{"127.21.1.3:6379"}) {
		t.Errorf("owners: %v", got)
	}
}
