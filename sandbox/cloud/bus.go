package cloud

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// post is all that carries messages: queues, rules and topics. It is no part of the world, so what is read of it never lags, and it has
// dice of its own, so that a message more changes no id of an instance.
type post struct {
	queues  map[string]*queue    // by name
	deleted map[string]time.Time // when, by the queue's name
	rules   map[string]*rule     // by name
	topics  map[string]*topic    // by ARN
	failed  map[string]int       // invocations, by the rule's name; outlives the rule
	lost    map[string]int       // messages of services, by the queue's ARN
	strict  bool                 // handles that are not the newest are refused
	copies  int                  // numbers every copy of every message
	ids     *rand.Rand
}

func newPost(seed int64) post {
	return post{
		queues: map[string]*queue{}, deleted: map[string]time.Time{}, rules: map[string]*rule{}, topics: map[string]*topic{},
		failed: map[string]int{}, lost: map[string]int{}, ids: rand.New(rand.NewPCG(uint64(seed), 3)),
	}
}

// close ends all waiting for messages.
func (p *post) close() {
	for _, q := range p.queues {
		q.ring()
	}
}

func (p *post) uuid() string { return uuid(p.ids) }

// envelope is an event as EventBridge writes it.
type envelope struct {
	Version    string   `json:"version"`
	ID         string   `json:"id"`
	DetailType string   `json:"detail-type"`
	Source     string   `json:"source"`
	Account    string   `json:"account"`
	Time       string   `json:"time"`
	Region     string   `json:"region"`
	Resources  []string `json:"resources"`
	Detail     any      `json:"detail"`
}

// publish puts an event of AWS's own on the account's default event bus. The lock is held.
func (c *Cloud) publish(source, detailType string, resources []string, detail map[string]any) {
	c.dispatch(c.envelope(source, detailType, resources, c.now(), detail))
}

func (c *Cloud) envelope(source, detailType string, resources []string, at time.Time, detail any) envelope {
	return envelope{
		Version: "0", ID: c.post.uuid(), DetailType: detailType, Source: source, Account: c.cfg.Account, Region: c.cfg.Region,
		Time: at.UTC().Format(time.RFC3339), Resources: append([]string{}, resources...), Detail: detail,
	}
}

// dispatch finds the rules that an event matches now and brings it to their targets a little later. The lock is held.
func (c *Cloud) dispatch(e envelope) {
	body, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("event %s of %s: %v", e.DetailType, e.Source, err)) // details are made of what JSON can say
	}
	var plain map[string]any
	if err := json.Unmarshal(body, &plain); err != nil {
		panic(fmt.Sprintf("event %s of %s: %v", e.DetailType, e.Source, err))
	}
	for _, name := range slices.Sorted(maps.Keys(c.post.rules)) {
		r := c.post.rules[name]
		if r.State != RuleEnabled || !r.match(plain) {
			continue
		}
		for _, t := range r.targets {
			c.later(c.cfg.Timing.EventDelay, func() { c.invoke(r, t, string(body)) })
		}
	}
}

// invoke brings one event to one target of a rule, or to the target's dead-letter queue, as far as their policies let EventBridge.
func (c *Cloud) invoke(r *rule, t RuleTarget, body string) {
	events := sender{service: "events.amazonaws.com", source: r.ARN}
	code, ok := c.deliver(t.ARN, events, Outgoing{Body: body})
	if ok {
		return
	}
	c.post.failed[r.Name]++
	if t.DeadLetter == "" {
		return
	}
	note := map[string]MessageAttribute{"RULE_ARN": text(r.ARN), "TARGET_ARN": text(t.ARN), "ERROR_CODE": text(code)}
	c.deliver(t.DeadLetter, events, Outgoing{Body: body, Attributes: note})
}

func text(s string) MessageAttribute { return MessageAttribute{DataType: "String", Text: s} }

// FailedInvocations counts the events that a rule could not bring to one of its targets, as CloudWatch's metric of this name does.
func (c *Cloud) FailedInvocations(rule string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.post.failed[rule]
}

// LostMessages counts what services could not bring to a queue: its policy or its key does not let them, or it is not there.
func (c *Cloud) LostMessages(queueARN string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.post.lost[queueARN]
}

// tell sends a body to a queue or a topic by its ARN; a target that is gone is nobody's loss. The lock is held.
func (c *Cloud) tell(arn, body string) {
	if t, ok := c.post.topics[arn]; ok {
		c.fanOut(t, "", body)
		return
	}
	c.deliver(arn, sender{service: scaling}, Outgoing{Body: body})
}

const scaling = "autoscaling.amazonaws.com"

// deliver brings a message of a service to a queue, and says in EventBridge's words why it cannot. The lock is held.
func (c *Cloud) deliver(arn string, from sender, m Outgoing) (code string, ok bool) {
	q := c.queueOf(arn)
	switch {
	case q == nil:
		code = "RESOURCE_NOT_FOUND"
	case !q.admits(from, c.cfg.Account):
		code = "NO_PERMISSIONS"
	default:
		c.accept(q, m, from.service)
		return "", true
	}
	c.post.lost[arn]++
	return code, false
}

// later runs f under the lock when d has passed, like after, but for what is no part of the world.
func (c *Cloud) later(d time.Duration, f func()) (stop func()) {
	return c.clock.AfterFunc(d, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.closed {
			f()
		}
	})
}

// EventEntry is one event of a user's own.
type EventEntry struct {
	Source, DetailType string
	Detail             string // a JSON object
	Resources          []string
	Time               time.Time // zero: now
}

// maxBatch is how many entries AWS takes in one call, of events and of messages.
const maxBatch = 10

// PutEvents puts events on the default bus. Each entry is answered for itself, by its index: an id, or an error.
func (c *Cloud) PutEvents(all []EventEntry) (ids []string, failed []error, err error) {
	err = c.write("events:PutEvents", func() error {
		if len(all) == 0 || len(all) > maxBatch {
			return refuse("ValidationException", "1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must have length between 1 and %d", maxBatch)
		}
		ids, failed = make([]string, len(all)), make([]error, len(all))
		for i, entry := range all {
			ids[i], failed[i] = c.putEvent(entry)
		}
		return nil
	})
	return ids, failed, err
}

func (c *Cloud) putEvent(e EventEntry) (id string, err error) {
	var detail map[string]any
	switch broken := json.Unmarshal([]byte(e.Detail), &detail); {
	case e.Source == "":
		return "", refuse("InvalidArgument", "Parameter Source is not valid. Reason: Source is a required argument.")
	case e.DetailType == "":
		return "", refuse("InvalidArgument", "Parameter DetailType is not valid. Reason: DetailType is a required argument.")
	case e.Detail == "":
		return "", refuse("InvalidArgument", "Parameter Detail is not valid. Reason: Detail is a required argument.")
	case strings.HasPrefix(e.Source, "aws."):
		return "", refuse("NotAuthorizedForSourceException", "Not authorized for the source.")
	case broken != nil || detail == nil:
		return "", refuse("MalformedDetail", "Detail is malformed.")
	}
	at := e.Time
	if at.IsZero() {
		at = c.now()
	}
	sent := c.envelope(e.Source, e.DetailType, e.Resources, at, json.RawMessage(e.Detail))
	c.dispatch(sent)
	return sent.ID, nil
}
