package aws

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"

	"drover.dev/fleet"
)

const (
	// environmentTag is the tag by which an environment marks what it switches: on an Auto Scaling group a GroupSleep, on a database its name and run, and on a
	// node group that was made for it, its name.
	environmentTag = "drover:environment"
	// databasesAtOnce is how many ids one filter names: RDS documents no limit.
	databasesAtOnce = 50
)

// databaseName is what RDS takes for an identifier.
var databaseName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]{0,62}$`)

// databaseID is an id of fleet.DatabaseID taken apart.
type databaseID struct {
	cluster bool
	name    string // as RDS keeps it: in lower case
}

func parseDatabaseID(id string) (databaseID, bool) {
	kind, name, _ := strings.Cut(id, " ")
	ok := (kind == "instance" || kind == "cluster") && databaseName.MatchString(name)
	return databaseID{kind == "cluster", strings.ToLower(name)}, ok
}

// databases is what RDS says of those that were asked for. The instances of a cluster are there with it.
type databases struct {
	clusters                map[string]*rdstypes.DBCluster
	instances               map[string]*rdstypes.DBInstance
	noClusters, noInstances string // why RDS does not tell; "" when it does
}

// Databases returns the databases of the ids, one entry for each, in as few calls as there are fifties of them. What cannot be read has Trouble; an error is one
// that no other call would survive, or AWS being busy or away.
func (c *Cloud) Databases(ctx context.Context, ids []string) ([]fleet.Database, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	d, err := c.describeDatabases(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]fleet.Database, 0, len(ids))
	missing := map[int]databaseID{}
	for i, id := range ids {
		db, gone := d.database(id)
		if gone {
			missing[i], _ = parseDatabaseID(id)
		}
		out = append(out, db)
	}
	if len(missing) == 0 {
		return out, nil
	}
	there := c.databasesThere(ctx)
	for i, id := range missing {
		out[i].Trouble += nearDatabases(id, there)
	}
	return out, nil
}

func (c *Cloud) describeDatabases(ctx context.Context, ids []string) (*databases, error) {
	d := &databases{clusters: map[string]*rdstypes.DBCluster{}, instances: map[string]*rdstypes.DBInstance{}}
	var clusters, instances []string
	for _, s := range ids {
		switch id, ok := parseDatabaseID(s); {
		case !ok:
		case id.cluster:
			clusters = append(clusters, id.name)
		default:
			instances = append(instances, id.name)
		}
	}
	clusters, instances = distinct(clusters), distinct(instances)
	var err error
	if d.noClusters, err = withheld(c.describeDBClusters(ctx, d, clusters), "describe database clusters", "rds:DescribeDBClusters"); err != nil {
		return nil, err
	}
	for _, ask := range []struct {
		filter string
		names  []string
	}{{"db-instance-id", instances}, {"db-cluster-id", clusters}} {
		if d.noInstances, err = withheld(c.describeDBInstances(ctx, d, ask.filter, ask.names), "describe databases", "rds:DescribeDBInstances"); err != nil {
			return nil, err
		}
		if d.noInstances != "" {
			return d, nil
		}
	}
	return d, nil
}

func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// withheld tells a missing right, with its name, from what is wrong with AWS.
func withheld(err error, what, action string) (string, error) {
	if isDenied(err) {
		return fmt.Sprintf("%s: grant drover %s", doing(what, err), action), nil
	}
	return "", doing(what, err)
}

func (c *Cloud) describeDBClusters(ctx context.Context, d *databases, names []string) error {
	for some := range slices.Chunk(names, databasesAtOnce) {
		pages := rds.NewDescribeDBClustersPaginator(c.rds, &rds.DescribeDBClustersInput{Filters: []rdstypes.Filter{{Name: sdk.String("db-cluster-id"), Values: some}}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for i := range page.DBClusters {
				d.clusters[strings.ToLower(sdk.ToString(page.DBClusters[i].DBClusterIdentifier))] = &page.DBClusters[i]
			}
		}
	}
	return nil
}

func (c *Cloud) describeDBInstances(ctx context.Context, d *databases, filter string, names []string) error {
	for some := range slices.Chunk(names, databasesAtOnce) {
		pages := rds.NewDescribeDBInstancesPaginator(c.rds, &rds.DescribeDBInstancesInput{Filters: []rdstypes.Filter{{Name: &filter, Values: some}}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for i := range page.DBInstances {
				d.instances[strings.ToLower(sdk.ToString(page.DBInstances[i].DBInstanceIdentifier))] = &page.DBInstances[i]
			}
		}
	}
	return nil
}

// database is what is known of one, and whether RDS says that there is none.
func (d *databases) database(id string) (db fleet.Database, gone bool) {
	of, ok := parseDatabaseID(id)
	cluster, instance := d.clusters[of.name], d.instances[of.name]
	switch {
	case !ok:
		return fleet.Database{ID: id, Trouble: fmt.Sprintf(`%q names no database: want "instance NAME" or "cluster NAME"`, id)}, false
	case of.cluster && d.noClusters != "":
		return fleet.Database{ID: id, Trouble: d.noClusters}, false
	case of.cluster && cluster != nil:
		db = d.readCluster(cluster)
	case !of.cluster && d.noInstances != "":
		return fleet.Database{ID: id, Trouble: d.noInstances}, false
	case !of.cluster && instance != nil:
		db = readInstance(instance)
	default:
		return fleet.Database{ID: id, Trouble: "RDS knows no " + id}, true
	}
	db.ID = id
	if db.Status == "" {
		db.Trouble = cmp.Or(db.Trouble, "RDS does not say in which state it is")
	}
	return db, false
}

func readInstance(in *rdstypes.DBInstance) fleet.Database {
	db := fleet.Database{
		ARN: sdk.ToString(in.DBInstanceArn), Engine: sdk.ToString(in.Engine), Version: sdk.ToString(in.EngineVersion), Status: sdk.ToString(in.DBInstanceStatus),
		Class: sdk.ToString(in.DBInstanceClass), MultiAZ: sdk.ToBool(in.MultiAZ), Storage: int(sdk.ToInt32(in.AllocatedStorage)), Disk: sdk.ToString(in.StorageType),
		Zone: sdk.ToString(in.AvailabilityZone), Restarts: sdk.ToTime(in.AutomaticRestartTime), Mark: databaseMark(in.TagList), Stuck: stuckInstance(in),
	}
	if in.Endpoint != nil {
		db.Host, db.Port = sdk.ToString(in.Endpoint.Address), int(sdk.ToInt32(in.Endpoint.Port))
	}
	return db
}

func (d *databases) readCluster(in *rdstypes.DBCluster) fleet.Database {
	db := fleet.Database{
		ARN: sdk.ToString(in.DBClusterArn), Engine: sdk.ToString(in.Engine), Version: sdk.ToString(in.EngineVersion), Status: sdk.ToString(in.Status),
		Class: sdk.ToString(in.DBClusterInstanceClass), MultiAZ: sdk.ToBool(in.MultiAZ), Disk: sdk.ToString(in.StorageType), Host: sdk.ToString(in.Endpoint),
		Port: int(sdk.ToInt32(in.Port)), Restarts: sdk.ToTime(in.AutomaticRestartTime), Mark: databaseMark(in.TagList), Stuck: stuckCluster(in), Trouble: d.noInstances,
	}
	if n := int(sdk.ToInt32(in.AllocatedStorage)); n > 1 { // storage that grows by itself, as Aurora's, says 1
		db.Storage = n
	}
	if s := in.ServerlessV2ScalingConfiguration; s != nil {
		db.MinACU, db.MaxACU = sdk.ToFloat64(s.MinCapacity), sdk.ToFloat64(s.MaxCapacity)
	}
	var writer string
	for _, m := range in.DBClusterMembers {
		name := sdk.ToString(m.DBInstanceIdentifier)
		db.Members = append(db.Members, name)
		if sdk.ToBool(m.IsClusterWriter) {
			writer = name
		}
	}
	if w := d.instances[strings.ToLower(writer)]; w != nil {
		db.Class, db.Zone = cmp.Or(sdk.ToString(w.DBInstanceClass), db.Class), sdk.ToString(w.AvailabilityZone)
	}
	slices.Sort(db.Members)
	return db
}

// databaseMark is the value of drover's tag; "" without one.
func databaseMark(tags []rdstypes.Tag) string {
	for _, t := range tags {
		if sdk.ToString(t.Key) == environmentTag {
			return sdk.ToString(t.Value)
		}
	}
	return ""
}

// databasesThere lists the ids that exist, for a message about one that does not: of the first page of each kind, and none where RDS does not tell.
func (c *Cloud) databasesThere(ctx context.Context) []string {
	var out []string
	if page, err := c.rds.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{}); err == nil {
		for _, in := range page.DBInstances {
			out = append(out, fleet.DatabaseID(false, sdk.ToString(in.DBInstanceIdentifier)))
		}
	}
	if page, err := c.rds.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{}); err == nil {
		for _, in := range page.DBClusters {
			out = append(out, fleet.DatabaseID(true, sdk.ToString(in.DBClusterIdentifier)))
		}
	}
	return out
}

// nearAtMost is how many ids a message proposes.
const nearAtMost = 3

// nearDatabases proposes ids that somebody may have meant: the same name of the other kind, names that contain one another, names a few letters away.
func nearDatabases(id databaseID, there []string) string {
	far := func(other string) int {
		_, name, _ := strings.Cut(other, " ")
		if strings.Contains(name, id.name) || strings.Contains(id.name, name) {
			return 0
		}
		return distance(name, id.name)
	}
	near := slices.DeleteFunc(slices.Clone(there), func(other string) bool { return far(other) > max(1, len(id.name)/3) })
	if len(near) == 0 {
		return ""
	}
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Or(cmp.Compare(far(a), far(b)), cmp.Compare(a, b)) })
	return "; there is " + strings.Join(near[:min(len(near), nearAtMost)], ", ")
}

// distance counts the letters to put in, take out or change between two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
