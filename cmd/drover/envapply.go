package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/fleet"
	"drover.dev/schedule"
)

func (a *app) envApplyCommand() *cobra.Command {
	file, dry := "", false
	c := &cobra.Command{
		Use: "apply", Short: "Write the Environments of a file to the cluster", Args: cobra.NoArgs,
		Long: `Check the Environments of a file, each by itself and against those of the cluster, and write them to it: all of them, or none when one cannot be used.
It is a server-side apply, so that what others apply stays theirs; drover env check does the checking alone.`,
		Example: "  drover env apply -f staging.yaml\n  drover env apply -f staging.yaml --dry-run",
		RunE:    func(c *cobra.Command, _ []string) error { return a.envApply(c.Context(), file, dry) },
	}
	c.Flags().StringVarP(&file, "file", "f", "", "YAML file with Environments")
	c.Flags().BoolVar(&dry, "dry-run", false, "have the API server check it, and write nothing")
	c.MarkFlagRequired("file")
	return c
}

func (a *app) envApply(ctx context.Context, file string, dry bool) error {
	f, err := readEnvironments(file)
	if err != nil {
		return err
	}
	if err := f.refused(fleet.Snapshot{}); err != nil {
		return err
	}
	there, err := a.compared(ctx)
	if err != nil {
		fmt.Fprintf(a.err, "Not compared with the Environments of the cluster: %v\n", err)
	}
	if err := f.refused(there); err != nil {
		return err
	}
	cluster, err := a.conn.dial(ctx)
	if err != nil {
		return err
	}
	names, err := cluster.ApplyEnvironments(ctx, f.text, f.source, dry)
	for _, name := range names {
		if dry {
			fmt.Fprintf(a.err, "Environment %s could be written to %s.\n", name, a.conn.cluster())
			continue
		}
		fmt.Fprintf(a.err, "Environment %s is written to %s. See what a stop of it would do: drover env plan %s\n", name, a.conn.cluster(), name)
	}
	return err
}

// refused tells why a file is not applied to a cluster.
func (f *envFile) refused(cluster fleet.Snapshot) error {
	if bad := f.troubles(cluster, inCluster); len(bad) > 0 {
		return &exit{exitBlocked, fmt.Errorf("nothing was written:\n  %s", strings.Join(bad, "\n  "))}
	}
	return nil
}

// inCluster tells what is no trouble for an Environment that is applied: the cluster can read the ConfigMap that it names.
func inCluster(trouble string) bool {
	return strings.HasPrefix(trouble, "spec.schedule.holidays.configMap: ")
}

func (a *app) envCheckCommand() *cobra.Command {
	file := ""
	c := &cobra.Command{
		Use: "check", Short: "Check the Environments of a file, without a cluster, and show when they would be on", Args: cobra.NoArgs,
		Long: `Check the Environments of a file without a cluster: what cannot be understood, contradicts itself, or belongs to two of them, each with its place. Then show
the coming week and the next changes as the schedule has them, clock changes and days off included, and the order of the tiers.

Exit code 0 when all is well, 2 when something is worth a look, 3 when an Environment cannot be used.`,
		Example: "  drover env check -f staging.yaml\n  drover env check -f staging.yaml -o json",
		RunE:    func(c *cobra.Command, _ []string) error { return a.envCheck(file, time.Now()) },
	}
	c.Flags().StringVarP(&file, "file", "f", "", "YAML file with Environments")
	c.MarkFlagRequired("file")
	a.outputFlag(c)
	return c
}

// envCheckDocument is what env check prints.
type envCheckDocument struct {
	APIVersion   string        `json:"apiVersion"`
	Kind         string        `json:"kind"`
	Source       string        `json:"source"`
	Troubles     []string      `json:"troubles"`
	Environments []envCheckDoc `json:"environments"`
}

type envCheckDoc struct {
	Name     string         `json:"name"`
	Order    []string       `json:"order,omitempty"` // tiers in the order in which they go off
	Schedule string         `json:"schedule,omitempty"`
	OnHours  float64        `json:"hoursOnInTheWeek"`
	Now      string         `json:"now,omitempty"`
	Why      string         `json:"why,omitempty"`
	Changes  []envChangeDoc `json:"changes,omitempty"`
	Warnings []string       `json:"warnings,omitempty"`

	week []string // for people
}

type envChangeDoc struct {
	At  string `json:"at"`
	On  bool   `json:"on"`
	Why string `json:"why"`

	at time.Time
}

func (a *app) envCheck(file string, now time.Time) error {
	f, err := readEnvironments(file)
	if err != nil {
		return err
	}
	d := checkEnvironments(f, now)
	if err := a.print(d, func(w io.Writer) { envCheckTable(w, &d) }); err != nil {
		return err
	}
	switch {
	case len(d.Troubles) > 0:
		return &exit{code: exitBlocked}
	case slices.ContainsFunc(d.Environments, func(e envCheckDoc) bool { return len(e.Warnings) > 0 }):
		return &exit{code: exitChanges}
	}
	return nil
}

