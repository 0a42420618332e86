package postgres

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"
)

// party is whom a trouble is about.
type party struct {
	host, at string
	within   time.Duration
	login    login
}

func (p party) user() string { return strconv.Quote(p.login.username) }

// PostgreSQL's codes for what is told in drover's own words.
const (
	notAuthorized = "28000"
	wrongPassword = "28P01"
	noDatabase    = "3D000"
	notAllowed    = "42501"
	tooMany       = "53300"
	notReady      = "57P03"
)

// dialError is no connection at all.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// tlsError is a connection on which TLS did not come about.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// setupError is that drover's own side is not in order.
type setupError struct{ err error }

func (e *setupError) Error() string { return e.err.Error() }

// trouble says why a database did not answer, and what to do.
func (p party) trouble(err error) string {
	var dial *dialError
	var secure *tlsError
	var setup *setupError
	var said *pgconn.PgError
	switch {
	case errors.As(err, &setup):
		return "was not asked: PostgreSQL's variables in drover's environment are wrong: " + cut(setup.Error())
	case errors.As(err, &said):
		return p.reply(said)
	case errors.As(err, &dial):
		return p.unreached(dial.err)
	case errors.As(err, &secure):
		return p.insecure(secure.err)
	}
	return p.silence(err)
}

// unreached explains that there was no connection.
func (p party) unreached(err error) string {
	var unknown *net.DNSError
	switch {
	case errors.As(err, &unknown) && !unknown.Timeout():
		return fmt.Sprintf("has an endpoint whose name is not known (%s): check the DNS of where drover runs", p.host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("refuses connections at %s: it is not up yet, or has another port", p.at)
	case isTimeout(err):
		return fmt.Sprintf("did not take a connection at %s within %s: check that its security group lets drover in, and that there is a route", p.at, p.within)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Sprintf("cannot be reached at %s, there is no route: check its subnets and its security group", p.at)
	}
	return fmt.Sprintf("took no connection at %s: %s", p.at, p.foreign(err.Error()))
}

// insecure explains why TLS did not come about.
func (p party) insecure(err error) string {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.Is(err, errNoTLS):
		return fmt.Sprintf("offers no TLS, and sslmode %s in Secret %s demands it", p.login.sslmode, p.login.secret)
	case errors.As(err, &authority):
		return fmt.Sprintf("has a certificate of an authority that is not known: put its certificate (RDS has a bundle of them) into key %s of Secret %s", keysRoots[0], p.login.secret)
	case errors.As(err, &name):
		return fmt.Sprintf("has a certificate for other names than %s: use its own endpoint, or sslmode verify-ca in Secret %s", p.host, p.login.secret)
	case errors.As(err, &invalid):
		return fmt.Sprintf("has a certificate that is not valid: %s; renew it", p.foreign(invalid.Error()))
	case isTimeout(err):
		return p.silence(err)
	}
	return "did not agree on TLS: " + p.foreign(err.Error())
}

// reply explains an error of the server, which may quote what it was told.
func (p party) reply(e *pgconn.PgError) string {
	text := p.foreign(e.Message)
	switch {
	case demandsTLS(e):
		return fmt.Sprintf("demands TLS (rds.force_ssl), and sslmode %s in Secret %s leaves it out: set it to require (%s)", p.login.sslmode, p.login.secret, text)
	case e.Code == wrongPassword:
		return fmt.Sprintf("does not accept user %s with the password in Secret %s: correct it there or in the database", p.user(), p.login.secret)
	case e.Code == notAuthorized:
		return fmt.Sprintf("does not let user %s in: %s", p.user(), text)
	case e.Code == noDatabase:
		return fmt.Sprintf("has no database %q: correct its name in the environment, or the key %s of Secret %s", p.login.database, keysDatabase[0], p.login.secret)
	case e.Code == notAllowed:
		return fmt.Sprintf("does not allow it to user %s: %s", p.user(), text)
	case e.Code == tooMany:
		return fmt.Sprintf("is up but has no connection free: %s; close some, or raise max_connections", text)
	case e.Code == notReady:
		return "is not ready yet: " + text
	}
	return fmt.Sprintf("answered %s (SQLSTATE %s)", text, p.foreign(e.Code))
}

// demandsTLS tells whether a server left somebody out for want of TLS. There is no code for it; before 14 it said "SSL off".
func demandsTLS(err error) bool {
	var said *pgconn.PgError
	return errors.As(err, &said) && said.Code == notAuthorized && (strings.Contains(said.Message, "no encryption") || strings.Contains(said.Message, "SSL off"))
}

// silence explains a connection on which there was no answer, or none that makes sense.
func (p party) silence(err error) string {
	switch {
	case isTimeout(err):
		return fmt.Sprintf("took the connection at %s but did not answer in time: it may be starting, out of memory, or behind a proxy that waits for it", p.at)
	case strings.Contains(err.Error(), "require_auth"):
		return fmt.Sprintf("asks for the password in clear on a connection without TLS, and was not told: set sslmode to require in Secret %s", p.login.secret)
	case errors.Is(err, errNoProcess):
		return "took the connection but could not make a process for it: it is out of memory or processes"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Sprintf("took the connection at %s and hung up without a word: it is stopping, or is no PostgreSQL", p.at)
	}
	return fmt.Sprintf("is no PostgreSQL at %s, or speaks it in a way that drover does not understand: %s", p.at, p.foreign(cause(err)))
}

// cause is an error without the names that pgx puts before it.
func cause(err error) string {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return connect.Unwrap().Error()
	}
	return err.Error()
}

// isTimeout knows a bound of drover's in each form that it comes back in.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || pgconn.Timeout(err) || errors.As(err, &timeout) && timeout.Timeout()
}

// foreign is what others say, as far as it may be told: in one line, not too long, without the password.
func (p party) foreign(text string) string {
	if p.login.password != "" {
		text = strings.ReplaceAll(text, p.login.password, "…")
	}
	return cut(text)
}

// longest is how much of others' words is told: they choose what is in it, and records, events and terminals show it.
const longest = 200

// cut makes a text one line that is not too long.
func cut(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return s
}
