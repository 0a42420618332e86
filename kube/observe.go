package kube

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	resourcehelper "k8s.io/component-helpers/resource"

	"drover.dev/fleet"
)

const (
	scaleDownDisabled = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
	keptBy            = "drover.dev/kept" // the run that set scaleDownDisabled, which was absent before
	excludeLabel      = corev1.LabelNodeExcludeBalancers
	excludedBy        = "drover.dev/excluded" // the run that set excludeLabel, which was absent before
)

// Observe fills the Kubernetes half of the snapshot from the informers. A kind that has not been seen for a while is an error: what is known
// of it is not to be acted on.
func (c *Cluster) Observe(ctx context.Context, s *fleet.Snapshot) error {
	c.seen.Lock()
	defer c.seen.Unlock()
	for _, k := range c.kinds {
		if err := k.lost(); err != nil {
			return err
		}
	}
	if err := c.observeNodes(s); err != nil {
		return err
	}
	links := c.links.Load() // before reading what it counts: a change meanwhile is seen next time
	selectors, err := c.observeBudgets(s)
	if err != nil {
		return err
	}
	policies := c.observePolicies(links)
	if err := c.observePods(s, selectors, policies, links); err != nil {
		return err
	}
	if err := c.observeStores(ctx, s, policies, links); err != nil {
		return err
	}
	if err := c.observeWorkloads(s); err != nil {
		return err
	}
	c.observeCases(s)
	return c.observeJournal(s)
}

func (c *Cluster) observeNodes(s *fleet.Snapshot) error {
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("nodes: %w", err)
	}
	attached, err := c.attached()
	if err != nil {
		return err
	}
	known := make(map[string]seenNode, len(nodes))
	s.Nodes = slices.Grow(s.Nodes, len(nodes))
	for _, n := range nodes {
		old := c.seen.nodes[n.Name]
		if old.raw != n {
			old = seenNode{n, nodeOf(n)}
		}
		known[n.Name] = old
		out := old.node
		out.Taints, out.Volumes = slices.Clone(out.Taints), attached[n.Name]
		s.Nodes = append(s.Nodes, out)
	}
	c.seen.nodes = known
	slices.SortFunc(s.Nodes, func(a, b fleet.Node) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

func (c *Cluster) observePods(s *fleet.Snapshot, budgets map[string][]budgetSelector, policies []policy, links uint64) error {
	pods, err := c.pods.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("pods: %w", err)
	}
	if c.seen.pods == nil {
		c.seen.pods = make(map[types.UID]*seenPod, len(pods))
	}
	c.seen.look++
	before := len(c.seen.order)
	for _, raw := range pods {
		p := c.seen.pods[raw.UID]
		if p == nil {
			p = &seenPod{name: raw.Namespace + "/" + raw.Name}
			c.seen.pods[raw.UID] = p
			c.seen.order = append(c.seen.order, p)
		}
		switch {
		case p.raw != raw:
			p.raw, p.links, p.pod = raw, links, c.podOf(raw)
			p.pod.Budgets = budgetsOf(raw, budgets[raw.Namespace])
			c.stand(p, policies)
		case p.links != links:
			c.link(&p.pod, raw)
			p.pod.Budgets = budgetsOf(raw, budgets[raw.Namespace])
			c.stand(p, policies)
			p.links = links
		}
		if p.pod.Courted = nil; p.court != nil { // each time, for it depends on the node
			p.pod.Courted = p.court.of(raw, c.seen.nodes[raw.Spec.NodeName].raw)
		}
		p.look = c.seen.look
	}
	if len(c.seen.order) > before {
		slices.SortFunc(c.seen.order, func(a, b *seenPod) int {
			return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.raw.UID, b.raw.UID))
		})
	}
	if len(c.seen.order) > len(pods) {
		c.seen.order = slices.DeleteFunc(c.seen.order, func(p *seenPod) bool {
			if p.look == c.seen.look {
				return false
			}
			delete(c.seen.pods, p.raw.UID)
			return true
		})
	}
	s.Pods = slices.Grow(s.Pods, len(c.seen.order))
	for _, p := range c.seen.order {
		s.Pods = append(s.Pods, p.pod)
	}
	return nil
}

