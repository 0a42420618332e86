package schedule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// event is a VEVENT.
type event struct {
	line       int
	properties []property
}

// get is the first property of a name, or nil.
func (e *event) get(name string) *property {
	for i := range e.properties {
		if e.properties[i].name == name {
			return &e.properties[i]
		}
	}
	return nil
}

func (e *event) text(name string) string {
	if p := e.get(name); p != nil {
		return p.value
	}
	return ""
}

var unescape = strings.NewReplacer(`\\`, `\`, `\n`, " ", `\N`, " ", `\;`, ";", `\,`, ",")

func (e *event) summary() string { return clean(unescape.Replace(e.text("SUMMARY"))) }

func (e *event) cancelled() bool { return strings.EqualFold(e.text("STATUS"), "CANCELLED") }

// timed tells whether the event begins at a time of day.
func (e *event) timed() bool {
	p := e.get("DTSTART")
	return p != nil && !strings.EqualFold(p.params["VALUE"], "DATE") && strings.Contains(p.value, "T")
}

// movedDays are, by the UID of a series, the days of it that another event stands for, or a cancelled one.
func movedDays(events []event) map[string]map[day]bool {
	moved := map[string]map[day]bool{}
	for _, e := range events {
		id, uid := e.get("RECURRENCE-ID"), e.text("UID")
		if id == nil || uid == "" {
			continue
		}
		if d, err := id.date(id.value); err == nil {
			if moved[uid] == nil {
				moved[uid] = map[day]bool{}
			}
			moved[uid][d] = true
		}
	}
	return moved
}

// occurrences are the days at which the event begins, and how many days it lasts.
func (e *event) occurrences() (starts []day, length day, err error) {
	p := e.get("DTSTART")
	if p == nil {
		return nil, 0, fmt.Errorf("calendar line %d: event %q has no DTSTART", e.line, e.summary())
	}
	start, err := p.date(p.value)
	if err != nil {
		return nil, 0, err
	}
	if length, err = e.length(start); err != nil {
		return nil, 0, err
	}
	starts = []day{start}
	var not []day
	for _, p := range e.properties {
		var ds []day
		switch p.name {
		case "RRULE":
			ds, err = p.rule(start)
		case "RDATE", "EXDATE":
			ds, err = p.dates()
		}
		if err != nil {
			return nil, 0, err
		}
		if p.name == "EXDATE" {
			not = append(not, ds...)
		} else {
			starts = append(starts, ds...)
		}
	}
	slices.Sort(not)
	return slices.DeleteFunc(starts, func(d day) bool { _, is := slices.BinarySearch(not, d); return is }), length, nil
}

// length is how many days an event lasts. Its DTEND is the day after its last; one at its begin, as some write it, means the one day.
func (e *event) length(start day) (day, error) {
	const most = 366
	length, p := day(1), e.get("DTEND")
	if p != nil {
		end, err := p.date(p.value)
		if err != nil {
			return 0, err
		}
		if end < start {
			return 0, fmt.Errorf("calendar line %d: DTEND %s is before DTSTART %s", p.line, end, start)
		}
		length = max(1, end-start)
	} else if p = e.get("DURATION"); p != nil {
		n, unit, ok := strings.TrimPrefix(strings.TrimPrefix(p.value, "+"), "P"), day(1), false
		if n, ok = strings.CutSuffix(n, "W"); ok {
			unit = 7
		}
		count, err := strconv.ParseUint(strings.TrimSuffix(n, "D"), 10, 10)
		if err != nil || count == 0 {
			return 0, fmt.Errorf("calendar line %d: DURATION %q: want whole days, such as P2D", p.line, clean(p.value))
		}
		length = day(count) * unit
	}
	if length > most {
		return 0, fmt.Errorf("calendar line %d: event %q lasts %d days; more than a year off is no holiday", p.line, e.summary(), length)
	}
	return length, nil
}

// date reads 20261225, or the date of 20261225T080000.
func (p *property) date(s string) (day, error) {
	t, err := parseDate(s)
	if err != nil {
		return 0, fmt.Errorf("calendar line %d: %s %q: no date; want one as 20261225", p.line, p.name, clean(s))
	}
	if t.Year() < 1900 || t.Year() > years {
		return 0, fmt.Errorf("calendar line %d: %s %q: want a year from 1900 to %d", p.line, p.name, clean(s), years)
	}
	return dateOf(t.Date()), nil
}

func parseDate(s string) (time.Time, error) {
	date, _, _ := strings.Cut(s, "T")
	return time.Parse("20060102", date)
}

// dates reads a list of them. Of a period it is the day of its begin.
func (p *property) dates() ([]day, error) {
	var out []day
	for s := range strings.SplitSeq(p.value, ",") {
		d, err := p.date(s)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// rule is the days that an RRULE gives from a start on, up to the end of the last year that is followed.
func (p *property) rule(start day) ([]day, error) {
	r, err := parseRule(p.value)
	if err != nil {
		return nil, fmt.Errorf("calendar line %d: RRULE %q: %w", p.line, clean(p.value), err)
	}
	return r.days(start), nil
}
