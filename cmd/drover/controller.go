package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"drover.dev/api/v1alpha1"
	"drover.dev/aws"
	"drover.dev/engine"
	"drover.dev/fleet"
	"drover.dev/kube"
	"drover.dev/metrics"
	"drover.dev/notice"
)

// controlling is how the controller was asked for.
type controlling struct {
	queue        string
	clusterName  string
	foreign      string
	listen       string
	node         string
	environments bool
	region       string        // that was found
	databases    chan struct{} // has room for one word that RDS has started a database
	rebalance    string
	policy       fleet.Policy
	guard        guarding
}

// What a controller asks of the API server and AWS at most: a wave of hundreds of nodes is its hour, and priority and fairness are the server's.
const (
	controllerQPS    = 400
	controllerBurst  = 800
	controllerAtOnce = 64

	// controllerEvery is how often AWS is asked while no message and no event says anything: how late a lost message is made up for.
	controllerEvery = 5 * time.Second
)

func (a *app) controllerCommand() *cobra.Command {
	r := controlling{policy: fleet.UsualPolicy}
	c := &cobra.Command{
		Use: "controller", Short: "Stay, and empty every node that AWS is about to take", Args: cobra.NoArgs,
		Long: `Run until stopped: hear from AWS which instances go (lifecycle hooks, spot interruptions, rebalance recommendations, scheduled events, capacity that
ends), and have their pods leave first. What is heard is kept in Departure objects, so that any process may go on; AWS itself is asked every few
seconds, so that a lost message costs no more than that. drover setup makes the queue, the rules and the hooks; without a queue, asking alone does.

Where the cluster knows Environment objects it also switches environments, as their schedules and people's wishes say (drover env).

Several processes may run; one leads. A process whose own node goes lets another lead. Nothing that a person asked for is done here: drover rotate and
drover drain go their own way, through the same door.`,
		Example: "  drover setup\n  drover controller --cluster-name prod --queue drover-prod\n  drover controller --queue '' --drain-for 30m",
		RunE: func(c *cobra.Command, _ []string) error {
			r.policy.Rebalance = fleet.Advice(r.rebalance)
			return a.control(c.Context(), &r)
		},
	}
	f := c.Flags()
	f.StringVar(&r.queue, "queue", "", "name or URL of the queue that drover setup made; empty to go by asking alone")
	f.StringVar(&r.clusterName, "cluster-name", "", "the cluster's name in AWS, as in the tag kubernetes.io/cluster/NAME (otherwise as most of its groups are tagged)")
	f.StringVar(&r.foreign, "foreign", string(engine.Drop), "messages about other clusters' instances: drop; or, on a queue that clusters share, release (they come again) or quarantine (to the dead-letter queue)")
	f.StringVar(&r.listen, "listen", "127.0.0.1:8080", "address of /metrics, /healthz and /readyz; empty for none")
	f.StringVar(&r.node, "node", os.Getenv("NODE_NAME"), "name of the node that this process runs on (otherwise NODE_NAME)")
	f.DurationVar(&r.policy.DrainFor, "drain-for", r.policy.DrainFor, "how long a terminate hook may hold an instance for its pods to leave within their budgets")
	f.BoolVar(&r.policy.Retain, "retain", r.policy.Retain, "abandon the hook of a node that is not empty by then, where its group retains abandoned instances, and go on emptying it")
	f.StringVar(&r.rebalance, "rebalance", string(r.policy.Rebalance), "what a rebalance recommendation brings: replace, cordon or ignore")
	f.DurationVar(&r.policy.RebalanceFor, "rebalance-for", r.policy.RebalanceFor, "how long a node stays closed for a recommendation that nothing came of")
	f.IntVar(&r.policy.RebalancePerHour, "rebalance-per-hour", r.policy.RebalancePerHour, "nodes of a group that may be replaced for recommendations in an hour")
	f.BoolVar(&r.environments, "environments", true, "switch environments as their schedules and people's wishes say, where the cluster knows Environment objects")
	r.guard.flags(f)
	f.DurationVar(&r.policy.Join, "join", r.policy.Join, "how long a new instance that a launch hook holds may take to become a Ready node; 0 for as long as AWS allows")
	return c
}

func (r *controlling) check() error {
	bad := func(flag, format string, args ...any) error {
		return &exit{exitUsage, fmt.Errorf("--%s: "+format, append([]any{flag}, args...)...)}
	}
	switch p := r.policy; {
	case !slices.Contains([]engine.Rule{engine.Drop, engine.Release, engine.Quarantine}, engine.Rule(r.foreign)):
		return bad("foreign", "%q is none of drop, release, quarantine", r.foreign)
	case p.Rebalance != fleet.AdviceReplace && p.Rebalance != fleet.AdviceCordon && p.Rebalance != fleet.AdviceIgnore:
		return bad("rebalance", "%q is none of replace, cordon, ignore", r.rebalance)
	case p.DrainFor < time.Minute || p.DrainFor > 48*time.Hour:
		return bad("drain-for", "%s is not between 1m and 48h, the longest that AWS lets a hook wait", p.DrainFor)
	case p.RebalanceFor < time.Minute:
		return bad("rebalance-for", "%s is less than 1m", p.RebalanceFor)
	case p.RebalancePerHour < 0:
		return bad("rebalance-per-hour", "%d is less than 0", p.RebalancePerHour)
	case p.Join < 0:
		return bad("join", "%s is less than 0", p.Join)
	}
	return r.guard.check()
}

