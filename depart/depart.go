// Package depart decides why a node should go: it turns a snapshot and a wish into departures. How they go is evac's.
//
// Reasons are compared by what the cloud says an instance was launched from, resolved to ids and version numbers, never by names of nodes.
package depart

import (
	"errors"
	"fmt"
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
	why = g.Outdated(in)
	return why, why != ""
}

// Rotate returns the departures that replace the chosen nodes of the named groups, in the order of zone and id. A group in the middle of a run
// is not asked: what leaves it, the run's record says.
func Rotate(s *fleet.Snapshot, groups []string, c Criterion) ([]fleet.Departure, error) {
	var out []fleet.Departure
	for _, name := range groups {
		g := s.Group(name)
		if g == nil {
			return nil, fmt.Errorf("group %s: not found", name)
		}
		if len(g.Wants) == 0 && g.Managed == nil && c.Kind == Outdated {
			return nil, fmt.Errorf("group %s: has neither a launch template nor a launch configuration, so no node of it can be called outdated; choose with --all, --older-than or --selector", name)
		}
		out = append(out, rotateGroup(s, g, c)...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNothing, explainNothing(s, groups, c))
	}
	return out, nil
}

func rotateGroup(s *fleet.Snapshot, g *fleet.Group, c Criterion) []fleet.Departure {
	var out []fleet.Departure
	for i := range g.Instances {
		in := &g.Instances[i]
		if in.Leaving() {
			continue
		}
		node := s.NodeOf(in.ID)
		why, wanted := c.Wants(g, in, node)
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

func explainNothing(s *fleet.Snapshot, groups []string, c Criterion) string {
	var parts []string
	for _, name := range groups {
		g := s.Group(name)
		switch {
		case len(g.Instances) == 0:
			parts = append(parts, fmt.Sprintf("group %s has no instances", name))
		case c.Kind == Outdated && g.Managed != nil:
			parts = append(parts, fmt.Sprintf("all %d nodes of managed node group %s already run what EKS would give them (%s)", len(g.Instances), name, g.Managed.Version))
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
	case g.Managed != nil:
		return fleet.Departure{}, fmt.Errorf("node %s: group %s is managed by EKS, which puts another machine in the place of one that is closed; drain it without --terminate, or lower the node group's size with EKS afterwards", node, g.Name)
	case g.Mark != nil:
		return fleet.Departure{}, fmt.Errorf("node %s: run %s is rotating its group %s; let it finish, or drain without --terminate", node, g.Mark.Run, g.Name)
	case g.Desired <= g.Min:
		return fleet.Departure{}, fmt.Errorf("node %s: group %s is at its minimum of %d, closing the machine would go below it; lower the minimum first, or drain without --terminate", node, g.Name, g.Min)
	}
	return d, nil
}
