package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/engine"
	"drover.dev/env"
	"drover.dev/evac"
	"drover.dev/fleet"
	"drover.dev/kube"
)

func (a *app) envStopCommand() *cobra.Command {
	var r switching
	c := &cobra.Command{
		Use: "stop NAME", Short: "Switch an environment off",
		Long: `Switch an environment off: what is asked for is written on the Environment first, so that it holds whoever carries it out, then everything is written
down as it is, and only then anything is changed. GitOps is paused, CronJobs are suspended, workloads go front to back, nodes that carry nothing of
anybody else's are emptied and ended by their ids, databases are stopped last.

Ctrl-C stops after the actions in flight. The same command goes on, and so does drover controller; drover env start takes it back from wherever it is.
Somebody who wishes the opposite meanwhile ends it here (exit code 6).`,
		Example: "  drover env stop staging\n  drover env stop staging --for 3h --why \"load test is over\"\n  drover env stop staging --force env-sessions,env-jobs --yes\n  drover env stop -f staging.yaml",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: a.completeEnvironments,
		RunE: func(c *cobra.Command, args []string) error { return a.envSwitch(c.Context(), args, &r, false) },
	}
	r.flags(c.Flags())
	r.forceFlag(c.Flags())
	r.whyFlags(c)
	r.run.flags(c)
	return c
}

func (a *app) envStartCommand() *cobra.Command {
	var r switching
	c := &cobra.Command{
		Use: "start NAME", Short: "Switch an environment on",
		Long: `Switch an environment on, as it was: its databases and nodes first, then its workloads back to front, each when what it needs works: a database answers,
nodes are Ready, pods are Ready and what leads to them knows them. At its end everything is looked at once more, every mark is taken off, and the sleep
goes into the history. With --for it goes off again by itself, where drover controller runs.`,
		Example: "  drover env start staging\n  drover env start staging --for 3h --why \"demo for sales\"\n  drover env start staging --yes --wait=false",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: a.completeEnvironments,
		RunE: func(c *cobra.Command, args []string) error { return a.envSwitch(c.Context(), args, &r, true) },
	}
	r.flags(c.Flags())
	r.whyFlags(c)
	r.run.flags(c)
	return c
}

func (a *app) envSwitch(ctx context.Context, args []string, r *switching, on bool) error {
	j, err := a.prepareSwitch(ctx, args, r, on)
	if err != nil {
		return err
	}
	return a.carrySwitch(ctx, j, &r.run)
}

// carrySwitch shows the plan, asks, writes down what is wanted, and goes.
func (a *app) carrySwitch(ctx context.Context, j *envJourney, r *running) error {
	envPlanTable(a.err, &j.shown)
	switch {
	case j.blocked():
		return &exit{exitBlocked, errors.New("blocked; nothing was done")}
	case j.settled():
		return nil
	}
	if err := r.expectedHash(j.shown.Hash); err != nil {
		return err
	}
	if err := j.tryArchive(ctx); err != nil {
		return err
	}
	if err := a.approve(ctx, fmt.Sprintf("Switch environment %s %s?", j.plan.Environment, onOff(j.plan.On)), r.yes); err != nil {
		return err
	}
	if !r.wait {
		return a.leaveSwitch(ctx, j)
	}
	if err := j.ask(ctx); err != nil {
		return err
	}
	if j.plan.Nothing != "" {
		fmt.Fprintf(a.err, "Environment %s is %s. %s\n", j.plan.Environment, onOff(j.plan.On), j.shown.Until)
		return nil
	}
	return a.drive(ctx, j, r.timeout)
}

// settled tells whether everything is, and stays, as it is asked for already.
func (j *envJourney) settled() bool {
	return j.plan.Nothing != "" && j.was.Known && j.was.On == j.wanted.On && j.was.Next.Equal(j.wanted.Next) && j.was.NextOn == j.wanted.NextOn
}

// expectedHash refuses a plan that is not the one that somebody has seen.
func (r *running) expectedHash(hash string) error {
	switch {
	case r.bound != "" && r.bound != hash:
		return &exit{exitBlocked, errors.New("the plan is not the one that was approved a moment ago; nothing was done: look at it again")}
	case r.bound == "" && r.expect != "" && r.expect != hash:
		return &exit{exitBlocked, fmt.Errorf("the plan is %s by now, --expect-plan says %s; nothing was done: look at the plan again", hash, r.expect)}
	}
	return nil
}

