package cloud

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// DBSnapshot is a copy of what RDS knows of one snapshot, of a DB instance or of a cluster.
type DBSnapshot struct {
	ID, ARN string
	Cluster bool   // of a cluster
	Source  string // the identifier of what it is of
	Type    string // manual or automated
	Status  string // creating, available, deleting or failed
	Created time.Time
	Tags    map[string]string

	Instance  DBInstance // as it was at the time, if it is of one
	OfCluster DBCluster  // likewise
}

// snapshotID names a snapshot: those of instances and those of clusters have names of their own.
type snapshotID struct {
	cluster bool
	id      string
}

func (s *DBSnapshot) clone() DBSnapshot {
	n := *s
	n.Tags, n.Instance, n.OfCluster = maps.Clone(s.Tags), s.Instance.clone(), s.OfCluster.clone()
	return n
}

// backing is how its data is named.
func (s *DBSnapshot) backing() string { return backingName(s.Cluster, s.ID) }

func (w *world) findSnapshot(cluster bool, id string) (*DBSnapshot, error) {
	kind, what, code := "snapshot", "DBSnapshot", "DBSnapshotNotFound"
	if cluster {
		kind, what, code = "cluster-snapshot", "DBClusterSnapshot", "DBClusterSnapshotNotFoundFault"
	}
	if s, ok := w.snapshots[snapshotID{cluster, bareID(id, kind)}]; ok {
		return s, nil
	}
	return nil, noDatabase(code, "%s %s not found.", what, id)
}

// newSnapshot begins a snapshot of a database; finishSnapshot ends it.
func (c *Cloud) newSnapshot(d *Database, id, kind string) (*DBSnapshot, error) {
	s := &DBSnapshot{ID: strings.ToLower(id), Cluster: d.cluster, Source: d.ID, Type: kind, Status: "creating", Created: c.now(), Tags: map[string]string{}}
	what, code := "snapshot:", "DBSnapshotAlreadyExists"
	if d.cluster {
		what, code = "cluster-snapshot:", "DBClusterSnapshotAlreadyExistsFault"
	}
	if kind == "manual" {
		if err := checkDBName("Snapshot", s.ID); err != nil {
			return nil, err
		}
	}
	if c.w.snapshots[snapshotID{d.cluster, s.ID}] != nil {
		return nil, refuse(code, "Cannot create the snapshot because a snapshot with the identifier %s already exists.", s.ID)
	}
	s.ARN = c.arn("rds", what+s.ID)
	if d.cluster {
		s.OfCluster = c.w.dbClusters[d.ID].clone()
	} else {
		s.Instance = c.w.dbs[d.ID].clone()
	}
	c.w.snapshots[snapshotID{d.cluster, s.ID}] = s
	if kind == "manual" {
		c.saySnapshot(s, "RDS-EVENT-0040", "RDS-EVENT-0074")
	} else {
		c.saySnapshot(s, "RDS-EVENT-0090", "RDS-EVENT-0168")
	}
	return s, nil
}

func (c *Cloud) finishSnapshot(s *DBSnapshot, err error) {
	if err != nil {
		s.Status = "failed"
		return
	}
	s.Status = "available"
	if s.Type == "manual" {
		c.saySnapshot(s, "RDS-EVENT-0042", "RDS-EVENT-0075")
	} else {
		c.saySnapshot(s, "RDS-EVENT-0091", "RDS-EVENT-0169")
	}
}

// takeSnapshot makes a snapshot of an available database, which is backing-up meanwhile.
func (c *Cloud) takeSnapshot(d *Database, s *DBSnapshot, takes time.Duration, then func()) {
	id, name := d.backing(), s.backing()
	c.begin(d, step{DBBackingUp, takes, func(ctx context.Context, b Backing) error { return b.Snapshot(ctx, id, name) }, func(err error) {
		c.finishSnapshot(s, err)
		if err != nil {
			c.complain(d, "snapshot "+s.ID+" of "+d.String(), err)
		} else {
			then()
		}
		c.setDBStatus(d, DBAvailable)
	}})
}

