package main

import (
	"bytes"
	"context"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover.dev/engine"
	"drover.dev/env"
	"drover.dev/evac"
	"drover.dev/fleet"
	"drover.dev/kube"
	"drover.dev/metrics"
)

// asleepSnapshot is the stage's staging asleep: carried out in a world in which everything goes well.
func asleepSnapshot(t *testing.T) *fleet.Snapshot {
	t.Helper()
	s := stagingSnapshot()
	p, found := env.Stop(s, "staging", env.Options{Run: "staging-20261121t120000", By: "ada@example", Why: "weekend", Region: "eu-west-1"})
	if evac.Blocked(found) {
		t.Fatal(found)
	}
	for range 60 {
		step := env.Next(p, *s)
		for _, a := range step.Actions {
			env.Assume(s, a)
			s.Now = s.Now.Add(time.Second)
			happen(s, a)
		}
		if step.Done {
			return s
		}
		if len(step.Actions) == 0 {
			t.Fatal(step.Holds)
		}
	}
	t.Fatal("it does not come to an end")
	return nil
}

// happen is what the world does of itself after an action, at once.
func happen(s *fleet.Snapshot, a fleet.Action) {
	gone := func(gone func(*fleet.Pod) bool) {
		var left []fleet.Pod
		for i := range s.Pods {
			if !gone(&s.Pods[i]) {
				left = append(left, s.Pods[i])
			}
		}
		s.Pods = left
	}
	switch a.Verb {
	case fleet.TurnOff:
		gone(func(p *fleet.Pod) bool { return p.Owner == a.Part.Owner })
		s.Part(a.Part.Owner).Ready = 0
	case fleet.Evict:
		gone(func(p *fleet.Pod) bool { return p.Ref == a.Pod })
	case fleet.Terminate:
		g, _ := s.Instance(a.Instance)
		var left []fleet.Instance
		for _, in := range g.Instances {
			if in.ID != a.Instance {
				left = append(left, in)
			}
		}
		g.Instances = left
		var nodes []fleet.Node
		for _, n := range s.Nodes {
			if n.Instance != a.Instance {
				nodes = append(nodes, n)
			}
		}
		s.Nodes = nodes
	case fleet.StopDatabase:
		db := s.Database(a.Database)
		db.Status, db.Answer, db.Restarts = fleet.DatabaseStopped, nil, s.Now.Add(7*24*time.Hour)
	}
}

func planText(s *fleet.Snapshot, on bool, o env.Options) (string, bool) {
	room := roomOf()
	room.Options.Forced = o.Forced
	p, findings := room.plan(s, "staging", on)
	d := describeSwitch(s, &p, findings, room.place)
	d.Hash = "0123456789ab"
	e := s.Environment("staging").Clone()
	e.Wish = &fleet.Wish{On: on, By: "ada@example", At: s.Now}
	d.Until = untilWords(&e, env.Want(&e, s.Now))
	return text(func(w io.Writer) { envPlanTable(w, &d) }), (&envJourney{plan: p, findings: findings}).blocked()
}

// Nodes by their ids, guests by their names and owners, money, and what stands in the way, in the order in which it happens.
func TestEnvPlanTable(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*fleet.Snapshot)
		on      bool
		blocked bool
	}{
		"stop": {change: func(*fleet.Snapshot) {}},
		"blocked": {change: func(s *fleet.Snapshot) {
			s.Databases[0].Answer.Sessions = append(s.Databases[0].Answer.Sessions, fleet.Session{User: "ann", From: "192.0.2.7"})
			s.Busy = []fleet.Busy{{Code: "env-jobs", Subject: "Job staging/migrate", Reason: "1 of its pods runs", Owner: fleet.Owner{Kind: "Job", Namespace: "staging", Name: "migrate"}}}
			s.Environments[0].Spec.Policy.Shared = fleet.SharedRefuse
		}, blocked: true},
		"start":   {on: true, change: func(s *fleet.Snapshot) { *s = *asleepSnapshot(t) }},
		"nothing": {on: true, change: func(s *fleet.Snapshot) {}},
	} {
		t.Run(name, func(t *testing.T) {
			s := stagingSnapshot()
			tc.change(s)
			got, blocked := planText(s, tc.on, env.Options{})
			if blocked != tc.blocked {
				t.Errorf("blocked: %t", blocked)
			}
			narrowTable(t, got)
			golden(t, "testdata/env-plan-"+name+".txt", got)
		})
	}
}

