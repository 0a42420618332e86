package cluster

import (
	"context"
	"testing"
	"time"

	"drover.dev/fleet"
)

// switching are the actions on one part, as a run of an environment asks for them.
func (l *lab) switching(verb fleet.Verb, was fleet.PartRecord) error {
	return l.act(fleet.Action{Verb: verb, Environment: "staging", Run: "s-1", Part: &was})
}

// recordOf is what a record would say of an object as it is now.
func (l *lab) recordOf(o fleet.Owner) fleet.PartRecord {
	p := l.partOf(o)
	return fleet.PartRecord{Turn: p.Turn, APIVersion: p.APIVersion, Owner: p.Owner, UID: p.UID, Value: p.Value, Absent: p.Absent}
}

func (l *lab) partOf(o fleet.Owner) fleet.Part {
	l.t.Helper()
	p, ok := l.PartOf(o)
	if !ok {
		l.t.Fatalf("no part %s", o)
	}
	return p
}

func TestPartIsSwitchedOffAndOn(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	o := l.apply(deployment("api", 3))
	l.rest()
	was := l.recordOf(o)

	l.must(l.switching(fleet.TurnOff, was))
	l.must(l.switching(fleet.TurnOff, was)) // already so
	l.rest()
	p := l.partOf(o)
	l.equal("off", []any{p.Value, p.Off, p.Pods, p.By}, []any{"0", true, 0, "drover"})
	l.equal("mark", p.Mark, fleet.PartMark{Environment: "staging", Run: "s-1", UID: was.UID, Value: "3"})
	l.refused(l.switching(fleet.Unmark, was), "still off")

	l.must(l.switching(fleet.TurnOn, was))
	l.rest()
	l.must(l.switching(fleet.Unmark, was))
	p = l.partOf(o)
	l.equal("on", []any{p.Value, p.Off, p.Ready, p.Mark}, []any{"3", false, 3, (*fleet.PartMark)(nil)})
}

func TestPartThatIsNotAsItWasIsLeftAlone(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	o := l.apply(deployment("api", 3))
	was := l.recordOf(o)

	l.must(l.WriteBy(o, "5", "kubectl"))
	l.refused(l.switching(fleet.TurnOff, was), "is at 5 by now, expected 3")

	l.must(l.WriteBy(o, "3", "kubectl"))
	l.must(l.act(fleet.Action{Verb: fleet.TurnOff, Environment: "qa", Run: "s-9", Part: &was}))
	l.refused(l.switching(fleet.TurnOff, was), "the mark of run s-9 of environment qa")
	l.refused(l.switching(fleet.TurnOn, was), "the mark of run s-9")
	l.must(l.switching(fleet.Unmark, was)) // the mark is not ours to take off
	l.equal("the other's mark", l.partOf(o).Mark.Run, "s-9")

	l.Delete(o)
	l.apply(deployment("api", 2))
	l.refused(l.switching(fleet.TurnOff, was), "is another object by now")
	l.must(l.switching(fleet.TurnOn, was))
	l.equal("another object under the name", l.partOf(o).Value, "2")
}

// What somebody else has switched off after the record was written gets the mark, and returns to what the record says.
func TestPartThatIsOffAlreadyGetsTheMarkOnly(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	o := l.apply(deployment("api", 3))
	was := l.recordOf(o)
	l.must(l.Scale(o, 0))
	l.must(l.switching(fleet.TurnOff, was))
	l.equal("mark", l.partOf(o).Mark.Value, "3")
	l.must(l.switching(fleet.TurnOn, was))
	l.equal("on", l.partOf(o).Value, "3")
}

func TestCronJobFiresUntilItIsSuspendedAndMakesUpOnce(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(1)
	o := fleet.Owner{Kind: "CronJob", Namespace: "web", Name: "report"}
	l.must(l.ApplyCron(CronSpec{Owner: o, Every: 10 * time.Minute, Runs: 2 * time.Minute}))
	jobs := func() int {
		n := 0
		for _, p := range l.Pods(fleet.Owner{}) {
			if p.Owner.Kind == "Job" && !p.Finished {
				n++
			}
		}
		return n
	}
	busy := func() []fleet.Busy {
		var s fleet.Snapshot
		l.must(l.ObserveEnvironments(context.Background(), &s))
		return s.Busy
	}
	l.wait(10*time.Minute + time.Second)
	l.equal("after 10 minutes", jobs(), 1)
	l.equal("busy", []any{len(busy()), busy()[0].Code, busy()[0].Owner}, []any{1, "env-jobs", o})

	was := l.recordOf(o)
	l.equal("was", []any{was.Turn, was.Value, was.Absent}, []any{fleet.Suspended, "", true})
	l.must(l.switching(fleet.TurnOff, was))
	l.wait(5 * time.Minute)
	l.equal("what ran has run to its end", jobs(), 0)
	l.wait(time.Hour)
	l.equal("suspended", []any{jobs(), len(busy())}, []any{0, 0})

	l.must(l.switching(fleet.TurnOn, was))
	l.wait(time.Second)
	l.equal("made up", jobs(), 1)
	l.equal("as it was", l.recordOf(o), was)
}

