package main

import (
	"strings"
	"testing"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

func TestStatus(t *testing.T) {
	s := during(t, evac.Options{Bake: time.Hour}, 8)
	r := &s.Rotations[0]
	r.Paused = &fleet.Pause{By: "grace@example", Why: "checkout is slow", At: s.Now}
	r.Marks.Baking = s.Now.Add(-20 * time.Minute)
	d := statusOf(&s, "cluster shop, account 000000000000, eu-west-1")
	d.Acting = "build-7, pid 4711 (0a1b)"
	var b strings.Builder
	statusTable(&b, &d)
	golden(t, "testdata/status.txt", b.String())
}

func TestStatusTellsOfAStopAndOfALostRecord(t *testing.T) {
	s := during(t, evac.Options{}, 8)
	run := s.Rotations[0].Run
	s.Rotations, s.Stopped = nil, &fleet.Pause{By: "grace@example", Why: "incident", At: s.Now}
	d := statusOf(&s, "cluster shop")
	if len(d.Runs) != 1 || d.Runs[0].Run != run || d.Groups[0].Run != run || len(d.Drained) > 0 || !d.Runs[0].Lost {
		t.Errorf("the run that only marks tell of is not shown: %+v", d)
	}
	if d.Stopped != "paused by grace@example: incident" {
		t.Errorf("stopped: %q", d.Stopped)
	}
}

func TestStatusTellsOfMovesOfStores(t *testing.T) {
	s := shop()
	st := addOrders(&s)
	begun(&s, st, "orders-master-0", "r-20261121-115750-00a")
	for i := range s.Pods {
		if s.Pods[i].Ref.Name == "orders-sentinel-1" {
			s.Pods[i].Asked = &fleet.Asked{At: s.Now.Add(-time.Minute), By: "kubectl drain by alice (eviction refused by drover's guard)"}
		}
	}
	d := statusOf(&s, "cluster shop")
	var b strings.Builder
	statusTable(&b, &d)
	golden(t, "testdata/status-stores.txt", b.String())
}
