package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// crashBack is how long a kubelet waits before it starts a container again that has crashed for the first time, and starting it.
const crashBack = 2 * time.Second

func noPod(what string, ref fleet.PodRef) error {
	return fmt.Errorf("%s pod %s: there is none", what, ref)
}

// Attend says for which runs a process acts, by their names or by who requested them. The moves of all others are idle.
func (c *Cluster) Attend(who ...string) {
	_ = c.do(func() error { // it has no error to return
		c.attended = who
		return nil
	})
}

// idle tells whether nobody acts for a run.
func (c *Cluster) idle(run string) bool {
	if slices.Contains(c.attended, run) {
		return false
	}
	return !slices.ContainsFunc(c.records, func(r fleet.RotationRecord) bool {
		return r.Run == run && r.Marks.Ended.IsZero() && slices.Contains(c.attended, r.Requester)
	})
}

// Answer says how the hooks of stores answer. nil lets them all succeed.
func (c *Cluster) Answer(f func(store, hook string, pod fleet.PodRef) error) {
	_ = c.do(func() error { // it has no error to return
		c.answer = f
		return nil
	})
}

// Moves returns the moves on file, by store.
func (c *Cluster) Moves() map[string]fleet.StoreMove {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]fleet.StoreMove{}
	for name, m := range c.moves {
		out[name] = *m.Clone()
	}
	return out
}

// engage claims a store for the run, or brings what is on file up to date, as package kube does it.
func (c *Cluster) engage(a fleet.Action) error {
	if a.Move == nil || a.Move.Run != a.Run {
		return fmt.Errorf("engage store %s: want a move of run %s", a.Store, a.Run)
	}
	want := *a.Move.Clone()
	if have, ok := c.moves[a.Store]; ok {
		var err error
		if want, err = c.succeed(a, have); err != nil {
			return err
		}
	}
	want.Idle = false
	c.moves[a.Store] = want
	return nil
}

// succeed is the move as the run is to have it, after what is on file. What a member was set to before anything was changed is what is on file.
func (c *Cluster) succeed(a fleet.Action, old fleet.StoreMove) (fleet.StoreMove, error) {
	want := *a.Move.Clone()
	same := old.Pod.Namespace == want.Pod.Namespace && old.Pod.Name == want.Pod.Name
	if old.Run == a.Run && !same {
		return want, &fleet.Refused{Reason: fmt.Sprintf("store %s: pod %s of it is being moved already by this run; it moves one at a time", a.Store, old.Pod), Wait: budgetWait}
	}
	want.Prior = slices.Clone(old.Prior)
	for _, s := range a.Move.Prior {
		if !slices.ContainsFunc(old.Prior, func(o fleet.Setting) bool { return o.Pod == s.Pod }) {
			want.Prior = append(want.Prior, s)
		}
	}
	if old.Run == a.Run {
		return want, nil
	}
	if !c.idle(old.Run) {
		return want, &fleet.Refused{Reason: fmt.Sprintf("store %s: run %s moves pod %s of it since %s", a.Store, old.Run, old.Pod, old.Since.Format(time.RFC3339)), Wait: ownerWait, Held: true}
	}
	if want.Temp == "" {
		want.Temp = old.Temp
	}
	for _, g := range old.Ghosts {
		if !slices.ContainsFunc(want.Ghosts, func(o fleet.Ghost) bool { return o.ID == g.ID }) {
			want.Ghosts = append(want.Ghosts, g)
		}
	}
	if same {
		want.ID, want.Home, want.Since, want.Switched, want.Switches, want.Hooked = old.ID, old.Home, old.Since, old.Switched, old.Switches, slices.Clone(old.Hooked)
	}
	return want, nil
}

// disengage takes the run's move off file. The temporary pod, should there still be one, goes with it.
func (c *Cluster) disengage(a fleet.Action) error {
	m, ok := c.moves[a.Store]
	switch {
	case !ok:
		return nil
	case m.Run != a.Run:
		return &fleet.Refused{Reason: fmt.Sprintf("store %s: the move on file is of run %s", a.Store, m.Run), Wait: ownerWait, Held: true}
	}
	delete(c.moves, a.Store)
	for _, p := range slices.Clone(c.pods) {
		if part := p.w.spec.Part; part != nil && part.Temp && part.Store == a.Store {
			c.remove(p)
		}
	}
	return nil
}

