package aws

import (
	"fmt"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"

	"drover.dev/fleet"
)

// What to do about a database that RDS cannot stop, where nothing better is known.
const leaveOut = "or take it out of the environment, and it stays on"

// stuckInstance says why RDS cannot stop an instance, and what to do; "" when it can.
func stuckInstance(in *rdstypes.DBInstance) string {
	engine := sdk.ToString(in.Engine)
	source := sdk.ToString(in.ReadReplicaSourceDBInstanceIdentifier) + sdk.ToString(in.ReadReplicaSourceDBClusterIdentifier)
	switch replicas := slices.Concat(in.ReadReplicaDBInstanceIdentifiers, in.ReadReplicaDBClusterIdentifiers); {
	case sdk.ToString(in.DBClusterIdentifier) != "":
		return fmt.Sprintf("it is a member of a cluster, which RDS stops as a whole: name %q in its place", fleet.DatabaseID(true, *in.DBClusterIdentifier))
	case strings.HasPrefix(engine, "custom-"):
		return "it is RDS Custom, which RDS does not stop: " + strings.TrimPrefix(leaveOut, "or ")
	case source != "":
		return fmt.Sprintf("it is a read replica of %s, and RDS stops none: promote it, %s", source, leaveOut)
	case len(replicas) > 0:
		return fmt.Sprintf("it has read replicas, and RDS stops no source of any: promote or delete %s first, %s", strings.Join(replicas, ", "), leaveOut)
	case strings.HasPrefix(engine, "sqlserver") && (sdk.ToBool(in.MultiAZ) || sdk.ToString(in.SecondaryAvailabilityZone) != ""):
		return "it is SQL Server in several zones, which RDS does not stop: make it Single-AZ first, " + leaveOut
	}
	return ""
}

// stuckCluster says why RDS cannot stop a cluster, and what to do; "" when it can.
func stuckCluster(in *rdstypes.DBCluster) string {
	engine, mode, global := sdk.ToString(in.Engine), sdk.ToString(in.EngineMode), sdk.ToString(in.GlobalClusterIdentifier)
	switch {
	case mode == "serverless":
		return "it is Aurora Serverless v1, which RDS does not stop: have it pause by itself, upgrade it to Serverless v2, " + leaveOut
	case mode == "multimaster":
		return "it has several masters (multi-master), and RDS does not stop such a cluster: move its data to one with a single writer, " + leaveOut
	case mode == "parallelquery":
		return "it is made for parallel queries, and RDS does not stop such a cluster: move its data to one of engine mode provisioned, " + leaveOut
	case mode == "global" || global != "":
		return fmt.Sprintf("it is part of %s, which RDS does not stop: remove it from that first, %s", strings.TrimSpace("global database "+global), leaveOut)
	case sdk.ToString(in.ReplicationSourceIdentifier) != "":
		return fmt.Sprintf("it is a replica of %s, and RDS stops none: promote it, %s", *in.ReplicationSourceIdentifier, leaveOut)
	case len(in.ReadReplicaIdentifiers) > 0:
		return fmt.Sprintf("it has read replicas, and RDS stops no source of any: promote or delete %s first, %s", strings.Join(in.ReadReplicaIdentifiers, ", "), leaveOut)
	case !strings.HasPrefix(engine, "aurora") && engine != "docdb" && engine != "neptune":
		return fmt.Sprintf("it is a Multi-AZ cluster of %s, and RDS stops only Aurora's: use a single instance for it, %s", engine, leaveOut)
	}
	return ""
}
