package fast

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/cluster"
)

// markTag is the tag that carries a run's GroupMark on an Auto Scaling group.
const markTag = "drover.dev/rotation"

// CloudHand is the hand on the world's AWS. It reads and writes by the calls that package aws makes, so that whatever lags or fails in the cloud
// lags and fails here.
type CloudHand struct {
	w *World

	mu       sync.Mutex
	launched map[string]time.Time // by instance id: never changes
}

// CloudHand returns a new hand on the cloud; like a restarted process, it remembers nothing.
func (w *World) CloudHand() *CloudHand {
	return &CloudHand{w: w, launched: map[string]time.Time{}}
}

// ClusterHand returns the hand on the cluster.
func (w *World) ClusterHand() *cluster.Cluster { return w.Cluster }

// Groups returns the named groups that exist, or all of them when no name is given. A group that cannot be read in full has its Trouble.
func (h *CloudHand) Groups(_ context.Context, names []string) ([]fleet.Group, error) {
	h.w.sync()
	all, err := h.find(names)
	if err != nil {
		return nil, doing("describe Auto Scaling groups", err)
	}
	h.learn(all)
	targets, err := h.targetGroups("instance")
	if err != nil {
		return nil, err
	}
	news, err := h.news()
	if err != nil {
		return nil, err
	}
	out := make([]fleet.Group, 0, len(all))
	for i := range all {
		g, err := h.group(&all[i], targets)
		if err != nil {
			return nil, fmt.Errorf("group %s: %w", all[i].name, err)
		}
		news.place(&g)
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b fleet.Group) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// GroupOf returns the name of the group that an instance belongs to; "" when it belongs to none.
func (h *CloudHand) GroupOf(_ context.Context, instance string) (string, error) {
	all, err := h.find(nil)
	if err != nil {
		return "", doing("ask which group "+instance+" belongs to", err)
	}
	for _, f := range all {
		if slices.ContainsFunc(f.raw.Members, func(m cloud.Member) bool { return m.InstanceID == instance }) {
			return f.name, nil
		}
	}
	return "", nil
}

func (h *CloudHand) group(f *found, targets []targetGroup) (fleet.Group, error) {
	raw := &f.raw
	if f.bare {
		g := fleet.Group{Name: f.name}
		h.manage(&g, f)
		return g, nil
	}
	g := fleet.Group{Name: f.name, Min: raw.Min, Max: raw.Max, Desired: raw.Desired, Zones: slices.Sorted(slices.Values(raw.Zones)), Wants: wants(raw.Source)}
	g.Cluster, g.Retains = clusterOf(groupTags(raw)), raw.Retain
	for _, p := range raw.Suspended {
		g.Suspended = append(g.Suspended, p.Name)
	}
	var err error
	if g.Mark, err = mark(raw); err != nil {
		trouble(&g, err.Error())
	}
	if g.Sleep, err = sleepMark(raw); err != nil {
		trouble(&g, err.Error())
	}
	for _, m := range listed(raw) {
		g.Instances = append(g.Instances, h.instance(m))
	}
	fleet.SortInstances(g.Instances)
	if g.Hooks, err = h.hooks(raw.Name); err != nil {
		return g, err
	}
	for _, arn := range raw.TargetGroups {
		if !slices.ContainsFunc(targets, func(t targetGroup) bool { return t.ARN == arn }) {
			trouble(&g, fmt.Sprintf("target group %s, which is attached to it, does not exist any more", arn))
		}
	}
	for _, t := range targets {
		t.place(&g, !slices.Contains(raw.TargetGroups, t.ARN))
	}
	if f.nodegroup != "" {
		h.manage(&g, f)
	}
	return g, h.resolve(&g)
}

// trouble notes what keeps a group from being read in full. The first reason is told.
func trouble(g *fleet.Group, why string) { g.Trouble = cmp.Or(g.Trouble, why) }

// mark reads drover's journal off a group; nil when there is none.
func mark(raw *cloud.Group) (*fleet.GroupMark, error) {
	for _, t := range raw.Tags {
		if t.Key != markTag {
			continue
		}
		m, err := fleet.ParseGroupMark(t.Value)
		if err != nil {
			return nil, fmt.Errorf("tag %s: %w; read it, put the group back by hand, then delete the tag", markTag, err)
		}
		return m, nil
	}
	return nil, nil
}

func (h *CloudHand) instance(m cloud.Member) fleet.Instance {
	h.mu.Lock()
	defer h.mu.Unlock()
	in := fleet.Instance{
		ID: m.InstanceID, Zone: m.Zone, Type: m.Type, Lifecycle: string(m.State), Launched: h.launched[m.InstanceID], Spot: m.Spot, Protected: m.Protected,
		Template: fleet.Template{Configuration: m.Configuration},
	}
	if m.Template.ID != "" {
		in.Template = fleet.Template{ID: m.Template.ID, Name: m.Template.Name, Version: strconv.Itoa(m.Template.Version)}
	}
	return in
}

// listed are the members of a group, and those of its warm pool that a hook holds: before it lets them go they may have pods.
func listed(g *cloud.Group) []cloud.Member {
	held := slices.DeleteFunc(slices.Clone(g.Pool), func(m cloud.Member) bool { return m.State != fleet.WarmedWait })
	return append(slices.Clone(g.Members), held...)
}

// learn asks EC2 for the launch times of instances not seen before. One that EC2 does not know has none.
func (h *CloudHand) learn(groups []found) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range groups {
		for _, m := range listed(&g.raw) {
			if _, ok := h.launched[m.InstanceID]; ok {
				continue
			}
			if in, ok := h.w.Cloud.Instance(m.InstanceID); ok {
				h.launched[m.InstanceID] = in.LaunchTime
			}
		}
	}
}

