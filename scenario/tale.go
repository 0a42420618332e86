package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// names are the names that a story knows instances and their nodes by: the group and a number, in order of launch.
type names map[string]string

// learn names the instances and nodes that are new.
func (n names) learn(s *fleet.Snapshot) {
	for i := range s.Groups {
		g := &s.Groups[i]
		fresh := slices.DeleteFunc(slices.Clone(g.Instances), func(in fleet.Instance) bool { return n[in.ID] != "" })
		slices.SortFunc(fresh, func(a, b fleet.Instance) int {
			return cmp.Or(a.Launched.Compare(b.Launched), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.ID, b.ID))
		})
		for _, in := range fresh {
			count := 1
			for id, name := range n {
				if strings.HasPrefix(id, "i-") && strings.HasPrefix(name, g.Name+"/") {
					count++
				}
			}
			n[in.ID] = fmt.Sprintf("%s/%d", g.Name, count)
		}
	}
	for i := range s.Nodes {
		if node := &s.Nodes[i]; n[node.Instance] != "" && n[node.Name] == "" {
			n["node "+node.Name] = n[node.Instance]
		}
	}
}

// in puts the story's names into a text.
func (n names) in(text string) string {
	for id, name := range n {
		text = strings.ReplaceAll(text, strings.TrimPrefix(id, "node "), name)
	}
	return text
}

// node is the node name of an instance.
func (s *Stage) node(instance string) string {
	in, _ := s.w.Cloud.Instance(instance)
	return in.PrivateDNS
}

// diary is what happened, when, in lines.
type diary struct {
	start time.Time
	lines []entry
}

type entry struct {
	after    time.Duration
	what     string
	subjects []string
}

func (d *diary) begin(at time.Time) { d.start, d.lines = at, nil }

func (d *diary) note(at time.Time, text string) {
	d.lines = append(d.lines, entry{after: at.Sub(d.start), what: text})
}

// act notes an action; those of one kind and moment share a line.
func (d *diary) act(deed *deed) {
	what, subject := deed.words()
	if deed.err != nil {
		what += " (not done: " + deed.stage.names.in(deed.err.Error()) + ")"
	}
	after := deed.after.at.Sub(d.start)
	if n := len(d.lines); n > 0 && d.lines[n-1].after == after && d.lines[n-1].what == what {
		d.lines[n-1].subjects = append(d.lines[n-1].subjects, subject)
		return
	}
	d.lines = append(d.lines, entry{after, what, []string{subject}})
}

