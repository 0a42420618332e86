package aws_test

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/pipeline"
	"drover.dev/sandbox/cloud"
)

// plumbing is a region with what a cluster called prod wants of it.
func plumbing(t *testing.T) (*region, pipeline.Wanted) {
	r := newRegion(t)
	account, name, err := r.hand.Account(ctx)
	r.ok(err)
	return r, pipeline.Wanted{
		Cluster: "prod", Account: account, Region: name, LaunchHooks: true, DrainFor: time.Hour,
		Groups: []pipeline.Group{{Name: "web", Scaling: "web", Grace: 30 * time.Second, Pod: "shop/api-0"}, {Name: "gone", Scaling: "gone"}},
	}
}

func (r *region) pipeline(w pipeline.Wanted) pipeline.Found {
	r.Helper()
	f, err := r.hand.Pipeline(ctx, w)
	r.ok(err)
	return f
}

func (r *region) lay(changes []pipeline.Change) {
	r.Helper()
	for _, c := range changes {
		r.ok(r.hand.Lay(ctx, c))
	}
}

func (r *region) planned(w pipeline.Wanted) []pipeline.Change {
	r.Helper()
	changes, taken := pipeline.Plan(w, r.pipeline(w))
	if len(taken) > 0 {
		r.Fatal(taken)
	}
	return changes
}

func told(changes []pipeline.Change) string {
	var out []string
	for _, c := range changes {
		out = append(out, c.String())
	}
	return strings.Join(out, "\n")
}

// Whatever is laid is read back as the plan foresaw it; it does no harm twice; and what is cut off after any change is gone on with.
func TestPipelineIsLaidAndTakenAway(t *testing.T) {
	r, w := plumbing(t)
	changes := r.planned(w)
	if len(changes) != 13 {
		t.Fatalf("%d changes:\n%s", len(changes), told(changes))
	}
	for i, c := range changes {
		r.lay([]pipeline.Change{c, c})
		if rest := r.planned(w); told(rest) != told(changes[i+1:]) {
			t.Fatalf("after %s, left to do:\n%s", c, told(rest))
		}
	}
	if gaps := pipeline.Check(w, r.pipeline(w), &fleet.Snapshot{}); len(gaps) > 0 {
		t.Errorf("all laid, but %v", gaps)
	}
	hooks, err := r.sim.DescribeLifecycleHooks("web", nil)
	r.ok(err)
	if len(hooks) != 2 || hooks[0].Heartbeat != 5*time.Minute || hooks[0].DefaultResult != cloud.ResultContinue || hooks[0].Metadata != "drover.dev/cluster=prod" {
		t.Errorf("hooks %+v", hooks)
	}

	removal, _ := pipeline.Removal(w, r.pipeline(w), true)
	for i, c := range removal {
		r.lay([]pipeline.Change{c, c})
		rest, _ := pipeline.Removal(w, r.pipeline(w), true)
		if told(rest) != told(removal[i+1:]) {
			t.Fatalf("after %s, left to do:\n%s", c, told(rest))
		}
	}
	rules, err := r.sim.ListRules("")
	r.ok(err)
	queues, err := r.sim.ListQueues("")
	r.ok(err)
	hooks, err = r.sim.DescribeLifecycleHooks("web", nil)
	r.ok(err)
	if len(rules)+len(queues)+len(hooks) > 0 {
		t.Errorf("left behind: rules %v, queues %v, hooks %v", rules, queues, hooks)
	}
}

