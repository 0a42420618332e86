package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/depart"
	"drover.dev/evac"
	"drover.dev/fleet"
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
	c.MarkFlagsMutuallyExclusive("terminate", "undo")
	d.run.flags(c)
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
		if g := snapshot.Group(departure.Group); g != nil && g.Mark != nil && g.Mark.Run == m.Value {
			return fmt.Errorf("node %s: run %s is taking it away already, with its group %s; go on with drover rotate %s", node, m.Value, g.Name, g.Name)
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

func (a *app) undrain(ctx context.Context, node string) error {
	s, err := a.conn.connect(ctx)
	if err != nil {
		return err
	}
	snapshot, _, err := s.observeNode(ctx, node)
	if err != nil {
		return err
	}
	n := snapshot.Node(node)
	mark := n.Mark()
	if mark == nil {
		fmt.Fprintf(a.err, "Node %s carries no taint of drover's; nothing to undo.\n", node)
		return nil
	}
	if i := slices.IndexFunc(snapshot.Groups, func(g fleet.Group) bool { return g.Mark != nil && g.Mark.Run == mark.Value }); i >= 0 {
		return fmt.Errorf("node %s: run %s of group %s is taking it away; finish that first", node, mark.Value, snapshot.Groups[i].Name)
	}
	return s.cluster.Alone(ctx, identity(), a.tellWaiting, func(ctx context.Context) error {
		err := s.cluster.Act(ctx, fleet.Action{Verb: fleet.Untaint, Node: node})
		if n.OutBy == mark.Value {
			err = errors.Join(err, s.cluster.Act(ctx, fleet.Action{Verb: fleet.Include, Node: node, Run: mark.Value}))
		}
		if err == nil {
			fmt.Fprintf(a.err, "Node %s takes pods again.\n", node)
		}
		return err
	})
}
