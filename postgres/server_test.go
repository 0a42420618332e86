package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

var app = []string{"username", "app", "password", "p4ssword"}

func TestAnswers(t *testing.T) {
	s := start(t)
	h := &Hand{}
	a := h.Ask(t.Context(), s.database(), fleet.DatabaseSpec{})
	says(t, a, true, "took the connection")
	if a.Login {
		t.Error("a login without a Secret")
	}
	a = s.asked(app...)
	says(t, a, true, "answers; 0 connected")
	if !a.Login || len(a.Sessions) != 0 {
		t.Errorf("login %t, sessions %v: want a login, and nobody but drover", a.Login, a.Sessions)
	}
	h, spec := withSecret(app...)
	aurora := s.database()
	aurora.Engine, spec.Name = "aurora-postgresql", "shop"
	says(t, h.Ask(t.Context(), aurora, spec), true, "answers")
}

// Nothing that a greeting meets but readiness says that a server is not up.
func TestGreetingWithoutALogin(t *testing.T) {
	for name, hba := range map[string]string{
		"rejected": "host nobody nobody all reject", "trusted": "host all all all trust", "md5": "host all all all md5", "scram": "host all all all scram-sha-256",
	} {
		t.Run(name, func(t *testing.T) {
			s := lay(t, nil)
			s.hba(hba)
			s.run()
			h := &Hand{}
			s.eventually("answers", func() bool { return h.Ask(t.Context(), s.database(), fleet.DatabaseSpec{}).Works })
		})
	}
}

func TestWaysIntoADatabase(t *testing.T) {
	s := start(t)
	weird := "p@ss/w0rd:#%?&= 'x'\\é"
	s.sql(fmt.Sprintf("create role odd login password '%s'", strings.ReplaceAll(weird, "'", "''")))
	for _, tc := range []struct {
		name  string
		keyed []string
		in    string // the database that it gets into, as its sessions show
	}{
		{"image", []string{"POSTGRES_USER", "app", "POSTGRES_PASSWORD", "p4ssword", "POSTGRES_DB", "shop"}, "shop"},
		{"short", []string{"user", "app", "password", "p4ssword", "database", "shop"}, "shop"},
		{"newlines", []string{"username", "app\n", "password", "p4ssword\r\n", "dbname", "shop\n"}, "shop"},
		{"no database", []string{"username", "app", "password", "p4ssword"}, "postgres"},
		{"uri", []string{"uri", "postgresql://app:p4ssword@production.example:6432/shop?sslmode=prefer"}, "shop"},
		{"cousin", []string{"DATABASE_URL", "postgresql+asyncpg://app:p4ssword@pooler/shop"}, "shop"},
		{"uri beside keys", []string{"DATABASE_URL", "postgres://nobody:nothing@pooler/shop", "username", "app", "password", "p4ssword"}, "shop"},
		{"weird", []string{"username", "odd", "password", weird}, "postgres"},
		{"weird uri", []string{"uri", "postgres://odd:p%40ss%2Fw0rd%3A%23%25%3F%26%3D%20%27x%27%5C%C3%A9@h/shop"}, "shop"},
		{"host is not taken", []string{"username", "app", "password", "p4ssword", "host", "production.example", "port", "1"}, "postgres"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, spec := withSecret(tc.keyed...)
			l, err := h.login(t.Context(), spec)
			if err != nil || l.database != tc.in {
				t.Fatalf("database %q (%v), want %q", l.database, err, tc.in)
			}
			says(t, s.asked(tc.keyed...), true, "answers")
		})
	}
}

func TestWhoIsLetIn(t *testing.T) {
	s := start(t)
	s.sql("create database closed", "revoke connect on database closed from public", "create role few login password 'p4ssword' connection limit 0")
	for _, tc := range []struct {
		name  string
		keyed []string
		want  string
	}{
		{"password", []string{"username", "app", "password", "wr0ng"}, `does not accept user "app" with the password in Secret stg/db`},
		{"user", []string{"username", "nobody", "password", "wr0ng"}, `does not accept user "nobody"`},
		{"database", append([]string{"dbname", "shopp"}, app...), `has no database "shopp"`},
		{"right", append([]string{"dbname", "closed"}, app...), `does not allow it to user "app": permission denied for database`},
		{"limit", []string{"username", "few", "password", "p4ssword"}, "no connection free: too many connections for role"},
		{"tls", append([]string{"sslmode", "require"}, app...), "offers no TLS, and sslmode require in Secret stg/db demands it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := s.asked(tc.keyed...)
			says(t, a, false, tc.want)
			if a.Login || strings.Contains(a.Why, "wr0ng") || strings.Contains(a.Why, "p4ssword") {
				t.Errorf("login %t; %s", a.Login, a.Why)
			}
		})
	}
}

