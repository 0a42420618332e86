package env_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"drover.dev/env"
	"drover.dev/fleet"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// staging is an environment beside production: workloads in front of each other, a CronJob, a database, a group of its own or shared.
func staging(change ...func(*fleet.Snapshot)) *fleet.Snapshot {
	s := &fleet.Snapshot{Now: noon, Cluster: "main"}
	group(s, "stg", 2, "stg-1", "stg-2")
	group(s, "prod", 2, "prod-1", "prod-2")
	deploy(s, "staging", "web", 2, true, "stg-1", "stg-2")
	deploy(s, "staging", "api", 1, false, "stg-1")
	deploy(s, "prod", "web", 2, true, "prod-1", "prod-2")
	deploy(s, "kube-system", "coredns", 1, false, "prod-1")
	s.Parts = append(s.Parts, fleet.Part{Turn: fleet.Suspended, APIVersion: "batch/v1", Owner: fleet.Owner{Kind: "CronJob", Namespace: "staging", Name: "report"}, UID: "uid-report", Value: "false", Absent: true})
	fleet.SortParts(s.Parts)
	s.Databases = []fleet.Database{{ID: "instance stg", Engine: "postgres", Class: "db.t3.micro", Status: fleet.DatabaseAvailable, Storage: 20, Disk: "gp3", Answer: &fleet.Answer{Works: true, Login: true}}}
	s.Environments = []fleet.Environment{{Name: "staging", Source: "Environment staging", Spec: fleet.EnvironmentSpec{
		Workloads: []fleet.Selection{{Namespaces: []string{"staging"}}}, Groups: []string{"stg"}, Databases: []fleet.DatabaseSpec{{ID: "instance stg"}}, Archive: "file:///backup",
	}}}
	for _, c := range change {
		c(s)
	}
	return s
}

func group(s *fleet.Snapshot, name string, minimum int, nodes ...string) {
	g := fleet.Group{Name: name, Min: minimum, Max: 6, Desired: len(nodes), Zones: []string{"a", "b"}, Cluster: "main"}
	for i, n := range nodes {
		zone := g.Zones[i%2]
		g.Instances = append(g.Instances, fleet.Instance{ID: "i-" + n, Zone: zone, Type: "m5.large", Lifecycle: fleet.InService, Launched: noon.Add(-48 * time.Hour)})
		s.Nodes = append(s.Nodes, fleet.Node{Name: n, Instance: "i-" + n, Zone: zone, Ready: true, Created: noon.Add(-48 * time.Hour), Labels: map[string]string{"kubernetes.io/hostname": n}, Room: fleet.Resources{CPU: 4000, Memory: 16 << 30, Pods: 50}})
	}
	s.Groups = append(s.Groups, g)
}

func deploy(s *fleet.Snapshot, namespace, name string, replicas int, entry bool, nodes ...string) {
	o := fleet.Owner{Kind: "Deployment", Namespace: namespace, Name: name}
	s.Parts = append(s.Parts, fleet.Part{Turn: fleet.Scaled, APIVersion: "apps/v1", Owner: o, UID: "uid-" + namespace + "-" + name, Value: fmt.Sprint(replicas), Ready: replicas, Pods: replicas, Entry: entry})
	s.Workloads = append(s.Workloads, fleet.Workload{Owner: o, Replicas: replicas})
	for i := range replicas {
		pod(s, o, fmt.Sprintf("%s-%d", name, i), nodes[i%len(nodes)])
	}
}

func pod(s *fleet.Snapshot, o fleet.Owner, name, node string) {
	s.Pods = append(s.Pods, fleet.Pod{
		Ref: fleet.PodRef{Namespace: o.Namespace, Name: name, UID: o.Namespace + "/" + name}, Node: node, Owner: o, Ready: true, Created: noon.Add(-time.Hour), Grace: 30 * time.Second,
		Requests: fleet.Resources{CPU: 100, Memory: 128 << 20, Pods: 1}, IP: fmt.Sprintf("10.0.0.%d", len(s.Pods)+1),
	})
}

