package cluster

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

func TestVolumesFollowTheirPods(t *testing.T) {
	l := newLab(t, Options{Timing: Timing{Attach: 10 * time.Second, Detach: 20 * time.Second}})
	l.nodes(4) // a and d are in z1
	s := deployment("db", 1)
	s.Owner.Kind, s.OwnDisk = "StatefulSet", true
	s.Affinity = []fleet.Term{{{Key: zoneLabel, Operator: "In", Values: []string{"z1"}}}}
	o := l.apply(s)
	first := l.Pods(o)[0]
	l.equal("zones", first.VolumeZones, []string{"z1"})
	l.equal("attaching", l.VolumesOn(first.Node), []string{"pv-web-db-0"})
	l.wait(14 * time.Second)
	l.equal("not ready before volume and start", first.Ready, false)
	l.wait(time.Second)
	l.equal("ready", len(ready(l.Pods(o))), 1)
	l.Cordon(first.Node, true)
	l.must(l.evictPod(l.Pods(o)[0]))
	l.wait(time.Second) // it stops in a second
	second := l.Pods(o)[0]
	l.equal("elsewhere in its zone", second.Node != first.Node && (second.Node == "a" || second.Node == "d"), true)
	l.equal("still attached to the old node", l.VolumesOn(first.Node), []string{"pv-web-db-0"})
	l.wait(20 * time.Second)
	l.equal("detached", len(l.VolumesOn(first.Node)), 0)
	l.equal("attaching", l.VolumesOn(second.Node), []string{"pv-web-db-0"})
	l.wait(14 * time.Second)
	l.equal("ready", len(ready(l.Pods(o))), 0)
	l.wait(time.Second)
	l.equal("ready", len(ready(l.Pods(o))), 1)

	// A machine that died holds its volumes for long.
	l.Cordon(first.Node, false)
	l.RemoveNode(second.Node)
	third := l.Pods(o)[0]
	l.equal("back", third.Node, first.Node)
	l.wait(6*time.Minute + 14*time.Second)
	l.equal("ready", len(ready(l.Pods(o))), 0)
	l.wait(time.Second)
	l.equal("ready", len(ready(l.Pods(o))), 1)
	l.Cordon(third.Node, true)
	l.RemoveNode(third.Node)
	l.rest()
	l.equal("no node left in its zone", strings.Contains(l.Pods(o)[0].Unplaced, "volume node affinity conflict") || strings.Contains(l.Pods(o)[0].Unplaced, "node affinity/selector"), true)
}

// A Deployment's volume keeps its second pod waiting: a surge on another node would never be Ready.
func TestOneVolumeTwoPods(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(4)
	s := deployment("cache", 1)
	s.OwnDisk = true
	o := l.apply(s)
	l.rest()
	l.Cordon(l.Pods(o)[0].Node, true)
	l.must(l.Scale(o, 2))
	l.rest()
	l.equal("ready", len(ready(l.Pods(o))), 1)
	l.equal("bound", l.Pods(o)[1].Node != "", true)
	l.DeletePod(l.Pods(o)[0].Ref)
	l.wait(time.Minute)
	l.equal("the second has it", l.Pods(o)[0].Ready, true)
}

func TestDeadMachines(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	l.must(l.Protect(BudgetSpec{Name: "web/api", Match: app, MinAvailable: "2"}))
	o := l.apply(deployment("api", 2))
	l.rest()
	on := l.Pods(o)[0].Node
	l.KillNode(on)
	n, _ := l.Node(on)
	l.equal("nobody knows yet", n.Ready, true)
	l.equal("ready, as the API server sees it", len(ready(l.Pods(o))), 2)
	l.equal("lost", len(l.Ledger().Lost), 1)
	l.equal("breaches", fmt.Sprint(l.Ledger().Breaches), fmt.Sprintf("[12:00:05: budget web/api has 1 serving pods, it wants 2: the machine of node %s went off]", on))
	l.wait(40 * time.Second)
	n, _ = l.Node(on)
	l.equal("now it does", n.Ready, false)
	l.equal("ready", len(ready(l.Pods(o))), 1)
	empty := fleet.Action{Verb: fleet.Terminate, Node: on, Expect: fleet.Expect{Empty: true}}
	l.refused(l.Confirm(t.Context(), empty), "is not empty after all")
	l.wait(300 * time.Second)
	l.equal("replaced", len(l.Pods(o)), 3)
	l.refused(l.Confirm(t.Context(), empty), "is not empty after all")
	l.wait(time.Minute)
	l.equal("nobody confirms its end", len(l.Pods(o)), 3)
	l.must(l.Confirm(t.Context(), empty))
	l.RemoveNode(on)
	l.rest()
	l.equal("pods", len(l.Pods(o)), 2)
	l.equal("lost", len(l.Ledger().Lost), 1)
}

