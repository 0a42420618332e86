package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"
)

// kubectl drain waits this long after an eviction was refused, and between two looks at whether a pod is gone.
const (
	refusedPause = 5 * time.Second
	gonePause    = time.Second
)

// DrainAll replaces the nodes of a group as kubectl and a shell do: cordon the old ones, launch as many again, then drain one after the other, those
// of the pods named first, and end its instance. Who listens hears of each node, and of each new reason for which an eviction is refused.
func (w *World) DrainAll(ctx context.Context, group string, first []string, tell func(node, what string)) error {
	_, old, err := w.double(ctx, group)
	if err != nil {
		return fmt.Errorf("drain group %s: %w", group, err)
	}
	if err := w.leadBy(ctx, old, first); err != nil {
		return fmt.Errorf("drain group %s: %w", group, err)
	}
	for _, n := range old {
		tell(n.Name, "kubectl drain")
		if err := w.drain(ctx, n.Name, tell); err != nil {
			return fmt.Errorf("drain node %s: %w", n.Name, err)
		}
		in, err := w.instance(n.Name)
		if err != nil {
			return fmt.Errorf("instance of node %s: %w", n.Name, err)
		}
		if _, err := w.Cloud.TerminateInstanceInAutoScalingGroup(in.ID, true); err != nil {
			return fmt.Errorf("end instance %s: %w", in.ID, err)
		}
	}
	return w.allReady(ctx)
}

// leadBy puts the nodes of those pods first, in their order.
func (w *World) leadBy(ctx context.Context, nodes []corev1.Node, pods []string) error {
	turn := map[string]int{}
	for i, name := range pods {
		p, err := w.client.CoreV1().Pods(RedisNamespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("node of pod %s: %w", name, err)
		}
		if _, known := turn[p.Spec.NodeName]; !known {
			turn[p.Spec.NodeName] = i - len(pods)
		}
	}
	slices.SortStableFunc(nodes, func(a, b corev1.Node) int { return turn[a.Name] - turn[b.Name] })
	return nil
}

// drain evicts all pods of a node at once, each again and again until it may go, and waits until they are gone.
func (w *World) drain(ctx context.Context, node string, tell func(node, what string)) error {
	pods, err := w.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String()})
	if err != nil {
		return err
	}
	errs := make([]error, len(pods.Items))
	var work sync.WaitGroup
	for i := range pods.Items {
		p := &pods.Items[i]
		if owner := metav1.GetControllerOf(p); owner != nil && owner.Kind == "DaemonSet" {
			continue
		}
		work.Go(func() { errs[i] = w.evict(ctx, p, func(what string) { tell(node, what) }) })
	}
	work.Wait()
	return errors.Join(errs...)
}

func (w *World) evict(ctx context.Context, p *corev1.Pod, tell func(string)) error {
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}}
	said := ""
	err := wait.PollUntilContextCancel(ctx, refusedPause, true, func(ctx context.Context) (bool, error) {
		err := w.client.PolicyV1().Evictions(p.Namespace).Evict(ctx, eviction)
		if !apierrors.IsTooManyRequests(err) {
			return true, err
		}
		if why := err.Error(); why != said {
			said = why
			tell(fmt.Sprintf("%s refused: %s", p.Name, why))
		}
		gone, err := w.gone(ctx, p)
		return gone, err
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("evict pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	err = wait.PollUntilContextCancel(ctx, gonePause, true, func(ctx context.Context) (bool, error) { return w.gone(ctx, p) })
	if err != nil {
		return fmt.Errorf("wait for pod %s/%s to go: %w", p.Namespace, p.Name, err)
	}
	tell(p.Name + " evicted")
	return nil
}

// gone tells whether a pod is: another may have its name by now.
func (w *World) gone(ctx context.Context, p *corev1.Pod) (bool, error) {
	now, err := w.client.CoreV1().Pods(p.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return err == nil && now.UID != p.UID, err
}
