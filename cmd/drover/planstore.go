package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// storePlan is what a plan does to one store, as its forecast has it.
type storePlan struct {
	Store     string     `json:"store"`
	Pods      []string   `json:"pods"` // in the order in which they move
	Handovers []handover `json:"handovers,omitempty"`
	Temporary []string   `json:"temporaryPods,omitempty"`
	Begins    float64    `json:"beginsAfterSeconds"`
	Ends      float64    `json:"endsAfterSeconds"`
}

// handover is a role that goes from one pod to another.
type handover struct {
	From  string  `json:"from"`
	To    string  `json:"to"`
	After float64 `json:"afterSeconds"`
}

// planStep is one action of a plan's forecast.
type planStep struct {
	After  float64 `json:"afterSeconds"`
	Action string  `json:"action"`
	Why    string  `json:"why"`
}

// storePlans collects from a forecast what becomes of each store, in the order in which their turns come.
func storePlans(events []evac.Event) []storePlan {
	var out []storePlan
	for _, e := range events {
		a := e.Action
		if a.Store == "" {
			continue
		}
		i := slices.IndexFunc(out, func(p storePlan) bool { return p.Store == a.Store })
		if i < 0 {
			i, out = len(out), append(out, storePlan{Store: a.Store, Pods: []string{}, Begins: e.After.Seconds()})
		}
		p := &out[i]
		p.Ends = e.After.Seconds()
		switch a.Verb {
		case fleet.Engage:
			p.Pods = with(p.Pods, a.Pod.Name)
		case fleet.Lend:
			p.Temporary = with(p.Temporary, a.Peer.Name)
		case fleet.Switch:
			p.Handovers = append(p.Handovers, handover{a.Pod.Name, a.Peer.Name, p.Ends})
		case fleet.Failover:
			p.Handovers = append(p.Handovers, handover{a.Peer.Name, a.Pod.Name, p.Ends})
		}
	}
	return out
}

func with(names []string, name string) []string {
	if slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

// planSteps are the actions of a forecast.
func planSteps(events []evac.Event) []planStep {
	out := []planStep{}
	for _, e := range events {
		out = append(out, planStep{e.After.Seconds(), e.Action.String(), e.Action.Why})
	}
	return out
}

// String is the line of a plan about a store.
func (p *storePlan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Store %s: %s", p.Store, counted(len(p.Pods), "pod moves", "pods move, one after the other"))
	fmt.Fprintf(&b, ", within %s", inSeconds(p.Ends-p.Begins))
	if len(p.Handovers) == 0 {
		b.WriteString("; no failover")
	} else {
		var turns []string
		for _, h := range p.Handovers {
			turns = append(turns, fmt.Sprintf("%s → %s", h.From, h.To))
		}
		fmt.Fprintf(&b, "; %s (%s)", counted(len(turns), "failover", "failovers"), strings.Join(turns, ", "))
	}
	if len(p.Temporary) > 0 {
		fmt.Fprintf(&b, "; %s (%s)", counted(len(p.Temporary), "temporary pod", "temporary pods"), strings.Join(p.Temporary, ", "))
	}
	return b.String() + "."
}

// singleTable lists the pods of a plan that moves single pods.
func singleTable(w io.Writer, d *planDocument) {
	var rows [][]string
	for _, m := range d.Moves {
		why := m.Why
		if why == "" {
			why = "evicted within its budgets"
		}
		rows = append(rows, []string{m.Pod, orDash(m.From), why})
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		columns(w, "POD LEAVES HOW", rows)
	}
}

// stepTable lists what is done, in order, and how long it takes altogether.
func stepTable(w io.Writer, steps []planStep, seconds float64) {
	if len(steps) == 0 {
		return
	}
	fmt.Fprintln(w, "Steps, if all goes well:")
	for _, s := range steps {
		fmt.Fprintf(w, "  %7s  %s · %s\n", "+"+inSeconds(s.After).String(), s.Action, s.Why)
	}
	fmt.Fprintf(w, "Forecast: about %s.\n", inSeconds(seconds))
}