func TestAutoscaler(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(3)
	s := deployment("api", 2)
	s.Scaler = &Scaler{Min: 2, Max: 5}
	o := l.apply(s)
	replicas := func() int { w, _ := l.Workload(o); return w.Replicas }
	l.wait(7 * time.Second)
	l.must(l.Scale(o, 9))
	l.wait(7 * time.Second)
	l.equal("before its turn", replicas(), 9)
	l.wait(time.Second)
	l.equal("clamped", replicas(), 5)
	l.must(l.SetWant(o, 3))
	l.wait(15 * time.Second)
	l.equal("as its metrics say", replicas(), 3)
	l.must(l.SetScaler(o, 4, 5))
	l.wait(15 * time.Second)
	l.equal("not below its minimum", replicas(), 4)
	l.must(l.Scale(o, 0))
	l.rest()
	l.equal("off", replicas(), 0)
}

func TestGitOpsPutsBack(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(3)
	s := deployment("api", 2)
	s.GitOps = &GitOps{By: "Argo CD", After: 20 * time.Second}
	o := l.apply(s)
	l.must(l.Scale(o, 3))
	l.wait(19 * time.Second)
	w, _ := l.Workload(o)
	l.equal("replicas", w.Replicas, 3)
	l.wait(time.Second)
	w, _ = l.Workload(o)
	l.equal("put back", w.Replicas, 2)
	l.equal("by", w.GitOps, "Argo CD")

	s.Owner.Name, s.Scaler = "scaled", &Scaler{Min: 2, Max: 4}
	o = l.apply(s)
	l.must(l.Scale(o, 3))
	l.must(l.SetScaler(o, 3, 4))
	l.rest()
	w, _ = l.Workload(o)
	l.equal("the autoscaler's bounds are the repository's", *w.Scaler, fleet.Scaler{Name: "scaled", Min: 2, Max: 4})
	l.equal("its replicas are the autoscaler's", w.Replicas, 3)
}

func TestTargetsByIP(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	s := deployment("api", 1)
	s.Target, s.Stop = "arn:tg", 40*time.Second
	s.Grace = time.Minute
	o := l.apply(s)
	state := func() string {
		p := l.Pods(o)[0]
		if len(p.Targets) == 0 {
			return ""
		}
		return p.Targets[0].State
	}
	for _, c := range []struct {
		wait time.Duration
		want string
	}{{6 * time.Second, ""}, {time.Second, "initial"}, {10 * time.Second, "healthy"}} {
		l.wait(c.wait)
		l.equal("target", state(), c.want)
	}
	l.must(l.evictPod(l.Pods(o)[0]))
	l.equal("not noticed yet", state(), "healthy")
	l.wait(time.Second)
	l.equal("drains", state(), "draining")
	l.wait(30 * time.Second)
	l.equal("drained", state(), "")
	l.equal("cuts", len(l.Ledger().Cuts), 0)

	s.Owner.Name, s.Stop = "hasty", -1
	o = l.apply(s)
	l.wait(time.Minute)
	l.must(l.evictPod(l.Pods(o)[0]))
	l.wait(time.Minute)
	l.equal("ended before its target drained", len(l.Ledger().Cuts), 1)
}

