package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
)

// database makes the DB instance "stg" through the client, and lets it settle.
func (r *rig) database() *rds.Client {
	r.t.Helper()
	client := rds.NewFromConfig(r.cfg)
	r.cloud.AddDBSubnetGroup("private")
	r.cloud.AddDBParameterGroup("tuned")
	made := ok[*rds.CreateDBInstanceOutput](r.t)(client.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: new("stg"), DBInstanceClass: new("db.t3.medium"), Engine: new("postgres"), EngineVersion: new("16.3"), AllocatedStorage: new(int32(20)),
		MasterUsername: new("app"), MasterUserPassword: new("password"), DBName: new("shop"), DBSubnetGroupName: new("private"), DBParameterGroupName: new("tuned"),
		VpcSecurityGroupIds: []string{"sg-1", "sg-2"}, Tags: []types.Tag{{Key: new("env"), Value: new("staging + more")}}, BackupRetentionPeriod: new(int32(7)),
	}))
	if *made.DBInstance.DBInstanceStatus != "creating" || made.DBInstance.Endpoint != nil {
		r.t.Fatalf("made %+v", made.DBInstance)
	}
	r.settle()
	return client
}

func (r *rig) db(client *rds.Client, id string) types.DBInstance {
	r.t.Helper()
	return ok[*rds.DescribeDBInstancesOutput](r.t)(client.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})).DBInstances[0]
}

func TestDBInstanceOverTheWire(t *testing.T) {
	r := newRig(t)
	client := r.database()
	in := &rds.DescribeDBInstancesInput{DBInstanceIdentifier: new("stg")}
	r.same("rds", "DescribeDBInstances", in, ok[*rds.DescribeDBInstancesOutput](t)(client.DescribeDBInstances(ctx, in)))
	before := r.db(client, "stg")
	if len(before.VpcSecurityGroups) != 2 || *before.DBParameterGroups[0].DBParameterGroupName != "tuned" || *before.TagList[0].Value != "staging + more" || len(before.DBSubnetGroup.Subnets) != 3 {
		t.Fatalf("instance %+v", before)
	}

	stopping := ok[*rds.StopDBInstanceOutput](t)(client.StopDBInstance(ctx, &rds.StopDBInstanceInput{DBInstanceIdentifier: new("stg"), DBSnapshotIdentifier: new("last")}))
	if *stopping.DBInstance.DBInstanceStatus != "stopping" || stopping.DBInstance.AutomaticRestartTime != nil {
		t.Fatalf("stopping %+v", stopping.DBInstance)
	}
	r.settle()
	stopped := r.db(client, "stg")
	if *stopped.DBInstanceStatus != "stopped" || *stopped.Endpoint.Address != *before.Endpoint.Address || !stopped.AutomaticRestartTime.After(r.clock.Now().Add(6*24*time.Hour)) {
		t.Fatalf("stopped %+v", stopped)
	}
	_, err := client.StopDBInstance(ctx, &rds.StopDBInstanceInput{DBInstanceIdentifier: new("stg")})
	var state *types.InvalidDBInstanceStateFault
	if !errors.As(err, &state) || state.ErrorMessage() != "Instance stg is not in available state." {
		t.Fatalf("stop again: %v", err)
	}
	ok[*rds.StartDBInstanceOutput](t)(client.StartDBInstance(ctx, &rds.StartDBInstanceInput{DBInstanceIdentifier: new("stg")}))
	r.settle()
	if now := r.db(client, "stg"); *now.DBInstanceStatus != "available" || now.AutomaticRestartTime != nil || now.LatestRestorableTime == nil {
		t.Fatalf("started %+v", now)
	}
	snapshots := &rds.DescribeDBSnapshotsInput{DBInstanceIdentifier: new("stg")}
	shown := ok[*rds.DescribeDBSnapshotsOutput](t)(client.DescribeDBSnapshots(ctx, snapshots))
	r.same("rds", "DescribeDBSnapshots", snapshots, shown)
	if len(shown.DBSnapshots) != 2 || *shown.DBSnapshots[0].SnapshotType != "automated" || *shown.DBSnapshots[1].DBSnapshotIdentifier != "last" {
		t.Fatalf("snapshots %+v", shown.DBSnapshots)
	}
	events := &rds.DescribeEventsInput{SourceIdentifier: new("stg"), SourceType: types.SourceTypeDbInstance, Duration: new(int32(60))}
	told := ok[*rds.DescribeEventsOutput](t)(client.DescribeEvents(ctx, events))
	r.same("rds", "DescribeEvents", events, told)
	if last := told.Events[len(told.Events)-1]; *last.Message != "DB instance started" || last.EventCategories[0] != "notification" {
		t.Fatalf("events %+v", told.Events)
	}
}

