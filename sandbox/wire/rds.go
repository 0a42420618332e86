package wire

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"drover.dev/sandbox/cloud"
)

// What a new DB instance may be given, whatever it is made from, and what a cluster may.
const (
	placeFields = ` DBSubnetGroupName VpcSecurityGroupIds Port Tags DeletionProtection `
	dbFields    = ` DBInstanceClass DBParameterGroupName AvailabilityZone MultiAZ PubliclyAccessible StorageType ` + placeFields
	backupField = ` BackupRetentionPeriod PreferredBackupWindow `

	clusterFields = ` DBClusterIdentifier DBClusterParameterGroupName ServerlessV2ScalingConfiguration.MinCapacity ServerlessV2ScalingConfiguration.MaxCapacity ` + placeFields
	marker        = ` MaxRecords Marker`
)

var rdsActions = merge(dbActions, dbClusterActions, snapshotActions, restoreActions, dbTagActions)

var dbActions = map[string]action{
	"CreateDBInstance": on(dbFields+backupField+"DBInstanceIdentifier AllocatedStorage Engine EngineVersion MasterUsername MasterUserPassword DBName DBClusterIdentifier", createDB),
	"CreateDBInstanceReadReplica": on(dbFields+"DBInstanceIdentifier SourceDBInstanceIdentifier AllocatedStorage",
		func(c *cloud.Cloud, in *rds.CreateDBInstanceReadReplicaInput) (*rds.CreateDBInstanceReadReplicaOutput, error) {
			i, err := c.CreateDBInstanceReadReplica(aws.ToString(in.SourceDBInstanceIdentifier), cloud.DBInstance{
				Database: readPlace(in.DBInstanceIdentifier, in.DBSubnetGroupName, in.DBParameterGroupName, in.VpcSecurityGroupIds, in.Port, in.Tags, in.DeletionProtection),
				Class:    aws.ToString(in.DBInstanceClass), MultiAZ: aws.ToBool(in.MultiAZ), Zone: aws.ToString(in.AvailabilityZone), Public: aws.ToBool(in.PubliclyAccessible),
				Disk: aws.ToString(in.StorageType), Storage: int(aws.ToInt32(in.AllocatedStorage)),
			})
			return &rds.CreateDBInstanceReadReplicaOutput{DBInstance: showDB(c, i)}, err
		}),
	"DescribeDBInstances": on("DBInstanceIdentifier Filters"+marker,
		func(c *cloud.Cloud, in *rds.DescribeDBInstancesInput) (*rds.DescribeDBInstancesOutput, error) {
			all, err := c.DescribeDBInstances(aws.ToString(in.DBInstanceIdentifier), rdsFilters(in.Filters))
			if err != nil {
				return nil, err
			}
			shown, next, err := rdsPage(all, func(i cloud.DBInstance) string { return i.ID }, in.Marker, in.MaxRecords)
			return &rds.DescribeDBInstancesOutput{Marker: next, DBInstances: orEmpty(list(shown, func(i cloud.DBInstance) types.DBInstance { return *showDB(c, i) }))}, err
		}),
	"StopDBInstance": on("DBInstanceIdentifier DBSnapshotIdentifier",
		func(c *cloud.Cloud, in *rds.StopDBInstanceInput) (*rds.StopDBInstanceOutput, error) {
			i, err := c.StopDBInstance(aws.ToString(in.DBInstanceIdentifier), aws.ToString(in.DBSnapshotIdentifier))
			return &rds.StopDBInstanceOutput{DBInstance: showDB(c, i)}, err
		}),
	"StartDBInstance": on("DBInstanceIdentifier",
		func(c *cloud.Cloud, in *rds.StartDBInstanceInput) (*rds.StartDBInstanceOutput, error) {
			i, err := c.StartDBInstance(aws.ToString(in.DBInstanceIdentifier))
			return &rds.StartDBInstanceOutput{DBInstance: showDB(c, i)}, err
		}),
	"RebootDBInstance": on("DBInstanceIdentifier",
		func(c *cloud.Cloud, in *rds.RebootDBInstanceInput) (*rds.RebootDBInstanceOutput, error) {
			i, err := c.RebootDBInstance(aws.ToString(in.DBInstanceIdentifier))
			return &rds.RebootDBInstanceOutput{DBInstance: showDB(c, i)}, err
		}),
	"ModifyDBInstance": on(backupField+"DBInstanceIdentifier DBInstanceClass MultiAZ AllocatedStorage VpcSecurityGroupIds DBParameterGroupName DeletionProtection ApplyImmediately",
		func(c *cloud.Cloud, in *rds.ModifyDBInstanceInput) (*rds.ModifyDBInstanceOutput, error) {
			i, err := c.ModifyDBInstance(aws.ToString(in.DBInstanceIdentifier), cloud.DBChange{
				Class: in.DBInstanceClass, MultiAZ: in.MultiAZ, Storage: integer(in.AllocatedStorage), SecurityGroups: in.VpcSecurityGroupIds,
				ParameterGroup: in.DBParameterGroupName, Retention: integer(in.BackupRetentionPeriod), Window: in.PreferredBackupWindow,
				Protected: in.DeletionProtection, Now: aws.ToBool(in.ApplyImmediately),
			})
			return &rds.ModifyDBInstanceOutput{DBInstance: showDB(c, i)}, err
		}),
	"DeleteDBInstance": on("DBInstanceIdentifier SkipFinalSnapshot FinalDBSnapshotIdentifier DeleteAutomatedBackups",
		func(c *cloud.Cloud, in *rds.DeleteDBInstanceInput) (*rds.DeleteDBInstanceOutput, error) {
			if err := checkFinal(in.SkipFinalSnapshot, in.FinalDBSnapshotIdentifier, "FinalDBSnapshotIdentifier"); err != nil {
				return nil, err
			}
			i, err := c.DeleteDBInstance(aws.ToString(in.DBInstanceIdentifier), aws.ToString(in.FinalDBSnapshotIdentifier), keepBackups(in.DeleteAutomatedBackups))
			return &rds.DeleteDBInstanceOutput{DBInstance: showDB(c, i)}, err
		}),
	"DescribeEvents": on("SourceIdentifier SourceType StartTime EndTime Duration EventCategories"+marker, describeDBEvents),
}

