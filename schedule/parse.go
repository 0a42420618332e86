package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// Parse reads a schedule. It returns either that or everything that is wrong with it, each error with its place. Zones are Go's: who calls it has to
// have them (import time/tzdata).
func Parse(spec fleet.Schedule) (*Schedule, []error) {
	p := parser{s: &Schedule{yearly: map[string]bool{}, dated: map[day]string{}, zone: time.UTC}}
	p.zone(spec.Zone)
	for i, w := range spec.On {
		p.window(i, w)
	}
	p.holidays(spec.Holidays)
	if spec.Calendar != "" {
		c := readCalendar(spec.Calendar)
		p.s.dated, p.s.warnings, p.errs = join(p.s.dated, c.days), c.warnings, append(p.errs, c.errs...)
	}
	for i, e := range spec.Exceptions {
		p.exception(i, e)
	}
	p.overlaps()
	if len(p.errs) == 0 {
		p.possible()
	}
	if len(p.errs) > 0 {
		return nil, p.errs
	}
	return p.s, nil
}

type parser struct {
	s     *Schedule
	index []int // of each window, in the spec
	errs  []error
}

func (p *parser) fault(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

func (p *parser) zone(name string) {
	if name == "" || name == "Local" {
		p.fault("zone %q: name an IANA zone, such as Europe/Vienna", name)
		return
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		p.fault("zone %q: no IANA zone is called that%s", name, nearWords(name))
		return
	}
	p.s.zone = zone
}

func (p *parser) window(i int, spec fleet.Window) {
	place, faults := fmt.Sprintf("on[%d]", i), len(p.errs)
	var w window
	if len(spec.Days) == 0 {
		p.fault("%s.days: none: name the days it begins on, such as Mon", place)
	}
	for j, d := range spec.Days {
		switch {
		case d < time.Sunday || d > time.Saturday:
			p.fault("%s.days[%d]: %d is no day of the week; want 0 (Sunday) to 6", place, j, int(d))
		case w.days[d]:
			p.fault("%s.days[%d]: %s is there twice", place, j, d)
		default:
			w.days[d] = true
		}
	}
	var ok bool
	if w.from, ok = minute(spec.From); !ok || w.from == minutesOfDay {
		p.fault("%s.from %q: no time of day; want 00:00 to 23:59", place, spec.From)
	}
	if w.to, ok = minute(spec.To); !ok {
		p.fault("%s.to %q: no time of day; want 00:00 to 24:00", place, spec.To)
	}
	if w.to <= w.from {
		w.to += minutesOfDay
	}
	if len(p.errs) == faults {
		p.s.windows, p.index = append(p.s.windows, w), append(p.index, i)
	}
}

// minute reads a time of day, 00:00 to 24:00.
func minute(s string) (int, bool) {
	if s == "24:00" {
		return minutesOfDay, true
	}
	t, err := time.Parse("15:04", s)
	if err != nil || len(s) != len("15:04") {
		return 0, false
	}
	return t.Hour()*60 + t.Minute(), true
}

func (p *parser) holidays(list []string) {
	for i, s := range list {
		if t, err := time.Parse(time.DateOnly, s); err == nil {
			p.s.dated[dateOf(t.Date())] = ""
		} else if _, err := time.Parse(time.DateOnly, "2000-"+s); err == nil { // a year that has every day
			p.s.yearly[s] = true
		} else {
			p.fault("holidays[%d] %q: no date; want one as 2026-12-25, or 12-25 for every year", i, s)
		}
	}
}

// join adds the days of a calendar, with what they are called there, to those of the list.
func join(list, calendar map[day]string) map[day]string {
	for d, name := range calendar {
		list[d] = name
	}
	return list
}

func (p *parser) exception(i int, spec fleet.Exception) {
	from, okFrom := p.moment(fmt.Sprintf("exceptions[%d].from", i), spec.From)
	to, okTo := p.moment(fmt.Sprintf("exceptions[%d].to", i), spec.To)
	switch {
	case !okFrom || !okTo:
	case to.Before(from):
		p.fault("exceptions[%d]: ends at %s, before it begins at %s", i, spec.To, spec.From)
	case to.Equal(from):
		p.fault("exceptions[%d]: lasts no time, from %s to %s", i, spec.From, spec.To)
	default:
		p.s.exceptions = append(p.s.exceptions, exception{from, to, spec.On, spec.Why})
	}
}

func (p *parser) moment(place, s string) (time.Time, bool) {
	const layout = "2006-01-02T15:04"
	t, err := time.Parse(layout, s)
	if err != nil || len(s) != len(layout) {
		p.fault("%s %q: no local time; want one as 2026-12-24T12:00", place, s)
		return time.Time{}, false
	}
	return first(p.s.zone, dateOf(t.Date()), t.Hour()*60+t.Minute()), true
}

// overlaps reports windows that share time of the week, each pair once.
func (p *parser) overlaps() {
	type span struct{ window, from, to int }
	const week = 7 * minutesOfDay
	var spans []span
	for i, w := range p.s.windows {
		for d, has := range w.days {
			if has {
				spans = append(spans, span{i, d*minutesOfDay + w.from, d*minutesOfDay + w.to})
			}
		}
	}
	if len(spans) == 0 {
		return
	}
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	spans = append(spans, span{spans[0].window, spans[0].from + week, spans[0].to + week}) // the last of a week may run into the first of the next
	told := map[[2]int]bool{}
	for i := range spans[1:] {
		a, b := spans[i], spans[i+1]
		pair := [2]int{min(a.window, b.window), max(a.window, b.window)}
		if a.to <= b.from || told[pair] {
			continue
		}
		told[pair] = true
		later, earlier := p.s.windows[pair[1]], p.s.windows[pair[0]]
		p.fault("on[%d] %s: overlaps on[%d] %s on %s", p.index[pair[1]], later, p.index[pair[0]], earlier, time.Weekday(b.from/minutesOfDay%7))
	}
}

// possible reports a schedule that nobody needs: it would never switch anything.
func (p *parser) possible() {
	switches := func(on bool) bool {
		return slices.ContainsFunc(p.s.exceptions, func(e exception) bool { return e.on == on })
	}
	sum := 0
	for _, w := range p.s.windows {
		for _, has := range w.days {
			if has {
				sum += w.to - w.from
			}
		}
	}
	switch {
	case sum == 0 && !switches(true):
		p.fault("on: no window and no exception that is on: it would never be on")
	case sum == 7*minutesOfDay && len(p.s.dated)+len(p.s.yearly) == 0 && !switches(false):
		p.fault("on: %s: it would never be off; leave the schedule out", strings.TrimSpace(p.s.String()))
	}
}
