package aws

import "time"

// SetClock has the hand read another clock than the machine's, such as that of a simulated region.
func (c *Cloud) SetClock(now func() time.Time) { c.now = now }

// SetClock has the queue read another clock than the machine's, by which nothing is known yet.
func (q *Queue) SetClock(now func() time.Time) { q.now, q.letters = now, letters{} }
