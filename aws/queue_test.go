package aws_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"drover.dev/aws"
	"drover.dev/engine"
	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

var (
	_ engine.Queue  = (*aws.Queue)(nil)
	_ engine.Census = (*aws.Cloud)(nil)
)

// post is a region with a queue "notices" and one for its dead letters.
type post struct {
	*region
	queue     *aws.Queue
	url, dead string
}

func newPost(t *testing.T) *post {
	p := &post{region: newRegion(t)}
	var err error
	p.dead, err = p.sim.CreateQueue("notices-dead", nil, nil)
	p.ok(err)
	p.url, err = p.sim.CreateQueue("notices", nil, nil)
	p.ok(err)
	p.redrive(p.arnOf(p.dead))
	p.open()
	return p
}

func (p *post) arnOf(url string) string {
	p.Helper()
	said, err := p.sim.GetQueueAttributes(url, []string{"QueueArn"})
	p.ok(err)
	return said["QueueArn"]
}

// redrive has dead letters go to a queue; "" for nowhere.
func (p *post) redrive(to string) {
	p.Helper()
	policy := ""
	if to != "" {
		policy = fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"5"}`, to)
	}
	p.ok(p.sim.SetQueueAttributes(p.url, map[string]string{"RedrivePolicy": policy}))
}

func (p *post) open() {
	p.Helper()
	q, err := aws.OpenQueue(ctx, p.config(1), "notices")
	p.ok(err)
	q.SetClock(p.clock.Now)
	p.queue = q
}

func (p *post) send(bodies ...string) {
	p.Helper()
	for _, body := range bodies {
		_, err := p.sim.SendMessage(p.url, cloud.Outgoing{Body: body})
		p.ok(err)
	}
}

func (p *post) receive(n int) []fleet.Message {
	p.Helper()
	var out []fleet.Message
	for len(out) < n {
		ms, err := p.queue.Receive(ctx)
		p.ok(err)
		out = append(out, ms...)
	}
	if len(out) != n {
		p.Fatalf("received %d messages, want %d", len(out), n)
	}
	return out
}

// queued is all that a queue holds, visible or not.
func (p *post) queued(url string) []cloud.Message {
	p.Helper()
	all, err := p.sim.Queued(url)
	p.ok(err)
	return all
}

// left lists the bodies that a queue holds.
func (p *post) left(url string) []string {
	p.Helper()
	var out []string
	for _, m := range p.queued(url) {
		out = append(out, m.Body)
	}
	return out
}

// visible tells how many messages anybody could receive.
func (p *post) visible() string {
	p.Helper()
	said, err := p.sim.GetQueueAttributes(p.url, []string{"ApproximateNumberOfMessages"})
	p.ok(err)
	return said["ApproximateNumberOfMessages"]
}

func TestReceive(t *testing.T) {
	p := newPost(t)
	sent := p.clock.Now()
	p.send("one")
	p.clock.Advance(3 * time.Second)
	m := p.receive(1)[0]
	if m.Body != "one" || m.ID == "" || m.Receipt == "" || !m.Sent.Equal(sent) || m.Times != 1 {
		t.Errorf("message %+v, sent %s", m, sent)
	}
	p.clock.Advance(59 * time.Second)
	if n := p.visible(); n != "0" {
		t.Errorf("%s messages visible within the minute", n)
	}
	p.clock.Advance(2 * time.Second)
	again := p.receive(1)[0]
	if again.ID != m.ID || again.Times != 2 || again.Receipt == m.Receipt {
		t.Errorf("it came again as %+v, after %+v", again, m)
	}
}

// A receiver that is told to stop stops while it waits.
func TestReceiveEndsWithItsContext(t *testing.T) {
	p := newPost(t)
	short, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() {
		_, err := p.queue.Receive(short)
		done <- err
	}()
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestDelete(t *testing.T) {
	p := newPost(t)
	var want []string
	for i := range 25 {
		want = append(want, fmt.Sprintf("m%02d", i))
	}
	p.send(want...)
	ms := p.receive(25)
	p.ok(p.queue.Delete(ctx, ms[:24]))
	if got := p.left(p.url); !slices.Equal(got, []string{ms[24].Body}) || p.calls("DeleteMessageBatch") != 3 {
		t.Errorf("left %v after %d calls", got, p.calls("DeleteMessageBatch"))
	}
	p.ok(p.queue.Delete(ctx, nil))
	p.ok(p.queue.Delete(ctx, ms)) // gone already: as it should be
}

// Each message that stays is named; a receipt that is too old only means that the message comes again.
func TestDeleteTellsWhatStays(t *testing.T) {
	p := newPost(t)
	p.send("one", "two")
	ms := p.receive(2)
	p.tell("DeleteMessageBatch", always(200, `{"Successful":[],"Failed":[{"Id":"0","Code":"InternalError","Message":"try again","SenderFault":false},
{"Id":"1","Code":"ReceiptHandleIsInvalid","Message":"The input receipt handle is invalid.","SenderFault":true}]}`))
	err := p.queue.Delete(ctx, ms)
	if err == nil || err.Error() != "delete message "+ms[0].ID+" of queue notices: InternalError: try again" {
		t.Errorf("got %v", err)
	}
	p.tell("DeleteMessageBatch", always(400, `{"__type":"com.amazonaws.sqs#RequestThrottled","message":"slower"}`))
	err = p.queue.Delete(ctx, ms)
	refusal(t, err, "AWS is busy: RequestThrottled: slower")
	if !strings.Contains(err.Error(), "delete messages "+ms[0].ID+", "+ms[1].ID+" of queue notices") {
		t.Errorf("got %v", err)
	}
}

func TestStaleReceipts(t *testing.T) {
	p := newPost(t)
	p.sim.RefuseStaleHandles(true)
	p.send("one")
	old := p.receive(1)
	p.clock.Advance(61 * time.Second)
	p.receive(1)
	p.ok(p.queue.Delete(ctx, old))
	p.ok(p.queue.Release(ctx, old[0], time.Hour))
	if got := p.left(p.url); len(got) != 1 {
		t.Errorf("left %v: a stale receipt is not to delete", got)
	}
}

func TestRelease(t *testing.T) {
	p := newPost(t)
	p.send("one")
	p.ok(p.queue.Release(ctx, p.receive(1)[0], 90*time.Second))
	p.clock.Advance(89 * time.Second)
	if n := p.visible(); n != "0" {
		t.Errorf("%s visible too early", n)
	}
	p.clock.Advance(2 * time.Second)
	m := p.receive(1)[0]
	p.ok(p.queue.Release(ctx, m, -time.Second))
	m = p.receive(1)[0]
	p.clock.Advance(50 * time.Second) // SQS counts its twelve hours from when it was received
	p.ok(p.queue.Release(ctx, m, 48*time.Hour))
	p.clock.Advance(11 * time.Hour)
	if n := p.visible(); n != "0" {
		t.Errorf("%s visible after 11 hours", n)
	}
}

func TestSetAside(t *testing.T) {
	for name, c := range map[string]struct{ why, want string }{
		"plain":  {"line 1: not JSON", "line 1: not JSON"},
		"long":   {strings.Repeat("é", 300), strings.Repeat("é", 256)},
		"unfit":  {"a\x00b\nc\xff", "a b c"},
		"silent": {"", "no reason given"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPost(t)
			p.send("{poison", "good")
			ms := p.receive(2)
			bad := slices.IndexFunc(ms, func(m fleet.Message) bool { return m.Body == "{poison" })
			p.ok(p.queue.SetAside(ctx, ms[bad], c.why))
			dead := p.queued(p.dead)
			if len(dead) != 1 || dead[0].Body != "{poison" || dead[0].Attributes["drover.reason"].Text != c.want {
				t.Errorf("dead letters %+v, want reason %q", dead, c.want)
			}
			if got := p.left(p.url); !slices.Equal(got, []string{"good"}) {
				t.Errorf("left %v", got)
			}
		})
	}
}

// Where the reason makes the message too long for the queue of dead letters, the body goes without.
func TestSetAsideTheLongest(t *testing.T) {
	p := newPost(t)
	p.ok(p.sim.SetQueueAttributes(p.dead, map[string]string{"MaximumMessageSize": "1024"}))
	p.send(strings.Repeat("x", 1024))
	p.ok(p.queue.SetAside(ctx, p.receive(1)[0], "too long"))
	if dead := p.queued(p.dead); len(dead) != 1 || len(dead[0].Body) != 1024 || len(dead[0].Attributes) != 0 {
		t.Errorf("dead letters %+v", dead)
	}
	p.send(strings.Repeat("x", 1025))
	if err := p.queue.SetAside(ctx, p.receive(1)[0], "too long"); err == nil || !strings.Contains(err.Error(), "aside: send it to queue notices-dead, dead letters of queue notices: InvalidParameterValue") {
		t.Errorf("got %v", err)
	}
	if got := p.left(p.url); len(got) != 1 {
		t.Errorf("%d messages left: one that cannot be sent is not to be lost", len(got))
	}
}

// Poison that can be set aside nowhere stays out of the way, and one complaint is enough.
func TestSetAsideNowhere(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(p *post)
		want  string
	}{
		"no policy": {func(p *post) { p.redrive("") }, "queue notices: it has no queue for dead letters; give it a redrive policy"},
		"deleted": {func(p *post) { p.ok(p.sim.DeleteQueue(p.dead)); p.clock.Advance(2 * time.Minute) },
			"queue notices: its queue for dead letters, notices-dead, does not exist"},
		"no right": {func(p *post) {
			p.tell("SendMessage", always(403, `{"__type":"com.amazon.coral.service#AccessDeniedException","message":"not you"}`))
		},
			"queue notices: send to its queue for dead letters, notices-dead: AWS refuses: AccessDeniedException: not you"},
		"policy unread": {func(p *post) {
			p.clock.Advance(5 * time.Minute)
			p.tell("GetQueueAttributes", always(403, `{"__type":"com.amazon.coral.service#AccessDeniedException","message":"not you"}`))
		}, "queue notices: read its redrive policy: AWS refuses"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPost(t)
			c.spoil(p)
			p.clock.Advance(5 * time.Minute)
			p.send("{poison", "{venom")
			ms := p.receive(2)
			err := p.queue.SetAside(ctx, ms[0], "not JSON")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			var fatal *fleet.Fatal
			if errors.As(err, &fatal) {
				t.Errorf("fatal: %v", err)
			}
			p.ok(p.queue.SetAside(ctx, ms[1], "not JSON"))
			p.clock.Advance(11 * time.Hour)
			if got := p.left(p.url); len(got) != 2 || p.visible() != "0" {
				t.Errorf("left %v, %s visible", got, p.visible())
			}
		})
	}
}

// A queue for dead letters that is made later is found, and losing it again is told again.
func TestSetAsideComplainsAgain(t *testing.T) {
	p := newPost(t)
	for range 2 {
		p.redrive("")
		p.clock.Advance(5 * time.Minute)
		p.send("{poison")
		if err := p.queue.SetAside(ctx, p.receive(1)[0], "x"); err == nil {
			t.Error("no complaint")
		}
		p.redrive(p.arnOf(p.dead))
		p.clock.Advance(5 * time.Minute)
		p.send("{venom")
		before := p.calls("GetQueueAttributes")
		p.ok(p.queue.SetAside(ctx, p.receive(1)[0], "x"))
		p.send("{venom")
		p.ok(p.queue.SetAside(ctx, p.receive(1)[0], "x"))
		if n := p.calls("GetQueueAttributes") - before; n != 1 {
			t.Errorf("the policy was read %d times", n)
		}
	}
	if got := len(p.queued(p.dead)); got != 4 {
		t.Errorf("%d dead letters", got)
	}
}

func TestDepth(t *testing.T) {
	p := newPost(t)
	p.send("one", "two")
	p.clock.Advance(10 * time.Second)
	m := p.receive(2)[0]
	p.send("three")
	if d, err := p.queue.Depth(ctx); err != nil || d != (aws.Depth{Visible: 1, InFlight: 2, Oldest: 10 * time.Second}) {
		t.Errorf("%+v, %v", d, err)
	}
	p.ok(p.queue.Release(ctx, m, time.Hour))
	p.clock.Advance(2 * time.Minute)
	if d, err := p.queue.Depth(ctx); err != nil || d != (aws.Depth{Visible: 2, InFlight: 1, Oldest: 130 * time.Second}) {
		t.Errorf("%+v, %v", d, err)
	}
	p.clock.Advance(time.Hour)
	if d, err := p.queue.Depth(ctx); err != nil || d != (aws.Depth{Visible: 3}) {
		t.Errorf("nothing is in hand any more: %+v, %v", d, err)
	}
	p.ok(p.queue.Delete(ctx, p.receive(3)))
	if d, err := p.queue.Depth(ctx); err != nil || d != (aws.Depth{}) {
		t.Errorf("all is done with: %+v, %v", d, err)
	}
	p.tell("GetQueueAttributes", always(200, `{"Attributes":{}}`))
	if _, err := p.queue.Depth(ctx); err == nil || !strings.Contains(err.Error(), "read the depth of queue notices: AWS answers ") {
		t.Errorf("got %v", err)
	}
}

// The queue is one source of several: what it lacks ends nothing.
func TestQueueTroubleIsNotFatal(t *testing.T) {
	p := newPost(t)
	p.tell("ReceiveMessage", always(403, `{"__type":"com.amazon.coral.service#AccessDeniedException","message":"not you"}`))
	_, err := p.queue.Receive(ctx)
	refusal(t, err, "receive messages of queue notices: AWS refuses: AccessDeniedException: not you; grant drover that permission")
	p.tell("ReceiveMessage", nil)
	p.ok(p.sim.DeleteQueue(p.url))
	p.clock.Advance(2 * time.Minute)
	if _, err := p.queue.Receive(ctx); err == nil || err.Error() != "receive messages: queue notices does not exist any more; make it again (drover setup)" {
		t.Errorf("got %v", err)
	}
	p.sim.ExpireCredentials(true)
	var fatal *fleet.Fatal
	if _, err := p.queue.Receive(ctx); !errors.As(err, &fatal) {
		t.Errorf("got %v", err)
	}
}

func TestOpenQueueThatCannotBe(t *testing.T) {
	p := newPost(t)
	for named, want := range map[string]string{
		"nowhere":                            `open queue nowhere: it does not exist in region eu-west-1, or may not be seen; make it (drover setup), or give the URL`,
		strings.TrimSuffix(p.url, "s") + "x": `open queue noticex: it does not exist in region eu-west-1`,
		"":                                   `open queue "": not the name of a queue`,
		"no spaces":                          `open queue "no spaces": not the name of a queue`,
		strings.Repeat("n", 81):              `not the name of a queue: up to 80 letters`,
		"notices.fifo":                       `open queue "notices.fifo": lifecycle hooks cannot send to a FIFO queue`,
		"https://sqs.eu-west-1.amazonaws.com/notices": `not the URL of a queue, which is like https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`,
		"ftp://sqs.eu-west-1.amazonaws.com/1/notices": `not the URL of a queue`,
		"https://sqs.eu-west-1.amazonaws.com/1/":      `not the name of a queue`,
		"https://x@sqs.eu-west-1.amazonaws.com/1/n":   `not the URL of a queue`,
	} {
		if _, err := aws.OpenQueue(ctx, p.config(1), named); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", named, err, want)
		}
	}
	p.tell("GetQueueUrl", always(403, `{"__type":"com.amazon.coral.service#AccessDeniedException","message":"not you"}`))
	_, err := aws.OpenQueue(ctx, p.config(1), "notices")
	refusal(t, err, "open queue notices: AWS refuses: AccessDeniedException: not you; grant drover that permission: sqs:GetQueueUrl and sqs:GetQueueAttributes; a queue of another account")
	p.ok(func() error { _, err := aws.OpenQueue(ctx, p.config(1), p.url); return err }()) // its URL needs no looking up
}

// A queue elsewhere is asked in its own region and under its own URL, and its dead letters are where it is.
func TestQueueElsewhere(t *testing.T) {
	for named, want := range map[string]struct{ region, dead string }{
		"https://sqs.eu-west-1.amazonaws.com/999999999999/notices":                      {"eu-west-1", "https://sqs.eu-west-1.amazonaws.com/999999999999/dead"},
		"https://sqs.cn-north-1.amazonaws.com.cn/999999999999/notices":                  {"cn-north-1", "https://sqs.cn-north-1.amazonaws.com.cn/999999999999/dead"},
		"https://us-gov-west-1.queue.amazonaws.com/999999999999/notices":                {"us-gov-west-1", "https://us-gov-west-1.queue.amazonaws.com/999999999999/dead"},
		"https://vpce-0a-1b.sqs.ap-southeast-2.vpce.amazonaws.com/999999999999/notices": {"ap-southeast-2", "https://vpce-0a-1b.sqs.ap-southeast-2.vpce.amazonaws.com/999999999999/dead"},
		"http://localhost:4566/999999999999/notices":                                    {"eu-central-1", "http://localhost:4566/999999999999/dead"},
	} {
		var scopes, urls []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			var in struct{ QueueUrl, MessageBody string }
			if err := json.NewDecoder(q.Body).Decode(&in); err != nil {
				t.Error(err)
			}
			scopes, urls = append(scopes, strings.Split(q.Header.Get("Authorization"), "/")[2]), append(urls, in.QueueUrl)
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			switch q.Header.Get("X-Amz-Target") {
			case "AmazonSQS.GetQueueAttributes":
				_, _ = io.WriteString(w, `{"Attributes":{"RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:eu-west-1:999999999999:dead\",\"maxReceiveCount\":3}"}}`)
			case "AmazonSQS.SendMessage":
				_, _ = io.WriteString(w, `{"MessageId":"1","MD5OfMessageBody":"92eb5ffee6ae2fec3ad71c777531578f"}`) // of b
			default:
				_, _ = io.WriteString(w, `{"Successful":[{"Id":"0"}],"Failed":[]}`)
			}
		}))
		cfg := sdk.Config{Region: "eu-central-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("test", "secret", ""), RetryMaxAttempts: 1}
		queue, err := aws.OpenQueue(ctx, cfg, named)
		if err == nil {
			err = queue.SetAside(ctx, fleet.Message{ID: "1", Receipt: "r", Body: "b"}, "x")
		}
		server.Close()
		if err != nil || !slices.Equal(urls, []string{named, want.dead, named}) || !slices.Equal(scopes, []string{want.region, want.region, want.region}) {
			t.Errorf("%s: asked in %v of %v, %v", named, scopes, urls, err)
		}
	}
}
