// Package v1alpha1 is drover's objects in the cluster: a Rotation is the durable record of a run, a Departure is one node that has to go, a Move is
// one pod of a store that is on its way, a MoverPolicy says which pods are a store and how they are moved, and an Environment is what is switched off and on
// together, with the record of how everything was.
//
// FromRecord and Rotation.Record turn a fleet.RotationRecord into an object and back, without loss down to the second; FromCase and Departure.Case
// a fleet.Case, FromMove and Move.Move a fleet.StoreMove, down to the microsecond. ReadEnvironment and ParseEnvironments read an Environment of a cluster or of a file so that
// what cannot be understood of it is said where it is, and hides nothing else. Deep copies (zz_generated.deepcopy.go) and the custom resource definitions (deploy/crds) are generated and checked in:
//
//	go generate ./api/...
//
// The package talks to no API server: kube does.
//
// +kubebuilder:object:generate=true
// +groupName=drover.dev
package v1alpha1

//go:generate go tool controller-gen object crd paths=. output:crd:dir=../../deploy/crds

import "k8s.io/apimachinery/pkg/runtime/schema"

// GroupVersion is the API group and version of this package's kinds.
var GroupVersion = schema.GroupVersion{Group: "drover.dev", Version: "v1alpha1"}

// Resources, as they are named in URLs.
var (
	Rotations     = GroupVersion.WithResource("rotations")
	Departures    = GroupVersion.WithResource("departures")
	Moves         = GroupVersion.WithResource("moves")
	MoverPolicies = GroupVersion.WithResource("moverpolicies")
)

// Labels of a Departure: a run's names its run; one that AWS gave notice of says so, and its name is the instance's id.
const (
	RunLabel    = "drover.dev/run"
	NoticeLabel = "drover.dev/notice"
)
