package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Environments is the resource, as it is named in URLs.
var Environments = GroupVersion.WithResource("environments")

// Annotations of environments, and of what belongs to them.
const (
	WishKey         = "drover.dev/wish"        // on an Environment: what a person wants over its schedule, as FormatWish prints it
	MarkKey         = "drover.dev/environment" // on what a stop changes: how it was before, as fleet.PartMark prints it
	RecordFinalizer = "drover.dev/record"      // on an Environment with a record: it goes when the record is over
)

// KeptSleeps is how many sleeps that are over an Environment holds.
const KeptSleeps = 32

// Environment is workloads, groups and databases that are switched off and on together. While it sleeps, its status holds how everything was before;
// that is written before the first change, and stays until the start is verified.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=denv,categories=drover
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.summary.state`
// +kubebuilder:printcolumn:name="Since",type=date,JSONPath=`.status.summary.since`
// +kubebuilder:printcolumn:name="Next",type=string,JSONPath=`.status.summary.next`
// +kubebuilder:printcolumn:name="Saved",type=string,JSONPath=`.status.summary.saved`
// +kubebuilder:printcolumn:name="Protected",type=boolean,priority=1,JSONPath=`.spec.protected`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.record) || has(self.status)",message="status is not cleared while it holds a record: how everything was before"
type Environment struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec EnvironmentSpec `json:"spec"`
	// +optional
	Status EnvironmentStatus `json:"status,omitzero"`
}

// EnvironmentSpec is what belongs to the environment, and when it is to be on.
//
// +kubebuilder:validation:XValidation:rule="!has(self.order) || has(self.workloads)",message="order is of workloads, and there are none"
type EnvironmentSpec struct {
	// Whether it is never switched off, whoever asks.
	// +optional
	Protected bool `json:"protected,omitempty"`

	// Which workloads belong to it: those that any of these chooses.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Workloads []Selection `json:"workloads,omitempty"`

	// Node groups that work for it, by name: managed node groups of EKS, or Auto Scaling groups.
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	// +optional
	Groups []string `json:"groups,omitempty"`

	// RDS instances and Aurora clusters that belong to it.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Databases []Database `json:"databases,omitempty"`

	// Which of its workloads need which. What is in no tier has a place by its kind.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Order []Tier `json:"order,omitempty"`

	// When it is to be on. Without it, it is switched by people only.
	// +optional
	Schedule *Schedule `json:"schedule,omitempty"`

	// +optional
	Policy EnvironmentPolicy `json:"policy,omitzero"`

	// Where the second copy of its record goes: file:///folder or s3://bucket/prefix.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(file:///.*|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?)$`
	// +optional
	Archive string `json:"archive,omitempty"`

	// Prices that its owner gives; they go before any other.
	// +listType=map
	// +listMapKey=subject
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Prices []Price `json:"prices,omitempty"`
}

// Selection chooses workloads: those that meet all that it says.
//
// +kubebuilder:validation:XValidation:rule="has(self.namespaces) || has(self.selector) || has(self.name)",message="want namespaces, selector or name: this chooses nothing"
type Selection struct {
	// Namespaces by name. All, if there are none.
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`

	// Labels of the workloads themselves, not of their pods.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`

	// Kind of the workload: Deployment, StatefulSet, CronJob, ...
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Kind string `json:"kind,omitempty"`

	// Name of the workload.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Name string `json:"name,omitempty"`
}

