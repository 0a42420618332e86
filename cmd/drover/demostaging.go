package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/sandbox"
	webapp "drover.dev/sandbox/app"
	"drover.dev/sandbox/balancer"
	"drover.dev/sandbox/witness"
)

// stagingRate is what people ask of production all the time, in requests a second.
const stagingRate = 80

func (a *app) demoStagingCommand() *cobra.Command {
	var naive bool
	c := &cobra.Command{
		Use: "staging", Short: "Switch staging off and on beside production, on shared nodes and on its own", Args: cobra.NoArgs,
		Long: `Start a sandbox with production and staging in one cluster, on one managed node group, each with a database in RDS that is a real PostgreSQL. Their web
applications are real processes, and production answers requests through the load balancer all the time.

First drover env stop staging on the shared nodes: refused by name where the policy says so, else only the node leaves that carries nothing of production.
Then drover isolate gives staging nodes of its own, and it is stopped and started once more. Every request to production is counted, a witness watches its pods,
and at the end everything is compared with how it was. Exits with 1 if a single promise does not hold.

--naive does what a script would do instead: delete the deployments, lower the node group, stop the database. AWS chooses which node goes.

RDS is faster here than it is: in AWS a stop takes about 3 minutes and a start 5, and both may take longer.

Needs PostgreSQL on this machine (apt-get install postgresql).`,
		Example: "  drover sandbox demo staging\n  drover sandbox demo staging --naive",
		RunE:    func(c *cobra.Command, _ []string) error { return a.demoStaging(c.Context(), naive) },
	}
	c.Flags().BoolVar(&naive, "naive", false, "delete, lower, stop, and let AWS choose, as a script would")
	return c
}

func (a *app) demoStaging(ctx context.Context, naive bool) error {
	if err := sandbox.StagingPrograms(); err != nil {
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
	if err := w.StageTenants(ctx); err != nil {
		return err
	}
	d := &stagingDemo{a: a, w: w, dir: dir}
	if err := d.begin(ctx); err != nil {
		return err
	}
	defer d.load.Stop()
	if naive {
		return d.naive(ctx)
	}
	return d.run(ctx)
}

// stagingDemo is the demo in a world that is ready.
type stagingDemo struct {
	a    *app
	w    *sandbox.World
	dir  string
	load *balancer.Load
	seen *witness.Witness
	home map[string]bool // nodes that carried production's pods at first
}

// begin has people use production, and somebody watch its pods.
func (d *stagingDemo) begin(ctx context.Context) error {
	var err error
	if d.home, err = d.w.NodesOf(ctx, sandbox.Production); err != nil {
		return err
	}
	if d.seen, err = witness.Start(ctx, d.w.Client(), keysOf(d.home)); err != nil {
		return err
	}
	url, err := d.w.URL(sandbox.Production)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.a.err, "Sending %d requests a second to production, through the load balancer at %s\n", stagingRate, url)
	d.load, err = balancer.StartLoad(ctx, balancer.LoadOptions{URL: url, Rate: stagingRate, Timeout: 5 * time.Second})
	return err
}

// run goes through the acts, and judges.
func (d *stagingDemo) run(ctx context.Context) error {
	v := &stagingVerdict{}
	for _, act := range []func(context.Context, *stagingVerdict) error{d.shared, d.isolate, d.alone} {
		if err := act(ctx, v); err != nil {
			return fmt.Errorf("%w\nproduction: %s", err, d.load.Snapshot())
		}
	}
	settle(ctx)
	v.traffic, v.seen = d.load.Stop(), d.seen.Report()
	return v.print(d.a.out)
}

// shared is staging on the nodes that it shares with production.
func (d *stagingDemo) shared(ctx context.Context, v *stagingVerdict) error {
	d.act("1  A shared node group, where the policy is to refuse")
	if err := d.note(ctx, noteBefore); err != nil {
		return err
	}
	before, err := d.photograph(ctx)
	if err != nil {
		return err
	}
	if err := d.declare(ctx, "Refuse", sandbox.SharedPool); err != nil {
		return err
	}
	refused, err := d.drover(ctx, exitBlocked, "env", "stop", sandbox.Staging, "--yes")
	if err != nil {
		return err
	}
	v.refusal = namedPods(refused)
	if v.production, err = d.pods(ctx, sandbox.Production); err != nil {
		return err
	}
	afterwards, err := d.photograph(ctx)
	if err != nil {
		return err
	}
	v.differ("after the refusal", before, afterwards)

	d.act("1  The same group, where only staging's own nodes may go")
	if err := d.declare(ctx, "Own", sandbox.SharedPool); err != nil {
		return err
	}
	return d.sleepAndWake(ctx, v, &v.onShared, sandbox.SharedPool)
}

