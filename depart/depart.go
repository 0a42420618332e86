// Package depart decides why a node should go: it turns a snapshot and a wish into departures. How they go is evac's.
//
// Reasons are compared by what the cloud says an instance was launched from, resolved to ids and version numbers, never by names of nodes.
package depart

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// ErrNothing says that no node matches the wish: the work is already done.
var ErrNothing = errors.New("nothing to rotate")

// Kind is how a rotation chooses its nodes.
type Kind string

// The kinds, as a group's mark prints them.
const (
	Outdated  Kind = "outdated"   // not launched from what the group launches now
	All       Kind = "all"        // every node
	OlderThan Kind = "older-than" // launched before a moment
	Selector  Kind = "selector"   // by node labels
)

// Criterion chooses the nodes that a rotation replaces.
type Criterion struct {
	Kind   Kind
	Before time.Time              // OlderThan
	Match  func(*fleet.Node) bool // Selector
	Words  string                 // Selector, as typed
}

// Wants tells whether an instance of the group has to go, and why.
func (c Criterion) Wants(g *fleet.Group, in *fleet.Instance, n *fleet.Node) (why string, ok bool) {
	switch c.Kind {
	case All:
		return "every node was asked for", true
	case OlderThan:
		if in.Launched.IsZero() || !in.Launched.Before(c.Before) {
			return "", false
		}
		return "launched " + in.Launched.UTC().Format(time.RFC3339) + ", before " + c.Before.UTC().Format(time.RFC3339), true
	case Selector:
		if n == nil || !c.Match(n) {
			return "", false
		}
		return "matches selector " + c.Words, true
	}
	why = OutdatedWhy(g, in)
	return why, why != ""
}

// OutdatedWhy says in what an instance differs from what its group would launch today; "" when in nothing.
//
// Several templates are possible under a mixed instances policy. An override that names types speaks for those types only; one without
// (attribute-based) speaks for any type. So an instance is current when some template that may launch its type is its own.
func OutdatedWhy(g *fleet.Group, in *fleet.Instance) string {
	var fitting []string
	for _, w := range g.Wants {
		if !w.Fits(in.Type) {
			continue
		}
		if w.Same(in.Template) {
			return ""
		}
		fitting = append(fitting, w.String())
	}
	if len(g.Wants) == 0 {
		return ""
	}
	if len(fitting) == 0 {
		return fmt.Sprintf("is a %s, and no override of the group launches that type any more", in.Type)
	}
	slices.Sort(fitting)
	return fmt.Sprintf("runs %s, the group launches %s", in.Template, strings.Join(slices.Compact(fitting), " or "))
}

// Rotate returns the departures that replace the chosen nodes of the named groups, in the order of zone and id.
//
// A group that carries a run's mark is in the middle of that run. Its exits are then the nodes that the run has tainted: all of them are,
// before desired is raised for the first time, so an untainted node of a raised group is a new one, as is any instance launched since the run
// began. Whoever starts again after a crash goes on with the same set.
func Rotate(s *fleet.Snapshot, groups []string, c Criterion) ([]fleet.Departure, error) {
	var out []fleet.Departure
	var begun time.Time
	for _, name := range groups {
		if g := s.Group(name); g != nil && g.Mark != nil {
			begun = g.Mark.At
		}
	}
	for _, name := range groups {
		g := s.Group(name)
		if g == nil {
			return nil, fmt.Errorf("group %s: not found", name)
		}
		if g.Mark != nil && g.Mark.Criterion != string(c.Kind) {
			return nil, fmt.Errorf("group %s: run %s is under way and was started for %q nodes, not %q; finish it with the same choice first", name, g.Mark.Run, g.Mark.Criterion, c.Kind)
		}
		if len(g.Wants) == 0 && c.Kind == Outdated {
			return nil, fmt.Errorf("group %s: has neither a launch template nor a launch configuration, so no node of it can be called outdated; choose with --all, --older-than or --selector", name)
		}
		out = append(out, rotateGroup(s, g, c, begun)...)
	}
	if len(out) == 0 && !underWay(s, groups) {
		return nil, fmt.Errorf("%w: %s", ErrNothing, explainNothing(s, groups, c))
	}
	return out, nil
}

