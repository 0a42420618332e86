package cloud

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// DBInstance is a copy of what RDS knows of one DB instance.
type DBInstance struct {
	Database
	Class    string
	MultiAZ  bool
	Zone     string
	Public   bool
	Storage  int    // GiB; 1 for a member of a cluster, as RDS says
	Disk     string // gp3, ...
	Cluster  string // that it is a member of
	Writer   bool   // of its cluster
	Source   string // that it is a read replica of
	Replicas []string
}

func (i *DBInstance) clone() DBInstance {
	n := *i
	n.Database, n.Replicas = i.Database.clone(), slices.Clone(i.Replicas)
	return n
}

// findDB finds a DB instance by its identifier or its ARN.
func (w *world) findDB(id string) (*DBInstance, error) {
	if i, ok := w.dbs[bareID(id, "db")]; ok {
		return i, nil
	}
	return nil, noDatabase("DBInstanceNotFound", "DBInstance %s not found.", id)
}

// bareID is an identifier as RDS stores it, of an identifier or an ARN.
func bareID(id, kind string) string {
	if parts := strings.SplitN(id, ":", 7); len(parts) == 7 && parts[2] == "rds" && parts[5] == kind {
		id = parts[6]
	}
	return strings.ToLower(id)
}

// database finds a database by what it is called in events of the cloud.
func (w *world) database(id string) (*Database, error) {
	kind, name, _ := strings.Cut(id, " ")
	switch kind {
	case "instance":
		i, err := w.findDB(name)
		if err != nil {
			return nil, err
		}
		return &i.Database, nil
	case "cluster":
		k, err := w.findDBCluster(name)
		if err != nil {
			return nil, err
		}
		return &k.Database, nil
	}
	return nil, fmt.Errorf("there is no database %q: neither instance nor cluster", id)
}

// CreateDBInstance makes a DB instance from spec, of which what is RDS's to say is ignored. As a member of a cluster it has the cluster's data and
// takes everything but its class from it.
func (c *Cloud) CreateDBInstance(spec DBInstance, password string) (out DBInstance, err error) {
	err = c.write("rds:CreateDBInstance", func() error {
		i := spec.clone()
		i.password, i.cluster, i.Source, i.Replicas, i.Writer = password, false, "", nil, false
		if i.Cluster != "" {
			if err := c.join(&i); err != nil {
				return err
			}
		} else if err := checkLogin(i.User, password); err != nil {
			return err
		}
		if err := c.completeDBInstance(&i); err != nil {
			return err
		}
		c.addDB(&i, c.creation(&i))
		out = i.clone()
		return nil
	})
	return out, err
}

// creation is how a new DB instance comes to be, with data of its own unless it is a member.
func (c *Cloud) creation(i *DBInstance) origin {
	o := origin{takes: c.cfg.Timing.Databases.Create, failed: DBFailed, event: "RDS-EVENT-0005"}
	if i.Cluster == "" {
		id, spec := i.backing(), i.backingSpec()
		o.data = func(ctx context.Context, b Backing) (Endpoint, error) { return b.Create(ctx, id, spec) }
	}
	return o
}

// join makes a new member of a cluster like the cluster.
func (c *Cloud) join(i *DBInstance) error {
	k, err := c.w.findDBCluster(i.Cluster)
	switch {
	case err != nil:
		return err
	case i.Engine != k.Engine:
		return badCombination("The engine name requested for your DB instance (%s) doesn't match the engine name of your DB cluster (%s).", i.Engine, k.Engine)
	case i.User != "" || i.password != "" || i.Schema != "":
		return badCombination("The requested DB Instance will be a member of a DB Cluster. Set master user, password and database name for the DB Cluster.")
	case i.Class == serverlessClass && k.MaxACU == 0:
		return badCombination("Set the Serverless v2 scaling configuration on the parent DB cluster before creating a Serverless v2 DB instance.")
	}
	if err := k.need(DBAvailable); err != nil {
		return err
	}
	own := i.Database
	i.Database = k.Database.clone()
	i.ID, i.Tags, i.ParameterGroup, i.Protected, i.cluster, i.began = own.ID, own.Tags, own.ParameterGroup, own.Protected, false, time.Time{}
	i.Cluster, i.Writer, i.Storage, i.Disk = k.ID, len(c.w.membersOf(k.ID)) == 0, 1, "aurora"
	return nil
}

