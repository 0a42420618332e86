package scenario

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
	"drover.dev/notice"
	"drover.dev/sandbox/cloud"
	memory "drover.dev/sandbox/fast"
)

// doom is that AWS takes an instance, as the story knows it.
type doom struct {
	at       time.Time
	deadline time.Time // when the machine goes; zero when it only may, or when its hook decides
}

// doom says that AWS takes an instance. Of several deadlines the nearest counts.
func (w *watch) doom(id string, deadline time.Time) {
	d := w.doomed[id]
	if d == nil {
		d = &doom{at: w.stage.w.Now()}
		w.doomed[id] = d
	}
	if d.deadline.IsZero() || !deadline.IsZero() && deadline.Before(d.deadline) {
		d.deadline = deadline
	}
}

// spare says that nothing happens to an instance after all.
func (w *watch) spare(id string, deadline time.Time) {
	if d := w.doomed[id]; d != nil {
		d.deadline = deadline
	}
}

// duty is what a controller is there for, as its witness sees it.
type duty struct {
	*watch
	policy   fleet.Policy
	since    time.Time             // when its process first saw the world; zero while it has not
	held     map[string]cloud.Wait // at the last look, by hook and instance
	answered map[string]string     // results, likewise
	waited   map[string]time.Duration
	empty    map[string]time.Time // when the node of a doomed instance had nothing left to move
}

// patrol begins the duty of a controller, or has its next process take it over.
func (w *watch) patrol(p fleet.Policy) {
	if w.duty == nil {
		v := w.whole()
		w.began, w.settings = v, slices.Clone(v.settings)
		w.enroll()
		w.duty = &duty{watch: w, held: map[string]cloud.Wait{}, answered: map[string]string{}, waited: map[string]time.Duration{}, empty: map[string]time.Time{}}
	}
	w.duty.policy, w.duty.since = p, time.Time{}
}

// adopt takes a run that a controller has begun for the plan, as a person's approval would.
func (w *watch) adopt(r *fleet.RotationRecord) {
	if w.duty != nil && r != nil && r.Run != w.p.Run {
		p, _ := evac.Resume(&w.now().s, r)
		w.plan(p)
	}
}

func key(hook, instance string) string { return hook + " " + instance }

// did notes what drover has done about a hook.
func (u *duty) did(d *deed) {
	if u == nil || d.err != nil || d.a.Verb != fleet.Complete {
		return
	}
	for _, h := range d.before.waits {
		if h.Hook == d.a.Hook && h.Instance == d.a.Instance {
			u.answered[key(h.Hook, h.Instance)] = d.a.Result
			u.waited[key(h.Hook, h.Instance)] = d.after.at.Sub(h.Since)
		}
	}
}

// look remembers who waits and which nodes are empty.
func (u *duty) look(v *view) {
	if u == nil {
		return
	}
	u.held = map[string]cloud.Wait{}
	for _, h := range v.waits {
		u.held[key(h.Hook, h.Instance)] = h
	}
	for i := range v.cases {
		id := v.cases[i].Instance
		if _, known := u.empty[id]; !known && len(u.left(v, id)) == 0 {
			u.empty[id] = v.at
		}
	}
}

// left are the pods that keep an instance from being empty. One that came after its node was shut, because it tolerates that, rides along.
func (w *watch) left(v *view, id string) []string {
	n := v.s.NodeOf(id)
	if n == nil {
		return nil
	}
	var opened time.Time
	for _, c := range v.cases {
		if c.Instance == id {
			opened = c.Opened
		}
	}
	var out []string
	for _, p := range v.s.PodsOn(n.Name) {
		t := fleet.Taint{Key: fleet.TaintKey, Value: fleet.NoticeRun, Effect: fleet.NoSchedule}
		rides := p.Tolerates(t) && !opened.IsZero() && p.Created.After(opened)
		over := p.Terminating && v.at.Sub(p.Deleted) >= 30*time.Second // its containers are gone, whoever keeps the object or cannot say so
		if p.Stays() == "" && !p.Finished && !rides && !over {
			out = append(out, p.Ref.String())
		}
	}
	return out
}

