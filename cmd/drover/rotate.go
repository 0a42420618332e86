package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"drover.dev/depart"
	"drover.dev/evac"
	"drover.dev/fleet"
	"drover.dev/kube"
)

// rotation is what the flags of plan rotate and rotate ask for.
type rotation struct {
	all       bool
	olderThan time.Duration
	selector  string
	surge     string
	force     bool
	detailed  bool
	run       running
}

// running is how a plan is carried out.
type running struct {
	yes     bool
	wait    bool
	timeout time.Duration
	expect  string
}

func (r *running) flags(c *cobra.Command) {
	c.Flags().BoolVarP(&r.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&r.wait, "wait", true, "stay until it is done; with --wait=false go on in the background")
	c.Flags().StringVar(&r.expect, "expect-plan", "", "go only if the plan still has this hash, as drover plan printed it")
	c.Flags().DurationVar(&r.timeout, "timeout", 0, "stop after this long (exit code 4); the same command later goes on. 0 means never")
}

func (r *rotation) flags(c *cobra.Command) {
	c.Flags().BoolVar(&r.all, "all", false, "every node, outdated or not")
	c.Flags().DurationVar(&r.olderThan, "older-than", 0, "nodes launched longer ago than this, as 720h")
	c.Flags().StringVarP(&r.selector, "selector", "l", "", "nodes with these labels")
	c.Flags().StringVar(&r.surge, "surge", "", "nodes above desired at once: a number or a percentage (default: one per zone)")
	c.Flags().BoolVar(&r.force, "force", false, "also evict pods without a controller: nothing brings them back")
	c.MarkFlagsMutuallyExclusive("all", "older-than", "selector")
}

func (a *app) planCommand() *cobra.Command {
	plan := &cobra.Command{Use: "plan", Short: "Show what would be done, and do nothing"}
	var r rotation
	c := &cobra.Command{
		Use: "rotate GROUP...", Short: "Show how a rotation would go",
		Example: "  drover plan rotate web\n  drover plan rotate web api --surge 25% -o json",
		Args:    cobra.MinimumNArgs(1), ValidArgsFunction: a.completeGroups,
		RunE: func(c *cobra.Command, args []string) error { return a.planRotate(c.Context(), args, &r) },
	}
	r.flags(c)
	c.Flags().BoolVar(&r.detailed, "detailed-exitcode", false, "exit with 2 when there is something to do")
	a.outputFlag(c)
	plan.AddCommand(c)
	return plan
}

func (a *app) rotateCommand() *cobra.Command {
	var r rotation
	c := &cobra.Command{
		Use: "rotate GROUP...", Short: "Replace the outdated nodes of Auto Scaling groups",
		Long: `Replace the outdated nodes of one or several Auto Scaling groups: those that were not launched from what the group launches now.

The old nodes are all marked first, so every pod moves once. New nodes come first, pods follow under their PodDisruptionBudgets, and each
old machine is closed by its id when it is empty and out of its load balancers. What was changed on the way (desired capacity, AZRebalance,
cluster-autoscaler annotations) is put back.

Ctrl-C stops after the actions in flight. The same command goes on where any run stopped, killed ones included.`,
		Example: "  drover rotate web\n  drover rotate web api --surge 2 --yes\n  drover rotate web --older-than 720h",
		Args:    cobra.MinimumNArgs(1), ValidArgsFunction: a.completeGroups,
		RunE: func(c *cobra.Command, args []string) error { return a.rotate(c.Context(), args, &r) },
	}
	r.flags(c)
	r.run.flags(c)
	return c
}

// parse checks the flags that have a grammar of their own.
func (r *rotation) parse(now time.Time) (depart.Criterion, evac.Options, error) {
	c := depart.Criterion{Kind: depart.Outdated}
	switch {
	case r.all:
		c.Kind = depart.All
	case r.olderThan < 0:
		return c, evac.Options{}, usagef("--older-than %s: must be positive", r.olderThan)
	case r.olderThan > 0:
		c.Kind, c.Before = depart.OlderThan, now.Add(-r.olderThan)
	case r.selector != "":
		s, err := labels.Parse(r.selector)
		if err != nil {
			return c, evac.Options{}, usagef("--selector %q: %v", r.selector, err)
		}
		c.Kind, c.Words = depart.Selector, r.selector
		c.Match = func(n *fleet.Node) bool { return s.Matches(labels.Set(n.Labels)) }
	}
	surge, err := parseSurge(r.surge)
	return c, evac.Options{Run: newRun(now), Criterion: string(c.Kind), Surge: surge, Force: r.force}, err
}

