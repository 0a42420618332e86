package env

import (
	"cmp"
	"slices"

	"drover.dev/fleet"
)

// Ranks of what its owner has put in no tier. Ranks only order; tiers are numbered from 0.
const (
	rankSource  = 0 // what starts other things: CronJobs, what KEDA scales
	rankFront   = 10
	rankBack    = 20
	rankPooler  = 30
	rankWatcher = 40 // Sentinels: first of a store, so that they do not take a replica's leaving for trouble
	rankReplica = 50
	rankData    = 60
)

// tier numbers the parts' tiers: 0 is switched off first. Within the ranks that kinds have, whatever needs another goes off before it.
func (v *view) tiers(parts []*fleet.Part) map[*fleet.Part]int {
	rank := map[*fleet.Part]int{}
	for _, p := range parts {
		rank[p] = v.rank(p)
	}
	order := v.e.Spec.Order
	in := make([][]*fleet.Part, len(order))
	at := map[string]int{}
	for i := range order {
		at[order[i].Name] = i
		for _, p := range parts {
			if p.Turn == fleet.Scaled && slices.ContainsFunc(order[i].Workloads, func(s fleet.Selection) bool { return s.Has(p.Owner, p.Labels) }) {
				in[i] = append(in[i], p)
			}
		}
	}
	floor := make([]int, len(order)) // of a tier, whether or not anything is in it today
	for range order {                // as deep as a chain can be
		for i := range order {
			for _, name := range order[i].Needs {
				need := at[name]
				floor[need] = max(floor[need], floor[i]+1, highest(rank, in[i])+1)
				raise(rank, in[need], floor[need])
			}
		}
	}
	return dense(rank)
}

func highest(rank map[*fleet.Part]int, parts []*fleet.Part) int {
	top := -1
	for _, p := range parts {
		top = max(top, rank[p])
	}
	return top
}

func raise(rank map[*fleet.Part]int, parts []*fleet.Part, to int) {
	for _, p := range parts {
		rank[p] = max(rank[p], to)
	}
}

// dense numbers ranks without gaps.
func dense(rank map[*fleet.Part]int) map[*fleet.Part]int {
	var used []int
	for _, r := range rank {
		used = append(used, r)
	}
	slices.Sort(used)
	used = slices.Compact(used)
	out := map[*fleet.Part]int{}
	for p, r := range rank {
		out[p] = slices.Index(used, r)
	}
	return out
}

// rank places a part by what it is.
func (v *view) rank(p *fleet.Part) int {
	if p.Turn != fleet.Scaled {
		return rankSource
	}
	if r := v.inStore(p); r > 0 {
		return r
	}
	switch {
	case p.Claims || p.Kind == "StatefulSet":
		return rankData
	case p.Pooler:
		return rankPooler
	case p.Entry:
		return rankFront
	}
	return rankBack
}

// inStore places a workload by what its pods are in a store: 0 when they are in none.
func (v *view) inStore(p *fleet.Part) int {
	top := 0
	for i := range v.s.Stores {
		st := &v.s.Stores[i]
		for j := range st.Members {
			if v.ownerOf(st.Members[j].Pod) != p.Owner {
				continue
			}
			r := rankReplica
			if st.Members[j].Role == fleet.RoleMaster {
				r = rankData
			}
			top = max(top, r)
		}
		for j := range st.Sentinels {
			if v.ownerOf(st.Sentinels[j].Pod) == p.Owner {
				top = max(top, rankWatcher)
			}
		}
	}
	return top
}

func (v *view) ownerOf(ref fleet.PodRef) fleet.Owner {
	for i := range v.s.Pods {
		if v.s.Pods[i].Ref.UID == ref.UID {
			return v.s.Pods[i].Owner
		}
	}
	return fleet.Owner{}
}

// sortRecords orders parts by tier, then as every list prints them.
func sortRecords(ps []fleet.PartRecord) {
	slices.SortFunc(ps, func(a, b fleet.PartRecord) int {
		return cmp.Or(cmp.Compare(a.Tier, b.Tier), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}