// words are an action's kind and its subject, by the story's names.
func (d *deed) words() (what, subject string) {
	in := d.stage.names.in
	if what, subject, ok := d.sleepWords(); ok {
		return what, subject
	}
	switch a := d.a; a.Verb {
	case fleet.Journal, fleet.Forget:
		return string(a.Verb), a.Group
	case fleet.Suspend, fleet.Resume:
		return fmt.Sprintf("%s %s", a.Verb, a.Process), a.Group
	case fleet.Resize:
		return "resize", fmt.Sprintf("%s %d to %d", a.Group, a.From, a.To)
	case fleet.Taint_:
		return "taint " + a.Effect, in(a.Node)
	case fleet.Evict, fleet.Delete:
		what = string(a.Verb)
		if a.Grace > 0 {
			what += fmt.Sprintf(" with %s to stop", a.Grace)
		}
		return what, fmt.Sprintf("%s (%s)", a.Pod.Name, in(a.Node))
	case fleet.Record:
		return "record", cmp.Or(strings.Join(a.Rotation.Marks.Names(), "+"), "plan")
	case fleet.Surge, fleet.Unsurge:
		return string(a.Verb), fmt.Sprintf("%s %d to %d", a.Workload.Name, a.From, a.To)
	case fleet.Complete:
		return fmt.Sprintf("complete %s %s", a.Hook, a.Result), in(a.Instance)
	case fleet.Heartbeat:
		return "heartbeat " + a.Hook, in(a.Instance)
	case fleet.Engage, fleet.Disengage:
		return string(a.Verb), a.Pod.Name
	case fleet.Lend:
		return string(a.Verb), a.Peer.Name
	case fleet.Switch, fleet.Demote, fleet.Attach, fleet.Meet, fleet.Replicate:
		return string(a.Verb), fmt.Sprintf("%s to %s", a.Pod.Name, a.Peer.Name)
	case fleet.Failover:
		return strings.TrimSpace(string(a.Verb) + " " + a.Effect), fmt.Sprintf("%s to %s", a.Peer.Name, a.Pod.Name)
	case fleet.Call:
		return "call " + a.Hook, a.Pod.Name
	case fleet.Fence_:
		return fmt.Sprintf("fence %d/%d", a.Fence.Replicas, a.Fence.Lag), a.Pod.Name
	case fleet.Prefer:
		return fmt.Sprintf("prefer %d", a.To), a.Pod.Name
	case fleet.Steady:
		return map[int]string{0: "steady", 1: "unsteady"}[a.To], a.Pod.Name
	case fleet.Reset, fleet.Leave, fleet.Unlend:
		return string(a.Verb), a.Pod.Name
	case fleet.Disown:
		return string(a.Verb), strings.TrimPrefix(a.Store, "default/")
	case fleet.Deregister, fleet.Register, fleet.Terminate, fleet.Replace, fleet.Standby, fleet.Unstandby:
		return string(a.Verb), in(a.Instance)
	case fleet.CreateGroup:
		return string(a.Verb), a.Copy
	case fleet.DeleteGroup:
		return string(a.Verb), a.Group
	default:
		return string(a.Verb), in(a.Node)
	}
}

func (s *Stage) tellDiary([]string) (string, error) {
	var out strings.Builder
	for _, e := range s.diary.lines {
		fmt.Fprintf(&out, "%7s  %s", e.after.Round(time.Second), e.what)
		if len(e.subjects) > 0 {
			fmt.Fprintf(&out, " %s", strings.Join(e.subjects, ", "))
		}
		out.WriteString("\n")
	}
	for _, why := range s.outcome.words {
		if s.outcome.kind == over {
			fmt.Fprintf(&out, "exception: %s\n", why)
		}
	}
	return out.String(), nil
}

// tellTale says what came of the latest run: nothing in it depends on the moment at which something happened.
func (s *Stage) tellTale([]string) (string, error) {
	told := s.outcome
	told.words = slices.DeleteFunc(slices.Clone(told.words), chance)
	out := []string{"run " + told.String()}
	if w := s.watch; w.duty != nil {
		out = append(out, s.taleOfCases()...)
		out = append(out, s.taleOfMail()...)
		out = append(out, s.taleOfSettings()...)
	} else if w.began != nil {
		out = append(out, s.taleOfGroups()...)
		out = append(out, s.taleOfPods()...)
		out = append(out, s.taleOfSettings()...)
	}
	return strings.Join(out, "\n") + "\n", nil
}

// chance tells whether a sentence is about the zones. In which zone AWS launches is its own choice between equals, so the zones may end uneven in
// one telling and even in another; the diary has it.
func chance(sentence string) bool {
	return strings.Contains(sentence, "AZRebalance stays suspended") || strings.HasSuffix(sentence, " suspended AZRebalance")
}

