package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
	"drover.dev/kube"
)

func TestWayBack(t *testing.T) {
	s := during(t, evac.Options{Bake: time.Hour}, 10)
	g := s.Group("web")
	g.Instances[1].Lifecycle = fleet.OnStandby
	g.Instances = append(g.Instances[:2:2], g.Instances[3:]...) // the third old node is closed
	rec := s.Rotations[0]
	rec.Paused = &fleet.Pause{By: "grace@example"}
	j, err := planBack(nil, &s, &rec)
	if err != nil {
		t.Fatal(err)
	}
	if !j.plan.Back() || rec.Intent == fleet.Back {
		t.Error("the plan does not go back, or the record was changed")
	}
	w := wayBackOf(&s, &j.plan)
	if w.parked() != 1 {
		t.Errorf("%d in Standby, want 1", w.parked())
	}
	var b strings.Builder
	w.print(&b, &rec, "cluster shop, account 000000000000, eu-west-1")
	golden(t, "testdata/way-back.txt", b.String())
}

func TestNothingGoesBackWhileEverythingIsStopped(t *testing.T) {
	s := during(t, evac.Options{}, 5)
	s.Stopped = &fleet.Pause{By: "grace@example", Why: "incident"}
	_, err := planBack(nil, &s, &s.Rotations[0])
	var coded *exit
	if !errors.As(err, &coded) || coded.code != exitBlocked || !strings.Contains(err.Error(), "paused by grace@example: incident; drover resume --all first") {
		t.Errorf("got %v", err)
	}
}

func TestWaitsForAnotherProcessButNotForEver(t *testing.T) {
	for _, tc := range []struct {
		name  string
		busy  int // tries until the lease is free
		tries int
		ok    bool
	}{{"free at once", 0, 1, true}, {"stops soon", 3, 4, true}, {"never stops", 1000, 5, false}} {
		clock := noon
		tries := 0
		err := patiently(othersStop, func() time.Time { return clock }, func(told bool) error {
			clock = clock.Add(10 * time.Second)
			if told != (tries > 0) {
				t.Errorf("%s: told %v at try %d", tc.name, told, tries)
			}
			if tries++; tries <= tc.busy {
				return &kube.Busy{Holder: "another"}
			}
			return nil
		})
		if (err == nil) != tc.ok || tries > tc.tries {
			t.Errorf("%s: %v after %d tries", tc.name, err, tries)
		}
	}
}

func TestChoose(t *testing.T) {
	a := &fleet.RotationRecord{Run: "r-1", Groups: []fleet.GroupRecord{{Name: "web"}, {Name: "api"}}}
	b := &fleet.RotationRecord{Run: "r-2", Groups: []fleet.GroupRecord{{Name: "batch"}}}
	for _, tc := range []struct {
		runs []*fleet.RotationRecord
		name string
		want *fleet.RotationRecord
		err  string
	}{
		{[]*fleet.RotationRecord{a, b}, "api", a, ""},
		{[]*fleet.RotationRecord{a, b}, "r-2", b, ""},
		{[]*fleet.RotationRecord{a}, "", a, ""},
		{[]*fleet.RotationRecord{a, b}, "", nil, "which run? Name it or one of its groups; under way: r-1 (groups web, api), r-2 (group batch)"},
		{[]*fleet.RotationRecord{a}, "nope", nil, "nope: no run of that id or on that group is under way; under way: r-1 (groups web, api)"},
		{nil, "", nil, "no run is under way"},
		{nil, "web", nil, "web: no run of that id or on that group is under way; under way: none"},
	} {
		got, err := choose(tc.runs, tc.name)
		if got != tc.want || tc.err != "" && (err == nil || err.Error() != tc.err) {
			t.Errorf("%q: got %v, %v; want %v, %s", tc.name, got, err, tc.want, tc.err)
		}
	}
}
