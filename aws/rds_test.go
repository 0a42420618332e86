package aws_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// instance makes a DB instance, and waits until it is available.
func (r *region) instance(id string, change func(*cloud.DBInstance)) cloud.DBInstance {
	r.Helper()
	i := cloud.DBInstance{Database: cloud.Database{ID: id, Engine: "postgres", User: "app"}, Class: "db.t3.micro", Storage: 20, Disk: "gp3"}
	if change != nil {
		change(&i)
	}
	password := "correct horse"
	if i.Cluster != "" {
		i.User, password = "", ""
	}
	made, err := r.sim.CreateDBInstance(i, password)
	r.ok(err)
	r.clock.Advance(20 * time.Minute)
	return made
}

// dbcluster makes an Aurora cluster with its writer NAME-a and reader NAME-b.
func (r *region) dbcluster(id string, change func(*cloud.DBCluster)) cloud.DBCluster {
	r.Helper()
	k := cloud.DBCluster{Database: cloud.Database{ID: id, Engine: "aurora-postgresql", User: "app"}}
	if change != nil {
		change(&k)
	}
	made, err := r.sim.CreateDBCluster(k, "correct horse")
	r.ok(err)
	r.clock.Advance(20 * time.Minute)
	for _, member := range []string{"-a", "-b"} {
		r.instance(id+member, func(i *cloud.DBInstance) { i.Engine, i.Cluster, i.Class = k.Engine, id, "db.r6g.large" })
	}
	return made
}

func (r *region) database(id string) fleet.Database {
	r.Helper()
	dbs, err := r.hand.Databases(ctx, []string{id})
	r.ok(err)
	if len(dbs) != 1 || dbs[0].ID != id {
		r.Fatalf("asked for %s, got %+v", id, dbs)
	}
	return dbs[0]
}

// db does what an environment wants of a database.
func (r *region) db(verb fleet.Verb, id string) error {
	return r.env(fleet.Action{Verb: verb, Database: id})
}

func TestDatabases(t *testing.T) {
	r := newRegion(t)
	made := r.instance("stg", func(i *cloud.DBInstance) { i.MultiAZ = true })
	cluster := r.dbcluster("shop", func(k *cloud.DBCluster) { k.MinACU, k.MaxACU = 0.5, 8 })
	got, err := r.hand.Databases(ctx, []string{"cluster shop", "instance stg"})
	r.ok(err)
	if len(got) != 2 {
		t.Fatalf("got %+v", got)
	}
	shop, stg := got[0], got[1]
	if stg.Host == "" || stg.Port != 5432 || stg.Zone == "" || stg.Version == "" || stg.ARN != made.ARN {
		t.Errorf("instance %+v", stg)
	}
	want := fleet.Database{
		ID: "instance stg", ARN: made.ARN, Engine: "postgres", Version: stg.Version, Status: "available", Class: "db.t3.micro", MultiAZ: true, Storage: 20, Disk: "gp3",
		Zone: stg.Zone, Host: stg.Host, Port: 5432,
	}
	if fmt.Sprintf("%+v", stg) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", stg, want)
	}
	if shop.ID != "cluster shop" || shop.ARN != cluster.ARN || shop.Status != "available" || shop.Class != "db.r6g.large" || !slices.Equal(shop.Members, []string{"shop-a", "shop-b"}) ||
		shop.MinACU != 0.5 || shop.MaxACU != 8 || shop.Storage != 0 || shop.Host == "" || shop.Port != 5432 || shop.Stuck != "" || shop.Trouble != "" || shop.Zone == "" {
		t.Errorf("cluster %+v", shop)
	}
	if none, err := r.hand.Databases(ctx, nil); err != nil || len(none) != 0 || r.calls("DescribeDBInstances") != 2 || r.calls("DescribeDBClusters") != 1 {
		t.Errorf("%v, %v, %d and %d calls", none, err, r.calls("DescribeDBInstances"), r.calls("DescribeDBClusters"))
	}
}

func TestManyDatabases(t *testing.T) {
	r := newRegion(t)
	r.hand = r.connect(5)
	var ids []string
	for n := range 120 {
		i := cloud.DBInstance{Database: cloud.Database{ID: fmt.Sprintf("db-%03d", n), Engine: "postgres", User: "app"}, Class: "db.t3.micro", Storage: 20}
		_, err := r.sim.CreateDBInstance(i, "correct horse")
		r.ok(err)
		ids = append(ids, "instance "+i.ID)
	}
	ids = append(ids, ids[0], "instance DB-001") // twice, and as RDS does not write it
	got, err := r.hand.Databases(ctx, ids)
	r.ok(err)
	for i, db := range got {
		if db.ID != ids[i] || db.Status == "" || db.Trouble != "" {
			t.Errorf("asked for %s, got %+v", ids[i], db)
		}
	}
	if len(got) != len(ids) || r.different("DescribeDBInstances") != 3 {
		t.Errorf("%d answers in %d calls", len(got), r.different("DescribeDBInstances"))
	}
}

