package env

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// The phases of an isolation.
const (
	MakingGroup   Phase = "making the group"
	MakingBudgets Phase = "making budgets"
	Placing       Phase = "placing workloads"
	Carrying      Phase = "carrying pods over"
	Separate      Phase = "separate"
)

// Isolation is what separates an environment from its neighbours: a node group of its own, and what keeps its pods there and others' away.
type Isolation struct {
	Environment string
	Run         string
	Group       fleet.NewGroup
	Size        int // nodes that its pods need
	Placements  []fleet.Placement
	Budgets     []fleet.NewBudget
	Stays       []string       // what is not carried over, and why
	Moves       []fleet.PodRef // pods that run beside others now
}

// IsolateOptions are the choices of who asks.
type IsolateOptions struct {
	Run   string
	From  string // the group to take for a pattern; "" for the one that it shares
	Name  string // of the new group; "" for FROM-ENVIRONMENT
	Label string // key of label and taint; "" for env
	Value string // "" for the environment's name
	Max   int    // 0 for twice what its pods need
	Apply bool   // the patches are applied, and not only written
}

// Isolate plans to separate an environment.
func Isolate(s *fleet.Snapshot, name string, o IsolateOptions) (Isolation, []fleet.Finding) {
	if found := Check(s, name); evac.Blocked(found) {
		return Isolation{}, found
	}
	v := look(s, s.Environment(name))
	from, findings := v.pattern(o.From)
	if from == nil {
		return Isolation{}, findings
	}
	key, value := or(o.Label, "env"), or(o.Value, name)
	i := Isolation{Environment: name, Run: o.Run, Group: fleet.NewGroup{
		Name: or(o.Name, from.Name+"-"+name), From: from.Name, Environment: name, Labels: map[string]string{key: value}, Taints: []fleet.Taint{{Key: key, Value: value, Effect: fleet.NoSchedule}},
	}}
	if g := s.Group(i.Group.Name); g != nil && (g.Managed == nil || g == from) {
		findings = append(findings, fleet.Found("iso-group", "group "+g.Name, "is there already, and is none that drover made for this environment").Then("name another with --group"))
	}
	findings = append(findings, v.placements(&i, o.Apply)...)
	v.budgets(&i)
	i.Size = v.nodesFor(&i, from)
	i.Group.Max = o.Max
	if i.Group.Max == 0 {
		i.Group.Max = max(2, 2*i.Size)
	}
	for _, p := range v.pods(nil) {
		if n := s.Node(p.Node); n != nil && n.Labels[key] != value {
			i.Moves = append(i.Moves, p.Ref)
		}
	}
	return i, findings
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// pattern is the group that the environment shares with others.
func (v *view) pattern(name string) (*fleet.Group, []fleet.Finding) {
	names := v.e.Spec.Groups
	if name != "" {
		names = []string{name}
	}
	for _, n := range names {
		g := v.s.Group(n)
		if g == nil || g.Trouble != "" || name == "" && len(v.chooseExits(g).Keepers) == 0 && len(names) > 1 {
			continue
		}
		return g, nil
	}
	return nil, []fleet.Finding{fleet.Found("iso-group", "environment "+v.e.Name, "names no group that could be taken for a pattern").Then("name one with --from")}
}

// placements are the patches of the environment's workloads.
func (v *view) placements(i *Isolation, apply bool) []fleet.Finding {
	var out []fleet.Finding
	taint := i.Group.Taints[0]
	for _, p := range v.parts(false) {
		if p.Turn != fleet.Scaled {
			if p.Kind == "CronJob" {
				i.Stays = append(i.Stays, p.ID()+": the pods of its Jobs run where they find room; give its template the same nodeSelector and toleration")
			}
			continue
		}
		at := fleet.Placement{APIVersion: p.APIVersion, Owner: p.Owner, UID: p.UID, Labels: i.Group.Labels, Toleration: fleet.Toleration{Key: taint.Key, Value: taint.Value, Effect: taint.Effect}}
		if v.inStore(p) > 0 && !p.OnDelete {
			i.Stays = append(i.Stays, p.ID()+": its pods hold a store's data together; set updateStrategy OnDelete, then drover move carries them")
			out = append(out, fleet.Found("iso-store", p.ID(), "is of a store, and its controller would replace its pods by itself").Then("set spec.updateStrategy.type to OnDelete first"))
			continue
		}
		if why := elsewhere(p, i.Group.Labels); why != "" {
			out = append(out, fleet.Found("iso-elsewhere", p.ID(), "%s", why).Then("take that out first, or leave it out of the environment"))
			continue
		}
		if len(p.Apps) > 0 && apply && !placed(p, &at) {
			out = append(out, fleet.Found("iso-kept", p.ID(), "is kept by %s", p.Apps[0]).Then("drover isolate %s --write DIR writes the patch: commit it there", v.e.Name).Block(true))
		}
		i.Placements = append(i.Placements, at)
	}
	return out
}

// elsewhere says which label of nodes a workload asks for that the new group has with another value.
func elsewhere(p *fleet.Part, labels map[string]string) string {
	for k, want := range labels {
		if have, ok := p.Selector[k]; ok && have != want {
			return fmt.Sprintf("has nodeSelector %s=%s", k, have)
		}
	}
	return ""
}

// placed tells whether new pods of a workload run where they should.
func placed(p *fleet.Part, at *fleet.Placement) bool {
	for k, want := range at.Labels {
		if p.Selector[k] != want {
			return false
		}
	}
	return slices.Contains(p.Tolerations, at.Toleration)
}

// budgets are those that are missing: of workloads with more than one pod, which none covers.
func (v *view) budgets(i *Isolation) {
	for _, p := range v.parts(false) {
		pods := v.pods(&p.Owner)
		if p.Turn != fleet.Scaled || len(pods) < 2 || slices.ContainsFunc(pods, func(q *fleet.Pod) bool { return len(q.Budgets) > 0 }) {
			continue
		}
		if match := common(pods); len(match) > 0 {
			i.Budgets = append(i.Budgets, fleet.NewBudget{Namespace: p.Namespace, Name: p.Name, Match: match, MaxUnavailable: 1})
		}
	}
}

// common are the labels that all pods have alike, but for those that change with every template.
func common(pods []*fleet.Pod) map[string]string {
	out := maps.Clone(pods[0].Labels)
	for _, p := range pods[1:] {
		maps.DeleteFunc(out, func(k, v string) bool { return p.Labels[k] != v })
	}
	maps.DeleteFunc(out, func(k, _ string) bool { return !chosen(k) })
	return out
}

// chosen tells whether a label is one that people give pods, rather than one that Kubernetes does.
func chosen(key string) bool {
	for _, prefix := range []string{"topology.kubernetes.io/", "apps.kubernetes.io/", "statefulset.kubernetes.io/", "batch.kubernetes.io/"} {
		if strings.HasPrefix(key, prefix) {
			return false
		}
	}
	return !slices.Contains([]string{"pod-template-hash", "controller-revision-hash", "rollouts-pod-template-hash", "pod-template-generation"}, key)
}

// nodesFor is how many nodes like the pattern's the pods need: at least one, and one in every zone that a volume of theirs is in.
func (v *view) nodesFor(i *Isolation, from *fleet.Group) int {
	room := fleet.Resources{}
	for j := range from.Instances {
		if n := v.s.NodeOf(from.Instances[j].ID); n != nil {
			room = n.Room
			break
		}
	}
	need, zones := fleet.Resources{}, map[string]bool{}
	for _, p := range v.pods(nil) {
		need = need.Add(p.Requests)
		need.Pods++
		if len(p.VolumeZones) == 1 {
			zones[p.VolumeZones[0]] = true
		}
	}
	n := max(1, len(zones))
	for _, share := range [][2]int64{{need.CPU, room.CPU}, {need.Memory, room.Memory}, {need.Pods, room.Pods}} {
		if share[1] > 0 {
			n = max(n, int((share[0]*5/4+share[1]-1)/share[1])) // a quarter more: daemons need room too
		}
	}
	return n
}

// NextIsolation says what to do now to separate an environment: the group, its nodes, budgets, then workload by workload. Each comes to its new nodes by
// its own controller, which makes the replacement first; pods that no controller would replace go through the door.
func NextIsolation(i Isolation, s fleet.Snapshot) Step {
	t := &turn{p: &Plan{Environment: i.Environment}}
	e := s.Environment(i.Environment)
	if e == nil {
		t.hold("environment "+i.Environment, "is gone")
		return t.out
	}
	t.v = look(&s, e)
	if s.Stopped != nil {
		t.hold("environment "+e.Name, "everything is %s", s.Stopped)
		return t.out
	}
	if t.out.Phase = MakingGroup; !t.made(&i) {
		return t.out
	}
	if t.out.Phase = MakingBudgets; !t.budgeted(&i) {
		return t.out
	}
	if t.out.Phase = Placing; !t.placedAll(&i) {
		return t.out
	}
	if t.out.Phase = Carrying; !t.carried(&i) {
		return t.out
	}
	t.out.Phase, t.out.Done = Separate, true
	return t.out
}

// made has the new group there with its nodes Ready.
func (t *turn) made(i *Isolation) bool {
	g := t.v.s.Group(i.Group.Name)
	switch {
	case g == nil:
		group := i.Group
		t.do(fleet.Action{Verb: fleet.MakeGroup, Run: i.Run, Group: group.Name, NewGroup: &group, Why: "nodes of its own"})
		return false
	case g.Managed != nil && g.Managed.Status != "ACTIVE":
		t.hold("group "+g.Name, "EKS says it is %s %s", g.Managed.Status, g.Managed.Trouble)
		return false
	case g.Desired < i.Size && g.Desired < g.Max:
		t.do(fleet.Action{Verb: fleet.Resize, Run: i.Run, Group: g.Name, From: g.Desired, To: min(i.Size, g.Max), Why: "the environment's pods need them"})
		return false
	}
	return t.nodesReady(&fleet.SleepGroup{Name: g.Name, Desired: i.Size}, g) && t.dressed(i, g)
}

// dressed waits for the labels and taints of the new nodes: EKS may put them on after a node has joined, and until then others' pods may come.
func (t *turn) dressed(i *Isolation, g *fleet.Group) bool {
	for j := range g.Instances {
		n := t.v.s.NodeOf(g.Instances[j].ID)
		if n == nil {
			continue
		}
		for k, want := range i.Group.Labels {
			if n.Labels[k] != want {
				t.hold("node "+n.Name, "is Ready, without label %s=%s yet", k, want)
				return false
			}
		}
		for _, taint := range i.Group.Taints {
			if !slices.Contains(n.Taints, taint) {
				t.hold("node "+n.Name, "is Ready, without taint %s=%s:%s yet", taint.Key, taint.Value, taint.Effect)
				return false
			}
		}
	}
	return true
}

func (t *turn) budgeted(i *Isolation) bool {
	done := true
	for j := range i.Budgets {
		b := &i.Budgets[j]
		if t.v.s.Budget(b.Namespace+"/"+b.Name) == nil {
			t.do(fleet.Action{Verb: fleet.MakeBudget, Run: i.Run, NewBudget: b, Why: "no budget covers it"})
			done = false
		}
	}
	return done
}

// placedAll places one workload after the other: the next one when the last works on its new nodes.
func (t *turn) placedAll(i *Isolation) bool {
	for j := range i.Placements {
		at := &i.Placements[j]
		p := t.v.part[at.Owner]
		switch {
		case p == nil || p.UID != at.UID:
		case !placed(p, at):
			t.do(fleet.Action{Verb: fleet.Place, Run: i.Run, Placement: at, Why: "it belongs on nodes of its own"})
			return false
		case !p.Rolled && !p.OnDelete && !p.Off:
			t.hold(p.ID(), "its controller replaces its pods: %d of %d are Ready", p.Ready, p.Pods)
			return false
		}
	}
	return true
}

// carried has pods that nobody replaces leave nodes that are not the environment's, through the door.
func (t *turn) carried(i *Isolation) bool {
	var left []fleet.PodRef
	for _, p := range t.v.pods(nil) {
		n := t.v.s.Node(p.Node)
		part := t.v.part[p.Owner]
		if n == nil || part == nil || !part.OnDelete || t.v.inStore(part) > 0 {
			continue
		}
		for k, want := range i.Group.Labels {
			if n.Labels[k] != want {
				left = append(left, p.Ref)
			}
		}
	}
	if len(left) == 0 {
		return true
	}
	t.out.Nodes, _ = evac.MakePods(t.v.s, left, evac.Options{Run: i.Run})
	step := evac.Next(t.out.Nodes, *t.v.s)
	t.out.Actions, t.out.Holds = append(t.out.Actions, step.Actions...), append(t.out.Holds, step.Holds...)
	return step.Done
}
