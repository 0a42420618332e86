package cluster

import (
	"context"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

func TestShutIsOneChangeThatKeepsWhatOthersSet(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(3)
	l.Label("b", excludeLabel, "true")
	l.Taint("c", fleet.Taint{Key: fleet.TaintKey, Value: "other", Effect: fleet.NoSchedule})
	before := l.Settings()
	for range 2 {
		for _, n := range []string{"a", "b", "c", "gone"} {
			l.must(l.act(fleet.Action{Verb: fleet.Shut, Node: n, Run: "r"}))
		}
	}
	have := l.Settings()
	for _, line := range []string{"node a taint " + fleet.TaintKey + "=r:NoSchedule\n", "node a excluded by=r\n", "node b taint " + fleet.TaintKey + "=r:", "node b excluded by=-\n", "node c taint " + fleet.TaintKey + "=other:NoSchedule\n", "node c excluded by=r\n"} {
		if !strings.Contains(have, line) {
			t.Errorf("%q is not in\n%s", line, have)
		}
	}
	for _, n := range []string{"a", "b", "c"} {
		if n != "c" {
			l.must(l.act(fleet.Action{Verb: fleet.Untaint, Node: n, Run: "r"}))
		}
		l.must(l.act(fleet.Action{Verb: fleet.Include, Node: n, Run: "r"}))
	}
	l.equal("settings taken back", l.Settings(), before)
}

func TestDeleteGoesPastBudgetAndWebhookWithTheGraceGiven(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	s := deployment("api", 1)
	s.Held, s.Stop, s.Grace = "no", 20*time.Second, time.Minute
	o := l.apply(s)
	l.must(l.Protect(BudgetSpec{Name: "web/api", MinAvailable: "1", Match: fleet.Term{{Key: "app", Operator: "In", Values: []string{"api"}}}}))
	l.wait(10 * time.Second)
	p := l.Pods(o)[0]
	l.must(l.act(fleet.Action{Verb: fleet.Delete, Pod: fleet.PodRef{Namespace: p.Ref.Namespace, Name: p.Ref.Name, UID: "another"}, Grace: time.Second}))
	if l.Pods(o)[0].Terminating {
		t.Fatal("it deleted a pod of another UID")
	}
	l.must(l.act(fleet.Action{Verb: fleet.Delete, Pod: p.Ref, Grace: 8 * time.Second}))
	at := l.clock.Now()
	l.must(l.act(fleet.Action{Verb: fleet.Delete, Pod: p.Ref})) // with the least grace there is: it keeps the first
	l.equal("time to stop", l.Pods(o)[0].Deleted.Sub(at), 8*time.Second)
	l.wait(8 * time.Second)
	got := l.Ledger()
	l.equal("deletions", len(got.Deletions), 1)
	l.equal("breaches", len(got.Breaches), 1)
	l.equal("killed", len(got.Killed), 1)
	l.equal("killed after", got.Killed[0].At.Sub(at), 8*time.Second)
	l.equal("needed", got.Killed[0].Needs, 20*time.Second)
}

func TestDeleteGivesAtLeastASecond(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(1)
	o := l.apply(deployment("api", 1))
	l.wait(10 * time.Second)
	p := l.Pods(o)[0]
	l.must(l.act(fleet.Action{Verb: fleet.Delete, Pod: p.Ref}))
	l.equal("time to stop", l.Pods(o)[0].Deleted.Sub(l.clock.Now()), leastGrace)
}

func TestEvictionWithGraceBoundsTheShutdown(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	s := deployment("api", 1)
	s.Stop, s.Grace = 50*time.Second, time.Minute
	o := l.apply(s)
	l.wait(10 * time.Second)
	p := l.Pods(o)[0]
	l.must(l.act(fleet.Action{Verb: fleet.Evict, Pod: p.Ref, Grace: 12 * time.Second}))
	l.equal("time to stop", l.Pods(o)[0].Deleted.Sub(l.clock.Now()), 12*time.Second)
	l.must(l.act(fleet.Action{Verb: fleet.Delete, Pod: p.Ref, Grace: 2 * time.Second}))
	l.wait(11 * time.Second)
	l.equal("pods before its time", len(l.Pods(o)), 2)
	l.wait(time.Second)
	l.equal("pods after", len(l.Pods(o)), 1)
	l.equal("grace", l.Ledger().Evictions[0].Grace, 12*time.Second)
}

// One node of two is off and says nothing: declared out of service, its pods and its volume are free at once.
func TestOutOfServiceFreesPodsAndVolumes(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(1)
	s := Spec{Owner: fleet.Owner{Kind: "StatefulSet", Namespace: "web", Name: "db"}, Replicas: 1, OwnDisk: true}
	o := l.apply(s)
	l.wait(time.Minute)
	l.must(l.AddNode(fleet.Node{Name: "b", Ready: true, Zone: "z1"}))
	off := fleet.Action{Verb: fleet.OutOfService, Node: "a", Expect: fleet.Expect{Off: true}}
	l.refused(l.act(off), "node a is Ready")
	l.KillNode("a")
	l.wait(time.Minute)
	l.must(l.act(off))
	l.must(l.act(off))
	l.wait(collectAfter + time.Minute)
	pods := l.Pods(o)
	if len(pods) != 1 || pods[0].Node != "b" || !pods[0].Ready {
		t.Fatalf("pods: %+v", pods)
	}
	l.must(l.act(fleet.Action{Verb: fleet.OutOfService, Node: "gone"}))
}

// A kubelet that says nothing may still run its pods: what is removed from its node then is lost, and the witness sees it.
func TestOutOfServiceOfALivingMachineIsWitnessed(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	s := deployment("api", 2)
	s.Stop, s.Grace = time.Hour, time.Hour
	l.apply(s)
	l.wait(10 * time.Second)
	l.SetReady("a", false)
	l.must(l.act(fleet.Action{Verb: fleet.OutOfService, Node: "a", Expect: fleet.Expect{Off: true}}))
	l.wait(collectAfter)
	l.equal("lost", len(l.Ledger().Lost), 1)
}

func TestFinalizerKeepsTheObject(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	s := deployment("api", 1)
	s.Stuck = true
	o := l.apply(s)
	l.wait(10 * time.Second)
	old := l.Pods(o)[0].Ref
	l.must(l.evictPod(l.Pods(o)[0]))
	l.wait(time.Hour)
	l.equal("pods", len(l.Pods(o)), 2)
	l.must(l.LetGo(o))
	for _, p := range l.Pods(o) {
		if p.Ref == old {
			t.Error("it is there still")
		}
	}
	l.equal("killed", len(l.Ledger().Killed), 0)
}

func TestSilentKubeletReportsTheEndLater(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(1)
	o := l.apply(deployment("api", 1))
	l.wait(10 * time.Second)
	l.SetReady("a", false)
	l.must(l.evictPod(l.Pods(o)[0]))
	l.wait(time.Minute)
	l.equal("pods while it is silent", len(l.Pods(o)), 2)
	l.SetReady("a", true)
	l.equal("pods when it reports", len(l.Pods(o)), 1)
}

func TestRebootedMachineRunsItsPodsAgain(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(1)
	o := l.apply(deployment("api", 1))
	l.wait(10 * time.Second)
	p := l.Pods(o)[0].Ref
	l.StopMachine("a")
	l.wait(2 * time.Minute)
	n, _ := l.Node("a")
	l.equal("Ready while it is off", n.Ready, false)
	l.BootMachine("a")
	l.SetReady("a", true)
	l.wait(10 * time.Second)
	n, _ = l.Node("a")
	l.equal("taints", len(n.Taints), 0)
	l.equal("pod", l.Pods(o)[0].Ref, p)
	l.equal("pod is Ready", l.Pods(o)[0].Ready, true)
	l.equal("lost", len(l.Ledger().Lost), 1)
}

func TestDocketKeepsWhatIsOver(t *testing.T) {
	l := newLab(t, Options{})
	file := func(id string, f func(*fleet.Case)) {
		t.Helper()
		l.must(l.File(context.Background(), id, func(have fleet.Case) (fleet.Case, bool) {
			before := len(have.Signals)
			f(&have)
			return have, len(have.Signals) != before || !have.Open()
		}))
	}
	signal := func(have *fleet.Case) { have.Signals = append(have.Signals, fleet.Signal{}) }
	for _, id := range []string{"i-2", "i-1", "i-2"} {
		file(id, signal)
	}
	file("i-3", func(*fleet.Case) {}) // nothing differs: nothing is written
	file("i-1", func(have *fleet.Case) { have.Marks.Ended = l.clock.Now() })
	observe := func() fleet.Snapshot {
		s := fleet.Snapshot{Now: l.clock.Now()}
		l.must(l.Observe(context.Background(), &s))
		return s
	}
	l.equal("observed at once", len(observe().Cases), 2)
	l.wait(shownFor)
	s := observe()
	if len(s.Cases) != 1 || s.Cases[0].Instance != "i-2" || len(s.Cases[0].Signals) != 2 {
		t.Errorf("open: %+v", s.Cases)
	}
	all := l.Cases()
	l.equal("on file", len(all), 2)
	l.equal("first", all[0].Instance, "i-1")
}
