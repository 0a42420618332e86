package kube

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/fleet"
)

// Labels of a temporary pod: its store's name, and the UID of the Move that it belongs to.
const (
	storeLabel     = prefix + "store"
	temporaryLabel = prefix + "temporary"
)

// unmovable is what to do about a cluster that drover was not installed in.
const unmovable = "moves need drover's custom resources: drover install"

// workload is what owns pods, as far as stores go by it.
type workload struct {
	meta      *metav1.ObjectMeta
	template  *corev1.PodTemplateSpec
	replicas  int
	governing string // name of the Service that names its pods
}

// workloadBy looks a workload up; nil when it is of another kind, or not known.
func (c *Cluster) workloadBy(o fleet.Owner) *workload {
	switch o.Kind {
	case "StatefulSet":
		if s, err := c.statefulSets.StatefulSets(o.Namespace).Get(o.Name); err == nil {
			return setOf(s)
		}
	case "Deployment":
		if d, err := c.deployments.Deployments(o.Namespace).Get(o.Name); err == nil {
			return deploymentOf(d)
		}
	}
	return nil
}

func setOf(s *appsv1.StatefulSet) *workload {
	return &workload{&s.ObjectMeta, &s.Spec.Template, wanted(s.Spec.Replicas), s.Spec.ServiceName}
}

func deploymentOf(d *appsv1.Deployment) *workload {
	return &workload{&d.ObjectMeta, &d.Spec.Template, wanted(d.Spec.Replicas), ""}
}

// wanted is how many replicas; 1 is the API's own default.
func wanted(replicas *int32) int {
	if replicas == nil {
		return 1
	}
	return int(*replicas)
}

// claimOf finds who says what store a subject is of: its own annotations, those of its workload's object, or a policy, the first of these that says
// anything, and then it alone. nil when nobody does.
func (c *Cluster) claimOf(s *subject, w *workload, policies []policy) *claim {
	own := declared(s.annotations, s.name)
	var above *declaration
	if w != nil {
		if t := declared(w.template.Annotations, "the pod template of "+s.owner.String()); t.same(own) {
			own = t
		}
		above = declared(w.meta.Annotations, s.owner.String())
	}
	switch {
	case own != nil:
		out := claimBy(own, s)
		if above != nil && above.says[storeKey] != "" && own.says[storeKey] != "" && above.says[storeKey] != own.says[storeKey] {
			out.trouble = append(out.trouble, fmt.Sprintf("%s is of two stores: %s is %q, %s is %q", s.name, own.at(storeKey), own.says[storeKey], above.at(storeKey), above.says[storeKey]))
		}
		return out
	case above != nil:
		return claimBy(above, s)
	}
	best, tied := c.mostSpecific(policies, moves(s), s.namespace, s.labels)
	if best == nil {
		return nil
	}
	out := claimBy(best.says, s)
	if len(tied) > 0 {
		out.trouble = append(out.trouble, fmt.Sprintf("%s is selected by policies %s, none more specific than the others: have one name namespaces, or more labels", s.name, oneOf(append([]string{best.name}, tied...))))
	}
	return out
}

// stand finds what store the pod is of, or else which operator moves it. Of most pods nobody says anything, which is found out with little effort.
func (c *Cluster) stand(p *seenPod, policies []policy) {
	w := c.workloadBy(p.pod.Owner)
	p.claim = c.podClaim(p.raw, p.pod.Owner, w, policies)
	p.court = courtOf(p.raw, w, p.claim)
}

// podClaim is the claim of a pod; nil when it is of no store.
func (c *Cluster) podClaim(p *corev1.Pod, owner fleet.Owner, w *workload, policies []policy) *claim {
	if temporary(p) {
		return &claim{store: p.Namespace + "/" + p.Labels[storeLabel], temp: true}
	}
	if len(policies) == 0 && !speaks(p.Annotations) && (w == nil || !speaks(w.meta.Annotations)) {
		return nil
	}
	s := &subject{p.Namespace, "pod " + p.Namespace + "/" + p.Name, p.Labels, p.Annotations, p.Spec.Containers, owner}
	return c.claimOf(s, w, policies)
}

