package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// lend makes the temporary pod of a move. It belongs to the Move on file, and goes with it.
func (c *Cluster) lend(ctx context.Context, a fleet.Action) error {
	m, err := c.liveMove(ctx, a.Store)
	if err != nil {
		return err
	}
	if m == nil || m.Spec.Run != a.Run || m.DeletionTimestamp != nil {
		return &fleet.Refused{Reason: fmt.Sprintf("store %s: run %s has no move of it on file", a.Store, a.Run), Wait: budgetWait}
	}
	set, err := c.setOfPod(ctx, a.Pod)
	if err != nil {
		return err
	}
	if err := c.mayLend(set); err != nil {
		return err
	}
	p := lent(set, m, a.Peer.Name, c.hostnames(a.Avoid))
	_, err = c.client.CoreV1().Pods(a.Pod.Namespace).Create(ctx, p, metav1.CreateOptions{FieldManager: "drover"})
	if apierrors.IsAlreadyExists(err) {
		return c.lentAlready(ctx, m, p.Name)
	}
	if err != nil {
		return ofStore(classify(fmt.Errorf("create temporary pod %s/%s: %w", p.Namespace, p.Name, err)), p.Namespace)
	}
	return nil
}

// lentAlready is success when the pod of that name belongs to the move.
func (c *Cluster) lentAlready(ctx context.Context, m *v1alpha1.Move, name string) error {
	p, err := c.client.CoreV1().Pods(m.Namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case err != nil:
		return classify(fmt.Errorf("read pod %s/%s: %w", m.Namespace, name, err))
	case !temporary(p) || p.Labels[temporaryLabel] != string(m.UID):
		return &fleet.Refused{Reason: fmt.Sprintf("pod %s/%s is there already, and is none of move %s: delete it if nothing needs it", m.Namespace, name, keyOf(m)), Wait: brokenWait, Held: true}
	case p.DeletionTimestamp != nil:
		return &fleet.Refused{Reason: fmt.Sprintf("pod %s/%s is still shutting down", m.Namespace, name), Wait: budgetWait}
	}
	return nil
}

// setOfPod reads live the StatefulSet that makes the pod, or made it: while the pod is away, its name tells.
func (c *Cluster) setOfPod(ctx context.Context, pod fleet.PodRef) (*appsv1.StatefulSet, error) {
	name, _ := cutLast(pod.Name, "-")
	p, err := c.client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	switch {
	case err == nil:
		owner := c.ownerOf(p)
		if owner.Kind != "StatefulSet" {
			return nil, &fleet.Refused{Reason: fmt.Sprintf("pod %s is of %s: a temporary pod is made from a StatefulSet's template only", pod, owner), Wait: brokenWait}
		}
		name = owner.Name
	case !apierrors.IsNotFound(err):
		return nil, classify(fmt.Errorf("read pod %s: %w", pod, err))
	}
	set, err := c.client.AppsV1().StatefulSets(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, classify(fmt.Errorf("read StatefulSet %s/%s, of pod %s: %w", pod.Namespace, name, pod.Name, err))
	}
	return set, nil
}

func cutLast(s, sep string) (before, after string) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+len(sep):]
}

// mayLend refuses a template that a second pod cannot be made from.
func (c *Cluster) mayLend(set *appsv1.StatefulSet) error {
	owner := fleet.Owner{Kind: "StatefulSet", Namespace: set.Namespace, Name: set.Name}
	cl := c.templateClaim(owner, setOf(set), c.readPolicies())
	if cl == nil {
		return &fleet.Refused{Reason: fmt.Sprintf("%s is not declared to be of a store any more", owner), Wait: ownerWait}
	}
	if cl.from.broken {
		return &fleet.Refused{Reason: fmt.Sprintf("%s: %s", owner, strings.Join(cl.from.trouble, "; ")), Wait: brokenWait, Held: true}
	}
	s := &subject{containers: set.Spec.Template.Spec.Containers}
	if _, says := cl.from.says["port"]; !says {
		if _, data := ports(cl.from, s); !data {
			reason := fmt.Sprintf("%s: its pod template has no container port %d, and it does not say drover.dev/port: a temporary pod might not listen where the others look; say one of the two", owner, dataPort)
			return &fleet.Refused{Reason: reason, Wait: brokenWait}
		}
	}
	for _, claim := range set.Spec.VolumeClaimTemplates {
		if mode := claim.Spec.VolumeMode; mode != nil && *mode == corev1.PersistentVolumeBlock {
			reason := fmt.Sprintf("%s: its volumeClaimTemplate %s is a block device, in the place of which a temporary pod can have nothing; make it a file system, or add a replica on another node", owner, claim.Name)
			return &fleet.Refused{Reason: reason, Wait: brokenWait}
		}
	}
	for _, v := range set.Spec.Template.Spec.Volumes {
		if what := writtenByBoth(&v, &set.Spec.Template.Spec); what != "" && !claimed(set, v.Name) {
			reason := fmt.Sprintf("%s: volume %s of its pod template is %s, which a temporary pod must not write to; make it a volumeClaimTemplate, or readOnly", owner, v.Name, what)
			return &fleet.Refused{Reason: reason, Wait: brokenWait}
		}
	}
	return nil
}

