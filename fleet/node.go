package fleet

import (
	"slices"
	"strings"
	"time"
)

// TaintKey is drover's own taint. cluster-autoscaler strips keys under this prefix from the template it builds for a group, so that
// marking old nodes does not make it believe that new ones would be tainted too. Its value is the id of the run that set it.
const TaintKey = "status-taint.cluster-autoscaler.kubernetes.io/drover"

// Taint effects.
const (
	PreferNoSchedule = "PreferNoSchedule"
	NoSchedule       = "NoSchedule"
	NoExecute        = "NoExecute"
)

// Taint is a node's taint.
type Taint struct{ Key, Value, Effect string }

// Node is a Kubernetes node.
type Node struct {
	Name     string
	Instance string // cloud instance id, from providerID; empty for a node that is no cloud's
	Provider string // the providerID itself, for messages
	Zone     string
	Created  time.Time
	Ready    bool
	Changed  time.Time // when Ready last changed
	Cordoned bool
	Taints   []Taint
	Labels   map[string]string
	Room     Resources // allocatable
	Kept     string    // run that asked cluster-autoscaler to leave this node; empty when none did
	HeldDown bool      // cluster-autoscaler's scale-down-disabled annotation is there, whoever set it
	Excluded bool      // excluded from external load balancers by label, whoever set it
	OutBy    string    // run that excluded it; empty when none did
	Volumes  []string  // persistent volumes that are attached to it still
}

// Mark returns drover's taint on the node, or nil.
func (n *Node) Mark() *Taint {
	for i := range n.Taints {
		if n.Taints[i].Key == TaintKey {
			return &n.Taints[i]
		}
	}
	return nil
}

// Starting tells whether a start-up taint is still on the node.
func (n *Node) Starting() bool { return slices.ContainsFunc(n.Taints, Taint.StartUp) }

// StartUp tells whether the taint is one that goes away when a node is ready: Kubernetes' own, a cloud provider's, a network or storage
// plugin's. A taint that a group carries for good (dedicated=web) is none, nor is a cordon.
func (t Taint) StartUp() bool {
	if t.Effect == PreferNoSchedule || t.Key == "node.kubernetes.io/unschedulable" {
		return false
	}
	if strings.HasPrefix(t.Key, "node.kubernetes.io/") || strings.HasPrefix(t.Key, "node.cloudprovider.kubernetes.io/") {
		return true
	}
	return slices.ContainsFunc([]string{"not-ready", "startup", "uninitialized", "unregistered"}, func(word string) bool { return strings.Contains(t.Key, word) })
}
