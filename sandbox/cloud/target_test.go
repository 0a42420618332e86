package cloud

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// web makes a target group with a deregistration delay and a group "g" attached to it.
func (l *lab) web(delay string, n int) (arn string) {
	l.t.Helper()
	tg, err := l.CreateTargetGroup(TargetGroup{Name: "web", Port: 8080})
	l.must(err)
	_, err = l.ModifyTargetGroupAttributes(tg.ARN, map[string]string{"deregistration_delay.timeout_seconds": delay})
	l.must(err)
	l.group(0, 9, n, func(g *Group) { g.TargetGroups = []string{tg.ARN} })
	l.feed.Take()
	return tg.ARN
}

// story prints the events of the machines and targets since the last time, with the time since start.
func (l *lab) story(start time.Time) string {
	var out []string
	for _, e := range l.feed.Take() {
		switch {
		case e.Instance.ID != "":
			out = append(out, fmt.Sprintf("+%v %s", e.At.Sub(start), e.Kind))
		case e.TargetGroup != "":
			out = append(out, fmt.Sprintf("+%v %s %s", e.At.Sub(start), e.Kind, e.Target.State))
		}
	}
	return strings.Join(out, "\n")
}

func TestDrainsBeforeItTerminates(t *testing.T) {
	l := newLab(t, Config{})
	arn := l.web("120", 1)
	start, id := l.clock.Now(), l.serving()[0].InstanceID
	a, err := l.TerminateInstanceInAutoScalingGroup(id, true)
	l.must(err)
	l.equal("status", a.Status, "WaitingForELBConnectionDraining")
	l.clock.Advance(time.Minute)
	ts, err := l.DescribeTargetHealth(arn, nil)
	l.must(err)
	l.equal("health", ts[0].State+" "+TargetState(ts[0].Reason), "draining Target.DeregistrationInProgress")
	i, _ := l.Instance(id)
	l.equal("machine", i.State, Running)
	l.equal("member", l.get().Members[0].State, Terminating)
	l.settle()
	l.equal("story", l.story(start), strings.Join([]string{
		"+0s TargetDraining draining", "+2m0s TargetRemoved unused", "+2m0s InstanceStopping", "+2m30s InstanceTerminated",
	}, "\n"))
	l.equal("gone", len(l.get().Members), 0)
	done := l.activities()[0]
	l.equal("activity", fmt.Sprint(done.Status, " after ", done.EndTime.Sub(done.StartTime)), "Successful after 2m30s")
}

func TestDrainedBeforehandGoesAtOnce(t *testing.T) {
	l := newLab(t, Config{})
	arn := l.web("120", 1)
	id := l.serving()[0].InstanceID
	l.must(l.DeregisterTargets(arn, []TargetID{{ID: id}}))
	l.clock.Advance(90 * time.Second)
	start := l.clock.Now()
	l.feed.Take()
	_, err := l.TerminateInstanceInAutoScalingGroup(id, true)
	l.must(err)
	l.clock.Advance(time.Minute)
	l.equal("only the rest is waited for", l.story(start), "+30s TargetRemoved unused\n+30s InstanceStopping\n+1m0s InstanceTerminated")
}

func TestMachineKilledWhileDraining(t *testing.T) {
	l := newLab(t, Config{})
	l.web("120", 1)
	id := l.serving()[0].InstanceID
	_, err := l.TerminateInstanceInAutoScalingGroup(id, true)
	l.must(err)
	l.clock.Advance(10 * time.Second)
	_, err = l.TerminateInstances([]string{id})
	l.must(err)
	l.clock.Advance(30 * time.Second)
	l.equal("gone", len(l.get().Members), 0)
}

func TestMachineKilledLeavesAnUnusedTarget(t *testing.T) {
	l := newLab(t, Config{})
	arn := l.web("120", 1)
	l.must(l.SuspendProcesses("g", []string{CheckHealth}))
	_, err := l.TerminateInstances([]string{l.serving()[0].InstanceID})
	l.must(err)
	l.equal("reason", l.Targets(arn)[0].Reason, "Target.InvalidState")
	l.must(l.ResumeProcesses("g", nil))
	l.settle()
	l.equal("targets", len(l.Targets(arn)), 1)
	l.equal("healthy", l.Targets(arn)[0].State, StateHealthy)
}

