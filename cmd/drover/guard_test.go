package main

import (
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
		if got, r := guardedPod(s, "shop", tc.name, tc.holds); got == nil || *got != tc.want || r != ref(tc.name) {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
	for _, name := range []string{"orders-2", "orders"} {
		if got, _ := guardedPod(s, "shop", name, nil); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got, _ := guardedPod(s, "stage", "orders-0", nil); got != nil {
		t.Errorf("in another namespace: %+v", got)
	}
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
