package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"drover.dev/sandbox"
	"drover.dev/sandbox/jobs"
)

// poolerVerdict holds what is known after the demo, and judges it.
type poolerVerdict struct {
	before, after jobs.Report
	taken         poolerHost
	farewell      sandbox.Farewell
	poolers       []poolerHost // at the end
	marks         []chartMark
	naive         bool
}

// What the queue may do while a pooler goes: stand still for a moment, and end with no more jobs than come in a second.
const (
	standstillLimit = 2 * time.Second
	waitingLimit    = demoRate
)

// print writes the report; a promise that does not hold is an error.
func (v *poolerVerdict) print(out io.Writer) error {
	fmt.Fprintf(out, "\nReport\n")
	broken := 0
	check := func(ok bool, format string, args ...any) {
		mark := "ok    "
		if !ok {
			mark = "BROKEN"
			broken++
		}
		fmt.Fprintf(out, "  %s  %s\n", mark, fmt.Sprintf(format, args...))
	}
	f, ends := v.farewell, v.after.Through(v.taken.pod, v.before.At)
	lost := ends[jobs.Broken] + ends[jobs.Hung]
	check(f.PreStop && f.Term && f.Safe && f.Code == "0", "what the pooler's own process saw of its end: %s", saw(f))
	check(ends[jobs.Closed] > 0 && lost == 0 && ends[jobs.Open] == 0, "%d connections through it: %d closed properly, %d broken, %d hung", ends[jobs.Closed]+ends[jobs.Open]+lost,
		ends[jobs.Closed], ends[jobs.Broken], ends[jobs.Hung])
	check(v.after.Interrupted() == 0, "%d jobs done, %d left in their midst", v.after.Done, v.after.Interrupted())
	check(v.after.Hanging == 0, "workers that hang at the end, without an answer for %v: %d of %d", demoPatience, v.after.Hanging, demoWorkers)
	check(v.after.Standstill < standstillLimit && v.after.Waiting <= v.before.Waiting+waitingLimit, "the queue: %d jobs waited before, %d at the end; it stood still for at most %v",
		v.before.Waiting, v.after.Waiting, v.after.Standstill.Round(time.Millisecond))
	check(!slices.ContainsFunc(v.poolers, func(h poolerHost) bool { return h.pod == v.taken.pod }) && len(v.poolers) == 2, "%d of 2 poolers are ready, in %s", len(v.poolers), zonesOf(v.poolers))
	fmt.Fprintf(out, "\n%s", chart(v.after.Seconds, v.marks))
	if broken > 0 {
		return &exit{exitFailed, fmt.Errorf("%d of 6 promises did not hold: %d of %d workers hang", broken, v.after.Hanging, demoWorkers)}
	}
	return nil
}

// saw puts into words what a pooler's process saw of its end.
func saw(f sandbox.Farewell) string {
	if f == (sandbox.Farewell{}) {
		return "nothing: no preStop, no SIGTERM"
	}
	var words []string
	for _, s := range []struct {
		seen bool
		what string
	}{{f.PreStop, "preStop"}, {f.Term, "SIGTERM"}, {f.Safe, "safe shutdown"}} {
		if s.seen {
			words = append(words, s.what)
		} else {
			words = append(words, "no "+s.what)
		}
	}
	if f.Code == "" {
		return strings.Join(append(words, "and no time to come to its end"), ", ")
	}
	return strings.Join(append(words, "exit code "+f.Code), ", ")
}

func zonesOf(hosts []poolerHost) string {
	var zones []string
	for _, h := range hosts {
		zones = append(zones, h.zone)
	}
	slices.Sort(zones)
	return strings.Join(slices.Compact(zones), " and ")
}

// chartMark is a second worth pointing at.
type chartMark struct {
	second int
	what   string
}

func (m chartMark) String() string { return fmt.Sprintf("%ds %s", m.second, m.what) }

// bars are the heights of a chart's columns. An empty one is a low one, so that the line does not end there.
var bars = []rune("▁▂▃▄▅▆▇█")

// chartWidth leaves room for the words around a chart on a narrow terminal.
const chartWidth = 50

// chart draws the work over time: what was done, what waited, and under it what happened when.
func chart(seconds []jobs.Second, marks []chartMark) string {
	seconds = seconds[:max(len(seconds)-1, 0)] // the last one is not over
	per := max(1, (len(seconds)+chartWidth-1)/chartWidth)
	// A row is drawn against the work of a second at least, so that calm looks calm.
	row := func(name string, of func(jobs.Second) int) string {
		var columns []int
		for part := range slices.Chunk(seconds, per) {
			sum := 0
			for _, s := range part {
				sum += of(s)
			}
			columns = append(columns, sum/len(part))
		}
		top := slices.Max(append(columns, 0))
		var b strings.Builder
		for _, n := range columns {
			b.WriteRune(bars[n*(len(bars)-1)/max(top, demoRate)])
		}
		return fmt.Sprintf("  %-14s %s  up to %d\n", name, &b, top)
	}
	out := row("done a second", func(s jobs.Second) int { return s.Done }) + row("waiting", func(s jobs.Second) int { return s.Waiting })
	for _, m := range marks {
		out += fmt.Sprintf("  %-14s %s^ %s\n", "", strings.Repeat(" ", m.second/per), m)
	}
	return out
}
