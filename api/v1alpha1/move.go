package v1alpha1

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
)

// Move is one pod of a store on its way to another node, and how everything was before. It is named as the store, in the store's namespace: a store has
// one at most. It is written before the first change, and deleted when all is as it was; the temporary pod, if there is one, belongs to it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=mv,categories=drover
// +kubebuilder:printcolumn:name="Pod",type=string,JSONPath=`.spec.pod.name`
// +kubebuilder:printcolumn:name="From",type=string,JSONPath=`.spec.node`
// +kubebuilder:printcolumn:name="Run",type=string,JSONPath=`.spec.run`
// +kubebuilder:printcolumn:name="Switches",type=integer,JSONPath=`.spec.switches`
// +kubebuilder:printcolumn:name="Since",type=date,JSONPath=`.spec.since`
// +kubebuilder:printcolumn:name="Temporary",type=string,priority=1,JSONPath=`.spec.temp`
// +kubebuilder:printcolumn:name="Why",type=string,priority=1,JSONPath=`.spec.why`
type Move struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec MoveSpec `json:"spec"`
}

// MoveSpec is who is moved, and all that the world would not show afterwards.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.prior) || has(self.prior) && size(self.prior) >= size(oldSelf.prior)",message="what a member was set to before the move stays on file: it is put back"
// +kubebuilder:validation:XValidation:rule="self.run != oldSelf.run || self.pod.name == oldSelf.pod.name || has(oldSelf.ghosts) && size(oldSelf.ghosts) > 0",message="a run moves one pod of a store at a time"
type MoveSpec struct {
	// Who moves it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Run string `json:"run"`

	// The pod as it was before. Its successor has another UID.
	Pod MovedPod `json:"pod"`

	// That it leaves.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Node string `json:"node,omitempty"`

	// In words.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Why string `json:"why,omitempty"`

	// +optional
	Since metav1.MicroTime `json:"since,omitzero"`

	// What the pod's node of a cluster was called before.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	ID string `json:"id,omitempty"`

	// Whether it had the role, and gets it back.
	// +optional
	Home bool `json:"home,omitempty"`

	// What every member was set to before anything was changed.
	// +listType=map
	// +listMapKey=pod
	// +kubebuilder:validation:MaxItems=1000
	// +optional
	Prior []PriorSetting `json:"prior,omitempty"`

	// Name of the temporary pod, if the move needs one.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Temp string `json:"temp,omitempty"`

	// When the role was last seen to have been handed over.
	// +optional
	Switched metav1.MicroTime `json:"switched,omitzero"`

	// How often it was.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Switches int64 `json:"switches,omitempty"`

	// Nodes that a cluster was told to forget a while ago.
	// +listType=map
	// +listMapKey=id
	// +optional
	Ghosts []Ghost `json:"ghosts,omitempty"`

	// Hooks of the owner that have succeeded.
	// +listType=atomic
	// +optional
	Hooked []string `json:"hooked,omitempty"`
}

// MovedPod is the pod of a move, in the move's own namespace.
type MovedPod struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +kubebuilder:validation:MaxLength=64
	// +optional
	UID string `json:"uid,omitempty"`
}

// PriorSetting is what a member was set to.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="what a member was set to before the move does not change: it is put back"
type PriorSetting struct {
	// +kubebuilder:validation:MaxLength=253
	Pod string `json:"pod"`

	// What its node of a cluster was called.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	ID string `json:"id,omitempty"`

	// min-replicas-to-write
	// +optional
	MinReplicas int64 `json:"minReplicas,omitempty"`

	// min-replicas-max-lag, in seconds
	// +optional
	MaxLag int64 `json:"maxLag,omitempty"`

	// replica-priority
	// +optional
	Priority int64 `json:"priority,omitempty"`

	// cluster-allow-replica-migration
	// +optional
	Migration bool `json:"migration,omitempty"`
}

// Ghost is a node that a cluster was told to forget.
type Ghost struct {
	// +kubebuilder:validation:MaxLength=64
	ID string `json:"id"`
	// +optional
	At metav1.MicroTime `json:"at,omitzero"`
}

// MoveList is a list of moves.
//
// +kubebuilder:object:root=true
type MoveList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Move `json:"items"`
}

// FromMove is the object that holds the move of a store. Moments are kept to the microsecond; whether the run is idle is not kept.
func FromMove(namespace, store string, m fleet.StoreMove) (*Move, error) {
	if m.Pod.Namespace != namespace {
		return nil, fmt.Errorf("move %s/%s: its pod %s is in another namespace", namespace, store, m.Pod)
	}
	out := &Move{
		TypeMeta:   metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: "Move"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: store},
		Spec: MoveSpec{
			Run: m.Run, Pod: MovedPod{Name: m.Pod.Name, UID: m.Pod.UID}, Node: m.Node, Why: m.Why, Since: precisely(m.Since), ID: m.ID, Home: m.Home, Temp: m.Temp,
			Switched: precisely(m.Switched), Switches: int64(m.Switches), Hooked: slices.Clone(m.Hooked),
		},
	}
	for _, s := range m.Prior {
		out.Spec.Prior = append(out.Spec.Prior, PriorSetting{
			Pod: s.Pod, ID: s.ID, MinReplicas: int64(s.Fence.Replicas), MaxLag: int64(s.Fence.Lag), Priority: int64(s.Priority), Migration: s.Migration,
		})
	}
	for _, g := range m.Ghosts {
		out.Spec.Ghosts = append(out.Spec.Ghosts, Ghost{ID: g.ID, At: precisely(g.At)})
	}
	return out, nil
}

// Move is what the object holds.
func (m *Move) Move() fleet.StoreMove {
	s := m.Spec
	out := fleet.StoreMove{
		Run: s.Run, Pod: fleet.PodRef{Namespace: m.Namespace, Name: s.Pod.Name, UID: s.Pod.UID}, Node: s.Node, Why: s.Why, Since: exactly(s.Since), ID: s.ID, Home: s.Home,
		Temp: s.Temp, Switched: exactly(s.Switched), Switches: int(s.Switches), Hooked: slices.Clone(s.Hooked),
	}
	for _, p := range s.Prior {
		fence := fleet.Fence{Replicas: int(p.MinReplicas), Lag: int(p.MaxLag)}
		out.Prior = append(out.Prior, fleet.Setting{Pod: p.Pod, ID: p.ID, Fence: fence, Priority: int(p.Priority), Migration: p.Migration})
	}
	for _, g := range s.Ghosts {
		out.Ghosts = append(out.Ghosts, fleet.Ghost{ID: g.ID, At: exactly(g.At)})
	}
	return out
}

func exactly(t metav1.MicroTime) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}
