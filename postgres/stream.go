package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// security is what a connection has to have.
type security int

const (
	plain     security = iota // without TLS
	offered                   // with TLS if the server offers it
	encrypted                 // with TLS, whatever its certificate says, unless the Secret has a certificate to check it against
	certified                 // with TLS, by a certificate of a known authority
	named                     // with TLS, by a certificate of a known authority for this host
)

// tries are the connections that are tried one after the other, by sslmode. They are libpq's.
var tries = map[string][]security{
	"disable":     {plain},
	"allow":       {plain, encrypted},
	"prefer":      {offered, plain},
	"require":     {encrypted},
	"verify-ca":   {certified},
	"verify-full": {named},
}

// through has do use one connection after the other, as the sslmode says, until one is good enough. Each is closed after its use.
func (h *Hand) through(ctx context.Context, p party, do func(context.Context, net.Conn) error) error {
	var first error
	for _, s := range tries[p.login.sslmode] {
		err := h.use(ctx, p, s, do)
		if err == nil {
			return nil
		}
		if first != nil && (demandsTLS(err) || !telling(err)) {
			return first // it says why TLS, which may be demanded, did not come about
		}
		if !again(err) {
			return err
		}
		first = err
	}
	return first
}

// telling tells whether an error is more than that nothing came.
func telling(err error) bool {
	var secure *tlsError
	var said *pgconn.PgError
	return errors.As(err, &secure) || errors.As(err, &said)
}

// again tells whether the same may be taken with TLS if it was not without, or the other way around.
func again(err error) bool {
	var secure *tlsError
	var said *pgconn.PgError
	return errors.As(err, &secure) || errors.As(err, &said) && said.Code == notAuthorized
}

func (h *Hand) use(ctx context.Context, p party, s security, do func(context.Context, net.Conn) error) error {
	opening, cancel := context.WithTimeout(ctx, p.within)
	defer cancel()
	conn, err := h.open(opening, p, s)
	if err != nil {
		return err
	}
	defer conn.Close()
	return do(ctx, conn)
}

// open makes a stream on which a login may follow.
func (h *Hand) open(ctx context.Context, p party, s security) (net.Conn, error) {
	raw, err := h.dial(ctx, p.at)
	if err != nil {
		return nil, err
	}
	defer bounded(ctx, raw)()
	secure, err := p.secure(ctx, raw, s)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return secure, nil
}

func (h *Hand) dial(ctx context.Context, at string) (net.Conn, error) {
	dial := h.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", at)
	if err != nil {
		return nil, &dialError{err}
	}
	return conn, nil
}

// bounded has reads and writes end with ctx, until what it returns is called.
func bounded(ctx context.Context, conn net.Conn) func() {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

func (p party) secure(ctx context.Context, raw net.Conn, s security) (net.Conn, error) {
	if s == plain {
		return raw, nil
	}
	offers, err := offersTLS(raw)
	switch {
	case err != nil:
		return nil, err
	case !offers && s == offered:
		return raw, nil
	case !offers:
		return nil, &tlsError{errNoTLS}
	}
	conn := tls.Client(raw, p.certificates(s))
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, &tlsError{err}
	}
	return conn, nil
}

// offersTLS asks a server the protocol's first question. It reads one byte and no more: what follows belongs to TLS.
func offersTLS(conn net.Conn) (bool, error) {
	if _, err := conn.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}); err != nil {
		return false, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return false, err
	}
	switch answer[0] {
	case 'S':
		return true, nil
	case 'N':
		return false, nil
	case 'E': // an error that no server of today sends here but when it cannot make a process; its text comes from whoever is there
		return false, errNoProcess
	}
	return false, fmt.Errorf("%w: its first byte is %#02x", errStrange, answer[0])
}

// certificates are the TLS settings. A certificate that is not checked keeps nobody out who is on the way to the server; that is what these modes of
// libpq promise, and no more.
func (p party) certificates(s security) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: p.host, RootCAs: p.login.roots}
	if s == named {
		return c
	}
	c.InsecureSkipVerify = true
	if s == certified || s == encrypted && p.login.roots != nil {
		c.VerifyConnection = func(state tls.ConnectionState) error { return chained(state, p.login.roots) }
	}
	return c
}

// chained checks everything of a certificate but its names.
func chained(state tls.ConnectionState, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}
