package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// subject is the instance that an action is about.
func (d *deed) subject() string {
	if n := d.before.s.Node(d.a.Node); d.a.Instance == "" && n != nil {
		return n.Instance
	}
	return d.a.Instance
}

// unnoticed finds an action on a node that AWS leaves alone.
func unnoticed(d *deed) string {
	if d.a.Verb == fleet.Complete || d.a.Verb == fleet.Heartbeat {
		return "" // strangeHook, letGo and notReady are about these
	}
	if p := d.pod(); d.a.Store != "" || p != nil && p.Asked != nil {
		return "" // a store's members are everywhere, and "engaged" is about them
	}
	id := d.subject()
	if d.a.Verb == fleet.Untaint || d.a.Verb == fleet.Include || d.a.Verb == fleet.Register {
		if c := d.before.s.Case(id); c != nil && c.Open() {
			return "" // what was done to it is taken back
		}
	}
	if id != "" && !d.isDoomed(d.before, id) && d.effect() {
		return fmt.Sprintf("%s, of which AWS gave no notice", d.a)
	}
	return ""
}

// beforeWave finds a node on file that takes pods while one is moved.
func beforeWave(d *deed) string {
	if d.a.Verb != fleet.Evict && d.a.Verb != fleet.Delete || !d.ok() || d.reopened {
		return ""
	}
	for i := range d.before.s.Cases {
		c := &d.before.s.Cases[i]
		n := d.before.s.NodeOf(c.Instance)
		if !c.Open() || !c.Pressing(d.before.at) || n == nil || !n.Ready || d.unseen(c.Opened) {
			continue
		}
		if m := n.Mark(); m == nil || m.Effect != fleet.NoSchedule || !n.Excluded {
			return fmt.Sprintf("%s, and node %s, on file since %s, is not shut", d.a, n.Name, d.before.at.Sub(c.Opened))
		}
	}
	return ""
}

// unseen tells whether drover decided before it could know of something.
func (d *deed) unseen(at time.Time) bool { return d.before.at.Equal(at) || d.late(at) }

// pod is the pod that an action is about, as it was.
func (d *deed) pod() *fleet.Pod {
	i := slices.IndexFunc(d.before.s.Pods, func(p fleet.Pod) bool { return p.Ref.UID == d.a.Pod.UID })
	if i < 0 {
		return nil
	}
	return &d.before.s.Pods[i]
}

// tooSoon finds a pod that was deleted past its budget while there was time to wait for that.
func tooSoon(d *deed) string {
	p := d.pod()
	if d.a.Verb != fleet.Delete || p == nil || !d.ok() || !d.effectOn(p) {
		return ""
	}
	end := d.duty.deadline(d.before, d.subject())
	switch left := end.Sub(d.before.at); {
	case end.IsZero():
		return fmt.Sprintf("%s, and nothing says when the machine goes", d.a)
	case left > p.Grace+20*time.Second:
		return fmt.Sprintf("%s, %s before the machine goes, and the pod may take %s", d.a, left, p.Grace)
	}
	return ""
}

// effectOn tells whether the pod was still there to be deleted.
func (d *deed) effectOn(p *fleet.Pod) bool {
	return !p.Terminating && len(d.after.ledger.Deletions) > len(d.before.ledger.Deletions)
}

// hurried finds a pod that gets less time than it wants although there is more.
func hurried(d *deed) string {
	p := d.pod()
	if d.a.Grace == 0 || p == nil || p.Terminating || d.a.Grace >= p.Grace || !d.ok() {
		return ""
	}
	end := d.duty.deadline(d.before, d.subject())
	if left := end.Sub(d.before.at); end.IsZero() || left > p.Grace+20*time.Second {
		return fmt.Sprintf("%s, and it wants %s, and there are %s", d.a, p.Grace, left)
	}
	return ""
}

