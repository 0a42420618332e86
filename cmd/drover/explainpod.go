package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/depart"
	"drover.dev/evac"
	"drover.dev/fleet"
)

func (a *app) explainPodCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "pod NAMESPACE/NAME", Short: "How would this pod move, what does it wait for, and why could it not?",
		Long: `Say how a pod leaves its node or would leave it: by which mover, in which lane, what it waits for and what comes next;
of a pod of a store, who decided on the mover, what state the store is in, and who asked for the move. A name without a
namespace is looked for in all of them. Without AWS credentials it says what the cluster alone knows.`,
		Example: "  drover explain pod shop/api-6d5f-x2x7q\n  drover explain pod api-6d5f-x2x7q -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.explainPod(c.Context(), args[0])
		},
	}
	a.outputFlag(c)
	return c
}

// explainPod needs no AWS: who moves a pod, and how, stands in the cluster.
func (a *app) explainPod(ctx context.Context, name string) error {
	s, err := a.conn.connectStores(ctx)
	if err != nil {
		return err
	}
	if s.cloud, _, err = a.conn.connectAWS(ctx); ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		fmt.Fprintln(a.err, "Groups and instances are not told of:", err)
	}
	return a.explainedOf(ctx, s, func(x *explainer) (*explanation, error) { return x.pod(name) })
}

