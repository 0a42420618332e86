package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"drover.dev/fleet"
)

// object is what everything has that a stop may switch.
type object struct {
	uid    string
	wears  map[string]string // its own labels
	writer string            // field manager that wrote its value last
	mark   *fleet.PartMark   // drover's, of a sleep
}

func (o *object) base() *object { return o }

// switched is an object with the one value of it that a stop changes.
type switched interface {
	base() *object
	named() fleet.Owner
	part() fleet.Part // as it is, without what others say of it
	set(c *Cluster, value string, absent bool) error
	said() (value string, absent, keeps bool) // what its repository says of the value; keeps is false when it says nothing
}

// newObject gives an object its identity. It has a row of numbers of its own, so that the names of pods do not depend on it.
func (c *Cluster) newObject(labels map[string]string, by string) object {
	c.made++
	return object{uid: fmt.Sprintf("00000000-0000-4000-9000-%012x", c.made), wears: maps.Clone(labels), writer: by}
}

// thing finds what a stop may switch; nil when there is none of that name.
func (c *Cluster) thing(o fleet.Owner) switched {
	if w := c.workload[o]; w != nil && w.switches() {
		return w
	}
	if x, ok := c.things[o]; ok {
		return x
	}
	return nil
}

// allThings lists what a stop may switch, as fleet.SortParts orders it.
func (c *Cluster) allThings() []switched {
	out := slices.Collect(maps.Values(c.things))
	for _, w := range c.workloads {
		if w.switches() {
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(a, b switched) int {
		x, y := a.named(), b.named()
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	return out
}

// scales tells whether workloads of a kind have a scale.
func scales(kind string) bool { return shown(kind) || foreign(kind) }

// switches tells whether a stop may switch a workload: one with a scale, or a Job that has not come to its end.
func (w *workload) switches() bool {
	return scales(w.Owner.Kind) || w.Owner.Kind == "Job" && w.done < w.Replicas
}

// write gives an object another value, by somebody's hand. Who keeps it as a repository says will hear of it.
func (c *Cluster) write(x switched, value string, absent bool, by string) error {
	if err := x.set(c, value, absent); err != nil {
		return err
	}
	x.base().writer = by
	c.watchApps(x)
	return nil
}

// WriteBy sets the value of an object as somebody else does: replicas, suspend, a pause. "-" takes the field away.
func (c *Cluster) WriteBy(o fleet.Owner, value, by string) error {
	return c.onThing("write", o, func(x switched) error { return c.write(x, value, value == "-", by) })
}

// Wipe replaces an object, as kubectl replace does: drover's mark on it is gone.
func (c *Cluster) Wipe(o fleet.Owner) error {
	return c.onThing("replace", o, func(x switched) error {
		x.base().mark = nil
		return nil
	})
}

func (c *Cluster) onThing(what string, o fleet.Owner, f func(x switched) error) error {
	return c.do(func() error {
		x := c.thing(o)
		if x == nil {
			return fmt.Errorf("%s %s: there is none", what, o)
		}
		return f(x)
	})
}

// PartOf returns an object as drover would see it now.
func (c *Cluster) PartOf(o fleet.Owner) (fleet.Part, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.thing(o)
	if x == nil {
		return fleet.Part{}, false
	}
	return c.seenPart(x), true
}

// seenPart is an object with what others say of it.
func (c *Cluster) seenPart(x switched) fleet.Part {
	p, o := x.part(), x.base()
	p.Owner, p.UID, p.Labels, p.By = x.named(), o.uid, o.wears, o.writer
	if m := o.mark; m != nil {
		if e := c.environments[m.Environment]; e == nil || !e.over(m.Run) { // one that is over says nothing any more
			shown := *m
			p.Mark = &shown
		}
	}
	p.Apps = c.appsOf(p.Owner)
	if p.Turn == fleet.Unsynced {
		p.Reverts, p.Patch = c.reverts(p.Owner)
	}
	return p
}

// The workload as something that is switched: by its scale, or a Job by its suspension.

func (w *workload) named() fleet.Owner { return w.Owner }

func (w *workload) part() fleet.Part {
	if w.Owner.Kind == "Job" {
		return fleet.Part{Turn: fleet.Suspended, APIVersion: "batch/v1", Value: strconv.FormatBool(w.suspended), Off: w.suspended}
	}
	p := fleet.Part{Turn: fleet.Scaled, APIVersion: "apps/v1", Value: strconv.Itoa(w.Replicas), Off: w.Replicas == 0, Pooler: w.spec.Pooler, Entry: w.entry}
	if _, group, ok := strings.Cut(w.Owner.Kind, "."); ok {
		p.APIVersion = group + "/v1alpha1"
	}
	for _, q := range w.pods {
		if q.Finished {
			continue
		}
		p.Pods++
		if q.Ready && !q.Terminating {
			p.Ready++
		}
	}
	p.Selector, p.Tolerations, p.Rolled, p.OnDelete = w.spec.Selector, w.spec.Tolerations, w.rolled(), w.spec.OnDelete
	stateful := w.Owner.Kind == "StatefulSet" || w.spec.Part != nil
	p.Claims = w.spec.OwnDisk
	if stateful && w.spec.Local != "" {
		p.Scratch = w.spec.Local
	}
	return p
}

func (w *workload) set(c *Cluster, value string, absent bool) error {
	if w.Owner.Kind == "Job" {
		return w.suspend(c, value == "true" && !absent)
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || absent {
		return fmt.Errorf("set the replicas of %s to %q: want a number", w.Owner, value)
	}
	c.scale(w, n)
	return nil
}

// suspend stops a Job's pods, or has them begin anew.
func (w *workload) suspend(c *Cluster, on bool) error {
	w.suspended = on
	for _, p := range w.live() {
		if on {
			c.remove(p)
		}
	}
	c.wake(w)
	return nil
}

// said is nothing where an autoscaler sets replicas, and of a Job, which nobody puts back.
func (w *workload) said() (string, bool, bool) {
	return strconv.Itoa(w.spec.Replicas), false, w.Scaler == nil && w.Owner.Kind != "Job"
}
