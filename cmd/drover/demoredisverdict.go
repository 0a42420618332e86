package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	rediskeys "drover.dev/sandbox/keys"
)

// redisVerdict holds what is known after the demo, and judges it.
type redisVerdict struct {
	redisDemoFlags
	before, after map[string]bool // instances
	took          time.Duration
	work          rediskeys.Report
	lost          map[string]rediskeys.Loss // by store
	failovers     map[string]int            // by shard
	stale         []string
	strangers     []string // pods that no StatefulSet has made, at the end
	temporary     int      // as many there have been
	covered       int      // slots
	members       int      // of the cluster that were asked
	same          bool     // they all see the same,
	differ        string   // or how they differ
}

// clusterSlots and clusterMembers are what a whole cluster of the demo has.
const (
	clusterSlots   = 16384
	clusterMembers = 6
)

// print writes the report; a promise that does not hold is an error.
func (v *redisVerdict) print(out io.Writer) error {
	fmt.Fprintf(out, "\nReport\n")
	var broken []string
	promises := 0
	check := func(ok bool, format string, args ...any) {
		mark, promise := "ok    ", strings.TrimSpace(fmt.Sprintf(format, args...))
		promises++
		if !ok {
			mark = "BROKEN"
			broken = append(broken, promise)
		}
		fmt.Fprintf(out, "  %s  %s\n", mark, promise)
	}
	left := 0
	for id := range v.before {
		if v.after[id] {
			left++
		}
	}
	check(left == 0 && len(v.after) == len(v.before), "%d of %d old instances are gone, by id; there are %d now", len(v.before)-left, len(v.before), len(v.after))
	for _, store := range []string{sessionStore, cacheStore} {
		w, lost := v.work.Of(store), v.lost[store]
		check(lost == rediskeys.Loss{} && w.Missing == 0 && w.Written > 0, "%s: %d of %d acknowledged writes are lost to applications%s, %d of them for ever; %d of %d reads missed one",
			store, lost.Writes, w.Written, because(lost.Trouble), lost.Gone, w.Missing, w.Read)
	}
	check(v.pinnedFailovers(), "failovers of the pinned master (there and back: 2): %s", failoverWords(v.failovers, sessionStore))
	check(v.clusterFailovers(), "failovers of each shard of the cluster (1, or 2 by way of a temporary pod, of which there were %d): %s", v.temporary, failoverWords(v.failovers, cacheStore))
	check(len(v.stale) == 0, "addresses of pods that are gone, in the lists of Sentinels and members: %d %s", len(v.stale), strings.Join(v.stale, ", "))
	check(len(v.strangers) == 0, "temporary pods left: %d %s", len(v.strangers), strings.Join(v.strangers, ", "))
	check(v.covered == clusterSlots && v.members == clusterMembers && v.same, "%d of %d slots are served; %s", v.covered, clusterSlots, v.agreement())
	fmt.Fprintf(out, "  took    %s\n\n%s", v.took.Round(time.Second), figures(v.work))
	if len(broken) > 0 {
		return &exit{exitFailed, fmt.Errorf("%d of %d promises did not hold: %s", len(broken), promises, strings.Join(broken, "; and "))}
	}
	return nil
}

// because puts a cause into brackets, if there is one.
func because(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(" (%v)", err)
}

// pinnedFailovers tells whether the master's role went away once, and home.
func (v *redisVerdict) pinnedFailovers() bool { return v.failovers[sessionStore] == 2 }

// clusterFailovers tells whether each of three shards had the one failover that it needs, or the two that a temporary pod brings. When people drain
// node by node, in an order of their own, who took over may have to leave as well: then two without a temporary pod are fair.
func (v *redisVerdict) clusterFailovers() bool {
	had, twice := failoversOf(v.failovers, cacheStore), 0
	for _, n := range had {
		if n < 1 || n > 2 {
			return false
		}
		twice += n - 1
	}
	return len(had) == clusterMembers/2 && (twice <= v.temporary || v.guard)
}

func failoverWords(all map[string]int, store string) string {
	had := failoversOf(all, store)
	var words []string
	for _, shard := range slices.Sorted(maps.Keys(had)) {
		words = append(words, strings.TrimSpace(fmt.Sprintf("%d %s", had[shard], strings.TrimPrefix(strings.TrimPrefix(shard, store), " "))))
	}
	return strings.Join(words, ", ")
}

func (v *redisVerdict) agreement() string {
	if v.same {
		return fmt.Sprintf("all %d members see the same cluster", v.members)
	}
	return "members differ: " + v.differ
}

// figures is what each library did and felt.
func figures(r rediskeys.Report) string {
	var b strings.Builder
	var rows [][]string
	for _, l := range r.Lines {
		rows = append(rows, []string{l.Store, l.Library, strconv.Itoa(l.Written), strconv.Itoa(l.Failed), l.Gap.Round(time.Millisecond).String(),
			strconv.Itoa(l.Read), strconv.Itoa(l.ReadFailed), l.Failures()})
	}
	columns(&b, "STORE LIBRARY WRITTEN FAILED LONGEST-GAP READ NOT-READ ERRORS", rows)
	return b.String()
}
