package cloud

import (
	"context"
	"time"
)

// restoration is how a database, complete already, comes to be from others' data.
func (c *Cloud) restoration(d *Database, from BackingSource, event string) origin {
	id, spec := d.backing(), d.backingSpec()
	return origin{takes: c.cfg.Timing.Databases.Restore, failed: DBIncompatibleRestore, event: event,
		data: func(ctx context.Context, b Backing) (Endpoint, error) { return b.Restore(ctx, id, from, spec) }}
}

// RestoreDBInstanceFromDBSnapshot makes a new DB instance from a snapshot. What spec does not say is as in the snapshot, except that it is in one
// zone, in the default security group, parameter group and subnet group. The password is the snapshot's.
func (c *Cloud) RestoreDBInstanceFromDBSnapshot(spec DBInstance, snapshot string) (out DBInstance, err error) {
	err = c.write("rds:RestoreDBInstanceFromDBSnapshot", func() error {
		s, err := c.w.findSnapshot(false, snapshot)
		if err != nil {
			return err
		}
		if s.Status != "available" {
			return refuse("InvalidDBSnapshotState", "Cannot restore from snapshot %s, which is %s.", s.ID, s.Status)
		}
		out, err = c.restoreDB(s.Instance.like(spec), BackingSource{Snapshot: s.backing()}, "RDS-EVENT-0043")
		return err
	})
	return out, err
}

// RestoreDBInstanceToPointInTime makes a new DB instance as another was at a time; the zero time is the latest one that can be had. What spec does
// not say is as in a restore from a snapshot.
func (c *Cloud) RestoreDBInstanceToPointInTime(source string, spec DBInstance, at time.Time) (out DBInstance, err error) {
	err = c.write("rds:RestoreDBInstanceToPointInTime", func() error {
		from, err := c.w.findDB(source)
		if err != nil {
			return err
		}
		if from.Cluster != "" {
			return badCombination("Cannot restore %s, which is a member of a DB cluster. Use RestoreDBClusterToPointInTime.", from.ID)
		}
		if err := c.checkPoint(from.Database, at); err != nil {
			return err
		}
		out, err = c.restoreDB(from.like(spec), BackingSource{ID: from.backing(), At: at}, "RDS-EVENT-0019")
		return err
	})
	return out, err
}

func (c *Cloud) restoreDB(i DBInstance, from BackingSource, event string) (DBInstance, error) {
	if err := c.completeDBInstance(&i); err != nil {
		return DBInstance{}, err
	}
	c.addDB(&i, c.restoration(&i.Database, from, event))
	return i.clone(), nil
}

// checkPoint refuses a time to which a database cannot be restored. What its Backing may refuse besides is known only later.
func (c *Cloud) checkPoint(d Database, at time.Time) error {
	c.restorable(&d)
	end := d.Latest
	if c.cfg.Backing != nil && d.halted.IsZero() {
		end = c.now() // how far its log has come is its own to say
	}
	switch {
	case d.Earliest.IsZero():
		return refuse("PointInTimeRestoreNotEnabled", "Point in time restore is not enabled for %s: it has no automated backups.", d.String())
	case at.IsZero():
		return nil
	case at.Before(d.Earliest) || at.After(end):
		return badValue("The specified time %s is not within the restorable times of %s: %s to %s", moment(at), d.String(), moment(d.Earliest), moment(end))
	}
	return nil
}

// RestoreDBClusterFromSnapshot makes a new cluster, without members, from a cluster's snapshot. Its groups are the default ones unless spec says
// something else, and it does not scale unless spec says so.
func (c *Cloud) RestoreDBClusterFromSnapshot(spec DBCluster, snapshot string) (out DBCluster, err error) {
	err = c.write("rds:RestoreDBClusterFromSnapshot", func() error {
		s, err := c.w.findSnapshot(true, snapshot)
		if err != nil {
			return err
		}
		if s.Status != "available" {
			return refuse("InvalidDBClusterSnapshotStateFault", "Cannot restore from snapshot %s, which is %s.", s.ID, s.Status)
		}
		if spec.Engine != "" && spec.Engine != s.OfCluster.Engine {
			return NotSimulated("a restore into another engine", "RestoreDBClusterFromSnapshot")
		}
		out, err = c.restoreDBCluster(s.OfCluster.like(spec), BackingSource{Snapshot: s.backing()})
		return err
	})
	return out, err
}

// RestoreDBClusterToPointInTime makes a new cluster, without members, as another was at a time; the zero time is the latest one that can be had.
func (c *Cloud) RestoreDBClusterToPointInTime(source string, spec DBCluster, at time.Time) (out DBCluster, err error) {
	err = c.write("rds:RestoreDBClusterToPointInTime", func() error {
		from, err := c.w.findDBCluster(source)
		if err != nil {
			return err
		}
		if err := c.checkPoint(from.Database, at); err != nil {
			return err
		}
		out, err = c.restoreDBCluster(from.like(spec), BackingSource{ID: from.backing(), At: at})
		return err
	})
	return out, err
}

// like returns a new cluster with the data of k, as a restore makes it.
func (k *DBCluster) like(spec DBCluster) DBCluster {
	n := spec.clone()
	n.Engine, n.Version, n.User, n.password, n.Schema = k.Engine, k.Version, k.User, k.password, k.Schema
	n.Retention, n.Window, n.Mode, n.Global = k.Retention, k.Window, k.Mode, ""
	if n.Port == 0 {
		n.Port = k.Port
	}
	return n
}

func (c *Cloud) restoreDBCluster(k DBCluster, from BackingSource) (DBCluster, error) {
	if err := c.completeDBCluster(&k); err != nil {
		return DBCluster{}, err
	}
	c.addDBCluster(&k, c.restoration(&k.Database, from, "RDS-EVENT-0170"))
	return c.w.showDBCluster(&k), nil
}
