package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/sandbox"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/jobs"
)

// The work of the demo. Half the workers are too few for it: a queue whose workers hang is seen to grow.
const (
	demoWorkers  = 16
	demoRate     = 70               // jobs a second; a worker does seven or so
	demoPatience = 5 * time.Second  // without an answer, a connection counts as hung
	demoWarmUp   = 8 * time.Second  // of undisturbed work, to compare with
	demoAfter    = 20 * time.Second // of work when AWS is done: damage shows late
	demoLimit    = 3 * time.Minute  // for AWS to be done
)

func (a *app) demoPgbouncerCommand() *cobra.Command {
	var naive bool
	c := &cobra.Command{
		Use: "pgbouncer", Short: "Have AWS take the node of a connection pooler while workers use it", Args: cobra.NoArgs,
		Long: `Start a sandbox with a real PostgreSQL outside of the cluster and real pgbouncers inside, two on two nodes. Workers empty a queue of jobs; each
holds one connection through the pgbouncers' service, without a timeout. Then AWS rebalances the group across zones and takes one of the nodes,
while drover controller watches. What the pooler's process saw, what became of every connection, and how the queue fared is counted. Exits with 1
if a single promise does not hold.

--naive does without drover: the machine is switched off under the pooler, nobody tells the workers, and they hang.

Needs PostgreSQL and pgbouncer on this machine (apt-get install postgresql pgbouncer).`,
		Example: "  drover sandbox demo pgbouncer\n  drover sandbox demo pgbouncer --naive",
		RunE:    func(c *cobra.Command, _ []string) error { return a.demoPgbouncer(c.Context(), naive) },
	}
	c.Flags().BoolVar(&naive, "naive", false, "without drover")
	return c
}

func (a *app) demoPgbouncer(ctx context.Context, naive bool) error {
	if err := sandbox.PoolerPrograms(); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	dir, err := os.MkdirTemp("", "drover-demo-*")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer os.RemoveAll(dir)
	w, err := a.startWorld(ctx, dir, string(sandbox.Light), true)
	if err != nil {
		return err
	}
	defer w.Stop()
	database, err := w.StagePooler(ctx)
	if err != nil {
		return err
	}
	defer database.Close()
	crew, err := startJobs(ctx, w, database)
	if err != nil {
		return err
	}
	defer crew.Stop()
	fmt.Fprintf(a.err, "%d workers empty a queue, %d new jobs a second; each holds one connection through the service pgbouncer\n", demoWorkers, demoRate)
	d := &poolerDemo{a: a, w: w, crew: crew, naive: naive, began: crew.Report().Started, known: map[string]string{}}
	if !naive {
		if d.controller, err = d.startController(ctx); err != nil {
			return err
		}
		defer d.controller.stop()
	}
	return d.run(ctx)
}

func startJobs(ctx context.Context, w *sandbox.World, database *sandbox.Database) (*jobs.Crew, error) {
	if err := jobs.Prepare(ctx, database.URL()); err != nil {
		return nil, err
	}
	pooler := w.Pooler()
	return jobs.Start(ctx, jobs.Options{
		Database: database.URL(), Pooler: "postgres://app@127.0.0.1:6432/app?sslmode=disable", Workers: demoWorkers, Rate: demoRate, Patience: demoPatience,
		Dial: func(ctx context.Context) (net.Conn, string, error) {
			line, err := pooler.Dial(ctx)
			if err != nil {
				return nil, "", err
			}
			return line, line.Pod, nil
		},
	})
}

// poolerDemo is the demo in a world that is ready. What it sees it tells as it comes.
type poolerDemo struct {
	a          *app
	w          *sandbox.World
	crew       *jobs.Crew
	controller *demoController // nil when naive
	naive      bool
	began      time.Time

	hosts []poolerHost      // where the poolers are before AWS acts
	taken poolerHost        // the one that AWS takes; zero until it is known
	known map[string]string // what has been told, by whom it is about
	marks []chartMark
}

