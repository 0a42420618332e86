package wire

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"drover.dev/sandbox/cloud"
)

var snapshotActions = map[string]action{
	"CreateDBSnapshot": on("DBInstanceIdentifier DBSnapshotIdentifier Tags",
		func(c *cloud.Cloud, in *rds.CreateDBSnapshotInput) (*rds.CreateDBSnapshotOutput, error) {
			s, err := c.CreateDBSnapshot(aws.ToString(in.DBInstanceIdentifier), false, aws.ToString(in.DBSnapshotIdentifier), readDBTags(in.Tags))
			return &rds.CreateDBSnapshotOutput{DBSnapshot: showSnapshot(s)}, err
		}),
	"DescribeDBSnapshots": on("DBInstanceIdentifier DBSnapshotIdentifier SnapshotType Filters"+marker,
		func(c *cloud.Cloud, in *rds.DescribeDBSnapshotsInput) (*rds.DescribeDBSnapshotsOutput, error) {
			all, err := c.DescribeDBSnapshots(cloud.SnapshotQuery{
				ID: aws.ToString(in.DBSnapshotIdentifier), Source: aws.ToString(in.DBInstanceIdentifier), Type: aws.ToString(in.SnapshotType), Filters: rdsFilters(in.Filters),
			})
			if err != nil {
				return nil, err
			}
			shown, next, err := rdsPage(all, func(s cloud.DBSnapshot) string { return s.ID }, in.Marker, in.MaxRecords)
			return &rds.DescribeDBSnapshotsOutput{Marker: next, DBSnapshots: orEmpty(list(shown, func(s cloud.DBSnapshot) types.DBSnapshot { return *showSnapshot(s) }))}, err
		}),
	"DeleteDBSnapshot": on("DBSnapshotIdentifier",
		func(c *cloud.Cloud, in *rds.DeleteDBSnapshotInput) (*rds.DeleteDBSnapshotOutput, error) {
			s, err := c.DeleteDBSnapshot(aws.ToString(in.DBSnapshotIdentifier), false)
			return &rds.DeleteDBSnapshotOutput{DBSnapshot: showSnapshot(s)}, err
		}),
	"CreateDBClusterSnapshot": on("DBClusterIdentifier DBClusterSnapshotIdentifier Tags",
		func(c *cloud.Cloud, in *rds.CreateDBClusterSnapshotInput) (*rds.CreateDBClusterSnapshotOutput, error) {
			s, err := c.CreateDBSnapshot(aws.ToString(in.DBClusterIdentifier), true, aws.ToString(in.DBClusterSnapshotIdentifier), readDBTags(in.Tags))
			return &rds.CreateDBClusterSnapshotOutput{DBClusterSnapshot: showClusterSnapshot(s)}, err
		}),
	"DescribeDBClusterSnapshots": on("DBClusterIdentifier DBClusterSnapshotIdentifier SnapshotType Filters"+marker,
		func(c *cloud.Cloud, in *rds.DescribeDBClusterSnapshotsInput) (*rds.DescribeDBClusterSnapshotsOutput, error) {
			all, err := c.DescribeDBSnapshots(cloud.SnapshotQuery{Cluster: true,
				ID: aws.ToString(in.DBClusterSnapshotIdentifier), Source: aws.ToString(in.DBClusterIdentifier), Type: aws.ToString(in.SnapshotType), Filters: rdsFilters(in.Filters),
			})
			if err != nil {
				return nil, err
			}
			shown, next, err := rdsPage(all, func(s cloud.DBSnapshot) string { return s.ID }, in.Marker, in.MaxRecords)
			return &rds.DescribeDBClusterSnapshotsOutput{Marker: next,
				DBClusterSnapshots: orEmpty(list(shown, func(s cloud.DBSnapshot) types.DBClusterSnapshot { return *showClusterSnapshot(s) }))}, err
		}),
	"DeleteDBClusterSnapshot": on("DBClusterSnapshotIdentifier",
		func(c *cloud.Cloud, in *rds.DeleteDBClusterSnapshotInput) (*rds.DeleteDBClusterSnapshotOutput, error) {
			s, err := c.DeleteDBSnapshot(aws.ToString(in.DBClusterSnapshotIdentifier), true)
			return &rds.DeleteDBClusterSnapshotOutput{DBClusterSnapshot: showClusterSnapshot(s)}, err
		}),
}

