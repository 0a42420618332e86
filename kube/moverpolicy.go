package kube

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
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
}

// readPolicies reads every MoverPolicy, by name. One that cannot be read is an error: it may be the one that keeps a pod where it is.
func (c *Cluster) readPolicies() ([]policy, error) {
	if c.policies == nil {
		return nil, nil
	}
	var out []policy
	for _, o := range c.policies.List() {
		u, ok := o.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		p, err := policyOf(u)
		if err != nil {
			return nil, fmt.Errorf("moverpolicy %s: %w", u.GetName(), err)
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b policy) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

func policyOf(u *unstructured.Unstructured) (policy, error) {
	var m v1alpha1.MoverPolicy
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, &m, true); err != nil {
		return policy{}, fmt.Errorf("unreadable: %w: written for another version of drover?", err)
	}
	p := policy{name: m.Name, namespaces: m.Spec.Namespaces, pods: labels.Everything(), guard: m.Spec.Guard}
	var err error
	if s := m.Spec.NamespaceSelector; s != nil {
		if p.spaces, err = metav1.LabelSelectorAsSelector(s); err != nil {
			return p, fmt.Errorf("spec.namespaceSelector: %w", err)
		}
		p.rank[0] = 1
	}
	if s := m.Spec.PodSelector; s != nil {
		if p.pods, err = metav1.LabelSelectorAsSelector(s); err != nil {
			return p, fmt.Errorf("spec.podSelector: %w", err)
		}
		p.rank[1] = len(s.MatchLabels) + len(s.MatchExpressions)
	}
	if len(p.namespaces) > 0 {
		p.rank[0] = 2
	}
	if m.Spec.Mover != "" {
		p.says = &declaration{policy: m.Name, says: saysOf(&m.Spec), storeLabel: m.Spec.StoreLabel}
	}
	return p, nil
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

func moves(p *policy) bool { return p.says != nil }

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
	all, err := c.readPolicies()
	if err != nil {
		return Guard{}, false, err
	}
	best, _ := c.mostSpecific(all, guards, raw.Namespace, raw.Labels)
	if best == nil {
		return Guard{}, false, nil
	}
	return Guard{Policy: best.name, Hold: best.guard.Hold.Duration, Block: best.guard.OnTimeout == "block"}, true, nil
}
