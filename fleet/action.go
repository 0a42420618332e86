package fleet

import (
	"fmt"
	"slices"
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

	Engage    Verb = "engage"    // write Move on Store: claims it; refused when another run has it, unless that is From's and idle
	Disengage Verb = "disengage" // remove that: the move is over
	Lend      Verb = "lend"      // make the temporary pod Peer for Store, from the template of Pod's StatefulSet, on none of the Avoid nodes
	Unlend    Verb = "unlend"    // delete that
	Court     Verb = "court"     // tell the operator of Pod, in its own way, that Node goes
	Call      Verb = "call"      // call Hook of Store's owner in Pod

	Fence_    Verb = "fence"     // have Pod accept writes only with Fence
	Prefer    Verb = "prefer"    // set Pod's replica-priority To
	Switch    Verb = "switch"    // Sentinel: the role of master goes from Pod to Peer, with no write acknowledged that Peer has not
	Demote    Verb = "demote"    // Pod, which still takes itself for a master, becomes a replica of Peer; its clients are sent away
	Attach    Verb = "attach"    // Pod, an empty master that nobody named, becomes a replica of Peer
	Reset     Verb = "reset"     // the Sentinel in Pod forgets all it has heard, and looks anew
	Steady    Verb = "steady"    // To 0: the cluster node in Pod gives no replica away; 1: it does again
	Meet      Verb = "meet"      // the cluster nodes in Pod and Peer get to know each other
	Replicate Verb = "replicate" // the cluster node in Pod becomes a replica of the one in Peer
	Failover  Verb = "failover"  // Cluster: the slots go to Pod from its master Peer; Effect "", Force or Takeover
	Leave     Verb = "leave"     // the cluster node in Pod, which has no slots, leaves and knows nobody any more
	Disown    Verb = "disown"    // every member of Store forgets the cluster node ID

	Remember Verb = "remember" // write Sleep into Environment, and again when its Marks, Fights or Exceptions change; what is there before is never changed
	Archive  Verb = "archive"  // keep a second copy of Sleep at Target, outside of the cluster, and read it back
	Conclude Verb = "conclude" // Environment's record is over: Ended goes into its history, in the same write
	TurnOff  Verb = "turn off" // switch Part off and write its mark on it, in one patch; refused when its value is another than Part says
	TurnOn   Verb = "turn on"  // switch Part on, to what it was before; one that is on already is left as it is
	Unmark   Verb = "unmark"   // take Environment's mark off Part, which is on

	Place      Verb = "place"       // have new pods of a workload run where Placement says
	MakeBudget Verb = "make budget" // make NewBudget
	MakeGroup  Verb = "make group"  // make NewGroup

	MarkGroup      Verb = "mark group"      // write Bed on Group
	UnmarkGroup    Verb = "unmark group"    // remove that
	Bound          Verb = "bound"           // set Group's minimum To, if it is From
	Protect        Verb = "protect"         // protect Instances of Group from scale-in
	Unprotect      Verb = "unprotect"       // take that back
	MarkDatabase   Verb = "mark database"   // write Environment and Run on Database
	UnmarkDatabase Verb = "unmark database" // remove that
	StopDatabase   Verb = "stop database"   // have RDS stop Database; refused while it is neither available nor stopped
	StartDatabase  Verb = "start database"  // have RDS start it
	SetCapacity    Verb = "set capacity"    // set the least capacity units of Database to ACU
)

// How a person may have the slots taken without the master's consent. Both lose writes that were acknowledged.
const (
	Force    = "FORCE"
	Takeover = "TAKEOVER"
)

// Cloud tells whether the cloud's hand carries the verb out; otherwise the cluster's does.
func (v Verb) Cloud() bool {
	switch v {
	case Journal, Forget, Suspend, Resume, Resize, Deregister, Terminate, Standby, Unstandby, Register, CreateGroup, DeleteGroup, Replace, Heartbeat, Complete,
		MarkGroup, UnmarkGroup, Bound, Protect, Unprotect, MarkDatabase, UnmarkDatabase, StopDatabase, StartDatabase, SetCapacity, MakeGroup:
		return true
	}
	return false
}

