package cloud

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestQueueAttributes(t *testing.T) {
	l := newLab(t, Config{})
	url, err := l.CreateQueue("q", map[string]string{"VisibilityTimeout": "60"}, map[string]string{"team": "a"})
	l.must(err)
	if want := "https://sqs.eu-west-1.amazonaws.com/123456789012/q"; url != want {
		t.Fatalf("URL %s, want %s", url, want)
	}
	all, err := l.GetQueueAttributes(url, []string{"All"})
	l.must(err)
	for name, want := range map[string]string{
		"QueueArn": "arn:aws:sqs:eu-west-1:123456789012:q", "VisibilityTimeout": "60", "MessageRetentionPeriod": "345600", "SqsManagedSseEnabled": "true",
		"CreatedTimestamp": "1772366400", "ReceiveMessageWaitTimeSeconds": "0",
	} {
		if all[name] != want {
			t.Errorf("%s is %q, want %q", name, all[name], want)
		}
	}
	if _, ok := all["Policy"]; ok {
		t.Errorf("a queue without policy shows one: %v", all)
	}
	l.clock.Advance(time.Hour)
	l.must(l.SetQueueAttributes(url, map[string]string{"KmsMasterKeyId": "alias/own"}))
	some, err := l.GetQueueAttributes(url, []string{"KmsMasterKeyId", "SqsManagedSseEnabled", "LastModifiedTimestamp", "Policy"})
	l.must(err)
	if len(some) != 3 || some["KmsMasterKeyId"] != "alias/own" || some["SqsManagedSseEnabled"] != "false" || some["LastModifiedTimestamp"] != "1772370000" {
		t.Errorf("attributes %v", some)
	}
	_, err = l.GetQueueAttributes(url, []string{"Colour"})
	l.refused(err, "InvalidAttributeName", "Unknown Attribute Colour.")
}

func TestQueueAttributesThatAreRefused(t *testing.T) {
	l := newLab(t, Config{})
	url, err := l.CreateQueue("q", nil, nil)
	l.must(err)
	for _, c := range []struct{ name, value, code, text string }{
		{"VisibilityTimeout", "43201", "InvalidAttributeValue", "VisibilityTimeout"},
		{"VisibilityTimeout", "", "InvalidAttributeValue", "VisibilityTimeout"},
		{"MessageRetentionPeriod", "59", "InvalidAttributeValue", "MessageRetentionPeriod"},
		{"SqsManagedSseEnabled", "yes", "InvalidAttributeValue", "SqsManagedSseEnabled"},
		{"Colour", "red", "InvalidAttributeName", "Colour"},
		{"FifoQueue", "true", "NotSimulated", "FifoQueue"},
		{"Policy", "{}", "InvalidAttributeValue", "Policy"},
		{"RedrivePolicy", "x", "InvalidAttributeValue", "RedrivePolicy"},
		{"RedrivePolicy", `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:none","maxReceiveCount":"3"}`, "InvalidParameterValue", "does not exist"},
		{"RedrivePolicy", `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:q","maxReceiveCount":3}`, "InvalidParameterValue", "does not exist"},
		{"RedrivePolicy", `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:q","maxReceiveCount":0}`, "InvalidParameterValue", "from 1 to 1000"},
	} {
		// The good attribute beside it must not be set either.
		l.refused(l.SetQueueAttributes(url, map[string]string{c.name: c.value, "DelaySeconds": "7"}), c.code, c.text)
	}
	got, err := l.GetQueueAttributes(url, []string{"DelaySeconds", "VisibilityTimeout"})
	l.must(err)
	if got["DelaySeconds"] != "0" || got["VisibilityTimeout"] != "30" {
		t.Fatalf("attributes %v", got)
	}
}

func TestCreateQueueAgain(t *testing.T) {
	l := newLab(t, Config{})
	first, err := l.CreateQueue("q", map[string]string{"DelaySeconds": "5"}, nil)
	l.must(err)
	again, err := l.CreateQueue("q", map[string]string{"DelaySeconds": "5"}, nil)
	l.must(err)
	if first != again {
		t.Fatalf("%s and %s", first, again)
	}
	_, err = l.CreateQueue("q", map[string]string{"DelaySeconds": "6"}, nil)
	l.refused(err, "QueueNameExists", "different value for attribute DelaySeconds")
	_, err = l.CreateQueue("q.fifo", nil, nil)
	l.refused(err, "NotSimulated", "FIFO")
	_, err = l.CreateQueue("a b", nil, nil)
	l.refused(err, "InvalidParameterValue", "alphanumeric")
	l.must(l.DeleteQueue(first))
	_, err = l.CreateQueue("q", nil, nil)
	l.refused(err, "QueueDeletedRecently", "60 seconds")
	_, err = l.GetQueueUrl("q")
	l.refused(err, "QueueDoesNotExist", "The specified queue does not exist.")
	l.clock.Advance(time.Minute)
	_, err = l.CreateQueue("q", nil, nil)
	l.must(err)
}