// serverlessClass is that of members that scale by the cluster's Serverless v2 configuration.
const serverlessClass = "db.serverless"

func (c *Cloud) completeDBInstance(i *DBInstance) error {
	complete := c.completeDatabase
	if i.Cluster != "" {
		complete = c.completeMember
	}
	if err := complete(&i.Database); err != nil {
		return err
	}
	i.Disk = cmp.Or(i.Disk, "gp3")
	switch {
	case c.w.dbs[i.ID] != nil:
		return refuse("DBInstanceAlreadyExists", "DB instance already exists")
	case !strings.HasPrefix(i.Class, "db.") || i.Cluster == "" && i.Class == serverlessClass:
		return badValue("Invalid DB Instance class: %s", i.Class)
	case i.Zone != "" && i.MultiAZ:
		return badCombination("Requesting a specific availability zone is not valid for Multi-AZ instances.")
	case i.Zone != "" && !slices.Contains(c.cfg.Zones, i.Zone):
		return badValue("Invalid availability zone: %s", i.Zone)
	case i.Cluster == "" && i.Storage < 20:
		return badValue("Invalid storage size for engine name %s and storage type %s: %d", i.Engine, i.Disk, i.Storage)
	}
	i.Zone = cmp.Or(i.Zone, c.cfg.Zones[0])
	return nil
}

// completeMember checks what a member of a cluster has of its own.
func (c *Cloud) completeMember(d *Database) error {
	d.ID = strings.ToLower(d.ID)
	if err := checkDBName(d.noun(), d.ID); err != nil {
		return err
	}
	if d.Tags == nil {
		d.Tags = map[string]string{}
	}
	if err := checkDBTags(d.Tags); err != nil {
		return err
	}
	return c.completeDBGroups(d)
}

// origin is how a database comes to be.
type origin struct {
	takes  time.Duration
	data   func(context.Context, Backing) (Endpoint, error) // nil: it has none of its own
	failed string                                           // the status if the data cannot be had
	event  string                                           // that says it is there
}

// addDB begins the life of a DB instance.
func (c *Cloud) addDB(i *DBInstance, o origin) {
	c.enroll(&i.Database)
	c.w.dbs[i.ID] = i
	c.giveBirth(&i.Database, o)
}

// giveBirth has a database be made, and backed up for the first time if it is to be backed up.
func (c *Cloud) giveBirth(d *Database, o origin) {
	at := Endpoint{}
	s := step{status: DBCreating, takes: o.takes, done: func(err error) {
		if err != nil {
			c.setDBStatus(d, o.failed)
			c.complain(d, "create "+d.String(), err)
			return
		}
		c.locate(d, at)
		c.shareEndpoint(d)
		c.sayDB(d, o.event, o.event)
		if !c.backsUp(d) {
			c.setDBStatus(d, DBAvailable)
			return
		}
		c.backUp(d)
		c.backUpDaily(d)
	}}
	if o.data != nil {
		s.data = func(ctx context.Context, b Backing) (err error) {
			at, err = o.data(ctx, b)
			return err
		}
	}
	c.begin(d, s)
}

// shareEndpoint gives a member of a cluster the endpoint of the data that they share.
func (c *Cloud) shareEndpoint(d *Database) {
	if i := c.w.dbs[d.ID]; !d.cluster && c.cfg.Backing != nil && i.Cluster != "" {
		i.Endpoint = c.w.dbClusters[i.Cluster].Endpoint
	}
}

