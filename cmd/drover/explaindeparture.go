package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"drover.dev/fleet"
)

func (a *app) explainDepartureCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "departure NAME", Short: "How far is the departure of a node, what does it wait on, and who asked for it?",
		Long: `Say how far the departure of a node is. NAME is the node's, its instance's id, or the Departure object's (RUN.NODE).
Of runs that are over their records tell.`,
		Example: "  drover explain departure ip-10-0-1-7.eu-west-1.compute.internal\n  drover explain departure i-0123456789abcdef0",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeNodes,
		RunE: func(c *cobra.Command, args []string) error {
			return a.explained(c.Context(), func(x *explainer) (*explanation, error) { return x.departure(args[0]) })
		},
	}
	a.outputFlag(c)
	return c
}

func (x *explainer) departure(name string) (*explanation, error) {
	short := x.withoutRun(name)
	if st, exit := noticed(x.Snapshot, short); st != nil {
		e := explain("Departure of %s, of which AWS gave notice", exit.Departure.Name())
		e.Node, e.Instance, e.Group = exit.Departure.Node, exit.Departure.Instance, exit.Departure.Group
		x.taken(e, st, exit)
		return e, nil
	}
	if st, exit := leavingBy(x.Snapshot, short); st != nil {
		return x.ofRun(st, exit), nil
	}
	if n := x.Node(short); n != nil {
		if st := standDrain(x.Snapshot, n); st != nil && len(st.progress.Exits) > 0 {
			e := explain("Departure of node %s, by a person's drain", n.Name)
			e.Node, e.Instance, e.Leaving = n.Name, n.Instance, st.plan.Run
			e.standing(st, &st.progress.Exits[0])
			return e, nil
		}
	}
	if r, d, ok := x.went(short); ok {
		e := explain("Departure of %s from group %s, over", d.Name(), d.Group)
		e.Node, e.Instance, e.Group = d.Node, d.Instance, d.Group
		e.past(r, d)
		return e, nil
	}
	return nil, fmt.Errorf("departure %s: neither under way nor in the record of any run; drover status lists the runs under way", name)
}

// withoutRun takes the run's id off the name of a Departure object.
func (x *explainer) withoutRun(name string) string {
	for i := range x.records {
		if rest, ok := strings.CutPrefix(name, x.records[i].Run+"."); ok {
			return rest
		}
	}
	return name
}

func (x *explainer) ofRun(st *standing, exit *fleet.ExitProgress) *explanation {
	d, r := exit.Departure, st.record
	e := explain("Departure of %s from group %s, run %s", d.Name(), d.Group, r.Run)
	e.Node, e.Instance, e.Group, e.Leaving = d.Node, d.Instance, d.Group, r.Run
	e.say("It goes because it %s.", d.Why)
	e.say("%s asked for the run %s, at %s.", orSomebody(r.Requester), x.ago(r.At), moment(r.At))
	if r.Intent == fleet.Back {
		e.say("The run is being taken back%s.", x.since(r))
	}
	if r.Paused != nil {
		e.say("The run is %s, since %s; drover resume %s.", r.Paused, moment(r.Paused.At), r.Run)
	}
	e.standing(st, exit)
	return e
}

func (x *explainer) since(r *fleet.RotationRecord) string {
	if r.Marks.Undoing.IsZero() {
		return ""
	}
	return ", since " + moment(r.Marks.Undoing)
}
