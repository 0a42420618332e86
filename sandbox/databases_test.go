package sandbox

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/jackc/pgx/v5"

	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/wire"
)

// region is a world of nothing but RDS, and a client of it.
type region struct {
	*testing.T
	*World
	client *rds.Client
	said   strings.Builder // progress
}

func newRegion(t *testing.T, dir string) *region {
	t.Helper()
	r := &region{T: t}
	r.World = &World{Options: Options{Dir: dir, Progress: &r.said}, log: slog.New(slog.DiscardHandler)}
	var err error
	if r.network, err = claim(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.World.Stop)
	quick := cloud.DatabaseTiming{Create: -1, Backup: -1, Snapshot: -1, Stop: -1, Start: -1, Restore: -1, Delete: -1, RestoreLag: -1}
	r.Cloud = r.newCloud(cloud.Config{Clock: cloud.RealClock(1), Timing: cloud.Timing{Databases: quick}})
	front := httptest.NewServer(wire.Handler(r.Cloud, wire.Options{}))
	t.Cleanup(front.Close)
	r.client = rds.NewFromConfig(aws.Config{
		Region: r.Cloud.Region(), BaseEndpoint: aws.String(front.URL), Credentials: credentials.NewStaticCredentialsProvider("sandbox", "sandbox", ""),
	})
	return r
}

// stateFolder is a sandbox's. The test's own is for root alone.
func stateFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sandbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (r *region) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *region) create(id string) error {
	_, err := r.client.CreateDBInstance(r.Context(), &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: &id, DBInstanceClass: aws.String("db.t3.micro"), Engine: aws.String("postgres"), AllocatedStorage: aws.Int32(20),
		MasterUsername: aws.String("app"), MasterUserPassword: aws.String("secret-word"), DBName: aws.String("orders"), BackupRetentionPeriod: aws.Int32(1),
	})
	return err
}

// until waits for a moment at which there is nothing wrong; unlike says what is.
func (r *region) until(id string, unlike func() string) {
	r.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * time.Minute); ; <-tick.C {
		wrong := unlike()
		if wrong == "" {
			return
		}
		if time.Now().After(end) {
			r.Fatalf("%s %s; %s", id, wrong, r.complaints(id))
		}
	}
}

