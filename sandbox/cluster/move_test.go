package cluster

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"drover.dev/fleet"
)

// processes notes what starts and ends.
type processes struct{ told []string }

func (x *processes) Start(p fleet.Pod, part Part, volume string) {
	x.told = append(x.told, fmt.Sprintf("start %s on %s %s %s temp=%t", p.Ref.Name, p.Node, part.Store, volume, part.Temp))
}

func (x *processes) Stop(p fleet.Pod, graceful bool) {
	x.told = append(x.told, fmt.Sprintf("stop %s graceful=%t", p.Ref.Name, graceful))
}

// take returns what was told since the last time.
func (x *processes) take() []string {
	out := x.told
	x.told = nil
	return out
}

// ring is a lab with a store of two pods with volumes, each on a node of its own.
func ring(t *testing.T) (*lab, *processes, fleet.Owner) {
	x := &processes{}
	l := newLab(t, Options{Processes: x})
	l.nodes(3)
	s := deployment("ring", 2)
	s.Owner.Kind, s.OwnDisk, s.Parallel = "StatefulSet", true, true
	s.Apart = []fleet.PodTerm{{Match: fleet.Term{{Key: "app", Operator: "In", Values: []string{"ring"}}}, Topology: hostLabel}}
	s.Part = &Part{Store: "web/ring", Mover: fleet.ClusterMover, Port: 6379, Pinned: true, Declared: fleet.StoreSpec{Port: 6379, Floor: 1}}
	o := l.apply(s)
	l.wait(time.Minute)
	return l, x, o
}

func (l *lab) store(name string) fleet.Store {
	l.t.Helper()
	var s fleet.Snapshot
	l.must(l.Observe(context.Background(), &s))
	if st := s.Store(name); st != nil {
		return *st
	}
	return fleet.Store{}
}

func TestStoreIsItsPods(t *testing.T) {
	l, _, o := ring(t)
	st := l.store("web/ring")
	l.equal("mover, replicas, floor", []any{st.Mover, st.Spec.Replicas, st.Spec.Floor, st.Confirmed}, []any{fleet.ClusterMover, 2, 1, true})
	p := l.Pods(o)[1]
	i := slices.IndexFunc(st.Members, func(m fleet.Member) bool { return m.Pod == p.Ref })
	if i < 0 || len(st.Members) != 2 {
		t.Fatalf("members: %+v", st.Members)
	}
	m := st.Members[i]
	l.equal("member", []any{m.Node, m.Host, m.Known, m.Ready, m.Pinned, m.Temp}, []any{p.Node, p.IP, []string{p.IP + ":6379"}, true, true, false})
}

func TestProcessLivesAsLongAsItsPod(t *testing.T) {
	l, x, o := ring(t)
	pods := l.Pods(o)
	l.equal("began", len(x.take()), 2)
	l.must(l.evictPod(pods[0]))
	l.wait(0)
	l.equal("SIGTERM", x.take(), []string{"stop ring-0 graceful=true"})
	l.wait(time.Minute)
	again := l.Pods(o)[slices.IndexFunc(l.Pods(o), func(p fleet.Pod) bool { return p.Ref.Name == "ring-0" })]
	l.equal("back on its volume", x.take(), []string{"start ring-0 on " + again.Node + " web/ring pv-web-ring-0 temp=false"})
	if again.IP == pods[0].IP {
		t.Error("it has its old address again")
	}
	l.KillNode(again.Node)
	l.equal("its machine goes off", x.take(), []string{"stop ring-0 graceful=false"})
	l.must(l.Crash(pods[1].Ref))
	l.equal("crash", x.take(), []string{"stop ring-1 graceful=false"})
	l.wait(crashBack)
	l.equal("in its place", x.take(), []string{"start ring-1 on " + pods[1].Node + " web/ring pv-web-ring-1 temp=false"})
	l.must(l.Strike(pods[1].Ref))
	l.equal("struck", x.take(), []string{"stop ring-1 graceful=false"})
}

