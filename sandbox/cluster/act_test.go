package cluster

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drover.dev/fleet"
)

func TestNodeVerbsComeTwiceAndAreTakenBackExactly(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	l.Label("b", excludeLabel, "true") // somebody else's
	l.must(l.Apply(deployment("api", 1)))
	before := l.Settings()
	do := func(verbs ...fleet.Verb) {
		t.Helper()
		for _, v := range verbs {
			for _, node := range []string{"a", "b", "gone"} {
				a := fleet.Action{Verb: v, Node: node, Run: "r", Effect: fleet.NoSchedule}
				l.must(l.act(a))
				once := l.Settings()
				l.must(l.act(a))
				l.equal(string(v)+" twice", l.Settings(), once)
			}
		}
	}
	do(fleet.Taint_, fleet.Keep, fleet.Exclude)
	for _, line := range []string{"node a taint " + fleet.TaintKey + "=r:NoSchedule\n", "node a scale-down-disabled kept=r\n", "node a excluded by=r\n"} {
		if !strings.Contains(l.Settings(), line) {
			t.Errorf("%q is not in\n%s", line, l.Settings())
		}
	}
	if strings.Contains(l.Settings(), "node b excluded by=r") {
		t.Error("b was excluded by somebody else")
	}
	l.must(l.act(fleet.Action{Verb: fleet.Unkeep, Node: "a", Run: "other"}))
	if !strings.Contains(l.Settings(), "node a scale-down-disabled kept=r\n") {
		t.Error("another run took it back")
	}
	do(fleet.Untaint, fleet.Unkeep, fleet.Include)
	l.equal("settings", l.Settings(), before)
}

func surgeOf(l *lab, o fleet.Owner, run string) fleet.Action {
	w, _ := l.Workload(o)
	return fleet.Action{Verb: fleet.Surge, Run: run, Workload: o, Pod: l.Pods(o)[0].Ref, From: w.Replicas, To: w.Replicas + 1}
}

func back(a fleet.Action, ready bool) fleet.Action {
	a.Verb, a.From, a.To, a.Expect.Ready = fleet.Unsurge, a.To, a.From, ready
	return a
}

func TestSurgeMovesASingletonWithoutAGap(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(3)
	s := deployment("api", 1)
	s.Start = 20 * time.Second
	o := l.apply(s)
	l.rest()
	before := l.Settings()
	a := surgeOf(l, o, "r")
	l.Cordon(l.Pods(o)[0].Node, true)
	l.must(l.act(a))
	l.must(l.act(a))
	w, _ := l.Workload(o)
	l.equal("replicas", w.Replicas, 2)
	l.equal("mark", *w.Surge, fleet.SurgeMark{Run: "r", Pod: a.Pod.UID, Replicas: 1})
	l.refused(l.act(back(a, true)), "Deployment web/api has 0 Ready pods besides web/")
	other := a
	other.Run = "q"
	l.refused(l.act(other), "run r has given Deployment web/api a replica more")
	l.refused(l.act(back(other, false)), "run r has given Deployment web/api a replica more")
	l.rest()
	l.must(l.act(back(a, true)))
	l.must(l.act(back(a, true)))
	l.equal("the old one goes", l.Pods(o)[0].Terminating, true)
	l.rest()
	l.equal("pods", len(ready(l.Pods(o))), 1)
	l.equal("outages", len(l.Ledger().Outages), 0)
	for _, n := range []string{"a", "b", "c"} {
		l.Cordon(n, false)
	}
	l.equal("settings", l.Settings(), before)
}

func TestSurgeIsUndoneExactly(t *testing.T) {
	for _, scaler := range []*Scaler{nil, {Min: 1, Max: 1}, {Min: 1, Max: 4}} {
		l := newLab(t, Options{})
		l.nodes(3)
		s := deployment("api", 1)
		s.Scaler, s.Cost = scaler, "7"
		o := l.apply(s)
		l.rest()
		before := l.Settings()
		a := surgeOf(l, o, "r")
		l.must(l.act(a))
		w, _ := l.Workload(o)
		if scaler != nil {
			l.equal("autoscaler", *w.Scaler, fleet.Scaler{Name: "api", Min: 2, Max: max(scaler.Max, 2)})
			l.equal("mark", *w.Surge, fleet.SurgeMark{Run: "r", Pod: a.Pod.UID, Replicas: 1, Min: scaler.Min, Max: scaler.Max})
		}
		first := l.Pods(o)[0].Ref
		l.rest()
		l.must(l.act(back(a, false)))
		l.rest()
		l.equal("the old pod stays", l.Pods(o)[0].Ref, first)
		l.equal("settings", l.Settings(), before)
		l.equal("pods", len(l.Pods(o)), 1)
	}
}

func TestSurgeRefusesAWorldThatChanged(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(3)
	o := l.apply(deployment("api", 1))
	l.rest()
	a := surgeOf(l, o, "r")
	l.must(l.Scale(o, 5))
	l.refused(l.act(a), "has 5 replicas by now, not 1")
	l.must(l.Scale(o, 1))
	l.rest()
	gone := a
	gone.Pod.UID = "none"
	l.refused(l.act(gone), "is gone, or going")
	l.Delete(o)
	l.refused(l.act(a), "Deployment web/api is gone")
}

