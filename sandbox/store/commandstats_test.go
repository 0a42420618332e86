package store

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// countedLife is a log that is loaded again, and what is counted afterwards.
func countedLife(w asked) []string {
	const addr = "127.71.1.1:6379"
	c := Config{Addr: addr, Announce: "127.71.1.1", Volume: "log", AOF: true}
	w.launch(c)
	play(w, addr+" SET a 1", addr+" SET b 1", addr+" SET c 1")
	w.halt(addr, true)
	w.launch(c)
	w.until(10*time.Second, "the log is loaded", func() bool { return w.say(addr, "DBSIZE") == int64(3) })
	var said []string
	count := func() {
		text, _ := w.say(addr, "INFO", "commandstats").(string)
		for _, line := range strings.Split(text, "\r\n") {
			name, figures, _ := strings.Cut(line, ":")
			if calls, _, ok := strings.Cut(figures, ","); ok && !slices.Contains([]string{"cmdstat_ping", "cmdstat_dbsize", "cmdstat_info"}, name) {
				_, refused, _ := strings.Cut(figures, "rejected_calls")
				said = append(said, name+" "+calls+" rejected"+refused)
			}
		}
		said = append(said, "")
	}
	text, _ := w.say(addr, "INFO", "persistence").(string)
	_, changes, _ := strings.Cut(text, "rdb_changes_since_last_save:")
	said = append(said, changes[:1])
	count()
	play(w, addr+" CONFIG SET min-replicas-to-write 1", addr+" SET d 1")
	count()
	play(w, addr+" CONFIG SET min-replicas-to-write 0", addr+" SET d 1", addr+" REPLICAOF a b")
	count()
	return said
}

// TestLikeCommandstats compares what is counted of commands: a log that is loaded is not, but it is counted as changes.
func TestLikeCommandstats(t *testing.T) {
	model := countedLife(modelled{newLab(t, Options{Seed: 1})})
	want := []string{"3", "", "cmdstat_config|set calls=1 rejected=0,failed_calls=0", "cmdstat_set calls=0 rejected=1,failed_calls=0", "",
		"cmdstat_config|set calls=2 rejected=0,failed_calls=0", "cmdstat_replicaof calls=1 rejected=0,failed_calls=1", "cmdstat_set calls=1 rejected=1,failed_calls=0", ""}
	if !slices.Equal(model, want) {
		t.Errorf("model:\n%s\nwant:\n%s", strings.Join(model, "\n"), strings.Join(want, "\n"))
	}
	if real := countedLife(newGenuine(t)); !slices.Equal(sorted(real), sorted(want)) {
		t.Errorf("Redis:\n%s\nwant:\n%s", strings.Join(real, "\n"), strings.Join(want, "\n"))
	}
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }
