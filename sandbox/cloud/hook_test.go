package cloud

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// ear is a queue that hears what AWS says by events, and by Auto Scaling directly.
type ear struct {
	l        *lab
	url, arn string
}

func (l *lab) listen() *ear {
	l.t.Helper()
	policy := `{"Statement":[{"Effect":"Allow","Principal":{"Service":["events.amazonaws.com","autoscaling.amazonaws.com"]},"Action":"sqs:SendMessage","Resource":"*"}]}`
	url, err := l.CreateQueue("ear", map[string]string{"Policy": policy}, nil)
	l.must(err)
	at, err := l.GetQueueAttributes(url, []string{"QueueArn"})
	l.must(err)
	_, err = l.PutRule(Rule{Name: "all", Pattern: `{"source":[{"prefix":"aws."}]}`, State: "ENABLED"}, nil)
	l.must(err)
	l.must(l.PutTargets("all", []RuleTarget{{ID: "ear", ARN: at["QueueArn"]}}))
	return &ear{l, url, at["QueueArn"]}
}

// heard returns the bodies that came and contain all the words, oldest first, and forgets everything.
func (e *ear) heard(words ...string) []map[string]any {
	e.l.t.Helper()
	all, err := e.l.Queued(e.url)
	e.l.must(err)
	var out []map[string]any
	for _, m := range all {
		if slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(m.Body, w) }) {
			continue
		}
		var body map[string]any
		e.l.must(json.Unmarshal([]byte(m.Body), &body))
		out = append(out, body)
	}
	return out
}

func (e *ear) forget() { e.l.must(e.l.PurgeQueue(e.url)) }

// hook puts a hook of a minute's heartbeat on g.
func (l *lab) hook(name, transition, result string) {
	l.t.Helper()
	l.must(l.PutLifecycleHook(Hook{Name: name, Group: "g", Transition: transition, Heartbeat: time.Minute, DefaultResult: result}))
}

func (l *lab) state(id string) LifecycleState {
	l.t.Helper()
	all, err := l.DescribeAutoScalingInstances([]string{id})
	l.must(err)
	if len(all) == 0 {
		return "gone"
	}
	return all[0].State
}

// retireOne takes the first serving member out, and returns its id.
func (l *lab) retireOne() string {
	l.t.Helper()
	id := l.serving()[0].InstanceID
	_, err := l.TerminateInstanceInAutoScalingGroup(id, false)
	l.must(err)
	return id
}

func TestTerminateHookHoldsUntilItIsCompleted(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 2, nil)
	l.hook("drain", HookTerminating, ResultContinue)
	id := l.retireOne()
	l.equal("held", l.state(id), TerminatingWait)
	l.clock.Advance(50 * time.Second)
	i, _ := l.Instance(id)
	l.equal("machine", i.State, Running)
	l.equal("replaced while it waits", len(l.serving()), 2)
	l.refused(l.CompleteLifecycleAction("g", "drain", "i-00000000000000000", "", ResultContinue), "ValidationError", "No active Lifecycle Action found with instance ID i-00000000000000000")
	l.refused(l.CompleteLifecycleAction("g", "drain", id, "", "PERHAPS"), "ValidationError", "Lifecycle action result")
	l.must(l.CompleteLifecycleAction("g", "drain", id, "", ResultContinue))
	l.equal("state", l.state(id), TerminatingProceed)
	l.refused(l.CompleteLifecycleAction("g", "drain", id, "", ResultContinue), "ValidationError", "No active Lifecycle Action found with instance ID "+id)
	l.refused(l.RecordLifecycleActionHeartbeat("g", "drain", id, ""), "ValidationError", "No active Lifecycle Action found")
	l.settle()
	l.equal("end", l.state(id), "gone")
}

func TestHookTimesOutIntoItsDefault(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 1, nil)
	l.hook("drain", HookTerminating, ResultContinue)
	id := l.retireOne()
	l.clock.Advance(59 * time.Second)
	l.equal("held", l.state(id), TerminatingWait)
	l.must(l.RecordLifecycleActionHeartbeat("g", "drain", id, ""))
	l.clock.Advance(59 * time.Second)
	l.equal("a heartbeat counts from when it came", l.state(id), TerminatingWait)
	l.clock.Advance(time.Second)
	l.equal("over", l.state(id), TerminatingProceed)
}