var dbClusterActions = map[string]action{
	"CreateDBCluster": on(clusterFields+backupField+"Engine EngineVersion EngineMode GlobalClusterIdentifier MasterUsername MasterUserPassword DatabaseName",
		func(c *cloud.Cloud, in *rds.CreateDBClusterInput) (*rds.CreateDBClusterOutput, error) {
			k := cloud.DBCluster{Mode: aws.ToString(in.EngineMode), Global: aws.ToString(in.GlobalClusterIdentifier)}
			k.Database = readPlace(in.DBClusterIdentifier, in.DBSubnetGroupName, in.DBClusterParameterGroupName, in.VpcSecurityGroupIds, in.Port, in.Tags, in.DeletionProtection)
			k.Engine, k.Version, k.User, k.Schema = aws.ToString(in.Engine), aws.ToString(in.EngineVersion), aws.ToString(in.MasterUsername), aws.ToString(in.DatabaseName)
			k.Retention, k.Window = retention(in.BackupRetentionPeriod), aws.ToString(in.PreferredBackupWindow)
			k.MinACU, k.MaxACU = readACU(in.ServerlessV2ScalingConfiguration)
			k, err := c.CreateDBCluster(k, aws.ToString(in.MasterUserPassword))
			return &rds.CreateDBClusterOutput{DBCluster: showDBCluster(k)}, err
		}),
	"DescribeDBClusters": on("DBClusterIdentifier Filters"+marker,
		func(c *cloud.Cloud, in *rds.DescribeDBClustersInput) (*rds.DescribeDBClustersOutput, error) {
			all, err := c.DescribeDBClusters(aws.ToString(in.DBClusterIdentifier), rdsFilters(in.Filters))
			if err != nil {
				return nil, err
			}
			shown, next, err := rdsPage(all, func(k cloud.DBCluster) string { return k.ID }, in.Marker, in.MaxRecords)
			return &rds.DescribeDBClustersOutput{Marker: next, DBClusters: orEmpty(list(shown, func(k cloud.DBCluster) types.DBCluster { return *showDBCluster(k) }))}, err
		}),
	"StopDBCluster": on("DBClusterIdentifier",
		func(c *cloud.Cloud, in *rds.StopDBClusterInput) (*rds.StopDBClusterOutput, error) {
			k, err := c.StopDBCluster(aws.ToString(in.DBClusterIdentifier))
			return &rds.StopDBClusterOutput{DBCluster: showDBCluster(k)}, err
		}),
	"StartDBCluster": on("DBClusterIdentifier",
		func(c *cloud.Cloud, in *rds.StartDBClusterInput) (*rds.StartDBClusterOutput, error) {
			k, err := c.StartDBCluster(aws.ToString(in.DBClusterIdentifier))
			return &rds.StartDBClusterOutput{DBCluster: showDBCluster(k)}, err
		}),
	"ModifyDBCluster": on(backupField+`DBClusterIdentifier ServerlessV2ScalingConfiguration.MinCapacity ServerlessV2ScalingConfiguration.MaxCapacity VpcSecurityGroupIds
		DBClusterParameterGroupName DeletionProtection ApplyImmediately`,
		func(c *cloud.Cloud, in *rds.ModifyDBClusterInput) (*rds.ModifyDBClusterOutput, error) {
			change := cloud.DBChange{
				SecurityGroups: in.VpcSecurityGroupIds, ParameterGroup: in.DBClusterParameterGroupName, Retention: integer(in.BackupRetentionPeriod),
				Window: in.PreferredBackupWindow, Protected: in.DeletionProtection, Now: aws.ToBool(in.ApplyImmediately),
			}
			if s := in.ServerlessV2ScalingConfiguration; s != nil {
				change.MinACU, change.MaxACU = s.MinCapacity, s.MaxCapacity
			}
			k, err := c.ModifyDBCluster(aws.ToString(in.DBClusterIdentifier), change)
			return &rds.ModifyDBClusterOutput{DBCluster: showDBCluster(k)}, err
		}),
	"DeleteDBCluster": on("DBClusterIdentifier SkipFinalSnapshot FinalDBSnapshotIdentifier DeleteAutomatedBackups",
		func(c *cloud.Cloud, in *rds.DeleteDBClusterInput) (*rds.DeleteDBClusterOutput, error) {
			if err := checkFinal(in.SkipFinalSnapshot, in.FinalDBSnapshotIdentifier, "FinalDBSnapshotIdentifier"); err != nil {
				return nil, err
			}
			k, err := c.DeleteDBCluster(aws.ToString(in.DBClusterIdentifier), aws.ToString(in.FinalDBSnapshotIdentifier), keepBackups(in.DeleteAutomatedBackups))
			return &rds.DeleteDBClusterOutput{DBCluster: showDBCluster(k)}, err
		}),
}

