package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/depart"
	"drover.dev/evac"
	"drover.dev/fleet"
)

func (a *app) explainNodeCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "node NAME", Short: "Why is this node still here, and what would make it go? Or: why did it go?",
		Example: "  drover explain node ip-10-0-1-7.eu-west-1.compute.internal",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeNodes,
		RunE: func(c *cobra.Command, args []string) error {
			return a.explained(c.Context(), func(x *explainer) (*explanation, error) { return x.node(args[0]) })
		},
	}
	a.outputFlag(c)
	return c
}

func (x *explainer) node(name string) (*explanation, error) {
	n := x.Node(name)
	if n == nil {
		r, d, ok := x.went(name)
		if !ok {
			return nil, fmt.Errorf("node %s: not found in the cluster, nor in the record of any run; drover history node %s tells what became of it, kubectl get nodes lists nodes", name, name)
		}
		e := explain("Node %s (%s): is not here any more", name, orDash(d.Instance))
		e.Node, e.Instance, e.Group = name, d.Instance, d.Group
		e.past(r, d)
		return e, nil
	}
	e := explain("Node %s (%s, zone %s)", n.Name, orDash(n.Instance), orDash(n.Zone))
	e.Node, e.Instance = n.Name, n.Instance
	x.origin(e, n)
	x.leaving(e, n)
	return e, nil
}

// origin says whose the node is, and whether it is outdated.
func (x *explainer) origin(e *explanation, n *fleet.Node) {
	g, in := x.Instance(n.Instance)
	switch {
	case n.Instance == "":
		e.say("Its providerID %q names no EC2 instance: it can be drained, and its machine is not drover's to close.", n.Provider)
	case g == nil:
		e.say("Instance %s belongs to no Auto Scaling group that AWS lists.", n.Instance)
	default:
		e.Group = g.Name
		if why := g.Outdated(in); why != "" {
			e.say("It is outdated: it %s.", why)
		} else {
			e.say("It runs what its group %s launches.", g.Name)
		}
		if in.Parked() {
			e.say("Its instance is in %s: it serves nothing, and is kept.", in.Lifecycle)
		}
	}
}

// leaving says whether it is leaving, with what, and what that waits on.
func (x *explainer) leaving(e *explanation, n *fleet.Node) {
	if st, exit := noticed(x.Snapshot, n.Name); st != nil {
		x.taken(e, st, exit)
		return
	}
	st, exit := leavingBy(x.Snapshot, n.Name)
	if st == nil {
		if st = standDrain(x.Snapshot, n); st != nil && len(st.progress.Exits) > 0 {
			exit = &st.progress.Exits[0]
		}
	}
	if exit == nil {
		e.say("It is not leaving: no run has marked it.")
		x.drainability(e, n)
		return
	}
	e.Leaving = st.plan.Run
	if m := n.Mark(); m != nil {
		e.say("It is leaving with run %s (taint %s, %s).", m.Value, fleet.TaintKey, m.Effect)
	} else {
		e.say("It is to leave with run %s, which has not marked it yet.", st.plan.Run)
	}
	e.standing(st, exit)
}

// taken says what AWS gave notice of, and how far drover is with it.
func (x *explainer) taken(e *explanation, st *standing, exit *fleet.ExitProgress) {
	c := x.Case(exit.Departure.Instance)
	e.Leaving = st.plan.Run
	for _, k := range c.Signals {
		switch {
		case !k.Ended.IsZero():
			e.say("AWS gave notice (%s, at %s): %s. That does not hold any more.", k.Kind, moment(k.Heard), k.Why)
		case k.Deadline.IsZero():
			e.say("AWS gave notice (%s, at %s): %s.", k.Kind, moment(k.Heard), k.Why)
		default:
			e.say("AWS gave notice (%s, at %s): %s; time until %s.", k.Kind, moment(k.Heard), k.Why, moment(k.Deadline))
		}
	}
	if run := c.Marks.Rotation; run != "" {
		e.say("Run %s replaces it first.", run)
	}
	e.standing(st, exit)
}

// standing says how far an exit is, what comes next for it and what it waits on.
func (e *explanation) standing(st *standing, exit *fleet.ExitProgress) {
	e.say("It is %s: %s.", exit.Phase, phaseMeans[exit.Phase])
	if exit.Pods > 0 {
		e.say("%s to leave it.", counted(exit.Pods, "pod still has", "pods still have"))
	}
	d := exit.Departure
	for _, a := range st.step.Actions {
		if a.Node != "" && a.Node == d.Node || a.Instance != "" && a.Instance == d.Instance {
			e.say("Next: %s (%s).", a, a.Why)
		}
	}
	switch {
	case exit.Waiting == "":
	case exit.Waiting == st.holdAbout("node "+d.Name()):
		e.say("It %s.", exit.Waiting)
	default:
		e.say("Waiting: %s.", exit.Waiting)
	}
	for _, why := range st.general() {
		if why != exit.Waiting {
			e.say("Waiting: %s.", why)
		}
	}
}

var phaseMeans = map[fleet.ExitPhase]string{
	fleet.ExitWaiting:  "its turn has not come",
	fleet.ExitEmptying: "its pods are moving",
	fleet.ExitLeaving:  "it is empty, and leaves its load balancers",
	fleet.ExitStandby:  "out of service, and kept for the way back",
	fleet.ExitGone:     "nothing more is done to it",
	fleet.ExitReturned: "it is back in service",
}

// drainability says what a drain of the node would meet.
func (x *explainer) drainability(e *explanation, n *fleet.Node) {
	d, err := depart.Drain(x.Snapshot, n.Name, false)
	if err != nil {
		return
	}
	p, findings := evac.Make(x.Snapshot, nil, []fleet.Departure{d}, evac.Options{Run: "explain"})
	good := true
	for _, f := range findings {
		if f.Blocks {
			e.say("It could not be emptied: %s (%s).", f, f.Code)
			good = false
		} else {
			e.say("Worth knowing before it is emptied: %s (%s).", f, f.Code)
		}
	}
	for _, h := range p.Forecast.Stuck {
		e.say("Emptying it would come to a stand: %s.", h)
		good = false
	}
	if good {
		e.say("It could be emptied now: %d pods would move, in about %s.", len(p.Moves), p.Forecast.Took.Round(time.Second))
	}
}
