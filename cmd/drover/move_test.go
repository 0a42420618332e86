package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/engine"
	"drover.dev/evac"
	"drover.dev/fleet"
)

// movePlan is what drover move shows for a pod.
func movePlan(t *testing.T, s *fleet.Snapshot, name string) string {
	t.Helper()
	p, findings, err := planMove(s, name, evac.Options{Run: "r-20261121-120000-abc"})
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	if !evac.Blocked(findings) {
		p.Forecast = foreseen(&p)
	}
	d := describe(&p, findings, "cluster shop")
	d.Hash = "0123456789ab"
	var b strings.Builder
	planTable(&b, &d)
	return b.String()
}

// foreseen is the beginning of a forecast, as it is of a pod of a store and of one of none.
func foreseen(p *evac.Plan) evac.Forecast {
	ref := p.Pods[0]
	evict := evac.Event{After: 5 * time.Second, Action: fleet.Action{Verb: fleet.Evict, Pod: ref, Node: p.Moves[0].From, Why: "a person asked for it"}}
	if !strings.HasPrefix(p.Moves[0].Why, "mover ") {
		return evac.Forecast{Took: 15 * time.Second, Events: []evac.Event{evict}}
	}
	return evac.Forecast{Took: 28 * time.Second, Events: []evac.Event{
		{Action: fleet.Action{Verb: fleet.Engage, Store: "shop/orders", Pod: ref, Node: p.Moves[0].From, Why: "a person asked for it"}},
		{Action: fleet.Action{Verb: fleet.Switch, Store: "shop/orders", Pod: ref, Peer: fleet.PodRef{Namespace: "shop", Name: "orders-replica-0"}, Why: "the pod with the role has to leave, or the role goes home"}},
		evict,
		{After: 28 * time.Second, Action: fleet.Action{Verb: fleet.Disengage, Store: "shop/orders", Pod: ref, Why: "everything is as it was"}},
	}}
}

func TestMovePlan(t *testing.T) {
	s := shop()
	addOrders(&s)
	golden(t, "testdata/move-master.txt", movePlan(t, &s, "shop/orders-master-0"))
	golden(t, "testdata/move-plain.txt", movePlan(t, &s, "api-0"))
}

func TestMovePlanDocument(t *testing.T) {
	s := shop()
	addOrders(&s)
	p, findings, err := planMove(&s, "orders-master-0", evac.Options{Run: "r-1"})
	if err != nil {
		t.Fatal(err)
	}
	p.Forecast = foreseen(&p)
	d := describe(&p, findings, "cluster shop")
	if len(d.Stores) != 1 || !slices.Equal(d.Stores[0].Pods, []string{"orders-master-0"}) || len(d.Stores[0].Handovers) != 1 || len(d.Steps) != 4 || !strings.HasPrefix(d.Steps[1].Action, "switch master") {
		t.Errorf("got %+v", d)
	}
}

// A store that is not in order moves nothing: the plan says what to mend, and blocks.
func TestMovePlanBlocks(t *testing.T) {
	s := shop()
	st := addOrders(&s)
	st.Members[1].Link = false
	text := movePlan(t, &s, "orders-master-0")
	if !strings.Contains(text, "blocks  store-unsound  store shop/orders: replica orders-replica-0 is not in sync") || !strings.Contains(text, "→ mend that first") || strings.Contains(text, "Forecast") {
		t.Error(text)
	}
	st.Trouble = "annotation drover.dev/linger is wrong"
	if text := movePlan(t, &s, "orders-master-0"); !strings.Contains(text, "blocks  store-trouble  store shop/orders: annotation drover.dev/linger is wrong") {
		t.Error(text)
	}
	if text := movePlan(t, &s, "nope"); !strings.Contains(text, "error: pod nope: not found") {
		t.Error(text)
	}
}

// The rest of a move that a process began which is gone: under the same run, for the same pod, also when that pod is not there any more.
func TestMoveGoesOn(t *testing.T) {
	s := shop()
	st := addOrders(&s)
	m := begun(&s, st, "orders-master-0", "r-dead")
	p, findings, err := planMove(&s, "orders-master-0", evac.Options{Run: "r-new"})
	if err != nil || len(findings) > 0 || p.Run != "r-dead" || !p.Resumed || !p.At.Equal(m.Since) || p.Pods[0] != m.Pod {
		t.Fatalf("%+v, %v, %v", p, findings, err)
	}
	if step := evac.Next(p, s); len(step.Actions) == 0 || step.Actions[0].Run != "r-dead" || step.Actions[0].Store != "shop/orders" {
		t.Errorf("does not go on with the store: %v, %v", step.Actions, step.Holds)
	}
	if err := overtaken(&s, &p); err != nil {
		t.Errorf("nothing happened: %v", err)
	}
	st.Move.Pod.UID = "uid-before" // evicted, and back under its name
	p, _, err = planMove(&s, "shop/orders-master-0", evac.Options{Run: "r-new"})
	if err != nil || p.Run != "r-dead" || p.Pods[0].UID != "uid-before" {
		t.Fatalf("%+v, %v", p, err)
	}
	if step := evac.Next(p, s); step.Done || len(step.Actions)+len(step.Holds) == 0 {
		t.Errorf("half a move is called done: %+v", step)
	}
	if err := overtaken(&s, &p); err != nil {
		t.Errorf("nothing happened: %v", err)
	}
	st.Move = nil
	blocked(t, overtaken(&s, &p), "run r-dead was finished by another process")
}