func checkEnvironments(f *envFile, now time.Time) envCheckDocument {
	d := envCheckDocument{APIVersion: "drover.dev/v1alpha1", Kind: "EnvironmentCheck", Source: f.source, Troubles: f.troubles(fleet.Snapshot{}, inCluster), Environments: []envCheckDoc{}}
	for i := range f.environments {
		d.Environments = append(d.Environments, checkEnvironment(&f.environments[i], now))
	}
	return d
}

// changesShown is how many of the next changes are told.
const changesShown = 5

func checkEnvironment(e *fleet.Environment, now time.Time) envCheckDoc {
	d := envCheckDoc{Name: e.Name, Order: orderOf(e.Spec.Order)}
	for _, t := range e.Trouble {
		if inCluster(t) {
			d.Warnings = append(d.Warnings, "the days off in its ConfigMap are not known here: the week is shown without them")
		}
	}
	switch {
	case e.Spec.Protected:
		d.Warnings = append(d.Warnings, "it is protected: nobody switches it off, whatever its schedule says")
	case e.Spec.Archive == "":
		d.Warnings = append(d.Warnings, "spec.archive is empty: nothing outside of the cluster will know how everything was")
	}
	if e.Spec.Schedule == nil {
		return d
	}
	s, wrong := schedule.Parse(*e.Spec.Schedule)
	if len(wrong) > 0 {
		return d // told among the troubles
	}
	d.Schedule, d.Warnings = s.String(), append(d.Warnings, s.Warnings()...)
	on, why := s.At(now)
	d.Now, d.Why = onOff(on), why
	d.OnHours = s.OnFor(now, now.AddDate(0, 0, 7)).Hours()
	for at := now; len(d.Changes) < changesShown; {
		next, on, why, ok := s.Next(at)
		if !ok {
			break
		}
		d.Changes = append(d.Changes, envChangeDoc{moment(next), on, why, next.In(clockOf(e))})
		at = next
	}
	d.week = weekOf(s, now.In(clockOf(e)))
	return d
}

// orderOf lists the tiers in the order in which they go off: each before those that it needs.
func orderOf(order []fleet.Tier) []string {
	depth := map[string]int{}
	for range order { // as deep as a chain can be
		for _, t := range order {
			for _, n := range t.Needs {
				depth[n] = max(depth[n], depth[t.Name]+1)
			}
		}
	}
	tiers := slices.Clone(order)
	slices.SortStableFunc(tiers, func(a, b fleet.Tier) int { return cmp.Compare(depth[a.Name], depth[b.Name]) })
	var out []string
	for _, t := range tiers {
		line := t.Name
		if len(t.Needs) > 0 {
			line += " (needs " + strings.Join(t.Needs, ", ") + ")"
		}
		out = append(out, line)
	}
	return out
}

// slots is how many pieces a day is drawn in.
const slots = 48

// weekOf draws seven days, each half hour on or off by what holds at its begin.
func weekOf(s *schedule.Schedule, now time.Time) []string {
	var out []string
	for day := range 7 {
		var b strings.Builder
		date := time.Date(now.Year(), now.Month(), now.Day()+day, 0, 0, 0, 0, now.Location())
		for i := range slots {
			at := time.Date(date.Year(), date.Month(), date.Day(), i/2, i%2*30, 0, 0, now.Location())
			glyph := "·"
			if on, _ := s.At(at); on {
				glyph = "█"
			}
			b.WriteString(glyph)
		}
		out = append(out, date.Format("Mon 2006-01-02")+"  "+b.String())
	}
	return out
}

func envCheckTable(w io.Writer, d *envCheckDocument) {
	for i := range d.Environments {
		if i > 0 {
			fmt.Fprintln(w)
		}
		d.Environments[i].print(w)
	}
	if len(d.Troubles) == 0 {
		return
	}
	fmt.Fprintf(w, "\nCannot be used, %s:\n", counted(len(d.Troubles), "problem", "problems"))
	for _, t := range d.Troubles {
		fmt.Fprintln(w, "  "+t)
	}
}

func (d *envCheckDoc) print(w io.Writer) {
	fmt.Fprintf(w, "Environment %s\n", d.Name)
	if len(d.Order) > 0 {
		fmt.Fprintf(w, "Goes off in this order, and on in the reverse: %s\n", strings.Join(d.Order, ", "))
	}
	for _, x := range d.Warnings {
		fmt.Fprintln(w, "Mind:", x)
	}
	if d.Schedule == "" {
		return
	}
	fmt.Fprintf(w, "Schedule: %s\nNow %s: %s. On for %.1f of the next 168 hours.\n\n%-16s%-12s%-12s%-12s%s\n", d.Schedule, d.Now, d.Why, d.OnHours, "", "00", "06", "12", "18")
	for _, line := range d.week {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, c := range d.Changes {
		why := c.Why
		if !c.On && strings.HasPrefix(why, "outside ") { // as the line of the schedule above has it
			why = "-"
		}
		rows = append(rows, []string{c.at.Format("Mon 2006-01-02 15:04 MST"), onOff(c.On), why})
	}
	columns(w, "NEXT GOES WHY", rows)
}
