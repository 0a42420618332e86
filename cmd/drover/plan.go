package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/depart"
	"drover.dev/evac"
)

func (a *app) planCommand() *cobra.Command {
	plan := &cobra.Command{Use: "plan", Short: "Show what would be done, and do nothing", Example: "  drover plan rotate web"}
	family(plan)
	var r rotation
	c := &cobra.Command{
		Use: "rotate GROUP...", Short: "Show how a rotation would go",
		Long: `Show how a rotation would go: what is replaced, what moves at which pace, what checks found, and how long it takes.

Every finding has a code that never changes. One that blocks has to be dealt with first (exit code 3). Every eviction is tried without
being meant (a dry run), quotas are compared with the surge, and probes are asked. Nothing is changed.`,
		Example: "  drover plan rotate web\n  drover plan rotate web api --surge 25% -o json\n  drover plan rotate web --canary 10m --bake 1h",
		Args:    cobra.MinimumNArgs(1), ValidArgsFunction: a.completeGroups,
		RunE: func(c *cobra.Command, args []string) error { return a.planRotate(c.Context(), args, &r) },
	}
	r.flags(c)
	c.Flags().BoolVar(&r.detailed, "detailed-exitcode", false, "exit with 2 when there is something to do")
	a.outputFlag(c)
	plan.AddCommand(c)
	return plan
}

func (a *app) planRotate(ctx context.Context, groups []string, r *rotation) error {
	j, err := a.prepareRotation(ctx, groups, r)
	if errors.Is(err, depart.ErrNothing) && a.output != "table" { // who reads documents gets one in any case
		return errors.Join(a.print(nothingToDo(err, j.site.place), nil), err)
	}
	if err != nil {
		return err
	}
	if rec := &j.plan.Record; j.plan.Resumed {
		fmt.Fprintf(a.err, "Run %s of %s, begun %s, is under way; this is what is left of it.\n", rec.Run, orSomebody(rec.Requester), rec.At.Local().Format(time.DateTime))
	}
	d := describe(&j.plan, j.findings, j.site.place)
	if err := a.print(d, func(w io.Writer) { planTable(w, &d) }); err != nil {
		return err
	}
	switch {
	case evac.Blocked(j.findings) || len(j.plan.Forecast.Stuck) > 0:
		return &exit{code: exitBlocked}
	case r.detailed:
		return &exit{code: exitChanges}
	}
	return nil
}