// deadline is when an instance goes whatever anybody does: by the story, or by what the policy leaves its hooks.
func (u *duty) deadline(v *view, id string) time.Time {
	var at time.Time
	if d := u.doomed[id]; d != nil {
		at = d.deadline
	}
	g, _ := v.s.Instance(id)
	if g != nil && g.Retains && u.policy.Retain {
		return at
	}
	for _, h := range v.waits {
		if h.Instance != id || h.Transition != cloud.HookTerminating {
			continue
		}
		end := h.Since.Add(u.policy.DrainFor)
		if last := h.Wall.Add(-time.Minute); last.Before(end) {
			end = last // the answer needs time, too
		}
		if at.IsZero() || end.Before(at) {
			at = end
		}
	}
	return at
}

// isDoomed tells whether AWS takes an instance, or may.
func (w *watch) isDoomed(v *view, id string) bool {
	if in, ok := w.stage.w.Cloud.Instance(id); w.doomed[id] != nil || !ok || in.Gone() {
		return true
	}
	held := slices.ContainsFunc(v.waits, func(h cloud.Wait) bool { return h.Instance == id && h.Transition == cloud.HookTerminating })
	_, in := v.s.Instance(id)
	return held || in != nil && in.Leaving()
}

// slack is how much later than at once drover may be, in this variation.
func (w *watch) slack() time.Duration {
	slack := 15*time.Second + w.outages
	switch v := w.stage.variation; v.Kind {
	case Plain, Twice, Shuffle:
	case Stale:
		slack += time.Duration(v.N) * time.Second
	default:
		slack += 35 * time.Second // a message that was not deleted in time, or a call that is tried again
	}
	return slack
}

// deletes holds the list against a message before it is deleted.
func (w *watch) deletes(m fleet.Message) {
	w.check(func(s sentence) string {
		if s.mail == nil {
			return ""
		}
		return s.mail(w, m)
	})
}

// taleOfCases says how every instance on file left, or that it did not.
func (s *Stage) taleOfCases() []string {
	v := s.watch.whole()
	var out []string
	for i := range v.cases {
		c := &v.cases[i]
		parts := []string{cmp.Or(c.Marks.End, "open")}
		parts = append(parts, s.fates(c.Instance, v)...)
		if !c.Marks.Replaced.IsZero() {
			parts = append(parts, "replaced first")
		}
		for _, k := range slices.Sorted(maps.Keys(s.watch.duty.answered)) {
			if hook, id, _ := strings.Cut(k, " "); id == c.Instance {
				parts = append(parts, fmt.Sprintf("%s answered %s", hook, s.watch.duty.answered[k]))
			}
		}
		out = append(out, fmt.Sprintf("%s (%s): %s", s.names.in(c.Instance), kinds(c), strings.Join(parts, "; ")))
	}
	slices.Sort(out)
	return append(out, s.gaps(v)...)
}

// kinds lists what was heard of an instance, whatever the order.
func kinds(c *fleet.Case) string {
	var out []string
	for _, k := range c.Signals {
		if k.Kind != fleet.StateChange {
			out = append(out, string(k.Kind))
		}
	}
	slices.Sort(out)
	return cmp.Or(strings.Join(slices.Compact(out), "+"), string(fleet.StateChange))
}

// fates counts what became of the pods of an instance.
func (s *Stage) fates(id string, v *view) []string {
	name, began := s.node(id), s.watch.began.at
	count := map[string]int{}
	for _, e := range v.ledger.Evictions {
		count["moved"] += on(e.Node == name && !e.At.Before(began))
	}
	for _, e := range v.ledger.Deletions {
		count["deleted past its budget"] += on(e.Node == name && !e.At.Before(began))
	}
	for _, k := range v.ledger.Killed {
		count["killed before it had stopped"] += on(k.Node == name && !k.At.Before(began))
	}
	for _, l := range v.ledger.Lost {
		if l.Node == name && !l.At.Before(began) && !l.Stays {
			count["lost with the machine while it stopped"] += on(l.Ending)
			count["lost with the machine"] += on(!l.Ending)
		}
	}
	var out []string
	for _, what := range []string{"moved", "deleted past its budget", "killed before it had stopped", "lost with the machine while it stopped", "lost with the machine"} {
		if count[what] > 0 {
			out = append(out, fmt.Sprintf("%d %s", count[what], what))
		}
	}
	return out
}

