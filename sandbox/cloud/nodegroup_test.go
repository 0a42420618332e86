package cloud

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// nodegroup makes the cluster "prod" on 1.33 with a node group "web" and lets it settle.
func (l *lab) nodegroup(change func(*Nodegroup)) {
	l.t.Helper()
	l.AddCluster("prod", "1.33")
	n := Nodegroup{Cluster: "prod", Name: "web", Role: "arn:aws:iam::123456789012:role/node", Min: 1, Max: 4, Desired: 3, InstanceTypes: []string{"m5.large"}}
	for _, s := range l.Subnets() {
		n.Subnets = append(n.Subnets, s.ID)
	}
	if change != nil {
		change(&n)
	}
	_, err := l.CreateNodegroup(n, "")
	l.must(err)
	l.settle()
	l.feed.Take()
}

func (l *lab) managed() Nodegroup {
	l.t.Helper()
	n, err := l.DescribeNodegroup("prod", "web")
	l.must(err)
	return n
}

func (l *lab) under(n Nodegroup) Group {
	l.t.Helper()
	gs, err := l.DescribeAutoScalingGroups([]string{n.Scaling}, nil)
	l.must(err)
	if len(gs) != 1 {
		l.t.Fatalf("%d groups %s", len(gs), n.Scaling)
	}
	return gs[0]
}

// alive lists the machines that are not off or going off, oldest first.
func (l *lab) alive() []Instance {
	return slices.DeleteFunc(l.Instances(), func(i Instance) bool { return i.Gone() })
}

func TestNodegroupMakesItsGroup(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(func(n *Nodegroup) {
		n.Labels = map[string]string{"pool": "web"}
		n.Taints = []NodeTaint{{"dedicated", "web", "NoSchedule"}}
	})
	n := l.managed()
	l.equal("state", fmt.Sprint(n.Status, " ", n.Version, " ", n.Release, " ", n.AMIType), "ACTIVE 1.33 1.33.0-20260101 AL2023_x86_64_STANDARD")
	g := l.under(n)
	l.equal("group", fmt.Sprint(strings.HasPrefix(g.Name, "eks-web-"), g.Min, g.Max, g.Desired, len(g.Members)), fmt.Sprint(true, 1, 4, 3, 3))
	tags := map[string]string{}
	for _, tag := range g.Tags {
		tags[tag.Key] = tag.Value
	}
	l.equal("tags", tags["eks:cluster-name"]+" "+tags["eks:nodegroup-name"], "prod web")
	i := l.alive()[0]
	l.equal("label", i.Labels["pool"]+" "+i.Labels["eks.amazonaws.com/nodegroup"]+" "+i.Labels["eks.amazonaws.com/capacityType"], "web web ON_DEMAND")
	l.equal("image", i.Labels["eks.amazonaws.com/nodegroup-image"], i.ImageID)
	l.equal("taints", i.Taints, n.Taints)
}

func TestNodegroupIsMadeOnce(t *testing.T) {
	l := newLab(t, Config{})
	l.AddCluster("prod", "1.33")
	spec := Nodegroup{Cluster: "prod", Name: "web", Role: "r", Max: 2, Desired: 1, Subnets: []string{l.Subnets()[0].ID}}
	first, err := l.CreateNodegroup(spec, "token")
	l.must(err)
	l.equal("at first", first.Status, NodegroupCreating)
	again, err := l.CreateNodegroup(spec, "token")
	l.must(err)
	l.equal("the same", again.ARN, first.ARN)
	_, err = l.CreateNodegroup(spec, "other")
	l.refused(err, "ResourceInUseException", "NodeGroup already exists with name web and cluster name prod")
	_, err = l.DeleteNodegroup("prod", "web")
	l.refused(err, "ResourceInUseException", "while it is CREATING")
}

func TestNodegroupRefusals(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(nil)
	_, err := l.DescribeNodegroup("none", "web")
	l.refused(err, "ResourceNotFoundException", "No cluster found for name: none.")
	_, err = l.DescribeNodegroup("prod", "none")
	l.refused(err, "ResourceNotFoundException", "No node group found for name: none.")
	for want, change := range map[string]func(*Nodegroup){
		"is not the cluster's version": func(n *Nodegroup) { n.Version = "1.32" },
		"can't be greater than":        func(n *Nodegroup) { n.Desired = 5 },
		"nodeRole is required":         func(n *Nodegroup) { n.Role = "" },
		"subnet ID 'none'":             func(n *Nodegroup) { n.Subnets = []string{"none"} },
	} {
		n := Nodegroup{Cluster: "prod", Name: "more", Role: "r", Max: 2, Desired: 1, Subnets: []string{l.Subnets()[0].ID}}
		change(&n)
		_, err := l.CreateNodegroup(n, "")
		l.refused(err, "InvalidParameterException", want)
	}
	_, err = l.UpdateNodegroupVersion("prod", "web", "1.31", "", TemplateSpec{}, false)
	l.refused(err, "InvalidParameterException", "neither the node group's 1.33 nor the cluster's 1.33")
	_, err = l.UpdateNodegroupVersion("prod", "web", "", "", TemplateSpec{Name: "nodes"}, false)
	l.refused(err, "InvalidRequestException", "made without one")
}

