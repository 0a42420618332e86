package aws_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"drover.dev/aws"
	"drover.dev/fleet"
)

const (
	beaten    = `<RecordLifecycleActionHeartbeatResponse><RecordLifecycleActionHeartbeatResult/></RecordLifecycleActionHeartbeatResponse>`
	completed = `<CompleteLifecycleActionResponse><CompleteLifecycleActionResult/></CompleteLifecycleActionResponse>`
)

var answers = []fleet.Action{
	{Verb: fleet.Heartbeat, Group: "web", Hook: "drover-terminate"},
	{Verb: fleet.Complete, Group: "web", Hook: "drover-terminate", Result: fleet.Continue},
}

// verbatim are the calls of answers.
var verbatim = map[fleet.Verb]string{fleet.Heartbeat: "RecordLifecycleActionHeartbeat", fleet.Complete: "CompleteLifecycleAction"}

func TestAnswersToHooks(t *testing.T) {
	r := quiet(t)
	id := r.group().Instances[0].ID
	for verb, want := range map[fleet.Verb]url.Values{
		fleet.Heartbeat: {"AutoScalingGroupName": {"web"}, "LifecycleHookName": {"drover-terminate"}, "InstanceId": {id}},
		fleet.Complete:  {"AutoScalingGroupName": {"web"}, "LifecycleHookName": {"drover-terminate"}, "InstanceId": {id}, "LifecycleActionResult": {fleet.Abandon}},
	} {
		r.tell(verbatim[verb], func(form url.Values) (int, string) {
			for _, meta := range []string{"Action", "Version"} {
				form.Del(meta)
			}
			if form.Encode() != want.Encode() {
				t.Errorf("%s: told %v, want %v", verb, form, want)
			}
			return 200, map[fleet.Verb]string{fleet.Heartbeat: beaten, fleet.Complete: completed}[verb]
		})
		r.act(fleet.Action{Verb: verb, Hook: "drover-terminate", Instance: id, Result: fleet.Abandon})
		if r.calls(verbatim[verb]) != 1 {
			t.Errorf("%s: %d calls", verb, r.calls(verbatim[verb]))
		}
	}
}

// Whoever is busy is asked again soon, however often it takes, and AWS's own reason is told.
func TestAnswersWhileAutoScalingIsBusy(t *testing.T) {
	for _, code := range []string{"Throttling", "ResourceContention"} {
		for _, a := range answers {
			t.Run(code+" "+string(a.Verb), func(t *testing.T) {
				r := quiet(t)
				a.Instance = r.group().Instances[0].ID
				r.tell(verbatim[a.Verb], scalingError(code, "try later"))
				for range 5 {
					err := r.hand.Act(ctx, a)
					refusal(t, err, "AWS is busy: "+code+": try later")
					var refused *fleet.Refused
					if errors.As(err, &refused) && (refused.Wait <= 0 || refused.Wait > 5*time.Second) {
						t.Errorf("asked again after %s", refused.Wait)
					}
				}
				r.tell(verbatim[a.Verb], always(200, "<"+verbatim[a.Verb]+"Response><"+verbatim[a.Verb]+"Result/></"+verbatim[a.Verb]+"Response>"))
				r.ok(r.hand.Act(ctx, a))
			})
		}
	}
}

// A hook that was answered, ran out, or met its wall holds nobody: there is nothing left to answer.
func TestAnswersThatNobodyWaitsFor(t *testing.T) {
	for _, a := range answers {
		r := quiet(t)
		a.Instance = r.group().Instances[0].ID
		r.tell(verbatim[a.Verb], scalingError("ValidationError", "No active Lifecycle Action found with instance ID "+a.Instance))
		r.ok(r.hand.Act(ctx, a))
		r.tell(verbatim[a.Verb], scalingError("ValidationError", "AutoScalingGroup name not found"))
		if err := r.hand.Act(ctx, a); err == nil || err.Error() != "ValidationError: AutoScalingGroup name not found" {
			t.Errorf("%s: got %v", a, err)
		}
	}
}

// Other nodes are to be emptied whichever right is missing; without credentials nothing goes on.
func TestAnswersWithoutTheRight(t *testing.T) {
	for _, a := range answers {
		r := newRegion(t)
		a.Instance = r.group().Instances[0].ID
		r.tell(verbatim[a.Verb], scalingError("AccessDenied", "not you"))
		err := r.hand.Act(ctx, a)
		refusal(t, err, "AWS refuses: AccessDenied: not you; grant drover that permission")
		var fatal *fleet.Fatal
		if errors.As(err, &fatal) {
			t.Errorf("%s: fatal", a)
		}
		var refused *fleet.Refused
		if !errors.As(err, &refused) || !refused.Denied {
			t.Errorf("%s: refused for another reason than a missing right: %+v", a, refused)
		}
		r.tell(verbatim[a.Verb], scalingError("Throttling", "Rate exceeded"))
		if err := r.hand.Act(ctx, a); !errors.As(err, &refused) || refused.Denied {
			t.Errorf("%s: busy is no missing right: %v", a, err)
		}
		r.tell(verbatim[a.Verb], scalingError("ExpiredToken", "old"))
		if err := r.hand.Act(ctx, a); !errors.As(err, &fatal) {
			t.Errorf("%s: got %v", a, err)
		}
	}
}

