package evac

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"drover.dev/depart"
	"drover.dev/fleet"
)

// town is a fleet drawn at random: nodes in groups over zones about two thirds full, workloads of several sizes, most of them with a budget.
type town struct {
	nodes, groups, workloads, pods int
	zones                          int
	boot, drain                    time.Duration
	odd                            bool // now and then anti-affinity and spread
}

// hundred is the fleet of the simulations that the pace was designed by.
var hundred = town{nodes: 100, groups: 1, workloads: 400, pods: 2500, zones: 3, boot: 150 * time.Second, drain: 60 * time.Second}

var thousand = town{nodes: 1000, groups: 4, workloads: 3000, pods: 30_000, zones: 3, boot: 150 * time.Second, drain: 60 * time.Second}

func (w town) build(seed uint64) fleet.Snapshot {
	rng := rand.New(rand.NewPCG(seed, 7))
	s := fleet.Snapshot{Now: start}
	for i := range w.groups {
		s.Groups = append(s.Groups, w.group(i))
	}
	used := make([]fleet.Resources, w.nodes)
	for i := range w.nodes {
		w.node(&s, i)
	}
	for i := range w.workloads {
		left, of := w.pods-len(s.Pods), w.workloads-i
		w.workload(&s, rng, used, i, max(1, min(left-of+1, 1+rng.IntN(max(1, 2*left/of-1)))))
	}
	for i := range w.nodes {
		o := fleet.Owner{Kind: "DaemonSet", Namespace: "kube-system", Name: "agent"}
		s.Pods = append(s.Pods, fleet.Pod{
			Ref: fleet.PodRef{Namespace: "kube-system", Name: fmt.Sprintf("agent-%d", i), UID: fmt.Sprintf("agent-%d", i)}, Owner: o, Node: s.Nodes[i].Name, Ready: true,
			Created: start.Add(-time.Hour), ReadySince: start.Add(-time.Hour + time.Second), Requests: fleet.Resources{CPU: 100, Memory: gib / 8, Pods: 1},
		})
	}
	return s
}

func (w town) group(i int) fleet.Group {
	n := (w.nodes + w.groups - 1 - i) / w.groups
	return fleet.Group{
		Name: fmt.Sprintf("g%d", i), Min: 0, Max: 2*n + 1, Desired: n, Zones: []string{"a", "b", "c"}[:w.zones],
		Wants:   []fleet.Template{{ID: "lt", Name: "lt", Version: "2"}},
		Targets: []fleet.TargetGroup{{ARN: arn, Name: "web", Delay: w.drain, Warmup: 5 * time.Second}},
	}
}

func (w town) node(s *fleet.Snapshot, i int) {
	g := &s.Groups[i%w.groups]
	zone := g.Zones[i/w.groups%w.zones]
	in := fleet.Instance{
		ID: fmt.Sprintf("i-%04d", i), Zone: zone, Type: "m5.2xlarge", Lifecycle: fleet.InService, Launched: start.Add(-2 * time.Hour),
		Template: fleet.Template{ID: "lt", Name: "lt", Version: "1"}, Targets: []fleet.Target{{Group: arn, State: fleet.TargetHealthy}},
	}
	name := fmt.Sprintf("node-%04d", i)
	g.Instances = append(g.Instances, in)
	s.Nodes = append(s.Nodes, fleet.Node{
		Name: name, Instance: in.ID, Zone: zone, Ready: true, Changed: in.Launched.Add(w.boot),
		Room: fleet.Resources{CPU: 8000, Memory: 32 * gib, Pods: 58}, Labels: map[string]string{hostname: name, zoneLabel: zone, "group": g.Name},
	})
}

// workload adds pods, each on the emptiest of three nodes.
func (w town) workload(s *fleet.Snapshot, rng *rand.Rand, used []fleet.Resources, i, replicas int) {
	o := fleet.Owner{Kind: "Deployment", Namespace: fmt.Sprintf("team-%d", i%20), Name: fmt.Sprintf("app-%d", i)}
	if i%10 == 9 {
		o.Kind = "StatefulSet"
	}
	took := 20*time.Second + time.Duration(rng.IntN(161))*time.Second
	p := fleet.Pod{
		Owner: o, Ready: true, Created: start.Add(-time.Hour), ReadySince: start.Add(-time.Hour).Add(took), Grace: 30 * time.Second, PreStop: time.Duration(rng.IntN(10)) * time.Second,
		Requests: fleet.Resources{CPU: w.share(8000, 1+rng.IntN(8)), Memory: w.share(32*gib, 1+rng.IntN(8)), Pods: 1},
		Labels:   map[string]string{"app": o.Name},
	}
	if replicas > 1 && i%8 != 7 {
		away := max(1, replicas/4)
		if i%10 == 3 {
			away = 1
		}
		b := fleet.Budget{Name: o.Namespace + "/" + o.Name, Healthy: replicas, Expected: replicas, Desired: replicas - away, Allowed: away}
		p.Budgets = []string{b.Name}
		s.Budgets = append(s.Budgets, b)
	}
	s.Workloads = append(s.Workloads, fleet.Workload{Owner: o, Replicas: replicas})
	if w.odd {
		w.mind(&p, rng, replicas)
	}
	on := map[int]int{}
	for n := range replicas {
		at := rng.IntN(w.nodes)
		for range 2 {
			if other := rng.IntN(w.nodes); on[other] < on[at] || on[other] == on[at] && used[other].CPU < used[at].CPU {
				at = other
			}
		}
		if len(p.Apart)+len(p.Spread) > 0 { // these few go round the nodes
			at = (i + n) % w.nodes
		}
		on[at]++
		used[at] = used[at].Add(p.Requests)
		p.Node = s.Nodes[at].Name
		p.Ref = fleet.PodRef{Namespace: o.Namespace, Name: fmt.Sprintf("%s-%d", o.Name, n), UID: fmt.Sprintf("u-%s-%d", o.Name, n)}
		s.Pods = append(s.Pods, p)
	}
}

