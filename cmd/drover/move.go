package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/evac"
	"drover.dev/fleet"
)

type moving struct {
	namespace string
	force     bool
	run       running
}

func (a *app) moveCommand() *cobra.Command {
	var m moving
	c := &cobra.Command{
		Use: "move POD", Short: "Move one pod by hand, as its mover does it",
		Long: `Move one pod by hand, through the same door: within its budgets, and, when it is one of a store (docs/stores.md), by the store's mover: a master
hands its role over first, and everything is as before at the end. The plan is shown first, step by step, with what blocks it. The node stays as it is:
cordon it first where the pod is not to come back to it.

POD is namespace/name, or a name that only one namespace has. Ctrl-C stops after the actions in flight and says what state is left. The same command goes on
from there, also when the process was killed: while a move is in progress the pod's name means that move, and not the pod that has come back.`,
		Example: "  drover move shop/orders-0\n  drover move orders-0 -n shop --yes",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.move(c.Context(), args[0], &m) },
	}
	c.Flags().StringVarP(&m.namespace, "namespace", "n", "", "the pod's namespace (otherwise the one that has a pod of that name)")
	c.Flags().BoolVar(&m.force, "force", false, "also evict a pod without a controller: nothing brings it back")
	m.run.flags(c)
	return c
}

func (a *app) move(ctx context.Context, pod string, m *moving) error {
	name, err := inNamespace(pod, m.namespace)
	if err != nil {
		return err
	}
	s, err := a.conn.connectStores(ctx)
	if err != nil {
		return err
	}
	snapshot, err := s.observe(ctx, nil)
	if err != nil {
		return err
	}
	j := &journey{site: s}
	if j.plan, j.findings, err = planMove(&snapshot, name, evac.Options{Run: newRun(time.Now()), Requester: requester(), Force: m.force}); err != nil {
		return err
	}
	if j.plan.Resumed {
		fmt.Fprintf(a.err, "Going on with run %s, which began to move the pod at %s.\n", j.plan.Run, j.plan.At.Local().Format(time.DateTime))
	}
	j.try(ctx, tried(&snapshot, &j.plan), a.err)
	slices.SortStableFunc(j.findings, func(a, b fleet.Finding) int { return rank(a) - rank(b) })
	j.question = fmt.Sprintf("Move pod %s?", j.plan.Pods[0])
	return a.carryOut(ctx, j, &m.run)
}

// inNamespace is the full name of a pod, as far as it was said.
func inNamespace(pod, namespace string) (string, error) {
	if of, _, full := strings.Cut(pod, "/"); full {
		if namespace != "" && namespace != of {
			return "", usagef("pod %s is not in namespace %s", pod, namespace)
		}
		return pod, nil
	}
	if namespace == "" {
		return pod, nil
	}
	return namespace + "/" + pod, nil
}

// planMove plans the move of the pod of that name; or the rest of one that a process began which is gone: then the name means that.
func planMove(s *fleet.Snapshot, name string, o evac.Options) (evac.Plan, []fleet.Finding, error) {
	if st := halfMoved(s, name); st != nil {
		return restOfMove(s, st, o)
	}
	pod, err := (&explainer{Snapshot: s}).findPod(name)
	if err != nil {
		return evac.Plan{}, nil, err
	}
	if why := temporary(s, pod); why != "" {
		return evac.Plan{}, nil, &exit{exitBlocked, fmt.Errorf("pod %s: %s", pod.Ref, why)}
	}
	p, findings := evac.MakePods(s, []fleet.PodRef{pod.Ref}, o)
	if st := s.StoreOf(pod.Ref.UID); st != nil && st.Move != nil {
		p.Notes = append(p.Notes, fmt.Sprintf("store %s is in the middle of moving pod %s, by run %s: that is finished first", st.Name, st.Move.Pod, st.Move.Run))
	}
	if n := s.Node(pod.Node); n != nil && !n.Cordoned && n.Mark() == nil {
		p.Notes = append(p.Notes, fmt.Sprintf("node %s stays open, so the scheduler may choose it again; kubectl cordon %s keeps the pod off it", n.Name, n.Name))
	}
	if !evac.Blocked(findings) {
		p.Forecast = evac.Preview(p, *s)
	}
	return p, findings, nil
}

