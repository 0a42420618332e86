package jobs

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// deaf is a connection whose reads fail, one way after the other.
type deaf struct {
	net.Conn
	with []error
}

func (d *deaf) Read([]byte) (int, error) {
	err := d.with[0]
	d.with = d.with[1:]
	return 0, err
}

// What ends a connection is what was heard first; what this side does to it, a deadline or Close, is no end.
func TestWireRemembersWhatItHeard(t *testing.T) {
	closed := errors.New("conn closed")
	for name, c := range map[string]struct {
		said  *pgconn.PgError
		reads []error
		want  error
	}{
		"end":          {reads: []error{os.ErrDeadlineExceeded, io.EOF, net.ErrClosed}, want: io.EOF},
		"reset":        {reads: []error{syscall.ECONNRESET, io.EOF}, want: syscall.ECONNRESET},
		"ours":         {reads: []error{os.ErrDeadlineExceeded, net.ErrClosed}, want: closed},
		"told, broken": {said: &pgconn.PgError{Severity: "FATAL", Code: "57P01"}, reads: []error{syscall.ECONNRESET}, want: &pgconn.PgError{Severity: "FATAL", Code: "57P01"}},
		"an error":     {said: &pgconn.PgError{Severity: "ERROR", Code: "42P01"}, reads: []error{io.EOF}, want: io.EOF},
	} {
		w := &wire{Conn: &deaf{with: c.reads}}
		if c.said != nil && w.heard(nil, c.said) != (c.said.Severity != "FATAL") {
			t.Errorf("%s: only FATAL ends a connection", name)
		}
		for range c.reads {
			if _, err := w.Read(nil); err == nil {
				t.Errorf("%s: the error was swallowed", name)
			}
		}
		if got := w.end(closed); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
