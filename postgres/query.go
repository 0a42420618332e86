package postgres

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"

	"drover.dev/fleet"
)

// query logs in and asks.
func (h *Hand) query(ctx context.Context, p party) fleet.Answer {
	var a fleet.Answer
	err := h.through(ctx, p, func(ctx context.Context, stream net.Conn) error {
		conn, err := p.enter(ctx, stream)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		a, err = p.interview(ctx, conn)
		return err
	})
	if err != nil {
		return fleet.Answer{Why: p.trouble(err)}
	}
	return a
}

// inert is a configuration that leaves nothing to the environment of the process; what matters is set in enter.
const inert = "host=localhost port=5432 user=drover password=drover dbname=postgres sslmode=disable connect_timeout=0 target_session_attrs=any " +
	"sslcertmode=disable sslnegotiation=postgres min_protocol_version=3.0 max_protocol_version=3.0 channel_binding=prefer"

// enter logs in on a stream.
func (p party) enter(ctx context.Context, stream net.Conn) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig(inert)
	if err != nil {
		return nil, &setupError{err}
	}
	c.Host, c.User, c.Password, c.Database = p.host, p.login.username, p.login.password, p.login.database
	c.RuntimeParams = map[string]string{"application_name": ourselves}
	c.RequireAuth = ""
	if _, secure := stream.(*tls.Conn); !secure {
		c.RequireAuth = notInClear
	}
	c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{p.host}, nil }
	c.DialFunc = func(context.Context, string, string) (net.Conn, error) { return stream, nil }
	c.DefaultQueryExecMode = pgx.QueryExecModeExec
	c.MaxProtocolMessageBodyLen = longestMessage
	ctx, cancel := context.WithTimeout(ctx, p.within)
	defer cancel()
	return pgx.ConnectConfig(ctx, c)
}

// notInClear is pgx's word for: any way to log in but by sending the password as it is.
const notInClear = "!password"

// interview asks what there is to know. A database that answers but does not say who is connected works.
func (p party) interview(ctx context.Context, conn *pgx.Conn) (fleet.Answer, error) {
	var recovers bool
	if err := conn.QueryRow(ctx, "select pg_catalog.pg_is_in_recovery()").Scan(&recovers); err != nil {
		return fleet.Answer{}, err
	}
	a := fleet.Answer{Works: true, Why: "answers"}
	if recovers {
		a.Why = "answers, but is read only: it is in recovery, as a replica is"
	}
	sessions, hidden, err := connected(ctx, conn)
	if err != nil {
		a.Why += "; who is connected is not known: it " + p.trouble(err)
		return a, nil
	}
	a.Login, a.Sessions = true, sessions
	a.Why += fmt.Sprintf("; %d connected", len(sessions))
	if hidden > 0 {
		a.Why += fmt.Sprintf(", %d of them hidden from user %s, who lacks the role pg_monitor: where from, since when and what they do is not known", hidden, p.user())
	}
	return a, nil
}

// whoIsConnected lists clients, those who read the logical log included. What a login without pg_monitor may not see is null, its backend_type
// too; of such a session only the user, the database and the application are known. RDS's own users look after every database, and drover's
// other processes ask the same as this one.
const whoIsConnected = `
select coalesce(usename::text, ''), coalesce(datname::text, ''), coalesce(application_name, ''),
       coalesce(pg_catalog.host(client_addr), ''), backend_start, coalesce(state, ''), backend_type is null
from pg_catalog.pg_stat_activity
where pid <> pg_catalog.pg_backend_pid() and usesysid is not null and datid is not null
  and coalesce(backend_type, 'client backend') in ('client backend', 'walsender')
  and usename not in ('rdsadmin', 'rdsrepladmin')
  and not (usename = current_user and application_name = '` + ourselves + `')
order by backend_start, pid`

// connected returns the sessions, and how many of them hide something.
func connected(ctx context.Context, conn *pgx.Conn) (all []fleet.Session, hidden int, err error) {
	rows, err := conn.Query(ctx, whoIsConnected)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var s fleet.Session
		var since *time.Time
		var hides bool
		if err := rows.Scan(&s.User, &s.Database, &s.App, &s.From, &since, &s.State, &hides); err != nil {
			return nil, 0, err
		}
		s.User, s.Database, s.App = cut(s.User), cut(s.Database), cut(s.App)
		if hides {
			s.From, s.State = Hidden, Hidden
			hidden++
		} else if since != nil {
			s.Since = since.UTC()
		}
		all = append(all, s)
	}
	return all, hidden, rows.Err()
}