// poolerHost is a pooler and where it runs.
type poolerHost struct{ pod, node, instance, zone string }

// run lets AWS act, and judges.
func (d *poolerDemo) run(ctx context.Context) error {
	warm := func() bool { return time.Since(d.began) > demoWarmUp && d.working() == demoWorkers }
	if err := d.watch(ctx, demoLimit, warm); err != nil {
		return fmt.Errorf("%d of %d workers are at work: %w", d.working(), demoWorkers, err)
	}
	var err error
	if d.hosts, err = d.poolers(ctx); err != nil {
		return err
	}
	v := poolerVerdict{before: d.crew.Report(), naive: d.naive}
	d.say("AWS", bold, "the group gets a second zone, and is rebalanced: a launch there, then an instance here has to go")
	d.markOnce("AWS rebalances")
	if err := d.w.Rebalance(); err != nil {
		return err
	}
	if err := d.watch(ctx, demoLimit, d.done); err != nil {
		return fmt.Errorf("AWS is not done: %w", err)
	}
	d.say("AWS", bold, "done; the work is watched for another %v", demoAfter)
	end := time.Now().Add(demoAfter)
	if err := d.watch(ctx, 2*demoAfter, func() bool { return time.Now().After(end) }); err != nil {
		return err
	}
	v.after = d.crew.Stop()
	v.taken, v.marks = d.taken, d.marks
	if v.farewell, err = d.w.Farewell(d.taken.pod); err != nil {
		return err
	}
	if v.poolers, err = d.poolers(ctx); err != nil {
		return err
	}
	return v.print(d.a.out)
}

