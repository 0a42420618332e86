package cloud

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Outgoing is a message to be sent.
type Outgoing struct {
	Body       string
	Attributes map[string]MessageAttribute
	Delay      *time.Duration // until it can be received; nil: as the queue has it
}

// MessageAttribute is a user's own attribute of a message. Its DataType begins with String, Number or Binary.
type MessageAttribute struct {
	DataType string
	Text     string // of String and Number
	Binary   []byte
}

// Message is a message in a queue. Handle is that of the receive that returned it.
type Message struct {
	ID, Body, Handle    string
	Attributes          map[string]MessageAttribute
	Sent, FirstReceived time.Time
	Receives            int
	Sender              string // a user's id, or a service
	DeadLetterSource    string // ARN of the queue that gave it up
}

// letter is one copy of a message in one queue.
type letter struct {
	Message
	number   int       // of the copy, for ever
	received time.Time // last
	hidden   bool
	delayed  bool // hidden since it was sent
	turn     int  // counts changes of visibility, so that an alarm of an earlier one does nothing
	stop     func()
}

func (m Message) clone() Message {
	m.Attributes = maps.Clone(m.Attributes)
	return m
}

// Mishap is what a queue may do to a message: standard queues promise neither order nor just one delivery.
type Mishap string

const (
	Duplicate Mishap = "Duplicate" // stored twice under one id: deleting one copy leaves the other
	Repeat    Mishap = "Repeat"    // sent twice, under two ids, as EventBridge and SNS may
	Reorder   Mishap = "Reorder"   // overtakes all that are in the queue
	Lose      Mishap = "Lose"      // the sender is told that it was sent
)

type mishap struct {
	how  Mishap
	left int
}

// Misbehave lets the next n messages sent to a queue come to grief. Several mishaps wait in line; a message meets one of them.
func (c *Cloud) Misbehave(url string, how Mishap, n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	q, err := c.queueAt(url)
	if err != nil {
		return err
	}
	q.mishaps = append(q.mishaps, mishap{how, n})
	return nil
}

func (q *queue) mishap() Mishap {
	for i := range q.mishaps {
		if m := &q.mishaps[i]; m.left > 0 {
			m.left--
			return m.how
		}
	}
	return ""
}

// RefuseStaleHandles decides what happens to a receipt handle that is not its message's newest. AWS promises only that the newest one works:
// off, as it is at first, an older one is accepted and does nothing; on, it is refused.
func (c *Cloud) RefuseStaleHandles(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.post.strict = on
}

// Queued returns all that a queue holds, visible or not. Looking is not receiving.
func (c *Cloud) Queued(url string) ([]Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q, err := c.queueAt(url)
	if err != nil {
		return nil, err
	}
	var out []Message
	for _, l := range q.letters {
		out = append(out, l.Message.clone())
	}
	return out, nil
}

// accept takes a message into a queue and returns its id.
func (c *Cloud) accept(q *queue, m Outgoing, sender string) (id string) {
	first := Message{ID: c.post.uuid(), Body: m.Body, Attributes: maps.Clone(m.Attributes), Sent: c.now(), Sender: sender}
	delay := q.duration("DelaySeconds")
	if m.Delay != nil {
		delay = *m.Delay
	}
	switch q.mishap() {
	case Lose:
	case Duplicate:
		c.store(q, first, delay, len(q.letters))
		c.store(q, first, delay, len(q.letters))
	case Repeat:
		again := first
		again.ID = c.post.uuid()
		c.store(q, first, delay, len(q.letters))
		c.store(q, again, delay, len(q.letters))
	case Reorder:
		c.store(q, first, delay, 0)
	default:
		c.store(q, first, delay, len(q.letters))
	}
	return first.ID
}

func (c *Cloud) store(q *queue, m Message, delay time.Duration, at int) {
	c.post.copies++
	l := &letter{Message: m.clone(), number: c.post.copies, stop: func() {}}
	q.letters = slices.Insert(q.letters, at, l)
	c.hide(q, l, delay)
	l.delayed = l.hidden
}

// hide takes a letter out of sight for a while, from now; none shows it.
func (c *Cloud) hide(q *queue, l *letter, d time.Duration) {
	l.wake()
	if d <= 0 {
		q.ring()
		return
	}
	l.hidden = true
	turn := l.turn
	l.stop = c.later(d, func() {
		if l.turn == turn { // a real clock may already have been on its way
			l.wake()
			q.ring()
		}
	})
}

