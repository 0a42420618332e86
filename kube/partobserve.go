package kube

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/fleet"
)

// seenPart is what an informer's object was converted to. An informer never changes an object, it replaces it.
type seenPart struct {
	raw      metav1.Object
	part     fleet.Part
	err      error                   // of its mark
	template *corev1.PodTemplateSpec // of one that is scaled
	set      *appsv1.StatefulSet     // when it is one
	content  map[string]any          // of one that no typed client knows
}

// observeParts fills what a stop may change.
func (c *Cluster) observeParts(in *informed, s *fleet.Snapshot) error {
	known := map[types.UID]seenPart{}
	var order []*seenPart
	add := func(o metav1.Object, convert func() seenPart) {
		p, ok := c.switches.parts[o.GetUID()]
		if !ok || p.raw != o {
			p = convert()
			p.raw = o
		}
		known[o.GetUID()] = p
		order = append(order, &p)
	}
	if err := c.eachTyped(in, add); err != nil {
		return err
	}
	for i := range switchables {
		w := &switchables[i]
		for _, u := range in.others[w.kind].list() {
			add(u, func() seenPart { return looseOf(w, u) })
		}
	}
	c.switches.parts = known
	c.linkParts(in, s, order)
	return nil
}

// eachTyped goes through the objects of Kubernetes' own kinds.
func (c *Cluster) eachTyped(in *informed, add func(metav1.Object, func() seenPart)) error {
	deployments, err := c.deployments.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("deployments: %w", err)
	}
	for _, d := range deployments {
		add(d, func() seenPart {
			p := scaledPart("Deployment", d, d.Spec.Replicas, &d.Spec.Template)
			n := replicasOf(d.Spec.Replicas)
			p.part.Rolled = d.Status.ObservedGeneration >= d.Generation && d.Status.Replicas == n && d.Status.UpdatedReplicas == n && d.Status.ReadyReplicas == n
			return p
		})
	}
	sets, err := c.statefulSets.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("statefulsets: %w", err)
	}
	for _, d := range sets {
		add(d, func() seenPart {
			p := scaledPart("StatefulSet", d, d.Spec.Replicas, &d.Spec.Template)
			n := replicasOf(d.Spec.Replicas)
			p.set, p.part.OnDelete = d, d.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType
			p.part.Rolled = d.Status.ObservedGeneration >= d.Generation && d.Status.Replicas == n && d.Status.ReadyReplicas == n &&
				(d.Status.UpdatedReplicas == n || d.Status.UpdateRevision == d.Status.CurrentRevision)
			return p
		})
	}
	replicaSets, err := c.replicaSets.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("replicasets: %w", err)
	}
	for _, d := range replicaSets {
		if metav1.GetControllerOf(d) == nil {
			add(d, func() seenPart {
				p := scaledPart("ReplicaSet", d, d.Spec.Replicas, &d.Spec.Template)
				p.part.OnDelete = true // and so nobody knows which template its pods are of
				return p
			})
		}
	}
	for _, o := range in.cronJobs.List() {
		if d, ok := o.(*batchv1.CronJob); ok {
			add(d, func() seenPart { return suspendable("CronJob", d, d.Spec.Suspend) })
		}
	}
	for _, o := range in.jobs.List() {
		if d, ok := o.(*batchv1.Job); ok && !jobOver(d) {
			add(d, func() seenPart { return suspendable("Job", d, d.Spec.Suspend) })
		}
	}
	return nil
}

func scaledPart(kind string, o metav1.Object, replicas *int32, template *corev1.PodTemplateSpec) seenPart {
	value, absent := "", replicas == nil
	if !absent {
		value = strconv.Itoa(int(*replicas))
	}
	var p seenPart
	p.part, p.err = partOf(switchableOf(kind), o, value, absent)
	p.runs(template)
	return p
}

// replicasOf is how many replicas a workload wants; 1 is the API's own default.
func replicasOf(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

// runs fills what the pod template says; nil says nothing.
func (p *seenPart) runs(t *corev1.PodTemplateSpec) {
	if p.template = t; t == nil {
		return
	}
	p.part.Pooler, p.part.Selector, p.part.Tolerations = pools(t), t.Spec.NodeSelector, tolerationsOf(t.Spec.Tolerations)
}

func suspendable(kind string, o metav1.Object, suspend *bool) seenPart {
	value, absent := "", suspend == nil
	if !absent {
		value = strconv.FormatBool(*suspend)
	}
	var p seenPart
	p.part, p.err = partOf(switchableOf(kind), o, value, absent)
	return p
}

// jobOver tells whether a Job has ended: it starts no pods any more, suspended or not.
func jobOver(d *batchv1.Job) bool {
	return slices.ContainsFunc(d.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed)
	})
}

