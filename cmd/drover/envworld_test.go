package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drover.dev/api/v1alpha1"
	"drover.dev/engine"
	"drover.dev/env"
	"drover.dev/fleet"
	"drover.dev/kube"
	"drover.dev/price"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/cluster"
	"drover.dev/sandbox/fast"
)

const stagingFile = `apiVersion: drover.dev/v1alpha1
kind: Environment
metadata:
  name: staging
spec:
  workloads: [{namespaces: [staging]}]
  groups: [stg]
  databases: [{instance: stg, secret: {namespace: staging, name: login}}]
  archive: file:///records
`

// stage is a world in memory with production and an environment beside it, and a terminal in front of it. Its time is that of the test's bubble.
type stage struct {
	*fast.World
	t    *testing.T
	room *switchroom
	desk *fakeDesk
	out  *bytes.Buffer
	app  *app
}

// fakeDesk is the cluster in memory as the verbs of people use it.
type fakeDesk struct {
	*cluster.Cluster
	leader string // controller
	holder func() string

	mu sync.Mutex
}

func (d *fakeDesk) Wish(_ context.Context, name string, w *fleet.Wish) error {
	return d.Cluster.Wish(name, w)
}

func (d *fakeDesk) ApplyEnvironments(_ context.Context, data []byte, source string, dry bool) ([]string, error) {
	all, wrong := v1alpha1.ParseEnvironments(data, source)
	if len(wrong) > 0 {
		return nil, wrong[0]
	}
	var names []string
	for _, e := range all {
		if names = append(names, e.Name); !dry {
			d.Declare(e.Name, e.Spec, e.Trouble...)
		}
	}
	return names, nil
}

func (d *fakeDesk) Alone(ctx context.Context, _ string, _ func(string, time.Duration), act func(context.Context) error) error {
	if d.holder != nil {
		if who := d.holder(); who != "" {
			pause(ctx, 2*time.Second)
			return &kube.Busy{Holder: who}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return act(ctx)
}

func (d *fakeDesk) Leading(context.Context) (string, error) { return d.leader, nil }

// onStage runs a story in a bubble of time, in which the world's clock goes with the bubble's.
func onStage(t *testing.T, story func(t *testing.T, s *stage)) {
	synctest.Test(t, func(t *testing.T) {
		w := fast.New(fast.Options{Start: time.Now()})
		s := &stage{World: w, t: t, desk: &fakeDesk{Cluster: w.Cluster}, out: &bytes.Buffer{}}
		s.app = &app{in: strings.NewReader(""), out: s.out, err: s.out, color: "never", output: "table"}
		s.furnish()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began, behind := time.Now(), w.Now()
		go func() {
			for ctx.Err() == nil {
				pause(ctx, time.Second/4)
				w.Advance(behind.Add(time.Since(began)).Sub(w.Now()))
			}
		}()
		s.room = s.newRoom()
		story(t, s)
	})
}

// newRoom is a process's own view of the world.
func (s *stage) newRoom() *switchroom {
	hand := s.CloudHand()
	e := &engine.Engine{Cloud: hand, Cluster: s.ClusterHand(), AllGroups: true, Note: func(engine.Note) {}, Now: s.Now, CloudEvery: cloudEvery}
	w := &engine.Switcher{Engine: e, Board: s.Cluster, Databases: hand, Asker: hand, Archive: s.Archive()}
	w.Options = env.Options{By: "ada@example", Book: price.Table(), Region: "us-east-1"}
	return &switchroom{Switcher: w, desk: s.desk, place: "cluster main"}
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.out)
	}
}

