package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"drover.dev/api/v1alpha1"
)

// unslept is what to do about a cluster that cannot hold records of sleeps.
const unslept = "the cluster does not know Environment objects; install them with drover install"

// switches is what only those see who switch environments.
type switches struct {
	sync.Mutex
	*informed
	parts     map[types.UID]seenPart
	calendars map[v1alpha1.ConfigMapKey]seenCalendar
}

// informed is what the informers of WatchEnvironments show.
type informed struct {
	kinds        []*kind
	environments shelf
	cronJobs     cache.Indexer
	jobs         cache.Indexer
	slices       cache.Indexer
	ingresses    cache.Indexer
	validating   cache.Indexer
	mutating     cache.Indexer
	apiServices  shelf
	definitions  shelf
	routes       shelf
	sets         shelf            // ApplicationSets
	others       map[string]shelf // by kind, those of switchables that no typed client knows
}

// shelf is the objects of a kind that a cluster need not know. It is empty while the cluster does not.
type shelf struct {
	*kind
	store cache.Store
}

func (s shelf) list() []*unstructured.Unstructured {
	if s.store == nil || s.kind.unknown() {
		return nil
	}
	var out []*unstructured.Unstructured
	for _, o := range s.store.List() {
		if u, ok := o.(*unstructured.Unstructured); ok {
			out = append(out, u)
		}
	}
	return out
}

// Kinds that are watched besides the switchable ones. A cluster need not know any but the second and the third.
var (
	httpRoutes      = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}
	apiServices     = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
	applicationSets = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applicationsets"}
)

// WatchEnvironments starts the informers that ObserveEnvironments reads, and returns once everything has been listed. They run until ctx ends. A kind of
// KEDA, Argo or Flux that the cluster does not know is absent until it does. Calling it again does nothing.
func (c *Cluster) WatchEnvironments(ctx context.Context) error {
	c.switches.Lock()
	defer c.switches.Unlock()
	if c.switches.informed != nil {
		return nil
	}
	running, cancel := context.WithCancel(ctx)
	in := &informed{}
	err := c.begin(running, func(fail context.CancelCauseFunc) []*kind {
		c.watchSwitches(in, fail)
		return in.kinds
	})
	if err != nil {
		cancel()
		return fmt.Errorf("watch environments: %w", err)
	}
	context.AfterFunc(ctx, cancel)
	c.switches.informed = in
	return nil
}

func (c *Cluster) watchSwitches(in *informed, fail context.CancelCauseFunc) {
	typed := func(client rest.Interface, name string, example runtime.Object) cache.Indexer {
		k := newKind(name, cache.NewListWatchFromClient(client, name, "", fields.Everything()), example, fail)
		in.kinds = append(in.kinds, k)
		return k.informer.GetIndexer()
	}
	loose := func(resource schema.GroupVersionResource) shelf {
		k := newKind(resource.GroupResource().String(), c.listing(resource, ""), &unstructured.Unstructured{}, fail)
		k.mayLack = true
		in.kinds = append(in.kinds, k)
		return shelf{k, k.informer.GetStore()}
	}
	in.environments = loose(v1alpha1.Environments)
	in.definitions = loose(definitions)
	_ = in.definitions.informer.SetTransform(withoutSchemas) // fails only of an informer that runs
	changes := &atomic.Uint64{}
	_, _ = in.definitions.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{ // likewise
		AddFunc: func(any) { changes.Add(1) }, UpdateFunc: func(any, any) { changes.Add(1) }, DeleteFunc: func(any) { changes.Add(1) },
	})
	in.cronJobs = typed(c.client.BatchV1().RESTClient(), "cronjobs", &batchv1.CronJob{})
	in.jobs = typed(c.client.BatchV1().RESTClient(), "jobs", &batchv1.Job{})
	in.slices = typed(c.client.DiscoveryV1().RESTClient(), "endpointslices", &discoveryv1.EndpointSlice{})
	in.ingresses = typed(c.client.NetworkingV1().RESTClient(), "ingresses", &networkingv1.Ingress{})
	admission := c.client.AdmissionregistrationV1().RESTClient()
	in.validating = typed(admission, "validatingwebhookconfigurations", &admissionv1.ValidatingWebhookConfiguration{})
	in.mutating = typed(admission, "mutatingwebhookconfigurations", &admissionv1.MutatingWebhookConfiguration{})
	in.apiServices, in.routes, in.sets = loose(apiServices), loose(httpRoutes), loose(applicationSets)
	in.others = map[string]shelf{}
	for i := range switchables {
		if w := &switchables[i]; w.loose {
			in.others[w.kind] = loose(w.resource)
		}
	}
	for _, k := range in.kinds {
		if k.mayLack {
			k.served = changes.Load
		}
	}
}

// withoutSchemas keeps of a definition what is read: schemas are large.
func withoutSchemas(o any) (any, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return o, nil
	}
	versions, _, _ := unstructured.NestedSlice(u.Object, "spec", "versions")
	for _, v := range versions {
		if version, ok := v.(map[string]any); ok {
			delete(version, "schema")
			delete(version, "additionalPrinterColumns")
		}
	}
	if len(versions) > 0 {
		if err := unstructured.SetNestedSlice(u.Object, versions, "spec", "versions"); err != nil {
			return nil, err
		}
	}
	u.SetManagedFields(nil)
	return u, nil
}

// watched is what the informers show; an error when a kind has not been seen for a while, or nothing is watched. c.switches is locked.
func (c *Cluster) watched() (*informed, error) {
	in := c.switches.informed
	if in == nil {
		return nil, errors.New("environments are not watched yet")
	}
	for _, k := range in.kinds {
		if err := k.lost(); err != nil {
			return nil, err
		}
	}
	return in, nil
}
