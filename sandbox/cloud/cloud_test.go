package cloud

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// lab is a cloud on a virtual clock with a template "nodes" and a group made from it.
type lab struct {
	*Cloud
	t     *testing.T
	clock *VirtualClock
	feed  *Feed
}

func newLab(t *testing.T, cfg Config) *lab {
	clock := NewVirtualClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	cfg.Clock = clock
	l := &lab{Cloud: New(cfg), t: t, clock: clock}
	l.feed = l.Feed()
	_, err := l.CreateLaunchTemplate("nodes", "", TemplateData{ImageID: "ami-1", InstanceType: "m5.large"}, nil)
	l.must(err)
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// refused asserts the code and a part of the text of an error.
func (l *lab) refused(err error, code, text string) {
	l.t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, text) {
		l.t.Fatalf("got error %v, want %s with %q", err, code, text)
	}
}

// group makes a group "g" over zones a, b and c, with changes, and lets it settle.
func (l *lab) group(min, max, desired int, change func(*Group)) {
	l.t.Helper()
	g := Group{Name: "g", Min: min, Max: max, Desired: desired, Source: Source{Template: TemplateSpec{Name: "nodes"}}, Zones: l.Zones()}
	if change != nil {
		change(&g)
	}
	l.must(l.CreateAutoScalingGroup(g))
	l.settle()
}

// settle lets ten minutes pass, more than any default needs.
func (l *lab) settle() { l.clock.Advance(10 * time.Minute) }

func (l *lab) get() Group {
	l.t.Helper()
	gs, err := l.DescribeAutoScalingGroups([]string{"g"}, nil)
	l.must(err)
	if len(gs) != 1 {
		l.t.Fatalf("%d groups called g", len(gs))
	}
	return gs[0]
}

func (l *lab) serving() []Member {
	return slices.DeleteFunc(l.get().Members, func(m Member) bool { return m.State != InService })
}

// zones prints how many serve in each zone: "a2 b1 c1".
func (l *lab) zones() string {
	count := map[string]int{}
	for _, m := range l.serving() {
		count[m.Zone]++
	}
	var out []string
	for _, z := range zonesOf(count) {
		out = append(out, fmt.Sprintf("%s%d", z[len(z)-1:], count[z]))
	}
	return strings.Join(out, " ")
}

func (l *lab) activities() []Activity {
	l.t.Helper()
	as, err := l.DescribeScalingActivities("g", nil)
	l.must(err)
	return as
}

func (l *lab) equal(what string, got, want any) {
	l.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		l.t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func TestGroupReachesDesiredInBalancedZones(t *testing.T) {
	l := newLab(t, Config{})
	l.group(1, 10, 4, nil)
	l.equal("zones", l.zones(), "a2 b1 c1")
	l.must(l.SetDesiredCapacity("g", 6, false))
	l.settle()
	l.equal("zones", l.zones(), "a2 b2 c2")

	i := l.Instances()[0]
	l.equal("name", i.PrivateDNS, "ip-127-20-1-1.eu-west-1.compute.internal")
	l.equal("group tag", i.Tags["aws:autoscaling:groupName"], "g")
	l.equal("booted", i.Booted, true)
}

func TestSubnetsMapToZones(t *testing.T) {
	l := newLab(t, Config{})
	subnets := l.Subnets()
	l.group(0, 10, 4, func(g *Group) { g.Zones, g.Subnets = nil, []string{subnets[1].ID, subnets[2].ID} })
	l.equal("zones", l.zones(), "b2 c2")
	l.refused(l.UpdateAutoScalingGroup("g", GroupUpdate{Subnets: []string{"subnet-none"}}), "ValidationError", "does not exist")
}

func TestLifeOfAnInstance(t *testing.T) {
	l := newLab(t, Config{Timing: Timing{RetainTime: 10 * time.Minute}})
	l.group(0, 1, 1, nil)
	id := l.Instances()[0].ID
	_, err := l.TerminateInstanceInAutoScalingGroup(id, true)
	l.must(err)
	start := l.clock.Now().Add(-10 * time.Minute)
	l.clock.Advance(20 * time.Minute)
	var got []string
	for _, e := range l.feed.Take() {
		if e.Instance.ID == id {
			got = append(got, fmt.Sprintf("%s +%v", e.Kind, e.At.Sub(start)))
		}
	}
	l.equal("events", strings.Join(got, "\n"), strings.Join([]string{
		"InstanceLaunched +5s", "InstanceRunning +10s", "InstanceBooted +1m10s", "InstanceStopping +10m0s", "InstanceTerminated +10m30s",
	}, "\n"))
	l.equal("left in EC2", len(l.Instances()), 0)
	l.equal("left in the group", len(l.get().Members), 0)
}

func TestBounds(t *testing.T) {
	l := newLab(t, Config{})
	l.group(1, 8, 2, nil)
	l.refused(l.SetDesiredCapacity("g", 9, false), "ValidationError", "New SetDesiredCapacity value 9 is above max value 8 for the AutoScalingGroup.")
	l.refused(l.SetDesiredCapacity("g", 0, false), "ValidationError", "New SetDesiredCapacity value 0 is below min value 1 for the AutoScalingGroup.")
	l.refused(l.SetDesiredCapacity("none", 1, false), "ValidationError", "AutoScalingGroup name not found - ")
	l.refused(l.UpdateAutoScalingGroup("g", GroupUpdate{Desired: new(9)}), "ValidationError", "Desired capacity:9 must be between the specified min size:1 and max size:8")
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Min: new(3)}))
	l.equal("desired follows min", l.get().Desired, 3)
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Min: new(0), Max: new(1)}))
	l.equal("desired follows max", l.get().Desired, 1)
	l.settle()
	l.equal("serving", len(l.serving()), 1)
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Min: new(1)}))
	_, err := l.TerminateInstanceInAutoScalingGroup(l.serving()[0].InstanceID, true)
	l.refused(err, "ValidationError", "Currently, desiredSize equals minSize (1).")
	_, err = l.TerminateInstanceInAutoScalingGroup("i-00000000000000000", true)
	l.refused(err, "ValidationError", "No managed instance found for instance ID: i-00000000000000000")
}

