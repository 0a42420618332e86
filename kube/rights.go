package kube

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
)

// Right is one thing that drover has to be allowed, and what it is for.
type Right struct {
	Rule      rbacv1.PolicyRule
	Namespace string // "" for the whole cluster
	For       string
}

var (
	see    = []string{"get", "list", "watch"}
	follow = []string{"list", "watch"}
)

// Rights are all that a run needs. A missing one is a fleet.Fatal error that names it.
var Rights = []Right{
	{rule("", see, "nodes"), "", "which nodes there are"},
	{rule("", []string{"patch"}, "nodes"), "", "taint a departing node, take it out of load balancers, keep cluster-autoscaler off it"},
	{rule("", see, "pods"), "", "which pods have to move"},
	{rule("", []string{"create"}, "pods/eviction"), "", "move them, within their budgets"},
	{rule("", []string{"patch"}, "pods"), "", "make the old pod of a singleton the cheapest to delete, say what its operator or drover goes by"},
	{rule("policy", follow, "poddisruptionbudgets"), "", "how many pods may be missing"},
	{rule("", follow, "services"), "", "where clients expect the master of a store"},
	{rule("", follow, "persistentvolumeclaims", "persistentvolumes", "namespaces"), "", "where pods can run: zones of volumes, neighbours"},
	{rule("storage.k8s.io", follow, "volumeattachments"), "", "whether a node's volumes are detached"},
	{rule("apps", see, "deployments", "replicasets", "statefulsets"), "", "what keeps pods running"},
	{rule("autoscaling", follow, "horizontalpodautoscalers"), "", "what sets the number of replicas"},
	{rule("apps", []string{"patch"}, "deployments", "replicasets"), "", "give a singleton one replica more while it moves"},
	{rule("autoscaling", []string{"patch"}, "horizontalpodautoscalers"), "", "keep the autoscaler from taking that replica back"},
	{rule("drover.dev", []string{"get", "list", "watch", "create", "patch"}, "rotations", "departures"), "", "the durable record of a run"},
	{rule("drover.dev", []string{"delete"}, "rotations"), "", "forget runs that are long over"},
	{rule("drover.dev", []string{"patch"}, "rotations/status", "departures/status"), "", "how far it is"},
	{rule("drover.dev", []string{"get", "list", "watch", "create", "update", "delete"}, "moves"), "", "one move of a store at a time, and how it was before"},
	{rule("drover.dev", follow, "moverpolicies"), "", "how pods are moved"},
	{rule("", []string{"create"}, "events"), "default", "tell of departures on their nodes"},
	{rule("coordination.k8s.io", []string{"create"}, "leases"), leaseNamespace, "one run at a time"},
	{named(rule("coordination.k8s.io", []string{"get", "update"}, "leases"), leaseName), leaseNamespace, "one run at a time"},
	{named(rule("coordination.k8s.io", see, "leases"), leaseName, ControllerName), leaseNamespace, "whether anybody acts for the run of a move"},
	{named(rule("", follow, "configmaps"), stopName), stopNamespace, "heed the cluster-wide stop"},
}

// StoreRights are what a run, and the controller, need besides in a namespace with stores, each as far as its stores need it. They are in none of the
// lists, and in no role that drover installs: whoever reads the secrets of a whole cluster, makes pods that do, or runs commands in all of them, owns it.
// Who has a store grants them with a Role in its namespace. Without one of them that store's moves are refused, and all others go on.
func StoreRights(namespace string, secrets ...string) []Right {
	return []Right{
		{named(rule("", []string{"get"}, "secrets"), secrets...), namespace, "speak to stores that name a Secret"},
		{rule("", []string{"create", "delete"}, "pods"), namespace, "lend a store a temporary pod while one of its own moves"},
		{rule("", []string{"get", "create"}, "pods/exec"), namespace, "run hooks with exec:"},
		{rule("", []string{"get", "create"}, "pods/portforward"), namespace, "speak to stores, and call hooks, with --pods forward"},
	}
}

// ControllerName names the controller's lease.
const ControllerName = "drover-controller"

// ControllerRights are all that the controller needs: those of a run, because it begins runs, and those of notices.
func ControllerRights() []Right { return slices.Concat(Rights, noticeRights) }

var noticeRights = []Right{
	{rule("", []string{"delete"}, "pods"), "", "delete a pod that its budget holds when its machine goes anyway"},
	{rule("", []string{"patch"}, "nodes/status"), "", "say on a node that it is emptied"},
	{rule("", []string{"create"}, "events"), "", "tell of evictions on the pods, in their namespaces"},
	{rule("drover.dev", []string{"delete"}, "departures"), "", "forget departures that are long over"},
	{named(rule("coordination.k8s.io", []string{"get", "update"}, "leases"), ControllerName), leaseNamespace, "one controller leads"},
	{rule("", []string{"create"}, "configmaps"), canaryNamespace, "note that a message of drover check came through"},
	{named(rule("", []string{"get", "update"}, "configmaps"), canaryName), canaryNamespace, "note that a message of drover check came through"},
}

