package evac

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// scriptKeeper moves the pods of any other store: one at a time, the leader last where its owner says by which label it is known, and with the hooks
// that its owner wrote, each until it succeeds.
type scriptKeeper struct{ *keeper }

func (k *scriptKeeper) unsound() string {
	for i := range k.st.Members {
		switch m := &k.st.Members[i]; {
		case k.going(m):
			return fmt.Sprintf("pod %s is shutting down", m.Pod.Name)
		case !m.Ready && !slices.ContainsFunc(k.goals, func(g goal) bool { return g.p.Ref == m.Pod }):
			return fmt.Sprintf("pod %s is not ready", m.Pod.Name)
		}
	}
	if n := len(k.st.Members); n < k.st.Spec.Replicas {
		return fmt.Sprintf("%d of %s run", n, plural(k.st.Spec.Replicas, "pod", "pods"))
	}
	return ""
}

func (k *scriptKeeper) rank(g *goal) (int, string) {
	switch {
	case k.st.Mover == fleet.LeaderMover && fleet.Term{k.st.Spec.Leader}.Holds(g.p.Labels):
		return 1, ""
	case !g.p.Ready:
		return -1, ""
	}
	return 0, ""
}

func (k *scriptKeeper) carry() {
	m := k.st.Move
	if g := k.subject(); g != nil {
		switch {
		case g.p.Terminating:
			k.wait("%s", k.absent(m.Pod.Name))
		case g.p.Ready && !g.hurried(k.now) && !k.hooked(fleet.HookPre, g.p.Ref):
		default:
			k.free(g)
		}
		return
	}
	me := k.st.Member(m.Pod.Name)
	if me == nil && k.pod(m.Pod.UID) == nil {
		me = k.successor()
	}
	switch {
	case me == nil || k.going(me):
		k.wait("%s", k.absent(m.Pod.Name))
	case !me.Ready:
		k.wait("it runs on %s and is not ready yet", me.Node)
	case !k.hooked(fleet.HookReady, me.Pod), !k.hooked(fleet.HookPost, me.Pod):
	default:
		k.end()
	}
}

// successor is the newest pod, where the pods of a store have no names of their own: once as many run as are wanted.
func (k *scriptKeeper) successor() *fleet.Member {
	var newest *fleet.Member
	var at time.Time
	for i := range k.st.Members {
		m := &k.st.Members[i]
		if p := k.pod(m.Pod.UID); p != nil && (newest == nil || p.Created.After(at)) {
			newest, at = m, p.Created
		}
	}
	if len(k.st.Members) < k.st.Spec.Replicas {
		return nil
	}
	return newest
}

// How long one call of a hook may take. What takes longer says so by failing, and is asked again.
const (
	usualHook   = 5 * time.Second
	longestHook = 7 * time.Second
)

// hooked tells whether a hook has succeeded, or there is none; it is called until it has. That is written down, for whoever goes on: a hook may be called
// again by who did not come to write it, and has to bear that.
func (k *scriptKeeper) hooked(hook string, in fleet.PodRef) bool {
	m := k.st.Move
	if k.st.Spec.Hooks[hook] == "" || slices.Contains(m.Hooked, hook) {
		return true
	}
	within := min(cmp.Or(k.st.Spec.HookTimeout, usualHook), longestHook)
	k.do(fleet.Action{Verb: fleet.Call, Pod: in, Hook: hook, Effect: k.st.Spec.Hooks[hook], Grace: within, Move: m, Why: "its owner's hook"})
	return false
}
