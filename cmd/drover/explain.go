package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/depart"
	"drover.dev/evac"
	"drover.dev/fleet"
)

func (a *app) explainCommand() *cobra.Command {
	explain := &cobra.Command{Use: "explain", Short: "Say why something is as it is"}
	c := &cobra.Command{
		Use: "node NAME", Short: "Why is this node still here, and what would make it go?",
		Example: "  drover explain node ip-10-0-1-7.eu-west-1.compute.internal",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeNodes,
		RunE: func(c *cobra.Command, args []string) error { return a.explainNode(c.Context(), args[0]) },
	}
	a.outputFlag(c)
	explain.AddCommand(c)
	return explain
}

// explanation is what explain node prints.
type explanation struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Node       string   `json:"node"`
	Instance   string   `json:"instance,omitempty"`
	Group      string   `json:"group,omitempty"`
	Leaving    string   `json:"leavingWithRun,omitempty"`
	Sentences  []string `json:"sentences"`
}

func (a *app) explainNode(ctx context.Context, name string) error {
	s, err := a.conn.connect(ctx)
	if err != nil {
		return err
	}
	snapshot, err := s.observeAll(ctx)
	if err != nil {
		return err
	}
	n := snapshot.Node(name)
	if n == nil {
		return fmt.Errorf("node %s: not found in the cluster; drover status lists groups, kubectl get nodes lists nodes", name)
	}
	e := explainIn(&snapshot, n)
	return a.print(e, func(w io.Writer) {
		fmt.Fprintf(w, "Node %s (%s, zone %s)\n", e.Node, orDash(e.Instance), orDash(n.Zone))
		for _, line := range e.Sentences {
			fmt.Fprintln(w, "  "+line)
		}
	})
}

func explainIn(s *fleet.Snapshot, n *fleet.Node) explanation {
	e := explanation{APIVersion: "drover.dev/v1alpha1", Kind: "Explanation", Node: n.Name, Instance: n.Instance}
	say := func(format string, args ...any) { e.Sentences = append(e.Sentences, fmt.Sprintf(format, args...)) }
	g, in := s.Instance(n.Instance)
	switch {
	case n.Instance == "":
		say("Its providerID %q names no EC2 instance: it can be drained, and its machine is not drover's to close.", n.Provider)
	case g == nil:
		say("Instance %s belongs to no Auto Scaling group that AWS lists.", n.Instance)
	default:
		e.Group = g.Name
		if why := depart.OutdatedWhy(g, in); why != "" {
			say("It is outdated: it %s.", why)
		} else {
			say("It runs what its group %s launches.", g.Name)
		}
	}
	mark := n.Mark()
	if mark == nil {
		say("It is not leaving: no run has marked it.")
		e.Sentences = append(e.Sentences, drainability(s, n)...)
		return e
	}
	e.Leaving = mark.Value
	say("It is leaving with run %s (taint %s, %s).", mark.Value, fleet.TaintKey, mark.Effect)
	step, ok := next(s, mark.Value, n)
	if !ok {
		return e
	}
	pods := 0
	for _, p := range s.PodsOn(n.Name) {
		if p.Stays() == "" {
			pods++
		}
	}
	say("%d pods still have to leave it.", pods)
	for _, a := range step.Actions {
		if a.Node == n.Name || a.Instance == n.Instance && a.Instance != "" {
			say("Next: %s (%s).", a, a.Why)
		}
	}
	for _, h := range step.Holds {
		say("Waiting: %s.", h)
	}
	return e
}

// drainability says what a drain of the node would meet.
func drainability(s *fleet.Snapshot, n *fleet.Node) []string {
	d, err := depart.Drain(s, n.Name, false)
	if err != nil {
		return nil
	}
	p, problems := evac.Make(s, nil, []fleet.Departure{d}, evac.Options{Run: "explain"})
	var out []string
	for _, pr := range problems {
		out = append(out, "It could not be emptied: "+pr.String()+".")
	}
	for _, h := range p.Forecast.Stuck {
		out = append(out, "Emptying it would come to a stand: "+h.String()+".")
	}
	if len(out) == 0 {
		out = append(out, fmt.Sprintf("It could be emptied now: %d pods would move, in about %s.", len(p.Moves), p.Forecast.Took.Round(time.Second)))
	}
	return out
}

// next asks evac what a run in progress would do now. The run's plan is made from what it wrote on its groups and nodes.
func next(s *fleet.Snapshot, run string, n *fleet.Node) (evac.Step, bool) {
	var groups []string
	kind := depart.Outdated
	for i := range s.Groups {
		if m := s.Groups[i].Mark; m != nil && m.Run == run {
			groups = append(groups, s.Groups[i].Name)
			kind = depart.Kind(m.Criterion)
		}
	}
	var departures []fleet.Departure
	var err error
	if len(groups) == 0 {
		var d fleet.Departure
		d, err = depart.Drain(s, n.Name, false)
		departures = []fleet.Departure{d}
	} else {
		c := depart.Criterion{Kind: kind, Before: s.Now, Match: func(n *fleet.Node) bool { return n.Mark() != nil }}
		departures, err = depart.Rotate(s, groups, c)
	}
	if err != nil {
		return evac.Step{}, false
	}
	p, _ := evac.Make(s, groups, departures, evac.Options{Run: run, Criterion: string(kind)})
	step := evac.Next(p, *s)
	slices.SortFunc(step.Holds, func(a, b fleet.Hold) int { return strings.Compare(a.Subject, b.Subject) })
	return step, true
}