func TestNodegroupIsDeletedWithAllItMade(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(nil)
	before, err := l.DescribeLaunchTemplates(nil, nil, nil)
	l.must(err)
	_, err = l.DeleteNodegroup("prod", "web")
	l.must(err)
	drains := 0
	for _, e := range l.feed.Take() {
		if e.Kind == NodeDrain {
			drains++
		}
	}
	l.equal("asked to drain", drains, 3)
	l.equal("state", l.managed().Status, NodegroupDeleting)
	l.settle()
	_, err = l.DescribeNodegroup("prod", "web")
	l.refused(err, "ResourceNotFoundException", "web")
	after, err := l.DescribeLaunchTemplates(nil, nil, nil)
	l.must(err)
	l.equal("templates", fmt.Sprint(len(before), len(after)), "2 1")
	l.equal("machines", len(l.alive()), 0)
}

func TestRollOfANodegroup(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(nil)
	l.SetDrainedByOthers(true)
	l.PublishRelease("1.33", "1.33.5-20261101")
	old := map[string]bool{}
	for _, i := range l.alive() {
		old[i.ID] = true
	}
	u, err := l.UpdateNodegroupVersion("prod", "web", "", "", TemplateSpec{}, false)
	l.must(err)
	l.equal("while it goes on", l.managed().Status, NodegroupUpdating)
	_, err = l.UpdateNodegroupVersion("prod", "web", "", "", TemplateSpec{}, false)
	l.refused(err, "ResourceInUseException", "not in Active State")

	var story []string
	most, asleep := 0, 0
	for range 400 {
		l.clock.Advance(15 * time.Second)
		for _, e := range l.feed.Take() {
			switch e.Kind {
			case NodeCordon, NodeDrain:
				if !old[e.Instance.ID] {
					t.Fatalf("%s of a new node", e.Kind)
				}
				story = append(story, string(e.Kind))
				if e.Kind == NodeDrain {
					asleep++
					l.ReportNodeDrained(e.Instance.ID)
				}
			case InstanceStopping:
				story = append(story, string(e.Kind))
				asleep--
			}
			if asleep > 1 && len(story) < 9 {
				t.Fatalf("%d nodes drained at once, one may be: %v", asleep, story)
			}
		}
		most = max(most, len(l.alive()))
	}
	l.equal("surge", most, 3+6)
	want := "NodeCordon NodeCordon NodeCordon" + strings.Repeat(" NodeDrain InstanceStopping", 3) + strings.Repeat(" InstanceStopping", 6)
	l.equal("story", strings.Join(story, " "), want)
	done, err := l.DescribeUpdate("prod", "web", u.ID)
	l.must(err)
	n := l.managed()
	l.equal("end", fmt.Sprint(done.Status, " ", n.Status, " ", n.Release, " ", n.Desired, " ", l.under(n).Max), "Successful ACTIVE 1.33.5-20261101 3 4")
	l.equal("nodes", len(l.alive()), 3)
	for _, i := range l.alive() {
		l.equal("image", i.ImageID, image("1.33.5-20261101"))
	}
}

func TestRollFailsWhenPodsStay(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(nil)
	l.SetDrainedByOthers(true)
	l.PublishRelease("1.33", "1.33.5-20261101")
	old := l.alive()
	u, err := l.UpdateNodegroupVersion("prod", "web", "", "", TemplateSpec{}, false)
	l.must(err)
	l.clock.Advance(time.Hour)
	done, err := l.DescribeUpdate("prod", "web", u.ID)
	l.must(err)
	l.equal("update", done.Status+" "+done.Errors[0].Code, "Failed PodEvictionFailure")
	n := l.managed()
	l.equal("as before", fmt.Sprint(n.Status, " ", n.Release, " ", n.Desired, " ", l.under(n).Max), "ACTIVE 1.33.0-20260101 3 4")
	l.equal("nodes", fmt.Sprint(len(l.alive()), l.alive()[0].ID, l.alive()[2].ID), fmt.Sprint(3, old[0].ID, old[2].ID))

	_, err = l.UpdateNodegroupVersion("prod", "web", "", "", TemplateSpec{}, true)
	l.must(err)
	l.clock.Advance(3 * time.Hour)
	l.equal("with force", l.managed().Release, "1.33.5-20261101")
	l.equal("state", l.managed().Status, NodegroupActive)
}

