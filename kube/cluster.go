// Package kube is the hand on Kubernetes: informers in, actions out. It is the only reader and writer of node, pod and workload annotations,
// labels and taints, of drover's lease, and of drover's own objects.
//
// Open a Cluster once; its informers keep it current. Observe copies what they know into a snapshot. Act carries out one action against the
// live API, and Confirm reads past the informers where an action cannot be undone. File keeps what is on file about instances that go, and
// PublishCase shows it to people. Actions on nodes and File go by the informers' copies and what this process wrote since; every such write is
// conditional, and the API server is asked only after it refused one. What stores there are, and how their pods are moved, Observe takes from annotations and
// MoverPolicies (declare.go); what their pods hold it does not ask. Who only wants to read or write drover's own objects (Records, Intend, Pause,
// StopAll, ResumeAll, Trail, ReadCanaries) or to try evictions (TryEvict) does with Dial, which watches nothing.
//
// Who switches environments calls WatchEnvironments once, and ObserveEnvironments after every Observe. A stop changes one value of each object
// (switchables, part.go), in one patch with the mark that says what it was; the record of all of them is in the Environment's status (environmentrecord.go).
package kube

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	scalinglisters "k8s.io/client-go/listers/autoscaling/v2"
	corelisters "k8s.io/client-go/listers/core/v1"
	policylisters "k8s.io/client-go/listers/policy/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"drover.dev/api/v1alpha1"
)

// QPS and burst of the client, unless its configuration says. client-go's default of 5 a second would throttle a drain; the eviction lanes are what
// sets the pace.
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
	*Streams
	Reach Reach // to the pods' ports, for hooks; nil to go through the API server

	client  kubernetes.Interface
	objects dynamic.Interface // for drover's own kinds
	bell    *bell
	links   atomic.Uint64 // counts the changes that linked tells of
	seen    seen
	posted  posted
	kinds   []*kind
	journal *kind // of kinds, the Rotations: a cluster may not know them
	wrote   wrote

	moveKind *kind // of kinds, the Moves: a cluster may not know them
	switches switches

	nodes        corelisters.NodeLister
	pods         corelisters.PodLister
	claims       corelisters.PersistentVolumeClaimLister
	volumes      corelisters.PersistentVolumeLister
	namespaces   corelisters.NamespaceLister
	attachments  storagelisters.VolumeAttachmentLister
	budgets      policylisters.PodDisruptionBudgetLister
	deployments  appslisters.DeploymentLister
	replicaSets  appslisters.ReplicaSetLister
	statefulSets appslisters.StatefulSetLister
	scalers      scalinglisters.HorizontalPodAutoscalerLister
	stops        corelisters.ConfigMapLister
	services     corelisters.ServiceLister
	leases       map[string]cache.Store // by name: the people's and the controller's
	rotations    cache.Store            // of *unstructured.Unstructured, so that one that cannot be read does not hide the others
	cases        cache.Store            // the same, of the Departures that AWS gave notice of
	moves        cache.Store            // the same, of what is on file of stores
	policies     cache.Store            // the same, of the MoverPolicies
}

// wrote is what this process wrote and the informers may not show yet.
type wrote struct {
	nodes own[*corev1.Node]
	cases own[*unstructured.Unstructured]
	moves own[*unstructured.Unstructured]

	environments own[*unstructured.Unstructured]
}

// Open connects, and returns once everything has been listed. The informers run until ctx ends.
func Open(ctx context.Context, cfg *rest.Config) (*Cluster, error) {
	c, err := Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return c, c.watch(ctx)
}

// Dial connects, and watches nothing: Observe and Act need Open.
func Dial(ctx context.Context, cfg *rest.Config) (*Cluster, error) {
	cfg = rest.CopyConfig(cfg)
	if cfg.QPS == 0 && cfg.RateLimiter == nil {
		cfg.QPS, cfg.Burst = clientQPS, clientBurst
	}
	cfg.UserAgent = "drover"
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("kubernetes client: %w", err)
	}
	objects, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("kubernetes client: %w", err)
	}
	streams, err := OpenStreams(cfg)
	if err != nil {
		return nil, fmt.Errorf("kubernetes client: %w", err)
	}
	return &Cluster{Streams: streams, client: client, objects: objects, bell: newBell()}, greet(ctx, cfg)
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

// watch starts the informers that every caller needs.
func (c *Cluster) watch(ctx context.Context) error {
	return c.begin(ctx, func(fail context.CancelCauseFunc) []*kind {
		c.watchKinds(fail)
		return c.kinds
	})
}

// begin starts an informer for each of the kinds, and waits until all of them have listed.
func (c *Cluster) begin(ctx context.Context, kinds func(fail context.CancelCauseFunc) []*kind) error {
	within, cancel := context.WithTimeoutCause(ctx, firstSync, fmt.Errorf("not done after %s", firstSync))
	defer cancel()
	within, fail := context.WithCancelCause(within)
	defer fail(nil)
	all := kinds(fail)
	for _, k := range all {
		if err := k.informer.SetWatchErrorHandlerWithContext(func(context.Context, *cache.Reflector, error) {}); err != nil { // kind.heard has it
			return fmt.Errorf("informer of %s: %w", k.name, err)
		}
		if k.quiet {
			go k.informer.RunWithContext(ctx)
			continue
		}
		if _, err := k.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(now any) { c.note(nil, now) },
			UpdateFunc: c.note,
			DeleteFunc: func(old any) { c.forget(old); c.note(nil, old) },
		}); err != nil {
			return fmt.Errorf("informer of %s: %w", k.name, err)
		}
		go k.informer.RunWithContext(ctx)
	}
	for _, k := range all {
		if err := k.wait(within); err != nil {
			return err
		}
	}
	return nil
}