func TestHeartbeatsEndAtTheWall(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 1, nil)
	l.must(l.PutLifecycleHook(Hook{Name: "drain", Group: "g", Transition: HookTerminating, Heartbeat: 30 * time.Second}))
	id := l.retireOne()
	began := l.clock.Now()
	for l.state(id) == TerminatingWait {
		l.must(l.RecordLifecycleActionHeartbeat("g", "drain", id, ""))
		if w := l.LifecycleWaits(); w[0].Until.After(w[0].Wall) {
			t.Fatalf("held until %v, the wall is at %v", w[0].Until, w[0].Wall)
		}
		l.clock.Advance(20 * time.Second)
	}
	l.equal("100 heartbeats", l.clock.Now().Sub(began), 3000*time.Second)
	l.equal("48 hours", Hook{Heartbeat: 2 * time.Hour}.Global(), 48*time.Hour)
}

func TestEveryHookMustBeCompletedAndAbandonSkipsTheRest(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 2, nil)
	l.hook("a", HookTerminating, ResultContinue)
	l.hook("b", HookTerminating, ResultContinue)
	id := l.retireOne()
	l.must(l.CompleteLifecycleAction("g", "a", id, "", ResultContinue))
	l.equal("b holds it still", l.state(id), TerminatingWait)
	l.must(l.CompleteLifecycleAction("g", "b", "", l.LifecycleWaits()[0].Token, ResultContinue))
	l.settle()
	l.equal("gone", l.state(id), "gone")
	id = l.retireOne()
	l.must(l.CompleteLifecycleAction("g", "a", id, "", ResultAbandon))
	l.equal("nobody else is waited for", len(l.LifecycleWaits()), 0)
	l.settle()
	l.equal("gone", l.state(id), "gone")
}

func TestRetainedInstanceStaysUntilItIsEndedByID(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 1, func(g *Group) { g.Retain = true })
	l.hook("drain", HookTerminating, ResultAbandon)
	id := l.retireOne()
	l.settle() // nobody answers: its default is ABANDON
	l.equal("kept", l.state(id), Retained)
	l.equal("outside of desired capacity", len(l.serving()), 1)
	i, _ := l.Instance(id)
	l.equal("machine", i.State, Running)
	for range 300 {
		l.settle()
	}
	l.equal("for as long as it takes", l.state(id), Retained)
	_, err := l.TerminateInstanceInAutoScalingGroup(id, false)
	l.must(err)
	l.settle()
	l.equal("ended, without another wait", l.state(id), "gone")
	l.equal("nobody replaced it", len(l.get().Members), 1)

	id = l.retireOne()
	l.must(l.CompleteLifecycleAction("g", "drain", id, "", ResultContinue))
	l.settle()
	l.equal("a completed one is not kept", l.state(id), "gone")
	id = l.retireOne()
	l.settle()
	_, err = l.TerminateInstances([]string{id})
	l.must(err)
	l.settle()
	l.equal("by hand it goes, too", l.state(id), "gone")
}

func TestLaunchHookHoldsAndAbandons(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 0, func(g *Group) {
		g.Hooks = []Hook{{Name: "ready", Transition: HookLaunching, Heartbeat: time.Minute}}
	})
	l.must(l.SetDesiredCapacity("g", 1, false))
	l.clock.Advance(30 * time.Second)
	first := l.get().Members[0].InstanceID
	l.equal("held", l.state(first), PendingWait)
	l.must(l.CompleteLifecycleAction("g", "ready", first, "", ResultAbandon))
	l.equal("activity", l.activities()[1].Status+" "+l.activities()[1].StatusMessage[:45], Cancelled+" Instance failed to complete user's Lifecycle ")
	l.equal("cause", strings.HasSuffix(l.activities()[0].Cause, "an instance was taken out of service in response to a launch failure."), true)
	l.clock.Advance(40 * time.Second)
	next := l.get().Members
	second := next[len(next)-1].InstanceID
	if second == first {
		t.Fatal("nothing was launched in its place")
	}
	l.must(l.CompleteLifecycleAction("g", "ready", second, "", ResultContinue))
	l.equal("state", l.state(second), PendingProceed)
	l.clock.Advance(10 * time.Second)
	l.equal("state", l.state(second), InService)
}

