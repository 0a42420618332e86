package cloud

import (
	"fmt"
	"testing"
	"time"
)

// lives prints what happened to an instance since the last look.
func (l *lab) lives(id string) string {
	out := ""
	for _, e := range l.feed.Take() {
		if e.Instance.ID == id {
			out += fmt.Sprint(e.Kind, " ")
		}
	}
	return out
}

// lone is a group of one whose health nobody looks at.
func (l *lab) lone() string {
	l.group(0, 9, 1, nil)
	l.must(l.SuspendProcesses("g", []string{CheckHealth}))
	l.feed.Take()
	return l.serving()[0].InstanceID
}

func TestStopAndStart(t *testing.T) {
	l := newLab(t, Config{})
	arn := l.web("60", 1)
	l.must(l.SuspendProcesses("g", []string{CheckHealth}))
	e := l.listen()
	l.feed.Take()
	id := l.serving()[0].InstanceID
	out, err := l.StopInstances([]string{id})
	l.must(err)
	l.equal("change", out[0], StateChange{id, Running, Stopping})
	_, err = l.StartInstances([]string{id})
	l.refused(err, "IncorrectInstanceState", id)
	l.clock.Advance(time.Minute)
	l.equal("target", l.Targets(arn)[0].State, StateUnused)
	_, err = l.StartInstances([]string{id})
	l.must(err)
	l.settle()
	l.equal("events", l.lives(id), "InstanceStopping InstanceStopped InstanceStarted InstanceRunning InstanceBooted ")
	l.equal("target", l.Targets(arn)[0].State, StateHealthy)
	said := ""
	for _, b := range e.heard("EC2 Instance State-change Notification", id) {
		said += fmt.Sprint(b["detail"].(map[string]any)["state"], " ")
	}
	l.equal("said", said, "stopping stopped pending running ")
	i, _ := l.Instance(id)
	l.equal("booted", i.Booted, true)
}

func TestRebootGoesDownAndComesAgain(t *testing.T) {
	l := newLab(t, Config{})
	id := l.lone()
	l.must(l.RebootInstances([]string{id}))
	l.clock.Advance(30 * time.Second)
	i, _ := l.Instance(id)
	l.equal("running, not up", fmt.Sprint(i.State, i.Booted), "runningfalse")
	l.must(l.RebootInstances([]string{id}))
	l.clock.Advance(59 * time.Second)
	i, _ = l.Instance(id)
	l.equal("the second boot counts", i.Booted, false)
	l.clock.Advance(time.Second)
	l.equal("events", l.lives(id), "InstanceStopping InstanceStopping InstanceBooted ")
}

func TestStoppedMemberIsReplaced(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 2, nil)
	id := l.serving()[0].InstanceID
	_, err := l.StopInstances([]string{id})
	l.must(err)
	l.settle()
	i, _ := l.Instance(id)
	l.equal("ended", i.State, Terminated)
	l.equal("replaced", len(l.serving()), 2)
	_, err = l.StartInstances([]string{id})
	l.refused(err, "IncorrectInstanceState", id)
}
