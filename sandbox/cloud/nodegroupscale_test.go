package cloud

import (
	"fmt"
	"slices"
	"testing"
)

// The accident of a shared group: two zones, production's node is the older one in its zone, and staging's script lowers the desired size.
func TestDesiredSizeChoosesNobodysNode(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(func(n *Nodegroup) { n.Min, n.Desired, n.Subnets = 0, 2, n.Subnets[:2] })
	production := l.alive()
	l.must(l.SetDesiredCapacity(l.managed().Scaling, 4, false))
	l.settle()
	staging := slices.DeleteFunc(l.alive(), func(i Instance) bool { return i.ID == production[0].ID || i.ID == production[1].ID })
	l.equal("staging's", len(staging), 2)
	_, err := l.UpdateNodegroupConfig("prod", "web", NodegroupChange{Desired: new(2)})
	l.must(err)
	l.settle()
	left := l.alive()
	l.equal("who is left", fmt.Sprint(left[0].ID, left[1].ID), fmt.Sprint(staging[0].ID, staging[1].ID)) // the oldest went first
}

func TestZoneComesBeforeAge(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(func(n *Nodegroup) { n.Min, n.Desired, n.Subnets = 0, 3, n.Subnets[:2] }) // two in a, one in b
	oldest := l.alive()[0]
	l.must(l.SetInstanceProtection(l.managed().Scaling, []string{oldest.ID}, true))
	crowded := oldest.Zone
	_, err := l.UpdateNodegroupConfig("prod", "web", NodegroupChange{Desired: new(2)})
	l.must(err)
	l.settle()
	zones := map[string]int{}
	for _, i := range l.alive() {
		zones[i.Zone]++
	}
	l.equal("one in each zone", fmt.Sprint(zones[crowded], len(zones)), "1 2")
	if _, there := l.Instance(oldest.ID); !there || !slices.ContainsFunc(l.alive(), func(i Instance) bool { return i.ID == oldest.ID }) {
		t.Fatal("the protected one is gone")
	}
}

// What no policy decides, dice do: among instances of one second in equally crowded zones anybody may go.
func TestTiesAreLuck(t *testing.T) {
	gone := map[string]bool{}
	for seed := range int64(20) {
		l := newLab(t, Config{Seed: seed})
		l.nodegroup(nil)
		before := l.alive()
		_, err := l.UpdateNodegroupConfig("prod", "web", NodegroupChange{Desired: new(2)})
		l.must(err)
		l.settle()
		for _, i := range before {
			if !slices.ContainsFunc(l.alive(), func(a Instance) bool { return a.ID == i.ID }) {
				gone[i.Zone] = true
			}
		}
	}
	l := newLab(t, Config{})
	l.equal("zones from which one went", len(gone), len(l.Zones()))
}

func TestManagedGroupGoesBelowItsMinimumOnlyWhenItIsLowered(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(func(n *Nodegroup) { n.Min, n.Desired = 3, 3 })
	group, victim := l.managed().Scaling, l.alive()[1]
	_, err := l.TerminateInstanceInAutoScalingGroup(victim.ID, true)
	l.refused(err, "ValidationError", "Currently, desiredSize equals minSize (3). Terminating instance without replacement will violate group's min size constraint.")
	_, err = l.UpdateNodegroupConfig("prod", "web", NodegroupChange{Desired: new(2)})
	l.refused(err, "InvalidParameterException", "desired capacity 2 can't be less than minimum size 3")
	_, err = l.UpdateNodegroupConfig("prod", "web", NodegroupChange{Min: new(0), Max: new(0), Desired: new(0)})
	l.refused(err, "InvalidParameterException", "maxSize must be at least 1")

	u, err := l.UpdateNodegroupConfig("prod", "web", NodegroupChange{Min: new(0)})
	l.must(err)
	_, err = l.UpdateNodegroupConfig("prod", "web", NodegroupChange{Min: new(1)})
	l.refused(err, "ResourceInUseException", "")
	l.settle()
	done, err := l.DescribeUpdate("prod", "web", u.ID)
	l.must(err)
	l.equal("update", done.Status, "Successful")
	l.must(l.SuspendProcesses(group, []string{AZRebalance}))
	_, err = l.TerminateInstanceInAutoScalingGroup(victim.ID, true)
	l.must(err)
	l.settle()
	n, g := l.managed(), l.under(l.managed())
	l.equal("sizes", fmt.Sprint(n.Min, n.Desired, g.Min, g.Desired, len(l.alive())), "0 2 0 2 2")
	l.equal("suspended", g.Suspended[0].Name, AZRebalance)
	if slices.ContainsFunc(l.alive(), func(i Instance) bool { return i.ID == victim.ID }) {
		t.Fatal("somebody else went")
	}
}

func TestNodegroupOfNoNodes(t *testing.T) {
	l := newLab(t, Config{})
	taint := NodeTaint{"env", "staging", "NoSchedule"}
	l.nodegroup(func(n *Nodegroup) {
		n.Min, n.Max, n.Desired, n.Labels, n.Taints = 0, 3, 0, map[string]string{"env": "staging"}, []NodeTaint{taint}
	})
	l.equal("at first", fmt.Sprint(l.managed().Status, l.managed().Desired, len(l.alive())), "ACTIVE0 0")
	l.must(l.SetDesiredCapacity(l.managed().Scaling, 2, false))
	l.equal("EKS shows the group's own", l.managed().Desired, 2)
	l.settle()
	for _, i := range l.alive() {
		l.equal("node", fmt.Sprint(i.Labels["env"], i.Taints), fmt.Sprint("staging", []NodeTaint{taint}))
	}
	_, err := l.UpdateNodegroupConfig("prod", "web", NodegroupChange{Desired: new(0)})
	l.must(err)
	l.settle()
	l.equal("in the end", fmt.Sprint(l.managed().Status, l.managed().Desired, len(l.alive())), "ACTIVE0 0")
}
