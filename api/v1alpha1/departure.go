package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Departure is one node that has to go. A Rotation owns those of its run; one that a person's drain made has no owner. One whose spec says when it
// was opened is a case: AWS gave notice of it, its name is the instance's id, and everything heard about the instance is on file in it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=dep,categories=drover
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Cause",type=string,JSONPath=`.spec.cause`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Pods",type=integer,JSONPath=`.status.pods`
// +kubebuilder:printcolumn:name="Deadline",type=string,JSONPath=`.spec.deadline`
// +kubebuilder:printcolumn:name="Node",type=string,priority=1,JSONPath=`.spec.node`
// +kubebuilder:printcolumn:name="Group",type=string,priority=1,JSONPath=`.spec.group`
// +kubebuilder:printcolumn:name="Waiting",type=string,priority=1,JSONPath=`.status.waiting`
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || has(self.status)",message="status is never cleared: it holds the marks"
type Departure struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec   DepartureSpec   `json:"spec"`
	Status DepartureStatus `json:"status,omitempty"`
}

// DepartureSpec is which node has to go, why, and until when; of a case also everything that was heard.
//
// +kubebuilder:validation:XValidation:rule="has(self.opened) == has(oldSelf.opened)",message="a departure does not become a case, nor a case another departure"
// +kubebuilder:validation:XValidation:rule="has(oldSelf.opened) || self == oldSelf",message="a departure does not change: it is another one"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.opened) || has(self.instance) && has(oldSelf.instance) && self.instance == oldSelf.instance",message="a case is about one instance"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.signals) || has(self.signals) && oldSelf.signals.all(o, self.signals.exists(s, s.id == o.id) || has(o.ended) && size(self.signals) >= 32)",message="a signal stays on file; one that has ended may go when there are 32 without it"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.round) || has(self.round) && self.round >= oldSelf.round",message="round does not go back"
type DepartureSpec struct {
	Exit `json:",inline"`

	// When the first signal of a case was heard. Other departures do not have it.
	// +optional
	Opened metav1.MicroTime `json:"opened,omitzero"`

	// How often the case was opened again. Marks of an earlier round do not count.
	// +optional
	Round int64 `json:"round,omitempty"`

	// What was heard about the instance.
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Signals []Signal `json:"signals,omitempty"`
}

// Signal is one notice on file.
type Signal struct {
	// Tells it from other signals about the instance.
	// +kubebuilder:validation:MaxLength=512
	ID string `json:"id"`
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Kind string `json:"kind,omitempty"`

	// How it came.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Source string `json:"source,omitempty"`

	// When it was sent.
	// +optional
	At metav1.MicroTime `json:"at,omitzero"`
	// +optional
	Heard metav1.MicroTime `json:"heard,omitzero"`

	// When it was taken back or ran out; none while it holds.
	// +optional
	Ended metav1.MicroTime `json:"ended,omitzero"`

	// In words.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Why string `json:"why,omitempty"`

	// Auto Scaling group that the signal names.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Group string `json:"group,omitempty"`

	// Lifecycle hook that waits.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Hook string `json:"hook,omitempty"`
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Token string `json:"token,omitempty"`
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Origin string `json:"origin,omitempty"`
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Destination string `json:"destination,omitempty"`

	// What happens to the machine.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Effect string `json:"effect,omitempty"`

	// When that happens whatever anybody does.
	// +optional
	Deadline metav1.Time `json:"deadline,omitzero"`

	// Whether it takes back the signal of this id.
	// +optional
	Over bool `json:"over,omitempty"`
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Account string `json:"account,omitempty"`
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Region string `json:"region,omitempty"`
}

// DepartureStatus is how far the node is.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.marks) || has(self.marks)",message="marks are never cleared"
type DepartureStatus struct {
	// +optional
	Phase string `json:"phase,omitempty"`

	// Pods that have to leave yet.
	Pods int64 `json:"pods"`

	// What it stands still on, in a sentence.
	// +optional
	Waiting string `json:"waiting,omitempty"`

	// Of a case.
	// +optional
	Marks CaseMarks `json:"marks,omitzero"`

	// What happened to the node of a case, the newest entries at the end.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	// +optional
	Log []LogEntry `json:"log,omitempty"`

	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// CaseMarks are moments of a case that the world does not show.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.ended) || has(self.ended) || has(self.round) && (!has(oldSelf.round) || self.round > oldSelf.round)",message="a case that is over is opened again by another round only"
type CaseMarks struct {
	// The round of the case that they are of.
	// +optional
	Round int64 `json:"round,omitempty"`

	// Run that replaces the node before it goes.
	// +optional
	Rotation string `json:"rotation,omitempty"`

	// When that run began.
	// +optional
	Replaced metav1.MicroTime `json:"replaced,omitzero"`

	// The case is over.
	// +optional
	Ended metav1.MicroTime `json:"ended,omitzero"`

	// How, in words.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	End string `json:"end,omitempty"`
}

// LogEntry is one line of what happened to a node, and who says so.
type LogEntry struct {
	// +optional
	At metav1.MicroTime `json:"at,omitzero"`
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Source string `json:"source,omitempty"`
	// +kubebuilder:validation:MaxLength=256
	// +optional
	What string `json:"what,omitempty"`
}

// DepartureList is a list of departures.
//
// +kubebuilder:object:root=true
type DepartureList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Departure `json:"items"`
}