// writtenByBoth names what a volume is if two pods with it might write the same data; "" for one that is a pod's own, or only read. What is not known
// to be either may be both's.
func writtenByBoth(v *corev1.Volume, of *corev1.PodSpec) string {
	switch {
	case v.ConfigMap != nil, v.Secret != nil, v.Projected != nil, v.DownwardAPI != nil, v.EmptyDir != nil, v.Ephemeral != nil, v.Image != nil, onlyRead(v.Name, of):
		return ""
	case v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ReadOnly, v.NFS != nil && v.NFS.ReadOnly, v.CSI != nil && v.CSI.ReadOnly != nil && *v.CSI.ReadOnly:
		return ""
	case v.PersistentVolumeClaim != nil:
		return "the claim " + v.PersistentVolumeClaim.ClaimName + " itself"
	case v.HostPath != nil:
		return "the node's own " + v.HostPath.Path
	case v.NFS != nil:
		return "the NFS export " + v.NFS.Server + ":" + v.NFS.Path
	case v.CSI != nil:
		return "an inline volume of " + v.CSI.Driver
	}
	return "of a kind that pods may share"
}

// onlyRead tells whether containers mount the volume, and all of them for reading.
func onlyRead(volume string, of *corev1.PodSpec) bool {
	mounted := false
	for _, c := range slices.Concat(of.InitContainers, of.Containers) {
		for _, m := range c.VolumeMounts {
			if m.Name == volume && !m.ReadOnly {
				return false
			}
			mounted = mounted || m.Name == volume
		}
	}
	return mounted
}

// claimed tells whether a volume is one of the StatefulSet's claim templates, which go before the template's own volumes.
func claimed(set *appsv1.StatefulSet, volume string) bool {
	return slices.ContainsFunc(set.Spec.VolumeClaimTemplates, func(t corev1.PersistentVolumeClaim) bool { return t.Name == volume })
}

// hostnames are the nodes by the label that affinities go by, which need not be their name.
func (c *Cluster) hostnames(nodes []string) []string {
	var out []string
	for _, name := range nodes {
		host := name
		if n := c.knownNode(name); n != nil && n.Labels[corev1.LabelHostname] != "" {
			host = n.Labels[corev1.LabelHostname]
		}
		out = append(out, host)
	}
	return out
}

// lent is the temporary pod: like the StatefulSet's own, but with data of its own that goes with it, with none of the labels by which Services,
// budgets and controllers would take it for one of theirs, and wherever there is room but on the nodes that leave.
func lent(set *appsv1.StatefulSet, m *v1alpha1.Move, name string, avoid []string) *corev1.Pod {
	template := set.Spec.Template.DeepCopy()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: set.Namespace, Name: name, Annotations: template.Annotations,
			Labels: map[string]string{storeLabel: m.Name, temporaryLabel: string(m.UID)},
			OwnerReferences: []metav1.OwnerReference{
				{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Move", Name: m.Name, UID: m.UID}, // no controller: none is to take it for its own
			},
		},
		Spec: template.Spec,
	}
	p.Spec.Hostname, p.Spec.Subdomain, p.Spec.NodeName, p.Spec.ReadinessGates = "", "", "", nil
	p.Spec.Volumes = slices.DeleteFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return claimed(set, v.Name) })
	for _, t := range set.Spec.VolumeClaimTemplates {
		p.Spec.Volumes = append(p.Spec.Volumes, scratch(&t))
	}
	for i := range p.Spec.TopologySpreadConstraints {
		p.Spec.TopologySpreadConstraints[i].WhenUnsatisfiable = corev1.ScheduleAnyway
	}
	p.Spec.Affinity = elsewhere(relaxed(p.Spec.Affinity), avoid)
	return p
}

// scratch is a volume in the place of a claim, as large as was claimed.
func scratch(claim *corev1.PersistentVolumeClaim) corev1.Volume {
	dir := &corev1.EmptyDirVolumeSource{}
	if size, asked := claim.Spec.Resources.Requests[corev1.ResourceStorage]; asked {
		dir.SizeLimit = &size
	}
	return corev1.Volume{Name: claim.Name, VolumeSource: corev1.VolumeSource{EmptyDir: dir}}
}

// relaxed keeps away from other pods where that is possible, instead of everywhere.
func relaxed(a *corev1.Affinity) *corev1.Affinity {
	if a == nil || a.PodAntiAffinity == nil {
		return a
	}
	apart := a.PodAntiAffinity
	for _, t := range apart.RequiredDuringSchedulingIgnoredDuringExecution {
		apart.PreferredDuringSchedulingIgnoredDuringExecution = append(apart.PreferredDuringSchedulingIgnoredDuringExecution,
			corev1.WeightedPodAffinityTerm{Weight: 100, PodAffinityTerm: t})
	}
	apart.RequiredDuringSchedulingIgnoredDuringExecution = nil
	return a
}

// elsewhere keeps off nodes, whatever else is required of one: terms are alternatives, so each of them says it.
func elsewhere(a *corev1.Affinity, avoid []string) *corev1.Affinity {
	if len(avoid) == 0 {
		return a
	}
	if a == nil {
		a = &corev1.Affinity{}
	}
	if a.NodeAffinity == nil {
		a.NodeAffinity = &corev1.NodeAffinity{}
	}
	required := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	fresh := required == nil
	if fresh {
		required = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{}}}
		a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = required
	}
	for i := range required.NodeSelectorTerms {
		t := &required.NodeSelectorTerms[i]
		if !fresh && len(t.MatchExpressions)+len(t.MatchFields) == 0 {
			continue // it matches no node, and is to go on doing so
		}
		t.MatchExpressions = append(t.MatchExpressions, corev1.NodeSelectorRequirement{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpNotIn, Values: avoid})
	}
	return a
}

// unlend deletes a temporary pod, and nothing else.
func (c *Cluster) unlend(ctx context.Context, a fleet.Action) error {
	p, err := c.livePod(ctx, a.Pod)
	if err != nil || p == nil {
		return err
	}
	if !temporary(p) {
		return &fleet.Refused{Reason: fmt.Sprintf("pod %s is no temporary pod of drover's", a.Pod), Wait: brokenWait}
	}
	return ofStore(c.delete(ctx, a), a.Pod.Namespace)
}
