package cloud

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// dbDeeds are what users and AWS do to databases at random: to stg, a DB instance, and to shop, a cluster of two.
var dbDeeds = []struct {
	name string
	from []string // the statuses of its database in which RDS lets it happen
	of   string
	do   func(l *lab) error
}{
	{"stop stg", []string{DBAvailable}, "stg", func(l *lab) error { _, err := l.StopDBInstance("stg", ""); return err }},
	{"start stg", []string{DBStopped}, "stg", func(l *lab) error { _, err := l.StartDBInstance("stg"); return err }},
	{"reboot stg", []string{DBAvailable}, "stg", func(l *lab) error { _, err := l.RebootDBInstance("stg"); return err }},
	{"restart stg", []string{DBStopped}, "stg", func(l *lab) error { return l.RestartDatabase("instance stg") }},
	{"snapshot stg", []string{DBAvailable}, "stg", func(l *lab) error {
		_, err := l.CreateDBSnapshot("stg", false, "s-"+l.clock.Now().Format("02150405"), nil)
		return err
	}},
	{"class of stg", []string{DBAvailable}, "stg", func(l *lab) error {
		_, err := l.ModifyDBInstance("stg", DBChange{Class: new(fmt.Sprintf("db.m%d.large", l.clock.Now().Unix())), Now: true})
		return err
	}},
	{"stop shop", []string{DBAvailable}, "shop", func(l *lab) error { _, err := l.StopDBCluster("shop"); return err }},
	{"start shop", []string{DBStopped}, "shop", func(l *lab) error { _, err := l.StartDBCluster("shop"); return err }},
	{"restart shop", []string{DBStopped}, "shop", func(l *lab) error { return l.RestartDatabase("cluster shop") }},
	{"reboot shop-1", []string{DBAvailable}, "shop-1", func(l *lab) error { _, err := l.RebootDBInstance("shop-1"); return err }},
	{"capacity of shop", []string{DBAvailable}, "shop", func(l *lab) error {
		_, err := l.ModifyDBCluster("shop", DBChange{MinACU: new(float64(l.clock.Now().Minute()%4) / 2)})
		return err
	}},
}

// statusOf is the true status of one of the databases.
func (l *lab) statusOf(id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id == "shop" {
		return l.w.dbClusters[id].Status
	}
	return l.w.dbs[id].Status
}

// checkDatabases checks what must hold at all times.
func (l *lab) checkDatabases(endpoints map[string]Endpoint) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := []*Database{&l.w.dbClusters["shop"].Database}
	for _, i := range l.w.dbs {
		all = append(all, &i.Database)
	}
	for _, d := range all {
		stopped := d.Status == DBStopped && (d.cluster || l.w.dbs[d.ID].Cluster == "")
		switch {
		case stopped && d.Restarts.IsZero() || !stopped && !d.Restarts.IsZero():
			return fmt.Errorf("%s is %s and restarts at %s", d, d.Status, d.Restarts)
		case stopped && l.now().After(d.Restarts.Add(l.cfg.Timing.Databases.RestartGap)):
			return fmt.Errorf("%s is stopped after %s", d, d.Restarts)
		case d.Endpoint != endpoints[d.String()]:
			return fmt.Errorf("%s has moved to %v", d, d.Endpoint)
		}
	}
	for _, m := range l.w.membersOf("shop") {
		if k := l.w.dbClusters["shop"]; m.Status != k.Status && (slices.Contains(power, m.Status) || slices.Contains(power, k.Status)) {
			return fmt.Errorf("member %s is %s in a cluster that is %s", m.ID, m.Status, k.Status)
		}
	}
	return nil
}

