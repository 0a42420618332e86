package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// shelf is a Backing in memory: it remembers what it was asked, and what it holds, and fails as told.
type shelf struct {
	mu        sync.Mutex
	asked     []string
	running   map[string]bool
	snapshots map[string]bool
	busy      map[string]bool // ids that something is being done to
	failing   map[string]error
	gate      chan struct{} // nil, or what every change waits for
	overlap   string        // an id that two things were done to at once
}

func newShelf() *shelf {
	return &shelf{running: map[string]bool{}, snapshots: map[string]bool{}, busy: map[string]bool{}, failing: map[string]error{}}
}

// do notes a call, waits at the gate, and does f unless the call is to fail.
func (s *shelf) do(ctx context.Context, verb, id, more string, f func()) error {
	s.mu.Lock()
	s.asked = append(s.asked, strings.TrimSpace(verb+" "+id+" "+more))
	if s.busy[id] {
		s.overlap = id
	}
	s.busy[id] = true
	gate := s.gate
	s.mu.Unlock()
	var err error
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[id] = false
	if err == nil {
		err = s.failing[verb]
	}
	if err == nil {
		f()
	}
	return err
}

func (s *shelf) at(id string) Endpoint { return Endpoint{"127.0.0." + fmt.Sprint(len(id)), 5432} }

func (s *shelf) Create(ctx context.Context, id string, b BackingSpec) (Endpoint, error) {
	return s.at(id), s.do(ctx, "create", id, b.User+" "+b.Password+" "+b.Database, func() { s.running[id] = true })
}
func (s *shelf) Start(ctx context.Context, id string) (Endpoint, error) {
	return s.at(id), s.do(ctx, "start", id, "", func() { s.running[id] = true })
}
func (s *shelf) Stop(ctx context.Context, id string) error {
	return s.do(ctx, "stop", id, "", func() { s.running[id] = false })
}
func (s *shelf) Delete(ctx context.Context, id string) error {
	return s.do(ctx, "delete", id, "", func() { delete(s.running, id) })
}
func (s *shelf) Snapshot(ctx context.Context, id, snapshot string) error {
	return s.do(ctx, "snapshot", id, snapshot, func() { s.snapshots[snapshot] = true })
}
func (s *shelf) DeleteSnapshot(ctx context.Context, snapshot string) error {
	return s.do(ctx, "forget", snapshot, "", func() { delete(s.snapshots, snapshot) })
}
func (s *shelf) Restore(ctx context.Context, id string, from BackingSource, b BackingSpec) (Endpoint, error) {
	return s.at(id), s.do(ctx, "restore", id, from.Snapshot+from.ID, func() { s.running[id] = true })
}
func (s *shelf) Latest(_ context.Context, id string) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running[id] {
		return time.Time{}, errors.New("it does not run")
	}
	return time.Date(2026, 3, 1, 11, 59, 0, 0, time.UTC), nil
}

// take returns what was asked since the last time.
func (s *shelf) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := strings.Join(s.asked, ", ")
	s.asked = nil
	return out
}

func (s *shelf) fail(verb string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing[verb] = err
}

// pass lets time pass, and what a Backing does come to its end before and afterwards.
func (l *lab) pass(d time.Duration) {
	l.working.Wait()
	l.clock.Advance(d)
	l.working.Wait()
}

func backed(t *testing.T) (*lab, *shelf) {
	s := newShelf()
	l := newLab(t, Config{Backing: s})
	_, err := l.CreateDBInstance(DBInstance{Class: "db.t3.medium", Storage: 20, Database: Database{ID: "stg", Engine: "postgres", User: "app", Schema: "shop"}}, "password")
	l.must(err)
	l.pass(10 * time.Minute)
	return l, s
}

func TestBackingFollowsADatabase(t *testing.T) {
	l, s := backed(t)
	l.equal("created", s.take(), "create stg app password shop")
	i := l.instance("stg")
	l.equal("made", fmt.Sprint(i.Status, i.Endpoint), "available{127.0.0.3 5432}")
	_, err := l.ModifyDBInstance("stg", DBChange{Retention: new(7)})
	l.must(err)
	l.pass(10 * time.Minute)
	l.equal("backed up", s.take(), "snapshot stg rds:stg-2026-03-01-12-10")
	l.equal("latest", l.instance("stg").Latest, time.Date(2026, 3, 1, 11, 59, 0, 0, time.UTC))
	_, err = l.StopDBInstance("stg", "last")
	l.must(err)
	l.pass(10 * time.Minute)
	l.equal("stopped", s.take(), "snapshot stg last, stop stg")
	_, err = l.StartDBInstance("stg")
	l.must(err)
	l.pass(10 * time.Minute)
	_, err = l.RebootDBInstance("stg")
	l.must(err)
	l.pass(10 * time.Minute)
	l.equal("up again", s.take(), "start stg, stop stg, start stg")
	_, err = l.RestoreDBInstanceFromDBSnapshot(DBInstance{Database: Database{ID: "copy"}}, "last")
	l.must(err)
	l.pass(time.Hour)
	l.equal("restored", s.take(), "restore copy last, snapshot copy rds:copy-2026-03-01-13-00")
	_, err = l.RestoreDBInstanceToPointInTime("stg", DBInstance{Database: Database{ID: "then"}}, time.Time{})
	l.must(err)
	l.pass(5 * time.Minute)
	l.equal("restoring", s.take(), "restore then stg")
	_, err = l.DeleteDBInstance("copy", "", false)
	l.must(err)
	l.pass(4 * time.Minute)
	l.equal("deleted", s.take(), "delete copy, forget rds:copy-2026-03-01-13-00")
	l.pass(time.Hour)
	l.equal("restored", s.take(), "snapshot then rds:then-2026-03-01-14-00")
}

