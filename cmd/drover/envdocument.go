package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover.dev/env"
	"drover.dev/fleet"
	"drover.dev/price"
	"drover.dev/schedule"
)

// envPlanDocument is what env plan prints.
type envPlanDocument struct {
	APIVersion  string           `json:"apiVersion"`
	Kind        string           `json:"kind"`
	Hash        string           `json:"hash"`
	Place       string           `json:"place"`
	Environment string           `json:"environment"`
	Switches    string           `json:"switches"` // off, on
	Resumed     bool             `json:"resumed,omitempty"`
	Nothing     string           `json:"nothing,omitempty"` // why there is nothing to do
	Until       string           `json:"until"`             // how long that holds, in words
	Copies      []string         `json:"copies,omitempty"`  // where it is written down how everything was
	Workloads   []envPartDoc     `json:"workloads"`
	Groups      []envGroupDoc    `json:"groups"`
	Carried     []string         `json:"carried,omitempty"` // pods of nobody's that are moved off nodes that go
	Databases   []envDatabaseDoc `json:"databases"`
	Stays       []string         `json:"stays,omitempty"` // what is the environment's and is not switched, and why
	Money       envMoneyDoc      `json:"money"`
	Findings    []findingDoc     `json:"findings"`
	Phases      []envPhaseDoc    `json:"phases"` // the forecast
	Forecast    envForecastDoc   `json:"forecast"`
}

type envPartDoc struct {
	Tier    int    `json:"tier"` // 1 goes off first and comes on last
	Object  string `json:"object"`
	Turn    string `json:"turn"`              // replicas, suspend, pause, gitops
	Was     string `json:"was"`               // "" for absent
	Becomes string `json:"becomes,omitempty"` // in words
}

type envGroupDoc struct {
	Name    string         `json:"name"`
	Nodes   int            `json:"nodes"`
	Becomes int            `json:"becomes"`
	Min     int            `json:"min"`
	MinTo   int            `json:"minBecomes"`
	Exits   []envExitDoc   `json:"exits"`
	Keepers []envKeeperDoc `json:"keepers,omitempty"`
}

type envExitDoc struct {
	Node     string   `json:"node,omitempty"`
	Instance string   `json:"instance"`
	Carried  []string `json:"carried,omitempty"` // pods that are moved off it
}

type envKeeperDoc struct {
	Node     string        `json:"node,omitempty"`
	Instance string        `json:"instance"`
	Why      string        `json:"why,omitempty"` // when it is not for its guests
	Guests   []envGuestDoc `json:"guests,omitempty"`
}

type envGuestDoc struct {
	Pod         string `json:"pod"`
	Owner       string `json:"owner"`
	Environment string `json:"environment,omitempty"`
}

// whose the pod is.
func (g envGuestDoc) whose() string {
	if g.Environment == "" {
		return g.Owner
	}
	return g.Owner + ", environment " + g.Environment
}

type envDatabaseDoc struct {
	ID      string `json:"id"`
	Class   string `json:"class,omitempty"`
	Was     string `json:"was"`
	Becomes string `json:"becomes"`
}

type envMoneyDoc struct {
	Hour    []string `json:"savedPerHour"`
	Month   []string `json:"savedPerMonth"` // of 730 hours; by the schedule where there is one
	OffFor  int      `json:"hoursOffAMonth"`
	Still   []string `json:"stillPerHour,omitempty"` // what goes on costing
	Unknown []string `json:"unknown,omitempty"`      // what has no price
}

type envPhaseDoc struct {
	Phase   string   `json:"phase"`
	Seconds float64  `json:"afterSeconds"`
	Actions []string `json:"actions"`
}

type envForecastDoc struct {
	Seconds float64  `json:"seconds"`
	Stuck   []string `json:"stuck,omitempty"`
}