// liveDatabases lives through sixty random deeds, with a Backing or without one, and returns all that was said.
func liveDatabases(t *testing.T, seed int64, backing *shelf) string {
	t.Helper()
	dice := rand.New(rand.NewPCG(uint64(seed), 98))
	cfg := Config{Seed: seed}
	if backing != nil {
		cfg.Backing = backing
	}
	l := newLab(t, cfg)
	wait := func() {
		if backing != nil {
			l.working.Wait()
		}
	}
	_, err := l.CreateDBInstance(DBInstance{Class: "db.t3.medium", Storage: 20, Database: Database{ID: "stg", Engine: "postgres", User: "app", Retention: 2}}, "password")
	l.must(err)
	_, err = l.CreateDBCluster(DBCluster{MinACU: 0.5, MaxACU: 8, Database: Database{ID: "shop", Engine: "aurora-postgresql", User: "app"}}, "password")
	l.must(err)
	for n := range 4 {
		if l.pass(10 * time.Minute); n > 1 {
			_, err := l.CreateDBInstance(DBInstance{Class: "db.serverless", Cluster: "shop", Database: Database{ID: fmt.Sprint("shop-", n), Engine: "aurora-postgresql"}}, "")
			l.must(err)
		}
	}
	_, err = l.CreateDBInstance(DBInstance{Class: "db.serverless", Cluster: "shop", Database: Database{ID: "shop-1", Engine: "aurora-postgresql"}}, "")
	l.must(err)
	l.pass(10 * time.Minute)
	endpoints := map[string]Endpoint{"cluster shop": l.aurora("shop").Endpoint}
	for _, id := range []string{"stg", "shop-1", "shop-2", "shop-3"} {
		endpoints["instance "+id] = l.instance(id).Endpoint
	}
	var log strings.Builder
	check := func() {
		t.Helper()
		if err := l.checkDatabases(endpoints); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, log.String())
		}
	}
	for range 60 {
		d := dbDeeds[dice.IntN(len(dbDeeds))]
		if dice.IntN(2) == 0 {
			wait()
		}
		before := l.statusOf(d.of)
		err := d.do(l)
		fmt.Fprintln(&log, l.clock.Now().Format(time.DateTime), before, d.name, err)
		settled := backing == nil // with one, the status may change between the two looks
		if settled && err == nil && !slices.Contains(d.from, before) {
			t.Fatalf("seed %d: %s while it was %s\n%s", seed, d.name, before, log.String())
		}
		for range dice.IntN(12) {
			l.clock.Advance(time.Duration(1+dice.IntN(90)) * time.Second)
			check()
		}
		if dice.IntN(10) == 0 {
			wait()
			l.clock.Advance(time.Duration(dice.IntN(5*24)) * time.Hour)
			wait()
			check()
		}
	}
	// Left in peace, everything runs: RDS sees to that.
	for range 9 * 24 * 4 {
		l.pass(15 * time.Minute)
		check()
	}
	l.clock.Advance(time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC).Sub(l.clock.Now()) % (24 * time.Hour)) // noon: no backups
	wait()
	for _, id := range []string{"stg", "shop", "shop-1", "shop-2"} {
		if s := l.statusOf(id); s != DBAvailable {
			t.Fatalf("seed %d: %s is %s in the end\n%s", seed, id, s, log.String())
		}
	}
	all, err := l.DescribeDBEvents(DBEventQuery{})
	l.must(err)
	for _, e := range all {
		fmt.Fprintln(&log, e.At.Format(time.DateTime), e.ID, e.Source, e.Message)
	}
	return log.String()
}

func TestRandomLivesOfDatabases(t *testing.T) {
	for seed := range int64(60) {
		liveDatabases(t, seed, nil)
	}
}

func TestRandomLivesOfDatabasesWithData(t *testing.T) {
	for seed := range int64(40) {
		s := newShelf()
		liveDatabases(t, seed, s)
		if s.overlap != "" {
			t.Fatalf("seed %d: two things were done to %s at once", seed, s.overlap)
		}
		for _, id := range []string{"stg", "cluster-shop"} {
			if !s.running[id] {
				t.Fatalf("seed %d: %s is available, its data is not", seed, id)
			}
		}
	}
}

func TestSameSeedSameLifeOfDatabases(t *testing.T) {
	for seed := range int64(5) {
		if a, b := liveDatabases(t, seed, nil), liveDatabases(t, seed, nil); a != b {
			t.Fatalf("seed %d lived two lives:\n%s\n---\n%s", seed, a, b)
		}
	}
}