func TestPipelineIsRepaired(t *testing.T) {
	r, w := plumbing(t)
	r.lay(r.planned(w))
	url, err := r.sim.GetQueueUrl("drover-prod")
	r.ok(err)
	theirs := `{"Sid":"Theirs","Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"*","Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:eu-west-1:111122223333:x"}}}`
	r.ok(r.sim.SetQueueAttributes(url, map[string]string{"MessageRetentionPeriod": "300", "ReceiveMessageWaitTimeSeconds": "0", "RedrivePolicy": "", "Policy": `{"Version":"2012-10-17","Statement":[` + theirs + `]}`}))
	r.ok(r.sim.DisableRule("drover-prod-spot"))
	r.ok(r.sim.RemoveTargets("drover-prod-health", []string{"drover"}))
	r.ok(r.sim.PutLifecycleHook(cloud.Hook{Group: "web", Name: "drover-terminate", DefaultResult: cloud.ResultAbandon, Heartbeat: 30 * time.Second}))
	w.Groups[0].Grace = 2 * time.Minute
	changes := r.planned(w)
	want := `repair queue drover-prod: retention 5m → 48h, long polling 0s → 20s, dead letters none → drover-prod-dead after 100 receives, policy lacks DroverEvents and DroverTopics → as it is to be; other statements stay
repair rule drover-prod-spot: state disabled → enabled
aim rule drover-prod-health: at queue drover-prod
repair hook web/drover-terminate: heartbeat 30s → 2m, default result ABANDON → CONTINUE`
	if told(changes) != want {
		t.Fatalf("planned:\n%s", told(changes))
	}
	r.lay(changes)
	if rest := r.planned(w); len(rest) > 0 {
		t.Errorf("left to do:\n%s", told(rest))
	}
	if q := r.pipeline(w).Queue; !strings.Contains(q.Policy, `"Sid":"Theirs"`) || !q.Encrypted {
		t.Errorf("queue %+v", q)
	}
}

// A queue under SQS's own KMS key takes nothing from EventBridge, however its policy reads.
func TestPipelineLeavesTheKeyThatKeepsEventsOut(t *testing.T) {
	r, w := plumbing(t)
	r.lay(r.planned(w))
	url, err := r.sim.GetQueueUrl("drover-prod")
	r.ok(err)
	r.ok(r.sim.SetQueueAttributes(url, map[string]string{"SqsManagedSseEnabled": "false", "KmsMasterKeyId": "alias/aws/sqs"}))
	changes := r.planned(w)
	if told(changes) != "repair queue drover-prod: encryption alias/aws/sqs → SQS's own keys" {
		t.Fatalf("planned:\n%s", told(changes))
	}
	r.lay(changes)
	if q := r.pipeline(w).Queue; q.Key != "" || !q.Encrypted {
		t.Errorf("queue %+v", q)
	}
}

// AWS makes no queue of a name that was in use less than a minute ago.
func TestQueueIsMadeAgainAMinuteLater(t *testing.T) {
	r, w := plumbing(t)
	r.lay(r.planned(w))
	removal, _ := pipeline.Removal(w, r.pipeline(w), true)
	r.lay(removal)
	changes := r.planned(w)
	var refused *fleet.Refused
	if err := r.hand.Lay(ctx, changes[0]); !errors.As(err, &refused) || refused.Wait != time.Minute {
		t.Fatalf("at once: %v", err)
	}
	r.clock.Advance(refused.Wait + time.Second)
	r.lay(changes)
}

func TestPipelineOfSomebodyElse(t *testing.T) {
	r, w := plumbing(t)
	_, err := r.sim.CreateQueue("drover-prod", nil, map[string]string{"team": "billing"})
	r.ok(err)
	_, err = r.sim.PutRule(cloud.Rule{Name: "drover-prod-spot", Pattern: `{"source":["aws.ec2"]}`, State: "ENABLED"}, map[string]string{pipeline.OwnerTag: "staging"})
	r.ok(err)
	changes, taken := pipeline.Plan(w, r.pipeline(w))
	if len(changes) > 0 || len(taken) != 2 || taken[0].Subject != "queue drover-prod" || taken[1].Subject != "rule drover-prod-spot" {
		t.Errorf("taken %v, changes:\n%s", taken, told(changes))
	}
	if removal, _ := pipeline.Removal(w, r.pipeline(w), true); len(removal) > 0 {
		t.Errorf("would remove:\n%s", told(removal))
	}
	err = r.hand.Lay(ctx, pipeline.Change{Verb: pipeline.DeleteQueue, Queue: pipeline.Queue{Name: "drover-prod", Owner: "prod"}})
	if err == nil || err.Error() != `delete queue drover-prod: its tag drover.dev/cluster is "" by now, expected "prod"` {
		t.Errorf("deleted all the same: %v", err)
	}
}