func TestEnvStatusTable(t *testing.T) {
	for name, at := range map[string]func() *fleet.Snapshot{
		"on": func() *fleet.Snapshot {
			s := stagingSnapshot()
			s.Environments[0].Sleeps = []fleet.Sleep{
				{Run: "staging-1", By: "schedule", At: noon.Add(-40 * time.Hour), Asleep: noon.Add(-40 * time.Hour), Starting: noon.Add(-28 * time.Hour), Awake: noon.Add(-28*time.Hour + 9*time.Minute), Saved: "3.78 EUR"},
				{Run: "staging-2", By: "ada@example", At: noon.Add(-17 * time.Hour), Asleep: noon.Add(-17 * time.Hour), Starting: noon.Add(-4 * time.Hour), Awake: noon.Add(-4*time.Hour + 8*time.Minute), Saved: "4.09 EUR", Exceptions: []string{"Deployment staging/old: was deleted meanwhile"}},
			}
			s.Environments[0].Wish = &fleet.Wish{On: true, By: "ada@example", Why: "release", At: noon.Add(-time.Hour), Until: noon.Add(2 * time.Hour)}
			return s
		},
		"asleep": func() *fleet.Snapshot {
			s := asleepSnapshot(t)
			s.Now = s.Now.Add(10 * time.Hour)
			s.Environments[0].Record.Fights = []fleet.Fight{{Subject: "Deployment staging/api", By: "argocd-controller", Times: 2, Last: noon.Add(time.Hour)}}
			return s
		},
		"stopping": func() *fleet.Snapshot {
			s := stagingSnapshot()
			p, _ := env.Stop(s, "staging", env.Options{Run: "staging-20261121t120000", By: "schedule"})
			for range 6 {
				for _, a := range env.Next(p, *s).Actions {
					env.Assume(s, a)
				}
			}
			return s
		},
		"blocked": func() *fleet.Snapshot {
			s := stagingSnapshot()
			s.Databases[0].Stuck = "is a source of read replicas; RDS does not stop those"
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := at()
			d := roomOf().statusOf(s, s.Environment("staging"))
			got := text(func(w io.Writer) { envStatusTable(w, d) })
			narrowTable(t, got)
			golden(t, "testdata/env-status-"+name+".txt", got)
		})
	}
}

func TestEnvStatusFollows(t *testing.T) {
	s := asleepSnapshot(t)
	room := roomOf()
	asleep := room.statusOf(s, s.Environment("staging"))
	if !asleep.rests() {
		t.Errorf("asleep as it should be, and yet %v %v", asleep.Doing, asleep.Waiting)
	}
	awake := stagingSnapshot()
	awake.Environments[0].Wish = &fleet.Wish{On: true, By: "ada@example", At: noon}
	on := room.statusOf(awake, awake.Environment("staging"))
	if !on.rests() || room.statusOf(stagingSnapshot(), stagingSnapshot().Environment("staging")).rests() { // on a Saturday
		t.Error("an environment rests when it is as it should be, and only then")
	}
	got := strings.Join(asleep.changes(on), "\n")
	for _, want := range []string{"state    on", "wanted   on, because ada@example wants it on", "object   Deployment staging/web: 3, 3 ready", "group    stg: 3 nodes, 3 ready", "database instance stg: available"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestEnvList(t *testing.T) {
	s := asleepSnapshot(t)
	s.Now = s.Now.Add(10 * time.Hour)
	s.Environments = append(s.Environments, fleet.Environment{Name: "qa", Source: "Environment qa", Trouble: []string{`spec.schedule.zone: "Mars/Base": unknown`}})
	got := text(func(w io.Writer) { envLines(w, linesOf(s)) })
	narrowTable(t, got)
	golden(t, "testdata/env-list.txt", got)
}

const checkedFile = `apiVersion: drover.dev/v1alpha1
kind: Environment
metadata:
  name: staging
spec:
  workloads: [{namespaces: [staging]}]
  groups: [stg]
  archive: file:///records
  order:
  - {name: db, workloads: [{kind: StatefulSet, namespaces: [staging]}]}
  - {name: web, workloads: [{name: web}], needs: [api]}
  - {name: api, workloads: [{name: api}], needs: [db]}
  schedule:
    zone: Europe/Vienna
    awake: [{days: [Mon-Fri], from: 08:00, to: "19:00"}, {days: [Fri], from: "22:00", to: "02:30"}]
    holidays: {dates: [2026-11-24]}
    exceptions: [{from: 2026-11-22T10:00, to: 2026-11-22T14:00, state: Awake, why: release}]
`

func TestEnvCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		code int
	}{
		"good": {checkedFile, exitDone},
		"bad":  {strings.NewReplacer("needs: [db]", "needs: [web]", "Europe/Vienna", "Europe/Wien").Replace(checkedFile) + "---\n" + strings.NewReplacer("name: staging", "name: qa").Replace(stagingFile), exitBlocked},
		"mind": {strings.Replace(checkedFile, "  archive: file:///records\n", "", 1), exitChanges},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "staging.yaml")
			if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			a := &app{out: &out, err: io.Discard, output: "table"}
			err := a.envCheck(file, noon)
			if tc.code == exitDone && err != nil {
				t.Error(err)
			} else if tc.code != exitDone {
				codeIs(t, err, tc.code, "")
			}
			narrowTable(t, out.String())
			golden(t, "testdata/env-check-"+name+".txt", out.String())
		})
	}
}

// What is on file was lost: the marks alone bring it back.
func TestEnvRepairTable(t *testing.T) {
	s := asleepSnapshot(t)
	s.Environments[0].Record = nil
	repaired, findings := env.Repair(s, "staging", nil)
	d := repairOf(s, "staging", &repaired, findings, "cluster shop")
	d.Unread = []string{"look for copies of the records of environment \"staging\": s3://records/drover: access denied"}
	golden(t, "testdata/env-repair.txt", text(func(w io.Writer) { repairTable(w, &d) }))
}

