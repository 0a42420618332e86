package kube

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"drover.dev/fleet"
)

// observeServices fills the services, with how many endpoints of each are ready.
func (c *Cluster) observeServices(in *informed, s *fleet.Snapshot) error {
	ready := map[string]map[string]bool{} // by namespace/name: an endpoint of two address families is in two slices
	for _, o := range in.slices.List() {
		e, ok := o.(*discoveryv1.EndpointSlice)
		if !ok {
			continue
		}
		name := e.Namespace + "/" + e.Labels[discoveryv1.LabelServiceName]
		for _, p := range e.Endpoints {
			if p.Conditions.Ready != nil && !*p.Conditions.Ready {
				continue
			}
			if ready[name] == nil {
				ready[name] = map[string]bool{}
			}
			ready[name][endpointName(&p)] = true
		}
	}
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("services: %w", err)
	}
	for _, v := range all {
		s.Services = append(s.Services, fleet.Service{Namespace: v.Namespace, Name: v.Name, Selector: v.Spec.Selector, Endpoints: len(ready[v.Namespace+"/"+v.Name])})
	}
	sortServices(s.Services)
	return nil
}

func endpointName(p *discoveryv1.Endpoint) string {
	if p.TargetRef != nil {
		return string(p.TargetRef.UID)
	}
	return strings.Join(p.Addresses, ",")
}

// entries are the selectors of services that clients from outside come through, by namespace.
type entries map[string][]labels.Selector

func (c *Cluster) entriesOf(in *informed) entries {
	named := map[string]bool{}
	for _, o := range in.ingresses.List() {
		if i, ok := o.(*networkingv1.Ingress); ok {
			for _, name := range backendsOf(i) {
				named[i.Namespace+"/"+name] = true
			}
		}
	}
	for _, u := range in.routes.list() {
		for _, name := range routedTo(u) {
			named[name] = true
		}
	}
	out := entries{}
	all, _ := c.services.List(labels.Everything()) // observeServices tells of an error
	for _, v := range all {
		if len(v.Spec.Selector) > 0 && (v.Spec.Type == corev1.ServiceTypeLoadBalancer || named[v.Namespace+"/"+v.Name]) {
			out[v.Namespace] = append(out[v.Namespace], labels.SelectorFromSet(v.Spec.Selector))
		}
	}
	return out
}

// leadTo tells whether clients from outside come to pods with these labels.
func (e entries) leadTo(namespace string, podLabels map[string]string) bool {
	return slices.ContainsFunc(e[namespace], func(s labels.Selector) bool { return s.Matches(labels.Set(podLabels)) })
}

// backendsOf are the names of an Ingress's services.
func backendsOf(i *networkingv1.Ingress) []string {
	var out []string
	add := func(b *networkingv1.IngressBackend) {
		if b != nil && b.Service != nil {
			out = append(out, b.Service.Name)
		}
	}
	add(i.Spec.DefaultBackend)
	for _, r := range i.Spec.Rules {
		if r.HTTP == nil {
			continue
		}
		for j := range r.HTTP.Paths {
			add(&r.HTTP.Paths[j].Backend)
		}
	}
	return out
}

// routedTo are the services of an HTTPRoute, as namespace/name.
func routedTo(u *unstructured.Unstructured) []string {
	var out []string
	rules, _, _ := unstructured.NestedSlice(u.Object, "spec", "rules")
	for _, raw := range rules {
		rule, _ := raw.(map[string]any)
		refs, _, _ := unstructured.NestedSlice(rule, "backendRefs")
		for _, raw := range refs {
			ref, _ := raw.(map[string]any)
			text := func(key, otherwise string) string { s, _ := ref[key].(string); return cmp.Or(s, otherwise) }
			if text("kind", "Service") == "Service" {
				out = append(out, text("namespace", u.GetNamespace())+"/"+text("name", ""))
			}
		}
	}
	return out
}

// leadToCronJobs makes CronJobs the owners of the pods of their Jobs.
func (in *informed) leadToCronJobs(pods []fleet.Pod) {
	for i := range pods {
		if o := &pods[i].Owner; o.Kind == "Job" {
			if job := in.job(o.Namespace, o.Name); job != nil {
				*o = ownerOfJob(job)
			}
		}
	}
}

func (in *informed) job(namespace, name string) *batchv1.Job {
	o, _, _ := in.jobs.GetByKey(namespace + "/" + name)
	job, _ := o.(*batchv1.Job)
	return job
}

