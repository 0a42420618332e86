package aws

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"drover.dev/fleet"
)

const (
	// messagesAtOnce is SQS's limit for one call.
	messagesAtOnce = 10
	// pollFor is SQS's longest wait: fewer calls, and a message is there as soon as it is sent.
	pollFor = 20 * time.Second
	// pollWithin bounds a poll. One that takes longer hangs.
	pollWithin = 2 * pollFor
	// callWithin bounds the other calls, the SDK's retries included.
	callWithin = 20 * time.Second
	// inHand is for how long nobody else gets a message that was received: time enough to put it on file. What is not deleted by then comes again.
	inHand = time.Minute
	// longestHide is the longest that a message can be kept back. SQS refuses more than twelve hours counted from when it was received, which is
	// inHand ago at most; the rest is for the way there.
	longestHide = 12*time.Hour - inHand - time.Minute
	// lettersEvery is how old the word on where dead letters go may be.
	lettersEvery = 5 * time.Minute
	// reasonAttribute carries why a message was set aside, in so many characters at most.
	reasonAttribute = "drover.reason"
	reasonLength    = 256
)

// Queue is an SQS queue that messages about machines come through. Several may receive from it at once.
type Queue struct {
	sqs       *sqs.Client
	name, url string
	now       func() time.Time

	mu      sync.Mutex
	letters letters
	told    string              // the last complaint about dead letters
	held    map[string]delivery // by message id
}

// letters is where the queue's dead letters go, as it was said at a moment; "" when nowhere.
type letters struct {
	at        time.Time
	name, url string
}

// delivery is a message that was received here: it may be anybody's when it comes again.
type delivery struct{ sent, until time.Time }

// Depth is how full a queue is, as far as SQS knows.
type Depth struct {
	Visible, InFlight, Delayed int
	Oldest                     time.Duration // age of the oldest message that this process has in hand; SQS itself does not tell of others
}

// OpenQueue finds a queue by its name, in the configuration's account and region, or by its URL, wherever that is.
func OpenQueue(ctx context.Context, cfg sdk.Config, named string) (*Queue, error) {
	q := &Queue{now: time.Now, held: map[string]delivery{}}
	region, err := q.take(named)
	if err != nil {
		return nil, fmt.Errorf("open queue %q: %w", named, err)
	}
	q.sqs = sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.Region = cmp.Or(region, o.Region) })
	ctx, stop := context.WithTimeout(ctx, 2*callWithin)
	defer stop()
	if q.url == "" {
		out, err := q.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &q.name})
		if err != nil {
			return nil, q.opening(err, cfg.Region)
		}
		q.url = sdk.ToString(out.QueueUrl)
	}
	if _, err := q.deadLetters(ctx); err != nil {
		return nil, q.opening(err, cmp.Or(region, cfg.Region))
	}
	return q, nil
}

var (
	queueName   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)
	queueRegion = regexp.MustCompile(`(?:^|\.)sqs(?:-fips)?\.([a-z]{2,}(?:-[a-z]+)+-[0-9]+)\.|^([a-z]{2,}(?:-[a-z]+)+-[0-9]+)\.queue\.amazonaws\.com`)
)

// take reads the queue's name, its URL if that is what it was named by, and the region if the URL tells it.
func (q *Queue) take(named string) (region string, err error) {
	q.name = named
	if strings.Contains(named, "://") {
		u, err := url.Parse(named)
		if err != nil {
			return "", err
		}
		parts := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
		if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(parts) < 2 {
			return "", errors.New("not the URL of a queue, which is like https://sqs.REGION.amazonaws.com/ACCOUNT/NAME")
		}
		q.name, q.url = parts[len(parts)-1], named
		if m := queueRegion.FindStringSubmatch(u.Hostname()); m != nil {
			region = m[1] + m[2]
		}
	}
	switch {
	case strings.HasSuffix(q.name, ".fifo"):
		return "", errors.New("lifecycle hooks cannot send to a FIFO queue; make a standard queue (drover setup)")
	case !queueName.MatchString(q.name):
		return "", errors.New("not the name of a queue: up to 80 letters, digits, - and _; give its name or its URL")
	}
	return region, nil
}

