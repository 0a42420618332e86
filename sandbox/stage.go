package sandbox

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"drover.dev/sandbox/cloud"
)

// The stage: what a new sandbox holds, so that there is something to rotate.
const (
	StageGroup   = "web"   // six nodes in three zones, behind a load balancer
	BystandGroup = "tools" // one node that no rotation of web may touch
	nodePort     = 30080
	stageNodes   = 6
)

// stageYAML is the workload: an HTTP service of real processes under a PodDisruptionBudget, simulated deployments with and without a
// budget, and a DaemonSet.
//
//go:embed stage.yaml
var stageYAML string

// Stage fills the world with two groups and a workload, and returns when everything is ready and healthy. Its nodes run
// the first version of their launch template.
func (w *World) Stage(ctx context.Context) error {
	fmt.Fprintf(w.Progress, "Launching %d nodes in %d zones (%s machines)\n", stageNodes, len(w.Cloud.Zones()), w.Machines)
	if err := w.stageGroups(); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	if err := w.nodesReady(ctx, stageNodes+1); err != nil {
		return err
	}
	fmt.Fprintln(w.Progress, "Deploying the workload: an HTTP service (6 replicas, at most 1 may be missing), 3 simulated deployments, a DaemonSet")
	if err := w.stageWorkload(ctx); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	return w.allReady(ctx)
}

func (w *World) stageGroups() error {
	tg, err := w.Cloud.CreateTargetGroup(cloud.TargetGroup{
		Name: StageGroup, TargetType: "instance", Protocol: "HTTP", Port: nodePort,
		HealthCheck: cloud.HealthCheck{Protocol: "HTTP", Port: "traffic-port", Path: "/healthz", Matcher: "200", Interval: 5 * time.Second, Timeout: 2 * time.Second, HealthyThreshold: 2, UnhealthyThreshold: 2},
	})
	if err != nil {
		return err
	}
	if _, err := w.Cloud.ModifyTargetGroupAttributes(tg.ARN, map[string]string{"deregistration_delay.timeout_seconds": "10"}); err != nil {
		return err
	}
	if err := w.Cloud.SetExternalHealth(tg.ARN, true); err != nil {
		return err
	}
	template, err := w.Cloud.CreateLaunchTemplate(StageGroup, "first", cloud.TemplateData{ImageID: "ami-0a000000000000001", InstanceType: "m5.large"}, nil)
	if err != nil {
		return err
	}
	spec := cloud.TemplateSpec{ID: template.ID, Version: "$Latest"}
	if err := w.Cloud.CreateAutoScalingGroup(cloud.Group{
		Name: StageGroup, Min: stageNodes, Max: 2 * stageNodes, Desired: stageNodes, Zones: w.Cloud.Zones(), Source: cloud.Source{Template: spec},
		TargetGroups: []string{tg.ARN},
		Tags:         []cloud.GroupTag{{Group: StageGroup, Key: LabelTag + "pool", Value: StageGroup, Propagate: true}},
	}); err != nil {
		return err
	}
	return w.Cloud.CreateAutoScalingGroup(cloud.Group{
		Name: BystandGroup, Min: 1, Max: 2, Desired: 1, Zones: w.Cloud.Zones()[:1], Source: cloud.Source{Template: spec},
		Tags: []cloud.GroupTag{
			{Group: BystandGroup, Key: LabelTag + "pool", Value: BystandGroup, Propagate: true},
			{Group: BystandGroup, Key: MachineTag, Value: string(Light), Propagate: true},
		},
	})
}

// stageWorkload creates the objects of stage.yaml; those that exist are left as they are.
func (w *World) stageWorkload(ctx context.Context) error {
	documents := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(stageYAML)))
	for {
		doc, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("stage.yaml: %w", err)
		}
		if err := w.create(ctx, doc); err != nil {
			return fmt.Errorf("stage.yaml: %w", err)
		}
	}
}

// create creates one object of a kind that the stage uses.
func (w *World) create(ctx context.Context, doc []byte) error {
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(doc, nil, nil)
	if err != nil {
		return err
	}
	switch o := object.(type) {
	case *appsv1.Deployment:
		_, err = w.client.AppsV1().Deployments(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
	case *appsv1.StatefulSet:
		_, err = w.client.AppsV1().StatefulSets(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
	case *appsv1.DaemonSet:
		_, err = w.client.AppsV1().DaemonSets(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
	case *corev1.Service:
		_, err = w.client.CoreV1().Services(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
	case *policyv1.PodDisruptionBudget:
		_, err = w.client.PolicyV1().PodDisruptionBudgets(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
	default:
		return fmt.Errorf("the stage does not know what to do with a %T", object)
	}
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// nodesReady waits for a number of Ready nodes.
func (w *World) nodesReady(ctx context.Context, want int) error {
	ready := 0
	err := wait.PollUntilContextTimeout(ctx, time.Second/2, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
		list, err := w.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		ready = 0
		for i := range list.Items {
			if nodeReady(&list.Items[i]) {
				ready++
			}
		}
		return ready >= want, nil
	})
	if err != nil {
		return fmt.Errorf("%d of %d nodes ready: %w; see %s", ready, want, err, w.logFile.Name())
	}
	return nil
}

func nodeReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// allReady waits until every deployment and DaemonSet is ready, every budget has counted its pods, and every target is healthy.
func (w *World) allReady(ctx context.Context) error {
	var why string
	err := wait.PollUntilContextTimeout(ctx, time.Second/2, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
		var err error
		why, err = w.notReady(ctx)
		return why == "" && err == nil, err
	})
	if err != nil {
		return fmt.Errorf("stage: %s: %w; see %s", why, err, w.logFile.Name())
	}
	return nil
}

func (w *World) notReady(ctx context.Context) (string, error) {
	deployments, err := w.client.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, d := range deployments.Items {
		if d.Status.ReadyReplicas < *d.Spec.Replicas {
			return fmt.Sprintf("deployment %s has %d of %d replicas ready", d.Name, d.Status.ReadyReplicas, *d.Spec.Replicas), nil
		}
	}
	sets, err := w.client.AppsV1().DaemonSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, d := range sets.Items {
		if d.Status.NumberReady < d.Status.DesiredNumberScheduled || d.Status.ObservedGeneration == 0 {
			return fmt.Sprintf("daemonset %s has %d of %d pods ready", d.Name, d.Status.NumberReady, d.Status.DesiredNumberScheduled), nil
		}
	}
	budgets, err := w.client.PolicyV1().PodDisruptionBudgets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, b := range budgets.Items {
		if b.Status.ExpectedPods == 0 || b.Status.CurrentHealthy < b.Status.ExpectedPods {
			return fmt.Sprintf("budget %s counts %d of %d healthy", b.Name, b.Status.CurrentHealthy, b.Status.ExpectedPods), nil
		}
	}
	for _, tg := range w.Cloud.TargetGroups() {
		for _, t := range w.Cloud.Targets(tg.ARN) {
			if t.State != cloud.StateHealthy {
				return fmt.Sprintf("target %s of %s is %s", t.ID, tg.Name, t.State), nil
			}
		}
	}
	return "", nil
}
