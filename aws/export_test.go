package aws

import (
	"context"
	"time"
)

// SetClock has the hand read another clock than the machine's, such as that of a simulated region.
func (c *Cloud) SetClock(now func() time.Time) { c.now = now }

// SetClock has the queue read another clock than the machine's, by which nothing is known yet.
func (q *Queue) SetClock(now func() time.Time) { q.now, q.letters = now, letters{} }

// Ask asks something that the groups can be seen without.
func (c *Cloud) Ask(ctx context.Context, what, right string, ask func(context.Context) error) (bool, error) {
	return c.aside(ctx, what, right, ask)
}

// Remembered counts what the hand remembers of instances and groups.
func (c *Cloud) Remembered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.met) + len(c.scalings) + len(c.targets) + len(c.managed) + len(c.hooks) + len(c.surveyed.seen)
}
