// Package kube is the hand on Kubernetes: informers in, actions out. It is the only reader and writer of node and pod annotations, labels
// and taints, and of drover's lease.
//
// Open a Cluster once; its informers keep it current. Observe copies what they know into a snapshot. Act carries out one action against the
// live API, and Confirm reads past the informers where an action cannot be undone.
package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	policylisters "k8s.io/client-go/listers/policy/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// QPS and burst of the client. client-go's default of 5 a second would throttle a drain; the eviction lanes are what sets the pace.
const (
	clientQPS   = 50
	clientBurst = 100
)

// firstAnswer bounds how long the API server may take to say anything at all before Open gives up.
const firstAnswer = 10 * time.Second

// firstSync bounds the first full listing of everything.
const firstSync = 2 * time.Minute

// Cluster is one Kubernetes cluster, seen through informers.
type Cluster struct {
	client  kubernetes.Interface
	changed chan struct{}

	nodes        corelisters.NodeLister
	pods         corelisters.PodLister
	claims       corelisters.PersistentVolumeClaimLister
	volumes      corelisters.PersistentVolumeLister
	budgets      policylisters.PodDisruptionBudgetLister
	deployments  appslisters.DeploymentLister
	replicaSets  appslisters.ReplicaSetLister
	statefulSets appslisters.StatefulSetLister
}

// Open connects, and returns once everything has been listed. The informers run until ctx ends.
func Open(ctx context.Context, cfg *rest.Config) (*Cluster, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst = clientQPS, clientBurst
	cfg.UserAgent = "drover"
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("kubernetes client: %w", err)
	}
	if err := greet(ctx, cfg); err != nil {
		return nil, err
	}
	c := &Cluster{client: client, changed: make(chan struct{}, 1)}
	return c, c.watch(ctx)
}

// greet asks the server for its version, so that an unreachable or refusing one is told at once and in one sentence.
func greet(ctx context.Context, cfg *rest.Config) error {
	quick := rest.CopyConfig(cfg)
	quick.Timeout = firstAnswer
	client, err := kubernetes.NewForConfig(quick)
	if err != nil {
		return fmt.Errorf("kubernetes client: %w", err)
	}
	err = client.CoreV1().RESTClient().Get().AbsPath("/api/v1").MaxRetries(0).Do(ctx).Error()
	switch {
	case err == nil:
		return nil
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("kubernetes API server %s: it does not accept your credentials (%w); log in again", cfg.Host, err)
	default:
		return fmt.Errorf("kubernetes API server %s: no answer: %w; check the kubeconfig's server and the network", cfg.Host, err)
	}
}

func (c *Cluster) watch(ctx context.Context) error {
	f := informers.NewSharedInformerFactory(c.client, 0)
	c.nodes = f.Core().V1().Nodes().Lister()
	c.pods = f.Core().V1().Pods().Lister()
	c.claims = f.Core().V1().PersistentVolumeClaims().Lister()
	c.volumes = f.Core().V1().PersistentVolumes().Lister()
	c.budgets = f.Policy().V1().PodDisruptionBudgets().Lister()
	c.deployments = f.Apps().V1().Deployments().Lister()
	c.replicaSets = f.Apps().V1().ReplicaSets().Lister()
	c.statefulSets = f.Apps().V1().StatefulSets().Lister()
	var trouble troubles
	for _, i := range []cache.SharedIndexInformer{
		f.Core().V1().Nodes().Informer(), f.Core().V1().Pods().Informer(), f.Core().V1().PersistentVolumeClaims().Informer(),
		f.Core().V1().PersistentVolumes().Informer(), f.Policy().V1().PodDisruptionBudgets().Informer(), f.Apps().V1().Deployments().Informer(),
		f.Apps().V1().ReplicaSets().Informer(), f.Apps().V1().StatefulSets().Informer(),
	} {
		if err := i.SetWatchErrorHandlerWithContext(trouble.note); err != nil {
			return fmt.Errorf("informer: %w", err)
		}
		if _, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { c.wake() },
			UpdateFunc: func(any, any) { c.wake() },
			DeleteFunc: func(any) { c.wake() },
		}); err != nil {
			return fmt.Errorf("informer: %w", err)
		}
	}
	f.StartWithContext(ctx)
	within, cancel := context.WithTimeout(ctx, firstSync)
	defer cancel()
	for kind, ok := range f.WaitForCacheSync(within.Done()) {
		if !ok {
			if err := trouble.last(); err != nil {
				return fmt.Errorf("list %s: %w", kind, err)
			}
			return fmt.Errorf("list %s: not done after %s", kind, firstSync)
		}
	}
	return nil
}

// troubles remembers the last error of any watch.
type troubles struct {
	mu  sync.Mutex
	err error
}

func (t *troubles) note(_ context.Context, _ *cache.Reflector, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

func (t *troubles) last() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Changed is readable after something in the cluster changed. Any number of changes wake once.
func (c *Cluster) Changed() <-chan struct{} { return c.changed }

func (c *Cluster) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Client is the cluster's client, for callers that set up or inspect things outside a run.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// deniedBy recognises an admission webhook's denial by the words that the API server puts around it.
func deniedBy(err error) (webhook string, ok bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return "", false
	}
	_, rest, ok := strings.Cut(status.Status().Message, `admission webhook "`)
	if !ok {
		return "", false
	}
	webhook, _, ok = strings.Cut(rest, `" denied`)
	return webhook, ok
}

// NodeNames lists the names of all nodes with one request, for callers too short-lived for informers.
func NodeNames(ctx context.Context, cfg *rest.Config) ([]string, error) {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("kubernetes client: %w", err)
	}
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var out []string
	for _, n := range list.Items {
		out = append(out, n.Name)
	}
	return out, nil
}