// taleOfGroups says what became of every group's old nodes.
func (s *Stage) taleOfGroups() []string {
	v, before := s.watch.whole(), &s.watch.began.s
	var out []string
	for i := range before.Groups {
		was := &before.Groups[i]
		exits, gone, parked := 0, 0, 0
		for id, d := range s.watch.exits {
			if d.Group != was.Name {
				continue
			}
			exits++
			switch _, in := v.s.Instance(id); {
			case in == nil || in.Leaving():
				gone++
			case in.Parked():
				parked++
			}
		}
		g := v.s.Group(was.Name)
		switch {
		case exits == 0:
			continue
		case g == nil:
			out = append(out, fmt.Sprintf("%s: %d of %d old nodes replaced; its copy is in its place", was.Name, gone, exits))
			continue
		}
		line := fmt.Sprintf("%s: %d of %d old nodes replaced", was.Name, gone, exits)
		if parked > 0 {
			line += fmt.Sprintf(", %d in Standby", parked)
		}
		line += fmt.Sprintf("; %d nodes work, desired %d", working(&v.s, g), g.Desired)
		out = append(out, line)
	}
	return out
}

// taleOfPods says how often the pods of the old nodes moved, by workload.
func (s *Stage) taleOfPods() []string {
	v, before := s.watch.whole(), &s.watch.began.s
	type count struct{ moved, stayed, ended, again int }
	counts := map[string]*count{}
	for i := range before.Pods {
		p := &before.Pods[i]
		if !s.watch.old[p.Node] || p.Stays() != "" || p.Finished {
			continue
		}
		name := cmp.Or(p.Owner.Name, p.Ref.Name)
		if counts[name] == nil {
			counts[name] = &count{}
		}
		switch {
		case s.lostPod(p.Ref, v):
			counts[name].ended++
		case slices.ContainsFunc(v.s.Pods, func(o fleet.Pod) bool { return o.Ref.UID == p.Ref.UID && !o.Terminating && !o.Finished }):
			counts[name].stayed++
		case slices.ContainsFunc(v.s.Pods, func(o fleet.Pod) bool { return o.Ref.UID == p.Ref.UID && o.Finished }):
			counts[name].stayed++
		default:
			counts[name].moved++
		}
	}
	times := map[string]int{}
	for _, e := range v.ledger.Evictions {
		if !e.At.Before(s.watch.began.at) {
			times[e.Identity]++
		}
	}
	for identity, n := range times {
		name := identity[strings.LastIndex(identity, "/")+1:]
		name, _, _ = strings.Cut(name, " ")
		if c := counts[name]; c != nil && n > 1 {
			c.again++
		}
	}
	var out []string
	for name, c := range counts {
		line := fmt.Sprintf("%s: %d moved", name, c.moved)
		for _, part := range []struct {
			n    int
			what string
		}{{c.again, "again"}, {c.stayed, "stayed"}, {c.ended, "lost with a machine that died"}} {
			if part.n > 0 {
				line += fmt.Sprintf(", %d %s", part.n, part.what)
			}
		}
		if s.dark(name, v) {
			line += "; not served for a while"
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

// lostPod tells whether a pod ran on a machine that went off under it.
func (s *Stage) lostPod(ref fleet.PodRef, v *view) bool {
	for _, l := range v.ledger.Lost {
		if l.Pod.UID == ref.UID && !l.Ending {
			return true
		}
	}
	return false
}

// dark tells whether a workload did not serve at some time of the run.
func (s *Stage) dark(name string, v *view) bool {
	for _, o := range v.ledger.Outages {
		if o.Workload.Name == name && !o.From.Before(s.watch.began.at) {
			return true
		}
	}
	return false
}

// taleOfSettings says what is not as it was before the run.
func (s *Stage) taleOfSettings() []string {
	w, v := s.watch, s.watch.whole()
	gone, came := diff(w.lasting(w.settings, v), w.lasting(v.settings, v))
	came = slices.DeleteFunc(came, chance)
	if len(gone)+len(came) == 0 {
		return []string{"everything else is as it was"}
	}
	if s.outcome.kind != over || !w.rotating() && w.duty == nil {
		return nil // it is in the middle of something
	}
	var out []string
	for _, line := range gone {
		out = append(out, "was: "+w.stage.names.in(line))
	}
	for _, line := range came {
		out = append(out, "is: "+w.stage.names.in(line))
	}
	return out
}
