package fast

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cluster"
)

type lab struct {
	*World
	t    testing.TB
	hand *CloudHand
}

func newLab(t testing.TB, o Options) *lab {
	t.Helper()
	w := New(o)
	return &lab{w, t, w.CloudHand()}
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) equal(what string, got, want any) {
	l.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		l.t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func (l *lab) refused(err error, words string) {
	l.t.Helper()
	var r *fleet.Refused
	if !errors.As(err, &r) || !strings.Contains(r.Reason, words) {
		l.t.Fatalf("got %v, want a refusal with %q", err, words)
	}
}

// settle waits until everything is there and runs.
func (l *lab) settle() {
	l.t.Helper()
	if !l.Await(time.Hour, l.Settled) {
		l.t.Fatalf("not settled after an hour:\n%s", l.Settings())
	}
}

func (l *lab) observe() fleet.Snapshot {
	l.t.Helper()
	s := fleet.Snapshot{Now: l.Now()}
	var err error
	s.Groups, err = l.hand.Groups(context.Background(), nil)
	l.must(err)
	l.must(l.ClusterHand().Observe(context.Background(), &s))
	return s
}

func (l *lab) group(name string) *fleet.Group {
	l.t.Helper()
	s := l.observe()
	g := s.Group(name)
	if g == nil {
		l.t.Fatalf("no group %s", name)
	}
	return g
}

// act has the right hand carry an action out.
func (l *lab) act(a fleet.Action) error {
	if a.Verb.Cloud() {
		return l.hand.Act(context.Background(), a)
	}
	return l.ClusterHand().Act(context.Background(), a)
}

func deployment(name string, replicas int) cluster.Spec {
	return cluster.Spec{
		Owner: fleet.Owner{Kind: "Deployment", Namespace: "web", Name: name}, Replicas: replicas, Requests: fleet.Resources{CPU: 200, Memory: 256 << 20},
	}
}