// speaks tells whether any annotation is drover's.
func speaks(annotations map[string]string) bool {
	for key := range annotations {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// temporary tells whether drover made the pod for a move.
func temporary(p *corev1.Pod) bool {
	return p.Labels[storeLabel] != "" && slices.ContainsFunc(p.OwnerReferences, func(r metav1.OwnerReference) bool {
		return r.Kind == "Move" && strings.HasPrefix(r.APIVersion, "drover.dev/") && string(r.UID) == p.Labels[temporaryLabel]
	})
}

// templateClaim is the claim of a workload's pods, whether or not it has any.
func (c *Cluster) templateClaim(owner fleet.Owner, w *workload, policies []policy) *claim {
	s := &subject{owner.Namespace, owner.String(), w.template.Labels, w.template.Annotations, w.template.Spec.Containers, owner}
	return c.claimOf(s, w, policies)
}

// seenWork is what a workload's object was read as.
type seenWork struct {
	raw   metav1.Object
	links uint64
	claim *claim
}

// observeClaims returns the claims of all workloads.
func (c *Cluster) observeClaims(policies []policy, links uint64) ([]*claim, error) {
	var out []*claim
	known := make(map[types.UID]seenWork, len(c.seen.works))
	add := func(kind string, raw metav1.Object, read func() *workload) {
		one := c.seen.works[raw.GetUID()]
		if one.raw != raw || one.links != links {
			owner := fleet.Owner{Kind: kind, Namespace: raw.GetNamespace(), Name: raw.GetName()}
			one = seenWork{raw, links, c.templateClaim(owner, read(), policies)}
		}
		known[raw.GetUID()] = one
		if one.claim != nil {
			out = append(out, one.claim)
		}
	}
	sets, err := c.statefulSets.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("statefulsets: %w", err)
	}
	for _, s := range sets {
		add("StatefulSet", s, func() *workload { return setOf(s) })
	}
	deployments, err := c.deployments.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("deployments: %w", err)
	}
	for _, d := range deployments {
		add("Deployment", d, func() *workload { return deploymentOf(d) })
	}
	c.seen.works = known
	return out, nil
}

// gathered is a store on its way into the snapshot.
type gathered struct {
	name   string
	pods   []*seenPod
	claims []*claim
}

