package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"drover.dev/admit"
	"drover.dev/engine"
	"drover.dev/fleet"
	"drover.dev/kube"
)

func TestGuardUsage(t *testing.T) {
	offline(t)
	for args, says := range map[string]string{
		"--guard --guard-listen=":                  "--guard-listen: the guard needs an address",
		"--guard --guard-hold 5s":                  "--guard-hold: 5s is less than 30s",
		"--guard --guard-on-timeout never":         `--guard-on-timeout: "never" is neither allow nor block`,
		"--guard=maybe":                            `invalid argument "maybe" for "--guard"`,
		"--guard --guard-hold 1m --region":         "flag needs an argument",
		"--guard-hold 5s --guard-on-timeout never": "no region", // what is off is not looked at
	} {
		var out, errs strings.Builder
		code := run(append([]string{"controller"}, strings.Fields(args)...), strings.NewReader(""), &out, &errs)
		if code == 0 || !strings.Contains(errs.String(), says) {
			t.Errorf("drover controller %s: exit code %d:\n%s", args, code, errs.String())
		}
	}
}

// What drover writes on its own evictions is what the guard lets through.
func TestGuardKnowsOwnEvictions(t *testing.T) {
	if admit.RunKey != kube.RunAnnotation {
		t.Errorf("the guard looks for %s, kube writes %s", admit.RunKey, kube.RunAnnotation)
	}
}