// looseOf converts an object that no typed client knows.
func looseOf(w *switchable, u *unstructured.Unstructured) seenPart {
	p := seenPart{content: u.Object}
	value, absent, err := w.value(u.Object)
	p.part, p.err = partOf(w, u, value, absent)
	if err != nil {
		p.err = fmt.Errorf("%s: %w", p.part.ID(), err)
	}
	switch w.kind {
	case "Rollout":
		p.runs(templateOf(u))
		p.part.Rolled = rolled(u)
	case "ScaledObject":
		kind, _, _ := unstructured.NestedString(u.Object, "spec", "scaleTargetRef", "kind")
		name, _, _ := unstructured.NestedString(u.Object, "spec", "scaleTargetRef", "name")
		if kind == "" {
			kind = "Deployment"
		}
		p.part.Scales = fleet.Owner{Kind: kind, Namespace: u.GetNamespace(), Name: name}
	}
	return p
}

// rolled tells whether a Rollout has no pods of an older template, and as many Ready ones as it wants.
func rolled(u *unstructured.Unstructured) bool {
	number := func(path ...string) int64 { n, _, _ := unstructured.NestedInt64(u.Object, path...); return n }
	n, said, _ := unstructured.NestedInt64(u.Object, "spec", "replicas")
	if !said {
		n = 1
	}
	seen, _, _ := unstructured.NestedString(u.Object, "status", "observedGeneration")
	return seen == strconv.FormatInt(u.GetGeneration(), 10) && number("status", "replicas") == n && number("status", "updatedReplicas") == n && number("status", "readyReplicas") == n
}

// templateOf is an object's own pod template; nil when it has none, or none that can be read.
func templateOf(u *unstructured.Unstructured) *corev1.PodTemplateSpec {
	content, ok, err := unstructured.NestedMap(u.Object, "spec", "template")
	if !ok || err != nil {
		return nil
	}
	var out corev1.PodTemplateSpec
	if runtime.DefaultUnstructuredConverter.FromUnstructured(content, &out) != nil {
		return nil
	}
	return &out
}

// linkParts fills what a part's own object does not say, and the snapshot.
func (c *Cluster) linkParts(in *informed, s *fleet.Snapshot, seen []*seenPart) {
	pods := podsByOwner(s.Pods)
	stores := storeOwners(s)
	entries := c.entriesOf(in)
	keepers := keepersOf(seen)
	for _, one := range seen {
		p := one.part
		if p.Turn == fleet.Scaled {
			p.Ready, p.Pods = pods[p.Owner].ready, pods[p.Owner].there
			p.Claims, p.Scratch = c.dataOf(one, stores[p.Owner])
			p.Entry = one.template != nil && entries.leadTo(p.Namespace, one.template.Labels)
		}
		if p.Apps = keepers.chain(one); p.Turn == fleet.Unsynced {
			p.Reverts, p.Patch = keepers.reverts(in, one, p.Apps)
		}
		s.Parts = append(s.Parts, p)
	}
	fleet.SortParts(s.Parts)
	for _, one := range seen {
		if one.err != nil {
			blame(s, s.Part(one.part.Owner), one.err.Error())
		}
	}
	hideOld(s)
}

// podCount is how many pods a workload has.
type podCount struct{ ready, there int }

func podsByOwner(pods []fleet.Pod) map[fleet.Owner]podCount {
	out := map[fleet.Owner]podCount{}
	for i := range pods {
		p := &pods[i]
		if p.Finished {
			continue
		}
		n := out[p.Owner]
		n.there++
		if p.Ready && !p.Terminating {
			n.ready++
		}
		out[p.Owner] = n
	}
	return out
}

// storeOwners are the workloads whose pods hold data together.
func storeOwners(s *fleet.Snapshot) map[fleet.Owner]bool {
	out := map[fleet.Owner]bool{}
	members := map[string]bool{}
	for i := range s.Stores {
		for _, m := range s.Stores[i].Members {
			members[m.Pod.UID] = true
		}
	}
	for i := range s.Pods {
		if members[s.Pods[i].Ref.UID] {
			out[s.Pods[i].Owner] = true
		}
	}
	return out
}

// imagesOf are the names of a template's images, without registry, folder and version.
func imagesOf(t *corev1.PodTemplateSpec) []string {
	if t == nil {
		return nil
	}
	var out []string
	for i := range t.Spec.Containers {
		name, _, _ := strings.Cut(path.Base(t.Spec.Containers[i].Image), "@")
		name, _, _ = strings.Cut(name, ":")
		out = append(out, strings.ToLower(name))
	}
	return out
}

var poolers = []string{"pgbouncer", "pgcat", "odyssey", "pgpool", "twemproxy", "proxysql"}

