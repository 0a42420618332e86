package sandbox

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"drover.dev/sandbox/cloud"
)

// Naive replaces the nodes of a group as many scripts do: cordon the old ones, double desired, wait for the new nodes, and let AWS take away
// what is too much. It is here to show what that costs.
func (w *World) Naive(ctx context.Context, group string) error {
	g, _, err := w.double(ctx, group)
	if err != nil {
		return fmt.Errorf("naive: %w", err)
	}
	fmt.Fprintf(w.Progress, "naive: desired %d → %d, AWS chooses who goes\n", 2*g.Desired, g.Desired)
	if err := w.Cloud.SetDesiredCapacity(group, g.Desired, false); err != nil {
		return fmt.Errorf("naive: %w", err)
	}
	if err := wait.PollUntilContextTimeout(ctx, time.Second, 5*time.Minute, true, func(context.Context) (bool, error) {
		now, err := w.Cloud.DescribeAutoScalingGroups([]string{group}, nil)
		return err == nil && len(now) == 1 && len(now[0].Members) == g.Desired, err
	}); err != nil {
		return fmt.Errorf("naive: waiting for AWS: %w", err)
	}
	fmt.Fprintln(w.Progress, "naive: AWS is done; waiting for the pods to come back")
	return w.allReady(ctx)
}

// double cordons the nodes of a group and launches as many again. It returns the group and the old nodes when the new ones are ready.
func (w *World) double(ctx context.Context, group string) (g cloud.Group, old []corev1.Node, err error) {
	groups, err := w.Cloud.DescribeAutoScalingGroups([]string{group}, nil)
	if err != nil || len(groups) != 1 {
		return g, nil, fmt.Errorf("group %s: %d found: %w", group, len(groups), err)
	}
	g = groups[0]
	all, err := w.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return g, nil, fmt.Errorf("list nodes: %w", err)
	}
	for _, n := range all.Items {
		if n.Labels[GroupLabel] == group {
			old = append(old, n)
		}
	}
	fmt.Fprintf(w.Progress, "Cordoning %d old nodes\n", len(old))
	for _, n := range old {
		if _, err := w.client.CoreV1().Nodes().Patch(ctx, n.Name, types.MergePatchType, []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{}); err != nil {
			return g, nil, fmt.Errorf("cordon %s: %w", n.Name, err)
		}
	}
	fmt.Fprintf(w.Progress, "Desired %d → %d, waiting for the new nodes\n", g.Desired, 2*g.Desired)
	if err := w.Cloud.SetDesiredCapacity(group, 2*g.Desired, false); err != nil {
		return g, nil, err
	}
	return g, old, w.nodesReady(ctx, len(all.Items)+g.Desired)
}
