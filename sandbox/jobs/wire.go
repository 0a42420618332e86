package jobs

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// wire is a connection that remembers the first thing it heard of its end. The driver only says later, sometimes, that "conn closed".
type wire struct {
	net.Conn
	peer string

	mu    sync.Mutex
	first error
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
		w.note(err)
	}
	return n, err
}

// heard is pgx's OnPgError: false ends the connection.
func (w *wire) heard(_ *pgconn.PgConn, said *pgconn.PgError) bool {
	if said.Severity == "FATAL" {
		w.note(said)
		return false
	}
	return true
}

func (w *wire) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == nil {
		w.first = err
	}
}

// end is why the connection ended: what was heard on it, or else what the driver says.
func (w *wire) end(driver error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first != nil {
		return w.first
	}
	return driver
}

// howEnded tells a goodbye, PostgreSQL's or the network's, from a connection that broke.
func howEnded(err error) End {
	var said *pgconn.PgError
	if errors.As(err, &said) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Closed
	}
	return Broken
}
