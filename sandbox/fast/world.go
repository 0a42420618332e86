package fast

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/cluster"
)

// Options say which world to make. The zero value is a usable one.
type Options struct {
	Start   time.Time // default 2026-11-21 20:00 UTC
	Zones   []string  // default the region's a, b and c
	Seed    int64     // decides every choice in the world
	Cloud   cloud.Timing
	Cluster cluster.Timing
	Joins   time.Duration // a booted machine to its node's registration; default 5 s, a negative value means at once
	Readies time.Duration // a node's registration to Ready; default 10 s, likewise
	Pack    bool          // the scheduler fills nodes up
	Rooms   map[string]fleet.Resources
	// Rooms are allocatables by instance type, beside and in place of those the world knows.

	Lingers time.Duration // a machine's end to the removal of its Node object; default at once

	Unjournaled string // why the cluster cannot hold rotation records; "" when it can
	Unslept     string // why it cannot hold records of sleeps; "" when it can
	Processes   cluster.Processes
}

// World is a cloud and a cluster on one clock.
type World struct {
	Clock   *cloud.VirtualClock
	Cloud   *cloud.Cloud
	Cluster *cluster.Cluster

	joins, readies, lingers time.Duration
	rooms                   map[string]fleet.Resources

	archive *Archive
	fronts  fronts

	mu     sync.Mutex // serializes what the cloud tells the cluster
	feed   *cloud.Feed
	images map[string]Image
}

// Image is how machines of an AMI behave, where they do not behave well.
type Image struct {
	Silent  bool // its kubelet never registers
	Unready bool // its node never becomes Ready
	Labels  map[string]string
}

// rooms are the allocatables of instance types, roughly as EKS leaves them.
var rooms = map[string]fleet.Resources{
	"t3.medium": {CPU: 1930, Memory: 3300 << 20, Pods: 17}, "m5.large": {CPU: 1930, Memory: 7100 << 20, Pods: 29}, "r5.large": {CPU: 1930, Memory: 14900 << 20, Pods: 29},
	"m5.xlarge": {CPU: 3920, Memory: 14700 << 20, Pods: 58}, "r5.xlarge": {CPU: 3920, Memory: 30400 << 20, Pods: 58},
	"m5.2xlarge": {CPU: 7910, Memory: 30300 << 20, Pods: 58}, "m5.4xlarge": {CPU: 15890, Memory: 60900 << 20, Pods: 234},
}

// New makes an empty world.
func New(o Options) *World {
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	}
	clock := cloud.NewVirtualClock(o.Start)
	w := &World{
		Clock: clock, Cloud: cloud.New(cloud.Config{Clock: clock, Timing: o.Cloud, Zones: o.Zones, Seed: o.Seed}),
		Cluster: cluster.New(cluster.Options{Clock: clock, Seed: o.Seed, Timing: o.Cluster, Pack: o.Pack, Unjournaled: o.Unjournaled, Unslept: o.Unslept, Processes: o.Processes}),
		joins:   max(cmp.Or(o.Joins, 5*time.Second), 0), readies: max(cmp.Or(o.Readies, 10*time.Second), 0), lingers: o.Lingers,
		rooms: maps.Clone(rooms), images: map[string]Image{}, archive: &Archive{kept: map[string][]fleet.SleepRecord{}},
		fronts: fronts{answers: map[string]bool{}, turn: map[string]int{}, sessions: map[string][]fleet.Session{}},
	}
	w.Cluster.Answering(w.Answers)
	maps.Copy(w.rooms, o.Rooms)
	w.feed = w.Cloud.Feed()
	w.Cloud.SetDrainedByOthers(true)
	return w
}

// Archive is the world's place for second copies of records.
func (w *World) Archive() *Archive { return w.archive }

// Now is the world's time.
func (w *World) Now() time.Time { return w.Clock.Now() }

// Step advances the clock to the next event and lets everything of that moment happen. It returns false when nothing will ever happen any more.
func (w *World) Step() bool {
	w.sync()
	at, ok := w.Clock.Next()
	if !ok {
		return false
	}
	w.Clock.Advance(at.Sub(w.Clock.Now()))
	w.sync()
	return true
}

// Advance moves the clock by d, event by event.
func (w *World) Advance(d time.Duration) {
	end := w.Now().Add(d)
	w.sync()
	for at, ok := w.Clock.Next(); ok && !at.After(end); at, ok = w.Clock.Next() {
		w.Step()
	}
	w.Clock.Advance(end.Sub(w.Now()))
}