// Each call may fail: the error says what was being done to what, and the next attempt goes on.
func TestPipelineSurvivesFailures(t *testing.T) {
	r, w := plumbing(t)
	broken := &cloud.Error{Code: "InternalFailure", Message: "try another time", Status: 400}
	for _, tc := range []struct{ call, says string }{
		{"sqs:CreateQueue", "create queue drover-prod-dead: "},
		{"events:PutRule", "create rule drover-prod-lifecycle: "},
		{"events:PutTargets", "create rule drover-prod-lifecycle: "},
		{"autoscaling:PutLifecycleHook", "create hook web/drover-terminate: "},
	} {
		r.sim.FailNext(tc.call, broken)
		var err error
		for _, c := range r.planned(w) {
			if err = r.hand.Lay(ctx, c); err != nil {
				break
			}
		}
		if err == nil || !strings.HasPrefix(err.Error(), tc.says) {
			t.Errorf("%s failed: %v", tc.call, err)
		}
	}
	r.lay(r.planned(w))
	if rest := r.planned(w); len(rest) > 0 {
		t.Errorf("left to do:\n%s", told(rest))
	}
}

// What cannot be read is told. A region for each: calls that an error cut off may still reach the last one.
func TestPipelineIsReadInFullOrNotAtAll(t *testing.T) {
	for _, call := range []string{"sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ListQueueTags", "events:ListRules", "events:ListTargetsByRule", "events:ListTagsForResource", "autoscaling:DescribeLifecycleHooks", "autoscaling:DescribeAutoScalingGroups"} {
		r, w := plumbing(t)
		r.lay(r.planned(w))
		r.sim.FailNext(call, &cloud.Error{Code: "InternalFailure", Message: "try another time", Status: 400})
		if _, err := r.hand.Pipeline(ctx, w); err == nil || !strings.Contains(err.Error(), "try another time") {
			t.Errorf("%s failed: %v", call, err)
		}
	}
}

func TestPipelineSeesWhoWaits(t *testing.T) {
	r, w := plumbing(t)
	r.lay(r.planned(w))
	id := r.group().Instances[0].ID
	r.act(fleet.Action{Verb: fleet.Terminate, Instance: id})
	r.clock.Advance(time.Minute) // its target drains first
	if got := r.pipeline(w).Groups["web"].Waiting; !slices.Equal(got, []string{id}) {
		t.Errorf("waiting %v, want %s", got, id)
	}
	if _, there := r.pipeline(w).Groups["gone"]; there {
		t.Error("a group that does not exist is found")
	}
}

func TestHookOfAGoneGroupIsGone(t *testing.T) {
	r, w := plumbing(t)
	for _, group := range []string{"web", "gone"} {
		r.ok(r.hand.Lay(ctx, pipeline.Change{Verb: pipeline.DeleteHook, Group: pipeline.Group{Name: group, Scaling: group}, Hook: fleet.Hook{Name: pipeline.TerminateHook}}))
	}
	if err := r.hand.Lay(ctx, pipeline.Change{Verb: pipeline.CreateHook, Group: w.Groups[1], Hook: fleet.Hook{Name: pipeline.TerminateHook, Heartbeat: time.Minute}}); err == nil {
		t.Error("a hook was made on a group that does not exist")
	}
}

// What is about others is received once, and is there again afterwards.
func TestCanaryComesThrough(t *testing.T) {
	r, w := plumbing(t)
	r.lay(r.planned(w))
	url, err := r.sim.GetQueueUrl("drover-prod")
	r.ok(err)
	for i := range 12 {
		_, err := r.sim.SendMessage(url, cloud.Outgoing{Body: fmt.Sprintf(`{"about":%d}`, i)})
		r.ok(err)
	}
	canary := pipeline.Canary{ID: "canary-1", Cluster: "prod"}
	r.ok(r.hand.SendCanary(ctx, canary))
	r.clock.Advance(5 * time.Second)
	came, err := r.hand.AwaitCanary(ctx, "drover-prod", canary, time.Minute)
	if err != nil || !came {
		t.Fatalf("came %t: %v", came, err)
	}
	left, err := r.sim.Queued(url)
	r.ok(err)
	if len(left) != 12 {
		t.Errorf("%d messages are left, want the 12 of others", len(left))
	}
	for _, m := range left {
		if m.Receives > 1 {
			t.Errorf("message %s was received %d times", m.Body, m.Receives)
		}
	}
	attributes, err := r.sim.GetQueueAttributes(url, []string{"ApproximateNumberOfMessages"})
	r.ok(err)
	if attributes["ApproximateNumberOfMessages"] != "12" {
		t.Errorf("visible: %v", attributes)
	}
	if _, err := r.hand.AwaitCanary(ctx, "no-queue", canary, time.Minute); err == nil || !strings.Contains(err.Error(), "receive from queue no-queue: there is none") {
		t.Errorf("no queue: %v", err)
	}
}

