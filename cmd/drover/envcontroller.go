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

	"drover.dev/api/v1alpha1"
	"drover.dev/engine"
	"drover.dev/env"
	"drover.dev/fleet"
	"drover.dev/kube"
	"drover.dev/metrics"
	"drover.dev/price"
)

// environmentsAgain is how often a controller that may not switch environments, or where there are none to be had, looks whether that has changed.
const environmentsAgain = 2 * time.Minute

// withEnvironments switches environments beside what else the leader does, and returns when both have ended. process is the context of the process: what
// is watched goes on being watched when somebody else leads for a while.
func (a *app) withEnvironments(ctx, process context.Context, s *site, r *controlling, m *meter, lead func(context.Context) error) error {
	if !r.environments {
		return lead(ctx)
	}
	within, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { a.switchEnvironments(within, process, s, r, m) })
	return lead(ctx)
}

// switchEnvironments has environments be as their schedules and people's wishes say, for as long as this process leads. What keeps it from that is told
// whenever it changes.
func (a *app) switchEnvironments(ctx, process context.Context, s *site, r *controlling, m *meter) {
	said := ""
	say := func(code, word, now string) {
		if now != said {
			fmt.Fprintf(a.err, "%s  %s %s\n", stamp(), a.paint(code, word), now)
		}
		said = now
	}
	for ; ctx.Err() == nil; pause(ctx, environmentsAgain) {
		there, err := served(s.cluster)
		switch {
		case err != nil:
			say(yellow, "unseen  ", err.Error())
			continue
		case !there[v1alpha1.Environments.Resource]:
			say(yellow, "unseen  ", "environments are not switched: the cluster does not know Environment objects; drover install installs them")
			continue
		}
		if err := s.cluster.WatchEnvironments(process); err != nil {
			say(yellow, "unseen  ", "environments are not switched: "+err.Error())
			continue
		}
		say(green, "switches", "environments, as their schedules and people's wishes say")
		err = a.environmentLoop(s, r, m).Watch(ctx)
		if ctx.Err() == nil {
			say(red, "trouble ", fmt.Sprintf("environments: %v", err))
		}
	}
}

// environmentLoop is the loop over all environments of a process that lives long.
func (a *app) environmentLoop(s *site, r *controlling, m *meter) *engine.Switcher {
	tell := a.logger()
	w := s.switcher(func(n engine.Note) { m.note(n); tell(n) })
	w.CloudEvery, w.NoteUpTo = controllerEvery, 10*time.Minute
	w.Options = env.Options{Book: price.Table(), Region: r.region}
	w.Kick = r.databases
	w.Alone = a.inTurn(s.cluster.Alone)
	w.See = (&showing{meter: m, publish: s.cluster.PublishEnvironment, looks: map[string]looked{}}).see
	return w
}

// turnAgain is how long the controller leaves the lease to somebody else who has it, before it looks again.
const turnAgain = 15 * time.Second

// inTurn acts under the people's lease. That somebody else has it is told once, and no trouble.
func (a *app) inTurn(alone func(context.Context, string, func(string, time.Duration), func(context.Context) error) error) func(context.Context, func(context.Context) error) error {
	told := ""
	return func(ctx context.Context, act func(context.Context) error) error {
		err := alone(ctx, identity(), func(string, time.Duration) {}, act)
		var busy *kube.Busy
		if !errors.As(err, &busy) {
			told = ""
			return err
		}
		if busy.Holder != told {
			fmt.Fprintf(a.err, "%s  %s environments wait for %s, who acts on this cluster\n", stamp(), a.paint(dim, "waiting "), busy.Holder)
		}
		told = busy.Holder
		pause(ctx, turnAgain)
		return nil
	}
}

// showing tells Prometheus, and people who look at Environments, how they are.
type showing struct {
	meter   *meter
	publish func(context.Context, string, kube.EnvironmentShown) error
	looks   map[string]looked
}

// looked is what was last seen of one environment.
type looked struct {
	at    time.Time
	told  metrics.Environment
	shown string // what was last published
	since time.Time
	run   string
	saved map[string]float64 // by currency, by the sleep of that run
}

const (
	showEvery  = 2 * time.Minute // money grows; nobody needs to see each cent
	showWithin = 5 * time.Second
	lookedFor  = time.Hour // an environment that was not looked at for so long is gone
)

func (p *showing) see(v engine.EnvironmentView) {
	e := &v.Environment
	state, since := env.State(e)
	l := p.looks[e.Name]
	l.at = v.At
	l.told = metrics.Environment{Name: e.Name, State: state, Holds: len(v.Step.Holds), Blocked: len(v.Blocked)}
	if e.Record != nil {
		for _, f := range e.Record.Fights {
			l.told.Fights += f.Times
		}
		p.meter.saved(&l, e, v.At)
	}
	shown := shownOf(&v, state, since)
	if words := fmt.Sprint(shown); words != l.shown && (v.At.Sub(l.since) >= showEvery || withoutFigures(words) != withoutFigures(l.shown)) {
		ctx, cancel := context.WithTimeout(context.Background(), showWithin)
		if p.publish(ctx, e.Name, shown) == nil { // it is for people only; the next look tries again
			l.shown, l.since = words, v.At
		}
		cancel()
	}
	p.looks[e.Name] = l
	maps.DeleteFunc(p.looks, func(_ string, l looked) bool { return v.At.Sub(l.at) > lookedFor })
	var all []metrics.Environment
	for _, name := range slices.Sorted(maps.Keys(p.looks)) {
		all = append(all, p.looks[name].told)
	}
	p.meter.set.Environments(all)
}

// saved counts what the sleep under way has saved since the last look. What it had saved before this process first looked, another one has counted.
func (m *meter) saved(l *looked, e *fleet.Environment, now time.Time) {
	sums := map[string]float64{}
	for _, money := range env.Saved(e.Record, now) {
		sums[money.Currency] = money.Amount
	}
	if l.run == e.Record.Run {
		for currency, amount := range sums {
			m.set.Saved(e.Name, currency, amount-l.saved[currency])
		}
	}
	l.run, l.saved = e.Record.Run, sums
}

// shownOf is what people see of an environment in kubectl.
func shownOf(v *engine.EnvironmentView, state string, since time.Time) kube.EnvironmentShown {
	e := &v.Environment
	line := lineOf(e, v.At)
	out := kube.EnvironmentShown{State: state, Since: since, Saved: line.Saved, Asleep: state == "asleep", Ready: state == "on" && len(v.Blocked) == 0}
	if line.Next != "" {
		out.Next = line.next
	}
	for _, h := range v.Step.Holds {
		out.Waiting = append(out.Waiting, h.String())
	}
	for _, f := range v.Blocked {
		out.Waiting = append(out.Waiting, f.Code+" "+f.String())
	}
	out.Waiting = append(out.Waiting, troublesOf(e)...)
	slices.SortFunc(out.Waiting, strings.Compare)
	return out
}
