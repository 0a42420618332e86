package cloud

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The statuses of databases that are simulated, of a DB instance or a cluster.
const (
	DBCreating            = "creating"
	DBBackingUp           = "backing-up"
	DBAvailable           = "available"
	DBStopping            = "stopping"
	DBStopped             = "stopped"
	DBStarting            = "starting"
	DBRebooting           = "rebooting"
	DBModifying           = "modifying"
	DBDeleting            = "deleting"
	DBFailed              = "failed"
	DBIncompatibleRestore = "incompatible-restore"
)

// Database is what a DB instance and an Aurora cluster have in common.
type Database struct {
	ID, ARN        string
	Resource       string // the id that is AWS's own
	Engine         string
	Version        string
	Status         string
	User           string // the master user
	Schema         string // the database made with it; may be none
	Port           int
	Endpoint       Endpoint // kept over stop and start; none before it is made
	SubnetGroup    string
	ParameterGroup string
	SecurityGroups []string
	Retention      int    // days that automated backups are kept; 0: there are none
	Window         string // in which they are made, 03:00-03:30 of UTC
	Protected      bool   // from deletion
	Created        time.Time
	Restarts       time.Time // when RDS starts it again; zero unless it is stopped
	Earliest       time.Time // restorable times; zero without automated backups
	Latest         time.Time
	Tags           map[string]string

	cluster  bool
	password string
	began    time.Time // when it was backed up for the first time
	halted   time.Time // when it was stopped
	life     int       // of how many changes of status it is: a timer of an earlier one means nothing
	rounds   int       // of how many plans of daily backups it is, likewise
}

func (d *Database) clone() Database {
	n := *d
	n.SecurityGroups, n.Tags = slices.Clone(d.SecurityGroups), maps.Clone(d.Tags)
	return n
}

// noun is what RDS calls it in its messages.
func (d *Database) noun() string {
	if d.cluster {
		return "DBCluster"
	}
	return "Instance"
}

func (d *Database) String() string {
	if d.cluster {
		return "cluster " + d.ID
	}
	return "instance " + d.ID
}

// backing is how its data is named.
func (d *Database) backing() string { return backingName(d.cluster, d.ID) }

func backingName(cluster bool, id string) string {
	if cluster {
		return "cluster-" + id
	}
	return id
}

func (d *Database) backingSpec() BackingSpec {
	return BackingSpec{Engine: d.Engine, Version: d.Version, User: d.User, Password: d.password, Database: d.Schema, Port: d.Port}
}

// wrongState refuses what its status does not allow.
func (d *Database) wrongState(format string, args ...any) error {
	if d.cluster {
		return refuse("InvalidDBClusterStateFault", format, args...)
	}
	return refuse("InvalidDBInstanceState", format, args...)
}

// need refuses anything unless the database is in one of the statuses.
func (d *Database) need(statuses ...string) error {
	if slices.Contains(statuses, d.Status) {
		return nil
	}
	return d.wrongState("%s %s is not in %s state.", d.noun(), d.ID, strings.Join(statuses, " or "))
}

// RDS's errors.
func noDatabase(code, format string, args ...any) error {
	return &Error{code, fmt.Sprintf(format, args...), 404}
}
func badValue(format string, args ...any) error {
	return refuse("InvalidParameterValue", format, args...)
}
func badCombination(format string, args ...any) error {
	return refuse("InvalidParameterCombination", format, args...)
}

// step is a change of a database that takes time: it is over when the time is, and when its data has followed.
type step struct {
	status string
	takes  time.Duration
	data   func(context.Context, Backing) error // nil: its data is not touched
	done   func(error)                          // under the lock, with what went wrong with the data
}

// begin begins a step of a database, whose status it becomes.
func (c *Cloud) begin(d *Database, s step) {
	d.life++
	life, left := d.life, 1
	var failed error
	over := func(err error) {
		failed = errors.Join(failed, err)
		if left--; left == 0 && d.life == life {
			s.done(failed)
		}
	}
	c.setDBStatus(d, s.status)
	if s.data != nil && c.cfg.Backing != nil {
		left++
		c.work(s.data, over)
	}
	c.after(s.takes, func() { over(nil) })
}

