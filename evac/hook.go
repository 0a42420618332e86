package evac

import (
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// beat has hooks hold their instances longer: all that are waiting, whether or not their turn has come.
func (w *wave) beat() {
	for i := range w.goers {
		g := &w.goers[i]
		if g.in == nil || !g.c.Waits(g.in) || g.stage == gone {
			continue
		}
		for _, name := range unanswered(g.group, g.in, g.c) {
			w.heartbeat(g.group, g.in, g.Name(), name, g.c.Waiting(name))
		}
	}
}

// heartbeat renews a wait when a third of the hook's time is over. After a restart nobody knows when the last one was: then at once, unless the wait
// itself is known to be that young.
func (w *wave) heartbeat(g *fleet.Group, in *fleet.Instance, node, name string, since time.Time) {
	every := 20 * time.Minute // a third of what a hook has that nobody configured
	if h := g.Hook(name); h != nil && h.Heartbeat > 0 {
		every = h.Heartbeat / 3
	}
	last := in.Wait(name).Beat
	if last.Before(since) {
		last = since
	}
	if w.s.Now.Sub(last) >= every {
		w.do(fleet.Action{Verb: fleet.Heartbeat, Group: g.Name, Instance: in.ID, Node: node, Hook: name, Why: "its hook is to wait longer"})
	}
}

// admit answers launch hooks: an instance goes into service when its node is Ready. Until then, or when it may not answer, it has them wait.
func (w *wave) admit(mayAnswer bool) {
	for i := range w.s.Groups {
		g := &w.s.Groups[i]
		hooks := g.Ours(nil, true)
		if len(hooks) == 0 || !w.s.Owns(g) {
			continue
		}
		for j := range g.Instances {
			in := &g.Instances[j]
			c := w.s.Case(in.ID)
			pooled := in.Lifecycle == fleet.WarmedWait && (c == nil || !c.Open() || !c.Waits(in))
			if in.Lifecycle != fleet.PendingWait && !pooled {
				continue
			}
			n := w.ix.nodeOf[in.ID]
			result, why := w.joined(g, in, n, pooled)
			for _, h := range hooks {
				switch {
				case !mayAnswer && result == "":
					w.hold("instance "+in.ID, "is held by hook %s: %s", h, why)
					fallthrough
				case !mayAnswer:
					w.heartbeat(g, in, nameOf(n, in), h, time.Time{})
				case result != "" && !in.Wait(h).Answered:
					w.do(fleet.Action{Verb: fleet.Complete, Group: g.Name, Instance: in.ID, Node: nameOf(n, in), Hook: h, Result: result, Why: why})
				}
			}
		}
	}
}

// joined says how the launch hooks of an instance are to be answered, "" while they are not, and why. How long it has been waiting is counted from when
// this process first saw it: when it was launched says nothing of one that comes from a warm pool.
func (w *wave) joined(g *fleet.Group, in *fleet.Instance, n *fleet.Node, pooled bool) (result, why string) {
	took := time.Duration(0)
	if !in.Joining.IsZero() {
		took = w.s.Now.Sub(in.Joining)
	}
	late := w.policy.Join > 0 && took > w.policy.Join
	lacks, registers := notJoined(n), registering(g, in)
	switch {
	case pooled:
		return fleet.Continue, "it goes to the warm pool, where it serves nobody"
	case lacks == "" && (registers == "" || late):
		return fleet.Continue, "its node is Ready"
	case lacks != "" && late:
		return fleet.Abandon, fmt.Sprintf("%s, %s after it was launched", lacks, took.Round(time.Second))
	case lacks != "":
		return "", lacks
	}
	return "", registers
}

// registering says in which target group a new instance is on its way to be healthy. Auto Scaling registers it in the group's own only after its launch
// hooks; those that a controller in the cluster fills may know it already, and one of them may call a node without pods unhealthy.
func registering(g *fleet.Group, in *fleet.Instance) string {
	for _, tg := range g.Targets {
		if in.Target(tg.ARN) == fleet.TargetInitial {
			return "it is " + fleet.TargetInitial + " in target group " + tg.Name
		}
	}
	return ""
}

// notJoined says what the node of a new instance lacks.
func notJoined(n *fleet.Node) string {
	switch {
	case n == nil:
		return "it has not registered as a node yet"
	case !n.Ready:
		return "its node is not Ready yet"
	case n.Starting():
		return "its node still carries a start-up taint"
	}
	return ""
}

// release answers the hooks of a node that has nothing left to move, or no time.
func (w *wave) release(g *goer) {
	left := w.staying(g)
	late := w.late(g, left)
	switch {
	case (len(left) > 0 || g.node != nil && !g.shut) && !late:
		return
	case g.in == nil:
		return // no group's, or no longer: it goes as whoever ends it says
	case !late:
		if why := w.attachedYet(g); why != "" {
			w.hold("node "+g.Name(), "is empty; %s", why)
			return
		}
	}
	switch {
	case g.c.Waits(g.in):
		w.answer(g, len(left))
	case g.in.Lifecycle == fleet.Retained:
		if len(left) == 0 {
			w.do(fleet.Action{Verb: fleet.Terminate, Group: g.group.Name, Instance: g.c.Instance, Node: g.Node, Expect: fleet.Expect{Empty: g.node != nil && len(g.pods) == 0}, Why: "it was retained until it was empty"})
		}
	case g.in.Lifecycle == fleet.InService:
		if len(left) == 0 {
			w.hold("node "+g.Name(), "is empty; %s", g.c.Why)
		}
	}
}

// late tells whether a hook is to be answered whatever is still on its node: the machine goes anyway, or the pods have had the policy's time and then
// their own.
func (w *wave) late(g *goer, left []*fleet.Pod) bool {
	if end := g.c.End(g.group, g.in); !end.IsZero() && !w.s.Now.Before(end.Add(-margin/2)) {
		return true
	}
	if g.c.Deadline.IsZero() {
		return false
	}
	last := g.c.Deadline
	if !w.keeps(g) {
		for _, p := range left {
			told := p.Grace + margin
			if !p.Terminating {
				told += untold // nobody led, or its deletion is refused
			}
			if at := g.c.Deadline.Add(told); at.After(last) {
				last = at
			}
		}
	}
	return !w.s.Now.Before(last)
}

// untold is how much longer than its deadline a node waits for a pod that was not told to stop yet.
const untold = 10 * time.Minute

// staying are the pods that keep a node from being empty. A pod whose time to stop is long over runs no more, whatever holds its object.
func (w *wave) staying(g *goer) []*fleet.Pod {
	return slices.DeleteFunc(slices.Clone(g.pods), func(p *fleet.Pod) bool {
		over := p.Terminating && !p.Deleted.IsZero() && w.s.Now.Sub(p.Deleted) > confirmation
		return over || w.rides(g, p)
	})
}

// answer completes the hooks that drover answers for.
func (w *wave) answer(g *goer, left int) {
	if len(g.group.Ours(g.c, false)) == 0 {
		w.hold("node "+g.Name(), "is empty; the hook that holds it is not drover's to answer")
	}
	result, why := fleet.Continue, "no pod is left that has to move"
	if left > 0 {
		why = plural(left, "pod is", "pods are") + " still there, and its time is over"
		if w.keeps(g) {
			result = fleet.Abandon
		}
	}
	w.complete(g, result, why, g.node != nil && len(g.pods) == 0)
}

// unanswered are drover's hooks that may hold an instance still. Others' may hold it longer than they do.
func unanswered(group *fleet.Group, in *fleet.Instance, c *fleet.Case) []string {
	return slices.DeleteFunc(group.Ours(c, false), func(h string) bool { return in.Wait(h).Answered })
}

func (w *wave) complete(g *goer, result, why string, empty bool) {
	for _, h := range unanswered(g.group, g.in, g.c) {
		w.do(fleet.Action{Verb: fleet.Complete, Group: g.group.Name, Instance: g.c.Instance, Node: g.Node, Hook: h, Result: result, Expect: fleet.Expect{Empty: empty}, Why: why})
	}
}

// attachedYet says what besides pods is still on its way off a node.
func (w *wave) attachedYet(g *goer) string {
	for _, tg := range g.group.Targets {
		if g.in.Target(tg.ARN) == fleet.TargetDraining {
			return fmt.Sprintf("target group %s lets its last requests finish (up to %s)", tg.Name, tg.Delay)
		}
	}
	return stillAttached(g.node)
}