// control leads whenever no other process does, until the context ends.
func (a *app) control(ctx context.Context, r *controlling) error {
	if err := r.check(); err != nil {
		return err
	}
	r.databases = make(chan struct{}, 1)
	m := newMeter(metrics.New(version))
	site, queue, err := a.conn.controllerSite(ctx, r, m)
	if err != nil {
		return err
	}
	within, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if r.listen != "" {
		go func() {
			if err := metrics.Serve(within, r.listen, m.set, m.ready, m.healthy); err != nil && within.Err() == nil {
				stop(err)
			}
		}()
	}
	guard, err := a.guardian(within, &r.guard, site.cluster, m.set.Guarded, stop)
	if err != nil {
		return err
	}
	defer guard.close()
	fmt.Fprintf(a.err, "drover controller on %s; queue %s; waits to lead\n", site.place, named(r.queue))
	c := a.controller(site, queue, r, m)
	c.See = guard.seeing(c.See)
	for within.Err() == nil {
		err := site.cluster.Lead(within, identity(), kube.ControllerName, func(ctx context.Context) error {
			go guard.keep(ctx)
			return a.withEnvironments(ctx, within, site, r, m, func(ctx context.Context) error { return a.lead(ctx, c, site, queue, m) })
		})
		var fatal *fleet.Fatal
		switch {
		case within.Err() != nil || err == nil:
		case errors.As(err, &fatal):
			return err
		case errors.Is(err, engine.ErrSelf):
			fmt.Fprintf(a.err, "%s  %s: another process is to lead\n", stamp(), err)
			pause(within, stepAside)
		default: // the lease was lost, or the API server is away
			fmt.Fprintf(a.err, "%s  %s %v\n", stamp(), a.paint(red, "trouble "), err)
			pause(within, stepAside)
		}
	}
	if cause := context.Cause(within); ctx.Err() == nil {
		return cause
	}
	return nil
}

// stamp is the time as a line of the log begins with it.
func stamp() string { return time.Now().UTC().Format(time.RFC3339) }

// stepAside is how long a process whose node goes leaves the lead to others; if nobody takes it, it goes on itself.
const stepAside = 5 * time.Second

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func named(queue string) string {
	if queue == "" {
		return "none (AWS is asked instead)"
	}
	return queue
}

// lead is what the leader does.
func (a *app) lead(ctx context.Context, c *engine.Controller, s *site, queue *aws.Queue, m *meter) error {
	m.lead(true)
	defer m.lead(false)
	fmt.Fprintf(a.err, "%s  leads\n", stamp())
	go a.prune(ctx, s)
	go a.watchGaps(ctx, s)
	if queue != nil {
		go m.watchQueue(ctx, queue)
	}
	return c.Run(ctx)
}

// controller is the engine for as long as this process lives, whether or not it leads.
func (a *app) controller(s *site, queue *aws.Queue, r *controlling, m *meter) *engine.Controller {
	tell := a.logger()
	c := &engine.Controller{
		Engine: &engine.Engine{
			Cloud: s.cloud, Cluster: &meteredCluster{s.cluster, m}, Stores: &meteredStores{s.stores, m}, AllGroups: true, Now: time.Now, CloudEvery: controllerEvery, AtOnce: controllerAtOnce, Fence: kube.Fence, NoteUpTo: 10 * time.Minute,
			Note: func(n engine.Note) { m.note(n); tell(n) },
		},
		Docket: s.cluster, Census: s.cloud, Policy: r.policy, Parse: notice.Parse,
		ClusterName: r.clusterName, Foreign: engine.Rule(r.foreign), Self: r.node,
		Hear: func(h engine.Heard) { m.hear(h); a.logHeard(h) }, See: m.see, Alive: m.alive, Teller: s.cluster,
		Canary:   func(ctx context.Context, n fleet.Notice) error { return s.cluster.WriteCanary(ctx, n.ID, time.Now()) },
		Database: func() { kick(r.databases) },
		Alone: func(ctx context.Context, act func(context.Context) error) error {
			return s.cluster.Alone(ctx, identity(), func(string, time.Duration) {}, act)
		},
	}
	if queue != nil {
		c.Queue = queue
	}
	return c
}