// Await steps until done says so, for at most d of the world's time, and tells whether it did.
func (w *World) Await(d time.Duration, done func() bool) bool {
	end := w.Now().Add(d)
	for !done() {
		at, ok := w.Clock.Next()
		if !ok || at.After(end) {
			return false
		}
		w.Step()
	}
	return true
}

// SetImage says how machines of an AMI behave.
func (w *World) SetImage(id string, i Image) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.images[id] = i
}

// GroupSpec is a self-managed Auto Scaling group with a launch template of its own name, of which it launches $Latest.
type GroupSpec struct {
	Name     string
	Type     string // default m5.xlarge
	Image    string // default ami-1
	Size     int
	Min, Max int      // default 0 and twice the size
	Zones    []string // default all
	Labels   map[string]string
	Taints   []fleet.Taint
	Targets  []string // ARNs of target groups
	Spot     bool
	Cluster  string // whose it is, by its tag; one that is not the world's own has machines that are no nodes here
	Retain   bool   // instances whose hook is abandoned are kept
}

// AddGroup makes a group. Its machines take the world's time to come up.
func (w *World) AddGroup(s GroupSpec) error {
	if s.Cluster != "" && s.Cluster != ClusterName {
		s.Image = "ami-of-" + s.Cluster
		w.SetImage(s.Image, Image{Silent: true})
	}
	data := cloud.TemplateData{ImageID: cmp.Or(s.Image, "ami-1"), InstanceType: cmp.Or(s.Type, "m5.xlarge"), Spot: s.Spot}
	if _, err := w.Cloud.CreateLaunchTemplate(s.Name, "", data, nil); err != nil {
		return fmt.Errorf("add group %s: %w", s.Name, err)
	}
	zones := s.Zones
	if len(zones) == 0 {
		zones = w.Cloud.Zones()
	}
	err := w.Cloud.CreateAutoScalingGroup(cloud.Group{
		Name: s.Name, Min: s.Min, Max: cmp.Or(s.Max, 2*s.Size), Desired: s.Size, Zones: zones, TargetGroups: s.Targets, Tags: tagsOf(s), Retain: s.Retain,
		Source: cloud.Source{Template: cloud.TemplateSpec{Name: s.Name, Version: "$Latest"}},
	})
	if err != nil {
		return fmt.Errorf("add group %s: %w", s.Name, err)
	}
	return nil
}

// NodegroupSpec is an EKS managed node group on the cluster's version and the newest AMI release.
type NodegroupSpec struct {
	Cluster  string // made with Kubernetes 1.33 if there is none; default main
	Name     string
	Type     string // default m5.xlarge
	Size     int
	Min, Max int // default 0 and twice the size
	Labels   map[string]string
	Taints   []fleet.Taint
}

// AddNodegroup makes a managed node group. Its machines take the world's time to come up.
func (w *World) AddNodegroup(s NodegroupSpec) error {
	s.Cluster = cmp.Or(s.Cluster, "main")
	if _, err := w.Cloud.DescribeCluster(s.Cluster); codeIs(err, "ResourceNotFoundException") {
		w.Cloud.AddCluster(s.Cluster, "1.33")
	}
	n := cloud.Nodegroup{
		Cluster: s.Cluster, Name: s.Name, Role: "arn:aws:iam::123456789012:role/node", InstanceTypes: []string{cmp.Or(s.Type, "m5.xlarge")}, Labels: s.Labels,
		Min: s.Min, Max: cmp.Or(s.Max, 2*s.Size), Desired: s.Size,
	}
	for _, sub := range w.Cloud.Subnets() {
		n.Subnets = append(n.Subnets, sub.ID)
	}
	for _, t := range s.Taints {
		n.Taints = append(n.Taints, cloud.NodeTaint(t))
	}
	if _, err := w.Cloud.CreateNodegroup(n, ""); err != nil {
		return fmt.Errorf("add node group %s: %w", s.Name, err)
	}
	return nil
}

// Tags by which a group says how its nodes will look, as cluster-autoscaler reads them.
const (
	labelTag = "k8s.io/cluster-autoscaler/node-template/label/"
	taintTag = "k8s.io/cluster-autoscaler/node-template/taint/"
)

func tagsOf(s GroupSpec) []cloud.GroupTag {
	var out []cloud.GroupTag
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		out = append(out, cloud.GroupTag{Group: s.Name, Key: labelTag + k, Value: s.Labels[k], Propagate: true})
	}
	if s.Cluster != "" {
		out = append(out, cloud.GroupTag{Group: s.Name, Key: ownerTag + s.Cluster, Value: "owned", Propagate: true})
	}
	for _, t := range s.Taints {
		out = append(out, cloud.GroupTag{Group: s.Name, Key: taintTag + t.Key, Value: t.Value + ":" + t.Effect, Propagate: true})
	}
	return out
}