func createDB(c *cloud.Cloud, in *rds.CreateDBInstanceInput) (*rds.CreateDBInstanceOutput, error) {
	i := cloud.DBInstance{
		Database: readPlace(in.DBInstanceIdentifier, in.DBSubnetGroupName, in.DBParameterGroupName, in.VpcSecurityGroupIds, in.Port, in.Tags, in.DeletionProtection),
		Class:    aws.ToString(in.DBInstanceClass), MultiAZ: aws.ToBool(in.MultiAZ), Zone: aws.ToString(in.AvailabilityZone), Public: aws.ToBool(in.PubliclyAccessible),
		Storage: int(aws.ToInt32(in.AllocatedStorage)), Disk: aws.ToString(in.StorageType), Cluster: aws.ToString(in.DBClusterIdentifier),
	}
	i.Engine, i.Version, i.User, i.Schema = aws.ToString(in.Engine), aws.ToString(in.EngineVersion), aws.ToString(in.MasterUsername), aws.ToString(in.DBName)
	i.Retention, i.Window = retention(in.BackupRetentionPeriod), aws.ToString(in.PreferredBackupWindow)
	i, err := c.CreateDBInstance(i, aws.ToString(in.MasterUserPassword))
	return &rds.CreateDBInstanceOutput{DBInstance: showDB(c, i)}, err
}

// retention is for how many days automated backups are kept if nobody says: one.
func retention(n *int32) int {
	if n == nil {
		return 1
	}
	return int(*n)
}

