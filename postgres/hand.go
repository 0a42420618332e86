// Package postgres is the hand that asks a database whether it answers, and who is connected to it.
//
// Ask never fails: the answer's Why says what happened, as a predicate whose subject is the database ("refuses connections at ..."), with what to do. It
// is bounded by Connect and Within, whatever the network does.
//
// A password goes to the endpoint that RDS names for the database, and to nowhere else: a Secret that was copied from another environment may name
// production's host, and its database would then be taken for this one. That is why the host and the port in a Secret are not used, those in a URI neither.
// Over a connection without TLS a password is never sent in clear. No password and no URI is in any answer.
//
// It reads only. It logs in to PostgreSQL; of other engines it tells no more than that a connection was taken.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"drover.dev/fleet"
)

// Hand implements the engine's Asker.
type Hand struct {
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error)            // straight by default
	Secrets func(ctx context.Context, namespace, name string) (map[string]string, error) // without it no database with a Secret works
	Now     func() time.Time                                                             // the real clock by default

	Connect time.Duration // bounds one connection with its login, 3 s by default
	Within  time.Duration // bounds all of one question, 5 s by default
}

// Bounds of one question. A database that is well takes a connection within milliseconds; one that recovers may take a second to say so.
const (
	connectWithin = 3 * time.Second
	askWithin     = 5 * time.Second
)

// Hidden stands for what a session does not show to a login without the role pg_monitor.
const Hidden = "hidden"

// engines are what RDS calls those that speak PostgreSQL's protocol.
var engines = []string{"postgres", "aurora-postgresql"}

// Ask asks a database. Without a Secret it works when it would take a login; with one, when it has answered to SQL. Login says that Sessions are
// known: without it nobody knows who is connected.
func (h *Hand) Ask(ctx context.Context, db fleet.Database, spec fleet.DatabaseSpec) fleet.Answer {
	within, cancel := context.WithTimeout(ctx, bound(h.Within, askWithin))
	defer cancel()
	a := h.ask(within, db, spec)
	if !a.Works && errors.Is(ctx.Err(), context.Canceled) {
		a.Why = "was not asked to the end: drover stopped asking"
	}
	a.At = h.now()
	return a
}

func (h *Hand) ask(ctx context.Context, db fleet.Database, spec fleet.DatabaseSpec) fleet.Answer {
	p := party{host: db.Host, at: net.JoinHostPort(db.Host, strconv.Itoa(db.Port)), within: bound(h.Connect, connectWithin)}
	switch {
	case db.Host == "":
		return fleet.Answer{Why: fmt.Sprintf("has no endpoint yet (status %s)", db.Status)}
	case !slices.Contains(engines, db.Engine):
		return h.knock(ctx, p, db.Engine, spec.Secret)
	case spec.Secret == "":
		return h.greet(ctx, p)
	}
	l, err := h.login(ctx, spec)
	if err != nil {
		return fleet.Answer{Why: "was not asked: " + cut(err.Error())}
	}
	p.login = l
	return h.query(ctx, p)
}

// knock connects, and says nothing.
func (h *Hand) knock(ctx context.Context, p party, engine, secret string) fleet.Answer {
	ctx, cancel := context.WithTimeout(ctx, p.within)
	defer cancel()
	conn, err := h.dial(ctx, p.at)
	if err != nil {
		return fleet.Answer{Why: p.trouble(err)}
	}
	conn.Close()
	a := fleet.Answer{Works: true, Why: "took the connection"}
	if secret != "" {
		a.Why += fmt.Sprintf("; no login was tried: drover logs in to PostgreSQL, and this is %s", engine)
	}
	return a
}

func (h *Hand) now() time.Time {
	if h.Now == nil {
		return time.Now()
	}
	return h.Now()
}

func bound(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}
