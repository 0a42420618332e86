package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// clusterLife is the same life of a cluster in either world: made by commands, a manual failover, a forgotten node, an election, a new address.
func clusterLife(w asked) (said []string, took map[string]time.Duration) {
	took = map[string]time.Duration{}
	at := func(n int) string { return fmt.Sprintf("127.72.0.%d:6379", n) }
	launch := func(addr, volume string) {
		host, _ := split(addr)
		w.launch(Config{Addr: addr, Cluster: true, Announce: host, Volume: volume, Settings: map[string]string{"repl-diskless-sync-delay": "0"}})
	}
	all := []string{at(1), at(2), at(3), at(4), at(5)}
	for i, a := range all {
		launch(a, fmt.Sprint("v", i+1))
	}
	said = play(w, at(1)+" CLUSTER NODES", at(1)+" CLUSTER INFO", at(1)+" SET foo bar")
	for i := range 3 {
		w.say(at(i+1), "CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1))
		w.say(at(i+1), "CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(i*slotCount/3), fmt.Sprint((i+1)*slotCount/3-1))
	}
	said = append(said, play(w, at(1)+" CLUSTER NODES", at(1)+" CLUSTER ADDSLOTSRANGE 0 1", at(1)+" CLUSTER ADDSLOTSRANGE 5 1", at(1)+" CLUSTER ADDSLOTSRANGE x 1", at(1)+" CLUSTER SET-CONFIG-EPOCH 4", at(4)+" CLUSTER SET-CONFIG-EPOCH -1", at(4)+" CLUSTER SET-CONFIG-EPOCH x")...)
	for i := range 4 {
		w.say(at(1), "CLUSTER", "MEET", fmt.Sprint("127.72.0.", i+2), "6379")
	}
	lines := func(addr string) []string {
		text, _ := w.say(addr, "CLUSTER", "NODES").(string)
		return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	}
	view := func(by, id string) []string {
		for _, l := range lines(by) {
			if f := strings.Fields(l); len(f) > 7 && f[0] == id {
				return f
			}
		}
		return make([]string, 9)
	}
	everyone := func(except ...string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(a string) bool { return slices.Contains(except, a) })
	}
	each := func(of []string, so func(by string) bool) func() bool {
		return func() bool { return !slices.ContainsFunc(of, func(by string) bool { return !so(by) }) }
	}
	fine := func(by string) bool {
		text, _ := w.say(by, "CLUSTER", "INFO").(string)
		return strings.HasPrefix(text, "cluster_state:ok")
	}
	took["meeting"] = w.until(20*time.Second, "a cluster", each(all, func(by string) bool {
		return fine(by) && len(lines(by)) == 5 && !strings.Contains(strings.Join(lines(by), ""), "handshake") && !strings.Contains(strings.Join(lines(by), ""), "disconnected")
	}))
	id := map[string]string{}
	for _, a := range all {
		id[a], _ = w.say(a, "CLUSTER", "MYID").(string)
	}
	w.until(20*time.Second, "epochs that differ", each(all, func(by string) bool {
		return view(by, id[at(1)])[6] != view(by, id[at(2)])[6] && view(by, id[at(2)])[6] != view(by, id[at(3)])[6] && view(by, id[at(1)])[6] != view(by, id[at(3)])[6]
	}))
	said = append(said, play(w, at(4)+" SET foo bar", at(4)+" SET a b", at(3)+" SET foo bar")...)

	w.say(at(4), "CLUSTER", "REPLICATE", id[at(1)])
	w.say(at(5), "CLUSTER", "REPLICATE", id[at(2)])
	replicas := func(of []string, replica, master string) func() bool {
		return each(of, func(by string) bool {
			f := view(by, id[replica])
			return strings.Contains(f[2], "slave") && f[3] == id[master]
		})
	}
	took["word of a replica"] = w.until(20*time.Second, "replicas", replicas(all, at(4), at(1)))
	w.until(20*time.Second, "replicas", replicas(all, at(5), at(2)))
	linked := func(a string) func() bool {
		return func() bool { r, _ := w.say(a, "ROLE").([]any); return len(r) == 5 && r[3] == "connected" }
	}
	w.until(20*time.Second, "links", linked(at(4)))
	w.until(20*time.Second, "links", linked(at(5)))
	said = append(said, play(w,
		at(4)+" CLUSTER FORGET "+id[at(1)], at(4)+" CLUSTER FORGET "+id[at(4)], at(4)+" CLUSTER FORGET 123", at(4)+" CLUSTER REPLICATE "+id[at(5)], at(4)+" CLUSTER REPLICATE "+id[at(4)],
		at(1)+" CLUSTER REPLICATE "+id[at(2)], at(4)+" CLUSTER REPLICATE 123", at(1)+" CLUSTER FAILOVER", at(4)+" CLUSTER FAILOVER FOO", at(1)+" REPLICAOF NO ONE", at(1)+" CLUSTER MEET x 1",
		at(1)+" CLUSTER MEET 127.72.0.1 x", at(1)+" CLUSTER RESET FOO", at(3)+" CLUSTER RESET HARD", at(1)+" CLUSTER FOO", at(1)+" CLUSTER REPLICAS "+id[at(1)],
		at(1)+" CLUSTER REPLICAS "+id[at(4)], at(1)+" CLUSTER REPLICAS 123", at(1)+" CLUSTER KEYSLOT foo", at(1)+" CLUSTER SETSLOT 5 MIGRATING "+id[at(2)],
		at(1)+" CLUSTER SETSLOT 5 IMPORTING "+id[at(2)], at(1)+" CLUSTER SETSLOT 9000 MIGRATING "+id[at(2)], at(4)+" CLUSTER SETSLOT 5 STABLE", at(1)+" CLUSTER SETSLOT 5 FOO",
		at(1)+" CLUSTER NODES", at(1)+" CLUSTER SETSLOT 5 STABLE", at(1)+" CLUSTER INFO", at(4)+" CLUSTER INFO", at(1)+" INFO", at(4)+" INFO", at(4)+" ROLE", at(1)+" READONLY", at(1)+" CLUSTER MYID",
		at(1)+" CONFIG GET cluster-allow-replica-migration", at(1)+" CONFIG SET cluster-replica-no-failover yes", at(1)+" CONFIG SET cluster-replica-no-failover no",
	)...)

	w.say(at(4), "CLUSTER", "FAILOVER")
	owner := func(of []string, a string) func() bool {
		return each(of, func(by string) bool {
			f := view(by, id[a])
			return strings.Contains(f[2], "master") && len(f) == 9 && f[8] != ""
		})
	}
	took["swap"] = w.until(5*time.Second, "a swap", owner([]string{at(4)}, at(4)))
	took["agreement"] = w.until(5*time.Second, "agreement", owner(all, at(4)))
	took["word of the other role"] = w.until(20*time.Second, "replicas", replicas(all, at(1), at(4)))
	w.until(20*time.Second, "links", linked(at(1)))
	said = append(said, play(w, at(4)+" INFO replication", at(1)+" INFO replication", at(4)+" CLUSTER SLOTS")...)

	// The fifth leaves in the proper way, but is not forgotten by the third.
	gone := id[at(5)]
	w.say(at(5), "CLUSTER", "RESET", "HARD")
	said = append(said, play(w, at(5)+" CLUSTER NODES", at(5)+" ROLE")...)
	took["no address"] = w.until(10*time.Second, "an entry without an address", each(everyone(at(5)), func(by string) bool { return strings.Contains(view(by, gone)[2], "noaddr") }))
	for _, a := range everyone(at(5)) {
		w.say(a, "CLUSTER", "FORGET", gone)
	}
	said = append(said, play(w, at(2)+" CLUSTER NODES")...)

	// The fourth, a master, dies; the first takes over again.
	w.halt(at(4), false)
	survivors := []string{at(1), at(2), at(3)}
	took["failed"] = w.until(20*time.Second, "fail", each(survivors, func(by string) bool { return slices.Contains(strings.Split(view(by, id[at(4)])[2], ","), "fail") }))
	took["election"] = w.until(20*time.Second, "an election", owner(survivors, at(1)))
	w.until(20*time.Second, "an ok cluster", each(survivors, fine))
	said = append(said, play(w, at(2)+" CLUSTER NODES", at(2)+" CLUSTER INFO")...)

	// It comes back at another address with its volume.
	launch(at(6), "v4")
	took["new address"] = w.until(10*time.Second, "the new address", each(survivors, func(by string) bool { return strings.HasPrefix(view(by, id[at(4)])[1], at(6)+"@") }))
	id[at(6)] = id[at(4)]
	took["rejoin"] = w.until(20*time.Second, "a replica", func() bool { return replicas(survivors, at(6), at(1))() && linked(at(6))() })
	said = append(said, play(w, at(2)+" CLUSTER NODES", at(6)+" CLUSTER NODES", at(6)+" CLUSTER FAILOVER TAKEOVER", at(6)+" CLUSTER MYID")...)
	return said, took
}

// TestLikeCluster lives one life of a cluster twice.
func TestLikeCluster(t *testing.T) {
	g := newGenuine(t)
	real, realTook := clusterLife(g)
	model, modelTook := clusterLife(modelled{newLab(t, Options{Seed: 1})})
	compare(t, model, real)
	windows := map[string]window{
		"meeting": {0, 12 * time.Second}, "word of a replica": {0, 8 * time.Second}, "swap": {0, 500 * time.Millisecond}, "agreement": {0, 500 * time.Millisecond},
		"word of the other role": {0, 8 * time.Second}, "no address": {0, 8 * time.Second}, "failed": {4 * time.Second, 12 * time.Second}, "election": {0, 5 * time.Second},
		"new address": {0, 3 * time.Second}, "rejoin": {0, 12 * time.Second},
	}
	keeps(t, "Redis", realTook, windows)
	keeps(t, "model", modelTook, windows)
}
