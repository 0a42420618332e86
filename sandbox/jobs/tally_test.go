package jobs

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func after(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }

// One worker is told goodbye between two jobs and comes back by another peer, one breaks in the midst of a job, one gets no answer any more.
func TestReport(t *testing.T) {
	y := tally{started: noon}
	told, broke, hangs := y.opened(after(0), 0, "a"), y.opened(after(0), 1, "a"), y.opened(after(0), 2, "a")
	y.counted(after(100), 9)
	y.finished(after(500))
	y.finished(after(700))
	y.ended(after(800), told, Closed, io.EOF)
	y.opened(after(900), 0, "b")
	y.lines[broke].midst = true
	y.ended(after(1000), broke, Broken, syscall.ECONNRESET)
	y.lines[hangs].midst, y.lines[hangs].asked = true, after(1500)
	y.counted(after(2100), 12)

	r := y.report(after(2500), time.Second)
	if r.Hanging != 0 {
		t.Errorf("%d hang; patience is not over before it is over", r.Hanging)
	}
	r = y.report(after(2501), time.Second)
	if r.Hanging != 1 || r.Interrupted() != 2 || r.Done != 2 || r.Waiting != 12 {
		t.Errorf("hanging %d, interrupted %d, done %d, waiting %d; want 1, 2, 2, 12", r.Hanging, r.Interrupted(), r.Done, r.Waiting)
	}
	if got := fmt.Sprint(r.Through("a", after(1)), r.Through("b", after(1)), r.Through("b", after(901)), r.Workers()); got != "map[broken:1 closed:1 hung:1] map[] map[open:1] map[b:1]" {
		t.Errorf("ends: %s", got)
	}
	if want := 1801 * time.Millisecond; r.Standstill != want {
		t.Errorf("standstill %v, want %v: it lasts until now", r.Standstill, want)
	}
	if got := fmt.Sprint(r.Seconds); got != "[{2 9} {0 9} {0 12}]" {
		t.Errorf("seconds %s", got)
	}
	y.lines[hangs].asked = time.Time{}
	if r = y.report(after(2600), time.Second); r.Hanging != 0 || r.Through("a", after(1))[Open] != 1 {
		t.Errorf("an answer that came at last still counts as none: %+v", r.Lines)
	}
}

func TestHowEnded(t *testing.T) {
	for _, c := range []struct {
		err  error
		want End
	}{
		{fmt.Errorf("receive: %w", io.EOF), Closed},
		{fmt.Errorf("receive: %w", io.ErrUnexpectedEOF), Closed},
		{&pgconn.PgError{Severity: "FATAL", Code: "57P01"}, Closed},
		{syscall.ECONNRESET, Broken},
		{syscall.EPIPE, Broken},
		{errors.New("out of order"), Broken},
	} {
		if got := howEnded(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}