// seen remembers what the informers' objects were converted to: converting tens of thousands of pods takes longer than a tick may. An
// informer never changes an object, it replaces it, so the pointer tells whether the conversion is still good.
type seen struct {
	sync.Mutex
	nodes map[string]seenNode // by name
	pods  map[types.UID]*seenPod
	order []*seenPod          // the same, sorted
	look  uint64              // how often pods were looked at
	cases map[string]seenCase // by instance

	works    map[types.UID]seenWork
	policies []policy
	polished uint64               // Cluster.links when policies were read, one more
	leases   map[string]seenLease // by name
}

type seenNode struct {
	raw  *corev1.Node
	node fleet.Node
}

type seenPod struct {
	raw   *corev1.Pod
	name  string // namespace/name, to sort by
	links uint64 // Cluster.links when owner, volumes and budgets were looked up
	look  uint64 // seen.look when it was last there
	pod   fleet.Pod
	claim *claim // nil when it is of no store
	court *court // nil when no operator moves it
}

// linked tells whether a change of an object may change what pods say of their owner, volumes, budgets or neighbours. Status updates, by far the most
// frequent, do not.
func linked(old, now any) bool {
	switch now := now.(type) {
	case *appsv1.ReplicaSet:
		old, ok := old.(*appsv1.ReplicaSet)
		return !ok || !equality.Semantic.DeepEqual(old.OwnerReferences, now.OwnerReferences)
	case *policyv1.PodDisruptionBudget:
		old, ok := old.(*policyv1.PodDisruptionBudget)
		return !ok || old.UID != now.UID || !equality.Semantic.DeepEqual(old.Spec.Selector, now.Spec.Selector)
	case *corev1.PersistentVolumeClaim:
		old, ok := old.(*corev1.PersistentVolumeClaim)
		return !ok || old.Spec.VolumeName != now.Spec.VolumeName || !slices.Equal(old.Spec.AccessModes, now.Spec.AccessModes)
	case *corev1.PersistentVolume:
		old, ok := old.(*corev1.PersistentVolume)
		return !ok || !equality.Semantic.DeepEqual(old.Spec.NodeAffinity, now.Spec.NodeAffinity)
	case *corev1.Namespace:
		old, ok := old.(*corev1.Namespace)
		return !ok || !maps.Equal(old.Labels, now.Labels)
	case *appsv1.StatefulSet:
		old, ok := old.(*appsv1.StatefulSet)
		if !ok {
			old = &appsv1.StatefulSet{}
		}
		return !sayTheSame(old.Annotations, now.Annotations) || !sayTheSame(old.Spec.Template.Annotations, now.Spec.Template.Annotations)
	case *appsv1.Deployment:
		old, ok := old.(*appsv1.Deployment)
		if !ok {
			old = &appsv1.Deployment{}
		}
		return !sayTheSame(old.Annotations, now.Annotations) || !sayTheSame(old.Spec.Template.Annotations, now.Spec.Template.Annotations)
	case *unstructured.Unstructured:
		return now.GetKind() == "MoverPolicy"
	case cache.DeletedFinalStateUnknown:
		return linked(nil, now.Obj)
	}
	return false
}

// sayTheSame tells whether annotations say the same to drover.
func sayTheSame(a, b map[string]string) bool {
	ours := func(all map[string]string) map[string]string {
		out := map[string]string{}
		for key, value := range all {
			if strings.HasPrefix(key, prefix) {
				out[key] = value
			}
		}
		return out
	}
	return maps.Equal(ours(a), ours(b))
}

// observePolicies returns the policies, read anew only when one has changed.
func (c *Cluster) observePolicies(links uint64) []policy {
	if c.seen.polished != links+1 {
		c.seen.policies, c.seen.polished = c.readPolicies(), links+1
	}
	return c.seen.policies
}