// broken is a network on which no call of an action gets through.
type broken struct {
	action string
	err    error
}

func (b broken) RoundTrip(q *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	if strings.Contains(string(body), "Action="+b.action) {
		return nil, b.err
	}
	q.Body = io.NopCloser(bytes.NewReader(body))
	return http.DefaultTransport.RoundTrip(q)
}

// However a call ends without an answer, that is an error: the hook may still wait.
func TestAnswersThatDoNotArrive(t *testing.T) {
	for _, cause := range []error{context.DeadlineExceeded, context.Canceled, io.ErrUnexpectedEOF} {
		for _, a := range answers {
			r := watched(t, nil)
			a.Instance = r.taken()
			cfg := r.config(1)
			cfg.HTTPClient = &http.Client{Transport: broken{verbatim[a.Verb], cause}}
			if err := aws.New(cfg).Act(ctx, a); err == nil {
				t.Errorf("%s: %v counts as an answer", a, cause)
			}
			gone, stop := context.WithCancel(ctx)
			stop()
			if err := r.hand.Act(gone, a); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v", a, err)
			}
		}
	}
}

// The controller has many nodes; a rotation has no way on.
func TestAMissingRightIsFatalForARotationOnly(t *testing.T) {
	r := quiet(t)
	a := fleet.Action{Verb: fleet.Suspend, Group: "web", Process: fleet.AZRebalance}
	r.tell("SuspendProcesses", scalingError("AccessDenied", "not you"))
	err := r.hand.Act(ctx, a)
	refusal(t, err, "grant drover that permission")
	var refused *fleet.Refused
	if !errors.As(err, &refused) || !refused.Denied {
		t.Errorf("refused for another reason: %+v", refused)
	}
	r.hand.Notices = false
	var fatal *fleet.Fatal
	if err := r.hand.Act(ctx, a); !errors.As(err, &fatal) {
		t.Errorf("got %v", err)
	}
}

// memberIs has Auto Scaling say of every instance asked about that it is a member of web in a state.
func (r *region) memberIs(state string) {
	r.tell("DescribeAutoScalingInstances", func(form url.Values) (int, string) {
		return 200, fmt.Sprintf(`<DescribeAutoScalingInstancesResponse><DescribeAutoScalingInstancesResult><AutoScalingInstances><member><InstanceId>%s</InstanceId>
<AutoScalingGroupName>web</AutoScalingGroupName><LifecycleState>%s</LifecycleState></member></AutoScalingInstances></DescribeAutoScalingInstancesResult></DescribeAutoScalingInstancesResponse>`,
			form.Get("InstanceIds.member.1"), state)
	})
}

// What of an instance is ended, and whether desired goes down, depends on where it is.
func TestTerminateByLifecycle(t *testing.T) {
	for state, want := range map[string]string{
		"InService": "true", "Pending": "true", "Pending:Wait": "true", "Pending:Proceed": "true", "Standby": "false", "EnteringStandby": "false",
		"Terminating": "", "Terminating:Wait": "", "Terminating:Proceed": "", "Terminated": "", "Detaching": "", "Warmed:Terminating:Wait": "", "Warmed:Terminated": "",
		"Terminating:Retained": "false", "Warmed:Stopped": "refused", "Warmed:Pending:Wait": "refused",
	} {
		t.Run(state, func(t *testing.T) {
			r := newRegion(t)
			r.group()
			r.memberIs(state)
			got := ""
			r.tell("TerminateInstanceInAutoScalingGroup", func(form url.Values) (int, string) {
				got = form.Get("ShouldDecrementDesiredCapacity")
				return 200, `<TerminateInstanceInAutoScalingGroupResponse><TerminateInstanceInAutoScalingGroupResult/></TerminateInstanceInAutoScalingGroupResponse>`
			})
			err := r.hand.Act(ctx, fleet.Action{Verb: fleet.Terminate, Group: "web", Instance: "i-0a"})
			if want == "refused" {
				refusal(t, err, "the instance is "+state+": Auto Scaling ends none of its warm pool by id")
				want = ""
			} else if err != nil {
				t.Error(err)
			}
			if got != want {
				t.Errorf("desired goes down: %q, want %q", got, want)
			}
		})
	}
}

