package main

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"drover.dev/engine"
	"drover.dev/fleet"
	"drover.dev/metrics"
)

func scrape(m *meter) string {
	w := httptest.NewRecorder()
	m.set.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func line1(text, begins string) string {
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, begins) {
			return strings.TrimSpace(l)
		}
	}
	return begins + ": no such series"
}

func TestMeterAHungLeaderIsNotHealthy(t *testing.T) {
	m := newMeter(metrics.New("x"))
	m.lead(true)
	m.at = time.Now().Add(-time.Hour)                                   // no tick for an hour
	m.note(engine.Note{Err: errors.New("receive messages: no answer")}) // one of four receivers has trouble
	if m.healthy() == nil {
		t.Error("no look at the fleet for an hour, and healthy")
	}
}

func TestMeterGaugesOfAFormerLeader(t *testing.T) {
	m := newMeter(metrics.New("x"))
	m.lead(true)
	m.see(engine.View{At: time.Now(), Exits: []fleet.ExitProgress{{Phase: fleet.ExitEmptying, Departure: fleet.Departure{Instance: "i-1"}}}, Holds: []fleet.Hold{{Subject: "node a"}},
		Cases: []fleet.Case{{Departure: fleet.Departure{Instance: "i-1"}, Opened: time.Now()}}})
	m.lead(false)
	text := scrape(m)
	for _, s := range []string{`drover_cases{phase="emptying"`, `drover_holds{class="node"}`} {
		if l := line1(text, s); strings.HasSuffix(l, " 1") {
			t.Errorf("leads no more, and says for ever: %s", l)
		}
	}
	t.Log(line1(text, "drover_cases"), line1(text, "drover_holds{"))
}

func TestMeterMarginOfANodeThatWasNotInTime(t *testing.T) {
	m := newMeter(metrics.New("x"))
	now := time.Now()
	c := fleet.Case{Departure: fleet.Departure{Instance: "i-1", Deadline: now.Add(2 * time.Minute)}, Opened: now}
	look := func(after time.Duration, phase fleet.ExitPhase, pods int) {
		m.see(engine.View{At: now.Add(after), Cases: []fleet.Case{c}, Exits: []fleet.ExitProgress{{Departure: c.Departure, Phase: phase, Pods: pods}}})
	}
	look(time.Second, fleet.ExitEmptying, 3)
	look(119*time.Second, fleet.ExitEmptying, 3)
	look(125*time.Second, fleet.ExitGone, 3) // the machine went with three pods on it
	c.Marks.Ended, c.Marks.End = now.Add(126*time.Second), "gone"
	look(127*time.Second, fleet.ExitGone, 0)
	if l := line1(scrape(m), "drover_case_deadline_margin_seconds_count"); strings.HasSuffix(l, " 0") {
		t.Errorf("a machine went with its pods, and the alert's metric knows nothing: %s", l)
	}
}

func TestMeterTimeToShutOfAScheduledChange(t *testing.T) {
	m := newMeter(metrics.New("x"))
	now := time.Now()
	c := fleet.Case{Departure: fleet.Departure{Instance: "i-1", Deadline: now.Add(30 * time.Minute)}, Opened: now.Add(-14 * 24 * time.Hour)}
	m.see(engine.View{At: now, Cases: []fleet.Case{c}, Exits: []fleet.ExitProgress{{Departure: c.Departure, Phase: fleet.ExitEmptying}}})
	if l := line1(scrape(m), "drover_time_to_shut_seconds_sum"); !strings.HasSuffix(l, " 0") {
		t.Errorf("shut as soon as it pressed: %s", l)
	}
}

func TestMeterPoisonIsNoFate(t *testing.T) {
	m := newMeter(metrics.New("x"))
	m.hear(engine.Heard{Fate: engine.Poison})
	if l := line1(scrape(m), `drover_notices_total{fate="poison"`); strings.Contains(l, "no such") {
		t.Error(l)
	}
}

func TestMeterADeniedHeartbeatIsNoFailure(t *testing.T) {
	m := newMeter(metrics.New("x"))
	a := fleet.Action{Verb: fleet.Heartbeat}
	m.note(engine.Note{Action: &a, Err: &fleet.Refused{Reason: "AWS refuses: AccessDenied: not you; grant drover that permission", Wait: time.Minute, Denied: true}})
	if l := line1(scrape(m), `drover_hook_heartbeats_total{result="failed"}`); strings.Contains(l, "no such") {
		t.Errorf("docs/notices.md alerts on result=failed for AccessDenied; it counts as: %s", line1(scrape(m), `drover_hook_heartbeats_total{`))
	}
}
