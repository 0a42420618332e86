package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
)

// Look is a pod as the API server has it now.
type Look struct {
	Pod   fleet.Pod
	Node  *fleet.Node // nil when the pod has none, or that is gone
	Store string      // namespace/name of the store that it is of; "" for none
	Mover fleet.Mover // of that store, as the pod's declaration says; "" when that is broken, or the pod is drover's own
}

// Look reads a pod and its node past the informers, for who must not go by what these do not show yet; nil when there is no such pod. Who declares it,
// and how, is taken from the informers: that is older than the pod.
func (c *Cluster) Look(ctx context.Context, namespace, name string) (*Look, error) {
	raw, err := c.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, classify(fmt.Errorf("read pod %s/%s: %w", namespace, name, err))
	}
	p := &seenPod{raw: raw, pod: c.podOf(raw)}
	c.stand(p, c.readPolicies())
	out := &Look{Pod: p.pod}
	if p.claim != nil && p.claim.mover != noMover {
		out.Store = p.claim.store
		if len(p.claim.trouble) == 0 {
			out.Mover = fleet.Mover(p.claim.mover)
		}
	}
	if p.pod.Node == "" {
		return out, nil
	}
	n, err := c.liveNode(ctx, p.pod.Node)
	if err != nil {
		return nil, fmt.Errorf("read node %s, of pod %s/%s: %w", p.pod.Node, namespace, name, err)
	}
	if p.court != nil {
		out.Pod.Courted = p.court.of(raw, n)
	}
	if n != nil {
		node := nodeOf(n)
		out.Node = &node
	}
	return out, nil
}
