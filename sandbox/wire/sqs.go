package wire

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"drover.dev/sandbox/cloud"
)

const attributeFields = "MessageAttributes.DataType MessageAttributes.StringValue MessageAttributes.BinaryValue "

var sqsActions = map[string]action{
	"CreateQueue": on("QueueName Attributes Tags",
		func(c *cloud.Cloud, in *sqs.CreateQueueInput) (*sqs.CreateQueueOutput, error) {
			url, err := c.CreateQueue(aws.ToString(in.QueueName), in.Attributes, in.Tags)
			return &sqs.CreateQueueOutput{QueueUrl: &url}, err
		}),
	"GetQueueUrl": on("QueueName QueueOwnerAWSAccountId",
		func(c *cloud.Cloud, in *sqs.GetQueueUrlInput) (*sqs.GetQueueUrlOutput, error) {
			if owner := aws.ToString(in.QueueOwnerAWSAccountId); owner != "" && owner != c.Account() {
				return nil, cloud.NotSimulated("queues of another account", "GetQueueUrl")
			}
			url, err := c.GetQueueUrl(aws.ToString(in.QueueName))
			return &sqs.GetQueueUrlOutput{QueueUrl: &url}, err
		}),
	"GetQueueAttributes": on("QueueUrl AttributeNames",
		func(c *cloud.Cloud, in *sqs.GetQueueAttributesInput) (*sqs.GetQueueAttributesOutput, error) {
			all, err := c.GetQueueAttributes(aws.ToString(in.QueueUrl), list(in.AttributeNames, func(n types.QueueAttributeName) string { return string(n) }))
			return &sqs.GetQueueAttributesOutput{Attributes: all}, err
		}),
	"SetQueueAttributes": on("QueueUrl Attributes",
		func(c *cloud.Cloud, in *sqs.SetQueueAttributesInput) (*sqs.SetQueueAttributesOutput, error) {
			return &sqs.SetQueueAttributesOutput{}, c.SetQueueAttributes(aws.ToString(in.QueueUrl), in.Attributes)
		}),
	"ListQueues": on("QueueNamePrefix MaxResults NextToken",
		func(c *cloud.Cloud, in *sqs.ListQueuesInput) (*sqs.ListQueuesOutput, error) {
			all, err := c.ListQueues(aws.ToString(in.QueueNamePrefix))
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(url string) string { return url }, in.NextToken, in.MaxResults, 1000, 1000)
			return &sqs.ListQueuesOutput{QueueUrls: orEmpty(shown), NextToken: next}, err
		}),
	"DeleteQueue": on("QueueUrl",
		func(c *cloud.Cloud, in *sqs.DeleteQueueInput) (*sqs.DeleteQueueOutput, error) {
			return &sqs.DeleteQueueOutput{}, c.DeleteQueue(aws.ToString(in.QueueUrl))
		}),
	"PurgeQueue": on("QueueUrl",
		func(c *cloud.Cloud, in *sqs.PurgeQueueInput) (*sqs.PurgeQueueOutput, error) {
			return &sqs.PurgeQueueOutput{}, c.PurgeQueue(aws.ToString(in.QueueUrl))
		}),
	"TagQueue": on("QueueUrl Tags",
		func(c *cloud.Cloud, in *sqs.TagQueueInput) (*sqs.TagQueueOutput, error) {
			return &sqs.TagQueueOutput{}, c.TagQueue(aws.ToString(in.QueueUrl), in.Tags)
		}),
	"UntagQueue": on("QueueUrl TagKeys",
		func(c *cloud.Cloud, in *sqs.UntagQueueInput) (*sqs.UntagQueueOutput, error) {
			return &sqs.UntagQueueOutput{}, c.UntagQueue(aws.ToString(in.QueueUrl), in.TagKeys)
		}),
	"ListQueueTags": on("QueueUrl",
		func(c *cloud.Cloud, in *sqs.ListQueueTagsInput) (*sqs.ListQueueTagsOutput, error) {
			tags, err := c.ListQueueTags(aws.ToString(in.QueueUrl))
			return &sqs.ListQueueTagsOutput{Tags: tags}, err
		}),
	"SendMessage": on("QueueUrl MessageBody DelaySeconds "+attributeFields,
		func(c *cloud.Cloud, in *sqs.SendMessageInput) (*sqs.SendMessageOutput, error) {
			id, err := c.SendMessage(aws.ToString(in.QueueUrl), readOutgoing(in.MessageBody, in.DelaySeconds, in.MessageAttributes))
			return &sqs.SendMessageOutput{MessageId: &id, MD5OfMessageBody: digest(aws.ToString(in.MessageBody)), MD5OfMessageAttributes: digestAttributes(in.MessageAttributes)}, err
		}),
	"SendMessageBatch": on("QueueUrl Entries.Id Entries.MessageBody Entries.DelaySeconds Entries.MessageAttributes.DataType Entries.MessageAttributes.StringValue Entries.MessageAttributes.BinaryValue",
		sendBatch),
	"ReceiveMessage": long("QueueUrl AttributeNames MessageSystemAttributeNames MessageAttributeNames MaxNumberOfMessages VisibilityTimeout WaitTimeSeconds", receive),
	"DeleteMessage": on("QueueUrl ReceiptHandle",
		func(c *cloud.Cloud, in *sqs.DeleteMessageInput) (*sqs.DeleteMessageOutput, error) {
			return &sqs.DeleteMessageOutput{}, c.DeleteMessage(aws.ToString(in.QueueUrl), aws.ToString(in.ReceiptHandle))
		}),
	"DeleteMessageBatch": on("QueueUrl Entries.Id Entries.ReceiptHandle", deleteBatch),
	"ChangeMessageVisibility": on("QueueUrl ReceiptHandle VisibilityTimeout",
		func(c *cloud.Cloud, in *sqs.ChangeMessageVisibilityInput) (*sqs.ChangeMessageVisibilityOutput, error) {
			err := c.ChangeMessageVisibility(aws.ToString(in.QueueUrl), aws.ToString(in.ReceiptHandle), seconds(&in.VisibilityTimeout))
			return &sqs.ChangeMessageVisibilityOutput{}, err
		}),
	"ChangeMessageVisibilityBatch": on("QueueUrl Entries.Id Entries.ReceiptHandle Entries.VisibilityTimeout", changeBatch),
}

