package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"drover.dev/sandbox/database"
)

// Database is a real PostgreSQL server outside of the cluster, as one of RDS is. It has an address of its own in the sandbox's network, and
// asks nobody there for a password. In one thing it is luckier than in life: it hears at once of clients whose machine died, instead of keeping their
// sessions, and the locks on their rows, until its keepalives give up.
type Database struct {
	Host, Port, User, Name string

	bin  string
	cmd  *exec.Cmd
	gone chan struct{}
}

// postgresPort is PostgreSQL's own.
const postgresPort = "5432"

// URL is how a client on this machine reaches it.
func (d *Database) URL() string {
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", d.User, net.JoinHostPort(d.Host, d.Port), d.Name)
}

// StartDatabase makes an empty database in the sandbox's folder and starts its server. Close ends it; so does the end of this process.
func (w *World) StartDatabase(ctx context.Context) (*Database, error) {
	bin, err := database.Folder()
	if err != nil {
		return nil, err
	}
	// Node networks begin at 127.N.1.0; below is room for what is outside of the cluster.
	d := &Database{Host: fmt.Sprintf("127.%d.0.32", w.network.octet), Port: postgresPort, User: "app", Name: "postgres", bin: bin, gone: make(chan struct{})}
	dir := filepath.Join(w.Dir, "database")
	attr, err := w.homeFor(dir)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	data := filepath.Join(dir, "data")
	// Its data need not survive a power cut.
	init := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", d.User, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	init.Dir, init.SysProcAttr = dir, attr
	if out, err := init.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("database: initdb: %w: %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte("host all all 127.0.0.0/8 trust\n"), 0o644); err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	if err := d.serve(dir, attr); err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	if err := d.ready(ctx); err != nil {
		d.Close()
		return nil, fmt.Errorf("database: %w; see %s", err, filepath.Join(dir, "log"))
	}
	return d, nil
}

// serve starts the server and waits for it from the thread that started it: its death signal comes when that thread ends.
func (d *Database) serve(dir string, attr *syscall.SysProcAttr) error {
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	d.cmd = exec.Command(filepath.Join(d.bin, "postgres"), "-D", filepath.Join(dir, "data"), "-h", d.Host, "-p", d.Port,
		"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "autovacuum_naptime=10s")
	d.cmd.Dir, d.cmd.SysProcAttr, d.cmd.Stdout, d.cmd.Stderr = dir, attr, log, log
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := d.cmd.Start()
		started <- err
		if err == nil {
			_ = d.cmd.Wait() // how it ended is in its log
			close(d.gone)
		}
	}()
	return <-started
}

func (d *Database) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if exec.CommandContext(ctx, filepath.Join(d.bin, "pg_isready"), "-q", "-h", d.Host, "-p", d.Port).Run() == nil {
			return nil
		}
		select {
		case <-d.gone:
			return errors.New("postgres ended while starting")
		case <-ctx.Done():
			return fmt.Errorf("postgres is not ready: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Close ends the server, its clients' sessions with it. It may be called more than once.
func (d *Database) Close() {
	select {
	case <-d.gone:
		return
	default:
	}
	_ = d.cmd.Process.Signal(syscall.SIGINT) // "fast shutdown"; an error says that it has ended
	select {
	case <-d.gone:
	case <-time.After(10 * time.Second):
		_ = d.cmd.Process.Kill()
		<-d.gone
	}
}

// homeFor makes a folder for a server that refuses to run as root, and says as whom to run it. The sandbox's own folder becomes
// passable for that: what is secret in it is closed by itself.
func (w *World) homeFor(dir string) (*syscall.SysProcAttr, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	attr := dieWithUs()
	who, err := database.Account()
	if err != nil || who == nil {
		return attr, err
	}
	attr.Credential = who
	return attr, errors.Join(os.Chmod(w.Dir, 0o711), os.Chown(dir, int(who.Uid), int(who.Gid)))
}
