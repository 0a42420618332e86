package fleet

import "testing"

// Two pods of operators on one node: the refusal of one is not the other's.
func TestDangerCourtKeys(t *testing.T) {
	a := Action{Verb: Court, Node: "node-1", Pod: PodRef{Namespace: "db", Name: "pg-1", UID: "1"}, Why: "CloudNativePG"}
	b := a
	b.Pod = PodRef{Namespace: "mq", Name: "kafka-0", UID: "2"}
	if a.Key() == b.Key() {
		t.Errorf("two actions with one key: %q", a.Key())
	}
}

// Lend to other nodes is another action; a move that is taken over is not the one that was begun.
func TestDangerEngageKeys(t *testing.T) {
	m := StoreMove{Run: "r-1"}
	n := StoreMove{Run: "r-2"}
	a := Action{Verb: Engage, Store: "s/x", Run: "r-1", Pod: PodRef{UID: "1"}, Move: &m}
	b := Action{Verb: Engage, Store: "s/x", Run: "r-2", Pod: PodRef{UID: "1"}, Move: &n}
	if a.Key() == b.Key() {
		t.Errorf("two actions with one key: %q", a.Key())
	}
}