// ReceiveMessageInput is the SDK's own but for its numbers, which cannot tell 0 from none; both mean something.
type ReceiveMessageInput struct {
	QueueUrl                                                *string
	AttributeNames, MessageSystemAttributeNames             []string // the old name and the new
	MessageAttributeNames                                   []string
	MaxNumberOfMessages, VisibilityTimeout, WaitTimeSeconds *int32
}

func receive(ctx context.Context, c *cloud.Cloud, in *ReceiveMessageInput) (*sqs.ReceiveMessageOutput, error) {
	r := cloud.Receive{Visibility: span(in.VisibilityTimeout), Wait: span(in.WaitTimeSeconds)}
	if in.MaxNumberOfMessages != nil {
		if r.Max = int(*in.MaxNumberOfMessages); r.Max == 0 {
			r.Max = -1 // as wrong as any other below 1
		}
	}
	got, err := c.AwaitMessage(ctx, aws.ToString(in.QueueUrl), r)
	system := slices.Concat(in.AttributeNames, in.MessageSystemAttributeNames)
	return &sqs.ReceiveMessageOutput{Messages: list(got, func(m cloud.Message) types.Message { return showMessage(m, system, in.MessageAttributeNames) })}, err
}

func span(n *int32) *time.Duration {
	if n == nil {
		return nil
	}
	return new(seconds(n))
}