// HistoryRights are what Trail needs: drover history node.
var HistoryRights = []Right{
	{rule("", []string{"get"}, "nodes"), "", "who wrote what on the node"},
	{rule("", []string{"list"}, "events"), "", "what happened to the node and its pods"},
	{rule("drover.dev", []string{"list"}, "departures"), "", "what drover has on file"},
	{rule("coordination.k8s.io", []string{"get"}, "leases"), nodeLeases, "when the node was last heard of"},
}

// PersonRights are what the commands of people need besides: pausing and undoing need no more than Rights.
var PersonRights = []Right{
	{rule("", []string{"create"}, "configmaps"), stopNamespace, "stop everything: drover pause --all"},
	{named(rule("", []string{"delete"}, "configmaps"), stopName), stopNamespace, "go on: drover resume --all"},
	{named(rule("", []string{"get"}, "configmaps"), canaryName), canaryNamespace, "see that a message came through: drover check"},
}

// EnvironmentRights are what those need besides who switch environments. None of them is narrower than the cluster: which workloads, and whose GitOps
// objects, an environment has is for its owner to say.
var EnvironmentRights = []Right{
	{rule("drover.dev", []string{"get", "list", "watch", "create", "patch"}, "environments"), "", "what belongs together, and people's wishes"},
	{rule("drover.dev", []string{"update", "patch"}, "environments/status"), "", "how everything was before a stop"},
	{rule("apps", []string{"patch"}, "deployments", "replicasets", "statefulsets"), "", "switch workloads off and on"},
	{rule("batch", []string{"get", "list", "watch", "patch"}, "cronjobs", "jobs"), "", "suspend and resume them"},
	{rule("policy", []string{"create"}, "poddisruptionbudgets"), "", "give workloads that are isolated a budget"},
	{rule("argoproj.io", []string{"get", "list", "watch", "patch"}, "rollouts", "applications"), "", "switch Argo Rollouts off and on, pause Argo CD"},
	{rule("argoproj.io", follow, "applicationsets"), "", "whether one would take the pause of an application back"},
	{rule("keda.sh", []string{"get", "list", "watch", "patch"}, "scaledjobs", "scaledobjects"), "", "pause KEDA"},
	{rule("kustomize.toolkit.fluxcd.io", []string{"get", "list", "watch", "patch"}, "kustomizations"), "", "pause Flux"},
	{rule("helm.toolkit.fluxcd.io", []string{"get", "list", "watch", "patch"}, "helmreleases"), "", "pause Flux"},
	{rule("discovery.k8s.io", follow, "endpointslices"), "", "whether services have pods again"},
	{rule("networking.k8s.io", follow, "ingresses"), "", "where clients come in: off first, on last"},
	{rule("gateway.networking.k8s.io", follow, "httproutes"), "", "where clients come in: off first, on last"},
	{rule("admissionregistration.k8s.io", follow, "validatingwebhookconfigurations", "mutatingwebhookconfigurations"), "", "what would block a start while it sleeps"},
	{rule("apiregistration.k8s.io", follow, "apiservices"), "", "what would block others while it sleeps"},
	{rule("apiextensions.k8s.io", follow, "customresourcedefinitions"), "", "what would block others while it sleeps"},
}

// CalendarRights are needed for a schedule whose holidays are in a ConfigMap. Without them that environment is in trouble, and no other.
func CalendarRights(namespace, name string) []Right {
	return []Right{{named(rule("", []string{"get"}, "configmaps"), name), namespace, "read the holidays of an environment"}}
}

// InstallRights are what Install needs.
var InstallRights = []Right{
	{rule("apiextensions.k8s.io", []string{"create"}, "customresourcedefinitions"), "", "install drover's kinds"},
	{named(rule("apiextensions.k8s.io", []string{"get", "patch"}, "customresourcedefinitions"), "rotations.drover.dev", "departures.drover.dev", "moves.drover.dev", "moverpolicies.drover.dev", "environments.drover.dev"), "", "bring them up to date"},
	{rule("drover.dev", []string{"list"}, "rotations", "departures", "moves", "moverpolicies", "environments"), "", "see that they are served"},
}

func rule(group string, verbs []string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
}

func named(r rbacv1.PolicyRule, names ...string) rbacv1.PolicyRule {
	r.ResourceNames = names
	return r
}
