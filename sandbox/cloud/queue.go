package cloud

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// queue is a standard queue of SQS.
type queue struct {
	name, url, arn    string
	attributes, tags  map[string]string // attributes as set, or as they usually are
	created, modified time.Time
	purged            time.Time
	letters           []*letter     // in the order in which they are received
	arrived           chan struct{} // closed, and replaced, when a message may have become visible
	mishaps           []mishap
	grants            []grant // what Policy says
	redrive           redrive // what RedrivePolicy says
}

// redrive is when a message goes where; no target is never.
type redrive struct {
	target string // a queue's ARN
	after  int    // receives
}

// attribute is a setting of a queue; a number has limits.
type attribute struct {
	name, usual string
	least, most int // of a number
	check       func(string) bool
}

var queueAttributes = []attribute{
	{name: "DelaySeconds", usual: "0", most: 900},
	{name: "KmsMasterKeyId", check: anyText},
	{name: "KmsDataKeyReusePeriodSeconds", least: 60, most: 86400},
	{name: "MaximumMessageSize", usual: "1048576", least: 1024, most: 1048576},
	{name: "MessageRetentionPeriod", usual: "345600", least: 60, most: 1209600},
	{name: "Policy", check: anyText},
	{name: "ReceiveMessageWaitTimeSeconds", usual: "0", most: 20},
	{name: "RedrivePolicy", check: anyText},
	{name: "SqsManagedSseEnabled", usual: "true", check: func(s string) bool { return s == "true" || s == "false" }},
	{name: "VisibilityTimeout", usual: "30", most: 43200},
}

func anyText(string) bool { return true }

func (a attribute) valid(s string) bool {
	if a.check != nil {
		return a.check(s)
	}
	n, err := strconv.Atoi(s)
	return err == nil && n >= a.least && n <= a.most
}

// otherAttributes are AWS's settings that are not simulated.
var otherAttributes = []string{"FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit", "RedriveAllowPolicy"}

func badAttribute(name string) error {
	return refuse("InvalidAttributeValue", "Invalid value for the parameter %s.", name)
}

func unknownAttribute(name string) error {
	return refuse("InvalidAttributeName", "Unknown Attribute %s.", name)
}

// set changes attributes, all or none; an empty value takes one away.
func (c *Cloud) set(q *queue, changes map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		at := slices.IndexFunc(queueAttributes, func(a attribute) bool { return a.name == name })
		switch {
		case slices.Contains(otherAttributes, name):
			return NotSimulated("attribute "+name, "a queue")
		case at < 0:
			return unknownAttribute(name)
		case !queueAttributes[at].valid(changes[name]):
			return badAttribute(name)
		}
	}
	all := maps.Clone(q.attributes)
	maps.Copy(all, changes)
	if changes["KmsMasterKeyId"] != "" {
		all["SqsManagedSseEnabled"] = "false"
	}
	maps.DeleteFunc(all, func(_, v string) bool { return v == "" })
	grants, err := readPolicy(all["Policy"])
	if err != nil {
		return err
	}
	redrive, err := c.readRedrive(q, all["RedrivePolicy"], changes)
	if err != nil {
		return err
	}
	q.attributes, q.grants, q.redrive = all, grants, redrive
	return nil
}

// readRedrive understands a redrive policy; that its target is there matters only when it is set.
func (c *Cloud) readRedrive(q *queue, policy string, changes map[string]string) (redrive, error) {
	if policy == "" {
		return redrive{}, nil
	}
	var p struct {
		Target string      `json:"deadLetterTargetArn"`
		After  json.Number `json:"maxReceiveCount"` // AWS takes a number and the text of one
	}
	if err := strictly([]byte(policy), &p); err != nil {
		return redrive{}, badAttribute("RedrivePolicy")
	}
	bad := func(reason string) (redrive, error) {
		return redrive{}, refuse("InvalidParameterValue", "Value %s for parameter RedrivePolicy is invalid. Reason: %s", policy, reason)
	}
	after, err := strconv.Atoi(p.After.String())
	if err != nil || after < 1 || after > 1000 {
		return bad("Invalid value for maxReceiveCount: " + p.After.String() + ", valid values are from 1 to 1000 both inclusive.")
	}
	if _, changed := changes["RedrivePolicy"]; changed && (c.queueOf(p.Target) == nil || p.Target == q.arn) {
		return bad("Dead letter target does not exist.")
	}
	return redrive{p.Target, after}, nil
}

