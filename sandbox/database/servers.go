package database

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"drover.dev/sandbox/cloud"
)

// Options of Servers. Dir and Addresses are required.
type Options struct {
	Dir       string             // holds all data; made if missing. One process uses it at a time
	Addresses func(n int) string // the n-th loopback address for databases, from 1; one that is in use is passed over. It is a pure function
	Log       *slog.Logger       // default: nowhere
}

// Servers are the databases below one folder.
type Servers struct {
	opt      Options
	programs map[int]string // folders of PostgreSQL's programs by major version
	owner    *syscall.Credential
	files    folders
	unlock   func()

	life      context.Context
	end       context.CancelFunc
	work      sync.WaitGroup // operations under way
	templates turn

	mu        sync.Mutex
	closed    bool
	databases map[string]*database
	addresses int // given so far
}

var _ cloud.Backing = (*Servers)(nil)

// tries bounds the search for a free address.
const tries = 1000

// closeWithin is what servers get to end in order; their databases recover from what comes after it.
const closeWithin = 10 * time.Second

// turn is a lock for what takes long: waiting for it ends with the context.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for another operation to end: %w", context.Cause(ctx))
	}
}

func (t turn) give() { <-t }

// database is one of them.
type database struct {
	record
	id   string
	dir  string
	turn turn // of whoever changes it
	made bool // it is complete; guarded by Servers.mu

	mu  sync.Mutex
	run *process // the last server; nil if this process started none
}

// record is what must survive this process. A folder without one is of a database that was never completed.
type record struct {
	Host  string
	Port  int
	Major int
}

const recordFile = "record.json"

func (d *database) path(name string) string  { return filepath.Join(d.dir, name) }
func (d *database) data() string             { return d.path("data") }
func (d *database) endpoint() cloud.Endpoint { return cloud.Endpoint{Host: d.Host, Port: d.Port} }

func (d *database) server() *process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run
}

func (d *database) setServer(p *process) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.run = p
}

// New takes over what an earlier process left in the folder: its databases are stopped.
func New(o Options) (_ *Servers, err error) {
	if o.Dir == "" || o.Addresses == nil {
		return nil, errors.New("databases: no folder, or no addresses, given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Servers{opt: o, templates: make(turn, 1), databases: map[string]*database{}}
	s.life, s.end = context.WithCancel(context.Background())
	if s.programs, err = installed(); err != nil {
		return nil, fmt.Errorf("databases: %w", err)
	}
	if err := s.open(); err != nil {
		s.end()
		return nil, fmt.Errorf("databases in %s: %w", o.Dir, err)
	}
	return s, nil
}

func (s *Servers) open() (err error) {
	if s.owner, err = Account(); err != nil {
		return err
	}
	s.files = folders{s.owner}
	if err := s.files.make(s.opt.Dir); err != nil {
		return err
	}
	// Processes are found by their folder as the kernel names it.
	if s.opt.Dir, err = filepath.Abs(s.opt.Dir); err != nil {
		return err
	}
	if s.opt.Dir, err = filepath.EvalSymlinks(s.opt.Dir); err != nil {
		return err
	}
	if err := Reachable(s.opt.Dir); err != nil {
		return err
	}
	if s.unlock, err = lock(filepath.Join(s.opt.Dir, "lock")); err != nil {
		return err
	}
	if err := s.takeOver(); err != nil {
		s.unlock()
		return err
	}
	return nil
}

// lock takes the lock of a file, which goes with the process that holds it.
func lock(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.New("another sandbox uses them")
		}
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	return func() { f.Close() }, nil
}

func (s *Servers) takeOver() error {
	for _, dir := range []string{s.opt.Dir, s.databaseDir(""), s.snapshotDir("")} {
		if err := s.files.make(dir); err != nil {
			return err
		}
	}
	if err := s.clearSnapshots(); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.databaseDir(""))
	if err != nil {
		return err
	}
	for _, e := range entries {
		d := &database{id: e.Name(), dir: s.databaseDir(e.Name()), turn: make(turn, 1)}
		if err := d.clear(); err != nil {
			return fmt.Errorf("database %s: %w", d.id, err)
		}
		switch err := readRecord(d.dir, &d.record); {
		case errors.Is(err, fs.ErrNotExist):
			if err := os.RemoveAll(d.dir); err != nil {
				return fmt.Errorf("database %s, which was never completed: %w", d.id, err)
			}
		case err != nil:
			return fmt.Errorf("database %s: %w", d.id, err)
		default:
			d.made = true
			s.databases[d.id] = d
		}
	}
	return nil
}

