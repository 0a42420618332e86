package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/fleet"
	"drover.dev/kube"
)

func (a *app) historyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "history", Short: "What happened to a node, who did it, and who says so",
		Example: "  drover history node ip-10-0-1-7.eu-west-1.compute.internal",
	}
	family(c)
	c.AddCommand(a.historyNodeCommand())
	return c
}

func (a *app) historyNodeCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "node NAME", Short: "Who took my node? The timeline of its taints, labels, evictions, hooks and scaling activities, each with its source",
		Long: `Tell what happened to a node, in the order of time: notices of AWS, drover's own actions, Kubernetes' Events about it and its pods, who last wrote its
taints and labels, and Auto Scaling's activities with the cause in AWS's words. NAME is the node's, or its instance's id; the node may be gone.

What is kept: Departures of the last ` + fmt.Sprint(kube.KeepCases) + ` nodes that AWS took and of the last runs, Kubernetes' Events for as long as the API server keeps them (an hour, usually),
Auto Scaling's activities for six weeks.`,
		Example: "  drover history node ip-10-0-1-7.eu-west-1.compute.internal\n  drover history node i-0123456789abcdef0 -o json",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeNodes,
		RunE: func(c *cobra.Command, args []string) error { return a.history(c.Context(), args[0]) },
	}
	a.outputFlag(c)
	return c
}

// historyDocument is what history prints.
type historyDocument struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Node       string         `json:"node,omitempty"`
	Instance   string         `json:"instance,omitempty"`
	Group      string         `json:"group,omitempty"`
	Here       bool           `json:"here"` // whether the node is in the cluster
	Entries    []historyEntry `json:"entries"`
	Missing    []string       `json:"missing,omitempty"` // what could not be read
}

type historyEntry struct {
	At     time.Time `json:"at"`
	Source string    `json:"source"`
	What   string    `json:"what"`
}

func (a *app) history(ctx context.Context, name string) error {
	s, err := a.conn.connect(ctx)
	if err != nil {
		return err
	}
	snapshot, err := s.observeAll(ctx)
	if err != nil {
		return err
	}
	d := historyDocument{APIVersion: "drover.dev/v1alpha1", Kind: "History"}
	if err := s.whoIs(ctx, &snapshot, name, &d); err != nil {
		return err
	}
	var all []fleet.Entry
	add := func(es []fleet.Entry, err error) {
		all = append(all, es...)
		if err != nil {
			d.Missing = append(d.Missing, strings.Split(err.Error(), "\n")...)
		}
	}
	add(s.cluster.Trail(ctx, d.Node, d.Instance))
	if d.Group != "" && d.Instance != "" {
		add(s.cloud.Trail(ctx, d.Group, d.Instance))
	}
	fleet.SortEntries(all)
	for _, e := range all {
		d.Entries = append(d.Entries, historyEntry{e.At, e.Source, e.What})
	}
	if len(d.Entries) == 0 && !d.Here {
		return fmt.Errorf("node %s: neither in the cluster nor in anything that is kept of it; drover history node --help says what is", name)
	}
	return a.print(&d, func(w io.Writer) { historyTable(w, &d) })
}

// whoIs finds node, instance and group by a name, from the cluster as it is, else from what is kept of departures.
func (s *site) whoIs(ctx context.Context, snapshot *fleet.Snapshot, name string, d *historyDocument) error {
	n := snapshot.Node(name)
	if n == nil {
		n = snapshot.NodeOf(name)
	}
	if n != nil {
		d.Node, d.Instance, d.Here = n.Name, n.Instance, true
	} else {
		gone, ok, err := s.cluster.Departed(ctx, name)
		switch {
		case err != nil:
			return err
		case ok:
			d.Node, d.Instance, d.Group = gone.Node, gone.Instance, gone.Group
		case strings.HasPrefix(name, "i-"):
			d.Instance = name
		default:
			d.Node = name
		}
	}
	if g, _ := snapshot.Instance(d.Instance); g != nil {
		d.Group = g.Name
	}
	return nil
}

func historyTable(w io.Writer, d *historyDocument) {
	here := ""
	if !d.Here {
		here = "; it is not in the cluster any more"
	}
	fmt.Fprintf(w, "Node %s (%s, group %s)%s\n\n", orDash(d.Node), orDash(d.Instance), orDash(d.Group), here)
	var rows [][]string
	for _, e := range d.Entries {
		rows = append(rows, []string{e.At.UTC().Format("2006-01-02T15:04:05Z"), e.Source, e.What})
	}
	columns(w, "TIME SOURCE WHAT", rows)
	for _, m := range d.Missing {
		fmt.Fprintln(w, "\nNot told:", m)
	}
}