func TestRDSErrorsAreTyped(t *testing.T) {
	r := newRig(t)
	client := r.database()
	var noInstance *types.DBInstanceNotFoundFault
	if _, err := client.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: new("none")}); !errors.As(err, &noInstance) {
		t.Errorf("describe: %v", err)
	}
	var noCluster *types.DBClusterNotFoundFault
	if _, err := client.StopDBCluster(ctx, &rds.StopDBClusterInput{DBClusterIdentifier: new("none")}); !errors.As(err, &noCluster) {
		t.Errorf("stop cluster: %v", err)
	}
	var noSnapshot *types.DBSnapshotNotFoundFault
	if _, err := client.DeleteDBSnapshot(ctx, &rds.DeleteDBSnapshotInput{DBSnapshotIdentifier: new("none")}); !errors.As(err, &noSnapshot) {
		t.Errorf("delete snapshot: %v", err)
	}
	var clusterState *types.InvalidDBClusterStateFault
	ok[*rds.CreateDBClusterOutput](t)(client.CreateDBCluster(ctx, &rds.CreateDBClusterInput{
		DBClusterIdentifier: new("old"), Engine: new("aurora-postgresql"), EngineMode: new("serverless"), MasterUsername: new("app"), MasterUserPassword: new("password"),
	}))
	if _, err := client.StopDBCluster(ctx, &rds.StopDBClusterInput{DBClusterIdentifier: new("old")}); !errors.As(err, &clusterState) {
		t.Errorf("stop serverless: %v", err)
	}
	_, err := client.DeleteDBInstance(ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: new("stg")})
	r.code(err, "InvalidParameterCombination", "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.")
	_, err = client.AddTagsToResource(ctx, &rds.AddTagsToResourceInput{ResourceName: r.db(client, "stg").DBInstanceArn, Tags: []types.Tag{{Key: new("drover"), Value: new(`{"a":1}`)}}})
	r.code(err, "InvalidParameterValue", "characters that are not allowed")
	_, err = client.ModifyDBInstance(ctx, &rds.ModifyDBInstanceInput{DBInstanceIdentifier: new("stg"), MasterUserPassword: new("another password")})
	r.code(err, "NotSimulated", "MasterUserPassword of ModifyDBInstance")
	_, err = client.CreateDBProxy(ctx, &rds.CreateDBProxyInput{DBProxyName: new("p"), EngineFamily: types.EngineFamilyPostgresql, RoleArn: new("r"), VpcSubnetIds: []string{"a"}})
	r.code(err, "NotSimulated", "CreateDBProxy of rds")
	r.cloud.Throttle("rds:DescribeDBInstances", 1)
	if got := r.db(client, "stg"); *got.DBInstanceStatus != "available" { // the SDK takes the code for what it is, and asks again
		t.Fatalf("after throttling %+v", got)
	}
}