// lend makes the temporary pod of a move: like the StatefulSet's own, but with data of its own, and with none of the labels by which budgets and
// controllers would take it for one of theirs.
func (c *Cluster) lend(a fleet.Action) error {
	if m, ok := c.moves[a.Store]; !ok || m.Run != a.Run {
		return &fleet.Refused{Reason: fmt.Sprintf("store %s: run %s has no move of it on file", a.Store, a.Run), Wait: budgetWait}
	}
	set := c.workload[fleet.Owner{Kind: "StatefulSet", Namespace: a.Pod.Namespace, Name: a.Pod.Name[:max(0, strings.LastIndex(a.Pod.Name, "-"))]}]
	if set == nil || set.spec.Part == nil {
		return &fleet.Refused{Reason: fmt.Sprintf("pod %s is of no StatefulSet of a store: a temporary pod is made from a StatefulSet's template only", a.Pod), Wait: brokenWait}
	}
	if p := c.find(fleet.PodRef{Namespace: a.Peer.Namespace, Name: a.Peer.Name}); p != nil {
		return lentAlready(a, p)
	}
	s, part := set.spec, *set.spec.Part
	part.Temp, s.Part = true, &part
	s.Owner = fleet.Owner{Kind: "Pod", Namespace: a.Peer.Namespace, Name: a.Peer.Name}
	s.Labels = map[string]string{"drover.dev/store": a.Store[strings.Index(a.Store, "/")+1:]}
	if s.OwnDisk {
		s.OwnDisk, s.Local = false, "emptyDir data"
	}
	s.Affinity, s.Apart, s.Spread = elsewhere(s.Affinity, a.Avoid), nil, nil
	s.Scaler, s.GitOps, s.Held, s.Stuck, s.Target, s.Cost = nil, nil, "", false, "", ""
	return c.apply(s)
}

// lentAlready is success when the pod of that name is the store's temporary one.
func lentAlready(a fleet.Action, p *pod) error {
	switch part := p.w.spec.Part; {
	case part == nil || !part.Temp || part.Store != a.Store:
		return &fleet.Refused{Reason: fmt.Sprintf("pod %s is there already, and is none of store %s: delete it if nothing needs it", p.Ref, a.Store), Wait: brokenWait, Held: true}
	case p.Terminating:
		return &fleet.Refused{Reason: fmt.Sprintf("pod %s is still shutting down", p.Ref), Wait: budgetWait}
	}
	return nil
}

// elsewhere keeps off nodes, whatever else is required of one: terms are alternatives, so each of them says it.
func elsewhere(terms []fleet.Term, avoid []string) []fleet.Term {
	if len(avoid) == 0 {
		return terms
	}
	if len(terms) == 0 {
		terms = []fleet.Term{nil}
	}
	var out []fleet.Term
	for _, t := range terms {
		out = append(out, append(slices.Clone(t), fleet.Requirement{Key: hostLabel, Operator: "NotIn", Values: avoid}))
	}
	return out
}

// unlend deletes a temporary pod, and nothing else.
func (c *Cluster) unlend(a fleet.Action) error {
	p := c.pod[a.Pod.UID]
	if p == nil {
		return nil
	}
	if part := p.w.spec.Part; part == nil || !part.Temp {
		return &fleet.Refused{Reason: fmt.Sprintf("pod %s is no temporary pod of drover's", a.Pod), Wait: brokenWait}
	}
	c.remove(p)
	return nil
}

// call calls a hook that the owner of a store wrote, and notes on the move that it has succeeded.
func (c *Cluster) call(a fleet.Action) error {
	p := c.pod[a.Pod.UID]
	if p == nil || p.Terminating || !p.running {
		return &fleet.Refused{Reason: fmt.Sprintf("hook %s: pod %s does not run", a.Hook, a.Pod), Wait: budgetWait}
	}
	if c.answer != nil {
		if err := c.answer(a.Store, a.Hook, a.Pod); err != nil {
			return err
		}
	}
	if m, ok := c.moves[a.Store]; ok && m.Run == a.Run && !slices.Contains(m.Hooked, a.Hook) {
		m.Hooked = append(slices.Clone(m.Hooked), a.Hook)
		c.moves[a.Store] = m
	}
	return nil
}
