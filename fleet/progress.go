package fleet

import "time"

// Progress is how far a run is, for those who look at its objects in the cluster. Nothing is decided by it.
type Progress struct {
	Run            string
	Phase          string // of the run as a whole, in one word
	Exits          []ExitProgress
	Moved, Pods    int // pods moved so far, of all that move
	Exceptions     []string
	Waiting        []string // what the run stands still on, in sentences
	Forecast, Took time.Duration
}

// ExitProgress is how far one departure is.
type ExitProgress struct {
	Departure Departure
	Phase     ExitPhase
	Pods      int    // that have to leave yet
	Waiting   string // what it stands still on; "" when it does not
}

// ExitPhase is what happens to a departing node.
type ExitPhase string

// The phases of an exit.
const (
	ExitWaiting  ExitPhase = "Waiting"  // its turn has not come
	ExitEmptying ExitPhase = "Emptying" // its pods move
	ExitLeaving  ExitPhase = "Leaving"  // it is empty, and leaves its load balancers
	ExitStandby  ExitPhase = "Standby"  // out of service, kept for the way back
	ExitGone     ExitPhase = "Gone"     // over
	ExitReturned ExitPhase = "Returned" // over: back in service
)

// Over tells whether nothing more will happen to the node in this run.
func (p ExitPhase) Over() bool { return p == ExitGone || p == ExitReturned }