// cutOff finds a pod that died with its machine although its notice had left it time.
func cutOff(w *watch, v *view, _ outcome) string {
	for _, l := range v.ledger.Lost {
		if l.Stays || l.At.Before(w.began.at) || w.blamed[l.Node] {
			continue
		}
		for _, c := range v.cases {
			if w.stage.node(c.Instance) != l.Node || l.Created.After(c.Opened) || l.At.Before(c.Opened) {
				continue
			}
			if left := l.At.Sub(c.Opened); left > l.Grace+w.slack() {
				return fmt.Sprintf("pod %s died with %s, %s after its notice was on file; it needs %s to stop", l.Pod, l.Node, left, l.Grace)
			}
		}
	}
	return ""
}

// letGo finds an instance that its hook let go with a pod on it, before its time was over.
func letGo(d *deed) string {
	h, ok := d.wait()
	if d.a.Verb != fleet.Complete || !ok || h.Transition != cloud.HookTerminating || !d.ok() {
		return ""
	}
	in, _ := d.stage.w.Cloud.Instance(d.a.Instance)
	left, end := d.left(d.before, d.a.Instance), d.duty.deadline(d.before, d.a.Instance)
	if g, _ := d.before.s.Instance(d.a.Instance); g != nil && g.Retains && d.a.Result == fleet.Abandon {
		return "" // it is not let go, but kept
	}
	if len(left) == 0 || in.Gone() || !end.IsZero() && end.Sub(d.before.at) <= 10*time.Second {
		return ""
	}
	return fmt.Sprintf("%s, and on it are %v", d.a, left)
}

// wait is the hook's hold that an action is about.
func (d *deed) wait() (cloud.Wait, bool) {
	for _, h := range d.before.waits {
		if h.Hook == d.a.Hook && h.Instance == d.a.Instance {
			return h, true
		}
	}
	return cloud.Wait{}, false
}

// strangeHook finds an answer to a hook that is somebody else's. That EventBridge or the sweep told of it does not make it drover's.
func strangeHook(d *deed) string {
	if d.a.Verb != fleet.Complete && d.a.Verb != fleet.Heartbeat || strings.HasPrefix(d.a.Hook, fleet.HookPrefix) {
		return ""
	}
	for _, c := range d.before.cases {
		if c.Instance == d.a.Instance && slices.ContainsFunc(c.Signals, func(k fleet.Signal) bool { return k.Hook == d.a.Hook && k.OwnHook() }) {
			return ""
		}
	}
	return fmt.Sprintf("%s, which told drover nothing", d.a)
}

// overheld finds an instance that is held longer than the policy allows.
func overheld(w *watch, v *view) string {
	for _, h := range v.waits {
		g, _ := v.s.Instance(h.Instance)
		if h.Transition != cloud.HookTerminating || g == nil || !slices.Contains(g.Ours(v.s.Case(h.Instance), false), h.Hook) || g.Retains && w.duty.policy.Retain {
			continue
		}
		if over := v.at.Sub(h.Since) - w.duty.policy.DrainFor; over > time.Minute+w.slack() && !w.duty.since.IsZero() && v.at.Sub(w.duty.since) > time.Minute {
			return fmt.Sprintf("hook %s holds %s since %s, the policy leaves it %s", h.Hook, h.Instance, v.at.Sub(h.Since), w.duty.policy.DrainFor)
		}
	}
	return ""
}

// ranOut finds a hook that nobody answered in time.
func ranOut(w *watch, v *view) string {
	for k, was := range w.duty.held {
		in, ok := w.stage.w.Cloud.Instance(was.Instance)
		if !strings.HasPrefix(was.Hook, fleet.HookPrefix) || w.duty.answered[k] != "" || !ok || in.Gone() || v.at.Before(was.Until) || w.duty.since.IsZero() || was.Until.Sub(w.duty.since) < time.Minute {
			continue
		}
		if !slices.ContainsFunc(v.waits, func(h cloud.Wait) bool { return h.Token == was.Token }) {
			return fmt.Sprintf("hook %s held %s from %s and ran out at %s", was.Hook, was.Instance, was.Since.Format(time.TimeOnly), was.Until.Format(time.TimeOnly))
		}
	}
	return ""
}

