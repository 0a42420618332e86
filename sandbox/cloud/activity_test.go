package cloud

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestActivitiesTellTheStory reads a group's history from its beginning; the texts are AWS's.
func TestActivitiesTellTheStory(t *testing.T) {
	l := newLab(t, Config{})
	l.group(1, 5, 1, nil)
	l.must(l.SetDesiredCapacity("g", 2, false))
	l.settle()
	l.must(l.SetInstanceHealth(l.serving()[0].InstanceID, false, false))
	l.settle()
	_, err := l.TerminateInstanceInAutoScalingGroup(l.serving()[0].InstanceID, true)
	l.must(err)
	l.settle()
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Min: new(0), Max: new(4), Desired: new(0)}))
	l.settle()

	name := map[string]string{}
	for _, i := range l.Instances() {
		name[i.ID] = fmt.Sprintf("i-%d", i.Index)
	}
	var out strings.Builder
	as := l.activities()
	slices.Reverse(as)
	for _, a := range as {
		text := fmt.Sprintf("%s %s %d%% after %v\n  %s\n", a.Description, a.Status, a.Progress, a.EndTime.Sub(a.StartTime), strings.ReplaceAll(a.Cause, "  ", "\n  "))
		for id, short := range name {
			text = strings.ReplaceAll(text, id, short)
		}
		out.WriteString(strings.ReplaceAll(text, "2026-03-01T", ""))
	}
	want := strings.TrimPrefix(`
Launching a new EC2 instance: i-1 Successful 100% after 5s
  At 12:00:00Z a user request created an AutoScalingGroup changing the desired capacity from 0 to 1.
  At 12:00:05Z an instance was started in response to a difference between desired and actual capacity, increasing the capacity from 0 to 1.
Launching a new EC2 instance: i-2 Successful 100% after 5s
  At 12:10:00Z a user request explicitly set group desired capacity changing the desired capacity from 1 to 2.
  At 12:10:05Z an instance was started in response to a difference between desired and actual capacity, increasing the capacity from 1 to 2.
Terminating EC2 instance: i-1 Successful 100% after 30s
  At 12:20:05Z an instance was taken out of service in response to a user health-check.
Launching a new EC2 instance: i-3 Successful 100% after 5s
  At 12:20:05Z an instance was launched in response to an unhealthy instance needing to be replaced.
Terminating EC2 instance: i-2 Successful 100% after 30s
  At 12:30:00Z instance i-2 was taken out of service in response to a user request, shrinking the capacity from 2 to 1.
Terminating EC2 instance: i-3 Successful 100% after 30s
  At 12:40:00Z a user request update of AutoScalingGroup constraints to min: 0, max: 4, desired: 0 changing the desired capacity from 1 to 0.
  At 12:40:05Z an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from 1 to 0.
  At 12:40:05Z instance i-3 was selected for termination.
`, "\n")
	if out.String() != want {
		t.Fatalf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestActivitiesOfOneGroupById(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 5, 2, nil)
	id := l.activities()[1].ID
	got, err := l.DescribeScalingActivities("", []string{id})
	l.must(err)
	l.equal("found", len(got), 1)
	_, err = l.DescribeScalingActivities("none", nil)
	l.refused(err, "ValidationError", "none")
}
