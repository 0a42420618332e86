package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"drover.dev/api/v1alpha1"
	"drover.dev/env"
	"drover.dev/fleet"
	"drover.dev/price"
)

func (a *app) envCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "env", Short: "Switch environments off and on: workloads, nodes and databases together",
		Long: `Switch an environment off and on: its workloads front to back, exactly those of its nodes that carry nothing of anybody else's, and its databases; the
start is the reverse, each step when what it needs works. What belongs to an environment, and when it is to be on, stands in an Environment object.

How everything was before is written down before the first change: in the Environment, on each object, and where spec.archive says. Until a start is
verified nothing overwrites that; drover env repair makes the one out of the others.`,
		Example: "  drover env plan staging\n  drover env stop staging\n  drover env start staging --for 3h",
	}
	family(c)
	c.AddCommand(a.envListCommand(), a.envStatusCommand(), a.envPlanCommand(), a.envStopCommand(), a.envStartCommand(), a.envRepairCommand(), a.envApplyCommand(), a.envCheckCommand())
	return c
}

// switching is what the flags of plan, stop and start of environments ask for.
type switching struct {
	file      string
	prices    string
	forced    []string
	lasts     time.Duration
	why       string
	requester string
	start     bool // of plan: a start
	detailed  bool
	run       running
}

func (r *switching) flags(f *pflag.FlagSet) {
	f.StringVarP(&r.file, "file", "f", "", "YAML file with the Environment: it counts instead of the one in the cluster")
	f.StringVar(&r.prices, "prices", "", "price list of AWS, an offer file of EC2 or RDS as JSON or CSV; its prices go before those that drover knows")
	f.DurationVar(&r.lasts, "for", 0, "for this long, then the other way round; 0 until the schedule says the same, or somebody else does")
}

func (r *switching) forceFlag(f *pflag.FlagSet) {
	f.StringSliceVar(&r.forced, "force", nil, "codes of findings that are overridden, as env-jobs,env-sessions")
}

func (r *switching) whyFlags(c *cobra.Command) {
	c.Flags().StringVar(&r.why, "why", "", "for those who wonder")
	requesterFlag(c, &r.requester)
}

// check checks the flags that have a grammar of their own.
func (r *switching) check() error {
	if r.lasts < 0 {
		return usagef("--for %s: must be positive", r.lasts)
	}
	for _, code := range r.forced {
		if !slices.Contains(forceable(), code) {
			return usagef("--force %s: that is no code of a finding that may be overridden: %s", code, strings.Join(forceable(), ", "))
		}
	}
	return nil
}

// forceable are the codes of findings that a person may override: those that block as long as nobody does.
func forceable() []string {
	var out []string
	for _, r := range fleet.Rules {
		if strings.HasPrefix(r.Code, "env-") && r.Blocks == "sometimes" {
			out = append(out, r.Code)
		}
	}
	return out
}

// who asks.
func (r *switching) who() string {
	if r.requester != "" {
		return r.requester
	}
	return requester()
}

// envFile is a file with Environments.
type envFile struct {
	source       string // for people: file staging.yaml
	text         []byte
	environments []fleet.Environment
}

// readEnvironments reads a file. What is wrong with an Environment in it is its Trouble; that it has none is an error.
func readEnvironments(path string) (*envFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("environments: %w", err)
	}
	f := &envFile{source: "file " + path, text: text}
	var wrong []error
	if f.environments, wrong = v1alpha1.ParseEnvironments(text, f.source); len(wrong) > 0 {
		return nil, wrong[0]
	}
	if len(f.environments) == 0 {
		return nil, fmt.Errorf("%s: has no Environment", f.source)
	}
	return f, nil
}

// named is the environment that is meant: args may leave it out when the file has one only.
func (f *envFile) named(args []string) (string, error) {
	var names []string
	for i := range f.environments {
		names = append(names, f.environments[i].Name)
	}
	switch {
	case len(args) == 0 && len(names) == 1:
		return names[0], nil
	case len(args) == 0:
		return "", usagef("%s has several environments, say which: %s", f.source, strings.Join(names, ", "))
	case !slices.Contains(names, args[0]):
		return "", usagef("%s has no environment %s; it has %s", f.source, args[0], strings.Join(names, ", "))
	}
	return args[0], nil
}

// only is the file with the one Environment: what else is in it was not asked for.
func (f *envFile) only(name string) (*envFile, error) {
	manifests, _ := v1alpha1.ParseManifests(f.text, f.source)
	for _, m := range manifests {
		if m.Environment.Name != name {
			continue
		}
		text, err := yaml.Marshal(m.Content.Object)
		if err != nil {
			return nil, fmt.Errorf("%s: environment %s: %w", f.source, name, err)
		}
		return &envFile{source: f.source, text: text, environments: []fleet.Environment{m.Environment}}, nil
	}
	return nil, fmt.Errorf("%s: has no environment %s", f.source, name)
}

// bookOf is what things cost: what drover knows, and over that a price list of AWS.
func bookOf(path string) (*price.Book, error) {
	book := price.Table()
	if path == "" {
		return book, nil
	}
	in, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("price list: %w", err)
	}
	defer in.Close()
	list, err := price.Read(in, path)
	if err != nil {
		return nil, fmt.Errorf("price list %s: %w", path, err)
	}
	return book.Merge(list), nil
}

