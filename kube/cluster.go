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
	"sync"
	"sync/atomic"
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

	"drover.dev/fleet"
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
	client kubernetes.Interface
	bell   *bell
	links  atomic.Uint64 // counts the changes that linked tells of
	seen   seen

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
	c := &Cluster{client: client, bell: newBell()}
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
	kinds := []*kind{
		{name: "nodes", informer: f.Core().V1().Nodes().Informer()},
		{name: "pods", informer: f.Core().V1().Pods().Informer()},
		{name: "persistentvolumeclaims", informer: f.Core().V1().PersistentVolumeClaims().Informer()},
		{name: "persistentvolumes", informer: f.Core().V1().PersistentVolumes().Informer()},
		{name: "poddisruptionbudgets", informer: f.Policy().V1().PodDisruptionBudgets().Informer()},
		{name: "deployments", informer: f.Apps().V1().Deployments().Informer()},
		{name: "replicasets", informer: f.Apps().V1().ReplicaSets().Informer()},
		{name: "statefulsets", informer: f.Apps().V1().StatefulSets().Informer()},
	}
	within, cancel := context.WithTimeoutCause(ctx, firstSync, fmt.Errorf("not done after %s", firstSync))
	defer cancel()
	within, fail := context.WithCancelCause(within)
	defer fail(nil)
	for _, k := range kinds {
		if err := k.informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) { k.trouble(err, fail) }); err != nil {
			return fmt.Errorf("informer of %s: %w", k.name, err)
		}
		if _, err := k.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(now any) { c.note(nil, now) },
			UpdateFunc: c.note,
			DeleteFunc: func(old any) { c.note(nil, old) },
		}); err != nil {
			return fmt.Errorf("informer of %s: %w", k.name, err)
		}
	}
	f.StartWithContext(ctx)
	for _, k := range kinds {
		if cache.WaitForCacheSync(within.Done(), k.informer.HasSynced) {
			continue
		}
		cause := context.Cause(within)
		var fatal *fleet.Fatal
		if errors.As(cause, &fatal) {
			return cause
		}
		if err := k.last(); err != nil {
			return fmt.Errorf("%w: %w", cause, err)
		}
		return fmt.Errorf("list %s: %w", k.name, cause)
	}
	return nil
}

// kind is one kind of object that is watched.
type kind struct {
	name     string
	informer cache.SharedIndexInformer

	mu  sync.Mutex
	err error // of the last listing or watch that went wrong
}

// trouble notes what went wrong with listing or watching. What no retry mends ends the wait for the first listing.
func (k *kind) trouble(err error, fail context.CancelCauseFunc) {
	err = classify(fmt.Errorf("list %s: %w", k.name, err))
	k.mu.Lock()
	k.err = err
	k.mu.Unlock()
	var fatal *fleet.Fatal
	if errors.As(err, &fatal) {
		fail(err)
	}
}

func (k *kind) last() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// note hears of every change: old is nil when the object is new or gone.
func (c *Cluster) note(old, now any) {
	if linked(old, now) {
		c.links.Add(1)
	}
	c.bell.Ring()
}

// Changed is readable after something in the cluster changed. Any number of changes wake once.
func (c *Cluster) Changed() <-chan struct{} { return c.bell.C }

// Client is the cluster's client, for callers that set up or inspect things outside a run.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

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
