package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"drover.dev/depart"
	"drover.dev/evac"
	"drover.dev/fleet"
)

// Criterion is what a replacement that a controller began prints where a person's rotation says how it chose its nodes.
const Criterion = "notice"

// Requester is who asked for it.
const Requester = "drover controller"

// replace begins runs for departures that leave time for a replacement first, and drives those that it began.
func (w *Watch) replace(ctx context.Context, s *fleet.Snapshot) (wait time.Duration, begun bool, err error) {
	wait = w.CloudEvery
	w.takeUp(s)
	departures, holds := depart.Timely(s, w.Policy, w.stuck(s))
	w.holds = holds
	if len(departures) > 0 && len(w.runs) == 0 { // one in a tick: planning takes time that others may not have
		begun, err := w.begin(ctx, s, departures[0])
		if err != nil || begun {
			return 0, begun, err // no pod may move to its node any more
		}
		wait = 0
	}
	for id, r := range w.runs {
		again, done, err := w.drive(ctx, r)
		switch {
		case ctx.Err() != nil:
			return 0, false, ctx.Err()
		case done && err == nil:
			w.over(id, r.Run, s.Now)
		case err != nil: // the record stays, for a person to look at and take back
			w.Note(Note{At: s.Now, Err: fmt.Errorf("run %s: %w", id, err), Again: stopAfter})
			delete(w.runs, id)
			w.run.backoff["run "+id] = &backoff{until: s.Now.Add(stopAfter), why: err.Error()}
		default:
			wait = min(wait, again)
		}
	}
	return wait, false, nil
}

// replacement is a run that replaces one node.
type replacement struct {
	*Run
	ended chan error // of the process's own goroutine for it; nil while there is none
}

// drive takes a replacement's next step. Where people may act too, it goes on by itself, under their lease.
func (w *Watch) drive(ctx context.Context, r *replacement) (wait time.Duration, done bool, err error) {
	switch {
	case w.Alone == nil:
		return r.Tick(ctx)
	case r.ended == nil:
		r.ended = make(chan error, 1)
		w.work.Go(func() { r.ended <- w.Alone(ctx, r.toTheEnd) })
	}
	select {
	case err := <-r.ended:
		return 0, true, err
	default:
		return w.CloudEvery, false, nil
	}
}

// toTheEnd ticks until the run is over. It does not listen for changes: those are the controller's, whose nodes have less time.
func (r *replacement) toTheEnd(ctx context.Context) error {
	for {
		wait, done, err := r.Tick(ctx)
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(wait, publishEvery)):
		}
	}
}

// over says of a run that is over what could not be put back.
func (w *Watch) over(id string, r *Run, now time.Time) {
	delete(w.runs, id)
	w.run.backoff["run "+id] = &backoff{until: now.Add(stopAfter), why: "it is over"} // what is observed may be older than that
	for _, e := range r.Ledger().Exceptions {
		w.Note(Note{At: now, Err: fmt.Errorf("run %s is over: %s", id, e)})
	}
}

// stopAfter is how long a run that could not go on is left alone.
const stopAfter = time.Minute

// takeUp goes on with runs of an earlier process.
func (w *Watch) takeUp(s *fleet.Snapshot) {
	for i := range s.Rotations {
		rec := &s.Rotations[i]
		if rec.Requester != Requester || len(rec.Groups) == 0 || w.runs[rec.Run] != nil || w.pausing("run "+rec.Run, s.Now) {
			continue
		}
		plan, _ := evac.Resume(s, rec)
		w.runs[rec.Run] = &replacement{Run: w.forGroup(rec.Groups[0].Name).Begin(plan)}
	}
}

func (w *Watch) pausing(key string, now time.Time) bool {
	b := w.run.backoff[key]
	return b != nil && now.Before(b.until)
}

// stuck are the instances that could not be replaced a while ago, and why.
func (w *Watch) stuck(s *fleet.Snapshot) map[string]string {
	out := map[string]string{}
	for i := range s.Cases {
		if key := replacing + s.Cases[i].Instance; w.pausing(key, s.Now) {
			out[s.Cases[i].Instance] = w.run.backoff[key].why
		}
	}
	return out
}

// replacing begins the key under which it is kept why an instance cannot be replaced for now.
const replacing = "replace "

// begin begins the run that replaces one node. What stands in the way is said, and tried again later.
func (w *Watch) begin(ctx context.Context, s *fleet.Snapshot, d fleet.Departure) (begun bool, err error) {
	c := s.Case(d.Instance)
	key := replacing + d.Instance
	mark := c.Clone()
	mark.Marks.Replaced = s.Now
	if len(s.Group(d.Group).Ours(nil, false)) > 0 { // the group replaces it, and drover's hook holds it meanwhile
		return true, w.mark(ctx, s, key, mark)
	}
	run := fmt.Sprintf("notice-%s-%s", d.Instance, s.Now.UTC().Format("0102t1504"))
	plan, findings := evac.Make(s, []string{d.Group}, []fleet.Departure{d}, evac.Options{Run: run, Requester: Requester, Criterion: Criterion, Words: d.Why, Surge: evac.Surge{Count: 1}})
	if i := slices.IndexFunc(findings, func(f fleet.Finding) bool { return f.Blocks }); i >= 0 {
		w.run.backoff[key] = &backoff{until: s.Now.Add(stopAfter), why: "cannot be replaced first: " + findings[i].String()}
		return false, nil
	}
	if len(plan.Forecast.Stuck) > 0 {
		w.run.backoff[key] = &backoff{until: s.Now.Add(stopAfter), why: "cannot be replaced first: " + plan.Forecast.Stuck[0].String()}
		return false, nil
	}
	mark.Marks.Rotation = run
	if err := w.mark(ctx, s, key, mark); err != nil || w.run.backoff[key] != nil {
		return false, err
	}
	w.runs[run] = &replacement{Run: w.forGroup(d.Group).Begin(plan)}
	return true, nil
}

// mark writes down that a node is replaced, before anything is done about it.
func (w *Watch) mark(ctx context.Context, s *fleet.Snapshot, key string, c fleet.Case) error {
	delete(w.run.backoff, key)
	a := fleet.Action{Verb: fleet.File, Run: fleet.NoticeRun, Instance: c.Instance, Node: c.Node, Case: &c, Why: "its replacement comes first"}
	if err := w.act(ctx, []fleet.Action{a}, s.Now); err != nil {
		return err
	}
	if b := w.run.backoff[a.Key()]; b != nil {
		w.run.backoff[key] = &backoff{until: b.until, why: "its replacement could not be written down: " + b.why}
	}
	return nil
}

// forGroup is the engine for a run about one group.
func (w *Watch) forGroup(name string) *Engine {
	e := *w.Engine
	e.Groups, e.AllGroups = []string{name}, false
	return &e
}
