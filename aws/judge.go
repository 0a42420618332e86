package aws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"drover.dev/fleet"
)

// limits is all that judge judges by: how groups are to grow, and what there is for them.
type limits struct {
	groups  []growth // by name
	subnets map[string]subnet
	offered map[capacity]bool
	types   map[string]shape
	quota   int // vCPUs of standard types on demand
	used    int
	gaps    []gap

	noSubnets, noOffers, noQuota bool // could not be read: nothing is known, rather than nothing there
}

// growth is a group and how many instances more it is to have at once.
type growth struct {
	name           string
	more           int
	zones, subnets []string
	types          []string
	spot           bool
	unknown        string // why the newest release for a managed group is not known
}

type subnet struct {
	zone string
	free int
}

type capacity struct{ zone, instanceType string }

// shape is what an instance type takes: vCPUs, and the addresses of one network interface.
type shape struct{ cpus, addresses int }

// gap is something that could not be read: for want of a right, or for another reason.
type gap struct{ what, right, why string }

func (g gap) finding() fleet.Finding {
	f := fleet.Finding{Code: "limit-unchecked", Subject: g.what, Reason: "could not be checked: " + g.why, Next: "plan again later, or check it yourself"}
	if g.right != "" {
		f.Reason, f.Next = "could not be checked: needs "+g.right, "grant drover that right, or check it yourself"
	}
	return f
}

// gapOf makes a gap of an error, unless no further call would survive what happened: that stays an error.
func gapOf(ctx context.Context, err error, what, right string) (*gap, error) {
	var fatal *fleet.Fatal
	switch {
	case err == nil:
		return nil, nil
	case isDenied(err):
		return &gap{what: what, right: right}, nil
	case errors.As(explain(err), &fatal), ctx.Err() != nil:
		return nil, doing("read "+what, err)
	}
	return &gap{what: what, why: explain(err).Error()}, nil
}

var standardFamily = regexp.MustCompile(`^(a|c|d|h|i|im|is|m|r|t|z)[0-9]`)

// standard tells whether an instance type counts against the quota for standard families.
func standard(instanceType string) bool { return standardFamily.MatchString(instanceType) }

// judge says what stands in the way, group by group, then what concerns the account.
func (l *limits) judge() []fleet.Finding {
	var out []fleet.Finding
	free := map[string]int{}
	for id, s := range l.subnets {
		free[id] = s.free
	}
	for _, g := range l.groups {
		if !l.noOffers {
			out = append(out, l.judgeOffers(g)...)
		}
		if !l.noSubnets {
			out = append(out, l.judgeAddresses(g, free)...)
		}
		if g.unknown != "" {
			out = append(out, fleet.Finding{Code: "release-unknown", Subject: "group " + g.name, Reason: g.unknown,
				Next: "grant ssm:GetParameter on arn:aws:ssm:*::parameter/aws/service/*, or look yourself whether a newer release is out"})
		}
	}
	if !l.noQuota {
		out = append(out, l.judgeQuota()...)
	}
	for _, g := range l.gaps {
		out = append(out, g.finding())
	}
	return out
}

// judgeOffers blocks only when no zone offers any type: Auto Scaling passes over zones where a launch fails.
func (l *limits) judgeOffers(g growth) []fleet.Finding {
	if len(g.types) == 0 {
		return nil
	}
	var without []string
	for _, zone := range g.zones {
		if !slices.ContainsFunc(g.types, func(t string) bool { return l.offered[capacity{zone, t}] }) {
			without = append(without, zone)
		}
	}
	if len(without) == 0 {
		return nil
	}
	return []fleet.Finding{{Code: "type-not-offered", Blocks: len(without) == len(g.zones), Subject: "group " + g.name,
		Reason: fmt.Sprintf("%d of its %d zones (%s) offer none of its instance types (%s)", len(without), len(g.zones), strings.Join(without, ", "), strings.Join(g.types, ", ")),
		Next:   "add a type that those zones offer, or leave those zones out of the group"}}
}

