package cloud

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
)

// open lets a service send to the inbox.
func (m *mail) open(service string) {
	m.t.Helper()
	m.must(m.SetQueueAttributes(m.inbox, map[string]string{
		"Policy": fmt.Sprintf(`{"Statement":{"Effect":"Allow","Principal":{"Service":%q},"Action":"sqs:SendMessage","Resource":"*"}}`, service),
	}))
}

// rule makes a rule "spot" for events of EC2, with the inbox as its target.
func (m *mail) rule() {
	m.t.Helper()
	_, err := m.PutRule(Rule{Name: "spot", Pattern: `{"source":["aws.ec2","own"]}`}, map[string]string{"team": "a"})
	m.must(err)
	m.must(m.PutTargets("spot", []RuleTarget{{ID: "inbox", ARN: m.arn("sqs", "inbox")}}))
}

func (m *mail) happen(source string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.publish(source, "Something", []string{"arn:x"}, map[string]any{"instance-id": "i-1"})
}

func TestEventsComeToTheTargetsOfMatchingRules(t *testing.T) {
	m := newMail(t)
	m.open("events.amazonaws.com")
	m.rule()
	m.happen("aws.ec2")
	m.happen("aws.s3")
	at := m.now()
	m.clock.Advance(500*time.Millisecond - 1)
	m.want("too early", m.counts(m.inbox), "0 0 0")
	m.clock.Advance(1)
	got := m.receive(m.inbox)
	if len(got) != 1 || got[0].Sender != "events.amazonaws.com" {
		t.Fatalf("received %+v", got)
	}
	var e struct {
		Version, ID, Source, Account, Region string
		DetailType                           string `json:"detail-type"`
		Time                                 time.Time
		Resources                            []string
		Detail                               map[string]string
	}
	m.must(json.Unmarshal([]byte(got[0].Body), &e))
	if e.Version != "0" || len(e.ID) != 36 || e.Source != "aws.ec2" || e.Account != "123456789012" || e.Region != "eu-west-1" || e.DetailType != "Something" ||
		!e.Time.Equal(at) || !slices.Equal(e.Resources, []string{"arn:x"}) || e.Detail["instance-id"] != "i-1" {
		t.Fatalf("event %s", got[0].Body)
	}
	if n := m.FailedInvocations("spot"); n != 0 {
		t.Fatalf("%d failed invocations", n)
	}
}

func TestEventsThatNobodyMayDeliverAreLostAndCounted(t *testing.T) {
	m := newMail(t)
	m.rule()
	inbox := m.arn("sqs", "inbox")
	m.happen("aws.ec2")
	m.clock.Advance(time.Second)
	m.open("sns.amazonaws.com")
	m.happen("aws.ec2")
	m.clock.Advance(time.Second)
	m.want("inbox", m.counts(m.inbox), "0 0 0")
	if failed, lost := m.FailedInvocations("spot"), m.LostMessages(inbox); failed != 2 || lost != 2 {
		t.Fatalf("%d failed, %d lost, want 2 and 2", failed, lost)
	}
	// With a dead-letter queue that EventBridge may use they are kept there.
	m.must(m.SetQueueAttributes(m.dead, map[string]string{"Policy": `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}}`}))
	m.must(m.PutTargets("spot", []RuleTarget{{ID: "inbox", ARN: inbox, DeadLetter: m.arn("sqs", "dead")}}))
	m.happen("aws.ec2")
	m.clock.Advance(time.Second)
	got := m.receive(m.dead)
	if len(got) != 1 || got[0].Attributes["ERROR_CODE"].Text != "NO_PERMISSIONS" || got[0].Attributes["TARGET_ARN"].Text != inbox {
		t.Fatalf("dead letter %+v", got)
	}
	// A queue that is gone counts as well.
	m.must(m.DeleteQueue(m.inbox))
	m.happen("aws.ec2")
	m.clock.Advance(time.Second)
	if got := m.receive(m.dead); len(got) != 1 || got[0].Attributes["ERROR_CODE"].Text != "RESOURCE_NOT_FOUND" || m.FailedInvocations("spot") != 4 {
		t.Fatalf("dead letter %+v, %d failed", got, m.FailedInvocations("spot"))
	}
}

func TestDisabledRuleMatchesNothing(t *testing.T) {
	m := newMail(t)
	m.open("events.amazonaws.com")
	m.rule()
	m.happen("aws.ec2") // on its way already
	m.must(m.DisableRule("spot"))
	m.happen("aws.ec2")
	m.clock.Advance(time.Second)
	m.want("inbox", m.counts(m.inbox), "1 0 0")
	m.must(m.EnableRule("spot"))
	m.happen("aws.ec2")
	m.clock.Advance(time.Second)
	m.want("inbox", m.counts(m.inbox), "2 0 0")
}

