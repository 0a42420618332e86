package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/logging"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
	"drover.dev/sandbox"
	"drover.dev/sandbox/balancer"
	"drover.dev/sandbox/witness"
)

type demo struct {
	naive    bool
	machines string
	rate     float64
}

func (a *app) demoCommand() *cobra.Command {
	parent := &cobra.Command{Use: "demo", Short: "Show something, from an empty machine to a checked result", Example: "  drover sandbox demo rotate"}
	family(parent)
	var d demo
	c := &cobra.Command{
		Use: "rotate", Short: "Rotate a group of six nodes under live traffic", Args: cobra.NoArgs,
		Long: `Start a sandbox, deploy a workload, send it steady traffic, publish a new image, and let drover replace all six nodes. An independent
witness counts moves and budgets, and every request is counted. Exits with 1 if a single promise does not hold.

--naive does what a script would do instead, and shows what that costs.`,
		Example: "  drover sandbox demo rotate\n  drover sandbox demo rotate --naive",
		RunE:    func(c *cobra.Command, _ []string) error { return a.demoRotate(c.Context(), &d) },
	}
	c.Flags().BoolVar(&d.naive, "naive", false, "cordon, double, and let AWS choose, as a script would")
	c.Flags().StringVar(&d.machines, "machines", "auto", "what runs pods: kubelet, light or auto")
	c.Flags().Float64Var(&d.rate, "rate", 50, "requests per second")
	parent.AddCommand(c, a.demoPgbouncerCommand(), a.demoRedisCommand(), a.demoStagingCommand())
	return parent
}

func (a *app) demoRotate(ctx context.Context, d *demo) error {
	dir, err := os.MkdirTemp("", "drover-demo-*")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer os.RemoveAll(dir)
	w, err := a.startWorld(ctx, dir, d.machines, false)
	if err != nil {
		return err
	}
	defer w.Stop()
	return a.rehearse(ctx, w, d)
}

// rehearse runs the demo in a world that is ready.
func (a *app) rehearse(ctx context.Context, w *sandbox.World, d *demo) error {
	before, err := photograph(ctx, w)
	if err != nil {
		return err
	}
	url, err := w.URL(sandbox.StageGroup)
	if err != nil {
		return err
	}
	seen, err := witness.Start(ctx, w.Client(), before.nodes)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.err, "Sending %.0f requests a second through the load balancer at %s\n", d.rate, url)
	load, err := balancer.StartLoad(ctx, balancer.LoadOptions{URL: url, Rate: d.rate, Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	fmt.Fprintln(a.err, "Publishing a new image")
	if err := publish(ctx, w.Env(), sandbox.StageGroup, io.Discard); err != nil {
		return err
	}
	began := time.Now()
	var forecast time.Duration
	if d.naive {
		err = w.Naive(ctx, sandbox.StageGroup)
	} else {
		forecast, err = a.runSelf(ctx, w, sandbox.StageGroup)
	}
	took := time.Since(began)
	if err != nil {
		load.Stop()
		return err
	}
	settle(ctx)
	traffic := load.Stop()
	after, err := photograph(ctx, w)
	if err != nil {
		return err
	}
	v := verdict{before: before, after: after, seen: seen.Report(), traffic: traffic, took: took, forecast: forecast, naive: d.naive}
	return v.print(a.out)
}

// settle lets the traffic go on a little after the last action: damage shows late.
func settle(ctx context.Context) {
	t := time.NewTimer(3 * time.Second)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

var forecastLine = regexp.MustCompile(`Done in .* \(forecast ([0-9hms.]+)\)`)

// runSelf runs drover rotate as anybody would: this same program, in another process, with nothing but the environment. It prints the plan
// first, and returns its forecast.
func (a *app) runSelf(ctx context.Context, w *sandbox.World, group string, more ...string) (time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find this program: %w", err)
	}
	args := append([]string{"rotate", group, "--yes"}, more...)
	fmt.Fprintf(a.err, "\n$ drover %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, self, append(args, "--color", a.color)...)
	cmd.Env = append(os.Environ(), w.Env()...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	var said strings.Builder
	cmd.Stdout = a.out
	cmd.Stderr = io.MultiWriter(a.err, &said)
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("drover rotate: %w", err)
	}
	m := forecastLine.FindStringSubmatch(said.String())
	if m == nil {
		return 0, errors.New("drover rotate printed no forecast")
	}
	return time.ParseDuration(m[1])
}

// publish makes a new version of the launch template that a group is named like, over the wire, as a pipeline would.
func publish(ctx context.Context, env []string, name string, w io.Writer) error {
	get := func(name string) string {
		for _, v := range env {
			if rest, ok := strings.CutPrefix(v, name+"="); ok {
				return rest
			}
		}
		return ""
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithLogger(logging.Nop{}), config.WithRegion(get("AWS_REGION")), config.WithBaseEndpoint(get("AWS_ENDPOINT_URL")),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("sandbox", "sandbox", "")))
	if err != nil {
		return fmt.Errorf("AWS configuration: %w", err)
	}
	latest := "$Latest"
	image := "ami-0a" + fmt.Sprintf("%015x", time.Now().Unix())
	out, err := ec2.NewFromConfig(cfg).CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateName: &name, SourceVersion: &latest, LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &image},
	})
	if err != nil {
		return fmt.Errorf("publish a launch template version: %w", err)
	}
	fmt.Fprintf(w, "Launch template %s has version %d with image %s: every node of %s is outdated now.\n", name, *out.LaunchTemplateVersion.VersionNumber, image, name)
	return nil
}

