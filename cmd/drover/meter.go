package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"drover.dev/aws"
	"drover.dev/engine"
	"drover.dev/fleet"
	"drover.dev/metrics"
)

// meter counts what a controller does.
type meter struct {
	set *metrics.Set

	mu     sync.Mutex
	leads  bool
	at     time.Time // of the last tick
	cases  map[string]*course
	movers map[string]fleet.Mover // by store
}

// course is how far a case was when it was last seen.
type course struct {
	opened time.Time
	shut   bool
	empty  bool
}

func newMeter(set *metrics.Set) *meter {
	return &meter{set: set, cases: map[string]*course{}, movers: map[string]fleet.Mover{}}
}

func (m *meter) lead(leads bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leads, m.at = leads, time.Now()
	m.set.Leader(leads)
	if !leads { // the figures are the next leader's
		m.set.Cases(nil)
		m.set.Holds(nil)
		m.set.Moving(nil)
		m.set.Environments(nil)
		m.cases = map[string]*course{}
	}
}

// alive notes that a tick begins: trouble in observing is no reason to be restarted, a tick that hangs is.
func (m *meter) alive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = time.Now()
}

// silent is how long a leader may go without a tick before it counts as hung.
const silent = 3 * time.Minute

// healthy is bad only when restarting the process would help: not when AWS or the API server is away.
func (m *meter) healthy() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leads && time.Since(m.at) > silent {
		return errors.New("leads, and has not looked at the fleet for " + time.Since(m.at).Round(time.Second).String())
	}
	return nil
}

// ready tells whether the process leads or is ready to.
func (m *meter) ready() error { return nil }

func (m *meter) hear(h engine.Heard) {
	if h.Fate == engine.Poison {
		m.set.Poison()
		m.set.Notice("none", "none", string(h.Fate))
		return
	}
	m.set.Notice(string(h.Notice.Kind), string(h.Notice.Source), string(h.Fate))
	if h.Fate == engine.Stored && h.Took > 0 {
		m.set.Delay(h.Took)
	}
}

func (m *meter) note(n engine.Note) {
	if n.Action == nil {
		return
	}
	result := outcomeOf(n.Err)
	m.set.Action(string(n.Action.Verb), result)
	switch n.Action.Verb {
	case fleet.Evict:
		m.set.Evicted(result)
	case fleet.Delete:
		if n.Err == nil {
			m.set.Killed()
		}
	case fleet.Heartbeat:
		m.set.Heartbeat(result)
	case fleet.Complete:
		m.set.Completed(result)
	case fleet.Engage, fleet.Disengage:
		m.move(n)
	}
}

func outcomeOf(err error) string {
	var refused *fleet.Refused
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &refused) && !refused.Denied:
		return "refused"
	}
	return "failed"
}

// countCalls has every attempt of a call to AWS counted, with AWS's error code.
func (m *meter) countCalls(cfg *sdk.Config) {
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("drover counts", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, meta, err := next.HandleDeserialize(ctx, in)
			code := "OK"
			var api smithy.APIError
			switch {
			case errors.As(err, &api):
				code = api.ErrorCode()
			case err != nil:
				code = "none"
			}
			m.set.Call(awsmiddleware.GetOperationName(ctx), code)
			return out, meta, err
		}), middleware.Before)
	})
}

// see derives from one look what has happened since the last one.
func (m *meter) see(v engine.View) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set.Tick(v.Took)
	phases := map[string]int{}
	for _, e := range v.Exits {
		phases[string(e.Phase)]++
	}
	m.set.Cases(phases)
	holds := map[string]int{}
	for _, h := range v.Holds {
		class, _, _ := strings.Cut(h.Subject, " ") // node, pod, budget, instance, group, a kind of workload
		holds[class]++
	}
	m.set.Holds(holds)
	exits := map[string]fleet.ExitProgress{}
	for _, e := range v.Exits {
		exits[e.Departure.Instance] = e
	}
	for i := range v.Cases {
		m.follow(v.At, &v.Cases[i], exits[v.Cases[i].Instance])
	}
}

func (m *meter) follow(now time.Time, c *fleet.Case, e fleet.ExitProgress) {
	k := m.cases[c.Instance]
	if !c.Open() {
		if k != nil {
			m.set.Ended(c.Marks.Ended.Sub(c.Opened))
			if k.shut && !k.empty && !c.Deadline.IsZero() && strings.HasPrefix(c.Marks.End, "gone") {
				m.set.Margin(min(c.Deadline.Sub(c.Marks.Ended), -time.Second)) // gone with its pods
			}
			delete(m.cases, c.Instance)
		}
		return
	}
	if k == nil || !k.opened.Equal(c.Opened) {
		k = &course{opened: c.Opened}
		m.cases[c.Instance] = k
	}
	if !k.shut && (e.Phase == fleet.ExitEmptying || e.Phase == fleet.ExitLeaving) {
		k.shut = true
		m.set.Shut(now.Sub(c.Since()))
	}
	if !k.empty && e.Phase == fleet.ExitLeaving {
		k.empty = true
		if !c.Deadline.IsZero() {
			m.set.Margin(c.Deadline.Sub(now))
		}
	}
}

// watchQueue measures the queue now and then.
func (m *meter) watchQueue(ctx context.Context, q *aws.Queue) {
	for ctx.Err() == nil {
		if d, err := q.Depth(ctx); err == nil {
			m.set.Queue(map[string]int{"visible": d.Visible, "in-flight": d.InFlight, "delayed": d.Delayed}, d.Oldest)
		}
		pause(ctx, 30*time.Second)
	}
}
