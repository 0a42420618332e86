package evac

import (
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

// podNamed finds a pod.
func podNamed(s *fleet.Snapshot, name string) *fleet.Pod {
	for i := range s.Pods {
		if s.Pods[i].Ref.Name == name {
			return &s.Pods[i]
		}
	}
	return nil
}

// lines are a step's actions and holds, one each.
func lines(step Step) string {
	var out []string
	for _, a := range step.Actions {
		out = append(out, a.String())
	}
	for _, h := range step.Holds {
		out = append(out, "hold "+h.String())
	}
	return strings.Join(out, "\n")
}

// The controller moves pods of stores that somebody asked for, and no others: whoever asks for those can evict them.
func TestAskedPods(t *testing.T) {
	s := web()
	seed(&s)
	podNamed(&s, replica).Asked = &fleet.Asked{At: s.Now, By: "kubectl drain by alice"}
	podNamed(&s, "worker-0").Asked = &fleet.Asked{At: s.Now, By: "somebody"}
	got := lines(waves(&s, fleet.UsualPolicy))
	if want := "engage store shop/orders: pod shop/redis-replica-0 is to leave node-1"; got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	moved(&s.Stores[0], replica).Run = fleet.NoticeRun
	s.Stores[0].Move.Home = false
	if got, want := lines(waves(&s, fleet.UsualPolicy)), "evict pod shop/redis-replica-0 from node-1"; got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}

// What nobody carries on, the controller does; what somebody does, it leaves alone.
func TestIdleMoves(t *testing.T) {
	s := web()
	st := seed(&s)
	moved(st, replica)
	if got := lines(waves(&s, fleet.UsualPolicy)); got != "" {
		t.Fatal(got)
	}
	st.Move.Idle = true
	got := waves(&s, fleet.UsualPolicy)
	if len(got.Actions) != 1 || got.Actions[0].Verb != fleet.Engage || got.Actions[0].Move.Run != fleet.NoticeRun {
		t.Fatal(lines(got))
	}
}

// A pod that another operator moves is asked for in its way, once, and goes when that operator is done.
func TestCourtedPods(t *testing.T) {
	s := web()
	p := podNamed(&s, "store-0")
	p.Courted = &fleet.Courted{Operator: "CloudNativePG", Leads: true, Signal: "make node-0 unschedulable", Awaits: "CloudNativePG to promote another instance"}
	p.Asked = &fleet.Asked{At: s.Now, By: "karpenter"}
	want := "tell CloudNativePG that pod default/store-0 has to leave node-0\nhold pod default/store-0: stays on node-0: waits for CloudNativePG to promote another instance"
	if got := lines(waves(&s, fleet.UsualPolicy)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	p.Courted.Signal = ""
	if got, _, _ := strings.Cut(lines(waves(&s, fleet.UsualPolicy)), "\n"); !strings.HasPrefix(got, "hold pod default/store-0") {
		t.Error(got)
	}
	p.Courted = &fleet.Courted{Operator: "CloudNativePG", Go: true}
	if got := lines(waves(&s, fleet.UsualPolicy)); got != "evict pod default/store-0 from node-0" {
		t.Error(got)
	}
}

// One pod by hand: its keeper's steps, and done when the store is at rest again.
func TestMovePods(t *testing.T) {
	s := web()
	st := seed(&s)
	ref := podNamed(&s, master).Ref
	p, found := MakePods(&s, []fleet.PodRef{ref}, Options{Run: "m-1"})
	if Blocked(found) {
		t.Fatal(found)
	}
	if got := lines(Next(p, s)); got != "engage store shop/orders: pod shop/redis-master-0 is to leave node-0" {
		t.Error(got)
	}
	moved(st, master).Run = "m-1"
	over(st)
	reborn(&s, master).Link = false
	if step := Next(p, s); step.Done || len(step.Holds) != 1 {
		t.Errorf("done %v: %s", step.Done, lines(step))
	}
	st.Move = nil
	if step := Next(p, s); !step.Done {
		t.Errorf("not done: %s", lines(step))
	}
	st.Sentinels[1].NoQuorum = "too few"
	if p, found := MakePods(&s, []fleet.PodRef{podNamed(&s, replica).Ref}, Options{}); !Blocked(found) || !strings.Contains(found[0].String(), "too few") {
		t.Error(p, found)
	}
}

// scripted makes the StatefulSet of web a store of one mover.
func scripted(s *fleet.Snapshot, mover fleet.Mover) *fleet.Store {
	st := fleet.Store{Name: "default/store", Mover: mover, Confirmed: true, Spec: fleet.StoreSpec{Replicas: 3, Leader: fleet.Requirement{Key: "role", Operator: "In", Values: []string{"leader"}}}}
	for i := range s.Pods {
		if p := &s.Pods[i]; p.Owner.Name == "store" {
			st.Members = append(st.Members, fleet.Member{Pod: p.Ref, Node: p.Node, Ready: true})
		}
	}
	s.Stores = append(s.Stores, st)
	return &s.Stores[0]
}

func TestLeaderLast(t *testing.T) {
	s := web()
	st := scripted(&s, fleet.LeaderMover)
	podNamed(&s, "store-0").Labels = map[string]string{"role": "leader"}
	if got := steps(&s, 0, "store-0", "store-1"); got != "engage store-1" {
		t.Error(got)
	}
	if got := steps(&s, 0, "store-0"); got != "engage store-0" {
		t.Error(got)
	}
	st.Members[2].Ready = false
	if got := steps(&s, 0, "store-0"); got != "hold: stays on node-0: store default/store: pod store-2 is not ready" {
		t.Error(got)
	}
}

func TestScript(t *testing.T) {
	s := web()
	st := scripted(&s, fleet.ScriptMover)
	st.Spec.Hooks = map[string]string{fleet.HookPre: "exec: prepare", fleet.HookReady: "http://:8080/ready", fleet.HookPost: "exec: after"}
	m := moved(st, "store-1")
	for _, c := range []struct {
		hooked string
		left   time.Duration
		want   string
	}{{"", 0, "call store-1 exec: prepare"}, {fleet.HookPre, 0, "free store-1"}, {"", time.Minute, "free store-1"}} {
		if m.Hooked = nil; c.hooked != "" {
			m.Hooked = []string{c.hooked}
		}
		if got := steps(&s, c.left, "store-1"); got != c.want {
			t.Errorf("%v: got %s, want %s", c, got, c.want)
		}
	}
	m.Hooked = []string{fleet.HookPre}
	p := podNamed(&s, "store-1")
	p.Ref.UID = "uid-new"
	st.Members[1].Pod = p.Ref
	for _, want := range []string{"call store-1 http://:8080/ready", "call store-1 exec: after", "disengage store-1"} {
		if got := steps(&s, 0); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		m.Hooked = append(m.Hooked, map[int]string{1: fleet.HookReady, 2: fleet.HookPost}[len(m.Hooked)])
	}
}