// ask writes down what is wanted: the Environment itself when it came in a file, and the wish on it.
func (j *envJourney) ask(ctx context.Context) error {
	if err := j.room.applyFile(ctx, j.plan.Environment); err != nil {
		return err
	}
	return j.room.desk.Wish(ctx, j.plan.Environment, &j.wish)
}

// takeBack takes back what was asked for, as it was before, because nothing was done about it; a controller would do then what nobody has seen. It says
// what became of it. A wish that somebody else has made meanwhile is theirs.
func (j *envJourney) takeBack(ctx context.Context, e *fleet.Environment) string {
	if w := e.Wish; w == nil || w.On != j.wish.On || w.By != j.wish.By || !w.At.Truncate(time.Second).Equal(j.wish.At.Truncate(time.Second)) {
		return "nothing was done"
	}
	if err := j.room.desk.Wish(ctx, e.Name, j.source.Wish); err != nil {
		return fmt.Sprintf("nothing was done, but what you ask for stays written on the environment (take it back: %v)", err)
	}
	said := "nothing was done, and what you asked for is taken back"
	if j.room.file != nil {
		said += " (the Environment itself stays as " + j.room.file.source + " has it)"
	}
	return said
}

// leaveSwitch leaves it to the controller where one leads, otherwise to a process in the background.
func (a *app) leaveSwitch(ctx context.Context, j *envJourney) error {
	leader, err := j.room.desk.Leading(ctx)
	if err != nil {
		return err
	}
	if leader == "" {
		return a.detach(j.shown.Hash, "drover env status "+j.plan.Environment+" -w")
	}
	if err := j.ask(ctx); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "It is written on the Environment, and the controller (%s) does it. %s\ndrover env status %s -w shows how far it is.\n", leader, j.shown.Until, j.plan.Environment)
	return nil
}

// errOpposite ends a run that somebody wishes the opposite of.
var errOpposite = errors.New("somebody wishes the opposite")

// drive carries an approved plan out under the lease, and tells how it ended.
func (a *app) drive(ctx context.Context, j *envJourney, timeout time.Duration) error {
	within := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	within, turn := context.WithCancelCause(within)
	defer turn(nil)
	began := j.room.Now()
	p := &progressLine{app: a, began: began, j: j, turn: turn}
	tell := a.teller(began)
	j.room.Note, j.room.See = func(n engine.Note) { p.note(n); tell(n) }, p.see
	fmt.Fprintln(a.err)
	err := a.aloneAt(within, j)
	took := j.room.Now().Sub(began).Round(time.Second)
	name := j.plan.Environment
	switch {
	case err == nil:
		a.tellSwitched(ctx, j, took)
		return nil
	case ctx.Err() != nil:
		return &exit{exitInterrupted, fmt.Errorf("stopped after %s. %s", took, j.left(p))}
	case errors.Is(context.Cause(within), errOpposite):
		return &exit{exitTakenBack, fmt.Errorf("stopped after %s: %s wishes environment %s to be %s, and whoever does that goes on from here", took, orSomebody(p.by), name, onOff(!j.plan.On))}
	case within.Err() != nil:
		return &exit{exitTimeout, fmt.Errorf("not done within %s. %s", timeout, j.left(p))}
	}
	return err
}

// aloneAt runs the plan under the lease. A process that does the opposite stops when it sees what is wished; a controller that does the same is watched.
func (a *app) aloneAt(ctx context.Context, j *envJourney) error {
	for told := false; ; told = true {
		err := patiently(othersStop, j.room.Now, func(again bool) error {
			tell := a.tellWaiting
			if told || again {
				tell = func(string, time.Duration) {}
			}
			return j.room.desk.Alone(ctx, identity(), tell, j.under)
		})
		var busy *kube.Busy
		if !errors.As(err, &busy) {
			return err
		}
		leader, lost := j.room.desk.Leading(ctx)
		if lost != nil || leader == "" {
			return &exit{exitTimeout, fmt.Errorf("what you ask for is written on environment %s, and holds; %w; the same command goes on", j.plan.Environment, err)}
		}
		if !told {
			fmt.Fprintf(a.err, "%s acts on this cluster; the controller does this when its turn comes. Watching.\n", busy.Holder)
		}
		if done, err := j.watch(ctx, othersStop); done || err != nil {
			return err
		}
	}
}

