package scenario

import (
	"context"
	"slices"

	"drover.dev/engine"
	"drover.dev/fleet"
)

// boardHand, databaseHand, askHand and archiveHand are the other hands of whoever switches environments, with the variation's trouble in between.
type (
	boardHand    struct{ *Stage }
	databaseHand struct{ *Stage }
	askHand      struct{ *Stage }
	archiveHand  struct{ *Stage }
)

var (
	_ engine.Switchboard = boardHand{}
	_ engine.Databases   = databaseHand{}
	_ engine.Asker       = askHand{}
	_ engine.Archive     = archiveHand{}
)

func (h boardHand) ObserveEnvironments(ctx context.Context, s *fleet.Snapshot) error {
	old := h.lag.seen()
	if f := h.lag.frozen; f != nil && h.w.Now().Before(h.down[false]) {
		old = f // its watches are broken, and what they brought is still there
	} else if err := h.call(false, func() error { return nil }); err != nil {
		return err
	}
	if old == nil {
		return h.w.Cluster.ObserveEnvironments(ctx, s)
	}
	c := old.cluster.Clone()
	s.Environments, s.Parts, s.Services, s.Backends, s.Busy, s.Unslept = c.Environments, c.Parts, c.Services, c.Backends, c.Busy, c.Unslept
	return nil
}

func (h databaseHand) Databases(ctx context.Context, ids []string) (out []fleet.Database, err error) {
	err = h.call(true, func() error {
		old := h.lag.seen()
		if old == nil {
			out, err = h.cloud.Databases(ctx, ids)
			return err
		}
		for _, id := range ids {
			if i := slices.IndexFunc(old.cluster.Databases, func(d fleet.Database) bool { return d.ID == id }); i >= 0 {
				out = append(out, old.cluster.Databases[i])
			} else {
				out = append(out, fleet.Database{ID: id, Trouble: "RDS knows no " + id})
			}
		}
		return nil
	})
	return out, err
}

// Ask asks the database itself: that is neither a call to AWS nor to the cluster, and never old.
func (h askHand) Ask(ctx context.Context, db fleet.Database, spec fleet.DatabaseSpec) fleet.Answer {
	return h.cloud.Ask(ctx, db, spec)
}

// Save is an effect that the world does not show: killed after it each time, no process would come any further.
func (h archiveHand) Save(ctx context.Context, url string, r fleet.SleepRecord) error {
	return h.effect(ctx, true, func() (kill bool, err error) {
		return !h.killed("archive " + r.Run), h.w.Archive().Save(ctx, url, r)
	})
}

func (h archiveHand) Load(ctx context.Context, url, environment string) (out []fleet.SleepRecord, err error) {
	err = h.call(true, func() error {
		out, err = h.w.Archive().Load(ctx, url, environment)
		return err
	})
	return out, err
}