func part(s *fleet.Snapshot, id string) *fleet.Part {
	for i := range s.Parts {
		if s.Parts[i].ID() == id {
			return &s.Parts[i]
		}
	}
	return nil
}

func stop(s *fleet.Snapshot, forced ...string) (env.Plan, []fleet.Finding) {
	return env.Stop(s, "staging", env.Options{Run: "staging-1", By: "ada", Forced: forced, Region: "us-east-1"})
}

// tell prints a forecast's actions, a line for each.
func tell(f env.Forecast) string {
	var b strings.Builder
	for _, e := range f.Events {
		fmt.Fprintln(&b, e.Action)
	}
	return b.String()
}

// order checks that actions come in an order.
func order(t *testing.T, told string, want ...string) {
	t.Helper()
	rest := told
	for _, w := range want {
		i := strings.Index(rest, w)
		if i < 0 {
			t.Fatalf("%q does not come, or not after the ones before, in:\n%s", w, told)
		}
		rest = rest[i+len(w):]
	}
}

func blocking(fs []fleet.Finding) string {
	var out []string
	for _, f := range fs {
		if f.Blocks {
			out = append(out, f.Code+" "+f.String())
		}
	}
	return strings.Join(out, "\n")
}

func TestStopGoesFrontToBack(t *testing.T) {
	p, found := stop(staging())
	if b := blocking(found); b != "" {
		t.Fatal(b)
	}
	told := tell(p.Forecast)
	order(t, told, "record sleep", "archive sleep", "turn CronJob staging/report off", "turn Deployment staging/web off", "turn Deployment staging/api off", "mark group stg",
		"minimum of group stg from 2 to 0", "taint node stg-", "terminate i-stg-", "mark database instance stg", "stop database instance stg", "record sleep")
	if strings.Contains(told, "prod") || strings.Contains(told, "kube-system") {
		t.Errorf("it touches what is not its own:\n%s", told)
	}
	if len(p.Forecast.Stuck) > 0 || strings.Count(told, "terminate") != 2 {
		t.Errorf("stuck %v:\n%s", p.Forecast.Stuck, told)
	}
}

func TestStartIsTheReverse(t *testing.T) {
	s := asleep(t, staging())
	p, found := env.Start(s, "staging", env.Options{By: "bo"})
	if b := blocking(found); b != "" || len(p.Forecast.Stuck) > 0 {
		t.Fatal(b, p.Forecast.Stuck)
	}
	told := tell(p.Forecast)
	order(t, told, "start database instance stg", "resize group stg from 0 to 2", "minimum of group stg from 0 to 2", "turn Deployment staging/api on", "turn Deployment staging/web on",
		"turn CronJob staging/report on", "unmark", "conclude sleep")
}

// asleep carries a stop out in the optimistic world, and returns how that is then.
func asleep(t *testing.T, s *fleet.Snapshot, forced ...string) *fleet.Snapshot {
	t.Helper()
	p, found := stop(s, forced...)
	if b := blocking(found); b != "" {
		t.Fatal(b)
	}
	return env.After(p, *s)
}

func TestStopAndStartLeaveEverythingAsItWas(t *testing.T) {
	before := staging()
	s := asleep(t, before)
	if e := s.Environment("staging"); e.Record == nil || e.Record.Marks.Asleep.IsZero() {
		t.Fatalf("it is not asleep: %+v", e.Record)
	}
	for _, g := range s.Groups {
		if g.Name == "stg" && (len(g.Instances) != 0 || g.Desired != 0 || g.Min != 0) {
			t.Errorf("group stg: %+v", g)
		}
	}
	p, _ := env.Start(s, "staging", env.Options{By: "bo"})
	s = env.After(p, *s)
	e := s.Environment("staging")
	if e.Record != nil || len(e.Sleeps) != 1 || len(e.Sleeps[0].Exceptions) > 0 || e.Sleeps[0].StartedBy != "bo" || e.Sleeps[0].Saved == "" {
		t.Fatalf("%+v, %+v", e.Record, e.Sleeps)
	}
	for _, was := range before.Parts {
		now := s.Part(was.Owner)
		if now.Value != was.Value || now.Absent != was.Absent || now.Off || now.Mark != nil {
			t.Errorf("%s is %+v, it was %+v", was.ID(), now, was)
		}
	}
	g, db := s.Group("stg"), s.Database("instance stg")
	if g.Min != 2 || g.Desired != 2 || g.Sleep != nil || len(g.Suspended) > 0 || db.Status != fleet.DatabaseAvailable || db.Mark != "" {
		t.Errorf("group %+v, database %+v", g, db)
	}
}

