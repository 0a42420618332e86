package cloud

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// topic is a standard topic of SNS.
type topic struct {
	name, arn        string
	attributes, tags map[string]string
	subscriptions    []Subscription // oldest first
}

// Subscription sends what is published on a topic to a queue: as it is if Raw, else in an envelope.
type Subscription struct {
	ARN, Topic string
	Endpoint   string // the queue's ARN
	Raw        bool
}

var topicName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

// topicAttributes can be set; none of them changes what the sandbox does.
var topicAttributes = []string{"DisplayName", "KmsMasterKeyId", "Policy", "SignatureVersion"}

func badTopicParameter(format string, args ...any) error {
	return refuse("InvalidParameter", "Invalid parameter: %s", fmt.Sprintf(format, args...))
}

func (c *Cloud) onTopic(action, arn string, f func(*topic) error) error {
	return c.write(action, func() error {
		t, ok := c.post.topics[arn]
		if !ok {
			return &Error{"NotFound", "Topic does not exist", 404}
		}
		return f(t)
	})
}

// CreateTopic makes a topic; one of the same name is answered as if it were new.
func (c *Cloud) CreateTopic(name string, attributes, tags map[string]string) (arn string, err error) {
	err = c.write("sns:CreateTopic", func() error {
		if strings.HasSuffix(name, ".fifo") {
			return NotSimulated("a FIFO topic", "CreateTopic")
		}
		if !topicName.MatchString(name) {
			return badTopicParameter("Topic Name")
		}
		for _, k := range slices.Sorted(maps.Keys(attributes)) {
			if !slices.Contains(topicAttributes, k) {
				return NotSimulated("attribute "+k, "CreateTopic")
			}
		}
		arn = c.arn("sns", name)
		if _, ok := c.post.topics[arn]; ok {
			return nil
		}
		t := &topic{name: name, arn: arn, attributes: map[string]string{}, tags: maps.Clone(tags)}
		maps.Copy(t.attributes, attributes)
		c.post.topics[arn] = t
		return nil
	})
	return arn, err
}

// DeleteTopic removes a topic and its subscriptions. One that is not there is a success.
func (c *Cloud) DeleteTopic(arn string) error {
	return c.write("sns:DeleteTopic", func() error {
		delete(c.post.topics, arn)
		return nil
	})
}

// ListTopics returns the ARNs of all topics.
func (c *Cloud) ListTopics() (arns []string, err error) {
	err = c.write("sns:ListTopics", func() error {
		arns = slices.Sorted(maps.Keys(c.post.topics))
		return nil
	})
	return arns, err
}

// GetTopicAttributes returns what is set, and what AWS says of every topic.
func (c *Cloud) GetTopicAttributes(arn string) (out map[string]string, err error) {
	err = c.onTopic("sns:GetTopicAttributes", arn, func(t *topic) error {
		out = maps.Clone(t.attributes)
		maps.Copy(out, map[string]string{
			"TopicArn": t.arn, "Owner": c.cfg.Account,
			"SubscriptionsConfirmed": strconv.Itoa(len(t.subscriptions)), "SubscriptionsPending": "0", "SubscriptionsDeleted": "0",
		})
		return nil
	})
	return out, err
}

// SetTopicAttributes sets one attribute. The sandbox has no access control on topics: a Policy is kept, not asked.
func (c *Cloud) SetTopicAttributes(arn, name, value string) error {
	return c.onTopic("sns:SetTopicAttributes", arn, func(t *topic) error {
		if !slices.Contains(topicAttributes, name) {
			return NotSimulated("attribute "+name, "SetTopicAttributes")
		}
		if name == "Policy" && !json.Valid([]byte(value)) {
			return badTopicParameter("Policy Error: null")
		}
		t.attributes[name] = value
		return nil
	})
}

