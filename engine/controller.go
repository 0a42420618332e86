package engine

import (
	"context"
	"errors"
	"time"

	"drover.dev/fleet"
)

// Queue brings messages about machines that go and come. A message that is neither deleted nor set aside comes again.
type Queue interface {
	// Receive waits a while for messages, and returns at most ten.
	Receive(ctx context.Context) ([]fleet.Message, error)

	// Delete is done with messages, each by the receipt of its last delivery. One that AWS does not delete comes again, which harms nobody.
	Delete(ctx context.Context, ms []fleet.Message) error

	// Release has a message come again, to whoever receives it, after a while.
	Release(ctx context.Context, m fleet.Message, after time.Duration) error

	// SetAside takes a message out of the way and keeps it for a person, with the reason.
	SetAside(ctx context.Context, m fleet.Message, why string) error
}

// Docket is the hand on what is on file about instances.
type Docket interface {
	// File changes what is on file about an instance. change gets it as it is, also when it is over, and zero but for its Instance when nothing is on
	// file; it returns what it is to be, and whether that is any different. The write is conditional: change is called again when somebody else wrote
	// meanwhile. From the moment File returns, Observe shows the result.
	File(ctx context.Context, instance string, change func(have fleet.Case) (want fleet.Case, differs bool)) error
}

// Census asks EC2 about instances, whether or not a group has them. One that EC2 does not know is left out.
type Census interface {
	Machines(ctx context.Context, ids []string) ([]fleet.Machine, error)
}

// Fate is what became of a message, or of one of its notices. The words are those of the metric.
type Fate string

// The fates.
const (
	Stored    Fate = "stored"
	Known     Fate = "known"   // it was on file already
	Ignored   Fate = "ignored" // nobody goes: a test, a state that says nothing, a machine of no cluster
	Foreign   Fate = "foreign" // another cluster's
	Poison    Fate = "poison"  // not understood: set aside
	Canaried  Fate = "canary"
	Unhandled Fate = "failed" // it comes again
)

// Heard is what became of a notice, for those who count.
type Heard struct {
	At     time.Time
	Notice fleet.Notice // zero for Poison
	Fate   Fate
	Why    string
	Took   time.Duration // from when it was sent
}

// Teller writes how far a case is where people look. It is asked seldom, and never in the way of an action.
type Teller interface {
	PublishCase(ctx context.Context, c fleet.Case, phase fleet.ExitPhase, waiting string, pods int) error

	// PublishMove tells of one pod that was evicted or deleted.
	PublishMove(ctx context.Context, a fleet.Action) error
}

// View is what a controller sees after a tick, for those who count and show.
type View struct {
	At    time.Time
	Took  time.Duration
	Cases []fleet.Case // those on file
	Exits []fleet.ExitProgress
	Holds []fleet.Hold
}

// Controller is the engine for as long as a process lives: it takes notices in, and empties the nodes that they are about.
type Controller struct {
	*Engine
	Queue  Queue // nil for a cluster without one: the sweep and other sources do
	Docket Docket
	Census Census
	Policy fleet.Policy

	// Parse reads a message's body. Its error says where and what.
	Parse func(body string) ([]fleet.Notice, error)

	ClusterName string // for telling others' messages; "" to go by its nodes alone
	Foreign     Rule   // what becomes of messages of other clusters
	Self        string // the node that this process runs on; "" when unknown

	Receivers int // of the queue, at once; zero for the usual number
	Hear      func(Heard)
	See       func(View)
	Alive     func() // called as each tick begins
	Teller    Teller // nil to tell nobody

	// Canary is told that a message of drover check came through.
	Canary func(ctx context.Context, n fleet.Notice) error

	// Database, if set, is told that RDS has started a database. It must not wait.
	Database func()

	// Alone holds the lease of people's runs while act replaces a node; it fails when somebody else has it. Nil where nobody else acts.
	Alone func(ctx context.Context, act func(ctx context.Context) error) error

	handed bool // the node of this process goes, and that was said
}

// Rule is what becomes of messages of other clusters.
type Rule string

// The rules.
const (
	Drop       Rule = "drop"       // nobody else reads this queue, and their own cluster's tells it too: EC2's events go to every rule of the account
	Release    Rule = "release"    // they come again, until their own cluster receives them; also where nothing is said
	Quarantine Rule = "quarantine" // they are set aside
)

// ErrSelf says that the node of this very process goes: another process should lead.
var ErrSelf = errors.New("the node that this process runs on is going")
