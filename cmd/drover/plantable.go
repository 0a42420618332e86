package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// planTable prints a plan for people: what goes, what moves at which pace, what was found, how long it takes.
func planTable(w io.Writer, d *planDocument) {
	fmt.Fprintf(w, "Plan %s for %s\n", d.Hash, d.Place)
	groupTable(w, d.Groups)
	exitTable(w, d.Exits)
	if d.Steps != nil {
		singleTable(w, d)
	} else if lanes := laneRows(d.Moves); len(lanes) > 0 {
		fmt.Fprintln(w)
		columns(w, "LANE MOVES", lanes)
	}
	fmt.Fprintln(w)
	planNotes(w, d)
	findingsTable(w, d.Findings)
	forecastLines(w, d)
}

func groupTable(w io.Writer, groups []groupDocument) {
	var rows [][]string
	for _, g := range groups {
		desired := fmt.Sprintf("%d→%d→%d", g.Desired, g.Desired+g.Surge, g.Desired)
		if g.Copy != "" {
			desired = fmt.Sprintf("%d, replaced by %s", g.Desired, g.Copy)
		}
		if g.Resumed {
			desired += " (goes on)"
		}
		rows = append(rows, []string{g.Name, desired, fmt.Sprint(g.Max), orDash(strings.Join(g.Launches, ", "))})
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		columns(w, "GROUP DESIRED MAX LAUNCHES", rows)
	}
}

// exitTable lists the nodes that go. A reason that all of them share is told once.
func exitTable(w io.Writer, exits []exitDocument) {
	if len(exits) == 0 {
		return
	}
	header, why := "NODE INSTANCE ZONE PODS", exits[0].Why
	shared := !slices.ContainsFunc(exits, func(e exitDocument) bool { return e.Why != why })
	var rows [][]string
	for _, e := range exits {
		row := []string{orDash(e.Node), orDash(e.Instance), orDash(e.Zone), fmt.Sprint(e.Pods)}
		if !shared {
			row = append(row, e.Why)
		}
		rows = append(rows, row)
	}
	if !shared {
		header += " WHY"
	}
	fmt.Fprintln(w)
	columns(w, header, rows)
	if shared {
		fmt.Fprintln(w, "Why:", why)
	}
}

func planNotes(w io.Writer, d *planDocument) {
	for _, n := range d.Notes {
		fmt.Fprintln(w, "Note:", n)
	}
	for _, m := range d.Moves {
		if m.Why != "" && d.Steps == nil && !(len(d.Stores) > 0 && strings.HasPrefix(m.Why, "mover ")) { // a line for each store says more
			fmt.Fprintf(w, "Note: pod %s: %s\n", m.Pod, m.Why)
		}
	}
	if n := len(d.Stays); n > 0 {
		fmt.Fprintf(w, "%d pods stay on their nodes and go with them (DaemonSet and static pods).\n", n)
	}
	if d.Canary != "" {
		fmt.Fprintf(w, "Canary: one node is replaced first, and watched for %s before the others go.\n", d.Canary)
	}
	if d.Bake != "" {
		fmt.Fprintf(w, "Bake: old nodes are kept in Standby for %s; until then drover rollback returns to them.\n", d.Bake)
	}
	for _, p := range d.Probes {
		fmt.Fprintf(w, "Probe: nothing moves while %s is bad.\n", p)
	}
}

// findingsTable prints what checks found, what blocks first.
func findingsTable(w io.Writer, findings []findingDoc) {
	if len(findings) == 0 {
		return
	}
	blocks, wide := 0, 0
	for _, f := range findings {
		if f.Blocks {
			blocks++
		}
		wide = max(wide, len(f.Code))
	}
	if blocks > 0 {
		fmt.Fprintf(w, "Blocked, %s:\n", counted(blocks, "problem", "problems"))
	} else {
		fmt.Fprintf(w, "Worth knowing, %s:\n", counted(len(findings), "finding", "findings"))
	}
	for _, f := range findings {
		weight := "warns "
		if f.Blocks {
			weight = "blocks"
		}
		fmt.Fprintf(w, "  %s  %-*s  %s: %s\n  %s→ %s\n", weight, wide, f.Code, f.Subject, f.Reason, strings.Repeat(" ", wide+10), f.Next)
	}
	fmt.Fprintln(w)
}

func forecastLines(w io.Writer, d *planDocument) {
	for _, f := range d.Findings {
		if f.Blocks {
			return // there is no forecast of what must not begin
		}
	}
	if len(d.Forecast.Stuck) > 0 {
		fmt.Fprintln(w, "Forecast: it would come to a stand, because")
		for _, h := range d.Forecast.Stuck {
			fmt.Fprintln(w, "  "+h)
		}
		return
	}
	if d.Steps != nil {
		stepTable(w, d.Steps, d.Forecast.Seconds)
		return
	}
	fmt.Fprintf(w, "Forecast: %s, in about %s", counted(len(d.Moves), "pod moves once", "pods move once each"), inSeconds(d.Forecast.Seconds))
	if d.Forecast.Peak > 0 && len(d.Groups) > 0 {
		fmt.Fprintf(w, ", with at most %d instances at once", d.Forecast.Peak)
	}
	fmt.Fprintln(w, ".")
	for i := range d.Stores {
		fmt.Fprintln(w, "  "+d.Stores[i].String())
	}
	if d.Forecast.Path != "" {
		fmt.Fprintf(w, "  Critical path  %s\n", d.Forecast.Path)
	}
	if b := d.Forecast.Bound; b > 0 {
		fmt.Fprintf(w, "  Lower bound    %s: no order could be faster with these budgets and this surge; the forecast is %.2f times that\n", inSeconds(b), d.Forecast.Seconds/b)
	}
	if d.Forecast.Surge > 0 {
		fmt.Fprintf(w, "  Surge          %.2f instance-hours beyond what the groups have anyway\n", d.Forecast.Surge)
	}
	for _, e := range d.Forecast.After {
		fmt.Fprintln(w, "Afterwards:", e)
	}
}

func inSeconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Second)
}

// laneRows counts moves per lane, in order of first appearance. Lanes of a single pod are counted together.
func laneRows(moves []moveDocument) [][]string {
	var order []string
	count := map[string]int{}
	for _, m := range moves {
		name := m.Lane
		if strings.HasPrefix(name, "pod ") {
			name = "pods on their own"
		}
		if count[name] == 0 {
			order = append(order, name)
		}
		count[name]++
	}
	var rows [][]string
	for _, name := range order {
		rows = append(rows, []string{name, fmt.Sprint(count[name])})
	}
	return rows
}
