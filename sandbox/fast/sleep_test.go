package fast

import (
	"context"
	"errors"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/cluster"
)

func asleep(a fleet.Action) fleet.Action {
	a.Environment, a.Run = "staging", "s-1"
	return a
}

func bedOf(g *fleet.Group) *fleet.GroupSleep {
	return &fleet.GroupSleep{Environment: "staging", Run: "s-1", Min: g.Min, Max: g.Max, Desired: g.Desired, Suspended: !g.IsSuspended(fleet.AZRebalance)}
}

func TestGroupGoesToSleepAndIsPutBack(t *testing.T) {
	for name, managed := range map[string]bool{"self-managed": false, "managed": true} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, Options{})
			if managed {
				l.must(l.AddNodegroup(NodegroupSpec{Name: "stg", Size: 2, Min: 2, Max: 4}))
			} else {
				l.must(l.AddGroup(GroupSpec{Name: "stg", Size: 2, Min: 2, Max: 4}))
			}
			l.settle()
			l.Advance(time.Minute)
			before, g := l.Settings(), l.group("stg")
			ids := []string{g.Instances[0].ID, g.Instances[1].ID}

			mark := asleep(fleet.Action{Verb: fleet.MarkGroup, Group: "stg", Bed: bedOf(g)})
			l.must(l.act(mark))
			l.must(l.act(mark)) // already so
			l.equal("mark", *l.group("stg").Sleep, *mark.Bed)
			other := asleep(fleet.Action{Verb: fleet.MarkGroup, Group: "stg", Bed: &fleet.GroupSleep{Environment: "staging", Run: "s-1", Min: 0, Max: 4, Desired: 0}})
			l.refused(l.act(other), "is written once")
			stranger := fleet.Action{Verb: fleet.Bound, Environment: "qa", Run: "s-9", Group: "stg", From: 2, To: 0}
			l.refused(l.act(stranger), "the group carries sleep s-1 of environment staging, expected s-9 of qa")

			l.refused(l.act(asleep(fleet.Action{Verb: fleet.Bound, Group: "stg", From: 1, To: 0})), "the minimum is 2 by now, expected 1")
			l.must(l.act(asleep(fleet.Action{Verb: fleet.Bound, Group: "stg", From: 2, To: 0})))
			l.must(l.act(asleep(fleet.Action{Verb: fleet.Protect, Group: "stg", Instances: ids})))
			l.equal("protected", []bool{l.group("stg").Instances[0].Protected, l.group("stg").Instances[1].Protected}, []bool{true, true})
			l.must(l.act(asleep(fleet.Action{Verb: fleet.Unprotect, Group: "stg", Instances: ids})))
			l.Advance(time.Minute)
			l.must(l.act(asleep(fleet.Action{Verb: fleet.Bound, Group: "stg", From: 0, To: 2})))
			l.must(l.act(asleep(fleet.Action{Verb: fleet.UnmarkGroup, Group: "stg"})))
			l.must(l.act(asleep(fleet.Action{Verb: fleet.UnmarkGroup, Group: "stg"})))
			l.Advance(time.Minute)
			l.equal("as it was", l.Settings(), before)
		})
	}
}

func TestDesiredStaysWithinBounds(t *testing.T) {
	l := newLab(t, Options{})
	l.must(l.AddGroup(GroupSpec{Name: "stg", Size: 2, Min: 1, Max: 3}))
	l.refused(l.act(asleep(fleet.Action{Verb: fleet.Resize, Group: "stg", From: 2, To: 0})), "the group's minimum is 1")
	l.refused(l.act(asleep(fleet.Action{Verb: fleet.Resize, Group: "stg", From: 2, To: 5})), "the group's maximum is 3")
}

func (l *lab) database(id string) fleet.Database {
	l.t.Helper()
	found, err := l.hand.Databases(context.Background(), []string{id})
	l.must(err)
	return found[0]
}

// addDatabase makes an instance and waits for it.
func (l *lab) addDatabase(name string) {
	l.t.Helper()
	_, err := l.Cloud.CreateDBInstance(cloud.DBInstance{Database: cloud.Database{ID: name, Engine: "postgres", User: "app"}, Class: "db.t3.micro", Storage: 20}, "secret-word")
	l.must(err)
	if !l.Await(time.Hour, func() bool { return l.Answers("instance " + name) }) {
		l.t.Fatalf("database %s does not come up: %s", name, l.Settings())
	}
}