func showMessage(m cloud.Message, system, own []string) types.Message {
	all := map[string]string{
		"SenderId": m.Sender, "SentTimestamp": millis(m.Sent), "ApproximateReceiveCount": strconv.Itoa(m.Receives), "ApproximateFirstReceiveTimestamp": millis(m.FirstReceived),
	}
	if m.DeadLetterSource != "" {
		all["DeadLetterQueueSourceArn"] = m.DeadLetterSource
	}
	maps.DeleteFunc(all, func(name, _ string) bool { return !slices.Contains(system, name) && !slices.Contains(system, "All") })
	out := types.Message{MessageId: &m.ID, Body: &m.Body, ReceiptHandle: &m.Handle, MD5OfBody: digest(m.Body)}
	if len(all) > 0 {
		out.Attributes = all
	}
	for name, a := range m.Attributes {
		if !slices.ContainsFunc(own, func(want string) bool { return wanted(want, name) }) {
			continue
		}
		if out.MessageAttributes == nil {
			out.MessageAttributes = map[string]types.MessageAttributeValue{}
		}
		out.MessageAttributes[name] = types.MessageAttributeValue{DataType: &a.DataType, StringValue: optional(a.Text), BinaryValue: a.Binary}
	}
	out.MD5OfMessageAttributes = digestAttributes(out.MessageAttributes)
	return out
}

// wanted understands names of message attributes: one by one, by a prefix, or all.
func wanted(want, name string) bool {
	prefix, isPrefix := strings.CutSuffix(want, ".*")
	return want == name || want == "All" || isPrefix && strings.HasPrefix(name, prefix)
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

func readOutgoing(body *string, delay int32, attributes map[string]types.MessageAttributeValue) cloud.Outgoing {
	m := cloud.Outgoing{Body: aws.ToString(body)}
	if delay != 0 {
		m.Delay = span(&delay)
	}
	for name, a := range attributes {
		if m.Attributes == nil {
			m.Attributes = map[string]cloud.MessageAttribute{}
		}
		m.Attributes[name] = cloud.MessageAttribute{DataType: aws.ToString(a.DataType), Text: aws.ToString(a.StringValue), Binary: a.BinaryValue}
	}
	return m
}

func digest(body string) *string {
	sum := md5.Sum([]byte(body))
	return new(hex.EncodeToString(sum[:]))
}

// digestAttributes is SQS's: names in order, and of each name, type and value with their lengths, values marked as text or bytes.
func digestAttributes(all map[string]types.MessageAttributeValue) *string {
	if len(all) == 0 {
		return nil
	}
	var b []byte
	put := func(s string) { b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...) }
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a := all[name]
		put(name)
		put(aws.ToString(a.DataType))
		if a.StringValue != nil {
			b = append(b, 1)
			put(*a.StringValue)
		} else {
			b = append(b, 2)
			put(string(a.BinaryValue))
		}
	}
	return digest(string(b))
}

var entryID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// checkIDs refuses a batch whose answers could not be told apart.
func checkIDs(ids []string) error {
	seen := map[string]bool{}
	for _, id := range ids {
		if !entryID.MatchString(id) {
			return &cloud.Error{Code: "InvalidBatchEntryId", Message: "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.", Status: 400}
		}
		if seen[id] {
			return &cloud.Error{Code: "BatchEntryIdsNotDistinct", Message: "Id " + id + " repeated.", Status: 400}
		}
		seen[id] = true
	}
	return nil
}

// divide tells the entries of a batch that went well from those that failed.
func divide(ids []string, failed []error) (good []int, bad []types.BatchResultErrorEntry) {
	bad = []types.BatchResultErrorEntry{}
	for i, err := range failed {
		if err == nil {
			good = append(good, i)
			continue
		}
		known := &cloud.Error{Code: "InternalError", Message: err.Error(), Status: 500}
		errors.As(err, &known)
		bad = append(bad, types.BatchResultErrorEntry{Id: &ids[i], Code: new(queryCode(known.Code)), Message: &known.Message, SenderFault: known.Status < 500})
	}
	return good, bad
}

