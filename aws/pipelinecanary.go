package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"drover.dev/pipeline"
)

const (
	// canaryPoll is how long one receive waits for the canary.
	canaryPoll = 5 * time.Second
	// releaseWithin bounds giving back what was received, when the time for the rest is over already.
	releaseWithin = 10 * time.Second
)

// SendCanary puts a test event on the bus.
func (c *Cloud) SendCanary(ctx context.Context, canary pipeline.Canary) error {
	detail := canary.Detail()
	out, err := c.events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{{
		Source: sdk.String(pipeline.CanarySource), DetailType: sdk.String(pipeline.CanaryType), Detail: &detail,
	}}})
	if err != nil {
		return doing("put a canary on the event bus", err)
	}
	for _, e := range out.Entries {
		if e.ErrorCode != nil {
			return fmt.Errorf("put a canary on the event bus: %s: %s", *e.ErrorCode, sdk.ToString(e.ErrorMessage))
		}
	}
	return nil
}

// AwaitCanary takes messages from the queue until the canary is among them or ctx ends, which is no error: came tells. Messages of others are held
// back meanwhile, so that none is received twice, which would count against it, and given back at the end. A receive that has begun is heard to its
// end, whatever ctx does: what it was given and nobody noted would stay hidden.
func (c *Cloud) AwaitCanary(ctx context.Context, queue string, canary pipeline.Canary, within time.Duration) (came bool, err error) {
	url, err := c.queueURL(ctx, queue)
	if err != nil {
		return false, err
	}
	if url == "" {
		return false, fmt.Errorf("receive from queue %s: there is none", queue)
	}
	var others []sqstypes.Message
	defer func() { err = errors.Join(err, c.giveBack(ctx, queue, url, others)) }()
	hold := within + canaryPoll + releaseWithin
	for ctx.Err() == nil && !came {
		ms, err := c.someMessages(ctx, url, hold)
		if err != nil {
			return false, doing("receive from queue "+queue, err)
		}
		for _, m := range ms {
			if pipeline.CanaryOf(sdk.ToString(m.Body)) != canary {
				others = append(others, m)
				continue
			}
			came = true
			if err := c.deleteMessage(ctx, url, m); err != nil {
				return came, doing("delete the canary from queue "+queue, err)
			}
		}
	}
	return came, nil
}

// someMessages receives once.
func (c *Cloud) someMessages(ctx context.Context, url string, hold time.Duration) ([]sqstypes.Message, error) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), canaryPoll+releaseWithin)
	defer stop()
	out, err := c.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: messagesAtOnce, WaitTimeSeconds: int32(canaryPoll / time.Second), VisibilityTimeout: int32(hold / time.Second),
	})
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}

func (c *Cloud) deleteMessage(ctx context.Context, url string, m sqstypes.Message) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer stop()
	_, err := c.sqs.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle})
	return err
}

// giveBack has messages come again at once, to whoever receives them.
func (c *Cloud) giveBack(ctx context.Context, queue, url string, messages []sqstypes.Message) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer stop()
	for some := range slices.Chunk(messages, messagesAtOnce) {
		in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &url}
		for i, m := range some {
			in.Entries = append(in.Entries, sqstypes.ChangeMessageVisibilityBatchRequestEntry{Id: sdk.String(fmt.Sprintf("m%d", i)), ReceiptHandle: m.ReceiptHandle})
		}
		if _, err := c.sqs.ChangeMessageVisibilityBatch(ctx, in); err != nil {
			return doing("give messages back to queue "+queue, err)
		}
	}
	return nil
}