// Publish makes a new version of a group's launch template, with another AMI: from then on its instances are outdated.
func (w *World) Publish(group, image string) (version int, err error) {
	ref, _, err := w.Cloud.CreateLaunchTemplateVersion("", group, "$Latest", "", cloud.TemplateData{ImageID: image})
	if err != nil {
		return 0, fmt.Errorf("publish %s for group %s: %w", image, group, err)
	}
	return ref.Version, nil
}

// AddTargetGroup makes a target group, of instances or of pods by IP, and returns its ARN.
func (w *World) AddTargetGroup(name string, ip bool) (arn string, err error) {
	kind := "instance"
	if ip {
		kind = "ip"
	}
	tg, err := w.Cloud.CreateTargetGroup(cloud.TargetGroup{Name: name, TargetType: kind})
	if err != nil {
		return "", fmt.Errorf("add target group %s: %w", name, err)
	}
	return tg.ARN, nil
}

// Deploy makes a workload and its budgets. A budget without a name or a match gets its workload's.
func (w *World) Deploy(s cluster.Spec, budgets ...cluster.BudgetSpec) error {
	for _, b := range budgets {
		b.Name = cmp.Or(b.Name, s.Owner.Namespace+"/"+s.Owner.Name)
		if len(b.Match) == 0 {
			b.Match = selects(s)
		}
		if err := w.Cluster.Protect(b); err != nil {
			return err
		}
	}
	return w.Cluster.Apply(s)
}

// selects is the term that matches the workload's pods.
func selects(s cluster.Spec) fleet.Term {
	labels := s.Labels
	if len(labels) == 0 {
		labels = map[string]string{"app": s.Owner.Name}
	}
	var out fleet.Term
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, fleet.Requirement{Key: k, Operator: "In", Values: []string{labels[k]}})
	}
	return out
}

// Settled tells whether all nodes that groups want are there and Ready, none is on its way out, and all pods run.
func (w *World) Settled() bool {
	nodes := map[string]bool{}
	var s fleet.Snapshot
	if err := w.Cluster.Observe(context.Background(), &s); err != nil {
		return false
	}
	for _, n := range s.Nodes {
		nodes[n.Instance] = n.Ready && !n.Starting()
	}
	for _, g := range w.groups() {
		if owner := clusterOf(groupTags(&g)); owner != "" && owner != ClusterName {
			continue
		}
		serving := 0
		for _, m := range g.Members {
			switch {
			case strings.HasPrefix(string(m.State), string(cloud.Terminating)) && m.State != cloud.Retained:
				return false
			case m.State == cloud.InService && nodes[m.InstanceID]:
				serving++
			}
		}
		if serving != g.Desired {
			return false
		}
	}
	return !slices.ContainsFunc(s.Pods, func(p fleet.Pod) bool { return !p.Ready && !p.Finished || p.Terminating })
}

// Settings is everything that drover may change in cloud and cluster, in sorted lines.
func (w *World) Settings() string {
	var out []string
	for _, g := range w.groups() {
		out = append(out, fmt.Sprintf("group %s min=%d max=%d desired=%d", g.Name, g.Min, g.Max, g.Desired))
		for _, p := range g.Suspended {
			out = append(out, fmt.Sprintf("group %s suspended %s", g.Name, p.Name))
		}
		for _, t := range g.Tags {
			out = append(out, fmt.Sprintf("group %s tag %s=%s", g.Name, t.Key, t.Value))
		}
		for _, m := range g.Members {
			out = append(out, fmt.Sprintf("group %s member %s %s", g.Name, m.InstanceID, m.State))
			if m.Protected {
				out = append(out, fmt.Sprintf("group %s protects %s", g.Name, m.InstanceID))
			}
		}
	}
	out = append(out, w.databaseSettings()...)
	for _, tg := range w.Cloud.TargetGroups() {
		for _, t := range w.Cloud.Targets(tg.ARN) {
			out = append(out, fmt.Sprintf("target group %s target %s:%d", tg.Name, t.ID, t.Port))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n") + "\n" + w.Cluster.Settings()
}

// groups are all groups as AWS shows them; without any fault a Describe call does not fail.
func (w *World) groups() []cloud.Group {
	groups, err := w.Cloud.DescribeAutoScalingGroups(nil, nil)
	if err != nil {
		return nil
	}
	return groups
}