func TestPutEvents(t *testing.T) {
	m := newMail(t)
	m.open("events.amazonaws.com")
	m.rule()
	good := EventEntry{Source: "own", DetailType: "canary", Detail: `{"n":12345678901234567890}`}
	with := func(change func(*EventEntry)) EventEntry {
		e := good
		change(&e)
		return e
	}
	ids, failed, err := m.PutEvents([]EventEntry{
		good, with(func(e *EventEntry) { e.Source = "aws.ec2" }), with(func(e *EventEntry) { e.Detail = "[]" }), with(func(e *EventEntry) { e.Detail = "null" }),
		with(func(e *EventEntry) { e.Source = "" }), with(func(e *EventEntry) { e.DetailType = "" }), with(func(e *EventEntry) { e.Detail = "" }),
	})
	m.must(err)
	if len(ids[0]) != 36 || failed[0] != nil {
		t.Fatalf("answered %q, %v", ids, failed)
	}
	for i, code := range []string{"NotAuthorizedForSourceException", "MalformedDetail", "MalformedDetail", "InvalidArgument", "InvalidArgument", "InvalidArgument"} {
		m.refused(failed[i+1], code, "")
	}
	m.clock.Advance(time.Second)
	got := m.receive(m.inbox)
	var e struct {
		ID     string
		Detail struct{ N json.Number }
	}
	m.must(json.Unmarshal([]byte(got[0].Body), &e))
	if len(got) != 1 || e.ID != ids[0] || e.Detail.N != "12345678901234567890" {
		t.Fatalf("received %+v", got)
	}
	_, _, err = m.PutEvents(nil)
	m.refused(err, "ValidationException", "between 1 and 10")
}

func TestRules(t *testing.T) {
	m := newMail(t)
	m.rule()
	inbox := m.arn("sqs", "inbox")
	r, err := m.DescribeRule("spot")
	m.must(err)
	if r.State != RuleEnabled || r.ARN != "arn:aws:events:eu-west-1:123456789012:rule/spot" || r.Pattern != `{"source":["aws.ec2","own"]}` {
		t.Fatalf("rule %+v", r)
	}
	m.must(m.TagResource(r.ARN, map[string]string{"b": "2"}))
	m.must(m.UntagResource(r.ARN, []string{"none"}))
	_, err = m.PutRule(Rule{Name: "spot", Pattern: `{"source":["x"]}`, State: RuleDisabled}, nil) // keeps tags and targets
	m.must(err)
	tags, err := m.ListTagsForResource(r.ARN)
	m.must(err)
	if len(tags) != 2 || tags["team"] != "a" || tags["b"] != "2" {
		t.Fatalf("tags %v", tags)
	}
	m.refused(m.TagResource(r.ARN+"x", nil), "ResourceNotFoundException", "")
	targets, err := m.ListTargetsByRule("spot")
	m.must(err)
	if !slices.Equal(targets, []RuleTarget{{ID: "inbox", ARN: inbox}}) {
		t.Fatalf("targets %+v", targets)
	}
	names, err := m.ListRuleNamesByTarget(inbox)
	m.must(err)
	all, err := m.ListRules("sp")
	m.must(err)
	none, err := m.ListRules("x")
	m.must(err)
	if !slices.Equal(names, []string{"spot"}) || len(all) != 1 || all[0].State != RuleDisabled || len(none) != 0 {
		t.Fatalf("names %v, rules %+v, %+v", names, all, none)
	}
	m.refused(m.DeleteRule("spot"), "ValidationException", "since it has targets")
	m.must(m.RemoveTargets("spot", []string{"inbox", "none"}))
	m.must(m.DeleteRule("spot"))
	m.must(m.DeleteRule("spot"))
	m.refused(m.PutTargets("spot", nil), "ResourceNotFoundException", "Rule spot does not exist")
	m.refused(m.EnableRule("spot"), "ResourceNotFoundException", "Rule spot does not exist")
}

func TestRulesThatAreRefused(t *testing.T) {
	m := newMail(t)
	m.rule()
	_, err := m.PutRule(Rule{Name: "a b", Pattern: `{"a":["b"]}`}, nil)
	m.refused(err, "ValidationException", "a b")
	_, err = m.PutRule(Rule{Name: "a"}, nil)
	m.refused(err, "ValidationException", "EventPattern")
	_, err = m.PutRule(Rule{Name: "a", Pattern: `{"a":["b"]}`, State: "SOMETIMES"}, nil)
	m.refused(err, "NotSimulated", "SOMETIMES")
	m.refused(m.PutTargets("spot", []RuleTarget{{ID: "f", ARN: "arn:aws:lambda:eu-west-1:123456789012:function:f"}}), "NotSimulated", "lambda")
	m.refused(m.PutTargets("spot", []RuleTarget{{ARN: m.arn("sqs", "inbox")}}), "ValidationException", "id")
	m.refused(m.PutTargets("spot", []RuleTarget{{ID: "a", ARN: m.arn("sqs", "inbox"), DeadLetter: "x"}}), "ValidationException", "not in correct format")
	var many []RuleTarget
	for n := range 5 {
		many = append(many, RuleTarget{ID: fmt.Sprint(n), ARN: m.arn("sqs", "inbox")})
	}
	m.refused(m.PutTargets("spot", many), "LimitExceededException", "exceeds the maximum")
	m.Throttle("events:PutRule", 1)
	_, err = m.PutRule(Rule{Name: "a", Pattern: `{"a":["b"]}`}, nil)
	m.refused(err, "ThrottlingException", "")
}
