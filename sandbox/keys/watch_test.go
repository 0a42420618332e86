package keys

import (
	"errors"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
)

var errTest = errors.New("does not answer")

// A Sentinel store's failovers are changes of address with a new epoch. One that begins anew, or is late, adds none; nor does anybody's repetition.
func TestWatchSentinels(t *testing.T) {
	w := &Watch{shards: map[string]*shard{}}
	s := Store{Name: "session", Master: "mymaster"}
	say := func(epoch int64, address string) View {
		return View{Nodes: []Node{{Address: address, Epoch: epoch}, {Address: "replica", Epoch: 77}}}
	}
	for _, c := range []struct {
		name  string
		views []View
		want  int
	}{
		{"the beginning", []View{say(4, "a"), say(4, "a")}, 0},
		{"one heard of it first", []View{say(5, "b"), say(4, "a")}, 1},
		{"all have", []View{say(5, "b"), say(5, "b")}, 1},
		{"one begins anew, with an address of its own", []View{say(0, "c"), say(5, "b")}, 1},
		{"nobody answers", []View{{Err: errTest}}, 1},
		{"an epoch that was no failover", []View{say(6, "b")}, 1},
		{"back", []View{say(7, "a")}, 2},
		{"one is late", []View{say(5, "b"), say(7, "a")}, 2},
		{"the leader of the next is half way", []View{{Nodes: []Node{{Address: "a", Epoch: 8, Flags: []string{"master", "failover_in_progress"}}}}, say(7, "a")}, 2},
		{"and done", []View{say(8, "b"), say(7, "a")}, 3},
	} {
		w.learn(s, c.views)
		if got := w.Failovers()["session"]; got != c.want {
			t.Errorf("%s: %d failovers, want %d", c.name, got, c.want)
		}
	}
}

// In a cluster every range of slots is a shard of its own; its owner is known by id, whatever its address.
func TestWatchCluster(t *testing.T) {
	w := &Watch{shards: map[string]*shard{}}
	s := Store{Name: "cache"}
	w.learn(s, []View{view(t, "x", nodeA, nodeB, nodeC)})
	moved := strings.Replace(nodeA, "127.21.1.1", "127.21.9.9", 1)
	if got := w.learn(s, []View{view(t, "x", moved, nodeB, nodeC)}); got != nil {
		t.Errorf("a new address is no failover: %v", got)
	}
	taken := strings.NewReplacer("aaaa 127.21.1.1", "cccc 127.21.1.3", " 3 ", " 9 ").Replace(nodeA)
	got := w.learn(s, []View{view(t, "x", taken, nodeB)})
	if len(got) != 1 || got[0] != (Failover{Shard: "cache 0-8191", From: "127.21.1.1:6379", To: "127.21.1.3:6379"}) {
		t.Errorf("%+v", got)
	}
	if want := map[string]int{"cache 0-8191": 1, "cache 8192-16382 16383 [7->-aaaa]": 0}; !maps.Equal(w.Failovers(), want) {
		t.Errorf("%v, want %v", w.Failovers(), want)
	}
}

// What happened since the last look is seen when the watching ends, and not twice.
func TestWatchLooksALastTime(t *testing.T) {
	var looks atomic.Int32
	w := StartWatch([]Store{{Name: "session", Members: func() []string { looks.Add(1); return nil }}}, nil, nil)
	w.cancel() // before the first look
	w.work.Wait()
	before := looks.Load()
	w.Stop()
	if w.Stop(); looks.Load() != before+1 {
		t.Errorf("%d looks after the end, want 1", looks.Load()-before)
	}
}
