package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Departure is one node that has to go. A Rotation owns those of its run; one that a person's drain made has no owner.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=dep,categories=drover
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.node`
// +kubebuilder:printcolumn:name="Group",type=string,JSONPath=`.spec.group`
// +kubebuilder:printcolumn:name="Cause",type=string,JSONPath=`.spec.cause`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Waiting",type=string,JSONPath=`.status.waiting`
type Departure struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec   DepartureSpec   `json:"spec"`
	Status DepartureStatus `json:"status,omitempty"`
}

// DepartureSpec is which node has to go, why, and until when.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a departure does not change: it is another one"
type DepartureSpec struct {
	Exit `json:",inline"`

	// When the machine is gone whatever happens; none when it waits.
	// +optional
	Deadline metav1.Time `json:"deadline,omitzero"`
}

// DepartureStatus is how far the node is.
type DepartureStatus struct {
	// +optional
	Phase string `json:"phase,omitempty"`

	// Pods that have to leave yet.
	Pods int64 `json:"pods"`

	// What it stands still on, in a sentence.
	// +optional
	Waiting string `json:"waiting,omitempty"`

	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DepartureList is a list of departures.
//
// +kubebuilder:object:root=true
type DepartureList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Departure `json:"items"`
}