// under plans anew, holding the lease, and runs that: while a person thought about the plan, or the lease was waited for, others may have acted.
func (j *envJourney) under(ctx context.Context) error {
	s, err := j.room.Observe(ctx)
	if err != nil {
		return err
	}
	p, findings := j.room.plan(&s, j.plan.Environment, j.plan.On)
	switch {
	case p.Nothing != "":
		return nil
	case evac.Blocked(findings):
		i := slices.IndexFunc(findings, func(f fleet.Finding) bool { return f.Blocks })
		return j.refuse(ctx, &s, &p, fmt.Sprintf("something came in the way: %s (%s)", findings[i], findings[i].Code))
	}
	if more := beyond(&j.plan, &p); more != "" && !p.Resumed {
		return j.refuse(ctx, &s, &p, "the plan became more than you have seen: "+more)
	}
	return j.room.Run(ctx, p)
}

// refuse ends a journey whose plan is another one by now. What is under way already is not taken back: half of it would stay.
func (j *envJourney) refuse(ctx context.Context, s *fleet.Snapshot, now *env.Plan, why string) error {
	became := "what you ask for stays written on the environment, which is on its way"
	if e := s.Environment(now.Environment); e != nil && !now.Resumed {
		became = j.takeBack(ctx, e)
	}
	return &exit{exitBlocked, fmt.Errorf("while you were asked, %s; %s: look at it again with drover env plan %s", why, became, now.Environment)}
}

// beyond names what a plan would switch that another one would not; "" for nothing.
func beyond(approved, now *env.Plan) string {
	for i := range now.Record.Parts {
		if r := &now.Record.Parts[i]; approved.Record.Part(r.Owner) == nil {
			return r.ID()
		}
	}
	for _, d := range now.Record.Exits {
		if !slices.ContainsFunc(approved.Record.Exits, func(o fleet.Departure) bool { return o.Instance == d.Instance }) {
			return "node " + d.Name()
		}
	}
	for _, d := range now.Record.Databases {
		if !slices.ContainsFunc(approved.Record.Databases, func(o fleet.SleepDatabase) bool { return o.ID == d.ID }) {
			return "database " + d.ID
		}
	}
	return ""
}

// watchEvery is how often an environment is looked at that another process switches.
const watchEvery = 2 * time.Second