// describeSwitch makes the document of a plan.
func describeSwitch(s *fleet.Snapshot, p *env.Plan, findings []fleet.Finding, place string) envPlanDocument {
	d := envPlanDocument{
		APIVersion: "drover.dev/v1alpha1", Kind: "EnvironmentPlan", Hash: p.Hash(), Place: place, Environment: p.Environment, Switches: onOff(p.On), Resumed: p.Resumed, Nothing: p.Nothing,
		Workloads: []envPartDoc{}, Groups: []envGroupDoc{}, Databases: []envDatabaseDoc{}, Stays: p.Stays, Findings: describeFindings(findings), Phases: phasesOf(&p.Forecast, p.On),
		Forecast: envForecastDoc{Seconds: p.Forecast.Took.Seconds()},
	}
	for _, h := range p.Forecast.Stuck {
		d.Forecast.Stuck = append(d.Forecast.Stuck, h.String())
	}
	for _, pod := range p.Carried {
		d.Carried = append(d.Carried, pod.String())
	}
	e := s.Environment(p.Environment)
	if e == nil {
		return d
	}
	r := &p.Record
	for i := range r.Parts {
		d.Workloads = append(d.Workloads, partDocOf(s, &r.Parts[i], p.On))
	}
	slices.SortStableFunc(d.Workloads, func(a, b envPartDoc) int { return before(a.Tier, b.Tier, p.On) })
	for i := range p.Groups {
		d.Groups = append(d.Groups, groupDocOf(s, p, &p.Groups[i]))
	}
	for i := range r.Databases {
		d.Databases = append(d.Databases, databaseDocOf(s, &r.Databases[i], p.On))
	}
	d.Copies = copiesOf(e)
	d.Money = moneyOf(e, r.Rates, p.Money.Unknown, s.Now)
	return d
}

// before orders tiers as they are switched.
func before(a, b int, on bool) int {
	if on {
		return b - a
	}
	return a - b
}

func copiesOf(e *fleet.Environment) []string {
	out := []string{"the Environment's status", "a mark on each object"}
	if e.Spec.Archive != "" {
		out = append(out, e.Spec.Archive)
	}
	return out
}

func partDocOf(s *fleet.Snapshot, r *fleet.PartRecord, on bool) envPartDoc {
	d := envPartDoc{Tier: r.Tier + 1, Object: r.ID(), Turn: string(r.Turn), Was: r.Value}
	p := s.Part(r.Owner)
	switch {
	case p == nil:
		d.Becomes = "is gone: nothing to do"
	case p.UID != r.UID:
		d.Becomes = "was made anew: left as it is"
	case on && !p.Off:
		d.Becomes = "is on already"
	case on:
		d.Becomes = switchedOn(r)
	case p.Off:
		d.Becomes = "is off already"
	default:
		d.Becomes = switchedOff(r)
	}
	return d
}

func switchedOff(r *fleet.PartRecord) string {
	switch r.Turn {
	case fleet.Scaled:
		return replicas(r) + "→0"
	case fleet.Suspended:
		return "suspended"
	case fleet.Held:
		return "paused at 0 replicas"
	}
	return "not reconciled"
}

func switchedOn(r *fleet.PartRecord) string {
	switch r.Turn {
	case fleet.Scaled:
		return "0→" + replicas(r)
	case fleet.Suspended:
		return "resumed"
	case fleet.Held:
		return "scales again"
	}
	return "reconciled again"
}

// replicas of a workload that does not say are one.
func replicas(r *fleet.PartRecord) string {
	if r.Absent {
		return "1"
	}
	return r.Value
}

func groupDocOf(s *fleet.Snapshot, p *env.Plan, g *env.Group) envGroupDoc {
	d := envGroupDoc{Name: g.Name, Exits: []envExitDoc{}}
	if i := slices.IndexFunc(p.Record.Groups, func(r fleet.SleepGroup) bool { return r.Name == g.Name }); i >= 0 {
		r := &p.Record.Groups[i]
		d.Nodes, d.Becomes, d.Min, d.MinTo = r.Desired, r.Floor(), r.Min, min(r.Min, r.Floor())
	}
	if now := s.Group(g.Name); p.On && now != nil {
		d.Nodes, d.Becomes, d.Min, d.MinTo = now.Desired, max(d.Nodes, now.Desired), now.Min, d.Min
	}
	for _, x := range g.Exits {
		exit := envExitDoc{Node: x.Node, Instance: x.Instance}
		for _, pod := range s.PodsOn(x.Node) {
			if slices.Contains(p.Carried, pod.Ref) {
				exit.Carried = append(exit.Carried, pod.Ref.String())
			}
		}
		d.Exits = append(d.Exits, exit)
	}
	for _, k := range g.Keepers {
		keeper := envKeeperDoc{Node: k.Node, Instance: k.Instance, Why: k.Why}
		for _, guest := range k.Guests {
			keeper.Guests = append(keeper.Guests, envGuestDoc{guest.Pod.String(), guest.Owner.String(), guest.Of})
		}
		d.Keepers = append(d.Keepers, keeper)
	}
	return d
}