// furnish builds production and staging, each on its group, and waits until all of it runs.
func (s *stage) furnish() {
	s.t.Helper()
	for _, name := range []string{"stg", "prod"} {
		s.must(s.AddGroup(fast.GroupSpec{Name: name, Type: "m5.large", Size: 2, Min: 2, Max: 4, Labels: map[string]string{"env": name}}))
	}
	_, err := s.Cloud.CreateDBInstance(cloud.DBInstance{Database: cloud.Database{ID: "stg", Engine: "postgres", User: "app"}, Class: "db.t3.micro", Storage: 20}, "secret-word")
	s.must(err)
	deploy := func(namespace, name, on string, replicas int, needs ...string) {
		s.must(s.Deploy(cluster.Spec{
			Owner: fleet.Owner{Kind: "Deployment", Namespace: namespace, Name: name}, Replicas: replicas, Requests: fleet.Resources{CPU: 200, Memory: 256 << 20}, Selector: map[string]string{"env": on}, Needs: needs,
		}))
	}
	if !s.Await(time.Hour, func() bool { return s.Answers("instance stg") }) {
		s.t.Fatal("the database does not come up")
	}
	deploy("staging", "web", "stg", 2)
	deploy("staging", "api", "stg", 1, "instance stg")
	deploy("production", "web", "prod", 2)
	if !s.Await(time.Hour, s.Settled) {
		s.t.Fatal("the world does not settle")
	}
	s.declare("")
}

// declare makes the Environment, with more in its spec.
func (s *stage) declare(more string) {
	s.t.Helper()
	_, err := s.desk.ApplyEnvironments(s.t.Context(), []byte(stagingFile+more), "file staging.yaml", false)
	s.must(err)
}

// switches is drover env stop or start in another process.
func (s *stage) switches(ctx context.Context, on bool, r switching) error {
	s.t.Helper()
	room := s.newRoom()
	room.Options.Why, room.Options.Forced = r.why, r.forced
	j, err := room.prepare(ctx, "staging", on, &r)
	s.must(err)
	r.run.yes, r.run.wait = true, true
	return s.app.carrySwitch(ctx, j, &r.run)
}