// The accident: production's pods on a group that staging shares.
func TestTheNeighboursNodeStays(t *testing.T) {
	shared := func(s *fleet.Snapshot) {
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "stg-1")
	}
	p, found := stop(staging(shared))
	if b := blocking(found); b != "" {
		t.Fatal(b)
	}
	if len(p.Record.Exits) != 1 || p.Record.Exits[0].Instance != "i-stg-2" {
		t.Errorf("exits: %+v", p.Record.Exits)
	}
	named := fmt.Sprint(found)
	if !strings.Contains(named, "pod prod/web-9 (Deployment prod/web)") || !strings.Contains(named, "stg-1") {
		t.Errorf("the neighbour is not named: %s", named)
	}
	told := tell(p.Forecast)
	order(t, told, "from 2 to 1", "terminate i-stg-2")
	if strings.Contains(told, "i-stg-1 ") || !strings.Contains(told, "protect 1 instances of group stg") || !strings.Contains(told, "suspend AZRebalance") {
		t.Error(told)
	}
	_, found = stop(staging(shared, func(s *fleet.Snapshot) { s.Environments[0].Spec.Policy.Shared = fleet.SharedRefuse }))
	if b := blocking(found); !strings.Contains(b, "env-guests") {
		t.Errorf("the policy says refuse: %q", b)
	}
}

