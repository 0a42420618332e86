package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Rotation is the durable record of one run; its name is the run's id. It is written before the run's first change, and what it says of the
// approved plan and of how things were before never changes.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=rot,categories=drover
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Groups",type=string,JSONPath=`.status.summary.groups`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Exits",type=string,JSONPath=`.status.summary.exits`
// +kubebuilder:printcolumn:name="Pods moved",type=string,JSONPath=`.status.summary.pods`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || has(self.status)",message="status is never cleared: it holds the marks"
type Rotation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec   RotationSpec   `json:"spec"`
	Status RotationStatus `json:"status,omitempty"`
}

// RotationSpec is what was approved, and what people want of the run by now.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.intent) || size(oldSelf.intent) == 0 || has(self.intent) && self.intent == oldSelf.intent",message="a run on its way back does not turn round again"
type RotationSpec struct {
	// What was approved. It never changes.
	Plan Plan `json:"plan"`

	// What the run is for: empty to replace its exits, Back to undo it. It may become Back, and stays it.
	// +optional
	Intent Intent `json:"intent,omitempty"`

	// Set while a person has stopped the run.
	// +optional
	Paused *Pause `json:"paused,omitempty"`
}

// Intent is what a run is for.
//
// +kubebuilder:validation:Enum="";Back
type Intent string

// The intents.
const (
	Forward Intent = ""
	Back    Intent = "Back"
)

// Plan is the approved plan, and how things were before it.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="an approved plan does not change: begin another run"
type Plan struct {
	// Who asked for the run.
	// +optional
	Requester string `json:"requester,omitempty"`

	// When the run began.
	At metav1.Time `json:"at"`

	// The groups, as the run found them.
	// +listType=map
	// +listMapKey=name
	// +optional
	Groups []Group `json:"groups,omitempty"`

	// Which nodes are replaced, in drover's words.
	// +optional
	Criterion string `json:"criterion,omitempty"`

	// Which nodes are replaced, as it was typed.
	// +optional
	Words string `json:"words,omitempty"`

	// Whether pods that nothing would start again may go too.
	// +optional
	Force bool `json:"force,omitempty"`

	// How long the first replaced node is watched before the others follow.
	// +optional
	Canary *metav1.Duration `json:"canary,omitempty"`

	// How long old nodes are kept in Standby before they go.
	// +optional
	Bake *metav1.Duration `json:"bake,omitempty"`

	// Health probes, as they were typed.
	// +listType=atomic
	// +optional
	Probes []string `json:"probes,omitempty"`

	// The nodes that may go. No other one does.
	// +listType=atomic
	// +optional
	Exits []Exit `json:"exits,omitempty"`

	// Hash of the approved plan.
	// +optional
	Hash string `json:"hash,omitempty"`

	// Pods that move, as predicted.
	// +optional
	Moves int64 `json:"moves,omitempty"`

	// How long the run takes, as predicted.
	// +optional
	Forecast *metav1.Duration `json:"forecast,omitempty"`
}

// Group is a group of nodes as the run found it; a run puts these values back.
type Group struct {
	Name    string `json:"name"`
	Desired int64  `json:"desired"`
	Min     int64  `json:"min"`
	Max     int64  `json:"max"`

	// How many nodes above desired may exist at once.
	Surge int64 `json:"surge"`

	// Scaling processes that were off.
	// +listType=atomic
	// +optional
	Suspended []string `json:"suspended,omitempty"`

	// What the group launched from.
	// +listType=atomic
	// +optional
	Wants []Template `json:"wants,omitempty"`

	// Whether it is an EKS managed node group.
	// +optional
	Managed bool `json:"managed,omitempty"`
}

// Template is a launch template and its version, or a launch configuration.
type Template struct {
	// +optional
	ID string `json:"id,omitempty"`
	// +optional
	Name string `json:"name,omitempty"`
	// +optional
	Version string `json:"version,omitempty"`
	// +optional
	Configuration string `json:"configuration,omitempty"`

	// Instance types that it is limited to.
	// +listType=atomic
	// +optional
	Types []string `json:"types,omitempty"`
}