func sendBatch(c *cloud.Cloud, in *sqs.SendMessageBatchInput) (*sqs.SendMessageBatchOutput, error) {
	ids := list(in.Entries, func(e types.SendMessageBatchRequestEntry) string { return aws.ToString(e.Id) })
	if err := checkIDs(ids); err != nil {
		return nil, err
	}
	sent, failed, err := c.SendMessageBatch(aws.ToString(in.QueueUrl), list(in.Entries, func(e types.SendMessageBatchRequestEntry) cloud.Outgoing {
		return readOutgoing(e.MessageBody, e.DelaySeconds, e.MessageAttributes)
	}))
	good, bad := divide(ids, failed)
	return &sqs.SendMessageBatchOutput{Failed: bad, Successful: orEmpty(list(good, func(i int) types.SendMessageBatchResultEntry {
		e := in.Entries[i]
		return types.SendMessageBatchResultEntry{
			Id: e.Id, MessageId: &sent[i], MD5OfMessageBody: digest(aws.ToString(e.MessageBody)), MD5OfMessageAttributes: digestAttributes(e.MessageAttributes),
		}
	}))}, err
}

func deleteBatch(c *cloud.Cloud, in *sqs.DeleteMessageBatchInput) (*sqs.DeleteMessageBatchOutput, error) {
	ids := list(in.Entries, func(e types.DeleteMessageBatchRequestEntry) string { return aws.ToString(e.Id) })
	if err := checkIDs(ids); err != nil {
		return nil, err
	}
	failed, err := c.DeleteMessageBatch(aws.ToString(in.QueueUrl), list(in.Entries, func(e types.DeleteMessageBatchRequestEntry) string { return aws.ToString(e.ReceiptHandle) }))
	good, bad := divide(ids, failed)
	return &sqs.DeleteMessageBatchOutput{Failed: bad, Successful: orEmpty(list(good, func(i int) types.DeleteMessageBatchResultEntry {
		return types.DeleteMessageBatchResultEntry{Id: &ids[i]}
	}))}, err
}

func changeBatch(c *cloud.Cloud, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	ids := list(in.Entries, func(e types.ChangeMessageVisibilityBatchRequestEntry) string { return aws.ToString(e.Id) })
	if err := checkIDs(ids); err != nil {
		return nil, err
	}
	failed, err := c.ChangeMessageVisibilityBatch(aws.ToString(in.QueueUrl), list(in.Entries, func(e types.ChangeMessageVisibilityBatchRequestEntry) cloud.VisibilityChange {
		return cloud.VisibilityChange{Handle: aws.ToString(e.ReceiptHandle), Timeout: seconds(&e.VisibilityTimeout)}
	}))
	good, bad := divide(ids, failed)
	return &sqs.ChangeMessageVisibilityBatchOutput{Failed: bad, Successful: orEmpty(list(good, func(i int) types.ChangeMessageVisibilityBatchResultEntry {
		return types.ChangeMessageVisibilityBatchResultEntry{Id: &ids[i]}
	}))}, err
}

// oldCodes are SQS's errors as its query protocol called them. SQS still sends them beside the new ones, and clients go by them.
var oldCodes = map[string]string{
	"QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue", "QueueNameExists": "QueueAlreadyExists", "QueueDeletedRecently": "AWS.SimpleQueueService.QueueDeletedRecently",
	"PurgeQueueInProgress": "AWS.SimpleQueueService.PurgeQueueInProgress", "EmptyBatchRequest": "AWS.SimpleQueueService.EmptyBatchRequest",
	"TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", "BatchEntryIdsNotDistinct": "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
	"InvalidBatchEntryId": "AWS.SimpleQueueService.InvalidBatchEntryId",
}

func queryCode(code string) string { return or(oldCodes[code], code) }
