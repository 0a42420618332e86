package cloud

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// db makes the DB instance "stg" with changes and lets it settle.
func (l *lab) db(change func(*DBInstance)) {
	l.t.Helper()
	i := DBInstance{Class: "db.t3.medium", Storage: 20, Database: Database{ID: "stg", Engine: "postgres", User: "app", Retention: 7}}
	if change != nil {
		change(&i)
	}
	_, err := l.CreateDBInstance(i, "password")
	l.must(err)
	l.settle()
	l.settle()
}

func (l *lab) instance(id string) DBInstance {
	l.t.Helper()
	all, err := l.DescribeDBInstances(id, nil)
	l.must(err)
	return all[0]
}

func (l *lab) aurora(id string) DBCluster {
	l.t.Helper()
	all, err := l.DescribeDBClusters(id, nil)
	l.must(err)
	return all[0]
}

// cluster makes the cluster "shop" with a writer and a reader, which scale by themselves.
func (l *lab) cluster(change func(*DBCluster)) {
	l.t.Helper()
	k := DBCluster{MinACU: 0.5, MaxACU: 8, Database: Database{ID: "shop", Engine: "aurora-postgresql", User: "app", Retention: 1}}
	if change != nil {
		change(&k)
	}
	_, err := l.CreateDBCluster(k, "password")
	l.must(err)
	l.settle()
	for _, id := range []string{"shop-1", "shop-2"} {
		_, err := l.CreateDBInstance(DBInstance{Class: "db.serverless", Cluster: "shop", Database: Database{ID: id, Engine: "aurora-postgresql"}}, "")
		l.must(err)
		l.settle()
	}
}

// said lists the ids of RDS's events about a source since a time.
func (l *lab) said(source, kind string, since time.Time) string {
	l.t.Helper()
	all, err := l.DescribeDBEvents(DBEventQuery{Source: source, SourceType: kind, From: since})
	l.must(err)
	var out []string
	for _, e := range all {
		out = append(out, fmt.Sprintf("%s +%v", strings.TrimPrefix(e.ID, "RDS-EVENT-"), e.At.Sub(since)))
	}
	return strings.Join(out, ", ")
}

// statuses lists each status of a database with the time at which it is seen first, for as long as d.
func (l *lab) statuses(status func() string, d time.Duration) string {
	var out []string
	last := ""
	for n := time.Duration(0); n <= d; n += 10 * time.Second {
		if s := status(); s != last {
			out = append(out, fmt.Sprintf("%s +%v", s, n))
			last = s
		}
		l.clock.Advance(10 * time.Second)
	}
	return strings.Join(out, ", ")
}

