package fast

import (
	"fmt"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/cluster"
)

func TestMachinesBecomeNodes(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 3, Labels: map[string]string{"pool": "web"}, Taints: []fleet.Taint{{Key: "dedicated", Value: "web", Effect: fleet.NoSchedule}}}))
	l.Advance(5*time.Second + 5*time.Second + time.Minute + 5*time.Second - 1)
	l.equal("nodes before they registered", len(l.observe().Nodes), 0)
	l.Advance(1)
	s := l.observe()
	l.equal("nodes", len(s.Nodes), 3)
	l.equal("taints", s.Nodes[0].Taints, []fleet.Taint{{Key: "dedicated", Value: "web", Effect: fleet.NoSchedule}, {Key: "node.kubernetes.io/not-ready", Effect: fleet.NoSchedule}})
	l.Advance(10 * time.Second)
	s = l.observe()
	for _, n := range s.Nodes {
		g, in := s.Instance(n.Instance)
		if g == nil || g.Name != "web" || in.Zone != n.Zone || !n.Ready || n.Labels["pool"] != "web" || n.Labels[GroupLabel] != "web" || n.Labels[ImageLabel] != "ami-1" {
			t.Fatalf("node %+v of %+v", n, g)
		}
		l.equal("room", n.Room, rooms["m5.xlarge"])
	}
	l.equal("settled", l.Settled(), true)
}

func TestTerminatedMachinesTakeTheirNodesAlong(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 2, Max: 4}))
	l.must(l.Deploy(deployment("api", 4), cluster.BudgetSpec{MaxUnavailable: "1"}))
	l.settle()
	s := l.observe()
	n := s.Nodes[0]
	on := len(s.PodsOn(n.Name))
	l.must(l.act(fleet.Action{Verb: fleet.Terminate, Instance: n.Instance, Group: "web", Node: n.Name}))
	l.equal("lost at once", len(l.Cluster.Ledger().Lost), on)
	l.Advance(30 * time.Second)
	s = l.observe()
	l.equal("nodes", len(s.Nodes), 1)
	l.equal("desired", s.Groups[0].Desired, 1)
	l.settle()
	l.equal("breaches", len(l.Cluster.Ledger().Breaches), 1)
}

func TestBadImages(t *testing.T) {
	l := newLab(t, Options{})
	l.SetImage("ami-silent", Image{Silent: true})
	l.SetImage("ami-unready", Image{Unready: true, Labels: map[string]string{"broken": "yes"}})
	l.must(l.AddGroup(GroupSpec{Name: "silent", Size: 1, Image: "ami-silent"}))
	l.must(l.AddGroup(GroupSpec{Name: "unready", Size: 1, Image: "ami-unready"}))
	l.Advance(time.Hour)
	s := l.observe()
	l.equal("nodes", len(s.Nodes), 1)
	l.equal("ready", s.Nodes[0].Ready, false)
	l.equal("label", s.Nodes[0].Labels["broken"], "yes")
	l.equal("settled", l.Settled(), false)
}

func TestPublishOutdatesAGroup(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 1}))
	l.settle()
	l.equal("current", l.group("web").Instances[0].Template.Same(l.group("web").Wants[0]), true)
	version, err := l.Publish("web", "ami-2")
	l.must(err)
	g := l.group("web")
	l.equal("wants", g.Wants[0].Version, fmt.Sprint(version))
	l.equal("outdated", g.Instances[0].Template.Same(g.Wants[0]), false)
	if _, err := l.Publish("none", "ami-2"); err == nil {
		t.Error("published for a group that is not there")
	}
}

func TestAWorldAtRest(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 2}))
	l.must(l.Deploy(deployment("api", 2)))
	steps := 0
	for l.Step() {
		if steps++; steps > 1000 {
			t.Fatal("the world never comes to rest")
		}
	}
	l.equal("settled", l.Settled(), true)
}

// rotate replaces every node of a group by hand: new nodes first, all old ones closed to pods, then one old node after the other.
func (l *lab) rotate(group string) {
	l.t.Helper()
	l.must(l.act(fleet.Action{Verb: fleet.Suspend, Group: group, Process: fleet.AZRebalance})) // it would take nodes away behind our back
	old := l.group(group)
	l.must(l.act(fleet.Action{Verb: fleet.Resize, Group: group, From: old.Desired, To: 2 * old.Desired}))
	l.settle()
	s := l.observe()
	for _, in := range old.Instances {
		l.must(l.act(fleet.Action{Verb: fleet.Taint_, Node: s.NodeOf(in.ID).Name, Run: "r", Effect: fleet.NoSchedule}))
	}
	for _, in := range old.Instances {
		n := s.NodeOf(in.ID)
		l.await("node "+n.Name+" gets empty", func() bool { return l.evictAll(n.Name) })
		for _, tg := range old.Targets {
			l.must(l.act(fleet.Action{Verb: fleet.Deregister, Instance: in.ID, Target: tg.ARN}))
		}
		l.await("instance "+in.ID+" drains", func() bool { return len(l.group(group).Instance(in.ID).Targets) == 0 })
		a := fleet.Action{Verb: fleet.Terminate, Group: group, Instance: in.ID, Node: n.Name, Expect: fleet.Expect{Empty: true}}
		l.must(l.ClusterHand().Confirm(l.t.Context(), a))
		l.must(l.act(a))
		l.must(l.act(a))
	}
	l.settle()
}

