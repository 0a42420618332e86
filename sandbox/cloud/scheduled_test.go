package cloud

import (
	"fmt"
	"testing"
	"time"
)

// said prints status and entities of what Health said of an event.
func (e *ear) said(arn string) string {
	out := ""
	for _, b := range e.heard("AWS Health Event", arn) {
		d := b["detail"].(map[string]any)
		out += fmt.Sprint(d["statusCode"], " ", len(d["affectedEntities"].([]any)), " ", d["startTime"], "\n")
	}
	return out
}

func (l *lab) planned(ids ...string) []InstanceStatus {
	l.t.Helper()
	got, err := l.DescribeInstanceStatus(ids, true, []Filter{{"event.code", []string{"*"}}})
	l.must(err)
	return got
}

func TestRetirementOfTwo(t *testing.T) {
	l := newLab(t, Config{})
	e := l.listen()
	l.group(0, 9, 3, nil)
	l.must(l.SuspendProcesses("g", []string{CheckHealth}))
	a, b := l.serving()[0].InstanceID, l.serving()[1].InstanceID
	at := l.clock.Now().Add(24 * time.Hour)
	arn, err := l.ScheduleEvent("instance-retirement", at, "", a, b)
	l.must(err)
	l.equal("two of three", len(l.planned()), 2)
	l.equal("not before", l.planned(a)[0].Events[0].NotBefore, at)
	all, err := l.DescribeInstanceStatus(nil, false, nil)
	l.must(err)
	l.equal("without a filter", len(all), 3)
	later := at.Add(time.Hour)
	l.must(l.PostponeEvent(arn, later))
	l.clock.Advance(24 * time.Hour)
	i, _ := l.Instance(a)
	l.equal("postponed", i.State, Running)
	l.clock.Advance(2 * time.Hour)
	for _, id := range []string{a, b} {
		i, _ := l.Instance(id)
		l.equal("stopped", i.State, Stopped)
	}
	when := func(t time.Time) string { return t.Format("Mon, 2 Jan 2006 15:04:05 GMT") }
	l.equal("Health", e.said(arn), fmt.Sprintf("upcoming 2 %s\nupcoming 2 %s\nclosed 2 %s\n", when(at), when(later), when(later)))
	l.equal("seen", l.planned(a)[0].Events[0].Words[:11], "[Completed]")
	if l.CancelEvent(arn) == nil {
		t.Fatal("what happened was canceled")
	}
	l.clock.Advance(8 * 24 * time.Hour)
	l.equal("forgotten", len(l.planned()), 0)
}

func TestCanceledEventDoesNotHappen(t *testing.T) {
	l := newLab(t, Config{})
	e := l.listen()
	id := l.lone()
	arn, err := l.ScheduleEvent("system-reboot", l.clock.Now().Add(time.Hour), "because", id)
	l.must(err)
	l.must(l.CancelEvent(arn))
	l.clock.Advance(2 * time.Hour)
	l.equal("nothing happened", l.lives(id), "")
	l.equal("seen", l.planned()[0].Events[0].Words, "[Canceled] because")
	l.equal("closed", e.said(arn)[len("upcoming 1 Sun, 1 Mar 2026 13:10:00 GMT\n"):][:6], "closed")
}

func TestScheduledReboot(t *testing.T) {
	l := newLab(t, Config{})
	id := l.lone()
	_, err := l.ScheduleEvent("instance-reboot", l.clock.Now().Add(time.Hour), "", id)
	l.must(err)
	l.clock.Advance(2 * time.Hour)
	l.equal("events", l.lives(id), "InstanceStopping InstanceBooted ")
	for _, try := range [][]string{{"instance-fun", id}, {"instance-stop"}, {"instance-stop", "i-1"}} {
		if _, err := l.ScheduleEvent(try[0], l.clock.Now(), "", try[1:]...); err == nil {
			t.Fatalf("%v was scheduled", try)
		}
	}
}

func TestReservedCapacityEnds(t *testing.T) {
	l := newLab(t, Config{})
	e := l.listen()
	l.group(0, 9, 2, nil)
	a, b := l.serving()[0].InstanceID, l.serving()[1].InstanceID
	reservation, err := l.ExpireCapacityBlock(a)
	l.must(err)
	l.must(l.InterruptCapacityReservation(b))
	l.clock.Advance(time.Second)
	block := e.heard("Capacity Block Expiration Warning")[0]
	l.equal("block", block["detail"], map[string]any{"capacity-reservation-id": reservation, "end-date": "2026-03-01T12:50:00Z"})
	lent := e.heard("EC2 Capacity Reservation Instance Interruption Warning")[0]["detail"]
	l.equal("lent", lent, map[string]any{"instance-id": b, "instance-action": "terminate", "instance-termination-time": "2026-03-01T12:12:00Z", "azId": "euw1-az2"})
	l.clock.Advance(2 * time.Minute)
	for id, want := range map[string]bool{a: false, b: true} {
		i, _ := l.Instance(id)
		l.equal(id, i.Gone(), want)
	}
	l.settle()
	i, _ := l.Instance(a)
	l.equal("ten minutes after the warning", i.State, Terminated)
}

func TestHealthOfOtherKinds(t *testing.T) {
	l := newLab(t, Config{})
	e := l.listen()
	l.PublishHealth(HealthEvent{ARN: "arn:x", TypeCode: "AWS_S3_OPERATIONAL_ISSUE", Service: "S3", Category: "issue", Scope: "PUBLIC", Status: "open", Words: "slow"})
	l.clock.Advance(time.Second)
	d := e.heard("arn:x")[0]["detail"].(map[string]any)
	l.equal("kind", fmt.Sprint(d["service"], d["eventTypeCategory"], d["eventScopeCode"], d["affectedEntities"]), "S3issuePUBLIC[]")
}