func TestLifeOfADBInstance(t *testing.T) {
	l := newLab(t, Config{})
	status := func() string { return l.instance("stg").Status }
	start := l.clock.Now()
	i, err := l.CreateDBInstance(DBInstance{Class: "db.t3.medium", Storage: 20, Database: Database{ID: "Stg", Engine: "postgres", User: "app", Retention: 7}}, "password")
	l.must(err)
	l.equal("at first", fmt.Sprint(i.ID, " ", i.Status, i.Endpoint), "stg creating{ 0}")
	l.equal("made", l.statuses(status, 8*time.Minute), "creating +0s, backing-up +5m0s, available +7m0s")
	l.equal("said", l.said("stg", "db-instance", start), "0005 +5m0s, 0001 +5m0s, 0002 +7m0s")
	before := l.instance("stg")
	l.equal("endpoint", before.Endpoint, "{stg.c0drover0000.eu-west-1.rds.amazonaws.com 5432}")
	l.equal("groups", fmt.Sprint(before.SecurityGroups, before.ParameterGroup, before.SubnetGroup), fmt.Sprint([]string{defaultSecurityGroup}, "default.postgres16default"))

	start = l.clock.Now()
	_, err = l.StopDBInstance("stg", "last")
	l.must(err)
	l.equal("stop", l.statuses(status, 5*time.Minute), "stopping +0s, stopped +3m0s")
	stopped := l.instance("stg")
	l.equal("restarts", stopped.Restarts, start.Add(3*time.Minute+7*24*time.Hour))
	l.equal("endpoint", stopped.Endpoint, before.Endpoint)
	l.equal("latest", stopped.Latest, start.Add(3*time.Minute-5*time.Minute))
	l.clock.Advance(time.Hour)
	l.equal("latest, an hour later", l.instance("stg").Latest, stopped.Latest)
	_, err = l.StartDBInstance("stg")
	l.must(err)
	l.equal("start", l.statuses(status, 6*time.Minute), "starting +0s, available +5m0s")
	after := l.instance("stg")
	l.equal("after", fmt.Sprint(after.Restarts, after.Endpoint), fmt.Sprint(time.Time{}, before.Endpoint))
	if !strings.Contains(l.said("stg", "db-instance", start), "0087 +3m0s, 0088 +1h10m10s") {
		t.Fatal(l.said("stg", "db-instance", start))
	}
	l.equal("snapshot", l.said("last", "db-snapshot", start), "0040 +0s, 0042 +3m0s")

	_, err = l.RebootDBInstance("stg")
	l.must(err)
	l.equal("reboot", l.statuses(status, 2*time.Minute), "rebooting +0s, available +1m0s")
	_, err = l.ModifyDBInstance("stg", DBChange{Class: new("db.t3.large"), MultiAZ: new(true), Now: true})
	l.must(err)
	l.equal("modify", l.statuses(status, 5*time.Minute), "modifying +0s, available +4m0s")
	_, err = l.StopDBInstance("stg", "")
	l.must(err)
	l.equal("stop in Multi-AZ", l.statuses(status, 7*time.Minute), "stopping +0s, stopped +6m0s")

	_, err = l.DeleteDBInstance("stg", "", false)
	l.must(err)
	l.settle()
	_, err = l.DescribeDBInstances("stg", nil)
	l.refused(err, "DBInstanceNotFound", "DBInstance stg not found.")
	left, err := l.DescribeDBSnapshots(SnapshotQuery{})
	l.must(err)
	l.equal("snapshots left", fmt.Sprint(len(left), left[0].ID), "1last")
}

func TestDatabaseNotInTheState(t *testing.T) {
	l := newLab(t, Config{})
	l.db(nil)
	_, err := l.StartDBInstance("stg")
	l.refused(err, "InvalidDBInstanceState", "Instance stg is not in stopped state.")
	_, err = l.StopDBInstance("stg", "")
	l.must(err)
	for _, again := range []func() error{
		func() error { _, err := l.StopDBInstance("stg", ""); return err },
		func() error { _, err := l.RebootDBInstance("stg"); return err },
		func() error { _, err := l.ModifyDBInstance("stg", DBChange{Retention: new(3)}); return err },
		func() error { _, err := l.CreateDBSnapshot("stg", false, "s", nil); return err },
		func() error { _, err := l.DeleteDBInstance("stg", "", false); return err },
		func() error { _, err := l.DeleteDBInstance("stg", "final", false); return err },
	} {
		l.refused(again(), "InvalidDBInstanceState", "Instance stg is not in available")
	}
	l.settle()
	_, err = l.ModifyDBInstance("stg", DBChange{Class: new("db.t3.large"), Now: true})
	l.refused(err, "InvalidDBInstanceState", "Instance stg is not in available state.")
	_, err = l.StopDBInstance("none", "")
	l.refused(err, "DBInstanceNotFound", "none")
}