func (l *lab) await(what string, done func() bool) {
	l.t.Helper()
	if !l.Await(time.Hour, done) {
		l.t.Fatalf("never: %s", what)
	}
}

// evictAll asks for the eviction of all that has to move off a node, and tells whether nothing is left.
func (l *lab) evictAll(node string) bool {
	s := l.observe()
	left := 0
	for _, p := range s.PodsOn(node) {
		if p.Stays() != "" {
			continue
		}
		left++
		if err := l.act(fleet.Action{Verb: fleet.Evict, Pod: p.Ref, Node: node}); err != nil {
			l.refused(err, "budget")
		}
	}
	return left == 0
}

// TestARotationByHand goes through all that a rotation needs of a world, and asks the ledger.
func TestARotationByHand(t *testing.T) {
	l := newLab(t, Options{Cloud: cloud.Timing{DeregistrationDelay: 20 * time.Second}})
	arn, err := l.AddTargetGroup("web", false)
	l.must(err)
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: 3, Targets: []string{arn}}))
	l.must(l.Deploy(deployment("api", 6), cluster.BudgetSpec{MaxUnavailable: "1"}))
	db := deployment("db", 3)
	db.Owner.Kind, db.OwnDisk = "StatefulSet", true
	l.must(l.Deploy(db, cluster.BudgetSpec{MinAvailable: "2"}))
	daemon := deployment("log", 0)
	daemon.Owner.Kind = "DaemonSet"
	l.must(l.Deploy(daemon))
	l.settle()
	_, err = l.Publish("web", "ami-2")
	l.must(err)
	l.rotate("web")
	g := l.group("web")
	l.equal("instances", len(g.Instances), 3)
	for _, in := range g.Instances {
		l.equal("template", in.Template.Same(g.Wants[0]), true)
		l.equal("target", in.Target(arn), fleet.TargetHealthy)
	}
	ledger := l.Cluster.Ledger()
	l.equal("breaches", ledger.Breaches, []cluster.Breach(nil))
	for _, lost := range ledger.Lost {
		l.equal("only what stays is lost", lost.Stays, true)
	}
	l.equal("evictions", len(ledger.Evictions), 9)
	l.equal("moved more than once", len(ledger.Again()), 0)
}

// fleetOf fills a world with nodes and workloads of all sorts, and waits until they run.
func (l *lab) fleetOf(nodes, workloads int) {
	l.t.Helper()
	l.must(l.AddGroup(GroupSpec{Name: "web", Size: nodes, Type: "m5.2xlarge"}))
	for i := range workloads {
		s := deployment(fmt.Sprint("w", i), 2+i%10)
		switch i % 10 {
		case 3:
			s.Owner.Kind, s.OwnDisk, s.Parallel = "StatefulSet", true, true
		case 5:
			s.Apart = []fleet.PodTerm{{Topology: "kubernetes.io/hostname", Match: selects(s)}}
		case 6:
			s.Spread = []fleet.Spread{{Topology: "topology.kubernetes.io/zone", MaxSkew: 1, Match: selects(s)}}
		}
		l.must(l.Deploy(s, cluster.BudgetSpec{MaxUnavailable: "1"}))
	}
	l.settle()
}

func TestTheSameSeedTellsTheSameStory(t *testing.T) {
	var first string
	for range 2 {
		l := newLab(t, Options{Seed: 7, Cloud: cloud.Timing{BootJitter: time.Minute}})
		l.fleetOf(8, 12)
		l.rotate("web")
		story := fmt.Sprint(l.Settings(), l.Cluster.Ledger(), l.Now())
		if first == "" {
			first = story
		}
		l.equal("story", story, first)
		l.equal("breaches", len(l.Cluster.Ledger().Breaches), 0)
		l.equal("moved more than once", l.Cluster.Ledger().Again(), []string{})
	}
}

// BenchmarkFleet brings up 100 nodes with 400 workloads and 2,600 pods, then moves every pod of a tenth of the nodes.
func BenchmarkFleet(b *testing.B) {
	for b.Loop() {
		l := newLab(b, Options{})
		l.fleetOf(100, 400)
		for _, n := range l.observe().Nodes[:10] {
			l.Cluster.Cordon(n.Name, true)
			l.await("empty", func() bool { return l.evictAll(n.Name) })
		}
		b.ReportMetric(float64(len(l.Cluster.Ledger().Evictions)), "moves")
	}
}
