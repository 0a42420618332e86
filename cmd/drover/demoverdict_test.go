package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"drover.dev/sandbox"
	"drover.dev/sandbox/jobs"
)

// aVerdict is what a demo with drover ends with: two workers came through the pooler that went, and came back by the other one.
func aVerdict() poolerVerdict {
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	closed := jobs.Line{Peer: "old", Opened: start, Ended: start.Add(20 * time.Second), End: jobs.Closed}
	again := jobs.Line{Peer: "other", Opened: start.Add(20 * time.Second), End: jobs.Open}
	return poolerVerdict{
		before: jobs.Report{Started: start, At: start.Add(10 * time.Second), Waiting: 10},
		after: jobs.Report{
			Started: start, At: start.Add(4 * time.Second), Done: 120, Waiting: 12, Standstill: 300 * time.Millisecond, Lines: []jobs.Line{closed, closed, again, again},
			Seconds: []jobs.Second{{Done: 40, Waiting: 10}, {Done: 20, Waiting: 80}, {Done: 0, Waiting: 40}, {Done: 60, Waiting: 0}, {Done: 3, Waiting: 12}},
		},
		taken:    poolerHost{pod: "old"},
		farewell: sandbox.Farewell{PreStop: true, Term: true, Safe: true, Code: "0"},
		poolers:  []poolerHost{{pod: "other", zone: "a"}, {pod: "new", zone: "b"}},
		marks:    []chartMark{{1, "AWS rebalances"}},
	}
}

func TestPoolerVerdict(t *testing.T) {
	v := aVerdict()
	var out strings.Builder
	if err := v.print(&out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	golden(t, "testdata/demo-pgbouncer.txt", out.String())
}

// Each promise is broken by what it is about, and by that alone.
func TestPoolerVerdictBroken(t *testing.T) {
	for what, spoil := range map[string]func(v *poolerVerdict){
		"saw of its end: nothing":          func(v *poolerVerdict) { v.farewell = sandbox.Farewell{} },
		"preStop, no SIGTERM":              func(v *poolerVerdict) { v.farewell.Term = false },
		"1 closed properly, 1 broken":      func(v *poolerVerdict) { v.after.Lines[0].End = jobs.Broken },
		"1 closed properly, 0 broken, 1":   func(v *poolerVerdict) { v.after.Lines[0].End = jobs.Hung },
		"0 connections through it":         func(v *poolerVerdict) { v.after.Lines = v.after.Lines[2:] },
		"1 left in their midst":            func(v *poolerVerdict) { v.after.Lines[1].Interrupted = true },
		"for 5s: 3 of 16":                  func(v *poolerVerdict) { v.after.Hanging = 3 },
		"10 jobs waited before, 81 at the": func(v *poolerVerdict) { v.after.Waiting = 81 },
		"it stood still for at most 2s":    func(v *poolerVerdict) { v.after.Standstill = 2 * time.Second },
		"1 of 2 poolers":                   func(v *poolerVerdict) { v.poolers = v.poolers[1:] },
		"2 of 2 poolers are ready, in b":   func(v *poolerVerdict) { v.poolers[0].pod, v.poolers[0].zone = "old", "b" },
	} {
		v := aVerdict()
		spoil(&v)
		var out strings.Builder
		err := v.print(&out)
		var coded *exit
		if !errors.As(err, &coded) || coded.code != exitFailed || !strings.Contains(err.Error(), "1 of 6 promises") {
			t.Errorf("%s: %v; want one promise broken", what, err)
		}
		broken := ""
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, "  BROKEN") {
				broken += line
			}
		}
		if !strings.Contains(broken, what) {
			t.Errorf("%s: broken is %q", what, broken)
		}
	}
}

// A long chart is drawn in columns of several seconds, and its marks with it.
func TestChartFitsATerminal(t *testing.T) {
	seconds := make([]jobs.Second, 121)
	for i := range seconds {
		seconds[i] = jobs.Second{Done: 2 * demoRate, Waiting: i}
	}
	got := strings.Split(chart(seconds, []chartMark{{60, "here"}}), "\n")
	if want := "  done a second  " + strings.Repeat("█", 40) + "  up to 140"; got[0] != want {
		t.Errorf("%q, want %q", got[0], want)
	}
	if want := "                 " + strings.Repeat(" ", 20) + "^ 60s here"; got[2] != want {
		t.Errorf("%q, want %q", got[2], want)
	}
	if got := chart(nil, nil); !strings.Contains(got, "up to 0") {
		t.Errorf("nothing at all is drawn as %q", got)
	}
}
