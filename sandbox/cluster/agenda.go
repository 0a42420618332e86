package cluster

import (
	"container/heap"
	"time"
)

// Clock is the only source of time. AfterFunc must not call f before it returns, because the cluster calls it under its lock, nor before Now has
// moved by d: a clock that shortens durations but shows real time will not do.
type Clock interface {
	Now() time.Time
	AfterFunc(d time.Duration, f func()) (stop func())
}

// agenda is what will happen, soonest first. The cluster keeps it itself and asks the clock for one alarm only, because a clock may search all
// of its alarms at every step.
type agenda struct {
	queue events
	seq   int
	alarm time.Time // when the clock's alarm rings; zero when none is set
	stop  func()
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = event{}
	*e = old[:len(old)-1]
	return last
}

// after runs do under the lock when d has passed. Whatever do captured may have changed or gone by then.
func (c *Cluster) after(d time.Duration, do func()) {
	c.agenda.seq++
	heap.Push(&c.agenda.queue, event{c.now.Add(max(d, 0)), c.agenda.seq, do})
}

// arm asks the clock to ring for the first event.
func (c *Cluster) arm() {
	a := &c.agenda
	if len(a.queue) == 0 || a.queue[0].at.Equal(a.alarm) {
		return
	}
	if a.stop != nil {
		a.stop()
	}
	a.alarm = a.queue[0].at
	at := a.alarm
	a.stop = c.clock.AfterFunc(at.Sub(c.now), func() { c.ring(at) })
}

// ring lets everything of this moment happen, then the controllers react to all of it.
func (c *Cluster) ring(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.agenda.alarm.Equal(at) {
		return // another alarm took this one's place
	}
	c.agenda.alarm, c.agenda.stop = time.Time{}, nil
	c.now = c.clock.Now()
	for len(c.agenda.queue) > 0 && !c.agenda.queue[0].at.After(c.now) {
		heap.Pop(&c.agenda.queue).(event).do()
	}
	c.settle()
}
