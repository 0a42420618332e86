package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"drover.dev/archive"
	"drover.dev/env"
	"drover.dev/fleet"
)

// troubles are what is wrong with the Environments of a file, each by itself, with each other, and with those of a cluster, but for what is excused.
func (f *envFile) troubles(cluster fleet.Snapshot, excused func(string) bool) []string {
	s := f.over(cluster, excused)
	var out []string
	for i := range f.environments {
		e := s.Environment(f.environments[i].Name)
		found := env.Check(&s, e.Name)
		if found == nil || found[0].Code == "env-overlap" { // it can be understood
			found = append(found, f.overlaps(&s, e)...)
		}
		for _, t := range found {
			line := fmt.Sprintf("environment %s: %s", e.Name, t)
			if t.Code == "env-spec" {
				line = fmt.Sprintf("environment %s: %s", e.Name, t.Reason)
			}
			if !slices.Contains(out, line) {
				out = append(out, line)
			}
		}
	}
	return out
}

// over is the cluster as it would be with the file applied.
func (f *envFile) over(s fleet.Snapshot, excused func(string) bool) fleet.Snapshot {
	out := s
	out.Environments = nil
	for i := range f.environments {
		e := f.environments[i].Clone()
		e.Trouble = slices.DeleteFunc(e.Trouble, excused)
		if _, err := archive.ParseURL(e.Spec.Archive); e.Spec.Archive != "" && err != nil {
			e.Trouble = append(e.Trouble, "spec.archive: "+err.Error())
		}
		out.Environments = append(out.Environments, e)
	}
	for i := range s.Environments {
		if out.Environment(s.Environments[i].Name) == nil {
			out.Environments = append(out.Environments, s.Environments[i])
		}
	}
	return out
}

// overlaps finds environments that choose the same by what they say, whether or not it is there already.
func (f *envFile) overlaps(s *fleet.Snapshot, e *fleet.Environment) []fleet.Finding {
	var out []fleet.Finding
	for i := range s.Environments {
		o := &s.Environments[i]
		if o.Name == e.Name {
			continue
		}
		for j := range e.Spec.Workloads {
			for k := range o.Spec.Workloads {
				if where, both := common(&e.Spec.Workloads[j], &o.Spec.Workloads[k]); both {
					out = append(out, fleet.Found("env-overlap", fmt.Sprintf("spec.workloads[%d]", j), "chooses what spec.workloads[%d] of environment %s chooses (namespace: %s)", k, o.Name, where).
						Then("leave it in one of them, or tell them apart by labels"))
				}
			}
		}
	}
	return out
}

// common tells whether there could be a workload with nothing about it but what one selection asks for that both choose, and where. Two that ask for
// different labels are left to what is there: a workload that has both is one that somebody has made so.
func common(a, b *fleet.Selection) (where string, both bool) {
	o := fleet.Owner{Kind: either(a.Kind, b.Kind, "Deployment"), Name: either(a.Name, b.Name, "any")}
	namespaces := slices.Concat(a.Namespaces, b.Namespaces)
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	for _, o.Namespace = range namespaces {
		for _, labels := range []map[string]string{least(a, b), least(b, a)} {
			if a.Has(o, labels) && b.Has(o, labels) {
				return either(o.Namespace, "", "any"), true
			}
		}
	}
	return "", false
}

func either(a, b, otherwise string) string {
	switch {
	case a != "":
		return a
	case b != "":
		return b
	}
	return otherwise
}

// least are the fewest labels that one selection takes, with the values that the other one takes too, if it takes any.
func least(of, other *fleet.Selection) map[string]string {
	out := map[string]string{}
	for _, q := range of.Labels {
		values := q.Values
		switch q.Operator {
		case "In":
		case "Exists":
			values = append(valuesOf(other, q.Key), "any")
		default:
			continue
		}
		for _, v := range slices.Backward(values) {
			if _, chosen := out[q.Key]; !chosen || takes(of, q.Key, v) && takes(other, q.Key, v) {
				out[q.Key] = v
			}
		}
	}
	return out
}

func valuesOf(s *fleet.Selection, key string) []string {
	var out []string
	for _, q := range s.Labels {
		if q.Key == key && q.Operator == "In" {
			out = append(out, q.Values...)
		}
	}
	return out
}

// takes tells whether nothing that a selection asks of a label speaks against a value.
func takes(s *fleet.Selection, key, value string) bool {
	return !slices.ContainsFunc(s.Labels, func(q fleet.Requirement) bool {
		return q.Key == key && !fleet.Term{q}.Holds(map[string]string{key: value})
	})
}

// comparedWithin is how long reading the Environments of a cluster may take when they are only to be compared with.
const comparedWithin = 20 * time.Second

// compared reads what Environments of a file are compared with: those of the cluster, and its workloads.
func (a *app) compared(ctx context.Context) (fleet.Snapshot, error) {
	within, cancel := context.WithTimeout(ctx, comparedWithin)
	defer cancel()
	s, err := a.conn.connectStores(within)
	if err != nil {
		return fleet.Snapshot{}, err
	}
	if err := s.cluster.WatchEnvironments(within); err != nil {
		return fleet.Snapshot{}, err
	}
	snapshot := fleet.Snapshot{Now: time.Now()}
	if err := s.cluster.Observe(within, &snapshot); err != nil {
		return fleet.Snapshot{}, err
	}
	return snapshot, s.cluster.ObserveEnvironments(within, &snapshot)
}