// One that is retained is outside of what a run counts, so the run that has the group does not matter.
func TestARetainedInstanceIsClosedDuringARun(t *testing.T) {
	r := newRegion(t)
	m := fleet.GroupMark{Run: "r-2", At: r.clock.Now(), Criterion: "outdated", Desired: 3, From: 3, Set: 3}
	r.act(fleet.Action{Verb: fleet.Journal, Mark: &m})
	id := r.group().Instances[0].ID
	r.memberIs(fleet.InService)
	refusal(t, r.hand.Act(ctx, fleet.Action{Verb: fleet.Terminate, Run: "r-1", Group: "web", Instance: id}), "the group now carries run r-2")
	r.memberIs(fleet.Retained)
	r.tell("TerminateInstanceInAutoScalingGroup", scalingError("Throttling", "it was asked"))
	refusal(t, r.hand.Act(ctx, fleet.Action{Verb: fleet.Terminate, Run: "r-1", Group: "web", Instance: id}), "it was asked")
}

const someActivities = `<DescribeScalingActivitiesResponse><DescribeScalingActivitiesResult><Activities>%s</Activities>%s</DescribeScalingActivitiesResult></DescribeScalingActivitiesResponse>`

func activity(description, cause, start, end, code string) string {
	if end != "" {
		end = "<EndTime>" + end + "</EndTime>"
	}
	return fmt.Sprintf(`<member><Description>%s</Description><Cause>%s</Cause><StartTime>%s</StartTime>%s<StatusCode>%s</StatusCode></member>`, description, cause, start, end, code)
}

func TestTrail(t *testing.T) {
	r := newRegion(t)
	r.group()
	r.tell("DescribeScalingActivities", func(form url.Values) (int, string) {
		switch form.Get("AutoScalingGroupName") + form.Get("NextToken") {
		case "web":
			return 200, fmt.Sprintf(someActivities, activity("Terminating EC2 instance: i-0a", "an instance was taken out of service to even out zones", "2026-11-21T20:03:00Z", "", "MidLifecycleAction")+
				activity("Launching a new EC2 instance: i-0b", "instead of i-0a", "2026-11-21T20:02:00Z", "2026-11-21T20:02:30Z", "Successful"), "<NextToken>2</NextToken>")
		case "web2":
			return 200, fmt.Sprintf(someActivities, activity("Launching a new EC2 instance: i-0a", "desired went from 0 to 1", "2026-11-21T20:00:00Z", "2026-11-21T20:01:00Z", "Successful"), "<NextToken>3</NextToken>")
		}
		t.Error("looked further back than its launch")
		return 200, fmt.Sprintf(someActivities, "", "")
	})
	got, err := r.hand.Trail(ctx, "web", "i-0a")
	r.ok(err)
	var lines []string
	for _, e := range got {
		lines = append(lines, e.At.Format("15:04 ")+e.Source+" "+e.What)
	}
	want := `20:00 auto scaling Launching a new EC2 instance: i-0a: desired went from 0 to 1
20:01 auto scaling Launching a new EC2 instance: i-0a: Successful
20:03 auto scaling Terminating EC2 instance: i-0a: an instance was taken out of service to even out zones`
	if text := strings.Join(lines, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestTrailOfNoGroup(t *testing.T) {
	r := newRegion(t)
	r.tell("DescribeScalingActivities", scalingError("ValidationError", "AutoScalingGroup name not found - AutoScalingGroup 'nowhere' not found"))
	for _, group := range []string{"", "nowhere"} {
		if got, err := r.hand.Trail(ctx, group, "i-0a"); err != nil || len(got) != 0 {
			t.Errorf("group %q: %v, %v", group, got, err)
		}
	}
	if r.calls("DescribeScalingActivities") != 2 {
		t.Errorf("%d calls", r.calls("DescribeScalingActivities"))
	}
}

// The group of today is another one than that which the instance was in.
func TestTrailOfADeletedGroup(t *testing.T) {
	r := newRegion(t)
	r.tell("DescribeScalingActivities", func(form url.Values) (int, string) {
		of := "i-0b"
		if form.Get("IncludeDeletedGroups") == "true" {
			of = "i-0a"
		}
		return 200, fmt.Sprintf(someActivities, activity("Launching a new EC2 instance: "+of, "desired went up", "2026-11-21T20:00:00Z", "", "InProgress"), "")
	})
	got, err := r.hand.Trail(ctx, "web", "i-0a")
	r.ok(err)
	if len(got) != 1 || got[0].What != "Launching a new EC2 instance: i-0a: desired went up" {
		t.Errorf("got %+v", got)
	}
}

// A group that scales all day has more activities than anybody wants to page through.
func TestTrailIsBounded(t *testing.T) {
	r := newRegion(t)
	r.tell("DescribeScalingActivities", always(200, fmt.Sprintf(someActivities, activity("Terminating EC2 instance: i-0b", "x", "2026-11-21T20:00:00Z", "", "InProgress"), "<NextToken>more</NextToken>")))
	got, err := r.hand.Trail(ctx, "web", "i-0a")
	if err != nil || len(got) != 0 || r.calls("DescribeScalingActivities") != 40 {
		t.Errorf("%v, %v after %d calls", got, err, r.calls("DescribeScalingActivities"))
	}
}