func TestWhatRDSCannotStop(t *testing.T) {
	l := newLab(t, Config{})
	l.db(nil)
	l.cluster(nil)
	_, err := l.CreateDBInstanceReadReplica("stg", DBInstance{Database: Database{ID: "reader"}})
	l.must(err)
	for id, engine := range map[string]string{"mssql": "sqlserver-se", "custom": "custom-oracle-ee"} {
		_, err := l.CreateDBInstance(DBInstance{Class: "db.m5.large", Storage: 20, MultiAZ: id == "mssql", Database: Database{ID: id, Engine: engine, Version: "15.00", User: "app"}}, "password")
		l.must(err)
	}
	l.settle()
	l.settle()
	for _, c := range []struct{ id, code, text string }{
		{"stg", "InvalidDBInstanceState", "reader"},
		{"reader", "InvalidDBInstanceState", "Cannot stop or start a Read-Replica instance"},
		{"mssql", "InvalidDBInstanceState", "SQL Server instance in a Multi-AZ deployment"},
		{"custom", "InvalidParameterCombination", "custom-oracle-ee DB instances are not eligible"},
		{"shop-1", "InvalidParameterCombination", "aurora-postgresql DB instances are not eligible for stopping and starting."},
	} {
		l.equal(c.id, l.instance(c.id).Status, DBAvailable)
		_, err := l.StopDBInstance(c.id, "")
		l.refused(err, c.code, c.text)
		_, err = l.StartDBInstance(c.id)
		l.refused(err, c.code, c.text)
	}
	for id, change := range map[string]func(*DBCluster){
		"old": func(k *DBCluster) { k.Mode = "serverless" }, "many": func(k *DBCluster) { k.Mode = "multimaster" },
		"fast": func(k *DBCluster) { k.Mode = "parallelquery" }, "world": func(k *DBCluster) { k.Global = "earth" },
	} {
		k := DBCluster{Database: Database{ID: id, Engine: "aurora-mysql", User: "app"}}
		change(&k)
		_, err := l.CreateDBCluster(k, "password")
		l.must(err)
		l.settle()
		_, err = l.StopDBCluster(id)
		l.refused(err, "InvalidDBClusterStateFault", id)
	}
	_, err = l.DeleteDBInstance("reader", "", false)
	l.must(err)
	l.settle()
	_, err = l.StopDBInstance("stg", "") // it is no source any more
	l.must(err)
}

func TestRDSStartsWhatIsStoppedTooLong(t *testing.T) {
	l := newLab(t, Config{Timing: Timing{Databases: DatabaseTiming{RestartGap: 9 * time.Minute}}})
	l.db(nil)
	l.cluster(nil)
	_, err := l.StopDBInstance("stg", "")
	l.must(err)
	_, err = l.StopDBCluster("shop")
	l.must(err)
	l.clock.Advance(3 * time.Minute)
	l.clock.Advance(7*24*time.Hour - time.Minute)
	due := l.clock.Now()
	status := func() string {
		return l.instance("stg").Status + " " + l.aurora("shop").Status + " " + l.instance("shop-1").Status
	}
	l.equal("statuses", l.statuses(status, 20*time.Minute), "stopped stopped stopped +0s, starting starting starting +10m0s, available available available +15m0s")
	l.equal("instance", l.said("stg", "db-instance", due), "0154 +1m0s, 0088 +15m0s")
	l.equal("cluster", l.said("shop", "db-cluster", due), "0153 +1m0s, 0151 +15m0s")
	l.equal("member", l.said("shop-1", "db-instance", due), "0088 +15m0s")
	l.equal("restarts", l.instance("stg").Restarts, time.Time{})
	l.clock.Advance(30 * 24 * time.Hour)
	l.equal("a month later", l.instance("stg").Status, DBAvailable)
}

