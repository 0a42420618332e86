package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
	"drover.dev/kube"
	"drover.dev/pipeline"
)

// mostWithin is the longest that a canary is waited for. Messages of others are held back meanwhile when no controller takes them.
const mostWithin = 10 * time.Minute

// canaryEvery is how often the controller's word is read.
const canaryEvery = 500 * time.Millisecond

func (a *app) checkCommand() *cobra.Command {
	var l layout
	within := time.Minute
	c := &cobra.Command{
		Use: "check [GROUP...]", Short: "Prove that notices reach drover, and say what is missing",
		Long: `Say group by group what is missing for notices to be heard and instances to be held, then prove that messages come through: a test event is put
on the event bus, and waited for until the running controller has taken it in. Where no controller leads, it is received from the queue itself,
and every other message is given back. Last it says whether the eviction guard is on, and answers.

Exit code 0 when all is well, 2 when something is worth mending, 3 when notices do not come through.`,
		Example: "  drover check\n  drover check web --within 2m\n  drover check -o json", ValidArgsFunction: a.completeGroups,
		RunE: func(c *cobra.Command, args []string) error { return a.check(c.Context(), args, &l, within) },
	}
	l.flags(c)
	c.Flags().DurationVar(&within, "within", within, "how long the test message may take, at most 10m")
	a.outputFlag(c)
	return c
}

func (a *app) check(ctx context.Context, groups []string, l *layout, within time.Duration) error {
	if err := l.check(); err != nil {
		return err
	}
	if within <= 0 || within > mostWithin {
		return usagef("--within %s: must be positive, and at most %s", within, lasting(mostWithin))
	}
	g, err := a.survey(ctx, groups, l)
	if err != nil {
		return err
	}
	if g.found, err = g.site.cloud.Pipeline(ctx, g.wanted); err != nil {
		return err
	}
	leader, err := leaderOf(ctx, g.site.cluster)
	if err != nil {
		return err
	}
	cfg, err := a.conn.config()
	if err != nil {
		return err
	}
	guard, err := askGuard(ctx, cfg)
	if err != nil {
		return err
	}
	return a.report(ctx, g, guard, courier{g.site.cloud, g.site.cluster, leader}, within)
}

// report prints what is missing, and how the canary fared.
func (a *app) report(ctx context.Context, g *ground, guard guardStatus, by courier, within time.Duration) error {
	findings := pipeline.Check(g.wanted, g.found, &g.fleet)
	d := checkDocument{APIVersion: "drover.dev/v1alpha1", Kind: "Check", Place: g.place, Cluster: g.wanted.Cluster, Queue: g.wanted.QueueName(), Groups: hookStatus(g), Guard: guard}
	cut := func(f fleet.Finding) bool { return f.Blocks || f.Subject == "rule "+g.wanted.CanaryRule() }
	if blocked := slices.IndexFunc(findings, cut); blocked >= 0 { // there is no point in waiting for it
		d.Canary = canaryStatus{Skipped: findings[blocked].Subject + ": " + findings[blocked].Reason}
	} else {
		lost, err := by.prove(ctx, g.wanted, within, &d.Canary)
		if err != nil {
			return err
		}
		findings = append(lost, findings...)
	}
	d.Findings = describeFindings(findings)
	if err := a.print(d, func(w io.Writer) { checkTable(w, &d) }); err != nil {
		return err
	}
	switch {
	case slices.ContainsFunc(findings, func(f fleet.Finding) bool { return f.Blocks }):
		return &exit{code: exitBlocked}
	case len(findings) > 0:
		return &exit{code: exitChanges}
	}
	return nil
}

// checkDocument is what check prints.
type checkDocument struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Place      string       `json:"place"`
	Cluster    string       `json:"cluster"`
	Queue      string       `json:"queue"`
	Groups     []hookDoc    `json:"groups"`
	Findings   []findingDoc `json:"findings"`
	Canary     canaryStatus `json:"canary"`
	Guard      guardStatus  `json:"guard"`
}

// hookDoc is a hook of a group; without a name the group has none.
type hookDoc struct {
	Group      string  `json:"group"`
	Hook       string  `json:"hook,omitempty"`
	Heartbeat  float64 `json:"heartbeatSeconds,omitempty"`
	Unanswered string  `json:"unanswered,omitempty"` // what happens then
	Grace      float64 `json:"longestGraceSeconds"`  // of the pods on its nodes
}

type canaryStatus struct {
	Came    bool    `json:"came"`
	Seconds float64 `json:"seconds,omitempty"`
	By      string  `json:"receivedBy,omitempty"`
	Skipped string  `json:"skipped,omitempty"` // why it was not sent
}