func usagef(format string, args ...any) error { return &exit{exitUsage, fmt.Errorf(format, args...)} }

// newRun names a run: by time, for people, and a few random digits, for two that start in the same second.
func newRun(now time.Time) string {
	return fmt.Sprintf("r-%s-%03x", now.UTC().Format("20060102-150405"), rand.IntN(1<<12))
}

func parseSurge(s string) (evac.Surge, error) {
	if s == "" {
		return evac.Surge{}, nil
	}
	digits, percent := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(digits)
	switch {
	case err != nil, n < 1:
		return evac.Surge{}, usagef("--surge %q: want a number of nodes (1 or more) or a percentage (1%% to 100%%)", s)
	case percent && n > 100:
		return evac.Surge{}, usagef("--surge %q: more than 100%%", s)
	case percent:
		return evac.Surge{Percent: n}, nil
	}
	return evac.Surge{Count: n}, nil
}

// prepareRotation connects, observes and plans.
func (a *app) prepareRotation(ctx context.Context, groups []string, r *rotation) (*site, *evac.Plan, []fleet.Finding, error) {
	slices.Sort(groups)
	groups = slices.Compact(groups)
	criterion, options, err := r.parse(time.Now())
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := a.conn.connect(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	snapshot, err := s.observe(ctx, groups)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := s.known(ctx, &snapshot, groups); err != nil {
		return nil, nil, nil, err
	}
	departures, err := depart.Rotate(&snapshot, groups, criterion)
	if err != nil {
		return nil, nil, nil, err
	}
	p, problems := evac.Make(&snapshot, groups, departures, options)
	return s, &p, problems, nil
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

func (a *app) planRotate(ctx context.Context, groups []string, r *rotation) error {
	s, p, problems, err := a.prepareRotation(ctx, groups, r)
	if err != nil {
		return err
	}
	d := describe(p, problems, s.place)
	if err := a.print(d, func(w io.Writer) { planTable(w, &d) }); err != nil {
		return err
	}
	switch {
	case len(problems) > 0 || len(p.Forecast.Stuck) > 0:
		return &exit{code: exitBlocked}
	case r.detailed:
		return &exit{code: exitChanges}
	}
	return nil
}

func (a *app) rotate(ctx context.Context, groups []string, r *rotation) error {
	s, p, problems, err := a.prepareRotation(ctx, groups, r)
	if err != nil {
		return err
	}
	question := fmt.Sprintf("Replace %d nodes?", len(p.Exits))
	return a.carryOut(ctx, s, p, problems, question, groups, &r.run)
}

// carryOut shows the plan, asks, and goes.
func (a *app) carryOut(ctx context.Context, s *site, p *evac.Plan, problems []fleet.Finding, question string, groups []string, r *running) error {
	d := describe(p, problems, s.place)
	planTable(a.err, &d)
	if len(problems) > 0 || len(p.Forecast.Stuck) > 0 && !resumed(p) {
		return &exit{code: exitBlocked, err: errors.New("blocked; nothing was done")}
	}
	if r.expect != "" && r.expect != d.Hash {
		return &exit{exitBlocked, fmt.Errorf("the plan is %s by now, --expect-plan says %s; nothing was done: look at the plan again", d.Hash, r.expect)}
	}
	if err := a.approve(question, r.yes); err != nil {
		return err
	}
	if !r.wait {
		return a.detach(d.Hash)
	}
	within := ctx
	if r.timeout > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, r.timeout)
		defer cancel()
	}
	began := time.Now()
	fmt.Fprintf(a.err, "\nRun %s\n", p.Run)
	var exceptions []string
	err := s.cluster.Alone(within, identity(), a.tellWaiting, func(ctx context.Context) error {
		var err error
		exceptions, err = s.engine(groups, a.teller(began)).Run(ctx, *p)
		return err
	})
	took := time.Since(began).Round(time.Second)
	var busy *kube.Busy
	switch {
	case err == nil:
		for _, e := range exceptions {
			fmt.Fprintln(a.err, a.paint(yellow, "exception"), e)
		}
		fmt.Fprintf(a.err, "%s in %s (forecast %s): %d nodes, %d pods moved.\n", a.paint(green, "Done"), took, p.Forecast.Took.Round(time.Second), len(p.Exits), len(p.Moves))
		return nil
	case errors.As(err, &busy):
		return &exit{exitBlocked, err}
	case ctx.Err() != nil:
		return &exit{exitInterrupted, fmt.Errorf("stopped watching after %s. %s", took, a.whatGoesOn(s, groups))}
	case within.Err() != nil:
		return &exit{exitTimeout, fmt.Errorf("not done within %s. %s", r.timeout, a.whatGoesOn(s, groups))}
	}
	return err
}