// pools tells whether the pods are connection poolers, by their images. An exporter beside one is none.
func pools(t *corev1.PodTemplateSpec) bool {
	return slices.ContainsFunc(imagesOf(t), func(image string) bool {
		return !helps(image) && slices.ContainsFunc(poolers, func(p string) bool { return strings.Contains(image, p) })
	})
}

// helps tells whether an image is named after what it looks after.
func helps(image string) bool {
	return slices.ContainsFunc([]string{"exporter", "operator", "backup", "commander", "admin", "insight"}, func(word string) bool { return strings.Contains(image, word) })
}

// dataImages begin the names of images of what keeps data.
var dataImages = []string{
	"redis", "valkey", "keydb", "dragonfly", "postgres", "postgis", "timescaledb", "mysql", "mariadb", "percona", "mongo", "elasticsearch", "opensearch", "rabbitmq", "kafka",
	"cp-kafka", "zookeeper", "etcd", "cassandra", "scylla", "clickhouse", "influxdb", "minio", "couchdb", "cockroach", "neo4j", "qdrant", "weaviate", "milvus",
}

// dataOf tells whether a workload's pods have volumes that stay, and which data they would lose with their pods or their nodes.
func (c *Cluster) dataOf(one *seenPart, store bool) (claims bool, scratch string) {
	if one.template == nil {
		return false, ""
	}
	names := c.claimNames(one)
	var lost []string
	if set := one.set; set != nil && len(set.Spec.VolumeClaimTemplates) > 0 && set.Spec.PersistentVolumeClaimRetentionPolicy != nil &&
		set.Spec.PersistentVolumeClaimRetentionPolicy.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType {
		lost = append(lost, "its volumes: persistentVolumeClaimRetentionPolicy.whenScaled is Delete")
	}
	for _, name := range names {
		if where := c.localVolume(one.part.Namespace, name); where != "" {
			lost = append(lost, where)
		}
	}
	if len(lost) > 0 {
		return len(names) > 0, strings.Join(lost, ", ")
	}
	if hasClaims(one) {
		return true, ""
	}
	image := slices.IndexFunc(imagesOf(one.template), func(name string) bool {
		return !helps(name) && slices.ContainsFunc(dataImages, func(d string) bool { return strings.HasPrefix(name, d) })
	})
	if image < 0 && !store && one.set == nil {
		return false, ""
	}
	return false, scratchOf(&one.template.Spec, image, store)
}

// scratchOf names where pods without claims keep data.
func scratchOf(spec *corev1.PodSpec, image int, store bool) string {
	var out []string
	for _, v := range spec.Volumes {
		switch {
		case v.EmptyDir != nil && v.EmptyDir.Medium != corev1.StorageMediumMemory:
			out = append(out, "emptyDir "+v.Name)
		case v.HostPath != nil && image >= 0, v.HostPath != nil && store:
			out = append(out, "hostPath "+v.HostPath.Path)
		}
	}
	switch {
	case len(out) > 0:
		return strings.Join(out, ", ")
	case image >= 0:
		return "file system of container " + spec.Containers[image].Name
	case store:
		return "file systems of its containers"
	}
	return ""
}

func hasClaims(one *seenPart) bool {
	return one.set != nil && len(one.set.Spec.VolumeClaimTemplates) > 0 ||
		slices.ContainsFunc(one.template.Spec.Volumes, func(v corev1.Volume) bool { return v.PersistentVolumeClaim != nil })
}

// claimNames are the claims of the workload's pods: those that its template names, and those that its claim templates have made.
func (c *Cluster) claimNames(one *seenPart) []string {
	var out []string
	for _, v := range one.template.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			out = append(out, v.PersistentVolumeClaim.ClaimName)
		}
	}
	if one.set == nil {
		return out
	}
	replicas := 1
	if one.set.Spec.Replicas != nil {
		replicas = int(*one.set.Spec.Replicas)
	}
	for _, t := range one.set.Spec.VolumeClaimTemplates {
		for i := range replicas {
			out = append(out, fmt.Sprintf("%s-%s-%d", t.Name, one.set.Name, i))
		}
	}
	return out
}

// localVolume names a claim's volume that is the disk of a node; "" for any other.
func (c *Cluster) localVolume(namespace, name string) string {
	claim, err := c.claims.PersistentVolumeClaims(namespace).Get(name)
	if err != nil || claim.Spec.VolumeName == "" {
		return ""
	}
	pv, err := c.volumes.Get(claim.Spec.VolumeName)
	if err != nil || pv.Spec.Local == nil && pv.Spec.HostPath == nil {
		return ""
	}
	return fmt.Sprintf("volume %s, which is the disk of a node", name)
}
