package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/env"
	"drover.dev/evac"
	"drover.dev/fleet"
)

func (a *app) envPlanCommand() *cobra.Command {
	var r switching
	c := &cobra.Command{
		Use: "plan NAME", Short: "Show what a stop or a start of an environment would do, and do nothing",
		Long: `Show what a stop of an environment would do, in order, or with --start a start: workloads by tier, nodes by id with what is moved off them, the nodes that
stay and the pods of others that they stay for, databases, money, and what stands in the way.

Every finding has a code that never changes. One that blocks has to be dealt with first (exit code 3), or overridden with --force where that may be.`,
		Example: "  drover env plan staging\n  drover env plan staging --start\n  drover env plan -f staging.yaml --prices AmazonEC2.json -o json",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: a.completeEnvironments,
		RunE: func(c *cobra.Command, args []string) error { return a.envPlan(c.Context(), args, &r) },
	}
	r.flags(c.Flags())
	r.forceFlag(c.Flags())
	c.Flags().BoolVar(&r.start, "start", false, "a start instead of a stop")
	c.Flags().BoolVar(&r.detailed, "detailed-exitcode", false, "exit with 2 when there is something to do")
	a.outputFlag(c)
	return c
}

func (a *app) envPlan(ctx context.Context, args []string, r *switching) error {
	r.run.wait = true // who plans wants to know whether these hands could do it
	j, err := a.prepareSwitch(ctx, args, r, r.start)
	if err != nil {
		return err
	}
	if err := a.print(j.shown, func(w io.Writer) { envPlanTable(w, &j.shown) }); err != nil {
		return err
	}
	switch {
	case j.blocked():
		return &exit{code: exitBlocked}
	case r.detailed && j.plan.Nothing == "":
		return &exit{code: exitChanges}
	}
	return nil
}

// envJourney is a plan to switch an environment on its way to being carried out.
type envJourney struct {
	room     *switchroom
	plan     env.Plan
	findings []fleet.Finding
	was      env.Wanted // what should be true of it, before anybody asked
	wish     fleet.Wish
	wanted   env.Wanted // and with the wish
	shown    envPlanDocument
	source   fleet.Environment
	others   bool // the controller is to do it
}

// blocked tells whether the plan must not be carried out. A start that would come to a stand is better than none.
func (j *envJourney) blocked() bool {
	return evac.Blocked(j.findings) || !j.plan.On && len(j.plan.Forecast.Stuck) > 0 && !j.plan.Resumed
}

// prepareSwitch connects, observes and plans.
func (a *app) prepareSwitch(ctx context.Context, args []string, r *switching, on bool) (*envJourney, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	file, name, err := r.chosen(args)
	if err != nil {
		return nil, err
	}
	room, err := a.switchroom(ctx, r)
	if err != nil {
		return nil, err
	}
	if file != nil {
		room.declare(file)
	}
	return room.prepare(ctx, name, on, r)
}

func (w *switchroom) prepare(ctx context.Context, name string, on bool, r *switching) (*envJourney, error) {
	s, err := w.Observe(ctx)
	if err != nil {
		return nil, err
	}
	e := s.Environment(name)
	if e == nil {
		return nil, errNoEnvironment(&s, name)
	}
	j := &envJourney{room: w, was: env.Want(e, s.Now), source: *e}
	j.plan, j.findings = w.plan(&s, name, on)
	if j.findings, err = w.preflight(ctx, j, &r.run); err != nil {
		return nil, err
	}
	j.wish = fleet.Wish{On: on, By: w.Options.By, Why: w.Options.Why, At: s.Now, Forced: w.Options.Forced}
	if r.lasts > 0 {
		j.wish.Until = s.Now.Add(r.lasts)
	}
	wishing := e.Clone()
	wishing.Wish = &j.wish
	j.wanted = env.Want(&wishing, s.Now)
	j.shown = describeSwitch(&s, &j.plan, j.findings, w.place)
	j.shown.Until = untilWords(e, j.wanted)
	return j, nil
}

// envPlanTable prints a plan for people, in the order in which it happens.
func envPlanTable(w io.Writer, d *envPlanDocument) {
	fmt.Fprintf(w, "Plan %s: environment %s goes %s\n%s\n", d.Hash, d.Environment, d.Switches, d.Place)
	switch {
	case d.Nothing != "":
		fmt.Fprintf(w, "\nNothing to do: %s.\n", d.Nothing)
	case d.Resumed:
		fmt.Fprintf(w, "\nThis is under way already; it goes on as it was approved then.\n")
	}
	if d.Nothing == "" && len(d.Workloads)+len(d.Groups)+len(d.Databases) > 0 {
		steps := d.offSteps
		if d.Switches == "on" {
			steps = d.onSteps
		}
		steps(w)
	}
	for _, stays := range d.Stays {
		fmt.Fprintln(w, "Stays:", stays)
	}
	fmt.Fprintln(w)
	findingsTable(w, d.Findings)
	envMoney(w, &d.Money)
	envForecast(w, d)
}

func (d *envPlanDocument) offSteps(w io.Writer) {
	d.step(w, env.Recording, "in "+strings.Join(d.Copies, ", "))
	d.parts(w, env.Pausing, true)
	d.parts(w, env.SwitchingOff, false)
	if len(d.Groups) > 0 {
		d.step(w, env.EndingNodes, "")
		for i := range d.Groups {
			d.Groups[i].print(w, d.Switches == "on")
		}
	}
	d.databases(w, env.StoppingData)
}