// temporary says, of a pod that drover made to help a move, how it goes; "" of any other. It may be the only one with the data.
func temporary(s *fleet.Snapshot, p *fleet.Pod) string {
	st := s.StoreOf(p.Ref.UID)
	if st == nil {
		return ""
	}
	switch m := st.Member(p.Ref.Name); {
	case m == nil || !m.Temp:
		return ""
	case st.Move == nil:
		return fmt.Sprintf("it is drover's temporary pod of store %s, left by a move that is over; drover stores %s shows what it holds", st.Name, st.Name)
	case st.Move.Idle:
		return fmt.Sprintf("it is drover's temporary pod of store %s, and goes with the move of pod %s, which goes on with: %s", st.Name, st.Move.Pod, goesOn(s, st.Move))
	}
	return fmt.Sprintf("it is drover's temporary pod of store %s, and goes with the move of pod %s, which run %s makes now", st.Name, st.Move.Pod, st.Move.Run)
}

// halfMoved is the store that is in the middle of moving a pod of that name; nil when none is.
func halfMoved(s *fleet.Snapshot, name string) *fleet.Store {
	for i := range s.Stores {
		if m := s.Stores[i].Move; m != nil && (m.Pod.String() == name || m.Pod.Name == name) {
			return &s.Stores[i]
		}
	}
	return nil
}

// restOfMove plans what is left of a move. Runs that have a command of their own, which knows the rest of them, are left to that.
func restOfMove(s *fleet.Snapshot, st *fleet.Store, o evac.Options) (evac.Plan, []fleet.Finding, error) {
	m := st.Move
	switch {
	case m.Run == fleet.NoticeRun && !m.Idle:
		return evac.Plan{}, nil, &exit{exitBlocked, fmt.Errorf("pod %s: drover controller is moving it already; drover stores %s shows how far", m.Pod, st.Name)}
	case m.Run == fleet.NoticeRun, s.Rotation(m.Run) != nil:
		return evac.Plan{}, nil, &exit{exitBlocked, fmt.Errorf("pod %s: run %s is in the middle of moving it; it goes on with: %s", m.Pod, m.Run, goesOn(s, m))}
	}
	p := evac.Plan{Run: m.Run, At: m.Since, Force: o.Force, Pods: []fleet.PodRef{m.Pod}, Resumed: true}
	p.Moves = []evac.Move{{Pod: m.Pod, From: m.Node, Lane: "pod " + m.Pod.String(), Why: fmt.Sprintf("mover %s: with store %s; begun, it goes on", st.Mover, st.Name)}}
	if p.Forecast = evac.Preview(p, *s); len(p.Forecast.Stuck) > 0 {
		p.Forecast = evac.Forecast{} // what others are about to say, a forecast cannot know; the run waits for it
	}
	return p, nil, nil
}

// wentMeanwhile tells which of the pods that a person asked to move is not there any more, or moved by others by now.
func wentMeanwhile(s *fleet.Snapshot, p *evac.Plan) error {
	for _, ref := range p.Pods {
		st := halfMoved(s, ref.String())
		here := slices.ContainsFunc(s.Pods, func(q fleet.Pod) bool { return q.Ref.UID == ref.UID })
		switch {
		case st != nil && st.Move.Run == p.Run:
		case st != nil && !st.Move.Idle:
			return fmt.Errorf("run %s began to move pod %s", st.Move.Run, ref)
		case !here && p.Resumed:
			return fmt.Errorf("run %s was finished by another process", p.Run)
		case !here:
			return fmt.Errorf("pod %s went", ref)
		}
	}
	return nil
}

// halfWay says in which state a run leaves the stores that it moves pods of.
func halfWay(s *fleet.Snapshot, run string) []string {
	var out []string
	for i := range s.Stores {
		st := &s.Stores[i]
		if st.Move == nil || st.Move.Run != run {
			continue
		}
		text := fmt.Sprintf("Store %s is half way with pod %s", st.Name, st.Move.Pod)
		if now := stateOf(st); now != "" {
			text += " (" + now + ")"
		}
		out = append(out, fmt.Sprintf("%s; next: %s.", text, stepNow(s, st)))
	}
	return out
}

// stateOf is what is not as it was before the move: it stays so until somebody goes on.
func stateOf(st *fleet.Store) string {
	var parts []string
	for i := range st.Members {
		m := &st.Members[i]
		if m.Trouble != "" {
			continue
		}
		if m.Temp {
			parts = append(parts, "temporary pod "+m.Pod.Name+" is there")
		}
		before, ok := st.Move.Before(m.Pod.Name)
		if !ok {
			continue
		}
		if before.Fence != m.Fence {
			parts = append(parts, fmt.Sprintf("%s takes writes only with %s within %d s", m.Pod.Name, counted(m.Fence.Replicas, "replica", "replicas"), m.Fence.Lag))
		}
		if before.Priority != m.Priority {
			parts = append(parts, fmt.Sprintf("replica-priority of %s is %d, before %d", m.Pod.Name, m.Priority, before.Priority))
		}
	}
	if st.Move.Home && st.Move.Switches > 0 {
		parts = append(parts, "its role was handed over")
	}
	return strings.Join(parts, ", ")
}