// resumed tells whether the plan goes on with a run. Then a forecast that ends badly is no reason to leave things half done.
func resumed(p *evac.Plan) bool {
	return slices.ContainsFunc(p.Groups, func(g evac.GroupPlan) bool { return g.Resumed })
}

// approve asks on a terminal, and refuses to guess without one.
func (a *app) approve(question string, yes bool) error {
	if yes {
		return nil
	}
	if !terminal(a.in) {
		return &exit{exitRefused, errors.New("nobody is there to answer; pass --yes to go ahead with this plan")}
	}
	fmt.Fprintf(a.err, "\n%s [y/N] ", question)
	answer, err := bufio.NewReader(a.in).ReadString('\n')
	if answer = strings.ToLower(strings.TrimSpace(answer)); err != nil || answer != "y" && answer != "yes" {
		return &exit{exitRefused, errors.New("not approved; nothing was done")}
	}
	return nil
}

func (a *app) tellWaiting(holder string, upTo time.Duration) {
	fmt.Fprintf(a.err, "The lease is held by %s; looking whether it is still alive (up to %s)\n", holder, upTo)
}

// whatGoesOn says in which state an unfinished run leaves the world, and what still moves without drover.
func (a *app) whatGoesOn(s *site, groups []string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	again := "The same command goes on from here."
	snapshot, err := s.engine(groups, nil).Observe(ctx)
	if err != nil {
		return again
	}
	var parts []string
	marked, closing := 0, 0
	for i := range snapshot.Nodes {
		if snapshot.Nodes[i].Mark() != nil {
			marked++
		}
	}
	stopping := 0
	for i := range snapshot.Pods {
		p := &snapshot.Pods[i]
		if n := snapshot.Node(p.Node); p.Terminating && n != nil && n.Mark() != nil {
			stopping++
		}
	}
	for i := range snapshot.Groups {
		for j := range snapshot.Groups[i].Instances {
			if snapshot.Groups[i].Instances[j].Leaving() {
				closing++
			}
		}
		if m := snapshot.Groups[i].Mark; m != nil {
			parts = append(parts, fmt.Sprintf("group %s keeps desired %d (before: %d)", snapshot.Groups[i].Name, snapshot.Groups[i].Desired, m.Desired))
		}
	}
	return fmt.Sprintf("Going on by themselves: %d pods shutting down, %d instances closing. Staying so: %d marked nodes%s. Nothing else is touched. %s",
		stopping, closing, marked, strings.Join(append([]string{""}, parts...), ", "), again)
}

// detach starts the same command again in the background, approved, and returns.
func (a *app) detach(hash string) error {
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(s string) bool { return strings.HasPrefix(s, "--wait") })
	log, pid, err := background(append(args, "--yes", "--expect-plan", hash), "run")
	if err != nil {
		return fmt.Errorf("go on in the background: %w", err)
	}
	fmt.Fprintf(a.err, "Going on in the background: pid %d, log %s. drover status shows how far it is.\n", pid, log)
	return nil
}

func (a *app) completeGroups(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(c.Context(), 3*time.Second)
	defer cancel()
	cloud, _, err := a.conn.connectAWS(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	groups, err := cloud.Groups(ctx, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, g := range groups {
		if strings.HasPrefix(g.Name, prefix) {
			out = append(out, g.Name)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