// work has the Backing do something, without the lock, and tells over under the lock.
func (c *Cloud) work(data func(context.Context, Backing) error, over func(error)) {
	c.working.Go(func() {
		err := data(c.ctx, c.cfg.Backing)
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.closed {
			over(err)
			c.commit()
		}
	})
}

// power are the statuses in which the members of a cluster are when the cluster is.
var power = []string{DBStopping, DBStopped, DBStarting}

// setDBStatus moves a database to a status, and the members of a cluster with it.
func (c *Cloud) setDBStatus(d *Database, status string) {
	d.Status = status
	c.databaseChanged(d)
	if !d.cluster {
		return
	}
	for _, m := range c.w.membersOf(d.ID) {
		if slices.Contains(power, status) || slices.Contains(power, m.Status) {
			m.Status = status
			c.databaseChanged(&m.Database)
		}
	}
}

func (c *Cloud) databaseChanged(d *Database) {
	c.emit(Event{Kind: DatabaseChanged, Database: d.String()})
}

// dbGroup is a group of settings that is made elsewhere: a subnet group or a parameter group.
type dbGroup struct{ kind, name string }

// AddDBSubnetGroup makes a subnet group, over all zones. It is the sandbox's own: CreateDBSubnetGroup is not simulated.
func (c *Cloud) AddDBSubnetGroup(name string) { c.addDBGroup(dbGroup{"subnet", name}) }

// AddDBParameterGroup makes a parameter group, of instances or clusters, likewise.
func (c *Cloud) AddDBParameterGroup(name string) { c.addDBGroup(dbGroup{"parameter", name}) }

func (c *Cloud) addDBGroup(g dbGroup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dbGroups[g] = true
}

// defaultSecurityGroup is the VPC's own.
const defaultSecurityGroup = "sg-0d70e400000000001"

// engines are those that are known, with their usual port and version; no version: it is Config's to say, or the caller has to give one.
var engines = map[string]struct {
	port    int
	version string
}{
	"postgres": {5432, ""}, "mysql": {3306, "8.0.39"}, "mariadb": {3306, "10.11.9"}, "aurora-postgresql": {5432, ""},
	"aurora-mysql": {3306, "8.0.mysql_aurora.3.08.0"}, "oracle-ee": {1521, ""}, "oracle-se2": {1521, ""}, "sqlserver-ee": {1433, ""},
	"sqlserver-se": {1433, ""}, "sqlserver-ex": {1433, ""}, "sqlserver-web": {1433, ""}, "custom-oracle-ee": {1521, ""}, "custom-sqlserver-se": {1433, ""},
}

var dbName = regexp.MustCompile(`^[a-z](-?[a-z0-9])*$`)

// completeDatabase checks what a database is to be, and fills in what is left to RDS.
func (c *Cloud) completeDatabase(d *Database) error {
	d.ID = strings.ToLower(d.ID)
	if err := checkDBName(d.noun(), d.ID); err != nil {
		return err
	}
	engine, known := engines[d.Engine]
	if d.Engine == "postgres" || d.Engine == "aurora-postgresql" {
		engine.version = c.cfg.Postgres
	}
	switch {
	case !known || d.cluster != strings.HasPrefix(d.Engine, "aurora-"):
		return badValue("Invalid DB engine: %s", d.Engine)
	case d.Version == "" && engine.version == "":
		return NotSimulated("a default version of "+d.Engine, "RDS")
	case d.Retention < 0 || d.Retention > 35:
		return badValue("Invalid backup retention period: %d. Must be between 0 and 35.", d.Retention)
	}
	if d.Version == "" {
		d.Version = engine.version
	}
	if d.Port == 0 {
		d.Port = engine.port
	}
	if d.Window == "" {
		d.Window = "03:00-03:30"
	}
	if _, err := windowStart(d.Window); err != nil {
		return err
	}
	if d.Tags == nil {
		d.Tags = map[string]string{}
	}
	if err := checkDBTags(d.Tags); err != nil {
		return err
	}
	d.Created, d.Restarts, d.Endpoint, d.began, d.halted = time.Time{}, time.Time{}, Endpoint{}, time.Time{}, time.Time{}
	return c.completeDBGroups(d)
}