// kick leaves word, unless some is there that nobody has heard yet.
func kick(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// gapsEvery is how often what could not be read is looked at.
const gapsEvery = time.Minute

// watchGaps says what AWS or the API server does not let be read, whenever that changes.
func (a *app) watchGaps(ctx context.Context, s *site) {
	said := ""
	for ctx.Err() == nil {
		gaps := s.cloud.Gaps()
		for _, err := range s.cluster.Unreadable() {
			gaps = append(gaps, err.Error())
		}
		if now := strings.Join(gaps, "; "); now != said {
			if said = now; now == "" {
				now = "everything can be read again"
			}
			fmt.Fprintf(a.err, "%s  %s %s\n", stamp(), a.paint(yellow, "unseen  "), now)
		}
		pause(ctx, gapsEvery)
	}
}

// casesKept is how many departures that are over stay in the cluster for drover history; pruneEvery is how often the rest goes.
const (
	casesKept  = 500
	pruneEvery = 5 * time.Minute
)

func (a *app) prune(ctx context.Context, s *site) {
	for ctx.Err() == nil {
		pause(ctx, pruneEvery)
		if err := s.cluster.PruneCases(ctx, kube.KeepCases); err != nil && ctx.Err() == nil {
			fmt.Fprintf(a.err, "%s  %s %v\n", stamp(), a.paint(red, "trouble "), err)
		}
	}
}

// logger writes a line for each thing that happens, with its time.
func (a *app) logger() func(engine.Note) {
	return func(n engine.Note) {
		at := n.At.UTC().Format(time.RFC3339)
		switch {
		case n.Err != nil && n.Action != nil:
			fmt.Fprintf(a.err, "%s  %s %s: %v (again in %s)\n", at, a.paint(yellow, "not yet "), n.Action, n.Err, n.Again)
		case n.Err != nil:
			fmt.Fprintf(a.err, "%s  %s %v (again in %s)\n", at, a.paint(red, "trouble "), n.Err, n.Again)
		case n.Hold != nil:
			fmt.Fprintf(a.err, "%s  %s %s (for %s)\n", at, a.paint(dim, "waiting "), n.Hold, n.Hold.For(n.At))
		case n.Action != nil:
			fmt.Fprintf(a.err, "%s  %s %s · %s\n", at, a.paint(green, "done    "), n.Action, n.Action.Why)
		}
	}
}

// logHeard writes a line for each notice that says something new, or that went wrong.
func (a *app) logHeard(h engine.Heard) {
	at := h.At.UTC().Format(time.RFC3339)
	switch h.Fate {
	case engine.Known, engine.Ignored:
	case engine.Poison, engine.Unhandled, engine.Foreign:
		fmt.Fprintf(a.err, "%s  %s %s notice about %s: %s\n", at, a.paint(yellow, "heard   "), h.Fate, orNothing(h.Notice.Instance), orNothing(h.Why))
	default:
		fmt.Fprintf(a.err, "%s  %s %s about %s: %s\n", at, a.paint(green, "heard   "), h.Notice.Kind, orNothing(h.Notice.Instance), h.Notice.Why)
	}
}

func orNothing(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// controllerSite connects for a process that lives long and acts on many nodes at once.
func (c *connection) controllerSite(ctx context.Context, r *controlling, m *meter) (*site, *aws.Queue, error) {
	cfg, err := c.configAWS(ctx)
	if err != nil {
		return nil, nil, err
	}
	m.countCalls(&cfg)
	cloud := aws.New(cfg)
	cloud.Notices, cloud.Cluster = true, r.clusterName
	account, region, err := cloud.Account(ctx)
	if err != nil {
		return nil, nil, err
	}
	var q *aws.Queue
	if r.queue != "" {
		if q, err = aws.OpenQueue(ctx, cfg, r.queue); err != nil {
			return nil, nil, err
		}
	}
	kcfg, err := c.config()
	if err != nil {
		return nil, nil, err
	}
	kcfg = rest.CopyConfig(kcfg)
	kcfg.QPS, kcfg.Burst = controllerQPS, controllerBurst
	s, err := c.open(ctx, kcfg)
	if err != nil {
		return nil, nil, err
	}
	if err := filing(s.cluster); err != nil {
		return nil, nil, err
	}
	s.cloud, s.place, r.region = cloud, s.place+", account "+account+", "+region, region
	return s, q, nil
}

// filing tells why notices could not be filed. Found at the start, that is an error; found with the first notice, it is a node lost.
func filing(cluster *kube.Cluster) error {
	known, err := cluster.Client().Discovery().ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("ask the API server for drover's kinds: %w", err)
	}
	if err != nil || !slices.ContainsFunc(known.APIResources, func(r metav1.APIResource) bool { return r.Name == v1alpha1.Departures.Resource }) {
		return errors.New("the cluster does not know Departure objects; install them with drover install")
	}
	return nil
}
