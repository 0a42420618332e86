package kube

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// policy is a MoverPolicy, read once.
type policy struct {
	name       string
	namespaces []string
	spaces     labels.Selector // of namespaces; nil for all
	pods       labels.Selector
	rank       [2]int       // how specific it is
	says       *declaration // nil when it only guards
	guard      *v1alpha1.Guard
	meant      *declaration // of one that is broken: what it says of pods, as far as that can be read; nil when it is whole
}

// readPolicies reads every MoverPolicy, by name. One that is broken is among them, and about all pods that what can be read of it fits: it may be the one
// that keeps a pod where it is, and must not keep the others.
func (c *Cluster) readPolicies() []policy {
	if c.policies == nil {
		return nil
	}
	var out []policy
	for _, o := range c.policies.List() {
		u, ok := o.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		out = append(out, policyOf(u))
	}
	slices.SortFunc(out, func(a, b policy) int { return cmp.Compare(a.name, b.name) })
	return out
}

func policyOf(u *unstructured.Unstructured) policy {
	var m v1alpha1.MoverPolicy
	var broken []string
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, &m, true); err != nil {
		broken = append(broken, fmt.Sprintf("unreadable: %v: written for another version of drover?", err))
		m = v1alpha1.MoverPolicy{}
		_ = runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &m) // as far as it goes; that it is broken is known
	}
	p := policy{name: u.GetName(), namespaces: m.Spec.Namespaces, pods: labels.Everything(), guard: m.Spec.Guard}
	if s := m.Spec.NamespaceSelector; s != nil {
		p.rank[0] = 1
		p.spaces = selectorOf("spec.namespaceSelector", s, &broken)
	}
	if s := m.Spec.PodSelector; s != nil {
		p.rank[1] = len(s.MatchLabels) + len(s.MatchExpressions)
		p.pods = selectorOf("spec.podSelector", s, &broken)
	}
	if len(p.namespaces) > 0 {
		p.rank[0] = 2
	}
	said := &declaration{policy: p.name, says: saysOf(&m.Spec), storeLabel: m.Spec.StoreLabel}
	switch {
	case len(broken) > 0 && (m.Spec.Mover != "" || m.Spec.Guard == nil):
		trouble := fmt.Sprintf("MoverPolicy %s is broken: %s; mend it: until then nothing moves that it may be about", p.name, strings.Join(broken, "; "))
		p.meant, p.says = said, &declaration{policy: p.name, broken: true, trouble: []string{trouble}}
	case m.Spec.Mover != "":
		p.says = said
	}
	return p
}

// selectorOf reads a selector. Of one that cannot be read it tells why, and leaves the bad requirements out: it then selects more than was meant.
func selectorOf(field string, s *metav1.LabelSelector, broken *[]string) labels.Selector {
	out, err := metav1.LabelSelectorAsSelector(s)
	if err == nil {
		return out
	}
	*broken = append(*broken, fmt.Sprintf("%s: %v", field, err))
	out = labels.Everything()
	parts := []metav1.LabelSelector{}
	for key, value := range s.MatchLabels {
		parts = append(parts, metav1.LabelSelector{MatchLabels: map[string]string{key: value}})
	}
	for _, e := range s.MatchExpressions {
		parts = append(parts, metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{e}})
	}
	for _, part := range parts {
		if good, err := metav1.LabelSelectorAsSelector(&part); err == nil {
			requirements, _ := good.Requirements()
			out = out.Add(requirements...)
		}
	}
	return out
}

// mayMean tells whether the policy is about such pods at all. Of a broken one for Redis that are those with a port of one, so that it stops nothing else;
// for any other mover all pods, if something that can be read narrows them down.
func (p *policy) mayMean(s *subject) bool {
	if p.meant == nil {
		return true
	}
	watcher, data := ports(p.meant, s)
	mover := fleet.Mover(p.meant.says[moverKey])
	narrow := p.rank[0] > 0 || !p.pods.Empty()
	return watcher || data || narrow && (mover == fleet.ScriptMover || mover == fleet.LeaderMover)
}