func TestClusterHasOneBacking(t *testing.T) {
	s := newShelf()
	l := newLab(t, Config{Backing: s})
	_, err := l.CreateDBCluster(DBCluster{MinACU: 0.5, MaxACU: 4, Database: Database{ID: "shop", Engine: "aurora-postgresql", User: "app"}}, "password")
	l.must(err)
	l.pass(10 * time.Minute)
	l.pass(10 * time.Minute)
	_, err = l.CreateDBInstance(DBInstance{Class: "db.serverless", Cluster: "shop", Database: Database{ID: "shop-1", Engine: "aurora-postgresql"}}, "")
	l.must(err)
	l.pass(10 * time.Minute)
	l.equal("asked", s.take(), "create cluster-shop app password, snapshot cluster-shop cluster-rds:shop-2026-03-01-12-05")
	l.equal("member", l.instance("shop-1").Endpoint, l.aurora("shop").Endpoint)
	_, err = l.StopDBCluster("shop")
	l.must(err)
	l.pass(10 * time.Minute)
	l.equal("stopped", s.take()+" "+l.instance("shop-1").Status, "stop cluster-shop stopped")
}

func TestTransitionWaitsForItsData(t *testing.T) {
	l, s := backed(t)
	s.gate = make(chan struct{})
	_, err := l.StopDBInstance("stg", "")
	l.must(err)
	l.clock.Advance(time.Hour)
	l.equal("its data is not down yet", l.instance("stg").Status, DBStopping)
	close(s.gate)
	l.working.Wait()
	l.equal("now it is", l.instance("stg").Status, DBStopped)
	s.mu.Lock()
	s.gate = nil
	s.mu.Unlock()
	_, err = l.StartDBInstance("stg")
	l.must(err)
	l.working.Wait()
	l.equal("its time is not over", l.instance("stg").Status, DBStarting)
	l.clock.Advance(5 * time.Minute)
	l.equal("now it is", l.instance("stg").Status, DBAvailable)
}

func TestBackingThatFails(t *testing.T) {
	for verb, c := range map[string]struct {
		do   func(l *lab) error
		id   string
		want string
	}{
		"create": {func(l *lab) error {
			_, err := l.CreateDBInstance(DBInstance{Class: "db.t3.medium", Storage: 20, Database: Database{ID: "new", Engine: "postgres", User: "app"}}, "password")
			return err
		}, "new", DBFailed},
		"stop": {func(l *lab) error { _, err := l.StopDBInstance("stg", ""); return err }, "stg", DBAvailable},
		"snapshot": {func(l *lab) error {
			_, err := l.StopDBInstance("stg", "last")
			return err
		}, "stg", DBAvailable},
		"restore": {func(l *lab) error {
			_, err := l.RestoreDBInstanceToPointInTime("kept", DBInstance{Database: Database{ID: "new"}}, time.Time{})
			return err
		}, "new", DBIncompatibleRestore},
		"delete": {func(l *lab) error { _, err := l.DeleteDBInstance("stg", "", false); return err }, "stg", DBFailed},
		"start":  {func(l *lab) error { _, err := l.StartDBInstance("off"); return err }, "off", DBStopped},
	} {
		t.Run(verb, func(t *testing.T) {
			l, s := backed(t)
			for id, retention := range map[string]int{"kept": 1, "off": 0} {
				_, err := l.CreateDBInstance(DBInstance{Class: "db.t3.medium", Storage: 20, Database: Database{ID: id, Engine: "postgres", User: "app", Retention: retention}}, "password")
				l.must(err)
			}
			l.pass(10 * time.Minute)
			l.pass(10 * time.Minute)
			_, err := l.StopDBInstance("off", "")
			l.must(err)
			l.pass(10 * time.Minute)
			s.fail(verb, errors.New("the disk is full"))
			l.must(c.do(l))
			l.pass(time.Hour)
			l.equal("status", l.instance(c.id).Status, c.want)
			all, err := l.DescribeDBEvents(DBEventQuery{Source: c.id, SourceType: "db-instance", Categories: []string{"failure"}})
			l.must(err)
			if len(all) != 1 || !strings.HasSuffix(all[0].Message, "the disk is full") {
				t.Fatalf("events %+v", all)
			}
			if verb == "delete" { // it can be asked for again
				s.fail(verb, nil)
				l.must(c.do(l))
				l.pass(time.Hour)
				_, err := l.DescribeDBInstances("stg", nil)
				l.refused(err, "DBInstanceNotFound", "stg")
			}
		})
	}
}

func TestCloseEndsWhatABackingDoes(t *testing.T) {
	l, s := backed(t)
	s.gate = make(chan struct{}) // never opened
	_, err := l.StopDBInstance("stg", "")
	l.must(err)
	l.Close()
	l.equal("asked", s.take(), "create stg app password shop, stop stg")
	if slices.Contains([]string{DBAvailable, DBStopped}, l.w.dbs["stg"].Status) {
		t.Fatalf("it is %s after the end of the world", l.w.dbs["stg"].Status)
	}
}
