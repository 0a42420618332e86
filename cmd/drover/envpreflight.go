package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"drover.dev/api/v1alpha1"
	"drover.dev/archive"
	"drover.dev/env"
	"drover.dev/fleet"
	"drover.dev/kube"
)

// preflight adds to the findings of a plan what only live calls can tell before anything is changed: rights that are missing, an archive that cannot be
// used. Where the controller is to do it, it goes by its own rights, and may reach what this machine does not.
func (w *switchroom) preflight(ctx context.Context, j *envJourney, r *running) ([]fleet.Finding, error) {
	if !r.wait {
		leader, err := w.desk.Leading(ctx)
		if err != nil {
			return nil, err
		}
		j.others = leader != ""
	}
	out := j.findings
	if j.plan.Nothing != "" {
		return out, nil
	}
	out = append(out, w.missing(ctx, neededRights(&j.plan, j.others))...)
	if !j.others && !j.plan.On {
		out = append(out, w.archiveFindings(ctx, &j.source)...)
	}
	slices.SortStableFunc(out, func(a, b fleet.Finding) int { return cmp.Compare(rank(a), rank(b)) })
	return out, nil
}

// neededRight is what has to be allowed for one thing that a plan does.
type neededRight struct {
	authorizationv1.ResourceAttributes
	to string // what it is for
}

func (n neededRight) String() string {
	out := n.Verb + " " + n.Resource
	if n.Group != "" {
		out += "." + n.Group
	}
	if n.Subresource != "" {
		out += "/" + n.Subresource
	}
	if n.Namespace != "" {
		out += " in namespace " + n.Namespace
	}
	return out
}

// neededRights are those to change what a plan changes, each once; those to wish only, where others do the rest.
func neededRights(p *env.Plan, others bool) []neededRight {
	var out []neededRight
	add := func(to, verb string, r schema.GroupResource, sub, namespace, name string) {
		n := neededRight{authorizationv1.ResourceAttributes{Verb: verb, Group: r.Group, Resource: r.Resource, Subresource: sub, Namespace: namespace, Name: name}, to}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	environments := v1alpha1.Environments.GroupResource()
	add("write down what is wished", "patch", environments, "", "", p.Environment)
	if others {
		return out
	}
	add("write down how everything was", "patch", environments, "status", "", p.Environment)
	for i := range p.Record.Parts {
		part := &p.Record.Parts[i]
		add("switch "+part.Kind+"s", "patch", resourceOf(part), "", part.Namespace, "")
	}
	if !p.On && len(p.Record.Exits) > 0 {
		add("close nodes that go", "patch", schema.GroupResource{Resource: "nodes"}, "", "", "")
	}
	if !p.On {
		for _, pod := range p.Carried {
			add("move pods off nodes that go", "create", schema.GroupResource{Resource: "pods"}, "eviction", pod.Namespace, "")
		}
	}
	for _, right := range kube.Rights {
		if slices.Contains(right.Rule.Verbs, "update") && slices.Contains(right.Rule.Resources, "leases") {
			add(right.For, "update", schema.GroupResource{Group: right.Rule.APIGroups[0], Resource: "leases"}, "", right.Namespace, right.Rule.ResourceNames[0])
		}
	}
	return out
}

// resourceOf names the resource of a part's kind: all those that are switched have the regular plural.
func resourceOf(p *fleet.PartRecord) schema.GroupResource {
	plural, _ := meta.UnsafeGuessKindToResource(schema.FromAPIVersionAndKind(p.APIVersion, p.Kind))
	return plural.GroupResource()
}

// missing asks for each right. That one cannot be asked for is told, and keeps nobody from trying.
func (w *switchroom) missing(ctx context.Context, needed []neededRight) []fleet.Finding {
	if w.may == nil {
		return nil
	}
	var out []fleet.Finding
	for _, n := range needed {
		switch ok, err := w.may(ctx, n.ResourceAttributes); {
		case err != nil:
			return append(out, fleet.Found("env-right", n.String(), "cannot be asked for: %v", err).Then("see that what it would change may be changed").Block(false))
		case !ok:
			out = append(out, fleet.Found("env-right", n.String(), "is not allowed, and is needed to %s", n.to).Then("have it granted, or leave it to drover controller with --wait=false"))
		}
	}
	return out
}

// may asks the API server whether who asks has a right.
func (s *site) may(ctx context.Context, right authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &right}}
	said, err := s.cluster.Client().AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("review a right: %w", err)
	}
	return said.Status.Allowed, nil
}

// archiveFindings tell why an archive could not take a copy, as far as that is seen without writing.
func (w *switchroom) archiveFindings(ctx context.Context, e *fleet.Environment) []fleet.Finding {
	url := e.Spec.Archive
	if url == "" || len(e.Trouble) > 0 {
		return nil
	}
	if _, err := archive.ParseURL(url); err != nil {
		return []fleet.Finding{fleet.Found("env-spec", e.Source, "spec.archive: %v", err).Then("mend it")}
	}
	if w.try == nil {
		return nil
	}
	if err := w.try(ctx, url, e.Name, false); err != nil {
		return []fleet.Finding{fleet.Found("env-archive", url, "cannot be used: %v", err).Then("mend it, or name another one in spec.archive")}
	}
	return nil
}

// tryArchive writes to the archive of a stop that begins, before anything else is: without a copy there it would stand still at its first step.
func (j *envJourney) tryArchive(ctx context.Context) error {
	url := j.source.Spec.Archive
	if j.plan.On || j.plan.Resumed || j.plan.Nothing != "" || j.others || url == "" || j.room.try == nil {
		return nil
	}
	if err := j.room.try(ctx, url, j.plan.Environment, true); err != nil {
		return &exit{exitBlocked, fmt.Errorf("the archive of environment %s cannot be written: %w; nothing was done", j.plan.Environment, err)}
	}
	return nil
}

// archiveRefuses tells why a copy that is to be written may be waiting; "" when nothing is seen.
func (w *switchroom) archiveRefuses(ctx context.Context, e *fleet.Environment, recording bool) string {
	if !recording || w.try == nil {
		return ""
	}
	if err := w.try(ctx, e.Spec.Archive, e.Name, false); err != nil {
		return "the copy outside of the cluster cannot be written: " + err.Error()
	}
	return ""
}
