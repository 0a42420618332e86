package fast

import (
	"context"
	"errors"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// Queue is the hand on a queue of the world's SQS: it receives by turns, and never waits.
type Queue struct {
	w         *World
	url, dead string // dead is where messages are set aside
}

// Queue returns a hand on a queue, with the queue for what is set aside.
func (w *World) Queue(url, dead string) *Queue { return &Queue{w, url, dead} }

// atOnce is how many messages SQS hands out at once.
const atOnce = 10

// Receive returns the messages that are there, at most ten.
func (q *Queue) Receive(context.Context) ([]fleet.Message, error) {
	found, err := q.w.Cloud.ReceiveMessage(q.url, cloud.Receive{Max: atOnce})
	if err != nil {
		return nil, explain(err)
	}
	var out []fleet.Message
	for _, m := range found {
		out = append(out, fleet.Message{ID: m.ID, Receipt: m.Handle, Body: m.Body, Sent: m.Sent, Times: m.Receives})
	}
	return out, nil
}

// Delete is done with messages. What SQS does not delete is an error, after all of them were tried.
func (q *Queue) Delete(_ context.Context, ms []fleet.Message) error {
	var handles []string
	for _, m := range ms {
		handles = append(handles, m.Receipt)
	}
	failed, err := q.w.Cloud.DeleteMessageBatch(q.url, handles)
	for _, f := range failed {
		err = errors.Join(err, explain(f))
	}
	return explain(err)
}

// Release has a message come again after a while.
func (q *Queue) Release(_ context.Context, m fleet.Message, after time.Duration) error {
	return explain(q.w.Cloud.ChangeMessageVisibility(q.url, m.Receipt, after))
}

// SetAside sends a message to the dead-letter queue, with the reason, then deletes it: killed in between, it is there twice, and never nowhere.
func (q *Queue) SetAside(_ context.Context, m fleet.Message, why string) error {
	out := cloud.Outgoing{Body: m.Body, Attributes: map[string]cloud.MessageAttribute{"why": {DataType: "String", Text: why}}}
	if _, err := q.w.Cloud.SendMessage(q.dead, out); err != nil {
		return explain(err)
	}
	return explain(q.w.Cloud.DeleteMessage(q.url, m.Receipt))
}
