package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"drover.dev/archive"
	"drover.dev/env"
	"drover.dev/fleet"
	"drover.dev/kube"
)

// repairing is what the flags of env repair ask for.
type repairing struct {
	switching
	archive string
	copies  []string
	yes     bool
}

func (a *app) envRepairCommand() *cobra.Command {
	var r repairing
	c := &cobra.Command{
		Use: "repair NAME", Short: "Make what is on file about a sleep again, from any of its copies",
		Long: `Make the record of a sleep again when it was lost or cut: from what is on file in the Environment, from the copies outside of the cluster, and from the
marks on the objects themselves. Any one of them is enough for what it knows. What each source says is shown, and what had to be guessed; then the
record is written. It switches nothing: drover env start goes on from there.`,
		Example: "  drover env repair staging\n  drover env repair staging --archive s3://records/staging\n  drover env repair staging -f staging.yaml --from staging-20261121t190000.yaml",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: a.completeEnvironments,
		RunE: func(c *cobra.Command, args []string) error { return a.envRepair(c.Context(), args, &r) },
	}
	c.Flags().StringVarP(&r.file, "file", "f", "", "YAML file with the Environment, when it is gone from the cluster")
	c.Flags().StringVar(&r.archive, "archive", "", "where copies are, file:///folder or s3://bucket/prefix (otherwise as spec.archive says)")
	c.Flags().StringArrayVar(&r.copies, "from", nil, "file with a copy (repeatable)")
	c.Flags().BoolVarP(&r.yes, "yes", "y", false, "do not ask")
	a.outputFlag(c)
	return c
}

// repairDocument is what env repair prints.
type repairDocument struct {
	APIVersion  string       `json:"apiVersion"`
	Kind        string       `json:"kind"`
	Place       string       `json:"place"`
	Environment string       `json:"environment"`
	Run         string       `json:"run,omitempty"`
	Sources     []string     `json:"sources"`
	Unread      []string     `json:"unread,omitempty"` // copies that could not be read
	Differs     bool         `json:"differs"`          // from what is on file now
	Workloads   []envPartDoc `json:"workloads"`
	Groups      []string     `json:"groups"`
	Databases   []string     `json:"databases"`
	Findings    []findingDoc `json:"findings"`
}

func (a *app) envRepair(ctx context.Context, args []string, r *repairing) error {
	file, name, err := r.chosen(args)
	if err != nil {
		return err
	}
	given, err := readCopies(r.copies)
	if err != nil {
		return err
	}
	room, err := a.switchroom(ctx, &r.switching)
	if err != nil {
		return err
	}
	if file != nil {
		room.declare(file)
	}
	s, err := room.Observe(ctx)
	if err != nil {
		return err
	}
	e := s.Environment(name)
	if e == nil {
		return fmt.Errorf("%w; with -f FILE it is made again", errNoEnvironment(&s, name))
	}
	copies, unread := room.copies(ctx, e, r.archive)
	repaired, findings := env.Repair(&s, name, append(given, copies...))
	findings = unblocked(findings) // what nobody knows is no reason not to write down the rest
	d := repairOf(&s, name, &repaired, findings, room.place)
	d.Unread = unread
	if err := a.print(d, func(w io.Writer) { repairTable(w, &d) }); err != nil {
		return err
	}
	if repaired.Record.Run == "" || !repaired.Differs {
		return nil
	}
	if err := a.approve(ctx, "Write this record?", r.yes); err != nil {
		return err
	}
	return a.writeRecord(ctx, room, &repaired.Record)
}