// before tells whether an instance was surely launched before a moment; one that EC2 does not show yet was not.
func before(in *fleet.Instance, at time.Time) bool {
	return !in.Launched.IsZero() && in.Launched.Before(at)
}

// rotateGroup chooses among one group's instances. begun is when the run of another group in the same command began, or zero: a group that
// is done with that run has only new nodes left.
func rotateGroup(s *fleet.Snapshot, g *fleet.Group, c Criterion, begun time.Time) []fleet.Departure {
	var out []fleet.Departure
	for i := range g.Instances {
		in := &g.Instances[i]
		if in.Leaving() {
			continue
		}
		node := s.NodeOf(in.ID)
		why, wanted := c.Wants(g, in, node)
		if g.Mark != nil {
			switch t := markOf(node); {
			case t != nil && t.Value == g.Mark.Run:
				why, wanted = cmp.Or(why, "marked by run "+g.Mark.Run), true
				if wanted = c.Kind != Outdated || OutdatedWhy(g, in) != ""; !wanted {
					continue // the group launches its template again: the run gives the node back
				}
			case !before(in, g.Mark.At) || g.Mark.Raised() && node != nil:
				wanted = false
			}
		} else if !begun.IsZero() {
			wanted = wanted && before(in, begun)
		}
		if !wanted {
			continue
		}
		d := fleet.Departure{Instance: in.ID, Group: g.Name, Cause: fleet.Rotation, Why: why, Replace: true, Release: true}
		if node != nil {
			d.Node = node.Name
		}
		out = append(out, d)
	}
	return out
}

func markOf(n *fleet.Node) *fleet.Taint {
	if n == nil {
		return nil
	}
	return n.Mark()
}

func underWay(s *fleet.Snapshot, groups []string) bool {
	return slices.ContainsFunc(groups, func(name string) bool { return s.Group(name).Mark != nil })
}

func explainNothing(s *fleet.Snapshot, groups []string, c Criterion) string {
	var parts []string
	for _, name := range groups {
		g := s.Group(name)
		switch {
		case len(g.Instances) == 0:
			parts = append(parts, fmt.Sprintf("group %s has no instances", name))
		case c.Kind == Outdated:
			parts = append(parts, fmt.Sprintf("all %d nodes of group %s already run what it launches (%s)", len(g.Instances), name, g.Wants[0]))
		default:
			parts = append(parts, fmt.Sprintf("none of the %d nodes of group %s is chosen by %s", len(g.Instances), name, c))
		}
	}
	return strings.Join(parts, "; ")
}

func (c Criterion) String() string {
	switch c.Kind {
	case OlderThan:
		return "--older-than (launched before " + c.Before.UTC().Format(time.RFC3339) + ")"
	case Selector:
		return "--selector " + c.Words
	}
	return "--" + string(c.Kind)
}

// Drain returns the departure of one node that a person asked for. With release its machine is closed as well.
func Drain(s *fleet.Snapshot, node string, release bool) (fleet.Departure, error) {
	n := s.Node(node)
	if n == nil {
		return fleet.Departure{}, fmt.Errorf("node %s: not found in the cluster", node)
	}
	d := fleet.Departure{Node: node, Instance: n.Instance, Cause: fleet.Drain, Why: "a person asked", Release: release}
	g, in := s.Instance(n.Instance)
	if g != nil {
		d.Group = g.Name
	}
	switch {
	case !release:
	case n.Instance == "":
		return fleet.Departure{}, fmt.Errorf("node %s: its providerID %q is not an EC2 instance, so its machine cannot be closed; drain it without --terminate", node, n.Provider)
	case in == nil:
		return fleet.Departure{}, fmt.Errorf("node %s (%s): belongs to no Auto Scaling group that AWS lists, so its machine cannot be closed with its desired capacity; drain it without --terminate", node, n.Instance)
	case g.Mark != nil:
		return fleet.Departure{}, fmt.Errorf("node %s: run %s is rotating its group %s; let it finish, or drain without --terminate", node, g.Mark.Run, g.Name)
	case g.Desired <= g.Min:
		return fleet.Departure{}, fmt.Errorf("node %s: group %s is at its minimum of %d, closing the machine would go below it; lower the minimum first, or drain without --terminate", node, g.Name, g.Min)
	}
	return d, nil
}