func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*fleet.Snapshot)
		want   string
		force  string
	}{
		"protected":      {func(s *fleet.Snapshot) { s.Environments[0].Spec.Protected = true }, "env-protected", ""},
		"no records":     {func(s *fleet.Snapshot) { s.Unslept = "no such kind" }, "env-no-record", ""},
		"stopped":        {func(s *fleet.Snapshot) { s.Stopped = &fleet.Pause{By: "eve"} }, "stopped", ""},
		"trouble":        {func(s *fleet.Snapshot) { s.Environments[0].Trouble = []string{"spec.groups[0]: empty"} }, "env-spec", ""},
		"no group":       {func(s *fleet.Snapshot) { s.Environments[0].Spec.Groups = []string{"gone"} }, "env-group", ""},
		"rotating":       {func(s *fleet.Snapshot) { s.Group("stg").Mark = &fleet.GroupMark{Run: "r"} }, "env-group", ""},
		"no database":    {func(s *fleet.Snapshot) { s.Databases[0].Trouble = "not found" }, "env-database", ""},
		"stuck database": {func(s *fleet.Snapshot) { s.Databases[0].Stuck = "is a read replica of instance x" }, "env-database-stuck", ""},
		"starting":       {func(s *fleet.Snapshot) { s.Databases[0].Status = "modifying" }, "env-database", ""},
		"not serverless": {func(s *fleet.Snapshot) { s.Environments[0].Spec.Databases[0].Lower = new(float64) }, "env-database", ""},
		"session": {func(s *fleet.Snapshot) {
			s.Databases[0].Answer.Sessions = []fleet.Session{{User: "u", From: "10.9.9.9"}}
		}, "env-sessions", "env-sessions"},
		"job": {func(s *fleet.Snapshot) {
			s.Busy = []fleet.Busy{{Code: "env-jobs", Subject: "Job staging/j", Reason: "runs", Owner: fleet.Owner{Kind: "Job", Namespace: "staging", Name: "j"}}}
		}, "env-jobs", "env-jobs"},
		"bare pod": {func(s *fleet.Snapshot) { pod(s, fleet.Owner{Namespace: "staging"}, "bare", "stg-1") }, "env-bare-pod", "env-bare-pod"},
		"unknown owner": {func(s *fleet.Snapshot) {
			pod(s, fleet.Owner{Kind: "Sts2", Namespace: "staging", Name: "x"}, "x-0", "stg-1")
		}, "env-unscalable", "env-unscalable"},
		"last copy": {lastCopy, "env-last-copy", "env-last-copy"},
		"parent":    {gitops("is kept by Application argocd/root, which heals itself"), "env-parent", "env-parent"},
		"stranger": {func(s *fleet.Snapshot) {
			part(s, "Deployment staging/api").Mark = &fleet.PartMark{Environment: "staging", Run: "old"}
		}, "env-stranger", ""},
		"strange group":   {func(s *fleet.Snapshot) { s.Group("stg").Sleep = &fleet.GroupSleep{Environment: "staging", Run: "old"} }, "env-stranger", ""},
		"strange tag":     {func(s *fleet.Snapshot) { s.Databases[0].Mark = "staging old" }, "env-stranger", ""},
		"group of two":    {second(func(o *fleet.EnvironmentSpec) { o.Groups = []string{"stg"} }), "env-overlap", ""},
		"database of two": {second(func(o *fleet.EnvironmentSpec) { o.Databases = []fleet.DatabaseSpec{{ID: "instance stg"}} }), "env-overlap", ""},
		"workload of two": {second(func(o *fleet.EnvironmentSpec) { o.Workloads = []fleet.Selection{{Kind: "Deployment", Name: "api"}} }), "env-overlap", ""},
		"webhook":         {webhook, "env-backend", "env-backend"},
	} {
		t.Run(name, func(t *testing.T) {
			_, found := stop(staging(tc.change))
			if b := blocking(found); !strings.Contains(b, tc.want+" ") {
				t.Errorf("want %s, found %q of %v", tc.want, b, found)
			}
			if tc.force == "" {
				return
			}
			if _, found := stop(staging(tc.change), tc.force); blocking(found) != "" {
				t.Errorf("forced, and still: %s", blocking(found))
			}
		})
	}
}

func lastCopy(s *fleet.Snapshot) {
	set := fleet.Owner{Kind: "StatefulSet", Namespace: "staging", Name: "queue"}
	s.Parts = append(s.Parts, fleet.Part{Turn: fleet.Scaled, APIVersion: "apps/v1", Owner: set, UID: "uid-queue", Value: "1", Ready: 1, Scratch: "emptyDir data"})
	pod(s, set, "queue-0", "stg-1")
}

func second(change func(*fleet.EnvironmentSpec)) func(*fleet.Snapshot) {
	return func(s *fleet.Snapshot) {
		e := fleet.Environment{Name: "other", Source: "Environment other"}
		change(&e.Spec)
		s.Environments = append(s.Environments, e)
	}
}

func gitops(reverts string) func(*fleet.Snapshot) {
	return func(s *fleet.Snapshot) {
		app := fleet.Owner{Kind: "Application", Namespace: "argocd", Name: "stg"}
		s.Parts = append(s.Parts, fleet.Part{Turn: fleet.Unsynced, APIVersion: "argoproj.io/v1alpha1", Owner: app, UID: "uid-app", Absent: true, Reverts: reverts})
		part(s, "Deployment staging/api").Apps = []fleet.Owner{app}
		fleet.SortParts(s.Parts)
	}
}

func webhook(s *fleet.Snapshot) {
	s.Services = append(s.Services, fleet.Service{Namespace: "staging", Name: "hook", Selector: map[string]string{"app": "api"}, Endpoints: 1})
	for i := range s.Pods {
		if s.Pods[i].Owner.Name == "api" {
			s.Pods[i].Labels = map[string]string{"app": "api"}
		}
	}
	s.Backends = append(s.Backends, fleet.Backend{Kind: "ValidatingWebhookConfiguration", Name: "policy", Namespace: "staging", Service: "hook", Blocks: "no pod could be created"})
}