// readCopies reads copies that a person names.
func readCopies(files []string) ([]fleet.SleepRecord, error) {
	var out []fleet.SleepRecord
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("copy of a record: %w", err)
		}
		r, err := archive.Decode(raw)
		if err != nil {
			return nil, fmt.Errorf("copy %s: %w", path, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// copies reads the copies outside of the cluster. What cannot be read is told, and no reason not to go by the rest.
func (w *switchroom) copies(ctx context.Context, e *fleet.Environment, url string) (found []fleet.SleepRecord, unread []string) {
	if url == "" {
		url = e.Spec.Archive
	}
	if url == "" {
		return nil, nil
	}
	found, err := w.Archive.Load(ctx, url, e.Name)
	if err != nil {
		unread = append(unread, err.Error())
	}
	return found, unread
}

func repairOf(s *fleet.Snapshot, name string, r *env.Repaired, findings []fleet.Finding, place string) repairDocument {
	d := repairDocument{
		APIVersion: "drover.dev/v1alpha1", Kind: "EnvironmentRepair", Place: place, Environment: name, Run: r.Record.Run, Sources: append([]string{}, r.Sources...), Differs: r.Differs,
		Workloads: []envPartDoc{}, Groups: []string{}, Databases: []string{}, Findings: describeFindings(findings),
	}
	for i := range r.Record.Parts {
		d.Workloads = append(d.Workloads, partDocOf(s, &r.Record.Parts[i], true))
	}
	gitOps := func(p envPartDoc) int { return map[bool]int{true: 1}[p.Turn == string(fleet.Unsynced)] } // last, at a start
	slices.SortStableFunc(d.Workloads, func(a, b envPartDoc) int { return cmp.Or(gitOps(a)-gitOps(b), before(a.Tier, b.Tier, true)) })
	for _, g := range r.Record.Groups {
		d.Groups = append(d.Groups, fmt.Sprintf("group %s: %d nodes, between %d and %d", g.Name, g.Desired, g.Min, g.Max))
	}
	for _, db := range r.Record.Databases {
		d.Databases = append(d.Databases, fmt.Sprintf("database %s: %s", db.ID, db.Status))
	}
	return d
}

func repairTable(w io.Writer, d *repairDocument) {
	fmt.Fprintf(w, "Environment %s\n%s\n\n", d.Environment, d.Place)
	for _, u := range d.Unread {
		fmt.Fprintln(w, "Cannot be read:", u)
	}
	if d.Run == "" {
		fmt.Fprintln(w, "No copy and no mark tells of a sleep: there is nothing to repair.")
		findingsTable(w, d.Findings)
		return
	}
	fmt.Fprintf(w, "Sleep %s, from:\n", d.Run)
	for _, source := range d.Sources {
		fmt.Fprintln(w, "  "+source)
	}
	if !d.Differs {
		fmt.Fprintln(w, "What is on file is whole: there is nothing to repair.")
		findingsTable(w, d.Findings)
		return
	}
	fmt.Fprintln(w, "\nBefore it everything was so; a start brings it back:")
	var rows [][]string
	for _, p := range d.Workloads {
		rows = append(rows, []string{fmt.Sprint(p.Tier), p.Object, p.Becomes})
	}
	indented(w, rows)
	for _, line := range append(append([]string{}, d.Groups...), d.Databases...) {
		fmt.Fprintln(w, "  "+line)
	}
	fmt.Fprintln(w)
	findingsTable(w, d.Findings)
}

// writeRecord writes the record, under the lease: nobody may be switching meanwhile.
func (a *app) writeRecord(ctx context.Context, room *switchroom, r *fleet.SleepRecord) error {
	if err := room.applyFile(ctx, r.Environment); err != nil {
		return err
	}
	err := room.desk.Alone(ctx, identity(), a.tellWaiting, func(ctx context.Context) error {
		return room.Cluster.Act(ctx, fleet.Action{Verb: fleet.Remember, Environment: r.Environment, Run: r.Run, Sleep: r, Why: "repaired"})
	})
	var busy *kube.Busy
	var refused *fleet.Refused
	switch {
	case errors.As(err, &busy), errors.As(err, &refused):
		return &exit{exitBlocked, fmt.Errorf("%w; nothing was written", err)}
	case err != nil:
		return err
	}
	fmt.Fprintf(a.err, "%s: the record of sleep %s is on file again. Switch it on with: drover env start %s\n", a.paint(green, "Done"), r.Run, r.Environment)
	return nil
}