// Store tells whether the hand on stores carries the verb out.
func (v Verb) Store() bool {
	switch v {
	case Fence_, Prefer, Switch, Demote, Attach, Reset, Steady, Meet, Replicate, Failover, Leave, Disown:
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
	Hook      string          // Replace, Heartbeat, Complete, Call
	Result    string          // Complete: Continue or Abandon
	Case      *Case           // File
	Store     string          // verbs of stores
	Move      *StoreMove      // Engage
	Peer      PodRef          // the other pod
	Fence     Fence           // Fence
	ID        string          // Disown
	Avoid     []string        // Lend: nodes that leave

	Environment string       // verbs of environments
	Sleep       *SleepRecord // Remember, Archive
	Ended       *Sleep       // Conclude
	Part        *PartRecord  // TurnOff, TurnOn, Unmark: as it was before
	Bed         *GroupSleep  // MarkGroup
	NewGroup    *NewGroup    // MakeGroup
	Placement   *Placement   // Place
	NewBudget   *NewBudget   // MakeBudget
	Database    string       // its id
	ACU         float64

	Expect Expect
	Why    string
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

// Unelected has a temporary replica be no candidate for the role.
const Unelected = "unelected"

// Key names the effect: two actions with one key are the same effect asked for twice.
func (a Action) Key() string {
	switch a.Verb {
	case Evict, Delete:
		return string(a.Verb) + " " + a.Pod.UID
	case Court:
		return "court " + a.Pod.UID + " " + a.Why
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
	case Remember, Archive:
		fought := 0
		for _, f := range a.Sleep.Fights {
			fought += f.Times
		}
		return fmt.Sprintf("%s %s %s %d %s %d", a.Verb, a.Environment, a.Run, len(a.Sleep.Parts), strings.Join(a.Sleep.Marks.Names(), " "), fought)
	case Conclude:
		return fmt.Sprintf("%s %s %s", a.Verb, a.Environment, a.Run)
	case TurnOff, TurnOn, Unmark:
		return fmt.Sprintf("%s %s %s %s", a.Verb, a.Part.ID(), a.Part.UID, a.Part.Value)
	case Place:
		return "place " + a.Placement.Owner.String() + " " + a.Placement.UID
	case MakeBudget:
		return "make budget " + a.NewBudget.Namespace + "/" + a.NewBudget.Name
	case MakeGroup:
		return "make group " + a.NewGroup.Name
	case Bound:
		return fmt.Sprintf("bound %s %d %d", a.Group, a.From, a.To)
	case Protect, Unprotect:
		return fmt.Sprintf("%s %s %s", a.Verb, a.Group, strings.Join(a.Instances, " "))
	case MarkDatabase, UnmarkDatabase, StopDatabase, StartDatabase, SetCapacity:
		return fmt.Sprintf("%s %s %s %g", a.Verb, a.Database, a.Run, a.ACU)
	case MarkGroup, UnmarkGroup:
		return fmt.Sprintf("%s %s %s", a.Verb, a.Group, a.Run)
	case Engage:
		return fmt.Sprintf("engage %s %s %s %d %d %d %v", a.Store, a.Pod.UID, a.Move.Run, a.Move.Switches, len(a.Move.Ghosts), len(a.Move.Prior), a.Move.Hooked)
	}
	if a.Store != "" {
		return fmt.Sprintf("%s %s %s %s %v %d %s%s%s", a.Verb, a.Store, a.Pod.UID, a.Peer.Name, a.Fence, a.To, a.ID, a.Hook, a.Effect)
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

// labelled prints labels as key=value.
func labelled(labels map[string]string) string {
	var out []string
	for k, v := range labels {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, ",")
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
	case Engage:
		return fmt.Sprintf("engage store %s: pod %s is to leave %s", a.Store, a.Pod, a.Node)
	case Disengage:
		return fmt.Sprintf("disengage store %s: pod %s is moved", a.Store, a.Pod)
	case Lend:
		return fmt.Sprintf("lend store %s the temporary pod %s", a.Store, a.Peer)
	case Unlend:
		return fmt.Sprintf("unlend temporary pod %s of store %s", a.Pod, a.Store)
	case Court:
		return fmt.Sprintf("tell %s that pod %s has to leave %s", a.Why, a.Pod, a.Node)
	case Call:
		return fmt.Sprintf("call hook %s in pod %s", a.Hook, a.Pod)
	case Fence_:
		return fmt.Sprintf("fence %s: writes need %d replicas within %d s", a.Pod, a.Fence.Replicas, a.Fence.Lag)
	case Prefer:
		return fmt.Sprintf("prefer %s: replica-priority %d", a.Pod, a.To)
	case Switch:
		return fmt.Sprintf("switch master of %s from %s to %s", a.Store, a.Pod, a.Peer)
	case Demote:
		return fmt.Sprintf("demote %s to a replica of %s", a.Pod, a.Peer)
	case Attach:
		return fmt.Sprintf("attach %s to %s as its replica", a.Pod, a.Peer)
	case Reset:
		return fmt.Sprintf("reset sentinel %s", a.Pod)
	case Steady:
		return fmt.Sprintf("steady %s: replica migration %s", a.Pod, map[int]string{0: "off", 1: "on"}[a.To])
	case Meet:
		return fmt.Sprintf("introduce %s to %s", a.Pod, a.Peer)
	case Replicate:
		return fmt.Sprintf("make %s a replica of %s", a.Pod, a.Peer)
	case Failover:
		return strings.TrimSpace(fmt.Sprintf("fail over from %s to %s %s", a.Peer, a.Pod, a.Effect))
	case Leave:
		return fmt.Sprintf("have %s leave cluster %s", a.Pod, a.Store)
	case Disown:
		return fmt.Sprintf("forget node %s in cluster %s", a.ID, a.Store)
	case CreateGroup:
		return fmt.Sprintf("create managed node group %s as a copy of %s", a.Copy, a.Group)
	case DeleteGroup:
		return "delete managed node group " + a.Group
	case Remember:
		return fmt.Sprintf("record sleep %s of environment %s", a.Run, a.Environment)
	case Archive:
		return fmt.Sprintf("archive sleep %s of environment %s at %s", a.Run, a.Environment, a.Target)
	case Conclude:
		return fmt.Sprintf("conclude sleep %s of environment %s", a.Run, a.Environment)
	case TurnOff:
		return fmt.Sprintf("turn %s off", a.Part.ID())
	case TurnOn:
		return fmt.Sprintf("turn %s on", a.Part.ID())
	case Unmark:
		return "unmark " + a.Part.ID()
	case Place:
		return fmt.Sprintf("place %s on nodes with %s", a.Placement.Owner, labelled(a.Placement.Labels))
	case MakeBudget:
		return fmt.Sprintf("make budget %s/%s: %d pod away at a time", a.NewBudget.Namespace, a.NewBudget.Name, a.NewBudget.MaxUnavailable)
	case MakeGroup:
		return fmt.Sprintf("make node group %s like %s, with %s", a.NewGroup.Name, a.NewGroup.From, labelled(a.NewGroup.Labels))
	case MarkGroup, UnmarkGroup:
		return fmt.Sprintf("%s %s", a.Verb, a.Group)
	case Bound:
		return fmt.Sprintf("lower or raise the minimum of group %s from %d to %d", a.Group, a.From, a.To)
	case Protect, Unprotect:
		return fmt.Sprintf("%s %d instances of group %s from scale-in", a.Verb, len(a.Instances), a.Group)
	case MarkDatabase, UnmarkDatabase, StopDatabase, StartDatabase:
		return fmt.Sprintf("%s %s", a.Verb, a.Database)
	case SetCapacity:
		return fmt.Sprintf("set the least capacity of database %s to %g", a.Database, a.ACU)
	}
	return fmt.Sprintf("%s node %s", a.Verb, a.Node)
}