func TestRegistrationLifecycle(t *testing.T) {
	l := newLab(t, Config{})
	tg, err := l.CreateTargetGroup(TargetGroup{Name: "web", TargetType: "ip"})
	l.must(err)
	l.equal("default delay", tg.Attributes["deregistration_delay.timeout_seconds"], "300")
	one := []TargetID{{ID: "10.0.0.1", Port: 80}}
	state := func() string {
		t.Helper()
		ts, err := l.DescribeTargetHealth(tg.ARN, one)
		l.must(err)
		return string(ts[0].State) + " " + ts[0].Reason
	}
	l.equal("before", state(), "unused Target.NotRegistered")
	l.must(l.RegisterTargets(tg.ARN, one))
	l.equal("registered", state(), "initial Elb.RegistrationInProgress")
	l.clock.Advance(10 * time.Second)
	l.equal("after the delay", state(), "healthy ")
	l.must(l.DeregisterTargets(tg.ARN, one))
	l.equal("deregistered", state(), "draining Target.DeregistrationInProgress")
	l.must(l.RegisterTargets(tg.ARN, one))
	l.clock.Advance(400 * time.Second)
	l.equal("registered again: the old drain ends nothing", state(), "healthy ")
	l.must(l.ReportTargetHealth(tg.ARN, "10.0.0.1", 80, false, "Connection refused"))
	l.equal("probed", state(), "unhealthy Target.FailedHealthChecks")
	l.must(l.DeregisterTargets(tg.ARN, one))
	l.clock.Advance(299 * time.Second)
	l.equal("draining", state(), "draining Target.DeregistrationInProgress")
	l.clock.Advance(time.Second)
	l.equal("after", state(), "unused Target.NotRegistered")
	l.refused(l.RegisterTargets("arn:none", one), "TargetGroupNotFound", "arn:none")
	l.refused(l.RegisterTargets(tg.ARN, []TargetID{{ID: "web.example"}}), "ValidationError", "web.example")
}

func TestExternalHealth(t *testing.T) {
	l := newLab(t, Config{})
	tg, err := l.CreateTargetGroup(TargetGroup{Name: "web"})
	l.must(err)
	l.must(l.SetExternalHealth(tg.ARN, true))
	l.group(0, 9, 1, func(g *Group) { g.TargetGroups = []string{tg.ARN} })
	id := l.serving()[0].InstanceID
	l.equal("nobody has said anything", l.Targets(tg.ARN)[0].State, StateInitial)
	l.must(l.ReportTargetHealth(tg.ARN, id, 80, true, ""))
	l.equal("reported", l.Targets(tg.ARN)[0].State, StateHealthy)
	l.must(l.ReportTargetHealth(tg.ARN, id, 80, false, "Request timed out"))
	l.equal("reported", l.Targets(tg.ARN)[0].Description, "Request timed out")
	_, err = l.TerminateInstanceInAutoScalingGroup(id, true)
	l.must(err)
	l.must(l.ReportTargetHealth(tg.ARN, id, 80, true, ""))
	l.equal("a report does not stop a drain", l.Targets(tg.ARN)[0].State, StateDraining)
	l.must(l.ReportTargetDrained(tg.ARN, id, 80))
	i, _ := l.Instance(id)
	l.equal("no connections left", i.State, ShuttingDown)
}

func TestTargetsWaitForTheBoot(t *testing.T) {
	l := newLab(t, Config{Timing: Timing{BootTime: 3 * time.Minute}})
	tg, err := l.CreateTargetGroup(TargetGroup{Name: "web"})
	l.must(err)
	l.must(l.CreateAutoScalingGroup(Group{Name: "g", Max: 1, Desired: 1, Source: Source{Template: TemplateSpec{Name: "nodes"}}, Zones: l.Zones(), TargetGroups: []string{tg.ARN}}))
	l.clock.Advance(2 * time.Minute)
	l.equal("booting", l.Targets(tg.ARN)[0].State, StateInitial)
	l.clock.Advance(2 * time.Minute)
	l.equal("booted", l.Targets(tg.ARN)[0].State, StateHealthy)
}

func TestAttachAndDetach(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 2, nil)
	tg, err := l.CreateTargetGroup(TargetGroup{Name: "web"})
	l.must(err)
	l.must(l.AttachLoadBalancerTargetGroups("g", []string{tg.ARN}))
	at, err := l.DescribeLoadBalancerTargetGroups("g")
	l.must(err)
	l.equal("state", at[0].State, "Adding")
	l.settle()
	at, _ = l.DescribeLoadBalancerTargetGroups("g")
	l.equal("state", at[0].State, "InService")
	l.refused(l.DeleteTargetGroup(tg.ARN), "ResourceInUse", "in use")
	l.must(l.SuspendProcesses("g", []string{AddToLoadBalancer}))
	l.must(l.SetDesiredCapacity("g", 3, false))
	l.settle()
	l.must(l.ResumeProcesses("g", nil))
	l.settle()
	l.equal("those launched meanwhile are not added", len(l.Targets(tg.ARN)), 2)
	l.must(l.DetachLoadBalancerTargetGroups("g", []string{tg.ARN}))
	l.settle()
	l.equal("detached", len(l.Targets(tg.ARN)), 0)
	l.equal("they serve on", len(l.serving()), 3)
}
