package cloud

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func (m *mail) topic(attributes map[string]string) (arn, subscription string) {
	m.t.Helper()
	arn, err := m.CreateTopic("news", nil, nil)
	m.must(err)
	subscription, err = m.SubscribeTopic(arn, "sqs", m.arn("sqs", "inbox"), attributes)
	m.must(err)
	return arn, subscription
}

func TestTopicWrapsMessages(t *testing.T) {
	m := newMail(t)
	m.open("sns.amazonaws.com")
	arn, subscription := m.topic(nil)
	id, err := m.Publish(arn, "about", `{"a":"<b>"}`)
	m.must(err)
	got := m.receive(m.inbox)
	if len(got) != 1 {
		t.Fatalf("received %+v", got)
	}
	var n map[string]string
	m.must(json.Unmarshal([]byte(got[0].Body), &n))
	for k, want := range map[string]string{
		"Type": "Notification", "MessageId": id, "TopicArn": arn, "Subject": "about", "Message": `{"a":"<b>"}`, "Timestamp": "2026-03-01T12:00:00.000Z", "SignatureVersion": "1",
	} {
		if n[k] != want {
			t.Errorf("%s is %q, want %q", k, n[k], want)
		}
	}
	if got[0].ID == id || !strings.HasSuffix(n["UnsubscribeURL"], subscription) {
		t.Errorf("message %+v", got[0])
	}
}

func TestTellSendsToQueuesAndTopics(t *testing.T) {
	m := newMail(t)
	arn, _ := m.topic(map[string]string{"RawMessageDelivery": "true"})
	inbox := m.arn("sqs", "inbox")
	tell := func(to, body string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.tell(to, body)
	}
	tell(inbox, "direct") // with the hook's role: no policy is asked
	tell(arn, "shut out") // SNS has none
	m.want("inbox", m.bodies(m.inbox), "direct")
	m.open("sns.amazonaws.com")
	tell(arn, "raw")
	tell(arn+"x", "nobody there")
	tell("nonsense", "nobody there")
	m.want("inbox", m.bodies(m.inbox), "raw")
	if n := m.LostMessages(inbox); n != 1 {
		t.Fatalf("%d lost, want 1", n)
	}
}

func TestTopics(t *testing.T) {
	m := newMail(t)
	arn, subscription := m.topic(nil)
	inbox := m.arn("sqs", "inbox")
	again, same := m.topic(nil)
	if arn != "arn:aws:sns:eu-west-1:123456789012:news" || again != arn || same != subscription {
		t.Fatalf("%s, %s; %s, %s", arn, again, subscription, same)
	}
	_, err := m.SubscribeTopic(arn, "sqs", inbox, map[string]string{"RawMessageDelivery": "true"})
	m.refused(err, "InvalidParameter", "already exists with different attributes")
	m.must(m.SetTopicAttributes(arn, "Policy", `{}`))
	m.refused(m.SetTopicAttributes(arn, "Policy", `{`), "InvalidParameter", "Policy")
	m.refused(m.SetTopicAttributes(arn, "FilterPolicy", `{`), "NotSimulated", "FilterPolicy")
	all, err := m.GetTopicAttributes(arn)
	m.must(err)
	if all["Policy"] != "{}" || all["SubscriptionsConfirmed"] != "1" || all["TopicArn"] != arn {
		t.Fatalf("attributes %v", all)
	}
	subscriptions, err := m.ListSubscriptionsByTopic(arn)
	m.must(err)
	if !slices.Equal(subscriptions, []Subscription{{ARN: subscription, Topic: arn, Endpoint: inbox}}) {
		t.Fatalf("subscriptions %+v", subscriptions)
	}
	m.must(m.Unsubscribe(subscription))
	m.must(m.Unsubscribe(subscription))
	subscriptions, err = m.ListSubscriptionsByTopic(arn)
	m.must(err)
	topics, err := m.ListTopics()
	m.must(err)
	if len(subscriptions) != 0 || !slices.Equal(topics, []string{arn}) {
		t.Fatalf("subscriptions %+v, topics %v", subscriptions, topics)
	}
	m.must(m.DeleteTopic(arn))
	m.must(m.DeleteTopic(arn))
	_, err = m.Publish(arn, "", "x")
	m.refused(err, "NotFound", "Topic does not exist")
}

func TestTopicsThatAreRefused(t *testing.T) {
	m := newMail(t)
	arn, _ := m.topic(nil)
	for _, c := range []struct {
		name       string
		attributes map[string]string
		code       string
	}{{"a.fifo", nil, "NotSimulated"}, {"a b", nil, "InvalidParameter"}, {"a", map[string]string{"FifoTopic": "true"}, "NotSimulated"}} {
		_, err := m.CreateTopic(c.name, c.attributes, nil)
		m.refused(err, c.code, "")
	}
	for _, c := range []struct {
		protocol, endpoint string
		attributes         map[string]string
		code               string
	}{
		{"lambda", "arn:aws:lambda:eu-west-1:123456789012:function:f", nil, "NotSimulated"},
		{"sqs", "inbox", nil, "InvalidParameter"},
		{"sqs", m.arn("sqs", "dead"), map[string]string{"FilterPolicy": "{}"}, "NotSimulated"},
		{"sqs", m.arn("sqs", "dead"), map[string]string{"RawMessageDelivery": "maybe"}, "InvalidParameter"},
	} {
		_, err := m.SubscribeTopic(arn, c.protocol, c.endpoint, c.attributes)
		m.refused(err, c.code, "")
	}
	for _, c := range []struct{ subject, message string }{{"", ""}, {"", strings.Repeat("a", maxNotification+1)}, {strings.Repeat("a", 101), "x"}, {"a\nb\x00", "x"}} {
		_, err := m.Publish(arn, c.subject, c.message)
		m.refused(err, "InvalidParameter", "")
	}
	m.want("inbox", m.counts(m.inbox), "0 0 0")
}
