package jobs

import (
	"slices"
	"time"
)

// End says what became of a connection.
type End string

// The ends of a connection. A hung one may still be answered; then it is open again.
const (
	Open   End = "open"
	Closed End = "closed" // the other side said goodbye
	Broken End = "broken" // reset, or worse
	Hung   End = "hung"   // a question has had no answer for longer than patience
)

// Line is one connection of one worker.
type Line struct {
	Worker        int
	Peer          string
	Opened, Ended time.Time // Ended is zero while it is open or hung
	End           End
	Interrupted   bool // it ended, or hung, in the midst of a job
	Err           error
}

// Second is one second of the work.
type Second struct {
	Done    int // jobs done in it
	Waiting int // jobs that waited, at its end
}

// Report is what happened until a moment.
type Report struct {
	Started, At time.Time
	Done        int
	Waiting     int           // when last counted
	Standstill  time.Duration // the longest time in which no job was done, from the first one done until now
	Hanging     int           // workers that have waited for an answer longer than patience
	Refused     int           // attempts to connect that failed
	Lines       []Line
	Seconds     []Second
	Trouble     error // the queue could not be filled or counted
}

// Through counts the connections to a peer that were opened before a moment, by their ends.
func (r Report) Through(peer string, before time.Time) map[End]int {
	out := map[End]int{}
	for _, l := range r.Lines {
		if l.Peer == peer && l.Opened.Before(before) {
			out[l.End]++
		}
	}
	return out
}

// Interrupted counts the jobs in whose midst a connection ended or hung.
func (r Report) Interrupted() int {
	n := 0
	for _, l := range r.Lines {
		if l.Interrupted {
			n++
		}
	}
	return n
}

// Workers counts those who have an open connection now, by its peer.
func (r Report) Workers() map[string]int {
	out := map[string]int{}
	for _, l := range r.Lines {
		if l.End == Open {
			out[l.Peer]++
		}
	}
	return out
}

// tally is what is known. It belongs to the crew's lock.
type tally struct {
	started    time.Time
	lines      []line
	seconds    []Second
	done       int
	waiting    int
	refused    int
	last       time.Time // when a job was done
	standstill time.Duration
	trouble    error
}

type line struct {
	Line
	asked time.Time // since when an answer is due; zero if none is
	midst bool      // of a job
}

func (t *tally) opened(now time.Time, worker int, peer string) int {
	t.lines = append(t.lines, line{Line: Line{Worker: worker, Peer: peer, Opened: now, End: Open}})
	return len(t.lines) - 1
}

func (t *tally) ended(now time.Time, n int, how End, err error) {
	l := &t.lines[n]
	l.Ended, l.End, l.Err, l.Interrupted = now, how, err, l.midst
}

// second is the count of the second that now is in.
func (t *tally) second(now time.Time) *Second {
	n := int(now.Sub(t.started) / time.Second)
	for len(t.seconds) <= n {
		t.seconds = append(t.seconds, Second{Waiting: t.waiting})
	}
	return &t.seconds[n]
}

func (t *tally) counted(now time.Time, waiting int) {
	t.second(now).Waiting = waiting // the seconds before it, if nothing was heard in them, keep the last count
	t.waiting = waiting
}

func (t *tally) finished(now time.Time) {
	t.done++
	t.second(now).Done++
	if t.done > 1 {
		t.standstill = max(t.standstill, now.Sub(t.last))
	}
	t.last = now
}

func (t *tally) report(now time.Time, patience time.Duration) Report {
	t.second(now)
	r := Report{
		Started: t.started, At: now, Done: t.done, Waiting: t.waiting, Standstill: t.standstill, Refused: t.refused, Trouble: t.trouble,
		Seconds: slices.Clone(t.seconds),
	}
	if t.done > 0 {
		r.Standstill = max(r.Standstill, now.Sub(t.last))
	}
	for _, l := range t.lines {
		if l.End == Open && !l.asked.IsZero() && now.Sub(l.asked) > patience {
			l.End, l.Interrupted = Hung, l.midst
			r.Hanging++
		}
		r.Lines = append(r.Lines, l.Line)
	}
	return r
}