func TestGuardedPod(t *testing.T) {
	ref := func(name string) fleet.PodRef { return fleet.PodRef{Namespace: "shop", Name: name, UID: "u-" + name} }
	began := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	member := func(names ...string) (out []fleet.Member) {
		for _, n := range names {
			out = append(out, fleet.Member{Pod: ref(n)})
		}
		return out
	}
	asked := &fleet.Asked{At: began, By: "alice"}
	s := &fleet.Snapshot{
		Pods: []fleet.Pod{
			{Ref: ref("orders-0"), Asked: asked}, {Ref: ref("orders-1"), Terminating: true}, {Ref: ref("watch-0")}, {Ref: ref("web-0"), Finished: true}, {Ref: ref("guess-0")}, {Ref: ref("odd-0")},
			{Ref: ref("pg-1"), Courted: &fleet.Courted{Operator: "CloudNativePG", Leads: true, Awaits: "CloudNativePG to promote another instance"}},
			{Ref: ref("pg-2"), Courted: &fleet.Courted{Operator: "CloudNativePG", Go: true}},
			{Ref: ref("kafka-0"), Courted: &fleet.Courted{Operator: "Strimzi", Signal: "annotate the pod"}},
		},
		Stores: []fleet.Store{
			{Name: "shop/guess", Mover: fleet.SentinelMover, Members: member("guess-0")},
			{Name: "shop/odd", Confirmed: true, Trouble: "annotation drover.dev/mover is sentinal", Members: member("odd-0")},
			{Name: "shop/orders", Mover: fleet.SentinelMover, Confirmed: true, Members: member("orders-0", "orders-1"), Sentinels: []fleet.Sentinel{{Pod: ref("watch-0")}},
				Move: &fleet.StoreMove{Pod: ref("orders-0"), Since: began}},
		},
	}
	holds := []fleet.Hold{{Subject: "store shop/orders", Reason: "moves pod orders-0: waits"}, {Subject: "pod shop/orders-0", Reason: "its replica is behind"}, {Subject: "pod shop/web-0", Reason: "no"}}
	for _, tc := range []struct {
		name  string
		holds []fleet.Hold
		want  admit.Pod
	}{
		{"orders-0", holds, admit.Pod{Mover: "sentinel", Store: "shop/orders", Asked: asked, Step: "its replica is behind"}},
		{"orders-0", nil, admit.Pod{Mover: "sentinel", Store: "shop/orders", Asked: asked, Step: "its move began at 2026-11-22T03:00:00Z"}},
		{"orders-1", holds, admit.Pod{Mover: "sentinel", Store: "shop/orders", Over: true, Step: "moves pod orders-0: waits"}},
		{"watch-0", nil, admit.Pod{Mover: "sentinel", Store: "shop/orders", Step: "waits for the move of pod orders-0, which began at 2026-11-22T03:00:00Z"}},
		{"web-0", holds, admit.Pod{Over: true}},
		{"guess-0", holds, admit.Pod{}},
		{"odd-0", holds, admit.Pod{Mover: "a mover that is not known", Store: "shop/odd", Trouble: "annotation drover.dev/mover is sentinal"}},
		{"pg-1", holds, admit.Pod{Mover: "CloudNativePG", Step: "waits for CloudNativePG to promote another instance"}},
		{"pg-2", holds, admit.Pod{Mover: "CloudNativePG", Free: true}},
		{"kafka-0", holds, admit.Pod{Mover: "Strimzi", Step: "is to annotate the pod"}},
	} {
		tc.want.UID = "u-" + tc.name
		if got := guardedPod(s, "shop", tc.name, tc.holds); got == nil || *got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
	for _, name := range []string{"orders-2", "orders"} {
		if got := guardedPod(s, "shop", name, nil); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := guardedPod(s, "stage", "orders-0", nil); got != nil {
		t.Errorf("in another namespace: %+v", got)
	}
}

// glimpse is a cluster of which informers show less than there is.
type glimpse struct {
	seen  fleet.Snapshot
	live  *kube.Look
	err   error
	looks int
	asked []fleet.PodRef
	took  []fleet.PodRef // back
}

func (w *glimpse) Observe(_ context.Context, s *fleet.Snapshot) error {
	s.Nodes, s.Pods, s.Stores = w.seen.Nodes, w.seen.Pods, w.seen.Stores
	return nil
}

func (w *glimpse) Look(context.Context, string, string) (*kube.Look, error) {
	w.looks++
	return w.live, w.err
}

func (w *glimpse) Ask(_ context.Context, pod fleet.PodRef, _ string, _ time.Time) error {
	w.asked = append(w.asked, pod)
	return nil
}

func (w *glimpse) Unask(_ context.Context, pod fleet.PodRef) error {
	w.took = append(w.took, pod)
	return nil
}

// What would let a master go, or send its drain away, is read live: informers and the guard's own glance are a moment old, and so is a drain.
func TestGuardLooksAgain(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	orders := func(uid string) fleet.Pod {
		return fleet.Pod{Ref: fleet.PodRef{Namespace: "shop", Name: "orders-0", UID: uid}, Node: "n-2", Created: now.Add(-5 * time.Minute)}
	}
	look := func(uid string, n fleet.Node) *kube.Look {
		return &kube.Look{Pod: orders(uid), Node: &n, Store: "shop/orders", Mover: fleet.SentinelMover}
	}
	free := fleet.Node{Name: "n-2", Ready: true}
	cordoned, tainted := free, free
	cordoned.Cordoned = true
	tainted.Taints = []fleet.Taint{{Key: "example.com/draining", Effect: fleet.NoSchedule}}
	preferred := free
	preferred.Taints = []fleet.Taint{{Key: "example.com/slow", Effect: fleet.PreferNoSchedule}}
	going := func(w *glimpse) { w.seen.Pods[0].Terminating = true }
	unseen := func(w *glimpse) { w.seen.Pods, w.seen.Stores = nil, nil }
	web := &kube.Look{Pod: orders("u-new"), Node: &free}
	for _, tc := range []struct {
		name  string
		e     admit.Eviction
		seen  func(*glimpse)
		live  *kube.Look
		err   error
		want  admit.Verdict
		looks int
	}{
		{"its node was cordoned a moment ago", admit.Eviction{}, nil, look("u", cordoned), nil, admit.Held, 1},
		{"its node was tainted by another's tool", admit.Eviction{}, nil, look("u", tainted), nil, admit.Held, 1},
		{"its node is gone", admit.Eviction{}, nil, &kube.Look{Pod: orders("u"), Store: "shop/orders"}, nil, admit.Held, 1},
		{"nobody drains its node", admit.Eviction{}, nil, look("u", free), nil, admit.Moved, 1},
		{"its node is only a bad choice", admit.Eviction{}, nil, look("u", preferred), nil, admit.Moved, 1},
		{"nobody can tell", admit.Eviction{}, nil, nil, errors.New("timeout"), admit.Held, 1},
		{"it was seen to be cordoned", admit.Eviction{}, func(w *glimpse) { w.seen.Nodes[0].Cordoned = true }, nil, nil, admit.Held, 0},
		{"it was seen to be tainted", admit.Eviction{}, func(w *glimpse) { w.seen.Nodes[0].Taints = tainted.Taints }, nil, nil, admit.Held, 0},
		{"it has gone", admit.Eviction{}, nil, nil, nil, admit.Passed, 1},
		{"its successor, by a UID that was not seen", admit.Eviction{UID: "u-new"}, nil, look("u-new", cordoned), nil, admit.Held, 1},
		{"its successor, by a UID that nobody can look for", admit.Eviction{UID: "u-new"}, nil, nil, errors.New("timeout"), admit.Failed, 1},
		{"it was seen to go, and nobody can look", admit.Eviction{}, going, nil, errors.New("timeout"), admit.Failed, 1},
		{"a UID of long ago", admit.Eviction{UID: "u-old"}, nil, look("u", cordoned), nil, admit.Passed, 1},
		{"its successor, while it was seen to go", admit.Eviction{}, going, look("u-new", cordoned), nil, admit.Held, 1},
		{"it goes", admit.Eviction{}, going, &kube.Look{Pod: fleet.Pod{Ref: orders("u").Ref, Terminating: true}, Store: "shop/orders"}, nil, admit.Passed, 1},
		{"not seen yet", admit.Eviction{}, unseen, look("u", cordoned), nil, admit.Held, 1},
		{"not seen yet, of no store", admit.Eviction{}, unseen, web, nil, admit.Passed, 1},
		{"drover's own", admit.Eviction{Run: "r-1"}, nil, nil, nil, admit.Own, 0},
	} {
		members := []fleet.Member{{Pod: orders("u").Ref}}
		w := &glimpse{live: tc.live, err: tc.err, seen: fleet.Snapshot{
			Nodes: []fleet.Node{free}, Pods: []fleet.Pod{orders("u")}, Stores: []fleet.Store{{Name: "shop/orders", Mover: fleet.SentinelMover, Confirmed: true, Members: members}}}}
		if tc.seen != nil {
			tc.seen(w)
		}
		g := &guardian{world: w, bound: func(fleet.PodRef) admit.Bound { return admit.Bound{Hold: 10 * time.Minute, OnTimeout: admit.Allow} }, leader: func(context.Context) (string, error) { return "x", nil }}
		g.guard = &admit.Guard{Pod: g.pod, Ask: g.ask, Now: func() time.Time { return now }}
		tc.e.Namespace, tc.e.Name, tc.e.By = "shop", "orders-0", "kubectl"
		d := admit.Decision{Verdict: admit.Failed} // which is what Guard makes of an error
		if p, err := g.pod(t.Context(), tc.e); err == nil {
			d = admit.Decide(tc.e, p, now)
		}
		if d.Verdict != tc.want || w.looks != tc.looks {
			t.Errorf("%s: %+v after %d looks, want %s after %d", tc.name, d, w.looks, tc.want, tc.looks)
		}
	}
	w := &glimpse{err: errors.New("timeout")}
	g := &guardian{world: w}
	g.guard = &admit.Guard{Now: func() time.Time { return now }}
	if p, err := g.pod(t.Context(), admit.Eviction{Namespace: "shop", Name: "orders-0"}); err == nil {
		t.Errorf("of a pod that nobody can look up it is known that %+v", p)
	}
}

// The same trouble is told once.
func TestGuardTellsOnce(t *testing.T) {
	var said []string
	o := once{say: func(_ string, err error) { said = append(said, err.Error()) }}
	for _, text := range []string{"no right", "no right", "", "no right", "no webhook", "no webhook"} {
		var err error
		if text != "" {
			err = errors.New(text)
		}
		o.tell(err)
	}
	if got := strings.Join(said, ", "); got != "no right, no right, no webhook" {
		t.Errorf("said %s", got)
	}
}

// Whoever asks anew is noted in the place of what is of no use.
func TestGuardAsksAnew(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	ref := fleet.PodRef{Namespace: "shop", Name: "orders-0", UID: "u"}
	w := &glimpse{seen: fleet.Snapshot{Pods: []fleet.Pod{{Ref: ref}}}}
	g := &guardian{world: w}
	g.guard = &admit.Guard{Now: func() time.Time { return now }}
	ask := func(pod fleet.PodRef, taken int) {
		t.Helper()
		if err := g.ask(t.Context(), pod, "alice", now); err != nil || len(w.took) != taken || w.asked[len(w.asked)-1] != pod {
			t.Errorf("asked of %v, after %v was taken back: %v", w.asked, w.took, err)
		}
		now = now.Add(glanceFor)
	}
	ask(ref, 0)
	w.seen.Pods = []fleet.Pod{{Ref: ref, Asked: &fleet.Asked{At: now.Add(-21 * 24 * time.Hour), By: "bob"}}}
	ask(ref, 1)
	ask(fleet.PodRef{Namespace: "shop", Name: "orders-0", UID: "not seen yet"}, 2)
}

// What the engine of this process says counts while it leads, and not long after.
func TestGuardSeesWhatTheEngineSees(t *testing.T) {
	g := &guardian{}
	passed := 0
	see := g.seeing(func(engine.View) { passed++ })
	now := time.Now()
	if got := g.holds(now); got != nil {
		t.Errorf("before anything was seen: %v", got)
	}
	see(engine.View{At: now, Holds: []fleet.Hold{{Subject: "store shop/orders", Reason: "waits"}}})
	if got := g.holds(now.Add(viewFor - time.Second)); len(got) != 1 || passed != 1 {
		t.Errorf("%v, passed on %d times", got, passed)
	}
	if got := g.holds(now.Add(viewFor)); got != nil {
		t.Errorf("long after: %v", got)
	}
	var none *guardian
	none.close()
	none.keep(t.Context())
	none.seeing(func(engine.View) { passed++ })(engine.View{})
	if passed != 2 {
		t.Error("without a guard nothing is seen")
	}
}

func TestGuardStatus(t *testing.T) {
	since, until := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2028, 11, 1, 0, 0, 0, 0, time.UTC)
	for want, s := range map[string]guardStatus{
		"The eviction guard is off.": {},
		"The eviction guard is on, and answers; its CA is valid from 2026-11-01 to 2028-11-01.":                                         {On: true, Answers: true, Since: since, Until: until},
		"The eviction guard is on, and does not answer: evictions go past it. no route; its CA is valid from 2026-11-01 to 2028-11-01.": {On: true, Why: "no route", Since: since, Until: until},
	} {
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
