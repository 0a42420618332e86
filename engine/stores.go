package engine

import (
	"context"

	"drover.dev/fleet"
)

// Stores is the hand on what the pods of stores hold.
type Stores interface {
	// Observe fills in what the members of a store say of themselves and of each other. Whoever does not answer has Trouble, and so has a store that
	// cannot be read at all; other than that it does not fail.
	Observe(ctx context.Context, st *fleet.Store)

	// Act carries one action out on a store as it was observed a moment ago. What the action relies on is read again first, and when it does not hold
	// any more the action is refused. "Already so" is success.
	Act(ctx context.Context, st fleet.Store, a fleet.Action) error
}
