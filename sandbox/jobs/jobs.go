// Package jobs is a queue in PostgreSQL and the workers that empty it, as web applications have them for work that may take a while.
//
// Each worker holds one connection for as long as it lasts: it takes a job in a transaction (FOR UPDATE SKIP LOCKED), works, marks it done. It
// connects again when the connection tells it that it has ended, and only then: it waits for an answer without a limit, as database
// clients do unless somebody set one. What becomes of every connection is counted.
//
// Use: Prepare the table, Start, ask for a Report at any time, Stop. It refuses to heal what it should show: there are no keepalives, no statement timeouts.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Options of a Crew. All are required.
type Options struct {
	Database string // URL of the database itself, to fill and count the queue
	Pooler   string // URL by which workers connect; its host is not looked up
	Dial     func(ctx context.Context) (conn net.Conn, peer string, err error)
	Workers  int
	Rate     int           // new jobs a second, a multiple of ten
	Patience time.Duration // an answer that takes longer counts as none
}

// A job takes between these, by dice.
const (
	shortest = 50 * time.Millisecond
	longest  = 200 * time.Millisecond
)

// Crew is workers at work.
type Crew struct {
	Options
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	tally tally
}

const table = `
create table jobs (id bigint generated always as identity primary key, work_ms int not null, done_at timestamptz, worker int);
create index jobs_waiting on jobs (id) where done_at is null`

// Prepare makes the empty queue.
func Prepare(ctx context.Context, database string) error {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, table, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("jobs: make the table: %w", err)
	}
	return nil
}

// Start puts jobs into the queue and workers to work. The context bounds the start only.
func Start(ctx context.Context, o Options) (*Crew, error) {
	boss, err := pgx.Connect(ctx, o.Database)
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	c := &Crew{Options: o, tally: tally{started: time.Now()}}
	var life context.Context
	life, c.cancel = context.WithCancel(context.Background())
	c.work.Go(func() {
		defer boss.Close(context.Background())
		c.feed(life, boss)
	})
	for n := range o.Workers {
		c.work.Go(func() { c.worker(life, n) })
	}
	return c, nil
}

// Stop sends everybody home and returns what became of the work. Workers that hang are freed.
func (c *Crew) Stop() Report {
	r := c.Report() // before: going home ends connections, too
	c.cancel()
	c.work.Wait()
	return r
}

// Report is what happened until now.
func (c *Crew) Report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tally.report(time.Now(), c.Patience)
}

func (c *Crew) note(f func(t *tally, now time.Time)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.tally, time.Now())
}

// feed puts jobs into the queue, evenly, and counts those that wait.
func (c *Crew) feed(ctx context.Context, boss *pgx.Conn) {
	const step = 100 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		var waiting int
		_, err := boss.Exec(ctx, "insert into jobs (work_ms) select $1 + floor(random() * $2) from generate_series(1, $3)",
			shortest.Milliseconds(), (longest - shortest).Milliseconds(), c.Rate/int(time.Second/step))
		if err == nil {
			err = boss.QueryRow(ctx, "select count(*) from jobs where done_at is null").Scan(&waiting)
		}
		if ctx.Err() != nil {
			return
		}
		c.note(func(t *tally, now time.Time) {
			if err != nil {
				t.trouble = fmt.Errorf("jobs: fill the queue: %w", err)
			} else {
				t.counted(now, waiting)
			}
		})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// worker works until the context ends, on one connection after the other.
func (c *Crew) worker(ctx context.Context, n int) {
	dice := rand.New(rand.NewPCG(1, uint64(n)))
	for ctx.Err() == nil {
		conn, w, err := c.connect(ctx)
		if err != nil {
			c.note(func(t *tally, _ time.Time) { t.refused++ })
			// Spread, so that the workers of one lost pooler do not all come back at once.
			pause(ctx, 100*time.Millisecond+time.Duration(dice.IntN(200))*time.Millisecond)
			continue
		}
		s := &shift{c: c, conn: conn, worker: n}
		c.note(func(t *tally, now time.Time) { s.line = t.opened(now, n, w.peer) })
		err = w.end(s.work(ctx))
		if ctx.Err() == nil {
			c.note(func(t *tally, now time.Time) { t.ended(now, s.line, howEnded(err), err) })
		}
		bye, cancel := context.WithTimeout(context.Background(), time.Second)
		conn.Close(bye)
		cancel()
	}
}

// connectLimit is libpq's connect_timeout, the one limit that most applications do set.
const connectLimit = 5 * time.Second

func (c *Crew) connect(ctx context.Context) (*pgx.Conn, *wire, error) {
	cfg, err := pgx.ParseConfig(c.Pooler)
	if err != nil {
		return nil, nil, err
	}
	w := &wire{}
	cfg.ConnectTimeout = connectLimit
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // a pooler of transactions keeps no prepared statements
	cfg.OnPgError = w.heard
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, peer, err := c.Dial(ctx)
		if err != nil {
			return nil, err
		}
		w.Conn, w.peer = conn, peer
		return w, nil
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	return conn, w, err
}

// shift is a worker's time on one connection.
type shift struct {
	c      *Crew
	conn   *pgx.Conn
	line   int // its number in the tally
	worker int
}

// work does jobs until the connection ends, which is the error.
func (s *shift) work(ctx context.Context) error {
	for {
		// A look at the line before it is used, as connection pools do: an end that came while nothing was asked is seen as what it is.
		if err := s.conn.PgConn().CheckConn(); err != nil {
			return err
		}
		some, err := s.job(ctx)
		if err != nil {
			return err
		}
		if !some && !pause(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// job takes one job and does it; false if there was none.
func (s *shift) job(ctx context.Context) (bool, error) {
	var id int64
	var ms int
	err := s.ask(func() error {
		if _, err := s.conn.Exec(ctx, "begin"); err != nil {
			return err
		}
		return s.conn.QueryRow(ctx, "select id, work_ms from jobs where done_at is null order by id limit 1 for update skip locked").Scan(&id, &ms)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, s.ask(func() error { _, err := s.conn.Exec(ctx, "rollback"); return err })
	}
	if err != nil {
		return false, err
	}
	begun := func(b bool) { s.c.note(func(t *tally, _ time.Time) { t.lines[s.line].midst = b }) }
	begun(true)
	if !pause(ctx, time.Duration(ms)*time.Millisecond) {
		return false, ctx.Err()
	}
	err = s.ask(func() error {
		if _, err := s.conn.Exec(ctx, "update jobs set done_at = now(), worker = $1 where id = $2", s.worker, id); err != nil {
			return err
		}
		_, err := s.conn.Exec(ctx, "commit")
		return err
	})
	if err != nil {
		return false, err
	}
	begun(false)
	s.c.note(func(t *tally, now time.Time) { t.finished(now) })
	return true, nil
}

// ask notes how long the database takes to answer, as long as it takes.
func (s *shift) ask(question func() error) error {
	s.c.note(func(t *tally, now time.Time) { t.lines[s.line].asked = now })
	err := question()
	s.c.note(func(t *tally, _ time.Time) { t.lines[s.line].asked = time.Time{} })
	return err
}

// pause waits for d; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