func TestRollWithoutSurge(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(func(n *Nodegroup) { n.Pace = Pace{Percentage: 70, Strategy: "MINIMAL"} })
	l.PublishRelease("1.33", "1.33.5-20261101")
	_, err := l.UpdateNodegroupVersion("prod", "web", "", "", TemplateSpec{}, false)
	l.must(err)
	for range 200 {
		l.clock.Advance(5 * time.Second)
		g := l.under(l.managed())
		if n := g.count(InService, LifecyclePending); n > 3 {
			t.Fatalf("%d nodes without surge", n)
		}
	}
	l.equal("end", l.managed().Status+" "+l.managed().Release, "ACTIVE 1.33.5-20261101")
}

func TestNodegroupFollowsItsTemplate(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(func(n *Nodegroup) { n.Template, n.InstanceTypes = TemplateSpec{Name: "nodes"}, nil })
	n := l.managed()
	l.equal("custom", fmt.Sprint(n.AMIType, " ", n.Release, " ", n.Template.Version), "CUSTOM ami-1 1")
	l.equal("label", l.alive()[0].Labels["eks.amazonaws.com/sourceLaunchTemplateVersion"], "1")
	_, _, err := l.CreateLaunchTemplateVersion("", "nodes", "1", "", TemplateData{ImageID: "ami-2"})
	l.must(err)
	_, err = l.UpdateNodegroupVersion("prod", "web", "", "", TemplateSpec{Name: "nodes", Version: "2"}, false)
	l.must(err)
	l.clock.Advance(time.Hour)
	n = l.managed()
	l.equal("rolled", fmt.Sprint(n.Status, " ", n.Release, " ", n.Template.Version, " ", len(l.alive()), " ", l.alive()[0].ImageID), "ACTIVE ami-2 2 3 ami-2")
}

func TestNodegroupConfig(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(func(n *Nodegroup) {
		n.Labels, n.Taints = map[string]string{"pool": "web", "old": "yes"}, []NodeTaint{{"dedicated", "web", "NoSchedule"}}
	})
	u, err := l.UpdateNodegroupConfig("prod", "web", NodegroupChange{
		Desired: new(4), AddLabels: map[string]string{"pool": "api"}, RemoveLabels: []string{"old"}, RemoveTaints: []NodeTaint{{"dedicated", "web", "NoSchedule"}},
	})
	l.must(err)
	changed := 0
	for _, e := range l.feed.Take() {
		if e.Kind == NodeChanged {
			changed++
			l.equal("labels", e.Instance.Labels["pool"]+e.Instance.Labels["old"], "api")
			l.equal("taints", len(e.Instance.Taints), 0)
		}
	}
	l.equal("nodes told", changed, 3)
	l.settle()
	done, err := l.DescribeUpdate("prod", "web", u.ID)
	l.must(err)
	l.equal("end", fmt.Sprint(done.Status, l.managed().Status, len(l.alive())), "SuccessfulACTIVE4")
	_, err = l.UpdateNodegroupConfig("prod", "web", NodegroupChange{Max: new(2)})
	l.refused(err, "InvalidParameterException", "desired capacity 4 can't be greater than max size 2")
}

func TestNodegroupWithoutItsGroupIsDegraded(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(nil)
	l.must(l.DeleteAutoScalingGroup(l.managed().Scaling, true))
	l.settle()
	n := l.managed()
	l.equal("state", n.Status+" "+n.Issues[0].Code, "DEGRADED AutoScalingGroupNotFound")
	_, err := l.DeleteNodegroup("prod", "web")
	l.must(err)
	_, err = l.DescribeNodegroup("prod", "web")
	l.refused(err, "ResourceNotFoundException", "web")
}

