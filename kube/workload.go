package kube

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"drover.dev/fleet"
)

func (c *Cluster) observeWorkloads(s *fleet.Snapshot) error {
	scalers, err := c.scalersByTarget()
	if err != nil {
		return err
	}
	var unreadable error
	add := func(kind string, m *metav1.ObjectMeta, replicas *int32, recreate bool) {
		owner := fleet.Owner{Kind: kind, Namespace: m.Namespace, Name: m.Name}
		w, err := workloadOf(owner, m, scalers[owner])
		if err != nil && unreadable == nil {
			unreadable = err
		}
		w.Recreate, w.Replicas = recreate, 1
		if replicas != nil {
			w.Replicas = int(*replicas)
		}
		s.Workloads = append(s.Workloads, w)
	}
	deployments, err := c.deployments.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("deployments: %w", err)
	}
	for _, d := range deployments {
		add("Deployment", &d.ObjectMeta, d.Spec.Replicas, d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType)
	}
	sets, err := c.statefulSets.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("statefulsets: %w", err)
	}
	for _, d := range sets {
		add("StatefulSet", &d.ObjectMeta, d.Spec.Replicas, false)
	}
	replicaSets, err := c.replicaSets.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("replicasets: %w", err)
	}
	for _, d := range replicaSets {
		if metav1.GetControllerOf(d) == nil {
			add("ReplicaSet", &d.ObjectMeta, d.Spec.Replicas, false)
		}
	}
	slices.SortFunc(s.Workloads, func(a, b fleet.Workload) int {
		return cmp.Or(cmp.Compare(a.Owner.Kind, b.Owner.Kind), cmp.Compare(a.Owner.Namespace, b.Owner.Namespace), cmp.Compare(a.Owner.Name, b.Owner.Name))
	})
	return unreadable
}

// workloadOf is what a workload's own metadata and its autoscaler say. The mark may be on either.
func workloadOf(owner fleet.Owner, m *metav1.ObjectMeta, scaler *autoscalingv2.HorizontalPodAutoscaler) (fleet.Workload, error) {
	w := fleet.Workload{Owner: owner, GitOps: gitOps(m)}
	var err error
	if w.Surge, err = surgeOf(m.Labels); err != nil {
		return w, fmt.Errorf("%s: %w", owner, err)
	}
	if scaler == nil {
		return w, nil
	}
	w.Scaler = &fleet.Scaler{Name: scaler.Name, Min: minOf(scaler), Max: int(scaler.Spec.MaxReplicas)}
	mark, err := surgeOf(scaler.Labels)
	if err != nil {
		return w, fmt.Errorf("autoscaler %s/%s: %w", scaler.Namespace, scaler.Name, err)
	}
	if mark != nil {
		w.Surge = mark
	}
	return w, nil
}

// scalersByTarget returns the autoscalers by the workload whose replicas they set. KEDA's objects make one each.
func (c *Cluster) scalersByTarget() (map[fleet.Owner]*autoscalingv2.HorizontalPodAutoscaler, error) {
	all, err := c.scalers.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("horizontalpodautoscalers: %w", err)
	}
	out := make(map[fleet.Owner]*autoscalingv2.HorizontalPodAutoscaler, len(all))
	for _, h := range all {
		out[targetOf(h)] = h
	}
	return out, nil
}

func targetOf(h *autoscalingv2.HorizontalPodAutoscaler) fleet.Owner {
	return fleet.Owner{Kind: h.Spec.ScaleTargetRef.Kind, Namespace: h.Namespace, Name: h.Spec.ScaleTargetRef.Name}
}

// minOf is the least number of replicas; 1 is the API's own default.
func minOf(h *autoscalingv2.HorizontalPodAutoscaler) int {
	if h.Spec.MinReplicas == nil {
		return 1
	}
	return int(*h.Spec.MinReplicas)
}

// gitOps says what puts the object back to what a repository holds; "" when nothing does. Argo CD tracks by an annotation or a label of its
// own, or by a label that Helm charts use too: that one counts only beside something else of Argo CD's.
func gitOps(m *metav1.ObjectMeta) string {
	has := func(key string) bool { return m.Labels[key] != "" || m.Annotations[key] != "" }
	switch {
	case has("argocd.argoproj.io/tracking-id"), has("argocd.argoproj.io/instance"), m.Labels["app.kubernetes.io/instance"] != "" && argoKeys(m):
		return "Argo CD"
	case has("kustomize.toolkit.fluxcd.io/name"), has("helm.toolkit.fluxcd.io/name"):
		return "Flux"
	}
	return ""
}

func argoKeys(m *metav1.ObjectMeta) bool {
	for _, keys := range []map[string]string{m.Labels, m.Annotations} {
		for key := range keys {
			if strings.HasPrefix(key, "argocd.argoproj.io/") {
				return true
			}
		}
	}
	return false
}
