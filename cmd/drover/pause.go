package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/fleet"
	"drover.dev/kube"
)

// pausing is what the flags of pause and resume ask for.
type pausing struct {
	all       bool
	reason    string
	requester string
}

func (a *app) pauseCommand() *cobra.Command {
	var p pausing
	c := &cobra.Command{
		Use: "pause [GROUP|RUN]", Short: "Stop a run, or with --all every run, where it is",
		Long: `Stop a run where it is: actions in flight end, nothing new begins, and its process waits. Without a name it is the only run under way.

--all stops everything on the cluster, also drains and runs that begin later, until drover resume --all. It needs no AWS.`,
		Example: "  drover pause web --reason \"checkout is slow\"\n  drover pause --all --reason \"incident 4711\"",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: a.completeGroups,
		RunE: func(c *cobra.Command, args []string) error { return a.pause(c.Context(), args, &p) },
	}
	c.Flags().BoolVar(&p.all, "all", false, "every run, also those that begin later")
	c.Flags().StringVar(&p.reason, "reason", "", "why, for those who wonder")
	requesterFlag(c, &p.requester)
	return c
}

func (a *app) resumeCommand() *cobra.Command {
	var p pausing
	c := &cobra.Command{
		Use: "resume [GROUP|RUN]", Short: "Let a paused run go on, or with --all everything",
		Long: `Let a paused run go on. Without a name it is the only run under way. --all lifts the stop of the whole cluster; a run that was paused
by itself stays so.`,
		Example: "  drover resume web\n  drover resume --all",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: a.completeGroups,
		RunE: func(c *cobra.Command, args []string) error { return a.resume(c.Context(), args, &p) },
	}
	c.Flags().BoolVar(&p.all, "all", false, "lift the stop of the whole cluster")
	return c
}

func (p *pausing) check(args []string) error {
	if p.all && len(args) > 0 {
		return usagef("--all and %s: choose one", args[0])
	}
	return nil
}

func (a *app) pause(ctx context.Context, args []string, p *pausing) error {
	if err := p.check(args); err != nil {
		return err
	}
	who := p.requester
	if who == "" {
		who = requester()
	}
	cluster, err := a.conn.dial(ctx)
	if err != nil {
		return err
	}
	stop := fleet.Pause{By: who, Why: p.reason, At: time.Now()}
	if p.all {
		stands, err := cluster.StopAll(ctx, stop)
		if err != nil {
			return err
		}
		a.tellStop(&stands, &stop)
		return nil
	}
	rec, err := chosen(ctx, cluster, args)
	if err != nil {
		return err
	}
	if rec.Paused != nil {
		fmt.Fprintf(a.err, "Run %s is already %s.\n", rec.Run, rec.Paused)
		return nil
	}
	if err := cluster.Pause(ctx, rec.Run, &stop); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "Run %s on %s is %s. Let it go on with: drover resume %s\n", rec.Run, groupNames(rec), &stop, rec.Run)
	return nil
}

// tellStop says that everything stands, and whose stop it is when that of somebody else was there first.
func (a *app) tellStop(stands, asked *fleet.Pause) {
	if stands.By == asked.By && stands.Why == asked.Why {
		fmt.Fprintf(a.err, "Everything on %s is stopped. Let it go on with: drover resume --all\n", a.conn.cluster())
		return
	}
	fmt.Fprintf(a.err, "Everything on %s is already %s, since %s; that stop stays as it is. drover resume --all lifts it.\n",
		a.conn.cluster(), stands, stands.At.Local().Format(time.DateTime))
}

func (a *app) resume(ctx context.Context, args []string, p *pausing) error {
	if err := p.check(args); err != nil {
		return err
	}
	cluster, err := a.conn.dial(ctx)
	if err != nil {
		return err
	}
	if p.all {
		if err := cluster.ResumeAll(ctx); err != nil {
			return err
		}
		fmt.Fprintln(a.err, "The stop of the whole cluster is lifted. Runs that were paused by themselves stay so: drover status")
		return nil
	}
	rec, err := chosen(ctx, cluster, args)
	if err != nil {
		return err
	}
	if rec.Paused == nil {
		fmt.Fprintf(a.err, "Run %s is not paused.\n", rec.Run)
		return nil
	}
	if err := cluster.Pause(ctx, rec.Run, nil); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "Run %s goes on. It was %s, since %s.\n", rec.Run, rec.Paused, rec.Paused.At.Local().Format(time.DateTime))
	return nil
}

// chosen reads the run that the arguments mean.
func chosen(ctx context.Context, cluster *kube.Cluster, args []string) (*fleet.RotationRecord, error) {
	records, _, err := cluster.Records(ctx)
	if err != nil {
		return nil, err
	}
	var runs []*fleet.RotationRecord
	for i := range records {
		if records[i].Marks.Ended.IsZero() {
			runs = append(runs, &records[i])
		}
	}
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	return choose(runs, name)
}