// judgeAddresses takes what the group needs out of free, so that groups that share subnets do not count the same address twice. An instance
// needs one address to start; with its pods, the network plugin usually takes all of its first interface.
func (l *limits) judgeAddresses(g growth, free map[string]int) []fleet.Finding {
	if len(g.subnets) == 0 {
		return []fleet.Finding{{Code: "limit-unchecked", Subject: "group " + g.name, Reason: "the free addresses of its subnets could not be checked: it names no subnets",
			Next: "look at the default subnets of its zones"}}
	}
	byZone, total := map[string]int{}, 0
	for _, id := range g.subnets {
		byZone[l.subnets[id].zone] += free[id]
		total += free[id]
	}
	delete(byZone, "") // of subnets that are gone
	l.take(g, free)
	if total < g.more {
		return []fleet.Finding{{Code: "subnet-addresses", Blocks: true, Subject: "group " + g.name,
			Reason: fmt.Sprintf("%d instances more need %d addresses at least, its subnets have %d free (%s)", g.more, g.more, total, counts(byZone)),
			Next:   fmt.Sprintf("add a subnet or free addresses, or choose a surge of at most %d", total)}}
	}
	each := l.most(g, func(s shape) int { return s.addresses })
	share := (g.more + max(1, len(byZone)) - 1) / max(1, len(byZone))
	short := maps.Clone(byZone)
	maps.DeleteFunc(short, func(_ string, n int) bool { return n >= share*max(1, each) })
	if len(short) == 0 {
		return nil
	}
	return []fleet.Finding{{Code: "subnet-addresses", Subject: "group " + g.name,
		Reason: fmt.Sprintf("%d instances more in a zone may take %d addresses with their pods, free are %s", share, share*max(1, each), counts(short)),
		Next:   "add subnets or free addresses, or choose a smaller surge; pods without an address do not start"}}
}

// take gives each instance an address of the emptiest subnet, as a balanced group would by and large.
func (l *limits) take(g growth, free map[string]int) {
	each := max(1, l.most(g, func(s shape) int { return s.addresses }))
	for range g.more {
		id := slices.MaxFunc(g.subnets, func(a, b string) int { return free[a] - free[b] })
		free[id] = max(0, free[id]-each)
	}
}

// most is the most that any of a group's types takes.
func (l *limits) most(g growth, of func(shape) int) int {
	n := 0
	for _, t := range g.types {
		n = max(n, of(l.types[t]))
	}
	return n
}

func counts(byZone map[string]int) string {
	var out []string
	for _, zone := range slices.Sorted(maps.Keys(byZone)) {
		out = append(out, fmt.Sprintf("%s: %d", zone, byZone[zone]))
	}
	return strings.Join(out, ", ")
}

// judgeQuota reckons with the largest standard type of each group. Types of other families, and spot, have quotas of their own.
func (l *limits) judgeQuota() []fleet.Finding {
	var out []fleet.Finding
	need := 0
	var by []string
	for _, g := range l.groups {
		if g.spot {
			out = append(out, elsewhere(g, "spot instances"))
			continue
		}
		cpus := 0
		for _, t := range g.types {
			if standard(t) {
				cpus = max(cpus, l.types[t].cpus)
			}
		}
		if i := slices.IndexFunc(g.types, func(t string) bool { return !standard(t) }); i >= 0 {
			out = append(out, elsewhere(g, g.types[i]))
		}
		if cpus > 0 {
			need += g.more * cpus
			by = append(by, fmt.Sprintf("%s %d x %d", g.name, g.more, cpus))
		}
	}
	if l.used+need <= l.quota || need == 0 {
		return out
	}
	return append(out, fleet.Finding{Code: "cpu-quota", Blocks: true, Subject: "quota " + standardQuota,
		Reason: fmt.Sprintf("%d vCPUs run on demand and %d more are needed (%s), the quota is %d", l.used, need, strings.Join(by, ", "), l.quota),
		Next:   fmt.Sprintf("ask AWS for a quota of at least %d, or choose a smaller surge", l.used+need)})
}

func elsewhere(g growth, what string) fleet.Finding {
	return fleet.Finding{Code: "limit-unchecked", Subject: "group " + g.name, Reason: fmt.Sprintf("the quota for %s, which is one of its own, is not checked", what),
		Next: "look it up in Service Quotas"}
}
