package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"

	"drover.dev/fleet"
)

const (
	// stateAgain is how long to leave a database alone that is between two states: none of them passes in less.
	stateAgain = 30 * time.Second
	// helpAgain is how long to wait for what only people, or a zone with capacity to spare, can change.
	helpAgain = 5 * time.Minute
)

// passing are states that RDS leaves by itself: what is to be done waits for them. Others it leaves only when somebody mends something.
var passing = map[string]bool{
	fleet.DatabaseStopping: true, fleet.DatabaseStarting: true, "backing-up": true, "backtracking": true, "configuring-associated-roles": true, "configuring-enhanced-monitoring": true,
	"configuring-iam-database-auth": true, "configuring-log-exports": true, "converting-to-vpc": true, "creating": true, "failing-over": true, "maintenance": true, "migrating": true,
	"modifying": true, "moving-to-vpc": true, "promoting": true, "rebooting": true, "renaming": true, "resetting-master-credentials": true, "storage-config-upgrade": true,
	"storage-initialization": true, "storage-optimization": true, "update-iam-db-auth": true, "upgrading": true, "delete-precheck": true, "deleting": true, "preparing-data-migration": true,
}

// broken are states that a database does not leave before somebody has mended something.
var broken = map[string]bool{
	"cloning-failed": true, "failed": true, "inaccessible-encryption-credentials": true, "inaccessible-encryption-credentials-recoverable": true, "incompatible-network": true,
	"incompatible-option-group": true, "incompatible-parameters": true, "incompatible-restore": true, "insufficient-capacity": true, "migration-failed": true, "restore-error": true,
	"storage-full": true, "upgrade-failed": true,
}

// switchDatabase carries out one action on a database, on what RDS says of it now.
func (c *Cloud) switchDatabase(ctx context.Context, a fleet.Action) error {
	d, err := c.describeDatabases(ctx, []string{a.Database})
	if err != nil {
		return err
	}
	db, gone := d.database(a.Database)
	switch {
	case gone && a.Verb == fleet.UnmarkDatabase:
		return nil // gone with its mark
	case gone:
		return &fleet.Refused{Reason: db.Trouble + " any more", Wait: helpAgain}
	case d.noClusters+d.noInstances != "":
		return &fleet.Refused{Reason: db.Trouble, Wait: grantAgain, Denied: true}
	case db.Trouble != "":
		return &fleet.Refused{Reason: db.Trouble, Wait: stateAgain}
	}
	if err := marked(&db, a); err != nil {
		return err
	}
	switch a.Verb {
	case fleet.MarkDatabase:
		return c.markDatabase(ctx, &db, a)
	case fleet.UnmarkDatabase:
		return c.unmarkDatabase(ctx, &db)
	case fleet.StopDatabase:
		return c.stopDatabase(ctx, &db)
	case fleet.StartDatabase:
		return c.startDatabase(ctx, &db)
	}
	return c.setCapacity(ctx, &db, a.ACU)
}

// marked refuses when another environment has switched the database.
func marked(db *fleet.Database, a fleet.Action) error {
	if owner, _, _ := strings.Cut(db.Mark, " "); owner != "" && a.Environment != "" && owner != a.Environment {
		return &fleet.Refused{Reason: fmt.Sprintf("it is marked by environment %s (tag %s: %s), which is to give it back first", owner, environmentTag, db.Mark), Wait: helpAgain}
	}
	return nil
}

func (c *Cloud) markDatabase(ctx context.Context, db *fleet.Database, a fleet.Action) error {
	mark := fleet.DatabaseMark{Environment: a.Environment, Run: a.Run, ACU: a.ACU}.String()
	if db.Mark == mark {
		return nil
	}
	_, err := c.rds.AddTagsToResource(ctx, &rds.AddTagsToResourceInput{ResourceName: &db.ARN, Tags: []rdstypes.Tag{{Key: sdk.String(environmentTag), Value: &mark}}})
	return inWords(err)
}

func (c *Cloud) unmarkDatabase(ctx context.Context, db *fleet.Database) error {
	if db.Mark == "" {
		return nil
	}
	_, err := c.rds.RemoveTagsFromResource(ctx, &rds.RemoveTagsFromResourceInput{ResourceName: &db.ARN, TagKeys: []string{environmentTag}})
	return inWords(err)
}

func (c *Cloud) stopDatabase(ctx context.Context, db *fleet.Database) error {
	switch {
	case db.Status == fleet.DatabaseStopping || db.Status == fleet.DatabaseStopped:
		return nil
	case db.Stuck != "":
		return &fleet.Refused{Reason: "RDS cannot stop it: " + db.Stuck, Wait: helpAgain}
	case db.Status != fleet.DatabaseAvailable:
		return notNow(db, "stops it only while it is available")
	}
	id, _ := parseDatabaseID(db.ID)
	if id.cluster {
		_, err := c.rds.StopDBCluster(ctx, &rds.StopDBClusterInput{DBClusterIdentifier: &id.name})
		return inWords(err)
	}
	_, err := c.rds.StopDBInstance(ctx, &rds.StopDBInstanceInput{DBInstanceIdentifier: &id.name})
	return inWords(err)
}

