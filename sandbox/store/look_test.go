package store

import (
	"slices"
	"testing"
	"time"
)

// TestLook: a witness sees how processes stand, and no packet is sent for it.
func TestLook(t *testing.T) {
	l := newLab(t, Options{Seed: 1})
	l.SetName("db", "10.0.0.1")
	l.start(Config{Addr: "10.0.0.1:6379", Store: "s", Settings: map[string]string{"min-replicas-to-write": "1"}})
	l.start(Config{Addr: "10.0.0.2:6379", Store: "s", ReplicaOf: "db:6379", Settings: map[string]string{"repl-diskless-sync-delay": "0"}})
	for _, addr := range []string{"10.0.0.3:26379", "10.0.0.4:26379"} {
		l.start(Config{Addr: addr, Kind: Sentinel, Store: "s", Monitor: "10.0.0.1:6379"})
	}
	l.pass(30 * time.Second)
	looks := l.Look()
	if len(looks) != 4 {
		t.Fatalf("%d processes, want 4", len(looks))
	}
	master, replica, one, other := looks[0], looks[1], looks[2], looks[3]
	if master.Master != "" || master.Settings["min-replicas-to-write"] != "1" || master.Kind != Data {
		t.Errorf("master: %+v", master)
	}
	if l.Resolve(replica.Master) != master.Addr || !replica.Linked {
		t.Errorf("replica: %+v", replica)
	}
	if one.Names != master.Addr || !slices.Equal(one.Replicas, []string{replica.Addr}) || one.Peers[other.ID] != other.Addr {
		t.Errorf("Sentinel: %+v", one)
	}
	if n := l.Failovers("s"); n != 0 {
		t.Errorf("%d failovers before any", n)
	}
	l.ask(one.Addr, "SENTINEL FAILOVER mymaster")
	l.pass(10 * time.Second)
	if n := l.Failovers("s"); n != 1 {
		t.Errorf("%d failovers, want 1", n)
	}
}

// TestLookAtCluster: every node's own view is told, so that they can be compared.
func TestLookAtCluster(t *testing.T) {
	l := newLab(t, Options{Seed: 1})
	var masters []string
	for _, addr := range []string{"10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379"} {
		l.start(Config{Addr: addr, Store: "s", Cluster: true})
		masters = append(masters, addr)
	}
	if err := l.Join(masters, nil); err != nil {
		t.Fatal(err)
	}
	slots := 0
	for _, k := range l.Look() {
		if slots += k.Slots; len(k.Nodes) != 3 || !slices.Equal(k.Nodes, l.Look()[0].Nodes) {
			t.Errorf("%s sees %q", k.Addr, k.Nodes)
		}
	}
	if slots != 16384 {
		t.Errorf("%d slots, want 16384", slots)
	}
}
