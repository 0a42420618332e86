package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/depart"
	"drover.dev/evac"
	"drover.dev/fleet"
)

func (a *app) rotateCommand() *cobra.Command {
	var r rotation
	c := &cobra.Command{
		Use: "rotate GROUP...", Short: "Replace the outdated nodes of Auto Scaling groups and managed node groups",
		Long: `Replace the outdated nodes of one or several groups: those that were not launched from what the group launches now.

The old nodes are all marked first, so every pod moves once. New nodes come first, pods follow under their PodDisruptionBudgets, and each
old machine is closed by its id when it is empty and out of its load balancers. What was changed on the way (desired capacity, AZRebalance,
cluster-autoscaler annotations) is put back.

Ctrl-C stops after the actions in flight. The same command goes on where any run stopped, killed ones included, with what was approved then.
drover abort takes the run back, drover pause stops it, drover watch shows it.`,
		Example: "  drover rotate web\n  drover rotate web api --surge 2 --yes\n  drover rotate web --older-than 720h\n" +
			"  drover rotate web --canary 10m --bake 1h --probe https://shop.example.com/healthz",
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.completeGroups,
		RunE: func(c *cobra.Command, args []string) error { return a.rotate(c.Context(), args, &r) },
	}
	r.flags(c)
	r.requesterFlag(c)
	r.run.flags(c)
	return c
}

func (a *app) rotate(ctx context.Context, groups []string, r *rotation) error {
	j, err := a.prepareRotation(ctx, groups, r)
	if err != nil {
		return err
	}
	if rec := &j.plan.Record; j.plan.Resumed {
		fmt.Fprintf(a.err, "Going on with run %s of %s, begun %s, as it was approved then.\n", rec.Run, orSomebody(rec.Requester), rec.At.Local().Format(time.DateTime))
	}
	j.question = fmt.Sprintf("Replace %d nodes?", len(j.plan.Exits))
	return a.carryOut(ctx, j, &r.run)
}

// prepareRotation connects, observes and plans: a new run, or the rest of one that is under way. With depart.ErrNothing the journey has a site only.
func (a *app) prepareRotation(ctx context.Context, groups []string, r *rotation) (*journey, error) {
	slices.Sort(groups)
	groups = slices.Compact(groups)
	criterion, options, err := r.parse(time.Now())
	if err != nil {
		return nil, err
	}
	s, err := a.conn.connect(ctx)
	if err != nil {
		return nil, err
	}
	snapshot, err := s.observe(ctx, groups)
	if err != nil {
		return nil, err
	}
	if rec := evac.Ongoing(&snapshot, groups); rec != nil {
		return a.goOn(ctx, s, &snapshot, rec, groups)
	}
	if err := s.known(ctx, &snapshot, groups); err != nil {
		return nil, err
	}
	departures, err := depart.Rotate(&snapshot, groups, criterion)
	j := &journey{site: s}
	if err != nil {
		return j, err
	}
	j.plan, j.findings = evac.Make(&snapshot, groups, departures, options)
	return j, j.preflight(ctx, &snapshot, a.err)
}

// goOn plans the rest of a run that an earlier process began. What was approved then holds, whatever the flags say now.
func (a *app) goOn(ctx context.Context, s *site, seen *fleet.Snapshot, rec *fleet.RotationRecord, groups []string) (*journey, error) {
	switch {
	case seen.Rotation(rec.Run) == nil:
		return nil, &exit{exitBlocked, fmt.Errorf("somebody deleted the record of run %s on %s: all that is left to do with it is to take it back: drover abort %s", rec.Run, groupNames(rec), rec.Groups[0].Name)}
	case rec.Intent == fleet.Back:
		return nil, &exit{exitBlocked, fmt.Errorf("run %s is being taken back; drover abort %s goes on with that", rec.Run, rec.Groups[0].Name)}
	}
	if i := slices.IndexFunc(groups, func(g string) bool { return !rec.Has(g) }); i >= 0 {
		return nil, &exit{exitBlocked, fmt.Errorf("run %s is under way on %s, without group %s; finish it first: drover rotate %s", rec.Run, groupNames(rec), groups[i], strings.Join(namesOf(rec), " "))}
	}
	p, _ := evac.Resume(seen, rec) // it names the copies of managed groups
	snapshot, err := s.observe(ctx, groupsOf(&p))
	if err != nil {
		return nil, err
	}
	j := &journey{site: s}
	j.plan, j.findings = evac.Resume(&snapshot, rec)
	return j, nil
}

// groupsOf names all groups that a plan touches.
func groupsOf(p *evac.Plan) []string {
	var out []string
	for _, g := range p.Groups {
		out = append(out, g.Name)
		if g.Copy != "" {
			out = append(out, g.Copy)
		}
	}
	return out
}

func namesOf(rec *fleet.RotationRecord) []string {
	var out []string
	for _, g := range rec.Groups {
		out = append(out, g.Name)
	}
	return out
}

func groupNames(rec *fleet.RotationRecord) string {
	names := namesOf(rec)
	if len(names) == 1 {
		return "group " + names[0]
	}
	return "groups " + orNone(names)
}

func orSomebody(who string) string {
	if who == "" {
		return "somebody"
	}
	return who
}

// known tells about groups that AWS does not list, with those that it does.
func (s *site) known(ctx context.Context, snapshot *fleet.Snapshot, groups []string) error {
	for _, name := range groups {
		if snapshot.Group(name) != nil {
			continue
		}
		all, err := s.cloud.Groups(ctx, nil)
		if err != nil {
			return err
		}
		var have []string
		for i := range all {
			have = append(have, all[i].Name)
		}
		return fmt.Errorf("group %s: AWS lists no Auto Scaling group of that name here; there are: %s", name, orNone(have))
	}
	return nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
