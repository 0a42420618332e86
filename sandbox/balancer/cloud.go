package balancer

import "time"

// Cloud is what a load balancer has to know of AWS and to tell it. All methods answer at once: they are called for every request.
type Cloud interface {
	TargetGroups() []TargetGroup
	// Targets returns a group's targets as they are at this moment.
	Targets(arn string) []Target
	// Address returns an instance's private IP; false when there is none any more.
	Address(instance string) (string, bool)
	ReportTargetHealth(arn, id string, port int, healthy bool, reason string) error
	// ReportTargetDrained says that no request is left on a draining target, which ends its draining early.
	ReportTargetDrained(arn, id string, port int) error
}

// TargetGroup is a list of targets and how to check them.
type TargetGroup struct {
	ARN, Name string
	Protocol  string // HTTP or TCP
	Instances bool   // targets are instance ids, else IP addresses
	Check     Check
}

// Check is how a group's targets are checked.
type Check struct {
	Protocol  string        // HTTP or TCP
	Port      string        // a number, or traffic-port
	Path      string        // HTTP only
	Matcher   string        // HTTP codes that count as healthy: 200, 200-299, 200,202
	Interval  time.Duration // divided by Options.Speed
	Timeout   time.Duration // in real time: the machine that simulates is no faster than it is
	Healthy   int           // checks in a row to become healthy again; a new target needs one
	Unhealthy int           // failed checks in a row to become unhealthy
}

// State is Elastic Load Balancing's word for how a target fares.
type State string

const (
	Initial   State = "initial"
	Healthy   State = "healthy"
	Unhealthy State = "unhealthy"
	Draining  State = "draining"
	Unused    State = "unused"
)

// Target is one registered target.
type Target struct {
	ID    string // instance id or IP address
	Port  int
	State State
}

// name tells targets apart; the state is not part of it.
type name struct {
	id   string
	port int
}

func (t Target) name() name { return name{t.ID, t.Port} }