// photo is the state of the world before or after, as far as a rotation could have disturbed it.
type photo struct {
	nodes     []string // of the rotated group
	instances map[string]bool
	rest      string // everything that has to be as it was
}

func photograph(ctx context.Context, w *sandbox.World) (photo, error) {
	p := photo{instances: map[string]bool{}}
	groups, err := w.Cloud.DescribeAutoScalingGroups(nil, nil)
	if err != nil {
		return p, fmt.Errorf("photograph: %w", err)
	}
	var rest []string
	for _, g := range groups {
		rest = append(rest, fmt.Sprintf("group %s: min %d, max %d, desired %d, suspended %v, tags %v", g.Name, g.Min, g.Max, g.Desired, g.Suspended, g.Tags))
		for _, m := range g.Members {
			if g.Name == sandbox.StageGroup {
				p.instances[m.InstanceID] = true
			} else {
				rest = append(rest, "bystander "+m.InstanceID)
			}
		}
	}
	nodes, err := w.Client().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return p, fmt.Errorf("photograph: %w", err)
	}
	for _, n := range nodes.Items {
		if n.Labels[sandbox.GroupLabel] == sandbox.StageGroup {
			p.nodes = append(p.nodes, n.Name)
		} else {
			rest = append(rest, fmt.Sprintf("node %s: %v %v %v", n.Name, n.Spec.Taints, n.Labels, n.Annotations))
		}
		for key := range n.Annotations {
			if strings.HasPrefix(key, "drover.dev/") {
				rest = append(rest, "node "+n.Name+" carries "+key)
			}
		}
		for _, t := range n.Spec.Taints {
			if t.Key == fleet.TaintKey {
				rest = append(rest, "node "+n.Name+" carries "+t.Key)
			}
		}
	}
	p.rest = strings.Join(rest, "\n")
	return p, nil
}

// verdict holds what is known after a rehearsal, and judges it.
type verdict struct {
	before, after photo
	seen          witness.Report
	traffic       balancer.Report
	took          time.Duration
	forecast      time.Duration
	naive         bool
}

// print writes the report; a promise that does not hold is an error.
func (v *verdict) print(out io.Writer) error {
	fmt.Fprintf(out, "\nReport\n")
	broken := 0
	check := func(ok bool, format string, args ...any) {
		mark := "ok    "
		if !ok {
			mark = "BROKEN"
			broken++
		}
		fmt.Fprintf(out, "  %s  %s\n", mark, fmt.Sprintf(format, args...))
	}
	left := 0
	for id := range v.before.instances {
		if v.after.instances[id] {
			left++
		}
	}
	check(left == 0, "%d of %d old instances are gone, by id", len(v.before.instances)-left, len(v.before.instances))
	check(v.seen.Once == v.seen.Pods && len(v.seen.Again) == 0, "%d of %d pods moved; %d moved a second time", v.seen.Once, v.seen.Pods, len(v.seen.Again))
	check(len(v.seen.Breaks) == 0, "budgets broken: %d times (counted after each of %d events, not by drover)", len(v.seen.Breaks), v.seen.Checks)
	check(v.traffic.Failed == 0, "%d requests sent, %d failed", v.traffic.Sent, v.traffic.Failed)
	check(v.before.rest == v.after.rest, "everything else is as it was: desired, limits, processes, tags, taints, annotations, other nodes")
	fmt.Fprintf(out, "  took    %s", v.took.Round(time.Second))
	if !v.naive {
		fmt.Fprintf(out, ", forecast %s (ratio %.2f)", v.forecast, v.took.Seconds()/max(v.forecast.Seconds(), 1))
	}
	fmt.Fprintf(out, "\n\n%s\n", v.traffic)
	for i, b := range v.seen.Breaks {
		if i == 5 {
			fmt.Fprintf(out, "  ... and %d more\n", len(v.seen.Breaks)-i)
			break
		}
		fmt.Fprintln(out, " ", b)
	}
	if v.before.rest != v.after.rest {
		fmt.Fprintf(out, "before:\n%s\nafter:\n%s\n", v.before.rest, v.after.rest)
	}
	if broken > 0 {
		return &exit{exitFailed, fmt.Errorf("%d of 5 promises did not hold: %d requests failed", broken, v.traffic.Failed)}
	}
	return nil
}