func databaseDocOf(s *fleet.Snapshot, r *fleet.SleepDatabase, on bool) envDatabaseDoc {
	d := envDatabaseDoc{ID: r.ID, Class: r.Class, Was: r.Status}
	now := ""
	if db := s.Database(r.ID); db != nil {
		now = db.Status
	}
	switch {
	case r.Lower && on:
		d.Becomes = fmt.Sprintf("at least %g capacity units again", r.MinACU)
	case r.Lower:
		d.Becomes = fmt.Sprintf("%g→%g capacity units at least", r.MinACU, r.ToACU)
	case r.Status == fleet.DatabaseStopped:
		d.Becomes = "was stopped before: left as it is"
	case on && now == fleet.DatabaseAvailable:
		d.Becomes = "is available already"
	case on:
		d.Becomes = "started, and asked until it answers"
	case now == fleet.DatabaseStopped:
		d.Becomes = "is stopped already"
	default:
		d.Becomes = "stopped"
	}
	return d
}

// monthHours is what AWS takes for a month.
const monthHours = 730

// moneyOf reckons what a sleep saves in an hour, and in a month: by the schedule, or off all the time where there is none.
func moneyOf(e *fleet.Environment, rates []fleet.Rate, unknown []string, now time.Time) envMoneyDoc {
	var saved, month, still price.Sum
	off := hoursOff(e, now)
	for _, r := range rates {
		saved = saved.Plus(price.Saved(r, 1, time.Hour))
		month = month.Plus(price.Saved(r, 1, off))
		if r.Off > 0 {
			still = still.Plus(price.Money{Amount: r.Off, Currency: r.Currency})
		}
	}
	return envMoneyDoc{Hour: amounts(saved), Month: amounts(month), OffFor: int(off.Hours()), Still: amounts(still), Unknown: unknown}
}

func hoursOff(e *fleet.Environment, now time.Time) time.Duration {
	const month = monthHours * time.Hour
	if e.Spec.Schedule == nil {
		return month
	}
	s, wrong := schedule.Parse(*e.Spec.Schedule)
	if len(wrong) > 0 {
		return month
	}
	return month - s.OnFor(now, now.Add(month))
}

// amounts prints sums of money: cents, and what is less than one to four places.
func amounts(sum price.Sum) []string {
	out := []string{}
	for _, m := range sum {
		text := strconv.FormatFloat(m.Amount, 'f', 2, 64)
		if m.Amount < 1 {
			text = strconv.FormatFloat(m.Amount, 'f', 4, 64)
		}
		out = append(out, text+" "+m.Currency)
	}
	return out
}

// phasesOf groups a forecast's actions by what they are for.
func phasesOf(f *env.Forecast, on bool) []envPhaseDoc {
	out := []envPhaseDoc{}
	for _, e := range f.Events {
		phase := phaseOf(&e.Action, on)
		if n := len(out); n > 0 && (phase == "" || out[n-1].Phase == string(phase)) {
			out[n-1].Actions = append(out[n-1].Actions, e.Action.String())
			continue
		}
		if phase == "" {
			phase = env.Recording
		}
		out = append(out, envPhaseDoc{string(phase), e.After.Seconds(), []string{e.Action.String()}})
	}
	return out
}

// phaseOf says what an action is for; "" for one that belongs to whatever came before it.
func phaseOf(a *fleet.Action, on bool) env.Phase {
	gitOps := a.Part != nil && a.Part.Turn == fleet.Unsynced
	switch a.Verb {
	case fleet.Remember, fleet.Archive:
		return ""
	case fleet.TurnOff:
		if gitOps {
			return env.Pausing
		}
		return env.SwitchingOff
	case fleet.TurnOn:
		if gitOps {
			return env.Resuming
		}
		return env.SwitchingOn
	case fleet.Unmark, fleet.UnmarkGroup, fleet.UnmarkDatabase, fleet.Conclude:
		return env.Verifying
	}
	switch {
	case on:
		return env.StartingData
	case a.Database != "":
		return env.StoppingData
	}
	return env.EndingNodes
}

// untilWords says how long what a person asks for holds.
func untilWords(e *fleet.Environment, w env.Wanted) string {
	switch {
	case !w.Known:
		return "It stays so until somebody says otherwise."
	case w.Next.IsZero():
		return fmt.Sprintf("It stays %s until somebody says otherwise.", onOff(w.On))
	case w.NextOn == w.On:
		return fmt.Sprintf("It stays %s; from %s its schedule says so.", onOff(w.On), clocked(e, w.Next))
	}
	return fmt.Sprintf("It stays %s until %s, and is switched %s then, where drover controller runs.", onOff(w.On), clocked(e, w.Next), onOff(w.NextOn))
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