func TestRestartIsOfOneStop(t *testing.T) {
	l := newLab(t, Config{})
	l.db(func(i *DBInstance) { i.Retention = 0 })
	stop := func() {
		_, err := l.StopDBInstance("stg", "")
		l.must(err)
		l.settle()
	}
	stop()
	l.clock.Advance(6 * 24 * time.Hour)
	_, err := l.StartDBInstance("stg")
	l.must(err)
	l.settle()
	stop() // a new lease of seven days
	l.clock.Advance(2 * 24 * time.Hour)
	l.equal("a day after the first lease", l.instance("stg").Status, DBStopped)

	l.LoseEvents("RDS-EVENT-0154", 1)
	l.must(l.RestartDatabase("instance stg"))
	l.clock.Advance(time.Minute)
	l.equal("in the gap", l.instance("stg").Status, DBStopped)
	_, err = l.StopDBInstance("stg", "")
	l.refused(err, "InvalidDBInstanceState", "not in available state")
	_, err = l.StartDBInstance("stg") // somebody is faster than RDS
	l.must(err)
	l.settle()
	stop()
	l.equal("stopped again", l.statuses(func() string { return l.instance("stg").Status }, 20*time.Minute), "stopped +0s")
	if err := l.RestartDatabase("instance none"); err == nil {
		t.Fatal("restarted nothing")
	}
}