// queueOf finds a queue by its ARN.
func (c *Cloud) queueOf(arn string) *queue {
	q := c.post.queues[arn[strings.LastIndex(arn, ":")+1:]]
	if q == nil || q.arn != arn {
		return nil
	}
	return q
}

// queueAt finds a queue by its URL. The host may be any: a client may have reached the sandbox under another name. A queue's
// messages that are too old are gone when it is found.
func (c *Cloud) queueAt(url string) (*queue, error) {
	if url == "" {
		return nil, refuse("MissingParameter", "The request must contain the parameter QueueUrl.")
	}
	parts := strings.Split(url, "/")
	if q, ok := c.post.queues[parts[len(parts)-1]]; ok && len(parts) > 1 && parts[len(parts)-2] == c.cfg.Account {
		q.expire(c.now())
		return q, nil
	}
	return nil, refuse("QueueDoesNotExist", "The specified queue does not exist.")
}

// onQueue runs one action on a queue that is there.
func (c *Cloud) onQueue(action, url string, f func(*queue) error) error {
	return c.write(action, func() error {
		q, err := c.queueAt(url)
		if err != nil {
			return err
		}
		return f(q)
	})
}

func (q *queue) number(attribute string) int {
	n, _ := strconv.Atoi(q.attributes[attribute]) // checked when it was set
	return n
}

func (q *queue) duration(attribute string) time.Duration {
	return time.Duration(q.number(attribute)) * time.Second
}

// ring wakes all who wait for messages.
func (q *queue) ring() {
	close(q.arrived)
	q.arrived = make(chan struct{})
}

var queueName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// settleTime is how long SQS takes to forget a queue, and to purge one; within it the same call is refused.
const settleTime = 60 * time.Second

// CreateQueue makes a standard queue. One of the same name and with the attributes asked for is answered as if it were new.
func (c *Cloud) CreateQueue(name string, attributes, tags map[string]string) (url string, err error) {
	err = c.write("sqs:CreateQueue", func() error {
		if strings.HasSuffix(name, ".fifo") {
			return NotSimulated("a FIFO queue", "CreateQueue")
		}
		if !queueName.MatchString(name) {
			return refuse("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
		}
		if q, ok := c.post.queues[name]; ok {
			url = q.url
			return q.sameAs(attributes)
		}
		if at, ok := c.post.deleted[name]; ok && c.now().Sub(at) < settleTime {
			return refuse("QueueDeletedRecently", "You must wait 60 seconds after deleting a queue before you can create another with the same name.")
		}
		q := &queue{
			name: name, arn: c.arn("sqs", name), url: "https://sqs." + c.cfg.Region + ".amazonaws.com/" + c.cfg.Account + "/" + name,
			attributes: map[string]string{}, tags: map[string]string{}, created: c.now(), modified: c.now(), arrived: make(chan struct{}),
		}
		for _, a := range queueAttributes {
			q.attributes[a.name] = a.usual
		}
		if err := c.set(q, attributes); err != nil {
			return err
		}
		maps.Copy(q.tags, tags)
		delete(c.post.deleted, name)
		c.post.queues[name], url = q, q.url
		return nil
	})
	return url, err
}

func (q *queue) sameAs(attributes map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		if q.attributes[name] != attributes[name] {
			return refuse("QueueNameExists", "A queue already exists with the same name and a different value for attribute %s", name)
		}
	}
	return nil
}

// GetQueueUrl finds a queue by its name.
func (c *Cloud) GetQueueUrl(name string) (url string, err error) {
	err = c.onQueue("sqs:GetQueueUrl", c.cfg.Account+"/"+name, func(q *queue) error {
		url = q.url
		return nil
	})
	return url, err
}

