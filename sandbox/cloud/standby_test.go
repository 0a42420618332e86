package cloud

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func (l *lab) states() map[LifecycleState]int {
	count := map[LifecycleState]int{}
	for _, m := range l.get().Members {
		count[m.State]++
	}
	return count
}

func TestStandbyAndBack(t *testing.T) {
	l := newLab(t, Config{})
	arn := l.web("60", 3)
	id := l.serving()[0].InstanceID
	as, err := l.EnterStandby("g", []string{id}, true)
	l.must(err)
	l.equal("activity", as[0].Description+" "+as[0].Status, "Moving EC2 instance to Standby: "+id+" InProgress")
	l.clock.Advance(30 * time.Second)
	l.equal("while it drains", l.states(), map[LifecycleState]int{EnteringStandby: 1, InService: 2})
	l.settle()
	l.equal("nobody replaces it", l.states(), map[LifecycleState]int{OnStandby: 1, InService: 2})
	l.equal("desired", l.get().Desired, 2)
	l.equal("targets", len(l.Targets(arn)), 2)
	l.equal("activity", l.activities()[0].Status, Successful)

	_, err = l.ExitStandby("g", []string{id})
	l.must(err)
	l.equal("on the way back", l.states(), map[LifecycleState]int{LifecyclePending: 1, InService: 2})
	l.equal("desired", l.get().Desired, 3)
	l.settle()
	l.equal("back", l.states(), map[LifecycleState]int{InService: 3})
	l.equal("targets", len(l.Targets(arn)), 3)
	l.equal("machine", fmt.Sprint(len(l.Instances())), "3")
}

func TestStandbyWithoutDecrementIsReplaced(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 4, 2, nil)
	_, err := l.EnterStandby("g", []string{l.serving()[0].InstanceID}, false)
	l.must(err)
	l.settle()
	l.equal("replaced", l.states(), map[LifecycleState]int{OnStandby: 1, InService: 2})
}

func TestStandbyIsNotLookedAfter(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 4, 2, nil)
	id := l.serving()[0].InstanceID
	_, err := l.EnterStandby("g", []string{id}, true)
	l.must(err)
	l.settle()
	_, err = l.TerminateInstances([]string{id})
	l.must(err)
	l.settle()
	l.equal("dead and still there", l.states(), map[LifecycleState]int{OnStandby: 1, InService: 1})
}

func TestTerminateInStandby(t *testing.T) {
	l := newLab(t, Config{})
	l.group(1, 4, 3, nil)
	var ids []string
	for _, m := range l.serving()[:2] {
		ids = append(ids, m.InstanceID)
	}
	_, err := l.EnterStandby("g", ids, true)
	l.must(err)
	l.settle()
	_, err = l.TerminateInstanceInAutoScalingGroup(ids[0], false)
	l.must(err)
	l.settle()
	l.equal("nothing is launched in its place", l.states(), map[LifecycleState]int{OnStandby: 1, InService: 1})
	l.equal("machines", len(slices.DeleteFunc(l.Instances(), func(i Instance) bool { return i.Gone() })), 2)
	_, err = l.TerminateInstanceInAutoScalingGroup(ids[1], true)
	l.refused(err, "ValidationError", "desiredSize equals minSize (1)")
}

func TestStandbyRefusals(t *testing.T) {
	l := newLab(t, Config{})
	l.group(2, 3, 3, nil)
	m := l.serving()
	both := []string{m[0].InstanceID, m[1].InstanceID}
	_, err := l.EnterStandby("g", both, true)
	l.refused(err, "ValidationError", "has min-size=2, max-size=3, and desired-size=3. To place into standby 2 instance(s)")
	_, err = l.ExitStandby("g", both[:1])
	l.refused(err, "ValidationError", "is not in Standby")
	_, err = l.EnterStandby("g", []string{"i-00000000000000000"}, true)
	l.refused(err, "ValidationError", "is not part of Auto Scaling group g")
	_, err = l.EnterStandby("g", []string{both[0], both[0]}, true)
	l.refused(err, "ValidationError", "is not in InService")
	_, err = l.EnterStandby("g", make([]string, 20), true)
	l.refused(err, "ValidationError", "less than or equal to 19")
	l.equal("nothing happened", l.states(), map[LifecycleState]int{InService: 3})
	_, err = l.EnterStandby("g", both[:1], false)
	l.must(err)
	l.settle()
	_, err = l.ExitStandby("g", both[:1])
	l.refused(err, "ValidationError", "desired-size=3. To move out of standby 1 instance(s)")
}

func TestTargetsByIP(t *testing.T) {
	l := newLab(t, Config{})
	tg, err := l.CreateTargetGroup(TargetGroup{Name: "pods", TargetType: "ip", Port: 8080})
	l.must(err)
	_, err = l.ModifyTargetGroupAttributes(tg.ARN, map[string]string{deregistrationDelay: "20"})
	l.must(err)
	l.refused(l.RegisterTargets(tg.ARN, []TargetID{{ID: "i-00000000000000000"}}), "ValidationError", "is not a valid IPv4 address")
	start := l.clock.Now()
	l.must(l.RegisterTargets(tg.ARN, []TargetID{{ID: "10.0.1.7"}}))
	l.clock.Advance(time.Minute)
	l.must(l.DeregisterTargets(tg.ARN, []TargetID{{ID: "10.0.1.7"}}))
	l.clock.Advance(time.Minute)
	l.equal("story", l.story(start), "+0s TargetRegistered initial\n+10s TargetHealth healthy\n+1m0s TargetDraining draining\n+1m20s TargetRemoved unused")
}