func TestTargetsGoBeforeTheHook(t *testing.T) {
	l := newLab(t, Config{})
	arn := l.web("60", 2)
	l.hook("drain", HookTerminating, ResultContinue)
	id := l.retireOne()
	l.clock.Advance(59 * time.Second)
	l.equal("draining", l.state(id), Terminating)
	l.clock.Advance(time.Second)
	l.equal("then held", l.state(id), TerminatingWait)
	l.equal("not a target any more", slices.ContainsFunc(l.Targets(arn), func(t Target) bool { return t.ID == id }), false)
}

func TestEveryWayOutPassesTheHook(t *testing.T) {
	for name, leave := range map[string]func(l *lab, id string) error{
		"scale-in": func(l *lab, _ string) error { return l.SetDesiredCapacity("g", 3, false) },
		"by id": func(l *lab, id string) error {
			_, err := l.TerminateInstanceInAutoScalingGroup(id, true)
			return err
		},
		"unhealthy": func(l *lab, id string) error { return l.SetInstanceHealth(id, false, false) },
		"a zone is given up": func(l *lab, _ string) error {
			return l.UpdateAutoScalingGroup("g", GroupUpdate{Zones: l.Zones()[:2]})
		},
		"zones are rebalanced": func(l *lab, id string) error { return l.RebalanceZones("g", id) },
		"a scheduled stop": func(l *lab, id string) error {
			_, err := l.ScheduleEvent("instance-stop", l.clock.Now(), "", id)
			return err
		},
		"out of standby": func(l *lab, id string) error {
			if _, err := l.EnterStandby("g", []string{id}, true); err != nil {
				return err
			}
			_, err := l.TerminateInstanceInAutoScalingGroup(id, false)
			return err
		},
	} {
		l := newLab(t, Config{})
		l.group(0, 9, 4, nil)
		l.must(l.PutLifecycleHook(Hook{Name: "drain", Group: "g", Transition: HookTerminating}))
		l.must(leave(l, l.serving()[0].InstanceID))
		l.settle()
		waits := l.LifecycleWaits()
		if len(waits) != 1 || l.state(waits[0].Instance) != TerminatingWait {
			t.Errorf("%s: waits %+v", name, waits)
			continue
		}
		l.must(l.CompleteLifecycleAction("g", "drain", waits[0].Instance, "", ResultContinue))
		l.settle()
		l.equal(name, l.state(waits[0].Instance), "gone")
	}
}

func TestWhoDoesNotWait(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 2, nil)
	l.hook("drain", HookTerminating, ResultContinue)
	held, killed := l.retireOne(), l.serving()[0].InstanceID
	_, err := l.TerminateInstances([]string{killed})
	l.must(err)
	i, _ := l.Instance(killed)
	l.equal("by hand", i.State, ShuttingDown)
	l.clock.Advance(10 * time.Second)
	l.equal("its group holds what is left of it", l.state(killed), TerminatingWait)
	l.must(l.DeleteAutoScalingGroup("g", true))
	l.clock.Advance(45 * time.Second)
	l.equal("deleting the group forgets lifecycle actions", l.state(held), "gone")
}

func TestDeletingAHookAnswersForIt(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 1, nil)
	l.hook("drain", HookTerminating, ResultAbandon)
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Retain: new(true)}))
	id := l.retireOne()
	l.must(l.DeleteLifecycleHook("g", "drain"))
	l.settle()
	l.equal("it went on as if completed", l.state(id), "gone")
	l.refused(l.DeleteLifecycleHook("g", "drain"), "ValidationError", "not found")
}