func (d *envPlanDocument) onSteps(w io.Writer) {
	if len(d.Groups)+len(d.Databases) > 0 {
		d.step(w, env.StartingData, "")
		databaseRows(w, d.Databases)
		for i := range d.Groups {
			d.Groups[i].print(w, true)
		}
	}
	d.parts(w, env.SwitchingOn, false)
	d.parts(w, env.Resuming, true)
	d.step(w, env.Verifying, "every mark is taken off, and the sleep is over")
}

// step prints a step's title, with its moment where one is foreseen.
func (d *envPlanDocument) step(w io.Writer, phase env.Phase, more string) {
	at := ""
	if i := slices.IndexFunc(d.Phases, func(p envPhaseDoc) bool { return p.Phase == string(phase) }); i >= 0 {
		at = "+" + inSeconds(d.Phases[i].Seconds).String()
	}
	fmt.Fprintf(w, "\n%-8s %s\n", at, upper(string(phase)))
	if more != "" {
		fmt.Fprintln(w, "  "+more)
	}
}

// parts prints the objects of one step: those that keep others as a repository says, or the others.
func (d *envPlanDocument) parts(w io.Writer, phase env.Phase, gitOps bool) {
	var rows [][]string
	for _, p := range d.Workloads {
		if (p.Turn == string(fleet.Unsynced)) == gitOps {
			rows = append(rows, []string{fmt.Sprint(p.Tier), p.Object, p.Becomes})
		}
	}
	if len(rows) == 0 {
		return
	}
	d.step(w, phase, "")
	if gitOps {
		for i := range rows {
			rows[i] = rows[i][1:]
		}
	}
	indented(w, rows)
}

// indented prints rows below a title, aligned.
func indented(w io.Writer, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(tw, "  "+strings.Join(r, "\t"))
	}
	tw.Flush()
}

func (g *envGroupDoc) print(w io.Writer, on bool) {
	fmt.Fprintf(w, "  group %s: %d→%d nodes, minimum %d→%d\n", g.Name, g.Nodes, g.Becomes, g.Min, g.MinTo)
	if on {
		return
	}
	var rows [][]string
	for _, x := range g.Exits {
		rows = append(rows, []string{"  " + orDash(x.Node), x.Instance, "goes"})
	}
	for _, k := range g.Keepers {
		rows = append(rows, []string{"  " + orDash(k.Node), k.Instance, "stays"})
	}
	indented(w, rows)
	for _, x := range g.Exits {
		for _, pod := range x.Carried {
			fmt.Fprintf(w, "    moved off %s: pod %s\n", short(x.Node), pod)
		}
	}
	for _, k := range g.Keepers {
		if k.Why != "" {
			fmt.Fprintf(w, "    %s stays: %s\n", short(k.Node), k.Why)
		}
		for _, guest := range k.Guests {
			fmt.Fprintf(w, "    %s stays for pod %s\n      of %s\n", short(k.Node), guest.Pod, guest.whose())
		}
	}
}

func (d *envPlanDocument) databases(w io.Writer, phase env.Phase) {
	if len(d.Databases) > 0 {
		d.step(w, phase, "")
		databaseRows(w, d.Databases)
	}
}

func databaseRows(w io.Writer, all []envDatabaseDoc) {
	var rows [][]string
	for _, db := range all {
		rows = append(rows, []string{db.ID, orDash(db.Class), db.Becomes})
	}
	indented(w, rows)
}

func envMoney(w io.Writer, m *envMoneyDoc) {
	if len(m.Hour) > 0 {
		how := fmt.Sprintf("asleep all of its %d hours", monthHours)
		if m.OffFor < monthHours {
			how = fmt.Sprintf("asleep %d of %d hours, by its schedule", m.OffFor, monthHours)
		}
		fmt.Fprintf(w, "Money: asleep it saves %s an hour, %s a month\n  (%s).\n", strings.Join(m.Hour, " + "), strings.Join(m.Month, " + "), how)
	}
	if len(m.Still) > 0 {
		fmt.Fprintf(w, "Still costs %s an hour: what storage and the like go on costing.\n", strings.Join(m.Still, " + "))
	}
	if len(m.Unknown) > 0 {
		fmt.Fprintf(w, "Not reckoned, as no price is known: %s.\n", strings.Join(m.Unknown, ", "))
	}
}

func envForecast(w io.Writer, d *envPlanDocument) {
	if slices.ContainsFunc(d.Findings, func(f findingDoc) bool { return f.Blocks }) {
		return // there is no forecast of what must not begin
	}
	if len(d.Forecast.Stuck) > 0 {
		fmt.Fprintln(w, "Forecast: it would come to a stand, because")
		for _, h := range d.Forecast.Stuck {
			fmt.Fprintln(w, "  "+h)
		}
	} else if d.Nothing == "" {
		fmt.Fprintf(w, "Forecast: %s after about %s.\n", d.Switches, inSeconds(d.Forecast.Seconds).Round(time.Second))
	}
	if d.Until != "" {
		fmt.Fprintln(w, d.Until)
	}
}
