package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/engine"
	"drover.dev/evac"
	"drover.dev/fleet"
	"drover.dev/kube"
)

// running is how a plan is carried out.
type running struct {
	yes     bool
	wait    bool
	timeout time.Duration
	expect  string
	bound   string // of the plan that was approved in the process that started this one
}

func (r *running) flags(c *cobra.Command) {
	c.Flags().BoolVarP(&r.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&r.wait, "wait", true, "stay until it is done; with --wait=false go on in the background")
	c.Flags().StringVar(&r.expect, "expect-plan", "", "go only if the plan still has this hash, as drover plan printed it")
	c.Flags().StringVar(&r.bound, boundFlag, "", "go only if the plan still has this bound")
	c.Flags().Lookup(boundFlag).Hidden = true
	c.Flags().DurationVar(&r.timeout, "timeout", 0, "stop after this long (exit code 4); the same command later goes on. 0 means never")
}

// boundFlag is how detach hands on what was approved.
const boundFlag = "expect-bound"

// expected refuses a plan that is not the one that somebody has seen: to the pod with --expect-plan; after detach, to the groups and nodes,
// because pods come and go while a process starts.
func (r *running) expected(p *evac.Plan, hash string) error {
	switch {
	case r.bound != "" && r.bound != p.Bound():
		return &exit{exitBlocked, errors.New("the groups or nodes are not those that were approved a moment ago; nothing was done: look at the plan again")}
	case r.bound == "" && r.expect != "" && r.expect != hash:
		return &exit{exitBlocked, fmt.Errorf("the plan is %s by now, --expect-plan says %s; nothing was done: look at the plan again", hash, r.expect)}
	}
	return nil
}

// journey is a plan on its way to being carried out.
type journey struct {
	site     *site
	plan     evac.Plan
	findings []fleet.Finding
	question string
	extra    []string // groups to observe besides those of the plan
}

// engine returns the loop for the plan, with its groups and health probes.
func (j *journey) engine(note func(engine.Note)) (*engine.Engine, error) {
	e := j.site.engine(append(groupsOf(&j.plan), j.extra...), note)
	if j.plan.Back() {
		return e, nil // what the new nodes did to health is no reason to stay on them
	}
	var err error
	e.Probes, err = parseProbes(j.plan.Record.Probes)
	return e, err
}

// carryOut shows the plan, asks, and goes.
func (a *app) carryOut(ctx context.Context, j *journey, r *running) error {
	d := describe(&j.plan, j.findings, j.site.place)
	planTable(a.err, &d)
	if evac.Blocked(j.findings) || len(j.plan.Forecast.Stuck) > 0 && !j.plan.Resumed {
		return &exit{code: exitBlocked, err: errors.New("blocked; nothing was done")}
	}
	if err := r.expected(&j.plan, d.Hash); err != nil {
		return err
	}
	if err := a.approve(ctx, j.question, r.yes); err != nil {
		return err
	}
	if !r.wait {
		return a.detach(j.plan.Bound(), "drover watch")
	}
	fmt.Fprintf(a.err, "\nRun %s\n", j.plan.Run)
	return a.travel(ctx, r.timeout, j, func(ctx context.Context, act func(context.Context) error) error {
		return j.site.cluster.Alone(ctx, identity(), a.tellWaiting, func(ctx context.Context) error {
			if err := j.stillFree(ctx); err != nil {
				return err
			}
			return act(ctx)
		})
	})
}

// stillFree looks again, under the lease: while a person thought about the plan, or the lease was waited for, others may have acted.
func (j *journey) stillFree(ctx context.Context) error {
	s, err := j.site.observe(ctx, append(groupsOf(&j.plan), j.extra...))
	if err != nil {
		return err
	}
	return overtaken(&s, &j.plan)
}

// overtaken tells which run has begun or ended since the plan was made. That the world moved a little otherwise is what the engine is for.
func overtaken(s *fleet.Snapshot, p *evac.Plan) error {
	var groups []string
	for _, g := range p.Groups {
		groups = append(groups, g.Name)
	}
	stop := func(format string, args ...any) error {
		return &exit{exitBlocked, fmt.Errorf("while you were asked, "+format+"; nothing was done: look at drover status", args...)}
	}
	now := evac.Ongoing(s, groups)
	switch {
	case now != nil && (now.Run != p.Run || !p.Resumed):
		return stop("run %s began on %s", now.Run, groupNames(now))
	case p.Resumed && len(p.Pods) == 0 && s.Rotation(p.Run) == nil:
		return stop("run %s ended, or somebody deleted its record", p.Run)
	}
	for _, e := range p.Exits {
		n := s.Node(e.Node)
		if n == nil || n.Mark() == nil || n.Mark().Value == p.Run {
			continue
		}
		if of := rotating(s, n.Mark().Value); of != "" {
			return stop("run %s on %s began to take node %s away", n.Mark().Value, of, n.Name)
		}
	}
	if err := wentMeanwhile(s, p); err != nil {
		return stop("%w", err)
	}
	return nil
}

