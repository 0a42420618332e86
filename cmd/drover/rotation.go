package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"drover.dev/depart"
	"drover.dev/engine"
	"drover.dev/evac"
	"drover.dev/fleet"
	"drover.dev/probe"
)

// rotation is what the flags of plan rotate and rotate ask for.
type rotation struct {
	all       bool
	olderThan time.Duration
	selector  string
	surge     string
	force     bool
	canary    time.Duration
	bake      time.Duration
	probes    []string
	requester string
	detailed  bool
	run       running
}

func (r *rotation) flags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&r.all, "all", false, "every node, outdated or not")
	f.DurationVar(&r.olderThan, "older-than", 0, "nodes launched longer ago than this, as 720h")
	f.StringVarP(&r.selector, "selector", "l", "", "nodes with these labels")
	f.StringVar(&r.surge, "surge", "", "nodes above desired at once: a number or a percentage (default: one per zone)")
	f.BoolVar(&r.force, "force", false, "also evict pods without a controller: nothing brings them back")
	f.DurationVar(&r.canary, "canary", 0, "replace one node first, then watch it this long before the others go")
	f.DurationVar(&r.bake, "bake", 0, "keep old nodes in Standby this long before they are closed; until then drover rollback returns to them")
	f.StringArrayVar(&r.probes, "probe", nil, "go on only while this is healthy (repeatable): URL (GET answers 2xx within 2 s) or\nprometheus=http://HOST:9090?query=EXPR (the result is empty)")
	c.MarkFlagsMutuallyExclusive("all", "older-than", "selector")
}

func (r *rotation) requesterFlag(c *cobra.Command) { requesterFlag(c, &r.requester) }

func requesterFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "requester", "", "who asks, for the record (default: this user at this host)")
}

// parse checks the flags that have a grammar of their own.
func (r *rotation) parse(now time.Time) (depart.Criterion, evac.Options, error) {
	c, err := r.criterion(now)
	if err != nil {
		return c, evac.Options{}, err
	}
	surge, err := parseSurge(r.surge)
	switch {
	case err != nil:
		return c, evac.Options{}, err
	case r.canary < 0:
		return c, evac.Options{}, usagef("--canary %s: must be positive", r.canary)
	case r.bake < 0:
		return c, evac.Options{}, usagef("--bake %s: must be positive", r.bake)
	}
	if _, err := parseProbes(r.probes); err != nil {
		return c, evac.Options{}, usagef("--probe: %v", err)
	}
	who := r.requester
	if who == "" {
		who = requester()
	}
	return c, evac.Options{
		Run: newRun(now), Requester: who, Criterion: string(c.Kind), Words: c.String(), Surge: surge, Force: r.force, Canary: r.canary, Bake: r.bake, Probes: r.probes,
	}, nil
}

func (r *rotation) criterion(now time.Time) (depart.Criterion, error) {
	c := depart.Criterion{Kind: depart.Outdated}
	switch {
	case r.all:
		c.Kind = depart.All
	case r.olderThan < 0:
		return c, usagef("--older-than %s: must be positive", r.olderThan)
	case r.olderThan > 0:
		c.Kind, c.Before = depart.OlderThan, now.Add(-r.olderThan)
	case r.selector != "":
		s, err := labels.Parse(r.selector)
		if err != nil {
			return c, usagef("--selector %q: %v", r.selector, err)
		}
		c.Kind, c.Words = depart.Selector, r.selector
		c.Match = func(n *fleet.Node) bool { return s.Matches(labels.Set(n.Labels)) }
	}
	return c, nil
}

func parseProbes(texts []string) ([]engine.Prober, error) {
	var out []engine.Prober
	for _, t := range texts {
		p, err := probe.Parse(t)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func usagef(format string, args ...any) error { return &exit{exitUsage, fmt.Errorf(format, args...)} }

// newRun names a run: by time, for people, and a few random digits, for two that start in the same second.
func newRun(now time.Time) string {
	return fmt.Sprintf("r-%s-%03x", now.UTC().Format("20060102-150405"), rand.IntN(1<<12))
}

func parseSurge(s string) (evac.Surge, error) {
	if s == "" {
		return evac.Surge{}, nil
	}
	digits, percent := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(digits)
	switch {
	case err != nil, n < 1:
		return evac.Surge{}, usagef("--surge %q: want a number of nodes (1 or more) or a percentage (1%% to 100%%)", s)
	case percent && n > 100:
		return evac.Surge{}, usagef("--surge %q: more than 100%%", s)
	case percent:
		return evac.Surge{Percent: n}, nil
	}
	return evac.Surge{Count: n}, nil
}
