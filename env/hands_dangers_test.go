package env_test

import (
	"strings"
	"testing"
	"time"

	"drover.dev/env"
	"drover.dev/fleet"
)

func workdays() *fleet.Schedule {
	return &fleet.Schedule{Zone: "Europe/Vienna", On: []fleet.Window{{Days: []time.Weekday{1, 2, 3, 4, 5}, From: "08:00", To: "19:00"}}}
}

// kubectl annotate drover.dev/wish=off gives a wish without At.
func TestDangerBareWishCounts(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		s.Environments[0].Spec.Schedule = workdays()
		s.Environments[0].Wish = &fleet.Wish{On: false, By: "somebody"}
	})
	w := env.Want(&s.Environments[0], noon) // Friday 13:00 in Vienna: schedule on
	if w.On {
		t.Errorf("bare off wish ignored: %+v", w)
	}
}

func TestDangerForceOnResumedStop(t *testing.T) {
	s := staging()
	p, found := stop(s)
	if b := blocking(found); b != "" {
		t.Fatal(b)
	}
	// record exists, workloads off, a stranger connected meanwhile
	for n := 1; n < 80; n++ {
		w := env.AfterActions(p, *s, n)
		e := w.Environment("staging")
		if e.Record == nil || e.Record.Marks.Off.IsZero() || w.Databases[0].Status != fleet.DatabaseAvailable {
			continue
		}
		w.Databases[0].Answer = &fleet.Answer{Works: true, Login: true, Sessions: []fleet.Session{{User: "bi", From: "192.0.2.9"}}}
		q, found2 := env.Stop(w, "staging", env.Options{Run: "x", By: "ada", Forced: []string{"env-sessions"}, Region: "us-east-1"})
		t.Logf("blocking: %q resumed %v forced %v", blocking(found2), q.Resumed, q.Forced)
		st := env.Next(q, *w)
		for _, h := range st.Holds {
			if strings.Contains(h.String(), "--force env-sessions") {
				t.Fatalf("forced env-sessions on the command line, still held with: %s", h)
			}
		}
	}
}

func TestDangerStopWhileNeighbourSleeps(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		rec := fleet.SleepRecord{Environment: "qa", Run: "qa-1", At: noon.Add(-time.Hour)}
		s.Environments = append(s.Environments, fleet.Environment{Name: "qa", Source: "Environment qa", Record: &rec, Spec: fleet.EnvironmentSpec{Workloads: []fleet.Selection{{Namespaces: []string{"qa"}}}, Groups: []string{"stg"}, Policy: fleet.EnvironmentPolicy{Shared: fleet.SharedOwn}}})
		s.Groups[0].Sleep = &fleet.GroupSleep{Environment: "qa", Run: "qa-1", Min: 2, Max: 6, Desired: 3}
	})
	_, found := stop(s)
	for _, f := range found {
		if strings.Contains(f.String(), "which is not on file") {
			t.Errorf("says not on file, while Environment qa has it on file: %s", f)
		}
	}
	if b := blocking(found); !strings.Contains(b, "env-overlap") {
		t.Errorf("a group in two environments is not named as overlap: %s", b)
	}
}

func TestDangerGitOpsKeeperOutOfSight(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		part(s, "Deployment staging/web").Apps = []fleet.Owner{{Kind: "Application", Namespace: "argocd", Name: "staging"}}
	})
	_, found := stop(s)
	for _, f := range found {
		if strings.Contains(f.String(), "Application") {
			return
		}
	}
	t.Errorf("web is kept by an Application that cannot be seen or paused; no finding names it: %v", found)
}

func TestDangerSelectionThatChoosesNothing(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		s.Environments[0].Spec.Workloads = []fleet.Selection{{Namespaces: []string{"stagng"}}, {Namespaces: []string{"staging"}, Kind: "deployment"}}
		s.Environments[0].Spec.Groups = nil
	})
	p, found := stop(s)
	t.Logf("parts %d databases %d nothing %q", len(p.Record.Parts), len(p.Record.Databases), p.Nothing)
	for _, f := range found {
		t.Log(f.Code, f.Blocks, f)
		if strings.Contains(f.String(), "workloads") {
			return
		}
	}
	t.Error("both selections choose nothing (namespace mistyped; kind deployment), and no finding says so")
}

func TestDangerRepairFromMarksKeepsACU(t *testing.T) {
	low := 0.5
	s := staging(func(s *fleet.Snapshot) {
		s.Databases = []fleet.Database{{ID: "cluster stg", Engine: "aurora-postgresql", Status: fleet.DatabaseAvailable, MinACU: 4, MaxACU: 16, Answer: &fleet.Answer{Works: true, Login: true}}}
		s.Environments[0].Spec.Databases = []fleet.DatabaseSpec{{ID: "cluster stg", Lower: &low}}
	})
	w := asleep(t, s)
	w.Environments[0].Record = nil
	r, found := env.Repair(w, "staging", nil)
	t.Log(found)
	for _, d := range r.Record.Databases {
		if d.MinACU != 4 {
			t.Errorf("original least capacity was 4, repaired says %g; findings: %v", d.MinACU, found)
		}
	}
}

func TestDangerRepairFromMarksDatabaseStoppedBefore(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) { s.Databases[0].Status = fleet.DatabaseStopped })
	w := asleep(t, s)
	t.Log(w.Databases[0].Status, w.Databases[0].Mark)
	w.Environments[0].Record = nil
	r, found := env.Repair(w, "staging", nil)
	for _, d := range r.Record.Databases {
		if d.Status != fleet.DatabaseStopped {
			t.Errorf("it was stopped before the sleep, repaired says %s; findings %v", d.Status, found)
		}
	}
}

func TestDangerRepairFromMarksProtected(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		deploy(s, "prod", "batch", 1, false, "stg-2")
		s.Groups[0].Instances[1].Protected = true // a person protected it
	})
	w := asleep(t, s)
	w.Environments[0].Record = nil
	r, found := env.Repair(w, "staging", nil)
	w.Environments[0].Record = &r.Record
	p, _ := env.Start(w, "staging", env.Options{By: "bo"})
	if told := tell(p.Forecast); strings.Contains(told, "protect i-stg-2") || strings.Contains(told, "i-stg-2") {
		t.Errorf("takes protection off that a person had set before the stop; findings %v:\n%s", found, told)
	}
}

func TestDangerJoiningInstanceOfSharedGroup(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		deploy(s, "prod", "batch", 1, false, "stg-2")
		g := &s.Groups[0]
		g.Desired = 3
		g.Instances = append(g.Instances, fleet.Instance{ID: "i-new", Zone: "a", Lifecycle: fleet.InService, Launched: noon.Add(-time.Minute)})
		s.Pods = append(s.Pods, fleet.Pod{Ref: fleet.PodRef{Namespace: "prod", Name: "web-9", UID: "x"}, Owner: fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, Unplaced: "no room"})
	})
	p, _ := stop(s)
	for _, d := range p.Record.Exits {
		if d.Instance == "i-new" {
			t.Errorf("an instance that is no node yet, launched a minute ago in a shared group where a pod of prod waits for room, is to go")
		}
	}
}