func TestCooldownRefusesOnlyThoseWhoHonourIt(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 1, nil)
	l.must(l.SetDesiredCapacity("g", 2, true))
	l.clock.Advance(time.Minute)
	l.refused(l.SetDesiredCapacity("g", 3, true), "ScalingActivityInProgress", "cooldown")
	l.must(l.SetDesiredCapacity("g", 3, false))
}

func TestTerminatingTwiceIsRefused(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 2, nil)
	id := l.serving()[0].InstanceID
	_, err := l.TerminateInstanceInAutoScalingGroup(id, false)
	l.must(err)
	_, err = l.TerminateInstanceInAutoScalingGroup(id, false)
	l.refused(err, "ScalingActivityInProgress", "blocks this action")
	l.settle()
	l.equal("replaced", l.zones(), "a1 b1")
	l.equal("cause", l.activities()[0].Cause, "At 2026-03-01T12:10:05Z an instance was launched in response to an unhealthy instance needing to be replaced.")
}

func TestProtection(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 3, func(g *Group) { g.ProtectNew = true })
	l.must(l.SetDesiredCapacity("g", 1, false))
	l.settle()
	l.equal("all protected", l.zones(), "a1 b1 c1")
	a := l.activities()[0]
	l.equal("text", a.Description, "Could not scale to desired capacity because all remaining instances are protected from scale-in.")
	l.equal("status", a.Status, Cancelled)
	free := l.serving()[1].InstanceID
	l.must(l.SetInstanceProtection("g", []string{free}, false))
	l.settle()
	l.equal("the unprotected one went", l.zones(), "a1 c1")
	_, err := l.TerminateInstanceInAutoScalingGroup(l.serving()[0].InstanceID, true)
	l.must(err)
	l.settle()
	l.equal("by request a protected one goes", len(l.serving()), 1)
	l.refused(l.SetInstanceProtection("g", []string{"i-1"}, true), "ValidationError", "is not part of Auto Scaling group g")
}

func TestReplacesWhatDiesBehindItsBack(t *testing.T) {
	l := newLab(t, Config{})
	l.group(3, 3, 3, nil)
	first := l.serving()[0].InstanceID
	_, err := l.TerminateInstances([]string{first})
	l.must(err)
	l.settle()
	l.equal("zones", l.zones(), "a1 b1 c1")
	causes := l.activities()
	l.equal("launch", causes[0].Cause, "At 2026-03-01T12:10:05Z an instance was launched in response to an unhealthy instance needing to be replaced.")
	l.equal("end", causes[1].Cause, "At 2026-03-01T12:10:05Z an instance was taken out of service in response to an EC2 health check indicating it has been terminated or stopped.")
	second := l.serving()[0].InstanceID
	l.must(l.SetInstanceHealth(second, false, false))
	l.settle()
	if slices.ContainsFunc(l.serving(), func(m Member) bool { return m.InstanceID == second }) {
		t.Fatal("the member marked unhealthy still serves")
	}
}