func TestRecords(t *testing.T) {
	l := newLab(t, Options{})
	rec := fleet.RotationRecord{Run: "r", At: start, Requester: "me", Exits: []fleet.Departure{{Node: "a"}}}
	write := func() error { return l.act(fleet.Action{Verb: fleet.Record, Rotation: &rec}) }
	seen := func() fleet.Snapshot {
		var s fleet.Snapshot
		l.must(l.Observe(t.Context(), &s))
		return s
	}
	l.must(write())
	l.must(write())
	rec.Marks.Moving = start.Add(time.Second)
	l.must(write())
	rec.Marks = fleet.Marks{Moving: start.Add(time.Hour), Canary: start.Add(time.Minute)}
	l.must(write())
	got := seen()
	l.equal("marks", got.Rotations[0].Marks, fleet.Marks{Moving: start.Add(time.Second), Canary: start.Add(time.Minute)})
	l.must(l.Pause("r", &fleet.Pause{By: "me"}))
	l.equal("paused", seen().Rotations[0].Paused.By, "me")
	l.must(l.Intend("r", fleet.Back))
	l.must(write()) // decided before either was said
	l.equal("intent", seen().Rotations[0].Intent, fleet.Back)
	l.equal("paused", seen().Rotations[0].Paused.By, "me")
	if err := l.Intend("r", fleet.Forward); err == nil {
		t.Error("it turned round again")
	}
	rec.Requester = "you"
	l.refused(write(), "with another approved plan")
	rec.Requester = "me"
	rec.Marks.Ended = start.Add(time.Hour)
	l.must(write())
	l.equal("over", len(seen().Rotations), 0)
	l.must(write()) // already so
	rec.Marks.Ended = time.Time{}
	var fatal *fleet.Fatal
	if err := write(); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "run r is over") {
		t.Errorf("it began again: %v", err)
	}
	l.equal("kept", len(l.Records()), 1)
	for _, err := range []error{l.Pause("none", nil), l.Pause("r", nil), l.Intend("r", fleet.Back)} {
		if err == nil {
			t.Error("a run that is over, or not there, took a word")
		}
	}
	l.must(l.LoseRecord("r"))
	l.equal("lost", len(l.Records()), 0)
	if l.LoseRecord("r") == nil {
		t.Error("it was lost twice")
	}
	l.StopAll(fleet.Pause{By: "me", Why: "a release"})
	l.StopAll(fleet.Pause{By: "you"})
	l.equal("stopped", seen().Stopped.String(), "paused by me: a release")
	l.ResumeAll()
	l.equal("stopped", seen().Stopped == nil, true)

	without := newLab(t, Options{Unjournaled: "its CRD is missing"})
	if err := without.act(fleet.Action{Verb: fleet.Record, Rotation: &rec}); !errors.As(err, &fatal) || err.Error() != "its CRD is missing" {
		t.Error(err)
	}
	var s fleet.Snapshot
	without.must(without.Observe(t.Context(), &s))
	without.equal("unjournaled", s.Unjournaled, "its CRD is missing")
}

// A snapshot is its owner's: what happens later, or what the owner does to it, stays on its side.
func TestSnapshotsAreNotShared(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	s := deployment("api", 2)
	s.Target, s.Scaler = "arn:tg", &Scaler{Min: 2, Max: 3}
	l.apply(s)
	l.rest()
	var old fleet.Snapshot
	l.must(l.Observe(t.Context(), &old))
	before := l.Settings()
	old.Nodes[0].Taints = append(old.Nodes[0].Taints, fleet.Taint{Key: "mine"})
	old.Workloads[0].Scaler.Min = 99
	old.Pods[0].Ready = false
	l.equal("the cluster", l.Settings(), before)
	l.must(l.act(fleet.Action{Verb: fleet.Exclude, Node: "a", Run: "r"}))
	l.DeletePod(old.Pods[1].Ref)
	l.wait(2 * time.Second)
	l.equal("labels", old.Nodes[0].Labels[excludeLabel], "")
	l.equal("target", old.Pods[1].Targets[0].State, fleet.TargetHealthy)
	select {
	case <-l.Changed():
	default:
		t.Error("nobody told of the change")
	}
}

// TestManyHandsAtOnce: however many ask at the same time, the budget lets as many go as it says.
func TestManyHandsAtOnce(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(3)
	l.must(l.Protect(BudgetSpec{Name: "web/api", Match: app, MaxUnavailable: "4"}))
	o := l.apply(deployment("api", 12))
	l.rest()
	var went atomic.Int32
	var work sync.WaitGroup
	for _, p := range l.Pods(o) {
		work.Go(func() {
			if l.evictPod(p) == nil {
				went.Add(1)
			}
		})
	}
	work.Wait()
	l.equal("went", went.Load(), 4)
	l.equal("evictions", len(l.Ledger().Evictions), 4)
}

func TestPublishedProgressIsWhereTheNextProcessGoesOn(t *testing.T) {
	l := newLab(t, Options{})
	rec := fleet.RotationRecord{Run: "r", At: start}
	l.must(l.act(fleet.Action{Verb: fleet.Record, Rotation: &rec}))
	l.must(l.Publish(t.Context(), fleet.Progress{Run: "r", Moved: 7, Exceptions: []string{"x"}}))
	l.must(l.act(fleet.Action{Verb: fleet.Record, Rotation: &rec}))
	got := l.Records()[0]
	l.equal("moved", got.Moved, 7)
	l.equal("exceptions", got.Exceptions, []string{"x"})
	p, ok := l.Progress("r")
	l.equal("progress", []any{p.Moved, ok}, []any{7, true})
}
