package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"drover.dev/engine"
	"drover.dev/evac"
	"drover.dev/fleet"
)

// Findings of what only live calls can tell. The other codes are evac's.
const (
	codeRefused   = "eviction-refused"
	codeUnchecked = "limit-unchecked"
	codeProbe     = "probe-bad"
)

// How many evictions are tried, and how long: pods of one owner under one budget are alike, and nobody waits for ever to see a plan.
const (
	alikeTries = 3
	mostTries  = 300
	triesEnd   = 20 * time.Second
	manyTries  = 200 // from here on people are told why they wait: at the client's rate these take seconds
)

// preflight adds what only live calls can tell before anything is changed: evictions that would be refused, quotas, health probes.
func (j *journey) preflight(ctx context.Context, s *fleet.Snapshot, tell io.Writer) error {
	j.try(ctx, tried(s, &j.plan), tell)
	limits, err := j.site.cloud.Limits(ctx, more(s, &j.plan))
	if err != nil {
		return fmt.Errorf("compare the surge with what AWS allows: %w", err)
	}
	j.findings = append(j.findings, limits...)
	probes, err := parseProbes(j.plan.Record.Probes)
	if err != nil {
		return err
	}
	j.findings = append(j.findings, ask(ctx, probes)...)
	slices.SortStableFunc(j.findings, func(a, b fleet.Finding) int { return rank(a) - rank(b) })
	return nil
}

// try asks for the pods' evictions without meaning them.
func (j *journey) try(ctx context.Context, pods []fleet.PodRef, tell io.Writer) {
	within, cancel := context.WithTimeout(ctx, triesEnd)
	defer cancel()
	some := pods[:min(len(pods), mostTries)]
	if len(some) >= manyTries {
		fmt.Fprintf(tell, "Trying %d evictions without meaning them (up to %s)\n", len(some), triesEnd)
	}
	refused, tried := j.site.cluster.TryEvict(within, some)
	j.findings = append(j.findings, refusals(&j.plan, refused)...)
	j.findings = append(j.findings, untried(tried, len(pods))...)
}

// untried tells that the tries were cut short.
func untried(tried, of int) []fleet.Finding {
	if tried >= of {
		return nil
	}
	return []fleet.Finding{{
		Code: codeUnchecked, Subject: "evictions",
		Reason: fmt.Sprintf("%d of %d pods were tried: at most %d are, within %s", tried, of, mostTries, triesEnd),
		Next:   "nothing, unless admission webhooks hold pods: a run waits where one does, and says so",
	}}
}

// rank puts what blocks first.
func rank(f fleet.Finding) int {
	if f.Blocks {
		return 0
	}
	return 1
}

// tried are pods whose eviction the run will ask for, a few of each owner under each budget. Those of budgets that never allow any, and of
// several budgets, have findings of their own.
func tried(s *fleet.Snapshot, p *evac.Plan) []fleet.PodRef {
	type kind struct {
		owner  fleet.Owner
		budget string
	}
	alike := map[kind]int{}
	pods := byUID(s)
	var out []fleet.PodRef
	for _, m := range p.Moves {
		pod := pods[m.Pod.UID]
		if pod == nil || pod.Finished || pod.Terminating || len(pod.Budgets) > 1 {
			continue
		}
		if len(pod.Budgets) == 1 {
			if b := s.Budget(pod.Budgets[0]); b != nil && b.Never() {
				continue
			}
		}
		if k := (kind{pod.Owner, strings.Join(pod.Budgets, "")}); k.owner.Kind != "" {
			if alike[k]++; alike[k] > alikeTries {
				continue
			}
		}
		out = append(out, m.Pod)
	}
	return out
}

func byUID(s *fleet.Snapshot) map[string]*fleet.Pod {
	out := make(map[string]*fleet.Pod, len(s.Pods))
	for i := range s.Pods {
		out[s.Pods[i].Ref.UID] = &s.Pods[i]
	}
	return out
}

// passing are refusals that the run waits out by itself: the budget's pace, and a busy API server.
var passing = []string{"the budget does not allow it now", "the budget is being counted anew", "the API server is busy", "the pod or its budget changed"}

// refusals makes findings of refused evictions: one for each workload and reason, since its pods are alike.
func refusals(p *evac.Plan, refused map[fleet.PodRef]string) []fleet.Finding {
	type kind struct {
		owner  fleet.Owner
		reason string
	}
	pods := map[kind][]fleet.PodRef{}
	var order []kind
	for _, m := range p.Moves {
		why, ok := refused[m.Pod]
		if !ok || slices.ContainsFunc(passing, func(begin string) bool { return strings.HasPrefix(why, begin) }) {
			continue
		}
		k := kind{m.Owner, why}
		if pods[k] == nil {
			order = append(order, k)
		}
		pods[k] = append(pods[k], m.Pod)
	}
	var out []fleet.Finding
	for _, k := range order {
		subject := "pod " + pods[k][0].String()
		if n := len(pods[k]); n > 1 {
			subject += fmt.Sprintf(" and %d more of %s", n-1, k.owner)
		}
		out = append(out, fleet.Finding{Code: codeRefused, Subject: subject, Reason: "its eviction would be refused now: " + k.reason, Next: "ask those who refuse it; the run would wait there until they agree"})
	}
	return out
}

// more counts the instances that the plan has above what there is, by group.
func more(s *fleet.Snapshot, p *evac.Plan) map[string]int {
	out := map[string]int{}
	for _, gp := range p.Groups {
		switch g := s.Group(gp.Name); {
		case g == nil:
		case gp.Managed:
			out[gp.Name] = g.Desired // the copy is there beside it, whole
		default:
			out[gp.Name] = gp.Surge
		}
	}
	return out
}

// ask asks every probe once: a run whose probe is bad from the beginning would only stand still.
func ask(ctx context.Context, probes []engine.Prober) []fleet.Finding {
	whys := make([]string, len(probes))
	var wg sync.WaitGroup
	for i, p := range probes {
		wg.Go(func() {
			if ok, why := p.Ask(ctx); !ok {
				whys[i] = why
			}
		})
	}
	wg.Wait()
	var out []fleet.Finding
	for i, why := range whys {
		if why != "" {
			out = append(out, fleet.Finding{Code: codeProbe, Blocks: true, Subject: "health probe " + probes[i].Name(), Reason: "is bad before anything has begun: " + why, Next: "mend what it watches, or the probe, or leave it out"})
		}
	}
	return out
}