func nodeOf(n *corev1.Node) fleet.Node {
	out := fleet.Node{
		Name: n.Name, Provider: n.Spec.ProviderID, Instance: instanceOf(n.Spec.ProviderID), Zone: n.Labels[corev1.LabelTopologyZone],
		Created: n.CreationTimestamp.Time, Cordoned: n.Spec.Unschedulable, Labels: n.Labels, Room: resources(n.Status.Allocatable),
		Kept: n.Annotations[keptBy], OutBy: n.Annotations[excludedBy],
	}
	_, out.HeldDown = n.Annotations[scaleDownDisabled]
	_, out.Excluded = n.Labels[excludeLabel]
	for _, t := range n.Spec.Taints {
		out.Taints = append(out.Taints, fleet.Taint{Key: t.Key, Value: t.Value, Effect: string(t.Effect)})
	}
	for _, cond := range n.Status.Conditions {
		if cond.Type == corev1.NodeReady {
			out.Ready, out.Changed = cond.Status == corev1.ConditionTrue, cond.LastTransitionTime.Time
		}
	}
	return out
}

// instanceOf reads the EC2 instance id out of a providerID: aws:///us-east-1a/i-0abc. Anything else is no EC2 instance.
func instanceOf(providerID string) string {
	rest, ok := strings.CutPrefix(providerID, "aws://")
	if !ok {
		return ""
	}
	id := rest[strings.LastIndex(rest, "/")+1:]
	if !strings.HasPrefix(id, "i-") {
		return ""
	}
	return id
}

func resources(list corev1.ResourceList) fleet.Resources {
	var out fleet.Resources
	for name, q := range list {
		switch name {
		case corev1.ResourceCPU:
			out.CPU = q.MilliValue()
		case corev1.ResourceMemory:
			out.Memory = q.Value()
		case corev1.ResourcePods:
			out.Pods = q.Value()
		default:
			if out.Other == nil {
				out.Other = map[string]int64{}
			}
			out.Other[string(name)] = q.Value()
		}
	}
	return out
}

// budgetSelector is a PodDisruptionBudget's selector, parsed once.
type budgetSelector struct {
	name     string
	selector labels.Selector
}

// observeBudgets fills the budgets and returns their selectors by namespace. A budget whose selector cannot be read is an error: ignoring
// it could evict what it protects.
func (c *Cluster) observeBudgets(s *fleet.Snapshot) (map[string][]budgetSelector, error) {
	budgets, err := c.budgets.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("budgets: %w", err)
	}
	out := map[string][]budgetSelector{}
	for _, b := range budgets {
		name := b.Namespace + "/" + b.Name
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil {
			return nil, fmt.Errorf("budget %s: selector: %w", name, err)
		}
		out[b.Namespace] = append(out[b.Namespace], budgetSelector{name, selector})
		s.Budgets = append(s.Budgets, fleet.Budget{
			Name: name, Allowed: int(b.Status.DisruptionsAllowed), Healthy: int(b.Status.CurrentHealthy),
			Desired: int(b.Status.DesiredHealthy), Expected: int(b.Status.ExpectedPods),
		})
	}
	for _, list := range out {
		slices.SortFunc(list, func(a, b budgetSelector) int { return cmp.Compare(a.name, b.name) })
	}
	slices.SortFunc(s.Budgets, func(a, b fleet.Budget) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// budgetsOf names the budgets that cover the pod.
func budgetsOf(p *corev1.Pod, budgets []budgetSelector) []string {
	var out []string
	for _, b := range budgets {
		if b.selector.Matches(labels.Set(p.Labels)) {
			out = append(out, b.name)
		}
	}
	return out
}

// podOf is all of a pod but its budgets.
func (c *Cluster) podOf(p *corev1.Pod) fleet.Pod {
	out := fleet.Pod{
		Ref:  fleet.PodRef{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID)},
		Node: p.Spec.NodeName, Created: p.CreationTimestamp.Time, Selector: p.Spec.NodeSelector, Labels: p.Labels, IP: p.Status.PodIP,
		Finished:    p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
		Terminating: p.DeletionTimestamp != nil, Requests: resources(resourcehelper.PodRequests(p, resourcehelper.PodResourcesOptions{})),
		Affinity: affinityOf(p), PreStop: preStop(p), Grace: graceOf(p), Spread: spreadOf(p), Local: localData(p),
	}
	c.link(&out, p)
	out.Asked = askedOf(&p.ObjectMeta)
	out.Requests.Pods = 1
	_, out.Mirror = p.Annotations[corev1.MirrorPodAnnotationKey]
	if p.DeletionTimestamp != nil {
		out.Deleted = p.DeletionTimestamp.Time
	}
	for _, t := range p.Spec.Tolerations {
		out.Tolerations = append(out.Tolerations, fleet.Toleration{Key: t.Key, Value: t.Value, Effect: string(t.Effect), Exists: t.Operator == corev1.TolerationOpExists})
	}
	for _, cond := range p.Status.Conditions {
		switch {
		case cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue:
			out.Ready, out.ReadySince = true, cond.LastTransitionTime.Time
		case cond.Type == corev1.PodReady:
			out.Unready = cond.LastTransitionTime.Time
		case cond.Type == corev1.PodScheduled && cond.Reason == corev1.PodReasonUnschedulable:
			out.Unplaced = cond.Message
		}
	}
	return out
}