func TestLimitsStopLaunches(t *testing.T) {
	for want, limit := range map[string]func(*lab){
		"vCPU limit of 8 allows":                 func(l *lab) { l.SetQuota(8) },
		"There are not enough free addresses":    func(l *lab) { l.OccupyAddresses(l.Zones()[0], 247) },
		"is not supported in your requested":     func(l *lab) { l.SetOffered(l.Zones()[0], "m5.large", false) },
		"do not have sufficient m5.large capaci": func(l *lab) { l.SetDrought(l.Zones()[0], "", true) },
	} {
		l := newLab(t, Config{})
		l.group(0, 9, 4, func(g *Group) { g.Zones = l.Zones()[:1] })
		limit(l)
		l.must(l.SetDesiredCapacity("g", 5, false))
		l.settle()
		l.equal("serving", len(l.serving()), 4)
		if got := l.activities()[0].StatusMessage; !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestNodegroupSeenLate(t *testing.T) {
	l := newLab(t, Config{Timing: Timing{ConsistencyLag: 10 * time.Second}})
	l.nodegroup(nil)
	l.PublishRelease("1.33", "1.33.5-20261101")
	u, err := l.UpdateNodegroupVersion("prod", "web", "", "", TemplateSpec{}, false)
	l.must(err)
	l.equal("not seen yet", l.managed().Status, NodegroupActive)
	_, err = l.DescribeUpdate("prod", "web", u.ID)
	l.refused(err, "ResourceNotFoundException", "No update found")
	l.clock.Advance(11 * time.Second)
	l.equal("seen", l.managed().Status, NodegroupUpdating)
	l.clock.Advance(2 * time.Hour)
	l.equal("end", l.managed().Status+" "+l.managed().Release, "ACTIVE 1.33.5-20261101")
}

// Whatever the sizes, a roll never takes more nodes away at once than it may, and all nodes are new at its end.
func TestRollsKeepTheirPace(t *testing.T) {
	for seed := range int64(40) {
		l := newLab(t, Config{Seed: seed, Timing: Timing{BootJitter: time.Minute}})
		dice := rand.New(rand.NewPCG(uint64(seed), 7))
		nodes, atOnce, zones := 1+dice.IntN(8), 1+dice.IntN(3), 1+dice.IntN(3)
		l.nodegroup(func(n *Nodegroup) {
			n.Min, n.Max, n.Desired, n.Pace, n.Subnets = 0, 8, nodes, Pace{MaxUnavailable: atOnce}, n.Subnets[:zones]
		})
		l.PublishRelease("1.33", "1.33.5-20261101")
		_, err := l.UpdateNodegroupVersion("prod", "web", "", "", TemplateSpec{}, false)
		l.must(err)
		for n := 0; l.managed().Status == NodegroupUpdating; n++ {
			l.clock.Advance(5 * time.Second)
			if ready := l.ready(l.w.groups[l.managed().Scaling], nil); ready < nodes-atOnce {
				t.Fatalf("seed %d: %d of %d nodes are ready, %d may be away", seed, ready, nodes, atOnce)
			}
			if n > 5000 {
				t.Fatalf("seed %d: no end of it", seed)
			}
		}
		l.equal("nodes", len(l.alive()), nodes)
		for _, i := range l.alive() {
			l.equal("image", i.ImageID, image("1.33.5-20261101"))
		}
	}
}

func TestANodegroupThatCannotBeMade(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(nil)
	l.FailNodegroup("Ec2SubnetNotFound", "no such subnet")
	spec := l.managed()
	spec.Name = "next"
	made, err := l.CreateNodegroup(spec, "")
	l.must(err)
	l.equal("at first", fmt.Sprint(made.Status, " ", made.Scaling == "", made.Issues), "CREATING true []")
	_, err = l.DeleteNodegroup("prod", "next")
	l.refused(err, "ResourceInUseException", "cannot be deleted while it is CREATING")
	l.settle()
	n, err := l.DescribeNodegroup("prod", "next")
	l.must(err)
	l.equal("then", fmt.Sprint(n.Status, " ", n.Scaling == "", n.Issues), "CREATE_FAILED true [{Ec2SubnetNotFound no such subnet []}]")
	_, err = l.UpdateNodegroupVersion("prod", "next", "", "", TemplateSpec{}, false)
	l.refused(err, "ResourceInUseException", "not in Active State")
	_, err = l.DeleteNodegroup("prod", "next")
	l.must(err)
	names, err := l.ListNodegroups("prod")
	l.must(err)
	l.equal("left", fmt.Sprint(names), "[web]")
	spec.Name = "again"
	_, err = l.CreateNodegroup(spec, "")
	l.must(err)
	l.settle()
	n, err = l.DescribeNodegroup("prod", "again")
	l.must(err)
	l.equal("the one after", n.Status, NodegroupActive)
}
