package cloud

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// mail is a lab with a queue "inbox", whose dead letters go to "dead" after three receives.
type mail struct {
	*lab
	inbox, dead string
}

func newMail(t *testing.T) *mail {
	m := &mail{lab: newLab(t, Config{})}
	var err error
	m.dead, err = m.CreateQueue("dead", nil, nil)
	m.must(err)
	m.inbox, err = m.CreateQueue("inbox", map[string]string{
		"VisibilityTimeout": "30", "RedrivePolicy": `{"deadLetterTargetArn":"` + m.arn("sqs", "dead") + `","maxReceiveCount":3}`,
	}, nil)
	m.must(err)
	return m
}

func (m *mail) send(body string) (id string) {
	m.t.Helper()
	id, err := m.SendMessage(m.inbox, Outgoing{Body: body})
	m.must(err)
	return id
}

func (m *mail) receive(url string) []Message {
	m.t.Helper()
	got, err := m.ReceiveMessage(url, Receive{Max: 10})
	m.must(err)
	return got
}

// bodies prints what a receive brings: "a b".
func (m *mail) bodies(url string) string {
	m.t.Helper()
	var out []string
	for _, got := range m.receive(url) {
		out = append(out, got.Body)
	}
	return strings.Join(out, " ")
}

func (m *mail) want(what, got, want string) {
	m.t.Helper()
	if got != want {
		m.t.Fatalf("%s: %q, want %q", what, got, want)
	}
}

// counts prints visible, hidden and delayed messages: "2 0 1".
func (m *mail) counts(url string) string {
	m.t.Helper()
	all, err := m.GetQueueAttributes(url, []string{"All"})
	m.must(err)
	return all["ApproximateNumberOfMessages"] + " " + all["ApproximateNumberOfMessagesNotVisible"] + " " + all["ApproximateNumberOfMessagesDelayed"]
}

func TestMessageIsHiddenUntilItsVisibilityTimeout(t *testing.T) {
	m := newMail(t)
	id := m.send("a")
	got := m.receive(m.inbox)
	if len(got) != 1 || got[0].ID != id || got[0].Receives != 1 || !got[0].Sent.Equal(m.now()) || got[0].Sender != userID {
		t.Fatalf("received %+v", got)
	}
	m.want("counts", m.counts(m.inbox), "0 1 0")
	m.clock.Advance(30*time.Second - 1)
	m.want("too early", m.bodies(m.inbox), "")
	m.clock.Advance(1)
	again := m.receive(m.inbox)
	if len(again) != 1 || again[0].Receives != 2 || again[0].Handle == got[0].Handle || !again[0].FirstReceived.Equal(got[0].FirstReceived) {
		t.Fatalf("received again %+v", again)
	}
	m.must(m.DeleteMessage(m.inbox, again[0].Handle))
	m.must(m.DeleteMessage(m.inbox, again[0].Handle)) // gone already
	m.want("counts", m.counts(m.inbox), "0 0 0")
	m.settle()
	m.want("after deleting", m.bodies(m.inbox), "")
}

func TestNewestHandleWorksEvenIfTheMessageIsVisibleAgain(t *testing.T) {
	m := newMail(t)
	m.send("a")
	got := m.receive(m.inbox)
	m.clock.Advance(time.Minute)
	m.must(m.DeleteMessage(m.inbox, got[0].Handle))
	m.want("counts", m.counts(m.inbox), "0 0 0")
}

