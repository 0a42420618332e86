package fleet

import "time"

// Departure says that one node has to go, and why. It does not say how: that is evac's.
type Departure struct {
	Node     string // empty when the instance never registered as a node
	Instance string
	Group    string // empty for a node of no group
	Cause    Cause
	Why      string   // in words and figures
	Replace  bool     // a replacement takes its place first
	Release  bool     // the machine is to be closed when empty
	Drained  string   // whose drain had tainted it before; "" when nobody's
	Targets  []string // ARNs of the target groups it was registered in when the departure was planned

	Deadline time.Time // when the machine is gone whatever anybody does; zero when it waits
}

// Cause is the kind of reason.
type Cause string

// The causes known so far.
const (
	Rotation Cause = "rotation"
	Drain    Cause = "drain"
	Undo     Cause = "undo"        // a run's own new node goes again, because the run is taken back
	Noticed  Cause = "notice"      // AWS takes it
	Sleeping Cause = "environment" // the environment that it works for is switched off
)

// Name is the node's name, else the instance's id: what a person would type.
func (d Departure) Name() string {
	if d.Node != "" {
		return d.Node
	}
	return d.Instance
}
