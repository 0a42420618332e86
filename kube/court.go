package kube

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/fleet"
)

const (
	cordonedBy  = prefix + "cordoned"         // on a node: the run that made it unschedulable, which it was not before
	courtMark   = prefix + "court"            // on a pod: a courtNote
	courtSignal = prefix + "court-annotation" // key=value that an operator takes for the wish that the pod leaves
	courtDone   = prefix + "court-done"       // label or annotation, key or key=value, by which it says that the pod may
)

// court is how an operator that moves its pods itself is told that one has to leave, and how it answers.
type court struct {
	operator   string
	leads      func(*corev1.Pod) bool
	key, value string // annotation of the pod that tells it; "" when it looks whether the pod's node is schedulable
	any        bool   // of whatever value
	signal     bool   // there is something to be said at all
	done       func(*corev1.Pod) bool
	awaits     string
	trouble    string
}

// The operators that are known, by what is theirs alone.
var courts = []struct {
	theirs func(*corev1.Pod) bool
	court
}{
	{func(p *corev1.Pod) bool {
		return ownedBy(p, "postgresql.cnpg.io/") || p.Labels["cnpg.io/cluster"] != "" && p.Labels["cnpg.io/instanceRole"] != ""
	}, court{operator: "CloudNativePG", leads: cnpgLeads, signal: true, done: func(p *corev1.Pod) bool { return !cnpgLeads(p) },
		awaits: "CloudNativePG to promote another instance; that takes a ready one on a node that is schedulable"}},
	{func(p *corev1.Pod) bool { return p.Labels["application"] == "spilo" && p.Labels["spilo-role"] != "" },
		court{operator: "Zalando postgres-operator", leads: spiloLeads, signal: true, done: func(p *corev1.Pod) bool { return !spiloLeads(p) },
			awaits: "Zalando postgres-operator to switch over to another pod; it begins when the node becomes unschedulable, and gives up after a while: if it did, uncordon the node and cordon it again"}},
	{func(p *corev1.Pod) bool {
		return p.Labels["strimzi.io/cluster"] != "" && ownedBy(p, "core.strimzi.io/")
	},
		court{operator: "Strimzi", leads: func(p *corev1.Pod) bool { return p.Labels["strimzi.io/kind"] == "Kafka" }, signal: true,
			key: "strimzi.io/manual-rolling-update", value: "true", done: never,
			awaits: "Strimzi to replace the pod itself; its Cluster Operator looks every two minutes, and waits until all partitions are in sync"}},
	{annotated("drain.planetscale.com/supported"),
		court{operator: "Vitess operator", leads: func(p *corev1.Pod) bool { return !vitessDone(p) }, signal: true,
			key: "drain.planetscale.com/started", value: "drover replaces its node", any: true, done: vitessDone,
			awaits: "Vitess operator to finish draining the tablet; it finishes one tablet of a shard at a time, and none while the shard is not healthy"}},
}

func cnpgLeads(p *corev1.Pod) bool {
	role := p.Labels["cnpg.io/instanceRole"]
	if role == "" {
		role = p.Labels["role"] // of older versions
	}
	return role == "primary"
}

func spiloLeads(p *corev1.Pod) bool { return p.Labels["spilo-role"] == "master" }

// vitessDone holds for a while only: an operator in need gives a drained tablet work again.
func vitessDone(p *corev1.Pod) bool {
	return annotated("drain.planetscale.com/started")(p) && annotated("drain.planetscale.com/finished")(p)
}

func never(*corev1.Pod) bool { return false }

func annotated(key string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool { _, is := p.Annotations[key]; return is }
}

// ownedBy tells whether the pod's controller is of an API group, given with its slash.
func ownedBy(p *corev1.Pod, group string) bool {
	ref := metav1.GetControllerOf(p)
	return ref != nil && strings.HasPrefix(ref.APIVersion, group)
}

// courtOf finds how the pod's operator is told; nil when none moves it. Who declared a mover, be it none, has said that.
func courtOf(p *corev1.Pod, w *workload, cl *claim) *court {
	if cl != nil {
		return nil
	}
	if speaks(p.Annotations) {
		if ct := declaredCourt(p.Annotations, "pod "+p.Namespace+"/"+p.Name); ct != nil {
			return ct
		}
	}
	if w != nil && speaks(w.meta.Annotations) {
		if ct := declaredCourt(w.meta.Annotations, "the workload "+w.meta.Namespace+"/"+w.meta.Name); ct != nil {
			return ct
		}
	}
	for i := range courts {
		if courts[i].theirs(p) {
			return &courts[i].court
		}
	}
	return nil
}

