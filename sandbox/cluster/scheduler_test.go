package cluster

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"drover.dev/fleet"
)

// TestWhyAPodFindsNoNode checks every filter, and its words.
func TestWhyAPodFindsNoNode(t *testing.T) {
	host := []fleet.PodTerm{{Topology: hostLabel}}
	for name, c := range map[string]struct {
		before func(l *lab)
		spec   func(s *Spec)
		words  string
	}{
		"cpu": {nil, func(s *Spec) { s.Requests.CPU = 5000 }, "0/2 nodes are available: 2 Insufficient cpu."},
		"cpu and memory": {nil, func(s *Spec) { s.Requests.CPU, s.Requests.Memory = 5000, 17<<30 },
			"0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory."},
		"extended": {nil, func(s *Spec) { s.Requests.Other = map[string]int64{"nvidia.com/gpu": 1} }, "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."},
		"slots":    {func(l *lab) { l.apply(small("many", 40)) }, nil, "0/2 nodes are available: 2 Too many pods."},
		"taint and cordon": {func(l *lab) {
			l.Cordon("a", true)
			l.Taint("b", fleet.Taint{Key: "dedicated", Value: "db", Effect: fleet.NoSchedule})
		}, nil, "0/2 nodes are available: 1 node(s) had untolerated taint {dedicated: db}, 1 node(s) were unschedulable."},
		"selector": {nil, func(s *Spec) { s.Selector = map[string]string{"disk": "ssd"} }, "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."},
		"affinity": {nil, func(s *Spec) {
			s.Affinity = []fleet.Term{{{Key: zoneLabel, Operator: "NotIn", Values: []string{"z1", "z2"}}}}
		},
			"0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."},
		"apart": {func(l *lab) { l.apply(small("other", 2)) }, func(s *Spec) { s.Apart = host },
			"0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."},
		"kept apart by others": {func(l *lab) {
			s := small("other", 2)
			s.Apart = host
			l.apply(s)
		}, nil, "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules."},
		"together": {nil, func(s *Spec) {
			s.Together = []fleet.PodTerm{{Topology: zoneLabel, Match: fleet.Term{{Key: "app", Operator: "In", Values: []string{"nobody"}}}}}
		}, "0/2 nodes are available: 2 node(s) didn't match pod affinity rules."},
		"spread over a label that no node has": {nil, func(s *Spec) { s.Spread = []fleet.Spread{{Topology: "rack", MaxSkew: 1}} },
			"0/2 nodes are available: 2 node(s) didn't match pod topology spread constraints (missing required label)."},
		"spread": {func(l *lab) { l.Cordon("b", true); l.apply(small("spread", 1)) }, func(s *Spec) {
			s.Spread = []fleet.Spread{{Topology: zoneLabel, MaxSkew: 1}}
		}, "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) were unschedulable."},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, Options{})
			l.nodes(2)
			if c.before != nil {
				c.before(l)
			}
			s := small("x", 1)
			if c.spec != nil {
				c.spec(&s)
			}
			p := l.Pods(l.apply(s))[0]
			l.equal("words", p.Unplaced, c.words)
			l.equal("node", p.Node, "")
		})
	}
}

func small(name string, replicas int) Spec {
	s := deployment(name, replicas)
	s.Requests = fleet.Resources{CPU: 10, Memory: 1 << 20}
	return s
}

// A tainted node counts as a domain unless the constraint honors taints: that is what makes a rotation's pods wait.
func TestTaintedNodesAreDomains(t *testing.T) {
	for _, honor := range []bool{false, true} {
		l := newLab(t, Options{})
		l.nodes(2)
		l.Taint("b", fleet.Taint{Key: "x", Effect: fleet.NoSchedule})
		s := small("api", 2)
		s.Spread = []fleet.Spread{{Topology: zoneLabel, MaxSkew: 1, Match: fleet.Term{{Key: "app", Operator: "In", Values: []string{"api"}}}, HonorTaints: honor}}
		want := map[string]int{"a": 1, "": 1}
		if honor {
			want = map[string]int{"a": 2}
		}
		l.equal(fmt.Sprint("honor ", honor), l.nodesOf(l.apply(s)), want)
	}
}

func TestFirstPodOfItsOwnAffinity(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(3)
	s := small("api", 3)
	s.Together = []fleet.PodTerm{{Topology: hostLabel, Match: fleet.Term{{Key: "app", Operator: "In", Values: []string{"api"}}}}}
	l.equal("nodes that hold them", len(l.nodesOf(l.apply(s))), 1)
}

func TestScores(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(4)
	l.equal("spread", l.nodesOf(l.apply(deployment("api", 4))), map[string]int{"a": 1, "b": 1, "c": 1, "d": 1})
	l.Taint("a", fleet.Taint{Key: fleet.TaintKey, Effect: fleet.PreferNoSchedule})
	l.Taint("b", fleet.Taint{Key: fleet.TaintKey, Effect: fleet.PreferNoSchedule})
	soft := l.nodesOf(l.apply(deployment("soft", 4)))
	l.equal("pods on soft nodes", soft["a"]+soft["b"], 0)
	l.equal("pods elsewhere", soft["c"]+soft["d"], 4)

	l = newLab(t, Options{Pack: true})
	l.nodes(4)
	l.equal("packed on nodes", len(l.nodesOf(l.apply(deployment("api", 8)))), 1)
}

