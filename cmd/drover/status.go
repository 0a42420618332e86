package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"drover.dev/depart"
	"drover.dev/fleet"
)

func (a *app) statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "status", Short: "Show the groups, what is outdated, and how far runs are",
		Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return a.status(c.Context()) },
	}
	a.outputFlag(c)
	return c
}

// statusDocument is what status prints.
type statusDocument struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Place      string        `json:"place"`
	Acting     string        `json:"acting,omitempty"` // who holds the lease
	Groups     []groupStatus `json:"groups"`
	Runs       []runStatus   `json:"runs"`
	Drained    []string      `json:"drained,omitempty"` // nodes that a person's drain marked
}

type groupStatus struct {
	Name     string `json:"name"`
	Desired  int    `json:"desired"`
	Min      int    `json:"min"`
	Max      int    `json:"max"`
	Ready    int    `json:"ready"`
	Outdated int    `json:"outdated"`
	Run      string `json:"run,omitempty"`
	Trouble  string `json:"trouble,omitempty"` // why the group could not be read
}

type runStatus struct {
	Run     string   `json:"run"`
	Left    int      `json:"nodesLeft"`
	Next    []string `json:"next,omitempty"`
	Waiting []string `json:"waiting,omitempty"`
}

func (a *app) status(ctx context.Context) error {
	s, err := a.conn.connect(ctx)
	if err != nil {
		return err
	}
	snapshot, err := s.observeAll(ctx)
	if err != nil {
		return err
	}
	d := statusOf(&snapshot, s.place)
	if d.Acting, err = s.cluster.Acting(ctx); err != nil {
		return err
	}
	return a.print(d, func(w io.Writer) {
		fmt.Fprintln(w, d.Place)
		fmt.Fprintln(w)
		var rows [][]string
		for _, g := range d.Groups {
			rows = append(rows, []string{g.Name, fmt.Sprintf("%d (%d-%d)", g.Desired, g.Min, g.Max), fmt.Sprint(g.Ready), fmt.Sprint(g.Outdated), orDash(g.Run)})
		}
		columns(w, "GROUP DESIRED READY OUTDATED RUN", rows)
		for _, g := range d.Groups {
			if g.Trouble != "" {
				fmt.Fprintf(w, "Group %s: %s\n", g.Name, g.Trouble)
			}
		}
		for _, r := range d.Runs {
			fmt.Fprintf(w, "\nRun %s: %d nodes left\n", r.Run, r.Left)
			for _, n := range r.Next {
				fmt.Fprintln(w, "  next     "+n)
			}
			for _, h := range r.Waiting {
				fmt.Fprintln(w, "  waiting  "+h)
			}
		}
		switch {
		case d.Acting != "":
			fmt.Fprintln(w, "\nActing now:", d.Acting)
		case len(d.Runs) > 0:
			fmt.Fprintln(w, "\nNobody is acting on it: start the same command again and it goes on.")
		}
		for _, n := range d.Drained {
			fmt.Fprintf(w, "\nNode %s is drained; give it back with drover drain --undo %s\n", n, n)
		}
	})
}

func statusOf(s *fleet.Snapshot, place string) statusDocument {
	d := statusDocument{APIVersion: "drover.dev/v1alpha1", Kind: "Status", Place: place, Groups: []groupStatus{}, Runs: []runStatus{}}
	seen := map[string]bool{}
	for i := range s.Groups {
		g := &s.Groups[i]
		st := groupStatus{Name: g.Name, Desired: g.Desired, Min: g.Min, Max: g.Max}
		for j := range g.Instances {
			in := &g.Instances[j]
			if n := s.NodeOf(in.ID); n != nil && n.Ready {
				st.Ready++
			}
			if depart.OutdatedWhy(g, in) != "" {
				st.Outdated++
			}
		}
		if m := g.Mark; m != nil {
			st.Run = m.Run
			if !seen[m.Run] {
				seen[m.Run] = true
				d.Runs = append(d.Runs, runOf(s, m.Run))
			}
		}
		st.Trouble = g.Trouble
		d.Groups = append(d.Groups, st)
	}
	for i := range s.Nodes {
		if m := s.Nodes[i].Mark(); m != nil && !seen[m.Value] {
			d.Drained = append(d.Drained, s.Nodes[i].Name)
		}
	}
	return d
}

func runOf(s *fleet.Snapshot, run string) runStatus {
	r := runStatus{Run: run}
	step, ok := next(s, run, nil)
	if !ok {
		return r
	}
	for i := range s.Nodes {
		if m := s.Nodes[i].Mark(); m != nil && m.Value == run {
			r.Left++
		}
	}
	for _, a := range step.Actions {
		r.Next = append(r.Next, a.String())
	}
	for _, h := range step.Holds {
		r.Waiting = append(r.Waiting, h.String())
	}
	return r
}
