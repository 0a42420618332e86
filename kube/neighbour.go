package kube

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
)

// neighboursOf reads which pods the pod must, and must not, share a domain with.
func (c *Cluster) neighboursOf(p *corev1.Pod) (together, apart []fleet.PodTerm) {
	if p.Spec.Affinity == nil {
		return nil, nil
	}
	if a := p.Spec.Affinity.PodAffinity; a != nil {
		together = c.podTerms(p, a.RequiredDuringSchedulingIgnoredDuringExecution)
	}
	if a := p.Spec.Affinity.PodAntiAffinity; a != nil {
		apart = c.podTerms(p, a.RequiredDuringSchedulingIgnoredDuringExecution)
	}
	return together, apart
}

func (c *Cluster) podTerms(p *corev1.Pod, terms []corev1.PodAffinityTerm) []fleet.PodTerm {
	var out []fleet.PodTerm
	for _, t := range terms {
		out = append(out, fleet.PodTerm{Namespaces: c.namespacesOf(p, t), Match: matching(t.LabelSelector), Topology: t.TopologyKey})
	}
	return out
}

// everywhere stands for all namespaces in a fleet.PodTerm; nowhere, which no namespace is called, for none.
const (
	everywhere = "*"
	nowhere    = "(none)"
)

// namespacesOf resolves a term's namespaces: those it lists and those its selector finds, else the pod's own.
func (c *Cluster) namespacesOf(p *corev1.Pod, t corev1.PodAffinityTerm) []string {
	if len(t.Namespaces) == 0 && t.NamespaceSelector == nil {
		return []string{p.Namespace}
	}
	selector, err := metav1.LabelSelectorAsSelector(t.NamespaceSelector)
	if err != nil || t.NamespaceSelector != nil && selector.Empty() { // the API server takes no selector that cannot be read
		return []string{everywhere}
	}
	out := slices.Clone(t.Namespaces)
	found, err := c.namespaces.List(selector)
	if err != nil {
		return []string{everywhere}
	}
	for _, n := range found {
		out = append(out, n.Name)
	}
	if len(out) == 0 {
		return []string{nowhere}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// spreadOf reads the pod's constraints that forbid; the others only prefer.
func spreadOf(p *corev1.Pod) []fleet.Spread {
	var out []fleet.Spread
	for _, t := range p.Spec.TopologySpreadConstraints {
		if t.WhenUnsatisfiable != corev1.DoNotSchedule {
			continue
		}
		s := fleet.Spread{Topology: t.TopologyKey, MaxSkew: int(t.MaxSkew), MinDomains: 1, Match: matching(t.LabelSelector)}
		if t.MinDomains != nil {
			s.MinDomains = int(*t.MinDomains)
		}
		s.HonorTaints = t.NodeTaintsPolicy != nil && *t.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor
		for _, key := range t.MatchLabelKeys { // newer API servers write these into the selector themselves
			if value, ok := p.Labels[key]; ok && !slices.ContainsFunc(s.Match, func(q fleet.Requirement) bool { return q.Key == key }) {
				s.Match = append(s.Match, fleet.Requirement{Key: key, Operator: string(metav1.LabelSelectorOpIn), Values: []string{value}})
			}
		}
		out = append(out, s)
	}
	return out
}

// nothing matches no labels at all.
var nothing = fleet.Term{{Key: "drover.dev/nothing", Operator: string(metav1.LabelSelectorOpIn)}}

// matching is a label selector as a term. None at all matches nothing; an empty one everything.
func matching(s *metav1.LabelSelector) fleet.Term {
	if s == nil {
		return nothing
	}
	out := fleet.Term{}
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		out = append(out, fleet.Requirement{Key: key, Operator: string(metav1.LabelSelectorOpIn), Values: []string{s.MatchLabels[key]}})
	}
	for _, q := range s.MatchExpressions {
		out = append(out, fleet.Requirement{Key: q.Key, Operator: string(q.Operator), Values: q.Values})
	}
	return out
}
