package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqst "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"drover.dev/sandbox/cloud"
)

// queue makes a queue "inbox" and a client for it.
func (r *rig) queue() (*sqs.Client, string) {
	r.t.Helper()
	client := sqs.NewFromConfig(r.cfg)
	dead := ok[*sqs.CreateQueueOutput](r.t)(client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: new("dead")}))
	attributes := ok[*sqs.GetQueueAttributesOutput](r.t)(client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: dead.QueueUrl, AttributeNames: []sqst.QueueAttributeName{sqst.QueueAttributeNameQueueArn},
	}))
	made := ok[*sqs.CreateQueueOutput](r.t)(client.CreateQueue(ctx, &sqs.CreateQueueInput{
		QueueName: new("inbox"), Tags: map[string]string{"team": "a"},
		Attributes: map[string]string{"VisibilityTimeout": "60", "RedrivePolicy": `{"deadLetterTargetArn":"` + attributes.Attributes["QueueArn"] + `","maxReceiveCount":"2"}`},
	}))
	return client, *made.QueueUrl
}

func TestQueueWithTheSDK(t *testing.T) {
	r := newRig(t)
	client, url := r.queue()
	tags := ok[*sqs.ListQueueTagsOutput](t)(client.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: &url}))
	found := ok[*sqs.GetQueueUrlOutput](t)(client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: new("inbox")}))
	listed := ok[*sqs.ListQueuesOutput](t)(client.ListQueues(ctx, &sqs.ListQueuesInput{QueueNamePrefix: new("in")}))
	if tags.Tags["team"] != "a" || *found.QueueUrl != url || len(listed.QueueUrls) != 1 || listed.QueueUrls[0] != url {
		t.Fatalf("tags %v, URL %s, queues %v", tags.Tags, *found.QueueUrl, listed.QueueUrls)
	}
	own := map[string]sqst.MessageAttributeValue{
		"kind": {DataType: new("String"), StringValue: new("terminate <&>")}, "bytes": {DataType: new("Binary.raw"), BinaryValue: []byte{0, 1, 255}},
		"n": {DataType: new("Number"), StringValue: new("7")},
	}
	// The SDK checks MD5 of the body; of the attributes it checks nothing, so AWS's own figure is compared below.
	sent := ok[*sqs.SendMessageOutput](t)(client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: new("hello \u2028 <x>"), MessageAttributes: own}))
	got := ok[*sqs.ReceiveMessageOutput](t)(client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []sqst.MessageSystemAttributeName{"All"},
	}))
	if len(got.Messages) != 1 {
		t.Fatalf("received %+v", got)
	}
	m := got.Messages[0]
	if *m.MessageId != *sent.MessageId || *m.Body != "hello \u2028 <x>" || m.Attributes["ApproximateReceiveCount"] != "1" || m.Attributes["SentTimestamp"] != "1772366400000" {
		t.Fatalf("message %+v", m)
	}
	if *m.MD5OfMessageAttributes != *sent.MD5OfMessageAttributes || string(m.MessageAttributes["bytes"].BinaryValue) != "\x00\x01\xff" || *m.MessageAttributes["kind"].StringValue != "terminate <&>" {
		t.Fatalf("attributes %+v", m.MessageAttributes)
	}
	ok[*sqs.ChangeMessageVisibilityOutput](t)(client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}))
	again := ok[*sqs.ReceiveMessageOutput](t)(client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MessageAttributeNames: []string{"k.*", "n"}}))
	if len(again.Messages) != 1 || again.Messages[0].Attributes != nil || len(again.Messages[0].MessageAttributes) != 2 {
		t.Fatalf("received again %+v", again)
	}
	ok[*sqs.DeleteMessageOutput](t)(client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: again.Messages[0].ReceiptHandle}))
	if left, err := r.cloud.Queued(url); err != nil || len(left) != 0 {
		t.Fatalf("left %+v, %v", left, err)
	}
}

// TestDigestOfAttributes compares with a figure worked out by hand: the bytes that SQS documents, through md5sum.
func TestDigestOfAttributes(t *testing.T) {
	got := digestAttributes(map[string]sqst.MessageAttributeValue{"a": {DataType: new("String"), StringValue: new("b")}})
	if want := "bef8bf215374a0a228d67533b1a488be"; *got != want {
		t.Fatalf("%s, want %s", *got, want)
	}
}