// ownerOfJob is what makes the Job: a CronJob, or itself.
func ownerOfJob(job *batchv1.Job) fleet.Owner {
	if ref := metav1.GetControllerOf(job); ref != nil && ref.Kind == "CronJob" {
		return fleet.Owner{Kind: ref.Kind, Namespace: job.Namespace, Name: ref.Name}
	}
	return fleet.Owner{Kind: "Job", Namespace: job.Namespace, Name: job.Name}
}

// runningJobs are the Jobs whose pods run, or are about to.
func (in *informed) runningJobs() []fleet.Busy {
	var out []fleet.Busy
	for _, o := range in.jobs.List() {
		job, ok := o.(*batchv1.Job)
		if !ok || job.Status.Active == 0 {
			continue
		}
		b := fleet.Busy{Code: "env-jobs", Subject: "Job " + job.Namespace + "/" + job.Name, Owner: ownerOfJob(job), Labels: job.Labels, Reason: runningSince(job)}
		if d, there, _ := in.cronJobs.GetByKey(b.Owner.Namespace + "/" + b.Owner.Name); there && b.Owner.Kind == "CronJob" {
			if cron, ok := d.(*batchv1.CronJob); ok {
				b.Labels = cron.Labels
			}
		}
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b fleet.Busy) int { return cmp.Compare(a.Subject, b.Subject) })
	return out
}

func runningSince(job *batchv1.Job) string {
	out := fmt.Sprintf("%d pods are running", job.Status.Active)
	if job.Status.Active == 1 {
		out = "1 pod is running"
	}
	if job.Status.StartTime == nil {
		return out
	}
	return out + " since " + job.Status.StartTime.UTC().Format(time.RFC3339)
}

