package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/aws"
	"drover.dev/fleet"
	"drover.dev/pipeline"
)

// How long and how often what was set up is read again: SQS itself says that a change may take a minute to show.
const (
	verifyWithin = 90 * time.Second
	verifyEvery  = 3 * time.Second
)

// layout is which pipeline is meant: the flags that setup and check share.
type layout struct {
	cluster  string
	queue    string
	drainFor time.Duration
}

func (l *layout) flags(c *cobra.Command) {
	c.Flags().StringVar(&l.cluster, "cluster-name", "", "name of the cluster in AWS (otherwise as the tags of its groups say)")
	c.Flags().StringVar(&l.queue, "queue", "", "name of the queue (otherwise drover-CLUSTER)")
	c.Flags().DurationVar(&l.drainFor, "drain-for", fleet.UsualPolicy.DrainFor, "how long the controller lets a hook hold an instance for its pods; findings compare with it")
}

// queueName is what SQS takes, with room for the end of the dead-letter queue's name. A FIFO queue is none that EventBridge fills without more ado.
var queueName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,75}$`)

func (l *layout) check() error {
	if l.queue != "" && !queueName.MatchString(l.queue) {
		return usagef("--queue %q: want a name of a standard queue: up to 75 letters, digits, - and _", l.queue)
	}
	if l.drainFor <= 0 {
		return usagef("--drain-for %s: must be positive", l.drainFor)
	}
	return nil
}

// setup is what drover setup is asked for.
type setup struct {
	layout
	heartbeat time.Duration
	launch    bool
	managed   bool
	remove    bool
	force     bool
	policy    bool
	yes       bool
}

func (a *app) setupCommand() *cobra.Command {
	var o setup
	c := &cobra.Command{
		Use: "setup [GROUP...]", Short: "Create or repair what brings notices to drover: queue, rules, hooks",
		Long: `Create or repair what brings notices to drover: an SQS queue with a dead-letter queue, EventBridge rules that fill it, and on every group a
lifecycle hook that holds an instance until its pods have left. Without groups, all groups of this cluster.

The plan is shown first, and what checks find besides. Nothing that is not drover's is changed: queues and rules are drover's by the tag
drover.dev/cluster, hooks by their name. What was interrupted goes on with the same command; a second time there is nothing to do.

A hook that nobody answers lets its instance go on after the heartbeat, so a group without a running controller still grows and shrinks. Groups
that retain abandoned instances get a hook that abandons.