func (l *letter) wake() {
	l.stop()
	l.turn++
	l.hidden, l.delayed, l.stop = false, false, func() {}
}

// expire drops what is older than the queue keeps it.
func (q *queue) expire(now time.Time) {
	oldest := now.Add(-q.duration("MessageRetentionPeriod"))
	q.letters = slices.DeleteFunc(q.letters, func(l *letter) bool {
		old := l.Sent.Before(oldest)
		if old {
			l.wake()
		}
		return old
	})
}

// handle names one receive of a letter, as the queue's own secret.
func (q *queue) handle(l *letter) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s %d %d", q.arn, l.number, l.Receives))
}

// held finds the letter of a handle, nil if it is no longer there. newest tells that the handle is of its last receive.
func (q *queue) held(handle string) (l *letter, newest bool, err error) {
	var arn string
	var number, receive int
	plain, err := base64.StdEncoding.DecodeString(handle)
	if _, wrong := fmt.Sscanf(string(plain), "%s %d %d", &arn, &number, &receive); err != nil || wrong != nil || arn != q.arn {
		return nil, false, refuse("ReceiptHandleIsInvalid", `The input receipt handle "%s" is not a valid receipt handle.`, handle)
	}
	for _, l := range q.letters {
		if l.number == number {
			return l, l.Receives == receive, nil
		}
	}
	return nil, false, nil
}

func badHandle(handle, reason string) error {
	return refuse("InvalidParameterValue", "Value %s for parameter ReceiptHandle is invalid. Reason: %s", handle, reason)
}

// stale answers for a handle that is not the newest.
func (c *Cloud) stale(handle string) error {
	if c.post.strict {
		return badHandle(handle, "The receipt handle has expired.")
	}
	return nil
}