func TestGitOpsIsPausedFirstAndResumedLast(t *testing.T) {
	p, _ := stop(staging(gitops("")))
	told := tell(p.Forecast)
	order(t, told, "turn Application argocd/stg off", "turn CronJob", "turn Deployment")
	s := asleep(t, staging(gitops("")))
	p, _ = env.Start(s, "staging", env.Options{})
	order(t, tell(p.Forecast), "turn Deployment staging/web on", "turn CronJob", "turn Application argocd/stg on", "unmark")
}

func TestOrderIsRespected(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		s.Environments[0].Spec.Order = []fleet.Tier{
			{Name: "api", Workloads: []fleet.Selection{{Kind: "Deployment", Name: "api"}}, Needs: []string{"web"}},
			{Name: "web", Workloads: []fleet.Selection{{Kind: "Deployment", Name: "web"}}},
		}
	})
	p, _ := stop(s)
	order(t, tell(p.Forecast), "turn Deployment staging/api off", "turn Deployment staging/web off")
}

func TestBadOrdersAreNamed(t *testing.T) {
	one := []fleet.Selection{{Name: "x"}}
	for want, tiers := range map[string][]fleet.Tier{
		"a needs b needs a":    {{Name: "a", Workloads: one, Needs: []string{"b"}}, {Name: "b", Workloads: one, Needs: []string{"a"}}},
		"a needs a":            {{Name: "a", Workloads: one, Needs: []string{"a"}}},
		"needs c, which is no": {{Name: "a", Workloads: one, Needs: []string{"c"}}},
		"is there twice":       {{Name: "a", Workloads: one}, {Name: "a", Workloads: one}},
		"chooses no workload":  {{Name: "a"}},
	} {
		got := strings.Join(env.Validate(&fleet.EnvironmentSpec{Groups: []string{"g"}, Order: tiers}), "\n")
		if !strings.Contains(got, want) {
			t.Errorf("want %q: %s", want, got)
		}
	}
}

// A kill after any action: whoever comes next, with nothing but the world, comes to the same end.
func TestKilledAfterEveryAction(t *testing.T) {
	want := tellState(env.After(first(stop(staging())), *staging()))
	actions := len(first(stop(staging())).Forecast.Events)
	for n := 1; n < actions; n++ {
		s := env.AfterActions(first(stop(staging())), *staging(), n)
		p, found := stop(s)
		if b := blocking(found); b != "" {
			t.Fatalf("after %d actions: %s", n, b)
		}
		if got := tellState(env.After(p, *s)); got != want {
			t.Errorf("after %d actions:\n%s\nwant\n%s", n, got, want)
		}
		up, _ := env.Start(s, "staging", env.Options{}) // or somebody wants it on again at once
		if back := env.After(up, *s); tellState(back) != tellState(staging()) {
			t.Errorf("started after %d actions:\n%s\nwant\n%s", n, tellState(back), tellState(staging()))
		}
	}
}

func first(p env.Plan, _ []fleet.Finding) env.Plan { return p }

// tellState is what a stop and a start are about.
func tellState(s *fleet.Snapshot) string {
	var b strings.Builder
	for _, p := range s.Parts {
		fmt.Fprintln(&b, p.ID(), p.Value, p.Absent, p.Off, p.Mark != nil)
	}
	for _, g := range s.Groups {
		fmt.Fprintln(&b, g.Name, g.Min, g.Desired, len(g.Instances), g.Suspended, g.Sleep != nil)
	}
	for _, n := range s.Nodes {
		if n.Mark() != nil || n.Excluded {
			fmt.Fprintln(&b, n.Name, "marked")
		}
	}
	for _, d := range s.Databases {
		fmt.Fprintln(&b, d.ID, d.Status, d.Mark != "")
	}
	return b.String()
}