// keepBackups tells whether automated backups outlive their database; AWS deletes them if nobody says.
func keepBackups(deleted *bool) bool { return deleted != nil && !*deleted }

func checkFinal(skip *bool, final *string, field string) error {
	switch named := aws.ToString(final) != ""; {
	case aws.ToBool(skip) && named:
		return &cloud.Error{Code: "InvalidParameterCombination", Message: field + " can not be specified when SkipFinalSnapshot is specified.", Status: 400}
	case !aws.ToBool(skip) && !named:
		return &cloud.Error{Code: "InvalidParameterCombination", Message: field + " is required unless SkipFinalSnapshot is specified.", Status: 400}
	}
	return nil
}

// readPlace reads what all databases may be given.
func readPlace(id, subnets, parameters *string, security []string, port *int32, tags []types.Tag, protected *bool) cloud.Database {
	return cloud.Database{
		ID: aws.ToString(id), SubnetGroup: aws.ToString(subnets), ParameterGroup: aws.ToString(parameters), SecurityGroups: security,
		Port: int(aws.ToInt32(port)), Tags: readDBTags(tags), Protected: aws.ToBool(protected),
	}
}

func readACU(s *types.ServerlessV2ScalingConfiguration) (least, most float64) {
	if s == nil {
		return 0, 0
	}
	return aws.ToFloat64(s.MinCapacity), aws.ToFloat64(s.MaxCapacity)
}

func rdsFilters(in []types.Filter) []cloud.Filter {
	return list(in, func(f types.Filter) cloud.Filter { return cloud.Filter{Name: aws.ToString(f.Name), Values: f.Values} })
}

// rdsPage is page in RDS's way, which takes no fewer than 20 for a page.
func rdsPage[T any](all []T, key func(T) string, token *string, length *int32) ([]T, *string, error) {
	if length != nil && *length < 20 {
		return nil, nil, &cloud.Error{Code: "InvalidParameterValue", Message: "Invalid value for max records. Must be between 20 and 100", Status: 400}
	}
	return page(all, key, token, length, 100, 100)
}

// moment leaves out a time that is not.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func showDB(c *cloud.Cloud, i cloud.DBInstance) *types.DBInstance {
	out := &types.DBInstance{
		DBInstanceIdentifier: &i.ID, DBInstanceArn: &i.ARN, DbiResourceId: &i.Resource, DBInstanceStatus: &i.Status, DBInstanceClass: &i.Class, Engine: &i.Engine,
		EngineVersion: &i.Version, MasterUsername: &i.User, DBName: optional(i.Schema), AllocatedStorage: i32(i.Storage), StorageType: &i.Disk, MultiAZ: &i.MultiAZ,
		AvailabilityZone: optional(i.Zone), PubliclyAccessible: &i.Public, BackupRetentionPeriod: i32(i.Retention), PreferredBackupWindow: &i.Window,
		DeletionProtection: &i.Protected, InstanceCreateTime: moment(i.Created), LatestRestorableTime: moment(i.Latest), AutomaticRestartTime: moment(i.Restarts),
		DBClusterIdentifier: optional(i.Cluster), ReadReplicaSourceDBInstanceIdentifier: optional(i.Source), ReadReplicaDBInstanceIdentifiers: orEmpty(i.Replicas),
		DBSubnetGroup: showSubnets(c, i.SubnetGroup), VpcSecurityGroups: showSecurity(i.SecurityGroups), TagList: showDBTags(i.Tags),
		DBParameterGroups: []types.DBParameterGroupStatus{{DBParameterGroupName: &i.ParameterGroup, ParameterApplyStatus: new("in-sync")}},
	}
	if i.Endpoint.Host != "" {
		out.Endpoint = &types.Endpoint{Address: &i.Endpoint.Host, Port: i32(i.Endpoint.Port)}
	}
	return out
}

