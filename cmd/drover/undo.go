package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/evac"
	"drover.dev/fleet"
	"drover.dev/kube"
)

// undoing is how a run is taken back.
type undoing struct {
	yes     bool
	timeout time.Duration
	standby bool // only from Standby: rollback
}

func (a *app) abortCommand() *cobra.Command {
	c := a.undoCommand(false)
	c.Use, c.Short = "abort GROUP|RUN", "Take a run back: old nodes return, new ones go, everything as it was"
	c.Long = `Take a run back, wherever it is. Old nodes that are still there take pods again; of the new nodes, as many go as are then too many,
each emptied like any node that leaves; what was changed on the groups is put back. Nodes that are closed already stay replaced.

A process that is carrying the run out notices and stops by itself. Ended by Ctrl-C or killed, the same command goes on.`
	c.Example = "  drover abort web\n  drover abort r-20261121-101500-0ab --yes"
	return c
}

func (a *app) rollbackCommand() *cobra.Command {
	c := a.undoCommand(true)
	c.Use, c.Short = "rollback GROUP|RUN", "Return to the old nodes while they are kept in Standby (--bake)"
	c.Long = `Return to the old nodes that a run with --bake keeps in Standby: they are in service again within moments, nothing has to be launched.
The new nodes then go, each emptied like any node that leaves. With no old node in Standby it refuses; drover abort works always.`
	c.Example = "  drover rollback web\n  drover rollback r-20261121-101500-0ab --yes"
	return c
}

func (a *app) undoCommand(standby bool) *cobra.Command {
	u := undoing{standby: standby}
	c := &cobra.Command{
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeGroups,
		RunE: func(c *cobra.Command, args []string) error { return a.undo(c.Context(), args[0], &u) },
	}
	c.Flags().BoolVarP(&u.yes, "yes", "y", false, "do not ask")
	c.Flags().DurationVar(&u.timeout, "timeout", 0, "stop after this long (exit code 4); the same command later goes on. 0 means never")
	return c
}

func (a *app) undo(ctx context.Context, name string, u *undoing) error {
	s, err := a.conn.connect(ctx)
	if err != nil {
		return err
	}
	snapshot, err := s.observeAll(ctx)
	if err != nil {
		return err
	}
	rec, err := choose(underWay(&snapshot), name)
	if err != nil {
		return a.undoneAlready(ctx, s, name, err)
	}
	j, err := planBack(s, &snapshot, rec)
	if err != nil {
		return err
	}
	way := wayBackOf(&snapshot, &j.plan)
	if u.standby && rec.Intent != fleet.Back && way.parked() == 0 {
		return &exit{exitBlocked, fmt.Errorf("run %s: no old node is in Standby, so there is nothing to roll back to; drover abort %s takes the run back from where it is", rec.Run, name)}
	}
	way.print(a.err, rec, s.place)
	if snapshot.Unjournaled != "" {
		return &exit{exitBlocked, fmt.Errorf("%s; nothing was done", snapshot.Unjournaled)}
	}
	findingsTable(a.err, describeFindings(unblocked(j.findings)))
	if err := a.approve(ctx, fmt.Sprintf("Take run %s back?", rec.Run), u.yes); err != nil {
		return err
	}
	return a.goBack(ctx, s, &snapshot, rec, u)
}

// unblocked makes findings warnings. What keeps a pod on a new node is no reason to leave the old ones out of service: the way back goes as far
// as it can, and says where it waits.
func unblocked(findings []fleet.Finding) []fleet.Finding {
	out := slices.Clone(findings)
	for i := range out {
		out[i].Blocks = false
	}
	return out
}