func (a *app) envListCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List the environments: how they are, how they should be, and what sleeping has saved",
		Example: "  drover env list\n  drover env list -o json", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.envList(c.Context()) },
	}
	a.outputFlag(c)
	return c
}

// envListDocument is what env list prints.
type envListDocument struct {
	APIVersion   string    `json:"apiVersion"`
	Kind         string    `json:"kind"`
	Place        string    `json:"place"`
	Environments []envLine `json:"environments"`
}

// envLine is an environment in a line.
type envLine struct {
	Name    string   `json:"name"`
	State   string   `json:"state"`           // on, stopping, asleep, starting, unclear
	Since   string   `json:"since,omitempty"` // when that began
	Wanted  string   `json:"wanted"`          // on, off, or "" when nobody says
	Why     string   `json:"why"`             // who says so
	Next    string   `json:"next,omitempty"`  // when that changes by itself
	NextOn  bool     `json:"nextOn,omitempty"`
	Saved   string   `json:"saved,omitempty"` // by this sleep, or by the last one
	Trouble []string `json:"trouble,omitempty"`

	began       time.Time
	since, next string // for people
}

// envList needs no AWS: how environments are and should be stands in the cluster.
func (a *app) envList(ctx context.Context) error {
	s, err := a.conn.connectStores(ctx)
	if err != nil {
		return err
	}
	if err := s.cluster.WatchEnvironments(ctx); err != nil {
		return err
	}
	snapshot := fleet.Snapshot{Now: time.Now()}
	if err := s.cluster.Observe(ctx, &snapshot); err != nil {
		return err
	}
	if err := s.cluster.ObserveEnvironments(ctx, &snapshot); err != nil {
		return err
	}
	if snapshot.Unslept != "" {
		return &exit{exitFailed, fmt.Errorf("%s", snapshot.Unslept)}
	}
	d := envListDocument{APIVersion: "drover.dev/v1alpha1", Kind: "EnvironmentList", Place: s.place, Environments: linesOf(&snapshot)}
	return a.print(d, func(w io.Writer) {
		if len(d.Environments) == 0 {
			fmt.Fprintf(w, "%s has no environments. Declare one in a file, and apply it: drover env apply -f FILE\n", s.place)
			return
		}
		envLines(w, d.Environments)
	})
}

func linesOf(s *fleet.Snapshot) []envLine {
	out := []envLine{}
	for i := range s.Environments {
		out = append(out, lineOf(&s.Environments[i], s.Now))
	}
	return out
}

func lineOf(e *fleet.Environment, now time.Time) envLine {
	state, since := env.State(e)
	wanted := env.Want(e, now)
	l := envLine{Name: e.Name, State: state, Wanted: wantedWord(wanted), Why: wanted.Why, NextOn: wanted.NextOn, Saved: savedBy(e, now), Trouble: troublesOf(e), since: "-", next: "-"}
	if !since.IsZero() {
		l.began, l.Since, l.since = since, moment(since), short16(since.In(clockOf(e)))
	}
	if !wanted.Next.IsZero() {
		l.Next, l.next = moment(wanted.Next), onOff(wanted.NextOn)+" "+wanted.Next.In(clockOf(e)).Format("Mon 01-02 15:04 MST")
	}
	return l
}

// troublesOf is what cannot be understood of an environment: what is declared of it, and what somebody wishes.
func troublesOf(e *fleet.Environment) []string {
	if e.WishTrouble == "" {
		return e.Trouble
	}
	return append(slices.Clone(e.Trouble), e.WishTrouble)
}

func short16(t time.Time) string { return t.Format("2006-01-02 15:04") }

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func wantedWord(w env.Wanted) string {
	if !w.Known {
		return ""
	}
	return onOff(w.On)
}

// savedBy is what the sleep under way has saved by now, else what the last one has.
func savedBy(e *fleet.Environment, now time.Time) string {
	if e.Record != nil {
		return env.Saved(e.Record, now).String()
	}
	if n := len(e.Sleeps); n > 0 {
		return e.Sleeps[n-1].Saved
	}
	return ""
}

// clockOf is whose clock people who look at an environment go by: its schedule's.
func clockOf(e *fleet.Environment) *time.Location {
	if e.Spec.Schedule != nil {
		if zone, err := time.LoadLocation(e.Spec.Schedule.Zone); err == nil {
			return zone
		}
	}
	return time.Local
}

// clocked is a moment for people who look at an environment.
func clocked(e *fleet.Environment, t time.Time) string {
	return t.In(clockOf(e)).Format("Mon 2006-01-02 15:04 MST")
}

func envLines(w io.Writer, lines []envLine) {
	var rows [][]string
	for _, l := range lines {
		rows = append(rows, []string{l.Name, l.State, l.since, orDash(l.Wanted), l.next, orDash(l.Saved)})
	}
	columns(w, "NAME STATE SINCE WANTED NEXT SAVED", rows)
	for _, l := range lines {
		for _, t := range l.Trouble {
			fmt.Fprintf(w, "Environment %s: %s\n", l.Name, t)
		}
	}
}