// startable are the states from which RDS starts a database: the second one is a stopped one whose key was out of reach, and starting it is how to try again.
var startable = []string{fleet.DatabaseStopped, "inaccessible-encryption-credentials-recoverable"}

func (c *Cloud) startDatabase(ctx context.Context, db *fleet.Database) error {
	switch {
	case db.Status == fleet.DatabaseStarting || db.Status == fleet.DatabaseAvailable:
		return nil
	case !slices.Contains(startable, db.Status):
		return notNow(db, "starts it only once it is stopped")
	}
	id, _ := parseDatabaseID(db.ID)
	if id.cluster {
		_, err := c.rds.StartDBCluster(ctx, &rds.StartDBClusterInput{DBClusterIdentifier: &id.name})
		return inWords(err)
	}
	_, err := c.rds.StartDBInstance(ctx, &rds.StartDBInstanceInput{DBInstanceIdentifier: &id.name})
	return inWords(err)
}

// setCapacity sets the least capacity of a Serverless v2 cluster; the most stays as it is.
func (c *Cloud) setCapacity(ctx context.Context, db *fleet.Database, acu float64) error {
	id, _ := parseDatabaseID(db.ID)
	switch {
	case !id.cluster || db.MaxACU == 0:
		return &fleet.Refused{Reason: "it is no Serverless v2 cluster, so it has no capacity to set", Wait: helpAgain}
	case db.MinACU == acu:
		return nil
	case acu > db.MaxACU:
		return &fleet.Refused{Reason: fmt.Sprintf("its most capacity units are %g, below the least of %g that it is to have", db.MaxACU, acu), Wait: helpAgain}
	case db.Status != fleet.DatabaseAvailable:
		return notNow(db, "changes its capacity only while it is available")
	}
	_, err := c.rds.ModifyDBCluster(ctx, &rds.ModifyDBClusterInput{
		DBClusterIdentifier: &id.name, ApplyImmediately: sdk.Bool(true),
		ServerlessV2ScalingConfiguration: &rdstypes.ServerlessV2ScalingConfiguration{MinCapacity: &acu, MaxCapacity: &db.MaxACU},
	})
	return inWords(err)
}

// notNow says why a database's state keeps something from being done, and when to look again.
func notNow(db *fleet.Database, rule string) error {
	r := &fleet.Refused{Reason: fmt.Sprintf("it is %s, and RDS %s", db.Status, rule), Wait: stateAgain}
	switch {
	case broken[db.Status]:
		r.Reason, r.Wait = fmt.Sprintf("it is %s, which RDS does not leave before somebody has mended it: see its events (aws rds describe-events); RDS %s", db.Status, rule), helpAgain
	case db.Status == fleet.DatabaseStopped || db.Status == fleet.DatabaseAvailable || passing[db.Status]:
	default:
		r.Reason = fmt.Sprintf("it is %q, a state that drover does not know, and RDS %s", db.Status, rule)
	}
	return r
}

// inWords makes refusals of what RDS says and waiting may mend: its state changed meanwhile, there is no room for it, something that it needs is out of reach.
func inWords(err error) error {
	switch {
	case codeIs(err, "InvalidDBInstanceState", "InvalidDBInstanceStateFault", "InvalidDBClusterStateFault"):
		return &fleet.Refused{Reason: "RDS says that its state does not allow it now: " + said(err), Wait: stateAgain}
	case codeIs(err, "InvalidParameterCombination"):
		return &fleet.Refused{Reason: "RDS does not do that with it: " + said(err) + "; if it never does, take it out of the environment, and it stays on", Wait: helpAgain}
	case codeIs(err, "InsufficientDBInstanceCapacity", "InsufficientDBClusterCapacityFault", "InsufficientStorageClusterCapacity"):
		return &fleet.Refused{Reason: "RDS has no capacity for its class in its zones now: " + said(err) + "; it is asked again, or change the class", Wait: helpAgain}
	case codeIs(err, "KMSKeyNotAccessibleFault"):
		return &fleet.Refused{Reason: "the key that it is encrypted with is out of reach: " + said(err) + "; enable the key, or allow RDS its use again", Wait: helpAgain}
	case codeIs(err, "DBSubnetGroupDoesNotCoverEnoughAZs", "DBSubnetGroupNotFoundFault", "InvalidSubnet", "InvalidVPCNetworkStateFault", "InsufficientAvailableIPsInSubnetFault"):
		return &fleet.Refused{Reason: "its network does not allow it: " + said(err) + "; put its subnets in order", Wait: helpAgain}
	case codeIs(err, "DBInstanceNotFound", "DBInstanceNotFoundFault", "DBClusterNotFoundFault"):
		return &fleet.Refused{Reason: "RDS does not know it any more: " + said(err), Wait: helpAgain}
	}
	return err
}