// undoneAlready tells about a run that is over: taken back, it is as it was asked for.
func (a *app) undoneAlready(ctx context.Context, s *site, name string, otherwise error) error {
	records, _, err := s.cluster.Records(ctx)
	if err != nil {
		return otherwise
	}
	for _, r := range slices.Backward(records) {
		if r.Run != name && !r.Has(name) || r.Marks.Ended.IsZero() {
			continue
		}
		when := r.Marks.Ended.Local().Format(time.DateTime)
		if r.Intent != fleet.Back {
			return fmt.Errorf("run %s on %s is over since %s: there is nothing left to take back", r.Run, groupNames(&r), when)
		}
		fmt.Fprintf(a.err, "Run %s on %s was taken back, and is over since %s.\n", r.Run, groupNames(&r), when)
		return nil
	}
	return otherwise
}

// goBack says what is wanted, waits for whoever is on the way forward to stop, and goes the way back from what is there by then.
func (a *app) goBack(ctx context.Context, s *site, seen *fleet.Snapshot, rec *fleet.RotationRecord, u *undoing) error {
	recorded := seen.Rotation(rec.Run) != nil
	if recorded { // otherwise somebody deleted the record, and the way back writes it anew
		if err := s.cluster.Intend(ctx, rec.Run, fleet.Back); err != nil {
			return err
		}
		if rec.Paused != nil {
			if err := s.cluster.Pause(ctx, rec.Run, nil); err != nil {
				return err
			}
		}
	}
	j, err := planBack(s, seen, rec)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.err, "\nRun %s, the way back\n", rec.Run)
	err = a.travel(ctx, u.timeout, j, func(ctx context.Context, act func(context.Context) error) error {
		return a.afterOthers(ctx, s, func(ctx context.Context) error {
			if err := j.again(ctx, rec, recorded); err != nil {
				return err
			}
			return act(ctx)
		})
	})
	var busy *kube.Busy
	if recorded && errors.As(err, &busy) {
		return turned(rec.Run, busy)
	}
	return err
}

// turned is the end of waiting for a process that does not stop: what was asked for is written already, and holds.
func turned(run string, busy *kube.Busy) error {
	return &exit{exitTimeout, fmt.Errorf("run %s is turned round; the same command goes on, once %s has given the lease back", run, busy.Holder)}
}

// again plans anew from what is there now: the other process went on until it noticed.
func (j *journey) again(ctx context.Context, rec *fleet.RotationRecord, recorded bool) error {
	snapshot, err := j.site.observe(ctx, groupsOf(&j.plan))
	if err != nil {
		return err
	}
	switch now := snapshot.Rotation(rec.Run); {
	case now != nil:
		rec = now
	case recorded:
		return fmt.Errorf("run %s ended a moment ago: there is nothing left to take back", rec.Run)
	}
	fresh, err := planBack(j.site, &snapshot, rec)
	if err == nil {
		j.plan = fresh.plan
	}
	return err
}

// planBack plans the way back of a run.
func planBack(s *site, snapshot *fleet.Snapshot, rec *fleet.RotationRecord) (*journey, error) {
	if p := snapshot.Stopped; p != nil {
		return nil, &exit{exitBlocked, fmt.Errorf("everything is %s; drover resume --all first", p)}
	}
	back := *rec
	back.Intent, back.Paused = fleet.Back, nil
	j := &journey{site: s}
	j.plan, j.findings = evac.Resume(snapshot, &back)
	return j, nil
}

// othersStop is how long another process may take to notice that its run is taken back: it reads the record at every tick, and ends the actions
// in flight first. One that was killed is waited out within the same time.
const othersStop = 40 * time.Second

// afterOthers takes the lease as soon as whoever has it gives it back.
func (a *app) afterOthers(ctx context.Context, s *site, act func(context.Context) error) error {
	return patiently(othersStop, time.Now, func(told bool) error {
		tell := a.tellWaiting
		if told {
			tell = func(string, time.Duration) {}
		}
		return s.cluster.Alone(ctx, identity(), tell, act)
	})
}

// patiently tries again while another process is Busy. Each try takes seconds by itself: it looks whether the lease is renewed.
func patiently(upTo time.Duration, now func() time.Time, try func(told bool) error) error {
	began := now()
	for told := false; ; told = true {
		err := try(told)
		var busy *kube.Busy
		if !errors.As(err, &busy) || now().Sub(began) >= upTo {
			return err
		}
	}
}