func TestDatabasesThatAreNotThere(t *testing.T) {
	r := newRegion(t)
	r.instance("app-stg", nil)
	r.instance("billing", nil)
	r.dbcluster("shop", nil)
	for id, want := range map[string]string{
		"instance app-sgt": "RDS knows no instance app-sgt; there is instance app-stg",
		"instance app":     "RDS knows no instance app; there is instance app-stg",
		"instance shop":    "RDS knows no instance shop; there is cluster shop, instance shop-a, instance shop-b",
		"cluster shop-a":   "RDS knows no cluster shop-a; there is cluster shop, instance shop-a, instance shop-b",
		"cluster warehous": "RDS knows no cluster warehous",
		"stg":              `"stg" names no database: want "instance NAME" or "cluster NAME"`,
		"instance -stg":    `"instance -stg" names no database: want "instance NAME" or "cluster NAME"`,
		"table stg":        `"table stg" names no database: want "instance NAME" or "cluster NAME"`,
	} {
		if db := r.database(id); db.Trouble != want || db.Status != "" {
			t.Errorf("%s: trouble %q, want %q", id, db.Trouble, want)
		}
	}
	refusal(t, r.db(fleet.StopDatabase, "instance nobody"), "RDS knows no instance nobody any more")
	refusal(t, r.db(fleet.StopDatabase, "nobody"), `"nobody" names no database`)
	r.ok(r.db(fleet.UnmarkDatabase, "instance nobody"))
}

func TestRightsOnDatabasesThatAreMissing(t *testing.T) {
	r := newRegion(t)
	r.instance("stg", nil)
	r.dbcluster("shop", nil)
	denied := &cloud.Error{Code: "AccessDenied", Message: "User: drover is not authorized", Status: 403}
	r.sim.FailNext("rds:DescribeDBInstances", denied)
	got, err := r.hand.Databases(ctx, []string{"instance stg", "cluster shop"})
	r.ok(err)
	want := "describe databases: AWS refuses: AccessDenied: User: drover is not authorized; grant drover that permission: grant drover rds:DescribeDBInstances"
	if got[0].Trouble != want || got[1].Trouble != want || got[1].Status != "available" {
		t.Errorf("got %+v", got)
	}
	r.sim.FailNext("rds:DescribeDBClusters", denied)
	got, err = r.hand.Databases(ctx, []string{"instance stg", "cluster shop"})
	r.ok(err)
	if got[0].Trouble != "" || !strings.HasSuffix(got[1].Trouble, "grant drover rds:DescribeDBClusters") || got[1].Status != "" {
		t.Errorf("got %+v", got)
	}
	r.sim.FailNext("rds:DescribeDBInstances", denied)
	refusal(t, r.db(fleet.StopDatabase, "instance stg"), "grant drover rds:DescribeDBInstances")
	for verb, call := range map[fleet.Verb]string{fleet.MarkDatabase: "AddTagsToResource", fleet.StopDatabase: "StopDBInstance"} {
		r.sim.FailNext("rds:"+call, denied)
		var fatal *fleet.Fatal
		if err := r.db(verb, "instance stg"); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "grant drover that permission") {
			t.Errorf("%s: %v", verb, err)
		}
	}
	r.hand.Notices = true // the controller does the rest meanwhile
	r.sim.FailNext("rds:StopDBInstance", denied)
	refusal(t, r.db(fleet.StopDatabase, "instance stg"), "grant drover that permission")
}

func TestBusyRDS(t *testing.T) {
	r := newRegion(t)
	r.instance("stg", nil)
	r.sim.Throttle("rds:DescribeDBInstances", 1)
	_, err := r.hand.Databases(ctx, []string{"instance stg"})
	refusal(t, err, "describe databases: AWS is busy: Throttling")
	r.sim.Throttle("rds:StopDBInstance", 1)
	refusal(t, r.db(fleet.StopDatabase, "instance stg"), "AWS is busy: Throttling")
	r.sim.ExpireCredentials(true)
	var fatal *fleet.Fatal
	if _, err := r.hand.Databases(ctx, []string{"instance stg"}); !errors.As(err, &fatal) {
		t.Errorf("got %v", err)
	}
}