func hookStatus(g *ground) []hookDoc {
	out := []hookDoc{}
	for _, one := range g.wanted.Groups {
		hooks := g.found.Groups[one.Scaling].Hooks
		for _, h := range hooks {
			unanswered := fleet.Continue
			if h.Abandon {
				unanswered = fleet.Abandon
			}
			out = append(out, hookDoc{Group: one.Name, Hook: h.Name, Heartbeat: h.Heartbeat.Seconds(), Unanswered: unanswered, Grace: one.Grace.Seconds()})
		}
		if len(hooks) == 0 {
			out = append(out, hookDoc{Group: one.Name, Grace: one.Grace.Seconds()})
		}
	}
	return out
}

func checkTable(w io.Writer, d *checkDocument) {
	fmt.Fprintf(w, "Notices of cluster %s, for %s\n\n", d.Cluster, d.Place)
	var rows [][]string
	for _, h := range d.Groups {
		rows = append(rows, []string{h.Group, orDash(h.Hook), orDash(lengthOf(inSeconds(h.Heartbeat))), orDash(h.Unanswered), orDash(lengthOf(inSeconds(h.Grace)))})
	}
	columns(w, "GROUP HOOK HEARTBEAT UNANSWERED GRACE", rows)
	fmt.Fprintln(w)
	findingsTable(w, d.Findings)
	switch c := d.Canary; {
	case c.Skipped != "":
		fmt.Fprintf(w, "No test message was sent: %s\n", c.Skipped)
	case c.Came:
		fmt.Fprintf(w, "A test message came through in %s, received by %s.\n", inTenths(c.Seconds), c.By)
	default:
		fmt.Fprintln(w, "The test message did not come through.")
	}
	fmt.Fprintln(w, d.Guard)
}

func inTenths(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond)
}

// line is a pipeline as a test message goes through it.
type line interface {
	SendCanary(ctx context.Context, c pipeline.Canary) error
	AwaitCanary(ctx context.Context, queue string, c pipeline.Canary, within time.Duration) (came bool, err error)
}

// logbook is where a controller writes which test messages it took in, by their ids.
type logbook interface {
	ReadCanaries(ctx context.Context) (map[string]time.Time, error)
}

// courier sends a test message and looks for it at the other end.
type courier struct {
	line   line
	log    logbook
	leader string // the controller that takes messages in; "" when none does
}

// codeLost is the finding of a test message that went astray.
const codeLost = "canary-lost"

// prove fills in how the test message fared. One that went astray is a finding.
func (c courier) prove(ctx context.Context, w pipeline.Wanted, within time.Duration, status *canaryStatus) ([]fleet.Finding, error) {
	canary := pipeline.Canary{ID: fmt.Sprintf("canary-%016x", rand.Uint64()), Cluster: w.Cluster}
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	sent := time.Now()
	if err := c.line.SendCanary(limited, canary); err != nil {
		return nil, err
	}
	var err error
	if status.By = "this process (no controller leads)"; c.leader == "" {
		status.Came, err = c.line.AwaitCanary(limited, w.QueueName(), canary, within)
	} else {
		status.By = "controller " + c.leader
		status.Came, err = c.logged(limited, canary)
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	case status.Came:
		status.Seconds = time.Since(sent).Seconds()
		return nil, nil
	}
	return []fleet.Finding{{
		Code: codeLost, Blocks: true, Subject: "queue " + w.QueueName(), Reason: fmt.Sprintf("a test message was not received by %s within %s", status.By, lasting(within)),
		Next: c.suspect(w),
	}}, nil
}

// suspect says where to look for a lost message.
func (c courier) suspect(w pipeline.Wanted) string {
	if c.leader != "" {
		return "see the controller's log, and whether it receives from queue " + w.QueueName()
	}
	return "see FailedInvocations of the rules, whether something else receives from the queue, and, where a KMS key of the account encrypts it, that the key's policy lets EventBridge use it"
}

// logged waits until the controller has noted the test message.
func (c courier) logged(ctx context.Context, canary pipeline.Canary) (bool, error) {
	for {
		seen, err := c.log.ReadCanaries(ctx)
		if ctx.Err() != nil {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if _, came := seen[canary.ID]; came {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-time.After(canaryEvery):
		}
	}
}

// leaderOf names the controller that leads; "" when none does.
func leaderOf(ctx context.Context, cluster *kube.Cluster) (string, error) {
	l, err := cluster.Client().CoordinationV1().Leases(metav1.NamespaceSystem).Get(ctx, kube.ControllerName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read lease %s/%s: %w", metav1.NamespaceSystem, kube.ControllerName, err)
	}
	return leading(l, time.Now()), nil
}

// leading is who holds a lease and has renewed it lately. Clocks of two machines are compared here, so that a lease is taken for held for a while
// longer than it says: asking a dead controller costs a minute, taking its messages from a living one costs order.
func leading(l *coordinationv1.Lease, now time.Time) string {
	s := l.Spec
	if s.HolderIdentity == nil || s.RenewTime == nil || s.LeaseDurationSeconds == nil {
		return ""
	}
	if lasts := time.Duration(*s.LeaseDurationSeconds) * time.Second; now.After(s.RenewTime.Add(2 * lasts)) {
		return ""
	}
	return *s.HolderIdentity
}