// CreateDBInstanceReadReplica makes a read replica of a DB instance: like it, as far as spec says nothing else. Behind a Backing its data is that
// of the moment and does not follow the source's.
func (c *Cloud) CreateDBInstanceReadReplica(source string, spec DBInstance) (out DBInstance, err error) {
	err = c.write("rds:CreateDBInstanceReadReplica", func() error {
		from, err := c.w.findDB(source)
		if err != nil {
			return err
		}
		switch {
		case from.Cluster != "":
			return badCombination("Cannot create a read replica of %s, which is a member of a DB cluster.", from.ID)
		case from.Retention == 0:
			return from.wrongState("Automated backups are not enabled for this database instance. To enable automated backups, use ModifyDBInstance to set the backup " +
				"retention period to a non-zero value.")
		}
		if err := from.need(DBAvailable); err != nil {
			return err
		}
		i := from.like(spec)
		i.SecurityGroups, i.ParameterGroup, i.SubnetGroup = from.SecurityGroups, from.ParameterGroup, from.SubnetGroup
		i.Source, i.Retention = from.ID, 0
		if err := c.completeDBInstance(&i); err != nil {
			return err
		}
		from.Replicas = append(slices.Clone(from.Replicas), i.ID)
		c.addDB(&i, c.restoration(&i.Database, BackingSource{ID: from.backing()}, "RDS-EVENT-0005"))
		out = i.clone()
		return nil
	})
	return out, err
}

// like returns a new DB instance with the data of i, as a restore makes it: single-AZ, in the default groups, unless spec says something else.
func (i *DBInstance) like(spec DBInstance) DBInstance {
	n := spec.clone()
	n.Engine, n.Version, n.User, n.password = i.Engine, i.Version, i.User, i.password
	n.Schema, n.Retention, n.Window, n.Storage, n.cluster = i.Schema, i.Retention, i.Window, max(spec.Storage, i.Storage), false
	n.Class, n.Disk, n.Port = cmp.Or(spec.Class, i.Class), cmp.Or(spec.Disk, i.Disk), cmp.Or(spec.Port, i.Port)
	n.Cluster, n.Writer, n.Source, n.Replicas = "", false, "", nil
	return n
}

// dbFilters are the filters of DescribeDBInstances.
var dbFilters = map[string]func(DBInstance) []string{
	"db-instance-id":  func(i DBInstance) []string { return []string{i.ID, i.ARN} },
	"db-cluster-id":   func(i DBInstance) []string { return []string{i.Cluster} },
	"dbi-resource-id": func(i DBInstance) []string { return []string{i.Resource} },
	"engine":          func(i DBInstance) []string { return []string{i.Engine} },
}

// DescribeDBInstances returns the DB instance of this identifier (all, if there is none) that pass all filters, by identifier.
func (c *Cloud) DescribeDBInstances(id string, filters []Filter) ([]DBInstance, error) {
	all, err := read(c, "rds:DescribeDBInstances", func(w *world) ([]DBInstance, error) {
		if err := checkFilters("DescribeDBInstances", filters, slices.Collect(maps.Keys(dbFilters))...); err != nil {
			return nil, err
		}
		if id != "" {
			if _, err := w.findDB(id); err != nil {
				return nil, err
			}
		}
		var out []DBInstance
		for _, name := range slices.Sorted(maps.Keys(w.dbs)) {
			i := w.dbs[name].clone()
			if (id == "" || bareID(id, "db") == name) && matchAll(filters, func(f string) []string { return dbFilters[f](i) }) {
				c.restorable(&i.Database)
				out = append(out, i)
			}
		}
		return out, nil
	})
	var asked []*Database
	for n := range all {
		if all[n].Cluster == "" {
			asked = append(asked, &all[n].Database)
		}
	}
	c.askData(asked)
	return all, err
}