func TestStopAndStartADatabase(t *testing.T) {
	r := newRegion(t)
	r.instance("stg", nil)
	r.dbcluster("shop", nil)
	for id, calls := range map[string][2]string{"instance stg": {"StopDBInstance", "StartDBInstance"}, "cluster shop": {"StopDBCluster", "StartDBCluster"}} {
		r.ok(r.db(fleet.MarkDatabase, id))
		r.ok(r.db(fleet.StartDatabase, id)) // available: already so
		r.sim.LoseReply("rds:" + calls[0])
		if err := r.db(fleet.StopDatabase, id); err == nil {
			t.Error("the answer was lost, and nobody noticed")
		}
		r.ok(r.db(fleet.StopDatabase, id))
		if db := r.database(id); db.Status != "stopping" || !db.Restarts.IsZero() {
			t.Errorf("%+v", db)
		}
		err := r.db(fleet.StartDatabase, id)
		refusal(t, err, "it is stopping, and RDS starts it only once it is stopped")
		waits(t, err, 30*time.Second)
		r.clock.Advance(10 * time.Minute)
		r.ok(r.db(fleet.StopDatabase, id))
		if db := r.database(id); db.Status != "stopped" || db.Mark != "staging s-1" || db.Restarts.Sub(r.clock.Now()) < 6*24*time.Hour || db.Stuck != "" {
			t.Errorf("%+v", db)
		}
		for range 2 {
			r.ok(r.db(fleet.StartDatabase, id))
		}
		refusal(t, r.db(fleet.StopDatabase, id), "it is starting, and RDS stops it only while it is available")
		r.clock.Advance(10 * time.Minute)
		r.ok(r.db(fleet.StartDatabase, id))
		for range 2 {
			r.ok(r.db(fleet.UnmarkDatabase, id))
		}
		if db := r.database(id); db.Status != "available" || db.Mark != "" || db.Host == "" || !db.Restarts.IsZero() {
			t.Errorf("%+v", db)
		}
		for _, call := range calls {
			if r.calls(call) != 1 {
				t.Errorf("%d calls of %s", r.calls(call), call)
			}
		}
	}
}

func waits(t *testing.T, err error, least time.Duration) {
	t.Helper()
	var refused *fleet.Refused
	if !errors.As(err, &refused) || refused.Wait < least {
		t.Errorf("%v: asked again too soon", err)
	}
}

// RDS starts what has been stopped for seven days, and it can be stopped again.
func TestTheSevenDays(t *testing.T) {
	r := newRegion(t)
	r.instance("stg", nil)
	r.ok(r.db(fleet.StopDatabase, "instance stg"))
	r.clock.Advance(10 * time.Minute)
	r.clock.Advance(r.database("instance stg").Restarts.Sub(r.clock.Now()) + 6*time.Minute)
	refusal(t, r.db(fleet.StopDatabase, "instance stg"), "it is starting, and RDS stops it only while it is available")
	r.clock.Advance(time.Hour)
	r.ok(r.db(fleet.StopDatabase, "instance stg"))
	r.clock.Advance(time.Hour)
	if db := r.database("instance stg"); db.Status != "stopped" {
		t.Errorf("%+v", db)
	}
}

func TestDatabasesOfOtherEnvironments(t *testing.T) {
	r := newRegion(t)
	r.instance("stg", nil)
	r.ok(r.db(fleet.MarkDatabase, "instance stg"))
	r.ok(r.db(fleet.MarkDatabase, "instance stg"))
	if r.calls("AddTagsToResource") != 1 {
		t.Errorf("marked %d times", r.calls("AddTagsToResource"))
	}
	for _, verb := range []fleet.Verb{fleet.MarkDatabase, fleet.UnmarkDatabase, fleet.StopDatabase, fleet.StartDatabase, fleet.SetCapacity} {
		err := r.hand.Act(ctx, fleet.Action{Verb: verb, Database: "instance stg", Environment: "qa", Run: "s-9"})
		refusal(t, err, "it is marked by environment staging (tag drover:environment: staging s-1), which is to give it back first")
	}
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.MarkDatabase, Database: "instance stg", Environment: "staging", Run: "s-2"})) // its next sleep
	if db := r.database("instance stg"); db.Mark != "staging s-2" || db.Status != "available" {
		t.Errorf("%+v", db)
	}
}

