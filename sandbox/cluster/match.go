package cluster

import (
	"slices"
	"strconv"

	"drover.dev/fleet"
)

// matches tells whether labels meet all requirements of a term.
func matches(t fleet.Term, labels map[string]string) bool {
	for _, q := range t {
		if !meets(q, labels) {
			return false
		}
	}
	return true
}

func meets(q fleet.Requirement, labels map[string]string) bool {
	have, there := labels[q.Key]
	switch q.Operator {
	case "In":
		return there && slices.Contains(q.Values, have)
	case "NotIn":
		return !there || !slices.Contains(q.Values, have)
	case "Exists":
		return there
	case "DoesNotExist":
		return !there
	case "Gt", "Lt":
		return len(q.Values) == 1 && compares(have, q.Operator, q.Values[0])
	}
	return false // the API server would not have taken it
}

func compares(have, operator, bound string) bool {
	a, err := strconv.Atoi(have)
	if err != nil {
		return false
	}
	b, err := strconv.Atoi(bound)
	return err == nil && (operator == "Gt" && a > b || operator == "Lt" && a < b)
}

// selects tells whether a workload's node selector and required node affinity allow a node.
func (s *Spec) selects(n *node) bool {
	if !n.has(s.Selector) {
		return false
	}
	return len(s.Affinity) == 0 || slices.ContainsFunc(s.Affinity, func(t fleet.Term) bool { return matches(t, n.Labels) })
}

// covered tells whether one of the tolerations covers a taint.
func covered(tolerations []fleet.Toleration, t fleet.Taint) bool {
	p := fleet.Pod{Tolerations: tolerations}
	return p.Tolerates(t)
}

// means tells whether a term speaks of the pods of a workload.
func means(t fleet.PodTerm, w *workload) bool {
	if !slices.Contains(t.Namespaces, w.Owner.Namespace) && !slices.Contains(t.Namespaces, "*") {
		return false
	}
	return matches(t.Match, w.spec.Labels)
}