func TestAutoscalerIsOffAtZeroReplicas(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	s := deployment("api", 3)
	s.Scaler = &Scaler{Name: "api", Min: 2, Max: 5}
	o := l.apply(s)
	l.rest()
	was := l.recordOf(o)
	l.must(l.switching(fleet.TurnOff, was))
	l.wait(time.Hour)
	l.equal("off", l.partOf(o).Value, "0")
	was.Value = "9"
	l.must(l.switching(fleet.TurnOn, was))
	l.equal("on, within the autoscaler's bounds", l.partOf(o).Value, "5")
}

func TestKEDAScalesBackUnlessItIsPaused(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	o := l.apply(deployment("worker", 2))
	k := fleet.Owner{Kind: "ScaledObject", Namespace: "web", Name: "worker"}
	l.must(l.ApplyScaled(ScaledSpec{Owner: k, Scales: o, Min: 2, Max: 5}))
	l.must(l.WriteBy(o, "0", "kubectl"))
	l.wait(time.Minute)
	l.equal("not paused", []any{l.partOf(o).Value, l.partOf(o).By}, []any{"2", "keda-operator"})

	was := l.recordOf(k)
	l.equal("was", []any{was.Turn, was.Absent, l.partOf(k).Scales}, []any{fleet.Held, true, o})
	l.must(l.switching(fleet.TurnOff, was))
	l.wait(time.Minute)
	l.equal("paused at 0", []any{l.partOf(k).Value, l.partOf(o).Value}, []any{"0", "0"})
	l.must(l.WriteBy(o, "3", "kubectl"))
	l.wait(time.Minute)
	l.equal("still", l.partOf(o).Value, "0")

	l.must(l.switching(fleet.TurnOn, was))
	l.wait(time.Minute)
	l.equal("as it was", []any{l.recordOf(k), l.partOf(o).Value}, []any{was, "2"})
}

func TestGitOpsPutsBackUnlessItIsPaused(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	o := l.apply(deployment("api", 2))
	a := fleet.Owner{Kind: "Application", Namespace: "argocd", Name: "staging"}
	root := fleet.Owner{Kind: "Application", Namespace: "argocd", Name: "root"}
	l.must(l.ApplyApp(AppSpec{Owner: a, Keeps: []fleet.Owner{o}, After: 3 * time.Minute}))
	l.must(l.WriteBy(o, "0", "kubectl"))
	l.wait(5 * time.Minute)
	l.equal("put back", []any{l.partOf(o).Value, l.partOf(o).By, l.partOf(o).Apps}, []any{"2", "argocd-application-controller", []fleet.Owner{a}})

	was := l.recordOf(a)
	l.must(l.switching(fleet.TurnOff, was))
	l.must(l.WriteBy(o, "0", "kubectl"))
	l.wait(time.Hour)
	l.equal("paused", []any{l.partOf(a).Off, l.partOf(o).Value}, []any{true, "0"})

	l.must(l.ApplyApp(AppSpec{Owner: root, Keeps: []fleet.Owner{a}, After: time.Minute}))
	l.equal("the parent would", l.partOf(a).Reverts, "Application argocd/root keeps it as its repository says")
	l.wait(10 * time.Minute)
	l.equal("the parent took the pause back", []any{l.partOf(a).Off, l.partOf(o).Value, l.partOf(o).Apps}, []any{false, "2", []fleet.Owner{a, root}})
}