func TestCapacity(t *testing.T) {
	r := newRegion(t)
	r.dbcluster("shop", func(k *cloud.DBCluster) { k.MinACU, k.MaxACU = 2, 8 })
	r.instance("stg", nil)
	set := func(id string, acu float64) error {
		return r.env(fleet.Action{Verb: fleet.SetCapacity, Database: id, ACU: acu})
	}
	for _, acu := range []float64{0, 0, 2, 2} {
		r.ok(set("cluster shop", acu))
		r.clock.Advance(10 * time.Minute)
		if db := r.database("cluster shop"); db.MinACU != acu || db.MaxACU != 8 {
			t.Errorf("capacity %g to %g, want %g to 8", db.MinACU, db.MaxACU, acu)
		}
	}
	if r.calls("ModifyDBCluster") != 2 {
		t.Errorf("%d calls", r.calls("ModifyDBCluster"))
	}
	refusal(t, set("cluster shop", 9), "its most capacity units are 8, below the least of 9 that it is to have")
	refusal(t, set("instance stg", 0), "it is no Serverless v2 cluster, so it has no capacity to set")
	r.ok(r.db(fleet.StopDatabase, "cluster shop"))
	refusal(t, set("cluster shop", 1), "it is stopping, and RDS changes its capacity only while it is available")
	r.ok(set("cluster shop", 2)) // already so, whatever its state
}

func TestWhatRDSCannotStop(t *testing.T) {
	r := newRegion(t)
	r.instance("main", func(i *cloud.DBInstance) { i.Retention = 7 })
	_, err := r.sim.CreateDBInstanceReadReplica("main", cloud.DBInstance{Database: cloud.Database{ID: "copy"}})
	r.ok(err)
	r.clock.Advance(time.Hour)
	r.dbcluster("shop", nil)
	r.dbcluster("old", func(k *cloud.DBCluster) { k.Mode = "serverless" })
	r.dbcluster("world", func(k *cloud.DBCluster) { k.Global = "planet" })
	for id, want := range map[string]string{
		"instance main":   "it has read replicas, and RDS stops no source of any: promote or delete copy first, or take it out of the environment, and it stays on",
		"instance copy":   "it is a read replica of main, and RDS stops none: promote it, or",
		"instance shop-a": `it is a member of a cluster, which RDS stops as a whole: name "cluster shop" in its place`,
		"cluster old":     "it is Aurora Serverless v1, which RDS does not stop: have it pause by itself, upgrade it to Serverless v2, or",
		"cluster world":   "it is part of global database planet, which RDS does not stop: remove it from that first, or",
	} {
		if db := r.database(id); !strings.HasPrefix(db.Stuck, want) || db.Trouble != "" {
			t.Errorf("%s is stuck: %q, want %q (%s)", id, db.Stuck, want, db.Trouble)
		}
		err := r.db(fleet.StopDatabase, id)
		refusal(t, err, "RDS cannot stop it: "+want)
		waits(t, err, time.Minute)
	}
	for _, call := range []string{"StopDBInstance", "StopDBCluster"} {
		if r.calls(call) != 0 {
			t.Errorf("%s was called all the same", call)
		}
	}
}

// says has RDS answer with a database as it is written here.
func (r *region) says(call, list, element string) {
	r.tell(call, func(url.Values) (int, string) {
		return http.StatusOK, fmt.Sprintf(`<%[1]sResponse><%[1]sResult><%[2]s>%[3]s</%[2]s></%[1]sResult></%[1]sResponse>`, call, list, element)
	})
}

// What the simulation has not: other engines, states and gaps.
func TestOtherDatabases(t *testing.T) {
	r := newRegion(t)
	const named = `<DBInstanceIdentifier>x</DBInstanceIdentifier>`
	for what, c := range map[string]struct{ element, stuck, trouble, stop, start string }{
		"custom":        {`<Engine>custom-oracle-ee</Engine><DBInstanceStatus>available</DBInstanceStatus>`, "it is RDS Custom, which RDS does not stop: take it out of the environment", "", "RDS Custom", ""},
		"sqlserver":     {`<Engine>sqlserver-se</Engine><MultiAZ>true</MultiAZ><DBInstanceStatus>available</DBInstanceStatus>`, "it is SQL Server in several zones", "", "SQL Server in several zones", ""},
		"sqlserver one": {`<Engine>sqlserver-se</Engine><DBInstanceStatus>backing-up</DBInstanceStatus>`, "", "", "it is backing-up, and RDS stops it only while it is available", "it is backing-up, and RDS starts it only once"},
		"aurora copy": {`<ReadReplicaDBClusterIdentifiers><ReadReplicaDBClusterIdentifier>arn:c</ReadReplicaDBClusterIdentifier></ReadReplicaDBClusterIdentifiers><DBInstanceStatus>available</DBInstanceStatus>`,
			"it has read replicas, and RDS stops no source of any: promote or delete arn:c first", "", "read replicas", ""},
		"new state": {`<DBInstanceStatus>contemplating</DBInstanceStatus>`, "", "", `it is "contemplating", a state that drover does not know, and RDS stops it only while it is available`,
			`it is "contemplating", a state that drover does not know, and RDS starts it only once it is stopped`},
		"full": {`<DBInstanceStatus>storage-full</DBInstanceStatus>`, "", "", "it is storage-full, which RDS does not leave before somebody has mended it", "it is storage-full, which"},
		"bare": {``, "", "RDS does not say in which state it is", "RDS does not say in which state it is", "RDS does not say in which state it is"},
	} {
		r.says("DescribeDBInstances", "DBInstances", "<DBInstance>"+named+c.element+"</DBInstance>")
		if db := r.database("instance x"); !strings.HasPrefix(db.Stuck, c.stuck) || c.stuck == "" && db.Stuck != "" || db.Trouble != c.trouble {
			t.Errorf("%s: %+v", what, db)
		}
		for verb, want := range map[fleet.Verb]string{fleet.StopDatabase: c.stop, fleet.StartDatabase: c.start} {
			err := r.db(verb, "instance x")
			if want == "" {
				r.ok(err)
				continue
			}
			refusal(t, err, want)
			waits(t, err, 30*time.Second)
		}
	}
	for call := range map[string]bool{"StopDBInstance": true, "StartDBInstance": true} {
		if r.calls(call) != 0 {
			t.Errorf("%s was called", call)
		}
	}
}

