package aws

import "time"

// SetClock has the hand read another clock than the machine's, such as that of a simulated region.
func (c *Cloud) SetClock(now func() time.Time) { c.now = now }