// DBChange says what to change of a DB instance or a cluster; nil leaves a thing as it is. Now is AWS's ApplyImmediately.
type DBChange struct {
	Class          *string
	MultiAZ        *bool
	Storage        *int
	MinACU, MaxACU *float64 // of a cluster
	SecurityGroups []string
	ParameterGroup *string
	Retention      *int
	Window         *string
	Protected      *bool
	Now            bool
}

// ModifyDBInstance changes a DB instance. A new class, Multi-AZ or storage takes time, and is not simulated for a later maintenance window.
func (c *Cloud) ModifyDBInstance(id string, change DBChange) (out DBInstance, err error) {
	err = c.write("rds:ModifyDBInstance", func() error {
		i, err := c.w.findDB(id)
		if err != nil {
			return err
		}
		if err := i.need(DBAvailable); err != nil {
			return err
		}
		n := i.clone()
		set(&n.Class, change.Class)
		set(&n.MultiAZ, change.MultiAZ)
		set(&n.Storage, change.Storage)
		if err := c.checkChange(i, &n, change); err != nil {
			return err
		}
		long := n.Class != i.Class || n.MultiAZ != i.MultiAZ || n.Storage != i.Storage
		if long && !change.Now {
			return NotSimulated("a change that waits for the maintenance window (no ApplyImmediately)", "ModifyDBInstance")
		}
		c.finishChange(&i.Database, n.Database)
		if long {
			c.alter(i, n)
		}
		c.databaseChanged(&i.Database)
		out = i.clone()
		return nil
	})
	return out, err
}

// checkChange writes the settings of a change into n, which is to be what i becomes, and refuses what cannot be.
func (c *Cloud) checkChange(i, n *DBInstance, change DBChange) error {
	if err := c.changeSettings(&n.Database, change); err != nil {
		return err
	}
	switch {
	case !strings.HasPrefix(n.Class, "db.") || n.Cluster == "" && n.Class == serverlessClass:
		return badValue("Invalid DB Instance class: %s", n.Class)
	case n.Cluster != "" && n.Retention != i.Retention:
		return badCombination("The specified DB Instance is a member of a cluster and its backup retention should not be modified directly. " +
			"Instead, modify the backup retention of the cluster using the ModifyDbCluster API")
	case n.Cluster != "" && (n.MultiAZ != i.MultiAZ || n.Storage != i.Storage):
		return badCombination("Multi-AZ and storage are not those of %s but of its DB cluster.", i.ID)
	case n.Storage < i.Storage:
		return badValue("Invalid storage size: %d is less than the %d that are allocated", n.Storage, i.Storage)
	case change.MinACU != nil || change.MaxACU != nil:
		return badCombination("The Serverless v2 scaling configuration is that of a DB cluster.")
	}
	return nil
}

// changeSettings writes into a database what of a change takes no time.
func (c *Cloud) changeSettings(d *Database, change DBChange) error {
	set(&d.ParameterGroup, change.ParameterGroup)
	set(&d.Retention, change.Retention)
	set(&d.Window, change.Window)
	set(&d.Protected, change.Protected)
	if change.SecurityGroups != nil {
		d.SecurityGroups = slices.Clone(change.SecurityGroups)
	}
	if d.Retention < 0 || d.Retention > 35 {
		return badValue("Invalid backup retention period: %d. Must be between 0 and 35.", d.Retention)
	}
	if _, err := windowStart(d.Window); err != nil {
		return err
	}
	return c.completeDBGroups(d)
}

// finishChange makes the settings of a database those of n.
func (c *Cloud) finishChange(d *Database, n Database) {
	began, moved := d.Retention == 0 && n.Retention > 0, d.Window != n.Window
	d.ParameterGroup, d.Retention, d.Window, d.Protected, d.SecurityGroups = n.ParameterGroup, n.Retention, n.Window, n.Protected, n.SecurityGroups
	if !c.backsUp(d) {
		return
	}
	if began {
		c.backUp(d)
	}
	if began || moved {
		c.backUpDaily(d)
	}
}

