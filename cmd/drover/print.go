package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"sigs.k8s.io/yaml"

	"drover.dev/engine"
	"drover.dev/evac"
	"drover.dev/fleet"
)

// outputFlag adds -o to a command that prints data.
func (a *app) outputFlag(c *cobra.Command) {
	c.Flags().StringVarP(&a.output, "output", "o", "table", "output format: table, json or yaml")
	c.PreRunE = func(*cobra.Command, []string) error {
		switch a.output {
		case "table", "json", "yaml":
			return nil
		}
		return &exit{exitUsage, fmt.Errorf("--output %q: not a format; use table, json or yaml", a.output)}
	}
}

// print writes a document in the chosen format; table is called for the human one.
func (a *app) print(document any, table func(io.Writer)) error {
	switch a.output {
	case "json":
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		return enc.Encode(document)
	case "yaml":
		b, err := yaml.Marshal(document)
		if err != nil {
			return fmt.Errorf("print as yaml: %w", err)
		}
		_, err = a.out.Write(b)
		return err
	}
	table(a.out)
	return nil
}

// columns prints rows under a header, aligned.
func columns(w io.Writer, header string, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.ReplaceAll(header, " ", "\t"))
	for _, r := range rows {
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	tw.Flush()
}

// paint colours a word for people, when the stream is a terminal that wants it.
func (a *app) paint(code, text string) string {
	if a.color == "never" || a.color == "auto" && (os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !terminal(a.err)) {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

const (
	green  = "32"
	yellow = "33"
	red    = "31"
	dim    = "2"
)

func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// teller prints notes of a run on stderr, a line each.
func (a *app) teller(began time.Time) func(engine.Note) {
	return func(n engine.Note) {
		at := fmt.Sprintf("%7s", "+"+n.At.Sub(began).Round(time.Second).String())
		switch {
		case n.Err != nil && n.Action != nil:
			fmt.Fprintf(a.err, "%s  %s %s: %v %s\n", at, a.paint(yellow, "not yet "), n.Action, n.Err, a.paint(dim, "(again in "+n.Again.String()+")"))
		case n.Err != nil:
			fmt.Fprintf(a.err, "%s  %s %v %s\n", at, a.paint(red, "trouble "), n.Err, a.paint(dim, "(again in "+n.Again.String()+")"))
		case n.Hold != nil:
			fmt.Fprintf(a.err, "%s  %s %s\n", at, a.paint(dim, "waiting "), a.paint(dim, fmt.Sprintf("%s (for %s)", n.Hold, n.Hold.For(n.At))))
		case n.Action != nil:
			fmt.Fprintf(a.err, "%s  %s %s %s\n", at, a.paint(green, "done    "), n.Action, a.paint(dim, "· "+n.Action.Why))
		}
	}
}

// The documents that -o json and -o yaml print. Their fields are part of the interface.
type planDocument struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Hash       string          `json:"hash"`
	Run        string          `json:"run"`
	Place      string          `json:"place"`
	Groups     []groupDocument `json:"groups"`
	Exits      []exitDocument  `json:"exits"`
	Moves      []moveDocument  `json:"moves"`
	Stays      []stayDocument  `json:"stays"`
	Notes      []string        `json:"notes,omitempty"`
	Problems   []fleetProblem  `json:"problems,omitempty"`
	Forecast   forecastDoc     `json:"forecast"`
}

type groupDocument struct {
	Name     string   `json:"name"`
	Desired  int      `json:"desired"`
	Surge    int      `json:"surge"`
	Max      int      `json:"max"`
	Launches []string `json:"launches"`
	Resumed  bool     `json:"resumed,omitempty"`
}

type exitDocument struct {
	Node     string `json:"node,omitempty"`
	Instance string `json:"instance,omitempty"`
	Group    string `json:"group,omitempty"`
	Zone     string `json:"zone,omitempty"`
	Pods     int    `json:"pods"`
	Why      string `json:"why"`
	Replace  bool   `json:"replace"`
	Release  bool   `json:"release"`
}

type moveDocument struct {
	Pod  string `json:"pod"`
	UID  string `json:"uid"`
	From string `json:"from"`
	Lane string `json:"lane"`
	Why  string `json:"why,omitempty"`
}

type stayDocument struct {
	Pod  string `json:"pod"`
	Node string `json:"node"`
	Why  string `json:"why"`
}

type fleetProblem struct {
	Subject string `json:"subject"`
	Reason  string `json:"reason"`
	Next    string `json:"next"`
}

type forecastDoc struct {
	Seconds float64  `json:"seconds"`
	Peak    int      `json:"peakInstances"`
	Stuck   []string `json:"stuck,omitempty"`
	After   []string `json:"exceptions,omitempty"` // what would not be as before
}

func describe(p *evac.Plan, problems []fleet.Finding, place string) planDocument {
	d := planDocument{
		APIVersion: "drover.dev/v1alpha1", Kind: "Plan", Hash: p.Hash(), Run: p.Run, Place: place, Notes: p.Notes,
		Groups: []groupDocument{}, Exits: []exitDocument{}, Moves: []moveDocument{}, Stays: []stayDocument{},
		Forecast: forecastDoc{Seconds: p.Forecast.Took.Seconds(), Peak: p.Forecast.Peak, After: p.Forecast.Exceptions},
	}
	for _, h := range p.Forecast.Stuck {
		d.Forecast.Stuck = append(d.Forecast.Stuck, h.String())
	}
	for _, g := range p.Groups {
		var launches []string
		for _, t := range g.Wants {
			launches = append(launches, t.String())
		}
		d.Groups = append(d.Groups, groupDocument{g.Name, g.Desired, g.Surge, g.Max, launches, g.Resumed})
	}
	pods := map[string]int{}
	for _, m := range p.Moves {
		pods[m.From]++
		d.Moves = append(d.Moves, moveDocument{m.Pod.String(), m.Pod.UID, m.From, m.Lane, m.Why})
	}
	for _, e := range p.Exits {
		d.Exits = append(d.Exits, exitDocument{e.Node, e.Instance, e.Group, e.Zone, pods[e.Node], e.Why, e.Replace, e.Release})
	}
	for _, s := range p.Stays {
		d.Stays = append(d.Stays, stayDocument{s.Pod.String(), s.Node, s.Why})
	}
	for _, p := range problems {
		d.Problems = append(d.Problems, fleetProblem(p))
	}
	return d
}

// planTable prints a plan for people: what goes, what moves at which pace, what stays, how long it takes.
func planTable(w io.Writer, d *planDocument) {
	fmt.Fprintf(w, "Plan %s for %s\n", d.Hash, d.Place)
	if len(d.Groups) > 0 {
		fmt.Fprintln(w)
		var rows [][]string
		for _, g := range d.Groups {
			desired := fmt.Sprintf("%d→%d→%d", g.Desired, g.Desired+g.Surge, g.Desired)
			if g.Resumed {
				desired += " (goes on)"
			}
			rows = append(rows, []string{g.Name, desired, fmt.Sprint(g.Max), strings.Join(g.Launches, ", ")})
		}
		columns(w, "GROUP DESIRED MAX LAUNCHES", rows)
	}
	if len(d.Exits) > 0 {
		fmt.Fprintln(w)
		var rows [][]string
		for _, e := range d.Exits {
			rows = append(rows, []string{orDash(e.Node), orDash(e.Instance), orDash(e.Zone), fmt.Sprint(e.Pods), e.Why})
		}
		columns(w, "NODE INSTANCE ZONE PODS WHY", rows)
	}
	if lanes := laneRows(d.Moves); len(lanes) > 0 {
		fmt.Fprintln(w)
		columns(w, "LANE MOVES", lanes)
	}
	fmt.Fprintln(w)
	for _, n := range d.Notes {
		fmt.Fprintln(w, "Note:", n)
	}
	for _, m := range d.Moves {
		if m.Why != "" {
			fmt.Fprintf(w, "Note: pod %s: %s\n", m.Pod, m.Why)
		}
	}
	if n := len(d.Stays); n > 0 {
		fmt.Fprintf(w, "%d pods stay on their nodes and go with them (DaemonSet and static pods).\n", n)
	}
	switch {
	case len(d.Problems) > 0:
		fmt.Fprintf(w, "Blocked, %d problem(s):\n", len(d.Problems))
		for _, p := range d.Problems {
			fmt.Fprintf(w, "  %s: %s\n    → %s\n", p.Subject, p.Reason, p.Next)
		}
	case len(d.Forecast.Stuck) > 0:
		fmt.Fprintln(w, "Forecast: it would come to a stand, because")
		for _, h := range d.Forecast.Stuck {
			fmt.Fprintln(w, "  "+h)
		}
	default:
		seconds := time.Duration(d.Forecast.Seconds * float64(time.Second)).Round(time.Second)
		fmt.Fprintf(w, "Forecast: %d pods move once each, in about %s", len(d.Moves), seconds)
		if d.Forecast.Peak > 0 && len(d.Groups) > 0 {
			fmt.Fprintf(w, ", with at most %d instances at once", d.Forecast.Peak)
		}
		fmt.Fprintln(w, ".")
		for _, e := range d.Forecast.After {
			fmt.Fprintln(w, "Afterwards:", e)
		}
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
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
