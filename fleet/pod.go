package fleet

import (
	"slices"
	"strconv"
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
	Held        bool     // its eviction was refused by somebody who may do so for long
	Refused     string   // why its eviction was refused a moment ago; not worth asking for again yet

	Labels   map[string]string
	Apart    []PodTerm // required pod anti-affinity: no pod that matches in the same domain
	Together []PodTerm // required pod affinity: a pod that matches in the same domain
	Spread   []Spread  // spread constraints that forbid (DoNotSchedule)
	OwnDisk  bool      // has a volume that one node at a time may use
	Local    string    // data that does not move with it (an emptyDir, a hostPath), for people; "" when it has none
	IP       string
	Asked    *Asked   // somebody wants it to leave its node; nil when nobody does
	Courted  *Courted // an operator moves it; nil when none does
	Targets  []Target // its own state, by IP, in each target group that knows it
}

// PodTerm is one term of an affinity between pods: other pods in these namespaces whose labels match, in one domain of a node label.
type PodTerm struct {
	Namespaces []string // never empty; "*" is all
	Match      Term     // on pod labels
	Topology   string   // node label, such as kubernetes.io/hostname
}

// Spread is a topology spread constraint that forbids.
type Spread struct {
	Topology    string
	MaxSkew     int
	MinDomains  int
	Match       Term // on labels of pods in the same namespace
	HonorTaints bool // nodeTaintsPolicy: Honor; otherwise tainted nodes count as domains too
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
	Seconds            string // tolerationSeconds, where a workload's template limits it; "" for as long as it takes
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

// Holds tells whether labels meet all requirements.
func (t Term) Holds(labels map[string]string) bool {
	return !slices.ContainsFunc(t, func(q Requirement) bool { return !q.holds(labels) })
}

func (q Requirement) holds(labels map[string]string) bool {
	have, ok := labels[q.Key]
	switch q.Operator {
	case "In":
		return ok && slices.Contains(q.Values, have)
	case "NotIn":
		return !ok || !slices.Contains(q.Values, have)
	case "DoesNotExist":
		return !ok
	case "Gt", "Lt":
		a, e1 := strconv.Atoi(have)
		b, e2 := strconv.Atoi(append(slices.Clone(q.Values), "")[0])
		return e1 == nil && e2 == nil && (q.Operator == "Gt" && a > b || q.Operator == "Lt" && a < b)
	}
	return ok
}

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
	Recreate bool       // its strategy forbids two pods at once
	Scaler   *Scaler    // an autoscaler that sets Replicas
	GitOps   string     // what keeps it as a repository says ("Argo CD", "Flux"); "" when nothing does
	Surge    *SurgeMark // drover's own journal on it; nil when no run has given it one replica more
}

// Scaler is a HorizontalPodAutoscaler over a workload, or a KEDA object that made one.
type Scaler struct {
	Name     string // in the workload's namespace
	Min, Max int
}

// SurgeMark is what a run writes on a workload, or on its autoscaler, together with the one replica more.
type SurgeMark struct {
	Run      string
	Pod      string // UID of the pod that is to go
	Replicas int    // before
	Min, Max int    // the autoscaler's before; zeros without one
}
