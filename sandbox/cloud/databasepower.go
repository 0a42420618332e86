package cloud

import (
	"context"
	"strings"
	"time"
)

// StopDBInstance stops a DB instance, after a manual snapshot if it is given a name for one.
func (c *Cloud) StopDBInstance(id, snapshot string) (out DBInstance, err error) {
	err = c.write("rds:StopDBInstance", func() error {
		i, err := c.w.findDB(id)
		if err != nil {
			return err
		}
		if err := i.stoppable(); err != nil {
			return err
		}
		if err := i.need(DBAvailable); err != nil {
			return err
		}
		var s *DBSnapshot
		if snapshot != "" {
			if s, err = c.newSnapshot(&i.Database, snapshot, "manual"); err != nil {
				return err
			}
		}
		c.stopDB(&i.Database, s)
		out = i.clone()
		return nil
	})
	return out, err
}

// stoppable refuses a DB instance that RDS never stops or starts, whatever its status.
func (i *DBInstance) stoppable() error {
	switch {
	case i.Cluster != "" || strings.HasPrefix(i.Engine, "custom-"):
		return badCombination("%s DB instances are not eligible for stopping and starting.", i.Engine)
	case i.Source != "":
		return i.wrongState("Cannot stop or start a Read-Replica instance")
	case len(i.Replicas) > 0:
		return i.wrongState("Cannot stop or start an instance that is the source of a Read-Replica: %s", strings.Join(i.Replicas, ", "))
	case i.MultiAZ && strings.HasPrefix(i.Engine, "sqlserver-"):
		return i.wrongState("Cannot stop or start a SQL Server instance in a Multi-AZ deployment")
	}
	return nil
}

// StartDBInstance starts a stopped DB instance.
func (c *Cloud) StartDBInstance(id string) (out DBInstance, err error) {
	err = c.write("rds:StartDBInstance", func() error {
		i, err := c.w.findDB(id)
		if err != nil {
			return err
		}
		if err := i.stoppable(); err != nil {
			return err
		}
		if err := i.need(DBStopped); err != nil {
			return err
		}
		c.startDB(&i.Database)
		out = i.clone()
		return nil
	})
	return out, err
}

// StopDBCluster stops a cluster with all its members.
func (c *Cloud) StopDBCluster(id string) (out DBCluster, err error) {
	err = c.write("rds:StopDBCluster", func() error {
		k, err := c.w.findDBCluster(id)
		if err != nil {
			return err
		}
		if err := k.stoppable(); err != nil {
			return err
		}
		if err := k.need(DBAvailable); err != nil {
			return err
		}
		for _, m := range c.w.membersOf(k.ID) {
			if err := m.need(DBAvailable); err != nil {
				return err
			}
		}
		c.stopDB(&k.Database, nil)
		out = c.w.showDBCluster(k)
		return nil
	})
	return out, err
}

// stoppable refuses a cluster that RDS never stops or starts, whatever its status.
func (k *DBCluster) stoppable() error {
	switch {
	case k.Mode != "provisioned":
		return k.wrongState("The action is not supported for DB cluster %s with engine mode %s.", k.ID, k.Mode)
	case k.Global != "":
		return k.wrongState("DB cluster %s is part of the global cluster %s and cannot be stopped or started.", k.ID, k.Global)
	}
	return nil
}

// StartDBCluster starts a stopped cluster with all its members.
func (c *Cloud) StartDBCluster(id string) (out DBCluster, err error) {
	err = c.write("rds:StartDBCluster", func() error {
		k, err := c.w.findDBCluster(id)
		if err != nil {
			return err
		}
		if err := k.stoppable(); err != nil {
			return err
		}
		if err := k.need(DBStopped); err != nil {
			return err
		}
		c.startDB(&k.Database)
		out = c.w.showDBCluster(k)
		return nil
	})
	return out, err
}

// stopDB stops a database, once s is made of it.
func (c *Cloud) stopDB(d *Database, s *DBSnapshot) {
	takes := c.cfg.Timing.Databases.Stop
	if i, ok := c.w.dbs[d.ID]; ok && !d.cluster && i.MultiAZ {
		takes *= 2
	}
	id := d.backing()
	c.begin(d, step{DBStopping, takes, func(ctx context.Context, b Backing) error {
		if s != nil {
			if err := b.Snapshot(ctx, id, s.backing()); err != nil {
				return err
			}
		}
		return b.Stop(ctx, id)
	}, func(err error) {
		if s != nil {
			c.finishSnapshot(s, err)
		}
		if err != nil {
			c.setDBStatus(d, DBAvailable)
			c.sayDB(d, "", "RDS-EVENT-0152")
			c.complain(d, "stop "+d.String(), err)
			return
		}
		c.restDB(d)
	}})
}