// Exit is one node that has to go, and why.
type Exit struct {
	// Empty when the instance never registered as a node.
	// +optional
	Node string `json:"node,omitempty"`
	// +optional
	Instance string `json:"instance,omitempty"`
	// +optional
	Group string `json:"group,omitempty"`
	// +optional
	Cause string `json:"cause,omitempty"`

	// In words and figures.
	// +optional
	Why string `json:"why,omitempty"`

	// Whether a replacement takes its place first.
	// +optional
	Replace bool `json:"replace,omitempty"`

	// Whether the machine is closed when it is empty.
	// +optional
	Release bool `json:"release,omitempty"`

	// Whose drain had tainted it before.
	// +optional
	Drained string `json:"drained,omitempty"`

	// ARNs of the target groups that it was registered in when the departure was planned.
	// +listType=atomic
	// +optional
	Targets []string `json:"targets,omitempty"`

	// When the machine is gone whatever happens; none when it waits.
	// +optional
	Deadline metav1.Time `json:"deadline,omitzero"`
}

// Pause is a stop by a person.
type Pause struct {
	// +optional
	By string `json:"by,omitempty"`
	// +optional
	Why string `json:"why,omitempty"`
	// +optional
	At metav1.Time `json:"at,omitzero"`
}

// RotationStatus is how far the run is.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.marks) || has(self.marks)",message="marks are never cleared"
type RotationStatus struct {
	// +optional
	Phase string `json:"phase,omitempty"`

	// +optional
	Marks Marks `json:"marks,omitzero"`

	// +optional
	Summary Summary `json:"summary,omitzero"`

	// +listType=atomic
	// +optional
	Exits []ExitStatus `json:"exits,omitempty"`

	// What the run stands still on.
	// +listType=atomic
	// +optional
	Waiting []string `json:"waiting,omitempty"`

	// +optional
	Ledger Ledger `json:"ledger,omitzero"`

	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Condition types.
const (
	Progressing = "Progressing"
	Paused      = "Paused"
	Degraded    = "Degraded"
	Complete    = "Complete"
)

// Marks are moments of the run that the world does not show. Each is set once.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.moving) || has(self.moving) && self.moving == oldSelf.moving",message="moving is set once"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.first) || has(self.first) && self.first == oldSelf.first",message="first is set once"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.canary) || has(self.canary) && self.canary == oldSelf.canary",message="canary is set once"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.baking) || has(self.baking) && self.baking == oldSelf.baking",message="baking is set once"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.undoing) || has(self.undoing) && self.undoing == oldSelf.undoing",message="undoing is set once"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.ended) || has(self.ended) && self.ended == oldSelf.ended",message="ended is set once"
type Marks struct {
	// The first pod was about to move: by then every old node was closed to pods.
	// +optional
	Moving metav1.Time `json:"moving,omitzero"`

	// Instance of the node that goes first, alone.
	// +optional
	First string `json:"first,omitempty"`

	// The first node was replaced.
	// +optional
	Canary metav1.Time `json:"canary,omitzero"`

	// The last old node went to Standby.
	// +optional
	Baking metav1.Time `json:"baking,omitzero"`

	// The way back began.
	// +optional
	Undoing metav1.Time `json:"undoing,omitzero"`

	// The run is over.
	// +optional
	Ended metav1.Time `json:"ended,omitzero"`
}

// Summary is for columns, of which each shows one string.
type Summary struct {
	// Names of the groups.
	// +optional
	Groups string `json:"groups,omitempty"`

	// Exits that are over, of all.
	// +optional
	Exits string `json:"exits,omitempty"`

	// Pods moved, of all that move.
	// +optional
	Pods string `json:"pods,omitempty"`
}

// ExitStatus is how far one exit is.
type ExitStatus struct {
	// The node's name, else the instance's id.
	Name string `json:"name"`
	// +optional
	Phase string `json:"phase,omitempty"`
}

// Ledger is what the run cost, against what was forecast.
type Ledger struct {
	// Pods moved.
	// +optional
	Moved int64 `json:"moved,omitempty"`

	// Pods that move in all.
	// +optional
	Pods int64 `json:"pods,omitempty"`

	// +listType=atomic
	// +optional
	Exceptions []string `json:"exceptions,omitempty"`

	// +optional
	Forecast *metav1.Duration `json:"forecast,omitempty"`

	// How long it has taken so far.
	// +optional
	Took *metav1.Duration `json:"took,omitempty"`
}

// RotationList is a list of rotations.
//
// +kubebuilder:object:root=true
type RotationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Rotation `json:"items"`
}