// declaredCourt is what annotations say of an operator that drover does not know; nil when they say nothing.
func declaredCourt(annotations map[string]string, of string) *court {
	signal, says := annotations[courtSignal]
	done, answers := annotations[courtDone]
	if !says && !answers {
		return nil
	}
	ct := &court{operator: "its operator", signal: says, done: never, awaits: "its operator to replace the pod"}
	if says {
		var ok bool
		if ct.key, ct.value, ok = strings.Cut(signal, "="); !ok || ct.key == "" {
			ct.trouble = fmt.Sprintf("annotation %s of %s to be right: it is %q, want key=value", courtSignal, of, signal)
		}
	}
	if answers {
		key, value, exact := strings.Cut(done, "=")
		if key == "" {
			ct.trouble = fmt.Sprintf("annotation %s of %s to be right: it is %q, want key or key=value", courtDone, of, done)
		}
		ct.done = func(p *corev1.Pod) bool {
			return has(p.Labels, key, value, exact) || has(p.Annotations, key, value, exact)
		}
		ct.awaits = "its operator to say " + done + " on the pod"
	}
	ct.leads = func(p *corev1.Pod) bool { return !ct.done(p) }
	return ct
}

func has(m map[string]string, key, value string, exact bool) bool {
	is, there := m[key]
	return there && (!exact || is == value)
}

// of is how far the operator is with the pod. A node that does not leave is nobody's to give back, so a person, or whoever drains it, has to cordon it.
func (ct *court) of(p *corev1.Pod, n *corev1.Node) *fleet.Courted {
	out := &fleet.Courted{Operator: ct.operator, Leads: ct.leads(p)}
	switch {
	case p.DeletionTimestamp != nil:
		out.Awaits = "the pod to shut down"
	case ct.trouble != "":
		out.Awaits = ct.trouble
	case ct.done(p) && ct.said(p, n):
		out.Go = true
	case !ct.said(p, n) && ct.key == "" && !leaves(n):
		out.Awaits = fmt.Sprintf("%s, which moves it from a node that is unschedulable only: kubectl cordon %s, and uncordon it when the pod has left", ct.operator, p.Spec.NodeName)
	case !ct.said(p, n):
		out.Signal, out.Awaits = ct.words(p), ct.awaits
	default:
		out.Awaits = ct.awaits
	}
	return out
}

// said tells whether the operator has been told. One that looks at nodes need not be told of a pod that does not lead.
func (ct *court) said(p *corev1.Pod, n *corev1.Node) bool {
	switch {
	case !ct.signal:
		return true
	case ct.key == "":
		return !ct.leads(p) || n != nil && n.Spec.Unschedulable
	}
	return has(p.Annotations, ct.key, ct.value, !ct.any)
}

// words are what is to be said.
func (ct *court) words(p *corev1.Pod) string {
	if ct.key == "" {
		return "make node " + p.Spec.NodeName + " unschedulable"
	}
	return fmt.Sprintf("annotate the pod %s=%s", ct.key, ct.value)
}

// court tells the pod's operator that it has to leave its node. What it writes it notes beside, for uncourt and uncordon.
func (c *Cluster) court(ctx context.Context, a fleet.Action) error {
	p, err := c.livePod(ctx, a.Pod)
	if err != nil || p == nil || p.DeletionTimestamp != nil {
		return err
	}
	ct := courtOf(p, c.workloadBy(c.ownerOf(p)), nil)
	switch {
	case ct == nil:
		return &fleet.Refused{Reason: fmt.Sprintf("pod %s is of no operator that drover knows", a.Pod), Wait: ownerWait}
	case ct.trouble != "":
		return &fleet.Refused{Reason: fmt.Sprintf("pod %s waits for %s", a.Pod, ct.trouble), Wait: ownerWait, Held: true}
	case p.Spec.NodeName != a.Node:
		return &fleet.Refused{Reason: fmt.Sprintf("pod %s is on node %q, not on %s", a.Pod, p.Spec.NodeName, a.Node)}
	case ct.key == "" && ct.said(p, nil):
		return nil
	case ct.key == "":
		return c.patchNode(ctx, a.Node, func(n *corev1.Node) (change, error) { return cordon(n, a.Run) })
	}
	return c.annotatePod(ctx, a.Pod, func(p *corev1.Pod) map[string]any {
		if ct.said(p, nil) {
			return nil
		}
		note := courtNote{run: a.Run, key: ct.key, wrote: ct.value}
		note.was, note.had = p.Annotations[ct.key]
		return map[string]any{ct.key: ct.value, courtMark: note.String()}
	})
}

// courtNote is what a run annotated a pod with, and what was there before.
type courtNote struct {
	run, key, wrote string
	was             string
	had             bool
}

// String is `RUN KEY="VALUE"`, and `RUN KEY="VALUE" "VALUE BEFORE"` if there was one.
func (n courtNote) String() string {
	out := n.run + " " + n.key + "=" + strconv.Quote(n.wrote)
	if n.had {
		out += " " + strconv.Quote(n.was)
	}
	return out
}