// saysOf is what a policy says, in the words of annotations.
func saysOf(s *v1alpha1.MoverPolicySpec) map[string]string {
	out := map[string]string{}
	put := func(key, value string) {
		if value != "" {
			out[key] = value
		}
	}
	number := func(key string, n int32) {
		if n != 0 {
			out[key] = strconv.Itoa(int(n))
		}
	}
	lasts := func(key string, d *metav1.Duration) {
		if d != nil {
			out[key] = d.Duration.String()
		}
	}
	put(moverKey, s.Mover)
	put(storeKey, s.Store)
	put(roleKey, s.Role)
	number("port", s.Port)
	number("sentinel-port", s.SentinelPort)
	put("master", s.Master)
	if s.TLS {
		put("tls", "true")
	}
	put("server-name", s.ServerName)
	put("secret", s.Secret)
	put("sentinel-secret", s.SentinelSecret)
	put("failback", s.Failback)
	number("floor", s.Floor)
	lasts("linger", s.Linger)
	put("leader", s.Leader)
	if h := s.Hooks; h != nil {
		put(fleet.HookPre, h.PreMove)
		put(fleet.HookReady, h.Ready)
		put(fleet.HookPost, h.PostMove)
	}
	lasts("hook-timeout", s.HookTimeout)
	return out
}

// covers tells whether the policy is about pods with these labels in a namespace.
func (p *policy) covers(namespace string, spaceLabels, podLabels map[string]string) bool {
	switch {
	case len(p.namespaces) > 0 && !slices.Contains(p.namespaces, namespace):
		return false
	case p.spaces != nil && !p.spaces.Matches(labels.Set(spaceLabels)):
		return false
	}
	return p.pods.Matches(labels.Set(podLabels))
}

// mostSpecific is the policy that counts for a pod, of those that say what is asked; nil when none does. Others that are as specific come with it.
func (c *Cluster) mostSpecific(all []policy, says func(*policy) bool, namespace string, podLabels map[string]string) (best *policy, tied []string) {
	if len(all) == 0 {
		return nil, nil
	}
	spaceLabels := c.labelsOf(namespace)
	for i := range all {
		p := &all[i]
		if !says(p) || !p.covers(namespace, spaceLabels, podLabels) {
			continue
		}
		order := 1
		if best != nil {
			order = slices.Compare(p.rank[:], best.rank[:])
		}
		switch {
		case order > 0:
			best, tied = p, nil
		case order == 0:
			tied = append(tied, p.name)
		}
	}
	return best, tied
}

func (c *Cluster) labelsOf(namespace string) map[string]string {
	if ns, err := c.namespaces.Get(namespace); err == nil {
		return ns.Labels
	}
	return nil
}

// moves are the policies that say how such a pod is moved.
func moves(s *subject) func(*policy) bool {
	return func(p *policy) bool { return p.says != nil && p.mayMean(s) }
}

func guards(p *policy) bool { return p.guard != nil }

// Guard is what a MoverPolicy wants of the eviction guard.
type Guard struct {
	Policy string        // that says it
	Hold   time.Duration // how long evictions of a pod are refused while drover moves it
	Block  bool          // they are refused after that, too
}

// GuardOf is the guard of a pod by the most specific policy that has one, whoever says how the pod is moved; of several equally specific ones it is the
// first by name. There is none when no policy has one.
func (c *Cluster) GuardOf(pod fleet.PodRef) (Guard, bool, error) {
	raw, err := c.pods.Pods(pod.Namespace).Get(pod.Name)
	if err != nil {
		return Guard{}, false, fmt.Errorf("guard of pod %s: %w", pod, err)
	}
	best, _ := c.mostSpecific(c.readPolicies(), guards, raw.Namespace, raw.Labels)
	if best == nil {
		return Guard{}, false, nil
	}
	return Guard{Policy: best.name, Hold: best.guard.Hold.Duration, Block: best.guard.OnTimeout == "block"}, true, nil
}