func TestStaleHandle(t *testing.T) {
	for _, strict := range []bool{false, true} {
		m := newMail(t)
		m.RefuseStaleHandles(strict)
		m.send("a")
		old := m.receive(m.inbox)[0].Handle
		m.clock.Advance(30 * time.Second)
		m.receive(m.inbox)
		for what, err := range map[string]error{
			"delete": m.DeleteMessage(m.inbox, old), "change": m.ChangeMessageVisibility(m.inbox, old, 0),
		} {
			if strict {
				m.refused(err, "InvalidParameterValue", "The receipt handle has expired.")
			} else if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		m.want("counts", m.counts(m.inbox), "0 1 0")
	}
}

func TestHandlesThatAreNone(t *testing.T) {
	m := newMail(t)
	other, err := m.CreateQueue("other", nil, nil)
	m.must(err)
	m.send("a")
	handle := m.receive(m.inbox)[0].Handle
	for _, h := range []string{"", "x", "AAAA", handle + "A"} {
		m.refused(m.DeleteMessage(m.inbox, h), "ReceiptHandleIsInvalid", "is not a valid receipt handle")
	}
	m.refused(m.DeleteMessage(other, handle), "ReceiptHandleIsInvalid", "is not a valid receipt handle")
	m.refused(m.ChangeMessageVisibility(other, handle, 0), "ReceiptHandleIsInvalid", "is not a valid receipt handle")
	m.want("counts", m.counts(m.inbox), "0 1 0")
}

func TestChangeMessageVisibility(t *testing.T) {
	m := newMail(t)
	m.send("a")
	handle := m.receive(m.inbox)[0].Handle
	m.clock.Advance(20 * time.Second)
	m.must(m.ChangeMessageVisibility(m.inbox, handle, time.Minute))
	m.clock.Advance(59 * time.Second)
	m.want("hidden", m.bodies(m.inbox), "")
	m.must(m.ChangeMessageVisibility(m.inbox, handle, 0))
	m.refused(m.ChangeMessageVisibility(m.inbox, handle, time.Minute), "InvalidParameterValue", "not available for visibility timeout change")
	handle = m.receive(m.inbox)[0].Handle
	m.refused(m.ChangeMessageVisibility(m.inbox, handle, -1), "InvalidParameterValue", "between 0 and 43200")
	m.refused(m.ChangeMessageVisibility(m.inbox, handle, 12*time.Hour+1), "InvalidParameterValue", "between 0 and 43200")
	m.clock.Advance(10 * time.Second)
	m.refused(m.ChangeMessageVisibility(m.inbox, handle, 12*time.Hour), "InvalidParameterValue", "Total VisibilityTimeout")
	m.must(m.ChangeMessageVisibility(m.inbox, handle, 12*time.Hour-10*time.Second))
}

func TestDeadLetters(t *testing.T) {
	m := newMail(t)
	id := m.send("poison")
	sent := m.now()
	for range 3 {
		m.want("receive", m.bodies(m.inbox), "poison")
		m.clock.Advance(30 * time.Second)
	}
	m.want("after three receives", m.bodies(m.inbox), "")
	m.want("inbox", m.counts(m.inbox), "0 0 0")
	got := m.receive(m.dead)
	if len(got) != 1 || got[0].ID != id || !got[0].Sent.Equal(sent) || got[0].DeadLetterSource != m.arn("sqs", "inbox") {
		t.Fatalf("dead letter %+v", got)
	}
}

func TestDeadLettersStayIfTheirQueueIsGone(t *testing.T) {
	m := newMail(t)
	m.send("poison")
	m.must(m.DeleteQueue(m.dead))
	for range 5 {
		m.want("receive", m.bodies(m.inbox), "poison")
		m.clock.Advance(30 * time.Second)
	}
}

func TestRetention(t *testing.T) {
	m := newMail(t)
	m.must(m.SetQueueAttributes(m.inbox, map[string]string{"MessageRetentionPeriod": "60"}))
	m.send("a")
	m.clock.Advance(50 * time.Second)
	m.send("b")
	m.clock.Advance(11 * time.Second)
	m.want("after a minute", m.bodies(m.inbox), "b")
}

func TestDelay(t *testing.T) {
	m := newMail(t)
	_, err := m.SendMessage(m.inbox, Outgoing{Body: "a", Delay: new(10 * time.Second)})
	m.must(err)
	m.want("counts", m.counts(m.inbox), "0 0 1")
	m.want("delayed", m.bodies(m.inbox), "")
	m.clock.Advance(10 * time.Second)
	m.want("in time", m.bodies(m.inbox), "a")
}

func TestMishaps(t *testing.T) {
	m := newMail(t)
	m.must(m.Misbehave(m.inbox, Duplicate, 1))
	m.must(m.Misbehave(m.inbox, Repeat, 1))
	m.must(m.Misbehave(m.inbox, Lose, 1))
	m.must(m.Misbehave(m.inbox, Reorder, 2))
	for _, body := range []string{"twice", "again", "never", "late", "first", "last"} {
		m.send(body)
	}
	got := m.receive(m.inbox)
	var bodies []string
	for _, g := range got {
		bodies = append(bodies, g.Body)
	}
	m.want("received", strings.Join(bodies, " "), "first late twice twice again again last")
	if got[2].ID != got[3].ID || got[4].ID == got[5].ID {
		t.Fatalf("a duplicate has one id, a repetition two: %+v", got)
	}
	m.must(m.DeleteMessage(m.inbox, got[2].Handle))
	m.clock.Advance(30 * time.Second)
	m.want("after deleting one copy", m.bodies(m.inbox), "first late twice again again last")
	m.refused(m.Misbehave("x/y", Lose, 1), "QueueDoesNotExist", "does not exist")
}

func TestMessagesThatAreRefused(t *testing.T) {
	m := newMail(t)
	attributes := func(a MessageAttribute) map[string]MessageAttribute { return map[string]MessageAttribute{"x": a} }
	for _, c := range []struct {
		m          Outgoing
		code, text string
	}{
		{Outgoing{}, "MissingParameter", "MessageBody"},
		{Outgoing{Body: "\x00"}, "InvalidMessageContents", "outside the allowed set"},
		{Outgoing{Body: "\xff"}, "InvalidMessageContents", "outside the allowed set"},
		{Outgoing{Body: strings.Repeat("a", 1048577)}, "InvalidParameterValue", "shorter than 1048576 bytes"},
		{Outgoing{Body: "a", Delay: new(901 * time.Second)}, "InvalidParameterValue", "Value 901 for parameter DelaySeconds"},
		{Outgoing{Body: "a", Attributes: attributes(MessageAttribute{DataType: "Colour", Text: "red"})}, "InvalidParameterValue", "supported type prefixes"},
		{Outgoing{Body: "a", Attributes: attributes(MessageAttribute{DataType: "Number.int"})}, "InvalidParameterValue", "non-empty value"},
	} {
		_, err := m.SendMessage(m.inbox, c.m)
		m.refused(err, c.code, c.text)
	}
	for _, r := range []Receive{{Max: 11}, {Max: -1}, {Wait: new(21 * time.Second)}, {Visibility: new(13 * time.Hour)}} {
		_, err := m.ReceiveMessage(m.inbox, r)
		m.refused(err, "InvalidParameterValue", "is invalid")
	}
	m.want("counts", m.counts(m.inbox), "0 0 0")
}

func TestBatches(t *testing.T) {
	m := newMail(t)
	ids, failed, err := m.SendMessageBatch(m.inbox, []Outgoing{{Body: "a"}, {}, {Body: "c"}})
	m.must(err)
	if ids[0] == "" || failed[0] != nil || failed[2] != nil {
		t.Fatalf("sent %q, %v", ids, failed)
	}
	m.refused(failed[1], "MissingParameter", "MessageBody")
	got := m.receive(m.inbox)
	failed, err = m.ChangeMessageVisibilityBatch(m.inbox, []VisibilityChange{{got[0].Handle, time.Hour}, {"x", 0}})
	m.must(err)
	m.refused(failed[1], "ReceiptHandleIsInvalid", "")
	m.clock.Advance(time.Minute)
	m.want("visible again", m.bodies(m.inbox), "c")
	m.FailNext("sqs:DeleteMessageBatch.Entry", &Error{"InternalError", "try again", 500})
	failed, err = m.DeleteMessageBatch(m.inbox, []string{got[0].Handle, got[0].Handle})
	m.must(err)
	m.refused(failed[0], "InternalError", "try again")
	m.must(failed[1])
	m.want("counts", m.counts(m.inbox), "0 1 0")
	_, err = m.DeleteMessageBatch(m.inbox, nil)
	m.refused(err, "EmptyBatchRequest", "at least one")
	_, err = m.DeleteMessageBatch(m.inbox, make([]string, 11))
	m.refused(err, "TooManyEntriesInBatchRequest", "You have sent 11")
}

func TestFaultsOfQueues(t *testing.T) {
	m := newMail(t)
	m.send("a")
	m.Throttle("sqs:ReceiveMessage", 1)
	_, err := m.ReceiveMessage(m.inbox, Receive{})
	m.refused(err, "RequestThrottled", "")
	m.LoseReply("ReceiveMessage")
	_, err = m.AwaitMessage(context.Background(), m.inbox, Receive{})
	m.refused(err, "InternalFailure", "lost the reply")
	m.want("received, but nobody knows", m.counts(m.inbox), "0 1 0")
}

// begun waits until n callbacks are asked of the clock, which tells that a long poll has begun.
func (m *mail) begun(n int) {
	for {
		m.clock.mu.Lock()
		waiting := len(m.clock.alarm)
		m.clock.mu.Unlock()
		if waiting >= n {
			return
		}
	}
}

func TestLongPoll(t *testing.T) {
	type answer struct {
		got []Message
		err error
	}
	poll := func(m *mail, ctx context.Context) <-chan answer {
		out := make(chan answer, 1)
		go func() {
			got, err := m.AwaitMessage(ctx, m.inbox, Receive{Wait: new(20 * time.Second)})
			out <- answer{got, err}
		}()
		m.begun(1)
		return out
	}
	for _, c := range []struct {
		name string
		do   func(m *mail, cancel func())
		want string
	}{
		{"sent", func(m *mail, _ func()) { m.send("a") }, "a"},
		{"sent at the end", func(m *mail, _ func()) { m.clock.Advance(20*time.Second - 1); m.send("a") }, "a"},
		{"delayed", func(m *mail, _ func()) {
			_, err := m.SendMessage(m.inbox, Outgoing{Body: "a", Delay: new(5 * time.Second)})
			m.must(err)
			m.clock.Advance(5 * time.Second)
		}, "a"},
		{"nothing", func(m *mail, _ func()) { m.clock.Advance(20 * time.Second) }, ""},
		{"closed", func(m *mail, _ func()) { m.Close() }, ""},
		{"hung up", func(_ *mail, cancel func()) { cancel() }, context.Canceled.Error()},
		{"deleted", func(m *mail, _ func()) { m.must(m.DeleteQueue(m.inbox)) }, "QueueDoesNotExist"},
	} {
		m := newMail(t)
		ctx, cancel := context.WithCancel(context.Background())
		answered := poll(m, ctx)
		c.do(m, cancel)
		a := <-answered
		cancel()
		text := fmt.Sprint(a.err)
		if a.err == nil {
			text = ""
			for _, g := range a.got {
				text += g.Body
			}
		}
		if !strings.Contains(text, c.want) || c.want == "" && text != "" {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
	}
}

func TestShortPollTakesNoTime(t *testing.T) {
	m := newMail(t)
	got, err := m.AwaitMessage(context.Background(), m.inbox, Receive{Wait: new(time.Duration(0))})
	if err != nil || len(got) > 0 {
		t.Fatalf("%v, %v", got, err)
	}
	if at, waiting := m.clock.Next(); waiting {
		t.Fatalf("somebody waits until %s", at)
	}
}

// TestNoMessageIsLost sends, receives, deletes and lets time pass at random. A message is gone only if it was deleted by the handle of its
// last receive, and in the dead-letter queue exactly if it was received three times and not deleted.
func TestNoMessageIsLost(t *testing.T) {
	for seed := range uint64(100) {
		m := newMail(t)
		dice := rand.New(rand.NewPCG(seed, 7))
		m.RefuseStaleHandles(seed%2 == 0)
		newest, receives, alive := map[string]string{}, map[string]int{}, map[string]bool{}
		var handles [][2]string // id and handle
		for range 200 {
			switch dice.IntN(4) {
			case 0:
				alive[m.send(fmt.Sprint("m", dice.IntN(9)))] = true
			case 1:
				for _, got := range m.receive(m.inbox) {
					if !alive[got.ID] || receives[got.ID] == 3 {
						t.Fatalf("seed %d: received %+v", seed, got)
					}
					receives[got.ID]++
					newest[got.ID] = got.Handle
					handles = append(handles, [2]string{got.ID, got.Handle})
				}
			case 2:
				if len(handles) > 0 {
					h := pick(dice, handles)
					var refused *Error
					if err := m.DeleteMessage(m.inbox, h[1]); err != nil && !errors.As(err, &refused) {
						t.Fatalf("seed %d: %v", seed, err)
					}
					if h[1] == newest[h[0]] && !slices.ContainsFunc(m.all(m.dead), func(d Message) bool { return d.ID == h[0] }) {
						delete(alive, h[0])
					}
				}
			case 3:
				m.clock.Advance(time.Duration(dice.IntN(40)) * time.Second)
			}
			held := map[string]bool{}
			for _, got := range m.all(m.inbox) {
				held[got.ID] = true
			}
			for _, got := range m.all(m.dead) {
				if receives[got.ID] != 3 || held[got.ID] {
					t.Fatalf("seed %d: dead letter %+v", seed, got)
				}
				held[got.ID] = true
			}
			if !maps.Equal(held, alive) {
				t.Fatalf("seed %d: held %v, want %v", seed, held, alive)
			}
		}
	}
}

func (m *mail) all(url string) []Message {
	m.t.Helper()
	got, err := m.Queued(url)
	m.must(err)
	return got
}