func TestPodCrashesWithoutWhatItNeeds(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	up := false
	l.Answering(func(id string) bool { return up && id == "instance stg" })
	s := deployment("api", 1)
	s.Needs = []string{"instance stg"}
	o := l.apply(s)
	w := deployment("web", 1)
	w.Needs, w.Start = []string{o.String()}, time.Minute
	web := l.apply(w)
	l.wait(30 * time.Second)
	l.equal("crashes", []any{l.partOf(o).Ready, l.Ledger().Missed[0].Need, l.Ledger().Missed[0].Served}, []any{0, "instance stg", false})
	up = true
	l.rest()
	l.equal("both came up", []any{l.partOf(o).Ready, l.partOf(web).Ready}, []any{1, 1})

	before := len(l.Ledger().Missed)
	up = false
	l.Recheck()
	l.equal("its database went", []any{l.partOf(o).Ready, len(l.Ledger().Missed) - before, l.Ledger().Missed[before].Served}, []any{0, 1, true})
	up = true
	l.rest()
	before = len(l.Ledger().Missed)
	l.must(l.WriteBy(o, "0", "drover"))
	l.wait(time.Minute)
	l.equal("what it needs was switched off under it", l.Ledger().Missed[before:], []Miss{{At: l.Ledger().Missed[before].At, Pod: l.Pods(web)[0].Ref, Workload: web, Need: o.String(), Served: true}})
}

func TestWebhookWithoutEndpointsBarsPods(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	hook := l.apply(deployment("hook", 1))
	l.must(l.ApplyService(ServiceSpec{Namespace: "web", Name: "hook", Selector: map[string]string{"app": "hook"}, Entry: true}))
	l.wait(time.Minute)
	l.AddBackend(BackendSpec{Backend: fleet.Backend{Kind: "ValidatingWebhookConfiguration", Name: "policy", Namespace: "web", Service: "hook", Blocks: "pods"}, Bars: true})
	var s fleet.Snapshot
	l.must(l.ObserveEnvironments(context.Background(), &s))
	l.equal("service", s.Services, []fleet.Service{{Namespace: "web", Name: "hook", Selector: map[string]string{"app": "hook"}, Endpoints: 1}})
	l.equal("backend", []any{len(s.Backends), l.partOf(hook).Entry}, []any{1, true})

	l.must(l.WriteBy(hook, "0", "kubectl"))
	l.wait(time.Minute)
	o := l.apply(deployment("api", 1))
	l.wait(time.Minute)
	l.equal("nothing is admitted", l.partOf(o).Pods, 0)
	l.must(l.WriteBy(hook, "1", "kubectl"))
	l.wait(time.Minute)
	l.equal("nor the webhook's own", l.partOf(hook).Pods, 0)
}

func TestRecordIsWrittenOnce(t *testing.T) {
	l := newLab(t, Options{})
	r := fleet.SleepRecord{Environment: "staging", Run: "s-1", Hash: "h", Parts: []fleet.PartRecord{{Turn: fleet.Scaled, Owner: deployment("api", 3).Owner, Value: "3"}}}
	remember := func(r fleet.SleepRecord) error {
		return l.act(fleet.Action{Verb: fleet.Remember, Environment: "staging", Run: r.Run, Sleep: &r})
	}
	l.refused(remember(r), "environment staging is gone")
	l.Declare("staging", fleet.EnvironmentSpec{Groups: []string{"web"}})
	l.must(remember(r))

	zero := r.Clone()
	zero.Parts[0].Value = "0"
	l.refused(remember(zero), "says something else of how its 1 parts were")
	less := r.Clone()
	less.Parts = nil
	l.refused(remember(less), "says something else")
	other := r.Clone()
	other.Run = "s-2"
	l.refused(remember(other), "of run s-1, not of s-2")

	more := r.Clone()
	more.Parts = append(more.Parts, fleet.PartRecord{Turn: fleet.Scaled, Owner: deployment("late", 1).Owner, Value: "1"})
	more.Marks.Off = l.clock.Now()
	l.must(remember(more))
	l.refused(remember(r), "says something else")

	l.Undeclare("staging", false)
	_, there := l.Environment("staging")
	l.equal("a finalizer holds it", there, true)
	conclude := fleet.Action{Verb: fleet.Conclude, Environment: "staging", Run: "s-1", Ended: &fleet.Sleep{Run: "s-1"}}
	l.must(l.act(conclude))
	_, there = l.Environment("staging")
	l.equal("then it goes", there, false)
	l.must(l.act(conclude))
}

