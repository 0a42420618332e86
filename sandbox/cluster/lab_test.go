package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// lab is a cluster on a virtual clock, with the words tests need.
type lab struct {
	*Cluster
	t     *testing.T
	clock *cloud.VirtualClock
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newLab(t *testing.T, o Options) *lab {
	t.Helper()
	clock := cloud.NewVirtualClock(start)
	o.Clock = clock
	return &lab{New(o), t, clock}
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// nodes adds Ready nodes a, b, c... of 4 cores, 16 GiB and 20 pods, in zones z1 to z3 by turns.
func (l *lab) nodes(n int) {
	l.t.Helper()
	for i := range n {
		l.must(l.AddNode(fleet.Node{
			Name: string(rune('a' + i)), Ready: true, Zone: fmt.Sprintf("z%d", i%3+1), Room: fleet.Resources{CPU: 4000, Memory: 16 << 30, Pods: 20},
		}))
	}
}

func deployment(name string, replicas int) Spec {
	return Spec{Owner: fleet.Owner{Kind: "Deployment", Namespace: "web", Name: name}, Replicas: replicas, Requests: fleet.Resources{CPU: 500, Memory: 1 << 30}}
}

func (l *lab) apply(s Spec) fleet.Owner {
	l.t.Helper()
	l.must(l.Apply(s))
	return s.Owner
}

func (l *lab) wait(d time.Duration) { l.clock.Advance(d) }

// rest lets everything happen that will ever happen.
func (l *lab) rest() {
	l.t.Helper()
	for range 100_000 {
		at, ok := l.clock.Next()
		if !ok {
			return
		}
		l.clock.Advance(at.Sub(l.clock.Now()))
	}
	l.t.Fatal("the cluster never comes to rest")
}

func (l *lab) act(a fleet.Action) error { return l.Act(context.Background(), a) }

func (l *lab) evictPod(p fleet.Pod) error {
	return l.act(fleet.Action{Verb: fleet.Evict, Pod: p.Ref, Node: p.Node})
}

// refused checks that err is a refusal with these words.
func (l *lab) refused(err error, words string) {
	l.t.Helper()
	var r *fleet.Refused
	if !errors.As(err, &r) || !strings.Contains(r.Reason, words) {
		l.t.Fatalf("got %v, want a refusal with %q", err, words)
	}
}

func (l *lab) budget(name string) fleet.Budget {
	l.t.Helper()
	b, ok := l.Budget(name)
	if !ok {
		l.t.Fatalf("no budget %s", name)
	}
	return b
}

// says prints pods as tests compare them: name@node with the marks of their state.
func says(pods []fleet.Pod) string {
	var out []string
	for _, p := range pods {
		s := p.Ref.Name + "@" + p.Node
		for _, m := range []struct {
			on   bool
			word string
		}{{p.Ready, "+"}, {p.Terminating, "-"}, {p.Finished, "."}} {
			if m.on {
				s += m.word
			}
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func (l *lab) equal(what string, got, want any) {
	l.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		l.t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// nodesOf counts a workload's pods by node.
func (l *lab) nodesOf(o fleet.Owner) map[string]int {
	out := map[string]int{}
	for _, p := range l.Pods(o) {
		out[p.Node]++
	}
	return out
}
