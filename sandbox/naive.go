package sandbox

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
)

// Naive replaces the nodes of a group as many scripts do: cordon the old ones, double desired, wait for the new nodes, and let AWS take away
// what is too much. It is here to show what that costs.
func (w *World) Naive(ctx context.Context, group string) error {
	groups, err := w.Cloud.DescribeAutoScalingGroups([]string{group}, nil)
	if err != nil || len(groups) != 1 {
		return fmt.Errorf("naive: group %s: %w", group, err)
	}
	g := groups[0]
	nodes, err := w.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: GroupLabel + "=" + group})
	if err != nil {
		return fmt.Errorf("naive: list nodes: %w", err)
	}
	fmt.Fprintf(w.Progress, "naive: cordoning %d old nodes\n", len(nodes.Items))
	for _, n := range nodes.Items {
		if _, err := w.client.CoreV1().Nodes().Patch(ctx, n.Name, types.MergePatchType, []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("naive: cordon %s: %w", n.Name, err)
		}
	}
	fmt.Fprintf(w.Progress, "naive: desired %d → %d, waiting for the new nodes\n", g.Desired, 2*g.Desired)
	if err := w.Cloud.SetDesiredCapacity(group, 2*g.Desired, false); err != nil {
		return fmt.Errorf("naive: %w", err)
	}
	if err := w.nodesReady(ctx, 2*g.Desired+1); err != nil {
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
