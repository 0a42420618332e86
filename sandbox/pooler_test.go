package sandbox

import (
	"strings"
	"testing"
)

func TestFarewell(t *testing.T) {
	for _, c := range []struct {
		name, log string
		want      Farewell
	}{
		{"asked to go", `2026-11-22 03:00:00.000 UTC [7] LOG process up: PgBouncer 1.18.0, libevent 2.1.12-stable (epoll), adns: c-ares 1.18.1, tls: OpenSSL 3.0.19
03:00:10 shell: preStop
03:00:14 shell: SIGTERM
2026-11-22 03:00:14.100 UTC [7] LOG got SIGINT, shutting down
2026-11-22 03:00:14.400 UTC [7] LOG server connections dropped, exiting
03:00:14 shell: pgbouncer ended with 0`, Farewell{PreStop: true, Term: true, Safe: true, Code: "0"}},
		{"killed after its grace", "03:00:10 shell: preStop\n03:00:14 shell: SIGTERM", Farewell{PreStop: true, Term: true}},
		{"its machine died", "2026-11-22 03:00:00.000 UTC [7] LOG process up: PgBouncer 1.18.0", Farewell{}},
		{"it failed by itself", "03:00:00 shell: pgbouncer ended with 1", Farewell{Code: "1"}},
	} {
		var got Farewell
		for line := range strings.Lines(c.log) {
			got.read(strings.TrimSuffix(line, "\n"))
		}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