func TestRDSPagesAndFilters(t *testing.T) {
	r := newRig(t)
	client := rds.NewFromConfig(r.cfg)
	for n := range 45 {
		ok[*rds.CreateDBInstanceOutput](t)(client.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
			DBInstanceIdentifier: new(fmt.Sprintf("db-%02d", n)), DBInstanceClass: new("db.t3.micro"), Engine: new([]string{"postgres", "mysql", "mariadb"}[n%3]), AllocatedStorage: new(int32(20)),
			MasterUsername: new("app"), MasterUserPassword: new("password"),
		}))
	}
	var got []string
	pages := rds.NewDescribeDBInstancesPaginator(client, &rds.DescribeDBInstancesInput{MaxRecords: new(int32(20))})
	for pages.HasMorePages() {
		for _, i := range ok[*rds.DescribeDBInstancesOutput](t)(pages.NextPage(ctx)).DBInstances {
			got = append(got, *i.DBInstanceIdentifier)
		}
	}
	if len(got) != 45 || got[0] != "db-00" || got[44] != "db-44" {
		t.Fatalf("pages: %q", got)
	}
	some := ok[*rds.DescribeDBInstancesOutput](t)(client.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{Filters: []types.Filter{
		{Name: new("engine"), Values: []string{"mysql", "mariadb"}}, {Name: new("db-instance-id"), Values: []string{"db-00", "db-01", "db-02"}},
	}}))
	if len(some.DBInstances) != 2 || *some.DBInstances[0].DBInstanceIdentifier != "db-01" {
		t.Fatalf("filtered %+v", some.DBInstances)
	}
	_, err := client.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{Filters: []types.Filter{{Name: new("colour"), Values: []string{"blue"}}}})
	r.code(err, "NotSimulated", "Filter colour")
	_, err = client.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{MaxRecords: new(int32(5))})
	r.code(err, "InvalidParameterValue", "Must be between 20 and 100")
}

func TestAuroraOverTheWire(t *testing.T) {
	r := newRig(t)
	client := rds.NewFromConfig(r.cfg)
	scaling := &types.ServerlessV2ScalingConfiguration{MinCapacity: new(0.5), MaxCapacity: new(8.0)}
	ok[*rds.CreateDBClusterOutput](t)(client.CreateDBCluster(ctx, &rds.CreateDBClusterInput{
		DBClusterIdentifier: new("shop"), Engine: new("aurora-postgresql"), MasterUsername: new("app"), MasterUserPassword: new("password"), ServerlessV2ScalingConfiguration: scaling,
	}))
	r.settle()
	ok[*rds.CreateDBInstanceOutput](t)(client.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: new("shop-1"), DBClusterIdentifier: new("shop"), DBInstanceClass: new("db.serverless"), Engine: new("aurora-postgresql"),
	}))
	r.settle()
	_, err := client.StopDBInstance(ctx, &rds.StopDBInstanceInput{DBInstanceIdentifier: new("shop-1")})
	r.code(err, "InvalidParameterCombination", "aurora-postgresql DB instances are not eligible for stopping and starting.")
	lower := &types.ServerlessV2ScalingConfiguration{MinCapacity: new(0.0), MaxCapacity: new(8.0)}
	ok[*rds.ModifyDBClusterOutput](t)(client.ModifyDBCluster(ctx, &rds.ModifyDBClusterInput{DBClusterIdentifier: new("shop"), ServerlessV2ScalingConfiguration: lower, ApplyImmediately: new(true)}))
	in := &rds.DescribeDBClustersInput{DBClusterIdentifier: new("shop")}
	shown := ok[*rds.DescribeDBClustersOutput](t)(client.DescribeDBClusters(ctx, in))
	r.same("rds", "DescribeDBClusters", in, shown)
	k := shown.DBClusters[0]
	if *k.ServerlessV2ScalingConfiguration.MinCapacity != 0 || !*k.DBClusterMembers[0].IsClusterWriter || *k.Port != 5432 {
		t.Fatalf("cluster %+v", k)
	}
	ok[*rds.StopDBClusterOutput](t)(client.StopDBCluster(ctx, &rds.StopDBClusterInput{DBClusterIdentifier: new("shop")}))
	r.settle()
	if status := *r.db(client, "shop-1").DBInstanceStatus; status != "stopped" {
		t.Fatalf("member is %s", status)
	}
	ok[*rds.StartDBClusterOutput](t)(client.StartDBCluster(ctx, &rds.StartDBClusterInput{DBClusterIdentifier: new("shop")}))
	r.settle()

	ok[*rds.CreateDBClusterSnapshotOutput](t)(client.CreateDBClusterSnapshot(ctx, &rds.CreateDBClusterSnapshotInput{DBClusterIdentifier: new("shop"), DBClusterSnapshotIdentifier: new("before")}))
	r.settle()
	snapshots := &rds.DescribeDBClusterSnapshotsInput{SnapshotType: new("manual")}
	r.same("rds", "DescribeDBClusterSnapshots", snapshots, ok[*rds.DescribeDBClusterSnapshotsOutput](t)(client.DescribeDBClusterSnapshots(ctx, snapshots)))
	ok[*rds.RestoreDBClusterFromSnapshotOutput](t)(client.RestoreDBClusterFromSnapshot(ctx, &rds.RestoreDBClusterFromSnapshotInput{
		DBClusterIdentifier: new("copy"), Engine: new("aurora-postgresql"), SnapshotIdentifier: new("before"),
	}))
	ok[*rds.RestoreDBClusterToPointInTimeOutput](t)(client.RestoreDBClusterToPointInTime(ctx, &rds.RestoreDBClusterToPointInTimeInput{
		DBClusterIdentifier: new("earlier"), SourceDBClusterIdentifier: new("shop"), RestoreToTime: new(r.clock.Now().Add(-10 * time.Minute)),
	}))
	r.settle()
	all := ok[*rds.DescribeDBClustersOutput](t)(client.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{Filters: []types.Filter{{Name: new("engine"), Values: []string{"aurora-postgresql"}}}}))
	if len(all.DBClusters) != 3 {
		t.Fatalf("clusters %+v", all.DBClusters)
	}
}