// alter gives a DB instance another class, Multi-AZ or storage. A class takes a restart, which clients notice.
func (c *Cloud) alter(i *DBInstance, n DBInstance) {
	restart := n.Class != i.Class
	i.Class, i.MultiAZ, i.Storage = n.Class, n.MultiAZ, n.Storage
	if restart {
		c.bounce(i, DBModifying, c.cfg.Timing.Databases.Modify, "RDS-EVENT-0014")
		return
	}
	c.begin(&i.Database, step{status: DBModifying, takes: c.cfg.Timing.Databases.Modify, done: func(error) { c.setDBStatus(&i.Database, DBAvailable) }})
}

// DeleteDBInstance deletes a DB instance: with the name of a final snapshot, or with an empty one without any. Its automated backups go with it
// unless they are to be kept.
func (c *Cloud) DeleteDBInstance(id, final string, keep bool) (out DBInstance, err error) {
	err = c.write("rds:DeleteDBInstance", func() error {
		i, err := c.w.findDB(id)
		switch {
		case err != nil:
			return err
		case i.Protected && i.Cluster == "":
			return badCombination("Cannot delete protected DB Instance, please disable deletion protection and try again.")
		case final != "" && (i.Cluster != "" || i.Source != ""):
			return badCombination("FinalDBSnapshotIdentifier can not be specified when deleting a replica instance")
		}
		s, err := c.mayDelete(&i.Database, final)
		if err != nil {
			return err
		}
		c.deleteDB(&i.Database, s, i.Cluster == "", keep, func() { c.forgetDB(i) })
		out = i.clone()
		return nil
	})
	return out, err
}

// mayDelete tells whether a database is in a status in which it can be deleted, and begins its final snapshot if it is to have one.
func (c *Cloud) mayDelete(d *Database, final string) (*DBSnapshot, error) {
	if final != "" {
		if err := d.need(DBAvailable); err != nil {
			return nil, err
		}
		return c.newSnapshot(d, final, "manual")
	}
	return nil, d.need(DBAvailable, DBStopped, DBFailed, DBIncompatibleRestore)
}

// deleteDB deletes a database and, if it has any, its data, once s is made of it.
func (c *Cloud) deleteDB(d *Database, s *DBSnapshot, hasData, keep bool, forget func()) {
	id := d.backing()
	gone := step{status: DBDeleting, takes: c.cfg.Timing.Databases.Delete, done: func(err error) {
		if s != nil {
			c.finishSnapshot(s, err)
		}
		if err != nil {
			c.setDBStatus(d, DBFailed)
			c.complain(d, "delete "+d.String(), err)
			return
		}
		c.sayDB(d, "RDS-EVENT-0003", "RDS-EVENT-0171")
		forget()
		if !keep {
			c.dropBackups(d, func(*DBSnapshot) bool { return true })
		}
		c.databaseChanged(d)
	}}
	if hasData {
		gone.data = func(ctx context.Context, b Backing) error {
			if s != nil {
				if err := b.Snapshot(ctx, id, s.backing()); err != nil {
					return err
				}
			}
			return b.Delete(ctx, id)
		}
	}
	c.begin(d, gone)
}

// forgetDB takes a DB instance out of the world. Its replicas become instances of their own, and another member writes.
func (c *Cloud) forgetDB(i *DBInstance) {
	delete(c.w.dbs, i.ID)
	for _, r := range i.Replicas {
		if replica := c.w.dbs[r]; replica != nil {
			replica.Source = ""
		}
	}
	if from := c.w.dbs[i.Source]; from != nil {
		from.Replicas = slices.DeleteFunc(slices.Clone(from.Replicas), func(id string) bool { return id == i.ID })
	}
	if left := c.w.membersOf(i.Cluster); i.Writer && len(left) > 0 {
		left[0].Writer = true
	}
}