func (s *Servers) databaseDir(id string) string { return filepath.Join(s.opt.Dir, "databases", id) }

func readRecord(dir string, r *record) error {
	text, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, r); err != nil {
		return fmt.Errorf("%s: %w", recordFile, err)
	}
	return nil
}

func (s *Servers) writeRecord(dir string, r record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.files.write(filepath.Join(dir, recordFile), string(text))
}

// Close ends all servers and whatever is under way; the data stays. It may be called more than once.
func (s *Servers) Close() {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.work.Wait()
	if again {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	var ending sync.WaitGroup
	for _, d := range s.databases { // nobody changes them any more
		ending.Go(func() {
			if err := errors.Join(d.server().stop(ctx), d.clear()); err != nil {
				s.opt.Log.Error("end PostgreSQL", "database", d.id, "err", err)
			}
		})
	}
	ending.Wait()
	s.unlock()
}

// enter begins an operation, which ends early when Close is called.
func (s *Servers) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, errors.New("the sandbox's databases are closed")
	}
	s.work.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(s.life, cancel)
	return ctx, func() {
		unhook()
		cancel()
		s.work.Done()
	}, nil
}

// lookup is nil when there is no database of that id, or it is still being made.
func (s *Servers) lookup(id string) *database {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.databases[id]; d != nil && d.made {
		return d
	}
	return nil
}

// find takes the turn of a database; nil when there is none of that id.
func (s *Servers) find(ctx context.Context, id string) (*database, error) {
	d := s.lookup(id)
	if d == nil {
		return nil, nil
	}
	if err := d.turn.take(ctx); err != nil {
		return nil, err
	}
	if s.lookup(id) != d { // deleted meanwhile
		d.turn.give()
		return nil, nil
	}
	return d, nil
}

var errUnknown = errors.New("there is no such database")

// must is find for those who need it.
func (s *Servers) must(ctx context.Context, id string) (*database, error) {
	d, err := s.find(ctx, id)
	if err == nil && d == nil {
		err = errUnknown
	}
	return d, err
}

// reserve makes the folder of a new database and gives it an address of its own. Its turn is the caller's.
func (s *Servers) reserve(id string, port, major int) (*database, error) {
	d := &database{id: id, dir: s.databaseDir(id), turn: make(turn, 1), record: record{Port: port, Major: major}}
	d.turn <- struct{}{}
	if err := s.enlist(d); err != nil {
		return nil, err
	}
	if err := s.address(d); err != nil {
		return nil, errors.Join(err, s.forget(d))
	}
	for _, dir := range []string{d.dir, d.path("wal"), d.path("base")} {
		if err := s.files.make(dir); err != nil {
			return nil, errors.Join(err, s.forget(d))
		}
	}
	return d, nil
}

func (s *Servers) enlist(d *database) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.databases[d.id] != nil {
		return errors.New("there is a database of that name")
	}
	s.databases[d.id] = d
	return nil
}

// address gives a database the next address of which nobody has anything. One that was freed comes late, so that who still goes there meets nobody.
func (s *Servers) address(d *database) error {
	for range tries {
		host := s.nextAddress(d)
		if host != "" && free(host, d.Port) {
			return nil
		}
	}
	return fmt.Errorf("no free address for port %d; the last of %d tried was %s", d.Port, tries, d.Host)
}

func (s *Servers) nextAddress(d *database) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses++
	host := s.opt.Addresses(s.addresses)
	for _, other := range s.databases {
		if other != d && other.Host == host {
			return ""
		}
	}
	d.Host = host
	return host
}

// forget takes a database away with all that is left of it.
func (s *Servers) forget(d *database) error {
	if err := d.clear(); err != nil {
		return err
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.databases, d.id)
	return nil
}

// named says why a word cannot be an id here: it names a folder.
func named(id string) error {
	if id == "" || strings.HasPrefix(id, ".") || strings.ContainsAny(id, "/\\\x00") {
		return fmt.Errorf("name %q: it cannot be that of a folder", id)
	}
	return nil
}