func showDBCluster(k cloud.DBCluster) *types.DBCluster {
	out := &types.DBCluster{
		DBClusterIdentifier: &k.ID, DBClusterArn: &k.ARN, DbClusterResourceId: &k.Resource, Status: &k.Status, Engine: &k.Engine, EngineVersion: &k.Version, EngineMode: &k.Mode,
		MasterUsername: &k.User, DatabaseName: optional(k.Schema), AvailabilityZones: k.Zones, BackupRetentionPeriod: i32(k.Retention), PreferredBackupWindow: &k.Window,
		DeletionProtection: &k.Protected, ClusterCreateTime: moment(k.Created), EarliestRestorableTime: moment(k.Earliest), LatestRestorableTime: moment(k.Latest),
		AutomaticRestartTime: moment(k.Restarts), GlobalClusterIdentifier: optional(k.Global), DBSubnetGroup: &k.SubnetGroup, DBClusterParameterGroup: &k.ParameterGroup,
		VpcSecurityGroups: showSecurity(k.SecurityGroups), TagList: showDBTags(k.Tags), Port: i32(k.Port), Endpoint: optional(k.Endpoint.Host), AllocatedStorage: i32(1),
		DBClusterMembers: orEmpty(list(k.Members, func(m cloud.DBMember) types.DBClusterMember {
			return types.DBClusterMember{DBInstanceIdentifier: &m.ID, IsClusterWriter: &m.Writer, DBClusterParameterGroupStatus: new("in-sync")}
		})),
	}
	if k.Endpoint.Port != 0 {
		out.Port = i32(k.Endpoint.Port)
	}
	if k.MaxACU > 0 {
		out.ServerlessV2ScalingConfiguration = &types.ServerlessV2ScalingConfigurationInfo{MinCapacity: &k.MinACU, MaxCapacity: &k.MaxACU}
	}
	return out
}

func showSubnets(c *cloud.Cloud, name string) *types.DBSubnetGroup {
	if name == "" {
		return nil
	}
	subnets := c.Subnets()
	return &types.DBSubnetGroup{
		DBSubnetGroupName: &name, SubnetGroupStatus: new("Complete"), VpcId: &subnets[0].VPC,
		Subnets: list(subnets, func(s cloud.Subnet) types.Subnet {
			return types.Subnet{SubnetIdentifier: &s.ID, SubnetAvailabilityZone: &types.AvailabilityZone{Name: &s.Zone}, SubnetStatus: new("Active")}
		}),
	}
}

func showSecurity(ids []string) []types.VpcSecurityGroupMembership {
	return list(ids, func(id string) types.VpcSecurityGroupMembership {
		return types.VpcSecurityGroupMembership{VpcSecurityGroupId: &id, Status: new("active")}
	})
}

func readDBTags(in []types.Tag) map[string]string {
	tags := map[string]string{}
	for _, t := range in {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return tags
}

func showDBTags(tags map[string]string) []types.Tag {
	return orEmpty(list(sortedKeys(tags), func(k string) types.Tag { return types.Tag{Key: &k, Value: new(tags[k])} }))
}

// longestLook is how far back RDS shows events, and usualLook if nobody says.
const (
	usualLook   = time.Hour
	longestLook = 14 * 24 * time.Hour
)

func describeDBEvents(c *cloud.Cloud, in *rds.DescribeEventsInput) (*rds.DescribeEventsOutput, error) {
	look := usualLook
	if in.Duration != nil {
		look = min(time.Duration(*in.Duration)*time.Minute, longestLook)
	}
	q := cloud.DBEventQuery{Source: aws.ToString(in.SourceIdentifier), SourceType: string(in.SourceType), Categories: in.EventCategories, Within: look}
	if in.StartTime != nil {
		q.From, q.Within = *in.StartTime, 0
	}
	if in.EndTime != nil {
		q.To = *in.EndTime
	}
	all, err := c.DescribeDBEvents(q)
	if err != nil {
		return nil, err
	}
	shown, next, err := rdsPage(all, func(e cloud.DBEvent) string { return e.At.Format(time.RFC3339Nano) + e.ID + e.Source }, in.Marker, in.MaxRecords)
	return &rds.DescribeEventsOutput{Marker: next, Events: orEmpty(list(shown, func(e cloud.DBEvent) types.Event {
		return types.Event{
			Date: &e.At, Message: &e.Message, EventCategories: []string{e.Category}, SourceArn: &e.ARN, SourceIdentifier: &e.Source, SourceType: types.SourceType(e.SourceType),
		}
	}))}, err
}