Managed node groups have a hook of EKS's own, which gives pods about 15 minutes; --managed adds drover's beside it. --remove takes everything away
again, hooks first; with groups, only their hooks. Deleting a hook ends the instances that it holds, with their pods, so that while there are any it
is blocked unless --force is given. --policy prints the IAM policy that the controller needs, and does nothing.`,
		Example:           "  drover setup\n  drover setup web api --launch-hooks\n  drover setup --policy > drover.json\n  drover setup --remove",
		ValidArgsFunction: a.completeGroups,
		RunE:              func(c *cobra.Command, args []string) error { return a.setup(c.Context(), args, &o) },
	}
	o.flags(c)
	c.Flags().DurationVar(&o.heartbeat, "heartbeat", 0, "how long a hook waits without a word from drover, 30s to 2h (otherwise 5m, or what the pods' grace periods need)")
	c.Flags().BoolVar(&o.launch, "launch-hooks", false, "hold new instances, too, until they are Ready nodes")
	c.Flags().BoolVar(&o.managed, "managed", false, "give managed node groups a hook beside the one of EKS")
	c.Flags().BoolVar(&o.remove, "remove", false, "take it away again")
	c.Flags().BoolVar(&o.force, "force", false, "with --remove: also while hooks hold instances, which ends them at once")
	c.Flags().BoolVar(&o.policy, "policy", false, "print the IAM policy that the controller needs, and nothing else")
	c.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	c.MarkFlagsMutuallyExclusive("remove", "policy")
	c.MarkFlagsMutuallyExclusive("remove", "launch-hooks")
	c.MarkFlagsMutuallyExclusive("remove", "heartbeat")
	return c
}

func (o *setup) valid() error {
	if err := pipeline.CheckHeartbeat(o.heartbeat); err != nil {
		return usagef("--%v", err)
	}
	if o.force && !o.remove {
		return usagef("--force goes with --remove")
	}
	return o.check()
}

func (a *app) setup(ctx context.Context, groups []string, o *setup) error {
	if err := o.valid(); err != nil {
		return err
	}
	g, err := a.survey(ctx, groups, &o.layout)
	if err != nil {
		return err
	}
	g.wanted.Heartbeat, g.wanted.LaunchHooks, g.wanted.Managed, g.wanted.Force = o.heartbeat, o.launch, o.managed, o.force
	if o.remove && len(groups) == 0 {
		g.wanted.Others = pipeline.Others(&g.fleet)
	}
	if g.found, err = g.site.cloud.Pipeline(ctx, g.wanted); err != nil {
		return err
	}
	if o.policy {
		return writeRights(a.out, g)
	}
	return a.lay(ctx, g.site.cloud, g, o.plan(len(groups) == 0), o)
}

// writeRights prints the IAM policy that the controller needs.
func writeRights(w io.Writer, g *ground) error {
	actions := map[pipeline.Scope][]string{}
	for _, r := range aws.NoticeActions {
		actions[pipeline.Scope(r.On)] = append(actions[pipeline.Scope(r.On)], r.Action)
	}
	key, value := aws.GroupCondition(g.wanted.Cluster)
	text, err := g.wanted.Rights(g.found, actions, key, value)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, text)
	return err
}

// ground is what a pipeline is compared with.
type ground struct {
	site   *site
	place  string
	fleet  fleet.Snapshot
	wanted pipeline.Wanted
	found  pipeline.Found
}

// survey connects, observes, and says what is wanted.
func (a *app) survey(ctx context.Context, groups []string, l *layout) (*ground, error) {
	s, err := a.conn.connect(ctx)
	if err != nil {
		return nil, err
	}
	g := &ground{site: s, place: s.place}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	if len(groups) == 0 {
		g.fleet, err = s.observeAll(ctx)
	} else if g.fleet, err = s.observe(ctx, groups); err == nil {
		err = s.known(ctx, &g.fleet, groups)
	}
	if err != nil {
		return nil, err
	}
	account, region, err := s.cloud.Account(ctx)
	if err != nil {
		return nil, err
	}
	if g.wanted, err = want(&g.fleet, groups, l); err != nil {
		return nil, err
	}
	g.wanted.Account, g.wanted.Region = account, region
	return g, nil
}

// want names the cluster and its groups.
func want(s *fleet.Snapshot, groups []string, l *layout) (pipeline.Wanted, error) {
	w := pipeline.Wanted{Cluster: l.cluster, Queue: l.queue, DrainFor: l.drainFor}
	if names := pipeline.ClusterNames(s); w.Cluster == "" {
		switch len(names) {
		case 0:
			return w, usagef("no tag kubernetes.io/cluster/NAME of a group says what this cluster is called in AWS; pass --cluster-name")
		case 1:
			w.Cluster = names[0]
		default:
			return w, usagef("the tags of groups call this cluster %s; choose one with --cluster-name", strings.Join(names, " and "))
		}
	}
	for i := range s.Groups {
		if g := &s.Groups[i]; slices.Contains(groups, g.Name) && !pipeline.Belongs(s, g, w.Cluster) {
			return w, &exit{exitBlocked, fmt.Errorf("group %s: no instance of it is a node of this cluster, and no tag says that it belongs to cluster %s; nothing was done: check --context and --profile", g.Name, w.Cluster)}
		}
	}
	w.Groups = pipeline.Groups(s, w.Cluster, groups)
	return w, nil
}

// plumber is the hand on a pipeline.
type plumber interface {
	Pipeline(ctx context.Context, w pipeline.Wanted) (pipeline.Found, error)
	Lay(ctx context.Context, c pipeline.Change) error
}

// planner says what is to be done about what was found, and what people should know.
type planner func(g *ground, f pipeline.Found) ([]pipeline.Change, []fleet.Finding)

func (o *setup) plan(all bool) planner {
	if o.remove {
		return func(g *ground, f pipeline.Found) ([]pipeline.Change, []fleet.Finding) {
			return pipeline.Removal(g.wanted, f, all)
		}
	}
	return func(g *ground, f pipeline.Found) ([]pipeline.Change, []fleet.Finding) {
		changes, taken := pipeline.Plan(g.wanted, f)
		if len(taken) > 0 {
			return nil, taken
		}
		return changes, pipeline.Check(g.wanted, f.After(changes), &g.fleet)
	}
}

// lay shows the plan, asks, carries it out, and reads again whether it is so.
func (a *app) lay(ctx context.Context, hand plumber, g *ground, plan planner, o *setup) error {
	changes, findings := plan(g, g.found)
	a.changesTable(g, changes, findings)
	switch {
	case slices.ContainsFunc(findings, func(f fleet.Finding) bool { return f.Blocks }):
		return &exit{exitBlocked, errors.New("blocked; nothing was done")}
	case len(changes) == 0:
		fmt.Fprintln(a.err, o.done())
		return nil
	}
	question := fmt.Sprintf("Make these %s?", counted(len(changes), "change", "changes"))
	if o.remove {
		question = fmt.Sprintf("Remove all of this (%s)?", counted(len(changes), "change", "changes"))
	}
	if err := a.approve(ctx, question, o.yes); err != nil {
		return err
	}
	for i, c := range changes {
		if err := a.layOne(ctx, hand, c); err != nil {
			return fmt.Errorf("%w; %d of %d changes are made, and the same command goes on from there", err, i, len(changes))
		}
		fmt.Fprintf(a.err, "%s  %s %s\n", a.paint(green, "done"), c.Verb, c.Subject())
	}
	return a.verify(ctx, hand, g, plan)
}

// done says that there is nothing to do.
func (o *setup) done() string {
	if o.remove {
		return "Nothing to do: nothing of it is there."
	}
	return "Nothing to do: everything is as it is to be."
}

// layTries is how often a change is tried that AWS does not take yet: a queue whose name was in use a minute ago is the longest wait.
const layTries = 3

// layOne carries out a change, waiting where AWS does not take it yet.
func (a *app) layOne(ctx context.Context, hand plumber, c pipeline.Change) error {
	for try := 1; ; try++ {
		err := hand.Lay(ctx, c)
		var refused *fleet.Refused
		if !errors.As(err, &refused) || refused.Wait == 0 || try == layTries {
			return err
		}
		fmt.Fprintf(a.err, "%s  %v; again in %s\n", a.paint(yellow, "not yet"), err, lasting(refused.Wait))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(refused.Wait):
		}
	}
}

// verify reads until AWS shows what was changed.
func (a *app) verify(ctx context.Context, hand plumber, g *ground, plan planner) error {
	within, cancel := context.WithTimeout(ctx, verifyWithin)
	defer cancel()
	for {
		found, err := hand.Pipeline(within, g.wanted)
		if err != nil && within.Err() == nil {
			return fmt.Errorf("read again what was changed: %w", err)
		}
		left, _ := plan(g, found)
		if err == nil && len(left) == 0 {
			fmt.Fprintln(a.err, "Read again: everything is as it is to be.")
			return nil
		}
		select {
		case <-within.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("AWS does not show it after %s: %s; the same command looks again", verifyWithin, orNone(subjects(left)))
		case <-time.After(verifyEvery):
		}
	}
}

func subjects(changes []pipeline.Change) []string {
	var out []string
	for _, c := range changes {
		out = append(out, fmt.Sprintf("%s %s", c.Verb, c.Subject()))
	}
	return out
}

func (a *app) changesTable(g *ground, changes []pipeline.Change, findings []fleet.Finding) {
	fmt.Fprintf(a.err, "Notices of cluster %s, for %s\n", g.wanted.Cluster, g.place)
	var rows [][]string
	for _, c := range changes {
		rows = append(rows, []string{string(c.Verb), c.Subject(), c.Detail()})
	}
	if len(rows) > 0 {
		fmt.Fprintln(a.err)
		columns(a.err, "CHANGE NAME WHAT", rows)
	}
	fmt.Fprintln(a.err)
	findingsTable(a.err, describeFindings(findings))
}
