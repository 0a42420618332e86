package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"drover.dev/engine"
	"drover.dev/evac"
	"drover.dev/fleet"
)

func TestOptionsAreWhatWasTyped(t *testing.T) {
	r := rotation{olderThan: 24 * time.Hour, surge: "25%", canary: 10 * time.Minute, bake: time.Hour, probes: []string{"https://shop.example.com/healthz"}}
	c, o, err := r.parse(noon)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Before.Equal(noon.Add(-24*time.Hour)) || o.Surge != (evac.Surge{Percent: 25}) || o.Canary != 10*time.Minute || o.Bake != time.Hour || len(o.Probes) != 1 {
		t.Errorf("criterion %v, options %+v", c, o)
	}
	if o.Requester != requester() || !strings.Contains(o.Requester, "@") {
		t.Errorf("requester %q", o.Requester)
	}
	r.requester = "pipeline 7"
	if _, o, _ = r.parse(noon); o.Requester != "pipeline 7" {
		t.Errorf("requester %q, want what was typed", o.Requester)
	}
}

// What is asked for while a run is under way is that run or nothing.
func TestGoOnRefuses(t *testing.T) {
	rec := fleet.RotationRecord{Run: "r-1", Groups: []fleet.GroupRecord{{Name: "web"}, {Name: "api"}}}
	back := rec
	back.Intent = fleet.Back
	for _, tc := range []struct {
		rec    fleet.RotationRecord
		groups []string
		says   string
	}{
		{fleet.RotationRecord{Run: "r-0", Groups: rec.Groups[:1], Intent: fleet.Back}, []string{"web"}, "somebody deleted the record of run r-0 on group web: all that is left to do with it is to take it back: drover abort web"},
		{back, []string{"web"}, "run r-1 is being taken back; drover abort web goes on with that"},
		{rec, []string{"web", "batch"}, "run r-1 is under way on groups web, api, without group batch; finish it first: drover rotate web api"},
	} {
		_, err := (&app{err: io.Discard}).goOn(t.Context(), nil, &fleet.Snapshot{Rotations: []fleet.RotationRecord{rec}}, &tc.rec, tc.groups)
		var coded *exit
		if !errors.As(err, &coded) || coded.code != exitBlocked || err.Error() != tc.says {
			t.Errorf("%v: got %v", tc.groups, err)
		}
	}
}

type saying struct {
	name string
	why  string // "" when healthy
}

func (s saying) Name() string                       { return s.name }
func (s saying) Ask(context.Context) (bool, string) { return s.why == "", s.why }

func TestBadProbeBlocksARunFromTheBeginning(t *testing.T) {
	found := ask(t.Context(), []engine.Prober{saying{"shop", ""}, saying{"errors", "the query returns {} 3"}})
	if len(found) != 1 || !found[0].Blocks || found[0].Code != codeProbe || found[0].Subject != "health probe errors" {
		t.Errorf("got %+v", found)
	}
}

func TestMoreCountsTheSurgeAndWholeCopies(t *testing.T) {
	s := shop()
	p, _ := planned(t, &s, evac.Options{Surge: evac.Surge{Count: 2}})
	if got := more(&s, &p); len(got) != 1 || got["web"] != 2 {
		t.Errorf("got %v, want 2 for web", got)
	}
	p.Groups[0].Managed = true
	if got := more(&s, &p); got["web"] != 3 {
		t.Errorf("got %v, want the whole group again", got)
	}
}