func TestPutHook(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 0, nil)
	l.must(l.PutLifecycleHook(Hook{Name: "h", Group: "g", Transition: HookTerminating, Metadata: "x"}))
	l.must(l.PutLifecycleHook(Hook{Name: "h", Group: "g", Heartbeat: 90 * time.Second}))
	got, err := l.DescribeLifecycleHooks("g", nil)
	l.must(err)
	l.equal("defaults, and what was there", fmt.Sprint(got), fmt.Sprint([]Hook{{Name: "h", Group: "g", Transition: HookTerminating, Heartbeat: 90 * time.Second, DefaultResult: ResultAbandon, Metadata: "x"}}))
	for _, bad := range []Hook{
		{Name: "x", Group: "g"}, {Name: "x", Group: "g", Transition: "sideways"}, {Name: "x", Group: "g", Transition: HookLaunching, Heartbeat: time.Second},
		{Name: "x", Group: "g", Transition: HookLaunching, Heartbeat: 3 * time.Hour}, {Name: "x", Group: "g", Transition: HookLaunching, DefaultResult: "NO"},
		{Name: "x", Group: "g", Transition: HookLaunching, Target: "arn:aws:sqs:eu-west-1:1:q"}, {Group: "g", Transition: HookLaunching}, {Name: "x", Group: "none"},
	} {
		l.refused(l.PutLifecycleHook(bad), "ValidationError", "")
	}
	there := Hook{Name: "x", Group: "g", Transition: HookLaunching, Target: "arn:aws:sqs:eu-west-1:123456789012:none", Role: "r"}
	l.refused(l.PutLifecycleHook(there), "ValidationError", "Unable to publish test message to notification target")
	for n := range 49 {
		l.hook(fmt.Sprint("more-", n), HookLaunching, "")
	}
	l.refused(l.PutLifecycleHook(Hook{Name: "x", Group: "g", Transition: HookLaunching}), "LimitExceeded", "50")
}

func TestLostEvents(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 2, nil)
	e := l.listen()
	l.must(l.PutLifecycleHook(Hook{Name: "drain", Group: "g", Transition: HookTerminating, Target: e.arn, Role: "r"}))
	l.LoseEvents("EC2 Instance-terminate Lifecycle Action", 1)
	l.LoseEvents(DirectNotification, 1)
	lost, heard := l.retireOne(), l.retireOne()
	l.clock.Advance(time.Second)
	l.equal("nothing but changes of state", len(e.heard(lost, "LifecycleActionToken")), 0)
	l.equal("held all the same", l.state(lost), TerminatingWait)
	l.equal("the next is heard twice", len(e.heard(heard, "LifecycleActionToken")), 2)
	l.equal("activity", l.activities()[0].Status, MidLifecycleAction)
}

func TestWhatIsSaidOfAWait(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 1, nil)
	e := l.listen()
	l.must(l.PutLifecycleHook(Hook{Name: "drain", Group: "g", Transition: HookTerminating, Target: e.arn, Role: "arn:aws:iam::123456789012:role/r", Metadata: "m"}))
	l.clock.Advance(time.Second)
	test := e.heard("TEST_NOTIFICATION")
	if len(test) != 1 || test[0]["Event"] != "autoscaling:TEST_NOTIFICATION" || test[0]["AutoScalingGroupARN"] != l.get().ARN || test[0]["EC2InstanceId"] != nil {
		t.Fatalf("test notification: %v", test)
	}
	e.forget()
	l.clock.Advance(time.Minute + time.Second)
	id := l.retireOne()
	l.clock.Advance(time.Second)
	token := l.LifecycleWaits()[0].Token
	want := map[string]any{
		"LifecycleActionToken": token, "AutoScalingGroupName": "g", "LifecycleHookName": "drain", "EC2InstanceId": id, "LifecycleTransition": HookTerminating,
		"NotificationMetadata": "m", "Origin": "AutoScalingGroup", "Destination": "EC2",
	}
	events := e.heard("EC2 Instance-terminate Lifecycle Action", id)
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	l.equal("detail", events[0]["detail"], want)
	l.equal("resources", events[0]["resources"], []any{l.get().ARN})
	direct := e.heard("AWS Auto Scaling", id)
	if len(direct) != 1 {
		t.Fatalf("%d direct messages", len(direct))
	}
	for k, v := range want {
		l.equal(k, direct[0][k], v)
	}
	l.equal("account", direct[0]["AccountId"], l.Account())
	l.equal("time", len(direct[0]["Time"].(string)), len("2006-01-02T15:04:05.000Z"))
	l.equal("token", len(token), 36)
}