// GetQueueAttributes returns the attributes of these names, as far as they are set; "All" is every one.
func (c *Cloud) GetQueueAttributes(url string, names []string) (out map[string]string, err error) {
	err = c.onQueue("sqs:GetQueueAttributes", url, func(q *queue) error {
		all := q.show()
		if slices.Contains(names, "All") {
			out = all
			return nil
		}
		out = map[string]string{}
		for _, name := range names {
			if v, ok := all[name]; ok {
				out[name] = v
			} else if !slices.Contains(otherAttributes, name) && !slices.ContainsFunc(queueAttributes, func(a attribute) bool { return a.name == name }) {
				return unknownAttribute(name)
			}
		}
		return nil
	})
	return out, err
}

func (q *queue) show() map[string]string {
	visible, hidden, delayed := 0, 0, 0
	for _, l := range q.letters {
		switch {
		case l.delayed:
			delayed++
		case l.hidden:
			hidden++
		default:
			visible++
		}
	}
	all := maps.Clone(q.attributes)
	maps.Copy(all, map[string]string{
		"QueueArn": q.arn, "CreatedTimestamp": strconv.FormatInt(q.created.Unix(), 10), "LastModifiedTimestamp": strconv.FormatInt(q.modified.Unix(), 10),
		"ApproximateNumberOfMessages": strconv.Itoa(visible), "ApproximateNumberOfMessagesNotVisible": strconv.Itoa(hidden),
		"ApproximateNumberOfMessagesDelayed": strconv.Itoa(delayed),
	})
	return all
}

// SetQueueAttributes changes attributes; an empty Policy, RedrivePolicy or KmsMasterKeyId takes it away.
func (c *Cloud) SetQueueAttributes(url string, attributes map[string]string) error {
	return c.onQueue("sqs:SetQueueAttributes", url, func(q *queue) error {
		if err := c.set(q, attributes); err != nil {
			return err
		}
		q.modified = c.now()
		return nil
	})
}

// ListQueues returns the URLs of the queues whose name begins with prefix, by name.
func (c *Cloud) ListQueues(prefix string) (urls []string, err error) {
	err = c.write("sqs:ListQueues", func() error {
		for _, name := range slices.Sorted(maps.Keys(c.post.queues)) {
			if strings.HasPrefix(name, prefix) {
				urls = append(urls, c.post.queues[name].url)
			}
		}
		return nil
	})
	return urls, err
}

// DeleteQueue removes a queue with all it holds, at once.
func (c *Cloud) DeleteQueue(url string) error {
	return c.onQueue("sqs:DeleteQueue", url, func(q *queue) error {
		q.empty()
		q.ring()
		delete(c.post.queues, q.name)
		c.post.deleted[q.name] = c.now()
		return nil
	})
}

// PurgeQueue removes all messages, at once.
func (c *Cloud) PurgeQueue(url string) error {
	return c.onQueue("sqs:PurgeQueue", url, func(q *queue) error {
		if !q.purged.IsZero() && c.now().Sub(q.purged) < settleTime {
			return &Error{"PurgeQueueInProgress", "Only one PurgeQueue operation on " + q.name + " is allowed every 60 seconds.", 403}
		}
		q.empty()
		q.purged = c.now()
		return nil
	})
}

func (q *queue) empty() {
	for _, l := range q.letters {
		l.wake()
	}
	q.letters = nil
}

// TagQueue sets tags on a queue.
func (c *Cloud) TagQueue(url string, tags map[string]string) error {
	return c.onQueue("sqs:TagQueue", url, func(q *queue) error {
		maps.Copy(q.tags, tags)
		return nil
	})
}

// UntagQueue removes tags by key.
func (c *Cloud) UntagQueue(url string, keys []string) error {
	return c.onQueue("sqs:UntagQueue", url, func(q *queue) error {
		maps.DeleteFunc(q.tags, func(k, _ string) bool { return slices.Contains(keys, k) })
		return nil
	})
}

// ListQueueTags returns a queue's tags.
func (c *Cloud) ListQueueTags(url string) (tags map[string]string, err error) {
	err = c.onQueue("sqs:ListQueueTags", url, func(q *queue) error {
		tags = maps.Clone(q.tags)
		return nil
	})
	return tags, err
}
