package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/depart"
	"drover.dev/evac"
	"drover.dev/fleet"
	"drover.dev/kube"
)

type drain struct {
	terminate bool
	undo      bool
	force     bool
	run       running
}

func (a *app) drainCommand() *cobra.Command {
	var d drain
	c := &cobra.Command{
		Use: "drain NODE", Short: "Empty one node, and close its machine if asked",
		Long: `Empty one node: its pods leave under their budgets, as in a rotation, and it takes no new ones.

The node then stays, marked with drover's own taint; --undo gives it back. With --terminate its machine is closed by its id, after it
left its load balancers, and its group's desired capacity is one less.`,
		Example: "  drover drain ip-10-0-1-7.eu-west-1.compute.internal\n  drover drain ip-10-0-1-7.eu-west-1.compute.internal --terminate --yes",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeNodes,
		RunE: func(c *cobra.Command, args []string) error {
			if d.undo {
				return a.undrain(c.Context(), args[0])
			}
			return a.drain(c.Context(), args[0], &d)
		},
	}
	c.Flags().BoolVar(&d.terminate, "terminate", false, "close the machine when the node is empty")
	c.Flags().BoolVar(&d.undo, "undo", false, "take drover's taint off again")
	c.Flags().BoolVar(&d.force, "force", false, "also evict pods without a controller: nothing brings them back")
	d.run.flags(c)
	for _, other := range []string{"terminate", "force", "wait", "expect-plan", "timeout"} {
		c.MarkFlagsMutuallyExclusive(other, "undo")
	}
	return c
}

func (a *app) drain(ctx context.Context, node string, d *drain) error {
	s, err := a.conn.connect(ctx)
	if err != nil {
		return err
	}
	snapshot, groups, err := s.observeNode(ctx, node)
	if err != nil {
		return err
	}
	departure, err := depart.Drain(&snapshot, node, d.terminate)
	if err != nil {
		return err
	}
	o := evac.Options{Run: newRun(time.Now()), Force: d.force}
	if m := snapshot.Node(node).Mark(); m != nil {
		if of := rotating(&snapshot, m.Value); of != "" {
			return &exit{exitBlocked, fmt.Errorf("node %s: run %s is taking it away already, with its %s; drover status tells how to go on", node, m.Value, of)}
		}
		o.Run = m.Value // an earlier drain of this node: go on with it
	}
	j := &journey{site: s, question: "Empty node " + node + "?", extra: groups}
	j.plan, j.findings = evac.Make(&snapshot, nil, []fleet.Departure{departure}, o)
	if d.terminate {
		j.question = fmt.Sprintf("Empty node %s and close its machine %s for good?", node, departure.Instance)
	}
	if err := j.preflight(ctx, &snapshot, a.err); err != nil {
		return err
	}
	if err := a.carryOut(ctx, j, &d.run); err != nil || d.terminate {
		return err
	}
	fmt.Fprintf(a.err, "Node %s is empty and takes no pods. Give it back with: drover drain --undo %s\n", node, node)
	return nil
}

// rotating names the groups of the rotation that a run is; "" when it is no rotation, or over: then its taint is a person's drain.
func rotating(s *fleet.Snapshot, run string) string {
	if r := s.Rotation(run); r != nil {
		return groupNames(r)
	}
	for i := range s.Groups {
		if r := evac.Ongoing(s, []string{s.Groups[i].Name}); r != nil && r.Run == run {
			return groupNames(r)
		}
	}
	return ""
}

func (a *app) undrain(ctx context.Context, node string) error {
	s, err := a.conn.connect(ctx)
	if err != nil {
		return err
	}
	snapshot, groups, err := s.observeNode(ctx, node)
	if err != nil {
		return err
	}
	if n, err := drainedNode(&snapshot, node); n == nil {
		return a.orNothing(node, err)
	}
	err = s.cluster.Alone(ctx, identity(), a.tellWaiting, func(ctx context.Context) error {
		now, err := s.observe(ctx, groups)
		if err != nil {
			return err
		}
		n, err := drainedNode(&now, node)
		if n == nil {
			return a.orNothing(node, err)
		}
		return a.giveBack(ctx, s, n)
	})
	var busy *kube.Busy
	if errors.As(err, &busy) {
		return &exit{exitBlocked, err}
	}
	return err
}

// drainedNode returns the node if a drain has tainted it, nil if nobody has. That a rotation under way has is an error.
func drainedNode(s *fleet.Snapshot, node string) (*fleet.Node, error) {
	n := s.Node(node)
	if n == nil || n.Mark() == nil {
		return nil, nil
	}
	if of := rotating(s, n.Mark().Value); of != "" {
		return nil, &exit{exitBlocked, fmt.Errorf("node %s: run %s of %s is taking it away; finish that first", node, n.Mark().Value, of)}
	}
	return n, nil
}

func (a *app) orNothing(node string, err error) error {
	if err == nil {
		fmt.Fprintf(a.err, "Node %s carries no taint of drover's; nothing to undo.\n", node)
	}
	return err
}

// giveBack lets a drained node take pods and traffic again.
func (a *app) giveBack(ctx context.Context, s *site, n *fleet.Node) error {
	run := n.Mark().Value
	err := s.cluster.Act(ctx, fleet.Action{Verb: fleet.Untaint, Node: n.Name, Run: run})
	if n.OutBy == run {
		err = errors.Join(err, s.cluster.Act(ctx, fleet.Action{Verb: fleet.Include, Node: n.Name, Run: run}))
	}
	if err == nil {
		fmt.Fprintf(a.err, "Node %s takes pods again.\n", n.Name)
	}
	return err
}
