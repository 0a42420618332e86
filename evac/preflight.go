package evac

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"drover.dev/fleet"
)

// patientGrace is how long a pod's shutdown may take before a plan points it out: its node waits for it.
const patientGrace = 10 * time.Minute

// advisories are findings that do not block: what the people who approve the plan may want to know, or to mend first. One per workload or budget.
func advisories(ix *index, p *Plan) []fleet.Finding {
	var out []fleet.Finding
	for _, e := range p.Exits {
		for _, t := range ix.on(e.Node) {
			pod := t.Pod
			switch {
			case pod.Finished, pod.Mirror:
			case pod.Owner.Kind == "DaemonSet":
				out = append(out, daemonAdvice(pod, p.taint())...)
			default:
				out = append(out, ix.podAdvice(pod)...)
			}
		}
	}
	return dedupe(out)
}

func daemonAdvice(p *fleet.Pod, taint fleet.Taint) []fleet.Finding {
	if p.Tolerates(taint) {
		return nil
	}
	return []fleet.Finding{finding(daemonGap, p.Owner.String(), "does not tolerate taint %s: a pod of it that ends on a node that is leaving is not put back there", fleet.TaintKey).
		next("nothing, unless the node's last pods need it; then let it tolerate that key")}
}

func (ix *index) podAdvice(p *fleet.Pod) []fleet.Finding {
	var out []fleet.Finding
	w := ix.workloads[p.Owner]
	if ix.unmissable(p) && ix.storeOf(p) == nil {
		switch why := ix.whyNoSurge(p); {
		case why != "" && len(p.Budgets) == 0:
			out = append(out, finding(singleMissed, p.Owner.String(), "is not served while its only pod moves: %s", why).next("accept it, or run a second replica for the time"))
		case why == "" && w.declared.GitOps != "":
			out = append(out, finding(gitOps, p.Owner.String(), "gets one replica more while a pod of it moves, and %s may take that back", w.declared.GitOps).next("let %s ignore spec.replicas of it", w.declared.GitOps))
		}
	}
	if p.Local != "" {
		out = append(out, finding(localData, p.Owner.String(), "keeps data on its node (%s), which does not move with it", p.Local).next("nothing, if it can be lost"))
	}
	if p.Grace > patientGrace {
		out = append(out, finding(longGrace, p.Owner.String(), "may take %s to shut down, and its node waits for it", p.Grace).next("shorten terminationGracePeriodSeconds if it needs less"))
	}
	for _, name := range p.Budgets {
		if b := ix.budget[name]; b != nil && b.Allowed == 0 && !b.Never() && b.Expected > 0 {
			out = append(out, finding(budgetNow, "budget "+b.Name, "allows nothing at the moment: %d of %d pods are healthy, it wants %d", b.Healthy, b.Expected, b.Desired).
				next("see why pods are not ready; unhealthyPodEvictionPolicy: AlwaysAllow would let broken ones go"))
		}
	}
	return out
}

// Fits says where a pod could go now, nodes that are leaving and its own left out: the one with the most room, or why there is none.
func Fits(s *fleet.Snapshot, p *fleet.Pod) (node, why string) {
	leaving := map[string]bool{p.Node: true}
	for i := range s.Nodes {
		if s.Nodes[i].Mark() != nil {
			leaving[s.Nodes[i].Name] = true
		}
	}
	return newRoom(newIndex(s), leaving).place(p)
}

// parity names labels that every old node of a group carries and a new one lacks: what selects nodes by them would stop working when the old
// ones are gone. Labels that differ from node to node by nature are left out.
func (v *tick) parity(g *fleet.Group) string {
	var shared map[string]string
	var keys []string
	for _, at := range v.staying(g) {
		in, n := at.in, at.node
		if n == nil || in.Launched.Before(g.Mark.At) || notArrived(g, in, n) != "" {
			continue
		}
		if shared == nil {
			shared = v.shared(g.Name)
			keys = slices.Sorted(maps.Keys(shared))
		}
		for _, key := range keys {
			if _, ok := n.Labels[key]; !ok && key != excludedLabel {
				return fmt.Sprintf("new node %s lacks label %s=%s, which every old node of group %s carries", n.Name, key, shared[key], g.Name)
			}
		}
	}
	return ""
}

// excludedLabel is the one label that drover itself puts on old nodes.
const excludedLabel = "node.kubernetes.io/exclude-from-external-load-balancers"

// shared are the labels that all old nodes of a group have with the same value.
func (v *tick) shared(group string) map[string]string {
	var out map[string]string
	for i := range v.exits {
		n := v.exits[i].node
		if n == nil || v.exits[i].Group != group {
			continue
		}
		if out == nil {
			out = map[string]string{}
			maps.Copy(out, n.Labels)
		}
		for k, val := range out {
			if n.Labels[k] != val {
				delete(out, k)
			}
		}
	}
	return out
}
