package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/env"
	"drover.dev/fleet"
)

func (s *stage) says(words ...string) {
	s.t.Helper()
	for _, w := range words {
		if !strings.Contains(s.out.String(), w) {
			s.t.Errorf("it does not say %q:\n%s", w, s.out)
		}
	}
}

// A stop and a start, as people see them: everything is as it was, and production has noticed nothing.
func TestEnvStopAndStart(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		before := s.settings()
		s.must(s.switches(t.Context(), false, switching{why: "nobody works"}))
		if s.state() != "asleep" {
			t.Fatalf("it is %s:\n%s", s.state(), s.out)
		}
		s.says("environment staging goes off", "phase    switching workloads off", "turn Deployment staging/web off", "phase    stopping databases", "environment staging is off", "It stays off until somebody says otherwise.")
		if w := s.environment().Wish; w == nil || w.On || w.By != "ada@example" || w.Why != "nobody works" {
			t.Errorf("wish %+v", w)
		}
		s.out.Reset()
		pause(t.Context(), 2*time.Hour)
		s.must(s.switches(t.Context(), true, switching{}))
		s.says("environment staging goes on", "0→2 nodes", "phase    starting databases and nodes", "turn Deployment staging/api on", "environment staging is on", "saved     ", "exceptions  none")
		e := s.environment()
		if s.state() != "on" || len(e.Sleeps) != 1 {
			t.Fatalf("it is %s after %d sleeps:\n%s", s.state(), len(e.Sleeps), s.out)
		}
		if after := s.settings(); after != before {
			t.Errorf("it is not as before:\n%s\nwas\n%s", after, before)
		}
		s.out.Reset()
		s.must(s.switches(t.Context(), true, switching{}))
		s.says("Nothing to do: it is on")
	})
}

// What is asked for is written down before anything else, with its end.
func TestEnvStartForAWhile(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.must(s.switches(t.Context(), false, switching{}))
		s.out.Reset()
		s.must(s.switches(t.Context(), true, switching{lasts: 3 * time.Hour}))
		s.says("It stays on until ", "is switched off then, where drover controller runs")
		w := s.environment().Wish
		if w == nil || !w.On || w.Until.Sub(w.At) != 3*time.Hour {
			t.Errorf("wish %+v", w)
		}
		e := s.environment()
		if now := env.Want(&e, w.Until); now.On {
			t.Errorf("after its end: %+v", now)
		}
	})
}

// Ctrl-C ends after the actions in flight; the same command goes on, and so does the opposite one.
func TestEnvStopIsInterruptedAndTakenBack(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		before := s.settings()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			pause(t.Context(), 8*time.Second)
			cancel()
		}()
		err := s.switches(ctx, false, switching{})
		codeIs(t, err, exitInterrupted, "The same command goes on from here; drover env start staging takes it back.")
		if s.state() != "stopping" {
			t.Fatalf("it is %s", s.state())
		}
		s.must(s.switches(t.Context(), true, switching{}))
		if s.state() != "on" || s.settings() != before {
			t.Errorf("it is %s, and\n%s\nwas\n%s", s.state(), s.Settings(), before)
		}
	})
}

func TestEnvStopInTime(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		err := s.switches(t.Context(), false, switching{run: running{timeout: 10 * time.Second}})
		codeIs(t, err, exitTimeout, "not done within 10s. Environment staging is stopping")
		s.must(s.switches(t.Context(), false, switching{}))
		s.says("This is under way already")
		if s.state() != "asleep" {
			t.Errorf("it is %s", s.state())
		}
	})
}

// Who wishes the opposite meanwhile ends the run that is under way, and goes the other way from there.
func TestEnvStartTakesOver(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		ended := make(chan error, 1)
		go func() { ended <- s.switches(t.Context(), false, switching{}) }()
		pause(t.Context(), 8*time.Second)
		other := *s
		other.app = &app{in: strings.NewReader(""), out: &strings.Builder{}, err: &strings.Builder{}, color: "never"}
		room := other.newRoom()
		room.Options.By = "grace@example"
		r := switching{run: running{yes: true, wait: true}}
		j, err := room.prepare(t.Context(), "staging", true, &r)
		s.must(err)
		s.must(other.app.carrySwitch(t.Context(), j, &r.run))
		codeIs(t, <-ended, exitTakenBack, "grace@example wishes environment staging to be on")
		if s.state() != "on" {
			t.Errorf("it is %s", s.state())
		}
	})
}