// opening says what to do when a queue cannot be opened.
func (q *Queue) opening(err error, region string) error {
	switch {
	case queueGone(err):
		return fmt.Errorf("open queue %s: it does not exist in region %s, or may not be seen; make it (drover setup), or give the URL of a queue elsewhere", q.name, region)
	case isDenied(err):
		return endure(fmt.Errorf("open queue %s: %w: sqs:GetQueueUrl and sqs:GetQueueAttributes; a queue of another account has to allow it in its own policy, too", q.name, explain(err)))
	}
	return doing("open queue "+q.name, err)
}

func queueGone(err error) bool {
	return codeIs(err, "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")
}

// stale tells that a receipt is no good any more: its time is over, its message was delivered again since, or deleted.
func stale(code, words string) bool {
	switch strings.TrimPrefix(code, "AWS.SimpleQueueService.") {
	case "ReceiptHandleIsInvalid", "MessageNotInflight":
		return true
	case "InvalidParameterValue", "InvalidParameterValueException":
		return strings.Contains(words, "receipt handle has expired")
	}
	return false
}

// failing says what was being done to the queue. A missing right is no end: messages come again, and there are other sources.
func (q *Queue) failing(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case queueGone(err):
		return fmt.Errorf("%s: queue %s does not exist any more; make it again (drover setup)", what, q.name)
	}
	return endure(doing(what+" of queue "+q.name, err))
}

// String is the queue's name.
func (q *Queue) String() string { return q.name }

// Receive waits for messages for some seconds and returns at most ten. For a minute nobody else gets them.
func (q *Queue) Receive(ctx context.Context) ([]fleet.Message, error) {
	ctx, stop := context.WithTimeout(ctx, pollWithin)
	defer stop()
	out, err := q.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &q.url, MaxNumberOfMessages: messagesAtOnce, WaitTimeSeconds: int32(pollFor / time.Second), VisibilityTimeout: int32(inHand / time.Second),
		MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{sqstypes.MessageSystemAttributeNameSentTimestamp, sqstypes.MessageSystemAttributeNameApproximateReceiveCount},
	})
	if err != nil {
		return nil, q.failing("receive messages", err)
	}
	var ms []fleet.Message
	for i := range out.Messages {
		ms = append(ms, message(&out.Messages[i]))
	}
	q.hold(q.now().Add(inHand), ms...)
	return ms, nil
}

// message reads a message. An attribute that cannot be read stays zero: what counts is the body.
func message(raw *sqstypes.Message) fleet.Message {
	m := fleet.Message{ID: sdk.ToString(raw.MessageId), Receipt: sdk.ToString(raw.ReceiptHandle), Body: sdk.ToString(raw.Body)}
	if ms, err := strconv.ParseInt(raw.Attributes[string(sqstypes.MessageSystemAttributeNameSentTimestamp)], 10, 64); err == nil {
		m.Sent = time.UnixMilli(ms).UTC()
	}
	m.Times, _ = strconv.Atoi(raw.Attributes[string(sqstypes.MessageSystemAttributeNameApproximateReceiveCount)])
	return m
}

// Delete is done with messages. Each that SQS does not delete is named in the error; one whose receipt is too old comes again, which is no error.
func (q *Queue) Delete(ctx context.Context, ms []fleet.Message) error {
	var errs []error
	for some := range slices.Chunk(ms, messagesAtOnce) {
		errs = append(errs, q.deleteSome(ctx, some))
	}
	return errors.Join(errs...)
}