// The name of a database in the environment wins over the Secret's.
func TestNameOfTheSpec(t *testing.T) {
	h, spec := withSecret(append([]string{"dbname", "other"}, app...)...)
	spec.Name = "shop"
	if l, err := h.login(t.Context(), spec); err != nil || l.database != "shop" {
		t.Errorf("database %q, %v", l.database, err)
	}
}

func TestSessions(t *testing.T) {
	s := start(t)
	before := time.Now().Add(-time.Second)
	s.connect("app", "p4ssword", "shop", "web")
	s.connect("watch", "p4ssword", "postgres", "psql")
	s.connect(master, masterPassword, "postgres", "rds") // RDS's own
	s.connect("watch", "p4ssword", "postgres", ourselves)

	a := s.asked("username", "watch", "password", "p4ssword")
	says(t, a, true, "2 connected")
	if strings.Contains(a.Why, Hidden) {
		t.Errorf("nothing is hidden from a monitor: %s", a.Why)
	}
	web, psql := a.Sessions[0], a.Sessions[1]
	if web.User != "app" || web.Database != "shop" || web.App != "web" || web.State != "idle" || web.From != "127.0.0.1" && web.From != s.ip {
		t.Errorf("session %+v", web)
	}
	if web.Since.Before(before) || web.Since.After(time.Now().Add(time.Second)) {
		t.Errorf("since %s", web.Since)
	}
	if psql.User != "watch" || psql.App != "psql" {
		t.Errorf("session %+v", psql)
	}
}

// Without pg_monitor a login sees that others are connected, and it is said that the rest is hidden.
func TestHiddenColumns(t *testing.T) {
	s := start(t)
	s.connect("watch", "p4ssword", "shop", "web")
	s.connect("app", "p4ssword", "shop", "own")
	a := s.asked(app...)
	says(t, a, true, "2 connected, 1 of them hidden from user \"app\", who lacks the role pg_monitor")
	i := slices.IndexFunc(a.Sessions, func(s fleet.Session) bool { return s.User == "watch" })
	if !a.Login || i < 0 {
		t.Fatalf("sessions %+v: want watch's", a.Sessions)
	}
	if got, want := a.Sessions[i], (fleet.Session{User: "watch", Database: "shop", App: "web", From: Hidden, State: Hidden}); got != want {
		t.Errorf("session %+v, want %+v", got, want)
	}
	if own := a.Sessions[1-i]; own.State != "idle" || own.From == Hidden || own.Since.IsZero() {
		t.Errorf("one's own session is not hidden: %+v", own)
	}
}

// A database that answers but does not tell who is connected works, and the sessions count as unknown.
func TestSessionsThatCannotBeRead(t *testing.T) {
	s := start(t)
	s.sql("revoke select on pg_catalog.pg_stat_activity from public")
	a := s.asked(app...)
	says(t, a, true, "who is connected is not known", "permission denied for view pg_stat_activity")
	if a.Login || a.Sessions != nil {
		t.Errorf("login %t, sessions %v: want neither", a.Login, a.Sessions)
	}
}

func TestFull(t *testing.T) {
	s := start(t, "max_connections=3", "superuser_reserved_connections=0", "max_wal_senders=0")
	for i := range 3 {
		s.eventually("has room", func() bool {
			c, err := s.try("app", "p4ssword", "shop", fmt.Sprint(i))
			if err == nil {
				t.Cleanup(func() { _ = c.Close(context.Background()) })
			}
			return err == nil
		})
	}
	const want = "is up but has no connection free: sorry, too many clients already"
	says(t, s.asked(app...), false, want)
	says(t, (&Hand{}).Ask(t.Context(), s.database(), fleet.DatabaseSpec{}), false, want)
}

// A server whose recovery waits for a file says that it starts up, with a Secret or without: it would be a gate that opens too early otherwise.
func TestStartingUp(t *testing.T) {
	s := lay(t, map[string]string{"recovery.signal": ""}).run("restore_command=sleep 600")
	says(t, s.asked(app...), false, "is not ready yet: the database system is starting up")
	says(t, (&Hand{}).Ask(t.Context(), s.database(), fleet.DatabaseSpec{}), false, "is not ready yet: the database system is starting up")
}

func TestStandbys(t *testing.T) {
	s := lay(t, map[string]string{"standby.signal": ""}).run()
	var a fleet.Answer
	s.eventually("answers", func() bool { a = s.asked("username", master, "password", masterPassword); return a.Works })
	says(t, a, true, "answers, but is read only: it is in recovery", "0 connected")

	cold := lay(t, map[string]string{"standby.signal": ""}).run("hot_standby=off")
	cold.eventually("says so", func() bool {
		return strings.Contains(cold.asked(app...).Why, "is not ready yet: the database system is not accepting connections")
	})
}

func TestStopped(t *testing.T) {
	s := start(t)
	s.stop()
	says(t, s.asked(app...), false, "refuses connections at "+s.ip+":5432")
	says(t, (&Hand{}).Ask(t.Context(), s.database(), fleet.DatabaseSpec{}), false, "refuses connections")
}
