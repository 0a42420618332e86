package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"drover.dev/fleet"
)

// master is the superuser of the servers, under the name that RDS gives its own; its sessions are RDS's own, too.
const (
	master         = "rdsadmin"
	masterPassword = "m4ster"
)

// root is where the servers of a test run keep their data, and template a fresh one; account is who runs them, as root may not.
var (
	root, template, programs string
	account                  *syscall.Credential
)

func TestMain(m *testing.M) {
	code, err := prepared(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "PostgreSQL is needed by these tests:", err)
		code = 1
	}
	os.Exit(code)
}

func prepared(m *testing.M) (int, error) {
	var err error
	if root, err = os.MkdirTemp("", "drover-postgres"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(root)
	if err := errors.Join(os.Chmod(root, 0o755), findPrograms(), findAccount(), initdb()); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func findPrograms() error {
	if path, err := exec.LookPath("postgres"); err == nil {
		programs = filepath.Dir(path)
		return nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return errors.New("no program postgres on the PATH nor in /usr/lib/postgresql; install it, e.g. apt-get install postgresql")
	}
	programs = filepath.Dir(found[len(found)-1])
	return nil
}

func findAccount() error {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	account = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return errors.Join(err1, err2)
}

func program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(programs, name), args...)
	cmd.Dir = root
	cmd.SysProcAttr = alone()
	return cmd
}

// own gives a file to who runs the servers.
func own(path string) error {
	if account == nil {
		return nil
	}
	return os.Chown(path, int(account.Uid), int(account.Gid))
}

func initdb() error {
	if programs == "" {
		return nil // said already
	}
	template = filepath.Join(root, "template")
	secret := filepath.Join(root, "password")
	if err := errors.Join(os.Mkdir(template, 0o700), own(template), os.WriteFile(secret, []byte(masterPassword), 0o644)); err != nil {
		return err
	}
	if out, err := program("initdb", "-D", template, "-U", master, "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8", "--locale", "C", "-N").CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// server is a real PostgreSQL of one test, on a loopback address of its own.
type server struct {
	t       *testing.T
	dir, ip string
	cmd     *exec.Cmd
	stopped chan struct{}
}

// taken counts addresses; the process id keeps test runs beside each other apart.
var taken atomic.Int64

func newIP() string {
	return fmt.Sprintf("127.%d.%d.%d", 30+os.Getpid()%60, 1+os.Getpid()/60%200, taken.Add(1))
}

// lay makes the data of a server: a copy of the template with files of its own.
func lay(t *testing.T, files map[string]string) *server {
	t.Helper()
	ip := newIP()
	s := &server{t: t, ip: ip, dir: filepath.Join(root, ip)}
	if out, err := exec.Command("cp", "-a", template, s.dir).CombinedOutput(); err != nil {
		t.Fatalf("copy the template: %v\n%s", err, out)
	}
	t.Cleanup(func() { os.RemoveAll(s.dir) })
	for name, text := range files {
		path := filepath.Join(s.dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), own(path)); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := files["pg_hba.conf"]; !ok {
		s.hba("host all all all scram-sha-256")
	}
	return s
}

func (s *server) hba(lines ...string) {
	s.t.Helper()
	s.write("pg_hba.conf", strings.Join(lines, "\n")+"\n")
}

// write changes a file of the server's; who owns it stays.
func (s *server) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// run starts the server and waits until it listens.
func (s *server) run(settings ...string) *server {
	s.t.Helper()
	args := []string{"-D", s.dir, "-h", s.ip, "-p", "5432", "-k", "", "-F", "-c", "shared_buffers=1MB", "-c", "log_min_messages=panic"}
	for _, set := range settings {
		args = append(args, "-c", set)
	}
	s.cmd, s.stopped = program("postgres", args...), make(chan struct{})
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { _ = s.cmd.Wait(); close(s.stopped) }()
	s.t.Cleanup(s.stop)
	s.eventually("listens", func() bool {
		c, err := net.Dial("tcp", net.JoinHostPort(s.ip, "5432"))
		return err == nil && c.Close() == nil
	})
	return s
}

// start runs a server with a user app, a user watch with pg_monitor, and a database shop.
func start(t *testing.T, settings ...string) *server {
	t.Helper()
	s := lay(t, nil).run(settings...)
	s.sql("create role app login password 'p4ssword'", "create role watch login password 'p4ssword' in role pg_monitor", "create database shop owner app")
	return s
}

// stop ends the server with what it started.
func (s *server) stop() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGQUIT)
	<-s.stopped
}

// eventually waits for a process that nothing else tells about.
func (s *server) eventually(what string, so func() bool) {
	s.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-s.stopped:
			s.t.Fatalf("PostgreSQL on %s ended before it %s", s.ip, what)
		case <-deadline:
			s.t.Fatalf("PostgreSQL on %s: not within 20s: it %s", s.ip, what)
		}
	}
}

// connect makes a session as any client does, and keeps it until the test ends.
func (s *server) connect(user, password, database, app string) *pgx.Conn {
	s.t.Helper()
	conn, err := s.try(user, password, database, app)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (s *server) try(user, password, database, app string) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig("sslmode=prefer host=" + s.ip)
	if err != nil {
		return nil, err
	}
	c.User, c.Password, c.Database, c.RuntimeParams["application_name"] = user, password, database, app
	return pgx.ConnectConfig(context.Background(), c)
}

// sql runs statements as the superuser, once it is let in.
func (s *server) sql(statements ...string) {
	s.t.Helper()
	var conn *pgx.Conn
	s.eventually("lets its superuser in", func() bool {
		var err error
		conn, err = s.try(master, masterPassword, "postgres", "psql")
		return err == nil
	})
	defer conn.Close(context.Background())
	for _, q := range statements {
		if _, err := conn.Exec(context.Background(), q); err != nil {
			s.t.Fatalf("%s: %v", q, err)
		}
	}
}

// database is the server as RDS tells of it.
func (s *server) database() fleet.Database { return at(s.ip, 5432) }

func at(host string, port int) fleet.Database {
	return fleet.Database{ID: "instance stg", Engine: "postgres", Status: fleet.DatabaseAvailable, Host: host, Port: port}
}

// withSecret is a hand and a spec with that Secret.
func withSecret(keyed ...string) (*Hand, fleet.DatabaseSpec) {
	data := map[string]string{}
	for i := 0; i < len(keyed); i += 2 {
		data[keyed[i]] = keyed[i+1]
	}
	h := &Hand{Secrets: func(_ context.Context, namespace, name string) (map[string]string, error) {
		if namespace != "stg" || name != "db" {
			return nil, fmt.Errorf("no Secret %s in %s", name, namespace)
		}
		return data, nil
	}}
	return h, fleet.DatabaseSpec{ID: "instance stg", Secret: "stg/db"}
}

// asked is the answer to a login.
func (s *server) asked(keyed ...string) fleet.Answer {
	s.t.Helper()
	h, spec := withSecret(keyed...)
	return h.Ask(s.t.Context(), s.database(), spec)
}

// says fails the test unless an answer is as told: whether it works, and what is in Why.
func says(t *testing.T, a fleet.Answer, works bool, want ...string) {
	t.Helper()
	if a.Works != works {
		t.Errorf("works = %t, want %t: %s", a.Works, works, a.Why)
	}
	for _, w := range want {
		if !strings.Contains(a.Why, w) {
			t.Errorf("it says %q, want %q in it", a.Why, w)
		}
	}
	if a.At.IsZero() {
		t.Error("an answer without a time")
	}
}