// watch tells what changes until done says so.
func (d *poolerDemo) watch(ctx context.Context, limit time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := errors.Join(d.controller.alive(), d.look()); err != nil {
			return err
		}
		if done() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// say tells one thing, with the second at which it was seen and who it is about.
func (d *poolerDemo) say(who, color, format string, args ...any) {
	fmt.Fprintf(d.a.err, "%5.1fs  %-9s %s\n", time.Since(d.began).Seconds(), who, d.a.paint(color, fmt.Sprintf(format, args...)))
}

// markOnce points at this second in the chart, for the first thing of its kind.
func (d *poolerDemo) markOnce(what string) {
	if !d.news(what, "marked") {
		return
	}
	d.marks = append(d.marks, chartMark{second: int(time.Since(d.began).Seconds()), what: what})
}

// news tells whether something about a subject is not what it was, and remembers it.
func (d *poolerDemo) news(subject, state string) bool {
	old := d.known[subject]
	d.known[subject] = state
	return old != state
}

func (d *poolerDemo) look() error {
	if err := d.lookAtGroup(); err != nil {
		return err
	}
	if d.taken.pod != "" {
		if err := d.lookAtPooler(); err != nil {
			return err
		}
	}
	return d.lookAtWorkers()
}

// lookAtGroup tells what Auto Scaling does with its instances, and finds whose pooler is taken.
func (d *poolerDemo) lookAtGroup() error {
	g, err := d.group()
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, m := range g.Members {
		there[m.InstanceID] = true
		if !d.news(m.InstanceID, string(m.State)) || d.hosts == nil {
			continue
		}
		d.say("AWS", "", "%s in %s is %s", m.InstanceID, m.Zone, m.State)
		d.find(m.InstanceID, m.State != cloud.InService)
	}
	for _, h := range d.hosts {
		in, ok := d.w.Cloud.Instance(h.instance)
		if gone := !ok || in.Gone(); gone && d.news(h.node, "off") {
			d.find(h.instance, true)
			d.say("AWS", yellow, "%s is switched off", h.instance)
		}
	}
	return nil
}

func (d *poolerDemo) find(instance string, leaving bool) {
	for _, h := range d.hosts {
		if leaving && h.instance == instance && d.taken != h {
			d.taken = h
			d.markOnce("its node is to go")
			d.say("pooler", yellow, "%s is on it, node %s", h.pod, h.node)
		}
	}
}

// lookAtPooler tells what the pooler's process says of its own end.
func (d *poolerDemo) lookAtPooler() error {
	f, err := d.w.Farewell(d.taken.pod)
	if err != nil {
		return err
	}
	for _, s := range []struct {
		seen bool
		what string
	}{{f.PreStop, "its preStop runs"}, {f.Term, "SIGTERM came"}, {f.Safe, "it shuts down safely"}, {f.Code != "", "it ended with exit code " + f.Code}} {
		if s.seen && d.news(s.what, "told") {
			d.say("pooler", green, "%s", s.what)
		}
	}
	return nil
}

func (d *poolerDemo) lookAtWorkers() error {
	r := d.crew.Report()
	if r.Trouble != nil {
		return r.Trouble
	}
	if d.taken.pod == "" {
		return nil
	}
	count := r.Through(d.taken.pod, r.At)
	if d.news("closed", fmt.Sprint(count[jobs.Closed])) && count[jobs.Closed] > 0 {
		d.markOnce("its connections are closed")
		d.say("workers", green, "%d connections were closed properly; %d of %d workers are connected", count[jobs.Closed], d.working(), demoWorkers)
	}
	if d.news("broken", fmt.Sprint(count[jobs.Broken])) && count[jobs.Broken] > 0 {
		d.say("workers", red, "%d connections broke: %v", count[jobs.Broken], firstError(r))
	}
	if d.news("hanging", fmt.Sprint(r.Hanging)) && r.Hanging > 0 {
		d.markOnce("workers hang")
		d.say("workers", red, "%d hang: no answer for %v, and no end of the connection; %d jobs wait", r.Hanging, demoPatience, r.Waiting)
	}
	return nil
}

// firstError is what the first broken connection ended with.
func firstError(r jobs.Report) error {
	for _, l := range r.Lines {
		if l.End == jobs.Broken {
			return l.Err
		}
	}
	return nil
}

// working counts the workers that are connected and get answers.
func (d *poolerDemo) working() int {
	n := 0
	for _, workers := range d.crew.Report().Workers() {
		n += workers
	}
	return n
}

func (d *poolerDemo) group() (cloud.Group, error) {
	groups, err := d.w.Cloud.DescribeAutoScalingGroups([]string{sandbox.PoolerGroup}, nil)
	if err != nil || len(groups) != 1 {
		return cloud.Group{}, fmt.Errorf("group %s: %d found: %w", sandbox.PoolerGroup, len(groups), err)
	}
	return groups[0], nil
}

// done tells whether AWS is: the taken instance has left the group, and as many serve as should.
func (d *poolerDemo) done() bool {
	g, err := d.group()
	if err != nil || d.taken.pod == "" || len(g.Members) != g.Desired {
		return false
	}
	for _, m := range g.Members {
		if m.InstanceID == d.taken.instance || m.State != cloud.InService {
			return false
		}
	}
	return true
}

// poolers lists the poolers that are ready and not about to go.
func (d *poolerDemo) poolers(ctx context.Context) ([]poolerHost, error) {
	pods, err := d.w.Client().CoreV1().Pods(sandbox.PoolerNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + sandbox.PoolerService})
	if err != nil {
		return nil, fmt.Errorf("list the poolers: %w", err)
	}
	instances := map[string]cloud.Instance{}
	for _, in := range d.w.Cloud.Instances() {
		if !in.Gone() {
			instances[in.PrivateDNS] = in
		}
	}
	var out []poolerHost
	for i := range pods.Items {
		p := &pods.Items[i]
		if in, alive := instances[p.Spec.NodeName]; alive && p.DeletionTimestamp == nil && isServing(p) {
			out = append(out, poolerHost{pod: p.Name, node: p.Spec.NodeName, instance: in.ID, zone: in.Zone})
		}
	}
	return out, nil
}

func isServing(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
