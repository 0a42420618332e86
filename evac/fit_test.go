package evac

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

// stacked is a group of old nodes with so many pods of one workload on each, under a budget.
func stacked(nodes, each, away int, mind func(p *fleet.Pod)) (town, fleet.Snapshot) {
	w := town{nodes: nodes, groups: 1, workloads: 0, zones: 1, boot: time.Minute, drain: 20 * time.Second}
	s := w.build(1)
	o := fleet.Owner{Kind: "Deployment", Namespace: "default", Name: "web"}
	b := fleet.Budget{Name: "default/web", Healthy: nodes * each, Expected: nodes * each, Desired: nodes*each - away, Allowed: away}
	for i := range nodes * each {
		p := fleet.Pod{
			Ref: fleet.PodRef{Namespace: "default", Name: fmt.Sprintf("web-%d", i), UID: fmt.Sprintf("u-web-%d", i)}, Owner: o, Budgets: []string{b.Name}, Labels: map[string]string{"app": "web"},
			Node: s.Nodes[i%nodes].Name, Ready: true, Created: start.Add(-time.Hour), ReadySince: start.Add(-time.Hour + 20*time.Second), Requests: fleet.Resources{CPU: 100, Pods: 1},
		}
		mind(&p)
		s.Pods = append(s.Pods, p)
	}
	s.Budgets = append(s.Budgets, b)
	s.Workloads = append(s.Workloads, fleet.Workload{Owner: o, Replicas: nodes * each})
	return w, s
}

var itself = fleet.Term{{Key: "app", Operator: "In", Values: []string{"web"}}}

func overHosts(honor bool) func(p *fleet.Pod) {
	return func(p *fleet.Pod) {
		p.Spread = []fleet.Spread{{Topology: hostname, MaxSkew: 1, Match: itself, HonorTaints: honor}}
	}
}

func alone(p *fleet.Pod) {
	p.Apart = []fleet.PodTerm{{Namespaces: []string{"default"}, Match: itself, Topology: hostname}}
}

func TestPodsThatMindOthers(t *testing.T) {
	for _, tc := range []struct {
		name              string
		nodes, each, away int
		surge             int
		mind              func(p *fleet.Pod)
		stuck             string // a hold that says why, when the plan cannot end
	}{
		{"one per host, as many as hosts", 6, 1, 1, 1, alone, ""},
		{"one per host, three at a time", 6, 1, 3, 3, alone, ""},
		// The old node, empty and still there, is the place with the fewest: its last pod's replacement has no place before it is gone.
		{"two on each, spread over old nodes too", 6, 2, 1, 1, overHosts(false), ""},
		{"four on each, spread over old nodes too, two may be missing", 6, 4, 2, 1, overHosts(false), ""},
		{"four on each, spread over new nodes alone", 6, 4, 1, 1, overHosts(true), ""},
		// The third pod's replacement has no place while the fourth is there, and the fourth may not go while a third is missing.
		{"four on each, spread over old nodes too, one may be missing", 6, 4, 1, 1, overHosts(false), "spread over kubernetes.io/hostname: 2 in new-1, 1 in node-"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, s := stacked(tc.nodes, tc.each, tc.away, tc.mind)
			p := w.plan(&s, Surge{Count: tc.surge})
			if tc.stuck != "" {
				if !strings.Contains(fmt.Sprint(p.Forecast.Stuck), tc.stuck) {
					t.Fatalf("stuck %v, want %q", p.Forecast.Stuck, tc.stuck)
				}
				return
			}
			if len(p.Forecast.Stuck) > 0 {
				t.Fatalf("comes to a stand: %v", p.Forecast.Stuck)
			}
			same(t, p.Forecast.Events, plainly(t, p, s).Events)
		})
	}
}

func nobody(*fleet.Node) bool { return false }

