package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"drover.dev/fleet"
)

// keptSleeps is how many sleeps that are over an environment remembers.
const keptSleeps = 32

// environment is an Environment object.
type environment struct {
	fleet.Environment
	leaving bool // somebody has deleted it, and its finalizer holds it
}

// over tells whether a sleep is in the environment's history.
func (e *environment) over(run string) bool {
	return slices.ContainsFunc(e.Sleeps, func(s fleet.Sleep) bool { return s.Run == run })
}

// Declare makes an Environment object, or gives it another spec. What it remembers stays.
func (c *Cluster) Declare(name string, spec fleet.EnvironmentSpec, trouble ...string) {
	_ = c.do(func() error { // it has no error to return
		e := c.environments[name]
		if e == nil {
			e = &environment{Environment: fleet.Environment{Name: name, Source: "Environment " + name}}
			c.environments[name] = e
		}
		e.Spec, e.Trouble = spec, trouble
		return nil
	})
}

// Undeclare deletes an Environment object. One that has a record stays until that is concluded, because a finalizer holds it, unless somebody takes that
// off by force.
func (c *Cluster) Undeclare(name string, force bool) {
	_ = c.do(func() error { // deleting what is not there is no error
		if e := c.environments[name]; e != nil && e.Record != nil && !force {
			e.leaving = true
			return nil
		}
		delete(c.environments, name)
		return nil
	})
}

// Wish says what a person wants of an environment; nil for nothing any more.
func (c *Cluster) Wish(name string, wish *fleet.Wish) error {
	return c.do(func() error {
		e := c.environments[name]
		if e == nil {
			return fmt.Errorf("environment %s: there is none", name)
		}
		e.Wish = wish
		return nil
	})
}

// Environment returns an environment as it is now.
func (c *Cluster) Environment(name string) (fleet.Environment, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.environments[name]
	if e == nil {
		return fleet.Environment{}, false
	}
	return e.Clone(), true
}

// ObserveEnvironments adds to a snapshot what those need who switch environments.
func (c *Cluster) ObserveEnvironments(_ context.Context, s *fleet.Snapshot) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.environments)) {
		s.Environments = append(s.Environments, c.environments[name].Clone())
	}
	for _, x := range c.allThings() {
		s.Parts = append(s.Parts, c.seenPart(x))
	}
	s.Services = append(s.Services, c.seenServices()...)
	for _, b := range c.backends {
		s.Backends = append(s.Backends, b.Backend)
	}
	s.Busy = append(s.Busy, c.running()...)
	for i := range s.Pods {
		if j := c.cronOf(s.Pods[i].Owner); j != nil {
			s.Pods[i].Owner = j.spec.Owner
		}
	}
	s.Unslept = c.unslept
	return nil
}

// running lists the Jobs that have not come to their end.
func (c *Cluster) running() []fleet.Busy {
	var out []fleet.Busy
	for _, w := range c.workloads {
		live := w.live()
		if w.Owner.Kind != "Job" || len(live) == 0 {
			continue
		}
		owner, labels := w.Owner, w.wears
		if j := c.cronOf(w.Owner); j != nil {
			owner, labels = j.spec.Owner, j.wears
		}
		since := c.clock.Now().Sub(live[0].Created).Round(time.Second)
		out = append(out, fleet.Busy{
			Code: "env-jobs", Subject: w.Owner.String(), Reason: fmt.Sprintf("%d of its pods run, the first for %s", len(live), since), Owner: owner, Labels: labels,
		})
	}
	slices.SortFunc(out, func(a, b fleet.Busy) int { return cmp.Compare(a.Subject, b.Subject) })
	return out
}

// remember writes the record of a sleep. What is there of how things were never changes: parts may be added to it, and nothing else.
func (c *Cluster) remember(a fleet.Action) error {
	if c.unslept != "" {
		return &fleet.Fatal{Err: errors.New(c.unslept)}
	}
	e, want := c.environments[a.Environment], a.Sleep.Clone()
	switch {
	case e == nil:
		return &fleet.Refused{Reason: fmt.Sprintf("environment %s is gone", a.Environment)}
	case want.Run != a.Run:
		return fmt.Errorf("remember environment %s: the record is of run %s, not of %s", a.Environment, want.Run, a.Run)
	case e.Record == nil && e.over(a.Run):
		return &fleet.Refused{Reason: fmt.Sprintf("sleep %s of environment %s is over", a.Run, a.Environment)}
	case e.Record != nil:
		if err := SameOriginals(*e.Record, want); err != nil {
			return &fleet.Refused{Reason: fmt.Sprintf("environment %s: %v", a.Environment, err), Wait: ownerWait}
		}
	}
	e.Record = &want
	return nil
}

// SameOriginals tells in what a record that is to be written would change what is on record: the run, how anything was, what was approved.
func SameOriginals(have, want fleet.SleepRecord) error {
	if have.Run != want.Run {
		return fmt.Errorf("the record there is of run %s, not of %s", have.Run, want.Run)
	}
	if len(want.Parts) < len(have.Parts) || !reflect.DeepEqual(have.Parts, want.Parts[:len(have.Parts)]) {
		return fmt.Errorf("the record of run %s says something else of how its %d parts were", have.Run, len(have.Parts))
	}
	if !reflect.DeepEqual(originals(have), originals(want)) {
		return fmt.Errorf("the record of run %s, with hash %s, is another than the one to be written, with hash %s", have.Run, have.Hash, want.Hash)
	}
	return nil
}

// originals is the part of a record that never changes, but for its parts, which may become more.
func originals(r fleet.SleepRecord) fleet.SleepRecord {
	r.Parts, r.Marks, r.Fights, r.Exceptions = nil, fleet.SleepMarks{}, nil, nil
	return r
}

// conclude ends a sleep: its record goes, and its history comes, in one write. What people wish is theirs, and stays.
func (c *Cluster) conclude(a fleet.Action) error {
	e := c.environments[a.Environment]
	switch {
	case e == nil, e.over(a.Run) && e.Record == nil:
		return nil
	case e.Record == nil:
		return &fleet.Refused{Reason: fmt.Sprintf("environment %s has no record of a sleep", a.Environment)}
	case e.Record.Run != a.Run:
		return &fleet.Refused{Reason: fmt.Sprintf("environment %s: the record there is of run %s, not of %s", a.Environment, e.Record.Run, a.Run), Wait: ownerWait}
	}
	e.Record = nil
	e.Sleeps = append(slices.Clone(e.Sleeps), *a.Ended)
	e.Sleeps = e.Sleeps[max(0, len(e.Sleeps)-keptSleeps):]
	if e.leaving {
		delete(c.environments, a.Environment)
	}
	return nil
}