func TestDatabaseEventsOnTheBus(t *testing.T) {
	l := newLab(t, Config{Timing: Timing{EventDelay: -1}})
	url, err := l.CreateQueue("heard", nil, nil)
	l.must(err)
	arn := "arn:aws:sqs:eu-west-1:123456789012:heard"
	l.must(l.SetQueueAttributes(url, map[string]string{"Policy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"` + arn + `"}]}`}))
	_, err = l.PutRule(Rule{Name: "rds", State: RuleEnabled, Pattern: `{"source":["aws.rds"],"detail":{"EventID":["RDS-EVENT-0154"]}}`}, nil)
	l.must(err)
	l.must(l.PutTargets("rds", []RuleTarget{{ID: "q", ARN: arn}}))
	l.db(nil)
	_, err = l.StopDBInstance("stg", "")
	l.must(err)
	l.settle()
	at := l.clock.Now()
	l.must(l.RestartDatabase("instance stg"))
	l.clock.Advance(time.Second)
	got, err := l.ReceiveMessage(url, Receive{})
	l.must(err)
	var e struct {
		DetailType string `json:"detail-type"`
		Source     string
		Resources  []string
		Detail     map[string]any
	}
	l.must(json.Unmarshal([]byte(got[0].Body), &e))
	l.equal("event", fmt.Sprint(e.Source, ", ", e.DetailType, ", ", e.Resources), "aws.rds, RDS DB Instance Event, [arn:aws:rds:eu-west-1:123456789012:db:stg]")
	l.equal("detail", fmt.Sprint(e.Detail), fmt.Sprint(map[string]any{
		"EventCategories": []any{"notification"}, "SourceType": "DB_INSTANCE", "SourceArn": "arn:aws:rds:eu-west-1:123456789012:db:stg",
		"Date": at.Format("2006-01-02T15:04:05.000Z"), "Message": "DB instance is being started due to it exceeding the maximum allowed time being stopped.",
		"SourceIdentifier": "stg", "EventID": "RDS-EVENT-0154",
	}))
}

func TestClusterTakesItsMembersAlong(t *testing.T) {
	l := newLab(t, Config{})
	l.cluster(nil)
	k := l.aurora("shop")
	l.equal("members", k.Members, []DBMember{{"shop-1", true}, {"shop-2", false}})
	l.equal("endpoint", k.Endpoint.Host, "shop.cluster-c0drover0000.eu-west-1.rds.amazonaws.com")
	_, err := l.RebootDBInstance("shop-2")
	l.must(err)
	_, err = l.StopDBCluster("shop")
	l.refused(err, "InvalidDBInstanceState", "Instance shop-2 is not in available state.")
	l.settle()
	_, err = l.StopDBCluster("shop")
	l.must(err)
	l.equal("stopping", l.instance("shop-2").Status, DBStopping)
	l.settle()
	_, err = l.StopDBCluster("shop")
	l.refused(err, "InvalidDBClusterStateFault", "DBCluster shop is not in available state.")
	_, err = l.ModifyDBCluster("shop", DBChange{MinACU: new(0.0)})
	l.refused(err, "InvalidDBClusterStateFault", "not in available state")
	_, err = l.CreateDBInstance(DBInstance{Class: "db.serverless", Cluster: "shop", Database: Database{ID: "shop-3", Engine: "aurora-postgresql"}}, "")
	l.refused(err, "InvalidDBClusterStateFault", "not in available state")
	_, err = l.StartDBCluster("shop")
	l.must(err)
	l.settle()
	l.equal("started", l.aurora("shop").Status+l.instance("shop-1").Status, DBAvailable+DBAvailable)

	_, err = l.DeleteDBCluster("shop", "", false)
	l.refused(err, "InvalidDBClusterStateFault", "still contains DB instances")
	_, err = l.DeleteDBInstance("shop-1", "", false)
	l.must(err)
	l.settle()
	l.equal("the other writes", l.aurora("shop").Members, []DBMember{{"shop-2", true}})
	_, err = l.DeleteDBInstance("shop-2", "", false)
	l.must(err)
	_, err = l.DeleteDBCluster("shop", "final", false)
	l.must(err)
	l.settle()
	_, err = l.DescribeDBClusters("shop", nil)
	l.refused(err, "DBClusterNotFoundFault", "shop")
	left, err := l.DescribeDBSnapshots(SnapshotQuery{Cluster: true})
	l.must(err)
	l.equal("snapshots", fmt.Sprint(len(left), left[0].ID, left[0].Status), "1finalavailable")
}

func TestServerlessCapacity(t *testing.T) {
	l := newLab(t, Config{})
	l.cluster(nil)
	k, err := l.ModifyDBCluster("shop", DBChange{MinACU: new(0.0), Now: true})
	l.must(err)
	l.equal("capacity", fmt.Sprint(k.Status, k.MinACU, k.MaxACU), "available0 8")
	for _, c := range []struct {
		least, most float64
		code        string
	}{{9, 8, "InvalidParameterCombination"}, {0.3, 8, "InvalidParameterValue"}, {0, 300, "InvalidParameterValue"}, {0, 0.5, "InvalidParameterValue"}} {
		_, err := l.ModifyDBCluster("shop", DBChange{MinACU: &c.least, MaxACU: &c.most})
		l.refused(err, c.code, "capacity")
	}
}

func TestDailyBackups(t *testing.T) {
	l := newLab(t, Config{})
	l.db(func(i *DBInstance) { i.Retention = 2 })
	list := func() string {
		all, err := l.DescribeDBSnapshots(SnapshotQuery{Type: "automated", Source: "stg"})
		l.must(err)
		var out []string
		for _, s := range all {
			out = append(out, s.ID)
		}
		return strings.Join(out, " ")
	}
	l.equal("first", list(), "rds:stg-2026-03-01-12-05")
	l.clock.Advance(time.Date(2026, 3, 2, 3, 1, 0, 0, time.UTC).Sub(l.clock.Now()))
	l.equal("in the window", l.instance("stg").Status, DBBackingUp)
	_, err := l.StopDBInstance("stg", "")
	l.refused(err, "InvalidDBInstanceState", "Instance stg is not in available state.")
	l.settle()
	l.equal("second", list(), "rds:stg-2026-03-01-12-05 rds:stg-2026-03-02-03-00")
	l.clock.Advance(2 * 24 * time.Hour)
	l.equal("two days later", list(), "rds:stg-2026-03-03-03-00 rds:stg-2026-03-04-03-00")
	_, err = l.StopDBInstance("stg", "")
	l.must(err)
	l.clock.Advance(5 * 24 * time.Hour)
	l.equal("stopped", list(), "rds:stg-2026-03-03-03-00 rds:stg-2026-03-04-03-00")
	_, err = l.DeleteDBSnapshot("rds:stg-2026-03-04-03-00", false)
	l.refused(err, "InvalidDBSnapshotState", "automated")
	_, err = l.StartDBInstance("stg")
	l.must(err)
	l.settle()
	_, err = l.ModifyDBInstance("stg", DBChange{Window: new("05:00-05:30")})
	l.must(err)
	l.clock.Advance(24 * time.Hour)
	l.equal("moved", list(), "rds:stg-2026-03-09-05-00")
}

func TestRestores(t *testing.T) {
	l := newLab(t, Config{})
	l.AddDBSubnetGroup("private")
	l.AddDBParameterGroup("tuned")
	l.db(func(i *DBInstance) {
		i.MultiAZ, i.SubnetGroup, i.ParameterGroup, i.SecurityGroups, i.Tags = true, "private", "tuned", []string{"sg-1"}, map[string]string{"env": "staging"}
	})
	snapshots, err := l.DescribeDBSnapshots(SnapshotQuery{Source: "stg"})
	l.must(err)
	copied, err := l.RestoreDBInstanceFromDBSnapshot(DBInstance{Database: Database{ID: "copy"}}, snapshots[0].ID)
	l.must(err)
	l.equal("copy", fmt.Sprint(copied.Class, copied.MultiAZ, copied.SubnetGroup, copied.ParameterGroup, copied.SecurityGroups, copied.Tags, copied.User),
		fmt.Sprint("db.t3.medium", false, "defaultdefault.postgres16", []string{defaultSecurityGroup}, map[string]string{}, "app"))
	l.equal("times", l.statuses(func() string { return l.instance("copy").Status }, 15*time.Minute), "creating +0s, backing-up +10m0s, available +12m0s")

	i := l.instance("stg")
	at := i.Latest.Add(-time.Minute)
	then, err := l.RestoreDBInstanceToPointInTime("stg", DBInstance{Database: Database{ID: "then", SubnetGroup: "private", SecurityGroups: []string{"sg-1"}}}, at)
	l.must(err)
	l.equal("then", fmt.Sprint(then.SubnetGroup, then.SecurityGroups), "private[sg-1]")
	for _, wrong := range []time.Time{i.Earliest.Add(-time.Second), i.Latest.Add(time.Second)} {
		_, err := l.RestoreDBInstanceToPointInTime("stg", DBInstance{Database: Database{ID: "never"}}, wrong)
		l.refused(err, "InvalidParameterValue", "is not within the restorable times of instance stg")
	}
	_, err = l.RestoreDBInstanceToPointInTime("stg", DBInstance{Database: Database{ID: "copy"}}, time.Time{})
	l.refused(err, "DBInstanceAlreadyExists", "")
	_, err = l.RestoreDBInstanceFromDBSnapshot(DBInstance{Database: Database{ID: "x", SubnetGroup: "none"}}, snapshots[0].ID)
	l.refused(err, "DBSubnetGroupNotFoundFault", "none")
	_, err = l.RestoreDBInstanceFromDBSnapshot(DBInstance{Database: Database{ID: "x"}}, "none")
	l.refused(err, "DBSnapshotNotFound", "none")
	_, err = l.ModifyDBInstance("stg", DBChange{Retention: new(0)})
	l.must(err)
	_, err = l.RestoreDBInstanceToPointInTime("stg", DBInstance{Database: Database{ID: "x"}}, time.Time{})
	l.refused(err, "PointInTimeRestoreNotEnabled", "stg")
}

func TestVersionOfPostgreSQL(t *testing.T) {
	l := newLab(t, Config{Postgres: "15.18"})
	l.db(nil)
	l.cluster(nil)
	l.equal("usual", l.instance("stg").Version+" "+l.instance("stg").ParameterGroup+" "+l.aurora("shop").Version, "15.18 default.postgres15 15.18")
	_, err := l.CreateDBInstance(DBInstance{Class: "db.t3.medium", Storage: 20, Database: Database{ID: "big", Engine: "oracle-ee", User: "app"}}, "password")
	l.refused(err, "NotSimulated", "a default version of oracle-ee")
}

func TestDatabaseSpecsAreChecked(t *testing.T) {
	l := newLab(t, Config{})
	for want, change := range map[string]func(*DBInstance){
		"InvalidParameterValue: Invalid DB engine: dbase":              func(i *DBInstance) { i.Engine = "dbase" },
		"InvalidParameterValue: Invalid DB engine: aurora-postgresql":  func(i *DBInstance) { i.Engine = "aurora-postgresql" },
		"InvalidParameterValue: Invalid DB Instance class: t3.medium":  func(i *DBInstance) { i.Class = "t3.medium" },
		"InvalidParameterValue: Invalid storage size":                  func(i *DBInstance) { i.Storage = 5 },
		"InvalidParameterValue: The parameter DBInstanceIdentifier":    func(i *DBInstance) { i.ID = "a--b" },
		"InvalidParameterValue: Invalid backup window: soon":           func(i *DBInstance) { i.Window = "soon" },
		"InvalidParameterValue: Invalid availability zone: mars-1a":    func(i *DBInstance) { i.Zone = "mars-1a" },
		"DBParameterGroupNotFound: DBParameterGroup not found: none":   func(i *DBInstance) { i.ParameterGroup = "none" },
		"DBClusterNotFoundFault: DBCluster none not found.":            func(i *DBInstance) { i.Cluster = "none" },
		"InvalidParameterValue: The tag a={} has characters that are ": func(i *DBInstance) { i.Tags = map[string]string{"a": "{}"} },
		"InvalidParameterValue: The parameter MasterUsername must be ": func(i *DBInstance) { i.User = "" },
	} {
		i := DBInstance{Class: "db.t3.medium", Storage: 20, Database: Database{ID: "stg", Engine: "postgres", User: "app"}}
		change(&i)
		if _, err := l.CreateDBInstance(i, "password"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	_, err := l.CreateDBInstance(DBInstance{Class: "db.t3.medium", Storage: 20, Database: Database{ID: "stg", Engine: "postgres", User: "app"}}, "short")
	l.refused(err, "InvalidParameterValue", "password")
	l.db(nil)
	_, err = l.ModifyDBInstance("stg", DBChange{Class: new("db.t3.large")})
	l.refused(err, "NotSimulated", "maintenance window")
}

func TestDatabaseFaults(t *testing.T) {
	l := newLab(t, Config{})
	l.db(nil)
	l.LoseReply("rds:StopDBInstance")
	_, err := l.StopDBInstance("stg", "")
	l.refused(err, "InternalFailure", "")
	l.equal("done all the same", l.instance("stg").Status, DBStopping)
	l.settle()
	l.FailNext("rds:StartDBInstance", &Error{"InsufficientDBInstanceCapacity", "none of db.t3.medium", 400})
	_, err = l.StartDBInstance("stg")
	l.refused(err, "InsufficientDBInstanceCapacity", "")
	l.equal("not done", l.instance("stg").Status, DBStopped)
	denied := &Error{"AccessDenied", "not authorized to perform: rds:StartDBInstance", 403}
	l.Refuse("rds:StartDBInstance", denied)
	for range 3 {
		_, err = l.StartDBInstance("stg")
		l.refused(err, "AccessDenied", "not authorized")
	}
	l.Throttle("DescribeDBInstances", 1)
	_, err = l.DescribeDBInstances("stg", nil)
	l.refused(err, "Throttling", "Rate exceeded")
}

func TestReadsOfDatabasesLag(t *testing.T) {
	l := newLab(t, Config{Timing: Timing{ConsistencyLag: 30 * time.Second}})
	l.db(nil)
	_, err := l.StopDBInstance("stg", "")
	l.must(err)
	l.clock.Advance(20 * time.Second)
	l.equal("too early", l.instance("stg").Status, DBAvailable)
	l.clock.Advance(20 * time.Second)
	l.equal("now", l.instance("stg").Status, DBStopping)
}