func (c *Cloud) check(q *queue, m Outgoing) error {
	size := len(m.Body)
	for name, a := range m.Attributes {
		kind, _, _ := strings.Cut(a.DataType, ".")
		switch {
		case !slices.Contains([]string{"String", "Number", "Binary"}, kind):
			return refuse("InvalidParameterValue", "The type of message (user) attribute '%s' is invalid. You must use only the following supported type prefixes: Binary, Number, String.", name)
		case kind != "Binary" && a.Text == "" || kind == "Binary" && len(a.Binary) == 0:
			return refuse("InvalidParameterValue", "The message (user) attribute '%s' must contain a non-empty value of type '%s'.", name, a.DataType)
		}
		size += len(name) + len(a.DataType) + len(a.Text) + len(a.Binary)
	}
	switch {
	case m.Body == "":
		return refuse("MissingParameter", "The request must contain the parameter MessageBody.")
	case !utf8.ValidString(m.Body) || strings.ContainsFunc(m.Body, noText):
		return refuse("InvalidMessageContents", "The message contains characters outside the allowed set.")
	case len(m.Attributes) > maxBatch:
		return refuse("InvalidParameterValue", "Number of message attributes [%d] exceeds the allowed maximum [10].", len(m.Attributes))
	case size > q.number("MaximumMessageSize"):
		return refuse("InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", q.number("MaximumMessageSize"))
	case m.Delay != nil && (*m.Delay < 0 || *m.Delay > 900*time.Second):
		return outOfRange(*m.Delay, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")
	}
	return nil
}

// noText are the characters that XML cannot carry and SQS therefore refuses.
func noText(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
}

func outOfRange(d time.Duration, parameter, reason string) error {
	return refuse("InvalidParameterValue", "Value %d for parameter %s is invalid. Reason: %s", int(d/time.Second), parameter, reason)
}

const (
	longestVisibility = 12 * time.Hour
	longestPoll       = 20 * time.Second
)

func checkVisibility(d time.Duration) error {
	if d < 0 || d > longestVisibility {
		return outOfRange(d, "VisibilityTimeout", "VisibilityTimeout must be an integer between 0 and 43200.")
	}
	return nil
}

// SendMessage sends one message.
func (c *Cloud) SendMessage(url string, m Outgoing) (id string, err error) {
	err = c.onQueue("sqs:SendMessage", url, func(q *queue) error {
		if err := c.check(q, m); err != nil {
			return err
		}
		id = c.accept(q, m, userID)
		return nil
	})
	return id, err
}

// SendMessageBatch sends up to ten messages, each for itself: by its index, an id or an error.
func (c *Cloud) SendMessageBatch(url string, all []Outgoing) (ids []string, failed []error, err error) {
	ids = make([]string, len(all))
	failed, err = c.batch("sqs:SendMessageBatch", url, len(all), func(q *queue, i int) error {
		if err := c.check(q, all[i]); err != nil {
			return err
		}
		ids[i] = c.accept(q, all[i], userID)
		return nil
	})
	return ids, failed, err
}

// batch runs f for each of n entries. A fault of the action with ".Entry" behind it strikes single entries.
func (c *Cloud) batch(action, url string, n int, f func(q *queue, i int) error) (failed []error, err error) {
	err = c.onQueue(action, url, func(q *queue) error {
		switch {
		case n == 0:
			return refuse("EmptyBatchRequest", "There should be at least one %sRequestEntry in the request.", strings.TrimPrefix(action, "sqs:"))
		case n > maxBatch:
			return refuse("TooManyEntriesInBatchRequest", "Maximum number of entries per request are %d. You have sent %d.", maxBatch, n)
		}
		failed = make([]error, n)
		for i := range failed {
			if failed[i] = c.faults.strike(action+".Entry", false); failed[i] == nil {
				failed[i] = f(q, i)
			}
		}
		return nil
	})
	return failed, err
}

// Receive says what to receive.
type Receive struct {
	Max              int            // 1 to 10; 0 is 1
	Visibility, Wait *time.Duration // nil: as the queue has it
}

func (r Receive) check() error {
	switch {
	case r.Max < 0 || r.Max > maxBatch:
		return refuse("InvalidParameterValue", "Value %d for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.", r.Max)
	case r.Wait != nil && (*r.Wait < 0 || *r.Wait > longestPoll):
		return outOfRange(*r.Wait, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")
	case r.Visibility != nil:
		return checkVisibility(*r.Visibility)
	}
	return nil
}

const receiveMessage = "sqs:ReceiveMessage"

// ReceiveMessage returns at once what there is, whatever r says of waiting: in a story on a VirtualClock nobody else would let time pass.
func (c *Cloud) ReceiveMessage(url string, r Receive) (got []Message, err error) {
	err = c.onQueue(receiveMessage, url, func(q *queue) error {
		if err := r.check(); err != nil {
			return err
		}
		got = c.take(q, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return got, nil
}

// AwaitMessage is ReceiveMessage with long polling: it waits, without the cloud's lock, until there is a message, or the time is over, or ctx.
func (c *Cloud) AwaitMessage(ctx context.Context, url string, r Receive) ([]Message, error) {
	got, late, stop, err := c.beginWait(url, r)
	defer stop()
	for over := late == nil; err == nil && len(got) == 0 && !over; {
		var arrived <-chan struct{}
		if got, arrived, err = c.look(url, r); arrived == nil {
			break
		}
		select {
		case <-arrived:
		case <-late:
			over = true
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for messages of %s: %w", url, ctx.Err())
		}
	}
	if err != nil {
		return nil, err
	}
	if err := c.replyLost(); err != nil {
		return nil, err
	}
	return got, nil
}

// beginWait begins a long poll: late is closed when its time is over, and is nil if there is nothing to wait for.
func (c *Cloud) beginWait(url string, r Receive) (got []Message, late chan struct{}, stop func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stop = func() {}
	if err := c.faults.before(receiveMessage); err != nil {
		return nil, nil, stop, err
	}
	q, err := c.queueAt(url)
	if err != nil {
		return nil, nil, stop, err
	}
	if err := r.check(); err != nil {
		return nil, nil, stop, err
	}
	wait := q.duration("ReceiveMessageWaitTimeSeconds")
	if r.Wait != nil {
		wait = *r.Wait
	}
	if got = c.take(q, r); len(got) > 0 || wait <= 0 {
		return got, nil, stop, nil
	}
	late = make(chan struct{})
	return nil, late, c.clock.AfterFunc(wait, func() { close(late) }), nil
}

// look takes what there is; arrived is closed when it is worth to look again, and nil if it is not.
func (c *Cloud) look(url string, r Receive) (got []Message, arrived <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q, err := c.queueAt(url)
	if err != nil || c.closed {
		return nil, nil, err
	}
	if got = c.take(q, r); len(got) > 0 {
		return got, nil, nil
	}
	return nil, q.arrived, nil
}

func (c *Cloud) replyLost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.faults.strike(receiveMessage, true)
}

// take receives: what has been received too often goes to the dead-letter queue instead.
func (c *Cloud) take(q *queue, r Receive) (got []Message) {
	visibility := q.duration("VisibilityTimeout")
	if r.Visibility != nil {
		visibility = *r.Visibility
	}
	for _, l := range slices.Clone(q.letters) {
		if len(got) == max(1, r.Max) {
			break
		}
		if l.hidden || c.bury(q, l) {
			continue
		}
		l.Receives++
		l.received = c.now()
		if l.FirstReceived.IsZero() {
			l.FirstReceived = l.received
		}
		c.hide(q, l, visibility)
		m := l.Message.clone()
		m.Handle = q.handle(l)
		got = append(got, m)
	}
	return got
}

// bury moves a letter to the dead-letter queue if it has been received often enough. It keeps its id and the time it was sent; without
// a dead-letter queue it stays.
func (c *Cloud) bury(q *queue, l *letter) bool {
	if q.redrive.target == "" || l.Receives < q.redrive.after {
		return false
	}
	dead := c.queueOf(q.redrive.target)
	if dead == nil {
		return false
	}
	q.remove(l)
	m := l.Message
	m.DeadLetterSource = q.arn
	c.store(dead, m, 0, len(dead.letters))
	return true
}

func (q *queue) remove(l *letter) {
	l.wake()
	q.letters = slices.DeleteFunc(q.letters, func(other *letter) bool { return other == l })
}

// DeleteMessage deletes the message of a handle. One that is gone already is a success.
func (c *Cloud) DeleteMessage(url, handle string) error {
	return c.onQueue("sqs:DeleteMessage", url, func(q *queue) error { return c.discard(q, handle) })
}

func (c *Cloud) discard(q *queue, handle string) error {
	l, newest, err := q.held(handle)
	switch {
	case err != nil || l == nil:
		return err
	case !newest:
		return c.stale(handle)
	}
	q.remove(l)
	return nil
}

// DeleteMessageBatch deletes up to ten messages, each for itself: by its index, nil or an error.
func (c *Cloud) DeleteMessageBatch(url string, handles []string) (failed []error, err error) {
	return c.batch("sqs:DeleteMessageBatch", url, len(handles), func(q *queue, i int) error { return c.discard(q, handles[i]) })
}

// VisibilityChange hides the message of a handle for Timeout from now.
type VisibilityChange struct {
	Handle  string
	Timeout time.Duration
}

// ChangeMessageVisibility hides the message of a handle for d from now; none shows it at once.
func (c *Cloud) ChangeMessageVisibility(url, handle string, d time.Duration) error {
	return c.onQueue("sqs:ChangeMessageVisibility", url, func(q *queue) error { return c.extend(q, VisibilityChange{handle, d}) })
}

func (c *Cloud) extend(q *queue, v VisibilityChange) error {
	if err := checkVisibility(v.Timeout); err != nil {
		return err
	}
	l, newest, err := q.held(v.Handle)
	switch {
	case err != nil:
		return err
	case l == nil || !l.hidden || l.delayed:
		return badHandle(v.Handle, "Message does not exist or is not available for visibility timeout change.")
	case !newest:
		return c.stale(v.Handle)
	case c.now().Add(v.Timeout).After(l.received.Add(longestVisibility)):
		return outOfRange(v.Timeout, "VisibilityTimeout", "Total VisibilityTimeout for the message is beyond the limit [43200 seconds].")
	}
	c.hide(q, l, v.Timeout)
	return nil
}

// ChangeMessageVisibilityBatch changes up to ten messages, each for itself: by its index, nil or an error.
func (c *Cloud) ChangeMessageVisibilityBatch(url string, all []VisibilityChange) (failed []error, err error) {
	return c.batch("sqs:ChangeMessageVisibilityBatch", url, len(all), func(q *queue, i int) error { return c.extend(q, all[i]) })
}