func TestDatabaseStopsAndStarts(t *testing.T) {
	l := newLab(t, Options{})
	l.addDatabase("stg")
	l.must(l.AddGroup(GroupSpec{Name: "stg", Size: 1}))
	app := deployment("app", 1)
	app.Needs = []string{"instance stg"}
	l.must(l.Deploy(app))
	l.settle()
	before := l.Settings()

	db := l.database("instance stg")
	spec := fleet.DatabaseSpec{ID: db.ID, Secret: "web/stg"}
	l.Connect(db.ID, fleet.Session{User: "ann", From: "10.9.9.9"})
	a := l.hand.Ask(context.Background(), db, spec)
	l.equal("answers", []any{a.Works, a.Login, len(a.Sessions), a.Sessions[0].User, a.Sessions[1].From}, []any{true, true, 2, "ann", l.Cluster.Pods(app.Owner)[0].IP})

	l.must(l.act(asleep(fleet.Action{Verb: fleet.MarkDatabase, Database: db.ID})))
	l.refused(l.act(fleet.Action{Verb: fleet.StopDatabase, Environment: "qa", Run: "s-9", Database: db.ID}), "it is marked by environment staging")
	l.must(l.act(asleep(fleet.Action{Verb: fleet.StopDatabase, Database: db.ID})))
	l.must(l.act(asleep(fleet.Action{Verb: fleet.StopDatabase, Database: db.ID})))
	l.refused(l.act(asleep(fleet.Action{Verb: fleet.StartDatabase, Database: db.ID})), "it is stopping, and RDS starts it only once it is stopped")
	l.equal("its pod has crashed", l.Cluster.Pods(app.Owner)[0].Ready, false)
	l.Advance(10 * time.Minute)
	db = l.database(db.ID)
	l.equal("stopped", []any{db.Status, db.Mark, l.hand.Ask(context.Background(), db, spec).Works}, []any{"stopped", "staging s-1", false})

	l.Advance(8 * 24 * time.Hour)
	l.equal("RDS starts it again", l.database(db.ID).Status, "available")
	l.must(l.act(asleep(fleet.Action{Verb: fleet.StopDatabase, Database: db.ID})))
	l.Advance(10 * time.Minute)
	l.must(l.act(asleep(fleet.Action{Verb: fleet.StartDatabase, Database: db.ID})))
	l.Advance(20 * time.Minute)
	l.must(l.act(asleep(fleet.Action{Verb: fleet.UnmarkDatabase, Database: db.ID})))
	l.equal("as it was", l.Settings(), before)
	l.equal("serves again", l.Cluster.Pods(app.Owner)[0].Ready, true)
}

func TestDatabaseThatIsNotThere(t *testing.T) {
	l := newLab(t, Options{})
	l.equal("trouble", l.database("instance nope").Trouble, "RDS knows no instance nope")
	l.equal("no id", l.database("nope").Trouble, `"nope" names no database: want "instance NAME" or "cluster NAME"`)
	l.refused(l.act(asleep(fleet.Action{Verb: fleet.StopDatabase, Database: "instance nope"})), "RDS knows no instance nope any more")
	l.must(l.act(asleep(fleet.Action{Verb: fleet.UnmarkDatabase, Database: "instance nope"})))
}

func TestArchiveKeepsOriginals(t *testing.T) {
	w := New(Options{})
	a, ctx := w.Archive(), context.Background()
	r := fleet.SleepRecord{Environment: "staging", Run: "s-1", Parts: []fleet.PartRecord{{Owner: fleet.Owner{Kind: "Deployment", Namespace: "web", Name: "api"}, Value: "3"}}}
	save := func(r fleet.SleepRecord) error { return a.Save(ctx, "file:///a", r) }
	if err := save(r); err != nil {
		t.Fatal(err)
	}
	zero := r.Clone()
	zero.Parts[0].Value = "0"
	var fatal *fleet.Fatal
	if err := save(zero); !errors.As(err, &fatal) {
		t.Fatalf("other originals: got %v, want them refused for good", err)
	}
	kept, err := a.Load(ctx, "file:///a", "staging")
	if err != nil || len(kept) != 1 || kept[0].Parts[0].Value != "3" {
		t.Fatalf("got %v, %v", kept, err)
	}
	a.Away(true)
	if _, err := a.Load(ctx, "file:///a", "staging"); err == nil {
		t.Fatal("an archive that is away was read")
	}
}

// A switch in the world in memory: what the cluster's hand and the cloud's see is one moment.
func TestEnvironmentIsObserved(t *testing.T) {
	l := newLab(t, Options{Unslept: "the kind is not installed"})
	l.must(l.Deploy(cluster.Spec{Owner: fleet.Owner{Kind: "Deployment", Namespace: "staging", Name: "web"}, Replicas: 1}))
	l.Cluster.Declare("staging", fleet.EnvironmentSpec{Workloads: []fleet.Selection{{Namespaces: []string{"staging"}}}})
	s := l.observe()
	l.must(l.ClusterHand().ObserveEnvironments(context.Background(), &s))
	l.equal("seen", []any{s.Environments[0].Name, s.Parts[0].ID(), s.Unslept}, []any{"staging", "Deployment staging/web", "the kind is not installed"})
	r := fleet.SleepRecord{Environment: "staging", Run: "s-1"}
	var fatal *fleet.Fatal
	if err := l.act(asleep(fleet.Action{Verb: fleet.Remember, Sleep: &r})); !errors.As(err, &fatal) {
		t.Fatalf("got %v, want that no retry mends it", err)
	}
}