// restDB is what becomes of a database that has been stopped: RDS starts it again after so long.
func (c *Cloud) restDB(d *Database) {
	d.halted, d.Restarts = c.now(), c.now().Add(c.cfg.Timing.Databases.MaxStop)
	c.setDBStatus(d, DBStopped)
	c.sayDB(d, "RDS-EVENT-0087", "RDS-EVENT-0150")
	c.sayMembers(d, "RDS-EVENT-0087")
	c.restartAfter(d, c.cfg.Timing.Databases.MaxStop)
}

// restartAfter has RDS start a stopped database: first it says so, and some minutes later it does.
func (c *Cloud) restartAfter(d *Database, wait time.Duration) {
	life := d.life
	still := func() bool { return d.life == life && d.Status == DBStopped }
	c.after(wait, func() {
		if !still() {
			return
		}
		c.sayDB(d, "RDS-EVENT-0154", "RDS-EVENT-0153")
		c.after(c.cfg.Timing.Databases.RestartGap, func() {
			if still() {
				c.startDB(d)
			}
		})
	})
}

// RestartDatabase has RDS start a stopped database now, as it does when it has been stopped for too long. The id is "instance NAME" or "cluster NAME".
func (c *Cloud) RestartDatabase(id string) error {
	return c.happen(func() error {
		d, err := c.w.database(id)
		if err != nil {
			return err
		}
		if err := d.need(DBStopped); err != nil {
			return err
		}
		c.restartAfter(d, 0)
		return nil
	})
}

func (c *Cloud) startDB(d *Database) {
	id, at, lease := d.backing(), d.Endpoint, d.Restarts
	d.Restarts = time.Time{}
	c.begin(d, step{DBStarting, c.cfg.Timing.Databases.Start, func(ctx context.Context, b Backing) (err error) {
		at, err = b.Start(ctx, id)
		return err
	}, func(err error) {
		if err != nil {
			d.Restarts = latest(lease, c.now().Add(time.Hour)) // when RDS would try again is not documented
			c.setDBStatus(d, DBStopped)
			c.complain(d, "start "+d.String(), err)
			c.restartAfter(d, d.Restarts.Sub(c.now()))
			return
		}
		d.halted = time.Time{}
		c.relocate(d, at)
		c.setDBStatus(d, DBAvailable)
		c.sayDB(d, "RDS-EVENT-0088", "RDS-EVENT-0151")
		c.sayMembers(d, "RDS-EVENT-0088")
	}})
}

// relocate gives a database the endpoint that its Backing has now, and its members the same.
func (c *Cloud) relocate(d *Database, at Endpoint) {
	c.locate(d, at)
	if !d.cluster || c.cfg.Backing == nil {
		return
	}
	for _, m := range c.w.membersOf(d.ID) {
		m.Endpoint = d.Endpoint
	}
}

// sayMembers says of each member of a cluster what happened to it with the cluster.
func (c *Cloud) sayMembers(d *Database, event string) {
	if !d.cluster {
		return
	}
	for _, m := range c.w.membersOf(d.ID) {
		c.sayDB(&m.Database, event, "")
	}
}

// RebootDBInstance reboots a DB instance. To a member of a cluster that is all, since the cluster's data goes on.
func (c *Cloud) RebootDBInstance(id string) (out DBInstance, err error) {
	err = c.write("rds:RebootDBInstance", func() error {
		i, err := c.w.findDB(id)
		if err != nil {
			return err
		}
		if err := i.need(DBAvailable); err != nil {
			return err
		}
		c.sayDB(&i.Database, "RDS-EVENT-0004", "")
		c.bounce(i, DBRebooting, c.cfg.Timing.Databases.Reboot, "RDS-EVENT-0006")
		out = i.clone()
		return nil
	})
	return out, err
}

// bounce takes a DB instance down and up again, in a status, and says so in the end.
func (c *Cloud) bounce(i *DBInstance, status string, takes time.Duration, event string) {
	d, id, at := &i.Database, i.backing(), i.Endpoint
	s := step{status: status, takes: takes, done: func(err error) {
		if err != nil {
			c.setDBStatus(d, DBFailed)
			c.complain(d, "restart "+d.String(), err)
			return
		}
		c.relocate(d, at)
		c.setDBStatus(d, DBAvailable)
		c.sayDB(d, event, "")
	}}
	if i.Cluster == "" {
		s.data = func(ctx context.Context, b Backing) (err error) {
			if err := b.Stop(ctx, id); err != nil {
				return err
			}
			at, err = b.Start(ctx, id)
			return err
		}
	}
	c.begin(d, s)
}
