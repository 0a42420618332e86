// Package fast is the world of drover's stories in memory: sandbox/cloud's AWS and sandbox/cluster's Kubernetes on one virtual clock, so that a
// rotation of an hour takes milliseconds and always goes the same way.
//
// Make a [World], add groups and workloads, and move its clock with Step or Advance. Instances that boot become nodes; nodes whose instance is
// switched off die with it. CloudHand and ClusterHand are what an engine acts through: they say and refuse what packages aws and kube say and
// refuse over the wire.
//
// Nothing happens between two steps of the clock, and whoever steps it is alone: the world starts no goroutine. It knows no stories and no mind.
package fast
