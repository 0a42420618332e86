package machine

import corev1 "k8s.io/api/core/v1"

// NodeLabels are the labels that the machine's node registers with.
func (s Spec) NodeLabels() map[string]string { return s.labels() }

// Capacity is what the machine's node offers.
func (s Spec) Capacity() (corev1.ResourceList, error) { return s.capacity() }
