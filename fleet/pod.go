package fleet

import (
	"slices"
	"time"
)

// PodRef names one pod; UID tells it from a later pod of the same name.
type PodRef struct{ Namespace, Name, UID string }

func (r PodRef) String() string { return r.Namespace + "/" + r.Name }

// Pod is a pod, with what matters for taking it off a node.
type Pod struct {
	Ref         PodRef
	Node        string
	Owner       Owner // the workload at the top: the Deployment, not its ReplicaSet
	Budgets     []string
	Ready       bool
	Finished    bool // Succeeded or Failed
	Terminating bool
	Deleted     time.Time // when its shutdown has to be over; zero while it is not Terminating
	Mirror      bool      // static pod's image in the API
	Created     time.Time
	ReadySince  time.Time
	Unready     time.Time // since when it is not Ready, when it is not
	Grace       time.Duration
	PreStop     time.Duration // as far as the hook says it: a sleep
	Requests    Resources
	Selector    map[string]string // nodeSelector
	Affinity    []Term            // required node affinity: any one term
	Tolerations []Toleration
	VolumeZones []string // zones its volumes can be used in; empty when anywhere
	Unplaced    string   // the scheduler's words when it found no node
	Refused     string   // why its eviction was refused a moment ago; not worth asking for again yet
}

// Owner is a workload that keeps pods running.
type Owner struct{ Kind, Namespace, Name string }

func (o Owner) String() string {
	if o.Kind == "" {
		return "nobody"
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Stays tells why drain leaves the pod on its node ("" when it has to move), as kubectl drain decides it.
func (p *Pod) Stays() string {
	switch {
	case p.Mirror:
		return "static pod: lives and goes with its node"
	case p.Owner.Kind == "DaemonSet":
		return "DaemonSet pod: its controller would put it back"
	}
	return ""
}

// Tolerates tells whether the pod may be scheduled in spite of a taint.
func (p *Pod) Tolerates(t Taint) bool {
	return slices.ContainsFunc(p.Tolerations, func(o Toleration) bool { return o.covers(t) })
}

// Toleration is a pod's toleration; Exists stands for the operator of that name.
type Toleration struct {
	Key, Value, Effect string
	Exists             bool
}

func (o Toleration) covers(t Taint) bool {
	if o.Effect != "" && o.Effect != t.Effect {
		return false
	}
	if o.Key == "" {
		return o.Exists
	}
	return o.Key == t.Key && (o.Exists || o.Value == t.Value)
}

// Term is one alternative of a node affinity: all its requirements hold.
type Term []Requirement

// Requirement is one node label requirement; Operator in Kubernetes' words (In, NotIn, Exists, DoesNotExist, Gt, Lt).
type Requirement struct {
	Key, Operator string
	Values        []string
}

// Budget is a PodDisruptionBudget as the API server counts it.
type Budget struct {
	Name     string // namespace/name
	Allowed  int    // disruptions allowed now
	Healthy  int
	Desired  int // healthy pods it wants
	Expected int // pods it counts
}

// Never tells whether the budget can never allow a disruption, however healthy its pods are.
func (b *Budget) Never() bool { return b.Expected > 0 && b.Desired >= b.Expected }

// Workload is what an Owner wants: how many replicas.
type Workload struct {
	Owner    Owner
	Replicas int
}