// link fills what the pod's own object does not say: it depends on its ReplicaSet, its volumes and on namespaces' labels.
func (c *Cluster) link(out *fleet.Pod, p *corev1.Pod) {
	out.Owner, out.VolumeZones, out.OwnDisk = c.ownerOf(p), c.volumeZones(p), c.ownDisk(p)
	out.Together, out.Apart = c.neighboursOf(p)
}

func graceOf(p *corev1.Pod) time.Duration {
	switch {
	case p.DeletionGracePeriodSeconds != nil:
		return time.Duration(*p.DeletionGracePeriodSeconds) * time.Second
	case p.Spec.TerminationGracePeriodSeconds != nil:
		return time.Duration(*p.Spec.TerminationGracePeriodSeconds) * time.Second
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}

// ownerOf finds the workload that will replace the pod: through the ReplicaSet to its Deployment.
func (c *Cluster) ownerOf(p *corev1.Pod) fleet.Owner {
	ref := metav1.GetControllerOf(p)
	if ref == nil {
		return fleet.Owner{}
	}
	owner := fleet.Owner{Kind: ref.Kind, Namespace: p.Namespace, Name: ref.Name}
	if ref.Kind == "ReplicaSet" {
		if rs, err := c.replicaSets.ReplicaSets(p.Namespace).Get(ref.Name); err == nil {
			if up := metav1.GetControllerOf(rs); up != nil {
				owner.Kind, owner.Name = up.Kind, up.Name
			}
		}
	}
	return owner
}

// preStop reads how long the pod's hooks sleep, where they say so: it only feeds the forecast.
func preStop(p *corev1.Pod) time.Duration {
	var longest time.Duration
	for _, ct := range p.Spec.Containers {
		if ct.Lifecycle == nil || ct.Lifecycle.PreStop == nil {
			continue
		}
		switch h := ct.Lifecycle.PreStop; {
		case h.Sleep != nil:
			longest = max(longest, time.Duration(h.Sleep.Seconds)*time.Second)
		case h.Exec != nil:
			words := strings.Fields(strings.Join(h.Exec.Command, " "))
			if i := slices.Index(words, "sleep"); i >= 0 && i+1 < len(words) {
				if sec, err := strconv.ParseFloat(strings.TrimRight(words[i+1], "s;"), 64); err == nil {
					longest = max(longest, time.Duration(sec*float64(time.Second)))
				}
			}
		}
	}
	return longest
}

func affinityOf(p *corev1.Pod) []fleet.Term {
	if p.Spec.Affinity == nil || p.Spec.Affinity.NodeAffinity == nil || p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	var out []fleet.Term
	for _, t := range p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		out = append(out, termOf(t))
	}
	return out
}