// backsUp tells whether a database has automated backups of its own.
func (c *Cloud) backsUp(d *Database) bool {
	i := c.w.dbs[d.ID]
	return d.Retention > 0 && (d.cluster || i == nil || i.Cluster == "" && i.Source == "")
}

// backUp makes an automated backup of an available database, and drops those that are too old.
func (c *Cloud) backUp(d *Database) {
	s, err := c.newSnapshot(d, fmt.Sprintf("rds:%s-%s", d.ID, c.now().Format("2006-01-02-15-04")), "automated")
	if err != nil { // one was made this minute, which will do
		c.setDBStatus(d, DBAvailable)
		return
	}
	c.sayDB(d, "RDS-EVENT-0001", "")
	c.takeSnapshot(d, s, c.cfg.Timing.Databases.Backup, func() {
		if d.began.IsZero() {
			d.began = s.Created
		}
		c.sayDB(d, "RDS-EVENT-0002", "")
		old := c.now().AddDate(0, 0, -d.Retention)
		c.dropBackups(d, func(s *DBSnapshot) bool { return s.Created.Before(old) })
	})
}

// backUpDaily has a database backed up in its window, every day on which it is available then, for as long as it is there and has backups.
func (c *Cloud) backUpDaily(d *Database) {
	start, err := windowStart(d.Window)
	if err != nil {
		return // checked whenever it is set
	}
	now := c.now()
	first := now.Truncate(24 * time.Hour).Add(start)
	if !first.After(now) {
		first = first.Add(24 * time.Hour)
	}
	d.rounds++
	c.backUpAfter(d, first.Sub(now))
}

func (c *Cloud) backUpAfter(d *Database, wait time.Duration) {
	round := d.rounds
	c.after(wait, func() {
		if now, err := c.w.database(d.String()); err != nil || now != d || d.rounds != round || !c.backsUp(d) {
			return
		}
		if d.Status == DBAvailable {
			c.backUp(d)
		}
		c.backUpAfter(d, 24*time.Hour)
	})
}

// windowStart is the time of the day at which a window such as 03:00-03:30 begins.
func windowStart(window string) (time.Duration, error) {
	start, _, ok := strings.Cut(window, "-")
	at, err := time.Parse("15:04", start)
	if !ok || err != nil {
		return 0, badValue("Invalid backup window: %s. Must be of the form hh24:mi-hh24:mi.", window)
	}
	return time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute, nil
}

// dropBackups drops the automated backups of a database that which tells of.
func (c *Cloud) dropBackups(d *Database, which func(*DBSnapshot) bool) {
	for key, s := range c.w.snapshots {
		if s.Cluster == d.cluster && s.Source == d.ID && s.Type == "automated" && which(s) {
			delete(c.w.snapshots, key)
			c.dropData(d, s)
		}
	}
}

// dropData has the Backing forget a snapshot that RDS has forgotten.
func (c *Cloud) dropData(d *Database, s *DBSnapshot) {
	if c.cfg.Backing == nil {
		return
	}
	c.work(func(ctx context.Context, b Backing) error { return b.DeleteSnapshot(ctx, s.backing()) }, func(err error) {
		if err != nil {
			c.complain(d, "delete snapshot "+s.ID, err)
		}
	})
}

// CreateDBSnapshot makes a manual snapshot of a DB instance, or of a cluster.
func (c *Cloud) CreateDBSnapshot(of string, cluster bool, id string, tags map[string]string) (out DBSnapshot, err error) {
	err = c.write(snapshotAction("Create", cluster), func() error {
		d, err := c.w.database(kindOf(cluster) + " " + of)
		if err != nil {
			return err
		}
		if i := c.w.dbs[d.ID]; !cluster && i.Cluster != "" {
			return badCombination("The specified instance is a member of a cluster and a snapshot cannot be created directly. Please use the CreateDBClusterSnapshot API instead.")
		}
		if err := d.need(DBAvailable); err != nil {
			return err
		}
		if err := checkDBTags(tags); err != nil {
			return err
		}
		s, err := c.newSnapshot(d, id, "manual")
		if err != nil {
			return err
		}
		maps.Copy(s.Tags, tags)
		c.takeSnapshot(d, s, c.cfg.Timing.Databases.Snapshot, func() {})
		out = s.clone()
		return nil
	})
	return out, err
}

