package cloud

import (
	"slices"
	"testing"
	"time"
)

// watch advances in steps of a second and gives what it saw: the fewest that served, and the most that lived.
func (l *lab) watch(d time.Duration) (fewest, most int) {
	fewest = len(l.serving())
	for range int(d / time.Second) {
		l.clock.Advance(time.Second)
		fewest, most = min(fewest, len(l.serving())), max(most, l.w.groups["g"].count(InService, LifecyclePending))
	}
	return fewest, most
}

func TestRebalanceLaunchesBeforeItTerminates(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 4, 4, func(g *Group) { g.Zones = g.Zones[:2] })
	l.equal("zones", l.zones(), "a2 b2")
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Zones: l.Zones()}))
	fewest, most := l.watch(10 * time.Minute)
	l.equal("never fewer than desired", fewest, 4)
	l.equal("one over the maximum", most, 5)
	if z := l.zones(); z != "a1 b2 c1" && z != "a2 b1 c1" {
		t.Fatalf("zones %s", z)
	}
	as := l.activities()
	l.equal("launch", as[1].Cause, "At 2026-03-01T12:10:05Z instances were launched to balance instances in zones eu-west-1c with other zones resulting in more than desired number of instances in the group.")
	l.equal("end", as[0].Cause, as[1].Cause+
		"  At 2026-03-01T12:10:15Z an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from 5 to 4."+
		"  At 2026-03-01T12:10:15Z instance "+as[0].Instance+" was selected for termination.")
}

func TestRebalanceWaitsForASlowStart(t *testing.T) {
	l := newLab(t, Config{Timing: Timing{StartTime: 2 * time.Minute}})
	l.group(0, 5, 4, func(g *Group) { g.Zones = g.Zones[:2] })
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Zones: l.Zones()}))
	l.clock.Advance(30 * time.Second)
	l.must(l.SuspendProcesses("g", []string{ScheduledActions})) // makes the group look at itself while the new one starts
	fewest, _ := l.watch(10 * time.Minute)
	l.equal("never fewer than desired", fewest, 4)
}

func TestRebalanceMayGoATenthOverTheMaximum(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 30, 30, func(g *Group) { g.Zones = g.Zones[:2] })
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Zones: l.Zones()}))
	fewest, most := l.watch(20 * time.Minute)
	l.equal("fewest", fewest, 30)
	l.equal("most", most, 33)
	l.equal("zones", l.zones(), "a10 b10 c10")
}

func TestRebalanceLeavesARemovedZone(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 6, 3, nil)
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Zones: l.Zones()[:2]}))
	fewest, _ := l.watch(10 * time.Minute)
	l.equal("fewest", fewest, 3)
	l.equal("zones", l.zones(), "a2 b1")
}

func TestRebalanceAfterTerminationByRequest(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 6, 6, nil)
	for _, m := range l.serving() {
		if m.Zone == l.Zones()[0] {
			_, err := l.TerminateInstanceInAutoScalingGroup(m.InstanceID, true)
			l.must(err)
		}
	}
	l.equal("before", l.zones(), "b2 c2")
	l.settle()
	if z := l.zones(); z != "a1 b1 c2" && z != "a1 b2 c1" {
		t.Fatalf("zones %s", z)
	}
}

func TestRebalanceLeavesProtectedAlone(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 4, 4, func(g *Group) { g.Zones, g.ProtectNew = g.Zones[:1], true })
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Zones: l.Zones()}))
	_, most := l.watch(10 * time.Minute)
	l.equal("nothing launched that could replace nobody", most, 4)
	l.equal("zones", l.zones(), "a4")
}

func TestZoneWithoutCapacity(t *testing.T) {
	l := newLab(t, Config{})
	l.SetDrought(l.Zones()[2], "", true)
	l.group(0, 6, 4, nil)
	l.equal("drought", l.zones(), "a2 b2")
	l.SetDrought(l.Zones()[2], "", false)
	l.settle()
	if z := l.zones(); z != "a1 b2 c1" && z != "a2 b1 c1" {
		t.Fatalf("after the drought: zones %s", z)
	}
	for _, z := range l.Zones() {
		l.SetDrought(z, "m5.large", true)
	}
	l.must(l.SetDesiredCapacity("g", 5, false))
	l.clock.Advance(2 * time.Minute)
	a := l.activities()[0]
	l.equal("status", a.Status, Failed)
	l.equal("text", a.StatusMessage, "We currently do not have sufficient m5.large capacity in the Availability Zone you requested ("+a.Zone+"). "+
		"Our system will be working on provisioning additional capacity. Launching EC2 instance failed.")
	for _, z := range l.Zones() {
		l.SetDrought(z, "m5.large", false)
	}
	l.settle()
	l.equal("served in the end", len(l.serving()), 5)
}

func TestSuspendedProcesses(t *testing.T) {
	kill := func(l *lab) {
		_, err := l.TerminateInstances([]string{l.serving()[0].InstanceID})
		l.must(err)
	}
	desire := func(n int) func(*lab) { return func(l *lab) { l.must(l.SetDesiredCapacity("g", n, false)) } }
	twoZones := func(l *lab) { l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Zones: l.Zones()[:2]})) }
	for _, c := range []struct {
		process       string
		do            func(*lab)
		during, after string
	}{
		{Launch, desire(5), "a1 b1 c1", "a2 b2 c1"},
		{Launch, kill, "b1 c1", "a1 b1 c1"},
		{Terminate, desire(2), "a1 b1 c1", "2"},
		{Terminate, kill, "a1 b1 c1", "a1 b1 c1"},
		{Terminate, twoZones, "a2 b1 c1", "a2 b1"},
		{ReplaceUnhealthy, kill, "a1 b1 c1", "a1 b1 c1"},
		{CheckHealth, kill, "a1 b1 c1", "a1 b1 c1"},
		{AZRebalance, twoZones, "a1 b1 c1", "a2 b1"},
		{ScheduledActions, desire(5), "a2 b2 c1", "a2 b2 c1"},
	} {
		l := newLab(t, Config{})
		l.group(0, 9, 3, nil)
		l.must(l.SuspendProcesses("g", []string{c.process}))
		c.do(l)
		l.settle()
		l.equal(c.process+" suspended", l.zones(), c.during)
		first := l.get().Members[0].InstanceID
		l.must(l.ResumeProcesses("g", nil))
		l.settle()
		if len(c.after) == 1 {
			l.equal(c.process+" resumed", len(l.serving()), c.after)
			continue
		}
		l.equal(c.process+" resumed", l.zones(), c.after)
		if i, _ := l.Instance(first); i.State == Terminated && slices.ContainsFunc(l.serving(), func(m Member) bool { return m.InstanceID == first }) {
			t.Fatalf("%s resumed: a terminated machine still serves", c.process)
		}
	}
	l := newLab(t, Config{})
	l.group(0, 9, 1, nil)
	l.refused(l.SuspendProcesses("g", []string{"Lunch"}), "ValidationError", "Lunch")
	l.must(l.SuspendProcesses("g", nil))
	l.equal("all", len(l.get().Suspended), len(Processes))
	l.equal("reason", l.get().Suspended[0].Reason, "User suspended at 2026-03-01T12:10:00Z")
}
