package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MoverPolicy says how pods are moved whose own objects cannot say it, such as a chart's. What a pod's annotations say, or those of its StatefulSet or
// Deployment, goes first, and then as a whole: a policy fills no gaps. Of several policies that select a pod the most specific one counts: one that
// names namespaces before one that selects them by label before one for all; then the one with more requirements on the pod's labels. Two that are
// equally specific are an error, and nothing of their pods moves.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=mpol,categories=drover
// +kubebuilder:printcolumn:name="Mover",type=string,JSONPath=`.spec.mover`
// +kubebuilder:printcolumn:name="Store",type=string,JSONPath=`.spec.store`
// +kubebuilder:printcolumn:name="Role",type=string,JSONPath=`.spec.role`
// +kubebuilder:printcolumn:name="Hold",type=string,JSONPath=`.spec.guard.hold`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MoverPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec MoverPolicySpec `json:"spec"`
}

// MoverPolicySpec is which pods it is about, and how they are moved.
//
// +kubebuilder:validation:XValidation:rule="has(self.mover) || has(self.guard)",message="want a mover, or a guard, or both"
// +kubebuilder:validation:XValidation:rule="!has(self.namespaces) || !has(self.namespaceSelector)",message="want namespaces or namespaceSelector, not both"
// +kubebuilder:validation:XValidation:rule="!has(self.store) || !has(self.storeLabel)",message="want store or storeLabel, not both"
// +kubebuilder:validation:XValidation:rule="has(self.mover) && self.mover == 'sentinel' || !has(self.role) && !has(self.master) && !has(self.sentinelPort) && !has(self.sentinelSecret)",message="role, master, sentinelPort and sentinelSecret are for the mover sentinel"
// +kubebuilder:validation:XValidation:rule="has(self.leader) == (has(self.mover) && self.mover == 'leader-last')",message="leader is for the mover leader-last, which needs it"
// +kubebuilder:validation:XValidation:rule="has(self.hooks) == (has(self.mover) && self.mover == 'script')",message="hooks are for the mover script, which needs one at least"
// +kubebuilder:validation:XValidation:rule="!has(self.hookTimeout) || has(self.hooks)",message="hookTimeout is for hooks"
type MoverPolicySpec struct {
	// Namespaces by name.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`

	// Namespaces by label. All, if neither this nor their names are given.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`

	// Pods by label, in those namespaces. All of them, if there is none.
	// +optional
	PodSelector *metav1.LabelSelector `json:"podSelector,omitempty"`

	// How they leave a node. None: as pods of no store do, whatever a less specific policy says.
	// +kubebuilder:validation:Enum=sentinel;rediscluster;script;leader-last;none
	// +optional
	Mover string `json:"mover,omitempty"`

	// The store that they are one of. By default what the pod's label app.kubernetes.io/instance says, else its workload's name.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	// +optional
	Store string `json:"store,omitempty"`

	// Label of the pods whose value names their store.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +optional
	StoreLabel string `json:"storeLabel,omitempty"`

	// What they are. By default a pod with container port 26379, or with one named sentinel, is a Sentinel.
	// +kubebuilder:validation:Enum=data;sentinel
	// +optional
	Role string `json:"role,omitempty"`

	// Of the data; 6379.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	Port int32 `json:"port,omitempty"`

	// Of the Sentinels; 26379.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	SentinelPort int32 `json:"sentinelPort,omitempty"`

	// Name of the master that the Sentinels watch. Needed when they watch several.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Master string `json:"master,omitempty"`

	// Whether they speak TLS.
	// +optional
	TLS bool `json:"tls,omitempty"`

	// Name that certificates are checked against. By default the pod's own.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	ServerName string `json:"serverName,omitempty"`

	// Secret in the store's namespace with username, password, ca.crt, tls.crt, tls.key, as far as they are needed.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Secret string `json:"secret,omitempty"`

	// The same for the Sentinels, if theirs is another one.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	SentinelSecret string `json:"sentinelSecret,omitempty"`

	// Whether the role goes back to the pod that had it.
	// +kubebuilder:validation:Enum=never;ifPinned;always
	// +optional
	Failback string `json:"failback,omitempty"`

	// Copies besides the master that have to be there while a pod is away.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Floor int32 `json:"floor,omitempty"`

	// How long clients have to follow before the pod that had the role is evicted; 5s.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="want a duration that is not negative"
	// +optional
	Linger *metav1.Duration `json:"linger,omitempty"`

	// Label of the pod that leads, as label=value.
	// +kubebuilder:validation:MaxLength=381
	// +kubebuilder:validation:Pattern=`^[^=]+=[^=]*$`
	// +optional
	Leader string `json:"leader,omitempty"`

	// +optional
	Hooks *Hooks `json:"hooks,omitempty"`

	// Of one call of a hook; 5s, and 7s at most counts. It is called again until it succeeds.
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s') && duration(self) <= duration('7s')",message="want a duration above zero, and at most 7s"
	// +optional
	HookTimeout *metav1.Duration `json:"hookTimeout,omitempty"`

	// What drover's eviction guard does about their evictions by others. It counts whoever says how the pods are moved.
	// +optional
	Guard *Guard `json:"guard,omitempty"`
}

// Hooks are calls of the owner's own code: "http://:PORT/PATH" in the pod, or "exec: COMMAND".
//
// +kubebuilder:validation:MinProperties=1
type Hooks struct {
	// In the pod that is to leave, until it succeeds.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(https?://[^/ ]*:[0-9]+(/.*)?|exec([(][a-z0-9-]+[)])?: *[^ ].*)$`
	// +optional
	PreMove string `json:"preMove,omitempty"`

	// In its successor, until it succeeds.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(https?://[^/ ]*:[0-9]+(/.*)?|exec([(][a-z0-9-]+[)])?: *[^ ].*)$`
	// +optional
	Ready string `json:"ready,omitempty"`

	// In the successor, once.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(https?://[^/ ]*:[0-9]+(/.*)?|exec([(][a-z0-9-]+[)])?: *[^ ].*)$`
	// +optional
	PostMove string `json:"postMove,omitempty"`
}

// Guard bounds how long an eviction is refused while drover moves the pod in its own way.
type Guard struct {
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="want a duration above zero"
	Hold metav1.Duration `json:"hold"`

	// What becomes of evictions after that.
	// +kubebuilder:validation:Enum=allow;block
	// +kubebuilder:default=allow
	// +optional
	OnTimeout string `json:"onTimeout,omitempty"`
}

// MoverPolicyList is a list of policies.
//
// +kubebuilder:object:root=true
type MoverPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MoverPolicy `json:"items"`
}
