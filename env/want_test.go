package env_test

import (
	"strings"
	"testing"
	"time"

	"drover.dev/env"
	"drover.dev/fleet"
)

var week = []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}

func office() *fleet.Schedule {
	return &fleet.Schedule{Zone: "Europe/Vienna", On: []fleet.Window{{Days: week, From: "08:00", To: "19:00"}}}
}

func vienna(t *testing.T, at string) time.Time {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	out, err := time.ParseInLocation("2006-01-02 15:04", at, zone)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWant(t *testing.T) {
	wish := func(on bool, at, until string) *fleet.Wish {
		w := &fleet.Wish{On: on, By: "ada", At: vienna(t, at)}
		if until != "" {
			w.Until = vienna(t, until)
		}
		return w
	}
	for name, tc := range map[string]struct {
		e     fleet.Environment
		at    string
		on    bool
		known bool
		why   string
	}{
		"by day":                  {fleet.Environment{Spec: fleet.EnvironmentSpec{Schedule: office()}}, "2026-11-20 12:00", true, true, ""},
		"by night":                {fleet.Environment{Spec: fleet.EnvironmentSpec{Schedule: office()}}, "2026-11-20 22:00", false, true, ""},
		"nobody says":             {fleet.Environment{}, "2026-11-20 12:00", true, false, "no schedule"},
		"asleep, nobody says":     {fleet.Environment{Record: &fleet.SleepRecord{}}, "2026-11-20 12:00", false, false, "no schedule"},
		"protected":               {fleet.Environment{Spec: fleet.EnvironmentSpec{Protected: true, Schedule: office()}, Wish: wish(false, "2026-11-20 12:00", "")}, "2026-11-20 22:00", true, true, "protected"},
		"trouble":                 {fleet.Environment{Trouble: []string{"spec: x"}, Spec: fleet.EnvironmentSpec{Schedule: office()}}, "2026-11-20 22:00", false, false, "cannot be understood"},
		"bad zone":                {fleet.Environment{Spec: fleet.EnvironmentSpec{Schedule: &fleet.Schedule{Zone: "Mars/Base"}}}, "2026-11-20 22:00", false, false, "cannot be understood"},
		"lease":                   {fleet.Environment{Spec: fleet.EnvironmentSpec{Schedule: office()}, Wish: wish(true, "2026-11-20 22:00", "2026-11-21 01:00")}, "2026-11-20 23:00", true, true, "ada wants it on until"},
		"lease over":              {fleet.Environment{Spec: fleet.EnvironmentSpec{Schedule: office()}, Wish: wish(true, "2026-11-20 22:00", "2026-11-21 01:00")}, "2026-11-21 01:00", false, true, ""},
		"lease over, unplanned":   {fleet.Environment{Wish: wish(true, "2026-11-20 22:00", "2026-11-21 01:00")}, "2026-11-21 01:00", false, true, "wanted it on until"},
		"off at noon":             {fleet.Environment{Spec: fleet.EnvironmentSpec{Schedule: office()}, Wish: wish(false, "2026-11-19 12:00", "")}, "2026-11-19 15:00", false, true, "ada wants it off"},
		"off at noon, next day":   {fleet.Environment{Spec: fleet.EnvironmentSpec{Schedule: office()}, Wish: wish(false, "2026-11-19 12:00", "")}, "2026-11-20 09:00", true, true, ""},
		"on at night":             {fleet.Environment{Spec: fleet.EnvironmentSpec{Schedule: office()}, Wish: wish(true, "2026-11-19 22:00", "")}, "2026-11-20 07:00", true, true, "ada wants it on"},
		"on at night, next night": {fleet.Environment{Spec: fleet.EnvironmentSpec{Schedule: office()}, Wish: wish(true, "2026-11-19 22:00", "")}, "2026-11-20 21:00", false, true, ""},
		"off, no schedule":        {fleet.Environment{Wish: wish(false, "2026-11-19 22:00", "")}, "2027-11-20 21:00", false, true, "ada wants it off"},
	} {
		t.Run(name, func(t *testing.T) {
			got := env.Want(&tc.e, vienna(t, tc.at))
			if got.Known != tc.known || got.Known && got.On != tc.on || !got.Known && len(tc.e.Trouble) == 0 && tc.e.Spec.Schedule == nil && got.On != tc.on || !strings.Contains(got.Why, tc.why) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestRepairFromMarksAlone(t *testing.T) {
	s := asleep(t, staging())
	kept := s.Environments[0].Record.Clone()
	s.Environments[0].Record = nil // somebody deleted the Environment, and made it again
	made, found := env.Repair(s, "staging", nil)
	if b := blocking(found); b != "" || !made.Differs {
		t.Fatalf("%q, %+v", b, made)
	}
	s.Environments[0].Record = &made.Record
	if made.Record.Run != kept.Run {
		t.Errorf("run %s, it was %s", made.Record.Run, kept.Run)
	}
	back := env.After(first(env.Start(s, "staging", env.Options{})), *s)
	if got, want := tellState(back), tellState(staging()); got != want {
		t.Errorf("repaired and started:\n%s\nwant\n%s", got, want)
	}
}

func TestRepairFromTheCopyAlone(t *testing.T) {
	s := asleep(t, staging())
	kept := s.Environments[0].Record.Clone()
	s.Environments[0].Record = nil
	for i := range s.Parts {
		s.Parts[i].Mark = nil // a full replace of every object drops annotations
	}
	for i := range s.Groups {
		s.Groups[i].Sleep = nil
	}
	s.Databases[0].Mark = ""
	if made, _ := env.Repair(s, "staging", nil); made.Record.Run != "" {
		t.Errorf("nothing is known, and still: %+v", made)
	}
	made, _ := env.Repair(s, "staging", []fleet.SleepRecord{kept})
	s.Environments[0].Record = &made.Record
	back := env.After(first(env.Start(s, "staging", env.Options{})), *s)
	for _, was := range staging().Parts {
		if now := back.Part(was.Owner); now.Value != was.Value || now.Off {
			t.Errorf("%s is %+v, it was %+v", was.ID(), now, was)
		}
	}
}

// What somebody switches back on is switched off a few times, and then left and named.
func TestFightsAreBounded(t *testing.T) {
	s := asleep(t, staging())
	api := part(s, "Deployment staging/api")
	off := 0
	for range 40 {
		api.Off, api.Value, api.By = false, "1", "hpa-controller"
		step := env.Next(env.Plan{Environment: "staging"}, *s)
		if len(step.Actions) == 0 {
			if !strings.Contains(step.Holds[0].Reason, "hpa-controller") {
				t.Errorf("who it is, is not said: %v", step.Holds)
			}
			break
		}
		for _, a := range step.Actions {
			if a.Verb == fleet.TurnOff {
				off++
			}
			env.Assume(s, a)
		}
		s.Now = s.Now.Add(15 * time.Second)
	}
	if off < 2 || off > 4 {
		t.Errorf("switched off %d times", off)
	}
}

// RDS starts every database again after seven days.
func TestDatabaseIsStoppedAgain(t *testing.T) {
	s := asleep(t, staging())
	s.Databases[0].Status, s.Databases[0].Answer = "starting", nil
	if step := env.Next(env.Plan{Environment: "staging"}, *s); len(step.Actions) > 0 || step.Done {
		t.Errorf("RDS is not done with it: %+v", step)
	}
	s.Databases[0].Status = fleet.DatabaseAvailable
	step := env.Next(env.Plan{Environment: "staging"}, *s)
	if len(step.Actions) != 1 || step.Actions[0].Verb != fleet.StopDatabase || !strings.Contains(step.Actions[0].Why, "seven days") {
		t.Errorf("%+v", step)
	}
}

func TestIsolationMakesRoomFirst(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "stg-1")
	})
	i, found := env.Isolate(s, "staging", env.IsolateOptions{Run: "isolate-1"})
	if b := blocking(found); b != "" {
		t.Fatal(b)
	}
	if i.Group.Name != "stg-staging" || i.Group.Labels["env"] != "staging" || i.Size < 1 || len(i.Placements) != 2 || len(i.Moves) != 3 {
		t.Errorf("%+v", i)
	}
	if step := env.NextIsolation(i, *s); len(step.Actions) != 1 || step.Actions[0].Verb != fleet.MakeGroup {
		t.Errorf("%+v", step)
	}
	group(s, i.Group.Name, 0)
	if step := env.NextIsolation(i, *s); len(step.Actions) != 1 || step.Actions[0].Verb != fleet.Resize || step.Actions[0].To != i.Size {
		t.Errorf("%+v", step)
	}
	g := s.Group(i.Group.Name)
	g.Desired = i.Size
	if step := env.NextIsolation(i, *s); len(step.Actions) > 0 || len(step.Holds) == 0 {
		t.Errorf("no node is there yet: %+v", step)
	}
}