// Three nodes in two zones, with web pods on the first and the third; where may another go?
func TestRoomMindsOthers(t *testing.T) {
	world := func() fleet.Snapshot {
		_, s := stacked(3, 0, 0, nil)
		s.Nodes[0].Zone, s.Nodes[1].Zone, s.Nodes[2].Zone = "a", "b", "b"
		for i := range s.Nodes {
			s.Nodes[i].Labels[zoneLabel] = s.Nodes[i].Zone
		}
		for _, i := range []int{0, 2} {
			uid := fmt.Sprint("web-", i)
			s.Pods = append(s.Pods, fleet.Pod{Ref: fleet.PodRef{Namespace: "default", Name: uid, UID: uid}, Node: s.Nodes[i].Name, Labels: map[string]string{"app": "web"}, Ready: true})
		}
		return s
	}
	term := func(topology string, namespaces ...string) []fleet.PodTerm {
		return []fleet.PodTerm{{Namespaces: namespaces, Match: itself, Topology: topology}}
	}
	for _, tc := range []struct {
		name   string
		change func(p *fleet.Pod)
		want   string // node, or a part of why not
	}{
		{"minds nobody", func(p *fleet.Pod) {}, "node-0000"},
		{"not with web on a host", func(p *fleet.Pod) { p.Apart = term(hostname, "default") }, "node-0001"},
		{"not with web in a zone", func(p *fleet.Pod) { p.Apart = term(zoneLabel, "default") }, "anti-affinity over topology.kubernetes.io/zone: default/web-0 is in a"},
		{"not with web of another namespace", func(p *fleet.Pod) { p.Apart = term(zoneLabel, "other") }, "node-0000"},
		{"not with web of any namespace", func(p *fleet.Pod) { p.Apart = term(hostname, "*") }, "node-0001"},
		{"with web on a host, and not on the first", func(p *fleet.Pod) { p.Together, p.VolumeZones = term(hostname, "default"), []string{"b"} }, "node-0002"},
		{"with somebody who is nowhere", func(p *fleet.Pod) { p.Together = term(hostname, "other") }, "affinity over kubernetes.io/hostname: no pod that it has to be with is in node-0000"},
		{"the first of those who stay together", func(p *fleet.Pod) {
			p.Ref.Namespace, p.Labels, p.Together = "other", map[string]string{"app": "web"}, term(hostname, "other")
		}, "node-0000"},
		{"spread over hosts", func(p *fleet.Pod) {
			p.Labels, p.Spread = map[string]string{"app": "web"}, []fleet.Spread{{Topology: hostname, MaxSkew: 1, Match: itself}}
		}, "node-0001"},
		{"spread over more zones than there are", func(p *fleet.Pod) {
			p.Labels, p.Spread = map[string]string{"app": "web"}, []fleet.Spread{{Topology: zoneLabel, MaxSkew: 1, MinDomains: 3, Match: itself}}
		}, "spread over topology.kubernetes.io/zone: 1 in a, 0 in one of 1 domains that are not there, may differ by 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := world()
			p := fleet.Pod{Ref: fleet.PodRef{Namespace: "default", Name: "new", UID: "new"}, Requests: fleet.Resources{CPU: 100, Pods: 1}}
			tc.change(&p)
			s.Pods = append(s.Pods, p)
			ix := newIndex(&s)
			node, why := unpromised(ix, nobody).place(&s.Pods[len(s.Pods)-1])
			if node != tc.want && (why == "" || !strings.Contains(why, tc.want)) {
				t.Errorf("on %q %q, want %q", node, why, tc.want)
			}
		})
	}
	s := world()
	s.Pods[len(s.Pods)-1].Apart = term(hostname, "default") // who is there may mind too
	s.Pods = append(s.Pods, fleet.Pod{Ref: fleet.PodRef{Namespace: "default", Name: "new", UID: "new"}, Labels: map[string]string{"app": "web"}, VolumeZones: []string{"b"}})
	if node, why := unpromised(newIndex(&s), nobody).place(&s.Pods[len(s.Pods)-1]); node != "node-0001" {
		t.Errorf("on %q %q, although a pod on node-0002 repels it", node, why)
	}
}

// What is taken and given back leaves a room as it was, in the order in which it gives itself out too.
func TestRoomIsGivenBack(t *testing.T) {
	s := hundred.build(2)
	ix := newIndex(&s)
	r := unpromised(ix, nobody)
	picture := func() string {
		var b strings.Builder
		for _, c := range r.classes {
			for _, s := range c.slots {
				fmt.Fprint(&b, s.node.Name, s.free, " ")
			}
		}
		return b.String() + fmt.Sprint(r.total)
	}
	before := picture()
	for i := range s.Pods[:400] {
		r.place(&s.Pods[i])
	}
	if picture() == before {
		t.Fatal("nothing was taken")
	}
	if r.undo(0); picture() != before {
		t.Error("not as before")
	}
}
