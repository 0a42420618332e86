package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"drover.dev/fleet"
)

// Verb is the kind of a change.
type Verb string

// The verbs, in the order in which they are carried out; those of a removal, too.
const (
	CreateQueue Verb = "create queue"
	RepairQueue Verb = "repair queue"
	CreateRule  Verb = "create rule" // with its target
	RepairRule  Verb = "repair rule"
	AimRule     Verb = "aim rule" // at the queue
	CreateHook  Verb = "create hook"
	RepairHook  Verb = "repair hook"

	DeleteHook  Verb = "delete hook"
	UnaimRule   Verb = "unaim rule"  // which stays for others
	DeleteRule  Verb = "delete rule" // with its target
	DeleteQueue Verb = "delete queue"
)

// Change is one effect on AWS. Carrying it out twice is harmless. What it is about is there as it is to be, in full.
type Change struct {
	Verb    Verb
	Queue   Queue  // of queues
	Was     *Queue // RepairQueue: as it was found
	Rule    Rule   // of rules, with the one target that is drover's
	Group   Group  // of hooks
	Hook    fleet.Hook
	Differs []Difference // repairs: what was otherwise
	Says    string       // in words, what it is for
}

// Difference is one thing that is not as it is to be.
type Difference struct{ What, Before, After string }

func (d Difference) String() string { return fmt.Sprintf("%s %s → %s", d.What, d.Before, d.After) }

// Subject is what the change is about.
func (c Change) Subject() string {
	switch c.Verb {
	case CreateQueue, RepairQueue, DeleteQueue:
		return c.Queue.Name
	case CreateHook, RepairHook, DeleteHook:
		return c.Group.Name + "/" + c.Hook.Name
	}
	return c.Rule.Name
}

// Detail says what is different afterwards.
func (c Change) Detail() string {
	var out []string
	for _, d := range c.Differs {
		out = append(out, d.String())
	}
	if c.Says != "" {
		out = append(out, c.Says)
	}
	return strings.Join(out, ", ")
}

func (c Change) String() string {
	if detail := c.Detail(); detail != "" {
		return fmt.Sprintf("%s %s: %s", c.Verb, c.Subject(), detail)
	}
	return fmt.Sprintf("%s %s", c.Verb, c.Subject())
}

// After is what there will be once the changes are carried out.
func (f Found) After(changes []Change) Found {
	f = f.clone()
	for _, c := range changes {
		f.assume(c)
	}
	return f
}

func (f Found) clone() Found {
	out := Found{Queue: f.Queue, Dead: f.Dead, Rules: map[string]Rule{}, Groups: map[string]Scaling{}}
	for name, r := range f.Rules {
		r.Targets = slices.Clone(r.Targets)
		out.Rules[name] = r
	}
	for name, g := range f.Groups {
		g.Hooks = slices.Clone(g.Hooks)
		out.Groups[name] = g
	}
	return out
}

func (f *Found) assume(c Change) {
	switch c.Verb {
	case CreateQueue, RepairQueue:
		q := c.Queue
		*f.slot(c) = &q
	case DeleteQueue:
		*f.slot(c) = nil
	case CreateRule:
		f.Rules[c.Rule.Name] = c.Rule
	case RepairRule:
		r := c.Rule
		r.Targets = f.Rules[r.Name].Targets // aiming is a change of its own
		f.Rules[r.Name] = r
	case AimRule, UnaimRule:
		r := f.Rules[c.Rule.Name]
		r.Targets = slices.DeleteFunc(r.Targets, func(t Target) bool { return t.ID == c.Rule.Targets[0].ID })
		if c.Verb == AimRule {
			r.Targets = append(r.Targets, c.Rule.Targets[0])
		}
		f.Rules[r.Name] = r
	case DeleteRule:
		delete(f.Rules, c.Rule.Name)
	case CreateHook, RepairHook, DeleteHook:
		g := f.Groups[c.Group.Scaling]
		g.Hooks = slices.DeleteFunc(g.Hooks, func(h fleet.Hook) bool { return h.Name == c.Hook.Name })
		if c.Verb != DeleteHook {
			g.Hooks = append(g.Hooks, c.Hook)
		}
		f.Groups[c.Group.Scaling] = g
	}
}

// slot is where a queue is told of: the dead-letter queue is the one that has none itself.
func (f *Found) slot(c Change) **Queue {
	if c.Queue.Dead == "" {
		return &f.Dead
	}
	return &f.Queue
}