// travel carries an approved plan out under the lease, which alone takes, and tells how it ended.
func (a *app) travel(ctx context.Context, timeout time.Duration, j *journey, alone func(context.Context, func(context.Context) error) error) error {
	within := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	began := time.Now()
	e, err := j.engine(a.teller(began))
	if err != nil {
		return err
	}
	var ledger engine.Ledger
	err = alone(within, func(ctx context.Context) error {
		var err error
		ledger, err = e.Run(ctx, j.plan)
		return err
	})
	took := time.Since(began).Round(time.Second)
	var busy *kube.Busy
	var said *exit
	switch {
	case err == nil:
		a.printLedger(&j.plan, ledger, took)
		return nil
	case errors.As(err, &busy):
		return &exit{exitBlocked, err}
	case errors.As(err, &said):
		return err
	case ctx.Err() != nil:
		return &exit{exitInterrupted, fmt.Errorf("stopped watching after %s. %s", took, a.whatGoesOn(e, j.plan.Run))}
	case within.Err() != nil:
		return &exit{exitTimeout, fmt.Errorf("not done within %s. %s", timeout, a.whatGoesOn(e, j.plan.Run))}
	case errors.Is(err, engine.ErrDiverged) && j.turnedRound(ctx):
		return &exit{exitTakenBack, fmt.Errorf("stopped after %s: a person asked to take run %s back, and drover abort does that; nothing more is done here", took, j.plan.Run)}
	}
	return err
}

// turnedRound tells whether somebody asked for the way back while this process was on its way forward.
func (j *journey) turnedRound(ctx context.Context) bool {
	var s fleet.Snapshot
	if j.plan.Back() || j.site.cluster.Observe(ctx, &s) != nil {
		return false
	}
	r := s.Rotation(j.plan.Run)
	return r != nil && r.Intent == fleet.Back
}

// approve asks on a terminal, and refuses to guess without one.
func (a *app) approve(ctx context.Context, question string, yes bool) error {
	if yes {
		return nil
	}
	if !terminal(a.in) {
		return &exit{exitRefused, errors.New("nobody is there to answer; pass --yes to go ahead with this plan")}
	}
	fmt.Fprintf(a.err, "\n%s [y/N] ", question)
	return answered(ctx, a.in)
}

// answered waits for a yes.
func answered(ctx context.Context, in io.Reader) error {
	said, err := readLine(ctx, bufio.NewReader(in))
	if said = strings.ToLower(said); err == nil && said != "y" && said != "yes" {
		err = &exit{exitRefused, errors.New("not approved; nothing was done")}
	}
	return err
}

func (a *app) tellWaiting(holder string, upTo time.Duration) {
	fmt.Fprintf(a.err, "The lease is held by %s; looking whether it is still alive (up to %s)\n", holder, upTo)
}

// whatGoesOn says in which state an unfinished run leaves the world, and what still moves without drover.
func (a *app) whatGoesOn(e *engine.Engine, run string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	again := "The same command goes on from here."
	s, err := e.Observe(ctx)
	if err != nil {
		return again
	}
	var parts []string
	marked, stopping, closing := 0, 0, 0
	for i := range s.Nodes {
		if s.Nodes[i].Mark() != nil {
			marked++
		}
	}
	for i := range s.Pods {
		p := &s.Pods[i]
		if n := s.Node(p.Node); p.Terminating && n != nil && n.Mark() != nil {
			stopping++
		}
	}
	for i := range s.Groups {
		g := &s.Groups[i]
		for j := range g.Instances {
			if g.Instances[j].Leaving() {
				closing++
			}
		}
		if g.Mark != nil {
			parts = append(parts, fmt.Sprintf("group %s keeps desired %d (before: %d)", g.Name, g.Desired, g.Mark.Desired))
		}
	}
	stores := strings.Join(append(halfWay(&s, run), again), " ")
	return fmt.Sprintf("Going on by themselves: %d pods shutting down, %d instances closing. Staying so: %d marked nodes%s. Nothing else is touched. %s",
		stopping, closing, marked, strings.Join(append([]string{""}, parts...), ", "), stores)
}

// detach starts the same command again in the background, approved within its bound, and returns. look is the command that shows how far it is.
func (a *app) detach(bound, look string) error {
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(s string) bool { return strings.HasPrefix(s, "--wait") })
	log, pid, err := background(append(args, "--yes", "--"+boundFlag, bound), "run")
	if err != nil {
		return fmt.Errorf("go on in the background: %w", err)
	}
	fmt.Fprintf(a.err, "Going on in the background: pid %d, log %s. %s shows how far it is.\n", pid, log, look)
	return nil
}