func TestLedger(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(3)
	o := l.apply(deployment("api", 1))
	l.rest()
	l.must(l.evictPod(l.Pods(o)[0]))
	l.rest()
	outages := l.Ledger().Outages
	l.equal("outages", len(outages), 1)
	l.equal("lasted", outages[0].To.Sub(outages[0].From), 5*time.Second)
	l.equal("again", len(l.Ledger().Again()), 0)
	l.must(l.evictPod(ready(l.Pods(o))[0]))
	l.equal("again", l.Ledger().Again(), []string{"Deployment web/api #0"})
	l.rest()

	// Two at once come back in two places: each was moved once.
	two := l.apply(deployment("two", 2))
	l.rest()
	for _, p := range l.Pods(two) {
		l.must(l.evictPod(p))
	}
	l.rest()
	l.equal("again", len(l.Ledger().Again()), 1)

	node := l.Pods(o)[0].Node
	for _, p := range l.Pods(fleet.Owner{}) {
		if p.Node == node {
			l.must(l.evictPod(p))
		}
	}
	l.RemoveNode(node)
	for _, loss := range l.Ledger().Lost {
		l.equal("it was ending", loss.Ending, true)
	}
	l.equal("lost while shutting down", len(l.Ledger().Lost) > 0, true)
}

// TestAtRestNothingHappens: a cluster whose work is done has no events, so that a story can step from event to event.
func TestAtRestNothingHappens(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(3)
	s := deployment("api", 3)
	s.Scaler, s.GitOps, s.Target = &Scaler{Min: 2, Max: 4}, &GitOps{By: "Flux", After: time.Minute}, "arn:tg"
	l.apply(s)
	l.rest()
	if at, ok := l.clock.Next(); ok {
		t.Fatalf("something is due at %v", at)
	}
}

func TestSameSeedSameLife(t *testing.T) {
	for seed := range int64(10) {
		if a, b := live(t, seed), live(t, seed); a != b {
			t.Fatalf("seed %d lived two lives:\n%s\n---\n%s", seed, a, b)
		}
	}
}

// live lives through random deeds, and returns all that was seen.
func live(t *testing.T, seed int64) string {
	dice := rand.New(rand.NewPCG(uint64(seed), 5))
	l := newLab(t, Options{Seed: seed})
	l.nodes(6)
	for i, kind := range []string{"Deployment", "StatefulSet", "DaemonSet", "Job"} {
		s := deployment(fmt.Sprint("w", i), 4)
		s.Owner.Kind, s.OwnDisk = kind, kind == "StatefulSet"
		l.apply(s)
	}
	var log strings.Builder
	for range 60 {
		pods := l.Pods(fleet.Owner{})
		node := string(rune('a' + dice.IntN(6)))
		switch dice.IntN(6) {
		case 0:
			l.KillNode(node)
		case 1:
			l.RemoveNode(node)
		case 2:
			if _, there := l.Node(node); !there {
				l.must(l.AddNode(fleet.Node{Name: node, Ready: true, Zone: "z1", Room: fleet.Resources{CPU: 4000, Memory: 16 << 30}}))
			}
		case 3:
			if len(pods) > 0 {
				l.must(l.evictPod(pods[dice.IntN(len(pods))]))
			}
		default:
			l.wait(time.Duration(dice.IntN(60)) * time.Second)
		}
		fmt.Fprintln(&log, says(l.Pods(fleet.Owner{})))
		l.consistent(t)
	}
	fmt.Fprintln(&log, l.Ledger(), l.Settings())
	return log.String()
}

// consistent counts everything that is kept by index from scratch.
func (l *lab) consistent(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	pods := 0
	for _, n := range l.Cluster.nodes {
		free := n.Room
		for _, p := range n.pods {
			if p.node != n || p.ended || l.pod[p.Ref.UID] != p {
				t.Fatalf("node %s has pod %s, which is elsewhere", n.Name, p.Ref)
			}
			if !p.Finished {
				free = free.Sub(p.Requests)
			}
		}
		if free.CPU != n.free.CPU || free.Pods != n.free.Pods {
			t.Fatalf("node %s: free is %+v, counted %+v", n.Name, n.free, free)
		}
	}
	for _, w := range l.workloads {
		pods += len(w.pods)
	}
	if pods != len(l.pods) || len(l.pods) < len(l.pod) {
		t.Fatalf("%d pods by workload, %d by name, %d by UID", pods, len(l.pods), len(l.pod))
	}
}