// SubscribeTopic is SNS's Subscribe: it subscribes a queue to a topic, confirmed at once as within an account. The same subscription again is answered with its ARN.
func (c *Cloud) SubscribeTopic(topicARN, protocol, endpoint string, attributes map[string]string) (arn string, err error) {
	err = c.onTopic("sns:Subscribe", topicARN, func(t *topic) error {
		if protocol != "sqs" {
			return NotSimulated("protocol "+protocol, "Subscribe")
		}
		if !queueARN.MatchString(endpoint) {
			return badTopicParameter("SQS endpoint ARN")
		}
		raw, err := readRaw(attributes)
		if err != nil {
			return err
		}
		for _, s := range t.subscriptions {
			if s.Endpoint == endpoint && s.Raw == raw {
				arn = s.ARN
				return nil
			} else if s.Endpoint == endpoint {
				return badTopicParameter("Attributes Reason: Subscription already exists with different attributes")
			}
		}
		arn = topicARN + ":" + c.post.uuid()
		t.subscriptions = append(t.subscriptions, Subscription{arn, topicARN, endpoint, raw})
		return nil
	})
	return arn, err
}

func readRaw(attributes map[string]string) (raw bool, err error) {
	for _, k := range slices.Sorted(maps.Keys(attributes)) {
		if k != "RawMessageDelivery" {
			return false, NotSimulated("attribute "+k, "Subscribe")
		}
		if raw, err = strconv.ParseBool(attributes[k]); err != nil {
			return false, badTopicParameter("Attributes Reason: RawMessageDelivery: Invalid value [%s]. Must be true or false.", attributes[k])
		}
	}
	return raw, nil
}

// Unsubscribe ends a subscription. One that is not there is a success.
func (c *Cloud) Unsubscribe(arn string) error {
	return c.write("sns:Unsubscribe", func() error {
		for _, t := range c.post.topics {
			t.subscriptions = slices.DeleteFunc(t.subscriptions, func(s Subscription) bool { return s.ARN == arn })
		}
		return nil
	})
}

// ListSubscriptionsByTopic returns a topic's subscriptions, oldest first.
func (c *Cloud) ListSubscriptionsByTopic(topicARN string) (out []Subscription, err error) {
	err = c.onTopic("sns:ListSubscriptionsByTopic", topicARN, func(t *topic) error {
		out = slices.Clone(t.subscriptions)
		return nil
	})
	return out, err
}

// maxNotification is the largest message SNS takes.
const maxNotification = 262144

// Publish sends a message to all who subscribed to a topic.
func (c *Cloud) Publish(topicARN, subject, message string) (id string, err error) {
	err = c.onTopic("sns:Publish", topicARN, func(t *topic) error {
		switch {
		case message == "":
			return badTopicParameter("Empty message")
		case len(message) > maxNotification:
			return badTopicParameter("Message too long")
		case len(subject) > 100 || strings.ContainsFunc(subject, noText):
			return badTopicParameter("Subject")
		}
		id = c.fanOut(t, subject, message)
		return nil
	})
	return id, err
}

// notification is a message in SNS's envelope. The sandbox signs nothing: whoever verifies signatures must see that.
type notification struct {
	Type             string
	MessageID        string `json:"MessageId"`
	TopicARN         string `json:"TopicArn"`
	Subject          string `json:",omitempty"`
	Message          string
	Timestamp        string
	SignatureVersion string
	Signature        string
	SigningCertURL   string
	UnsubscribeURL   string
}

func (c *Cloud) wrap(s Subscription, id, subject, message string) string {
	host := "https://sns." + c.cfg.Region + ".amazonaws.com/"
	body, err := json.Marshal(notification{
		Type: "Notification", MessageID: id, TopicARN: s.Topic, Subject: subject, Message: message, Timestamp: c.now().Format("2006-01-02T15:04:05.000Z"),
		SignatureVersion: "1", Signature: "unsigned", SigningCertURL: host + "SimpleNotificationService.pem", UnsubscribeURL: host + "?Action=Unsubscribe&SubscriptionArn=" + s.ARN,
	})
	if err != nil {
		panic(fmt.Sprintf("notification of %s: %v", s.Topic, err)) // nothing but texts
	}
	return string(body)
}

// fanOut brings a message to all subscriptions of a topic, at once; a queue that does not let SNS in does not get it. The lock is held.
func (c *Cloud) fanOut(t *topic, subject, message string) (id string) {
	id = c.post.uuid()
	for _, s := range t.subscriptions {
		body := message
		if !s.Raw {
			body = c.wrap(s, id, subject, message)
		}
		c.deliver(s.Endpoint, sender{"sns.amazonaws.com", t.arn}, Outgoing{Body: body})
	}
	return id
}