func termOf(t corev1.NodeSelectorTerm) fleet.Term {
	var out fleet.Term
	for _, q := range t.MatchExpressions {
		out = append(out, fleet.Requirement{Key: q.Key, Operator: string(q.Operator), Values: q.Values})
	}
	return out
}

// zoneKeys are the labels by which volumes name their zone.
var zoneKeys = []string{corev1.LabelTopologyZone, "topology.ebs.csi.aws.com/zone", corev1.LabelFailureDomainBetaZone}

// volumeZones returns the zones in which all of the pod's volumes can be used; nil when they can be anywhere.
func (c *Cluster) volumeZones(p *corev1.Pod) []string {
	var zones []string
	for _, claim := range c.claimsOf(p) {
		if claim.Spec.VolumeName == "" {
			continue
		}
		pv, err := c.volumes.Get(claim.Spec.VolumeName)
		if err != nil || pv.Spec.NodeAffinity == nil || pv.Spec.NodeAffinity.Required == nil {
			continue
		}
		for _, t := range pv.Spec.NodeAffinity.Required.NodeSelectorTerms {
			for _, q := range t.MatchExpressions {
				if slices.Contains(zoneKeys, q.Key) && q.Operator == corev1.NodeSelectorOpIn {
					zones = append(zones, q.Values...)
				}
			}
		}
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}

// claimsOf returns the pod's claims, as far as they are known.
func (c *Cluster) claimsOf(p *corev1.Pod) []*corev1.PersistentVolumeClaim {
	var out []*corev1.PersistentVolumeClaim
	for _, v := range p.Spec.Volumes {
		name := ""
		switch {
		case v.PersistentVolumeClaim != nil:
			name = v.PersistentVolumeClaim.ClaimName
		case v.Ephemeral != nil:
			name = p.Name + "-" + v.Name
		default:
			continue
		}
		if claim, err := c.claims.PersistentVolumeClaims(p.Namespace).Get(name); err == nil {
			out = append(out, claim)
		}
	}
	return out
}

// ownDisk tells whether one of the pod's volumes can be used by one node at a time.
func (c *Cluster) ownDisk(p *corev1.Pod) bool {
	return slices.ContainsFunc(c.claimsOf(p), func(claim *corev1.PersistentVolumeClaim) bool {
		return len(claim.Spec.AccessModes) > 0 && !slices.ContainsFunc(claim.Spec.AccessModes, func(m corev1.PersistentVolumeAccessMode) bool {
			return m == corev1.ReadWriteMany || m == corev1.ReadOnlyMany
		})
	})
}

// localData names the pod's volumes whose data stays behind on the node.
func localData(p *corev1.Pod) string {
	var out []string
	for _, v := range p.Spec.Volumes {
		switch {
		case v.EmptyDir != nil:
			out = append(out, "emptyDir "+v.Name)
		case v.HostPath != nil:
			out = append(out, "hostPath "+v.HostPath.Path)
		}
	}
	return strings.Join(out, ", ")
}

// attached names the volumes that are attached to each node.
func (c *Cluster) attached() (map[string][]string, error) {
	all, err := c.attachments.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("volumeattachments: %w", err)
	}
	out := map[string][]string{}
	for _, a := range all {
		if !a.Status.Attached {
			continue
		}
		name := a.Name
		if pv := a.Spec.Source.PersistentVolumeName; pv != nil {
			name = *pv
		}
		out[a.Spec.NodeName] = append(out[a.Spec.NodeName], name)
	}
	for _, names := range out {
		slices.Sort(names)
	}
	return out, nil
}