// The time is over, or a person has enough, while messages arrive: they are given back all the same.
func TestCanaryGivesTheLastBatchBack(t *testing.T) {
	r, w := plumbing(t)
	r.lay(r.planned(w))
	queue, err := r.sim.GetQueueUrl("drover-prod")
	r.ok(err)
	for i := range 3 {
		_, err := r.sim.SendMessage(queue, cloud.Outgoing{Body: fmt.Sprintf(`{"about":%d}`, i)})
		r.ok(err)
	}
	enough, stop := context.WithCancel(ctx)
	defer stop()
	r.tell("ReceiveMessage", func(url.Values) (int, string) {
		stop()
		got, err := r.sim.ReceiveMessage(queue, cloud.Receive{Max: 10})
		if err != nil {
			return 500, err.Error()
		}
		var told []map[string]string
		for _, m := range got {
			told = append(told, map[string]string{"MessageId": m.ID, "ReceiptHandle": m.Handle, "Body": m.Body, "MD5OfBody": fmt.Sprintf("%x", md5.Sum([]byte(m.Body)))})
		}
		body, err := json.Marshal(map[string]any{"Messages": told})
		if err != nil {
			return 500, err.Error()
		}
		return 200, string(body)
	})
	if came, err := r.hand.AwaitCanary(enough, "drover-prod", pipeline.Canary{ID: "canary-1", Cluster: "prod"}, time.Minute); came || err != nil {
		t.Fatalf("came %t: %v", came, err)
	}
	attributes, err := r.sim.GetQueueAttributes(queue, []string{"ApproximateNumberOfMessages"})
	r.ok(err)
	if attributes["ApproximateNumberOfMessages"] != "3" {
		t.Errorf("visible: %v, want 3", attributes)
	}
}

// A hook that was made says whose it is, so that it is found on a group of which nothing else says so.
func TestPipelineFindsItsOwnHooks(t *testing.T) {
	r, w := plumbing(t)
	r.lay(r.planned(w))
	w.Groups, w.Others = nil, w.Groups
	removal, warnings := pipeline.Removal(w, r.pipeline(w), true)
	if !strings.HasPrefix(told(removal), "delete hook web/drover-launch: ") || !strings.Contains(told(removal), "delete hook web/drover-terminate: ") || len(warnings) > 0 {
		t.Errorf("removal: %v\n%s", warnings, told(removal))
	}
}

// The rules let through what they are for, and nothing of another cluster's canary.
func TestRulesFillTheQueue(t *testing.T) {
	r, w := plumbing(t)
	r.lay(r.planned(w))
	url, err := r.sim.GetQueueUrl("drover-prod")
	r.ok(err)
	r.ok(r.hand.SendCanary(ctx, pipeline.Canary{ID: "canary-1", Cluster: "staging"}))
	id := r.group().Instances[0].ID
	r.act(fleet.Action{Verb: fleet.Terminate, Instance: id})
	r.clock.Advance(time.Minute) // its target drains first
	var bodies []string
	queued, err := r.sim.Queued(url)
	r.ok(err)
	for _, m := range queued {
		bodies = append(bodies, m.Body)
	}
	all := strings.Join(bodies, "\n")
	if !strings.Contains(all, "EC2 Instance-terminate Lifecycle Action") || strings.Contains(all, "canary-1") {
		t.Errorf("the queue has:\n%s", all)
	}
	if lost := r.sim.LostMessages(w.QueueARN("drover-prod")); lost > 0 {
		t.Errorf("%d messages were not let in", lost)
	}
}