// watch looks on while another process switches, for a while, and tells whether it is done.
func (j *envJourney) watch(ctx context.Context, upTo time.Duration) (bool, error) {
	for began := j.room.Now(); j.room.Now().Sub(began) < upTo; pause(ctx, watchEvery) {
		s, err := j.room.Observe(ctx)
		if err != nil {
			return false, err
		}
		e := s.Environment(j.plan.Environment)
		if e == nil {
			return false, errNoEnvironment(&s, j.plan.Environment)
		}
		step := env.Next(env.Plan{Environment: e.Name, On: j.plan.On, By: j.plan.By}, s)
		j.room.See(engine.EnvironmentView{At: s.Now, Environment: *e, Step: step})
		if e.Record == nil && j.plan.On || e.Record != nil && step.Done {
			return true, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
	return false, nil
}

// progressLine tells of every new phase, and ends the run when somebody wishes the opposite.
type progressLine struct {
	*app
	began time.Time
	j     *envJourney
	turn  context.CancelCauseFunc
	last  engine.EnvironmentView
	by    string // who wishes the opposite

	mu      sync.Mutex
	refused map[string]string // actions that were refused last, by what they are, and why
}

// note remembers what is refused again and again: an unfinished run ends with that.
func (p *progressLine) note(n engine.Note) {
	if n.Action == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.Err == nil {
		delete(p.refused, n.Action.String())
		return
	}
	if p.refused == nil {
		p.refused = map[string]string{}
	}
	p.refused[n.Action.String()] = n.Err.Error()
}

// refusals are those that were never made good, in words.
func (p *progressLine) refusals() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out strings.Builder
	for _, what := range slices.Sorted(maps.Keys(p.refused)) {
		fmt.Fprintf(&out, " Refused last: %s: %s.", what, strings.TrimSuffix(p.refused[what], "."))
	}
	return out.String()
}

func (p *progressLine) see(v engine.EnvironmentView) {
	if v.Environment.Name != p.j.plan.Environment {
		return
	}
	if v.Step.Phase != "" && v.Step.Phase != p.last.Step.Phase {
		fmt.Fprintf(p.err, "%7s  %s %s\n", "+"+v.At.Sub(p.began).Round(time.Second).String(), p.paint(bold, "phase   "), v.Step.Phase)
	}
	p.last = v
	if w := v.Environment.Wish; w != nil && w.On != p.j.wish.On && w.At.After(p.j.wish.At) {
		p.by = w.By
		p.turn(errOpposite)
	}
}

// tellSwitched says how it is now.
func (a *app) tellSwitched(ctx context.Context, j *envJourney, took time.Duration) {
	name, forecast := j.plan.Environment, j.plan.Forecast.Took.Round(time.Second)
	fmt.Fprintf(a.err, "%s in %s (forecast %s): environment %s is %s. %s\n", a.paint(green, "Done"), took, forecast, name, onOff(j.plan.On), j.shown.Until)
	s, err := j.room.Observe(ctx)
	if err != nil {
		return // it is done; what follows is only about it
	}
	e := s.Environment(name)
	if e != nil {
		j.room.shows(ctx, &engine.EnvironmentView{At: s.Now, Environment: *e})
	}
	switch {
	case e == nil:
		return
	case e.Record != nil:
		if m := moneyOf(e, e.Record.Rates, nil, s.Now); len(m.Hour) > 0 {
			fmt.Fprintf(a.err, "  %s  %s an hour while it sleeps\n", a.paint(dim, "saves     "), strings.Join(m.Hour, " + "))
		}
		a.exceptions(e.Record.Exceptions)
	case len(e.Sleeps) > 0 && j.plan.On:
		last := e.Sleeps[len(e.Sleeps)-1]
		if last.Saved != "" {
			fmt.Fprintf(a.err, "  %s  %s, asleep from %s to %s\n", a.paint(dim, "saved     "), last.Saved, clocked(e, last.Asleep), clocked(e, last.Starting))
		}
		a.exceptions(last.Exceptions)
	}
}

func (a *app) exceptions(all []string) {
	if len(all) == 0 {
		fmt.Fprintf(a.err, "  %s  none\n", a.paint(dim, "exceptions"))
	}
	for _, e := range all {
		fmt.Fprintf(a.err, "  %s  %s\n", a.paint(yellow, "exception "), e)
	}
}

// left says in which state an unfinished run leaves the environment, who goes on with it, and how it is taken back.
func (j *envJourney) left(p *progressLine) string {
	name, v := j.plan.Environment, p.last
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if v.Environment.Name != "" {
		j.room.shows(ctx, &v)
	}
	is := "as it was: nothing has been changed yet"
	if state, _ := env.State(&v.Environment); v.Environment.Record != nil {
		is = state + "; how everything was is on file"
	}
	goOn := "The same command goes on from here"
	if leader, err := j.room.desk.Leading(ctx); err == nil && leader != "" {
		goOn = fmt.Sprintf("The controller (%s) goes on by itself, and so does the same command", leader)
	}
	opposite := "start"
	if j.plan.On {
		opposite = "stop"
	}
	return fmt.Sprintf("Environment %s is %s.%s %s; drover env %s %s takes it back.", name, is, p.refusals(), goOn, opposite, name)
}

// shows has people see in kubectl how an environment is, also where no controller runs. It is for them only, so nothing comes of an error.
func (w *switchroom) shows(ctx context.Context, v *engine.EnvironmentView) {
	if w.publish == nil {
		return
	}
	state, since := env.State(&v.Environment)
	_ = w.publish(ctx, v.Environment.Name, shownOf(v, state, since))
}