func TestListTagAndPurgeQueues(t *testing.T) {
	m := newMail(t)
	urls, err := m.ListQueues("")
	m.must(err)
	if !slices.Equal(urls, []string{m.dead, m.inbox}) {
		t.Fatalf("queues %q", urls)
	}
	urls, err = m.ListQueues("in")
	m.must(err)
	if !slices.Equal(urls, []string{m.inbox}) {
		t.Fatalf("queues %q", urls)
	}
	found, err := m.GetQueueUrl("inbox")
	m.must(err)
	m.want("URL", found, m.inbox)
	m.must(m.TagQueue(m.inbox, map[string]string{"a": "1", "b": "2"}))
	m.must(m.UntagQueue(m.inbox, []string{"a"}))
	tags, err := m.ListQueueTags(m.inbox)
	m.must(err)
	if len(tags) != 1 || tags["b"] != "2" {
		t.Fatalf("tags %v", tags)
	}
	m.send("a")
	m.must(m.PurgeQueue(m.inbox))
	m.want("counts", m.counts(m.inbox), "0 0 0")
	m.refused(m.PurgeQueue(m.inbox), "PurgeQueueInProgress", "every 60 seconds")
	m.clock.Advance(time.Minute)
	m.must(m.PurgeQueue(m.inbox))
	// The host of a URL does not matter, the account does.
	_, err = m.ReceiveMessage("http://127.0.0.1:9/123456789012/inbox", Receive{})
	m.must(err)
	_, err = m.ReceiveMessage(strings.Replace(m.inbox, "123456789012", "1", 1), Receive{})
	m.refused(err, "QueueDoesNotExist", "")
	_, err = m.ReceiveMessage("", Receive{})
	m.refused(err, "MissingParameter", "QueueUrl")
}

func TestQueuePolicy(t *testing.T) {
	const inbox, rule = "arn:aws:sqs:eu-west-1:123456789012:q", "arn:aws:events:eu-west-1:123456789012:rule/r"
	events := sender{"events.amazonaws.com", rule}
	allow := func(more string) string {
		return `{"Effect":"Allow","Principal":{"Service":["events.amazonaws.com","sqs.amazonaws.com"]},"Action":"sqs:SendMessage","Resource":"` + inbox + `"` + more + `}`
	}
	const noPlainHTTP = `{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`
	for _, c := range []struct {
		name, statements string
		from             sender
		want             bool
	}{
		{"allowed", allow(``), events, true},
		{"one statement without brackets", allow(``), events, true},
		{"another service", allow(``), sender{"sns.amazonaws.com", rule}, false},
		{"source fits", allow(`,"Condition":{"ArnEquals":{"aws:SourceArn":"` + rule + `"}}`), events, true},
		{"source fits a pattern", allow(`,"Condition":{"ArnLike":{"AWS:sourceARN":["x","arn:aws:events:*:*:rule/*"]}}`), events, true},
		{"another source", allow(`,"Condition":{"ArnEquals":{"aws:SourceArn":"` + rule + `2"}}`), events, false},
		{"a pattern is no text", allow(`,"Condition":{"StringEquals":{"aws:SourceArn":"arn:*"}}`), events, false},
		{"no source", allow(`,"Condition":{"StringLike":{"aws:SourceArn":"*"}}`), sender{service: "events.amazonaws.com"}, false},
		{"account fits", allow(`,"Condition":{"StringEquals":{"aws:SourceAccount":"123456789012"}}`), events, true},
		{"another account", allow(`,"Condition":{"StringEquals":{"aws:SourceAccount":"1"}}`), events, false},
		{"denied besides", allow(``) + `,{"Effect":"Deny","Principal":"*","Action":"SQS:Send*","Resource":"*"}`, events, false},
		{"denied without TLS only", noPlainHTTP + "," + allow(``), events, true},
		{"another action", strings.Replace(allow(``), "sqs:SendMessage", "sqs:ReceiveMessage", 1), events, false},
		{"another queue", strings.Replace(allow(``), inbox, inbox+"2", 1), events, false},
		{"everybody", `{"Effect":"Allow","Principal":{"AWS":"*"},"Action":["sqs:SendMessage"],"Resource":["*"]}`, events, true},
		{"a user", `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"*","Resource":"*"}`, events, false},
	} {
		document := `{"Version":"2012-10-17","Id":"x","Statement":[` + c.statements + `]}`
		if c.name == "one statement without brackets" {
			document = `{"Statement":` + c.statements + `}`
		}
		grants, err := readPolicy(document)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		q := &queue{arn: inbox, grants: grants}
		if got := q.admits(c.from, "123456789012"); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		q.attributes = map[string]string{"KmsMasterKeyId": managedKey}
		if q.admits(c.from, "123456789012") {
			t.Errorf("%s: AWS's own key lets a service in", c.name)
		}
	}
}

func TestQueuePoliciesThatAreRefused(t *testing.T) {
	l := newLab(t, Config{})
	for _, c := range []struct{ statement, code string }{
		{`{"Effect":"Allow","NotPrincipal":"*","Action":"*","Resource":"*"}`, "NotSimulated"},
		{`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:SourceArn":"x"}}}`, "NotSimulated"},
		{`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"x"}}}`, "NotSimulated"},
		{`{"Effect":"Maybe","Principal":"*","Action":"*","Resource":"*"}`, "InvalidAttributeValue"},
		{`{"Effect":"Allow","Principal":"me","Action":"*","Resource":"*"}`, "InvalidAttributeValue"},
		{`{"Effect":"Allow","Principal":"*","Action":"*"}`, "InvalidAttributeValue"},
		{`{"Effect":"Allow","Principal":"*","Action":7,"Resource":"*"}`, "InvalidAttributeValue"},
		{`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Colour":"red"}`, "InvalidAttributeValue"},
		{`]`, "InvalidAttributeValue"},
	} {
		_, err := l.CreateQueue("q", map[string]string{"Policy": `{"Statement":[` + c.statement + `]}`}, nil)
		l.refused(err, c.code, "")
	}
	_, err := l.GetQueueUrl("q")
	l.refused(err, "QueueDoesNotExist", "")
}
