package store

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The addresses are of loopback, so that real processes can have them.
const (
	likeMaster  = "127.71.0.1:6379"
	likeReplica = "127.71.0.2:6379"
)

var likeSentinels = []string{"127.71.0.3:26379", "127.71.0.4:26379", "127.71.0.5:26379"}

// watchedLife is the same life in either world: what was answered, and how long things took.
func watchedLife(w asked) (said []string, took map[string]time.Duration) {
	took = map[string]time.Duration{}
	info := func(addr, field string) string {
		text, _ := w.say(addr, "INFO", "replication").(string)
		_, after, _ := strings.Cut(text, "\r\n"+field+":")
		value, _, _ := strings.Cut(after, "\r\n")
		return value
	}
	w.launch(Config{Addr: likeMaster, Announce: "127.71.0.1"})
	w.launch(Config{Addr: likeReplica, Announce: "127.71.0.2", ReplicaOf: likeMaster})
	for _, s := range likeSentinels {
		w.launch(Config{Addr: s, Kind: Sentinel, Monitor: likeMaster})
	}
	took["full copy"] = w.until(20*time.Second, "a full copy", func() bool { return info(likeReplica, "master_link_status") == "up" })
	settled := func(master string) func() bool {
		return func() bool {
			for _, s := range likeSentinels {
				m, _ := w.say(s, "SENTINEL", "MASTER", "mymaster").([]any)
				f := pairs(m)
				if f["ip"]+":"+f["port"] != master || f["num-slaves"] != "1" || f["num-other-sentinels"] != "2" || f["flags"] != "master" {
					return false
				}
				r, _ := w.say(s, "SENTINEL", "REPLICAS", "mymaster").([]any)
				if len(r) != 1 || pairs(r[0])["flags"] != "slave" || pairs(r[0])["master-link-status"] != "ok" || pairs(r[0])["master-host"]+":6379" != master {
					return false
				}
			}
			return true
		}
	}
	w.until(40*time.Second, "a settled pair", settled(likeMaster))
	m, r, s := likeMaster+" ", likeReplica+" ", likeSentinels[0]+" "
	said = play(w,
		m+"INFO", r+"INFO", s+"INFO", m+"ROLE", r+"ROLE", s+"ROLE", m+"CLIENT INFO", m+"CLIENT ID", m+"DBSIZE", m+"SET k v", m+"WAIT 1 1000", r+"GET k", r+"GET nil", m+"APPEND k w",
		m+"INFO keyspace", r+"SET a b", m+"CONFIG GET min-replicas-to-write", m+"CONFIG GET min-replicas-max-lag", m+"CONFIG GET replica-priority", m+"CONFIG GET slave-priority", m+"CONFIG GET nothing",
		m+"CONFIG SET min-replicas-to-write 2 min-replicas-max-lag 2", m+"SET a b", m+"INFO replication", m+"CONFIG SET min-replicas-to-write 0", m+"CONFIG SET min-replicas-to-write x",
		m+"CONFIG SET foo 1", m+"CONFIG SET replica-announced maybe", m+"CONFIG SET cluster-enabled yes", m+"CONFIG SET", m+"FOO bar", m+"CLIENT FOO", m+"SET a", m+"REPLICAOF a b",
		m+"AUTH x", m+"AUTH a b", m+"AUTH default x", m+"CLIENT PAUSE x WRITE", m+"CLIENT PAUSE 1 FOO", m+"CLIENT UNPAUSE", m+"CLIENT KILL TYPE nobody", m+"CLIENT KILL ID 9999", m+"CLUSTER NODES",
		m+"SENTINEL MASTERS", r+"REPLICAOF 127.71.0.1 6379", r+"WAIT 1 1",
		s+"SENTINEL MASTERS", s+"SENTINEL MASTER mymaster", s+"SENTINEL REPLICAS mymaster", s+"SENTINEL SENTINELS mymaster", s+"SENTINEL CKQUORUM mymaster", s+"SENTINEL MYID",
		s+"SENTINEL GET-MASTER-ADDR-BY-NAME mymaster", s+"SENTINEL GET-MASTER-ADDR-BY-NAME x", s+"SENTINEL MASTER x", s+"SENTINEL RESET x", s+"SENTINEL FAILOVER x",
		s+"SENTINEL CKQUORUM x", s+"SENTINEL REMOVE x", s+"SENTINEL MONITOR mymaster 127.71.0.1 1 1", s+"SENTINEL MONITOR y 127.71.0.1 1 0", s+"SENTINEL MONITOR y 127.71.0.1 x 1",
		s+"SENTINEL MONITOR", s+"SENTINEL FOO", s+"SENTINEL SET mymaster foo 3", s+"SENTINEL SET mymaster quorum x", s+"SENTINEL SET mymaster quorum 4", s+"SENTINEL CKQUORUM mymaster",
		s+"SENTINEL SET mymaster quorum 2", s+"GET x", s+"CONFIG GET x", s+"DBSIZE", s+"PING",
	)

	w.say(likeSentinels[0], "SENTINEL", "FAILOVER", "mymaster")
	said = append(said, play(w, s+"SENTINEL FAILOVER mymaster")...)
	took["agreement"] = w.until(10*time.Second, "agreement", func() bool {
		for _, s := range likeSentinels {
			if a, _ := w.say(s, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster").([]any); len(a) != 2 || fmt.Sprint(a[0], ":", a[1]) != likeReplica {
				return false
			}
		}
		return true
	})
	said = append(said, play(w, m+"SET still accepted", m+"INFO replication", r+"INFO replication")...)
	took["demotion"] = w.until(20*time.Second, "demotion", func() bool { return info(likeMaster, "role") == "slave" })
	w.until(60*time.Second, "a settled pair", settled(likeReplica))
	said = append(said, play(w, m+"SET a b", s+"SENTINEL MASTER mymaster", s+"SENTINEL REPLICAS mymaster", s+"SENTINEL SENTINELS mymaster", r+"INFO replication", m+"INFO replication")...)

	w.say(likeSentinels[0], "SENTINEL", "RESET", "mymaster")
	said = append(said, play(w, s+"SENTINEL REPLICAS mymaster", s+"SENTINEL SENTINELS mymaster", s+"SENTINEL FAILOVER mymaster", s+"SENTINEL CKQUORUM mymaster")...)
	took["sight"] = w.until(20*time.Second, "sight", settled(likeReplica))

	w.halt(likeReplica, false)
	down := func() bool {
		return strings.HasPrefix(pairs(w.say(likeSentinels[0], "SENTINEL", "MASTER", "mymaster"))["flags"], "s_down")
	}
	took["down"] = w.until(10*time.Second, "down", down)
	took["rescue"] = w.until(20*time.Second, "rescue", func() bool { return info(likeMaster, "role") == "master" })
	w.until(20*time.Second, "a down replica", func() bool {
		r, _ := w.say(likeSentinels[0], "SENTINEL", "REPLICAS", "mymaster").([]any)
		return len(r) == 1 && pairs(r[0])["flags"] == "s_down,slave,disconnected"
	})
	said = append(said, play(w, s+"SENTINEL REPLICAS mymaster", s+"SENTINEL CKQUORUM mymaster")...)
	return said, took
}

// windows are what either world has to keep to.
type window struct{ from, to time.Duration }

func keeps(t *testing.T, who string, took map[string]time.Duration, windows map[string]window) {
	t.Helper()
	for what, w := range windows {
		t.Logf("%s: %s took %v", who, what, took[what])
		if took[what] < w.from || took[what] > w.to {
			t.Errorf("%s: %s took %v, not %v to %v", who, what, took[what], w.from, w.to)
		}
	}
}

// TestLikeSentinel lives one life twice, in the model and with real processes, and compares the answers.
func TestLikeSentinel(t *testing.T) {
	g := newGenuine(t)
	real, realTook := watchedLife(g)
	model, modelTook := watchedLife(modelled{newLab(t, Options{Seed: 1})})
	compare(t, model, real)
	windows := map[string]window{
		"full copy": {4 * time.Second, 9 * time.Second}, "agreement": {0, 4 * time.Second}, "demotion": {6 * time.Second, 14 * time.Second}, "sight": {0, 14 * time.Second},
		"down": {3 * time.Second, 8 * time.Second}, "rescue": {0, 6 * time.Second},
	}
	keeps(t, "Redis", realTook, windows)
	keeps(t, "model", modelTook, windows)
}