// wants lists what a group launches from. An override with a type is limited to it.
func wants(s cloud.Source) []fleet.Template {
	switch {
	case s.Configuration != "":
		return []fleet.Template{{Configuration: s.Configuration}}
	case s.Mixed == nil:
		return []fleet.Template{template(s.Template)}
	case len(s.Mixed.Overrides) == 0:
		return []fleet.Template{template(s.Mixed.Template)}
	}
	var out []fleet.Template
	for _, o := range s.Mixed.Overrides {
		t := template(s.Mixed.Template)
		if o.Template != (cloud.TemplateSpec{}) {
			t = template(o.Template)
		}
		if o.InstanceType != "" {
			t.Types = []string{o.InstanceType}
		}
		out = append(out, t)
	}
	return out
}

func template(s cloud.TemplateSpec) fleet.Template {
	return fleet.Template{ID: s.ID, Name: s.Name, Version: cmp.Or(s.Version, "$Default")}
}

// resolve turns $Latest and $Default into version numbers and fills in names, so that templates can be compared.
func (h *CloudHand) resolve(g *fleet.Group) error {
	for i := range g.Wants {
		t := &g.Wants[i]
		symbolic := t.Version == "$Latest" || t.Version == "$Default"
		if t.ID == "" || !symbolic && t.Name != "" {
			continue
		}
		found, err := h.w.Cloud.DescribeLaunchTemplates([]string{t.ID}, nil, nil)
		switch {
		case codeIs(err, "InvalidLaunchTemplateId.NotFound"):
			trouble(g, fmt.Sprintf("%s, from which it launches, does not exist any more", t))
			continue
		case err != nil:
			return doing("resolve launch template "+t.ID, err)
		}
		t.Name = cmp.Or(found[0].Name, t.Name)
		switch t.Version {
		case "$Latest":
			t.Version = strconv.Itoa(found[0].Latest())
		case "$Default":
			t.Version = strconv.Itoa(found[0].Default)
		}
	}
	return nil
}

// targetGroup is a target group with its targets.
type targetGroup struct {
	fleet.TargetGroup
	targets []cloud.Target
}

// targetGroups reads all target groups of a type, by ARN.
func (h *CloudHand) targetGroups(kind string) ([]targetGroup, error) {
	raw, err := h.w.Cloud.DescribeTargetGroups(nil, nil)
	if err != nil {
		return nil, doing("list target groups", err)
	}
	var out []targetGroup
	for _, tg := range raw {
		if tg.TargetType != kind {
			continue
		}
		targets, err := h.w.Cloud.DescribeTargetHealth(tg.ARN, nil)
		if err != nil {
			return nil, doing("describe targets of "+tg.Name, err)
		}
		out = append(out, targetGroup{
			fleet.TargetGroup{ARN: tg.ARN, Name: tg.Name, Delay: delayOf(tg.Attributes), Warmup: tg.HealthCheck.Interval, IP: kind == "ip"}, targets,
		})
	}
	slices.SortFunc(out, func(a, b targetGroup) int { return cmp.Compare(a.ARN, b.ARN) })
	return out, nil
}

func delayOf(attributes map[string]string) time.Duration {
	n, err := strconv.Atoi(attributes["deregistration_delay.timeout_seconds"])
	if err != nil {
		return 300 * time.Second // AWS's default
	}
	return time.Duration(n) * time.Second
}

// place fills the states of a group's instances in a target group. One that is not attached to the group counts only where it knows a member.
func (t targetGroup) place(g *fleet.Group, loose bool) {
	known := false
	for _, target := range t.targets {
		if in := g.Instance(target.ID); in != nil {
			known = true
			in.Targets = addTarget(in.Targets, t.ARN, string(target.State))
		}
	}
	if known || !loose {
		tg := t.TargetGroup
		tg.Loose = loose
		g.Targets = append(g.Targets, tg)
	}
}

// addTarget notes a state. A target registered under several ports is as far as the port that is least healthy.
func addTarget(to []fleet.Target, arn, state string) []fleet.Target {
	if state == fleet.TargetUnused {
		return to
	}
	for i := range to {
		if to[i].Group == arn {
			if to[i].State == fleet.TargetHealthy {
				to[i].State = state
			}
			return to
		}
	}
	return append(to, fleet.Target{Group: arn, State: state})
}

// Targets returns the state of every target that is a pod, by its IP, and the target groups they are in. The cluster plays their load balancer.
func (h *CloudHand) Targets(context.Context) (map[string][]fleet.Target, []fleet.TargetGroup, error) {
	found, err := h.targetGroups("ip")
	if err != nil {
		return nil, nil, err
	}
	var groups []fleet.TargetGroup
	for _, t := range found {
		groups = append(groups, t.TargetGroup)
	}
	return h.w.Cluster.Targets(), groups, nil
}
