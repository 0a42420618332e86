package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"drover.dev/fleet"
)

// record writes a run's record. Of one that is there already it only sets what is not set yet: marks, and the way back. Whether the run is paused
// is for people to say, through Pause. A run that is over does not begin again.
func (c *Cluster) record(want fleet.RotationRecord) error {
	if c.without != "" {
		return &fleet.Fatal{Err: errors.New(c.without)}
	}
	want = cloneRecord(want)
	i, found := slices.BinarySearchFunc(c.records, want.Run, func(r fleet.RotationRecord, run string) int { return cmp.Compare(r.Run, run) })
	if !found {
		c.records = slices.Insert(c.records, i, want)
		return nil
	}
	have := &c.records[i]
	if !have.Marks.Ended.IsZero() && want.Marks.Ended.IsZero() {
		return &fleet.Fatal{Err: fmt.Errorf("run %s is over; look at drover status and start anew", want.Run)}
	}
	if !reflect.DeepEqual(approved(*have), approved(want)) {
		return &fleet.Refused{Reason: fmt.Sprintf("rotation %s is there already, with another approved plan (hash %s, not %s)", want.Run, have.Hash, want.Hash), Wait: ownerWait}
	}
	if want.Intent == fleet.Back {
		have.Intent = fleet.Back
	}
	have.Marks = join(have.Marks, want.Marks)
	return nil
}

// approved is the part of a record that never changes.
func approved(r fleet.RotationRecord) fleet.RotationRecord {
	r.Intent, r.Paused, r.Marks, r.Moved, r.Exceptions = "", nil, fleet.Marks{}, 0, nil
	return r
}

// join sets the marks that were not set yet.
func join(have, want fleet.Marks) fleet.Marks {
	for _, m := range []struct {
		have *time.Time
		want time.Time
	}{
		{&have.Moving, want.Moving}, {&have.Canary, want.Canary}, {&have.Baking, want.Baking}, {&have.Undoing, want.Undoing}, {&have.Ended, want.Ended},
	} {
		if m.have.IsZero() {
			*m.have = m.want
		}
	}
	if have.First == "" {
		have.First = want.First
	}
	return have
}

func cloneRecord(r fleet.RotationRecord) fleet.RotationRecord {
	r.Groups = slices.Clone(r.Groups)
	for i := range r.Groups {
		r.Groups[i].Suspended, r.Groups[i].Wants = slices.Clone(r.Groups[i].Suspended), slices.Clone(r.Groups[i].Wants)
	}
	r.Probes, r.Exits, r.Paused, r.Exceptions = slices.Clone(r.Probes), slices.Clone(r.Exits), clonePause(r.Paused), slices.Clone(r.Exceptions)
	return r
}

func clonePause(p *fleet.Pause) *fleet.Pause {
	if p == nil {
		return nil
	}
	n := *p
	return &n
}

// Records returns all rotation records by run, those that are over included.
func (c *Cluster) Records() []fleet.RotationRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]fleet.RotationRecord, 0, len(c.records))
	for _, r := range c.records {
		out = append(out, cloneRecord(r))
	}
	return out
}

// Intend says what a person wants of a run by now. A run that goes back does not turn round again.
func (c *Cluster) Intend(run string, i fleet.Intent) error {
	return c.direct(run, func(r *fleet.RotationRecord) error {
		if r.Intent == fleet.Back && i != fleet.Back {
			return fmt.Errorf("rotation %s: is on its way back, and does not turn round again; begin another run when it is over", run)
		}
		r.Intent = i
		return nil
	})
}

// Pause stops a run, or with nil lets it go on. Who paused it first stays named.
func (c *Cluster) Pause(run string, p *fleet.Pause) error {
	return c.direct(run, func(r *fleet.RotationRecord) error {
		if (r.Paused != nil) != (p != nil) {
			r.Paused = clonePause(p)
		}
		return nil
	})
}

// direct changes what a person may change of a run that is not over.
func (c *Cluster) direct(run string, f func(*fleet.RotationRecord) error) error {
	return c.do(func() error {
		i := slices.IndexFunc(c.records, func(r fleet.RotationRecord) bool { return r.Run == run })
		if i < 0 {
			return fmt.Errorf("rotation %s: there is no such run in this cluster", run)
		}
		if over := c.records[i].Marks.Ended; !over.IsZero() {
			return fmt.Errorf("rotation %s: it is over since %s", run, over.UTC().Format(time.RFC3339))
		}
		return f(&c.records[i])
	})
}

// StopAll stops every run in the cluster, also those that begin later. A stop that is there already stays as it is.
func (c *Cluster) StopAll(p fleet.Pause) {
	_ = c.do(func() error { // it has no error to return
		if c.stopped == nil {
			c.stopped = &p
		}
		return nil
	})
}

// ResumeAll lifts the cluster-wide stop. A run that is paused by itself stays so.
func (c *Cluster) ResumeAll() {
	_ = c.do(func() error { // it has no error to return
		c.stopped = nil
		return nil
	})
}

// Publish keeps how far a run is, for whoever looks with Progress, and in its record what the next process is to count on from.
func (c *Cluster) Publish(_ context.Context, p fleet.Progress) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress[p.Run] = p
	for i := range c.records {
		if c.records[i].Run == p.Run {
			c.records[i].Moved, c.records[i].Exceptions = p.Moved, slices.Clone(p.Exceptions)
		}
	}
	return nil
}

// Progress returns what a run published last.
func (c *Cluster) Progress(run string) (fleet.Progress, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.progress[run]
	return p, ok
}