func (c *Cloud) completeDBGroups(d *Database) error {
	usual := "default." + family(d.Engine, d.Version)
	if d.SubnetGroup == "" {
		d.SubnetGroup = "default"
	}
	if d.ParameterGroup == "" {
		d.ParameterGroup = usual
	}
	if len(d.SecurityGroups) == 0 {
		d.SecurityGroups = []string{defaultSecurityGroup}
	}
	if d.SubnetGroup != "default" && !c.dbGroups[dbGroup{"subnet", d.SubnetGroup}] {
		return noDatabase("DBSubnetGroupNotFoundFault", "DB subnet group '%s' does not exist.", d.SubnetGroup)
	}
	if d.ParameterGroup != usual && !c.dbGroups[dbGroup{"parameter", d.ParameterGroup}] {
		code := "DBParameterGroupNotFound"
		if d.cluster {
			code = "DBClusterParameterGroupNotFound"
		}
		return noDatabase(code, "DBParameterGroup not found: %s", d.ParameterGroup)
	}
	for _, id := range d.SecurityGroups {
		if !strings.HasPrefix(id, "sg-") {
			return badValue("Invalid security group , groupId= %s, groupName=.", id)
		}
	}
	return nil
}

// family is that of the parameter groups of an engine's version: postgres16, mysql8.0.
func family(engine, version string) string {
	parts := strings.Split(version, ".")
	if strings.HasSuffix(engine, "postgres") || strings.HasSuffix(engine, "postgresql") || len(parts) == 1 {
		return engine + parts[0]
	}
	return engine + parts[0] + "." + parts[1]
}

func checkDBName(noun, id string) error {
	if len(id) > 63 || !dbName.MatchString(id) {
		return badValue("The parameter %sIdentifier is not a valid identifier. Identifiers must begin with a letter; must contain only ASCII letters, digits, and hyphens; "+
			"and must not end with a hyphen or contain two consecutive hyphens.", strings.TrimPrefix("DB"+noun, "DBDB"))
	}
	return nil
}

// checkLogin refuses what a new database cannot have as its master user.
func checkLogin(user, password string) error {
	switch {
	case user == "":
		return refuse("InvalidParameterValue", "The parameter MasterUsername must be provided and must not be blank.")
	case len(password) < 8:
		return badValue("The parameter MasterUserPassword is not a valid password because it is shorter than 8 characters.")
	}
	return nil
}

// enroll gives a new database what is AWS's to give.
func (c *Cloud) enroll(d *Database) {
	kind, resource := "db:", "db-"
	if d.cluster {
		kind, resource = "cluster:", "cluster-"
	}
	d.ARN, d.Created = c.arn("rds", kind+d.ID), c.now()
	d.Resource = resource + strings.ToUpper(strings.ReplaceAll(c.uuid(), "-", "")[:26])
}

// host is the name by which a database without a Backing is known.
func (c *Cloud) host(d *Database) string {
	infix := ""
	if d.cluster {
		infix = "cluster-"
	}
	return d.ID + "." + infix + "c0drover0000." + c.cfg.Region + ".rds.amazonaws.com"
}

// locate gives a database its endpoint: as the Backing has it, or one that nobody listens at.
func (c *Cloud) locate(d *Database, at Endpoint) {
	if at == (Endpoint{}) {
		at = Endpoint{c.host(d), d.Port}
	}
	d.Endpoint = at
}

// restorable fills in from when to when a database can be restored, as far as that is known without asking its data.
func (c *Cloud) restorable(d *Database) {
	if d.Retention == 0 || d.began.IsZero() {
		return
	}
	end := c.now()
	if !d.halted.IsZero() {
		end = d.halted
	}
	d.Earliest = latest(d.began, c.now().AddDate(0, 0, -d.Retention))
	d.Latest = latest(d.Earliest, end.Add(-c.cfg.Timing.Databases.RestoreLag))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// askData has the Backing say up to when databases can be restored. Whoever cannot be asked shows no time; the lock is not held.
func (c *Cloud) askData(all []*Database) {
	if c.cfg.Backing == nil {
		return
	}
	for _, d := range all {
		if !d.Latest.IsZero() && d.halted.IsZero() {
			d.Latest, _ = c.cfg.Backing.Latest(c.ctx, d.backing()) // no time is what AWS shows, too, when there is none
		}
	}
}