// settings are the world's, without what has another name every time: the nodes of staging.
func (s *stage) settings() string {
	var kept []string
	for line := range strings.SplitSeq(s.Settings(), "\n") {
		if !strings.HasPrefix(line, "node ") && !strings.HasPrefix(line, "group stg member ") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

func (s *stage) environment() fleet.Environment {
	s.t.Helper()
	e, ok := s.Cluster.Environment("staging")
	if !ok {
		s.t.Fatal("the environment is gone")
	}
	return e
}

func (s *stage) state() string {
	e := s.environment()
	state, _ := env.State(&e)
	return state
}

// asleep is a snapshot of an environment with much in it, at a moment of its sleep.
func stagingSnapshot() *fleet.Snapshot {
	s := &fleet.Snapshot{Now: noon}
	node := func(group string, n int, pods ...fleet.Owner) {
		id, name := fmt.Sprintf("i-%017d", n), fmt.Sprintf("ip-10-0-0-%d.eu-west-1.compute.internal", n)
		g := s.Group(group)
		if g == nil {
			s.Groups = append(s.Groups, fleet.Group{Name: group, Min: 2, Max: 6, Zones: []string{"eu-west-1a"}})
			g = s.Group(group)
		}
		g.Desired++
		g.Instances = append(g.Instances, fleet.Instance{ID: id, Zone: "eu-west-1a", Type: "m5.large", Lifecycle: fleet.InService, Launched: noon.Add(-72 * time.Hour)})
		s.Nodes = append(s.Nodes, fleet.Node{Name: name, Instance: id, Zone: "eu-west-1a", Ready: true, Created: noon.Add(-72 * time.Hour), Room: fleet.Resources{CPU: 4000, Memory: 16 << 30, Pods: 58}})
		for i, o := range pods {
			ref := fleet.PodRef{Namespace: o.Namespace, Name: fmt.Sprintf("%s-%d%d", o.Name, n, i), UID: fmt.Sprintf("%s-%d-%d", o, n, i)}
			s.Pods = append(s.Pods, fleet.Pod{Ref: ref, Node: name, Owner: o, Ready: true, Created: noon.Add(-time.Hour), Grace: 30 * time.Second, Requests: fleet.Resources{CPU: 100, Memory: 64 << 20, Pods: 1}, IP: fmt.Sprintf("10.1.%d.%d", n, i)})
		}
	}
	own := func(kind, namespace, name string) fleet.Owner {
		return fleet.Owner{Kind: kind, Namespace: namespace, Name: name}
	}
	web, api, db, shop, dns := own("Deployment", "staging", "web"), own("Deployment", "staging", "api"), own("StatefulSet", "staging", "cache"), own("Deployment", "production", "shop"), own("ReplicaSet", "kube-system", "coredns")
	node("stg", 1, web, api)
	node("stg", 2, web, db, dns)
	node("stg", 3, shop, web)
	node("prod", 4, shop)
	node("prod", 5, shop)
	part := func(o fleet.Owner, turn fleet.Turn, value string, change func(*fleet.Part)) {
		p := fleet.Part{Turn: turn, APIVersion: "apps/v1", Owner: o, UID: "uid-" + o.Name, Value: value}
		fmt.Sscan(value, &p.Ready)
		p.Pods = p.Ready
		if change != nil {
			change(&p)
		}
		s.Parts = append(s.Parts, p)
	}
	argo := own("Application", "argocd", "staging")
	part(web, fleet.Scaled, "3", func(p *fleet.Part) { p.Entry, p.Apps = true, []fleet.Owner{argo} })
	part(api, fleet.Scaled, "1", func(p *fleet.Part) { p.Apps = []fleet.Owner{argo} })
	part(db, fleet.Scaled, "1", func(p *fleet.Part) { p.Claims = true })
	part(shop, fleet.Scaled, "3", nil)
	part(own("CronJob", "staging", "report"), fleet.Suspended, "false", func(p *fleet.Part) { p.Absent = true })
	part(argo, fleet.Unsynced, "", func(p *fleet.Part) { p.Absent = true })
	fleet.SortParts(s.Parts)
	for _, o := range []fleet.Owner{web, api, db, shop} {
		s.Workloads = append(s.Workloads, fleet.Workload{Owner: o, Replicas: 1})
	}
	s.Databases = []fleet.Database{{
		ID: "instance stg", Engine: "postgres", Class: "db.t3.micro", Status: fleet.DatabaseAvailable, Storage: 20, Disk: "gp3",
		Answer: &fleet.Answer{Works: true, Login: true},
	}}
	s.Environments = []fleet.Environment{{Name: "staging", Source: "Environment staging", Spec: fleet.EnvironmentSpec{
		Workloads: []fleet.Selection{{Namespaces: []string{"staging"}}}, Groups: []string{"stg"}, Databases: []fleet.DatabaseSpec{{ID: "instance stg"}}, Archive: "s3://records/drover",
		Schedule: &fleet.Schedule{Zone: "Europe/Vienna", On: []fleet.Window{{Days: []time.Weekday{1, 2, 3, 4, 5}, From: "08:00", To: "19:00"}}},
		Rates:    []fleet.Rate{{Subject: "group stg", On: 0.107, Currency: "EUR", Source: "given"}, {Subject: "instance stg", On: 0.021, Off: 0.0035, Currency: "EUR", Source: "given"}},
	}}, {Name: "production", Source: "Environment production", Spec: fleet.EnvironmentSpec{Protected: true, Workloads: []fleet.Selection{{Namespaces: []string{"production"}}}, Groups: []string{"prod"}}}}
	return s
}

// roomOf answers for a snapshot.
func roomOf() *switchroom {
	w := &engine.Switcher{Engine: &engine.Engine{}}
	w.Options = env.Options{By: "ada@example", Book: price.Table(), Region: "eu-west-1"}
	return &switchroom{Switcher: w, place: "cluster shop, account 000000000000, eu-west-1"}
}

func text(print func(io.Writer)) string {
	var b strings.Builder
	print(&b)
	return b.String()
}

// narrow fails for lines that a terminal of 80 columns would break, but for sentences: those a terminal may wrap.
func narrowTable(t *testing.T, table string) {
	t.Helper()
	for line := range strings.SplitSeq(table, "\n") {
		if wide(line) > 80 && !strings.Contains(line, ": ") && !strings.HasSuffix(line, ".") {
			t.Errorf("%d columns: %q", wide(line), line)
		}
	}
}

func parsed(file string) ([]fleet.Environment, []error) {
	return v1alpha1.ParseEnvironments([]byte(file), "file staging.yaml")
}