// isolate gives staging nodes of its own.
func (d *stagingDemo) isolate(ctx context.Context, _ *stagingVerdict) error {
	d.act("2  Staging gets nodes of its own")
	if _, err := d.drover(ctx, exitDone, "isolate", sandbox.Staging, "--apply", "--yes", "--timeout", "3m"); err != nil {
		return err
	}
	return d.declare(ctx, "Refuse", ownPool)
}

// ownPool is what isolate calls the new group.
const ownPool = sandbox.SharedPool + "-" + sandbox.Staging

// alone is staging on its own nodes.
func (d *stagingDemo) alone(ctx context.Context, v *stagingVerdict) error {
	d.act("3  Its own nodes, where no production pod can be in the way")
	return d.sleepAndWake(ctx, v, &v.onOwn, ownPool)
}

// night is what was seen of one sleep.
type night struct {
	group       string
	gone, nodes []string // nodes of the group that left, and those that were there
	foreign     []string // pods of production on those that left
	left        int      // nodes of the group while staging slept
	database    string   // its status
	login       error    // what a login came to
	money       string   // as drover said
	copies      int      // records in the archive
	notes       string   // what the application remembers after it
	took        [2]time.Duration
}

const (
	noteBefore = "written before the first stop"
	noteLater  = "written before the second stop"
)

// sleepAndWake stops and starts staging, and notes what came of it.
func (d *stagingDemo) sleepAndWake(ctx context.Context, v *stagingVerdict, n *night, group string) error {
	before, err := d.photograph(ctx)
	if err != nil {
		return err
	}
	n.group = group
	if n.nodes, err = d.nodesIn(ctx, group); err != nil {
		return err
	}
	carried, err := d.carriers(ctx, sandbox.Production)
	if err != nil {
		return err
	}
	began := time.Now()
	said, err := d.drover(ctx, exitDone, "env", "stop", sandbox.Staging, "--yes", "--timeout", "3m")
	if err != nil {
		return err
	}
	n.took[0], n.money = time.Since(began), moneySaid(said)
	if err := d.lookAsleep(ctx, n, carried); err != nil {
		return err
	}
	asleep, err := d.photograph(ctx)
	if err != nil {
		return err
	}
	v.differOutside("while staging slept in "+group, before, asleep)

	d.act("4  And back")
	began = time.Now()
	if _, err := d.drover(ctx, exitDone, "env", "start", sandbox.Staging, "--yes", "--timeout", "3m"); err != nil {
		return err
	}
	n.took[1] = time.Since(began)
	if n.notes, err = d.ask(ctx, http.MethodGet, "/notes", ""); err != nil {
		return err
	}
	d.tell("staging answers over HTTP, and remembers: %s", strings.Join(strings.Split(strings.TrimSpace(n.notes), "\n"), "; "))
	after, err := d.photograph(ctx)
	if err != nil {
		return err
	}
	v.differ("after the start in "+group, before, after)
	return d.note(ctx, noteLater)
}

// lookAsleep looks at what sleeps. Nobody asks drover for it.
func (d *stagingDemo) lookAsleep(ctx context.Context, n *night, carried map[string][]string) error {
	now, err := d.nodesIn(ctx, n.group)
	if err != nil {
		return err
	}
	n.left = len(now)
	for _, name := range n.nodes {
		if !slices.Contains(now, name) {
			n.gone = append(n.gone, name)
			n.foreign = append(n.foreign, carried[name]...)
		}
	}
	if n.database, err = d.databaseStatus(sandbox.Staging); err != nil {
		return err
	}
	n.login = d.login(ctx, sandbox.Staging)
	files, err := filepath.Glob(filepath.Join(d.archive(), sandbox.Staging, "*.yaml"))
	n.copies = len(files)
	d.tell("group %s has %d nodes now; %s left, with %d pods of production; database %s, a login: %v; %d records in the archive",
		n.group, n.left, orNone(n.gone), len(n.foreign), n.database, n.login, n.copies)
	return err
}

