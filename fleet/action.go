package fleet

import (
	"fmt"
	"strings"
)

// Verb is the kind of an action. Each has exactly one hand: aws for those on groups, instances and targets, kube for those on nodes and pods.
type Verb string

// The verbs.
const (
	Journal    Verb = "journal"    // write Mark on Group
	Forget     Verb = "forget"     // remove the mark from Group
	Suspend    Verb = "suspend"    // stop Process of Group
	Resume     Verb = "resume"     // start Process of Group again
	Resize     Verb = "resize"     // set Group's desired capacity To, if it is From
	Taint_     Verb = "taint"      // put drover's taint with Effect on Node
	Untaint    Verb = "untaint"    // take drover's taint off Node
	Keep       Verb = "keep"       // ask cluster-autoscaler to leave Node
	Unkeep     Verb = "unkeep"     // take that request back
	Evict      Verb = "evict"      // evict Pod through the eviction API, by UID
	Exclude    Verb = "exclude"    // label Node out of external load balancers
	Include    Verb = "include"    // take that label off
	Deregister Verb = "deregister" // take Instance out of target group Target
	Terminate  Verb = "terminate"  // close Instance by id, desired capacity one less
)

// Cloud tells whether the cloud's hand carries the verb out; otherwise the cluster's does.
func (v Verb) Cloud() bool {
	switch v {
	case Journal, Forget, Suspend, Resume, Resize, Deregister, Terminate:
		return true
	}
	return false
}

// Action is one effect on the world. Carrying it out twice is harmless: "already so" is success.
type Action struct {
	Verb     Verb
	Run      string
	Group    string
	Node     string
	Instance string
	Pod      PodRef
	Mark     *GroupMark
	Process  string
	Target   string // target group ARN
	Effect   string
	From, To int
	Expect   Expect
	Why      string
}

// Expect is what must still hold just before acting; the hand reads it again, live, and refuses when it does not.
type Expect struct {
	Empty bool // Node has no pod left that would have to move
}

// Key names the effect: two actions with one key are the same effect asked for twice.
func (a Action) Key() string {
	switch a.Verb {
	case Evict:
		return "evict " + a.Pod.UID
	case Journal:
		return "journal " + a.Group + " " + a.Mark.String()
	case Resize:
		return fmt.Sprintf("resize %s %d %d", a.Group, a.From, a.To)
	case Taint_:
		return "taint " + a.Node + " " + a.Effect
	}
	return fmt.Sprintf("%s %s%s%s%s%s", a.Verb, a.Group, a.Process, a.Node, a.Instance, a.Target)
}

// shortARN is the name in a target group's ARN, arn:...:targetgroup/NAME/ID.
func shortARN(arn string) string {
	if parts := strings.Split(arn, "/"); len(parts) == 3 {
		return parts[1]
	}
	return arn
}

// String is the action as it is shown: verb, subject, detail.
func (a Action) String() string {
	switch a.Verb {
	case Journal:
		return "journal group " + a.Group
	case Forget:
		return "forget journal of group " + a.Group
	case Suspend, Resume:
		return fmt.Sprintf("%s %s of group %s", a.Verb, a.Process, a.Group)
	case Resize:
		return fmt.Sprintf("resize group %s from %d to %d", a.Group, a.From, a.To)
	case Taint_:
		return fmt.Sprintf("taint node %s %s", a.Node, a.Effect)
	case Evict:
		return fmt.Sprintf("evict pod %s from %s", a.Pod, a.Node)
	case Deregister:
		return fmt.Sprintf("deregister %s (%s) from target group %s", a.Node, a.Instance, shortARN(a.Target))
	case Terminate:
		return fmt.Sprintf("terminate %s (%s)", a.Instance, a.Node)
	}
	return fmt.Sprintf("%s node %s", a.Verb, a.Node)
}
