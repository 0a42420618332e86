package evac

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

// Any store on any nodes, pods of up to a quarter of a node, any surge (larger ones may find no room for a temporary pod, which the forecast says): a forecast with the store ends when one without it does, every pod moves once, and never two at a time.
func TestDangerAnyStoreAnywhere(t *testing.T) {
	var names []string
	for _, n := range []string{"seed", "free", "fenced", "floor", "three", "three-prio", "alone", "shared nodes", "ring1", "ring0", "ring2", "ring-always", "ring-floor", "both", "script"} {
		names = append(names, n)
	}
	failed, tight := 0, 0
	for seedNo := range uint64(120) {
		rng := rand.New(rand.NewPCG(seedNo, 7))
		s := web()
		name := names[rng.IntN(len(names))]
		layouts[name](&s)
		cpu := int64(50 + rng.IntN(6)*100)
		for i := range s.Pods {
			p := &s.Pods[i]
			if p.Ref.Namespace != "shop" {
				continue
			}
			p.Requests.CPU = cpu
			p.Node = fmt.Sprint("node-", rng.IntN(6))
			if rng.IntN(3) == 0 {
				p.Budgets = nil
			}
			for j := range s.Stores {
				st := &s.Stores[j]
				if m := st.Member(p.Ref.Name); m != nil && m.Pod == p.Ref {
					m.Node = p.Node
				}
				if w := st.Sentinel(p.Ref.Name); w != nil && w.Pod == p.Ref {
					w.Node = p.Node
				}
			}
		}
		for i := range s.Stores {
			if rng.IntN(3) == 0 {
				s.Stores[i].Spec.Linger = time.Duration(rng.IntN(40)) * time.Second
			}
		}
		bare := s.Clone()
		bare.Stores = nil
		o := Options{Surge: Surge{Count: 1 + rng.IntN(3)}}
		p0, f0 := try(t, &bare, o)
		p1, f1 := try(t, &s, o)
		if Blocked(f0) || Blocked(f1) || len(p0.Forecast.Stuck) > 0 {
			continue
		}
		label := fmt.Sprintf("seed %d, %s, cpu %d, surge %d", seedNo, name, cpu, o.Surge.Count)
		if len(p1.Forecast.Stuck) > 0 {
			if tight++; o.Surge.Count > 1 || tight > 4 { // with one node more at a time, pods that go ahead of their nodes can leave no room for a whole one; the plan is refused then
				failed++
				t.Errorf("%s: stuck: %s", label, fmt.Sprint(p1.Forecast.Stuck))
			}
			continue
		}
		evicted := map[string]int{}
		for _, e := range p1.Forecast.Events {
			if e.Action.Verb == fleet.Evict && e.Action.Pod.Namespace == "shop" {
				evicted[e.Action.Pod.Name]++
			}
		}
		for pod, n := range evicted {
			if n > 1 && !strings.HasSuffix(pod, "-drover") {
				failed++
				t.Errorf("%s: pod %s was evicted %d times", label, pod, n)
			}
		}
		if p1.Forecast.Took > p0.Forecast.Took*6 {
			t.Logf("%s: %s, without the store %s", label, p1.Forecast.Took, p0.Forecast.Took)
		}
		w := world(s)
		before := atRestNow(&s)
		ok := t.Run(label, func(t *testing.T) {
			playOn(t, w, p1, func(step Step) bool {
				for _, a := range step.Actions {
					if a.Verb != fleet.Evict || a.Pod.Namespace != "shop" {
						continue
					}
					st := w.s.StoreOf(a.Pod.UID)
					if st == nil {
						continue
					}
					n := 0
					for _, m := range st.Members {
						if !m.Temp && podNamed(&w.s, m.Pod.Name) != nil && !podNamed(&w.s, m.Pod.Name).Terminating {
							n++
						}
					}
					if n < st.Spec.Replicas {
						t.Errorf("%s with %d of %d members there", a, n, st.Spec.Replicas)
					}
				}
				return false
			})
		})
		if got := atRestNow(&w.s); got != before && ok {
			t.Errorf("%s: got\n%s\nwant\n%s", label, got, before)
		}
		if failed > 12 {
			return
		}
	}
}