func TestPendingPodsFindRoomThatAppears(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(1)
	o := l.apply(deployment("api", 9)) // 8 fit
	l.rest()
	l.equal("without a node", l.nodesOf(o)[""], 1)
	l.must(l.AddNode(fleet.Node{Name: "new", Room: fleet.Resources{CPU: 4000, Memory: 16 << 30}}))
	l.wait(0)
	l.equal("on a node that is not ready", l.nodesOf(o)["new"], 0)
	l.SetReady("new", true)
	l.wait(0)
	l.equal("on the new node", l.nodesOf(o)["new"], 1)
	l.rest()
	l.equal("ready", len(ready(l.Pods(o))), 9)
}

func ready(pods []fleet.Pod) (out []fleet.Pod) {
	for _, p := range pods {
		if p.Ready && !p.Terminating {
			out = append(out, p)
		}
	}
	return out
}

// TestSchedulerKeepsItsPromises lives random lives and checks after every step, counting from scratch, that no node is overfull and that no
// required rule between pods is broken by a placement.
func TestSchedulerKeepsItsPromises(t *testing.T) {
	for seed := range uint64(60) {
		dice := rand.New(rand.NewPCG(seed, 7))
		l := newLab(t, Options{Seed: int64(seed)})
		l.nodes(3 + dice.IntN(5))
		for i := range 6 {
			s := deployment(fmt.Sprint("w", i), dice.IntN(6))
			s.Requests.CPU = int64(100 + dice.IntN(1200))
			self := fleet.Term{{Key: "app", Operator: "In", Values: []string{s.Owner.Name}}}
			switch i % 3 {
			case 0:
				s.Apart = []fleet.PodTerm{{Topology: hostLabel, Match: self}}
			case 1:
				s.Spread = []fleet.Spread{{Topology: zoneLabel, MaxSkew: 1, Match: self}}
			}
			l.apply(s)
		}
		before := map[string]string{}
		promises(t, l, before)
		for range 80 {
			pods := l.Pods(fleet.Owner{})
			switch dice.IntN(4) {
			case 0:
				if len(pods) > 0 {
					l.DeletePod(pods[dice.IntN(len(pods))].Ref)
				}
			case 1:
				l.must(l.Scale(fleet.Owner{Kind: "Deployment", Namespace: "web", Name: fmt.Sprint("w", dice.IntN(6))}, dice.IntN(7)))
			case 2:
				l.Cordon(string(rune('a'+dice.IntN(8))), dice.IntN(2) == 0)
			case 3:
				l.wait(time.Duration(dice.IntN(8)) * time.Second)
			}
			promises(t, l, before)
		}
	}
}

// promises checks all placements made since the last look, remembered in before.
func promises(t *testing.T, l *lab, before map[string]string) {
	t.Helper()
	used, onHost := map[string]int64{}, map[string]int{}
	zones := map[string]map[string]int{}
	var s fleet.Snapshot
	l.must(l.Observe(t.Context(), &s))
	for _, p := range s.Pods {
		if p.Node == "" {
			continue
		}
		used[p.Node] += p.Requests.CPU
		onHost[p.Owner.Name+"@"+p.Node]++
		if zones[p.Owner.Name] == nil {
			zones[p.Owner.Name] = map[string]int{}
		}
		if !p.Terminating {
			zones[p.Owner.Name][s.Node(p.Node).Zone]++
		}
	}
	for _, n := range s.Nodes {
		if used[n.Name] > n.Room.CPU {
			t.Fatalf("node %s has %dm of cpu, its pods ask for %dm", n.Name, n.Room.CPU, used[n.Name])
		}
	}
	for _, p := range s.Pods {
		if p.Node == "" || before[p.Ref.UID] != "" {
			continue
		}
		before[p.Ref.UID] = p.Node
		if len(p.Apart) > 0 && onHost[p.Owner.Name+"@"+p.Node] > 1 {
			t.Fatalf("pod %s came to node %s, where another of its kind is", p.Ref, p.Node)
		}
		if s.Node(p.Node).Cordoned {
			t.Fatalf("pod %s came to cordoned node %s", p.Ref, p.Node)
		}
		if len(p.Spread) > 0 {
			here := zones[p.Owner.Name][s.Node(p.Node).Zone]
			for _, n := range s.Nodes {
				if here-zones[p.Owner.Name][n.Zone] > 1 && !p.Terminating {
					t.Fatalf("pod %s came to zone %s: %v", p.Ref, s.Node(p.Node).Zone, zones[p.Owner.Name])
				}
			}
		}
	}
}