func TestELBHealthCondemnsAfterTheGracePeriod(t *testing.T) {
	l := newLab(t, Config{})
	tg, err := l.CreateTargetGroup(TargetGroup{Name: "web"})
	l.must(err)
	l.group(1, 1, 1, func(g *Group) {
		g.TargetGroups, g.HealthCheckType, g.HealthCheckGrace = []string{tg.ARN}, "ELB", 20*time.Minute
	})
	id := l.serving()[0].InstanceID
	l.must(l.ReportTargetHealth(tg.ARN, id, 0, false, "Health checks failed with these codes: [503]"))
	l.settle()
	l.equal("within grace", l.serving()[0].InstanceID, id)
	l.settle()
	l.settle()
	if m := l.serving(); len(m) != 1 || m[0].InstanceID == id {
		t.Fatalf("not replaced: %v", m)
	}
}

func TestLagShowsThePast(t *testing.T) {
	l := newLab(t, Config{Timing: Timing{ConsistencyLag: 3 * time.Second}})
	l.clock.Advance(5 * time.Second)
	l.group(0, 9, 1, nil)
	l.must(l.SetDesiredCapacity("g", 2, false))
	l.equal("at once", l.get().Desired, 1)
	l.clock.Advance(3 * time.Second)
	l.equal("after the lag", l.get().Desired, 2)
}

func TestFaults(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 1, nil)
	l.Throttle("SetDesiredCapacity", 2)
	l.refused(l.SetDesiredCapacity("g", 2, false), "Throttling", "Rate exceeded")
	l.refused(l.SetDesiredCapacity("g", 2, false), "Throttling", "Rate exceeded")
	l.must(l.SetDesiredCapacity("g", 2, false))
	l.Throttle("ec2:*", 1) // names an action, not a pattern: nothing is called so
	l.Throttle("DescribeInstances", 1)
	_, err := l.DescribeInstances(nil, nil)
	l.refused(err, "RequestLimitExceeded", "")
	l.LoseReply("SetDesiredCapacity")
	l.refused(l.SetDesiredCapacity("g", 3, false), "InternalFailure", "")
	l.equal("done all the same", l.get().Desired, 3)
	l.FailNext("autoscaling:SetDesiredCapacity", &Error{"ResourceContention", "You already have a pending update to an Amazon EC2 Auto Scaling resource.", 500})
	l.refused(l.SetDesiredCapacity("g", 4, false), "ResourceContention", "")
	l.equal("not done", l.get().Desired, 3)
	l.ExpireCredentials(true)
	_, err = l.GetCallerIdentity()
	l.refused(err, "ExpiredToken", "")
}

func TestDeleteGroup(t *testing.T) {
	l := newLab(t, Config{})
	l.group(1, 9, 2, nil)
	l.refused(l.DeleteAutoScalingGroup("g", false), "ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances")
	l.must(l.DeleteAutoScalingGroup("g", true))
	l.equal("status", l.get().Status, "Delete in progress")
	l.refused(l.SetDesiredCapacity("g", 2, false), "ScalingActivityInProgress", "being deleted")
	l.settle()
	gs, err := l.DescribeAutoScalingGroups(nil, nil)
	l.must(err)
	l.equal("groups", len(gs), 0)
	for _, i := range l.Instances() {
		l.equal(i.ID, i.State, Terminated)
	}
}

func TestDescribeInstancesFilters(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 3, func(g *Group) {
		g.Tags = []GroupTag{{Key: "team", Value: "blue", Propagate: true}, {Key: "own", Value: "x"}}
	})
	count := func(name string, values ...string) int {
		t.Helper()
		is, err := l.DescribeInstances(nil, []Filter{{name, values}})
		l.must(err)
		return len(is)
	}
	l.equal("zone", count("availability-zone", "eu-west-1a"), 1)
	l.equal("propagated tag", count("tag:team", "bl*"), 3)
	l.equal("tag not propagated", count("tag-key", "own"), 0)
	l.equal("state", count("instance-state-name", "pending", "running"), 3)
	l.equal("dns", count("private-dns-name", l.Instances()[1].PrivateDNS), 1)
	_, err := l.DescribeInstances(nil, []Filter{{"instance-stat-name", []string{"x"}}})
	l.refused(err, "NotSimulated", "Filter instance-stat-name of DescribeInstances")
	_, err = l.DescribeInstances([]string{"i-zzz"}, nil)
	l.refused(err, "InvalidInstanceID.Malformed", "")
	_, err = l.DescribeInstances([]string{"i-00000000000000000"}, nil)
	l.refused(err, "InvalidInstanceID.NotFound", "The instance ID 'i-00000000000000000' does not exist")
}

func TestSubscribeEndsAfterClose(t *testing.T) {
	l := newLab(t, Config{})
	events, cancel := l.Subscribe()
	defer cancel()
	l.group(0, 9, 1, nil)
	l.Close()
	n := 0
	for range events {
		n++
	}
	if n == 0 {
		t.Fatal("no events")
	}
}
