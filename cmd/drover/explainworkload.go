package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/env"
	"drover.dev/fleet"
)

func (a *app) explainWorkloadCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "workload [KIND/]NAMESPACE/NAME", Short: "Why is this workload off, since when, and when does it come back?",
		Long: `Say whether a workload is off because its environment sleeps, since when, who asked for that, how it was before, and when it comes back; and who switches
it back on where somebody does. It needs no AWS.`,
		Example: "  drover explain workload staging/web\n  drover explain workload CronJob/staging/report -o json",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.explainWorkload(c.Context(), args[0]) },
	}
	a.outputFlag(c)
	return c
}

func (a *app) explainWorkload(ctx context.Context, name string) error {
	s, err := a.conn.connectStores(ctx)
	if err != nil {
		return err
	}
	snapshot := fleet.Snapshot{Now: time.Now()}
	if err := s.cluster.Observe(ctx, &snapshot); err != nil {
		return err
	}
	if err := s.cluster.WatchEnvironments(ctx); err != nil {
		return err
	}
	if err := s.cluster.ObserveEnvironments(ctx, &snapshot); err != nil {
		return err
	}
	e, err := (&explainer{Snapshot: &snapshot, blind: true}).workload(name)
	if err != nil {
		return err
	}
	return a.print(e, e.print)
}

func (x *explainer) workload(name string) (*explanation, error) {
	p, err := x.findPart(name)
	if err != nil {
		return nil, err
	}
	e := explain("%s", p.ID())
	owner := x.ownerEnvironment(p)
	switch {
	case owner == nil && p.Off:
		e.say("It is off, and belongs to no environment: somebody else switched it off.")
		return e, nil
	case owner == nil:
		e.say("It is on, and belongs to no environment.")
		return e, nil
	}
	e.say("It belongs to environment %s.", owner.Name)
	x.switched(e, p, owner)
	return e, nil
}

// findPart finds what can be switched by kind/namespace/name, or by a namespace/name or a name that only one has.
func (x *explainer) findPart(name string) (*fleet.Part, error) {
	var found []*fleet.Part
	var names []string
	for i := range x.Parts {
		p := &x.Parts[i]
		in := p.Namespace + "/" + p.Name
		if slices.Contains([]string{p.Name, in, p.Kind + "/" + in, p.ID()}, name) {
			found, names = append(found, p), append(names, p.Kind+"/"+in)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("workload %s: there is none of that name that could be switched off", name)
	case len(found) > 1:
		return nil, usagef("workload %s: there are several: %s", name, strings.Join(names, ", "))
	}
	return found[0], nil
}

// ownerEnvironment is the environment that a part belongs to: the one whose sleep has switched it, or the one that chooses it; nil for none.
func (x *explainer) ownerEnvironment(p *fleet.Part) *fleet.Environment {
	for i := range x.Environments {
		if e := &x.Environments[i]; e.Record != nil && e.Record.Part(p.Owner) != nil || p.Mark != nil && p.Mark.Environment == e.Name {
			return e
		}
	}
	for i := range x.Environments {
		if e := &x.Environments[i]; e.Spec.Has(p.Owner, p.Labels) {
			return e
		}
	}
	return nil
}

// switched says what the environment's sleep has to do with a part being off or on.
func (x *explainer) switched(e *explanation, p *fleet.Part, owner *fleet.Environment) {
	r := owner.Record
	switch {
	case r == nil && p.Off && p.Mark != nil:
		e.say("It is off since sleep %s, which is not on file any more: drover env repair %s.", p.Mark.Run, owner.Name)
		return
	case r == nil && p.Off:
		e.say("It is off, but the environment is on: somebody else switched it off, and drover leaves it so.")
		return
	case r == nil:
		e.say("It is on, as the environment is.")
		x.wakes(e, owner)
		return
	}
	was := r.Part(p.Owner)
	switch {
	case was == nil && p.Off:
		e.say("It was off before the environment went to sleep, and stays off when it wakes.")
		return
	case p.Off:
		e.say("It is off because environment %s sleeps since %s; %s asked for that%s.", owner.Name, clocked(owner, r.At), orSomebody(r.By), forThat(r.Why))
	default:
		state, _ := env.State(owner)
		e.say("It is on, while environment %s is %s.", owner.Name, state)
	}
	if was != nil {
		e.say("Before that it had %s; a start brings that back.", hadThen(was))
	}
	for _, f := range r.Fights {
		if f.Subject == p.ID() {
			e.say("%s switched it back on %s, last at %s.", f.By, counted(f.Times, "time", "times"), clocked(owner, f.Last))
		}
	}
	x.wakes(e, owner)
}

// hadThen is how a part was, as the object of a sentence.
func hadThen(r *fleet.PartRecord) string {
	switch n := replicas(r); {
	case r.Turn != fleet.Scaled:
		return "its usual course (" + onWord(r.Turn) + ")"
	case n == "1":
		return "1 replica"
	default:
		return n + " replicas"
	}
}

func forThat(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// wakes says what is wanted of the environment, and when that changes.
func (x *explainer) wakes(e *explanation, owner *fleet.Environment) {
	w := env.Want(owner, x.Now)
	switch {
	case !w.Known:
		e.say("It stays so until somebody says otherwise: drover env start %s, drover env stop %s.", owner.Name, owner.Name)
	case w.Next.IsZero():
		e.say("The environment is to be %s: %s.", onOff(w.On), w.Why)
	default:
		e.say("The environment is to be %s until %s: %s.", onOff(w.On), clocked(owner, w.Next), w.Why)
	}
}

// asleep says of a pod that is not there whether its workload is off because its environment sleeps; "" when nothing says so. A pod's name begins with
// its workload's.
func (x *explainer) asleep(pod string) string {
	namespace, name, in := strings.Cut(pod, "/")
	if !in {
		namespace, name = "", pod
	}
	var best *fleet.Part
	for i := range x.Parts {
		p := &x.Parts[i]
		if p.Off && p.Turn == fleet.Scaled && (namespace == "" || p.Namespace == namespace) && strings.HasPrefix(name, p.Name+"-") && (best == nil || len(p.Name) > len(best.Name)) {
			best = p
		}
	}
	if best == nil {
		return ""
	}
	owner := x.ownerEnvironment(best)
	if owner == nil || owner.Record == nil {
		return ""
	}
	return fmt.Sprintf("; %s is off because environment %s sleeps since %s: drover explain workload %s/%s/%s", best.ID(), owner.Name, clocked(owner, owner.Record.At), best.Kind, best.Namespace, best.Name)
}
