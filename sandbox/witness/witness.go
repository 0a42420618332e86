// Package witness watches a cluster from outside and writes down what happened to its pods and budgets, so that a claim such as "every pod
// moved once and no budget was broken" rests on somebody other than the one who moved them.
//
// Start it before the events, ask for its Report after them. It only reads.
package witness

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Witness is one who watches.
type Witness struct {
	mu      sync.Mutex
	pods    map[types.UID]*corev1.Pod
	budgets []budget
	first   map[types.UID]string // pods to be followed: those on the nodes given to Start
	later   map[types.UID]string // pods made since, by a controller
	gone    map[types.UID]bool
	breaks  []Break
	checks  int
	ready   bool // all pods of the start are known
}

// budget is a PodDisruptionBudget as it was at the start.
type budget struct {
	namespace, name string
	selector        labels.Selector
	desired         int
	broken          bool
}

// Break is a moment from which a budget had fewer healthy pods than it wants.
type Break struct {
	At               time.Time
	Budget           string
	Healthy, Desired int
}

func (b Break) String() string {
	return fmt.Sprintf("%s: budget %s had %d healthy pods, it wants %d", b.At.Format(time.TimeOnly), b.Budget, b.Healthy, b.Desired)
}

// Report is what was seen.
type Report struct {
	Pods   int      // pods that were on the nodes at the start, DaemonSet and finished ones left out
	Once   int      // of those: moved exactly once
	Stayed []string // of those: still there
	Again  []string // pods that came up since and had to go again
	Breaks []Break
	Checks int // how often all budgets were counted
}

// Start notes the pods on the given nodes and begins to watch. It watches until ctx ends.
func Start(ctx context.Context, client kubernetes.Interface, nodes []string) (*Witness, error) {
	w := &Witness{pods: map[types.UID]*corev1.Pod{}, first: map[types.UID]string{}, later: map[types.UID]string{}, gone: map[types.UID]bool{}}
	list, err := client.PolicyV1().PodDisruptionBudgets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("witness: list budgets: %w", err)
	}
	for _, b := range list.Items {
		s, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil {
			return nil, fmt.Errorf("witness: budget %s/%s: %w", b.Namespace, b.Name, err)
		}
		w.budgets = append(w.budgets, budget{namespace: b.Namespace, name: b.Name, selector: s, desired: int(b.Status.DesiredHealthy)})
	}
	f := informers.NewSharedInformerFactory(client, 0)
	handle, err := f.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc:    func(o any, initial bool) { w.saw(o.(*corev1.Pod), initial, nodes) },
		UpdateFunc: func(_, o any) { w.saw(o.(*corev1.Pod), false, nodes) },
		DeleteFunc: func(o any) { w.left(o) },
	})
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	f.StartWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), handle.HasSynced) {
		return nil, fmt.Errorf("witness: pods not listed: %w", context.Cause(ctx))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready = true
	w.count()
	return w, nil
}

func (w *Witness) saw(p *corev1.Pod, initial bool, nodes []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, known := w.pods[p.UID]
	w.pods[p.UID] = p
	switch {
	case known || !moves(p):
	case initial && slices.Contains(nodes, p.Spec.NodeName):
		w.first[p.UID] = p.Namespace + "/" + p.Name
	case !initial:
		w.later[p.UID] = p.Namespace + "/" + p.Name
	}
	if p.DeletionTimestamp != nil {
		w.gone[p.UID] = true
	}
	w.count()
}

func (w *Witness) left(o any) {
	if unknown, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = unknown.Obj
	}
	p, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pods, p.UID)
	w.gone[p.UID] = true
	w.count()
}

// moves tells whether a pod is one that a rotation has to move.
func moves(p *corev1.Pod) bool {
	ref := metav1.GetControllerOf(p)
	return ref != nil && ref.Kind != "DaemonSet" && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}

// count checks every budget against the pods as they are after this event.
func (w *Witness) count() {
	if !w.ready {
		return
	}
	w.checks++
	for i := range w.budgets {
		b := &w.budgets[i]
		healthy := 0
		for _, p := range w.pods {
			if p.Namespace == b.namespace && p.DeletionTimestamp == nil && isReady(p) && b.selector.Matches(labels.Set(p.Labels)) {
				healthy++
			}
		}
		short := healthy < b.desired
		if short && !b.broken {
			w.breaks = append(w.breaks, Break{At: time.Now(), Budget: b.namespace + "/" + b.name, Healthy: healthy, Desired: b.desired})
		}
		b.broken = short
	}
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Report says what was seen so far.
func (w *Witness) Report() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := Report{Pods: len(w.first), Breaks: slices.Clone(w.breaks), Checks: w.checks}
	for uid, name := range w.first {
		if w.gone[uid] {
			r.Once++
		} else {
			r.Stayed = append(r.Stayed, name)
		}
	}
	for uid, name := range w.later {
		if w.gone[uid] {
			r.Again = append(r.Again, name)
		}
	}
	slices.SortFunc(r.Again, cmp.Compare)
	slices.SortFunc(r.Stayed, cmp.Compare)
	return r
}