// declare writes the Environment, and applies it.
func (d *stagingDemo) declare(ctx context.Context, shared, group string) error {
	text := fmt.Sprintf(stagingEnvironment, shared, group, d.archive())
	file := filepath.Join(d.dir, "staging.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	_, err := d.drover(ctx, exitDone, "env", "apply", "-f", file)
	return err
}

func (d *stagingDemo) archive() string { return filepath.Join(d.dir, "records") }

const stagingEnvironment = `apiVersion: drover.dev/v1alpha1
kind: Environment
metadata: {name: staging}
spec:
  workloads:
  - namespaces: [staging]
  order:
  - {name: api, workloads: [{kind: Deployment, name: api}]}
  - {name: web, workloads: [{kind: Deployment, name: web}], needs: [api]}
  policy: {shared: %s}
  groups: [%s]
  databases:
  - instance: staging
    secret: {namespace: staging, name: database}
  prices:
  - {subject: instance staging, awake: "0.0235", asleep: "0.0035", source: "AWS's price page, with 20 GiB"}
  archive: file://%s
`

// telling are the lines of what drover says that the demo shows: what would go and what stays, why not, what was done, and how it ended.
var telling = regexp.MustCompile(`^(  group|Group|Money:|Done in|drover:)|  (goes|stays)$| stays for pod |^  (label|taint|blocks|saves|exception)|  phase  |` +
	`  done     (archive|turn|suspend|protect|unprotect|resume|resize|terminate|stop|start|make|place|conclude)`)

// drover runs this program as anybody would, with nothing but its environment, shows the most important of what it says, and returns all of it. Another
// exit code than the one that is wanted is an error.
func (d *stagingDemo) drover(ctx context.Context, want int, args ...string) (string, error) {
	fmt.Fprintf(d.a.err, "\n%s\n", d.a.paint(bold, "$ drover "+strings.Join(args, " ")))
	cmd, err := selfIn(d.w, append(args, "--color", "never")...)
	if err != nil {
		return "", err
	}
	var said strings.Builder
	shown := &lines{tell: func(line string) {
		said.WriteString(line + "\n")
		if telling.MatchString(line) {
			fmt.Fprintln(d.a.err, line)
		}
	}}
	cmd.Stdout, cmd.Stderr = shown, shown
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("drover %s: %w", args[0], err)
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(os.Interrupt) })()
	err = cmd.Wait()
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		return "", fmt.Errorf("drover %s: %w", args[0], err)
	}
	if code := cmd.ProcessState.ExitCode(); code != want {
		return "", fmt.Errorf("drover %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, want, &said)
	}
	return said.String(), nil
}

func (d *stagingDemo) act(title string) { fmt.Fprintf(d.a.err, "\n%s\n", d.a.paint(bold, "== "+title)) }

func (d *stagingDemo) tell(format string, args ...any) {
	fmt.Fprintf(d.a.err, "   %s\n", fmt.Sprintf(format, args...))
}

var (
	podSaid   = regexp.MustCompile(`pod (` + sandbox.Production + `/[a-z0-9-]+)`)
	savesSaid = regexp.MustCompile(`saves +(.+ an hour) while it sleeps`)
)

// namedPods are the pods of production that a text names, each once.
func namedPods(text string) map[string]bool {
	out := map[string]bool{}
	for _, m := range podSaid.FindAllStringSubmatch(text, -1) {
		out[m[1]] = true
	}
	return out
}

func moneySaid(text string) string {
	if m := savesSaid.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// note writes something down in staging, as somebody who tests there would.
func (d *stagingDemo) note(ctx context.Context, text string) error {
	_, err := d.ask(ctx, http.MethodPost, "/notes", text)
	return err
}

// ask asks staging over HTTP, through its service.
func (d *stagingDemo) ask(ctx context.Context, method, path, body string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	front := d.w.Front(sandbox.Staging)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return front.Dial(ctx) },
	}}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+sandbox.Staging+path, strings.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("ask staging: %w", err)
	}
	answer, err := client.Do(r)
	if err != nil {
		return "", fmt.Errorf("ask staging: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", answer.StatusCode, text)
	}
	if err != nil {
		return "", fmt.Errorf("ask staging: %s %s: %w", method, path, err)
	}
	return string(text), nil
}

func (a *app) serveApp() *cobra.Command {
	var addr string
	c := &cobra.Command{
		Use: "serve-app", Short: "The sandbox's own web application: an API with DATABASE_URL, a front with BACKEND", Args: cobra.NoArgs, Hidden: true,
		RunE: func(c *cobra.Command, _ []string) error { return serveApp(c.Context(), addr) },
	}
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:8080", "address to listen on")
	return c
}

func serveApp(ctx context.Context, addr string) error {
	name, database := os.Getenv("POD_NAME"), os.Getenv("DATABASE_URL")
	if database == "" {
		return webapp.Serve(ctx, addr, (&webapp.Front{Name: name, Backend: os.Getenv("BACKEND")}).Handler())
	}
	api, err := webapp.NewAPI(name, database, os.Getenv("POD_IP"))
	if err != nil {
		return err
	}
	defer api.Close(context.WithoutCancel(ctx))
	if err := api.Prepare(ctx); err != nil {
		return err // its pod is started again
	}
	return webapp.Serve(ctx, addr, api.Handler())
}
