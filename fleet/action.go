package fleet

import (
	"fmt"
	"strings"
	"time"
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

	Record      Verb = "record"       // write Rotation, creating it if need be
	Surge       Verb = "surge"        // give Workload one replica more, with Pod made the cheapest to delete
	Unsurge     Verb = "unsurge"      // take that replica back: the cheapest pod goes
	Standby     Verb = "standby"      // take Instance out of service but keep it, desired capacity one less
	Unstandby   Verb = "unstandby"    // put Instance back into service, desired capacity one more
	Register    Verb = "register"     // put Instance back into target group Target
	CreateGroup Verb = "create group" // make managed node group To as a copy of Group on the version that Group is to run
	DeleteGroup Verb = "delete group" // delete managed node group Group, which is empty

	Shut         Verb = "shut"           // in one patch, taint Node NoSchedule and label it out of external load balancers
	Delete       Verb = "delete"         // delete Pod by UID, past its budget, with Grace: its node goes anyway
	OutOfService Verb = "out of service" // tell Kubernetes that Node's machine is off for good: its pods and volumes are given up
	Heartbeat    Verb = "heartbeat"      // have Hook hold Instance longer
	Replace      Verb = "replace"        // end Instance through Group, which launches another in its place; Hook, which has to be there, holds it meanwhile
	Complete     Verb = "complete"       // answer Hook of Group for Instance with Result
	File         Verb = "file"           // join Case into what is on file about Instance
)

// Cloud tells whether the cloud's hand carries the verb out; otherwise the cluster's does.
func (v Verb) Cloud() bool {
	switch v {
	case Journal, Forget, Suspend, Resume, Resize, Deregister, Terminate, Standby, Unstandby, Register, CreateGroup, DeleteGroup, Replace, Heartbeat, Complete:
		return true
	}
	return false
}

// Action is one effect on the world. Carrying it out twice is harmless: "already so" is success.
type Action struct {
	Verb      Verb
	Run       string
	Group     string
	Node      string
	Instance  string
	Pod       PodRef
	Mark      *GroupMark
	Process   string
	Target    string // target group ARN
	Effect    string
	From, To  int
	Rotation  *RotationRecord // Record
	Workload  Owner           // Surge, Unsurge
	Copy      string          // CreateGroup: name of the new group
	Nodes     []string        // DeleteGroup: its nodes, each of which has to be empty
	Instances []string        // DeleteGroup: those that the decision knew of; the hand refuses when there are others
	Grace     time.Duration   // Evict, Delete: how long the pod may take to stop; zero for its own. Whole seconds
	Hook      string          // Replace, Heartbeat, Complete
	Result    string          // Complete: Continue or Abandon
	Case      *Case           // File
	Expect    Expect
	Why       string
}

// How a hook is answered. For an instance that goes, both end it; Abandon skips other hooks, and retains it where the group says so.
const (
	Continue = "CONTINUE"
	Abandon  = "ABANDON"
)

// Expect is what must still hold just before acting; the hand reads it again, live, and refuses when it does not.
type Expect struct {
	Empty bool // Node has no pod left that would have to move
	Ready bool // Unsurge: Workload has all its pods Ready, the one more included
	Off   bool // OutOfService: Node is not Ready
}

// Key names the effect: two actions with one key are the same effect asked for twice.
func (a Action) Key() string {
	switch a.Verb {
	case Evict, Delete:
		return string(a.Verb) + " " + a.Pod.UID
	case Heartbeat, Complete:
		return fmt.Sprintf("%s %s %s", a.Verb, a.Hook, a.Instance)
	case File:
		return fmt.Sprintf("file %s %d %s %v", a.Instance, len(a.Case.Signals), a.Case.Marks.Rotation, a.Case.Marks.Ended.IsZero())
	case Journal:
		return "journal " + a.Group + " " + a.Mark.String()
	case Resize:
		return fmt.Sprintf("resize %s %d %d", a.Group, a.From, a.To)
	case Taint_:
		return "taint " + a.Node + " " + a.Effect
	case Record:
		return "record " + a.Rotation.Run + " " + strings.Join(a.Rotation.Marks.Names(), " ") // not the moments: a refused one is asked for again later
	case Surge, Unsurge:
		return fmt.Sprintf("%s %s %s", a.Verb, a.Workload, a.Pod.UID)
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
	case Delete:
		return fmt.Sprintf("delete pod %s from %s, %s to stop", a.Pod, a.Node, a.Grace)
	case Shut:
		return fmt.Sprintf("shut node %s to pods and load balancers", a.Node)
	case OutOfService:
		return fmt.Sprintf("declare node %s out of service", a.Node)
	case Heartbeat:
		return fmt.Sprintf("heartbeat %s (%s) of hook %s", a.Instance, a.Node, a.Hook)
	case Replace:
		return fmt.Sprintf("replace %s (%s) through group %s, held by hook %s", a.Instance, a.Node, a.Group, a.Hook)
	case Complete:
		return fmt.Sprintf("complete hook %s of %s (%s): %s", a.Hook, a.Instance, a.Node, a.Result)
	case File:
		return fmt.Sprintf("file departure of %s", a.Instance)
	case Deregister:
		return fmt.Sprintf("deregister %s (%s) from target group %s", a.Node, a.Instance, shortARN(a.Target))
	case Register:
		return fmt.Sprintf("register %s (%s) in target group %s", a.Node, a.Instance, shortARN(a.Target))
	case Terminate, Standby, Unstandby:
		return fmt.Sprintf("%s %s (%s)", a.Verb, a.Instance, a.Node)
	case Record:
		return "record rotation " + a.Rotation.Run
	case Surge:
		return fmt.Sprintf("surge %s: one replica more, pod %s leaves first", a.Workload, a.Pod)
	case Unsurge:
		return fmt.Sprintf("unsurge %s: back to %d replicas, pod %s goes", a.Workload, a.To, a.Pod)
	case CreateGroup:
		return fmt.Sprintf("create managed node group %s as a copy of %s", a.Copy, a.Group)
	case DeleteGroup:
		return "delete managed node group " + a.Group
	}
	return fmt.Sprintf("%s node %s", a.Verb, a.Node)
}