// observeBackends fills what of the API server's depends on services.
func (c *Cluster) observeBackends(in *informed, s *fleet.Snapshot) {
	for _, o := range in.validating.List() {
		v, ok := o.(*admissionv1.ValidatingWebhookConfiguration)
		for i := 0; ok && i < len(v.Webhooks); i++ {
			w := &v.Webhooks[i]
			hook := webhook{w.ClientConfig.Service, w.Rules, w.FailurePolicy, w.TimeoutSeconds, w.NamespaceSelector}
			s.Backends = append(s.Backends, c.backendOf("ValidatingWebhookConfiguration", v.Name, w.Name, hook)...)
		}
	}
	for _, o := range in.mutating.List() {
		v, ok := o.(*admissionv1.MutatingWebhookConfiguration)
		for i := 0; ok && i < len(v.Webhooks); i++ {
			w := &v.Webhooks[i]
			hook := webhook{w.ClientConfig.Service, w.Rules, w.FailurePolicy, w.TimeoutSeconds, w.NamespaceSelector}
			s.Backends = append(s.Backends, c.backendOf("MutatingWebhookConfiguration", v.Name, w.Name, hook)...)
		}
	}
	for _, u := range in.apiServices.list() {
		namespace, name := serviceAt(u, "spec", "service")
		if name != "" {
			blocks := fmt.Sprintf("requests for %s, and the deletion of namespaces", u.GetName())
			s.Backends = append(s.Backends, fleet.Backend{Kind: "APIService", Name: u.GetName(), Namespace: namespace, Service: name, Blocks: blocks})
		}
	}
	for _, u := range in.definitions.list() {
		namespace, name := serviceAt(u, "spec", "conversion", "webhook", "clientConfig", "service")
		if versions, _, _ := unstructured.NestedSlice(u.Object, "spec", "versions"); name != "" && len(versions) > 1 {
			blocks := fmt.Sprintf("reading and writing %s in another version than the one they are stored in", u.GetName())
			s.Backends = append(s.Backends, fleet.Backend{Kind: "CustomResourceDefinition", Name: u.GetName(), Namespace: namespace, Service: name, Blocks: blocks})
		}
	}
	slices.SortFunc(s.Backends, func(a, b fleet.Backend) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
}

func serviceAt(u *unstructured.Unstructured, path ...string) (namespace, name string) {
	ref, _, _ := unstructured.NestedMap(u.Object, path...)
	namespace, _ = ref["namespace"].(string)
	name, _ = ref["name"].(string)
	return namespace, name
}

// webhook is what both kinds of webhooks have.
type webhook struct {
	service *admissionv1.ServiceReference
	rules   []admissionv1.RuleWithOperations
	failure *admissionv1.FailurePolicyType
	timeout *int32
	spaces  *metav1.LabelSelector
}

// backendOf is a webhook that a service answers; nothing for one that is outside of the cluster.
func (c *Cluster) backendOf(kind, config, name string, w webhook) []fleet.Backend {
	if w.service == nil {
		return nil
	}
	return []fleet.Backend{{Kind: kind, Name: config + "/" + name, Namespace: w.service.Namespace, Service: w.service.Name, Blocks: c.blocks(&w)}}
}

// needed is what a cluster has to be able to write while something starts in it.
var needed = []struct{ group, resource, words string }{
	{"", "pods", "pods"}, {"", "nodes", "nodes"}, {"coordination.k8s.io", "leases", "leases"}, {"apps", "deployments", "deployments"},
	{"apps", "statefulsets", "statefulsets"}, {"apps", "replicasets", "replicasets"}, {"", "persistentvolumeclaims", "persistentvolumeclaims"},
	{"storage.k8s.io", "volumeattachments", "volumeattachments"}, {"discovery.k8s.io", "endpointslices", "endpointslices"}, {"batch", "cronjobs", "cronjobs"},
	{"argoproj.io", "applications", "applications"}, {"kustomize.toolkit.fluxcd.io", "kustomizations", "kustomizations"},
	{"helm.toolkit.fluxcd.io", "helmreleases", "helmreleases"}, {"drover.dev", "environments", "drover's environments"},
}

// How long a webhook that is ignored when it fails may keep a request waiting. Leases are renewed every few seconds, and lost within ten.
const (
	slowWebhook = 15
	slowLease   = 5
)

// blocks says what the webhook keeps from happening while nobody answers it; "" when nothing.
func (c *Cluster) blocks(w *webhook) string {
	var names []string
	slow := int32(10) // the API's own default
	if w.timeout != nil {
		slow = *w.timeout
	}
	ignored := w.failure != nil && *w.failure == admissionv1.Ignore
	namespaced := c.spacesOf(w.spaces)
	for _, n := range needed {
		limit := int32(slowWebhook)
		if n.resource == "leases" {
			limit = slowLease
		}
		cluster := n.resource == "nodes" || n.resource == "volumeattachments" || n.resource == "environments"
		switch {
		case ignored && slow <= limit, !slices.ContainsFunc(w.rules, func(r admissionv1.RuleWithOperations) bool { return concerns(&r, n.group, n.resource) }):
		case !cluster && namespaced == nobodys:
		default:
			names = append(names, n.words)
		}
	}
	if len(names) == 0 {
		return ""
	}
	out := "writes of " + strings.Join(names, ", ")
	if namespaced != "" && namespaced != nobodys {
		out += " in " + namespaced
	}
	if ignored {
		return fmt.Sprintf("%s, each for %d s (failurePolicy Ignore)", out, slow)
	}
	return out + " (failurePolicy Fail)"
}

// nobodys is a selector that no namespace meets.
const nobodys = "no namespace"

// spacesOf names the namespaces that a webhook is about; "" for all of them.
func (c *Cluster) spacesOf(s *metav1.LabelSelector) string {
	if s == nil {
		return ""
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil || selector.Empty() {
		return ""
	}
	all, err := c.namespaces.List(labels.Everything())
	if err != nil {
		return ""
	}
	var names []string
	for _, ns := range all {
		if selector.Matches(labels.Set(ns.Labels)) {
			names = append(names, ns.Name)
		}
	}
	slices.Sort(names)
	const shown = 4
	switch {
	case len(names) == 0:
		return nobodys
	case len(names) > shown:
		return fmt.Sprintf("namespaces %s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
	}
	return "namespaces " + strings.Join(names, ", ")
}

// concerns tells whether a rule is about creating or updating such objects, or a part of them.
func concerns(r *admissionv1.RuleWithOperations, group, resource string) bool {
	one := func(list []string, match func(string) bool) bool { return slices.ContainsFunc(list, match) }
	writes := slices.ContainsFunc(r.Operations, func(o admissionv1.OperationType) bool {
		return o == admissionv1.OperationAll || o == admissionv1.Create || o == admissionv1.Update
	})
	return writes && one(r.APIGroups, func(g string) bool { return g == "*" || g == group }) && one(r.Resources, func(name string) bool {
		return name == "*" || name == "*/*" || name == resource || strings.HasPrefix(name, resource+"/") && name != "pods/exec" && name != "pods/portforward" && name != "pods/attach"
	})
}