func kindOf(cluster bool) string {
	if cluster {
		return "cluster"
	}
	return "instance"
}

func snapshotAction(verb string, cluster bool) string {
	if cluster {
		return "rds:" + verb + "DBClusterSnapshot"
	}
	return "rds:" + verb + "DBSnapshot"
}

// SnapshotQuery says which snapshots to show; what is empty does not narrow them.
type SnapshotQuery struct {
	Cluster          bool
	ID, Source, Type string
	Filters          []Filter
}

// DescribeDBSnapshots returns the snapshots that fit, of instances or of clusters, by their time and name.
func (c *Cloud) DescribeDBSnapshots(q SnapshotQuery) ([]DBSnapshot, error) {
	return read(c, snapshotAction("Describe", q.Cluster)+"s", func(w *world) ([]DBSnapshot, error) {
		known := []string{"db-" + kindOf(q.Cluster) + "-id", "snapshot-type", "engine"}
		if q.Cluster {
			known = append(known, "db-cluster-snapshot-id")
		} else {
			known = append(known, "db-snapshot-id", "dbi-resource-id")
		}
		if err := checkFilters("DescribeDBSnapshots", q.Filters, known...); err != nil {
			return nil, err
		}
		if q.ID != "" {
			if _, err := w.findSnapshot(q.Cluster, q.ID); err != nil {
				return nil, err
			}
		}
		var out []DBSnapshot
		for _, s := range w.snapshots {
			if q.fits(s) {
				out = append(out, s.clone())
			}
		}
		slices.SortFunc(out, func(a, b DBSnapshot) int {
			if n := a.Created.Compare(b.Created); n != 0 {
				return n
			}
			return strings.Compare(a.ID, b.ID)
		})
		return out, nil
	})
}

func (q SnapshotQuery) fits(s *DBSnapshot) bool {
	kind := "snapshot"
	if q.Cluster {
		kind = "cluster-snapshot"
	}
	return s.Cluster == q.Cluster && (q.ID == "" || bareID(q.ID, kind) == s.ID) && (q.Source == "" || strings.EqualFold(q.Source, s.Source)) &&
		(q.Type == "" || q.Type == s.Type) && matchAll(q.Filters, s.filterValue)
}

func (s *DBSnapshot) filterValue(name string) []string {
	of := s.Data()
	return []string{map[string]string{
		"db-instance-id": s.Source, "db-cluster-id": s.Source, "db-snapshot-id": s.ID, "db-cluster-snapshot-id": s.ID, "snapshot-type": s.Type, "engine": of.Engine,
		"dbi-resource-id": of.Resource,
	}[name]}
}

// Data is the database at the time of the snapshot.
func (s *DBSnapshot) Data() Database {
	if s.Cluster {
		return s.OfCluster.Database
	}
	return s.Instance.Database
}

// DeleteDBSnapshot deletes a manual snapshot.
func (c *Cloud) DeleteDBSnapshot(id string, cluster bool) (out DBSnapshot, err error) {
	err = c.write(snapshotAction("Delete", cluster), func() error {
		s, err := c.w.findSnapshot(cluster, id)
		if err != nil {
			return err
		}
		code := "InvalidDBSnapshotState"
		if cluster {
			code = "InvalidDBClusterSnapshotStateFault"
		}
		switch {
		case s.Type != "manual":
			return refuse(code, "Deletion of automated snapshots is not supported: %s", s.ID)
		case s.Status == "creating":
			return refuse(code, "Cannot delete the snapshot because it is not currently in the available or failed state.")
		}
		delete(c.w.snapshots, snapshotID{cluster, s.ID})
		c.dropData(new(s.Data()), s)
		c.saySnapshot(s, "RDS-EVENT-0041", "")
		out = s.clone()
		out.Status = "deleted"
		return nil
	})
	return out, err
}