func TestConcludedSleepIsHistory(t *testing.T) {
	l := newLab(t, Options{})
	l.Declare("staging", fleet.EnvironmentSpec{})
	l.must(l.Wish("staging", &fleet.Wish{On: true, Until: l.clock.Now()}))
	r := fleet.SleepRecord{Environment: "staging", Run: "s-1"}
	remember := fleet.Action{Verb: fleet.Remember, Environment: "staging", Run: "s-1", Sleep: &r}
	conclude := fleet.Action{Verb: fleet.Conclude, Environment: "staging", Run: "s-1", Ended: &fleet.Sleep{Run: "s-1", Awake: l.clock.Now()}}
	l.refused(l.act(conclude), "no record of a sleep")
	l.must(l.act(remember))
	l.must(l.act(conclude))
	l.must(l.act(conclude)) // already so
	e, _ := l.Environment("staging")
	l.equal("over", []any{e.Record == nil, len(e.Sleeps), e.Wish != nil}, []any{true, 1, true})
	l.refused(l.act(remember), "is over")
}

func TestPlacedWorkloadRollsWithoutAGap(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(4)
	for _, n := range []string{"c", "d"} {
		l.Label(n, "env", "stg")
		l.Taint(n, fleet.Taint{Key: "env", Value: "stg", Effect: fleet.NoSchedule})
	}
	o := l.apply(deployment("api", 3))
	l.must(l.Protect(BudgetSpec{Name: "web/api", MinAvailable: "3", Match: fleet.Term{{Key: "app", Operator: "In", Values: []string{"api"}}}}))
	l.rest()
	at := fleet.Placement{Owner: o, UID: l.partOf(o).UID, Labels: map[string]string{"env": "stg"}, Toleration: fleet.Toleration{Key: "env", Value: "stg", Effect: fleet.NoSchedule}}
	place := fleet.Action{Verb: fleet.Place, Placement: &at}
	l.must(l.act(place))
	l.equal("on its way", l.partOf(o).Rolled, false)
	l.rest()
	l.must(l.act(place)) // already so
	on := l.nodesOf(o)
	l.equal("rolled", []any{l.partOf(o).Rolled, l.partOf(o).Ready, on["c"] + on["d"]}, []any{true, 3, 3})
	l.equal("breaches", len(l.Ledger().Breaches), 0)

	other := at
	other.Labels = map[string]string{"env": "prod"}
	l.refused(l.act(fleet.Action{Verb: fleet.Place, Placement: &other}), "asks for nodes with env=stg already, not prod")
	other = at
	other.UID = "another"
	l.refused(l.act(fleet.Action{Verb: fleet.Place, Placement: &other}), "is another object")
}

func TestPlacedStatefulSetRollsOneByOne(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	l.Label("b", "env", "stg")
	for name, waits := range map[string]bool{"rolling": false, "on-delete": true} {
		s := deployment(name, 2)
		s.Owner.Kind, s.OnDelete, s.Selector = "StatefulSet", waits, map[string]string{hostLabel: "a"}
		if !waits {
			s.Selector = nil
		}
		o := l.apply(s)
		l.rest()
		l.must(l.act(fleet.Action{Verb: fleet.Place, Placement: &fleet.Placement{Owner: o, UID: l.partOf(o).UID, Labels: map[string]string{"env": "stg"}}}))
		l.rest()
		l.equal(name, []any{l.partOf(o).Rolled, l.partOf(o).OnDelete}, []any{!waits, waits})
	}
}

func TestMissingBudgetIsMadeOnce(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(1)
	l.apply(deployment("api", 2))
	l.rest()
	a := fleet.Action{Verb: fleet.MakeBudget, NewBudget: &fleet.NewBudget{Namespace: "web", Name: "api", Match: map[string]string{"app": "api"}, MaxUnavailable: 1}}
	l.must(l.act(a))
	a.NewBudget.MaxUnavailable = 2
	l.must(l.act(a)) // one of that name stays as it is
	l.equal("allowed", l.budget("web/api").Allowed, 1)
}

func TestSuspendedJobStopsAndBeginsAnew(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(1)
	s := deployment("import", 1)
	s.Owner.Kind, s.Runs = "Job", time.Hour
	o := l.apply(s)
	l.wait(10 * time.Minute)
	was := l.recordOf(o)
	l.equal("was", []any{was.Turn, was.Value}, []any{fleet.Suspended, "false"})
	l.must(l.switching(fleet.TurnOff, was))
	l.wait(2 * time.Hour)
	l.equal("suspended", []any{len(l.Pods(o)), l.partOf(o).Off}, []any{0, true})
	l.must(l.switching(fleet.TurnOn, was))
	l.must(l.switching(fleet.Unmark, was))
	l.wait(time.Minute)
	l.equal("begun anew", len(l.Pods(o)), 1)
	l.wait(2 * time.Hour)
	_, there := l.PartOf(o)
	l.equal("one that is over is no part", there, false)
}