func parseCourtNote(text string) (courtNote, bool) {
	run, rest, ok := strings.Cut(text, " ")
	key, values, says := strings.Cut(rest, "=")
	if !ok || !says {
		return courtNote{}, false
	}
	n := courtNote{run: run, key: key}
	quoted, err := strconv.QuotedPrefix(values)
	if err != nil {
		return courtNote{}, false
	}
	n.wrote, _ = strconv.Unquote(quoted) // QuotedPrefix has seen that it can be
	before := values[len(quoted):]
	if n.had = before != ""; n.had {
		if n.was, err = strconv.Unquote(strings.TrimPrefix(before, " ")); err != nil {
			return courtNote{}, false
		}
	}
	return n, true
}

// uncourt takes back what the run has said on pods of a node: they stay.
func (c *Cluster) uncourt(ctx context.Context, node, run string) error {
	if c.pods == nil || run == "" {
		return nil
	}
	pods, err := c.pods.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("pods: %w", err)
	}
	for _, p := range pods {
		if p.Spec.NodeName != node || !strings.HasPrefix(p.Annotations[courtMark], run+" ") {
			continue
		}
		err := c.annotatePod(ctx, fleet.PodRef{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID)}, func(p *corev1.Pod) map[string]any { return retracted(p, run) })
		if err != nil {
			return fmt.Errorf("take back annotation of pod %s/%s: %w", p.Namespace, p.Name, err)
		}
	}
	return nil
}

// retracted is the patch that takes a run's word back; nil when there is none. What somebody has set since is theirs, and stays; so does what a note that
// cannot be read may be about.
func retracted(p *corev1.Pod, run string) map[string]any {
	if !strings.HasPrefix(p.Annotations[courtMark], run+" ") {
		return nil
	}
	out := map[string]any{courtMark: nil}
	n, ok := parseCourtNote(p.Annotations[courtMark])
	switch now, there := p.Annotations[n.key]; {
	case !ok || !there || now != n.wrote:
	case n.had:
		out[n.key] = n.was
	default:
		out[n.key] = nil
	}
	return out
}

// leaves tells whether a run empties the node: it then takes back what it did to it.
func leaves(n *corev1.Node) bool {
	return n != nil && slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == fleet.TaintKey })
}

// cordon makes the node unschedulable, unless somebody else has. It refuses one that does not leave: nobody would look there again to undo it.
func cordon(n *corev1.Node, run string) (change, error) {
	switch {
	case n.Spec.Unschedulable:
		return nil, nil
	case !leaves(n):
		return nil, &fleet.Refused{Reason: fmt.Sprintf("node %s does not leave, so drover does not make it unschedulable: kubectl cordon it", n.Name), Wait: ownerWait, Held: true}
	}
	return change{"spec": map[string]any{"unschedulable": true}, "metadata": map[string]any{"annotations": map[string]any{cordonedBy: run}}}, nil
}

// uncordon adds to a patch of a node that it is schedulable again, if a run of drover other than keep made it unschedulable. The mark of one that
// somebody has uncordoned since is removed only.
func uncordon(n *corev1.Node, keep string, patch change) change {
	by, ours := n.Annotations[cordonedBy]
	if !ours || by == keep {
		return patch
	}
	more := annotate(map[string]any{cordonedBy: nil})
	if n.Spec.Unschedulable {
		more["spec"] = map[string]any{"unschedulable": nil}
	}
	return merged(patch, more)
}

// merged is both patches in one.
func merged(a, b map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range a {
		out[key] = value
	}
	for key, value := range b {
		ours, both := out[key].(map[string]any)
		if theirs, ok := value.(map[string]any); ok && both {
			out[key] = merged(ours, theirs)
		} else {
			out[key] = value
		}
	}
	return out
}

// letGo refuses the eviction of a pod whose operator has not let it go, or does not any more. It reads the pod live.
func (c *Cluster) letGo(ctx context.Context, pod fleet.PodRef) error {
	ct := c.knownCourt(pod.UID)
	if ct == nil {
		return nil
	}
	p, err := c.livePod(ctx, pod)
	if err != nil || p == nil {
		return err
	}
	if state := ct.of(p, c.knownNode(p.Spec.NodeName)); !state.Go && p.DeletionTimestamp == nil {
		why := state.Awaits
		if state.Signal != "" {
			why = "to be told: " + state.Signal
		}
		return &fleet.Refused{Reason: fmt.Sprintf("pod %s is moved by %s, and waits for %s", pod, ct.operator, why), Wait: budgetWait, Held: true}
	}
	return nil
}

// knownCourt is how the pod's operator is told, as far as it was observed.
func (c *Cluster) knownCourt(uid string) *court {
	c.seen.Lock()
	defer c.seen.Unlock()
	if p := c.seen.pods[types.UID(uid)]; p != nil {
		return p.court
	}
	return nil
}
