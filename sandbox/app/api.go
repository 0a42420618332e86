package app

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5"
)

// API keeps its data in PostgreSQL.
type API struct {
	name string // what it says it is
	cfg  *pgx.ConnConfig
	idle chan *pgx.Conn // places for connections; nil in one that has none yet
}

// connections is how many a small application keeps.
const connections = 4

// NewAPI connects when it has to. From is the address that its connections come from; empty for any. Close ends them.
func NewAPI(name, database, from string) (*API, error) {
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	cfg.RuntimeParams["application_name"] = name
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	if from != "" {
		cfg.DialFunc = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext
	}
	a := &API{name: name, cfg: cfg, idle: make(chan *pgx.Conn, connections)}
	for range connections {
		a.idle <- nil
	}
	return a, nil
}

// Close waits for what is under way, and ends the connections.
func (a *API) Close(ctx context.Context) {
	for range connections {
		if c := <-a.idle; c != nil {
			_ = c.Close(ctx) // it is gone either way
		}
	}
}

// use lends a connection, a new one where the old one has ended.
func (a *API) use(ctx context.Context, do func(*pgx.Conn) error) error {
	var c *pgx.Conn
	select {
	case c = <-a.idle:
	case <-ctx.Done():
		return fmt.Errorf("all %d connections are busy: %w", connections, ctx.Err())
	}
	defer func() { a.idle <- c }()
	if c != nil && !c.IsClosed() {
		err := do(c)
		if err == nil || !c.IsClosed() {
			return err
		}
	}
	// A connection that ended while nobody used it says so at the next use: once more, with a new one.
	fresh, err := pgx.ConnectConfig(ctx, a.cfg)
	if err != nil {
		return err
	}
	c = fresh
	return do(c)
}

// tables makes everything there is in one transaction; replicas that start at once take turns.
const tables = `
select pg_advisory_xact_lock(1);
create table if not exists visits (id int primary key, n bigint not null);
create table if not exists notes (id bigint generated always as identity primary key, at timestamptz not null default now(), note text not null);
insert into visits values (1, 0) on conflict do nothing`

// Prepare makes the tables where they are not there.
func (a *API) Prepare(ctx context.Context) error {
	err := a.use(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, tables, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return fmt.Errorf("make the tables: %w", err)
	}
	return nil
}

// Handler answers / with the number of the visit, GET /notes with all notes, POST /notes takes one, and /healthz says whether the database answers.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, f := range map[string]func(context.Context, *http.Request) (string, error){
		"/healthz": a.health, "/{$}": a.visit, "GET /notes": a.notes, "POST /notes": a.note,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), answerLimit)
			defer cancel()
			text, err := f(ctx, r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			_, _ = io.WriteString(w, text) // whoever asked is gone
		})
	}
	return mux
}

func (a *API) health(ctx context.Context, _ *http.Request) (string, error) {
	return "ok\n", a.use(ctx, func(c *pgx.Conn) error { return c.Ping(ctx) })
}

func (a *API) visit(ctx context.Context, _ *http.Request) (string, error) {
	n := 0
	err := a.use(ctx, func(c *pgx.Conn) error {
		return c.QueryRow(ctx, "update visits set n = n + 1 where id = 1 returning n").Scan(&n)
	})
	return fmt.Sprintf("%s: visit %d\n", a.name, n), err
}

func (a *API) notes(ctx context.Context, _ *http.Request) (string, error) {
	var all []string
	err := a.use(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, "select note from notes order by id")
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return strings.Join(append(all, ""), "\n"), err
}

func (a *API) note(ctx context.Context, r *http.Request) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r.Body, noteLimit))
	if err != nil {
		return "", err
	}
	return "noted\n", a.use(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, "insert into notes (note) values ($1)", strings.TrimSpace(string(text)))
		return err
	})
}
