package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	"drover.dev/sandbox/balancer"
	"drover.dev/sandbox/witness"
)

// stagingVerdict holds what is known after the demo, and judges it.
type stagingVerdict struct {
	production       []string        // its pods
	refusal          map[string]bool // those that the refusal names
	onShared, onOwn  night
	changed, outside []string // what is not as it was: of staging's, of others
	traffic          balancer.Report
	seen             witness.Report
}

// differ notes what changed from one scene to another.
func (v *stagingVerdict) differ(when string, before, after scene) {
	for _, c := range differences(before.ours, after.ours) {
		v.changed = append(v.changed, when+": "+c)
	}
	v.differOutside(when, before, after)
}

// differOutside notes what changed of others'.
func (v *stagingVerdict) differOutside(when string, before, after scene) {
	for _, c := range differences(before.others, after.others) {
		v.outside = append(v.outside, when+": "+c)
	}
}

// print writes the report; a promise that does not hold is an error.
func (v *stagingVerdict) print(out io.Writer) error {
	r := newReport(out)
	r.check(v.traffic.Sent > 0 && v.traffic.Failed == 0, "production: %d requests sent, %d failed", v.traffic.Sent, v.traffic.Failed)
	r.check(v.seen.Pods > 0 && len(v.seen.Stayed) == v.seen.Pods && len(v.seen.Breaks) == 0, "production: %d of %d pods moved or evicted; budgets broken: %d times (counted after each of %d events, not by drover)",
		v.seen.Pods-len(v.seen.Stayed), v.seen.Pods, len(v.seen.Breaks), v.seen.Checks)
	named := slices.DeleteFunc(slices.Clone(v.production), func(p string) bool { return !v.refusal[p] })
	r.check(len(named) > 0 && len(named) == len(v.production), "shared nodes, policy Refuse: stop is refused, and names %d of %d pods of production that are in the way", len(named), len(v.production))
	s := &v.onShared
	r.check(len(s.gone) > 0 && len(s.foreign) == 0 && s.left == len(s.nodes)-len(s.gone), "shared nodes, policy Own: %d of %d nodes left, by id (%s), with %d pods of production on them", len(s.gone), len(s.nodes), strings.Join(s.gone, ", "), len(s.foreign))
	o := &v.onOwn
	r.check(len(o.nodes) > 0 && o.left == 0, "its own nodes: %d before the stop, %d while it slept", len(o.nodes), o.left)
	for _, n := range []*night{s, o} {
		r.check(n.database == "stopped" && errors.Is(n.login, syscall.ECONNREFUSED) && n.money != "" && n.copies > 0, "asleep in %s: the database is %s and a login %s; saves %s; %d records outside of the cluster",
			n.group, n.database, refusedWord(n.login), orDash(n.money), n.copies)
	}
	r.check(strings.Contains(s.notes, noteBefore) && strings.Contains(o.notes, noteBefore) && strings.Contains(o.notes, noteLater), "awake again, the application answers with what was written before: %q", strings.Split(strings.TrimSpace(o.notes), "\n"))
	r.check(len(v.changed) == 0, "originals are back: replicas, suspend, limits, processes, protections, tags, annotations; %d things differ", len(v.changed))
	r.check(len(v.outside) == 0, "nothing else was touched, not even meanwhile; %d things differ", len(v.outside))
	fmt.Fprintf(out, "  took    stop %s and start %s on shared nodes, stop %s and start %s on its own\n", seconds(s.took[0]), seconds(s.took[1]), seconds(o.took[0]), seconds(o.took[1]))
	fmt.Fprintf(out, "\nproduction: %s\n", v.traffic)
	for _, c := range append(slices.Clone(v.changed), v.outside...) {
		fmt.Fprintln(out, "  "+c)
	}
	return r.err()
}

func seconds(d time.Duration) time.Duration { return d.Round(time.Second) }

func refusedWord(err error) string {
	switch {
	case err == nil:
		return "works"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "is refused"
	}
	return "fails: " + err.Error()
}

// report is a list of promises, and which of them do not hold.
type report struct {
	out      io.Writer
	promises int
	broken   []string
}

func newReport(out io.Writer) *report {
	fmt.Fprintf(out, "\nReport\n")
	return &report{out: out}
}

func (r *report) check(ok bool, format string, args ...any) {
	mark, promise := "ok    ", fmt.Sprintf(format, args...)
	r.promises++
	if !ok {
		mark = "BROKEN"
		r.broken = append(r.broken, promise)
	}
	fmt.Fprintf(r.out, "  %s  %s\n", mark, promise)
}

func (r *report) err() error {
	if len(r.broken) == 0 {
		return nil
	}
	return &exit{exitFailed, fmt.Errorf("%d of %d promises did not hold: %s", len(r.broken), r.promises, strings.Join(r.broken, "; and "))}
}

// naiveVerdict judges what a script did.
type naiveVerdict struct {
	nodes, left, ours []string            // before, after, and staging's
	carried           map[string][]string // pods of production by node, before
	deployments       []string            // of staging, after
	traffic           balancer.Report
	seen              witness.Report
}

func (v *naiveVerdict) print(out io.Writer) error {
	r := newReport(out)
	var gone, foreign, idle []string
	for _, n := range v.nodes {
		if !slices.Contains(v.left, n) {
			gone = append(gone, n)
			foreign = append(foreign, v.carried[n]...)
		}
	}
	for _, n := range v.ours {
		if slices.Contains(v.left, n) {
			idle = append(idle, n)
		}
	}
	r.check(len(foreign) == 0, "AWS took node %s: the zone with the most nodes, and in it the oldest. It carried %s", orNone(gone), orNone(foreign))
	r.check(len(idle) == 0, "staging's own nodes that run on, and are paid for: %s", orNone(idle))
	r.check(v.traffic.Failed == 0, "production: %d requests sent, %d failed", v.traffic.Sent, v.traffic.Failed)
	r.check(len(v.seen.Stayed) == v.seen.Pods, "production: %d of %d pods had to go", v.seen.Pods-len(v.seen.Stayed), v.seen.Pods)
	r.check(len(v.deployments) > 0, "staging has %d deployments; what they were is written down nowhere", len(v.deployments))
	fmt.Fprintf(out, "\nproduction: %s\n", v.traffic)
	return r.err()
}