func TestMoveIsClaimed(t *testing.T) {
	l, _, o := ring(t)
	pods := l.Pods(o)
	engage := func(run string, p fleet.Pod, m fleet.StoreMove) error {
		m.Run, m.Pod = run, p.Ref
		return l.act(fleet.Action{Verb: fleet.Engage, Run: run, Store: "web/ring", Move: &m})
	}
	l.Attend("r-1")
	l.must(engage("r-1", pods[0], fleet.StoreMove{ID: "a", Home: true, Prior: []fleet.Setting{{Pod: "ring-0", Priority: 100}}}))
	l.must(engage("r-1", pods[0], fleet.StoreMove{ID: "a", Home: true, Switches: 1, Prior: []fleet.Setting{{Pod: "ring-0", Priority: 1}, {Pod: "ring-1", Priority: 50}}}))
	m := l.store("web/ring").Move
	l.equal("what was before stays", m.Prior, []fleet.Setting{{Pod: "ring-0", Priority: 100}, {Pod: "ring-1", Priority: 50}})
	l.equal("idle", m.Idle, false)
	l.refused(engage("r-2", pods[0], fleet.StoreMove{}), "run r-1 moves pod web/ring-0")
	l.Attend("r-2")
	l.equal("idle", l.store("web/ring").Move.Idle, true)
	l.must(engage("r-2", pods[0], fleet.StoreMove{}))
	m = l.store("web/ring").Move
	l.equal("taken over", []any{m.Run, m.ID, m.Home, m.Switches}, []any{"r-2", "a", true, 1})
	l.refused(l.act(fleet.Action{Verb: fleet.Disengage, Run: "r-1", Store: "web/ring"}), "is of run r-2")
	for range 2 {
		l.must(l.act(fleet.Action{Verb: fleet.Disengage, Run: "r-2", Store: "web/ring"}))
	}
	l.equal("moves", len(l.Moves()), 0)
}

func TestTemporaryPod(t *testing.T) {
	l, x, o := ring(t)
	pods := l.Pods(o)
	var free string
	for _, n := range []string{"a", "b", "c"} {
		if n != pods[0].Node && n != pods[1].Node {
			free = n
		}
	}
	lend := fleet.Action{Verb: fleet.Lend, Run: "r-1", Store: "web/ring", Pod: pods[0].Ref, Peer: fleet.PodRef{Namespace: "web", Name: "ring-0-drover"}, Avoid: []string{pods[0].Node, free}}
	l.refused(l.act(lend), "no move of it on file")
	l.must(l.act(fleet.Action{Verb: fleet.Engage, Run: "r-1", Store: "web/ring", Move: &fleet.StoreMove{Run: "r-1", Pod: pods[0].Ref}}))
	x.take()
	for range 2 {
		l.must(l.act(lend))
	}
	l.wait(time.Minute)
	st := l.store("web/ring")
	i := slices.IndexFunc(st.Members, func(m fleet.Member) bool { return m.Temp })
	if i < 0 || len(st.Members) != 3 {
		t.Fatalf("members: %+v", st.Members)
	}
	temp := st.Members[i]
	l.equal("on the only node that it may", []any{temp.Node, temp.Ready, temp.Pinned, st.Spec.Replicas}, []any{pods[1].Node, true, false, 2})
	l.equal("its process", x.take(), []string{"start ring-0-drover on " + temp.Node + " web/ring emptyDir of " + temp.Pod.UID + " temp=true"})
	l.refused(l.act(fleet.Action{Verb: fleet.Unlend, Run: "r-1", Store: "web/ring", Pod: pods[0].Ref}), "no temporary pod")
	l.must(l.act(fleet.Action{Verb: fleet.Unlend, Run: "r-1", Store: "web/ring", Pod: temp.Pod}))
	l.refused(l.act(lend), "still shutting down")
	l.wait(time.Minute)
	l.equal("members", len(l.store("web/ring").Members), 2)
	l.must(l.act(lend))
	l.must(l.act(fleet.Action{Verb: fleet.Disengage, Run: "r-1", Store: "web/ring"}))
	l.wait(time.Minute)
	l.equal("it goes with the move", len(l.store("web/ring").Members), 2)
}

func TestHooksAndAsking(t *testing.T) {
	l, _, o := ring(t)
	p := l.Pods(o)[0]
	call := fleet.Action{Verb: fleet.Call, Run: "r-1", Store: "web/ring", Hook: fleet.HookPre, Pod: p.Ref}
	l.must(l.act(call))
	l.Answer(func(store, hook string, pod fleet.PodRef) error {
		return &fleet.Refused{Reason: fmt.Sprintf("%s of %s in %s: exit code 1", hook, store, pod)}
	})
	l.refused(l.act(call), "pre-move of web/ring in web/ring-0: exit code 1")
	l.must(l.Ask(p.Ref, "alice"))
	l.must(l.Ask(p.Ref, "bob"))
	l.equal("who asked first", l.Pods(o)[0].Asked.By, "alice")
	l.must(l.Strike(p.Ref))
	l.refused(l.act(call), "does not run")
}