func (q *Queue) deleteSome(ctx context.Context, ms []fleet.Message) error {
	ctx, stop := context.WithTimeout(ctx, callWithin)
	defer stop()
	in := &sqs.DeleteMessageBatchInput{QueueUrl: &q.url}
	for i := range ms {
		in.Entries = append(in.Entries, sqstypes.DeleteMessageBatchRequestEntry{Id: sdk.String(strconv.Itoa(i)), ReceiptHandle: &ms[i].Receipt})
	}
	out, err := q.sqs.DeleteMessageBatch(ctx, in)
	if err != nil {
		return q.failing("delete messages "+ids(ms), err)
	}
	var errs []error
	failed := map[string]bool{}
	for _, f := range out.Failed {
		id, code, words := sdk.ToString(f.Id), sdk.ToString(f.Code), sdk.ToString(f.Message)
		failed[id] = true
		if n, err := strconv.Atoi(id); err == nil && n < len(ms) && !stale(code, words) {
			errs = append(errs, fmt.Errorf("delete message %s of queue %s: %s: %s", ms[n].ID, q.name, code, words))
		}
	}
	for i := range ms {
		if !failed[strconv.Itoa(i)] {
			q.drop(ms[i])
		}
	}
	return errors.Join(errs...)
}

func ids(ms []fleet.Message) string {
	var out []string
	for _, m := range ms {
		out = append(out, m.ID)
	}
	return strings.Join(out, ", ")
}

// Release has a message come again after a while, twelve hours at most. One whose receipt is too old does so anyway.
func (q *Queue) Release(ctx context.Context, m fleet.Message, after time.Duration) error {
	return q.failing("release message "+m.ID, q.hide(ctx, m, after))
}

func (q *Queue) hide(ctx context.Context, m fleet.Message, after time.Duration) error {
	ctx, stop := context.WithTimeout(ctx, callWithin)
	defer stop()
	after = min(max(0, after), longestHide)
	seconds := (after + time.Second - 1) / time.Second
	_, err := q.sqs.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &q.url, ReceiptHandle: &m.Receipt, VisibilityTimeout: int32(seconds)})
	var api smithy.APIError
	switch {
	case err == nil:
		q.hold(q.now().Add(after), m)
	case errors.As(err, &api) && stale(api.ErrorCode(), api.ErrorMessage()):
		return nil
	}
	return err
}

// SetAside moves a message to the queue of dead letters, with the reason, for a person to look at. Where there is no such queue it is only kept
// out of the way for half a day, again and again: the error that says so comes once.
func (q *Queue) SetAside(ctx context.Context, m fleet.Message, why string) error {
	to, err := q.deadLetters(ctx)
	switch {
	case isDenied(err):
		return q.keep(ctx, m, doing("read its redrive policy", err).Error())
	case err != nil:
		return q.failing("set message "+m.ID+" aside: read the redrive policy", err)
	case to.url == "":
		return q.keep(ctx, m, "it has no queue for dead letters")
	}
	switch err := q.bury(ctx, to, m, why); {
	case queueGone(err):
		return q.keep(ctx, m, fmt.Sprintf("its queue for dead letters, %s, does not exist", to.name))
	case isDenied(err):
		return q.keep(ctx, m, doing("send to its queue for dead letters, "+to.name, err).Error())
	case err != nil:
		return q.failing(fmt.Sprintf("set message %s aside: send it to queue %s, dead letters", m.ID, to.name), err)
	}
	q.complained("")
	if err := q.Delete(ctx, []fleet.Message{m}); err != nil {
		return fmt.Errorf("message %s is set aside in queue %s and may be so again: %w", m.ID, to.name, err)
	}
	return nil
}

// bury sends the message. Where the reason is what makes it too long, the body goes alone.
func (q *Queue) bury(ctx context.Context, to letters, m fleet.Message, why string) error {
	ctx, stop := context.WithTimeout(ctx, callWithin)
	defer stop()
	in := &sqs.SendMessageInput{QueueUrl: &to.url, MessageBody: &m.Body, MessageAttributes: map[string]sqstypes.MessageAttributeValue{
		reasonAttribute: {DataType: sdk.String("String"), StringValue: sdk.String(reason(why))},
	}}
	_, err := q.sqs.SendMessage(ctx, in)
	if codeIs(err, "InvalidParameterValue", "InvalidParameterValueException") {
		in.MessageAttributes = nil
		_, err = q.sqs.SendMessage(ctx, in)
	}
	return err
}

// reason is what SQS takes as the text of an attribute: neither empty nor with control characters.
func reason(why string) string {
	out := []rune(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(why, " ")))
	return cmp.Or(strings.TrimSpace(string(out[:min(len(out), reasonLength)])), "no reason given")
}

