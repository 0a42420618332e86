package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"drover.dev/fleet"
)

// puppet listens, and does to each connection what it is told to.
func puppet(t *testing.T, do func(net.Conn)) fleet.Database {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); do(c) }()
		}
	}()
	return at("127.0.0.1", l.Addr().(*net.TCPAddr).Port)
}

// after answers what comes, one text for each read; then it listens until the other hangs up.
func after(answers ...string) func(net.Conn) {
	return func(c net.Conn) {
		buf := make([]byte, 4096)
		for _, a := range answers {
			if _, err := c.Read(buf); err != nil {
				return
			}
			_, _ = io.WriteString(c, a)
		}
		_, _ = io.Copy(io.Discard, c)
	}
}

func encoded(t *testing.T, m pgproto3.BackendMessage) string {
	t.Helper()
	raw, err := m.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// Whoever is at the endpoint, with a login or without one: it is told apart, in bounded time.
func TestWhoeverIsThere(t *testing.T) {
	const silent = "did not answer in time"
	mysql := "J\x00\x00\x00\x0a8.0.36\x00" + strings.Repeat("x", 60)
	for _, tc := range []struct {
		name string
		do   func(net.Conn)
		want string
	}{
		{"black hole", after(), silent},
		{"hole after TLS's question", after("N"), silent},
		{"hole within TLS", after("S"), silent},
		{"hangs up", func(net.Conn) {}, "hung up without a word"},
		{"hangs up after TLS's question", func(c net.Conn) { _, _ = c.Read(make([]byte, 8)); _, _ = io.WriteString(c, "N") }, "hung up without a word"},
		{"mysql", func(c net.Conn) { _, _ = io.WriteString(c, mysql); after()(c) }, "is no PostgreSQL at 127.0.0.1"},
		{"http", after("HTTP/1.1 400 Bad Request\r\n\r\n"), "is no PostgreSQL at 127.0.0.1"},
		{"no process", after("EFATAL: could not fork new process\x00"), "could not make a process"},
		{"garbage", after("N", "\xff\x00\x00\x00\x08junk"), "is no PostgreSQL"},
		{"a message that is too long", after("N", "R\x7f\xff\xff\xff"), "is no PostgreSQL"},
		{"out of turn", after("N", "Z\x00\x00\x00\x05I"), "is no PostgreSQL"},
		{"garbage for TLS", func(c net.Conn) {
			buf := make([]byte, 4096)
			if n, _ := c.Read(buf); n != 8 { // the second connection, without TLS
				return
			}
			_, _ = io.WriteString(c, "S")
			_, _ = c.Read(buf)
			_, _ = io.WriteString(c, "garbage")
		}, "did not agree on TLS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db := puppet(t, tc.do)
			h, spec := withSecret(app...)
			h.Connect, h.Within = time.Minute, time.Minute
			if tc.want == silent {
				h.Connect, h.Within = 50*time.Millisecond, 80*time.Millisecond
			}
			begun := time.Now()
			says(t, h.Ask(t.Context(), db, spec), false, tc.want)
			says(t, h.Ask(t.Context(), db, fleet.DatabaseSpec{}), false, tc.want)
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// A server that quotes what it was told is not quoted.
func TestPasswordsAreNotTold(t *testing.T) {
	for _, password := range []string{"p4ssword", "p@ss/w0rd:#%?&", "with space and 'quotes'", "\\x00\"é", "aaa"} {
		reply := encoded(t, &pgproto3.ErrorResponse{Severity: "FATAL", Code: "XX000", Message: "user app with " + password + " and again " + password})
		db := puppet(t, after("N", reply))
		h, spec := withSecret("username", "app", "password", password)
		a := h.Ask(t.Context(), db, spec)
		says(t, a, false, "answered user app with … and again … (SQLSTATE XX000)")
		if strings.Contains(a.Why, password) {
			t.Errorf("it tells %q: %s", password, a.Why)
		}
	}
}

func TestSecretsThatAreNotRight(t *testing.T) {
	const shown = "p4ssword"
	for _, tc := range []struct {
		name  string
		keyed []string
		want  string
	}{
		{"empty", nil, "secret stg/db lacks the key username (keys it has: none): add it"},
		{"password", []string{"username", "app", "pass", shown}, "lacks the key password (keys it has: pass, username): add it"},
		{"username", []string{"password", shown}, "lacks the key username"},
		{"mode", append([]string{"sslmode", shown}, app...), "an sslmode that is none of allow, disable, prefer, require, verify-ca, verify-full"},
		{"authority", append([]string{"ca.crt", shown}, app...), "no certificate in PEM in its key ca.crt"},
		{"nul", []string{"username", "app\x00user\x00" + master, "password", shown}, "a NUL in its name"},
		{"uri", []string{"uri", "postgres://app:p4ssword/#%zz@h/shop"}, "a key uri that is no URI postgres://USER:PASSWORD@HOST/DATABASE"},
		{"uri without a user", []string{"DATABASE_URL", "postgres://h/shop?x=" + shown}, "a key DATABASE_URL that is no URI"},
		{"uri of another engine", []string{"uri", "mysql://app:p4ssword@h/shop"}, "a key uri that is no URI"},
		{"uri without a password", []string{"uri", "postgres://app@h/" + shown}, "lacks the key password (keys it has: uri)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, spec := withSecret(tc.keyed...)
			h.Dial = func(context.Context, string, string) (net.Conn, error) {
				t.Error("it was dialled without a way in")
				return nil, errors.New("no")
			}
			a := h.Ask(t.Context(), at("127.0.0.1", 1), spec)
			says(t, a, false, "was not asked: secret stg/db ", tc.want)
			if strings.Contains(a.Why, shown) {
				t.Errorf("it tells a value: %s", a.Why)
			}
		})
	}
	h, spec := withSecret()
	spec.Secret = "stg/other"
	says(t, h.Ask(t.Context(), at("127.0.0.1", 1), spec), false, "secret stg/other cannot be read: no Secret other in stg; create it")
	spec.Secret = "other"
	says(t, h.Ask(t.Context(), at("127.0.0.1", 1), spec), false, `its secret "other" is not NAMESPACE/NAME`)
	spec.Secret = "stg/db"
	says(t, (&Hand{}).Ask(t.Context(), at("127.0.0.1", 1), spec), false, "nothing here reads Secrets")
}

func TestNoConnection(t *testing.T) {
	opError := func(n syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", n)}
	}
	for _, tc := range []struct {
		name string
		dial func(context.Context) error
		want string
	}{
		{"refused", func(context.Context) error { return opError(syscall.ECONNREFUSED) }, "refuses connections at stg.example:5432: it is not up yet"},
		{"dropped", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "did not take a connection at stg.example:5432 within 30ms: check that its security group lets drover in"},
		{"timed out", func(context.Context) error { return opError(syscall.ETIMEDOUT) }, "check that its security group lets drover in"},
		{"no route", func(context.Context) error { return opError(syscall.EHOSTUNREACH) }, "there is no route: check its subnets and its security group"},
		{"unknown", func(context.Context) error {
			return &net.DNSError{Err: "no such host", Name: "stg.example", IsNotFound: true}
		}, "an endpoint whose name is not known (stg.example)"},
		{"slow DNS", func(context.Context) error { return &net.DNSError{Err: "i/o timeout", IsTimeout: true} }, "did not take a connection"},
		{"whatever", func(context.Context) error { return errors.New("the tunnel is closed") }, "took no connection at stg.example:5432: the tunnel is closed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, spec := withSecret(app...)
			h.Connect = 30 * time.Millisecond
			h.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if network != "tcp" || addr != "stg.example:5432" {
					t.Errorf("dialled %s %s", network, addr)
				}
				return nil, tc.dial(ctx)
			}
			db := at("stg.example", 5432)
			says(t, h.Ask(t.Context(), db, spec), false, tc.want)
			says(t, h.Ask(t.Context(), db, fleet.DatabaseSpec{}), false, tc.want)
			db.Engine = "mysql"
			says(t, h.Ask(t.Context(), db, spec), false, tc.want)
		})
	}
}

func TestOtherEngines(t *testing.T) {
	db := puppet(t, after())
	db.Engine = "mysql"
	h, spec := withSecret(app...)
	a := h.Ask(t.Context(), db, spec)
	says(t, a, true, "took the connection; no login was tried: drover logs in to PostgreSQL, and this is mysql")
	if a.Login {
		t.Error("a login to mysql")
	}
	if a = h.Ask(t.Context(), db, fleet.DatabaseSpec{}); a.Why != "took the connection" || !a.Works {
		t.Errorf("%+v", a)
	}
}

func TestNoEndpoint(t *testing.T) {
	db := at("", 0)
	db.Status = "creating"
	says(t, (&Hand{}).Ask(t.Context(), db, fleet.DatabaseSpec{}), false, "has no endpoint yet (status creating)")
}

// Who asked and went away is not kept waiting, and the clock is the hand's.
func TestAskingEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	h, spec := withSecret(app...)
	h.Connect, h.Within, h.Now = time.Hour, time.Hour, func() time.Time { return now }
	db := puppet(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 8)); cancel(); after()(c) })
	a := h.Ask(ctx, db, spec)
	if a.Works || !a.At.Equal(now) {
		t.Errorf("%+v", a)
	}
	says(t, a, false, "drover stopped asking")
}

// What the process has in its environment is about other databases.
func TestEnvironmentOfTheProcess(t *testing.T) {
	s := start(t)
	for k, v := range map[string]string{"PGHOST": "192.0.2.1", "PGSSLMODE": "verify-full", "PGUSER": "x", "PGPASSWORD": "x", "PGOPTIONS": "-c no_such_setting=1",
		"PGTARGETSESSIONATTRS": "standby", "PGCONNECT_TIMEOUT": "x", "PGREQUIREAUTH": "none", "PGCHANNELBINDING": "require"} {
		t.Setenv(k, v)
	}
	says(t, s.asked(app...), true, "answers")
	t.Setenv("PGSERVICE", "no-such-service")
	t.Setenv("PGSERVICEFILE", "/nowhere")
	says(t, s.asked(app...), false, "was not asked: PostgreSQL's variables in drover's environment are wrong")
}