// notReady finds a new instance that was let into service before its node could serve.
func notReady(d *deed) string {
	h, ok := d.wait()
	if d.a.Verb != fleet.Complete || d.a.Result != fleet.Continue || !ok || h.Transition != cloud.HookLaunching || !d.ok() {
		return ""
	}
	if n := d.before.s.NodeOf(d.a.Instance); n == nil || !n.Ready || n.Starting() {
		return fmt.Sprintf("%s, and its node is not Ready", d.a)
	}
	return ""
}

// stillOn finds a machine that runs and was declared off.
func stillOn(d *deed) string {
	if d.a.Verb != fleet.OutOfService || !d.ok() || !d.effect() {
		return ""
	}
	if in, ok := d.stage.w.Cloud.Instance(d.subject()); ok && !in.Gone() {
		return fmt.Sprintf("%s, and its machine is %s", d.a, in.State)
	}
	return ""
}

// endsOther finds an instance that drover ended though AWS has that to do, or before it was empty.
func endsOther(d *deed) string {
	if d.a.Verb != fleet.Terminate || !d.ok() {
		return ""
	}
	_, in := d.before.s.Instance(d.a.Instance)
	switch left := d.left(d.before, d.a.Instance); {
	case in == nil:
		return ""
	case in.Lifecycle != fleet.Retained && d.effect():
		return fmt.Sprintf("%s, which is %s", d.a, in.Lifecycle)
	case len(left) > 0:
		return fmt.Sprintf("%s, and on it are %v", d.a, left)
	}
	return ""
}

// unheld finds an instance that drover had its group replace although no hook of its own holds it then, or nobody wants that.
func unheld(d *deed) string {
	if d.a.Verb != fleet.Replace || !d.ok() || !d.effect() {
		return ""
	}
	g, _ := d.before.s.Instance(d.a.Instance)
	c := d.before.s.Case(d.a.Instance)
	switch {
	case len(g.Ours(nil, false)) == 0:
		return fmt.Sprintf("%s, and the group has no hook of drover's", d.a)
	case c == nil || c.Holds(fleet.ScheduledChange) == nil && (c.Holds(fleet.Rebalance) == nil || d.duty.policy.Rebalance != fleet.AdviceReplace):
		return fmt.Sprintf("%s, and nobody wants it replaced", d.a)
	}
	return ""
}

// notKept compares what was set aside with what nobody can understand.
func notKept(w *watch, _ *view, o outcome) string {
	if o.kind != over || w.stage.mail.url == "" {
		return ""
	}
	aside := map[string]bool{}
	for _, m := range w.stage.queued(w.stage.mail.dead) {
		aside[m.Body] = true
		if !slices.Contains(w.poison, m.Body) && !w.stage.mail.quarantine {
			return "this was set aside: " + m.Body
		}
	}
	for _, body := range w.poison {
		if !aside[body] {
			return "this is lost: " + body
		}
	}
	return ""
}

// changedNode finds a trace of drover's on a node that is still there.
func changedNode(w *watch, v *view, o outcome) string {
	if o.kind != over {
		return ""
	}
	for _, line := range v.settings {
		f := strings.Fields(line)
		if f[0] != "node" || !strings.Contains(line, fleet.TaintKey) && !strings.Contains(line, "="+fleet.NoticeRun) {
			continue
		}
		if !w.dead(v, f[1]) {
			return "drover left " + line
		}
	}
	return w.differs(v, o)
}

// dead tells whether a node has no machine any more.
func (w *watch) dead(v *view, node string) bool {
	n := v.s.Node(node)
	return n != nil && w.isGone(n.Instance)
}

// isGone tells whether an instance has no machine any more.
func (w *watch) isGone(id string) bool {
	in, ok := w.stage.w.Cloud.Instance(id)
	return !ok || in.Gone()
}
