package cloud

import (
	"sync"
	"time"
)

// Clock is the only source of time in the cloud. AfterFunc must not call f before it returns: the cloud calls it under its lock.
type Clock interface {
	Now() time.Time
	AfterFunc(d time.Duration, f func()) (stop func())
}

type realClock struct{ speed float64 }

// RealClock shows the machine's own time but divides every duration by speed: at speed 10 a boot of a minute takes six
// seconds. Time stamps stay real, so that they agree with those of other programs. A speed of 0 or less means 1.
func RealClock(speed float64) Clock {
	if speed <= 0 {
		speed = 1
	}
	return realClock{speed}
}

func (c realClock) Now() time.Time { return time.Now() }

func (c realClock) AfterFunc(d time.Duration, f func()) func() {
	t := time.AfterFunc(time.Duration(float64(d)/c.speed), f)
	return func() { t.Stop() }
}

// VirtualClock stands still until Advance. Callbacks due at the same moment run in the order in which they were asked for.
type VirtualClock struct {
	mu    sync.Mutex
	now   time.Time
	seq   int
	alarm map[int]alarm
}

type alarm struct {
	at time.Time
	f  func()
}

// NewVirtualClock returns a clock that shows start.
func NewVirtualClock(start time.Time) *VirtualClock {
	return &VirtualClock{now: start, alarm: map[int]alarm{}}
}

func (c *VirtualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *VirtualClock) AfterFunc(d time.Duration, f func()) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	id := c.seq
	c.alarm[id] = alarm{c.now.Add(max(d, 0)), f}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.alarm, id)
	}
}

// Advance moves the clock by d and runs every callback that falls due on the way, each at its own moment and on the caller's
// goroutine; callbacks may ask for further ones. Only one goroutine may advance a clock.
func (c *VirtualClock) Advance(d time.Duration) {
	c.mu.Lock()
	end := c.now.Add(d)
	for {
		id, ok := c.first()
		if !ok || c.alarm[id].at.After(end) {
			break
		}
		a := c.alarm[id]
		delete(c.alarm, id)
		c.now = a.at
		c.mu.Unlock()
		a.f()
		c.mu.Lock()
	}
	c.now = end
	c.mu.Unlock()
}

// Next tells when the earliest callback is due, so that a story can jump from event to event.
func (c *VirtualClock) Next() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, ok := c.first()
	return c.alarm[id].at, ok
}

// first searches all alarms: there are a few per instance, and a plain search cannot get the order wrong.
func (c *VirtualClock) first() (int, bool) {
	best, found := 0, false
	for id, a := range c.alarm {
		b := c.alarm[best]
		if !found || a.at.Before(b.at) || a.at.Equal(b.at) && id < best {
			best, found = id, true
		}
	}
	return best, found
}
