package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"drover.dev/fleet"
)

// ourselves is the name under which drover connects: as the application, and as the user where it knows none.
const ourselves = "drover"

// greet goes as far as a login without a password does: a server that starts up or is full says so only there. It hangs up when a password is asked
// for, which servers do not take for a failed login.
func (h *Hand) greet(ctx context.Context, p party) fleet.Answer {
	p.login.sslmode = "prefer"
	err := h.through(ctx, p, func(ctx context.Context, conn net.Conn) error {
		ctx, cancel := context.WithTimeout(ctx, p.within)
		defer cancel()
		defer bounded(ctx, conn)()
		return hello(conn)
	})
	if err != nil {
		return fleet.Answer{Why: p.trouble(err)}
	}
	return fleet.Answer{Works: true, Why: "took the connection"}
}

// hello returns nil when a server would take a login, whatever it thinks of this one.
func hello(conn net.Conn) error {
	f := pgproto3.NewFrontend(conn, conn)
	f.SetMaxBodyLen(longestMessage)
	f.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": ourselves, "database": "postgres", "application_name": ourselves}})
	if err := f.Flush(); err != nil {
		return err
	}
	m, err := f.Receive()
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case pgproto3.AuthenticationResponseMessage:
		return nil
	case *pgproto3.ErrorResponse:
		said := pgconn.ErrorResponseToPgError(m)
		if said.Code == notAuthorized || said.Code == wrongPassword || said.Code == noDatabase {
			return nil
		}
		return said
	}
	return fmt.Errorf("%w: it answered a greeting by %T", errStrange, m)
}

// longestMessage bounds what is read of whoever is there: no answer to a greeting or a login is near it.
const longestMessage = 1 << 20

var (
	errNoTLS     = errors.New("it offers no TLS")
	errStrange   = errors.New("it does not speak PostgreSQL's protocol")
	errNoProcess = errors.New("it could not make a process for the connection")
)