// share is what a pod of one of eight sizes asks for: so much that nodes are about two thirds full, and never over a tenth of one, since larger
// pods may find no whole place although there is room enough in pieces.
func (w town) share(node int64, size int) int64 {
	return min(node/10, node*int64(size)*int64(w.nodes)/int64(w.pods)/7)
}

// mind gives a workload constraints now and then that it keeps as it is: at most one pod per node, or spread over the nodes.
func (w town) mind(p *fleet.Pod, rng *rand.Rand, replicas int) {
	self := fleet.Term{{Key: "app", Operator: "In", Values: []string{p.Owner.Name}}}
	switch rng.IntN(8) {
	case 0:
		if replicas <= w.nodes {
			p.Apart = []fleet.PodTerm{{Namespaces: []string{p.Owner.Namespace}, Match: self, Topology: hostname}}
		}
	case 1:
		p.Spread = []fleet.Spread{{Topology: hostname, MaxSkew: 2, Match: self, HonorTaints: rng.IntN(2) == 0}}
	}
}

func (w town) departures(s *fleet.Snapshot) (groups []string, d []fleet.Departure) {
	for i := range s.Groups {
		groups = append(groups, s.Groups[i].Name)
	}
	d, err := depart.Rotate(s, groups, depart.Criterion{Kind: depart.Outdated})
	if err != nil {
		panic(err)
	}
	return groups, d
}

func (w town) plan(s *fleet.Snapshot, surge Surge) Plan {
	groups, d := w.departures(s)
	p, findings := Make(s, groups, d, Options{Run: "r-1", Criterion: string(depart.Outdated), Surge: surge})
	if Blocked(findings) {
		panic(fmt.Sprint(findings))
	}
	return p
}

func BenchmarkPlan1000(b *testing.B) {
	s := thousand.build(1)
	b.ReportAllocs()
	for b.Loop() {
		p := thousand.plan(&s, Surge{Percent: 10})
		report(b, &p)
	}
}

// BenchmarkTick1000 is one call of Next, with nothing remembered: at the beginning, and in the middle of the run.
func BenchmarkTick1000(b *testing.B) {
	s := thousand.build(1)
	p := thousand.plan(&s, Surge{Percent: 10})
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			Next(p, s)
		}
	})
	w := &preview{s: s.Clone(), began: s.Now, plan: &p, out: Forecast{Moves: map[string]int{}}}
	w.keepIndex()
	w.estimate()
	w.count()
	w.until(p.Forecast.Took / 2)
	b.Run("middle", func(b *testing.B) {
		for b.Loop() {
			Next(p, w.s)
		}
	})
}

// until runs the world to a moment after the start.
func (w *preview) until(d time.Duration) {
	w.after(d, func() { w.later = nil })
	w.run()
}

func BenchmarkRotation100(b *testing.B) {
	for _, surge := range []Surge{{Count: 1}, {Percent: 10}, {Percent: 25}} {
		name := fmt.Sprintf("surge=%d%%", surge.Percent)
		if surge.Count > 0 {
			name = fmt.Sprintf("surge=%d", surge.Count)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s := hundred.build(1)
				p := hundred.plan(&s, surge)
				report(b, &p)
			}
		})
	}
}

func report(b *testing.B, p *Plan) {
	b.Helper()
	f := p.Forecast
	if len(f.Stuck) > 0 {
		b.Fatalf("it comes to a stand: %v", f.Stuck)
	}
	moves := 0
	for _, n := range f.Moves {
		moves += n
	}
	b.ReportMetric(f.Took.Minutes(), "minutes")
	b.ReportMetric(float64(f.Took)/float64(f.Bound), "finish/bound")
	b.ReportMetric(float64(moves)/float64(len(p.Moves)), "moves/pod")
	b.ReportMetric(f.SurgeHours, "surge-hours")
	b.Logf("%s; bound %s by %s", f.Took, f.Bound, f.Path)
}
