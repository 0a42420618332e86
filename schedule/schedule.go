// Package schedule says when an environment is to be on: at any moment, from the schedule alone. It is meant to be asked at every tick what should be
// true now; nobody waits for a moment that could be missed while nobody was running. It reads no clock, waits for nothing and remembers nothing, and a
// Schedule never changes, so that any number may ask it at once. It refuses to guess: what cannot be read is an error with its place.
//
// Wall clocks. A local time means the first moment at which the clock of the schedule's zone shows it or a later one. So a time that the clock skips
// is the first moment after the gap, one that it shows twice is the first of the two, and of two local times the later never comes before the earlier:
// no window has a negative length or happens twice, those that touch on paper touch in fact, and a day with one window has one begin and one end. A
// window that lies wholly within what the clock skips (02:00-03:00 on the night it skips just that, the whole of a day that a zone left out) does not
// happen that day, nor does a pause between windows that does. In other words: all is as if a clock that is set back stood still until it has made up for
// that.
//
// Windows. One belongs to the day it begins on. One that ends at or before its begin ends the next day, so 08:00-08:00 and 00:00-24:00 last a whole
// day. A day off is a day on which no window begins, as if its weekday were not listed: what began the evening before runs to its end, as a Friday
// night's window runs into Saturday, and what would have begun on the day off is missing after its midnight too.
//
// Exceptions go before all else, and of several that cover a moment the last of the list. Begins are part of a window or an exception, ends are not.
package schedule

import (
	"slices"
	"strings"
	"time"
)

// Schedule is when something is to be on. Parse makes it.
type Schedule struct {
	zone       *time.Location
	windows    []window
	dated      map[day]string // days off, with what they are called
	yearly     map[string]bool
	exceptions []exception
	warnings   []string
}

// window is a time of the week, in minutes after the midnight at which its day begins; to is after from, and after 24h when it ends the next day.
type window struct {
	days     [7]bool
	from, to int
}

type exception struct {
	from, to time.Time
	on       bool
	why      string
}

// Change is a moment at which a schedule begins to say something else.
type Change struct {
	At  time.Time
	On  bool
	Why string
}

// horizon bounds how far Next looks ahead: a yearly event is found, even one that falls out once.
const horizon = 2 * 366 * 24 * time.Hour

// At says what should be true at a moment, and why in words.
func (s *Schedule) At(t time.Time) (on bool, why string) {
	for _, e := range slices.Backward(s.exceptions) {
		if !t.Before(e.from) && t.Before(e.to) {
			return e.on, e.words(s.zone)
		}
	}
	today, second := wall(t.In(s.zone))
	off := ""
	for _, w := range s.windows {
		for ago := range day(2) { // one that began yesterday may last
			if d, now := today-ago, second+int(ago)*secondsOfDay; !w.days[d.weekday()] || now < w.from*60 || now >= w.to*60 {
				continue
			} else if off = s.holiday(d); off == "" {
				return true, w.String() + " " + s.zone.String()
			}
		}
	}
	if off == "" && s.begins(today) {
		off = s.holiday(today)
	}
	switch {
	case off != "":
		return false, off
	case len(s.windows) == 0:
		return false, "no exception says on"
	}
	return false, "outside " + s.String()
}

// Next is the first change after a moment; not ok when there is none within two years.
func (s *Schedule) Next(t time.Time) (at time.Time, on bool, why string, ok bool) {
	const step = 8 * 24 * time.Hour // most changes are within a week
	for from, end := t, t.Add(horizon); from.Before(end); from = from.Add(step) {
		if cs := s.Changes(from, from.Add(step)); len(cs) > 0 {
			return cs[0].At, cs[0].On, cs[0].Why, true
		}
	}
	return time.Time{}, false, "", false
}

// Changes are those after from, up to and including to, in order.
func (s *Schedule) Changes(from, to time.Time) []Change {
	var out []Change
	was, _ := s.At(from)
	for _, t := range s.edges(from, to) {
		if on, why := s.At(t); on != was {
			out = append(out, Change{t, on, why})
			was = on
		}
	}
	return out
}

// OnFor is how much of the time between two moments it is on.
func (s *Schedule) OnFor(from, to time.Time) time.Duration {
	if !from.Before(to) {
		return 0
	}
	var sum time.Duration
	since, on := from, false
	on, _ = s.At(from)
	for _, c := range append(s.Changes(from, to), Change{At: to}) {
		if on {
			sum += c.At.Sub(since)
		}
		since, on = c.At, c.On
	}
	return sum
}

// Warnings are what of the schedule has no effect though somebody may think so.
func (s *Schedule) Warnings() []string { return slices.Clone(s.warnings) }

// String prints the windows and the zone: "Mon-Fri 08:00-19:00, Sat 10:00-14:00 Europe/Vienna".
func (s *Schedule) String() string {
	if len(s.windows) == 0 {
		return "no windows " + s.zone.String()
	}
	var words []string
	for _, w := range s.windows {
		words = append(words, w.String())
	}
	return strings.Join(words, ", ") + " " + s.zone.String()
}

// edges are the moments after from, up to to, at which At may say something else: nothing happens between them.
func (s *Schedule) edges(from, to time.Time) []time.Time {
	var out []time.Time
	add := func(ts ...time.Time) {
		for _, t := range ts {
			if t.After(from) && !t.After(to) {
				out = append(out, t)
			}
		}
	}
	for d, last := dayOf(from.In(s.zone))-2, dayOf(to.In(s.zone))+2; d <= last; d++ {
		if s.holiday(d) != "" {
			continue
		}
		for _, w := range s.windows {
			if w.days[d.weekday()] {
				add(first(s.zone, d, w.from), first(s.zone, d, w.to))
			}
		}
	}
	for _, e := range s.exceptions {
		add(e.from, e.to)
	}
	slices.SortFunc(out, time.Time.Compare)
	return slices.CompactFunc(out, time.Time.Equal)
}

// begins tells whether a window would begin on the day, were it no day off.
func (s *Schedule) begins(d day) bool {
	return slices.ContainsFunc(s.windows, func(w window) bool { return w.days[d.weekday()] })
}

// holiday says which day off a day is; "" when it is none.
func (s *Schedule) holiday(d day) string {
	if name, ok := s.dated[d]; ok {
		return strings.TrimRight("holiday "+d.String()+" "+name, " ")
	}
	if s.yearly[d.String()[len("2006-"):]] {
		return "holiday " + d.String()
	}
	return ""
}

func (e *exception) words(zone *time.Location) string {
	s := "exception until " + e.to.In(zone).Format("2006-01-02 15:04")
	if e.why != "" {
		s += ": " + e.why
	}
	return s
}

// String prints the window as people write it: "Mon-Fri 08:00-19:00".
func (w window) String() string {
	to := w.to
	if to > minutesOfDay {
		to -= minutesOfDay
	}
	return w.weekdays() + " " + clock(w.from) + "-" + clock(to)
}

// weekdays prints the days from Monday on, three and more in a row as a range.
func (w window) weekdays() string {
	var words []string
	name := func(i int) string { return time.Weekday((i + 1) % 7).String()[:3] }
	for i := 0; i < 7; i++ {
		if !w.days[(i+1)%7] {
			continue
		}
		last := i
		for last < 6 && w.days[(last+2)%7] {
			last++
		}
		if last-i < 2 {
			words = append(words, name(i))
			continue
		}
		words = append(words, name(i)+"-"+name(last))
		i = last
	}
	return strings.Join(words, ",")
}