// Runs that have a command of their own are left to it.
func TestMoveLeavesOthersRuns(t *testing.T) {
	s := shop()
	st := addOrders(&s)
	m := begun(&s, st, "orders-master-0", fleet.NoticeRun)
	_, _, err := planMove(&s, "orders-master-0", evac.Options{Run: "r-new"})
	blocked(t, err, "it goes on with: drover controller")
	m.Idle = false
	_, _, err = planMove(&s, "orders-master-0", evac.Options{Run: "r-new"})
	blocked(t, err, "drover controller is moving it already")
	m.Run, m.Idle = "r-rotation", true
	s.Rotations = []fleet.RotationRecord{{Run: "r-rotation", Groups: []fleet.GroupRecord{{Name: "web"}, {Name: "api"}}}}
	_, _, err = planMove(&s, "orders-master-0", evac.Options{Run: "r-new"})
	blocked(t, err, "it goes on with: drover rotate web api")
	if p, _, err := planMove(&s, "orders-replica-0", evac.Options{Run: "r-new"}); err != nil || p.Run != "r-new" || len(p.Notes) != 2 || !strings.Contains(p.Notes[0], "is in the middle of moving pod shop/orders-master-0") {
		t.Errorf("another pod of the store: %+v, %v", p, err)
	}
}

// A temporary pod may hold the only copy of slots: no --force evicts it.
func TestMoveOfATemporaryPod(t *testing.T) {
	s := shop()
	st := addOrders(&s)
	temp := pod("orders-master-0-drover", s.Nodes[2].Name)
	temp.Owner, temp.Budgets = fleet.Owner{}, nil
	s.Pods = append(s.Pods, temp)
	st.Members = append(st.Members, fleet.Member{Pod: temp.Ref, Node: temp.Node, Temp: true, Ready: true, Role: fleet.RoleMaster})
	m := begun(&s, st, "orders-master-0", "r-1")
	for _, tc := range []struct {
		move *fleet.StoreMove
		idle bool
		says string
	}{
		{m, true, "it is drover's temporary pod of store shop/orders, and goes with the move of pod shop/orders-master-0, which goes on with: drover move shop/orders-master-0"},
		{m, false, "which run r-1 makes now"},
		{nil, false, "left by a move that is over"},
	} {
		if st.Move = tc.move; st.Move != nil {
			st.Move.Idle = tc.idle
		}
		_, _, err := planMove(&s, temp.Ref.String(), evac.Options{Run: "r-2", Force: true})
		blocked(t, err, tc.says)
	}
}

func TestPodsThatWentWhileSomebodyWasAsked(t *testing.T) {
	s := shop()
	st := addOrders(&s)
	p, _, err := planMove(&s, "orders-replica-0", evac.Options{Run: "r-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := overtaken(&s, &p); err != nil {
		t.Errorf("nothing happened: %v", err)
	}
	begun(&s, st, "orders-replica-0", "r-2").Idle = false
	blocked(t, overtaken(&s, &p), "while you were asked, run r-2 began to move pod shop/orders-replica-0; nothing was done")
	st.Move = nil
	for i := range s.Pods {
		if s.Pods[i].Ref == p.Pods[0] {
			s.Pods[i].Ref.UID = "uid-another"
		}
	}
	blocked(t, overtaken(&s, &p), "pod shop/orders-replica-0 went")
}

// Whoever stops hears what state is left in the store.
func TestHalfWay(t *testing.T) {
	s := shop()
	st := addOrders(&s)
	begun(&s, st, "orders-master-0", "r-1")
	st.Members[0].Fence = fleet.Fence{Replicas: 1, Lag: 2}
	got := halfWay(&s, "r-1")
	want := "Store shop/orders is half way with pod shop/orders-master-0 (orders-master-0 takes writes only with 1 replica within 2 s); next: switch master of shop/orders from shop/orders-master-0 to shop/orders-replica-0."
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %q", got)
	}
	if got := halfWay(&s, "r-2"); len(got) > 0 {
		t.Errorf("another run's: %q", got)
	}
}

func TestNamesOfPods(t *testing.T) {
	for _, tc := range []struct{ pod, namespace, want, err string }{
		{"orders-0", "", "orders-0", ""},
		{"orders-0", "shop", "shop/orders-0", ""},
		{"shop/orders-0", "", "shop/orders-0", ""},
		{"shop/orders-0", "shop", "shop/orders-0", ""},
		{"shop/orders-0", "blue", "", "pod shop/orders-0 is not in namespace blue"},
	} {
		got, err := inNamespace(tc.pod, tc.namespace)
		var coded *exit
		if got != tc.want || (tc.err == "") != (err == nil) || err != nil && (err.Error() != tc.err || !errors.As(err, &coded) || coded.code != exitUsage) {
			t.Errorf("%s in %q: %q, %v", tc.pod, tc.namespace, got, err)
		}
	}
}

func TestLedgerOfAMove(t *testing.T) {
	var errs bytes.Buffer
	a := &app{err: &errs, color: "never"}
	p := evac.Plan{Pods: []fleet.PodRef{{Name: "a"}}, Resumed: true, Forecast: evac.Forecast{Took: 20 * time.Second}}
	a.printLedger(&p, engine.Ledger{}, 25*time.Second)
	p.Forecast.Took = 0
	a.printLedger(&p, engine.Ledger{}, 25*time.Second)
	if got := errs.String(); got != "Done in 25s (forecast 20s): 1 pod moved.\nDone in 25s: 1 pod moved.\n" {
		t.Errorf("got %q", got)
	}
}