func TestEnvRepairWrites(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.must(s.switches(t.Context(), false, switching{}))
		file := envFile{source: "file staging.yaml", text: []byte(stagingFile)}
		file.environments, _ = parsed(stagingFile)
		s.Cluster.Undeclare("staging", true) // somebody has deleted it by force
		room := s.newRoom()
		room.declare(&file)
		seen, err := room.Observe(t.Context())
		s.must(err)
		e := seen.Environment("staging")
		copies, unread := room.copies(t.Context(), e, "")
		if len(copies) != 1 || len(unread) > 0 {
			t.Fatalf("%d copies, %v", len(copies), unread)
		}
		repaired, _ := env.Repair(&seen, "staging", copies)
		s.must(s.app.writeRecord(t.Context(), room, &repaired.Record))
		s.says("is on file again. Switch it on with: drover env start staging")
		s.must(s.switches(t.Context(), true, switching{}))
		if s.state() != "on" {
			t.Errorf("it is %s", s.state())
		}
	})
}

func TestExplainWorkload(t *testing.T) {
	s := asleepSnapshot(t)
	s.Environments[0].Record.Fights = []fleet.Fight{{Subject: "Deployment staging/api", By: "argocd-controller", Times: 1, Last: noon}}
	x := &explainer{Snapshot: s}
	var b strings.Builder
	for _, name := range []string{"staging/web", "Deployment/staging/api", "report", "production/shop"} {
		e, err := x.workload(name)
		if err != nil {
			t.Fatal(err)
		}
		e.print(&b)
	}
	_, err := x.findPod("staging/web-74b-x1")
	b.WriteString(err.Error() + "\n")
	_, err = x.workload("nope")
	b.WriteString(err.Error() + "\n")
	golden(t, "testdata/explain-workload.txt", b.String())
}

func TestIsolation(t *testing.T) {
	s := stagingSnapshot()
	for i := range s.Parts {
		s.Parts[i].Apps = nil
		s.Parts[i].Tolerations = []fleet.Toleration{{Key: "spot", Exists: true, Effect: "NoSchedule"}}
	}
	for i := range s.Pods {
		s.Pods[i].Labels = map[string]string{"app": s.Pods[i].Owner.Name}
	}
	i, findings := env.Isolate(s, "staging", env.IsolateOptions{Run: "staging-1"})
	if evac.Blocked(findings) {
		t.Fatal(findings)
	}
	d := isolationOf(&i, findings, "cluster shop")
	got := text(func(w io.Writer) { isolationTable(w, &d) })
	files, err := patchFiles(s, &i)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kustomization.yaml", "staging-deployment-web.yaml", "staging-poddisruptionbudget-web.yaml"} {
		got += "\n" + name + "\n" + string(files[name])
	}
	golden(t, "testdata/isolate.txt", got)
}

// Money is counted as it is saved, by whoever leads; people see the environment in kubectl when something about it changes.
func TestEnvironmentsAreShown(t *testing.T) {
	m := newMeter(metrics.New("dev"))
	published := 0
	p := &showing{meter: m, looks: map[string]looked{}, publish: func(_ context.Context, name string, v kube.EnvironmentShown) error {
		published++
		if name != "staging" || v.State != "asleep" || !v.Asleep || v.Ready || v.Next != "on Mon 11-23 08:00 CET" {
			t.Errorf("%s %+v", name, v)
		}
		return nil
	}}
	s := asleepSnapshot(t)
	e := s.Environment("staging")
	look := func(after time.Duration) {
		p.see(engine.EnvironmentView{At: s.Now.Add(after), Environment: *e, Wanted: env.Want(e, s.Now)})
	}
	look(time.Hour) // what it had saved by now, another process has counted
	look(time.Hour + 30*time.Second)
	look(3 * time.Hour)
	if published != 2 {
		t.Errorf("published %d times, want at the first look, and when more was saved after a while", published)
	}
	told := scraped(t, m)
	for _, want := range []string{`drover_environment_state{environment="staging",state="asleep"} 1`, `drover_environment_saved_total{currency="EUR",environment="staging"} 0.46`} {
		if !strings.Contains(told, want) {
			t.Errorf("no %s in\n%s", want, told)
		}
	}
}

// Somebody else acts on the cluster: the controller waits for its turn, which is no trouble.
func TestEnvironmentsWaitForTheirTurn(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		holder := "build-7"
		s.desk.holder = func() string { return holder }
		turn := s.app.inTurn(s.desk.Alone)
		acted := 0
		act := func(context.Context) error { acted++; return nil }
		s.must(turn(t.Context(), act))
		s.must(turn(t.Context(), act))
		if strings.Count(s.out.String(), "environments wait for build-7") != 1 || acted > 0 {
			t.Errorf("acted %d times, and said\n%s", acted, s.out)
		}
		holder = ""
		s.must(turn(t.Context(), act))
		if acted != 1 {
			t.Error("its turn came, and it did not act")
		}
	})
}

func scraped(t *testing.T, m *meter) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.set.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}