var restoreActions = map[string]action{
	"RestoreDBInstanceFromDBSnapshot": on(dbFields+"DBInstanceIdentifier DBSnapshotIdentifier",
		func(c *cloud.Cloud, in *rds.RestoreDBInstanceFromDBSnapshotInput) (*rds.RestoreDBInstanceFromDBSnapshotOutput, error) {
			i, err := c.RestoreDBInstanceFromDBSnapshot(cloud.DBInstance{
				Database: readPlace(in.DBInstanceIdentifier, in.DBSubnetGroupName, in.DBParameterGroupName, in.VpcSecurityGroupIds, in.Port, in.Tags, in.DeletionProtection),
				Class:    aws.ToString(in.DBInstanceClass), MultiAZ: aws.ToBool(in.MultiAZ), Zone: aws.ToString(in.AvailabilityZone), Public: aws.ToBool(in.PubliclyAccessible),
				Disk: aws.ToString(in.StorageType),
			}, aws.ToString(in.DBSnapshotIdentifier))
			return &rds.RestoreDBInstanceFromDBSnapshotOutput{DBInstance: showDB(c, i)}, err
		}),
	"RestoreDBInstanceToPointInTime": on(dbFields+"SourceDBInstanceIdentifier TargetDBInstanceIdentifier RestoreTime UseLatestRestorableTime",
		func(c *cloud.Cloud, in *rds.RestoreDBInstanceToPointInTimeInput) (*rds.RestoreDBInstanceToPointInTimeOutput, error) {
			at, err := readPoint(in.RestoreTime, in.UseLatestRestorableTime, "RestoreTime")
			if err != nil {
				return nil, err
			}
			i, err := c.RestoreDBInstanceToPointInTime(aws.ToString(in.SourceDBInstanceIdentifier), cloud.DBInstance{
				Database: readPlace(in.TargetDBInstanceIdentifier, in.DBSubnetGroupName, in.DBParameterGroupName, in.VpcSecurityGroupIds, in.Port, in.Tags, in.DeletionProtection),
				Class:    aws.ToString(in.DBInstanceClass), MultiAZ: aws.ToBool(in.MultiAZ), Zone: aws.ToString(in.AvailabilityZone), Public: aws.ToBool(in.PubliclyAccessible),
				Disk: aws.ToString(in.StorageType),
			}, at)
			return &rds.RestoreDBInstanceToPointInTimeOutput{DBInstance: showDB(c, i)}, err
		}),
	"RestoreDBClusterFromSnapshot": on(clusterFields+"SnapshotIdentifier Engine",
		func(c *cloud.Cloud, in *rds.RestoreDBClusterFromSnapshotInput) (*rds.RestoreDBClusterFromSnapshotOutput, error) {
			k := cloud.DBCluster{Database: readPlace(in.DBClusterIdentifier, in.DBSubnetGroupName, in.DBClusterParameterGroupName, in.VpcSecurityGroupIds, in.Port, in.Tags, in.DeletionProtection)}
			k.Engine = aws.ToString(in.Engine)
			k.MinACU, k.MaxACU = readACU(in.ServerlessV2ScalingConfiguration)
			k, err := c.RestoreDBClusterFromSnapshot(k, aws.ToString(in.SnapshotIdentifier))
			return &rds.RestoreDBClusterFromSnapshotOutput{DBCluster: showDBCluster(k)}, err
		}),
	"RestoreDBClusterToPointInTime": on(clusterFields+"SourceDBClusterIdentifier RestoreToTime UseLatestRestorableTime",
		func(c *cloud.Cloud, in *rds.RestoreDBClusterToPointInTimeInput) (*rds.RestoreDBClusterToPointInTimeOutput, error) {
			at, err := readPoint(in.RestoreToTime, in.UseLatestRestorableTime, "RestoreToTime")
			if err != nil {
				return nil, err
			}
			k := cloud.DBCluster{Database: readPlace(in.DBClusterIdentifier, in.DBSubnetGroupName, in.DBClusterParameterGroupName, in.VpcSecurityGroupIds, in.Port, in.Tags, in.DeletionProtection)}
			k.MinACU, k.MaxACU = readACU(in.ServerlessV2ScalingConfiguration)
			k, err = c.RestoreDBClusterToPointInTime(aws.ToString(in.SourceDBClusterIdentifier), k, at)
			return &rds.RestoreDBClusterToPointInTimeOutput{DBCluster: showDBCluster(k)}, err
		}),
}

