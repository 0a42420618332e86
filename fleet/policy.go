package fleet

import "time"

// Policy is what those who run a cluster have decided about notices.
type Policy struct {
	// DrainFor is how long a terminate hook may hold an instance for its pods to leave within their budgets. Then its deadline wins, as a spot
	// notice's does.
	DrainFor time.Duration

	// Retain keeps an instance whose pods have not left in that time, where its group retains abandoned instances: its hook is abandoned, and it is
	// ended when it is empty.
	Retain bool

	// Rebalance is what a rebalance recommendation brings.
	Rebalance Advice

	// RebalanceFor is how long a node that EC2 only recommends to leave stays closed to new pods; then it is opened again.
	RebalanceFor time.Duration

	// RebalancePerHour is how many nodes of a group may be replaced for recommendations in an hour.
	RebalancePerHour int

	// Join is how long a new instance may take to become a Ready node before its launch hook is abandoned; zero for never.
	Join time.Duration
}

// Advice is what a recommendation to leave brings.
type Advice string

// What a recommendation may bring.
const (
	AdviceReplace Advice = "replace" // closed to new pods; replaced first where there is room, otherwise opened again in a while
	AdviceCordon  Advice = "cordon"  // closed to new pods for a while
	AdviceIgnore  Advice = "ignore"
)

// UsualPolicy is the policy where nobody has decided anything.
var UsualPolicy = Policy{
	DrainFor: time.Hour, Rebalance: AdviceReplace, RebalanceFor: 30 * time.Minute, RebalancePerHour: 2, Join: 15 * time.Minute,
}