func TestOtherClusters(t *testing.T) {
	r := newRegion(t)
	for element, want := range map[string]string{
		`<Engine>postgres</Engine><Status>available</Status>`:                                                                                                          "it is a Multi-AZ cluster of postgres, and RDS stops only Aurora's",
		`<Engine>aurora-mysql</Engine><EngineMode>multimaster</EngineMode><Status>available</Status>`:                                                                  "it has several masters",
		`<Engine>aurora-mysql</Engine><EngineMode>parallelquery</EngineMode><Status>available</Status>`:                                                                "it is made for parallel queries",
		`<Engine>aurora-mysql</Engine><EngineMode>global</EngineMode><Status>available</Status>`:                                                                       "it is part of global database, which",
		`<Engine>aurora-mysql</Engine><ReplicationSourceIdentifier>arn:s</ReplicationSourceIdentifier><Status>available</Status>`:                                      "it is a replica of arn:s",
		`<Engine>aurora-mysql</Engine><ReadReplicaIdentifiers><ReadReplicaIdentifier>arn:r</ReadReplicaIdentifier></ReadReplicaIdentifiers><Status>available</Status>`: "it has read replicas, and RDS stops no source of any: promote or delete arn:r",
		`<Engine>docdb</Engine><Status>stopped</Status>`:                                                                                                               "",
	} {
		r.says("DescribeDBClusters", "DBClusters", "<DBCluster><DBClusterIdentifier>k</DBClusterIdentifier>"+element+"</DBCluster>")
		if db := r.database("cluster k"); !strings.HasPrefix(db.Stuck, want) || want == "" && db.Stuck != "" {
			t.Errorf("%s: stuck %q", element, db.Stuck)
		}
	}
}

// What RDS answers where waiting, or people, may mend it.
func TestRDSRefuses(t *testing.T) {
	r := newRegion(t)
	r.instance("stg", nil)
	r.ok(r.db(fleet.StopDatabase, "instance stg"))
	r.clock.Advance(time.Hour)
	for code, want := range map[string]string{
		"InvalidDBInstanceState":             "RDS says that its state does not allow it now: no",
		"InsufficientDBInstanceCapacity":     "RDS has no capacity for its class in its zones now: no",
		"KMSKeyNotAccessibleFault":           "the key that it is encrypted with is out of reach: no; enable the key",
		"DBSubnetGroupDoesNotCoverEnoughAZs": "its network does not allow it: no",
		"DBInstanceNotFound":                 "RDS does not know it any more: no",
		"InvalidParameterCombination":        "RDS does not do that with it: no",
	} {
		r.sim.FailNext("rds:StartDBInstance", &cloud.Error{Code: code, Message: "no", Status: 400})
		err := r.db(fleet.StartDatabase, "instance stg")
		refusal(t, err, want)
		waits(t, err, 30*time.Second)
	}
	r.sim.FailNext("rds:StartDBInstance", &cloud.Error{Code: "SomethingNew", Message: "no", Status: 400})
	if err := r.db(fleet.StartDatabase, "instance stg"); err == nil || err.Error() != "SomethingNew: no" {
		t.Errorf("got %v", err)
	}
	r.ok(r.db(fleet.StartDatabase, "instance stg"))
}