func TestBatchesWithTheSDK(t *testing.T) {
	r := newRig(t)
	client, url := r.queue()
	sent := ok[*sqs.SendMessageBatchOutput](t)(client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: []sqst.SendMessageBatchRequestEntry{
		{Id: new("a"), MessageBody: new("A")}, {Id: new("b"), MessageBody: new("\x00")}, {Id: new("c"), MessageBody: new("C")},
	}}))
	if len(sent.Successful) != 2 || *sent.Successful[1].Id != "c" || len(sent.Failed) != 1 || *sent.Failed[0].Id != "b" || *sent.Failed[0].Code != "InvalidMessageContents" || !sent.Failed[0].SenderFault {
		t.Fatalf("sent %+v", sent)
	}
	got := ok[*sqs.ReceiveMessageOutput](t)(client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10}))
	first, second := got.Messages[0].ReceiptHandle, got.Messages[1].ReceiptHandle
	changed := ok[*sqs.ChangeMessageVisibilityBatchOutput](t)(client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{
		QueueUrl: &url, Entries: []sqst.ChangeMessageVisibilityBatchRequestEntry{{Id: new("1"), ReceiptHandle: first, VisibilityTimeout: 600}, {Id: new("2"), ReceiptHandle: new("x")}},
	}))
	if len(changed.Successful) != 1 || len(changed.Failed) != 1 || *changed.Failed[0].Code != "ReceiptHandleIsInvalid" {
		t.Fatalf("changed %+v", changed)
	}
	r.cloud.FailNext("sqs:DeleteMessageBatch.Entry", &cloud.Error{Code: "InternalError", Message: "try again", Status: 500})
	deleted := ok[*sqs.DeleteMessageBatchOutput](t)(client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{
		QueueUrl: &url, Entries: []sqst.DeleteMessageBatchRequestEntry{{Id: new("1"), ReceiptHandle: first}, {Id: new("2"), ReceiptHandle: second}},
	}))
	if len(deleted.Successful) != 1 || *deleted.Successful[0].Id != "2" || len(deleted.Failed) != 1 || deleted.Failed[0].SenderFault {
		t.Fatalf("deleted %+v", deleted)
	}
	twice := []sqst.DeleteMessageBatchRequestEntry{{Id: new("1"), ReceiptHandle: first}, {Id: new("1"), ReceiptHandle: second}}
	_, err := client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: twice})
	r.code(err, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "Id 1 repeated.")
	twice[0].Id = new("a b")
	_, err = client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: twice})
	r.code(err, "AWS.SimpleQueueService.InvalidBatchEntryId", "alphanumeric")
}

func TestErrorsOfQueues(t *testing.T) {
	r := newRig(t)
	client, url := r.queue()
	_, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: new("none")})
	var gone *sqst.QueueDoesNotExist
	if !errors.As(err, &gone) {
		t.Fatalf("got %v", err)
	}
	r.code(err, "AWS.SimpleQueueService.NonExistentQueue", "does not exist")
	_, err = client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: new("x")})
	var handle *sqst.ReceiptHandleIsInvalid
	if !errors.As(err, &handle) {
		t.Fatalf("got %v", err)
	}
	_, err = client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: new("x"), MessageGroupId: new("g")})
	r.code(err, "NotSimulated", "MessageGroupId of SendMessage")
	_, err = client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: new("x"), MessageAttributes: map[string]sqst.MessageAttributeValue{"a": {DataType: new("String"), StringListValues: []string{"x"}}}})
	r.code(err, "NotSimulated", "MessageAttributes.StringListValues of SendMessage")
	r.cloud.Throttle("sqs:ReceiveMessage", 1) // the SDK tries again
	ok[*sqs.ReceiveMessageOutput](t)(client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url}))
	if codes := r.codes("ReceiveMessage"); codes != "RequestThrottled " {
		t.Fatalf("answers %q", codes)
	}
}

// codes lists the answers to an action's calls.
func (r *rig) codes(action string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, c := range r.calls {
		if c.Action == action {
			out = append(out, c.Code)
		}
	}
	return strings.Join(out, " ")
}

func TestLongPollOnTheWire(t *testing.T) {
	r := newRig(t)
	client, url := r.queue()
	type answer struct {
		out *sqs.ReceiveMessageOutput
		err error
	}
	poll := func(ctx context.Context) <-chan answer {
		answered := make(chan answer, 1)
		go func() {
			out, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 20})
			answered <- answer{out, err}
		}()
		for waiting := false; !waiting; _, waiting = r.clock.Next() {
		}
		return answered
	}
	answered := poll(ctx)
	if _, err := r.cloud.SendMessage(url, cloud.Outgoing{Body: "x"}); err != nil {
		t.Fatal(err)
	}
	if a := <-answered; a.err != nil || len(a.out.Messages) != 1 {
		t.Fatalf("answered %+v, %v", a.out, a.err)
	}
	if err := r.cloud.PurgeQueue(url); err != nil {
		t.Fatal(err)
	}
	answered = poll(ctx)
	r.clock.Advance(20 * time.Second)
	if a := <-answered; a.err != nil || len(a.out.Messages) != 0 {
		t.Fatalf("answered %+v, %v", a.out, a.err)
	}
	hasty, cancel := context.WithCancel(ctx)
	answered = poll(hasty)
	cancel()
	if a := <-answered; !errors.Is(a.err, context.Canceled) {
		t.Fatalf("answered %v", a.err)
	}
	for waiting := true; waiting; _, waiting = r.clock.Next() { // the server lets go as well
	}
}