// becomes waits for a status.
func (r *region) becomes(id, status string) (db types.DBInstance) {
	r.Helper()
	r.until(id, func() string {
		out, err := r.client.DescribeDBInstances(r.Context(), &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
		r.ok(err)
		db = out.DBInstances[0]
		return unless(*db.DBInstanceStatus, status)
	})
	return db
}

func (r *region) clusterBecomes(id, status string) {
	r.Helper()
	r.until(id, func() string {
		out, err := r.client.DescribeDBClusters(r.Context(), &rds.DescribeDBClustersInput{DBClusterIdentifier: &id})
		r.ok(err)
		return unless(*out.DBClusters[0].Status, status)
	})
}

func unless(got, want string) string {
	if got == want {
		return ""
	}
	return "is " + got + ", not " + want
}

// gone waits until there is no such database.
func (r *region) gone(id string) {
	r.Helper()
	r.until(id, func() string {
		_, err := r.client.DescribeDBInstances(r.Context(), &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
		var none *types.DBInstanceNotFoundFault
		if errors.As(err, &none) {
			return ""
		}
		r.ok(err)
		return "is still there"
	})
}

// complaints are what RDS's events say of a database.
func (r *region) complaints(id string) string {
	r.Helper()
	out, err := r.client.DescribeEvents(r.Context(), &rds.DescribeEventsInput{SourceIdentifier: &id, SourceType: types.SourceTypeDbInstance})
	r.ok(err)
	var all []string
	for _, e := range out.Events {
		all = append(all, *e.Message)
	}
	return strings.Join(all, "\n")
}

func at(db types.DBInstance) string {
	return net.JoinHostPort(*db.Endpoint.Address, strconv.Itoa(int(*db.Endpoint.Port)))
}

func (r *region) silent(db types.DBInstance) {
	r.Helper()
	conn, err := net.Dial("tcp", at(db))
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		r.Errorf("connect to a stopped database: %v, want it refused", err)
	}
}

func (r *region) login(db types.DBInstance) *pgx.Conn {
	r.Helper()
	c, err := pgx.Connect(r.Context(), "postgres://app:secret-word@"+at(db)+"/orders?sslmode=require")
	r.ok(err)
	r.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func (r *region) do(c *pgx.Conn, sql string) {
	r.Helper()
	if _, err := c.Exec(r.Context(), sql); err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
}

func (r *region) ask(db types.DBInstance, sql string) (answer string) {
	r.Helper()
	if err := r.login(db).QueryRow(r.Context(), sql).Scan(&answer); err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
	return answer
}

const names = "SELECT string_agg(name, ' ' ORDER BY name) FROM customers"

func TestDatabasesAreReal(t *testing.T) {
	r := newRegion(t, stateFolder(t))
	if r.databases.servers == nil {
		t.Fatal(r.said.String()) // says what to install
	}
	r.ok(r.create("stg"))
	db := r.becomes("stg", "available")
	c := r.login(db)
	if got := c.PgConn().ParameterStatus("server_version"); strings.Fields(got)[0] != *db.EngineVersion {
		t.Errorf("RDS says version %s, and the server %s", *db.EngineVersion, got)
	}
	r.do(c, "CREATE TABLE customers (name text); INSERT INTO customers VALUES ('ann')")

	_, err := r.client.StopDBInstance(r.Context(), &rds.StopDBInstanceInput{DBInstanceIdentifier: aws.String("stg")})
	r.ok(err)
	stopped := r.becomes("stg", "stopped")
	if *stopped.Endpoint.Address != *db.Endpoint.Address {
		t.Errorf("endpoint %s while stopped, %s before", *stopped.Endpoint.Address, *db.Endpoint.Address)
	}
	r.silent(db)
	_, err = r.client.StartDBInstance(r.Context(), &rds.StartDBInstanceInput{DBInstanceIdentifier: aws.String("stg")})
	r.ok(err)
	db = r.becomes("stg", "available")
	if got := r.ask(db, names); got != "ann" {
		t.Errorf("customers after a start: %q", got)
	}

	// The client tells milliseconds: bob must come in a later one than ann.
	var then time.Time
	c = r.login(db)
	r.ok(c.QueryRow(r.Context(), "SELECT date_trunc('milliseconds', clock_timestamp()) + '1 ms'").Scan(&then))
	r.do(c, "SELECT pg_sleep_until(date_trunc('milliseconds', clock_timestamp()) + '2 ms')")
	r.do(c, "INSERT INTO customers VALUES ('bob')")
	_, err = r.client.RestoreDBInstanceToPointInTime(r.Context(), &rds.RestoreDBInstanceToPointInTimeInput{
		SourceDBInstanceIdentifier: aws.String("stg"), TargetDBInstanceIdentifier: aws.String("before"), RestoreTime: &then,
	})
	r.ok(err)
	if got := r.ask(r.becomes("before", "available"), names); got != "ann" {
		t.Errorf("customers before bob: %q", got)
	}
	_, err = r.client.DeleteDBInstance(r.Context(), &rds.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String("stg"), FinalDBSnapshotIdentifier: aws.String("final")})
	r.ok(err)
	r.gone("stg")
	_, err = r.client.RestoreDBInstanceFromDBSnapshot(r.Context(), &rds.RestoreDBInstanceFromDBSnapshotInput{
		DBSnapshotIdentifier: aws.String("final"), DBInstanceIdentifier: aws.String("stg"),
	})
	r.ok(err)
	if got := r.ask(r.becomes("stg", "available"), names); got != "ann bob" {
		t.Errorf("customers of the final snapshot: %q", got)
	}
}

func TestClustersAreReal(t *testing.T) {
	r := newRegion(t, stateFolder(t))
	if r.databases.servers == nil {
		t.Fatal(r.said.String()) // says what to install
	}
	id, member := aws.String("stg"), aws.String("stg-1")
	_, err := r.client.CreateDBCluster(r.Context(), &rds.CreateDBClusterInput{
		DBClusterIdentifier: id, Engine: aws.String("aurora-postgresql"),
		MasterUsername: aws.String("app"), MasterUserPassword: aws.String("secret-word"), DatabaseName: aws.String("orders"),
	})
	r.ok(err)
	r.clusterBecomes("stg", "available")
	_, err = r.client.CreateDBInstance(r.Context(), &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: member, DBClusterIdentifier: id, DBInstanceClass: aws.String("db.r6g.large"), Engine: aws.String("aurora-postgresql"),
	})
	r.ok(err)
	db := r.becomes("stg-1", "available")
	r.do(r.login(db), "CREATE TABLE customers (name text); INSERT INTO customers VALUES ('ann')")
	_, err = r.client.StopDBCluster(r.Context(), &rds.StopDBClusterInput{DBClusterIdentifier: id})
	r.ok(err)
	r.clusterBecomes("stg", "stopped")
	r.silent(db)
	_, err = r.client.StartDBCluster(r.Context(), &rds.StartDBClusterInput{DBClusterIdentifier: id})
	r.ok(err)
	r.clusterBecomes("stg", "available")
	if got := r.ask(r.becomes("stg-1", "available"), names); got != "ann" {
		t.Errorf("customers after a start: %q", got)
	}
}

func TestDatabasesThatCannotBeHad(t *testing.T) {
	dir := stateFolder(t)
	first := newRegion(t, dir)
	if first.databases.servers == nil {
		t.Fatal(first.said.String())
	}
	r := newRegion(t, dir)
	const why = "another sandbox uses them"
	if !strings.Contains(r.said.String(), "RDS can have no databases here: ") || !strings.Contains(r.said.String(), why) {
		t.Errorf("progress says %q", r.said.String())
	}
	err := r.create("stg")
	if err == nil || !strings.Contains(err.Error(), "NotSimulated: the drover sandbox can have no databases here: databases in ") || !strings.Contains(err.Error(), why) {
		t.Errorf("RDS says %v", err)
	}
}