// A guard that says no leaves everything as it is, the wish included.
func TestEnvStopIsBlocked(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.Connect("instance stg", fleet.Session{User: "ann", From: "192.0.2.7", App: "psql"})
		pause(t.Context(), 10*time.Second)
		before := s.settings()
		err := s.switches(t.Context(), false, switching{})
		codeIs(t, err, exitBlocked, "nothing was done")
		s.says("env-sessions", "user ann from 192.0.2.7", "--force env-sessions")
		if s.environment().Wish != nil || s.settings() != before {
			t.Errorf("something was done: %+v\n%s", s.environment().Wish, s.Settings())
		}
		s.must(s.switches(t.Context(), false, switching{forced: []string{"env-sessions"}}))
		if s.state() != "asleep" || !slices.Contains(s.environment().Record.Forced, "env-sessions") {
			t.Errorf("it is %s", s.state())
		}
	})
}

// The lease is somebody else's: what is asked for stays written, and a controller that leads is watched.
func TestEnvStopWhileOthersAct(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.desk.holder = func() string { return "build-7, pid 4711 (0a1b)" }
		err := s.switches(t.Context(), false, switching{})
		codeIs(t, err, exitTimeout, "what you ask for is written on environment staging, and holds; another drover is acting on this cluster: build-7")
		if s.environment().Wish == nil || s.state() != "on" {
			t.Fatalf("wish %+v, it is %s", s.environment().Wish, s.state())
		}
		s.desk.leader = "controller-1"
		controller := s.newRoom()
		go controller.Watch(t.Context())
		s.must(s.switches(t.Context(), false, switching{}))
		s.says("the controller does this when its turn comes. Watching.", "environment staging is off")
		if s.state() != "asleep" {
			t.Errorf("it is %s", s.state())
		}
	})
}

func TestEnvStopLeavesItToTheController(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.desk.leader = "controller-1"
		room := s.newRoom()
		r := switching{lasts: time.Hour, run: running{yes: true}}
		j, err := room.prepare(t.Context(), "staging", false, &r)
		s.must(err)
		s.must(s.app.carrySwitch(t.Context(), j, &r.run))
		s.says("the controller (controller-1) does it", "drover env status staging -w")
		if w := s.environment().Wish; w == nil || w.On || s.state() != "on" {
			t.Errorf("wish %+v, it is %s", w, s.state())
		}
	})
}

// An Environment in a file is planned with as if it were applied, and applied before it is switched.
func TestEnvStopOfAFile(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.Cluster.Undeclare("staging", true)
		all, wrong := parsed(stagingFile)
		if len(wrong) > 0 {
			t.Fatal(wrong)
		}
		room := s.newRoom()
		room.declare(&envFile{source: "file staging.yaml", text: []byte(stagingFile), environments: all})
		r := switching{run: running{yes: true, wait: true}}
		j, err := room.prepare(t.Context(), "staging", false, &r)
		s.must(err)
		if _, there := s.Cluster.Environment("staging"); there || j.blocked() {
			t.Fatalf("planning has written it, or is blocked: %+v", j.findings)
		}
		s.must(s.app.carrySwitch(t.Context(), j, &r.run))
		if s.state() != "asleep" {
			t.Errorf("it is %s", s.state())
		}
	})
}

// While a person thinks, the world goes on: what became more than the plan said is not done.
func TestEnvPlanThatBecameMore(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		room := s.newRoom()
		r := switching{run: running{yes: true, wait: true}}
		j, err := room.prepare(t.Context(), "staging", false, &r)
		s.must(err)
		j.plan.Record.Parts = slices.DeleteFunc(j.plan.Record.Parts, func(p fleet.PartRecord) bool { return p.Name == "api" })
		before := s.settings()
		err = s.app.carrySwitch(t.Context(), j, &r.run)
		codeIs(t, err, exitBlocked, "the plan became more than you have seen: Deployment staging/api")
		if s.settings() != before {
			t.Errorf("something was done:\n%s", s.Settings())
		}
		r.run.expect = "000000000000"
		codeIs(t, s.app.carrySwitch(t.Context(), j, &r.run), exitBlocked, "--expect-plan says 000000000000")
	})
}

func codeIs(t *testing.T, err error, code int, words string) {
	t.Helper()
	var coded *exit
	if !errors.As(err, &coded) || coded.code != code || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want exit code %d with %q", err, code, words)
	}
}

// Who looks on is told what changes, until it is as it should be.
func TestEnvStatusFollowsAStop(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.must(s.Cluster.Wish("staging", &fleet.Wish{By: "ada@example", At: s.Now()}))
		room := s.newRoom()
		d, err := room.status(t.Context(), "staging")
		s.must(err)
		controller := s.newRoom()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go controller.Watch(ctx)
		s.must(s.app.followStatus(t.Context(), room, d))
		s.says("state    stopping", "phase    ", "object   Deployment staging/web: 0, ", "database instance stg: stopped", "Environment staging is asleep, as it should be.")
		_, err = room.status(t.Context(), "qa")
		if err == nil || err.Error() != "environment qa: there is none of that name here; there are: staging" {
			t.Error(err)
		}
	})
}