// findPod finds a pod by namespace/name, or by a name that only one namespace has.
func (x *explainer) findPod(name string) (*fleet.Pod, error) {
	var found []*fleet.Pod
	for i := range x.Pods {
		if p := &x.Pods[i]; p.Ref.String() == name || p.Ref.Name == name {
			found = append(found, p)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("pod %s: not found in the cluster; a pod that was moved lives on under a new name: kubectl get pods -A -o wide%s", name, x.asleep(name))
	case len(found) > 1:
		var names []string
		for _, p := range found {
			names = append(names, p.Ref.String())
		}
		return nil, usagef("pod %s: there are several: %s", name, strings.Join(names, ", "))
	}
	return found[0], nil
}

func (x *explainer) pod(name string) (*explanation, error) {
	p, err := x.findPod(name)
	if err != nil {
		return nil, err
	}
	e := explain("Pod %s (of %s, on %s)", p.Ref, p.Owner, orDash(p.Node))
	e.Node = p.Node
	n := x.Node(p.Node)
	switch {
	case p.Node == "":
		x.unplaced(e, p)
		return e, nil
	case n == nil:
		e.say("Its node %s is not in the cluster.", p.Node)
		return e, nil
	case p.Stays() != "":
		e.say("It does not move: %s.", p.Stays())
		return e, nil
	}
	x.present(e, p)
	x.owned(e, p)
	if node, why := evac.Fits(x.Snapshot, p); node != "" {
		e.say("There is room for it elsewhere now, most of it on node %s.", node)
	} else if !p.Finished && !p.Terminating {
		e.say("There is nowhere else for it now: %s.", why)
	}
	if m := n.Mark(); x.blind && m != nil {
		e.Leaving = m.Value
		e.say("Its node %s is leaving with run %s; how far that is takes AWS to tell.", n.Name, m.Value)
		return e, nil
	}
	if x.blind {
		e.say("No run has marked its node to leave.")
		x.wouldMove(e, p)
		return e, nil
	}
	st, _ := leavingBy(x.Snapshot, n.Name)
	if st == nil {
		st = standDrain(x.Snapshot, n)
	}
	if st == nil {
		e.say("Its node is not leaving, so it stays where it is.")
		x.wouldMove(e, p)
		return e, nil
	}
	e.Leaving = st.plan.Run
	x.moves(e, p, st)
	return e, nil
}

// unplaced is about a pod that has no node: usually the replacement of one that moved.
func (x *explainer) unplaced(e *explanation, p *fleet.Pod) {
	e.say("It has no node yet, for %s now.", x.Now.Sub(p.Created).Round(time.Second))
	if p.Unplaced != "" {
		e.say("The scheduler says: %s.", strings.TrimSuffix(p.Unplaced, "."))
	}
}

func (x *explainer) present(e *explanation, p *fleet.Pod) {
	switch {
	case p.Finished:
		e.say("It has finished.")
	case p.Terminating:
		e.say("It is shutting down, and has until %s (grace %s).", moment(p.Deleted), p.Grace)
	case p.Ready:
		e.say("It is Ready since %s.", moment(p.ReadySince))
	case !p.Unready.IsZero():
		e.say("It is not Ready since %s.", moment(p.Unready))
	default:
		e.say("It is not Ready.")
	}
}

// moves says how a pod on a departing node leaves it.
func (x *explainer) moves(e *explanation, p *fleet.Pod, st *standing) {
	e.say("Its node %s is leaving with run %s.", p.Node, st.plan.Run)
	i := slices.IndexFunc(st.plan.Moves, func(m evac.Move) bool { return m.Pod.UID == p.Ref.UID })
	if i < 0 {
		e.say("The run does not move it.")
		return
	}
	m := st.plan.Moves[i]
	x.mover(e, p, &m)
	if p.Terminating {
		e.say("It is on its way; its controller starts the replacement.")
		return
	}
	for _, a := range st.step.Actions {
		if a.Pod.UID == p.Ref.UID {
			e.say("Next: %s (%s).", a, a.Why)
			return
		}
	}
	x.waits(e, p, &m, st)
	for _, f := range st.findings {
		if x.concerns(f, p) {
			e.say("%s: %s (%s).", weight(f), f, f.Code)
		}
	}
	e.turn(p, &st.plan.Forecast)
}

// turn says when the pod's move comes, if all goes well.
func (e *explanation) turn(p *fleet.Pod, f *evac.Forecast) {
	for _, ev := range f.Events {
		if ev.Action.Pod.UID == p.Ref.UID && (ev.Action.Verb == fleet.Evict || ev.Action.Verb == fleet.Surge) {
			e.say("If all goes well its turn comes in about %s: %s.", ev.After.Round(time.Second), ev.Action.Verb)
			return
		}
	}
}

// mover says by which mover the pod leaves, and in which lane.
func (x *explainer) mover(e *explanation, p *fleet.Pod, m *evac.Move) {
	switch w := x.Workload(p.Owner); {
	case p.Finished:
		e.say("It is removed with its node.")
		return
	case p.Courted != nil:
		e.say("It is evicted when its operator has done its part, with its UID.")
	case confirmed(x.StoreOf(p.Ref.UID)):
		e.say("It moves with its store: one pod of it at a time, and the next only when that one is back with all the data and everything is as it was.")
		e.say("It is evicted, with its UID and within its budgets, when what it holds allows that.")
	case w != nil && w.Surge != nil && w.Surge.Pod == p.Ref.UID:
		e.say("It moves by surge: %s has one replica more (%d, before %d), and gives it back when all are Ready; this pod is the one to go.", p.Owner, w.Replicas, w.Surge.Replicas)
	case m.Why == "its replacement comes first":
		e.say("It moves by surge: %s gets one replica more first, and this pod goes when all are Ready. It is never evicted.", p.Owner)
	default:
		e.say("It moves by eviction, with its UID: what is reborn under its name is left alone.")
		if m.Why != "" {
			e.say("Mind: %s.", m.Why)
		}
	}
	e.say("Its lane is %s: pods of that lane share one pace, over all nodes that leave.", m.Lane)
	for _, name := range p.Budgets {
		if b := x.Budget(name); b != nil {
			e.say("Budget %s: %d healthy, needs %d of %d, allows %d now.", b.Name, b.Healthy, b.Desired, b.Expected, b.Allowed)
		}
	}
}

// waits says what the pod waits for, from the nearest reason to the farthest.
func (x *explainer) waits(e *explanation, p *fleet.Pod, m *evac.Move, st *standing) {
	said := false
	about := []string{"pod " + p.Ref.String(), m.Lane, "node " + p.Node}
	if own := x.StoreOf(p.Ref.UID); own != nil {
		about = append(about, "store "+own.Name)
	}
	for _, subject := range about {
		if why := st.holdAbout(subject); why != "" {
			e.say("It waits: %s: %s.", subject, why)
			said = true
		}
	}
	for _, why := range st.general() {
		e.say("The run waits: %s.", why)
		said = true
	}
	if !said {
		e.say("Its turn has not come: its node goes after others.")
	}
}

func (x *explainer) concerns(f fleet.Finding, p *fleet.Pod) bool {
	if f.Subject == "pod "+p.Ref.String() || f.Subject == p.Owner.String() {
		return true
	}
	return slices.ContainsFunc(p.Budgets, func(b string) bool { return f.Subject == "budget "+b })
}

func weight(f fleet.Finding) string {
	if f.Blocks {
		return "It could not move"
	}
	return "Worth knowing"
}

// wouldMove says how the pod would leave if its node were drained now.
func (x *explainer) wouldMove(e *explanation, p *fleet.Pod) {
	d, err := depart.Drain(x.Snapshot, p.Node, false)
	if err != nil {
		return
	}
	plan, findings := evac.Make(x.Snapshot, nil, []fleet.Departure{d}, evac.Options{Run: "explain"})
	for i := range plan.Moves {
		if m := &plan.Moves[i]; m.Pod.UID == p.Ref.UID {
			x.mover(e, p, m)
			e.course(p.Ref, &plan.Forecast)
		}
	}
	for _, f := range findings {
		if x.concerns(f, p) {
			e.say("%s: %s (%s).", weight(f), f, f.Code)
		}
	}
	for _, h := range plan.Forecast.Stuck {
		if h.Subject == "pod "+p.Ref.String() {
			e.say("It could not move now: %s.", h.Reason)
		}
	}
}