// readPoint reads a point in time, of which zero means the latest one; exactly one of the two must be said.
func readPoint(at *time.Time, newest *bool, field string) (time.Time, error) {
	if (at != nil) == aws.ToBool(newest) {
		return time.Time{}, &cloud.Error{Code: "InvalidParameterCombination", Message: "Either " + field + " or UseLatestRestorableTime must be specified, and not both.", Status: 400}
	}
	if at == nil {
		return time.Time{}, nil
	}
	return *at, nil
}

var dbTagActions = map[string]action{
	"AddTagsToResource": on("ResourceName Tags",
		func(c *cloud.Cloud, in *rds.AddTagsToResourceInput) (*rds.AddTagsToResourceOutput, error) {
			return &rds.AddTagsToResourceOutput{}, c.AddDBTags(aws.ToString(in.ResourceName), readDBTags(in.Tags))
		}),
	"RemoveTagsFromResource": on("ResourceName TagKeys",
		func(c *cloud.Cloud, in *rds.RemoveTagsFromResourceInput) (*rds.RemoveTagsFromResourceOutput, error) {
			return &rds.RemoveTagsFromResourceOutput{}, c.RemoveDBTags(aws.ToString(in.ResourceName), in.TagKeys)
		}),
	"ListTagsForResource": on("ResourceName",
		func(c *cloud.Cloud, in *rds.ListTagsForResourceInput) (*rds.ListTagsForResourceOutput, error) {
			tags, err := c.ListDBTags(aws.ToString(in.ResourceName))
			return &rds.ListTagsForResourceOutput{TagList: showDBTags(tags)}, err
		}),
}

func showSnapshot(s cloud.DBSnapshot) *types.DBSnapshot {
	i := s.Instance
	return &types.DBSnapshot{
		DBSnapshotIdentifier: &s.ID, DBSnapshotArn: &s.ARN, DBInstanceIdentifier: &s.Source, DbiResourceId: &i.Resource, SnapshotType: &s.Type, Status: &s.Status,
		SnapshotCreateTime: moment(s.Created), InstanceCreateTime: moment(i.Created), Engine: &i.Engine, EngineVersion: &i.Version, MasterUsername: &i.User,
		AllocatedStorage: i32(i.Storage), StorageType: &i.Disk, AvailabilityZone: optional(i.Zone), Port: i32(i.Port), TagList: showDBTags(s.Tags),
	}
}

func showClusterSnapshot(s cloud.DBSnapshot) *types.DBClusterSnapshot {
	k := s.OfCluster
	return &types.DBClusterSnapshot{
		DBClusterSnapshotIdentifier: &s.ID, DBClusterSnapshotArn: &s.ARN, DBClusterIdentifier: &s.Source, DbClusterResourceId: &k.Resource, SnapshotType: &s.Type,
		Status: &s.Status, SnapshotCreateTime: moment(s.Created), ClusterCreateTime: moment(k.Created), Engine: &k.Engine, EngineVersion: &k.Version, EngineMode: &k.Mode,
		MasterUsername: &k.User, AvailabilityZones: k.Zones, Port: i32(k.Port), TagList: showDBTags(s.Tags),
	}
}
