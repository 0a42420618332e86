package cloud

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strings"
)

// DBCluster is a copy of what RDS knows of one Aurora cluster. Its members are DB instances. Behind a Backing its endpoint serves as soon as there
// is a cluster, whereas Aurora's needs a member.
type DBCluster struct {
	Database
	Mode           string  // provisioned; serverless, global, multimaster and parallelquery are kept and shown, and cannot be stopped
	Global         string  // the global cluster that it is part of
	MinACU, MaxACU float64 // of its members of class db.serverless; zeros without any
	Members        []DBMember
	Zones          []string
}

// DBMember is a DB instance as its cluster sees it.
type DBMember struct {
	ID     string
	Writer bool
}

func (k *DBCluster) clone() DBCluster {
	n := *k
	n.Database, n.Members, n.Zones = k.Database.clone(), slices.Clone(k.Members), slices.Clone(k.Zones)
	return n
}

// findDBCluster finds a cluster by its identifier or its ARN.
func (w *world) findDBCluster(id string) (*DBCluster, error) {
	if k, ok := w.dbClusters[bareID(id, "cluster")]; ok {
		return k, nil
	}
	return nil, noDatabase("DBClusterNotFoundFault", "DBCluster %s not found.", id)
}

// membersOf returns the members of a cluster, by identifier.
func (w *world) membersOf(cluster string) []*DBInstance {
	var out []*DBInstance
	for _, i := range w.dbs {
		if cluster != "" && i.Cluster == cluster {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b *DBInstance) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// showDBCluster returns a cluster with its members.
func (w *world) showDBCluster(k *DBCluster) DBCluster {
	n := k.clone()
	n.Members = nil
	for _, m := range w.membersOf(k.ID) {
		n.Members = append(n.Members, DBMember{m.ID, m.Writer})
	}
	return n
}

// CreateDBCluster makes an Aurora cluster without members from spec, of which what is RDS's to say is ignored.
func (c *Cloud) CreateDBCluster(spec DBCluster, password string) (out DBCluster, err error) {
	err = c.write("rds:CreateDBCluster", func() error {
		k := spec.clone()
		k.password = password
		if err := checkLogin(k.User, password); err != nil {
			return err
		}
		if err := c.completeDBCluster(&k); err != nil {
			return err
		}
		id, with := k.backing(), k.backingSpec()
		c.addDBCluster(&k, origin{takes: c.cfg.Timing.Databases.Create, failed: DBFailed, event: "RDS-EVENT-0170",
			data: func(ctx context.Context, b Backing) (Endpoint, error) { return b.Create(ctx, id, with) }})
		out = c.w.showDBCluster(&k)
		return nil
	})
	return out, err
}

func (c *Cloud) addDBCluster(k *DBCluster, o origin) {
	c.enroll(&k.Database)
	c.w.dbClusters[k.ID] = k
	c.giveBirth(&k.Database, o)
}

func (c *Cloud) completeDBCluster(k *DBCluster) error {
	k.cluster, k.Mode, k.Zones = true, cmp.Or(k.Mode, "provisioned"), c.Zones()
	k.Retention = max(1, k.Retention) // Aurora has automated backups always
	if err := c.completeDatabase(&k.Database); err != nil {
		return err
	}
	if c.w.dbClusters[k.ID] != nil {
		return refuse("DBClusterAlreadyExistsFault", "DB Cluster already exists")
	}
	return checkACU(k.MinACU, k.MaxACU)
}

// checkACU refuses what no Serverless v2 cluster may scale between; zeros are a cluster that does not scale.
func checkACU(least, most float64) error {
	halves := func(n float64) bool { return n*2 == math.Trunc(n*2) }
	switch {
	case least == 0 && most == 0:
		return nil
	case least < 0 || most < 1 || most > 256 || !halves(least) || !halves(most):
		return badValue("Serverless v2 capacity must go in steps of 0.5, from at least 0 to a maximum between 1 and 256: %g to %g", least, most)
	case least > most:
		return badCombination("The minimum capacity %g of Serverless v2 is greater than the maximum capacity %g", least, most)
	}
	return nil
}

// clusterFilters are the filters of DescribeDBClusters.
var clusterFilters = map[string]func(DBCluster) []string{
	"db-cluster-id":          func(k DBCluster) []string { return []string{k.ID, k.ARN} },
	"db-cluster-resource-id": func(k DBCluster) []string { return []string{k.Resource} },
	"engine":                 func(k DBCluster) []string { return []string{k.Engine} },
}

// DescribeDBClusters returns the cluster of this identifier (all, if there is none) that pass all filters, by identifier.
func (c *Cloud) DescribeDBClusters(id string, filters []Filter) ([]DBCluster, error) {
	all, err := read(c, "rds:DescribeDBClusters", func(w *world) ([]DBCluster, error) {
		if err := checkFilters("DescribeDBClusters", filters, slices.Collect(maps.Keys(clusterFilters))...); err != nil {
			return nil, err
		}
		if id != "" {
			if _, err := w.findDBCluster(id); err != nil {
				return nil, err
			}
		}
		var out []DBCluster
		for _, name := range slices.Sorted(maps.Keys(w.dbClusters)) {
			k := w.showDBCluster(w.dbClusters[name])
			if (id == "" || bareID(id, "cluster") == name) && matchAll(filters, func(f string) []string { return clusterFilters[f](k) }) {
				c.restorable(&k.Database)
				out = append(out, k)
			}
		}
		return out, nil
	})
	var asked []*Database
	for n := range all {
		asked = append(asked, &all[n].Database)
	}
	c.askData(asked)
	return all, err
}

// ModifyDBCluster changes a cluster, at once.
func (c *Cloud) ModifyDBCluster(id string, change DBChange) (out DBCluster, err error) {
	err = c.write("rds:ModifyDBCluster", func() error {
		k, err := c.w.findDBCluster(id)
		if err != nil {
			return err
		}
		if err := k.need(DBAvailable); err != nil {
			return err
		}
		if change.Class != nil || change.MultiAZ != nil || change.Storage != nil {
			return badCombination("Class, Multi-AZ and storage are not those of an Aurora cluster.")
		}
		n := k.clone()
		set(&n.MinACU, change.MinACU)
		set(&n.MaxACU, change.MaxACU)
		if err := checkACU(n.MinACU, n.MaxACU); err != nil {
			return err
		}
		if err := c.changeSettings(&n.Database, change); err != nil {
			return err
		}
		if n.Retention == 0 {
			return badValue("Invalid backup retention period: 0. Must be between 1 and 35.")
		}
		k.MinACU, k.MaxACU = n.MinACU, n.MaxACU
		c.finishChange(&k.Database, n.Database)
		c.databaseChanged(&k.Database)
		out = c.w.showDBCluster(k)
		return nil
	})
	return out, err
}

// DeleteDBCluster deletes a cluster that has no members any more: with the name of a final snapshot, or with an empty one without any.
func (c *Cloud) DeleteDBCluster(id, final string, keep bool) (out DBCluster, err error) {
	err = c.write("rds:DeleteDBCluster", func() error {
		k, err := c.w.findDBCluster(id)
		if err != nil {
			return err
		}
		if k.Protected {
			return badCombination("Cannot delete protected Cluster, please disable deletion protection and try again.")
		}
		for _, m := range c.w.membersOf(k.ID) {
			if m.Status != DBDeleting {
				return k.wrongState("Cluster cannot be deleted, it still contains DB instances in non-deleting state.")
			}
		}
		s, err := c.mayDelete(&k.Database, final)
		if err != nil {
			return err
		}
		c.deleteDB(&k.Database, s, true, keep, func() { delete(c.w.dbClusters, k.ID) })
		out = c.w.showDBCluster(k)
		return nil
	})
	return out, err
}
