package fleet

import "time"

// Notice is one signal from outside: an instance is going, may be going soon, or is coming.
type Notice struct {
	Kind   NoticeKind
	Source Source
	ID     string    // tells it from other signals about its instance; the same when it is delivered again or heard from another source
	At     time.Time // when it was sent
	Why    string    // in words, for people

	Instance string // EC2 id
	Group    string // Auto Scaling group, where the signal names one
	Hook     string // lifecycle hook that waits
	Token    string // of the wait; the instance's id does as well

	// Origin and Destination are Auto Scaling's words (EC2, AutoScalingGroup, WarmPool): an instance on its way to the warm pool does not die.
	// What a block of capacity that ends is called, Origin says too; a canary's cluster is its Destination.
	Origin, Destination string

	Effect   string    // what happens to the machine: terminate, stop, hibernate, reboot; for a state change the state
	Deadline time.Time // when that happens whatever anybody does; zero when nobody says, or when it waits
	Over     bool      // takes the signal of this ID back
	Account  string
	Region   string
}

// NoticeKind is what a notice is about.
type NoticeKind string

// The kinds. Their words are those of metrics, objects and the CLI.
const (
	TerminateHook       NoticeKind = "terminate-hook"       // Auto Scaling holds an instance before it ends it
	LaunchHook          NoticeKind = "launch-hook"          // Auto Scaling holds a new instance before it puts it into service
	SpotInterruption    NoticeKind = "spot"                 // EC2 takes a spot instance back in two minutes
	Rebalance           NoticeKind = "rebalance"            // EC2 may take a spot instance back soon
	StateChange         NoticeKind = "state"                // an instance stops, or is gone
	ScheduledChange     NoticeKind = "scheduled"            // maintenance or retirement at a moment known days before
	CapacityBlock       NoticeKind = "capacity-block"       // a block of reserved capacity ends
	CapacityReservation NoticeKind = "capacity-reservation" // its owner takes reserved capacity back
	DatabaseNotice      NoticeKind = "database"             // RDS starts a database again that was stopped for seven days: nobody goes
	TestNotice          NoticeKind = "test"                 // Auto Scaling's own, when a hook is made: nobody goes
	CanaryNotice        NoticeKind = "canary"               // drover check's own: the pipeline works
)

// Source is how a signal came.
type Source string

// The sources.
const (
	FromEventBridge Source = "eventbridge"
	FromHook        Source = "auto-scaling" // a hook's own notification, straight to the queue
	FromSNS         Source = "sns"
	FromSweep       Source = "sweep" // AWS was asked, and nothing had been sent or it was lost
	FromMetadata    Source = "imds"  // the instance asked about itself
	FromPerson      Source = "person"
)

// Message is one message of a queue, as it was received.
type Message struct {
	ID, Receipt, Body string
	Sent              time.Time
	Times             int // how often it was received, this time included
}

// Hook is a lifecycle hook of a group.
type Hook struct {
	Name      string
	Launching bool // holds new instances; otherwise those that go
	Heartbeat time.Duration
	Abandon   bool   // what happens when nobody answers: ABANDON; otherwise CONTINUE
	Target    string // ARN of the queue or topic that it tells; "" when only EventBridge hears of it
	Metadata  string
}

// HookPrefix begins the names of drover's own hooks.
const HookPrefix = "drover-"

// Held is the longest that a hook can hold an instance, heartbeats included: Auto Scaling's limit.
func (h Hook) Held() time.Duration { return min(48*time.Hour, 100*h.Heartbeat) }

// Scheduled is something that EC2 will do to an instance at a moment it announces.
type Scheduled struct {
	ID        string
	Effect    string // reboot, stop, retire, maintain
	NotBefore time.Time
	Words     string
}

// Machine is what EC2 says of an instance, whether or not a group has it.
type Machine struct {
	ID, State string
	Cluster   string // of its tag kubernetes.io/cluster/NAME; "" when it has none
	Launched  time.Time

	Reservation string // of capacity, that it runs in; "" for none
}

// EC2's states of a machine that matter.
const (
	MachineGone    = "terminated"
	MachineUnknown = "" // EC2 knows no such instance (any more)
)