func TestRestoreOverTheWire(t *testing.T) {
	r := newRig(t)
	client := r.database()
	r.settle()
	at := r.clock.Now().Add(-8 * time.Minute)
	made := ok[*rds.RestoreDBInstanceToPointInTimeOutput](t)(client.RestoreDBInstanceToPointInTime(ctx, &rds.RestoreDBInstanceToPointInTimeInput{
		SourceDBInstanceIdentifier: new("stg"), TargetDBInstanceIdentifier: new("stg-then"), RestoreTime: &at, DBSubnetGroupName: new("private"), VpcSecurityGroupIds: []string{"sg-2"},
		Tags: []types.Tag{{Key: new("drover:run"), Value: new("r-1")}},
	}))
	if i := made.DBInstance; *i.MultiAZ || *i.DBParameterGroups[0].DBParameterGroupName != "default.postgres16" || *i.VpcSecurityGroups[0].VpcSecurityGroupId != "sg-2" {
		t.Fatalf("restored %+v", i)
	}
	_, err := client.RestoreDBInstanceToPointInTime(ctx, &rds.RestoreDBInstanceToPointInTimeInput{SourceDBInstanceIdentifier: new("stg"), TargetDBInstanceIdentifier: new("x")})
	r.code(err, "InvalidParameterCombination", "Either RestoreTime or UseLatestRestorableTime")
	ok[*rds.CreateDBSnapshotOutput](t)(client.CreateDBSnapshot(ctx, &rds.CreateDBSnapshotInput{DBInstanceIdentifier: new("stg"), DBSnapshotIdentifier: new("hand")}))
	r.settle()
	plain := ok[*rds.RestoreDBInstanceFromDBSnapshotOutput](t)(client.RestoreDBInstanceFromDBSnapshot(ctx, &rds.RestoreDBInstanceFromDBSnapshotInput{
		DBInstanceIdentifier: new("stg-copy"), DBSnapshotIdentifier: new("hand"),
	})).DBInstance
	if *plain.DBInstanceClass != "db.t3.medium" || *plain.VpcSecurityGroups[0].VpcSecurityGroupId == "sg-1" || *plain.DBSubnetGroup.DBSubnetGroupName != "default" {
		t.Fatalf("restored %+v", plain)
	}
	r.settle()
	ok[*rds.CreateDBInstanceReadReplicaOutput](t)(client.CreateDBInstanceReadReplica(ctx, &rds.CreateDBInstanceReadReplicaInput{
		DBInstanceIdentifier: new("stg-reader"), SourceDBInstanceIdentifier: new("stg"),
	}))
	r.settle()
	if from := r.db(client, "stg"); len(from.ReadReplicaDBInstanceIdentifiers) != 1 || from.ReadReplicaDBInstanceIdentifiers[0] != "stg-reader" {
		t.Fatalf("source %+v", from)
	}
	arn := r.db(client, "stg-then").DBInstanceArn
	ok[*rds.AddTagsToResourceOutput](t)(client.AddTagsToResource(ctx, &rds.AddTagsToResourceInput{ResourceName: arn, Tags: []types.Tag{{Key: new("a"), Value: new("1")}, {Key: new("b"), Value: new("2")}}}))
	ok[*rds.RemoveTagsFromResourceOutput](t)(client.RemoveTagsFromResource(ctx, &rds.RemoveTagsFromResourceInput{ResourceName: arn, TagKeys: []string{"a", "none"}}))
	tags := ok[*rds.ListTagsForResourceOutput](t)(client.ListTagsForResource(ctx, &rds.ListTagsForResourceInput{ResourceName: arn})).TagList
	if len(tags) != 2 || aws.ToString(tags[0].Key) != "b" || aws.ToString(tags[1].Value) != "r-1" {
		t.Fatalf("tags %+v", tags)
	}
	ok[*rds.ModifyDBInstanceOutput](t)(client.ModifyDBInstance(ctx, &rds.ModifyDBInstanceInput{DBInstanceIdentifier: new("stg-then"), DBInstanceClass: new("db.t3.large"), ApplyImmediately: new(true)}))
	r.settle()
	ok[*rds.RebootDBInstanceOutput](t)(client.RebootDBInstance(ctx, &rds.RebootDBInstanceInput{DBInstanceIdentifier: new("stg-then")}))
	r.settle()
	ok[*rds.DeleteDBInstanceOutput](t)(client.DeleteDBInstance(ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: new("stg-then"), SkipFinalSnapshot: new(true)}))
	r.settle()
	if _, err := client.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: new("stg-then")}); err == nil {
		t.Fatal("it is still there")
	}
}

// An older client by others knows RDS as well.
func TestAWSCommandLineStopsADatabase(t *testing.T) {
	r := newRig(t)
	r.database()
	var out struct {
		DBInstance struct{ DBInstanceStatus string }
	}
	r.awsJSON(&out, "rds", "stop-db-instance", "--db-instance-identifier", "stg")
	r.settle()
	var shown struct {
		DBInstances []struct {
			DBInstanceStatus, AutomaticRestartTime string
			TagList                                []struct{ Key string }
			VpcSecurityGroups                      []struct{ VpcSecurityGroupId string }
		}
	}
	r.awsJSON(&shown, "rds", "describe-db-instances", "--filters", "Name=db-instance-id,Values=stg")
	if out.DBInstance.DBInstanceStatus != "stopping" || len(shown.DBInstances) != 1 || shown.DBInstances[0].DBInstanceStatus != "stopped" || shown.DBInstances[0].AutomaticRestartTime == "" ||
		len(shown.DBInstances[0].TagList) != 1 || len(shown.DBInstances[0].VpcSecurityGroups) != 2 {
		text, _ := json.Marshal(shown)
		t.Fatalf("%+v, %s", out, text)
	}
}
