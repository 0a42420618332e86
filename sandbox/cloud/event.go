package cloud

import (
	"sync"
	"time"
)

// EventKind says what happened.
type EventKind string

const (
	InstanceLaunched   EventKind = "InstanceLaunched"   // EC2 state pending
	InstanceRunning    EventKind = "InstanceRunning"    // EC2 state running; the operating system starts
	InstanceBooted     EventKind = "InstanceBooted"     // the operating system is ready
	InstanceStopping   EventKind = "InstanceStopping"   // shutting-down, stopping, or a reboot: the machine must die now
	InstanceTerminated EventKind = "InstanceTerminated" // EC2 state terminated
	InstanceStopped    EventKind = "InstanceStopped"    // EC2 state stopped: it can be started again
	InstanceStarted    EventKind = "InstanceStarted"    // a stopped instance is pending again; InstanceRunning and InstanceBooted follow
	TargetRegistered   EventKind = "TargetRegistered"
	TargetHealth       EventKind = "TargetHealth" // a target became healthy, unhealthy or unused
	TargetDraining     EventKind = "TargetDraining"
	TargetRemoved      EventKind = "TargetRemoved"
	GroupChanged       EventKind = "GroupChanged" // a group's settings or its list of instances changed
	ActivityRecorded   EventKind = "ActivityRecorded"
	NodegroupChanged   EventKind = "NodegroupChanged" // a node group's state or settings changed, or it is gone
	DatabaseChanged    EventKind = "DatabaseChanged"  // a DB instance's or cluster's state or settings changed, or it is gone

	// What EKS does to nodes in the cluster's API is for others to do: the cloud knows no nodes and no pods.
	NodeCordon   EventKind = "NodeCordon"   // make it unschedulable and take it out of external load balancers
	NodeUncordon EventKind = "NodeUncordon" // take that back
	NodeDrain    EventKind = "NodeDrain"    // evict its pods, then ReportNodeDrained
	NodeChanged  EventKind = "NodeChanged"  // its labels and taints are the instance's by now
)

// Event is one thing that happened. Which fields are set follows from Kind: Instance for the instance kinds and the node kinds; TargetGroup (an ARN)
// and Target for the target kinds; Group (a name) for GroupChanged; Nodegroup for NodegroupChanged; Database for DatabaseChanged; Group and Activity for ActivityRecorded, which comes when an
// activity begins and again when its status changes.
type Event struct {
	Seq         int
	At          time.Time
	Kind        EventKind
	Instance    Instance
	TargetGroup string
	Target      Target
	Group       string
	Activity    Activity
	Nodegroup   Nodegroup
	Database    string // "instance NAME" or "cluster NAME"
}

// Feed is a subscription read by asking: Take returns at once with what has come since the last time. An in-memory story uses
// it between two steps of a VirtualClock, where a channel would bring in the scheduler's mood.
type Feed struct {
	mu     sync.Mutex
	queue  []Event
	more   chan struct{} // holds one token while the queue has something new, and when the feed ends
	ended  bool
	cancel func()
}

// Take returns, in order, the events since the last call.
func (f *Feed) Take() []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	got := f.queue
	f.queue = nil
	return got
}

// Close ends the feed; events not yet taken are dropped.
func (f *Feed) Close() { f.cancel() }

func (f *Feed) put(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended {
		f.queue = append(f.queue, e)
		f.ring()
	}
}

func (f *Feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.ring()
}

func (f *Feed) ring() {
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// Feed begins a subscription that is read by asking.
func (c *Cloud) Feed() *Feed {
	f := &Feed{more: make(chan struct{}, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastFeed++
	id := c.lastFeed
	f.cancel = func() {
		c.mu.Lock()
		delete(c.feeds, id)
		c.mu.Unlock()
		f.end()
	}
	if c.closed {
		f.ended = true
		f.ring()
		return f
	}
	c.feeds[id] = f
	return f
}

// Subscribe begins a subscription that is read from a channel. Events come in order and are buffered without bound, so that a
// slow reader never holds up the cloud. The channel is closed after cancel, or after Close once everything has been read.
func (c *Cloud) Subscribe() (<-chan Event, func()) {
	f := c.Feed()
	out := make(chan Event)
	gone := make(chan struct{})
	var once sync.Once
	go func() {
		defer close(out)
		for range f.more {
			for _, e := range f.Take() {
				select {
				case out <- e:
				case <-gone:
					return
				}
			}
			f.mu.Lock()
			ended := f.ended && len(f.queue) == 0
			f.mu.Unlock()
			if ended {
				return
			}
		}
	}()
	return out, func() {
		once.Do(func() { close(gone) })
		f.Close()
	}
}

// emit hands e to every feed; the lock is held, so all see the same order.
func (c *Cloud) emit(e Event) {
	c.seq++
	e.Seq, e.At = c.seq, c.now()
	for _, f := range c.feeds {
		f.put(e)
	}
}