// keep holds a message back for as long as SQS allows, since it can be set aside nowhere.
func (q *Queue) keep(ctx context.Context, m fleet.Message, because string) error {
	if err := q.hide(ctx, m, longestHide); err != nil {
		return q.failing("hold message "+m.ID+" back", err)
	}
	if !q.complained(because) {
		return nil
	}
	return fmt.Errorf("messages that nobody understands cannot be set aside and come again every 12 hours: queue %s: %s; give it a redrive policy and its rights (drover setup)", q.name, because)
}

// complained notes a complaint, and tells whether it is a new one.
func (q *Queue) complained(why string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if why == q.told {
		return false
	}
	q.told = why
	return true
}

// deadLetters finds the queue for dead letters, which is always in the region and of the account of its source.
func (q *Queue) deadLetters(ctx context.Context) (letters, error) {
	now := q.now()
	q.mu.Lock()
	known := q.letters
	q.mu.Unlock()
	if now.Sub(known.at) < lettersEvery {
		return known, nil
	}
	attributes, err := q.attributes(ctx, sqstypes.QueueAttributeNameRedrivePolicy)
	if err != nil {
		return letters{}, err
	}
	found := letters{at: now}
	if policy := attributes[string(sqstypes.QueueAttributeNameRedrivePolicy)]; policy != "" {
		if found.name, err = letterName(policy); err != nil {
			return letters{}, err
		}
		found.url = strings.TrimSuffix(q.url, q.name) + found.name
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.letters = found
	return found, nil
}

func letterName(policy string) (string, error) {
	var p struct {
		Target string `json:"deadLetterTargetArn"`
	}
	if err := json.Unmarshal([]byte(policy), &p); err != nil {
		return "", fmt.Errorf("redrive policy %q: %w", policy, err)
	}
	to, err := arn.Parse(p.Target)
	if err != nil || to.Resource == "" {
		return "", fmt.Errorf("redrive policy %q: it names no queue", policy)
	}
	return to.Resource, nil
}

func (q *Queue) attributes(ctx context.Context, names ...sqstypes.QueueAttributeName) (map[string]string, error) {
	ctx, stop := context.WithTimeout(ctx, callWithin)
	defer stop()
	out, err := q.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &q.url, AttributeNames: names})
	if err != nil {
		return nil, err
	}
	return out.Attributes, nil
}

// Depth says how full the queue is.
func (q *Queue) Depth(ctx context.Context) (Depth, error) {
	d := Depth{Oldest: q.oldest()}
	counts := map[sqstypes.QueueAttributeName]*int{
		sqstypes.QueueAttributeNameApproximateNumberOfMessages: &d.Visible, sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible: &d.InFlight,
		sqstypes.QueueAttributeNameApproximateNumberOfMessagesDelayed: &d.Delayed,
	}
	var names []sqstypes.QueueAttributeName
	for name := range counts {
		names = append(names, name)
	}
	said, err := q.attributes(ctx, names...)
	if err != nil {
		return Depth{}, q.failing("read the depth", err)
	}
	for name, to := range counts {
		if *to, err = strconv.Atoi(said[string(name)]); err != nil {
			return Depth{}, fmt.Errorf("read the depth of queue %s: AWS answers %s %q", q.name, name, said[string(name)])
		}
	}
	return d, nil
}

// hold notes that messages are in this process's hands until a moment.
func (q *Queue) hold(until time.Time, ms ...fleet.Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range ms {
		q.held[m.ID] = delivery{m.Sent, until}
	}
}

func (q *Queue) drop(m fleet.Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.held, m.ID)
}

// oldest is the age of the oldest message in hand. One that may have gone to somebody else since counts no more.
func (q *Queue) oldest() time.Duration {
	now, age := q.now(), time.Duration(0)
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, d := range q.held {
		switch {
		case !now.Before(d.until):
			delete(q.held, id)
		case !d.sent.IsZero():
			age = max(age, now.Sub(d.sent))
		}
	}
	return age
}