// watchKinds says what is watched, and who reads it.
func (c *Cluster) watchKinds(fail context.CancelCauseFunc) {
	add := func(name string, lw *cache.ListWatch, example runtime.Object) cache.Indexer {
		k := newKind(name, lw, example, fail)
		c.kinds = append(c.kinds, k)
		return k.informer.GetIndexer()
	}
	typed := func(client rest.Interface, name string, example runtime.Object) cache.Indexer {
		return add(name, cache.NewListWatchFromClient(client, name, "", fields.Everything()), example)
	}
	core, apps := c.client.CoreV1().RESTClient(), c.client.AppsV1().RESTClient()
	c.nodes = corelisters.NewNodeLister(typed(core, "nodes", &corev1.Node{}))
	c.pods = corelisters.NewPodLister(typed(core, "pods", &corev1.Pod{}))
	c.claims = corelisters.NewPersistentVolumeClaimLister(typed(core, "persistentvolumeclaims", &corev1.PersistentVolumeClaim{}))
	c.volumes = corelisters.NewPersistentVolumeLister(typed(core, "persistentvolumes", &corev1.PersistentVolume{}))
	c.namespaces = corelisters.NewNamespaceLister(typed(core, "namespaces", &corev1.Namespace{}))
	c.attachments = storagelisters.NewVolumeAttachmentLister(typed(c.client.StorageV1().RESTClient(), "volumeattachments", &storagev1.VolumeAttachment{}))
	c.budgets = policylisters.NewPodDisruptionBudgetLister(typed(c.client.PolicyV1().RESTClient(), "poddisruptionbudgets", &policyv1.PodDisruptionBudget{}))
	c.deployments = appslisters.NewDeploymentLister(typed(apps, "deployments", &appsv1.Deployment{}))
	c.replicaSets = appslisters.NewReplicaSetLister(typed(apps, "replicasets", &appsv1.ReplicaSet{}))
	c.statefulSets = appslisters.NewStatefulSetLister(typed(apps, "statefulsets", &appsv1.StatefulSet{}))
	scaling := c.client.AutoscalingV2().RESTClient()
	c.scalers = scalinglisters.NewHorizontalPodAutoscalerLister(typed(scaling, "horizontalpodautoscalers", &autoscalingv2.HorizontalPodAutoscaler{}))
	c.services = corelisters.NewServiceLister(typed(core, "services", &corev1.Service{}))
	c.leases = map[string]cache.Store{}
	for _, name := range []string{leaseName, ControllerName} {
		one := cache.NewListWatchFromClient(c.client.CoordinationV1().RESTClient(), "leases", leaseNamespace, fields.OneTermEqualSelector("metadata.name", name))
		c.leases[name] = add("lease "+name, one, &coordinationv1.Lease{})
		c.kinds[len(c.kinds)-1].quiet = true
	}
	stop := fields.OneTermEqualSelector("metadata.name", stopName)
	c.stops = corelisters.NewConfigMapLister(add("configmap "+stopName, cache.NewListWatchFromClient(core, "configmaps", stopNamespace, stop), &corev1.ConfigMap{}))
	ours := func(name string, resource schema.GroupVersionResource, selector string) (cache.Indexer, *kind) {
		store := add(name, c.listing(resource, selector), &unstructured.Unstructured{})
		k := c.kinds[len(c.kinds)-1]
		k.mayLack = true
		return store, k
	}
	c.rotations, c.journal = ours("rotations", v1alpha1.Rotations, "")
	c.cases, _ = ours("departures", v1alpha1.Departures, v1alpha1.NoticeLabel+"=true")
	c.moves, c.moveKind = ours("moves", v1alpha1.Moves, "")
	c.policies, _ = ours("moverpolicies", v1alpha1.MoverPolicies, "")
}

// listing lists and watches objects that no typed client knows.
func (c *Cluster) listing(resource schema.GroupVersionResource, selector string) *cache.ListWatch {
	objects := c.objects.Resource(resource)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = selector
			return objects.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = selector
			return objects.Watch(ctx, o)
		},
	}
}

// forget drops what this process wrote to an object that is gone.
func (c *Cluster) forget(last any) {
	if unknown, ok := last.(cache.DeletedFinalStateUnknown); ok {
		last = unknown.Obj
	}
	switch last := last.(type) {
	case *corev1.Node:
		c.wrote.nodes.Drop(last)
	case *unstructured.Unstructured:
		switch last.GetKind() {
		case "Departure":
			c.wrote.cases.Drop(last)
		case "Move":
			c.wrote.moves.Drop(last)
		case "Environment":
			c.wrote.environments.Drop(last)
		}
	}
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