// Database is an RDS instance or an Aurora cluster.
//
// +kubebuilder:validation:XValidation:rule="has(self.instance) != has(self.cluster)",message="want instance or cluster, one of them"
// +kubebuilder:validation:XValidation:rule="!has(self.lower) || has(self.cluster)",message="lower is for clusters with Serverless v2"
type Database struct {
	// Identifier of an RDS instance.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Instance string `json:"instance,omitempty"`

	// Identifier of an Aurora cluster.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Cluster string `json:"cluster,omitempty"`

	// Serverless v2: the least capacity units while it is off, rather than a stop. In steps of 0.5.
	// +kubebuilder:validation:MaxLength=8
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[05])?$`
	// +optional
	Lower string `json:"lower,omitempty"`

	// Secret with username and password, and if need be dbname and sslmode, to ask the database whether it answers and who is connected.
	// Without it drover only sees whether it takes connections.
	// +optional
	Secret *SecretRef `json:"secret,omitempty"`

	// Of the database to log in to. By default what the Secret says, else postgres.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Name string `json:"name,omitempty"`

	// Whether others may be connected to it when it is stopped.
	// +optional
	Shared bool `json:"shared,omitempty"`
}

// SecretRef names a Secret.
type SecretRef struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Tier is workloads that are switched together: off after those that need them, on before them.
type Tier struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// Within the environment.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Workloads []Selection `json:"workloads"`

	// Tiers that have to work before this one.
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	// +optional
	Needs []string `json:"needs,omitempty"`
}

// Schedule says when an environment is to be on. What is true now counts, not what was missed.
type Schedule struct {
	// IANA name of the time zone that all times are of, such as Europe/Berlin.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Zone string `json:"zone"`

	// When it is on. At all other times it is off. The field is not called on, which YAML reads as true.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Awake []Window `json:"awake"`

	// Days on which no window begins.
	// +optional
	Holidays *Holidays `json:"holidays,omitempty"`

	// Times in which something else counts, whatever the windows and holidays say. Of several that cover a moment the last one does.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Exceptions []ScheduleException `json:"exceptions,omitempty"`
}

// Window is a time of the week in which the environment is on. One that ends at or before its begin ends the next day.
type Window struct {
	// Days on which it begins: Mon, or a range as Mon-Fri.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=7
	// +kubebuilder:validation:items:MaxLength=7
	// +kubebuilder:validation:items:Pattern=`^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)(-(Mon|Tue|Wed|Thu|Fri|Sat|Sun))?$`
	Days []string `json:"days"`

	// As 08:00, by the wall clock.
	// +kubebuilder:validation:MaxLength=5
	// +kubebuilder:validation:Pattern=`^([01][0-9]|2[0-3]):[0-5][0-9]$`
	From string `json:"from"`

	// As 19:00; 24:00 is the end of the day.
	// +kubebuilder:validation:MaxLength=5
	// +kubebuilder:validation:Pattern=`^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$`
	To string `json:"to"`
}

// Holidays are days off, from all that it says.
//
// +kubebuilder:validation:XValidation:rule="!has(self.calendar) || !has(self.configMap)",message="want calendar or configMap, not both"
type Holidays struct {
	// As 2026-12-25, or every year as 12-25.
	// +listType=set
	// +kubebuilder:validation:MaxItems=366
	// +kubebuilder:validation:items:MaxLength=10
	// +kubebuilder:validation:items:Pattern=`^([0-9]{4}-)?(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$`
	// +optional
	Dates []string `json:"dates,omitempty"`

	// Text of an iCalendar (RFC 5545). Its all-day events are days off.
	// +kubebuilder:validation:MaxLength=262144
	// +optional
	Calendar string `json:"calendar,omitempty"`

	// ConfigMap with the text of an iCalendar.
	// +optional
	ConfigMap *ConfigMapKey `json:"configMap,omitempty"`
}

// ConfigMapKey names an entry of a ConfigMap.
type ConfigMapKey struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// ScheduleException is a time in which the schedule says something else.
type ScheduleException struct {
	// As 2026-12-24T12:00, by the wall clock.
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]$`
	From string `json:"from"`

	// When it ends, the same way.
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]$`
	To string `json:"to"`

	// +kubebuilder:validation:Enum=Awake;Asleep
	State string `json:"state"`

	// For people.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Why string `json:"why,omitempty"`
}

// States of an exception.
const (
	StateAwake  = "Awake"
	StateAsleep = "Asleep"
)

// EnvironmentPolicy is what the owner leaves to drover.
type EnvironmentPolicy struct {
	// What becomes of groups that carry pods of others. Own: exactly the nodes that carry none of them are ended. Refuse: nothing is stopped. By default Own.
	// +kubebuilder:validation:Enum=Own;Refuse
	// +optional
	Shared string `json:"shared,omitempty"`

	// Namespaces whose pods are nobody's, and may be moved off the environment's nodes. By default kube-system.
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	// +optional
	Carry []string `json:"carry,omitempty"`

	// How often what somebody else switched back is switched off again. By default 3.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +optional
	Fights int64 `json:"fights,omitempty"` // so that no number too large is taken for a small one

	// How long a stop or a start may take before it is called late. By default 1h.
	// +optional
	Within *metav1.Duration `json:"within,omitempty"`

	// What becomes of GitOps applications whose pause somebody would take back. Refuse: nothing is stopped. By default Refuse.
	// +kubebuilder:validation:Enum=Refuse;Ignore
	// +optional
	Parents string `json:"parents,omitempty"`
}

// Price is what something costs in an hour.
type Price struct {
	// What costs it: an instance type such as m5.large, "db.t3.micro postgres", "group web", "instance stg".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Subject string `json:"subject"`

	// While it is on, such as 0.0104.
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?$`
	// +optional
	Awake string `json:"awake,omitempty"`

	// What still bills while it is off.
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?$`
	// +optional
	Asleep string `json:"asleep,omitempty"`

	// As USD.
	// +kubebuilder:validation:MaxLength=3
	// +kubebuilder:validation:Pattern=`^[A-Z]{3}$`
	// +optional
	Currency string `json:"currency,omitempty"`

	// Where the price is from. By default "given".
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Source string `json:"source,omitempty"`
}

// EnvironmentStatus is how the environment is.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.record) || has(self.record) || has(self.sleeps) && self.sleeps.exists(s, s.run == oldSelf.record.original.run)",message="a record goes only when its sleep is over, and is then among sleeps: it is how everything was before"
type EnvironmentStatus struct {
	// Of the sleep under way.
	// +optional
	Record *SleepRecord `json:"record,omitempty"`

	// Those that are over, the newest last.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Sleeps []Sleep `json:"sleeps,omitempty"`

	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// +optional
	Summary EnvironmentSummary `json:"summary,omitzero"`
}

// Condition types of an Environment.
const (
	Asleep = "Asleep" // everything is off
	Ready  = "Ready"  // everything is on, and works
)

// EnvironmentSummary is for columns, of which each shows one value.
type EnvironmentSummary struct {
	// on, stopping, asleep, starting, ...
	// +optional
	State string `json:"state,omitempty"`

	// Since when.
	// +optional
	Since metav1.Time `json:"since,omitzero"`

	// What is due next, and when.
	// +optional
	Next string `json:"next,omitempty"`

	// Money, this sleep or the last one.
	// +optional
	Saved string `json:"saved,omitempty"`

	// What it stands still on.
	// +listType=atomic
	// +optional
	Waiting []string `json:"waiting,omitempty"`
}

// SleepRecord is the durable record of one stop and its start.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.added) || has(self.added) && size(self.added) >= size(oldSelf.added)",message="how an object was before stays on file: it is put back"
type SleepRecord struct {
	// What was approved, and how everything was before.
	Original SleepOriginal `json:"original"`

	// Objects that came while the environment slept, as they were then.
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=namespace
	// +listMapKey=name
	// +optional
	Added []AddedPart `json:"added,omitempty"`

	// +optional
	Marks SleepMarks `json:"marks,omitzero"`

	// Somebody else switching back what is switched off.
	// +listType=atomic
	// +optional
	Fights []Fight `json:"fights,omitempty"`

	// What did not go as it should.
	// +listType=atomic
	// +optional
	Exceptions []string `json:"exceptions,omitempty"`
}

// SleepOriginal is what was approved, and how everything was before it.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="how everything was before does not change: it is put back"
type SleepOriginal struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Run string `json:"run"`

	// Who asked for it.
	// +optional
	By string `json:"by,omitempty"`

	// +optional
	Why string `json:"why,omitempty"`

	// When it began.
	// +optional
	At metav1.Time `json:"at,omitzero"`

	// Codes of findings that a person overrode.
	// +listType=atomic
	// +optional
	Forced []string `json:"forced,omitempty"`

	// Objects of the cluster.
	// +listType=atomic
	// +optional
	Parts []PartRecord `json:"parts,omitempty"`

	// +listType=atomic
	// +optional
	Groups []SleepGroup `json:"groups,omitempty"`

	// +listType=atomic
	// +optional
	Databases []SleepDatabase `json:"databases,omitempty"`

	// The nodes that may go. No other one does.
	// +listType=atomic
	// +optional
	Exits []Exit `json:"exits,omitempty"`

	// What each thing costs.
	// +listType=atomic
	// +optional
	Rates []Price `json:"rates,omitempty"`

	// Of the approved plan.
	// +optional
	Hash string `json:"hash,omitempty"`
}

// PartRecord is an object as it was.
type PartRecord struct {
	// What of it is switched.
	// +optional
	Turn string `json:"turn,omitempty"`
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	// +optional
	UID string `json:"uid,omitempty"`

	// 0 is switched off first, and on last.
	// +optional
	Tier int64 `json:"tier,omitempty"`

	// How many of its pods were Ready.
	// +optional
	Ready int64 `json:"ready,omitempty"`

	// The value before; none when it was absent.
	// +optional
	Value *string `json:"value,omitempty"`
}

// AddedPart is an object that came while the environment slept.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="how an object was before does not change: it is put back"
type AddedPart struct {
	PartRecord `json:",inline"`
}

// SleepGroup is a node group as it was.
type SleepGroup struct {
	Name string `json:"name"`

	// Name of the Auto Scaling group.
	// +optional
	Scaling string `json:"scaling,omitempty"`

	// Whether it is an EKS managed node group.
	// +optional
	Managed bool `json:"managed,omitempty"`

	// EKS's, of a managed one.
	// +optional
	Cluster string `json:"cluster,omitempty"`

	Min     int64 `json:"min"`
	Max     int64 `json:"max"`
	Desired int64 `json:"desired"`

	// Scaling processes that were off.
	// +listType=atomic
	// +optional
	Suspended []string `json:"suspended,omitempty"`

	// Instances that were protected from scale-in.
	// +listType=atomic
	// +optional
	Protected []string `json:"protected,omitempty"`

	// Instances that stay, because they carry pods of others.
	// +listType=atomic
	// +optional
	Keepers []string `json:"keepers,omitempty"`

	// How many nodes go.
	// +optional
	Exits int64 `json:"exits,omitempty"`
}

// SleepDatabase is a database as it was.
type SleepDatabase struct {
	ID string `json:"id"`
	// +optional
	Class string `json:"class,omitempty"`
	// +optional
	Status string `json:"status,omitempty"`

	// Serverless v2: the capacity units before.
	// +optional
	MinACU string `json:"minACU,omitempty"`
	// +optional
	MaxACU string `json:"maxACU,omitempty"`

	// Whether its capacity is lowered, and it is not stopped.
	// +optional
	Lower bool `json:"lower,omitempty"`

	// To how much.
	// +optional
	ToACU string `json:"toACU,omitempty"`
}

// SleepMarks are moments of a sleep that the world does not show. A stop after half a start clears some of them.
type SleepMarks struct {
	// The second copy of the record was written and read back.
	// +optional
	Archived metav1.Time `json:"archived,omitzero"`

	// Every workload was switched off.
	// +optional
	SwitchedOff metav1.Time `json:"switchedOff,omitzero"`

	// Everything was off.
	// +optional
	Asleep metav1.Time `json:"asleep,omitzero"`

	// The start began.
	// +optional
	Starting metav1.Time `json:"starting,omitzero"`

	// Who asked for the start.
	// +optional
	StartedBy string `json:"startedBy,omitempty"`

	// Databases answered and nodes were Ready.
	// +optional
	Served metav1.Time `json:"served,omitzero"`

	// A stop took over from a start that was half done.
	// +optional
	Again metav1.Time `json:"again,omitzero"`
}

// Fight is somebody else switching back what is switched off.
type Fight struct {
	Subject string `json:"subject"`
	// +optional
	By string `json:"by,omitempty"`
	// +optional
	Times int64 `json:"times,omitempty"`
	// +optional
	Last metav1.Time `json:"last,omitzero"`
}

// Sleep is one that is over.
type Sleep struct {
	// +kubebuilder:validation:MaxLength=253
	Run string `json:"run"`

	// Who asked for the stop.
	// +optional
	By string `json:"by,omitempty"`

	// Who asked for the start.
	// +optional
	StartedBy string `json:"startedBy,omitempty"`

	// When it began.
	// +optional
	At metav1.Time `json:"at,omitzero"`

	// When everything was off; none when it never was.
	// +optional
	Asleep metav1.Time `json:"asleep,omitzero"`

	// When the start began.
	// +optional
	Starting metav1.Time `json:"starting,omitzero"`

	// When it was verified.
	// +optional
	Awake metav1.Time `json:"awake,omitzero"`

	// Money, as it was reckoned.
	// +optional
	Saved string `json:"saved,omitempty"`

	// What did not go as it should.
	// +listType=atomic
	// +optional
	Exceptions []string `json:"exceptions,omitempty"`
}

// EnvironmentList is a list of environments.
//
// +kubebuilder:object:root=true
type EnvironmentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Environment `json:"items"`
}