// observeStores groups the pods by store, and says of each what its owner says.
func (c *Cluster) observeStores(ctx context.Context, s *fleet.Snapshot, policies []policy, links uint64) error {
	found := map[string]*gathered{}
	add := func(cl *claim) *gathered {
		g := found[cl.store]
		if g == nil {
			g = &gathered{name: cl.store}
			found[cl.store] = g
		}
		g.claims = append(g.claims, cl)
		return g
	}
	for _, p := range c.seen.order {
		if p.claim != nil && p.claim.mover != noMover && !p.pod.Finished {
			g := add(p.claim)
			g.pods = append(g.pods, p)
		}
	}
	works, err := c.observeClaims(policies, links)
	if err != nil {
		return err
	}
	for _, cl := range works {
		if cl.mover != noMover && found[cl.store] != nil {
			add(cl)
		}
	}
	moves := c.observeMoves(ctx, s.Now)
	for _, g := range found {
		st := c.storeOf(g)
		moves.attach(&st)
		s.Stores = append(s.Stores, st)
	}
	s.Stores = append(s.Stores, moves.orphans()...)
	slices.SortFunc(s.Stores, func(a, b fleet.Store) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

// storeOf makes a store of what claims to be one.
func (c *Cluster) storeOf(g *gathered) fleet.Store {
	st := fleet.Store{Name: g.name, Confirmed: true}
	from := g.declarations()
	var trouble []string
	st.Mover, trouble = g.mover()
	var wrong []string
	st.Spec, wrong = specOf(st.Mover, from)
	trouble = append(trouble, wrong...)
	st.Source = strings.Join(mapped(from, (*declaration).source), ", ")
	for _, cl := range g.claims {
		trouble = append(trouble, cl.trouble...)
	}
	data, watchers := g.owners(false), g.owners(true)
	st.Spec.Replicas, st.Spec.Watchers = c.replicasOf(data), c.replicasOf(watchers)
	pinned := c.pinned(data)
	for _, p := range g.pods {
		if p.claim.sentinel {
			st.Sentinels = append(st.Sentinels, sentinelOf(&p.pod, st.Spec.SentinelPort))
			continue
		}
		m := memberOf(&p.pod, st.Spec.Port)
		m.Temp, m.Pinned = p.claim.temp, !p.claim.temp && slices.Contains(pinned, p.claim.owner)
		st.Members = append(st.Members, m)
	}
	if st.Mover == fleet.SentinelMover && len(st.Sentinels) == 0 {
		trouble = append(trouble, "it has no Sentinel: annotate their StatefulSet with drover.dev/mover: sentinel, and with drover.dev/store if it is named otherwise")
	}
	if st.Mover == "" && len(trouble) == 0 {
		trouble = append(trouble, "only drover's temporary pod is left of it, and nobody says any more how it is moved")
	}
	slices.Sort(trouble)
	st.Trouble = strings.Join(slices.Compact(trouble), "; ")
	return st
}

// declarations are those of the store, each once, by where they are.
func (g *gathered) declarations() []*declaration {
	var out []*declaration
	for _, cl := range g.claims {
		if cl.from != nil {
			out = append(out, cl.from)
		}
	}
	slices.SortStableFunc(out, func(a, b *declaration) int { return cmp.Compare(a.source(), b.source()) })
	return slices.CompactFunc(out, func(a, b *declaration) bool { return a.source() == b.source() })
}

// mover is the one that all of the store's pods say.
func (g *gathered) mover() (fleet.Mover, []string) {
	var first *claim
	var trouble []string
	for _, cl := range g.claims {
		switch {
		case cl.temp || !slices.Contains(movers, cl.mover):
		case first == nil:
			first = cl
		case cl.mover != first.mover:
			trouble = append(trouble, fmt.Sprintf("%s is %q, %s is %q: a store has one mover", first.from.at(moverKey), first.mover, cl.from.at(moverKey), cl.mover))
		}
	}
	if first == nil {
		return "", nil
	}
	return fleet.Mover(first.mover), trouble
}

// owners are the workloads of the store's data, or of its Sentinels. A pod without one has the zero Owner.
func (g *gathered) owners(sentinels bool) []fleet.Owner {
	var out []fleet.Owner
	for _, cl := range g.claims {
		if !cl.temp && cl.sentinel == sentinels && !slices.Contains(out, cl.owner) {
			out = append(out, cl.owner)
		}
	}
	return out
}

// replicasOf is how many pods the workloads want together; 0 when one of them does not say.
func (c *Cluster) replicasOf(owners []fleet.Owner) int {
	sum := 0
	for _, o := range owners {
		w := c.workloadBy(o)
		if w == nil {
			return 0
		}
		sum += w.replicas
	}
	return sum
}

// pinned are the workloads that a Service tells from the others of a store: its clients expect there whatever role they ask it for. It goes by the
// labels of their templates, because others may change with the role. The Services that name the pods of StatefulSets tell nothing of roles.
func (c *Cluster) pinned(owners []fleet.Owner) []fleet.Owner {
	works := map[fleet.Owner]*workload{}
	naming := map[string]bool{}
	for _, o := range owners {
		if w := c.workloadBy(o); w != nil {
			works[o], naming[w.governing] = w, true
		}
	}
	if len(works) < 2 {
		return nil
	}
	services, err := c.services.Services(owners[0].Namespace).List(labels.Everything())
	if err != nil {
		return nil // a lister of an index has no errors
	}
	var out []fleet.Owner
	for _, svc := range services {
		if len(svc.Spec.Selector) == 0 || naming[svc.Name] {
			continue
		}
		selector := labels.SelectorFromSet(svc.Spec.Selector)
		matched := slices.DeleteFunc(slices.Clone(owners), func(o fleet.Owner) bool {
			return works[o] == nil || !selector.Matches(labels.Set(works[o].template.Labels))
		})
		if len(matched) > 0 && len(matched) < len(works) {
			out = append(out, matched...)
		}
	}
	return out
}

func memberOf(p *fleet.Pod, port int) fleet.Member {
	return fleet.Member{Pod: p.Ref, Node: p.Node, Host: p.IP, Port: port, Known: knownAt(p.IP, port), Ready: p.Ready, Leaving: p.Terminating}
}

func sentinelOf(p *fleet.Pod, port int) fleet.Sentinel {
	return fleet.Sentinel{Pod: p.Ref, Node: p.Node, Host: p.IP, Port: port, Known: knownAt(p.IP, port), Ready: p.Ready, Leaving: p.Terminating}
}

func knownAt(ip string, port int) []string {
	if ip == "" {
		return nil
	}
	return []string{net.JoinHostPort(ip, strconv.Itoa(port))}
}

func mapped[T any](list []T, f func(T) string) []string {
	var out []string
	for _, v := range list {
		out = append(out, f(v))
	}
	return out
}
