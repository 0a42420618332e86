package imds

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"drover.dev/fleet"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// patience bounds how far apart questions get while the service does not answer. It is half of what a spot instance is given.
const patience = time.Minute

// Watch asks at every tick, and tells emit what is new, what changed, and, with Over, what is announced no longer. What emit does not take is told again
// at the next tick. It returns when ctx ends, with its cause. trouble, if not nil, is told every error: it does not end the watch, but the ticks get
// further apart while nothing at all is answered.
func Watch(ctx context.Context, c *imds.Client, every time.Duration, emit func(fleet.Notice) error, trouble func(error)) error {
	if every <= 0 {
		return fmt.Errorf("watch metadata every %s: want more than nothing", every)
	}
	w := &watch{client: c, emit: emit, trouble: trouble, told: map[string]map[string]fleet.Notice{}}
	if trouble == nil {
		w.trouble = func(error) {}
	}
	wait := every
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-next.C:
		}
		began := time.Now()
		if wait = min(2*wait, max(every, patience)); w.tick(ctx) {
			wait = every
		}
		next.Reset(max(0, wait-time.Since(began))) // what the answers took is no part of the wait: ticks do not drift
	}
}

type watch struct {
	client  *imds.Client
	emit    func(fleet.Notice) error
	trouble func(error)
	self    Self
	told    map[string]map[string]fleet.Notice // what emit took and still holds, by item and ID
}

// tick asks once. It tells whether anything was answered.
func (w *watch) tick(ctx context.Context) (answered bool) {
	if w.self.Instance == "" {
		self, err := Identity(ctx, w.client)
		if err != nil {
			w.report(ctx, err)
			return false
		}
		w.self = self
	}
	for _, it := range items {
		ns, err := w.ask(ctx, it)
		if err != nil {
			w.report(ctx, err) // what was told of it before stands: silence is no cancellation
			continue
		}
		answered = true
		w.tell(ctx, it.path, ns)
	}
	return answered
}

func (w *watch) ask(ctx context.Context, it item) ([]fleet.Notice, error) {
	body, err := ask(ctx, w.client, it.path)
	if err != nil || body == "" {
		return nil, err
	}
	blank := fleet.Notice{Source: fleet.FromMetadata, At: time.Now().UTC(), Instance: w.self.Instance, Region: w.self.Region, Account: w.self.Account}
	ns, err := it.read(blank, body)
	if err != nil {
		return nil, fmt.Errorf("read metadata %s: %w", it.path, err)
	}
	return ns, nil
}

// tell emits what differs from what was told of an item.
func (w *watch) tell(ctx context.Context, path string, ns []fleet.Notice) {
	if w.told[path] == nil {
		w.told[path] = map[string]fleet.Notice{}
	}
	told, now := w.told[path], map[string]bool{}
	for _, n := range ns {
		now[n.ID] = true
		if before, known := told[n.ID]; known && same(before, n) {
			continue
		}
		if err := w.emit(n); err != nil {
			w.report(ctx, fmt.Errorf("tell that %s: %w", n.Why, err))
			continue
		}
		told[n.ID] = n
	}
	for _, id := range slices.Sorted(maps.Keys(told)) {
		n := told[id]
		if now[id] {
			continue
		}
		n.Over, n.At, n.Why = true, time.Now().UTC(), "the metadata no longer says that "+n.Why
		if err := w.emit(n); err != nil {
			w.report(ctx, fmt.Errorf("tell that %s: %w", n.Why, err))
			continue
		}
		delete(told, id)
	}
}

// same compares what the metadata said, and not when it was asked.
func same(a, b fleet.Notice) bool {
	return a.Effect == b.Effect && a.Deadline.Equal(b.Deadline) && a.Destination == b.Destination && a.Origin == b.Origin
}

// report tells of trouble, unless it is only that the watch ends.
func (w *watch) report(ctx context.Context, err error) {
	if ctx.Err() == nil {
		w.trouble(err)
	}
}