func on(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// gaps says which workloads were not served for a while.
func (s *Stage) gaps(v *view) []string {
	var out []string
	for _, o := range v.ledger.Outages {
		if !o.From.Before(s.watch.began.at) {
			out = append(out, o.Workload.Name+": not served for a while")
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// taleOfMail says what is in the queues.
func (s *Stage) taleOfMail() []string {
	if s.mail.url == "" {
		return nil
	}
	left, aside := s.letters(), map[string]bool{}
	for _, m := range s.queued(s.mail.dead) {
		aside[m.Body] = true // killed at the wrong moment, drover sets a message aside twice
	}
	if left+len(aside) == 0 {
		return []string{"queue: empty"}
	}
	return []string{fmt.Sprintf("queue: %d left, %d set aside", left, len(aside))}
}

// tellMargins says how much time was left. Moments are told of the plain run only.
func (s *Stage) tellMargins([]string) (string, error) {
	v, u := s.watch.whole(), s.watch.duty
	if u == nil {
		return "", fmt.Errorf("there was no controller")
	}
	var out []string
	for i := range v.cases {
		c := &v.cases[i]
		line := s.names.in(c.Instance)
		if at, ok := u.empty[c.Instance]; ok {
			line += fmt.Sprintf(": empty after %s", at.Sub(c.Opened).Round(time.Second))
			if d := s.watch.doomed[c.Instance]; d != nil && !d.deadline.IsZero() {
				line += fmt.Sprintf(", %s before its machine goes", d.deadline.Sub(at).Round(time.Second))
			}
		}
		for _, k := range slices.Sorted(maps.Keys(u.waited)) {
			if hook, id, _ := strings.Cut(k, " "); id == c.Instance {
				line += fmt.Sprintf("; %s held it %s", hook, u.waited[k].Round(time.Second))
			}
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return strings.Join(out, "\n") + "\n", nil
}

// scalingOf is the Auto Scaling group's name of a group.
func (w *watch) scalingOf(name string) string {
	if g := w.now().s.Group(name); g != nil {
		return g.Scaling()
	}
	return name
}

// ownCluster tells whose an instance is, by its tags: "" when nobody says.
func (w *watch) ownCluster(id string) string {
	in, _ := w.stage.w.Cloud.Instance(id)
	for _, k := range slices.Sorted(maps.Keys(in.Tags)) {
		if name, ok := strings.CutPrefix(k, "kubernetes.io/cluster/"); ok {
			return name
		}
	}
	return ""
}

// notFiled finds something in a message that is not on file when the message goes.
func notFiled(w *watch, m fleet.Message) string {
	found, err := notice.Parse(m.Body)
	if err != nil {
		return fmt.Sprintf("message %s was deleted, and nobody understands it: %v", m.ID, err)
	}
	v := w.now()
	for _, n := range found {
		if !w.concerns(v, n) {
			continue
		}
		if owner := w.ownCluster(n.Instance); owner != "" && owner != memory.ClusterName {
			return fmt.Sprintf("the message about %s was deleted, which is of cluster %s", n.Instance, owner)
		}
		i := slices.IndexFunc(v.cases, func(c fleet.Case) bool { return c.Instance == n.Instance })
		if i < 0 || !slices.ContainsFunc(v.cases[i].Signals, func(k fleet.Signal) bool { return k.ID == n.ID }) {
			return fmt.Sprintf("the message that told %s about %s was deleted, and that is not on file", n.ID, n.Instance)
		}
	}
	return ""
}

// concerns tells whether a notice is about something that drover has to do.
func (w *watch) concerns(v *view, n fleet.Notice) bool {
	switch n.Kind {
	case fleet.TestNotice, fleet.LaunchHook, fleet.CanaryNotice:
		return false
	case fleet.Rebalance:
		if w.duty.policy.Rebalance == fleet.AdviceIgnore {
			return false
		}
	case fleet.StateChange:
		if n.Effect == "stopped" || n.Effect == "terminated" {
			return false // the machine is gone: nothing is left to be done with it
		}
	}
	in, ok := w.stage.w.Cloud.Instance(n.Instance)
	_, member := v.s.Instance(n.Instance)
	return ok && !in.Gone() && !n.Over && (member != nil || v.s.NodeOf(n.Instance) != nil)
}
