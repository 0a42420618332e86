package main

import (
	"strings"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

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
	Findings   []findingDoc    `json:"findings"`
	Canary     string          `json:"canary,omitempty"`
	Bake       string          `json:"bake,omitempty"`
	Probes     []string        `json:"probes,omitempty"`
	Forecast   forecastDoc     `json:"forecast"`
	Stores     []storePlan     `json:"stores,omitempty"` // what becomes of them, by the forecast
	Steps      []planStep      `json:"steps,omitempty"`  // of a plan that moves single pods
}

type groupDocument struct {
	Name     string   `json:"name"`
	Desired  int      `json:"desired"`
	Surge    int      `json:"surge"`
	Max      int      `json:"max"`
	Launches []string `json:"launches"`
	Copy     string   `json:"copy,omitempty"` // of a managed node group: what replaces it
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

type findingDoc struct {
	Code    string `json:"code"`
	Blocks  bool   `json:"blocks"`
	Subject string `json:"subject"`
	Reason  string `json:"reason"`
	Next    string `json:"next"`
}

type forecastDoc struct {
	Seconds float64  `json:"seconds"`
	Bound   float64  `json:"lowerBoundSeconds"`      // no order could be faster, with these budgets and this surge
	Path    string   `json:"criticalPath,omitempty"` // what makes it so
	Surge   float64  `json:"surgeInstanceHours"`     // beyond what the groups have without the run
	Peak    int      `json:"peakInstances"`
	Stuck   []string `json:"stuck,omitempty"`
	After   []string `json:"exceptions,omitempty"` // what would not be as before
}

func describe(p *evac.Plan, findings []fleet.Finding, place string) planDocument {
	d := planDocument{
		APIVersion: "drover.dev/v1alpha1", Kind: "Plan", Hash: p.Hash(), Run: p.Run, Place: place, Notes: p.Notes,
		Groups: []groupDocument{}, Exits: []exitDocument{}, Moves: []moveDocument{}, Stays: []stayDocument{},
		Forecast: forecastDoc{Seconds: p.Forecast.Took.Seconds(), Bound: p.Forecast.Bound.Seconds(), Path: p.Forecast.Path, Surge: p.Forecast.SurgeHours, Peak: p.Forecast.Peak, After: p.Forecast.Exceptions},
	}
	d.Canary, d.Bake, d.Probes = lengthOf(p.Record.Canary), lengthOf(p.Record.Bake), p.Record.Probes
	for _, h := range p.Forecast.Stuck {
		d.Forecast.Stuck = append(d.Forecast.Stuck, h.String())
	}
	for _, g := range p.Groups {
		var launches []string
		for _, t := range g.Wants {
			launches = append(launches, t.String())
		}
		d.Groups = append(d.Groups, groupDocument{g.Name, g.Desired, g.Surge, g.Max, launches, g.Copy, p.Resumed})
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
	d.Findings = describeFindings(findings)
	if d.Stores = storePlans(p.Forecast.Events); len(p.Pods) > 0 {
		d.Steps = planSteps(p.Forecast.Events)
	}
	return d
}

// nothingToDo is the plan of a wish that is fulfilled already.
func nothingToDo(why error, place string) planDocument {
	return describe(&evac.Plan{Notes: []string{why.Error()}}, nil, place)
}

func describeFindings(findings []fleet.Finding) []findingDoc {
	out := []findingDoc{}
	for _, f := range findings {
		out = append(out, findingDoc(f))
	}
	return out
}

// lengthOf prints a duration, and nothing for none.
func lengthOf(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return lasting(d)
}

// lasting prints a duration without its zeros: 10m, not 10m0s.
func lasting(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
