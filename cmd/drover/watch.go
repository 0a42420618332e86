package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/engine"
	"drover.dev/evac"
	"drover.dev/fleet"
)

// A picture is drawn when something changed, at most every frameEvery, and at least every clockEvery, because the time goes on. The rest of the
// forecast is made anew every foreseeEvery: it is the dear part.
const (
	frameEvery   = 200 * time.Millisecond
	clockEvery   = time.Second
	foreseeEvery = 10 * time.Second
)

func (a *app) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "watch [GROUP|RUN]", Short: "Watch a run, live",
		Long: `Watch a run, live: its old and new nodes with their pods, and what it waits for. Without a name it is the only run under way. It only
reads, so any number of people may watch. q or Ctrl-C leaves; the run goes on.

Without a terminal it prints a line for each change.`,
		Example: "  drover watch web\n  drover watch | tee rotation.log",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: a.completeGroups,
		RunE: func(c *cobra.Command, args []string) error { return a.watch(c.Context(), args) },
	}
}

func (a *app) watch(ctx context.Context, args []string) error {
	s, err := a.conn.connect(ctx)
	if err != nil {
		return err
	}
	snapshot, err := s.observeAll(ctx)
	if err != nil {
		return err
	}
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	rec, err := choose(underWay(&snapshot), name)
	if errors.Is(err, errNoRun) {
		fmt.Fprintln(a.err, "No run is under way. Begin one with drover rotate GROUP; drover status lists the groups.")
		return nil
	}
	if err != nil {
		return err
	}
	w := &watcher{site: s, run: rec.Run, st: stand(&snapshot, rec), foreseen: snapshot.Now, recorded: snapshot.Rotation(rec.Run) != nil}
	w.engine = s.engine(groupsOf(&w.st.plan), nil)
	w.engine.Cloud = &remembered{Cloud: s.cloud, now: time.Now}
	if terminal(a.out) && os.Getenv("TERM") != "dumb" {
		err = a.watchScreen(ctx, w)
	} else {
		err = a.watchLines(ctx, w)
	}
	if err != nil || !w.over {
		return err
	}
	fmt.Fprintln(a.out, w.ending(ctx))
	return nil
}

// watcher looks at one run again and again.
type watcher struct {
	site     *site
	engine   *engine.Engine
	run      string
	st       *standing
	foreseen time.Time // when st's plan was made
	recorded bool      // the cluster has a record of the run
	over     bool
}

// look observes, and returns the run as it is now; nil when it is over.
func (w *watcher) look(ctx context.Context) (*view, error) {
	seen, err := w.engine.Observe(ctx)
	if err != nil {
		return nil, err
	}
	s := seen.Clone()
	rec := s.Rotation(w.run)
	if rec == nil && !w.recorded { // otherwise the run is over, and the marks on its groups are what the cloud said before that
		rec = evac.Ongoing(&s, w.engine.Groups)
	}
	if rec == nil || rec.Run != w.run {
		w.over = true
		return nil, nil
	}
	if rec.Intent != w.st.record.Intent || s.Now.Sub(w.foreseen) >= foreseeEvery {
		w.st, w.foreseen = stand(&s, rec), s.Now
	} else {
		w.st.record = rec
		w.st.look(&s)
	}
	v := viewOf(&s, w.st)
	v.place = w.site.place
	if f := &w.st.plan.Forecast; len(f.Stuck) == 0 {
		v.left = max(f.Took-s.Now.Sub(w.foreseen), 0)
	}
	return v, nil
}

// ending says how the run ended.
func (w *watcher) ending(ctx context.Context) string {
	records, _, err := w.site.cluster.Records(ctx)
	if err == nil {
		for _, r := range records {
			if r.Run == w.run && !r.Marks.Ended.IsZero() {
				word := "done"
				if r.Intent == fleet.Back {
					word = "taken back"
				}
				return fmt.Sprintf("Run %s is over: %s after %s.", w.run, word, clock(r.Marks.Ended.Sub(r.At)))
			}
		}
	}
	return fmt.Sprintf("Run %s is over.", w.run)
}

// pace waits until the next picture is due: for a change, but not too soon. It reports false when it is time to leave.
func (w *watcher) pace(ctx context.Context, leave <-chan struct{}) bool {
	soon, late := time.NewTimer(frameEvery), time.NewTimer(clockEvery)
	defer soon.Stop()
	defer late.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-leave:
		return false
	case <-soon.C:
	}
	select {
	case <-ctx.Done():
		return false
	case <-leave:
		return false
	case <-w.site.cluster.Changed():
	case <-late.C:
	}
	return true
}

// remembered is the cloud, asked not more often than a run asks it: people look far more often than it changes.
type remembered struct {
	engine.Cloud
	now      func() time.Time
	at       time.Time
	groups   []fleet.Group
	targets  map[string][]fleet.Target
	balanced []fleet.TargetGroup
}

func (r *remembered) refresh(ctx context.Context, names []string) error {
	if !r.at.IsZero() && r.now().Sub(r.at) < cloudEvery {
		return nil
	}
	groups, err := r.Cloud.Groups(ctx, names)
	if err != nil {
		return err
	}
	targets, balanced, err := r.Cloud.Targets(ctx)
	if err != nil {
		return err
	}
	r.groups, r.targets, r.balanced, r.at = groups, targets, balanced, r.now()
	return nil
}

func (r *remembered) Groups(ctx context.Context, names []string) ([]fleet.Group, error) {
	err := r.refresh(ctx, names)
	return r.groups, err
}

func (r *remembered) Targets(context.Context) (map[string][]fleet.Target, []fleet.TargetGroup, error) {
	return r.targets, r.balanced, nil
}