// TestZeroIsNotNone sends what the SDK cannot say: numbers that are 0.
func TestZeroIsNotNone(t *testing.T) {
	c := cloud.New(cloud.Config{Clock: cloud.NewVirtualClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))})
	url, err := c.CreateQueue("q", map[string]string{"ReceiveMessageWaitTimeSeconds": "20"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := target(Handler(c, Options{}), "sqs", "AmazonSQS.ReceiveMessage", `{"QueueUrl":"`+url+`","WaitTimeSeconds":0}`); status != 200 || strings.Contains(body, "Body") {
		t.Fatalf("empty queue: %d %s", status, body)
	}
	if _, err := c.SendMessage(url, cloud.Outgoing{Body: "x"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		status, body := target(Handler(c, Options{}), "sqs", "AmazonSQS.ReceiveMessage", `{"QueueUrl":"`+url+`","VisibilityTimeout":0}`)
		if status != 200 || !strings.Contains(body, `"MD5OfBody":"9dd4e461268c8034f5c8564e155c67a6"`) {
			t.Fatalf("not hidden: %d %s", status, body)
		}
	}
	if status, body := target(Handler(c, Options{}), "sqs", "AmazonSQS.ReceiveMessage", `{"QueueUrl":"`+url+`","MaxNumberOfMessages":0}`); status != 400 || !strings.Contains(body, "Must be between 1 and 10") {
		t.Fatalf("none wanted: %d %s", status, body)
	}
}

// target sends a JSON request as no client would.
func target(h http.Handler, service, action, body string) (int, string) {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("X-Amz-Target", action)
	r.Header.Set("Authorization", strings.Replace(signedFor, "%s", service, 1))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	out, _ := io.ReadAll(w.Result().Body)
	return w.Code, w.Header().Get("x-amzn-query-error") + w.Header().Get("Content-Type") + string(out)
}

func TestMalformedJSONOfQueues(t *testing.T) {
	h := Handler(cloud.New(cloud.Config{}), Options{})
	for _, c := range []struct{ action, body, want string }{
		{"SendMessage", `{`, "SerializationException"},
		{"SendMessage", `{"MessageAttributes":[]}`, "Expected a map"},
		{"SendMessage", `{"MessageAttributes":{"a":7}}`, "Expected a structure"},
		{"SendMessage", `{"MessageAttributes":{"a":{"BinaryValue":"%"}}}`, "Expected base64"},
		{"SendMessage", `{"QueueUrl":"x"}`, "AWS.SimpleQueueService.NonExistentQueue;Senderapplication/x-amz-json-1.0{"},
		{"ReceiveMessage", `{"QueueUrl":"x","WaitTimeSeconds":"soon"}`, "Expected an integer"},
		{"Colour", `{}`, "does not simulate Colour of sqs"},
	} {
		if status, body := target(h, "sqs", "AmazonSQS."+c.action, c.body); status != 400 || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %s; want %s", c.action, c.body, status, body, c.want)
		}
	}
	for _, at := range []string{`"now"`, "1e300", "-1e13"} {
		if status, body := target(h, "events", "AWSEvents.PutEvents", `{"Entries":[{"Time":`+at+`}]}`); status != 400 || !strings.Contains(body, "Expected seconds since 1970") {
			t.Errorf("time %s: %d %s", at, status, body)
		}
	}
}

func TestQueueWithTheAWSCommandLine(t *testing.T) {
	r := newRig(t)
	_, url := r.queue()
	r.awsJSON(nil, "sqs", "send-message", "--queue-url", url, "--message-body", "hello", "--message-attributes", `{"a":{"DataType":"String","StringValue":"b"}}`)
	var got struct {
		Messages []struct{ Body, ReceiptHandle string }
	}
	r.awsJSON(&got, "sqs", "receive-message", "--queue-url", url, "--wait-time-seconds", "5", "--attribute-names", "All", "--message-attribute-names", "All")
	if len(got.Messages) != 1 || got.Messages[0].Body != "hello" {
		t.Fatalf("received %+v", got)
	}
	if _, errs, err := r.awsCLI("sqs", "delete-message", "--queue-url", url, "--receipt-handle", got.Messages[0].ReceiptHandle); err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	_, errs, err := r.awsCLI("sqs", "get-queue-url", "--queue-name", "none")
	if err == nil || !strings.Contains(errs, "(AWS.SimpleQueueService.NonExistentQueue)") {
		t.Fatalf("%v: %s", err, errs)
	}
}
