package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Line is what one library did with one store.
type Line struct {
	Store, Library string
	Written        int           // acknowledged
	Failed         int           // writes that the library gave up; whether they were done nobody knows
	Gap            time.Duration // the longest time in which one writer had nothing acknowledged
	Read           int
	ReadFailed     int
	Missing        int            // reads that did not find what had been acknowledged
	Errors         map[string]int // of writes and reads, by what they say
}

// Failures says which errors there were, the most frequent first.
func (l Line) Failures() string {
	var words []string
	for _, kind := range slices.SortedFunc(maps.Keys(l.Errors), func(a, b string) int {
		return cmp.Or(l.Errors[b]-l.Errors[a], strings.Compare(a, b))
	}) {
		words = append(words, fmt.Sprintf("%d %s", l.Errors[kind], kind))
	}
	return strings.Join(words, ", ")
}

// Report is what happened until a moment.
type Report struct {
	At    time.Time
	Lines []Line
}

// Of adds up the lines of a store; its Library is empty and its Gap the longest.
func (r Report) Of(store string) Line {
	sum := Line{Store: store, Errors: map[string]int{}}
	for _, l := range r.Lines {
		if l.Store != store {
			continue
		}
		sum.Written, sum.Failed, sum.Gap = sum.Written+l.Written, sum.Failed+l.Failed, max(sum.Gap, l.Gap)
		sum.Read, sum.ReadFailed, sum.Missing = sum.Read+l.Read, sum.ReadFailed+l.ReadFailed, sum.Missing+l.Missing
		for kind, n := range l.Errors {
			sum.Errors[kind] += n
		}
	}
	return sum
}

// line is a Line as it comes to be. It belongs to the crew's lock.
type line struct {
	Line
	store   Store
	writers []*writer
}

// writer is what one writer knows to be written.
type writer struct {
	numbers []int64 // acknowledged, ascending
	last    time.Time
	gap     time.Duration
}

func newLine(s Store, library string, writers int) *line {
	l := &line{Line: Line{Store: s.Name, Library: library, Errors: map[string]int{}}, store: s}
	for range writers {
		l.writers = append(l.writers, &writer{})
	}
	return l
}

// sets is over how many keys a writer spreads its numbers, and with them over a cluster's shards.
const sets = 64

func (l *line) key(writer int, n int64) string {
	return fmt.Sprintf("%s:%d:%d", l.Library, writer, n%sets)
}

func (w *writer) acknowledged(now time.Time, n int64) {
	w.numbers = append(w.numbers, n)
	w.gap = w.longest(now)
	w.last = now
}

// longest is the writer's longest gap, one that is not over included. Before its first number it has none.
func (w *writer) longest(now time.Time) time.Duration {
	if w.last.IsZero() {
		return 0
	}
	return max(w.gap, now.Sub(w.last))
}

func (l *line) failed(err error) {
	l.Failed++
	l.Errors[kind(err)]++
}

func (l *line) read(found bool, err error) {
	l.Read++
	switch {
	case err != nil:
		l.ReadFailed++
		l.Errors[kind(err)]++
	case !found:
		l.Missing++
	}
}

// any picks an acknowledged number and its writer; 0 when there is none.
func (l *line) any(dice *rand.Rand) (int, int64) {
	n := dice.IntN(len(l.writers))
	numbers := l.writers[n].numbers
	if len(numbers) == 0 {
		return n, 0
	}
	return n, numbers[dice.IntN(len(numbers))]
}

func report(lines []*line, now time.Time) Report {
	r := Report{At: now}
	for _, l := range lines {
		out := l.Line
		out.Errors = maps.Clone(l.Errors)
		for _, w := range l.writers {
			out.Written += len(w.numbers)
			out.Gap = max(out.Gap, w.longest(now))
		}
		r.Lines = append(r.Lines, out)
	}
	return r
}

var (
	redisCode = regexp.MustCompile(`^[A-Z]{2,}\b`)
	addresses = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+(:\d+)?`)
)

// kind puts an error into few words, the same for all of its kind.
func kind(err error) string {
	var timeout net.Error
	switch code := redisCode.FindString(err.Error()); {
	case code != "" && code != "EOF":
		return code
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return "connection lost"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return addresses.ReplaceAllString(text, "ADDRESS")
}
