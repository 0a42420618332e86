package fast

import (
	"testing"
	"time"

	"drover.dev/sandbox/cloud"
)

// newQueue makes a queue with one for what is set aside.
func newQueue(l *lab) *Queue {
	l.t.Helper()
	dead, err := l.Cloud.CreateQueue("dead", nil, nil)
	l.must(err)
	url, err := l.Cloud.CreateQueue("live", map[string]string{"VisibilityTimeout": "30"}, nil)
	l.must(err)
	return l.Queue(url, dead)
}

func (l *lab) held(url string) int {
	l.t.Helper()
	all, err := l.Cloud.Queued(url)
	l.must(err)
	return len(all)
}

func TestQueue(t *testing.T) {
	l := newLab(t, Options{})
	q := newQueue(l)
	for _, body := range []string{"a", "b", "c"} {
		_, err := l.Cloud.SendMessage(q.url, cloud.Outgoing{Body: body})
		l.must(err)
	}
	first, err := q.Receive(t.Context())
	l.must(err)
	l.equal("received", len(first), 3)
	again, err := q.Receive(t.Context())
	l.must(err)
	l.equal("hidden", len(again), 0)
	l.must(q.Delete(t.Context(), first[:1]))
	l.must(q.SetAside(t.Context(), first[1], "not understood"))
	l.must(q.Release(t.Context(), first[2], time.Minute))
	l.equal("left", l.held(q.url), 1)
	aside, err := l.Cloud.Queued(q.dead)
	l.must(err)
	l.equal("set aside", []string{aside[0].Body, aside[0].Attributes["why"].Text}, []string{first[1].Body, "not understood"})
	l.Advance(59 * time.Second)
	again, err = q.Receive(t.Context())
	l.must(err)
	l.equal("before its time", len(again), 0)
	l.Advance(time.Second)
	again, err = q.Receive(t.Context())
	l.must(err)
	l.equal("after it", len(again), 1)
	l.equal("times", again[0].Times, 2)
}

// A message that was delivered again is deleted by the newest receipt only; what SQS does not delete comes again.
func TestStaleReceiptsAreErrors(t *testing.T) {
	l := newLab(t, Options{})
	q := newQueue(l)
	l.Cloud.RefuseStaleHandles(true)
	_, err := l.Cloud.SendMessage(q.url, cloud.Outgoing{Body: "a"})
	l.must(err)
	first, err := q.Receive(t.Context())
	l.must(err)
	l.Advance(time.Minute)
	second, err := q.Receive(t.Context())
	l.must(err)
	if err := q.Delete(t.Context(), first); err == nil {
		t.Error("an old receipt deleted it")
	}
	l.equal("left", l.held(q.url), 1)
	l.must(q.Delete(t.Context(), second))
	l.equal("left", l.held(q.url), 0)
}
