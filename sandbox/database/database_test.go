package database

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"drover.dev/sandbox/cloud"
)

// TestMain is also a sandbox that makes a database and never ends by itself.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "sandbox" {
		beSandbox(os.Args[2])
		return
	}
	code := m.Run()
	if shared.dir != "" {
		if shared.s != nil {
			shared.s.Close()
		}
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

func beSandbox(dir string) {
	s, err := New(Options{Dir: dir, Addresses: testAddress})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := s.Create(context.Background(), "stg", anApp); err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready")
	select {}
}

// shared are the servers of most tests: a folder's first database takes seconds.
var shared struct {
	once sync.Once
	dir  string
	s    *Servers
	err  error
}

func servers(t *testing.T) *Servers {
	t.Helper()
	shared.once.Do(func() {
		if shared.dir, shared.err = openFolder(); shared.err == nil {
			shared.s, shared.err = New(Options{Dir: shared.dir, Addresses: testAddress})
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err) // says what to install
	}
	return shared.s
}

// openFolder is one that another user gets to, unlike a test's own.
func openFolder() (string, error) {
	dir, err := os.MkdirTemp("", "database")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

func ownFolder(t *testing.T) string {
	t.Helper()
	dir, err := openFolder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "root")
}

// testAddress keeps test processes that run at once apart.
func testAddress(n int) string {
	return fmt.Sprintf("127.%d.%d.%d", 100+os.Getpid()%100, n/250, n%250+1)
}

var anApp = cloud.BackingSpec{Engine: "postgres", User: "app", Password: `it's "secret" \`, Database: "orders-db"}

// lab is one test's databases.
type lab struct {
	*testing.T
	*Servers
}

func newLab(t *testing.T) *lab { t.Parallel(); return &lab{t, servers(t)} }

func (l *lab) ok(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// refused wants an error that says all of it.
func (l *lab) refused(err error, says ...string) {
	l.Helper()
	if err == nil {
		l.Fatalf("no error; want one that says %q", says)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			l.Errorf("error %q does not say %q", err, s)
		}
	}
}

func (l *lab) create(id string) cloud.Endpoint {
	l.Helper()
	e, err := l.Create(l.Context(), id, anApp)
	l.ok(err)
	l.Cleanup(func() {
		if err := l.Delete(context.Background(), id); err != nil {
			l.Error(err)
		}
	})
	return e
}

func (l *lab) restore(id string, from cloud.BackingSource) cloud.Endpoint {
	l.Helper()
	e, err := l.Restore(l.Context(), id, from, cloud.BackingSpec{Engine: "postgres"})
	l.ok(err)
	l.Cleanup(func() {
		if err := l.Delete(context.Background(), id); err != nil {
			l.Error(err)
		}
	})
	return e
}

func login(ctx context.Context, e cloud.Endpoint, user, password, database, sslmode string) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig("sslmode=" + sslmode)
	if err != nil {
		return nil, err
	}
	c.Host, c.Port, c.User, c.Password, c.Database = e.Host, uint16(e.Port), user, password, database
	for _, f := range c.Fallbacks {
		f.Host, f.Port = c.Host, c.Port
	}
	return pgx.ConnectConfig(ctx, c)
}

// do carries out SQL as the master user.
func (l *lab) do(e cloud.Endpoint, sql string) {
	l.Helper()
	c, err := login(l.Context(), e, anApp.User, anApp.Password, anApp.Database, "require")
	l.ok(err)
	defer c.Close(context.Background())
	if _, err := c.Exec(l.Context(), sql); err != nil {
		l.Fatalf("%s: %v", sql, err)
	}
}

// ask answers SQL that asks for one text.
func (l *lab) ask(e cloud.Endpoint, sql string) string {
	l.Helper()
	c, err := login(l.Context(), e, anApp.User, anApp.Password, anApp.Database, "require")
	l.ok(err)
	defer c.Close(context.Background())
	var answer string
	if err := c.QueryRow(l.Context(), sql).Scan(&answer); err != nil {
		l.Fatalf("%s: %v", sql, err)
	}
	return answer
}

const rows = `SELECT coalesce(string_agg(name, ' ' ORDER BY name), '') FROM rows`

func (l *lab) rows(e cloud.Endpoint, want string) {
	l.Helper()
	if got := l.ask(e, rows); got != want {
		l.Errorf("rows %q, want %q", got, want)
	}
}

func (l *lab) insert(e cloud.Endpoint, name string) {
	l.Helper()
	l.do(e, "CREATE TABLE IF NOT EXISTS rows (name text); INSERT INTO rows VALUES ('"+name+"')")
}

// now is the database's own time, once a transaction is behind it.
func (l *lab) now(e cloud.Endpoint) time.Time {
	l.Helper()
	at, err := time.Parse("2006-01-02 15:04:05.999999", l.ask(e, "SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.US')"))
	l.ok(err)
	return at
}

func (l *lab) silent(e cloud.Endpoint) {
	l.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort(e.Host, fmt.Sprint(e.Port)))
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		l.Errorf("connect to %v: %v, want it refused", e, err)
	}
}

func (l *lab) pid(id string) int {
	l.Helper()
	d := l.lookup(id)
	if d == nil || d.server() == nil {
		l.Fatalf("database %s has no server", id)
	}
	return d.server().cmd.Process.Pid
}

func TestLife(t *testing.T) {
	l := newLab(t)
	e := l.create("life")
	l.insert(e, "one")
	l.ok(l.Stop(l.Context(), "life"))
	l.silent(e)
	l.ok(l.Stop(l.Context(), "life"))
	again, err := l.Start(l.Context(), "life")
	l.ok(err)
	if again != e {
		t.Errorf("endpoint %v after a stop, %v before", again, e)
	}
	l.rows(e, "one")
	before := l.pid("life")
	if again, err = l.Start(l.Context(), "life"); err != nil || again != e || l.pid("life") != before {
		t.Errorf("start of a running database: %v, %v, process %d; want %v, process %d", again, err, l.pid("life"), e, before)
	}
	l.ok(l.Delete(l.Context(), "life"))
	l.silent(e)
	if _, err := os.Stat(l.databaseDir("life")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder after the deletion: %v", err)
	}
	l.ok(l.Delete(l.Context(), "life"))
	_, err = l.Start(l.Context(), "life")
	l.refused(err, "start database life: there is no such database")
}

func TestStopEndsSessions(t *testing.T) {
	l := newLab(t)
	e := l.create("sessions")
	c, err := login(l.Context(), e, anApp.User, anApp.Password, "postgres", "disable")
	l.ok(err)
	defer c.Close(context.Background())
	l.ok(l.Stop(l.Context(), "sessions"))
	if _, err := c.Exec(l.Context(), "SELECT 1"); err == nil {
		t.Error("a session outlived its server")
	}
}

func TestLogin(t *testing.T) {
	l := newLab(t)
	e := l.create("login")
	for _, c := range []struct{ user, password, database, sslmode, code string }{
		{anApp.User, anApp.Password, anApp.Database, "disable", ""},
		{anApp.User, anApp.Password, anApp.Database, "prefer", ""},
		{anApp.User, anApp.Password, "postgres", "require", ""},
		{anApp.User, "wrong", anApp.Database, "require", "28P01"},
		{"nobody", anApp.Password, anApp.Database, "require", "28P01"},
		{anApp.User, anApp.Password, "nowhere", "require", "3D000"},
	} {
		conn, err := login(l.Context(), e, c.user, c.password, c.database, c.sslmode)
		var told *pgconn.PgError
		switch {
		case err == nil:
			conn.Close(l.Context())
			if c.code != "" {
				t.Errorf("%s with password %q got into %s", c.user, c.password, c.database)
			}
		case !errors.As(err, &told) || told.Code != c.code:
			t.Errorf("%s into %s, sslmode %s: %v, want code %q", c.user, c.database, c.sslmode, err, c.code)
		}
	}
}

func TestMasterUser(t *testing.T) {
	l := newLab(t)
	e := l.create("master")
	got := l.ask(e, `SELECT concat_ws(' ', rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, pg_has_role('rds_superuser', 'member'),
		(SELECT rolsuper FROM pg_roles WHERE rolname = 'rds_superuser')) FROM pg_roles WHERE rolname = current_user`)
	if want := "f t t f f t f"; got != want {
		t.Errorf("superuser createrole createdb replication bypassrls; member of rds_superuser, its superuser: %s, want %s", got, want)
	}
	l.do(e, `CREATE ROLE reader LOGIN PASSWORD 'r'`)
	l.do(e, `CREATE DATABASE more`)
	l.do(e, `CREATE TABLE here (n int); GRANT SELECT ON here TO reader; SET session_replication_role = replica`)
	c, err := login(l.Context(), e, anApp.User, anApp.Password, anApp.Database, "prefer")
	l.ok(err)
	defer c.Close(context.Background())
	for _, sql := range []string{
		`SELECT rolpassword FROM pg_authid`, `CREATE ROLE boss SUPERUSER`, `COPY here FROM PROGRAM 'id'`, `ALTER SYSTEM SET work_mem = '1MB'`, `SELECT pg_read_file('postgresql.conf')`,
	} {
		var told *pgconn.PgError
		if _, err := c.Exec(l.Context(), sql); !errors.As(err, &told) || told.Code != "42501" {
			t.Errorf("%s: %v, want insufficient privilege", sql, err)
		}
	}
}

func TestSnapshot(t *testing.T) {
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running %t", running), func(t *testing.T) {
			l := newLab(t)
			id := fmt.Sprintf("source-%t", running)
			e := l.create(id)
			l.insert(e, "old")
			if !running {
				l.ok(l.Stop(l.Context(), id))
			}
			snapshot := "rds:of-" + id
			l.ok(l.Snapshot(l.Context(), id, snapshot))
			l.refused(l.Snapshot(l.Context(), id, snapshot), "snapshot database "+id, "there is a snapshot "+snapshot)
			_, err := l.Start(l.Context(), id)
			l.ok(err)
			l.insert(e, "new")
			l.do(e, "ALTER ROLE app PASSWORD 'changed'")
			r := l.restore("restored-"+id, cloud.BackingSource{Snapshot: snapshot})
			if r.Host == e.Host {
				t.Errorf("both at %v", r)
			}
			l.rows(r, "old") // with the password of then
			l.insert(r, "other")
			l.ok(l.Delete(l.Context(), id))
			r2 := l.restore("again-"+id, cloud.BackingSource{Snapshot: snapshot})
			l.rows(r2, "old")
			l.ok(l.DeleteSnapshot(l.Context(), snapshot))
			l.ok(l.DeleteSnapshot(l.Context(), snapshot))
			_, err = l.Restore(l.Context(), "third-"+id, cloud.BackingSource{Snapshot: snapshot}, anApp)
			l.refused(err, "restore database third-"+id+": there is no snapshot "+snapshot)
			l.rows(r, "old other")
		})
	}
}

func TestPointInTime(t *testing.T) {
	l := newLab(t)
	e := l.create("pit")
	first := l.now(e)
	l.insert(e, "a")
	middle := l.now(e)
	l.insert(e, "b")
	last := l.now(e)
	l.rows(l.restore("pit-middle", cloud.BackingSource{ID: "pit", At: middle}), "a")
	l.rows(l.restore("pit-last", cloud.BackingSource{ID: "pit", At: last}), "a b") // nothing was committed after it
	r := l.restore("pit-now", cloud.BackingSource{ID: "pit"})
	l.rows(r, "a b")
	if got := l.ask(l.restore("pit-first", cloud.BackingSource{ID: "pit", At: first}), "SELECT coalesce(to_regclass('rows')::text, 'none')"); got != "none" {
		t.Errorf("table %s before it was made", got)
	}

	_, err := l.Restore(l.Context(), "pit-early", cloud.BackingSource{ID: "pit", At: first.Add(-time.Hour)}, anApp)
	l.refused(err, "restore database pit-early", "database pit: it cannot be restored to "+clock(first.Add(-time.Hour)), "the earliest restorable time is ")
	_, err = l.Restore(l.Context(), "pit-late", cloud.BackingSource{ID: "pit", At: last.Add(time.Hour)}, anApp)
	l.refused(err, "database pit: it cannot be restored to "+clock(last.Add(time.Hour))+": it is ")
	_, err = l.Restore(l.Context(), "pit-none", cloud.BackingSource{ID: "none"}, anApp)
	l.refused(err, "database none: there is no such database")
	for _, id := range []string{"pit-early", "pit-late", "pit-none"} {
		if _, err := os.Stat(l.databaseDir(id)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what is left of %s: %v", id, err)
		}
	}

	// Of a stopped one, and of one that was itself restored and has a timeline of its own.
	l.insert(r, "c")
	then := l.now(r)
	l.insert(r, "d")
	l.ok(l.Stop(l.Context(), "pit-now"))
	latest, err := l.Latest(l.Context(), "pit-now")
	l.ok(err)
	if latest.Before(then) || latest.After(time.Now()) {
		t.Errorf("latest restorable time %s of a database that was stopped after %s", latest, then)
	}
	l.rows(l.restore("pit-then", cloud.BackingSource{ID: "pit-now", At: then}), "a b c")
	l.rows(l.restore("pit-end", cloud.BackingSource{ID: "pit-now", At: time.Now()}), "a b c d")
}

// More log than PostgreSQL keeps by itself: what is restored comes from the archive.
func TestPointInTimeFromTheArchive(t *testing.T) {
	l := newLab(t)
	e := l.create("archive")
	l.insert(e, "a")
	l.do(e, `CREATE TABLE ballast AS SELECT repeat(md5(n::text), 30) AS t FROM generate_series(1, 20000) AS n`)
	then := l.now(e)
	l.insert(e, "b")
	for range 4 {
		l.do(e, `UPDATE ballast SET t = t || 'x'`)
		l.do(e, `CHECKPOINT`)
	}
	d := l.lookup("archive")
	segments, err := os.ReadDir(d.path("wal"))
	l.ok(err)
	if len(segments) == 0 {
		t.Fatal("no log was archived")
	}
	if _, err := os.Stat(filepath.Join(d.data(), "pg_wal", segments[0].Name())); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("segment %s is still with the server (%v): this test shows nothing", segments[0].Name(), err)
	}
	l.rows(l.restore("archive-then", cloud.BackingSource{ID: "archive", At: then}), "a")
}

// Children of a server that was killed hear of it when they next wait; one that computes is in the way of a new server.
func TestKilledServer(t *testing.T) {
	l := newLab(t)
	e := l.create("killed")
	l.insert(e, "kept")
	c, err := login(l.Context(), e, anApp.User, anApp.Password, "postgres", "disable")
	l.ok(err)
	defer c.Close(context.Background())
	busy := make(chan error)
	go func() {
		_, err := c.Exec(l.Context(), "SELECT count(*) FROM generate_series(1, 1000000) AS a, generate_series(1, 1000000) AS b")
		busy <- err
	}()
	for l.ask(e, "SELECT count(*)::text FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT count(*) FROM generate_series%'") != "1" {
	}
	gone := l.lookup("killed").server().gone
	l.ok(syscall.Kill(l.pid("killed"), syscall.SIGKILL))
	<-gone
	again, err := l.Start(l.Context(), "killed")
	l.ok(err)
	if again != e {
		t.Errorf("endpoint %v, want %v", again, e)
	}
	if err := <-busy; err == nil {
		t.Error("a session outlived its server")
	}
	l.rows(e, "kept")
	l.ok(l.Stop(l.Context(), "killed"))
}

func TestAddressesDoNotClash(t *testing.T) {
	s := &Servers{databases: map[string]*database{}, opt: Options{Addresses: func(n int) string { return fmt.Sprintf("127.%d.250.%d", 100+os.Getpid()%100, n%4+1) }}}
	taken := s.opt.Addresses(1)
	l, err := net.Listen("tcp", net.JoinHostPort(taken, "5432"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seen := map[string]bool{taken: true}
	for _, id := range []string{"a", "b", "c"} {
		d := &database{id: id, record: record{Port: 5432}}
		if err := errors.Join(s.enlist(d), s.address(d)); err != nil {
			t.Fatal(err)
		}
		if seen[d.Host] {
			t.Errorf("%s got %s, which is in use", id, d.Host)
		}
		seen[d.Host] = true
	}
	d := &database{id: "d", record: record{Port: 5432}}
	if err := errors.Join(s.enlist(d), s.address(d)); err == nil || !strings.Contains(err.Error(), "no free address for port 5432") {
		t.Errorf("the fifth of four addresses: %s, %v", d.Host, err)
	}
}

func TestTwoAtOnce(t *testing.T) {
	l := newLab(t)
	ids := []string{"left", "right"}
	var work sync.WaitGroup
	ends := make([]cloud.Endpoint, len(ids))
	errs := make([]error, len(ids))
	for i, id := range ids {
		work.Go(func() { ends[i], errs[i] = l.Create(l.Context(), id, anApp) })
	}
	work.Wait()
	for i, id := range ids {
		l.ok(errs[i])
		defer l.Delete(context.Background(), id)
		l.insert(ends[i], id)
	}
	if ends[0].Host == ends[1].Host {
		t.Errorf("both at %s", ends[0].Host)
	}
	for i, id := range ids {
		l.rows(ends[i], id)
	}
	_, err := l.Create(l.Context(), "left", anApp)
	l.refused(err, "create database left: there is a database of that name")
	l.rows(ends[0], "left")
}

func TestRefusals(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct {
		id, says string
		change   func(*cloud.BackingSpec)
	}{
		{"no-mysql", `engine "mysql": the sandbox has real servers only for postgres, aurora-postgresql`, func(s *cloud.BackingSpec) { s.Engine = "mysql" }},
		{"no-old", "version 9.6.1: PostgreSQL 9 is not installed; there is ", func(s *cloud.BackingSpec) { s.Version = "9.6.1" }},
		{"no-sense", `version "latest": it does not begin with a number`, func(s *cloud.BackingSpec) { s.Version = "latest" }},
		{"no-user", "no master user given", func(s *cloud.BackingSpec) { s.User = "" }},
		{"no-secret", "no password given", func(s *cloud.BackingSpec) { s.Password = "" }},
		{"no-lines", "database: it contains a control character", func(s *cloud.BackingSpec) { s.Database = "a\nb" }},
		{"no-owner", `role "rdsadmin" already exists`, func(s *cloud.BackingSpec) { s.User = superuser }},
		{"../out", `name "../out": it cannot be that of a folder`, func(*cloud.BackingSpec) {}},
	} {
		s := anApp
		c.change(&s)
		_, err := l.Create(l.Context(), c.id, s)
		l.refused(err, "create database "+c.id+": ", c.says)
		if strings.Contains(err.Error(), anApp.Password) {
			t.Errorf("%s: the error tells the password: %v", c.id, err)
		}
		if l.lookup(c.id) != nil {
			t.Errorf("there is a database %s", c.id)
		}
	}
}

// Whoever asks for too much at once, or leaves, does not wait for ever.
func TestOneOperationAtATime(t *testing.T) {
	l := newLab(t)
	l.create("turns")
	d := l.lookup("turns")
	l.ok(d.turn.take(l.Context()))
	ctx, cancel := context.WithCancelCause(l.Context())
	cancel(errors.New("the caller left"))
	l.refused(l.Stop(ctx, "turns"), "stop database turns: wait for another operation to end: the caller left")
	if _, err := l.Latest(l.Context(), "turns"); err != nil {
		t.Errorf("latest restorable time during an operation: %v", err)
	}
	d.turn.give()
}

func TestAnotherProcessTakesOver(t *testing.T) {
	t.Parallel()
	dir := ownFolder(t)
	open := func() *lab {
		s, err := New(Options{Dir: dir, Addresses: testAddress})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return &lab{t, s}
	}
	l := open()
	e, err := l.Create(l.Context(), "stg", anApp)
	l.ok(err)
	l.insert(e, "kept")
	if _, err := New(Options{Dir: dir, Addresses: testAddress}); err == nil || !strings.Contains(err.Error(), "databases in "+dir+": another sandbox uses them") {
		t.Errorf("a second sandbox in the same folder: %v", err)
	}
	l.Close()
	l.silent(e)
	_, err = l.Start(l.Context(), "stg")
	l.refused(err, "start database stg: the sandbox's databases are closed")

	// A pid file whose number is somebody else's by now, and a database that was never completed.
	l.ok(os.WriteFile(filepath.Join(l.databaseDir("stg"), "data", "postmaster.pid"), fmt.Appendf(nil, "%d\n%s\n", os.Getpid(), dir), 0o600))
	l.ok(os.MkdirAll(filepath.Join(l.databaseDir("half"), "data"), 0o700))
	l = open()
	if again, err := l.Start(l.Context(), "stg"); err != nil || again != e {
		t.Fatalf("start by another process: %v, %v; want %v", again, err, e)
	}
	l.rows(e, "kept")
	if _, err := os.Stat(l.databaseDir("half")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a half database after the takeover: %v", err)
	}
	r, err := l.Create(l.Context(), "next", anApp)
	l.ok(err)
	if r.Host == e.Host {
		t.Errorf("both at %s", r.Host)
	}
}

// A sandbox that is killed takes its servers along, and the next one goes on from there.
func TestServersDieWithTheSandbox(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a process with the one that started it")
	}
	t.Parallel()
	if _, err := Folder(); err != nil {
		t.Fatal(err)
	}
	dir := ownFolder(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "sandbox", dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var word string
	if _, err := fmt.Fscan(out, &word); err != nil || word != "ready" {
		t.Errorf("the sandbox says %q, %v", word, err)
	}
	data := filepath.Join(dir, "databases", "stg", "data")
	before, err := inhabitants(data)
	if err != nil || len(before) == 0 {
		t.Errorf("servers of the sandbox: %v, %v", before, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a killed sandbox ended well")
	}
	for stop := time.Now().Add(20 * time.Second); ; time.Sleep(glance) {
		left, err := inhabitants(data)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(stop) {
			t.Fatalf("processes %v outlive the sandbox", left)
		}
	}
	s, err := New(Options{Dir: dir, Addresses: testAddress})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := &lab{t, s}
	e, err := l.Start(l.Context(), "stg")
	l.ok(err)
	l.insert(e, "works")
}

func TestMajor(t *testing.T) {
	for version, want := range map[string]int{"15": 15, "15.4": 15, "16devel": 16, "14.9 (Debian 14.9-1)": 14} {
		if got, err := major(version); err != nil || got != want {
			t.Errorf("major(%q) = %d, %v; want %d", version, got, err, want)
		}
	}
}

func TestVersion(t *testing.T) {
	l := newLab(t)
	e := l.create("version")
	if got, want := l.Version(), strings.Fields(l.ask(e, "SHOW server_version"))[0]; got != want {
		t.Errorf("version %q, and the server says %q", got, want)
	}
}

func TestChoose(t *testing.T) {
	have := map[int]string{9: "/9", 15: "/15", 16: "/16"}
	for version, want := range map[string]int{"": 16, "15.8": 15, "9.6": 9} {
		if got, err := choose(have, cloud.BackingSpec{Engine: "aurora-postgresql", Version: version}); err != nil || got != want {
			t.Errorf("version %q: %d, %v; want %d", version, got, err, want)
		}
	}
}
